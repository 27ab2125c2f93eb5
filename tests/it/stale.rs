//! What was true a moment ago lets nobody in. Each of these rules stands behind another one, which is asked first, or
//! is about a moment between two requests: nothing but the rule itself is asked here.

use std::sync::atomic::Ordering;
use std::time::Duration;

use referral::cache::changes::Changes;
use referral::db::Work;
use referral::features::identities::model::UnclaimedIdentityKey;
use referral::features::oauth::model::matches;
use referral::features::signin::actions::{
    FailureReason, FinishError, ProviderCallback, SignInStart, begin_sign_in, finish_sign_in,
};
use referral::features::tokens::actions::browser_sessions;
use referral::features::tokens::actions::{NewFamily, Origin, authenticate, begin_family, begin_session, new_family};
use referral::features::tokens::model::Credential;
use referral::features::{accounts, signin};
use referral::kernel::actor::Actor;
use referral::kernel::digest::{TicketHash, VisitorHash};
use referral::kernel::error::{Error, Refusal};
use referral::kernel::ids::{SessionId, UserId};
use referral::kernel::scope::Scopes;
use referral::kernel::time::Time;
use referral::limits::prefix;
use serde_json::json;
use uuid::Uuid;

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::oauth::{CALLBACK, allow, bearer, challenge, register, text};
use crate::support::provider::Provider;
use crate::support::registration::id_of;
use crate::support::visit::Visit;

const ANOTHER: &str = "another, longer password";

/// Whether something was refused for this reason.
#[track_caller]
fn refused<T>(outcome: Result<T, Error>, refusal: Refusal) {
    match outcome {
        Err(Error::Refused(why)) => assert_eq!(why, refusal),
        Err(fault) => panic!("it failed: {fault}"),
        Ok(_) => panic!("it was not refused"),
    }
}

async fn stored_hash(test: &TestApp, name: &str) -> String {
    let rows = test.query(&format!("select password_hash from users where username = '{name}'")).await;
    rows[0][0].clone().expect("a hash")
}

/// A user with a former password hash and the one of today.
async fn changed(test: &TestApp, name: &str) -> (UserId, String, String) {
    let user = test.user(name).await;
    let former = stored_hash(test, name).await;
    let body = json!({"current_password": PASSWORD, "new_password": ANOTHER});
    user.post("/api/v1/me/password", &body).await.expect(204);
    (id_of(test, name).await, former, stored_hash(test, name).await)
}

on_every_setup!(a_session_begins_only_with_the_password_of_today);
async fn a_session_begins_only_with_the_password_of_today(setup: Setup) {
    let test = setup.start().await;
    let (user, former, today) = changed(&test, "olga").await;
    let sessions = "select count(*) from token_families where ended_at is null";
    refused(begin_session(test.app(), Actor::SERVICE, user, former.clone()).await, Refusal::BadCredentials);
    refused(
        browser_sessions::begin(test.app(), Actor::SERVICE, user, Credential::Password(former), VisitorHash::of([1]))
            .await,
        Refusal::BadCredentials,
    );
    assert_eq!(test.number(sessions).await, 0);
    assert_eq!(test.number("select count(*) from browser_sessions").await, 0);
    begin_session(test.app(), Actor::SERVICE, user, today.clone()).await.expect("a session");
    browser_sessions::begin(test.app(), Actor::SERVICE, user, Credential::Password(today), VisitorHash::of([1]))
        .await
        .expect("a session");
    assert_eq!(test.number(sessions).await, 1);
}

on_every_setup!(an_account_is_joined_only_with_the_password_of_today);
async fn an_account_is_joined_only_with_the_password_of_today(setup: Setup) {
    let test = setup.start().await;
    let (user, former, today) = changed(&test, "olga").await;
    let ticket = || UnclaimedIdentityKey {
        ticket_hash: TicketHash::of([1]),
        visitor_hash: VisitorHash::of([2]),
        email_proven: false,
    };
    refused(signin::actions::link(test.app(), Actor::SERVICE, ticket(), user, former).await, Refusal::BadCredentials);
    // That of today gets as far as the ticket, of which there is none.
    refused(
        signin::actions::link(test.app(), Actor::SERVICE, ticket(), user, today.clone()).await,
        Refusal::SignInExpired,
    );
    accounts::actions::administration::disable(test.app(), user).await.expect("disabled");
    refused(signin::actions::link(test.app(), Actor::SERVICE, ticket(), user, today).await, Refusal::BadCredentials);
}

