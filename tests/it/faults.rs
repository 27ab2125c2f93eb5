//! What breaks between the service and its servers, or breaks the service itself, makes no answer untrue: what was
//! acknowledged is there once, what was refused is not, and nothing is there by half.
//!
//! `cargo xtask faults` lets more of it break, and more often.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::laws::Record;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::Client;
use crate::support::history::{Call, Caller, History, Outcome, Write};
use crate::support::process::{Operator, Serving};
use crate::support::relay::{Fault, Relay};
use crate::support::witness;

/// Whether there is time for all of it.
fn thorough() -> bool {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    std::env::var_os("FAULTS").is_some()
}

// ---------------------------------------------------------------------------------------- the way to a server

/// Answers each line by the same line.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut part = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut part).await {
                    if stream.write_all(&part[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// What comes back of a text; nothing when the connection breaks first.
async fn back(stream: &mut TcpStream, text: &str) -> Option<String> {
    stream.write_all(text.as_bytes()).await.ok()?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.ok()?;
    String::from_utf8(answer).ok()
}

/// The instrument itself: each fault does what it says, and nothing does it without one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_way_is_what_it_says() {
    let relay = Relay::to(echo().await).await;
    let address = ("127.0.0.1", relay.port);
    let open = async || TcpStream::connect(address).await.expect("a connection");
    let mut stream = open().await;
    assert_eq!(back(&mut stream, "one").await.as_deref(), Some("one"));

    // Late, by more than nothing, and there all the same.
    let late = Duration::from_millis(30);
    relay.suffer(Fault::Latency(late));
    let began = std::time::Instant::now();
    assert_eq!(back(&mut stream, "two").await.as_deref(), Some("two"));
    assert!(began.elapsed() >= late * 2);

    relay.suffer(Fault::Silence);
    let mut silent = open().await;
    let (told, ()) = tokio::join!(back(&mut silent, "three"), async { relay.suffer(Fault::None) });
    assert_eq!(told.as_deref(), Some("three"));

    relay.suffer(Fault::Refuse);
    eventually("nobody listens", || async { TcpStream::connect(address).await.is_err() }).await;
    // What is connected stays so.
    assert_eq!(back(&mut stream, "four").await.as_deref(), Some("four"));
    relay.suffer(Fault::None);
    eventually("somebody listens again", || async { TcpStream::connect(address).await.is_ok() }).await;

    relay.suffer(Fault::CutAfter(5));
    let mut cut = open().await;
    assert_eq!(back(&mut cut, "abcd").await.as_deref(), Some("abcd"));
    assert_eq!(back(&mut cut, "efgh").await, None);
    relay.strikes(1).await;

    relay.suffer(Fault::LoseReply(b"commit".to_vec()));
    assert_eq!(back(&mut stream, "begin").await.as_deref(), Some("begin"));
    // A text may come in parts.
    assert_eq!(back(&mut stream, "com").await.as_deref(), Some("com"));
    assert_eq!(back(&mut stream, "mit").await, None);
    relay.strikes(2).await;

    relay.suffer(Fault::None);
    let mut stream = open().await;
    assert_eq!(back(&mut stream, "five").await.as_deref(), Some("five"));
    relay.suffer(Fault::Reset);
    assert_eq!(back(&mut stream, "six").await, None);
    // A new one may be gone before it is had.
    if let Ok(mut new) = TcpStream::connect(address).await {
        assert_eq!(back(&mut new, "seven").await, None);
    }
    relay.strikes(3).await;
}

// ------------------------------------------------------------------------------------------------ the history

/// A user with a code of their own.
struct Owner {
    name: String,
    code: String,
    caller: Caller,
}

async fn owner(client: &Client, name: &str) -> Owner {
    let code = format!("{}2030ABC", name.to_uppercase());
    let user = client.signed_up(name).await;
    user.create_code(&code).await.expect(201);
    Owner { name: name.to_owned(), code, caller: Caller::new(&client.base, user.token.as_deref()) }
}

fn registration(owner: &Owner, name: &str) -> Write {
    Write::Registration { name: name.to_owned(), code: Some((owner.name.clone(), owner.code.clone())) }
}

/// The checker sees each kind of contradiction, and none where there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_of_histories_sees_what_is_planted() {
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let test = setup.start().await;
        let someone = Caller::new(&test.nodes[0].url, None);
        let owner = owner(&test.client(), "owner").await;
        let mut history = History::default();
        for name in ["one", "two"] {
            history.0.push(someone.make(registration(&owner, name)).await);
        }
        history.0.push(someone.make(registration(&owner, "one")).await);
        let wrong =
            Write::Registration { name: "none".into(), code: Some((owner.name.clone(), "UNKNOWN2030A".into())) };
        history.0.push(someone.make(wrong).await);
        let replaced =
            Write::Code { owner: owner.name.clone(), code: "SECOND2030AB".into(), former: Some(owner.code.clone()) };
        history.0.push(owner.caller.make(replaced).await);
        let revoked = Write::Revocation { owner: owner.name.clone(), code: "SECOND2030AB".into() };
        history.0.push(owner.caller.make(revoked).await);
        let outcomes: Vec<Outcome> = history.0.iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::Failed, Outcome::Failed, Outcome::Ok, Outcome::Ok]);
        // Of one name there was one registration that went through.
        history.0.remove(2);
        let url = &test.database_url;
        assert_eq!(history.contradictions(url).await, Vec::<String>::new());

        let told_as = async |history: &mut History, place: usize, outcome| {
            let before = std::mem::replace(&mut history.0[place].outcome, outcome);
            let found = history.contradictions(url).await;
            history.0[place].outcome = before;
            found
        };
        // There, though it was refused; not there, though it was acknowledged.
        assert_eq!(told_as(&mut history, 0, Outcome::Failed).await.len(), 1);
        assert_eq!(told_as(&mut history, 2, Outcome::Ok).await.len(), 1);
        assert_eq!(told_as(&mut history, 3, Outcome::Failed).await.len(), 1);
        // Whoever knows nothing is contradicted by nothing whole.
        assert_eq!(told_as(&mut history, 0, Outcome::Unknown).await, Vec::<String>::new());
        assert_eq!(told_as(&mut history, 2, Outcome::Unknown).await, Vec::<String>::new());

        for (place, plant, mend) in [
            (
                1,
                "delete from referrals where referee_id in (select id from users where email_key = 'two@example.com')",
                None,
            ),
            (0, "delete from logins where login_key = 'one'", None),
            (
                0,
                "update users set email_key = 'one@example.com' where email_key = 'two@example.com'",
                Some("update users set email_key = 'two@example.com' where name_key = 'two'"),
            ),
            (3, "update codes set revoked_at = null where ordinal = 1", None),
            (4, "update codes set revoked_at = null where ordinal = 2", None),
        ] {
            let before: BTreeSet<String> = history.contradictions(url).await.into_iter().collect();
            test.sql(plant).await;
            let after = history.contradictions(url).await;
            let name = history.0[place].write.to_string();
            assert!(after.iter().any(|told| told.starts_with(&name) && !before.contains(told)), "{plant}: {after:?}");
            // Not even who knows nothing is told of the half of it.
            assert_eq!(
                told_as(&mut history, place, Outcome::Unknown)
                    .await
                    .iter()
                    .filter(|told| told.starts_with(&name))
                    .count(),
                1,
                "{plant}"
            );
            if let Some(mend) = mend {
                test.sql(mend).await;
            }
        }
    }
}

