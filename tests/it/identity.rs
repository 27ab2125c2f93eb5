//! Who somebody is: names and addresses of the world, passwords in any spelling, the work of a log-in, refresh tokens that
//! nobody can invent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use referral::crypto::hashing::Kind;
use referral::features::accounts::actions::log_in;
use referral::features::tokens::actions::keys;
use referral::kernel::actor::Actor;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Client, PASSWORD};
use crate::tokens::in_time;

const USER: &str = "/api/v1/auth/user";
const WRONG: &str = "not the password";
const ME: &str = "/api/v1/me";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HERE: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

on_every_setup! {
    async fn people_of_all_scripts_register_are_shown_as_they_typed_and_log_in(setup: Setup) {
        let test = setup.start().await;
        for (number, name) in [
            "प्रिया", "विश्वनाथ", "தமிழ்ச்செல்வி", "ศักดิ์สิทธิ์", "น้ำฝน", "দীপ্তি", "Ọláyínká", "Adébọ̀wálé", "Straße", "김철수", "דוד", "محمد",
            "名前",
        ].into_iter().enumerate() {
            let email = format!("person{number}@example.com");
            let body = json!({"username": name, "email": email, "password": PASSWORD});
            let made = test.client().post(USER, &body).await.expect(201).json();
            // What these keyboards send is NFC, or becomes it.
            assert_eq!(made["username"].as_str(), Some(&*nfc(name)), "{name}");
            test.client().log_in(name, PASSWORD).await.expect(200);
            let again = json!({"username": name, "email": format!("other{number}@example.com"), "password": PASSWORD});
            test.client().post(USER, &again).await.expect_problem(409, "username_taken");
        }
        // Yoruba, typed in another way.
        test.client().log_in("A\u{64}\u{65}\u{301}b\u{6f}\u{323}\u{300}w\u{61}\u{301}l\u{65}\u{301}", PASSWORD).await.expect(200);
        for (number, address) in ["संपर्क@डाटामेल.भारत", "ผู้ใช้@ตัวอย่าง.ไทย", "Adébọ̀wálé@example.com"].into_iter().enumerate() {
            let body = json!({"username": format!("user{number}"), "email": address, "password": PASSWORD});
            let made = test.client().post(USER, &body).await.expect(201).json();
            assert_eq!(made["email"].as_str().and_then(|text| text.split('@').next()), Some(&*nfc(address.split('@').next().expect("a name"))));
            let mut client = test.client();
            client.take_tokens(&client.log_in(address, PASSWORD).await.expect(200));
            assert_eq!(client.get(ME).await.expect(200).json()["username"], json!(format!("user{number}")));
            let again = json!({"username": "other", "email": address, "password": PASSWORD});
            test.client().post(USER, &again).await.expect_problem(409, "email_taken");
        }
    }

    async fn nobody_hides_behind_what_shows_nothing(setup: Setup) {
        let test = setup.start().await;
        test.client().register("admin7", None).await.expect(201);
        for hidden in ['\u{2800}', '\u{fffc}', '\u{13441}', '\u{16fe4}', '\u{1d159}', '\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{ad}', '\u{34f}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{fe0f}', '\u{e0061}'] {
            for name in [format!("admin7{hidden}"), format!("{hidden}admin7"), format!("ad{hidden}min7")] {
                let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
                let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
                assert_eq!(problem["detail"], "username: A user name has no invisible characters", "{name:?}");
                let body = json!({"username": "other", "email": format!("{name}@example.com"), "password": PASSWORD});
                let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
                assert_eq!(problem["detail"], "email: An e-mail address has no invisible characters", "{name:?}");
            }
        }
        for (name, why) in [
            ("\u{301}admin7", "A user name does not begin with a combining mark"),
            ("\u{93e}admin", "A user name does not begin with a combining mark"),
            ("admin7\u{17d2}", "A user name has each combining mark on a letter of its script"),
            ("admi\u{307}n7", "A user name has each combining mark on a letter of its script"),
            ("admin\u{5d0}", "A user name does not mix letters of both directions"),
        ] {
            let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
            let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
            assert_eq!(problem["detail"], json!(format!("username: {why}")));
        }
        for local in ["admin7\u{17d2}", "admi\u{307}n7"] {
            let body = json!({"username": "other", "email": format!("{local}@example.com"), "password": PASSWORD});
            test.client().post(USER, &body).await.expect_problem(422, "invalid");
        }
        assert_eq!(test.number("select count(*) from users").await, 1);
    }

    /// Folding makes ss of ß, and so an address of a domain in ASCII of what is none: whoever had it as a name would be
    /// found by another's address.
    async fn no_name_becomes_the_address_of_somebody_else(setup: Setup) {
        let test = setup.start().await;
        let body = json!({"username": "chef@xn--maß-epa.com", "email": "me@example.com", "password": PASSWORD});
        let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
        assert_eq!(problem["detail"], json!("username: A user name that is an e-mail address must be your own address"));
        // Of an older version, there may be one.
        let (chef, me) = (test.user("chef").await, test.user("me").await);
        me.create_code("SPRING2030AB").await.expect(201);
        let lookup = json!({"email": "chef@massé.com"});
        test.sql("update logins set login_key = 'chef@xn--mass-epa.com' where login_key = 'me'").await;
        chef.post("/api/v1/codes/lookup", &lookup).await.expect_problem(404, "no_active_code");
        chef.post("/api/v1/codes/lookup", &json!({"email": "me@example.com"})).await.expect(200);
    }

    /// Whoever has registered by former rules goes on logging in, with what others cannot register any more.
    async fn keys_that_are_stored_stay_and_are_looked_for_first(setup: Setup) {
        let test = setup.start().await;
        let plain = test.user("admin7").await;
        for (number, (name, address)) in [
            ("admin7\u{115f}", "admin7\u{115f}@example.com"),
            ("م\u{640}", "me\u{1160}@example.com"),
            ("abcד", "\u{93e}me@example.com"),
            ("ↀ", "user3@example.com"),
        ].into_iter().enumerate() {
            let user = test.user(&format!("user{number}")).await;
            for sql in [
                format!("update logins set login_key = '{name}' where login_key = 'user{number}'"),
                format!("update logins set login_key = '{address}' where login_key = 'user{number}@example.com'"),
                format!(
                    "update users set username = '{name}', name_key = '{name}', email = '{address}', \
                     email_key = '{address}' where username = 'user{number}'"
                ),
            ] {
                test.sql(&sql).await;
            }
            for typed in [name, address] {
                let mut client = test.client();
                client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
                assert_eq!(client.get(ME).await.expect(200).json()["id"], json!(user.id), "{typed:?}");
            }
            user.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
            test.client().log_in(address, PASSWORD).await;
        }
        // Now that nobody has it, what shows nothing makes no difference to whoever logs in.
        for typed in ["admin7", "admin7\u{115f}", "ad\u{200b}min7", "admin7\u{200b}@example.com"] {
            let mut client = test.client();
            client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
            assert_eq!(client.get(ME).await.expect(200).json()["id"], json!(plain.id), "{typed:?}");
        }
    }

    /// Else there would be a budget of guesses for each place in a name where something can be hidden.
    async fn what_shows_nothing_buys_no_guesses(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
        test.client().register("user", None).await.expect(201);
        let typed = |turn: usize| format!("us{}er", "\u{200b}".repeat(turn));
        let mut statuses = Vec::new();
        for turn in 0..12 {
            statuses.push(test.client().log_in(&typed(turn), WRONG).await.status);
        }
        assert!(statuses.iter().filter(|status| **status == 401).count() <= 6, "{statuses:?}");
        assert!(statuses.ends_with(&[429, 429, 429]), "{statuses:?}");
    }

    async fn one_password_in_two_spellings_is_one_and_old_hashes_go_on(setup: Setup) {
        let test = setup.start().await;
        let (composed, taken_apart) = ("Zaunk\u{f6}nig-vom-7890", "Zaunko\u{308}nig-vom-7890");
        let body = |name: &str, password: &str| json!({"username": name, "email": format!("{name}@example.com"), "password": password});
        test.client().post(USER, &body("olga", taken_apart)).await.expect(201);
        test.client().post(USER, &body("ivan", composed)).await.expect(201);
        for name in ["olga", "ivan"] {
            for typed in [composed, taken_apart] {
                test.client().log_in(name, typed).await.expect(200);
            }
        }
        // As it was hashed before: as typed.
        let former = former_hash(taken_apart);
        test.sql(&format!("update users set password_hash = '{former}' where username = 'olga'")).await;
        test.client().log_in("olga", composed).await.expect_problem(401, "bad_credentials");
        test.client().log_in("olga", taken_apart).await.expect(200);
        eventually("the hash is of the normal form", || async { hash_of(&test, "olga").await != former }).await;
        test.client().log_in("olga", composed).await.expect(200);
        let mut olga = test.client();
        olga.take_tokens(&olga.log_in("olga", taken_apart).await.expect(200));
        let change = json!({"current_password": composed, "new_password": "Zaunko\u{308}nig-vom-1234"});
        olga.post("/api/v1/me/password", &change).await.expect(204);
        test.client().log_in("olga", "Zaunk\u{f6}nig-vom-1234").await.expect(200);
        // bcrypt, from elsewhere.
        let former = bcrypt::hash(taken_apart, 4).expect("a hash");
        test.sql(&format!("update users set password_hash = '{former}' where username = 'ivan'")).await;
        test.client().log_in("ivan", taken_apart).await.expect(200);
    }

    /// Counted, for nobody can time this on a busy machine: of each kind of hash that is stored anywhere one is computed
    /// for everybody, known or not.
    async fn a_log_in_is_the_same_work_for_everybody_whatever_is_stored(setup: Setup) {
        let test = setup.start().await;
        let today = Kind::Argon2id { memory_kib: 19_456, passes: 2 };
        for name in ["today", "bcrypt", "older", "torn", "none", "disabled", "long"] {
            test.client().register(name, None).await.expect(201);
        }
        // Where there is nothing else, there is no more than one of today's.
        for name in ["nobody", "today", "nobody@example.com", "today@example.com"] {
            assert_eq!(work(&test, name, WRONG).await, BTreeMap::from([(today, 1)]), "{name}");
        }
        let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
        let costly = bcrypt::hash(PASSWORD, 5).expect("a hash").replacen("$2b$", "$2a$", 1);
        let older = "$argon2id$v=19$m=64,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        for (name, hash) in [("bcrypt", &*bcrypt), ("older", older), ("torn", "$2b$04$short"), ("disabled", &costly), ("long", &bcrypt)] {
            test.sql(&format!("update users set password_hash = '{hash}' where username = '{name}'")).await;
        }
        test.sql("update users set password_hash = null where username = 'none'").await;
        test.sql("update users set disabled_at = 1 where username = 'disabled'").await;
        let kinds = [
            today,
            Kind::Argon2id { memory_kib: 64, passes: 3 },
            Kind::Bcrypt { cost: 4 },
            Kind::Bcrypt { cost: 5 },
        ];
        let names = ["nobody", "nobody@example.com", "no\u{0}name", "", "today", "bcrypt", "older", "torn", "none", "disabled", "long@example.com"];
        for (password, forms) in [(WRONG, 1), ("", 1), (&*"x".repeat(2000), 1), ("no\u{308}t the password", 2)] {
            let expected: BTreeMap<Kind, u64> = kinds.into_iter().map(|kind| (kind, forms)).collect();
            for name in names {
                assert_eq!(work(&test, name, password).await, expected, "{name}");
            }
        }
        assert_eq!(work(&test, "disabled", PASSWORD).await, work(&test, "nobody", PASSWORD).await);
        // Who gets in is answered before their hash is made anew.
        test.client().log_in("bcrypt", PASSWORD).await.expect(200);
        for name in ["bcrypt", "long"] {
            test.client().log_in(name, PASSWORD).await.expect(200);
            eventually("it is today's", || async { Kind::of(&hash_of(&test, name).await) == Some(today) }).await;
        }
        test.sql("update users set password_hash = null where username in ('older', 'torn', 'disabled')").await;
        for name in ["nobody", "today"] {
            assert_eq!(work(&test, name, WRONG).await, BTreeMap::from([(today, 1)]), "{name}");
        }
    }

    async fn who_invents_a_refresh_token_ends_nothing(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let good = user.refresh_token.clone().expect("a refresh token");
        let bytes = decoded(&good);
        let mut forged: Vec<Vec<u8>> = (16..48).map(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            changed
        }).collect();
        forged.push([&bytes[..16], &[7; 32]].concat());
        forged.push([&bytes[..16], &[0; 32]].concat());
        // A secret of our own making, with the MAC of another.
        forged.push([&bytes[..16], &[1; 16], &bytes[32..]].concat());
        // The same for a token that another session was given.
        let other = decoded(&user.logged_in("user").await.refresh_token.expect("a refresh token"));
        forged.push([&bytes[..16], &other[16..]].concat());
        for forged in &forged {
            user.refresh(&encoded(forged)).await.expect_problem(401, "invalid_refresh_token");
        }
        user.get(ME).await.expect(200);
        let next = refreshed(&user, &good).await;
        for forged in &forged {
            user.refresh(&encoded(forged)).await.expect_problem(401, "invalid_refresh_token");
        }
        refreshed(&user, &next).await;
        user.get(ME).await.expect(200);
    }

    async fn a_replaced_token_ends_the_session_however_old_it_is(setup: Setup) {
        let test = setup.start().await;
        for steps in [2, 7] {
            let user = test.user(&format!("user{steps}")).await;
            let first = user.refresh_token.clone().expect("a refresh token");
            let mut last = first.clone();
            for _ in 0..steps {
                last = refreshed(&user, &last).await;
                test.move_clock(DAY);
            }
            assert_eq!(u32::from_be_bytes(decoded(&last)[32..36].try_into().expect("four bytes")), steps);
            user.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
            user.refresh(&last).await.expect_problem(401, "invalid_refresh_token");
        }
    }

    /// A node of the version before gives tokens that are 256 random bits, and reads ours as such.
    async fn refresh_tokens_go_from_old_nodes_to_new_ones_and_back(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let first = user.refresh_token.clone().expect("a refresh token");
        // There, here, there, there, here: each takes what the other gave.
        let second = refreshed_there(&test, &first).await;
        let third = refreshed(&user, &second).await;
        let fourth = refreshed_there(&test, &third).await;
        let fifth = refreshed_there(&test, &fourth).await;
        let sixth = refreshed(&user, &fifth).await;
        user.get(ME).await.expect(200);
        refreshed(&user, &sixth).await;
        // Replaced tokens of either form end the session, as ever.
        user.refresh(&second).await.expect_problem(401, "invalid_refresh_token");
        user.get(ME).await.expect_problem(401, "invalid_token");

        // What was replaced there a moment ago gets the same successor here.
        let (there, here) = in_time(async || {
            let user = user.logged_in("user").await;
            let token = user.refresh_token.clone().expect("a refresh token");
            let there = refreshed_there(&test, &token).await;
            (there, user.refresh(&token).await)
        }).await;
        assert_eq!(here.expect(200).json()["refresh_token"], json!(there));

        // A session that was begun there.
        let user = user.logged_in("user").await;
        let token = encoded(&[&decoded(user.refresh_token.as_ref().expect("a token"))[..16], &[9; 32]].concat());
        adopt(&test, &token).await;
        let next = refreshed(&user, &token).await;
        let next = refreshed(&user, &next).await;
        user.refresh(&token).await.expect_problem(401, "invalid_refresh_token");
        user.refresh(&next).await.expect_problem(401, "invalid_refresh_token");
        // There a secret that somebody has invented ends it as well: the two cannot be told apart.
        let user = user.logged_in("user").await;
        let handle = decoded(user.refresh_token.as_ref().expect("a token"))[..16].to_vec();
        adopt(&test, &encoded(&[&handle[..], &[9; 32]].concat())).await;
        user.refresh(&encoded(&[&handle[..], &[8; 32]].concat())).await.expect_problem(401, "invalid_refresh_token");
        user.get(ME).await.expect_problem(401, "invalid_token");
    }

    async fn the_key_of_refresh_tokens_is_one_and_sealed_and_replaced_in_an_emergency(setup: Setup) {
        let mut test = setup.start().await;
        let user = test.user("user").await;
        let first = user.refresh_token.clone().expect("a refresh token");
        let count = "select count(*) from refresh_keys";
        assert_eq!(test.number(count).await, 1);
        let open = test.query("select kid, secret from refresh_keys").await;
        let (master, other) = (STANDARD.encode([7; 32]), STANDARD.encode([8; 32]));
        test.add_node_with(&[("REFERRAL_MASTER_KEY", &master)]).await;
        assert_eq!(test.number(&format!("{count} where sealed")).await, 1);
        let sealed = test.query("select kid, secret from refresh_keys").await;
        assert_eq!(sealed[0][0], open[0][0]);
        let secret = open[0][1].as_deref().expect("a secret").trim_start_matches("\\x").to_owned();
        assert!(secret.len() == 64 && !sealed[0][1].as_deref().expect("a secret").contains(&secret));
        // Either node knows the other's tokens.
        let sealing = user.at(&test.nodes[1].url);
        let second = refreshed(&sealing, &first).await;
        let third = refreshed(&user, &second).await;
        let robbed = test.user("robbed").await;
        let owners = robbed.refresh_token.clone().expect("a refresh token");
        let thiefs = refreshed(&robbed, &owners).await;
        assert!(test.open(&[("REFERRAL_MASTER_KEY", &other)]).await.is_err());
        assert!(test.open(&[]).await.is_err());

        // After a leak, what was made with the former key is still somebody's session and proves nothing else.
        let command = test.command(&[("REFERRAL_MASTER_KEY", &master)]).await;
        keys::rotate(&command, true).await.expect("no fault").expect("no refusal");
        assert_eq!(test.number(&format!("{count} where sealed")).await, 1);
        assert_ne!(test.query("select kid from refresh_keys").await[0][0], open[0][0]);
        let app = &test.nodes[1].app;
        referral::features::tokens::actions::keys::read(&app.keyring, &app.db).await.expect("the keys");
        sealing.refresh(&first).await.expect_problem(401, "invalid_refresh_token");
        let fourth = refreshed(&sealing, &third).await;
        let fifth = refreshed(&sealing, &fourth).await;
        test.move_clock(Duration::from_secs(11));
        // The one replaced last is known without the key.
        let robbed = robbed.at(&test.nodes[1].url);
        robbed.refresh(&owners).await.expect_problem(401, "invalid_refresh_token");
        robbed.refresh(&thiefs).await.expect_problem(401, "invalid_refresh_token");
        sealing.refresh(&fourth).await.expect_problem(401, "invalid_refresh_token");
        sealing.refresh(&fifth).await.expect_problem(401, "invalid_refresh_token");
    }

    async fn strangers_see_no_code_of_who_does_not_want_to_be_found(setup: Setup) {
        let mut test = setup.start().await;
        test.add_node_with(&[("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", "all")]).await;
        let (olga, stranger, manager) = (test.user("olga").await, test.user("stranger").await, test.manager("manager").await);
        olga.create_code("OLGA2030CODE").await.expect(201);
        let friend = test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
        assert_eq!(friend.status, 201);
        for hidden in [false, true, false] {
            olga.patch(ME, &json!({"discoverable": !hidden})).await.expect(200);
            for path in ["", "/referrals", "?cursor=MA"] {
                let path = format!("/api/v1/users/{}{path}", olga.id);
                for node in &test.nodes {
                    let code = async |viewer: &Client| viewer.at(&node.url).get(&path).await;
                    let answer = code(&stranger).await;
                    if answer.status == 422 {
                        continue;
                    }
                    let shown = answer.expect(200).json()["items"][0]["code"].clone();
                    assert_eq!(shown, if hidden { json!(null) } else { json!("OLGA2030CODE") }, "{path}");
                    for insider in [&olga, &manager] {
                        assert_eq!(code(insider).await.expect(200).json()["items"][0]["code"], json!("OLGA2030CODE"));
                    }
                }
            }
        }
    }
}

