//! What a registration writes, and in how many steps. On PostgreSQL it is one statement, and the steps are there to say
//! why that did not go: two ways to the same rows.

use referral::db::Work;
use referral::features::accounts::actions::{Entry, enter, enter_by_steps};
use referral::features::accounts::store::{self, Beside, NewUser};
use referral::features::referrals::model::Status;
use referral::jobs::Kind;
use referral::kernel::code::CodeKey;
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;
use referral::kernel::verdict::Verdict;
use serde_json::json;

use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;

/// A registration as it is to be written, without the work of a hash.
pub fn entry(name: &str, code: Option<CodeKey>) -> Entry {
    Entry {
        user: NewUser {
            id: UserId::new(),
            username: name.to_uppercase(),
            email: format!("{}@Example.com", name.to_uppercase()),
            name_key: name.to_owned(),
            email_key: format!("{name}@example.com"),
            password_hash: Some("a hash".to_owned()),
            created_at: Time(1_900_000_000_000_000),
            verdict: Verdict::Unchecked,
            email_proven: false,
        },
        beside: Beside { code, status: Status::Confirmed, check: None, fold: None },
        arrival: None,
    }
}

/// All rows about a person, as JSON without what is another's for each: the name, the ids and the time of joining. The
/// jobs are taken away, for the same are not queued twice.
async fn rows(test: &TestApp, entry: &Entry) -> Vec<String> {
    let id = entry.user.id.to_string();
    let mut rows = Vec::new();
    for (table, column) in [("users", "id"), ("logins", "user_id"), ("referrals", "referee_id")] {
        let sql = format!(
            "select to_jsonb(t) - case when '{table}' = 'referrals' then '{{id,joined_at}}'::text[] else '{{}}' end
             from {table} t where {column} = '{id}' order by 1"
        );
        rows.extend(test.query(&sql).await);
    }
    rows.extend(test.query("delete from jobs t returning to_jsonb(t) - 'id'").await);
    let name = entry.user.name_key.trim_end_matches("@example.com");
    let text = rows.into_iter().map(|row| row[0].clone().expect("a row"));
    text.map(|row| row.replace(&id, "ID").replace(name, "name").replace(&name.to_uppercase(), "NAME")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_writes_what_the_steps_write() {
    let test = Setup::Postgres.start().await;
    let db = &test.app().db;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2030ABC").await.expect(201);
    let key = CodeKey::of("OWNER2030ABC");
    let variants: [(&str, fn(&mut Entry)); 5] = [
        ("plain", |_| ()),
        ("passwordless", |entry| entry.user.password_hash = None),
        ("pending", |entry| {
            entry.user.verdict = Verdict::Pending;
            entry.beside.check = Some(Kind::CheckEmail);
            entry.beside.status = Status::Pending;
        }),
        ("folding", |entry| entry.beside.fold = Some(Kind::FoldReferrals)),
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
            assert!(store::register(db, &whole.user, &whole.beside).await.expect("an answer"), "{what} {ending}");
            let written = rows(&test, &whole).await;
            let steps: Work<Entry, ()> = |tx, entry| Box::pin(enter_by_steps(tx, entry));
            db.write(stepped.clone(), steps).await.expect("a registration");
            assert_eq!(written, rows(&test, &stepped).await, "{what} {ending}");
            let brought = usize::from(code.is_some());
            let expected = match what {
                "pending" => 4 + brought,
                "folding" => 3 + 2 * brought,
                "address" => 2 + brought,
                _ => 3 + brought,
            };
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
    test.client().register("guest", Some("owner2030abc")).await.expect(201);
    assert_eq!(seen(&test).await, (2, 0));
    test.client().register("guest", None).await.expect_problem(409, "username_taken");
    test.client().register("other", Some("OWNER2030ABD")).await.expect_problem(404, "code_not_usable");
    let body = json!({"username": "third", "email": "guest@example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect_problem(409, "email_taken");
    // What is refused leaves nothing, not even here.
    assert_eq!(seen(&test).await, (2, 0));
    assert_eq!(test.number("select count(*) from users").await, 2);

    // A refusal that is none: the deadlock is over when the steps are tried.
    test.sql(
        "create sequence turns; create function stumble() returns trigger language plpgsql as 'begin \
         if nextval(''turns'') = 1 then raise exception ''deadlock'' using errcode = ''40P01''; end if; return new; end'",
    )
    .await;
    test.sql("create trigger stumble before insert on logins for each row execute function stumble()").await;
    test.client().register("third", Some("OWNER2030ABC")).await.expect(201);
    assert_eq!(seen(&test).await, (2, 1));
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
        let (mut blocker, connection) =
            tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
        tokio::spawn(connection);
        let lock = blocker.transaction().await.expect("a transaction");
        lock.batch_execute(&format!("{change} where owner_id = '{}'", owner.id)).await.expect("a change");
        let app = test.app().clone();
        let waiting = tokio::spawn(async move {
            let entry = entry(&format!("guest{turn}"), CodeKey::of(&code));
            store::register(&app.db, &entry.user, &entry.beside).await
        });
        let locked =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        eventually("it waits for the slot", || async { test.number(locked).await == 1 }).await;
        lock.commit().await.expect("a commit");
        assert_eq!(waiting.await.expect("it ends").expect("an answer"), enters, "{change}");
    }
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

/// A statement whose answer got lost was carried out or was not, and nobody can tell: either way there is one account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_whose_connection_breaks_is_made_once() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    owner.create_code("OWNER2030ABC").await.expect(201);
    let key = CodeKey::of("OWNER2030ABC");

    let (mut blocker, connection) =
        tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("select 1 from code_slots for update").await.expect("the slot is locked");
    let app = test.app().clone();
    let broken = tokio::spawn(async move { enter(&app.db, entry("broken", key)).await });
    let waiting = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let count = format!("select count(*) {waiting}");
    eventually("it waits for the slot", || async { test.number(&count).await == 1 }).await;
    test.sql(&format!("select pg_terminate_backend(pid) {waiting}")).await;
    lock.commit().await.expect("the slot is free");
    broken.await.expect("it ends").expect("a registration");

    let done = entry("done", key);
    assert!(store::register(&test.app().db, &done.user, &done.beside).await.expect("an answer"));
    enter(&test.app().db, done).await.expect("it is noticed");
    let joined =
        "select string_agg(username, ' ' order by username) from users join referrals on referee_id = users.id";
    assert_eq!(test.query(joined).await[0][0].as_deref(), Some("BROKEN DONE"));
}