/// A node behind a way, and a database that can be looked at directly.
async fn behind_a_way(seconds: &str) -> (TestApp, Relay, String) {
    let direct = Setup::Postgres.prepare(&[]).await.database_url;
    let (_, rest) = direct.split_once('@').expect("a user");
    let (server, name) = rest.split_once('/').expect("a database");
    let relay = Relay::to(server.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{name}", relay.port);
    let mut test = Setup::Postgres.prepare_on(url, &[("REFERRAL_HTTP_REQUEST_SECONDS", seconds)]).await;
    test.add_node().await;
    (test, relay, direct)
}

/// The server has committed, and its word of that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_never_told_as_a_failure() {
    let (test, relay, direct) = behind_a_way("10").await;
    let owner = owner(&test.client(), "owner").await;
    let mut history = History::default();

    relay.suffer(Fault::LoseReply(b"commit\0".to_vec()));
    let code = Write::Code { owner: owner.name.clone(), code: "SECOND2030AB".into(), former: Some(owner.code.clone()) };
    let call = owner.caller.make(code).await;
    assert!(relay.struck() > 0);
    assert_eq!(call.outcome, Outcome::Unknown);
    history.0.push(call);
    relay.suffer(Fault::None);
    eventually("the database is reached again", || async { test.client().get("/readyz").await.status == 200 }).await;
    // It was made.
    history.0[0].outcome = Outcome::Ok;
    assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());

    // The statement that registers is recognised by the name in it, whether it was prepared before or not.
    let owner = Owner { code: "SECOND2030AB".into(), ..owner };
    for name in ["unprepared", "prepared"] {
        let struck = relay.struck();
        relay.suffer(Fault::LoseReply(format!("{name}@example.com").into_bytes()));
        let caller = Caller::new(&test.nodes[0].url, None);
        let struck_once = async {
            relay.strikes(struck + 1).await;
            relay.suffer(Fault::None);
        };
        let (call, ()) = tokio::join!(caller.make(registration(&owner, name)), struck_once);
        // It finds its own account, or does not know.
        assert_ne!(call.outcome, Outcome::Failed, "{name}");
        history.0.push(call);
        assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());
    }
    assert_eq!(witness::number(&direct, "select count(*) from referrals").await, 2);

    // Had it been told as a failure, this would have shown it.
    history.0[1].outcome = Outcome::Failed;
    assert_eq!(history.contradictions(&direct).await.len(), 1);
}

