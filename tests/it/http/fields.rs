//! What fields and queries may hold, and what callers get for what they may not.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::helpers::{invalid, rows};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Answer, PASSWORD};
use crate::support::operations::{each, operations, with_bodies, with_field};
use crate::support::paths::{CODES, ME, TOKEN, USER, VALIDATE};
use crate::support::visit::Visit;

on_every_setup!(odd_texts_in_any_field_are_refused_and_nothing_is_written);
/// Texts that databases, headers and the unwary choke on.
async fn odd_texts_in_any_field_are_refused_and_nothing_is_written(setup: Setup) {
    let test = setup.start().await;
    let user = test.manager("user").await;
    let before = rows(&test).await;
    let long = format!("\"{}\"", "x".repeat(60_000));
    let odd = r#"""|"\u0000"|"a\u0000b"|"\u001f\u007f"|"\ufffe\uffff"|"\u202e\u2066"|"%00%ff"|"' or 1=1"|"a\r\na""#;
    let halves = r#""\ud800"|"a\udfffb"|"\udc00\ud800"|"\ud800\u0041""#;
    for operation in with_bodies(&user) {
        for body in operation.bodies() {
            for (field, _) in
                operation.fields_of(&body).filter(|(_, schema)| !schema["type"].to_string().contains("boolean"))
            {
                for value in each(odd).chain([long.as_str()]) {
                    let answer = operation.send(&user, with_field(&body, field, value)).await;
                    // Whether nonsense is a good code is a question that has an answer.
                    let valid = answer.status == 200 && answer.json()["valid"] == json!(false);
                    // So is the question who is called so.
                    let found = operation.name == "search_users" && answer.status == 200;
                    let told = valid || (found && answer.json()["items"] == json!([]));
                    assert!(
                        told || (400..500).contains(&answer.status),
                        "{} {field} {value:.40}: {answer:?}",
                        operation.name
                    );
                }
                // Half of a surrogate pair is no text in any encoding.
                for value in each(halves) {
                    let answer = operation.send(&user, with_field(&body, field, value)).await;
                    invalid(&format!("{} {field} {value}", operation.name), &answer, &["body"]);
                }
            }
        }
    }
    assert_eq!(rows(&test).await, before);
}

on_every_setup!(of_a_key_that_is_given_twice_the_last_counts);
async fn of_a_key_that_is_given_twice_the_last_counts(setup: Setup) {
    let test = setup.start().await;
    let client = test.client();
    let body = r#"{"username": "first", "email": "a@test.ru", "username": "second", "password": "Q123werty!23"}"#;
    let user = client.post_raw(USER, "application/json", body).await.expect(201).json();
    assert_eq!(user["username"], "second");
    let form = format!("username=first&password=x&username=second&password={PASSWORD}");
    client.post_form(TOKEN, &form).await.expect(200);
    let garbage = "username=second&password=%ff%00%zz&username=%ff";
    client.post_form(TOKEN, garbage).await.expect_problem(401, "bad_credentials");
}

