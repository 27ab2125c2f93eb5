//! What is no request that this service could answer, whatever it asks for.

use std::time::Duration;

use axum::extract::Request;
use axum::http::Version;
use axum::http::header::{CONNECTION, HOST, HeaderValue, TRANSFER_ENCODING};
use axum::http::uri::Authority;

use super::guard::protect;
use crate::app::App;
use crate::kernel::error::Refusal;
use crate::kernel::ids::RequestId;
use crate::web::problem::Problem;

/// Bytes of a path with its query.
const MOST_URI: usize = 8 * 1024;

/// Why a request is not passed on, whatever it asks for.
pub fn unfit(request: &Request) -> Option<Refusal> {
    if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > MOST_URI) {
        return Some(Refusal::UriTooLong);
    }
    // RFC 9112, 3.2: a proxy before us that reads another host than we do would serve one caller's answer to others.
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host),
        (None, _) => request.version() < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    };
    // RFC 9112, 6.1: of what else may be in a body, we undo nothing.
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let coding = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    (!host || !coding).then_some(Refusal::Malformed)
}

/// A name or address, with or without a port; nothing is allowed. Names are held to less than RFC 9110 lets them have: a
/// comma is what a proxy puts between two hosts that it was sent.
fn is_host(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    if bytes.is_empty() {
        return true;
    }
    if bytes.contains(&b'@') || bytes.contains(&b',') {
        return false;
    }
    let Ok(authority) = Authority::try_from(bytes) else { return false };
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    let is_port = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    !authority.host().is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// The head that the HTTP library sends to what it cannot read, made an answer of ours: the same status with our headers
/// and a problem for a body.
pub fn refuse(app: &App, head: &[u8]) -> Vec<u8> {
    let refusal = match head.get(9..12) {
        Some(b"400") => Refusal::Malformed,
        Some(b"414") => Refusal::UriTooLong,
        Some(b"431") => Refusal::HeadersTooLarge,
        _ => return head.to_vec(),
    };
    let id = RequestId::new();
    let mut response = Problem::from(refusal).written(id);
    let status = response.status().as_u16();
    app.metrics.request("(none)", "OTHER", status, Duration::ZERO);
    tracing::debug!(request = %id, status, code = refusal.word(), "refused");
    let headers = response.headers_mut();
    protect(app, headers);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let mut answer = Vec::new();
    // Of its own head, the status and the date.
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if [&b"HTTP/"[..], b"date:"].iter().any(|kept| line.starts_with(kept)) {
            answer.extend_from_slice(line);
        }
    }
    for (name, value) in &*headers {
        answer.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let body = response.body();
    answer.extend_from_slice(format!("x-request-id: {id}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(body);
    answer
}