/// Callers write while one thing after the other is wrong on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_on_the_way_to_the_database_no_answer_is_untrue() {
    const CALLERS: usize = 6;
    let (test, relay, direct) = behind_a_way("3").await;
    let mut owners = Vec::new();
    for place in 0..CALLERS {
        owners.push(owner(&test.client(), &format!("owner{place}x")).await);
    }
    let someone = Caller::new(&test.nodes[0].url, None);
    let mut history = History::default();
    let rounds = if thorough() { 12 } else { 1 };
    for round in 0..rounds {
        for (number, fault) in [
            Fault::LoseReply(b"commit\0".to_vec()),
            Fault::Reset,
            Fault::CutAfter(50 + 200 * round),
            Fault::Latency(Duration::from_millis(20)),
            Fault::Refuse,
            Fault::LoseReply(b"insert".to_vec()),
            Fault::Silence,
        ]
        .into_iter()
        .enumerate()
        {
            let over = matches!(fault, Fault::Silence | Fault::Refuse);
            let calls = owners.iter().enumerate().map(|(place, owner)| {
                let (turn, someone) = (format!("{round}x{number}x{place}"), &someone);
                async move {
                    let code = Write::Code {
                        owner: owner.name.clone(),
                        code: format!("CODE{}A", turn.to_uppercase().replace('X', "Z"))
                            .chars()
                            .chain("0123456789AB".chars())
                            .take(16)
                            .collect(),
                        former: None,
                    };
                    if place % 2 == 0 {
                        owner.caller.make(code).await
                    } else {
                        // Of somebody whose code never changes.
                        someone.make(registration(owner, &format!("guest{turn}"))).await
                    }
                }
            });
            relay.suffer(fault);
            let calls = async {
                let made = join_all(calls).await;
                relay.suffer(Fault::None);
                made
            };
            // Who is kept waiting for ever would be told by its deadline; the others are let go before.
            let made: Vec<Call> = calls.await;
            if over {
                relay.suffer(Fault::None);
            }
            history.0.extend(made);
            eventually("the database is reached again", || async { test.client().get("/readyz").await.status == 200 })
                .await;
            // What was under way may still come to its end, or be undone.
            let open = "select count(*) from pg_stat_activity where datname = current_database() \
                        and application_name = 'referral' and state <> 'idle'";
            eventually("nothing is under way", || async { witness::number(&direct, open).await == 0 }).await;
        }
        let calls = owners
            .iter()
            .enumerate()
            .map(|(place, owner)| someone.make(registration(owner, &format!("calm{round}x{place}"))));
        let calm: Vec<Call> = join_all(calls).await;
        // The codes of every second owner have changed meanwhile.
        assert!(calm.iter().skip(1).step_by(2).all(|call| call.outcome == Outcome::Ok), "{calm:?}");
        history.0.extend(calm.into_iter().enumerate().filter(|(place, _)| place % 2 == 1).map(|(_, call)| call));
    }
    assert_eq!(history.contradictions(&direct).await, Vec::<String>::new());
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    // Something did break, and something did not.
    assert!(relay.struck() > 0);
    for outcome in [Outcome::Ok, Outcome::Unknown] {
        assert!(history.count(outcome) > 0, "{outcome:?}");
    }
}

