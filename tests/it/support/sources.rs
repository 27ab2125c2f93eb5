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
