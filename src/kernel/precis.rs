//! Which characters a name may hold: the IdentifierClass of PRECIS (RFC 8264), with the rules for characters that are
//! good in some places only (RFC 5892, appendix A) and for those who write from right to left (RFC 5893). Unicode's
//! tables are those of the rest of the service, so what is admitted here is what is compared and normalised there.

use icu_properties::props::{
    BidiClass, GeneralCategory, GeneralCategoryGroup, HangulSyllableType, IndicSyllabicCategory, Script, SoftDotted,
};
use icu_properties::{CodePointMapData, CodePointMapDataBorrowed, CodePointSetData};

use super::fold::{is_blank, is_ignorable, nfkc};

const CATEGORY: CodePointMapDataBorrowed<'static, GeneralCategory> = CodePointMapData::<GeneralCategory>::new();
const HANGUL: CodePointMapDataBorrowed<'static, HangulSyllableType> = CodePointMapData::<HangulSyllableType>::new();
const SCRIPT: CodePointMapDataBorrowed<'static, Script> = CodePointMapData::<Script>::new();
const DIRECTION: CodePointMapDataBorrowed<'static, BidiClass> = CodePointMapData::<BidiClass>::new();

/// Letters, digits and the marks on them (RFC 8264, 9.1). Not titlecase letters, nor numbers that are no digits.
const LETTER_DIGITS: GeneralCategoryGroup = GeneralCategoryGroup::LowercaseLetter
    .union(GeneralCategoryGroup::UppercaseLetter)
    .union(GeneralCategoryGroup::OtherLetter)
    .union(GeneralCategoryGroup::ModifierLetter)
    .union(GeneralCategoryGroup::DecimalNumber)
    .union(GeneralCategoryGroup::NonspacingMark)
    .union(GeneralCategoryGroup::SpacingMark);

/// Whether a text begins with a mark, which would sit on whatever is shown before it.
pub fn begins_with_mark(text: &str) -> bool {
    text.chars().next().is_some_and(is_mark)
}

/// Whether a text holds a mark that nobody sees where it stands: one of another script than the letter before it, one
/// that joins letters and has none behind it, one that is there twice, a dot on an i or j that has or is drawn with it.
pub fn has_lost_mark(text: &str) -> bool {
    if text.is_ascii() {
        return false;
    }
    let joins = |c: char| {
        let kind = CodePointMapData::<IndicSyllabicCategory>::new().get(c);
        // The joiner of Tifinagh is none to a property that is about India's scripts.
        c == '\u{2d7f}' || matches!(kind, IndicSyllabicCategory::InvisibleStacker | IndicSyllabicCategory::NumberJoiner)
    };
    let mut carrier = (Script::Common, ' ');
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let script = SCRIPT.get(c);
        let twice = c == before;
        before = c;
        if !is_mark(c) {
            carrier = (script, c);
            continue;
        }
        let foreign = !matches!(script, Script::Inherited | Script::Common) && script != carrier.0;
        let ends = joins(c) && !chars.peek().is_some_and(|next| !is_mark(*next) && SCRIPT.get(*next) == script);
        let dotted = |c| CodePointSetData::new::<SoftDotted>().contains(c) || matches!(c, 'ı' | 'ȷ');
        if foreign || ends || twice || c == '\u{307}' && dotted(carrier.1) {
            return true;
        }
    }
    false
}

fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CATEGORY.get(c))
}

/// Whether a character can be seen and is somebody's: a letter, mark, number, punctuation or symbol of Unicode.
pub fn is_visible(c: char) -> bool {
    const SEEN: GeneralCategoryGroup = GeneralCategoryGroup::Letter
        .union(GeneralCategoryGroup::Mark)
        .union(GeneralCategoryGroup::Number)
        .union(GeneralCategoryGroup::Punctuation)
        .union(GeneralCategoryGroup::Symbol);
    SEEN.contains(CATEGORY.get(c)) && !is_ignorable(c) && !is_blank(c)
}

/// Whether all characters of a text in NFC belong to the class, each in its place. Of ASCII the caller decides.
pub fn is_identifier(text: &str) -> bool {
    let mut before = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if !c.is_ascii() && !is_valid(c, before, rest.clone().next(), text) {
            return false;
        }
        before = Some(c);
    }
    true
}

