//! Two nodes on one PostgreSQL, with and without Redis, and what becomes of them when either goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::cache::redis::Trouble;
use referral::features::accounts::actions::administration;
use referral::features::codes;
use referral::features::tokens;
use referral::kernel::active_code::ActiveCode;
use referral::kernel::deadline;
use referral::kernel::email::Email;
use referral::kernel::error::Refusal;
use referral::kernel::ids::{SessionId, UserId};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_postgres::NoTls;

use crate::laws::{Record, gone_in_time, hold, refers_nobody};
use crate::support::app::{Node, Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::servers::{Postgres, PostgresOptions, Redis};

const FAR: &str = "2099-01-01";
/// What ended sessions may take to end everywhere. They are expected to take a third of it.
const SESSION_LAG: Duration = Duration::from_secs(5);
/// No answer takes longer than a second because Redis is silent; the rest is for a machine with much else to do.
const PATIENCE: Duration = Duration::from_millis(1500);

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

/// One test for each kind of word.
macro_rules! with_any_word {
    ($($(#[$doc:meta])* async fn $name:ident($word:ident: Word) $body:block)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                async fn body($word: Word) $body

                with_any_word! { @
                    redis Redis,
                    redis_killed_first RedisKilledFirst,
                    redis_killed_last RedisKilledLast,
                    redis_paused RedisPaused,
                    notifications Notifications,
                    no_word None,
                }
            }
        )*
    };
    (@ $($test:ident $word:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                body(Word::$word).await;
            }
        )*
    };
}

with_any_word! {
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
            "rotate" => {
                drop(tokens::actions::keys::rotate(test.app(), false).await.expect("no fault").expect("no refusal"))
            }
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

/// The same in Redis: what one node wrote late must not be what the next node reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_newer_version_whoever_writes_last() {
    let test = Setup::PostgresAndRedis.start_two().await;
    let (one, other) = (redis(&test, 0), redis(&test, 1));
    let minute = Duration::from_secs(60);
    // Numbers, not texts: ten is more than nine.
    one.set_if_newer("key", 10, "new", minute).await;
    other.set_if_newer("key", 9, "old", minute).await;
    assert_eq!(one.get("key").await.as_deref(), Some("new"));
    other.set_if_newer("key", 10, "the same", minute).await;
    assert_eq!(one.get("key").await.as_deref(), Some("the same"));
    other.set_if_newer("key", 11, "newest, with spaces", minute).await;
    assert_eq!(one.get("key").await.as_deref(), Some("newest, with spaces"));
    // Nothing stays for ever.
    one.set_if_newer("brief", 1, "gone", Duration::from_millis(1)).await;
    eventually("it expires", || async { other.get("brief").await.is_none() }).await;
}

/// People with the same addresses, in two databases, and one Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_on_one_redis_do_not_read_each_others_people() {
    let mut one = Setup::PostgresAndRedis.start().await;
    let url = one.redis.as_ref().expect("Redis").url();
    let mut other = Setup::PostgresAndRedis.start_with(&[("REDIS_URL", &url)]).await;
    let (here, there) = (one.user("olga").await, other.user("olga").await);
    here.create_code("HERE2030ABCD").await.expect(201);
    there.create_code("THERE2030ABC").await.expect(201);
    assert_eq!(find(&here, "olga").await.json()["code"], "HERE2030ABCD");
    let server = server(&one).await;
    eventually("Redis holds the one", || async { keys(&server).await == 1 }).await;
    assert_eq!(find(&there, "olga").await.json()["code"], "THERE2030ABC");
    eventually("Redis holds both", || async { keys(&server).await == 2 }).await;
    // Nodes that remember nothing themselves, and so ask Redis.
    for (test, client, code) in [(&mut one, here, "HERE2030ABCD"), (&mut other, there, "THERE2030ABC")] {
        let late = client.at(&test.add_node().await.url);
        assert_eq!(find(&late, "olga").await.json()["code"], code);
        client.revoke_code(code).await.expect(204);
        eventually("it is gone", || async { find_any(&late, "olga@example.com").await.status == 404 }).await;
    }
}

