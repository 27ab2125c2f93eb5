//! What an account is.

pub mod disposable;
pub mod participant;
pub mod password;

use std::time::Duration;

use crate::config::{Config, Policy};
use crate::features::clients::model::parse_name;
use crate::features::identities::model::UnclaimedIdentityKey;
use crate::kernel::email::Email;
use crate::kernel::error::Refusal;
use crate::kernel::fold::is_ignorable;
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;
use crate::kernel::time::Time;
use crate::kernel::verdict::Verdict;

/// The name that somebody shows to those whom they invite; none where the text is empty.
pub fn parse_own_name(text: &str) -> Result<Option<String>, &'static str> {
    if text.trim().is_empty() { Ok(None) } else { parse_name(text).map(Some) }
}

/// A person as the database has them.
#[derive(Clone, Debug)]
pub struct User {
    pub id: UserId,
    pub username: String,
    /// What they show to those whom they invite; nothing where that is the username.
    pub name: Option<String>,
    pub email: String,
    pub created_at: Time,
    pub is_manager: bool,
    pub discoverable: bool,
    pub verdict: Verdict,
    pub erased: bool,
    /// Whether the name of their link is one that they chose.
    pub handle_chosen: bool,
}

/// Why a person with this verdict may not log in, if so: under `block` a bad one keeps them out for good, a missing one
/// until the verifier has had its time.
pub fn bars(verdict: Verdict, policy: Policy, created_at: Time, give_up: Duration, now: Time) -> Option<Refusal> {
    match verdict {
        _ if policy != Policy::Block => None,
        Verdict::Pending if now.since(created_at) < give_up => Some(Refusal::EmailCheckPending),
        verdict if verdict.is_bad() => Some(Refusal::EmailRefused),
        _ => None,
    }
}

/// What a referral waits for.
#[derive(Clone, Copy)]
pub struct ReferralRules {
    /// That the referee has shown that the address is theirs.
    proof: bool,
    /// A verdict on the address that is not bad.
    verdict: bool,
}

impl ReferralRules {
    pub fn of(config: &Config) -> Self {
        Self { proof: config.confirms_before_referral(), verdict: config.email.check == Policy::Block }
    }

    /// Whether a referral counts. The only place that decides it.
    pub fn count(self, proven: bool, verdict: Verdict) -> bool {
        let unproven = self.proof && !proven;
        let unfit = self.verdict && (verdict == Verdict::Pending || verdict.is_bad());
        !unproven && !unfit
    }
}

/// What a log-in is checked against.
pub struct Credentials {
    pub id: UserId,
    pub username: String,
    pub email: String,
    /// Nothing for people who were erased.
    pub password_hash: Option<String>,
    pub disabled: bool,
    /// Whether the person has shown that the address is theirs.
    pub email_proven: bool,
    pub verdict: Verdict,
    pub created_at: Time,
}

/// A registration that has passed every rule that needs no database.
pub struct Registration {
    pub username: Username,
    pub email: Email,
    pub entrance: Entrance,
}

/// How a new person is to log in.
pub enum Entrance {
    Password(String),
    /// With another identity provider, from which they have just come.
    Provider(UnclaimedIdentityKey),
}

/// A name that reads like an address must be the person's own, for log-in takes either. So must one whose key does:
/// folding can make an address of what is none.
pub fn check_name_against(username: &Username, email: &Email) -> Result<(), &'static str> {
    let anothers = |text| Email::parse(text).is_ok_and(|address| address.key() != email.key());
    if anothers(username.as_str()) || anothers(username.key()) {
        return Err("A user name that is an e-mail address must be your own address");
    }
    Ok(())
}

/// The keys of what somebody types to log in, in the order in which they are looked for: as keys were made by former
/// rules, then as they are made now. How many there are depends on what was typed alone.
pub fn login_keys(typed: &str) -> Vec<String> {
    let former = Email::former_key(typed).or_else(|| Username::former_key(typed));
    let seen: String = typed.chars().filter(|c| !is_ignorable(*c)).collect();
    let mut keys: Vec<String> = former.into_iter().chain(login_key(&seen)).collect();
    keys.dedup();
    keys
}

