//! Accounts of people who sign in with a provider: kept out, erased, without a password, changed while they sign in.

use std::time::Duration;

use referral::features::accounts::actions::administration;
use serde_json::json;

use super::helpers::{
    HOME, TRUSTED, browser_of, come, is_now, join_account, later, leave, new_account, request, start, tokens_of, who,
};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;

on_every_setup!(who_is_kept_out_is_kept_out_by_every_provider);
async fn who_is_kept_out_is_kept_out_by_every_provider(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    test.user("ivan").await;
    for name in ["olga", "ivan"] {
        let found = administration::find(test.app(), name).await.expect("a look").expect("an account");
        administration::disable(test.app(), found.id).await.expect("disabled");
    }
    assert_eq!(who(&visit).await, None);
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(403);
    assert!(page.header("www-authenticate").is_empty());
    // Nor is a disabled account joined by its address, and its address is not free.
    is_now(&corp, json!({"sub": "ivan-1", "email": "ivan@example.com", "email_verified": true}));
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "ivan2")]).await.expect(409);
    visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.expect(422);
    assert_eq!(who(&visit).await, None);
    assert_eq!(test.number("select count(*) from users").await, 2);
    let enabled = administration::find(test.app(), "olga").await.expect("a look").expect("olga");
    administration::enable(test.app(), enabled.id).await.expect("enabled");
    corp.is_honest();
    come(&mut visit, "corp").await.expect(303);
    assert_eq!(who(&visit).await.as_deref(), Some("olga"));
}

on_every_setup!(of_an_erased_person_nothing_is_left_and_they_may_come_again);
async fn of_an_erased_person_nothing_is_left_and_they_may_come_again(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let traces = ["wanderfalke", "kolkrabe", "elster-domain"];
    let person = json!({
        "sub": "Wanderfalke-7", "email": "kolkrabe@elster-domain.example", "email_verified": true,
        "name": "Wanderfalke",
    });
    is_now(&corp, person);
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    // Another window is still open at the form.
    come(&mut browser_of(&test), "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "Wanderfalke")]).await.expect(303);
    let program = tokens_of(&mut visit).await;
    let content = everything(&test).await;
    for trace in traces {
        assert!(content.contains(trace), "the search finds {trace} while it is there");
    }
    program.delete_with("/api/v1/me", &json!({})).await.expect(204);
    assert_eq!(who(&visit).await, None);
    program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    let content = everything(&test).await;
    for trace in traces {
        assert!(!content.contains(trace), "{trace} is still there");
    }
    for table in ["identities", "consents", "logins", "sign_ins"] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
    // To us they are somebody new.
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[]).await.expect(303);
    assert_eq!(who(&visit).await.as_deref(), Some("Wanderfalke"));
}

on_every_setup!(an_account_without_a_password_is_changed_by_who_has_just_logged_in);
async fn an_account_without_a_password_is_changed_by_who_has_just_logged_in(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    let new = json!({"new_password": "Another-Pass-77"});
    for password in ["", " ", PASSWORD, "null", "olga"] {
        test.client().log_in("olga", password).await.expect_problem(401, "bad_credentials");
        let page = visit.clone().get(&request(&[("prompt", "login")])).await.expect(200);
        visit.clone().log_in(&page, "olga", password).await.expect(422);
    }
    // What was fresh once is not for ever, by whatever token, and a refresh makes nothing fresh.
    let old = tokens_of(&mut visit).await;
    later(&test, &corp, Duration::from_secs(301));
    let late = tokens_of(&mut visit).await;
    for client in [&old, &late] {
        client.post("/api/v1/me/password", &new).await.expect_problem(403, "log_in_again");
        let guess = json!({"new_password": "Another-Pass-77", "current_password": ""});
        client.post("/api/v1/me/password", &guess).await.expect_problem(403, "log_in_again");
        client.delete_with("/api/v1/me", &json!({})).await.expect_problem(403, "log_in_again");
    }
    come(&mut visit, "corp").await.expect(303);
    let fresh = tokens_of(&mut visit).await;
    old.post("/api/v1/me/password", &new).await.expect_problem(403, "log_in_again");
    fresh.post("/api/v1/me/password", &json!({"new_password": "short"})).await.expect_problem(422, "invalid");
    fresh.post("/api/v1/me/password", &new).await.expect(204);
    // Sessions end, the provider goes on, and from now on the password is asked for.
    fresh.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    assert_eq!(who(&visit).await, None);
    test.client().log_in("olga", "Another-Pass-77").await.expect(200);
    come(&mut visit, "corp").await.expect(303);
    let fresh = tokens_of(&mut visit).await;
    fresh.post("/api/v1/me/password", &new).await.expect_problem(422, "invalid");
    fresh.delete_with("/api/v1/me", &json!({})).await.expect_problem(422, "invalid");
    fresh.delete_with("/api/v1/me", &json!({"password": "wrong"})).await.expect_problem(403, "wrong_password");
    fresh.delete_with("/api/v1/me", &json!({"password": "Another-Pass-77"})).await.expect(204);
    assert_eq!(test.number("select count(*) from identities").await, 0);
}

