//! What an operator asks of the binary beside serving: settings and where they come from, which database is meant,
//! health, completions, the manual, and a log that a file can hold.

use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;

use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::process::Operator;
use crate::support::servers::{Postgres, Redis, postgres_user};

// ------------------------------------------------------------------------------------------------------ settings

/// What the environment of a pod holds beside a Service called referral.
#[tokio::test]
async fn a_service_of_kubernetes_with_our_name_keeps_it_from_nothing() {
    let mut operator = Operator::on_a_free_port();
    for (name, value) in [
        ("REFERRAL_SERVICE_HOST", "10.96.14.2"),
        ("REFERRAL_SERVICE_PORT", "8000"),
        ("REFERRAL_SERVICE_PORT_HTTP", "8000"),
        ("REFERRAL_PORT", "tcp://10.96.14.2:8000"),
        ("REFERRAL_PORT_8000_TCP", "tcp://10.96.14.2:8000"),
        ("REFERRAL_PORT_8000_TCP_PROTO", "tcp"),
        ("REFERRAL_PORT_8000_TCP_PORT", "8000"),
        ("REFERRAL_PORT_8000_TCP_ADDR", "10.96.14.2"),
    ] {
        operator.set(name, value);
    }
    operator.serve().client().get("/livez").await.expect(200);
    operator.set("REFERRAL_PORT", "8000");
    operator.run(&["serve"]).refused(&["REFERRAL_PORT", "no setting"]);
}

#[test]
fn everything_wrong_with_the_settings_is_told_at_once_with_its_place() {
    let mut operator = Operator::on_a_free_port();
    operator.write("my.toml", "[http]\nlisten = 8000\n[hashing]\npasses = 1\npases = 3\n");
    operator.write(".env", "# ours\nREFERRAL_EMAIL_CHECK=maybe\nnonsense with s3cr3t\n");
    operator.set("REFERRAL_LOG", "referral=loud");
    operator.unset("REFERRAL_LISTEN");
    for command in ["serve", "check", "migrate"] {
        let ended = operator.run(&["--config", "my.toml", command]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let told = format!("{}{}", ended.stdout, ended.stderr);
        for part in [
            "http.listen (my.toml:2) is a whole number",
            "hashing.passes (my.toml:4) is 1: set it to 2..20",
            "my.toml:5 has the unknown setting hashing.pases: did you mean hashing.passes?",
            "email.check (REFERRAL_EMAIL_CHECK at .env:2) is \"maybe\": write off, flag, block",
            ".env:3 is not NAME=VALUE",
            "log.level (REFERRAL_LOG) is not a filter",
        ] {
            assert!(told.contains(part), "{command}: no {part:?} in {told}");
        }
        assert!(!told.contains("s3cr3t") && !told.contains("panicked"), "{told}");
        assert!(!operator.path("referral.db").exists());
    }
}

#[test]
fn in_dot_env_a_dollar_is_a_character() {
    let operator = Operator::on_a_free_port();
    operator.write(".env", "NAME=other\nDATABASE_URL=sqlite:a$NAME${NAME}$$.db\n");
    operator.run(&["migrate"]).well();
    assert!(operator.path("a$NAME${NAME}$$.db").exists(), "{:?}", operator.files());
}

/// For somebody who is not root: who is may read everything.
#[test]
fn a_folder_that_cannot_be_read_has_no_dot_env_and_a_dot_env_that_cannot_be_read_is_told() {
    let operator = Operator::on_a_free_port();
    let user = postgres_user();
    let shut = |name: &str| {
        let path = operator.path(name);
        if let Some((user, group)) = user {
            chown(&path, Some(user), Some(group)).expect("root may give files away");
        }
        path
    };
    operator.write(".env", "REFERRAL_LISTN=x\n");
    shut(".");
    shut(".env");
    // The control: it is read.
    operator.run_by("exec \"$0\" config --effective", user).refused(&["REFERRAL_LISTN"]);
    operator.run_by("chmod 0 .; exec \"$0\" config --effective", user).well();
    std::fs::set_permissions(operator.path("."), PermissionsExt::from_mode(0o700)).expect("our folder");
    operator.run_by("chmod 0 .env; exec \"$0\" config --effective", user).refused(&["cannot read .env"]);
}

#[test]
fn what_is_in_force_is_printed_with_its_origins_and_without_secrets() {
    let mut operator = Operator::new();
    operator.write("my.toml", "[accounts]\nmin_password_length = 15\n");
    operator.write(".env", "\nDATABASE_URL=postgres://u:s3cr3t@h/n\n");
    operator.write("key", "s3cr3t\n");
    operator.set("HUNTER_API_KEY_FILE", "key");
    let printed = operator.run(&["config", "--effective", "--config", "my.toml"]).well().stdout;
    for line in [
        "min_password_length = 15 # my.toml:2",
        "url = \"postgres://u:***@h/n\" # DATABASE_URL at .env:2",
        "hunter_api_key = \"(hidden)\" # HUNTER_API_KEY_FILE naming key",
        "listen = \"127.0.0.1:8000\" # default",
        "master_key = \"\" # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no {line:?} in {printed}");
    }
    assert!(!printed.contains("s3cr3t"), "{printed}");
    for arguments in
        [&["config", "--config", "missing.toml"][..], &["config", "--effective", "--config", "missing.toml"]]
    {
        operator.run(arguments).refused(&["missing.toml"]);
    }
}

