//! A flow with one provider, from the authorization request to the identity.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use referral::config;
use referral::db::{Db, Work};
use referral::features::identities::model::PendingSignIn;
use referral::features::identities::store;
use referral::kernel::actor::Actor;
use referral::kernel::digest::{Digest, StateHash, VisitorHash};
use referral::kernel::time::Time;
use referral::outbound::identity_provider::model::{Identity, SignInError};
use referral::outbound::identity_provider::{Flow, PATIENCE, Providers};

use crate::support::provider::{Play, Provider};

pub const REDIRECT: &str = "https://referral.test/oauth/callback/corp";
pub const NONCE: &str = "n-0S6_WzA2Mj";
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const STATE: &str = "af0ifjsldkj";
pub const FLOW: Flow<'_> = Flow { redirect_uri: REDIRECT, nonce: NONCE, verifier: VERIFIER };

/// Providers as the service has them, by name.
pub fn providers(of: &[(&str, &Provider)], more: &[(&str, &str)]) -> Providers {
    providers_with(of, more, PATIENCE)
}

pub fn providers_with(of: &[(&str, &Provider)], more: &[(&str, &str)], patience: Duration) -> Providers {
    let mut environment: BTreeMap<String, String> =
        of.iter().flat_map(|(name, provider)| provider.settings(name)).collect();
    environment.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let config = config::load(None, &environment.into_iter().collect()).expect("the settings of the test");
    Providers::open(&config.providers, patience).expect("a client")
}

/// What stands behind the question mark.
pub fn query(url: &str) -> HashMap<String, String> {
    let (_, query) = url.split_once('?').expect("a query");
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// What the browser brings back.
pub struct Returned {
    pub code: String,
    pub iss: Option<String>,
}

/// Goes to the provider and back, as a browser would.
pub async fn visit(url: &str) -> Returned {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
    let answer = http.expect("a client").get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 303, "{}", answer.text().await.expect("a text"));
    let location = answer.headers()["location"].to_str().expect("a text").to_owned();
    assert!(location.starts_with(&format!("{REDIRECT}?")), "{location}");
    let mut back = query(&location);
    assert_eq!(back.remove("state").as_deref(), Some(STATE));
    Returned { code: back.remove("code").expect("a code"), iss: back.remove("iss") }
}

/// A whole sign-in.
pub async fn sign_in(all: &Providers, name: &str, now: Time) -> Result<Identity, SignInError> {
    let url = all.begin(name, &FLOW, STATE, now).await?;
    let back = visit(&url).await;
    all.finish(name, &FLOW, &back.code, back.iss.as_deref(), now).await
}

pub fn olga(provider: &Provider) -> Identity {
    Identity {
        issuer: provider.url.clone(),
        subject: "olga-7".into(),
        email: Some("olga@example.com".into()),
        email_verified: true,
        name: Some("Olga".into()),
    }
}

/// With what is not printed otherwise.
pub fn assert_is(identity: &Identity, expected: &Identity) {
    let all = |i: &Identity| (i.issuer.clone(), i.subject.clone(), i.email.clone(), i.email_verified, i.name.clone());
    assert_eq!(all(identity), all(expected));
}

pub type Lie = fn(&mut Play);

/// One provider; nobody is let in while it lies, and Olga is before and after.
pub async fn nobody_gets_in(lies: &[(&str, SignInError, Lie)]) {
    let provider = Provider::start().await;
    for (what, expected, lie) in lies {
        // Known to nobody yet, so that lies about the metadata are heard.
        let all = providers(&[("corp", &provider)], &[]);
        provider.plays(*lie);
        let outcome = sign_in(&all, "corp", provider.clock.now()).await;
        assert_eq!(outcome.err(), Some(*expected), "{what}");
        provider.is_honest();
        let all = providers(&[("corp", &provider)], &[]);
        let identity = sign_in(&all, "corp", provider.clock.now()).await;
        assert_is(&identity.unwrap_or_else(|error| panic!("honest again after {what}: {error:?}")), &olga(&provider));
    }
}

pub const MINE: [u8; 32] = [1; 32];
pub const STATE_HASH: [u8; 32] = [3; 32];

pub fn departure(expires_at: Time) -> PendingSignIn {
    PendingSignIn {
        provider: "corp".into(),
        visitor_hash: VisitorHash::stored(MINE),
        next: "/oauth/apps".into(),
        code: Some("SPRING2030AB".into()),
        nonce: NONCE.into(),
        verifier: VERIFIER.into(),
        expires_at,
    }
}

pub async fn leave(db: &Db, new: PendingSignIn) {
    let insert: Work<PendingSignIn, ()> = |tx, new| {
        Box::pin(async move {
            let state = StateHash::stored(STATE_HASH);
            store::insert_departure(tx, &state, new).await
        })
    };
    db.write(Actor::SERVICE, new, insert).await.expect("a departure");
}
