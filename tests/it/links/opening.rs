//! Where links lead, and what they never carry.

use std::time::{Duration, Instant};

use referral::features::accounts::actions::administration;
use reqwest::{Method, Url};
use serde_json::json;

use super::helpers::{AGENT, LANDING, handle_of, land_on, lead, open_as};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::codes::LAG;
use crate::support::registration::id_of;

const ENDED: &str = "/oauth/register?invitation=ended";

async fn owner(test: &TestApp) -> (Client, String) {
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let handle = handle_of(&owner).await;
    (owner, format!("/r/{handle}"))
}

on_every_setup!(a_link_leads_to_the_active_code_or_says_that_the_invitation_has_ended);
/// The table of what was opened, row by row, with a landing page and without.
async fn a_link_leads_to_the_active_code_or_says_that_the_invitation_has_ended(setup: Setup) {
    let test = setup.start().await;
    let (owner, link) = owner(&test).await;
    let client = test.client();
    let ours = |code: &str| format!("/oauth/register?code={code}");
    for path in [&link, "/r/SPRING2030AB", "/r/spring-2030-ab"] {
        assert_eq!(lead(&client, path).await, ours("SPRING2030AB"), "{path}");
    }
    land_on(&test, LANDING).await;
    let theirs = |code: &str| format!("{LANDING}?ref={code}");
    for path in [&link, "/r/SPRING2030AB", "/r/spring-2030-ab"] {
        assert_eq!(lead(&client, path).await, theirs("SPRING2030AB"), "{path}");
    }
    // Replaced: the handle goes on, the code does not, whatever its owner has now.
    let next = json!({"code": "SUMMER2030AB", "expires_at": "2099-01-01"});
    owner.post("/api/v1/codes?replace=true", &next).await.expect(201);
    assert_eq!(lead(&client, &link).await, theirs("SUMMER2030AB"));
    assert_eq!(lead(&client, "/r/SPRING2030AB").await, LANDING);
    // Revoked.
    owner.revoke_code("SUMMER2030AB").await.expect(204);
    assert_eq!(lead(&client, &link).await, LANDING);
    assert_eq!(lead(&client, "/r/SUMMER2030AB").await, LANDING);
    // Expired, and one that the person made renews by nobody.
    owner.create_code("AUTUMN2098AB").await.expect(201);
    assert_eq!(lead(&client, &link).await, theirs("AUTUMN2098AB"));
    test.move_database_clock(100 * 365 * 86_400_000_000).await;
    test.nodes[0].app.changes.look(&test.nodes[0].app.db).await.expect("the feed");
    assert_eq!(lead(&client, &link).await, LANDING);
    assert_eq!(lead(&client, "/r/AUTUMN2098AB").await, LANDING);
    // Nobody's.
    for path in ["/r/unknown1", "/r/UNKNOWN2030AB", "/r/abc", "/r/%D0%BE%D0%BB%D1%8C%D0%B3%D0%B0", "/r/olga_1"] {
        client.get(path).await.expect_problem(404, "link_not_found");
    }
    client.get("/r/a%FFb1").await.expect_problem(422, "invalid");
}

on_every_setup!(a_person_without_a_code_or_kept_out_invites_nobody);
async fn a_person_without_a_code_or_kept_out_invites_nobody(setup: Setup) {
    let test = setup.start().await;
    let client = test.client();
    let none = test.user("none").await;
    assert_eq!(lead(&client, &format!("/r/{}", handle_of(&none).await)).await, ENDED);
    let (owner, link) = owner(&test).await;
    assert!(lead(&client, &link).await.contains("code="));
    administration::disable(test.app(), id_of(&test, "owner").await).await.expect("disabled");
    for path in [&link, "/r/SPRING2030AB"] {
        assert_eq!(lead(&client, path).await, ENDED);
    }
    client.get(&format!("{link}/qr.svg")).await.expect_problem(404, "link_not_found");
    let gone = test.user("gone").await;
    gone.create_code("WINTER2030AB").await.expect(201);
    let handle = handle_of(&gone).await;
    gone.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    for path in [&format!("/r/{handle}"), "/r/WINTER2030AB"] {
        assert_eq!(lead(&client, path).await, ENDED);
    }
    drop(owner);
}

