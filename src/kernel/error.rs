//! What can go wrong, in the words of the product. Statuses and pages are the web's business.
//!
//! Every error has two audiences: the caller gets the refusal's word and sentence, the log gets the context.

use std::time::Duration;

use super::answer::Answer;
use crate::described_by_words;

/// Everything an action can fail with.
#[derive(Debug)]
pub enum Error {
    /// The caller can mend it, or has to live with it.
    Refused(Refusal),
    /// Fields that break a rule, each told.
    Invalid(Vec<FieldError>),
    /// More work than we take on at once: come back after so long.
    Busy(Duration),
    /// More than this caller may ask for: come back after so long.
    Limited(Duration),
    /// More codes than a user may make within a day: come back after so long.
    CodesSpent(Duration),
    /// The database; see [`Storage`] for what may be retried.
    Storage(Storage),
    /// No fault at all: the write was made before, and this is what it was answered.
    Answered(Answer),
    /// No fault at all: the unit of work was to leave nothing, and has told what it came to.
    Rehearsed,
    /// Ours alone: stored data that contradicts itself, a broken invariant. The text is for the log.
    Internal(String),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A field that breaks a rule: where (`["body", "email"]`), a stable word, a sentence. Never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    pub loc: Vec<String>,
    pub kind: &'static str,
    pub msg: String,
}

impl FieldError {
    pub fn new(part: &str, field: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        Self { loc: vec![part.to_owned(), field.to_owned()], kind, msg: msg.into() }
    }
}

/// A database fault, by what may be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Known to be rolled back, may succeed when tried again: serialization, deadlock, a lost connection before commit.
    Retry(Fault),
    /// Gave up waiting, for a lock or for the end of a statement: known to be rolled back, and not worth another try.
    TimedOut(Fault),
    /// A named constraint was violated.
    Constraint(&'static str),
    /// The database cannot be reached or does not accept work now.
    Unavailable(Fault),
    /// The connection broke during commit: it may or may not have happened. Never retried blindly.
    OutcomeUnknown(Fault),
    /// A statement or a stored value that should not be: ours to mend.
    Broken(String),
}

/// What the operator has to mend, as far as the database said it, and a text for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub cause: Cause,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no room.
    Full,
    /// The disk does not do what it is told.
    Io,
    /// It takes no writes.
    ReadOnly,
    /// The file is not the one that was opened.
    Replaced,
    /// What was written cannot be read back: it was cut or written over, or the disk does not give it.
    Malformed,
    /// Another program has it.
    Locked,
    /// It does not answer in time.
    Silent,
    Unknown,
}

impl Cause {
    pub fn fault(self, text: impl Into<String>) -> Fault {
        Fault { cause: self, text: text.into() }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident $word:literal $sentence:literal;)*) => {
        /// Why a request was refused. The word is stable and for programs, the sentence for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal { $($(#[$doc])* $name,)* }

        impl Refusal {
            pub const ALL: &[Refusal] = &[$(Refusal::$name,)*];

            pub fn word(self) -> &'static str {
                match self { $(Refusal::$name => $word,)* }
            }

            pub fn sentence(self) -> &'static str {
                match self { $(Refusal::$name => $sentence,)* }
            }
        }

        described_by_words!(Refusal, "ProblemCode", "The kind of a problem. A word is for ever; new ones may come.");
    };
}

