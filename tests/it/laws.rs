//! The laws of the product, each on every set-up. What matters is read from the tables, not from the API.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::app::App;
use referral::db::Work;
use referral::features::accounts::actions::enter;
use referral::features::{codes, referrals};
use referral::kernel::actor::Actor;
use referral::kernel::code::CodeKey;
use referral::kernel::error::{Error, Refusal};
use referral::kernel::ids::UserId;
use referral::kernel::time::{Clock, Time};
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::registrations::entry;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};

/// Callers at once.
const CALLERS: usize = 16;
/// Short enough that codes die under the callers' hands.
const BRIEF: Duration = Duration::from_millis(20);
const FAR: &str = "2099-01-01";
const HOUR: Duration = Duration::from_secs(3600);
const YEAR: i64 = 366 * 24 * 3600 * 1_000_000;
/// A second is what look-ups may lag behind a revocation; the rest is for a machine with much else to do.
const LAG: Duration = Duration::from_millis(1500);

on_every_setup! {
    /// Law 1, with nothing else going on.
    async fn of_many_callers_at_once_one_gets_the_one_active_code(setup: Setup) {
        let test = start(setup).await;
        let owner = test.user("owner").await;
        let mut refused_string = None;
        for round in 0..25 {
            let calls = (0..CALLERS).map(|caller| {
                let owner = spread(&test, &owner, caller);
                let chosen = json!({"code": format!("CHOSEN{round:03}AND{caller:03}"), "expires_at": FAR});
                let body = if caller % 2 == 0 { chosen } else { json!({"expires_at": FAR}) };
                async move { (body["code"].clone(), owner.post("/api/v1/codes", &body).await) }
            });
            let (made, refused): (Vec<_>, Vec<_>) =
                join_all(calls).await.into_iter().partition(|(_, answer)| answer.status == 201);
            assert_eq!(made.len(), 1, "{made:?}");
            for (string, answer) in refused {
                answer.expect_problem(409, "active_code_exists");
                refused_string = string.as_str().map(str::to_owned).or(refused_string);
            }
            let code = made[0].1.json()["code"].as_str().expect("a code").to_owned();
            spread(&test, &owner, round).revoke_code(&code).await.expect(204);
        }
        // Who was refused has used nothing up.
        owner.create_code(&refused_string.expect("one of the chosen was refused")).await.expect(201);
        let record = Record::read(&test).await;
        assert_eq!(record.lives.len(), 26);
        assert_eq!(record.faults(), Vec::<String>::new());
    }

    /// Laws 1 and 2 with everything mixed: creating, replacing, revoking, expiring within milliseconds, registering.
    async fn no_mix_of_callers_breaks_a_law(setup: Setup) {
        let test = start(setup).await;
        let calm = test.user("calm").await;
        calm.create_code("CALM2030ABCD").await.expect(201);
        let storm = Storm::gather(&test).await;
        for round in 0..8 {
            storm.begin(round).await;
            let name = format!("calm{round}");
            let untouched = spread(&test, &calm, round);
            let (_, refers) = tokio::join!(
                join_all((0..CALLERS).map(|caller| storm.call(round, caller))),
                untouched.register(&name, Some("CALM2030ABCD")),
            );
            refers.expect(201);
        }

        let record = Record::read(&test).await;
        assert_eq!(record.faults(), Vec::<String>::new());
        // The mix was one: codes that ended in each way, and referrals beside them.
        assert!(record.lives.iter().any(|life| life.revoked_at.is_some_and(|at| at < life.expires_at)));
        assert!(record.lives.iter().any(|life| life.revoked_at.is_none() && life.expires_at < far()));
        assert!(record.joins.len() >= 8, "{}", record.joins.len());

        // The checker would have seen it: two lives made to overlap, a referral moved out of its code's life.
        let (begins, ends) = (record.lives.iter().map(|life| life.created_at).min(), far());
        test.sql(&format!("update codes set created_at = {} where ordinal = 2", begins.expect("lives") - 2)).await;
        test.sql(&format!("update referrals set joined_at = {ends}")).await;
        let faults = Record::read(&test).await.faults();
        assert!(faults.iter().any(|fault| fault.contains("overlap")), "{faults:?}");
        assert_eq!(faults.iter().filter(|fault| fault.contains("outside")).count(), record.joins.len(), "{faults:?}");
    }

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

    /// Law 2: a code that has expired frees its owner's slot, and refers nobody.
    async fn an_expired_code_makes_room_and_refers_nobody(setup: Setup) {
        let test = start(setup).await;
        let owner = test.user("owner").await;
        let until = Clock::default().now().plus(HOUR).to_string();
        owner.post("/api/v1/codes", &json!({"code": "FIRST2030ABC", "expires_at": until})).await.expect(201);
        owner.create_code("SECOND2030AB").await.expect_problem(409, "active_code_exists");
        test.client().register("early", Some("FIRST2030ABC")).await.expect(201);
        for node in 0..test.nodes.len() {
            let found = spread(&test, &owner, node).get("/api/v1/codes/owner@example.com").await.expect(200);
            assert_eq!(found.json()["code"], "FIRST2030ABC");
        }

        test.move_database_clock(2 * i64::try_from(HOUR.as_micros()).expect("a span")).await;
        let expired = Instant::now();
        for node in 0..test.nodes.len() {
            refers_nobody(&test.client_of(node), &format!("late{node}"), "FIRST2030ABC").await;
            assert_eq!(validate(&test.client_of(node), "FIRST2030ABC").await["valid"], false);
        }
        for node in 0..test.nodes.len() {
            gone_in_time(&spread(&test, &owner, node), "owner@example.com", expired).await;
        }
        owner.create_code("SECOND2030AB").await.expect(201);
        let list = owner.get("/api/v1/codes").await.expect(200).json();
        assert_eq!((&list["items"][0]["is_active"], &list["items"][1]["is_active"]), (&json!(false), &json!(true)));
        test.client().register("later", Some("SECOND2030AB")).await.expect(201);
        refers_nobody(&test.client(), "latest", "FIRST2030ABC").await;

        // Revoking the expired one does not touch its successor.
        owner.revoke_code("FIRST2030ABC").await.expect(204);
        test.client().register("last", Some("SECOND2030AB")).await.expect(201);
        let record = Record::read(&test).await;
        assert_eq!((record.faults(), record.joins.len()), (Vec::new(), 3));
    }

    /// Law 2: what was retired, as the service does every second, does not come back with an earlier hour.
    async fn an_expired_code_stays_dead_when_the_databases_clock_steps_back(setup: Setup) {
        let test = start(setup).await;
        let owner = test.user("owner").await;
        let until = Clock::default().now().plus(HOUR).to_string();
        owner.post("/api/v1/codes", &json!({"code": "FIRST2030ABC", "expires_at": until})).await.expect(201);
        let hours = 2 * i64::try_from(HOUR.as_micros()).expect("a span");
        test.move_database_clock(hours).await;
        codes::actions::sweep(test.app()).await.expect("it runs");
        // SQLite's clock moves from where it stands, PostgreSQL's from the true time.
        test.move_database_clock(if setup == Setup::Sqlite { -hours } else { 0 }).await;
        for node in 0..test.nodes.len() {
            let client = test.client_of(node);
            assert_eq!(hold(&test.nodes[node].app, "FIRST2030ABC").await, Err(Refusal::CodeNotUsable));
            assert_eq!(validate(&client, "FIRST2030ABC").await, dead());
            let owner = owner.at(&client.base);
            assert_eq!(owner.get("/api/v1/codes").await.expect(200).json()["items"][0]["is_active"], false);
            assert_eq!(owner.get("/api/v1/me").await.expect(200).json()["active_code"], Value::Null);
            owner.get("/api/v1/codes/owner@example.com").await.expect_problem(404, "no_active_code");
        }
        owner.create_code("SECOND2030AB").await.expect(201);
        test.client().register("guest", Some("SECOND2030AB")).await.expect(201);
    }

    /// Laws 1 and 2 on paper: what is recorded in a slot is in order, also when the database's clock steps back between any
    /// two of it.
    async fn times_in_a_slot_never_go_backwards(setup: Setup) {
        const MINUTE: i64 = 60_000_000;
        let test = start(setup).await;
        let owner = test.user("owner").await;
        let whose = UserId::parse(&owner.id).expect("an id");
        let at = async |minutes: i64| crate::limits::move_clock(&test, minutes * MINUTE).await;
        let enter = async |name: &str, code: &str| {
            enter(&test.app().db, entry(name, CodeKey::of(code))).await.expect("registered");
        };
        let replace = async |code: &str, expires_at: &str| {
            owner.post("/api/v1/codes?replace=true", &json!({"code": code, "expires_at": expires_at})).await
        };
        at(600).await;
        owner.create_code("FIRST2030ABC").await.expect(201);
        at(500).await;
        test.client().register("one", Some("FIRST2030ABC")).await.expect(201);
        enter("two", "FIRST2030ABC").await;
        // Revoked after a step back since it was made, then followed by one of an hour before.
        at(450).await;
        owner.revoke_code("FIRST2030ABC").await.expect(204);
        at(400).await;
        owner.create_code("SECOND2030AB").await.expect(201);
        // Referrals of an hour that is yet to come again, and a step back before the code is replaced.
        at(700).await;
        enter("three", "SECOND2030AB").await;
        at(650).await;
        replace("THIRD2030ABC", FAR).await.expect(201);
        // The same when only the list's marks know of them.
        at(800).await;
        for guest in 0..101 {
            enter(&format!("many{guest}"), "THIRD2030ABC").await;
        }
        referrals::actions::fold(test.app(), &whose.to_string()).await.expect("it runs");
        at(750).await;
        for guest in 0..101 {
            enter(&format!("more{guest}"), "THIRD2030ABC").await;
        }
        referrals::actions::fold(test.app(), &whose.to_string()).await.expect("it runs");
        owner.revoke_code("THIRD2030ABC").await.expect(204);
        // A code that expires at an hour which is past on paper is past.
        let now = Clock::default().now();
        let in_minutes = |minutes: u64| now.plus(Duration::from_secs(60 * minutes)).to_string();
        replace("FOURTH2030AB", &in_minutes(790)).await.expect_problem(400, "expires_in_past");
        owner.post("/api/v1/codes", &json!({"code": "FOURTH2030AB", "expires_at": in_minutes(830)})).await.expect(201);
        replace("FIFTH2030ABC", &in_minutes(790)).await.expect_problem(400, "expires_in_past");
        // One that the clock has taken out of the slot before it stepped back.
        at(900).await;
        codes::actions::sweep(test.app()).await.expect("it runs");
        at(0).await;
        owner.create_code("FIFTH2030ABC").await.expect(201);
        enter("four", "FIFTH2030ABC").await;
        // An erased account's last code ends like any other.
        at(-60).await;
        owner.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);

        let record = Record::read(&test).await;
        assert_eq!((record.lives.len(), record.joins.len()), (5, 206));
        assert_eq!(record.faults(), Vec::<String>::new());
        // The checker would have seen each of them.
        for (breach, word) in [
            ("update codes set created_at = created_at - 1 where ordinal = 2", "overlap"),
            ("update codes set created_at = 1, revoked_at = null, expires_at = 2 where ordinal = 5",
                "before"),
            ("update referrals set joined_at = joined_at - 60000000 where code_ordinal = 1", "outside"),
            ("update referrals set joined_at = joined_at + 60000000 where code_ordinal = 3", "outside"),
        ] {
            test.sql(breach).await;
            let faults = Record::read(&test).await.faults();
            assert!(faults.iter().any(|fault| fault.contains(word)), "{breach}: {faults:?}");
        }
    }

    /// Law 2: from the answer on, whatever the node and however the code is spelled.
    async fn a_revoked_code_is_refused_by_every_node_at_once(setup: Setup) {
        let test = setup.start_two().await;
        let owner = test.user("owner").await;
        for round in 0..4 {
            let code = format!("SPRING{round}OLD30AB");
            owner.create_code(&code).await.expect(201);
            for node in 0..2 {
                test.client_of(node).register(&format!("guest{round}of{node}"), Some(&code)).await.expect(201);
            }
            spread(&test, &owner, round).revoke_code(&code).await.expect(204);
            // No registration hides the first moment behind the time that a password hash takes.
            for node in &test.nodes {
                assert_eq!(hold(&node.app, &code).await, Err(Refusal::CodeNotUsable));
            }
            for node in 0..2 {
                let client = test.client_of(node);
                let spellings = [code.clone(), code.to_lowercase(), code.replace('O', "0").replace('I', "l")];
                for spelling in &spellings {
                    assert_eq!(hold(&test.nodes[node].app, spelling).await, Err(Refusal::CodeNotUsable));
                    assert_eq!(validate(&client, spelling).await, dead());
                }
                refers_nobody(&client, &format!("late{round}"), &spellings[round % 3]).await;
            }
        }
        assert_eq!(test.number("select count(*) from referrals").await, 8);
        assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    }

    /// Law 2: the life of codes is the database's business, whatever the application believes the year to be.
    async fn no_application_clock_raises_the_dead_or_kills_the_living(setup: Setup) {
        let test = setup.start_two().await;
        let owner = test.user("owner").await;
        owner.create_code("REVOKED2030A").await.expect(201);
        owner.revoke_code("REVOKED2030A").await.expect(204);
        let until = Clock::default().now().plus(HOUR).to_string();
        owner.post("/api/v1/codes", &json!({"code": "EXPIRED2030A", "expires_at": until})).await.expect(201);
        test.move_database_clock(2 * i64::try_from(HOUR.as_micros()).expect("a span")).await;
        let until = Clock::default().now().plus(10 * HOUR).to_string();
        owner.post("/api/v1/codes", &json!({"code": "LIVING2030AB", "expires_at": until})).await.expect(201);
        // A year ahead, then a year behind.
        for (place, shift) in [YEAR, -2 * YEAR].into_iter().enumerate() {
            test.app().clock.shift(shift);
            for node in 0..2 {
                let client = test.client_of(node);
                for code in ["REVOKED2030A", "EXPIRED2030A"] {
                    refers_nobody(&client, "nobody", code).await;
                    assert_eq!(validate(&client, code).await, dead());
                }
                client.register(&format!("guest{place}of{node}"), Some("LIVING2030AB")).await.expect(201);
                let owner = client.logged_in("owner").await;
                let found = owner.get("/api/v1/codes/owner@example.com").await.expect(200);
                assert_eq!(found.json()["code"], "LIVING2030AB");
                owner.create_code("ANOTHER2030A").await.expect_problem(409, "active_code_exists");
            }
        }
        let record = Record::read(&test).await;
        assert_eq!((record.faults(), record.joins.len()), (Vec::new(), 4));
    }

    /// Law 3.
    async fn a_code_string_is_used_once_in_any_spelling_even_after_its_owner_is_gone(setup: Setup) {
        const SPELLINGS: [&str; 6] =
            ["HELLO2030OIL", "hello2030oiL", "HEl1O2O3OO1l", "HE11020300IL", "heIio2o3ooiL", "HEL102O30011"];
        let test = start(setup).await;
        let (owner, other) = (test.user("owner").await, test.user("other").await);
        owner.create_code(SPELLINGS[0]).await.expect(201);
        // It lives in all of its spellings.
        for (place, spelling) in SPELLINGS.iter().enumerate() {
            other.create_code(spelling).await.expect_problem(409, "code_taken");
            test.client().register(&format!("guest{place}"), Some(spelling)).await.expect(201);
        }
        owner.revoke_code(SPELLINGS[1]).await.expect(204);
        for (place, spelling) in SPELLINGS.iter().enumerate() {
            owner.create_code(spelling).await.expect_problem(409, "code_taken");
            spread(&test, &other, place).create_code(spelling).await.expect_problem(409, "code_taken");
            let body = json!({"code": spelling, "expires_at": FAR});
            other.post("/api/v1/codes?replace=true", &body).await.expect_problem(409, "code_taken");
        }
        // A code that was replaced is as dead as one that was revoked.
        owner.create_code("REPLACED2030").await.expect(201);
        owner.post("/api/v1/codes?replace=true", &json!({"code": "ACTIVE2030AB", "expires_at": FAR})).await.expect(201);
        let body = json!({"code": "REPLACED2030", "expires_at": FAR});
        owner.post("/api/v1/codes?replace=true", &body).await.expect_problem(409, "code_taken");

        owner.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
        let again = test.user("owner").await;
        for string in SPELLINGS.into_iter().chain(["REPLACED2030", "ACTIVE2030AB"]) {
            other.create_code(string).await.expect_problem(409, "code_taken");
            again.create_code(string).await.expect_problem(409, "code_taken");
            refers_nobody(&test.client(), "nobody", string).await;
        }
        // What is remembered is not the string that the erased person chose.
        assert_eq!(test.number("select count(*) from codes where code <> ''").await, 0);
        assert_eq!(test.number("select count(*) from codes").await, 3);
        assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
    }

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

    /// Names and addresses are one when they look alike, also when twenty ask at once.
    async fn of_twenty_look_alikes_one_registers(setup: Setup) {
        const NAMES: [&str; 7] = [
            "strasse.fuchs", "STRASSE.FUCHS", "straße.fuchs", "Straße.Fuchs", "ｓｔｒａｓｓｅ．ｆｕｃｈｓ", "straẞe.fuchs", "STRAẞE.FUCHS",
        ];
        const ADDRESSES: [&str; 7] = [
            "ivan@почта.рф", "IVAN@Почта.РФ", "ivan@xn--80a1acny.xn--p1ai", "ＩＶＡＮ@почта.рф", "ivan＠почта。рф",
            "Ivan@XN--80A1ACNY.XN--P1AI", "iｖan@ПОЧТА.xn--p1ai",
        ];
        const OWN: [&str; 5] =
            ["irina@почта.рф", "IRINA@почта.РФ", "ＩＲＩＮＡ@xn--80a1acny.xn--p1ai", "irina＠ПОЧТА．рф", "Irinａ@почта.xn--p1ai"];
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

    /// Law 7: an address, also one that is used as a user name, is for its owner, the referrer and managers.
    async fn nobody_else_sees_an_address(setup: Setup) {
        let test = start(setup).await;
        let people = People::meet(&test).await;
        let path = format!("/api/v1/users/{}", people.referrer.id);

        for privileged in [&people.referrer, &people.manager] {
            let list = privileged.get(&path).await.expect(200).json();
            assert_eq!(list["items"][0]["email"], "guest@example.com");
            assert_eq!(list["items"][1]["email"], "secret.name@example.org");
            assert_eq!(list["items"][1]["username"], "secret.name@example.org");
        }
        for stranger in [&people.stranger, &people.guest] {
            // Every way to the list: by page, by cursor, by its other name.
            let first = stranger.get(&format!("{path}?size=1")).await.expect(200);
            let cursor = first.json()["next_cursor"].as_str().expect("a second page").to_owned();
            for query in ["", "?size=1", "?size=1&page=2", "/referrals", &format!("?size=1&cursor={cursor}")] {
                let answer = stranger.get(&format!("{path}{query}")).await.expect(200);
                tells_no_address(&answer, stranger);
            }
            let list = stranger.get(&path).await.expect(200).json();
            assert_eq!((&list["total"], &list["items"][0]["username"]), (&json!(2), &json!("guest")));
            assert_eq!(list["items"][0]["email"], "g***@e***.com");
            assert_eq!(list["items"][1]["email"], "s***@e***.org");
            assert_eq!(list["items"][1]["username"], "s***@e***.org");
        }
        test.client().get(&path).await.expect_problem(401, "not_authenticated");

        // A code of somebody whose name is their address.
        let answer = test.client().post("/api/v1/codes/validate", &json!({"code": "SECRET2030AB"})).await.expect(200);
        tells_no_address(&answer, &test.client());
        assert_eq!(answer.json()["username"], "s***@e***.org");
        let referred = test.client();
        referred.register("referred", Some("SECRET2030AB")).await.expect(201);
        let referred = referred.logged_in("referred").await;
        let me = referred.get("/api/v1/me").await.expect(200);
        tells_no_address(&me, &referred);
        assert_eq!(me.json()["referred_by"]["username"], "s***@e***.org");

        // Refusals do not tell either, nor do the figures.
        let taken = json!({"username": "x", "email": "SECRET.name@example.org", "password": PASSWORD});
        tells_no_address(&test.client().post("/api/v1/auth/user", &taken).await.expect(409), &test.client());
        let figures = test.app().metrics.text(&[]).expect("figures");
        assert!(figures.contains("/api/v1/codes/validate") && !figures.contains("example.org"), "{figures}");
    }

    /// Law 7: the operator may narrow or widen who sees a referrer's list.
    async fn the_operator_decides_who_sees_the_list_of_referees(setup: Setup) {
        const SETTING: &str = "REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO";
        for value in ["owner", "masked", "all"] {
            let test = setup.start_with(&[(SETTING, value)]).await;
            let people = People::meet(&test).await;
            let path = format!("/api/v1/users/{}", people.referrer.id);
            for privileged in [&people.referrer, &people.manager] {
                let list = privileged.get(&path).await.expect(200).json();
                assert_eq!(list["items"][1]["email"], "secret.name@example.org");
            }
            let nobody = "/api/v1/users/f4a31e56-86e2-44b1-b68b-ddea734ef503";
            for stranger in [&people.stranger, &people.guest] {
                if value == "owner" {
                    let refused = stranger.get(&path).await.expect_problem(403, "referees_hidden");
                    tells_no_address(&refused, stranger);
                    // The refusal does not tell whether there is such a referrer.
                    stranger.get(nobody).await.expect_problem(403, "referees_hidden");
                    continue;
                }
                let list = stranger.get(&path).await.expect(200).json();
                let shown = if value == "all" { "secret.name@example.org" } else { "s***@e***.org" };
                assert_eq!((&list["items"][1]["email"], &list["items"][1]["username"]), (&json!(shown), &json!(shown)));
            }
        }
    }
}

