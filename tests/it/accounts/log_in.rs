//! Who gets in, and how little whoever does not get in learns.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use referral::crypto::hashing::Kind;
use referral::features::accounts::actions::administration;
use referral::features::accounts::actions::log_in;
use referral::kernel::actor::Actor;
use referral::web::views::language::Language;
use serde_json::{Value, json};

use super::helpers::{WRONG, face, hash_of, id};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::counted::counted;
use crate::support::paths::{ME, USER};

on_every_setup!(people_log_in_by_name_and_by_address_in_any_case);
async fn people_log_in_by_name_and_by_address_in_any_case(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "Zaunkönig", "email": "Zaun.Koenig@Example.COM", "password": PASSWORD});
    let user = test.client().post(USER, &body).await.expect(201).json();
    assert_eq!((&user["username"], &user["email"]), (&json!("Zaunkönig"), &json!("Zaun.Koenig@example.com")));
    for typed in [
        "Zaunkönig",
        "zaunkönig",
        "ZAUNKÖNIG",
        "Ｚaunkönig",
        "Zaunko\u{308}nig",
        " Zaunkönig\t",
        "zaun.koenig@example.com",
        "ZAUN.KOENIG@EXAMPLE.COM",
    ] {
        let mut client = test.client();
        client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
        assert_eq!(client.get(ME).await.expect(200).json()["id"], user["id"], "{typed}");
    }
    for typed in ["Zaunkonig", "zaun.koenig", "zaun.koenig@example.org", "Zaun könig"] {
        test.client().log_in(typed, PASSWORD).await.expect_problem(401, "bad_credentials");
    }
    test.client().log_in("Zaunkönig", &PASSWORD.to_lowercase()).await.expect_problem(401, "bad_credentials");
}

on_every_setup!(whoever_does_not_get_in_learns_nothing_about_why);
/// Wrong, unknown, erased and disabled look the same, to the byte.
async fn whoever_does_not_get_in_learns_nothing_about_why(setup: Setup) {
    let test = setup.start().await;
    test.user("known").await;
    let erased = test.user("erased-one").await;
    erased.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
    let disabled = test.user("disabled-one").await;
    administration::disable(test.app(), id(&disabled)).await.expect("disabled");
    let reference = test.client().log_in("known", "not the password").await.expect_problem(401, "bad_credentials");
    assert_eq!(reference.json()["detail"], "Incorrect username or password");
    assert_eq!(reference.header("www-authenticate"), "Bearer");
    for (typed, password) in [
        ("known", ""),
        ("known", &*"x".repeat(1025)),
        ("known", &*"x".repeat(60_000)),
        ("known@example.com", "not the password"),
        ("unknown", PASSWORD),
        ("unknown@example.com", PASSWORD),
        ("", ""),
        ("no\u{0}name", PASSWORD),
        ("erased-one", PASSWORD),
        ("erased-one@example.com", PASSWORD),
        ("erased", PASSWORD),
        ("erased@erased.invalid", PASSWORD),
        ("disabled-one", PASSWORD),
        ("disabled-one@example.com", PASSWORD),
        ("disabled-one", "not the password"),
    ] {
        let answer = test.client().log_in(typed, password).await;
        assert_eq!(face(&answer), face(&reference), "{typed:?}");
    }
    test.client().log_in("known", PASSWORD).await.expect(200);
}

on_every_setup!(the_disabled_are_out_at_once_and_in_again_when_enabled);
async fn the_disabled_are_out_at_once_and_in_again_when_enabled(setup: Setup) {
    let test = setup.start().await;
    let (user, other) = (test.user("user").await, test.user("other").await);
    user.create_code("AMSEL2030XYZ").await.expect(201);
    other.get("/api/v1/codes/user@example.com").await.expect(200);
    let refresh_token = user.refresh_token.clone().expect("a refresh token");

    administration::disable(test.app(), id(&user)).await.expect("disabled");
    user.get(ME).await.expect_problem(401, "invalid_token");
    user.refresh(&refresh_token).await.expect_problem(401, "invalid_refresh_token");
    user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
    other.get("/api/v1/codes/user@example.com").await.expect_problem(404, "no_active_code");
    other.register("late", Some("AMSEL2030XYZ")).await.expect_problem(404, "code_not_usable");
    other.get(ME).await.expect(200);

    administration::enable(test.app(), id(&user)).await.expect("enabled");
    user.get(ME).await.expect_problem(401, "invalid_token");
    user.refresh(&refresh_token).await.expect_problem(401, "invalid_refresh_token");
    let user = user.logged_in("user").await;
    assert_eq!(user.get(ME).await.expect(200).json()["active_code"], Value::Null);
    other.register("later", Some("AMSEL2030XYZ")).await.expect_problem(404, "code_not_usable");
}

const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

