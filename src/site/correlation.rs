//! What a request is called: by us, by the proxy it came through, and by whoever traces it across services.

use axum::http::HeaderMap;
use axum::http::header::HeaderValue;
use uuid::Uuid;

use crate::kernel::ids::RequestId;
use crate::web::client_address::Peer;

/// Bytes of a proxy's name for a request.
const MOST: usize = 128;

pub struct Correlation {
    pub id: RequestId,
    /// The proxy's name for it, when it is another text than the id.
    pub proxy: Option<String>,
    pub trace: Option<Trace>,
}

/// A trace and the step of it that called us, as W3C Trace Context writes them.
pub struct Trace {
    pub trace: String,
    pub parent: String,
}

impl Correlation {
    /// Takes what came with the request. A proxy that we trust names it; a UUID of the proxy's becomes our own id. A trace
    /// is believed from everybody: it is hexadecimal digits and decides nothing.
    pub fn of(peer: Option<&Peer>, headers: &HeaderMap) -> Self {
        let trusted = peer.is_some_and(|peer| peer.trusted);
        let named = if trusted { one(headers, "x-request-id").filter(|name| is_name(name)) } else { None };
        let id = named.and_then(RequestId::parse).unwrap_or_else(RequestId::new);
        let proxy = named.filter(|name| *name != id.to_string()).map(str::to_owned);
        Self { id, proxy, trace: one(headers, "traceparent").and_then(Trace::parse) }
    }

    /// The value of the header that tells the caller.
    pub fn header(&self) -> Option<HeaderValue> {
        match &self.proxy {
            Some(name) => HeaderValue::from_str(name).ok(),
            None => HeaderValue::from_str(self.id.0.hyphenated().encode_lower(&mut Uuid::encode_buffer())).ok(),
        }
    }

    pub fn trace_id(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.trace.as_str())
    }

    pub fn parent_id(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.parent.as_str())
    }
}

impl Trace {
    /// Reads `traceparent`: version, trace, parent and flags. Versions to come may append to it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let more = parts.next().is_some();
        let good = hex(version, 2)
            && version != "ff"
            && !(more && version == "00")
            && hex(flags, 2)
            && [(trace, 32), (parent, 16)].iter().all(|(id, length)| hex(id, *length) && id.contains(|c| c != '0'));
        good.then(|| Self { trace: trace.to_owned(), parent: parent.to_owned() })
    }
}

/// A header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()
}

fn hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What proxies make up: nothing that a log or another program could take for something else, or a person's address.
fn is_name(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=~".contains(&byte);
    (1..=MOST).contains(&text.len()) && text.bytes().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_as_its_standard_has_it() {
        let (trace, parent) = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7");
        for good in
            [format!("00-{trace}-{parent}-01"), format!("01-{trace}-{parent}-00"), format!("cc-{trace}-{parent}-01-x")]
        {
            let read = Trace::parse(&good).expect("a trace");
            assert_eq!((read.trace.as_str(), read.parent.as_str()), (trace, parent), "{good}");
        }
        let zeros = "0".repeat(32);
        for bad in [
            String::new(),
            trace.to_owned(),
            format!("00-{trace}-{parent}"),
            format!("00-{trace}-{parent}-01-x"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{zeros}-{parent}-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{trace}0-{parent}-01"),
            format!("0-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-zz"),
        ] {
            assert!(Trace::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_proxys_name_is_short_and_plain() {
        for good in ["a", "7f3c0a1e9b", "0A000001:C5A2_0A000002:1F90_65", "Root=1-67891233-abcdef012345678912345678"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "two words", "a\"b", "olga@example.com", "a;b", "ä", &"a".repeat(129)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
