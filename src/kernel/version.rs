//! Which version this is, and what it was built from.

use std::sync::OnceLock;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first letters of a commit's hash.
pub type Commit = [u8; 12];

static COMMIT: OnceLock<String> = OnceLock::new();
static TEXT: OnceLock<String> = OnceLock::new();

/// Said once by the binary, which alone is built anew for each commit: what whoever built it told, or what git says.
pub fn set(told: Option<&str>, head: Option<Commit>) {
    let told = told.filter(|told| !told.is_empty()).map(|told| told.chars().take(12).collect());
    let head = || head.and_then(|head| String::from_utf8(head.to_vec()).ok());
    if let Some(commit) = told.or_else(head) {
        let _ = COMMIT.set(commit);
    }
}

/// What it was built from; `unknown` where that was not told and there was no repository.
pub fn commit() -> &'static str {
    COMMIT.get().map_or("unknown", String::as_str)
}

/// `0.1.0 (0a1b2c3d4e5f)`
pub fn text() -> &'static str {
    TEXT.get_or_init(|| format!("{VERSION} ({})", commit()))
}

/// The commit that git's log of HEAD ends with. Its lines are the hashes before and after, then who, when and why.
#[expect(clippy::indexing_slicing, reason = "the compiler runs it; each index was compared with the length")]
pub const fn last_commit(log: &[u8]) -> Option<Commit> {
    let mut end = log.len();
    while end > 0 && log[end - 1] == b'\n' {
        end -= 1;
    }
    let mut begin = end;
    while begin > 0 && log[begin - 1] != b'\n' {
        begin -= 1;
    }
    // Both hashes have the same length: 40 or 64 letters.
    let mut at = begin;
    while at < end && log[at] != b' ' {
        at += 1;
    }
    at += 1;
    let mut commit = [0; 12];
    let mut count = 0;
    while count < commit.len() {
        if at + count >= end || !log[at + count].is_ascii_hexdigit() {
            return None;
        }
        commit[count] = log[at + count];
        count += 1;
    }
    Some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_log_of_head_has_the_commit() {
        let first =
            "0000000000000000000000000000000000000000 c68e3f0a7e1f1f0f40b5b0f0fb8f1a6d9a3e2c11 A <a@b> 1 +0\tclone";
        let second =
            "c68e3f0a7e1f1f0f40b5b0f0fb8f1a6d9a3e2c11 0f40b5b0f0fb8f1a6d9a3e2c11c68e3f0a7e1f1f A <a@b> 2 +0\tcommit: x";
        assert_eq!(last_commit(format!("{first}\n").as_bytes()), Some(*b"c68e3f0a7e1f"));
        assert_eq!(last_commit(format!("{first}\n{second}\n").as_bytes()), Some(*b"0f40b5b0f0fb"));
        assert_eq!(last_commit(format!("{first}\n{second}").as_bytes()), Some(*b"0f40b5b0f0fb"));
        for none in ["", "\n", "nonsense", "a b", "c68e3f0a7e1f1f0f40b5b0f0fb8f1a6d9a3e2c11 "] {
            assert_eq!(last_commit(none.as_bytes()), None, "{none}");
        }
    }
}
