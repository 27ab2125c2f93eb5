//! Registration that does not tell whether an address has an account.

use std::sync::atomic::Ordering;
use std::time::Duration;

use referral::app::App;
use referral::config;
use referral::features::accounts::actions::registration::{self as actions, Invitation, release_names};
use referral::features::accounts::model::{Entrance, Registration};
use referral::kernel::actor::Actor;
use referral::kernel::email::Email;
use referral::kernel::name::Username;
use referral::web::views::language::Language;
use serde_json::json;

use super::helpers::{ask, confirm, start_with};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, PASSWORD};
use crate::support::counted::counted;
use crate::support::servers::{Postgres, Smtp};
use crate::support::visit::Visit;

const QUIET: (&str, &str) = ("REFERRAL_ACCOUNTS_REGISTRATION", "quiet");
const MINUTE: Duration = Duration::from_secs(60);

/// Somebody tries a name with an address.
async fn register(test: &TestApp, name: &str, address: &str, code: Option<&str>) -> Answer {
    let body = json!({"username": name, "email": address, "password": PASSWORD, "code": code});
    test.client().post("/api/v1/auth/user", &body).await
}

/// All that a caller could tell one answer from another by, without what names the request.
fn face(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let told = answer.headers.iter().filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("a plain header").to_owned();
    let mut headers: Vec<_> = told.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    let instance = serde_json::from_str::<serde_json::Value>(&answer.text).unwrap_or_default()["instance"].clone();
    (answer.status, headers, answer.text.replace(instance.as_str().unwrap_or("-"), ""))
}

/// A set-up in which olga has an account and has confirmed its address.
async fn with_olga(setup: Setup) -> (TestApp, Smtp) {
    // Whatever else is set, a referral waits.
    let (test, smtp) = start_with(setup, &[QUIET, ("REFERRAL_ACCOUNTS_CONFIRM_BEFORE_REFERRAL", "false")]).await;
    register(&test, "olga", "olga@example.com", None).await.expect(202);
    test.client().log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    test.drain().await;
    confirm(&test.client(), &smtp.mail_to("olga@example.com").token()).await.expect(204);
    test.client().log_in("olga", PASSWORD).await.expect(200);
    (test, smtp)
}

on_every_setup!(whether_an_address_has_an_account_shows_nowhere_but_in_its_mailbox);
async fn whether_an_address_has_an_account_shows_nowhere_but_in_its_mailbox(setup: Setup) {
    let (test, smtp) = with_olga(setup).await;
    let owner = test.client().logged_in("olga").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let mut seen = Vec::new();
    for (name, address) in [("first", "free@example.com"), ("second", "olga@example.com")] {
        let hashes = test.app().hasher.computed();
        let mut faces = vec![face(&register(&test, name, address, Some("AMSEL2030XYZ")).await.expect(202))];
        let computed: u64 = test.app().hasher.computed().values().sum::<u64>() - hashes.values().sum::<u64>();
        assert_eq!(computed, 1, "{name}");
        // The same name again, by whomever, and its log-in.
        faces.push(face(&register(&test, name, "third@example.com", None).await.expect(409)));
        faces.push(face(&test.client().log_in(name, PASSWORD).await.expect(401)));
        faces.push(face(&test.client().log_in(name, "not the password").await.expect(401)));
        faces.push(face(&ask(&test.client(), address).await.expect(202)));
        let resend = test.client().post(super::helpers::RESEND, &json!({"email": address})).await;
        faces.push(face(&resend.expect(202)));
        seen.push(faces);
    }
    assert_eq!(seen[0], seen[1]);
    // Nor by whoever has given them the code.
    let list = owner.get("/api/v1/me/referrals").await.expect(200).json();
    let referees: Vec<_> = list["items"].as_array().expect("a list").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(referees, [json!("pending"), json!("pending")]);
    test.drain().await;
    let subjects = |address: &str| smtp.mails_to(address).into_iter().map(|mail| mail.subject).collect::<Vec<_>>();
    assert!(subjects("olga@example.com").contains(&"You have an account already".to_owned()));
    assert!(subjects("free@example.com").contains(&"Confirm your e-mail address".to_owned()));
    // The page says the same.
    let mut pages = Vec::new();
    for (name, address) in [("fourth", "other@example.com"), ("fifth", "olga@example.com")] {
        let mut visit = Visit::new(&test.nodes[0].url);
        let page = visit.get("/oauth/register").await.expect(200);
        let typed = [("username", name), ("email", address), ("password", PASSWORD)];
        pages.push(visit.submit(&page.form("/oauth/register"), &typed).await.expect(200).text);
    }
    assert!(pages[0] == pages[1] && pages[0].contains("Look into your mailbox"), "{pages:?}");
}

