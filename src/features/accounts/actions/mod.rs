//! Log-in, and what shows whose an account is.

pub mod address;
pub mod administration;
pub mod confirmation;
pub mod email_check;
pub mod handles;
pub mod mails;
pub mod management;
pub mod moving;
pub mod participants;
pub mod profile;
pub mod registration;
pub mod reset;

use std::net::IpAddr;

use crate::app::App;
use crate::crypto::hashing::{self, Verdict as Checked};
use crate::db::{Tx, Work};
use crate::features::accounts::model::password::MOST_BYTES;
use crate::features::accounts::model::{Credentials, bars, login_keys};
use crate::features::accounts::store;
use crate::features::tokens;
use crate::features::tokens::model::Grant;
use crate::kernel::actor::Actor;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::fold::nfc;
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::limits::turns::Key;

/// Checks a user name or address with a password and begins a session. Whoever does not get in learns nothing about
/// why, by the answer or by its time; those who would get in are told what keeps them out.
pub async fn log_in(app: &App, actor: Actor, typed: &str, password: &str, client: IpAddr) -> Result<Grant> {
    let recognised = recognise(app, typed, password, client).await?;
    recognised.begin(app, |user, stored| tokens::actions::begin_session(app, actor, user, stored)).await
}

/// Somebody whose password was right.
pub struct Recognised {
    pub user: UserId,
    /// The stored hash that it was right against.
    pub stored: String,
    /// In the form that was right.
    password: String,
}

/// As [`log_in`], without a session: who it is, with the stored hash that the password was checked against.
pub async fn recognise(app: &App, typed: &str, password: &str, client: IpAddr) -> Result<Recognised> {
    let outcome = recognised(app, typed, password, client).await;
    app.metrics.log_in(match &outcome {
        Ok(_) => "ok",
        Err(Error::Refused(refusal)) => refusal.word(),
        Err(Error::Limited(_)) => Refusal::RateLimited.word(),
        Err(Error::Busy(_)) => Refusal::Overloaded.word(),
        Err(_) => "failed",
    });
    outcome
}

async fn recognised(app: &App, typed: &str, password: &str, client: IpAddr) -> Result<Recognised> {
    let keys = login_keys(typed);
    // By what was typed, not by whose it is: else a spent budget would tell which name has which address. Without what
    // shows nothing, else there would be a budget for each way to hide something in a name.
    app.limits.log_in(keys.last().map_or(typed, String::as_str), client).await?;
    app.hasher.admit()?;
    let mut found = None;
    // All of them, whatever is found.
    for key in &keys {
        let credentials = store::credentials(&app.db, key).await?;
        found = found.or(credentials);
    }
    let kinds = store::hash_kinds(&app.db).await?;
    let kinds = kinds.iter().filter_map(|kind| hashing::Kind::of(kind));
    let (user, stored, form) = proven(app, found, password, kinds, Refusal::BadCredentials).await?;
    let_in(app, &user, unconfirmed(app))?;
    Ok(Recognised { user: user.id, stored, password: form })
}

impl Recognised {
    /// Begins what a right password begins: a session, a link. Then a hash that is weaker than today's is replaced,
    /// beside the answer, whose time must not tell of it.
    pub async fn begin<T, F>(self, app: &App, begin: impl Fn(UserId, String) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begun = match begin(self.user, self.stored.clone()).await {
            // Another log-in may have replaced the hash by a better one of the same password since it was looked at.
            Err(Error::Refused(Refusal::BadCredentials)) => {
                let again = self.again(app).await?;
                begin(again.user, again.stored).await?
            }
            begun => begun?,
        };
        self.strengthen(app);
        Ok(begun)
    }

    async fn again(&self, app: &App) -> Result<Self> {
        let found = store::credentials_of(&app.db, self.user).await?;
        if found.as_ref().is_none_or(|user| user.password_hash.as_deref() == Some(&self.stored)) {
            return Err(Refusal::BadCredentials.into());
        }
        let (user, stored, password) = proven(app, found, &self.password, [], Refusal::BadCredentials).await?;
        let_in(app, &user, unconfirmed(app))?;
        Ok(Self { user: user.id, stored, password })
    }

