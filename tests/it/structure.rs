//! The sources keep to the map: imports go where ARCHITECTURE.md lets them, and what belongs to one place is named only
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::sources::{code_in, code_of, files};

/// A source file: its path below `src/`, and its code without comments and unit tests.
struct Source {
    path: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let texts = files("src", ".rs").into_iter();
    let found: Vec<_> =
        texts.map(|(path, text)| Source { path: path.replacen("src/", "", 1), code: code_of(&text) }).collect();
    assert!(found.len() > 40, "the sources are found");
    found
}

/// As [`sources`], of the statements in `sql!` only.
fn sources_with_texts() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let statements = |source: Source| {
        let text = std::fs::read_to_string(root.join(&source.path)).expect("a text");
        // What statements share is a macro's.
        let begun = ["\nsql! {", "\nmacro_rules! "].map(|begin| text.split(begin).skip(1)).into_iter().flatten();
        let blocks = begun.filter_map(|block| block.split_once("\n}").map(|(sql, _)| sql));
        let code = blocks.flat_map(str::lines).filter(|line| !line.trim_start().starts_with("//"));
        Source { path: source.path, code: code.map(|line| format!("{line}\n")).collect() }
    };
    sources().into_iter().map(statements).collect()
}

impl Source {
    /// The path of its module: `features/codes/store.rs` is `features`, `codes`, `store`.
    fn module(&self) -> Vec<String> {
        let mut parts: Vec<String> = self.path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if parts.last().is_some_and(|last| last == "mod") {
            parts.pop();
        }
        parts
    }

    /// Every path into this crate that the code names, from the crate's root: in `use` lines and elsewhere.
    fn paths(&self) -> BTreeSet<Vec<String>> {
        let mut paths = BTreeSet::new();
        let mut aliases = Vec::new();
        for statement in use_statements(&self.code) {
            for path in expand(&statement) {
                if let Some(path) = self.absolute(&path) {
                    aliases.push(path.clone());
                    paths.insert(path);
                }
            }
        }
        // `use crate::features::tokens;` and then `tokens::actions::…`.
        let words = words(&self.code);
        for path in aliases {
            let name = path.last().expect("a path has a name").clone();
            for used in words.iter().filter(|used| used.first() == Some(&name)) {
                paths.insert(path.iter().chain(used.iter().skip(1)).cloned().collect());
            }
        }
        paths.extend(words.iter().filter_map(|path| self.absolute(path)));
        paths
    }

    /// A path as this module means it, from the crate's root; nothing when it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let first = path.first()?.as_str();
        let mut base = match first {
            "crate" => Vec::new(),
            "super" | "self" => self.module(),
            _ => return None,
        };
        let mut rest = path;
        while let Some((step, others)) = rest.split_first() {
            match step.as_str() {
                "super" => drop(base.pop()),
                "self" | "crate" => {}
                _ => break,
            }
            rest = others;
        }
        base.extend(rest.iter().cloned());
        (!base.is_empty()).then_some(base)
    }
}

/// What stands between `use` and its semicolon.
fn use_statements(code: &str) -> Vec<String> {
    let mut statements = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let begins = rest.get(..at).is_none_or(|before| before.is_empty() || before.ends_with([' ', '\n', '{']));
        let after = rest.get(at + 4..).unwrap_or_default();
        if begins && let Some((statement, _)) = after.split_once(';') {
            statements.push(statement.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        rest = after;
    }
    statements
}

/// `a::{b, c::{d, self}}` as `a::b`, `a::c::d` and `a::c`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let (tree, _) = tree.split_once(" as ").filter(|_| !tree.contains('{')).unwrap_or((tree, ""));
    let Some((head, body)) = tree.split_once('{') else {
        let path = tree.split("::").map(|part| part.trim().to_owned());
        return vec![path.filter(|part| !part.is_empty()).collect()];
    };
    let head: Vec<String> =
        head.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect();
    let body = body.trim_end().strip_suffix('}').expect("a closed brace");
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for letter in body.chars().chain([',']) {
        match letter {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            '{' => {
                depth += 1;
                part.push(letter);
            }
            '}' => {
                depth -= 1;
                part.push(letter);
            }
            _ => part.push(letter),
        }
    }
    let below = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).flat_map(expand);
    below
        .map(|path| {
            let path = if path.first().is_some_and(|first| first == "self") { Vec::new() } else { path };
            head.iter().cloned().chain(path).collect()
        })
        .collect()
}

