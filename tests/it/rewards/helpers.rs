//! A shop with rules, a referrer and a referee.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, Client};
use crate::support::host::host_with;
use crate::support::oauth::{Registered, text};

pub const EVENTS: &str = "/api/v1/events";
/// Rewards that others were not told each step of, once. The steps of one have the versions from 1 on.
pub const NOT_TOLD: &str = "select count(*) from rewards r where r.version <> (select count(*) from outbox o
    where o.subject_id = r.id) or r.version < (select count(*) from ledger l where l.reward_id = r.id)";
pub const RULES: &str = "/api/v1/programs/default/rules";

/// A tenth of each purchase for the referrer, in euros.
pub fn share() -> Value {
    json!({"key": "share", "on": "purchase", "to": "referrer", "percent_bp": 1000, "event_unit": "EUR",
        "times": "every"})
}

/// Five hundred points for the referee's first purchase.
pub fn welcome() -> Value {
    json!({"key": "welcome", "on": "purchase", "to": "referee", "fixed": 500, "unit": "POINTS", "times": "first"})
}

/// A shop whose back end tells of people and events.
pub struct Shop {
    pub test: TestApp,
    pub manager: Client,
    pub host: Client,
    client: Registered,
    /// Whom the referrer is, by our id.
    pub referrer: String,
    pub referee: String,
}

impl Shop {
    /// With olga, who has brought ivan.
    pub async fn open(setup: Setup, rules: &[Value]) -> Self {
        Self::of(setup.start_with(&[("REFERRAL_WEBHOOKS_FEED", "on")]).await, rules).await
    }

    pub async fn of(test: TestApp, rules: &[Value]) -> Self {
        let manager = test.manager("manager").await;
        let (client, host) = host_with(&manager, json!({})).await;
        if !rules.is_empty() {
            manager.post(RULES, &json!({"rules": rules})).await.expect(201);
        }
        let olga = host.tell("olga", json!({})).await.expect(201).json();
        let ivan = host.tell("ivan", json!({"code": olga["code"]})).await.expect(201).json();
        let id = |person: &Value| person["id"].as_str().expect("an id").to_owned();
        Self { test, manager, host, client, referrer: id(&olga), referee: id(&ivan) }
    }

    /// Lets time pass: whoever calls gets another token, for theirs live shorter.
    pub async fn pass(&mut self, by: Duration) {
        self.test.move_clock(by);
        self.manager = self.test.client().logged_in("manager").await;
        let given = self.client.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
        self.host = Client::new(&self.host.base).with_token(text(&given, "access_token"));
    }

    /// Tells of a purchase of ivan's, in euros.
    pub async fn purchase(&self, external: &str, amount: i64) -> Answer {
        self.host.post(EVENTS, &purchase("ivan", external, amount)).await
    }

    /// Tells of a refund by the host's own ids.
    pub async fn refund(&self, event: &str, external: &str, amount: Option<i64>) -> Answer {
        let path = format!("{EVENTS}/refunds?external_id={event}&type=purchase");
        let body = json!({"external_id": external, "amount": amount, "reason": "refund"});
        self.host.post(&path, &body).await
    }

    /// Pending, available and paid of somebody in a unit, by the ledger's rows.
    pub async fn balance(&self, holder: &str, unit: &str) -> (i64, i64, i64) {
        let mut balance = (0, 0, 0);
        let mut path = format!("/api/v1/ledger?holder={holder}");
        loop {
            let ledger = self.host.get(&path).await.expect(200).json();
            for entry in ledger["items"].as_array().expect("items").iter().filter(|entry| entry["unit"] == unit) {
                let amount = entry["amount"].as_i64().expect("an amount");
                for (side, sign) in [("from", -1), ("to", 1)] {
                    match entry[side].as_str().expect("an account") {
                        "pending" => balance.0 += sign * amount,
                        "available" => balance.1 += sign * amount,
                        "paid" => balance.2 += sign * amount,
                        other => assert_eq!(other, "issued"),
                    }
                }
            }
            let Some(cursor) = ledger["next_cursor"].as_str() else { return balance };
            path = format!("/api/v1/ledger?holder={holder}&cursor={cursor}");
        }
    }

    /// That every reward, balance and mark is what its rows come to, and that each step of each reward was told of
    /// where all are.
    pub async fn adds_up(&self) {
        let found = referral::features::rewards::actions::check::run(self.test.app()).await.expect("a check");
        assert_eq!(found.faults, []);
        if self.test.number("select count(*) from outbox_head where feed").await == 1 {
            assert_eq!(self.test.number(NOT_TOLD).await, 0, "each step of a reward is told of once");
        }
    }
}

/// Sends each body to its path at once, from two nodes in turn.
pub async fn at_once(shop: &Shop, calls: Vec<(String, Value)>) -> Vec<Answer> {
    at_once_by(shop, &shop.host, calls).await
}

/// As [`at_once`], by somebody else than the host.
pub async fn at_once_by(shop: &Shop, caller: &Client, calls: Vec<(String, Value)>) -> Vec<Answer> {
    let nodes: Vec<Client> = shop.test.nodes.iter().map(|node| caller.at(&node.url)).collect();
    let calls: Vec<_> = calls
        .into_iter()
        .enumerate()
        .map(|(place, (path, body))| {
            let node = nodes[place % nodes.len()].clone();
            tokio::spawn(async move { node.post(&path, &body).await })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("an answer"));
    }
    answers
}

/// Releases what is due, and says how many rewards that were.
pub async fn release(shop: &Shop) -> usize {
    referral::features::rewards::actions::release::release(shop.test.app()).await.expect("a release")
}

pub fn purchase(participant: &str, external: &str, amount: i64) -> Value {
    json!({"type": "purchase", "external_id": external, "participant": {"external_id": participant},
        "amount": amount, "unit": "EUR"})
}

/// Numbers from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for place in (1..list.len()).rev() {
            list.swap(place, self.below(place + 1));
        }
    }
}
