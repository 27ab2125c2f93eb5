//! The texts of a person's own pages, in every language.

use super::Around;
use crate::web::views::share::Done;

/// Of four texts that for a reward of this state.
pub fn reward_state(state: &str, [pending, available, paid, taken_back]: [&'static str; 4]) -> &'static str {
    match state {
        "pending" => pending,
        "available" => available,
        "paid" => paid,
        _ => taken_back,
    }
}

/// The texts of one language.
pub struct ShareWords {
    // On each of the pages.
    /// What the list of them is called.
    pub pages: &'static str,
    pub to_share: &'static str,
    pub to_account: &'static str,
    pub to_apps: &'static str,
    pub done: fn(Done) -> &'static str,
    /// Around the name of who has invited the person, once their account is made.
    pub welcome: Around,

    // The link.
    pub title: &'static str,
    pub link: &'static str,
    pub link_hint: &'static str,
    pub copy_hint: &'static str,
    /// In place of the link, as long as no code is active.
    pub link_idle: &'static str,
    pub channels: &'static str,
    pub channel: fn(&str) -> &'static str,
    pub qr: &'static str,
    pub qr_hint: &'static str,

    // The code.
    pub code: &'static str,
    /// Around the day.
    pub code_until: Around,
    /// Around the day.
    pub code_expired: Around,
    pub code_revoked: &'static str,
    pub life: &'static str,
    pub days: fn(u32) -> String,
    pub make: &'static str,
    pub renew: &'static str,
    pub renew_hint: &'static str,
    pub renew_now: &'static str,
    pub revoke: &'static str,
    pub revoke_hint: &'static str,
    pub revoke_now: &'static str,

    // What happened on the link.
    pub figures: &'static str,
    /// Clicks, visitors, registrations.
    pub figures_told: fn(i64, i64, i64) -> String,
    pub picture: &'static str,
    pub by_day: &'static str,
    pub day: &'static str,
    pub clicks: &'static str,
    pub visitors: &'static str,
    pub registrations: &'static str,

    // Who came.
    pub people: &'static str,
    pub people_none: &'static str,
    pub people_total: fn(i64) -> String,
    pub counts: &'static str,
    pub waits: &'static str,
    pub latest: &'static str,
    pub older: &'static str,

    // What it brought.
    pub rewards: &'static str,
    /// The table of it.
    pub balance: &'static str,
    pub rewards_hint: &'static str,
    pub unit: &'static str,
    /// By its word.
    pub reward_state: fn(&str) -> &'static str,
    /// Between whole units and their parts.
    pub decimal: char,

    // The account.
    pub who: &'static str,
    pub no_email: &'static str,
    pub since: &'static str,
    pub email_title: &'static str,
    pub email_change: &'static str,
    pub email_new: &'static str,
    pub email_hint: &'static str,
    pub handle_title: &'static str,
    /// Around the link.
    pub handle_now: Around,
    pub handle_choose: &'static str,
    pub handle: &'static str,
    pub handle_hint: &'static str,
    pub handle_set: &'static str,
    /// Where it was chosen before.
    pub handle_chosen: &'static str,
    pub name_title: &'static str,
    pub name: &'static str,
    pub name_hint: &'static str,
    pub name_set: &'static str,
    pub found_title: &'static str,
    pub found_yes: &'static str,
    pub found_no: &'static str,
    pub found_set_yes: &'static str,
    pub found_set_no: &'static str,
    pub password_hint: &'static str,
    pub password_change: &'static str,
    pub password_first: &'static str,
    pub password_now: &'static str,
    pub fresh_hint: &'static str,

    pub sign_ins: &'static str,
    pub sign_ins_none: &'static str,
    pub sign_ins_hint: &'static str,
    /// Around the day.
    pub linked: Around,
    pub unlink: &'static str,
    /// Around the provider's name, behind `unlink`, for those who hear the page.
    pub unlink_from: Around,
    pub last_way_in: &'static str,
    pub last_manager: &'static str,
    pub sessions: &'static str,
    pub sessions_hint: &'static str,
    pub browser: &'static str,
    /// Where somebody logged in with their password, and not at a page.
    pub own_program: &'static str,
    pub this_browser: &'static str,
    /// Around the day.
    pub used: Around,
    pub end_session: &'static str,
    /// Around the name of what is logged in, behind `end_session`, for those who hear the page.
    pub end_session_of: Around,
    pub export: &'static str,
    pub export_hint: &'static str,
    pub export_now: &'static str,

    // Its end.
    pub erase_title: &'static str,
    pub erase_short: &'static str,
    pub erase_go: &'static str,
    pub erase_long: &'static str,
    pub erase_now: &'static str,
    pub keep: &'static str,
}