on_every_setup!(an_account_is_erased_only_with_the_password_of_today);
async fn an_account_is_erased_only_with_the_password_of_today(setup: Setup) {
    let test = setup.start().await;
    let (user, former, today) = changed(&test, "olga").await;
    let erase: Work<(UserId, String), bool> = |tx, (user, hash)| {
        Box::pin(async move {
            Ok(accounts::store::erase(tx, *user, &accounts::store::Warrant::Own(Some(hash.clone())), Time(1))
                .await?
                .is_some())
        })
    };
    let erased =
        async |hash: String| test.app().db.write(Actor::SERVICE, (user, hash), erase).await.expect("an answer");
    assert!(!erased(former).await);
    assert_eq!(test.number("select count(*) from users where erased_at is not null").await, 0);
    assert!(erased(today.clone()).await);
    assert!(!erased(today).await);
}

on_every_setup!(nothing_is_left_that_could_let_an_erased_person_in);
async fn nothing_is_left_that_could_let_an_erased_person_in(setup: Setup) {
    let test = setup.start().await;
    test.manager("boss").await;
    let manager = test.manager("olga").await;
    manager.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    assert_eq!(test.number("select count(*) from users where erased_at is not null").await, 1);
    let left = "select count(*) from users where erased_at is not null and \
                (password_hash is not null or is_manager or discoverable or email_proven_at is not null)";
    assert_eq!(test.number(left).await, 0);
    let theirs = "user_id in (select id from users where erased_at is not null)";
    assert_eq!(test.number(&format!("select count(*) from logins where {theirs}")).await, 0);
    let open = format!("select count(*) from token_families where {theirs} and ended_at is null");
    assert_eq!(test.number(&open).await, 0);
}

on_every_setup!(a_program_that_was_removed_begins_nothing);
/// It was found, and then it was removed.
async fn a_program_that_was_removed_begins_nothing(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let shop =
        register(&manager, json!({"grants": ["client_credentials"], "redirect_uris": [], "scope": "program:read"}))
            .await;
    let begins = async || {
        let program = Origin::Program(shop.id.parse().expect("an id"));
        let (family, _) = new_family(test.app(), &shop.id, Scopes::MACHINE, program).expect("a family");
        let begin: Work<NewFamily, bool> =
            |tx, family| Box::pin(async move { Ok(begin_family(tx, family).await?.is_some()) });
        test.app().db.write(Actor::SERVICE, family, begin).await.expect("an answer")
    };
    assert!(begins().await);
    manager.delete(&format!("/api/v1/clients/{}", shop.id)).await.expect(204);
    assert!(!begins().await);
}

on_every_setup!(the_end_of_each_session_is_announced);
/// To nodes that believe in what they know until they hear otherwise.
async fn the_end_of_each_session_is_announced(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    test.client().logged_in("user").await;
    let body = json!({"current_password": PASSWORD, "new_password": ANOTHER});
    user.post("/api/v1/me/password", &body).await.expect(204);
    let told = "select count(*) from changes c join token_families f on f.id = c.subject \
                where c.topic = 'session' and f.ended_at is not null";
    assert_eq!(test.number(told).await, 2);
}

on_every_setup!(a_password_is_changed_only_from_the_one_that_was_checked);
/// Two changes that were both proven by the one password: the second finds another than it was proven by.
async fn a_password_is_changed_only_from_the_one_that_was_checked(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let change = async |new: &str| {
        let body = json!({"current_password": PASSWORD, "new_password": new});
        olga.post("/api/v1/me/password", &body).await
    };
    let (one, other) = tokio::join!(change(ANOTHER), change("a third, longer password"));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    // Who comes second finds the password changed, or already the session ended.
    assert!(statuses == [204, 401] || statuses == [204, 403], "{one:?} {other:?}");
    let kept = if one.status == 204 { ANOTHER } else { "a third, longer password" };
    test.client().log_in("olga", kept).await.expect(200);
}

on_every_setup!(a_browser_session_begins_only_with_the_identity_of_today);
async fn a_browser_session_begins_only_with_the_identity_of_today(setup: Setup) {
    let test = setup.start().await;
    let olga = test.user("olga").await;
    let user = id_of(&test, "olga").await;
    let mine = |subject: &str| Credential::Identity { issuer: "https://corp.example".into(), subject: subject.into() };
    refused(
        browser_sessions::begin(test.app(), Actor::SERVICE, user, mine("olga"), VisitorHash::of([1])).await,
        Refusal::BadCredentials,
    );
    let whose = match setup {
        Setup::Sqlite => format!("x'{}'", olga.id.replace('-', "")),
        _ => format!("'{}'", olga.id),
    };
    let link = "insert into identities (issuer, subject, user_id, linked_at)";
    test.sql(&format!("{link} values ('https://corp.example', 'olga', {whose}, 1)")).await;
    refused(
        browser_sessions::begin(test.app(), Actor::SERVICE, user, mine("ivan"), VisitorHash::of([1])).await,
        Refusal::BadCredentials,
    );
    browser_sessions::begin(test.app(), Actor::SERVICE, user, mine("olga"), VisitorHash::of([1]))
        .await
        .expect("a session");
}

