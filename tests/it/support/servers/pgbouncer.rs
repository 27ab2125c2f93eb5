//! PgBouncer.

use testkit::Kept;
use tokio_postgres::NoTls;

use super::{ATTEMPTS, Postgres, comes_up, free_port, give_up, postgres_user, program};

/// A real pooler between the service and a PostgreSQL.
pub struct PgBouncer {
    port: u16,
    _kept: Kept,
}

impl PgBouncer {
    /// With few connections of its own, so that its clients are handed each other's.
    pub async fn before(server: &Postgres, mode: &str) -> PgBouncer {
        // Packages put it where only root looks.
        let program = program(&["pgbouncer", "/usr/sbin/pgbouncer"], "PgBouncer");
        // It refuses to run as root.
        let mut kept = Kept::new(postgres_user(), "KILL", "").expect("a folder");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let settings = format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n\
                 default_pool_size = {}\nmax_client_conn = 500\n",
                server.port(),
                if mode == "session" { 50 } else { 3 },
            );
            kept.write("pgbouncer.ini", &settings).expect("the folder can be written");
            kept.start(&format!("exec '{}' pgbouncer.ini", program.display())).expect("the keeper answers");
            let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
            let answers = async || match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection); // ends with the client
                    client.simple_query("select 1").await.is_ok()
                }
                Err(_) => false,
            };
            if comes_up(&kept, answers).await && kept.alive() {
                return PgBouncer { port, _kept: kept };
            }
        }
        give_up(&kept)
    }

    /// The address of a database of the server's, through the pooler.
    pub fn url(&self, direct: &str) -> String {
        let (_, database) = direct.rsplit_once('/').expect("a database");
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}
