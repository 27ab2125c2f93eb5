//! One participant at a time.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::host::{PARTICIPANTS, host_of, host_with};

on_every_setup!(a_participant_is_made_with_a_code_and_a_referral_that_counts_at_once);
async fn a_participant_is_made_with_a_code_and_a_referral_that_counts_at_once(setup: Setup) {
    let mut test = setup.start().await;
    let manager = test.manager("manager").await;
    // Where registrations wait for a verdict, participants do not: the host vouches for them.
    let node = test.add_node_with(&[("HUNTER_API_KEY", "x"), ("REFERRAL_EMAIL_CHECK", "block")]).await.url.clone();
    let host = host_of(&manager).await.at(&node);
    let olga = host.tell("olga 1", json!({"name": "Olga"})).await.expect(201).json();
    let code = olga["code"].as_str().expect("a code of their own").to_owned();
    let handle = olga["handle"].as_str().expect("a handle").to_owned();
    let expected = json!({
        "handle": handle, "link": format!("http://referral.test/r/{handle}"),
        "qr": format!("http://referral.test/r/{handle}/qr.svg"), "texts": olga["texts"],
        "id": olga["id"], "external_id": "olga 1", "email": null, "name": "Olga", "language": null, "code": code,
        "referred_by": null, "referral_status": null,
    });
    assert_eq!(olga, expected);
    let ivan = json!({"email": "ivan@example.com", "language": "pt-BR", "code": code.to_lowercase()});
    let ivan = host.tell("ivan", ivan).await.expect(201).json();
    assert_eq!(ivan["referred_by"], json!({"id": olga["id"]}));
    assert_eq!(ivan["referral_status"], "confirmed");
    assert_eq!((&ivan["email"], &ivan["language"]), (&json!("ivan@example.com"), &json!("pt-BR")));
    assert_ne!(ivan["code"], olga["code"]);
    assert_eq!(test.number("select count(*) from jobs where kind = 'check_email'").await, 0, "nobody is asked");
    assert_eq!(test.number("select count(*) from codes where by_service").await, 2);
    // A name of their own, and their address where there is one; in the table of people an absent one is ''.
    let logins = "select count(*) from logins l join users u on u.id = l.user_id where u.external_id is not null";
    assert_eq!(test.number(logins).await, 3);
    assert_eq!(test.number("select count(*) from users where email = '' and email_key = ''").await, 1);
    // Everybody who may read sees the same.
    for reader in [&manager, &host] {
        assert_eq!(reader.get(&format!("{PARTICIPANTS}/ivan")).await.expect(200).json(), ivan);
        assert_eq!(reader.get(&format!("{PARTICIPANTS}/olga%201")).await.expect(200).json(), olga);
    }
    // Sent again nothing changes.
    let rows = "select count(*) from users union all select count(*) from codes union all select count(*) from changes";
    let before = test.query(rows).await;
    let again = host.tell("ivan", json!({"email": "ivan@example.com", "code": code})).await.expect(200).json();
    assert_eq!(again, ivan);
    assert_eq!(host.tell("ivan", json!({})).await.expect(200).json(), ivan);
    assert_eq!(test.query(rows).await, before);
}

on_every_setup!(how_somebody_came_is_settled_when_they_are_made);
async fn how_somebody_came_is_settled_when_they_are_made(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let code_of = async |external: &str| {
        let made = host.tell(external, json!({})).await;
        made.json()["code"].as_str().expect("a code").to_owned()
    };
    let (olga, anna) = (code_of("olga").await, code_of("anna").await);
    // What is no good makes nobody.
    for bad in ["AMSEL2099XYZ", "no code", ""] {
        host.tell("ivan", json!({"code": bad})).await.expect_problem(404, "code_not_usable");
    }
    host.get(&format!("{PARTICIPANTS}/ivan")).await.expect_problem(404, "participant_not_found");
    assert_eq!(test.number("select count(*) from users").await, 3, "with the manager");
    host.tell("ivan", json!({"code": olga})).await.expect(201);
    host.tell("ivan", json!({"code": format!(" {}.", olga.to_lowercase())})).await.expect(200);
    for other in [anna.as_str(), "AMSEL2099XYZ", "no code"] {
        host.tell("ivan", json!({"code": other, "name": "X"})).await.expect_problem(409, "already_joined");
    }
    assert_eq!(
        host.get(&format!("{PARTICIPANTS}/ivan")).await.json()["name"],
        Value::Null,
        "nothing of it was written"
    );
    // Who came with nobody's stays so.
    host.tell("anna", json!({"code": olga})).await.expect_problem(409, "already_joined");
    // The same code goes on being the same once it is dead.
    host.post(&format!("{PARTICIPANTS}/olga/code"), &json!({})).await.expect(200);
    host.tell("ivan", json!({"code": olga})).await.expect(200);
    host.tell("new", json!({"code": olga})).await.expect_problem(404, "code_not_usable");
    // Nobody comes with their own.
    assert_eq!(test.number("select count(*) from referrals").await, 1);
}

