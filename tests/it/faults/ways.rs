//! The way to a server breaks.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::owners::{Owner, owner, registration};
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::history::{Call, Caller, History, Outcome, Write};
use crate::support::record::Record;
use crate::support::relay::{Fault, Relay};
use crate::support::witness;

/// Answers each line by the same line.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut part = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut part).await {
                    if stream.write_all(&part[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// What comes back of a text; nothing when the connection breaks first.
async fn back(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.ok()?;
    String::from_utf8(answer).ok()
}

/// The instrument itself: each fault does what it says, and nothing does it without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_relay_does_what_it_says() {
    let relay = Relay::to(echo().await).await;
    let address = ("127.0.0.1", relay.port);
    let open = async || TcpStream::connect(address).await.expect("a connection");
    let mut stream = open().await;
    assert_eq!(back(&mut stream, "one").await.as_deref(), Some("one"));

    // Late, by more than nothing, and there all the same.
    let late = Duration::from_millis(30);
    relay.suffer(Fault::Latency(late));
    let began = std::time::Instant::now();
    assert_eq!(back(&mut stream, "two").await.as_deref(), Some("two"));
    assert!(began.elapsed() >= late * 2);

    relay.suffer(Fault::Silence);
    let mut silent = open().await;
    let (told, ()) = tokio::join!(back(&mut silent, "three"), async { relay.suffer(Fault::None) });
    assert_eq!(told.as_deref(), Some("three"));

    relay.suffer(Fault::Refuse);
    eventually("nobody listens", || async { TcpStream::connect(address).await.is_err() }).await;
    // What is connected stays so.
    assert_eq!(back(&mut stream, "four").await.as_deref(), Some("four"));
    relay.suffer(Fault::None);
    eventually("somebody listens again", || async { TcpStream::connect(address).await.is_ok() }).await;

    relay.suffer(Fault::CutAfter(5));
    let mut cut = open().await;
    assert_eq!(back(&mut cut, "abcd").await.as_deref(), Some("abcd"));
    assert_eq!(back(&mut cut, "efgh").await, None);
    relay.strikes(1).await;

    relay.suffer(Fault::LoseReply(b"commit".to_vec()));
    assert_eq!(back(&mut stream, "begin").await.as_deref(), Some("begin"));
    // A text may come in parts.
    assert_eq!(back(&mut stream, "com").await.as_deref(), Some("com"));
    assert_eq!(back(&mut stream, "mit").await, None);
    relay.strikes(2).await;

    relay.suffer(Fault::None);
    let mut stream = open().await;
    assert_eq!(back(&mut stream, "five").await.as_deref(), Some("five"));
    relay.suffer(Fault::Reset);
    assert_eq!(back(&mut stream, "six").await, None);
    // A new one may be gone before it is had.
    if let Ok(mut new) = TcpStream::connect(address).await {
        assert_eq!(back(&mut new, "seven").await, None);
    }
    relay.strikes(3).await;
}

/// A node behind a way, and a database that can be looked at directly.
async fn behind_a_way(seconds: &str) -> (TestApp, Relay, String) {
    let direct = Setup::Postgres.prepare(&[]).await.database_url;
    let (_, rest) = direct.split_once('@').expect("a user");
    let (server, name) = rest.split_once('/').expect("a database");
    let relay = Relay::to(server.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port);
    let mut test = Setup::Postgres.prepare_on(url, &[("REFERRAL_HTTP_REQUEST_SECONDS", seconds)]).await;
    test.add_node().await;
    (test, relay, direct)
}

/// The server has committed, and its word of that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_never_told_as_a_failure() {
    let (test, relay, direct) = behind_a_way("10").await;
    let owner = owner(&test.client(), "owner").await;
    let mut history = History::default();

    relay.suffer(Fault::LoseReply(b"commit\0".to_vec()));
    let code = Write::Code { owner: owner.name.clone(), code: "SECOND2030AB".into(), former: Some(owner.code.clone()) };
    let call = owner.caller.make(code).await;
    assert!(relay.struck() > 0);
    assert_eq!(call.outcome, Outcome::Unknown);
    history.0.push(call);
    relay.suffer(Fault::None);
    eventually("the database is reached again", || async { test.client().get("/readyz").await.status == 200 }).await;
    // It was made.
    history.0[0].outcome = Outcome::Ok;
    assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());

    // The statement that registers is recognised by the name in it, whether it was prepared before or not.
    let owner = Owner { code: "SECOND2030AB".into(), ..owner };
    for name in ["unprepared", "prepared"] {
        let struck = relay.struck();
        relay.suffer(Fault::LoseReply(format!("{name}@example.com").into_bytes()));
        let caller = Caller::new(&test.nodes[0].url, None);
        let struck_once = async {
            relay.strikes(struck + 1).await;
            relay.suffer(Fault::None);
        };
        let (call, ()) = tokio::join!(caller.make(registration(&owner, name)), struck_once);
        // It finds its own account, or does not know.
        assert_ne!(call.outcome, Outcome::Failed, "{name}");
        history.0.push(call);
        assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());
    }
    assert_eq!(witness::number(&direct, "select count(*) from referrals").await, 2);

    // Had it been told as a failure, this would have shown it.
    history.0[1].outcome = Outcome::Failed;
    assert_eq!(history.contradictions(&direct).await.len(), 1);
}

