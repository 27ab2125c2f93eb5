//! The link, the code, what happened and who came.

use std::collections::BTreeSet;

use referral::features::links::actions::clicks;
use serde_json::json;

use super::helpers::{logged_in, send};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, PASSWORD};
use crate::support::visit::{Page, Visit};

const CODE: &str = "/share/code";
const MAKE: [(&str, &str); 2] = [("action", "make"), ("days", "30")];
const REVOKE: [(&str, &str); 1] = [("action", "revoke")];

/// How many codes somebody has had, and the one that is active.
async fn codes(client: &Client) -> (i64, Option<String>) {
    let total = client.get("/api/v1/codes").await.expect(200).json()["total"].as_i64().expect("a number");
    let me = client.get("/api/v1/me").await.expect(200).json();
    (total, me["active_code"]["code"].as_str().map(str::to_owned))
}

on_every_setup!(a_code_is_made_replaced_and_revoked_and_each_form_acts_once);
async fn a_code_is_made_replaced_and_revoked_and_each_form_acts_once(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let (mut visit, new) = logged_in(&test, "olga").await;
    let share = olga.get("/api/v1/me/share").await.expect(200).json();
    let link = share["link"].as_str().expect("a link");
    let handle = share["handle"].as_str().expect("a handle");
    // A link that leads nowhere is not shown: the form that switches it on stands there.
    let offers = |page: &Page| {
        let parts = [&format!("<bdi>{link}</bdi></p>"), "class=\"channels\"", &format!("/r/{handle}/qr.svg")];
        (parts.map(|part| page.text.contains(part)), page.text.contains("Your link is ready. Switch it on"))
    };
    assert_eq!(offers(&new), ([false; 3], true), "{new:?}");
    assert!(!new.text.contains("id=\"code\""), "{new:?}");

    assert_eq!(send(&mut visit, &new, CODE, &MAKE).await, "/share?done=made");
    let (1, Some(first)) = codes(&olga).await else { panic!("one code") };
    let page = visit.get("/share?done=made").await.expect(200);
    assert!(page.text.contains(&format!("<bdi>{first}</bdi>")), "{page:?}");
    assert_eq!(offers(&page), ([true; 3], false), "{page:?}");
    for text in share["texts"].as_array().expect("texts") {
        let url = text["url"].as_str().expect("an address").replace('&', "&#38;");
        assert!(page.text.contains(&format!("href=\"{url}\"")), "{url} in {page:?}");
    }
    // The form of a page where there was no code yet, as the back button brings it: nothing is made.
    assert_eq!(send(&mut visit, &new, CODE, &MAKE).await, "/share?done=stale");
    assert_eq!(codes(&olga).await, (1, Some(first.clone())));
    // Replaced, and the same form again.
    assert_eq!(send(&mut visit, &page, CODE, &MAKE).await, "/share?done=made");
    let (2, Some(second)) = codes(&olga).await else { panic!("another code") };
    assert_ne!(first, second);
    for typed in [&MAKE[..], &REVOKE[..]] {
        assert_eq!(send(&mut visit, &page, CODE, typed).await, "/share?done=stale");
        assert_eq!(codes(&olga).await, (2, Some(second.clone())));
    }
    // Revoked, twice; then there is another.
    let page = visit.get("/share").await.expect(200);
    assert_eq!(send(&mut visit, &page, CODE, &REVOKE).await, "/share?done=revoked");
    assert_eq!(send(&mut visit, &page, CODE, &REVOKE).await, "/share?done=stale");
    assert_eq!(codes(&olga).await, (2, None));
    let page = visit.get("/share?done=revoked").await.expect(200);
    assert!(page.text.contains("It was revoked.") && page.text.contains("Nobody can register with it any more"));
    assert_eq!(offers(&page), ([false; 3], true), "{page:?}");
    assert_eq!(send(&mut visit, &page, CODE, &MAKE).await, "/share?done=made");
    assert_eq!(codes(&olga).await.0, 3);
    // What no form of ours says is as good as nothing said: the life is the one that is offered first.
    let page = visit.get("/share").await.expect(200);
    let odd = [("action", "\0"), ("days", "-1"), ("shown", "3")];
    assert_eq!(send(&mut visit, &page, CODE, &odd).await, "/share?done=made");
    let odd = [("action", "make"), ("days", "7"), ("shown", "99999999999999999999")];
    assert_eq!(send(&mut visit, &page, CODE, &odd).await, "/share?done=stale");
}

