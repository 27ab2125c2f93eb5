//! Rules: what people get for what happens, and what a rule earns on an amount.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{MOST_AMOUNT, Money, Per, Side, SkipReason, Times, Unit};
use crate::kernel::program::is_event_type;
use crate::kernel::time::Time;

/// Rules of one version.
pub const MOST_RULES: usize = 20;
/// Days of a hold or a window.
pub const MOST_DAYS: i64 = 3650;
pub const MOST_COUNT: i64 = 1_000_000;
/// The type of events that the service makes itself.
const SIGN_UP: &str = "signup";
/// The type of events that there is without a manager's doing.
const PURCHASE: &str = "purchase";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A type of events, as hosts name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventType(String);

impl EventType {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if is_event_type(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("A type has 1 to 32 of a-z, 0-9 and _ and begins with a letter")
        }
    }

    /// A type that hosts may tell of.
    pub fn told(text: &str) -> Result<Self, &'static str> {
        if text == SIGN_UP { Err("Sign-ups are not told by programs") } else { Self::parse(text) }
    }

    /// That of the events that the service makes itself.
    pub fn sign_up() -> Self {
        Self(SIGN_UP.to_owned())
    }

    pub fn is_sign_up(&self) -> bool {
        self.0 == SIGN_UP
    }

    /// Whether a program that takes these beside purchases takes it.
    pub fn is_among(&self, types: &[String]) -> bool {
        self.0 == PURCHASE || self.is_sign_up() || types.contains(&self.0)
    }

    /// One that was stored.
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a rule gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Earning {
    Fixed(Money),
    /// Of the amount, in hundredths of a percent, rounded down, in the unit of the event.
    Share {
        percent_bp: i64,
        max: Option<i64>,
    },
}

/// How often a rule gives something to one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub count: i64,
    pub per: Per,
}

/// A rule of a program. It has passed [`Draft::checked`](super::draft::Draft::checked).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub key: String,
    pub on: EventType,
    pub to: Side,
    pub earning: Earning,
    pub times: Times,
    pub min_amount: Option<i64>,
    pub event_unit: Option<Unit>,
    pub within_days: Option<i64>,
    pub hold_days: Option<i64>,
    pub limit: Option<Limit>,
}

/// A version of a program's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// 0 where no manager has made any.
    pub version: i64,
    pub rules: Vec<Rule>,
}

/// What rules judge of an event.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    pub kind: &'a EventType,
    pub money: Option<&'a Money>,
    pub occurred_at: Time,
    /// When the referee joined.
    pub joined_at: Time,
}

impl Rule {
    /// What the rule earns on what is left of an amount; on an event about no amount, whatever is left.
    pub fn earned(&self, left: Option<i64>) -> i64 {
        let least = self.min_amount.unwrap_or(0);
        match (&self.earning, left) {
            (Earning::Fixed(money), None) => money.amount,
            (Earning::Fixed(money), Some(left)) if left >= least.max(1) => money.amount,
            (Earning::Share { percent_bp, max }, Some(left)) if left >= least => {
                let share = i128::from(left) * i128::from(*percent_bp) / 10_000;
                i64::try_from(share).unwrap_or(MOST_AMOUNT).min(max.unwrap_or(MOST_AMOUNT))
            }
            _ => 0,
        }
    }

    /// Whether it is about such events.
    pub fn hears(&self, event: &Judged<'_>) -> bool {
        self.on == *event.kind
    }

    /// What it gives for an event that it hears of, as far as the event alone decides.
    pub fn judge(&self, event: &Judged<'_>) -> Result<Money, SkipReason> {
        let within = |days: i64| event.occurred_at <= days_behind(event.joined_at, days);
        if !self.within_days.is_none_or(within) {
            return Err(SkipReason::OutsideWindow);
        }
        if self.event_unit.as_ref().is_some_and(|unit| event.money.is_none_or(|money| money.unit != *unit)) {
            return Err(SkipReason::OtherUnit);
        }
        let amount = self.earned(event.money.map(|money| money.amount));
        let unit = match (&self.earning, event.money) {
            (Earning::Fixed(fixed), _) => &fixed.unit,
            (Earning::Share { .. }, Some(money)) => &money.unit,
            (Earning::Share { .. }, None) => return Err(SkipReason::OtherUnit),
        };
        if amount > 0 { Ok(Money { amount, unit: unit.clone() }) } else { Err(SkipReason::BelowMinimum) }
    }

    /// Until when its rewards wait, in a program that lets them wait so many days.
    pub fn available_at(&self, granted: Time, hold_days: i64) -> Time {
        days_behind(granted, self.hold_days.unwrap_or(hold_days))
    }

