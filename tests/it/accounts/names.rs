//! Names and addresses of the world, and which of them are the same.

use serde_json::json;

use super::helpers::WRONG;
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::paths::{ME, USER};

on_every_setup!(people_of_all_scripts_register_are_shown_as_they_typed_and_log_in);
async fn people_of_all_scripts_register_are_shown_as_they_typed_and_log_in(setup: Setup) {
    let test = setup.start().await;
    for (number, name) in [
        "प्रिया",
        "विश्वनाथ",
        "தமிழ்ச்செல்வி",
        "ศักดิ์สิทธิ์",
        "น้ำฝน",
        "দীপ্তি",
        "Ọláyínká",
        "Adébọ̀wálé",
        "Straße",
        "김철수",
        "דוד",
        "محمد",
        "名前",
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("person{number}@example.com");
        let body = json!({"username": name, "email": email, "password": PASSWORD});
        let made = test.client().post(USER, &body).await.expect(201).json();
        // What these keyboards send is NFC, or becomes it.
        assert_eq!(made["username"].as_str(), Some(&*nfc(name)), "{name}");
        test.client().log_in(name, PASSWORD).await.expect(200);
        let again = json!({"username": name, "email": format!("other{number}@example.com"), "password": PASSWORD});
        test.client().post(USER, &again).await.expect_problem(409, "username_taken");
    }
    // Yoruba, typed in another way.
    test.client()
        .log_in("A\u{64}\u{65}\u{301}b\u{6f}\u{323}\u{300}w\u{61}\u{301}l\u{65}\u{301}", PASSWORD)
        .await
        .expect(200);
    let addresses = ["संपर्क@डाटामेल.भारत", "ผู้ใช้@ตัวอย่าง.ไทย", "Adébọ̀wálé@example.com"];
    for (number, address) in addresses.into_iter().enumerate() {
        let body = json!({"username": format!("user{number}"), "email": address, "password": PASSWORD});
        let made = test.client().post(USER, &body).await.expect(201).json();
        assert_eq!(
            made["email"].as_str().and_then(|text| text.split('@').next()),
            Some(&*nfc(address.split('@').next().expect("a name")))
        );
        let mut client = test.client();
        client.take_tokens(&client.log_in(address, PASSWORD).await.expect(200));
        assert_eq!(client.get(ME).await.expect(200).json()["username"], json!(format!("user{number}")));
        let again = json!({"username": "other", "email": address, "password": PASSWORD});
        test.client().post(USER, &again).await.expect_problem(409, "email_taken");
    }
}

on_every_setup!(nobody_hides_behind_what_shows_nothing);
async fn nobody_hides_behind_what_shows_nothing(setup: Setup) {
    let test = setup.start().await;
    test.client().register("admin7", None).await.expect(201);
    for hidden in [
        '\u{2800}',
        '\u{fffc}',
        '\u{13441}',
        '\u{16fe4}',
        '\u{1d159}',
        '\u{115f}',
        '\u{1160}',
        '\u{3164}',
        '\u{ffa0}',
        '\u{ad}',
        '\u{34f}',
        '\u{200b}',
        '\u{200c}',
        '\u{200d}',
        '\u{2060}',
        '\u{fe0f}',
        '\u{e0061}',
    ] {
        for name in [format!("admin7{hidden}"), format!("{hidden}admin7"), format!("ad{hidden}min7")] {
            let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
            let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
            assert_eq!(problem["detail"], "username: A user name has no invisible characters", "{name:?}");
            let body = json!({"username": "other", "email": format!("{name}@example.com"), "password": PASSWORD});
            let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
            assert_eq!(problem["detail"], "email: An e-mail address has no invisible characters", "{name:?}");
        }
    }
    for (name, why) in [
        ("\u{301}admin7", "A user name does not begin with a combining mark"),
        ("\u{93e}admin", "A user name does not begin with a combining mark"),
        ("admin7\u{17d2}", "A user name has each combining mark on a letter of its script"),
        ("admi\u{307}n7", "A user name has each combining mark on a letter of its script"),
        ("admin\u{5d0}", "A user name does not mix letters of both directions"),
    ] {
        let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
        let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
        assert_eq!(problem["detail"], json!(format!("username: {why}")));
    }
    for local in ["admin7\u{17d2}", "admi\u{307}n7"] {
        let body = json!({"username": "other", "email": format!("{local}@example.com"), "password": PASSWORD});
        test.client().post(USER, &body).await.expect_problem(422, "invalid");
    }
    assert_eq!(test.number("select count(*) from users").await, 1);
}

