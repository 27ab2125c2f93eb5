//! What an endpoint is, and what a delivery to it.

pub mod health;
pub mod schedule;
pub mod signature;

use serde_json::{Value, json};
use url::Url;

use crate::features::outbox::model::{MessageType, PEOPLE, Stored};
use crate::kernel::ids::{EndpointId, MessageId, UserId};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// Whether an endpoint is told.
    pub enum EndpointState as "EndpointState" {
        Enabled = "enabled",
        /// Nothing is sent to it until it is enabled.
        Disabled = "disabled",
    }
}

words! {
    /// Why an endpoint is disabled.
    pub enum DisabledReason as "DisabledReason" {
        /// Nothing has reached it for days.
        Failing = "failing",
        /// It has answered 410.
        Gone = "gone",
    }
}

words! {
    /// How a delivery stands.
    pub enum DeliveryState as "DeliveryState" {
        /// An attempt is due, or will be.
        Pending = "pending",
        Delivered = "delivered",
        /// No further attempt is made by itself.
        Failed = "failed",
    }
}

/// Characters of an address, and of a description.
const MOST_URL: usize = 1000;
const MOST_DESCRIPTION: usize = 200;

/// Reads the address of an endpoint: plain ASCII, with neither user name nor fragment. Where it leads is another
/// question.
pub fn parse_url(text: &str) -> Result<Url, &'static str> {
    if text.is_empty() || text.len() > MOST_URL {
        return Err("An endpoint's address has 1 to 1000 characters");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte)) {
        return Err("An endpoint's address is plain ASCII without spaces or fragments (#)");
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    let url = url.ok_or("An endpoint's address is absolute, such as https://shop.example.com/hooks")?;
    if !url.username().is_empty() || url.password().is_some() || text.contains("://@") {
        return Err("An endpoint's address has no user name or password: messages are signed");
    }
    Ok(url)
}

/// Reads what an endpoint is for.
pub fn parse_description(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.chars().count() > MOST_DESCRIPTION || text.chars().any(char::is_control) {
        return Err("A description has at most 200 characters and no control characters");
    }
    Ok(text.to_owned())
}

/// What an endpoint is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// All there are, and all there will be.
    All,
    These(Vec<MessageType>),
}

impl Types {
    pub fn parse(words: &[String]) -> Result<Self, &'static str> {
        match words {
            [] => Err("At least one type, or * alone for all"),
            [all] if all == "*" => Ok(Self::All),
            words => {
                let mut types = Vec::new();
                for word in words {
                    let one = MessageType::parse(word).ok_or("Each is a type of message, or * alone for all")?;
                    if !types.contains(&one) {
                        types.push(one);
                    }
                }
                Ok(Self::These(types))
            }
        }
    }

    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Self::All => vec!["*"],
            Self::These(types) => types.iter().map(|one| one.word()).collect(),
        }
    }

    /// As it is stored; words of another release are passed over.
    pub fn stored(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        Self::These(text.split(' ').filter_map(MessageType::parse).collect())
    }
}

/// Who is told.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub url: String,
    pub types: Types,
    pub description: String,
    pub state: EndpointState,
    pub reason: Option<DisabledReason>,
    pub created_at: Time,
    pub disabled_at: Option<Time>,
    /// Since when nothing has reached it.
    pub failing_since: Option<Time>,
    pub warned_at: Option<Time>,
}

/// What is to be different about an endpoint; what is nothing stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub url: Option<Url>,
    pub types: Option<Types>,
    pub description: Option<String>,
}

/// How a message stands with an endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub message: MessageId,
    pub endpoint: EndpointId,
    /// A word, which another release may know alone.
    pub kind: String,
    pub at: Time,
    pub state: DeliveryState,
    pub next_at: Time,
    pub attempts: i64,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
}

/// One attempt to deliver a message.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub message: MessageId,
    pub endpoint: EndpointId,
    pub at: Time,
    pub millis: i64,
    pub status: Option<i64>,
    pub error: Option<String>,
}

/// The people in a message's data.
pub fn people(data: &Value) -> impl Iterator<Item = UserId> {
    PEOPLE.iter().filter_map(|name| UserId::parse(data.get(name)?.get("id")?.as_str()?))
}

/// A message's data as it is sent: with how the host calls each of the people, who is nobody once they were erased.
pub fn told(data: &Value, called: impl Fn(UserId) -> Option<String>) -> Value {
    let mut data = data.clone();
    for name in PEOPLE {
        let Some(person) = data.get_mut(name).and_then(Value::as_object_mut) else { continue };
        let id = person.get("id").and_then(Value::as_str).and_then(UserId::parse);
        person.insert("external_id".to_owned(), json!(id.and_then(&called)));
    }
    data
}

/// The body of a message.
pub fn body(kind: &str, at: Time, data: &Value) -> String {
    json!({"type": kind, "timestamp": at.to_string(), "data": data}).to_string()
}

/// The body of a message that is kept.
pub fn body_of(message: &Stored, called: impl Fn(UserId) -> Option<String>) -> String {
    body(&message.kind, message.at, &told(&message.data, called))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_endpoint_is_at_a_plain_web_address() {
        for good in ["https://shop.example.com/hooks?a=1", "http://127.0.0.1:3000/", "https://[::1]/"] {
            assert_eq!(parse_url(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "shop.example.com",
            "/hooks",
            "ftp://shop.example.com/",
            "https://",
            "https://a@shop.example.com/",
            "https://:b@shop.example.com/",
            "https://@shop.example.com/",
            "https://shop.example.com/#a",
            "https://shop.example.com/ a",
            "https://маг.example/",
            "javascript:alert(1)",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
        assert!(parse_url(&format!("https://a.example/{}", "x".repeat(1000))).is_err());
    }

    #[test]
    fn types_are_words_or_all() {
        let parse = |words: &[&str]| Types::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["*"]), Ok(Types::All));
        let two = parse(&["referral.created", "reward.paid", "referral.created"]).unwrap();
        assert_eq!(two, Types::These(vec![MessageType::ReferralCreated, MessageType::RewardPaid]));
        assert_eq!(Types::stored(&two.words().join(" ")), two);
        assert_eq!(Types::stored("*"), Types::All);
        for bad in [&[][..], &["*", "reward.paid"], &["ping"], &["Referral.created"], &[""]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn how_a_host_calls_people_is_told_beside_their_ids() {
        let (olga, ivan) = (UserId::new(), UserId::new());
        let data = json!({"referrer": {"id": olga.0}, "referee": {"id": ivan.0}, "state": "pending"});
        assert_eq!(people(&data).collect::<Vec<_>>(), [olga, ivan]);
        let called = |user| (user == olga).then(|| "42".to_owned());
        let expected = json!({"referrer": {"id": olga.0, "external_id": "42"},
                              "referee": {"id": ivan.0, "external_id": null}, "state": "pending"});
        assert_eq!(told(&data, called), expected);
        let plain = json!({"id": olga.0, "version": 2});
        assert_eq!(told(&plain, called), plain);
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "\\PC{0,60}") {
            if let Ok(url) = parse_url(&text) {
                prop_assert!(url.has_host() && url.username().is_empty());
            }
        }
    }
}
