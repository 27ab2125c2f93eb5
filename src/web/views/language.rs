//! Which of our languages a visitor reads.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::request::Parts;

use super::words::{ENGLISH, RUSSIAN, Words};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Russian,
}

/// What a request asks for by its header.
impl<S: Send + Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let header = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Ok(Self::of(header, None))
    }
}

/// Entries of a header that are looked at: nobody reads more languages.
const MOST_ENTRIES: usize = 64;

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// The first of `ui_locales` (OpenID Connect: tags with a space between, the favourite first) that we have, else
    /// what `Accept-Language` likes best, else English.
    pub fn of(accept_language: Option<&str>, ui_locales: Option<&str>) -> Self {
        let asked = ui_locales.unwrap_or_default();
        let first = asked.split_ascii_whitespace().take(MOST_ENTRIES).find_map(Self::of_tag);
        first.unwrap_or_else(|| Self::accepted(accept_language.unwrap_or_default()))
    }

    /// The language that HTML calls so.
    pub fn parse(lang: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.words().lang == lang)
    }

    pub fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Russian => &RUSSIAN,
        }
    }

    /// By the first part of a tag: `ru` of `ru-RU`.
    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|language| language.words().lang.eq_ignore_ascii_case(primary))
    }

    /// RFC 9110, 12.5.4.
    fn accepted(header: &str) -> Self {
        let entries: Vec<(&str, u16)> = header.split(',').take(MOST_ENTRIES).filter_map(entry).collect();
        // A language that is named is liked as much as its best entry, one that is not as much as the rest (`*`).
        let weight = |language: Self| {
            let best = |wanted: &dyn Fn(&str) -> bool| {
                let fits = entries.iter().enumerate().filter(|(_, (tag, _))| wanted(tag));
                fits.map(|(at, (_, quality))| (*quality, std::cmp::Reverse(at))).max()
            };
            best(&|tag| Self::of_tag(tag) == Some(language)).or_else(|| best(&|tag| tag == "*"))
        };
        let (english, russian) = (weight(Self::English), weight(Self::Russian));
        match russian {
            Some((quality, _)) if quality > 0 && russian > english => Self::Russian,
            _ => Self::English,
        }
    }
}

/// A tag and how much it is liked, in thousandths. An entry that is none counts for nothing.
fn entry(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let tag = parts.next().filter(|tag| !tag.is_empty())?;
    let Some(weight) = parts.next() else { return Some((tag, 1000)) };
    let (name, value) = weight.split_once('=')?;
    (name.trim_end().eq_ignore_ascii_case("q") && parts.next().is_none()).then_some(())?;
    Some((tag, thousandths(value.trim_start())?))
}

/// `0`, `0.7`, `1.000`: at most three digits behind the point, at most one.
pub fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepted(header: &str) -> Language {
        Language::of(Some(header), None)
    }

    #[test]
    fn the_language_liked_best_is_taken_and_english_when_none_is() {
        use Language::{English, Russian};
        for (header, expected) in [
            ("", English),
            ("ru", Russian),
            ("RU-ru", Russian),
            ("ru_RU", Russian),
            ("de, ru;q=0.5", Russian),
            ("en, ru", English),
            ("ru, en", Russian),
            ("ru;q=0.8, en;q=0.9", English),
            ("en;q=0.8, ru;q=0.9", Russian),
            ("en-GB;q=0.7, ru;q=0.8, en;q=0.9", English),
            ("ru;q=0, en;q=0", English),
            ("ru;q=0", English),
            ("en;q=0, *", Russian),
            ("*", English),
            ("ru;q=0.5, *", English),
            ("ru, *;q=0.5", Russian),
            ("*;q=0.5, ru;q=0.5", English),
            ("ru ; q = 0.3 , en; Q=0.2", Russian),
            // What is not a weight makes its entry none.
            ("ru;q=2, en;q=0.1", English),
            ("ru;q=0.1234, en;q=0.1", English),
            ("ru;level=1, en;q=0.1", English),
            ("ru;q=1;x=1, en;q=0.1", English),
            ("ru;q=-1", English),
            ("ru;q=", English),
            ("rus", English),
            (";q=1,,,", English),
        ] {
            assert_eq!(accepted(header), expected, "{header:?}");
        }
    }

    #[test]
    fn what_the_client_asks_for_comes_first() {
        let of = |asked| Language::of(Some("ru"), Some(asked));
        assert_eq!(of("en"), Language::English);
        assert_eq!(of("fr-CA en-GB ru"), Language::English);
        assert_eq!(of("fr de"), Language::Russian);
        assert_eq!(of(" \u{0}"), Language::Russian);
        assert_eq!(Language::of(None, Some("fr RU")), Language::Russian);
        assert_eq!(Language::of(None, None), Language::English);
    }

    proptest! {
        #[test]
        fn any_text_is_some_language(header in ".*", asked in ".*") {
            Language::of(Some(&header), Some(&asked));
        }

        #[test]
        fn weights_are_compared_as_numbers(en in 0u16..=1000, ru in 0u16..=1000, header_first in any::<bool>()) {
            let weight = |q: u16| format!("{}.{:03}", q / 1000, q % 1000);
            let (en_entry, ru_entry) = (format!("en;q={}", weight(en)), format!("ru;q={}", weight(ru)));
            let header =
                if header_first { format!("{en_entry}, {ru_entry}") } else { format!("{ru_entry},{en_entry}") };
            let russian = ru > 0 && (ru > en || (ru == en && !header_first));
            prop_assert_eq!(accepted(&header) == Language::Russian, russian, "{}", header);
        }
    }
}