/// What a log-in asks the database does not tell either; counted on the wire.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_asks_the_database_the_same_for_everybody_on_postgresql() {
    let direct = crate::support::servers::Postgres::shared().await.database().await;
    let (url, asked) = counted(&direct).await;
    let test = Setup::Postgres.prepare_on(url, &[]).await;
    // It follows nothing, so nobody else asks.
    let app = test.open(&[]).await.expect("an app");
    for name in ["today", "bcrypt"] {
        let user = referral::features::accounts::model::Registration {
            username: referral::kernel::name::Username::parse(name).expect("a name"),
            email: referral::kernel::email::Email::parse(&format!("{name}@example.com")).expect("an address"),
            entrance: referral::features::accounts::model::Entrance::Password(PASSWORD.to_owned()),
        };
        let none = referral::features::accounts::actions::Invitation::None;
        referral::features::accounts::actions::register(&app, Actor::SERVICE, user, none).await.expect("registered");
    }
    let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
    test.sql(&format!("update users set password_hash = '{bcrypt}' where username = 'bcrypt'")).await;
    let mut counts = Vec::new();
    for name in ["nobody", "today", "bcrypt", "nobody", "today@example.com", "nobody@example.com", "bcrypt@example.com"]
    {
        let before = asked.load(Ordering::SeqCst);
        assert!(log_in(&app, Actor::SERVICE, name, WRONG, HERE).await.is_err());
        counts.push(asked.load(Ordering::SeqCst) - before);
    }
    // One for who it is, one for the kinds.
    assert_eq!(counts, [2; 7]);
}

