//! Whole journeys in a real browser: from a program's button to its code and back out again, with scripts switched off,
//! and from the documentation page to a call that it makes.

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::browser::{Browser, Habits, Screen};
use crate::support::client::{Answer, PASSWORD};
use crate::support::oauth::{Registered, VERIFIER, bearer, challenge, form, register, text};

const SCOPES: &str = "openid email profile account codes:read codes:write referrals:read admin";
/// It would run if anything did.
const SCRIPTED: &str = "<!doctype html><title>still</title><script>document.title = 'ran'</script><h1>Scripted</h1>";

/// A small program of somebody's, with a button to log in and a page to come back to.
struct Shop {
    origin: String,
    client: Registered,
}

impl Shop {
    async fn open(test: &TestApp) -> Shop {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let change = json!({"name": "Bookshop", "redirect_uris": [format!("{origin}/callback")], "scope": SCOPES});
        let client = register(&test.manager("manager").await, change).await;
        let shop = Shop { origin, client };
        let front = format!(
            "<!doctype html><title>Bookshop</title><a href=\"{}\">Log in</a>",
            shop.request().replace('&', "&amp;")
        );
        let page = |text: String| get(move || async move { Html(text) });
        let router = Router::new()
            .route("/", page(front))
            .route("/scripted", page(SCRIPTED.to_owned()))
            .route("/callback", page("<!doctype html><title>Back</title><h1>Welcome to the bookshop</h1>".to_owned()));
        tokio::spawn(async move { axum::serve(listener, router).await });
        shop
    }

    fn callback(&self) -> String {
        format!("{}/callback", self.origin)
    }

    fn request(&self) -> String {
        let fields = [
            ("client_id", self.client.id.as_str()),
            ("redirect_uri", &self.callback()),
            ("response_type", "code"),
            ("scope", SCOPES),
            ("state", "a state & more"),
            ("code_challenge", &challenge(VERIFIER)),
            ("code_challenge_method", "S256"),
        ];
        format!("{}/oauth/authorize?{}", self.client.base, form(&fields))
    }

    /// What comes of the address that the browser has been sent back to.
    async fn exchange(&self, back: &reqwest::Url) -> Answer {
        let sent =
            |name: &str| back.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        assert_eq!(sent("state").as_deref(), Some("a state & more"));
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", &sent("code").expect("a code")),
            ("redirect_uri", &self.callback()),
            ("code_verifier", VERIFIER),
        ];
        self.client.call("/oauth/token", &fields).await
    }

    /// Nothing was complained about, and nobody else was asked.
    async fn is_clean(&self, browser: &Browser) {
        // The browser itself logs each answer of 4xx, and wants an icon of everybody.
        let mut complaints = browser.complaints().await;
        complaints.retain(|text| {
            !text.contains("422 (Unprocessable") && !text.contains(&format!("{}/favicon.ico", self.origin))
        });
        let mut requests = browser.requests().await;
        requests.retain(|url| !url.starts_with(&self.origin));
        browser.assert_clean(&complaints, &requests);
    }
}

async fn heading(browser: &Browser) -> String {
    browser.find("h1").await.text().await.expect("a text")
}

/// The negative control of the journeys below: a script would run, and does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_run_unless_they_are_switched_off() {
    let test = Setup::Sqlite.start().await;
    let shop = Shop::open(&test).await;
    for (script, expected) in [(true, "ran"), (false, "still")] {
        let browser = Browser::open_as(&shop.origin, Habits { screen: Screen::Desk, script, language: "en" }).await;
        browser.goto("/scripted").await;
        assert_eq!(heading(&browser).await, "Scripted");
        assert_eq!(browser.client.title().await.expect("a title"), expected);
        browser.close().await;
    }
}

