//! What a registration writes, and in how many steps. On PostgreSQL it is one statement, and the steps are there to say
//! why that did not go: two ways to the same rows.

use referral::app::App;
use referral::db::{Attempt, Work};
use referral::features::accounts::actions::registration::{Entry, write, write_in_steps};
use referral::features::accounts::store::NewUser;
use referral::features::accounts::store::registration::{self, Beside};
use referral::features::referrals::model::Status;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::handle::InvitationKey;
use referral::kernel::ids::UserId;
use referral::kernel::verdict::Verdict;
use uuid::Uuid;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::registration::{confirmation, entry};
use crate::support::servers::Smtp;

/// Whether the statement alone registers somebody.
async fn statement(app: &App, entry: &Entry) -> bool {
    let Entry { actor, user, code, status, mail, tells, sign_up, .. } = entry;
    let beside = Beside { mail: mail.as_ref(), tells: *tells, sign_up: *sign_up };
    let attempt = registration::register(&app.db, *actor, user, (code.as_ref(), *status), beside);
    matches!(attempt.await.expect("an answer"), Attempt::Written(_))
}

/// All rows about a person and their mail, as JSON without what is another's for each: the name, the ids and the time
/// of joining.
async fn rows(test: &TestApp, entry: &Entry) -> Vec<String> {
    let id = entry.user.id.to_string();
    let mut rows = Vec::new();
    let job = format!("select id::text from mails where user_id = '{id}'");
    for (table, without, of) in [
        ("users", "", format!("id = '{id}'")),
        ("logins", "", format!("user_id = '{id}'")),
        ("referrals", "id,joined_at", format!("referee_id = '{id}'")),
        ("mails", "id", format!("user_id = '{id}'")),
        ("jobs", "id,subject", format!("kind = 'send_mail' and subject in ({job})")),
        ("outbox", "id", format!("subject_id = '{id}'")),
    ] {
        let row = if table == "outbox" { "jsonb_set(to_jsonb(t), '{data}', t.data::jsonb)" } else { "to_jsonb(t)" };
        let sql = format!("select {row} - '{{{without}}}'::text[] from {table} t where {of} order by 1");
        rows.extend(test.query(&sql).await);
    }
    let name = entry.user.name_key.trim_end_matches("@example.com");
    let text = rows.into_iter().map(|row| row[0].clone().expect("a row"));
    text.map(|row| row.replace(&id, "ID").replace(name, "name").replace(&name.to_uppercase(), "NAME")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_writes_what_the_steps_write() {
    let test = Setup::Postgres.start_with(&[("REFERRAL_WEBHOOKS_FEED", "on")]).await;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2030ABC").await.expect(201);
    let key = InvitationKey::of("OWNER2030ABC");
    type Change = fn(&mut Entry);
    let variants: [(&str, Change); 8] = [
        ("plain", |_| ()),
        ("proven", |entry| entry.user.email_proven = true),
        ("passwordless", |entry| entry.user.password_hash = None),
        ("mailed", |entry| entry.mail = Some(confirmation(&entry.user))),
        ("told", |entry| entry.tells = true),
        ("mailedtold", |entry| {
            (entry.mail, entry.tells, entry.status) = (Some(confirmation(&entry.user)), true, Status::Pending);
        }),
        ("pending", |entry| {
            entry.user.verdict = Verdict::Pending;
            entry.status = Status::Pending;
        }),
        ("address", |entry| {
            entry.user.username.clone_from(&entry.user.email);
            entry.user.name_key.clone_from(&entry.user.email_key);
        }),
    ];
    for (code, ending) in [(None, "alone"), (key, "brought")] {
        for (what, change) in variants {
            let make = |name: &str| {
                let mut entry = entry(&format!("{name}{what}{ending}"), code);
                change(&mut entry);
                entry
            };
            let (whole, stepped) = (make("whole"), make("steps"));
            assert!(statement(test.app(), &whole).await, "{what} {ending}");
            let steps: Work<Entry, ()> = |tx, entry| Box::pin(write_in_steps(tx, entry));
            test.app().db.write(Actor::SERVICE, stepped.clone(), steps).await.expect("a registration");
            let written = rows(&test, &whole).await;
            assert_eq!(written, rows(&test, &stepped).await, "{what} {ending}");
            let logins = if what == "address" { 1 } else { 2 };
            let mails = if what.starts_with("mailed") { 2 } else { 0 };
            let messages = match (what, code) {
                ("told", Some(_)) => 3,
                ("mailedtold", Some(_)) => 2,
                ("told" | "mailedtold", None) => 1,
                _ => 0,
            };
            let expected = 1 + logins + usize::from(code.is_some()) + mails + messages;
            assert_eq!(written.len(), expected, "{what} {ending}: {written:?}");
        }
    }
}

/// What each insertion of a user was part of.
async fn watched(test: &TestApp) {
    test.sql("create table seen (query text)").await;
    test.sql(
        "create function see() returns trigger language plpgsql as \
         'begin insert into seen values (current_query()); return new; end'",
    )
    .await;
    test.sql("create trigger see before insert on users for each row execute function see()").await;
}

/// How many users came in by one statement, and how many by steps.
async fn seen(test: &TestApp) -> (i64, i64) {
    let count = |how| format!("select count(*) from seen where query {how} 'with held%'");
    (test.number(&count("like")).await, test.number(&count("not like")).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_are_for_what_one_statement_refuses() {
    let test = Setup::Postgres.start().await;
    watched(&test).await;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2030ABC").await.expect(201);
    let key = InvitationKey::of("OWNER2030ABC");
    test.sql("delete from seen").await;

    let db = &test.app().db;
    let guest = entry("guest", key);
    write(db, guest.clone()).await.expect("a registration");
    write(db, entry("alone", None)).await.expect("a registration");
    assert_eq!(seen(&test).await, (2, 0));
    for (refused, refusal) in [
        (Entry { user: entry("guest", None).user, ..guest.clone() }, Refusal::UsernameTaken),
        (entry("other", InvitationKey::of("OWNER2030ABD")), Refusal::CodeNotUsable),
        (
            Entry { user: NewUser { email_key: guest.user.email_key, ..entry("third", None).user }, ..guest },
            Refusal::EmailTaken,
        ),
    ] {
        let outcome = write(db, refused).await;
        assert!(matches!(&outcome, Err(Error::Refused(why)) if *why == refusal), "{refusal:?}: {outcome:?}");
    }
    // What is refused leaves nothing, not even here.
    assert_eq!(seen(&test).await, (2, 0));

    // What has jobs goes by steps, and so does what failed for no reason of its own: a deadlock is over by then.
    let asks = Entry { check: true, ..entry("checked", key) };
    write(db, asks).await.expect("a registration");
    let folds = entry("folding", key);
    let folding = UserId(Uuid::from_u128(folds.user.id.0.as_u128() & !63));
    write(db, Entry { user: NewUser { id: folding, ..folds.user }, ..folds }).await.expect("a registration");
    assert_eq!(seen(&test).await, (2, 2));
    assert_eq!(test.number("select count(distinct kind) from jobs").await, 2);
    test.sql(
        "create sequence turns; create function stumble() returns trigger language plpgsql as 'begin \
         if nextval(''turns'') = 1 then raise exception ''deadlock'' using errcode = ''40P01''; end if; return new; end'",
    )
    .await;
    test.sql("create trigger stumble before insert on logins for each row execute function stumble()").await;
    write(db, entry("patient", key)).await.expect("a registration");
    assert_eq!(seen(&test).await, (2, 3));

    // Nor is it these tests alone that go the short way: by chance one in 64 asks for work.
    for name in ["one", "two", "three", "four", "five"] {
        test.client().register(name, Some("OWNER2030ABC")).await.expect(201);
    }
    assert!(seen(&test).await.0 > 2);
}

/// Where mails are sent, a registration is one statement still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_with_a_mail_is_one_statement_too() {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let test = Setup::Postgres.start_with(&settings).await;
    watched(&test).await;
    for name in ["one", "two", "three"] {
        test.client().register(name, None).await.expect(201);
    }
    assert_eq!(seen(&test).await, (3, 0));
    test.drain().await;
    assert_eq!(smtp.taken().len(), 3);
    // What it refuses is told as without a mail, and leaves none.
    test.client().register("one", None).await.expect_problem(409, "username_taken");
    assert_eq!(test.number("select count(*) from mails").await, 3);
}

/// The whole statement saw the slot before it was changed: what counts is what it is after the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_that_waited_for_a_change_of_the_slot_judges_by_the_change() {
    let changes = [
        ("update code_slots set code_id = null, code = null, expires_at = null, version = version + 1", false),
        ("update code_slots set code_id = code_id + 1, version = version + 1", false),
        ("update code_slots set expires_at = referral_now(), version = version + 1", false),
        ("update code_slots set version = version + 1", true),
    ];
    let test = Setup::Postgres.start().await;
    for (turn, (change, enters)) in changes.into_iter().enumerate() {
        let owner = test.user(&format!("owner{turn}")).await;
        let code = format!("OWNER2030AB{turn}");
        owner.create_code(&code).await.expect(201);
        let mut blocker = test.beside().await;
        let lock = blocker.transaction().await.expect("a transaction");
        lock.batch_execute(&format!("{change} where owner_id = '{}'", owner.id)).await.expect("a change");
        let app = test.app().clone();
        let waiting = tokio::spawn(async move {
            let entry = entry(&format!("guest{turn}"), InvitationKey::of(&code));
            statement(&app, &entry).await
        });
        eventually("it waits for the slot", || async { test.waiting().await == 1 }).await;
        lock.commit().await.expect("a commit");
        assert_eq!(waiting.await.expect("it ends"), enters, "{change}");
    }
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

/// A statement whose answer got lost was carried out or was not, and nobody can tell: either way there is one account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_whose_connection_breaks_is_made_once() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2030ABC").await.expect(201);
    let key = InvitationKey::of("OWNER2030ABC");

    let mut blocker = test.beside().await;
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("select 1 from code_slots for update").await.expect("the slot is locked");
    let app = test.app().clone();
    let broken = tokio::spawn(async move { write(&app.db, entry("broken", key)).await });
    eventually("it waits for the slot", || async { test.waiting().await == 1 }).await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = current_database() and wait_event_type = 'Lock'";
    test.sql(cut).await;
    lock.commit().await.expect("the slot is free");
    broken.await.expect("it ends").expect("a registration");

    let done = entry("done", key);
    assert!(statement(test.app(), &done).await);
    write(&test.app().db, done).await.expect("it is noticed");
    let joined =
        "select string_agg(username, ' ' order by username) from users join referrals on referee_id = users.id";
    assert_eq!(test.query(joined).await[0][0].as_deref(), Some("BROKEN DONE"));
}
