//! Nodes with a Redis count together, and each for itself while it is away.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::helpers::items;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::paths::{ME, TOKEN};
use crate::support::spending::spend;

/// Two nodes with limits, which both use Redis.
async fn two(settings: &[(&str, &str)]) -> TestApp {
    let settings = [settings, &[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")]].concat();
    let mut test = Setup::PostgresAndRedis.start_with(&settings).await;
    test.add_node().await;
    redis_is(&test, true).await;
    test
}

async fn redis_is(test: &TestApp, up: bool) {
    for node in &test.nodes {
        let redis = node.app.redis.as_ref().expect("Redis");
        eventually("the node notices", || async { redis.is_up() == up }).await;
    }
}

/// A question whether a code is good, at a node, from a client that a proxy names.
async fn validate(test: &TestApp, node: usize, client: &str) -> Answer {
    let asker = test.client_of(node);
    let request = asker.request(Method::POST, "/api/v1/codes/validate").header("x-forwarded-for", client);
    asker.send(request.body(r#"{"code": "AMSEL2030XYZ"}"#)).await
}

/// How many in a row a node lets through, of at most so many.
async fn let_through(test: &TestApp, node: usize, client: &str, most: usize) -> usize {
    for turn in 0..most {
        if validate(test, node, client).await.status == 429 {
            return turn;
        }
    }
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_with_a_redis_have_one_budget() {
    let test = two(&[("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "6")]).await;
    spend(6, async |turn| validate(&test, turn % 2, "198.51.100.1").await).await;
    // What is refused at one node is refused at the other.
    for node in 0..2 {
        validate(&test, node, "198.51.100.1").await.expect_problem(429, "rate_limited");
    }
    validate(&test, 0, "198.51.100.2").await.expect(200);
    // A node that comes later counts with them.
    let mut test = test;
    test.add_node().await;
    validate(&test, 2, "198.51.100.1").await.expect_problem(429, "rate_limited");
}

/// Many at once are no more than one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_on_two_nodes_no_more_are_let_through() {
    let test = two(&[("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "6")]).await;
    let began = Instant::now();
    let answers = join_all((0..40).map(|turn| validate(&test, turn % 2, "198.51.100.1"))).await;
    let refilled = began.elapsed().as_secs() as usize / 10;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((6..=6 + refilled).contains(&passed), "{passed}");
}

/// The limit holds over two nodes, whoever callers say they are, with Redis and when it dies. Whoever is logged in does
/// not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_wrong_passwords_meet_the_limit_while_redis_is_killed() {
    let mut test = Setup::PostgresAndRedis.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    test.add_node().await;
    redis_is(&test, true).await;
    let owner = test.user("owner").await;
    let began = Instant::now();
    let guess = async |test: &TestApp, turn: usize| {
        let stranger = Client::new(&test.nodes[turn % 2].url);
        let forged = format!("203.0.{}.{}", turn / 250, turn % 250);
        let body = json!({"username": "owner", "password": format!("wrong password {turn}")}).to_string();
        stranger.send(stranger.request(Method::POST, TOKEN).header("x-forwarded-for", forged).body(body)).await.status
    };
    let mut tried = 0;
    for round in 0..10 {
        if round == 5 {
            test.redis.as_mut().expect("Redis").kill();
        }
        let turns = (0..100).map(|turn| guess(&test, 100 * round + turn));
        for status in join_all(turns).await {
            assert!([401, 429].contains(&status), "{status}");
            tried += usize::from(status == 401);
        }
        owner.get(ME).await.expect(200);
        owner.at(&test.nodes[1].url).get(ME).await.expect(200);
    }
    // One of the five was the owner's; each node may have missed what the other let through at the last.
    let refilled = began.elapsed().as_secs_f64() / 12.0;
    assert!(tried >= 4 && tried as f64 <= 4.0 + refilled + 2.0, "{tried} in {:?}", began.elapsed());
    redis_is(&test, false).await;
}

/// Neither open nor shut: each node lets half of it through, and Redis is asked again when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_each_node_lets_half_through_until_it_is_back() {
    let test =
        two(&[("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "8"), ("REFERRAL_LIMITS_LOOKUPS_PER_USER", "1")]).await;
    let user = test.user("user").await;
    test.redis.as_ref().expect("Redis").pause();
    let began = Instant::now();
    // The first waits for as long as Redis may take, and then nobody does.
    let first = validate(&test, 0, "198.51.100.1").await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(items(&first, "ratelimit")[0].1[0], ("r".to_owned(), 3));
    redis_is(&test, false).await;
    let began = Instant::now();
    let passed = 1 + let_through(&test, 0, "198.51.100.1", 8).await;
    let refilled = began.elapsed().as_secs() as usize / 15;
    assert!((4..=4 + refilled).contains(&passed), "{passed}");
    // A quota of one call is not shut by half of it.
    user.get("/api/v1/codes/nobody@example.com").await.expect(404);
    test.redis.as_ref().expect("Redis").resume();
    redis_is(&test, true).await;
    // What was let through alone is known to all from the next call on.
    validate(&test, 0, "198.51.100.1").await;
    let began = Instant::now();
    let passed = let_through(&test, 1, "198.51.100.1", 8).await;
    assert!(passed <= 1 + began.elapsed().as_secs() as usize / 7, "{passed}");
    let began = Instant::now();
    let passed = let_through(&test, 0, "198.51.100.2", 20).await + let_through(&test, 1, "198.51.100.2", 20).await;
    let refilled = began.elapsed().as_secs() as usize / 7;
    assert!((8..=8 + refilled).contains(&passed), "{passed}");
}

/// Of a Redis that has lost everything the nodes know better.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_redis_learns_what_the_nodes_know() {
    let mut test = two(&[("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2")]).await;
    spend(2, async |_| validate(&test, 0, "198.51.100.1").await).await;
    test.redis.as_mut().expect("Redis").restart().await;
    redis_is(&test, true).await;
    let began = Instant::now();
    let passed = let_through(&test, 0, "198.51.100.1", 2).await;
    assert!(passed <= began.elapsed().as_secs() as usize / 30 + 1, "{passed}");
}

/// A debt that cannot be is taken for the largest that can: who has one is let in again within a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_of_redis_that_was_ahead_shuts_nobody_out() {
    let test = two(&[("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "6")]).await;
    validate(&test, 0, "198.51.100.1").await.expect(200);
    let redis = test.redis.as_ref().expect("Redis");
    let client = redis::Client::open(redis.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is up");
    let owed = redis.keys().await.into_iter().filter(|key| key.contains(":owed:") && !key.ends_with(":probe"));
    for key in owed {
        let _: () =
            redis::cmd("SET").arg(key).arg("8000000000000000").query_async(&mut connection).await.expect("it is set");
    }
    let refused = validate(&test, 0, "198.51.100.1").await.expect_problem(429, "rate_limited");
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!(wait <= 10, "{refused:?}");
}

/// What Redis is asked for limits while somebody does something: the keys of each question.
async fn questions(test: &TestApp, work: impl AsyncFnOnce()) -> Vec<Vec<String>> {
    let address = test.redis.as_ref().expect("Redis").url().replace("redis://", "");
    let mut stream = BufReader::new(TcpStream::connect(address).await.expect("Redis is up"));
    stream.write_all(b"MONITOR\r\n").await.expect("it is sent");
    let mut lines = stream.lines();
    assert_eq!(lines.next_line().await.expect("an answer").as_deref(), Some("+OK"));
    work().await;
    // Redis answers in the order in which it is asked: this is the last that it is.
    let client = redis::Client::open(test.redis.as_ref().expect("Redis").url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis is up");
    let _: String = redis::cmd("ECHO").arg("the end").query_async(&mut connection).await.expect("an answer");
    let mut questions = Vec::new();
    while let Some(line) = lines.next_line().await.expect("an answer") {
        if line.contains("the end") {
            break;
        }
        let keys = line.split('"').filter(|word| word.contains(":owed:") && !word.ends_with(":probe"));
        let keys: Vec<String> = keys.map(str::to_owned).collect();
        if line.to_uppercase().contains("EVALSHA") && !keys.is_empty() {
            questions.push(keys);
        }
    }
    questions
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_asked_once_for_all_limits_of_a_request_and_never_where_there_is_none() {
    let test = two(&[]).await;
    let user = test.user("user").await;
    // The script is known to Redis.
    user.log_in("user", PASSWORD).await.expect(200);
    let asked = questions(&test, async || drop(user.log_in("user", PASSWORD).await.expect(200))).await;
    assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [2], "{asked:?}");
    let asked = questions(&test, async || drop(user.get(ME).await.expect(200))).await;
    assert_eq!(asked, Vec::<Vec<String>>::new());

    let unlimited = Setup::PostgresAndRedis.start().await;
    let work = async || drop(unlimited.client().log_in("nobody", PASSWORD).await.expect(401));
    assert_eq!(questions(&unlimited, work).await, Vec::<Vec<String>>::new());
}

/// Redis holds neither names nor addresses, and no hash that whoever reads it could try them on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_holds_no_name_and_no_address() {
    let test = two(&[]).await;
    let log_in = async |address: &str| {
        let stranger = test.client();
        let body = json!({"username": "olga@example.com", "password": "wrong password"}).to_string();
        stranger.send(stranger.request(Method::POST, TOKEN).header("x-forwarded-for", address).body(body)).await
    };
    log_in("198.51.100.77").await.expect(401);
    let id = test.query("select id::text from installation").await[0][0].clone().expect("an id");
    // One of the two debts is paid within two seconds.
    let hashes = async |id: &str| -> Vec<String> {
        let keys = test.redis.as_ref().expect("Redis").keys().await;
        let owed = keys.iter().filter_map(|key| key.strip_prefix(&format!("referral:{id}:owed:")));
        owed.filter(|hash| *hash != "probe").map(str::to_owned).collect()
    };
    let ours = hashes(&id).await;
    assert!((1..=2).contains(&ours.len()), "{ours:?}");
    for hash in &ours {
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
    // Another installation, which has another secret, has other keys for the same.
    let url = test.redis.as_ref().expect("Redis").url();
    let settings = [("REFERRAL_LIMITS", "on"), ("REDIS_URL", &*url), ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")];
    let other = Setup::PostgresAndRedis.start_with(&settings).await;
    let stranger = other.client();
    let body = json!({"username": "olga@example.com", "password": "wrong password"}).to_string();
    let request = stranger.request(Method::POST, TOKEN).header("x-forwarded-for", "198.51.100.77").body(body);
    stranger.send(request).await.expect(401);
    let id = other.query("select id::text from installation").await[0][0].clone().expect("an id");
    let theirs = hashes(&id).await;
    assert!(!theirs.is_empty() && theirs.iter().all(|hash| !ours.contains(hash)), "{ours:?} {theirs:?}");
}