on_every_setup!(a_code_of_an_ended_browser_session_gives_nothing);
/// A code is tied to the browser session that it was given in.
async fn a_code_of_an_ended_browser_session_gives_nothing(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    let code = shop.code(&mut visit, "olga", &[]).await;
    test.sql("update browser_sessions set ended_at = 1").await;
    shop.exchange(&code).await.expect(400);
    assert_eq!(test.number("select count(*) from token_families where client_id <> 'referral'").await, 0);
}

on_every_setup!(an_access_token_ends_where_it_was_believed_before);
/// What was remembered of a token is worth no more than the token.
async fn an_access_token_ends_where_it_was_believed_before(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    let token = user.token.clone().expect("a token");
    authenticate(test.app(), &token).await.expect("it is good");
    assert!(test.app().verified.iter().next().is_some());
    test.move_clock(Duration::from_secs(601));
    refused(authenticate(test.app(), &token).await, Refusal::InvalidToken);
}

on_every_setup!(a_refresh_gives_no_scope_that_the_client_has_lost);
/// Scopes that a program loses are gone from its next token on.
async fn a_refresh_gives_no_scope_that_the_client_has_lost(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let shop = register(&manager, json!({})).await;
    test.user("olga").await;
    let tokens = shop.tokens("olga", &[]).await;
    let body = json!({"scope": "openid profile"});
    manager.patch(&format!("/api/v1/clients/{}", shop.id), &body).await.expect(200);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))];
    let tokens = shop.call("/oauth/token", &fields).await.expect(200).json();
    assert_eq!(text(&tokens, "scope"), "openid profile");
    bearer(&shop.base, &tokens).get("/api/v1/codes").await.expect_problem(403, "insufficient_scope");
}

on_every_setup!(an_ended_session_gives_its_last_answer_to_nobody);
/// Within the moment in which a replaced token gives its successor again.
async fn an_ended_session_gives_its_last_answer_to_nobody(setup: Setup) {
    let test = setup.start().await;
    let mut user = test.user("user").await;
    let first = user.refresh_token.clone().expect("a token");
    let answer = user.refresh(&first).await.expect(200);
    user.refresh(&first).await.expect(200);
    user.take_tokens(&answer);
    user.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    user.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
}

on_every_setup!(who_has_ceased_to_be_a_manager_manages_nothing);
async fn who_has_ceased_to_be_a_manager_manages_nothing(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    manager.get("/api/v1/clients").await.expect(200);
    test.sql("update users set is_manager = false where username = 'manager'").await;
    manager.get("/api/v1/clients").await.expect_problem(403, "managers_only");
    manager.post("/api/v1/clients", &json!({})).await.expect_problem(403, "managers_only");
}

on_every_setup!(a_code_gives_nothing_that_was_taken_back);
async fn a_code_gives_nothing_that_was_taken_back(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
    let (mut hers, mut his) = (Visit::new(&shop.base), Visit::new(&shop.base));
    let (code, kept) = (shop.code(&mut hers, "olga", &[]).await, shop.code(&mut his, "ivan", &[]).await);
    olga.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect(204);
    shop.exchange(&code).await.expect(400);
    // Ivan has taken nothing back.
    shop.exchange(&kept).await.expect(200);
    let given = ivan.get("/api/v1/me/consents").await.expect(200).json();
    assert_eq!(given["items"].as_array().map(Vec::len), Some(1));
}

on_every_setup!(consent_is_asked_for_when_the_client_wants_it_or_wants_more);
async fn consent_is_asked_for_when_the_client_wants_it_or_wants_more(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (shop, other) = (register(&manager, json!({})).await, register(&manager, json!({})).await);
    test.user("olga").await;
    let mut visit = Visit::new(&shop.base);
    shop.code(&mut visit, "olga", &[("scope", "openid")]).await;
    let mut asks = async |client: &crate::support::oauth::Registered, change: &[(&str, &str)]| {
        let page = visit.get(&client.request(change)).await;
        let asked = page.text.contains("action=\"/oauth/consent\"");
        assert!(asked || page.sent("code").is_some(), "{}", page.text);
        (asked, page)
    };
    assert!(!asks(&shop, &[("scope", "openid")]).await.0);
    assert!(asks(&shop, &[("scope", "openid"), ("prompt", "consent")]).await.0);
    assert!(asks(&shop, &[("scope", "openid profile")]).await.0);
    let (asked, page) = asks(&other, &[("scope", "openid")]).await;
    assert!(asked);
    allow(&mut visit, &page).await.sent("code").expect("a code");

    // Whatever listens on the person's machine may call itself by the name of an app that was allowed.
    let app = json!({"confidential": false, "redirect_uris": ["http://127.0.0.1/callback"]});
    let app = register(&manager, app).await;
    let own = app.request(&[("redirect_uri", "http://127.0.0.1:5000/callback"), ("scope", "openid")]);
    for _ in 0..2 {
        let page = visit.get(&own).await.expect(200);
        allow(&mut visit, &page).await.sent("code").expect("a code");
    }

    // Who does not show the verifier does not get what the code is for.
    let code = shop.code(&mut visit, "olga", &[("scope", "openid")]).await;
    let fields = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    shop.call("/oauth/token", &fields).await.expect(400);
    shop.exchange(&code).await.expect(200);
}

