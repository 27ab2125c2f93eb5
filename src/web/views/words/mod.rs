//! Every text of the pages, in every language: one struct, so that no language can leave one out.

mod english;
mod russian;
mod russian_mails;
pub mod share;

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time as CivilTime};

pub use self::english::ENGLISH;
pub use self::russian::RUSSIAN;
use self::share::ShareWords;
use super::mails::MailWords;
use super::{Message, NextStep};
use crate::kernel::mail::MailKind;
use crate::kernel::scope::Scope;
use crate::kernel::time::Time;

/// The signs of user names; no line ends between them.
const SIGNS: &str = ".\u{a0}@\u{a0}+\u{a0}-\u{a0}_";

/// What stands before and after a name.
type Around = (&'static str, &'static str);

/// The texts of one language.
pub struct Words {
    /// As HTML calls the language.
    pub lang: &'static str,

    // On several pages.
    /// Before the title of a page that shows an error.
    pub error: &'static str,
    pub or: &'static str,
    pub optional: &'static str,
    pub username: &'static str,
    pub username_hint: &'static str,
    pub username_or_email: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    /// The hint on how long a password is, from the least number of characters.
    pub password_hint: fn(usize) -> String,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub log_in: &'static str,
    pub log_out: &'static str,
    pub create_account: &'static str,
    /// Around the name of a client.
    pub continue_to: Around,
    /// Around the name of a provider.
    pub continue_with: Around,
    pub logged_in_as: &'static str,
    pub not_you: &'static str,

    // Logging in.
    pub login_title: &'static str,
    pub new_here: &'static str,
    /// A link, where mails are sent.
    pub forgot_password: &'static str,

    // Choosing a new password by a link in a mail.
    pub reset_title: &'static str,
    pub reset_hint: &'static str,
    pub send_link: &'static str,
    pub new_password_title: &'static str,
    /// Around the user's name.
    pub new_password_for: Around,
    pub new_password: &'static str,
    pub new_password_hint: &'static str,
    pub set_password: &'static str,

    // Confirming an address.
    pub confirm_title: &'static str,
    /// Around the address.
    pub confirm_ask: Around,
    pub confirm: &'static str,

    // Mails.
    pub mail: fn(MailKind) -> MailWords,
    /// Until when a link is good, from minutes.
    pub mail_until: fn(u64) -> String,
    pub mail_or_copy: &'static str,
    /// Around the name of the service.
    pub mail_footer: Around,

    // Registering.
    pub register_title: &'static str,
    /// Around the name of who invites.
    pub invited_by: Around,
    /// Where the name is not known.
    pub invited: &'static str,
    pub invitation_ended: &'static str,
    pub have_account: &'static str,

    // Allowing a client something.
    pub consent_title: &'static str,
    /// Around the name of the client.
    pub consent_asks: Around,
    pub consent_list: &'static str,
    /// Beside what can do harm.
    pub careful: &'static str,
    /// Around the host.
    pub sent_back: Around,
    pub can_withdraw: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,
    pub scope: fn(Scope) -> &'static str,

    // The first visit with a provider.
    pub finish_title: &'static str,
    /// Around the provider's name.
    pub first_visit: Around,
    pub new_or_link: &'static str,
    pub finish_new: &'static str,
    pub finish_link: &'static str,
    /// Around the provider's name.
    pub link_hint: Around,
    pub link: &'static str,
    /// A link, away from the provider's answer.
    pub other_way: &'static str,
    /// Around the provider's name.
    pub email_verified: Around,

    // A person's own pages.
    pub share: ShareWords,
    pub account_title: &'static str,
    pub apps_title: &'static str,
    pub apps_intro: &'static str,
    pub apps_none: &'static str,
    pub apps_none_hint: &'static str,
    /// Around the day.
    pub since: Around,
    pub date: fn(Time) -> String,
    pub withdraw: &'static str,
    /// Around the client's name, behind `withdraw`, for those who hear the page.
    pub withdraw_from: Around,
    /// Around the client's name.
    pub withdrawn: Around,

