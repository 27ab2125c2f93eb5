//! Long lists, and ways through them.

use referral::features::referrals;
use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;

/// A referrer with a code, so with a slot.
pub async fn referrer(test: &TestApp) -> Client {
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    owner
}

/// An id as the engine's SQL has it.
pub fn literal(test: &TestApp, id: &str) -> String {
    match test.setup {
        Setup::Sqlite => format!("x'{}'", id.replace('-', "")),
        _ => format!("'{id}'::uuid"),
    }
}

/// Numbers from one to another, as a table `n` with a column `n`.
pub fn numbers(test: &TestApp, from: i64, to: i64) -> String {
    match test.setup {
        Setup::Sqlite => format!(
            "(with recursive n(n) as (select {from} where {from} <= {to} union all select n + 1 from n where n < {to}) \
             select n from n) n"
        ),
        _ => format!("generate_series({from}::bigint, {to}::bigint) n(n)"),
    }
}

/// Adds users number `from` to `to` without hashing a password for each: copies of somebody, with names and addresses
/// of their own, and with ids of this SQL, in which `n` is the number.
pub async fn add_users(test: &TestApp, whom: &Client, from: i64, to: i64, id: &str) {
    let columns = match test.setup {
        Setup::Sqlite => "select name from pragma_table_info('users')",
        _ => "select column_name from information_schema.columns where table_name = 'users'",
    };
    let columns: Vec<String> =
        test.query(columns).await.into_iter().map(|row| row[0].clone().expect("a name")).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match column.as_str() {
            "id" => id.to_owned(),
            "username" | "name_key" => "'user' || n".to_owned(),
            "email" | "email_key" => "'user' || n || '@example.com'".to_owned(),
            "created_at" => "n".to_owned(),
            other => format!("u.{other}"),
        })
        .collect();
    let (whom, numbers) = (literal(test, &whom.id), numbers(test, from, to));
    let (columns, values) = (columns.join(", "), values.join(", "));
    test.sql(&format!("insert into users ({columns}) select {values} from users u, {numbers} where u.id = {whom}"))
        .await;
}

/// Adds referees number `from` to `to` to the end of a referrer's list.
pub async fn add_referees(test: &TestApp, referrer: &Client, from: i64, to: i64) {
    let id = if test.setup == Setup::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
    add_users(test, referrer, from, to, id).await;
    test.sql(&format!(
        "insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
         select {}, id, 1, created_at, 'confirmed' from users
         where created_at between {from} and {to} order by created_at",
        literal(test, &referrer.id)
    ))
    .await;
}

/// What tells an item of either list from the others.
fn name(item: &Value) -> String {
    let name = item.get("username").or(item.get("code")).and_then(Value::as_str);
    name.expect("a name").to_owned()
}

fn names(page: &Value) -> Vec<String> {
    page["items"].as_array().expect("items").iter().map(name).collect()
}

/// Walks a list by page numbers, past its end, and checks every envelope.
pub async fn by_page(client: &Client, path: &str, size: usize, total: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let pages = total.div_ceil(size);
    for number in 1..=pages + 1 {
        let answer = client.get(&format!("{path}?page={number}&size={size}")).await.expect(200);
        let page = answer.json();
        let envelope = json!([page["total"], page["page"], page["size"], page["pages"]]);
        assert_eq!(envelope, json!([total, number, size, pages]), "{path}, size {size}");
        let names = names(&page);
        let full = if number <= total / size { size } else { total.saturating_sub((number - 1) * size) };
        assert_eq!(names.len(), full, "{path}: page {number} of size {size}");
        assert_eq!(page["next_cursor"].is_null(), number >= pages, "{path}: page {number} of size {size}");
        seen.extend(names);
    }
    seen
}

/// Walks a list by cursors, and by the links that say the same.
pub async fn by_cursor(client: &Client, path: &str, size: usize, total: usize) -> Vec<String> {
    let mut seen = Vec::new();
    let mut target = format!("{path}?size={size}");
    loop {
        let answer = client.get(&target).await.expect(200);
        let page = answer.json();
        assert_eq!((&page["total"], &page["size"]), (&json!(total), &json!(size)), "{target}");
        if target.contains("cursor") {
            assert_eq!(page["page"], Value::Null, "{target}");
        }
        seen.extend(names(&page));
        assert!(seen.len() <= total, "{path}: the walk does not end");
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(answer.header("link"), "", "{target}: there is nothing next");
            return seen;
        };
        let next = format!("{path}?cursor={cursor}&size={size}");
        assert_eq!(answer.header("link"), format!("<{next}>; rel=\"next\""));
        target = next;
    }
}

/// Walks a list in pages of many sizes, both ways.
pub async fn walk(client: &Client, path: &str, expected: &[String]) {
    for size in [1, 2, 3, 7, 25, 49, 50, 51, 99, 100] {
        // A long list one by one says no more than a short one.
        if expected.len() > 100 * size {
            continue;
        }
        assert_eq!(by_page(client, path, size, expected.len()).await, expected, "{path}: pages of {size}");
        assert_eq!(by_cursor(client, path, size, expected.len()).await, expected, "{path}: cursors of {size}");
    }
}

pub const LENGTHS: [i64; 7] = [0, 1, 50, 51, 100, 101, 250];

pub async fn fold(test: &TestApp, referrer: &Client) {
    referrals::actions::fold(test.app(), &referrer.id).await.expect("the list is folded");
}

/// Every mark says of its row what counting says, and each hundredth row has one.
pub async fn assert_marks(test: &TestApp, marked: i64) {
    let wrong = "select count(*) from referral_marks m where ordinal <> (select count(*) from referrals r
                 where r.referrer_id = m.referrer_id and r.id <= m.referral_id)";
    assert_eq!(test.number(wrong).await, 0, "a mark is wrong");
    let rows = test.query("select ordinal from referral_marks order by ordinal").await;
    let ordinals: Vec<i64> = rows.iter().map(|row| row[0].as_deref().expect("it").parse().expect("a number")).collect();
    assert_eq!(ordinals, (1..=marked / 100).map(|hundred| hundred * 100).collect::<Vec<_>>());
}