/// Callers write while one thing after the other is wrong on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_on_the_way_to_the_database_no_answer_is_untrue() {
    const CALLERS: usize = 6;
    let (test, relay, direct) = behind_a_way("3").await;
    let mut owners = Vec::new();
    for place in 0..CALLERS {
        owners.push(owner(&test.client(), &format!("owner{place}x")).await);
    }
    let someone = Caller::new(&test.nodes[0].url, None);
    let mut history = History::default();
    let rounds = if crate::support::thorough() { 12 } else { 1 };
    for round in 0..rounds {
        for (number, fault) in [
            Fault::LoseReply(b"commit\0".to_vec()),
            Fault::Reset,
            Fault::CutAfter(50 + 200 * round),
            Fault::Latency(Duration::from_millis(20)),
            Fault::Refuse,
            Fault::LoseReply(b"insert".to_vec()),
            Fault::Silence,
        ]
        .into_iter()
        .enumerate()
        {
            let over = matches!(fault, Fault::Silence | Fault::Refuse);
            let calls = owners.iter().enumerate().map(|(place, owner)| {
                let (turn, someone) = (format!("{round}x{number}x{place}"), &someone);
                async move {
                    let code = Write::Code {
                        owner: owner.name.clone(),
                        code: format!("CODE{}A", turn.to_uppercase().replace('X', "Z"))
                            .chars()
                            .chain("0123456789AB".chars())
                            .take(16)
                            .collect(),
                        former: None,
                    };
                    if place % 2 == 0 {
                        owner.caller.make(code).await
                    } else {
                        // Of somebody whose code never changes.
                        someone.make(registration(owner, &format!("guest{turn}"))).await
                    }
                }
            });
            relay.suffer(fault);
            let calls = async {
                let made = join_all(calls).await;
                relay.suffer(Fault::None);
                made
            };
            // Who is kept waiting for ever would be told by its deadline; the others are let go before.
            let made: Vec<Call> = calls.await;
            if over {
                relay.suffer(Fault::None);
            }
            history.0.extend(made);
            eventually("the database is reached again", || async { test.client().get("/readyz").await.status == 200 })
                .await;
            // What was under way may still come to its end, or be undone.
            let open = "select count(*) from pg_stat_activity where datname = current_database() \
                        and application_name = 'referral' and state <> 'idle'";
            eventually("nothing is under way", || async { witness::number(&direct, open).await == 0 }).await;
        }
        let calls = owners
            .iter()
            .enumerate()
            .map(|(place, owner)| someone.make(registration(owner, &format!("calm{round}x{place}"))));
        let calm: Vec<Call> = join_all(calls).await;
        // The codes of every second owner have changed meanwhile.
        assert!(calm.iter().skip(1).step_by(2).all(|call| call.outcome == Outcome::Ok), "{calm:?}");
        history.0.extend(calm.into_iter().enumerate().filter(|(place, _)| place % 2 == 1).map(|(_, call)| call));
    }
    assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    // Something did break, and something did not.
    assert!(relay.struck() > 0);
    for outcome in [Outcome::Ok, Outcome::Unknown] {
        assert!(history.count(outcome) > 0, "{outcome:?}");
    }
}

/// Nothing that is only in Redis is asked for an answer: it may be whatever it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_on_the_way_to_redis_every_answer_is_right() {
    let mut test = Setup::PostgresAndRedis.prepare(&[]).await;
    let redis = test.redis.as_ref().expect("Redis").url();
    let relay = Relay::to(redis.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    test.add_node_with(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", relay.port))]).await;
    let owner = owner(&test.client(), "owner").await;
    let someone = Caller::new(&test.nodes[0].url, None);
    let reader = test.user("reader").await;
    let mut history = History::default();
    let mut code = owner.code.clone();
    for round in 0..if crate::support::thorough() { 6 } else { 1 } {
        for (number, fault) in [
            Fault::Reset,
            Fault::CutAfter(40 * round),
            Fault::LoseReply(b"EVALSHA".to_vec()),
            Fault::Refuse,
            Fault::Silence,
        ]
        .into_iter()
        .enumerate()
        {
            relay.suffer(fault);
            let next = format!("NEXT{round}A{number}2030ABC");
            let write = Write::Code { owner: owner.name.clone(), code: next.clone(), former: Some(code) };
            history.0.push(owner.caller.make(write).await);
            code = next;
            let guest = format!("guest{round}x{number}");
            let brought = Some((owner.name.clone(), code.clone()));
            let write = Write::Registration { name: guest, code: brought, mailed: false };
            history.0.push(someone.make(write).await);
            let found = reader.get("/api/v1/codes/owner@example.com").await.expect(200);
            assert_eq!(found.json()["code"], code);
        }
        relay.suffer(Fault::None);
    }
    assert_eq!(history.count(Outcome::Ok), history.0.len());
    assert_eq!(history.contradictions(&test.database_url).await, Vec::<String>::new());
}
