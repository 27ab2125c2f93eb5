//! A first visit makes an account or joins one.

use serde_json::json;

use super::helpers::{
    HOME, browser_of, come, field, info, is_now, join_account, leave, link, new_account, request, returned, start,
    start_with, tokens, who,
};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::host::host_of;
use crate::support::hunter::{Hunter, Reply};
use crate::support::provider::{Fault, Provider};
use crate::support::servers::Smtp;
use crate::support::visit::{Form, Page, Visit};

/// The same by the provider's button on the page to register on.
async fn leave_by_button(visit: &mut Visit, page: &Page, typed: &[(&str, &str)]) -> String {
    returned(&visit.submit(&button(page), typed).await.leaves()).await
}

/// The form to register with, as the provider's button sends it.
fn button(page: &Page) -> Form {
    let action = "/oauth/login/corp".to_owned();
    assert!(page.text.contains(&format!(" formaction=\"{action}\"")), "{page:?}");
    Form { action, ..page.form("/oauth/register") }
}

on_every_setup!(a_first_visit_makes_an_account_and_the_next_logs_in);
async fn a_first_visit_makes_an_account_and_the_next_logs_in(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    let mut visit = browser_of(&test);
    let page = visit.get(&request(&[("referral_code", "AMSEL2030XYZ")])).await.expect(200);
    // A slip at the password does not lose the code.
    let page = visit.log_in(&page, "owner", "not the password").await.expect(422);
    let way = link(&page, "/oauth/login/corp?");
    assert!(way.contains("code=AMSEL2030XYZ"), "{way}");
    assert!(link(&page, "/oauth/register?").contains("code=AMSEL2030XYZ"));
    let back = leave(&mut visit, &way).await;
    let page = visit.get(&back).await.expect(200);
    let form = new_account(&page);
    let filled = ["username", "email", "code"].map(|name| field(&form, name));
    assert_eq!(filled, ["Olga", "olga@example.com", "AMSEL2030XYZ"]);
    assert_eq!(who(&visit).await, None, "nobody is logged in yet");

    // What is wrong is said on the form, which keeps what was typed.
    let typed = [("username", "owner"), ("email", "other@example.com")];
    let page = visit.submit(&form, &typed).await.expect(409);
    let filled = ["username", "email", "code"].map(|name| field(&new_account(&page), name).to_owned());
    assert_eq!(filled, ["owner", "other@example.com", "AMSEL2030XYZ"]);
    let typed = [("username", "a b"), ("email", "nonsense"), ("code", "Nobodys<\"code")];
    let page = visit.submit(&new_account(&page), &typed).await.expect(422);
    assert_eq!(typed.map(|(name, _)| field(&new_account(&page), name).to_owned()), typed.map(|(_, text)| text));
    let typed = [("username", "olga"), ("email", "olga@example.com"), ("code", "Nobodys<\"code")];
    let page = visit.submit(&new_account(&page), &typed).await.expect(404);
    assert_eq!(typed.map(|(name, _)| field(&new_account(&page), name).to_owned()), typed.map(|(_, text)| text));
    let nothing = [("username", ""), ("email", ""), ("code", "AMSEL")];
    let page = visit.submit(&form, &nothing).await.expect(422);
    assert_eq!(nothing.map(|(name, _)| field(&new_account(&page), name).to_owned()), nothing.map(|(_, text)| text));
    assert_eq!(test.number("select count(*) from users").await, 1, "half an account is none");

    let before = visit.cookies.clone();
    let typed = [("username", "olga"), ("email", "olga@example.com"), ("code", "amsel2030xyz")];
    let page = visit.submit(&new_account(&page), &typed).await.leaves();
    assert_ne!(visit.cookies, before, "a cookie that was known before is worth nothing after");
    assert!(page.location().expect("the way on").starts_with("/oauth/authorize?client_id=docs&"));
    let page = visit.follow(page).await.expect(200);
    let olga = tokens(&mut visit, &page).await;
    let me = olga.get("/api/v1/me").await.expect(200).json();
    assert_eq!((&me["username"], &me["referred_by"]["username"]), (&json!("olga"), &json!("owner")));
    assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], 1);
    assert_eq!(info(&olga).await["email_verified"], false, "nobody trusts this provider about addresses");
    assert_eq!(test.number("select count(*) from sign_ins").await, 0);

    let mut other = browser_of(&test);
    let page = other.get(&request(&[])).await.expect(200);
    let back = leave(&mut other, &link(&page, "/oauth/login/corp?")).await;
    // The provider may have had a form as well.
    let page = other.get(&back).await.leaves();
    assert!(page.location().expect("the way on").starts_with("/oauth/authorize?client_id=docs&"));
    let page = other.follow(page).await.expect(200);
    let again = tokens(&mut other, &page).await;
    assert_eq!(info(&again).await["sub"], info(&olga).await["sub"]);
    assert_eq!(corp.asked("/token"), 2);
}

