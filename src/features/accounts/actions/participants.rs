//! Participants of a host's app as people: made, changed and erased as parts of units of work.

use std::collections::HashMap;

use super::handles::{self, Drawing};
use super::profile::{Erased, remove};
use super::registration::{refer, take_names};
use crate::db::{Db, Tx};
use crate::features::accounts::model::login_name;
use crate::features::accounts::model::participant::{Brought, Details, ExternalId, drawn_name};
use crate::features::accounts::store::admission::{self, NewMember};
use crate::features::accounts::store::participants::{self as store, HeldParticipant, NewParticipant};
use crate::features::accounts::store::{NewUser, Warrant, hold_managers, insert_login};
use crate::features::audit::model::Event;
use crate::features::codes::actions::issued::{self, Draw};
use crate::features::referrals::model::Status;
use crate::features::{audit, codes, referrals};
use crate::kernel::actor::Actor;
use crate::kernel::digest::ExternalIdHash;
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::handle::{Handle, InvitationKey};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;

/// A participant as a host's app tells of them, with what is drawn in case that they are new.
#[derive(Clone)]
pub struct Told {
    pub external: ExternalId,
    pub details: Details,
    pub brought: Brought,
    pub id: UserId,
    pub code: Draw,
    /// What their link may be called.
    pub handles: Vec<Handle>,
    /// With what the code behind the handle that brought them is renewed, where that may have to be.
    pub renewal: Option<Draw>,
    /// How long their code is to live.
    pub code_days: i64,
    /// Whether others are told of the referral.
    pub tells: bool,
    /// Whether a rule hears of referrals.
    pub sign_up: bool,
    pub now: Time,
}

/// A participant who was new.
pub struct Made {
    pub user: NewUser,
    pub code: String,
    pub handle: Handle,
    pub referrer: Option<UserId>,
}

/// What became of it.
pub enum Upserted {
    Made(Box<Made>),
    /// They were there. With it comes the version that the caller tells [`App::code_changed`](crate::app::App), if what
    /// look-ups tell of them has changed.
    Found {
        id: UserId,
        version: Option<i64>,
    },
}

impl Told {
    fn participant<'a>(&'a self, user: &'a NewUser) -> NewParticipant<'a> {
        let details = &self.details;
        NewParticipant {
            user,
            external: &self.external,
            name: details.name.as_ref().and_then(Option::as_deref),
            language: details.language.as_ref().and_then(Option::as_deref),
            handle: self.handles.first(),
        }
    }

    /// What one statement writes of this one, if they are new: nothing where it takes more. Which code a handle stands
    /// for, only the steps can tell, and they tell rules of a referral.
    fn member<'a>(&'a self, user: &'a NewUser) -> Option<NewMember<'a>> {
        let brought_by = match self.brought {
            Brought::Unsaid => None,
            Brought::By(InvitationKey::Code(key)) if !(self.sign_up || referrals::actions::asks_to_fold(self.id)) => {
                Some(key)
            }
            Brought::By(_) | Brought::ByNonsense => return None,
        };
        let (code, life) = self.code.first(self.code_days)?;
        let (participant, handle) = (self.participant(user), self.handles.first()?);
        Some(NewMember { participant, handle, code, life, brought_by, tells: self.tells })
    }

    /// What has become of one whom the statement has made.
    fn made(&self, user: NewUser, referrer: Option<UserId>) -> Option<Made> {
        let (code, _) = self.code.first(self.code_days)?;
        Some(Made { user, code: code.as_str().to_owned(), handle: self.handles.first()?.clone(), referrer })
    }
}

/// Those whom one statement has made, each as it was told of them; nothing for those whom the steps see to.
pub async fn admit(tx: &mut Tx<'_>, unit: &[Told]) -> Result<Vec<Option<Made>>> {
    let users = unit.iter().map(new_user).collect::<Result<Vec<_>>>()?;
    let mut members: Vec<NewMember<'_>> =
        unit.iter().zip(&users).filter_map(|(told, user)| told.member(user)).collect();
    // Of the same one the first comes first, whoever writes it.
    members.retain(|one| unit.iter().filter(|told| told.external == *one.participant.external).count() == 1);
    let admitted: HashMap<UserId, Option<UserId>> = match members.is_empty() {
        true => HashMap::new(),
        false => admission::admit(tx, &members).await?.into_iter().collect(),
    };
    let made = |(told, user): (&Told, NewUser)| admitted.get(&user.id).and_then(|referrer| told.made(user, *referrer));
    Ok(unit.iter().zip(users).map(made).collect())
}

/// Makes a participant who is new, by one statement where that goes.
pub async fn admit_one(db: &Db, actor: Actor, told: &Told) -> Result<Option<Made>> {
    let user = new_user(told)?;
    let Some(member) = told.member(&user) else { return Ok(None) };
    let admitted = admission::admit_one(db, actor, &member).await?;
    Ok(admitted.and_then(|(_, referrer)| told.made(user, referrer)))
}