/// Through all pages with a mouse or a finger: a wrong password, the right one, consent, the way back, the list of
/// programs, withdrawal, log-out.
async fn travel(habits: Habits, name: &str) {
    let test = Setup::Sqlite.start().await;
    let shop = Shop::open(&test).await;
    test.client().register("olga", None).await.expect(201);
    let browser = Browser::open_as(&test.nodes[0].url, habits).await;
    let picture = async |page: &str| {
        browser.fits(page).await;
        browser.screenshot(&format!("journey/{page}.{name}")).await;
    };

    browser.client.goto(&shop.origin).await.expect("the shop");
    browser.click("a").await;
    browser.find("form[action='/oauth/login']").await;
    let words = browser.find("html").await.attr("lang").await.expect("an attribute");
    assert_eq!(words.as_deref(), Some(habits.language));
    picture("login").await;
    browser.write("[name=username]", "olga").await;
    browser.write("[name=password]", "not the password").await;
    browser.click("form[action='/oauth/login'] button").await;
    browser.find("[role=alert]").await;
    // What was typed is still there, but for the password.
    let field = browser.find("[name=username]").await;
    assert_eq!(field.prop("value").await.expect("a property").as_deref(), Some("olga"));
    picture("login-wrong").await;
    browser.write("[name=password]", PASSWORD).await;
    browser.click("form[action='/oauth/login'] button").await;
    browser.find("form[action='/oauth/consent']").await;
    assert!(heading(&browser).await.contains("Bookshop"));
    picture("consent").await;
    browser.click("button[value=allow]").await;
    let back = browser.arrives_at(&shop.callback()).await;
    assert_eq!(heading(&browser).await, "Welcome to the bookshop");
    let tokens: Value = shop.exchange(&back).await.expect(200).json();
    assert_eq!(text(&tokens, "scope"), SCOPES);
    let program = bearer(&test.nodes[0].url, &tokens);
    program.get("/api/v1/me").await.expect(200);

    // Whoever says no comes back as well.
    browser.client.goto(&shop.request()).await.expect("the request");
    browser.click("button[value=deny]").await;
    let back = browser.arrives_at(&shop.callback()).await;
    assert!(back.query_pairs().any(|pair| pair == ("error".into(), "access_denied".into())), "{back}");

    browser.goto("/oauth/apps").await;
    picture("apps").await;
    browser.click("form[action='/oauth/apps'] button").await;
    browser.find("[role=status]").await;
    picture("apps-withdrawn").await;
    program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    browser.click("form[action='/oauth/logout'] button").await;
    eventually("one is logged out", || async { browser.count("form").await == 0 }).await;
    picture("logged-out").await;
    browser.goto("/oauth/apps").await;
    browser.find("form[action='/oauth/login']").await;
    shop.is_clean(&browser).await;

    // A new account, and what one gets to see where a program has made a mistake.
    browser.goto("/oauth/register").await;
    picture("register").await;
    browser.is_clean().await;
    let mistaken = shop.request().replace("callback", "elsewhere");
    browser.client.goto(&mistaken).await.expect("a page");
    assert_eq!(browser.count("form").await, 0);
    picture("error").await;
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|text| text.contains("400 (Bad Request)")), "{complaints:#?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_allows_a_program_and_withdraws_it_without_scripts_on_a_desk() {
    travel(Habits { screen: Screen::Desk, script: false, language: "en" }, "desk").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_allows_a_program_and_withdraws_it_without_scripts_on_a_phone() {
    travel(Habits { screen: Screen::Phone, script: false, language: "ru" }, "phone").await;
}

/// Without a mouse, and in the order that the keyboard goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_allows_a_program_and_withdraws_it_with_the_keyboard_alone() {
    let test = Setup::Sqlite.start().await;
    let shop = Shop::open(&test).await;
    let habits = Habits { screen: Screen::Desk, script: false, language: "en" };
    let browser = Browser::open_as(&test.nodes[0].url, habits).await;
    browser.client.goto(&shop.origin).await.expect("the shop");
    browser.press(Key::Tab).await;
    browser.press(Key::Enter).await;
    // There is no account yet.
    browser.find("form[action='/oauth/login']").await;
    let link = browser.find("a[href^='/oauth/register']").await.attr("href").await.expect("an attribute");
    browser.tab_to("href", &link.expect("an address")).await;
    browser.press(Key::Enter).await;
    browser.find("form[action='/oauth/register']").await;
    for (field, value) in [("username", "olga"), ("email", "olga@example.com"), ("password", PASSWORD)] {
        let focused = browser.client.active_element().await.expect("the focus is somewhere");
        if focused.attr("name").await.expect("an attribute").as_deref() != Some(field) {
            browser.tab_to("name", field).await;
        }
        browser.type_in(value).await;
    }
    browser.press(Key::Enter).await;
    browser.find("form[action='/oauth/consent']").await;
    browser.tab_to("value", "allow").await;
    browser.screenshot("journey/consent.focus").await;
    browser.press(Key::Enter).await;
    let back = browser.arrives_at(&shop.callback()).await;
    shop.exchange(&back).await.expect(200);
    browser.goto("/oauth/apps").await;
    browser.tab_to("class", "plain").await;
    browser.press(Key::Enter).await;
    browser.find("[role=status]").await;
    browser.tab_to("class", "link").await;
    browser.press(Key::Enter).await;
    eventually("one is logged out", || async { browser.count("form").await == 0 }).await;
    shop.is_clean(&browser).await;
    browser.close().await;
}

