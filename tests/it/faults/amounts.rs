//! Very many people of a host's app: all of them told of in batches, and codes of theirs that have expired in a night
//! in which the service was off. The figures are printed; what decides is what is in the tables.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::owners::many;
use crate::support::app::Setup;
use crate::support::history::{Caller, Outcome};
use crate::support::host::{PARTICIPANTS, host_with};
use crate::support::oauth::{Registered, text};
use crate::support::process::{Operator, Serving};
use crate::support::witness;

/// Items of a batch.
const BATCH: usize = 500;
/// Callers who read, or register, beside the work.
const CALLERS: usize = 4;
/// Reads of each of them before it.
const READS: usize = 100;
/// Megabytes that a service may grow by while it takes batches, however many: its caches, and the database's.
const GROWTH: u64 = 200;
/// Longer than any number of people takes that somebody waits for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How long calls took.
struct Calls {
    took: Vec<Duration>,
    all: Duration,
}

impl Calls {
    fn of(mut took: Vec<Duration>, all: Duration) -> Self {
        took.sort_unstable();
        Self { took, all }
    }

    fn rate(&self) -> f64 {
        self.took.len() as f64 / self.all.as_secs_f64()
    }

    fn p99(&self) -> Duration {
        self.took[self.took.len() * 99 / 100]
    }

    fn told(&self) -> String {
        let slowest = self.took.last().copied().unwrap_or_default();
        format!("{:.0} a second, p99 {:.1?}, the slowest {slowest:.1?}", self.rate(), self.p99())
    }
}

/// Calls without a pause, several at a time, until `done` or, where there is none, so many of each caller.
async fn calls<C, F>(call: C, done: Option<Arc<AtomicBool>>) -> Calls
where
    C: Fn(usize, usize) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (call, done) = (call.clone(), done.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                let goes_on = |turn| done.as_ref().map_or(turn < READS, |done| !done.load(Ordering::Relaxed));
                while goes_on(took.len()) {
                    let began = Instant::now();
                    call(caller, took.len()).await;
                    took.push(began.elapsed());
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await.expect("a caller"));
    }
    Calls::of(took, began.elapsed())
}

/// The service in a process of its own, and what a host's app has of it.
struct Place {
    setup: Setup,
    operator: Operator,
    /// Of the database.
    url: String,
}

/// A host's back end.
struct Host {
    registered: Registered,
    caller: Caller,
    /// Of the participant who brings all others.
    handle: String,
    /// Batches that took longer than a request may.
    sent_again: usize,
}

impl Place {
    async fn new(setup: Setup) -> Self {
        let mut operator = Operator::on_a_free_port();
        let url = match setup {
            Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
            _ => Setup::Postgres.prepare(&[]).await.database_url,
        };
        operator.set("DATABASE_URL", &url);
        operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
        Self { setup, operator, url }
    }

    async fn count(&self, what: &str) -> i64 {
        witness::number(&self.url, &format!("select count(*) from {what}")).await
    }

    /// What autovacuum does, which is off in the tests: without it plans are those for empty tables.
    async fn looks_after_statistics(&self) {
        if self.setup != Setup::Sqlite {
            witness::query(&self.url, "analyze").await;
        }
    }

    async fn host(&self, serving: &Serving) -> Host {
        serving.client().register("manager", None).await.expect(201);
        witness::query(&self.url, "update users set is_manager = true where username = 'manager'").await;
        let manager = serving.client().logged_in("manager").await;
        let (registered, client) = host_with(&manager, json!({})).await;
        let anchor = client.tell("anchor", json!({"name": "Olga"})).await.expect(201).json();
        let handle = anchor["handle"].as_str().expect("a handle").to_owned();
        Host { registered, caller: Caller::new(&serving.url, client.token.as_deref()), handle, sent_again: 0 }
    }
}

impl Host {
    /// Asks for another token, for one lives ten minutes only; at the node that serves now.
    async fn renewed(&mut self, serving: &Serving) {
        self.registered.base.clone_from(&serving.url);
        let given = self.registered.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
        self.caller = Caller::new(&serving.url, Some(text(&given.json(), "access_token")));
    }

    /// Tells of so many in batches, and says how long each took.
    async fn tells(&mut self, place: &Place, serving: &Serving, people: Range<usize>, expected: u64) -> Calls {
        let (began, mut took) = (Instant::now(), Vec::new());
        for (turn, first) in people.clone().step_by(BATCH).enumerate() {
            if turn % 100 == 0 {
                self.renewed(serving).await;
            }
            if turn % 10 == 1 {
                place.looks_after_statistics().await;
            }
            let batch = first..people.end.min(first + BATCH);
            let items: Vec<Value> = batch
                .map(|number| json!({"external_id": format!("p{number}"), "name": "Petr", "handle": self.handle}))
                .collect();
            let body = json!({"participants": items});
            let began = Instant::now();
            let (mut outcome, mut answer) = self.caller.send(Method::POST, PARTICIPANTS, &body).await;
            let mut sent = 1;
            while outcome != Outcome::Ok {
                // It took longer than a request may: what is in is found when it is sent again.
                assert!(answer["status"] == 503 && sent < 20, "{answer}");
                (outcome, answer) = self.caller.send(Method::POST, PARTICIPANTS, &body).await;
                sent += 1;
            }
            took.push(began.elapsed());
            self.sent_again += sent - 1;
            let results = answer["results"].as_array().expect("results");
            let fits = |status: &Value| *status == expected || sent > 1 && *status == 200;
            let odd = results.iter().find(|result| !fits(&result["status"]));
            assert_eq!((odd, results.len()), (None, items.len()));
        }
        Calls::of(took, began.elapsed())
    }
}