/// A transaction of somebody else's that has changed an account and not yet said so. PostgreSQL shows those who wait
/// for it the account as it is then, and of other tables what was there when their statement began.
struct Underway(tokio_postgres::Client);

impl Underway {
    async fn begin(test: &TestApp, sql: &str) -> Underway {
        let connected = tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("PostgreSQL");
        tokio::spawn(connection);
        client.batch_execute(&format!("begin; {sql}")).await.expect("the statements run");
        Underway(client)
    }

    /// Commits once somebody waits.
    async fn commit(self, test: &TestApp) {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                       and wait_event_type = 'Lock'";
        eventually("somebody waits", || async { test.number(waiting).await > 0 }).await;
        self.0.batch_execute("commit").await.expect("a commit");
    }
}

/// Each of these has read that all is well, and then waits for a transaction after which it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_an_account_is_judged_by_what_it_is_then() {
    let (test, _corp) = start(Setup::Postgres, &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    let change = "update users set email_proven_at = 1, password_hash = null where name_key = 'olga'";

    // By an identity that is taken away.
    let mut second = browser_of(&test);
    let back = leave(&mut second, "/oauth/login/corp").await;
    let underway = Underway::begin(&test, &format!("{change}; delete from identities")).await;
    let (page, ()) = tokio::join!(second.get(&back), underway.commit(&test));
    page.expect(403);
    assert_eq!(who(&second).await, None);

    // By a password that is taken away: to log in, and to join.
    test.client().register("ivan", None).await.expect(201);
    let change = "update users set email_proven_at = 1, password_hash = null where name_key = 'ivan'";
    let form = second.get(HOME).await.expect(200).form("/oauth/login");
    let underway = Underway::begin(&test, change).await;
    let typed = [("username", "ivan"), ("password", PASSWORD)];
    let (page, ()) = tokio::join!(second.submit(&form, &typed), underway.commit(&test));
    page.expect(403);
    assert_eq!(who(&second).await, None);
    test.client().register("boris", None).await.expect(201);
    let page = come(&mut second, "corp").await.expect(200);
    let underway = Underway::begin(&test, &change.replace("ivan", "boris")).await;
    let (form, typed) = (join_account(&page), [("login", "boris"), ("password", PASSWORD)]);
    let (page, ()) = tokio::join!(second.submit(&form, &typed), underway.commit(&test));
    let page = page.expect(422);
    assert_eq!(test.number("select count(*) from identities").await, 0);
    // The ticket is still good.
    second.submit(&new_account(&page), &[("username", "o"), ("email", "o@example.com")]).await.expect(303);

    // By a session that ends: what it allows is not allowed.
    let page = visit.get(&request(&[])).await.expect(200);
    let ended = "update users set email_proven_at = 2 where name_key = 'olga'; \
                 update browser_sessions set ended_at = 1; delete from consents";
    let underway = Underway::begin(&test, ended).await;
    let form = page.form("/oauth/consent");
    let (page, ()) = tokio::join!(visit.submit(&form, &[("decision", "allow")]), underway.commit(&test));
    page.expect(403);
    assert_eq!(test.number("select count(*) from consents").await, 0);
    assert_eq!(test.number("select count(*) from authorization_codes").await, 0);
}

/// Everything that is kept, and of SQLite the bytes of the file.
async fn everything(test: &TestApp) -> String {
    let columns = match test.setup {
        Setup::Sqlite => {
            "select t.name, c.name from sqlite_master t join pragma_table_info(t.name) c where t.type = 'table'"
        }
        Setup::Postgres | Setup::PostgresAndRedis => {
            "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        }
    };
    let mut content = String::new();
    for column in test.query(columns).await {
        let [Some(table), Some(column)] = &column[..] else { panic!("no column: {column:?}") };
        for row in test.query(&format!("select {column} from {table}")).await {
            content += &format!("{table}.{column}: {}\n", row[0].clone().unwrap_or_default());
        }
    }
    if test.setup == Setup::Sqlite {
        eventually("the log is written back", || async {
            test.query("pragma wal_checkpoint(truncate)").await[0][0].as_deref() == Some("0")
        })
        .await;
        let path = test.database_url.trim_start_matches("sqlite:");
        for file in [path.to_owned(), format!("{path}-wal")] {
            content += &String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default());
        }
    }
    content.to_lowercase()
}
