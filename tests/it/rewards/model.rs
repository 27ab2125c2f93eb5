//! What a hundred lines say that people have, after whatever is done in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Pending, available and paid.
pub type Amounts = (i64, i64, i64);

pub struct Reward {
    pub id: String,
    pub event: String,
    pub holder: String,
    pub referee: String,
    pub rule: Value,
    pub unit: String,
    pub amount: i64,
    pub reversed: i64,
    pub paid: i64,
    pub state: &'static str,
    pub due: u64,
    /// The payout whose line has it, and with how much.
    pub line: Option<(usize, i64)>,
}

impl Reward {
    pub fn left(&self) -> i64 {
        self.amount - self.reversed
    }
}

pub struct Event {
    pub body: Value,
    pub amount: Option<i64>,
    pub refunded: i64,
    pub refunds: BTreeMap<String, Value>,
}

pub struct Payout {
    pub id: String,
    pub unit: String,
    pub state: &'static str,
    /// What each holder is paid, and whether that was returned.
    pub lines: BTreeMap<String, (i64, bool)>,
}

#[derive(Default)]
pub struct Model {
    pub day: u64,
    pub rules: Vec<Value>,
    /// Who brought whom.
    pub referrers: BTreeMap<String, String>,
    pub decisions: BTreeMap<String, &'static str>,
    pub erased: BTreeSet<String>,
    pub events: BTreeMap<String, Event>,
    pub rewards: Vec<Reward>,
    pub payouts: Vec<Payout>,
    pub balances: BTreeMap<(String, String), Amounts>,
    once: BTreeSet<(String, String)>,
}

/// What a rule gives for what is left of an amount.
fn earned(rule: &Value, left: Option<i64>) -> i64 {
    let least = rule["min_amount"].as_i64().unwrap_or(0);
    match (rule["fixed"].as_i64(), left) {
        (Some(fixed), None) => fixed,
        (Some(fixed), Some(left)) if left >= least.max(1) => fixed,
        (Some(_), Some(_)) => 0,
        (None, Some(left)) if left >= least => (left * rule["percent_bp"].as_i64().expect("it is there") / 10_000)
            .min(rule["max"].as_i64().unwrap_or(i64::MAX)),
        _ => 0,
    }
}

impl Model {
    pub fn balance(&mut self, holder: &str, unit: &str) -> &mut Amounts {
        self.balances.entry((holder.to_owned(), unit.to_owned())).or_default()
    }

    /// What the rules give for an event: key, amount, unit and holder of each reward.
    pub fn judge(
        &mut self,
        referee: &str,
        amount: Option<i64>,
        unit: Option<&str>,
    ) -> Vec<(Value, i64, String, String)> {
        let mut given = Vec::new();
        if self.decisions.get(referee) == Some(&"deny") {
            return given;
        }
        for rule in self.rules.clone() {
            let holder = if rule["to"] == "referrer" { &self.referrers[referee] } else { referee }.to_owned();
            let late = rule["within_days"].as_u64().is_some_and(|days| self.day >= days);
            let other = rule["event_unit"].as_str().is_some_and(|wanted| unit != Some(wanted));
            let earns = earned(&rule, amount);
            let key = rule["key"].as_str().expect("it is there").to_owned();
            let counted = self.rewards.iter().filter(|one| one.holder == holder && one.rule["key"] == rule["key"]);
            let full = rule["limit"]["count"].as_u64().is_some_and(|most| counted.count() as u64 >= most);
            if late || other || earns == 0 || full || self.erased.contains(&holder) {
                continue;
            }
            if rule["times"] == "first" && !self.once.insert((referee.to_owned(), key)) {
                continue;
            }
            let unit = rule["unit"].as_str().or(unit).expect("it is there").to_owned();
            given.push((rule, earns, unit, holder));
        }
        given
    }

