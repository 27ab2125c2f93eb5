//! Errors as callers see them: RFC 9457, one shape everywhere. The only place that gives a refusal its status.

mod explanation;
pub mod groups;

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

pub use self::explanation::explanation;
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
            Error::Rehearsed => Refusal::Internal.into(),
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
            let place = error.loc.get(1..).unwrap_or_default().join(".");
            if place.is_empty() { error.msg.clone() } else { format!("{place}: {}", error.msg) }
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
        | R::ConflictOfInterest
        | R::RefereesHidden => StatusCode::FORBIDDEN,
        R::CodeNotUsable
        | R::NoActiveCode
        | R::LinkNotFound
        | R::CodeNotFound
        | R::ClientNotFound
        | R::ParticipantNotFound
        | R::ProgramNotFound
        | R::RulesNotFound
        | R::EventNotFound
        | R::RewardNotFound
        | R::ReferralNotFound
        | R::PayoutNotFound
        | R::EndpointNotFound
        | R::MessageNotFound
        | R::ConsentNotFound
        | R::SessionNotFound
        | R::IdentityNotFound
        | R::UserNotFound
        | R::NotFound => StatusCode::NOT_FOUND,
        R::LinkExpired | R::CursorExpired => StatusCode::GONE,
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
        | R::ProgramNotActive
        | R::EventDiffers
        | R::RefundExceeds
        | R::RewardState
        | R::PayoutState
        | R::InsufficientBalance
        | R::FeedOff
        | R::LastWayIn
        | R::LastManager
        | R::IdempotencyInFlight => StatusCode::CONFLICT,
        R::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        R::UriTooLong => StatusCode::URI_TOO_LONG,
        R::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        R::Invalid | R::IdempotencyKeyReused | R::EndpointBlocked => StatusCode::UNPROCESSABLE_ENTITY,
        R::RateLimited | R::ClientBusy => StatusCode::TOO_MANY_REQUESTS,
        R::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        R::Overloaded | R::Unavailable | R::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
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
