//! A receiver of webhooks on a free port of this machine: verifies what it gets with the library that the specification
//! publishes, keeps it, and answers what the test wants.

use std::sync::{Arc, Mutex};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::app::{Setup, TestApp};
use super::client::Client;
use super::document::check_message;
use super::hunter::Reply;

pub const ENDPOINTS: &str = "/api/v1/webhook-endpoints";
/// The setting that lets endpoints be on this machine.
pub const HERE: (&str, &str) = ("REFERRAL_WEBHOOKS_ALLOW_NETWORKS", "127.0.0.0/8");

/// An endpoint, as a manager has made it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: String,
    pub secret: String,
}

impl Endpoint {
    pub fn path(&self) -> String {
        format!("{ENDPOINTS}/{}", self.id)
    }

    /// The id as SQL has it.
    pub fn sql(&self, test: &TestApp) -> String {
        match test.setup {
            Setup::Sqlite => format!("x'{}'", self.id.replace('-', "")),
            Setup::Postgres | Setup::PostgresAndRedis => format!("'{}'", self.id),
        }
    }
}

impl Client {
    /// Makes an endpoint for all types.
    pub async fn endpoint(&self, url: &str) -> Endpoint {
        self.endpoint_for(url, &["*"]).await
    }

    pub async fn endpoint_for(&self, url: &str, types: &[&str]) -> Endpoint {
        let made = self.post(ENDPOINTS, &json!({"url": url, "types": types})).await.expect(201).json();
        let text = |name: &str| made[name].as_str().expect("a text").to_owned();
        Endpoint { id: text("id"), secret: text("secret") }
    }
}

/// What was received.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: HeaderMap,
    pub text: String,
}

impl Received {
    pub fn id(&self) -> &str {
        self.headers["webhook-id"].to_str().expect("a plain header")
    }

    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    pub fn kind(&self) -> String {
        self.body()["type"].as_str().expect("a type").to_owned()
    }

    /// Seconds since 1970, by the sender's clock.
    pub fn sent_at(&self) -> i64 {
        self.headers["webhook-timestamp"].to_str().ok().and_then(|text| text.parse().ok()).expect("seconds")
    }

    /// Whether it is signed with this secret, whatever its time.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).expect("a secret");
        let signature = webhook.sign(self.id(), self.sent_at(), self.text.as_bytes()).expect("a signature");
        let given = self.headers["webhook-signature"].to_str().expect("a plain header");
        given.split(' ').any(|one| one == signature)
    }

    /// Whether a receiver that knows this secret takes it, which it does not long after it was sent.
    pub fn verifies_with(&self, secret: &str) -> bool {
        Webhook::new(secret).expect("a secret").verify(self.text.as_bytes(), &self.headers).is_ok()
    }
}

type Script = dyn Fn(&Received) -> Reply + Send;

pub struct Receiver {
    pub url: String,
    received: Arc<Mutex<Vec<Received>>>,
    script: Arc<Mutex<Box<Script>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        Self::saying(|_| Reply::new(204, &[], "")).await
    }

    pub async fn saying(script: impl Fn(&Received) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hooks", listener.local_addr().expect("an address"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let accepting = tokio::spawn({
            let (received, script) = (received.clone(), script.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(receive(stream, received.clone(), script.clone()));
                }
            }
        });
        Self { url, received, script, accepting }
    }

    /// Answers differently from now on.
    pub fn says(&self, script: impl Fn(&Received) -> Reply + Send + 'static) {
        *self.script.lock().expect("no panic in here") = Box::new(script);
    }

    /// All that has come so far, each as the document has it.
    pub fn received(&self) -> Vec<Received> {
        let received = self.received.lock().expect("no panic in here").clone();
        received.iter().for_each(|one| check_message(&one.body()));
        received
    }

    /// The types of all that has come, in order.
    pub fn kinds(&self) -> Vec<String> {
        let mut kinds: Vec<String> = self.received().iter().map(Received::kind).collect();
        kinds.sort();
        kinds
    }

    pub fn forget(&self) {
        self.received.lock().expect("no panic in here").clear();
    }
}

async fn receive(mut stream: TcpStream, kept: Arc<Mutex<Vec<Received>>>, script: Arc<Mutex<Box<Script>>>) {
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    let received = loop {
        match stream.read(&mut part).await {
            Ok(length @ 1..) => text.extend_from_slice(&part[..length]),
            _ => return,
        }
        if let Some(received) = whole(&text) {
            break received;
        }
    };
    // Its own statement: the lock must not be held while the answer is written.
    let reply = script.lock().expect("no panic in here")(&received);
    kept.lock().expect("no panic in here").push(received);
    match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Silence => std::future::pending().await,
    }
}

/// The request, once all of it is there.
fn whole(text: &[u8]) -> Option<Received> {
    let end = text.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&text[..end]).into_owned();
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    let length: usize = headers["content-length"].to_str().ok()?.parse().ok()?;
    let body = text.get(end + 4..end + 4 + length)?;
    Some(Received { headers, text: String::from_utf8_lossy(body).into_owned() })
}