on_every_setup!(other_nodes_hear_of_a_revocation_within_a_second);
async fn other_nodes_hear_of_a_revocation_within_a_second(setup: Setup) {
    let test = setup.start_two().await;
    let (owner, link) = owner(&test).await;
    let other = test.client_of(1);
    assert!(lead(&other, &link).await.ends_with("code=SPRING2030AB"));
    owner.revoke_code("SPRING2030AB").await.expect(204);
    let ended = Instant::now();
    assert_eq!(lead(&test.client(), &link).await, ENDED);
    while lead(&other, &link).await != ENDED {
        assert!(ended.elapsed() < LAG, "still led on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Values of `to` that somebody may send a friend with, to end up elsewhere.
fn hostile() -> Vec<String> {
    let hosts = ["evil.example", "evil.example/", "evil.example:443", "0x7f.1", "[::1]", "shop.example.evil.example"];
    let starts = [
        "//",
        "///",
        "////",
        "/\\",
        "\\/",
        "\\\\",
        "/\\/",
        "//\\",
        "/\t/",
        "/\n/",
        "/\r\n/",
        "\t//",
        " //",
        "/ /",
        "/%2f",
        "/%2F",
        "/%5c",
        "/%5C",
        "%2f%2f",
        "/%09/",
        "/%0d%0a/",
        "/./",
        "/.//",
        "/..//",
        "/a/..//",
        "/a/../../",
        "/%2e%2e//",
        "/%2e//",
        "https://",
        "https:/",
        "https:",
        "HTTPS://",
        "http:",
        "//x@",
        "https://shop.example@",
        "https://shop.example:x@",
        "https://shop.example.",
        "https://shop.example\\@",
        "//shop.example@",
        "@",
        ".",
        "..",
        "\u{200b}//",
        "/\u{200b}/",
        "\u{ff0f}\u{ff0f}",
        "/\u{ff0f}",
        "\u{2044}\u{2044}",
        "/\u{a0}/",
        "\0//",
        "/\0/",
    ];
    let mut values: Vec<String> =
        starts.iter().flat_map(|start| hosts.iter().map(move |host| format!("{start}{host}"))).collect();
    values.extend(
        [
            "javascript:alert(1)",
            "data:text/html,<script>",
            "vbscript:x",
            "file:///etc/passwd",
            "/\"><script>",
            "#//evil",
        ]
        .map(str::to_owned),
    );
    values
}

on_every_setup!(no_value_of_to_leaves_the_landing_pages_origin);
async fn no_value_of_to_leaves_the_landing_pages_origin(setup: Setup) {
    let test = setup.start().await;
    let (_, link) = owner(&test).await;
    land_on(&test, "https://shop.example:8443/join?from=friends").await;
    let values = hostile();
    assert!(values.len() >= 300, "{}", values.len());
    let landing = Url::parse(LANDING).expect("an address");
    for value in &values {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", value).finish();
        let location = lead(&test.client(), &format!("{link}?{query}")).await;
        assert!(location.starts_with("https://shop.example:8443/"), "{value:?}: {location}");
        let url = Url::parse(&location).expect("an address");
        assert_eq!(url.host_str(), landing.host_str(), "{value:?}: {location}");
        // Nor to what the host's own router could take for another host.
        let path = url.path().to_ascii_lowercase();
        let odd = ["//", "\\", "%2f", "%5c", "%09", "%0", "/.."].into_iter().find(|odd| path.contains(odd));
        assert_eq!(odd, None, "{value:?}: {location}");
        assert_eq!(url.query(), Some("from=friends&ref=SPRING2030AB"), "{value:?}: {location}");
    }
    let good = lead(&test.client(), &format!("{link}?to=/pricing/plus&utm_source=mail&utm_medium=qr&x=1")).await;
    let expected = "https://shop.example:8443/pricing/plus?from=friends&ref=SPRING2030AB&utm_source=mail&utm_medium=qr";
    assert_eq!(good, expected);
    // A landing page is not needed for any of it: our own is where it is.
    test.user("chief").await;
    let ours = test.manager("keeper").await;
    ours.patch("/api/v1/programs/default", &json!({"landing_url": ""})).await.expect(200);
    for value in ["//evil.example", "/pricing"] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("to", value).finish();
        let expected = "/oauth/register?code=SPRING2030AB";
        assert_eq!(lead(&test.client(), &format!("{link}?{query}")).await, expected);
    }
}

on_every_setup!(a_redirect_tells_nothing_about_its_owner_and_sets_no_cookie);
async fn a_redirect_tells_nothing_about_its_owner_and_sets_no_cookie(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LINKS_PARAMETER", "invite")]).await;
    let (owner, link) = owner(&test).await;
    for landing in ["", LANDING] {
        if !landing.is_empty() {
            land_on(&test, landing).await;
        }
        for method in [Method::GET, Method::HEAD] {
            let answer = open_as(&test.client(), method, &link, AGENT.as_bytes(), &[("cookie", "referral=x")]).await;
            let answer = answer.expect(302);
            assert_eq!(answer.header("set-cookie"), "");
            assert_eq!(answer.text, "");
            let told = format!("{:?}", answer.headers);
            for secret in [owner.id.as_str(), &owner.id.replace('-', ""), "owner", "example.com"] {
                assert!(!told.contains(secret), "{secret}: {told}");
            }
        }
    }
    assert_eq!(lead(&test.client(), &link).await, format!("{LANDING}?invite=SPRING2030AB"));
}

on_every_setup!(the_cookie_is_the_operators_choice_and_keeps_the_last_code_or_the_first);
async fn the_cookie_is_the_operators_choice_and_keeps_the_last_code_or_the_first(setup: Setup) {
    let settings = [("REFERRAL_PUBLIC_URL", "https://go.shop.example"), ("REFERRAL_LINKS_COOKIE_DAYS", "30")];
    let mut test = setup.prepare(&settings).await;
    test.add_node().await;
    let first = [("REFERRAL_LINKS_CREDIT", "first"), ("REFERRAL_LINKS_COOKIE_DOMAIN", "shop.example")];
    test.add_node_with(&first).await;
    let (owner, link) = owner(&test).await;
    let other = test.user("other").await;
    other.create_code("WINTER2030AB").await.expect(201);
    let today: String = test.app().clock.now().to_string().chars().take(10).collect();
    let told = async |node: usize, cookie: &str| {
        let client = test.client_of(node);
        let answer = open_as(&client, Method::GET, &link, AGENT.as_bytes(), &[("cookie", cookie)]).await;
        answer.expect(302).header("set-cookie").to_owned()
    };
    let rest = "Path=/; SameSite=Lax; Secure; Max-Age=2592000";
    let expected = format!("referral=SPRING2030AB.{today}; {rest}");
    for cookie in ["a=b", "referral=WINTER2030AB.2026-11-30"] {
        assert_eq!(told(0, cookie).await, expected, "{cookie}");
    }
    let expected = format!("referral=SPRING2030AB.{today}; Domain=shop.example; {rest}");
    for cookie in ["a=b", "referral=", "referral=!.x", "xreferral=WINTER2030AB.2026-11-30"] {
        assert_eq!(told(1, cookie).await, expected, "{cookie}");
    }
    let earlier = "a=b; referral=WINTER2030AB.2026-11-30";
    assert_eq!(told(1, earlier).await, "");
    // What has ended keeps nobody out.
    other.revoke_code("WINTER2030AB").await.expect(204);
    eventually("the other node knows", || async { told(1, earlier).await == expected }).await;
    // Nobody has opened it yet, or nobody ever will.
    for (method, more) in [(Method::HEAD, ("x-purpose", "")), (Method::GET, ("sec-purpose", "prefetch"))] {
        let answer = open_as(&test.client(), method, &link, AGENT.as_bytes(), &[more]).await.expect(302);
        assert_eq!(answer.header("set-cookie"), "", "{more:?}");
    }
    let answer = open_as(&test.client(), Method::GET, &link, b"Googlebot/2.1", &[]).await.expect(302);
    assert_eq!(answer.header("set-cookie"), "");
    // Where nobody invites, there is nothing to keep.
    owner.revoke_code("SPRING2030AB").await.expect(204);
    assert_eq!(told(0, "a=b").await, "");
}

on_every_setup!(who_opens_links_too_often_has_to_wait);
async fn who_opens_links_too_often_has_to_wait(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_CLICKS_PER_ADDRESS", "2")];
    let test = setup.start_with(&settings).await;
    let (_, link) = owner(&test).await;
    for _ in 0..2 {
        lead(&test.client(), &link).await;
    }
    test.client().get(&link).await.expect_problem(429, "rate_limited");
    test.client().get(&format!("{link}/qr.svg")).await.expect_problem(429, "rate_limited");
}
