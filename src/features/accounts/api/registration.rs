//! Registration over HTTP.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::features::accounts::actions::registration::{self, Invitation, Registered};
use crate::features::accounts::model::password;
use crate::features::accounts::model::{Entrance, Registration, check_name_against};
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::Result;
use crate::kernel::handle::InvitationKey;
use crate::kernel::name::Username;
use crate::problems;
use crate::web::client_address::ClientAddress;
use crate::web::extract::{Fields, JsonBody, PathText};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;
use crate::web::views::language::Language;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(register)).routes(routes!(register_with_code))
}

/// A new account.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct NewUser {
    /// 1 to 50 letters and digits of any script and `. @ + - _` (PRECIS, RFC 8265); unique, look-alikes included.
    #[schema(min_length = 1, max_length = 50, example = "admin4")]
    username: String,
    /// At most 150 characters; unique, look-alikes included.
    #[schema(max_length = 150, format = Email, example = "test4@test.ru")]
    email: String,
    /// At least 12 characters (`accounts.min_password_length`), at most 128 and 1,024 bytes; not a common one, nor one
    /// that holds your name or address.
    #[schema(min_length = 12, max_length = 128, format = Password, example = "Q123werty!23")]
    password: String,
    /// The code of whoever invited you (12 to 32 letters and digits), or their handle (4 to 11), which stands for the
    /// code they have then. Case, blanks, hyphens and a full stop make no difference.
    #[schema(example = json!(null))]
    code: Option<String>,
    /// The same as `code`, for programs that spell it so.
    #[schema(example = json!(null))]
    referral_code: Option<String>,
}

/// An account.
#[derive(Serialize, ToSchema)]
struct UserOut {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    #[schema(format = "idn-email", example = "test4@test.ru")]
    email: String,
    #[schema(example = "admin4")]
    username: String,
}

/// What a registration is answered.
fn registered(user: &Registered) -> Result<Reply> {
    let user = UserOut { id: user.id.0, email: user.email.clone(), username: user.username.clone() };
    Reply::json(StatusCode::CREATED, &user)
}

problems!(RegisterProblems: body keyed[CodeNotUsable, UsernameTaken, EmailTaken, RateLimited]);

/// Register
///
/// With a code the referral is made in the same step: either both or neither. Where the operator wants it so, nobody is
/// told whether the address was free: the answer is 202, whoever has the address gets a mail, and log-in begins with
/// the link in it. At most 30 registrations a minute from one address (`limits.registrations_per_address`).
#[utoipa::path(post, path = "/api/v1/auth/user", tag = "Accounts", operation_id = "register_account", security(()),
    request_body(content = NewUser, examples(
        ("alone" = (summary = "Without a code", value = json!({"username": "admin4", "email": "test4@test.ru",
            "password": "Q123werty!23"}))),
        ("invited" = (summary = "With a code", value = json!({"username": "admin4", "email": "test4@test.ru",
            "password": "Q123werty!23", "code": "SPRING2030AB"}))))),
    responses((status = 201, description = "Registered", body = UserOut,
        links(("referees" = (operation_id = "list_referees", parameters(("referrer_id" = "$response.body#/id")))))),
        (status = 202, description = "Whoever has the address hears by mail what came of it"), RegisterProblems))]
async fn register(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.register_from(client).await?;
    let (new, invitation) = read_registration(&app, fields, None)?;
    answer(&app, &caller, new, invitation, language).await
}

/// Register with the code in the path
///
/// As `POST /auth/user`, and counted with it: at most 30 registrations a minute from one address
/// (`limits.registrations_per_address`). A code in the body as well must be the same.
#[utoipa::path(post, path = "/api/v1/auth/user/{code}", tag = "Accounts", operation_id = "register_account_with_code",
    security(()),
    params(("code" = String, Path, description = "The code of whoever invited you", example = "12AF32CF8978")),
    request_body(content = NewUser, example = json!({"username": "admin4", "email": "test4@test.ru",
        "password": "Q123werty!23"})),
    responses((status = 201, description = "Registered", body = UserOut,
        links(("referees" = (operation_id = "list_referees", parameters(("referrer_id" = "$response.body#/id")))))),
        (status = 202, description = "Whoever has the address hears by mail what came of it"), RegisterProblems))]
async fn register_with_code(
    State(app): State<Arc<App>>,
    caller: Keyed<Actor>,
    ClientAddress(client): ClientAddress,
    language: Language,
    PathText(code): PathText,
    JsonBody(fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.register_from(client).await?;
    let (new, invitation) = read_registration(&app, fields, Some(&code))?;
    answer(&app, &caller, new, invitation, language).await
}

/// The new account; where a registration is not to tell whether the address was free, nothing.
async fn answer(
    app: &App,
    caller: &Keyed<Actor>,
    new: Registration,
    invitation: Invitation,
    language: Language,
) -> Result<Reply, Problem> {
    let tell = match app.config.is_quiet() {
        true => |_: &Registered| Ok(Reply::empty(StatusCode::ACCEPTED)),
        false => registered,
    };
    let made = registration::register(app, caller.sent(tell)?, new, invitation, language).await?;
    Ok(tell(&made)?)
}

/// A registration with its referral code, from the fields of a body and the path.
pub fn read_registration(app: &App, mut fields: Fields, path: Option<&str>) -> Result<(Registration, Invitation)> {
    let username = fields.parsed("username", Username::parse);
    let email = fields.parsed("email", Email::parse);
    let typed = fields.text("password");
    let (code, spelled) = (fields.optional_text("code"), fields.optional_text("referral_code"));
    if let (Some(code), Some(spelled)) = (&code, &spelled)
        && !same_code(code, spelled)
    {
        fields.refuse("referral_code", "code_mismatch", "The referral_code is not the code");
    }
    let body = code.or(spelled);
    if let (Some(username), Some(email)) = (&username, &email) {
        fields.judge("username", check_name_against(username, email));
    }
    if let Some(typed) = &typed {
        let least = app.config.accounts.min_password_length;
        fields.judge("password", password::check_new(typed, least, username.as_ref(), email.as_ref()));
    }
    if let (Some(path), Some(body)) = (path, &body)
        && !same_code(path, body)
    {
        fields.refuse("code", "code_mismatch", "The code in the body is not the one in the path");
    }
    let whole = username.zip(email).zip(typed).map(|((username, email), password)| (username, email, password));
    let (username, email, password) = fields.all(whole)?;
    let invitation = match path.or(body.as_deref()) {
        None => Invitation::None,
        Some(text) => InvitationKey::of(text).map_or(Invitation::Nonsense, Invitation::Key),
    };
    Ok((Registration { username, email, entrance: Entrance::Password(password) }, invitation))
}

fn same_code(a: &str, b: &str) -> bool {
    match (InvitationKey::of(a), InvitationKey::of(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
