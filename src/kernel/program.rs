//! What managers set of a referral program, as every node has it in memory.

use std::collections::BTreeMap;

use url::{Host, Url};

use crate::words;

/// The one program there is, as paths name it.
pub const DEFAULT: &str = "default";

words! {
    /// Whether a program counts what happens.
    pub enum ProgramState as "ProgramState" {
        Active = "active",
        Paused = "paused",
        Ended = "ended",
    }
}

/// A program with its settings.
#[derive(Clone, Debug)]
pub struct Program {
    pub slug: String,
    pub name: String,
    pub state: ProgramState,
    /// Where links lead; nothing for our own registration page.
    pub landing_url: Option<LandingUrl>,
    /// Days that codes live which the service issues, give or take a tenth.
    pub code_days: i64,
    /// Whether an issued code that has expired is followed by the next.
    pub auto_renew: bool,
    pub share_texts: ShareTexts,
    /// Days that rewards wait until they are available, where their rule does not say it.
    pub hold_days: i64,
    /// What hosts may tell of beside purchases.
    pub event_types: Vec<String>,
    /// How much it gives in each unit; in those that are not here, as much as rules say.
    pub budgets: BTreeMap<String, i64>,
    /// Whether a rule in force is about sign-ups.
    pub sign_up_rules: bool,
}

/// Characters of a type of events.
const MOST_TYPE: usize = 32;

/// Whether a word may be a type of events.
pub fn is_event_type(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=MOST_TYPE).contains(&word.len())
        && word.starts_with(|first: char| first.is_ascii_lowercase())
        && word.bytes().all(letter)
}

/// A page of the host's that people are led to. It has passed the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandingUrl(String);

/// Characters of a landing page's address.
const MOST_URL: usize = 1000;

impl LandingUrl {
    /// https anywhere, http on this machine; no user name, no password, no fragment.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > MOST_URL {
            return Err("A landing page's address has 1 to 1000 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte)) {
            return Err("A landing page's address is plain ASCII without spaces or fragments (#)");
        }
        let url = Url::parse(text).map_err(|_| "A landing page's address is absolute, such as https://example.com/")?;
        // What browsers and we would otherwise read each in their own way.
        let behind = text.split_once(':').and_then(|(_, rest)| rest.strip_prefix("//"));
        if behind.is_none_or(|rest| rest.starts_with('/')) {
            return Err("A landing page's address has two slashes behind https: and then a host");
        }
        let authority = behind.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        if authority.contains('@') {
            return Err("A landing page's address has no user name or password");
        }
        match url.scheme() {
            "https" if url.has_host() => Ok(Self(text.to_owned())),
            "http" if is_loopback(&url) => Ok(Self(text.to_owned())),
            _ => Err("A landing page's address is https, unless it leads to this machine"),
        }
    }

    /// What the database has, which has passed the rule once.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an address leads to the machine that it is used on.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// What people are offered to say when they share their link, by language. Nothing for our own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareTexts {
    pub en: Option<ShareText>,
    pub ru: Option<ShareText>,
}

/// A text with `{name}`, `{link}` and `{reward}` to be filled in. It has passed the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareText(String);

/// Characters of a share text.
const MOST_TEXT: usize = 512;

impl ShareText {
    /// The link has to be in it, and between braces nothing but what we can fill in.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || length > MOST_TEXT {
            return Err("A share text has 1 to 512 characters");
        }
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err("A share text has no control characters but line ends");
        }
        let rest = ["{name}", "{link}", "{reward}"].iter().fold(text.to_owned(), |text, known| text.replace(known, ""));
        if rest.contains(['{', '}']) {
            return Err("A share text has nothing between braces but {name}, {link} and {reward}");
        }
        if !text.contains("{link}") {
            return Err("A share text has {link} in it");
        }
        Ok(Self(text.to_owned()))
    }

    /// What the database has, which has passed the rule once.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_landing_page_is_https_or_on_this_machine() {
        for good in [
            "https://shop.example.com",
            "https://shop.example.com:8443/join?a=1&b=2",
            "https://shop.example.com/@us",
            "http://127.0.0.1:3000/",
            "http://[::1]:3000/join",
            "http://localhost/join",
        ] {
            assert_eq!(LandingUrl::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/join",
            "//shop.example.com/join",
            "shop.example.com/join",
            "http://shop.example.com/join",
            "http://localhost.example.com/",
            "https:shop.example.com",
            "https:/shop.example.com",
            "https:///shop.example.com",
            "https://",
            "https://user@shop.example.com/",
            "https://user:secret@shop.example.com/",
            "https://@shop.example.com/",
            "https://shop.example.com/#top",
            "https://shop.example.com/a b",
            "https://shop.example.com/\u{442}",
            "https://shop.example.com\\@evil.example",
            "javascript:alert(1)",
            "com.example.app:/cb",
            "ftp://shop.example.com/",
        ] {
            assert!(LandingUrl::parse(bad).is_err(), "{bad}");
        }
        assert!(LandingUrl::parse(&format!("https://a.example/{}", "x".repeat(1000))).is_err());
    }

    #[test]
    fn a_share_text_has_the_link_and_nothing_that_is_not_filled_in() {
        for good in ["{link}", " {name} gives you {reward}:\n{link} ", "Идём со мной: {link}"] {
            assert_eq!(ShareText::parse(good).unwrap().as_str(), good.trim());
        }
        for bad in ["", " ", "no link", "{link", "{ link }", "{link} {code}", "{{link}}", "{link}\u{0}", "{link} }"] {
            assert!(ShareText::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ShareText::parse(&format!("{{link}}{}", "x".repeat(507))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
            if let Ok(url) = LandingUrl::parse(&text) {
                prop_assert!(Url::parse(url.as_str()).is_ok());
            }
            let _ = ShareText::parse(&text);
        }
    }
}
