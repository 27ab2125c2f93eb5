//! The text of the repository's files.

use std::path::Path;

/// The files below a folder of the repository with this ending: their paths in the repository, in order, and their
/// texts.
pub fn files(folder: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a plain name"));
        if entry.path().is_dir() {
            found.extend(files(&path, ending));
        } else if path.ends_with(ending) {
            found.push((path, std::fs::read_to_string(entry.path()).expect("a text")));
        }
    }
    found.sort();
    found
}

/// All code below a folder.
pub fn code_in(folder: &str) -> String {
    files(folder, ".rs").into_iter().map(|(_, text)| text).collect()
}

/// Without comments and the content of literals, and without the unit tests, which come last in a file.
pub fn code_of(text: &str) -> String {
    let (text, _) = text.split_once("#[cfg(test)]").unwrap_or((text, ""));
    let mut code = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(raw) = rest.strip_prefix("r#\"") {
            raw.find("\"#").map_or(rest.len(), |end| end + 5)
        } else if let Some(raw) = rest.strip_prefix("r\"") {
            raw.find('"').map_or(rest.len(), |end| end + 3)
        } else if letter == '"' {
            literal(rest)
        } else if letter == '\'' && (rest.starts_with("'\\") || rest.chars().nth(2) == Some('\'')) {
            // A character; a lifetime has no second quote there.
            literal(rest)
        } else {
            code.push(letter);
            letter.len_utf8()
        };
        rest = rest.get(skipped..).expect("between two characters");
    }
    code
}

/// The length of the literal at the beginning, with its quotes.
pub fn literal(text: &str) -> usize {
    let quote = text.chars().next().expect("a quote");
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
