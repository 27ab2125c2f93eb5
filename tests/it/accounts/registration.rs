//! What a registration is refused for, and what is taken.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::paths::{ME, USER};

on_every_setup!(each_rule_of_registration_is_told_and_a_refused_one_writes_nothing);
async fn each_rule_of_registration_is_told_and_a_refused_one_writes_nothing(setup: Setup) {
    let test = setup.start().await;
    test.user("taken").await.create_code("AMSEL2030XYZ").await.expect(201);
    let before = rows(&test).await;
    for (field, value, status, sentence) in broken_registrations() {
        let mut body = newcomer();
        body[field] = json!(value);
        let answer = test.client().post(USER, &body).await;
        assert_eq!(answer.status, status, "{field} {value:?}: {answer:?}");
        let problem = answer.json();
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(detail.contains(sentence), "{field} {value:?}: {detail}");
        if status == 422 {
            assert_eq!(problem["errors"].as_array().expect("errors").len(), 1, "{field} {value:?}: {problem}");
            assert_eq!(problem["errors"][0]["loc"], json!(["body", field]), "{value:?}");
        }
        assert_eq!(rows(&test).await, before, "{field} {value:?} left something behind");
    }
    // Without the one fault the same registration passes: each fault was the reason.
    test.client().post(USER, &newcomer()).await.expect(201);
    assert_ne!(rows(&test).await, before);
}

on_every_setup!(all_faults_of_a_registration_are_told_at_once);
async fn all_faults_of_a_registration_are_told_at_once(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "a b", "email": "nobody", "password": "short", "code": 5});
    let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
    let mut places: Vec<String> =
        problem["errors"].as_array().expect("errors").iter().map(|error| error["loc"].to_string()).collect();
    places.sort();
    assert_eq!(
        places,
        [r#"["body","code"]"#, r#"["body","email"]"#, r#"["body","password"]"#, r#"["body","username"]"#]
    );
}

on_every_setup!(passwords_of_12_and_of_128_characters_pass_whole);
/// The borders belong to the rule, and no password is cut: the last of 128 characters counts.
async fn passwords_of_12_and_of_128_characters_pass_whole(setup: Setup) {
    let test = setup.start().await;
    let long = "Zaunkoenig-7".repeat(10) + "Amsel-88";
    let wide: String = "𝄞𝄢𝄡𝄪𝄫".chars().cycle().take(128).collect();
    for (name, password) in [("a1", "Zaunkoenig-7"), ("a2", long.as_str()), ("a3", wide.as_str())] {
        let body = json!({"username": name, "email": format!("{name}@example.com"), "password": password});
        test.client().post(USER, &body).await.expect(201);
        test.client().log_in(name, password).await.expect(200);
        let mut almost: Vec<char> = password.chars().collect();
        almost.pop();
        almost.push('?');
        let almost: String = almost.into_iter().collect();
        test.client().log_in(name, &almost).await.expect_problem(401, "bad_credentials");
    }
    let address = format!("{}@{}.{}.com", "a".repeat(60), "b".repeat(63), "c".repeat(21));
    let body = json!({"username": "u".repeat(50), "email": address, "password": PASSWORD});
    test.client().post(USER, &body).await.expect(201);
}

on_every_setup!(the_least_length_of_a_password_is_the_operators);
async fn the_least_length_of_a_password_is_the_operators(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_ACCOUNTS_MIN_PASSWORD_LENGTH", "15")]).await;
    let mut body = newcomer();
    body["password"] = json!("Zaunkoenig-789");
    let refused = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
    assert_eq!(refused["detail"], "password: A password has at least 15 characters");
    body["password"] = json!("Zaunkoenig-7890");
    test.client().post(USER, &body).await.expect(201);
    let mut user = test.client();
    user.take_tokens(&user.log_in("newcomer", "Zaunkoenig-7890").await.expect(200));
    let change = json!({"current_password": "Zaunkoenig-7890", "new_password": "Rotkehlchen-15"});
    let refused = user.post("/api/v1/me/password", &change).await.expect_problem(422, "invalid").json();
    assert_eq!(refused["detail"], "new_password: A password has at least 15 characters");
}

