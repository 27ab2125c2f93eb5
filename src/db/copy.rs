//! Every row of a database into another, whatever the engines: table by table, in the order of keys, so that whoever
//! goes on begins behind the last key that is there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, pin_mut};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::error::{from_postgres, from_sqlite};
use super::postgres::Lease;
use super::schema::{Field, Kind, OF_THE_DATABASE, Table};
use super::value::Value;
use super::{Db, sqlite};
use crate::kernel::error::{Error, Result, Storage};
use crate::kernel::time::Clock;

/// Rows that are read, written and committed at a time.
const PART: usize = 5000;
/// How long somebody else's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

type Cells = Vec<Value>;

/// One state of a database, to be read in the order of keys.
pub enum Reader {
    Sqlite(Arc<Mutex<Connection>>),
    Postgres(Arc<tokio::sync::Mutex<Lease>>),
}

impl Reader {
    /// With `hold` nobody writes to it until it is dropped.
    pub async fn of(db: &Db, url: &str, tables: &[Table], hold: bool) -> Result<Self> {
        const BEGIN: &str = "start transaction isolation level repeatable read; set local statement_timeout = 0; \
                             set local lock_timeout = '60s'; set local idle_in_transaction_session_timeout = 0";
        match db {
            Db::Sqlite(_) => {
                let (flags, begin) = match hold {
                    true => (OpenFlags::SQLITE_OPEN_READ_WRITE, "begin immediate"),
                    false => (OpenFlags::SQLITE_OPEN_READ_ONLY, "begin"),
                };
                let connection = opened(url, flags)?;
                let begun = connection
                    .execute_batch(begin)
                    .and_then(|()| connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(())));
                begun.map_err(|error| from_sqlite(&error, "copy"))?;
                Ok(Self::Sqlite(Arc::new(Mutex::new(connection))))
            }
            Db::Postgres(postgres) => {
                let mut lease = postgres.connection().await?;
                let names: Vec<String> = tables.iter().map(|table| format!("\"{}\"", table.name)).collect();
                // Before the first look, so that the state has what was committed until then.
                let hold =
                    if hold { format!("; lock table {} in share mode", names.join(", ")) } else { String::new() };
                lease.begin(&format!("{BEGIN}{hold}")).await?;
                Ok(Self::Postgres(Arc::new(tokio::sync::Mutex::new(lease))))
            }
        }
    }

    /// The rows of a table behind a key, in parts.
    pub fn rows(&self, table: &Table, behind: Option<Cells>) -> Receiver<Result<Vec<Cells>>> {
        let (sender, receiver) = mpsc::channel(2);
        let (table, behind) = (table.clone(), behind.unwrap_or_default());
        match self {
            Self::Sqlite(connection) => {
                let connection = connection.clone();
                let text = text(&table, !behind.is_empty(), false);
                drop(tokio::task::spawn_blocking(move || {
                    let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(error) = send_sqlite(&connection, &text, &table, &behind, &sender) {
                        let _ = sender.blocking_send(Err(error));
                    }
                }));
            }
            Self::Postgres(lease) => {
                let lease = lease.clone();
                let text = text(&table, !behind.is_empty(), true);
                tokio::spawn(async move {
                    let mut lease = lease.lock().await;
                    if let Err(error) = send_postgres(&mut lease, &text, &table, &behind, &sender).await {
                        let _ = sender.send(Err(error)).await;
                    }
                });
            }
        }
        receiver
    }

    /// The last number that a table has drawn.
    pub async fn last_number(&self, table: &Table) -> Result<i64> {
        match self {
            Self::Sqlite(connection) => {
                let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
                let text = "select coalesce((select seq from sqlite_sequence where name = $1), 0)";
                connection.query_row(text, [&table.name], |row| row.get(0)).map_err(|error| fault(&error, table))
            }
            Self::Postgres(lease) => {
                let mut lease = lease.lock().await;
                let named = lease.value(&format!("select {}::text", sequence(table))).await?;
                let name: Option<String> = named.get(0)?;
                let name = name.ok_or_else(|| Error::Internal(format!("{} draws no numbers", table.name)))?;
                let text = format!("select case when is_called then last_value else 0 end from {name}");
                lease.value(&text).await?.get(0)
            }
        }
    }
}

/// `"id"` is what a table that draws its numbers calls them.
fn sequence(table: &Table) -> String {
    format!("pg_get_serial_sequence('\"{}\"', 'id')", table.name)
}

fn fault(error: &rusqlite::Error, table: &Table) -> Error {
    Error::from(match from_sqlite(error, "copy") {
        Storage::Broken(text) => Storage::Broken(format!("{}: {text}", table.name)),
        other => other,
    })
}