/// Every `a::b::c` in the code.
fn words(code: &str) -> Vec<Vec<String>> {
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c: char| !inside(c))
        .filter(|word| word.contains("::"))
        .map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect())
        .collect()
}

/// The name that the table in ARCHITECTURE.md has for a path: its top module, or the room of a feature. Macros stand at
/// the crate's root wherever they are written.
fn room(path: &[String]) -> Option<String> {
    match path.first()?.as_str() {
        "sql" | "params" => Some("db".into()),
        "problems" => Some("web".into()),
        "words" | "described_by_words" => Some("kernel".into()),
        // A feature's name alone: its rooms are named where they are used.
        "features" => path.get(2).map(|room| format!("features/{room}")),
        top => Some(top.to_owned()),
    }
}

fn feature(path: &[String]) -> Option<&str> {
    path.first().filter(|top| *top == "features").and(path.get(1)).map(String::as_str)
}

/// The table between the marks: what each room of a feature may import.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(text).expect("ARCHITECTURE.md");
    let (_, table) = text.split_once("<!-- imports -->").expect("the table's beginning");
    let (table, _) = table.split_once("<!-- /imports -->").expect("the table's end");
    let rows = table.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|')?.split_once('|'));
    // The heading and the line under it come first.
    let rows = rows.map(|(module, may)| (module.trim().to_owned(), may.trim())).skip(2);
    rows.map(|(module, may)| {
        let may = may.split(',').map(|name| name.trim().to_owned()).filter(|name| name != "nothing");
        (module, may.collect())
    })
    .collect()
}

/// The imports there are: from a room of a feature to another or to a module, and where.
fn edges() -> BTreeMap<(String, String), String> {
    let mut edges = BTreeMap::new();
    for source in sources() {
        let module = source.module();
        let Some(from) = room(&module).filter(|from| from.starts_with("features/")) else { continue };
        for path in source.paths() {
            let Some(to) = room(&path) else { continue };
            // Whoever lives in one module, or in one kind of room of one feature, is at home there.
            if from != to || feature(&module) != feature(&path) {
                edges.insert((from.clone(), to), format!("{}: {}", source.path, path.join("::")));
            }
        }
    }
    assert!(edges.len() > 40, "the imports are found: {edges:#?}");
    edges
}

#[test]
fn imports_go_only_where_the_architecture_lets_them() {
    let table = table();
    let wrong: Vec<String> = edges()
        .into_iter()
        .filter(|((from, to), _)| !table.get(from).is_some_and(|may| may.contains(to)))
        .map(|((from, to), place)| format!("{from} -> {to} ({place})"))
        .collect();
    assert!(wrong.is_empty(), "not in the table of ARCHITECTURE.md: {wrong:#?}");
}

/// A row that outlives its import would let it come back unseen.
#[test]
fn the_architecture_lets_no_import_be_that_there_is_not() {
    let edges = edges();
    let mut stale = Vec::new();
    for (from, may) in table() {
        // One's own kind is listed for other features, and used within one's own as well.
        let others = may.into_iter().filter(|to| *to != from).map(|to| (from.clone(), to));
        stale.extend(others.filter(|edge| !edges.contains_key(edge)));
    }
    assert!(stale.is_empty(), "in the table of ARCHITECTURE.md only: {stale:?}");
}

/// The list behind a mark in ARCHITECTURE.md.
fn order(mark: &str) -> Vec<String> {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(text).expect("ARCHITECTURE.md");
    let (_, list) = text.split_once(&format!("<!-- order of {mark} -->\n")).expect("the mark");
    let (list, _) = list.split_once("<!--").expect("the end of the list");
    list.split("->").map(|name| name.trim().trim_matches('`').to_owned()).collect()
}

/// The imports against an order: from a place to one that comes behind it.
fn against(order: &[String], sources: &[Source], place: fn(&[String]) -> Option<&str>) -> Vec<String> {
    let rank = |name: &str| order.iter().position(|known| known == name);
    let mut wrong = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(from) = place(&module) else { continue };
        let from_rank = rank(from).unwrap_or_else(|| panic!("{from} is not in the order"));
        for path in source.paths() {
            let Some(to) = place(&path).filter(|to| *to != from) else { continue };
            if rank(to).is_none_or(|to| to > from_rank) {
                wrong.push(format!("{from} -> {to} ({}: {})", source.path, path.join("::")));
            }
        }
    }
    wrong
}

