//! What is left of an erased account: the numbers of others, and nothing of the person.

use referral::features::audit::actions::chain;
use referral::features::audit::actions::verify::{self, Asked};
use referral::kernel::email::Email;
use referral::worker;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::host::host_of;
use crate::support::paths::{ME, USER};
use crate::support::servers::Smtp;

on_every_setup!(an_erased_account_is_gone_and_nobodys_numbers_move);
async fn an_erased_account_is_gone_and_nobodys_numbers_move(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    owner.register("first", Some("AMSEL2030XYZ")).await.expect(201);
    owner.register("leaver", Some("AMSEL2030XYZ")).await.expect(201);
    owner.register("last", Some("AMSEL2030XYZ")).await.expect(201);
    let leaver = owner.logged_in("leaver").await;
    leaver.create_code("BUSSARD2030X").await.expect(201);
    leaver.register("friend", Some("BUSSARD2030X")).await.expect(201);
    let friend = leaver.logged_in("friend").await;
    owner.get("/api/v1/codes/leaver@example.com").await.expect(200);
    let list = format!("/api/v1/users/{}", owner.id);
    let before = owner.get(&list).await.expect(200).json();

    for wrong in ["not the password", "", PASSWORD.to_lowercase().as_str()] {
        leaver.delete_with(ME, &json!({"password": wrong})).await.expect_problem(403, "wrong_password");
    }
    leaver.delete_with(ME, &json!({})).await.expect_problem(422, "invalid");
    assert_eq!(leaver.get(ME).await.expect(200).json()["referral_count"], 1);
    leaver.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);

    leaver.get(ME).await.expect_problem(401, "invalid_token");
    leaver
        .refresh(leaver.refresh_token.as_ref().expect("a refresh token"))
        .await
        .expect_problem(401, "invalid_refresh_token");
    leaver.log_in("leaver", PASSWORD).await.expect_problem(401, "bad_credentials");
    owner.get("/api/v1/codes/leaver@example.com").await.expect_problem(404, "no_active_code");

    // The codes of the erased refer nobody, and nobody gets them.
    owner.register("late", Some("BUSSARD2030X")).await.expect_problem(404, "code_not_usable");
    let validity = owner.post("/api/v1/codes/validate", &json!({"code": "BUSSARD2030X"})).await.expect(200).json();
    assert_eq!(validity, json!({"valid": false, "username": null, "expires_at": null}));
    friend.create_code("bussard2030X").await.expect_problem(409, "code_taken");

    // Their place in the referrer's list stays, without a face.
    let mut expected = before;
    assert_eq!(expected["total"], 3);
    expected["items"][1]["username"] = json!("erased");
    expected["items"][1]["email"] = json!("erased@erased.invalid");
    assert_eq!(owner.get(&list).await.expect(200).json(), expected);
    assert_eq!(owner.get(ME).await.expect(200).json()["referral_count"], 3);
    let masked = friend.get(&list).await.expect(200).json();
    assert_eq!((&masked["total"], &masked["items"][1]["username"]), (&json!(3), &json!("erased")));

    // So does their own list, without their codes.
    let theirs = friend.get(&format!("/api/v1/users/{}", leaver.id)).await.expect(200).json();
    assert_eq!(
        (&theirs["total"], &theirs["items"][0]["id"], &theirs["items"][0]["code"]),
        (&json!(1), &json!(friend.id), &Value::Null)
    );
    let brought_by = friend.get(ME).await.expect(200).json()["referred_by"].clone();
    assert_eq!(brought_by, json!({"id": leaver.id, "username": "erased", "status": "confirmed"}));

    // Name and address are free again, for somebody who has nothing to do with the first.
    let again = test.user("leaver").await;
    assert_ne!(again.id, leaver.id);
    let me = again.get(ME).await.expect(200).json();
    assert_eq!(
        (&me["referral_count"], &me["referred_by"], &me["active_code"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!(again.get("/api/v1/codes").await.expect(200).json()["total"], 0);
    assert_eq!(owner.get(&list).await.expect(200).json(), expected);
}

on_every_setup!(of_the_erased_no_trace_is_left);
/// Neither name nor address nor a chosen code: not in a row, not in the bytes of SQLite's file, not in Redis.
/// Others come and go around the erased, so that pages of the file are split and filled again.
async fn of_the_erased_no_trace_is_left(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut test = setup.start_with(&settings).await;
    // Of no code's letters is O, I or L: what is stored is what is looked for.
    let traces = [
        "wanderfalke",
        "kolkrabe",
        "elster-domain",
        "bussard2030x",
        "habicht2030x",
        "trappe",
        "eisvogel",
        "zaunkoenig",
    ];
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let mut leavers = Vec::new();
    for number in 0..12 {
        let name = format!("{number}-Wanderfalke-{}", "x".repeat(20));
        let address = format!("Kolkrabe.{number}.{}@elster-domain.example", "y".repeat(30));
        let body = json!({"username": name, "email": address, "password": PASSWORD, "code": "AMSEL2030XYZ"});
        owner.anonymous().post(USER, &body).await.expect(201);
        owner.register(&format!("stayer{number}"), Some("AMSEL2030XYZ")).await.expect(201);
        let leaver = owner.logged_in(&name).await;
        leaver.create_code(&format!("{number}HABICHT2030X")).await.expect(201);
        let replaced = json!({"code": format!("{number}BUSSARD2030X"), "expires_at": "2099-01-01"});
        leaver.post("/api/v1/codes?replace=true", &replaced).await.expect(201);
        owner.get(&format!("/api/v1/codes/{address}")).await.expect(200);
        leaver.patch(ME, &json!({"handle": format!("trappe{number}")})).await.expect(200);
        owner.post("/api/v1/auth/reset", &json!({"email": leaver.email})).await.expect(202);
        let own = json!({"name": format!("Zaunkoenig {number}"), "email": format!("kolkrabe-{number}@example.com"),
            "code": "AMSEL2030XYZ"});
        host.tell(&format!("Eisvogel-{number}"), own).await.expect(201);
        leavers.push(leaver);
    }
    test.drain().await;
    assert!(test.number("select count(*) from mails").await >= 12);
    manager.post("/api/v1/users/search", &json!({"q": "0-wanderfalke"})).await.expect(200);
    let totals = async || {
        let list = owner.get(&format!("/api/v1/users/{}", owner.id)).await.expect(200).json();
        let referrers = manager.get("/api/v1/referrers").await.expect(200).json();
        let first = referrers["items"][0]["referral_count"].clone();
        (list["total"].clone(), first, test.number("select count(*) from users").await)
    };
    let before = totals().await;
    if let Some(redis) = test.redis.as_ref().map(|redis| redis.url()) {
        // The cache is filled beside the answer, and not at all when Redis is slow: look until it is.
        for leaver in &leavers {
            let email = Email::parse(&leaver.email).expect("an address");
            eventually("the look-up is in Redis", || async {
                let there = redis_content(&redis).await.contains(email.key());
                if !there {
                    test.app().codes.forget(email.key(), 0).await;
                    owner.get(&format!("/api/v1/codes/{}", leaver.email)).await.expect(200);
                }
                there
            })
            .await;
        }
    }
    let content = everything(&test).await;
    for trace in traces {
        assert!(content.contains(trace), "the search finds {trace} while it is there");
    }

    let mut forgotten = 0;
    for (number, leaver) in leavers.iter().enumerate() {
        // By the person, by a manager; participants by their host.
        if number % 2 == 0 {
            leaver.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
        } else {
            let path = format!("/api/v1/users/{}", leaver.id);
            manager.delete_with(&path, &json!({"reason": "request"})).await.expect(204);
        }
        host.delete(&format!("/api/v1/participants/Eisvogel-{number}")).await.expect(204);
        if let Some(redis) = &test.redis {
            forgotten += usize::from(!redis_content(&redis.url()).await.contains(&leaver.email.to_lowercase()));
        }
    }
    if let Some(redis) = test.redis.as_ref().map(|redis| redis.url()) {
        // At once, as a rule; when Redis was too slow to be waited for, what it holds dies within a minute.
        assert!(forgotten > 0, "nothing was removed from Redis");
        eventually("Redis has forgotten", || async { !redis_content(&redis).await.contains("kolkrabe") }).await;
    }
    assert_eq!(totals().await, before);
    chain::run(test.app()).await.expect("a chain");
    let verified = verify::run(test.app(), Asked::default()).await.expect("a look");
    assert_eq!((verified.fault, verified.unproven), (None, 0));
    assert_eq!(test.number("select count(*) from audit where action = 'user_erased'").await, 24);
    // Once with the node at work, once after it has stopped.
    for _ in 0..2 {
        let content = everything(&test).await;
        assert!(content.contains("stayer11@example.com"), "the search finds those who stay");
        for trace in traces {
            assert!(!content.contains(trace), "{trace} is still there");
        }
        test.nodes.clear();
    }
}

/// All that is kept anywhere, as text in small letters: each column of each table, as it is and (bytes) in
/// hexadecimal; SQLite's file itself; Redis.
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
            let value = row[0].clone().unwrap_or_default();
            let bytes: Vec<u8> = hex(value.trim_start_matches("\\x")).unwrap_or_default();
            content += &format!("{table}.{column}: {value} {}\n", String::from_utf8_lossy(&bytes));
        }
    }
    if test.setup == Setup::Sqlite {
        let path = test.database_url.trim_start_matches("sqlite:");
        // Housekeeping leaves nothing of it in the log, unless somebody reads just then.
        eventually("the log is written back", || async {
            let Some(node) = test.nodes.first() else { return true };
            worker::clean(&node.app).await.expect("housekeeping");
            std::fs::metadata(format!("{path}-wal")).expect("the log").len() == 0
        })
        .await;
        for file in [path.to_owned(), format!("{path}-wal")] {
            content += &String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default());
        }
    }
    if let Some(redis) = &test.redis {
        content += &redis_content(&redis.url()).await;
    }
    content.to_lowercase()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

async fn redis_content(url: &str) -> String {
    let client = redis::Client::open(url).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    let mut content = String::new();
    for key in keys {
        // Whatever its kind is; it may expire between the two questions.
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("a text");
        content += &String::from_utf8_lossy(&key);
        content += &String::from_utf8_lossy(&value.unwrap_or_default());
    }
    content.to_lowercase()
}