// --------------------------------------------------------------------------------------------------------- check

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
    // With what the newest step has made, for what is there would be in its way.
    let newest = "delete from schema_migrations where version = (select max(version) from schema_migrations); \
                  drop index jobs_given_up";
    let script = format!("set search_path = {role}; alter table users owner to postgres; {newest}");
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

// ------------------------------------------------------------------------------------------------------ secrets

#[test]
fn no_command_tells_a_piece_of_a_password() {
    for (name, value) in [
        ("DATABASE_URL", "postgres://u:xyz@qrs@127.0.0.1:1/n"),
        ("DATABASE_URL", "postgres://u:xyz/qrs@127.0.0.1:1/n"),
        ("DATABASE_URL", "postgres://u:xyz?qrs@127.0.0.1:1/n"),
        ("DATABASE_URL", "postgres://u:xyz#qrs@127.0.0.1:1/n"),
        ("DATABASE_URL", "postgres://u:xyz%qrs@127.0.0.1:1/n"),
        ("DATABASE_URL", "xyz:qrs@127.0.0.1:1/n"),
        ("REDIS_URL", "redis://:xyz/qrs@127.0.0.1:1"),
        ("HUNTER_URL", "https://u:xyzqrs@api.example.com"),
        ("REFERRAL_PUBLIC_URL", "https://u:xyzqrs@example.com"),
        ("REFERRAL_MASTER_KEY", "xyzqrs"),
        ("REFERRAL_MASTER_KEY_FILE", "xyzqrs"),
    ] {
        let mut operator = Operator::on_a_free_port();
        operator.set(name, value);
        for command in [
            &["serve"][..],
            &["check"],
            &["migrate"],
            &["config", "--effective"],
            &["admin", "client", "list"],
            &["keys", "list"],
        ] {
            let ended = operator.run(command);
            assert_eq!(ended.code, Some(1), "{name}={value}: {ended:?}");
            for piece in ["xyz", "qrs"] {
                assert!(!format!("{ended:?}").contains(piece), "{name}={value}: {command:?}: {ended:?}");
            }
            if value.starts_with("postgres") {
                assert!(format!("{ended:?}").contains("@ as %40"), "{name}={value}: {command:?}: {ended:?}");
            }
        }
    }
}

#[test]
fn an_empty_file_switches_no_master_key_off() {
    let mut operator = Operator::on_a_free_port();
    operator.write("key", "\n");
    for file in ["key", "/dev/null"] {
        operator.set("REFERRAL_MASTER_KEY_FILE", file);
        operator.run(&["serve"]).refused(&["tokens.master_key", "that file is empty", "leave the variable out"]);
        assert_eq!(operator.run(&["check"]).code, Some(1));
    }
}

