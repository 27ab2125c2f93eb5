//! `Idempotency-Key`: the key of a write that a client may send again, and the answer that it gets then.
//!
//! A handler takes its caller as `Keyed<Person<…>>`, makes its answer by a function of what the write comes to, and
//! hands that on with the caller ([`Keyed::sent`]). The rest is here and in the guard around the request.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::problem::{Problem, status};
use crate::app::App;
use crate::idempotency::{self, ClientKey, Record, Sent};
use crate::kernel::actor::{Actor, Who};
use crate::kernel::answer::Answer;
use crate::kernel::digest::sha256;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::time::Time;

pub const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MOST: usize = 255;

/// Who makes a request, as its extractor knows it.
pub trait Acts {
    fn actor(&self) -> Actor;

    /// What their token lets them do, where that makes a difference to the answer.
    fn scopes(&self) -> String {
        String::new()
    }
}

impl Acts for Actor {
    fn actor(&self) -> Actor {
        *self
    }
}

/// A caller whose write may come again.
pub struct Keyed<C> {
    caller: C,
    noted: Option<Arc<Noted>>,
}

impl<C> Deref for Keyed<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.caller
    }
}

impl<C: Acts> Keyed<C> {
    /// The write, with the answer it gets: a function of what it comes to alone, for it is called within its
    /// transaction.
    pub fn sent<T: 'static>(&self, tell: impl Fn(&T) -> Result<Reply> + Send + Sync + 'static) -> Result<Sent<T>> {
        let record = self.noted.as_ref().map(|noted| noted.record()).transpose()?.flatten();
        Ok(Sent::new(self.caller.actor(), record, move |value| Ok(tell(value)?.0)))
    }

    /// The write, with an answer that is known before.
    pub fn answered<T: 'static>(&self, reply: &Reply) -> Result<Sent<T>> {
        let answer = reply.0.clone();
        self.sent(move |_| Ok(Reply(answer.clone())))
    }
}

impl<C> FromRequestParts<Arc<App>> for Keyed<C>
where
    C: FromRequestParts<Arc<App>> + Acts,
{
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let caller = C::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let noted = parts.extensions.get::<Arc<Noted>>().cloned();
        if let Some(noted) = &noted {
            let write = Write::read(parts, &caller, app);
            let _ = noted.write.set(write.map_err(|error| Problem::from(error).into_response())?);
        }
        Ok(Self { caller, noted })
    }
}

/// What is known of a write that came with a key.
#[derive(Default)]
pub struct Noted {
    write: OnceLock<Write>,
    /// A hash of the body's fields.
    body: OnceLock<[u8; 32]>,
}

struct Write {
    key: ClientKey,
    who: Who,
    scopes: String,
    operation: String,
    /// Path and query.
    target: String,
    now: Time,
}

impl Write {
    fn read(parts: &Parts, caller: &impl Acts, app: &App) -> Result<Self> {
        let key = key(&parts.headers)?;
        let secret = app.keyring.secret_for("idempotency");
        let secret = secret.ok_or_else(|| Error::Internal("there is no secret for idempotency keys".into()))?;
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        Ok(Self {
            key: ClientKey::new(&secret, &key)?,
            who: caller.actor().who,
            scopes: caller.scopes(),
            operation: format!("{} {route}", parts.method),
            target: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            now: app.clock.now(),
        })
    }
}

impl Noted {
    /// Notes what a body says.
    pub fn body(extensions: &Extensions) -> Option<Arc<Self>> {
        extensions.get::<Arc<Self>>().cloned()
    }

    /// By its fields, in their order: blanks between them make no difference.
    pub fn says(&self, fields: &impl Serialize) {
        let _ = self.body.set(sha256(&serde_json::to_vec(fields).unwrap_or_default()));
    }

    /// Nothing while nobody has asked who calls.
    fn record(&self) -> Result<Option<Record>> {
        let Some(write) = self.write.get() else { return Ok(None) };
        let body = self.body.get().map_or(&[][..], |hash| hash);
        let said = [write.scopes.as_bytes(), write.target.as_bytes(), body];
        write.key.record(write.who, &write.operation, &said, write.now).map(Some)
    }
}

