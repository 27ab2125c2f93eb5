//! More connections than there is room for: some of them have to go, and everybody who asks is answered meanwhile.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;
use crate::support::process::Operator;
use crate::support::raw;

const BUNDLE: &str = "GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: referral.test\r\n\r\n";
const LOOK_UP: &str = "/api/v1/codes/owner@example.com";
/// Less than a connection may stay without a request, so that who waits for its end is found out.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection from this address of the machine that sends this and never reads.
async fn silent(base: &str, from: Ipv4Addr, says: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.bind(SocketAddr::from((from, 0))).expect("an address of this machine");
    let address = base.strip_prefix("http://").and_then(|address| address.parse().ok()).expect("a plain address");
    let connected = tokio::time::timeout(PATIENCE, socket.connect(address)).await.expect("the system answers");
    let mut stream = connected.expect("the node listens");
    stream.write_all(says.as_bytes()).await.expect("the system takes it");
    stream
}

/// Asks as somebody who has just come, on connections of their own.
async fn is_served(owner: &Client) {
    let authorization = format!("Bearer {}", owner.token.as_deref().expect("a token"));
    for (path, headers) in [("/livez", &[][..]), (LOOK_UP, &[("Authorization", authorization.as_str())][..])] {
        let asked = raw::ask(&owner.base, "GET", path, headers, b"");
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{path}: no answer")).expect(200);
    }
}

on_every_setup!(who_asks_is_answered_whatever_crowd_holds_connections);
async fn who_asks_is_answered_whatever_crowd_holds_connections(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_HTTP_CONNECTIONS", "16")]).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let base = owner.base.clone();
    for (says, why) in [(String::new(), "idle"), (BUNDLE.repeat(3), "crowd")] {
        let mut crowd = Vec::new();
        for _ in 0..40 {
            crowd.push(silent(&base, Ipv4Addr::LOCALHOST, &says).await);
            is_served(&owner).await;
        }
        let figures = test.app().metrics.text(&[]).expect("figures");
        assert!(figures.contains(&format!("referral_http_connections_closed_total{{why=\"{why}\"}}")), "{figures}");
        let open = figures.lines().find_map(|line| line.strip_prefix("referral_http_connections "));
        let open: usize = open.expect("a figure").parse().expect("a number");
        assert!((1..=16).contains(&open), "{open}");
    }
}

/// Of those who are not idle, the client with the most loses: another one's slow answer arrives whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_loses_its_own_connections_and_not_those_of_others() {
    let test = Setup::Sqlite.start_with(&[("REFERRAL_HTTP_CONNECTIONS", "16")]).await;
    let base = test.nodes[0].url.clone();
    let mut slow = silent(&base, Ipv4Addr::LOCALHOST, BUNDLE).await;
    let (mut crowd, elsewhere) = (Vec::new(), Ipv4Addr::new(127, 0, 0, 2));
    for _ in 0..60 {
        crowd.push(silent(&base, elsewhere, &BUNDLE.repeat(3)).await);
    }
    let answer = raw::listen(&mut slow).await.expect("an answer");
    let length: usize = answer.header("content-length").parse().expect("a length");
    assert_eq!((answer.status, answer.text.len() >= length), (200, true), "{length}");
    let mut ended = 0;
    for stream in &mut crowd {
        let mut rest = Vec::new();
        // Those that were closed come to their end; those that stay would wait for the rest of three answers.
        ended +=
            usize::from(tokio::time::timeout(Duration::from_millis(1), stream.read_to_end(&mut rest)).await.is_ok());
    }
    assert!(ended > 0, "nobody was closed");
}

