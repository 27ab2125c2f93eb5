//! What is noted, and what its MAC and its hash are made of.

pub mod chain;

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::chain::Head;
use crate::kernel::actor::{Actor, Who};
use crate::kernel::digest::sha256;
use crate::kernel::ids::{AuditId, EndpointId, MessageId, UserId};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// What was done.
    pub enum Action as "AuditAction" {
        ManagerLoggedIn = "manager_logged_in",
        ManagerMade = "manager_made",
        ManagerUnmade = "manager_unmade",
        UserDisabled = "user_disabled",
        UserEnabled = "user_enabled",
        UserExported = "user_exported",
        UserErased = "user_erased",
        CodeRevoked = "code_revoked",
        CodeReplaced = "code_replaced",
        PasswordChanged = "password_changed",
        PasswordReset = "password_reset",
        AddressChanged = "address_changed",
        ListExported = "list_exported",
        ClientRegistered = "client_registered",
        ClientChanged = "client_changed",
        ClientSecretReplaced = "client_secret_replaced",
        ClientRemoved = "client_removed",
        ProgramChanged = "program_changed",
        ReferralApproved = "referral_approved",
        ReferralDenied = "referral_denied",
        ReferralHeld = "referral_held",
        RewardApproved = "reward_approved",
        RewardDenied = "reward_denied",
        RewardPaid = "reward_paid",
        RewardReturned = "reward_returned",
        BalanceCredited = "balance_credited",
        BalanceDebited = "balance_debited",
        PayoutMade = "payout_made",
        PayoutPaid = "payout_paid",
        PayoutCancelled = "payout_cancelled",
        PayoutLineReturned = "payout_line_returned",
        KeyMade = "key_made",
        KeyRetired = "key_retired",
        KeysResealed = "keys_resealed",
        PeopleImported = "people_imported",
        EndpointMade = "endpoint_made",
        EndpointChanged = "endpoint_changed",
        EndpointSecretReplaced = "endpoint_secret_replaced",
        EndpointEnabled = "endpoint_enabled",
        EndpointDisabled = "endpoint_disabled",
        EndpointRecovered = "endpoint_recovered",
        EndpointRemoved = "endpoint_removed",
        MessageResent = "message_resent",
    }
}

words! {
    /// Who did it: a person with their own things, a manager, a program, a command on the machine that runs the
    /// service, or the service by itself. Anonymous is who was not known when they asked.
    pub enum ActorKind as "AuditActorKind" {
        Anonymous = "anonymous",
        Person = "person",
        Manager = "manager",
        Program = "program",
        Operator = "operator",
        Service = "service",
    }
}

words! {
    /// What it was done with.
    pub enum SubjectKind as "AuditSubjectKind" {
        User = "user",
        Client = "client",
        Program = "program",
        /// By the referee's id.
        Referral = "referral",
        Reward = "reward",
        Payout = "payout",
        Key = "key",
        List = "list",
        Endpoint = "endpoint",
        Message = "message",
    }
}

words! {
    /// Why: a word, for a sentence could name somebody.
    pub enum Reason as "Reason" {
        Fraud = "fraud",
        Abuse = "abuse",
        Security = "security",
        Legal = "legal",
        /// The person asked for it.
        Request = "request",
        /// What was done before was wrong.
        Mistake = "mistake",
        Other = "other",
    }
}

words! {
    /// A part of something that was changed.
    pub enum Part as "ChangedPart" {
        Name = "name",
        RedirectUris = "redirect_uris",
        Scope = "scope",
        TrustsAddresses = "trusts_addresses",
        LandingUrl = "landing_url",
        CodeDays = "code_days",
        AutoRenew = "auto_renew",
        ShareTexts = "share_texts",
        Url = "url",
        Types = "types",
        Description = "description",
        HoldDays = "hold_days",
        EventTypes = "event_types",
        Budgets = "budgets",
        State = "state",
        Rules = "rules",
    }
}

words! {
    /// A list as a file.
    pub enum List as "ExportedList" {
        Users = "users",
        Referrals = "referrals",
    }
}