/// What all of law 2 rests on: whoever waited for the slot decides by the time after the wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_is_read_after_the_lock() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    let id = UserId::parse(&owner.id).expect("an id");
    // A clock that can be moved while a statement is under way.
    test.sql("create table clock_hand (micros bigint); insert into clock_hand values (0)").await;
    test.sql(
        "create or replace function referral_now() returns bigint language plpgsql volatile as 'begin \
         return (extract(epoch from clock_timestamp()) * 1000000)::bigint + (select micros from clock_hand); end'",
    )
    .await;
    let hour = i64::try_from(HOUR.as_micros()).expect("a span");
    let soon = |hours| json!({"expires_at": Clock::default().now().plus(hours * HOUR).to_string()});
    let code =
        owner.post("/api/v1/codes", &soon(1)).await.expect(201).json()["code"].as_str().expect("a code").to_owned();

    let mut blocker = test.beside().await;
    let lock = blocker.transaction().await.expect("a transaction");
    lock.batch_execute("select 1 from code_slots for update").await.expect("the slot is locked");
    let spawned = |app: Arc<App>, what: &'static str| {
        let code = code.clone();
        tokio::spawn(async move {
            let in_an_hour = Clock::default().now().plus(HOUR);
            let outcome = match what {
                "hold" => return hold(&app, &code).await,
                "enter" => enter(&app.db, entry("guest", CodeKey::of(&code))).await,
                _ => codes::actions::create(&app, Actor::SERVICE, id, None, in_an_hour, false).await.map(drop),
            };
            match outcome {
                Ok(()) => Ok(()),
                Err(Error::Refused(refusal)) => Err(refusal),
                Err(fault) => panic!("the database failed: {fault}"),
            }
        })
    };
    let (held, entered) = (spawned(test.app().clone(), "hold"), spawned(test.app().clone(), "enter"));
    let created = spawned(test.app().clone(), "create");
    eventually("all wait for the slot", || async { test.waiting().await == 3 }).await;
    test.sql(&format!("update clock_hand set micros = {}", 2 * hour)).await;
    lock.rollback().await.expect("the slot is free");
    assert_eq!(held.await.expect("it ends"), Err(Refusal::CodeNotUsable));
    assert_eq!(entered.await.expect("it ends"), Err(Refusal::CodeNotUsable));
    assert_eq!(created.await.expect("it ends"), Err(Refusal::ExpiresInPast));

    // Nothing else kept them from it.
    owner.post("/api/v1/codes", &soon(3)).await.expect(201);
    assert_eq!(Record::read(&test).await.faults(), Vec::<String>::new());
}

