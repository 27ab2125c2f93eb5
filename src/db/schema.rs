//! The tables of the newest schema, learnt from the migrations themselves: whoever adds a table or a column there has
//! added it to copies and to counts.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use super::migrate;

/// How a column's values are kept, the same on both engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Uuid,
    Int,
    Text,
    Bytes,
    Bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    /// In the order of the migrations.
    pub fields: Vec<Field>,
    /// The places of the primary key's columns among the fields.
    pub key: Vec<usize>,
    /// Whether its only key is a number that the database draws.
    pub numbered: bool,
    /// Tables that its rows point to.
    parents: Vec<String>,
}

/// What says how far a database is and whose it is. Nobody copies it: each database has its own.
pub const OF_THE_DATABASE: [&str; 2] = ["schema_migrations", "installation"];

/// Every table with its columns, those first that others point to. The error is ours alone: a step that does not run.
pub fn tables() -> Result<Vec<Table>, String> {
    read().map_err(|error| format!("cannot read the schema of this binary: {error}"))
}

fn read() -> rusqlite::Result<Vec<Table>> {
    let connection = Connection::open_in_memory()?;
    connection.create_scalar_function("referral_now", 0, FunctionFlags::SQLITE_UTF8, |_| Ok(0_i64))?;
    for version in 0..migrate::newest() {
        connection.execute_batch(&migrate::next(version, "sqlite").unwrap_or_default())?;
    }
    let mut statement = connection.prepare(
        "select name, sql from sqlite_schema where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by rowid",
    )?;
    let named = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let named: Vec<(String, String)> = named.collect::<rusqlite::Result<_>>()?;
    let tables: rusqlite::Result<Vec<Table>> =
        named.into_iter().map(|(name, sql)| table(&connection, name, &sql)).collect();
    Ok(in_order(tables?))
}

fn table(connection: &Connection, name: String, sql: &str) -> rusqlite::Result<Table> {
    let mut statement = connection.prepare("select name, lower(type), pk from pragma_table_info($1) order by cid")?;
    let columns = statement.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let columns: Vec<(String, String, i64)> = columns.collect::<rusqlite::Result<_>>()?;
    let mut key: Vec<(i64, usize)> =
        columns.iter().enumerate().filter(|(_, column)| column.2 > 0).map(|(at, column)| (column.2, at)).collect();
    key.sort_unstable();
    let fields = columns.into_iter().map(|(name, of, _)| Field { name, kind: kind(&of) }).collect();
    let mut statement = connection.prepare("select \"table\" from pragma_foreign_key_list($1)")?;
    let parents = statement.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let key = key.into_iter().map(|(_, at)| at).collect();
    Ok(Table { name, fields, key, numbered: sql.contains("autoincrement"), parents })
}

fn kind(of: &str) -> Kind {
    match of {
        "uuid" => Kind::Uuid,
        "text" => Kind::Text,
        "bytea" => Kind::Bytes,
        "boolean" => Kind::Bool,
        _ => Kind::Int,
    }
}

/// Those first that others point to; what is left in a circle comes last.
fn in_order(mut left: Vec<Table>) -> Vec<Table> {
    let mut ordered: Vec<Table> = Vec::new();
    loop {
        let ready = |table: &Table| {
            let known = |parent: &String| *parent == table.name || ordered.iter().any(|other| other.name == *parent);
            table.parents.iter().all(known)
        };
        let (next, rest): (Vec<Table>, Vec<Table>) = left.into_iter().partition(ready);
        if next.is_empty() {
            ordered.extend(rest);
            return ordered;
        }
        ordered.extend(next);
        left = rest;
    }
}

impl Table {
    /// Every column by its name, with commas between.
    pub(super) fn list(&self) -> String {
        let names: Vec<String> = self.fields.iter().map(|field| format!("\"{}\"", field.name)).collect();
        names.join(", ")
    }

    /// The key's columns, in the order of bytes on both engines.
    pub(super) fn order(&self, postgres: bool) -> Vec<String> {
        let column = |field: &Field| match field.kind {
            Kind::Text if postgres => format!("\"{}\" collate \"C\"", field.name),
            _ => format!("\"{}\"", field.name),
        };
        self.key.iter().filter_map(|at| self.fields.get(*at)).map(column).collect()
    }

    /// The key of a row.
    pub(super) fn key_of<T: Clone>(&self, row: &[T]) -> Vec<T> {
        self.key.iter().filter_map(|at| row.get(*at).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_make_tables_with_keys_and_parents_first() {
        let tables = tables().unwrap();
        let place = |name: &str| tables.iter().position(|table| table.name == name).unwrap();
        assert!(place("users") < place("logins") && place("code_slots") < place("referrals"));
        assert!(tables.iter().all(|table| !table.key.is_empty()), "a copy goes by keys: {tables:?}");
        let users = &tables[place("users")];
        let of = |name: &str| users.fields.iter().find(|field| field.name == name).unwrap().kind;
        assert_eq!((of("id"), of("is_manager"), of("created_at")), (Kind::Uuid, Kind::Bool, Kind::Int));
        assert!(tables[place("jobs")].numbered && !users.numbered);
        assert_eq!(tables[place("codes")].key.len(), 2);
    }
}