refusals! {
    Invalid "invalid" "Some fields are not valid";
    NotAuthenticated "not_authenticated" "Not authenticated";
    InvalidToken "invalid_token" "Could not validate credentials";
    InsufficientScope "insufficient_scope" "The access token does not allow this";
    PersonRequired "person_required" "This is for people; the access token belongs to a program";
    ManagersOnly "managers_only" "Only the program's managers may do this";
    BadCredentials "bad_credentials" "Incorrect username or password";
    InvalidRefreshToken "invalid_refresh_token" "The refresh token is not valid any more";
    WrongPassword "wrong_password" "The password is not right";
    EmailCheckPending "email_check_pending" "Your e-mail address is still being checked";
    EmailUnconfirmed "email_unconfirmed" "Confirm your e-mail address first: the link is in the mail you got";
    EmailRefused "email_refused" "Your e-mail address was found to receive no mail";
    UsernameTaken "username_taken" "Username already taken";
    EmailTaken "email_taken" "Email already registered";
    CodeNotUsable "code_not_usable" "Referral code not found or expired";
    LinkNotFound "link_not_found" "There is no such link";
    HandleTaken "handle_taken" "This handle is taken";
    HandleChosen "handle_chosen" "You have chosen your handle before; a handle is chosen once";
    CodeTaken "code_taken" "Referral code should be unique!";
    ActiveCodeExists "active_code_exists" "You can have only one active code!";
    ExpiresInPast "expires_in_past" "Expires time less than current time";
    NoActiveCode "no_active_code" "User doesn't have active codes.";
    NotYourCode "not_your_code" "You can delete only your codes!";
    CodeNotFound "code_not_found" "Code not found!";
    RefereesHidden "referees_hidden" "Only the referrer and the program's managers see this list";
    ClientNotFound "client_not_found" "There is no such client";
    ClientPublic "client_public" "A public client has no secret";
    ParticipantNotFound "participant_not_found" "There is no such participant";
    AlreadyJoined "already_joined" "The participant has joined before, with another code or with none";
    ParticipantErased "participant_erased" "A participant with this external id was erased";
    ClientBusy "client_busy" "A batch of this client is under way";
    EndpointNotFound "endpoint_not_found" "There is no such endpoint";
    EndpointBlocked "endpoint_blocked" "Webhooks are not sent to this address";
    MessageNotFound "message_not_found" "There is no such message";
    FeedOff "feed_off" "The feed of messages is off";
    CursorExpired "cursor_expired" "Messages behind this position have been removed";
    ProgramNotFound "program_not_found" "There is no such program";
    ProgramNotActive "program_not_active" "The program is paused, or has ended";
    RulesNotFound "rules_not_found" "There is no such version of the rules";
    EventNotFound "event_not_found" "There is no such event";
    EventDiffers "event_differs" "Something else was told under this external id";
    RefundExceeds "refund_exceeds" "This is more than is left of the event's amount";
    RewardNotFound "reward_not_found" "There is no such reward";
    ReferralNotFound "referral_not_found" "Nobody has brought a person with this id";
    ConflictOfInterest "conflict_of_interest" "Nobody decides about what they are part of";
    RewardState "reward_state" "The reward does not take this as it stands";
    PayoutNotFound "payout_not_found" "There is no such payout, or nobody of this id in it";
    PayoutState "payout_state" "The payout does not take this as it stands";
    InsufficientBalance "insufficient_balance" "This is more than the holder has available";
    ConsentNotFound "consent_not_found" "You have allowed this client nothing";
    SessionNotFound "session_not_found" "You have no session with this id";
    IdentityNotFound "identity_not_found" "No account elsewhere with this id is linked to yours";
    LastManager "last_manager" "There is no other manager";
    UserNotFound "user_not_found" "There is nobody with this id";
    LastWayIn "last_way_in" "Without this you could not log in any more";
    SignInExpired "sign_in_expired" "This sign-in is not good any more; begin again";
    LinkExpired "link_expired" "This link is not good any more; ask for a new one";
    LogInAgain "log_in_again" "Your account has no password; log in again and repeat this within five minutes";
    NotFound "not_found" "There is nothing at this address";
    MethodNotAllowed "method_not_allowed" "This address does not take this method";
    Malformed "malformed_request" "The request is not HTTP/1.1 as the standard has it";
    HeadersTooLarge "headers_too_large" "The headers are larger than 16 KiB or more than 100";
    RequestTimeout "request_timeout" "The request did not arrive in time";
    TooLarge "too_large" "The body is larger than 64 KiB, or a batch than 1 MiB";
    UriTooLong "uri_too_long" "The address is longer than 8 KiB";
    UnsupportedMediaType "unsupported_media_type"
        "The body is compressed, or neither JSON nor, where that is accepted, a form";
    IdempotencyKeyReused "idempotency_key_reused" "This Idempotency-Key was used for another request";
    IdempotencyInFlight "idempotency_in_flight" "A request with this Idempotency-Key is under way";
    RateLimited "rate_limited" "Too many requests; try again later";
    Overloaded "overloaded" "More work than this service takes on at once; try again shortly";
    Unavailable "unavailable" "The service cannot do this just now; try again shortly";
    ReadOnly "read_only" "The service takes no changes just now: its database is being moved";
    Internal "internal" "Something went wrong on our side; the request id finds it in the log";
}

impl Error {
    /// One field of the body that breaks a rule.
    pub fn field(field: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new("body", field, kind, msg)])
    }

    /// Stored data that contradicts itself, by table, column and row.
    pub fn inconsistent(table: &str, column: &str, row: impl std::fmt::Display) -> Self {
        Self::Internal(format!("inconsistent data: {table}.{column} of row {row}"))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Storage> for Error {
    fn from(fault: Storage) -> Self {
        Self::Storage(fault)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refusal) => f.write_str(refusal.sentence()),
            Self::Invalid(fields) => {
                let sentences: Vec<&str> = fields.iter().map(|field| field.msg.as_str()).collect();
                f.write_str(&sentences.join("; "))
            }
            Self::Rehearsed => f.write_str("rehearsed"),
            Self::Answered(_) => f.write_str("answered before"),
            Self::Limited(_) | Self::CodesSpent(_) => f.write_str(Refusal::RateLimited.sentence()),
            Self::Busy(_) => f.write_str(Refusal::Overloaded.sentence()),
            Self::Storage(Storage::Constraint(name)) => write!(f, "the constraint {name} was violated"),
            Self::Storage(
                Storage::Retry(fault)
                | Storage::TimedOut(fault)
                | Storage::Unavailable(fault)
                | Storage::OutcomeUnknown(fault),
            ) => f.write_str(&fault.text),
            Self::Storage(Storage::Broken(text)) | Self::Internal(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Error {}

/// Why something was not done that the operator asked for, or that their settings stand against.
#[derive(Debug)]
pub enum OperatorError {
    /// A sentence with a remedy.
    Refused(String),
    Failed(Error),
}

impl From<Error> for OperatorError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl std::fmt::Display for OperatorError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(sentence) => f.write_str(sentence),
            Self::Failed(error) => error.fmt(f),
        }
    }
}