// ------------------------------------------------------------------------------------------- which database

on_both_engines! {
    async fn commands_say_which_database_they_use_and_make_none(setup: Setup) {
        let mut operator = Operator::on_a_free_port();
        let mut name = operator.path("referral.db").canonicalize().unwrap_or_else(|_| {
            operator.path(".").canonicalize().expect("the folder").join("referral.db")
        }).display().to_string();
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

// -------------------------------------------------------------------------------------------------------- health

#[tokio::test]
async fn health_asks_the_service_of_the_same_settings() {
    let mut operator = Operator::on_a_free_port();
    operator.run(&["health"]).refused(&["127.0.0.1:0", "any port"]);
    let mut server = Postgres::start(Default::default()).await;
    operator.set("DATABASE_URL", server.database().await);
    let serving = operator.serve();
    let port = serving.url.rsplit(':').next().expect("a port").to_owned();
    // Where one listens on all addresses, this machine is asked.
    for address in [format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"), format!("localhost:{port}")] {
        operator.set("REFERRAL_LISTEN", &address);
        assert!(operator.run(&["health"]).well().stdout.contains("\"status\":\"ok\""), "{address}");
        assert_eq!(operator.run(&["health", "--live"]).well().stdout, "ok\n");
    }
    server.kill();
    eventually("it says that it is not ready", || async { operator.run(&["health"]).code == Some(1) }).await;
    operator.run(&["health"]).refused(&["/readyz", "503"]);
    operator.run(&["health", "--live"]).well();
    serving.stop().well();
    operator.run(&["health"]).refused(&["/readyz"]);
}

// -------------------------------------------------------------------------------------- completions, the manual

#[test]
fn shells_and_manuals_are_served() {
    let operator = Operator::new();
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef referral"),
        ("fish", "complete -c referral"),
        ("elvish", "referral"),
    ] {
        let text = operator.run(&["completions", shell]).well().stdout;
        assert!(text.contains(part) && text.contains("reset-password"), "{shell}: {text}");
    }
    let manual = operator.run(&["man"]).well().stdout;
    assert!(manual.contains(".TH referral 1") && manual.contains("DATABASE_URL"), "{manual}");
    assert!(manual.contains("FILE] [COMMAND]") && !manual.contains("(1)"), "{manual}");
    assert!(operator.files().is_empty());
    // Each page that another one names is there.
    std::fs::create_dir(operator.path("man1")).expect("a folder");
    operator.run(&["man", "man1"]).well();
    let pages = std::fs::read_dir(operator.path("man1")).expect("pages").map(|page| page.expect("a page").path());
    let pages: Vec<_> = pages.collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page").replace("\\-", "-");
        for (at, _) in text.match_indices("(1)") {
            let name = text
                .get(..at)
                .unwrap_or_default()
                .rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
                .next();
            let name = name.expect("a name").trim_start_matches("fB");
            let named = operator.path("man1").join(format!("{name}.1"));
            assert!(pages.contains(&named), "{} names {name}", page.display());
        }
    }
    operator.run(&["man", "nowhere"]).refused(&["nowhere"]);
}

/// Whoever does not want to hear it may have closed it, and a disk may be full.
#[test]
fn commands_do_their_work_though_nobody_can_be_told() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    for command in ["admin client list", "keys list", "migrate", "check", "config", "openapi", "man"] {
        for channel in [">/dev/full", "2>/dev/full", ">/dev/full 2>/dev/full", ">&- 2>&-"] {
            let ended = operator.run_by(&format!("\"$0\" {command} {channel}"), None).well();
            assert!(!ended.stderr.contains("panicked"), "{command} {channel}: {ended:?}");
        }
    }
    let ended = operator.run_by("(\"$0\" config; echo $? >code) | head -n 1", None).well();
    assert_eq!(ended.stderr, "");
    assert_eq!(std::fs::read_to_string(operator.path("code")).expect("a code"), "0\n");
}

