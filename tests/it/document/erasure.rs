//! The inventory of erasure and the schema know the same columns.

use std::collections::BTreeSet;

use referral::features::managers::model::inventory::{ERASED, Fate};

use crate::on_both_engines;
use crate::support::app::Setup;

/// In names of columns these speak of people.
const TELLING: [&str; 12] =
    ["user", "owner", "email", "address", "name", "login", "network", "phone", "handle", "external", "person", "actor"];

on_both_engines!(law_14_erasure_knows_every_column);
/// A column that was added has a row there, with what becomes of it: `src/features/managers/model/inventory.rs`.
async fn law_14_erasure_knows_every_column(setup: Setup) {
    let test = setup.start().await;
    let columns = match setup {
        Setup::Sqlite => {
            "select t.name, c.name from sqlite_master t join pragma_table_info(t.name) c \
             where t.type = 'table' and t.name not like 'sqlite_%'"
        }
        Setup::Postgres | Setup::PostgresAndRedis => {
            "select table_name, column_name from information_schema.columns where table_schema = 'public'"
        }
    };
    let column = |row: Vec<Option<String>>| -> (String, String) {
        let [Some(table), Some(column)] = &row[..] else { panic!("no column: {row:?}") };
        (table.clone(), column.clone())
    };
    let there: BTreeSet<(String, String)> = test.query(columns).await.into_iter().map(column).collect();
    let knows = |table: &str, column: &str| {
        ERASED.iter().any(|(known, of, ..)| *known == table && (*of == column || *of == "*"))
    };
    let missing: Vec<_> = there.iter().filter(|(table, column)| !knows(table, column)).collect();
    assert!(missing.is_empty(), "say in ERASED what becomes of {missing:?}");
    for (table, column, fate, why) in ERASED {
        assert!(!why.is_empty());
        let of_table: Vec<&str> =
            there.iter().filter(|(known, _)| known == table).map(|(_, column)| column.as_str()).collect();
        assert!(!of_table.is_empty(), "{table} is not there");
        assert!(*column == "*" || of_table.contains(column), "{table}.{column} is not there");
        // What is kept as a whole may tell of people by ids alone.
        let tells = |name: &&&str| TELLING.iter().any(|word| name.contains(word)) && !name.ends_with("_id");
        if *column == "*" && *fate == Fate::Keep && !["audit", "schema_migrations"].contains(table) {
            assert_eq!(of_table.iter().find(tells), None, "{table}: column by column");
        }
    }
    let mut once = BTreeSet::new();
    assert!(ERASED.iter().all(|(table, column, ..)| once.insert((table, column))), "each once");
}
