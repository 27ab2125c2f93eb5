//! A new password by a link in a mail.

use std::time::Duration;

use referral::features::accounts::actions::administration;
use referral::kernel::ids::UserId;
use reqwest::header::{ACCEPT_LANGUAGE, CONTENT_TYPE};
use serde_json::json;

use super::helpers::{COMPLETE, NEW, RESET, ask, complete, register, reset_mail, start, start_with};
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::paths::ME;
use crate::support::visit::Visit;

on_every_setup!(a_forgotten_password_is_replaced_by_a_link_and_every_session_ends);
async fn a_forgotten_password_is_replaced_by_a_link_and_every_session_ends(setup: Setup) {
    let (mut test, smtp) = start(setup).await;
    test.add_node().await;
    register(&test, "olga").await;
    let olga = test.client().logged_in("olga").await;
    let elsewhere = olga.at(&test.nodes[1].url);
    elsewhere.get(ME).await.expect(200);
    let mail = reset_mail(&test, &smtp, "olga@example.com").await;
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    let id = &test.query("select id from mails").await[0][0];
    assert!(id.is_some() && mail.header("Message-ID").ends_with("@referral.test>"), "{mail:?}");
    assert!(mail.html.contains(&mail.token()) && mail.text.contains("http://referral.test/mail/"), "{mail:?}");
    assert!(!mail.raw.contains("olga") || mail.header("To") == "olga@example.com", "nobody's name is in it");
    complete(&olga, &mail.token(), NEW).await.expect(204);
    olga.get(ME).await.expect_problem(401, "invalid_token");
    let refresh = olga.refresh_token.clone().expect("a refresh token");
    olga.refresh(&refresh).await.expect_problem(401, "invalid_refresh_token");
    eventually("the other node knows", || async { elsewhere.get(ME).await.status == 401 }).await;
    olga.log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    olga.log_in("olga", NEW).await.expect(200);
    // The owner is told, by a mail that does nothing by itself.
    test.drain().await;
    let told = smtp.mails_to("olga@example.com");
    assert_eq!(
        told.iter().map(|mail| mail.subject.as_str()).collect::<Vec<_>>(),
        ["Choose a new password", "Your password was changed"]
    );
    assert!(!told[1].text.contains("/mail/"), "{:?}", told[1]);
    complete(&olga, &mail.token(), "another one, which is long").await.expect_problem(410, "link_expired");
    assert_eq!(test.number("select count(*) from jobs where payload is not null").await, 0);
}

on_every_setup!(known_and_unknown_addresses_are_answered_alike_and_the_job_alone_finds_out);
async fn known_and_unknown_addresses_are_answered_alike_and_the_job_alone_finds_out(setup: Setup) {
    let (test, smtp) = start(setup).await;
    for name in ["olga", "disabled", "erased"] {
        register(&test, name).await;
    }
    let found = administration::find(test.app(), "disabled").await.expect("a look").expect("an account");
    administration::disable(test.app(), found.id).await.expect("disabled");
    let erased = test.client().logged_in("erased").await;
    erased.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
    let mut faces = Vec::new();
    for address in ["olga@example.com", "nobody@example.com", "disabled@example.com", "erased@example.com"] {
        let hashes = test.app().hasher.computed();
        let answer = ask(&test.client(), address).await.expect(202);
        assert_eq!(test.app().hasher.computed(), hashes, "{address}");
        let mut headers: Vec<_> = answer
            .headers
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_str().expect("a header").to_owned()))
            .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
            .collect();
        headers.sort();
        faces.push((headers, answer.text));
    }
    assert!(faces.windows(2).all(|pair| pair[0] == pair[1]), "{faces:?}");
    // Nothing was written but a job each, in which nobody reads the address.
    assert_eq!(test.number("select count(*) from mails").await, 0);
    let jobs = test.query("select subject, payload from jobs where done_at is null").await;
    let lengths: Vec<usize> = jobs.iter().map(|row| row[1].as_ref().expect("a payload").len()).collect();
    assert_eq!(jobs.len(), 4);
    assert!(jobs.iter().flatten().flatten().all(|text| !text.contains("example")), "{jobs:?} {lengths:?}");
    test.drain().await;
    assert_eq!(smtp.taken().len(), 1);
    assert_eq!(smtp.mails_to("olga@example.com").len(), 1);
    assert_eq!(test.number("select count(*) from jobs where payload is not null").await, 0);
    ask(&test.client(), "no address").await.expect_problem(422, "invalid");
}

