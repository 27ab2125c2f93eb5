//! A link as a QR code.

use std::fmt::Write as _;

use qrcode::{Color, EcLevel, QrCode};

use crate::words;

words! {
    /// How much of a QR code may be damaged: 7, 15, 25 or 30 per cent.
    pub enum Correction as "Correction" {
        Low = "L",
        Medium = "M",
        Quartile = "Q",
        High = "H",
    }
}

/// White around the code, in modules, as the standard wants it.
const QUIET: usize = 4;

/// An SVG image with the code in one path, of whatever size; nothing when the text is too long for any.
pub fn svg(text: &str, correction: Correction) -> Option<String> {
    let level = match correction {
        Correction::Low => EcLevel::L,
        Correction::Medium => EcLevel::M,
        Correction::Quartile => EcLevel::Q,
        Correction::High => EcLevel::H,
    };
    let code = QrCode::with_error_correction_level(text, level).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let size = width + 2 * QUIET;
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|one, other| one == other) {
            if run.first() == Some(&Color::Dark) {
                let length = run.len();
                let _ = write!(path, "M{} {}h{length}v1h-{length}z", x + QUIET, y + QUIET);
            }
            x += run.len();
        }
    }
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" width=\"{size}0\" height=\"{size}0\" \
         shape-rendering=\"crispEdges\"><rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/><path d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_one_path_of_the_modules() {
        for correction in Correction::ALL {
            let image = svg("https://referral.example.com/r/k3j9x2mq", *correction).unwrap();
            assert_eq!(image.matches("<path").count(), 1);
            assert!(image.starts_with("<svg ") && image.ends_with("/></svg>"), "{image}");
            // The finder in the corner: seven dark modules behind the quiet zone.
            assert!(image.contains("d=\"M4 4h7v1h-7z"), "{image}");
        }
        assert!(svg(&"x".repeat(3000), Correction::High).is_none());
    }
}
