//! Headers of requests that are kept, and headers of answers that protect.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::json;

use super::helpers::{MOST_BODY, PAGES};
use crate::support::app::Setup;
use crate::support::client::{Answer, PASSWORD};
use crate::support::operations::each;
use crate::support::paths::{CODES, ME, VALIDATE};
use crate::support::{log, raw};

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
