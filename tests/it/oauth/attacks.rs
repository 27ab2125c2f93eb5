//! What somebody hostile, or merely unlucky, does to the authorization server.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use referral::worker;
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;

use super::shop::{machine, manager, shop};
use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::oauth::{form, text};
use crate::support::provider::Provider;
use crate::support::visit::{Page, Visit};

async fn logged_in(base: &str, name: &str) -> Visit {
    let mut visit = Visit::new(base);
    let page = visit.get("/oauth/apps").await.expect(200);
    visit.log_in(&page, name, PASSWORD).await.expect(303);
    visit
}

fn csrf(page: &Page, action: &str) -> String {
    let form = page.form(action);
    form.fields.into_iter().find(|(name, _)| name == "csrf").expect("a token").1
}

on_both_engines!(a_nul_is_no_fault_of_ours);
/// PostgreSQL has no text with a NUL in it.
async fn a_nul_is_no_fault_of_ours(setup: Setup) {
    let provider = Provider::start().await;
    let settings = provider.settings("corp");
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let test = setup.start_with(&settings).await;
    let shop = shop(&manager(&test).await).await;
    let olga = test.user("olga").await;
    let mut visit = logged_in(&shop.base, "olga").await;
    let page = visit.get(&shop.request("openid", &[("nonce", "a\0b")])).await;
    let page = match page.status {
        200 => visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await,
        _ => page,
    };
    assert_eq!(page.sent("error").as_deref(), Some("invalid_request"));
    olga.delete("/api/v1/me/consents/%00").await.expect_problem(404, "consent_not_found");
    let apps = visit.get("/oauth/apps").await.expect(200);
    let token = csrf(&apps, "/oauth/logout");
    visit.post("/oauth/apps", &[("csrf", &token), ("client_id", "\0")]).await.expect(200);
    for query in ["next=/oauth/authorize?a%2500=%00", "code=%00", "next=%00&code=a%00"] {
        Visit::new(&shop.base).get(&format!("/oauth/login/corp?{query}")).await.expect(303);
    }
    for path in ["/oauth/callback/corp?state=%00&code=%00&iss=%00", "/oauth/register?code=%00&next=%00"] {
        assert!(Visit::new(&shop.base).get(path).await.status < 500);
    }
    let nul = [("grant_type", "authorization_code"), ("code", "\0"), ("redirect_uri", "\0"), ("code_verifier", "\0")];
    assert_eq!(shop.call("/oauth/token", &nul).await.status, 400);
}

on_both_engines!(a_next_page_that_no_header_can_carry_is_ignored);
/// Where a form leads is written into a header.
async fn a_next_page_that_no_header_can_carry_is_ignored(setup: Setup) {
    let test = setup.start().await;
    test.user("olga").await;
    let base = &test.nodes[0].url;
    for next in ["?a\r\nSet-Cookie: referral=x", "?\0", "?\u{e9}", "?\u{7f}", "?a b"] {
        let mut visit = Visit::new(base);
        let page = visit.get("/oauth/apps").await.expect(200);
        let next = format!("/oauth/authorize{next}");
        let typed = [("username", "olga"), ("password", PASSWORD), ("next", next.as_str())];
        let page = visit.submit(&page.form("/oauth/login"), &typed).await.expect(303);
        assert_eq!(page.location(), Some("/share"), "{next:?}");
        assert_eq!(page.headers.get_all(SET_COOKIE).iter().count(), 1);
    }
}

