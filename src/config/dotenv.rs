//! The file `.env`: `NAME=VALUE` a line, `#` for comments. Nothing is substituted: a `$` is a character like others.
//!
//! A value without quotation marks ends with its line, or before a comment that has a blank in front. In single
//! quotation marks all is taken as it is; in double ones a backslash stands before `"`, `\`, `$`, `n`, `r` and `t`.
//! Both may span lines.

use std::iter::Peekable;
use std::str::CharIndices;

/// A variable and the line on which it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub line: usize,
    pub name: String,
    pub value: String,
}

/// What is not as it should be, and on which line. It quotes nothing, for the line may hold a secret.
#[derive(Debug, PartialEq, Eq)]
pub struct Slip {
    pub line: usize,
    pub text: &'static str,
}

type Letters<'a> = Peekable<CharIndices<'a>>;

/// Reads all entries, and notes what is none. A name that comes again wins.
pub fn parse(text: &str) -> (Vec<Entry>, Vec<Slip>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut entries, mut slips): (Vec<Entry>, Vec<Slip>) = (Vec::new(), Vec::new());
    let mut letters = text.char_indices().peekable();
    let mut line = 1;
    loop {
        skip_blanks(&mut letters);
        let Some(&(at, letter)) = letters.peek() else { break };
        if letter != '\n' && letter != '#' {
            let rest = text.get(at..).unwrap_or_default();
            match entry(rest, &mut letters) {
                Ok((name, value)) => {
                    entries.retain(|known| known.name != name);
                    entries.push(Entry { line, name, value });
                }
                Err(text) => slips.push(Slip { line, text }),
            }
        }
        // What is left of the line: a comment, or what follows a slip.
        while letters.next_if(|(_, letter)| *letter != '\n').is_some() {}
        letters.next();
        let read = letters.peek().map_or(text.len(), |(at, _)| *at);
        line = 1 + text.get(..read).unwrap_or_default().matches('\n').count();
    }
    (entries, slips)
}

fn skip_blanks(letters: &mut Letters<'_>) {
    while letters.next_if(|(_, letter)| *letter != '\n' && letter.is_whitespace()).is_some() {}
}

/// One entry; `rest` is the text from where the letters are. The error leaves them on the line where the entry began,
/// or at the end of the text.
fn entry(rest: &str, letters: &mut Letters<'_>) -> Result<(String, String), &'static str> {
    const SHAPE: &str = "is not NAME=VALUE: write it so, or put a # in front of what is a comment";
    let line = rest.split('\n').next().unwrap_or_default();
    let (name, _) = line.split_once('=').ok_or(SHAPE)?;
    for _ in 0..=name.chars().count() {
        letters.next();
    }
    let name = name.trim();
    let name = name.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace)).unwrap_or(name).trim();
    let inside = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    if name.is_empty() || !name.chars().all(inside) {
        return Err(SHAPE);
    }
    skip_blanks(letters);
    let value = match letters.peek() {
        Some((_, quote @ ('"' | '\''))) => {
            let quote = *quote;
            letters.next();
            let value = quoted(letters, quote)?;
            skip_blanks(letters);
            match letters.peek() {
                None | Some((_, '\n' | '#')) => value,
                Some(_) => return Err("goes on behind the closing quotation mark"),
            }
        }
        _ => plain(letters),
    };
    Ok((name.to_owned(), value))
}

fn plain(letters: &mut Letters<'_>) -> String {
    let mut value = String::new();
    while let Some((_, letter)) = letters.next_if(|(_, letter)| *letter != '\n') {
        if letter == '#' && (value.is_empty() || value.ends_with(char::is_whitespace)) {
            break;
        }
        value.push(letter);
    }
    value.trim_end().to_owned()
}

fn quoted(letters: &mut Letters<'_>, quote: char) -> Result<String, &'static str> {
    const OPEN: &str = "begins with a quotation mark that is never closed";
    let mut value = String::new();
    loop {
        let (_, letter) = letters.next().ok_or(OPEN)?;
        if letter == quote {
            return Ok(value);
        }
        if letter != '\\' || quote == '\'' {
            value.push(letter);
            continue;
        }
        value.push(match letters.next().ok_or(OPEN)?.1 {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            same @ ('"' | '\\' | '$') => same,
            _ => return Err("has a backslash that means nothing: write two of them, or single quotation marks"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let (entries, slips) = parse(&format!("NAME={text}\nOTHER=1"));
        assert_eq!(slips, [], "{text}");
        assert_eq!(entries.len(), 2, "{text}: {entries:?}");
        assert_eq!(entries[0].name, "NAME");
        entries[0].value.clone()
    }

    #[test]
    fn nothing_is_substituted() {
        for (text, expected) in [
            ("a$b", "a$b"),
            ("pa$$word${HOME}$1", "pa$$word${HOME}$1"),
            ("\"a$b${OTHER}\"", "a$b${OTHER}"),
            ("'a$b'", "a$b"),
            ("\"a\\$b\"", "a$b"),
            ("a\\b", "a\\b"),
            ("'a\\b\"c'", "a\\b\"c"),
            ("\"a\\\"b\\\\c\\nd\"", "a\"b\\c\nd"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn blanks_comments_and_quotation_marks_are_as_everywhere() {
        for (text, expected) in [
            ("  a b  ", "a b"),
            ("a # b", "a"),
            ("a#b", "a#b"),
            ("# b", ""),
            ("", ""),
            ("\" a # b \" # c", " a # b "),
            ("'' ", ""),
            ("\"one\ntwo\"", "one\ntwo"),
            ("postgres://u:p@h/n?a=b&c=d", "postgres://u:p@h/n?a=b&c=d"),
            ("a\"b", "a\"b"),
            ("ä\r", "ä"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        let (entries, slips) = parse("\u{feff}# c\r\n\r\nexport A = 1\r\n  exported=2\r\nA=3");
        assert_eq!(slips, []);
        let found: Vec<_> = entries.iter().map(|e| (e.line, e.name.as_str(), e.value.as_str())).collect();
        assert_eq!(found, [(4, "exported", "2"), (5, "A", "3")]);
    }

    #[test]
    fn every_slip_is_told_with_its_line() {
        let text = "A=1\nnonsense\nB='two\nlines'\n=x\nC D=1\nE=\"a\" b\nF=\"\\q\"\nG=\"never\nclosed";
        let (entries, slips) = parse(text);
        let names: Vec<_> = entries.iter().map(|entry| (entry.line, entry.name.as_str())).collect();
        assert_eq!(names, [(1, "A"), (3, "B")]);
        let lines: Vec<_> = slips.iter().map(|slip| slip.line).collect();
        assert_eq!(lines, [2, 5, 6, 7, 8, 9]);
        assert!(slips[3].text.contains("behind"), "{slips:?}");
        assert!(slips[5].text.contains("never closed"), "{slips:?}");
    }
}