/// The checker's negative control, row by row: it is silent about what is right and speaks about each wrong.
#[test]
fn the_checker_sees_what_is_planted() {
    let life = |ordinal, created_at, expires_at, revoked_at| Life {
        owner: "a".into(),
        ordinal,
        id: ordinal * 10,
        created_at,
        expires_at,
        revoked_at,
    };
    let join = |ordinal, at| Join { referrer: "a".into(), ordinal, at };
    let slot = |issued, code_id| Slot { owner: "a".into(), issued, code_id };
    let sound = || Record {
        // The second begins where the first was revoked, the third where the second has expired, though that was
        // revoked afterwards.
        lives: vec![life(1, 100, 900, Some(200)), life(2, 200, 300, Some(350)), life(3, 300, 900, None)],
        joins: vec![join(1, 100), join(1, 199), join(2, 299), join(3, 899)],
        slots: vec![slot(3, Some(30))],
        now: 500,
    };
    assert_eq!(sound().faults(), Vec::<String>::new());
    let swept = Record { slots: vec![slot(3, None)], now: 900, ..sound() };
    assert_eq!(swept.faults(), Vec::<String>::new());

    type Plant = fn(&mut Record);
    let plants: [(&str, Plant); 11] = [
        ("overlap", |record| record.lives[0].revoked_at = Some(201)),
        ("overlap", |record| record.lives[0].revoked_at = None),
        ("overlap", |record| record.lives[1].expires_at = 301),
        ("overlap", |record| record.lives[2].created_at = 150),
        ("outside", |record| record.joins[0].at = 99),
        ("outside", |record| record.joins[1].at = 200),
        ("outside", |record| record.joins[2].at = 300),
        ("outside", |record| record.joins[3].ordinal = 4),
        ("slot", |record| record.slots[0].code_id = Some(20)),
        ("slot", |record| record.slots[0].code_id = None),
        ("slot", |record| record.slots[0].issued = 2),
    ];
    for (place, (word, plant)) in plants.iter().enumerate() {
        let mut record = sound();
        plant(&mut record);
        let faults = record.faults();
        assert!(!faults.is_empty() && faults.iter().all(|fault| fault.contains(word)), "{place}: {faults:?}");
    }
}

