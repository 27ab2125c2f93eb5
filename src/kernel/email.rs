//! E-mail addresses.

use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::fold::{former_look_alike, is_blank, is_ignorable, look_alike, nfkc, plain_width};
use super::precis::{begins_with_mark, has_lost_mark, is_visible};

/// An address as it was typed, in NFC (RFC 6532), with its domain in lower-case ASCII (IDNA), and the form it is
/// compared by.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

const OPTIONS: Options = Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };
const INVALID: &str = "The value is not a valid e-mail address";
const MOST: usize = 150;
const TOO_LONG: &str = "An e-mail address has at most 150 characters";

impl Email {
    /// Blanks around it are not part of it.
    pub fn parse(input: &str) -> Result<Self, &'static str> {
        let input = input.trim();
        if input.chars().count() > MOST {
            return Err(TOO_LONG);
        }
        let text = plain_width(input);
        if text.contains(|c| is_ignorable(c) || is_blank(c)) {
            return Err("An e-mail address has no invisible characters");
        }
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err("An e-mail address must have an @-sign");
        };
        // RFC 6531 takes every character beyond ASCII; here each must be seen. What it is compared by is an address
        // too.
        let compared = nfkc(local);
        if !is_local(local) || !is_local(&compared) {
            return Err(INVALID);
        }
        let domain = ascii(domain)?;
        let text = whole(local, &domain)?;
        if compared != local {
            whole(&compared, &domain)?;
        }
        let key = format!("{}@{domain}", look_alike(local));
        Ok(Self { text, key })
    }

    /// The key that an address had by the rules before these; nothing for what was no address then.
    pub fn former_key(input: &str) -> Option<String> {
        let input = input.trim();
        if input.chars().count() > MOST {
            return None;
        }
        let text = nfkc(input);
        let (local, domain) = text.rsplit_once('@')?;
        let was_local = |c: char| c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric());
        if local.starts_with('"') || !local.chars().all(was_local) {
            return None;
        }
        let domain = ascii(domain).ok()?;
        whole(local, &domain).ok()?;
        Some(format!("{}@{domain}", former_look_alike(local)))
    }

    /// Whether a text is this very address, and not one that only normal forms make the same: the local part to the
    /// character, the domain in ASCII or in Unicode, in which only the case of ASCII makes no difference.
    pub fn is_written(&self, text: &str) -> bool {
        let Some((local, domain)) = text.rsplit_once('@') else { return false };
        let (unicode, _) = Uts46::new().to_unicode(self.domain().as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
        local == self.local() && [self.domain(), &unicode].iter().any(|ours| ours.eq_ignore_ascii_case(domain))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What makes two spellings one address.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn local(&self) -> &str {
        self.text.rsplit_once('@').map_or("", |(local, _)| local)
    }

    pub fn domain(&self) -> &str {
        self.text.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

/// Quoted local parts are legal and used by nobody but attackers.
fn is_local(local: &str) -> bool {
    let all = local.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && is_visible(c)));
    all && !local.starts_with('"') && !begins_with_mark(local) && !has_lost_mark(local)
}

fn ascii(domain: &str) -> Result<String, &'static str> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| "The domain of the e-mail address is not valid")
}

fn whole(local: &str, domain: &str) -> Result<String, &'static str> {
    let text = format!("{local}@{domain}");
    // The library takes letters and digits alone for characters beyond ASCII; they were looked at, so letters of the
    // same length stand for them.
    let stand_in = |byte: u8| if byte.is_ascii() { char::from(byte) } else { 'x' };
    let ascii = if text.is_ascii() { Cow::from(&text) } else { text.bytes().map(stand_in).collect() };
    EmailAddress::parse_with_options(&ascii, OPTIONS).map_err(|_| INVALID)?;
    if text.chars().count() > MOST { Err(TOO_LONG) } else { Ok(text) }
}

impl std::fmt::Debug for Email {
    /// Addresses do not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email(…)")
    }
}

