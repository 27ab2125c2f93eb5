//! People as those who run the program see them.

pub mod inventory;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::kernel::fold::look_alike;
use crate::kernel::ids::{UserId, uuid};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;
use crate::words;

words! {
    /// What an account is: usable, kept out by a manager or the operator, or gone but for its place in others' lists.
    pub enum AccountState as "AccountState" {
        Active = "active",
        Disabled = "disabled",
        Erased = "erased",
    }
}

impl AccountState {
    pub fn of(disabled: bool, erased: bool) -> Self {
        match (erased, disabled) {
            (true, _) => Self::Erased,
            (false, true) => Self::Disabled,
            (false, false) => Self::Active,
        }
    }
}

/// Somebody in a list.
#[derive(Clone, Debug)]
pub struct Person {
    pub id: UserId,
    pub username: String,
    pub email: String,
    pub state: AccountState,
    pub is_manager: bool,
    pub verdict: Verdict,
    pub created_at: Time,
}

/// Somebody, with what only their own page tells.
#[derive(Clone, Debug)]
pub struct Details {
    pub person: Person,
    pub discoverable: bool,
    pub has_password: bool,
    pub disabled_at: Option<Time>,
    pub erased_at: Option<Time>,
    pub email_checked_at: Option<Time>,
    pub email_proven_at: Option<Time>,
    pub new_email: Option<String>,
    pub handle: Option<String>,
    pub external_id: Option<String>,
    /// What a host's app calls them by before others.
    pub name: Option<String>,
    pub language: Option<String>,
}

/// How often somebody's link was opened.
#[derive(Clone, Copy, Debug)]
pub struct Clicks {
    pub clicks: i64,
    pub visitors: i64,
}

/// What was written to somebody.
#[derive(Clone, Debug)]
pub struct SentMail {
    pub kind: MailKind,
    pub language: String,
    pub created_at: Time,
    pub sent_at: Option<Time>,
    pub used_at: Option<Time>,
}

/// What is asked for of the list of people.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub state: Option<AccountState>,
    pub verdict: Option<Verdict>,
    pub manager: Option<bool>,
}

/// How people are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// By their id alone.
    Id(UserId),
    /// By the beginning of a name or an address, in the form in which these are compared.
    Prefix(String),
    Everybody,
}

impl Search {
    pub fn of(typed: Option<&str>) -> Self {
        match typed.map(str::trim).filter(|text| !text.is_empty()) {
            None => Self::Everybody,
            Some(text) => UserId::parse(text).map_or_else(|| Self::Prefix(look_alike(text)), Self::Id),
        }
    }
}

/// Where a list of people goes on: behind the key of a name or an address, or behind an id. Opaque to callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeopleCursor {
    Key(String),
    Id(Uuid),
}

impl PeopleCursor {
    pub fn parse(text: &str) -> Option<Self> {
        let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        match plain.split_once(':')? {
            // No key has one, and PostgreSQL takes no text with one.
            ("k", key) => Some(Self::Key(key.to_owned())).filter(|_| !key.contains('\0')),
            ("i", id) => uuid(id).map(Self::Id),
            _ => None,
        }
    }

    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(match self {
            Self::Key(key) => format!("k:{key}"),
            Self::Id(id) => format!("i:{}", id.simple()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_by_id_or_by_the_form_in_which_names_are_compared() {
        let id = UserId::new();
        assert_eq!(Search::of(Some(&format!(" {id} "))), Search::Id(id));
        assert_eq!(Search::of(Some("Olga@EX")), Search::Prefix("olga@ex".into()));
        assert_eq!(Search::of(Some("ＯＬ")), Search::Prefix("ol".into()));
        for nothing in [None, Some(""), Some("  ")] {
            assert_eq!(Search::of(nothing), Search::Everybody);
        }
    }

    #[test]
    fn a_cursor_is_read_back_and_garbage_is_refused() {
        for cursor in [PeopleCursor::Key("olga:x@example.com".into()), PeopleCursor::Id(UserId::new().0)] {
            assert_eq!(PeopleCursor::parse(&cursor.text()), Some(cursor));
        }
        for garbage in ["", "x", "a2V5", "eDox", "aTp4", "azoA", "\u{fffd}"] {
            assert_eq!(PeopleCursor::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn who_was_erased_is_not_called_disabled() {
        let states = [(false, false), (true, false), (false, true), (true, true)];
        use AccountState::{Active, Disabled, Erased};
        assert_eq!(
            states.map(|(disabled, erased)| AccountState::of(disabled, erased)),
            [Active, Disabled, Erased, Erased]
        );
    }
}
