//! Fills a database: one description of the rows, `COPY` for PostgreSQL, prepared inserts for SQLite.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use referral::kernel::name::Username;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tokio::sync::mpsc::{Sender, channel};
use uuid::Uuid;

use crate::people::{BIG, CODES_END, MIDDLE, People, mix, owner};
use crate::servers::{block_on, connect};

pub enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Id(Uuid),
}

type Sink<'a> = &'a mut dyn FnMut(&[Cell]) -> Result<(), String>;

struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    rows: fn(&Filling, Sink) -> Result<(), String>,
}

impl Filling {
    /// Where the columns of a table stand that a database has.
    fn places(&self, table: &Table, known: &[String]) -> Result<Vec<usize>, String> {
        let columns = table.columns.iter().enumerate();
        let there: Vec<usize> =
            columns.filter(|(_, name)| known.iter().any(|one| one == *name)).map(|(place, _)| place).collect();
        match self.exact && there.len() < table.columns.len() {
            true => Err(format!("the table {} has other columns than are filled: {}", table.name, known.join(", "))),
            false => Ok(there),
        }
    }
}

impl Table {
    fn names(&self, places: &[usize]) -> Vec<&'static str> {
        places.iter().filter_map(|place| self.columns.get(*place).copied()).collect()
    }
}

pub struct Filling {
    pub people: People,
    /// Everybody's password, hashed.
    pub password_hash: String,
    /// Whether the database must have every table and column that is known here; an older version's need not.
    pub exact: bool,
}

const TABLES: &[Table] = &[
    Table {
        name: "users",
        columns: &[
            "id",
            "username",
            "email",
            "name_key",
            "email_key",
            "password_hash",
            "created_at",
            "is_manager",
            "discoverable",
            "erased_at",
            "email_verdict",
        ],
        rows: users,
    },
    Table { name: "logins", columns: &["login_key", "user_id"], rows: logins },
    Table { name: "code_strings", columns: &["id", "code_hash", "owner_id", "ordinal"], rows: code_strings },
    Table {
        name: "code_slots",
        columns: &["owner_id", "issued", "version", "code_id", "code", "expires_at"],
        rows: code_slots,
    },
    Table {
        name: "codes",
        columns: &["owner_id", "ordinal", "id", "code", "created_at", "expires_at", "revoked_at"],
        rows: codes,
    },
    Table {
        name: "referrals",
        columns: &["id", "referrer_id", "referee_id", "code_ordinal", "joined_at", "status"],
        rows: referrals,
    },
    Table { name: "referral_marks", columns: &["referrer_id", "ordinal", "referral_id"], rows: referral_marks },
    Table {
        name: "token_families",
        columns: &[
            "id",
            "handle",
            "user_id",
            "client_id",
            "scope",
            "created_at",
            "used_at",
            "expires_at",
            "counter",
            "current_hash",
            "salt",
        ],
        rows: sessions,
    },
];

fn users(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in 0..people.count() {
        let person = people.person(number);
        let (id, joined) = (Cell::Id(person.id), Cell::Int(person.created_at));
        if people.is_erased(number) {
            sink(&[
                id,
                Cell::Text("erased"),
                Cell::Text("erased@erased.invalid"),
                Cell::Text(""),
                Cell::Text(""),
                Cell::Null,
                joined,
                Cell::Bool(false),
                Cell::Bool(false),
                Cell::Int(person.created_at + 1_000_000),
                Cell::Text("unchecked"),
            ])?;
            continue;
        }
        sink(&[
            id,
            Cell::Text(&person.username),
            Cell::Text(&person.email),
            Cell::Text(&name_key(&person.username)?),
            Cell::Text(&person.email),
            Cell::Text(&filling.password_hash),
            joined,
            Cell::Bool(false),
            Cell::Bool(true),
            Cell::Null,
            Cell::Text("unchecked"),
        ])?;
    }
    Ok(())
}

fn logins(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in (0..people.count()).filter(|number| !people.is_erased(*number)) {
        let person = people.person(number);
        sink(&[Cell::Text(&name_key(&person.username)?), Cell::Id(person.id)])?;
        // Ours are in the form they are compared by as they are.
        sink(&[Cell::Text(&person.email), Cell::Id(person.id)])?;
    }
    Ok(())
}

fn name_key(username: &str) -> Result<String, String> {
    Ok(Username::parse(username)?.key().to_owned())
}

