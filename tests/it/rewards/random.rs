//! Whatever is done in whatever order, people have what the model says, and everything adds up.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::helpers::{EVENTS, RULES, Random};
use super::model::{Amounts, Event, Model, rules};
use super::place::Place;
use crate::support::app::Setup;
use crate::support::client::Answer;
use crate::support::thorough;
use crate::{on_both_engines, on_every_setup};

/// What is done in one run.
const STEPS: usize = 300;

struct Run {
    place: Place,
    model: Model,
    random: Random,
    /// Our ids, by what the host calls people.
    ids: BTreeMap<String, String>,
    referees: Vec<String>,
}

impl Run {
    /// Two referrers with three referees each; one of the latter has brought one more.
    async fn begin(place: Place, seed: u64) -> Self {
        let mut model = Model::default();
        let (mut ids, mut referees) = (BTreeMap::new(), Vec::new());
        for (who, by) in
            [("a", ""), ("b", ""), ("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b"), ("c1", "b2")]
        {
            let mut body = json!({});
            if !by.is_empty() {
                body = json!({"code": place.host().tell(by, json!({})).await.json()["code"]});
                model.referrers.insert(who.to_owned(), by.to_owned());
                referees.push(who.to_owned());
            }
            let told = place.host().tell(who, body).await.expect(201).json();
            ids.insert(who.to_owned(), told["id"].as_str().expect("an id").to_owned());
        }
        let mut run = Self { place, model, random: Random(seed), ids, referees };
        run.change_rules().await;
        run
    }

    fn who(&self, id: &Value) -> String {
        let found = self.ids.iter().find(|(_, known)| *id == json!(known));
        found.expect("somebody").0.clone()
    }

    async fn act_as_manager(&mut self, path: &str, body: Value) -> Answer {
        self.place.act(&format!("/api/v1/{path}"), &body).await
    }

    async fn change_rules(&mut self) {
        let mut kept: Vec<Value> = rules().into_iter().filter(|_| self.random.below(3) > 0).collect();
        // Where a worker of its own releases what is due, nothing is at once.
        for rule in kept.iter_mut().filter(|rule| self.place.is_mortal() && rule["hold_days"] == 0) {
            rule["hold_days"] = json!(1);
        }
        self.place.act(RULES, &json!({"rules": kept})).await.expect(201);
        self.model.rules = kept;
    }

    async fn tell_event(&mut self) {
        let key = format!("e{}", self.random.below(STEPS / 2));
        if let Some(known) = self.model.events.get(&key) {
            let mut body = known.body.clone();
            let differs = self.random.below(3) == 0;
            if differs {
                body["properties"] = json!({"other": 1});
            }
            let answer = self.place.tell(EVENTS, &body).await;
            return match differs {
                true => drop(answer.expect_problem(409, "event_differs")),
                false => drop(answer.expect(200)),
            };
        }
        let referee = self.random.one_of(&self.referees).clone();
        let amount = *self.random.one_of(&[None, Some(0), Some(9), Some(299), Some(300), Some(1999), Some(100_000)]);
        let unit = amount.map(|_| *self.random.one_of(&["EUR", "EUR", "EUR", "USD"]));
        let body = json!({"type": "purchase", "external_id": key, "participant": {"external_id": referee},
            "amount": amount, "unit": unit});
        let answer = self.place.tell(EVENTS, &body).await;
        if self.model.erased.contains(&referee) {
            assert_eq!(answer.expect(200).json()["outcome"], "not_referred");
            return;
        }
        let told = answer.expect(201).json();
        let given = self.model.judge(&referee, amount, unit);
        let rewards = told["rewards"].as_array().expect("rewards");
        assert_eq!(rewards.len(), given.len(), "{told} and {given:?}");
        for (reward, given) in rewards.iter().zip(given) {
            let (rule, amount, unit, holder) = &given;
            let figures = json!([reward["rule"]["key"], reward["amount"], reward["unit"]]);
            assert_eq!(figures, json!([rule["key"], amount, unit]));
            assert_eq!(self.who(&reward["holder"]["id"]), *holder);
            self.model.grant(&key, &referee, reward["id"].as_str().expect("an id"), given);
        }
        let refunds = BTreeMap::new();
        self.model.events.insert(key, Event { body, amount, refunded: 0, refunds });
    }

