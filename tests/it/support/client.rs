//! A caller of the API. Every answer it gets is checked against the document.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::document;

pub const PASSWORD: &str = "Q123werty!23";

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    pub base: String,
    pub token: Option<String>,
    pub refresh_token: Option<String>,
    /// Of the user it is logged in as.
    pub id: String,
    pub username: String,
    pub email: String,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .expect("a client");
        Self {
            http,
            base: base.to_owned(),
            token: None,
            refresh_token: None,
            id: String::new(),
            username: String::new(),
            email: String::new(),
        }
    }

    /// The same person at another node.
    pub fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    /// Somebody without a token at the same node.
    pub fn anonymous(&self) -> Self {
        Self::new(&self.base)
    }

    /// Somebody with this access token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Registers `NAME` with `NAME@example.com` and logs in.
    pub async fn signed_up(&self, name: &str) -> Self {
        self.register(name, None).await.expect(201);
        self.logged_in(name).await
    }

    /// Registers `NAME` with `NAME@example.com`.
    pub async fn register(&self, name: &str, code: Option<&str>) -> Answer {
        let mut body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        self.post("/api/v1/auth/user", &body).await
    }

    /// Logs in as a user who exists.
    pub async fn logged_in(&self, name: &str) -> Self {
        let answer = self.log_in(name, PASSWORD).await.expect(200);
        let mut client = self.clone();
        client.take_tokens(&answer);
        let me = client.get("/api/v1/me").await.expect(200).json();
        client.id = me["id"].as_str().expect("an id").to_owned();
        client.username = me["username"].as_str().expect("a name").to_owned();
        client.email = me["email"].as_str().expect("an address").to_owned();
        client
    }

    pub async fn log_in(&self, name: &str, password: &str) -> Answer {
        self.anonymous().post("/api/v1/auth/token", &json!({"username": name, "password": password})).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        let body = json!({"grant_type": "refresh_token", "refresh_token": token});
        self.anonymous().post("/api/v1/auth/token", &body).await
    }

    pub fn take_tokens(&mut self, answer: &Answer) {
        let body = answer.json();
        self.token = Some(body["access_token"].as_str().expect("an access token").to_owned());
        self.refresh_token = Some(body["refresh_token"].as_str().expect("a refresh token").to_owned());
    }

    /// Makes a code that lives until 2099.
    pub async fn create_code(&self, code: &str) -> Answer {
        self.post("/api/v1/codes", &json!({"code": code, "expires_at": "2099-01-01"})).await
    }

    pub async fn revoke_code(&self, code: &str) -> Answer {
        self.delete(&format!("/api/v1/codes/{code}")).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub async fn delete_with(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::DELETE, path).header(CONTENT_TYPE, "application/json").body(body.to_string()))
            .await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).header(CONTENT_TYPE, "application/json").body(body.to_string()))
            .await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).header(CONTENT_TYPE, "application/json").body(body.to_string())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_raw(path, "application/json", body.to_string()).await
    }

    pub async fn post_form(&self, path: &str, form: &str) -> Answer {
        self.post_raw(path, "application/x-www-form-urlencoded", form.to_owned()).await
    }

    pub async fn post_raw(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header(CONTENT_TYPE, kind).body(body)).await
    }

    /// A request with the token, if there is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Sends a request and checks its answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.expect("an answer");
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.expect("a body"),
        };
        assert!(answer.status < 500 || answer.status == 503, "{method} {path}: {answer:?}");
        document::check(&method, &path, &answer);
        answer
    }
}

impl Answer {
    /// The answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The answer, if it is this problem.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a plain header"))
    }
}