/// The key of a text: an address if it reads like one, else a name.
fn login_key(typed: &str) -> Option<String> {
    match Email::parse(typed) {
        Ok(email) => Some(email.key().to_owned()),
        Err(_) => Username::parse(typed).ok().map(|name| name.key().to_owned()),
    }
}

/// The key of a person's own name, as [`login_keys`] has it.
pub fn login_name(username: &Username) -> String {
    login_key(username.as_str()).unwrap_or_else(|| username.key().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_an_address_must_be_ones_own() {
        let email = Email::parse("Me@test.ru").unwrap();
        let name = |text| Username::parse(text).unwrap();
        assert!(check_name_against(&name("me"), &email).is_ok());
        assert!(check_name_against(&name("me@TEST.ru"), &email).is_ok());
        assert!(check_name_against(&name("me@home"), &email).is_ok());
        assert!(check_name_against(&name("you@test.ru"), &email).is_err());
        assert!(Email::parse("you@xn--maß-epa.com").is_err());
        assert!(check_name_against(&name("you@xn--maß-epa.com"), &email).is_err());
        assert_eq!(login_name(&name("ME@test.ru")), email.key());
        assert_eq!(login_name(&name("Me")), "me");
    }

    #[test]
    fn the_key_of_former_rules_is_looked_for_first() {
        assert_eq!(login_keys("Admin7"), ["admin7"]);
        assert_eq!(login_keys("ME@Test.ru"), ["me@test.ru"]);
        assert_eq!(login_keys("admin7\u{115f}"), ["admin7\u{115f}", "admin7"]);
        assert_eq!(login_keys("ad\u{200b}min7"), ["admin7"]);
        assert_eq!(login_keys("me\u{ad}@test.ru"), ["me@test.ru"]);
        assert_eq!(login_keys("me\u{3164}@test.ru"), ["me\u{1160}@test.ru", "me@test.ru"]);
        assert_eq!(login_keys("प्रिया"), ["प्रिया"]);
        assert_eq!(login_keys("م\u{640}"), ["م\u{640}"]);
        for none in ["", "a b", "a\0", "\u{200b}"] {
            assert!(login_keys(none).is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_referral_counts_when_neither_proof_nor_verdict_is_missing() {
        let rules = |proof, verdict| ReferralRules { proof, verdict };
        let fit = [Verdict::Unchecked, Verdict::Valid, Verdict::AcceptAll, Verdict::Webmail, Verdict::Unknown];
        let unfit = [Verdict::Pending, Verdict::Invalid, Verdict::Disposable];
        for verdict in fit {
            for waits in [true, false] {
                assert!(rules(false, waits).count(false, verdict) && rules(true, waits).count(true, verdict));
                assert!(!rules(true, waits).count(false, verdict), "{verdict:?}");
            }
        }
        for verdict in unfit {
            for waits in [true, false] {
                assert!(!rules(waits, true).count(true, verdict), "{verdict:?}");
                assert!(rules(waits, false).count(true, verdict), "{verdict:?}");
            }
        }
    }

    #[test]
    fn under_block_a_missing_verdict_bars_for_its_time_and_a_bad_one_for_good() {
        let (start, hour) = (Time(0), Duration::from_secs(3600));
        let soon = start.plus(Duration::from_secs(60));
        let later = start.plus(hour);
        let bars = |verdict, policy, now| bars(verdict, policy, start, hour, now);
        assert_eq!(bars(Verdict::Pending, Policy::Block, soon), Some(Refusal::EmailCheckPending));
        assert_eq!(bars(Verdict::Pending, Policy::Block, later), None);
        assert_eq!(bars(Verdict::Invalid, Policy::Block, later), Some(Refusal::EmailRefused));
        assert_eq!(bars(Verdict::Disposable, Policy::Block, soon), Some(Refusal::EmailRefused));
        for verdict in [Verdict::Valid, Verdict::AcceptAll, Verdict::Webmail, Verdict::Unknown, Verdict::Unchecked] {
            assert_eq!(bars(verdict, Policy::Block, soon), None);
        }
        assert_eq!(bars(Verdict::Invalid, Policy::Flag, soon), None);
        assert_eq!(bars(Verdict::Pending, Policy::Off, soon), None);
    }
}
