//! Writes that come again with the client's key (`Idempotency-Key`) have one effect and one answer.
//!
//! What is kept is a row in the transaction of the effect: its first statement claims the key, its last puts the answer
//! in. So a write is there with its answer, or neither is, and nobody has to clean up behind one that was cut off. Keys
//! and answers are not in the database: both are hashed and sealed under what is made of the client's key and of a
//! secret of the installation, and open to nobody who lacks one of them.

use std::time::Duration;

use aws_lc_rs::{hkdf, hmac};
use subtle::ConstantTimeEq;

use crate::crypto::sealing::Sealer;
use crate::db::{Db, Row, Tx, Work};
use crate::kernel::actor::{Actor, Who};
use crate::kernel::answer::Answer;
use crate::kernel::error::{Cause, Error, Refusal, Result, Storage};
use crate::kernel::time::Time;
use crate::{params, sql};

/// How long an answer is kept.
pub const LIFE: Duration = Duration::from_secs(24 * 3600);

sql! {
    CLAIM_KEY = "insert into idempotency (scope_hash, fingerprint, sealed_answer, expires_at) values ($1, $2, null, $3)
        on conflict (scope_hash) do update
            set fingerprint = excluded.fingerprint, sealed_answer = null, expires_at = excluded.expires_at
            where idempotency.expires_at <= $4";
    ANSWER_IN_UNIT = "select fingerprint, sealed_answer from idempotency where scope_hash = $1";
    ANSWER = "select fingerprint, sealed_answer from idempotency where scope_hash = $1 and expires_at > $2";
    KEEP_ANSWER = "update idempotency set sealed_answer = $2 where scope_hash = $1";
    FORGET_ANSWERS = "delete from idempotency where expires_at <= $1";
    MEND_ANSWERS = "update idempotency set expires_at = $1 where expires_at > $1";
}

/// What is made of a client's key and the installation's secret.
pub struct ClientKey {
    scope: hmac::Key,
    fingerprint: hmac::Key,
    answers: [u8; 32],
}

impl ClientKey {
    pub fn new(secret: &[u8; 32], key: &str) -> Result<Self> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, secret).extract(key.as_bytes());
        let expand = |purpose: &[u8]| {
            let mut bytes = [0; 32];
            let expanded = extracted.expand(&[purpose], hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut bytes));
            expanded.map(|()| bytes).map_err(|_| Error::Internal("cannot make a key of a client's".into()))
        };
        let mac = |purpose: &[u8]| Ok::<_, Error>(hmac::Key::new(hmac::HMAC_SHA256, &expand(purpose)?));
        Ok(Self { scope: mac(b"scope")?, fingerprint: mac(b"fingerprint")?, answers: expand(b"answer")? })
    }

    /// The record of a write: by whom, of which operation, and what it says.
    pub fn record(&self, who: Who, operation: &str, said: &[&[u8]], now: Time) -> Result<Record> {
        let caller = match who {
            Who::Person(user) | Who::Manager(user) => format!("user {user}"),
            Who::Program(client) => format!("client {}", client.0),
            Who::Anonymous | Who::Operator | Who::Service => "anonymous".to_owned(),
        };
        Ok(Record {
            scope_hash: mac(&self.scope, &[caller.as_bytes(), operation.as_bytes()]),
            fingerprint: mac(&self.fingerprint, said),
            sealer: Sealer::new(&self.answers)?,
            now,
        })
    }
}

