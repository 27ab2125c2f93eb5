//! To another identity provider and back: who comes, and whose they are.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::db::{Tx, Work};
use crate::features::accounts::model::ReferralRules;
use crate::features::identities::actions::{PATIENCE, claim, forget};
use crate::features::identities::model::{PendingSignIn, UnclaimedIdentity, UnclaimedIdentityKey};
use crate::features::{accounts, clients, identities, tokens};
use crate::kernel::actor::Actor;
use crate::kernel::digest::{StateHash, TicketHash, VisitorHash};
use crate::kernel::email::Email;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::ids::{SessionId, UserId};
use crate::kernel::time::Time;
use crate::limits::turns::Key;
use crate::outbound::identity_provider::Flow;
use crate::outbound::identity_provider::model::{Identity, SignInError};

/// What a browser brings to the way.
pub struct SignInStart {
    /// By which the database knows it.
    pub visitor_hash: VisitorHash,
    /// Where to go on afterwards.
    pub next: String,
    /// The referral code brought along.
    pub code: Option<String>,
}

/// Why nobody leaves for a provider.
pub enum StartError {
    Provider(SignInError),
    Failed(Error),
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Notes who leaves and says to which address.
pub async fn begin_sign_in(app: &App, actor: Actor, provider: &str, start: SignInStart) -> Result<String, StartError> {
    let now = app.clock.now();
    let [state, nonce, verifier] = [secret(app)?, secret(app)?, secret(app)?];
    let redirect_uri = redirect_uri(app, provider);
    let flow = Flow { redirect_uri: &redirect_uri, nonce: &nonce, verifier: &verifier };
    let address = app.providers.begin(provider, &flow, &state, now).await.map_err(StartError::Provider)?;
    let departure = PendingSignIn {
        provider: provider.to_owned(),
        visitor_hash: start.visitor_hash,
        next: start.next,
        code: start.code,
        nonce,
        verifier,
        expires_at: now.plus(PATIENCE),
    };
    identities::actions::begin(app, actor, StateHash::of(&state), departure).await?;
    Ok(address)
}

/// Each provider has an address of its own to send people back to, so that none is taken for another.
fn redirect_uri(app: &App, provider: &str) -> String {
    format!("{}/oauth/callback/{provider}", app.public_url())
}

fn secret(app: &App) -> Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(app.random::<32>()?))
}

/// What a provider sends a browser back with.
pub struct ProviderCallback<'a> {
    pub state: &'a str,
    pub code: Option<&'a str>,
    /// Why there is no code.
    pub error: Option<&'a str>,
    pub iss: Option<&'a str>,
}

/// Who has come back.
pub enum SignedIn {
    /// Somebody with an account, by which identity, and where they were going.
    Known(UserId, Identity, String),
    /// Somebody new, under this ticket.
    New(String, UnclaimedIdentity),
}

/// Why nobody has.
pub enum FailureReason {
    /// It was not begun in this browser, is over, or took too long.
    Expired,
    /// By what the browser has brought, which may be anybody's word.
    Told(SignInError),
    /// By what the provider has answered us, or has not.
    Failed(SignInError),
}

/// Somebody who has not come back, and where they were going if that is known.
pub struct FailedSignIn {
    pub why: FailureReason,
    pub next: Option<String>,
    /// The referral code brought along.
    pub code: Option<String>,
}

impl FailedSignIn {
    /// Of whom nothing is known.
    pub fn expired() -> Self {
        Self { why: FailureReason::Expired, next: None, code: None }
    }
}

/// Why nobody has come back.
pub enum FinishError {
    SignIn(FailedSignIn),
    Failed(Error),
}

impl From<FailedSignIn> for FinishError {
    fn from(failed: FailedSignIn) -> Self {
        Self::SignIn(failed)
    }
}

impl From<Error> for FinishError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Finds out who has come back from a provider.
pub async fn finish_sign_in(
    app: &App,
    actor: Actor,
    provider: &str,
    visitor_hash: VisitorHash,
    answer: ProviderCallback<'_>,
) -> Result<SignedIn, FinishError> {
    let arrived = identify(app, actor, provider, visitor_hash, answer).await;
    app.metrics.sign_in(match &arrived {
        Ok(SignedIn::Known(..)) => "known",
        Ok(SignedIn::New(..)) => "new",
        Err(FinishError::SignIn(FailedSignIn { why, .. })) => match why {
            FailureReason::Expired => "expired",
            FailureReason::Told(SignInError::Denied) | FailureReason::Failed(SignInError::Denied) => "denied",
            FailureReason::Told(_) | FailureReason::Failed(_) => "failed",
        },
        Err(FinishError::Failed(_)) => "failed",
    });
    arrived
}

