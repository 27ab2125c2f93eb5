//! Registration: what is decided before, all that it writes, and the two ways to write it.

use super::profile::{Erased, remove};
use crate::app::App;
use crate::config::Policy;
use crate::db::{Attempt, Db, Tx, Work};
use crate::features::accounts::model::disposable::is_disposable;
use crate::features::accounts::model::{Entrance, ReferralRules, Registration, login_name};
use crate::features::accounts::store::registration::Beside;
use crate::features::accounts::store::{self, NewUser, Warrant};
use crate::features::codes::actions::issued::{self, Draw};
use crate::features::identities::model::UnclaimedIdentityKey;
use crate::features::mails::actions::{self as mails, To};
use crate::features::mails::model::NewMail;
use crate::features::outbox::model::Message;
use crate::features::referrals::model::Status;
use crate::features::{codes, identities, outbox, programs, referrals, rewards};
use crate::idempotency::Sent;
use crate::jobs::{self, Kind};
use crate::kernel::actor::{Actor, Who};
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result, Storage};
use crate::kernel::handle::InvitationKey;
use crate::kernel::ids::UserId;
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::web::views::language::Language;

/// A new account.
pub struct Registered {
    pub id: UserId,
    pub username: String,
    pub email: String,
    /// As it is stored; nothing for people who came with another provider.
    pub password_hash: Option<String>,
}

/// How a registration was told whose code it comes with: by the code, or by the handle of its owner.
pub enum Invitation {
    None,
    Key(InvitationKey),
    /// Something that neither looks like: it is simply not found.
    Nonsense,
}

/// All that a registration writes, and nothing else is written with one. What every registration writes stands in
/// `REGISTER` too, and with the mail in `REGISTER_AND_TELL`; for what only some write, [`is_plain`](Self::is_plain)
/// tells that it is there, and [`write_in_steps`] writes it.
#[derive(Clone)]
pub struct Entry {
    pub actor: Actor,
    pub user: NewUser,
    pub code: Option<InvitationKey>,
    /// With what the code behind a handle is renewed, where that may have to be.
    pub renewal: Option<Draw>,
    /// Where the person has come from, if not with a password.
    pub arrival: Option<UnclaimedIdentityKey>,
    /// Whether the verifier is to be asked.
    pub check: bool,
    pub status: Status,
    /// By which the person shows that the address is theirs.
    pub mail: Option<NewMail>,
    /// Where the registration is not to tell whether the address was free.
    pub quiet: Option<Quiet>,
    /// Whether others are told of it.
    pub tells: bool,
    /// Whether a rule hears of the referral, which counts at once.
    pub sign_up: bool,
}

/// How a registration goes on when the address is somebody's.
#[derive(Clone)]
pub struct Quiet {
    /// Until when the name is held, whosever the address is.
    held_until: Time,
    /// To whoever has the address or, where they are not to be told, to nobody.
    news: Option<NewMail>,
}

impl Entry {
    /// Whether one statement writes all of it. The fields are taken apart so that a new one has to be thought of here.
    fn is_plain(&self) -> bool {
        let Self { actor: _, user, code, renewal: _, arrival, check, status: _, mail, quiet, tells, sign_up } = self;
        // Which code a handle stands for, only the steps can tell.
        let by_handle = matches!(code, Some(InvitationKey::Handle(_)));
        let folds = code.is_some() && referrals::actions::asks_to_fold(user.id);
        let tells_twice = *sign_up && (mail.is_some() || *tells);
        arrival.is_none() && !check && !folds && !by_handle && quiet.is_none() && !tells_twice
    }
}

