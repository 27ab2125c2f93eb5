//! Whoever erases somebody, by the API or on the command line: nothing of them stays in what an operator keeps.

use serde_json::json;

use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::host::host_of;
use crate::support::process::Operator;
use crate::support::servers::Postgres;

on_both_engines!(nothing_of_the_erased_is_in_a_file_a_dump_or_the_log);
async fn nothing_of_the_erased_is_in_a_file_a_dump_or_the_log(setup: Setup) {
    let mut operator = Operator::on_a_free_port();
    let server = Postgres::shared().await;
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => server.database().await,
    };
    operator.set("DATABASE_URL", &url);
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator.set("REFERRAL_LOG", "referral=trace,info");
    operator.run(&["migrate"]).well();
    operator.run_with(&["admin", "create", "boss", "boss@example.com"], &format!("{PASSWORD}\n")).well();
    let kept = || match setup {
        Setup::Sqlite => {
            let file = |name: &str| std::fs::read(operator.path(name)).unwrap_or_default();
            let bytes = [file("referral.db"), file("referral.db-wal")].concat();
            String::from_utf8_lossy(&bytes).to_lowercase()
        }
        _ => server.dump(&url).to_lowercase(),
    };
    let serving = operator.serve();
    let boss = serving.client().logged_in("boss").await;
    let traces = ["wanderfalke", "kolkrabe", "bussard2030x", "trappe7", "eisvogel", "zaunkoenig"];
    let leave = async |name: &str| -> Client {
        let (client, address) = (serving.client(), format!("kolkrabe.{name}@example.com"));
        let body = json!({"username": name, "email": address, "password": PASSWORD});
        client.post("/api/v1/auth/user", &body).await.expect(201);
        client.log_in(name, "wrong").await.expect(401);
        let leaver = client.logged_in(name).await;
        boss.get(&format!("/api/v1/codes/{address}")).await.expect(404);
        boss.post("/api/v1/users/search", &json!({"q": name})).await.expect(200);
        boss.get(&format!("/api/v1/users/{}/export", leaver.id)).await.expect(200);
        boss.get("/api/v1/exports/users.csv").await.expect(200);
        leaver
    };
    let by_command = leave("Wanderfalke").await;
    by_command.create_code("BUSSARD2030X").await.expect(201);
    by_command.patch("/api/v1/me", &json!({"handle": "trappe7"})).await.expect(200);
    by_command.get("/r/trappe7").await;
    let by_manager = leave("Wanderfalke-2").await;
    let host = host_of(&boss).await;
    host.tell("Eisvogel", json!({"name": "Zaunkoenig", "email": "kolkrabe-3@example.com"})).await.expect(201);
    let log = serving.stop().well();
    let said = format!("{}{}", log.stdout, log.stderr).to_lowercase();
    assert!(said.contains("list_exported") || said.contains("/api/v1/exports/users.csv"), "requests are in the log");
    let before = kept();
    for trace in traces {
        assert!(before.contains(trace), "the search finds {trace} while it is there");
        assert!(!said.contains(trace), "{trace} is in the log");
    }

    let serving = operator.serve();
    let (boss, host) = (boss.at(&serving.url), host.at(&serving.url));
    let erased = operator.run(&["admin", "erase", "Wanderfalke", "--reason", "request"]).well();
    assert!(erased.stdout.contains(&by_command.id), "{erased:?}");
    let path = format!("/api/v1/users/{}", by_manager.id);
    boss.delete_with(&path, &json!({"reason": "request"})).await.expect(204);
    host.delete("/api/v1/participants/Eisvogel").await.expect(204);
    host.tell("Eisvogel", json!({})).await.expect_problem(409, "participant_erased");
    let log = serving.stop().well();
    let said = format!("{}{}", log.stdout, log.stderr).to_lowercase();
    let after = kept();
    assert!(after.contains("boss@example.com"), "the search finds who stays");
    for trace in traces {
        assert!(!after.contains(trace), "{trace} is still there");
        assert!(!said.contains(trace), "{trace} is in the log");
    }
    let verified = operator.run(&["admin", "audit", "verify"]).well();
    assert!(verified.stdout.contains("all as they were noted"), "{verified:?}");

    // Who keeps the log of erasures beside the backups knows whom to erase again; it has ids and dates alone.
    let told = operator.run(&["erase-log"]).well().stdout;
    assert_eq!(told.lines().filter(|line| !line.is_empty()).count(), 3, "{told}");
    assert!(told.contains(&by_command.id) && told.contains(&by_manager.id), "{told}");
}
