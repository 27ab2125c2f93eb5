//! Showing that an address is one's own, by a link in a mail, and what waits for it.

use super::address;
use super::reset::linked;
use crate::app::App;
use crate::crypto::mail_key::LinkToken;
use crate::db::{Tx, Work};
use crate::features::accounts::model::ReferralRules;
use crate::features::accounts::store;
use crate::features::mails::actions as mails;
use crate::features::{referrals, rewards};
use crate::idempotency::Sent;
use crate::kernel::email::Email;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{MailId, UserId};
use crate::kernel::mail::MailKind;
use crate::kernel::time::Time;
use crate::web::views::language::Language;

/// Sends another link to whoever has an account with this address that is not confirmed. Whoever asks learns nothing.
pub async fn ask(app: &App, sent: Sent<()>, language: Language, email: &Email) -> Result<()> {
    mails::ask(app, sent, MailKind::Confirm, language, email).await
}

struct Confirmation {
    link: MailId,
    rules: ReferralRules,
    now: Time,
}

/// Notes, by the link of a mail, once, that the address is the person's; or gives them the one that they wanted
/// instead.
pub async fn confirm(app: &App, sent: Sent<()>, token: &LinkToken, language: Language) -> Result<()> {
    let linked = linked(app, token).await?;
    if linked.kind != MailKind::Confirm {
        return Err(Refusal::LinkExpired.into());
    }
    if let Some(before) = &linked.before {
        let keys = (before.as_str(), linked.link.address_key.as_str());
        return address::change(app, sent, token.id, &linked.user, keys, language).await;
    }
    let input = Confirmation { link: token.id, rules: ReferralRules::of(&app.config), now: app.clock.now() };
    let note: Work<Confirmation, ()> = |tx, input| Box::pin(note(tx, input));
    let sent = sent.by(|actor| actor.person(linked.user.id)).settled(&())?;
    app.write(sent, input, note).await
}

async fn note(tx: &mut Tx<'_>, input: &Confirmation) -> Result<()> {
    let used = mails::use_link(tx, input.link, MailKind::Confirm, input.now).await?;
    if !store::confirm_email(tx, used.user, &used.address_key, input.now).await? {
        return Err(Refusal::LinkExpired.into());
    }
    // That to an address that they want instead stays good.
    mails::end_links_to(tx, used.user, MailKind::Confirm, &used.address_key, input.now).await?;
    count_referral(tx, used.user, input.rules, input.now).await
}

/// Counts the referral of a user whose proof or verdict has come, if nothing is missing now. The unit of work has
/// locked the user: of proof and verdict that come at once the later sees the other.
pub async fn count_referral(tx: &mut Tx<'_>, user: UserId, rules: ReferralRules, now: Time) -> Result<()> {
    match store::standing(tx, user).await? {
        Some((proven, verdict)) if rules.count(proven, verdict) => {
            if referrals::actions::confirm(tx, user, now).await? {
                rewards::actions::release::confirmed(tx, user).await?;
                rewards::actions::sign_ups::expect(tx, user, now).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}