on_every_setup!(look_alikes_of_a_taken_name_or_address_are_taken);
async fn look_alikes_of_a_taken_name_or_address_are_taken(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "Straße", "email": "Zaunkoenig@Почта.рф", "password": PASSWORD});
    test.client().post(USER, &body).await.expect(201);
    for name in ["straße", "STRASSE", "Ｓｔｒａßｅ", "strasse"] {
        let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
        test.client().post(USER, &body).await.expect_problem(409, "username_taken");
    }
    for address in ["zaunkoenig@почта.рф", "ZAUNKOENIG@XN--80A1ACNY.XN--P1AI", "ｚaunkoenig＠почта.рф"]
    {
        let body = json!({"username": "other", "email": address, "password": PASSWORD});
        test.client().post(USER, &body).await.expect_problem(409, "email_taken");
    }
    assert_eq!(test.number("select count(*) from users").await, 1);
}

on_every_setup!(of_twenty_who_want_one_name_or_address_at_once_one_gets_it);
async fn of_twenty_who_want_one_name_or_address_at_once_one_gets_it(setup: Setup) {
    let test = setup.start().await;
    let client = test.client();
    for (field, code) in [("username", "username_taken"), ("email", "email_taken")] {
        let asked = (0..20).map(|number| {
            let mut body = json!({
                "username": format!("{field}{number}"),
                "email": format!("{field}{number}@example.com"),
                "password": PASSWORD,
            });
            body[field] = json!(if field == "email" { "wanted@example.com" } else { "wanted" });
            let client = client.clone();
            async move { client.post(USER, &body).await }
        });
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{field}");
        for refused in answers.into_iter().filter(|answer| answer.status != 201) {
            refused.expect_problem(409, code);
        }
    }
    assert_eq!(test.number("select count(*) from users").await, 2);
    assert_eq!(test.number("select count(*) from logins").await, 4);
}

on_every_setup!(codes_in_path_and_body_must_agree_in_any_spelling);
async fn codes_in_path_and_body_must_agree_in_any_spelling(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("SPOLIO123XYZ").await.expect(201);
    let register = async |name: &str, path: &str, code: Value| {
        let body =
            json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "code": code});
        test.client().post(&format!("{USER}/{path}"), &body).await
    };
    for (path, code) in
        [("SPOLIO123XYZ", "SPOLIO124XYZ"), ("nonsense", "SPOLIO123XYZ"), ("SPOLIO123XYZ", ""), ("x", "y")]
    {
        let problem = register("other", path, json!(code)).await.expect_problem(422, "invalid").json();
        assert_eq!(problem["errors"][0]["loc"], json!(["body", "code"]));
        assert_eq!(problem["errors"][0]["type"], "code_mismatch");
    }
    register("other", "nonsense", json!("nonsense")).await.expect_problem(404, "code_not_usable");
    assert_eq!(test.number("select count(*) from users").await, 1);
    register("same", "SPOLIO123XYZ", json!("SPOLIO123XYZ")).await.expect(201);
    register("spoken", "spolio123xyz", json!("SP0L10I23XYZ")).await.expect(201);
    register("alone", "Spolio123Xyz", Value::Null).await.expect(201);
    assert_eq!(owner.get(ME).await.expect(200).json()["referral_count"], 3);
}

/// A registration that is fine, of somebody whose name, address and host are three words.
fn newcomer() -> Value {
    json!({"username": "newcomer", "email": "somebody@postbox.example", "password": PASSWORD})
}

