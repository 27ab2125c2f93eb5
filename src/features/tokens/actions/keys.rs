//! The life of signing keys: made at need, published, signing, replaced, retired.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::app::App;
use crate::cache::changes::announce_keys;
use crate::config::Tokens;
use crate::crypto::keyring::{Key, Keyring, LEEWAY, StoredKey, StoredSecret};
use crate::db::{Db, Tx, Work};
use crate::features::audit;
use crate::features::audit::model::Event;
use crate::features::tokens::store;
use crate::kernel::actor::Actor;
use crate::kernel::caller::IdTokenAlgorithm;
use crate::kernel::error::{Error, OperatorError, Result};
use crate::kernel::ids::KeyChangeId;
use crate::kernel::time::Time;

/// From the publication of a key to its first signature. Others keep the published keys for a minute, the clocks of
/// nodes differ by as much, a node hears of a change within seconds; the rest is for one that was cut off.
pub const LEAD: Duration = Duration::from_secs(5 * 60);

/// From the first signature of its successor until no token that a key has signed is good any more: access tokens and
/// ID tokens live no longer, and a node whose clock is behind may have signed a little longer.
pub const AFTERLIFE: Duration = Duration::from_secs(Tokens::LONGEST.as_secs() + LEEWAY.unsigned_abs());

/// Takes over the keys that the database has.
pub async fn read(keyring: &Keyring, db: &Db) -> Result<()> {
    keyring.take_over(async { Ok((store::keys(db).await?, store::refresh_keys(db).await?)) }).await
}

/// As [`read`], from a SQLite file that nobody has opened yet.
pub fn read_file(keyring: &Keyring, path: &Path) -> Result<()> {
    let (keys, refresh_keys) = store::keys_of_file(path)?;
    keyring.set(&keys, &refresh_keys)
}