// ------------------------------------------------------------------------------------------------- checker

/// What the tables say about codes and referrals.
pub struct Record {
    pub lives: Vec<Life>,
    pub joins: Vec<Join>,
    pub slots: Vec<Slot>,
    /// By the database's clock.
    pub now: i64,
}

pub struct Life {
    pub owner: String,
    pub ordinal: i64,
    pub id: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
}

pub struct Join {
    pub referrer: String,
    pub ordinal: i64,
    pub at: i64,
}

pub struct Slot {
    pub owner: String,
    pub issued: i64,
    pub code_id: Option<i64>,
}

impl Life {
    /// Until then, exclusively, the code referred people.
    fn end(&self) -> i64 {
        self.expires_at.min(self.revoked_at.unwrap_or(self.expires_at))
    }
}

impl Record {
    pub async fn read(test: &TestApp) -> Self {
        let text = |cell: &Option<String>| cell.clone().expect("a value");
        let maybe = |cell: &Option<String>| cell.as_ref().map(|text| text.parse::<i64>().expect("a number"));
        let number = |cell: &Option<String>| maybe(cell).expect("a value");
        let lives = "select owner_id, ordinal, id, created_at, expires_at, revoked_at from codes";
        let lives = test.query(lives).await.into_iter().map(|row| Life {
            owner: text(&row[0]),
            ordinal: number(&row[1]),
            id: number(&row[2]),
            created_at: number(&row[3]),
            expires_at: number(&row[4]),
            revoked_at: maybe(&row[5]),
        });
        let joins = test.query("select referrer_id, code_ordinal, joined_at from referrals").await;
        let joins =
            joins.iter().map(|row| Join { referrer: text(&row[0]), ordinal: number(&row[1]), at: number(&row[2]) });
        let slots = test.query("select owner_id, issued, code_id from code_slots").await;
        let slots =
            slots.iter().map(|row| Slot { owner: text(&row[0]), issued: number(&row[1]), code_id: maybe(&row[2]) });
        let changes = &test.app().changes;
        eventually("the node knows the database's clock", || async { changes.now().is_some() }).await;
        let now = changes.now().map_or(0, |now| now.0);
        Self { lives: lives.collect(), joins: joins.collect(), slots: slots.collect(), now }
    }