/// Swagger's own way through our pages: a window of its own, a code with PKCE, and a call with the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn docs_let_one_log_in_as_other_programs_do() {
    // The page's redirect URI is made of the address that the service is known by.
    let test = Setup::Sqlite.start_with(&[("REFERRAL_PUBLIC_URL", "")]).await;
    test.client().register("olga", None).await.expect(201);
    let browser = Browser::open(&test.nodes[0].url, Screen::Desk).await;
    browser.goto("/docs").await;
    browser.find("#operations-Accounts-get_profile").await;
    browser.click(".auth-wrapper .btn.authorize").await;
    // What most want first.
    let shown =
        browser.ask("[...document.querySelectorAll('.modal-ux .auth-container h4')].map(e => e.innerText)").await;
    let shown: Vec<&str> =
        shown.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text")).collect();
    let order = ["password", "oauth", "bearer", "machine", "client"];
    assert_eq!(shown.len(), order.len(), "{shown:?}");
    for (shown, expected) in shown.iter().zip(order) {
        assert!(shown.starts_with(expected), "{shown} is not {expected}");
    }
    eventually("the first field has the focus", || async {
        browser.ask("document.activeElement.id").await == json!("oauth_username")
    })
    .await;
    assert_eq!(browser.ask("document.querySelector('.modal-ux-content').scrollTop").await, json!(0));
    browser.screenshot("docs-ways").await;
    // Each field has one meaning: what this page fills in is for this page.
    let prefilled = "document.querySelector('#client_id_authorizationCode').value";
    assert_eq!(browser.ask(prefilled).await, json!("docs"));
    assert_eq!(browser.ask("document.querySelector('#client_id_clientCredentials').value").await, json!(""));
    let ticked =
        "[...document.querySelectorAll('.modal-ux .scopes input:checked')].map(e => e.dataset.value).join(' ')";
    assert_eq!(browser.ask(ticked).await, json!("codes:read codes:write email openid profile referrals:read"));

    let container = ".modal-ux .auth-container:has(#client_id_authorizationCode)";
    browser.ask(&format!("document.querySelector(\"{container}\").scrollIntoView()")).await;
    browser.screenshot("docs-oauth").await;
    let page = browser.client.window().await.expect("a window");
    browser.click(&format!("{container} .btn.authorize")).await;
    let windows = async || browser.client.windows().await.expect("windows");
    eventually("a window opens", || async { windows().await.len() == 2 }).await;
    let popup = windows().await.into_iter().find(|window| *window != page).expect("another window");
    browser.client.switch_to_window(popup).await.expect("it is there");
    browser.write("[name=username]", "olga").await;
    browser.write("[name=password]", PASSWORD).await;
    browser.screenshot("docs-popup-login").await;
    browser.click("form[action='/oauth/login'] button").await;
    browser.find("form[action='/oauth/consent']").await;
    browser.screenshot("docs-popup-consent").await;
    browser.click("button[value=allow]").await;
    eventually("the window closes", || async { windows().await.len() == 1 }).await;
    browser.client.switch_to_window(page).await.expect("the page is there");
    eventually("it is logged in", || async {
        let said = browser.ask(&format!("document.querySelector('{}').innerText", ".modal-ux")).await;
        said.as_str().is_some_and(|text| text.contains("Logout"))
    })
    .await;
    browser.screenshot("docs-oauth-done").await;
    browser.click(".modal-ux .close-modal").await;

    let operation = browser.find("#operations-Accounts-get_profile").await;
    operation.find(Locator::Css(".opblock-summary-control")).await.expect("a button").click().await.expect("it opens");
    browser.click("#operations-Accounts-get_profile .execute").await;
    let status =
        browser.find("#operations-Accounts-get_profile .live-responses-table .response .response-col_status").await;
    assert_eq!(status.text().await.expect("a text"), "200");
    let answer = browser.find("#operations-Accounts-get_profile .live-responses-table .highlight-code").await;
    let answer = answer.text().await.expect("a text");
    assert!(answer.contains("\"username\": \"olga\""), "{answer}");
    let rows = test.query("select client_id, scope from token_families").await;
    let scope = "openid email profile codes:read codes:write referrals:read";
    assert_eq!(rows, vec![vec![Some("docs".to_owned()), Some(scope.to_owned())]]);

    let requests = browser.requests().await;
    browser.assert_clean(&browser.complaints().await, &requests);
    assert!(requests.iter().any(|url| url.ends_with("/oauth/token")), "{requests:?}");
    browser.close().await;
}
