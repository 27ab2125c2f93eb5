//! What one node has changed is known to the other in time, whatever carries the news.

use std::time::{Duration, Instant};

use referral::features::accounts::actions::administration;
use referral::features::{codes, tokens};
use referral::kernel::active_code::ActiveCode;
use referral::kernel::deadline;
use referral::kernel::error::Refusal;
use referral::kernel::ids::UserId;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_postgres::NoTls;

use super::helpers::{FAR, PATIENCE, find, key, redis_is, remembers};
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::codes::{gone_in_time, hold, refers_nobody};
use crate::support::operator::{sql, texts};
use crate::support::process::Operator;

/// What ended sessions may take to end everywhere. They are expected to take a third of it.
const SESSION_LAG: Duration = Duration::from_secs(5);

/// What carries word of changes between the nodes, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Redis,
    /// Killed before the nodes remember anything.
    RedisKilledFirst,
    /// Killed when both nodes remember the code.
    RedisKilledLast,
    /// Accepts connections and answers nothing.
    RedisPaused,
    /// PostgreSQL's notifications alone.
    Notifications,
    /// The feed alone: neither Redis nor, as behind a pooler, notifications.
    None,
}

impl Word {
    async fn start(self) -> TestApp {
        let setup = match self {
            Word::Notifications | Word::None => Setup::Postgres,
            _ => Setup::PostgresAndRedis,
        };
        let mut test = setup.start_two().await;
        match self {
            Word::None => test.sql("drop trigger changes_notify on changes").await,
            Word::RedisKilledFirst => {
                test.redis.as_mut().expect("Redis").kill();
                redis_is(&test, false).await;
            }
            _ => {}
        }
        test
    }

    /// What happens to it when both nodes remember the code.
    fn strike(self, test: &mut TestApp) {
        match self {
            Word::RedisKilledLast => test.redis.as_mut().expect("Redis").kill(),
            Word::RedisPaused => test.redis.as_ref().expect("Redis").pause(),
            _ => {}
        }
    }

    async fn mend(self, test: &mut TestApp) {
        match self {
            Word::RedisKilledLast => test.redis.as_mut().expect("Redis").restart().await,
            Word::RedisPaused => test.redis.as_ref().expect("Redis").resume(),
            _ => return,
        }
        redis_is(test, true).await;
    }
}

/// Makes a test of the function of this name, which stands right below, for each kind of word.
macro_rules! with_any_word {
    ($name:ident) => {
        $crate::in_each_case!(
            $name(super::Word):
            redis Redis,
            redis_killed_first RedisKilledFirst,
            redis_killed_last RedisKilledLast,
            redis_paused RedisPaused,
            notifications Notifications,
            no_word None
        );
    };
}

with_any_word!(a_revoked_code_is_refused_elsewhere_at_once_and_found_no_longer_than_a_second);
/// Law 2: registration on every node from the answer on, look-ups within a second.
async fn a_revoked_code_is_refused_elsewhere_at_once_and_found_no_longer_than_a_second(word: Word) {
    let mut test = word.start().await;
    let owner = test.user("owner").await;
    let there = owner.at(&test.nodes[1].url);
    for round in 0..3 {
        let code = format!("SPRING2030{round}AB");
        owner.create_code(&code).await.expect(201);
        for client in [&owner, &there, &owner, &there] {
            assert_eq!(find(client, "owner").await.json()["code"], code);
        }
        for node in &test.nodes {
            eventually("the node remembers the code", || remembers(node, "owner")).await;
        }
        word.strike(&mut test);
        owner.revoke_code(&code).await.expect(204);
        let revoked = Instant::now();
        let (held, _, ()) = tokio::join!(
            hold(&test.nodes[1].app, &code),
            refers_nobody(&there, "guest", &code),
            gone_in_time(&there, "owner@example.com", revoked),
        );
        assert_eq!(held, Err(Refusal::CodeNotUsable));
        owner.get("/api/v1/codes/owner@example.com").await.expect_problem(404, "no_active_code");
        word.mend(&mut test).await;
    }
    assert_eq!(test.number("select count(*) from referrals").await, 0);
}

