//! The pages behind the links in mails, and the one to ask for such a link.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::actions::confirmation;
use super::actions::reset::{self, Linked};
use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::mail::MailKind;
use crate::web::browser::Browser;
use crate::web::extract::{Fields, PathText};
use crate::web::pages::{HOME, retry};
use crate::web::problem::{Problem, status};
use crate::web::views::notes::{Alert, Notes};
use crate::web::views::{AskForReset, ConfirmEmail, Message, NewPassword, NextStep};
use crate::web::visitor::ProtectedForm;

pub fn router() -> Router<Arc<App>> {
    Router::new().route("/oauth/reset", get(forgotten).post(ask)).route("/mail/{token}", get(open_link).post(use_link))
}

async fn forgotten(browser: Browser) -> Response {
    browser.or_say(ask_for_address(&browser, StatusCode::OK, "", None, &Notes::none()))
}

fn ask_for_address(
    browser: &Browser,
    status: StatusCode,
    email: &str,
    alert: Option<Alert>,
    notes: &Notes,
) -> Result<Response> {
    if !browser.app.config.mail.is_on() {
        return Err(Refusal::NotFound.into());
    }
    let view = AskForReset { words: browser.words, csrf: &browser.visitor.csrf(), email, alert, notes };
    browser.page(status, &view)
}

async fn ask(browser: Browser, form: ProtectedForm) -> Response {
    browser.or_say(send_link(&browser, &form).await)
}

async fn send_link(browser: &Browser, form: &ProtectedForm) -> Result<Response> {
    let app = &*browser.app;
    let email = form.unverified().first("email").unwrap_or_default();
    let Some(form) = form.verified(&browser.visitor) else {
        return ask_for_address(browser, StatusCode::FORBIDDEN, email, Some(Alert::Expired), &Notes::none());
    };
    let asked = async {
        let mut fields = Fields::of(form);
        let email = fields.parsed("email", Email::parse);
        let email = fields.all(email)?;
        // Whoever asks too often is told what everybody is told.
        if app.limits.lets_ask_for_mail(email.key(), browser.address).await? {
            reset::ask(app, browser.actor().into(), browser.visitor.language(), &email).await?;
        }
        Ok(())
    };
    match asked.await {
        Ok(()) if app.config.mail.is_on() => browser.say(StatusCode::OK, Message::LinkSent, NextStep::LogIn(HOME)),
        Ok(()) => Err(Refusal::NotFound.into()),
        Err(error) => {
            let failed = Failed::of(error)?;
            let page = ask_for_address(browser, failed.status(), email, failed.alert, &failed.notes)?;
            Ok(failed.told_in(page))
        }
    }
}

/// Shows what the link is for. Programs that look at mails open the links in them, so nothing is done here.
async fn open_link(browser: Browser, PathText(token): PathText) -> Response {
    let answer = async {
        let (token, linked) = find(&browser.app, &token).await?;
        show(&browser, StatusCode::OK, &token, &linked, None, &Notes::none()).await
    };
    browser.or_say(answer.await)
}

async fn find(app: &App, text: &str) -> Result<(LinkToken, Linked)> {
    let token = LinkToken::parse(text).ok_or(Refusal::LinkExpired)?;
    let linked = reset::linked(app, &token).await?;
    Ok((token, linked))
}

async fn show(
    browser: &Browser,
    status: StatusCode,
    token: &LinkToken,
    linked: &Linked,
    alert: Option<Alert>,
    notes: &Notes,
) -> Result<Response> {
    let (words, csrf, token) = (browser.words, &*browser.visitor.csrf(), &*token.text());
    if linked.kind == MailKind::Confirm {
        let wanted =
            if linked.is_change() { reset::wanted(&browser.app, linked).await? } else { linked.user.email.clone() };
        return browser.page(status, &ConfirmEmail { words, csrf, token, email: &wanted, alert });
    }
    let (user, least) = (&*linked.user.username, browser.app.config.accounts.min_password_length);
    browser.page(status, &NewPassword { words, csrf, token, user, least, alert, notes })
}

async fn use_link(browser: Browser, PathText(token): PathText, form: ProtectedForm) -> Response {
    browser.or_say(follow(&browser, &token, &form).await)
}

async fn follow(browser: &Browser, token: &str, form: &ProtectedForm) -> Result<Response> {
    let (app, language) = (&*browser.app, browser.visitor.language());
    let (token, linked) = find(app, token).await?;
    let Some(form) = form.verified(&browser.visitor) else {
        let expired = Some(Alert::Expired);
        return show(browser, StatusCode::FORBIDDEN, &token, &linked, expired, &Notes::none()).await;
    };
    let used = async {
        app.limits.oauth_from(browser.address).await?;
        if linked.kind == MailKind::Confirm {
            confirmation::confirm(app, browser.actor().into(), &token, language).await?;
            return Ok(Message::EmailConfirmed);
        }
        let mut fields = Fields::of(form);
        let password = fields.text("password");
        let password = fields.all(password)?;
        reset::complete(app, browser.actor().into(), &token, language, &password).await?;
        Ok(Message::PasswordSet)
    };
    match used.await {
        Ok(message) => browser.say(StatusCode::OK, message, NextStep::LogIn(HOME)),
        Err(error) => {
            let failed = Failed::of(error)?;
            let page = show(browser, failed.status(), &token, &linked, failed.alert, &failed.notes).await?;
            Ok(failed.told_in(page))
        }
    }
}

/// What a form says of an error; the error itself where it has no words for it.
struct Failed {
    alert: Option<Alert>,
    notes: Notes,
    problem: Problem,
}

impl Failed {
    fn of(error: Error) -> Result<Self> {
        let (alert, notes) = (Alert::of(&error), Notes::of(&error));
        if alert.is_none() && notes.is_empty() {
            return Err(error);
        }
        Ok(Self { alert, notes, problem: error.into() })
    }

    fn status(&self) -> StatusCode {
        status(self.problem.refusal)
    }

    fn told_in(self, mut page: Response) -> Response {
        retry(&mut page, self.problem.retry_after);
        page
    }
}
