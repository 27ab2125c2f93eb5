//! Managers find people.

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;

const SEARCH: &str = "/api/v1/users/search";

async fn found(manager: &Client, search: &Value) -> (Vec<String>, Value) {
    let part = manager.post(SEARCH, search).await.expect(200).json();
    let name = |item: &Value| item["username"].as_str().expect("a name").to_owned();
    (part["items"].as_array().expect("a list").iter().map(name).collect(), part["next_cursor"].clone())
}

on_every_setup!(people_are_found_by_the_beginning_of_a_name_or_an_address_or_by_id);
async fn people_are_found_by_the_beginning_of_a_name_or_an_address_or_by_id(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    for (name, address) in [
        ("Olga", "z-olga@example.com"),
        ("olga-2", "olga-2@example.com"),
        ("other", "olga.b@example.com"),
        ("ol", "ol@example.com"),
        ("Ёлка", "yolka@example.com"),
        ("o%", "percent@example.com"),
    ] {
        let body = json!({"username": name, "email": address, "password": "Q123werty!23"});
        let answer = test.client().post("/api/v1/auth/user", &body).await;
        assert!(answer.status == 201 || name == "o%", "{answer:?}");
    }
    let by = async |text: &str| found(&manager, &json!({"q": text})).await.0;
    // In the order of what was found; once, though both may begin so.
    assert_eq!(by("OLG").await, ["Olga", "olga-2", "other"]);
    assert_eq!(by("ol").await, ["ol", "Olga", "olga-2", "other"]);
    assert_eq!(by("olga.b@EX").await, ["other"]);
    assert_eq!(by("z-").await, ["Olga"]);
    assert_eq!(by("ёл").await, ["Ёлка"]);
    assert_eq!(by("ｏｌｇａ－").await, ["olga-2"]);
    for nobody in ["lga", "%", "_", "olga-2@example.com.", "ol ga", "\u{10ffff}", "'", "\\"] {
        assert_eq!(by(nobody).await, Vec::<String>::new(), "{nobody}");
    }
    for id in [manager.id.clone(), manager.id.replace('-', "").to_uppercase()] {
        assert_eq!(by(&id).await, ["manager"]);
    }
    assert_eq!(by(manager.id.trim_end_matches(char::is_alphanumeric)).await, Vec::<String>::new());
    assert_eq!(found(&manager, &json!({"q": manager.id, "manager": false})).await.0, Vec::<String>::new());

    let item = manager.post(SEARCH, &json!({"q": "olga-2"})).await.expect(200).json()["items"][0].clone();
    let shown = ["email", "state", "roles", "email_verdict"].map(|name| item[name].clone());
    assert_eq!(shown, [json!("olga-2@example.com"), json!("active"), json!(["user"]), json!("unchecked")]);
    for (search, field) in [
        (json!({"q": 1}), "q"),
        (json!({"q": "x".repeat(151)}), "q"),
        (json!({"q": "a\0b"}), "q"),
        (json!({"state": "gone"}), "state"),
        (json!({"cursor": "azoA"}), "cursor"),
        (json!({"verdict": "good"}), "verdict"),
        (json!({"manager": "yes"}), "manager"),
        (json!({"cursor": "nonsense"}), "cursor"),
    ] {
        let problem = manager.post(SEARCH, &search).await.expect_problem(422, "invalid");
        assert_eq!(problem.json()["errors"][0]["loc"], json!(["body", field]));
    }
}

on_every_setup!(a_list_of_people_is_walked_through_and_filtered);
async fn a_list_of_people_is_walked_through_and_filtered(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let mut names = vec!["manager".to_owned()];
    for number in 0..12 {
        let name = format!("person-{number:02}");
        test.client().register(&name, None).await.expect(201);
        names.push(name);
    }
    // So many that there are three parts: by SQL, for hashing takes its time.
    let uuid = match setup {
        Setup::Sqlite => "unhex(printf('%032x', n))",
        _ => "lpad(to_hex(n), 32, '0')::uuid",
    };
    let numbers = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 100)";
    let people = format!(
        "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable, \
         email_verdict) {numbers} select {uuid}, 'crowd-' || n, 'crowd-' || n || '@x.example', 'crowd-' || n, \
         'crowd-' || n || '@x.example', n, false, true, 'valid' from numbers"
    );
    test.sql(&people.replace("$", "")).await;
    test.sql("insert into logins select name_key, id from users where name_key like 'crowd-%'").await;
    test.sql("insert into logins select email_key, id from users where name_key like 'crowd-%'").await;

    let walk = async |search: Value| {
        let (mut all, mut search, mut parts) = (Vec::new(), search, 0);
        loop {
            let (part, next) = found(&manager, &search).await;
            assert!(part.len() <= 50);
            all.extend(part);
            parts += 1;
            if next.is_null() {
                return (all, parts);
            }
            search["cursor"] = next;
        }
    };
    let (everybody, parts) = walk(json!({})).await;
    assert_eq!((everybody.len(), parts), (113, 3));
    names.reverse();
    assert_eq!(everybody[..13], names, "the newest first");
    let (crowd, parts) = walk(json!({"q": "crowd-"})).await;
    let mut sorted = crowd.clone();
    sorted.sort();
    assert_eq!((crowd.len(), parts), (100, 2));
    assert_eq!(crowd, sorted);
    sorted.dedup();
    assert_eq!(sorted.len(), 100, "each once");

    test.sql("update users set disabled_at = 1 where username in ('person-01', 'crowd-7', 'crowd-8')").await;
    test.sql("update users set erased_at = 1 where username = 'crowd-8'").await;
    test.sql("update users set is_manager = true where username in ('crowd-9', 'person-02')").await;
    for (search, expected) in [
        (json!({"state": "disabled"}), vec!["person-01", "crowd-7"]),
        (json!({"state": "erased"}), vec!["crowd-8"]),
        (json!({"state": "disabled", "q": "crowd"}), vec!["crowd-7"]),
        (json!({"manager": true}), vec!["person-02", "manager", "crowd-9"]),
        (json!({"state": "erased", "q": "crowd"}), vec![]),
        (json!({"manager": true, "q": "p"}), vec!["person-02"]),
        (json!({"manager": true, "q": "CROWD-9@"}), vec!["crowd-9"]),
        (json!({"manager": true, "q": "crowd-8"}), vec![]),
        (json!({"manager": true, "verdict": "valid"}), vec!["crowd-9"]),
        (json!({"manager": true, "state": "disabled"}), vec![]),
        (json!({"verdict": "invalid"}), vec![]),
    ] {
        assert_eq!(walk(search.clone()).await.0, expected, "{search}");
    }
    assert_eq!(walk(json!({"verdict": "valid", "manager": false, "state": "active"})).await.0.len(), 97);
    assert_eq!(walk(json!({"manager": false})).await.0.len(), 110);
}
