//! Two nodes behind a load balancer come from one version to the next, one after the other, under load.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::eventually;
use crate::support::client::PASSWORD;
use crate::support::process::{Operator, Serving};
use crate::support::servers::{HaProxy, Postgres, free_port};
use crate::support::witness;

/// Calls that are answered between two steps.
const CALLS: usize = 40;

/// The binary of before: that of the commit that `cargo xtask faults` has built. Without one it is today's, and nodes
/// are restarted only.
fn former() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    let named = std::env::var_os("FAULTS_FORMER");
    named.map_or_else(|| env!("CARGO_BIN_EXE_referral").into(), PathBuf::from)
}

/// A person's way through what both versions know, one call after the other.
struct Walker {
    http: reqwest::Client,
    base: String,
    name: String,
    token: String,
    calls: usize,
}

impl Walker {
    fn new(base: &str, name: &str) -> Walker {
        // A connection for each call: the balancer may lead each to another node.
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        Walker { http, base: base.to_owned(), name: name.to_owned(), token: String::new(), calls: 0 }
    }

    async fn call(&mut self, method: Method, path: &str, body: Value, expected: u16) -> Result<Value, String> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        self.calls += 1;
        let answer = request.send().await.map_err(|error| format!("{method} {path}: {error:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("{method} {path}: {error:?}"))?;
        if status != StatusCode::from_u16(expected).expect("a status") {
            return Err(format!("{method} {path}: {status} {text}"));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Registers, logs in, makes a code, brings a friend, looks at both, refreshes, revokes.
    async fn walk(&mut self, turn: usize) -> Result<(), String> {
        self.token = String::new();
        let (name, friend) = (format!("{}-{turn}", self.name), format!("{}-{turn}-friend", self.name));
        let register =
            |name: &str| json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        let made = self.call(Method::POST, "/api/v1/auth/user", register(&name), 201).await?;
        let logged_in = json!({"username": name, "password": PASSWORD});
        let tokens = self.call(Method::POST, "/api/v1/auth/token", logged_in, 200).await?;
        let token = |tokens: &Value, which: &str| tokens[which].as_str().unwrap_or_default().to_owned();
        self.token = token(&tokens, "access_token");
        let code = format!("{}X{turn:08}1A", self.name.to_uppercase());
        let wanted = json!({"code": code, "expires_at": "2099-01-01"});
        self.call(Method::POST, "/api/v1/codes", wanted, 201).await?;
        let mut brought = register(&friend);
        brought["code"] = json!(code);
        self.call(Method::POST, "/api/v1/auth/user", brought, 201).await?;
        let list = format!("/api/v1/users/{}", made["id"].as_str().unwrap_or_default());
        let mine = self.call(Method::GET, &list, Value::Null, 200).await?;
        if mine["total"] != 1 {
            return Err(format!("the friend is not in the list: {mine}"));
        }
        let refresh = json!({"grant_type": "refresh_token", "refresh_token": token(&tokens, "refresh_token")});
        let tokens = self.call(Method::POST, "/api/v1/auth/token", refresh, 200).await?;
        self.token = token(&tokens, "access_token");
        self.call(Method::GET, "/api/v1/me", Value::Null, 200).await?;
        self.call(Method::DELETE, &format!("/api/v1/codes/{code}"), Value::Null, 204).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_of_one_node_after_the_other_fails_no_request() {
    let url = Postgres::shared().await.database().await;
    let ports = [free_port(), free_port()];
    let mut operators: Vec<Operator> = ports
        .iter()
        .map(|port| {
            let mut operator = Operator::on_a_free_port();
            operator.set("DATABASE_URL", &url);
            operator.set("REFERRAL_LISTEN", format!("127.0.0.1:{port}"));
            operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
            operator.set("REFERRAL_HTTP_DRAIN_SECONDS", "1");
            operator
        })
        .collect();
    let former = former();
    let mut nodes: Vec<Serving> = operators.iter().map(|operator| operator.serve_by(&former)).collect();
    let before = witness::number(&url, "select max(version) from schema_migrations").await;
    let balancer = HaProxy::before(ports).await;
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let walkers: Vec<_> = ["anna", "boris", "clara"]
        .into_iter()
        .map(|name| {
            let (mut walker, over, answered) = (Walker::new(&balancer.url(), name), over.clone(), answered.clone());
            tokio::spawn(async move {
                let mut turn = 0;
                while !over.load(Ordering::Relaxed) {
                    walker.walk(turn).await?;
                    answered.fetch_add(walker.calls, Ordering::Relaxed);
                    (walker.calls, turn) = (0, turn + 1);
                }
                Ok::<(), String>(())
            })
        })
        .collect();
    let some_more = async || {
        let since = answered.load(Ordering::Relaxed);
        let more = || async {
            answered.load(Ordering::Relaxed) >= since + CALLS || walkers.iter().any(|walker| walker.is_finished())
        };
        eventually("calls are answered", more).await;
    };
    some_more().await;
    for place in [0, 1] {
        nodes.remove(0).stop().well();
        // A busy machine is no reason for a 503; the version of before has no such setting.
        operators[place].set("REFERRAL_HTTP_REQUEST_SECONDS", "60");
        nodes.push(operators[place].serve());
        some_more().await;
        // Each by itself, the one of before beside today's.
        for (number, node) in nodes.iter().enumerate() {
            Walker::new(&node.url, &format!("direct{place}{number}")).walk(0).await.expect("a whole walk");
        }
    }
    some_more().await;
    over.store(true, Ordering::Relaxed);
    for walker in walkers {
        assert_eq!(walker.await.expect("no panic"), Ok(()));
    }
    let after = witness::number(&url, "select max(version) from schema_migrations").await;
    assert_eq!(after, referral::db::migrate::newest());
    println!("{} calls from schema {before} to {after}, none failed", answered.load(Ordering::Relaxed));
}
