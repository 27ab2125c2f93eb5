//! Errors as callers see them: RFC 9457, one shape everywhere. The only place that gives a refusal its status.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as DocResponse, ResponseBuilder};

use super::idempotency;
use crate::kernel::answer::Answer;
use crate::kernel::error::{Error, FieldError, Refusal, Storage};
use crate::kernel::ids::RequestId;
use crate::kernel::scope::Scope;
use crate::limits::Quota;
use crate::readiness::Unready;

/// What is wrong, in the shape of RFC 9457.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Body9457 {
    /// The page that explains this kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "/problems/code_not_usable")]
    pub kind: String,
    /// The kind of problem, for people.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The status of the answer.
    #[schema(example = 404)]
    pub status: u16,
    /// What is wrong this time, for people.
    #[schema(example = "Referral code not found or expired")]
    pub detail: String,
    /// The kind of problem, for programs: stable.
    pub code: Refusal,
    /// This request, as the log knows it.
    #[schema(example = "urn:uuid:01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")]
    pub instance: String,
    /// Why the service is not ready, for programs; told by `/readyz` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<Unready>,
    /// Which of the policies in `RateLimit-Policy` have refused the request.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub violated: Vec<Quota>,
    /// Each field that breaks a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldProblem>,
}

/// A field that breaks a rule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldProblem {
    /// Where: `body`, `query`, `path` or `header`, then the field.
    #[schema(example = json!(["body", "email"]))]
    pub loc: Vec<String>,
    /// The rule, for programs.
    #[serde(rename = "type")]
    #[schema(example = "value_error")]
    pub kind: String,
    /// The rule, for people.
    #[schema(example = "An e-mail address must have an @-sign")]
    pub msg: String,
}

/// An error on its way out. The guard around every request adds the request id, writes the body and logs the context.
#[derive(Clone, Debug)]
pub struct Problem {
    pub refusal: Refusal,
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    /// The limits that were exceeded.
    pub violated: Vec<Quota>,
    /// The scope that the token lacks.
    pub scope: Option<Scope>,
    /// Why the service is not ready.
    pub reason: Option<Unready>,
    /// For the log.
    pub context: Option<String>,
    /// No problem: the first answer to a write that came again.
    pub answered: Option<Box<Answer>>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            errors: Vec::new(),
            retry_after: None,
            violated: Vec::new(),
            scope: None,
            reason: None,
            context: None,
            answered: None,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let soon = Some(Duration::from_secs(1));
        match error {
            Error::Refused(it @ (Refusal::ClientBusy | Refusal::ReadOnly)) => Self { retry_after: soon, ..it.into() },
            Error::Refused(refusal) => refusal.into(),
            Error::Invalid(errors) => Self { errors, ..Refusal::Invalid.into() },
            Error::Answered(answer) => Self { answered: Some(Box::new(answer)), ..Refusal::Internal.into() },
            Error::Busy(after) => Self { retry_after: Some(after), ..Refusal::Overloaded.into() },
            Error::Limited(after) | Error::CodesSpent(after) => {
                Self { retry_after: Some(after), ..Refusal::RateLimited.into() }
            }
            Error::Storage(Storage::Retry(fault) | Storage::Unavailable(fault) | Storage::OutcomeUnknown(fault)) => {
                Self { retry_after: soon, context: Some(fault.text), ..Refusal::Unavailable.into() }
            }
            Error::Storage(Storage::TimedOut(fault)) => {
                Self { retry_after: soon, context: Some(fault.text), ..Refusal::Overloaded.into() }
            }
            Error::Storage(Storage::Constraint(name)) => {
                Self { context: Some(format!("constraint {name}")), ..Refusal::Internal.into() }
            }
            Error::Storage(Storage::Broken(text)) | Error::Internal(text) => {
                Self { context: Some(text), ..Refusal::Internal.into() }
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Some(answer) = self.answered {
            return idempotency::replay(*answer);
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status(self.refusal);
        response.extensions_mut().insert(self);
        response
    }
}

impl Problem {
    /// The whole answer.
    pub fn render(&self, request: RequestId) -> Response {
        self.written(request).map(Body::from)
    }

    /// The whole answer, its body as bytes.
    pub fn written(&self, request: RequestId) -> Response<Vec<u8>> {
        let status = status(self.refusal);
        let body = self.body(&format!("urn:uuid:{request}"));
        let mut response = Response::new(serde_json::to_vec(&body).unwrap_or_default());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
        }
        match self.refusal {
            Refusal::NotAuthenticated => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Refusal::InvalidToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
            }
            // RFC 9110: a 401 names a way to authenticate; these are asked for a password or a refresh token.
            Refusal::BadCredentials | Refusal::InvalidRefreshToken => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // RFC 9110, 15.5.16.
            Refusal::UnsupportedMediaType => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            }
            Refusal::InsufficientScope => {
                let scope = self.scope.map(|scope| format!(", scope=\"{}\"", scope.word())).unwrap_or_default();
                if let Ok(value) = HeaderValue::from_str(&format!("Bearer error=\"insufficient_scope\"{scope}")) {
                    headers.insert(WWW_AUTHENTICATE, value);
                }
            }
            _ => {}
        }
        response
    }

    /// As part of an answer about many.
    pub fn told(&self, request: Option<RequestId>) -> Body9457 {
        self.body(&request.map(|request| format!("urn:uuid:{request}")).unwrap_or_default())
    }

    fn body(&self, instance: &str) -> Body9457 {
        let status = status(self.refusal);
        Body9457 {
            kind: format!("/problems/{}", self.refusal.word()),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: self.detail(),
            code: self.refusal,
            instance: instance.to_owned(),
            reason: self.reason,
            violated: self.violated.clone(),
            errors: self.errors.iter().map(field).collect(),
        }
    }

    fn detail(&self) -> String {
        if self.errors.is_empty() {
            return self.refusal.sentence().to_owned();
        }
        let sentences = self.errors.iter().map(|error| {
            let place = error.loc.get(1).map(|field| format!("{field}: ")).unwrap_or_default();
            format!("{place}{}", error.msg)
        });
        sentences.collect::<Vec<_>>().join("; ")
    }
}