on_every_setup!(a_name_is_held_for_its_time_whosever_the_address_is);
async fn a_name_is_held_for_its_time_whosever_the_address_is(setup: Setup) {
    let (test, smtp) = with_olga(setup).await;
    for (name, address) in [("first", "free@example.com"), ("second", "olga@example.com")] {
        register(&test, name, address, None).await.expect(202);
    }
    test.drain().await;
    let late = smtp.mails_to("free@example.com").remove(0).token();
    test.move_clock(MINUTE * 59);
    assert_eq!(release_names(test.app()).await.expect("a look"), 0);
    for name in ["first", "second"] {
        register(&test, name, "new@example.com", None).await.expect_problem(409, "username_taken");
    }
    test.move_clock(MINUTE);
    assert_eq!(release_names(test.app()).await.expect("a look"), 2);
    confirm(&test.client(), &late).await.expect_problem(410, "link_expired");
    for name in ["first", "second"] {
        register(&test, name, &format!("{name}@example.com"), None).await.expect(202);
    }
    // Who has confirmed stays.
    test.client().log_in("olga", PASSWORD).await.expect(200);
    assert_eq!(test.number("select count(*) from users where held_until is null and erased_at is null").await, 1);
}

on_every_setup!(who_has_come_in_although_their_name_was_held_leaves_nothing_behind);
async fn who_has_come_in_although_their_name_was_held_leaves_nothing_behind(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    olga.create_code("AMSEL2030XYZ").await.expect(201);
    let manager = test.manager("manager").await;
    // As it is after a registration that was quiet, when registrations are quiet no more.
    test.sql("update users set held_until = 5").await;
    assert_eq!(release_names(test.app()).await.expect("a look"), 1);
    test.client().register("ivan", Some("AMSEL2030XYZ")).await.expect_problem(404, "code_not_usable");
    assert_eq!(test.number("select count(*) from token_families where ended_at is null").await, 1, "the manager's");
    assert_eq!(test.number("select count(*) from codes where code = 'AMSEL2030XYZ'").await, 0);
    olga.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    test.client().register("olga", None).await.expect(201);
    // Whom somebody has made a manager meanwhile stays.
    manager.get("/api/v1/me").await.expect(200);
}

on_every_setup!(whoever_has_an_address_is_told_a_few_times_only);
async fn whoever_has_an_address_is_told_a_few_times_only(setup: Setup) {
    let (test, smtp) = start_with(setup, &[QUIET, ("REFERRAL_LIMITS", "on")]).await;
    register(&test, "olga", "olga@example.com", None).await.expect(202);
    test.drain().await;
    for name in ["a1", "a2", "a3", "a4", "a5"] {
        register(&test, name, "olga@example.com", None).await.expect(202);
    }
    test.drain().await;
    assert_eq!(smtp.mails_to("olga@example.com").len(), 3, "one to confirm, and two");
}

/// Counted on the wire: for an address that is free, for one whose owner is told, and for one whose owner was told
/// often enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_registration_asks_the_database_the_same_for_every_address_on_postgresql() {
    let direct = Postgres::shared().await.database().await;
    let (url, asked) = counted(&direct).await;
    let [server, from] = Smtp::settings(9);
    let settings = [(server.0, server.1.as_str()), (from.0, from.1.as_str()), QUIET, ("REFERRAL_LIMITS", "on")];
    let test = Setup::Postgres.prepare_on(url, &settings).await;
    // It follows nothing, so nobody else asks.
    let app = test.open(&[]).await.expect("an app");
    let mut counts = Vec::new();
    for turn in 0..8 {
        let address = if turn % 2 == 0 { format!("free{turn}@example.com") } else { "taken@example.com".to_owned() };
        let registration = Registration {
            username: Username::parse(&format!("person{turn}")).expect("a name"),
            email: Email::parse(&address).expect("an address"),
            entrance: Entrance::Password(PASSWORD.to_owned()),
        };
        // What is believed for a second is read in each turn, and not in those alone that come a second later.
        app.program.forget();
        app.heard.forget();
        let before = (asked.load(Ordering::SeqCst), hashes(&app));
        let language = Language::English;
        let sent = Actor::SERVICE.into();
        actions::register(&app, sent, registration, Invitation::None, language).await.expect("a registration");
        assert_eq!(hashes(&app), before.1 + 1);
        counts.push(asked.load(Ordering::SeqCst) - before.0);
    }
    // The first two prepare what the others use: it was free then.
    assert!(counts[2..].windows(2).all(|pair| pair[0] == pair[1]) && counts[2] > 0, "{counts:?}");
    assert_eq!(test.number("select count(*) from mails where kind = 'already_registered'").await, 3);
    assert_eq!(test.number("select count(*) from mails").await, 8);
}

fn hashes(app: &App) -> u64 {
    app.hasher.computed().values().sum()
}

#[test]
fn without_a_mail_server_a_registration_cannot_be_quiet() {
    let quiet = vec![(QUIET.0.to_owned(), QUIET.1.to_owned())];
    let Err(told) = config::load(None, &quiet) else { panic!("no fault") };
    assert!(told.contains("SMTP_URL") && told.contains(QUIET.0), "{told}");
}
