//! The look whether the laws hold finds each breach, and nothing where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use referral::db::dump::Snapshot;
use referral::db::schema::{self, Kind};
use referral::db::{Db, Options, Place};
use referral::keep::laws::breaches;

use super::helpers::{columns, operator, people, url};
use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::witness;

/// What is planted, how it is undone, and what is said of it.
const FAULTS: &[(&str, &str, &str)] = &[
    (
        "update code_slots set issued = issued + 1 where code is not null",
        "update code_slots set issued = issued - 1 where code is not null",
        "law 1: a slot",
    ),
    (
        "update code_slots set code_id = null, code = null, expires_at = null where code = 'OLGAS2NDCODE'",
        "update code_slots set (code_id, code, expires_at) = (select id, code, expires_at from codes
            where code = 'OLGAS2NDCODE') where owner_id = (select owner_id from codes where code = 'OLGAS2NDCODE')",
        "law 1: a slot",
    ),
    (
        "update codes set revoked_at = revoked_at + 3600000000 where code = 'OLGAS1STCODE'",
        "update codes set revoked_at = revoked_at - 3600000000 where code = 'OLGAS1STCODE'",
        "law 1: two codes",
    ),
    ("update referrals set joined_at = -joined_at", "update referrals set joined_at = -joined_at", "law 2"),
    (
        "update referrals set code_ordinal = code_ordinal + 7",
        "update referrals set code_ordinal = code_ordinal - 7",
        "law 2",
    ),
    (
        "update code_strings set ordinal = ordinal + 100",
        "update code_strings set ordinal = ordinal - 100",
        "law 3: a string that was issued",
    ),
    (
        "update codes set code = 'OLGAS3RDCODE' where code = 'OLGAS1STCODE'",
        "update codes set code = 'OLGAS1STCODE' where code = 'OLGAS3RDCODE'",
        "law 3: a code's string",
    ),
    (
        "insert into referral_marks (referrer_id, ordinal, referral_id)
            select referrer_id, 7, max(id) from referrals group by referrer_id",
        "delete from referral_marks where ordinal = 7",
        "a mark in a referrer's list",
    ),
    (
        "update users set name_key = 'nobody' where username = 'nina'",
        "update users set name_key = 'nina' where username = 'nina'",
        "a name or an address does not lead to its account",
    ),
    (
        "insert into logins (login_key, user_id) select 'ghost', id from users where username = 'nina'",
        "delete from logins where login_key = 'ghost'",
        "leads to an account that has another",
    ),
    (
        "delete from erased",
        "insert into erased (user_id, at) select id, erased_at from users where erased_at is not null",
        "law 14: an erasure is not noted",
    ),
    (
        "update users set password_hash = 'x' where erased_at is not null",
        "update users set password_hash = null where erased_at is not null",
        "law 14: something is left",
    ),
    (
        "update users set handle = 'nina7' where username = 'nina'",
        "update users set handle = null where username = 'nina'",
        "law 16",
    ),
    ("update audit_head set seq = seq + 1", "update audit_head set seq = seq - 1", "law 15"),
    (
        "update ledger set amount = amount + 1 where kind = 'grant'",
        "update ledger set amount = amount - 1 where kind = 'grant'",
        "the ledger does not add up (1 faults",
    ),
    (
        "insert into ledger (holder_id, program_id, unit, kind, amount, cause_id, at)
            select u.id, p.id, 'EUR', 'credit', 5, u.id, 0 from users u, programs p where u.username = 'olga'",
        "delete from ledger where kind = 'credit'",
        "the ledger does not add up (1 faults",
    ),
    (
        "insert into budgets (program_id, unit, spent) select id, 'EUR', 5 from programs",
        "delete from budgets",
        "the ledger does not add up (1 faults, of EUR",
    ),
];

on_both_engines!(every_breach_of_a_law_is_found);
async fn every_breach_of_a_law_is_found(setup: Setup) {
    let operator = operator(setup).await;
    let serving = operator.serve();
    people(&serving).await;
    serving.stop().well();
    let url = url(&operator);
    let options =
        Options { connections: 2, prepared_statements: true, request: Duration::from_secs(300), mapped_mib: 0 };
    let db = Db::open(&url, options).await.expect("the database");
    let found = async || {
        let found = breaches(Place::Open(&db)).await.expect("they are looked after");
        let of_backup = match setup {
            Setup::Sqlite => breaches(Place::File(&operator.path("referral.db"))).await,
            _ => breaches(Place::Snapshot(&mut Snapshot::of(&db).await.expect("one state"))).await,
        };
        let laws = |found: &[String]| -> Vec<String> {
            found.iter().map(|breach| breach.split(" (").next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(laws(&of_backup.expect("they are looked after")), laws(&found), "as a backup looks after them");
        found
    };
    assert_eq!(found().await, Vec::<String>::new());
    for (plant, undo, words) in FAULTS {
        witness::query(&url, plant).await;
        let said = found().await;
        assert!(said.iter().any(|breach| breach.contains(words)), "{plant}: {said:?}");
        witness::query(&url, undo).await;
        assert_eq!(found().await, Vec::<String>::new(), "{undo}");
    }
}

on_both_engines!(the_list_of_tables_is_the_databases_own);
/// Whoever adds a table or a column has added it to what is copied and compared.
async fn the_list_of_tables_is_the_databases_own(setup: Setup) {
    let operator = operator(setup).await;
    let there: BTreeMap<String, BTreeSet<(String, Kind)>> = columns(&url(&operator))
        .await
        .into_iter()
        .map(|(table, columns)| {
            let kind = |(column, of): (String, String)| {
                let kind = match of.to_lowercase().as_str() {
                    "uuid" => Kind::Uuid,
                    "text" => Kind::Text,
                    "bytea" => Kind::Bytes,
                    "boolean" => Kind::Bool,
                    "bigint" | "integer" => Kind::Int,
                    other => panic!("{table}.{column} is {other}, which no copy knows"),
                };
                (column, kind)
            };
            (table.clone(), columns.into_iter().map(kind).collect())
        })
        .collect();
    let known = schema::tables().expect("the schema");
    let listed: BTreeMap<String, BTreeSet<(String, Kind)>> = known
        .iter()
        .map(|table| (table.name.clone(), table.fields.iter().map(|field| (field.name.clone(), field.kind)).collect()))
        .collect();
    assert_eq!(listed, there);
    assert!(known.iter().all(|table| !table.key.is_empty()), "a copy goes by keys");
}
