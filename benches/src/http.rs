//! One request and its answer, for what is done beside the measuring; the load has a client of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn expect(self, status: u16) -> Result<Answer, String> {
        if self.status == status {
            return Ok(self);
        }
        Err(format!("{} instead of {status}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    pub fn json(self, status: u16) -> Result<serde_json::Value, String> {
        let answer = self.expect(status)?;
        serde_json::from_slice(&answer.body).map_err(|error| format!("no JSON: {error}"))
    }
}

/// The bytes of a request over a connection that stays.
pub fn request(method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: referral.bench\r\n");
    if let Some(token) = token {
        text += &format!("authorization: Bearer {token}\r\n");
    }
    if let Some(body) = body {
        text += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body.unwrap_or_default();
    text.into_bytes()
}

pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: Option<&str>,
) -> Result<Answer, String> {
    send(address, &request(method, path, token, body)).map_err(|error| format!("{method} {path}: {error}"))
}

/// Sends these bytes and reads one answer.
pub fn send(address: SocketAddr, request: &[u8]) -> Result<Answer, String> {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(request)?;
        let (mut bytes, mut piece) = (Vec::new(), [0; 65536]);
        while whole(&bytes).is_none() {
            match stream.read(&mut piece)? {
                0 => break,
                length => bytes.extend_from_slice(&piece[..length]),
            }
        }
        Ok(bytes)
    };
    let bytes = talk().map_err(|error| error.to_string())?;
    let (status, head, length) = whole(&bytes).ok_or_else(|| "the answer breaks off".to_owned())?;
    let told = String::from_utf8_lossy(&bytes[..head]).into_owned();
    Ok(Answer { status, head: told, body: bytes[head..head + length].to_vec() })
}

/// Status, length of the head and length of the body, once all of an answer is there.
pub fn whole(bytes: &[u8]) -> Option<(u16, usize, usize)> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(bytes.get(9..12)?).ok()?.parse().ok()?;
    let length = content_length(&bytes[..head]);
    (bytes.len() >= head + length).then_some((status, head, length))
}

/// As hyper writes the header's name; an answer without one has no body.
fn content_length(head: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length: ";
    let Some(at) = head.windows(NAME.len()).position(|window| window == NAME) else { return 0 };
    let digits = head[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}
