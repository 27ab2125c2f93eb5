//! Who does not get in, and what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::helpers::{
    HOME, TRUSTED, browser_of, come, field, is_now, join_account, later, leave, link, new_account, request, start,
    start_with, tokens_of, who,
};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::log;
use crate::support::provider::{Fault, Play, Provider, SECRET};

const PATIENCE: Duration = Duration::from_secs(600);
type Lie = fn(&mut Play);

on_every_setup!(who_does_not_come_as_they_left_does_not_get_in);
async fn who_does_not_come_as_they_left_does_not_get_in(setup: Setup) {
    let (corp, other) = (Provider::start().await, Provider::start().await);
    let test = start_with(setup, &[("corp", &corp), ("other", &other)], &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[]).await.expect(303);
    let mut visit = browser_of(&test);
    visit.get(HOME).await;
    let asked = |provider: &Provider| provider.asked("/token");
    let before = (asked(&corp), asked(&other));

    // In another browser, or in none that is known.
    let back = leave(&mut visit, "/oauth/login/corp").await;
    let mut stranger = browser_of(&test);
    stranger.get(HOME).await;
    stranger.get(&back).await.expect(400);
    browser_of(&test).get(&back).await.expect(400);
    // With parts given twice, or missing.
    for more in ["&state=x", "&code=x", "&iss=x"] {
        visit.get(&format!("{back}{more}")).await.expect(400);
    }
    let (path, query) = back.split_once('?').expect("a query");
    let of =
        |query: &str| -> BTreeMap<String, String> { form_urlencoded::parse(query.as_bytes()).into_owned().collect() };
    let good = of(query);
    let spelled = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let mut parts = good.clone();
        change(&mut parts);
        form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
    };
    for state in ["", "x", "\0", &"x".repeat(5000)] {
        let query = spelled(&|parts| drop(parts.insert("state".into(), state.into())));
        visit.get(&format!("{path}?{query}")).await.expect(400);
    }
    visit.get(path).await.expect(400);
    visit.get("/oauth/callback/nobody?state=x&code=y").await.expect(404);
    visit.get("/oauth/callback/%00?state=x&code=y").await.expect(404);
    visit.get("/oauth/login/nobody").await.expect(404);
    visit.get("/oauth/login/%00").await.expect(404);
    assert_eq!((asked(&corp), asked(&other)), before, "nobody was asked");
    // None of it has used anything up: here it is good, once.
    visit.get(&back).await.expect(303);
    assert_eq!(who(&visit).await.as_deref(), Some("Olga"));
    visit.get(&back).await.expect(400);

    // The other provider is not asked about what this one has given, by whichever callback.
    let mut visit = browser_of(&test);
    let back = leave(&mut visit, "/oauth/login/corp").await;
    let before = (asked(&corp), asked(&other));
    visit.get(&back.replace("/callback/corp", "/callback/other")).await.expect(400);
    visit.get(&back).await.expect(400);
    for lie in [|play: &mut Play| play.iss = Some("http://127.0.0.1:1".into()), |play: &mut Play| play.iss = None] {
        corp.plays(lie);
        let page = come(&mut visit, "corp").await.expect(400);
        link(&page, HOME);
    }
    corp.is_honest();
    assert_eq!((asked(&corp), asked(&other)), before, "nobody was asked");

    // The person says no; the way back to where they were going stays open.
    let page = visit.get(&request(&[])).await.expect(200);
    let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
    let state = of(back.split_once('?').expect("a query").1)["state"].clone();
    let denied = format!("/oauth/callback/corp?error=access_denied&state={state}");
    let page = visit.get(&denied).await.expect(403);
    visit.get(&link(&page, "/oauth/authorize?client_id=docs&")).await.expect(200).form("/oauth/login");
    visit.get(&denied).await.expect(400);
    visit.get(&back).await.expect(400);

    // And who takes too long begins again.
    let back = leave(&mut visit, "/oauth/login/corp").await;
    later(&test, &corp, PATIENCE + Duration::from_secs(1));
    visit.get(&back).await.expect(400);
    assert_eq!(who(&visit).await, None);
    let back = leave(&mut visit, "/oauth/login/corp").await;
    later(&test, &corp, PATIENCE - Duration::from_secs(5));
    visit.get(&back).await.expect(303);
}

