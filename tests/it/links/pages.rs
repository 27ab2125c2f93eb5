//! A friend opens a link where there is no landing page: the page to register on says who invites.

use fantoccini::Locator;
use reqwest::Url;
use serde_json::json;

use super::helpers::handle_of;
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::browser::{Browser, Habits, Screen};
use crate::support::client::{Client, PASSWORD};
use crate::support::host::host_of;
use crate::support::visit::{Page, Visit};

async fn owner(test: &TestApp) -> (Client, String) {
    let owner = test.user("olga").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let handle = handle_of(&owner).await;
    (owner, format!("/r/{handle}"))
}

fn typed(page: &Page, field: &str) -> String {
    let form = page.form("/oauth/register");
    form.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn open(visit: &mut Visit, path: &str) -> Page {
    let first = visit.get(path).await.expect(302);
    assert!(visit.cookies.is_empty(), "a link sets no cookie: {first:?}");
    visit.follow(first).await.expect(200)
}

on_every_setup!(a_friend_learns_who_invites_and_is_credited);
async fn a_friend_learns_who_invites_and_is_credited(setup: Setup) {
    let test = setup.start().await;
    let (owner, link) = owner(&test).await;
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = open(&mut visit, &link).await;
    assert!(page.text.contains("<bdi>olga</bdi> invites you."), "{page:?}");
    assert_eq!(typed(&page, "code"), "SPRING2030AB");
    let form = page.form("/oauth/register");
    // What is wrong with the rest does not make the friend forget who invites.
    let weak = [("username", "friend"), ("email", "friend@example.com"), ("password", "short")];
    let page = visit.submit(&form, &weak).await.expect(422);
    assert!(page.text.contains("<bdi>olga</bdi> invites you."), "{page:?}");
    let good = [("username", "friend"), ("email", "friend@example.com"), ("password", PASSWORD)];
    visit.submit(&page.form("/oauth/register"), &good).await.expect(303);
    assert_eq!(owner.get("/api/v1/me/referrals").await.expect(200).json()["total"], 1);
    // In the friend's language, and by a handle that is typed.
    let mut visit = Visit::new(&test.nodes[0].url);
    visit.language = "ru".to_owned();
    let page = open(&mut visit, "/r/SPRING2030AB").await;
    assert!(page.text.contains("Вас приглашает <bdi>olga</bdi>."), "{page:?}");
    let other = [("username", "second"), ("email", "second@example.com"), ("password", PASSWORD)];
    let handle = link.trim_start_matches("/r/").to_uppercase();
    let typed = [&other[..], &[("code", handle.as_str())]].concat();
    visit.submit(&page.form("/oauth/register"), &typed).await.expect(303);
    assert_eq!(owner.get("/api/v1/me/referrals").await.expect(200).json()["total"], 2);
}

on_every_setup!(that_an_invitation_has_ended_is_said_before_anybody_fills_in_a_form);
async fn that_an_invitation_has_ended_is_said_before_anybody_fills_in_a_form(setup: Setup) {
    let test = setup.start().await;
    let (owner, link) = owner(&test).await;
    owner.revoke_code("SPRING2030AB").await.expect(204);
    for path in [link.as_str(), "/r/SPRING2030AB"] {
        let mut visit = Visit::new(&test.nodes[0].url);
        let page = open(&mut visit, path).await;
        assert!(page.text.contains("This invitation has ended."), "{page:?}");
        assert!(!page.text.contains("olga") && typed(&page, "code").is_empty(), "{page:?}");
        let name = if path == link { "first" } else { "second" };
        let email = format!("{name}@example.com");
        let alone = [("username", name), ("email", email.as_str()), ("password", PASSWORD)];
        visit.submit(&page.form("/oauth/register"), &alone).await.expect(303);
    }
    // So it is of codes on the address itself, as clients and older links have them. They stay in the form, for they
    // may be typing mistakes.
    for (query, code) in [
        ("code=SPRING2030AB", "SPRING2030AB"),
        ("code=UNKNOWN2030A", "UNKNOWN2030A"),
        ("code=%D0%BB", "л"),
        ("invitation=ended", ""),
    ] {
        let page = Visit::new(&test.nodes[0].url).get(&format!("/oauth/register?{query}")).await.expect(200);
        assert!(page.text.contains("This invitation has ended."), "{query}");
        assert_eq!(typed(&page, "code"), code, "{query}");
    }
    let page = Visit::new(&test.nodes[0].url).get("/oauth/register").await.expect(200);
    assert!(!page.text.contains("invitation") && !page.text.contains("invites"), "{page:?}");
    assert_eq!(owner.get("/api/v1/me/referrals").await.expect(200).json()["total"], 0);
}

on_every_setup!(friends_of_a_participant_see_the_name_that_the_host_tells);
async fn friends_of_a_participant_see_the_name_that_the_host_tells(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let told = host.tell("42", json!({"name": "Olga P."})).await.expect(201).json();
    let path = format!("/r/{}", told["code"].as_str().expect("a code"));
    let page = open(&mut Visit::new(&test.nodes[0].url), &path).await;
    assert!(page.text.contains("<bdi>Olga P.</bdi> invites you."), "{page:?}");
    // Without one there is the drawn name.
    host.tell("42", json!({"name": ""})).await.expect(200);
    let page = open(&mut Visit::new(&test.nodes[0].url), &path).await;
    assert!(page.text.contains("You have been invited.") && !page.text.contains("Olga P."), "{page:?}");
}

on_every_setup!(a_name_that_is_an_address_is_masked_for_friends);
async fn a_name_that_is_an_address_is_masked_for_friends(setup: Setup) {
    let test = setup.start().await;
    let body = json!({"username": "olga@example.com", "email": "olga@example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    let owner = test.client().logged_in("olga@example.com").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let page = open(&mut Visit::new(&test.nodes[0].url), "/r/SPRING2030AB").await;
    assert!(page.text.contains("<bdi>o***@e***.com</bdi> invites you.") && !page.text.contains("olga@"), "{page:?}");
}

on_every_setup!(whoever_tries_codes_on_the_page_learns_nothing_beyond_the_limit);
async fn whoever_tries_codes_on_the_page_learns_nothing_beyond_the_limit(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "1")];
    let test = setup.start_with(&settings).await;
    owner(&test).await;
    let mut visit = Visit::new(&test.nodes[0].url);
    let first = visit.get("/oauth/register?code=SPRING2030AB").await.expect(200);
    assert!(first.text.contains("invites you"));
    for code in ["SPRING2030AB", "UNKNOWN2030A"] {
        let page = visit.get(&format!("/oauth/register?code={code}")).await.expect(200);
        let told = page.text.contains("invitation") || page.text.contains("invites");
        assert!(!told && typed(&page, "code") == code, "{page:?}");
    }
}

on_every_setup!(a_link_that_nobody_has_is_a_page_for_people);
async fn a_link_that_nobody_has_is_a_page_for_people(setup: Setup) {
    let test = setup.start().await;
    let client = test.client();
    for (language, words) in [("en", "There is no such invitation"), ("ru", "Такого приглашения нет")]
    {
        let request = client.request(reqwest::Method::GET, "/r/unknown1");
        let request = request.header("accept", "text/html").header("accept-language", language);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 404);
        assert!(response.headers().get("set-cookie").is_none());
        let text = response.text().await.expect("a page");
        assert!(text.contains(words) && text.contains("<meta name=\"robots\" content=\"noindex\">"), "{text}");
        // Whoever was sent here by a mistyped link has no account yet.
        assert!(text.contains("<a class=\"button\" href=\"/oauth/register\">"), "{text}");
    }
}