on_every_setup!(of_a_form_that_is_sent_many_times_at_once_one_acts);
async fn of_a_form_that_is_sent_many_times_at_once_one_acts(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let (visit, page) = logged_in(&test, "olga").await;
    let sent = (0..8).map(|_| {
        let (mut visit, page) = (visit.clone(), page.clone());
        async move { send(&mut visit, &page, CODE, &MAKE).await }
    });
    let led = futures_util::future::join_all(sent).await;
    assert_eq!(led.iter().filter(|to| to.as_str() == "/share?done=made").count(), 1, "{led:?}");
    assert_eq!(led.iter().collect::<BTreeSet<_>>().len(), 2, "{led:?}");
    assert_eq!(codes(&olga).await.0, 1);
}

on_every_setup!(forms_of_another_time_or_person_do_nothing);
async fn forms_of_another_time_or_person_do_nothing(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    test.user("ivan").await;
    let (mut olgas, page) = logged_in(&test, "olga").await;
    let (mut ivans, _) = logged_in(&test, "ivan").await;
    // Her form in his browser, and in one that has never been here.
    for visit in [&mut ivans, &mut Visit::new(&test.nodes[0].url)] {
        let told = visit.submit(&page.form(CODE), &MAKE).await.expect(403);
        assert!(told.text.contains("This page has expired") && told.text.contains("href=\"/share\""), "{told:?}");
    }
    // After she has logged out, in an old tab; and after she has logged in again.
    olgas.submit(&page.form("/oauth/logout"), &[]).await.expect(200);
    let told = olgas.submit(&page.form(CODE), &MAKE).await.expect(403);
    assert!(told.text.contains("This page has expired"), "{told:?}");
    let log_in = olgas.get("/share").await.expect(200);
    olgas.log_in(&log_in, "olga", PASSWORD).await.expect(303);
    olgas.submit(&page.form(CODE), &MAKE).await.expect(403);
    // A session that ended elsewhere: the page to log in on.
    let page = olgas.get("/share").await.expect(200);
    let new = json!({"current_password": PASSWORD, "new_password": "another long password"});
    olga.post("/api/v1/me/password", &new).await.expect(204);
    olgas.submit(&page.form(CODE), &MAKE).await.expect(200).form("/oauth/login");
    assert_eq!(test.number("select count(*) from codes").await, 0);
}

on_every_setup!(codes_beyond_the_days_number_are_refused_on_the_page);
async fn codes_beyond_the_days_number_are_refused_on_the_page(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_CODES_PER_USER_AND_DAY", "1")]).await;
    test.user("olga").await;
    let (mut visit, page) = logged_in(&test, "olga").await;
    send(&mut visit, &page, CODE, &MAKE).await;
    let page = visit.get("/share").await.expect(200);
    let told = visit.submit(&page.form(CODE), &MAKE).await.expect(429);
    assert!(told.text.contains("Too many attempts") && !told.header("retry-after").is_empty(), "{told:?}");
    told.form(CODE);
}

fn names(page: &Page) -> Vec<String> {
    let (_, list) = page.text.split_once("<ul class=\"people\">").expect("a list");
    let (list, _) = list.split_once("</ul>").expect("its end");
    let parts = list.split("<span class=\"who\"><bdi>").skip(1);
    parts.map(|part| part.split_once("</bdi>").expect("a name").0.to_owned()).collect()
}

