//! Who asks: the bearer of a token, and the machine a request comes from.
//!
//! A route says what it asks of a token by the type of its argument, so that it cannot forget to look.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::problem::Problem;
use crate::app::App;
use crate::features::accounts;
use crate::features::tokens::actions::authenticate;
use crate::features::tokens::model::{Caller, Subject};
use crate::kernel::error::Refusal;
use crate::kernel::ids::{SessionId, UserId};
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
        Ok(Self { user, session: caller.session, scopes: caller.scopes, need: PhantomData })
    }
}

/// A person whose token has the scope, or a program that may read.
pub struct Reader<N> {
    pub subject: Subject,
    /// Whether the token lets a manager act as one.
    pub may_manage: bool,
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
        let may_manage = caller.scopes.has(Scope::Admin);
        Ok(Self { subject: caller.subject, may_manage, need: PhantomData })
    }
}

/// A manager whose token lets them act as one.
pub struct Manager {
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
        Ok(Self { user })
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
