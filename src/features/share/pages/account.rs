//! A person's account: what others know them by, how they log in, and its end.

use axum::Json;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::{answer, logged_in, sent};
use crate::app::App;
use crate::features::accounts::actions::profile::{self, Change, Proof};
use crate::features::accounts::actions::{address, handles};
use crate::features::accounts::model::parse_own_name;
use crate::features::clients::actions::consents;
use crate::features::identities::model::LinkedIdentity;
use crate::features::managers::api::exports::Export;
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::{BrowserSession, Session};
use crate::features::{identities, links, managers, tokens};
use crate::kernel::caller::FIRST_PARTY;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::Handle;
use crate::kernel::ids::UserId;
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::pages::{HOME, retry, say};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::share::{AccountPage, Done, ErasePage, SessionView, SignInView};
use crate::web::views::{Message, NextStep};
use crate::web::visitor::ProtectedForm;

/// Sessions on the page: more are listed by the API.
const MOST_SESSIONS: usize = 50;

pub async fn account(browser: Browser, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    answer(&browser, async {
        let person = logged_in(&browser).await?;
        let said = Said { done: query.first("done").and_then(Done::parse), ..Said::default() };
        Ok(page(&browser, &person, StatusCode::OK, &said).await?)
    })
    .await
}

/// What the page says beside what it always does.
#[derive(Default)]
struct Said<'a> {
    /// What has just been done.
    done: Option<Done>,
    typed: Typed<'a>,
    alert: Option<Alert>,
    notes: Notes,
}

/// What somebody has typed that is to be mended, and in which field their password is.
#[derive(Clone, Copy, Default)]
struct Typed<'a> {
    name: Option<&'a str>,
    handle: &'a str,
    email: &'a str,
    password: &'static str,
}

impl<'a> Typed<'a> {
    fn name(fields: &'a Parameters) -> Self {
        Self { name: fields.first("name"), ..Self::default() }
    }

    fn handle(fields: &'a Parameters) -> Self {
        Self { handle: fields.first("handle").unwrap_or_default(), ..Self::default() }
    }

    fn email(fields: &'a Parameters) -> Self {
        Self { email: fields.first("email").unwrap_or_default(), password: "password", ..Self::default() }
    }

    fn password(field: &'static str) -> Self {
        Self { password: field, ..Self::default() }
    }
}

impl Said<'_> {
    /// What a form says of an error; the error itself where it has no words for it.
    fn of(error: Error, typed: Typed<'_>) -> Result<(Self, Problem)> {
        let (alert, notes) = match &error {
            Error::Refused(refusal @ Refusal::WrongPassword) => {
                (None, Notes::none().with(typed.password, refusal.sentence()))
            }
            error => (Alert::of(error), Notes::of(error)),
        };
        if alert.is_none() && notes.is_empty() {
            return Err(error);
        }
        Ok((Self { alert, notes, ..Self::default() }, Problem::from(error)))
    }
}

async fn page(browser: &Browser, person: &BrowserSession, status: StatusCode, said: &Said<'_>) -> Result<Response> {
    let app = &*browser.app;
    let actor = browser.actor().person(person.user);
    let user = profile::user(app, person.user).await?;
    let (handle, _) = handles::of(app, actor, person.user).await?;
    let link = links::actions::link(app, handle.as_str());
    let sign_ins = sign_ins(app, person.user).await?;
    let sessions = sessions(browser, person).await?;
    let view = AccountPage {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        user: &person.username,
        email: &user.email,
        new_email: app.config.mail.is_on().then_some(said.typed.email),
        since: user.created_at,
        name: said.typed.name.or(user.name.as_deref()).unwrap_or_default(),
        handle: if said.typed.handle.is_empty() { handle.as_str() } else { said.typed.handle },
        handle_chosen: user.handle_chosen,
        link: &link,
        discoverable: user.discoverable,
        has_password: profile::has_password(app, person.user).await?,
        least: app.config.accounts.min_password_length,
        sign_ins: &sign_ins,
        sessions: &sessions,
        done: said.done,
        alert: said.alert,
        notes: &said.notes,
    };
    browser.page(status, &view)
}

/// The accounts elsewhere that somebody signs in with.
async fn sign_ins(app: &App, user: UserId) -> Result<Vec<SignInView>> {
    let linked = identities::actions::of(app, user).await?;
    let view = |one: LinkedIdentity| {
        let provider = app.providers.of_issuer(&one.issuer).and_then(|name| app.providers.settings(name));
        let id = one.id(user).to_string();
        SignInView { id, since: one.linked_at, provider: provider.map_or(one.issuer, |known| known.label.clone()) }
    };
    Ok(linked.into_iter().map(view).collect())
}

