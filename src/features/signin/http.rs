//! The pages to log in, to make an account and to log out.

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use crate::app::App;
use crate::features::accounts;
use crate::features::accounts::http::read_registration;
use crate::features::oauth;
use crate::features::tokens::browser;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::parameters::Parameters;
use crate::web::caller::Client;
use crate::web::extract::{Fields, Form};
use crate::web::pages::{AUTHORIZE, or_say, page, retry, safe_next, say, see_other};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::policy::FormSource;
use crate::web::views::words::Words;
use crate::web::views::{Login, Message, Provider, Register, Way};
use crate::web::visitor::Visitor;

pub fn pages() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/login", post(log_in))
        .route("/oauth/register", get(registration).post(register))
        .route("/oauth/logout", post(log_out))
}

/// What a log-in page is made with.
pub struct LogInPage<'a> {
    /// A path of ours.
    pub next: &'a str,
    pub username: &'a str,
    /// The referral code brought along.
    pub code: Option<&'a str>,
    pub alert: Option<Alert>,
}

/// The page to log in on.
pub async fn ask_to_log_in(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    status: StatusCode,
    asked: &LogInPage<'_>,
) -> Result<Response> {
    let asker = asker(app, asked.next).await?;
    let view = Login {
        words,
        csrf: &visitor.csrf(),
        next: asked.next,
        client: asker.as_ref().map(|(name, _)| name.as_str()),
        username: asked.username,
        code: asked.code,
        providers: &providers(app),
        alert: asked.alert,
    };
    page(app, visitor, status, &view, asker.as_ref().and_then(|(_, source)| source.as_ref()))
}

/// The client that has sent the person, and where their way will lead.
async fn asker(app: &App, next: &str) -> Result<Option<(String, Option<FormSource>)>> {
    let Some(query) = next.strip_prefix(AUTHORIZE) else { return Ok(None) };
    let request = oauth::actions::read_request(app, &Parameters::parse(query.as_bytes())).await?;
    Ok(request.ok().map(|request| (request.client.name, FormSource::of(request.redirect_uri.as_str()))))
}

fn providers(_: &App) -> Vec<Provider<'_>> {
    Vec::new()
}

/// The words of who is on the way to `next`.
pub fn words_for(visitor: &Visitor, next: &str) -> &'static Words {
    let query = Parameters::parse(next.strip_prefix(AUTHORIZE).unwrap_or_default().as_bytes());
    visitor.words(query.first("ui_locales"))
}

async fn log_in(State(app): State<Arc<App>>, Client(client): Client, visitor: Visitor, Form(form): Form) -> Response {
    let next = safe_next(form.first("next"));
    let words = words_for(&visitor, next);
    let username = form.first("username").unwrap_or_default();
    let tried = async {
        if !visitor.sent(form.first("csrf").unwrap_or_default()) {
            return Ok(Err((StatusCode::FORBIDDEN, Alert::Expired, None)));
        }
        let recognised = match app.limits.log_in_from(client) {
            Ok(()) => {
                let password = form.first("password").unwrap_or_default();
                accounts::actions::recognise(&app, username, password, client).await
            }
            Err(error) => Err(error),
        };
        match recognised {
            Ok((user, stored)) => enter(&app, &visitor, user, Some(stored), next).await.map(Ok),
            Err(error) => refused(error).map(Err),
        }
    };
    let answer = match tried.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err((status, alert, after))) => {
            let again = LogInPage { next, username, code: form.first("code"), alert: Some(alert) };
            ask_to_log_in(&app, &visitor, words, status, &again).await.map(|mut response| {
                retry(&mut response, after);
                response
            })
        }
        Err(error) => Err(error),
    };
    or_say(&app, &visitor, words, answer)
}

type Told = (StatusCode, Alert, Option<std::time::Duration>);

/// How a form says what an error is, if it can.
fn refused(error: Error) -> Result<Told> {
    let Some(alert) = Alert::of(&error) else { return Err(error) };
    let problem = Problem::from(error);
    let status = match alert {
        // A page asks for no scheme of HTTP's, which a 401 would have to name.
        Alert::WrongCredentials => StatusCode::UNPROCESSABLE_ENTITY,
        _ => status(problem.refusal),
    };
    Ok((status, alert, problem.retry_after))
}