on_every_setup!(who_lay_in_wait_under_an_address_is_out_when_its_owner_resets);
/// Where nobody had shown that the address is theirs, what somebody else may have prepared goes with the password.
async fn who_lay_in_wait_under_an_address_is_out_when_its_owner_resets(setup: Setup) {
    let (test, smtp) = start(setup).await;
    for (name, proven) in [("olga", false), ("ivan", true)] {
        let user = test.user(name).await;
        let proof = if proven { "1" } else { "null" };
        test.sql(&format!("update users set email_proven_at = {proof} where username = '{name}'")).await;
        let id = UserId::parse(&user.id).expect("an id");
        let id = if setup == Setup::Sqlite { format!("x'{}'", id.0.simple()) } else { format!("'{id}'") };
        for statement in [
            "insert into identities (issuer, subject, user_id, linked_at) values ('https://evil', '{name}', {id}, 1)",
            "insert into consents (user_id, client_id, scope, granted_at) values ({id}, 'shop', 'profile', 1)",
        ] {
            test.sql(&statement.replace("{name}", name).replace("{id}", &id)).await;
        }
        let mail = reset_mail(&test, &smtp, &format!("{name}@example.com")).await;
        complete(&user, &mail.token(), NEW).await.expect(204);
        let left = i64::from(proven);
        assert_eq!(test.number(&format!("select count(*) from identities where user_id = {id}")).await, left, "{name}");
        assert_eq!(test.number(&format!("select count(*) from consents where user_id = {id}")).await, left, "{name}");
        let proof = format!("select count(*) from users where id = {id} and email_proven_at is not null");
        assert_eq!(test.number(&proof).await, 1);
    }
}

on_every_setup!(whoever_has_no_password_gets_one_by_a_link);
async fn whoever_has_no_password_gets_one_by_a_link(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    test.sql("update users set password_hash = null").await;
    let mail = reset_mail(&test, &smtp, "olga@example.com").await;
    complete(&test.client(), &mail.token(), NEW).await.expect(204);
    test.client().log_in("olga@example.com", NEW).await.expect(200);
}

on_every_setup!(a_password_that_breaks_a_rule_leaves_the_link_good);
async fn a_password_that_breaks_a_rule_leaves_the_link_good(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let mail = reset_mail(&test, &smtp, "olga@example.com").await;
    for bad in ["short", "password1234", "example-olga-example"] {
        let answer = complete(&test.client(), &mail.token(), bad).await.expect_problem(422, "invalid");
        assert_eq!(answer.json()["errors"][0]["loc"], json!(["body", "password"]), "{bad}");
    }
    test.client().post(COMPLETE, &json!({"token": mail.token()})).await.expect_problem(422, "invalid");
    // What nobody could have is told whatever the link is worth; what depends on the person is not.
    complete(&test.client(), "nonsense", &"a".repeat(129)).await.expect_problem(422, "invalid");
    complete(&test.client(), "nonsense", "example-olga-example").await.expect_problem(410, "link_expired");
    complete(&test.client(), &mail.token(), NEW).await.expect(204);
}

on_every_setup!(so_many_mails_an_hour_and_more_are_promised_and_not_sent);
async fn so_many_mails_an_hour_and_more_are_promised_and_not_sent(setup: Setup) {
    let (test, smtp) = start_with(setup, &[("REFERRAL_LIMITS", "on")]).await;
    for name in ["olga", "ivan"] {
        register(&test, name).await;
    }
    for _ in 0..5 {
        ask(&test.client(), "olga@example.com").await.expect(202);
    }
    assert_eq!(test.drain().await, 3);
    assert_eq!(smtp.taken().len(), 3);
    // Seven more of the client that asks are left, whomever it asks for.
    for name in ["ivan", "nobody", "anybody"] {
        for _ in 0..3 {
            let answer = ask(&test.client(), &format!("{name}@example.com")).await.expect(202);
            assert!(answer.headers.keys().all(|header| !header.as_str().starts_with("ratelimit")), "{answer:?}");
        }
    }
    assert_eq!(test.drain().await, 7);
}

