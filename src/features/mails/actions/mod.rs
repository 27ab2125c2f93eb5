//! Mails: written in the unit of work that causes them, sent by a job, and what their links are good for.

pub mod keys;

use std::time::Duration;

use url::Url;

use super::model::{NewMail, Recipient, Request, Told, UsedLink};
use super::store;
use crate::app::App;
use crate::crypto::mail_key::{LinkToken, MailKey};
use crate::db::{Tx, Work};
use crate::idempotency::Sent;
use crate::jobs::{self, Job, Kind, Outcome};
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::outbound::smtp::{Delivery, Letter};
use crate::web::views::language::Language;
use crate::web::views::mails::{Content, contents};

/// For which a mail without a link is tried to be sent.
const NEWS: Duration = Duration::from_secs(48 * 60 * 60);
/// Removed in one unit: one of more would hold up others.
const FORGOTTEN_AT_ONCE: i64 = 1000;

/// To whom a mail goes.
pub struct To<'a> {
    pub user: UserId,
    /// As it is written on the mail.
    pub address: &'a str,
    /// The form in which it is compared.
    pub key: &'a str,
}

/// A mail, before the unit of work that writes it; nothing where no mail is sent.
pub async fn prepare(app: &App, kind: MailKind, language: Language, to: To<'_>) -> Result<Option<NewMail>> {
    let recipient = Recipient::Address(to.address.to_owned());
    prepare_for(app, kind, language, to, recipient).await
}

/// As [`prepare`], and nobody gets it: for where the work must not tell whether there is somebody.
pub async fn prepare_for_nobody(app: &App, kind: MailKind, language: Language, to: To<'_>) -> Result<Option<NewMail>> {
    prepare_for(app, kind, language, to, Recipient::Nobody).await
}

async fn prepare_for(
    app: &App,
    kind: MailKind,
    language: Language,
    to: To<'_>,
    recipient: Recipient,
) -> Result<Option<NewMail>> {
    if app.mailer.is_none() {
        return Ok(None);
    }
    let key = keys::current(app).await?;
    let id = MailId::new();
    let told = told(&key, id, &recipient)?;
    Ok(Some(new_mail(app, id, kind, language, to, told)))
}

fn new_mail(app: &App, id: MailId, kind: MailKind, language: Language, to: To<'_>, told: Told) -> NewMail {
    let created_at = app.clock.now();
    let lives = match kind {
        MailKind::Confirm => app.config.mail.confirm(),
        MailKind::Reset => app.config.mail.reset(),
        MailKind::PasswordChanged
        | MailKind::AddressChanged
        | MailKind::AlreadyRegistered
        | MailKind::EndpointFailing
        | MailKind::EndpointDisabled => NEWS,
    };
    NewMail {
        id,
        user: to.user,
        kind,
        language: language.words().lang,
        address_key: to.key.to_owned(),
        created_at,
        expires_at: created_at.plus(lives),
        told,
    }
}

fn told(key: &MailKey, id: MailId, recipient: &Recipient) -> Result<Told> {
    let text = serde_json::to_vec(recipient).map_err(|error| Error::Internal(format!("a recipient: {error}")))?;
    Ok(Told { sealed: key.seal(id, &text)? })
}

/// Writes a mail as part of a unit of work; the caller rings `work_to_do` after the commit.
pub async fn write(tx: &mut Tx<'_>, mail: &NewMail) -> Result<()> {
    store::insert(tx, mail).await?;
    jobs::enqueue_with(tx, Kind::SendMail, mail.id.to_string(), &mail.told, mail.created_at).await
}

/// Notes that somebody wants a mail for whoever has this address. Whether anybody has is looked at later, by the job:
/// what is done here is the same for everybody.
pub async fn ask(app: &App, sent: Sent<()>, kind: MailKind, language: Language, email: &Email) -> Result<()> {
    if app.mailer.is_none() {
        return Ok(());
    }
    let key = keys::current(app).await?;
    let id = MailId::new();
    let (kind, language) = (kind.word().to_owned(), language.words().lang.to_owned());
    let request = Request { kind, email: email.as_str().to_owned(), language };
    let told = told(&key, id, &Recipient::AccountOf(request))?;
    let note: Work<(MailId, Told, Time), ()> = |tx, (id, told, now)| {
        Box::pin(async move { jobs::enqueue_with(tx, Kind::SendMail, id.to_string(), told, *now).await })
    };
    app.write(sent.settled(&())?, (id, told, app.clock.now()), note).await?;
    app.work_to_do.ring(Kind::SendMail);
    Ok(())
}

/// The mail that a job is about, and to whom it goes; nothing when it was sealed under a key that is no more.
pub async fn recipient(app: &App, job: &Job) -> Result<Option<(MailId, Recipient)>> {
    let key = keys::current(app).await?;
    let (Some(id), Some(told)) = (MailId::parse(&job.subject), job.told::<Told>()?) else { return Ok(None) };
    let Some(text) = key.open(id, &told.sealed) else { return Ok(None) };
    let recipient = serde_json::from_slice(&text).map_err(|_| Error::inconsistent("jobs", "payload", job.id))?;
    Ok(Some((id, recipient)))
}

/// Notes a mail that was asked for, now that it is known whose the address is.
pub async fn note_asked(app: &App, id: MailId, request: &Request, to: To<'_>) -> Result<()> {
    let (kind, language) = (MailKind::parse(&request.kind), Language::parse(&request.language));
    let (Some(kind), Some(language)) = (kind, language) else {
        return Err(Error::Internal("a mail of a kind that is none was asked for".into()));
    };
    let mail = new_mail(app, id, kind, language, to, Told { sealed: String::new() });
    let insert: Work<NewMail, ()> = |tx, mail| Box::pin(store::insert_for_account(tx, mail));
    app.db.write(Actor::SERVICE, mail, insert).await
}

