//! Rows of the previous release.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::on_both_engines;
use crate::support::app::{Setup, TestApp};
use crate::support::first_schema;
use crate::support::oauth::text;

on_both_engines!(an_older_node_takes_over_no_key_that_it_cannot_sign_with);
/// A node of before the tables of OAuth looks at the keys every ten minutes. It must go on signing with the key it
/// has, not with the first that is no Ed25519 key of the open.
async fn an_older_node_takes_over_no_key_that_it_cannot_sign_with(setup: Setup) {
    let test: TestApp = setup.start().await;
    referral::features::tokens::actions::keys::rs256_ready(test.app()).await.expect("the RSA key");
    let said = test.refusal("select generation, kid, private_key, public_key from signing_keys order by generation");
    assert!(said.await.contains("private_key"));
}

/// The first schema with a person, a manager and a session of each, as a binary of then has written them.
async fn before_the_upgrade(setup: Setup) -> (TestApp, [String; 2]) {
    let test = setup.prepare(&[]).await;
    let engine = if setup == Setup::Sqlite { "sqlite" } else { "postgres" };
    let mut script = first_schema::script(engine);
    let blob = |bytes: &[u8]| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if engine == "sqlite" { format!("x'{hex}'") } else { format!("'\\x{hex}'::bytea") }
    };
    let uuid = |number: u8| {
        let hex = format!("{number:02x}").repeat(16);
        if engine == "sqlite" { format!("x'{hex}'") } else { format!("'{hex}'::uuid") }
    };
    let now = referral::kernel::time::Clock::default().now().0;
    let later = now + 30 * 24 * 3_600_000_000;
    let mut tokens = Vec::new();
    for (number, (name, is_manager)) in (1_u8..).zip([("olga", false), ("boss", true)]) {
        let (handle, secret) = ([number; 16], [number; 32]);
        let hash = digest(&SHA256, &secret);
        script.push_str(&format!(
            "insert into users (id, username, email, name_key, email_key, password_hash, created_at, is_manager,
                 discoverable, email_verdict)
             values ({id}, '{name}', '{name}@example.com', '{name}', '{name}@example.com', 'x', {now}, {is_manager}, true,
                 'unchecked');
             insert into logins (login_key, user_id) values ('{name}', {id}), ('{name}@example.com', {id});
             insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at, expires_at, counter,
                 current_hash, salt)
             values ({family}, {handle}, {id}, 'referral', 'codes:read codes:write referrals:read profile', {now}, {now},
                 {later}, 0, {hash}, {salt});",
            id = uuid(number),
            family = uuid(0x80 + number),
            handle = blob(&handle),
            hash = blob(hash.as_ref()),
            salt = blob(&[9; 32]),
        ));
        tokens.push(format!("rt_{}", URL_SAFE_NO_PAD.encode([&handle[..], &secret[..]].concat())));
    }
    match setup {
        Setup::Sqlite => {
            let path = test.database_url.trim_start_matches("sqlite:");
            rusqlite::Connection::open(path).expect("a file").execute_batch(&script).expect("the first schema");
        }
        _ => {
            let (client, connection) =
                tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await.expect("PostgreSQL");
            tokio::spawn(connection);
            client.batch_execute(&script).await.expect("the first schema");
        }
    }
    (test, tokens.try_into().expect("two"))
}

on_both_engines!(sessions_from_before_the_upgrade_go_on_as_they_were);
async fn sessions_from_before_the_upgrade_go_on_as_they_were(setup: Setup) {
    let (mut test, tokens) = before_the_upgrade(setup).await;
    test.add_node().await;
    let [olga, boss] = tokens;
    let mut person = test.client();
    person.take_tokens(&person.refresh(&olga).await.expect(200));
    person.get("/api/v1/me").await.expect(200);
    person.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    person.get("/api/v1/me/consents").await.expect(200);
    person.get("/api/v1/clients").await.expect_problem(403, "managers_only");
    let mut manager = test.client();
    manager.take_tokens(&manager.refresh(&boss).await.expect(200));
    manager.get("/api/v1/clients").await.expect(200);
    // Whoever is a manager no longer is none in their next token either.
    test.sql("update users set is_manager = false").await;
    let again = manager.refresh(manager.refresh_token.as_deref().expect("a token")).await.expect(200).json();
    assert!(!text(&again, "scope").contains("admin"), "{again}");
}
