//! What is known about a person's e-mail address.

use crate::words;

words! {
    /// The outcome of checking an address, or that it is not known.
    pub enum Verdict as "EmailVerdict" {
        /// Nobody was asked.
        Unchecked = "unchecked",
        /// The verifier has not answered yet.
        Pending = "pending",
        Valid = "valid",
        /// The domain takes mail for any name.
        AcceptAll = "accept_all",
        Webmail = "webmail",
        /// The verifier could not tell, or never answered.
        Unknown = "unknown",
        Invalid = "invalid",
        Disposable = "disposable",
    }
}

impl Verdict {
    /// Whether the address is known to receive no lasting mail.
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Invalid | Self::Disposable)
    }
}