#[tokio::test]
async fn a_friend_on_a_phone_opens_a_link_and_signs_up() {
    let test = Setup::Sqlite.start().await;
    let (owner, link) = owner(&test).await;
    let languages = [
        ("en", "olga invites you.", "Your account is ready, and you are logged in. olga invited you."),
        ("ru", "Вас приглашает olga.", "Аккаунт создан, и вы уже вошли. Кто вас пригласил: olga."),
    ];
    for (turn, (language, invites, welcome)) in languages.into_iter().enumerate() {
        let habits = Habits { screen: Screen::Phone, script: false, language };
        let browser = Browser::open_as(&test.nodes[0].url, habits).await;
        browser.goto(&link).await;
        assert_eq!(browser.find(".lead").await.text().await.expect("a text"), invites);
        browser.screenshot(&format!("links-invited-{language}")).await;
        browser.write("#username", &format!("friend{turn}")).await;
        browser.write("#email", &format!("friend{turn}@example.com")).await;
        browser.write("#password", PASSWORD).await;
        browser.click("main form button:not(.plain)").await;
        browser.arrives_at(&format!("{}/share?done=registered", test.nodes[0].url)).await;
        // The friend has somebody to invite, too: a code with one button, and only then a link to send on.
        assert_eq!(browser.find(".done p").await.text().await.expect("a text"), welcome);
        let ways = async || browser.client.find_all(Locator::Css(".copy, .channels, .qr")).await.expect("a look").len();
        assert_eq!(ways().await, 0);
        browser.screenshot(&format!("share-arrived-{language}")).await;
        browser.click("form[action='/share/code'] button").await;
        browser.arrives_at(&format!("{}/share?done=made", test.nodes[0].url)).await;
        assert_eq!(ways().await, 3);
        let sent = browser.find(".channels a").await.attr("href").await.expect("an attribute").expect("an address");
        let link = browser.find(".copy").await.text().await.expect("a text");
        let sent = Url::parse(&sent).expect("an address");
        assert!(sent.query_pairs().any(|(_, said)| said.contains(&link)), "{sent} has {link}");
        browser.screenshot(&format!("share-sent-{language}")).await;
        browser.is_clean().await;
        browser.close().await;
    }
    assert_eq!(owner.get("/api/v1/me/referrals").await.expect(200).json()["total"], 2);
    owner.revoke_code("SPRING2030AB").await.expect(204);
    let habits = Habits { screen: Screen::Phone, script: false, language: "ru" };
    let browser = Browser::open_as(&test.nodes[0].url, habits).await;
    browser.goto(&link).await;
    browser.find(".lead").await;
    browser.screenshot("links-ended-ru").await;
    browser.close().await;
}
