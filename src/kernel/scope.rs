//! What a token lets its bearer do.

use std::fmt;

use crate::words;

words! {
    /// One thing that a token may allow. The word stands in tokens, requests and the document.
    pub enum Scope as "Scope" {
        /// Be told who somebody is (an ID token).
        Openid = "openid",
        /// See the address with it.
        Email = "email",
        /// See the account: name, address, who invited the person, whom they brought in numbers.
        Profile = "profile",
        /// Change the account: visibility, password, consents, erasure.
        Account = "account",
        /// See one's codes, and find the codes of others by e-mail.
        CodesRead = "codes:read",
        /// Make and revoke codes.
        CodesWrite = "codes:write",
        /// See whom a referrer brought.
        ReferralsRead = "referrals:read",
        /// Run the program: for managers only, whoever else has it.
        Admin = "admin",
        /// Read what the program knows without being a person: any referrer's list in full, codes by e-mail.
        ProgramRead = "program:read",
        /// Write for the program without being a person: participants of a host's app. It reads what it writes, too.
        ProgramWrite = "program:write",
    }
}

/// A word of OpenID Connect for what every client with the grant refresh_token has here: it is understood, and gives
/// nothing.
pub const OFFLINE_ACCESS: &str = "offline_access";

impl Scope {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of scopes, written as OAuth writes it: words with a space between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    pub const NONE: Scopes = Scopes(0);
    pub const ALL: Scopes = Scopes((1 << Scope::ALL.len()) - 1);
    /// What a program may have that acts for nobody.
    pub const MACHINE: Scopes = Scopes(Scope::ProgramRead.bit() | Scope::ProgramWrite.bit());
    /// What a person may allow a program.
    pub const PERSON: Scopes = Scopes(Self::ALL.0 & !Self::MACHINE.0);
    /// What a log-in by name and password may do; managers may run the program as well.
    pub const FIRST_PARTY: Scopes = Scopes(
        Scope::Profile.bit()
            | Scope::Account.bit()
            | Scope::CodesRead.bit()
            | Scope::CodesWrite.bit()
            | Scope::ReferralsRead.bit(),
    );

    /// The scopes named; nothing when one is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace().filter(|word| *word != OFFLINE_ACCESS);
        words.try_fold(Self::NONE, |set, word| Some(set.with(Scope::parse(word)?)))
    }

    /// The scopes named that are known, where others may be named: by another version of this binary, or by a client
    /// that asks every server for the same.
    pub fn known(text: &str) -> Self {
        text.split_ascii_whitespace().filter_map(Scope::parse).fold(Self::NONE, Self::with)
    }

    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    pub fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the other set has all of this.
    pub fn within(self, other: Scopes) -> bool {
        self.0 & !other.0 == 0
    }

    #[must_use]
    pub fn and(self, other: Scopes) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub fn or(self, other: Scopes) -> Self {
        Self(self.0 | other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |scope| self.has(*scope))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.word())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written_and_unknown_words_are_refused() {
        let set = Scopes::parse("codes:write  openid codes:write").unwrap();
        assert_eq!(set.to_string(), "openid codes:write");
        assert!(set.has(Scope::Openid) && !set.has(Scope::CodesRead));
        assert_eq!(Scopes::parse(""), Some(Scopes::NONE));
        assert_eq!(Scopes::parse("openid Codes:write"), None);
        assert_eq!(Scopes::parse("openid offline_access").unwrap().to_string(), "openid");
        assert!(set.within(Scopes::PERSON) && !set.within(Scopes::MACHINE));
    }

    #[test]
    fn people_and_machines_share_no_scope() {
        assert_eq!(Scopes::PERSON.and(Scopes::MACHINE), Scopes::NONE);
        assert_eq!(Scopes::PERSON.or(Scopes::MACHINE).iter().count(), Scope::ALL.len());
        assert!(Scopes::FIRST_PARTY.within(Scopes::PERSON) && !Scopes::FIRST_PARTY.has(Scope::Admin));
    }
}