on_every_setup!(a_referral_code_comes_along_by_every_way);
async fn a_referral_code_comes_along_by_every_way(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let next = request(&[("referral_code", "AMSEL2030XYZ")]);
    let mut query = form_urlencoded::Serializer::new(String::new());
    let next = query.append_pair("next", &next).finish();
    for path in ["/oauth/login/corp?code=AMSEL2030XYZ".to_owned(), format!("/oauth/login/corp?{next}")] {
        let mut visit = browser_of(&test);
        let back = leave(&mut visit, &path).await;
        let page = visit.get(&back).await.expect(200);
        assert_eq!(field(&new_account(&page), "code"), "AMSEL2030XYZ", "{path}");
    }
    let mut visit = browser_of(&test);
    // By the other name that it has, and with what was copied along.
    let page = visit.get("/oauth/register?referral_code=%20AMSEL2030XYZ%0d%0a").await.expect(200);
    assert_eq!(field(&page.form("/oauth/register"), "code"), "AMSEL2030XYZ");
    let page = visit.get("/oauth/register?code=AMSEL2030XYZ").await.expect(200);
    let back = leave_by_button(&mut visit, &page, &[]).await;
    let page = visit.get(&back).await.expect(200);
    assert_eq!(field(&new_account(&page), "code"), "AMSEL2030XYZ");
    // What no code can be is left behind, and breaks nothing.
    for code in ["%00", "A%0d%0aX", &"A".repeat(101)] {
        let back = leave(&mut visit, &format!("/oauth/login/corp?code={code}")).await;
        let page = visit.get(&back).await.expect(200);
        assert_eq!(field(&new_account(&page), "code"), "", "{code}");
    }
    // A name is proposed only if the form would take it.
    for (name, email, expected) in [
        ("Olga", "olga@example.com", "Olga"),
        ("Olga Ivanova", "olga@example.com", "olga"),
        ("ivan@example.com", "olga@example.com", "olga"),
        ("olga@example.com", "Olga@example.com", "olga@example.com"),
        ("a b", "no address", ""),
        ("", "a b@example.com", ""),
    ] {
        is_now(&corp, json!({"sub": "olga-7", "name": name, "email": email}));
        let page = come(&mut visit, "corp").await.expect(200);
        assert_eq!(field(&new_account(&page), "username"), expected, "{name} {email}");
    }
}

on_every_setup!(a_handle_that_a_link_leads_with_survives_the_provider_and_renews);
async fn a_handle_that_a_link_leads_with_survives_the_provider_and_renews(setup: Setup) {
    let (test, _corp) = start(setup, &[]).await;
    let host = host_of(&test.manager("manager").await).await;
    let told = host.tell("olga", json!({"name": "Olga P."})).await.expect(201).json();
    let handle = told["handle"].as_str().expect("a handle");
    test.move_database_clock(403 * 24 * 3600 * 1_000_000).await;
    let mut visit = browser_of(&test);
    let page = visit.get(&format!("/r/{handle}")).await.expect(302);
    let page = visit.follow(page).await.expect(200);
    assert!(page.text.contains("<bdi>Olga P.</bdi> invites you."), "{page:?}");
    let back = leave_by_button(&mut visit, &page, &[]).await;
    let page = visit.get(&back).await.expect(200);
    assert_eq!(field(&new_account(&page), "code"), handle);
    let typed = [("username", "petr"), ("email", "petr@example.com")];
    let page = visit.submit(&new_account(&page), &typed).await;
    visit.follow(page).await.expect(200);
    let brought = "select count(*) from referrals r join users u on u.id = r.referrer_id
                   where u.external_id = 'olga' and r.code_ordinal = 2";
    assert_eq!(test.number(brought).await, 1);
}

