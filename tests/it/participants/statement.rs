//! What a new participant consists of, and in how many steps it is written. On PostgreSQL it is one statement, for one
//! and for many; the steps are for what it refuses: two ways to the same rows.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::host::{PARTICIPANTS, host_of};
use crate::support::keyed::request;

/// All rows about a participant, as JSON without what is another's for each: ids, what was drawn, and times, but for
/// how they lie to each other.
async fn rows(test: &TestApp, external: &str) -> Vec<String> {
    let id = test.query(&format!("select id::text from users where external_id = '{external}'")).await;
    let id = id[0][0].clone().expect("an id");
    let mut rows = Vec::new();
    for (table, without, more, of) in [
        (
            "users",
            "id,username,name_key,handle,external_hash,created_at,email_proven_at",
            "(t.email_proven_at = t.created_at)::text,
             (t.external_hash = sha256(t.external_id::bytea))::text,
             (select (count(*) = 1)::text from handle_strings h
              where h.owner_id = t.id and h.handle_hash = sha256(t.handle::bytea))",
            format!("t.id = '{id}'"),
        ),
        ("logins", "login_key,user_id", "(t.login_key like '%@%')::text", format!("user_id = '{id}'")),
        ("code_strings", "id,code_hash,owner_id", "''", format!("owner_id = '{id}'")),
        (
            "codes",
            "owner_id,id,code,created_at,expires_at",
            "(t.expires_at - t.created_at between 328 * 86400000000 and 402 * 86400000000)::text,
             (select (c.code_hash = sha256(t.code::bytea))::text from code_strings c where c.id = t.id)",
            format!("owner_id = '{id}'"),
        ),
        (
            "code_slots",
            "owner_id,code_id,code,expires_at,recorded_at",
            "(select (c.id = t.code_id and c.code = t.code and c.expires_at = t.expires_at
                      and c.created_at = t.recorded_at)::text
              from codes c where c.owner_id = t.owner_id)",
            format!("owner_id = '{id}'"),
        ),
        ("referrals", "id,referee_id,joined_at", "''", format!("referee_id = '{id}'")),
        ("outbox", "id,subject_id,data,at", "(t.data::jsonb - 'id' - 'referee')::text", format!("subject_id = '{id}'")),
    ] {
        let sql = format!(
            "select concat_ws(' ', '{table}', (to_jsonb(t) - '{{{without}}}'::text[])::text, {more})
             from {table} t where {of} order by 1"
        );
        rows.extend(test.query(&sql).await);
    }
    let text = rows.into_iter().map(|row| row[0].clone().expect("a row"));
    text.map(|row| row.replace(external, "EXTERNAL")).collect()
}

/// What each insertion of a user was part of.
async fn by_statement(test: &TestApp, external: &str) -> bool {
    test.number(&format!("select count(*) from seen where who = '{external}' and query like 'with given%'")).await == 1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_writes_of_one_and_of_many_what_the_steps_write() {
    what_the_steps_write(Setup::Postgres.start().await).await;
}

/// The same, and the messages that tell of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_statement_tells_others_of_one_and_of_many_what_the_steps_tell() {
    let test = Setup::Postgres.start_with(&[("REFERRAL_WEBHOOKS_FEED", "on")]).await;
    let told = what_the_steps_write(test).await;
    assert_eq!(told.number("select count(*) from outbox where type like 'referral.%'").await % 2, 0);
    assert!(told.number("select count(*) from outbox where type = 'referral.created'").await >= 20);
}

async fn what_the_steps_write(test: TestApp) -> TestApp {
    test.sql("create table seen (who text, query text)").await;
    test.sql(
        "create function see() returns trigger language plpgsql as \
         'begin insert into seen values (new.external_id, current_query()); return new; end'",
    )
    .await;
    test.sql("create trigger see after insert on users for each row execute function see()").await;
    let host = host_of(&test.manager("manager").await).await;
    let olga = host.tell("olga", json!({})).await.expect(201).json();
    let variants: [(&str, Value); 4] = [
        ("plain", json!({})),
        ("brought", json!({"code": olga["code"]})),
        ("told", json!({"name": "Olga \"O\" \\ Őry", "language": "hu", "email": "EXTERNAL@example.com"})),
        ("all", json!({"name": "Olga", "email": "EXTERNAL@Example.com", "code": olga["code"]})),
    ];
    for (what, variant) in variants {
        let body = |name: &str| -> Value {
            serde_json::from_str(&variant.to_string().replace("EXTERNAL", &format!("{what}{name}"))).expect("JSON")
        };
        let id = |way: &str| format!("{what}{way}");
        // By chance one in 64 who are brought asks for work on the list, which the steps write.
        let mut one = String::new();
        for turn in 0..8 {
            one = id(&format!("one{turn}"));
            host.tell(&one, body(&format!("one{turn}"))).await.expect(201);
            if by_statement(&test, &one).await {
                break;
            }
        }
        assert!(by_statement(&test, &one).await, "{one}");
        // A kept answer belongs to a unit of work.
        let path = format!("{PARTICIPANTS}/{}", id("keyed"));
        host.send(request(&host, &Method::PUT, &path, Some(&body("keyed")), &id("key"))).await.expect(201);
        assert!(!by_statement(&test, &id("keyed")).await);
        let mut many = Vec::new();
        for number in 0..8 {
            let mut item = body(&format!("many{number}"));
            item["external_id"] = json!(id(&format!("many{number}")));
            many.push(item);
        }
        let results = host.tell_all(json!(many)).await;
        assert!(results.iter().all(|(status, _)| *status == 201), "{results:?}");
        let mut by_one = 0;
        let expected = rows(&test, &id("keyed")).await;
        for number in 0..8 {
            let external = id(&format!("many{number}"));
            by_one += usize::from(by_statement(&test, &external).await);
            assert_eq!(rows(&test, &external).await, expected, "{external}");
        }
        assert!(by_one >= 5, "{what}: {by_one} of 8 were written by the statement");
        assert_eq!(rows(&test, &one).await, expected, "{what}");
    }
    test
}
