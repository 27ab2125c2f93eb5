//! Who asks: the bearer of a token, and the machine a request comes from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::app::App;
use crate::features::tokens::actions::authenticate;
use crate::features::tokens::model::Caller;
use crate::kernel::error::Refusal;

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Refusal::NotAuthenticated.into());
        };
        let text = value.to_str().map_err(|_| Refusal::InvalidToken)?;
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Ok(authenticate(app, token.trim()).await?)
            }
            _ => Err(Refusal::NotAuthenticated.into()),
        }
    }
}

/// The peer of the connection, put into each request by the server.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The address of the client: the peer, or what a trusted proxy says about it.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let limits = &app.config.limits;
        let mut client = peer;
        // From the right: each proxy appends whom it heard from. What a proxy we trust says is believed, and nothing to
        // the left of a word that is not an address or not from one we trust.
        let said = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let said: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
        for word in said.iter().rev() {
            let (true, Some(address)) = (limits.trusts(client), address(word.trim())) else { break };
            client = address;
        }
        Ok(Self(client))
    }
}

/// An address as proxies write it, with or without a port.
fn address(word: &str) -> Option<IpAddr> {
    word.parse().ok().or_else(|| word.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}