/// Where somebody is logged in.
async fn sessions(browser: &Browser, person: &BrowserSession) -> Result<Vec<SessionView>> {
    let app = &*browser.app;
    let (sessions, allowed) =
        tokio::try_join!(tokens::actions::sessions::list(app, person.user), consents::list(app, person.user))?;
    let name = |client: String| {
        if client == FIRST_PARTY {
            return browser.words.share.own_program.to_owned();
        }
        let known = allowed.iter().find(|consent| consent.client_id == client);
        known.map_or_else(|| client.clone(), |consent| consent.name.clone())
    };
    let view = |session: Session| SessionView {
        is_this: session.id == person.id.0,
        id: session.id.to_string(),
        app: session.client.map(name),
        used_at: session.used_at,
    };
    Ok(sessions.into_iter().take(MOST_SESSIONS).map(view).collect())
}

/// The page again, with what went wrong.
async fn tell(browser: &Browser, person: &BrowserSession, typed: Typed<'_>, error: Error) -> Result<Response> {
    let (said, problem) = Said::of(error, typed)?;
    let mut response = page(browser, person, form_status(&problem), &Said { typed, ..said }).await?;
    retry(&mut response, problem.retry_after);
    Ok(response)
}

/// A page asks for no scheme of HTTP's, which a 401 would have to name.
fn form_status(problem: &Problem) -> StatusCode {
    match status(problem.refusal) {
        StatusCode::UNAUTHORIZED => StatusCode::UNPROCESSABLE_ENTITY,
        status => status,
    }
}

fn done(browser: &Browser, done: Done) -> Result<Response> {
    browser.see_other(&format!("/share/account?done={}", done.word()))
}

pub async fn set_name(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let chosen = match parse_own_name(fields.first("name").unwrap_or_default()) {
            Ok(name) => change(&browser, &person, Change { name: Some(name), ..Change::default() }).await,
            Err(rule) => Err(Error::field("name", "value_error", rule)),
        };
        match chosen {
            Ok(()) => Ok(done(&browser, Done::Name)?),
            Err(error) => Ok(tell(&browser, &person, Typed::name(fields), error).await?),
        }
    })
    .await
}

pub async fn choose_handle(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let typed = fields.first("handle").unwrap_or_default();
        let chosen = match Handle::parse(typed) {
            Ok(handle) => change(&browser, &person, Change { handle: Some(handle), ..Change::default() }).await,
            Err(rule) => Err(Error::field("handle", "value_error", rule)),
        };
        match chosen {
            Ok(()) => Ok(done(&browser, Done::Handle)?),
            Err(error) => Ok(tell(&browser, &person, Typed::handle(fields), error).await?),
        }
    })
    .await
}

pub async fn set_discoverable(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let discoverable = Some(fields.first("discoverable") == Some("yes"));
        match change(&browser, &person, Change { discoverable, ..Change::default() }).await {
            Ok(()) => Ok(done(&browser, Done::Discoverable)?),
            Err(error) => Ok(tell(&browser, &person, Typed::default(), error).await?),
        }
    })
    .await
}

async fn change(browser: &Browser, person: &BrowserSession, change: Change) -> Result<()> {
    profile::update(&browser.app, browser.actor().person(person.user).into(), person.user, change).await
}

/// The id in a form, of something that is the person's.
fn id(fields: &Parameters) -> Uuid {
    fields.first("id").and_then(|text| Uuid::try_parse(text).ok()).unwrap_or_default()
}

pub async fn unlink(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let actor = browser.actor().person(person.user);
        match identities::actions::unlink(&browser.app, actor.into(), person.user, id(fields)).await {
            // Twice is once: a form may be sent again.
            Ok(()) | Err(Error::Refused(Refusal::IdentityNotFound)) => Ok(done(&browser, Done::Unlinked)?),
            Err(error) => Ok(tell(&browser, &person, Typed::default(), error).await?),
        }
    })
    .await
}

pub async fn end_session(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let actor = browser.actor().person(person.user);
        match tokens::actions::sessions::end(&browser.app, actor.into(), person.user, id(fields)).await {
            Ok(()) | Err(Error::Refused(Refusal::SessionNotFound)) => Ok(done(&browser, Done::Ended)?),
            Err(error) => Ok(tell(&browser, &person, Typed::default(), error).await?),
        }
    })
    .await
}