/// Makes an account and, if it came with a code, the referral, in one unit of work.
pub async fn register(
    app: &App,
    sent: Sent<Registered>,
    new: Registration,
    invitation: Invitation,
    language: Language,
) -> Result<Registered> {
    let code = match invitation {
        Invitation::None => None,
        Invitation::Key(key) => Some(key),
        Invitation::Nonsense => return Err(Refusal::CodeNotUsable.into()),
    };
    let settings = &app.config.email;
    let disposable = settings.check != Policy::Off && is_disposable(&new.email);
    if disposable && settings.check == Policy::Block {
        return Err(Error::field("email", "disposable_address", "Disposable e-mail addresses are not accepted"));
    }
    let verdict = match (disposable, settings.verifies()) {
        (true, _) => Verdict::Disposable,
        (false, true) => Verdict::Pending,
        (false, false) => Verdict::Unchecked,
    };
    let (password_hash, arrival) = match new.entrance {
        Entrance::Password(password) => (Some(app.hasher.hash(&password, app.random()?).await?), None),
        Entrance::Provider(key) => (None, Some(key)),
    };
    let renewal = code.map(|key| issued::draw_for(app, key)).transpose()?.flatten();
    let (id, email_proven) = (UserId::new(), arrival.as_ref().is_some_and(|arrival| arrival.email_proven));
    let to = To { user: id, address: new.email.as_str(), key: new.email.key() };
    let mail = if email_proven { None } else { mails::prepare(app, MailKind::Confirm, language, to).await? };
    let quiet = match sent.actor().who {
        // The operator sees all addresses.
        Who::Operator => None,
        _ if app.config.is_quiet() && !email_proven => Some(quiet(app, id, &new.email, language).await?),
        _ => None,
    };
    let counts = ReferralRules::of(&app.config).count(email_proven, verdict);
    let sign_up = code.is_some() && counts && programs::actions::current(app).await?.sign_up_rules;
    let entry = Entry {
        actor: sent.actor(),
        user: NewUser {
            id,
            username: new.username.as_str().to_owned(),
            email: new.email.as_str().to_owned(),
            name_key: login_name(&new.username),
            email_key: new.email.key().to_owned(),
            password_hash,
            created_at: app.clock.now(),
            verdict,
            email_proven,
        },
        code,
        renewal,
        arrival,
        check: verdict == Verdict::Pending,
        status: if counts { Status::Confirmed } else { Status::Pending },
        mail,
        quiet,
        tells: outbox::actions::is_heard(app).await?,
        sign_up,
    };
    let registered = Registered {
        id: entry.user.id,
        username: entry.user.username.clone(),
        email: entry.user.email.clone(),
        password_hash: entry.user.password_hash.clone(),
    };
    let (checks, mails, tells, sign_ups) = (entry.check, entry.mail.is_some(), entry.tells, entry.sign_up);
    let way = if entry.arrival.is_some() { "provider" } else { "password" };
    let referral = entry.code.is_some().then(|| entry.status.word());
    match sent.is_kept() {
        // Its answer is part of a unit, and the one statement is none.
        true => app.write(sent.settled(&registered)?, entry, |tx, entry| Box::pin(write_in_steps(tx, entry))).await?,
        false => write(&app.db, entry).await?,
    }
    app.metrics.registered(way);
    if let Some(status) = referral {
        app.metrics.referred(status);
    }
    if disposable {
        app.metrics.verdict(verdict.word());
    }
    let asked = [(checks, Kind::CheckEmail), (mails, Kind::SendMail), (sign_ups, Kind::SignUpEvent)];
    for (_, kind) in asked.into_iter().filter(|(asked, _)| *asked) {
        app.work_to_do.ring(kind);
    }
    if tells {
        app.to_tell.notify_one();
    }
    Ok(registered)
}

/// What is prepared for an address that may be somebody's. How often its owner is told is limited; the work is the same
/// whether there is an owner, and whether they are told.
async fn quiet(app: &App, new: UserId, email: &Email, language: Language) -> Result<Quiet> {
    let held_until = app.clock.now().plus(app.config.mail.confirm());
    let owner = store::credentials(&app.db, email.key()).await?.filter(|owner| !owner.disabled);
    let may_be_told = app.limits.lets_mail(email.key()).await?;
    let news = match owner.filter(|_| may_be_told) {
        Some(owner) => {
            let to = To { user: owner.id, address: &owner.email, key: email.key() };
            mails::prepare(app, MailKind::AlreadyRegistered, language, to).await?
        }
        None => {
            let to = To { user: new, address: email.as_str(), key: email.key() };
            mails::prepare_for_nobody(app, MailKind::AlreadyRegistered, language, to).await?
        }
    };
    Ok(Quiet { held_until, news })
}

/// Erased in one unit: one of more would hold up others.
const ERASED_AT_ONCE: i64 = 32;

/// Erases those for whom a name was held and who have not confirmed their address in time.
pub async fn release_names(app: &App) -> Result<u64> {
    let mut erased = 0;
    loop {
        let release: Work<Time, Vec<(UserId, Erased)>> = |tx, now| Box::pin(release(tx, *now));
        let released = app.db.write(Actor::SERVICE, app.clock.now(), release).await?;
        let count = released.len() as u64;
        for (user, gone) in released {
            gone.announce(app, user).await;
        }
        erased += count;
        if count < ERASED_AT_ONCE.unsigned_abs() {
            return Ok(erased);
        }
    }
}

