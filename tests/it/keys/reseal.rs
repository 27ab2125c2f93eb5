//! The master key changes without an emergency.

use referral::crypto::sealing::ResealError;
use referral::features::audit::actions::chain;
use referral::features::audit::actions::verify::{self, Asked};
use referral::features::managers::actions::reseal;
use referral::features::tokens::actions::keys;

use super::helpers::{kid, master_key, published, signs_with};
use crate::support::app::Setup;
use crate::support::keyed::{is_replayed, replace};
use crate::support::paths::ME;
use crate::support::process::Operator;
use crate::support::servers::Postgres;
use crate::support::witness;
use crate::{on_both_engines, on_every_setup};

const MASTER_KEY: &str = "REFERRAL_MASTER_KEY";
const FORMER: &str = "REFERRAL_FORMER_MASTER_KEY";

/// All that is sealed under the master key, as it lies in the database.
async fn sealed(url: &str) -> Vec<Vec<Option<String>>> {
    let mut all = Vec::new();
    for column in
        ["private_half from signing_keys", "secret from refresh_keys", "secret from audit_keys", "secret from mail_key"]
    {
        all.extend(witness::query(url, &format!("select {column}")).await);
    }
    all
}

on_every_setup!(the_master_key_changes_and_nobody_notices);
async fn the_master_key_changes_and_nobody_notices(setup: Setup) {
    let (old, new, wrong) = (master_key(7), master_key(8), master_key(9));
    let mut test = setup.start_with(&[(MASTER_KEY, &old)]).await;
    keys::rs256_ready(test.app()).await.expect("the RSA key");
    let boss = test.manager("boss").await;
    let before = published(&boss).await;
    replace(&boss, "sent before").await.expect(201);
    let sealed = async || sealed(&test.database_url).await;
    let old_texts = sealed().await;
    assert_eq!(old_texts.len(), 5);

    // Not without both, and then nothing is changed.
    let refused = test.command(&[(MASTER_KEY, &new)]).await;
    assert!(matches!(reseal::run(&refused).await, Err(ResealError::Locked(_))));
    let refused = test.command(&[(MASTER_KEY, &new), (FORMER, &wrong)]).await;
    assert!(matches!(reseal::run(&refused).await, Err(ResealError::Locked(_))));
    let refused = test.command(&[(MASTER_KEY, "")]).await;
    assert!(matches!(reseal::run(&refused).await, Err(ResealError::NoMasterKey)));
    assert_eq!(sealed().await, old_texts);

    // A node may have both before and after.
    let both = [(MASTER_KEY, new.as_str()), (FORMER, old.as_str())];
    test.open(&both).await.expect("a node starts with both");
    let command = test.command(&both).await;
    assert_eq!(reseal::run(&command).await.expect("sealed"), 5);
    assert_eq!(reseal::run(&command).await.expect("nothing to do"), 0);
    let new_texts = sealed().await;
    assert!(old_texts.iter().all(|text| !new_texts.contains(text)), "each is sealed anew");

    // The node that runs goes on, with what it reads again, too.
    keys::open(test.app()).await.expect("it has its keys opened");
    boss.get(ME).await.expect(200);
    let again = test.client().logged_in("boss").await;
    assert_eq!(published(&boss).await, before);
    // One that starts needs the new one, and that alone.
    assert!(test.open(&[(MASTER_KEY, &old)]).await.is_err());
    test.add_node_with(&[(MASTER_KEY, &new)]).await;
    let elsewhere = again.at(&test.nodes[1].url);
    elsewhere.get(ME).await.expect(200);
    let mut refreshed = elsewhere.clone();
    refreshed.take_tokens(&elsewhere.refresh(again.refresh_token.as_deref().expect("a token")).await.expect(200));
    assert_eq!(kid(refreshed.token.as_deref().expect("a token")), signs_with(&boss, "boss").await);
    assert!(is_replayed(&replace(&elsewhere, "sent before").await), "answers that are kept open as before");
    let mail_key = |node: usize| test.nodes[node].app.mail_keyring.get().expect("a key").kid.clone();
    assert_eq!(mail_key(0), mail_key(1), "links in mails go on");
    // What was signed under the old is verified under the new, and by the same key.
    let app = &test.nodes[1].app;
    chain::run(app).await.expect("a chain");
    let found = verify::run(app, Asked::default()).await.expect("a look");
    assert_eq!((found.fault, found.unproven), (None, 0));
    assert!(test.number("select count(*) from audit where action = 'keys_resealed'").await == 1);
}

on_both_engines!(killed_at_any_step_it_leaves_all_keys_under_one_master_key);
async fn killed_at_any_step_it_leaves_all_keys_under_one_master_key(setup: Setup) {
    let (old, new) = (master_key(7), master_key(8));
    let mut operator = Operator::on_a_free_port();
    let url = match setup {
        Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
        _ => Postgres::shared().await.database().await,
    };
    operator.set("DATABASE_URL", &url);
    operator.set(MASTER_KEY, &old);
    operator.serve().stop().well();
    let before = sealed(&url).await;
    assert!(before.len() >= 4, "keys of each kind: {before:?}");

    operator.set(MASTER_KEY, &new);
    operator.run(&["keys", "reseal"]).refused(&["REFERRAL_FORMER_MASTER_KEY", "Nothing was changed"]);
    operator.set(FORMER, &old);
    operator.set("FAULT_CRASH_FILE", operator.path("crash"));
    let mut steps = Vec::new();
    loop {
        operator.write("crash", format!("LOCK_KEYS {}", steps.len() + 1));
        assert_eq!(operator.run(&["keys", "reseal"]).code, None, "behind {steps:?} it was ended by a signal");
        let step = std::fs::read_to_string(operator.path("crash")).expect("it was armed");
        if step.starts_with("after the commit") {
            break;
        }
        assert_eq!(sealed(&url).await, before, "{step}");
        steps.push(step);
    }
    for step in ["before RESEAL_KEY", "before RESEAL_REFRESH_KEY", "before RESEAL_AUDIT_KEY", "before INSERT_AUDIT"] {
        assert!(steps.iter().any(|one| one == step), "{step}: {steps:?}");
    }
    operator.unset("FAULT_CRASH_FILE");
    let after = sealed(&url).await;
    assert!(before.iter().all(|text| !after.contains(text)), "all are under the new one");
    let told = operator.run(&["keys", "reseal"]).well();
    assert!(told.stdout.contains("already"), "{told:?}");
    operator.unset(FORMER);
    operator.serve().stop().well();
    operator.run(&["admin", "audit", "verify"]).well();
    operator.set(MASTER_KEY, &old);
    operator.run(&["serve"]).refused(&["does not open"]);
}