/// A file with all that is kept of the person. It is noted that it was taken, so no address gives it away.
pub async fn export(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (_, person) = sent(&browser, &form).await?;
        let (app, actor) = (&*browser.app, browser.actor().person(person.user));
        match managers::actions::own_export(app, actor, person.user).await {
            Ok(export) => {
                let file =
                    [(CONTENT_DISPOSITION, "attachment; filename=\"referral.json\""), (CACHE_CONTROL, "no-store")];
                Ok((file, Json(Export::of(app, export)?)).into_response())
            }
            Err(error) => Ok(tell(&browser, &person, Typed::default(), error).await?),
        }
    })
    .await
}

/// What shows that it is the account's owner who has sent a form: their password or, where there is none, a fresh
/// log-in.
async fn proof(browser: &Browser, person: &BrowserSession, typed: Option<&str>) -> Result<Proof> {
    let app = &*browser.app;
    app.limits.prove(person.user).await?;
    if profile::has_password(app, person.user).await? {
        return Ok(Proof::Password(typed.unwrap_or_default().to_owned()));
    }
    if browser_sessions::is_fresh(app, person) { Ok(Proof::FreshLogIn) } else { Err(Refusal::LogInAgain.into()) }
}

pub async fn change_email(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        match ask_for_email(&browser, fields, &person).await {
            Ok(()) => Ok(done(&browser, Done::Email)?),
            Err(error) => Ok(tell(&browser, &person, Typed::email(fields), error).await?),
        }
    })
    .await
}

/// Sends a link to another address: it counts once the link was used.
async fn ask_for_email(browser: &Browser, fields: &Parameters, person: &BrowserSession) -> Result<()> {
    if !browser.app.config.mail.is_on() {
        return Err(Refusal::NotFound.into());
    }
    let proof = proof(browser, person, fields.first("password")).await?;
    let email = Email::parse(fields.first("email").unwrap_or_default());
    let email = email.map_err(|rule| Error::field("email", "value_error", rule))?;
    let (actor, language) = (browser.actor().person(person.user), browser.visitor.language());
    address::ask(&browser.app, actor.into(), person.user, &proof, email, language).await
}

pub async fn change_password(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        match set_password(&browser, fields, &person).await {
            // Every session has ended, this one as well.
            Ok(()) => Ok(gone(&browser, Message::PasswordSet, NextStep::LogIn(HOME))?),
            Err(error) => Ok(tell(&browser, &person, Typed::password("current_password"), error).await?),
        }
    })
    .await
}

async fn set_password(browser: &Browser, fields: &Parameters, person: &BrowserSession) -> Result<()> {
    let proof = proof(browser, person, fields.first("current_password")).await?;
    let actor = browser.actor().person(person.user);
    let new = fields.first("new_password").unwrap_or_default();
    profile::change_password(&browser.app, actor.into(), person.user, &proof, new, browser.visitor.language()).await
}

/// A page for a browser in which nobody is logged in any more.
fn gone(browser: &Browser, message: Message<'_>, next_step: NextStep<'_>) -> Result<Response> {
    let renewed = browser.visitor.renewed(&browser.app)?;
    say(&browser.app, &renewed, browser.words, StatusCode::OK, message, next_step)
}

pub async fn ask_to_erase(browser: Browser) -> Response {
    answer(&browser, async {
        let person = logged_in(&browser).await?;
        Ok(ask_for_proof(&browser, &person, StatusCode::OK, None, &Notes::none()).await?)
    })
    .await
}

async fn ask_for_proof(
    browser: &Browser,
    person: &BrowserSession,
    status: StatusCode,
    alert: Option<Alert>,
    notes: &Notes,
) -> Result<Response> {
    let view = ErasePage {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        user: &person.username,
        has_password: profile::has_password(&browser.app, person.user).await?,
        alert,
        notes,
    };
    browser.page(status, &view)
}

pub async fn erase(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, async {
        let (fields, person) = sent(&browser, &form).await?;
        let erased = async {
            let proof = proof(&browser, &person, fields.first("password")).await?;
            let actor = browser.actor().person(person.user);
            profile::erase(&browser.app, actor.into(), person.user, &proof).await
        };
        let error = match erased.await {
            Ok(()) => return Ok(gone(&browser, Message::Erased, NextStep::Home)?),
            Err(error) => error,
        };
        let (said, problem) = Said::of(error, Typed::password("password"))?;
        let status = form_status(&problem);
        let mut response = ask_for_proof(&browser, &person, status, said.alert, &said.notes).await?;
        retry(&mut response, problem.retry_after);
        Ok(response)
    })
    .await
}
