//! Mail servers that are dead, slow, silent or refuse, and one whose last answer is lost: registrations and answers go
//! on, the queue drains when the server is back, and nobody gets two different mails.

use std::time::Duration;

use super::helpers::{NEW, ask, complete, confirm, register, start, start_by};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::relay::{Fault, Relay};
use crate::support::servers::Smtp;

const OLGA: &str = "olga@example.com";

async fn jobs(test: &TestApp, condition: &str) -> i64 {
    test.number(&format!("select count(*) from jobs where kind = 'send_mail' and {condition}")).await
}

on_every_setup!(while_the_server_is_away_all_goes_on_and_the_queue_drains_when_it_is_back);
async fn while_the_server_is_away_all_goes_on_and_the_queue_drains_when_it_is_back(setup: Setup) {
    let smtp = Smtp::start().await;
    let relay = Relay::to(smtp.port).await;
    let test = start_by(setup, relay.port, &[]).await;
    register(&test, "olga").await;
    for (turn, fault) in [Fault::Refuse, Fault::Reset, Fault::CutAfter(3)].into_iter().enumerate() {
        relay.suffer(fault.clone());
        register(&test, &format!("newcomer-{turn}")).await;
        ask(&test.client(), OLGA).await.expect(202);
        assert_eq!(test.drain().await, 1, "{fault:?}");
        assert_eq!(jobs(&test, "done_at is null").await, 1, "{fault:?}");
        assert_eq!(test.number("select count(*) from mails where outcome = 'again'").await, 1, "{fault:?}");
        relay.suffer(Fault::None);
        // Not before the pause of its first attempt.
        assert_eq!(test.drain().await, 0, "{fault:?}");
        test.move_clock(Duration::from_secs(1));
        assert_eq!(test.drain().await, 1, "{fault:?}");
        assert_eq!((jobs(&test, "done_at is null").await, smtp.taken().len()), (0, turn + 1), "{fault:?}");
    }
}

on_every_setup!(a_server_that_is_silent_or_slow_holds_up_nothing_but_its_mails);
async fn a_server_that_is_silent_or_slow_holds_up_nothing_but_its_mails(setup: Setup) {
    let smtp = Smtp::start().await;
    let relay = Relay::to(smtp.port).await;
    let test = start_by(setup, relay.port, &[]).await;
    register(&test, "olga").await;
    ask(&test.client(), OLGA).await.expect(202);
    relay.silence(true);
    let sending = test.drain();
    let meanwhile = async {
        for name in ["anna", "boris", "vera"] {
            test.client().register(name, None).await.expect(201);
            ask(&test.client(), &format!("{name}@example.com")).await.expect(202);
        }
        relay.suffer(Fault::Latency(Duration::from_millis(20)));
    };
    let (_, ()) = tokio::join!(sending, meanwhile);
    while test.drain().await > 0 {}
    // A link for each, and for the three who have registered one to confirm their address.
    assert_eq!(smtp.taken().len(), 7);
    assert_eq!(jobs(&test, "done_at is null").await, 0);
}

on_every_setup!(when_the_last_answer_is_lost_the_same_mail_comes_again_and_no_other);
async fn when_the_last_answer_is_lost_the_same_mail_comes_again_and_no_other(setup: Setup) {
    let smtp = Smtp::start().await;
    let relay = Relay::to(smtp.port).await;
    let test = start_by(setup, relay.port, &[]).await;
    register(&test, "olga").await;
    ask(&test.client(), OLGA).await.expect(202);
    relay.suffer(Fault::LoseReply(b"\r\n.\r\n".to_vec()));
    test.drain().await;
    assert_eq!((smtp.taken().len(), jobs(&test, "done_at is null").await), (1, 1));
    relay.suffer(Fault::None);
    test.move_clock(Duration::from_secs(2));
    test.drain().await;
    let mails = smtp.mails_to(OLGA);
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1], "one mail for whoever sorts them by their id");
    complete(&test.client(), &mails[0].token(), NEW).await.expect(204);
    complete(&test.client(), &mails[1].token(), NEW).await.expect_problem(410, "link_expired");
}

on_every_setup!(the_mail_of_a_registration_outlasts_a_server_that_is_away_and_an_answer_that_is_lost);
async fn the_mail_of_a_registration_outlasts_a_server_that_is_away_and_an_answer_that_is_lost(setup: Setup) {
    let smtp = Smtp::start().await;
    let relay = Relay::to(smtp.port).await;
    let test = start_by(setup, relay.port, &[]).await;
    relay.suffer(Fault::Refuse);
    test.client().register("olga", None).await.expect(201);
    test.client().logged_in("olga").await;
    test.drain().await;
    relay.suffer(Fault::LoseReply(b"\r\n.\r\n".to_vec()));
    test.move_clock(Duration::from_secs(1));
    test.drain().await;
    assert_eq!((smtp.taken().len(), jobs(&test, "done_at is null").await), (1, 1));
    relay.suffer(Fault::None);
    test.move_clock(Duration::from_secs(4));
    test.drain().await;
    assert_eq!(jobs(&test, "done_at is null").await, 0);
    let mails = smtp.mails_to(OLGA);
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0], mails[1], "one mail for whoever sorts them by their id");
    confirm(&test.client(), &mails[0].token()).await.expect(204);
    confirm(&test.client(), &mails[1].token()).await.expect_problem(410, "link_expired");
}

on_every_setup!(what_the_server_refuses_for_good_is_given_up_and_what_it_refuses_for_now_is_not);
async fn what_the_server_refuses_for_good_is_given_up_and_what_it_refuses_for_now_is_not(setup: Setup) {
    let (test, smtp) = start(setup).await;
    register(&test, "olga").await;
    smtp.answer("451 try again, olga@example.com");
    ask(&test.client(), OLGA).await.expect(202);
    test.drain().await;
    assert_eq!(jobs(&test, "done_at is null").await, 1);
    smtp.answer("550 there is no olga@example.com here");
    test.move_clock(Duration::from_secs(1));
    test.drain().await;
    assert_eq!((jobs(&test, "done_at is null").await, jobs(&test, "given_up_at is not null").await), (0, 1));
    let outcome = &test.query("select outcome from jobs where given_up_at is not null").await[0][0];
    assert_eq!(outcome.as_deref(), Some("the mail server refuses it"));
    assert_eq!(test.number("select count(*) from mails where outcome = 'refused' and attempts = 2").await, 1);
    // The operator can have it tried again.
    smtp.answer("");
    let id = test.number("select id from jobs where given_up_at is not null").await;
    referral::jobs::retry(&test.app().db, id, test.app().clock.now()).await.expect("retried");
    test.drain().await;
    assert_eq!(smtp.mail_to(OLGA).subject, "Choose a new password");
}

on_every_setup!(a_link_that_is_good_no_more_is_not_sent);
async fn a_link_that_is_good_no_more_is_not_sent(setup: Setup) {
    let smtp = Smtp::start().await;
    let relay = Relay::to(smtp.port).await;
    let test = start_by(setup, relay.port, &[]).await;
    register(&test, "olga").await;
    relay.suffer(Fault::Refuse);
    ask(&test.client(), OLGA).await.expect(202);
    test.drain().await;
    relay.suffer(Fault::None);
    test.move_clock(Duration::from_secs(10 * 60));
    test.drain().await;
    assert_eq!((smtp.taken().len(), jobs(&test, "done_at is null").await), (0, 0));
    assert_eq!(test.number("select count(*) from mails where outcome = 'expired'").await, 1);
}
