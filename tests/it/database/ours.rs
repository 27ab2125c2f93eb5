//! Which database is ours, and what becomes of one that is not.

use referral::db::migrate;

use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::operator::{operator, sql, texts};
use crate::support::process::Operator;
use crate::support::servers::Postgres;

/// Everything that changes a database, and needs it to be ours.
const COMMANDS: &[&[&str]] =
    &[&["serve"], &["migrate"], &["admin", "create", "anna", "anna@example.com"], &["keys", "list"]];

/// What is in the database, down to its rows.
async fn content(operator: &Operator) -> Vec<String> {
    if operator.get("DATABASE_URL").is_none() {
        return operator.files().iter().map(|(name, bytes)| format!("{name} {bytes:?}")).collect();
    }
    let all = "select concat_ws(' ', n.nspname, c.relname, c.relkind, c.relfilenode) \
               from pg_class c join pg_namespace n on n.oid = c.relnamespace \
               where n.nspname not like 'pg_%' and n.nspname <> 'information_schema' \
               union all select proname::text from pg_proc where proname like 'referral%'";
    let mut found: Vec<String> = texts(operator, all).await.into_iter().collect();
    found.sort();
    found
}

/// Each command that would use the database refuses it, `check` says the same, and nothing in it is touched.
async fn left_alone(operator: &Operator, parts: &[&str]) {
    let before = content(operator).await;
    for command in COMMANDS {
        operator.run_with(command, PASSWORD).refused(parts);
    }
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let line = told.stdout.lines().find(|line| line.starts_with("WRONG database: ")).expect("a verdict");
    for part in parts {
        assert!(line.contains(part), "no {part:?} in: {line}");
    }
    assert_eq!(content(operator).await, before);
}

on_both_engines!(somebody_elses_tables_are_told_as_what_they_are_and_left_alone);
async fn somebody_elses_tables_are_told_as_what_they_are_and_left_alone(setup: Setup) {
    let remedy = if setup == Setup::Sqlite { "a file of its own" } else { "a schema of its own" };
    for (theirs, parts) in [
        (
            "create table schema_migrations (version bigint not null primary key, dirty boolean not null); \
             insert into schema_migrations values (20260101, false)",
            ["schema_migrations (version, dirty)", "golang-migrate's"],
        ),
        (
            "create table schema_migrations (version varchar(255) not null primary key); \
             insert into schema_migrations values ('20260101120000')",
            ["schema_migrations (version)", "Rails'"],
        ),
        (
            "create table schema_migrations (version bigint not null primary key, inserted_at timestamp)",
            ["schema_migrations (version, inserted_at)", "Ecto's"],
        ),
        (
            "create table schema_migrations (version bigint primary key, name text, applied_at bigint); \
             insert into schema_migrations values (1, 'create people', 0)",
            ["schema_migrations, somebody else's", "version 1 is called \"create people\""],
        ),
        ("create table users (id integer primary key, name text)", ["users (id, name)", "a name that Referral gives"]),
        (
            "create table changes (what text); create view jobs as select 1 as one; create table users (id bigint)",
            ["users (id)", "and 1 more"],
        ),
        ("create table installation (machine text)", ["installation (machine)", "a name that Referral gives"]),
    ] {
        let operator = operator(setup).await;
        sql(&operator, theirs).await;
        left_alone(&operator, &[parts[0], parts[1], remedy, "Nothing was changed"]).await;
    }
}

on_both_engines!(tables_with_other_names_may_stay_beside_ours);
/// Only what is in the way is in the way.
async fn tables_with_other_names_may_stay_beside_ours(setup: Setup) {
    let operator = operator(setup).await;
    sql(&operator, "create table people (id bigint); insert into people values (1)").await;
    operator.run(&["migrate"]).well();
    assert!(operator.run(&["check"]).well().stdout.contains("ok    database: reached"));
    assert_eq!(texts(&operator, "select 'there' from people").await.len(), 1);
}

on_both_engines!(a_database_from_before_is_known_by_its_first_migrations);
/// A database from before the table by which ours is known now: it is known by the names of its migrations, and gets
/// an id.
async fn a_database_from_before_is_known_by_its_first_migrations(setup: Setup) {
    let operator = operator(setup).await;
    let engine = if setup == Setup::Sqlite { "sqlite" } else { "postgres" };
    sql(
        &operator,
        "create table schema_migrations (version bigint not null primary key, name text not null, \
         applied_at bigint not null)",
    )
    .await;
    for version in 0..2 {
        // The clock is the service's on SQLite.
        let text = migrate::next(version, engine).expect("a step");
        let text = if setup == Setup::Sqlite { text.replace("referral_now()", "0") } else { text };
        sql(&operator, &text).await;
    }
    let told = operator.run(&["check"]).well().stdout;
    assert!(told.contains("reached, schema 2; serve migrates it"), "{told}");
    operator.run(&["migrate"]).well();
    let newest = format!("reached, schema {}", migrate::newest());
    assert!(operator.run(&["check"]).well().stdout.contains(&newest));
    let id = "select case when count(*) = 1 and min(made_at) > 0 then 'one' else 'none' end from installation";
    assert!(texts(&operator, id).await.contains("one"));
    // Known by its table from then on, whatever else is called how.
    sql(&operator, "update schema_migrations set name = 'renamed' where version = 1").await;
    assert!(operator.run(&["check"]).well().stdout.contains(&newest));
    // The control: without the table the names decide.
    sql(&operator, "drop table installation").await;
    assert!(operator.run(&["check"]).stdout.contains("version 1 is called \"renamed\""));
}

