//! The forms of the pages in a real browser without script, for clients whose redirect URI redirects once more: to
//! another origin, or into an app. Chromium holds every redirect behind a form to the `form-action` of the form's page.

use std::sync::{Arc, Mutex};

use Sent::{Allow, Deny, JoinedAccount, LogIn, NewAccount, Registration};
use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Html;
use axum::routing::any;
use serde_json::json;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::browser::{Browser, Habits, Screen};
use crate::support::client::{Client, PASSWORD};
use crate::support::oauth::{Registered, form, register};
use crate::support::provider::Provider;
use crate::support::router::serve;

const APP: &str = "com.example.app:/opened";

/// The forms on the way to a client.
#[derive(Clone, Copy, Debug)]
enum Sent {
    LogIn,
    Allow,
    Deny,
    Registration,
    NewAccount,
    JoinedAccount,
}

/// Two servers of other origins: what the first is asked for it redirects, by path, to the second or to an app.
struct Elsewhere {
    first: String,
    second: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Elsewhere {
    async fn start() -> Elsewhere {
        let second = serve(Router::new().fallback(any(|| async { Html("<!doctype html><title>There</title>") }))).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (to, noted) = (second.clone(), asked.clone());
        let redirect = move |request: Request| async move {
            let query = request.uri().query().unwrap_or_default();
            let to = match request.uri().path() {
                "/to-app" => APP.to_owned(),
                _ => format!("{to}/there"),
            };
            noted.lock().expect("no panic in here").push(request.uri().to_string());
            (StatusCode::SEE_OTHER, [(LOCATION, format!("{to}?{query}"))])
        };
        Elsewhere { first: serve(Router::new().fallback(any(redirect))).await, second, asked }
    }

    fn was_asked(&self, path: &str, state: &str) -> bool {
        let asked = self.asked.lock().expect("no panic in here");
        asked.iter().any(|uri| uri.starts_with(&format!("{path}?")) && uri.contains(&format!("state={state}&")))
    }
}

struct Walk<'t> {
    test: &'t TestApp,
    manager: &'t Client,
    provider: &'t Provider,
}

impl Walk<'_> {
    /// A client, and the request that it sends people with.
    async fn client(&self, redirect_uri: &str, state: &str) -> (Registered, String) {
        let change = json!({"name": "Bookshop", "redirect_uris": [redirect_uri], "scope": "openid profile"});
        let client = register(self.manager, change).await;
        let request = client.request(&[("redirect_uri", redirect_uri), ("scope", "openid profile"), ("state", state)]);
        (client, request)
    }

    /// Where the browser itself goes on from the form to the client, nobody is asked for consent: what the client may
    /// not ask for any more is told there.
    async fn send(&self, browser: &Browser, sent: Sent, client: &Registered, request: &str, name: &str) {
        browser.goto("/docs/assets/favicon.svg").await;
        browser.client.delete_all_cookies().await.expect("no cookies");
        let email = format!("{name}@example.com");
        let next = form(&[("next", request)]);
        if matches!(sent, LogIn | Allow | Deny | JoinedAccount) {
            self.test.client().register(name, None).await.expect(201);
        }
        match sent {
            LogIn | Allow | Deny => {
                browser.goto(request).await;
                browser.write("[name=username]", name).await;
                browser.write("[name=password]", PASSWORD).await;
            }
            Registration => {
                browser.goto(&format!("/oauth/register?{next}")).await;
                browser.write("[name=username]", name).await;
                browser.write("[name=email]", &email).await;
                browser.write("[name=password]", PASSWORD).await;
            }
            NewAccount | JoinedAccount => {
                self.provider.plays(|play| play.person = json!({"sub": name}));
                browser.goto(&format!("/oauth/login/corp?{next}")).await;
                if matches!(sent, NewAccount) {
                    browser.write("[name=username]", name).await;
                    browser.write("[name=email]", &email).await;
                } else {
                    browser.write("[name=login]", name).await;
                    browser.write("[name=password]", PASSWORD).await;
                }
            }
        }
        if !matches!(sent, Allow | Deny) {
            let path = format!("/api/v1/clients/{}", client.id);
            self.manager.patch(&path, &json!({"scope": "openid"})).await.expect(200);
        }
        let button = match sent {
            Registration => "form[action='/oauth/register'] > button",
            NewAccount => "form:has([name=username]) > button",
            JoinedAccount => "form:has([name=login]) > button",
            LogIn | Allow | Deny => "form[action='/oauth/login'] > button",
        };
        browser.click(button).await;
        match sent {
            Allow => browser.click("button[value=allow]").await,
            Deny => browser.click("button[value=deny]").await,
            _ => {}
        }
    }
}

