//! The form in which names and addresses are compared, so that look-alikes are one.

use std::borrow::Cow;

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;
use icu_properties::props::DefaultIgnorableCodePoint;
use icu_properties::{CodePointSetData, CodePointSetDataBorrowed};

const IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();

/// Unicode NFC: one way to write what looks the same and is the same.
pub fn nfc(text: &str) -> String {
    ComposingNormalizer::new_nfc().normalize(text).into_owned()
}

/// Unicode NFKC: full width and other compatibility forms become the plain ones.
pub fn nfkc(text: &str) -> Cow<'_, str> {
    ComposingNormalizer::new_nfkc().normalize(text)
}

/// What was typed at full or half width, as East Asian keyboards do, at its own width (RFC 8265, 3.3.2), in NFC.
pub fn plain_width(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{3000}' | '\u{ff01}'..='\u{ffef}' => plain.push_str(&nfkc(c.encode_utf8(&mut [0; 4]))),
            c => plain.push(c),
        }
    }
    nfc(&plain).into()
}

/// Whether a character shows nothing: soft hyphens, joiners, fillers, selectors.
pub fn is_ignorable(c: char) -> bool {
    !c.is_ascii() && IGNORABLE.contains(c)
}

/// Whether a character that is no blank to Unicode shows none or an empty place: an object that is not there, the blank
/// of Braille, the note without a head, the filler of Khitan and the blanks of hieroglyphs.
pub fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{fffc}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}' | '\u{1d159}')
}

/// NFKC with case folded and without what shows nothing.
pub fn look_alike(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = former_look_alike(text);
    if folded.contains(is_ignorable) {
        folded.retain(|c| !is_ignorable(c));
        // What stood on either side may belong together.
        folded = nfkc(&folded).into_owned();
    }
    folded
}

/// As [`look_alike`], with what shows nothing: keys that were stored before are found by it. Folding can undo the
/// normal form, hence the second pass.
pub fn former_look_alike(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = CaseMapper::new().fold_string(&nfkc(text)).into_owned();
    nfkc(&folded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_fold_to_one_form() {
        for (a, b) in [("Admin", "ａｄｍｉｎ"), ("STRASSE", "straße"), ("АДМИН", "админ"), ("ﬁx", "FIX")]
        {
            assert_eq!(look_alike(a), look_alike(b));
        }
        assert_ne!(look_alike("admin"), look_alike("admln"));
    }

    #[test]
    fn what_shows_nothing_makes_no_difference() {
        for hidden in ['\u{ad}', '\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{200b}', '\u{200d}', '\u{fe0f}'] {
            assert_eq!(look_alike(&format!("ad{hidden}min")), "admin", "{hidden:?}");
            assert_ne!(former_look_alike(&format!("ad{hidden}min")), "admin", "{hidden:?}");
        }
        // What it kept apart comes together.
        assert_eq!(look_alike("a\u{34f}\u{308}"), "ä");
    }

    #[test]
    fn full_and_half_width_become_plain_and_nothing_else_does() {
        assert_eq!(plain_width("ａｂ＠ｔｅｓｔ．ｒｕ"), "ab@test.ru");
        assert_eq!(plain_width("ｶﾞ"), "ガ");
        assert_eq!(plain_width("ﬁx ⅣKÅ"), "ﬁx ⅣKÅ");
    }

    #[test]
    fn the_short_way_for_ascii_is_unicodes() {
        let all: String = (0..128_u8).map(char::from).collect();
        assert_eq!(look_alike(&all), CaseMapper::new().fold_string(&all));
    }
}
