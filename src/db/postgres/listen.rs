//! Notifications, on a connection of their own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::super::error::from_postgres;
use super::connect::{Connection, Connector};
use crate::kernel::error::Result;

/// Between two looks at a connection on which nothing is heard.
const PERIOD: Duration = Duration::from_secs(1);

/// What is needed to listen for notifications.
pub struct Listener {
    pub(super) connector: Arc<Connector>,
    pub(super) limit: Duration,
}

impl Listener {
    /// Listens on a channel.
    pub async fn listen(&self, channel: &str) -> Result<Notifications> {
        // One waiting message says as much as a hundred.
        let (heard, messages) = mpsc::channel(1);
        let connection = self.connector.reach(self.limit, Some(heard)).await?;
        let listen = format!("listen {channel}");
        connection.batch_execute(&listen).await.map_err(|error| from_postgres(&error, "listen"))?;
        Ok(Notifications { messages, connection, listen, connector: self.connector.clone(), limit: self.limit })
    }
}

/// What is heard on a channel.
pub struct Notifications {
    messages: mpsc::Receiver<()>,
    connection: Connection,
    listen: String,
    connector: Arc<Connector>,
    limit: Duration,
}

impl Notifications {
    /// Waits for the next notification; nothing when the connection has broken or had its day.
    pub async fn next(&mut self) -> Option<()> {
        loop {
            if let Ok(heard) = tokio::time::timeout(PERIOD, self.messages.recv()).await {
                return heard;
            }
            // Nobody tells a listener that its server is gone, or is not the one any more. Said again it changes
            // nothing.
            let answered = tokio::time::timeout(self.limit, self.connection.batch_execute(&self.listen)).await;
            if !matches!(answered, Ok(Ok(()))) || !self.connector.trusts(&self.connection) {
                return None;
            }
        }
    }
}
