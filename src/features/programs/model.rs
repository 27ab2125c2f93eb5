//! What may be changed of a program.

use crate::kernel::program::{LandingUrl, Program, ShareText};

/// What is to be different; what is nothing stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub name: Option<String>,
    /// Nothing within takes the landing page away.
    pub landing_url: Option<Option<LandingUrl>>,
    pub code_days: Option<i64>,
    pub auto_renew: Option<bool>,
    /// Nothing within goes back to our own words.
    pub english: Option<Option<ShareText>>,
    pub russian: Option<Option<ShareText>>,
}

impl Change {
    pub fn apply(&self, program: &mut Program) {
        fn set<T: Clone>(place: &mut T, new: &Option<T>) {
            if let Some(new) = new {
                place.clone_from(new);
            }
        }
        set(&mut program.name, &self.name);
        set(&mut program.landing_url, &self.landing_url);
        set(&mut program.code_days, &self.code_days);
        set(&mut program.auto_renew, &self.auto_renew);
        set(&mut program.share_texts.en, &self.english);
        set(&mut program.share_texts.ru, &self.russian);
    }
}