on_both_engines!(a_form_on_another_site_logs_nobody_out);
/// A browser sends our cookie with no form of another site's. Whatever is answered must not replace it.
async fn a_form_on_another_site_logs_nobody_out(setup: Setup) {
    let test = setup.start().await;
    let shop = shop(&manager(&test).await).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let http = http.expect("a client");
    let posted = async |path: &str, site: Option<&str>| {
        let request = http.post(format!("{}{path}", shop.base)).body(form(&[("client_id", &shop.id)]));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match site {
            Some(site) => request.header("sec-fetch-site", site),
            None => request,
        };
        request.send().await.expect("an answer")
    };
    let paths = ["/oauth/login", "/oauth/register", "/oauth/consent", "/oauth/apps", "/oauth/logout", "/oauth/finish"];
    for path in paths.into_iter().chain(["/oauth/login/corp"]) {
        let answer = posted(path, Some("cross-site")).await;
        assert_eq!(answer.headers().get(SET_COOKIE), None, "{path}");
        // Whose cookie was lost can send our own form again.
        let answer = posted(path, Some("same-origin")).await;
        assert!(answer.headers().contains_key(SET_COOKIE), "{path}");
    }
    // Clients may send people here by a form; they take their cookie along only to where that leads.
    for site in [Some("cross-site"), None] {
        let answer = posted("/oauth/authorize", site).await;
        assert_eq!((answer.status().as_u16(), answer.headers().get(SET_COOKIE)), (200, None));
        let refresh = answer.headers()["refresh"].to_str().expect("a plain header");
        assert_eq!(refresh, format!("0; url=/oauth/authorize?client_id={}", shop.id));
    }
}

on_both_engines!(changes_of_a_client_at_once_are_all_kept);
async fn changes_of_a_client_at_once_are_all_kept(setup: Setup) {
    let test = setup.start().await;
    let manager = manager(&test).await;
    let shop = shop(&manager).await;
    let path = format!("/api/v1/clients/{}", shop.id);
    for turn in 0..30 {
        let (name, uri) = (format!("Shop {turn}"), format!("https://shop.example.com/{turn}"));
        let scope = if turn % 2 == 0 { "openid" } else { "openid profile" };
        let changes = [json!({"name": name}), json!({"redirect_uris": [uri]}), json!({"scope": scope})];
        for answer in join_all(changes.iter().map(|change| manager.patch(&path, change))).await {
            answer.expect(200);
        }
        let now = manager.get(&path).await.expect(200).json();
        let kept = (&now["name"], &now["redirect_uris"][0], &now["scope"]);
        assert_eq!(kept, (&json!(name), &json!(uri), &json!(scope)), "turn {turn}");
    }
}

on_both_engines!(consents_given_at_once_add_up);
async fn consents_given_at_once_add_up(setup: Setup) {
    let test = setup.start().await;
    let shop = shop(&manager(&test).await).await;
    let olga = test.user("olga").await;
    let visit = logged_in(&shop.base, "olga").await;
    let path = format!("/api/v1/me/consents/{}", shop.id);
    for turn in 0..5 {
        let given = ["openid", "profile", "account", "codes:read"].iter().map(|scope| {
            let (shop, mut visit) = (shop.clone(), visit.clone());
            async move {
                let page = visit.get(&shop.request(scope, &[("prompt", "consent")])).await.expect(200);
                visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves()
            }
        });
        for page in join_all(given).await {
            shop.exchange(&page.sent("code").expect("a code")).await.expect(200);
        }
        let consents = olga.get("/api/v1/me/consents").await.expect(200).json();
        assert_eq!(consents["items"][0]["scope"], json!("openid profile account codes:read"), "turn {turn}");
        olga.delete(&path).await.expect(204);
    }
}

on_both_engines!(a_client_with_very_many_sessions_is_removed);
/// Taking a program out must not fail for its success: 150,000 ends told one by one took longer than a transaction
/// may. How many statements there are does not hang on how many sessions.
async fn a_client_with_very_many_sessions_is_removed(setup: Setup) {
    const SESSIONS: i64 = 500;
    let test = setup.start().await;
    let manager = manager(&test).await;
    let shop = shop(&manager).await;
    let olga = test.user("olga").await;
    let code = shop.code(&mut logged_in(&shop.base, "olga").await).await;
    let tokens = shop.exchange(&code).await.expect(200).json();
    let program = Client::new(&shop.base).with_token(text(&tokens, "access_token"));
    let (id, handle, series) = match setup {
        Setup::Sqlite => (
            "randomblob(16)",
            "randomblob(16)",
            format!(
                "(with recursive n (i) as (select 1 union all select i + 1 from n where i < {SESSIONS}) select i from n)"
            ),
        ),
        _ => ("gen_random_uuid()", "decode(md5(i::text), 'hex')", format!("generate_series(1, {SESSIONS}) n (i)")),
    };
    test.sql(&format!(
        "insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at, authenticated_at,
             expires_at, counter, current_hash, salt)
         select {id}, {handle}, user_id, client_id, scope, created_at, used_at, authenticated_at, expires_at, counter,
             current_hash, salt
         from token_families, {series} where client_id = '{}'",
        shop.id
    ))
    .await;
    if setup != Setup::Sqlite {
        test.sql(
            "create table statements (at bigint);
             create function note_statement() returns trigger language plpgsql
                 as 'begin insert into statements values (0); return null; end';
             create trigger noted after insert on changes for each statement execute function note_statement()",
        )
        .await;
    }
    manager.delete(&format!("/api/v1/clients/{}", shop.id)).await.expect(204);
    program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    let live = format!("select count(*) from token_families where client_id = '{}' and ended_at is null", shop.id);
    assert_eq!(test.number(&live).await, 0);
    let told = "select count(distinct c.subject) from changes c join token_families f on f.id = c.subject \
                where c.topic = 'session' and f.client_id = ";
    assert_eq!(test.number(&format!("{told}'{}'", shop.id)).await, SESSIONS + 1);
    if setup != Setup::Sqlite {
        assert_eq!(test.number("select count(*) from statements").await, 1);
    }
    olga.get("/api/v1/me").await.expect(200);
}

