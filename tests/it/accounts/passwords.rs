//! Passwords and their hashes: old ones go on, weak ones are strengthened.

use futures_util::FutureExt;
use referral::config::Hashing;
use referral::crypto::hashing::Hasher;
use referral::limits::turns::Key;
use serde_json::json;

use super::helpers::{hash_of, id};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::paths::{ME, USER};

on_every_setup!(a_long_password_is_not_changed_by_the_upgrade_of_a_bcrypt_hash);
/// bcrypt sees 72 bytes: what was typed behind them is not proven, and must not become part of the password.
async fn a_long_password_is_not_changed_by_the_upgrade_of_a_bcrypt_hash(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let start = "Zaunkoenig-7".repeat(6);
    let right = format!("{start}, and the rest");
    plant(&test, &user, &bcrypt::hash(&right, 4).expect("a hash")).await;
    user.log_in("user", &format!("{start}, but another end")).await.expect(200);
    user.log_in("user", &right).await.expect(200);
}

on_every_setup!(a_bcrypt_hash_lets_its_owner_in_and_becomes_argon2id);
/// As an import from the reference service leaves them.
async fn a_bcrypt_hash_lets_its_owner_in_and_becomes_argon2id(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    // `$2b$` is what this library and Python's write, `$2a$` and `$2y$` what others do.
    let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
    for version in ["$2b$", "$2a$", "$2y$"] {
        plant(&test, &user, &bcrypt.replacen("$2b$", version, 1)).await;
        for wrong in ["not the password", "", "Q123werty!23\u{0}", &*"x".repeat(100)] {
            user.log_in("user", wrong).await.expect_problem(401, "bad_credentials");
        }
        assert!(stored(&test, &user).await.starts_with(version), "only the right password replaces a hash");
        user.log_in("user", PASSWORD).await.expect(200);
        eventually("a better hash", || async { !stored(&test, &user).await.starts_with("$2") }).await;
        let upgraded = stored(&test, &user).await;
        assert!(upgraded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{upgraded}");
        user.log_in("user", PASSWORD).await.expect(200);
        assert_eq!(stored(&test, &user).await, upgraded);
        user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
    }
}

on_every_setup!(weaker_argon2id_hashes_are_strengthened_at_log_in_and_stronger_ones_kept);
async fn weaker_argon2id_hashes_are_strengthened_at_log_in_and_stronger_ones_kept(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_HASHING_PASSES", "3")]).await;
    let user = test.user("user").await;
    assert!(stored(&test, &user).await.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"));
    for (memory_kib, passes, kept) in [(19_456, 2, false), (8192, 3, false), (19_456, 4, true), (19_457, 3, true)] {
        let planted = argon2id(memory_kib, passes).await;
        plant(&test, &user, &planted).await;
        user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
        assert_eq!(stored(&test, &user).await, planted);
        user.log_in("user", PASSWORD).await.expect(200);
        if !kept {
            eventually("a better hash", || async { stored(&test, &user).await != planted }).await;
        }
        let after = stored(&test, &user).await;
        assert_eq!(after == planted, kept, "m={memory_kib} t={passes}: {after}");
        assert!(kept || after.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "{after}");
        user.log_in("user", PASSWORD).await.expect(200);
    }
}

on_every_setup!(a_password_is_changed_with_the_old_one_and_ends_every_session);
async fn a_password_is_changed_with_the_old_one_and_ends_every_session(setup: Setup) {
    let test = setup.start_two().await;
    let user = test.user("user").await;
    let elsewhere = user.logged_in("user").await.at(&test.nodes[1].url);
    let (new, path) = ("Zaunkoenig-7", "/api/v1/me/password");
    let change = |old: &str, new: &str| json!({"current_password": old, "new_password": new});

    user.post(path, &change("not the password", new)).await.expect_problem(403, "wrong_password");
    user.post(path, &change("", new)).await.expect_problem(403, "wrong_password");
    user.post(path, &change(new, new)).await.expect_problem(403, "wrong_password");
    user.anonymous().post(path, &change(PASSWORD, new)).await.expect_problem(401, "not_authenticated");
    for (broken, sentence) in
        [("short", "at least 12"), ("iloveyou1234", "too common"), ("only-a-USER-here", "your user name")]
    {
        let problem = user.post(path, &change(PASSWORD, broken)).await.expect_problem(422, "invalid").json();
        assert_eq!(problem["errors"][0]["loc"], json!(["body", "new_password"]));
        assert!(problem["detail"].as_str().expect("a sentence").contains(sentence), "{problem}");
    }
    user.get(ME).await.expect(200);
    user.log_in("user", PASSWORD).await.expect(200);

    user.post(path, &change(PASSWORD, new)).await.expect(204);
    user.get(ME).await.expect_problem(401, "invalid_token");
    eventually("the other node follows", || async { elsewhere.get(ME).await.status == 401 }).await;
    for client in [&user, &elsewhere] {
        let refresh_token = client.refresh_token.as_ref().expect("a refresh token");
        client.refresh(refresh_token).await.expect_problem(401, "invalid_refresh_token");
    }
    user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
    user.log_in("user", new).await.expect(200);
}

async fn stored(test: &TestApp, user: &Client) -> String {
    let rows = test.query(&format!("select password_hash from users where username = '{}'", user.username)).await;
    rows[0][0].clone().expect("a hash")
}

/// On PostgreSQL, where each writer has a connection in its hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_is_strengthened_in_the_line_of_its_user() {
    let test = Setup::Postgres.start().await;
    let user = test.user("user").await;
    let weak = argon2id(8192, 2).await;
    plant(&test, &user, &weak).await;
    // A log-in goes on beside this, a change of the row does not.
    let gate = test.beside().await;
    gate.batch_execute("begin; select 1 from users where username = 'user' for share").await.expect("it is held");
    user.log_in("user", PASSWORD).await.expect(200);
    eventually("the new hash waits to be written", || async { test.waiting().await == 1 }).await;
    let another = test.app().turns.take(Key::User(id(&user).0));
    assert!(another.now_or_never().is_none(), "the next who writes the user's rows waits without a connection");
    gate.batch_execute("commit").await.expect("it is let go");
    eventually("a better hash", || async { stored(&test, &user).await != weak }).await;
}

async fn plant(test: &TestApp, user: &Client, hash: &str) {
    test.sql(&format!("update users set password_hash = '{hash}' where username = '{}'", user.username)).await;
    assert_eq!(stored(test, user).await, hash);
}

/// A hash of [`PASSWORD`] with other parameters than the service's.
async fn argon2id(memory_kib: u32, passes: u32) -> String {
    let hasher = Hasher::start(&Hashing { memory_kib, passes, threads: 1, queue: 1 }).expect("a hasher");
    hasher.hash(PASSWORD, [7; 16]).await.expect("a hash")
}

on_every_setup!(one_password_in_two_spellings_is_one_and_old_hashes_go_on);
async fn one_password_in_two_spellings_is_one_and_old_hashes_go_on(setup: Setup) {
    let test = setup.start().await;
    let (composed, taken_apart) = ("Zaunk\u{f6}nig-vom-7890", "Zaunko\u{308}nig-vom-7890");
    let body = |name: &str, password: &str| {
        let email = format!("{name}@example.com");
        json!({"username": name, "email": email, "password": password})
    };
    test.client().post(USER, &body("olga", taken_apart)).await.expect(201);
    test.client().post(USER, &body("ivan", composed)).await.expect(201);
    for name in ["olga", "ivan"] {
        for typed in [composed, taken_apart] {
            test.client().log_in(name, typed).await.expect(200);
        }
    }
    // As it was hashed before: as typed.
    let former = former_hash(taken_apart);
    test.sql(&format!("update users set password_hash = '{former}' where username = 'olga'")).await;
    test.client().log_in("olga", composed).await.expect_problem(401, "bad_credentials");
    test.client().log_in("olga", taken_apart).await.expect(200);
    eventually("the hash is of the normal form", || async { hash_of(&test, "olga").await != former }).await;
    test.client().log_in("olga", composed).await.expect(200);
    let mut olga = test.client();
    olga.take_tokens(&olga.log_in("olga", taken_apart).await.expect(200));
    let change = json!({"current_password": composed, "new_password": "Zaunko\u{308}nig-vom-1234"});
    olga.post("/api/v1/me/password", &change).await.expect(204);
    test.client().log_in("olga", "Zaunk\u{f6}nig-vom-1234").await.expect(200);
    // bcrypt, from elsewhere.
    let former = bcrypt::hash(taken_apart, 4).expect("a hash");
    test.sql(&format!("update users set password_hash = '{former}' where username = 'ivan'")).await;
    test.client().log_in("ivan", taken_apart).await.expect(200);
}

/// argon2id of a password as it was typed.
fn former_hash(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(19_456, 2, 1, Some(32)).expect("parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).expect("a hash").to_string()
}