on_every_setup!(a_typed_code_survives_the_providers_button);
async fn a_typed_code_survives_the_providers_button(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let next = request(&[("referral_code", "AMSEL2030XYZ"), ("ui_locales", "ru")]);
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
    let path = format!("/oauth/register?{query}");
    let page = visit.get(&path).await.expect(200);
    // What is there is overtyped; the field of who empties it stays empty; what no code can be is left behind.
    for (typed, expected) in
        [(" HABICHT2030X ", "HABICHT2030X"), ("A<\"1&", "A<\"1&"), ("  ", ""), ("\0", ""), (&"A".repeat(101), "")]
    {
        let back = leave_by_button(&mut visit, &page, &[("code", typed), ("username", "a b")]).await;
        let page = visit.get(&back).await.expect(200);
        assert_eq!(field(&new_account(&page), "code"), expected, "{typed:?}");
    }
    // So does the way on.
    let back = leave_by_button(&mut visit, &page, &[("code", "")]).await;
    let first = visit.get(&back).await.expect(200);
    let sent = visit.clone().submit(&new_account(&first), &[("username", "olga")]).await.leaves();
    assert_eq!(sent.location(), Some(next.as_str()));

    // A form that is not this browser's comes back with what was typed, and nobody leaves.
    let before = test.number("select count(*) from sign_ins").await;
    let typed = [("csrf", "AAAA"), ("username", "olga"), ("email", "o@example.com"), ("code", "HABICHT2030X")];
    let refused = visit.submit(&button(&page), &typed).await.expect(403);
    for (name, text) in &typed[1..] {
        assert_eq!(field(&button(&refused), name), *text);
    }
    assert_eq!(field(&button(&refused), "next"), next);
    browser_of(&test).submit(&button(&page), &[]).await.expect(403);
    assert_eq!(test.number("select count(*) from sign_ins").await, before);

    // Who does not get through finds the code in the form that they go back to.
    let again = |page: &Page| link(page, "/oauth/register?");
    let back = leave_by_button(&mut visit, &page, &[("code", "HABICHT2030X")]).await;
    let state = back.split('&').find_map(|part| part.split_once("state=")).expect("a state").1;
    let denied = visit.get(&format!("/oauth/callback/corp?error=access_denied&state={state}")).await.expect(403);
    let page = visit.get(&again(&denied)).await.expect(200);
    assert_eq!(["next", "code"].map(|name| field(&button(&page), name).to_owned()), [&*next, "HABICHT2030X"]);
    corp.plays(|play| drop(play.faults.insert("/token", Fault::Broken)));
    let back = leave_by_button(&mut visit, &page, &[]).await;
    let page = visit.get(&again(&visit.clone().get(&back).await.expect(503))).await.expect(200);
    assert_eq!(field(&button(&page), "code"), "HABICHT2030X");
    // Unless the way that they were on has it.
    let back = leave_by_button(&mut visit, &page, &[("code", "AMSEL2030XYZ")]).await;
    link(&visit.get(&back).await.expect(503), "/oauth/authorize?client_id=docs&");
    let gone = Provider::start().await;
    let away = start_with(setup, &[("corp", &gone)], &[]).await;
    drop(gone);
    let mut visit = browser_of(&away);
    let page = visit.get(&path).await.expect(200);
    let page = visit.submit(&button(&page), &[("code", "HABICHT2030X")]).await.expect(503);
    let page = visit.get(&again(&page)).await.expect(200);
    assert_eq!(field(&button(&page), "code"), "HABICHT2030X");
}

