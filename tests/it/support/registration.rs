//! A registration beneath the API, and whose it is.

use referral::features::accounts::actions::registration::Entry;
use referral::features::accounts::store::NewUser;
use referral::features::mails::model::{NewMail, Told};
use referral::features::referrals::model::Status;
use referral::kernel::actor::Actor;
use referral::kernel::handle::InvitationKey;
use referral::kernel::ids::{MailId, UserId};
use referral::kernel::mail::MailKind;
use referral::kernel::time::Time;
use referral::kernel::verdict::Verdict;
use uuid::Uuid;

use super::app::TestApp;

/// A registration as it is to be written, without the work of a hash and without jobs.
pub fn entry(name: &str, code: Option<InvitationKey>) -> Entry {
    Entry {
        actor: Actor::SERVICE,
        user: NewUser {
            // Not one of the few that ask for work on the referrer's list.
            id: UserId(Uuid::from_u128(UserId::new().0.as_u128() | 1)),
            username: name.to_uppercase(),
            email: format!("{}@Example.com", name.to_uppercase()),
            name_key: name.to_owned(),
            email_key: format!("{name}@example.com"),
            password_hash: Some("a hash".to_owned()),
            created_at: Time(1_900_000_000_000_000),
            verdict: Verdict::Unchecked,
            email_proven: false,
        },
        code,
        renewal: None,
        arrival: None,
        check: false,
        status: Status::Confirmed,
        mail: None,
        quiet: None,
        tells: false,
        sign_up: false,
    }
}

/// The mail that tells somebody new of their registration.
pub fn confirmation(user: &NewUser) -> NewMail {
    NewMail {
        id: MailId::new(),
        user: user.id,
        kind: MailKind::Confirm,
        language: "en",
        address_key: user.email_key.clone(),
        created_at: Time(user.created_at.0 - 1),
        expires_at: Time(user.created_at.0 + 1),
        told: Told { sealed: "sealed".to_owned() },
    }
}

/// A user's id, by their name.
pub async fn id_of(test: &TestApp, name: &str) -> UserId {
    let found = referral::features::accounts::actions::administration::find(test.app(), name).await;
    found.expect("a look").expect("a user").id
}