/// Takes over the keys whenever another node has changed them.
pub async fn follow(app: &App, mut changed: watch::Receiver<()>) {
    while changed.changed().await.is_ok() {
        while let Err(error) = read(&app.keyring, &app.db).await {
            tracing::warn!(%error, "cannot read the signing keys, which have changed; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        hand_out(app);
        if let Err(error) = audit::actions::keys::read(app).await {
            tracing::warn!(%error, "cannot read the keys of the audit");
        }
        if let Some(kid) = app.keyring.locked() {
            let sentence = locked(app.keyring.seals(), &kid);
            tracing::error!("{sentence}. This node cannot sign with it");
        }
    }
}

/// Takes over the keys that the database has, makes the first if there is none, and seals what is not sealed.
pub async fn open(app: &App) -> Result<(), OperatorError> {
    read(&app.keyring, &app.db).await?;
    if let Some(kid) = app.keyring.locked() {
        return Err(OperatorError::Refused(locked(app.keyring.seals(), &kid)));
    }
    if !app.keyring.has(IdTokenAlgorithm::EdDsa) {
        make(app, IdTokenAlgorithm::EdDsa).await?;
    }
    if !app.keyring.has_refresh_key() {
        make_refresh_key(app).await?;
    }
    seal(app).await?;
    hand_out(app);
    audit::actions::keys::open(app).await?;
    Ok(())
}

/// Gives those who need a secret that all nodes have theirs.
fn hand_out(app: &App) {
    if let Some(secret) = app.keyring.secret_for("limits") {
        app.limits.hash_with(secret);
    }
}

/// Why a key cannot be opened, and what to do.
pub fn locked(seals: bool, kid: &str) -> String {
    let remedy = "If that key is lost, `referral keys rotate --emergency` makes new ones";
    if seals {
        format!(
            "tokens.master_key (REFERRAL_MASTER_KEY) does not open the signing key {kid}: give the master key that it \
             was sealed under. {remedy}"
        )
    } else {
        format!(
            "the signing key {kid} is sealed: give the master key that it was sealed under as tokens.master_key \
             (REFERRAL_MASTER_KEY or REFERRAL_MASTER_KEY_FILE). {remedy}"
        )
    }
}

/// Makes the key that signs ID tokens by RS256, unless there is one. It signs at once.
pub async fn rs256_ready(app: &App) -> Result<()> {
    if app.keyring.has(IdTokenAlgorithm::Rs256) {
        return Ok(());
    }
    let _one = app.keyring.making().await;
    // Somebody who waited here before, or another node, may have made it.
    read(&app.keyring, &app.db).await?;
    if app.keyring.has(IdTokenAlgorithm::Rs256) { Ok(()) } else { make(app, IdTokenAlgorithm::Rs256).await }
}

struct First {
    key: Key,
    now: Time,
    change: KeyChangeId,
}

/// Makes the first key of an algorithm. Of several nodes that do so at once one wins, and the others take its key.
async fn make(app: &App, algorithm: IdTokenAlgorithm) -> Result<()> {
    let first = First { key: generate(app, algorithm).await?, now: second(app), change: KeyChangeId::new() };
    app.db.write(Actor::SERVICE, first, |tx, first| Box::pin(insert_first(tx, first))).await?;
    app.keys_changed().await;
    read(&app.keyring, &app.db).await
}

async fn insert_first(tx: &mut Tx<'_>, first: &First) -> Result<()> {
    let keys = store::lock_keys(tx).await?;
    if living(&keys).any(|stored| stored.key.algorithm == first.key.algorithm) {
        return Ok(());
    }
    store::insert_key(tx, &first.key, first.now, first.now).await?;
    announce_keys(tx, first.change).await
}

/// Makes the key for refresh tokens, unless another node comes first. Nodes that know of none give theirs without a
/// MAC.
async fn make_refresh_key(app: &App) -> Result<()> {
    let key = app.keyring.sealed_secret(StoredSecret::generate()?)?;
    let insert: Work<(StoredSecret, Time), ()> = |tx, (key, now)| Box::pin(insert_refresh_key(tx, key, *now));
    app.db.write(Actor::SERVICE, (key, second(app)), insert).await?;
    read(&app.keyring, &app.db).await
}

async fn insert_refresh_key(tx: &mut Tx<'_>, key: &StoredSecret, now: Time) -> Result<()> {
    store::lock_keys(tx).await?;
    store::insert_refresh_key(tx, key, now).await
}

/// A key as it is stored. RSA has the runtime wait on a thread of its own.
async fn generate(app: &App, algorithm: IdTokenAlgorithm) -> Result<Key> {
    let key = tokio::task::spawn_blocking(move || Key::generate(algorithm)).await;
    app.keyring.sealed(key.map_err(|error| Error::Internal(format!("cannot make a key: {error}")))??)
}

struct Sealed {
    /// Private keys by their generations.
    keys: Vec<(i64, Vec<u8>)>,
    refresh_keys: Vec<StoredSecret>,
}

/// Seals keys from before there was a master key.
async fn seal(app: &App) -> Result<()> {
    if !app.keyring.seals() {
        return Ok(());
    }
    let mut sealed = Sealed { keys: Vec::new(), refresh_keys: Vec::new() };
    for stored in living(&store::keys(&app.db).await?).filter(|stored| !stored.key.sealed) {
        sealed.keys.push((stored.generation, app.keyring.sealed(stored.key.clone())?.private_key));
    }
    for key in store::refresh_keys(&app.db).await?.into_iter().filter(|key| !key.sealed) {
        sealed.refresh_keys.push(app.keyring.sealed_secret(key)?);
    }
    if sealed.keys.is_empty() && sealed.refresh_keys.is_empty() {
        return Ok(());
    }
    let changed = app.db.write(Actor::SERVICE, sealed, |tx, sealed| Box::pin(replace_open(tx, sealed))).await?;
    if changed > 0 {
        tracing::info!(
            keys = changed,
            "keys lay open in the database and are sealed now; older copies of it still have them open: \
             `referral keys rotate` replaces them"
        );
    }
    Ok(())
}

/// Replaces keys that lie open by sealed ones, and says how many did.
async fn replace_open(tx: &mut Tx<'_>, sealed: &Sealed) -> Result<u64> {
    store::lock_keys(tx).await?;
    let mut changed = 0;
    for (generation, private_key) in &sealed.keys {
        changed += u64::from(store::seal_key(tx, *generation, private_key).await?);
    }
    for key in &sealed.refresh_keys {
        changed += u64::from(store::seal_refresh_key(tx, key).await?);
    }
    Ok(changed)
}

/// Where a key stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Published, and signs later.
    Next,
    Signing,
    /// Its successor signs; what it has signed is still good.
    Verifying,
    Retired,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Retired => "retired",
        }
    }
}

