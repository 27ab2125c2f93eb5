//! What is kept of people on their way to a provider and back, and of their identities.

use std::time::Duration;

use futures_util::future::join_all;
use referral::db::{Db, Work};
use referral::features::accounts::actions::administration;
use referral::features::identities::model::{PendingSignIn, UnclaimedIdentity};
use referral::features::identities::store;
use referral::kernel::actor::Actor;
use referral::kernel::digest::{Digest, StateHash, TicketHash, VisitorHash};
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use referral::outbound::identity_provider::model::Identity;
use referral::worker;
use serde_json::json;

use super::helpers::{MINE, NONCE, STATE_HASH, VERIFIER, assert_is, departure, leave};
use crate::on_both_engines;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::visit::Visit;

const OTHERS: [u8; 32] = [2; 32];
const TICKET_HASH: [u8; 32] = [4; 32];

fn arrival(expires_at: Time) -> UnclaimedIdentity {
    let identity = Identity {
        issuer: "https://id.example.com".into(),
        subject: "olga-7".into(),
        email: Some("olga@example.com".into()),
        email_verified: true,
        name: None,
    };
    let PendingSignIn { provider, visitor_hash, next, code, .. } = departure(expires_at);
    UnclaimedIdentity { provider, visitor_hash, next, code, identity, expires_at }
}

async fn arrive(db: &Db, new: UnclaimedIdentity) {
    let insert: Work<UnclaimedIdentity, ()> = |tx, new| {
        Box::pin(async move {
            let ticket = TicketHash::stored(TICKET_HASH);
            store::insert_arrival(tx, &ticket, new).await
        })
    };
    db.write(Actor::SERVICE, new, insert).await.expect("an arrival");
}

async fn take_departure(db: &Db, hash: [u8; 32], visitor: [u8; 32], now: Time) -> Option<PendingSignIn> {
    let take: Work<(StateHash, VisitorHash, Time), Option<PendingSignIn>> =
        |tx, (hash, visitor, now)| Box::pin(store::take_departure(tx, hash, visitor, *now));
    db.write(Actor::SERVICE, (StateHash::stored(hash), VisitorHash::stored(visitor), now), take)
        .await
        .expect("an answer")
}

async fn take_arrival(db: &Db, hash: [u8; 32], visitor: [u8; 32], now: Time) -> Option<UnclaimedIdentity> {
    let take: Work<(TicketHash, VisitorHash, Time), Option<UnclaimedIdentity>> =
        |tx, (hash, visitor, now)| Box::pin(store::take_arrival(tx, hash, visitor, *now));
    db.write(Actor::SERVICE, (TicketHash::stored(hash), VisitorHash::stored(visitor), now), take)
        .await
        .expect("an answer")
}

async fn link(test: &TestApp, subject: &str, user: UserId) -> bool {
    let link: Work<(String, UserId, Time), bool> =
        |tx, (subject, user, now)| Box::pin(store::link(tx, "https://id.example.com", subject, *user, *now));
    let input = (subject.to_owned(), user, test.app().clock.now());
    test.app().db.write(Actor::SERVICE, input, link).await.expect("an answer")
}

async fn owner(test: &TestApp, issuer: &str, subject: &str) -> Option<UserId> {
    store::owner(&test.app().db, issuer, subject).await.expect("an answer")
}

on_both_engines!(who_left_comes_back_once_in_the_same_browser_and_in_time);
async fn who_left_comes_back_once_in_the_same_browser_and_in_time(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let now = Clock::default().now();
    let end = now.plus(Duration::from_secs(600));
    leave(db, departure(end)).await;
    assert!(take_departure(db, [9; 32], MINE, now).await.is_none(), "another state");
    assert!(take_departure(db, STATE_HASH, OTHERS, now).await.is_none(), "another browser");
    assert!(take_arrival(db, STATE_HASH, MINE, now).await.is_none(), "a state is no ticket");
    assert!(take_departure(db, STATE_HASH, MINE, end).await.is_none(), "too late");
    let takers = join_all((0..20).map(|_| take_departure(db, STATE_HASH, MINE, now))).await;
    let mut taken: Vec<PendingSignIn> = takers.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "of many callers one gets it");
    let back = taken.remove(0);
    assert_eq!((back.provider.as_str(), back.next.as_str()), ("corp", "/oauth/apps"));
    assert_eq!(back.code.as_deref(), Some("SPRING2030AB"));
    assert_eq!((back.nonce.as_str(), back.verifier.as_str()), (NONCE, VERIFIER));
    assert_eq!((back.visitor_hash, back.expires_at), (VisitorHash::stored(MINE), end));
    assert_eq!(test.number("select count(*) from sign_ins").await, 0);
}