    // Going on by itself.
    pub leaving_title: &'static str,
    /// Around the host.
    pub leaving_to: Around,
    pub leaving_stuck: &'static str,
    pub leaving_on: &'static str,

    // Errors of a form.
    pub check_fields: &'static str,
    pub wrong_credentials: &'static str,
    pub too_many_tries: fn(u64) -> String,
    pub email_check_pending: &'static str,
    pub email_refused: &'static str,
    pub confirm_first: &'static str,
    pub overloaded: &'static str,
    pub form_expired: &'static str,
    pub unavailable: &'static str,
    /// What a rule, which speaks English, says; nothing for one that is not known.
    pub rule: fn(&str) -> Option<Cow<'_, str>>,
    pub some_rule: &'static str,

    // Pages with a message.
    /// Title and sentence.
    pub message: fn(Message<'_>) -> (&'static str, Cow<'static, str>),
    pub again: &'static str,
    pub to_home: &'static str,
    /// Before the status and the code of a refusal.
    pub for_developers: &'static str,
    pub to_docs: &'static str,
    /// Before the request's id.
    pub request: &'static str,
}

impl Words {
    /// What a rule says, in this language.
    pub fn rule_on(&self, rule: &str) -> String {
        let sentence = (self.rule)(rule).map_or_else(|| self.some_rule.to_owned(), Cow::into_owned);
        sentence.replace(". @ + - _", SIGNS)
    }

    /// What a field of a form is called, by its name in the form. Forms differ in which address and password they mean.
    pub fn label<'a>(&'a self, field: &str, email: &'a str, password: &'a str) -> &'a str {
        match field {
            "email" => email,
            "password" => password,
            "username" => self.username,
            "code" => self.code,
            "handle" => self.share.handle,
            "name" => self.share.name,
            "current_password" => self.share.password_now,
            "new_password" => self.new_password,
            _ => self.error,
        }
    }

    /// The text of a link.
    pub fn next_step(&self, next_step: NextStep<'_>) -> &'static str {
        match next_step {
            NextStep::Again(_) => self.again,
            NextStep::LogIn(_) => self.log_in,
            NextStep::Reset => self.send_link,
            NextStep::Home => self.to_home,
        }
    }
}

/// From two minutes on in minutes, rounded up: nobody counts 840 seconds.
fn span(seconds: u64) -> (u64, bool) {
    if seconds < 120 { (seconds.max(1), false) } else { (seconds.div_ceil(60), true) }
}

