//! The lasting name of a person's link: codes expire and are replaced, a handle leads to whatever code is active.

use std::fmt;

use super::code::{ALPHABET, CodeKey, bare, normal};
use super::digest::sha256;

/// A well-formed handle, in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle(String);

/// What a handle is known by: SHA-256 of its normal form, which is that of codes. Kept for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HandleKey(pub [u8; 32]);

/// What brings somebody: a code, or the handle of whoever's active code is meant. The length tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InvitationKey {
    Code(CodeKey),
    Handle(HandleKey),
}

/// Shorter than any code, so that no handle can be one.
const LENGTHS: std::ops::RangeInclusive<usize> = 4..=11;

pub const RULE: &str = "A handle is 4 to 11 of the letters a-z and digits 0-9";
pub const UNFIT: &str = "This handle is not available; please choose another";

impl Handle {
    /// The rule for choosing a handle; at use a handle is only looked up. Case, blanks, hyphens and full stops are no
    /// part of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let handle = Self::typed(text).ok_or(RULE)?;
        if is_unfit(&handle.0) { Err(UNFIT) } else { Ok(handle) }
    }

    /// What somebody typed, or copied out of a message; nothing when no handle could look like that.
    pub fn typed(text: &str) -> Option<Self> {
        let bare = bare(text).to_ascii_lowercase();
        well_formed(&bare).then_some(Self(bare))
    }

    /// Eight characters, 40 bits from the source given (the operating system's), drawn again until they say nothing.
    pub fn generate<E>(mut random: impl FnMut() -> Result<[u8; 8], E>) -> Result<Self, E> {
        loop {
            let bytes = random()?;
            let text: String =
                bytes.iter().filter_map(|b| ALPHABET.get(usize::from(b % 32)).map(|c| char::from(*c))).collect();
            if let Ok(handle) = Self::parse(&text) {
                return Ok(handle);
            }
        }
    }

    /// What the database has, which has passed the rule once.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn key(&self) -> HandleKey {
        key_of(&self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InvitationKey {
    /// The key of what somebody typed, or copied out of a message; nothing when neither could look like that.
    pub fn of(typed: &str) -> Option<Self> {
        CodeKey::of(typed).map(Self::Code).or_else(|| Handle::typed(typed).map(|handle| Self::Handle(handle.key())))
    }

    /// Its hash. Of a code and a handle it is never the same, for they have no length in common.
    pub fn bytes(&self) -> &[u8; 32] {
        match self {
            Self::Code(key) => &key.0,
            Self::Handle(key) => &key.0,
        }
    }
}

impl fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandleKey")
    }
}

