//! The program's settings: who sees and changes them, and that every node goes by them.

use referral::features::programs;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::Client;
use crate::support::oauth::{register, text};

const DEFAULT: &str = "/api/v1/programs/default";

on_every_setup!(a_program_is_there_from_the_start_and_managers_change_it);
async fn a_program_is_there_from_the_start_and_managers_change_it(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let first = json!({
        "slug": "default", "name": "Referral program", "state": "active", "landing_url": null, "code_days": 365,
        "auto_renew": true, "share_texts": {"en": null, "ru": null}, "hold_days": 30, "event_types": [], "budgets": {},
    });
    assert_eq!(manager.get(DEFAULT).await.expect(200).json(), first);
    assert_eq!(manager.get("/api/v1/programs").await.expect(200).json(), json!({"items": [first]}));

    let russian = "Идём со мной: {link}";
    let change = json!({
        "name": " Friends ", "landing_url": "https://shop.example.com/join?a=1", "code_days": 30, "auto_renew": false,
        "share_texts": {"ru": russian}, "hold_days": 0, "event_types": ["subscription", "trial_2"],
    });
    let changed = json!({
        "slug": "default", "name": "Friends", "state": "active", "landing_url": "https://shop.example.com/join?a=1",
        "code_days": 30, "auto_renew": false, "share_texts": {"en": null, "ru": russian},
        "hold_days": 0, "event_types": ["subscription", "trial_2"], "budgets": {},
    });
    assert_eq!(manager.patch(DEFAULT, &change).await.expect(200).json(), changed);
    assert_eq!(manager.get(DEFAULT).await.expect(200).json(), changed);
    // What is left out or null stays, what is empty goes.
    let null = json!({"name": null, "landing_url": null, "code_days": null, "auto_renew": null, "share_texts": null});
    for nothing in [json!({}), null, json!({"share_texts": {}, "state": "ended", "slug": "other"})] {
        assert_eq!(manager.patch(DEFAULT, &nothing).await.expect(200).json(), changed, "{nothing}");
    }
    let english = json!({"share_texts": {"en": "Come along: {link}"}});
    let both = manager.patch(DEFAULT, &english).await.expect(200).json()["share_texts"].clone();
    assert_eq!(both, json!({"en": "Come along: {link}", "ru": russian}));
    let empty = json!({"landing_url": "", "share_texts": {"en": "", "ru": ""}});
    let emptied = manager.patch(DEFAULT, &empty).await.expect(200).json();
    assert_eq!(emptied["landing_url"], Value::Null);
    assert_eq!(emptied["share_texts"], json!({"en": null, "ru": null}));
    assert_eq!(test.number("select count(*) from programs where share_texts is null and landing_url is null").await, 1);

    for (field, wrong) in [
        ("name", json!("")),
        ("name", json!("a\u{202e}b")),
        ("landing_url", json!("http://shop.example.com/")),
        ("landing_url", json!("https://user@shop.example.com/")),
        ("landing_url", json!("https://shop.example.com/#top")),
        ("code_days", json!(0)),
        ("code_days", json!(3651)),
        ("code_days", json!(1.5)),
        ("share_texts", json!({"en": "without the link"})),
        ("share_texts", json!({"de": "{link}"})),
        ("share_texts", json!({"en": 1})),
        ("hold_days", json!(-1)),
        ("hold_days", json!(3651)),
        ("budgets", json!({"euros": 5})),
        ("budgets", json!({"EUR": -1})),
        ("budgets", json!({"EUR": 1.5})),
        ("event_types", json!("subscription")),
        ("event_types", json!(["purchase"])),
        ("event_types", json!(["signup"])),
        ("event_types", json!(["a", "b", "a"])),
        ("event_types", json!(["Two words"])),
        ("event_types", json!((0..21).map(|place| format!("t{place}")).collect::<Vec<_>>())),
    ] {
        let mut body = json!({});
        body[field] = wrong.clone();
        let answer = manager.patch(DEFAULT, &body).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], json!(["body", field]), "{wrong}");
    }
    assert_eq!(manager.get(DEFAULT).await.expect(200).json(), emptied);
    for unknown in ["/api/v1/programs/other", "/api/v1/programs/DEFAULT"] {
        manager.get(unknown).await.expect_problem(404, "program_not_found");
        manager.patch(unknown, &json!({})).await.expect_problem(404, "program_not_found");
    }
}

on_every_setup!(every_node_goes_by_a_changed_program_soon_and_reads_it_seldom);
async fn every_node_goes_by_a_changed_program_soon_and_reads_it_seldom(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let other = &test.nodes[1].app;
    let before = programs::actions::current(other).await.expect("a program");
    assert_eq!((before.code_days, before.landing_url.is_none()), (365, true));
    manager.patch(DEFAULT, &json!({"code_days": 7})).await.expect(200);
    assert_eq!(
        programs::actions::current(test.app()).await.expect("a program").code_days,
        7,
        "the node itself at once"
    );
    eventually("the other node knows", || async {
        programs::actions::current(other).await.expect("a program").code_days == 7
    })
    .await;
}

on_every_setup!(two_managers_who_change_different_settings_at_once_both_have_their_way);
async fn two_managers_who_change_different_settings_at_once_both_have_their_way(setup: Setup) {
    let test = setup.start_two().await;
    let manager = test.manager("manager").await;
    let other = manager.at(&test.nodes[1].url);
    for round in 1..=20 {
        let (name, days) = (json!({"name": format!("Round {round}")}), json!({"code_days": round}));
        let (one, two) = tokio::join!(manager.patch(DEFAULT, &name), other.patch(DEFAULT, &days));
        one.expect(200);
        two.expect(200);
        let program = manager.get(DEFAULT).await.expect(200).json();
        assert_eq!((&program["name"], &program["code_days"]), (&name["name"], &days["code_days"]));
    }
}

on_every_setup!(a_client_with_either_scope_for_programs_acts_alone_and_has_no_more_than_it_was_given);
async fn a_client_with_either_scope_for_programs_acts_alone_and_has_no_more_than_it_was_given(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    for (scope, reads_lists) in [("program:read", true), ("program:write", false), ("program:read program:write", true)]
    {
        let alone = json!({"grants": ["client_credentials"], "scope": scope, "redirect_uris": []});
        let client = register(&manager, alone).await;
        let grant = [("grant_type", "client_credentials")];
        let given = client.call("/oauth/token", &grant).await.expect(200).json();
        assert_eq!(text(&given, "scope"), scope);
        let program = Client::new(&client.base).with_token(text(&given, "access_token"));
        program.get(DEFAULT).await.expect(200);
        program.patch(DEFAULT, &json!({})).await.expect_problem(403, "person_required");
        let list = program.get(&format!("/api/v1/users/{}", manager.id)).await;
        if reads_lists {
            list.expect(200)
        } else {
            list.expect_problem(403, "insufficient_scope")
        };
        let more = client.call("/oauth/token", &[grant[0], ("scope", "program:read program:write")]).await;
        assert_eq!(more.status == 200, scope.contains(' '), "{scope}");
    }
    // People cannot give it.
    let people = json!({"scope": "openid program:write"});
    let mut body = json!({"name": "Shop", "confidential": true, "redirect_uris": ["https://shop.example.com/cb"]});
    body["scope"] = people["scope"].clone();
    manager.post("/api/v1/clients", &body).await.expect_problem(422, "invalid");
}