fn code_strings(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in 0..people.owners() {
        for ordinal in 1..=people.codes(number).issued {
            sink(&[
                Cell::Int(people.code_id(number, ordinal)),
                Cell::Bytes(&people.code_key(number, ordinal)?.0),
                Cell::Id(people.id(owner(number))),
                Cell::Int(ordinal),
            ])?;
        }
    }
    Ok(())
}

fn code_slots(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in 0..people.owners() {
        let codes = people.codes(number);
        let id = Cell::Id(people.id(owner(number)));
        let (issued, version) = (Cell::Int(codes.issued), Cell::Int(codes.issued * 2 - i64::from(codes.live)));
        if codes.live {
            let code = people.code(number, codes.issued);
            let code_id = Cell::Int(people.code_id(number, codes.issued));
            sink(&[id, issued, version, code_id, Cell::Text(&code), Cell::Int(CODES_END)])?;
        } else {
            sink(&[id, issued, version, Cell::Null, Cell::Null, Cell::Null])?;
        }
    }
    Ok(())
}

fn codes(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in 0..people.owners() {
        let codes = people.codes(number);
        for ordinal in 1..=codes.issued {
            let person = people.person(owner(number));
            let made = person.created_at + ordinal * 60_000_000;
            let live = codes.live && ordinal == codes.issued;
            sink(&[
                Cell::Id(person.id),
                Cell::Int(ordinal),
                Cell::Int(people.code_id(number, ordinal)),
                Cell::Text(&people.code(number, ordinal)),
                Cell::Int(made),
                Cell::Int(CODES_END),
                if live { Cell::Null } else { Cell::Int(made + 30_000_000) },
            ])?;
        }
    }
    Ok(())
}

fn referrals(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    let referees = (0..people.count()).filter_map(|number| Some((number, people.referrer(number)?)));
    for (place, (number, referrer)) in referees.enumerate() {
        let referee = people.person(number);
        sink(&[
            Cell::Int(place as i64 + 1),
            Cell::Id(people.id(referrer)),
            Cell::Id(referee.id),
            Cell::Int(1),
            Cell::Int(referee.created_at),
            Cell::Text("confirmed"),
        ])?;
    }
    Ok(())
}

/// Every hundredth row of the two lists that are long enough.
fn referral_marks(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    let (mut big, mut middle) = (0, 0);
    let referees = (0..people.count()).filter_map(|number| people.referrer(number));
    for (place, referrer) in referees.enumerate() {
        let ordinal = match referrer {
            BIG => &mut big,
            MIDDLE => &mut middle,
            _ => continue,
        };
        *ordinal += 1;
        if *ordinal % 100 == 0 {
            sink(&[Cell::Id(people.id(referrer)), Cell::Int(*ordinal), Cell::Int(place as i64 + 1)])?;
        }
    }
    Ok(())
}

