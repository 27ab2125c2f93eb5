//! The documentation pages, with their own log-in, on a desk and on a phone.

use fantoccini::Locator;
use serde_json::{Value, json};

use super::helpers::open;
use crate::support::app::{Setup, eventually};
use crate::support::browser::{Browser, Screen};
use crate::support::client::PASSWORD;

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
    browser.goto("/docs").await;
    let operation = browser.find("#operations-Accounts-get_profile").await;
    assert_eq!(browser.client.current_url().await.expect("an address").path(), "/docs");
    assert_eq!(browser.client.title().await.expect("a title"), "Referral API");
    browser.screenshot("docs").await;

    // Every operation of the document is there.
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    let parts = ["paths", "webhooks"].map(|part| document[part].as_object().expect("a part").values());
    let operations: usize = parts.into_iter().flatten().map(|item| item.as_object().map_or(0, |o| o.len())).sum();
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
    for (screen, width, name) in [(Screen::Phone, 390, "docs-phone"), (Screen::Narrow, 320, "docs-narrow")] {
        let browser = open(&test, screen).await;
        browser.goto("/docs").await;
        browser.find("#operations-Accounts-get_profile").await;
        assert_eq!(browser.ask("document.documentElement.clientWidth").await, width);
        browser.fits("/docs").await;
        browser.screenshot(name).await;
        browser.click("#operations-Accounts-register_account .opblock-summary-control").await;
        browser.find("#operations-Accounts-register_account .execute").await;
        browser.fits("/docs, opened").await;
        assert_eq!(cut_off(&browser, "#swagger-ui").await, json!([]), "{name}");
        browser.ask("document.querySelector('#operations-Accounts-register_account').scrollIntoView()").await;
        browser.screenshot(&format!("{name}-opened")).await;
        browser.is_clean().await;
        browser.close().await;
    }
}

/// Cells of tables below this element that are not on the screen in all their width.
async fn cut_off(browser: &Browser, below: &str) -> Value {
    let cells = "td => { const box = td.getBoundingClientRect(); \
        return box.width && (box.left < 0 || box.right > document.documentElement.clientWidth + 1); }";
    let cells = format!("[...document.querySelectorAll('{below} td')].filter({cells}).map(td => td.innerText)");
    browser.ask(&cells).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docs_have_a_name_and_a_filter() {
    let test = Setup::Sqlite.start().await;
    let browser = open(&test, Screen::Desk).await;
    browser.goto("/docs").await;
    browser.find("#operations-Accounts-get_profile").await;
    assert_eq!(browser.find("nav strong").await.text().await.expect("a text"), "Referral API");
    assert!(browser.find("h1, h2").await.text().await.expect("a text").starts_with("Referral"));
    browser.write(".operation-filter-input", "Codes").await;
    eventually("other tags are gone", || async { browser.count("#operations-tag-Accounts").await == 0 }).await;
    assert_eq!(browser.count("#operations-tag-Codes").await, 1);
    browser.is_clean().await;
    browser.close().await;
}

/// Both documentation pages are as dark as their reader's other windows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docs_and_the_reference_are_dark_by_night() {
    let test = Setup::Sqlite.start().await;
    let browser = open(&test, Screen::Desk).await;
    for (path, ready) in [
        ("/docs", "#operations-Accounts-get_profile"),
        ("/redoc", "[data-section-id='tag/Operating/operation/check_readiness']"),
        ("/problems", "main li"),
    ] {
        // Also while the page is open.
        for (scheme, paper) in
            [("dark", "rgb(20, 24, 31)"), ("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 24, 31)")]
        {
            browser.prefer("prefers-color-scheme", scheme).await;
            if scheme == "dark" {
                browser.goto(path).await;
            }
            browser.find(ready).await;
            let background = "(() => { for (const element of [document.body, document.documentElement]) { \
                const colour = getComputedStyle(element).backgroundColor; \
                if (colour !== 'rgba(0, 0, 0, 0)') return colour; } })()";
            assert_eq!(browser.ask(background).await, json!(paper), "{path}, {scheme}");
        }
    }
    browser.prefer("prefers-color-scheme", "light").await;
    browser.goto("/redoc").await;
    for (scheme, menu) in [("dark", "rgb(28, 34, 44)"), ("light", "rgb(250, 250, 250)"), ("dark", "rgb(28, 34, 44)")] {
        browser.prefer("prefers-color-scheme", scheme).await;
        let colour = "getComputedStyle(document.querySelector('.menu-content') ?? document.body).backgroundColor";
        eventually("the reference follows", || async { browser.ask(colour).await == json!(menu) }).await;
    }
    browser.screenshot("redoc-dark").await;
    browser.is_clean().await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_renders_on_a_desk_and_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    for (screen, name) in [(Screen::Desk, "redoc"), (Screen::Phone, "redoc-phone"), (Screen::Narrow, "redoc-narrow")] {
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
        assert_eq!(cut_off(&browser, "#redoc").await, json!([]), "{name}");
        browser.screenshot(name).await;
        browser
            .ask("document.querySelector(\"[data-section-id='tag/Codes/operation/create_code']\").scrollIntoView()")
            .await;
        browser.screenshot(&format!("{name}-operation")).await;
        browser.is_clean().await;
        browser.close().await;
    }
}
