//! Statements alone, units with a fate, and who waits for locks.

use std::time::Duration;

use referral::db::{Db, Options, Sql, Value, Work, migrate};
use referral::features::{
    accounts, audit, clients, codes, identities, links, mails, managers, oauth, outbox, participants, programs,
    referrals, rewards, tokens, webhooks,
};
use referral::kernel::actor::Actor;
use referral::kernel::error::{Refusal, Result};
use referral::{cache, db, idempotency, jobs, keep, params, readiness};

referral::sql! {
    ADD_LOGIN = "insert into logins (login_key, user_id) values ($1, $2)";
    ADD_JOB = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, 0, 0, 0)";
}

/// The modules that have statements, each with its list.
pub const STORES: &[(&str, &[&Sql])] = &[
    ("src/cache/changes.rs", cache::changes::STATEMENTS),
    ("src/db/about.rs", db::about::STATEMENTS),
    ("src/db/migrate.rs", migrate::STATEMENTS),
    ("src/features/accounts/store.rs", accounts::store::STATEMENTS),
    ("src/features/accounts/store/admission.rs", accounts::store::admission::STATEMENTS),
    ("src/features/accounts/store/participants.rs", accounts::store::participants::STATEMENTS),
    ("src/features/accounts/store/registration.rs", accounts::store::registration::STATEMENTS),
    ("src/features/audit/store.rs", audit::store::STATEMENTS),
    ("src/features/clients/store/consents.rs", clients::store::consents::STATEMENTS),
    ("src/features/clients/store/mod.rs", clients::store::STATEMENTS),
    ("src/features/codes/store.rs", codes::store::STATEMENTS),
    ("src/features/codes/store/moving.rs", codes::store::moving::STATEMENTS),
    ("src/features/identities/store.rs", identities::store::STATEMENTS),
    ("src/features/links/store.rs", links::store::STATEMENTS),
    ("src/features/mails/store.rs", mails::store::STATEMENTS),
    ("src/features/managers/store.rs", managers::store::STATEMENTS),
    ("src/features/oauth/store.rs", oauth::store::STATEMENTS),
    ("src/features/outbox/store.rs", outbox::store::STATEMENTS),
    ("src/features/participants/store.rs", participants::store::STATEMENTS),
    ("src/features/programs/store.rs", programs::store::STATEMENTS),
    ("src/features/referrals/store.rs", referrals::store::STATEMENTS),
    ("src/features/rewards/store/check.rs", rewards::store::check::STATEMENTS),
    ("src/features/rewards/store/decisions.rs", rewards::store::decisions::STATEMENTS),
    ("src/features/rewards/store/events.rs", rewards::store::events::STATEMENTS),
    ("src/features/rewards/store/ledger.rs", rewards::store::ledger::STATEMENTS),
    ("src/features/rewards/store/payouts.rs", rewards::store::payouts::STATEMENTS),
    ("src/features/rewards/store/rewards.rs", rewards::store::rewards::STATEMENTS),
    ("src/features/rewards/store/rules.rs", rewards::store::rules::STATEMENTS),
    ("src/features/tokens/store.rs", tokens::store::STATEMENTS),
    ("src/features/tokens/store/sessions.rs", tokens::store::sessions::STATEMENTS),
    ("src/features/webhooks/store/deliveries.rs", webhooks::store::deliveries::STATEMENTS),
    ("src/features/webhooks/store/mod.rs", webhooks::store::STATEMENTS),
    ("src/idempotency.rs", idempotency::STATEMENTS),
    ("src/jobs.rs", jobs::STATEMENTS),
    ("src/keep/import/mod.rs", keep::import::STATEMENTS),
    ("src/keep/laws.rs", keep::laws::STATEMENTS),
    ("src/keep/restore.rs", keep::restore::STATEMENTS),
    ("src/readiness.rs", readiness::STATEMENTS),
];

/// One statement as a unit of its own.
pub async fn alone(db: &Db, sql: &'static Sql, params: impl Into<Vec<Value>>) -> Result<u64> {
    let unit: Work<(&'static Sql, Vec<Value>), u64> = |tx, (sql, params)| Box::pin(tx.run(sql, params));
    db.write(Actor::SERVICE, (sql, params.into()), unit).await
}

/// Backends that wait for a lock, in the database of this address.
pub async fn waiting_for_locks(url: &str) -> i64 {
    number(url, "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
        .await
}

pub async fn number(url: &str, sql: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.expect("a row").get(0)
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    Fine,
    Refused,
    Violates,
    Panics,
    Waits,
}

pub struct Unit {
    pub number: usize,
    pub fate: Fate,
}

/// Writes two rows and then meets its fate.
pub async fn run(db: Db, number: usize, fate: Fate) -> Result<usize> {
    let unit: Work<Unit, usize> = |tx, unit| {
        Box::pin(async move {
            let subject = unit.number.to_string();
            tx.run(&ADD_JOB, &params!["first", &subject]).await?;
            match unit.fate {
                Fate::Fine => {}
                Fate::Refused => return Err(Refusal::CodeTaken.into()),
                Fate::Violates => drop(tx.run(&ADD_LOGIN, &params!["taken", None::<i64>]).await?),
                Fate::Panics => panic!("as the test wants it"),
                Fate::Waits => tokio::task::yield_now().await,
            }
            tx.run(&ADD_JOB, &params!["second", &subject]).await?;
            Ok(unit.number)
        })
    };
    db.write(Actor::SERVICE, Unit { number, fate }, unit).await
}

pub async fn open(url: &str) -> Result<Db, String> {
    let options =
        Options { connections: 2, prepared_statements: true, request: Duration::from_secs(30), mapped_mib: 0 };
    Db::open(url, options).await
}