/// The address of a way to PostgreSQL, and how many statements have gone by it.
async fn counted(url: &str) -> (String, Arc<AtomicUsize>) {
    let (start, rest) = url.split_once('@').expect("a host");
    let (host, name) = rest.split_once('/').expect("a database");
    let (host, name) = (host.to_owned(), name.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let here = listener.local_addr().expect("an address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(&host).await else { continue };
            let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(async move { tokio::io::copy(&mut from_far, &mut to_near).await });
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut kind = None;
                loop {
                    // The first message has no kind, nor has the one behind a question for TLS.
                    let mut message = Vec::new();
                    if let Some(byte) = kind {
                        message.push(byte);
                    }
                    let Ok(length) = from_near.read_u32().await else { break };
                    message.extend(length.to_be_bytes());
                    let mut body = vec![0; length as usize - 4];
                    if from_near.read_exact(&mut body).await.is_err() {
                        break;
                    }
                    let begins = kind.is_none() && body.starts_with(&80_877_103_u32.to_be_bytes());
                    message.extend(body);
                    // Beside what is asked for somebody, each shared connection is looked at now and then.
                    let look = b"show transaction_read_only";
                    let is_look = message.windows(look.len()).any(|part| part == look);
                    if matches!(kind, Some(b'E' | b'Q')) && !is_look {
                        counter.fetch_add(1, Ordering::SeqCst);
                    }
                    if to_far.write_all(&message).await.is_err() {
                        break;
                    }
                    if begins {
                        continue;
                    }
                    let Ok(next) = from_near.read_u8().await else { break };
                    kind = Some(next);
                }
            });
        }
    });
    (format!("{start}@{here}/{name}"), asked)
}

