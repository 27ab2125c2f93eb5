//! A new password by a link in a mail, over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::features::accounts::actions::reset;
use crate::features::accounts::model::password;
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, FieldError, Refusal};
use crate::problems;
use crate::web::client_address::ClientAddress;
use crate::web::extract::JsonBody;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(request_password_reset)).routes(routes!(complete_password_reset))
}

/// The address of an account.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct ResetRequest {
    /// At most 150 characters.
    #[schema(max_length = 150, format = Email, example = "test4@test.ru")]
    email: String,
}

problems!(ResetRequestProblems: body keyed[]);

/// Ask for a new password
///
/// If there is an account with this address, a mail with a link goes to it, in the language of `Accept-Language`
/// (English or Russian). The answer is the same for every address, and so is the work. A link is good for 10 minutes
/// (`mail.reset_minutes`), and once. Three mails an hour are sent to one address, and ten asked for from one client
/// address; beyond that the answer is the same, and nothing is sent. Nor is anything where no mail server is
/// configured.
#[utoipa::path(post, path = "/api/v1/auth/reset", tag = "Accounts", operation_id = "request_password_reset",
    security(()), request_body = ResetRequest,
    responses((status = 202, description = "Whoever has the address gets a mail"), ResetRequestProblems))]
async fn request_password_reset(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let email = fields.parsed("email", Email::parse);
    let email = fields.all(email)?;
    if app.limits.lets_ask_for_mail(email.key(), client).await? {
        reset::ask(&app, caller.answered(&Reply::empty(StatusCode::ACCEPTED))?, language, &email).await?;
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}

/// A new password, with the link of a mail as proof.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct Reset {
    /// What stands behind `/mail/` in the link of the mail.
    #[schema(example = "AZsoJx3jd0S3rrkB1qvA5b2sT2m0p9kQvJ4w1nZ7h3cLr8xYtUe6GdFo5iSaPqWz")]
    token: String,
    /// At least 12 characters (`accounts.min_password_length`), at most 128 and 1,024 bytes; not a common one, nor one
    /// that holds your name or address.
    #[schema(max_length = 128, format = Password, example = "a longer, better one")]
    password: String,
}

problems!(ResetProblems: body keyed[LinkExpired, RateLimited]);

/// Choose a new password
///
/// With the token of the link in a mail, once. Every session ends: log in with the new password. Whoever has no
/// password yet gets one. Where nobody had shown before that the address is theirs, links to identity providers and
/// consents end as well. At most 120 calls a minute from one address (`limits.tokens_per_address`).
#[utoipa::path(post, path = "/api/v1/auth/reset/complete", tag = "Accounts", operation_id = "complete_password_reset",
    security(()), request_body = Reset,
    responses((status = 204, description = "The password is set"), ResetProblems))]
async fn complete_password_reset(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.oauth_from(client).await?;
    let token = fields.text("token");
    let new = fields.text("password");
    let (token, new) = fields.all(token.zip(new))?;
    // What would be refused for anybody is refused whatever the link is worth.
    let least = app.config.accounts.min_password_length;
    if let Err(reason) = password::check_new(&new, least, None, None) {
        return Err(Error::Invalid(vec![FieldError::new("body", "password", "password", reason)]).into());
    }
    let token = LinkToken::parse(&token).ok_or(Refusal::LinkExpired)?;
    reset::complete(&app, caller.answered(&Reply::nothing())?, &token, language, &new).await?;
    Ok(Reply::nothing())
}
