//! E-mail addresses.

use email_address::{EmailAddress, Options};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::fold::{look_alike, nfkc};

/// An address in NFKC with its domain in lower-case ASCII (IDNA), and the form it is compared by.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    text: String,
    key: String,
}

const OPTIONS: Options = Options { minimum_sub_domains: 2, allow_domain_literal: false, allow_display_text: false };
const INVALID: &str = "The value is not a valid e-mail address";

impl Email {
    /// Blanks around it are not part of it.
    pub fn parse(input: &str) -> Result<Self, &'static str> {
        let input = input.trim();
        if input.chars().count() > 150 {
            return Err("An e-mail address has at most 150 characters");
        }
        let text = nfkc(input);
        let Some((local, domain)) = text.rsplit_once('@') else {
            return Err("An e-mail address must have an @-sign");
        };
        // Quoted local parts are legal and used by nobody but attackers; beyond ASCII only letters and digits.
        if local.starts_with('"')
            || !local.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && c.is_alphanumeric()))
        {
            return Err(INVALID);
        }
        let domain = Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
            .map_err(|_| "The domain of the e-mail address is not valid")?;
        let text = format!("{local}@{domain}");
        EmailAddress::parse_with_options(&text, OPTIONS).map_err(|_| INVALID)?;
        if text.chars().count() > 150 {
            return Err("An e-mail address has at most 150 characters");
        }
        let key = format!("{}@{domain}", look_alike(local));
        Ok(Self { text, key })
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

impl std::fmt::Debug for Email {
    /// Addresses do not belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Email(…)")
    }
}

/// How an address looks to those who may not see it: `test@test.ru` as `t***@t***.ru`. Other text is left as it is.
pub fn mask(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_owned() };
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
    fn a_masked_address_shows_two_letters_and_the_top_domain() {
        assert_eq!(mask("test@test.ru"), "t***@t***.ru");
        assert_eq!(mask("a@sub.mail.example"), "a***@s***.example");
        assert_eq!(mask("no address"), "no address");
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "\\PC{0,40}(@\\PC{0,20})?") {
            if let Ok(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()).map(|e| e.key), Ok(email.key.clone()));
            }
            let _ = mask(&text);
        }
    }
}