    /// As it is stored, and as it is told.
    pub fn written(&self) -> Value {
        let mut members = Map::new();
        let mut member = |name: &str, value: Value| {
            if !value.is_null() {
                members.insert(name.to_owned(), value);
            }
        };
        member("key", json!(self.key));
        member("on", json!(self.on.as_str()));
        member("to", json!(self.to));
        match &self.earning {
            Earning::Fixed(Money { amount, unit }) => {
                member("fixed", json!(amount));
                member("unit", json!(unit.as_str()));
            }
            Earning::Share { percent_bp, max } => {
                member("percent_bp", json!(percent_bp));
                member("max", json!(max));
            }
        }
        member("times", json!(self.times));
        member("min_amount", json!(self.min_amount));
        member("event_unit", json!(self.event_unit.as_ref().map(Unit::as_str)));
        member("within_days", json!(self.within_days));
        member("hold_days", json!(self.hold_days));
        member("limit", self.limit.map_or(Value::Null, |limit| json!({"count": limit.count, "per": limit.per})));
        Value::Object(members)
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let unit = |name: &str| text(name).map(Unit::stored);
        let number = |name: &str| value[name].as_i64();
        let limit = match &value["limit"] {
            Value::Null => None,
            limit => Some(Limit { count: limit["count"].as_i64()?, per: Per::parse(limit["per"].as_str()?)? }),
        };
        Some(Self {
            key: text("key")?,
            on: EventType::stored(text("on")?),
            to: Side::parse(value["to"].as_str()?)?,
            earning: match number("fixed") {
                Some(amount) => Earning::Fixed(Money { amount, unit: unit("unit")? }),
                None => Earning::Share { percent_bp: number("percent_bp")?, max: number("max") },
            },
            times: Times::parse(value["times"].as_str()?)?,
            min_amount: number("min_amount"),
            event_unit: unit("event_unit"),
            within_days: number("within_days"),
            hold_days: number("hold_days"),
            limit,
        })
    }
}

impl Rules {
    /// As they are stored.
    pub fn written(rules: &[Rule]) -> String {
        Value::Array(rules.iter().map(Rule::written).collect()).to_string()
    }

    /// What was stored; nothing when it is no list of rules.
    pub fn stored(version: i64, text: &str) -> Option<Self> {
        let values: Vec<Value> = serde_json::from_str(text).ok()?;
        Some(Self { version, rules: values.iter().map(Rule::read).collect::<Option<_>>()? })
    }

    /// The rule of this key about these events.
    pub fn get(&self, key: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.key == key)
    }
}

/// The first moment of the span of a limit that a time is in, by UTC.
pub fn span_begins(per: Per, now: Time) -> Time {
    let text = now.to_string();
    let beginning = |length: usize, rest: &str| Time::parse(&format!("{}{rest}", text.get(..length)?));
    match per {
        Per::Day => beginning(10, ""),
        Per::Month => beginning(7, "-01"),
        Per::Ever => None,
    }
    .unwrap_or(Time(0))
}