/// Makes a participant, with their own code and the referral, or changes the one there is.
pub async fn upsert(tx: &mut Tx<'_>, told: &Told) -> Result<Upserted> {
    let user = new_user(told)?;
    if !store::insert(tx, &told.participant(&user)).await? {
        return change(tx, told).await;
    }
    take_names(tx, &user).await?;
    let handle = handles::first(tx, user.id, &told.handles).await?;
    let code = issued::first(tx, user.id, &told.code, told.code_days).await?;
    // Last, so that the referrer's slot is held as shortly as can be. The host vouches: the referral counts at once.
    let referrer = match told.brought {
        Brought::Unsaid => None,
        Brought::By(key) => {
            let referrer = refer(tx, &user, (key, told.renewal.as_ref()), Status::Confirmed).await?;
            if told.tells {
                referrals::actions::tell(tx, referrer, user.id, Status::Confirmed, told.now).await?;
            }
            Some(referrer)
        }
        Brought::ByNonsense => return Err(Refusal::CodeNotUsable.into()),
    };
    Ok(Upserted::Made(Box::new(Made { user, code: code.code, handle, referrer })))
}

fn new_user(told: &Told) -> Result<NewUser> {
    let username = drawn_name(told.id).map_err(|rule| Error::Internal(format!("a drawn name: {rule}")))?;
    let email = told.details.email.as_ref().and_then(Option::as_ref);
    Ok(NewUser {
        id: told.id,
        name_key: login_name(&username),
        username: username.as_str().to_owned(),
        email: email.map_or("", Email::as_str).to_owned(),
        email_key: email.map_or("", Email::key).to_owned(),
        password_hash: None,
        created_at: told.now,
        verdict: Verdict::Unchecked,
        email_proven: email.is_some() && told.details.verified,
    })
}

async fn change(tx: &mut Tx<'_>, told: &Told) -> Result<Upserted> {
    let held = store::lock(tx, &told.external.hash()).await?;
    let held = held.ok_or_else(|| Error::inconsistent("users", "external_hash", "somebody who was there"))?;
    if held.erased {
        return Err(Refusal::ParticipantErased.into());
    }
    if !has_come_so(tx, held.id, told.brought).await? {
        return Err(Refusal::AlreadyJoined.into());
    }
    let (name, language) = (told.details.name.as_ref(), told.details.language.as_ref());
    let (name, language) = (name.unwrap_or(&held.name), language.unwrap_or(&held.language));
    if (name, language) != (&held.name, &held.language) {
        store::set_details(tx, held.id, name.as_deref(), language.as_deref()).await?;
    }
    let version = change_address(tx, &held, told).await?;
    // A node of the release before has made them without one. Whoever is kept out needs none.
    if !held.has_handle && !held.disabled {
        handles::draw(tx, &Drawing { user: held.id, candidates: told.handles.clone() }).await?;
    }
    Ok(Upserted::Found { id: held.id, version })
}

/// Whether what is said of how somebody was brought is what happened: it counts when they are made, and never again.
async fn has_come_so(tx: &mut Tx<'_>, user: UserId, brought: Brought) -> Result<bool> {
    let key = match brought {
        Brought::Unsaid => return Ok(true),
        Brought::ByNonsense => return Ok(false),
        Brought::By(key) => key,
    };
    let Some(came) = referrals::actions::came_with(tx, user).await? else { return Ok(false) };
    let Some((referrer, ordinal)) = codes::actions::origin(tx, key).await? else { return Ok(false) };
    // A handle stands for its owner, whichever code of theirs was active.
    Ok(referrer == came.0 && ordinal.is_none_or(|ordinal| ordinal == came.1))
}

/// The address of somebody who has made it an account of their own is theirs to change.
async fn change_address(tx: &mut Tx<'_>, held: &HeldParticipant, told: &Told) -> Result<Option<i64>> {
    let verified = told.details.verified;
    let Some(email) = told.details.email.as_ref().filter(|_| !held.is_own_account) else {
        if verified && told.details.email.is_none() && !held.email.is_empty() && !held.email_proven {
            store::note_proof(tx, held.id, told.now).await?;
        }
        return Ok(None);
    };
    let (text, key) = (email.as_ref().map_or("", Email::as_str), email.as_ref().map_or("", Email::key));
    if text == held.email {
        if verified && !text.is_empty() && !held.email_proven {
            store::note_proof(tx, held.id, told.now).await?;
        }
        return Ok(None);
    }
    if key != held.email_key {
        if !held.email_key.is_empty() {
            store::free_login(tx, &held.email_key, held.id).await?;
        }
        if !key.is_empty() && !insert_login(tx, key, held.id).await? {
            return Err(Refusal::EmailTaken.into());
        }
    }
    store::set_address(tx, held.id, text, key, (verified && !text.is_empty()).then_some(told.now)).await?;
    codes::actions::refresh(tx, held.id).await.map(Some)
}

/// The participant with this external id, locked until the unit of work has ended.
pub async fn hold(tx: &mut Tx<'_>, external: &ExternalIdHash) -> Result<UserId> {
    held(tx, external).await.map(|held| held.id)
}

async fn held(tx: &mut Tx<'_>, external: &ExternalIdHash) -> Result<HeldParticipant> {
    let held = store::lock(tx, external).await?.filter(|one| !one.erased);
    held.ok_or_else(|| Refusal::ParticipantNotFound.into())
}

/// Erases a participant, and says what is to be made known of it.
pub async fn erase(tx: &mut Tx<'_>, external: &ExternalIdHash, now: Time) -> Result<(UserId, Erased)> {
    let held = held(tx, external).await?;
    if held.is_manager && hold_managers(tx).await? == [held.id] {
        return Err(Refusal::LastManager.into());
    }
    let erased = remove(tx, held.id, &Warrant::Others, now).await?.ok_or(Refusal::ParticipantNotFound)?;
    audit::actions::record(tx, now, Event::UserErased(held.id, None)).await?;
    Ok((held.id, erased))
}
