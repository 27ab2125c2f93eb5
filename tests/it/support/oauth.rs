//! A registered client, and its person's way through the pages of the authorization server.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::client::{Answer, Client, PASSWORD};
use super::visit::{Page, Visit};

pub const ISSUER: &str = "http://referral.test";
pub const CALLBACK: &str = "https://shop.example.com/callback";
pub const VERIFIER: &str = "a-verifier-of-43-characters-or-more-0123456789";
pub const EVERYTHING: &str = "openid email profile account codes:read codes:write referrals:read";

/// A client as a manager has registered it.
#[derive(Clone)]
pub struct Registered {
    pub id: String,
    pub secret: Option<String>,
    pub base: String,
}

pub async fn register(manager: &Client, change: Value) -> Registered {
    let mut body = json!({
        "name": "Shop", "confidential": true, "redirect_uris": [CALLBACK],
        "grants": ["authorization_code", "refresh_token"], "scope": EVERYTHING,
    });
    for (name, value) in change.as_object().expect("changes") {
        body[name] = value.clone();
    }
    let made = manager.post("/api/v1/clients", &body).await.expect(201).json();
    Registered {
        id: made["client_id"].as_str().expect("an id").to_owned(),
        secret: made["client_secret"].as_str().map(str::to_owned),
        base: manager.base.clone(),
    }
}

pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

impl Registered {
    /// The way to the authorization endpoint, with parameters changed, added or (empty) left out.
    pub fn request(&self, change: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let usual = [
            ("client_id", self.id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", EVERYTHING),
            ("state", "s/1&2"),
            ("nonce", "n-0"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let kept = usual.into_iter().filter(|(name, _)| !change.iter().any(|(other, _)| other == name));
        let changed = change.iter().copied().filter(|(_, value)| !value.is_empty());
        format!("/oauth/authorize?{}", form(&kept.chain(changed).collect::<Vec<_>>()))
    }

    /// Through log-in and consent to a code.
    pub async fn code(&self, visit: &mut Visit, name: &str, change: &[(&str, &str)]) -> String {
        let page = visit.get(&self.request(change)).await;
        let page = if page.text.contains("action=\"/oauth/login\"") {
            let sent = visit.log_in(&page, name, PASSWORD).await.leaves();
            visit.follow(sent).await
        } else {
            page
        };
        let page = if page.status == 200 { allow(visit, &page).await } else { page };
        assert_eq!(page.sent("state").as_deref(), Some("s/1&2"));
        assert_eq!(page.sent("iss").as_deref(), Some(ISSUER));
        page.sent("code").expect("a code")
    }

    pub async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let client = Client::new(&self.base);
        let request = client.request(reqwest::Method::POST, path);
        let (request, fields) = match &self.secret {
            Some(secret) => {
                let basic = STANDARD.encode(format!("{}:{secret}", self.id));
                (request.header(AUTHORIZATION, format!("Basic {basic}")), fields.to_vec())
            }
            None => (request, [fields, &[("client_id", self.id.as_str())]].concat()),
        };
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form(&fields));
        client.send(request).await
    }

    pub async fn exchange(&self, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.call("/oauth/token", &fields).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.call("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    pub async fn introspect(&self, token: &str) -> Value {
        self.call("/oauth/introspect", &[("token", token)]).await.expect(200).json()
    }

    /// A person's tokens, by way of the browser.
    pub async fn tokens(&self, name: &str, change: &[(&str, &str)]) -> Value {
        let code = self.code(&mut Visit::new(&self.base), name, change).await;
        self.exchange(&code).await.expect(200).json()
    }
}

pub async fn allow(visit: &mut Visit, page: &Page) -> Page {
    visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves()
}

pub fn wrong(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

pub fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}

pub fn bearer(base: &str, tokens: &Value) -> Client {
    Client::new(base).with_token(text(tokens, "access_token"))
}
