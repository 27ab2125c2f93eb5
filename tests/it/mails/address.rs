//! Changing one's address, and word of what has changed.

use referral::features::accounts::actions::profile::Proof;
use referral::features::accounts::actions::{address, administration};
use referral::kernel::actor::Actor;
use referral::kernel::email::Email;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::ids::UserId;
use referral::web::views::language::Language;
use serde_json::json;

use super::helpers::{NEW, complete, confirm, reset_mail, start, start_with};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::host::host_of;
use crate::support::paths::ME;
use crate::support::servers::Smtp;
use crate::support::visit::Visit;

const EMAIL: &str = "/api/v1/me/email";

async fn wish(person: &Client, address: &str, password: &str) -> Answer {
    person.post(EMAIL, &json!({"email": address, "password": password})).await
}

/// The token that was sent to an address.
async fn link(test: &TestApp, smtp: &Smtp, address: &str) -> String {
    test.drain().await;
    smtp.mails_to(address).last().unwrap_or_else(|| panic!("no mail to {address}")).token()
}

on_every_setup!(an_address_is_changed_on_the_persons_own_page);
async fn an_address_is_changed_on_the_persons_own_page(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let olga = test.user("olga").await;
    let mut visit = Visit::new(&olga.base);
    let page = visit.get("/share/account").await.expect(200);
    visit.log_in(&page, "olga", PASSWORD).await.expect(303);
    let form = visit.get("/share/account").await.expect(200).form("/share/account/email");
    for (email, password, status, said) in [
        ("olga@new.example.com", "not the password", 403, "The password is not right"),
        ("nonsense", PASSWORD, 422, "An e-mail address must have an @-sign"),
    ] {
        let told = visit.submit(&form, &[("email", email), ("password", password)]).await.expect(status);
        assert!(told.text.contains(said) && told.text.contains(&format!("value=\"{email}\"")), "{told:?}");
    }
    let told = visit.submit(&form, &[("email", "olga@new.example.com"), ("password", PASSWORD)]).await.expect(303);
    assert_eq!(told.location(), Some("/share/account?done=email"));
    let page = visit.get("/share/account?done=email").await.expect(200);
    assert!(page.text.contains("Look into the mailbox of the new address"), "{page:?}");
    let token = link(&test, &smtp, "olga@new.example.com").await;
    confirm(&olga, &token).await.expect(204);
    let page = visit.get("/share/account").await.expect(200);
    assert!(page.text.contains("<bdi>olga@new.example.com</bdi>"), "{page:?}");
}

on_every_setup!(an_address_that_nobody_confirms_is_forgotten);
async fn an_address_that_nobody_confirms_is_forgotten(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let olga = test.user("olga").await;
    test.user("ivan").await;
    wish(&olga, "olga@new.example.com", PASSWORD).await.expect(202);
    let token = link(&test, &smtp, "olga@new.example.com").await;
    let lasts = test.app().config.mail.confirm();
    test.move_clock(lasts / 2);
    let ivan = test.client().logged_in("ivan").await;
    wish(&ivan, "ivan@new.example.com", PASSWORD).await.expect(202);
    assert_eq!(address::housekeeping(test.app()).await.expect("a look"), 0);
    test.move_clock(lasts / 2);
    let wanted = "select count(*) from users where new_email is not null or new_email_key is not null";
    assert_eq!((address::housekeeping(test.app()).await.expect("a look"), test.number(wanted).await), (1, 1));
    confirm(&olga, &token).await.expect_problem(410, "link_expired");
    // The one whose time is not over is taken.
    let token = link(&test, &smtp, "ivan@new.example.com").await;
    confirm(&ivan, &token).await.expect(204);
}

