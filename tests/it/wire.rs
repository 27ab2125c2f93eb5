//! Requests as they are on the wire: addresses, methods, headers, sizes, framing, and bytes that are no request at all.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::log;
use crate::support::operations::{each, operations, with_bodies};
use crate::support::raw;

const USER: &str = "/api/v1/auth/user";
const CODES: &str = "/api/v1/codes";
const VALIDATE: &str = "/api/v1/codes/validate";
const ME: &str = "/api/v1/me";
const MOST_BODY: usize = 64 * 1024;
/// Pages beside the API, with the operations that are for programs.
const PAGES: &str = "/docs|/redoc|/openapi.json|/problems|/problems/invalid|/docs/assets/docs.css|/docs/assets/docs.js";

on_every_setup!(percent_encoded_garbage_in_paths_finds_nothing);
async fn percent_encoded_garbage_in_paths_finds_nothing(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    let authorization = bearer(&user);
    let body = json!({"username": "late", "email": "late@example.com", "password": PASSWORD}).to_string();
    let length = body.len().to_string();
    let garbage = each(
        "%ff|%FF%FE|%00|AMSEL2030XYZ%00|%2F|%2f%2f|..%2f..%2fetc%2fpasswd|%2e%2e|..|%5c|%|%z|%zz|%4|%C0%AF|\
         %E0%80%80|%ED%A0%80|%F4%90%80%80|%F0%9F%98%80|%E2%80%AE|%0d%0aSet-Cookie:%20a=b|%3Cscript%3E|\
         %27%20or%201=1|%25%30%30|+|a;b|~|*|%3F|%23|user%00@example.com|%40|user%40example.com%2F|AMSEL2030XYY",
    );
    let (long, encoded) = ("a".repeat(4000), "%61".repeat(2500));
    for text in garbage.chain([long.as_str(), encoded.as_str()]) {
        for (method, path) in [
            ("GET", format!("{CODES}/{text}")),
            ("DELETE", format!("{CODES}/{text}")),
            ("GET", format!("/api/v1/users/{text}")),
            ("GET", format!("/api/v1/users/{text}/referrals")),
            ("POST", format!("{USER}/{text}")),
            ("GET", format!("/problems/{text}")),
            ("GET", format!("/docs/assets/{text}")),
        ] {
            let mut headers = vec![("Authorization", authorization.as_str())];
            let mut content: &[u8] = b"";
            if method == "POST" {
                headers.push(("Content-Length", &length));
                content = body.as_bytes();
            }
            let answer = raw::ask(&user.base, method, &path, &headers, content).await;
            assert!([404, 422].contains(&answer.status), "{method} {path:.80}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path:.80}");
        }
    }
    assert_eq!(test.number("select count(*) from users").await, 1);
    assert_eq!(user.get(ME).await.expect(200).json()["active_code"]["code"], "AMSEL2030XYZ");
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_route_has_is_404_in_our_own_shape() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    for path in each(
        "/api|/api/|/api/v1|/api/v1/|/api/v2/me|/API/V1/ME|/api/v1/Me|/api/v1/auth|/api/v1/auth/tokens|\
         /api/v1/auth/user/a/b|/api/v1/codes/a/b|/api/v1/users|/api/v1/users/a/b|/api/v1/users/a/referrals/b|\
         /api/v1/me/password/x|/api//v1/me|//api/v1/me|//|///|/api/v1/./me|/api/v1/../v1/me|/api/v1/%6De|/api/v1%2Fme|\
         /api/v1/me;a=b|/api/v1/me.json|/.env|/favicon.ico|/metrics|/docs/x|/docs/assets|/docs/assets/../docs.html|\
         /docs/assets/%2e%2e/docs.html|/openapi.yaml|/.well-known/nothing|/oauth|/oauth/nothing|/%00|/%ff|/%",
    ) {
        for method in ["GET", "POST", "DELETE", "BREW"] {
            let answer = raw::ask(&user.base, method, path, &[("Content-Length", "0")], b"").await;
            let code = answer.json()["code"].clone();
            assert_eq!((answer.status, &code), (404, &json!("not_found")), "{method} {path}: {answer:?}");
        }
    }
    for path in
        each("/problems/nothing|/docs/assets/nothing|/docs/assets/%2e%2e%2fdocs.html|/docs/assets/..%5cdocs.html")
    {
        raw::ask(&user.base, "GET", path, &[], b"").await.expect_problem(404, "not_found");
    }
    assert_eq!(user.get("/").await.expect(307).header("location"), "/docs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_a_path_has_not_is_405_and_told_which_it_has() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    let authorization = bearer(&user);
    let operations = operations(&user);
    let mut paths: Vec<(String, BTreeSet<String>)> = Vec::new();
    for operation in &operations {
        let methods = operations.iter().filter(|other| other.template == operation.template);
        paths.push((operation.path.clone(), methods.map(|other| other.method.to_string()).collect()));
    }
    paths.extend(each(PAGES).chain(["/"]).map(|path| (path.to_owned(), BTreeSet::from(["GET".to_owned()]))));
    let mut refused = 0;
    for (path, mut methods) in paths {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let all = each("GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|BREW|get|PROPFIND|M-SEARCH");
        for method in all.filter(|method| !methods.contains(*method)) {
            let headers = [("Authorization", authorization.as_str()), ("Content-Length", "0")];
            let answer = raw::ask(&user.base, method, &path, &headers, b"").await;
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            let allowed = answer.header("allow").split(',').map(|word| word.trim().to_owned());
            assert_eq!(allowed.collect::<BTreeSet<String>>(), methods, "{method} {path}");
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_as_get_without_a_body() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    let authorization = bearer(&user);
    let operations = operations(&user);
    let reads = operations.iter().filter(|operation| operation.method == Method::GET);
    let others = each("/nowhere|/api/v1/codes?page=0|/api/v1/codes/nobody@example.com");
    let paths: Vec<&str> = reads.map(|operation| operation.path.as_str()).chain(each(PAGES)).chain(others).collect();
    assert!(paths.len() > 15);
    for path in paths {
        for headers in [&[("Authorization", authorization.as_str())][..], &[]] {
            let get = raw::ask(&user.base, "GET", path, headers, b"").await;
            let head = raw::ask(&user.base, "HEAD", path, headers, b"").await;
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
            for name in each("content-type|content-length|cache-control|content-security-policy|www-authenticate") {
                assert_eq!(head.header(name), get.header(name), "{path} {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_at_the_end_changes_nothing_on_any_route() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    user.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    let operations = operations(&user).into_iter().map(|operation| (operation.method, operation.path));
    let pages = each(PAGES).map(|path| (Method::GET, path.to_owned()));
    let look = async |client: &Client, method: &Method, path: &str| {
        let request = client.request(method.clone(), path);
        let answer = client.send(if *method == Method::GET { request } else { request.body("{}") }).await;
        let mut body: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| json!(answer.text));
        if let Some(problem) = body.as_object_mut() {
            problem.remove("instance");
        }
        (answer.status, body)
    };
    for (method, path) in operations.chain(pages) {
        // Without a token where it would change something: who has one would log out.
        let client = if method == Method::GET { user.clone() } else { user.anonymous() };
        let plain = look(&client, &method, &path).await;
        assert_ne!(plain.1["code"], "not_found", "{method} {path}");
        for end in each("/|//|///|/?a=/|//?a=/") {
            assert_eq!(look(&client, &method, &format!("{path}{end}")).await, plain, "{method} {path}{end}");
        }
    }
    // The query stays what it is.
    let part = user.get("/api/v1/codes//?size=1&page=2").await.expect(200).json();
    assert_eq!((&part["size"], &part["page"]), (&json!(1), &json!(2)));
    user.get("/api/v1/codes/?page=0").await.expect_problem(422, "invalid");
    user.delete("/api/v1/codes/AMSEL2030XYZ//").await.expect(204);
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

/// One thread, so that the log of this thread is that of the node.
#[tokio::test(flavor = "current_thread")]
async fn a_request_keeps_the_name_that_a_trusted_proxy_gave_it_and_its_trace() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (proxies, trusted) in [("127.0.0.1", true), ("10.0.0.1", false)] {
        log::listen();
        let test = Setup::Sqlite.start_with(&[("REFERRAL_LIMITS_TRUSTED_PROXIES", proxies)]).await;
        let base = &test.nodes[0].url;
        let named = async |names: &[(&str, &str)]| raw::ask(base, "GET", ME, names, b"").await.expect(401);
        let id = |answer: &Answer| answer.json()["instance"].as_str().expect("an id").replace("urn:uuid:", "");
        // A UUID becomes the request's own id, however it is written.
        let uuid = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11";
        for name in [uuid.to_owned(), uuid.replace('-', "")] {
            let answer = named(&[("X-Request-Id", name.as_str())]).await;
            assert_eq!((id(&answer) == uuid, answer.header("x-request-id") == name), (trusted, trusted), "{answer:?}");
        }
        let answer = named(&[("X-Request-Id", "proxy-7:C5A2"), ("traceparent", trace)]).await;
        let own = id(&answer);
        assert_eq!(answer.header("x-request-id"), if trusted { "proxy-7:C5A2" } else { own.as_str() });
        // What is no name, or not one name, is none.
        let long = "a".repeat(129);
        for names in [&["olga@example.com"][..], &["a b"], &[long.as_str()], &["one", "two"]] {
            let names: Vec<_> = names.iter().map(|name| ("X-Request-Id", *name)).collect();
            let answer = named(&names).await;
            assert_eq!(answer.header("x-request-id"), id(&answer), "{names:?}");
        }
        let text = log::heard();
        let line = text.lines().find(|line| line.contains(&own) && line.contains("answered")).expect("its line");
        assert!(["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"].iter().all(|id| line.contains(id)), "{line}");
        assert_eq!(line.contains("proxy-7:C5A2"), trusted, "{line}");
        assert!(!text.contains("olga@example.com"), "{text}");
    }
}

/// On every answer, good or bad, of the API, of the pages and of nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_the_headers_that_protect() {
    for (public_url, transport) in [("http://referral.test", ""), ("https://referral.test", "max-age=31536000")] {
        let test = Setup::Sqlite.start_with(&[("REFERRAL_PUBLIC_URL", public_url)]).await;
        let user = test.user("user").await;
        let pages: Vec<&str> = each(PAGES).chain(each("/|/livez|/readyz|/.well-known/jwks.json")).collect();
        let mut answers: Vec<(&str, Answer)> = Vec::new();
        for path in &pages {
            answers.push((path, user.get(path).await));
        }
        for path in [ME, CODES, "/nowhere", "/api/v1/codes/nobody@example.com", "/api/v1/codes?page=0", "/api/v1/x"] {
            answers.push(("with a token", user.get(path).await));
            answers.push(("without a token", user.anonymous().get(path).await));
        }
        answers.push(("too long", user.get(&format!("/api/{}", "a".repeat(9000))).await.expect(414)));
        let large = vec![b' '; MOST_BODY + 1];
        answers.push(("too large", user.post_raw(VALIDATE, "application/json", large).await.expect(413)));
        answers.push(("no JSON", user.post_raw(VALIDATE, "application/json", "{").await.expect(422)));
        answers.push(("another type", user.post_raw(VALIDATE, "text/plain", "{}").await.expect(415)));
        answers.push(("another method", user.delete(VALIDATE).await.expect(405)));
        answers.push(("made", user.create_code("AMSEL2030XYZ").await.expect(201)));
        answers.push(("conflict", user.create_code("AMSEL2031XYZ").await.expect(409)));
        answers.push(("revoked", user.revoke_code("AMSEL2030XYZ").await.expect(204)));
        answers.push(("logged in", user.log_in("user", PASSWORD).await.expect(200)));
        answers.push(("not logged in", user.log_in("user", "x").await.expect(401)));
        answers.push(("not refreshed", user.refresh("x").await.expect(401)));
        // No page of another origin is told that it may ask, and no caller names their own requests.
        let asked = user.request(Method::OPTIONS, ME).header("origin", "https://evil.test");
        let asked = asked.header("access-control-request-method", "DELETE");
        answers.push(("asked by another origin", user.send(asked).await.expect(405)));
        let read = user.request(Method::GET, ME).header("origin", "https://evil.test").header("x-request-id", "mine");
        answers.push(("read by another origin", user.send(read).await.expect(200)));

        let mut ids = HashSet::new();
        for (place, answer) in answers {
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{place}");
            assert_eq!(answer.header("referrer-policy"), "no-referrer", "{place}");
            assert_eq!(answer.header("strict-transport-security"), transport, "{place}");
            let policy = answer.header("content-security-policy");
            assert!(policy.contains("default-src 'none'"), "{place}: {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{place}: {policy}");
            assert!(!["unsafe", "*", "http"].iter().any(|word| policy.contains(word)), "{place}: {policy}");
            if !pages.contains(&place) {
                assert_eq!(answer.header("cache-control"), "no-store", "{place}");
                assert_eq!(policy, "default-src 'none'; frame-ancestors 'none'", "{place}");
            }
            for name in answer.headers.keys() {
                let told = ["server", "x-powered-by", "set-cookie"].contains(&name.as_str());
                let public = place.starts_with("/.well-known/") || place == "/openapi.json";
                assert!(!told && (public || !name.as_str().starts_with("access-control")), "{place}: {name}");
            }
            let id = answer.header("x-request-id").to_owned();
            assert!(uuid::Uuid::try_parse(&id).is_ok(), "{place}: {id}");
            if answer.status >= 400 {
                assert_eq!(answer.json()["instance"], json!(format!("urn:uuid:{id}")), "{place}");
            }
            assert!(ids.insert(id), "{place}: a request id came twice");
        }
    }
}

/// Callers make up methods and paths without end: what is counted must not grow with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_methods_and_paths_do_not_become_figures() {
    let test = Setup::Sqlite.start().await;
    let client = test.client();
    client.get("/livez").await.expect(200);
    for number in 0..20 {
        let method = Method::from_bytes(format!("MADEUP{number}").as_bytes()).expect("a method");
        client.send(client.request(method.clone(), "/livez")).await.expect(405);
        client.send(client.request(method, &format!("/madeup{number}"))).await.expect(404);
        client.get(&format!("/madeup{number}/livez")).await.expect(404);
        client.get(&format!("/problems/madeup{number}")).await.expect(404);
        client.get(&format!("/docs/assets/madeup{number}")).await.expect(404);
    }
    let text = test.app().metrics.text(&[]).expect("figures");
    assert!(text.contains("/livez") && text.contains("GET"), "{text}");
    assert!(!text.to_lowercase().contains("madeup"), "{text}");
}

fn bearer(user: &Client) -> String {
    format!("Bearer {}", user.token.as_deref().expect("a token"))
}

/// All that the server says to these bytes until it closes.
async fn everything(base: &str, bytes: &str) -> String {
    let mut stream = raw::connect(base).await;
    stream.write_all(bytes.as_bytes()).await.expect("the node reads");
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.expect("text");
    heard
}