/// A key as the operator sees it.
pub struct Listed {
    pub kid: String,
    pub algorithm: IdTokenAlgorithm,
    pub state: State,
    /// When the state began; for the next key when it will sign.
    pub since: Time,
}

/// All keys, the oldest first.
pub async fn list(app: &App) -> Result<Vec<Listed>> {
    let (keys, now) = (store::keys(&app.db).await?, app.clock.now());
    let listed = keys.iter().map(|stored| {
        let (state, since) = stand(stored, &keys, now);
        Listed { kid: stored.key.kid.clone(), algorithm: stored.key.algorithm, state, since }
    });
    Ok(listed.collect())
}

fn living(keys: &[StoredKey]) -> impl Iterator<Item = &StoredKey> {
    keys.iter().filter(|stored| stored.retired_at.is_none())
}

fn stand(stored: &StoredKey, keys: &[StoredKey], now: Time) -> (State, Time) {
    if let Some(at) = stored.retired_at {
        return (State::Retired, at);
    }
    if stored.active_from > now {
        return (State::Next, stored.active_from);
    }
    match succeeded_at(stored, keys) {
        Some(at) if at <= now => (State::Verifying, at),
        // Keys from before there was a lead have no time of their own.
        _ => (State::Signing, stored.active_from.max(stored.created_at)),
    }
}

/// When the first of its successors signs or has begun to; one that was retired before is none.
fn succeeded_at(stored: &StoredKey, keys: &[StoredKey]) -> Option<Time> {
    let later = keys.iter().filter(|other| other.generation > stored.generation);
    let same = later.filter(|other| other.key.algorithm == stored.key.algorithm);
    same.filter(|other| other.retired_at.is_none_or(|at| at > other.active_from)).map(|other| other.active_from).min()
}

/// What a rotation has made.
#[derive(Debug)]
pub struct Rotated {
    pub made: Vec<(String, IdTokenAlgorithm)>,
    pub signs_from: Time,
    /// A former key that could not be opened, by its name.
    pub locked: Option<String>,
}

struct Rotation {
    made: Vec<Key>,
    /// For refresh tokens, in an emergency.
    refresh_key: Option<StoredSecret>,
    emergency: bool,
    now: Time,
    active_from: Time,
    change: KeyChangeId,
}

enum RotationOutcome {
    Rotated,
    /// A successor that does not sign yet is there already: its name, and when it signs.
    TooSoon(String, Time),
}

/// Makes a successor for the key of each algorithm there is. It is published at once and signs after [`LEAD`].
///
/// In an emergency it signs at once, and all former keys are retired: no node believes a token signed by one of them as
/// soon as it has read the feed of changes.
pub async fn rotate(app: &App, emergency: bool) -> Result<Rotated, OperatorError> {
    read(&app.keyring, &app.db).await?;
    let unopened = app.keyring.locked();
    if let Some(kid) = unopened.as_ref().filter(|_| !emergency) {
        // Nodes have another master key: they could not sign with what is made here.
        return Err(OperatorError::Refused(locked(app.keyring.seals(), kid)));
    }
    if emergency {
        audit::actions::keys::replace_lost(app).await?;
    }
    let mut made = vec![generate(app, IdTokenAlgorithm::EdDsa).await?];
    if app.keyring.has(IdTokenAlgorithm::Rs256) {
        made.push(generate(app, IdTokenAlgorithm::Rs256).await?);
    }
    let now = second(app);
    let active_from = if emergency { now } else { now.plus(LEAD) };
    let names = made.iter().map(|key| (key.kid.clone(), key.algorithm)).collect();
    let refresh_key = emergency.then(StoredSecret::generate).transpose()?;
    let refresh_key = refresh_key.map(|key| app.keyring.sealed_secret(key)).transpose()?;
    let rotation = Rotation { made, refresh_key, emergency, now, active_from, change: KeyChangeId::new() };
    let outcome = app.db.write(Actor::OPERATOR, rotation, |tx, rotation| Box::pin(replace(tx, rotation))).await?;
    if let RotationOutcome::TooSoon(kid, from) = outcome {
        let sentence = format!("{kid} is published already and signs from {from} on: wait until it does");
        return Err(OperatorError::Refused(sentence));
    }
    app.keys_changed().await;
    Ok(Rotated { made: names, signs_from: active_from, locked: unopened })
}