on_every_setup!(a_first_visit_joins_an_account_by_its_password);
async fn a_first_visit_joins_an_account_by_its_password(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let ivan = test.user("ivan").await;
    let mut visit = browser_of(&test);
    let page = visit.get(&request(&[])).await.expect(200);
    let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
    let page = visit.get(&back).await.expect(200);
    for wrong in ["not the password", ""] {
        let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", wrong)]).await.expect(422);
        assert_eq!(field(&join_account(&page), "login"), "ivan");
        assert_eq!(field(&join_account(&page), "password"), "", "a password is not sent back");
        assert_eq!(field(&new_account(&page), "username"), "Olga", "the other form is as it was");
    }
    assert_eq!(who(&visit).await, None);
    let typed = [("login", "IVAN@example.com"), ("password", PASSWORD)];
    let page = visit.submit(&join_account(&page), &typed).await.leaves();
    let page = visit.follow(page).await.expect(200);
    assert_eq!(info(&tokens(&mut visit, &page).await).await["sub"], json!(ivan.id));
    assert_eq!(who(&visit).await.as_deref(), Some("ivan"));

    let mut other = browser_of(&test);
    assert_eq!(come(&mut other, "corp").await.expect(303).location(), Some(HOME));
    assert_eq!(who(&other).await.as_deref(), Some("ivan"));
    // The password goes on, and whoever is logged in becomes somebody else by coming as somebody else.
    ivan.log_in("ivan", PASSWORD).await.expect(200);
    test.user("boris").await;
    let mut boris = browser_of(&test);
    let page = boris.get(HOME).await;
    boris.log_in(&page, "boris", PASSWORD).await.expect(303);
    let old = boris.clone();
    come(&mut boris, "corp").await.expect(303);
    assert_eq!(who(&boris).await.as_deref(), Some("ivan"));
    assert_eq!(who(&old).await, None);
    assert_eq!(test.number("select count(*) from identities").await, 1);
    assert_eq!(corp.asked("/token"), 3);
}

