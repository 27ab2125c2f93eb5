//! Many callers with different ends at once, and the check of the tables afterwards.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use referral::kernel::time::Clock;
use serde_json::json;

use super::helpers::{BRIEF, CALLERS, FAR, far, held, spread, start};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::record::{Join, Life, Record, Slot};

on_every_setup!(no_mix_of_callers_breaks_a_law);
/// Laws 1 and 2 with everything mixed: creating, replacing, revoking, expiring within milliseconds, registering.
async fn no_mix_of_callers_breaks_a_law(setup: Setup) {
    let test = start(setup).await;
    let calm = test.user("calm").await;
    calm.create_code("CALM2030ABCD").await.expect(201);
    let storm = Storm::gather(&test).await;
    for round in 0..8 {
        storm.begin(round).await;
        let name = format!("calm{round}");
        let untouched = spread(&test, &calm, round);
        let (_, refers) = tokio::join!(
            join_all((0..CALLERS).map(|caller| storm.call(round, caller))),
            untouched.register(&name, Some("CALM2030ABCD")),
        );
        refers.expect(201);
    }

    let record = Record::read(&test).await;
    assert_eq!(record.faults(), Vec::<String>::new());
    // The mix was one: codes that ended in each way, and referrals beside them.
    assert!(record.lives.iter().any(|life| life.revoked_at.is_some_and(|at| at < life.expires_at)));
    assert!(record.lives.iter().any(|life| life.revoked_at.is_none() && life.expires_at < far()));
    assert!(record.joins.len() >= 8, "{}", record.joins.len());

    // The checker would have seen it: two lives made to overlap, a referral moved out of its code's life.
    let (begins, ends) = (record.lives.iter().map(|life| life.created_at).min(), far());
    test.sql(&format!("update codes set created_at = {} where ordinal = 2", begins.expect("lives") - 2)).await;
    test.sql(&format!("update referrals set joined_at = {ends}")).await;
    let faults = Record::read(&test).await.faults();
    assert!(faults.iter().any(|fault| fault.contains("overlap")), "{faults:?}");
    assert_eq!(faults.iter().filter(|fault| fault.contains("outside")).count(), record.joins.len(), "{faults:?}");
}

/// The checker's negative control, row by row: it is silent about what is right and speaks about each wrong.
#[test]
fn the_checker_sees_what_is_planted() {
    let life = |ordinal, created_at, expires_at, revoked_at| Life {
        owner: "a".into(),
        ordinal,
        id: ordinal * 10,
        created_at,
        expires_at,
        revoked_at,
    };
    let join = |ordinal, at| Join { referrer: "a".into(), ordinal, at };
    let slot = |issued, code_id| Slot { owner: "a".into(), issued, code_id };
    let sound = || Record {
        // The second begins where the first was revoked, the third where the second has expired, though that was
        // revoked afterwards.
        lives: vec![life(1, 100, 900, Some(200)), life(2, 200, 300, Some(350)), life(3, 300, 900, None)],
        joins: vec![join(1, 100), join(1, 199), join(2, 299), join(3, 899)],
        slots: vec![slot(3, Some(30))],
        now: 500,
    };
    assert_eq!(sound().faults(), Vec::<String>::new());
    let swept = Record { slots: vec![slot(3, None)], now: 900, ..sound() };
    assert_eq!(swept.faults(), Vec::<String>::new());

    type Plant = fn(&mut Record);
    let plants: [(&str, Plant); 11] = [
        ("overlap", |record| record.lives[0].revoked_at = Some(201)),
        ("overlap", |record| record.lives[0].revoked_at = None),
        ("overlap", |record| record.lives[1].expires_at = 301),
        ("overlap", |record| record.lives[2].created_at = 150),
        ("outside", |record| record.joins[0].at = 99),
        ("outside", |record| record.joins[1].at = 200),
        ("outside", |record| record.joins[2].at = 300),
        ("outside", |record| record.joins[3].ordinal = 4),
        ("slot", |record| record.slots[0].code_id = Some(20)),
        ("slot", |record| record.slots[0].code_id = None),
        ("slot", |record| record.slots[0].issued = 2),
    ];
    for (place, (word, plant)) in plants.iter().enumerate() {
        let mut record = sound();
        plant(&mut record);
        let faults = record.faults();
        assert!(!faults.is_empty() && faults.iter().all(|fault| fault.contains(word)), "{place}: {faults:?}");
    }
}

/// Owners whose codes change all the time, and callers who change and use them.
struct Storm<'a> {
    test: &'a TestApp,
    owners: Vec<Client>,
    /// The newest code of each, dead or alive.
    newest: Vec<Mutex<String>>,
}

impl<'a> Storm<'a> {
    async fn gather(test: &'a TestApp) -> Self {
        let mut owners = Vec::new();
        for name in ["first", "second", "third"] {
            owners.push(test.user(name).await);
        }
        let newest = owners.iter().map(|_| Mutex::default()).collect();
        Self { test, owners, newest }
    }

    /// Gives each owner a code, one of them a brief one.
    async fn begin(&self, round: usize) {
        for which in 0..self.owners.len() {
            let owner = spread(self.test, &self.owners[which], round);
            let mut life = BRIEF;
            // A machine that takes longer to answer than the code lives gets more time.
            while !self.make(&owner, which, true, (round + which).is_multiple_of(3).then_some(life)).await {
                life *= 2;
            }
        }
    }

    async fn call(&self, round: usize, caller: usize) {
        let which = caller % self.owners.len();
        let owner = spread(self.test, &self.owners[which], caller / self.owners.len());
        let newest = held(&self.newest[which]).clone();
        let part = (caller / self.owners.len() + round) % 5;
        if part < 3 {
            let answer = owner.anonymous().register(&format!("guest{round}of{caller}"), Some(&newest)).await;
            allow(&answer, &[(201, ""), (404, "code_not_usable")]);
            return;
        }
        // A log-in takes as long as a registration, so that what follows falls between those.
        owner.log_in(&owner.username, PASSWORD).await.expect(200);
        match (round + caller) % 4 {
            0 => allow(&owner.revoke_code(&newest).await, &[(204, ""), (404, "code_not_found")]),
            1 => drop(self.make(&owner, which, false, None).await),
            2 => drop(self.make(&owner, which, true, None).await),
            _ => drop(self.make(&owner, which, true, Some(BRIEF)).await),
        }
    }

    /// Makes a code; false when it had expired before it was there.
    async fn make(&self, owner: &Client, which: usize, replace: bool, life: Option<Duration>) -> bool {
        let expires_at = life.map_or(FAR.to_owned(), |life| Clock::default().now().plus(life).to_string());
        let path = if replace { "/api/v1/codes?replace=true" } else { "/api/v1/codes" };
        let answer = owner.post(path, &json!({"expires_at": expires_at})).await;
        let refusal = if replace { (400, "expires_in_past") } else { (409, "active_code_exists") };
        allow(&answer, &[(201, ""), refusal, (400, "expires_in_past")]);
        if answer.status == 201 {
            *held(&self.newest[which]) = answer.json()["code"].as_str().expect("a code").to_owned();
        }
        answer.status != 400
    }
}

#[track_caller]
fn allow(answer: &Answer, outcomes: &[(u16, &str)]) {
    let code = if answer.status < 400 { json!("") } else { answer.json()["code"].clone() };
    assert!(outcomes.iter().any(|(status, word)| (answer.status, &code) == (*status, &json!(word))), "{answer:?}");
}
