//! Reading requests. Whatever cannot be read is told in our own error shape, every field at once, and never echoed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde_json::{Map, Value};

use super::idempotency::Noted;
use super::problem::Problem;
pub use super::query::Query;
use crate::kernel::deadline;
use crate::kernel::error::{Error, FieldError, Refusal, Result};
use crate::kernel::parameters::Parameters;

/// Bytes of a body.
pub const MOST_BODY: usize = 64 * 1024;
/// Bytes of a body with many items.
const MOST_BATCH: usize = 1024 * 1024;
const MOST_DEPTH: usize = 32;
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read and thrown away of a body that is too large, so that its sender gets to see the answer.
const MOST_DRAINED: usize = 64 * 1024 * 1024;

/// The fields of a body, taken one by one; what is wrong with each is collected.
#[derive(Debug, Default)]
pub struct Fields {
    values: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Of a name that is given twice the last counts.
    pub fn of(form: &Parameters) -> Self {
        let values = form.iter().map(|(name, value)| (name.to_owned(), Value::String(value.to_owned()))).collect();
        Self { values, errors: Vec::new() }
    }

    /// A text that must be there.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let text = self.optional_text(name);
        if text.is_none() && !self.errors.iter().any(|error| error.loc.get(1).is_some_and(|field| field == name)) {
            self.refuse(name, "missing", "Field required");
        }
        text
    }

    /// A text that may be missing or null.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.refuse(name, "string_type", "Input should be a valid string");
                None
            }
        }
    }

    /// A truth value that must be there.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        match self.values.remove(name) {
            Some(Value::Bool(flag)) => Some(flag),
            None | Some(Value::Null) => {
                self.refuse(name, "missing", "Field required");
                None
            }
            Some(_) => {
                self.refuse(name, "bool_type", "Input should be true or false");
                None
            }
        }
    }

    /// A truth value that may be missing or null.
    pub fn optional_flag(&mut self, name: &str) -> Option<bool> {
        match self.values.get(name) {
            None | Some(Value::Null) => None,
            Some(_) => self.flag(name),
        }
    }

    /// A whole number that may be missing or null, within these bounds.
    pub fn optional_number(&mut self, name: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) if number.as_i64().is_some_and(|number| bounds.contains(&number)) => {
                number.as_i64()
            }
            Some(_) => {
                let (least, most) = bounds.into_inner();
                self.refuse(name, "int_type", format!("Input should be a whole number from {least} to {most}"));
                None
            }
        }
    }

    /// Whether a field is there that must be, and not null; it is refused where it is not.
    pub fn has(&mut self, name: &str) -> bool {
        let is_there = self.values.get(name).is_some_and(|value| !value.is_null());
        if !is_there {
            self.refuse(name, "missing", "Field required");
        }
        is_there
    }

    /// As [`optional_number`](Self::optional_number), of one that must be there.
    pub fn number(&mut self, name: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        if self.has(name) { self.optional_number(name, bounds) } else { None }
    }

    /// An object of texts that may be missing or null, its members in the order of their names.
    pub fn optional_members(&mut self, name: &str) -> Option<Vec<(String, String)>> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(members)) => {
                let texts = members.into_iter().map(|(name, value)| match value {
                    Value::String(text) => Some((name, text)),
                    _ => None,
                });
                let texts: Option<Vec<_>> = texts.collect();
                if texts.is_none() {
                    self.refuse(name, "string_type", "Each member should be a valid string");
                }
                texts
            }
            Some(_) => {
                self.refuse(name, "dict_type", "Input should be an object of strings");
                None
            }
        }
    }

    /// A list of texts that may be missing or null.
    pub fn optional_texts(&mut self, name: &str) -> Option<Vec<String>> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Array(items)) => {
                let texts = items.into_iter().map(|item| match item {
                    Value::String(text) => Some(text),
                    _ => None,
                });
                let texts: Option<Vec<String>> = texts.collect();
                if texts.is_none() {
                    self.refuse(name, "string_type", "Each item should be a valid string");
                }
                texts
            }
            Some(_) => {
                self.refuse(name, "list_type", "Input should be a list of strings");
                None
            }
        }
    }

    /// A list of at most so many objects that must be there. What is wrong with one of them is its own matter.
    pub fn items(&mut self, name: &str, most: usize) -> Option<Vec<Result<Fields>>> {
        match self.values.remove(name) {
            Some(Value::Array(items)) if items.len() <= most => Some(items.into_iter().map(item).collect()),
            Some(Value::Array(_)) => {
                self.refuse(name, "too_long", format!("At most {most} items"));
                None
            }
            None | Some(Value::Null) => {
                self.refuse(name, "missing", "Field required");
                None
            }
            Some(_) => {
                self.refuse(name, "list_type", "Input should be a list of objects");
                None
            }
        }
    }

    /// An object that may be missing or null, whose fields are taken as those of a body.
    pub fn optional_fields(&mut self, name: &str) -> Option<Fields> {
        match self.values.remove(name) {
            None | Some(Value::Null) => None,
            Some(Value::Object(values)) => Some(Fields { values, errors: Vec::new() }),
            Some(_) => {
                self.refuse(name, "dict_type", "Input should be an object");
                None
            }
        }
    }

    /// Takes what was found wrong within a field.
    pub fn refuse_within(&mut self, name: &str, errors: Vec<FieldError>) {
        self.errors.extend(errors.into_iter().map(|mut error| {
            error.loc.insert(1, name.to_owned());
            error
        }));
    }

    /// All members that were not taken yet.
    pub fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.values)
    }

    /// What was sent, in one order: what is left out and what is null are the same.
    pub fn said(&self) -> Vec<u8> {
        let said: BTreeMap<&String, &Value> = self.values.iter().filter(|(_, value)| !value.is_null()).collect();
        serde_json::to_vec(&said).unwrap_or_default()
    }

    /// A text that must be there and keep a rule.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, &'static str>) -> Option<T> {
        let text = self.text(name)?;
        self.judge(name, parse(&text))
    }

    /// A text that may be missing and must keep a rule.
    pub fn optionally_parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        let text = self.optional_text(name)?;
        self.judge(name, parse(&text))
    }

    /// Takes a verdict about a field.
    pub fn judge<T>(&mut self, name: &str, verdict: Result<T, impl Into<String>>) -> Option<T> {
        verdict.map_err(|reason| self.refuse(name, "value_error", reason)).ok()
    }

    pub fn refuse(&mut self, name: &str, kind: &'static str, msg: impl Into<String>) {
        self.errors.push(FieldError::new("body", name, kind, msg));
    }

    /// Whether nothing was found wrong so far.
    pub fn are_fine(&self) -> bool {
        self.errors.is_empty()
    }

    /// The values, if all of them are there; every error otherwise.
    pub fn all<T>(self, values: Option<T>) -> Result<T> {
        match values {
            Some(values) if self.errors.is_empty() => Ok(values),
            _ if self.errors.is_empty() => Err(Error::Internal("a field is missing without an error".into())),
            _ => Err(Error::Invalid(self.errors)),
        }
    }
}

