//! Which passwords are taken: long ones that nobody would guess first. No composition rules (NIST SP 800-63B-4).

use std::collections::HashSet;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;

use crate::kernel::email::Email;
use crate::kernel::name::Username;

const MOST_CHARS: usize = 128;
/// More is refused before any work is done with it.
pub const MOST_BYTES: usize = 1024;
/// Names shorter than this are in every second word.
const TELLING: usize = 4;

static COMMON: LazyLock<HashSet<Box<str>>> = LazyLock::new(|| lines(include_bytes!("lists/common-passwords.txt.gz")));

/// The lines of a compressed list that is compiled in.
pub(super) fn lines(compressed: &[u8]) -> HashSet<Box<str>> {
    let mut text = String::new();
    match GzDecoder::new(compressed).read_to_string(&mut text) {
        Ok(_) => text.lines().map(Box::from).collect(),
        Err(_) => HashSet::new(),
    }
}

/// Refuses a password with the reason. The name and the address are those of its owner.
pub fn check(password: &str, least: usize, username: &str, email: &str) -> Result<(), String> {
    let length = password.chars().count();
    if password.len() > MOST_BYTES || length > MOST_CHARS {
        return Err(format!("A password has at most {MOST_CHARS} characters and {MOST_BYTES} bytes"));
    }
    if length < least {
        return Err(format!("A password has at least {least} characters"));
    }
    let lower = password.to_lowercase();
    if COMMON.contains(lower.as_str()) || is_pattern(&lower) {
        return Err("This password is too common".to_owned());
    }
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    let host = domain.split('.').next().unwrap_or_default();
    for (what, word) in [
        ("your user name", username),
        ("your e-mail address", local),
        ("your e-mail address", host),
        ("the name of this service", "referral"),
    ] {
        if word.chars().count() >= TELLING && lower.contains(&word.to_lowercase()) {
            return Err(format!("A password must not hold {what}"));
        }
    }
    Ok(())
}

/// As [`check`], for a registration.
pub fn check_new(
    password: &str,
    least: usize,
    username: Option<&Username>,
    email: Option<&Email>,
) -> Result<(), String> {
    check(password, least, username.map_or("", Username::as_str), email.map_or("", Email::as_str))
}

/// A short piece over and over (`abcabcabcabc`), or a run through the alphabet, the digits or a row of keys.
fn is_pattern(lower: &str) -> bool {
    const ROWS: &[&str] =
        &["abcdefghijklmnopqrstuvwxyz", "0123456789012345678901234567890123456789", "qwertyuiopasdfghjklzxcvbnm"];
    let chars: Vec<char> = lower.chars().collect();
    let repeats = (1..=4).any(|unit| {
        let ahead = chars.iter().skip(unit);
        chars.len() > unit && chars.iter().zip(ahead).all(|(a, b)| a == b)
    });
    let backward: String = chars.iter().rev().collect();
    repeats || ROWS.iter().any(|row| row.contains(lower) || row.contains(&backward))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(password: &str) -> Result<(), String> {
        check(password, 12, "admin4", "test4@example.ru")
    }

    #[test]
    fn long_passwords_of_any_characters_pass() {
        for good in [
            "Q123werty!23",
            "correct horse battery",
            "пароль длинный очень",
            "\u{0}\u{1}binary stuff",
            &"ab9 ".repeat(4).replace(' ', "x!"),
            &"é€z𝄞".repeat(32).replacen('z', "y", 1),
        ] {
            assert_eq!(verdict(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_is_short_long_common_or_about_oneself_is_refused_with_its_reason() {
        for (bad, reason) in [
            ("Q123werty!2", "at least 12"),
            (&*"aß9".repeat(43), "at most 128"),
            (&*"x".repeat(1025), "at most 128"),
            ("ILoveYou1234", "common"),
            ("aaaaaaaaaaaaa", "common"),
            ("abcdabcdabcd", "common"),
            ("qwertyuiopas", "common"),
            ("098765432109", "common"),
            ("my-ADMIN4-is-here", "user name"),
            ("my-test4-is-here", "e-mail"),
            ("my-example-is-here", "e-mail"),
            ("my-Referral-is-here", "this service"),
        ] {
            let error = verdict(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn short_names_are_not_looked_for() {
        assert_eq!(check("Q123werty!23", 12, "q12", "w@x.ru"), Ok(()));
    }
}
