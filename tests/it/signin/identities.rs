//! With which accounts elsewhere somebody signs in, and how they cease to.

use serde_json::{Value, json};

use super::helpers::{browser_of, come, new_account, start_with, tokens_of, who};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;
use crate::support::provider::Provider;

async fn identities(client: &Client) -> Vec<Value> {
    let list = client.get("/api/v1/me/identities").await.expect(200).json();
    list["items"].as_array().expect("a list").clone()
}

fn path(identity: &Value) -> String {
    format!("/api/v1/me/identities/{}", identity["id"].as_str().expect("an id"))
}

on_every_setup!(an_identity_is_unlinked_unless_it_is_the_last_way_in);
async fn an_identity_is_unlinked_unless_it_is_the_last_way_in(setup: Setup) {
    let (corp, other) = (Provider::start().await, Provider::start().await);
    let test = start_with(setup, &[("corp", &corp), ("other", &other)], &[]).await;
    let ivan = test.user("ivan").await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    let olga = tokens_of(&mut visit).await;

    let seen = identities(&olga).await;
    assert_eq!((seen.len(), &seen[0]["provider"]), (1, &json!("corp")));
    assert_eq!(identities(&ivan).await, Vec::<Value>::new());
    ivan.delete(&path(&seen[0])).await.expect_problem(404, "identity_not_found");
    olga.delete(&path(&seen[0])).await.expect_problem(409, "last_way_in");
    // One of a provider that nobody can sign in with is no way in.
    let link = async |issuer: &str| {
        let text = format!(
            "insert into identities (issuer, subject, user_id, linked_at) \
             select '{issuer}', 'olga-2', id, 1 from users where username = 'olga'"
        );
        test.sql(&text).await;
    };
    link("https://gone.example").await;
    olga.delete(&path(&seen[0])).await.expect_problem(409, "last_way_in");
    assert_eq!(identities(&olga).await[0]["provider"], Value::Null);
    // Of two that are, taken away at once, one stays.
    link(&test.app().providers.settings("other").expect("a provider").issuer).await;
    let linked = identities(&olga).await;
    let usable: Vec<&Value> = linked.iter().filter(|identity| !identity["provider"].is_null()).collect();
    let (one, another) = (path(usable[0]), path(usable[1]));
    let answers = tokio::join!(olga.delete(&one), olga.delete(&another));
    let mut statuses = [answers.0.status, answers.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);

    // With a password the last may go, and nobody comes by it any more.
    olga.post("/api/v1/me/password", &json!({"new_password": "Another-Pass-77"})).await.expect(204);
    let answer = test.client().log_in("olga", "Another-Pass-77").await.expect(200);
    let mut olga = test.client();
    olga.take_tokens(&answer);
    for identity in identities(&olga).await {
        olga.delete(&path(&identity)).await.expect(204);
        olga.delete(&path(&identity)).await.expect_problem(404, "identity_not_found");
    }
    assert_eq!(test.number("select count(*) from identities").await, 0);
    assert_eq!(who(&visit).await, None);
    let page = come(&mut visit, "corp").await.expect(200);
    // To us they are somebody new.
    new_account(&page);
}
