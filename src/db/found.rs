//! What is in a database before anything of ours is done to it: nothing, our tables, or somebody else's.
//!
//! Ours is known by the table `installation`; a database from before that table, by the names of the first migrations.
//! Everything else that is in the way is told as what it is, and left alone.

use std::collections::HashSet;

use tokio_postgres::GenericClient;
use tokio_postgres::types::Type;

use super::error::{from_postgres, from_sqlite};
use super::migrate::STEPS;
use crate::kernel::error::Result;

const VERSIONS: &str = "schema_migrations";
const VERSIONS_COLUMNS: &[&str] = &["version", "name", "applied_at"];
const INSTALLATION: &str = "installation";
const INSTALLATION_COLUMNS: &[&str] = &["one", "id", "made_at"];

/// Who else keeps a table of this name, by its columns.
const TOOLS: &[(&[&str], &str)] = &[
    (&["version", "dirty"], "golang-migrate's"),
    (&["version"], "Rails' or dbmate's"),
    (&["version", "inserted_at"], "Ecto's"),
];

#[derive(Debug, Default)]
pub(super) struct Found {
    engine: Engine,
    /// How texts are stored, and how they go over the wire; UTF8 or not.
    encoding: String,
    spoken: String,
    /// The file, or the database's name.
    place: String,
    /// Where our tables would be made; only PostgreSQL has several schemas.
    schema: Option<String>,
    /// What has a name of ours there.
    relations: Vec<Relation>,
    /// A schema further back on the search path that holds tables of ours.
    hidden: Option<String>,
    /// Version and name of each step that was applied, if the table of versions has our columns.
    applied: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Engine {
    #[default]
    Sqlite,
    Postgres,
}

#[derive(Debug)]
struct Relation {
    name: String,
    /// In their order; an index tells none on SQLite.
    columns: Vec<String>,
}

impl Relation {
    fn has(&self, columns: &[&str]) -> bool {
        self.columns == columns
    }
}

impl Found {
    /// The schema's version, nothing if there is none yet; or why this database cannot be ours, with the remedy.
    pub(super) fn version(&self) -> Result<Option<i64>, String> {
        self.check_encoding()?;
        if self.engine == Engine::Postgres && self.schema.is_none() {
            return Err("search_path names no schema that exists: create one (create schema referral authorization \
                        ROLE) and name it in DATABASE_URL (…/NAME?options=-csearch_path%3Dreferral)"
                .to_owned());
        }
        if let Some(hidden) = &self.hidden {
            return Err(format!(
                "Referral's tables are in the schema \"{hidden}\", and search_path has \"{}\" in front of it, where new \
                 ones would be made: name the right schema in DATABASE_URL (…/NAME?options=-csearch_path%3D{hidden})",
                self.schema.as_deref().unwrap_or_default()
            ));
        }
        let version = match self.relation(VERSIONS) {
            None => None,
            Some(versions) if !versions.has(VERSIONS_COLUMNS) => {
                let tool = TOOLS.iter().find(|(columns, _)| versions.has(columns));
                let whose = tool.map_or("somebody else's", |(_, tool)| tool);
                return Err(self.foreign(&format!("the table {VERSIONS} ({}), {whose}", versions.columns.join(", "))));
            }
            Some(_) => Some(self.newest()?),
        };
        let applied = usize::try_from(version.unwrap_or(0)).unwrap_or(usize::MAX).min(STEPS.len());
        let (applied, to_come) = STEPS.split_at(applied);
        let ours: HashSet<&str> = applied.iter().flat_map(|(_, text)| names(text)).collect();
        let in_the_way: Vec<String> = to_come
            .iter()
            .flat_map(|(_, text)| names(text))
            .filter(|name| !ours.contains(name))
            .filter_map(|name| self.relation(name))
            .map(|relation| match relation.columns.as_slice() {
                [] => relation.name.clone(),
                columns => format!("{} ({})", relation.name, columns.join(", ")),
            })
            .collect();
        match in_the_way.as_slice() {
            [] => Ok(version),
            [one] => Err(self.foreign(&format!("{one}, a name that Referral gives to something of its own"))),
            [one, two] => {
                Err(self.foreign(&format!("{one} and {two}, names that Referral gives to something of its own")))
            }
            [one, two, more @ ..] => Err(self.foreign(&format!(
                "{one}, {two} and {} more, names that Referral gives to something of its own",
                more.len()
            ))),
        }
    }

    /// The last step that was applied, if the steps are ours.
    fn newest(&self) -> Result<i64, String> {
        let ours = self.relation(INSTALLATION).is_some_and(|relation| relation.has(INSTALLATION_COLUMNS));
        let mut newest = 0;
        for (version, name) in &self.applied {
            let number: Option<i64> = version.parse().ok().filter(|number| *number > 0);
            let step = number.and_then(|number| STEPS.get(usize::try_from(number - 1).ok()?));
            match number {
                // A step that we do not know is a newer binary's.
                Some(number) if ours || step.is_none_or(|(known, _)| known == name) => newest = newest.max(number),
                _ => {
                    return Err(self.foreign(&format!(
                        "the table {VERSIONS}, somebody else's: its version {version} is called \"{name}\""
                    )));
                }
            }
        }
        Ok(newest)
    }