async fn brings(test: &TestApp, count: usize) {
    let olga = test.user("olga").await;
    olga.create_code("SPRING2030AB").await.expect(201);
    for number in 1..=count {
        test.client().register(&format!("friend{number}"), Some("SPRING2030AB")).await.expect(201);
    }
}

on_every_setup!(who_came_is_listed_the_latest_first_in_parts);
async fn who_came_is_listed_the_latest_first_in_parts(setup: Setup) {
    let test = setup.start().await;
    brings(&test, 43).await;
    let (mut visit, page) = logged_in(&test, "olga").await;
    assert!(page.text.contains("43 people have registered with your codes."), "{page:?}");
    let expected: Vec<String> = (1..=43).rev().map(|number| format!("friend{number}")).collect();
    let mut seen = names(&page);
    let mut page = page;
    let mut parts = 1;
    while let Some((_, older)) = page.text.split_once("<a href=\"/share?cursor=") {
        let (cursor, _) = older.split_once('#').expect("a place on the page");
        page = visit.get(&format!("/share?cursor={cursor}")).await.expect(200);
        assert!(page.text.contains("43 people") && page.text.contains("href=\"/share#people\""), "{page:?}");
        seen.extend(names(&page));
        parts += 1;
    }
    assert_eq!((seen, parts), (expected, 3));
    // A cursor that is none of ours leads to the latest.
    let page = visit.get("/share?cursor=nonsense").await.expect(200);
    assert_eq!(names(&page).first().map(String::as_str), Some("friend43"));
}

on_every_setup!(names_that_are_addresses_are_masked_unless_everybody_may_see_them);
async fn names_that_are_addresses_are_masked_unless_everybody_may_see_them(setup: Setup) {
    for (visible, shown) in [("owner", false), ("masked", false), ("all", true)] {
        let test = setup.start_with(&[("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", visible)]).await;
        brings(&test, 0).await;
        let ivan = json!({"username": "ivan@example.com", "email": "ivan@example.com", "password": PASSWORD,
            "code": "SPRING2030AB"});
        test.client().post("/api/v1/auth/user", &ivan).await.expect(201);
        let (_, page) = logged_in(&test, "olga").await;
        assert_eq!(names(&page), [if shown { "ivan@example.com" } else { "i***@e***.com" }], "{visible}");
        assert_eq!(page.text.contains("ivan@example.com"), shown, "{visible}");
    }
}

on_every_setup!(figures_are_those_of_the_api);
async fn figures_are_those_of_the_api(setup: Setup) {
    let test = setup.start().await;
    brings(&test, 2).await;
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("one");
    let url = format!("{}/r/SPRING2030AB", test.nodes[0].url);
    assert_eq!(http.get(url).header("user-agent", agent).send().await.expect("an answer").status(), 302);
    clicks::flush(test.app()).await.expect("written");
    let (_, page) = logged_in(&test, "olga").await;
    assert!(page.text.contains("1 click by 1 visitor, and 2 registrations."), "{page:?}");
    let today = page.text.split("<tbody>").nth(1).and_then(|rows| rows.split("</tr>").next()).expect("the latest day");
    assert!(today.contains("<td>1</td><td>1</td><td>2</td>"), "{today}");
    assert_eq!(page.text.matches("<rect ").count(), 2);
    assert_eq!(page.text.matches("<tr><th scope=\"row\">").count(), 30);
    assert!(page.text.len() < 60 * 1024, "{}", page.text.len());
}

on_every_setup!(people_who_open_the_service_find_their_page_and_programs_the_documentation);
async fn people_who_open_the_service_find_their_page_and_programs_the_documentation(setup: Setup) {
    let test = setup.start().await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("one");
    for (accept, expected) in [
        (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), "/share"),
        (Some("application/json"), "/docs"),
        (Some("*/*"), "/docs"),
        (None, "/docs"),
    ] {
        let mut request = http.get(&test.nodes[0].url);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let answer = request.send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().expect("one")), (307, expected));
    }
}