/// Nothing that is only in Redis is asked for an answer: it may be whatever it likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_on_the_way_to_redis_every_answer_is_right() {
    let mut test = Setup::PostgresAndRedis.prepare(&[]).await;
    let redis = test.redis.as_ref().expect("Redis").url();
    let relay = Relay::to(redis.rsplit(':').next().expect("a port").parse().expect("a number")).await;
    test.add_node_with(&[("REDIS_URL", &format!("redis://127.0.0.1:{}", relay.port))]).await;
    let owner = owner(&test.client(), "owner").await;
    let someone = Caller::new(&test.nodes[0].url, None);
    let reader = test.user("reader").await;
    let mut history = History::default();
    let mut code = owner.code.clone();
    for round in 0..if thorough() { 6 } else { 1 } {
        for (number, fault) in [
            Fault::Reset,
            Fault::CutAfter(40 * round),
            Fault::LoseReply(b"EVALSHA".to_vec()),
            Fault::Refuse,
            Fault::Silence,
        ]
        .into_iter()
        .enumerate()
        {
            relay.suffer(fault);
            let next = format!("NEXT{round}A{number}2030ABC");
            let write = Write::Code { owner: owner.name.clone(), code: next.clone(), former: Some(code) };
            history.0.push(owner.caller.make(write).await);
            code = next;
            let guest = format!("guest{round}x{number}");
            let write = Write::Registration { name: guest, code: Some((owner.name.clone(), code.clone())) };
            history.0.push(someone.make(write).await);
            let found = reader.get("/api/v1/codes/owner@example.com").await.expect(200);
            assert_eq!(found.json()["code"], code);
        }
        relay.suffer(Fault::None);
    }
    assert_eq!(history.count(Outcome::Ok), history.0.len());
    assert_eq!(history.contradictions(&test.database_url).await, Vec::<String>::new());
}

// --------------------------------------------------------------------------------------- killed at every step

/// The service as a process that ends itself at a step of a write.
struct Mortal {
    operator: Operator,
    url: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Registration,
    Replacement,
    Revocation,
    Refresh,
    Hiding,
}

impl Kind {
    /// The statements that a write of this kind may begin with, one of them.
    fn first(self, setup: Setup, by_steps: bool) -> &'static str {
        match self {
            Self::Registration if setup == Setup::Postgres && !by_steps => "REGISTER",
            Self::Registration => "INSERT_USER",
            Self::Replacement => "LOCK_SLOT",
            Self::Revocation => "FIND_STRING",
            Self::Refresh => "FAMILY_BY_HANDLE",
            Self::Hiding => "SET_DISCOVERABLE",
        }
    }

    /// A write that was not made before, with whoever makes it.
    async fn prepare(self, client: &Client, turn: usize) -> (Caller, Write) {
        let name = format!("{}{turn}x", format!("{self:?}").to_lowercase());
        match self {
            Self::Registration => {
                let owner = Owner {
                    name: "owner".into(),
                    code: "OWNER2030ABC".into(),
                    caller: Caller::new(&client.base, None),
                };
                let write = registration(&owner, &name);
                (owner.caller, write)
            }
            Self::Replacement | Self::Revocation => {
                let Owner { name, code, caller } = owner(client, &name).await;
                let write = match self {
                    Self::Revocation => Write::Revocation { owner: name, code },
                    _ => Write::Code { owner: name, code: format!("NEXT{turn}A2030BCDE"), former: Some(code) },
                };
                (caller, write)
            }
            Self::Refresh => {
                let user = client.signed_up(&name).await;
                let token = user.refresh_token.expect("a token");
                (Caller::new(&client.base, None), Write::Refresh { user: name, token })
            }
            Self::Hiding => {
                let user = client.signed_up(&name).await;
                (Caller::new(&client.base, user.token.as_deref()), Write::Hiding { user: name })
            }
        }
    }
}

impl Mortal {
    async fn new(setup: Setup, by_steps: bool) -> Self {
        let mut operator = Operator::on_a_free_port();
        let url = match setup {
            Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
            _ => Setup::Postgres.prepare(&[]).await.database_url,
        };
        operator.set("DATABASE_URL", &url);
        operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
        if by_steps {
            operator.set("REFERRAL_DATABASE_PREPARED_STATEMENTS", "false");
        }
        operator.set("FAULT_CRASH_FILE", operator.path("crash"));
        Self { operator, url }
    }

    /// Makes the service end itself at a step, counted from a statement on.
    fn arm(&self, first: &str, step: usize) {
        self.operator.write("crash.new", format!("{first} {step}"));
        std::fs::rename(self.operator.path("crash.new"), self.operator.path("crash")).expect("it is armed");
    }

    /// At which step it has ended itself, if it has.
    fn ended_at(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.operator.path("crash")).expect("it was armed");
        (text.starts_with("before") || text.starts_with("after")).then_some(text)
    }
}