async fn identify(
    app: &App,
    actor: Actor,
    provider: &str,
    visitor_hash: VisitorHash,
    answer: ProviderCallback<'_>,
) -> Result<SignedIn, FinishError> {
    let now = app.clock.now();
    let departure = identities::actions::take(app, actor, StateHash::of(answer.state), visitor_hash, now).await?;
    let departure = departure.filter(|departure| departure.provider == provider).ok_or_else(FailedSignIn::expired)?;
    let failed = |why, departure: PendingSignIn| {
        Err(FailedSignIn { why, next: Some(departure.next), code: departure.code }.into())
    };
    let Some(code) = answer.code.filter(|_| answer.error.is_none()) else {
        let why = app.providers.refused(provider, answer.error, answer.iss);
        return failed(FailureReason::Told(why), departure);
    };
    let redirect_uri = redirect_uri(app, provider);
    let flow = Flow { redirect_uri: &redirect_uri, nonce: &departure.nonce, verifier: &departure.verifier };
    let identity = match app.providers.finish(provider, &flow, code, answer.iss, now).await {
        Ok(identity) => identity,
        Err(error) => return failed(FailureReason::Failed(error), departure),
    };
    if let Some(user) = identities::actions::owner(app, &identity.issuer, &identity.subject).await? {
        return Ok(SignedIn::Known(user, identity, departure.next));
    }
    if let Some(user) = join_by_address(app, actor, provider, &identity, now).await? {
        return Ok(SignedIn::Known(user, identity, departure.next));
    }
    let ticket = secret(app)?;
    let arrival = UnclaimedIdentity {
        provider: departure.provider,
        visitor_hash,
        next: departure.next,
        code: departure.code,
        identity,
        expires_at: now.plus(PATIENCE),
    };
    identities::actions::wait(app, actor, TicketHash::of(&ticket), arrival.clone()).await?;
    Ok(SignedIn::New(ticket, arrival))
}

/// The address of an identity, if its provider's word counts that it is the person's.
pub fn proven_email(app: &App, provider: &str, identity: &Identity) -> Option<Email> {
    let trusted = app.providers.settings(provider).is_some_and(|settings| settings.trust_email);
    let text = identity.email.as_deref().filter(|_| trusted && identity.email_verified)?;
    let email = Email::parse(text).ok()?;
    // A mailbox whose name or domain had to be changed to fit ours is another one than the provider has looked at.
    email.is_written(text).then_some(email)
}

struct Joining {
    user: UserId,
    email: Email,
    issuer: String,
    subject: String,
    rules: ReferralRules,
    now: Time,
}

/// Links an identity to the account with its address, where the provider's word about addresses counts.
async fn join_by_address(
    app: &App,
    actor: Actor,
    provider: &str,
    identity: &Identity,
    now: Time,
) -> Result<Option<UserId>> {
    let Some(email) = proven_email(app, provider, identity) else { return Ok(None) };
    let Some(user) = accounts::actions::with_email(app, &email).await? else { return Ok(None) };
    let rules = ReferralRules::of(&app.config);
    let joining =
        Joining { user, email, issuer: identity.issuer.clone(), subject: identity.subject.clone(), rules, now };
    let join: Work<Joining, Option<Vec<SessionId>>> = |tx, joining| Box::pin(take_over(tx, joining));
    let Some(ended) = app.db.write(actor.person(user), joining, join).await? else { return Ok(None) };
    app.sessions_ended(&ended).await;
    Ok(Some(user))
}

/// Nothing when the address is not the account's any more; else the sessions that have ended.
async fn take_over(tx: &mut Tx<'_>, joining: &Joining) -> Result<Option<Vec<SessionId>>> {
    let Joining { user, email, issuer, subject, rules, now } = joining;
    let Some(first) = accounts::actions::prove_email(tx, *user, email, *now).await? else { return Ok(None) };
    // Somebody else may have made the account with this address beforehand: nothing stays that lets them in, and
    // nothing that they have allowed.
    if first {
        accounts::actions::confirmation::count_referral(tx, *user, *rules, *now).await?;
        accounts::actions::address::drop_wish(tx, *user).await?;
        forget(tx, *user).await?;
        clients::actions::consents::forget_user(tx, *user).await?;
    }
    if !identities::actions::link(tx, issuer, subject, *user, *now).await? {
        return Err(Refusal::SignInExpired.into());
    }
    if first { tokens::actions::end_all(tx, *user, *now).await.map(Some) } else { Ok(Some(Vec::new())) }
}

/// Makes whoever waits under a ticket the user's who has just shown the password, which was right against the stored
/// hash.
pub async fn link(app: &App, actor: Actor, key: UnclaimedIdentityKey, user: UserId, stored: String) -> Result<()> {
    let linking = Linking { key, user, stored, now: app.clock.now() };
    app.write_in_turn(actor.person(user), Key::User(user.0), linking, |tx, input| Box::pin(link_waiting(tx, input)))
        .await
}

struct Linking {
    key: UnclaimedIdentityKey,
    user: UserId,
    stored: String,
    now: Time,
}

async fn link_waiting(tx: &mut Tx<'_>, input: &Linking) -> Result<()> {
    // The account may have been given to somebody else since.
    accounts::actions::hold_password(tx, input.user, &input.stored).await?;
    claim(tx, &input.key, input.user, input.now).await
}
