//! The form in which names and addresses are compared, so that look-alikes are one.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizer;

/// Unicode NFKC: full width and other compatibility forms become the plain ones.
pub fn nfkc(text: &str) -> String {
    ComposingNormalizer::new_nfkc().normalize(text).into_owned()
}

/// NFKC with case folded. Folding can undo the normal form, hence the second pass.
pub fn look_alike(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let folded = CaseMapper::new().fold_string(&nfkc(text)).into_owned();
    nfkc(&folded)
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
    fn the_short_way_for_ascii_is_unicodes() {
        let all: String = (0..128_u8).map(char::from).collect();
        assert_eq!(look_alike(&all), CaseMapper::new().fold_string(&all));
    }
}
