//! Accounts over HTTP.

mod address;
mod confirmation;
pub mod registration;
mod reset;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::features::accounts::actions;
use crate::features::accounts::actions::profile::{self as me, Profile, Proof};
use crate::features::accounts::model::parse_own_name;
use crate::features::clients::model::DOCS;
use crate::features::codes::api::CodeOut;
use crate::features::referrals::model::Status;
use crate::features::tokens;
use crate::features::tokens::api::TokenOut;
use crate::features::tokens::caller::{Person, need};
use crate::kernel::actor::Actor;
use crate::kernel::caller::FIRST_PARTY;
use crate::kernel::email::mask;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::scope::{Scope, Scopes};
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::web::client_address::ClientAddress;
use crate::web::extract::{Fields, JsonBody, JsonOrForm};
use crate::web::idempotency::{Keyed, Reply};
use crate::web::problem::Problem;
use crate::web::views::language::Language;
use crate::{problems, words};

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(registration::router())
        .routes(routes!(log_in))
        .merge(address::router())
        .merge(confirmation::router())
        .merge(reset::router())
        .routes(routes!(profile, update, erase))
        .routes(routes!(change_password))
}

words! {
    /// How tokens are asked for: with a password, or with a refresh token.
    pub enum LogInGrant as "LogInGrantType" {
        Password = "password",
        RefreshToken = "refresh_token",
    }
}

/// A log-in, or a refresh.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct TokenRequest {
    /// A password when left out.
    grant_type: Option<LogInGrant>,
    /// User name or e-mail address; for a log-in.
    #[schema(example = "admin4")]
    username: Option<String>,
    /// For a log-in: at most 128 characters and 1,024 bytes.
    #[schema(format = Password, example = "Q123werty!23")]
    password: Option<String>,
    /// For a refresh: the latest of the log-in.
    refresh_token: Option<String>,
}

problems!(TokenProblems: body[BadCredentials, InvalidRefreshToken, EmailCheckPending, EmailUnconfirmed, EmailRefused,
    RateLimited]);

/// Log in, or refresh
///
/// With user name or e-mail and password, or with `grant_type: refresh_token`. A refresh token is replaced at each use;
/// using a replaced one ends the session, for somebody else may have it. (For ten seconds the one just replaced gets
/// the same answer again: answers get lost.)
///
/// A form (`application/x-www-form-urlencoded`) with the same fields is accepted as well. It is not described here:
/// clients that are generated from two types of one body do not work.
///
/// At most 5 log-ins a minute to one account from one address (`limits.logins_per_account`), 30 log-ins a minute from
/// one address (`limits.logins_per_address`) and 120 refreshes a minute from one address (`limits.tokens_per_address`).
/// A person keeps 100 log-ins at once (`limits.sessions_per_user`); a further one ends the one unused for longest.
#[utoipa::path(post, path = "/api/v1/auth/token", tag = "Accounts", operation_id = "log_in", security(()),
    request_body(content = TokenRequest, examples(
        ("log_in" = (summary = "Log in", value = json!({"username": "admin4", "password": "Q123werty!23"}))),
        ("refresh" = (summary = "Refresh", value = json!({"grant_type": "refresh_token",
            "refresh_token": "rt_1l8CY2F2cWJ0Zm5xd3p4eWFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"}))))),
    responses((status = 200, description = "Logged in", body = TokenOut), TokenProblems))]
async fn log_in(
    State(app): State<Arc<App>>,
    actor: Actor,
    ClientAddress(client): ClientAddress,
    JsonOrForm(mut fields): JsonOrForm,
) -> Result<Json<TokenOut>, Problem> {
    let grant_type = fields.optional_text("grant_type");
    let grant = match grant_type.as_deref().map_or(Some(LogInGrant::Password), LogInGrant::parse) {
        Some(LogInGrant::RefreshToken) => {
            app.limits.oauth_from(client).await?;
            let refresh_token = fields.text("refresh_token");
            tokens::actions::refresh(&app, actor, FIRST_PARTY, &fields.all(refresh_token)?, None, Scopes::ALL).await?
        }
        Some(LogInGrant::Password) => {
            let username = fields.text("username");
            let password = fields.text("password");
            let (username, password) = fields.all(username.zip(password))?;
            actions::log_in(&app, actor, &username, &password, client).await?
        }
        None => {
            return Err(Error::field("grant_type", "grant_type", "Either password or refresh_token").into());
        }
    };
    Ok(Json(grant.into()))
}

