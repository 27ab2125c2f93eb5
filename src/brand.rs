//! What of the pages' look is the operator's: a name, a picture, a colour that can be read by day and by night.

use std::any::Any;
use std::fmt::Write;

use askama::Values;

use crate::config::{Branding, Logo};

/// How pages are signed.
#[derive(Clone, Debug)]
pub struct Brand {
    pub name: String,
    pub logo: Option<Logo>,
    /// A style sheet that sets the colour.
    pub colors: Option<String>,
}

impl Default for Brand {
    fn default() -> Self {
        Self { name: "Referral".to_owned(), logo: None, colors: None }
    }
}

impl Values for Brand {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == "brand").then_some(self as &dyn Any)
    }
}

impl Brand {
    /// By the settings; a sentence where the picture cannot be read any more.
    pub fn of(settings: &Branding) -> Result<Self, String> {
        let logo = settings.picture().map_err(|why| format!("branding.logo {why}"))?;
        Ok(Self { name: settings.name.clone(), logo, colors: settings.rgb().map(colors) })
    }
}

type Rgb = [u8; 3];

const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
/// The ground of text that has the least contrast, by day and by night: `--ground` and `--soft` of auth.css.
const BY_DAY: Rgb = [0xf4, 0xf6, 0xf9];
const BY_NIGHT: Rgb = [0x1c, 0x22, 0x2c];
/// Text on a button, by night.
const INK: Rgb = [0x0c, 0x0f, 0x14];
/// What text needs (WCAG 2.2, 1.4.3).
const ENOUGH: f64 = 4.5;

/// The colour itself where it can be read, else as little darker or lighter as is needed.
fn colors(color: Rgb) -> String {
    let mut css = String::new();
    let mut theme = |before: &str, fill: Rgb, over: Rgb, on: Rgb, behind: &str| {
        let _ = writeln!(
            css,
            "{before}:root{{--link:{0};--fill:{0};--fill-over:{1};--on-fill:{2}}}{behind}",
            hex(fill),
            hex(over),
            hex(on)
        );
    };
    let day = readable(color, BLACK, BY_DAY);
    theme("", day, mixed(day, BLACK, 20), WHITE, "");
    let night = readable(color, WHITE, BY_NIGHT);
    theme("@media (prefers-color-scheme:dark){", night, mixed(night, WHITE, 20), INK, "}");
    css
}

fn readable(color: Rgb, toward: Rgb, ground: Rgb) -> Rgb {
    let steps = (0..=100).map(|percent| mixed(color, toward, percent));
    steps.into_iter().find(|mixed| contrast(*mixed, ground) >= ENOUGH).unwrap_or(toward)
}

fn mixed(color: Rgb, toward: Rgb, percent: u16) -> Rgb {
    let mut mixed = color;
    for (part, to) in mixed.iter_mut().zip(toward) {
        let sum = u16::from(*part) * (100 - percent) + u16::from(to) * percent;
        *part = u8::try_from(sum / 100).unwrap_or(u8::MAX);
    }
    mixed
}

fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// As WCAG defines it, 1 to 21.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(color: Rgb) -> f64 {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    let [red, green, blue] = color.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(css: &str) -> Vec<Rgb> {
        let digit = |digit: char| u8::try_from(digit.to_digit(16).unwrap()).unwrap();
        let read = |text: &str| {
            let digits: Vec<u8> = text.chars().take(6).map(digit).collect();
            [digits[0] * 16 + digits[1], digits[2] * 16 + digits[3], digits[4] * 16 + digits[5]]
        };
        css.split('#').skip(1).map(read).collect()
    }

    #[test]
    fn whatever_colour_is_set_can_be_read() {
        assert!((contrast(WHITE, BLACK) - 21.0).abs() < 0.001);
        let steps = || (0..=255).step_by(17).map(|part: u16| u8::try_from(part).unwrap());
        for color in steps().flat_map(|red| steps().flat_map(move |green| steps().map(move |blue| [red, green, blue])))
        {
            let css = colors(color);
            // Link, fill, fill under the pointer, text on it: by day and by night.
            let [link, fill, over, on, night_link, night_fill, night_over, night_on] = parts(&css)[..] else {
                panic!("{css}")
            };
            for (text, ground) in [
                (link, WHITE),
                (link, BY_DAY),
                (on, fill),
                (on, over),
                (night_link, BY_NIGHT),
                (night_link, INK),
                (night_on, night_fill),
                (night_on, night_over),
            ] {
                assert!(contrast(text, ground) >= ENOUGH, "{color:?}: {text:?} on {ground:?} in {css}");
            }
        }
        // What can be read as it is stays as it is.
        assert!(colors([0x21, 0x48, 0xc7]).starts_with(":root{--link:#2148c7;--fill:#2148c7;"));
    }
}