async fn replace(tx: &mut Tx<'_>, rotation: &Rotation) -> Result<RotationOutcome> {
    let keys = store::lock_keys(tx).await?;
    if rotation.emergency {
        for stored in living(&keys) {
            store::retire_key(tx, stored.generation, rotation.now).await?;
            audit::actions::record(tx, rotation.now, Event::KeyRetired(stored.key.kid.clone())).await?;
        }
    } else if let Some(next) = living(&keys).find(|stored| stored.active_from > rotation.now) {
        return Ok(RotationOutcome::TooSoon(next.key.kid.clone(), next.active_from));
    }
    for key in &rotation.made {
        store::insert_key(tx, key, rotation.now, rotation.active_from).await?;
        audit::actions::record(tx, rotation.now, Event::KeyMade(key.kid.clone())).await?;
    }
    if let Some(key) = &rotation.refresh_key {
        store::forget_refresh_keys(tx).await?;
        store::insert_refresh_key(tx, key, rotation.now).await?;
        audit::actions::record(tx, rotation.now, Event::KeyMade(key.kid.clone())).await?;
    }
    announce_keys(tx, rotation.change).await?;
    Ok(RotationOutcome::Rotated)
}

struct Retirement {
    kid: String,
    now: Time,
    change: KeyChangeId,
}

/// Takes a key out of what is published and believed.
pub async fn retire(app: &App, kid: &str) -> Result<(), OperatorError> {
    let retirement = Retirement { kid: kid.to_owned(), now: app.clock.now(), change: KeyChangeId::new() };
    let refused = app.db.write(Actor::OPERATOR, retirement, |tx, input| Box::pin(retire_unneeded(tx, input))).await?;
    app.keys_changed().await;
    refused.map_or(Ok(()), |sentence| Err(OperatorError::Refused(sentence)))
}

/// Retires the key, or says why it cannot be yet.
async fn retire_unneeded(tx: &mut Tx<'_>, input: &Retirement) -> Result<Option<String>> {
    let keys = store::lock_keys(tx).await?;
    let generation = match may_retire(&keys, &input.kid, input.now) {
        Ok(generation) => generation,
        Err(sentence) => return Ok(Some(sentence)),
    };
    store::retire_key(tx, generation, input.now).await?;
    audit::actions::record(tx, input.now, Event::KeyRetired(input.kid.clone())).await?;
    announce_keys(tx, input.change).await?;
    Ok(None)
}

/// The generation of the key, if it neither signs nor has signed a token that may still be good.
fn may_retire(keys: &[StoredKey], kid: &str, now: Time) -> Result<i64, String> {
    let stored = keys
        .iter()
        .find(|stored| stored.key.kid == kid)
        .ok_or_else(|| format!("there is no signing key {kid}: `referral keys list` shows those there are"))?;
    let succeeded_at = succeeded_at(stored, keys);
    match (stand(stored, keys, now), succeeded_at) {
        ((State::Retired, at), _) => Err(format!("{kid} is retired, since {at}")),
        // Some nodes' clocks are ahead.
        ((State::Next, from), _) if from <= now.plus(AHEAD) => {
            Err(format!("{kid} signs from {from} on, and some nodes may have begun: it cannot be called off any more"))
        }
        ((State::Signing, _), None) => Err(format!(
            "{kid} signs: `referral keys rotate` makes its successor first. `referral keys rotate --emergency` makes one \
             that signs at once and retires all others"
        )),
        ((State::Signing, _), Some(at)) => {
            Err(format!("{kid} signs until {at}; it may be retired from {} on", at.plus(AFTERLIFE)))
        }
        ((State::Verifying, at), _) if at.plus(AFTERLIFE) > now => Err(format!(
            "tokens that {kid} has signed may still be good; it may be retired from {} on",
            at.plus(AFTERLIFE)
        )),
        ((State::Next | State::Verifying, _), _) => Ok(stored.generation),
    }
}

/// By which the clocks of nodes may differ.
const AHEAD: Duration = Duration::from_secs(LEEWAY.unsigned_abs());

/// The time to the second, as it is told.
fn second(app: &App) -> Time {
    Time(app.clock.now().seconds() * 1_000_000)
}
