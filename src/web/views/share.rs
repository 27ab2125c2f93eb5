//! A person's own pages.

use askama::Template;

use super::View;
use super::notes::{Alert, Notes};
use super::plain;
use super::words::{Words, hour};
use crate::kernel::time::Time;
use crate::words;

words! {
    /// What has just been done, as an address of a page says it.
    pub enum Done as "Done" {
        /// An account.
        Registered = "registered",
        /// A code.
        Made = "made",
        Revoked = "revoked",
        /// Nothing: what the form was about had changed before.
        Stale = "stale",
        Handle = "handle",
        Name = "name",
        Discoverable = "discoverable",
        /// A link was sent to another address.
        Email = "email",
        /// A sign-in with an account elsewhere.
        Unlinked = "unlinked",
        /// A session.
        Ended = "ended",
    }
}

words! {
    /// How long a code lives.
    pub enum Life as "Life" {
        Week = "7",
        Month = "30",
        Quarter = "90",
        Year = "365",
    }
}

impl Life {
    /// What a form offers first.
    pub const OFFERED: Self = Self::Quarter;

    pub fn days(self) -> u32 {
        match self {
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Year => 365,
        }
    }
}

/// Opens a channel's own window with a text.
#[derive(Clone, Debug)]
pub struct ShareLink {
    pub channel: &'static str,
    pub url: String,
}

/// A person's latest code.
#[derive(Clone, Copy, Debug)]
pub struct CodeView<'a> {
    pub code: &'a str,
    pub expires_at: Time,
    /// Its place among the person's codes: what a form is about.
    pub ordinal: i64,
    pub is_active: bool,
    pub is_revoked: bool,
}

/// What happened on a link on a day.
#[derive(Clone, Debug)]
pub struct DayView {
    /// Written out.
    pub day: String,
    pub clicks: i64,
    pub visitors: i64,
    pub registrations: i64,
}

/// Somebody who came by a person's code.
#[derive(Clone, Copy, Debug)]
pub struct RefereeView<'a> {
    pub name: &'a str,
    pub joined_at: Time,
    /// Whether it counts already.
    pub counts: bool,
}

/// What a person has in one unit, written out.
#[derive(Clone, Debug)]
pub struct BalanceView {
    pub unit: String,
    pub pending: String,
    pub available: String,
    pub paid: String,
}

/// What a person got.
#[derive(Clone, Debug)]
pub struct RewardView {
    /// With its unit.
    pub amount: String,
    /// Its state's word.
    pub state: &'static str,
    pub granted_at: Time,
}

/// A person's link, their code, who came and what it brought. Sends `csrf`, `action` (`make` or `revoke`), `shown`,
/// `days` to `/share/code`.
#[derive(Template)]
#[template(path = "share.html")]
pub struct SharePage<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    /// Who is logged in.
    pub user: &'a str,
    pub done: Option<Done>,
    /// Who has invited a person whose account has just been made.
    pub inviter: Option<&'a str>,
    pub alert: Option<Alert>,
    pub link: &'a str,
    pub handle: &'a str,
    pub links: &'a [ShareLink],
    /// The latest; nothing where none was made yet.
    pub code: Option<CodeView<'a>>,
    /// Each of the last thirty, the first first.
    pub days: &'a [DayView],
    /// The latest first.
    pub referees: &'a [RefereeView<'a>],
    pub total: i64,
    /// Where older referees are.
    pub older: Option<&'a str>,
    /// Whether the latest referees are here.
    pub is_first: bool,
    /// One for each unit.
    pub balances: &'a [BalanceView],
    /// The latest first.
    pub rewards: &'a [RewardView],
}

/// Units of the picture for a day, and its height.
const DAY_WIDTH: i64 = 20;
const HEIGHT: i64 = 100;

/// A bar of the picture.
struct Bar {
    x: i64,
    y: i64,
    height: i64,
    width: i64,
    class: &'static str,
}

impl SharePage<'_> {
    fn clicks(&self) -> i64 {
        self.days.iter().map(|day| day.clicks).sum()
    }

    fn visitors(&self) -> i64 {
        self.days.iter().map(|day| day.visitors).sum()
    }

    fn registrations(&self) -> i64 {
        self.days.iter().map(|day| day.registrations).sum()
    }

    fn active(&self) -> Option<&CodeView<'_>> {
        self.code.as_ref().filter(|code| code.is_active)
    }

    /// What the form to make a code has seen.
    fn shown(&self) -> i64 {
        self.code.map_or(0, |code| code.ordinal)
    }

    fn bars(&self) -> Vec<Bar> {
        let most = self.days.iter().map(|day| day.clicks.max(day.registrations)).max().unwrap_or(0).max(1);
        let mut bars = Vec::new();
        for (at, day) in (0_i64..).zip(self.days) {
            let clicks = (day.clicks, 2, 9, "clicks");
            let registrations = (day.registrations, 12, 6, "registrations");
            for (count, from, width, class) in [clicks, registrations] {
                // Whatever there is can be seen.
                let height = (count.saturating_mul(HEIGHT) / most).max(i64::from(count > 0) * 2);
                bars.push(Bar { x: at * DAY_WIDTH + from, y: HEIGHT - height, height, width, class });
            }
        }
        bars.retain(|bar| bar.height > 0);
        bars
    }

    fn width(&self) -> i64 {
        DAY_WIDTH * i64::try_from(self.days.len()).unwrap_or(1).max(1)
    }
}

/// An account elsewhere that a person signs in with.
#[derive(Clone, Debug)]
pub struct SignInView {
    pub id: String,
    /// The provider's name for people, or its address.
    pub provider: String,
    pub since: Time,
}

/// A session of a person.
#[derive(Clone, Debug)]
pub struct SessionView {
    pub id: String,
    /// The app's name; nothing for a browser.
    pub app: Option<String>,
    pub used_at: Time,
    /// Whether the page is seen in it.
    pub is_this: bool,
}

/// A person's account. Sends `csrf` and `name`, `handle`, `discoverable`, `current_password` and `new_password`, or an
/// `id` to the paths below `/share/account`.
#[derive(Template)]
#[template(path = "account.html")]
pub struct AccountPage<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub user: &'a str,
    /// Empty where there is none.
    pub email: &'a str,
    /// The other address that was typed; nothing where it cannot be changed, for no mails are sent.
    pub new_email: Option<&'a str>,
    /// When the account was made.
    pub since: Time,
    /// What the person shows; empty where that is the username.
    pub name: &'a str,
    pub handle: &'a str,
    /// Whether the person chose it: then they choose no other.
    pub handle_chosen: bool,
    pub link: &'a str,
    pub discoverable: bool,
    pub has_password: bool,
    /// Characters that a password has at least.
    pub least: usize,
    pub sign_ins: &'a [SignInView],
    pub sessions: &'a [SessionView],
    pub done: Option<Done>,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

/// The end of an account, with a proof. Sends `csrf`, `password` to `/share/account/erase`.
#[derive(Template)]
#[template(path = "erase.html")]
pub struct ErasePage<'a> {
    pub words: &'static Words,
    pub csrf: &'a str,
    pub user: &'a str,
    pub has_password: bool,
    pub alert: Option<Alert>,
    pub notes: &'a Notes,
}

macro_rules! views {
    ($($name:ident)*) => {
        $(impl View for $name<'_> {
            fn words(&self) -> &'static Words {
                self.words
            }
        })*
    };
}

views! { SharePage AccountPage ErasePage }
