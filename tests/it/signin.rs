//! Signing in with other identity providers, as a browser meets it: who becomes whose, and who does not get in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use referral::features::accounts::actions::{self as accounts, administration};
use referral::features::identities::model::UnclaimedIdentityKey;
use referral::features::signin::actions as signin;
use referral::features::tokens::actions::browser_sessions;
use referral::features::tokens::model::Credential;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::support::hunter::{Hunter, Reply};
use crate::support::log;
use crate::support::provider::{Fault, Play, Provider, SECRET};
use crate::support::visit::{Form, Page, Visit};

const ISSUER: &str = "http://referral.test";
const VERIFIER: &str = "a-verifier-of-43-characters-or-more-0123456789";
const TRUSTED: (&str, &str) = ("REFERRAL_PROVIDERS_CORP_TRUST_EMAIL", "true");
const HOME: &str = "/oauth/apps";
const PATIENCE: Duration = Duration::from_secs(600);

type Lie = fn(&mut Play);

/// One provider called `corp`, and a node that knows it.
async fn start(setup: Setup, more: &[(&str, &str)]) -> (TestApp, Provider) {
    let corp = Provider::start().await;
    let test = start_with(setup, &[("corp", &corp)], more).await;
    (test, corp)
}

async fn start_with(setup: Setup, providers: &[(&str, &Provider)], more: &[(&str, &str)]) -> TestApp {
    let settings: Vec<_> = providers.iter().flat_map(|(name, provider)| provider.settings(name)).collect();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    setup.start_with(&[&settings, more].concat()).await
}

fn browser_of(test: &TestApp) -> Visit {
    Visit::new(&test.nodes[0].url)
}

/// Moves our clock and a provider's, by which its tokens are dated.
fn later(test: &TestApp, provider: &Provider, by: Duration) {
    test.move_clock(by);
    provider.clock.shift(i64::try_from(by.as_micros()).expect("a span"));
}

/// The provider vouches for somebody else from now on.
fn is_now(provider: &Provider, person: Value) {
    provider.plays(|play| play.person = person);
}

/// To the provider: our callback, as the browser is sent back to it.
async fn leave(visit: &mut Visit, path: &str) -> String {
    returned(&visit.get(path).await.expect(303)).await
}

/// The same by the provider's button on the page to register on.
async fn leave_by_button(visit: &mut Visit, page: &Page, typed: &[(&str, &str)]) -> String {
    returned(&visit.submit(&button(page), typed).await.leaves()).await
}

/// The form to register with, as the provider's button sends it.
fn button(page: &Page) -> Form {
    let action = "/oauth/login/corp".to_owned();
    assert!(page.text.contains(&format!(" formaction=\"{action}\"")), "{page:?}");
    Form { action, ..page.form("/oauth/register") }
}

/// What the provider sends a browser back to that was sent there.
async fn returned(page: &Page) -> String {
    // The provider is not shown our cookies.
    let page = Visit::new("").get(page.location().expect("an address")).await.expect(303);
    let back = page.location().expect("an address").strip_prefix(ISSUER).expect("back to us").to_owned();
    assert!(back.starts_with("/oauth/callback/"), "{back}");
    back
}

/// To the provider and back.
async fn come(visit: &mut Visit, name: &str) -> Page {
    let back = leave(visit, &format!("/oauth/login/{name}")).await;
    visit.get(&back).await
}

/// Who is logged in with this browser.
async fn who(visit: &Visit) -> Option<String> {
    let page = visit.clone().get(HOME).await.expect(200);
    if page.forms().iter().any(|form| form.action == "/oauth/login") {
        return None;
    }
    let (_, rest) = page.text.split_once("<strong><bdi>").expect("a name");
    Some(rest.split_once('<').expect("its end").0.to_owned())
}

/// The form for a new account on the page of a first visit.
fn new_account(page: &Page) -> Form {
    page.form("/oauth/finish")
}

/// The form beside it, which joins an account.
fn join_account(page: &Page) -> Form {
    let found = page.forms().into_iter().find(|form| form.fields.iter().any(|(name, _)| name == "login"));
    found.unwrap_or_else(|| panic!("no form joins an account: {page:?}"))
}

fn field<'f>(form: &'f Form, name: &str) -> &'f str {
    let found = form.fields.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {form:?}"))
}

/// The address of the link that begins so, as a browser would follow it.
fn link(page: &Page, start: &str) -> String {
    let mut links = page.text.split("href=\"").skip(1).filter_map(|part| part.split('"').next());
    let found = links.find(|link| link.starts_with(start)).unwrap_or_else(|| panic!("no link to {start}: {page:?}"));
    found.replace("&amp;", "&").replace("&#38;", "&")
}

