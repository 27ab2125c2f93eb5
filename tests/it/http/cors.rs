//! Pages of other origins in a browser: what they may ask and read, by the headers and in Chromium.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::browser::{Browser, Screen};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::oauth::register;
use crate::support::paths::ME;
use crate::support::raw;

const ORIGINS: &str = "REFERRAL_HTTP_CORS_ORIGINS";
const LISTED: &str = "https://app.example.com";
const SECOND: &str = "http://127.0.0.1:5173";

const PUBLIC: [&str; 4] = [
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/openapi.json",
];

const PAGES: [&str; 9] = [
    "/",
    "/docs",
    "/docs/assets/auth.css",
    "/problems",
    "/problems/not_found",
    "/oauth/apps",
    "/oauth/register",
    "/oauth/authorize?client_id=docs",
    "/oauth/callback/nobody",
];

/// Asks before a page's request, as browsers do.
fn preflight(client: &Client, path: &str, origin: &str) -> RequestBuilder {
    client
        .anonymous()
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-of-a-library")
}

fn from(client: &Client, method: Method, path: &str, origin: &str) -> RequestBuilder {
    client.request(method, path).header("origin", origin)
}

/// What is no answer of the API, so not as the document has it.
async fn page(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("a text") }
}

fn varies(answer: &Answer) -> bool {
    answer.headers.get_all("vary").iter().any(|value| value == "origin")
}

/// This origin may read it, all of its headers too, and caches know that others may not.
#[track_caller]
fn is_for(answer: &Answer, origin: &str, what: &str) {
    let told: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
    assert_eq!(told, [origin], "{what}: {answer:?}");
    assert_eq!(answer.header("access-control-expose-headers"), "*", "{what}");
    assert_eq!(answer.header("access-control-allow-credentials"), "", "{what}");
    assert_eq!(varies(answer), origin != "*", "{what}: {answer:?}");
}

#[track_caller]
fn is_for_nobody(answer: &Answer, what: &str) {
    let told = answer.headers.keys().find(|name| name.as_str().starts_with("access-control"));
    assert!(told.is_none(), "{what}: {answer:?}");
}