fn opened(url: &str, flags: OpenFlags) -> Result<Connection> {
    let open = || {
        let path = url.strip_prefix("sqlite:").map(sqlite::written).unwrap_or_default();
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(PATIENCE)?;
        connection.execute_batch("pragma foreign_keys = on; pragma synchronous = full; pragma cache_size = -65536")?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| from_sqlite(&error, "open").into())
}

fn text(table: &Table, behind: bool, postgres: bool) -> String {
    let order = table.order(postgres).join(", ");
    let behind = if behind {
        let places: Vec<String> = (1..=table.key.len()).map(|place| format!("${place}")).collect();
        format!(" where ({order}) > ({})", places.join(", "))
    } else {
        String::new()
    };
    format!("select {} from \"{}\"{behind} order by {order}", table.list(), table.name)
}

fn send_sqlite(
    connection: &Connection,
    text: &str,
    table: &Table,
    behind: &[Value],
    sender: &Sender<Result<Vec<Cells>>>,
) -> Result<()> {
    let faulty = |error: rusqlite::Error| fault(&error, table);
    let mut statement = connection.prepare(text).map_err(faulty)?;
    let mut rows = statement.query(params_from_iter(behind)).map_err(faulty)?;
    let mut part = Vec::with_capacity(PART);
    while let Some(row) = rows.next().map_err(faulty)? {
        let mut cells = Vec::with_capacity(table.fields.len());
        for (place, field) in table.fields.iter().enumerate() {
            cells.push(cell(row.get_ref(place).map_err(faulty)?, table, field)?);
        }
        part.push(cells);
        if part.len() == PART && sender.blocking_send(Ok(std::mem::take(&mut part))).is_err() {
            return Ok(());
        }
    }
    let _ = sender.blocking_send(Ok(part));
    Ok(())
}

fn cell(stored: ValueRef<'_>, table: &Table, field: &Field) -> Result<Value> {
    let value = match (field.kind, stored) {
        (_, ValueRef::Null) => Some(Value::Null),
        (Kind::Uuid, ValueRef::Blob(bytes)) => Uuid::from_slice(bytes).ok().map(Value::Uuid),
        (Kind::Int, ValueRef::Integer(number)) => Some(Value::Int(number)),
        (Kind::Bool, ValueRef::Integer(number)) => Some(Value::Bool(number != 0)),
        (Kind::Text, ValueRef::Text(text)) => std::str::from_utf8(text).ok().map(Value::from),
        (Kind::Bytes, ValueRef::Blob(bytes)) => Some(Value::Bytes(bytes.to_vec())),
        _ => None,
    };
    value.ok_or_else(|| {
        Storage::Broken(format!("{}.{} has a value that is no {:?}", table.name, field.name, field.kind)).into()
    })
}

async fn send_postgres(
    lease: &mut Lease,
    text: &str,
    table: &Table,
    behind: &[Value],
    sender: &Sender<Result<Vec<Cells>>>,
) -> Result<()> {
    let faulty = |error: tokio_postgres::Error| Error::from(from_postgres(&error, &table.name));
    let rows = lease.connection()?.query_raw(text, behind).await.map_err(faulty)?;
    pin_mut!(rows);
    let mut part = Vec::with_capacity(PART);
    while let Some(row) = rows.next().await {
        let row = row.map_err(faulty)?;
        let cells: Result<Cells, tokio_postgres::Error> =
            table.fields.iter().enumerate().map(|(place, field)| of_server(&row, place, field.kind)).collect();
        part.push(cells.map_err(faulty)?);
        if part.len() == PART && sender.send(Ok(std::mem::take(&mut part))).await.is_err() {
            return Ok(());
        }
    }
    let _ = sender.send(Ok(part)).await;
    Ok(())
}

fn of_server(row: &tokio_postgres::Row, place: usize, kind: Kind) -> Result<Value, tokio_postgres::Error> {
    Ok(match kind {
        Kind::Uuid => Value::from(row.try_get::<_, Option<Uuid>>(place)?),
        Kind::Int => Value::from(row.try_get::<_, Option<i64>>(place)?),
        Kind::Bool => Value::from(row.try_get::<_, Option<bool>>(place)?),
        Kind::Text => Value::from(row.try_get::<_, Option<String>>(place)?),
        Kind::Bytes => Value::from(row.try_get::<_, Option<Vec<u8>>>(place)?),
    })
}

/// Whose copy is under way in a database that is being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    pub source: Uuid,
    /// Whether what the migrations wrote is gone, so that all that is there came from the source.
    pub cleared: bool,
}

