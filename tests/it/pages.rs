//! The pages, in a real browser that can reach nothing but this machine: they render, they work, they break no policy of
//! their own and ask nobody else for anything, on a desk and on a phone.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use fantoccini::elements::Element;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use referral::kernel::error::Refusal;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::servers::ChromeDriver;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a page is looked at with.
#[derive(Clone, Copy, Debug)]
enum Screen {
    Desk,
    Phone,
}

struct Browser {
    client: fantoccini::Client,
    /// The service's own.
    origin: String,
}

impl Browser {
    async fn open(test: &TestApp, screen: Screen) -> Browser {
        static DRIVER: OnceCell<ChromeDriver> = OnceCell::const_new();
        let driver = DRIVER.get_or_init(ChromeDriver::start).await;
        let mut options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1400",
            // No name is found, and no other machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]});
        if let Screen::Phone = screen {
            let metrics = json!({"width": 390, "height": 844, "pixelRatio": 2, "touch": true, "mobile": true});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().expect("an object").clone());
        let client = builder.connect(&driver.url()).await.expect("a browser");
        Browser { client, origin: test.nodes[0].url.clone() }
    }

    async fn goto(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.origin)).await.expect("the page loads");
    }

    /// The first element of this selector, once there is one.
    async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.expect("elements").len()
    }

    async fn ask(&self, script: &str) -> Value {
        self.client.execute(&format!("return {script}"), Vec::new()).await.expect("a value")
    }

    /// What the browser has logged since the last look.
    async fn log(&self, kind: &'static str) -> Vec<Value> {
        let log = self.client.issue_cmd(Log { kind }).await.expect("a log");
        log.as_array().expect("entries").clone()
    }

    /// Errors in the console and violations of a policy, since the last look.
    async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let complaint = |entry: &Value| {
            let message = entry["message"].as_str().unwrap_or_default();
            entry["level"] == "SEVERE" || entry["source"] == "security" || message.contains("Content Security Policy")
        };
        entries.iter().filter(|entry| complaint(entry)).map(Value::to_string).collect()
    }

    /// The addresses that were asked for anything since the last look, but for what a page holds in itself.
    async fn requests(&self) -> Vec<String> {
        let mut requests = Vec::new();
        for entry in self.log("performance").await {
            let message: Value = serde_json::from_str(entry["message"].as_str().expect("a message")).expect("JSON");
            if message["message"]["method"] == "Network.requestWillBeSent" {
                let url = message["message"]["params"]["request"]["url"].as_str().expect("an address");
                if !url.starts_with("data:") {
                    requests.push(url.to_owned());
                }
            }
        }
        requests
    }

    /// Nothing was complained about, and only the service was asked.
    #[track_caller]
    fn assert_clean(&self, complaints: &[String], requests: &[String]) {
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(!requests.is_empty(), "the log of requests works");
        let own = format!("{}/", self.origin);
        let foreign: Vec<_> = requests.iter().filter(|url| !url.starts_with(&own)).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }

    async fn is_clean(&self) {
        let (complaints, requests) = (self.complaints().await, self.requests().await);
        self.assert_clean(&complaints, &requests);
    }

    /// Nothing sticks out to the side, where nobody on a phone finds it. (Not `innerWidth`: a phone's browser zooms out
    /// until the widest fits, and reports that.)
    async fn fits(&self, path: &str) {
        let widths = self.ask("[document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
        assert!(widths[0].as_f64() <= widths[1].as_f64(), "{path}: {widths}");
    }

    /// For a person to look at: `target/screenshots/NAME.png`.
    async fn screenshot(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("a file");
    }

    async fn close(self) {
        self.client.close().await.expect("the browser ends");
    }
}

/// ChromeDriver's own way to read the browser's logs.
#[derive(Debug)]
struct Log {
    kind: &'static str,
}

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.kind}).to_string()))
    }
}

/// The negative control of all tests below: what they look for is seen when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violation_of_the_policy_and_a_request_to_another_host_are_seen() {
    let test = Setup::Sqlite.start().await;
    let browser = Browser::open(&test, Screen::Desk).await;
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
    let browser = Browser::open(&test, Screen::Desk).await;
    browser.goto("/").await;
    let operation = browser.find("#operations-Accounts-profile").await;
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
    browser.click("#operations-Accounts-profile .execute").await;
    let status = "#operations-Accounts-profile .live-responses-table .response-col_status";
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
    browser.click("#operations-Accounts-profile .execute").await;
    shows("200").await;
    let answer = browser.find("#operations-Accounts-profile .live-responses-table .highlight-code").await;
    let answer = answer.text().await.expect("a text");
    assert!(answer.contains("\"username\": \"owner\""), "{answer}");
    browser.ask("document.querySelector('#operations-Accounts-profile .live-responses-table').scrollIntoView()").await;
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
    let browser = Browser::open(&test, Screen::Phone).await;
    browser.goto("/docs").await;
    browser.find("#operations-Accounts-profile").await;
    assert_eq!(browser.ask("document.documentElement.clientWidth").await, 390);
    browser.fits("/docs").await;
    browser.screenshot("docs-phone").await;
    browser.click("#operations-Accounts-register .opblock-summary-control").await;
    browser.find("#operations-Accounts-register .execute").await;
    browser.fits("/docs, opened").await;
    browser.ask("document.querySelector('#operations-Accounts-register').scrollIntoView()").await;
    browser.screenshot("docs-phone-opened").await;
    browser.is_clean().await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_renders_on_a_desk_and_on_a_phone() {
    let test = Setup::Sqlite.start().await;
    for (screen, name) in [(Screen::Desk, "redoc"), (Screen::Phone, "redoc-phone")] {
        let browser = Browser::open(&test, screen).await;
        browser.goto("/redoc").await;
        // The last operation, so all of them.
        browser.find("[data-section-id='tag/Operating/operation/readyz']").await;
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
        let browser = Browser::open(&test, screen).await;
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