    pub fn grant(
        &mut self,
        event: &str,
        referee: &str,
        id: &str,
        (rule, amount, unit, holder): (Value, i64, String, String),
    ) {
        let due = self.day + rule["hold_days"].as_u64().unwrap_or(30);
        self.balance(&holder, &unit).0 += amount;
        let (event, referee, id) = (event.to_owned(), referee.to_owned(), id.to_owned());
        let none = (0, 0, None);
        let (reversed, paid, line) = none;
        self.rewards.push(Reward {
            id,
            event,
            holder,
            referee,
            rule,
            unit,
            amount,
            reversed,
            paid,
            state: "pending",
            due,
            line,
        });
    }

    /// Takes so much back of a reward.
    fn take(&mut self, place: usize, taken: i64) {
        let reward = &mut self.rewards[place];
        reward.reversed += taken;
        let (pending, gone) = (reward.state == "pending", reward.left() == 0);
        match reward.state {
            "pending" if gone => reward.state = "denied",
            "available" if gone && reward.line.is_none() => reward.state = "reversed",
            _ => {}
        }
        let (holder, unit) = (reward.holder.clone(), reward.unit.clone());
        let balance = self.balance(&holder, &unit);
        *(if pending { &mut balance.0 } else { &mut balance.1 }) -= taken;
    }

    pub fn refund(&mut self, event: &str, amount: i64) {
        let told = self.events.get_mut(event).expect("it is there");
        told.refunded += amount;
        let left = told.amount.map_or(0, |amount| amount - told.refunded);
        for place in 0..self.rewards.len() {
            let reward = &self.rewards[place];
            let taken = reward.left() - earned(&reward.rule, Some(left));
            if reward.event == event && taken > 0 {
                self.take(place, taken);
            }
        }
    }

    pub fn waits(&self, referee: &str) -> bool {
        matches!(self.decisions.get(referee), Some(&"deny" | &"hold"))
    }

    pub fn decide(&mut self, referee: &str, decision: &'static str) {
        self.decisions.insert(referee.to_owned(), decision);
        for place in 0..self.rewards.len() {
            let left = self.rewards[place].left();
            if decision == "deny" && self.rewards[place].referee == referee && left > 0 {
                self.take(place, left);
            }
        }
    }

    pub fn release(&mut self) -> usize {
        let due: Vec<usize> = (0..self.rewards.len())
            .filter(|place| {
                let reward = &self.rewards[*place];
                reward.state == "pending" && reward.due <= self.day && !self.waits(&reward.referee)
            })
            .collect();
        for place in &due {
            self.make_available(*place);
        }
        due.len()
    }

    fn make_available(&mut self, place: usize) {
        let reward = &mut self.rewards[place];
        reward.state = "available";
        let (left, holder, unit) = (reward.left(), reward.holder.clone(), reward.unit.clone());
        let balance = self.balance(&holder, &unit);
        (balance.0, balance.1) = (balance.0 - left, balance.1 + left);
    }

    /// What a holder has available that no open payout has.
    pub fn free(&mut self, holder: &str, unit: &str) -> i64 {
        let open = self.payouts.iter().filter(|payout| payout.state == "open" && payout.unit == unit);
        let reserved: i64 = open.filter_map(|payout| payout.lines.get(holder)).map(|line| line.0).sum();
        self.balance(holder, unit).1 - reserved
    }