on_both_engines!(a_code_that_is_exchanged_while_it_is_taken_back_gives_nothing_that_lasts);
/// Whatever comes first, nobody keeps what was taken back.
async fn a_code_that_is_exchanged_while_it_is_taken_back_gives_nothing_that_lasts(setup: Setup) {
    let test = setup.start().await;
    let manager = manager(&test).await;
    for turn in 0..4 {
        for taken_back in ["consent", "client", "password", "erasure", "disabled"] {
            let shop = shop(&manager).await;
            let name = format!("{taken_back}{turn}");
            let olga = test.user(&name).await;
            let mut visit = logged_in(&shop.base, &name).await;
            let codes = [shop.code(&mut visit).await, shop.code(&mut visit).await, shop.code(&mut visit).await];
            let take_back = async {
                match taken_back {
                    "consent" => olga.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect(204),
                    "client" => manager.delete(&format!("/api/v1/clients/{}", shop.id)).await.expect(204),
                    "password" => {
                        let body = json!({"current_password": PASSWORD, "new_password": "Another-Pass-77"});
                        olga.post("/api/v1/me/password", &body).await.expect(204)
                    }
                    "erasure" => olga.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204),
                    _ => {
                        let found =
                            referral::features::accounts::actions::administration::find(test.app(), &name).await;
                        let id = found.expect("a look").expect("a user").id;
                        referral::features::accounts::actions::administration::disable(test.app(), id)
                            .await
                            .expect("disabled");
                        manager.get("/api/v1/me").await.expect(200)
                    }
                };
            };
            // A password is hashed first: other requests fill the time, so that some codes come before, some after.
            let between = if matches!(taken_back, "password" | "erasure") { 4 * turn } else { 0 };
            let exchanges = join_all((0..).zip(&codes).map(|(number, code)| {
                let shop = &shop;
                async move {
                    for _ in 0..between * number {
                        shop.exchange("nothing").await.expect(400);
                    }
                    shop.exchange(code).await
                }
            }));
            let (answers, ()) = tokio::join!(exchanges, take_back);
            for answer in answers.iter().filter(|answer| answer.status == 200) {
                let tokens = answer.json();
                let program = Client::new(&shop.base).with_token(text(&tokens, "access_token"));
                program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
                let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))];
                assert!(matches!(shop.call("/oauth/token", &fields).await.status, 400 | 401), "{taken_back}");
            }
            for code in &codes {
                assert_ne!(shop.exchange(code).await.status, 200, "{taken_back}");
            }
        }
    }
}

