//! <https://github.com/dequelabs/axe-core> in Chromium.

use super::{Place, providers};
use crate::machine::{CHROMEDRIVER, CHROMIUM, provide};

pub fn run(place: &Place) -> Result<Vec<String>, String> {
    provide(&[CHROMIUM, CHROMEDRIVER])?;
    providers::run_script(place, "axe/pages.mjs")
}