/// What one installation says on a Redis, the other does not hear.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_installation_has_a_channel_and_keys_of_its_own() {
    let one = Setup::PostgresAndRedis.start().await;
    let url = one.redis.as_ref().expect("Redis").url();
    let other = Setup::PostgresAndRedis.start_with(&[("REDIS_URL", &url)]).await;
    let mut ids = Vec::new();
    for test in [&one, &other] {
        let client = test.user("olga").await;
        client.create_code("SPRING2030AB").await.expect(201);
        find(&client, "olga").await;
        ids.push(test.query("select id::text from installation").await[0][0].clone().expect("an id"));
    }
    assert_ne!(ids[0], ids[1]);
    let server = server(&one).await;
    eventually("Redis holds both", || async { keys(&server).await == 2 }).await;
    let list = async |command: &str, arguments: &[&str]| -> Vec<String> {
        redis::cmd(command).arg(arguments).query_async(&mut server.clone()).await.expect("a list")
    };
    for id in &ids {
        let keys = list("KEYS", &[&format!("referral:{id}:*")]).await;
        // Beside the code there may be what a node tries Redis with.
        assert_eq!(keys.iter().filter(|key| !key.ends_with(":probe")).count(), 1, "{keys:?}");
        eventually("a node listens", || async {
            !list("PUBSUB", &["CHANNELS", &format!("referral:{id}:*")]).await.is_empty()
        })
        .await;
    }
    let everywhere = list("PUBSUB", &["CHANNELS"]).await;
    assert!(everywhere.iter().all(|channel| ids.iter().any(|id| channel.contains(id))), "{everywhere:?}");
}

/// Redis holds what was true a moment ago; whoever reads the feed does not believe it, from its first moment on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_starts_late_does_not_believe_what_redis_still_holds() {
    let mut test = Setup::PostgresAndRedis.start_two().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    find(&owner, "owner").await;
    let server = server(&test).await;
    eventually("Redis holds the code", || async { keys(&server).await == 1 }).await;
    owner.revoke_code("SPRING2030AB").await.expect(204);
    assert_eq!(keys(&server).await, 1, "Redis still holds it");
    let late = owner.at(&test.add_node().await.url);
    late.get("/api/v1/codes/owner@example.com").await.expect_problem(404, "no_active_code");
}

/// A silent Redis costs its patience and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_or_drags_while_redis_is_silent() {
    let test = Setup::PostgresAndRedis.start_two().await;
    let callers = Callers::meet(&test).await;
    test.redis.as_ref().expect("Redis").pause();
    for _ in 0..5 {
        assert_eq!(callers.all_call(&test).await.iter().filter(|took| **took > PATIENCE).count(), 0);
    }
    redis_is(&test, false).await;
    test.redis.as_ref().expect("Redis").resume();
    redis_is(&test, true).await;
    callers.all_call(&test).await;
}

/// A Redis far away: slower than requests have patience for, and yet alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_or_drags_while_redis_is_slow() {
    let redis = Redis::start().await;
    let slow = slowed(redis.url(), Duration::from_millis(300)).await;
    let mut test = Setup::Postgres.prepare(&[("REDIS_URL", &slow)]).await;
    test.add_node().await;
    test.add_node().await;
    let callers = Callers::meet(&test).await;
    for _ in 0..10 {
        // Out of everybody's way, and not taken up now and then.
        assert!((0..2).all(|node| self::redis(&test, node).trouble() == Some(Trouble::Slow)));
        assert_eq!(callers.all_call(&test).await.iter().filter(|took| **took > PATIENCE).count(), 0);
    }
    let owner = &callers.0[0];
    let there = owner.at(&test.nodes[1].url);
    let code = find(&there, &owner.username).await.json()["code"].as_str().expect("a code").to_owned();
    owner.revoke_code(&code).await.expect(204);
    gone_in_time(&there, &owner.email, Instant::now()).await;
}

/// A Redis that has lost everything and takes nothing more is no reason to fail, nor to be late.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_redis_is_emptied_and_full() {
    let test = Setup::PostgresAndRedis.start_two().await;
    let callers = Callers::meet(&test).await;
    let server = server(&test).await;
    let run = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]).query_async::<()>(&mut server.clone()).await.expect("Redis does it");
    };
    run(&["FLUSHALL"]).await;
    callers.all_call(&test).await;
    run(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).await;
    run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    // It forgets our scripts as well.
    run(&["SCRIPT", "FLUSH"]).await;
    run(&["FLUSHALL"]).await;
    for _ in 0..3 {
        callers.all_call(&test).await;
    }
    for node in 0..2 {
        test.client_of(node).get("/readyz").await.expect(200);
    }
    let owner = &callers.0[0];
    let there = owner.at(&test.nodes[1].url);
    let code = find(&there, &owner.username).await.json()["code"].as_str().expect("a code").to_owned();
    owner.revoke_code(&code).await.expect(204);
    gone_in_time(&there, &owner.email, Instant::now()).await;
    owner.create_code("SPRING2030AB").await.expect(201);
    run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    redis_is(&test, true).await;
    callers.all_call(&test).await;
    eventually("Redis is in use again", || async { keys(&server).await > 0 }).await;
}

