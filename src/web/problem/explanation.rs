//! What the pages of problems explain.

use crate::kernel::error::Refusal;

/// What the page of a problem tells beyond its sentence: when it happens and what to do.
pub fn explanation(refusal: Refusal) -> &'static str {
    use Refusal as R;
    match refusal {
        R::Invalid => {
            "One or more fields break a rule. `errors` names each with its place, the rule's word and a sentence. Mend them and send the request again."
        }
        R::NotAuthenticated => {
            "The request carries no access token. Get one with POST /api/v1/auth/token and send it as `Authorization: Bearer …`."
        }
        R::InvalidToken => {
            "The access token is malformed, not ours, expired, or its session has ended. Refresh it or log in again."
        }
        R::InsufficientScope => {
            "The access token was made for less. `WWW-Authenticate` names the scope that is needed: ask for it when you send the person to log in."
        }
        R::PersonRequired => {
            "The access token belongs to a program that acts for nobody (client credentials). Use a token of a person."
        }
        R::ManagersOnly => "You are not one of the program's managers. The operator can make you one.",
        R::BadCredentials => {
            "No account has this user name or address with this password, or the account is disabled. Which of these it is, is not told."
        }
        R::InvalidRefreshToken => {
            "The refresh token is not ours, has expired, was replaced by a newer one, or its session has ended. Log in again."
        }
        R::WrongPassword => "The action asks for the account's current password, and this is not it.",
        R::EmailCheckPending => {
            "The operator lets people in only once their address is checked, and the check is not done. Try again in a few minutes."
        }
        R::EmailUnconfirmed => {
            "The operator lets people in only once they have shown that their address is theirs. The link is in the mail that came at the registration; POST /api/v1/auth/confirm/resend sends another."
        }
        R::EmailRefused => {
            "The operator lets in only people whose address can receive mail, and this one was found not to. Ask the operator."
        }
        R::UsernameTaken => "Somebody has this user name, or one that looks the same. Choose another.",
        R::EmailTaken => "There is an account with this address. Log in, or use another address.",
        R::CodeNotUsable => {
            "The code was never issued, has expired or was revoked. Nothing was written. Ask the referrer for a new one, or register without."
        }
        R::LinkNotFound => "Nobody's link is called so. Check how it is spelled, or ask for it once more.",
        R::HandleTaken => {
            "The handle is somebody's, or was: a handle is issued once, in all spellings that read the same. Choose another."
        }
        R::HandleChosen => "Links that were shared lead on for ever, so a handle that was chosen stays.",
        R::CodeTaken => {
            "The code was issued before, by anybody, and a code is used once, even after it was revoked. Choose another or leave it out to have one drawn."
        }
        R::ActiveCodeExists => {
            "An owner has at most one active code. Revoke it first, or add `?replace=true` to do both in one step."
        }
        R::ExpiresInPast => "`expires_at` is not in the future by the database's clock.",
        R::NoActiveCode => {
            "Nobody with this address has an active code that you may see. An unknown address, a person without a code and one who does not want to be found get the same answer."
        }
        R::NotYourCode => "The code belongs to somebody else.",
        R::CodeNotFound => "There is no such code, or it has been revoked before.",
        R::RefereesHidden => "The operator shows a referrer's referees only to the referrer and to managers.",
        R::ClientNotFound => "No client with this id is registered, or it was removed.",
        R::ClientPublic => "Public clients (apps on phones, pages in browsers) cannot keep a secret and have none.",
        R::ParticipantNotFound => "Nobody has been told of under this external id, or they were erased.",
        R::AlreadyJoined => {
            "Who brought a participant is settled when they are made. Leave code and handle out, or send the same."
        }
        R::ParticipantErased => {
            "An external id belongs to one person for ever. Tell of another person under another external id."
        }
        R::ClientBusy => "A client has one batch under way at a time. Send the next when the one before is answered.",
        R::EndpointNotFound => "No endpoint has this id, or it was removed.",
        R::EndpointBlocked => {
            "Webhooks go to https addresses on the internet, at the ports that the operator lists. The host's name is not found, or one of its addresses is private, reserved or the service's own; the operator may allow networks (`webhooks.allow_networks`)."
        }
        R::MessageNotFound => "No message has this id, or its time is over: messages are kept for 90 days.",
        R::FeedOff => "The operator switches the feed on with `webhooks.feed`. Endpoints are told without it.",
        R::CursorExpired => {
            "Messages are kept for 90 days, and some behind this `after` are gone. Compare what you have with the lists of the API, then begin without `after`."
        }
        R::ProgramNotFound => "There is one program, `default`.",
        R::ProgramNotActive => "A manager activates a program that is paused; one that has ended takes no new events.",
        R::RulesNotFound => "Versions are numbered from 1 without gaps; 0 stands for none.",
        R::EventNotFound => "Nothing was told under this id. Events of nobody's referee are not kept.",
        R::EventDiffers => "The external id was sent before with other fields. Give another event an id of its own.",
        R::RefundExceeds => "Refunds of an event together are at most its amount; without one it is taken back once.",
        R::RewardNotFound => "Nothing was granted under this id.",
        R::ReferralNotFound => "The id is a referee's. Whoever came by themselves is none.",
        R::ConflictOfInterest => "Another manager does it: you are the referrer, the referee or the holder.",
        R::RewardState => "See its `state`, and what was decided of the referral; what it takes is in the documents.",
        R::PayoutNotFound => "Nothing is paid under this id.",
        R::PayoutState => "One that is open is paid or cancelled, once; lines of one that is paid are returned, once.",
        R::InsufficientBalance => "What was taken back of other rewards counts against it, and what open payouts have.",
        R::ConsentNotFound => "You have allowed the client nothing, or have withdrawn it before.",
        R::SessionNotFound => "The session is somebody else's, has ended before, or was never there.",
        R::IdentityNotFound => "The identity is somebody else's, was unlinked before, or was never linked.",
        R::LastManager => {
            "Without this manager nobody could run the program. Make another one first; the operator can do without."
        }
        R::UserNotFound => "No account has this id, or it was erased.",
        R::LastWayIn => {
            "Your account has no password, and no other identity of yours belongs to a provider that people can sign in with here. Set a password or link another identity first."
        }
        R::SignInExpired => {
            "The way to another provider and back took longer than ten minutes, was gone before, or belongs to another browser."
        }
        R::LinkExpired => {
            "The link in the mail was used, its time is over, or the address is not the account's any more. Ask for a new one with POST /api/v1/auth/reset."
        }
        R::LogInAgain => {
            "An account without a password is changed within five minutes of a log-in. Log in again through the provider that you use. Its first password is set through the documentation page, not through other programs."
        }
        R::NotFound => "No route has this path. See /docs for those there are.",
        R::MethodNotAllowed => "The path exists, but not with this method. `Allow` lists those it takes.",
        R::RequestTimeout => {
            "The body did not arrive within ten seconds, or not within the time that the operator gives a request."
        }
        R::Malformed => {
            "The request line or a header cannot be read, there is not exactly one valid `Host`, or `Transfer-Encoding` is something else than `chunked`. The connection is closed. Look at the client, or at the proxy between."
        }
        R::HeadersTooLarge => "Headers are at most 16 KiB together, and 100 at most. The connection is closed.",
        R::TooLarge => "Bodies are at most 64 KiB, those of batches 1 MiB.",
        R::UriTooLong => "Addresses are at most 8 KiB, query included.",
        R::UnsupportedMediaType => {
            "Bodies are JSON (`application/json`) and not compressed; POST /api/v1/auth/token takes a form as well."
        }
        R::IdempotencyKeyReused => {
            "The same caller has used this Idempotency-Key within 24 hours for another request to this operation, and that one was carried out. Nothing was done now. Take a new key for each request, and the same one only to repeat it."
        }
        R::IdempotencyInFlight => {
            "A request with this Idempotency-Key is being carried out at another node and takes long. Nothing was done now. Ask again with the same key: you get the first answer as soon as there is one."
        }
        R::RateLimited => {
            "You have asked more often than the operator allows, or have too many calls under way. Wait as many seconds as `Retry-After` says."
        }
        R::Overloaded => {
            "The service has as much work waiting as it accepts, or what you ask for was held up for too long. Wait as many seconds as `Retry-After` says; nothing was done."
        }
        R::Unavailable => {
            "The database cannot be reached, refuses work just now or took too long. Wait as many seconds as `Retry-After` says. A write may have happened: look before you repeat it."
        }
        R::ReadOnly => "The operator moves the database. Reads go on, log-ins are changes, too. Nothing was done.",
        R::Internal => "A fault of the service. The request id in `instance` finds it in the operator's log.",
    }
}
