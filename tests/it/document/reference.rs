//! The API of the reference service, as its document prints it.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;

on_every_setup!(every_example_of_the_document_runs_as_printed);
/// Every example request of the document, in its order, with the names and success codes printed there.
async fn every_example_of_the_document_runs_as_printed(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    let printed = json!({"code": "12AF32CF8978", "expires_at": "2030-09-11 12:00"});
    owner.post("/api/v1/codes", &printed).await.expect(201);

    // Register with the code in the path.
    let body = json!({"username": "admin4", "email": "test4@test.ru", "password": "Q123werty!23"});
    let user = test.client().post("/api/v1/auth/user/12AF32CF8978", &body).await.expect(201).json();
    assert_eq!(names(&user), ["email", "id", "username"]);
    assert_eq!((&user["email"], &user["username"]), (&json!("test4@test.ru"), &json!("admin4")));

    // Log in.
    let body = json!({"username": "admin4", "password": "Q123werty!23"});
    let token = test.client().post("/api/v1/auth/token", &body).await.expect(200).json();
    assert_eq!(token["token_type"], "Bearer");
    assert!(token["access_token"].is_string());

    // The list of referees, by an id without hyphens.
    let plain = owner.id.replace('-', "");
    let list = owner.get(&format!("/api/v1/users/{plain}")).await.expect(200).json();
    assert_eq!(
        (&list["total"], &list["page"], &list["size"], &list["pages"]),
        (&json!(1), &json!(1), &json!(50), &json!(1))
    );
    for name in ["id", "email", "username"] {
        assert_eq!(list["items"][0][name], user[name]);
    }

    // A code that has expired before it is made.
    let body = json!({"code": "FFFF12345678", "expires_at": "2023-10-10 12:00"});
    let refused = owner.post("/api/v1/codes", &body).await.expect_problem(400, "expires_in_past").json();
    assert_eq!(refused["detail"], "Expires time less than current time");

    // A code; the printed date has passed, so a later one.
    owner.revoke_code("12AF32CF8978").await.expect(204);
    let body = json!({"code": "FFFF12345678", "expires_at": "2035-10-10 12:00"});
    let code = owner.post("/api/v1/codes", &body).await.expect(201).json();
    assert_eq!(names(&code), ["code", "expires_at", "id", "is_active", "user_id"]);
    assert_eq!(code["expires_at"], "2035-10-10T12:00:00Z");
    assert_eq!((&code["is_active"], &code["user_id"]), (&json!(true), &json!(owner.id)));
    assert!(code["id"].is_i64());

    // Delete a code.
    owner.delete("/api/v1/codes/FFFF12345678").await.expect(204);

    // The list of own codes, with a slash at the end.
    let list = owner.get("/api/v1/codes/").await.expect(200).json();
    assert_eq!(list["total"], 2);
    assert_eq!(list["items"][1]["code"], "FFFF12345678");
    assert_eq!(list["items"][1]["is_active"], false);
}

on_every_setup!(each_recorded_call_gives_what_is_promised);
/// Each recorded call of the reference service gives what the design says: its paths, names, success codes and
/// sentences, without its faults.
async fn each_recorded_call_gives_what_is_promised(setup: Setup) {
    let test = setup.start().await;
    let (owner, second) = (test.user("owner").await, test.user("second").await);
    let anonymous = test.client();
    for call in CALLS {
        let who = match call.who {
            "owner" => &owner,
            "second" => &second,
            _ => &anonymous,
        };
        let path = call.path.replace("{owner}", &owner.id).replace("{plain}", &owner.id.replace('-', ""));
        let method = call.method.parse().expect("a method");
        let mut request = who.request(method, &path);
        if let Some(body) = call.body.first() {
            request = request.header("content-type", "application/json").body(*body);
        }
        let answer = who.send(request).await;
        assert_eq!(answer.status, call.status, "{}: {answer:?}", call.name);
        if answer.status >= 400 {
            let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
            assert!(detail.contains(call.says), "{}: {detail}", call.name);
        } else if !call.says.is_empty() {
            assert!(answer.text.contains(call.says), "{}: {}", call.name, answer.text);
        }
    }
}

on_every_setup!(bodies_are_json_or_forms_and_a_missing_type_is_json);
/// A form works as well as JSON, and a body without a content type is read as JSON.
async fn bodies_are_json_or_forms_and_a_missing_type_is_json(setup: Setup) {
    let test = setup.start().await;
    test.user("admin4").await;
    let form = "grant_type=password&username=admin4%40example.com&password=Q123werty%2123&scope=&client_id=";
    test.client().post_form("/api/v1/auth/token", form).await.expect(200);
    let body = json!({"username": "admin4", "password": PASSWORD}).to_string();
    let request = test.client().request(reqwest::Method::POST, "/api/v1/auth/token/").body(body.clone());
    test.client().send(request).await.expect(200);
    let answer = test.client().post_raw("/api/v1/auth/token", "text/plain", body).await;
    answer.expect_problem(415, "unsupported_media_type");
    let answer = test.client().post_form("/api/v1/codes/validate", "code=12AF32CF8978").await;
    answer.expect_problem(415, "unsupported_media_type");
}

fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

struct Call {
    name: &'static str,
    who: &'static str,
    method: &'static str,
    path: &'static str,
    /// One or none.
    body: &'static [&'static str],
    status: u16,
    /// Part of the sentence of an error, or of the body of a success.
    says: &'static str,
}

macro_rules! calls {
    ($($name:literal $who:ident $method:ident $path:literal $($body:literal)? => $status:literal $says:literal;)*) => {
        &[$(Call {
            name: $name,
            who: stringify!($who),
            method: stringify!($method),
            path: $path,
            body: &[$($body)?],
            status: $status,
            says: $says,
        }),*]
    };
}

const CALLS: &[Call] = calls! {
    "user.ok" nobody POST "/api/v1/auth/user" r#"{"username": "admin4", "email": "test4@test.ru", "password": "Q123werty!23"}"# => 201 "admin4";
    "user.empty_object" nobody POST "/api/v1/auth/user" "{}" => 422 "username: Field required; email: Field required; password: Field required";
    "user.missing_password" nobody POST "/api/v1/auth/user" r#"{"username": "x", "email": "x@test.ru"}"# => 422 "password: Field required";
    "user.malformed" nobody POST "/api/v1/auth/user" r#"{"username": "a","# => 422 "not valid JSON";
    "user.extra_field" nobody POST "/api/v1/auth/user" r#"{"username": "extra", "email": "extra@test.ru", "password": "Q123werty!23", "id": "5442a9ef-ea29-4d5c-a6ac-d29988e39cca", "is_admin": true}"# => 201 "extra";
    "email.noat" nobody POST "/api/v1/auth/user" r#"{"username": "e_noat", "email": "abc", "password": "Q123werty!23"}"# => 422 "must have an @-sign";
    "email.upper" nobody POST "/api/v1/auth/user" r#"{"username": "e_upper", "email": "Test6@TEST.RU", "password": "Q123werty!23"}"# => 201 "Test6@test.ru";
    "email.plus" nobody POST "/api/v1/auth/user" r#"{"username": "e_plus", "email": "a+b@test.ru", "password": "Q123werty!23"}"# => 201 "a+b@test.ru";
    "username.space" nobody POST "/api/v1/auth/user" r#"{"username": "a b", "email": "un_space@test.ru", "password": "Q123werty!23"}"# => 422 "only letters, digits";
    "username.cyr" nobody POST "/api/v1/auth/user" r#"{"username": "админ", "email": "un_cyr@test.ru", "password": "Q123werty!23"}"# => 201 "админ";
    "username.len51" nobody POST "/api/v1/auth/user" r#"{"username": "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu", "email": "un_len51@test.ru", "password": "Q123werty!23"}"# => 422 "at most 50 characters";
    "taken.username" nobody POST "/api/v1/auth/user" r#"{"username": "admin4", "email": "other@test.ru", "password": "Q123werty!23"}"# => 409 "Username already taken";
    "taken.email" nobody POST "/api/v1/auth/user" r#"{"username": "other", "email": "test4@test.ru", "password": "Q123werty!23"}"# => 409 "Email already registered";
    "codes.create" owner POST "/api/v1/codes/" r#"{"code": "12AF32CF8978", "expires_at": "2030-10-10 12:00"}"# => 201 "2030-10-10T12:00:00";
    "refer.body_code" nobody POST "/api/v1/auth/user" r#"{"username": "refd1", "email": "refd1@test.ru", "password": "Q123werty!23", "code": "12AF32CF8978"}"# => 201 "refd1";
    "refer.body_unknown" nobody POST "/api/v1/auth/user" r#"{"username": "ru", "email": "ru@test.ru", "password": "Q123werty!23", "code": "ZZZZ99999999"}"# => 404 "Referral code not found or expired";
    "token.ok" nobody POST "/api/v1/auth/token" r#"{"username": "admin4", "password": "Q123werty!23"}"# => 200 "Bearer";
    "token.wrong_password" nobody POST "/api/v1/auth/token" r#"{"username": "admin4", "password": "x"}"# => 401 "Incorrect username or password";
    "auth.none" nobody GET "/api/v1/codes/" => 401 "Not authenticated";
    "codes.second_active" owner POST "/api/v1/codes" r#"{"code": "FFFF12345678", "expires_at": "2030-10-10 12:00"}"# => 409 "You can have only one active code!";
    "codes.not_unique_other" second POST "/api/v1/codes/" r#"{"code": "12AF32CF8978", "expires_at": "2030-10-10 12:00"}"# => 409 "Referral code should be unique!";
    "codes.past" second POST "/api/v1/codes/" r#"{"code": "FFFF12345678", "expires_at": "2023-10-10 12:00"}"# => 400 "Expires time less than current time";
    "code.lower" second POST "/api/v1/codes/" r#"{"code": "ffff12345678", "expires_at": "2030-10-10 12:00"}"# => 422 "capital";
    "code.no_digit" second POST "/api/v1/codes/" r#"{"code": "FFFFFFFFFFFF", "expires_at": "2030-10-10 12:00"}"# => 422 "digit";
    "code.len11" second POST "/api/v1/codes/" r#"{"code": "FFFF1234567", "expires_at": "2030-10-10 12:00"}"# => 422 "12 to 32";
    "code.len13" second POST "/api/v1/codes/" r#"{"code": "FFFF123456789", "expires_at": "2030-10-10 12:00"}"# => 201 "FFFF123456789";
    "delete.len13" second DELETE "/api/v1/codes/FFFF123456789" => 204 "";
    "expires.T" second POST "/api/v1/codes/" r#"{"code": "GGGG12345678", "expires_at": "2030-10-10T12:00:00"}"# => 201 "2030-10-10T12:00:00Z";
    "delete.T" second DELETE "/api/v1/codes/GGGG12345678" => 204 "";
    "expires.Z" second POST "/api/v1/codes/" r#"{"code": "HHHH12345678", "expires_at": "2030-01-01T00:00:00Z"}"# => 201 "2030-01-01T00:00:00Z";
    "expires.word" second POST "/api/v1/codes/" r#"{"code": "JJJJ12345678", "expires_at": "tomorrow"}"# => 422 "valid date or time";
    "expires.missing" second POST "/api/v1/codes/" r#"{"code": "JJJJ12345678"}"# => 422 "expires_at: Field required";
    "codes.list" second GET "/api/v1/codes/" => 200 "\"total\":3";
    "codes.q.page=0" second GET "/api/v1/codes/?page=0" => 422 "greater than or equal to 1";
    "codes.q.size=101" second GET "/api/v1/codes/?size=101" => 422 "less than or equal to 100";
    "codes.q.page=2" second GET "/api/v1/codes/?page=2" => 200 "\"items\":[],\"total\":3,\"page\":2,\"size\":50,\"pages\":1";
    "codes.q.page=999" second GET "/api/v1/codes/?page=999" => 200 "\"page\":999";
    "codes.by_email_own" owner GET "/api/v1/codes/owner@example.com" => 200 "12AF32CF8978";
    "codes.by_email_other" second GET "/api/v1/codes/owner@example.com" => 200 "12AF32CF8978";
    "codes.by_email_notoken" nobody GET "/api/v1/codes/owner@example.com" => 401 "Not authenticated";
    "codes.by_email_none_active" owner GET "/api/v1/codes/test4@test.ru" => 404 "User doesn't have active codes.";
    "codes.by_email_unknown" owner GET "/api/v1/codes/zzz@test.ru" => 404 "User doesn't have active codes.";
    "codes.by_email_bad" owner GET "/api/v1/codes/abc" => 422 "must have an @-sign";
    "codes.by_email_encoded" second GET "/api/v1/codes/owner%40example.com" => 200 "12AF32CF8978";
    "users.ok" owner GET "/api/v1/users/{owner}" => 200 "refd1@test.ru";
    "users.nodash" second GET "/api/v1/users/{plain}" => 200 "r***@t***.ru";
    "users.bad" owner GET "/api/v1/users/abc" => 422 "valid UUID";
    "users.unknown" owner GET "/api/v1/users/f4a31e56-86e2-44b1-b68b-ddea734ef503" => 200 "{\"items\":[],\"total\":0,\"page\":1,\"size\":50,\"pages\":0";
    "users.notoken" nobody GET "/api/v1/users/{owner}" => 401 "Not authenticated";
    "delete.notoken" nobody DELETE "/api/v1/codes/12AF32CF8978" => 401 "Not authenticated";
    "delete.foreign" second DELETE "/api/v1/codes/12AF32CF8978" => 403 "You can delete only your codes!";
    "delete.unknown" second DELETE "/api/v1/codes/NOPE12345678" => 404 "Code not found!";
    "delete.ok" owner DELETE "/api/v1/codes/12AF32CF8978" => 204 "";
    "delete.again" owner DELETE "/api/v1/codes/12AF32CF8978" => 404 "Code not found!";
    "codes.by_email_after_delete" owner GET "/api/v1/codes/owner@example.com" => 404 "User doesn't have active codes.";
    "refer.after_delete" nobody POST "/api/v1/auth/user" r#"{"username": "late", "email": "late@test.ru", "password": "Q123werty!23", "code": "12AF32CF8978"}"# => 404 "Referral code not found or expired";
};