    /// Does something with a reward by hand, or says why not.
    pub fn act(&mut self, place: usize, act: &str) -> Result<(), &'static str> {
        let reward = &self.rewards[place];
        let (left, paid, state, in_line) = (reward.left(), reward.paid, reward.state, reward.line.is_some());
        let (holder, unit, referee) = (reward.holder.clone(), reward.unit.clone(), reward.referee.clone());
        match (act, state) {
            ("approve", "pending") if !self.waits(&referee) => self.make_available(place),
            ("deny", "pending") => self.take(place, left),
            ("pay", "available") if !in_line && self.decisions.get(&referee) != Some(&"deny") => {
                if left > self.free(&holder, &unit) {
                    return Err("insufficient_balance");
                }
                (self.rewards[place].state, self.rewards[place].paid) = ("paid", left);
                let balance = self.balance(&holder, &unit);
                (balance.1, balance.2) = (balance.1 - left, balance.2 + left);
            }
            ("return", "paid") if !in_line => {
                self.rewards[place].paid = 0;
                self.rewards[place].state = if left == 0 { "reversed" } else { "available" };
                let balance = self.balance(&holder, &unit);
                (balance.1, balance.2) = (balance.1 + paid, balance.2 - paid);
            }
            _ => return Err("reward_state"),
        }
        Ok(())
    }

    pub fn prepare(&mut self, id: &str, unit: &str, least: i64) {
        let number = self.payouts.len();
        let people: BTreeSet<String> = self.balances.keys().map(|(holder, _)| holder.clone()).collect();
        let mut lines = BTreeMap::new();
        for holder in people.difference(&self.erased.clone()) {
            let due = self.free(holder, unit);
            if due < least.max(1) {
                continue;
            }
            lines.insert(holder.clone(), (due, false));
            for reward in self.rewards.iter_mut().filter(|one| one.holder == *holder && one.unit == unit) {
                if reward.state == "available" && reward.line.is_none() {
                    reward.line = Some((number, reward.left()));
                }
            }
        }
        self.payouts.push(Payout { id: id.to_owned(), unit: unit.to_owned(), state: "open", lines });
    }

    pub fn settle(&mut self, number: usize, paid: bool) {
        let payout = &mut self.payouts[number];
        payout.state = if paid { "paid" } else { "cancelled" };
        let (lines, unit) = (payout.lines.clone(), payout.unit.clone());
        for (holder, (amount, _)) in lines.iter().filter(|_| paid) {
            let balance = self.balance(holder, &unit);
            (balance.1, balance.2) = (balance.1 - amount, balance.2 + amount);
        }
        for reward in self.rewards.iter_mut() {
            match reward.line {
                Some((line, amount)) if line == number && paid => (reward.state, reward.paid) = ("paid", amount),
                Some((line, _)) if line == number => free_again(reward),
                _ => {}
            }
        }
    }

    pub fn give_back(&mut self, number: usize, holder: &str) {
        let unit = self.payouts[number].unit.clone();
        let line = self.payouts[number].lines.get_mut(holder).expect("it is there");
        line.1 = true;
        let amount = line.0;
        let balance = self.balance(holder, &unit);
        (balance.1, balance.2) = (balance.1 + amount, balance.2 - amount);
        let theirs = |one: &&mut Reward| one.holder == holder && one.line.is_some_and(|line| line.0 == number);
        self.rewards.iter_mut().filter(theirs).for_each(free_again);
    }
}

/// A reward whose line does not pay it.
fn free_again(reward: &mut Reward) {
    (reward.line, reward.paid) = (None, 0);
    reward.state = if reward.left() == 0 { "reversed" } else { "available" };
}

/// Rules to choose from.
pub fn rules() -> [Value; 5] {
    [
        json!({"key": "share", "on": "purchase", "to": "referrer", "percent_bp": 1000, "event_unit": "EUR",
            "times": "every"}),
        json!({"key": "capped", "on": "purchase", "to": "referee", "percent_bp": 333, "max": 40, "min_amount": 300,
            "event_unit": "EUR", "times": "every", "hold_days": 0}),
        json!({"key": "welcome", "on": "purchase", "to": "referee", "fixed": 500, "unit": "POINTS", "times": "first",
            "hold_days": 5}),
        json!({"key": "few", "on": "purchase", "to": "referrer", "fixed": 70, "unit": "EUR", "times": "every",
            "hold_days": 0, "limit": {"count": 4, "per": "ever"}}),
        json!({"key": "early", "on": "purchase", "to": "referrer", "fixed": 30, "unit": "EUR", "times": "every",
            "within_days": 40, "hold_days": 10}),
    ]
}
