//! `referral check` names everything that is wrong and changes nothing.

use std::os::unix::fs::{PermissionsExt, chown};

use referral::db::migrate;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::first_schema;
use crate::support::operator::{operator, texts};
use crate::support::process::Operator;
use crate::support::servers::{Postgres, Redis, postgres_user};

on_every_setup!(check_finds_nothing_wrong_where_nothing_is_and_changes_nothing);
async fn check_finds_nothing_wrong_where_nothing_is_and_changes_nothing(setup: Setup) {
    let mut operator = operator(setup).await;
    let redis = if setup == Setup::PostgresAndRedis { Some(Redis::start().await) } else { None };
    if let Some(redis) = &redis {
        operator.set("REDIS_URL", redis.url());
    }
    // Before there is anything.
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains("ok    database: "), "{told:?}");
    if let Some(redis) = &redis {
        assert!(told.stdout.contains("ok    redis: reached; the key referral:probe was stored"), "{told:?}");
        // The other one may be gone by now.
        let mut keys = redis.keys().await;
        keys.retain(|key| key != "referral:owed:probe");
        assert_eq!(keys, ["referral:probe"]);
    }
    assert!(operator.files().is_empty(), "{:?}", operator.files());
    if setup != Setup::Sqlite {
        let tables = texts(&operator, "select tablename::text from pg_tables where schemaname = 'public'").await;
        assert!(tables.is_empty(), "{tables:?}");
    }
    // And when there is.
    operator.run(&["migrate"]).well();
    let before = operator.files();
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains(&format!("reached, schema {}", migrate::newest())), "{told:?}");
    assert_eq!(changed(&before, &operator.files()), [""; 0]);
    // While the service runs the port is its own, and anybody else's is told.
    let serving = operator.serve();
    operator.set("REFERRAL_LISTEN", serving.url.trim_start_matches("http://"));
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains("where a service of Referral's runs now"), "{told:?}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    operator.set("REFERRAL_LISTEN", other.local_addr().expect("an address").to_string());
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("WRONG http.listen"), "{told:?}");
    assert!(told.stdout.contains("ok    database"), "{told:?}");
    drop(other);
    // Any number of nodes may serve from PostgreSQL.
    let held = told.stdout.contains("note  database: a `referral serve` serves from referral.db;");
    assert_eq!(held, setup == Setup::Sqlite, "{told:?}");
    serving.stop().well();
    let told = operator.run(&["check"]).well();
    assert!(!told.stdout.contains("note  database"), "{told:?}");
}

/// The names of files that were made, removed or written.
fn changed<'a>(before: &'a [(String, Vec<u8>)], after: &'a [(String, Vec<u8>)]) -> Vec<&'a str> {
    let missing = |these: &'a [(String, Vec<u8>)], those: &'a [(String, Vec<u8>)]| {
        these.iter().filter(|file| !those.contains(file)).map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    [missing(before, after), missing(after, before)].concat()
}

#[test]
fn check_changes_nothing_in_a_database_that_was_restored_from_a_copy() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    let original = rusqlite::Connection::open(operator.path("referral.db")).expect("the file");
    let copy = operator.path("copy.db");
    original.execute("vacuum into ?1", [copy.to_str().expect("a plain path")]).expect("a copy");
    drop(original);
    for file in ["referral.db", "referral.db-wal", "referral.db-shm"] {
        let _ = std::fs::remove_file(operator.path(file));
    }
    std::fs::rename(copy, operator.path("referral.db")).expect("the copy takes its place");
    let before = operator.files();
    operator.run(&["check"]).well();
    assert_eq!(changed(&before, &operator.files()), [""; 0]);
}