on_every_setup!(a_ticket_is_good_once_in_time_and_in_its_own_browser);
async fn a_ticket_is_good_once_in_time_and_in_its_own_browser(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    test.user("ivan").await;
    let mut visit = browser_of(&test);
    let back = leave(&mut visit, "/oauth/login/corp").await;
    let page = visit.get(&back).await.expect(200);
    let (new, join) = (new_account(&page), join_account(&page));
    let joining = [("login", "ivan"), ("password", PASSWORD)];
    for typed in [&[("username", "olga")][..], &joining] {
        let form = if typed.len() == 1 { &new } else { &join };
        let with = |more: &[(&'static str, &'static str)]| [typed, more].concat();
        visit.submit(form, &with(&[("csrf", "AAAA")])).await.expect(403);
        visit.submit(form, &with(&[("csrf", "")])).await.expect(403);
        for ticket in ["", "x", "\0"] {
            visit.submit(form, &with(&[("ticket", ticket)])).await.expect(403);
        }
        browser_of(&test).submit(form, typed).await.expect(403);
        // A state is no ticket.
        let mut other = visit.clone();
        let left = leave(&mut other, "/oauth/login/corp").await;
        let query = left.split_once('?').expect("a query").1.to_owned();
        let state = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").expect("a state").1;
        let mut form = form.clone();
        form.fields.retain(|(name, _)| name != "ticket");
        form.fields.push(("ticket".into(), state.into_owned()));
        visit.submit(&form, typed).await.expect(403);
    }
    // Somebody else's browser, even with a form of its own.
    let mut stranger = browser_of(&test);
    let theirs = come(&mut stranger, "corp").await.expect(200);
    let ticket = field(&new, "ticket").to_owned();
    stranger.submit(&new_account(&theirs), &[("username", "mallory"), ("ticket", &ticket)]).await.expect(403);
    // A ticket is no state.
    visit.get(&format!("/oauth/callback/corp?code=x&state={ticket}")).await.expect(400);
    assert_eq!(test.number("select count(*) from identities").await, 0);
    assert_eq!(who(&visit).await, None);

    let open = visit.clone();
    visit.submit(&new, &[("username", "olga")]).await.expect(303);
    for form in [&new, &join] {
        open.clone().submit(form, &[("username", "olga2"), ("email", "olga2@example.com")]).await.expect(403);
        open.clone().submit(form, &joining).await.expect(403);
    }
    // Of two visits that came to the form, the second finds the identity taken.
    let page = stranger.submit(&new_account(&theirs), &[("username", "m"), ("email", "m@example.com")]).await;
    assert_eq!((page.status, page.forms().len()), (403, 0), "{page:?}");
    assert_eq!(who(&stranger).await, None);

    is_now(&corp, json!({"sub": "boris", "email": "boris@example.com"}));
    let page = come(&mut stranger, "corp").await.expect(200);
    later(&test, &corp, PATIENCE + Duration::from_secs(1));
    stranger.submit(&new_account(&page), &[]).await.expect(403);
    assert_eq!(test.number("select count(*) from users").await, 2);
    assert_eq!(test.number("select count(*) from identities").await, 1);
}

on_every_setup!(a_provider_that_is_away_or_broken_lets_nobody_in);
async fn a_provider_that_is_away_or_broken_lets_nobody_in(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[]).await.expect(303);
    let mut visit = browser_of(&test);
    let lies: &[(u16, Lie)] = &[
        (503, |play| drop(play.faults.insert("/token", Fault::Broken))),
        (503, |play| drop(play.faults.insert("/token", Fault::Garbage))),
        (503, |play| drop(play.faults.insert("/token", Fault::Huge))),
        (503, |play| drop(play.faults.insert("/token", Fault::Redirect(307, "/token".into())))),
        (503, |play| play.refuses = Some((503, "temporarily_unavailable"))),
        (503, |play| play.answer = json!({"id_token": null})),
        (503, |play| play.answer = json!({"id_token": "a.b.c"})),
        (400, |play| play.claims = json!({"nonce": "other"})),
        (400, |play| play.claims = json!({"aud": "other"})),
        (400, |play| play.claims = json!({"exp": 1})),
        (400, |play| play.keys = 2),
    ];
    for (number, (status, lie)) in lies.iter().enumerate() {
        let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
        let way = link(&page, "/oauth/login/corp?");
        corp.plays(lie);
        let back = leave(&mut visit, &way).await;
        let page = visit.get(&back).await.expect(*status);
        assert_eq!(page.header("retry-after").is_empty(), *status == 400, "{number}");
        assert_eq!(page.header("content-language"), "ru", "{number}");
        link(&page, "/oauth/authorize?");
        assert_eq!(who(&visit).await, None, "{number}");
        corp.is_honest();
    }
    // What only the operator can mend is not tried again.
    corp.plays(|play| play.secret = Some("changed".into()));
    let page = come(&mut visit, "corp").await.expect(503);
    assert_eq!(page.header("retry-after"), "");
    assert!(page.text.contains("is not set up correctly"), "{page:?}");
    // Not there at all.
    let gone = Provider::start().await;
    let mut test = start_with(setup, &[("corp", &gone)], &[]).await;
    drop(gone);
    // A connection that is accepted and dropped, or refused: either is soon told.
    let mut visit = browser_of(&test);
    let page = visit.get("/oauth/login/corp").await.expect(503);
    assert!(!page.header("retry-after").is_empty());
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(test.number("select count(*) from sign_ins").await, 0);
    test.nodes.clear();
}

