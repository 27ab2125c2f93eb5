//! What went wrong, as a page says it: about a form as a whole, and about its fields.

use std::time::Duration;

use super::words::Words;
use crate::kernel::deadline;
use crate::kernel::error::{Error, Refusal, Storage};

/// What is wrong with a form as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    WrongCredentials,
    /// Seconds until the next try.
    TooManyTries(u64),
    /// The person has to show once more who they are.
    LogInAgain,
    /// Without what was to go the person could not log in any more.
    LastWayIn,
    /// Nobody else could run the program.
    LastManager,
    EmailCheckPending,
    EmailRefused,
    /// The person has to show first that the address is theirs.
    ConfirmFirst,
    Overloaded,
    /// The form was made for another visit.
    Expired,
    Unavailable,
}

impl Alert {
    /// Nothing when the error is about fields, or is nothing that a person at a form can do about.
    pub fn of(error: &Error) -> Option<Self> {
        match error {
            Error::Refused(Refusal::BadCredentials | Refusal::WrongPassword) => Some(Self::WrongCredentials),
            Error::Refused(Refusal::LastWayIn) => Some(Self::LastWayIn),
            Error::Refused(Refusal::LastManager) => Some(Self::LastManager),
            Error::Refused(Refusal::LogInAgain) => Some(Self::LogInAgain),
            Error::Refused(Refusal::EmailCheckPending) => Some(Self::EmailCheckPending),
            Error::Refused(Refusal::EmailRefused) => Some(Self::EmailRefused),
            Error::Refused(Refusal::EmailUnconfirmed) => Some(Self::ConfirmFirst),
            // Nothing was done, unless this request had done something before.
            Error::Refused(Refusal::Overloaded) | Error::Busy(_) | Error::Storage(Storage::TimedOut(_)) => {
                Some(if deadline::wrote() { Self::Unavailable } else { Self::Overloaded })
            }
            Error::Refused(Refusal::ReadOnly) => Some(Self::Overloaded),
            Error::Limited(after) | Error::CodesSpent(after) => Some(Self::TooManyTries(whole_seconds(*after))),
            Error::Refused(Refusal::Unavailable)
            | Error::Storage(Storage::Retry(_) | Storage::Unavailable(_) | Storage::OutcomeUnknown(_)) => {
                Some(Self::Unavailable)
            }
            _ => None,
        }
    }

    pub fn sentence(self, words: &Words) -> String {
        match self {
            Self::WrongCredentials => words.wrong_credentials.to_owned(),
            Self::TooManyTries(seconds) => (words.too_many_tries)(seconds),
            Self::LastWayIn => words.share.last_way_in.to_owned(),
            Self::LastManager => words.share.last_manager.to_owned(),
            Self::LogInAgain => words.share.fresh_hint.to_owned(),
            Self::EmailCheckPending => words.email_check_pending.to_owned(),
            Self::EmailRefused => words.email_refused.to_owned(),
            Self::ConfirmFirst => words.confirm_first.to_owned(),
            Self::Overloaded => words.overloaded.to_owned(),
            Self::Expired => words.form_expired.to_owned(),
            Self::Unavailable => words.unavailable.to_owned(),
        }
    }
}

/// Rounded up: whoever comes back a moment too early is refused again.
pub fn whole_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)).max(1)
}

/// What is wrong with fields, in the order of the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(Vec<Note>);

/// The field's name in the form, and what the rule says in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub field: String,
    pub rule: String,
}

impl Notes {
    pub fn none() -> Self {
        Self::default()
    }

    /// Empty when the error is not about fields.
    pub fn of(error: &Error) -> Self {
        let one = |field: &str, refusal: &Refusal| Self::none().with(field, refusal.sentence());
        match error {
            Error::Invalid(errors) => errors
                .iter()
                .filter_map(|error| Some((error.loc.last()?, &error.msg)))
                .fold(Self::none(), |notes, (field, rule)| notes.with(field, rule)),
            Error::Refused(refusal @ Refusal::UsernameTaken) => one("username", refusal),
            Error::Refused(refusal @ Refusal::EmailTaken) => one("email", refusal),
            Error::Refused(refusal @ Refusal::CodeNotUsable) => one("code", refusal),
            Error::Refused(refusal @ (Refusal::HandleTaken | Refusal::HandleChosen)) => one("handle", refusal),
            _ => Self::none(),
        }
    }

    /// One more; of a field the first counts.
    #[must_use]
    pub fn with(mut self, field: &str, rule: &str) -> Self {
        if self.on(field).is_none() {
            self.0.push(Note { field: field.to_owned(), rule: rule.to_owned() });
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn on(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|note| note.field == field).map(|note| note.rule.as_str())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::error::{Cause, FieldError};

    #[test]
    fn of_a_field_the_first_fault_is_told() {
        let field = |name, msg| FieldError::new("body", name, "value_error", msg);
        let error = Error::Invalid(vec![field("email", "one"), field("username", "two"), field("email", "three")]);
        let notes = Notes::of(&error);
        assert_eq!(notes.on("email"), Some("one"));
        assert_eq!(notes.on("password"), None);
        assert_eq!(notes.iter().map(|note| note.field.as_str()).collect::<Vec<_>>(), ["email", "username"]);
    }

    #[test]
    fn errors_that_a_person_can_do_something_about_are_alerts() {
        let wait = |span| Alert::of(&Error::Limited(span));
        assert_eq!(wait(Duration::from_millis(1)), Some(Alert::TooManyTries(1)));
        assert_eq!(wait(Duration::from_millis(2001)), Some(Alert::TooManyTries(3)));
        assert_eq!(wait(Duration::MAX), Some(Alert::TooManyTries(u64::MAX)));
        assert_eq!(Alert::of(&Refusal::BadCredentials.into()), Some(Alert::WrongCredentials));
        assert_eq!(Alert::of(&Refusal::EmailRefused.into()), Some(Alert::EmailRefused));
        assert_eq!(Alert::of(&Error::Busy(Duration::ZERO)), Some(Alert::Overloaded));
        assert_eq!(Alert::of(&Storage::Unavailable(Cause::Unknown.fault("")).into()), Some(Alert::Unavailable));
        assert_eq!(Alert::of(&Error::Internal(String::new())), None);
        assert_eq!(Alert::of(&Refusal::UsernameTaken.into()), None);
    }
}
