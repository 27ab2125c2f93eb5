//! `referral import --from-reference`: people, codes and referrals of the reference service, all that can come or
//! nothing.

pub mod judge;

use std::collections::{BTreeMap, HashMap};

use self::judge::{Plan, Taken};
use super::laws;
use super::{Tell, open};
use crate::app::App;
use crate::db::{Db, Place, Tx, Work, reference};
use crate::features::accounts::actions::moving as accounts;
use crate::features::audit::model::Event;
use crate::features::codes::actions::moving as codes;
use crate::features::{audit, referrals};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::UserId;
use crate::kernel::time::Time;
use crate::{params, sql};

sql! {
    IDS = "select id from users";
    KEYS = "select login_key from logins";
    STRINGS = "select code_hash from code_strings";
    NOW = "select referral_now()";
}

/// Referees of one referrer from which on marks are set.
const MANY: u64 = 64;

/// What was found and done: a line for each row that does not come as it was, and how many of which kind there are.
pub struct Report {
    pub lines: Vec<String>,
    pub summary: String,
}

/// Reads the reference service's tables and says what would come of each row; with `apply` it is done. The error is a
/// sentence with a remedy.
pub async fn run(app: &App, from: &str, apply: bool, tell: Tell) -> Result<Report, String> {
    if !from.starts_with("postgres://") && !from.starts_with("postgresql://") {
        return Err("--from-reference names the reference service's database: postgres://USER@HOST/NAME".to_owned());
    }
    let source = open(from, &app.config).await?;
    let db = open(&app.config.database.url, &app.config).await.map_err(|fault| app.config.database.told(&fault))?;
    let tables = reference::read(&source).await.map_err(|error| format!("cannot read what is to come: {error}"))?;
    tell(&format!(
        "{} users, {} codes, {} referrals are there",
        tables.users.len(),
        tables.codes.len(),
        tables.referrals.len()
    ));
    let unread = |error: Error| format!("cannot read the database: {error}");
    let (taken, now) = (taken(&db).await.map_err(unread)?, now(&db).await.map_err(unread)?);
    let plan = judge::judge(&tables, &taken, now);
    let lines =
        plan.notes.iter().map(|note| format!("{}  {}  {}", note.place, note.why.word(), note.why.sentence())).collect();
    let told = told(&plan);
    if !apply {
        return Ok(Report { lines, summary: format!("{told}. Nothing was written: --apply does it") });
    }
    tell("writing");
    let bring: Work<(Plan, Time), ()> = |tx, (plan, now)| Box::pin(bring(tx, plan, *now));
    app.db.write(Actor::OPERATOR, (plan, now), bring).await.map_err(|error| match error {
        Error::Refused(Refusal::UsernameTaken | Refusal::EmailTaken | Refusal::CodeTaken) => {
            "somebody took a name, an address or a code meanwhile; nothing was written: begin again".to_owned()
        }
        error => format!("{error}; nothing was written"),
    })?;
    tell("looking whether the laws hold");
    let breaches = laws::breaches(Place::Open(&db)).await;
    let breaches = breaches.map_err(|error| laws::not_looked("the database", &error))?;
    if breaches.is_empty() {
        Ok(Report { lines, summary: format!("{told}. It is done, and the laws hold") })
    } else {
        Err(format!("{told}. It is done, but {}", laws::sentence("the database", &breaches)))
    }
}

async fn taken(db: &Db) -> Result<Taken> {
    let mut taken = Taken::default();
    for row in db.scan(&IDS, params![]).await? {
        taken.ids.insert(row.get(0)?);
    }
    for row in db.scan(&KEYS, params![]).await? {
        taken.keys.insert(row.get(0)?);
    }
    for row in db.scan(&STRINGS, params![]).await? {
        let hash: Vec<u8> = row.get(0)?;
        taken.codes.insert(hash.try_into().map_err(|_| Error::Internal("a hash of another length".into()))?);
    }
    Ok(taken)
}

async fn now(db: &Db) -> Result<Time> {
    let row = db.row(&NOW, params![]).await?.ok_or_else(|| Error::Internal("a clock without an answer".into()))?;
    row.time(0)
}

/// How much comes, and how much does not come as it was.
fn told(plan: &Plan) -> String {
    let codes: usize = plan.people.iter().map(|person| person.codes.len()).sum();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for note in &plan.notes {
        *kinds.entry(note.why.word()).or_default() += 1;
    }
    let kinds: Vec<String> = kinds.iter().map(|(word, count)| format!("{count} {word}")).collect();
    let rest = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
    format!(
        "{} people, {codes} codes and {} referrals come; rows that do not come as they were: {rest}",
        plan.people.len(),
        plan.referrals.len()
    )
}

/// All of it, as one unit of work.
async fn bring(tx: &mut Tx<'_>, plan: &Plan, now: Time) -> Result<()> {
    for person in &plan.people {
        accounts::bring(tx, &person.user, now).await?;
    }
    for person in &plan.people {
        codes::bring(tx, person.user.id, &person.codes, now).await?;
    }
    let mut brought: HashMap<UserId, u64> = HashMap::new();
    for (referrer, referee) in &plan.referrals {
        referrals::actions::bring(tx, *referrer, *referee, now).await?;
        *brought.entry(*referrer).or_default() += 1;
    }
    for referrer in brought.iter().filter(|(_, count)| **count >= MANY).map(|(referrer, _)| referrer) {
        referrals::actions::ask_to_fold(tx, *referrer, now).await?;
    }
    audit::actions::record(tx, now, Event::PeopleImported(plan.people.len() as i64)).await
}