#[test]
fn a_command_that_cannot_be_carried_out_says_what_can() {
    let operator = Operator::on_a_free_port();
    operator.run(&["migrate"]).well();
    let create = ["admin", "client", "create", "App", "--scope", "profile"];
    for (arguments, parts) in [
        (&["admin", "client", "remove", "nobody"][..], &["There is no such client", "admin client list"][..]),
        (&["admin", "client", "new-secret", "nobody"], &["There is no such client", "admin client list"]),
        (&create, &["at least one redirect URI", "--redirect-uri", "--grant client_credentials"]),
        (
            &[&create[..], &["--grant", "password"]].concat(),
            &["no grant password", "authorization_code, refresh_token, client_credentials"],
        ),
        (&["serve", "--config", "missing.toml"], &["missing.toml", "name another with --config"]),
        (&["config", "--config", "missing.toml"], &["missing.toml", "name another with --config"]),
    ] {
        operator.run(arguments).refused(parts);
    }
}

// ----------------------------------------------------------------------------------------------------------- log

#[tokio::test]
async fn the_first_line_of_the_log_says_what_runs_and_on_what() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REDIS_URL", "redis://:s3cr3t@127.0.0.1:1");
    let url = Postgres::shared().await.database().await;
    for database in ["sqlite:referral.db", &url] {
        operator.set("DATABASE_URL", database);
        let serving = operator.serve();
        let address = serving.url.trim_start_matches("http://").to_owned();
        let log = serving.stop().well().stderr;
        let first: Value = serde_json::from_str(log.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["message"], "Referral starts", "{first}");
        assert_eq!(first["version"], env!("CARGO_PKG_VERSION"));
        assert!(first["commit"].as_str().is_some_and(|commit| commit.len() == 12 || commit == "unknown"), "{first}");
        let engine = first["engine"].as_str().expect("a text");
        let (name, version) = engine.split_once(' ').expect("a name and a version");
        assert_eq!(name, if database.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" });
        assert!(version.starts_with(|letter: char| letter.is_ascii_digit()), "{first}");
        assert_eq!(first["redis"], "redis://:***@127.0.0.1:1");
        assert_eq!(first["address"], address);
        let off = first["off"].as_str().expect("a text");
        assert!(off.contains("limits") && off.contains("metrics") && !off.contains("redis"), "{first}");
        assert!(!log.contains("s3cr3t"), "{log}");
    }
}

/// A filter that would silence the service is no filter, and an empty one is none.
#[tokio::test]
async fn a_log_level_that_is_none_is_refused() {
    let mut operator = Operator::on_a_free_port();
    for (level, part) in [
        ("inof", "did you mean info?"),
        ("warning", "did you mean warn?"),
        ("verbose", "did you mean debug?"),
        ("referal=debug", "did you mean referral?"),
    ] {
        operator.set("REFERRAL_LOG", level);
        operator.run(&["serve"]).refused(&["log.level (REFERRAL_LOG) is not a filter", part]);
    }
    // Whoever names one part does not silence the others.
    for level in ["", "hyper=debug"] {
        operator.set("REFERRAL_LOG", level);
        let log = operator.serve().stop().well().stderr;
        assert!(log.contains("Referral starts"), "{level}: {log}");
    }
}

#[tokio::test]
async fn a_text_log_in_a_file_has_no_colours() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REFERRAL_LOG_FORMAT", "text");
    let log = operator.serve().stop().well().stderr;
    assert!(log.contains("Referral starts"), "{log}");
    assert!(!log.contains('\x1b'), "{log}");
}

#[tokio::test]
async fn sighup_ends_nothing() {
    // Its folder, with the database in it, goes with the operator.
    let operator = Operator::on_a_free_port();
    let serving = operator.serve();
    for _ in 0..3 {
        serving.signal("HUP");
    }
    eventually("it is noted", || async { serving.log().contains("SIGHUP") }).await;
    serving.client().get("/readyz").await.expect(200);
    serving.stop().well();
}