fn well_formed(text: &str) -> bool {
    LENGTHS.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn key_of(text: &str) -> HandleKey {
    HandleKey(sha256(&normal(text)))
}

/// Names that would pass for the service's, or for nothing, as a whole.
const RESERVED: &[&str] = &[
    "about",
    "account",
    "accounts",
    "admin",
    "api",
    "billing",
    "code",
    "codes",
    "contact",
    "docs",
    "download",
    "erased",
    "error",
    "health",
    "help",
    "home",
    "info",
    "invite",
    "login",
    "logout",
    "mail",
    "manager",
    "moderator",
    "none",
    "null",
    "oauth",
    "official",
    "owner",
    "payment",
    "payments",
    "program",
    "qrcode",
    "redirect",
    "referral",
    "referrals",
    "register",
    "root",
    "security",
    "service",
    "settings",
    "share",
    "signin",
    "signup",
    "staff",
    "static",
    "status",
    "support",
    "system",
    "team",
    "undefined",
    "widget",
    "www",
];

/// Beginnings of words that nobody wants to hand out, in English and in Russian as it is written in Latin letters.
/// They are refused wherever they stand.
const RUDE: &[&str] = &[
    "anal", "anus", "bastard", "bitch", "blowjob", "boob", "cock", "cunt", "dick", "dildo", "fag", "fuck", "hitler",
    "incest", "jizz", "kike", "nazi", "negro", "nigg", "orgasm", "penis", "piss", "porn", "pussy", "rape", "retard",
    "scam", "sex", "shit", "slut", "tits", "twat", "vagina", "wank", "whore", "xxx", "bliad", "blya", "chmo", "debil",
    "dolboeb", "ebal", "eban", "gandon", "govno", "huil", "hujn", "huya", "huye", "huyn", "jopa", "mudak", "mudil",
    "nahui", "nahuy", "padla", "pidar", "pidor", "pizd", "poebat", "shluh", "suka", "xuil", "xuya", "zalup", "zhopa",
];

/// Whether it is reserved or rude, read the way people read digits for letters.
fn is_unfit(text: &str) -> bool {
    let plain = spelled(text);
    RESERVED.iter().any(|word| spelled(word) == plain) || RUDE.iter().any(|word| plain.contains(&spelled(word)))
}

/// In letters, those that look alike as one.
fn spelled(text: &str) -> String {
    let letter = |c: char| match c.to_ascii_lowercase() {
        '0' => 'o',
        '1' | 'l' => 'i',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        '8' => 'b',
        other => other,
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_rule_for_choosing_a_handle() {
        for (typed, handle) in
            [("olga", "olga"), (" Olga-7.\n", "olga7"), ("OLGA 2030", "olga2030"), ("k3j9x2mqtea", "k3j9x2mqtea")]
        {
            assert_eq!(Handle::parse(typed).unwrap().as_str(), handle);
        }
        for bad in ["", "abc", "ol_ga", "ольга", "olga\0", "olga@home", "abcdefghijkl"] {
            assert_eq!(Handle::parse(bad), Err(RULE), "{bad:?}");
        }
        for unfit in ["admin", "4dm1n", "Support", "referrals", "myfuck", "sh1tty", "P-I-D-O-R", "xxxl"] {
            assert_eq!(Handle::parse(unfit), Err(UNFIT), "{unfit:?}");
        }
        // What only begins like one of the service's names is somebody's.
        for fine in ["administer", "teamolga", "helpful", "nulla"] {
            assert!(Handle::parse(fine).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn a_handle_read_out_over_the_phone_is_the_same_handle() {
        let key = InvitationKey::Handle(Handle::parse("olga1").unwrap().key());
        for spoken in ["OLGA1", "0lga1", "o1gal", "O-L-G-A-1.", "\u{feff}olgaI\u{200b}"] {
            assert_eq!(InvitationKey::of(spoken), Some(key), "{spoken}");
        }
        assert_ne!(InvitationKey::of("olga2"), Some(key));
    }

    #[test]
    fn the_length_tells_a_handle_from_a_code() {
        for (length, handle) in [(4, true), (11, true), (12, false), (32, false)] {
            let key = InvitationKey::of(&"A1".repeat(16).chars().take(length).collect::<String>()).unwrap();
            assert_eq!(matches!(key, InvitationKey::Handle(_)), handle, "{length}");
        }
        for none in ["", "abc", &"a".repeat(33), "olga_1"] {
            assert_eq!(InvitationKey::of(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_handle_is_drawn_again_until_it_says_nothing() {
        // "FAG…", then eight that are one.
        let mut draws = [[15, 10, 16, 0, 0, 0, 0, 0], [2, 3, 4, 5, 6, 10, 29, 31]].into_iter();
        assert_eq!(Handle::generate(|| draws.next().ok_or("no more")).unwrap().as_str(), "23456axz");
    }

    proptest! {
        #[test]
        fn any_text_is_a_handle_or_refused(text in "\\PC{0,20}") {
            if let Ok(handle) = Handle::parse(&text) {
                prop_assert_eq!(InvitationKey::of(&text), Some(InvitationKey::Handle(handle.key())));
                prop_assert_eq!(Handle::parse(handle.as_str()), Ok(handle));
            }
        }
    }
}