    fn strengthen(self, app: &App) {
        // bcrypt sees 72 bytes: of a longer password it has not proven the rest, which must not become part of the new
        // hash.
        let unproven = self.stored.starts_with("$2") && self.password.len() > 72;
        let is_former = self.password != nfc(&self.password);
        if unproven || !(is_former || app.hasher.is_weak(&self.stored)) {
            return;
        }
        let Ok(salt) = app.random() else { return };
        let (hasher, turns, db) = (app.hasher.clone(), app.turns.clone(), app.db.clone());
        tokio::spawn(async move {
            let replace: Work<(UserId, String, String), bool> =
                |tx, (user, old, new)| Box::pin(store::set_password(tx, *user, Some(old), new));
            let replaced = async {
                let stronger = hasher.hash(&self.password, salt).await?;
                let _turn = turns.take(Key::User(self.user.0)).await?;
                db.write(Actor::SERVICE, (self.user, self.stored, stronger), replace).await
            };
            // The next log-in tries again.
            if let Err(error) = replaced.await {
                tracing::info!(%error, "a password hash was not replaced by a stronger one");
            }
        });
    }
}

/// The account with this very address, if there is one. Look-alikes are one address when somebody asks for an account,
/// but they are other people's mailboxes when somebody shows that one is theirs.
pub async fn with_email(app: &App, email: &Email) -> Result<Option<UserId>> {
    let found = store::credentials(&app.db, email.key()).await?;
    // As it is stored: the domain in ASCII, whatever the local part would be by today's rules.
    let same = |user: &Credentials| {
        user.email
            .rsplit_once('@')
            .is_some_and(|(local, domain)| local.eq_ignore_ascii_case(email.local()) && domain == email.domain())
    };
    Ok(found.filter(same).map(|user| user.id))
}

/// Notes, as part of a unit of work, that whoever has this address has come. Where nobody had shown before that it is
/// theirs, the password goes, the answer is true, and the caller removes whatever else may be somebody else's. Nothing
/// when the address is not the account's any more.
pub async fn prove_email(tx: &mut Tx<'_>, user: UserId, email: &Email, now: Time) -> Result<Option<bool>> {
    store::prove_email(tx, user, email.key(), now).await
}

/// Makes sure, as part of a unit of work, that a password still is what lets its user in.
pub async fn hold_password(tx: &mut Tx<'_>, user: UserId, stored: &str) -> Result<()> {
    if store::hold_password(tx, user, stored).await? { Ok(()) } else { Err(Refusal::BadCredentials.into()) }
}

/// Whether a person who has proven by an identity, or by having made it, that the account is theirs may log in; if not,
/// why. Whether somebody else has the address shows in none of it.
pub async fn admit(app: &App, user: UserId) -> Result<()> {
    let user = store::credentials_of(&app.db, user).await?.ok_or(Refusal::BadCredentials)?;
    let_in(app, &user, Refusal::EmailUnconfirmed)
}

/// What a right password is told before the address is confirmed: where a registration tells nothing, a log-in does not
/// tell either that there is an account to confirm.
fn unconfirmed(app: &App) -> Refusal {
    if app.config.is_quiet() { Refusal::BadCredentials } else { Refusal::EmailUnconfirmed }
}

fn let_in(app: &App, user: &Credentials, unconfirmed: Refusal) -> Result<()> {
    if user.disabled {
        return Err(Refusal::BadCredentials.into());
    }
    if app.config.confirms_before_log_in() && !user.email_proven {
        return Err(unconfirmed.into());
    }
    let settings = &app.config.email;
    match bars(user.verdict, settings.check, user.created_at, settings.give_up(), app.clock.now()) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(()),
    }
}

/// The person, if the password is theirs, with the stored hash it was checked against, and in the form that was right.
/// Checked against these kinds of hashes beside today's, to no avail, is it where nobody is to learn what is stored.
pub(super) async fn proven(
    app: &App,
    found: Option<Credentials>,
    password: &str,
    kinds: impl IntoIterator<Item = hashing::Kind>,
    refusal: Refusal,
) -> Result<(Credentials, String, String)> {
    let stored = found.as_ref().and_then(|user| user.password_hash.clone());
    let fits = password.len() <= MOST_BYTES;
    let checked = app.hasher.verify(if fits { password } else { "" }, stored.as_deref(), kinds).await?;
    match (found, stored, checked) {
        (Some(user), Some(stored), Checked::Right(form)) if fits => Ok((user, stored, form)),
        (Some(user), _, Checked::Unreadable) => {
            // To whoever tries, it is a wrong password: an error would tell that there is somebody.
            let error = Error::inconsistent("users", "password_hash", user.id);
            tracing::error!(%error, "nobody can log in with it; `referral admin reset-password` sets another");
            Err(refusal.into())
        }
        _ => Err(refusal.into()),
    }
}
