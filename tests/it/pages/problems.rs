//! A page for each problem, and who is refused by a page.

use std::collections::HashSet;

use fantoccini::Locator;
use referral::kernel::error::Refusal;
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap};
use serde_json::{Value, json};

use super::helpers::open;
use crate::support::app::{Setup, TestApp};
use crate::support::browser::Screen;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_has_a_page_on_a_desk_and_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    let mut titles = HashSet::new();
    for (screen, name) in
        [(Screen::Desk, "problem"), (Screen::Phone, "problem-phone"), (Screen::Narrow, "problem-narrow")]
    {
        let browser = open(&test, screen).await;
        browser.goto("/problems").await;
        assert_eq!(browser.client.title().await.expect("a title"), "Problems");
        let mut linked = Vec::new();
        for link in browser.client.find_all(Locator::Css("main li a")).await.expect("links") {
            linked.push(link.attr("href").await.expect("an attribute").expect("an address"));
        }
        let words: Vec<String> = Refusal::ALL.iter().map(|refusal| format!("/problems/{}", refusal.word())).collect();
        assert_eq!(linked, words);
        browser.fits("/problems").await;
        browser.keeps_words_whole("/problems").await;
        browser.screenshot(&format!("{name}s")).await;
        browser.is_clean().await;
        for refusal in Refusal::ALL {
            let path = format!("/problems/{}", refusal.word());
            test.client().get(&path).await.expect(200);
            browser.goto(&path).await;
            assert_eq!(browser.client.title().await.expect("a title"), refusal.sentence(), "{path}");
            let text = browser.find("main").await.text().await.expect("a text");
            assert!(text.contains(refusal.word()), "{path}: {text}");
            // The sentence, the status with the word, and then what to do about it.
            let explained = browser.client.find_all(Locator::Css("main > p")).await.expect("paragraphs");
            assert!(explained.len() >= 2, "{path}: {text}");
            assert!(!explained[1].text().await.expect("a text").is_empty(), "{path}: {text}");
            assert!(!text.contains('`'), "{path}: {text}");
            browser.fits(&path).await;
            browser.keeps_words_whole(&path).await;
            titles.insert(text);
        }
        browser.screenshot(name).await;
        browser.is_clean().await;
        browser.close().await;
    }
    assert!(titles.len() >= Refusal::ALL.len(), "each says something else");
    test.client().get("/problems/no_such_word").await.expect_problem(404, "not_found");
}

/// Who is refused gets the address of such a page.
#[tokio::test]
async fn the_type_of_a_problem_is_the_address_of_its_page() {
    let test = Setup::Sqlite.start().await;
    let refused = test.client().get("/api/v1/me").await.expect(401).json();
    let page = test.client().get(refused["type"].as_str().expect("an address")).await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.contains(refused["detail"].as_str().expect("a sentence")));
}

/// What a browser says when somebody follows a link.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