on_every_setup!(what_only_some_may_see_is_read_each_time);
/// Who wants to be found by nobody is read anew for each look-up: what is remembered could be told to another.
async fn what_only_some_may_see_is_read_each_time(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("owner").await;
    owner.create_code("FIRST2030ABC").await.expect(201);
    owner.patch("/api/v1/me", &json!({"discoverable": false})).await;
    for _ in 0..5 {
        owner.get("/api/v1/codes/owner@example.com").await.expect(200);
    }
    let answers = test.app().codes.answers();
    let remembered = [&answers.process, &answers.redis].map(|counter| counter.load(Ordering::Relaxed));
    assert_eq!((remembered, answers.database.load(Ordering::Relaxed)), ([0, 0], 5));
}

/// It hears nothing of the others, so each time the database is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_news_asks_whether_a_session_has_ended() {
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let test = setup.start().await;
        let user = test.user("user").await;
        let deaf = test.open(&[]).await.expect("a node");
        let token = user.token.clone().expect("a token");
        authenticate(&deaf, &token).await.expect("it is good");
        // What it has read at its start counts for a while.
        let anybody = SessionId(Uuid::nil());
        eventually("it must ask", || async { deaf.changes.session_ended(anybody).is_none() }).await;
        user.post("/api/v1/auth/logout", &json!({})).await.expect(204);
        refused(authenticate(&deaf, &token).await, Refusal::InvalidToken);
    }
}

#[test]
fn a_network_of_ipv6_is_one_client() {
    let of = |text: &str| prefix(text.parse().expect("an address"));
    assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

/// Word of changes may come in any order.
#[test]
fn an_older_version_does_not_hide_a_newer_one() {
    let (changes, owner) = (Changes::default(), UserId(Uuid::from_u128(7)));
    assert_eq!(changes.code_version(owner.0), i64::MIN);
    changes.code_changed(owner, 3);
    changes.code_changed(owner, 2);
    assert_eq!(changes.code_version(owner.0), 3);
}

/// RFC 7636, 4.1.
#[test]
fn a_verifier_has_its_length_and_its_letters() {
    use base64::Engine;
    let proves = |verifier: &str| {
        let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(challenge(verifier));
        matches(Some(verifier), &challenge.expect("base64url"))
    };
    assert!(proves(&"a".repeat(43)) && proves(&"-._~".repeat(32)));
    // None for a challenge, and one for none.
    assert!(matches(None, &[]) && !matches(None, &[1; 32]) && !matches(Some(&"a".repeat(43)), &[]));
    for bad in [&*"a".repeat(42), &*"a".repeat(129), &format!("{}+", "a".repeat(43)), ""] {
        assert!(!proves(bad), "{bad}");
    }
}

on_every_setup!(who_left_for_one_provider_does_not_come_back_from_another);
/// One provider does not answer for another.
async fn who_left_for_one_provider_does_not_come_back_from_another(setup: Setup) {
    let (corp, other) = (Provider::start().await, Provider::start().await);
    let settings = [corp.settings("corp"), other.settings("other")].concat();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let test = setup.start_with(&settings).await;
    let (app, actor, browser) = (test.app(), Actor::SERVICE, VisitorHash::of([1]));
    for back in ["other", "corp"] {
        let start = SignInStart { visitor_hash: browser, next: "/oauth/apps".into(), code: None };
        let Ok(address) = begin_sign_in(app, actor, "corp", start).await else { panic!("nobody leaves") };
        let address = url::Url::parse(&address).expect("an address");
        let (_, state) = address.query_pairs().find(|(name, _)| name == "state").expect("a state");
        let callback = ProviderCallback { state: &state, code: Some("a code"), error: None, iss: None };
        let Err(FinishError::SignIn(failed)) = finish_sign_in(app, actor, back, browser, callback).await else {
            panic!("somebody came")
        };
        // Of that of the right one its token endpoint has been asked.
        assert_eq!(matches!(failed.why, FailureReason::Expired), back == "other", "{back}");
    }
}
