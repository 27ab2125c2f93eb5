//! Running the program over HTTP, for managers; and what one may take with one of one's own account.

pub mod audit;
pub mod exports;
pub mod lists;
pub mod people;
pub mod profile;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::kernel::error::{Error, FieldError, Refusal};
use crate::kernel::ids::UserId;
use crate::web::extract::Query;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    let people = people::router().merge(profile::router());
    OpenApiRouter::new().merge(people).merge(lists::router()).merge(audit::router())
}

/// Whose account a path names.
fn user(text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).ok_or_else(|| Refusal::UserNotFound.into())
}

/// How many are asked for: 1 to 100, or else 50.
fn size(query: &Query) -> Result<i64, Problem> {
    let Some(text) = query.get("size") else { return Ok(50) };
    let size = text.parse().ok().filter(|size| (1..=100).contains(size));
    size.ok_or_else(|| parameter("size", "Input should be an integer from 1 to 100"))
}

fn parameter(name: &str, rule: &str) -> Problem {
    Error::Invalid(vec![FieldError::new("query", name, "value_error", rule)]).into()
}