    /// Every breach of laws 1 and 2, as a sentence.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut codes: HashMap<&str, Vec<&Life>> = HashMap::new();
        for life in &self.lives {
            codes.entry(&life.owner).or_default().push(life);
        }
        for (owner, lives) in &mut codes {
            lives.sort_by_key(|life| life.ordinal);
            for (place, life) in lives.iter().enumerate() {
                for other in &lives[place + 1..] {
                    if life.created_at < other.end() && other.created_at < life.end() {
                        faults.push(format!("the lives {} and {} of {owner} overlap", life.ordinal, other.ordinal));
                    } else if other.created_at < life.end() {
                        faults.push(format!("life {} of {owner} is before {}", other.ordinal, life.ordinal));
                    }
                }
            }
        }
        for join in &self.joins {
            let mut lives = codes.get(join.referrer.as_str()).into_iter().flatten();
            let life = lives.find(|life| life.ordinal == join.ordinal);
            if !life.is_some_and(|life| life.created_at <= join.at && join.at < life.end()) {
                faults.push(format!(
                    "a referral at {} is outside of life {} of {}",
                    join.at, join.ordinal, join.referrer
                ));
            }
        }
        for slot in &self.slots {
            let lives = codes.get(slot.owner.as_str()).map_or(&[][..], Vec::as_slice);
            let last = lives.last().filter(|life| life.revoked_at.is_none());
            let holds_it = match slot.code_id {
                Some(id) => last.is_some_and(|life| life.id == id),
                // What has expired may be taken out.
                None => last.is_none_or(|life| life.expires_at <= self.now),
            };
            if !holds_it || usize::try_from(slot.issued) != Ok(lives.len()) {
                faults.push(format!("the slot of {} does not hold the last of {} codes", slot.owner, slot.issued));
            }
        }
        faults
    }
}

