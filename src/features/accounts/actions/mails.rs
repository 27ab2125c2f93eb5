//! The job that sends mails: to whom one goes that was asked for by address is known here.

use crate::app::App;
use crate::features::accounts::model::{Credentials, login_keys};
use crate::features::accounts::store;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::{Recipient, Request};
use crate::jobs::{Job, Outcome};
use crate::kernel::error::Result;
use crate::kernel::ids::MailId;
use crate::kernel::mail::MailKind;

pub async fn send(app: &App, job: &Job) -> Result<Outcome> {
    match mails::recipient(app, job).await? {
        None => Ok(Outcome::GiveUp("it was sealed under another mail key")),
        Some((id, Recipient::Nobody)) => {
            mails::pass_over(app, id).await?;
            Ok(Outcome::Done("nobody to write to"))
        }
        Some((id, Recipient::Address(address))) => mails::deliver(app, job, id, &address).await,
        Some((id, Recipient::AccountOf(request))) => send_to_account(app, job, id, &request).await,
    }
}

/// The mail goes to the address that the account has, however the one asked for was written.
async fn send_to_account(app: &App, job: &Job, id: MailId, request: &Request) -> Result<Outcome> {
    let Some((user, key)) = account_of(app, &request.email).await? else {
        return Ok(Outcome::Done("nobody to write to"));
    };
    if request.kind == MailKind::Confirm.word() && user.email_proven {
        return Ok(Outcome::Done("nobody to write to"));
    }
    mails::note_asked(app, id, request, To { user: user.id, address: &user.email, key: &key }).await?;
    mails::deliver(app, job, id, &user.email).await
}

/// The account with an address, and the address in the form in which it is compared.
async fn account_of(app: &App, email: &str) -> Result<Option<(Credentials, String)>> {
    for key in login_keys(email) {
        if let Some(found) = store::credentials(&app.db, &key).await? {
            return Ok(Some((found, key)));
        }
    }
    Ok(None)
}
