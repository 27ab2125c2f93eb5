//! Settings: where they come from, and the sentence for each that is bad.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use crate::support::app::eventually;
use crate::support::hunter::{Hunter, Reply};
use crate::support::process::Operator;
use crate::support::servers::postgres_user;

#[test]
fn each_bad_setting_is_told_in_a_sentence_before_the_first_request() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).expect("an address");
    for (name, value, parts) in [
        ("REFERRAL_LISTEN", "8000", &["REFERRAL_LISTEN", "host:port"][..]),
        ("REFERRAL_LISTEN", &taken.1, &["REFERRAL_LISTEN", &taken.1]),
        ("REFERRAL_LISTEN", "no-such-host.invalid:80", &["REFERRAL_LISTEN", "no-such-host.invalid:80"]),
        ("REFERRAL_METRICS_LISTEN", &taken.1, &["REFERRAL_METRICS_LISTEN", &taken.1]),
        ("REFERRAL_METRICS_LISTEN", "metrics", &["REFERRAL_METRICS_LISTEN", "host:port"]),
        ("REFERRAL_PUBLIC_URL", "referral.example.com", &["REFERRAL_PUBLIC_URL", "https://"]),
        ("DATABASE_URL", "mysql://root:s3cr3t@h/n", &["DATABASE_URL", "\"mysql\"", "sqlite:"]),
        ("DATABASE_URL", "referral.db", &["DATABASE_URL", "sqlite:"]),
        ("DATABASE_URL", "sqlite:", &["DATABASE_URL", "sqlite:PATH"]),
        ("DATABASE_URL", "sqlite:no/such/folder.db", &["no/such/folder.db", "folder exist"]),
        ("DATABASE_URL", "sqlite:nonsense", &["nonsense", "SQLite file"]),
        ("DATABASE_URL", "sqlite:.", &["DATABASE_URL", "folder"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@127.0.0.1:1/n", &["PostgreSQL", "DATABASE_URL"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h:port/n", &["PostgreSQL", "DATABASE_URL"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h/n?sslmode=on", &["sslmode=on", "verify-full"]),
        ("DATABASE_URL_FILE", "./no-such-file", &["DATABASE_URL_FILE", "no-such-file"]),
        ("REDIS_URL", "localhost:6379", &["REDIS_URL", "redis://"]),
        ("REDIS_URL", "redis://:s3cr3t@h:port", &["REDIS_URL", "redis://"]),
        ("HUNTER_URL", "api.hunter.io", &["HUNTER_URL", "https://"]),
        ("REFERRAL_EMAIL_CHECK", "maybe", &["maybe", "block"]),
        ("REFERRAL_LOG", "referral=loud", &["REFERRAL_LOG", "info"]),
        ("REFERRAL_LOG_FORMAT", "xml", &["xml", "json"]),
        ("REFERRAL_LIMITS", "some", &["REFERRAL_LIMITS"]),
        ("REFERRAL_LIMITS_TRUSTED_PROXIES", "proxy", &["trusted_proxies", "10.0.0.0/8"]),
        ("REFERRAL_TOKENS_ACCESS_MINUTES", "60", &["access_minutes", "1..10"]),
        ("REFERRAL_HASHING_MEMORY_KIB", "64", &["memory_kib", "19456"]),
        ("REFERRAL_HTTP_SHUTDOWN_SECONDS", "0", &["shutdown_seconds"]),
        ("REFERRAL_DATABASE_CONNECTIONS", "many", &["REFERRAL_DATABASE_CONNECTIONS", "whole number"]),
        ("REFERRAL_LISTN", "127.0.0.1:0", &["REFERRAL_LISTN", "did you mean REFERRAL_LISTEN?"]),
        ("DATABASE_URL", "postgres://u:s3cr3t@h/n?pgbouncer=true", &["DATABASE_URL", "pgbouncer", "pooler"]),
    ] {
        let mut operator = Operator::on_a_free_port();
        operator.write("nonsense", [b'x'; 8192]);
        operator.set(name, value);
        let ended = operator.run(&[]).refused(parts);
        assert_eq!(ended.stdout, "", "{name}={value}");
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
}

#[test]
fn a_setting_that_is_no_text_is_told_and_not_passed_over() {
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", std::ffi::OsString::from_vec(b"sqlite:\xff.db".to_vec()));
    let mut running = operator.start(&[]);
    while running.listens_on().is_none() && !running.ended() {
        std::thread::yield_now();
    }
    assert_eq!(running.listens_on(), None, "it serves from another database than it was told");
    running.wait().refused(&["DATABASE_URL"]);
}

#[test]
fn bad_files_of_settings_are_told_in_a_sentence() {
    let operator = Operator::on_a_free_port();
    operator.run(&["--config", "missing.toml"]).refused(&["missing.toml"]);
    for (text, part) in [
        ("nonsense", "bad.toml"),
        ("[accounts]\nmin_length = 15\n", "accounts.min_length"),
        ("[acounts]\n", "[acounts]"),
        ("[accounts]\nmin_password_length = 4\n", "accounts.min_password_length"),
        ("[database]\nurl = 5\n", "string"),
        ("[database]\nurl = \"postgres://u:s3cr3t@h/n\nprepared_statements = true\n", "bad.toml"),
    ] {
        operator.write("bad.toml", text);
        let ended = operator.run(&["--config", "bad.toml"]).refused(&[part]);
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    for text in ["nonsense with s3cr3t\n", "REDIS_URL='redis://:s3cr3t@h\n"] {
        operator.write(".env", text);
        let ended = operator.run(&[]).refused(&[".env"]);
        assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
    }
    operator.write(".env", b"NAME=\xff\n");
    operator.run(&[]).refused(&[".env"]);
}

#[test]
fn settings_come_from_the_file_then_dot_env_then_the_environment() {
    let mut operator = Operator::new();
    operator.set("REFERRAL_LISTEN", "127.0.0.1:0");
    operator.write("referral.toml", "[database]\nurl = \"sqlite:from-file.db\"\n");
    operator.run(&["migrate"]).well();
    assert!(operator.path("referral.db").exists(), "a file is read only when it is named");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-file.db").exists());
    operator.write(".env", "# a comment\nexport DATABASE_URL=\"sqlite:from-dot-env.db\"\nOTHER=x\n");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-dot-env.db").exists());
    operator.set("DATABASE_URL", "sqlite:from-environment.db");
    operator.run(&["migrate", "--config", "referral.toml"]).well();
    assert!(operator.path("from-environment.db").exists());
    operator.unset("DATABASE_URL");
    operator.write("secret", "sqlite:from-secret.db\n");
    operator.set("DATABASE_URL_FILE", "secret");
    operator.write(".env", "");
    operator.run(&["migrate"]).well();
    assert!(operator.path("from-secret.db").exists());
}

/// What lies above the working directory belongs to somebody else.
#[test]
fn dot_env_is_read_from_the_working_directory_alone() {
    let operator = Operator::on_a_free_port();
    operator.write(".env", "DATABASE_URL=sqlite:from-above.db\n");
    operator.write("below/empty", "");
    let mut migrating = operator.start_in("below", &["migrate"]);
    migrating.wait().well();
    assert!(operator.path("below/referral.db").exists());
    assert!(!operator.path("below/from-above.db").exists());
}

#[tokio::test]
async fn secrets_are_read_from_files() {
    let hunter = Hunter::saying(|_| Reply::verdict("valid")).await;
    let mut operator = Operator::on_a_free_port();
    operator.write("key", "from a file\n");
    operator.set("HUNTER_API_KEY_FILE", "key");
    operator.set("HUNTER_URL", &hunter.url);
    let serving = operator.serve();
    serving.client().register("somebody", None).await.expect(201);
    eventually("Hunter is asked", || async { !hunter.asked().is_empty() }).await;
    assert_eq!(hunter.asked()[0].header("x-api-key"), Some("from a file"));
}

#[tokio::test]
async fn a_redis_that_is_down_keeps_it_from_nothing() {
    let mut operator = Operator::on_a_free_port();
    operator.set("REDIS_URL", "redis://:s3cr3t@127.0.0.1:1");
    let serving = operator.serve();
    let health = serving.client().get("/readyz").await.expect(200).json();
    assert_eq!(health, json!({"status": "degraded", "redis": "down", "redis_reason": "unreachable"}));
    serving.client().signed_up("somebody").await.create_code("SPRING2030AB").await.expect(201);
    let ended = serving.stop().well();
    assert!(!ended.stderr.contains("s3cr3t"), "{ended:?}");
}

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