/// Also whoever is idle, or has only just connected, while the crowd never is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_sends_slowly_does_not_cost_others_their_idle_connections() {
    let test = Setup::Sqlite.start_with(&[("REFERRAL_HTTP_CONNECTIONS", "16")]).await;
    let base = test.nodes[0].url.clone();
    let (mut kept, mut crowd, elsewhere) = (Vec::new(), Vec::new(), Ipv4Addr::new(127, 0, 0, 2));
    let ask = "GET /livez HTTP/1.1\r\nHost: referral.test\r\n\r\n";
    for (last, says) in [(3, ask), (4, ask), (5, "")] {
        let mut stream = silent(&base, Ipv4Addr::new(127, 0, 0, last), says).await;
        if !says.is_empty() {
            assert_eq!(raw::listen(&mut stream).await.expect("an answer").status, 200);
        }
        kept.push(stream);
    }
    let slow = "POST /api/v1/auth/token HTTP/1.1\r\nHost: referral.test\r\nContent-Length: 60000\r\n\r\n{";
    let began = Instant::now();
    // Long enough for the others to count as idle.
    while crowd.len() < 60 || began.elapsed() < Duration::from_secs(1) {
        crowd.push(silent(&base, elsewhere, slow).await);
    }
    for stream in &mut kept {
        stream.write_all(ask.as_bytes()).await.expect("it is open");
        assert_eq!(raw::listen(stream).await.expect("an answer").status, 200);
    }
}

/// As an operator meets it: the process has so many descriptors, and two crowds want more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_few_descriptors_answers_whoever_asks() {
    let mut operator = Operator::on_a_free_port();
    operator.limit_descriptors(128);
    let serving = operator.serve();
    let owner = serving.client().signed_up("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    for says in [String::new(), BUNDLE.repeat(3)] {
        let mut crowd = Vec::new();
        for number in 0..160 {
            crowd.push(silent(&serving.url, Ipv4Addr::LOCALHOST, &says).await);
            if number % 8 == 7 {
                is_served(&owner).await;
            }
        }
        is_served(&owner).await;
    }
    let log = serving.stop().well().stderr;
    assert!(log.contains("the limit of open files allows fewer connections"), "{log}");
    assert!(log.contains("too many connections"), "{log}");
    assert!(!log.contains("cannot accept"), "{log}");
}

/// When everybody comes from one private address that is no proxy we know of, it most likely is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_the_settings_do_not_name_is_told() {
    for (proxies, told) in [("", true), ("10.0.0.0/8", true), ("127.0.0.1", false)] {
        let test = Setup::Sqlite.start_with(&[("REFERRAL_LIMITS_TRUSTED_PROXIES", proxies)]).await;
        let base = test.nodes[0].url.clone();
        let is_told = || test.app().metrics.text(&[]).expect("figures").contains("referral_unnamed_proxy 1");
        let ask = async |path: &str, times: usize| {
            for _ in 0..times {
                raw::ask(&base, "GET", path, &[], b"").await;
            }
        };
        ask("/redoc", 31).await;
        // Whoever looks after the service asks from elsewhere, or beside what a proxy passes on.
        ask("/livez", 9).await;
        assert!(!is_told(), "{proxies}");
        ask("/redoc", 1).await;
        assert_eq!(is_told(), told, "{proxies}");
        let mut other = silent(&base, Ipv4Addr::new(127, 0, 0, 2), "GET /redoc HTTP/1.1\r\nHost: a\r\n\r\n").await;
        raw::listen(&mut other).await.expect("an answer");
        assert!(!is_told(), "{proxies}");
    }
}

#[test]
fn check_tells_of_a_proxy_that_the_settings_do_not_name() {
    let mut operator = Operator::on_a_free_port();
    let noted =
        |operator: &Operator| operator.run(&["check"]).well().stdout.contains("note  limits.trusted_proxies is empty");
    assert!(!noted(&operator));
    operator.set("REFERRAL_PUBLIC_URL", "https://referral.example.com");
    assert!(noted(&operator));
    operator.set("REFERRAL_LIMITS_TRUSTED_PROXIES", "10.0.0.7");
    assert!(!noted(&operator));
    operator.limit_descriptors(256);
    let said = operator.run(&["check"]).well().stdout;
    assert!(said.contains("the limit of open files leaves 128 connections at once"), "{said}");
}

/// The service that runs knows more than the settings: whom requests come from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_asks_the_running_service_whom_requests_come_from() {
    let mut operator = Operator::on_a_free_port();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    operator.set("REFERRAL_METRICS_LISTEN", free.to_string());
    let serving = operator.serve();
    for (times, told) in [(20, false), (20, true)] {
        for _ in 0..times {
            raw::ask(&serving.url, "GET", "/redoc", &[], b"").await;
        }
        // The address of the figures is taken, as it has to be.
        let said = operator.run(&["check"]).stdout;
        assert_eq!(said.contains("note  all requests to the running service come from one private"), told, "{said}");
    }
    serving.stop().well();
}
