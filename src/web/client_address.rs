//! Which machine a request comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::app::App;
use crate::config::Limits;

/// The peer of the connection, put into each request by the server.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether it is a proxy whose word counts.
    pub trusted: bool,
}

/// The address of the client: the peer, or what a trusted proxy says about it.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress(pub IpAddr);

impl FromRequestParts<Arc<App>> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(peer) = parts.extensions.get::<Peer>() else { return Ok(Self(Ipv4Addr::UNSPECIFIED.into())) };
        Ok(Self(client_address(&app.config.limits, *peer, &parts.headers)))
    }
}

/// Who asks: the peer, or whom the proxies that we trust name. They are read from the right, for each proxy appends
/// whom it heard from. What is left of a word that is no address, or not from a proxy we trust, is anybody's invention.
pub fn client_address(limits: &Limits, peer: Peer, headers: &HeaderMap) -> IpAddr {
    let mut client = peer.address.ip();
    if !peer.trusted {
        return client;
    }
    // As bytes: a value that is not text as a whole still has words on its right that are.
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut words = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while let Some(said) = words.next().and_then(address) {
        client = said;
        if !limits.trusts(client) {
            break;
        }
    }
    client
}

/// An address as proxies write it, with or without a port.
fn address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?.trim();
    word.parse().ok().or_else(|| word.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}
