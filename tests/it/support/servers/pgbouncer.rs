//! PgBouncer.

use tokio_postgres::NoTls;

use super::keeper::Keeper;
use super::{ATTEMPTS, Postgres, free_port, postgres_user, program};

/// A real pooler between the service and a PostgreSQL.
pub struct PgBouncer {
    port: u16,
    _keeper: Keeper,
}

impl PgBouncer {
    /// With few connections of its own, so that its clients are handed each other's.
    pub async fn before(server: &Postgres, mode: &str) -> PgBouncer {
        // Packages put it where only root looks.
        let program = program(&["pgbouncer", "/usr/sbin/pgbouncer"], "PgBouncer");
        // It refuses to run as root.
        let mut keeper = Keeper::new(postgres_user(), "KILL", "");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let settings = format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
                 default_pool_size = {}\nmax_client_conn = 500\n",
                server.port(),
                if mode == "session" { 50 } else { 3 },
            );
            keeper.write("pgbouncer.ini", &settings);
            keeper.start(&format!("exec '{}' pgbouncer.ini", program.display()));
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            let answers = async || match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection); // ends with the client
                    client.simple_query("select 1").await.is_ok()
                }
                Err(_) => false,
            };
            if keeper.answers(answers).await && keeper.alive() {
                return PgBouncer { port, _keeper: keeper };
            }
        }
        keeper.give_up()
    }

    /// The address of a database of the server's, through the pooler.
    pub fn url(&self, direct: &str) -> String {
        let (_, database) = direct.rsplit_once('/').expect("a database");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