/// A host moves in with all its people, while others read.
async fn a_host_moves_in(place: &Place, serving: &Serving, host: &mut Host) {
    let people = many();
    let (reader, question) = (Arc::new(Caller::new(&serving.url, None)), json!({"code": host.handle}));
    let read = move |_, _| {
        let (reader, question) = (reader.clone(), question.clone());
        async move {
            let (_, told) = reader.send(Method::POST, "/api/v1/codes/validate", &question).await;
            assert_eq!(told["valid"], true, "{told}");
        }
    };
    let alone = calls(read.clone(), None).await;
    // By then the caches are as full as they become.
    let first = host.tells(place, serving, 0..people / 4, 201).await;
    let before = serving.resident_mb();
    let done = Arc::new(AtomicBool::new(false));
    let readers = tokio::spawn(calls(read, Some(done.clone())));
    let rest = host.tells(place, serving, people / 4..people, 201).await;
    done.store(true, Ordering::Relaxed);
    let (beside, after) = (readers.await.expect("the readers"), serving.resident_mb());
    let rate = |people: usize, calls: &Calls| people as f64 / calls.all.as_secs_f64();
    println!("{:?}: {people} participants in batches of {BATCH}", place.setup);
    println!("  alone: {:.0} people a second", rate(people / 4, &first));
    println!("  beside readers: {:.0} people a second; batches: {}", rate(people - people / 4, &rest), rest.told());
    println!("  batches that were sent again, for they took longer than a request may: {}", host.sent_again);
    println!("  reads alone: {}", alone.told());
    println!("  reads beside: {}", beside.told());
    println!("  memory: {before} MB after a quarter, {after} MB in the end");
    assert!(after < before + GROWTH, "{before} MB after a quarter, {after} MB in the end");
    let all = i64::try_from(people).expect("a number");
    let whole = "users u join codes c on c.owner_id = u.id join handle_strings h on h.owner_id = u.id
                 join code_slots s on s.owner_id = u.id and s.code_id = c.id
                 join referrals r on r.referee_id = u.id and r.status = 'confirmed'
                 where c.ordinal = 1 and c.by_service and u.handle is not null";
    assert_eq!(place.count(whole).await, all);
    // Told of again, they are found.
    host.tells(place, serving, 0..people.min(4 * BATCH), 200).await;
    for table in ["users where external_id like 'p%'", "referrals", "codes where ordinal = 1"] {
        // The one who brings them has a code too.
        assert_eq!(place.count(table).await, all + i64::from(table.starts_with("codes")), "{table}");
    }
}

/// The service was off for a night of the week in which their codes expire; when it is back, people register.
async fn a_night_is_caught_up(place: &Place, host: &Host) {
    // Spread over a week, of which eight hours are over.
    let spread = "update code_slots
                  set expires_at = (select max(created_at) from codes) + ((code_id * 7919) % 604800 - 28800) * 1000000
                  where owner_id <> (select id from users where external_id = 'anchor')";
    witness::query(&place.url, spread).await;
    // Nor may any follow that has hours to live.
    let later = "create table later as
                 select owner_id from code_slots
                 where expires_at > (select max(created_at) from codes) + 4 * 3600 * cast(1000000 as bigint)";
    witness::query(&place.url, later).await;
    let due = place.count("code_slots where expires_at <= (select max(created_at) from codes)").await;
    let (began, done) = (Instant::now(), Arc::new(AtomicBool::new(false)));
    let serving = place.operator.serve();
    let register = {
        let (caller, handle) = (Arc::new(Caller::new(&serving.url, host.caller.token())), host.handle.clone());
        move |place, turn| {
            let (caller, body) = (caller.clone(), json!({"handle": handle}));
            async move {
                let path = format!("{PARTICIPANTS}/n{place}x{turn}");
                let (outcome, told) = caller.send(Method::PUT, &path, &body).await;
                assert_eq!(outcome, Outcome::Ok, "{told}");
            }
        }
    };
    let registrations = tokio::spawn(calls(register, Some(done.clone())));
    while place.count("codes where ordinal = 2 and by_service").await < due {
        assert!(began.elapsed() < PATIENCE, "the night is not caught up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    done.store(true, Ordering::Relaxed);
    let registrations = registrations.await.expect("the registrations");
    println!("  a night: {due} codes had expired, and were followed by others within {took:.1?}");
    println!("  registrations meanwhile: {}", registrations.told());
    assert_eq!(place.count("codes where ordinal > 2").await, 0);
    assert_eq!(place.count("codes c join later l on l.owner_id = c.owner_id where c.ordinal > 1").await, 0);
    assert_eq!(serving.stop().code, Some(0));
}

/// So many people as `FAULTS_MANY` says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_participants_move_in_and_a_night_of_expired_codes_is_caught_up() {
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let place = Place::new(setup).await;
        let serving = place.operator.serve();
        let mut host = place.host(&serving).await;
        a_host_moves_in(&place, &serving, &mut host).await;
        // For what is done when the service is back.
        host.renewed(&serving).await;
        assert_eq!(serving.stop().code, Some(0));
        a_night_is_caught_up(&place, &host).await;
    }
}
