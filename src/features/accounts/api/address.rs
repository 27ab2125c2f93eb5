//! Changing one's address, over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::proof;
use crate::app::App;
use crate::features::accounts::actions::address;
use crate::features::tokens::caller::{Person, need};
use crate::kernel::email::Email;
use crate::problems;
use crate::web::extract::JsonBody;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(change_email))
}

/// Another address, with the password as proof.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct EmailChange {
    /// At most 150 characters; unique, look-alikes included.
    #[schema(max_length = 150, format = Email, example = "test5@test.ru")]
    email: String,
    /// Not for an account without a password: there a log-in of the last five minutes stands for it,
    /// by a client of this service's own (the documentation page).
    #[schema(format = Password, example = "Q123werty!23")]
    password: Option<String>,
}

problems!(EmailProblems: person body keyed[WrongPassword, LogInAgain, NotFound, RateLimited]);

/// Change your address
///
/// A mail with a link goes to the new address, which is yours once the link was used; then both addresses are told. If
/// somebody has the new one already, nobody is told. Where no mail server is configured there is nothing at this
/// address. A new password puts the link out of use, and so does who disables the account. Counted with the mails to
/// choose a new password: three an hour to one address; beyond that the answer is the same and nothing is sent. At most
/// 5 calls a minute that ask for your password (`limits.logins_per_account`).
#[utoipa::path(post, path = "/api/v1/me/email", tag = "Accounts", operation_id = "change_email",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])), request_body = EmailChange,
    responses((status = 202, description = "A mail goes to the new address"), EmailProblems))]
async fn change_email(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.prove(caller.user).await?;
    let password = proof(&app, caller.user, caller.session, &mut fields, "password").await?;
    let email = fields.parsed("email", Email::parse);
    let (password, email) = fields.all(password.zip(email))?;
    let sent = caller.answered(&Reply::empty(StatusCode::ACCEPTED))?;
    address::ask(&app, sent, caller.user, &password, email, language).await?;
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
