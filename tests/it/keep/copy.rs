//! `referral copy`: every row, on both sides the same, also when it was killed on the way.

use super::helpers::{contents, differing, empty, installation, operator, people, url};
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::servers::Postgres;
use crate::support::witness;
use crate::{on_both_engines, support};

on_both_engines!(a_database_comes_to_the_other_engine_and_back);
async fn a_database_comes_to_the_other_engine_and_back(setup: Setup) {
    let other = if setup == Setup::Sqlite { Setup::Postgres } else { Setup::Sqlite };
    let mut operator = operator(setup).await;
    let serving = operator.serve();
    let people = people(&serving).await;
    // Numbers that were drawn for rows that are gone are not drawn again.
    witness::query(
        &url(&operator),
        "insert into jobs (kind, subject, created_at, run_at, attempts, done_at)
         values ('fold_marks', 'gone', 0, 0, 0, 1)",
    )
    .await;
    let drawn = witness::number(&url(&operator), "select max(id) from jobs").await;
    witness::query(&url(&operator), "delete from jobs where subject = 'gone'").await;
    serving.stop().well();
    let source = url(&operator);
    let (there, back) = (empty(&operator, other, "there.db").await, empty(&operator, setup, "back.db").await);
    let before = contents(&source).await;
    assert!(before.values().filter(|rows| !rows.is_empty()).count() > 15, "there is something in most tables");
    let said = operator.run(&["copy", "--from", &source, "--to", &there]).well();
    assert!(said.stdout.contains("the same as in"), "{said:?}");
    assert_eq!(differing(&before, &contents(&there).await), Vec::<&str>::new());
    // The side that is left out is that of the settings.
    operator.set("DATABASE_URL", &there);
    operator.run(&["copy", "--to", &back]).well();
    assert_eq!(differing(&before, &contents(&back).await), Vec::<&str>::new());
    // The witness is no yes-man.
    witness::query(&back, "update users set discoverable = not discoverable where username = 'nina'").await;
    assert_eq!(differing(&before, &contents(&back).await), ["users"]);
    let ids = [installation(&source).await, installation(&there).await, installation(&back).await];
    assert!(ids.iter().all(Option::is_some) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    operator.set("DATABASE_URL", &there);
    let serving = operator.serve();
    // Tokens that the source gave are good here, and numbers go on.
    let olga = people.olga.at(&serving.url);
    olga.get("/api/v1/me").await.expect(200);
    serving.client().register("after", Some("OLGAS2NDCODE")).await.expect(201);
    olga.refresh(olga.refresh_token.as_deref().expect("a token")).await.expect(200);
    let add = "insert into jobs (kind, subject, created_at, run_at, attempts, done_at)
               values ('fold_marks', 'new', 0, 0, 0, 1)";
    witness::query(&there, add).await;
    let next = witness::number(&there, "select id from jobs where subject = 'new'").await;
    assert!(next > drawn, "{next} was drawn before: {drawn}");
}

/// The copy stops in the middle: what somebody else has locked there it cannot pass.
async fn killed_midway(source: &str, target: &str) -> support::process::Operator {
    let mut operator = support::process::Operator::on_a_free_port();
    operator.set("DATABASE_URL", target);
    operator.run(&["migrate"]).well();
    let id = installation(source).await.expect("an id");
    for sql in [
        "create table copying (source uuid not null, cleared boolean not null)".to_owned(),
        format!("insert into copying values ('{id}', true)"),
        "delete from installation".to_owned(),
        "delete from programs".to_owned(),
        "delete from audit_head".to_owned(),
    ] {
        witness::query(target, &sql).await;
    }
    let (client, connection) = tokio_postgres::connect(target, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.batch_execute("begin; lock table referrals in access exclusive mode").await.expect("the lock");
    let mut running = operator.start(&["copy", "--from", source]);
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("it is in the middle", || async { witness::number(target, waiting).await == 1 }).await;
    // Not even a command beside it writes to the source.
    let path = source.strip_prefix("sqlite:").expect("a file");
    let beside = rusqlite::Connection::open(path).expect("the source");
    beside.busy_timeout(std::time::Duration::ZERO).expect("no time-out");
    let refused = beside.execute_batch("begin immediate").expect_err("it is held");
    assert_eq!(refused.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy));
    running.signal("KILL");
    assert_eq!(running.wait().code, None);
    client.batch_execute("rollback").await.expect("the end of the lock");
    operator
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_killed_goes_on_where_it_was_and_serves_nobody_before() {
    let first = operator(Setup::Sqlite).await;
    people(&first.serve()).await;
    let (source, target) = (url(&first), Postgres::shared().await.database().await);
    let operator = killed_midway(&source, &target).await;
    let before = contents(&source).await;
    let half = contents(&target).await;
    assert!(half["users"] == before["users"] && half["referrals"].is_empty());
    operator.run(&["serve"]).refused(&["has not come to its end"]);
    operator.run(&["check"]);
    let said = operator.run(&["copy", "--from", &source]).well();
    assert!(said.stderr.contains("going on with the copy that was begun"), "{said:?}");
    assert!(said.stderr.contains("users: 0 rows, done"), "{said:?}");
    let mut after = contents(&target).await;
    assert_eq!(after.remove("copying"), None);
    assert_eq!(differing(&before, &after), Vec::<&str>::new());
    operator.serve().client().log_in("olga", PASSWORD).await.expect(200);
    operator.run(&["copy", "--from", &source]).refused(&["is not empty"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_lost_on_the_way_is_found() {
    let first = operator(Setup::Sqlite).await;
    people(&first.serve()).await;
    let (source, target) = (url(&first), Postgres::shared().await.database().await);
    let operator = killed_midway(&source, &target).await;
    witness::query(&target, "delete from logins where login_key = 'ivan'").await;
    operator.run(&["copy", "--from", &source]).refused(&["the copy is not the same", "of logins"]);
    operator.run(&["serve"]).refused(&["has not come to its end"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_wants_a_source_that_nobody_writes_to_and_an_empty_target() {
    let mut operator = operator(Setup::Sqlite).await;
    let serving = operator.serve();
    people(&serving).await;
    let (source, target) = (url(&operator), Postgres::shared().await.database().await);
    operator.run(&["copy", "--to", &target]).refused(&["another `referral serve`", "serve --read-only"]);
    operator.run(&["copy"]).refused(&["--from or --to"]);
    operator.run(&["copy", "--from", &source]).refused(&["are one database"]);
    operator.run(&["copy", "--from", "sqlite:nothing.db"]).refused(&["no database of Referral's at"]);
    assert!(!operator.path("nothing.db").exists());
    serving.stop().well();
    let told = operator.run(&["copy", "--to", "postgres://u:s3cr?3t@127.0.0.1:1/n"]).refused(&["write @ as %40"]);
    assert!(!told.stderr.contains("s3cr") && !told.stderr.contains("3t@"), "{told:?}");
    witness::query(&target, "create table users (id integer)").await;
    operator.run(&["copy", "--to", &target]).refused(&["holds users"]);
    witness::query(&target, "drop table users").await;
    witness::query(&target, "drop table if exists copying").await;
    let reading = operator.serve_with(&["serve", "--read-only"]);
    operator.run(&["copy", "--to", &target]).well();
    reading.client().get("/readyz").await.expect(200);
    reading.stop().well();
    operator.run(&["copy", "--to", &target]).refused(&["is not empty"]);
    // While a server is copied, nobody writes to it.
    operator.set("DATABASE_URL", &target);
    let (client, connection) = tokio_postgres::connect(&target, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.batch_execute("begin; update users set discoverable = discoverable").await.expect("a write");
    let mut running = operator.start(&["copy", "--to", "sqlite:again.db"]);
    let waiting =
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually("it waits for who writes", || async { witness::number(&target, waiting).await == 1 }).await;
    client.batch_execute("commit").await.expect("the end of the write");
    running.wait().well();
}
