//! How the service ends: by SIGTERM under load, by Ctrl-C, by SIGKILL.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::operator::{operator, texts};
use crate::support::process::Operator;

/// What went wrong for a client under load, and when it had sent the request.
struct Failure {
    sent: Instant,
    refused: bool,
    text: String,
}

/// Asks over and over on its own keep-alive connection until it is refused one.
async fn loops(client: Client, number: usize, answered: Arc<AtomicUsize>) -> (Vec<String>, Option<Failure>) {
    let mut made = Vec::new();
    loop {
        let code = format!("LOOP{number}X{:08}", made.len());
        let body = json!({"code": code, "expires_at": "2099-01-01"}).to_string();
        let login = json!({"username": client.username, "password": PASSWORD}).to_string();
        let requests = [
            client.request(Method::GET, "/api/v1/me"),
            client.request(Method::POST, "/api/v1/codes?replace=true").body(body),
            client.request(Method::GET, "/livez"),
            // Under way for as long as hashing takes.
            client.request(Method::POST, "/api/v1/auth/token").body(login),
        ];
        for (place, request) in requests.into_iter().enumerate() {
            let sent = Instant::now();
            let answer = match request.send().await {
                Ok(response) => {
                    let status = response.status().as_u16();
                    response.bytes().await.map(|_| status)
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(status) => {
                    assert!(matches!(status, 200 | 201), "{status}");
                    if place == 1 {
                        made.push(code.clone());
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => {
                    let failure = Failure { sent, refused: error.is_connect(), text: format!("{error:?}") };
                    return (made, Some(failure));
                }
            }
        }
    }
}

on_both_engines!(sigterm_under_load_fails_no_request);
async fn sigterm_under_load_fails_no_request(setup: Setup) {
    let mut operator = operator(setup).await;
    operator.set("REFERRAL_HASHING_THREADS", "2");
    let serving = operator.serve();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for number in 0..8 {
        let client = serving.client().signed_up(&format!("user{number}")).await;
        clients.push(tokio::spawn(loops(client, number, answered.clone())));
    }
    eventually("all are at work", || async { answered.load(Ordering::Relaxed) > 200 }).await;
    let stopped = Instant::now();
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("\"message\":\"stopped\""), "{ended:?}");
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
    let mut acknowledged = Vec::new();
    for client in clients {
        let (made, failure) = client.await.expect("every answer is a good one");
        acknowledged.extend(made);
        // Whoever comes during the stop is refused with an answer; requests that have begun are not ended.
        let failure = failure.expect("it ends when the service does");
        assert!(
            failure.refused,
            "sent {:?} after the signal: {}",
            failure.sent.checked_duration_since(stopped),
            failure.text
        );
        assert!(failure.sent > stopped, "sent before the signal: {}", failure.text);
    }
    let stored = texts(&operator, "select code from codes").await;
    for code in acknowledged {
        assert!(stored.contains(&code), "{code} was acknowledged");
    }
}

/// Whoever has sent the next request on a connection that is closed just then does not know whether it was read, and
/// must not repeat one that writes. So no connection in use ends without an answer that says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_is_told_that_an_answer_is_its_last() {
    let serving = Operator::on_a_free_port().serve();
    let address = serving.url.trim_start_matches("http://").to_owned();
    let answered = Arc::new(AtomicUsize::new(0));
    let connections: Vec<_> = (0..32)
        .map(|_| {
            let (address, answered) = (address.clone(), answered.clone());
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&address).await.expect("it listens");
                loop {
                    let mut answer = Vec::new();
                    let sent = stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.is_ok();
                    while !answer.ends_with(b"\r\n\r\nok") {
                        if !sent || !matches!(stream.read_buf(&mut answer).await, Ok(1..)) {
                            return false;
                        }
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    if String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close") {
                        return matches!(stream.read_buf(&mut answer).await, Ok(0));
                    }
                }
            })
        })
        .collect();
    eventually("all are at work", || async { answered.load(Ordering::Relaxed) > 1000 }).await;
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
    let mut untold = 0;
    for connection in connections {
        untold += usize::from(!connection.await.expect("no panic"));
    }
    assert_eq!(untold, 0, "connections that were closed without a word");
}

#[tokio::test]
async fn a_request_that_is_half_sent_at_sigterm_is_answered_and_idle_connections_are_not_waited_for() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    serving.client().signed_up("somebody").await;
    let address = serving.url.trim_start_matches("http://").to_owned();
    // Three connections: one idle after a request, one that never asked anything, one in the middle of a body.
    let mut idle = TcpStream::connect(&address).await.expect("it listens");
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut part = [0; 4096];
    assert!(idle.read(&mut part).await.expect("an answer") > 0);
    let _silent = TcpStream::connect(&address).await.expect("it listens");
    let mut half = TcpStream::connect(&address).await.expect("it listens");
    let body = json!({"username": "somebody", "password": PASSWORD}).to_string();
    let head = format!(
        "POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    half.write_all(head.as_bytes()).await.expect("sent");
    let length = half.read(&mut part).await.expect("an answer");
    // Said when somebody begins to read the body: from here on the request is under way.
    assert!(part[..length].starts_with(b"HTTP/1.1 100"), "{}", String::from_utf8_lossy(&part[..length]));
    let (first, second) = body.as_bytes().split_at(10);
    half.write_all(first).await.expect("sent");

    serving.signal("TERM");
    eventually("the door is closed", || async { TcpStream::connect(&address).await.is_err() }).await;
    half.write_all(second).await.expect("still open");
    let mut answer = Vec::new();
    half.read_to_end(&mut answer).await.expect("an answer, and the end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("access_token"), "{answer}");
    assert_eq!(idle.read(&mut part).await.expect("closed in order"), 0);
    let ended = serving.wait().well();
    assert!(!ended.stderr.contains("cut off"), "{ended:?}");
}

/// Nobody knows whether the rest of it comes.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_rest_of_a_head() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_SHUTDOWN_SECONDS", "1");
    let serving = operator.serve();
    let mut streams = Vec::new();
    for part in ["GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n", "\r\n", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /"] {
        let mut stream = TcpStream::connect(serving.url.trim_start_matches("http://")).await.expect("it listens");
        stream.write_all(part.as_bytes()).await.expect("sent");
        streams.push(stream);
    }
    // Whoever has come later is answered: the others have been read.
    serving.client().get("/livez").await.expect(200);
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("did not finish in time"), "{ended:?}");
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off_when_its_time_is_up() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_SHUTDOWN_SECONDS", "1");
    let serving = operator.serve();
    let mut half = TcpStream::connect(serving.url.trim_start_matches("http://")).await.expect("it listens");
    let head = b"POST /api/v1/auth/token HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    half.write_all(head).await.expect("sent");
    let mut part = [0; 4096];
    assert!(half.read(&mut part).await.expect("an answer") > 0);
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("did not finish in time"), "{ended:?}");
}

