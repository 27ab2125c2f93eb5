//! The pages to log in, to make an account and to log out.

mod providers;

use std::sync::Arc;

use axum::Router;
use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use crate::app::App;
use crate::features::accounts::actions::registration::{self, Registered};
use crate::features::accounts::api::registration::read_registration;
use crate::features::links::model::Inviter;
use crate::features::oauth::pages::log_in::{self, LogInPage, ask_to_log_in, asker, code_on};
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::Credential;
use crate::features::{accounts, links};
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::extract::Fields;
use crate::web::pages::{HOME, after_registration, retry, say, see_other};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::{Invited, Message, NextStep, Register};
use crate::web::visitor::ProtectedForm;

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/login", post(log_in))
        .route("/oauth/register", get(registration).post(register))
        .route("/oauth/logout", post(log_out))
        .route("/oauth/login/{provider}", get(providers::begin_sign_in).post(providers::begin_sign_in_from_form))
        .route("/oauth/callback/{provider}", get(providers::finish_sign_in))
        .route("/oauth/finish", post(providers::finish))
}

async fn log_in(mut browser: Browser, form: ProtectedForm) -> Response {
    browser.goes_on_to(form.unverified().first("next"));
    let answer = match check_password(&browser, &form).await {
        Err(FormError::Told(told)) => ask_again_to_log_in(&browser, &form, told).await,
        Err(FormError::Failed(error)) => Err(error),
        Ok(response) => Ok(response),
    };
    browser.or_say(answer)
}

async fn check_password(browser: &Browser, form: &ProtectedForm) -> Result<Response, FormError> {
    let (app, address) = (&browser.app, browser.address);
    let form = form.verified(&browser.visitor).ok_or(Told::EXPIRED)?;
    let text = |name| form.first(name).unwrap_or_default();
    let recognised = accounts::actions::recognise(app, text("username"), text("password"), address).await;
    // What goes wrong behind a right password is told by a page of its own.
    let recognised = recognised.map_err(FormError::of)?;
    Ok(recognised.begin(app, |user, stored| enter(browser, user, Credential::Password(stored))).await?)
}

async fn ask_again_to_log_in(browser: &Browser, form: &ProtectedForm, told: Told) -> Result<Response> {
    let form = form.unverified();
    let code = code_on(form, &browser.next);
    let username = form.first("username").unwrap_or_default();
    let again = LogInPage { username, code: code.as_deref(), alert: Some(told.alert) };
    let mut response = ask_to_log_in(browser, told.status, &again).await?;
    retry(&mut response, told.retry_after);
    Ok(response)
}

/// Why a form leads no further.
enum FormError {
    /// The form is shown again and says why.
    Told(Told),
    /// A page says why.
    Failed(Error),
}

/// What a form says of an error.
struct Told {
    status: StatusCode,
    alert: Alert,
    retry_after: Option<std::time::Duration>,
}

impl Told {
    const EXPIRED: Self = Self { status: StatusCode::FORBIDDEN, alert: Alert::Expired, retry_after: None };
}

impl From<Told> for FormError {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

impl From<Error> for FormError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl FormError {
    /// Told on the form, if it has words for it.
    fn of(error: Error) -> Self {
        let Some(alert) = Alert::of(&error) else { return Self::Failed(error) };
        let problem = Problem::from(error);
        Self::Told(Told { status: status_with(Some(alert), &problem), alert, retry_after: problem.retry_after })
    }
}

/// The status of a form that says what went wrong.
fn status_with(alert: Option<Alert>, problem: &Problem) -> StatusCode {
    match alert {
        // A page asks for no scheme of HTTP's, which a 401 would have to name.
        Some(Alert::WrongCredentials) => StatusCode::UNPROCESSABLE_ENTITY,
        _ => status(problem.refusal),
    }
}

/// Lets a person in under a new cookie and sends them on. Who comes from a provider comes from a form as well, which is
/// the provider's.
async fn enter(browser: &Browser, user: UserId, credential: Credential) -> Result<Response> {
    enter_to(browser, user, credential, &browser.next).await
}

/// As [`enter`], to another page of ours than the person was going to.
async fn enter_to(browser: &Browser, user: UserId, credential: Credential, next: &str) -> Result<Response> {
    let app = &browser.app;
    let before = browser_sessions::person(app, &browser.visitor).await?;
    let renewed = browser.visitor.renewed(app)?;
    browser_sessions::begin(app, browser.actor(), user, credential, renewed.hash()).await?;
    if let Some(before) = before {
        browser_sessions::end(app, browser.actor().person(before.user), before.id).await?;
    }
    browser.leave(see_other(app, &renewed, next)?)
}

/// What a registration page is made with.
#[derive(Default)]
struct RegistrationPage<'a> {
    username: &'a str,
    email: &'a str,
    code: &'a str,
    /// Who invites with the code, or that the invitation has ended; nothing where nobody has followed one.
    inviter: Option<Inviter>,
    alert: Option<Alert>,
    notes: Notes,
}

