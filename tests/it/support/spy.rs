//! A way to PostgreSQL that notes every statement that is prepared.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Stands between the service and PostgreSQL and notes the name of every statement that is prepared.
pub struct Spy {
    pub url: String,
    pub server: Arc<Mutex<String>>,
    pub prepared: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    pub fn parts(url: &str) -> (&str, &str) {
        let (_, rest) = url.split_once("@").expect("a user");
        rest.split_once('/').expect("a database")
    }

    pub async fn before(url: &str) -> Spy {
        let (server, database) = Self::parts(url);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let prepared = Arc::new(Mutex::new(Vec::new()));
        let server = Arc::new(Mutex::new(server.to_owned()));
        let (behind, notes) = (server.clone(), prepared.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let address = behind.lock().expect("no panic in here").clone();
                let server = TcpStream::connect(&address).await.expect("PostgreSQL");
                tokio::spawn(Self::relay(client, server, notes.clone()));
            }
        });
        // Without TLS the first message is the start-up, which has no type byte.
        Spy { url: format!("postgres://postgres@{address}/{database}?sslmode=disable"), server, prepared }
    }

    /// New connections go to another server from now on.
    pub fn redirect(&self, url: &str) {
        let (server, _) = Self::parts(url);
        server.clone_into(&mut self.server.lock().expect("no panic in here"));
    }

    pub fn prepared(&self) -> Vec<String> {
        self.prepared.lock().expect("no panic in here").clone()
    }

    pub async fn relay(client: TcpStream, server: TcpStream, notes: Arc<Mutex<Vec<String>>>) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let (mut seen, mut part, mut started) = (Vec::new(), [0; 4096], false);
        while let Ok(length @ 1..) = from_client.read(&mut part).await {
            seen.extend_from_slice(&part[..length]);
            // A message is a type byte (but for the first), its length with itself, and its content.
            while let Some(header) = seen.get(..if started { 5 } else { 4 }) {
                let size = header.len() - 4 + u32::from_be_bytes(*header.last_chunk().expect("4 bytes")) as usize;
                if seen.len() < size {
                    break;
                }
                let message: Vec<u8> = seen.drain(..size).collect();
                if started && message[0] == b'P' {
                    let name = message[5..].split(|byte| *byte == 0).next().unwrap_or_default();
                    notes.lock().expect("no panic in here").push(String::from_utf8_lossy(name).into_owned());
                }
                started = true;
            }
            if to_server.write_all(&part[..length]).await.is_err() {
                break;
            }
        }
        drop(to_server);
        let _ = back.await;
    }
}