with_any_word!(a_replaced_code_gives_way_elsewhere_within_a_second);
/// Replacing moves a look-up from one code to the next, and never back.
async fn a_replaced_code_gives_way_elsewhere_within_a_second(word: Word) {
    let mut test = word.start().await;
    let owner = test.user("owner").await;
    let there = owner.at(&test.nodes[1].url);
    owner.create_code("FIRST2030ABC").await.expect(201);
    assert_eq!(find(&there, "owner").await.json()["code"], "FIRST2030ABC");
    eventually("the node remembers the code", || remembers(&test.nodes[1], "owner")).await;
    word.strike(&mut test);
    let body = json!({"code": "SECOND2030AB", "expires_at": FAR});
    owner.post("/api/v1/codes?replace=true", &body).await.expect(201);
    let replaced = Instant::now();
    while find(&there, "owner").await.json()["code"] == "FIRST2030ABC" {
        assert!(replaced.elapsed() < PATIENCE, "the old one is still found after {:?}", replaced.elapsed());
    }
    for client in [&owner, &there].repeat(20) {
        assert_eq!(find(client, "owner").await.json()["code"], "SECOND2030AB");
    }
}

with_any_word!(who_hides_is_hidden_elsewhere_within_a_second);
/// Who does not want to be found any more is not, on every node within a second, but by themselves.
async fn who_hides_is_hidden_elsewhere_within_a_second(word: Word) {
    let mut test = word.start().await;
    let (owner, stranger) = (test.user("owner").await, test.user("stranger").await);
    let (owner_there, there) = (owner.at(&test.nodes[1].url), stranger.at(&test.nodes[1].url));
    owner.create_code("SPRING2030AB").await.expect(201);
    for client in [&stranger, &there] {
        find(client, "owner").await;
    }
    for node in &test.nodes {
        eventually("the node remembers the code", || remembers(node, "owner")).await;
    }
    word.strike(&mut test);
    owner.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    gone_in_time(&there, "owner@example.com", Instant::now()).await;
    for client in [&owner, &owner_there] {
        find(client, "owner").await;
    }
    // That the owner has looked does not show it to others.
    for client in [&stranger, &there] {
        client.get("/api/v1/codes/owner@example.com").await.expect_problem(404, "no_active_code");
    }
    test.client().register("guest", Some("SPRING2030AB")).await.expect(201);
}

with_any_word!(an_ended_session_ends_elsewhere_within_seconds);
/// Log-out, a changed password, erasure and being disabled: tokens stop on every node, refreshing at once.
async fn an_ended_session_ends_elsewhere_within_seconds(word: Word) {
    let mut test = word.start().await;
    for (place, end) in ["log_out", "change_password", "erase", "disable"].into_iter().enumerate() {
        let user = test.user(end).await;
        let there = user.at(&test.nodes[1].url);
        let code = format!("SPRING2030X{place}");
        user.create_code(&code).await.expect(201);
        for _ in 0..3 {
            there.get("/api/v1/codes").await.expect(200);
        }
        word.strike(&mut test);
        match end {
            "log_out" => drop(user.post("/api/v1/auth/logout", &json!({})).await.expect(204)),
            "change_password" => {
                let body = json!({"current_password": PASSWORD, "new_password": "a longer, better one"});
                user.post("/api/v1/me/password", &body).await.expect(204);
            }
            "erase" => drop(user.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204)),
            _ => administration::disable(test.app(), UserId::parse(&user.id).expect("an id")).await.expect("disabled"),
        }
        let ended = Instant::now();
        let refresh_token = user.refresh_token.clone().expect("a refresh token");
        let refreshed = there.refresh(&refresh_token).await;
        refreshed.expect_problem(401, "invalid_refresh_token");
        user.get("/api/v1/codes").await.expect_problem(401, "invalid_token");
        loop {
            let answer = there.get("/api/v1/codes").await;
            if answer.status == 401 {
                answer.expect_problem(401, "invalid_token");
                break;
            }
            assert!(ended.elapsed() < SESSION_LAG, "{end}: the token is still good after {:?}", ended.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let again = there.log_in(end, PASSWORD).await;
        match end {
            "log_out" => drop(again.expect(200)),
            _ => drop(again.expect_problem(401, "bad_credentials")),
        }
        // Who is gone or kept out refers nobody either.
        if matches!(end, "erase" | "disable") {
            refers_nobody(&there, "guest", &code).await;
        }
        word.mend(&mut test).await;
    }
}

/// Whoever is disabled or erased while a request of theirs is under way elsewhere is left without a code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_kept_out_or_erased_is_left_without_an_active_code_whatever_was_under_way() {
    // Without word of changes the other node believes in the session for a while.
    let test = Word::None.start().await;
    for round in 0..6 {
        let user = test.user(&format!("user{round}")).await;
        let there = user.at(&test.nodes[1].url);
        there.get("/api/v1/codes").await.expect(200);
        if round % 2 == 0 {
            administration::disable(test.app(), UserId::parse(&user.id).expect("an id")).await.expect("disabled");
        } else {
            user.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
        }
        let code = format!("SECRET2030X{round}");
        let answer = there.create_code(&code).await;
        assert!([201, 401].contains(&answer.status), "{answer:?}");
        assert_eq!(hold(test.app(), &code).await, Err(Refusal::CodeNotUsable), "after {answer:?}");
        refers_nobody(&there, "guest", &code).await;
    }
    assert_eq!(test.number("select count(*) from code_slots where code_id is not null").await, 0);
    // Nothing that an erased person chose is kept.
    let kept =
        "select count(*) from codes c join users u on u.id = c.owner_id where u.erased_at is not null and c.code <> ''";
    assert_eq!(test.number(kept).await, 0);
}