impl<'a> RegistrationPage<'a> {
    fn typed(form: &'a Parameters) -> Self {
        let text = |name| form.first(name).unwrap_or_default();
        Self { username: text("username"), email: text("email"), code: text("code"), ..Self::default() }
    }
}

async fn registration(mut browser: Browser, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    browser.goes_on_to(query.first("next"));
    let answer = invite(&browser, &query).await;
    browser.or_say(answer)
}

async fn invite(browser: &Browser, query: &Parameters) -> Result<Response> {
    let code = code_on(query, &browser.next).unwrap_or_default();
    let ended = query.first("invitation").map(|_| Inviter::Ended);
    let inviter = inviter(browser, &code).await?.or(ended);
    // A code that is no good stays in the form: it may be a typing mistake.
    let asked = RegistrationPage { code: &code, inviter, ..RegistrationPage::default() };
    ask_to_register(browser, StatusCode::OK, &asked).await
}

/// Who invites with a code that somebody has brought. Nothing without one, and nothing for an address that asks too
/// often: whoever tries codes shall not learn more here than by `POST /codes/validate`.
async fn inviter(browser: &Browser, code: &str) -> Result<Option<Inviter>> {
    let app = &browser.app;
    if code.trim().is_empty() || app.limits.validate_from(browser.address).await.is_err() {
        return Ok(None);
    }
    links::actions::inviter(app, code).await.map(Some)
}

async fn ask_to_register(browser: &Browser, status: StatusCode, asked: &RegistrationPage<'_>) -> Result<Response> {
    let app = &*browser.app;
    let asker = asker(app, &browser.next).await?;
    let view = Register {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        next: &browser.next,
        client: asker.as_deref(),
        username: asked.username,
        email: asked.email,
        code: asked.code,
        invitation: match &asked.inviter {
            Some(Inviter::Named(name)) => Invited::By(name),
            Some(Inviter::Unnamed) => Invited::BySomebody,
            Some(Inviter::Ended) => Invited::Ended,
            None => Invited::Not,
        },
        least: app.config.accounts.min_password_length,
        providers: &log_in::providers(app),
        alert: asked.alert,
        notes: &asked.notes,
    };
    browser.page(status, &view)
}

async fn register(mut browser: Browser, form: ProtectedForm) -> Response {
    browser.goes_on_to(form.unverified().first("next"));
    let answer = make_account(&browser, &form).await;
    browser.or_say(answer)
}

async fn make_account(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let mut asked = RegistrationPage::typed(form.unverified());
    let Some(form) = form.verified(&browser.visitor) else {
        asked.alert = Some(Alert::Expired);
        return ask_to_register(browser, StatusCode::FORBIDDEN, &asked).await;
    };
    let error = match registered(browser, form).await {
        Ok(made) => return enter_new(browser, made).await,
        Err(error) => error,
    };
    asked.notes = Notes::of(&error);
    asked.alert = Alert::of(&error);
    if asked.notes.is_empty() && asked.alert.is_none() {
        return Err(error);
    }
    // Of a code that is no good a note tells already.
    asked.inviter = inviter(browser, asked.code).await?.filter(|inviter| *inviter != Inviter::Ended);
    let problem = Problem::from(error);
    let mut page = ask_to_register(browser, status(problem.refusal), &asked).await?;
    retry(&mut page, problem.retry_after);
    Ok(page)
}

async fn registered(browser: &Browser, form: &Parameters) -> Result<Registered> {
    let app = &browser.app;
    app.limits.register_from(browser.address).await?;
    // An empty field of a form is one that was left out.
    let filled = form.query(|_, value| (!value.trim().is_empty()).then(|| value.to_owned()));
    let (new, invitation) = read_registration(app, Fields::of(&Parameters::parse(filled.as_bytes())), None)?;
    registration::register(app, browser.actor().into(), new, invitation, browser.visitor.language()).await
}

/// Lets in who has just made an account by password.
async fn enter_new(browser: &Browser, made: Registered) -> Result<Response> {
    if browser.app.config.is_quiet() {
        return browser.say(StatusCode::OK, Message::ConfirmFirst, NextStep::LogIn(&browser.next));
    }
    accounts::actions::admit(&browser.app, made.id).await?;
    let none = || Error::Internal("an account that was made by password has none".into());
    let credential = Credential::Password(made.password_hash.ok_or_else(none)?);
    enter_to(browser, made.id, credential, after_registration(&browser.next)).await
}

async fn log_out(browser: Browser, form: ProtectedForm) -> Response {
    browser.or_say(end_session(&browser, &form).await)
}

async fn end_session(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let app = &browser.app;
    if form.verified(&browser.visitor).is_none() {
        return browser.say(StatusCode::FORBIDDEN, Message::Expired, NextStep::Home);
    }
    if let Some(person) = browser_sessions::person(app, &browser.visitor).await? {
        browser_sessions::end(app, browser.actor().person(person.user), person.id).await?;
    }
    say(app, &browser.visitor.renewed(app)?, browser.words, StatusCode::OK, Message::LoggedOut, NextStep::LogIn(HOME))
}
