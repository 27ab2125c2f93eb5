//! A person's account at our own pages: their code, and what they have allowed which apps.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::log_in::{LogInPage, ask_to_log_in};
use crate::app::App;
use crate::features::clients::actions::consents;
use crate::features::codes;
use crate::features::tokens::actions::browser_sessions;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::parameters::Parameters;
use crate::kernel::time::Time;
use crate::web::pages::{HOME, or_say, page, say};
use crate::web::views::words::Words;
use crate::web::views::{AllowedApp, Apps, Message, OwnCode, Way};
use crate::web::visitor::{ProtectedForm, Visitor};

pub async fn apps(State(app): State<Arc<App>>, visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let words = visitor.words(None);
    let news = match Parameters::parse(query.unwrap_or_default().as_bytes()).first("registered") {
        Some(_) => News::Registered,
        None => News::None,
    };
    let answer = show(&app, &visitor, words, news).await;
    or_say(&app, &visitor, words, answer)
}

/// What has just happened to the account.
#[derive(Clone, Copy)]
enum News<'a> {
    None,
    Registered,
    /// Access was withdrawn from this client.
    Withdrawn(&'a str),
}

async fn show(app: &App, visitor: &Visitor, words: &'static Words, news: News<'_>) -> Result<Response> {
    let Some(person) = browser_sessions::person(app, visitor).await? else {
        let log_in = LogInPage { next: HOME, username: "", code: None, alert: None };
        return ask_to_log_in(app, visitor, words, StatusCode::OK, &log_in).await;
    };
    let consents = consents::list(app, person.user).await?;
    let apps: Vec<AllowedApp<'_>> = consents
        .iter()
        .map(|consent| AllowedApp {
            client_id: &consent.client_id,
            name: &consent.name,
            scopes: consent.scopes,
            since: consent.granted_at,
        })
        .collect();
    let active = codes::actions::active_of(app, person.user).await?;
    let link = active.as_ref().map(|active| register_with(app, &active.code)).unwrap_or_default();
    let view = Apps {
        words,
        csrf: &visitor.csrf(),
        user: &person.username,
        registered: matches!(news, News::Registered),
        code: active.as_ref().map(|active| OwnCode {
            code: &active.code,
            expires_at: Time(active.expires_at),
            link: &link,
        }),
        apps: &apps,
        withdrawn: match news {
            News::Withdrawn(client) => Some(client),
            News::None | News::Registered => None,
        },
    };
    page(app, visitor, StatusCode::OK, &view)
}

/// The page to register on with a code, in full: people send it to each other.
fn register_with(app: &App, code: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("code", code).finish();
    format!("{}/oauth/register?{query}", app.public_url())
}

pub async fn withdraw_on_page(State(app): State<Arc<App>>, visitor: Visitor, form: ProtectedForm) -> Response {
    let words = visitor.words(None);
    let answer = async {
        let Some(form) = form.verified(&visitor) else {
            return say(&app, &visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::Apps);
        };
        let Some(person) = browser_sessions::person(&app, &visitor).await? else {
            return show(&app, &visitor, words, News::None).await;
        };
        let client = form.first("client_id").unwrap_or_default();
        let consents = consents::list(&app, person.user).await?;
        let name = consents.into_iter().find(|consent| consent.client_id == client).map(|consent| consent.name);
        match consents::withdraw(&app, visitor.actor.person(person.user), person.user, client).await {
            // Twice is once: a form may be sent again.
            Ok(()) | Err(Error::Refused(Refusal::ConsentNotFound)) => {
                show(&app, &visitor, words, name.as_deref().map_or(News::None, News::Withdrawn)).await
            }
            Err(error) => Err(error),
        }
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}
