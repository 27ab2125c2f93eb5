//! A year of a shop's life. Whichever way it is told, everybody has what a script says that shares nothing with us.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::features::rewards::actions::{check, lists, release};
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;
use reqwest::Method;
use serde_json::{Value, json};

use super::generated::{Customer, Day, MOMENTS, Purchase, Refund, year};
use super::helpers::{EVENTS, RULES, Random};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::history::{Caller, Outcome};
use crate::support::host::{PARTICIPANTS, host_with};
use crate::support::oauth::{Registered, text};
use crate::support::thorough;

const DAY: Duration = Duration::from_secs(86_400);
const SEED: u64 = 20_301_010;
/// Items of a batch.
const BATCH: usize = 500;
/// Calls under way at once.
const CALLS: usize = 16;

/// What everybody has in each unit: pending, available and paid.
type Moment = BTreeMap<String, BTreeMap<String, [i64; 3]>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    InOrder,
    /// Within a day; people come before what they buy.
    Shuffled,
    /// Everything is sent again.
    Twice,
}

struct Known {
    id: UserId,
    handle: String,
    is_referee: bool,
}

/// Something of a day whose order does not matter.
enum Told<'a> {
    Purchase(&'a Purchase),
    Refund(&'a Refund),
}

struct Shop {
    test: TestApp,
    manager: Client,
    registered: Registered,
    host: Caller,
    telling: Telling,
    random: Random,
    /// When the year began, and how much of it is over.
    began: Time,
    passed: Duration,
    people: BTreeMap<usize, Known>,
    /// What the script is told.
    log: String,
    /// Refunds that came before their purchase.
    early: usize,
}

fn name_of(number: usize) -> String {
    format!("c{number}")
}

impl Shop {
    async fn open(setup: Setup, telling: Telling) -> Self {
        let test = setup.start().await;
        let manager = test.manager("manager").await;
        let (registered, host) = host_with(&manager, json!({})).await;
        // Codes live by the database's clock, which goes on as well.
        manager.patch("/api/v1/programs/default", &json!({"code_days": 3650})).await.expect(200);
        let host = Caller::new(&host.base, host.token.as_deref());
        let (random, passed, people) = (Random(SEED + 1), Duration::ZERO, BTreeMap::new());
        let (began, log, early) = (Time(0), String::new(), 0);
        let mut shop = Self { test, manager, registered, host, telling, random, began, passed, people, log, early };
        // So that no midnight comes while a day is told.
        let into_the_day = shop.test.app().clock.now().0.rem_euclid(DAY.as_micros() as i64) as u64;
        shop.pass(DAY + DAY / 4 - Duration::from_micros(into_the_day)).await;
        shop.began = shop.test.app().clock.now();
        let date: String = shop.began.to_string().chars().take(10).collect();
        shop.note("began", json!(date));
        shop
    }

    fn note(&mut self, what: &str, about: Value) {
        self.log += &json!({what: about}).to_string();
        self.log.push('\n');
    }

    fn times(&self) -> usize {
        if self.telling == Telling::Twice { 2 } else { 1 }
    }

    async fn pass(&mut self, by: Duration) {
        self.passed += by;
        self.test.move_clock(by);
        let micros = |span: Duration| i64::try_from(span.as_micros()).expect("a span");
        // PostgreSQL's is set, SQLite's is moved on.
        let moved = if self.test.setup == Setup::Sqlite { micros(by) } else { micros(self.passed) };
        self.test.move_database_clock(moved).await;
        let given = self.registered.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
        self.host = Caller::new(&self.registered.base, Some(text(&given.json(), "access_token")));
    }

    async fn as_manager(&mut self) -> &Client {
        self.manager = self.test.client().logged_in("manager").await;
        &self.manager
    }

    async fn live(&mut self, day: &Day) {
        let until = DAY * u32::try_from(day.number).expect("few");
        let over = self.test.app().clock.now().since(self.began);
        // A day that has begun already is the first.
        if day.number > 0 {
            self.pass(until - DAY * u32::try_from(over.as_secs() / DAY.as_secs()).expect("few")).await;
        }
        release::release(self.test.app()).await.expect("a release");
        self.note("day", json!(day.number));
        if let Some(rules) = &day.rules {
            self.as_manager().await.post(RULES, &json!({"rules": rules})).await.expect(201);
            self.note("rules", rules.clone());
        }
        self.take_in(&day.people).await;
        let mut all: Vec<Told> = day.purchases.iter().map(Told::Purchase).collect();
        all.extend(day.refunds.iter().map(Told::Refund));
        let mut early = Vec::new();
        if self.telling == Telling::Shuffled {
            self.random.shuffle(&mut all);
        }
        while !all.is_empty() {
            let most = all.len().min(BATCH);
            let size = if self.telling == Telling::Shuffled { 1 + self.random.below(most) } else { most };
            let (mut purchases, mut refunds) = (Vec::new(), Vec::new());
            for told in all.drain(..size) {
                match told {
                    Told::Purchase(purchase) => purchases.push(purchase),
                    Told::Refund(refund) => refunds.push(refund),
                }
            }
            self.tell_purchases(day.number, &purchases).await;
            early.extend(self.tell_refunds(&refunds).await);
        }
        self.early += early.len();
        let without = self.tell_refunds(&early).await;
        assert!(without.iter().all(|refund| !self.people[&refund.buyer].is_referee), "each purchase is there");
        self.early -= without.len();
        if day.is_payday {
            self.pay().await;
        }
    }

    async fn take_in(&mut self, people: &[Customer]) {
        let mut people = people.to_vec();
        if people.is_empty() {
            return;
        }
        if self.telling == Telling::Shuffled {
            self.random.shuffle(&mut people);
        }
        let items: Vec<Value> = people
            .iter()
            .map(|one| {
                let handle = one.by.map(|by| &self.people[&by].handle);
                json!({"external_id": name_of(one.number), "handle": handle})
            })
            .collect();
        for turn in 0..self.times() {
            let answer = self.host.send(Method::POST, PARTICIPANTS, &json!({"participants": items})).await.1;
            let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
            for (one, result) in people.iter().zip(results) {
                assert_eq!(result["status"], if turn == 0 { 201 } else { 200 }, "{result}");
                let id = UserId::parse(text(&result["body"], "id")).expect("an id");
                let handle = text(&result["body"], "handle").to_owned();
                self.people.insert(one.number, Known { id, handle, is_referee: one.by.is_some() });
            }
        }
        let noted: Vec<Value> = people.iter().map(|one| json!([name_of(one.number), one.by.map(name_of)])).collect();
        self.note("people", json!(noted));
        // Their sign-ups are told by jobs.
        self.test.drain().await;
    }

    fn event(&self, today: u64, purchase: &Purchase) -> Value {
        let mut event = json!({"type": "purchase", "external_id": purchase.key, "amount": purchase.amount,
            "unit": purchase.unit, "participant": {"external_id": name_of(purchase.buyer)}});
        if purchase.late > 0 {
            let midday = self.began.plus(DAY * u32::try_from(today).expect("few") + DAY / 2);
            let occurred = midday.minus(DAY * u32::try_from(purchase.late).expect("few"));
            event["occurred_at"] = json!(occurred.to_string());
        }
        event
    }

    async fn tell_purchases(&mut self, today: u64, purchases: &[&Purchase]) {
        if purchases.is_empty() {
            return;
        }
        let body = json!({"events": purchases.iter().map(|one| self.event(today, one)).collect::<Vec<_>>()});
        let mut first = Vec::new();
        for turn in 0..self.times() {
            let answer = self.host.send(Method::POST, &format!("{EVENTS}/batch"), &body).await.1;
            let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
            for (one, result) in purchases.iter().zip(results) {
                let is_new = turn == 0 && self.people[&one.buyer].is_referee;
                assert_eq!(result["status"], if is_new { 201 } else { 200 }, "{result}");
            }
            let bodies: Vec<Value> = results.iter().map(|result| result["body"].clone()).collect();
            if turn == 0 {
                first = bodies;
            } else {
                assert_eq!(bodies, first);
            }
        }
        let noted = purchases.iter().map(|one| {
            json!({"external_id": one.key, "who": name_of(one.buyer), "amount": one.amount, "unit": one.unit,
                "day": i64::try_from(today).expect("few") - i64::try_from(one.late).expect("few")})
        });
        self.note("events", noted.collect());
    }

    /// Tells of refunds, many at once, and says whose purchase is not known.
    async fn tell_refunds<'a>(&mut self, refunds: &[&'a Refund]) -> Vec<&'a Refund> {
        let mut unknown = Vec::new();
        for part in refunds.chunks(CALLS) {
            let known = join_all(part.iter().map(|refund| self.tell_refund(refund))).await;
            for (refund, known) in part.iter().zip(known) {
                if known {
                    self.note("refund", json!([refund.purchase, refund.amount]));
                } else {
                    unknown.push(*refund);
                }
            }
        }
        unknown
    }

    async fn tell_refund(&self, refund: &Refund) -> bool {
        let path = format!("{EVENTS}/refunds?external_id={}&type=purchase", refund.purchase);
        let body = json!({"external_id": refund.key, "amount": refund.amount, "reason": "refund"});
        let (outcome, first) = self.host.send(Method::POST, &path, &body).await;
        if first["code"] == "event_not_found" {
            return false;
        }
        assert_eq!(outcome, Outcome::Ok, "{first}");
        for _ in 1..self.times() {
            assert_eq!(self.host.send(Method::POST, &path, &body).await, (Outcome::Ok, first.clone()));
        }
        true
    }

    /// Pays whoever has enough.
    async fn pay(&mut self) {
        self.as_manager().await;
        for (unit, least) in [("EUR", 1000), ("POINTS", 400)] {
            let wanted = json!({"unit": unit, "min_amount": least});
            let made = self.manager.post("/api/v1/payouts", &wanted).await.expect(202).json();
            self.test.drain().await;
            let paid = format!("/api/v1/payouts/{}/paid", text(&made, "id"));
            self.manager.post(&paid, &json!({})).await.expect(200);
            self.note("payout", json!([unit, least]));
        }
    }

    /// What everybody has now.
    async fn moment(&mut self) -> Moment {
        self.test.drain().await;
        self.note("moment", json!(self.passed.as_secs()));
        let (app, mut moment) = (self.test.app(), Moment::new());
        let people: Vec<(&usize, &Known)> = self.people.iter().collect();
        for part in people.chunks(CALLS) {
            let all = join_all(part.iter().map(|(_, known)| lists::balances(app, known.id))).await;
            for ((number, _), balances) in part.iter().zip(all) {
                let mut units = BTreeMap::new();
                for one in balances.expect("balances") {
                    let amounts = [one.pending, one.available, one.paid];
                    let amounts = amounts.map(|amount| i64::try_from(amount).expect("a small number"));
                    if amounts != [0; 3] {
                        units.insert(one.unit.as_str().to_owned(), amounts);
                    }
                }
                if !units.is_empty() {
                    moment.insert(name_of(**number), units);
                }
            }
        }
        moment
    }
}

