//! Bytes on a connection, for what no well-behaved client sends.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::client::Answer;
use super::document;

/// A connection to the node at this address.
pub async fn connect(base: &str) -> TcpStream {
    let address = base.strip_prefix("http://").expect("a plain address");
    TcpStream::connect(address).await.expect("the node listens")
}

/// Sends bytes and then reads the answer. Also says whether all the bytes were taken: a server that closes on a sender
/// who is still talking may lose its answer on the way.
pub async fn talk(base: &str, bytes: &[u8]) -> (bool, Option<Answer>) {
    let mut stream = connect(base).await;
    let taken = stream.write_all(bytes).await.is_ok();
    (taken, listen(&mut stream).await)
}

/// The next answer on a connection; none when the server closes instead.
pub async fn listen(stream: &mut TcpStream) -> Option<Answer> {
    let mut heard = Vec::new();
    let listening = async {
        loop {
            if let Some(answer) = read(&heard).filter(|answer| {
                let length = answer.header("content-length").parse().unwrap_or(0);
                answer.text.len() >= length
            }) {
                return Some(answer);
            }
            if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                // An answer to HEAD announces what it does not bring.
                return read(&heard);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), listening).await.expect("an answer or the end within a minute")
}

/// The answer to one request, written out byte by byte; checked against the document, unless it has no body: what is no
/// HTTP at all is refused before the service sees it.
pub async fn ask(base: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let (_, answer) = talk(base, &request(method, path, headers, body)).await;
    let answer = answer.unwrap_or_else(|| panic!("{method} {path:.80}: no answer"));
    if !answer.text.is_empty() {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        document::check(&method, path.split('?').next().unwrap_or_default(), &answer);
    }
    answer
}

/// A request as it is on the wire. Its length is told by who asks, in a header.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: referral.test\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    request.extend_from_slice(body);
    request
}

/// A body in chunks, as a client sends it that does not know its length.
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut sent = Vec::with_capacity(body.len() + 1024);
    for part in body.chunks(64 * 1024) {
        sent.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        sent.extend_from_slice(part);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"0\r\n\r\n");
    sent
}

fn read(heard: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(heard).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
        headers.append(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    Some(Answer { status, headers, text: body.to_owned() })
}
