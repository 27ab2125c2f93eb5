//! As much HTTP as it takes to see that a server is up and to sign in.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// The text under this name, where the body is JSON that holds the name once and the text needs no escapes.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(&format!("\"{name}\""))?;
        let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
        Some(rest.split_once('"')?.0)
    }
}

fn call(server: SocketAddr, line: &str, headers: &str, body: &str) -> Result<Answer, String> {
    let attempt = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        // HTTP/1.0: the answer ends with the connection and comes in one piece.
        let length = body.len();
        write!(stream, "{line} HTTP/1.0\r\nHost: {server}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = attempt().map_err(|error| format!("{line} was not answered: {error}"))?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| format!("{line} was answered with something else than HTTP"))?;
    Ok(Answer { status, body: body.to_owned() })
}

pub fn get(server: SocketAddr, path: &str) -> Result<Answer, String> {
    call(server, &format!("GET {path}"), "", "")
}

pub fn get_as(server: SocketAddr, path: &str, token: &str) -> Result<Answer, String> {
    call(server, &format!("GET {path}"), &bearer(token), "")
}

pub fn post(server: SocketAddr, path: &str, token: &str, json: &str) -> Result<Answer, String> {
    let headers = format!("Content-Type: application/json\r\n{}", bearer(token));
    call(server, &format!("POST {path}"), &headers, json)
}

/// The header for a token, nothing for none.
fn bearer(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") }
}
