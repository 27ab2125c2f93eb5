//! The pages behind the links in mails, and the one to ask for such a link.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::actions::confirmation;
use super::actions::reset::{self, Linked};
use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::kernel::email::Email;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::mail::MailKind;
use crate::web::client_address::ClientAddress;
use crate::web::extract::{Fields, PathText};
use crate::web::pages::{HOME, or_say, page, retry, say};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::{AskForReset, ConfirmEmail, Message, NewPassword, Way};
use crate::web::visitor::{ProtectedForm, Visitor};

pub fn router() -> Router<Arc<App>> {
    Router::new().route("/oauth/reset", get(forgotten).post(ask)).route("/mail/{token}", get(open_link).post(use_link))
}

async fn forgotten(State(app): State<Arc<App>>, visitor: Visitor) -> Response {
    let answer = ask_for_address(&app, &visitor, StatusCode::OK, "", None, &Notes::none());
    or_say(&app, &visitor, visitor.words(None), answer)
}

fn ask_for_address(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    email: &str,
    alert: Option<Alert>,
    notes: &Notes,
) -> Result<Response> {
    if !app.config.mail.is_on() {
        return Err(Refusal::NotFound.into());
    }
    let view = AskForReset { words: visitor.words(None), csrf: &visitor.csrf(), email, alert, notes };
    page(app, visitor, status, &view)
}

async fn ask(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    form: ProtectedForm,
) -> Response {
    let words = visitor.words(None);
    let email = form.unverified().first("email").unwrap_or_default();
    let answer = async {
        let Some(form) = form.verified(&visitor) else {
            let (alert, notes) = (Some(Alert::Expired), Notes::none());
            return ask_for_address(&app, &visitor, StatusCode::FORBIDDEN, email, alert, &notes);
        };
        let asked = async {
            let mut fields = Fields::of(form);
            let email = fields.parsed("email", Email::parse);
            let email = fields.all(email)?;
            // Whoever asks too often is told what everybody is told.
            if app.limits.lets_ask_for_mail(email.key(), client).await? {
                reset::ask(&app, visitor.actor.into(), visitor.language(), &email).await?;
            }
            Ok(())
        };
        let error = match asked.await {
            Ok(()) if app.config.mail.is_on() => {
                return say(&app, &visitor, words, StatusCode::OK, Message::LinkSent, Way::LogIn(HOME));
            }
            Ok(()) => return Err(Refusal::NotFound.into()),
            Err(error) => error,
        };
        let (alert, notes) = (Alert::of(&error), Notes::of(&error));
        if alert.is_none() && notes.is_empty() {
            return Err(error);
        }
        let problem = Problem::from(error);
        let mut response = ask_for_address(&app, &visitor, status(problem.refusal), email, alert, &notes)?;
        retry(&mut response, problem.retry_after);
        Ok(response)
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}

/// Shows what the link is for. Programs that look at mails open the links in them, so nothing is done here.
async fn open_link(State(app): State<Arc<App>>, visitor: Visitor, PathText(token): PathText) -> Response {
    let answer = async {
        let (token, linked) = find(&app, &token).await?;
        show(&app, &visitor, StatusCode::OK, &token, &linked, None, &Notes::none()).await
    };
    let answer = answer.await;
    or_say(&app, &visitor, visitor.words(None), answer)
}

async fn find(app: &App, text: &str) -> Result<(LinkToken, Linked)> {
    let token = LinkToken::parse(text).ok_or(Refusal::LinkExpired)?;
    let linked = reset::linked(app, &token).await?;
    Ok((token, linked))
}

async fn show(
    app: &App,
    visitor: &Visitor,
    status: StatusCode,
    token: &LinkToken,
    linked: &Linked,
    alert: Option<Alert>,
    notes: &Notes,
) -> Result<Response> {
    if linked.kind == MailKind::Confirm {
        let (words, csrf, token) = (visitor.words(None), &*visitor.csrf(), &*token.text());
        let wanted = if linked.is_change() { reset::wanted(app, linked).await? } else { linked.user.email.clone() };
        let view = ConfirmEmail { words, csrf, token, email: &wanted, alert };
        return page(app, visitor, status, &view);
    }
    let view = NewPassword {
        words: visitor.words(None),
        csrf: &visitor.csrf(),
        token: &token.text(),
        user: &linked.user.username,
        least: app.config.accounts.min_password_length,
        alert,
        notes,
    };
    page(app, visitor, status, &view)
}

async fn use_link(
    State(app): State<Arc<App>>,
    ClientAddress(client): ClientAddress,
    visitor: Visitor,
    PathText(token): PathText,
    form: ProtectedForm,
) -> Response {
    let words = visitor.words(None);
    let answer = async {
        let (token, linked) = find(&app, &token).await?;
        let Some(form) = form.verified(&visitor) else {
            let (alert, notes) = (Some(Alert::Expired), Notes::none());
            return show(&app, &visitor, StatusCode::FORBIDDEN, &token, &linked, alert, &notes).await;
        };
        let used = async {
            app.limits.oauth_from(client).await?;
            if linked.kind == MailKind::Confirm {
                return confirmation::confirm(&app, visitor.actor.into(), &token, visitor.language())
                    .await
                    .map(|()| Message::EmailConfirmed);
            }
            let mut fields = Fields::of(form);
            let password = fields.text("password");
            let password = fields.all(password)?;
            reset::complete(&app, visitor.actor.into(), &token, visitor.language(), &password).await?;
            Ok(Message::PasswordSet)
        };
        let error = match used.await {
            Ok(message) => return say(&app, &visitor, words, StatusCode::OK, message, Way::LogIn(HOME)),
            Err(error) => error,
        };
        let (alert, notes) = (Alert::of(&error), Notes::of(&error));
        if alert.is_none() && notes.is_empty() {
            return Err(error);
        }
        let problem = Problem::from(error);
        let mut response = show(&app, &visitor, status(problem.refusal), &token, &linked, alert, &notes).await?;
        retry(&mut response, problem.retry_after);
        Ok(response)
    };
    let answer = answer.await;
    or_say(&app, &visitor, words, answer)
}
