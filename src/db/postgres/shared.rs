//! Connections that reads share, and the watch that is kept over each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::SimpleQueryMessage;

use super::connect::{Connection, Connector};
use crate::kernel::error::{Result, Storage};

/// One connection saturates a core of ours, two keep the second busy.
const SHARED: usize = 2;
/// Between two looks at a connection: a server that is not the one any more is left within this time, though nobody
/// writes and so nobody is told.
const PERIOD: Duration = Duration::from_millis(400);

pub struct Shared {
    places: [Place; SHARED],
    next: AtomicUsize,
    connector: Arc<Connector>,
    /// After which a connection that answers nothing is given up.
    silence: Duration,
}

#[derive(Default)]
struct Place {
    connection: RwLock<Option<Arc<Connection>>>,
    /// Held by who opens it. When that failed the last time, and how.
    opening: Mutex<Option<(Instant, Storage)>>,
}

impl Shared {
    pub fn new(connector: Arc<Connector>, silence: Duration) -> Self {
        Self { places: Default::default(), next: AtomicUsize::new(0), connector, silence }
    }

    /// A connection for one read: no more than one of them is opened at a time at each place.
    pub async fn get(&self) -> Result<Arc<Connection>> {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % SHARED;
        let [first, second] = &self.places;
        let place = if index == 0 { first } else { second };
        match self.at(place) {
            Some(connection) => Ok(connection),
            // Apart, so that the many reads that find one are small.
            None => Box::pin(self.open(place)).await,
        }
    }

    async fn open(&self, place: &Place) -> Result<Arc<Connection>> {
        let began = Instant::now();
        let mut failed = place.opening.lock().await;
        if let Some(connection) = self.at(place) {
            return Ok(connection);
        }
        // Whoever waited for an attempt that failed has no better chance: they would fail one after the other.
        if let Some((_, fault)) = failed.as_ref().filter(|(at, _)| *at > began) {
            return Err(fault.clone().into());
        }
        match self.connector.connect().await {
            Ok(connection) => {
                *failed = None;
                Ok(self.put(place, connection))
            }
            Err(fault) => {
                *failed = Some((Instant::now(), fault.clone()));
                Err(fault.into())
            }
        }
    }

    /// Takes a connection that was opened for something else.
    pub fn adopt(&self, connection: Connection) {
        let [first, _] = &self.places;
        self.put(first, connection);
    }

    fn at(&self, place: &Place) -> Option<Arc<Connection>> {
        let connection = place.connection.read().unwrap_or_else(PoisonError::into_inner).clone();
        connection.filter(|connection| self.connector.trusts(connection))
    }

    fn put(&self, place: &Place, connection: Connection) -> Arc<Connection> {
        let connection = Arc::new(connection);
        tokio::spawn(watch(self.connector.clone(), Arc::downgrade(&connection), self.silence));
        *place.connection.write().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        connection
    }
}

/// Asks a connection again and again whether its server answers and takes writes, for as long as it is used: those who
/// read on it have no clock of their own. Answers come in turn, so who waits for one waits for what was asked before.
async fn watch(connector: Arc<Connector>, watched: std::sync::Weak<Connection>, silence: Duration) {
    loop {
        tokio::time::sleep(PERIOD).await;
        let Some(connection) = watched.upgrade().filter(|connection| !connection.is_closed()) else { return };
        let asked = connection.simple_query("show transaction_read_only");
        let why = match tokio::time::timeout(silence, asked).await {
            Err(_) => "the server is silent",
            Ok(Ok(rows)) if connector.wants_writes() && says_on(&rows) => "the server takes no writes",
            Ok(_) if !connector.trusts(&connection) => "the server was given up",
            Ok(_) => continue,
        };
        connector.renew(&connection, why);
        // Whoever waits for an answer asks elsewhere.
        connection.abort();
        return;
    }
}

fn says_on(rows: &[SimpleQueryMessage]) -> bool {
    rows.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")))
}