// -------------------------------------------------------------------------------------------------- callers

/// Owners whose codes change all the time, and callers who change and use them.
struct Storm<'a> {
    test: &'a TestApp,
    owners: Vec<Client>,
    /// The newest code of each, dead or alive.
    newest: Vec<Mutex<String>>,
}

impl<'a> Storm<'a> {
    async fn gather(test: &'a TestApp) -> Self {
        let mut owners = Vec::new();
        for name in ["first", "second", "third"] {
            owners.push(test.user(name).await);
        }
        let newest = owners.iter().map(|_| Mutex::default()).collect();
        Self { test, owners, newest }
    }

    /// Gives each owner a code, one of them a brief one.
    async fn begin(&self, round: usize) {
        for which in 0..self.owners.len() {
            let owner = spread(self.test, &self.owners[which], round);
            let mut life = BRIEF;
            // A machine that takes longer to answer than the code lives gets more time.
            while !self.make(&owner, which, true, (round + which).is_multiple_of(3).then_some(life)).await {
                life *= 2;
            }
        }
    }

    async fn call(&self, round: usize, caller: usize) {
        let which = caller % self.owners.len();
        let owner = spread(self.test, &self.owners[which], caller / self.owners.len());
        let newest = held(&self.newest[which]).clone();
        let part = (caller / self.owners.len() + round) % 5;
        if part < 3 {
            let answer = owner.anonymous().register(&format!("guest{round}of{caller}"), Some(&newest)).await;
            allow(&answer, &[(201, ""), (404, "code_not_usable")]);
            return;
        }
        // A log-in takes as long as a registration, so that what follows falls between those.
        owner.log_in(&owner.username, PASSWORD).await.expect(200);
        match (round + caller) % 4 {
            0 => allow(&owner.revoke_code(&newest).await, &[(204, ""), (404, "code_not_found")]),
            1 => drop(self.make(&owner, which, false, None).await),
            2 => drop(self.make(&owner, which, true, None).await),
            _ => drop(self.make(&owner, which, true, Some(BRIEF)).await),
        }
    }

