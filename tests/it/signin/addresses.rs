//! Whose account an address is: a person is issuer and subject.

use std::time::Duration;

use referral::features::accounts::actions as accounts;
use referral::features::identities::model::UnclaimedIdentityKey;
use referral::features::signin::actions as signin;
use referral::features::tokens::actions::browser_sessions;
use referral::features::tokens::model::Credential;
use referral::kernel::actor::Actor;
use referral::kernel::digest::{TicketHash, VisitorHash};
use referral::kernel::error::{Error, Refusal};
use serde_json::json;

use super::helpers::{
    HOME, TRUSTED, browser_of, come, exchanged, field, info, is_now, join_account, link, new_account, request, start,
    start_with, tokens_of, who,
};
use crate::on_every_setup;
use crate::support::app::{Setup, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::provider::Provider;

async fn is_refreshed(client: &Client) -> bool {
    let token = client.refresh_token.as_deref().expect("a refresh token");
    let form = [("grant_type", "refresh_token"), ("client_id", "docs"), ("refresh_token", token)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    client.anonymous().post_form("/oauth/token", &form).await.status == 200
}

fn is(error: Result<(), Error>, refusal: Refusal) -> bool {
    matches!(error, Err(Error::Refused(found)) if found == refusal)
}

on_every_setup!(whoever_registers_without_a_clients_request_sees_their_account);
/// Sent by nobody, one still learns what there is and where to go on.
async fn whoever_registers_without_a_clients_request_sees_their_account(setup: Setup) {
    let (test, corp) = start(setup, &[]).await;
    let mut visit = browser_of(&test);
    let page = visit.get("/oauth/register").await.expect(200);
    let typed = [("username", "olga"), ("email", "olga@example.com"), ("password", PASSWORD)];
    let page = visit.submit(&page.form("/oauth/register"), &typed).await.expect(303);
    assert_eq!(page.location(), Some("/share?done=registered"));
    let page = visit.follow(page).await.expect(200);
    for said in ["Your account is ready", "Logged in as <strong><bdi>olga<", "Your link is ready. Switch it on"] {
        assert!(page.text.contains(said), "{said}: {}", page.text);
    }
    assert!(page.forms().iter().any(|form| form.action == "/oauth/logout"), "{}", page.text);

    let olga = test.client().logged_in("olga").await;
    olga.create_code("AMSEL2030XYZ").await.expect(201);
    let page = visit.get(HOME).await.expect(200);
    assert!(!page.text.contains("Your account is ready"), "once is enough: {}", page.text);
    let invitation = link(&page, "/r/").trim_end_matches("/qr.svg").to_owned();
    let mut friends = browser_of(&test);
    let opened = friends.get(&invitation).await.expect(302);
    let page = friends.follow(opened).await.expect(200);
    assert_eq!(field(&page.form("/oauth/register"), "code"), "AMSEL2030XYZ");
    olga.revoke_code("AMSEL2030XYZ").await.expect(204);
    assert!(visit.get(HOME).await.expect(200).text.contains("It was revoked."));

    // With a provider it is the same, unless the account was there before.
    is_now(&corp, json!({"sub": "1", "preferred_username": "ivan", "email": "ivan@example.com"}));
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    assert_eq!(link(&page, HOME), HOME, "another way to log in");
    let page = visit.submit(&new_account(&page), &[("username", "ivan"), ("email", "ivan@example.com")]).await;
    assert_eq!(page.expect(303).location(), Some("/share?done=registered"));
    is_now(&corp, json!({"sub": "2", "preferred_username": "olga"}));
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    let page = visit.submit(&join_account(&page), &[("login", "olga"), ("password", PASSWORD)]).await;
    assert_eq!(page.expect(303).location(), Some(HOME));
}

on_every_setup!(a_person_is_issuer_and_subject_and_never_an_address);
async fn a_person_is_issuer_and_subject_and_never_an_address(setup: Setup) {
    let (corp, other) = (Provider::start().await, Provider::start().await);
    let test = start_with(setup, &[("corp", &corp), ("other", &other)], &[]).await;
    let olga = test.user("olga").await;
    // The address of an account, verified by a provider whose word about addresses does not count.
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    assert_eq!(who(&visit).await, None);
    let page = visit.submit(&new_account(&page), &[("username", "other")]).await.expect(409);
    assert!(page.text.contains("id=\"email-wrong\""), "{}", page.text);
    assert_eq!(field(&new_account(&page), "username"), "other");
    let page = visit.submit(&new_account(&page), &[("email", "second@example.com")]).await.expect(303);
    visit.follow(page).await;
    let second = info(&tokens_of(&mut visit).await).await["sub"].clone();
    assert_ne!(second, json!(olga.id));

    // Whatever the provider says of them later, they are who they were.
    for change in [
        json!({"sub": "olga-7", "email": "changed@example.com", "email_verified": true, "name": "Changed"}),
        json!({"sub": "olga-7", "email": "olga@example.com", "email_verified": true}),
        json!({"sub": "olga-7"}),
    ] {
        is_now(&corp, change);
        let mut visit = browser_of(&test);
        come(&mut visit, "corp").await.expect(303);
        let told = info(&tokens_of(&mut visit).await).await;
        assert_eq!((&told["sub"], &told["email"]), (&second, &json!("second@example.com")));
    }
    // The same name elsewhere, and other names here, are somebody else's.
    let mut stranger = browser_of(&test);
    come(&mut stranger, "other").await.expect(200);
    assert_eq!(who(&stranger).await, None);
    for subject in ["OLGA-7", "olga-7 ", "olga-70", "olga"] {
        is_now(&corp, json!({"sub": subject, "email": "second@example.com", "email_verified": true}));
        come(&mut stranger, "corp").await.expect(200);
        assert_eq!(who(&stranger).await, None, "{subject}");
    }
    // Somebody with both has both.
    let page = come(&mut stranger, "other").await.expect(200);
    olga.log_in("olga", PASSWORD).await.expect(200);
    stranger.submit(&join_account(&page), &[("login", "olga"), ("password", PASSWORD)]).await.expect(303);
    assert_eq!(who(&stranger).await.as_deref(), Some("olga"));
    assert_eq!(test.number("select count(*) from identities").await, 2);
}

on_every_setup!(a_verified_address_at_a_trusted_provider_is_proven);
async fn a_verified_address_at_a_trusted_provider_is_proven(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    assert!(page.text.contains(" readonly"), "{}", page.text);
    // What is typed over it does not count, and what is left out is not missed.
    let typed = [("username", "olga"), ("email", "ivan@example.com")];
    let page = visit.submit(&new_account(&page), &typed).await.expect(303);
    visit.follow(page).await;
    let told = info(&tokens_of(&mut visit).await).await;
    assert_eq!((&told["email"], &told["email_verified"]), (&json!("olga@example.com"), &json!(true)));

    // What it does not vouch for is typed, and proven by nobody.
    for (number, person) in [
        json!({"sub": "a", "email": "a@example.com", "email_verified": false}),
        json!({"sub": "b", "email": "b@example.com"}),
        json!({"sub": "c"}),
        // A mailbox whose name we would have to change is not the one that was looked at.
        json!({"sub": "d", "email": "ｄ@example.com", "email_verified": true}),
    ]
    .into_iter()
    .enumerate()
    {
        is_now(&corp, person);
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        assert!(!page.text.contains(" readonly"), "{}", page.text);
        let email = format!("typed{number}@example.com");
        let typed = [("username", &*format!("user{number}")), ("email", &email)];
        visit.submit(&new_account(&page), &typed).await.expect(303);
        let told = info(&tokens_of(&mut visit).await).await;
        assert_eq!((&told["email"], &told["email_verified"]), (&json!(email), &json!(false)));
    }
}

on_every_setup!(a_mailbox_that_looks_alike_is_another_ones);
/// Two addresses that are one to us, when an account is made, are two mailboxes.
async fn a_mailbox_that_looks_alike_is_another_ones(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let strasse = test.user("strasse").await;
    for address in ["straße@example.com", "ｓｔｒａｓｓｅ@example.com", "ﬆrasse@example.com"] {
        is_now(&corp, json!({"sub": address, "email": address, "email_verified": true}));
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        let typed = [("username", "other"), ("email", address)];
        visit.submit(&new_account(&page), &typed).await.expect(409);
        assert_eq!(who(&visit).await, None, "{address}");
    }
    strasse.get("/api/v1/me").await.expect(200);
    strasse.log_in("strasse", PASSWORD).await.expect(200);
    // Letters of either case are the same mailbox everywhere that matters.
    is_now(&corp, json!({"sub": "s", "email": "Strasse@Example.com", "email_verified": true}));
    let mut visit = browser_of(&test);
    come(&mut visit, "corp").await.expect(303);
    assert_eq!(who(&visit).await.as_deref(), Some("strasse"));
}

on_every_setup!(a_domain_that_only_becomes_the_same_is_another_ones);
/// To DNS these are other names than the one that IDNA makes of them.
async fn a_domain_that_only_becomes_the_same_is_another_ones(setup: Setup) {
    let (test, corp) = start(setup, &[TRUSTED]).await;
    let body = json!({"username": "kino", "email": "kino@kino.example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    let body = json!({"username": "почта", "email": "kino@почта.рф", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    for address in [
        "kino@kino.exam\u{ad}ple.com",
        "kino@\u{212a}ino.example.com",
        "kino@kino.ｅxample.com",
        "kino@kino.example。com",
        "kino@ПОЧТА.рф",
    ] {
        is_now(&corp, json!({"sub": address, "email": address, "email_verified": true}));
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        assert_eq!(who(&visit).await, None, "{address}");
        assert!(!page.text.contains(" readonly"), "{address} counts as proven");
    }
    assert_eq!(test.number("select count(*) from identities").await, 0);
    for (address, name) in [("kino@Kino.Example.COM", "kino"), ("kino@почта.рф", "почта")] {
        is_now(&corp, json!({"sub": address, "email": address, "email_verified": true}));
        let mut visit = browser_of(&test);
        come(&mut visit, "corp").await.expect(303);
        assert_eq!(who(&visit).await.as_deref(), Some(name));
    }
}

on_every_setup!(whoever_took_an_address_loses_all_access_when_its_owner_signs_in);
/// Somebody has made an account with another person's address and waits, with every way in that there is.
async fn whoever_took_an_address_loses_all_access_when_its_owner_signs_in(setup: Setup) {
    let (corp, evil) = (Provider::start().await, Provider::start().await);
    let settings = [corp.settings("corp"), evil.settings("evil")].concat();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut test = setup.start_with(&[&settings[..], &[TRUSTED]].concat()).await;
    test.add_node().await;
    let there = test.nodes[1].url.clone();
    is_now(&evil, json!({"sub": "mallory", "email": "olga@example.com", "email_verified": true}));

    let mut mallory = test.user("olga").await;
    let mut waiting = browser_of(&test);
    let page = come(&mut waiting, "evil").await.expect(200);
    waiting.submit(&join_account(&page), &[("login", "olga"), ("password", PASSWORD)]).await.expect(303);
    let program = tokens_of(&mut waiting).await;
    let elsewhere = mallory.at(&there);
    elsewhere.get("/api/v1/me").await.expect(200);
    let page = waiting.get(&request(&[])).await.expect(200);
    let sent = waiting.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
    let unused = sent.sent("code").expect("a code");
    is_now(&evil, json!({"sub": "mallory-2"}));
    let mut second = browser_of(&test);
    let open = come(&mut second, "evil").await.expect(200);
    // As if the request were under way: the password was right, and then the owner comes.
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let recognised = accounts::recognise(test.app(), "olga", PASSWORD, address).await.expect("olga");
    let (user, stored) = (recognised.user, recognised.stored);

    // An address that is not verified is nobody's, and so is one that only looks alike.
    for email in
        [json!({"email": "olga@example.com", "email_verified": false}), json!({"email": "ＯＬＧＡ@example.com"})]
    {
        let mut person = json!({"sub": "not olga", "email_verified": true});
        for (name, value) in email.as_object().expect("claims") {
            person[name] = value.clone();
        }
        is_now(&corp, person);
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "o"), ("email", "olga@example.com")]).await.expect(409);
        mallory.get("/api/v1/me").await.expect(200);
    }
    corp.is_honest();
    let mut olga = browser_of(&test);
    come(&mut olga, "corp").await.expect(303);
    assert_eq!(who(&olga).await.as_deref(), Some("olga"));

    mallory.log_in("olga", PASSWORD).await.expect_problem(401, "bad_credentials");
    for client in [&mallory, &program] {
        client.get("/api/v1/me").await.expect_problem(401, "invalid_token");
    }
    let token = mallory.refresh_token.take().expect("a refresh token");
    mallory.refresh(&token).await.expect_problem(401, "invalid_refresh_token");
    assert!(!is_refreshed(&program).await);
    assert!(exchanged(&mallory.base, &unused).await.is_none());
    assert_eq!(who(&waiting).await, None);
    let began = std::time::Instant::now();
    eventually("the other node knows", || async { elsewhere.get("/api/v1/me").await.status == 401 }).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Nor by a provider of their own, linked before, now, or while it happened.
    is_now(&evil, json!({"sub": "mallory", "email": "olga@example.com", "email_verified": true}));
    come(&mut waiting, "evil").await.expect(200);
    assert_eq!(who(&waiting).await, None);
    second.submit(&join_account(&open), &[("login", "olga"), ("password", PASSWORD)]).await.expect(422);
    let key = || UnclaimedIdentityKey {
        ticket_hash: TicketHash::of([1]),
        visitor_hash: VisitorHash::of([2]),
        email_proven: false,
    };
    assert!(is(signin::link(test.app(), Actor::SERVICE, key(), user, stored.clone()).await, Refusal::BadCredentials));
    let late = Credential::Password(stored);
    assert!(is(
        browser_sessions::begin(test.app(), Actor::SERVICE, user, late, VisitorHash::of([3])).await,
        Refusal::BadCredentials
    ));
    let late = Credential::Identity { issuer: evil.url.clone(), subject: "mallory".into() };
    assert!(is(
        browser_sessions::begin(test.app(), Actor::SERVICE, user, late, VisitorHash::of([3])).await,
        Refusal::BadCredentials
    ));
    // Nothing that they have allowed anybody is allowed.
    assert_eq!(test.number("select count(*) from consents").await, 0);
    assert_eq!(test.number("select count(*) from identities").await, 1);
    let olga = tokens_of(&mut olga).await;
    let told = info(&olga).await;
    assert_eq!((&told["sub"], &told["email_verified"]), (&json!(mallory.id), &json!(true)));
    assert_eq!(corp.asked("/token"), 3);
}