struct Told {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Told {
    fn header(&self, name: &str) -> String {
        let values: Vec<&str> = self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
        values.join(", ")
    }
}

async fn ask(test: &TestApp, method: Method, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Told {
    let mut request = test.client().request(method, path).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Told { status, headers, text: response.text().await.expect("a body") }
}

/// Where a person may get to with a browser, and what is refused there.
fn refusals() -> Vec<(Method, String, u16, &'static str)> {
    let (get, post) = (Method::GET, Method::POST);
    vec![
        (get.clone(), "/no/such/page".to_owned(), 404, "not_found"),
        (get.clone(), "/api/v1/nothing".to_owned(), 404, "not_found"),
        (get.clone(), "/problems/no_such_word".to_owned(), 404, "not_found"),
        (get.clone(), "/docs/assets/nothing.js".to_owned(), 404, "not_found"),
        (post.clone(), "/docs".to_owned(), 405, "method_not_allowed"),
        (get.clone(), "/oauth/login".to_owned(), 405, "method_not_allowed"),
        (get.clone(), "/api/v1/auth/token".to_owned(), 405, "method_not_allowed"),
        (post, "/oauth/login".to_owned(), 415, "unsupported_media_type"),
        (get, format!("/oauth/authorize?{}", "a".repeat(9000)), 414, "uri_too_long"),
    ]
}

#[tokio::test]
async fn who_asks_for_a_page_is_refused_by_a_page_and_a_program_by_json() {
    let test = Setup::Sqlite.start().await;
    for (method, path, status, code) in refusals() {
        let place = format!("{method} {path:.40}");
        let kind = (CONTENT_TYPE.as_str(), "text/plain");
        for (language, lang) in [("en", "en"), ("ru-RU,ru;q=0.9", "ru")] {
            let headers = [(ACCEPT.as_str(), BROWSER), (ACCEPT_LANGUAGE.as_str(), language), kind];
            let told = ask(&test, method.clone(), &path, &headers, b"x".to_vec()).await;
            assert_eq!(told.status, status, "{place}");
            assert_eq!(told.header("content-type"), "text/html; charset=utf-8", "{place}");
            assert_eq!(told.header("vary"), "accept-language, accept", "{place}");
            assert_eq!(told.header("content-language"), lang, "{place}");
            assert_eq!(told.header("cache-control"), "no-store", "{place}");
            assert_eq!(told.header("x-content-type-options"), "nosniff", "{place}");
            assert_eq!(told.header("referrer-policy"), "no-referrer", "{place}");
            let policy = told.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self';"), "{place}: {policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{place}: {policy}");
            assert_eq!(told.header("allow").is_empty(), status != 405, "{place}: {}", told.header("allow"));
            assert!(told.text.contains(&format!("<html lang=\"{lang}\">")), "{place}: {}", told.text);
            assert!(told.text.contains("href=\"/share\""), "{place} leads on: {}", told.text);
            assert!(told.text.contains(&format!("href=\"/problems/{code}\"")), "{place}: {}", told.text);
            assert!(told.text.contains(&told.header("x-request-id")), "{place}: {}", told.text);
        }
        for accept in ["*/*", "application/json", "application/problem+json", "text/html;q=0.5, application/json", ""] {
            let told = ask(&test, method.clone(), &path, &[(ACCEPT.as_str(), accept), kind], b"x".to_vec()).await;
            assert_eq!(told.header("content-type"), "application/problem+json", "{place}, {accept:?}");
            assert_eq!(told.header("vary"), "accept", "{place}, {accept:?}");
            let body: Value = serde_json::from_str(&told.text).expect("JSON");
            let title = reqwest::StatusCode::from_u16(status).expect("a status").canonical_reason();
            let refusal = Refusal::ALL.iter().find(|refusal| refusal.word() == code).expect("a refusal");
            // The members in this order, as they have always been.
            let expected = format!(
                "{{\"type\":\"/problems/{code}\",\"title\":{},\"status\":{status},\"detail\":{},\"code\":\"{code}\",\
                 \"instance\":{}}}",
                json!(title),
                json!(refusal.sentence()),
                body["instance"]
            );
            assert_eq!(told.text, expected, "{place}, {accept:?}");
        }
        if method == Method::GET {
            let told = ask(&test, Method::HEAD, &path, &[(ACCEPT.as_str(), BROWSER)], Vec::new()).await;
            assert_eq!((told.status, told.text.as_str()), (status, ""), "HEAD {path:.40}");
            assert_eq!(told.header("content-type"), "text/html; charset=utf-8", "HEAD {path:.40}");
        }
    }
}

/// The document promises JSON, and programs whose library accepts anything get it.
#[tokio::test]
async fn operations_answer_as_the_document_says_whatever_is_accepted() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    for (path, status) in [("/api/v1/me", 401), ("/api/v1/users/nobody", 401), ("/oauth/userinfo", 401)] {
        let request = user.anonymous().request(Method::GET, path).header(ACCEPT, BROWSER);
        user.send(request).await.expect(status);
    }
    let asked = user.request(Method::GET, "/api/v1/codes/nobody@example.com").header(ACCEPT, BROWSER);
    user.send(asked).await.expect_problem(404, "no_active_code");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_is_lost_sees_a_page_that_leads_on() {
    let test = Setup::Sqlite.start().await;
    for (screen, name) in
        [(Screen::Desk, "refusal"), (Screen::Phone, "refusal-phone"), (Screen::Narrow, "refusal-narrow")]
    {
        let browser = open(&test, screen).await;
        for path in ["/no/such/page", "/api/v1/auth/token"] {
            browser.goto(path).await;
            browser.find("main a.button").await;
            browser.fits(path).await;
            browser.keeps_words_whole(path).await;
        }
        browser.screenshot(name).await;
        browser.click("main a.button").await;
        browser.find("form[action='/oauth/login']").await;
        browser.close().await;
    }
}