#[tokio::test]
async fn check_names_each_thing_that_is_wrong() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let _keep = std::net::TcpListener::bind(&taken);
    let mut redis = Redis::start().await;
    redis.kill();
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", "postgres://postgres:s3cr3t@127.0.0.1:1/n");
    operator.set("REDIS_URL", redis.url());
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    assert!(told.stdout.contains("WRONG database: cannot connect to PostgreSQL"), "{told:?}");
    assert!(!told.stdout.contains("s3cr3t"), "{told:?}");
    // All at once: what is behind the database is tried as well.
    assert!(told.stdout.contains("WRONG redis: "), "{told:?}");

    for database in [None, Some("sqlite:referral.db"), Some("sqlite:other.db")] {
        operator.unset("DATABASE_URL");
        if let Some(database) = database {
            operator.set("DATABASE_URL", database);
        }
        let told = operator.run(&["check"]);
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stdout.contains("ok    database"), "{told:?}");
        assert!(told.stdout.contains("WRONG redis: it does not answer"), "{told:?}");
        assert!(told.stdout.contains("REDIS_URL"), "{told:?}");
        operator.run(&["migrate"]).well();
    }

    operator.unset("REDIS_URL");
    operator.write("nonsense.db", [b'x'; 8192]);
    for (url, part) in [
        ("sqlite:nonsense.db", "nonsense.db"),
        ("sqlite:no/such/folder/referral.db", "no/such/folder"),
        ("sqlite:.", "names the folder"),
    ] {
        operator.set("DATABASE_URL", url);
        let told = operator.run(&["check"]);
        assert_eq!(told.code, Some(1), "{url}: {told:?}");
        assert!(told.stdout.lines().any(|line| line.starts_with("WRONG database") && line.contains(part)), "{told:?}");
    }
}

/// What `check` says is wrong with the database, after `serve` was refused as well.
#[track_caller]
fn refused_by_both(operator: &Operator, parts: &[&str]) {
    let before = operator.files();
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    let wrong: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("WRONG")).collect();
    for part in parts {
        assert!(wrong.iter().any(|line| line.contains(part)), "no {part:?} in {told:?}");
    }
    assert_eq!(operator.files(), before, "check changes nothing");
    let served = operator.run(&["serve"]);
    assert_eq!(served.code, Some(1), "{served:?}");
}

#[tokio::test]
async fn check_tells_of_a_role_that_may_not_work_in_its_database() {
    let server = Postgres::shared().await;
    let url = server.database().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let role = format!("weak_{}", url.rsplit('_').next().expect("a number"));
    client
        .batch_execute(&format!("create role {role} login; revoke create on schema public from public"))
        .await
        .expect("a role");
    let weak = url.replace("postgres@", &format!("{role}@"));
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", &weak);
    refused_by_both(&operator, &["may not make tables in the schema public"]);
    operator.set("DATABASE_URL", format!("{weak}?options=-c%20search_path%3Dnowhere"));
    refused_by_both(&operator, &["names no schema"]);

    // Tables that are there, and somebody else's.
    operator.set("DATABASE_URL", &url);
    operator.run(&["migrate"]).well();
    operator.run(&["check"]).well();
    operator.set("DATABASE_URL", &weak);
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    client.batch_execute(&format!("grant select on all tables in schema public to {role}")).await.expect("granted");
    refused_by_both(&operator, &["may not read and write these tables", "code_slots"]);
    let all = format!("grant select, insert, update, delete on all tables in schema public to {role}");
    client.batch_execute(&all).await.expect("granted");
    client.batch_execute(&format!("grant usage on all sequences in schema public to {role}")).await.expect("granted");
    let told = operator.run(&["check"]).well();
    assert!(told.stdout.contains("ok    database"), "{told:?}");
    client.batch_execute("revoke execute on function referral_now() from public").await.expect("revoked");
    let grant = format!("grant execute on function public.referral_now() to {role}");
    refused_by_both(&operator, &["may not call a function", &grant]);
    operator.set("DATABASE_URL", format!("{url}?options=-c%20default_transaction_read_only%3Don"));
    let told = operator.run(&["check"]);
    assert!(told.stdout.contains("WRONG database") && told.code == Some(1), "{told:?}");
}

/// What another program has in a schema further back concerns nobody.
#[tokio::test]
async fn tables_of_another_schema_are_left_out_of_account() {
    let url = Postgres::shared().await.database().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let role = format!("own_{}", url.rsplit('_').next().expect("a number"));
    let script = format!(
        "create table public.users (id integer); create role {role} login; create schema {role} authorization {role}; \
         create schema other_{role} authorization {role}"
    );
    client.batch_execute(&script).await.expect("a role with a schema");
    let ours = url.replace("postgres@", &format!("{role}@"));
    for address in [ours.clone(), format!("{ours}?options=-csearch_path%3Dother_{role},public")] {
        let mut operator = Operator::on_a_free_port();
        operator.set("DATABASE_URL", &address);
        operator.run(&["check"]).well();
        operator.serve().stop().well();
        operator.run(&["check"]).well();
    }
    // One of ours that is somebody else's, while there is something to change.
    let script = format!(
        "drop schema {role} cascade; create schema {role} authorization {role}; set search_path = {role}, public; \
         set role {role}; {first}; reset role; alter table {role}.users owner to postgres",
        first = first_schema::script("postgres"),
    );
    client.batch_execute(&script).await.expect("another owner");
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", &ours);
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains(&format!("`alter table {role}.TABLE owner to {role}`")), "{told:?}");
    assert!(told.stdout.contains("(database.url: DATABASE_URL)") && !told.stdout.contains("reassign"), "{told:?}");
}