on_every_setup!(a_log_in_is_the_same_work_for_everybody_whatever_is_stored);
/// Counted, for nobody can time this on a busy machine: of each kind of hash that is stored anywhere one is computed
/// for everybody, known or not.
async fn a_log_in_is_the_same_work_for_everybody_whatever_is_stored(setup: Setup) {
    let test = setup.start().await;
    let today = Kind::Argon2id { memory_kib: 19_456, passes: 2 };
    for name in ["today", "bcrypt", "older", "torn", "none", "disabled", "long"] {
        test.client().register(name, None).await.expect(201);
    }
    // Where there is nothing else, there is no more than one of today's.
    for name in ["nobody", "today", "nobody@example.com", "today@example.com"] {
        assert_eq!(work(&test, name, WRONG).await, BTreeMap::from([(today, 1)]), "{name}");
    }
    let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
    let costly = bcrypt::hash(PASSWORD, 5).expect("a hash").replacen("$2b$", "$2a$", 1);
    let older = "$argon2id$v=19$m=64,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    for (name, hash) in
        [("bcrypt", &*bcrypt), ("older", older), ("torn", "$2b$04$short"), ("disabled", &costly), ("long", &bcrypt)]
    {
        test.sql(&format!("update users set password_hash = '{hash}' where username = '{name}'")).await;
    }
    test.sql("update users set password_hash = null where username = 'none'").await;
    test.sql("update users set disabled_at = 1 where username = 'disabled'").await;
    let kinds =
        [today, Kind::Argon2id { memory_kib: 64, passes: 3 }, Kind::Bcrypt { cost: 4 }, Kind::Bcrypt { cost: 5 }];
    let names = [
        "nobody",
        "nobody@example.com",
        "no\u{0}name",
        "",
        "today",
        "bcrypt",
        "older",
        "torn",
        "none",
        "disabled",
        "long@example.com",
    ];
    for (password, forms) in [(WRONG, 1), ("", 1), (&*"x".repeat(2000), 1), ("no\u{308}t the password", 2)] {
        let expected: BTreeMap<Kind, u64> = kinds.into_iter().map(|kind| (kind, forms)).collect();
        for name in names {
            assert_eq!(work(&test, name, password).await, expected, "{name}");
        }
    }
    assert_eq!(work(&test, "disabled", PASSWORD).await, work(&test, "nobody", PASSWORD).await);
    // Who gets in is answered before their hash is made anew.
    test.client().log_in("bcrypt", PASSWORD).await.expect(200);
    for name in ["bcrypt", "long"] {
        test.client().log_in(name, PASSWORD).await.expect(200);
        eventually("it is today's", || async { Kind::of(&hash_of(&test, name).await) == Some(today) }).await;
    }
    test.sql("update users set password_hash = null where username in ('older', 'torn', 'disabled')").await;
    for name in ["nobody", "today"] {
        assert_eq!(work(&test, name, WRONG).await, BTreeMap::from([(today, 1)]), "{name}");
    }
}

/// What a log-in asks the database does not tell either; counted on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_asks_the_database_the_same_for_everybody_on_postgresql() {
    let direct = crate::support::servers::Postgres::shared().await.database().await;
    let (url, asked) = counted(&direct).await;
    let test = Setup::Postgres.prepare_on(url, &[]).await;
    // It follows nothing, so nobody else asks.
    let app = test.open(&[]).await.expect("an app");
    for name in ["today", "bcrypt"] {
        let user = referral::features::accounts::model::Registration {
            username: referral::kernel::name::Username::parse(name).expect("a name"),
            email: referral::kernel::email::Email::parse(&format!("{name}@example.com")).expect("an address"),
            entrance: referral::features::accounts::model::Entrance::Password(PASSWORD.to_owned()),
        };
        let none = referral::features::accounts::actions::registration::Invitation::None;
        referral::features::accounts::actions::registration::register(
            &app,
            Actor::SERVICE.into(),
            user,
            none,
            Language::English,
        )
        .await
        .expect("registered");
    }
    let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
    test.sql(&format!("update users set password_hash = '{bcrypt}' where username = 'bcrypt'")).await;
    let mut counts = Vec::new();
    for name in ["nobody", "today", "bcrypt", "nobody", "today@example.com", "nobody@example.com", "bcrypt@example.com"]
    {
        let before = asked.load(Ordering::SeqCst);
        assert!(log_in(&app, Actor::SERVICE, name, WRONG, HERE).await.is_err());
        counts.push(asked.load(Ordering::SeqCst) - before);
    }
    // One for who it is, one for the kinds.
    assert_eq!(counts, [2; 7]);
}

/// What hashes a failed log-in took.
async fn work(test: &TestApp, name: &str, password: &str) -> BTreeMap<Kind, u64> {
    let before = test.app().hasher.computed();
    test.client().log_in(name, password).await.expect_problem(401, "bad_credentials");
    let after = test.app().hasher.computed().into_iter();
    after.map(|(kind, count)| (kind, count - before.get(&kind).unwrap_or(&0))).filter(|(_, count)| *count > 0).collect()
}
