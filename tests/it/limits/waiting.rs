//! Who waits for a row that somebody holds, and who does not.

use std::time::Duration;

use referral::features::accounts::actions::registration::write;
use referral::features::codes;
use referral::kernel::handle::InvitationKey;
use referral::kernel::time::Clock;
use serde_json::json;
use tokio::sync::mpsc;

use super::helpers::FAR;
use crate::on_both_engines;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client};
use crate::support::paths::CODES;
use crate::support::registration::entry;

/// Callers at once, with one token.
const FLOOD: usize = 100;

on_both_engines!(who_waits_for_the_same_owner_holds_up_nobody_else);
/// While an owner's rows are held by somebody else, whoever wants to change them waits without a connection, so
/// many and no more; everybody else finds one.
async fn who_waits_for_the_same_owner_holds_up_nobody_else(setup: Setup) {
    let test = setup.start().await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    owner.create_code("FIRST2030ABC").await.expect(201);
    let block = Block::take(&test, "select 1 from code_slots for update").await;
    let flood = Flood::of(&owner, |owner, caller| async move {
        match caller % 4 {
            // What changes nothing wants no slot.
            0 => owner.patch("/api/v1/me", &json!({"discoverable": false})).await,
            1 => owner.revoke_code("FIRST2030ABC").await,
            _ => owner.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await,
        }
    });
    let mut flood = flood.all_but(block.room(), 429).await;
    if setup == Setup::Postgres {
        assert_eq!(test.waiting().await, 1, "more than one connection waits for one owner");
        other.create_code("OTHER2030ABC").await.expect(201);
        test.client().register("guest", Some("OTHER2030ABC")).await.expect(201);
    }
    block.release().await;
    for answer in flood.rest().await {
        assert!([200, 201, 204, 404].contains(&answer.status), "{answer:?}");
    }
}

on_both_engines!(refreshes_of_one_session_wait_for_each_other_without_a_connection);
/// The same for the refreshes of one session. Those that were let in get one answer.
async fn refreshes_of_one_session_wait_for_each_other_without_a_connection(setup: Setup) {
    let test = setup.start().await;
    let (owner, other) = (test.user("owner").await, test.user("other").await);
    let block =
        Block::take(&test, &format!("select 1 from token_families where user_id = '{}' for update", owner.id)).await;
    let flood = Flood::of(&owner, |owner, _| async move {
        owner.refresh(owner.refresh_token.as_deref().expect("a refresh token")).await
    });
    let mut flood = flood.all_but(block.room(), 429).await;
    if setup == Setup::Postgres {
        assert_eq!(test.waiting().await, 1, "more than one connection waits for one session");
        other.refresh(other.refresh_token.as_deref().expect("a refresh token")).await.expect(200);
    }
    block.release().await;
    let mut successors = std::collections::BTreeSet::new();
    for answer in flood.rest().await {
        successors.insert(answer.expect(200).json()["refresh_token"].as_str().expect("a token").to_owned());
    }
    assert_eq!(successors.len(), 1);
}

/// Registrations share the slot of the code that they come with: none waits for another, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_with_one_code_stand_in_no_line() {
    const GUESTS: usize = 6;
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    owner.create_code("FIRST2030ABC").await.expect(201);
    let block = Block::take(&test, "select 1 from code_slots for update").await;
    let guests: Vec<_> = (0..GUESTS)
        .map(|guest| {
            let app = test.app().clone();
            tokio::spawn(async move {
                write(&app.db, entry(&format!("guest{guest}"), InvitationKey::of("FIRST2030ABC"))).await
            })
        })
        .collect();
    eventually("all of them are at the slot", || async { test.waiting().await == GUESTS as i64 }).await;
    block.release().await;
    for guest in guests {
        guest.await.expect("it ends").expect("registered");
    }
    assert_eq!(test.number("select count(*) from referrals").await, GUESTS as i64);
}

/// The sweep locks many slots at once: it waits for none, or registrations with the codes of all would wait with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweep_passes_over_a_slot_that_somebody_holds() {
    let test = Setup::Postgres.start().await;
    let (first, second) = (test.user("first").await, test.user("second").await);
    let until = Clock::default().now().plus(Duration::from_secs(3600)).to_string();
    for user in [&first, &second] {
        user.post(CODES, &json!({"expires_at": until})).await.expect(201);
    }
    let block =
        Block::take(&test, &format!("select 1 from code_slots where owner_id = '{}' for update", first.id)).await;
    test.move_database_clock(2 * 3_600_000_000).await;
    let app = test.app().clone();
    let sweep = tokio::spawn(async move { codes::actions::sweep(&app).await });
    eventually("the sweep is over or waits", || async { sweep.is_finished() || test.waiting().await > 0 }).await;
    assert_eq!(test.waiting().await, 0);
    sweep.await.expect("it ends").expect("it runs");
    let held = "select owner_id from code_slots where code_id is not null";
    assert_eq!(test.query(held).await, [[Some(first.id.clone())]]);
    block.release().await;
    codes::actions::sweep(test.app()).await.expect("it runs");
    assert_eq!(test.query(held).await, Vec::<Vec<_>>::new());
}

/// Rows that somebody else holds: on PostgreSQL those of a statement, on SQLite all of them.
enum Block {
    Rows(tokio_postgres::Client),
    File(rusqlite::Connection),
}

impl Block {
    async fn take(test: &TestApp, sql: &str) -> Self {
        if test.setup == Setup::Sqlite {
            let path = test.database_url.trim_start_matches("sqlite:");
            let connection = rusqlite::Connection::open(path).expect("the database file");
            connection.busy_timeout(Duration::from_secs(10)).expect("a time-out");
            connection.execute_batch("begin immediate").expect("a transaction");
            return Self::File(connection);
        }
        let client = test.beside().await;
        client.batch_execute(&format!("begin; {sql}")).await.expect("the rows are held");
        Self::Rows(client)
    }

    /// How many callers with one key are neither answered nor refused: those let in, and those who wait.
    fn room(&self) -> usize {
        match self {
            Self::Rows(_) => 1 + 32,
            Self::File(_) => 16 + 32,
        }
    }

    async fn release(self) {
        match self {
            Self::Rows(client) => client.batch_execute("rollback").await.expect("the rows are free"),
            Self::File(connection) => connection.execute_batch("rollback").expect("the file is free"),
        }
    }
}

/// Many calls of one person at once.
struct Flood {
    answers: mpsc::UnboundedReceiver<Answer>,
    left: usize,
}

impl Flood {
    fn of<F: Future<Output = Answer> + Send + 'static>(client: &Client, call: impl Fn(Client, usize) -> F) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        for caller in 0..FLOOD {
            let (call, sender) = (call(client.clone(), caller), sender.clone());
            tokio::spawn(async move { sender.send(call.await) });
        }
        Self { answers, left: FLOOD }
    }

    async fn next(&mut self) -> Answer {
        self.left -= 1;
        let answer = tokio::time::timeout(Duration::from_secs(60), self.answers.recv()).await;
        answer.expect("an answer within a minute").expect("an answer")
    }

    /// All answers but so many, which are refusals.
    async fn all_but(mut self, room: usize, status: u16) -> Self {
        while self.left > room {
            let answer = self.next().await.expect_problem(status, "rate_limited");
            assert_eq!(answer.header("retry-after"), "1");
        }
        self
    }

    async fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while self.left > 0 {
            answers.push(self.next().await);
        }
        answers
    }
}