/// As whoever is erased: they may have logged in and made codes, if registrations ceased to be quiet meanwhile.
async fn release(tx: &mut Tx<'_>, now: Time) -> Result<Vec<(UserId, Erased)>> {
    let mut released = Vec::new();
    for user in store::held_too_long(tx, now, ERASED_AT_ONCE).await? {
        if let Some(erased) = remove(tx, user, &Warrant::Others, now).await? {
            released.push((user, erased));
        }
    }
    Ok(released)
}

/// Writes a registration that came without a client's key. There are two ways to the same rows, and this is the one
/// place that chooses:
///
/// - One statement, for what most registrations write, on an engine that is faster with it: on PostgreSQL one trip to
///   the database instead of eight, and the referrer's slot is held for the length of one statement. There is another
///   for those that a mail tells of, or that others are told of.
/// - A unit of work of single steps, for everything else: where there is no such statement (SQLite gains nothing by
///   one), where more is to be written than it writes, and where it wrote nothing, for only the steps can tell why.
pub async fn write(db: &Db, entry: Entry) -> Result<()> {
    if entry.is_plain() {
        let Entry { actor, user, code, status, mail, tells, sign_up, .. } = &entry;
        let referral = (code.as_ref(), *status);
        let beside = Beside { mail: mail.as_ref(), tells: *tells, sign_up: *sign_up };
        let attempt = store::registration::register(db, *actor, user, referral, beside).await?;
        if matches!(attempt, Attempt::Written(_)) {
            return Ok(());
        }
    }
    match db.write(entry.actor, entry, |tx, entry| Box::pin(write_in_steps(tx, entry))).await {
        // The id is nobody else's: the statement was carried out, and its answer got lost.
        Err(Error::Storage(Storage::Constraint("users_pk"))) => Ok(()),
        outcome => outcome,
    }
}

pub async fn write_in_steps(tx: &mut Tx<'_>, entry: &Entry) -> Result<()> {
    let user = &entry.user;
    store::insert_user(tx, user).await?;
    // Before the names: whoever sends a form twice is told that it was used, not that the name is taken.
    if let Some(arrival) = &entry.arrival {
        identities::actions::claim(tx, arrival, user.id, user.created_at).await?;
    }
    let is_free = match take_names(tx, user).await {
        Err(Error::Refused(Refusal::EmailTaken)) if entry.quiet.is_some() => false,
        taken => taken.map(|()| true)?,
    };
    if let Some(quiet) = &entry.quiet {
        store::hold_name(tx, user.id, quiet.held_until, is_free).await?;
    }
    if entry.check {
        jobs::enqueue(tx, Kind::CheckEmail, user.id.to_string(), user.created_at).await?;
    }
    let news = entry.quiet.as_ref().and_then(|quiet| quiet.news.as_ref());
    if let Some(mail) = if is_free { entry.mail.as_ref() } else { news } {
        mails::write(tx, mail).await?;
    }
    if entry.tells {
        outbox::actions::tell(tx, &Message::participant_created(user.id, user.created_at)).await?;
    }
    // Last, so that the referrer's slot is held as shortly as can be.
    if let Some(key) = entry.code {
        let referrer = refer(tx, user, (key, entry.renewal.as_ref()), entry.status).await?;
        if entry.tells {
            referrals::actions::tell(tx, referrer, user.id, entry.status, user.created_at).await?;
        }
    }
    Ok(())
}

/// Takes a new user's name and address for them, as far as they have one.
pub(super) async fn take_names(tx: &mut Tx<'_>, user: &NewUser) -> Result<()> {
    // A name that is one's own address is the same log-in.
    if user.name_key != user.email_key && !store::insert_login(tx, &user.name_key, user.id).await? {
        return Err(Refusal::UsernameTaken.into());
    }
    if !user.email_key.is_empty() && !store::insert_login(tx, &user.email_key, user.id).await? {
        return Err(Refusal::EmailTaken.into());
    }
    Ok(())
}

/// Makes the referral of a new user who comes with a code, or with a handle and what may renew the code behind it, and
/// says who the referrer is.
pub(super) async fn refer(
    tx: &mut Tx<'_>,
    user: &NewUser,
    (key, renewal): (InvitationKey, Option<&Draw>),
    status: Status,
) -> Result<UserId> {
    let held = codes::actions::hold(tx, key, renewal).await?;
    referrals::actions::record(tx, held, user.id, status, user.created_at).await?;
    if status == Status::Confirmed {
        rewards::actions::sign_ups::expect(tx, user.id, user.created_at).await?;
    }
    Ok(held.owner)
}