/// What is noted. Ids, numbers and words only: erasure does not touch what was noted.
#[derive(Clone, Debug)]
pub enum Event {
    ManagerLoggedIn(UserId),
    ManagerMade(UserId),
    ManagerUnmade(UserId),
    UserDisabled(UserId, Option<Reason>),
    UserEnabled(UserId, Option<Reason>),
    UserExported(UserId),
    UserErased(UserId, Option<Reason>),
    /// With the code's id.
    CodeRevoked(UserId, i64, Option<Reason>),
    CodeReplaced(UserId),
    PasswordChanged(UserId),
    PasswordReset(UserId),
    AddressChanged(UserId),
    ListExported(List),
    ClientRegistered(Uuid),
    ClientChanged(Uuid, Vec<Part>),
    ClientSecretReplaced(Uuid),
    ClientRemoved(Uuid),
    /// By its slug.
    ProgramChanged(&'static str, Vec<Part>),
    /// Of a referral, a reward or somebody's balance.
    Decided(Action, SubjectKind, Uuid),
    /// By its name.
    KeyMade(String),
    KeyRetired(String),
    /// How many.
    KeysResealed(i64),
    /// How many.
    PeopleImported(i64),
    EndpointMade(EndpointId),
    EndpointChanged(EndpointId, Vec<Part>),
    EndpointSecretReplaced(EndpointId),
    EndpointEnabled(EndpointId),
    EndpointDisabled(EndpointId),
    EndpointRecovered(EndpointId),
    EndpointRemoved(EndpointId),
    MessageResent(MessageId),
}

/// What is noted beside who, what and with what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    pub reason: Option<Reason>,
    pub code_id: Option<i64>,
    pub parts: Option<Vec<Part>>,
    pub count: Option<i64>,
}

impl Detail {
    fn of(event: &Event) -> Self {
        let none = Self::default();
        match event {
            Event::UserDisabled(_, reason) | Event::UserEnabled(_, reason) | Event::UserErased(_, reason) => {
                Self { reason: *reason, ..none }
            }
            Event::CodeRevoked(_, code, reason) => Self { reason: *reason, code_id: Some(*code), ..none },
            Event::ClientChanged(_, parts) | Event::ProgramChanged(_, parts) => {
                Self { parts: Some(parts.clone()), ..none }
            }
            Event::KeysResealed(count) | Event::PeopleImported(count) => Self { count: Some(*count), ..none },
            Event::EndpointChanged(_, parts) => Self { parts: Some(parts.clone()), ..none },
            _ => none,
        }
    }

    fn text(&self) -> String {
        let mut members = Map::new();
        let mut member = |name: &str, value: Option<Value>| members.extend(value.map(|value| (name.to_owned(), value)));
        member("reason", self.reason.map(|reason| json!(reason)));
        member("code_id", self.code_id.map(|id| json!(id)));
        member("parts", self.parts.as_ref().map(|parts| json!(parts)));
        member("count", self.count.map(|count| json!(count)));
        Value::Object(members).to_string()
    }

    /// What is known of a stored text; words of a newer version are left out.
    pub fn read(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let member = |name: &str| value.get(name).unwrap_or(&Value::Null);
        let parts = member("parts").as_array();
        Self {
            reason: member("reason").as_str().and_then(Reason::parse),
            code_id: member("code_id").as_i64(),
            parts: parts.map(|parts| parts.iter().filter_map(|part| Part::parse(part.as_str()?)).collect()),
            count: member("count").as_i64(),
        }
    }
}

