//! What noting costs, and how long it takes to look whether all is as it was noted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use referral::app::App;
use referral::config::{self, Environment};
use referral::db::{Tx, Work};
use referral::features::audit::actions::verify::{self, Asked};
use referral::features::audit::actions::{chain, record};
use referral::features::audit::model::{Event, Reason};
use referral::kernel::actor::Actor;
use referral::kernel::error::Result as Outcome;
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use referral::start;

use crate::measure::{Bound, Goal, Row, Spread};
use crate::people::PASSWORD;
use crate::report::{Fact, Report};
use crate::run::{Bench, Place};
use crate::servers::block_on;
use crate::service::{self, Service};
use crate::{http, sources};

/// People who log in, of each kind.
const PEOPLE: usize = 16;
/// Rows that are verified, and those that one unit of work writes of them.
const ROWS: usize = 200_000;
const UNIT: usize = 1000;

/// Log-ins of managers, which are noted, beside those of others, which are not: else they are the same.
pub fn writes(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let name = main.name.as_deref().ok_or("not on PostgreSQL")?;
    let service = bench.start_without_hashing(main)?;
    let (managers, others) = (registered(bench, &service, "manager")?, registered(bench, &service, "other")?);
    for manager in &managers {
        bench.postgres.query(name, &format!("update users set is_manager = true where name_key = '{manager}'"))?;
    }
    let log_in = |names: &[String]| bench.load(main, &service, sources::each(|at| sources::log_ins_of(names, at)));
    let before = bench.postgres.query(name, "select count(*) from audit")?;
    let (ours, theirs) = Row::alternate(bench.settings.rounds, || log_in(&managers), || log_in(&others))?;
    if bench.postgres.query(name, "select count(*) from audit")? == before {
        return Err("nothing was noted".to_owned());
    }
    report.row(Row {
        work: "log-in that is noted, hashing aside, PostgreSQL".to_owned(),
        yardstick: "the same that is not".to_owned(),
        goal: Goal::AtLeast(0.87),
        bound: Bound::Processor,
        ours,
        theirs,
        remark: "of managers and of others: at most 15 % dearer. The job chains what is noted meanwhile.".to_owned(),
    });
    Ok(())
}

/// People who have registered with the service, whose passwords are not hashed.
fn registered(bench: &Bench, service: &Service, kind: &str) -> Result<Vec<String>, String> {
    let register = |_| {
        let name = format!("{kind}-{}", bench.newcomers.fetch_add(1, Ordering::Relaxed));
        let body = serde_json::json!({"username": name, "email": format!("{name}@mail.example"), "password": PASSWORD});
        http::ask(service.address, "POST", "/api/v1/auth/user", None, Some(&body.to_string()))?.expect(201)?;
        Ok(name)
    };
    (0..PEOPLE).map(register).collect()
}

/// How many rows a second are read and compared with what was noted, in this process.
pub fn verified(bench: &Bench, _: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    bench.postgres.query("postgres", "create database audit")?;
    let file = format!("sqlite:{}", bench.folder.join("audit.db").display());
    for (engine, database) in [("PostgreSQL", bench.postgres.url("audit")), ("SQLite", file)] {
        service::migrate(&bench.programs, &database)?;
        let rates = block_on(rates(database, bench.settings.rounds))?;
        report.fact(Fact {
            work: format!("rows of the audit that are verified, {engine}"),
            goal: Goal::AtLeast(200_000.0),
            value: Spread::of(rates),
            unit: "/s",
            remark: format!("of {ROWS}, each with its MAC, its hash and its number."),
        });
    }
    Ok(())
}

async fn rates(database: String, rounds: usize) -> Result<Vec<f64>, String> {
    let environment: Environment = vec![("DATABASE_URL".into(), database)];
    let app = start::open(config::load(None, &environment)?, Clock::default()).await?;
    let told = |error: referral::kernel::error::Error| error.to_string();
    for _ in 0..ROWS / UNIT {
        note(&app).await.map_err(told)?;
    }
    chain::run(&app).await.map_err(told)?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let began = Instant::now();
        let found = verify::run(&app, Asked::default()).await.map_err(told)?;
        rates.push(found.rows as f64 / began.elapsed().as_secs_f64());
        if found.fault.is_some() || found.rows < ROWS as i64 {
            return Err(format!("{} rows are whole, of {ROWS}", found.rows));
        }
    }
    Ok(rates)
}

async fn note(app: &Arc<App>) -> Outcome<()> {
    let work: Work<(UserId, Time), ()> = |tx, (user, now)| Box::pin(note_many(tx, *user, *now));
    app.db.write(Actor::OPERATOR, (UserId::new(), app.clock.now()), work).await
}

async fn note_many(tx: &mut Tx<'_>, user: UserId, now: Time) -> Outcome<()> {
    for _ in 0..UNIT {
        record(tx, now, Event::UserDisabled(user, Some(Reason::Fraud))).await?;
    }
    Ok(())
}