#[tokio::test]
async fn somebody_elses_function_is_in_the_way() {
    let url = Postgres::shared().await.database().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let theirs = "create function referral_now() returns text language sql as 'select ''theirs'''";
    client.batch_execute(theirs).await.expect("a function");
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", &url);
    refused_by_both(&operator, &["referral_now (a function)"]);
}

#[test]
fn what_is_no_file_is_no_database() {
    for (address, parts) in [
        ("sqlite:/dev/null", &["a device"][..]),
        ("sqlite:folder", &["names the folder folder", "sqlite:folder/referral.db"]),
        ("sqlite:folder/", &["names the folder folder/"]),
        ("sqlite:link.db", &["its folder ./nowhere does not exist"]),
        ("sqlite:locked.db", &["locked.db-lock is a folder where a file has to be"]),
    ] {
        let mut operator = Operator::on_a_free_port();
        for folder in ["folder", "locked.db-lock"] {
            std::fs::create_dir(operator.path(folder)).expect("a folder");
        }
        std::os::unix::fs::symlink("./nowhere/referral.db", operator.path("link.db")).expect("a link");
        operator.set("DATABASE_URL", address);
        refused_by_both(&operator, parts);
    }
    let operator = Operator::on_a_free_port();
    // At its end all is in the one file.
    operator.serve().stop().well();
    let mut bytes = std::fs::read(operator.path("referral.db")).expect("a database");
    bytes[100..4096].fill(0xff);
    operator.write("referral.db", &bytes);
    refused_by_both(&operator, &["restore a backup"]);
}

#[tokio::test]
async fn addresses_to_listen_on_are_tried_together_and_a_running_service_is_known() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LISTEN", free.to_string());
    operator.set("REFERRAL_METRICS_LISTEN", free.to_string());
    refused_by_both(&operator, &["is that of http.listen", "REFERRAL_METRICS_LISTEN"]);

    let metrics = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    operator.set("REFERRAL_METRICS_LISTEN", metrics.to_string());
    let serving = operator.serve();
    let told = operator.run(&["check"]).well().stdout;
    assert_eq!(told.matches("where a service of Referral's runs now").count(), 2, "{told}");
    serving.stop().well();

    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    operator.set("REFERRAL_LISTEN", other.local_addr().expect("an address").to_string());
    operator.unset("REFERRAL_METRICS_LISTEN");
    // It hangs up.
    std::thread::spawn(move || while other.accept().is_ok() {});
    refused_by_both(&operator, &["Another program listens there", "REFERRAL_LISTEN"]);
    operator.set("REFERRAL_LISTEN", "203.0.113.1:8000");
    refused_by_both(&operator, &["This machine has no such address"]);
}

/// Each fault of a server has the remedy that fits, and where the address came from.
#[tokio::test]
async fn what_keeps_us_out_of_a_server_is_told_with_its_remedy() {
    let url = Postgres::shared().await.database().await;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let role = format!("kept_{}", url.rsplit('_').next().expect("a number"));
    let script = format!(
        "create role {role} login connection limit 0; create role weak{role} login; \
         revoke create on schema public from public"
    );
    client.batch_execute(&script).await.expect("roles");
    let nobody = url.replace("postgres@", "nobody_at_all@");
    let full = url.replace("postgres@", &format!("{role}@"));
    let weak = url.replace("postgres@", &format!("weak{role}@"));
    let mut operator = Operator::on_a_free_port();
    for (address, part) in [
        (nobody.as_str(), "check user"),
        (&format!("{url}_nowhere"), "createdb --owner=ROLE NAME"),
        (&full, "lower that, or raise the server's max_connections"),
        (&format!("{url}?options=-c%20default_transaction_read_only%3Don"), "name the primary"),
        (&format!("{url}?sslmode=require"), "sslmode=prefer"),
        ("postgres://u@127.0.0.1:1/n", "that the server runs"),
        (&weak, "grant create on schema"),
    ] {
        operator.set("DATABASE_URL", address);
        for command in [&["serve"][..], &["migrate"]] {
            operator.run(command).refused(&[part, "(database.url: DATABASE_URL)"]);
        }
        let told = operator.run(&["check"]).stdout;
        assert!(told.contains("(database.url: DATABASE_URL)"), "{address}: {told}");
        if address != weak {
            assert!(told.contains(part), "{address}: no {part:?} in {told}");
            operator.run(&["keys", "list"]).refused(&[part, "(database.url: DATABASE_URL)"]);
        }
    }
    operator.unset("DATABASE_URL");
    operator.write("url", "postgres://u@127.0.0.1:1/n");
    operator.set("DATABASE_URL_FILE", "url");
    operator.run(&["serve"]).refused(&["(database.url: DATABASE_URL_FILE naming url)"]);

    let redis = Redis::start().await;
    let mut operator = Operator::on_a_free_port();
    operator.set("REDIS_URL", redis.url().replace("redis:", "rediss:"));
    let told = operator.run(&["check"]);
    assert!(told.stdout.contains("WRONG redis: it does not answer, or speaks no TLS"), "{told:?}");
}