/// Whether a request has a key, which is read only where it means something.
pub fn note(request: &mut Request) -> Option<Arc<Noted>> {
    let noted = request.headers().contains_key(HEADER).then(Arc::<Noted>::default)?;
    request.extensions_mut().insert(noted.clone());
    Some(noted)
}

/// A refusal, unless it is one because the write was made already: whoever lost their answer, and whoever came at the
/// same time, gets the first one.
pub async fn or_first_answer(app: &App, noted: &Noted, response: Response) -> Response {
    let refused = |problem: &Problem| {
        problem.answered.is_none() && problem.refusal != Refusal::RateLimited && status(problem.refusal).as_u16() < 500
    };
    if !response.extensions().get::<Problem>().is_some_and(refused) {
        return response;
    }
    let found = match noted.record() {
        Ok(Some(record)) => idempotency::find(&app.db, &record).await,
        Ok(None) => return response,
        Err(error) => Err(error),
    };
    match found {
        Ok(Some(answer)) => replay(answer),
        Ok(None) => response,
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The first answer, once more.
pub fn replay(answer: Answer) -> Response {
    let mut response = Reply(answer).into_response();
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// A text in quotes, as the draft has it, or bare, as most send it: 1 to 255 printable ASCII characters.
fn key(headers: &HeaderMap) -> Result<String> {
    let refused = || {
        let rule = "One value of 1 to 255 printable ASCII characters, in quotes or bare";
        Error::Invalid(vec![FieldError::new("header", "Idempotency-Key", "value_error", rule)])
    };
    let mut values = headers.get_all(HEADER).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(refused()) };
    let text = value.to_str().map_err(|_| refused())?.trim();
    let key = match text.strip_prefix('"') {
        Some(rest) => unquoted(rest.strip_suffix('"').ok_or_else(refused)?).ok_or_else(refused)?,
        None => text.to_owned(),
    };
    let printable = |byte: u8| (0x20..0x7F).contains(&byte);
    if key.is_empty() || key.len() > MOST || !key.bytes().all(printable) {
        return Err(refused());
    }
    Ok(key)
}

/// What a string of RFC 9651 says: a backslash stands before a quote or another backslash, and nowhere else.
fn unquoted(text: &str) -> Option<String> {
    let mut said = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        said.push(match character {
            '\\' => characters.next().filter(|next| ['"', '\\'].contains(next))?,
            '"' => return None,
            other => other,
        });
    }
    Some(said)
}

/// The answer to a write: given at once, and kept if it came with a key.
#[derive(Clone)]
pub struct Reply(Answer);

impl Reply {
    pub fn json(status: StatusCode, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Internal(format!("no answer: {error}")))?;
        Ok(Self(Answer { status: status.as_u16(), body }))
    }

    /// Done, and nothing to tell.
    pub fn nothing() -> Self {
        Self::empty(StatusCode::NO_CONTENT)
    }

    pub fn empty(status: StatusCode) -> Self {
        Self(Answer { status: status.as_u16(), body: Vec::new() })
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.0.body.is_empty() {
            return status.into_response();
        }
        (status, [(CONTENT_TYPE, "application/json")], self.0.body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        key(&headers).ok()
    }

    #[test]
    fn a_key_is_the_same_in_quotes_and_bare() {
        for (values, said) in [
            (&[&b"order-17"[..]][..], Some("order-17")),
            (&[b"\"order-17\""], Some("order-17")),
            (&[b"\"a \\\"b\\\" \\\\c\""], Some("a \"b\" \\c")),
            (&[b"a b"], Some("a b")),
            (&[b""], None),
            (&[b"\"\""], None),
            (&[b"\"half"], None),
            (&[b"\""], None),
            (&[b"\"a\"b\""], None),
            (&[b"\"a\\b\""], None),
            (&[b"a", b"a"], None),
            (&[b"caf\xC3\xA9"], None),
            (&[b"a\tb"], None),
        ] {
            assert_eq!(read(values).as_deref(), said, "{values:?}");
        }
        assert!(read(&[&[b'a'; 255]]).is_some());
        assert!(read(&[&[b'a'; 256]]).is_none());
    }
}
