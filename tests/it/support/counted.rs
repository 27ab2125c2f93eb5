//! A way to PostgreSQL that counts the statements that go by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The address of a way to PostgreSQL, and how many statements have gone by it.
pub async fn counted(url: &str) -> (String, Arc<AtomicUsize>) {
    let (start, rest) = url.split_once('@').expect("a host");
    let (host, name) = rest.split_once('/').expect("a database");
    let (host, name) = (host.to_owned(), name.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let here = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&host).await else { continue };
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut kind = None;
                loop {
                    // The first message has no kind, nor has the one behind a question for TLS.
                    let mut message = Vec::new();
                    if let Some(byte) = kind {
                        message.push(byte);
                    }
                    let Ok(length) = from_near.read_u32().await else { break };
                    message.extend(length.to_be_bytes());
                    let mut body = vec![0; length as usize - 4];
                    if from_near.read_exact(&mut body).await.is_err() {
                        break;
                    }
                    let begins = kind.is_none() && body.starts_with(&80_877_103_u32.to_be_bytes());
                    message.extend(body);
                    // Beside what is asked for somebody, each shared connection is looked at now and then.
                    let look = b"show transaction_read_only";
                    let is_look = message.windows(look.len()).any(|part| part == look);
                    if matches!(kind, Some(b'E' | b'Q')) && !is_look {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    if to_far.write_all(&message).await.is_err() {
                        break;
                    }
                    if begins {
                        continue;
                    }
                    let Ok(next) = from_near.read_u8().await else { break };
                    kind = Some(next);
                }
            });
        }
    });
    (format!("{start}@{here}/{name}"), asked)
}
