//! Lists as files, and all that is kept of one account.

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::host::host_of;

async fn lines(manager: &Client, file: &str) -> Vec<Vec<String>> {
    let answer = manager.get(&format!("/api/v1/exports/{file}")).await.expect(200);
    assert!(answer.header("content-type").starts_with("text/csv; charset=utf-8"));
    assert!(answer.header("content-disposition").starts_with("attachment"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.text.ends_with("\r\n"), "each line has its end: {}", answer.text);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(answer.text.as_bytes());
    reader.records().map(|line| line.expect("a line").iter().map(str::to_owned).collect()).collect()
}

on_every_setup!(lists_are_files_that_spreadsheets_open_without_running_anything);
async fn lists_are_files_that_spreadsheets_open_without_running_anything(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    for (name, address) in [("-minus", "=a@example.com"), ("+plus", "plus@example.com"), ("Ёлка", "+b@example.com")]
    {
        let body = json!({"username": name, "email": address, "password": PASSWORD, "code": "AMSEL2030XYZ"});
        let answer = test.client().post("/api/v1/auth/user", &body).await;
        assert!(answer.status == 201, "{name}: {answer:?}");
    }
    let host = host_of(&manager).await;
    host.tell("=cmd()", json!({"name": "@sum", "code": "AMSEL2030XYZ"})).await.expect(201);
    test.sql("update users set username = 'two\nlines, \"quoted\"' where username = '+plus'").await;
    let users = lines(&manager, "users.csv").await;
    assert_eq!(users[0][..3], ["id", "username", "email"]);
    let cells: Vec<[&str; 3]> = users[1..].iter().map(|line| [&*line[1], &*line[2], &*line[7]]).collect();
    assert_eq!(cells[0], ["manager", "manager@example.com", ""]);
    assert_eq!(cells[1], ["owner", "owner@example.com", ""]);
    assert_eq!(cells[2], ["'-minus", "'=a@example.com", &owner.id]);
    assert_eq!(cells[3][0], "two\nlines, \"quoted\"");
    assert_eq!(cells[4], ["Ёлка", "'+b@example.com", &owner.id]);
    assert_eq!(users[6][2], "", "a participant without an address");
    assert_eq!(users[6][7..], [&*owner.id, "confirmed", "'=cmd()", "'@sum"]);
    assert_eq!(users[1][9..], ["", ""]);
    assert_eq!(users[1][3..6], ["active", "true", "unchecked"]);
    assert!(users[1][6].ends_with('Z'));

    let referrals = lines(&manager, "referrals.csv").await;
    assert_eq!(referrals.len(), 5);
    assert_eq!(referrals[1][..4], [&*users[3][0], &*owner.id, "AMSEL2030XYZ", "confirmed"]);
    let excel = manager.get("/api/v1/exports/users.csv?excel=true").await.expect(200);
    assert!(excel.text.starts_with("\u{feff}id,username"));
    manager.get("/api/v1/exports/users.csv?excel=perhaps").await.expect_problem(422, "invalid");
    assert_eq!(test.number("select count(*) from audit where action = 'list_exported'").await, 3);
}

on_every_setup!(a_file_of_many_parts_has_each_line_once);
async fn a_file_of_many_parts_has_each_line_once(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let uuid = match setup {
        Setup::Sqlite => "unhex(printf('%032x', n))",
        _ => "lpad(to_hex(n), 32, '0')::uuid",
    };
    let numbers = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2500)";
    let people = format!(
        "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable, \
         email_verdict) {numbers} select {uuid}, 'crowd-' || n, '', '', '', n, false, true, 'valid' from numbers"
    );
    test.sql(&people).await;
    let lines = lines(&manager, "users.csv").await;
    assert_eq!(lines.len(), 2502);
    let mut ids: Vec<&String> = lines[1..].iter().map(|line| &line[0]).collect();
    assert!(ids.is_sorted());
    ids.dedup();
    assert_eq!(ids.len(), 2501);
}

on_every_setup!(an_export_has_the_address_that_one_wants_and_no_address_of_others);
async fn an_export_has_the_address_that_one_wants_and_no_address_of_others(setup: Setup) {
    let test = setup.start().await;
    let manager = test.manager("manager").await;
    let body = json!({"username": "boss@example.com", "email": "boss@example.com", "password": PASSWORD});
    test.client().post("/api/v1/auth/user", &body).await.expect(201);
    let boss = test.client().logged_in("boss@example.com").await;
    boss.create_code("AMSEL2030XYZ").await.expect(201);
    test.client().register("olga", Some("AMSEL2030XYZ")).await.expect(201);
    let olga = test.client().logged_in("olga").await;
    let account = async |client: &Client, path: &str| client.get(path).await.expect(200).json()["account"].clone();
    let (own, others) = ("/api/v1/me/export", format!("/api/v1/users/{}/export", olga.id));
    assert_eq!(account(&olga, own).await["new_email"], Value::Null);
    test.sql("update users set new_email = 'o@example.org', new_email_key = 'o@example.org' where username = 'olga'")
        .await;
    for given in [account(&olga, own).await, account(&manager, &others).await] {
        assert_eq!(given["new_email"], "o@example.org");
        assert_eq!(given["referred_by"]["username"], "b***@e***.com");
    }
    // A manager may see it.
    let seen = manager.get(&format!("/api/v1/users/{}/profile", olga.id)).await.expect(200).json();
    assert_eq!(seen["referred_by"]["username"], "boss@example.com");
}

on_every_setup!(one_takes_out_all_that_is_kept_of_oneself_once_an_hour);
async fn one_takes_out_all_that_is_kept_of_oneself_once_an_hour(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    let owner = test.user("owner").await;
    owner.create_code("AMSEL2030XYZ").await.expect(201);
    test.client().register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    let export = owner.get("/api/v1/me/export").await.expect(200).json();
    let account = &export["account"];
    assert_eq!(
        (&account["email"], &account["codes"][0]["code"]),
        (&json!("owner@example.com"), &json!("AMSEL2030XYZ"))
    );
    assert_eq!(account["sessions"].as_array().map(Vec::len), Some(1));
    assert_eq!(export["referees"].as_array().map(Vec::len), Some(1));
    assert!(!export.to_string().contains("friend@"), "others are no part of it");
    assert_eq!(export["audit"][0]["action"], "user_exported");
    let refused = owner.get("/api/v1/me/export").await.expect_problem(429, "rate_limited");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (3500..=3600).contains(&seconds)));
    // Of others, and by a manager, it is another matter.
    let manager = test.manager("manager").await;
    let path = format!("/api/v1/users/{}/export", owner.id);
    for _ in 0..2 {
        assert_eq!(manager.get(&path).await.expect(200).json()["account"]["username"], "owner");
    }
    let noted =
        test.query("select actor_kind, count(*) from audit where action = 'user_exported' group by actor_kind").await;
    let mut noted: Vec<Value> = noted.into_iter().map(|row| json!(row)).collect();
    noted.sort_by_key(Value::to_string);
    assert_eq!(noted, [json!(["manager", "2"]), json!(["person", "1"])]);
    manager.get("/api/v1/me/export").await.expect(200);
    test.move_clock(Duration::from_secs(3601));
    let owner = test.client().logged_in("owner").await;
    owner.get("/api/v1/me/export").await.expect(200);
}