    /// Makes a code; false when it had expired before it was there.
    async fn make(&self, owner: &Client, which: usize, replace: bool, life: Option<Duration>) -> bool {
        let expires_at = life.map_or(FAR.to_owned(), |life| Clock::default().now().plus(life).to_string());
        let path = if replace { "/api/v1/codes?replace=true" } else { "/api/v1/codes" };
        let answer = owner.post(path, &json!({"expires_at": expires_at})).await;
        let refusal = if replace { (400, "expires_in_past") } else { (409, "active_code_exists") };
        allow(&answer, &[(201, ""), refusal, (400, "expires_in_past")]);
        if answer.status == 201 {
            *held(&self.newest[which]) = answer.json()["code"].as_str().expect("a code").to_owned();
        }
        answer.status != 400
    }
}

/// Brings each of them with whatever code is the newest, trying as often as it takes.
async fn bring(app: &App, names: impl Iterator<Item = String>, newest: &[(UserId, Mutex<String>)]) {
    for (turn, name) in names.enumerate() {
        loop {
            // Also what lets the others run when there is no code yet.
            tokio::task::yield_now().await;
            let code = held(&newest[turn % newest.len()].1).clone();
            let Some(key) = CodeKey::of(&code) else { continue };
            match enter(&app.db, entry(&name, Some(key))).await {
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
        let made = codes::actions::create(app, Actor::SERVICE, *owner, None, expires_at, replace).await?;
        *held(newest) = made.code;
        Ok(())
    };
    let outcome = match turn % 5 {
        0 => codes::actions::sweep(app).await,
        1 => {
            let code = held(newest).clone();
            codes::actions::revoke(app, Actor::SERVICE, *owner, &code).await
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

/// A referrer with two referees, one of whom is called like their address, and who else may look.
struct People {
    referrer: Client,
    guest: Client,
    stranger: Client,
    manager: Client,
}

impl People {
    async fn meet(test: &TestApp) -> Self {
        let referrer = test.user("referrer").await;
        referrer.create_code("SPRING2030AB").await.expect(201);
        test.client().register("guest", Some("SPRING2030AB")).await.expect(201);
        let address = "secret.name@example.org";
        let body = json!({"username": address, "email": address, "password": PASSWORD, "code": "SPRING2030AB"});
        test.client().post("/api/v1/auth/user", &body).await.expect(201);
        test.client().logged_in(address).await.create_code("SECRET2030AB").await.expect(201);
        let manager = test.manager("manager").await;
        let (guest, stranger) = (test.client().logged_in("guest").await, test.user("stranger").await);
        Self { referrer, guest, stranger, manager }
    }
}

// ------------------------------------------------------------------------------------------------- helpers

/// Two nodes where the database is a server, one where it is a file.
async fn start(setup: Setup) -> TestApp {
    match setup {
        Setup::Sqlite => setup.start().await,
        Setup::Postgres | Setup::PostgresAndRedis => setup.start_two().await,
    }
}

/// The same person at one of the nodes, by turns.
fn spread(test: &TestApp, client: &Client, turn: usize) -> Client {
    client.at(&test.nodes[turn % test.nodes.len()].url)
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When codes end that are meant to stay.
fn far() -> i64 {
    Time::parse(FAR).expect("a date").0
}

#[track_caller]
fn allow(answer: &Answer, outcomes: &[(u16, &str)]) {
    let code = if answer.status < 400 { json!("") } else { answer.json()["code"].clone() };
    assert!(outcomes.iter().any(|(status, word)| (answer.status, &code) == (*status, &json!(word))), "{answer:?}");
}

/// Registers with a code, in the body and in the path, and is told that there is no such code.
pub async fn refers_nobody(client: &Client, name: &str, code: &str) {
    client.register(name, Some(code)).await.expect_problem(404, "code_not_usable");
    let body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
    client.post(&format!("/api/v1/auth/user/{code}"), &body).await.expect_problem(404, "code_not_usable");
}

/// What a registration decides about a code, without the account.
pub async fn hold(app: &App, code: &str) -> Result<(), Refusal> {
    let look: Work<CodeKey, ()> = |tx, key| Box::pin(async move { codes::actions::hold(tx, *key).await.map(drop) });
    match app.db.write(Actor::SERVICE, CodeKey::of(code).expect("a code"), look).await {
        Ok(()) => Ok(()),
        Err(Error::Refused(refusal)) => Err(refusal),
        Err(fault) => panic!("the database failed: {fault}"),
    }
}

async fn validate(client: &Client, code: &str) -> Value {
    client.post("/api/v1/codes/validate", &json!({"code": code})).await.expect(200).json()
}

fn dead() -> Value {
    json!({"valid": false, "username": null, "expires_at": null})
}

/// Looks a code up until it is gone, which must be soon after its end.
pub async fn gone_in_time(client: &Client, email: &str, ended: Instant) {
    loop {
        let answer = client.get(&format!("/api/v1/codes/{email}")).await;
        if answer.status == 404 {
            answer.expect_problem(404, "no_active_code");
            return;
        }
        assert!(ended.elapsed() < LAG, "still found {:?} after its end: {answer:?}", ended.elapsed());
        answer.expect(200);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn counts(test: &TestApp) -> HashMap<&'static str, i64> {
    let mut counts = HashMap::new();
    for table in ["users", "logins", "referrals", "jobs", "codes", "code_slots", "code_strings", "changes"] {
        counts.insert(table, test.number(&format!("select count(*) from {table}")).await);
    }
    counts
}

/// Nobody's address is in an answer but the caller's own.
#[track_caller]
fn tells_no_address(answer: &Answer, caller: &Client) {
    let mut text = answer.text.to_lowercase();
    if !caller.email.is_empty() {
        text = text.replace(&caller.email, "");
    }
    for part in ["secret", "guest@", "example.com", "example.org"] {
        assert!(!text.contains(part), "{part}: {answer:?}");
    }
}