fn is_valid(c: char, before: Option<char>, after: Option<char>, text: &str) -> bool {
    match c {
        // RFC 8264, 9.6: what the categories would have wrong.
        'ß' | 'ς' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '〇' => true,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => false,
        // RFC 5892, A.3 to A.9: the dot of Catalan, the Greek and the Hebrew sign for numerals, the dot of Katakana,
        // and either kind of Arabic digits.
        '·' => before == Some('l') && after == Some('l'),
        '\u{375}' => after.is_some_and(|c| SCRIPT.get(c) == Script::Greek),
        '\u{5f3}' | '\u{5f4}' => before.is_some_and(|c| SCRIPT.get(c) == Script::Hebrew),
        '・' => text.chars().any(|c| matches!(SCRIPT.get(c), Script::Hiragana | Script::Katakana | Script::Han)),
        '\u{660}'..='\u{669}' => !text.contains(|c| matches!(c, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !text.contains(|c| matches!(c, '\u{660}'..='\u{669}')),
        // Ours: Thai and Lao write this vowel as one character, which Unicode takes for a compatibility form. Without
        // it the commonest words could not be written.
        '\u{e33}' | '\u{eb3}' => true,
        c if is_ignorable(c) || is_blank(c) || is_jamo(c) => false,
        c => LETTER_DIGITS.contains(CATEGORY.get(c)) && !has_compatibility_form(c),
    }
}

/// The parts that Hangul syllables are made of; whole syllables have characters of their own.
fn is_jamo(c: char) -> bool {
    use HangulSyllableType as Type;
    matches!(HANGUL.get(c), Type::LeadingJamo | Type::VowelJamo | Type::TrailingJamo)
}

fn has_compatibility_form(c: char) -> bool {
    let mut buffer = [0; 4];
    let alone: &str = c.encode_utf8(&mut buffer);
    nfkc(alone) != alone
}

/// Whether each part of a text, between its @-signs, is written in one direction (RFC 5893, 2): else what is shown is
/// not what is stored.
pub fn keeps_direction(text: &str) -> bool {
    text.is_ascii() || text.split('@').all(one_direction)
}

fn one_direction(part: &str) -> bool {
    use BidiClass as B;
    let classes: Vec<BidiClass> = part.chars().map(|c| DIRECTION.get(c)).collect();
    if !classes.iter().any(|class| matches!(*class, B::RightToLeft | B::ArabicLetter | B::ArabicNumber)) {
        return true;
    }
    let last = classes.iter().rev().find(|class| **class != B::NonspacingMark);
    let (Some(first), Some(last)) = (classes.first(), last) else { return false };
    // One that begins from left to right holds nothing that goes the other way, so it is none of these.
    matches!(*first, B::RightToLeft | B::ArabicLetter)
        && matches!(*last, B::RightToLeft | B::ArabicLetter | B::EuropeanNumber | B::ArabicNumber)
        && !classes.contains(&B::LeftToRight)
        && !(classes.contains(&B::EuropeanNumber) && classes.contains(&B::ArabicNumber))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_digits_and_marks_of_any_script_are_identifiers() {
        for good in [
            "प्रिया",
            "विश्वनाथ",
            "தமிழ்ச்செல்வி",
            "ศักดิ์สิทธิ์",
            "น้ำฝน",
            "ຄຳ",
            "শ্রীজাত",
            "Ọláyínká",
            "Adébọ̀wálé",
            "Straße",
            "Νίκος",
            "名前",
            "ジョン・スミス",
            "김철수",
            "דוד",
            "محمد",
            "col·lega",
            "٣ب",
            "ў",
            "ឧត្ដម",
            "မောင်",
        ] {
            assert!(is_identifier(good), "{good}");
        }
    }

    #[test]
    fn what_shows_nothing_or_something_else_is_no_identifier() {
        for bad in [
            "a\u{ad}b",
            "a\u{115f}",
            "a\u{1160}",
            "a\u{3164}",
            "a\u{ffa0}",
            "a\u{200c}b",
            "a\u{200d}b",
            "a\u{fe0f}",
            "a\u{202e}b",
            "a\u{1100}",
            "ﬁx",
            "Ⅳ",
            "𝓪dmin",
            "①",
            "ǅ",
            "a\u{20dd}",
            "a\u{640}",
            "x·y",
            "・",
            "٣۳",
            "a\u{e000}",
            "a\u{378}",
            "a\u{2019}",
        ] {
            assert!(!is_identifier(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_name_goes_one_way() {
        for good in ["דוד.כהן", "דוד4", "محمد٣", "abc-é", "דוד@example.com", "שָׁלוֹם"] {
            assert!(keeps_direction(good), "{good}");
        }
        for bad in ["abcד", "דabc", "4דוד", "דוד.", "ب3٣"] {
            assert!(!keeps_direction(bad), "{bad}");
        }
    }

    #[test]
    fn a_mark_is_seen_where_it_stands() {
        for good in [
            "ឧត្ដម",
            "မောင်",
            "ပန်းသီး",
            "Ọláyínká",
            "Adébọ̀wálé",
            "İstanbul",
            "ガ",
            "か\u{309a}",
            "שָׁלוֹם",
            "مُحَمَّد",
            "ê\u{323}",
        ] {
            assert!(!has_lost_mark(good), "{good}");
        }
        for bad in [
            "admin\u{17d2}",
            "7\u{1039}",
            "ឧត\u{17d2}",
            "ⴰ\u{2d7f}",
            "admin\u{1107f}",
            "x\u{11a47}",
            "admi\u{307}n",
            "admı\u{307}n",
            "a\u{336}\u{336}",
            "a\u{301}\u{93f}",
        ] {
            assert!(has_lost_mark(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_mark_has_something_to_sit_on() {
        assert!(begins_with_mark("\u{301}a") && begins_with_mark("\u{93e}") && begins_with_mark("\u{20dd}a"));
        assert!(!begins_with_mark("a\u{301}") && !begins_with_mark(""));
    }
}