/// How an address looks to those who may not see it: `test@test.ru` as `t***@t***.ru`. Other text is left as it is.
pub fn mask(address: &str) -> String {
    // The second and third are other spellings of the sign, of keyboards that write wide letters.
    let Some((local, domain)) = address.rsplit_once(['@', '\u{ff20}', '\u{fe6b}']) else { return address.to_owned() };
    let first = |text: &str| text.chars().next().map(String::from).unwrap_or_default();
    match domain.rsplit_once('.') {
        Some((host, top)) => format!("{}***@{}***.{top}", first(local), first(host)),
        None => format!("{}***@{}***", first(local), first(domain)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_domain_is_made_plain_and_the_local_part_kept() {
        for (input, text) in [
            ("Test6@TEST.RU", "Test6@test.ru"),
            ("a+b@test.ru", "a+b@test.ru"),
            (" a+b@test.ru\t\r\n", "a+b@test.ru"),
            ("\u{a0}a+b@test.ru\u{3000}", "a+b@test.ru"),
            ("o'neil@test.ru", "o'neil@test.ru"),
            ("ivan@почта.рф", "ivan@xn--80a1acny.xn--p1ai"),
            ("ａｂ＠ｔｅｓｔ．ｒｕ", "ab@test.ru"),
            ("юзер@test.ru", "юзер@test.ru"),
            ("Zo\u{308}e@test.ru", "Zöe@test.ru"),
            ("संपर्क@डाटामेल.भारत", "संपर्क@xn--c2bd4bq1db8d.xn--h2brj9c"),
            ("ผู้ใช้@ตัวอย่าง.ไทย", "ผู้ใช้@xn--72c1a1bt4awk9o.xn--o3cw4h"),
            ("น้ำ@test.ru", "น้ำ@test.ru"),
            ("ﬁx@test.ru", "ﬁx@test.ru"),
            ("ivan☃@test.ru", "ivan☃@test.ru"),
        ] {
            assert_eq!(Email::parse(input).map(|e| e.text).as_deref(), Ok(text), "{input}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "abc",
            "a@b",
            "@test.ru",
            "a@",
            "a b@test.ru",
            "a@test..ru",
            "a@-test.ru",
            "a@[127.0.0.1]",
            "\"a b\"@test.ru",
            "A <a@test.ru>",
            "a@test.ru\0",
            "a\0@test.ru",
            "a\u{202e}@test.ru",
            "a@te\u{200b}st.ru\u{200b}.",
            "a\u{ad}@test.ru",
            "a\u{115f}@test.ru",
            "a\u{ffa0}@test.ru",
            "a@exam\u{ad}ple.com",
            "\u{301}a@test.ru",
            "a\u{a0}b@test.ru",
            "a\u{fe6b}b@test.ru",
            "a\u{2025}b@test.ru",
            "a\u{e000}@test.ru",
            ".a@test.ru",
            "a..b@test.ru",
            &format!("{}@test.ru", "a".repeat(65)),
            &format!("a@{}.ru", "b".repeat(150)),
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn one_address_has_one_key() {
        let key = |text| Email::parse(text).unwrap().key;
        assert_eq!(key("TEST@Test.ru"), key("test@test.RU"));
        assert_eq!(key("ivan@ПОЧТА.рф"), key("IVAN@xn--80a1acny.xn--p1ai"));
        assert_ne!(key("a+b@test.ru"), key("a@test.ru"));
    }

    #[test]
    fn addresses_from_before_keep_their_keys() {
        for (address, key) in [
            ("A@Test.ru", "a@test.ru"),
            ("ﬁx@test.ru", "fix@test.ru"),
            ("a\u{115f}@test.ru", "a\u{115f}@test.ru"),
            ("a@exam\u{ad}ple.com", "a@example.com"),
        ] {
            assert_eq!(Email::former_key(address).as_deref(), Some(key));
        }
        for none in ["a b@test.ru", "me@home", "संपर्क@test.ru", "me"] {
            assert_eq!(Email::former_key(none), None, "{none}");
        }
    }

    #[test]
    fn an_address_is_written_in_ascii_or_in_unicode_and_in_no_other_way() {
        let written = |address: &str, text: &str| Email::parse(address).unwrap().is_written(text);
        for (address, text) in [
            ("Ivan@example.com", "Ivan@Example.COM"),
            ("ivan@почта.рф", "ivan@почта.рф"),
            ("ivan@почта.рф", "ivan@XN--80a1acny.xn--p1ai"),
            ("ivan@straße.de", "ivan@straße.de"),
        ] {
            assert!(written(address, text), "{text}");
        }
        for (address, text) in [
            ("ivan@example.com", "Ivan@example.com"),
            ("ivan@example.com", "ivan@exam\u{ad}ple.com"),
            ("ivan@example.com", "ivan@ｅxample.com"),
            ("ivan@kino.com", "ivan@\u{212a}ino.com"),
            ("ivan@example.com", "ivan@example。com"),
            ("ivan@почта.рф", "ivan@ПОЧТА.рф"),
            ("ivan@example.com", "example.com"),
        ] {
            assert!(!written(address, text), "{text}");
        }
    }

    #[test]
    fn a_masked_address_shows_two_letters_and_the_top_domain() {
        assert_eq!(mask("test@test.ru"), "t***@t***.ru");
        assert_eq!(mask("a@sub.mail.example"), "a***@s***.example");
        assert_eq!(mask("no address"), "no address");
        assert_eq!(mask("test＠test.ru"), "t***@t***.ru");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "\\PC{0,40}(@\\PC{0,20})?") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()).map(|e| e.key), Ok(email.key.clone()));
                prop_assert!(Email::former_key(&text).is_none_or(|former| former == email.key));
            }
            let _ = mask(&text);
        }
    }
}
