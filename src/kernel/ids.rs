//! Identifiers. Users and sessions get theirs from us, before anything is written; code ids come from the database.

use std::fmt;

use uuid::{NoContext, Timestamp, Uuid};

use super::time::{Clock, Time};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new UUIDv7: time-ordered, so that inserts land at the end of the index.
            #[expect(clippy::new_without_default, reason = "an id is never a default")]
            pub fn new() -> Self {
                Self(made_at(Clock::default().now()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A person with an account.
    UserId
);
id!(
    /// One log-in: a family of tokens that are refreshed from each other and end together.
    SessionId
);
id!(
    /// One log-in at our own pages.
    BrowserSessionId
);
id!(
    /// One mail, and the link in it.
    MailId
);
id!(
    /// A program that managers have let in.
    ClientId
);
id!(
    /// One access token (`jti`).
    TokenId
);
id!(
    /// One change of the signing keys, as nodes hear of it.
    KeyChangeId
);
id!(
    /// One running process.
    NodeId
);
id!(
    /// One thing that somebody did at a host's, as events tell of it.
    EventId
);
id!(
    /// One amount taken back of an event.
    RefundId
);
id!(
    /// What one person gets for one event by one rule.
    RewardId
);
id!(
    /// Something that was decided by hand of a referral, a reward or a balance.
    DecisionId
);
id!(
    /// Those who are paid together.
    PayoutId
);
id!(
    /// What one holder is paid in a payout.
    PayoutLineId
);
id!(
    /// A look at whether everything adds up.
    LedgerCheckId
);
id!(
    /// One row of the audit.
    AuditId
);
id!(
    /// One HTTP request, as the caller and the log name it.
    RequestId
);

id!(
    /// One thing that is told to others.
    MessageId
);
id!(
    /// One address that others have given us to be told at.
    EndpointId
);
id!(
    /// One installation of the service: all nodes on one database.
    InstallationId
);

#[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
fn made_at(now: Time) -> Uuid {
    // A clock that stands before 1970 makes the library panic.
    if now.0 > 0 { Uuid::now_v7() } else { Uuid::new_v7(Timestamp::from_unix(NoContext, 0, 0)) }
}

/// Reads 36 characters with hyphens or 32 without, in either case; nothing else that UUID readers accept.
pub fn uuid(text: &str) -> Option<Uuid> {
    matches!(text.len(), 32 | 36).then(|| Uuid::try_parse(text).ok())?
}

impl UserId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl EventId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl RewardId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl DecisionId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl PayoutId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl LedgerCheckId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl MailId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl MessageId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl EndpointId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

impl RequestId {
    pub fn parse(text: &str) -> Option<Self> {
        uuid(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_whatever_the_clock_says() {
        for micros in [0, 1, i64::MAX] {
            let (one, other) = (made_at(Time(micros)), made_at(Time(micros)));
            assert_ne!(one, other);
            assert_eq!(one.get_version_num(), 7);
        }
    }

    #[test]
    fn a_user_id_is_read_with_and_without_hyphens() {
        let id = UserId::new();
        assert_eq!(UserId::parse(&id.to_string()), Some(id));
        assert_eq!(UserId::parse(&id.0.simple().to_string().to_uppercase()), Some(id));
        for bad in
            ["", "abc", "{5442a9ef-ea29-4d5c-a6ac-d29988e39cca}", "urn:uuid:5442a9ef-ea29-4d5c-a6ac-d29988e39cca"]
        {
            assert_eq!(UserId::parse(bad), None);
        }
    }
}
