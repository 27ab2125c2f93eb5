//! Everything that moves money of a few people at once, and the service or its database killed meanwhile. For a minute
//! in `cargo xtask faults`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::features::rewards::actions::{check, release};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

use super::helpers::{EVENTS, RULES, Random, Shop, purchase, share, welcome};
use crate::in_each_case;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::history::{Caller, Outcome};
use crate::support::host::host_of;
use crate::support::oauth::text;
use crate::support::process::{Operator, Serving};
use crate::support::servers::{Postgres, PostgresOptions};
use crate::support::{thorough, witness};

/// Callers who tell of events.
const WRITERS: usize = 8;
/// Referees whom they tell of.
const PEOPLE: usize = 12;

/// How long it goes on, at least.
fn least() -> Duration {
    if thorough() { Duration::from_secs(60) } else { Duration::ZERO }
}

/// Both sides get something for every purchase, at once.
fn rules() -> [Value; 2] {
    let (mut share, mut every) = (share(), welcome());
    (share["hold_days"], every["hold_days"], every["times"]) = (json!(0), json!(0), json!("every"));
    [share, every]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    ServiceOnSqlite,
    ServiceOnPostgres,
    Postgres,
}

/// Tells of one event after the other, each until it is acknowledged, and says which these were.
async fn tell(
    writer: usize,
    mut base: watch::Receiver<String>,
    token: String,
    over: Arc<AtomicBool>,
    acknowledged: Arc<AtomicUsize>,
) -> Vec<String> {
    let mut caller = Caller::new(&base.borrow_and_update().clone(), Some(&token));
    let mut told = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let key = format!("w{writer}e{}", told.len());
        let body = purchase(&format!("p{}", (writer + told.len()) % PEOPLE), &key, 1000);
        loop {
            let (outcome, answer) = caller.send(Method::POST, EVENTS, &body).await;
            match outcome {
                Outcome::Ok => break,
                Outcome::Failed => assert_eq!(answer["code"], "overloaded", "{answer}"),
                Outcome::Unknown => {}
            }
            // Nobody listens for a while.
            tokio::time::sleep(Duration::from_millis(5)).await;
            if base.has_changed().is_ok_and(|changed| changed) {
                caller = Caller::new(&base.borrow_and_update().clone(), Some(&token));
            }
        }
        told.push(key);
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    told
}

in_each_case!(
    what_was_acknowledged_before_a_kill_is_there_once_with_its_rewards(super::Victim):
    service_on_sqlite ServiceOnSqlite,
    service_on_postgres ServiceOnPostgres,
    postgres Postgres
);
/// Law 9.
async fn what_was_acknowledged_before_a_kill_is_there_once_with_its_rewards(victim: Victim) {
    // Events between two kills, and kills.
    let (events, kills) = if thorough() { (400, 5) } else { (40, 2) };
    let mut operator = Operator::on_a_free_port();
    let mut postgres = None;
    let url = match victim {
        Victim::ServiceOnSqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        Victim::ServiceOnPostgres => Setup::Postgres.prepare(&[]).await.database_url,
        Victim::Postgres => {
            let server = Postgres::start(PostgresOptions { fsync: true, ..PostgresOptions::default() }).await;
            postgres.insert(server).database().await
        }
    };
    operator.set("DATABASE_URL", &url);
    // Tokens are good for the next process, too.
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let mut serving: Serving = operator.serve();
    let boss = serving.client().logged_in("boss").await;
    let host = host_of(&boss).await;
    boss.post(RULES, &json!({"rules": rules()})).await.expect(201);
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    for person in 0..PEOPLE {
        host.tell(&format!("p{person}"), json!({"code": olga["code"]})).await.expect(201);
    }
    let (base, heard) = watch::channel(serving.url.clone());
    let (over, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let token = host.token.clone().expect("a token");
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(tell(writer, heard.clone(), token.clone(), over.clone(), acknowledged.clone())))
        .collect();
    let (began, mut killed) = (Instant::now(), 0);
    while killed < kills || began.elapsed() < least() {
        let seen = acknowledged.load(Ordering::Relaxed);
        eventually("events are told", || async { acknowledged.load(Ordering::Relaxed) >= seen + events }).await;
        match &mut postgres {
            Some(postgres) => {
                postgres.kill();
                postgres.restart().await;
            }
            None => {
                serving.kill();
                serving = operator.serve();
                base.send(serving.url.clone()).expect("somebody listens");
            }
        }
        killed += 1;
    }
    over.store(true, Ordering::Relaxed);
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.expect("a writer"));
    }
    let there: Vec<String> =
        witness::query(&url, "select external_id from events").await.into_iter().flatten().flatten().collect();
    println!("{victim:?}: {} events acknowledged, {killed} kills", told.len());
    assert_eq!(there.len(), told.len());
    assert_eq!(there.into_iter().collect::<BTreeSet<_>>(), told.into_iter().collect());
    let without = "select count(*) from events e where 2 <> (select count(*) from rewards r
                   join ledger l on l.reward_id = r.id and l.kind = 'grant' and l.amount = r.amount
                   where r.event_id = e.id)";
    assert_eq!(witness::number(&url, without).await, 0);
    operator.run(&["admin", "ledger", "check"]).well();
    serving.stop();
}

