//! A stand-in for Hunter's e-mail verifier on a free port of this machine: says what the test wants, byte for byte if
//! need be, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A question, as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// As it was sent, still encoded.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    /// The address that was asked about.
    pub fn email(&self) -> String {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(name, _)| name == "email").map(|(_, value)| value.into_owned()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes; then the connection is closed.
    Bytes(Vec<u8>),
    /// The connection stays open without a word.
    Silence,
}

impl Reply {
    pub fn new(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut text = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        Reply::Bytes(format!("{text}\r\n{body}").into_bytes())
    }

    /// 200 with this word as the status of the address, in the shape of Hunter's documentation.
    pub fn verdict(word: &str) -> Reply {
        let body = serde_json::json!({
            "data": {"status": word, "result": "deliverable", "score": 100, "regexp": true, "gibberish": false,
                     "disposable": false, "webmail": false, "mx_records": true, "smtp_server": true,
                     "smtp_check": true, "accept_all": false, "block": false, "sources": []},
            "meta": {"params": {"email": "somebody@test.ru"}},
        });
        Reply::new(200, &[("content-type", "application/json")], &body.to_string())
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send;

pub struct Hunter {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Box<Script>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Hunter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Hunter {
    /// One that answers each question as it is told.
    pub async fn saying(script: impl Fn(&Asked) -> Reply + Send + 'static) -> Hunter {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let accepting = tokio::spawn({
            let (asked, script) = (asked.clone(), script.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, asked.clone(), script.clone()));
                }
            }
        });
        Hunter { url, asked, script, accepting }
    }

    /// Answers differently from now on.
    pub fn says(&self, script: impl Fn(&Asked) -> Reply + Send + 'static) {
        *self.script.lock().expect("no panic in here") = Box::new(script);
    }

    /// All questions so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic in here").clone()
    }

    /// The settings that make the service ask this one, under a policy.
    pub fn settings<'a>(&'a self, policy: &'a str) -> [(&'a str, &'a str); 3] {
        [("HUNTER_URL", &self.url), ("HUNTER_API_KEY", "k"), ("REFERRAL_EMAIL_CHECK", policy)]
    }
}

async fn answer(mut stream: TcpStream, asked: Arc<Mutex<Vec<Asked>>>, script: Arc<Mutex<Box<Script>>>) {
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut part).await {
            Ok(length @ 1..) => head.extend_from_slice(&part[..length]),
            _ => return,
        }
    }
    let question = read(&String::from_utf8_lossy(&head));
    // Its own statement: the lock must not be held while the answer is written.
    let reply = script.lock().expect("no panic in here")(&question);
    asked.lock().expect("no panic in here").push(question);
    match reply {
        Reply::Bytes(bytes) => {
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Reply::Silence => std::future::pending().await,
    }
}

fn read(head: &str) -> Asked {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let (path, query) = first.next().map_or(("", ""), |target| target.split_once('?').unwrap_or((target, "")));
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Asked { method, path: path.to_owned(), query: query.to_owned(), headers }
}
