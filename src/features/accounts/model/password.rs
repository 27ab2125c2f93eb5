//! Which passwords are taken: long ones that nobody would guess first. No composition rules (NIST SP 800-63B-4).

use std::collections::HashSet;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use idna::AsciiDenyList;
use idna::uts46::{Hyphens, Uts46};

use crate::kernel::email::Email;
use crate::kernel::fold::{look_alike, nfc};
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

/// Refuses a password with the reason. The name and the address are those of its owner. What counts is the password in
/// NFC, which is what is hashed, and what it looks like.
pub fn check(password: &str, least: usize, username: &str, email: &str) -> Result<(), String> {
    if password.len() > MOST_BYTES {
        return Err(too_long());
    }
    let password = nfc(password);
    let length = password.chars().count();
    if password.len() > MOST_BYTES || length > MOST_CHARS {
        return Err(too_long());
    }
    if length < least {
        return Err(format!("A password has at least {least} characters"));
    }
    let plain = look_alike(&password);
    if COMMON.contains(plain.as_str()) || is_pattern(&plain) {
        return Err("This password is too common".to_owned());
    }
    let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
    // Stored in ASCII, and told so; people think of it in their own letters.
    let (shown, _) = Uts46::new().to_unicode(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    let labels = shown.split('.').chain(domain.split('.')).map(|label| ("your e-mail address", label));
    let words =
        [("your user name", username), ("your e-mail address", local), ("the name of this service", "referral")];
    for (what, word) in words.into_iter().chain(labels) {
        let word = look_alike(word);
        if word.chars().count() >= TELLING && plain.contains(&word) {
            return Err(format!("A password must not hold {what}"));
        }
    }
    Ok(())
}

fn too_long() -> String {
    format!("A password has at most {MOST_CHARS} characters and {MOST_BYTES} bytes")
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
fn is_pattern(plain: &str) -> bool {
    const ROWS: &[&str] =
        &["abcdefghijklmnopqrstuvwxyz", "0123456789012345678901234567890123456789", "qwertyuiopasdfghjklzxcvbnm"];
    let chars: Vec<char> = plain.chars().collect();
    let repeats = (1..=4).any(|unit| {
        let ahead = chars.iter().skip(unit);
        chars.len() > unit && chars.iter().zip(ahead).all(|(a, b)| a == b)
    });
    let backward: String = chars.iter().rev().collect();
    repeats || ROWS.iter().any(|row| row.contains(plain) || row.contains(&backward))
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
    fn what_looks_like_a_name_of_ones_own_or_of_ours_is_one() {
        let refused = |password: &str, email: &str| check(password, 12, "Zaunkönig", email).unwrap_err();
        for (bad, reason) in [
            ("my-ＺＡＵＮＫÖＮＩＧ-is-here", "user name"),
            ("my-zaunko\u{308}nig-is-here", "user name"),
            ("my-zaun\u{ad}könig-is-here", "user name"),
            ("my-ｒｅｆｅｒｒａｌ-is-here", "this service"),
            ("my-refe\u{200b}rral-is-here", "this service"),
            ("ｐａｓｓｗｏｒｄ１２３４５", "common"),
            ("my-mail-box-is-here", "e-mail"),
            ("my-example-is-here", "e-mail"),
            ("my-museum-is-here", "e-mail"),
        ] {
            let error = refused(bad, "w@mail.example.museum");
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert!(refused("это-Почта-моя-42", "w@xn--80a1acny.xn--p1ai").contains("e-mail"));
        assert_eq!(check("Q123werty!23", 12, "w", "w@a.mx.io"), Ok(()));
    }

    #[test]
    fn a_character_written_in_two_ways_counts_once() {
        assert!(check(&"o\u{308}".repeat(6), 12, "", "").unwrap_err().contains("at least 12"));
        assert_eq!(check("zo\u{308}xa\u{308}b7-wq.kl", 12, "", ""), Ok(()));
    }

    #[test]
    fn short_names_are_not_looked_for() {
        assert_eq!(check("Q123werty!23", 12, "q12", "w@x.ru"), Ok(()));
    }
}