/// For somebody who is not root: who is may write everywhere.
#[test]
fn check_tells_of_sqlite_files_and_folders_that_cannot_be_written() {
    let user = postgres_user();
    let give = |operator: &Operator, name: &str, mode: u32| {
        if let Some((user, group)) = user {
            chown(operator.path(name), Some(user), Some(group)).expect("root may give files away");
        }
        std::fs::set_permissions(operator.path(name), PermissionsExt::from_mode(mode)).expect("a mode");
    };
    for (file, folder, parts) in [
        (None, 0o500, &["its folder . cannot be written"][..]),
        (Some(0o400), 0o700, &["referral.db cannot be written"]),
        (Some(0o400), 0o500, &["its folder . cannot be written", "referral.db cannot be written"]),
        (Some(0o600), 0o500, &["its folder . cannot be written"]),
    ] {
        let operator = Operator::on_a_free_port();
        if let Some(mode) = file {
            operator.run(&["migrate"]).well();
            for name in ["referral.db-wal", "referral.db-shm"] {
                let _ = std::fs::remove_file(operator.path(name));
            }
            give(&operator, "referral.db", mode);
        }
        give(&operator, ".", folder);
        let told = operator.run_by("exec \"$0\" check", user);
        assert_eq!(told.code, Some(1), "{file:?} {folder:o}: {told:?}");
        for part in parts {
            let wrong = |line: &str| line.starts_with("WRONG database") && line.contains(part);
            assert!(told.stdout.lines().any(wrong), "{file:?} {folder:o}: no {part:?} in {told:?}");
        }
        let served = operator.run_by("exec \"$0\" serve", user);
        assert_eq!(served.code, Some(1), "{file:?} {folder:o}: {served:?}");
        std::fs::set_permissions(operator.path("."), PermissionsExt::from_mode(0o700)).expect("our folder");
    }
    let operator = Operator::on_a_free_port();
    give(&operator, ".", 0o700);
    operator.run_by("exec \"$0\" check", user).well();
}

#[tokio::test]
async fn check_says_all_at_once_also_what_is_behind_bad_settings() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LOG", "referral=loud");
    operator.set("REFERRAL_TOKENS_ACCESS_MINUTES", "60");
    operator.set("REFERRAL_LISTN", "x");
    operator.set("DATABASE_URL", "sqlite:no/such/folder.db");
    operator.set("REDIS_URL", "redis://:s3cr3t@127.0.0.1:1");
    let told = operator.run(&["check"]);
    assert_eq!(told.code, Some(1));
    let wrong: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("WRONG")).collect();
    for part in ["log.level", "access_minutes", "REFERRAL_LISTN", "no/such does not exist", "redis: it does not answer"]
    {
        assert!(wrong.iter().any(|line| line.contains(part)), "no {part:?} in {told:?}");
    }
    assert_eq!(wrong.len(), 5, "{told:?}");
    assert!(told.stderr.contains("5 of the above"), "{told:?}");
    assert!(told.stdout.contains("ok    http.listen"), "{told:?}");
    // What hangs on a wrong setting is not tried.
    operator.set("REDIS_URL", "nonsense");
    let told = operator.run(&["check"]).stdout;
    assert!(told.contains("WRONG settings: redis.url (REDIS_URL)") && !told.contains("WRONG redis"), "{told}");
    for (url, part) in [
        ("postgres://u:s3cr3t@h/n?pgbouncer=true&schema=x&sslcert=a.pem", "pgbouncer"),
        ("sqlite:", "names no file"),
        ("mysql://h/n", "unknown scheme"),
    ] {
        operator.set("DATABASE_URL", url);
        refused_by_both(&operator, &[part]);
    }
}