fn days_behind(time: Time, days: i64) -> Time {
    time.plus(DAY * u32::try_from(days).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reward::{Act, Standing, Step};
    use super::*;

    fn unit(text: &str) -> Unit {
        Unit::parse(text).unwrap()
    }

    fn rule(earning: Earning, min_amount: Option<i64>) -> Rule {
        let event_unit = (min_amount.is_some() || matches!(earning, Earning::Share { .. })).then(|| unit("EUR"));
        Rule {
            key: "share".to_owned(),
            on: EventType::parse(PURCHASE).unwrap(),
            to: Side::Referrer,
            earning,
            times: Times::Every,
            min_amount,
            event_unit,
            within_days: Some(10),
            hold_days: None,
            limit: Some(Limit { count: 3, per: Per::Month }),
        }
    }

    fn fixed(amount: i64, min_amount: Option<i64>) -> Rule {
        rule(Earning::Fixed(Money { amount, unit: unit("POINTS") }), min_amount)
    }

    fn share(percent_bp: i64, max: Option<i64>, min_amount: Option<i64>) -> Rule {
        rule(Earning::Share { percent_bp, max }, min_amount)
    }

    #[test]
    fn what_a_rule_earns_on_an_amount() {
        for (rule, left, earned) in [
            (fixed(500, None), None, 500),
            (fixed(500, None), Some(1), 500),
            (fixed(500, None), Some(0), 0),
            (fixed(500, Some(1000)), Some(1000), 500),
            (fixed(500, Some(1000)), Some(999), 0),
            (fixed(500, Some(0)), Some(0), 0),
            (share(1000, None, None), Some(12_345), 1234),
            (share(1000, None, None), Some(10_000), 1000),
            (share(1000, None, None), Some(5994), 599),
            (share(1000, None, None), Some(9), 0),
            (share(1000, None, None), None, 0),
            (share(1000, Some(5000), None), Some(60_000), 5000),
            (share(1000, None, Some(100)), Some(99), 0),
            (share(10_000, None, None), Some(MOST_AMOUNT), MOST_AMOUNT),
            (share(1, None, None), Some(9_999), 0),
        ] {
            assert_eq!(rule.earned(left), earned, "{rule:?} of {left:?}");
        }
    }

    #[test]
    fn an_event_is_judged_by_its_time_its_unit_and_its_amount() {
        let day = Duration::from_secs(86_400);
        let kind = EventType::parse(PURCHASE).unwrap();
        let joined_at = Time(0);
        let judge = |rule: &Rule, money: Option<(i64, &str)>, occurred_at: Time| {
            let money = money.map(|(amount, text)| Money { amount, unit: unit(text) });
            let judged = Judged { kind: &kind, money: money.as_ref(), occurred_at, joined_at };
            assert!(rule.hears(&judged));
            rule.judge(&judged).map(|money| (money.amount, money.unit.as_str().to_owned()))
        };
        let last = Time(0).plus(day * 10);
        let share = share(1000, None, Some(50));
        assert_eq!(judge(&share, Some((50, "EUR")), last), Ok((5, "EUR".to_owned())));
        let late = last.plus(Duration::from_micros(1));
        assert_eq!(judge(&share, Some((50, "EUR")), late), Err(SkipReason::OutsideWindow));
        assert_eq!(judge(&share, Some((50, "USD")), last), Err(SkipReason::OtherUnit));
        assert_eq!(judge(&share, None, last), Err(SkipReason::OtherUnit));
        assert_eq!(judge(&share, Some((49, "EUR")), last), Err(SkipReason::BelowMinimum));
        // What any amount in any unit earns.
        let fixed = fixed(7, None);
        for money in [None, Some((1, "EUR")), Some((1, "USD"))] {
            assert_eq!(judge(&fixed, money, last), Ok((7, "POINTS".to_owned())));
        }
        assert_eq!(judge(&fixed, Some((0, "EUR")), last), Err(SkipReason::BelowMinimum));
    }

    #[test]
    fn a_span_begins_at_midnight_or_with_the_month() {
        let now = Time::parse("2030-10-12T23:59:59.999999Z").unwrap();
        assert_eq!(span_begins(Per::Day, now).to_string(), Time::parse("2030-10-12").unwrap().to_string());
        assert_eq!(span_begins(Per::Month, now).to_string(), Time::parse("2030-10-01").unwrap().to_string());
        assert_eq!(span_begins(Per::Ever, now), Time(0));
    }

    #[test]
    fn a_rewards_hold_is_its_rules_or_its_programs() {
        let mut rule = fixed(1, None);
        assert_eq!(rule.available_at(Time(5), 30), Time(5).plus(DAY * 30));
        rule.hold_days = Some(0);
        assert_eq!(rule.available_at(Time(5), 30), Time(5));
    }

    fn any_rule() -> impl Strategy<Value = Rule> {
        let least = prop::option::of(0_i64..=2000);
        prop_oneof![
            (1..=MOST_AMOUNT, least.clone()).prop_map(|(amount, least)| fixed(amount, least)),
            (1_i64..=10_000, prop::option::of(1_i64..=3000), least).prop_map(|(bp, max, least)| share(bp, max, least)),
        ]
    }

    proptest! {
        #[test]
        fn rules_are_read_as_they_were_written(rules in prop::collection::vec(any_rule(), 0..5)) {
            let read = Rules::stored(3, &Rules::written(&rules));
            prop_assert_eq!(read, Some(Rules { version: 3, rules }));
        }

        /// No more is left of a purchase, no more is earned.
        #[test]
        fn less_earns_no_more(rule in any_rule(), one in 0..=MOST_AMOUNT, other in 0..=MOST_AMOUNT) {
            prop_assert!(rule.earned(Some(one.min(other))) <= rule.earned(Some(one.max(other))));
            prop_assert!((0..=MOST_AMOUNT).contains(&rule.earned(Some(one))));
        }

        /// However a refund is split, and whenever the reward is released, as much is taken back as at once.
        #[test]
        fn a_split_refund_takes_back_what_one_does(
            rule in any_rule(),
            amount in 1_i64..=5000,
            parts in prop::collection::vec((1_i64..=1500, any::<bool>()), 0..12),
            whole in any::<bool>(),
        ) {
            let granted = rule.earned(Some(amount));
            prop_assume!(granted > 0);
            let (mut split, mut refunded) = (Standing::granted(granted), 0);
            for (part, release) in parts {
                if release && let Step::Moved(next, _) = split.step(Act::Release) {
                    split = next;
                }
                if refunded + part > amount {
                    continue;
                }
                refunded += part;
                let earned = rule.earned(Some(amount - refunded));
                if let Step::Moved(next, _) = split.step(Act::TakeBack { earned }) {
                    split = next;
                }
            }
            if whole {
                refunded = amount;
                if let Step::Moved(next, _) = split.step(Act::TakeBack { earned: rule.earned(Some(0)) }) {
                    split = next;
                }
                prop_assert_eq!(split.reversed, granted);
            }
            let earned = rule.earned(Some(amount - refunded));
            let once = match Standing::granted(granted).step(Act::TakeBack { earned }) {
                Step::Moved(next, _) => next.reversed,
                _ => 0,
            };
            prop_assert_eq!(split.reversed, once);
        }
    }
}