/// What the script says of what was done.
fn worked_out(log: &str) -> Vec<Moment> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new("python3");
    python.arg(root.join("tests/it/rewards/year.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = python.spawn().expect("Python is there: `cargo xtask test` installs it");
    let mut input = script.stdin.take().expect("it is piped");
    let log = log.to_owned();
    let telling = std::thread::spawn(move || input.write_all(log.as_bytes()));
    let output = script.wait_with_output().expect("its output");
    telling.join().expect("no panic in here").expect("it reads all");
    assert!(output.status.success(), "the script fails");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a moment")).collect()
}

/// A year as it is told in one way: what was done, and what everybody had at each moment.
async fn lived(setup: Setup, telling: Telling, purchases: usize, stride: u64) -> (String, Vec<Moment>) {
    let (began, mut moments) = (Instant::now(), Vec::new());
    let year = year(&mut Random(SEED), purchases, stride);
    let mut shop = Shop::open(setup, telling).await;
    for day in &year {
        shop.live(day).await;
        if day.is_moment {
            moments.push(shop.moment().await);
        }
    }
    let found = check::run(shop.test.app()).await.expect("a check");
    assert_eq!(found.faults, []);
    let referees = |purchase: &&Purchase| shop.people[&purchase.buyer].is_referee;
    let told = year.iter().flat_map(|day| &day.purchases).filter(referees).count();
    let events = shop.test.number("select count(*) from events where type = 'purchase'").await;
    assert_eq!(events, i64::try_from(told).expect("a number"), "each once");
    assert_eq!(shop.early > 0, telling == Telling::Shuffled, "some refunds come before their purchase");
    println!(
        "{setup:?}, {telling:?}: {events} events of referees, {} rewards and {} movements, within {:.1?}",
        found.rewards,
        found.movements,
        began.elapsed()
    );
    (shop.log, moments)
}

on_every_setup!(whichever_way_a_year_is_told_everybody_has_what_a_script_of_its_own_says);
/// Laws 9 to 11. Of 50,000 purchases in `cargo xtask faults`.
async fn whichever_way_a_year_is_told_everybody_has_what_a_script_of_its_own_says(setup: Setup) {
    let (purchases, stride) = if thorough() { (50_000, 1) } else { (500, 7) };
    let (in_order, shuffled, twice) = tokio::join!(
        lived(setup, Telling::InOrder, purchases, stride),
        lived(setup, Telling::Shuffled, purchases, stride),
        lived(setup, Telling::Twice, purchases, stride),
    );
    assert_eq!(in_order.1, twice.1, "what is sent again changes nothing");
    for (log, moments) in [in_order, shuffled, twice] {
        let expected = worked_out(&log);
        assert_eq!((moments.len(), expected.len()), (MOMENTS, MOMENTS));
        for (place, (has, expected)) in moments.iter().zip(&expected).enumerate() {
            let people = has.keys().chain(expected.keys());
            let wrong = people.into_iter().find(|name| has.get(*name) != expected.get(*name));
            assert!(
                wrong.is_none(),
                "moment {place}: {:?}",
                wrong.map(|name| (name, has.get(name), expected.get(name)))
            );
        }
        let last = moments.last().expect("a moment");
        let any = |place: usize| last.values().flat_map(BTreeMap::values).any(|amounts| amounts[place] > 0);
        assert!((0..3).all(any), "something of each");
    }
}