async fn every_operation(client: &Client) -> Vec<(Method, String)> {
    let document = client.get("/openapi.json").await.expect(200).json();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            all.push((method.to_uppercase().parse().expect("a method"), path.replace(['{', '}'], "")));
        }
    }
    assert!(all.len() > 25, "{all:?}");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_is_open_to_the_origins_in_the_settings_and_to_no_others() {
    let test = Setup::Sqlite.start_with(&[(ORIGINS, &format!("{LISTED},{SECOND}"))]).await;
    let client = test.client();
    for (method, path) in every_operation(&client).await {
        if PUBLIC.contains(&path.as_str()) {
            continue;
        }
        let what = format!("{method} {path}");
        for origin in [LISTED, SECOND] {
            let answer = client.send(preflight(&client, &path, origin)).await.expect(204);
            is_for(&answer, origin, &what);
            let methods = answer.header("access-control-allow-methods");
            assert!(methods.split(", ").any(|known| known == method.as_str()), "{what}: {methods}");
            // Browsers do not take the asterisk for this one.
            assert_eq!(answer.header("access-control-allow-headers"), "*, authorization");
            assert_eq!(answer.header("access-control-max-age"), "7200");
            is_for(&client.send(from(&client, method.clone(), &path, origin)).await, origin, &what);
        }
        for origin in ["https://evil.example.com", "https://app.example.com.evil.com", "null", "", "*"] {
            let answer = client.send(preflight(&client, &path, origin)).await.expect(405);
            is_for_nobody(&answer, &what);
            assert!(varies(&answer), "{what}");
            let answer = client.send(from(&client, method.clone(), &path, origin)).await;
            is_for_nobody(&answer, &what);
            assert!(varies(&answer), "{what}: a cache must not give this to another origin");
        }
        // Nor this, which nobody's page has asked for.
        let answer = client.send(client.request(method.clone(), &path)).await;
        is_for_nobody(&answer, &what);
        assert!(varies(&answer), "{what}");
        // OPTIONS that asks nothing is what it was.
        let plain = client.anonymous().request(Method::OPTIONS, &path).header("origin", LISTED);
        is_for(&client.send(plain).await.expect(405), LISTED, &what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_public_is_open_to_all_and_pages_are_open_to_nobody() {
    for origins in ["", LISTED] {
        let test = Setup::Sqlite.start_with(&[(ORIGINS, origins)]).await;
        let client = test.client();
        for path in PUBLIC {
            for origin in [LISTED, "https://anybody.example.com"] {
                is_for(&client.send(from(&client, Method::GET, path, origin)).await.expect(200), "*", path);
                is_for(&client.send(preflight(&client, path, origin)).await.expect(204), "*", path);
            }
            is_for(&client.get(path).await.expect(200), "*", path);
            is_for(&client.delete(path).await.expect(405), "*", path);
        }
        for path in PAGES {
            is_for_nobody(&page(from(&client, Method::GET, path, LISTED)).await, path);
            let answer = page(preflight(&client, path, LISTED)).await;
            assert_eq!(answer.status, 405, "{path}: {answer:?}");
            is_for_nobody(&answer, path);
        }
    }
}

/// What a page cannot read looks to it like a network that is down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_can_be_read_like_answers_whoever_gives_them() {
    let settings = [(ORIGINS, LISTED), ("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_LOGINS_PER_ADDRESS", "3")];
    let mut test = Setup::Sqlite.start_with(&settings).await;
    let user = test.user("user").await;
    let send = async |request: RequestBuilder, status: u16| {
        let answer = user.send(request.header("origin", LISTED)).await.expect(status);
        is_for(&answer, LISTED, &format!("{answer:?}"));
        answer
    };
    let ask = |method: Method, path: &str| user.request(method, path);
    let stranger = || user.anonymous().request(Method::GET, ME);
    let body =
        |text: &str, kind: &str| ask(Method::POST, "/api/v1/codes").header("content-type", kind).body(text.to_owned());
    assert!(!send(stranger(), 401).await.header("www-authenticate").is_empty());
    send(stranger().bearer_auth("x"), 401).await;
    send(ask(Method::GET, "/api/v1/clients"), 403).await;
    send(ask(Method::GET, "/nowhere"), 404).await;
    send(ask(Method::GET, "/api/v1/nowhere"), 404).await;
    assert!(!send(ask(Method::PUT, ME), 405).await.header("allow").is_empty());
    send(body("{", "application/json"), 422).await;
    send(body("{}", "text/plain"), 415).await;
    send(body(&" ".repeat(100_000), "application/json"), 413).await;
    send(ask(Method::GET, &format!("/api/{}", "a".repeat(9000))), 414).await;
    let code = r#"{"code": "SPRING2030AB", "expires_at": "2099-01-01"}"#;
    send(body(code, "application/json"), 201).await;
    send(body(code, "application/json"), 409).await;
    // What the guard refuses before anything is asked.
    let twice = [("Host", "another.test"), ("Origin", LISTED)];
    let answer = raw::ask(&user.base, "GET", ME, &twice, b"").await.expect_problem(400, "malformed_request");
    is_for(&answer, LISTED, "two hosts");
    let log_in = || {
        let body = json!({"username": "nobody", "password": PASSWORD}).to_string();
        user.anonymous()
            .request(Method::POST, "/api/v1/auth/token")
            .header("content-type", "application/json")
            .body(body)
    };
    for status in [401, 401] {
        send(log_in(), status).await;
    }
    assert!(!send(log_in(), 429).await.header("retry-after").is_empty());
    // What has waited too long.
    test.add_node_with(&[("REFERRAL_HTTP_REQUEST_SECONDS", "1")]).await;
    let user = user.at(&test.nodes[1].url);
    let other = rusqlite::Connection::open(test.database_url.trim_start_matches("sqlite:")).expect("the file");
    other.execute_batch("begin immediate").expect("the lock");
    let held = user.request(Method::POST, "/api/v1/codes?replace=true").header("content-type", "application/json");
    let answer = user.send(held.header("origin", LISTED).body(r#"{"expires_at": "2099-01-01"}"#)).await.expect(503);
    is_for(&answer, LISTED, "held up");
    assert!(!answer.header("retry-after").is_empty());
    other.execute_batch("commit").expect("the end of the lock");
}

// ------------------------------------------------------------------------------------------------------ in a browser

/// A program without a server: it logs somebody in, calls the API, refreshes and ends its tokens, and notes in `said`
/// what came of each call: the status and what it could read, or that the browser has refused.
const PROGRAM: &str = r#"<!doctype html><title>Program</title><link rel="icon" href="data:,">
<button onclick="begin()">Log in</button><script>
const service = "SERVICE", client_id = "CLIENT", redirect_uri = location.origin + "/back";
const base64url = bytes =>
    btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
async function begin() {
    sessionStorage.verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(sessionStorage.verifier));
    const metadata = await (await fetch(service + "/.well-known/openid-configuration")).json();
    location = metadata.authorization_endpoint + "?" + new URLSearchParams({
        client_id, redirect_uri, response_type: "code", scope: "openid profile codes:write account", state: "s",
        code_challenge: base64url(digest), code_challenge_method: "S256",
    });
}
async function call(path, init) {
    try {
        const response = await fetch(service + path, init);
        const text = await response.text();
        return {
            status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text,
            id: response.headers.get("x-request-id"), how: response.headers.get("www-authenticate"),
        };
    } catch (error) {
        return {refused: error.name};
    }
}
async function end(code) {
    const post = (path, fields) =>
        call(path, {method: "POST", body: new URLSearchParams({client_id, ...fields})});
    const bearer = tokens => ({authorization: "Bearer " + (tokens.body?.access_token ?? "none")});
    const said = {};
    said.keys = await call("/.well-known/jwks.json");
    said.document = await call("/openapi.json");
    said.token = await post("/oauth/token", {
        grant_type: "authorization_code", code, redirect_uri, code_verifier: sessionStorage.verifier,
    });
    said.me = await call("/api/v1/me", {headers: bearer(said.token)});
    const make = {
        method: "POST", headers: {...bearer(said.token), "content-type": "application/json", "x-of-a-library": "1"},
        body: JSON.stringify({code: "SPRING2030AB", expires_at: "2099-01-01"}),
    };
    said.made = await call("/api/v1/codes", make);
    said.conflict = await call("/api/v1/codes", make);
    said.person = await call("/oauth/userinfo", {headers: bearer(said.token)});
    said.refreshed = await post("/oauth/token", {
        grant_type: "refresh_token", refresh_token: said.token.body?.refresh_token ?? "none",
    });
    said.revoked = await post("/oauth/revoke", {token: said.refreshed.body?.refresh_token ?? "none"});
    said.over = await call("/api/v1/me", {headers: bearer(said.refreshed)});
    said.with_cookies = await call("/api/v1/me", {credentials: "include"});
    said.page = await call("/oauth/apps");
    window.said = said;
}
const code = new URLSearchParams(location.search).get("code");
if (code) end(code);
</script>"#;

/// Lets somebody log in at a program of this origin, and tells what its page could do.
async fn run(browser: &Browser, origin: &str) -> Value {
    browser.client.goto(origin).await.expect("the program");
    browser.click("button").await;
    let logged_in = browser.client.find(fantoccini::Locator::Css("[name=password]"));
    eventually("our page is there", || async {
        let form = fantoccini::Locator::Css("form[action='/oauth/login'], form[action='/oauth/consent']");
        browser.client.find(form).await.is_ok()
    })
    .await;
    if logged_in.await.is_ok() {
        browser.write("[name=username]", "olga").await;
        browser.write("[name=password]", PASSWORD).await;
        browser.click("form[action='/oauth/login'] button").await;
    }
    browser.click("button[value=allow]").await;
    browser.arrives_at(&format!("{origin}/back")).await;
    eventually("the program has done its work", || async { !browser.ask("window.said").await.is_null() }).await;
    browser.ask("window.said").await
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    (listener, origin)
}

fn serve(test: &TestApp, listener: TcpListener, client_id: &str) {
    let page = PROGRAM.replace("SERVICE", &test.nodes[0].url).replace("CLIENT", client_id);
    let page = get(move || async move { Html(page) });
    let router = Router::new().route("/", page.clone()).route("/back", page);
    tokio::spawn(async move { axum::serve(listener, router).await });
}

/// The second origin is the negative control of the first, and the other way round: one page, one client, two origins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_in_a_browser_works_from_a_listed_origin_and_from_no_other() {
    let ((first, listed), (second, other)) = (listen().await, listen().await);
    let test = Setup::Sqlite.start_with(&[(ORIGINS, &listed), ("REFERRAL_PUBLIC_URL", "")]).await;
    // A loopback address means any port.
    let change = json!({
        "name": "Program", "confidential": false, "redirect_uris": ["http://127.0.0.1/back"],
        "scope": "openid profile codes:write account",
    });
    let client = register(&test.manager("manager").await, change).await;
    test.client().register("olga", None).await.expect(201);
    serve(&test, first, &client.id);
    serve(&test, second, &client.id);
    let browser = Browser::open(&test.nodes[0].url, Screen::Desk).await;

    let refused = json!({"refused": "TypeError"});
    let said = run(&browser, &other).await;
    for (name, came) in said.as_object().expect("what was said") {
        if ["keys", "document"].contains(&name.as_str()) {
            assert_eq!(came["status"], 200, "{name}: {came}");
        } else {
            assert_eq!(*came, refused, "{name}");
        }
    }
    assert_eq!(test.number("select count(*) from codes").await, 0);

    let said = run(&browser, &listed).await;
    for (name, status) in [
        ("keys", 200),
        ("document", 200),
        ("token", 200),
        ("me", 200),
        ("made", 201),
        ("conflict", 409),
        ("person", 200),
        ("refreshed", 200),
        ("revoked", 200),
        ("over", 401),
    ] {
        assert_eq!(said[name]["status"], status, "{name}: {}", said[name]);
        assert!(said[name]["id"].is_string(), "{name}: {}", said[name]);
    }
    assert_eq!(said["me"]["body"]["username"], "olga");
    assert_eq!(said["made"]["body"]["code"], "SPRING2030AB");
    assert!(said["over"]["how"].as_str().is_some_and(|how| how.starts_with("Bearer")), "{}", said["over"]);
    // With cookies, or of our pages, nothing.
    for name in ["with_cookies", "page"] {
        assert_eq!(said[name], refused, "{name}");
    }
    browser.close().await;
}
