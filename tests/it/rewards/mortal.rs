//! The service as a process that ends itself at a step of a write.

use std::time::Duration;

use serde_json::{Value, json};

use super::helpers::{NOT_TOLD, RULES};
use crate::support::app::{Setup, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::host::host_of;
use crate::support::keyed::request;
use crate::support::process::{Operator, Serving};
use crate::support::witness;

pub struct Mortal {
    operator: Operator,
    pub url: String,
    serving: Option<Serving>,
    pub boss: Client,
    pub host: Client,
}

/// What became of a write.
pub enum Came {
    /// So many steps it has not: it went through.
    Through,
    /// The service ended itself at this step.
    Ended(String),
}

impl Mortal {
    /// With these rules, and olga, who brings others: the answer to her is told as well.
    pub async fn with(setup: Setup, rules: Value) -> (Self, Value) {
        let mut operator = Operator::on_a_free_port();
        let url = match setup {
            Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
            _ => setup.prepare(&[]).await.database_url,
        };
        operator.set("DATABASE_URL", &url);
        operator.set("FAULT_CRASH_FILE", operator.path("crash"));
        // Tokens are good for the next process, too.
        operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
        operator.set("REFERRAL_LIMITS", "off");
        operator.set("REFERRAL_WEBHOOKS_FEED", "on");
        operator.run(&["migrate"]).well();
        operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
        let serving = operator.serve();
        let boss = serving.client().logged_in("boss").await;
        let host = host_of(&boss).await;
        boss.post(RULES, &json!({"rules": rules})).await.expect(201);
        let olga = host.tell("olga", json!({})).await.expect(201).json();
        (Self { operator, url, serving: Some(serving), boss, host }, olga)
    }

    /// Makes the service end itself at a step, counted from a statement on.
    pub fn arm(&self, first: &str, step: usize) {
        self.operator.write("crash.new", format!("{first} {step}"));
        std::fs::rename(self.operator.path("crash.new"), self.operator.path("crash")).expect("it is armed");
    }

    /// Where it has ended itself, if it has.
    fn ended_at(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.operator.path("crash")).expect("it was armed");
        ["before", "after"].iter().any(|word| text.starts_with(word)).then_some(text)
    }

    /// Posts something that it was armed for, as the manager or the host: it is answered with this status, or ends.
    pub async fn post(&mut self, by: &Client, path: &str, body: &Value, status: u16) -> Came {
        let request = by.request(reqwest::Method::POST, path).body(body.to_string());
        let answered = tokio::time::timeout(Duration::from_secs(20), request.send()).await;
        let answered = answered.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().as_u16() == status));
        let came = self.over().await;
        assert_eq!(answered, matches!(came, Came::Through));
        came
    }

    /// Posts something with a key; nothing when it ends before it answers.
    pub async fn keyed(&self, by_boss: bool, path: &str, body: &Value, key: &str) -> Option<Answer> {
        let client = if by_boss { &self.boss } else { &self.host };
        let answer = request(client, &reqwest::Method::POST, path, Some(body), key).send().await.ok()?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Some(Answer { status, headers, text: answer.text().await.ok()? })
    }

    /// Waits until what it was armed for has ended it, or this statement answers with one.
    pub async fn waits_for(&mut self, done: &str) -> Came {
        eventually("it ends, or is done", || async {
            self.ended_at().is_some() || witness::number(&self.url, done).await == 1
        })
        .await;
        self.over().await
    }

    /// What became of it. Whatever that is, all adds up and was told of, and the next write has a process of its own,
    /// which counts the steps of one.
    pub async fn over(&mut self) -> Came {
        let ended = self.ended_at();
        std::fs::remove_file(self.operator.path("crash")).expect("it was armed");
        let serving = self.serving.take().expect("it serves");
        let came = match ended {
            None => {
                serving.stop();
                Came::Through
            }
            Some(step) => {
                assert_eq!(serving.wait().code, None, "{step}: it was ended by a signal");
                Came::Ended(step)
            }
        };
        self.operator.run(&["admin", "ledger", "check"]).well();
        assert_eq!(self.number(NOT_TOLD).await, 0, "each step of a reward is told of once");
        let serving = self.operator.serve();
        self.boss = self.boss.at(&serving.client().base);
        self.host = self.host.at(&serving.client().base);
        self.serving = Some(serving);
        came
    }

    pub async fn number(&self, sql: &str) -> i64 {
        witness::number(&self.url, sql).await
    }
}