#[test]
fn features_know_only_those_before_them() {
    let order = order("features");
    let wrong = against(&order, &sources(), feature);
    assert!(wrong.is_empty(), "{wrong:#?}");
    // That it finds one: codes come before accounts.
    let planted = [Source {
        path: "features/codes/actions.rs".into(),
        code: "use crate::features::accounts::actions::register;".into(),
    }];
    assert_eq!(against(&order, &planted, feature).len(), 1);
}

/// The top module of a path. Macros stand at the crate's root wherever they are written.
fn top(path: &[String]) -> Option<&str> {
    match path.first()?.as_str() {
        "sql" | "params" => Some("db"),
        "problems" => Some("web"),
        "words" | "described_by_words" => Some("kernel"),
        "lib" | "main" => None,
        name => Some(name),
    }
}

#[test]
fn modules_know_only_those_before_them() {
    let order = order("modules");
    let wrong = against(&order, &sources(), top);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Who writes a table is one feature, or one module beside them; others ask it.
#[test]
fn each_table_is_written_by_its_owner() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(text).expect("ARCHITECTURE.md");
    let (_, list) = text.split_once("<!-- owners -->").expect("the list's beginning");
    let (list, _) = list.split_once("<!-- /owners -->").expect("the list's end");
    let mut owners = BTreeSet::new();
    let rows = list.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|')?.split_once('|'));
    for (owner, tables) in rows.skip(2) {
        let name = |text: &str| text.trim().trim_matches('`').to_owned();
        owners.extend(tables.split(',').map(|table| (name(table), name(owner))));
    }
    assert_eq!(written(&sources_with_texts()), owners, "the code, then the list of ARCHITECTURE.md");
}

