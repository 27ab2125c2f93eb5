//! Tables with very many rows are migrated while others write to them: nobody waits for long. The figures are printed;
//! a limit is kept where `FAULTS_MANY` says how many rows there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use referral::db::migrate;

use super::owners::{is_told, many};
use crate::support::app::{Setup, eventually};
use crate::support::process::Operator;
use crate::support::witness;

/// The schema of the first version that others have: that of commit 440d8eb.
const FORMER: i64 = 2;
/// What a write may wait for a step.
const LONGEST: Duration = Duration::from_secs(1);

/// So many people with a code and a session each, all but the first brought by another.
fn filling(people: usize) -> String {
    let all = format!("generate_series(1, {people}) n");
    let id = "md5('person' || n)::uuid";
    format!(
        "insert into users (id, username, email, name_key, email_key, password_hash, created_at, is_manager, discoverable,
                            email_verdict)
             select {id}, 'Person' || n, 'Person' || n || '@example.com', 'person' || n, 'person' || n || '@example.com',
                    '$argon2id$v=19$m=19456,t=2,p=1$' || md5('salt' || n) || '$' || md5('hash' || n), n, false, true,
                    'unchecked' from {all};
         insert into logins select 'person' || n, {id} from {all};
         insert into logins select 'person' || n || '@example.com', {id} from {all};
         insert into code_strings (code_hash, owner_id, ordinal) select sha256(n::text::bytea), {id}, 1 from {all};
         insert into code_slots (owner_id, issued, version) select {id}, 1, 1 from {all};
         insert into codes (owner_id, ordinal, id, code, created_at, expires_at)
             select owner_id, 1, id, 'CODE' || id, 1, 2 from code_strings;
         insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
             select md5('person' || (n / 2))::uuid, {id}, 1, 1, 'confirmed' from generate_series(2, {people}) n;
         insert into token_families (id, handle, user_id, client_id, scope, created_at, used_at, expires_at, counter,
                                     current_hash, salt)
             select {id}, sha256(n::text::bytea), {id}, '', '', 1, 1, 4000000000000000, 0, sha256(n::text::bytea), ''
             from {all};
         analyze"
    )
}

/// What nodes of before write while the steps are applied, each in a transaction of its own.
const WRITES: [(&str, &str); 4] = [
    (
        "a registration",
        "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable, email_verdict)
             values (md5('late$')::uuid, 'late$', '', 'late$', '', 1, false, true, 'unchecked');
         insert into logins values ('late$', md5('late$')::uuid);
         insert into referrals (referrer_id, referee_id, code_ordinal, joined_at, status)
             values (md5('person1')::uuid, md5('late$')::uuid, 1, 1, 'confirmed')",
    ),
    ("a refresh", "update token_families set counter = counter + 1 where id = md5('person1')::uuid"),
    (
        "a code",
        "update code_slots set version = version + 1 where owner_id = md5('person2')::uuid;
         insert into code_strings (code_hash, owner_id, ordinal)
             values (sha256('late$'), md5('person2')::uuid, 2 + $)",
    ),
    ("a wish", "update users set discoverable = not discoverable where id = md5('person3')::uuid"),
];

/// Writes until it is told to stop; how many there were, and the longest.
async fn writes(url: String, statement: &'static str, over: Arc<AtomicBool>) -> (usize, Duration) {
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    let (mut made, mut longest) = (0, Duration::ZERO);
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        client.batch_execute(&statement.replace('$', &made.to_string())).await.expect("a write");
        longest = longest.max(began.elapsed());
        made += 1;
    }
    (made, longest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_with_very_many_rows_are_migrated_while_others_write() {
    let people = many();
    let url = Setup::Postgres.prepare(&[]).await.database_url;
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("PostgreSQL");
    tokio::spawn(connection);
    for step in 0..FORMER {
        client.batch_execute(&migrate::next(step, "postgres").expect("a step")).await.expect("it is applied");
    }
    client.batch_execute(&filling(people)).await.expect("the rows");
    let over = Arc::new(AtomicBool::new(false));
    let writers = WRITES.map(|(name, statement)| (name, tokio::spawn(writes(url.clone(), statement, over.clone()))));
    let late = "select count(*) from users where name_key like 'late%'";
    eventually("somebody writes", || async { witness::number(&url, late).await > 10 }).await;
    let mut operator = Operator::on_a_free_port();
    operator.set("DATABASE_URL", &url);
    let began = Instant::now();
    let mut migrating = operator.start(&["migrate"]);
    while !migrating.ended() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(began.elapsed() < Duration::from_secs(1800), "{}", migrating.said());
    }
    let took = began.elapsed();
    over.store(true, Ordering::Relaxed);
    let said = migrating.wait().well().stdout;
    assert!(said.contains(&format!("{} step(s) applied", migrate::newest() - FORMER)), "{said}");
    println!("PostgreSQL: {people} people, {} steps in {took:.1?}", migrate::newest() - FORMER);
    for (name, writer) in writers {
        let (made, longest) = writer.await.expect("no panic");
        println!("  {name}: {made} meanwhile, the longest {longest:.2?}");
        assert!(made > 10 && (!is_told() || longest < LONGEST), "{name}: {made}, {longest:?}");
        if name == "a registration" {
            assert_eq!(witness::number(&url, late).await, i64::try_from(made).expect("a number"));
        }
    }
}