/// Two nodes, and few people of whom all that follows is.
struct Crowd {
    shop: Shop,
    nodes: Vec<Client>,
    managers: Vec<Client>,
    referrers: Vec<Value>,
    /// Our ids.
    referees: Vec<String>,
    /// What was told of.
    events: Mutex<Vec<String>>,
    began: Instant,
    unavailable: AtomicUsize,
}

impl Crowd {
    async fn gather() -> Self {
        let shop = Shop::of(Setup::Postgres.start_two().await, &[]).await;
        let [share, every] = rules();
        // Who counts is alone.
        let bonus = json!({"key": "bonus", "on": "purchase", "to": "referrer", "fixed": 7, "unit": "EUR",
            "times": "every", "hold_days": 0, "limit": {"count": 1_000_000, "per": "ever"}});
        shop.manager.post(RULES, &json!({"rules": [every, share, bonus]})).await.expect(201);
        // Rows that every event changes.
        let budgets = json!({"budgets": {"EUR": 1_000_000_000_000_i64, "POINTS": 1_000_000_000_000_i64}});
        shop.manager.patch("/api/v1/programs/default", &budgets).await.expect(200);
        let (mut referrers, mut referees) = (Vec::new(), Vec::new());
        for person in 0..PEOPLE {
            if person % 4 == 0 {
                let told = shop.host.tell(&format!("r{person}"), json!({})).await.expect(201).json();
                referrers.push(told);
            }
            let code = json!({"code": referrers[person / 4]["code"]});
            let told = shop.host.tell(&format!("p{person}"), code).await.expect(201).json();
            referees.push(text(&told, "id").to_owned());
        }
        let nodes = shop.test.nodes.iter().map(|node| shop.host.at(&node.url)).collect();
        let managers = shop.test.nodes.iter().map(|node| shop.manager.at(&node.url)).collect();
        let (events, unavailable) = (Mutex::default(), AtomicUsize::new(0));
        Self { shop, nodes, managers, referrers, referees, events, began: Instant::now(), unavailable }
    }

    fn goes_on(&self, turn: usize) -> bool {
        turn < 25 || self.began.elapsed() < least()
    }

    async fn post(&self, by: &Client, path: &str, body: &Value) -> Value {
        let answer = by.post(path, body).await;
        if answer.status == 503 {
            self.unavailable.fetch_add(1, Ordering::Relaxed);
        }
        answer.json()
    }