    async fn refund(&mut self) {
        let event = format!("e{}", self.random.below(STEPS / 2));
        let refund = format!("r{}", self.random.below(5));
        let amount = *self.random.one_of(&[None, Some(1), Some(9), Some(200), Some(1000), Some(99_000)]);
        let mut body = json!({"external_id": refund, "amount": amount, "reason": "refund"});
        let path = format!("{EVENTS}/refunds?external_id={event}&type=purchase");
        let Some(known) = self.model.events.get_mut(&event) else {
            self.place.tell(&path, &body).await.expect_problem(404, "event_not_found");
            return;
        };
        if let Some(before) = known.refunds.get(&refund) {
            self.place.tell(&path, before).await.expect(200);
            body["reason"] = json!("mistake");
            self.place.tell(&path, &body).await.expect_problem(409, "event_differs");
            return;
        }
        let rest = known.amount.map_or(0, |amount| amount - known.refunded);
        let nothing_left = if known.amount.is_some() { rest == 0 } else { !known.refunds.is_empty() };
        let answer = self.place.tell(&path, &body).await;
        if nothing_left || amount.is_some_and(|amount| amount > rest) {
            answer.expect_problem(409, "refund_exceeds");
            return;
        }
        known.refunds.insert(refund, body);
        let told = answer.expect(201).json();
        self.model.refund(&event, amount.unwrap_or(rest));
        assert_eq!(told["refunded_total"], self.model.events[&event].refunded);
    }

    async fn decide(&mut self) {
        let referee = self.random.one_of(&self.referees).clone();
        let decision = *self.random.one_of(&["approve", "approve", "hold", "deny"]);
        let path = format!("referrals/{}/{decision}", self.ids[&referee]);
        if decision == "deny" {
            self.place.may_end_at("DECIDED_OF");
        }
        self.act_as_manager(&path, json!({"note": "why"})).await.expect(200);
        self.place.drain().await;
        self.model.decide(&referee, decision);
        if self.place.is_mortal() {
            // What was held may be due.
            self.model.release();
        }
    }

    async fn act(&mut self) {
        if self.model.rewards.is_empty() {
            return;
        }
        let place = self.random.below(self.model.rewards.len());
        let act = *self.random.one_of(&["approve", "deny", "pay", "pay", "return"]);
        let path = format!("rewards/{}/{act}", self.model.rewards[place].id);
        let answer = self.act_as_manager(&path, json!({"reason": "why"})).await;
        match self.model.act(place, act) {
            Ok(()) => assert_eq!(answer.expect(200).json()["state"], self.model.rewards[place].state),
            Err(word) => drop(answer.expect_problem(409, word)),
        }
    }

    async fn adjust(&mut self) {
        let people: Vec<String> = self.ids.keys().cloned().collect();
        let holder = self.random.one_of(&people).clone();
        let (kind, unit) = (*self.random.one_of(&["credit", "debit"]), *self.random.one_of(&["EUR", "POINTS"]));
        let amount = *self.random.one_of(&[1, 50, 5000]);
        let body = json!({"holder": self.ids[&holder], "kind": kind, "unit": unit, "amount": amount, "reason": "why"});
        let answer = self.act_as_manager("ledger/adjustments", body).await;
        if self.model.erased.contains(&holder) {
            answer.expect_problem(404, "user_not_found");
        } else if kind == "debit" && amount > self.model.free(&holder, unit) {
            answer.expect_problem(409, "insufficient_balance");
        } else {
            answer.expect(201);
            self.model.balance(&holder, unit).1 += if kind == "credit" { amount } else { -amount };
        }
    }

    async fn make_payout(&mut self) {
        let (unit, least) = (*self.random.one_of(&["EUR", "POINTS"]), *self.random.one_of(&[1, 40, 600]));
        self.place.may_end_at("LOCK_PAYOUT");
        let made = self.act_as_manager("payouts", json!({"unit": unit, "min_amount": least})).await.expect(202).json();
        self.place.drain().await;
        let id = made["id"].as_str().expect("an id");
        self.model.prepare(id, unit, least);
        let told = self.place.manager().get(&format!("/api/v1/payouts/{id}")).await.expect(200).json();
        let lines = &self.model.payouts.last().expect("a payout").lines;
        let total: i64 = lines.values().map(|line| line.0).sum();
        assert_eq!((&told["lines"], &told["total"]), (&json!(lines.len()), &json!(total)));
    }

    async fn settle(&mut self) {
        if self.model.payouts.is_empty() {
            return;
        }
        let number = self.random.below(self.model.payouts.len());
        let act = *self.random.one_of(&["paid", "cancel", "return"]);
        let payout = &self.model.payouts[number];
        let holders: Vec<String> = payout.lines.keys().cloned().collect();
        if act == "return" && !holders.is_empty() {
            let holder = self.random.one_of(&holders).clone();
            let path = format!("payouts/{}/lines/{}/return", payout.id, self.ids[&holder]);
            let is_paid = payout.state == "paid" && !payout.lines[&holder].1;
            let answer = self.act_as_manager(&path, json!({})).await;
            if is_paid {
                answer.expect(200);
                self.model.give_back(number, &holder);
            } else {
                answer.expect_problem(409, "payout_state");
            }
        } else if act != "return" {
            let (path, open) = (format!("payouts/{}/{act}", payout.id), payout.state == "open");
            let answer = self.act_as_manager(&path, json!({})).await;
            if open {
                answer.expect(200);
                self.model.settle(number, act == "paid");
            } else {
                answer.expect_problem(409, "payout_state");
            }
        }
    }

