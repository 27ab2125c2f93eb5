//! Every command: help, versions, settings and documents that are printed, completions and the manual.

use std::path::Path;

use serde_json::Value;

use crate::support::app::eventually;
use crate::support::process::Operator;
use crate::support::servers::Postgres;

#[tokio::test]
async fn with_nothing_configured_it_serves_on_sqlite_in_the_working_directory() {
    let mut operator = Operator::new();
    operator.set("REFERRAL_LISTEN", "127.0.0.1:0");
    let serving = operator.serve();
    assert!(serving.url.starts_with("http://127.0.0.1:"), "{}", serving.url);
    assert!(operator.path("referral.db").exists());
    let root = serving.client().get("/").await.expect(307);
    assert_eq!(root.header("location"), "/docs");
    serving.client().get("/docs").await.expect(200);
    serving.client().get("/readyz").await.expect(200);
    serving.client().signed_up("somebody").await;
    let ended = serving.stop().well();
    let said = format!("Referral listens on {0} (docs: {0}/docs)\n", ended.stdout.split(' ').nth(3).expect("a url"));
    assert_eq!(ended.stdout, said);
}

/// The port may be somebody else's on the machine that runs the tests; it is named either way.
#[test]
fn without_any_setting_it_listens_on_port_8000_of_this_machine_alone() {
    let operator = Operator::new();
    let mut running = operator.start(&[]);
    while running.listens_on().is_none() && !running.ended() {
        std::thread::yield_now();
    }
    match running.listens_on() {
        Some(url) => assert_eq!(url, "http://127.0.0.1:8000"),
        None => drop(running.wait().refused(&["127.0.0.1:8000", "REFERRAL_LISTEN"])),
    }
}

/// The subcommands that a help text lists.
fn commands(help: &str) -> Vec<&str> {
    let (_, rest) = help.split_once("Commands:\n").unwrap_or_default();
    let lines = rest.lines().take_while(|line| !line.is_empty());
    // What belongs to the line before is indented further.
    lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next()).collect()
}

#[test]
fn it_tells_its_version_and_every_command_helps() {
    let operator = Operator::new();
    let version = operator.run(&["--version"]).well();
    let built = concat!("referral ", env!("CARGO_PKG_VERSION"), " (");
    let commit = version.stdout.strip_prefix(built).and_then(|rest| rest.strip_suffix(")\n")).expect("a commit");
    let is_hash = commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    // An archive of the sources has no repository.
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    assert!(is_hash || !repository && commit == "unknown", "{version:?}");
    let help = operator.run(&["--help"]).well().stdout;
    assert!(help.contains("A self-hosted referral-program service"), "{help}");
    for command in ["serve", "migrate", "admin", "keys", "check", "config", "health", "openapi", "completions", "man"] {
        assert!(commands(&help).contains(&command), "{command}: {help}");
    }
    for command in commands(&help).into_iter().filter(|command| *command != "help") {
        let help = operator.run(&[command, "--help"]).well().stdout;
        assert!(help.contains(&format!("Usage: referral {command}")), "{help}");
        assert_eq!(operator.run(&["help", command]).well().stdout, help);
        for below in commands(&help).into_iter().filter(|below| *below != "help") {
            let help = operator.run(&[command, below, "--help"]).well().stdout;
            assert!(help.contains(&format!("Usage: referral {command} {below}")), "{help}");
        }
    }
    assert!(operator.files().is_empty(), "asking for help makes nothing");
}

#[test]
fn a_command_that_there_is_not_is_told_with_the_usage() {
    let operator = Operator::new();
    for arguments in [&["sevre"][..], &["admin"], &["admin", "create"], &["admin", "create", "name"], &["--nonsense"]] {
        let ended = operator.run(arguments);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("Usage: referral"), "{ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
    assert!(operator.files().is_empty());
}

#[test]
fn the_printed_settings_load_again() {
    let operator = Operator::on_a_free_port();
    let printed = operator.run(&["config"]).well().stdout;
    operator.write("referral.toml", &printed);
    operator.run(&["--config", "referral.toml", "check"]).well();
    operator.run(&["check", "--config", "referral.toml"]).well();
    // They are read, not merely accepted.
    let changed = printed.replace("\"sqlite:referral.db\"", "\"sqlite:elsewhere.db\"");
    operator.write("referral.toml", &changed);
    operator.run(&["--config", "referral.toml", "migrate"]).well();
    assert!(operator.path("elsewhere.db").exists());
    assert!(!operator.path("referral.db").exists());
}

#[test]
fn the_document_in_the_repository_is_the_one_of_the_binary() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let kept = std::fs::read_to_string(kept).expect("docs/openapi.json");
    let printed = Operator::new().run(&["openapi"]).well().stdout;
    assert!(
        kept == printed,
        "the API has changed: run `cargo run -- openapi > docs/openapi.json` and look at the change"
    );
}

#[tokio::test]
async fn the_served_document_is_the_printed_one() {
    let operator = Operator::on_a_free_port();
    let printed: Value = serde_json::from_str(&operator.run(&["openapi"]).well().stdout).expect("JSON");
    assert_eq!(operator.serve().client().get("/openapi.json").await.expect(200).json(), printed);
}

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