/// The authorization request of the documentation pages, a client that is always there.
fn request(change: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let redirect = format!("{ISSUER}/docs/assets/oauth2-redirect.html");
    let usual = [
        ("client_id", "docs"),
        ("redirect_uri", &redirect),
        ("response_type", "code"),
        ("scope", "openid email profile account"),
        ("state", "s/1&2"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(usual).extend_pairs(change).finish();
    format!("/oauth/authorize?{query}")
}

/// The tokens of who is on the page that asks for consent.
async fn tokens(visit: &mut Visit, page: &Page) -> Client {
    let sent = visit.submit(&page.form("/oauth/consent"), &[("decision", "allow")]).await.leaves();
    assert_eq!(sent.sent("state").as_deref(), Some("s/1&2"));
    exchanged(&visit.base, &sent.sent("code").expect("a code")).await.expect("tokens")
}

async fn exchanged(base: &str, code: &str) -> Option<Client> {
    let redirect = format!("{ISSUER}/docs/assets/oauth2-redirect.html");
    let fields = [
        ("grant_type", "authorization_code"),
        ("client_id", "docs"),
        ("code", code),
        ("redirect_uri", &redirect),
        ("code_verifier", VERIFIER),
    ];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let answer = Client::new(base).post_form("/oauth/token", &form).await;
    let body = answer.json();
    let mut client = Client::new(base).with_token(body["access_token"].as_str()?);
    client.refresh_token = body["refresh_token"].as_str().map(str::to_owned);
    Some(client)
}

/// The tokens of who is logged in with this browser.
async fn tokens_of(visit: &mut Visit) -> Client {
    let page = visit.get(&request(&[])).await.expect(200);
    tokens(visit, &page).await
}

async fn is_refreshed(client: &Client) -> bool {
    let token = client.refresh_token.as_deref().expect("a refresh token");
    let form = [("grant_type", "refresh_token"), ("client_id", "docs"), ("refresh_token", token)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
    client.anonymous().post_form("/oauth/token", &form).await.status == 200
}

async fn info(client: &Client) -> Value {
    client.get("/oauth/userinfo").await.expect(200).json()
}

fn is(error: Result<(), Error>, refusal: Refusal) -> bool {
    matches!(error, Err(Error::Refused(found)) if found == refusal)
}

on_every_setup! {
    /// Sent by nobody, one still learns what there is and where to go on.
    async fn who_registers_on_no_way_lands_in_their_account(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let page = visit.get("/oauth/register").await.expect(200);
        let typed = [("username", "olga"), ("email", "olga@example.com"), ("password", PASSWORD)];
        let page = visit.submit(&page.form("/oauth/register"), &typed).await.expect(303);
        assert_eq!(page.location(), Some("/oauth/apps?registered"));
        let page = visit.follow(page).await.expect(200);
        for said in ["Your account is ready", "Logged in as <strong><bdi>olga<", "You have no referral code"] {
            assert!(page.text.contains(said), "{said}: {}", page.text);
        }
        assert!(page.forms().iter().any(|form| form.action == "/oauth/logout"), "{}", page.text);

        let olga = test.client().logged_in("olga").await;
        olga.create_code("AMSEL2030XYZ").await.expect(201);
        let page = visit.get(HOME).await.expect(200);
        assert!(!page.text.contains("Your account is ready"), "once is enough: {}", page.text);
        assert!(page.text.contains("/oauth/register?code=AMSEL2030XYZ</bdi>"), "to be sent on: {}", page.text);
        let invitation = link(&page, "/oauth/register?");
        let page = browser_of(&test).get(&invitation).await.expect(200);
        assert_eq!(field(&page.form("/oauth/register"), "code"), "AMSEL2030XYZ");
        olga.revoke_code("AMSEL2030XYZ").await.expect(204);
        assert!(visit.get(HOME).await.expect(200).text.contains("You have no referral code"));

        // With a provider it is the same, unless the account was there before.
        is_now(&corp, json!({"sub": "1", "preferred_username": "ivan", "email": "ivan@example.com"}));
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        assert_eq!(link(&page, HOME), HOME, "another way to log in");
        let page = visit.submit(&new_account(&page), &[("username", "ivan"), ("email", "ivan@example.com")]).await;
        assert_eq!(page.expect(303).location(), Some("/oauth/apps?registered"));
        is_now(&corp, json!({"sub": "2", "preferred_username": "olga"}));
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        let page = visit.submit(&join_account(&page), &[("login", "olga"), ("password", PASSWORD)]).await;
        assert_eq!(page.expect(303).location(), Some(HOME));
    }

    async fn a_first_visit_makes_an_account_and_the_next_logs_in(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let owner = test.user("owner").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        let mut visit = browser_of(&test);
        let page = visit.get(&request(&[("referral_code", "AMSEL2030XYZ")])).await.expect(200);
        // A slip at the password does not lose the code.
        let page = visit.log_in(&page, "owner", "not the password").await.expect(422);
        let way = link(&page, "/oauth/login/corp?");
        assert!(way.contains("code=AMSEL2030XYZ"), "{way}");
        assert!(link(&page, "/oauth/register?").contains("code=AMSEL2030XYZ"));
        let back = leave(&mut visit, &way).await;
        let page = visit.get(&back).await.expect(200);
        let form = new_account(&page);
        let filled = ["username", "email", "code"].map(|name| field(&form, name));
        assert_eq!(filled, ["Olga", "olga@example.com", "AMSEL2030XYZ"]);
        assert_eq!(who(&visit).await, None, "nobody is logged in yet");

        // What is wrong is said on the form, which keeps what was typed.
        let typed = [("username", "owner"), ("email", "other@example.com")];
        let page = visit.submit(&form, &typed).await.expect(409);
        let filled = ["username", "email", "code"].map(|name| field(&new_account(&page), name).to_owned());
        assert_eq!(filled, ["owner", "other@example.com", "AMSEL2030XYZ"]);
        let typed = [("username", "a b"), ("email", "nonsense"), ("code", "Nobodys<\"code")];
        let page = visit.submit(&new_account(&page), &typed).await.expect(422);
        assert_eq!(typed.map(|(name, _)| field(&new_account(&page), name).to_owned()), typed.map(|(_, text)| text));
        let typed = [("username", "olga"), ("email", "olga@example.com"), ("code", "Nobodys<\"code")];
        let page = visit.submit(&new_account(&page), &typed).await.expect(404);
        assert_eq!(typed.map(|(name, _)| field(&new_account(&page), name).to_owned()), typed.map(|(_, text)| text));
        let nothing = [("username", ""), ("email", ""), ("code", "AMSEL")];
        let page = visit.submit(&form, &nothing).await.expect(422);
        assert_eq!(nothing.map(|(name, _)| field(&new_account(&page), name).to_owned()), nothing.map(|(_, text)| text));
        assert_eq!(test.number("select count(*) from users").await, 1, "half an account is none");

        let before = visit.cookies.clone();
        let typed = [("username", "olga"), ("email", "olga@example.com"), ("code", "amsel2030xyz")];
        let page = visit.submit(&new_account(&page), &typed).await.leaves();
        assert_ne!(visit.cookies, before, "a cookie that was known before is worth nothing after");
        assert!(page.location().expect("the way on").starts_with("/oauth/authorize?client_id=docs&"));
        let page = visit.follow(page).await.expect(200);
        let olga = tokens(&mut visit, &page).await;
        let me = olga.get("/api/v1/me").await.expect(200).json();
        assert_eq!((&me["username"], &me["referred_by"]["username"]), (&json!("olga"), &json!("owner")));
        assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["referral_count"], 1);
        assert_eq!(info(&olga).await["email_verified"], false, "nobody trusts this provider about addresses");
        assert_eq!(test.number("select count(*) from sign_ins").await, 0);

        let mut other = browser_of(&test);
        let page = other.get(&request(&[])).await.expect(200);
        let back = leave(&mut other, &link(&page, "/oauth/login/corp?")).await;
        // The provider may have had a form as well.
        let page = other.get(&back).await.leaves();
        assert!(page.location().expect("the way on").starts_with("/oauth/authorize?client_id=docs&"));
        let page = other.follow(page).await.expect(200);
        let again = tokens(&mut other, &page).await;
        assert_eq!(info(&again).await["sub"], info(&olga).await["sub"]);
        assert_eq!(corp.asked("/token"), 2);
    }

    async fn a_referral_code_comes_along_by_every_way(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let next = request(&[("referral_code", "AMSEL2030XYZ")]);
        let mut query = form_urlencoded::Serializer::new(String::new());
        let next = query.append_pair("next", &next).finish();
        for path in ["/oauth/login/corp?code=AMSEL2030XYZ".to_owned(), format!("/oauth/login/corp?{next}")] {
            let mut visit = browser_of(&test);
            let back = leave(&mut visit, &path).await;
            let page = visit.get(&back).await.expect(200);
            assert_eq!(field(&new_account(&page), "code"), "AMSEL2030XYZ", "{path}");
        }
        let mut visit = browser_of(&test);
        // By the other name that it has, and with what was copied along.
        let page = visit.get("/oauth/register?referral_code=%20AMSEL2030XYZ%0d%0a").await.expect(200);
        assert_eq!(field(&page.form("/oauth/register"), "code"), "AMSEL2030XYZ");
        let page = visit.get("/oauth/register?code=AMSEL2030XYZ").await.expect(200);
        let back = leave_by_button(&mut visit, &page, &[]).await;
        let page = visit.get(&back).await.expect(200);
        assert_eq!(field(&new_account(&page), "code"), "AMSEL2030XYZ");
        // What no code can be is left behind, and breaks nothing.
        for code in ["%00", "A%0d%0aX", &"A".repeat(101)] {
            let back = leave(&mut visit, &format!("/oauth/login/corp?code={code}")).await;
            let page = visit.get(&back).await.expect(200);
            assert_eq!(field(&new_account(&page), "code"), "", "{code}");
        }
        // A name is proposed only if the form would take it.
        for (name, email, expected) in [
            ("Olga", "olga@example.com", "Olga"),
            ("Olga Ivanova", "olga@example.com", "olga"),
            ("ivan@example.com", "olga@example.com", "olga"),
            ("olga@example.com", "Olga@example.com", "olga@example.com"),
            ("a b", "no address", ""),
            ("", "a b@example.com", ""),
        ] {
            is_now(&corp, json!({"sub": "olga-7", "name": name, "email": email}));
            let page = come(&mut visit, "corp").await.expect(200);
            assert_eq!(field(&new_account(&page), "username"), expected, "{name} {email}");
        }
    }

    async fn a_typed_code_survives_the_providers_button(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let next = request(&[("referral_code", "AMSEL2030XYZ"), ("ui_locales", "ru")]);
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
        let path = format!("/oauth/register?{query}");
        let page = visit.get(&path).await.expect(200);
        // What is there is overtyped; the field of who empties it stays empty; what no code can be is left behind.
        for (typed, expected) in [
            (" HABICHT2030X ", "HABICHT2030X"),
            ("A<\"1&", "A<\"1&"),
            ("  ", ""),
            ("\0", ""),
            (&"A".repeat(101), ""),
        ] {
            let back = leave_by_button(&mut visit, &page, &[("code", typed), ("username", "a b")]).await;
            let page = visit.get(&back).await.expect(200);
            assert_eq!(field(&new_account(&page), "code"), expected, "{typed:?}");
        }
        // So does the way on.
        let back = leave_by_button(&mut visit, &page, &[("code", "")]).await;
        let first = visit.get(&back).await.expect(200);
        let sent = visit.clone().submit(&new_account(&first), &[("username", "olga")]).await.leaves();
        assert_eq!(sent.location(), Some(next.as_str()));

        // A form that is not this browser's comes back with what was typed, and nobody leaves.
        let before = test.number("select count(*) from sign_ins").await;
        let typed = [("csrf", "AAAA"), ("username", "olga"), ("email", "o@example.com"), ("code", "HABICHT2030X")];
        let refused = visit.submit(&button(&page), &typed).await.expect(403);
        for (name, text) in &typed[1..] {
            assert_eq!(field(&button(&refused), name), *text);
        }
        assert_eq!(field(&button(&refused), "next"), next);
        browser_of(&test).submit(&button(&page), &[]).await.expect(403);
        assert_eq!(test.number("select count(*) from sign_ins").await, before);

        // Who does not get through finds the code in the form that they go back to.
        let again = |page: &Page| link(page, "/oauth/register?");
        let back = leave_by_button(&mut visit, &page, &[("code", "HABICHT2030X")]).await;
        let state = back.split('&').find_map(|part| part.split_once("state=")).expect("a state").1;
        let denied = visit.get(&format!("/oauth/callback/corp?error=access_denied&state={state}")).await.expect(403);
        let page = visit.get(&again(&denied)).await.expect(200);
        assert_eq!(["next", "code"].map(|name| field(&button(&page), name).to_owned()), [&*next, "HABICHT2030X"]);
        corp.plays(|play| drop(play.faults.insert("/token", Fault::Broken)));
        let back = leave_by_button(&mut visit, &page, &[]).await;
        let page = visit.get(&again(&visit.clone().get(&back).await.expect(503))).await.expect(200);
        assert_eq!(field(&button(&page), "code"), "HABICHT2030X");
        // Unless the way that they were on has it.
        let back = leave_by_button(&mut visit, &page, &[("code", "AMSEL2030XYZ")]).await;
        link(&visit.get(&back).await.expect(503), "/oauth/authorize?client_id=docs&");
        let gone = Provider::start().await;
        let away = start_with(setup, &[("corp", &gone)], &[]).await;
        drop(gone);
        let mut visit = browser_of(&away);
        let page = visit.get(&path).await.expect(200);
        let page = visit.submit(&button(&page), &[("code", "HABICHT2030X")]).await.expect(503);
        let page = visit.get(&again(&page)).await.expect(200);
        assert_eq!(field(&button(&page), "code"), "HABICHT2030X");
    }

    async fn a_first_visit_joins_an_account_by_its_password(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let ivan = test.user("ivan").await;
        let mut visit = browser_of(&test);
        let page = visit.get(&request(&[])).await.expect(200);
        let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
        let page = visit.get(&back).await.expect(200);
        for wrong in ["not the password", ""] {
            let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", wrong)]).await.expect(422);
            assert_eq!(field(&join_account(&page), "login"), "ivan");
            assert_eq!(field(&join_account(&page), "password"), "", "a password is not sent back");
            assert_eq!(field(&new_account(&page), "username"), "Olga", "the other form is as it was");
        }
        assert_eq!(who(&visit).await, None);
        let typed = [("login", "IVAN@example.com"), ("password", PASSWORD)];
        let page = visit.submit(&join_account(&page), &typed).await.leaves();
        let page = visit.follow(page).await.expect(200);
        assert_eq!(info(&tokens(&mut visit, &page).await).await["sub"], json!(ivan.id));
        assert_eq!(who(&visit).await.as_deref(), Some("ivan"));

        let mut other = browser_of(&test);
        assert_eq!(come(&mut other, "corp").await.expect(303).location(), Some(HOME));
        assert_eq!(who(&other).await.as_deref(), Some("ivan"));
        // The password goes on, and whoever is logged in becomes somebody else by coming as somebody else.
        ivan.log_in("ivan", PASSWORD).await.expect(200);
        test.user("boris").await;
        let mut boris = browser_of(&test);
        let page = boris.get(HOME).await;
        boris.log_in(&page, "boris", PASSWORD).await.expect(303);
        let old = boris.clone();
        come(&mut boris, "corp").await.expect(303);
        assert_eq!(who(&boris).await.as_deref(), Some("ivan"));
        assert_eq!(who(&old).await, None);
        assert_eq!(test.number("select count(*) from identities").await, 1);
        assert_eq!(corp.asked("/token"), 3);
    }

    async fn passwords_are_tried_no_oftener_here_than_elsewhere(setup: Setup) {
        let (test, _corp) = start(setup, &[("REFERRAL_LIMITS", "on")]).await;
        test.client().register("ivan", None).await.expect(201);
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        let typed = [("login", "ivan"), ("password", "not the password")];
        for _ in 0..5 {
            visit.submit(&join_account(&page), &typed).await.expect(422);
        }
        let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.expect(429);
        assert!(page.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0));
        assert_eq!(field(&join_account(&page), "login"), "ivan");
        assert!(!field(&join_account(&page), "ticket").is_empty());
        assert_eq!(who(&visit).await, None);
        assert_eq!(test.number("select count(*) from identities").await, 0);
        // Nor does anybody fill the database with departures.
        let mut last = 0;
        for _ in 0..40 {
            last = visit.get("/oauth/login/corp").await.status;
        }
        assert_eq!(last, 429);
    }

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

    /// Somebody has made an account with another person's address and waits, with every way in that there is.
    async fn who_lay_in_wait_under_an_address_is_out_when_its_owner_comes(setup: Setup) {
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
        for email in [json!({"email": "olga@example.com", "email_verified": false}), json!({"email": "ＯＬＧＡ@example.com"})] {
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
        let key = || UnclaimedIdentityKey { ticket_hash: [1; 32], visitor_hash: [2; 32], email_proven: false };
        assert!(is(signin::link(test.app(), Actor::SERVICE, key(), user, stored.clone()).await, Refusal::BadCredentials));
        let late = Credential::Password(stored);
        assert!(is(browser_sessions::begin(test.app(), Actor::SERVICE, user, late, [3; 32]).await, Refusal::BadCredentials));
        let late = Credential::Identity { issuer: evil.url.clone(), subject: "mallory".into() };
        assert!(is(browser_sessions::begin(test.app(), Actor::SERVICE, user, late, [3; 32]).await, Refusal::BadCredentials));
        // Nothing that they have allowed anybody is allowed.
        assert_eq!(test.number("select count(*) from consents").await, 0);
        assert_eq!(test.number("select count(*) from identities").await, 1);
        let olga = tokens_of(&mut olga).await;
        let told = info(&olga).await;
        assert_eq!((&told["sub"], &told["email_verified"]), (&json!(mallory.id), &json!(true)));
        assert_eq!(corp.asked("/token"), 3);
    }

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

    async fn who_does_not_come_as_they_left_does_not_get_in(setup: Setup) {
        let (corp, other) = (Provider::start().await, Provider::start().await);
        let test = start_with(setup, &[("corp", &corp), ("other", &other)], &[]).await;
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[]).await.expect(303);
        let mut visit = browser_of(&test);
        visit.get(HOME).await;
        let asked = |provider: &Provider| provider.asked("/token");
        let before = (asked(&corp), asked(&other));

        // In another browser, or in none that is known.
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let mut stranger = browser_of(&test);
        stranger.get(HOME).await;
        stranger.get(&back).await.expect(400);
        browser_of(&test).get(&back).await.expect(400);
        // With parts given twice, or missing.
        for more in ["&state=x", "&code=x", "&iss=x"] {
            visit.get(&format!("{back}{more}")).await.expect(400);
        }
        let (path, query) = back.split_once('?').expect("a query");
        let of = |query: &str| -> BTreeMap<String, String> {
            form_urlencoded::parse(query.as_bytes()).into_owned().collect()
        };
        let good = of(query);
        let spelled = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
            let mut parts = good.clone();
            change(&mut parts);
            form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
        };
        for state in ["", "x", "\0", &"x".repeat(5000)] {
            let query = spelled(&|parts| drop(parts.insert("state".into(), state.into())));
            visit.get(&format!("{path}?{query}")).await.expect(400);
        }
        visit.get(path).await.expect(400);
        visit.get("/oauth/callback/nobody?state=x&code=y").await.expect(404);
        visit.get("/oauth/callback/%00?state=x&code=y").await.expect(404);
        visit.get("/oauth/login/nobody").await.expect(404);
        visit.get("/oauth/login/%00").await.expect(404);
        assert_eq!((asked(&corp), asked(&other)), before, "nobody was asked");
        // None of it has used anything up: here it is good, once.
        visit.get(&back).await.expect(303);
        assert_eq!(who(&visit).await.as_deref(), Some("Olga"));
        visit.get(&back).await.expect(400);

        // The other provider is not asked about what this one has given, by whichever callback.
        let mut visit = browser_of(&test);
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let before = (asked(&corp), asked(&other));
        visit.get(&back.replace("/callback/corp", "/callback/other")).await.expect(400);
        visit.get(&back).await.expect(400);
        for lie in [|play: &mut Play| play.iss = Some("http://127.0.0.1:1".into()), |play: &mut Play| play.iss = None] {
            corp.plays(lie);
            let page = come(&mut visit, "corp").await.expect(400);
            link(&page, HOME);
        }
        corp.is_honest();
        assert_eq!((asked(&corp), asked(&other)), before, "nobody was asked");

        // The person says no; the way back to where they were going stays open.
        let page = visit.get(&request(&[])).await.expect(200);
        let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
        let state = of(back.split_once('?').expect("a query").1)["state"].clone();
        let denied = format!("/oauth/callback/corp?error=access_denied&state={state}");
        let page = visit.get(&denied).await.expect(403);
        visit.get(&link(&page, "/oauth/authorize?client_id=docs&")).await.expect(200).form("/oauth/login");
        visit.get(&denied).await.expect(400);
        visit.get(&back).await.expect(400);

        // And who takes too long begins again.
        let back = leave(&mut visit, "/oauth/login/corp").await;
        later(&test, &corp, PATIENCE + Duration::from_secs(1));
        visit.get(&back).await.expect(400);
        assert_eq!(who(&visit).await, None);
        let back = leave(&mut visit, "/oauth/login/corp").await;
        later(&test, &corp, PATIENCE - Duration::from_secs(5));
        visit.get(&back).await.expect(303);
    }

    async fn a_ticket_is_good_once_in_time_and_in_its_own_browser(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        test.user("ivan").await;
        let mut visit = browser_of(&test);
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let page = visit.get(&back).await.expect(200);
        let (new, join) = (new_account(&page), join_account(&page));
        let joining = [("login", "ivan"), ("password", PASSWORD)];
        for typed in [&[("username", "olga")][..], &joining] {
            let form = if typed.len() == 1 { &new } else { &join };
            let with = |more: &[(&'static str, &'static str)]| [typed, more].concat();
            visit.submit(form, &with(&[("csrf", "AAAA")])).await.expect(403);
            visit.submit(form, &with(&[("csrf", "")])).await.expect(403);
            for ticket in ["", "x", "\0"] {
                visit.submit(form, &with(&[("ticket", ticket)])).await.expect(403);
            }
            browser_of(&test).submit(form, typed).await.expect(403);
            // A state is no ticket.
            let mut other = visit.clone();
            let left = leave(&mut other, "/oauth/login/corp").await;
            let query = left.split_once('?').expect("a query").1.to_owned();
            let state = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "state").expect("a state").1;
            let mut form = form.clone();
            form.fields.retain(|(name, _)| name != "ticket");
            form.fields.push(("ticket".into(), state.into_owned()));
            visit.submit(&form, typed).await.expect(403);
        }
        // Somebody else's browser, even with a form of its own.
        let mut stranger = browser_of(&test);
        let theirs = come(&mut stranger, "corp").await.expect(200);
        let ticket = field(&new, "ticket").to_owned();
        stranger.submit(&new_account(&theirs), &[("username", "mallory"), ("ticket", &ticket)]).await.expect(403);
        // A ticket is no state.
        visit.get(&format!("/oauth/callback/corp?code=x&state={ticket}")).await.expect(400);
        assert_eq!(test.number("select count(*) from identities").await, 0);
        assert_eq!(who(&visit).await, None);

        let open = visit.clone();
        visit.submit(&new, &[("username", "olga")]).await.expect(303);
        for form in [&new, &join] {
            open.clone().submit(form, &[("username", "olga2"), ("email", "olga2@example.com")]).await.expect(403);
            open.clone().submit(form, &joining).await.expect(403);
        }
        // Of two visits that came to the form, the second finds the identity taken.
        let page = stranger.submit(&new_account(&theirs), &[("username", "m"), ("email", "m@example.com")]).await;
        assert_eq!((page.status, page.forms().len()), (403, 0), "{page:?}");
        assert_eq!(who(&stranger).await, None);

        is_now(&corp, json!({"sub": "boris", "email": "boris@example.com"}));
        let page = come(&mut stranger, "corp").await.expect(200);
        later(&test, &corp, PATIENCE + Duration::from_secs(1));
        stranger.submit(&new_account(&page), &[]).await.expect(403);
        assert_eq!(test.number("select count(*) from users").await, 2);
        assert_eq!(test.number("select count(*) from identities").await, 1);
    }

    async fn a_provider_that_is_away_or_broken_lets_nobody_in(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[]).await.expect(303);
        let mut visit = browser_of(&test);
        let lies: &[(u16, Lie)] = &[
            (503, |play| drop(play.faults.insert("/token", Fault::Broken))),
            (503, |play| drop(play.faults.insert("/token", Fault::Garbage))),
            (503, |play| drop(play.faults.insert("/token", Fault::Huge))),
            (503, |play| drop(play.faults.insert("/token", Fault::Redirect(307, "/token".into())))),
            (503, |play| play.refuses = Some((503, "temporarily_unavailable"))),
            (503, |play| play.answer = json!({"id_token": null})),
            (503, |play| play.answer = json!({"id_token": "a.b.c"})),
            (400, |play| play.claims = json!({"nonce": "other"})),
            (400, |play| play.claims = json!({"aud": "other"})),
            (400, |play| play.claims = json!({"exp": 1})),
            (400, |play| play.keys = 2),
        ];
        for (number, (status, lie)) in lies.iter().enumerate() {
            let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
            let way = link(&page, "/oauth/login/corp?");
            corp.plays(lie);
            let back = leave(&mut visit, &way).await;
            let page = visit.get(&back).await.expect(*status);
            assert_eq!(page.header("retry-after").is_empty(), *status == 400, "{number}");
            assert_eq!(page.header("content-language"), "ru", "{number}");
            link(&page, "/oauth/authorize?");
            assert_eq!(who(&visit).await, None, "{number}");
            corp.is_honest();
        }
        // What only the operator can mend is not tried again.
        corp.plays(|play| play.secret = Some("changed".into()));
        let page = come(&mut visit, "corp").await.expect(503);
        assert_eq!(page.header("retry-after"), "");
        assert!(page.text.contains("is not set up correctly"), "{page:?}");
        // Not there at all.
        let gone = Provider::start().await;
        let mut test = start_with(setup, &[("corp", &gone)], &[]).await;
        drop(gone);
        // A connection that is accepted and dropped, or refused: either is soon told.
        let mut visit = browser_of(&test);
        let page = visit.get("/oauth/login/corp").await.expect(503);
        assert!(!page.header("retry-after").is_empty());
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(test.number("select count(*) from sign_ins").await, 0);
        test.nodes.clear();
    }

    async fn an_error_at_the_redirect_uri_is_told_as_what_it_is(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let away = ("is not available at the moment", "сейчас недоступен");
        let wrong = ("is not set up correctly", "настроен неверно");
        let denied = ("cancelled or refused", "отменён или отклонён");
        let odd = ("was not what we expected", "не так, как мы ожидали");
        for (query, status, (english, russian)) in [
            ("error=access_denied", 403, denied),
            ("error=access_denied&code=x", 403, denied),
            ("error=login_required", 403, denied),
            ("error=temporarily_unavailable", 400, away),
            ("error=server_error&error_description=a&error_uri=b", 400, away),
            ("error=unauthorized_client", 400, wrong),
            ("error=invalid_scope", 400, wrong),
            ("error=%1B%0D%0Aunknown", 400, away),
            ("", 400, odd),
            ("error=", 400, odd),
            ("error=access_denied&iss=https%3A%2F%2Fevil.example.com", 400, odd),
            ("error=access_denied&error=x", 400, ("has expired", "")),
        ] {
            for (language, expected) in [("en", english), ("ru", russian)] {
                let page = visit.get(&request(&[("ui_locales", language)])).await.expect(200);
                let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
                let (_, parts) = back.split_once('?').expect("a query");
                let state = form_urlencoded::parse(parts.as_bytes()).find(|(name, _)| name == "state");
                let state = state.expect("a state").1.into_owned();
                let page = visit.get(&format!("/oauth/callback/corp?state={state}&{query}")).await.expect(status);
                assert!(page.text.contains(expected), "{query}: {page:?}");
                assert_eq!(page.header("retry-after"), "", "{query}");
            }
        }
        assert_eq!((corp.asked("/token"), who(&visit).await), (0, None));
        let figures = test.app().metrics.text(&[]).expect("figures");
        let line = |outcome| format!("referral_provider_sign_ins_total{{outcome=\"{outcome}\"}}");
        assert!(figures.contains(&format!("{} 6", line("denied"))), "{figures}");
    }

    async fn of_many_at_once_one_gets_in(setup: Setup) {
        let (test, corp) = start(setup, &[TRUSTED]).await;
        let owner = test.user("owner").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        let mut visit = browser_of(&test);
        visit.get(HOME).await;
        let page = come(&mut visit, "corp").await.expect(200);
        let form = Arc::new(new_account(&page));
        let sent = join_all((0..16).map(|number| {
            let (mut visit, form) = (visit.clone(), form.clone());
            async move {
                // Half of them as a form that is sent again and again, half with other names.
                let name = if number % 2 == 0 { "olga".to_owned() } else { format!("olga{number}") };
                let page = visit.submit(&form, &[("username", &name), ("code", "AMSEL2030XYZ")]).await;
                (page.status, who(&visit).await)
            }
        }))
        .await;
        let (winners, others): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(status, _)| *status == 303);
        assert_eq!(winners.len(), 1);
        assert!(winners[0].1.is_some());
        assert!(others.iter().all(|(status, who)| *status == 403 && who.is_none()), "{others:?}");
        for table in ["identities", "referrals", "browser_sessions"] {
            assert_eq!(test.number(&format!("select count(*) from {table}")).await, 1, "{table}");
        }
        assert_eq!(test.number("select count(*) from users").await, 2);

        let mut visit = browser_of(&test);
        visit.get(HOME).await;
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let sent = join_all((0..16).map(|_| {
            let (mut visit, back) = (visit.clone(), back.clone());
            async move { visit.get(&back).await.status }
        }))
        .await;
        assert_eq!(sent.iter().filter(|status| **status == 303).count(), 1, "{sent:?}");
        assert_eq!(sent.iter().filter(|status| **status == 400).count(), 15, "{sent:?}");

        // The owner of an address comes to an account in many windows at once.
        is_now(&corp, json!({"sub": "owner-1", "email": "owner@example.com", "email_verified": true}));
        let mut backs = Vec::new();
        for _ in 0..16 {
            let mut visit = browser_of(&test);
            visit.get(HOME).await;
            backs.push((leave(&mut visit, "/oauth/login/corp").await, visit));
        }
        let sent = join_all(backs.into_iter().map(|(back, mut visit)| async move {
            visit.get(&back).await.expect(303);
            who(&visit).await
        }))
        .await;
        assert!(sent.iter().all(|who| who.as_deref() == Some("owner")), "{sent:?}");
        assert_eq!(test.number("select count(*) from identities").await, 2);
    }

    async fn who_is_kept_out_is_kept_out_by_every_provider(setup: Setup) {
        let (test, corp) = start(setup, &[TRUSTED]).await;
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
        test.user("ivan").await;
        for name in ["olga", "ivan"] {
            let found = administration::find(test.app(), name).await.expect("a look").expect("an account");
            administration::disable(test.app(), found.id).await.expect("disabled");
        }
        assert_eq!(who(&visit).await, None);
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(403);
        assert!(page.header("www-authenticate").is_empty());
        // Nor is a disabled account joined by its address, and its address is not free.
        is_now(&corp, json!({"sub": "ivan-1", "email": "ivan@example.com", "email_verified": true}));
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "ivan2")]).await.expect(409);
        visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.expect(422);
        assert_eq!(who(&visit).await, None);
        assert_eq!(test.number("select count(*) from users").await, 2);
        let enabled = administration::find(test.app(), "olga").await.expect("a look").expect("olga");
        administration::enable(test.app(), enabled.id).await.expect("enabled");
        corp.is_honest();
        come(&mut visit, "corp").await.expect(303);
        assert_eq!(who(&visit).await.as_deref(), Some("olga"));
    }

    async fn of_an_erased_person_nothing_is_left_and_they_may_come_again(setup: Setup) {
        let (test, corp) = start(setup, &[TRUSTED]).await;
        let traces = ["wanderfalke", "kolkrabe", "elster-domain"];
        let person = json!({
            "sub": "Wanderfalke-7", "email": "kolkrabe@elster-domain.example", "email_verified": true, "name": "Wanderfalke",
        });
        is_now(&corp, person);
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        // Another window is still open at the form.
        come(&mut browser_of(&test), "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "Wanderfalke")]).await.expect(303);
        let program = tokens_of(&mut visit).await;
        let content = everything(&test).await;
        for trace in traces {
            assert!(content.contains(trace), "the search finds {trace} while it is there");
        }
        program.delete_with("/api/v1/me", &json!({})).await.expect(204);
        assert_eq!(who(&visit).await, None);
        program.get("/api/v1/me").await.expect_problem(401, "invalid_token");
        let content = everything(&test).await;
        for trace in traces {
            assert!(!content.contains(trace), "{trace} is still there");
        }
        for table in ["identities", "consents", "logins", "sign_ins"] {
            assert_eq!(test.number(&format!("select count(*) from {table}")).await, 0, "{table}");
        }
        // To us they are somebody new.
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[]).await.expect(303);
        assert_eq!(who(&visit).await.as_deref(), Some("Wanderfalke"));
    }

    async fn an_account_without_a_password_is_changed_by_who_has_just_logged_in(setup: Setup) {
        let (test, corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
        let new = json!({"new_password": "Another-Pass-77"});
        for password in ["", " ", PASSWORD, "null", "olga"] {
            test.client().log_in("olga", password).await.expect_problem(401, "bad_credentials");
            let page = visit.clone().get(&request(&[("prompt", "login")])).await.expect(200);
            visit.clone().log_in(&page, "olga", password).await.expect(422);
        }
        // What was fresh once is not for ever, by whatever token, and a refresh makes nothing fresh.
        let old = tokens_of(&mut visit).await;
        later(&test, &corp, Duration::from_secs(301));
        let late = tokens_of(&mut visit).await;
        for client in [&old, &late] {
            client.post("/api/v1/me/password", &new).await.expect_problem(403, "log_in_again");
            let guess = json!({"new_password": "Another-Pass-77", "current_password": ""});
            client.post("/api/v1/me/password", &guess).await.expect_problem(403, "log_in_again");
            client.delete_with("/api/v1/me", &json!({})).await.expect_problem(403, "log_in_again");
        }
        come(&mut visit, "corp").await.expect(303);
        let fresh = tokens_of(&mut visit).await;
        old.post("/api/v1/me/password", &new).await.expect_problem(403, "log_in_again");
        fresh.post("/api/v1/me/password", &json!({"new_password": "short"})).await.expect_problem(422, "invalid");
        fresh.post("/api/v1/me/password", &new).await.expect(204);
        // Sessions end, the provider goes on, and from now on the password is asked for.
        fresh.get("/api/v1/me").await.expect_problem(401, "invalid_token");
        assert_eq!(who(&visit).await, None);
        test.client().log_in("olga", "Another-Pass-77").await.expect(200);
        come(&mut visit, "corp").await.expect(303);
        let fresh = tokens_of(&mut visit).await;
        fresh.post("/api/v1/me/password", &new).await.expect_problem(422, "invalid");
        fresh.delete_with("/api/v1/me", &json!({})).await.expect_problem(422, "invalid");
        fresh.delete_with("/api/v1/me", &json!({"password": "wrong"})).await.expect_problem(403, "wrong_password");
        fresh.delete_with("/api/v1/me", &json!({"password": "Another-Pass-77"})).await.expect(204);
        assert_eq!(test.number("select count(*) from identities").await, 0);
    }

    async fn under_block_a_newcomer_waits_like_everybody(setup: Setup) {
        let hunter = Hunter::saying(|asked| {
            Reply::verdict(if asked.email().starts_with("bad") { "invalid" } else { "valid" })
        })
        .await;
        let settings = hunter.settings("block");
        let more: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        let (test, corp) = start(setup, &more).await;
        let mut visit = browser_of(&test);
        for (name, expected) in [("good", 303), ("bad", 403)] {
            is_now(&corp, json!({"sub": name, "email": format!("{name}@asked.test")}));
            let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
            let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
            let page = visit.get(&back).await.expect(200);
            let page = visit.submit(&new_account(&page), &[("username", name)]).await.expect(403);
            assert_eq!(page.header("content-language"), "ru");
            assert_eq!(who(&visit).await, None);
            // The account is there, and the identity its own.
            come(&mut visit, "corp").await.expect(403);
            assert_eq!(who(&visit).await, None);
            test.drain().await;
            come(&mut visit, "corp").await.expect(expected);
            assert_eq!(who(&visit).await.is_some(), expected == 303);
            visit = browser_of(&test);
        }
    }

    async fn nobody_is_led_away_and_no_way_breaks_us(setup: Setup) {
        let (test, _corp) = start(setup, &[]).await;
        let mut visit = browser_of(&test);
        let page = come(&mut visit, "corp").await.expect(200);
        visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
        test.user("ivan").await;
        for next in [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "/docs",
            "/oauth/authorize",
            "/oauth/authorize/../../docs?",
            "javascript:alert(1)",
            " /oauth/authorize?x",
            // What cannot stand in an address or in a row.
            "/oauth/authorize?\0",
            "/oauth/authorize?\r\nX: y",
            "/oauth/authorize?é",
            "/oauth/authorize? ",
        ] {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
            let mut visit = browser_of(&test);
            let back = leave(&mut visit, &format!("/oauth/login/corp?{query}")).await;
            assert_eq!(visit.get(&back).await.expect(303).location(), Some(HOME), "{next:?}");
            let page = browser_of(&test).get(&format!("/oauth/register?{query}")).await.expect(200);
            assert_eq!(field(&page.form("/oauth/register"), "next"), HOME, "{next:?}");
            let mut visit = browser_of(&test);
            let page = visit.get(HOME).await.expect(200);
            let typed = [("username", "ivan"), ("password", PASSWORD), ("next", next)];
            let page = visit.submit(&page.form("/oauth/login"), &typed).await.expect(303);
            assert_eq!(page.location(), Some(HOME), "{next:?}");
        }
    }

    async fn the_pages_speak_the_language_of_the_request(setup: Setup) {
        let (test, _corp) = start(setup, &[]).await;
        test.user("ivan").await;
        let mut visit = browser_of(&test);
        let page = visit.get(&request(&[("ui_locales", "ru")])).await.expect(200);
        assert_eq!(page.header("content-language"), "ru");
        let back = leave(&mut visit, &link(&page, "/oauth/login/corp?")).await;
        let page = visit.get(&back).await.expect(200);
        assert_eq!(page.header("content-language"), "ru");
        let page = visit.submit(&new_account(&page), &[("username", "a b")]).await.expect(422);
        assert_eq!(page.header("content-language"), "ru");
        let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", "wrong")]).await.expect(422);
        assert_eq!(page.header("content-language"), "ru");
        let page = visit.submit(&join_account(&page), &[("login", "ivan"), ("password", PASSWORD)]).await.leaves();
        assert_eq!(page.header("content-language"), "ru");
        // Nobody says anything: the browser's own.
        let mut visit = browser_of(&test);
        visit.language = "ru".to_owned();
        let page = visit.get("/oauth/login/nobody").await.expect(404);
        assert_eq!(page.header("content-language"), "ru");
    }

    async fn the_form_of_a_registration_keeps_what_was_typed(setup: Setup) {
        let (test, _corp) = start(setup, &[]).await;
        test.user("olga").await;
        let mut visit = browser_of(&test);
        let page = visit.get("/oauth/register?code=NOBODYS2030X").await.expect(200);
        let mut form = page.form("/oauth/register");
        for (typed, status) in [
            ([("username", "a b"), ("email", "ivan@example.com"), ("password", PASSWORD), ("code", "A<\"1")], 422),
            ([("username", "olga"), ("email", "ivan@example.com"), ("password", PASSWORD), ("code", "")], 409),
            ([("username", "ivan"), ("email", "olga@example.com"), ("password", PASSWORD), ("code", "")], 409),
            ([("username", "ivan"), ("email", "nonsense"), ("password", "short"), ("code", "A")], 422),
            ([("username", "ivan"), ("email", "i@example.com"), ("password", PASSWORD), ("code", "NOBODYS2030X")], 404),
            ([("username", ""), ("email", ""), ("password", PASSWORD), ("code", "NOBODYS2030X")], 422),
        ] {
            let page = visit.submit(&form, &typed).await.expect(status);
            form = page.form("/oauth/register");
            for (name, text) in typed {
                let expected = if name == "password" { "" } else { text };
                assert_eq!(field(&form, name), expected, "{typed:?}");
            }
        }
        let page = visit.submit(&form, &[("csrf", "AAAA"), ("username", "ivan"), ("password", PASSWORD)]).await.expect(403);
        assert_eq!(field(&page.form("/oauth/register"), "username"), "ivan");
        assert_eq!(field(&page.form("/oauth/register"), "code"), "NOBODYS2030X");
    }
}

