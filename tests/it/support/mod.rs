//! What every test stands on: real servers, nodes of the service, clients that check each answer against the document.

pub mod app;
pub mod browser;
pub mod certificates;
pub mod client;
pub mod clock;
pub mod codes;
pub mod counted;
pub mod document;
pub mod figures;
pub mod first_schema;
pub mod gallery;
pub mod history;
pub mod host;
pub mod hunter;
pub mod keyed;
pub mod log;
pub mod mailbox;
pub mod oauth;
pub mod operations;
pub mod operator;
pub mod paths;
pub mod process;
pub mod provider;
pub mod raw;
pub mod receiver;
pub mod record;
pub mod registration;
pub mod relay;
pub mod router;
pub mod servers;
pub mod sources;
pub mod spending;
pub mod spy;
pub mod tokens;
pub mod visit;
pub mod witness;

/// Whether there is time for all of it: `cargo xtask faults`.
pub fn thorough() -> bool {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    std::env::var_os("FAULTS").is_some()
}

/// Makes a test of the function of this name, on each of the three set-ups: SQLite, PostgreSQL, PostgreSQL with Redis.
/// The function stands right below and gets a [`app::Setup`] to build its nodes with.
#[macro_export]
macro_rules! on_every_setup {
    ($name:ident) => {
        $crate::in_each_case!(
            $name($crate::support::app::Setup):
            sqlite Sqlite,
            postgres Postgres,
            postgres_and_redis PostgresAndRedis
        );
    };
}

/// The same on both engines, for what Redis has no part in.
#[macro_export]
macro_rules! on_both_engines {
    ($name:ident) => {
        $crate::in_each_case!($name($crate::support::app::Setup): sqlite Sqlite, postgres Postgres);
    };
}

/// A module of the function's name with a test for each case, so that a test is called `name::case`.
#[macro_export]
macro_rules! in_each_case {
    ($name:ident($cases:ty): $($test:ident $case:ident),*) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$name(<$cases>::$case).await;
                }
            )*
        }
    };
}
