//! Sizes, framing, and bytes that are no request at all.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::helpers::{MOST_BODY, bearer};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::operations::{each, with_bodies};
use crate::support::paths::{CODES, ME, USER, VALIDATE};
use crate::support::raw;

on_every_setup!(broken_off_and_slow_requests_hold_nobody_up);
/// Half a request, no request, a request that takes its time: nobody else notices.
async fn broken_off_and_slow_requests_hold_nobody_up(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let body = json!({"username": "late", "email": "late@example.com", "password": PASSWORD}).to_string();
    let whole = raw::request("POST", USER, &[("Content-Length", &body.len().to_string())], body.as_bytes());
    let (all, head) = (whole.len(), whole.len() - body.len());
    let mut slow = Vec::new();
    for length in [0, 1, 10, head / 2, head, head + 1, all - 1] {
        for stays in [false, true] {
            let mut stream = raw::connect(&user.base).await;
            stream.write_all(&whole[..length]).await.expect("the node reads");
            if stays {
                slow.push(stream);
            }
        }
    }
    let began = Instant::now();
    for _ in 0..50 {
        let mut stream = raw::connect(&user.base).await;
        stream.write_all(&whole[..head + 1]).await.expect("the node reads");
        slow.push(stream);
    }
    // Others are served meanwhile, and nothing has come of what is not complete.
    user.get("/readyz").await.expect(200);
    user.get(ME).await.expect(200);
    user.create_code("AMSEL2030XYZ").await.expect(201);
    user.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    assert_eq!(test.number("select count(*) from users").await, 2);
    // One that comes to its end in ten seconds is a request like others; a late one hears so, if it still can.
    let mut last = slow.pop().expect("a slow one");
    let _ = last.write_all(&whole[head + 1..]).await;
    let status = raw::listen(&mut last).await.map(|answer| answer.status);
    let in_time = began.elapsed() < Duration::from_secs(10);
    assert!(status == Some(201) || (!in_time && [None, Some(408)].contains(&status)), "{status:?}");
}

/// A body is refused by the length it announces, and by the length it turns out to have. It is read to its end all the
/// same: many a sender listens only after the last byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_64_kib_is_refused_and_its_sender_hears_it() {
    let test = Setup::Sqlite.start().await;
    let user = test.manager("user").await;
    let authorization = bearer(&user);
    let padded = |body: &Value, length: usize| {
        let text = body.to_string();
        format!("{text}{}", " ".repeat(length - text.len())).into_bytes()
    };
    let chunked = ("Transfer-Encoding", "chunked");
    for operation in with_bodies(&user) {
        let ask = async |framing: (&str, &str), body: &[u8]| {
            let headers = [framing, ("Authorization", authorization.as_str())];
            raw::ask(&user.base, operation.method.as_str(), &operation.path, &headers, body).await
        };
        for length in [MOST_BODY + 1, 2 * MOST_BODY, 1 << 20] {
            let body = padded(&operation.bodies()[0], length);
            ask(("Content-Length", &length.to_string()), &body).await.expect_problem(413, "too_large");
            ask(chunked, &raw::chunked(&body)).await.expect_problem(413, "too_large");
        }
    }
    let huge = vec![b'x'; 30_000_000];
    for (method, path) in [("POST", VALIDATE), ("DELETE", ME)] {
        for (framing, body) in [(("Content-Length", "30000000"), &huge), (chunked, &raw::chunked(&huge))] {
            let request = raw::request(method, path, &[framing, ("Authorization", &authorization)], body);
            let (taken, answer) = raw::talk(&user.base, &request).await;
            answer.expect("an answer").expect_problem(413, "too_large");
            assert!(taken, "{path} {framing:?}: the server broke off");
        }
    }
    // Announced is enough: nobody waits for what would be refused.
    let request = raw::request("POST", VALIDATE, &[("Content-Length", "30000000")], b"{");
    raw::talk(&user.base, &request).await.1.expect("an answer").expect_problem(413, "too_large");
    // The last that is not too large; the account is there still.
    let fits = padded(&json!({"code": "AMSEL2030XYZ"}), MOST_BODY);
    user.post_raw(VALIDATE, "application/json", fits.clone()).await.expect(200);
    raw::ask(&user.base, "POST", VALIDATE, &[chunked], &raw::chunked(&fits)).await.expect(200);
    user.get(ME).await.expect(200);
}

