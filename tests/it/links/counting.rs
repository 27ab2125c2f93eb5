//! What counts as a click, and that nothing about anybody is kept.

use std::time::Duration;

use referral::features::links::actions::clicks;
use reqwest::Method;

use super::helpers::{AGENT, counted, handle_of, list, open_as};
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::Client;
use crate::support::operator::operator;
use crate::{on_both_engines, on_every_setup};

const HOUR: Duration = Duration::from_secs(3600);

async fn link(test: &TestApp) -> String {
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    format!("/r/{}", handle_of(&owner).await)
}

async fn click(client: &Client, path: &str, agent: &str) {
    open_as(client, Method::GET, path, agent.as_bytes(), &[]).await.expect(302);
}

on_every_setup!(no_crawler_counts_and_every_browser_counts_one);
async fn no_crawler_counts_and_every_browser_counts_one(setup: Setup) {
    let test = setup.start().await;
    let (client, link) = (test.client(), link(&test).await);
    let crawlers = list(include_bytes!("crawlers.txt.gz"));
    assert!(crawlers.len() > 2000, "{}", crawlers.len());
    for agent in crawlers.iter().map(String::as_str).chain(["", " ", "curl/8.0"]) {
        click(&client, &link, agent).await;
    }
    client.get(&link).await.expect(302);
    assert_eq!(counted(&test).await, (0, 0));
    let browsers = list(include_bytes!("browsers.txt.gz"));
    assert!(browsers.len() > 700, "{}", browsers.len());
    for agent in &browsers {
        click(&client, &link, agent).await;
    }
    let all = browsers.len() as i64;
    assert_eq!(counted(&test).await, (all, all));
}

on_every_setup!(what_no_person_has_opened_does_not_count);
async fn what_no_person_has_opened_does_not_count(setup: Setup) {
    let test = setup.start().await;
    let (client, link) = (test.client(), link(&test).await);
    open_as(&client, Method::HEAD, &link, AGENT.as_bytes(), &[]).await.expect(302);
    for (name, value) in [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "prefetch"),
    ] {
        open_as(&client, Method::GET, &link, AGENT.as_bytes(), &[(name, value)]).await.expect(302);
    }
    // Neither the picture nor what leads nowhere.
    open_as(&client, Method::GET, &format!("{link}/qr.svg"), AGENT.as_bytes(), &[]).await.expect(200);
    open_as(&client, Method::GET, "/r/unknown1", AGENT.as_bytes(), &[]).await.expect(404);
    assert_eq!(counted(&test).await, (0, 0));
    open_as(&client, Method::GET, &link, AGENT.as_bytes(), &[("sec-purpose", "navigate")]).await.expect(302);
    assert_eq!(counted(&test).await, (1, 1));
}

on_every_setup!(a_browser_counts_once_an_hour_on_each_node);
async fn a_browser_counts_once_an_hour_on_each_node(setup: Setup) {
    let test = setup.start_two().await;
    let (client, link) = (test.client(), link(&test).await);
    let noon = |day: i64| Duration::from_secs(u64::try_from(day).expect("a day") * 86_400);
    // So that no midnight comes between.
    let now = test.app().clock.now();
    let begin = referral::kernel::day::Day::of(now).plus(1).begin();
    test.move_clock(begin.since(now));
    for _ in 0..100 {
        let all = (0..100).map(|_| click(&client, &link, AGENT));
        futures_util::future::join_all(all).await;
    }
    assert_eq!(counted(&test).await, (1, 1));
    // By handle or by code it is one link.
    click(&client, "/r/SPRING2030AB", AGENT).await;
    assert_eq!(counted(&test).await, (1, 1));
    click(&test.client_of(1), &link, AGENT).await;
    assert_eq!(counted(&test).await, (2, 2));
    test.move_clock(HOUR);
    click(&client, &link, AGENT).await;
    assert_eq!(counted(&test).await, (3, 2));
    test.move_clock(noon(1));
    click(&client, &link, AGENT).await;
    assert_eq!(counted(&test).await, (4, 3));
    assert_eq!(test.number("select count(*) from clicks_daily").await, 2);
}

on_every_setup!(nothing_about_who_clicked_is_written);
async fn nothing_about_who_clicked_is_written(setup: Setup) {
    let test = setup.start().await;
    let link = link(&test).await;
    click(&test.client(), &link, AGENT).await;
    assert_eq!(counted(&test).await, (1, 1));
    let columns = match setup {
        Setup::Sqlite => "select name from pragma_table_info('clicks_daily') order by 1",
        _ => "select column_name from information_schema.columns where table_name = 'clicks_daily' order by 1",
    };
    let columns: Vec<_> = test.query(columns).await.into_iter().flatten().flatten().collect();
    assert_eq!(columns, ["clicks", "day", "owner_id", "visitors"]);
}

on_every_setup!(what_cannot_be_written_is_written_later);
async fn what_cannot_be_written_is_written_later(setup: Setup) {
    let test = setup.start().await;
    let link = link(&test).await;
    click(&test.client(), &link, AGENT).await;
    test.sql("alter table clicks_daily rename to elsewhere").await;
    clicks::flush(test.app()).await.expect_err("there is no such table");
    click(&test.client(), &link, "Mozilla/5.0 (another)").await;
    clicks::flush(test.app()).await.expect_err("there is no such table");
    test.sql("alter table elsewhere rename to clicks_daily").await;
    assert_eq!(counted(&test).await, (2, 2));
    assert_eq!(counted(&test).await, (2, 2));
}

on_both_engines!(after_sigterm_all_clicks_are_there);
async fn after_sigterm_all_clicks_are_there(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let owner = serving.client().signed_up("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let link = format!("/r/{}", handle_of(&owner).await);
    let client = serving.client();
    let mut sent = 0_i64;
    for turn in 0..20 {
        let agents: Vec<String> = (0..25).map(|one| format!("Mozilla/5.0 (browser {turn} {one})")).collect();
        let all = agents.iter().map(|agent| click(&client, &link, agent));
        sent += futures_util::future::join_all(all).await.len() as i64;
    }
    let ended = serving.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for secret in [link.as_str(), "127.0.0.1:5", "browser 1", "owner", "SPRING2030AB"] {
        assert!(!ended.stderr.contains(secret), "{secret}: {}", ended.stderr);
    }
    let again = operator.serve();
    let owner = again.client().logged_in("owner").await;
    let figures = owner.get("/api/v1/me/clicks").await.expect(200).json();
    assert_eq!((figures["total"]["clicks"].as_i64(), figures["total"]["visitors"].as_i64()), (Some(sent), Some(sent)));
}

on_both_engines!(clicks_are_written_each_second);
async fn clicks_are_written_each_second(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let owner = serving.client().signed_up("owner").await;
    click(&serving.client(), &format!("/r/{}", handle_of(&owner).await), AGENT).await;
    eventually("the click is written", || async {
        owner.get("/api/v1/me/clicks").await.expect(200).json()["total"]["clicks"] == 1
    })
    .await;
}
