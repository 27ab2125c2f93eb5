//! What it costs that others are told, and how many deliveries a node makes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use referral::app::App;
use referral::config::{self, Environment};
use referral::features::outbox::actions::tell;
use referral::features::outbox::model::Message;
use referral::features::webhooks::actions::{self, NewEndpoint};
use referral::features::webhooks::model::{Types, parse_url};
use referral::kernel::actor::Actor;
use referral::kernel::error::Error;
use referral::kernel::ids::UserId;
use referral::kernel::time::Clock;
use referral::{start, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::measure::{Bound, Goal, Row, Spread};
use crate::report::{Fact, Report};
use crate::rows::mails::execute;
use crate::rows::registrations::{copied, register};
use crate::run::{Bench, Place};
use crate::servers::block_on;
use crate::service::{self, Options, Service};

/// Messages that are delivered in a round, written in parts of so many.
const MESSAGES: usize = 5000;
const PART: usize = 250;
/// Longer than a node believes that nobody is told.
const HEARD: Duration = Duration::from_millis(1200);

/// A registration while there is an endpoint, beside one while there is none.
pub fn effects(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main.clone(), "PostgreSQL"), (copied(bench, file, "webhooks")?, "SQLite")] {
        let options = Options { without_hashing: true, ..place.options.clone() };
        let service = Service::start(&bench.programs, &options)?;
        let codes = bench.codes(&place);
        // Disabled: what is measured is the effect with its messages, and not the deliveries.
        let made = "insert into webhook_endpoints (id, url, types, description, state, created_at) \
                    select id, 'https://hooks.example/', '*', '', 'removed', 1 from users limit 1";
        execute(bench, &place, made)?;
        let turn = |state: &str| {
            execute(bench, &place, &format!("update webhook_endpoints set state = '{state}'"))?;
            std::thread::sleep(HEARD);
            register(bench, &place, &service, &codes)
        };
        let (ours, theirs) = Row::alternate(bench.settings.rounds, || turn("disabled"), || turn("removed"))?;
        report.row(Row {
            work: format!("registration that others are told of, hashing aside, {engine}"),
            yardstick: "registration without an endpoint".to_owned(),
            goal: Goal::AtLeast(0.85),
            bound: Bound::Processor,
            ours,
            theirs,
            remark: "three messages each; the job that numbers them works meanwhile.".to_owned(),
        });
    }
    Ok(())
}

/// How many deliveries a second one node makes, in this process, to a receiver in this process.
pub fn deliveries(bench: &Bench, _: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    bench.postgres.query("postgres", "create database webhooks")?;
    let file = format!("sqlite:{}", bench.folder.join("deliveries.db").display());
    for (engine, database) in [("PostgreSQL", bench.postgres.url("webhooks")), ("SQLite", file)] {
        service::migrate(&bench.programs, &database)?;
        let rates = block_on(rates(database, bench.settings.rounds))?;
        report.fact(Fact {
            work: format!("deliveries of webhooks, {engine}"),
            goal: Goal::AtLeast(1000.0),
            value: Spread::of(rates),
            unit: "/s",
            remark: format!(
                "{MESSAGES} messages to one endpoint that answers at once; the receiver is in this process."
            ),
        });
    }
    Ok(())
}

async fn rates(database: String, rounds: usize) -> Result<Vec<f64>, String> {
    let environment: Environment =
        vec![("DATABASE_URL".into(), database), ("REFERRAL_WEBHOOKS_ALLOW_NETWORKS".into(), "127.0.0.0/8".into())];
    let app = start::open(config::load(None, &environment)?, Clock::default()).await?;
    let told = |error: Error| error.to_string();
    let receiver = TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("no receiver: {error}"))?;
    let address = receiver.local_addr().map_err(|error| format!("no receiver: {error}"))?;
    let receiving = tokio::spawn(async move {
        while let Ok((stream, _)) = receiver.accept().await {
            tokio::spawn(take(stream));
        }
    });
    let new =
        NewEndpoint { url: parse_url(&format!("http://{address}/"))?, types: Types::All, description: String::new() };
    actions::create(&app, Actor::OPERATOR.into(), new).await.map_err(told)?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        for _ in 0..MESSAGES / PART {
            write(&app).await.map_err(told)?;
        }
        let began = Instant::now();
        worker::drain(&app).await.map_err(told)?;
        rates.push(MESSAGES as f64 / began.elapsed().as_secs_f64());
    }
    let (_, pending) = actions::figures(&app).await.map_err(told)?;
    receiving.abort();
    if pending > 0 { Err(format!("{pending} deliveries have not got through")) } else { Ok(rates) }
}

async fn write(app: &Arc<App>) -> Result<(), Error> {
    let now = app.clock.now();
    let messages = (0..PART).map(|_| {
        let message = Message::participant_created(UserId::new(), now);
        app.db.write(Actor::SERVICE, message, |tx, message| Box::pin(tell(tx, message)))
    });
    futures_util::future::try_join_all(messages).await.map(drop)
}

/// Answers each request on a connection, as soon as its body is there.
async fn take(mut stream: TcpStream) {
    let (mut text, mut part) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut part).await {
            Ok(length @ 1..) => text.extend_from_slice(part.get(..length).unwrap_or_default()),
            _ => return,
        }
        while let Some(end) = whole(&text) {
            text.drain(..end);
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        }
    }
}

/// Where the first request ends, once all of it is there.
fn whole(text: &[u8]) -> Option<usize> {
    let head = text.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (_, length) = std::str::from_utf8(text.get(..head)?).ok()?.split_once("content-length: ")?;
    let length: usize = length.lines().next()?.trim().parse().ok()?;
    let end = head + 4 + length;
    (text.len() >= end).then_some(end)
}