    fn check_encoding(&self) -> Result<(), String> {
        match self.engine {
            Engine::Sqlite if self.encoding != "UTF-8" => Err(format!(
                "texts in {} are {}, and Referral needs UTF-8: use a new file, or copy this one \
                 (sqlite3 OLD .dump | sqlite3 NEW)",
                self.place, self.encoding
            )),
            Engine::Postgres if self.encoding != "UTF8" => Err(format!(
                "the encoding of the database \"{}\" is {}, and Referral needs UTF8: make one with `createdb \
                 --encoding=UTF8 --template=template0 --locale=C.UTF-8 NAME`, and name it in DATABASE_URL",
                self.place, self.encoding
            )),
            Engine::Postgres if self.spoken != "UTF8" => Err(format!(
                "client_encoding is {}, and must be UTF8: take it out of DATABASE_URL's options, or of the pooler's \
                 settings",
                self.spoken
            )),
            _ => Ok(()),
        }
    }

    fn foreign(&self, what: &str) -> String {
        let (place, remedy) = match (self.engine, &self.schema) {
            (Engine::Postgres, Some(schema)) => (
                format!("the schema \"{schema}\" of the database \"{}\"", self.place),
                "a database of its own (createdb), or a schema of its own (create schema referral authorization ROLE; \
                 then DATABASE_URL=…/NAME?options=-csearch_path%3Dreferral)",
            ),
            _ => (self.place.clone(), "a file of its own (DATABASE_URL=sqlite:PATH)"),
        };
        format!("{place} holds {what}. Give Referral {remedy}. Nothing was changed")
    }

    fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name.eq_ignore_ascii_case(name))
    }

    fn has_our_versions(&self) -> bool {
        self.relation(VERSIONS).is_some_and(|versions| versions.has(VERSIONS_COLUMNS))
    }
}

/// The names that a step gives to tables, indexes and functions.
fn names(step: &str) -> impl Iterator<Item = &str> {
    step.lines().filter_map(|line| {
        let kinds = ["create table ", "create index ", "create unique index ", "create function "];
        let rest = kinds.iter().find_map(|it| line.strip_prefix(it));
        rest?.split([' ', '(']).next()
    })
}

/// Every name that we give, and those by which we are known.
fn our_names() -> Vec<&'static str> {
    [VERSIONS, INSTALLATION].into_iter().chain(STEPS.iter().flat_map(|(_, text)| names(text))).collect()
}

pub(super) fn in_sqlite(connection: &rusqlite::Connection) -> Result<Found> {
    let look = || -> rusqlite::Result<Found> {
        let mut found = Found {
            encoding: connection.query_row("pragma encoding", [], |row| row.get(0))?,
            place: connection.path().unwrap_or_default().to_owned(),
            ..Found::default()
        };
        let mut statement = connection.prepare(
            "select name, (select group_concat(name, ',') from pragma_table_info(m.name)) from sqlite_schema m \
             where lower(name) in (select value from json_each($1))",
        )?;
        let names: Vec<String> = our_names().iter().map(|name| format!("\"{name}\"")).collect();
        let relations = statement.query_map([format!("[{}]", names.join(","))], |row| {
            Ok(Relation { name: row.get(0)?, columns: split(row.get::<_, Option<String>>(1)?) })
        })?;
        found.relations = relations.collect::<rusqlite::Result<_>>()?;
        if found.has_our_versions() {
            let mut statement = connection
                .prepare("select cast(version as text), cast(name as text) from schema_migrations order by version")?;
            let applied = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            found.applied = applied.collect::<rusqlite::Result<_>>()?;
        }
        Ok(found)
    };
    look().map_err(|error| from_sqlite(&error, "a look at the database").into())
}

pub(super) async fn in_postgres(client: &impl GenericClient) -> Result<Found> {
    // Without names for statements, which a pooler may not know.
    let look = async || -> Result<Found, tokio_postgres::Error> {
        let row = client
            .query_typed_one(
                "select current_setting('server_encoding'), current_setting('client_encoding'), \
                        current_database()::text, current_schema()::text",
                &[],
            )
            .await?;
        let mut found = Found {
            engine: Engine::Postgres,
            encoding: row.try_get(0)?,
            spoken: row.try_get(1)?,
            place: row.try_get(2)?,
            schema: row.try_get(3)?,
            ..Found::default()
        };
        let rows = client
            .query_typed(
                "select n.nspname::text, c.relname::text, \
                        (select string_agg(a.attname, ',' order by a.attnum) from pg_attribute a \
                         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and c.relkind <> 'i') \
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                 where n.nspname = any(current_schemas(false)) and c.relname = any(string_to_array($1, ',')) \
                 union all \
                 select n.nspname::text, p.proname::text, 'a function' \
                 from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
                 where n.nspname = current_schema() and p.pronargs = 0 and p.proname = any(string_to_array($1, ','))",
                &[(&our_names().join(","), Type::TEXT)],
            )
            .await?;
        let mut elsewhere = None;
        for row in rows {
            let schema: String = row.try_get(0)?;
            let relation = Relation { name: row.try_get(1)?, columns: split(row.try_get(2)?) };
            if Some(&schema) == found.schema.as_ref() {
                found.relations.push(relation);
            } else if relation.name == VERSIONS && relation.has(VERSIONS_COLUMNS) {
                elsewhere = Some(schema);
            }
        }
        if found.has_our_versions() {
            let rows = client
                .query_typed("select version::text, name::text from schema_migrations order by version", &[])
                .await?;
            for row in rows {
                found.applied.push((row.try_get(0)?, row.try_get(1)?));
            }
        } else {
            found.hidden = elsewhere;
        }
        Ok(found)
    };
    look().await.map_err(|error| from_postgres(&error, "a look at the database").into())
}

fn split(columns: Option<String>) -> Vec<String> {
    columns.unwrap_or_default().split(',').filter(|column| !column.is_empty()).map(str::to_owned).collect()
}