/// What hashes a failed log-in took.
async fn work(test: &TestApp, name: &str, password: &str) -> BTreeMap<Kind, u64> {
    let before = test.app().hasher.computed();
    test.client().log_in(name, password).await.expect_problem(401, "bad_credentials");
    let after = test.app().hasher.computed().into_iter();
    after.map(|(kind, count)| (kind, count - before.get(&kind).unwrap_or(&0))).filter(|(_, count)| *count > 0).collect()
}

async fn hash_of(test: &TestApp, name: &str) -> String {
    test.query(&format!("select password_hash from users where username = '{name}'")).await[0][0]
        .clone()
        .expect("a hash")
}

/// argon2id of a password as it was typed.
fn former_hash(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(19_456, 2, 1, Some(32)).expect("parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2.hash_password(password.as_bytes()).expect("a hash").to_string()
}

fn nfc(text: &str) -> String {
    referral::kernel::fold::nfc(text)
}

async fn refreshed(client: &Client, token: &str) -> String {
    client.refresh(token).await.expect(200).json()["refresh_token"].as_str().expect("a refresh token").to_owned()
}

fn decoded(token: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix("rt_").expect("a refresh token")).expect("base64url");
    assert_eq!(bytes.len(), 48, "nodes of the version before read 48 bytes and no others");
    bytes
}