/// A load balancer is told to look elsewhere while everybody is still served.
#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_serves_everybody() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_HTTP_DRAIN_SECONDS", "2");
    let serving = operator.serve();
    let user = serving.client().signed_up("somebody").await;
    user.get("/readyz").await.expect(200);
    serving.signal("TERM");
    eventually("it says that it is not ready", || async { user.get("/readyz").await.status == 503 }).await;
    assert_eq!(user.get("/readyz").await.expect_problem(503, "unavailable").header("retry-after"), "1");
    user.anonymous().get("/livez").await.expect(200);
    user.get("/api/v1/me").await.expect(200);
    serving.wait().well();
}

/// Who copies the file of a service that is stopped has everything.
#[tokio::test]
async fn after_a_clean_stop_the_sqlite_database_is_one_file() {
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    serving.client().register("somebody", None).await.expect(201);
    serving.stop().well();
    let copy = operator.path("copy.db");
    std::fs::copy(operator.path("referral.db"), &copy).expect("a copy");
    let connection = rusqlite::Connection::open(copy).expect("the copy");
    let users = connection.query_row("select count(*) from users", [], |row| row.get::<_, i64>(0));
    assert_eq!(users.ok(), Some(1), "what was acknowledged is in another file");
}

#[tokio::test]
async fn ctrl_c_stops_it_as_well() {
    let serving = Operator::on_a_free_port().serve();
    serving.client().get("/livez").await.expect(200);
    serving.signal("INT");
    serving.wait().well();
}

on_both_engines!(whatever_was_acknowledged_before_kill_9_is_there_afterwards);
async fn whatever_was_acknowledged_before_kill_9_is_there_afterwards(setup: Setup) {
    let operator = operator(setup).await;
    let mut expected = HashSet::new();
    for round in 0..3 {
        let serving = operator.serve();
        let (codes, names) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let over = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..4 {
            let client = serving.client().signed_up(&format!("writer{round}x{writer}")).await;
            let (codes, names, over) = (codes.clone(), names.clone(), over.clone());
            writers.push(tokio::spawn(async move {
                for number in 0.. {
                    let code = format!("KILL{round}W{writer}X{number:06}");
                    let body = json!({"code": code, "expires_at": "2099-01-01"}).to_string();
                    let request = client.request(Method::POST, "/api/v1/codes?replace=true").body(body);
                    match request.send().await {
                        Ok(answer) if answer.status() == 201 => codes.lock().expect("no panic").push(code),
                        Ok(answer) => panic!("{answer:?}"),
                        Err(_) => break,
                    }
                    if number % 20 == 0 {
                        let name = format!("friend{round}x{writer}x{number}");
                        let email = format!("{name}@example.com");
                        let body = json!({"username": name, "email": email, "password": PASSWORD}).to_string();
                        let request = client.request(Method::POST, "/api/v1/auth/user").body(body);
                        match request.send().await {
                            Ok(answer) if answer.status() == 201 => names.lock().expect("no panic").push(name),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => break,
                        }
                    }
                }
                assert!(over.load(Ordering::SeqCst), "nothing fails before the end");
            }));
        }
        eventually("there is something to lose", || async { codes.lock().expect("no panic").len() >= 100 }).await;
        over.store(true, Ordering::SeqCst);
        serving.kill();
        for writer in writers {
            writer.await.expect("nothing but 201");
        }
        expected.extend(codes.lock().expect("no panic").drain(..));
        expected.extend(names.lock().expect("no panic").drain(..));
        let mut stored = texts(&operator, "select code from codes").await;
        stored.extend(texts(&operator, "select username from users").await);
        let lost: Vec<_> = expected.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        if setup == Setup::Sqlite {
            let sound = texts(&operator, "pragma integrity_check").await;
            assert_eq!(sound, HashSet::from(["ok".to_owned()]));
        }
        let halves = "select ordinal::text from codes where revoked_at is null group by owner_id, ordinal \
                      having count(*) > 1";
        if setup != Setup::Sqlite {
            assert!(texts(&operator, halves).await.is_empty());
        }
    }
    // The next start serves what is there.
    let serving = operator.serve();
    serving.client().logged_in("writer0x0").await.get("/api/v1/codes").await.expect(200);
}

#[tokio::test]
async fn sighup_ends_nothing() {
    // Its folder, with the database in it, goes with the operator.
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    for _ in 0..3 {
        serving.signal("HUP");
    }
    eventually("it is noted", || async { serving.log().contains("SIGHUP") }).await;
    serving.client().get("/readyz").await.expect(200);
    serving.stop().well();
}