on_every_setup!(a_proven_account_is_joined_and_keeps_what_it_has);
async fn a_proven_account_is_joined_and_keeps_what_it_has(setup: Setup) {
    let (corp, other) = (Provider::start().await, Provider::start().await);
    let trusted = ("REFERRAL_PROVIDERS_OTHER_TRUST_EMAIL", "true");
    let test = start_with(setup, &[("corp", &corp), ("other", &other)], &[TRUSTED, trusted]).await;
    test.user("olga").await;
    let mut first = browser_of(&test);
    come(&mut first, "corp").await.expect(303);
    let program = tokens_of(&mut first).await;
    program.post("/api/v1/me/password", &json!({"new_password": "Another-Pass-77"})).await.expect(204);
    let olga = program.log_in("olga", "Another-Pass-77").await.expect(200);
    let mut client = test.client();
    client.take_tokens(&olga);
    come(&mut first, "corp").await.expect(303);
    // Another provider that is trusted, with the address in other letters.
    is_now(&other, json!({"sub": "olga-8", "email": "Olga@EXAMPLE.com", "email_verified": true}));
    let mut second = browser_of(&test);
    come(&mut second, "other").await.expect(303);
    for visit in [&first, &second] {
        assert_eq!(who(visit).await.as_deref(), Some("olga"));
    }
    client.get("/api/v1/me").await.expect(200);
    client.log_in("olga", "Another-Pass-77").await.expect(200);
    let token = client.refresh_token.clone().expect("a refresh token");
    client.refresh(&token).await.expect(200);
    assert_eq!(test.number("select count(*) from identities").await, 2);
}
