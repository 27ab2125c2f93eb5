//! What people have allowed clients, and how they take it back.

use super::find;
use crate::app::App;
use crate::db::Tx;
use crate::features::clients::model::Consent;
use crate::features::clients::store::consents as store;
use crate::features::tokens;
use crate::idempotency::Sent;
use crate::kernel::error::{Refusal, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::scope::Scopes;
use crate::kernel::time::Time;

/// What a person has allowed a client, if anything.
pub async fn given(app: &App, user: UserId, client: &str) -> Result<Option<Scopes>> {
    store::consent(&app.db, user, client).await
}

/// As [`given`], in a unit of work: it stays so until the commit.
pub async fn hold(tx: &mut Tx<'_>, user: UserId, client: &str) -> Result<Option<Scopes>> {
    store::hold_consent(tx, user, client).await
}

/// Adds to what a person has allowed a client.
pub async fn add(tx: &mut Tx<'_>, user: UserId, client: &str, scopes: Scopes, now: Time) -> Result<()> {
    store::add_consent(tx, user, client, scopes, now).await
}

/// What a person has allowed whom, oldest first.
pub async fn list(app: &App, user: UserId) -> Result<Vec<Consent>> {
    let mut consents = store::consents(&app.db, user).await?;
    for consent in &mut consents {
        let client = find(app, &consent.client_id).await?;
        consent.name = client.map_or_else(|| consent.client_id.clone(), |client| client.name);
    }
    Ok(consents)
}

/// Takes back what a person has allowed a client: its tokens end on every node.
pub async fn withdraw(app: &App, sent: Sent<()>, user: UserId, client: &str) -> Result<()> {
    // Not every text is one that each database can be asked about.
    if !super::may_be_id(client) {
        return Err(Refusal::ConsentNotFound.into());
    }
    let withdrawal = Withdrawal { user, client: client.to_owned(), now: app.clock.now() };
    let ended =
        app.write_for(sent.settled(&())?, user, withdrawal, |tx, input| Box::pin(end_consent(tx, input))).await?;
    app.sessions_ended(&ended).await;
    Ok(())
}

struct Withdrawal {
    user: UserId,
    client: String,
    now: Time,
}

/// The sessions that have ended with it.
async fn end_consent(tx: &mut Tx<'_>, input: &Withdrawal) -> Result<Vec<SessionId>> {
    if !store::withdraw(tx, input.user, &input.client).await? {
        return Err(Refusal::ConsentNotFound.into());
    }
    tokens::actions::end_all_of_consent(tx, input.user, &input.client, input.now).await
}

/// As part of removing a client.
pub async fn forget_client(tx: &mut Tx<'_>, client: &str) -> Result<()> {
    store::forget_client(tx, client).await
}

/// As part of erasing an account.
pub async fn forget_user(tx: &mut Tx<'_>, user: UserId) -> Result<()> {
    store::forget_user(tx, user).await
}
