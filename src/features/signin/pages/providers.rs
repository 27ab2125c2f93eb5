//! To another identity provider and back, and the form for who comes from one for the first time.

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;

use super::{RegistrationPage, ask_to_register, enter, enter_to, status_with};
use crate::features::accounts;
use crate::features::accounts::actions::registration::{self, Invitation};
use crate::features::accounts::model::{Entrance, Registration, check_name_against};
use crate::features::identities::actions::waiting;
use crate::features::identities::model::{UnclaimedIdentity, UnclaimedIdentityKey};
use crate::features::oauth::pages::log_in::code_on;
use crate::features::signin::actions::{
    self, FailedSignIn, FailureReason, FinishError, ProviderCallback, SignInStart, SignedIn, StartError,
};
use crate::features::tokens::model::Credential;
use crate::kernel::digest::TicketHash;
use crate::kernel::email::Email;
use crate::kernel::error::Result;
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;
use crate::kernel::parameters::Parameters;
use crate::outbound::identity_provider::model::{Identity, Outcome};
use crate::web::browser::Browser;
use crate::web::extract::{Fields, PathText};
use crate::web::pages::{HOME, after_registration, request_on, retry};
use crate::web::problem::Problem;
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::{Finish, Message, NextStep};
use crate::web::visitor::ProtectedForm;

/// Off to another provider, by a link.
pub async fn begin_sign_in(mut browser: Browser, PathText(provider): PathText, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    browser.goes_on_to(query.first("next"));
    let answer = set_out(&browser, &provider, code_on(&query, &browser.next)).await;
    browser.or_say(answer)
}

/// Off to another provider by a button of the form to register on, with the code that is typed there.
pub async fn begin_sign_in_from_form(
    mut browser: Browser,
    PathText(provider): PathText,
    form: ProtectedForm,
) -> Response {
    browser.goes_on_to(form.unverified().first("next"));
    let answer = set_out_from_form(&browser, &provider, &form).await;
    browser.or_say(answer)
}

async fn set_out_from_form(browser: &Browser, provider: &str, form: &ProtectedForm) -> Result<Response> {
    let mut asked = RegistrationPage::typed(form.unverified());
    if form.verified(&browser.visitor).is_none() {
        asked.alert = Some(Alert::Expired);
        return ask_to_register(browser, StatusCode::FORBIDDEN, &asked).await;
    }
    // Who has emptied the field brings no code, whatever the client's request says.
    let code = Some(asked.code.trim()).filter(|code| !code.is_empty()).map(str::to_owned);
    browser.leave(set_out(browser, provider, code).await?)
}

async fn set_out(browser: &Browser, provider: &str, code: Option<String>) -> Result<Response> {
    browser.app.limits.log_in_from(browser.address).await?;
    let code = code.filter(|code| code.len() <= MOST_CODE && !code.chars().any(char::is_control));
    let next = browser.next.clone();
    let start = SignInStart { visitor_hash: browser.visitor.hash(), next: next.clone(), code: code.clone() };
    match actions::begin_sign_in(&browser.app, browser.actor(), provider, start).await {
        Ok(address) => browser.see_other(&address),
        Err(StartError::Provider(why)) => {
            lost(browser, provider, FailedSignIn { why: FailureReason::Failed(why), next: Some(next), code })
        }
        Err(StartError::Failed(error)) => Err(error),
    }
}

/// Longer than any code; a browser may bring anything.
const MOST_CODE: usize = 100;

/// Back from another provider.
pub async fn finish_sign_in(mut browser: Browser, PathText(provider): PathText, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    let answer = come_back(&mut browser, &provider, &query).await;
    browser.or_say(answer)
}

async fn come_back(browser: &mut Browser, provider: &str, query: &Parameters) -> Result<Response> {
    browser.app.limits.oauth_from(browser.address).await?;
    // As on the way there. Nothing is looked up, so it does not matter what else is wrong.
    if browser.app.providers.settings(provider).is_none() {
        return browser.say(StatusCode::NOT_FOUND, Message::UnknownProvider, NextStep::LogIn(HOME));
    }
    // Of what is given twice nobody knows which is meant.
    let [Ok(state), Ok(code), Ok(error), Ok(iss)] = ["state", "code", "error", "iss"].map(|name| query.one(name))
    else {
        return lost(browser, provider, FailedSignIn::expired());
    };
    let callback = ProviderCallback { state: state.unwrap_or_default(), code, error, iss };
    let hash = browser.visitor.hash();
    match actions::finish_sign_in(&browser.app, browser.actor(), provider, hash, callback).await {
        Ok(SignedIn::Known(user, identity, next)) => {
            browser.goes_on_to(Some(&next));
            accounts::actions::admit(&browser.app, user).await?;
            enter(browser, user, credential(identity)).await
        }
        Ok(SignedIn::New(ticket, arrival)) => {
            browser.goes_on_to(Some(&arrival.next));
            ask_to_finish(browser, StatusCode::OK, &ticket, &arrival, &Typed::first(&arrival)).await
        }
        Err(FinishError::SignIn(failed)) => {
            browser.goes_on_to(failed.next.as_deref());
            lost(browser, provider, failed)
        }
        Err(FinishError::Failed(error)) => Err(error),
    }
}

