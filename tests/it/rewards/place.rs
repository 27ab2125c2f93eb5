//! Where a run takes place: in this process, or in one that is killed now and then.

use std::sync::Arc;
use std::time::Duration;

use referral::app::App;
use referral::features::rewards::actions::release;
use serde_json::{Value, json};

use super::helpers::{Random, Shop};
use super::mortal::{Came, Mortal};
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client};
use crate::support::witness;

const DAY: Duration = Duration::from_secs(86_400);

pub enum Place {
    Here(Box<Shop>),
    /// Its clock is left alone: what has happened is moved into the past.
    Mortal(Box<Killed>),
}

pub struct Killed {
    mortal: Mortal,
    random: Random,
    /// What looks into the same database beside it.
    beside: Arc<App>,
    _test: TestApp,
    /// Writes that were sent, each with a key of its own.
    keys: usize,
    /// A job is to end it.
    armed: bool,
    pub kills: usize,
}

impl Place {
    pub async fn here(setup: Setup) -> Self {
        Self::Here(Box::new(Shop::of(setup.start().await, &[]).await))
    }

    pub async fn mortal(setup: Setup, seed: u64) -> Self {
        let (mortal, _) = Mortal::with(setup, json!([])).await;
        let test = setup.prepare_on(mortal.url.clone(), &[]).await;
        let beside = test.command(&[]).await;
        let random = Random(!seed);
        Self::Mortal(Box::new(Killed { mortal, random, beside, _test: test, keys: 0, armed: false, kills: 0 }))
    }

    pub fn is_mortal(&self) -> bool {
        matches!(self, Self::Mortal(_))
    }

    pub fn host(&self) -> &Client {
        match self {
            Self::Here(shop) => &shop.host,
            Self::Mortal(killed) => &killed.mortal.host,
        }
    }

    pub fn manager(&self) -> &Client {
        match self {
            Self::Here(shop) => &shop.manager,
            Self::Mortal(killed) => &killed.mortal.boss,
        }
    }

    pub fn app(&self) -> &Arc<App> {
        match self {
            Self::Here(shop) => shop.test.app(),
            Self::Mortal(killed) => &killed.beside,
        }
    }

    /// Posts something as the host. Whoever is killed meanwhile is asked again, with the same key.
    pub async fn tell(&mut self, path: &str, body: &Value) -> Answer {
        match self {
            Self::Here(shop) => shop.host.post(path, body).await,
            Self::Mortal(killed) => killed.post(false, path, body).await,
        }
    }

    /// As [`tell`](Self::tell), as the manager.
    pub async fn act(&mut self, path: &str, body: &Value) -> Answer {
        match self {
            Self::Here(shop) => shop.manager.post(path, body).await,
            Self::Mortal(killed) => killed.post(true, path, body).await,
        }
    }

    /// Before something that asks for a job which begins with this statement: now and then the job ends the service.
    pub fn may_end_at(&mut self, first: &str) {
        if let Self::Mortal(killed) = self
            && killed.random.below(4) == 0
        {
            let step = 1 + killed.random.below(10);
            killed.mortal.arm(first, step);
            killed.armed = true;
        }
    }

    /// Lets all jobs be done.
    pub async fn drain(&mut self) {
        match self {
            Self::Here(shop) => drop(shop.test.drain().await),
            Self::Mortal(killed) => killed.settle().await,
        }
    }

    /// Lets time pass, and what is due be released: how much that was, where one can tell.
    pub async fn pass(&mut self, days: usize) -> Option<usize> {
        let days = u32::try_from(days).expect("few");
        match self {
            Self::Here(shop) => {
                shop.pass(DAY * days).await;
                Some(release::release(shop.test.app()).await.expect("a release"))
            }
            Self::Mortal(killed) => {
                let span = (DAY * days).as_micros();
                for column in ["rewards set available_at", "rewards set granted_at", "referrals set joined_at"] {
                    let name = column.rsplit(' ').next().expect("a name");
                    let moved = format!("update {column} = {name} - {span}");
                    witness::query(&killed.mortal.url, &moved).await;
                }
                killed.settle().await;
                None
            }
        }
    }
}

impl Killed {
    async fn post(&mut self, by_boss: bool, path: &str, body: &Value) -> Answer {
        self.keys += 1;
        let key = format!("key {}", self.keys);
        let by_itself = !self.armed && self.random.below(8) == 0;
        if by_itself {
            self.mortal.arm("CLAIM_KEY", 1 + self.random.below(18));
        }
        let answer = self.mortal.keyed(by_boss, path, body, &key).await;
        // A job that it asks for may end the service before it has answered.
        if by_itself || answer.is_none() {
            assert!(by_itself || self.armed, "nothing is to end it");
            let came = self.mortal.over().await;
            self.note(came).await;
        }
        match answer {
            Some(answer) => answer,
            None => self.mortal.keyed(by_boss, path, body, &key).await.expect("it serves again"),
        }
    }

    async fn note(&mut self, came: Came) {
        self.armed = false;
        self.kills += usize::from(matches!(came, Came::Ended(_)));
        // The lease of whoever was killed is over.
        let lease = "update jobs set lease_until = 1 where lease_until is not null and done_at is null";
        witness::query(&self.mortal.url, lease).await;
    }

    /// Waits until no job is open and nothing is due.
    async fn settle(&mut self) {
        let now = self.beside.clock.now().0;
        let open = "select count(*) from jobs where done_at is null";
        let due =
            format!("select count(*) from rewards where state = 'pending' and not waits and available_at <= {now}");
        let quiet = format!("select case when ({open}) + ({due}) = 0 then 1 else 0 end");
        if self.armed {
            let came = self.mortal.waits_for(&quiet).await;
            self.note(came).await;
        }
        eventually("all is done", || async { self.mortal.number(&quiet).await == 1 }).await;
    }
}
