//! `referral health`

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::say;
use crate::config::Config;

/// For all of it: more than `/readyz` takes, less than whoever watches containers waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is a few hundred bytes.
const MOST: usize = 16 * 1024;

/// Asks the service that listens where the settings say. Any answer but 200 is an error.
pub fn run(config: &Config, live: bool) -> Result<(), String> {
    let path = if live { "/livez" } else { "/readyz" };
    let listen = &config.http.listen;
    let addresses = listen.to_socket_addrs().map_err(|error| format!("http.listen is {listen}: {error}"))?;
    let mut why = "there is no such address".to_owned();
    for address in addresses.map(reachable) {
        if address.port() == 0 {
            return Err(format!("http.listen is {listen}, which takes any port: nobody knows which. Set a port"));
        }
        match ask(address, path) {
            Ok((200, body)) => {
                say(&body);
                return Ok(());
            }
            Ok((status, _)) => return Err(format!("{path} at {address} answers {status}")),
            Err(error) => why = format!("{path} at {address}: {error}"),
        }
    }
    Err(why)
}

/// What is answered at an address of the settings, by whoever listens there.
pub fn answer(listen: &str, path: &str) -> Option<String> {
    let mut addresses = listen.to_socket_addrs().ok()?.map(reachable).filter(|address| address.port() != 0);
    addresses.find_map(|address| ask(address, path).ok()).filter(|(status, _)| *status == 200).map(|(_, body)| body)
}

/// Where one listens on all addresses, this machine's own is asked.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

/// Status and body of the answer to a GET.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let began = Instant::now();
    // A time-out of zero means none.
    let left = || PATIENCE.saturating_sub(began.elapsed()).max(Duration::from_millis(1));
    let mut stream = TcpStream::connect_timeout(&address, left())?;
    stream.set_write_timeout(Some(left()))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if began.elapsed() >= PATIENCE {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left()))?;
        match stream.read(&mut part)? {
            0 => break,
            length => answer.extend_from_slice(part.get(..length).unwrap_or_default()),
        }
        if answer.len() > MOST {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.map(|status| (status, body.to_owned())).ok_or_else(|| std::io::Error::other("that is no answer of ours"))
}
