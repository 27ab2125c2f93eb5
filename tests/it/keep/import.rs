//! `referral import --from-reference`: what comes, what does not and why, and that everybody is who they were.

use std::collections::BTreeSet;
use std::fmt::Write;

use uuid::Uuid;

use super::helpers::{contents, differing, operator, url};
use crate::on_both_engines;
use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::process::Operator;
use crate::support::servers::Postgres;
use crate::support::{thorough, witness};

/// As the reference service makes them.
const TABLES: &str = r#"
    create table "user" (id uuid primary key, username varchar(50) not null unique, email varchar(150) not null unique,
                         password varchar not null);
    create table referral_code (id serial primary key, user_id uuid not null references "user" (id) on delete cascade,
                                code varchar(12) not null unique, expires_at timestamp not null);
    create table user_referrer (user_id uuid references "user" (id) on delete cascade,
                                referral_id uuid references "user" (id) on delete cascade,
                                primary key (user_id, referral_id));
"#;

fn id(number: usize) -> Uuid {
    Uuid::from_u128(0x5442_a9ef_0000_4000_8000_0000_0000_0000 + number as u128)
}

async fn run(url: &str, script: &str) {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    client.batch_execute(script).await.expect("it runs");
}

/// So many people, each with a code that is good, every third with one that is over as well, and each but the last
/// brought by the next. Their password is everybody's.
async fn good(url: &str, people: usize) {
    let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
    let mut script = TABLES.to_owned();
    for number in 0..people {
        let id = id(number);
        let _ = writeln!(
            script,
            "insert into \"user\" values ('{id}', 'Person-{number}', 'Person{number}@Example.com', '{hash}');
             insert into referral_code (user_id, code, expires_at)
                 values ('{id}', 'AB{number:06}CDEF', localtimestamp + interval '90 days');"
        );
        if number % 3 == 0 {
            let _ = writeln!(
                script,
                "insert into referral_code (user_id, code, expires_at)
                     values ('{id}', 'XY{number:06}CDEF', localtimestamp - interval '5 days');"
            );
        }
    }
    for number in 1..people {
        let _ = writeln!(script, "insert into user_referrer values ('{}', '{}');", id(number), id(number - 1));
    }
    run(url, &script).await;
}

/// Rows that cannot come, or not as they are, one of each kind; with what has to be said of each, by its place.
async fn bad(url: &str, people: usize, boss: Uuid) -> BTreeSet<String> {
    let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
    let (mut script, mut said) = (String::new(), BTreeSet::new());
    let users = [
        (900_000, "PERSON-1", "other1@example.com", hash.as_str(), "name_is_one"),
        (900_001, "other-1", "person2@EXAMPLE.com", &hash, "address_is_one"),
        (900_002, "boss", "other2@example.com", &hash, "name_taken"),
        (900_003, "other-2", "boss@example.com", &hash, "address_taken"),
        (900_004, "", "other3@example.com", &hash, "name_breaks_rule"),
        (900_005, "other-4", "no address", &hash, "address_breaks_rule"),
        (900_006, "somebody@example.org", "other5@example.com", &hash, "name_breaks_rule"),
        (900_007, "other-6", "other6@example.com", "plain text", "hash_unreadable"),
    ];
    let of_boss = (boss, "other-9", "other9@example.com", hash.as_str(), "id_taken");
    let users = users.map(|(number, name, email, password, word)| (id(number), name, email, password, word));
    for (id, name, email, password, word) in users.into_iter().chain([of_boss]) {
        let _ = writeln!(script, "insert into \"user\" values ('{id}', '{name}', '{email}', '{password}');");
        said.insert(format!("user {id}  {word}"));
    }
    let codes = [
        // Of somebody who does not come.
        (90001, 900_000, "ABCDEFGH1234", "10 days", Some("owner_left_out")),
        // Two more that are good, of one person: the last to end stays, and she has one from before.
        (90002, 1, "ABCDEFGH1235", "100 days", None),
        (90003, 1, "ABCDEFGH1236", "95 days", Some("another_active")),
        // Over, and one with a string that is good: case is no difference.
        (90004, 2, "ab000003cdef", "-1 days", Some("string_is_one")),
        (90005, 3, "SHORT1", "10 days", Some("string_unfit")),
        (90006, 4, "BOSSES1STCOD", "10 days", Some("string_taken")),
        // Over at one moment: both come.
        (90007, 5, "ABCDEFGH1237", "-5 days", None),
        (90008, 5, "ABCDEFGH1238", "-5 days", None),
    ];
    for (number, owner, code, end, word) in codes {
        let _ = writeln!(
            script,
            "insert into referral_code values ({number}, '{}', '{code}', localtimestamp + interval '{end}');",
            id(owner)
        );
        said.extend(word.map(|word| format!("code {number}  {word}")));
    }
    let _ = writeln!(script, "insert into referral_code values (90009, '{}', 'ABCDEFGH1239', 'infinity');", id(6));
    said.insert("code 90009  endless".to_owned());
    // The code that person 1 had: she has a later one now.
    said.insert("code FIRST  another_active".to_owned());
    let referrals = [
        (7, 7, "brought_themselves"),
        (900_000, 900_007, "person_left_out"),
        (20, 10, "another_referrer"),
        (0, people - 1, "circle"),
    ];
    for (referrer, referee, word) in referrals {
        let (referrer, referee) = (id(referrer), id(referee));
        let _ = writeln!(script, "insert into user_referrer values ('{referrer}', '{referee}');");
        said.insert(format!("referral {referrer} -> {referee}  {word}"));
    }
    run(url, &script).await;
    said
}