impl Event {
    fn action(&self) -> Action {
        match self {
            Self::ManagerLoggedIn(_) => Action::ManagerLoggedIn,
            Self::ManagerMade(_) => Action::ManagerMade,
            Self::ManagerUnmade(_) => Action::ManagerUnmade,
            Self::UserDisabled(..) => Action::UserDisabled,
            Self::UserEnabled(..) => Action::UserEnabled,
            Self::UserExported(_) => Action::UserExported,
            Self::UserErased(..) => Action::UserErased,
            Self::CodeRevoked(..) => Action::CodeRevoked,
            Self::CodeReplaced(_) => Action::CodeReplaced,
            Self::PasswordChanged(_) => Action::PasswordChanged,
            Self::PasswordReset(_) => Action::PasswordReset,
            Self::AddressChanged(_) => Action::AddressChanged,
            Self::ListExported(_) => Action::ListExported,
            Self::ClientRegistered(_) => Action::ClientRegistered,
            Self::ClientChanged(..) => Action::ClientChanged,
            Self::ClientSecretReplaced(_) => Action::ClientSecretReplaced,
            Self::ClientRemoved(_) => Action::ClientRemoved,
            Self::ProgramChanged(..) => Action::ProgramChanged,
            Self::Decided(action, ..) => *action,
            Self::KeyMade(_) => Action::KeyMade,
            Self::KeyRetired(_) => Action::KeyRetired,
            Self::KeysResealed(_) => Action::KeysResealed,
            Self::PeopleImported(_) => Action::PeopleImported,
            Self::EndpointMade(_) => Action::EndpointMade,
            Self::EndpointChanged(..) => Action::EndpointChanged,
            Self::EndpointSecretReplaced(_) => Action::EndpointSecretReplaced,
            Self::EndpointEnabled(_) => Action::EndpointEnabled,
            Self::EndpointDisabled(_) => Action::EndpointDisabled,
            Self::EndpointRecovered(_) => Action::EndpointRecovered,
            Self::EndpointRemoved(_) => Action::EndpointRemoved,
            Self::MessageResent(_) => Action::MessageResent,
        }
    }

    fn subject(&self) -> (SubjectKind, Option<String>) {
        match self {
            Self::ManagerLoggedIn(user)
            | Self::ManagerMade(user)
            | Self::ManagerUnmade(user)
            | Self::UserDisabled(user, _)
            | Self::UserEnabled(user, _)
            | Self::UserExported(user)
            | Self::UserErased(user, _)
            | Self::CodeRevoked(user, ..)
            | Self::CodeReplaced(user)
            | Self::PasswordChanged(user)
            | Self::PasswordReset(user)
            | Self::AddressChanged(user) => (SubjectKind::User, Some(user.to_string())),
            Self::ListExported(list) => (SubjectKind::List, Some(list.word().to_owned())),
            Self::ClientRegistered(client)
            | Self::ClientChanged(client, _)
            | Self::ClientSecretReplaced(client)
            | Self::ClientRemoved(client) => (SubjectKind::Client, Some(client.to_string())),
            Self::ProgramChanged(slug, _) => (SubjectKind::Program, Some((*slug).to_owned())),
            Self::Decided(_, kind, id) => (*kind, Some(id.to_string())),
            Self::KeyMade(kid) | Self::KeyRetired(kid) => (SubjectKind::Key, Some(kid.clone())),
            Self::KeysResealed(_) => (SubjectKind::Key, None),
            Self::PeopleImported(_) => (SubjectKind::User, None),
            Self::EndpointMade(endpoint)
            | Self::EndpointChanged(endpoint, _)
            | Self::EndpointSecretReplaced(endpoint)
            | Self::EndpointEnabled(endpoint)
            | Self::EndpointDisabled(endpoint)
            | Self::EndpointRecovered(endpoint)
            | Self::EndpointRemoved(endpoint) => (SubjectKind::Endpoint, Some(endpoint.to_string())),
            Self::MessageResent(message) => (SubjectKind::Message, Some(message.to_string())),
        }
    }
}

/// A row as it is stored, but for its number and its hash. Its words are texts: whoever writes SQL may write any.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: Uuid,
    pub at: Time,
    pub actor_kind: String,
    pub actor_id: Option<Uuid>,
    pub action: String,
    pub subject_kind: String,
    pub subject_id: Option<String>,
    pub detail: String,
    pub request_id: Option<Uuid>,
    pub mac: Vec<u8>,
}

