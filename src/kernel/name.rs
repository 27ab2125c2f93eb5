//! The name a person is known by.

use super::fold::{former_look_alike, is_blank, is_ignorable, look_alike, nfkc, plain_width};
use super::precis::{begins_with_mark, has_lost_mark, is_identifier, keeps_direction};

/// A user name as it was typed, in NFC (the UsernameCasePreserved profile of RFC 8265), with the form it is compared
/// by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username {
    text: String,
    key: String,
}

const MOST: usize = 50;

impl Username {
    /// Blanks around it are not part of it.
    pub fn parse(input: &str) -> Result<Self, &'static str> {
        let input = input.trim();
        let text = plain_width(input);
        let length = text.chars().count();
        if length == 0 {
            return Err("A user name cannot be empty");
        }
        if length > MOST || input.chars().count() > MOST {
            return Err("A user name has at most 50 characters");
        }
        if text.contains(|c| is_ignorable(c) || is_blank(c)) {
            return Err("A user name has no invisible characters");
        }
        if !text.chars().all(is_in_alphabet) || !is_identifier(&text) {
            return Err("A user name holds only letters, digits and . @ + - _");
        }
        if begins_with_mark(&text) {
            return Err("A user name does not begin with a combining mark");
        }
        if has_lost_mark(&text) {
            return Err("A user name has each combining mark on a letter of its script");
        }
        if !keeps_direction(&text) {
            return Err("A user name does not mix letters of both directions");
        }
        let key = look_alike(&text);
        Ok(Self { text: text.into_owned(), key })
    }

    /// The key that a name had by the rules before these; nothing for what was no name then.
    pub fn former_key(input: &str) -> Option<String> {
        let input = input.trim();
        let text = nfkc(input);
        let length = text.chars().count();
        let fits = (1..=MOST).contains(&length) && input.chars().count() <= MOST;
        let was_name = fits && text.chars().all(|c| c.is_alphanumeric() || is_in_alphabet(c) && c.is_ascii());
        was_name.then(|| former_look_alike(&text))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> &str {
        &self.key
    }
}

fn is_in_alphabet(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '.' | '@' | '+' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_any_script_and_nothing_else() {
        for good in ["admin4", "админ", "a.b@c+d-e_f", "名前", "प्रिया", "ศักดิ์", "দীপ্তি", "Ṣọlá", &"u".repeat(50)]
        {
            assert_eq!(Username::parse(good).as_ref().map(Username::as_str), Ok(good));
        }
        let hidden = "A user name has no invisible characters";
        for (bad, why) in [
            ("", "A user name cannot be empty"),
            ("a b", "A user name holds only letters, digits and . @ + - _"),
            ("a\0b", "A user name holds only letters, digits and . @ + - _"),
            ("a/b", "A user name holds only letters, digits and . @ + - _"),
            ("<b>", "A user name holds only letters, digits and . @ + - _"),
            ("a\u{202e}b", hidden),
            ("a\u{200b}b", hidden),
            ("admin7\u{115f}", hidden),
            ("admin7\u{1160}", hidden),
            ("admin7\u{3164}", hidden),
            ("admin7\u{ffa0}", hidden),
            ("\u{301}admin", "A user name does not begin with a combining mark"),
            ("admin\u{5d0}", "A user name does not mix letters of both directions"),
            (&"u".repeat(51), "A user name has at most 50 characters"),
        ] {
            assert_eq!(Username::parse(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_shown_as_it_was_typed() {
        // Ya, nukta: what Bengali types as two characters stays so, and what has one is composed; Thai am is not taken
        // apart.
        for (typed, shown) in
            [("Zo\u{308}e", "Zöe"), ("\u{9af}\u{9bc}", "\u{9af}\u{9bc}"), ("น้ำฝน", "น้ำฝน"), ("ａｄｍｉｎ", "admin")]
        {
            assert_eq!(Username::parse(typed).unwrap().as_str(), shown);
        }
    }

    #[test]
    fn names_from_before_keep_their_keys() {
        for name in ["Admin", "ﬁx", "STRASSE", "Ⅳ", "admin7\u{115f}", "م\u{640}", "abcד", "\u{93e}x"] {
            assert_eq!(Username::former_key(name).as_deref(), Some(&*former_look_alike(name)), "{name}");
        }
        for none in ["", "a b", "a\0b", "a\u{200b}b", "प्रिया", &"u".repeat(51)] {
            assert_eq!(Username::former_key(none), None, "{none:?}");
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
                // Whoever may register now has the key that they would have had before, if any.
                prop_assert!(Username::former_key(&text).is_none_or(|former| former == name.key()));
            }
        }
    }
}