on_every_setup!(an_address_is_changed_by_the_link_in_a_mail_to_the_new_one_and_both_are_told);
async fn an_address_is_changed_by_the_link_in_a_mail_to_the_new_one_and_both_are_told(setup: Setup) {
    let (mut test, smtp) = start(setup).await;
    test.add_node().await;
    let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
    let there = ivan.at(&test.nodes[1].url);
    olga.create_code("AMSEL2030XYZ").await.expect(201);
    there.get("/api/v1/codes/olga@example.com").await.expect(200);
    let reset = reset_mail(&test, &smtp, "olga@example.com").await.token();
    wish(&olga, "Olga@New.example.com", "not the password").await.expect_problem(403, "wrong_password");
    wish(&olga, "nonsense", PASSWORD).await.expect_problem(422, "invalid");
    wish(&olga, "Olga@New.example.com", PASSWORD).await.expect(202);
    assert_eq!(olga.get(ME).await.expect(200).json()["email"], "olga@example.com");
    let token = link(&test, &smtp, "Olga@new.example.com").await;
    let page = Visit::new(&olga.base).get(&format!("/mail/{token}")).await.expect(200);
    assert!(page.text.contains("Olga@new.example.com"), "{}", page.text);
    confirm(&olga, &token).await.expect(204);
    confirm(&olga, &token).await.expect_problem(410, "link_expired");
    assert_eq!(olga.get(ME).await.expect(200).json()["email"], "Olga@new.example.com");
    test.drain().await;
    for address in ["olga@example.com", "Olga@new.example.com"] {
        let mails = smtp.mails_to(address);
        assert_eq!(mails.last().expect("a mail").subject, "Your e-mail address was changed", "{address}");
    }
    // The address before is nobody's: links to it, log-ins and look-ups by it end, on every node.
    complete(&olga, &reset, NEW).await.expect_problem(410, "link_expired");
    olga.log_in("olga@example.com", PASSWORD).await.expect_problem(401, "bad_credentials");
    olga.log_in("olga@new.example.com", PASSWORD).await.expect(200);
    let gone = || async { there.get("/api/v1/codes/olga@example.com").await.status == 404 };
    eventually("the other node knows", gone).await;
    there.get("/api/v1/codes/olga@new.example.com").await.expect(200);
    let body = json!({"username": "another", "email": "olga@example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
}

on_every_setup!(an_address_that_somebody_has_is_not_given_away_and_nobody_is_told);
async fn an_address_that_somebody_has_is_not_given_away_and_nobody_is_told(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
    test.drain().await;
    let before = smtp.mails_to("ivan@example.com").len();
    let (free, taken) =
        (wish(&olga, "free@example.com", PASSWORD).await, wish(&olga, "ivan@example.com", PASSWORD).await);
    assert_eq!((free.status, &free.text), (taken.status, &taken.text));
    test.drain().await;
    assert_eq!(smtp.mails_to("ivan@example.com").len(), before);
    // The later wish counts: the link of the one before does nothing.
    let token = link(&test, &smtp, "free@example.com").await;
    confirm(&olga, &token).await.expect_problem(410, "link_expired");
    // Of two who want one, the first to show that it is theirs gets it.
    let mut links = Vec::new();
    for person in [&olga, &ivan] {
        wish(person, "both@example.com", PASSWORD).await.expect(202);
        links.push(link(&test, &smtp, "both@example.com").await);
    }
    confirm(&olga, &links[0]).await.expect(204);
    confirm(&ivan, &links[1]).await.expect_problem(410, "link_expired");
    assert_eq!(ivan.get(ME).await.expect(200).json()["email"], "ivan@example.com");
}

on_every_setup!(an_export_does_not_tell_whether_an_address_has_an_account);
async fn an_export_does_not_tell_whether_an_address_has_an_account(setup: Setup) {
    let (test, smtp) = start(setup).await;
    test.user("ivan").await;
    let mut seen = Vec::new();
    for (name, address) in [("anna", "free@example.com"), ("olga", "ivan@example.com")] {
        let person = test.user(name).await;
        wish(&person, address, PASSWORD).await.expect(202);
        test.drain().await;
        let export = person.get("/api/v1/me/export").await.expect(200).json();
        let mails = export["account"]["mails"].as_array().expect("a list").clone();
        assert!(mails.iter().all(|mail| mail["sent_at"].is_string()), "{mails:?}");
        seen.push(mails.iter().map(|mail| mail["kind"].clone()).collect::<Vec<_>>());
    }
    assert_eq!((&seen[0], seen[0].len()), (&seen[1], 2));
    assert_eq!(smtp.mails_to("ivan@example.com").len(), 1, "his own");
}

on_every_setup!(a_reset_of_an_address_that_nobody_had_proven_takes_a_wish_for_another_along);
async fn a_reset_of_an_address_that_nobody_had_proven_takes_a_wish_for_another_along(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let mallory = test.user("olga").await;
    wish(&mallory, "mallory@example.com", PASSWORD).await.expect(202);
    let waiting = link(&test, &smtp, "mallory@example.com").await;
    let token = reset_mail(&test, &smtp, "olga@example.com").await.token();
    complete(&test.client(), &token, NEW).await.expect(204);
    confirm(&mallory, &waiting).await.expect_problem(410, "link_expired");
    assert_eq!(test.number("select count(*) from users where new_email is not null").await, 0);
}

on_every_setup!(a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out);
async fn a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let manager = test.manager("manager").await;
    for (name, way) in [("olga", "change"), ("ivan", "reset"), ("anna", "command"), ("igor", "disabling")] {
        let mallory = test.user(name).await;
        let own = format!("{name}@example.com");
        confirm(&mallory, &link(&test, &smtp, &own).await).await.expect(204);
        let theirs = format!("mallory-{name}@example.com");
        wish(&mallory, &theirs, PASSWORD).await.expect(202);
        let waiting = link(&test, &smtp, &theirs).await;
        match way {
            "change" => {
                let body = json!({"current_password": PASSWORD, "new_password": NEW});
                mallory.post("/api/v1/me/password", &body).await.expect(204);
            }
            "reset" => {
                let token = reset_mail(&test, &smtp, &own).await.token();
                complete(&test.client(), &token, NEW).await.expect(204);
            }
            "command" => {
                let found = administration::find(test.app(), name).await.expect("a look").expect("an account");
                administration::reset_password(test.app(), &found, NEW).await.expect("a new password");
            }
            _ => {
                for act in ["disable", "enable"] {
                    let path = format!("/api/v1/users/{}/{act}", mallory.id);
                    manager.post(&path, &json!({"reason": "security"})).await.expect(204);
                }
            }
        }
        confirm(&mallory, &waiting).await.expect_problem(410, "link_expired");
        let taken = format!("select count(*) from users where email = '{theirs}' or new_email is not null");
        assert_eq!(test.number(&taken).await, 0, "{way}");
    }
}

on_every_setup!(a_referral_that_waited_for_the_proof_counts_with_the_proof_of_another_address);
async fn a_referral_that_waited_for_the_proof_counts_with_the_proof_of_another_address(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    test.client().register("olga", Some("AMSEL2030XYZ")).await.expect(201);
    let olga = test.client().logged_in("olga").await;
    // As of somebody who registered when that was quiet.
    test.sql("update users set held_until = 5 where username = 'olga'").await;
    wish(&olga, "olga@new.example.com", PASSWORD).await.expect(202);
    let status = async || owner.get("/api/v1/me/referrals").await.expect(200).json()["items"][0]["status"].clone();
    assert_eq!(status().await, "pending");
    confirm(&olga, &link(&test, &smtp, "olga@new.example.com").await).await.expect(204);
    assert_eq!(status().await, "confirmed");
    assert_eq!(test.number("select count(*) from users where held_until is not null").await, 0);
}

on_every_setup!(who_had_no_address_is_told_at_the_new_one_alone);
async fn who_had_no_address_is_told_at_the_new_one_alone(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let host = host_of(&test.manager("manager").await).await;
    host.tell("u1", json!({"name": "Olga"})).await.expect(201);
    let row = test.query("select username from users where external_id = 'u1'").await;
    let name = row[0][0].as_deref().expect("a name");
    let found = administration::find(test.app(), name).await.expect("a look").expect("an account");
    administration::reset_password(test.app(), &found, NEW).await.expect("a password");
    let answer = test.client().log_in(name, NEW).await.expect(200);
    let mut olga = test.client();
    olga.take_tokens(&answer);
    wish(&olga, "olga@example.com", NEW).await.expect(202);
    confirm(&olga, &link(&test, &smtp, "olga@example.com").await).await.expect(204);
    test.drain().await;
    assert_eq!(smtp.mails_to("olga@example.com").len(), 2, "the link, and word of the change");
    assert_eq!(test.number("select count(*) from mails where address_key = ''").await, 0);
    assert_eq!(olga.get(ME).await.expect(200).json()["email"], "olga@example.com");
}

on_every_setup!(a_mailbox_gets_a_few_links_only_whoever_wants_its_address);
async fn a_mailbox_gets_a_few_links_only_whoever_wants_its_address(setup: Setup) {
    let (test, smtp) = start_with(setup, &[("REFERRAL_LIMITS", "on")]).await;
    let olga = test.user("olga").await;
    let mut faces = Vec::new();
    for _ in 0..5 {
        let answer = wish(&olga, "stranger@example.com", PASSWORD).await.expect(202);
        faces.push(answer.text);
    }
    faces.dedup();
    assert_eq!(faces.len(), 1, "nobody is told");
    test.drain().await;
    assert_eq!(smtp.mails_to("stranger@example.com").len(), 3);
}

on_every_setup!(who_is_kept_out_meanwhile_wants_no_address);
async fn who_is_kept_out_meanwhile_wants_no_address(setup: Setup) {
    let (test, _smtp) = start(setup).await;
    let olga = test.user("olga").await;
    test.drain().await;
    let mails = test.number("select count(*) from mails").await;
    test.sql("update users set disabled_at = 5").await;
    let (user, email) = (UserId::parse(&olga.id).expect("an id"), Email::parse("new@example.com").expect("an address"));
    let (sent, proof) = (Actor::SERVICE.into(), Proof::FreshLogIn);
    let outcome = address::ask(test.app(), sent, user, &proof, email, Language::English).await;
    assert!(matches!(outcome, Err(Error::Refused(Refusal::InvalidToken))), "{outcome:?}");
    assert_eq!(test.number("select count(*) from mails").await, mails);
}

on_every_setup!(whoever_changes_a_password_otherwise_tells_its_owner_too);
async fn whoever_changes_a_password_otherwise_tells_its_owner_too(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let olga = test.user("olga").await;
    let reset = reset_mail(&test, &smtp, "olga@example.com").await.token();
    let body = json!({"current_password": PASSWORD, "new_password": NEW});
    olga.post("/api/v1/me/password", &body).await.expect(204);
    complete(&olga, &reset, PASSWORD).await.expect_problem(410, "link_expired");
    let found = administration::find(test.app(), "olga").await.expect("a look").expect("an account");
    administration::reset_password(test.app(), &found, PASSWORD).await.expect("a new password");
    test.drain().await;
    let subjects: Vec<String> = smtp.mails_to("olga@example.com").into_iter().map(|mail| mail.subject).collect();
    assert_eq!(subjects.iter().filter(|subject| *subject == "Your password was changed").count(), 2, "{subjects:?}");
}

on_every_setup!(the_address_that_one_has_may_be_confirmed_while_another_is_wanted);
async fn the_address_that_one_has_may_be_confirmed_while_another_is_wanted(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let olga = test.user("olga").await;
    let own = link(&test, &smtp, "olga@example.com").await;
    wish(&olga, "new@example.com", PASSWORD).await.expect(202);
    let wanted = link(&test, &smtp, "new@example.com").await;
    confirm(&olga, &own).await.expect(204);
    confirm(&olga, &wanted).await.expect(204);
    assert_eq!(olga.get(ME).await.expect(200).json()["email"], "new@example.com");
}

on_every_setup!(without_a_mail_server_nobody_changes_their_address);
async fn without_a_mail_server_nobody_changes_their_address(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    wish(&olga, "other@example.com", PASSWORD).await.expect_problem(404, "not_found");
    assert_eq!(test.number("select count(*) from users where new_email is not null").await, 0);
}