on_every_setup!(what_is_left_out_stays_and_what_is_empty_goes);
async fn what_is_left_out_stays_and_what_is_empty_goes(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    test.user("ivan").await;
    let whole = json!({"email": "Olga@Example.com", "name": "Olga", "language": "en"});
    let made = host.tell("olga", whole).await.expect(201).json();
    assert_eq!(made["email"], "Olga@example.com");
    let told = async |body: Value| host.tell("olga", body).await.expect(200).json();
    assert_eq!(told(json!({"name": null, "email": null, "language": null})).await, made);
    assert_eq!(told(json!({"name": "Olga P."})).await["email"], "Olga@example.com");
    // The address that was hers is free again, and the one that is hers is nobody else's.
    assert_eq!(told(json!({"email": "olga@new.example"})).await["name"], "Olga P.");
    host.tell("anna", json!({"email": "OLGA@new.example"})).await.expect_problem(409, "email_taken");
    host.tell("anna", json!({"email": "olga@example.com"})).await.expect(201);
    host.tell("olga", json!({"email": "ivan@example.com", "name": "X"})).await.expect_problem(409, "email_taken");
    host.tell("new", json!({"email": "ivan@example.com"})).await.expect_problem(409, "email_taken");
    let emptied = told(json!({"email": "", "name": "", "language": ""})).await;
    for field in ["email", "name", "language"] {
        assert_eq!(emptied[field], Value::Null, "{field}");
    }
    host.tell("boris", json!({"email": ""})).await.expect(201);
    assert_eq!(test.number("select count(*) from users where email_key = '' and external_id is not null").await, 2);
    for (field, wrong) in [
        ("email", json!("no address")),
        ("name", json!("a\u{202e}b")),
        ("name", json!("x".repeat(101))),
        ("language", json!("english")),
        ("verified", json!("yes")),
        ("code", json!(7)),
        ("verified", json!(true)),
    ] {
        let mut body = json!({});
        body[field] = wrong.clone();
        let answer = host.tell("olga", body).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], json!(["body", field]), "{wrong}");
    }
    for bad in ["%00", &"x".repeat(129)] {
        let answer = host.tell(bad, json!({})).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], json!(["path", "external_id"]));
    }
    // Opaque: whatever it is, it is kept, and no two are one.
    for (path, external) in [("A", "A"), ("a", "a"), ("a%2Fb", "a/b"), ("%D1%8F%20%0A", "я \n"), ("a%20", "a ")] {
        let made = host.tell(path, json!({})).await.expect(201).json();
        assert_eq!(made["external_id"], json!(external));
        assert_eq!(host.get(&format!("{PARTICIPANTS}/{path}")).await.expect(200).json(), made);
    }
}

on_every_setup!(nobody_finds_a_participant_by_their_address_who_has_not_said_so);
async fn nobody_finds_a_participant_by_their_address_who_has_not_said_so(setup: Setup) {
    let test = setup.start().await;
    let host = host_of(&test.manager("manager").await).await;
    let other = test.user("other").await;
    let code = other.create_code("SPRING2030AB").await.expect(201).json();
    other.get("/api/v1/codes/other@example.com").await.expect(200);
    let told = |name: &str| json!({"external_id": name, "email": format!("{name}@example.com"), "code": code["code"]});
    host.tell("one", told("one")).await.expect(201);
    host.tell_all(json!([told("two"), {"external_id": "three", "email": "three@example.com"}])).await;
    for name in ["one", "two", "three"] {
        other.get(&format!("/api/v1/codes/{name}@example.com")).await.expect(404);
    }
}

