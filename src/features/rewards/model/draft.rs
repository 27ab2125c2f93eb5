//! Rules as bodies have them, before their fields are known to go together.

use std::collections::BTreeSet;

use super::rules::{Earning, EventType, Limit, Rule};
use super::{Money, Side, Times, Unit};

/// Characters of a rule's key.
const MOST_KEY: usize = 32;

/// A rule as a body has it, each field read by itself.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub key: Option<String>,
    pub on: Option<EventType>,
    pub to: Option<Side>,
    pub fixed: Option<i64>,
    pub unit: Option<Unit>,
    pub percent_bp: Option<i64>,
    pub max: Option<i64>,
    pub times: Option<Times>,
    pub min_amount: Option<i64>,
    pub event_unit: Option<Unit>,
    pub within_days: Option<i64>,
    pub hold_days: Option<i64>,
    pub limit: Option<Limit>,
}

impl Draft {
    /// The rule, if its fields go together; else the field that does not, and why.
    pub fn checked(self) -> Result<Rule, (&'static str, &'static str)> {
        let needed = "Field required";
        let earning = match (self.fixed, self.percent_bp) {
            (Some(amount), None) => {
                let unit = self.unit.ok_or(("unit", "A fixed amount has a unit"))?;
                if self.max.is_some() {
                    return Err(("max", "A fixed amount has no maximum"));
                }
                Earning::Fixed(Money { amount, unit })
            }
            (None, Some(percent_bp)) => {
                if self.unit.is_some() {
                    return Err(("unit", "A share is in the unit of the event"));
                }
                Earning::Share { percent_bp, max: self.max }
            }
            _ => return Err(("fixed", "Give either fixed or percent_bp")),
        };
        let on = self.on.ok_or(("on", needed))?;
        let of_amounts = [
            ("percent_bp", self.percent_bp.is_some()),
            ("min_amount", self.min_amount.is_some()),
            ("event_unit", self.event_unit.is_some()),
        ];
        if let Some((field, _)) = of_amounts.into_iter().find(|(_, given)| *given && on.is_sign_up()) {
            return Err((field, "A sign-up has no amount"));
        }
        // Nobody signs up twice.
        let times = self.times.or(on.is_sign_up().then_some(Times::First));
        let by_amount = self.percent_bp.is_some() || self.min_amount.is_some();
        if by_amount && self.event_unit.is_none() {
            return Err(("event_unit", "A rule with percent_bp, min_amount or max needs it"));
        }
        Ok(Rule {
            key: self.key.ok_or(("key", needed))?,
            on,
            to: self.to.ok_or(("to", needed))?,
            earning,
            times: times.ok_or(("times", "Give first or every"))?,
            min_amount: self.min_amount,
            event_unit: self.event_unit,
            within_days: self.within_days,
            hold_days: self.hold_days,
            limit: self.limit,
        })
    }
}

/// A rule's key: lower-case letters, digits and hyphens.
pub fn parse_key(text: &str) -> Result<String, &'static str> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MOST_KEY).contains(&text.len()) && text.bytes().all(letter) {
        Ok(text.to_owned())
    } else {
        Err("A key has 1 to 32 of a-z, 0-9 and -")
    }
}

/// Whether no two rules have one key.
pub fn keys_differ(rules: &[Rule]) -> bool {
    rules.iter().map(|rule| &rule.key).collect::<BTreeSet<_>>().len() == rules.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit::parse(text).unwrap()
    }

    #[test]
    fn fields_of_a_rule_go_together() {
        let draft = || Draft {
            key: Some("share".to_owned()),
            on: EventType::parse("purchase").ok(),
            to: Some(Side::Referrer),
            times: Some(Times::Every),
            ..Draft::default()
        };
        let with_share = || Draft { percent_bp: Some(1), event_unit: Some(unit("EUR")), ..draft() };
        let with_fixed = || Draft { fixed: Some(1), unit: Some(unit("EUR")), ..draft() };
        assert!(with_share().checked().is_ok());
        assert!(with_fixed().checked().is_ok());
        for (draft, field) in [
            (draft(), "fixed"),
            (Draft { fixed: Some(1), ..with_share() }, "fixed"),
            (Draft { unit: None, ..with_fixed() }, "unit"),
            (Draft { max: Some(1), ..with_fixed() }, "max"),
            (Draft { unit: Some(unit("EUR")), ..with_share() }, "unit"),
            (Draft { event_unit: None, ..with_share() }, "event_unit"),
            (Draft { min_amount: Some(1), ..with_fixed() }, "event_unit"),
            (Draft { key: None, ..with_fixed() }, "key"),
            (Draft { on: None, ..with_fixed() }, "on"),
            (Draft { to: None, ..with_fixed() }, "to"),
            (Draft { times: None, ..with_fixed() }, "times"),
            (Draft { on: Some(EventType::sign_up()), ..with_share() }, "percent_bp"),
            (Draft { on: Some(EventType::sign_up()), min_amount: Some(1), ..with_fixed() }, "min_amount"),
            (Draft { on: Some(EventType::sign_up()), event_unit: Some(unit("EUR")), ..with_fixed() }, "event_unit"),
        ] {
            assert_eq!(draft.checked().unwrap_err().0, field);
        }
        let welcome = Draft { on: Some(EventType::sign_up()), times: None, ..with_fixed() };
        assert_eq!(welcome.checked().map(|rule| rule.times), Ok(Times::First));
        assert!(parse_key("friend-first").is_ok());
        for bad in ["", "Friend", "a b", "a_b", &"a".repeat(33)] {
            assert!(parse_key(bad).is_err(), "{bad}");
        }
        let twice = [with_fixed().checked().unwrap(), with_share().checked().unwrap()];
        assert!(!keys_differ(&twice));
        assert!(keys_differ(&twice[..1]));
    }
}