on_every_setup!(without_a_mail_server_nothing_is_sent_and_nothing_is_promised_on_the_pages);
async fn without_a_mail_server_nothing_is_sent_and_nothing_is_promised_on_the_pages(setup: Setup) {
    let test = setup.start().await;
    test.client().register("olga", None).await.expect(201);
    ask(&test.client(), "olga@example.com").await.expect(202);
    assert_eq!(test.number("select count(*) from jobs").await, 0);
    let mut visit = Visit::new(&test.nodes[0].url);
    assert!(!visit.get("/oauth/apps").await.expect(200).text.contains("/oauth/reset"));
    visit.get("/oauth/reset").await.expect(404);
}

on_every_setup!(the_pages_lead_from_the_log_in_to_a_new_password);
async fn the_pages_lead_from_the_log_in_to_a_new_password(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let mut visit = Visit::new(&test.nodes[0].url);
    visit.language = "ru".to_owned();
    let page = visit.get("/oauth/apps").await.expect(200);
    assert!(page.text.contains("<a href=\"/oauth/reset\">Забыли пароль?</a>"), "{}", page.text);
    let page = visit.get("/oauth/reset").await.expect(200);
    let wrong = visit.submit(&page.form("/oauth/reset"), &[("email", "olga")]).await.expect(422);
    assert!(wrong.text.contains("В адресе почты должен быть знак @"), "{}", wrong.text);
    let form = page.form("/oauth/reset");
    visit.post("/oauth/reset", &[("email", "olga@example.com"), ("csrf", "x")]).await.expect(403).form("/oauth/reset");
    let known = visit.submit(&form, &[("email", "olga@example.com")]).await.expect(200);
    let unknown = visit.submit(&form, &[("email", "nobody@example.com")]).await.expect(200);
    assert_eq!(known.text, unknown.text);
    assert_eq!(test.drain().await, 2);
    let mail = smtp.mail_to("olga@example.com");
    assert_eq!((mail.subject.as_str(), mail.header("Content-Language")), ("Выберите новый пароль", "ru"));
    assert!(mail.text.contains("Ссылка действует 10 минут"), "{}", mail.text);

    // In another browser, as it is with mails.
    let mut visit = Visit::new(&test.nodes[0].url);
    let path = format!("/mail/{}", mail.token());
    let page = visit.get(&path).await.expect(200);
    assert_eq!((page.header("cache-control"), page.header("referrer-policy")), ("no-store", "no-referrer"));
    let form = page.form(&path);
    let short = visit.submit(&form, &[("password", "short")]).await.expect(422);
    assert!(short.text.contains("at least 12 characters"), "{}", short.text);
    visit.post(&path, &[("password", NEW)]).await.expect(403).form(&path);
    Visit::new(&test.nodes[0].url).submit(&form, &[("password", NEW)]).await.expect(403);
    test.client().log_in("olga", PASSWORD).await.expect(200);
    let done = visit.submit(&form, &[("password", NEW)]).await.expect(200);
    assert!(done.text.contains("Your password is set"), "{}", done.text);
    test.client().log_in("olga", NEW).await.expect(200);
    let again = visit.submit(&form, &[("password", "another one, which is long")]).await.expect(410);
    assert!(again.text.contains("not good any more") && again.text.contains("/oauth/reset"), "{}", again.text);
    visit.get(&path).await.expect(410);
    test.client().log_in("olga", NEW).await.expect(200);
}

on_every_setup!(a_mail_is_in_the_language_of_the_request);
async fn a_mail_is_in_the_language_of_the_request(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let client = test.client();
    let request = client.request(reqwest::Method::POST, RESET).header(ACCEPT_LANGUAGE, "de, ru;q=0.8");
    let request = request.header(CONTENT_TYPE, "application/json");
    client.send(request.body(json!({"email": "OLGA@Example.com"}).to_string())).await.expect(202);
    test.drain().await;
    // To the address as it is written in the account, however it was typed.
    assert_eq!(smtp.mail_to("olga@example.com").header("Content-Language"), "ru");
}

on_every_setup!(what_is_noted_of_mails_goes_after_its_time);
async fn what_is_noted_of_mails_goes_after_its_time(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    reset_mail(&test, &smtp, "olga@example.com").await;
    let day = Duration::from_secs(24 * 60 * 60);
    test.move_clock(day * 30);
    referral::worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number("select count(*) from mails").await, 1);
    test.move_clock(day);
    referral::worker::clean(test.app()).await.expect("housekeeping");
    assert_eq!(test.number("select count(*) from mails").await, 0);
}
