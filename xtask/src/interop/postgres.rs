//! A PostgreSQL of our own for the servers under test: its own folder, a free port, gone with the run.

use std::cell::Cell;

use testkit::{Kept, free_port, postgresql, quoted};

use crate::machine::{POSTGRESQL, postgresql_programs, provide};

/// More than there are runs.
const DATABASES: u32 = 20;

pub struct Cluster {
    /// Held for its end.
    _kept: Kept,
    port: u16,
    used: Cell<u32>,
}

impl Cluster {
    pub fn start() -> Result<Cluster, String> {
        provide(&[POSTGRESQL])?;
        let programs = postgresql_programs().ok_or("PostgreSQL's programs are gone")?;
        let port = free_port()?;
        let make = format!(
            "{} && for number in $(seq {DATABASES}); do echo \"create database run$number\"; done | {} --single -F -D data \
             postgres",
            postgresql::initdb(&programs),
            quoted(programs.join("postgres")),
        );
        let mut kept = Kept::new(postgresql::user()?, postgresql::SIGNAL, "")?;
        // Nothing is kept, so nothing has to reach the disk.
        kept.start(&postgresql::server(&programs, &make, port, "-c fsync=off"))?;
        kept.wait_for("PostgreSQL", |kept| kept.log().contains(postgresql::READY).then_some(()))?;
        Ok(Cluster { _kept: kept, port, used: Cell::new(0) })
    }

    /// The address of an empty database.
    pub fn database(&self) -> String {
        self.used.set(self.used.get() + 1);
        format!("postgres://postgres@127.0.0.1:{}/run{}", self.port, self.used.get())
    }
}