words! {
    /// What somebody may do: a manager runs the program.
    pub enum Role as "Role" {
        User = "user",
        Manager = "manager",
    }
}

impl Role {
    pub fn all_of(is_manager: bool) -> Vec<Self> {
        if is_manager { vec![Self::User, Self::Manager] } else { vec![Self::User] }
    }
}

/// Oneself.
#[derive(Serialize, ToSchema)]
struct Me {
    #[schema(example = "5442a9ef-ea29-4d5c-a6ac-d29988e39cca")]
    id: Uuid,
    /// Null when there is none.
    #[schema(required, format = "idn-email", example = "test4@test.ru")]
    email: Option<String>,
    #[schema(example = "admin4")]
    username: String,
    /// What you show to those whom you invite; null where that is your username.
    #[schema(required, example = "Olga")]
    name: Option<String>,
    /// At least `user`.
    #[schema(example = json!(["user"]))]
    roles: Vec<Role>,
    /// Whether others find your active code by your address.
    #[schema(example = true)]
    discoverable: bool,
    /// What is known about your address.
    email_verdict: Verdict,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
    /// Who brought you.
    #[schema(required)]
    referred_by: Option<ReferredBy>,
    /// How many you brought.
    #[schema(minimum = 0, example = 3)]
    referral_count: i64,
    /// Null if there is none, or if the token lacks `codes:read`.
    #[schema(required)]
    active_code: Option<CodeOut>,
}

/// Who brought somebody.
#[derive(Serialize, ToSchema)]
struct ReferredBy {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
    #[schema(example = "owner")]
    username: String,
    status: Status,
}

impl Me {
    /// What a token with these scopes may see of it.
    fn seen(profile: Profile, scopes: Scopes) -> Self {
        let user = profile.user;
        Self {
            id: user.id.0,
            roles: Role::all_of(user.is_manager),
            discoverable: user.discoverable,
            email_verdict: user.verdict,
            created_at: user.created_at,
            referred_by: profile.referred_by.map(|referrer| ReferredBy {
                id: referrer.id.0,
                // A name that is an address is shown like one.
                username: mask(&referrer.username),
                status: referrer.status,
            }),
            referral_count: profile.referral_count,
            active_code: profile.active_code.filter(|_| scopes.has(Scope::CodesRead)).map(|code| CodeOut {
                id: code.id,
                user_id: code.owner,
                code: code.code,
                expires_at: Time(code.expires_at),
                is_active: true,
            }),
            email: Some(user.email).filter(|email| !email.is_empty()),
            username: user.username,
            name: user.name,
        }
    }
}

problems!(ProfileProblems: person[]);

/// See your account
///
/// With your active code, who brought you and how many you brought.
#[utoipa::path(get, path = "/api/v1/me", tag = "Accounts", operation_id = "get_profile",
    security(("oauth" = ["profile"]), ("password" = []), ("bearer" = [])),
    responses((status = 200, description = "You", body = Me), ProfileProblems))]
async fn profile(State(app): State<Arc<App>>, caller: Person<need::Profile>) -> Result<Json<Me>, Problem> {
    Ok(Json(Me::seen(me::profile(&app, caller.user).await?, caller.scopes)))
}

/// What to change: one of the fields at least. What is left out or null stays.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct Update {
    /// Whether others find your active code by your address.
    #[schema(example = false)]
    discoverable: Option<bool>,
    /// What you show to those whom you invite. Empty: your username again.
    #[schema(max_length = 100, example = "Olga")]
    name: Option<String>,
    /// The name of your link: 4 to 11 of a-z and 0-9. Chosen once; what was drawn before leads on as well.
    #[schema(min_length = 4, max_length = 11, pattern = "^[a-z0-9]{4,11}$", example = json!(null))]
    handle: Option<String>,
}

problems!(UpdateProblems: person body keyed[HandleTaken, HandleChosen, RateLimited]);

/// Change how others see and find you
///
/// A handle is chosen once, and issued once: not even one whose owner was erased comes back. At most 60 changes a
/// minute, of whatever kind (`limits.writes_per_user`).
#[utoipa::path(patch, path = "/api/v1/me", tag = "Accounts", operation_id = "update_profile",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])), request_body = Update,
    responses((status = 200, description = "You, changed", body = Me),
        (status = 204, description = "Changed; the token may not read the profile, for it lacks `profile`"), UpdateProblems))]
