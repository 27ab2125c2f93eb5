//! Documents that are made from others: the page of settings, and the figures in both READMEs.

use std::fmt::Write;
use std::path::Path;

use crate::{Outcome, help};

const HELP: &str = "\
Write the documents that are made from others.

Usage: cargo xtask docs

  docs/settings.md           from referral.default.toml
  the figures of README.md   from docs/benchmarks.md, which `cargo xtask bench` writes
  and README.ru.md
";

const SETTINGS: &str = "docs/settings.md";

pub fn run(arguments: &[String]) -> Outcome {
    match arguments {
        [] => {
            for (file, text) in made(crate::shell::root())? {
                std::fs::write(&file, text).map_err(|error| format!("cannot write {file}: {error}"))?;
                println!("{file}");
            }
            Ok(0)
        }
        [flag] if flag == "--help" || flag == "-h" => help(HELP),
        [other, ..] => Err(crate::Failure::Usage(format!("`{other}` is not understood"), HELP)),
    }
}

/// Each of the documents with what it should be, by its path.
fn made(root: &Path) -> Result<Vec<(String, String)>, String> {
    let read = |name: &str| {
        let path = root.join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    let path = |name: &str| root.join(name).display().to_string();
    let benchmarks = read("docs/benchmarks.md")?;
    let mut made = vec![(path(SETTINGS), settings(&read("referral.default.toml")?))];
    for (name, language) in [("README.md", Language::English), ("README.ru.md", Language::Russian)] {
        made.push((path(name), with_figures(&read(name)?, &figures(&benchmarks, language)?)?));
    }
    Ok(made)
}

/// Settings that are told together: those of one comment.
#[derive(Default)]
struct Group {
    text: String,
    /// A section that is only shown, as it would stand in a file.
    sample: String,
    /// Names and defaults.
    settings: Vec<(String, String)>,
}

/// The page of settings: each section, and in it each comment behind the settings that it tells of.
fn settings(toml: &str) -> String {
    let mut page = String::from(
        "# Settings\n\nWritten by `cargo xtask docs` from [referral.default.toml](../referral.default.toml), which is \
         compiled into the\nbinary; nothing here is edited by hand. `referral config` prints that file, to begin one's \
         own from; `referral config\n--effective` prints what is in force, and where each value comes from.\n",
    );
    let (mut section, mut group) = (String::new(), Group::default());
    for line in toml.lines().chain(["[]"]) {
        if let Some(comment) = line.strip_prefix('#') {
            if !group.settings.is_empty() {
                tell(&mut page, &section, std::mem::take(&mut group));
            }
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            if comment.starts_with('[') || !group.sample.is_empty() {
                let _ = writeln!(group.sample, "{comment}");
            } else {
                add(&mut group.text, comment.trim());
            }
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            tell(&mut page, &section, std::mem::take(&mut group));
            name.clone_into(&mut section);
            if !name.is_empty() {
                let _ = write!(page, "\n## {name}\n");
            }
        } else if let Some((name, value)) = line.split_once(" = ") {
            group.settings.push((name.to_owned(), value.to_owned()));
        } else if line.is_empty() && group.settings.is_empty() {
            // What the file says of itself, and of sections that it leaves out.
            tell(&mut page, &section, std::mem::take(&mut group));
        }
    }
    page
}

fn add(text: &mut String, line: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(line);
}

fn tell(page: &mut String, section: &str, group: Group) {
    if group.settings.is_empty() {
        if !group.text.is_empty() {
            let _ = write!(page, "\n{}\n", wrapped(&group.text, ""));
        }
        if !group.sample.is_empty() {
            let _ = write!(page, "\n```toml\n{}```\n", group.sample);
        }
        return;
    }
    let names = group.settings.iter().map(|(name, value)| format!("`{section}.{name}` = `{value}`"));
    let names = names.collect::<Vec<_>>().join(", ");
    let _ = write!(page, "\n- {}\n", wrapped(&names, "  "));
    if !group.text.is_empty() {
        let _ = write!(page, "\n  {}\n", wrapped(&group.text, "  "));
    }
}

/// Within 120 columns; lines behind the first are set in.
fn wrapped(text: &str, indent: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    let text = text.replace('<', "\\<");
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() + indent.len() > 118 {
            lines.push(std::mem::take(&mut line));
        }
        add(&mut line, word);
    }
    lines.push(line);
    lines.join(&format!("\n{indent}"))
}

#[derive(Clone, Copy)]
enum Language {
    English,
    Russian,
}