on_every_setup!(unknown_fields_set_nothing);
/// What a caller may not decide is not decided by naming it.
async fn unknown_fields_set_nothing(setup: Setup) {
    let test = setup.start().await;
    let other = test.user("other").await;
    let wishes = json!({
        "id": "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11", "user_id": other.id, "user": {"id": other.id},
        "is_manager": true, "is_admin": true, "manager": true, "role": "manager", "roles": ["user", "manager"],
        "__proto__": {"is_manager": true}, "discoverable": false, "email_verdict": "valid", "verdict": "valid",
        "disabled_at": 1, "erased_at": 1, "created_at": "2001-01-01T00:00:00Z", "password_hash": "x",
        "referred_by": other.id, "referrer_id": other.id, "referral_count": 1000, "status": "confirmed",
        "active_code": "ADMIN2030XYZ", "is_active": false, "ordinal": 7, "version": 7, "replace": true,
        "scope": "everything", "client_id": "other", "expires_in": 1_000_000,
    });
    let with = |known: Value| {
        let mut body = wishes.clone();
        body.as_object_mut().expect("an object").extend(known.as_object().expect("an object").clone());
        body
    };
    let body = with(json!({"username": "user", "email": "user@example.com", "password": PASSWORD}));
    let made = other.anonymous().post(USER, &body).await.expect(201).json();
    assert_ne!(made["id"], wishes["id"]);
    let body = with(json!({"username": "user", "password": PASSWORD}));
    let logged_in = other.anonymous().post(TOKEN, &body).await.expect(200);
    assert_eq!(logged_in.json()["expires_in"], 600);
    let mut user = test.client();
    user.take_tokens(&logged_in);
    let me = user.get(ME).await.expect(200).json();
    assert!(me["created_at"].as_str().expect("a time") > "2020");
    let mut expected = json!({
        "id": made["id"], "username": "user", "email": "user@example.com", "roles": ["user"], "discoverable": true,
        "email_verdict": "unchecked", "name": null, "referred_by": null, "referral_count": 0, "active_code": null,
        "created_at": me["created_at"],
    });
    assert_eq!(me, expected);

    let changes = with(json!({
        "discoverable": false, "username": "other-name", "email": "other@new.example", "password": "Zaunkoenig-7",
    }));
    expected["discoverable"] = json!(false);
    assert_eq!(user.patch(ME, &changes).await.expect(200).json(), expected);
    assert_eq!(user.get(ME).await.expect(200).json(), expected);
    user.log_in("user", PASSWORD).await.expect(200);

    let body = with(json!({"code": "AMSEL2030XYZ", "expires_at": "2099-01-01"}));
    let code = user.post(CODES, &body).await.expect(201).json();
    assert_eq!(
        (&code["user_id"], &code["is_active"], &code["code"]),
        (&made["id"], &json!(true), &json!("AMSEL2030XYZ"))
    );
    // Not even what the query may say.
    let second = with(json!({"code": "AMSEL2031XYZ", "expires_at": "2099-01-01"}));
    user.post(CODES, &second).await.expect_problem(409, "active_code_exists");
    assert_eq!(other.get(CODES).await.expect(200).json()["total"], 0);
    let marked = "select count(*) from users where is_manager or disabled_at is not null or erased_at is not null";
    assert_eq!(test.number(marked).await, 0);
    assert_eq!(test.query("select distinct client_id from token_families").await, [[Some("referral".to_owned())]]);
}

on_every_setup!(dates_that_are_none_are_refused_and_take_no_code);
async fn dates_that_are_none_are_refused_and_take_no_code(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let with = |date: Value| json!({"code": "AMSEL2030XYZ", "expires_at": date});
    for date in each(
        "| |tomorrow|now|infinity|NaN|0|1797993482|4102444800000|-1|2099|2099-10|2099-13-01|2099-00-10|2099-10-00|\
         2099-10-32|2099-02-29|2099-02-30|2099-04-31|0000-01-01|0000-12-31T23:59:59Z|10000-01-01|+10000-01-01|\
         +2099-01-01|-2099-01-01|99-01-01|2099-1-1|2099/10/10|10.10.2099|20991010|2099-W41-4|2099-283|2099-10-10T|\
         2099-10-10T12|2099-10-10T24:00|2099-10-10T24:00:00Z|2099-10-10T12:60|9999-12-31T23:59:60|\
         2099-10-10T12:00:61Z|2099-10-10T12:00:00.|2099-10-10T12:00:00.1234567890|2099-10-10T12:00:00,5|\
         2099-10-10T12:00:00ZZ|2099-10-10T12:00:00Z junk|2099-10-10T12:00:00+24:00|2099-10-10T12:00:00+99:99|\
         2099-10-10T12:00:00+1|2099-10-10T12:00:00 UTC|2099-10-10_12:00|2099-10-10  12:00|2099-10-10 | 2099-10-10|\
         2099-10-10\u{0}|2099-10-10T12:00\u{0}Z|9999-12-31T23:59:59-01:00|0001-01-01T00:00+01:00|２０９９-10-10|\
         ٢٠٩٩-10-10|2099−10−10|2099-10-10T12:00:00Z[Europe/Moscow]|Thu, 01 Jan 2099 00:00:00 GMT|%32099-10-10",
    ) {
        invalid(date, &user.post(CODES, &with(json!(date))).await, &["body", "expires_at"]);
    }
    for number in [json!(4_102_444_800_i64), json!(4.1e9), json!(-1), json!(0)] {
        invalid("a number", &user.post(CODES, &with(number)).await, &["body", "expires_at"]);
    }
    for past in ["0001-01-01", "1969-12-31T23:59:59.999999Z", "1970-01-01", "2023-10-10 12:00"] {
        user.post(CODES, &with(json!(past))).await.expect_problem(400, "expires_in_past");
    }
    // The last moment there is; and the code was not used up by all of the above.
    let last = json!("9999-12-31T23:59:59.999999Z");
    assert_eq!(user.post(CODES, &with(last.clone())).await.expect(201).json()["expires_at"], last);
    assert_eq!(user.get(ME).await.expect(200).json()["active_code"]["expires_at"], last);
}