/// Of parts that cannot be taken for others, wherever one ends and the next begins.
fn mac(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

/// Where the answer to a write is kept.
pub struct Record {
    scope_hash: [u8; 32],
    fingerprint: [u8; 32],
    sealer: Sealer,
    now: Time,
}

impl Record {
    /// Whose turn it is: that of the key.
    pub fn turn(&self) -> [u8; 16] {
        self.scope_hash.first_chunk().copied().unwrap_or_default()
    }

    /// What answers are bound to.
    fn name(&self) -> String {
        self.scope_hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn seal(&self, answer: &Answer) -> Result<Vec<u8>> {
        let text = [&answer.status.to_be_bytes()[..], &answer.body].concat();
        self.sealer.seal(&self.name(), &text)
    }

    /// The answer in a row of this scope; nothing when it is one to another request.
    fn open(&self, row: &Row) -> Result<Option<Answer>> {
        let fingerprint: Vec<u8> = row.get(0)?;
        if !bool::from(fingerprint.ct_eq(&self.fingerprint)) {
            return Ok(None);
        }
        let sealed: Option<Vec<u8>> = row.get(1)?;
        let opened = sealed.and_then(|sealed| self.sealer.open(&self.name(), &sealed));
        let answer = opened
            .as_ref()
            .and_then(|text| text.split_first_chunk())
            .map(|(status, body)| Answer { status: u16::from_be_bytes(*status), body: body.to_vec() });
        answer.map(Some).ok_or_else(|| Error::inconsistent("idempotency", "sealed_answer", self.name()))
    }
}

/// What a write is answered, from what it comes to.
type Tell<T> = Box<dyn Fn(&T) -> Result<Answer> + Send + Sync>;

/// A write as it was sent: by whom and, if it came with a key, where its answer is kept and how it is made of what the
/// write comes to.
pub struct Sent<T> {
    actor: Actor,
    kept: Option<(Box<Record>, Tell<T>)>,
}

impl<T> From<Actor> for Sent<T> {
    fn from(actor: Actor) -> Self {
        Self { actor, kept: None }
    }
}

impl<T: 'static> Sent<T> {
    pub fn new(
        actor: Actor,
        record: Option<Record>,
        tell: impl Fn(&T) -> Result<Answer> + Send + Sync + 'static,
    ) -> Self {
        Self { actor, kept: record.map(|record| (Box::new(record), Box::new(tell) as Tell<T>)) }
    }

    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The same, now that it is known who makes it. Its key stays that of who sent it.
    pub fn by(self, known: impl Fn(Actor) -> Actor) -> Self {
        Self { actor: known(self.actor), ..self }
    }

    /// Whether it came with a key.
    pub fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// Of a unit that comes to more than the answer is made of.
    pub fn of<U: 'static>(self, part: fn(&U) -> &T) -> Sent<U> {
        let kept = self.kept.map(|(record, tell)| (record, Box::new(move |all: &U| tell(part(all))) as Tell<U>));
        Sent { actor: self.actor, kept }
    }

    /// Of a unit whose answer is known before.
    pub fn settled<U>(self, value: &T) -> Result<Sent<U>> {
        let kept = match self.kept {
            None => None,
            Some((record, tell)) => {
                let answer = tell(value)?;
                Some((record, Box::new(move |_: &U| Ok(answer.clone())) as Tell<U>))
            }
        };
        Ok(Sent { actor: self.actor, kept })
    }

    /// The turn of its key, if it came with one.
    pub fn turn(&self) -> Option<[u8; 16]> {
        self.kept.as_ref().map(|(record, _)| record.turn())
    }

    /// Runs a unit of work: with a key that was used before it is not run, and the first answer is the error.
    pub async fn write<I>(self, db: &Db, input: I, work: Work<I, T>) -> Result<T>
    where
        I: Send + Sync + 'static,
        T: Send,
    {
        let Some((record, tell)) = self.kept else { return db.write(self.actor, input, work).await };
        let once = Once { input, work, record, tell };
        match db.write(self.actor, once, |tx, once| Box::pin(run_once(tx, once))).await? {
            Ran::Now(value) => Ok(value),
            Ran::Before(answer) => Err(Error::Answered(answer)),
        }
    }
}

struct Once<I, T> {
    input: I,
    work: Work<I, T>,
    record: Box<Record>,
    tell: Tell<T>,
}

enum Ran<T> {
    Now(T),
    Before(Answer),
}