/// No body is read of somebody who may not send one; they get to hear that all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_hears_it_even_after_a_large_body() {
    let test = Setup::Sqlite.start().await;
    let body = vec![b'x'; 8_000_000];
    for (method, path, status, code) in [
        ("POST", CODES, 401, "not_authenticated"),
        ("DELETE", ME, 401, "not_authenticated"),
        ("POST", "/api/v1/auth/logout", 401, "not_authenticated"),
        ("POST", "/api/v1/nowhere", 404, "not_found"),
        ("PUT", CODES, 405, "method_not_allowed"),
    ] {
        let answer = raw::ask(&test.nodes[0].url, method, path, &[("Content-Length", "8000000")], &body).await;
        answer.expect_problem(status, code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_request_are_refused_or_ignored_and_never_a_fault() {
    let test = Setup::Sqlite.start().await;
    let base = &test.nodes[0].url;
    let mut garbage: Vec<Vec<u8>> = [
        &b""[..],
        b"\r\n\r\n\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"\xff\xfe\xfd\xfc\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client that speaks TLS to us\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand then no frames at all, but text",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /livez\r\n\r\n",
        b"G\xc3\x89T /livez HTTP/1.1\r\n\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    for line in [
        &b"GET /livez HTTP/9.9"[..],
        b"GET /livez HTTP/1.1 more",
        b"GET  /livez HTTP/1.1",
        b"GET /\xff\xfe HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /\0 HTTP/1.1",
        b"GET livez HTTP/1.1",
        b"GET http:// HTTP/1.1",
        b"GET http://[::1 HTTP/1.1",
        b"GET http://referral.test/nowhere/ HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"GET * HTTP/1.1",
        b"CONNECT referral.test:443 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
    ] {
        garbage.push([line, b"\r\nHost: a\r\nConnection: close\r\n\r\n"].concat());
    }
    for header in [&b"no colon"[..], b": no name", b"a b: c", b"a : c", b"a: b\0c", b"a: \x01", b" folded: a"] {
        garbage.push([b"GET /livez HTTP/1.1\r\n", header, b"\r\n\r\n"].concat());
    }
    for framing in each(
        "Content-Length: -1\r\n\r\n{}|Content-Length: two\r\n\r\n{}|Content-Length: 99999999999999999999999\r\n\r\n{}|\
         Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}|Transfer-Encoding: gzip\r\n\r\n{}|\
         Transfer-Encoding: chunked, gzip\r\n\r\n{}|Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ) {
        garbage.push(format!("POST {VALIDATE} HTTP/1.1\r\nConnection: close\r\n{framing}").into_bytes());
    }
    garbage.push(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)).into_bytes());
    garbage.push(format!("GET /livez HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(70_000)).into_bytes());
    let mut answered = 0;
    for bytes in garbage {
        let mut stream = raw::connect(base).await;
        // The server may have closed on the first of them: that is an answer, too.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        if let Some(answer) = raw::listen(&mut stream).await {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            assert!((400..500).contains(&answer.status), "{start}: {answer:?}");
            answered += 1;
        }
    }
    assert!(answered > 20, "{answered}");
    test.client().get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_framed_as_the_protocol_has_it() {
    let test = Setup::Sqlite.start().await;
    let base = &test.nodes[0].url;
    // Nobody who sends nonsense at once is told that they were too slow.
    for chunks in ["zz\r\n{}\r\n0\r\n\r\n", "ffffffffffffffffff\r\n{}", "2\r\n{}junk\r\n0\r\n\r\n"] {
        let answer = raw::ask(base, "POST", VALIDATE, &[("Transfer-Encoding", "chunked")], chunks.as_bytes()).await;
        assert!([400, 422].contains(&answer.status), "{chunks:?}: {answer:?}");
    }
    // Where two framings disagree nothing hides in the difference: the request behind it is none of the first's.
    let two = "Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nd\r\n{\"code\": \"x\"}\r\n0\r\n\r\n";
    let two = format!("POST {VALIDATE} HTTP/1.1\r\n{two}GET {ME} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let heard = everything(base, &two).await;
    assert!(heard.starts_with("HTTP/1.1 200 ") || heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert!(heard.matches("HTTP/1.1 ").count() <= 2, "{heard}");
    // Two requests in one go are two requests.
    let two =
        format!("GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET {ME} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let heard = everything(base, &two).await;
    assert!(heard.starts_with("HTTP/1.1 200 ") && heard.contains("HTTP/1.1 401 "), "{heard}");
    // Who asks before they send is told to go on, or at once what is wrong.
    for (length, said) in [("13", "HTTP/1.1 100 "), ("30000000", "HTTP/1.1 413 ")] {
        let mut stream = raw::connect(base).await;
        let headers = [("Content-Length", length), ("Expect", "100-continue")];
        stream.write_all(&raw::request("POST", VALIDATE, &headers, b"")).await.expect("the node reads");
        let mut start = [0; 13];
        stream.read_exact(&mut start).await.expect("a word");
        assert_eq!(String::from_utf8_lossy(&start), said);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_beyond_8_kib_and_headers_beyond_16_kib_are_refused() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    let long = "a".repeat(9000);
    for path in [format!("/{long}"), format!("{CODES}?a={long}"), format!("{CODES}/{long}"), format!("{USER}/{long}")] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            user.send(user.request(method, &path)).await.expect_problem(414, "uri_too_long");
        }
    }
    let fits = format!("{CODES}?a={}", "b".repeat(8 * 1024 - CODES.len() - 3));
    user.get(&fits).await.expect(200);
    user.get(&format!("{fits}b")).await.expect_problem(414, "uri_too_long");

    let many: Vec<(String, String)> = (0..170).map(|number| (format!("h{number}"), "v".repeat(100))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let large = "v".repeat(17_000);
    for headers in [&many[..], &[("h", &large)], &[("authorization", &large)], &[("cookie", &large)]] {
        let answer = raw::ask(&user.base, "GET", ME, headers, b"").await;
        answer.expect_problem(431, "headers_too_large");
    }
    let answer = raw::ask(&user.base, "GET", &format!("/{large}"), &[], b"").await;
    assert!([414, 431].contains(&answer.status), "{answer:?}");
    let fits = "v".repeat(12_000);
    raw::ask(&user.base, "GET", "/livez", &[("h", &fits)], b"").await.expect(200);
    user.get(ME).await.expect(200);
}

/// RFC 9112, 3.2. A proxy before us may take another of two for the one that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_exactly_one_host() {
    let test = Setup::Sqlite.start().await;
    let base = &test.nodes[0].url;
    let ask = async |version: &str, hosts: &str| {
        let request = format!("GET /livez HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        raw::talk(base, request.as_bytes()).await.1.expect("an answer")
    };
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: somebody@a\r\n",
        "Host: a:b:c\r\n",
        "Host: a, b\r\n",
        "Host: a,b\r\n",
        "Host: a:b\r\n",
        "Host: a:99999\r\n",
        "Host: :80\r\n",
        "Host: [::1]x\r\n",
        "Host: \u{e4}\r\n",
    ] {
        let answer = ask("1.1", hosts).await.expect_problem(400, "malformed_request");
        assert_eq!(answer.header("connection"), "close", "{hosts}");
    }
    for hosts in ["Host: a\r\n", "Host: a:8000\r\n", "Host: [::1]:8000\r\n", "host: my_service\r\n", "Host:\r\n"] {
        ask("1.1", hosts).await.expect(200);
    }
    // Load balancers that speak HTTP/1.0 need none.
    let mut stream = raw::connect(base).await;
    stream.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.expect("the node reads");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("text");
    assert!(heard.starts_with("HTTP/1.0 200 "), "{heard}");
}

/// RFC 9112, 6.1. What else was done to a body is not undone here, so the body is not what it seems.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_chunked_or_has_a_length_and_nothing_else() {
    let test = Setup::Sqlite.start().await;
    let base = &test.nodes[0].url;
    let body = raw::chunked(br#"{"code": "AMSEL2030XYZ"}"#);
    let ask = async |codings: &[(&str, &str)]| raw::ask(base, "POST", VALIDATE, codings, &body).await;
    let coding = |value| ("Transfer-Encoding", value);
    for value in ["gzip, chunked", "chunked, chunked", "identity, chunked", ", chunked", "x, chunked", "chunked;q=1"] {
        ask(&[coding(value)]).await.expect_problem(400, "malformed_request");
    }
    ask(&[coding("gzip"), coding("chunked")]).await.expect_problem(400, "malformed_request");
    ask(&[coding("chunked"), coding("chunked")]).await.expect_problem(400, "malformed_request");
    for value in ["chunked", "Chunked", " chunked "] {
        ask(&[coding(value)]).await.expect(200);
    }
}

/// Also what the HTTP library refuses before anybody of us is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_like_everything_else() {
    for (public_url, transport) in [("http://referral.test", ""), ("https://referral.test", "max-age=31536000")] {
        let test = Setup::Sqlite.start_with(&[("REFERRAL_PUBLIC_URL", public_url)]).await;
        let large = "v".repeat(17_000);
        let many: String = (0..170).map(|number| format!("h{number}: v\r\n")).collect();
        // The second time after a good request on the same connection.
        for before in ["", "GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"] {
            for (bytes, status, code) in [
                ("hello there\r\n\r\n".to_owned(), 400, "malformed_request"),
                ("GET /livez HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400, "malformed_request"),
                ("GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(), 400, "malformed_request"),
                (format!("GET /livez HTTP/1.1\r\nHost: a\r\nH: {large}\r\n\r\n"), 431, "headers_too_large"),
                (format!("GET /livez HTTP/1.1\r\n{many}\r\n"), 431, "headers_too_large"),
            ] {
                let mut stream = raw::connect(&test.nodes[0].url).await;
                if !before.is_empty() {
                    stream.write_all(before.as_bytes()).await.expect("the node reads");
                    raw::listen(&mut stream).await.expect("an answer").expect(200);
                }
                let _ = stream.write_all(bytes.as_bytes()).await;
                let answer = raw::listen(&mut stream).await.expect("an answer").expect_problem(status, code);
                assert_eq!(answer.header("x-content-type-options"), "nosniff", "{bytes:.40}");
                assert_eq!(answer.header("referrer-policy"), "no-referrer");
                assert_eq!(answer.header("cache-control"), "no-store");
                assert_eq!(answer.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
                assert_eq!(answer.header("strict-transport-security"), transport);
                assert_eq!(answer.header("connection"), "close");
                assert!(!answer.header("date").is_empty());
                let id = answer.header("x-request-id").to_owned();
                assert_eq!(answer.json()["instance"], json!(format!("urn:uuid:{id}")));
            }
        }
    }
}

/// All that the server says to these bytes until it closes.
async fn everything(base: &str, bytes: &str) -> String {
    let mut stream = raw::connect(base).await;
    stream.write_all(bytes.as_bytes()).await.expect("the node reads");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("text");
    heard
}
