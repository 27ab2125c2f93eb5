//! What every test stands on: real servers, nodes of the service, clients that check each answer against the document.

pub mod app;
pub mod browser;
pub mod certificates;
pub mod client;
pub mod document;
pub mod history;
pub mod hunter;
pub mod log;
pub mod operations;
pub mod process;
pub mod provider;
pub mod raw;
pub mod relay;
pub mod servers;
pub mod visit;
pub mod witness;

/// Runs a test on each of the three set-ups: SQLite, PostgreSQL, PostgreSQL with Redis. The body gets a
/// [`app::Setup`] to build its nodes with.
#[macro_export]
macro_rules! on_every_setup {
    ($($(#[$doc:meta])* async fn $name:ident($setup:ident: Setup) $body:block)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                async fn body($setup: $crate::support::app::Setup) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    body($crate::support::app::Setup::Sqlite).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    body($crate::support::app::Setup::Postgres).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres_and_redis() {
                    body($crate::support::app::Setup::PostgresAndRedis).await;
                }
            }
        )*
    };
}

/// Runs a test on both engines, for what Redis has no part in.
#[macro_export]
macro_rules! on_both_engines {
    ($($(#[$doc:meta])* async fn $name:ident($setup:ident: Setup) $body:block)*) => {
        $(
            $(#[$doc])*
            mod $name {
                use super::*;

                async fn body($setup: $crate::support::app::Setup) $body

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn sqlite() {
                    body($crate::support::app::Setup::Sqlite).await;
                }

                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn postgres() {
                    body($crate::support::app::Setup::Postgres).await;
                }
            }
        )*
    };
}
