//! The string a referrer shares.

use std::fmt;

use super::digest::sha256;
use super::fold::{is_blank, is_ignorable};

/// A well-formed code, as its owner wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code(String);

/// What a code is known by: SHA-256 of its normal form. Kept for ever, so that a string is used once even after the
/// string itself has been erased with its owner.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodeKey(pub [u8; 32]);

const LENGTHS: std::ops::RangeInclusive<usize> = 12..=32;

/// Crockford's base 32: digits and capitals without I, L, O, U.
pub(super) const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

pub const RULE: &str =
    "A code is 12 to 32 of the letters A-Z, a-z and digits 0-9, with at least one capital letter and one digit";

impl Code {
    /// The rule for making a code; at use a code is only looked up. Blanks around it are not part of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let has = |test: fn(&u8) -> bool| text.bytes().any(|b| test(&b));
        let well_formed = well_formed(text) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_digit);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(RULE) }
    }

    /// Twelve characters, 60 bits from the source given (the operating system's), drawn again until the rule holds.
    pub fn generate<E>(mut random: impl FnMut() -> Result<[u8; 12], E>) -> Result<Self, E> {
        loop {
            let bytes = random()?;
            let text: String =
                bytes.iter().filter_map(|b| ALPHABET.get(usize::from(b % 32)).map(|c| char::from(*c))).collect();
            if let Ok(code) = Self::parse(&text) {
                return Ok(code);
            }
        }
    }

    pub fn key(&self) -> CodeKey {
        key_of(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl CodeKey {
    /// The key of what somebody typed, or copied out of a message; nothing when no code could look like that.
    pub fn of(typed: &str) -> Option<Self> {
        if well_formed(typed) {
            return Some(key_of(typed));
        }
        let bare = bare(typed);
        well_formed(&bare).then(|| key_of(&bare))
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey")
    }
}

fn well_formed(text: &str) -> bool {
    LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// What somebody typed, without what stands beside a code.
pub(super) fn bare(typed: &str) -> String {
    typed.chars().filter(|c| !is_beside_a_code(*c)).collect()
}

/// What people, message programs and phones put into codes and behind them: blanks, hyphens of every kind, a full stop,
/// and characters that nobody sees.
fn is_beside_a_code(c: char) -> bool {
    let hyphen = matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}');
    c == '.' || c.is_whitespace() || hyphen || is_ignorable(c) || is_blank(c)
}

/// Case-blind, O as 0, I and L as 1: what the ear and the eye confuse is the same code.
pub(super) fn normal(text: &str) -> Vec<u8> {
    let same = |b: u8| match b.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    text.bytes().map(same).collect()
}

fn key_of(text: &str) -> CodeKey {
    CodeKey(sha256(&normal(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_read_out_over_the_phone_is_the_same_code() {
        let code = Code::parse("Spring2030IOL").unwrap();
        for spoken in ["SPRING2030IOL", "spring2030101", "SPR1NG203O1O1"] {
            assert_eq!(CodeKey::of(spoken), Some(code.key()), "{spoken}");
        }
        assert_ne!(CodeKey::of("SPRING2031IOL"), Some(code.key()));
    }

    #[test]
    fn what_stands_in_a_code_or_behind_it_is_not_part_of_it() {
        let code = Code::parse(" Spring2030IOL\n").unwrap();
        assert_eq!(code.as_str(), "Spring2030IOL");
        for copied in [
            " SPRING2030IOL",
            "SPRING2030IOL.",
            "SPRING-2030-IOL",
            "SPRING\u{2011}2030\u{2013}IOL",
            "SPRING 2030\u{a0}IOL\t\r\n",
            "\u{feff}SPRING2030IOL\u{200b}",
            "SPR\u{ad}ING2030\u{2060}IOL\u{202c}",
            "SPRING\u{3164}2030\u{2800}IOL\u{e0001}",
        ] {
            assert_eq!(CodeKey::of(copied), Some(code.key()), "{copied:?}");
            assert!(copied.trim() == "SPRING2030IOL" || Code::parse(copied).is_err(), "{copied:?}");
        }
        // Other characters are.
        for other in ["SPRING2030IOL,", "SPRING2030IOL\0", "SPRING_2030IOL", "SPRING/2030IOL", "SPRING2030IOЛ"] {
            assert_eq!(CodeKey::of(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_rule_for_making_a_code() {
        for good in ["12AF32CF8978", "RT12OOOO1234", "A12345678901", &format!("A1{}", "b".repeat(30))] {
            assert!(Code::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "FFFF1234567",
            "ffff12345678",
            "FFFFFFFFFFFF",
            "123456789012",
            "FFFF 1234567",
            "FFFF12345678\0",
            "ФFFF12345678",
            &format!("A1{}", "b".repeat(31)),
        ] {
            assert!(Code::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_code_is_drawn_again_until_the_rule_holds() {
        let mut draws = [[1; 12], [10; 12], [0, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 31]].into_iter();
        let code = Code::generate(|| draws.next().ok_or("no more")).unwrap();
        assert_eq!(code.as_str(), "0A123456789Z");
    }

    proptest! {
        #[test]
        fn any_text_is_a_code_or_refused(text in "\\PC{0,40}") {
            if let Ok(code) = Code::parse(&text) {
                prop_assert_eq!(CodeKey::of(&text.to_lowercase()), Some(code.key()));
            }
        }
    }
}
