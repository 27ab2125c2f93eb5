//! Migrations, from a node's point of view.

use referral::config::{self, Environment};
use referral::db::{Db, migrate};
use referral::kernel::time::Clock;

use super::helpers::{STORES, open, waiting_for_locks};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::first_schema;

fn settings(database_url: &str) -> config::Config {
    let environment: Environment =
        vec![("DATABASE_URL".into(), database_url.into()), ("REFERRAL_DATABASE_CONNECTIONS".into(), "2".into())];
    config::load(None, &environment).expect("the settings of the test")
}

on_both_engines!(five_nodes_that_start_at_once_apply_a_migration_once);
async fn five_nodes_that_start_at_once_apply_a_migration_once(setup: Setup) {
    for _ in 0..5 {
        let test = setup.prepare(&[]).await;
        let nodes: Vec<_> = (0..5)
            .map(|_| tokio::spawn(referral::start::open(settings(&test.database_url), Clock::default())))
            .collect();
        let mut keys = Vec::new();
        for node in nodes {
            let app = node.await.expect("no panic").unwrap_or_else(|error| panic!("a node does not start: {error}"));
            keys.push(format!("{:?}", app.keyring.published()));
        }
        keys.dedup();
        assert_eq!(keys.len(), 1, "all sign with the same key");
        let applied = test.query("select version, name from schema_migrations order by version").await;
        assert_eq!(applied.len() as i64, migrate::newest(), "{applied:?}");
    }
}

on_both_engines!(a_newer_schema_is_refused_with_a_remedy);
async fn a_newer_schema_is_refused_with_a_remedy(setup: Setup) {
    let test = setup.start().await;
    test.sql("insert into schema_migrations values (999, 'from the future', 0)").await;
    let Err(sentence) = referral::start::open(settings(&test.database_url), Clock::default()).await else {
        panic!("a node starts on a schema that it does not know");
    };
    assert!(sentence.contains("schema 999") && sentence.contains("run the newer binary"), "{sentence}");
    assert_eq!(test.number("select count(*) from schema_migrations where version = 999").await, 1);
}

on_both_engines!(a_migration_that_left_only_its_table_of_versions_is_begun_again);
async fn a_migration_that_left_only_its_table_of_versions_is_begun_again(setup: Setup) {
    let test = setup.prepare(&[]).await;
    test.sql(
        "create table schema_migrations (version bigint not null primary key, name text not null, \
         applied_at bigint not null)",
    )
    .await;
    let db = open(&test.database_url).await.expect("the database");
    assert_eq!(migrate::version(&db).await.expect("a version"), Some(0));
    assert_eq!(migrate::run(&db).await.expect("the migrations"), migrate::newest());
    assert_eq!(migrate::version(&db).await.expect("a version"), Some(migrate::newest()));
    assert_eq!(migrate::run(&db).await.expect("nothing to do"), 0);
    whole(&db).await;
}

on_both_engines!(reading_the_version_of_an_empty_database_makes_nothing);
async fn reading_the_version_of_an_empty_database_makes_nothing(setup: Setup) {
    let test = setup.prepare(&[]).await;
    let db = open(&test.database_url).await.expect("the database");
    assert_eq!(migrate::version(&db).await.expect("a version"), None);
    let tables = match setup {
        Setup::Sqlite => "select count(*) from sqlite_master",
        _ => "select count(*) from pg_tables where schemaname = 'public'",
    };
    assert_eq!(test.number(tables).await, 0);
}