/// A database that is being filled, by a connection of its own.
pub enum Writer {
    Sqlite(Connection),
    Postgres(Lease),
}

impl Writer {
    pub async fn of(db: &Db, url: &str) -> Result<Self> {
        Ok(match db {
            Db::Sqlite(_) => Self::Sqlite(opened(url, OpenFlags::SQLITE_OPEN_READ_WRITE)?),
            Db::Postgres(postgres) => Self::Postgres(postgres.connection().await?),
        })
    }

    /// Statements in one transaction.
    async fn all(&mut self, text: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let done = connection.transaction().and_then(|transaction| {
                    transaction.execute_batch(text)?;
                    transaction.commit()
                });
                done.map_err(|error| from_sqlite(&error, "copy").into())
            }
            Self::Postgres(lease) => {
                lease.begin(&format!("begin; {UNLIMITED}; {text}")).await?;
                lease.commit().await
            }
        }
    }

    /// Whether a copy has begun here.
    pub async fn begun(&mut self) -> Result<Option<Begun>> {
        let begun = match self {
            Self::Sqlite(connection) => {
                let there = "select exists (select 1 from sqlite_schema where name = 'copying')";
                let read = |connection: &Connection| -> rusqlite::Result<Option<(Uuid, bool)>> {
                    if !connection.query_row(there, [], |row| row.get::<_, bool>(0))? {
                        return Ok(None);
                    }
                    connection.query_row("select source, cleared from copying", [], |row| {
                        let source = Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).unwrap_or_default();
                        Ok(Some((source, row.get(1)?)))
                    })
                };
                read(connection).map_err(|error| from_sqlite(&error, "copy"))?
            }
            Self::Postgres(lease) => {
                let there = "select exists (select from pg_tables \
                             where schemaname = current_schema() and tablename = 'copying')";
                if lease.value(there).await?.get(0)? {
                    let row = lease.value("select source, cleared from copying").await?;
                    Some((row.get(0)?, row.get(1)?))
                } else {
                    None
                }
            }
        };
        Ok(begun.map(|(source, cleared)| Begun { source, cleared }))
    }

    /// Notes whose copy begins.
    pub async fn begin(&mut self, source: Uuid) -> Result<()> {
        let source = self.literal(source);
        let text = format!(
            "create table copying (source uuid not null, cleared boolean not null); insert into copying values ({source}, \
             false)"
        );
        self.all(&text).await
    }

    fn literal(&self, id: Uuid) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{}'", id.simple()),
            Self::Postgres(_) => format!("'{id}'"),
        }
    }

    /// Removes what the migrations have written, and whose installation it is: nothing serves from it until the end.
    pub async fn clear(&mut self, tables: &[Table]) -> Result<()> {
        let deletes: Vec<String> =
            tables.iter().rev().map(|table| format!("delete from \"{}\"; ", table.name)).collect();
        let text = format!("{}delete from installation; update copying set cleared = true", deletes.concat());
        self.all(&text).await
    }

    /// The last key that is there.
    pub async fn frontier(&mut self, table: &Table) -> Result<Option<Cells>> {
        let backwards = |order: Vec<String>| -> String {
            order.iter().map(|column| format!("{column} desc")).collect::<Vec<_>>().join(", ")
        };
        let text = |postgres| {
            let order = backwards(table.order(postgres));
            format!("select {} from \"{}\" order by {order} limit 1", table.list(), table.name)
        };
        let row: Option<Cells> = match self {
            Self::Sqlite(connection) => {
                let faulty = |error: rusqlite::Error| fault(&error, table);
                let mut statement = connection.prepare(&text(false)).map_err(faulty)?;
                let mut rows = statement.query([]).map_err(faulty)?;
                let cells = |row: &rusqlite::Row<'_>| -> Result<Cells> {
                    let fields = table.fields.iter().enumerate();
                    fields.map(|(at, field)| cell(row.get_ref(at).map_err(faulty)?, table, field)).collect()
                };
                rows.next().map_err(faulty)?.map(cells).transpose()?
            }
            Self::Postgres(lease) => {
                let faulty = |error: tokio_postgres::Error| Error::from(from_postgres(&error, &table.name));
                let row = lease.connection()?.query_opt(&text(true), &[]).await.map_err(faulty)?;
                let cells = |row: tokio_postgres::Row| -> Result<Cells, tokio_postgres::Error> {
                    table.fields.iter().enumerate().map(|(at, field)| of_server(&row, at, field.kind)).collect()
                };
                row.map(cells).transpose().map_err(faulty)?
            }
        };
        Ok(row.map(|row| table.key_of(&row)))
    }

    /// Adds rows, all of them or none.
    pub async fn add(&mut self, table: &Table, rows: Vec<Cells>) -> Result<()> {
        match self {
            Self::Sqlite(connection) => tokio::task::block_in_place(|| {
                let places: Vec<String> = (1..=table.fields.len()).map(|place| format!("?{place}")).collect();
                let text = format!("insert into \"{}\" ({}) values ({})", table.name, table.list(), places.join(", "));
                let mut add = || -> rusqlite::Result<()> {
                    let transaction = connection.transaction()?;
                    {
                        let mut statement = transaction.prepare_cached(&text)?;
                        for row in &rows {
                            statement.execute(params_from_iter(row))?;
                        }
                    }
                    transaction.commit()
                };
                add().map_err(|error| fault(&error, table))
            }),
            Self::Postgres(lease) => {
                lease.begin(&format!("begin; {UNLIMITED}")).await?;
                let added = send(lease, table, rows).await;
                added.map_err(|error| Error::from(from_postgres(&error, &table.name)))?;
                lease.commit().await
            }
        }
    }

    /// Lets a table go on drawing numbers behind this one.
    pub async fn draw_behind(&mut self, table: &Table, last: i64) -> Result<()> {
        let name = &table.name;
        let text = match self {
            Self::Sqlite(_) => format!(
                "delete from sqlite_sequence where name = '{name}'; \
                 insert into sqlite_sequence (name, seq) values ('{name}', {last})"
            ),
            Self::Postgres(_) => format!("select setval({}, {}, {})", sequence(table), last.max(1), last > 0),
        };
        self.all(&text).await
    }

    /// The end: it is an installation of its own, and may be served from.
    pub async fn finish(&mut self, installation: Uuid) -> Result<()> {
        let (id, now) = (self.literal(installation), Clock::default().now().0);
        let text = format!(
            "delete from installation; insert into installation (one, id, made_at) values (1, {id}, {now}); drop table \
             copying"
        );
        self.all(&text).await
    }
}