impl Record {
    /// Without its MAC.
    pub fn new(now: Time, actor: Actor, event: &Event) -> Self {
        let (kind, actor_id) = match actor.who {
            Who::Anonymous => (ActorKind::Anonymous, None),
            Who::Person(user) => (ActorKind::Person, Some(user.0)),
            Who::Manager(user) => (ActorKind::Manager, Some(user.0)),
            Who::Program(client) => (ActorKind::Program, Some(client.0)),
            Who::Operator => (ActorKind::Operator, None),
            Who::Service => (ActorKind::Service, None),
        };
        let (subject_kind, subject_id) = event.subject();
        Self {
            id: AuditId::new().0,
            at: now,
            actor_kind: kind.word().to_owned(),
            actor_id,
            action: event.action().word().to_owned(),
            subject_kind: subject_kind.word().to_owned(),
            subject_id,
            detail: Detail::of(event).text(),
            request_id: actor.request.map(|request| request.0),
            mac: Vec::new(),
        }
    }

    /// What the MAC is made of: each field behind its length, so that none runs into the next.
    pub fn signed(&self) -> Vec<u8> {
        let mut text = Fields(Vec::with_capacity(256));
        text.add(Some(b"referral audit 1"));
        text.add(Some(self.id.as_bytes()));
        text.add(Some(&self.at.0.to_be_bytes()));
        self.add_rest(&mut text);
        text.0
    }

    fn add_rest(&self, text: &mut Fields) {
        text.add(Some(self.actor_kind.as_bytes()));
        text.add(self.actor_id.as_ref().map(|id| &id.as_bytes()[..]));
        text.add(Some(self.action.as_bytes()));
        text.add(Some(self.subject_kind.as_bytes()));
        text.add(self.subject_id.as_ref().map(String::as_bytes));
        text.add(Some(self.detail.as_bytes()));
        text.add(self.request_id.as_ref().map(|id| &id.as_bytes()[..]));
    }

    /// Whether one of these keys made its MAC.
    pub fn is_signed_by(&self, keys: &[hmac::Key]) -> bool {
        let text = self.signed();
        keys.iter().any(|key| hmac::verify(key, &text, &self.mac).is_ok())
    }

    /// Its hash in the place behind this one.
    pub fn hash_behind(&self, head: &Head) -> [u8; 32] {
        let mut text = Fields(Vec::with_capacity(320));
        text.0.extend_from_slice(&head.hash);
        text.add(Some(self.id.as_bytes()));
        text.add(Some(&head.seq.saturating_add(1).to_be_bytes()));
        text.add(Some(&self.at.0.to_be_bytes()));
        self.add_rest(&mut text);
        text.add(Some(&self.mac));
        sha256(&text.0)
    }
}

/// Fields one behind the other: 0 for one that is null, else 1, its length in eight bytes, and its bytes.
struct Fields(Vec<u8>);

impl Fields {
    fn add(&mut self, field: Option<&[u8]>) {
        let Some(bytes) = field else { return self.0.push(0) };
        self.0.push(1);
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_back() {
        let user = UserId::new();
        let noted = |event: Event| Record::new(Time(5), Actor::OPERATOR, &event);
        let revoked = noted(Event::CodeRevoked(user, 12, Some(Reason::Abuse)));
        assert_eq!((revoked.action.as_str(), revoked.subject_id), ("code_revoked", Some(user.to_string())));
        let expected = Detail { reason: Some(Reason::Abuse), code_id: Some(12), ..Detail::default() };
        assert_eq!(Detail::read(&revoked.detail), expected);
        let changed = noted(Event::ClientChanged(user.0, vec![Part::Name, Part::Scope]));
        let expected = Detail { parts: Some(vec![Part::Name, Part::Scope]), ..Detail::default() };
        assert_eq!(Detail::read(&changed.detail), expected);
        assert_eq!(noted(Event::ManagerMade(user)).detail, "{}");
        assert_eq!(Detail::read("no JSON"), Detail::default());
    }
}
