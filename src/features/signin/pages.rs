//! The pages to log in, to make an account and to log out.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::actions::{self, FailedSignIn, FailureReason, ProviderCallback, SignInStart, SignedIn};
use crate::app::App;
use crate::features::accounts;
use crate::features::accounts::actions::registration::{self, Invitation};
use crate::features::accounts::api::read_registration;
use crate::features::accounts::model::{Entrance, Registration, check_name_against};
use crate::features::identities::actions::waiting;
use crate::features::identities::model::{UnclaimedIdentity, UnclaimedIdentityKey};
use crate::features::oauth::pages::log_in::{LogInPage, ask_to_log_in, asker, code_on, providers, words_for};
use crate::features::tokens::actions::browser_sessions;
use crate::features::tokens::model::Credential;
use crate::kernel::code::CodeKey;
use crate::kernel::digest::TicketHash;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Result};
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;
use crate::kernel::parameters::Parameters;
use crate::outbound::identity_provider::model::{Identity, Outcome};
use crate::web::client_address::ClientAddress;
use crate::web::extract::{Fields, PathText};
use crate::web::pages::{after_registration, leave, or_say, page, request_on, retry, safe_next, say, see_other};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::words::Words;
use crate::web::views::{Finish, Message, Register, Way};
use crate::web::visitor::{ProtectedForm, Visitor};

pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/oauth/login", post(log_in))
        .route("/oauth/register", get(registration).post(register))
        .route("/oauth/logout", post(log_out))
        .route("/oauth/login/{provider}", get(begin_sign_in).post(begin_sign_in_from_form))
        .route("/oauth/callback/{provider}", get(finish_sign_in))
        .route("/oauth/finish", post(finish))
}

async fn log_in(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    form: ProtectedForm,
) -> Response {
    let next = safe_next(form.unverified().first("next"));
    let words = words_for(&visitor, next);
    let username = form.unverified().first("username").unwrap_or_default();
    let tried = async {
        let Some(form) = form.verified(&visitor) else {
            return Ok(Err((StatusCode::FORBIDDEN, Alert::Expired, None)));
        };
        let password = form.first("password").unwrap_or_default();
        let recognised = accounts::actions::recognise(&app, username, password, client).await;
        match recognised {
            Ok(recognised) => {
                let (app, visitor) = (&*app, &visitor);
                let entered = recognised
                    .begin(app, |user, stored| enter(app, visitor, user, Credential::Password(stored), next))
                    .await;
                entered.map(Ok)
            }
            Err(error) => refused(error).map(Err),
        }
    };
    let answer = match tried.await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err((status, alert, after))) => {
            let code = code_on(form.unverified(), next);
            let again = LogInPage { next, username, code: code.as_deref(), alert: Some(alert) };
            ask_to_log_in(&app, &visitor, words, status, &again).await.map(|mut response| {
                retry(&mut response, after);
                response
            })
        }
        Err(error) => Err(error),
    };
    or_say(&app, &visitor, words, answer)
}

type FormError = (StatusCode, Alert, Option<std::time::Duration>);

/// How a form says what an error is, if it can.
fn refused(error: Error) -> Result<FormError> {
    let Some(alert) = Alert::of(&error) else { return Err(error) };
    let problem = Problem::from(error);
    let status = match alert {
        // A page asks for no scheme of HTTP's, which a 401 would have to name.
        Alert::WrongCredentials => StatusCode::UNPROCESSABLE_ENTITY,
        _ => status(problem.refusal),
    };
    Ok((status, alert, problem.retry_after))
}

/// Lets a person in under a new cookie and sends them on. Who comes from a provider comes from a form as well, which is
/// the provider's.
pub async fn enter(app: &App, visitor: &Visitor, user: UserId, credential: Credential, next: &str) -> Result<Response> {
    let before = browser_sessions::person(app, visitor).await?;
    let renewed = visitor.renewed(app)?;
    browser_sessions::begin(app, visitor.actor, user, credential, renewed.hash()).await?;
    if let Some(before) = before {
        browser_sessions::end(app, visitor.actor.person(before.user), before.id).await?;
    }
    leave(words_for(visitor, next), see_other(app, &renewed, next)?)
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

impl<'a> RegistrationPage<'a> {
    fn typed(form: &'a Parameters) -> Self {
        let text = |name| form.first(name).unwrap_or_default();
        Self { username: text("username"), email: text("email"), code: text("code"), ..Self::default() }
    }
}

async fn registration(State(app): State<Arc<App>>, visitor: Visitor, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let next = safe_next(query.first("next"));
    let words = words_for(&visitor, next);
    let code = code_on(&query, next).unwrap_or_default();
    let asked = RegistrationPage { code: &code, ..RegistrationPage::default() };
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
        client: asker.as_deref(),
        username: asked.username,
        email: asked.email,
        code: asked.code,
        least: app.config.accounts.min_password_length,
        providers: &providers(app),
        alert: asked.alert,
        notes: &asked.notes,
    };
    page(app, visitor, status, &view)
}