on_every_setup!(times_of_other_programs_are_read);
/// As .NET, Go and Java write them, and with a leap second.
async fn times_of_other_programs_are_read(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    for (written, read) in [
        ("2099-10-10T12:00:00.1234567Z", "2099-10-10T12:00:00.123456Z"),
        ("2099-10-10T12:00:00.123456789+03:00", "2099-10-10T09:00:00.123456Z"),
        ("2099-10-10 12:00:00.120000000", "2099-10-10T12:00:00.12Z"),
        ("2099-12-31T23:59:60Z", "2100-01-01T00:00:00Z"),
        ("2099-12-31T23:59:60.5+00:00", "2100-01-01T00:00:00.5Z"),
    ] {
        let made = user.post("/api/v1/codes?replace=true", &json!({"expires_at": written})).await.expect(201);
        assert_eq!(made.json()["expires_at"], read, "{written}");
    }
}

on_every_setup!(blanks_around_names_addresses_and_codes_are_cut);
/// What fingers and clipboards leave around a text is not part of it, in JSON, in forms and in paths.
async fn blanks_around_names_addresses_and_codes_are_cut(setup: Setup) {
    let test = setup.start().await;
    let anybody = test.client();
    let body = json!({"username": " olga\t", "email": "\u{a0}olga@example.com\r\n", "password": PASSWORD});
    let made = anybody.post(USER, &body).await.expect(201).json();
    assert_eq!((&made["username"], &made["email"]), (&json!("olga"), &json!("olga@example.com")));
    let taken = json!({"username": "olga ", "email": "other@example.com", "password": PASSWORD});
    anybody.post(USER, &taken).await.expect_problem(409, "username_taken");
    for name in [" olga", "olga@example.com ", "\u{3000}OLGA\n"] {
        anybody.log_in(name, PASSWORD).await.expect(200);
    }
    anybody.post_form(TOKEN, "username=+olga+&password=Q123werty%2123").await.expect(200);
    // A password is what was typed.
    anybody.log_in("olga", &format!("{PASSWORD} ")).await.expect_problem(401, "bad_credentials");

    let olga = anybody.logged_in("olga").await;
    let code = json!({"code": " SPRING2030AB\n", "expires_at": "2099-01-01"});
    assert_eq!(olga.post(CODES, &code).await.expect(201).json()["code"], "SPRING2030AB");
    olga.get("/api/v1/codes/%20olga@example.com%20").await.expect(200);
    olga.post("/api/v1/codes/lookup", &json!({"email": "olga@example.com "})).await.expect(200);
    let mut visit = Visit::new(&anybody.base);
    let page = visit.get("/oauth/register").await.expect(200);
    let typed = [("username", " ivan "), ("email", " ivan@example.com"), ("password", PASSWORD)];
    let typed = [&typed[..], &[("code", " SPRING2030AB ")]].concat();
    visit.submit(&page.form("/oauth/register"), &typed).await.expect(303);
    // A field of blanks is an empty one.
    let mut visit = Visit::new(&anybody.base);
    let typed = [("username", "anna"), ("email", "anna@example.com"), ("password", PASSWORD), ("code", "  ")];
    let page = visit.get("/oauth/register").await.expect(200);
    visit.submit(&page.form("/oauth/register"), &typed).await.expect(303);
    assert_eq!(test.number("select count(*) from users where username in ('olga', 'ivan', 'anna')").await, 3);
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

on_every_setup!(a_code_is_found_as_it_was_copied);
/// However a code was passed on, it is that code: for a registration, a question and its end.
async fn a_code_is_found_as_it_was_copied(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let copies =
        ["SPRING-2030-AB", "spring 2030 ab", "SPRING2030AB.", "\u{200b}SPRING2030AB\u{feff}", "SPRING\u{2011}2030AB\n"];
    for (place, copy) in copies.iter().enumerate() {
        test.client().register(&format!("guest{place}"), Some(copy)).await.expect(201);
        assert_eq!(owner.post(VALIDATE, &json!({"code": copy})).await.expect(200).json()["valid"], true);
    }
    let body = json!({"username": "guest", "email": "guest@example.com", "password": PASSWORD, "code": copies[1]});
    test.client().post("/api/v1/auth/user/SPRING-2030-AB.", &body).await.expect(201);
    assert_eq!(test.number("select count(*) from referrals").await, 6);
    // A string is used once in all of its forms; none but the plain one is made.
    owner.create_code("SUMMER-2030-AB").await.expect_problem(422, "invalid");
    owner.revoke_code("spring-2030-ab").await.expect(204);
}

on_every_setup!(a_registration_may_call_its_code_referral_code);
/// A program that spells the field another way does not lose the referral.
async fn a_registration_may_call_its_code_referral_code(setup: Setup) {
    let test = setup.start().await;
    test.user("owner").await.create_code("SPRING2030AB").await.expect(201);
    let register = async |name: &str, path: &str, more: Value| {
        let mut body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        test.client().post(path, &body).await
    };
    register("one", USER, json!({"referral_code": "SPRING2030AB"})).await.expect(201);
    register("two", USER, json!({"referral_code": "spring2030ab", "code": "SPRING2030AB"})).await.expect(201);
    register("three", USER, json!({"referral_code": null, "code": "SPRING2030AB"})).await.expect(201);
    let path = format!("{USER}/SPRING2030AB");
    register("four", &path, json!({"referral_code": "SPRING2030AB"})).await.expect(201);
    assert_eq!(test.number("select count(*) from referrals").await, 4);
    let other = json!({"referral_code": "SUMMER2030AB"});
    register("five", USER, other.clone()).await.expect_problem(404, "code_not_usable");
    invalid("another in the path", &register("five", &path, other).await, &["body", "code"]);
    let both = json!({"referral_code": "SUMMER2030AB", "code": "SPRING2030AB"});
    invalid("another beside it", &register("five", USER, both).await, &["body", "referral_code"]);
    invalid("no text", &register("five", USER, json!({"referral_code": 7})).await, &["body", "referral_code"]);
    assert_eq!(test.number("select count(*) from users").await, 5);
}

on_every_setup!(parts_of_lists_that_cannot_be_are_refused_and_far_ones_are_empty);
async fn parts_of_lists_that_cannot_be_are_refused_and_far_ones_are_empty(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    user.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    let long = "A".repeat(5000);
    let numbers = each(
        "0|-1|-0|9223372036854775808|-9223372036854775809|99999999999999999999999999|1.0|1e3|0x10||+| |abc|NaN|\
         null|true|1,2|%D9%A1|1%00|%ff|[]",
    );
    let sizes = numbers.clone().chain(each("101|1000000|9223372036854775807"));
    let cursors = each(
        "|x|AAAAAAAAADI%3D|AAAAAAAAAD|AAAAAAAAADIA|__________8|gAAAAAAAAAA|%00|%ff|1|null|AAAAAAAAADI%20|\
         AAAAAAAA+DI",
    );
    for path in [CODES.to_owned(), format!("/api/v1/users/{}", user.id), format!("/api/v1/users/{}/referrals", user.id)]
    {
        let whole = user.get(&path).await.expect(200).json();
        assert_eq!(whole["total"], 1, "{path}");
        let asked = numbers.clone().map(|text| ("page", text));
        let asked = asked.chain(sizes.clone().map(|text| ("size", text)));
        for (name, text) in asked.chain(cursors.clone().chain([long.as_str()]).map(|text| ("cursor", text))) {
            let answer = user.get(&format!("{path}?{name}={text}")).await;
            invalid(&format!("{path} {name}={text:.40}"), &answer, &["query", name]);
        }
        let both = user.get(&format!("{path}?page=1&cursor=AAAAAAAAADI")).await;
        invalid(&path, &both, &["query", "cursor"]);
        let all = user.get(&format!("{path}?page=x&size=0&cursor=x")).await.expect_problem(422, "invalid").json();
        assert_eq!(all["errors"].as_array().expect("errors").len(), 3, "{all}");

        for far in each(
            "page=2|page=9223372036854775807|page=9223372036854775807&size=100|page=92233720368547758&size=100|\
             cursor=f_________8|cursor=f_________8&size=100",
        ) {
            let part = user.get(&format!("{path}?{far}")).await.expect(200).json();
            assert_eq!(
                (&part["items"], &part["total"], &part["next_cursor"]),
                (&json!([]), &json!(1), &Value::Null),
                "{far}"
            );
        }
        // Unknown parameters are ignored, of a known one the last counts.
        let part = user.get(&format!("{path}?page=x&page=1&limit=0&offset=-1&%00=%ff&=&&")).await.expect(200).json();
        assert_eq!(part["items"], whole["items"]);
    }
    for flag in each("yes|2||null|%00|truefalse") {
        let body = json!({"code": "AMSEL2031XYZ", "expires_at": "2099-01-01"});
        invalid(flag, &user.post(&format!("{CODES}?replace={flag}"), &body).await, &["query", "replace"]);
    }
    assert_eq!(user.get(ME).await.expect(200).json()["active_code"]["code"], "AMSEL2030XYZ");
}

on_every_setup!(no_refusal_repeats_what_was_sent);
/// Neither a value nor a secret comes back in a refusal, wherever it was sent.
async fn no_refusal_repeats_what_was_sent(setup: Setup) {
    const MARK: &str = "zqmark2030";
    let test = setup.start().await;
    let (user, stranger) = (test.user("user").await, test.client());
    let mut refusals = 0;
    let mut check = |place: String, answer: &Answer| {
        if answer.status >= 400 {
            refusals += 1;
            let said = format!("{:?} {}", answer.headers, answer.text).to_lowercase();
            assert!(!said.contains(MARK), "{place}: {answer:?}");
        }
    };
    let marked = |list: &str| -> Vec<String> { each(list).map(|text| text.replace("MARK", MARK)).collect() };
    let values = [
        marked(r#""MARK"|"MARK MARK\u0000"|"MARK@MARK"|"MARK@example.com"|"ZQMARK2030XYZ"|"\ud800MARK"|MARK"#),
        marked(r#""MARKMARKMARKMARKMARKMARKMARKMARKMARKMARKMARKMARKMARK"|["MARK"]|{"MARK": "MARK"}"#),
    ]
    .concat();
    let bodies = marked(r#"{"MARK": "MARK"}|{"MARK|{"a": MARK}|MARK|["MARK"]|"MARK""#);
    let words = marked("MARK|MARK%00|MARK%ff|MARK@MARK|MARK@example.com|ZQMARK2030XYZ");
    for operation in operations(&user) {
        let name = &operation.name;
        for body in operation.bodies() {
            for (field, _) in operation.fields_of(&body) {
                for value in &values {
                    let answer = operation.send(&user, with_field(&body, field, value)).await;
                    check(format!("{name} {field} {value}"), &answer);
                }
            }
        }
        if !operation.fields.is_empty() {
            for text in &bodies {
                check(format!("{name} {text}"), &operation.send(&user, text.clone()).await);
            }
            let request = user.request(operation.method.clone(), &operation.path);
            let request = request.header(CONTENT_TYPE, format!("text/{MARK}")).body("{}");
            check(format!("{name} content type"), &user.send(request).await);
        }
        // Not the one that ends the session: what came after it would be refused for that.
        for word in words.iter().filter(|_| name != "log_out") {
            let in_path = operation.template.replace("{code}", word).replace("{referrer_id}", word);
            let in_query =
                format!("{}?page={word}&size={word}&cursor={word}&replace={word}&{word}={word}", operation.path);
            for path in [in_path, in_query] {
                let request = user.request(operation.method.clone(), &path);
                let body = operation.bodies().first().map_or_else(String::new, Value::to_string);
                check(format!("{name} {path}"), &user.send(request.body(body)).await);
            }
        }
        for authorization in marked("Bearer MARK|Basic MARK|MARK") {
            let mut request = stranger.request(operation.method.clone(), &operation.path);
            request = request.header("authorization", &authorization);
            for header in
                each("cookie|x-request-id|x-forwarded-for|user-agent|origin|referer|traceparent|accept").chain([MARK])
            {
                request = request.header(header, MARK);
            }
            check(format!("{name} {authorization}"), &stranger.send(request).await);
        }
    }
    for path in marked("/MARK|/api/v1/MARK|/docs/assets/MARK|/problems/MARK|/MARK%ff|/api/v1/codes/MARK/MARK") {
        check(path.clone(), &user.get(&path).await);
    }
    let long = user.get(&format!("/{}", MARK.repeat(1000))).await;
    check("a long path".to_owned(), &long.expect(414));
    let method = Method::from_bytes(MARK.to_uppercase().as_bytes()).expect("a method");
    check("a method".to_owned(), &user.send(user.request(method, ME)).await.expect(405));
    assert!(refusals > 350, "{refusals}");
}
