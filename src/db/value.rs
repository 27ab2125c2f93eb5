//! What goes into a statement and what comes out, the same for both engines.

use std::error::Error as StdError;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use crate::kernel::digest::Digest;
use crate::kernel::error::{Error, Result, Storage};
use crate::kernel::ids::{
    BrowserSessionId, DecisionId, EndpointId, EventId, LedgerCheckId, MailId, MessageId, PayoutId, PayoutLineId,
    RefundId, RewardId, SessionId, UserId,
};
use crate::kernel::time::Time;

/// A statement with a name of its own. Made by [`sql!`](crate::sql) only, which also lists it for the test that
/// prepares every statement on both engines.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    pub name: &'static str,
    /// Nothing where only the other engine gains by it, see [`Db::attempt`](super::Db::attempt).
    pub sqlite: Option<&'static str>,
    pub postgres: &'static str,
}

pub(super) fn sqlite_text(sql: &Sql) -> rusqlite::Result<&'static str> {
    sql.sqlite.ok_or(rusqlite::Error::InvalidQuery)
}

/// Statements of a store: `NAME = "text for both";` or, where it cannot be helped,
/// `NAME = { sqlite: "…", postgres: "…" };`. A statement without one for SQLite is for `Db::attempt`.
#[macro_export]
macro_rules! sql {
    ($($(#[$doc:meta])* $name:ident = $text:tt;)*) => {
        $($(#[$doc])* static $name: $crate::db::Sql = $crate::sql!(@one $name $text);)*
        /// Every statement of this store, for the tests.
        pub static STATEMENTS: &[&$crate::db::Sql] = &[$(&$name,)*];
    };
    (@one $name:ident { sqlite: $sqlite:literal, postgres: $postgres:literal $(,)? }) => {
        $crate::db::Sql { name: stringify!($name), sqlite: Some($sqlite), postgres: $postgres }
    };
    (@one $name:ident { postgres: $postgres:expr $(,)? }) => {
        $crate::db::Sql { name: stringify!($name), sqlite: None, postgres: $postgres }
    };
    (@one $name:ident $text:literal) => {
        $crate::db::Sql { name: stringify!($name), sqlite: Some($text), postgres: $text }
    };
}

/// The parameters of a statement, in order.
#[macro_export]
macro_rules! params {
    ($($value:expr),* $(,)?) => {{
        let values: [$crate::db::Value; _] = [$($crate::db::Value::from($value)),*];
        values
    }};
}

#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    Uuid(Uuid),
}

/// Kinds only: drivers log parameters, and ours are addresses, hashes and keys.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Uuid(_) => "uuid",
        })
    }
}

macro_rules! from {
    ($($from:ty => |$value:ident| $make:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self { $make }
        })*
    };
}

from! {
    bool => |v| Self::Bool(v);
    i64 => |v| Self::Int(v);
    i32 => |v| Self::Int(i64::from(v));
    Time => |v| Self::Int(v.0);
    &str => |v| Self::Text(v.to_owned());
    String => |v| Self::Text(v);
    &String => |v| Self::Text(v.clone());
    Vec<u8> => |v| Self::Bytes(v);
    &[u8; 32] => |v| Self::Bytes(v.to_vec());
    &[u8] => |v| Self::Bytes(v.to_vec());
    UserId => |v| Self::Uuid(v.0);
    SessionId => |v| Self::Uuid(v.0);
    BrowserSessionId => |v| Self::Uuid(v.0);
    MailId => |v| Self::Uuid(v.0);
    MessageId => |v| Self::Uuid(v.0);
    EndpointId => |v| Self::Uuid(v.0);
    EventId => |v| Self::Uuid(v.0);
    RefundId => |v| Self::Uuid(v.0);
    RewardId => |v| Self::Uuid(v.0);
    DecisionId => |v| Self::Uuid(v.0);
    LedgerCheckId => |v| Self::Uuid(v.0);
    PayoutId => |v| Self::Uuid(v.0);
    PayoutLineId => |v| Self::Uuid(v.0);
    Uuid => |v| Self::Uuid(v);
}

impl<D: Digest> From<&D> for Value {
    fn from(digest: &D) -> Self {
        Self::Bytes(digest.bytes().to_vec())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Bool(value) => ValueRef::Integer(i64::from(*value)),
            Self::Int(value) => ValueRef::Integer(*value),
            Self::Text(value) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(value) => ValueRef::Blob(value),
            Self::Uuid(value) => ValueRef::Blob(value.as_bytes()),
        }))
    }
}

impl Value {
    /// The type said to PostgreSQL where it cannot be asked (no prepared statements).
    pub(super) fn postgres_type(&self) -> Type {
        match self {
            Self::Null => Type::UNKNOWN,
            Self::Bool(_) => Type::BOOL,
            Self::Int(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
            Self::Uuid(_) => Type::UUID,
        }
    }
}

impl ToSql for Value {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bool(value) => value.to_sql_checked(ty, out),
            Self::Int(value) if *ty == Type::INT4 => i32::try_from(*value)?.to_sql(ty, out),
            Self::Int(value) => value.to_sql_checked(ty, out),
            Self::Text(value) => value.to_sql_checked(ty, out),
            Self::Bytes(value) => value.to_sql_checked(ty, out),
            Self::Uuid(value) => value.to_sql_checked(ty, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A row of an answer. Columns are read by position, as the statement lists them.
pub enum Row {
    Sqlite(Vec<Value>),
    Postgres(tokio_postgres::Row),
}

/// What a column can be read as.
pub trait Column: Sized + for<'a> tokio_postgres::types::FromSql<'a> {
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! column {
    ($($ty:ty: $($pattern:pat => $make:expr),+;)*) => {
        $(impl Column for $ty {
            fn from_value(value: &Value) -> Option<Self> {
                match value { $($pattern => Some($make),)+ _ => None }
            }
        })*
    };
}

column! {
    i64: Value::Int(v) => *v;
    bool: Value::Int(v) => *v != 0;
    String: Value::Text(v) => v.clone();
    Vec<u8>: Value::Bytes(v) => v.clone();
    Uuid: Value::Bytes(v) => Uuid::from_slice(v).ok()?;
}

impl<T: Column> Column for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}

impl Row {
    pub fn get<T: Column>(&self, index: usize) -> Result<T> {
        match self {
            Self::Sqlite(values) => values.get(index).and_then(T::from_value).ok_or_else(|| {
                Storage::Broken(format!("column {index} is not a {}", std::any::type_name::<T>())).into()
            }),
            Self::Postgres(row) => {
                row.try_get(index).map_err(|error| Storage::Broken(format!("column {index}: {error}")).into())
            }
        }
    }

    pub fn user(&self, index: usize) -> Result<UserId> {
        self.get(index).map(UserId)
    }

    pub fn time(&self, index: usize) -> Result<Time> {
        self.get(index).map(Time)
    }

    pub fn digest<D: Digest>(&self, index: usize) -> Result<D> {
        digest(self.get(index)?, index)
    }

    pub fn optional_digest<D: Digest>(&self, index: usize) -> Result<Option<D>> {
        self.get::<Option<Vec<u8>>>(index)?.map(|bytes| digest(bytes, index)).transpose()
    }
}

fn digest<D: Digest>(bytes: Vec<u8>, index: usize) -> Result<D> {
    let bytes = bytes.try_into().map_err(|_| Error::Internal(format!("column {index} has no digest")))?;
    Ok(D::stored(bytes))
}