/// The remedy that the sentences name.
#[tokio::test]
async fn a_schema_of_its_own_is_enough_beside_somebody_elses_tables_on_postgresql() {
    let mut operator = operator(Setup::Postgres).await;
    let theirs = "create table schema_migrations (version bigint primary key, dirty boolean); \
                  create table users (id bigint); create schema referral";
    sql(&operator, theirs).await;
    let url = operator.get("DATABASE_URL").expect("an address");
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dreferral"));
    operator.run(&["check"]).well();
    let serving = operator.serve();
    serving.client().signed_up("olga").await;
    let ours = "select schemaname || '.' || tablename from pg_tables where tablename = 'users'";
    assert_eq!(texts(&operator, ours).await, ["public.users", "referral.users"].map(str::to_owned).into());
    assert_eq!(texts(&operator, "select 'row' from public.users").await.len(), 0);
    serving.stop().well();

    // Whoever has both on the path means the first, which is ours here.
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dreferral,public"));
    operator.run(&["check"]).well();
    // And one that would begin anew in front of our tables is told.
    sql(&operator, "create schema other").await;
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dother,referral"));
    left_alone(&operator, &["are in the schema \"referral\"", "search_path has \"other\" in front"]).await;
    operator.set("DATABASE_URL", format!("{url}?options=-csearch_path%3Dnowhere"));
    left_alone(&operator, &["search_path names no schema that exists"]).await;
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused_on_postgresql() {
    let mut operator = operator(Setup::Postgres).await;
    let url = operator.get("DATABASE_URL").expect("an address");
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("other_{}", encoding.to_lowercase());
        let other = url.rsplit_once('/').map(|(server, _)| format!("{server}/{name}")).expect("a name");
        // Beside the shared server's others, which run on the same names.
        sql(&operator, &format!("drop database if exists {name}")).await;
        let create = format!("create database {name} encoding '{encoding}' template template0 locale 'C'");
        sql(&operator, &create).await;
        operator.set("DATABASE_URL", other);
        left_alone(&operator, &[&format!("is {encoding}"), "needs UTF8", "createdb --encoding=UTF8"]).await;
        operator.set("DATABASE_URL", url.clone());
    }
}

#[tokio::test]
async fn a_file_that_is_not_utf8_is_refused_on_sqlite() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let operator = operator(Setup::Sqlite).await;
        sql(&operator, &format!("pragma encoding = '{encoding}'; create table x (y); drop table x")).await;
        left_alone(&operator, &[&format!("are {encoding}"), "needs UTF-8", ".dump"]).await;
    }
}

on_both_engines!(commands_say_which_database_they_use_and_make_none);
async fn commands_say_which_database_they_use_and_make_none(setup: Setup) {
    let mut operator = Operator::on_a_free_port();
    let mut name = operator
        .path("referral.db")
        .canonicalize()
        .unwrap_or_else(|_| operator.path(".").canonicalize().expect("the folder").join("referral.db"))
        .display()
        .to_string();
    if setup != Setup::Sqlite {
        let url = Postgres::shared().await.database().await;
        name = url.clone();
        operator.set("DATABASE_URL", url.replace("postgres@", "postgres:s3cr3t@"));
        name = name.replace("postgres@", "postgres:***@");
    }
    let commands: [&[&str]; 4] =
        [&["admin", "promote", "boss"], &["admin", "client", "list"], &["keys", "list"], &["keys", "rotate"]];
    for arguments in commands {
        let ended = operator.run(arguments).refused(&["there is no database of Referral's", &name, "referral migrate"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    // Not even tables, or a file.
    assert!(operator.files().is_empty(), "{:?}", operator.files());
    assert!(operator.run(&["migrate"]).well().stdout.contains("applied"));
    let ended = operator.run_with(&["admin", "create", "boss", "boss@example.com"], "Q123werty!23\n").well();
    assert!(ended.stderr.contains(&format!("database: {name}\n")), "{ended:?}");
    assert!(!ended.stdout.contains(&name), "what is printed is for programs: {ended:?}");
}

#[test]
fn a_file_that_is_somebody_elses_is_no_database_of_ours() {
    let operator = Operator::on_a_free_port();
    let other = rusqlite::Connection::open(operator.path("referral.db")).expect("a file");
    other.execute_batch("create table t (x)").expect("a table");
    drop(other);
    let before = operator.files();
    assert_eq!(operator.run(&["keys", "list"]).code, Some(1));
    assert_eq!(operator.files(), before);
}