/// A JSON object; a body without a content type is taken for one.
pub struct JsonBody(pub Fields);

/// As [`JsonBody`], for many items at once: larger. A handler takes it behind the caller, so that it is read of those
/// only who may send it.
pub struct BatchBody(pub Fields);

impl<S: Send + Sync> FromRequest<S> for BatchBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        json(request, MOST_BATCH).await.map(Self)
    }
}

/// A form.
pub struct Form(pub Parameters);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = content_type(&request);
        let bytes = read(request, MOST_BODY).await?;
        match kind {
            Kind::Form => Ok(Self(Parameters::parse(&bytes))),
            // Nothing has no type.
            _ if bytes.is_empty() => Ok(Self(Parameters::parse(&[]))),
            Kind::Json | Kind::Other => Err(Refusal::UnsupportedMediaType.into()),
        }
    }
}

/// A JSON object or a form.
pub struct JsonOrForm(pub Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        json(request, MOST_BODY).await.map(Self)
    }
}

async fn json(request: Request, most: usize) -> Result<Fields, Problem> {
    let kind = content_type(&request);
    let noted = Noted::body(request.extensions());
    let bytes = read(request, most).await?;
    match kind {
        Kind::Json => {
            let fields = object(&bytes)?;
            if let Some(noted) = noted {
                noted.says(&fields.values);
            }
            Ok(fields)
        }
        Kind::Form | Kind::Other => Err(Refusal::UnsupportedMediaType.into()),
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonOrForm {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let kind = content_type(&request);
        let bytes = read(request, MOST_BODY).await?;
        match kind {
            Kind::Json => Ok(Self(object(&bytes)?)),
            Kind::Form => Ok(Self(Fields::of(&Parameters::parse(&bytes)))),
            Kind::Other => Err(Refusal::UnsupportedMediaType.into()),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Json,
    Form,
    Other,
}

fn content_type(request: &Request) -> Kind {
    // Compressed, it is neither until somebody unpacks it, and nobody does.
    let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !request.headers().get_all(CONTENT_ENCODING).iter().all(plain) {
        return Kind::Other;
    }
    let Some(value) = request.headers().get(CONTENT_TYPE) else { return Kind::Json };
    let Ok(text) = value.to_str() else { return Kind::Other };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Kind::Form,
        "application/json" => Kind::Json,
        other if other.starts_with("application/") && other.ends_with("+json") => Kind::Json,
        _ => Kind::Other,
    }
}

/// The body, within its limits of size and time.
async fn read(request: Request, most: usize) -> Result<BytesMut, Problem> {
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > most) {
        drain(body);
        return Err(Refusal::TooLarge.into());
    }
    let mut bytes = BytesMut::new();
    let all = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| broken_off())?;
            if let Ok(data) = frame.into_data() {
                if bytes.len() + data.len() > most {
                    return Err(Problem::from(Refusal::TooLarge));
                }
                bytes.extend_from_slice(&data);
            }
        }
        Ok(())
    };
    match deadline::receiving(tokio::time::timeout(PATIENCE, all)).await {
        Ok(Ok(())) => Ok(bytes),
        Ok(Err(problem)) => {
            drain(body);
            Err(problem)
        }
        Err(_) => Err(Refusal::RequestTimeout.into()),
    }
}

