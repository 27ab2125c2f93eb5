//! A way to a server that can be led elsewhere, and on which things go wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is wrong with a way.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    /// Nothing goes either way, and nobody is told.
    Silence,
    /// Each part of what is sent is late by this.
    Latency(Duration),
    /// Nobody listens. What is connected stays so.
    Refuse,
    /// Every connection is reset, new ones as well.
    Reset,
    /// Whoever sends this text is not answered: the server does what it was asked, and then the connection is reset.
    LoseReply(Vec<u8>),
    /// Each connection is reset when the server has sent so many bytes more.
    CutAfter(usize),
}

pub struct Relay {
    pub port: u16,
    target: Arc<Mutex<u16>>,
    fault: watch::Sender<Fault>,
    struck: watch::Sender<usize>,
}

impl Relay {
    /// A way to a port of this machine.
    pub async fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let (target, fault) = (Arc::new(Mutex::new(port)), watch::Sender::new(Fault::None));
        let struck = watch::Sender::new(0);
        tokio::spawn(accept(listener, target.clone(), fault.subscribe(), struck.clone()));
        Relay { port: own, target, fault, struck }
    }

    /// Leads new connections to another port; those that are open stay where they are.
    pub fn lead_to(&self, port: u16) {
        *self.target.lock().expect("no panic") = port;
    }

    /// From now on this is wrong, and what was wrong before is not.
    pub fn suffer(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// From now on nothing goes either way, and nobody is told; or things go on.
    pub fn silence(&self, silent: bool) {
        self.suffer(if silent { Fault::Silence } else { Fault::None });
    }

    /// How many connections have been reset so far.
    pub fn struck(&self) -> usize {
        *self.struck.borrow()
    }

    /// Waits until so many connections have been reset.
    pub async fn strikes(&self, many: usize) {
        self.struck.subscribe().wait_for(|struck| *struck >= many).await.expect("the way is there");
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<u16>>,
    mut fault: watch::Receiver<Fault>,
    struck: watch::Sender<usize>,
) {
    let address = listener.local_addr().expect("an address");
    let mut listener = Some(listener);
    loop {
        if *fault.borrow_and_update() == Fault::Refuse {
            listener = None;
            let Ok(_) = fault.wait_for(|fault| *fault != Fault::Refuse).await else { return };
        }
        let open = match listener.take() {
            Some(open) => open,
            None => TcpListener::bind(address).await.expect("the port is still ours"),
        };
        let near = tokio::select! {
            changed = fault.changed() => match changed {
                Ok(()) => None,
                Err(_) => return,
            },
            near = open.accept() => near.ok().map(|(near, _)| near),
        };
        listener = Some(open);
        if let Some(near) = near {
            let target = target.clone();
            let (fault, struck) = (fault.clone(), struck.clone());
            tokio::spawn(async move {
                let mut fault = fault;
                let Ok(_) = fault.wait_for(|fault| *fault != Fault::Silence).await else { return };
                let to = SocketAddr::from(([127, 0, 0, 1], *target.lock().expect("no panic")));
                let Ok(far) = TcpStream::connect(to).await else { return };
                if carry(near, far, fault).await {
                    struck.send_modify(|struck| *struck += 1);
                }
            });
        }
    }
}

/// Carries what both send until one of them leaves, or the connection is reset: then true.
async fn carry(mut near: TcpStream, mut far: TcpStream, mut fault: watch::Receiver<Fault>) -> bool {
    let (mut asked, mut answer) = ([0; 4096], [0; 4096]);
    // The end of what was asked, for a text may come in parts.
    let mut heard: Vec<u8> = Vec::new();
    let (mut loses, mut told) = (false, 0);
    let mut before = fault.borrow_and_update().clone();
    if before == Fault::Reset {
        return reset(&near);
    }
    loop {
        let part = tokio::select! {
            changed = fault.changed() => match changed {
                Ok(()) => None,
                Err(_) => return false,
            },
            length = near.read(&mut asked) => Some((true, length)),
            length = far.read(&mut answer) => Some((false, length)),
        };
        // A fault may have begun whatever has ended the wait, and each is about what comes after it.
        let now = match part {
            Some(_) => fault.wait_for(|fault| *fault != Fault::Silence).await.map(|fault| fault.clone()),
            None => Ok(fault.borrow_and_update().clone()),
        };
        let Ok(now) = now else { return false };
        if now != before {
            (loses, told) = (false, 0);
            before = now.clone();
        }
        if now == Fault::Reset {
            return reset(&near);
        }
        let Some((from_near, length)) = part else { continue };
        let Ok(length @ 1..) = length else { return false };
        if let Fault::Latency(late) = now {
            tokio::time::sleep(late).await;
        }
        if from_near {
            if let Fault::LoseReply(text) = &now {
                heard.extend_from_slice(&asked[..length]);
                loses |= heard.windows(text.len()).any(|window| window == text);
                heard.drain(..heard.len().saturating_sub(text.len()));
            }
            if far.write_all(&asked[..length]).await.is_err() {
                return false;
            }
            continue;
        }
        if loses {
            return reset(&near);
        }
        let most = match now {
            Fault::CutAfter(most) => most - told,
            _ => length,
        };
        told += length.min(most);
        if near.write_all(&answer[..length.min(most)]).await.is_err() {
            return false;
        }
        if length >= most && matches!(now, Fault::CutAfter(_)) {
            return reset(&near);
        }
    }
}

/// Tells the other side that the connection is gone, as a machine does that knows of none.
fn reset(near: &TcpStream) -> bool {
    SockRef::from(near).set_linger(Some(Duration::ZERO)).expect("an open socket");
    true
}
