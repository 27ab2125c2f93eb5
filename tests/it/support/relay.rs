//! A way to a server that can be led elsewhere, and that can fall silent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Relay {
    pub port: u16,
    target: Arc<Mutex<u16>>,
    silent: watch::Sender<bool>,
}

impl Relay {
    /// A way to a port of this machine.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let (target, silent) = (Arc::new(Mutex::new(port)), watch::Sender::new(false));
        let (to, mut ear) = (target.clone(), silent.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(_) = ear.wait_for(|silent| !silent).await else { return };
                let to = SocketAddr::from(([127, 0, 0, 1], *to.lock().expect("no panic")));
                let Ok(far) = TcpStream::connect(to).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, ear.clone()));
                tokio::spawn(carry(far_in, near_out, ear.clone()));
            }
        });
        Relay { port: own, target, silent }
    }

    /// Leads new connections to another port; those that are open stay where they are.
    pub fn lead_to(&self, port: u16) {
        *self.target.lock().expect("no panic") = port;
    }

    /// From now on nothing goes either way, and nobody is told; or things go on.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ear: watch::Receiver<bool>) {
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut part).await {
        let open = ear.wait_for(|silent| !silent).await.is_ok();
        if !open || to.write_all(&part[..length]).await.is_err() {
            return;
        }
    }
}