on_every_setup!(no_name_becomes_the_address_of_somebody_else);
/// Folding makes ss of ß, and so an address of a domain in ASCII of what is none: whoever had it as a name would be
/// found by another's address.
async fn no_name_becomes_the_address_of_somebody_else(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "chef@xn--maß-epa.com", "email": "me@example.com", "password": PASSWORD});
    let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
    assert_eq!(problem["detail"], json!("username: A user name that is an e-mail address must be your own address"));
    // Of an older version, there may be one.
    let (chef, me) = (test.user("chef").await, test.user("me").await);
    me.create_code("SPRING2030AB").await.expect(201);
    let lookup = json!({"email": "chef@massé.com"});
    test.sql("update logins set login_key = 'chef@xn--mass-epa.com' where login_key = 'me'").await;
    chef.post("/api/v1/codes/lookup", &lookup).await.expect_problem(404, "no_active_code");
    chef.post("/api/v1/codes/lookup", &json!({"email": "me@example.com"})).await.expect(200);
}

on_every_setup!(keys_that_are_stored_stay_and_are_looked_for_first);
/// Whoever has registered by former rules goes on logging in, with what others cannot register any more.
async fn keys_that_are_stored_stay_and_are_looked_for_first(setup: Setup) {
    let test = setup.start().await;
    let plain = test.user("admin7").await;
    for (number, (name, address)) in [
        ("admin7\u{115f}", "admin7\u{115f}@example.com"),
        ("م\u{640}", "me\u{1160}@example.com"),
        ("abcד", "\u{93e}me@example.com"),
        ("ↀ", "user3@example.com"),
    ]
    .into_iter()
    .enumerate()
    {
        let user = test.user(&format!("user{number}")).await;
        for sql in [
            format!("update logins set login_key = '{name}' where login_key = 'user{number}'"),
            format!("update logins set login_key = '{address}' where login_key = 'user{number}@example.com'"),
            format!(
                "update users set username = '{name}', name_key = '{name}', email = '{address}', \
                 email_key = '{address}' where username = 'user{number}'"
            ),
        ] {
            test.sql(&sql).await;
        }
        for typed in [name, address] {
            let mut client = test.client();
            client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
            assert_eq!(client.get(ME).await.expect(200).json()["id"], json!(user.id), "{typed:?}");
        }
        user.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
        test.client().log_in(address, PASSWORD).await;
    }
    // Now that nobody has it, what shows nothing makes no difference to whoever logs in.
    for typed in ["admin7", "admin7\u{115f}", "ad\u{200b}min7", "admin7\u{200b}@example.com"] {
        let mut client = test.client();
        client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
        assert_eq!(client.get(ME).await.expect(200).json()["id"], json!(plain.id), "{typed:?}");
    }
}

on_every_setup!(what_shows_nothing_buys_no_guesses);
/// Else there would be a budget of guesses for each place in a name where something can be hidden.
async fn what_shows_nothing_buys_no_guesses(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    test.client().register("user", None).await.expect(201);
    let typed = |turn: usize| format!("us{}er", "\u{200b}".repeat(turn));
    let mut statuses = Vec::new();
    for turn in 0..12 {
        statuses.push(test.client().log_in(&typed(turn), WRONG).await.status);
    }
    assert!(statuses.iter().filter(|status| **status == 401).count() <= 6, "{statuses:?}");
    assert!(statuses.ends_with(&[429, 429, 429]), "{statuses:?}");
}

fn nfc(text: &str) -> String {
    referral::kernel::fold::nfc(text)
}