/// A log-in that has read the old password and not yet begun its session when the password changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_under_way_does_not_outlive_what_ends_all_sessions() {
    let test = Setup::Postgres.start_two().await;
    for end in ["change_password", "disable"] {
        let user = test.user(end).await;
        let hold_up = "create or replace function hold_up() returns trigger language plpgsql \
                       as 'begin perform pg_advisory_xact_lock(1); return new; end'; \
                       create or replace trigger hold_up before insert on token_families for each row \
                       execute function hold_up()";
        test.sql(hold_up).await;
        let (gate, connection) = tokio_postgres::connect(&test.database_url, NoTls).await.expect("PostgreSQL");
        tokio::spawn(connection);
        gate.batch_execute("select pg_advisory_lock(1)").await.expect("the gate is shut");

        let log_in = tokio::spawn({
            let user = user.clone();
            async move { user.log_in(&user.username, PASSWORD).await }
        });
        eventually("the log-in waits", || async { test.waiting().await == 1 }).await;
        let app = test.nodes[1].app.clone();
        let there = user.at(&test.nodes[1].url);
        let ending = tokio::spawn(async move {
            if end == "disable" {
                let id = UserId::parse(&there.id).expect("an id");
                administration::disable(&app, id).await.expect("disabled");
            } else {
                let body = json!({"current_password": PASSWORD, "new_password": "a longer, better one"});
                there.post("/api/v1/me/password", &body).await.expect(204);
            }
        });
        // Either it does not care about the log-in, or it waits for it.
        eventually("the end comes or waits", || async { ending.is_finished() || test.waiting().await == 2 }).await;
        gate.batch_execute("select pg_advisory_unlock(1)").await.expect("the gate is open");
        ending.await.expect("the sessions are ended");
        let ended = Instant::now();
        let answer = log_in.await.expect("an answer");
        if answer.status == 200 {
            let mut session = user.clone();
            session.take_tokens(&answer);
            for node in &test.nodes {
                let session = session.at(&node.url);
                while session.get("/api/v1/codes").await.status != 401 {
                    assert!(ended.elapsed() < SESSION_LAG, "{end}: the token is still good");
                }
            }
            let refreshed = session.refresh(session.refresh_token.as_deref().expect("a token")).await;
            refreshed.expect_problem(401, "invalid_refresh_token");
        } else {
            answer.expect_problem(401, "bad_credentials");
        }
        test.sql("drop trigger hold_up on token_families").await;
    }
}

/// A row of the feed is dated before its transaction commits. However long that takes, it is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_took_long_to_commit_is_heard_all_the_same() {
    let test = Setup::Postgres.start_two().await;
    let user = test.user("user").await;
    let there = user.at(&test.nodes[1].url);
    user.create_code("SPRING2030AB").await.expect(201);
    there.get("/api/v1/codes").await.expect(200);

    let (mut blocker, connection) = tokio_postgres::connect(&test.database_url, NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("select 1 from code_slots for update").await.expect("the slot is locked");
    let disabling = tokio::spawn({
        let (app, id) = (test.app().clone(), UserId::parse(&user.id).expect("an id"));
        async move { deadline::job(Duration::from_secs(60), administration::disable(&app, id)).await }
    });
    eventually("the change waits for the slot", || async { test.waiting().await == 1 }).await;
    // The half minute that a statement may take goes by, and the other node reads the feed meanwhile.
    let before = test.nodes[1].app.changes.now().expect("the node keeps up");
    test.move_database_clock(25_000_000).await;
    let later = before.plus(Duration::from_secs(20));
    let changes = &test.nodes[1].app.changes;
    eventually("the node has looked", || async { changes.now().is_some_and(|now| now > later) }).await;
    lock.rollback().await.expect("the slot is free");
    disabling.await.expect("it ends").expect("disabled");

    let ended = Instant::now();
    while there.get("/api/v1/codes").await.status != 401 {
        assert!(ended.elapsed() < SESSION_LAG, "the token is still good after {:?}", ended.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gone_in_time(&test.user("other").await.at(&test.nodes[1].url), "user@example.com", ended).await;
}

/// What happens right after the database's clock was set back is dated before what every node has read already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_heard_in_time_though_the_databases_clock_was_set_back() {
    for word in [Word::Notifications, Word::None] {
        let test = word.start().await;
        let owner = test.user("owner").await;
        let there = owner.at(&test.nodes[1].url);
        for round in 1..=3 {
            let code = format!("SPRING2030{round}AB");
            owner.create_code(&code).await.expect(201);
            assert_eq!(find(&there, "owner").await.json()["code"], code);
            eventually("the node remembers the code", || remembers(&test.nodes[1], "owner")).await;
            test.move_database_clock(-round * 3_600_000_000).await;
            owner.revoke_code(&code).await.expect(204);
            gone_in_time(&there, "owner@example.com", Instant::now()).await;
        }
    }
}

/// What saves the time that the feed would take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_listens_hears_of_each_kind_of_change() {
    let test = Setup::Postgres.start_two().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let listener = test.nodes[1].app.db.listener().expect("PostgreSQL has notifications");
    for change in ["revoke", "create", "rotate", "log_out"] {
        let mut heard = listener.listen("referral_changes").await.expect("a listener");
        match change {
            "revoke" => drop(owner.revoke_code("SPRING2030AB").await.expect(204)),
            "create" => drop(owner.create_code("SUMMER2030AB").await.expect(201)),
            "rotate" => drop(tokens::actions::keys::rotate(test.app(), false).await.expect("no refusal")),
            _ => drop(owner.post("/api/v1/auth/logout", &json!({})).await.expect(204)),
        }
        let word = tokio::time::timeout(Duration::from_secs(60), heard.next()).await;
        assert_eq!(word.expect("a notification"), Some(()), "{change}");
    }
}