/// Each a field of [`newcomer`] with a fault, with the status and a part of the sentence it is refused with.
fn broken_registrations() -> Vec<(&'static str, String, u16, &'static str)> {
    let invalid = "The value is not a valid e-mail address";
    let domain = "The domain of the e-mail address is not valid";
    let letters = "A user name holds only letters, digits and . @ + - _";
    let own = "A user name that is an e-mail address must be your own address";
    let much = "A password has at most 128 characters and 1024 bytes";
    let common = "This password is too common";
    let long_address = format!("{}@{}.{}.com", "a".repeat(60), "b".repeat(63), "c".repeat(22));
    let faults: Vec<(&'static str, &str, u16, &'static str)> = vec![
        ("email", &long_address, 422, "An e-mail address has at most 150 characters"),
        ("email", "", 422, "An e-mail address must have an @-sign"),
        ("email", "somebody", 422, "An e-mail address must have an @-sign"),
        ("email", "@postbox.example", 422, invalid),
        ("email", "somebody@", 422, domain),
        ("email", "somebody@localhost", 422, invalid),
        ("email", "some body@postbox.example", 422, invalid),
        ("email", "somebody@@postbox.example", 422, invalid),
        ("email", "some..body@postbox.example", 422, invalid),
        ("email", "somebody@post box.example", 422, domain),
        ("email", "somebody@-postbox.example", 422, domain),
        ("email", "somebody@[127.0.0.1]", 422, domain),
        ("email", "\"some body\"@postbox.example", 422, invalid),
        ("email", "Somebody <somebody@postbox.example>", 422, invalid),
        ("email", "some\u{0}body@postbox.example", 422, invalid),
        ("email", "somebody\n@postbox.example", 422, invalid),
        ("email", "some\u{7f}body@postbox.example", 422, invalid),
        ("email", "some\u{202e}body@postbox.example", 422, "An e-mail address has no invisible characters"),
        ("email", "somebody@post\u{0}box.example", 422, domain),
        ("email", "somebody@postbox.example\r\nx", 422, domain),
        ("email", "taken@example.com", 409, "Email already registered"),
        ("email", "TAKEN@Example.com", 409, "Email already registered"),
        ("username", "", 422, "A user name cannot be empty"),
        (
            "username",
            "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
            422,
            "A user name has at most 50 characters",
        ),
        // One character that stands for eighteen.
        ("username", "\u{fdfa}\u{fdfa}\u{fdfa}", 422, "A user name"),
        ("username", "new comer", 422, letters),
        ("username", "new/comer", 422, letters),
        ("username", "<newcomer>", 422, letters),
        ("username", "new\u{0}comer", 422, letters),
        ("username", "new\tcomer", 422, letters),
        ("username", "new\u{200b}comer", 422, "A user name has no invisible characters"),
        ("username", "new\u{202e}comer", 422, "A user name has no invisible characters"),
        ("username", "taken@example.com", 422, own),
        ("username", "stranger@example.org", 422, own),
        ("username", "taken", 409, "Username already taken"),
        ("username", "TAKEN", 409, "Username already taken"),
        ("password", "", 422, "A password has at least 12 characters"),
        ("password", "Q123werty!2", 422, "A password has at least 12 characters"),
        ("password", "ILoveYou1234", 422, common),
        ("password", "aaaaaaaaaaaaaaaa", 422, common),
        ("password", "qwertyuiopasdf", 422, common),
        ("password", "the-NEWCOMER-is-here", 422, "A password must not hold your user name"),
        ("password", "a-Somebody-is-here", 422, "A password must not hold your e-mail address"),
        ("password", "a-PostBox-is-here", 422, "A password must not hold your e-mail address"),
        ("password", "a-REFERRAL-is-here", 422, "A password must not hold the name of this service"),
        ("code", "AMSEL2031XYZ", 404, "Referral code not found or expired"),
        ("code", "nonsense", 404, "Referral code not found or expired"),
        ("code", "", 404, "Referral code not found or expired"),
        ("code", "AMSEL2030XYZ\u{0}", 404, "Referral code not found or expired"),
    ];
    let mut faults: Vec<_> =
        faults.into_iter().map(|(field, value, status, says)| (field, value.to_owned(), status, says)).collect();
    // One more than is taken: of plain characters, and of the widest there are.
    faults.push(("password", "Zaunkoenig-7".repeat(10) + "Amsel-881", 422, much));
    faults.push(("password", "𝄞𝄢𝄡𝄪𝄫".repeat(52), 422, much));
    faults
}

/// What a registration adds to, counted.
async fn rows(test: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["users", "logins", "referrals", "jobs", "code_strings", "changes", "token_families"] {
        counts.push(test.number(&format!("select count(*) from {table}")).await);
    }
    counts
}