on_every_setup!(passwords_are_tried_no_oftener_here_than_elsewhere);
async fn passwords_are_tried_no_oftener_here_than_elsewhere(setup: Setup) {
    let (test, _corp) = start(setup, &[("REFERRAL_LIMITS", "on")]).await;
    test.client().register("ivan", None).await.expect(201);
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    let typed = [("login", "ivan"), ("password", "not the password")];
    for _ in 0..5 {
        visit.submit(&join_account(&page), &typed).await.expect(422);
    }
    let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.expect(429);
    assert!(page.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
    assert_eq!(field(&join_account(&page), "login"), "ivan");
    assert!(!field(&join_account(&page), "ticket").is_empty());
    assert_eq!(who(&visit).await, None);
    assert_eq!(test.number("select count(*) from identities").await, 0);
    // Nor does anybody fill the database with departures.
    let mut last = 0;
    for _ in 0..40 {
        last = visit.get("/oauth/login/corp").await.status;
    }
    assert_eq!(last, 429);
}

on_every_setup!(under_block_a_newcomer_waits_like_everybody);
async fn under_block_a_newcomer_waits_like_everybody(setup: Setup) {
    let hunter =
        Hunter::saying(|asked| Reply::verdict(if asked.email().starts_with("bad") { "invalid" } else { "valid" }))
            .await;
    let settings = hunter.settings("block");
    let more: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    let (test, corp) = start(setup, &more).await;
    let mut visit = browser_of(&test);
    for (name, expected) in [("good", 303), ("bad", 403)] {
        is_now(&corp, json!({"sub": name, "email": format!("{name}@asked.test")}));
        let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
        let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
        let page = visit.get(&back).await.expect(200);
        let page = visit.submit(&new_account(&page), &[("username", name)]).await.expect(403);
        assert_eq!(page.header("content-language"), "ru");
        assert_eq!(who(&visit).await, None);
        // The account is there, and the identity its own.
        come(&mut visit, "corp").await.expect(403);
        assert_eq!(who(&visit).await, None);
        test.drain().await;
        come(&mut visit, "corp").await.expect(expected);
        assert_eq!(who(&visit).await.is_some(), expected == 303);
        visit = browser_of(&test);
    }
}

on_every_setup!(the_pages_speak_the_language_of_the_request);
async fn the_pages_speak_the_language_of_the_request(setup: Setup) {
    let (test, _corp) = start(setup, &[]).await;
    test.user("ivan").await;
    let mut visit = browser_of(&test);
    let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
    assert_eq!(page.header("content-language"), "ru");
    let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
    let page = visit.get(&back).await.expect(200);
    assert_eq!(page.header("content-language"), "ru");
    let page = visit.submit(&new_account(&page), &[("username", "a b")]).await.expect(422);
    assert_eq!(page.header("content-language"), "ru");
    let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", "wrong")]).await.expect(422);
    assert_eq!(page.header("content-language"), "ru");
    let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.leaves();
    assert_eq!(page.header("content-language"), "ru");
    // Nobody says anything: the browser's own.
    let mut visit = browser_of(&test);
    visit.language = "ru".to_owned();
    let page = visit.get("/oauth/login/nobody").await.expect(404);
    assert_eq!(page.header("content-language"), "ru");
}

on_every_setup!(the_form_of_a_registration_keeps_what_was_typed);
async fn the_form_of_a_registration_keeps_what_was_typed(setup: Setup) {
    let (test, _corp) = start(setup, &[]).await;
    test.user("olga").await;
    let mut visit = browser_of(&test);
    let page = visit.get("/oauth/register?code=NOBODYS2030X").await.expect(200);
    let mut form = page.form("/oauth/register");
    for (typed, status) in [
        ([("username", "a b"), ("email", "ivan@example.com"), ("password", PASSWORD), ("code", "A<\"1")], 422),
        ([("username", "olga"), ("email", "ivan@example.com"), ("password", PASSWORD), ("code", "")], 409),
        ([("username", "ivan"), ("email", "olga@example.com"), ("password", PASSWORD), ("code", "")], 409),
        ([("username", "ivan"), ("email", "nonsense"), ("password", "short"), ("code", "A")], 422),
        ([("username", "ivan"), ("email", "i@example.com"), ("password", PASSWORD), ("code", "NOBODYS2030X")], 404),
        ([("username", ""), ("email", ""), ("password", PASSWORD), ("code", "NOBODYS2030X")], 422),
    ] {
        let page = visit.submit(&form, &typed).await.expect(status);
        form = page.form("/oauth/register");
        for (name, text) in typed {
            let expected = if name == "password" { "" } else { text };
            assert_eq!(field(&form, name), expected, "{typed:?}");
        }
    }
    let page = visit.submit(&form, &[("csrf", "AAAA"), ("username", "ivan"), ("password", PASSWORD)]).await.expect(403);
    assert_eq!(field(&page.form("/oauth/register"), "username"), "ivan");
    assert_eq!(field(&page.form("/oauth/register"), "code"), "NOBODYS2030X");
}

on_every_setup!(a_first_visit_where_registration_is_quiet_ends_at_the_mailbox_whosever_the_address_is);
async fn a_first_visit_where_registration_is_quiet_ends_at_the_mailbox_whosever_the_address_is(setup: Setup) {
    let smtp = Smtp::start().await;
    let settings = Smtp::settings(smtp.port);
    let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    settings.push(("REFERRAL_ACCOUNTS_REGISTRATION", "quiet"));
    let (test, corp) = start(setup, &settings).await;
    let body = json!({"username": "owner", "email": "owner@example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(202);
    let mut pages = Vec::new();
    for (name, address) in [("first", "free@example.com"), ("second", "owner@example.com")] {
        is_now(&corp, json!({"sub": name, "email": address}));
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        let typed = [("username", name), ("email", address)];
        pages.push(visit.submit(&new_account(&page), &typed).await.expect(403).text);
        // Nor does the next visit tell, until the address is confirmed.
        pages.push(come(&mut visit, "corp").await.expect(403).text);
        assert_eq!(who(&visit).await, None);
    }
    assert!(pages.iter().all(|page| page == &pages[0] && page.contains("Look into your mailbox")), "{pages:?}");
    test.drain().await;
    let token = smtp.mail_to("free@example.com").token();
    test.client().post("/api/v1/auth/confirm", &json!({"token": token})).await.expect(204);
    is_now(&corp, json!({"sub": "first", "email": "free@example.com"}));
    let mut visit = browser_of(&test);
    come(&mut visit, "corp").await.expect(303);
    assert_eq!(who(&visit).await.as_deref(), Some("first"));
}
