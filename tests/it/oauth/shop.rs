//! A confidential client with little more than it needs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client};
use crate::support::oauth::{CALLBACK, VERIFIER, challenge, form, text};
use crate::support::visit::Visit;

/// A confidential client.
#[derive(Clone)]
pub struct Shop {
    pub id: String,
    pub secret: String,
    pub base: String,
}

pub async fn manager(test: &TestApp) -> Client {
    test.client().register("manager", None).await.expect(201);
    test.sql("update users set is_manager = true where name_key = 'manager'").await;
    test.client().logged_in("manager").await
}

pub async fn shop(manager: &Client) -> Shop {
    let body = json!({
        "name": "Shop", "confidential": true, "redirect_uris": [CALLBACK],
        "grants": ["authorization_code", "refresh_token"], "scope": "openid profile account codes:read",
    });
    registered(manager, &body).await
}

pub async fn machine(manager: &Client) -> Shop {
    let body =
        json!({"name": "Robot", "confidential": true, "grants": ["client_credentials"], "scope": "program:read"});
    registered(manager, &body).await
}

async fn registered(manager: &Client, body: &Value) -> Shop {
    let made = manager.post("/api/v1/clients", body).await.expect(201).json();
    Shop {
        id: text(&made, "client_id").to_owned(),
        secret: text(&made, "client_secret").to_owned(),
        base: manager.base.clone(),
    }
}

impl Shop {
    pub fn request(&self, scope: &str, more: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let usual = [
            ("client_id", self.id.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", scope),
            ("state", "s"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        format!("/oauth/authorize?{}", form(&[&usual, more].concat()))
    }

    pub async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let client = Client::new(&self.base);
        let basic = STANDARD.encode(format!("{}:{}", self.id, self.secret));
        let request = client.request(reqwest::Method::POST, path).header(AUTHORIZATION, format!("Basic {basic}"));
        client.send(request.header("content-type", "application/x-www-form-urlencoded").body(form(fields))).await
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

    /// A code for a browser that is logged in.
    pub async fn code(&self, visit: &mut Visit) -> String {
        let page = visit.get(&self.request("profile", &[("prompt", "consent")])).await.expect(200);
        let page = visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
        page.sent("code").expect("a code")
    }
}