async fn assert_allowed(browser: &Browser) {
    let complaints = browser.complaints().await;
    assert!(!complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:#?}");
}

/// The browser goes to the app, which this machine does not have.
async fn opens(browser: &Browser, app: &str) {
    eventually(&format!("the browser opens {app}"), || async {
        assert_allowed(browser).await;
        browser.requests().await.iter().any(|url| url.starts_with(&format!("{app}?")))
    })
    .await;
}

async fn every_form_leads_on(language: &'static str) {
    let provider = Provider::start().await;
    let settings = provider.settings("corp");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // The provider sends the browser to the address that the service is known by.
    settings.push(("REFERRAL_PUBLIC_URL", ""));
    let test = Setup::Sqlite.start_with(&settings).await;
    let manager = test.manager("manager").await;
    let elsewhere = Elsewhere::start().await;
    let habits = Habits { screen: Screen::Desk, script: false, language };
    let open = async || Browser::open_as(&test.nodes[0].url, habits).await;
    let browser = open().await;
    let walk = Walk { test: &test, manager: &manager, provider: &provider };
    for (number, sent) in [LogIn, Allow, Deny, Registration, NewAccount, JoinedAccount].into_iter().enumerate() {
        let expected = match sent {
            Allow => "code=ac_",
            Deny => "error=access_denied",
            _ => "error=invalid_scope",
        };
        let name = format!("web{number}");
        let (client, request) = walk.client(&format!("{}/callback", elsewhere.first), &name).await;
        walk.send(&browser, sent, &client, &request, &name).await;
        let there = browser.arrives_at(&format!("{}/there?", elsewhere.second)).await;
        assert!(elsewhere.was_asked("/callback", &name), "{sent:?}");
        assert!(there.as_str().contains(expected) && there.as_str().contains(&format!("state={name}&")), "{there}");
        assert_allowed(&browser).await;

        // Each time another browser, for it asks whether to open the app and hears nothing else until it is told.
        let browser = open().await;
        let name = format!("app{number}");
        let (client, request) = walk.client(&format!("{}/to-app", elsewhere.first), &name).await;
        walk.send(&browser, sent, &client, &request, &name).await;
        opens(&browser, APP).await;
        assert!(elsewhere.was_asked("/to-app", &name), "{sent:?}");
        browser.close().await;
    }
    // To the app itself; the page stays, with a way to try again.
    let (client, request) = walk.client("com.example.app:/callback", "native").await;
    walk.send(&browser, Allow, &client, &request, "native").await;
    opens(&browser, "com.example.app:/callback").await;
    browser.find("a.button[href^='com.example.app:/callback?code=ac_']").await;
    let lang = browser.find("html").await.attr("lang").await.expect("an attribute");
    assert_eq!(lang.as_deref(), Some(language));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_leads_to_where_the_client_redirects() {
    every_form_leads_on("en").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_leads_to_where_the_client_redirects_in_russian() {
    every_form_leads_on("ru").await;
}

/// Enter makes an account; the provider's button takes the typed code along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_typed_goes_along_to_a_provider() {
    let provider = Provider::start().await;
    let settings = provider.settings("corp");
    let mut settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    settings.push(("REFERRAL_PUBLIC_URL", ""));
    let test = Setup::Sqlite.start_with(&settings).await;
    for language in ["en", "ru"] {
        let habits = Habits { screen: Screen::Desk, script: false, language };
        let browser = Browser::open_as(&test.nodes[0].url, habits).await;
        browser.goto("/oauth/register").await;
        // Whatever else is missing or wrong does not hold anybody up.
        browser.write("[name=email]", "nonsense").await;
        browser.write("[name=code]", "AMSEL2030XYZ").await;
        browser.click("button[formaction='/oauth/login/corp']").await;
        browser.find("form[action='/oauth/finish']").await;
        let code = browser.find("[name=code]").await.prop("value").await.expect("a property");
        assert_eq!(code.as_deref(), Some("AMSEL2030XYZ"));
        let complaints = browser.complaints().await;
        assert!(complaints.is_empty(), "{complaints:#?}");
        browser.goto("/oauth/register").await;
        browser.write("[name=username]", "a b").await;
        browser.client.active_element().await.expect("the focus").send_keys("\u{e007}").await.expect("Enter");
        browser.find("#username-wrong").await;
        browser.close().await;
    }
}
