//! How files are written, where neither the compiler nor rustfmt looks: short, in lines that fit, and tests by
//! themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::sources::{code_of, files, literal};

const COLUMNS: usize = 120;

/// Documents in which nobody wraps lines: they are generated, or written to by every change.
const UNWRAPPED: &[&str] = &["docs/benchmarks.md"];

fn sources() -> Vec<(String, String)> {
    ["src", "tests", "benches/src", "testkit/src", "xtask/src"]
        .into_iter()
        .flat_map(|folder| files(folder, ".rs"))
        .collect()
}

#[test]
fn no_file_has_more_than_500_lines() {
    let long = sources().into_iter().filter(|(_, text)| text.lines().count() > 500).map(|(path, _)| path);
    assert_eq!(long.collect::<Vec<_>>(), [""; 0], "take them apart");
}

/// A table of calls, a line for each.
const TABLE: &str = "tests/it/document/reference.rs";

#[test]
fn no_line_of_code_has_more_than_120_columns() {
    let mut wide = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path != TABLE) {
        wide.extend(wide_lines(&text).into_iter().map(|line| format!("{path}:{line}")));
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

/// The lines that are too wide. One literal may make a line so, for rustfmt breaks none; the space in SQL is ours.
fn wide_lines(text: &str) -> Vec<usize> {
    let (mut wide, mut number, mut literals, mut outside) = (Vec::new(), 1, 0, 0);
    let begins_sql = |line: &str| line.trim_start_matches("referral::") == "sql! {";
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let (mut rest, mut width, mut sql) = (text, first.chars().count(), begins_sql(first));
    while let Some(letter) = rest.chars().next() {
        let raw = rest.starts_with("r\"") || rest.starts_with("r#\"");
        let character = letter == '\'' && (rest.starts_with("'\\") || rest.chars().nth(2) == Some('\''));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if raw {
            let end = if rest.starts_with("r#") { "\"#" } else { "\"" };
            rest.get(3..).and_then(|inside| inside.find(end)).map_or(rest.len(), |at| at + 3 + end.len())
        } else if letter == '"' || character {
            literal(rest)
        } else {
            letter.len_utf8()
        };
        let (piece, after) = rest.split_at(length);
        let is_literal = raw || letter == '"';
        literals += usize::from(is_literal);
        for (place, part) in piece.split('\n').enumerate() {
            if place > 0 {
                if width > COLUMNS && (sql || outside > COLUMNS || literals != 1) {
                    wide.push(number);
                }
                (number, outside, literals) = (number + 1, 0, usize::from(is_literal));
                let next = lines.next().unwrap_or_default();
                (width, sql) = (next.chars().count(), if sql { next != "}" } else { begins_sql(next) });
            }
            outside += if is_literal { 0 } else { part.chars().count() };
        }
        rest = after;
    }
    wide
}

#[test]
fn lines_that_are_too_wide_are_seen() {
    let words = "word ".repeat(30);
    for (text, seen) in [
        (format!("// {words}\n"), true),
        (format!("    answer(\"{words}\"),\n"), false),
        (format!("    {{ answer(\"{words}\", \"{words}\"); }}\n"), true),
        (format!("sql! {{\n    NAME = \"{words}\";\n}}\n"), true),
        (format!("sql! {{\n    NAME = \"word\";\n}}\nconst TEXT: &str = \"{words}\";\n"), false),
        (format!("#[utoipa::path(get, tag = \"A\", {words}, id = \"b\")]\n"), true),
        (format!("const TEXT: &str = r#\"\n<{words}>\n\"#;\n"), false),
    ] {
        assert_eq!(!wide_lines(&text).is_empty(), seen, "{text}");
    }
}

/// Tables and what has no blank to break at may be wider.
#[test]
fn no_line_of_a_document_has_more_than_120_columns() {
    let top = ["README.md", "README.ru.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"];
    let read = |name: &str| std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR")));
    let top = top.into_iter().map(|name| (name.to_owned(), read(name).expect("a text")));
    let mut wide = Vec::new();
    for (path, text) in top.chain(files("docs", ".md")).filter(|(path, _)| !UNWRAPPED.contains(&path.as_str())) {
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.trim_start().starts_with("```");
            let start: String = line.chars().take(COLUMNS + 1).collect();
            let (_, words) = start.split_at(start.find(char::is_alphanumeric).unwrap_or(0));
            let free = code || line.trim_start().starts_with(['|', '#', '<']) || !words.contains(' ');
            if line.chars().count() > COLUMNS && !free {
                wide.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

/// rustfmt does not look into a macro with braces.
#[test]
fn tests_stand_where_rustfmt_sees_them() {
    for (path, text) in files("tests", ".rs") {
        assert_eq!(hidden(&text), Vec::<&str>::new(), "{path}: give the macro the name of a function");
    }
    let planted = "macro_rules! a {\n    () => { fn a() {} };\n}\n\non_every_setup! {\n    async fn b() {}\n}\n";
    assert_eq!(hidden(planted), ["on_every_setup! {"]);
}

/// The macros, written as items, that have functions in them.
fn hidden(text: &str) -> Vec<&str> {
    let (mut found, mut within) = (Vec::new(), None);
    for line in text.lines() {
        match within {
            None if line.ends_with("! {") && !line.starts_with([' ', '/']) && !line.starts_with("macro_rules!") => {
                within = Some(line);
            }
            Some(_) if line == "}" => within = None,
            Some(begin) if line.contains("fn ") => found.push(begin),
            _ => {}
        }
    }
    found
}

/// What tests share is in `support`, or in a file of their folder without tests.
#[test]
fn no_file_with_tests_is_imported() {
    let texts: BTreeMap<Vec<String>, String> = files("tests/it", ".rs")
        .into_iter()
        .map(|(path, text)| {
            let name = path.trim_start_matches("tests/it/").trim_end_matches(".rs");
            let name = name.trim_end_matches("main").trim_end_matches("mod");
            (name.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(), text)
        })
        .collect();
    assert!(texts.len() > 40, "the tests are found");
    let mut wrong = BTreeSet::new();
    for (module, text) in &texts {
        for path in paths(&code_of(text)) {
            let Some(target) = resolved(module, &path, &texts) else { continue };
            if target != *module && target.first().is_none_or(|top| top != "support") && has_tests(&texts[&target]) {
                wrong.insert(format!("{} imports {}", module.join("::"), target.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(paths("use super::{a, b::c};\nfn f() { crate::d::e() }"), ["super::a", "super::b::c", "crate::d::e"]);
}

fn has_tests(text: &str) -> bool {
    let marks = ["#[test]", "#[tokio::test", "on_every_setup!(", "on_both_engines!(", "with_any_word!("];
    text.lines().any(|line| marks.iter().any(|mark| line.starts_with(mark)))
}

/// Every path from `crate` or `super` in a text.
fn paths(text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for root in ["super", "crate"] {
        for (at, _) in text.match_indices(&format!("{root}::")) {
            let (_, path) = text.split_at(at);
            let list = path.strip_prefix(&format!("{root}::{{")).and_then(|list| list.split_once('}'));
            if let Some((list, _)) = list {
                paths.extend(list.split(',').map(|item| format!("{root}::{}", item.trim())));
            } else {
                let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != ':');
                let (path, _) = path.split_at(end.unwrap_or(path.len()));
                paths.push(path.trim_end_matches(':').to_owned());
            }
        }
    }
    paths
}

/// The file that a path leads to.
fn resolved(module: &[String], path: &str, texts: &BTreeMap<Vec<String>, String>) -> Option<Vec<String>> {
    let mut target = module.to_vec();
    for part in path.split("::") {
        match part {
            "crate" => target.clear(),
            "super" => drop(target.pop()),
            part => target.push(part.to_owned()),
        }
    }
    while !texts.contains_key(&target) {
        target.pop()?;
    }
    Some(target)
}
