//! Whoever asks for links to thousands of addresses learns nothing and has next to nothing sent.

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::StreamExt;
use futures_util::stream::iter;
use referral::features::accounts::actions::reset;
use referral::kernel::actor::Actor;
use referral::kernel::email::Email;
use referral::web::views::language::Language;

use super::helpers::{ask, start_with};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Answer;
use crate::support::counted::counted;
use crate::support::servers::{Postgres, Smtp};

const ADDRESSES: usize = 10_000;

/// All that a caller could tell one answer from another by, without what names the request.
fn face(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let told = answer.headers.iter().filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()));
    let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("a plain header").to_owned();
    let mut headers: Vec<_> = told.map(|(name, value)| (name.to_string(), text(value))).collect();
    headers.sort();
    (answer.status, headers, answer.text.clone())
}

on_every_setup!(of_ten_thousand_addresses_each_is_answered_alike_and_few_get_a_mail);
async fn of_ten_thousand_addresses_each_is_answered_alike_and_few_get_a_mail(setup: Setup) {
    let (test, _smtp) = start_with(setup, &[("REFERRAL_LIMITS", "on")]).await;
    for number in [0, 1, 5_000] {
        test.client().register(&format!("person{number}"), None).await.expect(201);
    }
    let began = Instant::now();
    let before = test.number("select count(*) from jobs").await;
    let reference = face(&ask(&test.client(), "person0@example.com").await);
    assert_eq!((reference.0, reference.2.as_str()), (202, ""));
    let client = test.client();
    let asked = iter(1..ADDRESSES).map(|number| {
        let client = &client;
        async move { face(&ask(client, &format!("person{number}@example.com")).await) }
    });
    let different = asked.buffer_unordered(16).filter(|seen| std::future::ready(*seen != reference)).count().await;
    assert_eq!(different, 0);
    let jobs = test.number("select count(*) from jobs").await - before;
    // The budget fills again while we ask.
    let refilled = began.elapsed().as_secs_f64() / 360.0;
    assert!((10.0..=11.0 + refilled).contains(&(jobs as f64)), "{jobs} mails were asked for");
}

/// What a request for a link asks the database does not tell either; counted on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_link_asks_the_database_the_same_for_everybody_on_postgresql() {
    let direct = Postgres::shared().await.database().await;
    let (url, asked) = counted(&direct).await;
    let [server, from] = Smtp::settings(9);
    let settings = [(server.0, server.1.as_str()), (from.0, from.1.as_str())];
    let test = Setup::Postgres.prepare_on(url, &settings).await;
    // It follows nothing, so nobody else asks.
    let app = test.open(&[]).await.expect("an app");
    test.sql(
        "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable,
                            email_verdict)
         values ('0198b0a0-0000-7000-8000-000000000001', 'olga', 'olga@example.com', 'olga', 'olga@example.com', 1,
                 false, true, 'valid')",
    )
    .await;
    test.sql("insert into logins (login_key, user_id) select email_key, id from users").await;
    let mut counts = Vec::new();
    for address in ["nobody@example.com", "olga@example.com", "nobody@example.com", "olga@example.com", "x@example.com"]
    {
        let email = Email::parse(address).expect("an address");
        let before = (asked.load(Ordering::SeqCst), app.hasher.computed());
        reset::ask(&app, Actor::SERVICE.into(), Language::English, &email).await.expect("asked");
        assert_eq!(app.hasher.computed(), before.1);
        counts.push(asked.load(Ordering::SeqCst) - before.0);
    }
    // The first prepares what the others use.
    assert!(counts[1..].windows(2).all(|pair| pair[0] == pair[1]) && counts[1] > 0, "{counts:?}");
}