/// A transaction of somebody else's that has changed an account and not yet said so. PostgreSQL shows those who wait for
/// it the account as it is then, and of other tables what was there when their statement began.
struct Underway(tokio_postgres::Client);

impl Underway {
    async fn begin(test: &TestApp, sql: &str) -> Underway {
        let connected = tokio_postgres::connect(&test.database_url, tokio_postgres::NoTls).await;
        let (client, connection) = connected.expect("PostgreSQL");
        tokio::spawn(connection);
        client.batch_execute(&format!("begin; {sql}")).await.expect("the statements run");
        Underway(client)
    }

    /// Commits once somebody waits.
    async fn commit(self, test: &TestApp) {
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
                       and wait_event_type = 'Lock'";
        eventually("somebody waits", || async { test.number(waiting).await > 0 }).await;
        self.0.batch_execute("commit").await.expect("a commit");
    }
}

/// Each of these has read that all is well, and then waits for a transaction after which it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_an_account_is_judged_by_what_it_is_then() {
    let (test, _corp) = start(Setup::Postgres, &[]).await;
    let mut visit = browser_of(&test);
    let page = come(&mut visit, "corp").await.expect(200);
    visit.submit(&new_account(&page), &[("username", "olga")]).await.expect(303);
    let change = "update users set email_proven_at = 1, password_hash = null where name_key = 'olga'";

    // By an identity that is taken away.
    let mut second = browser_of(&test);
    let back = leave(&mut second, "/oauth/login/corp").await;
    let underway = Underway::begin(&test, &format!("{change}; delete from identities")).await;
    let (page, ()) = tokio::join!(second.get(&back), underway.commit(&test));
    page.expect(403);
    assert_eq!(who(&second).await, None);

    // By a password that is taken away: to log in, and to join.
    test.client().register("ivan", None).await.expect(201);
    let change = "update users set email_proven_at = 1, password_hash = null where name_key = 'ivan'";
    let form = second.get(HOME).await.expect(200).form("/oauth/login");
    let underway = Underway::begin(&test, change).await;
    let typed = [("username", "ivan"), ("password", PASSWORD)];
    let (page, ()) = tokio::join!(second.submit(&form, &typed), underway.commit(&test));
    page.expect(403);
    assert_eq!(who(&second).await, None);
    test.client().register("boris", None).await.expect(201);
    let page = come(&mut second, "corp").await.expect(200);
    let underway = Underway::begin(&test, &change.replace("ivan", "boris")).await;
    let (form, typed) = (join_account(&page), [("login", "boris"), ("password", PASSWORD)]);
    let (page, ()) = tokio::join!(second.submit(&form, &typed), underway.commit(&test));
    let page = page.expect(422);
    assert_eq!(test.number("select count(*) from identities").await, 0);
    // The ticket is still good.
    second.submit(&new_account(&page), &[("username", "o"), ("email", "o@example.com")]).await.expect(303);

    // By a session that ends: what it allows is not allowed.
    let page = visit.get(&request(&[])).await.expect(200);
    let ended = "update users set email_proven_at = 2 where name_key = 'olga'; \
                 update browser_sessions set ended_at = 1; delete from consents";
    let underway = Underway::begin(&test, ended).await;
    let form = page.form("/oauth/consent");
    let (page, ()) = tokio::join!(visit.submit(&form, &[("decision", "allow")]), underway.commit(&test));
    page.expect(403);
    assert_eq!(test.number("select count(*) from consents").await, 0);
    assert_eq!(test.number("select count(*) from authorization_codes").await, 0);
}