/// What a report says of each row: its place and its word.
fn places(report: &str) -> BTreeSet<String> {
    let rows =
        report.lines().filter(|line| ["user ", "code ", "referral "].iter().any(|begin| line.starts_with(begin)));
    rows.map(|row| row.split("  ").take(2).collect::<Vec<_>>().join("  ")).collect()
}

async fn with_boss(setup: Setup) -> (Operator, Uuid) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    let boss = serving.client().logged_in("boss").await;
    boss.create_code("BOSSES1STCOD").await.expect(201);
    serving.stop().well();
    (operator, boss.id.parse().expect("an id"))
}

/// People, codes, active codes, referrals.
type Rows = [BTreeSet<Vec<Option<String>>>; 4];

/// What has to come of the reference service's own rows, but for those of which something is said.
async fn expected(from: &str, said: &BTreeSet<String>) -> Rows {
    let word = |place: String| {
        let line = said.iter().find(|line| line.strip_prefix(&place).is_some_and(|rest| rest.starts_with("  ")));
        line.and_then(|line| line.rsplit(' ').next())
    };
    let text = |cell: &Option<String>| cell.clone().expect("a value");
    let [mut people, mut codes, mut active, mut referrals] = Rows::default();
    // The case of a domain is none.
    let all = "select id, username, split_part(email, '@', 1) || '@' || lower(split_part(email, '@', 2)), password
               from \"user\"";
    for mut row in witness::query(from, all).await {
        match word(format!("user {}", text(&row[0]))) {
            None => people.insert(row),
            Some("hash_unreadable") => {
                row[3] = None;
                people.insert(row)
            }
            Some(_) => continue,
        };
    }
    let all = "select id, user_id, code, case when isfinite(expires_at) then
                   (extract(epoch from expires_at) * 1000000)::bigint end, expires_at > localtimestamp
               from referral_code";
    for row in witness::query(from, all).await {
        let [id, code @ .., is_good] = &row[..] else { panic!("no code: {row:?}") };
        let word = word(format!("code {}", text(id)));
        if word.is_none() || word == Some("another_active") {
            codes.insert(code.to_vec());
        }
        if word.is_none() && text(is_good) == "t" {
            active.insert(code[..2].to_vec());
        }
    }
    for pair in witness::query(from, "select user_id, referral_id from user_referrer").await {
        if word(format!("referral {} -> {}", text(&pair[0]), text(&pair[1]))).is_none() {
            referrals.insert(pair);
        }
    }
    [people, codes, active, referrals]
}

/// What has come beside boss.
async fn come(url: &str) -> Rows {
    let dashed = |row: Vec<Option<String>>| -> Vec<Option<String>> {
        let dashed = |cell: String| match cell.len() {
            32 => cell.parse::<Uuid>().map_or(cell, |id| id.to_string()),
            _ => cell,
        };
        row.into_iter().map(|cell| cell.map(dashed)).collect()
    };
    let mut rows = Rows::default();
    for (rows, sql) in rows.iter_mut().zip([
        "select id, username, email, password_hash from users where username <> 'boss'",
        "select owner_id, code, expires_at from codes where code <> 'BOSSES1STCOD'",
        "select owner_id, code from code_slots where code <> 'BOSSES1STCOD'",
        "select referrer_id, referee_id from referrals where code_ordinal = 0 and status = 'confirmed'",
    ]) {
        rows.extend(witness::query(url, sql).await.into_iter().map(dashed));
    }
    rows
}

