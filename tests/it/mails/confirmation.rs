//! Showing that an address is one's own, and what waits for it.

use serde_json::json;

use super::helpers::{CONFIRM, NEW, RESEND, complete, confirm, reset_mail, start, start_with};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};
use crate::support::servers::Smtp;
use crate::support::visit::Visit;

const SUBJECT: &str = "Confirm your e-mail address";
const CODE: &str = "SPRING2030AB";

/// A referrer with a code.
async fn referrer(test: &TestApp) -> Client {
    let owner = test.user("owner").await;
    owner.create_code(CODE).await.expect(201);
    owner
}

/// How the referral of somebody stands.
async fn status(test: &TestApp, name: &str) -> String {
    let sql =
        format!("select r.status from referrals r join users u on u.id = r.referee_id where u.username = '{name}'");
    test.query(&sql).await[0][0].clone().expect("a status")
}

/// The token in the newest mail to a user by which the address is confirmed.
async fn confirmation(test: &TestApp, smtp: &Smtp, name: &str) -> String {
    test.drain().await;
    let mails = smtp.mails_to(&format!("{name}@example.com"));
    let mail = mails.iter().rfind(|mail| mail.subject == SUBJECT);
    mail.unwrap_or_else(|| panic!("no mail to {name}: {mails:?}")).token()
}

on_every_setup!(a_referral_counts_once_the_referee_has_confirmed_the_address);
async fn a_referral_counts_once_the_referee_has_confirmed_the_address(setup: Setup) {
    let (test, smtp) = start(setup).await;
    referrer(&test).await;
    test.client().register("olga", Some(CODE)).await.expect(201);
    test.client().log_in("olga", PASSWORD).await.expect(200);
    assert_eq!(status(&test, "olga").await, "pending");
    let token = confirmation(&test, &smtp, "olga").await;
    confirm(&test.client(), &token).await.expect(204);
    assert_eq!(status(&test, "olga").await, "confirmed");
    confirm(&test.client(), &token).await.expect_problem(410, "link_expired");
    let proven = "select count(*) from users where username = 'olga' and email_proven_at is not null";
    assert_eq!(test.number(proven).await, 1);
    // The password is who registered's still.
    test.client().log_in("olga", PASSWORD).await.expect(200);
    for bad in ["", "nonsense"] {
        confirm(&test.client(), bad).await.expect_problem(410, "link_expired");
    }
}

on_every_setup!(the_operator_may_count_referrals_at_once);
async fn the_operator_may_count_referrals_at_once(setup: Setup) {
    let (test, _smtp) = start_with(setup, &[("REFERRAL_ACCOUNTS_CONFIRM_BEFORE_REFERRAL", "false")]).await;
    referrer(&test).await;
    test.client().register("olga", Some(CODE)).await.expect(201);
    assert_eq!(status(&test, "olga").await, "confirmed");
}

on_every_setup!(a_link_for_one_thing_is_none_for_another);
async fn a_link_for_one_thing_is_none_for_another(setup: Setup) {
    let (test, smtp) = start(setup).await;
    test.client().register("olga", None).await.expect(201);
    let proof = confirmation(&test, &smtp, "olga").await;
    let reset = reset_mail(&test, &smtp, "olga@example.com").await.token();
    complete(&test.client(), &proof, NEW).await.expect_problem(410, "link_expired");
    confirm(&test.client(), &reset).await.expect_problem(410, "link_expired");
    confirm(&test.client(), &proof).await.expect(204);
    complete(&test.client(), &reset, NEW).await.expect(204);
}

on_every_setup!(a_new_password_by_a_link_shows_whose_the_address_is_too);
async fn a_new_password_by_a_link_shows_whose_the_address_is_too(setup: Setup) {
    let (test, smtp) = start(setup).await;
    referrer(&test).await;
    test.client().register("olga", Some(CODE)).await.expect(201);
    let token = reset_mail(&test, &smtp, "olga@example.com").await.token();
    complete(&test.client(), &token, NEW).await.expect(204);
    assert_eq!(status(&test, "olga").await, "confirmed");
}