on_every_setup!(an_error_at_the_redirect_uri_is_told_as_what_it_is);
async fn an_error_at_the_redirect_uri_is_told_as_what_it_is(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let away = ("is not available at the moment", "сейчас недоступен");
    let wrong = ("is not set up correctly", "настроен неверно");
    let denied = ("cancelled or refused", "отменён или отклонён");
    let odd = ("was not what we expected", "не так, как мы ожидали");
    for (query, status, (english, russian)) in [
        ("error=access_denied", 403, denied),
        ("error=access_denied&code=x", 403, denied),
        ("error=login_required", 403, denied),
        ("error=temporarily_unavailable", 400, away),
        ("error=server_error&error_description=a&error_uri=b", 400, away),
        ("error=unauthorized_client", 400, wrong),
        ("error=invalid_scope", 400, wrong),
        ("error=%1B%0D%0Aunknown", 400, away),
        ("", 400, odd),
        ("error=", 400, odd),
        ("error=access_denied&iss=https%3A%2F%2Fevil.example.com", 400, odd),
        ("error=access_denied&error=x", 400, ("has expired", "")),
    ] {
        for (language, expected) in [("en", english), ("ru", russian)] {
            let page = visit.get(&request(&[("ui_locales", language)])).await.expect(200);
            let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
            let (_, parts) = back.split_once('?').expect("a query");
            let state = form_urlencoded::parse(parts.as_bytes()).find(|(name, _)| name == "state");
            let state = state.expect("a state").1.into_owned();
            let page = visit.get(&format!("/oauth/callback/corp?state={state}&{query}")).await.expect(status);
            assert!(page.text.contains(expected), "{query}: {page:?}");
            assert_eq!(page.header("retry-after"), "", "{query}");
        }
    }
    assert_eq!((corp.asked("/token"), who(&visit).await), (0, None));
    let figures = test.app().metrics.text(&[]).expect("figures");
    let line = |outcome| format!("referral_provider_sign_ins_total{{outcome=\"{outcome}\"}}");
    assert!(figures.contains(&format!("{} 6", line("denied"))), "{figures}");
}

on_every_setup!(of_many_at_once_one_gets_in);
async fn of_many_at_once_one_gets_in(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let mut visit = browser_of(&test);
    visit.get(HOME).await;
    let page = come(&mut visit, "corp").await.expect(200);
    let form = Arc::new(new_account(&page));
    let sent = join_all((0..16).map(|number| {
        let (mut visit, form) = (visit.clone(), form.clone());
        async move {
            // Half of them as a form that is sent again and again, half with other names.
            let name = if number % 2 == 0 { "olga".to_owned() } else { format!("olga{number}") };
            let page = visit.submit(&form, &[("username", &name), ("code", "AMSEL2030XYZ")]).await;
            (page.status, who(&visit).await)
        }
    }))
    .await;
    let (winners, others): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(status, _)| *status == 303);
    assert_eq!(winners.len(), 1);
    assert!(winners[0].1.is_some());
    assert!(others.iter().all(|(status, who)| *status == 403 && who.is_none()), "{others:?}");
    for table in ["identities", "referrals", "browser_sessions"] {
        assert_eq!(test.number(&format!("select count(*) from {table}")).await, 1, "{table}");
    }
    assert_eq!(test.number("select count(*) from users").await, 2);

    let mut visit = browser_of(&test);
    visit.get(HOME).await;
    let back = leave(&mut visit, "/oauth/login/corp").await;
    let sent = join_all((0..16).map(|_| {
        let (mut visit, back) = (visit.clone(), back.clone());
        async move { visit.get(&back).await.status }
    }))
    .await;
    assert_eq!(sent.iter().filter(|status| **status == 303).count(), 1, "{sent:?}");
    assert_eq!(sent.iter().filter(|status| **status == 400).count(), 15, "{sent:?}");

    // The owner of an address comes to an account in many windows at once.
    is_now(&corp, json!({"sub": "owner-1", "email": "owner@example.com", "email_verified": true}));
    let mut backs = Vec::new();
    for _ in 0..16 {
        let mut visit = browser_of(&test);
        visit.get(HOME).await;
        backs.push((leave(&mut visit, "/oauth/login/corp").await, visit));
    }
    let sent = join_all(backs.into_iter().map(|(back, mut visit)| async move {
        visit.get(&back).await.expect(303);
        who(&visit).await
    }))
    .await;
    assert!(sent.iter().all(|who| who.as_deref() == Some("owner")), "{sent:?}");
    assert_eq!(test.number("select count(*) from identities").await, 2);
}