fn encoded(bytes: &[u8]) -> String {
    format!("rt_{}", URL_SAFE_NO_PAD.encode(bytes))
}

fn literal(test: &TestApp, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    if test.setup == Setup::Sqlite { format!("x'{hex}'") } else { format!("'\\x{hex}'") }
}

/// What a node of the version before does with a refresh token, which must be the current one.
async fn refreshed_there(test: &TestApp, token: &str) -> String {
    let bytes = decoded(token);
    let (handle, secret) = bytes.split_at(16);
    let salt = [5; 32];
    let next = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &salt);
    let current = literal(test, digest(&SHA256, secret).as_ref());
    let handle_there = literal(test, handle);
    let rows = format!(
        "select count(*) from token_families where handle = {handle_there} and current_hash = {current} and ended_at is null"
    );
    assert_eq!(test.number(&rows).await, 1, "a node of the version before refuses it");
    let now = test.app().clock.now().0;
    test.sql(&format!(
        "update token_families set counter = counter + 1, previous_hash = current_hash, current_hash = {}, salt = {}, \
         rotated_at = {now}, used_at = {now} where handle = {handle_there} and current_hash = {current}",
        literal(test, digest(&SHA256, next.as_ref()).as_ref()),
        literal(test, &salt),
    ))
    .await;
    encoded(&[handle, next.as_ref()].concat())
}

/// Makes a family what it were if a node of the version before had begun it with this token.
async fn adopt(test: &TestApp, token: &str) {
    let bytes = decoded(token);
    let (handle, secret) = bytes.split_at(16);
    test.sql(&format!(
        "update token_families set current_hash = {}, sealed_tokens = 0 where handle = {}",
        literal(test, digest(&SHA256, secret).as_ref()),
        literal(test, handle),
    ))
    .await;
}
