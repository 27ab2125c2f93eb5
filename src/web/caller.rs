//! Who asks: the bearer of a token, and the machine a request comes from.
//!
//! A route says what it asks of a token by the type of its argument, so that it cannot forget to look.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::app::App;
use crate::config::Limits;
use crate::features::accounts;
use crate::features::tokens::actions::authenticate;
use crate::features::tokens::model::{Caller, Subject};
use crate::kernel::actor::Actor;
use crate::kernel::error::Refusal;
use crate::kernel::ids::{RequestId, SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};

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

/// Whoever has sent a request, before it is known who that is; the guard has given the request its id.
pub fn anonymous(parts: &Parts) -> Actor {
    Actor::anonymous(parts.extensions.get::<RequestId>().copied())
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(anonymous(parts))
    }
}

/// The scope that a route asks for.
pub trait Need: Send + Sync {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident)*) => {
        /// The scopes as types.
        pub mod need {
            $(pub struct $name;
            impl super::Need for $name {
                const SCOPE: super::Scope = super::Scope::$name;
            })*
        }
    };
}

needs! { Openid Profile Account CodesRead CodesWrite ReferralsRead }

/// A person whose token has the scope.
pub struct Person<N> {
    pub actor: Actor,
    pub user: UserId,
    pub session: SessionId,
    pub scopes: Scopes,
    need: PhantomData<N>,
}

impl<N: Need> FromRequestParts<Arc<App>> for Person<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Subject::Person(user) = caller.subject else { return Err(Refusal::PersonRequired.into()) };
        require(&caller, N::SCOPE)?;
        let actor = anonymous(parts).person(user);
        Ok(Self { actor, user, session: caller.session, scopes: caller.scopes, need: PhantomData })
    }
}

/// A person whose token has the scope, or a program that may read.
pub struct Reader<N> {
    pub subject: Subject,
    /// Whether the token lets a manager act as one.
    pub may_manage: bool,
    /// Whether it lets them read codes, too.
    pub may_read_codes: bool,
    need: PhantomData<N>,
}

impl<N: Need> FromRequestParts<Arc<App>> for Reader<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let scope = match caller.subject {
            Subject::Person(_) => N::SCOPE,
            Subject::Program(_) => Scope::ProgramRead,
        };
        require(&caller, scope)?;
        let [may_manage, may_read_codes] = [Scope::Admin, Scope::CodesRead].map(|scope| caller.scopes.has(scope));
        Ok(Self { subject: caller.subject, may_manage, may_read_codes, need: PhantomData })
    }
}

/// A manager whose token lets them act as one.
pub struct Manager {
    pub actor: Actor,
    pub user: UserId,
}

impl FromRequestParts<Arc<App>> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Subject::Person(user) = caller.subject else { return Err(Refusal::PersonRequired.into()) };
        // Who is no manager learns that first: no scope would help.
        if !accounts::actions::is_manager(app, user).await? {
            return Err(Refusal::ManagersOnly.into());
        }
        require(&caller, Scope::Admin)?;
        Ok(Self { actor: anonymous(parts).manager(user), user })
    }
}

fn require(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    if caller.scopes.has(scope) {
        return Ok(());
    }
    Err(Problem { scope: Some(scope), ..Refusal::InsufficientScope.into() })
}

/// The peer of the connection, put into each request by the server.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whether it is a proxy whose word counts.
    pub trusted: bool,
}

/// The address of the client: the peer, or what a trusted proxy says about it.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub IpAddr);

impl FromRequestParts<Arc<App>> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(peer) = parts.extensions.get::<Peer>() else { return Ok(Self(Ipv4Addr::UNSPECIFIED.into())) };
        Ok(Self(client(&app.config.limits, *peer, &parts.headers)))
    }
}

/// Who asks: the peer, or whom the proxies that we trust name. They are read from the right, for each proxy appends whom
/// it heard from. What is left of a word that is no address, or not from a proxy we trust, is anybody's invention.
pub fn client(limits: &Limits, peer: Peer, headers: &HeaderMap) -> IpAddr {
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
