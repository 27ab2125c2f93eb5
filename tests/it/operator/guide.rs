//! What operators read is what the service does: the messages of the log, and the ranges of the settings.

use std::path::Path;

use referral::config::{self, DEFAULTS};

use crate::support::sources::{code_in, literal};

/// Every warning and error has its row in the guide for operators, with its level, and every row its message.
#[test]
fn the_guide_tells_each_warning_and_error_of_the_log() {
    let (logged, told) = (logged(), told());
    assert!(logged.len() > 20 && told.len() > 20, "{logged:?} {told:?}");
    let fits = |(level, text): &(&str, String), (other, row): &(String, String)| level == other && is(text, row);
    let missing: Vec<_> =
        logged.iter().filter(|one| one.0 != "info" && !told.iter().any(|row| fits(one, row))).collect();
    assert!(missing.is_empty(), "not in the table of docs/operations.md: {missing:#?}");
    let stale: Vec<_> = told.iter().filter(|row| !logged.iter().any(|one| fits(one, row))).collect();
    assert!(stale.is_empty(), "in the table of docs/operations.md only: {stale:#?}");
}

/// What the sources log, by level; `…` stands for what is filled in.
fn logged() -> Vec<(&'static str, String)> {
    let code = code_in("src");
    let mut found = Vec::new();
    for level in ["error", "warn", "info"] {
        let begin = format!("tracing::{level}!(");
        let calls = code.split(&begin).skip(1);
        found.extend(calls.map(|call| (level, message(call))));
    }
    found
}

/// The last literal of a call, which begins behind its opening parenthesis.
fn message(call: &str) -> String {
    let (mut rest, mut depth, mut last) = (call, 1, "");
    while let Some(letter) = rest.chars().next().filter(|_| depth > 0) {
        let mut length = letter.len_utf8();
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                length = literal(rest);
                last = rest.get(1..length - 1).expect("what is between the quotes");
            }
            _ => {}
        }
        rest = rest.get(length..).expect("between two characters");
    }
    let lines: Vec<&str> =
        last.split("\\\n").enumerate().map(|(at, line)| if at == 0 { line } else { line.trim_start() }).collect();
    let text = lines.concat();
    let mut parts = text.split('{');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "…" + part.split_once('}').map_or(part, |(_, behind)| behind))
}

/// The messages in the table of the guide, with their levels.
fn told() -> Vec<(String, String)> {
    let guide = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md"));
    let guide = guide.expect("docs/operations.md");
    let (_, logs) = guide.split_once("\n## Logs\n").expect("the section on logs");
    let (logs, _) = logs.split_once("\n## ").expect("a section behind it");
    let rows = logs.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.flat_map(|row| {
        let mut cells = row.split(" | ");
        let (messages, level) = (cells.next().expect("messages"), cells.next().expect("a level"));
        messages.split('`').step_by(2).map(|text| (level.to_owned(), text.to_owned())).collect::<Vec<_>>()
    })
    .filter(|(_, text)| !text.is_empty())
    .collect()
}

/// Whether a message is the one of a row, in which `…` stands for any text.
fn is(message: &str, row: &str) -> bool {
    let mut parts = row.split('…');
    let Some(mut rest) = parts.next().and_then(|first| message.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
        open = part.is_empty();
    }
    open || rest.is_empty()
}

#[test]
fn rows_of_the_guide_are_read_with_what_they_leave_out() {
    assert_eq!(message("%error, n = f(\"x\"), \"one {path} \\\n    two\"); other(\"three\")"), "one … two");
    assert!(is("one … two", "… two") && is("one two", "one …") && is("one", "one"));
    assert!(!is("one two", "one") && !is("one two", "two") && !is("one two three", "… two"));
}

/// Each end of the range in a setting's comment is taken, and what is beyond is refused.
#[test]
fn every_number_among_the_settings_has_its_range_in_its_comment() {
    let (mut section, mut comment, mut settings, mut tried) = ("", String::new(), 0, 0);
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
            comment.clear();
        } else if let Some(text) = line.strip_prefix('#') {
            if settings > 0 {
                (comment, settings) = (String::new(), 0);
            }
            comment += text;
        } else if let Some((key, value)) = line.split_once(" = ") {
            settings += 1;
            if value.parse::<i64>().is_err() {
                continue;
            }
            // Settings below one comment have a range each, or one together.
            let ranges = ranges(&comment);
            let range = ranges.get(settings - 1).or(ranges.last());
            let (low, high) = *range.unwrap_or_else(|| panic!("{section}.{key} has no range: {comment}"));
            let name = format!("REFERRAL_{section}_{key}").to_uppercase();
            for (value, good) in [(low - 1, false), (low, true), (high, true), (high + 1, false)] {
                let read = config::load(None, &vec![(name.clone(), value.to_string())]);
                assert_eq!(read.is_ok(), good, "{section}.{key} = {value}: {:?}", read.err());
            }
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

/// Each `LOW to HIGH` of a text.
fn ranges(text: &str) -> Vec<(i64, i64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| word.trim_end_matches(|letter: char| !letter.is_ascii_digit()).parse().ok();
    let range = |three: &[&str]| match three {
        [low, "to", high] => Some((number(low)?, number(high)?)),
        _ => None,
    };
    words.windows(3).filter_map(range).collect()
}
