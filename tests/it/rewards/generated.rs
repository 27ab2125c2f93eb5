//! A year of a shop's life from a seed: who comes by whom, what they buy, and what they send back.

use serde_json::{Value, json};

use super::helpers::Random;

/// The moments of a year at which all is compared.
pub const MOMENTS: usize = 50;
const DAYS: u64 = 365;
/// Days within which something is sent back.
const REGRET: usize = 46;

/// A day on which something happens.
#[derive(Default)]
pub struct Day {
    pub number: u64,
    pub is_moment: bool,
    /// Those that are in force from this day on.
    pub rules: Option<Value>,
    /// Whoever has enough is paid in its evening.
    pub is_payday: bool,
    pub people: Vec<Customer>,
    pub purchases: Vec<Purchase>,
    pub refunds: Vec<Refund>,
}

#[derive(Clone, Copy)]
pub struct Customer {
    pub number: usize,
    /// Who has brought them: somebody who came on a day before.
    pub by: Option<usize>,
}

#[derive(Clone)]
pub struct Purchase {
    pub key: String,
    pub buyer: usize,
    pub amount: i64,
    pub unit: &'static str,
    /// How many days later it is told.
    pub late: u64,
}

#[derive(Clone)]
pub struct Refund {
    pub key: String,
    pub purchase: String,
    pub buyer: usize,
    /// Nothing for all of it.
    pub amount: Option<i64>,
}

/// So many purchases by an eighth as many customers, with so many days from one on which something happens to the next.
pub fn year(random: &mut Random, purchases: usize, stride: u64) -> Vec<Day> {
    let days = usize::try_from(DAYS / stride).expect("few");
    let is_turn = |place: usize, turns: usize| (place + 1) * turns / days > place * turns / days;
    let mut year: Vec<Day> = (0..days)
        .map(|place| Day {
            number: place as u64 * stride,
            is_moment: is_turn(place, MOMENTS),
            is_payday: is_turn(place, 12),
            rules: rules().into_iter().enumerate().find(|(turn, _)| turn * days / 3 == place).map(|(_, rules)| rules),
            ..Day::default()
        })
        .collect();
    let joined = people(random, &mut year, purchases * 12 / 100);
    for number in 0..purchases {
        let place = random.below(days);
        // Those who came first buy most.
        let draw = random.below(1000);
        let buyer = joined[place] * draw * draw / 1_000_000;
        // From 1 to 10^7, as many of each length.
        let amount = 10_f64.powf(random.below(7_000_001) as f64 / 1e6) as i64;
        // Within a batch another order than that in which they were made.
        let key = format!("{:03}-{number}", random.below(1000));
        let unit = if random.below(20) == 0 { "USD" } else { "EUR" };
        let late = if random.below(20) == 0 { 1 + random.below(3) as u64 } else { 0 };
        if random.below(5) == 0 {
            for (part, amount) in parts(random, amount).into_iter().enumerate() {
                let later = (place + random.below(REGRET) / stride as usize).min(days - 1);
                let refund = Refund { key: format!("r{part}"), purchase: key.clone(), buyer, amount };
                year[later].refunds.push(refund);
            }
        }
        year[place].purchases.push(Purchase { key, buyer, amount, unit, late });
    }
    year
}

/// Spreads the customers over nine tenths of the year, and says how many there are on each day. Whoever has brought
/// many brings more.
fn people(random: &mut Random, year: &mut [Day], customers: usize) -> Vec<usize> {
    let (mut tickets, mut number, growing) = (Vec::new(), 0, year.len() * 9 / 10);
    let mut joined = Vec::new();
    for (place, day) in year.iter_mut().enumerate() {
        let known = tickets.len();
        while number < (customers * (place + 1)).div_ceil(growing).min(customers) {
            let by = (known > 0 && random.below(20) > 2).then(|| tickets[random.below(known)]);
            tickets.push(number);
            tickets.extend(by);
            day.people.push(Customer { number, by });
            number += 1;
        }
        joined.push(number);
    }
    joined
}

/// What is sent back of an amount: all at once, or, of every third, in parts, which need not be all of it.
fn parts(random: &mut Random, amount: i64) -> Vec<Option<i64>> {
    let count = if random.below(3) == 0 && amount >= 4 { 2 + random.below(3) as i64 } else { 1 };
    if count == 1 {
        return vec![None];
    }
    let (whole, mut rest) = (random.below(2) == 0, amount);
    (1..=count)
        .map(|part| {
            // One at least is left for each that follows.
            let most = rest - (count - part);
            let taken = if whole && part == count { rest } else { 1 + random.below(most as usize / 2 + 1) as i64 };
            let taken = taken.min(most);
            rest -= taken;
            Some(taken)
        })
        .collect()
}

/// The rules of each third of the year.
fn rules() -> [Value; 3] {
    let share = |percent_bp: i64, more: Value| {
        let mut rule = json!({"key": "share", "on": "purchase", "to": "referrer", "percent_bp": percent_bp,
            "event_unit": "EUR", "times": "every"});
        rule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        rule
    };
    let welcome = json!({"key": "welcome", "on": "purchase", "to": "referee", "fixed": 500, "unit": "POINTS",
        "times": "first", "hold_days": 14});
    let bonus = json!({"key": "bonus", "on": "purchase", "to": "referrer", "fixed": 300, "unit": "EUR",
        "times": "every", "min_amount": 5000, "event_unit": "EUR", "limit": {"count": 5, "per": "month"}});
    let hello = json!({"key": "hello", "on": "signup", "to": "referrer", "fixed": 50, "unit": "POINTS"});
    let loyal = json!({"key": "loyal", "on": "purchase", "to": "referee", "percent_bp": 100, "max": 2000,
        "event_unit": "EUR", "times": "every", "hold_days": 0, "limit": {"count": 20, "per": "ever"}});
    [
        json!([share(1000, json!({"max": 500_000, "within_days": 90})), welcome, bonus, hello]),
        json!([loyal, welcome, share(800, json!({"min_amount": 100}))]),
        json!([bonus, hello, share(1250, json!({"max": 200_000, "within_days": 180, "hold_days": 45})), loyal]),
    ]
}
