//! Referrals: within the life of a code, one to a person.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use referral::app::App;
use referral::features::accounts::actions::registration::write;
use referral::features::codes;
use referral::features::codes::actions::Wanted;
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::handle::InvitationKey;
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use serde_json::{Value, json};

use super::helpers::{BRIEF, CALLERS, HOUR, far, held, start};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::client::PASSWORD;
use crate::support::codes::refers_nobody;
use crate::support::record::Record;
use crate::support::registration::entry;

on_every_setup!(no_referral_is_outside_its_codes_life_however_fast_codes_change);
/// Law 2 without the password hashes, which keep registrations apart: what they write, as fast as the database can.
async fn no_referral_is_outside_its_codes_life_however_fast_codes_change(setup: Setup) {
    const EACH: usize = 10;
    let test = start(setup).await;
    let mut owners = Vec::new();
    for name in ["first", "second", "third"] {
        owners.push(UserId::parse(&test.user(name).await.id).expect("an id"));
    }
    let newest: Arc<Vec<_>> = Arc::new(owners.iter().map(|owner| (*owner, Mutex::new(String::new()))).collect());
    let busy = Arc::new(AtomicUsize::new(CALLERS / 2));
    let mut tasks = Vec::new();
    for caller in 0..CALLERS {
        let app = test.nodes[caller % test.nodes.len()].app.clone();
        let (newest, busy) = (newest.clone(), busy.clone());
        tasks.push(tokio::spawn(async move {
            if caller < CALLERS / 2 {
                bring(&app, (0..EACH).map(|place| format!("stranger{caller}of{place}")), &newest).await;
                busy.fetch_sub(1, Ordering::Relaxed);
            } else {
                let mut turn = caller;
                // At least each kind of change on each owner.
                while turn < caller + 15 || busy.load(Ordering::Relaxed) > 0 {
                    change(&app, turn, &newest[turn % newest.len()]).await;
                    turn += 1;
                }
            }
        }));
    }
    let done = tokio::time::timeout(Duration::from_secs(120), join_all(tasks)).await.expect("within two minutes");
    for outcome in done {
        outcome.expect("no caller failed");
    }
    let record = Record::read(&test).await;
    assert_eq!(record.joins.len(), EACH * CALLERS / 2);
    assert!(record.lives.len() > CALLERS, "{}", record.lives.len());
    assert_eq!(record.faults(), Vec::<String>::new());
}

on_every_setup!(the_database_refuses_a_second_referrer_and_oneself);
/// Law 4, by the database itself, for the day that the service forgets.
async fn the_database_refuses_a_second_referrer_and_oneself(setup: Setup) {
    let test = start(setup).await;
    let (first, second) = (test.user("first").await, test.user("second").await);
    first.create_code("FIRST2030ABC").await.expect(201);
    second.create_code("SECOND2030AB").await.expect(201);
    test.client().register("guest", Some("FIRST2030ABC")).await.expect(201);

    let copy = |referrer: &str, referee: &str| {
        format!(
            "insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status) \
             select a.id, b.id, 1, 1, 'confirmed' from users a, users b \
             where a.username = '{referrer}' and b.username = '{referee}'"
        )
    };
    let unique = match setup {
        Setup::Sqlite => "UNIQUE constraint failed: referrals.referee_id",
        _ => "\"referrals_referee_unique\"",
    };
    for referrer in ["first", "second"] {
        let refusal = test.refusal(&copy(referrer, "guest")).await;
        assert!(refusal.contains(unique), "{refusal}");
    }
    let refusal = test.refusal(&copy("first", "first")).await;
    assert!(refusal.contains("referrals_not_self"), "{refusal}");
    let refusal = test.refusal("update referrals set referrer_id = referee_id").await;
    assert!(refusal.contains("referrals_not_self") || refusal.contains("foreign key"), "{refusal}");
    // The statement is sound: with a couple that may be one it works.
    test.sql(&copy("first", "second")).await;
    assert_eq!(test.number("select count(*) from referrals").await, 2);
}