/// What is told of the benchmarks: the row, where its figure stands, and what the READMEs call it.
enum Figure {
    /// Requests a second of the service.
    Rate(&'static str),
    /// What was measured, with its unit.
    Measured(&'static str),
}

const FIGURES: [(Figure, &str, &str); 9] = [
    (
        Figure::Rate("code by e-mail, cached, token verified"),
        "code by e-mail, remembered",
        "код по адресу почты, из памяти",
    ),
    (Figure::Rate("code by e-mail from SQLite"), "code by e-mail, SQLite", "код по адресу почты, SQLite"),
    (Figure::Rate("code by e-mail from PostgreSQL"), "code by e-mail, PostgreSQL", "код по адресу почты, PostgreSQL"),
    (
        Figure::Rate("page of 50 referees from PostgreSQL"),
        "page of 50 referees, PostgreSQL",
        "страница из 50 приглашённых, PostgreSQL",
    ),
    (
        Figure::Rate("registration, hashing aside, SQLite FULL"),
        "durable registration, hashing aside, SQLite",
        "надёжно записанная регистрация без хеширования, SQLite",
    ),
    (
        Figure::Rate("registration, hashing aside, PostgreSQL"),
        "durable registration, hashing aside, PostgreSQL",
        "надёжно записанная регистрация без хеширования, PostgreSQL",
    ),
    (
        Figure::Measured("first start on an empty database to the first answer, SQLite"),
        "first start on an empty database to the first answer, SQLite",
        "от первого запуска на пустой базе до первого ответа, SQLite",
    ),
    (Figure::Measured("resident memory, idle, SQLite"), "memory at rest, SQLite", "память в покое, SQLite"),
    (
        Figure::Measured("resident memory, the most under the loads above"),
        "memory, the most under these loads",
        "память, больше всего под этими нагрузками",
    ),
];

fn figures(benchmarks: &str, language: Language) -> Result<String, String> {
    let (mut table, second) = match language {
        Language::English => (String::from("| what | measured |\n|---|---|\n"), "a second"),
        Language::Russian => (String::from("| что | измерено |\n|---|---|\n"), "в секунду"),
    };
    let rows: Vec<Vec<&str>> = benchmarks
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect()))
        .collect();
    for (figure, english, russian) in &FIGURES {
        let value = match figure {
            Figure::Rate(name) => {
                let row = rows.iter().find(|row| row.first() == Some(name) && row.get(1) == Some(&"service"));
                row.and_then(|row| row.get(2)).map(|rate| format!("{} {second}", thousands(rate)))
            }
            Figure::Measured(name) => {
                let row = rows.iter().find(|row| row.first() == Some(name) && row.get(1) != Some(&"service"));
                row.and_then(|row| row.get(2)).map(|measured| (*measured).to_owned())
            }
        };
        let (Figure::Rate(name) | Figure::Measured(name)) = figure;
        let value = value.ok_or_else(|| format!("docs/benchmarks.md has no row \"{name}\""))?;
        let (what, value) = match language {
            Language::English => (english, value),
            Language::Russian => (russian, in_russian(&value)),
        };
        let _ = writeln!(table, "| {what} | {value} |");
    }
    Ok(table)
}

/// To hundreds, for the spread is wider.
fn thousands(rate: &str) -> String {
    let Ok(rate) = rate.parse::<u64>() else { return rate.to_owned() };
    let rounded = (rate + 50) / 100 * 100;
    if rounded < 1000 { rounded.to_string() } else { format!("{},{:03}", rounded / 1000, rounded % 1000) }
}

/// As Russian writes numbers and units: the comma is its decimal mark.
fn in_russian(value: &str) -> String {
    value.replace(',', "\u{a0}").replace('.', ",").replace('-', "–").replace(" MB", " МБ").replace(" ms", " мс")
}

const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- /figures -->";

fn with_figures(readme: &str, figures: &str) -> Result<String, String> {
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or("a README has no place for figures: <!-- figures --> … <!-- /figures -->")?;
    Ok(format!("{before}{BEGIN}\n{figures}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_as_they_are_made() {
        for (file, expected) in made(crate::shell::root()).expect("documents") {
            let found = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(found == expected, "{file} is not what `cargo xtask docs` writes");
        }
    }

    #[test]
    fn a_setting_a_comment_and_a_figure_that_changed_are_seen() {
        let toml = "# Of the file.\n\n[one]\n# First.\n# Also: X\na = 1\nb = \"\"\n# Second.\nc = true\n\n# No section.\n# [x.y]\n# # Its own.\n# z = 1\n";
        let page = settings(toml);
        for part in [
            "\nOf the file.\n",
            "\n## one\n",
            "- `one.a` = `1`, `one.b` = `\"\"`\n\n  First. Also: X\n",
            "  Second.\n",
            "\nNo section.\n\n```toml\n[x.y]\n# Its own.\nz = 1\n```\n",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert_ne!(page, settings(&toml.replace("First", "Another")));
        assert_eq!((thousands("83053"), thousands("449"), thousands("x")), ("83,100".into(), "400".into(), "x".into()));
        assert_eq!(in_russian("83,100 a"), "83\u{a0}100 a");
        assert_eq!((in_russian("7.99 MB"), in_russian("46 (41-57) ms")), ("7,99 МБ".into(), "46 (41–57) мс".into()));
        assert!(figures("| work | side |", Language::English).is_err());
        let readme = format!("a {BEGIN}old {END} b");
        assert_eq!(with_figures(&readme, "new").as_deref(), Ok("a <!-- figures -->\n\nnew\n<!-- /figures --> b"));
        assert!(with_figures("none", "new").is_err());
    }
}