/// Down and up again: told by readiness, and used again afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_tells_of_redis_and_the_cache_comes_back() {
    let mut test = Setup::PostgresAndRedis.start_two().await;
    let callers = Callers::meet(&test).await;
    let ready = async |test: &TestApp, status: &str, redis: &str| {
        for node in 0..2 {
            let client = test.client_of(node);
            eventually("readiness tells", || async {
                let health = client.get("/readyz").await.expect(200).json();
                health["status"] == status && health["redis"] == redis
            })
            .await;
        }
    };
    ready(&test, "ok", "up").await;
    test.redis.as_mut().expect("Redis").kill();
    callers.all_call(&test).await;
    ready(&test, "degraded", "down").await;
    callers.all_call(&test).await;
    test.redis.as_mut().expect("Redis").restart().await;
    ready(&test, "ok", "up").await;

    // One node fills Redis, the other has it from there.
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    find(&owner, "owner").await;
    eventually("the other node reads it from Redis", || remembers(&test.nodes[1], "owner")).await;
}

/// Killed and started again under load: no restart of ours, no answer but 503 with a time to come back, nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgresql_is_waited_for_and_no_acknowledged_write_is_lost() {
    let mut postgres = Postgres::start(PostgresOptions { fsync: true, tls: false }).await;
    let mut test = Setup::Postgres.prepare_on(postgres.database().await, &[]).await;
    test.add_node().await;
    test.add_node().await;
    let callers = Callers::meet(&test).await;
    let load = Arc::new(Load::default());
    let tasks: Vec<_> = callers
        .0
        .iter()
        .enumerate()
        .map(|(place, caller)| {
            let (caller, load) = (caller.at(&test.nodes[place % 2].url), load.clone());
            tokio::spawn(async move { load.run(&caller).await })
        })
        .collect();
    let reaches = async |what: &str, counter: &AtomicUsize, more: usize| {
        let goal = counter.load(Ordering::Relaxed) + more;
        eventually(what, || async { counter.load(Ordering::Relaxed) >= goal }).await;
    };
    for kill in 0..2 {
        reaches("writes are acknowledged", &load.written, 20).await;
        postgres.kill();
        reaches("requests are refused", &load.refused, 20).await;
        // Longer than the nodes believe anything without asking: nobody is found, and nobody is logged out by that.
        let (changes, anybody) = (&test.nodes[0].app.changes, SessionId(uuid::Uuid::nil()));
        eventually("look-ups must be asked for", || async { changes.now().is_none() }).await;
        if kill == 0 {
            eventually("sessions must be asked for", || async { changes.session_ended(anybody).is_none() }).await;
            reaches("requests are refused", &load.refused, 20).await;
        }
        let refused = [
            callers.0[0].get("/api/v1/me").await,
            callers.0[0].get("/api/v1/codes").await,
            find_any(&callers.0[1], &callers.0[0].email).await,
            test.client().get("/readyz").await,
            test.client().register("guest", None).await,
            test.client().log_in("caller0", PASSWORD).await,
        ];
        for answer in refused {
            comes_back(&answer.expect_problem(503, "unavailable"));
        }
        test.client().get("/livez").await.expect(200);
        postgres.restart().await;
        reaches("writes are acknowledged again", &load.written, 20).await;
    }
    load.over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<String> =
        join_all(tasks).await.into_iter().flat_map(|task| task.expect("no caller failed")).collect();

    let rows = test.query("select code from codes").await;
    let kept: std::collections::HashSet<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    let lost: Vec<_> = acknowledged.iter().filter(|code| !kept.contains(code.as_str())).collect();
    assert!(acknowledged.len() >= 80 && lost.is_empty(), "{} acknowledged, lost: {lost:?}", acknowledged.len());
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    // What it says may be a second old.
    eventually("it is ready", || async { test.client().get("/readyz").await.status == 200 }).await;
    let listening = "select count(*) from pg_stat_activity where query = 'listen referral_changes'";
    eventually("both nodes listen again", || async { test.number(listening).await == 2 }).await;
}

/// A fail-over or an administrator cuts every connection: reads are repeated, writes at worst told to look again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_fail_no_read_and_lose_no_write() {
    let test = Setup::Postgres.start_two().await;
    let callers = Callers::meet(&test).await;
    let load = Arc::new(Load::default());
    let tasks: Vec<_> = callers
        .0
        .iter()
        .enumerate()
        .map(|(place, caller)| {
            let (caller, load) = (caller.at(&test.nodes[place % 2].url), load.clone());
            tokio::spawn(async move { load.run(&caller).await })
        })
        .collect();
    for _ in 0..10 {
        let goal = load.written.load(Ordering::Relaxed) + 20;
        eventually("writes go on", || async { load.written.load(Ordering::Relaxed) >= goal }).await;
        test.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    }
    load.over.store(true, Ordering::Relaxed);
    let acknowledged: Vec<String> =
        join_all(tasks).await.into_iter().flat_map(|task| task.expect("no caller failed")).collect();
    let rows = test.query("select code from codes").await;
    let kept: std::collections::HashSet<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert!(acknowledged.len() >= 200 && acknowledged.iter().all(|code| kept.contains(code.as_str())));
    assert_eq!(load.refused_reads.load(Ordering::Relaxed), 0);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

