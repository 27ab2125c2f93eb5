//! Who asks: the bearer of a token.
//!
//! A route says what it asks of a token by the type of its argument, so that it cannot forget to look.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use uuid::Uuid;

use super::{actions, store};
use crate::app::App;
use crate::kernel::actor::Actor;
use crate::kernel::caller::{Caller, Subject};
use crate::kernel::error::Refusal;
use crate::kernel::ids::{ClientId, SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::web::actor::anonymous;
use crate::web::idempotency::Acts;
use crate::web::problem::Problem;

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
                Ok(actions::authenticate(app, token.trim()).await?)
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
            impl crate::features::tokens::caller::Need for $name {
                const SCOPE: crate::kernel::scope::Scope = crate::kernel::scope::Scope::$name;
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

impl<N> Acts for Person<N> {
    fn actor(&self) -> Actor {
        self.actor
    }

    fn scopes(&self) -> String {
        self.scopes.to_string()
    }
}

impl Acts for Manager {
    fn actor(&self) -> Actor {
        self.actor
    }
}

/// A manager whose token lets them act as one.
pub struct Manager {
    pub actor: Actor,
    pub user: UserId,
    pub session: SessionId,
}

impl FromRequestParts<Arc<App>> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let Subject::Person(user) = caller.subject else { return Err(Refusal::PersonRequired.into()) };
        manage(&caller, user, app).await?;
        Ok(Self { actor: anonymous(parts).manager(user), user, session: caller.session })
    }
}

/// Whoever may read what the program has on its new routes: a manager whose token lets them act as one, or a program
/// that may read or write.
pub struct ProgramReader {
    /// The user's, or the client's.
    pub id: Uuid,
}

impl FromRequestParts<Arc<App>> for ProgramReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let id = match caller.subject {
            Subject::Person(user) => {
                manage(&caller, user, app).await?;
                user.0
            }
            Subject::Program(client) => {
                // Who may write reads as well.
                if !caller.scopes.has(Scope::ProgramWrite) {
                    require(&caller, Scope::ProgramRead)?;
                }
                client
            }
        };
        Ok(Self { id })
    }
}

/// A program that may write.
pub struct ProgramWriter {
    pub actor: Actor,
    pub client: ClientId,
}

impl Acts for ProgramWriter {
    fn actor(&self) -> Actor {
        self.actor
    }
}

impl FromRequestParts<Arc<App>> for ProgramWriter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        require(&caller, Scope::ProgramWrite)?;
        // No person can give the scope.
        let Subject::Program(client) = caller.subject else { return Err(Refusal::InsufficientScope.into()) };
        let client = ClientId(client);
        Ok(Self { actor: anonymous(parts).program(client), client })
    }
}

/// Whoever may tell of payments: a manager whose token lets them act as one, or a program that may write.
pub struct Payer {
    pub actor: Actor,
}

impl Acts for Payer {
    fn actor(&self) -> Actor {
        self.actor
    }
}

impl FromRequestParts<Arc<App>> for Payer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, app).await?;
        let anonymous = anonymous(parts);
        let actor = match caller.subject {
            Subject::Person(user) => {
                manage(&caller, user, app).await?;
                anonymous.manager(user)
            }
            Subject::Program(client) => {
                require(&caller, Scope::ProgramWrite).map(|()| anonymous.program(ClientId(client)))?
            }
        };
        Ok(Self { actor })
    }
}

async fn manage(caller: &Caller, user: UserId, app: &App) -> Result<(), Problem> {
    // Who is no manager learns that first: no scope would help.
    if !store::is_manager(&app.db, user).await? {
        return Err(Refusal::ManagersOnly.into());
    }
    require(caller, Scope::Admin)
}

fn require(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    if caller.scopes.has(scope) {
        return Ok(());
    }
    Err(Problem { scope: Some(scope), ..Refusal::InsufficientScope.into() })
}
