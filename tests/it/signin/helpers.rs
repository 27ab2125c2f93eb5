//! The way through the pages, and what comes of it.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;
use crate::support::provider::Provider;
use crate::support::visit::{Form, Page, Visit};

pub const ISSUER: &str = "http://referral.test";
const VERIFIER: &str = "a-verifier-of-43-characters-or-more-0123456789";
pub const TRUSTED: (&str, &str) = ("REFERRAL_PROVIDERS_CORP_TRUST_EMAIL", "true");
pub const HOME: &str = "/share";

/// One provider called `corp`, and a node that knows it.
pub async fn start(setup: Setup, more: &[(&str, &str)]) -> (TestApp, Provider) {
    let corp = Provider::start().await;
    let test = start_with(setup, &[("corp", &corp)], more).await;
    (test, corp)
}

pub async fn start_with(setup: Setup, providers: &[(&str, &Provider)], more: &[(&str, &str)]) -> TestApp {
    let settings: Vec<_> = providers.iter().flat_map(|(name, provider)| provider.settings(name)).collect();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    setup.start_with(&[&settings, more].concat()).await
}

pub fn browser_of(test: &TestApp) -> Visit {
    Visit::new(&test.nodes[0].url)
}

/// Moves our clock and a provider's, by which its tokens are dated.
pub fn later(test: &TestApp, provider: &Provider, by: Duration) {
    test.move_clock(by);
    provider.clock.shift(i64::try_from(by.as_micros()).expect("a span"));
}

/// The provider vouches for somebody else from now on.
pub fn is_now(provider: &Provider, person: Value) {
    provider.plays(|play| play.person = person);
}

/// To the provider: our callback, as the browser is sent back to it.
pub async fn leave(visit: &mut Visit, path: &str) -> String {
    returned(&visit.get(path).await.expect(303)).await
}

/// What the provider sends a browser back to that was sent there.
pub async fn returned(page: &Page) -> String {
    // The provider is not shown our cookies.
    let page = Visit::new("").get(page.location().expect("an address")).await.expect(303);
    let back = page.location().expect("an address").strip_prefix(ISSUER).expect("back to us").to_owned();
    assert!(back.starts_with("/oauth/callback/"), "{back}");
    back
}

/// To the provider and back.
pub async fn come(visit: &mut Visit, name: &str) -> Page {
    let back = leave(visit, &format!("/oauth/login/{name}")).await;
    visit.get(&back).await
}

/// Who is logged in with this browser.
pub async fn who(visit: &Visit) -> Option<String> {
    let page = visit.clone().get(HOME).await.expect(200);
    if page.forms().iter().any(|form| form.action == "/oauth/login") {
        return None;
    }
    let (_, rest) = page.text.split_once("<strong><bdi>").expect("a name");
    Some(rest.split_once('<').expect("its end").0.to_owned())
}

/// The form for a new account on the page of a first visit.
pub fn new_account(page: &Page) -> Form {
    page.form("/oauth/finish")
}

/// The form beside it, which joins an account.
pub fn join_account(page: &Page) -> Form {
    let found = page.forms().into_iter().find(|form| form.fields.iter().any(|(name, _)| name == "login"));
    found.unwrap_or_else(|| panic!("no form joins an account: {page:?}"))
}

pub fn field<'f>(form: &'f Form, name: &str) -> &'f str {
    let found = form.fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {form:?}"))
}

/// The address of the link that begins so, as a browser would follow it.
pub fn link(page: &Page, start: &str) -> String {
    let mut links = page.text.split("href=\"").skip(1).filter_map(|part| part.split('"').next());
    let found = links.find(|link| link.starts_with(start)).unwrap_or_else(|| panic!("no link to {start}: {page:?}"));
    found.replace("&amp;", "&").replace("&#38;", "&")
}

/// The authorization request of the documentation pages, a client that is always there.
pub fn request(change: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let redirect = format!("{ISSUER}/docs/assets/oauth2-redirect.html");
    let usual = [
        ("client_id", "docs"),
        ("redirect_uri", &redirect),
        ("response_type", "code"),
        ("scope", "openid email profile account"),
        ("state", "s/1&2"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(usual).extend_pairs(change).finish();
    format!("/oauth/authorize?{query}")
}

/// The tokens of who is on the page that asks for consent.
pub async fn tokens(visit: &mut Visit, page: &Page) -> Client {
    let sent = visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
    assert_eq!(sent.sent("state").as_deref(), Some("s/1&2"));
    exchanged(&visit.base, &sent.sent("code").expect("a code")).await.expect("tokens")
}

pub async fn exchanged(base: &str, code: &str) -> Option<Client> {
    let redirect = format!("{ISSUER}/docs/assets/oauth2-redirect.html");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "docs"),
        ("code", code),
        ("redirect_uri", &redirect),
        ("code_verifier", VERIFIER),
    ];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let answer = Client::new(base).post_form("/oauth/token", &form).await;
    let body = answer.json();
    let mut client = Client::new(base).with_token(body["access_token"].as_str()?);
    client.refresh_token = body["refresh_token"].as_str().map(str::to_owned);
    Some(client)
}

/// The tokens of who is logged in with this browser.
pub async fn tokens_of(visit: &mut Visit) -> Client {
    let page = visit.get(&request(&[])).await.expect(200);
    tokens(visit, &page).await
}

pub async fn info(client: &Client) -> Value {
    client.get("/oauth/userinfo").await.expect(200).json()
}