async fn run_once<I, T>(tx: &mut Tx<'_>, once: &Once<I, T>) -> Result<Ran<T>>
where
    I: Send + Sync,
    T: Send,
{
    if let Some(answer) = claim(tx, &once.record).await? {
        return Ok(Ran::Before(answer));
    }
    let value = (once.work)(tx, &once.input).await?;
    let sealed = once.record.seal(&(once.tell)(&value)?)?;
    tx.run(&KEEP_ANSWER, &params![&once.record.scope_hash, sealed]).await?;
    Ok(Ran::Now(value))
}

/// Makes the key this unit's, until its end, or gives the answer to the unit that had it.
async fn claim(tx: &mut Tx<'_>, record: &Record) -> Result<Option<Answer>> {
    let values = params![&record.scope_hash, &record.fingerprint, record.now.plus(LIFE), record.now];
    let claimed = tx.run(&CLAIM_KEY, &values).await.map_err(|error| match error {
        // Another node has it, and takes long.
        Error::Storage(Storage::TimedOut(_)) => Refusal::IdempotencyInFlight.into(),
        error => error,
    })?;
    if claimed == 1 {
        return Ok(None);
    }
    let Some(row) = tx.row(&ANSWER_IN_UNIT, &params![&record.scope_hash]).await? else {
        // It was forgotten between the two.
        return Err(Storage::Retry(Cause::Unknown.fault("an idempotency key has gone")).into());
    };
    record.open(&row)?.map(Some).ok_or_else(|| Refusal::IdempotencyKeyReused.into())
}

/// The answer to this very write, if it was made before.
pub async fn find(db: &Db, record: &Record) -> Result<Option<Answer>> {
    match db.row(&ANSWER, params![&record.scope_hash, record.now]).await? {
        Some(row) => record.open(&row),
        None => Ok(None),
    }
}

/// Forgets answers whose time is over.
pub async fn housekeeping(db: &Db, now: Time) -> Result<()> {
    let forget: Work<Time, ()> =
        |tx, now| Box::pin(async move { tx.run(&FORGET_ANSWERS, &params![*now]).await.map(drop) });
    db.write(Actor::SERVICE, now, forget).await
}

/// Brings back what a clock has written that was ahead, and says how much that was.
pub async fn mend_times(db: &Db, now: Time) -> Result<u64> {
    let mend: Work<Time, u64> = |tx, latest| Box::pin(async move { tx.run(&MEND_ANSWERS, &params![*latest]).await });
    db.write(Actor::SERVICE, now.plus(LIFE), mend).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::ids::{ClientId, UserId};

    const SECRET: [u8; 32] = [7; 32];

    fn record(secret: &[u8; 32], key: &str, who: Who, operation: &str, said: &[&[u8]]) -> Record {
        ClientKey::new(secret, key).unwrap().record(who, operation, said, Time(0)).unwrap()
    }

    #[test]
    fn another_secret_key_caller_or_operation_is_another_scope() {
        let user = UserId::new();
        let who = Who::Person(user);
        let one = record(&SECRET, "key", who, "POST /a", &[]).scope_hash;
        for (secret, key, who, operation) in [
            ([8; 32], "key", who, "POST /a"),
            (SECRET, "kez", who, "POST /a"),
            (SECRET, "key", Who::Person(UserId::new()), "POST /a"),
            (SECRET, "key", Who::Program(ClientId(user.0)), "POST /a"),
            (SECRET, "key", Who::Anonymous, "POST /a"),
            (SECRET, "key", who, "POST /b"),
        ] {
            assert_ne!(record(&secret, key, who, operation, &[]).scope_hash, one, "{key} {who:?} {operation}");
        }
        // A manager is the person they are.
        assert_eq!(record(&SECRET, "key", Who::Manager(user), "POST /a", &[b"x"]).scope_hash, one);
    }

    #[test]
    fn what_is_said_is_told_apart_wherever_its_parts_end() {
        let said = |parts: &[&[u8]]| record(&SECRET, "key", Who::Anonymous, "POST /a", parts).fingerprint;
        assert_eq!(said(&[b"ab", b"c"]), said(&[b"ab", b"c"]));
        assert_ne!(said(&[b"ab", b"c"]), said(&[b"a", b"bc"]));
        assert_ne!(said(&[b"ab", b"c"]), said(&[b"ab", b"c", b""]));
    }

    #[test]
    fn an_answer_opens_by_the_same_key_and_scope_only() {
        let answer = Answer { status: 201, body: b"told once".to_vec() };
        let one = record(&SECRET, "key", Who::Anonymous, "POST /a", &[]);
        let sealed = one.seal(&answer).unwrap();
        assert!(!sealed.windows(4).any(|part| part == b"once"));
        let open = |record: &Record| record.sealer.open(&record.name(), &sealed);
        assert_eq!(open(&one).unwrap(), [&[0, 201][..], b"told once"].concat());
        for other in [
            record(&[8; 32], "key", Who::Anonymous, "POST /a", &[]),
            record(&SECRET, "kez", Who::Anonymous, "POST /a", &[]),
            record(&SECRET, "key", Who::Anonymous, "POST /b", &[]),
        ] {
            assert!(open(&other).is_none());
        }
        assert_eq!(format!("{answer:?}"), "Answer(201)");
    }
}