on_every_setup!(proof_and_verdict_are_both_waited_for_whichever_comes_first);
async fn proof_and_verdict_are_both_waited_for_whichever_comes_first(setup: Setup) {
    let hunter = Hunter::saying(|asked| match asked.email() {
        address if address.starts_with("bad") => Reply::verdict("invalid"),
        _ => Reply::verdict("valid"),
    })
    .await;
    let url = hunter.url.clone();
    let verifier = [("HUNTER_API_KEY", "key"), ("HUNTER_URL", url.as_str()), ("REFERRAL_EMAIL_CHECK", "block")];
    let (test, smtp) = start_with(setup, &verifier).await;
    test.client().register("owner", None).await.expect(201);
    test.drain().await;
    test.client().logged_in("owner").await.create_code(CODE).await.expect(201);
    // The verdict first.
    test.client().register("olga", Some(CODE)).await.expect(201);
    let token = confirmation(&test, &smtp, "olga").await;
    assert_eq!(status(&test, "olga").await, "pending");
    confirm(&test.client(), &token).await.expect(204);
    assert_eq!(status(&test, "olga").await, "confirmed");
    // The proof first: the job that asks for the verdict is held back.
    for (name, counts) in [("ivan", "confirmed"), ("bad", "pending")] {
        test.client().register(name, Some(CODE)).await.expect(201);
        test.sql("update jobs set run_at = run_at + 600000000 where kind = 'check_email' and done_at is null").await;
        let token = confirmation(&test, &smtp, name).await;
        confirm(&test.client(), &token).await.expect(204);
        assert_eq!(status(&test, name).await, "pending", "{name}");
        test.move_clock(std::time::Duration::from_secs(601));
        test.drain().await;
        assert_eq!(status(&test, name).await, counts, "{name}");
    }
}

on_every_setup!(where_it_is_asked_for_people_log_in_once_their_address_is_confirmed);
async fn where_it_is_asked_for_people_log_in_once_their_address_is_confirmed(setup: Setup) {
    let (test, smtp) = start_with(setup, &[("REFERRAL_ACCOUNTS_CONFIRM_BEFORE_LOG_IN", "true")]).await;
    test.client().register("olga", None).await.expect(201);
    test.client().log_in("olga", PASSWORD).await.expect_problem(403, "email_unconfirmed");
    test.client().log_in("olga", "not the password").await.expect_problem(401, "bad_credentials");
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get("/oauth/apps").await.expect(200);
    let page = visit.log_in(&page, "olga", PASSWORD).await.expect(403);
    assert!(page.text.contains("Confirm your e-mail address first"), "{}", page.text);
    let page = visit.get("/oauth/register").await.expect(200);
    let typed = [("username", "ivan"), ("email", "ivan@example.com"), ("password", PASSWORD)];
    let page = visit.submit(&page.form("/oauth/register"), &typed).await.expect(403);
    assert!(page.text.contains("Look into your mailbox"), "{}", page.text);

    let path = format!("/mail/{}", confirmation(&test, &smtp, "olga").await);
    let page = visit.get(&path).await.expect(200);
    assert!(page.text.contains("olga@example.com"), "{}", page.text);
    visit.post(&path, &[]).await.expect(403).form(&path);
    let page = visit.submit(&page.form(&path), &[]).await.expect(200);
    assert!(page.text.contains("Your address is confirmed"), "{}", page.text);
    visit.get(&path).await.expect(410);
    test.client().log_in("olga", PASSWORD).await.expect(200);
}

on_every_setup!(another_link_is_sent_to_whoever_needs_one_and_all_are_answered_alike);
async fn another_link_is_sent_to_whoever_needs_one_and_all_are_answered_alike(setup: Setup) {
    let (test, smtp) = start(setup).await;
    for name in ["olga", "proven"] {
        test.client().register(name, None).await.expect(201);
    }
    let token = confirmation(&test, &smtp, "proven").await;
    confirm(&test.client(), &token).await.expect(204);
    let before = smtp.taken().len();
    for address in ["olga@example.com", "proven@example.com", "nobody@example.com"] {
        assert_eq!(test.client().post(RESEND, &json!({"email": address})).await.expect(202).text, "");
    }
    test.drain().await;
    assert_eq!(smtp.taken().len(), before + 1);
    let mails = smtp.mails_to("olga@example.com");
    assert_eq!(mails.len(), 2);
    // The first does no more once the second did.
    test.client().post(CONFIRM, &json!({"token": mails[1].token()})).await.expect(204);
    confirm(&test.client(), &mails[0].token()).await.expect_problem(410, "link_expired");
}