/// Everything that is kept, and of SQLite the bytes of the file.
async fn everything(test: &TestApp) -> String {
    let columns = match test.setup {
        Setup::Sqlite => {
            "select t.name, c.name from sqlite_master t join pragma_table_info(t.name) c where t.type = 'table'"
        }
        Setup::Postgres | Setup::PostgresAndRedis => {
            "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        }
    };
    let mut content = String::new();
    for column in test.query(columns).await {
        let [Some(table), Some(column)] = &column[..] else { panic!("no column: {column:?}") };
        for row in test.query(&format!("select {column} from {table}")).await {
            content += &format!("{table}.{column}: {}\n", row[0].clone().unwrap_or_default());
        }
    }
    if test.setup == Setup::Sqlite {
        eventually("the log is written back", || async {
            test.query("pragma wal_checkpoint(truncate)").await[0][0].as_deref() == Some("0")
        })
        .await;
        let path = test.database_url.trim_start_matches("sqlite:");
        for file in [path.to_owned(), format!("{path}-wal")] {
            content += &String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default());
        }
    }
    content.to_lowercase()
}

/// One thread, so that the log of this thread is that of this test and of its node.
#[tokio::test(flavor = "current_thread")]
async fn the_log_of_a_sign_in_has_nothing_secret_or_personal() {
    log::listen();
    let (test, corp) = start(Setup::Sqlite, &[TRUSTED]).await;
    let person = json!({
        "sub": "wanderfalke-7", "email": "kolkrabe@example.com", "email_verified": true, "name": "Elster",
    });
    is_now(&corp, person);
    let mut visit = browser_of(&test);
    let back = leave(&mut visit, "/oauth/login/corp?code=HABICHT2030X").await;
    let page = visit.get(&back).await.expect(200);
    let form = new_account(&page);
    let page = visit.submit(&form, &[]).await.expect(404);
    visit.submit(&join_account(&page), &[("login", "kolkrabe"), ("password", "Bussard-Pass-77")]).await.expect(422);
    visit.submit(&form, &[("code", "")]).await.expect(303);
    let program = tokens_of(&mut visit).await;
    corp.plays(|play| play.claims = json!({"nonce": "other"}));
    let other = leave(&mut visit, "/oauth/login/corp").await;
    visit.get(&other).await.expect(400);
    visit.get(&other).await.expect(400);
    // Errors by their words; a description is anybody's.
    for word in ["access_denied", "temporarily_unavailable", "un%1B%5B31m%0Aknown"] {
        let back = leave(&mut visit, "/oauth/login/corp").await;
        let (path, _) = back.split_once("code=").expect("a code");
        let (_, state) = back.split_once("state=").expect("a state");
        visit.get(&format!("{path}error={word}&error_description=kolkrabe&state={state}")).await;
    }
    program.delete_with("/api/v1/me", &json!({})).await.expect(204);
    let text = log::heard();
    let words = ["token_nonce", "access_denied", "temporarily_unavailable", "un31mknown"];
    for word in words.into_iter().chain(["/oauth/callback/{provider}", "/oauth/finish"]) {
        assert!(text.contains(word), "{word}: {text}");
    }
    let (_, query) = back.split_once('?').expect("a query");
    let mut secrets: Vec<String> = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name != "iss")
        .map(|(_, value)| value.into_owned())
        .collect();
    secrets.extend(visit.cookies.iter().map(|(_, value)| value.clone()));
    secrets.extend(["csrf", "ticket"].map(|name| field(&form, name).to_owned()));
    secrets.extend([program.token.clone(), program.refresh_token.clone()].into_iter().flatten());
    let plain =
        ["wanderfalke", "kolkrabe", "Elster", "HABICHT", "Bussard", "s3cr3t", "eyJ", "at-", "rt_", "ac_", SECRET];
    secrets.extend(plain.map(str::to_owned));
    assert!(secrets.len() > 15, "{}", secrets.len());
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}: {text}");
    }
}
