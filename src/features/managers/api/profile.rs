//! All that is known of one person, for managers.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::people::PersonOut;
use super::user;
use crate::app::App;
use crate::features::codes::api::CodeOut;
use crate::features::identities::api::IdentityOut;
use crate::features::managers::actions;
use crate::features::referrals::model::Status;
use crate::features::tokens::api::sessions::SessionOut;
use crate::features::tokens::caller::Manager;
use crate::kernel::email::mask;
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::problems;
use crate::web::extract::PathText;
use crate::web::problem::Problem;

pub fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(profile))
}

/// Who brought somebody.
#[derive(Serialize, ToSchema)]
pub struct BroughtBy {
    #[schema(example = "7c273bf0-8243-4c43-b88d-76ab0b6d1dff")]
    id: Uuid,
    #[schema(example = "owner")]
    username: String,
    status: Status,
}

/// What somebody has allowed a client.
#[derive(Serialize, ToSchema)]
pub struct AllowedClient {
    #[schema(example = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    client_id: String,
    #[schema(example = "Example Shop")]
    name: String,
    #[schema(example = "openid profile")]
    scope: String,
    /// UTC.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    granted_at: Time,
}

/// All that is known of somebody.
#[derive(Serialize, ToSchema)]
pub struct PersonProfile {
    #[serde(flatten)]
    person: PersonOut,
    /// Whether others find their active code by their address.
    #[schema(example = true)]
    discoverable: bool,
    /// Whether they log in with a password.
    #[schema(example = true)]
    has_password: bool,
    /// UTC, as all times here.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    disabled_at: Option<Time>,
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    erased_at: Option<Time>,
    /// When the verdict was given.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-23T09:30:02Z")]
    email_checked_at: Option<Time>,
    /// When they have shown that the address is theirs.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    email_proven_at: Option<Time>,
    /// The address that they want instead of theirs, until they have shown that it is theirs.
    #[schema(required, example = json!(null))]
    new_email: Option<String>,
    #[schema(required)]
    referred_by: Option<BroughtBy>,
    #[schema(minimum = 0, example = 3)]
    referral_count: i64,
    #[schema(required)]
    active_code: Option<CodeOut>,
    /// Codes made so far.
    #[schema(minimum = 0, example = 1)]
    code_count: i64,
    /// The latest, oldest first: 50 in a profile, 10,000 in an export.
    codes: Vec<CodeOut>,
    /// Where they are logged in.
    sessions: Vec<SessionOut>,
    /// What they sign in with beside their password.
    identities: Vec<IdentityOut>,
    /// What they have allowed which clients.
    consents: Vec<AllowedClient>,
    /// The name of their link.
    #[schema(required, example = "k3j9x2mq")]
    handle: Option<String>,
    /// How often it was opened, as far as that is counted.
    #[schema(minimum = 0, example = 12)]
    clicks: i64,
    /// By how many, likewise.
    #[schema(minimum = 0, example = 9)]
    visitors: i64,
    /// How the host's app calls them; null for those whom no host tells of, as the next two.
    #[schema(required, example = json!(null))]
    external_id: Option<String>,
    /// What those see whom they invite.
    #[schema(required, example = json!(null))]
    name: Option<String>,
    #[schema(required, example = json!(null))]
    language: Option<String>,
    /// What was written to them and is still kept, the newest first: 50 in a profile, 10,000 in an export.
    mails: Vec<MailTo>,
}

/// A mail to somebody.
#[derive(Serialize, ToSchema)]
pub struct MailTo {
    kind: MailKind,
    #[schema(example = "en")]
    language: String,
    /// UTC, as all times here.
    #[schema(value_type = String, format = DateTime, example = "2026-11-23T09:30:00.123456Z")]
    created_at: Time,
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-23T09:30:01Z")]
    sent_at: Option<Time>,
    /// When its link was used, or put out of use.
    #[schema(required, value_type = Option<String>, format = DateTime, example = json!(null))]
    used_at: Option<Time>,
}

impl PersonProfile {
    /// For the person: a name that is an address is shown like one.
    pub fn without_addresses_of_others(mut self) -> Self {
        if let Some(by) = &mut self.referred_by {
            by.username = mask(&by.username);
        }
        self
    }

    pub fn of(app: &App, profile: actions::Profile) -> Self {
        let (details, user) = (profile.details, profile.active_code);
        let id = details.person.id;
        Self {
            person: details.person.into(),
            discoverable: details.discoverable,
            has_password: details.has_password,
            disabled_at: details.disabled_at,
            erased_at: details.erased_at,
            email_checked_at: details.email_checked_at,
            email_proven_at: details.email_proven_at,
            new_email: details.new_email,
            referred_by: profile.referred_by.map(|by| BroughtBy {
                id: by.id.0,
                username: by.username,
                status: by.status,
            }),
            referral_count: profile.referral_count,
            active_code: user.map(|code| CodeOut {
                id: code.id,
                user_id: code.owner,
                code: code.code,
                expires_at: Time(code.expires_at),
                is_active: true,
            }),
            code_count: profile.code_count,
            codes: profile.codes.iter().map(CodeOut::from).collect(),
            sessions: profile.sessions.into_iter().map(|session| SessionOut::seen(session, None)).collect(),
            identities: profile.identities.into_iter().map(|linked| IdentityOut::of(app, id, linked)).collect(),
            consents: profile
                .consents
                .into_iter()
                .map(|consent| AllowedClient {
                    client_id: consent.client_id,
                    name: consent.name,
                    scope: consent.scopes.to_string(),
                    granted_at: consent.granted_at,
                })
                .collect(),
            handle: details.handle,
            clicks: profile.clicks.clicks,
            visitors: profile.clicks.visitors,
            external_id: details.external_id,
            name: details.name,
            language: details.language,
            mails: profile
                .mails
                .into_iter()
                .map(|mail| MailTo {
                    kind: mail.kind,
                    language: mail.language,
                    created_at: mail.created_at,
                    sent_at: mail.sent_at,
                    used_at: mail.used_at,
                })
                .collect(),
        }
    }
}

problems!(ProfileProblems: manager query[UserNotFound]);

/// See all that is known of somebody
///
/// For managers. Of somebody who was erased what is kept: numbers, and their place in others' lists.
#[utoipa::path(get, path = "/api/v1/users/{user_id}/profile", tag = "People", operation_id = "get_user",
    security(("oauth" = ["admin"]), ("password" = []), ("bearer" = [])),
    params(("user_id" = String, Path, description = "Their id, with or without hyphens",
        example = "7c273bf082434c43b88d76ab0b6d1dff")),
    responses((status = 200, description = "What is known", body = PersonProfile), ProfileProblems))]
async fn profile(
    State(app): State<Arc<App>>,
    _: Manager,
    PathText(id): PathText,
) -> Result<Json<PersonProfile>, Problem> {
    let profile = actions::profile(&app, user(&id)?).await?;
    Ok(Json(PersonProfile::of(&app, profile)))
}
