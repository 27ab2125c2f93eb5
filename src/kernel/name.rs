//! The name a person is known by.

use super::fold::{look_alike, nfkc};

/// A user name in NFKC, with the form it is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

impl Username {
    /// Blanks around it are not part of it.
    pub fn parse(input: &str) -> Result<Self, &'static str> {
        let input = input.trim();
        let text = nfkc(input);
        let length = text.chars().count();
        if length == 0 {
            return Err("A user name cannot be empty");
        }
        if length > 50 || input.chars().count() > 50 {
            return Err("A user name has at most 50 characters");
        }
        if !text.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '@' | '+' | '-' | '_')) {
            return Err("A user name holds only letters, digits and . @ + - _");
        }
        let key = look_alike(&text);
        Ok(Self { text, key })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> &str {
        &self.key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_any_script_and_nothing_else() {
        for good in ["admin4", "админ", "a.b@c+d-e_f", "名前", &"u".repeat(50)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\0b", "a\u{202e}b", "a\u{200b}b", "a/b", "<b>", &"u".repeat(51)] {
            assert!(Username::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn blanks_around_a_name_are_not_part_of_it() {
        for typed in [" admin", "admin \t\r\n", "\u{a0}admin\u{3000}"] {
            assert_eq!(Username::parse(typed).unwrap().as_str(), "admin", "{typed:?}");
        }
        assert!(Username::parse(" ").is_err());
    }

    #[test]
    fn look_alikes_share_a_key() {
        let key = |name| Username::parse(name).unwrap().key().to_owned();
        assert_eq!(key("Admin"), key("ａｄｍｉｎ"));
        assert_eq!(Username::parse("ａｄｍｉｎ").unwrap().as_str(), "admin");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_refused(text in "\\PC{0,60}") {
            if let Ok(name) = Username::parse(&text) {
                let again = Username::parse(name.as_str()).unwrap();
                prop_assert_eq!(again.key(), name.key());
            }
        }
    }
}
