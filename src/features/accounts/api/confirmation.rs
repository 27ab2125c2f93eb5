//! Showing that an address is one's own, over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::features::accounts::actions::confirmation;
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::Refusal;
use crate::problems;
use crate::web::client_address::ClientAddress;
use crate::web::extract::JsonBody;
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(confirm_email)).routes(routes!(resend_confirmation))
}

/// The link of a mail.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct EmailConfirmation {
    /// What stands behind `/mail/` in the link of the mail.
    #[schema(example = "AZsoJx3jd0S3rrkB1qvA5b2sT2m0p9kQvJ4w1nZ7h3cLr8xYtUe6GdFo5iSaPqWz")]
    token: String,
}

problems!(ConfirmationProblems: body keyed[LinkExpired, RateLimited]);

/// Confirm your address
///
/// With the token of the link in a mail, once. A referral that waited for it counts from now on, unless it waits for
/// a verdict on the address as well. Where it was sent to an address that is to replace yours, it does. At most 120
/// calls a minute from one address (`limits.tokens_per_address`).
#[utoipa::path(post, path = "/api/v1/auth/confirm", tag = "Accounts", operation_id = "confirm_email", security(()),
    request_body = EmailConfirmation,
    responses((status = 204, description = "Confirmed"), ConfirmationProblems))]
async fn confirm_email(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.oauth_from(client).await?;
    let token = fields.text("token");
    let token = LinkToken::parse(&fields.all(token)?).ok_or(Refusal::LinkExpired)?;
    confirmation::confirm(&app, caller.answered(&Reply::nothing())?, &token, language).await?;
    Ok(Reply::nothing())
}

/// The address that a mail is wanted for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct Resend {
    /// At most 150 characters.
    #[schema(max_length = 150, format = Email, example = "test4@test.ru")]
    email: String,
}

problems!(ResendProblems: body keyed[]);

/// Ask for another link to confirm your address
///
/// If there is an account with this address that is not confirmed, a mail with a link goes to it, in the language of
/// `Accept-Language` (English or Russian). The answer is the same for every address, and so is the work. A link is good
/// for 60 minutes (`mail.confirm_minutes`), and once. Counted with the mails to choose a new password: three an hour to
/// one address, and ten asked for from one client address.
#[utoipa::path(post, path = "/api/v1/auth/confirm/resend", tag = "Accounts", operation_id = "resend_confirmation",
    security(()), request_body = Resend,
    responses((status = 202, description = "Whoever has the address gets a mail"), ResendProblems))]
async fn resend_confirmation(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let email = fields.parsed("email", Email::parse);
    let email = fields.all(email)?;
    if app.limits.lets_ask_for_mail(email.key(), client).await? {
        confirmation::ask(&app, caller.answered(&Reply::empty(StatusCode::ACCEPTED))?, language, &email).await?;
    }
    Ok(Reply::empty(StatusCode::ACCEPTED))
}