/// Everybody who has shared a code is logged in somewhere.
fn sessions(filling: &Filling, sink: Sink) -> Result<(), String> {
    let people = &filling.people;
    for number in (0..people.owners()).filter(|number| !people.is_erased(owner(*number))) {
        let person = people.person(owner(number));
        let noise: Vec<u8> = (0..4).flat_map(|turn| mix(number * 4 + turn).to_be_bytes()).collect();
        sink(&[
            Cell::Id(person.id),
            Cell::Bytes(&noise[..16]),
            Cell::Id(person.id),
            Cell::Text("referral"),
            Cell::Text("profile codes:read referrals:read"),
            Cell::Int(person.created_at),
            Cell::Int(person.created_at),
            Cell::Int(CODES_END),
            Cell::Int(0),
            Cell::Bytes(&noise),
            Cell::Bytes(&noise[16..]),
        ])?;
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------- PostgreSQL

/// Fills a migrated database. Foreign keys hold by construction and are not looked up for each row.
pub fn postgres(url: &str, filling: &Arc<Filling>) -> Result<(), String> {
    block_on(async {
        let fault = |error: tokio_postgres::Error| format!("filling PostgreSQL: {error:?}");
        let client = connect(url).await?;
        client
            .batch_execute("set session_replication_role = replica; set synchronous_commit = off")
            .await
            .map_err(fault)?;
        for table in TABLES {
            let known = client
                .query("select attname from pg_attribute where attrelid = to_regclass($1::text)", &[&table.name])
                .await
                .map_err(fault)?;
            let known: Vec<String> = known.iter().map(|row| row.get(0)).collect();
            let places = filling.places(table, &known)?;
            if places.is_empty() {
                continue;
            }
            let (pieces, mut arriving) = channel::<Vec<u8>>(4);
            let statement = format!("copy {} ({}) from stdin", table.name, table.names(&places).join(", "));
            let sink = client.copy_in::<_, Bytes>(statement.as_str()).await.map_err(fault)?;
            let mut sink = std::pin::pin!(sink);
            // Rows are made on a thread of their own, beside PostgreSQL taking them in.
            let filling = filling.clone();
            let maker = tokio::task::spawn_blocking(move || copy_text(table, &places, &filling, &pieces));
            while let Some(piece) = arriving.recv().await {
                sink.send(Bytes::from(piece)).await.map_err(fault)?;
            }
            maker.await.map_err(|_| "the thread that makes rows panicked".to_owned())??;
            sink.finish().await.map_err(fault)?;
        }
        for table in ["code_strings", "referrals"] {
            let next = format!("select setval(pg_get_serial_sequence('{table}', 'id'), (select max(id) from {table}))");
            client.batch_execute(&next).await.map_err(fault)?;
        }
        // As autovacuum and the checkpointer would have left it in two years.
        client.batch_execute("vacuum (analyze)").await.map_err(fault)?;
        client.batch_execute("checkpoint").await.map_err(fault)
    })
}

const PIECE: usize = 1 << 20;

fn copy_text(table: &Table, places: &[usize], filling: &Filling, pieces: &Sender<Vec<u8>>) -> Result<(), String> {
    let mut text = String::with_capacity(PIECE + 4096);
    let gone = |_| "PostgreSQL stopped taking rows".to_owned();
    (table.rows)(filling, &mut |cells| {
        for (place, cell) in places.iter().filter_map(|place| cells.get(*place)).enumerate() {
            if place > 0 {
                text.push('\t');
            }
            // Nothing of ours needs escaping: no tabs, no line ends, no backslashes.
            let written = match cell {
                Cell::Null => text.write_str(r"\N"),
                Cell::Bool(value) => text.write_str(if *value { "t" } else { "f" }),
                Cell::Int(value) => write!(text, "{value}"),
                Cell::Text(value) => text.write_str(value),
                Cell::Bytes(value) => {
                    text.write_str(r"\\x").and_then(|()| value.iter().try_for_each(|byte| write!(text, "{byte:02x}")))
                }
                Cell::Id(value) => write!(text, "{value}"),
            };
            written.map_err(|error| error.to_string())?;
        }
        text.push('\n');
        if text.len() >= PIECE {
            let full = std::mem::replace(&mut text, String::with_capacity(PIECE + 4096));
            pieces.blocking_send(full.into_bytes()).map_err(gone)?;
        }
        Ok(())
    })?;
    pieces.blocking_send(text.into_bytes()).map_err(gone)
}

// -------------------------------------------------------------------------------------------------- SQLite

/// Fills a migrated file.
pub fn sqlite(path: &Path, filling: &Filling) -> Result<(), String> {
    let fault = |error: rusqlite::Error| format!("filling SQLite: {error}");
    let mut connection = rusqlite::Connection::open(path).map_err(fault)?;
    connection
        .execute_batch("pragma synchronous = off; pragma foreign_keys = off; pragma cache_size = -1048576;")
        .map_err(fault)?;
    let transaction = connection.transaction().map_err(fault)?;
    for table in TABLES {
        let known = transaction
            .prepare("select name from pragma_table_info(?1)")
            .and_then(|mut names| names.query_map([table.name], |row| row.get(0))?.collect::<Result<Vec<String>, _>>())
            .map_err(fault)?;
        let places = filling.places(table, &known)?;
        if places.is_empty() {
            continue;
        }
        let marks: Vec<String> = (1..=places.len()).map(|place| format!("?{place}")).collect();
        let names = table.names(&places).join(", ");
        let text = format!("insert into {} ({names}) values ({})", table.name, marks.join(", "));
        let mut statement = transaction.prepare(&text).map_err(fault)?;
        (table.rows)(filling, &mut |cells| {
            let cells = places.iter().filter_map(|place| cells.get(*place));
            statement.execute(rusqlite::params_from_iter(cells)).map(drop).map_err(fault)
        })?;
    }
    transaction.commit().map_err(fault)?;
    connection.execute_batch("pragma wal_checkpoint(truncate)").map_err(fault)
}

impl rusqlite::ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Cell::Null => ValueRef::Null,
            Cell::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Cell::Int(value) => ValueRef::Integer(*value),
            Cell::Text(value) => ValueRef::Text(value.as_bytes()),
            Cell::Bytes(value) => ValueRef::Blob(value),
            Cell::Id(value) => ValueRef::Blob(value.as_bytes()),
        }))
    }
}