fn month(names: &[&'static str; 12], date: Date) -> &'static str {
    let index = usize::try_from(date.month().saturating_sub(1)).unwrap_or_default();
    names.get(index).copied().unwrap_or_default()
}

/// The day in UTC.
fn civil(time: Time) -> Option<Date> {
    moment(time).map(DateTime::date)
}

/// The time of day, as every language here writes it.
pub fn hour(time: Time) -> String {
    moment(time).map_or_else(String::new, |at| format!("{:02}:{:02} UTC", at.hour(), at.minute()))
}

fn moment(time: Time) -> Option<DateTime> {
    let epoch = DateTime::from_parts(Date::constant(1970, 1, 1), CivilTime::midnight());
    epoch.checked_add(SignedDuration::from_micros(time.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::email::Email;
    use crate::kernel::error::{Error, Refusal};
    use crate::kernel::name::Username;
    use crate::web::views::language::Language;
    use crate::web::views::notes::Notes;

    #[test]
    fn a_time_of_day_has_two_digits_each() {
        assert_eq!(hour(Time::parse("2030-06-14T09:05:59Z").expect("a time")), "09:05 UTC");
        assert_eq!(hour(Time::parse("2030-06-14T23:30:00Z").expect("a time")), "23:30 UTC");
        assert_eq!(hour(Time(i64::MAX)), "");
    }

    #[test]
    fn numbers_have_their_forms() {
        for (seconds, english, russian) in [
            (0, "1 second", "1 секунду"),
            (1, "1 second", "1 секунду"),
            (3, "3 seconds", "3 секунды"),
            (12, "12 seconds", "12 секунд"),
            (21, "21 seconds", "21 секунду"),
            (111, "111 seconds", "111 секунд"),
            (119, "119 seconds", "119 секунд"),
            (120, "2 minutes", "2 минуты"),
            (121, "3 minutes", "3 минуты"),
            (840, "14 minutes", "14 минут"),
            (1260, "21 minutes", "21 минуту"),
        ] {
            assert!((ENGLISH.too_many_tries)(seconds).contains(&format!(" {english}.")), "{seconds}");
            assert!((RUSSIAN.too_many_tries)(seconds).contains(&format!(" {russian}.")), "{seconds}");
        }
        for (least, expected) in [(8, "8 символов"), (12, "12 символов"), (21, "21 символа"), (111, "111 символов")]
        {
            assert!((RUSSIAN.password_hint)(least).contains(expected), "{least}");
            let rule = format!("A password has at least {least} characters");
            assert!(RUSSIAN.rule_on(&rule).contains(expected), "{least}");
        }
        assert!((ENGLISH.password_hint)(1).contains("1 character."));
    }

    #[test]
    fn days_are_written_out() {
        let day = |text| Time::parse(text).unwrap();
        assert_eq!((ENGLISH.date)(day("2026-01-01T00:00:00Z")), "1 January 2026");
        assert_eq!((RUSSIAN.date)(day("2026-12-31T23:59:59Z")), "31 декабря 2026 г.");
        assert_eq!((RUSSIAN.date)(Time(i64::MAX)), "");
    }

    /// Whatever a form of ours can be refused with has its Russian sentence.
    #[test]
    fn rules_speak_russian_too() {
        let long = "я".repeat(151);
        let names = ["", "a b", &long, "a\u{ad}b", "\u{301}a", "aא"].map(|text| Username::parse(text).unwrap_err());
        let addresses =
            ["", "@", "a@b", "a@-.ru", "\"a\"@b.ru", "a b@c.ru", "a\u{ad}@b.ru", &long, &format!("{long}@b.ru")]
                .map(|text| Email::parse(text).unwrap_err());
        let refused = [Refusal::UsernameTaken, Refusal::EmailTaken, Refusal::CodeNotUsable].map(Refusal::sentence);
        let passwords = [
            "A password has at least 12 characters",
            "A password has at most 128 characters and 1024 bytes",
            "This password is too common",
            "A password must not hold your user name",
            "A password must not hold your e-mail address",
            "A password must not hold the name of this service",
        ];
        let others = [
            "Field required",
            "A name has 1 to 100 characters",
            "A name has no control or invisible characters",
            "A user name that is an e-mail address must be your own address",
            "Disposable e-mail addresses are not accepted",
        ];
        for rule in [&names[..], &addresses, &refused, &passwords, &others].concat() {
            let said = RUSSIAN.rule_on(rule);
            assert_ne!(said, RUSSIAN.some_rule, "{rule}");
            assert!(said.chars().any(|c| ('а'..='я').contains(&c)), "{rule}: {said}");
            assert!(!ENGLISH.rule_on(rule).is_empty());
        }
        assert_eq!(RUSSIAN.rule_on("A rule that nobody has heard of"), RUSSIAN.some_rule);
        assert_eq!(RUSSIAN.rule_on("A password has at least many characters"), RUSSIAN.some_rule);
    }

    #[test]
    fn fields_that_are_refused_are_named() {
        for (refusal, field) in
            [(Refusal::UsernameTaken, "username"), (Refusal::EmailTaken, "email"), (Refusal::CodeNotUsable, "code")]
        {
            assert_eq!(Notes::of(&refusal.into()).on(field), Some(refusal.sentence()));
        }
        assert!(Notes::of(&Error::Internal(String::new())).is_empty());
        assert!(Notes::of(&Refusal::BadCredentials.into()).is_empty());
    }

    #[test]
    fn every_scope_is_told_in_every_language() {
        let mut told = std::collections::HashSet::new();
        for language in Language::ALL {
            for scope in Scope::ALL {
                assert!(told.insert((language.words().scope)(*scope).to_owned()), "{scope:?}");
            }
        }
    }
}