/// Lets a person in under a new cookie and sends them on.
pub async fn enter(
    app: &App,
    visitor: &Visitor,
    user: UserId,
    password_hash: Option<String>,
    next: &str,
) -> Result<Response> {
    let before = visitor.person(app).await?;
    let renewed = visitor.renewed(app)?;
    browser::begin(app, user, password_hash, renewed.hash()).await?;
    if let Some(before) = before {
        browser::end(app, before.id).await?;
    }
    see_other(app, &renewed, next)
}

/// What a registration page is made with.
#[derive(Default)]
struct RegistrationPage<'a> {
    username: &'a str,
    email: &'a str,
    code: &'a str,
    alert: Option<Alert>,
    notes: Notes,
}

async fn registration(State(app): State<Arc<App>>, visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let next = safe_next(query.first("next"));
    let words = words_for(&visitor, next);
    let on_the_way = Parameters::parse(next.strip_prefix(AUTHORIZE).unwrap_or_default().as_bytes());
    let code = query.first("code").or_else(|| on_the_way.first("referral_code")).unwrap_or_default();
    let asked = RegistrationPage { code, ..RegistrationPage::default() };
    let answer = ask_to_register(&app, &visitor, words, StatusCode::OK, next, &asked).await;
    or_say(&app, &visitor, words, answer)
}

async fn ask_to_register(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    status: StatusCode,
    next: &str,
    asked: &RegistrationPage<'_>,
) -> Result<Response> {
    let asker = asker(app, next).await?;
    let view = Register {
        words,
        csrf: &visitor.csrf(),
        next,
        client: asker.as_ref().map(|(name, _)| name.as_str()),
        username: asked.username,
        email: asked.email,
        code: asked.code,
        least: app.config.accounts.min_password_length,
        providers: &providers(app),
        alert: asked.alert,
        notes: &asked.notes,
    };
    page(app, visitor, status, &view, asker.as_ref().and_then(|(_, source)| source.as_ref()))
}

async fn register(State(app): State<Arc<App>>, Client(client): Client, visitor: Visitor, Form(form): Form) -> Response {
    let next = safe_next(form.first("next"));
    let words = words_for(&visitor, next);
    let text = |name| form.first(name).unwrap_or_default();
    let mut asked = RegistrationPage {
        username: text("username"),
        email: text("email"),
        code: text("code"),
        ..RegistrationPage::default()
    };
    let made = async {
        app.limits.register_from(client)?;
        // An empty field of a form is one that was left out.
        let filled = form.query(|_, value| (!value.is_empty()).then(|| value.to_owned()));
        let (new, invitation) = read_registration(&app, Fields::of(&Parameters::parse(filled.as_bytes())), None)?;
        accounts::actions::register(&app, new, invitation).await
    };
    let answer = async {
        if !visitor.sent(text("csrf")) {
            asked.alert = Some(Alert::Expired);
            return ask_to_register(&app, &visitor, words, StatusCode::FORBIDDEN, next, &asked).await;
        }
        let error = match made.await {
            Ok(made) => {
                accounts::actions::admit(&app, made.id).await?;
                return enter(&app, &visitor, made.id, None, next).await;
            }
            Err(error) => error,
        };
        asked.notes = Notes::of(&error);
        asked.alert = Alert::of(&error);
        if asked.notes.is_empty() && asked.alert.is_none() {
            return Err(error);
        }
        let problem = Problem::from(error);
        let page = ask_to_register(&app, &visitor, words, status(problem.refusal), next, &asked).await;
        page.map(|mut response| {
            retry(&mut response, problem.retry_after);
            response
        })
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

async fn log_out(State(app): State<Arc<App>>, visitor: Visitor, Form(form): Form) -> Response {
    let words = visitor.words(None);
    let answer = async {
        if !visitor.sent(form.first("csrf").unwrap_or_default()) {
            return say(&app, &visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::Apps);
        }
        if let Some(person) = visitor.person(&app).await? {
            browser::end(&app, person.id).await?;
        }
        say(&app, &visitor.renewed(&app)?, words, StatusCode::OK, Message::LoggedOut, Way::LogIn("/oauth/apps"))
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}