on_every_setup!(nobody_is_sent_to_another_site_and_no_input_is_an_error_of_ours);
async fn nobody_is_sent_to_another_site_and_no_input_is_an_error_of_ours(setup: Setup) {
    let (test, _corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    test.user("ivan").await;
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/docs",
        "/oauth/authorize",
        "/oauth/authorize/../../docs?",
        "javascript:alert(1)",
        " /oauth/authorize?x",
        // What cannot stand in an address or in a row.
        "/oauth/authorize?\0",
        "/oauth/authorize?\r\nX: y",
        "/oauth/authorize?é",
        "/oauth/authorize? ",
    ] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let mut visit = browser_of(&test);
        let back = leave(&mut visit, &format!("/oauth/login/corp?{query}")).await;
        assert_eq!(visit.get(&back).await.expect(303).location(), Some(HOME), "{next:?}");
        let page = browser_of(&test).get(&format!("/oauth/register?{query}")).await.expect(200);
        assert_eq!(field(&page.form("/oauth/register"), "next"), HOME, "{next:?}");
        let mut visit = browser_of(&test);
        let page = visit.get(HOME).await.expect(200);
        let typed = [("username", "ivan"), ("password", PASSWORD), ("next", next)];
        let page = visit.submit(&page.form("/oauth/login"), &typed).await.expect(303);
        assert_eq!(page.location(), Some(HOME), "{next:?}");
    }
}

/// One thread, so that the log of this thread is that of this test and of its node.
#[tokio::test(flavor = "current_thread")]
async fn the_log_of_a_sign_in_has_nothing_secret_or_personal() {
    log::listen();
    let (test, corp) = start(Setup::Sqlite, &[TRUSTED]).await;
    let person = json!({
        "sub": "wanderfalke-7", "email": "kolkrabe@example.com", "email_verified": true, "name": "Elster",
    });
    is_now(&corp, person);
    let mut visit = browser_of(&test);
    let back = leave(&mut visit, "/oauth/login/corp?code=HABICHT2030X").await;
    let page = visit.get(&back).await.expect(200);
    let form = new_account(&page);
    let page = visit.submit(&form, &[]).await.expect(404);
    visit.submit(&join_account(&page), &[("login", "kolkrabe"), ("password", "Bussard-Pass-77")]).await.expect(422);
    visit.submit(&form, &[("code", "")]).await.expect(303);
    let program = tokens_of(&mut visit).await;
    corp.plays(|play| play.claims = json!({"nonce": "other"}));
    let other = leave(&mut visit, "/oauth/login/corp").await;
    visit.get(&other).await.expect(400);
    visit.get(&other).await.expect(400);
    // Errors by their words; a description is anybody's.
    for word in ["access_denied", "temporarily_unavailable", "un%1B%5B31m%0Aknown"] {
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let (path, _) = back.split_once("code=").expect("a code");
        let (_, state) = back.split_once("state=").expect("a state");
        visit.get(&format!("{path}error={word}&error_description=kolkrabe&state={state}")).await;
    }
    program.delete_with("/api/v1/me", &json!({})).await.expect(204);
    let text = log::heard();
    let words = ["token_nonce", "access_denied", "temporarily_unavailable", "un31mknown"];
    for word in words.into_iter().chain(["/oauth/callback/{provider}", "/oauth/finish"]) {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (_, query) = back.split_once('?').expect("a query");
    let mut secrets: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name != "iss")
        .map(|(_, value)| value.into_owned())
        .collect();
    secrets.extend(visit.cookies.iter().map(|(_, value)| value.clone()));
    secrets.extend(["csrf", "ticket"].map(|name| field(&form, name).to_owned()));
    secrets.extend([program.token.clone(), program.refresh_token.clone()].into_iter().flatten());
    let plain =
        ["wanderfalke", "kolkrabe", "Elster", "HABICHT", "Bussard", "s3cr3t", "eyJ", "at-", "rt_", "ac_", SECRET];
    secrets.extend(plain.map(str::to_owned));
    assert!(secrets.len() > 15, "{}", secrets.len());
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}: {text}");
    }
}