// -------------------------------------------------------------------------------------------------- callers

/// Four people with a code each.
struct Callers(Vec<Client>);

impl Callers {
    async fn meet(test: &TestApp) -> Self {
        let mut callers = Vec::new();
        for name in ["caller0", "caller1", "caller2", "caller3"] {
            let caller = test.user(name).await;
            caller.post("/api/v1/codes", &json!({"expires_at": FAR})).await.expect(201);
            callers.push(caller);
        }
        Self(callers)
    }

    /// Each looks up everybody's code and replaces their own, all at once, on both nodes; says how long each took.
    async fn all_call(&self, test: &TestApp) -> Vec<Duration> {
        let calls = self.0.iter().enumerate().map(|(place, caller)| async move {
            let mut took = Vec::new();
            for turn in 0..8 {
                let caller = caller.at(&test.nodes[turn % 2].url);
                let began = Instant::now();
                if turn == place {
                    let body = json!({"expires_at": FAR});
                    caller.post("/api/v1/codes?replace=true", &body).await.expect(201);
                } else {
                    find(&caller, &self.0[turn % self.0.len()].username).await;
                }
                took.push(began.elapsed());
            }
            took
        });
        join_all(calls).await.concat()
    }
}

/// What callers who do not stop have met with.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    written: AtomicUsize,
    refused: AtomicUsize,
    refused_reads: AtomicUsize,
}

impl Load {
    /// Replaces the caller's code and reads it again, over and over; says which codes were acknowledged.
    async fn run(&self, caller: &Client) -> Vec<String> {
        let mut acknowledged = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let answer = caller.post("/api/v1/codes?replace=true", &json!({"expires_at": FAR})).await;
            if answer.status == 503 {
                comes_back(&answer);
                self.refused.fetch_add(1, Ordering::Relaxed);
            } else {
                acknowledged.push(answer.expect(201).json()["code"].as_str().expect("a code").to_owned());
                self.written.fetch_add(1, Ordering::Relaxed);
            }
            let looked_up = format!("/api/v1/codes/{}", caller.email);
            for path in [&*looked_up, "/api/v1/codes?size=1", "/api/v1/me"] {
                let answer = caller.get(path).await;
                if answer.status == 503 {
                    comes_back(&answer);
                    self.refused_reads.fetch_add(1, Ordering::Relaxed);
                    self.refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    answer.expect(200);
                }
            }
        }
        acknowledged
    }
}

// ------------------------------------------------------------------------------------------------- helpers

/// The active code behind `NAME@example.com`.
async fn find(client: &Client, name: &str) -> Answer {
    find_any(client, &format!("{name}@example.com")).await.expect(200)
}

async fn find_any(client: &Client, email: &str) -> Answer {
    client.get(&format!("/api/v1/codes/{email}")).await
}

fn key(name: &str) -> String {
    Email::parse(&format!("{name}@example.com")).expect("an address").key().to_owned()
}

/// Whether a node knows the code behind `NAME@example.com` without its database.
async fn remembers(node: &Node, name: &str) -> bool {
    let found = node.app.codes.get(&key(name), async { Ok(None) }).await;
    found.expect("nothing that can fail was asked").is_some()
}

async fn redis_is(test: &TestApp, up: bool) {
    for node in 0..test.nodes.len() {
        eventually("the node notices", || async { redis(test, node).is_up() == up }).await;
    }
}

fn redis(test: &TestApp, node: usize) -> &referral::cache::redis::Redis {
    test.nodes[node].app.redis.as_ref().expect("a node with Redis")
}

/// The address of a way to a server on which everything takes so much longer.
async fn slowed(url: String, by: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = url.trim_start_matches("redis://").to_owned();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&server).await else { continue };
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_near, &mut to_far).await });
            tokio::spawn(async move {
                let mut part = [0; 4096];
                while let Ok(length @ 1..) = from_far.read(&mut part).await {
                    // Not a wait for anything: this is the slowness.
                    tokio::time::sleep(by).await;
                    if to_near.write_all(&part[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("redis://{address}")
}

/// The server itself, beside the service.
async fn server(test: &TestApp) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(test.redis.as_ref().expect("Redis").url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("Redis is up")
}

/// How many codes it holds.
async fn keys(server: &redis::aio::MultiplexedConnection) -> usize {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:code:*").query_async(&mut server.clone()).await.expect("names");
    keys.len()
}

/// The caller is told when to come back.
#[track_caller]
fn comes_back(answer: &Answer) {
    let seconds: u64 = answer.header("retry-after").parse().unwrap_or(0);
    assert!(seconds >= 1, "{answer:?}");
}