on_every_setup!(an_address_is_dated_as_proven_by_clients_whose_word_is_taken);
async fn an_address_is_dated_as_proven_by_clients_whose_word_is_taken(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let (registered, host) = host_with(&manager, json!({"trusts_addresses": true})).await;
    let proven = async || test.number("select count(*) from users where email_proven_at is not null").await;
    host.tell("olga", json!({"email": "olga@example.com"})).await.expect(201);
    assert_eq!(proven().await, 0);
    host.tell("olga", json!({"verified": true})).await.expect(200);
    assert_eq!(proven().await, 1);
    // Another address has another proof.
    host.tell("olga", json!({"email": "olga@new.example"})).await.expect(200);
    assert_eq!(proven().await, 0);
    host.tell("olga", json!({"email": "olga@newer.example", "verified": true})).await.expect(200);
    assert_eq!(proven().await, 1);
    host.tell("ivan", json!({"verified": true})).await.expect(201);
    host.tell("olga", json!({"email": "", "verified": true})).await.expect(200);
    assert_eq!(proven().await, 0, "there is nothing to prove");
    host.tell("anna", json!({"email": "anna@example.com", "verified": true})).await.expect(201);
    assert_eq!(proven().await, 1);
    // The same one in another spelling has the same proof.
    host.tell("anna", json!({"email": "Anna@Example.com"})).await.expect(200);
    assert_eq!(proven().await, 1);
    // Its word is taken until it is not.
    let path = format!("/api/v1/clients/{}", registered.id);
    let changed = manager.patch(&path, &json!({"trusts_addresses": false})).await.expect(200).json();
    assert_eq!(changed["trusts_addresses"], json!(false));
    host.tell("anna", json!({"verified": true})).await.expect_problem(422, "invalid");
    let results = host.tell_all(json!([{"external_id": "anna", "verified": true}, {"external_id": "olga"}])).await;
    assert_eq!(results.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [422, 200]);
    let reading = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": [],
        "name": "Reader", "confidential": true, "trusts_addresses": true});
    manager.post("/api/v1/clients", &reading).await.expect_problem(422, "invalid");
}

on_every_setup!(calls_are_counted_by_client_and_not_by_address);
async fn calls_are_counted_by_client_and_not_by_address(setup: Setup) {
    let limits = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_REGISTRATIONS_PER_ADDRESS", "1")];
    let mut test = setup.start_with(&limits).await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    // The second registration from one address within a minute is too many, the fortieth participant is not.
    test.client().register("one", None).await.expect_problem(429, "rate_limited");
    for number in 0..40 {
        host.tell(&number.to_string(), json!({})).await.expect(201);
    }
    let few = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_CALLS_PER_CLIENT", "1")];
    let node = test.add_node_with(&few).await.url.clone();
    let (host, other) = (host.at(&node), host_of(&manager).await.at(&node));
    for number in 0..3 {
        host.tell(&number.to_string(), json!({})).await.expect(200);
    }
    let limited = host.tell("0", json!({})).await.expect_problem(429, "rate_limited");
    assert!(limited.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=3).contains(&seconds)));
    other.tell("0", json!({})).await.expect(200);
    host.get(&format!("{PARTICIPANTS}/0")).await.expect(200);
}

on_every_setup!(participants_are_listed_in_parts_oldest_first);
async fn participants_are_listed_in_parts_oldest_first(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let host = host_of(&manager).await;
    test.user("nobody").await;
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(host.tell(&format!("p{number}"), json!({"name": format!("N{number}")})).await.expect(201).json());
    }
    host.delete(&format!("{PARTICIPANTS}/p3")).await.expect(204);
    made.remove(3);
    for reader in [&manager, &host] {
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        loop {
            let part = reader.get(&format!("{PARTICIPANTS}?size=2{cursor}")).await.expect(200).json();
            assert_eq!((&part["size"], &part["total"]), (&json!(2), &Value::Null));
            listed.extend(part["items"].as_array().expect("items").clone());
            let Some(next) = part["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(listed, made);
    }
    assert_eq!(host.get(PARTICIPANTS).await.expect(200).json()["items"], json!(made));
    for (query, field) in [("size=0", "size"), ("size=101", "size"), ("size=x", "size"), ("cursor=x", "cursor")] {
        let answer = host.get(&format!("{PARTICIPANTS}?{query}")).await.expect_problem(422, "invalid").json();
        assert_eq!(answer["errors"][0]["loc"], json!(["query", field]));
    }
}