/// Everything that the service asks of the schema is there.
async fn whole(db: &Db) {
    for sql in STORES.iter().flat_map(|(_, statements)| *statements) {
        let is_for_this_engine = sql.sqlite.is_some() || matches!(db, Db::Postgres(_));
        assert!(!is_for_this_engine || db.prepare(sql).await.is_ok(), "{}", sql.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_killed_midway_resumes_on_postgresql() {
    let test = Setup::Postgres.prepare(&[]).await;
    // Half-way through the step stands a table of the same name that nobody else sees yet: the step waits there.
    let (other, connection) =
        tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    other.batch_execute("begin; create table jobs (id bigint)").await.expect("a table");
    let db = open(&test.database_url).await.expect("the database");
    let killed = tokio::spawn({
        let db = db.clone();
        async move { migrate::run(&db).await }
    });
    let waiting = || async { waiting_for_locks(&test.database_url).await == 1 };
    eventually("the migration is in the middle", waiting).await;
    // Its connection is lost: it begins again by itself, and comes to the same place.
    other
        .batch_execute(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .await
        .expect("the connection is cut");
    eventually("the migration is in the middle again", waiting).await;
    // Its process is killed.
    killed.abort();
    assert!(killed.await.is_err_and(|error| error.is_cancelled()));
    other.batch_execute("rollback").await.expect("the table is gone");
    let next = open(&test.database_url).await.expect("the database");
    assert_eq!(migrate::run(&next).await.expect("the next start"), migrate::newest());
    whole(&next).await;
}

/// Of each statement that makes or changes something the server itself notes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_has_a_time_for_locks_and_one_for_statements() {
    let test = Setup::Postgres.prepare(&[]).await;
    let beside = test.beside().await;
    beside.batch_execute(&first_schema::script("postgres")).await.expect("the first schema");
    let noting = "create table seen (what text, locks text, statements text);
                  create function note() returns event_trigger language plpgsql as $$ begin
                      insert into seen
                      values (tg_tag, current_setting('lock_timeout'), current_setting('statement_timeout'));
                  end $$;
                  create event trigger noting on ddl_command_end execute function note()";
    beside.batch_execute(noting).await.expect("a trigger");
    let db = open(&test.database_url).await.expect("the database");
    assert_eq!(migrate::run(&db).await.expect("the steps"), migrate::newest() - 1);
    // Indexes of tables that were there have others, for they keep nobody out.
    let seen = test.query("select distinct locks, statements from seen where what <> 'CREATE INDEX'").await;
    assert_eq!(seen, [[Some("800ms".to_owned()), Some("15min".to_owned())]]);
    assert!(test.number("select count(*) from seen").await > 50);
}

/// A registration has people before referrals; a step that wants both waits for people, and has nothing else meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_takes_tables_in_the_order_in_which_they_are_written() {
    let test = Setup::Postgres.prepare(&[]).await;
    let writer = test.beside().await;
    for step in 0..17 {
        writer.batch_execute(&migrate::next(step, "postgres").expect("a step")).await.expect("it is applied");
    }
    writer.batch_execute("begin; lock table users in row exclusive mode").await.expect("it is free");
    let db = open(&test.database_url).await.expect("the database");
    let migrating = tokio::spawn(async move { migrate::run(&db).await });
    eventually("the step waits", || async { waiting_for_locks(&test.database_url).await == 1 }).await;
    writer.batch_execute("lock table referrals in row exclusive mode nowait").await.expect("it is free");
    writer.batch_execute("commit").await.expect("the end of the write");
    assert_eq!(migrating.await.expect("no panic").expect("the steps"), migrate::newest() - 17);
}

/// An index of a table that was there waits for whoever looks at the database for long, and keeps nobody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_keeps_no_writer_out_and_one_that_was_left_half_is_made_again() {
    let test = Setup::Postgres.prepare(&[]).await;
    let (reader, writer) = (test.beside().await, test.beside().await);
    for step in 0..2 {
        writer.batch_execute(&migrate::next(step, "postgres").expect("a step")).await.expect("it is applied");
    }
    reader.batch_execute("begin isolation level repeatable read; select from pg_class").await.expect("a long look");
    let db = open(&test.database_url).await.expect("the database");
    let migrating = tokio::spawn(async move { migrate::run(&db).await });
    let waits = || async { waiting_for_locks(&test.database_url).await == 1 };
    eventually("an index waits", waits).await;
    let writes = "set statement_timeout = '20s'; update users set discoverable = false;
                  delete from logins; delete from token_families";
    writer.batch_execute(writes).await.expect("it does not wait");
    let half = "select count(*) from pg_index where not indisvalid";
    assert_eq!(test.number(half).await, 1);
    // Its connection is lost: it is made again, and waits again.
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'";
    writer.batch_execute(cut).await.expect("the connection is cut");
    eventually("it has been lost", || async { !waits().await }).await;
    eventually("it waits again", waits).await;
    assert!(!migrating.is_finished());
    reader.batch_execute("commit").await.expect("the end of the look");
    assert_eq!(migrating.await.expect("no panic").expect("the steps"), migrate::newest() - 2);
    assert_eq!(test.number(half).await, 0);
    let fresh = Setup::Postgres.prepare(&[]).await;
    let db = open(&fresh.database_url).await.expect("the database");
    assert_eq!(migrate::run(&db).await.expect("the steps"), migrate::newest());
    let indexes = "select indexdef from pg_indexes where schemaname = 'public' order by indexname";
    assert_eq!(test.query(indexes).await, fresh.query(indexes).await);
}

/// Somebody reads a table for long, and a step wants all of it: whoever comes later gets at the table all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_gives_way_to_who_uses_a_table() {
    let test = Setup::Postgres.prepare(&[]).await;
    let (reader, writer) = (test.beside().await, test.beside().await);
    writer.batch_execute(&first_schema::script("postgres")).await.expect("the first schema");
    reader.batch_execute("begin; select from token_families").await.expect("a long look");
    let db = open(&test.database_url).await.expect("the database");
    let migrating = tokio::spawn(async move { migrate::run(&db).await });
    for _ in 0..3 {
        let waits = || async { waiting_for_locks(&test.database_url).await == 1 };
        eventually("the step waits for the table", waits).await;
        writer.batch_execute("delete from token_families where counter < 0").await.expect("it has its turn");
    }
    assert!(!migrating.is_finished());
    reader.batch_execute("commit").await.expect("the end of the look");
    assert_eq!(migrating.await.expect("no panic").expect("the steps"), migrate::newest() - 1);
}