const UNLIMITED: &str = "set local statement_timeout = 0; set local lock_timeout = 0; \
                         set local idle_in_transaction_session_timeout = 0";

async fn send(lease: &mut Lease, table: &Table, rows: Vec<Cells>) -> Result<(), tokio_postgres::Error> {
    let types: Vec<Type> = table.fields.iter().map(|field| of_kind(field.kind)).collect();
    let text = format!("copy \"{}\" ({}) from stdin binary", table.name, table.list());
    let Ok(connection) = lease.connection() else { return Ok(()) };
    let sink = connection.copy_in::<_, Bytes>(&text).await?;
    let writer = BinaryCopyInWriter::new(sink, &types);
    pin_mut!(writer);
    for row in &rows {
        writer.as_mut().write_raw(row).await?;
    }
    writer.finish().await.map(drop)
}

fn of_kind(kind: Kind) -> Type {
    match kind {
        Kind::Uuid => Type::UUID,
        Kind::Int => Type::INT8,
        Kind::Text => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
        Kind::Bool => Type::BOOL,
    }
}

/// The tables that a copy fills.
pub fn copied(tables: Vec<Table>) -> Vec<Table> {
    tables.into_iter().filter(|table| !OF_THE_DATABASE.contains(&table.name.as_str())).collect()
}

/// Reads a table on both sides, row by row; how many rows it has, or the first of them that is not the same.
pub async fn compare(source: &Reader, target: &Reader, table: &Table) -> Result<u64, String> {
    let cannot = |error: Error| format!("cannot read {}: {error}", table.name);
    let (mut left, mut right) = (source.rows(table, None), target.rows(table, None));
    let (mut ours, mut theirs) = (Vec::new().into_iter(), Vec::new().into_iter());
    let mut same = 0;
    loop {
        let one = next(&mut ours, &mut left).await.map_err(cannot)?;
        let other = next(&mut theirs, &mut right).await.map_err(cannot)?;
        let what = match (one, other) {
            (None, None) => return Ok(same),
            (Some(one), Some(other)) if one == other => {
                same += 1;
                continue;
            }
            (Some(_), Some(_)) => "is another",
            (Some(_), None) => "is missing",
            (None, Some(_)) => "is one too many",
        };
        return Err(format!("row {} of {} in the order of its key {what}", same + 1, table.name));
    }
}

async fn next(part: &mut std::vec::IntoIter<Cells>, parts: &mut Receiver<Result<Vec<Cells>>>) -> Result<Option<Cells>> {
    loop {
        if let Some(row) = part.next() {
            return Ok(Some(row));
        }
        match parts.recv().await {
            Some(next) => *part = next?.into_iter(),
            None => return Ok(None),
        }
    }
}