    async fn tells_of_events(&self, writer: usize) {
        let mut turn = 0;
        while self.goes_on(turn) {
            let key = format!("w{writer}e{turn}");
            let event = purchase(&format!("p{}", (writer * 5 + turn) % PEOPLE), &key, 1000);
            self.post(&self.nodes[writer % 2], EVENTS, &event).await;
            self.events.lock().await.push(key);
            turn += 1;
        }
    }

    async fn tells_of_batches(&self) {
        let (mut random, mut turn) = (Random(7), 0);
        while self.goes_on(turn) {
            let one = |place: usize| purchase(&format!("p{}", random.below(PEOPLE)), &format!("b{turn}e{place}"), 500);
            let events: Vec<Value> = (0..40).map(one).collect();
            self.post(&self.nodes[turn % 2], &format!("{EVENTS}/batch"), &json!({"events": events})).await;
            turn += 1;
        }
    }

    async fn tells_of_refunds(&self, writer: usize) {
        let (mut random, mut turn) = (Random(writer as u64), 0);
        while self.goes_on(turn) {
            let event = {
                let events = self.events.lock().await;
                if events.is_empty() { "none".to_owned() } else { random.one_of(&events).clone() }
            };
            let path = format!("{EVENTS}/refunds?external_id={event}&type=purchase");
            let body = json!({"external_id": format!("w{writer}r{turn}"), "amount": 300, "reason": "refund"});
            self.post(&self.nodes[writer % 2], &path, &body).await;
            turn += 1;
        }
    }

    /// What the worker of a node does.
    async fn works(&self, node: usize, done: &AtomicBool) {
        let app = &self.shop.test.nodes[node].app;
        while !done.load(Ordering::Relaxed) {
            release::release(app).await.expect("a release");
            referral::worker::drain(app).await.expect("the jobs run");
            for referrer in &self.referrers {
                check::fold(app, text(referrer, "id")).await.expect("a mark");
            }
        }
    }

    async fn pays_out(&self) {
        let mut turn = 0;
        while self.goes_on(turn) {
            let manager = &self.managers[turn % 2];
            let unit = if turn % 3 == 0 { "POINTS" } else { "EUR" };
            let made = self.post(manager, "/api/v1/payouts", &json!({"unit": unit})).await;
            let payout = format!("/api/v1/payouts/{}", text(&made, "id"));
            eventually("it is prepared", || async { manager.get(&payout).await.expect(200).json()["state"] == "open" })
                .await;
            let act = if turn % 4 == 0 { "cancel" } else { "paid" };
            self.post(manager, &format!("{payout}/{act}"), &json!({})).await;
            for referrer in &self.referrers {
                let back = format!("{payout}/lines/{}/return", text(referrer, "id"));
                self.post(manager, &back, &json!({})).await;
            }
            turn += 1;
        }
    }

    async fn decides(&self) {
        let (mut random, mut turn) = (Random(3), 0);
        while self.goes_on(turn) {
            let manager = &self.managers[random.below(2)];
            let referee = random.one_of(&self.referees);
            let decision = random.one_of(&["approve", "approve", "hold", "deny"]);
            self.post(manager, &format!("/api/v1/referrals/{referee}/{decision}"), &json!({})).await;
            let list = manager.get("/api/v1/rewards?size=30").await.expect(200).json();
            for reward in list["items"].as_array().expect("items").iter().take(6) {
                let act = random.one_of(&["approve", "deny", "pay", "return"]);
                let path = format!("/api/v1/rewards/{}/{act}", text(reward, "id"));
                self.post(manager, &path, &json!({"reason": "why"})).await;
            }
            let holder = &random.one_of(&self.referrers)["id"];
            let kind = random.one_of(&["credit", "debit"]);
            let body = json!({"holder": holder, "kind": kind, "unit": "EUR", "amount": 5, "reason": "why"});
            self.post(manager, "/api/v1/ledger/adjustments", &body).await;
            turn += 1;
        }
    }