/// Sends a mail that is noted.
pub async fn deliver(app: &App, job: &Job, id: MailId, address: &str) -> Result<Outcome> {
    // Erased with its user, or nobody has the address.
    let Some(mail) = store::mail(&app.db, id).await? else { return Ok(Outcome::Done("nobody to write to")) };
    if mail.sent || mail.used {
        return Ok(Outcome::Done("sent"));
    }
    if mail.expires_at <= app.clock.now() {
        settle(app, id, mail.kind, "expired", None).await?;
        return Ok(Outcome::Done("expired"));
    }
    let Some(mailer) = &app.mailer else {
        return Ok(Outcome::Again { after: job.pause(), why: "no mail is sent from here" });
    };
    let language = Language::parse(&mail.language).unwrap_or(Language::English);
    let letter = letter(app, id, mail.kind, language, mail.created_at, address).await?;
    match mailer.send(&letter).await {
        Delivery::Sent => {
            settle(app, id, mail.kind, "sent", Some(app.clock.now())).await?;
            Ok(Outcome::Done("sent"))
        }
        Delivery::Again(why) => {
            settle(app, id, mail.kind, "again", None).await?;
            Ok(Outcome::Again { after: job.pause(), why })
        }
        Delivery::Refused(why) => {
            settle(app, id, mail.kind, "refused", None).await?;
            Ok(Outcome::GiveUp(why))
        }
    }
}

/// Notes a mail that nobody gets as if it were sent: people find what is noted of mails in their export, and it must
/// not tell them who has which address.
pub async fn pass_over(app: &App, id: MailId) -> Result<()> {
    note(app, id, "nobody", Some(app.clock.now())).await
}

async fn settle(app: &App, id: MailId, kind: MailKind, outcome: &'static str, sent_at: Option<Time>) -> Result<()> {
    note(app, id, outcome, sent_at).await?;
    app.metrics.mail(kind.word(), outcome);
    Ok(())
}

async fn note(app: &App, id: MailId, outcome: &'static str, sent_at: Option<Time>) -> Result<()> {
    let note: Work<(MailId, &'static str, Option<Time>), ()> =
        |tx, (id, outcome, sent_at)| Box::pin(store::note(tx, *id, outcome, *sent_at));
    app.db.write(Actor::SERVICE, (id, outcome, sent_at), note).await
}

async fn letter(
    app: &App,
    id: MailId,
    kind: MailKind,
    language: Language,
    date: Time,
    address: &str,
) -> Result<Letter> {
    let link =
        if MailKind::WITH_LINK.contains(&kind) { Some(keys::current(app).await?.link(id, kind).text()) } else { None };
    let minutes = match kind {
        MailKind::Confirm => app.config.mail.confirm(),
        _ => app.config.mail.reset(),
    };
    let content = Content { kind, site: app.public_url(), token: link.as_deref(), minutes: minutes.as_secs() / 60 };
    let (subject, text, html) = contents(language, &content)?;
    Ok(Letter {
        id: id.to_string(),
        host: host(app.public_url()),
        to: address.to_owned(),
        date,
        language: language.words().lang,
        subject,
        text,
        html,
    })
}

/// The host of an address of ours.
pub fn host(public_url: &str) -> String {
    let url = Url::parse(public_url).ok();
    url.as_ref().and_then(Url::host_str).unwrap_or("localhost").trim_matches(['[', ']']).to_owned()
}

/// What a link that is good now does, and whose it is; nothing when it was used, its time is over, or it is not ours.
/// It changes nothing. Whether the address still is the account's is its caller's to know.
pub async fn look_at(app: &App, token: &LinkToken) -> Result<Option<(MailKind, UsedLink)>> {
    // What we have not made asks the database nothing.
    let Some(kind) = keys::current(app).await?.kind_of(token) else { return Ok(None) };
    let Some(mail) = store::mail(&app.db, token.id).await? else { return Ok(None) };
    let good = mail.kind == kind && !mail.used && mail.expires_at > app.clock.now();
    Ok(good.then_some((kind, UsedLink { user: mail.user, address_key: mail.address_key })))
}

/// Uses a link, as part of a unit of work. Of any number of callers one gets past.
pub async fn use_link(tx: &mut Tx<'_>, id: MailId, kind: MailKind, now: Time) -> Result<UsedLink> {
    store::use_link(tx, id, kind, now).await?.ok_or_else(|| Refusal::LinkExpired.into())
}

/// Makes the links of a kind that a user has do nothing any more, as part of a unit of work.
pub async fn end_links(tx: &mut Tx<'_>, user: UserId, kind: MailKind, now: Time) -> Result<()> {
    store::end_links(tx, user, kind, now).await
}

/// As [`end_links`], of those that were sent to one address.
pub async fn end_links_to(tx: &mut Tx<'_>, user: UserId, kind: MailKind, address: &str, now: Time) -> Result<()> {
    store::end_links_to(tx, user, kind, address, now).await
}

/// Removes all mails of a user, as part of a unit of work.
pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::forget_user(tx, user).await
}

/// Removes what is noted of mails whose links were good until before a time.
pub async fn housekeeping(app: &App, before: Time) -> Result<u64> {
    let forget: Work<Time, u64> = |tx, before| Box::pin(store::forget(tx, *before, FORGOTTEN_AT_ONCE));
    let mut removed = 0;
    loop {
        let now = app.db.write(Actor::SERVICE, before, forget).await?;
        removed += now;
        if now < FORGOTTEN_AT_ONCE.unsigned_abs() {
            return Ok(removed);
        }
    }
}