fn field(error: &FieldError) -> FieldProblem {
    FieldProblem { loc: error.loc.clone(), kind: error.kind.to_owned(), msg: error.msg.clone() }
}

pub fn status(refusal: Refusal) -> StatusCode {
    use Refusal as R;
    match refusal {
        R::ExpiresInPast | R::Malformed => StatusCode::BAD_REQUEST,
        R::NotAuthenticated | R::InvalidToken | R::BadCredentials | R::InvalidRefreshToken => StatusCode::UNAUTHORIZED,
        R::InsufficientScope
        | R::PersonRequired
        | R::ManagersOnly
        | R::WrongPassword
        | R::LogInAgain
        | R::SignInExpired
        | R::EmailCheckPending
        | R::EmailRefused
        | R::EmailUnconfirmed
        | R::NotYourCode
        | R::RefereesHidden => StatusCode::FORBIDDEN,
        R::CodeNotUsable
        | R::NoActiveCode
        | R::LinkNotFound
        | R::CodeNotFound
        | R::ClientNotFound
        | R::ParticipantNotFound
        | R::ProgramNotFound
        | R::ConsentNotFound
        | R::SessionNotFound
        | R::IdentityNotFound
        | R::UserNotFound
        | R::NotFound => StatusCode::NOT_FOUND,
        R::LinkExpired => StatusCode::GONE,
        R::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        R::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        R::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        R::UsernameTaken
        | R::EmailTaken
        | R::CodeTaken
        | R::HandleTaken
        | R::HandleChosen
        | R::ActiveCodeExists
        | R::AlreadyJoined
        | R::ParticipantErased
        | R::ClientPublic
        | R::LastWayIn
        | R::LastManager
        | R::IdempotencyInFlight => StatusCode::CONFLICT,
        R::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        R::UriTooLong => StatusCode::URI_TOO_LONG,
        R::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        R::Invalid | R::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        R::RateLimited | R::ClientBusy => StatusCode::TOO_MANY_REQUESTS,
        R::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        R::Overloaded | R::Unavailable | R::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
    }
}

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
        R::ProgramNotFound => "There is one program, `default`.",
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