async fn update(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    let name = fields.optionally_parsed("name", parse_own_name);
    let handle = fields.optionally_parsed("handle", Handle::parse);
    let discoverable = fields.optional_flag("discoverable");
    if name.is_none() && handle.is_none() && discoverable.is_none() && fields.are_fine() {
        fields.refuse("discoverable", "missing", "Field required, or a name or a handle");
    }
    let change = fields.all(Some(me::Change { name, handle, discoverable }))?;
    // Read before: an answer that is kept is made within the write, which reads nothing else.
    let reply = match caller.scopes.has(Scope::Profile) {
        true => {
            let me = Me::seen(me::profile(&app, caller.user).await?, caller.scopes);
            let discoverable = change.discoverable.unwrap_or(me.discoverable);
            let name = change.name.clone().unwrap_or(me.name);
            Reply::json(StatusCode::OK, &Me { name, discoverable, ..me })?
        }
        false => Reply::nothing(),
    };
    me::update(&app, caller.answered(&reply)?, caller.user, change).await?;
    Ok(reply)
}

/// A new password, with the old one as proof.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct PasswordChange {
    /// Not for an account without a password: there a log-in of the last five minutes stands for it,
    /// by a client of this service's own (the documentation page).
    #[schema(format = Password, example = "Q123werty!23")]
    current_password: Option<String>,
    /// At least 12 characters (`accounts.min_password_length`), at most 128 and 1,024 bytes; not a common one, nor one
    /// that holds your name or address.
    #[schema(max_length = 128, format = Password, example = "a longer, better one")]
    new_password: String,
}

problems!(PasswordProblems: person body keyed[WrongPassword, LogInAgain, RateLimited]);

/// Change your password
///
/// Every session ends, this one included: log in again. Where mails are sent, one tells you. At most 5 calls a minute
/// that ask for your password (`limits.logins_per_account`).
#[utoipa::path(post, path = "/api/v1/me/password", tag = "Accounts", operation_id = "change_password",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])), request_body = PasswordChange,
    responses((status = 204, description = "Changed"), PasswordProblems))]
async fn change_password(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    language: Language,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.prove(caller.user).await?;
    let current = proof(&app, caller.user, caller.session, &mut fields, "current_password").await?;
    let new = fields.text("new_password");
    let (current, new) = fields.all(current.zip(new))?;
    let sent = caller.answered(&Reply::nothing())?;
    me::change_password(&app, sent, caller.user, &current, &new, language).await?;
    Ok(Reply::nothing())
}

/// Proof that it is you.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the handler reads")]
struct Erasure {
    /// Not for an account without a password: there a log-in of the last five minutes stands for it,
    /// by a client of this service's own (the documentation page).
    #[schema(format = Password, example = "Q123werty!23")]
    password: Option<String>,
}

problems!(EraseProblems: person body keyed[WrongPassword, LogInAgain, LastManager, RateLimited]);

/// Erase your account
///
/// Name, address, password and codes are removed for good; your place in others' lists stays, without a face. At most 5
/// calls a minute that ask for your password (`limits.logins_per_account`).
#[utoipa::path(delete, path = "/api/v1/me", tag = "Accounts", operation_id = "erase_account",
    security(("oauth" = ["account"]), ("password" = []), ("bearer" = [])), request_body = Erasure,
    responses((status = 204, description = "Erased"), EraseProblems))]
async fn erase(
    State(app): State<Arc<App>>,
    caller: Keyed<Person<need::Account>>,
    JsonBody(mut fields): JsonBody,
) -> Result<Reply, Problem> {
    app.limits.prove(caller.user).await?;
    let password = proof(&app, caller.user, caller.session, &mut fields, "password").await?;
    let sent = caller.answered(&Reply::nothing())?;
    me::erase(&app, sent, caller.user, &fields.all(password)?).await?;
    Ok(Reply::nothing())
}

/// What shows that it is the account's owner who asks: their password or, where there is none, a fresh log-in by a
/// client of our own. A log-in by another program proves that the person wanted that program to have an account, not
/// that they want theirs to end.
pub async fn proof(
    app: &App,
    user: UserId,
    session: SessionId,
    fields: &mut Fields,
    field: &str,
) -> Result<Option<Proof>, Problem> {
    if me::has_password(app, user).await? {
        return Ok(fields.text(field).map(Proof::Password));
    }
    match tokens::actions::fresh_client(app, session).await? {
        Some(client) if [FIRST_PARTY, DOCS].contains(&client.as_str()) => Ok(Some(Proof::FreshLogIn)),
        _ => Err(Refusal::LogInAgain.into()),
    }
}
