//! Who waits for jobs in this node, woken when one was added.

use tokio::sync::Notify;

use super::Kind;

/// One for each kind: whoever works on another would only look into the queue and find nothing.
pub struct Bells(Vec<(Kind, Notify)>);

impl Default for Bells {
    fn default() -> Self {
        Self(Kind::ALL.iter().map(|kind| (*kind, Notify::new())).collect())
    }
}

impl Bells {
    /// Wakes whoever works on this kind; after the commit, so that they find the job.
    pub fn ring(&self, kind: Kind) {
        if let Some(bell) = self.bell(kind) {
            bell.notify_waiters();
        }
    }

    /// Waits until it is rung for this kind.
    pub async fn heard(&self, kind: Kind) {
        match self.bell(kind) {
            Some(bell) => bell.notified().await,
            None => std::future::pending().await,
        }
    }

    fn bell(&self, kind: Kind) -> Option<&Notify> {
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, bell)| bell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_works_on_another_kind_is_not_woken() {
        let bells = Bells::default();
        let (mails, checks) = (bells.heard(Kind::SendMail), bells.heard(Kind::CheckEmail));
        tokio::pin!(mails, checks);
        assert!(futures_util::poll!(mails.as_mut()).is_pending());
        assert!(futures_util::poll!(checks.as_mut()).is_pending());
        bells.ring(Kind::SendMail);
        assert!(futures_util::poll!(checks.as_mut()).is_pending());
        assert!(futures_util::poll!(mails.as_mut()).is_ready());
    }
}
