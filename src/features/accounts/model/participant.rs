//! People whom a host's app has among its own accounts.

use crate::kernel::email::Email;
pub use crate::kernel::external_id::ExternalId;
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;

/// Characters of a language tag.
const MOST_TAG: usize = 35;

/// A language tag (BCP 47), as far as its form goes.
pub fn parse_language(text: &str) -> Result<String, &'static str> {
    let mut parts = text.split('-');
    let primary = parts.next().unwrap_or_default();
    let letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let rest = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let whole = text.len() <= MOST_TAG && (2..=3).contains(&primary.len()) && letters(primary) && parts.all(rest);
    if whole { Ok(text.to_owned()) } else { Err("A language is a tag such as en or pt-BR") }
}

/// The name that a participant has here, drawn with their id: nobody chooses it, and nobody types it.
pub fn drawn_name(id: UserId) -> Result<Username, &'static str> {
    // Without the time: what is left are 74 random bits.
    let random = id.0.as_u128() & ((1 << 80) - 1);
    Username::parse(&format!("p{random:020x}"))
}

/// What is told of a participant; what is nothing stays as it is, nothing within takes it away.
#[derive(Clone, Debug, Default)]
pub struct Details {
    pub email: Option<Option<Email>>,
    pub name: Option<Option<String>>,
    pub language: Option<Option<String>>,
    /// The host has seen that the address is theirs, and its word is taken.
    pub verified: bool,
}

/// How a participant was brought, as the host says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Nothing is said.
    Unsaid,
    By(InvitationKey),
    /// By something that neither a code nor a handle looks like: it is simply not found.
    ByNonsense,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn external_ids_are_kept_as_they_are() {
        for good in ["7", " 7 ", "user/42", "ольга", "\u{202e}\n", &"x".repeat(128)] {
            assert_eq!(ExternalId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a\0", &"x".repeat(129), &"я".repeat(65)] {
            assert!(ExternalId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ExternalId::parse("A").unwrap().hash() != ExternalId::parse("a").unwrap().hash());
    }

    #[test]
    fn languages_are_tags() {
        for good in ["en", "ru-RU", "pt-BR", "zh-Hant-TW", "gsw", "sl-IT-nedis", "de-CH-1996"] {
            assert_eq!(parse_language(good).as_deref(), Ok(good));
        }
        for bad in ["", "e", "english", "en-", "-en", "en--US", "en_US", "e1", "ру", &format!("en-{}", "a-".repeat(20))]
        {
            assert!(parse_language(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_drawn_name_is_a_name_of_its_own_for_each() {
        let id = UserId(Uuid::from_u128(0x0198_0f0c_7c1e_7d3a_9a55_0f8d_6f2b_6d11));
        assert_eq!(drawn_name(id).unwrap().as_str(), "p7d3a9a550f8d6f2b6d11");
        assert!(drawn_name(UserId(Uuid::nil())).is_ok());
        assert_ne!(drawn_name(UserId::new()), drawn_name(UserId::new()));
    }
}
