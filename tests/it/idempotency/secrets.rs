//! What lies in the database of answers that were given.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use referral::idempotency::ClientKey;
use referral::kernel::actor::Who;
use referral::kernel::ids::UserId;
use referral::kernel::time::Time;
use reqwest::Method;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::keyed::{is_replayed, request};

on_every_setup!(what_is_told_once_lies_in_no_table_and_opens_to_nobody_without_the_master_key);
/// Whoever has a dump, and knows the client's key, has neither the answer nor a hash to try passwords on.
async fn what_is_told_once_lies_in_no_table_and_opens_to_nobody_without_the_master_key(setup: Setup) {
    let master = STANDARD.encode([7; 32]);
    let test = setup.start_with(&[("REFERRAL_MASTER_KEY", &master)]).await;
    let manager = test.manager("manager").await;
    let body = json!({
        "name": "Shop", "confidential": true, "redirect_uris": ["https://shop.example.com/cb"], "scope": "openid",
    });
    let send = async || manager.send(request(&manager, &Method::POST, "/api/v1/clients", Some(&body), "key")).await;
    let first = send().await.expect(201);
    let secret = first.json()["client_secret"].as_str().expect("a secret").to_owned();
    let again = send().await.expect(201);
    assert_eq!((is_replayed(&again), &again.text), (true, &first.text));

    let hex = |text: &str| -> String { text.bytes().map(|byte| format!("{byte:02x}")).collect() };
    let column = |name: &str| match setup {
        Setup::Sqlite => format!("lower(hex({name}))"),
        _ => format!("encode({name}, 'hex')"),
    };
    let columns = ["scope_hash", "fingerprint", "sealed_answer"].map(column).join(", ");
    let rows = test.query(&format!("select {columns} from idempotency")).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    for part in row {
        let part = part.as_deref().expect("it is there");
        for told in [secret.as_str(), "key", "client_id"] {
            assert!(!part.contains(&hex(told)), "{told} lies open");
        }
    }
    // All that a dump has beside them: without the master key it makes another key of the client's.
    let stored = test.query(&format!("select {} from refresh_keys", column("secret"))).await;
    let stored = stored[0][0].clone().expect("a secret");
    let digits: Vec<u8> = stored.chars().take(64).map(|digit| digit.to_digit(16).expect("hex") as u8).collect();
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect();
    let who = Who::Manager(UserId::parse(&manager.id).expect("an id"));
    let operation = "POST /api/v1/clients";
    let scope = |secret: &[u8; 32]| {
        let key = ClientKey::new(secret, "key").expect("a key");
        let record = key.record(who, operation, &[], Time(0)).expect("a record");
        record.turn().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let kept = row[0].as_deref().expect("a hash");
    let whole = test.app().keyring.secret_for("idempotency").expect("a secret");
    assert!(kept.starts_with(&scope(&whole)), "with the master key it is found");
    for guess in [bytes.try_into().expect("32 bytes"), [0; 32], [7; 32]] {
        assert!(!kept.starts_with(&scope(&guess)), "a dump is enough");
    }
}