on_every_setup!(the_first_referrer_stays_the_referrer);
/// Law 4: who is there already cannot be referred, not by a second registration either.
async fn the_first_referrer_stays_the_referrer(setup: Setup) {
    let test = start(setup).await;
    let (first, second) = (test.user("first").await, test.user("second").await);
    first.create_code("FIRST2030ABC").await.expect(201);
    second.create_code("SECOND2030AB").await.expect(201);
    test.client().register("guest", Some("FIRST2030ABC")).await.expect(201);
    test.client().register("guest", Some("SECOND2030AB")).await.expect_problem(409, "username_taken");
    test.client().register("first", Some("FIRST2030ABC")).await.expect_problem(409, "username_taken");
    let guest = test.client().logged_in("guest").await;
    assert_eq!(guest.get("/api/v1/me").await.expect(200).json()["referred_by"]["username"], "first");
    assert_eq!(first.get("/api/v1/me").await.expect(200).json()["referred_by"], Value::Null);
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

on_every_setup!(a_registration_with_a_code_that_is_no_good_writes_nothing);
/// Law 2, the other half: either both the account and the referral, or neither.
async fn a_registration_with_a_code_that_is_no_good_writes_nothing(setup: Setup) {
    // With a verifier, so that a registration would leave a job behind as well. It is never asked.
    let settings = [("HUNTER_API_KEY", "key"), ("HUNTER_URL", "http://127.0.0.1:9")];
    let test = setup.start_with(&settings).await;
    let owner = test.user("owner").await;
    let until = Clock::default().now().plus(HOUR).to_string();
    owner.post("/api/v1/codes", &json!({"code": "EXPIRED2030A", "expires_at": until})).await.expect(201);
    test.move_database_clock(2 * i64::try_from(HOUR.as_micros()).expect("a span")).await;
    owner.create_code("REVOKED2030A").await.expect(201);
    owner.revoke_code("REVOKED2030A").await.expect(204);
    owner.create_code("LIVING2030AB").await.expect(201);

    let before = counts(&test).await;
    let long = "A1".repeat(500);
    let mut bad = vec!["EXPIRED2030A", "REVOKED2030A", "UNKNOWN2030A", "LIVING2030A", "LIVING2030ABC"];
    bad.extend(["short", "no code at all", "КОД2030КОД2030", "' or 1=1 --2030", "..%2f", &long]);
    for code in &bad {
        refers_nobody(&test.client(), "guest", code).await;
    }
    for code in ["", " ", "LIVING2030AB\u{0}"] {
        test.client().register("guest", Some(code)).await.expect_problem(404, "code_not_usable");
    }
    let mut body = json!({"username": "guest", "email": "guest@example.com", "password": PASSWORD});
    body["code"] = json!("LIVING2030AB");
    test.client().post("/api/v1/auth/user/REVOKED2030A", &body).await.expect_problem(422, "invalid");
    assert_eq!(counts(&test).await, before);

    // With a good one the same person gets in, and every count moves.
    test.client().register("guest", Some("LIVING2030AB")).await.expect(201);
    let moved = [("users", 1), ("logins", 2), ("referrals", 1)];
    let after = counts(&test).await;
    for (table, by) in moved {
        assert_eq!(after[table], before[table] + by, "{table}");
    }
    // One for the verifier, and by chance one for the owner's list.
    assert!(after["jobs"] > before["jobs"]);
}

on_every_setup!(of_twenty_look_alikes_one_registers);
/// Names and addresses are one when they look alike, also when twenty ask at once.
async fn of_twenty_look_alikes_one_registers(setup: Setup) {
    const NAMES: [&str; 7] = [
        "strasse.fuchs",
        "STRASSE.FUCHS",
        "straße.fuchs",
        "Straße.Fuchs",
        "ｓｔｒａｓｓｅ．ｆｕｃｈｓ",
        "straẞe.fuchs",
        "STRAẞE.FUCHS",
    ];
    const ADDRESSES: [&str; 7] = [
        "ivan@почта.рф",
        "IVAN@Почта.РФ",
        "ivan@xn--80a1acny.xn--p1ai",
        "ＩＶＡＮ@почта.рф",
        "ivan＠почта。рф",
        "Ivan@XN--80A1ACNY.XN--P1AI",
        "iｖan@ПОЧТА.xn--p1ai",
    ];
    const OWN: [&str; 5] = [
        "irina@почта.рф",
        "IRINA@почта.РФ",
        "ＩＲＩＮＡ@xn--80a1acny.xn--p1ai",
        "irina＠ПОЧТА．рф",
        "Irinａ@почта.xn--p1ai",
    ];
    let test = start(setup).await;
    let register = async |name: &dyn Fn(usize) -> String, address: &dyn Fn(usize) -> String, words: &[&str]| {
        let calls = (0..20).map(|caller| {
            let client = test.client_of(caller % test.nodes.len());
            let body = json!({"username": name(caller), "email": address(caller), "password": PASSWORD});
            async move { client.post("/api/v1/auth/user", &body).await }
        });
        let (made, refused): (Vec<_>, Vec<_>) =
            join_all(calls).await.into_iter().partition(|answer| answer.status == 201);
        assert_eq!(made.len(), 1, "{made:?}");
        for answer in refused {
            assert_eq!(answer.status, 409, "{answer:?}");
            assert!(words.contains(&answer.json()["code"].as_str().expect("a word")), "{answer:?}");
        }
    };
    let own_address = |caller| format!("fox{caller}@example.com");
    register(&|caller| NAMES[caller % 7].into(), &own_address, &["username_taken"]).await;
    let own_name = |caller| format!("ivan{caller}");
    register(&own_name, &|caller| ADDRESSES[caller % 7].into(), &["email_taken"]).await;
    // Names that are the address, in another spelling of it, beside names that are not: one name space for both.
    let address = |caller: usize| OWN[caller % 5].to_owned();
    let name = |caller: usize| match caller % 3 {
        0 => format!("irina{caller}"),
        _ => OWN[caller * 3 % 5].to_owned(),
    };
    register(&name, &address, &["email_taken"]).await;
    assert_eq!(test.number("select count(*) from users").await, 3);
}

/// Brings each of them with whatever code is the newest, trying as often as it takes.
async fn bring(app: &App, names: impl Iterator<Item = String>, newest: &[(UserId, Mutex<String>)]) {
    for (turn, name) in names.enumerate() {
        loop {
            // Also what lets the others run when there is no code yet.
            tokio::task::yield_now().await;
            let code = held(&newest[turn % newest.len()].1).clone();
            let Some(key) = InvitationKey::of(&code) else { continue };
            match write(&app.db, entry(&name, Some(key))).await {
                Ok(()) => break,
                Err(Error::Refused(Refusal::CodeNotUsable)) => {}
                Err(fault) => panic!("a registration failed: {fault}"),
            }
        }
    }
}

/// One of the things an owner does to a code.
async fn change(app: &App, turn: usize, (owner, newest): &(UserId, Mutex<String>)) {
    let far = far();
    let soon = Clock::default().now().plus(BRIEF);
    let create = async |expires_at, replace| {
        let made = codes::actions::create(
            app,
            Actor::SERVICE,
            *owner,
            Wanted { code: None, expires_at, replace, behind: None },
        )
        .await?;
        *held(newest) = made.code;
        Ok(())
    };
    let outcome = match turn % 5 {
        0 => codes::actions::sweep(app).await,
        1 => {
            let code = held(newest).clone();
            codes::actions::revoke(app, Actor::SERVICE.into(), *owner, &code).await
        }
        2 => create(Time(far), false).await,
        3 => create(soon, true).await,
        _ => create(Time(far), true).await,
    };
    match outcome {
        Ok(()) => {}
        Err(Error::Refused(Refusal::CodeNotFound | Refusal::ActiveCodeExists | Refusal::ExpiresInPast)) => {}
        Err(fault) => panic!("a change failed: {fault}"),
    }
}

async fn counts(test: &TestApp) -> HashMap<&'static str, i64> {
    let mut counts = HashMap::new();
    for table in ["users", "logins", "referrals", "jobs", "codes", "code_slots", "code_strings", "changes"] {
        counts.insert(table, test.number(&format!("select count(*) from {table}")).await);
    }
    counts
}
