//! Private keys under a master key.

use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use referral::features::tokens::actions::keys::{self, LEAD};

use super::helpers::{kid, master_key, published, refused, rotate, signs_with};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::PASSWORD;
use crate::support::paths::ME;
use crate::support::tokens::bytes;

const MASTER_KEY: &str = "REFERRAL_MASTER_KEY";

on_every_setup!(with_a_master_key_private_keys_lie_sealed_and_open_under_no_other);
async fn with_a_master_key_private_keys_lie_sealed_and_open_under_no_other(setup: Setup) {
    let mut test = setup.start().await;
    keys::rs256_ready(test.app()).await.expect("the RSA key");
    let user = test.user("user").await;
    let open: Vec<Vec<u8>> = private_keys(&test).await;
    Ed25519KeyPair::from_pkcs8(&open[0]).expect("it lies open");
    RsaKeyPair::from_pkcs8(&open[1]).expect("it lies open");
    let before = published(&user).await;

    let (ours, other) = (master_key(7), master_key(8));
    test.add_node_with(&[(MASTER_KEY, &ours)]).await;
    assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 2);
    for (open, sealed) in open.iter().zip(private_keys(&test).await) {
        assert!(sealed.len() > open.len() && !sealed.windows(16).any(|part| open.windows(16).any(|was| was == part)));
    }
    // Nobody notices: the new node believes what there is, and the old one has its keys in memory.
    let sealing = user.at(&test.nodes[1].url);
    sealing.get(ME).await.expect(200);
    assert_eq!(published(&sealing).await, before);
    referral::features::tokens::actions::keys::read(&test.app().keyring, &test.app().db).await.expect("the keys");
    assert_eq!(signs_with(&user, "user").await, signs_with(&sealing, "user").await);
    // What is made is sealed, by nodes and by commands.
    let command = test.command(&[(MASTER_KEY, &ours)]).await;
    let made = rotate(&command, false).await;
    assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 4);
    test.move_clock(LEAD);
    eventually("the new key signs", || async { signs_with(&sealing, "user").await == made[0] }).await;

    let stopped = async |settings: &[(&str, &str)], part: &str| {
        let Err(sentence) = test.open(settings).await else { panic!("it starts without the master key") };
        assert!(sentence.contains(MASTER_KEY) && sentence.contains(part), "{sentence}");
        let command = test.command(settings).await;
        assert_eq!(refused(keys::rotate(&command, false).await), sentence);
    };
    stopped(&[], "is sealed").await;
    stopped(&[(MASTER_KEY, &other)], "does not open").await;
    test.open(&[(MASTER_KEY, &ours)]).await.expect("a node starts with the master key");

    // Sealed for its own name: another row's does not open.
    test.sql(
        "update signing_keys set private_half = (select private_half from signing_keys where generation = 1) \
              where generation = 3",
    )
    .await;
    let Err(sentence) = test.open(&[(MASTER_KEY, &ours)]).await else { panic!("it takes one key for another") };
    assert!(sentence.contains("does not open"), "{sentence}");
}

on_every_setup!(an_emergency_is_over_though_the_master_key_is_lost);
async fn an_emergency_is_over_though_the_master_key_is_lost(setup: Setup) {
    let (lost, new) = (master_key(7), master_key(8));
    let mut test = setup.start_with(&[(MASTER_KEY, &lost)]).await;
    keys::rs256_ready(test.app()).await.expect("the RSA key");
    let user = test.user("user").await;
    assert_eq!(test.number("select count(*) from signing_keys where sealed").await, 2);
    let command = test.command(&[(MASTER_KEY, &new)]).await;
    let rotated = keys::rotate(&command, true).await.expect("no refusal");
    assert!(rotated.locked.is_some());
    referral::features::mails::actions::keys::replace(&command).await.expect("a new mail key");
    // The node that still has the lost one believes what it cannot sign.
    eventually("the former token is refused", || async { user.get(ME).await.status == 401 }).await;
    // It signs nothing, says so, and does nothing by halves.
    let sessions = test.number("select count(*) from token_families").await;
    for answer in
        [user.log_in("user", PASSWORD).await, user.refresh(user.refresh_token.as_ref().expect("a token")).await]
    {
        assert_eq!(answer.expect(503).json()["code"], "overloaded");
    }
    assert_eq!(test.number("select count(*) from token_families").await, sessions);
    assert_eq!(user.get("/readyz").await.expect(503).json()["reason"], "keys");
    user.get("/readyz?reads").await.expect(200);
    test.add_node_with(&[(MASTER_KEY, &new)]).await;
    let mut again = user.at(&test.nodes[1].url);
    again.take_tokens(&again.refresh(user.refresh_token.as_ref().expect("a token")).await.expect(200));
    again.get(ME).await.expect(200);
    again.at(&test.nodes[0].url).get(ME).await.expect(200);
    assert_eq!(kid(again.token.as_ref().expect("a token")), rotated.made[0].0);
    assert!(test.open(&[(MASTER_KEY, &lost)]).await.is_err());
}

async fn private_keys(test: &TestApp) -> Vec<Vec<u8>> {
    let rows = test.query("select private_half from signing_keys order by generation").await;
    rows.iter().map(|row| bytes(&row[0])).collect()
}