on_both_engines!(each_row_that_cannot_come_is_named_and_the_rest_is_as_it_was);
async fn each_row_that_cannot_come_is_named_and_the_rest_is_as_it_was(setup: Setup) {
    let people = if thorough() { 10_000 } else { 60 };
    let from = Postgres::shared().await.database().await;
    good(&from, people).await;
    let first = witness::number(&from, &format!("select id from referral_code where user_id = '{}'", id(1))).await;
    let (operator, boss) = with_boss(setup).await;
    let said: BTreeSet<String> =
        bad(&from, people, boss).await.into_iter().map(|line| line.replace("FIRST", &first.to_string())).collect();
    let kinds: BTreeSet<_> = said.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(kinds.len(), 18, "one of each kind: {kinds:?}");
    let before = contents(&url(&operator)).await;
    let arguments = ["import", "--from-reference", &from];
    let dry = operator.run(&arguments).well().stdout;
    assert_eq!(places(&dry), said);
    assert!(dry.contains("Nothing was written"), "{dry}");
    assert_eq!(differing(&before, &contents(&url(&operator)).await), Vec::<&str>::new());
    let done = operator.run(&[&arguments[..], &["--apply"]].concat()).well().stdout;
    assert_eq!(places(&done), said);
    assert!(done.contains("the laws hold"), "{done}");
    let (expected, come) = (expected(&from, &said).await, come(&url(&operator)).await);
    for (expected, come) in expected.iter().zip(&come) {
        assert!(expected.len() >= people - 1, "there is something to compare");
        assert_eq!(come.symmetric_difference(expected).take(3).collect::<Vec<_>>(), Vec::<&Vec<_>>::new());
    }
    let number = async |sql: &str| witness::number(&url(&operator), sql).await;
    // boss, and whoever comes without a password.
    assert_eq!(number("select count(*) from users").await, people as i64 + 2);
    assert_eq!(number("select count(*) from users where password_hash is null").await, 1);
    assert_eq!(number("select count(*) from referrals").await, people as i64 - 1);
    let active = "select count(*) from code_slots where code is not null";
    assert_eq!(number(active).await, people as i64 + 1);
    let over = people.div_ceil(3) as i64;
    assert_eq!(number("select count(*) from codes").await, people as i64 + 1 + over + 4);
    assert_eq!(number("select count(*) from code_slots where code = 'ABCDEFGH1235'").await, 1);
    // Again there is nobody to bring.
    let again = operator.run(&arguments).well().stdout;
    assert!(again.contains(&format!("{} id_taken", people + 2)), "{again}");

    let serving = operator.serve();
    // Each costs the work of a hash of either kind: a part of them all.
    let sample: Vec<usize> = (1..people).step_by(if thorough() { 25 } else { 6 }).collect();
    for number in &sample {
        let number = *number;
        let client = serving.client().logged_in(&format!("person-{number}")).await;
        assert_eq!(client.id, id(number).to_string());
        let mine = client.get("/api/v1/me/referrals").await.expect(200).json();
        assert_eq!(mine["total"], 1, "person-{number}");
    }
    let upgraded = "select count(*) from users where password_hash like '$argon2id$%' and username like 'Person-%'";
    // The last of them is upgraded behind the answer.
    eventually("everybody is upgraded", || async { number(upgraded).await == sample.len() as i64 }).await;
    println!("{setup:?}: {} of {people} people have logged in, and are upgraded", sample.len());
    // A code that is good brings people, one that is over does not, and one that was in its way neither.
    serving.client().register("late", Some("AB000004CDEF")).await.expect(201);
    serving.client().register("later", Some("XY000003CDEF")).await.expect(404);
    serving.client().register("latest", Some("ABCDEFGH1236")).await.expect(404);
    serving.client().register("last", Some("ABCDEFGH1235")).await.expect(201);
    serving.stop().well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_reference_service_is_refused() {
    let operator = operator(Setup::Sqlite).await;
    let from = Postgres::shared().await.database().await;
    operator.run(&["import", "--from-reference", &from]).refused(&["cannot read what is to come", "\"user\""]);
    operator.run(&["import", "--from-reference", "sqlite:referral.db"]).refused(&["postgres://USER@HOST/NAME"]);
}