fn credential(identity: Identity) -> Credential {
    Credential::Identity { issuer: identity.issuer, subject: identity.subject }
}

/// Says why nobody has come back, and leads to where they can begin again: with the code that they brought along, to
/// the form that has a field for it, unless their way has it.
fn lost(browser: &Browser, provider: &str, failed: FailedSignIn) -> Result<Response> {
    let next = &browser.next;
    let request = request_on(next);
    let code = failed.code.filter(|code| request.first("referral_code").map(str::trim) != Some(code));
    let form = code.map(|code| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("next", next).append_pair("code", &code);
        format!("/oauth/register?{}", query.finish())
    });
    let next_step = form.as_deref().map_or(NextStep::LogIn(next), NextStep::Again);
    let label = browser.app.providers.settings(provider).map_or("", |settings| settings.label.as_str());
    let (error, told) = match failed.why {
        FailureReason::Expired => return browser.say(StatusCode::BAD_REQUEST, Message::Expired, next_step),
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
    let mut response = browser.say(status, message, next_step)?;
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
    browser: &Browser,
    status: StatusCode,
    ticket: &str,
    arrival: &UnclaimedIdentity,
    typed: &Typed,
) -> Result<Response> {
    let proven = actions::proven_email(&browser.app, &arrival.provider, &arrival.identity);
    let view = Finish {
        words: browser.words,
        csrf: &browser.visitor.csrf(),
        ticket,
        provider: browser.app.providers.settings(&arrival.provider).map_or("", |settings| settings.label.as_str()),
        username: &typed.username,
        email: proven.as_ref().map_or(typed.email.as_str(), Email::as_str),
        email_verified: proven.is_some(),
        code: &typed.code,
        next: &arrival.next,
        login: &typed.login,
        alert: typed.alert,
        notes: &typed.notes,
    };
    browser.page(status, &view)
}

/// A first visit becomes a new account, or joins one that there is.
pub async fn finish(mut browser: Browser, form: ProtectedForm) -> Response {
    let answer = decide(&mut browser, &form).await;
    browser.or_say(answer)
}

async fn decide(browser: &mut Browser, form: &ProtectedForm) -> Result<Response> {
    let expired = |browser: &Browser| browser.say(StatusCode::FORBIDDEN, Message::Expired, NextStep::LogIn(HOME));
    let Some(form) = form.verified(&browser.visitor) else { return expired(browser) };
    let text = |name| form.first(name).unwrap_or_default();
    let Some(arrival) = waiting(&browser.app, text("ticket"), &browser.visitor.hash()).await? else {
        return expired(browser);
    };
    browser.goes_on_to(Some(&arrival.next));
    let error = match join(browser, form, &arrival).await {
        Ok(user) => {
            accounts::actions::admit(&browser.app, user).await?;
            // Of the two forms, the one to link an account makes none.
            let next = browser.next.as_str();
            let next = if form.first("login").is_some() { next } else { after_registration(next) };
            return enter_to(browser, user, credential(arrival.identity), next).await;
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
    let status = status_with(typed.alert, &problem);
    let mut page = ask_to_finish(browser, status, text("ticket"), &arrival, &typed).await?;
    retry(&mut page, problem.retry_after);
    Ok(page)
}

/// Whose the identity is from now on.
async fn join(browser: &Browser, form: &Parameters, arrival: &UnclaimedIdentity) -> Result<UserId> {
    let (app, address) = (&browser.app, browser.address);
    let text = |name| form.first(name).unwrap_or_default();
    let proven = actions::proven_email(app, &arrival.provider, &arrival.identity);
    let key = UnclaimedIdentityKey {
        ticket_hash: TicketHash::of(text("ticket")),
        visitor_hash: browser.visitor.hash(),
        email_proven: proven.is_some(),
    };
    if form.first("login").is_some() {
        let recognised = accounts::actions::recognise(app, text("login"), text("password"), address).await?;
        let user = recognised.user;
        recognised.begin(app, |user, stored| actions::link(app, browser.actor(), key.clone(), user, stored)).await?;
        return Ok(user);
    }
    app.limits.register_from(address).await?;
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
        code => InvitationKey::of(code).map_or(Invitation::Nonsense, Invitation::Key),
    };
    let new = Registration { username, email, entrance: Entrance::Provider(key) };
    let language = browser.visitor.language();
    Ok(registration::register(app, browser.actor().into(), new, invitation, language).await?.id)
}
