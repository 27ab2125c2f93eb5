//! What may be changed of a program.

use std::collections::BTreeMap;

use crate::kernel::program::{LandingUrl, Program, ShareText, is_event_type};

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
    pub hold_days: Option<i64>,
    pub event_types: Option<Vec<String>>,
    /// By unit; nothing within takes the budget away.
    pub budgets: BTreeMap<String, Option<i64>>,
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
        set(&mut program.hold_days, &self.hold_days);
        set(&mut program.event_types, &self.event_types);
        for (unit, budget) in &self.budgets {
            match budget {
                Some(amount) => program.budgets.insert(unit.clone(), *amount),
                None => program.budgets.remove(unit),
            };
        }
    }
}

/// Types of events that a program has beside purchases.
const MOST_TYPES: usize = 20;

/// Types of events as a program has them: words, each once, and none of those that there are in any case.
pub fn parse_event_types(types: Vec<String>) -> Result<Vec<String>, &'static str> {
    if types.len() > MOST_TYPES {
        return Err("At most 20 types");
    }
    if types.iter().any(|word| !is_event_type(word) || ["purchase", "signup"].contains(&word.as_str())) {
        return Err("A type has 1 to 32 of a-z, 0-9 and _, begins with a letter, and is neither purchase nor signup");
    }
    let once = types.iter().enumerate().all(|(place, word)| !types.iter().take(place).any(|other| other == word));
    if once { Ok(types) } else { Err("Each type once") }
}