fn broken_off() -> Problem {
    let msg = "The body broke off or is not framed as HTTP wants it".into();
    Error::Invalid(vec![FieldError { loc: vec!["body".into()], kind: "body_invalid", msg }]).into()
}

/// Reads on beside the answer: a connection that is closed on a sender who is still talking loses the answer.
fn drain(mut body: HttpBody) {
    tokio::spawn(async move {
        let mut drained = 0;
        let rest = async {
            while let Some(Ok(frame)) = body.frame().await {
                drained += frame.data_ref().map_or(0, bytes::Bytes::len);
                if drained > MOST_DRAINED {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    });
}

/// The fields of one of many.
fn item(value: Value) -> Result<Fields> {
    let msg = "The item should be a JSON object".to_owned();
    match value {
        Value::Object(values) => Ok(Fields { values, errors: Vec::new() }),
        _ => Err(Error::Invalid(vec![FieldError { loc: vec!["body".into()], kind: "model_attributes_type", msg }])),
    }
}

fn object(bytes: &[u8]) -> Result<Fields, Problem> {
    // A byte order mark is not to be sent, and may be passed over (RFC 8259, 8.1).
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let refuse = |kind, msg: &str| Error::Invalid(vec![FieldError { loc: vec!["body".into()], kind, msg: msg.into() }]);
    if too_deep(bytes) {
        return Err(refuse("json_invalid", "The body is nested deeper than 32 levels").into());
    }
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(values)) => Ok(Fields { values, errors: Vec::new() }),
        Ok(_) => Err(refuse("model_attributes_type", "The body should be a JSON object").into()),
        Err(error) => {
            let at = format!("The body is not valid JSON (line {}, column {})", error.line(), error.column());
            Err(refuse("json_invalid", &at).into())
        }
    }
}

/// Counts brackets outside of strings; what is no JSON at all is found by the parser.
fn too_deep(bytes: &[u8]) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (quoted, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => quoted = !quoted,
            (false, _, b'{' | b'[') => depth += 1,
            (false, _, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_DEPTH {
            return true;
        }
    }
    false
}

/// The one variable part of a path, decoded.
pub struct PathText(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Error::Invalid(vec![FieldError {
                loc: vec!["path".into()],
                kind: "path_invalid",
                msg: "The path is not valid UTF-8".into(),
            }])
            .into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(!too_deep(nested(32).as_bytes()));
        assert!(too_deep(nested(33).as_bytes()));
        assert!(!too_deep(format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(100)).as_bytes()));
    }

    proptest! {
        #[test]
        fn no_body_makes_us_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(mut fields) = object(&bytes) {
                let _ = fields.text("a");
                let _ = fields.all(Some(()));
            }
        }
    }
}
