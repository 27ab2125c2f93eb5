//! What the pages let a browser do: show themselves with our style sheet, and send their forms to us.

use std::fmt;

use axum::http::HeaderValue;
use reqwest::Url;

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
     form-action 'self'";

/// Where a form may end up beside here. Browsers hold a form's redirects to `form-action` too, so a page whose form
/// leads back to a client has to name where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormSource(String);

impl FormSource {
    /// The origin of a redirect URI, or its scheme where it has none or a policy cannot spell it. Nothing when it is
    /// no place to send anybody.
    pub fn of(redirect_uri: &str) -> Option<Self> {
        let url = Url::parse(redirect_uri).ok()?;
        let scheme = url.scheme();
        match scheme {
            "http" | "https" => {
                let host = url.host_str().filter(|host| !host.is_empty())?;
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                let spelled = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
                if host.chars().all(spelled) {
                    Some(Self(format!("{scheme}://{host}{port}")))
                } else if host.chars().all(|c| spelled(c) || matches!(c, '[' | ']' | ':' | '_')) {
                    // The grammar of policies knows neither IPv6 nor the underscore.
                    Some(Self(format!("{scheme}:")))
                } else {
                    None
                }
            }
            // They run or show what they hold instead of leading anywhere.
            "javascript" | "data" | "blob" | "filesystem" | "file" | "about" | "vbscript" | "view-source" => None,
            _ => Some(Self(format!("{scheme}:"))),
        }
    }
}

impl fmt::Display for FormSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn policy(leads_to: Option<&FormSource>) -> HeaderValue {
    let strict = HeaderValue::from_static(POLICY);
    match leads_to {
        None => strict,
        // Of a source every character is one that headers take.
        Some(source) => HeaderValue::from_str(&format!("{POLICY} {source}")).unwrap_or(strict),
    }
}