    async fn erase(&mut self) {
        let people: Vec<String> = self.ids.keys().cloned().collect();
        let person = self.random.one_of(&people).clone();
        if self.model.erased.len() < 2 && self.model.erased.insert(person.clone()) {
            self.place.host().delete(&format!("/api/v1/participants/{person}")).await.expect(204);
        }
    }

    async fn wait(&mut self) {
        let days = 1 + self.random.below(12);
        self.place.may_end_at("DUE");
        let released = self.place.pass(days).await;
        self.model.day += days as u64;
        let expected = self.model.release();
        assert_eq!(released.unwrap_or(expected), expected);
    }

    /// Everybody has what the model says, and every reward is where it says.
    async fn compare(&self) {
        let app = self.place.app();
        for (name, id) in &self.ids {
            let holder = referral::kernel::ids::UserId::parse(id).expect("an id");
            let balances = referral::features::rewards::actions::lists::balances(app, holder).await;
            let amount = |amount: i128| i64::try_from(amount).expect("a small number");
            let has: BTreeMap<String, Amounts> = balances
                .expect("balances")
                .into_iter()
                .map(|one| {
                    let amounts = (amount(one.pending), amount(one.available), amount(one.paid));
                    (one.unit.as_str().to_owned(), amounts)
                })
                .filter(|(_, amounts)| *amounts != (0, 0, 0))
                .collect();
            let theirs = self.model.balances.iter().filter(|((who, _), amounts)| who == name && **amounts != (0, 0, 0));
            let expected: BTreeMap<String, Amounts> =
                theirs.map(|((_, unit), amounts)| (unit.clone(), *amounts)).collect();
            assert_eq!(has, expected, "{name}");
        }
        let mut path = "/api/v1/rewards?size=100".to_owned();
        let mut seen = BTreeMap::new();
        loop {
            let list = self.place.host().get(&path).await.expect(200).json();
            for reward in list["items"].as_array().expect("items") {
                let figures = json!([reward["state"], reward["reversed"], reward["paid_amount"]]);
                seen.insert(reward["id"].as_str().expect("an id").to_owned(), figures);
            }
            let Some(cursor) = list["next_cursor"].as_str() else { break };
            path = format!("/api/v1/rewards?size=100&cursor={cursor}");
        }
        let of =
            |reward: &super::model::Reward| (reward.id.clone(), json!([reward.state, reward.reversed, reward.paid]));
        assert_eq!(seen, self.model.rewards.iter().map(of).collect());
        let found = referral::features::rewards::actions::check::run(app).await.expect("a check");
        assert_eq!(found.faults, []);
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..38 => self.tell_event().await,
            38..55 => self.refund().await,
            55..65 => self.wait().await,
            65..70 => self.decide().await,
            70..81 => self.act().await,
            81..85 => self.adjust().await,
            85..89 => self.make_payout().await,
            89..94 => self.settle().await,
            94..96 => self.change_rules().await,
            96..97 => self.erase().await,
            _ => {
                let people: Vec<String> = self.ids.values().cloned().collect();
                let holder = self.random.one_of(&people).clone();
                let folded = referral::features::rewards::actions::check::fold(self.place.app(), &holder).await;
                folded.expect("a mark");
            }
        }
    }
}

/// A run of so many steps, by its seed.
async fn run(place: Place, seed: u64, steps: usize) -> Run {
    println!("REWARDS_SEED={seed}");
    let mut run = Run::begin(place, seed).await;
    for step in 0..steps {
        run.step().await;
        if step % 20 == 19 {
            run.compare().await;
        }
    }
    run.compare().await;
    run
}

/// The first seed, and how many are tried: another with `REWARDS_SEED`, more with `REWARDS_SEEDS`.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    let given = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first = given("REWARDS_SEED").unwrap_or(20_301_010);
    first..first + given("REWARDS_SEEDS").unwrap_or(if thorough() { usual } else { 1 })
}

on_every_setup!(whatever_is_done_in_whatever_order_everybody_has_what_the_model_says);
/// Laws 9 to 11.
async fn whatever_is_done_in_whatever_order_everybody_has_what_the_model_says(setup: Setup) {
    for seed in seeds(20) {
        let run = run(Place::here(setup).await, seed, STEPS).await;
        let counts = (run.model.rewards.len(), run.model.payouts.len(), run.model.erased.len());
        assert!(counts.0 > 50 && counts.1 > 3, "the run has something of everything: {counts:?}");
    }
}

on_both_engines!(whoever_is_killed_meanwhile_leaves_everybody_with_what_the_model_says);
/// Each write is sent again with its key until it is answered.
async fn whoever_is_killed_meanwhile_leaves_everybody_with_what_the_model_says(setup: Setup) {
    let steps = if thorough() { STEPS } else { 60 };
    for seed in seeds(5) {
        let run = run(Place::mortal(setup, seed).await, seed, steps).await;
        let Place::Mortal(killed) = &run.place else { panic!("it is mortal") };
        println!("{} kills, {} rewards", killed.kills, run.model.rewards.len());
        assert!(killed.kills > 0, "it was killed {} times", killed.kills);
    }
}
