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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(redirect_uri: &str) -> Option<String> {
        FormSource::of(redirect_uri).map(|source| source.to_string())
    }

    #[test]
    fn a_redirect_uri_gives_its_origin_or_its_scheme() {
        for (uri, expected) in [
            ("https://shop.example/callback?a=b#c", "https://shop.example"),
            ("https://Shop.Example:8443/", "https://shop.example:8443"),
            ("https://shop.example:443/", "https://shop.example"),
            ("https://user:word@shop.example/", "https://shop.example"),
            ("https://магазин.рф/", "https://xn--80aairftm.xn--p1ai"),
            ("http://127.0.0.1:5000/cb", "http://127.0.0.1:5000"),
            ("http://localhost:5000/cb", "http://localhost:5000"),
            ("http://[::1]:5000/cb", "http:"),
            ("https://my_shop.example/", "https:"),
            ("com.example.app:/callback", "com.example.app:"),
            ("COM.Example.App://callback", "com.example.app:"),
        ] {
            assert_eq!(source(uri).as_deref(), Some(expected), "{uri}");
        }
    }

    #[test]
    fn what_is_no_place_or_would_write_policies_is_refused() {
        for uri in [
            "",
            "*",
            "'self'",
            "shop.example",
            "/callback",
            "https://",
            "https://a b/",
            "https://a;script-src%20*/",
            "https://a;script-src/",
            "https://*.example/",
            "https://a,b/",
            "https://a'b/",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "blob:https://a.example/x",
            "file:///etc/passwd",
            "about:blank",
            "x y:z",
        ] {
            assert_eq!(source(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_source_is_added_to_where_forms_may_go() {
        let strict = policy(None);
        let client = policy(FormSource::of("https://shop.example/cb").as_ref());
        assert!(strict.to_str().unwrap().ends_with("; form-action 'self'"));
        assert_eq!(client.to_str().unwrap(), format!("{POLICY} https://shop.example"));
    }

    proptest! {
        #[test]
        fn no_redirect_uri_adds_anything_but_one_source(
            scheme in "(https?|[a-z][a-z0-9+.-]{0,9}|\\PC{0,3})", rest in "(//)?\\PC{0,20}", any in "\\PC*",
        ) {
            for uri in [format!("{scheme}:{rest}"), format!("https://{any}"), any] {
                if let Some(source) = source(&uri) {
                    let clean = |c: char| c.is_ascii_alphanumeric() || ":/.-+".contains(c);
                    prop_assert!(source.chars().all(clean), "{} of {}", source, uri);
                    prop_assert!(source.contains(':'));
                }
            }
        }
    }
}