async fn register(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    form: ProtectedForm,
) -> Response {
    let next = safe_next(form.unverified().first("next"));
    let words = words_for(&visitor, next);
    let mut asked = RegistrationPage::typed(form.unverified());
    let answer = async {
        let Some(form) = form.verified(&visitor) else {
            asked.alert = Some(Alert::Expired);
            return ask_to_register(&app, &visitor, words, StatusCode::FORBIDDEN, next, &asked).await;
        };
        let made = async {
            app.limits.register_from(client).await?;
            // An empty field of a form is one that was left out.
            let filled = form.query(|_, value| (!value.trim().is_empty()).then(|| value.to_owned()));
            let (new, invitation) = read_registration(&app, Fields::of(&Parameters::parse(filled.as_bytes())), None)?;
            registration::register(&app, visitor.actor, new, invitation).await
        };
        let error = match made.await {
            Ok(made) => {
                accounts::actions::admit(&app, made.id).await?;
                let none = || Error::Internal("an account that was made by password has none".into());
                let credential = Credential::Password(made.password_hash.ok_or_else(none)?);
                let next = after_registration(next);
                return enter(&app, &visitor, made.id, credential, next).await;
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

async fn log_out(State(app): State<Arc<App>>, visitor: Visitor, form: ProtectedForm) -> Response {
    let words = visitor.words(None);
    let answer = async {
        if form.verified(&visitor).is_none() {
            return say(&app, &visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::Apps);
        }
        if let Some(person) = browser_sessions::person(&app, &visitor).await? {
            browser_sessions::end(&app, visitor.actor.person(person.user), person.id).await?;
        }
        say(&app, &visitor.renewed(&app)?, words, StatusCode::OK, Message::LoggedOut, Way::LogIn("/oauth/apps"))
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

/// Off to another provider, by a link.
async fn begin_sign_in(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    PathText(provider): PathText,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let next = safe_next(query.first("next"));
    let answer = set_out(&app, client, &visitor, &provider, next, code_on(&query, next)).await;
    or_say(&app, &visitor, words_for(&visitor, next), answer)
}

/// Off to another provider by a button of the form to register on, with the code that is typed there.
async fn begin_sign_in_from_form(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    PathText(provider): PathText,
    form: ProtectedForm,
) -> Response {
    let next = safe_next(form.unverified().first("next"));
    let words = words_for(&visitor, next);
    let mut asked = RegistrationPage::typed(form.unverified());
    let answer = async {
        if form.verified(&visitor).is_none() {
            asked.alert = Some(Alert::Expired);
            return ask_to_register(&app, &visitor, words, StatusCode::FORBIDDEN, next, &asked).await;
        }
        // Who has emptied the field brings no code, whatever the client's request says.
        let code = Some(asked.code.trim()).filter(|code| !code.is_empty()).map(str::to_owned);
        leave(words, set_out(&app, client, &visitor, &provider, next, code).await?)
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

async fn set_out(
    app: &App,
    client: IpAddr,
    visitor: &Visitor,
    provider: &str,
    next: &str,
    code: Option<String>,
) -> Result<Response> {
    app.limits.log_in_from(client).await?;
    let code = code.filter(|code| code.len() <= MOST_CODE && !code.chars().any(char::is_control));
    let start = SignInStart { visitor_hash: visitor.hash(), next: next.to_owned(), code: code.clone() };
    match actions::begin_sign_in(app, visitor.actor, provider, start).await? {
        Ok(address) => see_other(app, visitor, &address),
        Err(why) => {
            let failed = FailedSignIn { why: FailureReason::Failed(why), next: Some(next.to_owned()), code };
            lost(app, visitor, words_for(visitor, next), provider, failed)
        }
    }
}

/// Longer than any code; a browser may bring anything.
const MOST_CODE: usize = 100;

/// Back from another provider.
async fn finish_sign_in(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    PathText(provider): PathText,
    RawQuery(query): RawQuery,
) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let mut words = visitor.words(None);
    let answer = async {
        app.limits.oauth_from(client).await?;
        // As on the way there. Nothing is looked up, so it does not matter what else is wrong.
        if app.providers.settings(&provider).is_none() {
            let to_log_in = Way::LogIn("/oauth/apps");
            return say(&app, &visitor, words, StatusCode::NOT_FOUND, Message::UnknownProvider, to_log_in);
        }
        // Of what is given twice nobody knows which is meant.
        let [Ok(state), Ok(code), Ok(error), Ok(iss)] = ["state", "code", "error", "iss"].map(|name| query.one(name))
        else {
            return lost(&app, &visitor, words, &provider, FailedSignIn::expired());
        };
        let answer = ProviderCallback { state: state.unwrap_or_default(), code, error, iss };
        match actions::finish_sign_in(&app, visitor.actor, &provider, visitor.hash(), answer).await? {
            Ok(SignedIn::Known(user, identity, next)) => {
                words = words_for(&visitor, &next);
                accounts::actions::admit(&app, user).await?;
                enter(&app, &visitor, user, credential(identity), safe_next(Some(&next))).await
            }
            Ok(SignedIn::New(ticket, arrival)) => {
                words = words_for(&visitor, &arrival.next);
                let typed = Typed::first(&arrival);
                ask_to_finish(&app, &visitor, words, StatusCode::OK, &ticket, &arrival, &typed).await
            }
            Err(failed) => {
                words = words_for(&visitor, safe_next(failed.next.as_deref()));
                lost(&app, &visitor, words, &provider, failed)
            }
        }
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

fn credential(identity: Identity) -> Credential {
    Credential::Identity { issuer: identity.issuer, subject: identity.subject }
}

/// Says why nobody has come back, and leads to where they can begin again: with the code that they brought along, to
/// the form that has a field for it, unless their way has it.
fn lost(app: &App, visitor: &Visitor, words: &'static Words, provider: &str, failed: FailedSignIn) -> Result<Response> {
    let next = safe_next(failed.next.as_deref());
    let request = request_on(next);
    let code = failed.code.filter(|code| request.first("referral_code").map(str::trim) != Some(code));
    let form = code.map(|code| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("next", next).append_pair("code", &code);
        format!("/oauth/register?{}", query.finish())
    });
    let way = form.as_deref().map_or(Way::LogIn(next), Way::Again);
    let label = app.providers.settings(provider).map_or("", |settings| settings.label.as_str());
    let (error, told) = match failed.why {
        FailureReason::Expired => return say(app, visitor, words, StatusCode::BAD_REQUEST, Message::Expired, way),
        FailureReason::Told(error) => (error, true),
        FailureReason::Failed(error) => (error, false),
    };
    // Nothing a browser brings is a failure of ours, whatever it says.
    let failed = if told { StatusCode::BAD_REQUEST } else { StatusCode::SERVICE_UNAVAILABLE };
    let (status, message) = match error.outcome() {
        Outcome::Unknown => (StatusCode::NOT_FOUND, Message::UnknownProvider),
        Outcome::Denied => (StatusCode::FORBIDDEN, Message::ProviderDenied(label)),
        Outcome::Away => (failed, Message::ProviderUnavailable(label)),
        Outcome::Setup => (failed, Message::ProviderSetup(label)),
        Outcome::Untrusted => (StatusCode::BAD_REQUEST, Message::ProviderAnswer(label)),
    };
    let mut response = say(app, visitor, words, status, message, way)?;
    if error.outcome() == Outcome::Away && !told {
        retry(&mut response, Some(std::time::Duration::from_secs(10)));
    }
    Ok(response)
}

/// What is typed into the form of a first visit.
#[derive(Default)]
struct Typed {
    username: String,
    email: String,
    code: String,
    login: String,
    alert: Option<Alert>,
    notes: Notes,
}

impl Typed {
    /// What the provider knows.
    fn first(arrival: &UnclaimedIdentity) -> Self {
        let email = arrival.identity.email.clone().unwrap_or_default();
        let address = Email::parse(&email).ok();
        // Only what the form would take: a name that is another address is not.
        let possible = |name: &str| {
            let name = Username::parse(name).ok()?;
            let fits = match &address {
                Some(address) => check_name_against(&name, address).is_ok(),
                None => Email::parse(name.as_str()).is_err(),
            };
            fits.then(|| name.as_str().to_owned())
        };
        let name = arrival.identity.name.as_deref().and_then(possible);
        Self {
            username: name.or_else(|| possible(email.split('@').next()?)).unwrap_or_default(),
            email,
            code: arrival.code.clone().unwrap_or_default(),
            ..Self::default()
        }
    }
}

async fn ask_to_finish(
    app: &App,
    visitor: &Visitor,
    words: &'static Words,
    status: StatusCode,
    ticket: &str,
    arrival: &UnclaimedIdentity,
    typed: &Typed,
) -> Result<Response> {
    let proven = actions::proven_email(app, &arrival.provider, &arrival.identity);
    let view = Finish {
        words,
        csrf: &visitor.csrf(),
        ticket,
        provider: app.providers.settings(&arrival.provider).map_or("", |settings| settings.label.as_str()),
        username: &typed.username,
        email: proven.as_ref().map_or(typed.email.as_str(), Email::as_str),
        email_verified: proven.is_some(),
        code: &typed.code,
        next: &arrival.next,
        login: &typed.login,
        alert: typed.alert,
        notes: &typed.notes,
    };
    page(app, visitor, status, &view)
}

/// A first visit becomes a new account, or joins one that there is.
async fn finish(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    form: ProtectedForm,
) -> Response {
    let mut words = visitor.words(None);
    let answer = async {
        let expired = || say(&app, &visitor, words, StatusCode::FORBIDDEN, Message::Expired, Way::LogIn("/oauth/apps"));
        let Some(form) = form.verified(&visitor) else { return expired() };
        let text = |name| form.first(name).unwrap_or_default();
        let Some(arrival) = waiting(&app, text("ticket"), &visitor.hash()).await? else { return expired() };
        words = words_for(&visitor, &arrival.next);
        let error = match join(&app, &visitor, client, form, &arrival).await {
            Ok(user) => {
                accounts::actions::admit(&app, user).await?;
                let next = safe_next(Some(&arrival.next));
                // Of the two forms, the one to link an account makes none.
                let next = if form.first("login").is_some() { next } else { after_registration(next) };
                return enter(&app, &visitor, user, credential(arrival.identity.clone()), next).await;
            }
            Err(error) => error,
        };
        let mut typed = Typed {
            username: text("username").to_owned(),
            email: text("email").to_owned(),
            code: text("code").to_owned(),
            login: text("login").to_owned(),
            alert: Alert::of(&error),
            notes: Notes::of(&error),
        };
        // Of two forms one was sent; the other begins as it did.
        if form.first("login").is_some() {
            typed = Typed { login: typed.login, alert: typed.alert, notes: typed.notes, ..Typed::first(&arrival) };
        }
        if typed.notes.is_empty() && typed.alert.is_none() {
            return Err(error);
        }
        let problem = Problem::from(error);
        let status = match typed.alert {
            Some(Alert::WrongCredentials) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => status(problem.refusal),
        };
        let page = ask_to_finish(&app, &visitor, words, status, text("ticket"), &arrival, &typed).await;
        page.map(|mut response| {
            retry(&mut response, problem.retry_after);
            response
        })
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

/// Whose the identity is from now on.
async fn join(
    app: &App,
    visitor: &Visitor,
    client: IpAddr,
    form: &Parameters,
    arrival: &UnclaimedIdentity,
) -> Result<UserId> {
    let text = |name| form.first(name).unwrap_or_default();
    let proven = actions::proven_email(app, &arrival.provider, &arrival.identity);
    let key = UnclaimedIdentityKey {
        ticket_hash: TicketHash::of(text("ticket")),
        visitor_hash: visitor.hash(),
        email_proven: proven.is_some(),
    };
    if form.first("login").is_some() {
        let recognised = accounts::actions::recognise(app, text("login"), text("password"), client).await?;
        let user = recognised.user;
        recognised.begin(app, |user, stored| actions::link(app, visitor.actor, key.clone(), user, stored)).await?;
        return Ok(user);
    }
    app.limits.register_from(client).await?;
    let mut fields = Fields::of(form);
    let username = fields.parsed("username", Username::parse);
    let email = match proven {
        Some(email) => Some(email),
        None => fields.parsed("email", Email::parse),
    };
    if let (Some(username), Some(email)) = (&username, &email) {
        fields.judge("username", check_name_against(username, email));
    }
    let (username, email) = fields.all(username.zip(email))?;
    let invitation = match text("code").trim() {
        "" => Invitation::None,
        code => CodeKey::of(code).map_or(Invitation::Nonsense, Invitation::Code),
    };
    let new = Registration { username, email, entrance: Entrance::Provider(key) };
    Ok(registration::register(app, visitor.actor, new, invitation).await?.id)
}
