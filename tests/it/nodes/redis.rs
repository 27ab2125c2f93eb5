//! Redis: which version it keeps, whose it is, and what happens while it is silent, slow, empty or full.

use std::time::{Duration, Instant};

use referral::cache::redis::Trouble;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::helpers::{Callers, PATIENCE, find, find_any, redis, redis_is, remembers};
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::codes::gone_in_time;
use crate::support::servers::Redis;

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
