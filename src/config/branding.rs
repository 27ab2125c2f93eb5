//! How the pages look that are the operator's.

use std::path::Path;

use serde::Deserialize;

use super::Complaints;

/// Characters of a name, and bytes of a picture: every page carries both.
const MOST_NAME: usize = 40;
const MOST_LOGO: usize = 64 * 1024;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Branding {
    pub name: String,
    /// A file. Empty: our own sign.
    pub logo: String,
    /// Empty: our own.
    pub color: String,
}

/// A picture, as it is served.
#[derive(Clone, Debug)]
pub struct Logo {
    pub kind: &'static str,
    pub bytes: Vec<u8>,
}

impl Branding {
    /// Red, green and blue, if a colour is set.
    pub fn rgb(&self) -> Option<[u8; 3]> {
        let digits = self.color.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let value =
            digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        let [_, red, green, blue] = value.to_be_bytes();
        Some([red, green, blue])
    }

    /// The picture, if one is set; a sentence where it cannot be shown.
    pub fn picture(&self) -> Result<Option<Logo>, String> {
        if self.logo.is_empty() {
            return Ok(None);
        }
        let bytes = std::fs::read(Path::new(&self.logo))
            .map_err(|error| format!("is {}, which cannot be read ({error}): give the path of a file", self.logo))?;
        if bytes.len() > MOST_LOGO {
            return Err(format!(
                "has {} bytes: every page carries it, so give one of at most {MOST_LOGO}",
                bytes.len()
            ));
        }
        let kind = kind(&bytes)?;
        Ok(Some(Logo { kind, bytes }))
    }

    pub(super) fn check(&self, wrong: &mut Complaints) {
        let characters = self.name.chars().count();
        if self.name.trim().is_empty() || characters > MOST_NAME || self.name.chars().any(char::is_control) {
            wrong.add("branding.name", format!("is no name for a page: write 1 to {MOST_NAME} characters on one line"));
        }
        if !self.color.is_empty() && self.rgb().is_none() {
            wrong.add("branding.color", "is no colour: write # and six hexadecimal digits, for example #2148c7");
        }
        if let Err(why) = self.picture() {
            wrong.add("branding.logo", why);
        }
    }
}

/// What a picture is, by what it begins with.
fn kind(bytes: &[u8]) -> Result<&'static str, String> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok("image/png");
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default().trim_start_matches('\u{feff}').trim_start();
    if !["<svg", "<?xml", "<!--", "<!DOCTYPE svg"].iter().any(|begin| text.starts_with(begin)) || !text.contains("<svg")
    {
        return Err("is neither an SVG nor a PNG picture: give a file of one of these kinds".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    match ["<script", "<foreignobject", "javascript:", "<!entity"].into_iter().find(|part| lower.contains(part)) {
        Some(part) => Err(format!("is an SVG picture with {part}, which no picture needs: save it as a plain SVG")),
        None => Ok("image/svg+xml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn what_no_page_could_show_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path.display().to_string()
        };
        let told = |name: &str, value: &str| {
            let settings = vec![(format!("REFERRAL_BRANDING_{name}"), value.to_owned())];
            load(None, &settings).err().map(|faults| format!("{faults:?}"))
        };
        let svg = "<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>";
        for (name, good) in [
            ("NAME", "Bücher & Co."),
            ("COLOR", "#0aF3b9"),
            ("LOGO", &file("logo.svg", svg.as_bytes())),
            ("LOGO", &file("logo.png", b"\x89PNG\r\n\x1a\n...")),
        ] {
            assert_eq!(told(name, good), None, "{name} {good}");
        }
        let large = vec![b' '; MOST_LOGO + 1];
        for (name, bad, part) in [
            ("NAME", "a\nb", "is no name"),
            ("NAME", &"x".repeat(41), "1 to 40 characters"),
            ("COLOR", "blue", "six hexadecimal digits"),
            ("COLOR", "#12345", "six hexadecimal digits"),
            ("COLOR", "#+12345", "six hexadecimal digits"),
            ("LOGO", "/nowhere/logo.svg", "cannot be read"),
            ("LOGO", &file("large.svg", &large), "at most 65536"),
            ("LOGO", &file("logo.gif", b"GIF89a"), "neither an SVG nor a PNG"),
            ("LOGO", &file("script.svg", b"<svg><SCRIPT>alert(1)</SCRIPT></svg>"), "<script"),
        ] {
            let told = told(name, bad).unwrap_or_default();
            assert!(told.contains(part), "{name} {bad}: {told}");
        }
    }
}
