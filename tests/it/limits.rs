//! What one caller may take: of the others' time, of the database's connections, of its room.

use std::time::Duration;

use futures_util::future::join_all;
use referral::features::accounts::actions::enter;
use referral::features::codes;
use referral::features::tokens::actions::browser_sessions;
use referral::features::tokens::model::Credential;
use referral::kernel::actor::Actor;
use referral::kernel::code::CodeKey;
use referral::kernel::ids::UserId;
use referral::kernel::time::Clock;
use serde_json::json;
use tokio::sync::mpsc;

use crate::accounts::spend;
use crate::oauth::{Registered, form, register};
use crate::registrations::entry;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::visit::Visit;
use crate::{on_both_engines, on_every_setup};

/// Callers at once, with one token.
const FLOOD: usize = 100;
const CODES: &str = "/api/v1/codes";
const FAR: &str = "2099-01-01";
const DAY: i64 = 24 * 3600 * 1_000_000;

on_both_engines! {
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

    /// The same for the refreshes of one session. Those that were let in get one answer.
    async fn refreshes_of_one_session_wait_for_each_other_without_a_connection(setup: Setup) {
        let test = setup.start().await;
        let (owner, other) = (test.user("owner").await, test.user("other").await);
        let block = Block::take(&test, &format!(
            "select 1 from token_families where user_id = '{}' for update", owner.id
        )).await;
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
}

on_every_setup! {
    /// Whoever may write only so often is told when; what changes nothing goes on, and so does everybody else.
    async fn writes_are_limited_for_each_user(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_WRITES_PER_USER", "4")]).await;
        let (user, other) = (test.user("user").await, test.user("other").await);
        // One budget for all ways.
        let write = async |turn: usize| match turn % 4 {
            0 => user.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await,
            1 => user.patch("/api/v1/me", &json!({"discoverable": turn % 8 == 1})).await,
            2 => user.revoke_code("NOBODYS2030A").await,
            _ => user.delete("/api/v1/me/consents/docs").await,
        };
        spend(4, write).await;
        // Refusing is cheap, so whoever asks on and on is held to two a second.
        let began = std::time::Instant::now();
        write(2).await.expect_problem(429, "rate_limited");
        assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
        user.get(CODES).await.expect(200);
        user.get("/api/v1/me").await.expect(200);
        other.create_code("OTHER2030ABC").await.expect(201);
        user.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    }

    /// A program's own tokens are rows as well, and a manager is a user.
    async fn programs_and_managers_write_so_often_too(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_WRITES_PER_USER", "4")]).await;
        let (manager, other) = (test.manager("manager").await, test.manager("other").await);
        let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
        let machine = register(&other, machine).await;
        spend(4, async |_| machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await).await;
        let path = format!("/api/v1/clients/{}", machine.id);
        spend(4, async |_| manager.patch(&path, &json!({"name": "Robot"})).await).await;
    }

    /// Whoever makes codes from many places at once gets as many as there may be within a day, not one more.
    async fn so_many_codes_are_made_in_a_day_and_not_one_more(setup: Setup) {
        let settings = [
            ("REFERRAL_LIMITS", "on"),
            ("REFERRAL_LIMITS_CODES_PER_USER_AND_DAY", "5"),
            ("REFERRAL_LIMITS_WRITES_PER_USER", "1000000"),
        ];
        let mut test = setup.start_with(&settings).await;
        if setup != Setup::Sqlite {
            test.add_node().await;
        }
        let (user, other) = (test.user("user").await, test.user("other").await);
        let make = async || {
            let calls = (0..20).map(|caller| {
                let user = user.at(&test.nodes[caller % test.nodes.len()].url);
                async move { user.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await }
            });
            let (made, refused): (Vec<_>, Vec<_>) =
                join_all(calls).await.into_iter().partition(|answer| answer.status == 201);
            for answer in refused {
                let answer = answer.expect_problem(429, "rate_limited");
                let wait: i64 = answer.header("retry-after").parse().expect("seconds");
                assert!((1..=DAY / 1_000_000).contains(&wait), "{wait}");
            }
            made.len()
        };
        assert_eq!(make().await, 5);
        other.create_code("OTHER2030ABC").await.expect(201);
        move_clock(&test, DAY - 3_600_000_000).await;
        assert_eq!(make().await, 0);
        move_clock(&test, DAY + 1_000_000).await;
        assert_eq!(make().await, 5);
        // The code that is there refers people all the while.
        let active = user.get("/api/v1/me").await.expect(200).json()["active_code"]["code"].clone();
        test.client().register("guest", active.as_str()).await.expect(201);
        assert_eq!(test.number("select count(*) from codes").await, 11);
        // A clock that ran ahead by more than a day tells nothing about when they were made.
        let dates = "expires_at = 9000000000000001, revoked_at = case when revoked_at > 0 then 9000000000000000 end";
        test.sql(&format!("update codes set created_at = 9000000000000000, {dates}")).await;
        assert_eq!(make().await, 5);
    }

    /// Refreshing needs no secret of a client, so it is counted like everything that needs none.
    async fn refreshes_are_limited_for_each_address(setup: Setup) {
        let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TOKENS_PER_ADDRESS", "3")];
        let test = setup.start_with(&settings).await;
        let mut user = test.user("user").await;
        let refresh = async |_| user.refresh("rt_nonsense").await;
        spend(3, refresh).await;
        user.get("/api/v1/me").await.expect(200);
        user.token = None;
        user.logged_in("user").await;
    }

    /// What is no client's secret is as good as none: it is counted, and counts nobody else.
    async fn a_secret_that_is_wrong_escapes_no_limit(setup: Setup) {
        let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TOKENS_PER_ADDRESS", "4")];
        let test = setup.start_with(&settings).await;
        let manager = test.manager("manager").await;
        let machine = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
        let machine = register(&manager, machine).await;
        let public = register(&manager, json!({"confidential": false})).await;
        let nobody = Registered { id: "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11".to_owned(), ..machine.clone() };
        let bogus = |client: &Registered| Registered { secret: Some("cs_bogus".to_owned()), ..client.clone() };
        // One budget: of a client with another's secret, of one that has none, of one that there is not; in the header
        // and in the form; at every endpoint.
        let guess = async |turn: usize| {
            let anonymous = test.client();
            let id = machine.id.as_str();
            match turn % 4 {
                0 => bogus(&machine).call("/oauth/token", &[("grant_type", "client_credentials")]).await,
                1 => bogus(&public).call("/oauth/revoke", &[("token", "rt_nonsense")]).await,
                2 => bogus(&nobody).call("/oauth/introspect", &[("token", "rt_nonsense")]).await,
                _ => {
                    let fields = form(&[("client_id", id), ("client_secret", "cs_bogus"), ("token", "rt_nonsense")]);
                    anonymous.post_form("/oauth/revoke", &fields).await
                }
            }
        };
        spend(4, guess).await;
        // Who has shown the secret is not held to what others at the same address have done.
        machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
    }

    /// The sessions that a person leaves behind have an end: the one that was unused for longest goes.
    async fn so_many_log_ins_of_a_user_are_kept(setup: Setup) {
        let settings = [
            ("REFERRAL_LIMITS", "on"),
            ("REFERRAL_LIMITS_SESSIONS_PER_USER", "3"),
            ("REFERRAL_LIMITS_LOGINS_PER_ACCOUNT", "1000"),
        ];
        let mut test = setup.start_with(&settings).await;
        if setup != Setup::Sqlite {
            test.add_node().await;
        }
        let other = test.user("other").await;
        let mut clients = vec![test.user("user").await];
        for _ in 0..4 {
            test.move_clock(Duration::from_secs(1));
            clients.push(test.client().logged_in("user").await);
            // The first is used all the time.
            let first = clients[0].refresh_token.clone().expect("a refresh token");
            let answer = clients[0].refresh(&first).await.expect(200);
            clients[0].take_tokens(&answer);
        }
        for node in &test.nodes {
            for (place, client) in clients.iter().enumerate() {
                let kept = [0, 3, 4].contains(&place);
                let status = if kept { 200 } else { 401 };
                eventually(&format!("log-in {place} is kept: {kept}"), || async {
                    client.at(&node.url).get("/api/v1/me").await.status == status
                })
                .await;
            }
        }
        for (place, client) in clients.iter().enumerate() {
            let status = if [0, 3, 4].contains(&place) { 200 } else { 401 };
            client.refresh(client.refresh_token.as_deref().expect("a refresh token")).await.expect(status);
        }
        let of_user = format!("select count(*) from token_families where user_id = {}", id(&test, &clients[0]));
        assert_eq!(test.number(&of_user).await, 3);
        other.get("/api/v1/me").await.expect(200);
    }

    /// The same for browsers. A session that a code was given in stays for as long as the code.
    async fn so_many_browsers_of_a_user_are_kept(setup: Setup) {
        let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_SESSIONS_PER_USER", "3")];
        let test = setup.start_with(&settings).await;
        let shop = register(&test.manager("manager").await, json!({})).await;
        let user = test.user("user").await;
        let mut visit = Visit::new(&test.nodes[0].url);
        let page = visit.get(&shop.request(&[])).await.expect(200);
        let page = visit.log_in(&page, "user", PASSWORD).await.leaves();
        let page = visit.follow(page).await.expect(200);
        visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
        let (whose, hash) = (UserId::parse(&user.id).expect("an id"), password_hash(&test, "user").await);
        for browser in 1..=5 {
            test.move_clock(Duration::from_secs(1));
            let credential = Credential::Password(hash.clone());
            browser_sessions::begin(test.app(), Actor::SERVICE, whose, credential, [browser; 32]).await.expect("logged in");
        }
        let sessions = "select count(*) from browser_sessions";
        assert_eq!(test.number(sessions).await, 4);
        assert_eq!(test.number("select count(*) from authorization_codes").await, 1);
        for (browser, kept) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
            let found = browser_sessions::who(test.app(), Actor::SERVICE, &[browser; 32]).await.expect("an answer");
            assert_eq!(found.is_some(), kept, "{browser}");
        }
    }
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
            tokio::spawn(
                async move { enter(&app.db, entry(&format!("guest{guest}"), CodeKey::of("FIRST2030ABC"))).await },
            )
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

// ------------------------------------------------------------------------------------------------- helpers

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

/// Sets the database's clock to so much ahead of the true time.
pub async fn move_clock(test: &TestApp, micros: i64) {
    match test.setup {
        Setup::Sqlite => {
            for node in &test.nodes {
                let clock = node.app.db.sqlite_clock().expect("SQLite's clock");
                clock.store(micros, std::sync::atomic::Ordering::Relaxed);
            }
        }
        _ => test.move_database_clock(micros).await,
    }
}

/// A user's id as SQL has it.
fn id(test: &TestApp, client: &Client) -> String {
    match test.setup {
        Setup::Sqlite => format!("x'{}'", client.id.replace('-', "")),
        _ => format!("'{}'", client.id),
    }
}

async fn password_hash(test: &TestApp, name: &str) -> String {
    let rows = test.query(&format!("select password_hash from users where username = '{name}'")).await;
    rows[0][0].clone().expect("a hash")
}
