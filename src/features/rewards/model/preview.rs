//! What rules would have given for events that are over.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::rules::{EventType, Judged, Rule, span_begins};
use super::{Money, Side, Times};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;

/// An event of the past.
pub struct Past {
    pub kind: EventType,
    pub money: Option<Money>,
    pub occurred_at: Time,
    pub received_at: Time,
    pub referrer: UserId,
    pub referee: UserId,
    pub joined_at: Time,
}

/// What a rule would have given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub rule: String,
    pub rewards: i64,
    /// By unit.
    pub totals: BTreeMap<String, i128>,
}

/// What rules would have given together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Those that were looked at.
    pub events: i64,
    /// Whether there were more.
    pub more: bool,
    pub rules: Vec<Given>,
}

/// Judges the events in their order, as if they were the first that there were.
pub fn preview(rules: &[Rule], events: &[Past]) -> Preview {
    let mut given: Vec<Given> = rules.iter().map(|rule| Given { rule: rule.key.clone(), ..Given::default() }).collect();
    let mut paid_once: HashSet<(usize, UserId)> = HashSet::new();
    let mut counted: HashMap<(usize, UserId, i64), i64> = HashMap::new();
    for event in events {
        let judged = Judged {
            kind: &event.kind,
            money: event.money.as_ref(),
            occurred_at: event.occurred_at,
            joined_at: event.joined_at,
        };
        for (place, (rule, given)) in rules.iter().zip(&mut given).enumerate() {
            let Some(Ok(money)) = rule.hears(&judged).then(|| rule.judge(&judged)) else { continue };
            let holder = if rule.to == Side::Referrer { event.referrer } else { event.referee };
            let span = rule.limit.map(|limit| (limit, (place, holder, span_begins(limit.per, event.received_at).0)));
            if span.is_some_and(|(limit, key)| counted.get(&key).is_some_and(|count| *count >= limit.count)) {
                continue;
            }
            if rule.times == Times::First && !paid_once.insert((place, event.referee)) {
                continue;
            }
            if let Some((_, key)) = span {
                *counted.entry(key).or_default() += 1;
            }
            given.rewards += 1;
            *given.totals.entry(money.unit.as_str().to_owned()).or_default() += i128::from(money.amount);
        }
    }
    Preview { events: events.len() as i64, more: false, rules: given }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Earning, Limit};
    use super::super::{MOST_AMOUNT, Per, Unit};
    use super::*;

    fn rule(key: &str, times: Times, limit: Option<Limit>, amount: i64) -> Rule {
        Rule {
            key: key.to_owned(),
            on: EventType::parse("purchase").unwrap(),
            to: Side::Referrer,
            earning: Earning::Fixed(Money { amount, unit: Unit::parse("EUR").unwrap() }),
            times,
            min_amount: None,
            event_unit: None,
            within_days: None,
            hold_days: None,
            limit,
        }
    }

    #[test]
    fn a_preview_counts_firsts_and_limits_as_they_would_have_come() {
        let referrer = UserId::new();
        let (one, other) = (UserId::new(), UserId::new());
        let event = |referee, day: &str| {
            let at = Time::parse(day).unwrap();
            let kind = EventType::parse("purchase").unwrap();
            Past { kind, money: None, occurred_at: at, received_at: at, referrer, referee, joined_at: at }
        };
        let events = [
            event(one, "2030-01-30"),
            event(one, "2030-01-31"),
            event(other, "2030-01-31"),
            event(other, "2030-02-01"),
        ];
        let rules = [
            rule("first", Times::First, None, 5),
            rule("every", Times::Every, None, MOST_AMOUNT),
            rule("monthly", Times::Every, Some(Limit { count: 1, per: Per::Month }), 7),
            rule("ever", Times::Every, Some(Limit { count: 3, per: Per::Ever }), 1),
        ];
        let told = preview(&rules, &events);
        assert_eq!(told.events, 4);
        let figures: Vec<(i64, i128)> = told.rules.iter().map(|given| (given.rewards, given.totals["EUR"])).collect();
        assert_eq!(figures, [(2, 10), (4, 4 * i128::from(MOST_AMOUNT)), (2, 14), (3, 3)]);
    }
}