/// Each table that a statement writes, with the feature or module whose statement it is.
fn written(sources: &[Source]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for source in sources {
        let module = source.module();
        let Some(owner) = feature(&module).or(module.first().map(String::as_str)) else { continue };
        for verb in ["insert into ", "update ", "delete from "] {
            for (_, rest) in source.code.match_indices(verb).map(|(at, _)| source.code.split_at(at + verb.len())) {
                let table: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let is_table = rest.get(table.len()..).is_some_and(|next| next.starts_with([' ', '\n']));
                if is_table && !matches!(table.as_str(), "set" | "skip" | "" | "nowait" | "of" | "or" | "is" | "and") {
                    found.insert((table, owner.to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn no_feature_uses_the_store_of_another() {
    for source in sources() {
        let module = source.module();
        for path in source.paths().into_iter().filter(|path| path.get(2).is_some_and(|room| room == "store")) {
            assert_eq!(feature(&module), feature(&path), "{}: {}", source.path, path.join("::"));
        }
    }
}

/// The words of these in a code, whole ones only.
fn named<'a>(source: &Source, words: &[&'a str]) -> Vec<&'a str> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let known: BTreeSet<&str> = source.code.split(|c: char| !inside(c)).collect();
    words.iter().copied().filter(|word| known.contains(word)).collect()
}

#[test]
fn drivers_are_named_in_the_seam_only() {
    let drivers =
        ["rusqlite", "tokio_postgres", "deadpool", "deadpool_postgres", "tokio_postgres_rustls", "libsqlite3_sys"];
    let mut seam = BTreeSet::new();
    for source in sources() {
        let found = named(&source, &drivers);
        if source.path.starts_with("db/") {
            seam.extend(found);
        } else {
            assert!(found.is_empty(), "{}: {found:?}", source.path);
        }
    }
    assert!(seam.len() >= 3, "they are named in the seam: {seam:?}");
}

/// Whether a file may know HTTP: those around the features, and of a feature the rooms that programs and people ask.
fn is_http(path: &str) -> bool {
    let module = path.trim_end_matches(".rs");
    let mut steps = module.split('/');
    match steps.next() {
        Some("web" | "site") => true,
        Some("features") => steps.nth(1).is_some_and(|room| matches!(room, "api" | "pages" | "caller")),
        _ => false,
    }
}

#[test]
fn statuses_are_known_to_the_web_only() {
    let statuses = ["400", "401", "403", "404", "405", "408", "409", "413", "414", "415", "422", "429", "500", "503"];
    let mut known = 0;
    for source in sources() {
        let web = is_http(&source.path);
        // Hunter's statuses are not ours.
        let foreign = source.path == "outbound/hunter.rs";
        // A span of so many milliseconds or days is no status.
        let is_span = |line: &str| line.contains("Duration::from_") || line.contains("_days") || line.contains("_DAYS");
        let code = source.code.lines().filter(|line| !is_span(line)).collect::<Vec<_>>().join("\n");
        let source = Source { path: source.path, code };
        let found = [named(&source, &["StatusCode"]), named(&source, &statuses)].concat();
        if web {
            known += found.len();
        } else {
            assert!(found.is_empty() || foreign, "{}: {found:?}", source.path);
        }
    }
    assert!(known > 3, "they are known there");
}

#[test]
fn http_is_known_to_the_web_only() {
    for source in sources() {
        let web = is_http(&source.path);
        let found = named(&source, &["axum", "hyper", "hyper_util", "tower"]);
        assert!(found.is_empty() || web, "{}: {found:?}", source.path);
    }
}

/// The reading of `use` lines above, on what it must not misread.
#[test]
fn use_lines_are_read_as_the_compiler_reads_them() {
    let source = Source {
        path: "features/codes/actions.rs".into(),
        code: code_of(
            "use std::sync::Arc;\nuse super::model::{self, ActiveCode};\nuse crate::features::{accounts, tokens};\n\
             pub(crate) use crate::{\n    db::{Db, Tx as T},\n    sql,\n};\n// use crate::cli;\n\
             fn f() { use crate::kernel::ids::UserId; tokens::actions::end(); crate::jobs::claim(); reuse crate; }\n\
             #[cfg(test)]\nmod tests { use crate::site::guard; }\n",
        ),
    };
    let paths: Vec<String> = source.paths().iter().map(|path| path.join("::")).collect();
    for expected in [
        "features::codes::model",
        "features::codes::model::ActiveCode",
        "features::accounts",
        "features::tokens::actions::end",
        "db::Db",
        "db::Tx",
        "sql",
        "kernel::ids::UserId",
        "jobs::claim",
    ] {
        assert!(paths.iter().any(|path| path.split(" as ").next() == Some(expected)), "{expected}: {paths:?}");
    }
    assert!(
        !paths.iter().any(|path| path.contains("web") || path.contains("cli") || path.contains("std")),
        "{paths:?}"
    );
}

/// What a manifest names is used by the code beside it: what nobody uses is built all the same.
#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (manifest, folders) in [
        ("Cargo.toml", &["src", "tests"][..]),
        ("benches/Cargo.toml", &["benches/src"]),
        ("xtask/Cargo.toml", &["xtask/src"]),
    ] {
        let code: String = folders.iter().map(|folder| code_in(folder)).collect();
        let text = std::fs::read_to_string(root.join(manifest)).expect("a manifest");
        let unused = unused(&text, &code);
        assert!(unused.is_empty(), "{manifest} names what nobody uses: {unused:?}");
    }
    let manifest = "[dependencies]\nbase64 = \"0.22\"\nnobody-uses-me = { version = \"1\" }\n[lints.rust]\nunsafe_code = \"forbid\"";
    assert_eq!(unused(manifest, "use base64::Engine;"), ["nobody_uses_me"]);
}

fn unused(manifest: &str, code: &str) -> Vec<String> {
    let mut within = false;
    let names = manifest.lines().filter_map(|line| {
        if line.starts_with('[') {
            within = line.trim_end_matches(']').ends_with("dependencies");
        }
        let (name, _) = line.split_once('=').filter(|_| within)?;
        Some(name.trim().replace('-', "_"))
    });
    let word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words: BTreeSet<&str> = code.split(|letter| !word(letter)).collect();
    names.filter(|name| !words.contains(name.as_str())).collect()
}

/// `cargo run` gives the service what the build script sets, and there an unknown setting is refused.
#[test]
fn the_build_sets_nothing_that_would_be_a_setting() {
    let script = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs")).expect("build.rs");
    let names: Vec<&str> = script.split("cargo:rustc-env=").skip(1).collect();
    assert!(!names.is_empty() && names.iter().all(|name| !name.starts_with("REFERRAL_")), "{names:?}");
}
