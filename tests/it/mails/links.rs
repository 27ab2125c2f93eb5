//! What a link in a mail is good for: once, for its time, for its user and for what it says.

use std::time::Duration;

use base64::Engine;
use futures_util::future::join_all;
use referral::crypto::mail_key::LinkToken;
use referral::features::accounts::actions::administration;
use referral::features::mails::actions::keys;
use referral::kernel::ids::MailId;
use referral::kernel::mail::MailKind;
use reqwest::Method;
use serde_json::json;

use super::helpers::{NEW, complete, confirm, register, reset_mail, start};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::paths::ME;
use crate::support::servers::Smtp;
use crate::support::visit::Visit;

on_every_setup!(a_link_acts_once_however_many_use_it_at_once);
async fn a_link_acts_once_however_many_use_it_at_once(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let token = reset_mail(&test, &smtp, "olga@example.com").await.token();
    let client = test.client();
    let posts = (0..50).map(|_| complete(&client, &token, NEW));
    let answers = futures_util::future::join_all(posts).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(204), count(410)), (1, 49), "{answers:?}");
    client.log_in("olga", NEW).await.expect(200);
}

on_every_setup!(looking_at_a_link_changes_nothing);
async fn looking_at_a_link_changes_nothing(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let token = reset_mail(&test, &smtp, "olga@example.com").await.token();
    let before = test.query("select * from mails").await;
    let client = test.client();
    for _ in 0..100 {
        Visit::new(&client.base).get(&format!("/mail/{token}")).await.expect(200);
        let head = client.send(client.request(reqwest::Method::HEAD, &format!("/mail/{token}"))).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
    assert_eq!(test.query("select * from mails").await, before);
    complete(&client, &token, NEW).await.expect(204);
}

on_every_setup!(a_link_is_good_for_its_time_and_no_longer);
async fn a_link_is_good_for_its_time_and_no_longer(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let first = reset_mail(&test, &smtp, "olga@example.com").await.token();
    test.move_clock(Duration::from_secs(9 * 60));
    Visit::new(&test.nodes[0].url).get(&format!("/mail/{first}")).await.expect(200);
    test.move_clock(Duration::from_secs(61));
    Visit::new(&test.nodes[0].url).get(&format!("/mail/{first}")).await.expect(410);
    complete(&test.client(), &first, NEW).await.expect_problem(410, "link_expired");
    test.client().log_in("olga", PASSWORD).await.expect(200);
}

on_every_setup!(a_link_is_its_users_its_kinds_and_ours);
async fn a_link_is_its_users_its_kinds_and_ours(setup: Setup) {
    let (test, smtp) = start(setup).await;
    for name in ["olga", "ivan"] {
        register(&test, name).await;
    }
    let olgas = reset_mail(&test, &smtp, "olga@example.com").await.token();
    let ivans = reset_mail(&test, &smtp, "ivan@example.com").await.token();
    let key = keys::current(test.app()).await.expect("the key");
    let olgas_id = LinkToken::parse(&olgas).expect("a token").id;
    let confirm = key.link(olgas_id, MailKind::Confirm).text();
    let nobodys = key.link(MailId::new(), MailKind::Reset).text();
    // The id of one with the proof of the other.
    let mixed: String = olgas.chars().take(21).chain(ivans.chars().skip(21)).collect();
    let cut: String = olgas.chars().skip(1).collect();
    for bad in [&*confirm, &nobodys, &mixed, "", "nonsense", &cut, &format!("{olgas}A"), &olgas.to_lowercase()] {
        complete(&test.client(), bad, NEW).await.expect_problem(410, "link_expired");
        if !bad.is_empty() {
            Visit::new(&test.nodes[0].url).get(&format!("/mail/{bad}")).await.expect(410);
        }
    }
    complete(&test.client(), &olgas, NEW).await.expect(204);
    test.client().log_in("olga", NEW).await.expect(200);
    test.client().log_in("ivan", PASSWORD).await.expect(200);
}

on_every_setup!(a_link_dies_with_the_address_the_password_the_account_and_the_key);
async fn a_link_dies_with_the_address_the_password_the_account_and_the_key(setup: Setup) {
    let (test, smtp) = start(setup).await;
    for name in ["moved", "twice", "disabled", "erased", "leaked"] {
        register(&test, name).await;
    }
    let address = |name: &str| format!("{name}@example.com");
    let dead = async |token: &str| {
        Visit::new(&test.nodes[0].url).get(&format!("/mail/{token}")).await.expect(410);
        complete(&test.client(), token, NEW).await.expect_problem(410, "link_expired");
    };
    let token = reset_mail(&test, &smtp, &address("moved")).await.token();
    test.sql("update users set email_key = 'other@example.com' where username = 'moved'").await;
    dead(&token).await;

    let (first, second) = (
        reset_mail(&test, &smtp, &address("twice")).await.token(),
        reset_mail(&test, &smtp, &address("twice")).await.token(),
    );
    complete(&test.client(), &second, NEW).await.expect(204);
    dead(&first).await;

    let token = reset_mail(&test, &smtp, &address("disabled")).await.token();
    let found = administration::find(test.app(), "disabled").await.expect("a look").expect("an account");
    administration::disable(test.app(), found.id).await.expect("disabled");
    dead(&token).await;

    let token = reset_mail(&test, &smtp, &address("erased")).await.token();
    let erased = test.client().logged_in("erased").await;
    erased.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
    dead(&token).await;
    assert_eq!(test.number("select count(*) from mails where address_key = 'erased@example.com'").await, 0);

    let token = reset_mail(&test, &smtp, &address("leaked")).await.token();
    keys::replace(test.app()).await.expect("replaced");
    keys::open(test.app()).await.expect("it opens");
    dead(&token).await;
}

on_every_setup!(the_key_of_links_lies_sealed_and_no_table_has_a_token);
async fn the_key_of_links_lies_sealed_and_no_table_has_a_token(setup: Setup) {
    let (mut test, smtp) = start(setup).await;
    register(&test, "olga").await;
    let token = reset_mail(&test, &smtp, "olga@example.com").await.token();
    let open = test.query("select secret from mail_key where not sealed").await;
    assert_eq!(open.len(), 1);
    let master = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    test.add_node_with(&[("REFERRAL_MASTER_KEY", &master)]).await;
    assert_eq!(test.number("select count(*) from mail_key where sealed").await, 1);
    assert_ne!(test.query("select secret from mail_key").await, open);
    // The link is good at both nodes.
    Visit::new(&test.nodes[0].url).get(&format!("/mail/{token}")).await.expect(200);
    Visit::new(&test.nodes[1].url).get(&format!("/mail/{token}")).await.expect(200);
    let Err(sentence) = test.open(&[]).await else { panic!("it starts without the master key") };
    assert!(sentence.contains("REFERRAL_MASTER_KEY"), "{sentence}");
    let rows = [
        test.query("select id, user_id, kind, language, address_key, outcome from mails").await,
        test.query("select subject, payload, outcome from jobs").await,
    ];
    let all = format!("{rows:?}");
    let proof: String = token.chars().skip(22).collect();
    assert!(!all.contains(&token) && !all.contains(&proof), "{all}");
}

/// The links by which an address is shown to be somebody's: the one that olga has, and the one that ivan wants.
async fn confirmations(test: &TestApp, smtp: &Smtp) -> [String; 2] {
    test.client().register("olga", None).await.expect(201);
    let ivan = test.user("ivan").await;
    let wish = json!({"email": "new@example.com", "password": PASSWORD});
    ivan.post("/api/v1/me/email", &wish).await.expect(202);
    test.drain().await;
    ["olga@example.com", "new@example.com"].map(|address| smtp.mail_to(address).token())
}

on_every_setup!(a_link_that_confirms_acts_once_and_is_not_burned_by_looks);
async fn a_link_that_confirms_acts_once_and_is_not_burned_by_looks(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let tokens = confirmations(&test, &smtp).await;
    let before = test.query("select * from mails order by id").await;
    let client = test.client();
    for token in &tokens {
        let looks = (0..100).map(|turn| {
            let method = if turn % 2 == 0 { Method::GET } else { Method::HEAD };
            let look = client.anonymous().request(method, &format!("/mail/{token}"));
            async { client.send(look).await.status }
        });
        assert!(join_all(looks).await.iter().all(|status| *status == 200));
    }
    assert_eq!(test.query("select * from mails order by id").await, before);
    assert_eq!(test.number("select count(*) from users where email_proven_at is not null").await, 0);
    for token in &tokens {
        let posts = (0..50).map(|_| confirm(&client, token));
        let statuses: Vec<u16> = join_all(posts).await.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 410).count(), 49, "{statuses:?}");
    }
    assert_eq!(test.number("select count(*) from users where email_proven_at is not null").await, 2);
    let moved = "select count(*) from users where username = 'ivan' and email = 'new@example.com'";
    assert_eq!(test.number(moved).await, 1);
}

on_every_setup!(a_link_that_confirms_is_good_for_an_hour);
async fn a_link_that_confirms_is_good_for_an_hour(setup: Setup) {
    let (test, smtp) = start(setup).await;
    let tokens = confirmations(&test, &smtp).await;
    let visit = || Visit::new(&test.nodes[0].url);
    test.move_clock(Duration::from_secs(59 * 60));
    for token in &tokens {
        visit().get(&format!("/mail/{token}")).await.expect(200);
    }
    test.move_clock(Duration::from_secs(60));
    for token in &tokens {
        visit().get(&format!("/mail/{token}")).await.expect(410);
        confirm(&test.client(), token).await.expect_problem(410, "link_expired");
    }
    assert_eq!(test.number("select count(*) from users where email_proven_at is not null").await, 0);
    assert_eq!(test.number("select count(*) from users where email = 'new@example.com'").await, 0);
}