on_both_engines!(a_clock_that_steps_back_prolongs_neither_codes_nor_proofs);
async fn a_clock_that_steps_back_prolongs_neither_codes_nor_proofs(setup: Setup) {
    let test = setup.start().await;
    let shop = shop(&manager(&test).await).await;
    test.user("olga").await;
    let mut visit = logged_in(&shop.base, "olga").await;
    let code = shop.code(&mut visit).await;
    let other = shop.code(&mut visit).await;
    let tokens = shop.exchange(&other).await.expect(200).json();
    let first = text(&tokens, "refresh_token");
    let refresh = async |token: &str| {
        shop.call("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    };
    refresh(first).await.expect(200);
    test.app().clock.shift(-3_600_000_000);
    assert_eq!(shop.exchange(&code).await.status, 400, "a code of an hour");
    visit.get(&shop.request("profile", &[("max_age", "60")])).await.expect(200).form("/oauth/login");
    assert_eq!(refresh(first).await.status, 400, "a token that was replaced is given its successor");
}

on_both_engines!(sessions_of_programs_are_kept_no_longer_than_their_tokens_live);
async fn sessions_of_programs_are_kept_no_longer_than_their_tokens_live(setup: Setup) {
    let test = setup.start().await;
    let robot = machine(&manager(&test).await).await;
    test.user("olga").await;
    for _ in 0..5 {
        robot.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200);
    }
    worker::clean(test.app()).await.expect("it cleans");
    assert_eq!(test.number("select count(*) from token_families where user_id is null").await, 5);
    let people = test.number("select count(*) from token_families where user_id is not null").await;
    test.move_clock(Duration::from_secs(3600));
    worker::clean(test.app()).await.expect("it cleans");
    assert_eq!(test.number("select count(*) from token_families where user_id is null").await, 0);
    assert_eq!(test.number("select count(*) from token_families where user_id is not null").await, people);
}

on_both_engines!(a_redirect_uri_means_the_same_to_us_and_to_a_browser);
async fn a_redirect_uri_means_the_same_to_us_and_to_a_browser(setup: Setup) {
    let test = setup.start().await;
    let manager = manager(&test).await;
    for uri in
        ["https:shop.example.com/cb", "https:/shop.example.com/cb", "https:///shop.example.com/cb", "http:127.0.0.1/cb"]
    {
        let body = json!({"name": "Shop", "redirect_uris": [uri], "scope": "openid"});
        manager.post("/api/v1/clients", &body).await.expect_problem(422, "invalid");
    }
}

on_both_engines!(what_a_client_sends_along_is_stored_within_bounds);
async fn what_a_client_sends_along_is_stored_within_bounds(setup: Setup) {
    let test = setup.start().await;
    let shop = shop(&manager(&test).await).await;
    test.user("olga").await;
    let mut visit = logged_in(&shop.base, "olga").await;
    let page = visit.get("/oauth/apps").await.expect(200);
    let token = csrf(&page, "/oauth/logout");
    let next = shop.request("openid", &[("nonce", &"n".repeat(40_000))]);
    let page = visit.post("/oauth/consent", &[("csrf", &token), ("next", &next), ("decision", "allow")]).await;
    assert_eq!(page.leaves().sent("error").as_deref(), Some("invalid_request"));
    for (name, value) in [("max_age", "18446744073709551615"), ("max_age", "00"), ("nonce", &"n".repeat(1000))] {
        let page = visit.get(&shop.request("openid", &[(name, value)])).await;
        assert!(matches!(page.status, 200 | 303) && page.location().is_none_or(|to| !to.contains("error=")), "{name}");
    }
    let endless = [("max_age", "18446744073709551616"), ("max_age", "1e3"), ("max_age", " 1"), ("max_age", "-0")];
    for change in endless {
        let page = visit.get(&shop.request("openid", &[change])).await.expect(303);
        assert_eq!(page.sent("error").as_deref(), Some("invalid_request"), "{change:?}");
    }
}

/// Of two cookies of one name nobody knows whose which is; the loopback has no better names for them.
#[tokio::test]
async fn a_cookie_of_another_port_is_not_taken_over() {
    let test = Setup::Sqlite.start().await;
    test.user("olga").await;
    let base = &test.nodes[0].url;
    let planted = URL_SAFE_NO_PAD.encode([7; 32]);
    let mut visit = Visit::new(base);
    visit.cookies = vec![("referral".to_owned(), planted.clone())];
    let page = visit.get("/oauth/apps").await.expect(200);
    visit.log_in(&page, "olga", PASSWORD).await.expect(303);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let stolen = http.get(format!("{base}/oauth/apps")).header(COOKIE, format!("referral={planted}")).send().await;
    let stolen = stolen.expect("an answer").text().await.expect("a page");
    assert!(stolen.contains("action=\"/oauth/login\""), "{stolen}");
}
