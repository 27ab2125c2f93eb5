//! What a message is.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kernel::ids::{MessageId, UserId};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// What a message tells of.
    pub enum MessageType as "MessageType" {
        /// Somebody has registered here.
        ParticipantCreated = "participant.created",
        /// Somebody was erased: what is known elsewhere by their id should go, too.
        ParticipantErased = "participant.erased",
        /// Somebody has come with a code.
        ReferralCreated = "referral.created",
        /// A referral counts from now on.
        ReferralConfirmed = "referral.confirmed",
        /// A manager has decided about a referral.
        ReferralModerated = "referral.moderated",
        RewardCreated = "reward.created",
        RewardAvailable = "reward.available",
        RewardPaid = "reward.paid",
        RewardReversed = "reward.reversed",
    }
}

/// What the type of a message is that only tests an endpoint: nobody asks for it, and it is not kept.
pub const PING: &str = "ping";

/// Members of a message's data that are people: how a host calls each is looked up when the message is sent, so that it
/// is in no stored message.
pub const PEOPLE: [&str; 3] = ["referrer", "referee", "holder"];

/// Something that is to be told: ids, amounts and words, no names and no addresses.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: MessageId,
    pub kind: MessageType,
    /// What it tells of.
    pub subject: Uuid,
    /// An object. A person in it is an object with their `id`, under one of [`PEOPLE`].
    pub data: Value,
    pub at: Time,
}

impl Message {
    pub fn new(kind: MessageType, subject: Uuid, data: Value, at: Time) -> Self {
        Self { id: MessageId::new(), kind, subject, data, at }
    }

    pub fn participant_created(user: UserId, at: Time) -> Self {
        Self::new(MessageType::ParticipantCreated, user.0, json!({"id": user.0, "version": 1}), at)
    }

    pub fn participant_erased(user: UserId, at: Time) -> Self {
        Self::new(MessageType::ParticipantErased, user.0, json!({"id": user.0, "version": 2}), at)
    }

    /// `state` is the word of the referral's state.
    pub fn referral_created(referrer: UserId, referee: UserId, state: &str, at: Time) -> Self {
        Self::of_referral(MessageType::ReferralCreated, referrer, referee, state, 1, at)
    }

    /// After so many decisions about it. Their versions are odd and this one's is even: none is another's.
    pub fn referral_confirmed(referrer: UserId, referee: UserId, decisions: i64, at: Time) -> Self {
        let version = 2 + 2 * decisions;
        Self::of_referral(MessageType::ReferralConfirmed, referrer, referee, "confirmed", version, at)
    }

    /// `state` and `decision` are words, and so many decisions there were with this one.
    pub fn referral_moderated(
        referrer: UserId,
        referee: UserId,
        (state, decision): (&str, &str),
        decisions: i64,
        at: Time,
    ) -> Self {
        let version = 1 + 2 * decisions;
        let mut message = Self::of_referral(MessageType::ReferralModerated, referrer, referee, state, version, at);
        if let Some(members) = message.data.as_object_mut() {
            members.insert("decision".to_owned(), json!(decision));
        }
        message
    }

    /// A referral is called by its referee. Of two messages about one referral the later has the greater version.
    pub fn of_referral(
        kind: MessageType,
        referrer: UserId,
        referee: UserId,
        state: &str,
        version: i64,
        at: Time,
    ) -> Self {
        let (id, referrer, referee) = (referee.0, json!({"id": referrer.0}), json!({"id": referee.0}));
        let data = json!({"id": id, "referrer": referrer, "referee": referee, "state": state, "version": version});
        Self::new(kind, id, data, at)
    }
}

/// A message as the database has it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: MessageId,
    /// A word, which another release may know alone.
    pub kind: String,
    pub data: Value,
    pub at: Time,
    /// Its place in the feed; nothing for a moment.
    pub seq: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_referral_names_both_by_our_ids_and_nothing_else() {
        let (referrer, referee) = (UserId::new(), UserId::new());
        let created = Message::referral_created(referrer, referee, "pending", Time(5));
        let expected = json!({"id": referee.0, "referrer": {"id": referrer.0}, "referee": {"id": referee.0},
                              "state": "pending", "version": 1});
        assert_eq!((created.subject, created.data), (referee.0, expected));
        let confirmed = Message::referral_confirmed(referrer, referee, 0, Time(6));
        assert_eq!(
            (confirmed.data["state"].as_str(), confirmed.data["version"].as_i64()),
            (Some("confirmed"), Some(2))
        );
        assert_ne!(created.id, confirmed.id);
    }
}