/// The database was read, the code changed, and only then does the reader remember what it read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_fill_never_hides_a_newer_fact() {
    for setup in [Setup::Postgres, Setup::PostgresAndRedis] {
        for heard_before in [true, false] {
            let test = setup.start_two().await;
            let owner = test.user("owner").await;
            let (here, there) = (&test.nodes[0], &test.nodes[1]);
            owner.create_code("FIRST2030ABC").await.expect(201);
            let id = UserId::parse(&owner.id).expect("an id");
            let old = codes::actions::active_of(&there.app, id).await.expect("a read").expect("a code");

            let (filling, filled) = (oneshot::channel::<()>(), oneshot::channel::<ActiveCode>());
            let app = there.app.clone();
            let slow = tokio::spawn(async move {
                let fill = async {
                    filling.0.send(()).expect("somebody waits");
                    Ok(Some(filled.1.await.expect("a fact")))
                };
                app.codes.get(&key("owner"), fill).await
            });
            filling.1.await.expect("the fill has begun");
            let body = json!({"code": "SECOND2030AB", "expires_at": FAR});
            owner.post("/api/v1/codes?replace=true", &body).await.expect(201);
            assert_eq!(find(&owner, "owner").await.json()["code"], "SECOND2030AB");
            eventually("the node at hand remembers", || remembers(here, "owner")).await;
            if heard_before {
                let changes = &there.app.changes;
                eventually("the other node has heard", || async { changes.code_version(id.0) > old.version }).await;
            }
            filled.0.send(old).expect("the fill waits");
            let _ = slow.await.expect("the fill ends").expect("it is answered");

            let there = owner.at(&there.url);
            let began = Instant::now();
            while find(&there, "owner").await.json()["code"] != "SECOND2030AB" {
                assert!(!heard_before, "the slow fill came back");
                assert!(began.elapsed() < PATIENCE, "the slow fill stays");
            }
            for client in [&there, &owner].repeat(20) {
                assert_eq!(find(client, "owner").await.json()["code"], "SECOND2030AB");
            }
        }
    }
}

/// A minute of the feed, of a service that makes and revokes codes as fast as it can.
#[tokio::test]
async fn a_crowded_feed_is_not_read_into_memory_at_once() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    let crowd = "with recursive n (i) as (select 1 union all select i + 1 from n where i < 1000000) \
                 insert into changes (at, topic, subject, version) \
                 select unixepoch() * 1000000 + i, 'code', x'018f0000000070008000000000000001', i from n";
    sql(&operator, crowd).await;
    // The last row of all is heard of, so each was read.
    let session = texts(&operator, "select lower(hex(id)) from token_families").await.into_iter().next().expect("one");
    let end = format!(
        "insert into changes (at, topic, subject, version) \
         values (unixepoch() * 1000000 + 500000, 'session', x'{session}', 0)"
    );
    sql(&operator, &end).await;
    eventually("the end of the feed is heard of", || async { client.get("/api/v1/me").await.status == 401 }).await;
    let most = serving.resident_mb();
    assert!(most < 150, "{most} MB");
}
