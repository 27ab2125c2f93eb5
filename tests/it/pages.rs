//! The pages, in a real browser that can reach nothing but this machine: they render, they work, they break no policy of
//! their own and ask nobody else for anything, on a desk and on a phone.

use std::collections::HashSet;

use fantoccini::Locator;
use referral::kernel::error::Refusal;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::browser::{Browser, Screen};
use crate::support::client::PASSWORD;

async fn open(test: &TestApp, screen: Screen) -> Browser {
    Browser::open(&test.nodes[0].url, screen).await
}

/// The negative control of all tests below: what they look for is seen when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violation_of_the_policy_and_a_request_to_another_host_are_seen() {
    let test = Setup::Sqlite.start().await;
    let browser = open(&test, Screen::Desk).await;
    browser.goto("/problems").await;
    browser.is_clean().await;
    browser.ask("document.body.setAttribute('style', 'color: red')").await;
    eventually("the style is complained about", || async { !browser.complaints().await.is_empty() }).await;
    browser.ask("fetch('http://127.0.0.1:1/').catch(() => null)").await;
    eventually("the request is complained about", || async { !browser.complaints().await.is_empty() }).await;
    browser.ask("console.error('as the test wants it')").await;
    eventually("the error is seen", || async { !browser.complaints().await.is_empty() }).await;
    // An address typed by a person is no matter of the page's policy, but it is a request.
    let _ = browser.client.goto("http://127.0.0.1:1/").await;
    eventually("it is seen", || async {
        browser.requests().await.iter().any(|url| url.starts_with("http://127.0.0.1:1/"))
    })
    .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docs_let_one_log_in_and_try_a_call_out() {
    let test = Setup::Sqlite.start().await;
    test.client().register("owner", None).await.expect(201);
    let browser = open(&test, Screen::Desk).await;
    browser.goto("/").await;
    let operation = browser.find("#operations-Accounts-get_profile").await;
    assert_eq!(browser.client.current_url().await.expect("an address").path(), "/docs");
    assert_eq!(browser.client.title().await.expect("a title"), "Referral API");
    browser.screenshot("docs").await;

    // Every operation of the document is there.
    let document = serde_json::to_value(referral::web::router::document()).expect("JSON");
    let operations: usize = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .map(|item| item.as_object().map_or(0, |o| o.len()))
        .sum();
    assert_eq!(browser.count(".opblock").await, operations);

    // Without a token it is refused, and the page shows it.
    operation.find(Locator::Css(".opblock-summary-control")).await.expect("a button").click().await.expect("it opens");
    browser.click("#operations-Accounts-get_profile .execute").await;
    let status = "#operations-Accounts-get_profile .live-responses-table .response-col_status";
    let shows = async |expected: &str| {
        eventually(&format!("{expected} is shown"), || async {
            let found = browser.client.find_all(Locator::Css(status)).await.expect("elements");
            match found.last() {
                // It may be drawn anew while it is looked at.
                Some(element) => element.text().await.is_ok_and(|text| text.starts_with(expected)),
                None => false,
            }
        })
        .await;
    };
    shows("401").await;
    // The browser itself logs each answer of 4xx.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|text| text.contains("401 (Unauthorized)")), "{complaints:#?}");

    browser.click(".auth-wrapper .btn.authorize").await;
    browser.find("#oauth_username").await.send_keys("owner").await.expect("typed");
    browser.find("#oauth_password").await.send_keys(PASSWORD).await.expect("typed");
    browser.screenshot("docs-authorize").await;
    browser.click(".modal-ux .auth-container:has(#oauth_username) .authorize").await;
    // A button to log out takes its place.
    eventually("it is logged in", || async {
        let said = browser.ask("document.querySelector('.modal-ux').innerText").await;
        said.as_str().is_some_and(|text| text.contains("Logout"))
    })
    .await;
    browser.screenshot("docs-authorized").await;
    browser.click(".modal-ux .btn-done").await;
    browser.click("#operations-Accounts-get_profile .execute").await;
    shows("200").await;
    let answer = browser.find("#operations-Accounts-get_profile .live-responses-table .highlight-code").await;
    let answer = answer.text().await.expect("a text");
    assert!(answer.contains("\"username\": \"owner\""), "{answer}");
    browser
        .ask("document.querySelector('#operations-Accounts-get_profile .live-responses-table').scrollIntoView()")
        .await;
    browser.screenshot("docs-tried").await;

    let requests = browser.requests().await;
    browser.assert_clean(&browser.complaints().await, &requests);
    for path in ["/openapi.json", "/api/v1/auth/token", "/api/v1/me", "/docs/assets/swagger-ui-bundle.js"] {
        assert!(requests.iter().any(|url| *url == format!("{}{path}", browser.origin)), "{path}: {requests:?}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docs_fit_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    let browser = open(&test, Screen::Phone).await;
    browser.goto("/docs").await;
    browser.find("#operations-Accounts-get_profile").await;
    assert_eq!(browser.ask("document.documentElement.clientWidth").await, 390);
    browser.fits("/docs").await;
    browser.screenshot("docs-phone").await;
    browser.click("#operations-Accounts-register_account .opblock-summary-control").await;
    browser.find("#operations-Accounts-register_account .execute").await;
    browser.fits("/docs, opened").await;
    browser.ask("document.querySelector('#operations-Accounts-register_account').scrollIntoView()").await;
    browser.screenshot("docs-phone-opened").await;
    browser.is_clean().await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_renders_on_a_desk_and_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    for (screen, name) in [(Screen::Desk, "redoc"), (Screen::Phone, "redoc-phone")] {
        let browser = open(&test, screen).await;
        browser.goto("/redoc").await;
        // The last operation, so all of them.
        browser.find("[data-section-id='tag/Operating/operation/check_readiness']").await;
        assert_eq!(browser.client.title().await.expect("a title"), "Referral API reference");
        let text = browser.find("#redoc").await.text().await.expect("a text");
        for expected in ["Find somebody's active code by e-mail", "List whom a referrer brought", "Times are UTC"] {
            assert!(text.contains(expected), "{expected}");
        }
        browser.fits("/redoc").await;
        browser.screenshot(name).await;
        browser
            .ask("document.querySelector(\"[data-section-id='tag/Codes/operation/create_code']\").scrollIntoView()")
            .await;
        browser.screenshot(&format!("{name}-operation")).await;
        browser.is_clean().await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_has_a_page_on_a_desk_and_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    let mut titles = HashSet::new();
    for (screen, name) in [(Screen::Desk, "problem"), (Screen::Phone, "problem-phone")] {
        let browser = open(&test, screen).await;
        browser.goto("/problems").await;
        assert_eq!(browser.client.title().await.expect("a title"), "Problems");
        let mut linked = Vec::new();
        for link in browser.client.find_all(Locator::Css("main td a")).await.expect("links") {
            linked.push(link.attr("href").await.expect("an attribute").expect("an address"));
        }
        let words: Vec<String> = Refusal::ALL.iter().map(|refusal| format!("/problems/{}", refusal.word())).collect();
        assert_eq!(linked, words);
        browser.fits("/problems").await;
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
