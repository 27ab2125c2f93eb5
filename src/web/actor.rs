//! Who makes a change, as far as a request says it by itself.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::kernel::actor::Actor;
use crate::kernel::ids::RequestId;

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