/// The answers of an operation that are problems, by status, each with an example for every refusal.
pub fn documented(refusals: &[Refusal]) -> BTreeMap<String, RefOr<DocResponse>> {
    let mut by_status: BTreeMap<u16, Vec<Refusal>> = BTreeMap::new();
    for refusal in refusals {
        by_status.entry(status(*refusal).as_u16()).or_default().push(*refusal);
    }
    by_status
        .into_iter()
        .map(|(code, refusals)| {
            let sentences: Vec<&str> = refusals.iter().map(|refusal| refusal.sentence()).collect();
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("Problem")))
                .examples_from_iter(refusals.iter().map(|refusal| {
                    let example =
                        ExampleBuilder::new().summary(refusal.sentence()).value(Some(example(*refusal))).build();
                    (refusal.word(), example)
                }))
                .build();
            let mut response = ResponseBuilder::new()
                .description(sentences.join("; or: "))
                .content("application/problem+json", content);
            if matches!(code, 429 | 503) {
                response = response.header("Retry-After", header("Seconds to wait", Type::Integer));
            }
            if code == 401 || refusals.contains(&Refusal::InsufficientScope) {
                response = response.header("WWW-Authenticate", header("How to authenticate", Type::String));
            }
            if code == 405 {
                response = response.header("Allow", header("The methods there are", Type::String));
            }
            (code.to_string(), RefOr::T(response.build()))
        })
        .collect()
}

fn header(description: &str, kind: Type) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(description)).build()
}

fn example(refusal: Refusal) -> serde_json::Value {
    let mut problem = Problem::from(refusal);
    if refusal == Refusal::Invalid {
        problem.errors.push(FieldError::new("body", "email", "value_error", "An e-mail address must have an @-sign"));
    }
    serde_json::to_value(problem.body("urn:uuid:01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11")).unwrap_or_default()
}

/// Names the refusals of an operation for its documentation; `body`, `query` and `caller` add what reading a body, the
/// query or path, and a token can bring, `keyed` what a client's key can.
#[macro_export]
macro_rules! problems {
    ($name:ident: $($group:ident)* [$($refusal:ident),* $(,)?]) => {
        struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                use $crate::kernel::error::Refusal;
                let own: &[Refusal] = &[$(Refusal::$refusal),*];
                let groups = [own, $($crate::web::problem::groups::$group,)* $crate::web::problem::groups::always];
                $crate::web::problem::documented(&groups.concat())
            }
        }
    };
}

#[expect(non_upper_case_globals, reason = "they are named as the macro above spells them")]
pub mod groups {
    use crate::kernel::error::Refusal;

    pub const body: &[Refusal] =
        &[Refusal::RequestTimeout, Refusal::TooLarge, Refusal::UnsupportedMediaType, Refusal::Invalid];
    pub const query: &[Refusal] = &[Refusal::Invalid];
    /// Of writes that take an `Idempotency-Key`.
    pub const keyed: &[Refusal] = &[Refusal::Invalid, Refusal::IdempotencyKeyReused, Refusal::IdempotencyInFlight];
    pub const caller: &[Refusal] = &[Refusal::NotAuthenticated, Refusal::InvalidToken];
    pub const reader: &[Refusal] = &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope];
    pub const person: &[Refusal] =
        &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope, Refusal::PersonRequired];
    pub const manager: &[Refusal] = &[
        Refusal::NotAuthenticated,
        Refusal::InvalidToken,
        Refusal::InsufficientScope,
        Refusal::PersonRequired,
        Refusal::ManagersOnly,
    ];
    pub const program_reader: &[Refusal] =
        &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope, Refusal::ManagersOnly];
    pub const program_writer: &[Refusal] =
        &[Refusal::NotAuthenticated, Refusal::InvalidToken, Refusal::InsufficientScope];
    pub const always: &[Refusal] = &[Refusal::UriTooLong, Refusal::Overloaded, Refusal::Unavailable, Refusal::ReadOnly];
}
