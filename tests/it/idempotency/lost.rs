//! Answers that are lost on their way, and nodes that are killed.

use reqwest::Method;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::keyed::{FAR, REPLACE, is_replayed, replace, request};
use crate::support::relay::{Fault, Relay};

fn port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').expect("a port");
    rest.split('/').next().and_then(|port| port.parse().ok()).expect("a number")
}

on_every_setup!(who_has_lost_the_answer_gets_it_when_they_ask_again);
async fn who_has_lost_the_answer_gets_it_when_they_ask_again(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let relay = Relay::to(port(&test.nodes[0].url)).await;
    relay.suffer(Fault::LoseReply(b"POST /api/v1/codes".to_vec()));
    let far = user.at(&format!("http://127.0.0.1:{}", relay.port));
    let body = json!({"expires_at": FAR});
    let lost = request(&far, &Method::POST, REPLACE, Some(&body), "key").send().await;
    assert!(lost.is_err(), "{lost:?}");
    relay.suffer(Fault::None);
    // The server does what it was asked, or has done so.
    let answer = replace(&user, "key").await.expect(201);
    let made = test.query("select code from codes").await;
    assert_eq!(made, [[Some(answer.json()["code"].as_str().expect("a code").to_owned())]]);
    assert!(is_replayed(&replace(&far, "key").await.expect(201)));
}

/// Nobody knows what became of a commit whose answer is lost; who asks again learns it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_found_by_who_asks_again() {
    let mut test = Setup::Postgres.prepare(&[]).await;
    let (_, rest) = test.database_url.split_once('@').expect("a user");
    let (server, database) = rest.split_once('/').expect("a database");
    let relay = Relay::to(port(&format!("http://{server}"))).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/{database}", relay.port);
    test.add_node_with(&[("DATABASE_URL", &url)]).await;
    let user = test.user("user").await;
    let mut unknown = 0;
    for round in 0..3 {
        let key = format!("key {round}");
        relay.suffer(Fault::LoseReply(b"commit".to_vec()));
        let answer = replace(&user, &key).await;
        if answer.status == 503 {
            answer.expect_problem(503, "unavailable");
            unknown += 1;
        }
        relay.suffer(Fault::None);
        let first = loop {
            let answer = replace(&user, &key).await;
            if answer.status != 503 {
                break answer.expect(201);
            }
        };
        assert_eq!(replace(&user, &key).await.expect(201).text, first.text);
        assert_eq!(test.number("select count(*) from codes").await, round + 1);
    }
    assert!(unknown > 0, "no answer was lost");
}