    /// People come, buy something, and are erased while it is refunded.
    async fn erases(&self) {
        let mut turn = 0;
        while self.goes_on(turn) {
            let (node, person) = (&self.nodes[turn % 2], format!("gone{turn}"));
            node.tell(&person, json!({"code": self.referrers[turn % 3]["code"]})).await.expect(201);
            self.post(node, EVENTS, &purchase(&person, &person, 900)).await;
            let refunds = format!("{EVENTS}/refunds?external_id={person}&type=purchase");
            let refund = json!({"external_id": "r", "reason": "refund"});
            let path = format!("/api/v1/participants/{person}");
            let event = purchase(&person, &format!("{person}x"), 900);
            tokio::join!(
                async { node.delete(&path).await.expect(204) },
                self.post(&self.nodes[(turn + 1) % 2], &refunds, &refund),
                self.post(&self.nodes[(turn + 1) % 2], EVENTS, &event),
            );
            turn += 1;
        }
    }

    /// How many deadlocks PostgreSQL has met. Connections tell of them when they end, at the latest.
    async fn deadlocks(&self) -> i64 {
        let others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        eventually("they have told", || async {
            self.shop.test.query(&format!("select pg_terminate_backend(pid) {others}")).await;
            let new = format!("select count(*) {others} and backend_start < now() - interval '1 second'");
            self.shop.test.number(&new).await == 0
        })
        .await;
        self.shop.test.number("select deadlocks from pg_stat_database where datname = current_database()").await
    }

    /// Makes one.
    async fn meets_a_deadlock(&self) {
        let (one, other) = (self.shop.test.beside().await, self.shop.test.beside().await);
        let lock = |key: i64| format!("select pg_advisory_xact_lock({key})");
        one.batch_execute(&format!("begin; {}", lock(1))).await.expect("a lock");
        other.batch_execute(&format!("begin; {}", lock(2))).await.expect("a lock");
        let (first, second) = (lock(2), lock(1));
        let (one, other) = tokio::join!(one.batch_execute(&first), other.batch_execute(&second));
        assert!(one.is_err() != other.is_err(), "one of them gives way");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moves_money_of_a_few_at_once_meets_no_deadlock_on_postgres() {
    let crowd = Arc::new(Crowd::gather().await);
    let done = Arc::new(AtomicBool::new(false));
    let workers: Vec<_> = (0..2)
        .map(|node| {
            let (crowd, done) = (crowd.clone(), done.clone());
            tokio::spawn(async move { crowd.works(node, &done).await })
        })
        .collect();
    let writers = (0..WRITERS).map(|writer| {
        let crowd = crowd.clone();
        tokio::spawn(async move {
            tokio::join!(crowd.tells_of_events(writer), crowd.tells_of_refunds(writer));
        })
    });
    let rest = crowd.clone();
    let rest = tokio::spawn(async move {
        tokio::join!(rest.tells_of_batches(), rest.pays_out(), rest.decides(), rest.erases());
    });
    for writer in join_all(writers).await {
        writer.expect("a writer");
    }
    rest.await.expect("the others");
    done.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.expect("a worker");
    }
    crowd.shop.test.drain().await;
    crowd.shop.adds_up().await;
    let number = async |sql: &str| crowd.shop.test.number(sql).await;
    let events = number("select count(*) from events").await;
    let paid = number("select count(*) from payout_lines where state = 'paid'").await;
    let reversed = number("select count(*) from ledger where kind in ('deny', 'reverse')").await;
    let unavailable = crowd.unavailable.load(Ordering::Relaxed);
    println!("{events} events, {paid} lines paid, {reversed} movements back; {unavailable} times 503");
    assert!(events > 200 && paid > 0 && reversed > 0);
    assert_eq!(crowd.deadlocks().await, 0);
    crowd.meets_a_deadlock().await;
    assert_eq!(crowd.deadlocks().await, 1, "one that is met is counted");
}