on_both_engines!(who_arrived_is_kept_under_a_new_ticket_until_it_is_used);
async fn who_arrived_is_kept_under_a_new_ticket_until_it_is_used(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let now = Clock::default().now();
    let end = now.plus(Duration::from_secs(600));
    arrive(db, arrival(end)).await;
    assert!(take_departure(db, TICKET_HASH, MINE, now).await.is_none(), "a ticket is no state");
    assert!(take_arrival(db, TICKET_HASH, OTHERS, now).await.is_none(), "another browser");
    assert!(take_arrival(db, TICKET_HASH, MINE, end).await.is_none(), "too late");
    for visitor in [OTHERS, MINE] {
        let seen = store::arrival(db, &TicketHash::stored(TICKET_HASH), &VisitorHash::stored(visitor), now)
            .await
            .expect("an answer");
        assert_eq!(seen.is_some(), visitor == MINE);
    }
    let takers = join_all((0..20).map(|_| take_arrival(db, TICKET_HASH, MINE, now))).await;
    let mut taken: Vec<UnclaimedIdentity> = takers.into_iter().flatten().collect();
    assert_eq!(taken.len(), 1, "of many callers one gets it");
    let (got, sent) = (taken.remove(0), arrival(end));
    assert_is(&got.identity, &sent.identity);
    assert_eq!((got.provider, got.next, got.code), (sent.provider, sent.next, sent.code));
    assert_eq!((got.visitor_hash, got.expires_at), (VisitorHash::stored(MINE), end));
}

on_both_engines!(housekeeping_removes_those_who_did_not_come_back);
async fn housekeeping_removes_those_who_did_not_come_back(setup: Setup) {
    let test = setup.start().await;
    let db = &test.app().db;
    let now = test.app().clock.now();
    leave(db, departure(now.plus(Duration::from_secs(300)))).await;
    arrive(db, arrival(now.plus(Duration::from_secs(600)))).await;
    worker::clean(test.app()).await.expect("a clean house");
    assert_eq!(test.number("select count(*) from sign_ins").await, 2);
    test.move_clock(Duration::from_secs(400));
    worker::clean(test.app()).await.expect("a clean house");
    assert_eq!(test.number("select count(*) from sign_ins").await, 1);
    test.move_clock(Duration::from_secs(400));
    worker::clean(test.app()).await.expect("a clean house");
    assert_eq!(test.number("select count(*) from sign_ins").await, 0);
}

on_both_engines!(an_identity_is_one_users_and_a_user_may_have_several);
async fn an_identity_is_one_users_and_a_user_may_have_several(setup: Setup) {
    let test = setup.start().await;
    let id = |text: &str| UserId::parse(text).expect("an id");
    let (olga, boris) = (id(&test.user("olga").await.id), id(&test.user("boris").await.id));
    let issuer = "https://id.example.com";
    // Of many callers one gets it.
    let callers = join_all((0..20).map(|n| link(&test, "olga-7", if n % 2 == 0 { olga } else { boris }))).await;
    assert_eq!(callers.iter().filter(|linked| **linked).count(), 1);
    let first = owner(&test, issuer, "olga-7").await.expect("an owner");
    let second = if first == olga { boris } else { olga };
    assert!(!link(&test, "olga-7", second).await);
    assert_eq!(owner(&test, issuer, "olga-7").await, Some(first));
    // Subjects are compared character by character, and belong to their issuer.
    for (issuer, subject) in [(issuer, "OLGA-7"), (issuer, "olga-7 "), ("https://id.example.com/", "olga-7")] {
        assert_eq!(owner(&test, issuer, subject).await, None, "{issuer} {subject}");
    }
    assert!(link(&test, "OLGA-7", first).await);
    for subject in ["olga-7", "OLGA-7"] {
        assert_eq!(owner(&test, issuer, subject).await, Some(first), "{subject}");
    }
}

on_both_engines!(a_password_set_by_the_operator_unlinks_every_identity);
/// Whoever was in may have linked a way back.
async fn a_password_set_by_the_operator_unlinks_every_identity(setup: Setup) {
    let test = setup.start().await;
    let (olga, boris) = (test.user("olga").await, test.user("boris").await);
    for (subject, user) in [("olga-7", &olga), ("olga-8", &olga), ("boris-1", &boris)] {
        assert!(link(&test, subject, UserId::parse(&user.id).expect("an id")).await);
    }
    let found = administration::find(test.app(), "olga").await.expect("a look").expect("an account");
    let reset = administration::reset_password(test.app(), &found, "quite another one").await;
    reset.expect("a good password");
    assert_eq!(test.query("select subject from identities").await, [[Some("boris-1".to_owned())]]);
    olga.get("/api/v1/me").await.expect_problem(401, "invalid_token");
}

on_both_engines!(an_erased_user_has_no_identities_and_gets_none);
async fn an_erased_user_has_no_identities_and_gets_none(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("olga").await;
    let id = UserId::parse(&user.id).expect("an id");
    assert!(link(&test, "olga-7", id).await);
    assert!(link(&test, "olga-8", id).await);
    user.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(test.number("select count(*) from identities").await, 0);
    assert!(!link(&test, "olga-7", id).await);
    assert!(!link(&test, "olga-9", UserId::new()).await, "nobody");
    assert_eq!(test.number("select count(*) from identities").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_set_up_is_told_so_on_the_way_there_and_back() {
    let test = Setup::Sqlite.start().await;
    let mut visit = Visit::new(&test.nodes[0].url);
    for path in ["/oauth/login/corp?next=/oauth/apps", "/oauth/callback/corp", "/oauth/callback/corp?state=a&code=b"] {
        let page = visit.get(path).await.expect(404);
        assert!(page.header("content-type").starts_with("text/html"), "{path}: {page:?}");
        assert!(page.text.contains("There is no such way to log in"), "{path}: {page:?}");
    }
}
