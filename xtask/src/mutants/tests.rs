//! The list is true of the sources, and the tool finds what is planted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::copy::Subject;
use super::list::TOPICS;
use super::{Alone, Both, Code, Mutant, Postgres, Sql, Sqlite, Swap, Tests, Unit, attempt};
use crate::shell;

fn all() -> impl Iterator<Item = &'static Mutant> {
    TOPICS.iter().flat_map(|topic| topic.mutants)
}

#[test]
fn every_mutant_has_a_name_of_its_own_and_a_text_that_is_there_once() {
    let subject = Subject::new(shell::root(), &PathBuf::new());
    let wrong: Vec<String> = all().filter_map(|mutant| subject.place(mutant).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let mut names: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    assert!(all().all(|mutant| names.insert(mutant.name)), "a name is there twice");
    assert!(all().all(|mutant| !mutant.why.is_empty() && !mutant.tests.names().is_empty()));
    assert!(all().count() >= 60);
}

#[test]
fn every_mutant_names_tests_that_there_are() {
    let mut sources: BTreeMap<String, String> = BTreeMap::new();
    for mutant in all() {
        let (Both(names) | Sqlite(names) | Postgres(names) | Alone(names) | Unit(names)) = mutant.tests;
        for name in names {
            let Some((module, test)) = name.rsplit_once("::") else { panic!("{}: {name}", mutant.name) };
            let path = match mutant.tests {
                Unit(_) => format!("src/{}", module.trim_end_matches("::tests").replace("::", "/")),
                _ => format!("tests/it/{}", module.replace("::", "/")),
            };
            let source = sources.entry(path.clone()).or_insert_with(|| {
                let read = |end: &str| fs::read_to_string(shell::root().join(format!("{path}{end}")));
                read(".rs").or_else(|_| read("/mod.rs")).unwrap_or_default()
            });
            let head = match mutant.tests {
                Both(_) | Sqlite(_) | Postgres(_) => format!("async fn {test}(setup: Setup)"),
                Alone(_) | Unit(_) => format!("fn {test}()"),
            };
            assert!(source.contains(&head), "{}: there is no test {name}", mutant.name);
        }
    }
}

/// Statements that differ by engine have mutants for each.
#[test]
fn both_engines_are_tried() {
    for (end, other) in [("-sqlite", "-postgres"), ("-postgres", "-sqlite")] {
        for name in all().filter_map(|mutant| mutant.name.strip_suffix(end)) {
            assert!(all().any(|mutant| mutant.name == format!("{name}{other}")), "{name}");
        }
    }
    assert!(all().filter(|mutant| matches!(mutant.swap, Sql(..))).count() >= 30);
}

/// A crate with a test that notices some changes and not others.
const PLANTED: [(&str, &str); 4] = [
    ("Cargo.toml", "[package]\nname = \"planted\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n"),
    (
        "src/lib.rs",
        "pub struct Sql { pub sqlite: Option<&'static str> }\npub static ASKED: Sql = Sql { sqlite: Some(\"select a from b where c = 1\") };\n\
         pub fn asked() -> &'static str { let sql = &ASKED; sql.sqlite.unwrap() }\n\
         pub fn may(age: u32, owner: bool) -> bool { age >= 18 && owner }\n\
         pub fn note(notes: &mut Vec<u32>) { notes.push(1); notes.push(2); }\n\
         #[cfg(test)]\nmod tests {\n    #[test]\n    fn notes_are_kept() {\n        let mut notes = Vec::new();\n\
         super::note(&mut notes);\n        assert_eq!(notes, [1, 2]);\n    }\n}\n",
    ),
    (
        "tests/it.rs",
        "mod laws {\n    #[test]\n    fn the_young_may_not() { assert!(!planted::may(17, true) && planted::may(18, true)); }\n\
         #[test]\n    fn what_is_asked() { assert_eq!(planted::asked(), \"select a from b where c = 1\"); }\n\
         #[test]\n    fn nothing() {}\n    #[test]\n    fn never() { panic!(); }\n}\n",
    ),
    ("left/over.txt", "this is not Rust"),
];

const fn planted(name: &'static str, swap: Swap, tests: Tests) -> Mutant {
    Mutant { name, file: "src/lib.rs", swap, tests, why: "it is planted" }
}

#[test]
fn what_is_planted_is_found() {
    let folder = std::env::temp_dir().join(format!("mutants-{}", std::process::id()));
    for (path, text) in PLANTED {
        let path = folder.join("crate").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it is made");
        fs::write(path, text).expect("it is written");
    }
    let young = Alone(&["laws::the_young_may_not"]);
    let mutants = [
        planted("noticed", Code("age >= 18", "true"), young),
        planted("noticed-too", Code("age >= 18 && owner", "owner"), young),
        planted("noticed-in-sql", Sql("where c = 1\"", "where c = 2\""), Alone(&["laws::what_is_asked"])),
        planted("noticed-by-a-unit-test", Code("notes.push(1);", ""), Unit(&["tests::notes_are_kept"])),
        planted("survivor", Code("notes.push(2);", ""), Alone(&["laws::nothing", "laws::the_young_may_not"])),
        planted("gone", Code("age > 18", "true"), young),
        planted("ambiguous", Code("notes", "other"), young),
        planted("unchanged", Code("age: u32", "age: u32"), young),
        planted("untested", Code("notes.push(1)", "()"), Alone(&["laws::nobody_wrote_me"])),
        planted("never-well", Code("pub fn note", "pub fn note "), Alone(&["laws::never"])),
    ];
    // An expression and what it is part of are built apart; the last one is no expression, and has a build of its own
    // here.
    let (sound, broken) = mutants.split_at(9);
    let mut said = Vec::new();
    let sound: Vec<&Mutant> = sound.iter().collect();
    let told =
        attempt(&folder.join("crate"), &folder.join("build"), &sound, &mut |line| said.push(line)).expect("it runs");
    let noticed: BTreeSet<&str> = said
        .iter()
        .filter(|line| line.contains("noticed: assertion"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(
        noticed,
        BTreeSet::from(["noticed", "noticed-too", "noticed-in-sql", "noticed-by-a-unit-test"]),
        "{said:#?}"
    );
    let expected = [
        "gone does not apply: its text is 0 times in src/lib.rs",
        "ambiguous does not apply",
        "unchanged changes nothing",
        "survivor survives laws::nothing, laws::the_young_may_not",
        "these tests do not pass: laws::nobody_wrote_me",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for sentence in expected {
        assert!(told.iter().any(|told| told.contains(sentence)), "{sentence}: {told:#?}");
    }
    let broken: Vec<&Mutant> = broken.iter().collect();
    let told = attempt(&folder.join("crate"), &folder.join("build"), &broken, &mut |_| ()).expect("it runs");
    assert_eq!(told, ["this does not compile: never-well"]);
    // What a former run left in the copy is gone from it.
    let kept = fs::read_to_string(folder.join("build/tree/src/lib.rs")).expect("the copy");
    assert!(kept.contains("\"never-well\"") && !kept.contains("\"noticed\""), "{kept}");
    fs::remove_dir_all(&folder).expect("it is removed");
}
