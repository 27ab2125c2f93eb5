//! Registration, log-in, everything under `/me`, and the limits on all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use referral::config::Hashing;
use referral::crypto::hashing::Hasher;
use referral::features::accounts::actions::administration;
use referral::kernel::email::Email;
use referral::kernel::ids::UserId;
use referral::limits::turns::Key;
use reqwest::Method;
use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::{Setup, TestApp, eventually};
use crate::support::client::{Answer, Client, PASSWORD};

const TOKEN: &str = "/api/v1/auth/token";
const USER: &str = "/api/v1/auth/user";
const ME: &str = "/api/v1/me";

on_every_setup! {
    async fn each_rule_of_registration_is_told_and_a_refused_one_writes_nothing(setup: Setup) {
        let test = setup.start().await;
        test.user("taken").await.create_code("AMSEL2030XYZ").await.expect(201);
        let before = rows(&test).await;
        for (field, value, status, sentence) in broken_registrations() {
            let mut body = newcomer();
            body[field] = json!(value);
            let answer = test.client().post(USER, &body).await;
            assert_eq!(answer.status, status, "{field} {value:?}: {answer:?}");
            let problem = answer.json();
            let detail = problem["detail"].as_str().expect("a sentence");
            assert!(detail.contains(sentence), "{field} {value:?}: {detail}");
            if status == 422 {
                assert_eq!(problem["errors"].as_array().expect("errors").len(), 1, "{field} {value:?}: {problem}");
                assert_eq!(problem["errors"][0]["loc"], json!(["body", field]), "{value:?}");
            }
            assert_eq!(rows(&test).await, before, "{field} {value:?} left something behind");
        }
        // Without the one fault the same registration passes: each fault was the reason.
        test.client().post(USER, &newcomer()).await.expect(201);
        assert_ne!(rows(&test).await, before);
    }

    async fn all_faults_of_a_registration_are_told_at_once(setup: Setup) {
        let test = setup.start().await;
        let body = json!({"username": "a b", "email": "nobody", "password": "short", "code": 5});
        let problem = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
        let mut places: Vec<String> =
            problem["errors"].as_array().expect("errors").iter().map(|error| error["loc"].to_string()).collect();
        places.sort();
        assert_eq!(
            places,
            [r#"["body","code"]"#, r#"["body","email"]"#, r#"["body","password"]"#, r#"["body","username"]"#]
        );
    }

    /// The borders belong to the rule, and no password is cut: the last of 128 characters counts.
    async fn passwords_of_12_and_of_128_characters_pass_whole(setup: Setup) {
        let test = setup.start().await;
        let long = "Zaunkoenig-7".repeat(10) + "Amsel-88";
        let wide: String = "𝄞𝄢𝄡𝄪𝄫".chars().cycle().take(128).collect();
        for (name, password) in [("a1", "Zaunkoenig-7"), ("a2", long.as_str()), ("a3", wide.as_str())] {
            let body = json!({"username": name, "email": format!("{name}@example.com"), "password": password});
            test.client().post(USER, &body).await.expect(201);
            test.client().log_in(name, password).await.expect(200);
            let mut almost: Vec<char> = password.chars().collect();
            almost.pop();
            almost.push('?');
            let almost: String = almost.into_iter().collect();
            test.client().log_in(name, &almost).await.expect_problem(401, "bad_credentials");
        }
        let address = format!("{}@{}.{}.com", "a".repeat(60), "b".repeat(63), "c".repeat(21));
        let body = json!({"username": "u".repeat(50), "email": address, "password": PASSWORD});
        test.client().post(USER, &body).await.expect(201);
    }

    async fn the_least_length_of_a_password_is_the_operators(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_ACCOUNTS_MIN_PASSWORD_LENGTH", "15")]).await;
        let mut body = newcomer();
        body["password"] = json!("Zaunkoenig-789");
        let refused = test.client().post(USER, &body).await.expect_problem(422, "invalid").json();
        assert_eq!(refused["detail"], "password: A password has at least 15 characters");
        body["password"] = json!("Zaunkoenig-7890");
        test.client().post(USER, &body).await.expect(201);
        let mut user = test.client();
        user.take_tokens(&user.log_in("newcomer", "Zaunkoenig-7890").await.expect(200));
        let change = json!({"current_password": "Zaunkoenig-7890", "new_password": "Rotkehlchen-15"});
        let refused = user.post("/api/v1/me/password", &change).await.expect_problem(422, "invalid").json();
        assert_eq!(refused["detail"], "new_password: A password has at least 15 characters");
    }

    async fn look_alikes_of_a_taken_name_or_address_are_taken(setup: Setup) {
        let test = setup.start().await;
        let body = json!({"username": "Straße", "email": "Zaunkoenig@Почта.рф", "password": PASSWORD});
        test.client().post(USER, &body).await.expect(201);
        for name in ["straße", "STRASSE", "Ｓｔｒａßｅ", "strasse"] {
            let body = json!({"username": name, "email": "other@example.com", "password": PASSWORD});
            test.client().post(USER, &body).await.expect_problem(409, "username_taken");
        }
        for address in ["zaunkoenig@почта.рф", "ZAUNKOENIG@XN--80A1ACNY.XN--P1AI", "ｚaunkoenig＠почта.рф"]
        {
            let body = json!({"username": "other", "email": address, "password": PASSWORD});
            test.client().post(USER, &body).await.expect_problem(409, "email_taken");
        }
        assert_eq!(test.number("select count(*) from users").await, 1);
    }

    async fn of_twenty_who_want_one_name_or_address_at_once_one_gets_it(setup: Setup) {
        let test = setup.start().await;
        let client = test.client();
        for (field, code) in [("username", "username_taken"), ("email", "email_taken")] {
            let asked = (0..20).map(|number| {
                let mut body = json!({
                    "username": format!("{field}{number}"),
                    "email": format!("{field}{number}@example.com"),
                    "password": PASSWORD,
                });
                body[field] = json!(if field == "email" { "wanted@example.com" } else { "wanted" });
                let client = client.clone();
                async move { client.post(USER, &body).await }
            });
            let answers = futures_util::future::join_all(asked).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{field}");
            for refused in answers.into_iter().filter(|answer| answer.status != 201) {
                refused.expect_problem(409, code);
            }
        }
        assert_eq!(test.number("select count(*) from users").await, 2);
        assert_eq!(test.number("select count(*) from logins").await, 4);
    }

    async fn codes_in_path_and_body_must_agree_in_any_spelling(setup: Setup) {
        let test = setup.start().await;
        let owner = test.user("owner").await;
        owner.create_code("SPOLIO123XYZ").await.expect(201);
        let register = async |name: &str, path: &str, code: Value| {
            let body =
                json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD, "code": code});
            test.client().post(&format!("{USER}/{path}"), &body).await
        };
        for (path, code) in
            [("SPOLIO123XYZ", "SPOLIO124XYZ"), ("nonsense", "SPOLIO123XYZ"), ("SPOLIO123XYZ", ""), ("x", "y")]
        {
            let problem = register("other", path, json!(code)).await.expect_problem(422, "invalid").json();
            assert_eq!(problem["errors"][0]["loc"], json!(["body", "code"]));
            assert_eq!(problem["errors"][0]["type"], "code_mismatch");
        }
        register("other", "nonsense", json!("nonsense")).await.expect_problem(404, "code_not_usable");
        assert_eq!(test.number("select count(*) from users").await, 1);
        register("same", "SPOLIO123XYZ", json!("SPOLIO123XYZ")).await.expect(201);
        register("spoken", "spolio123xyz", json!("SP0L10I23XYZ")).await.expect(201);
        register("alone", "Spolio123Xyz", Value::Null).await.expect(201);
        assert_eq!(owner.get(ME).await.expect(200).json()["referral_count"], 3);
    }

    async fn people_log_in_by_name_and_by_address_in_any_case(setup: Setup) {
        let test = setup.start().await;
        let body = json!({"username": "Zaunkönig", "email": "Zaun.Koenig@Example.COM", "password": PASSWORD});
        let user = test.client().post(USER, &body).await.expect(201).json();
        assert_eq!((&user["username"], &user["email"]), (&json!("Zaunkönig"), &json!("Zaun.Koenig@example.com")));
        for typed in [
            "Zaunkönig",
            "zaunkönig",
            "ZAUNKÖNIG",
            "Ｚaunkönig",
            "Zaunko\u{308}nig",
            " Zaunkönig\t",
            "zaun.koenig@example.com",
            "ZAUN.KOENIG@EXAMPLE.COM",
        ] {
            let mut client = test.client();
            client.take_tokens(&client.log_in(typed, PASSWORD).await.expect(200));
            assert_eq!(client.get(ME).await.expect(200).json()["id"], user["id"], "{typed}");
        }
        for typed in ["Zaunkonig", "zaun.koenig", "zaun.koenig@example.org", "Zaun könig"] {
            test.client().log_in(typed, PASSWORD).await.expect_problem(401, "bad_credentials");
        }
        test.client().log_in("Zaunkönig", &PASSWORD.to_lowercase()).await.expect_problem(401, "bad_credentials");
    }

    /// Wrong, unknown, erased and disabled look the same, to the byte.
    async fn whoever_does_not_get_in_learns_nothing_about_why(setup: Setup) {
        let test = setup.start().await;
        test.user("known").await;
        let erased = test.user("erased-one").await;
        erased.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
        let disabled = test.user("disabled-one").await;
        administration::disable(test.app(), id(&disabled)).await.expect("disabled");
        let reference = test.client().log_in("known", "not the password").await.expect_problem(401, "bad_credentials");
        assert_eq!(reference.json()["detail"], "Incorrect username or password");
        assert_eq!(reference.header("www-authenticate"), "Bearer");
        for (typed, password) in [
            ("known", ""),
            ("known", &*"x".repeat(1025)),
            ("known", &*"x".repeat(60_000)),
            ("known@example.com", "not the password"),
            ("unknown", PASSWORD),
            ("unknown@example.com", PASSWORD),
            ("", ""),
            ("no\u{0}name", PASSWORD),
            ("erased-one", PASSWORD),
            ("erased-one@example.com", PASSWORD),
            ("erased", PASSWORD),
            ("erased@erased.invalid", PASSWORD),
            ("disabled-one", PASSWORD),
            ("disabled-one@example.com", PASSWORD),
            ("disabled-one", "not the password"),
        ] {
            let answer = test.client().log_in(typed, password).await;
            assert_eq!(face(&answer), face(&reference), "{typed:?}");
        }
        test.client().log_in("known", PASSWORD).await.expect(200);
    }

    async fn the_disabled_are_out_at_once_and_in_again_when_enabled(setup: Setup) {
        let test = setup.start().await;
        let (user, other) = (test.user("user").await, test.user("other").await);
        user.create_code("AMSEL2030XYZ").await.expect(201);
        other.get("/api/v1/codes/user@example.com").await.expect(200);
        let refresh_token = user.refresh_token.clone().expect("a refresh token");

        administration::disable(test.app(), id(&user)).await.expect("disabled");
        user.get(ME).await.expect_problem(401, "invalid_token");
        user.refresh(&refresh_token).await.expect_problem(401, "invalid_refresh_token");
        user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
        other.get("/api/v1/codes/user@example.com").await.expect_problem(404, "no_active_code");
        other.register("late", Some("AMSEL2030XYZ")).await.expect_problem(404, "code_not_usable");
        other.get(ME).await.expect(200);

        administration::enable(test.app(), id(&user)).await.expect("enabled");
        user.get(ME).await.expect_problem(401, "invalid_token");
        user.refresh(&refresh_token).await.expect_problem(401, "invalid_refresh_token");
        let user = user.logged_in("user").await;
        assert_eq!(user.get(ME).await.expect(200).json()["active_code"], Value::Null);
        other.register("later", Some("AMSEL2030XYZ")).await.expect_problem(404, "code_not_usable");
    }

    /// bcrypt sees 72 bytes: what was typed behind them is not proven, and must not become part of the password.
    async fn a_long_password_is_not_changed_by_the_upgrade_of_a_bcrypt_hash(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let start = "Zaunkoenig-7".repeat(6);
        let right = format!("{start}, and the rest");
        plant(&test, &user, &bcrypt::hash(&right, 4).expect("a hash")).await;
        user.log_in("user", &format!("{start}, but another end")).await.expect(200);
        user.log_in("user", &right).await.expect(200);
    }

    /// As an import from the reference service leaves them.
    async fn a_bcrypt_hash_lets_its_owner_in_and_becomes_argon2id(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        // `$2b$` is what this library and Python's write, `$2a$` and `$2y$` what others do.
        let bcrypt = bcrypt::hash(PASSWORD, 4).expect("a hash");
        for version in ["$2b$", "$2a$", "$2y$"] {
            plant(&test, &user, &bcrypt.replacen("$2b$", version, 1)).await;
            for wrong in ["not the password", "", "Q123werty!23\u{0}", &*"x".repeat(100)] {
                user.log_in("user", wrong).await.expect_problem(401, "bad_credentials");
            }
            assert!(stored(&test, &user).await.starts_with(version), "only the right password replaces a hash");
            user.log_in("user", PASSWORD).await.expect(200);
            eventually("a better hash", || async { !stored(&test, &user).await.starts_with("$2") }).await;
            let upgraded = stored(&test, &user).await;
            assert!(upgraded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{upgraded}");
            user.log_in("user", PASSWORD).await.expect(200);
            assert_eq!(stored(&test, &user).await, upgraded);
            user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
        }
    }

    async fn weaker_argon2id_hashes_are_strengthened_at_log_in_and_stronger_ones_kept(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_HASHING_PASSES", "3")]).await;
        let user = test.user("user").await;
        assert!(stored(&test, &user).await.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"));
        for (memory_kib, passes, kept) in [(19_456, 2, false), (8192, 3, false), (19_456, 4, true), (19_457, 3, true)] {
            let planted = argon2id(memory_kib, passes).await;
            plant(&test, &user, &planted).await;
            user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
            assert_eq!(stored(&test, &user).await, planted);
            user.log_in("user", PASSWORD).await.expect(200);
            if !kept {
                eventually("a better hash", || async { stored(&test, &user).await != planted }).await;
            }
            let after = stored(&test, &user).await;
            assert_eq!(after == planted, kept, "m={memory_kib} t={passes}: {after}");
            assert!(kept || after.starts_with("$argon2id$v=19$m=19456,t=3,p=1$"), "{after}");
            user.log_in("user", PASSWORD).await.expect(200);
        }
    }

    async fn me_tells_all_about_oneself(setup: Setup) {
        let test = setup.start().await;
        let owner = test.user("owner").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        owner.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
        owner.register("friend2", Some("AMSEL2030XYZ")).await.expect(201);
        let friend = owner.logged_in("friend").await;

        let me = friend.get(ME).await.expect(200).json();
        let mut names: Vec<&str> = me.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "active_code",
                "created_at",
                "discoverable",
                "email",
                "email_verdict",
                "id",
                "referral_count",
                "referred_by",
                "roles",
                "username"
            ]
        );
        assert_eq!(
            (&me["id"], &me["email"], &me["username"]),
            (&json!(friend.id), &json!("friend@example.com"), &json!("friend"))
        );
        assert_eq!(
            (&me["roles"], &me["discoverable"], &me["email_verdict"]),
            (&json!(["user"]), &json!(true), &json!("unchecked"))
        );
        assert_eq!(me["referred_by"], json!({"id": owner.id, "username": "owner", "status": "confirmed"}));
        assert_eq!((&me["referral_count"], &me["active_code"]), (&json!(0), &Value::Null));

        let me = owner.get(ME).await.expect(200).json();
        assert_eq!((&me["referral_count"], &me["referred_by"]), (&json!(2), &Value::Null));
        let code = &me["active_code"];
        assert_eq!(
            (&code["code"], &code["is_active"], &code["user_id"]),
            (&json!("AMSEL2030XYZ"), &json!(true), &json!(owner.id))
        );
        assert_eq!(code["expires_at"], "2099-01-01T00:00:00Z");

        administration::set_manager(test.app(), id(&owner), true).await.expect("promoted");
        owner.revoke_code("AMSEL2030XYZ").await.expect(204);
        let me = owner.get(ME).await.expect(200).json();
        assert_eq!(
            (&me["roles"], &me["active_code"], &me["referral_count"]),
            (&json!(["user", "manager"]), &Value::Null, &json!(2))
        );

        let body = json!({"username": "ten-minutes", "email": "someone@mailinator.com", "password": PASSWORD});
        test.client().post(USER, &body).await.expect(201);
        let flagged = owner.logged_in("ten-minutes").await.get(ME).await.expect(200).json();
        assert_eq!(flagged["email_verdict"], "disposable");
    }

    /// A name may be the person's own address; whoever they brought sees it as others see addresses.
    async fn a_referrer_whose_name_is_their_address_is_shown_masked(setup: Setup) {
        let test = setup.start().await;
        let body = json!({"username": "owner@example.com", "email": "owner@example.com", "password": PASSWORD});
        test.client().post(USER, &body).await.expect(201);
        let owner = test.client().logged_in("owner@example.com").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        owner.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
        let friend = owner.logged_in("friend").await;
        assert_eq!(friend.get(ME).await.expect(200).json()["referred_by"]["username"], "o***@e***.com");
    }

    async fn who_does_not_want_to_be_found_is_like_nobody_to_others(setup: Setup) {
        let test = setup.start_two().await;
        let (owner, other) = (test.user("owner").await, test.user("other").await);
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        let afar = other.at(&test.nodes[1].url);
        let paths = ["/api/v1/codes/owner@example.com", "/api/v1/codes/OWNER@example.com"];
        let body = json!({"email": "owner@example.com"});
        // Once from the database and once from memory.
        for client in [&other, &other, &afar, &afar] {
            client.get(paths[0]).await.expect(200);
        }

        let me = owner.patch(ME, &json!({"discoverable": false})).await.expect(200).json();
        assert_eq!(me["discoverable"], false);
        let nobody = other.get("/api/v1/codes/nobody@example.com").await.expect_problem(404, "no_active_code");
        let nobody_in_body = other.post("/api/v1/codes/lookup", &json!({"email": "nobody@example.com"})).await;
        for _ in 0..2 {
            for path in paths {
                assert_eq!(face(&other.get(path).await), face(&nobody));
            }
            assert_eq!(face(&other.post("/api/v1/codes/lookup", &body).await), face(&nobody_in_body));
        }
        eventually("the other node follows", || async { afar.get(paths[0]).await.status == 404 }).await;
        assert_eq!(face(&afar.get(paths[0]).await), face(&nobody));
        // Oneself is never hidden from oneself, and the code still works.
        assert_eq!(owner.get(paths[0]).await.expect(200).json()["code"], "AMSEL2030XYZ");
        assert_eq!(owner.post("/api/v1/codes/lookup", &body).await.expect(200).json()["code"], "AMSEL2030XYZ");
        assert_eq!(face(&other.get(paths[0]).await), face(&nobody), "what the owner saw is not kept for others");
        other.register("friend", Some("AMSEL2030XYZ")).await.expect(201);

        owner.patch(ME, &json!({"discoverable": true})).await.expect(200);
        other.get(paths[0]).await.expect(200);
        eventually("the other node follows", || async { afar.get(paths[0]).await.status == 200 }).await;
    }

    async fn a_password_is_changed_with_the_old_one_and_ends_every_session(setup: Setup) {
        let test = setup.start_two().await;
        let user = test.user("user").await;
        let elsewhere = user.logged_in("user").await.at(&test.nodes[1].url);
        let (new, path) = ("Zaunkoenig-7", "/api/v1/me/password");
        let change = |old: &str, new: &str| json!({"current_password": old, "new_password": new});

        user.post(path, &change("not the password", new)).await.expect_problem(403, "wrong_password");
        user.post(path, &change("", new)).await.expect_problem(403, "wrong_password");
        user.post(path, &change(new, new)).await.expect_problem(403, "wrong_password");
        user.anonymous().post(path, &change(PASSWORD, new)).await.expect_problem(401, "not_authenticated");
        for (broken, sentence) in
            [("short", "at least 12"), ("iloveyou1234", "too common"), ("only-a-USER-here", "your user name")]
        {
            let problem = user.post(path, &change(PASSWORD, broken)).await.expect_problem(422, "invalid").json();
            assert_eq!(problem["errors"][0]["loc"], json!(["body", "new_password"]));
            assert!(problem["detail"].as_str().expect("a sentence").contains(sentence), "{problem}");
        }
        user.get(ME).await.expect(200);
        user.log_in("user", PASSWORD).await.expect(200);

        user.post(path, &change(PASSWORD, new)).await.expect(204);
        user.get(ME).await.expect_problem(401, "invalid_token");
        eventually("the other node follows", || async { elsewhere.get(ME).await.status == 401 }).await;
        for client in [&user, &elsewhere] {
            let refresh_token = client.refresh_token.as_ref().expect("a refresh token");
            client.refresh(refresh_token).await.expect_problem(401, "invalid_refresh_token");
        }
        user.log_in("user", PASSWORD).await.expect_problem(401, "bad_credentials");
        user.log_in("user", new).await.expect(200);
    }

    async fn an_erased_account_is_gone_and_nobodys_numbers_move(setup: Setup) {
        let test = setup.start().await;
        let owner = test.user("owner").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        owner.register("first", Some("AMSEL2030XYZ")).await.expect(201);
        owner.register("leaver", Some("AMSEL2030XYZ")).await.expect(201);
        owner.register("last", Some("AMSEL2030XYZ")).await.expect(201);
        let leaver = owner.logged_in("leaver").await;
        leaver.create_code("BUSSARD2030X").await.expect(201);
        leaver.register("friend", Some("BUSSARD2030X")).await.expect(201);
        let friend = leaver.logged_in("friend").await;
        owner.get("/api/v1/codes/leaver@example.com").await.expect(200);
        let list = format!("/api/v1/users/{}", owner.id);
        let before = owner.get(&list).await.expect(200).json();

        for wrong in ["not the password", "", PASSWORD.to_lowercase().as_str()] {
            leaver.delete_with(ME, &json!({"password": wrong})).await.expect_problem(403, "wrong_password");
        }
        leaver.delete_with(ME, &json!({})).await.expect_problem(422, "invalid");
        assert_eq!(leaver.get(ME).await.expect(200).json()["referral_count"], 1);
        leaver.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);

        leaver.get(ME).await.expect_problem(401, "invalid_token");
        leaver
            .refresh(leaver.refresh_token.as_ref().expect("a refresh token"))
            .await
            .expect_problem(401, "invalid_refresh_token");
        leaver.log_in("leaver", PASSWORD).await.expect_problem(401, "bad_credentials");
        owner.get("/api/v1/codes/leaver@example.com").await.expect_problem(404, "no_active_code");

        // The codes of the erased refer nobody, and nobody gets them.
        owner.register("late", Some("BUSSARD2030X")).await.expect_problem(404, "code_not_usable");
        let validity = owner.post("/api/v1/codes/validate", &json!({"code": "BUSSARD2030X"})).await.expect(200).json();
        assert_eq!(validity, json!({"valid": false, "username": null, "expires_at": null}));
        friend.create_code("bussard2030X").await.expect_problem(409, "code_taken");

        // Their place in the referrer's list stays, without a face.
        let mut expected = before;
        assert_eq!(expected["total"], 3);
        expected["items"][1]["username"] = json!("erased");
        expected["items"][1]["email"] = json!("erased@erased.invalid");
        assert_eq!(owner.get(&list).await.expect(200).json(), expected);
        assert_eq!(owner.get(ME).await.expect(200).json()["referral_count"], 3);
        let masked = friend.get(&list).await.expect(200).json();
        assert_eq!((&masked["total"], &masked["items"][1]["username"]), (&json!(3), &json!("erased")));

        // So does their own list, without their codes.
        let theirs = friend.get(&format!("/api/v1/users/{}", leaver.id)).await.expect(200).json();
        assert_eq!(
            (&theirs["total"], &theirs["items"][0]["id"], &theirs["items"][0]["code"]),
            (&json!(1), &json!(friend.id), &Value::Null)
        );
        let brought_by = friend.get(ME).await.expect(200).json()["referred_by"].clone();
        assert_eq!(brought_by, json!({"id": leaver.id, "username": "erased", "status": "confirmed"}));

        // Name and address are free again, for somebody who has nothing to do with the first.
        let again = test.user("leaver").await;
        assert_ne!(again.id, leaver.id);
        let me = again.get(ME).await.expect(200).json();
        assert_eq!(
            (&me["referral_count"], &me["referred_by"], &me["active_code"]),
            (&json!(0), &Value::Null, &Value::Null)
        );
        assert_eq!(again.get("/api/v1/codes").await.expect(200).json()["total"], 0);
        assert_eq!(owner.get(&list).await.expect(200).json(), expected);
    }

    /// Neither name nor address nor a chosen code: not in a row, not in the bytes of SQLite's file, not in Redis.
    /// Others come and go around the erased, so that pages of the file are split and filled again.
    async fn of_the_erased_no_trace_is_left(setup: Setup) {
        let mut test = setup.start().await;
        // Of no code's letters is O, I or L: what is stored is what is looked for.
        let traces = ["wanderfalke", "kolkrabe", "elster-domain", "bussard2030x", "habicht2030x"];
        let owner = test.user("owner").await;
        owner.create_code("AMSEL2030XYZ").await.expect(201);
        let mut leavers = Vec::new();
        for number in 0..12 {
            let name = format!("{number}-Wanderfalke-{}", "x".repeat(20));
            let address = format!("Kolkrabe.{number}.{}@elster-domain.example", "y".repeat(30));
            let body = json!({"username": name, "email": address, "password": PASSWORD, "code": "AMSEL2030XYZ"});
            owner.anonymous().post(USER, &body).await.expect(201);
            owner.register(&format!("stayer{number}"), Some("AMSEL2030XYZ")).await.expect(201);
            let leaver = owner.logged_in(&name).await;
            leaver.create_code(&format!("{number}HABICHT2030X")).await.expect(201);
            let replaced = json!({"code": format!("{number}BUSSARD2030X"), "expires_at": "2099-01-01"});
            leaver.post("/api/v1/codes?replace=true", &replaced).await.expect(201);
            owner.get(&format!("/api/v1/codes/{address}")).await.expect(200);
            leavers.push(leaver);
        }
        if let Some(redis) = test.redis.as_ref().map(|redis| redis.url()) {
            // The cache is filled beside the answer, and not at all when Redis is slow: look until it is.
            for leaver in &leavers {
                let email = Email::parse(&leaver.email).expect("an address");
                eventually("the look-up is in Redis", || async {
                    let there = redis_content(&redis).await.contains(email.key());
                    if !there {
                        test.app().codes.forget(email.key(), 0).await;
                        owner.get(&format!("/api/v1/codes/{}", leaver.email)).await.expect(200);
                    }
                    there
                })
                .await;
            }
        }
        let content = everything(&test).await;
        for trace in traces {
            assert!(content.contains(trace), "the search finds {trace} while it is there");
        }

        let mut forgotten = 0;
        for leaver in &leavers {
            leaver.delete_with(ME, &json!({"password": PASSWORD})).await.expect(204);
            if let Some(redis) = &test.redis {
                forgotten += usize::from(!redis_content(&redis.url()).await.contains(&leaver.email.to_lowercase()));
            }
        }
        if let Some(redis) = test.redis.as_ref().map(|redis| redis.url()) {
            // At once, as a rule; when Redis was too slow to be waited for, what it holds dies within a minute.
            assert!(forgotten > 0, "nothing was removed from Redis");
            eventually("Redis has forgotten", || async { !redis_content(&redis).await.contains("kolkrabe") }).await;
        }
        // Once with the node at work, once after it has stopped.
        for _ in 0..2 {
            let content = everything(&test).await;
            assert!(content.contains("stayer11@example.com"), "the search finds those who stay");
            for trace in traces {
                assert!(!content.contains(trace), "{trace} is still there");
            }
            test.nodes.clear();
        }
    }

    /// RFC 6750: whoever sends no token is asked for one, whoever sends a bad one is told so.
    async fn every_refusal_of_a_caller_names_its_reason_as_the_standard_has_it(setup: Setup) {
        let test = setup.start().await;
        let user = test.user("user").await;
        let mut forger = test.client();
        forger.token = Some("e30.e30.e30".to_owned());
        let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
        let mut guarded = Vec::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, operation) in item.as_object().expect("operations") {
                // What asks for a client instead has answers of its own.
                let security = operation["security"].as_array().expect("each operation says what it asks for");
                if security.iter().any(|one| one.get("bearer").is_some()) {
                    let path = path.replace("{referrer_id}", &user.id).replace("{code}", "owner@example.com");
                    let path = path.replace("{client_id}", "nobody");
                    guarded.push((method.to_uppercase().parse::<Method>().expect("a method"), path));
                }
            }
        }
        assert!(guarded.len() >= 12, "{guarded:?}");
        for (method, path) in guarded {
            let none = test.client().send(test.client().request(method.clone(), &path)).await;
            let none = none.expect_problem(401, "not_authenticated");
            assert_eq!(none.header("www-authenticate"), "Bearer", "{method} {path}");
            assert_eq!(none.json()["detail"], "Not authenticated");
            let bad = forger.send(forger.request(method.clone(), &path)).await.expect_problem(401, "invalid_token");
            assert_eq!(bad.header("www-authenticate"), "Bearer error=\"invalid_token\"", "{method} {path}");
            assert_eq!(bad.json()["detail"], "Could not validate credentials");
        }
        let answer = user.log_in("user", "not the password").await.expect_problem(401, "bad_credentials");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let answer = user.refresh("rt_nonsense").await.expect_problem(401, "invalid_refresh_token");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        // Who is known and not allowed is not asked to authenticate again.
        let answer = user.delete_with(ME, &json!({"password": "no"})).await.expect_problem(403, "wrong_password");
        assert_eq!(answer.header("www-authenticate"), "");
    }

    async fn the_sixth_log_in_of_an_account_in_a_row_is_one_too_many(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
        let (user, other) = (test.user("user").await, test.user("other").await);
        let wrong = spend(5, async |_| user.log_in("nobody", "not the password").await).await;
        assert_eq!(wrong.json()["detail"], "Too many requests; try again later");
        // One was used when the account was made; the right password does not help when the budget is spent.
        spend_from(1, 5, async |_| user.log_in("user", PASSWORD).await).await;
        other.log_in("other", PASSWORD).await.expect(200);
        user.get(ME).await.expect(200);
    }

    /// A name has one budget however it is spelled. Its owner's address has another: were it the same, a spent budget
    /// would tell everybody whose address belongs to which name.
    async fn a_spent_budget_tells_nothing_but_the_name_it_was_spent_on(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
        test.client().register("user", None).await.expect(201);
        for spellings in [
            ["user", "USER", "ｕser"],
            ["user@example.com", "User@Example.com", "USER@EXAMPLE.COM"],
            ["nobody", "Nobody", "NOBODY"],
        ] {
            let guess = async |turn: usize| test.client().log_in(spellings[turn % 3], "not the password").await;
            spend(5, guess).await;
        }
    }

    /// Who guesses locks out nobody but themselves.
    async fn a_budget_of_log_ins_is_spent_for_one_client_alone(setup: Setup) {
        let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")];
        let test = setup.start_with(&settings).await;
        let user = test.user("user").await;
        let log_in = async |client: &str, password: &str| {
            let body = json!({"username": "user", "password": password}).to_string();
            let stranger = user.anonymous();
            stranger.send(stranger.request(Method::POST, TOKEN).header("x-forwarded-for", client).body(body)).await
        };
        spend(5, async |_| log_in("198.51.100.1", "not the password").await).await;
        log_in("198.51.100.2", PASSWORD).await.expect(200);
    }

    async fn guesses_at_the_password_under_me_are_limited_too(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
        let (user, other) = (test.user("user").await, test.user("other").await);
        // One budget for both ways to guess.
        let guess = async |turn: usize| match turn % 2 {
            0 => user.delete_with(ME, &json!({"password": "a guess"})).await,
            _ => {
                user.post(
                    "/api/v1/me/password",
                    &json!({"current_password": "a guess", "new_password": "Zaunkoenig-7"}),
                )
                .await
            }
        };
        spend(5, guess).await;
        let change = json!({"current_password": PASSWORD, "new_password": "Zaunkoenig-7"});
        other.post("/api/v1/me/password", &change).await.expect(204);
    }

    /// Ids are no secret: whoever tries one for a name does not spend what its owner has, and learns nothing by it.
    async fn guesses_at_a_name_that_is_somebodys_id_cost_that_person_nothing(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
        let user = test.user("user").await;
        spend(5, async |_| user.log_in(&user.id, "not the password").await).await;
        user.log_in("user", PASSWORD).await.expect(200);
        user.delete_with(ME, &json!({"password": "not the password"})).await.expect_problem(403, "wrong_password");
    }

    async fn look_ups_are_limited_for_each_user(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_LOOKUPS_PER_USER", "3")]).await;
        let (user, other) = (test.user("user").await, test.user("other").await);
        // One budget for both ways to look, for hits and misses.
        let look = async |turn: usize| match turn % 2 {
            0 => user.get("/api/v1/codes/nobody@example.com").await,
            _ => user.post("/api/v1/codes/lookup", &json!({"email": "somebody@example.com"})).await,
        };
        spend(3, look).await;
        other.get("/api/v1/codes/nobody@example.com").await.expect_problem(404, "no_active_code");
        user.get("/api/v1/codes").await.expect(200);
    }

    async fn validations_and_registrations_are_limited_for_each_address(setup: Setup) {
        let settings = [
            ("REFERRAL_LIMITS", "on"),
            ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "3"),
            ("REFERRAL_LIMITS_REGISTRATIONS_PER_ADDRESS", "2"),
        ];
        let test = setup.start_with(&settings).await;
        spend(3, async |_| validate(&test, &[]).await).await;
        // Also those that are refused count: else they would be free guesses at names.
        spend(2, async |_| test.client().post(USER, &json!({})).await).await;
        test.client().log_in("nobody", PASSWORD).await.expect_problem(401, "bad_credentials");
    }

    async fn a_client_is_who_the_connection_comes_from_unless_a_trusted_proxy_says_otherwise(setup: Setup) {
        let limits = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2")];
        let test = setup.start_with(&limits).await;
        // Nobody is trusted: whatever they claim, all come from here.
        spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}")]).await).await;

        let proxied = [&limits[..], &[("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")]].concat();
        let test = setup.start_with(&proxied).await;
        for client in 0..5 {
            validate(&test, &[&format!("198.51.100.{client}")]).await.expect(200);
        }
        // What stands left of the address that the proxy has added is the client's own invention.
        let forged = |turn: usize| match turn % 4 {
            0 => "203.0.113.1".to_owned(),
            1 => format!("198.51.100.{turn}, 203.0.113.1"),
            2 => format!("127.0.0.1, 10.0.0.{turn}, 203.0.113.1"),
            _ => format!("198.51.100.{turn}, 203.0.113.1, 127.0.0.1"),
        };
        spend(2, async |turn| validate(&test, &[&forged(turn)]).await).await;
        // Also when the proxy adds a line of its own.
        spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}"), "203.0.113.2"]).await).await;
        // Who has one IPv6 address has its network of 64 bits.
        spend(2, async |turn| validate(&test, &[&format!("2001:db8::{turn}")]).await).await;
        validate(&test, &["2001:db8:0:1::1"]).await.expect(200);
        validate(&test, &[]).await.expect(200);
    }

    /// A proxy may add what is no address (`unknown`, one with a port): then what the client wrote before it is not
    /// believed in its stead.
    async fn an_address_left_of_an_unreadable_one_is_not_believed(setup: Setup) {
        let settings = [
            ("REFERRAL_LIMITS", "on"),
            ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2"),
            ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1"),
        ];
        let test = setup.start_with(&settings).await;
        spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}, unknown")]).await).await;
    }

    /// What is on the right of it was written by the proxy, and counts.
    async fn bytes_that_are_no_text_take_nothing_from_what_the_proxy_says(setup: Setup) {
        let settings = [
            ("REFERRAL_LIMITS", "on"),
            ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2"),
            ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1"),
        ];
        let test = setup.start_with(&settings).await;
        let ask = async |before: &str, client: &str| {
            let said = [before.as_bytes(), b"\xff\xfe, ", client.as_bytes()].concat();
            let said = reqwest::header::HeaderValue::from_bytes(&said).expect("a value that may be sent");
            let asker = test.client();
            let request = asker.request(Method::POST, "/api/v1/codes/validate").header("x-forwarded-for", said);
            asker.send(request.body(r#"{"code": "AMSEL2030XYZ"}"#)).await
        };
        spend(2, async |turn| ask(&format!("198.51.100.{turn}, "), "203.0.113.1").await).await;
        // Others have not paid for it, the proxy itself neither.
        ask("", "203.0.113.2").await.expect(200);
        validate(&test, &[]).await.expect(200);
    }

    async fn log_ins_beyond_the_queue_are_told_to_come_back_and_hold_nobody_else_up(setup: Setup) {
        let test = setup.start_with(&[("REFERRAL_HASHING_QUEUE", "1"), ("REFERRAL_HASHING_THREADS", "1")]).await;
        let user = test.user("user").await;
        let client = test.client();
        let (over, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let reads = tokio::spawn({
            let (user, client, over, rounds) = (user.clone(), client.clone(), over.clone(), rounds.clone());
            async move {
                while !over.load(Ordering::Relaxed) {
                    client.get("/readyz").await.expect(200);
                    user.get("/api/v1/codes").await.expect(200);
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let began = Instant::now();
        let (mut let_in, mut turned_away) = (0, 0);
        // A round is as a rule enough; who says how fast a machine hashes?
        while turned_away == 0 || let_in == 0 || rounds.load(Ordering::Relaxed) < 5 {
            assert!(began.elapsed().as_secs() < 60, "{let_in} let in, {turned_away} turned away");
            assert!(!reads.is_finished(), "a read was not answered as it should be");
            let body = json!({"username": "user", "password": PASSWORD});
            let asked = (0..40).map(|_| client.post(TOKEN, &body));
            for answer in futures_util::future::join_all(asked).await {
                if answer.status == 503 {
                    let answer = answer.expect_problem(503, "overloaded");
                    assert!(answer.header("retry-after").parse::<u64>().expect("seconds") >= 1);
                    turned_away += 1;
                } else {
                    answer.expect(200);
                    let_in += 1;
                }
            }
        }
        over.store(true, Ordering::Relaxed);
        reads.await.expect("every read was answered");
        // Nothing stays behind: the next one gets in.
        user.log_in("user", PASSWORD).await.expect(200);
    }
}

/// A registration that is fine, of somebody whose name, address and host are three words.
fn newcomer() -> Value {
    json!({"username": "newcomer", "email": "somebody@postbox.example", "password": PASSWORD})
}

/// Each a field of [`newcomer`] with a fault, with the status and a part of the sentence it is refused with.
fn broken_registrations() -> Vec<(&'static str, String, u16, &'static str)> {
    let invalid = "The value is not a valid e-mail address";
    let domain = "The domain of the e-mail address is not valid";
    let letters = "A user name holds only letters, digits and . @ + - _";
    let own = "A user name that is an e-mail address must be your own address";
    let much = "A password has at most 128 characters and 1024 bytes";
    let common = "This password is too common";
    let long_address = format!("{}@{}.{}.com", "a".repeat(60), "b".repeat(63), "c".repeat(22));
    let faults: Vec<(&'static str, &str, u16, &'static str)> = vec![
        ("email", &long_address, 422, "An e-mail address has at most 150 characters"),
        ("email", "", 422, "An e-mail address must have an @-sign"),
        ("email", "somebody", 422, "An e-mail address must have an @-sign"),
        ("email", "@postbox.example", 422, invalid),
        ("email", "somebody@", 422, domain),
        ("email", "somebody@localhost", 422, invalid),
        ("email", "some body@postbox.example", 422, invalid),
        ("email", "somebody@@postbox.example", 422, invalid),
        ("email", "some..body@postbox.example", 422, invalid),
        ("email", "somebody@post box.example", 422, domain),
        ("email", "somebody@-postbox.example", 422, domain),
        ("email", "somebody@[127.0.0.1]", 422, domain),
        ("email", "\"some body\"@postbox.example", 422, invalid),
        ("email", "Somebody <somebody@postbox.example>", 422, invalid),
        ("email", "some\u{0}body@postbox.example", 422, invalid),
        ("email", "somebody\n@postbox.example", 422, invalid),
        ("email", "some\u{7f}body@postbox.example", 422, invalid),
        ("email", "some\u{202e}body@postbox.example", 422, "An e-mail address has no invisible characters"),
        ("email", "somebody@post\u{0}box.example", 422, domain),
        ("email", "somebody@postbox.example\r\nx", 422, domain),
        ("email", "taken@example.com", 409, "Email already registered"),
        ("email", "TAKEN@Example.com", 409, "Email already registered"),
        ("username", "", 422, "A user name cannot be empty"),
        (
            "username",
            "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu",
            422,
            "A user name has at most 50 characters",
        ),
        // One character that stands for eighteen.
        ("username", "\u{fdfa}\u{fdfa}\u{fdfa}", 422, "A user name"),
        ("username", "new comer", 422, letters),
        ("username", "new/comer", 422, letters),
        ("username", "<newcomer>", 422, letters),
        ("username", "new\u{0}comer", 422, letters),
        ("username", "new\tcomer", 422, letters),
        ("username", "new\u{200b}comer", 422, "A user name has no invisible characters"),
        ("username", "new\u{202e}comer", 422, "A user name has no invisible characters"),
        ("username", "taken@example.com", 422, own),
        ("username", "stranger@example.org", 422, own),
        ("username", "taken", 409, "Username already taken"),
        ("username", "TAKEN", 409, "Username already taken"),
        ("password", "", 422, "A password has at least 12 characters"),
        ("password", "Q123werty!2", 422, "A password has at least 12 characters"),
        ("password", "ILoveYou1234", 422, common),
        ("password", "aaaaaaaaaaaaaaaa", 422, common),
        ("password", "qwertyuiopasdf", 422, common),
        ("password", "the-NEWCOMER-is-here", 422, "A password must not hold your user name"),
        ("password", "a-Somebody-is-here", 422, "A password must not hold your e-mail address"),
        ("password", "a-PostBox-is-here", 422, "A password must not hold your e-mail address"),
        ("password", "a-REFERRAL-is-here", 422, "A password must not hold the name of this service"),
        ("code", "AMSEL2031XYZ", 404, "Referral code not found or expired"),
        ("code", "nonsense", 404, "Referral code not found or expired"),
        ("code", "", 404, "Referral code not found or expired"),
        ("code", "AMSEL2030XYZ\u{0}", 404, "Referral code not found or expired"),
    ];
    let mut faults: Vec<_> =
        faults.into_iter().map(|(field, value, status, says)| (field, value.to_owned(), status, says)).collect();
    // One more than is taken: of plain characters, and of the widest there are.
    faults.push(("password", "Zaunkoenig-7".repeat(10) + "Amsel-881", 422, much));
    faults.push(("password", "𝄞𝄢𝄡𝄪𝄫".repeat(52), 422, much));
    faults
}

fn id(user: &Client) -> UserId {
    UserId::parse(&user.id).expect("an id")
}

/// What a registration adds to, counted.
async fn rows(test: &TestApp) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["users", "logins", "referrals", "jobs", "code_strings", "changes", "token_families"] {
        counts.push(test.number(&format!("select count(*) from {table}")).await);
    }
    counts
}

/// All that a caller could tell one answer from another by, without what names the request.
fn face(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let instance = answer.json()["instance"].as_str().expect("an instance").to_owned();
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().expect("a plain header").to_owned()))
        .collect();
    headers.sort();
    (answer.status, headers, answer.text.replace(&instance, ""))
}

async fn stored(test: &TestApp, user: &Client) -> String {
    let rows = test.query(&format!("select password_hash from users where username = '{}'", user.username)).await;
    rows[0][0].clone().expect("a hash")
}

/// On PostgreSQL, where each writer has a connection in its hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hash_is_strengthened_in_the_line_of_its_user() {
    let test = Setup::Postgres.start().await;
    let user = test.user("user").await;
    let weak = argon2id(8192, 2).await;
    plant(&test, &user, &weak).await;
    // A log-in goes on beside this, a change of the row does not.
    let gate = test.beside().await;
    gate.batch_execute("begin; select 1 from users where username = 'user' for share").await.expect("it is held");
    user.log_in("user", PASSWORD).await.expect(200);
    eventually("the new hash waits to be written", || async { test.waiting().await == 1 }).await;
    let another = test.app().turns.take(Key::User(id(&user).0));
    assert!(another.now_or_never().is_none(), "the next who writes the user's rows waits without a connection");
    gate.batch_execute("commit").await.expect("it is let go");
    eventually("a better hash", || async { stored(&test, &user).await != weak }).await;
}

async fn plant(test: &TestApp, user: &Client, hash: &str) {
    test.sql(&format!("update users set password_hash = '{hash}' where username = '{}'", user.username)).await;
    assert_eq!(stored(test, user).await, hash);
}

/// A hash of [`PASSWORD`] with other parameters than the service's.
async fn argon2id(memory_kib: u32, passes: u32) -> String {
    let hasher = Hasher::start(&Hashing { memory_kib, passes, threads: 1, queue: 1 }).expect("a hasher");
    hasher.hash(PASSWORD, [7; 16]).await.expect("a hash")
}

/// All that is kept anywhere, as text in small letters: each column of each table, as it is and (bytes) in
/// hexadecimal; SQLite's file itself; Redis.
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
            let value = row[0].clone().unwrap_or_default();
            let bytes: Vec<u8> = hex(value.trim_start_matches("\\x")).unwrap_or_default();
            content += &format!("{table}.{column}: {value} {}\n", String::from_utf8_lossy(&bytes));
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
    if let Some(redis) = &test.redis {
        content += &redis_content(&redis.url()).await;
    }
    content.to_lowercase()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    Some(digits?.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

async fn redis_content(url: &str) -> String {
    let client = redis::Client::open(url).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("Redis");
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.expect("keys");
    let mut content = String::new();
    for key in keys {
        // Whatever its kind is; it may expire between the two questions.
        let value: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query_async(&mut connection).await.expect("a text");
        content += &String::from_utf8_lossy(&key);
        content += &String::from_utf8_lossy(&value.unwrap_or_default());
    }
    content.to_lowercase()
}

async fn validate(test: &TestApp, forwarded_for: &[&str]) -> Answer {
    let client = test.client();
    let mut request = client.request(Method::POST, "/api/v1/codes/validate").body(r#"{"code": "AMSEL2030XYZ"}"#);
    for line in forwarded_for {
        request = request.header("x-forwarded-for", *line);
    }
    client.send(request).await
}

/// Asks until the budget of so many a minute is spent, and gives the refusal.
pub async fn spend(per_minute: usize, ask: impl AsyncFn(usize) -> Answer) -> Answer {
    spend_from(0, per_minute, ask).await
}

/// As [`spend`], when so much of the budget was spent before. The budget fills again while we ask, so what is let
/// through is held against the time it took: on no machine does the clock decide.
async fn spend_from(spent: usize, per_minute: usize, ask: impl AsyncFn(usize) -> Answer) -> Answer {
    let began = Instant::now();
    for turn in 0.. {
        let answer = ask(turn).await;
        if answer.status == 429 {
            assert!(turn + spent >= per_minute, "refused after {turn}");
            let answer = answer.expect_problem(429, "rate_limited");
            let seconds: u64 = answer.header("retry-after").parse().expect("seconds");
            assert!((1..=60).contains(&seconds), "{seconds}");
            return answer;
        }
        let refilled = began.elapsed().as_secs_f64() * per_minute as f64 / 60.0;
        assert!((turn + 1) as f64 <= per_minute as f64 + refilled, "{} were let through", turn + 1);
    }
    unreachable!("the loop ends by returning")
}
