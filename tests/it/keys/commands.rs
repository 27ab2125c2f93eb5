//! Keys from the command line.

use super::helpers::{kid, master_key, published};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::paths::ME;
use crate::support::process::{Ended, Operator};
use crate::support::servers::Postgres;

/// An operator with the engine of a set-up.
async fn operator(setup: Setup) -> Operator {
    let mut operator = Operator::on_a_free_port();
    if setup != Setup::Sqlite {
        operator.set("DATABASE_URL", Postgres::shared().await.database().await);
    }
    operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
    operator
}

/// The lines of `keys list`, without the heading: name, algorithm, state.
fn listed(operator: &Operator) -> Vec<[String; 3]> {
    let told = operator.run(&["keys", "list"]).well().stdout;
    let lines = told.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert!(words.last().expect("a time").ends_with('Z'), "{line}");
        [words[0], words[1], words[2]].map(str::to_owned)
    });
    lines.collect()
}

fn told(ended: &Ended, parts: &[&str]) {
    for part in parts {
        assert!(ended.stdout.contains(part), "no {part:?}: {ended:?}");
    }
}

on_both_engines!(keys_are_managed_from_the_command_line_beside_the_running_service);
async fn keys_are_managed_from_the_command_line_beside_the_running_service(setup: Setup) {
    let operator = operator(setup).await;
    operator.run(&["keys", "list"]).refused(&["there is no database of Referral's"]);
    operator.run(&["migrate"]).well();
    told(&operator.run(&["keys", "list"]).well(), &["there are no keys yet"]);
    let serving = operator.serve();
    let user = serving.client().signed_up("user").await;
    eventually("the RSA key is made", || async { published(&user).await.len() == 2 }).await;
    let first = listed(&operator);
    let words = |key: &[String; 3]| (key[1].clone(), key[2].clone());
    assert_eq!(
        first.iter().map(words).collect::<Vec<_>>(),
        [("EdDSA".to_owned(), "signing".to_owned()), ("RS256".to_owned(), "signing".to_owned()),]
    );
    assert_eq!(first[0][0], kid(user.token.as_ref().expect("a token")));

    let rotated = operator.run(&["keys", "rotate"]).well();
    told(&rotated, &["(EdDSA) is published and signs from 20", "(RS256)", "may be retired from 20"]);
    operator.run(&["keys", "rotate"]).refused(&["published already and signs from"]);
    operator.run(&["keys", "retire", &first[0][0]]).refused(&["signs until", "may be retired from"]);
    operator.run(&["keys", "retire", "-nothing"]).refused(&["no signing key -nothing", "keys list"]);
    let states: Vec<String> = listed(&operator).into_iter().map(|[_, _, state]| state).collect();
    assert_eq!(states, ["signing", "signing", "next", "next"]);
    eventually("the running node has heard", || async { published(&user).await.len() == 4 }).await;
    let next = listed(&operator)[2][0].clone();
    told(&operator.run(&["keys", "retire", &next]).well(), &["is retired"]);
    eventually("the running node has heard", || async { published(&user).await.len() == 3 }).await;

    user.get(ME).await.expect(200);
    told(&operator.run(&["keys", "rotate", "--emergency"]).well(), &["signs now", "all former keys are retired"]);
    eventually("the former token is refused", || async { user.get(ME).await.status == 401 }).await;
    let mut again = user.clone();
    again.take_tokens(&user.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200));
    again.get(ME).await.expect(200);
    let states: Vec<String> = listed(&operator).into_iter().map(|[_, _, state]| state).collect();
    assert_eq!(states, ["retired", "retired", "retired", "retired", "signing", "signing"]);
}

on_both_engines!(without_its_master_key_the_service_says_what_to_do_and_does_not_start);
async fn without_its_master_key_the_service_says_what_to_do_and_does_not_start(setup: Setup) {
    let mut operator = operator(setup).await;
    operator.serve().client().signed_up("user").await;
    operator.set("REFERRAL_LOG", "info");
    operator.write("master.key", format!("{}\n", master_key(9)));
    operator.set("REFERRAL_MASTER_KEY_FILE", "master.key");
    told(&operator.run(&["check"]).well(), &["ok    signing keys"]);
    let serving = operator.serve();
    serving.client().log_in("user", PASSWORD).await.expect(200);
    let ended = serving.stop().well();
    assert!(ended.stderr.contains("are sealed now"), "{ended:?}");
    assert!(!ended.stderr.contains(&master_key(9)), "{ended:?}");
    told(&operator.run(&["check"]).well(), &["ok    signing keys"]);
    let again = operator.serve().stop().well();
    assert!(!again.stderr.contains("are sealed now"), "{again:?}");

    operator.write("master.key", master_key(10));
    operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY", "does not open", "--emergency"]);
    let checked = operator.run(&["check"]);
    assert_eq!(checked.code, Some(1));
    told(&checked, &["WRONG signing keys", "does not open"]);
    operator.write("master.key", "not 32 bytes");
    operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY", "openssl rand -base64 32"]);
    operator.unset("REFERRAL_MASTER_KEY_FILE");
    operator.run(&["serve"]).refused(&["REFERRAL_MASTER_KEY_FILE", "is sealed", "--emergency"]);
    told(&operator.run(&["check"]), &["WRONG signing keys", "is sealed"]);
    // What is done with people is noted, and what is noted is signed.
    operator.run(&["admin", "promote", "user"]).refused(&["audit is signed", "REFERRAL_MASTER_KEY"]);
    operator.run(&["admin", "search"]).well();
    told(&operator.run(&["keys", "list"]).well(), &["signing"]);
    operator.run(&["keys", "rotate"]).refused(&["is sealed"]);

    told(&operator.run(&["keys", "rotate", "--emergency"]).well(), &["could not be opened", "signs now"]);
    operator.serve().client().log_in("user", PASSWORD).await.expect(200);
    operator.run(&["admin", "promote", "user"]).well();
    let verified = operator.run(&["admin", "audit", "verify"]).well();
    assert!(verified.stdout.contains("all as they were noted"), "{verified:?}");
}