/// Kills the service at each step of a write of this kind, and reads what is there then; says which steps these were.
async fn killed_at_every_step(setup: Setup, kind: Kind, by_steps: bool) -> Vec<String> {
    let mortal = Mortal::new(setup, by_steps).await;
    let mut serving: Serving = mortal.operator.serve();
    owner(&serving.client(), "owner").await;
    let mut steps = Vec::new();
    let mut history = History::default();
    for turn in 1..50 {
        let (caller, write) = kind.prepare(&serving.client(), turn).await;
        mortal.arm(kind.first(setup, by_steps), turn);
        let call = caller.make(write).await;
        let ended_at = mortal.ended_at();
        let told = call.outcome;
        history.0.push(call);
        let Some(step) = ended_at else {
            // So many steps it has not: it went through.
            assert_eq!(told, Outcome::Ok, "{kind:?} {turn}");
            assert_eq!(history.contradictions(&mortal.url).await, Vec::<String>::new(), "{kind:?}");
            return steps;
        };
        assert_eq!(told, Outcome::Unknown, "{step}");
        assert_eq!(serving.wait().code, None, "it was ended by a signal");
        let there = history.contradictions(&mortal.url).await;
        assert_eq!(there, Vec::<String>::new(), "{step}");
        // Once somebody could know of it, it is there.
        if step.starts_with("after the commit") {
            let known = History(vec![Call { outcome: Outcome::Ok, ..history.0[turn - 1].clone() }]);
            assert_eq!(known.contradictions(&mortal.url).await, Vec::<String>::new(), "{step}");
        } else if !step.starts_with("before REGISTER") || turn == 1 {
            let nothing = History(vec![Call { outcome: Outcome::Failed, ..history.0[turn - 1].clone() }]);
            assert_eq!(nothing.contradictions(&mortal.url).await, Vec::<String>::new(), "{step}");
        }
        steps.push(step);
        std::fs::remove_file(mortal.operator.path("crash")).expect("it was armed");
        serving = mortal.operator.serve();
    }
    panic!("{kind:?} never went through: {steps:?}");
}

/// The steps of a registration: all of them, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let steps = killed_at_every_step(Setup::Sqlite, Kind::Registration, false).await;
    let expected = [
        "before INSERT_USER",
        "before INSERT_LOGIN",
        "before INSERT_LOGIN",
        "before FIND_STRING",
        "before LOCK_SLOT_SHARED",
        "before INSERT",
        "before the commit behind INSERT",
        "after the commit behind INSERT",
    ];
    // By chance one in 64 asks for work on the list as well.
    let steps: Vec<&str> = steps.iter().map(String::as_str).filter(|step| !step.contains("ENQUEUE")).collect();
    assert!(expected.iter().all(|step| steps.contains(step)), "{steps:?}");

    let steps = killed_at_every_step(Setup::Postgres, Kind::Registration, false).await;
    assert!(steps.contains(&"before REGISTER".to_owned()), "{steps:?}");
    assert!(steps.contains(&"after the commit behind REGISTER".to_owned()), "{steps:?}");
}

/// What is planted is found: half of a write, as a service would leave it that writes in two transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_write_that_a_killed_service_has_left_is_found() {
    let mortal = Mortal::new(Setup::Sqlite, false).await;
    let serving = mortal.operator.serve();
    owner(&serving.client(), "owner").await;
    let (caller, write) = Kind::Registration.prepare(&serving.client(), 1).await;
    mortal.arm("INSERT_USER", 5);
    let call = caller.make(write).await;
    serving.wait();
    let mut history = History(vec![call]);
    assert_eq!(history.contradictions(&mortal.url).await, Vec::<String>::new());
    let half = "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable, \
                email_verdict) values (x'00000000000000000000000000000001', 'half', 'half', 'registration1x', \
                'registration1x@example.com', 1, false, true, 'unchecked')";
    witness::query(&mortal.url, half).await;
    assert_eq!(history.contradictions(&mortal.url).await.len(), 1);
    history.0[0].outcome = Outcome::Ok;
    assert_eq!(history.contradictions(&mortal.url).await.len(), 1);
}

/// The other writes, and the steps of a registration on PostgreSQL, where there is time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let kinds: &[Kind] = match thorough() {
        true => &[Kind::Replacement, Kind::Revocation, Kind::Refresh, Kind::Hiding],
        false => &[Kind::Refresh],
    };
    for kind in kinds {
        let setups: &[Setup] = if thorough() { &[Setup::Sqlite, Setup::Postgres] } else { &[Setup::Sqlite] };
        for setup in setups {
            let steps = killed_at_every_step(*setup, *kind, false).await;
            for place in ["before the commit", "after the commit"] {
                assert!(steps.iter().any(|step| step.starts_with(place)), "{kind:?} {setup:?}: {steps:?}");
            }
        }
    }
    if thorough() {
        let steps = killed_at_every_step(Setup::Postgres, Kind::Registration, true).await;
        assert!(steps.iter().any(|step| step == "before LOCK_SLOT_SHARED"), "{steps:?}");
    }
}
