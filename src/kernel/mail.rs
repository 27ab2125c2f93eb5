//! What the service writes to people.

use crate::words;

words! {
    /// What a mail is about.
    pub enum MailKind as "MailKind" {
        /// Has a link that shows that the address is the person's.
        Confirm = "confirm",
        /// Has a link to choose a new password with.
        Reset = "reset",
        PasswordChanged = "password_changed",
        /// To the address before and to the new one.
        AddressChanged = "address_changed",
        /// To whoever registers with an address that has an account, where registration tells nothing itself.
        AlreadyRegistered = "already_registered",
        /// To managers: nothing has reached a webhook endpoint for a day.
        EndpointFailing = "endpoint_failing",
        /// To managers: a webhook endpoint is told nothing any more.
        EndpointDisabled = "endpoint_disabled",
    }
}

impl MailKind {
    /// Those whose mails have a link that does something.
    pub const WITH_LINK: [Self; 2] = [Self::Confirm, Self::Reset];
}
