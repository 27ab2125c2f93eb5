//! Where a page sends the browser by itself.

use reqwest::Url;

use super::HOME;

/// An address that a page may send the browser to: a path of ours, a web address, or one of an app's own scheme.
pub struct Destination<'a> {
    address: &'a str,
    host: Option<String>,
}

impl<'a> Destination<'a> {
    /// Nothing when the location is no such address, or has what a header or a link does not take as it is.
    pub fn of(location: &'a str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"<>".contains(&byte);
        if !location.bytes().all(plain) {
            return None;
        }
        // Two slashes would be another host.
        if location.starts_with("/oauth/") || location == HOME || location.starts_with("/share/") {
            return Some(Self { address: location, host: None });
        }
        let url = Url::parse(location).ok()?;
        let host = url.host_str().filter(|host| !host.is_empty());
        match url.scheme() {
            "http" | "https" => host?,
            // Schemes without a full stop are not an app's own; some of them run what they hold.
            scheme if scheme.contains('.') => host.unwrap_or(scheme),
            _ => return None,
        };
        let host = host.unwrap_or(url.scheme()).to_owned();
        Some(Self { address: location, host: Some(host) })
    }

    pub fn address(&self) -> &'a str {
        self.address
    }

    /// Whose it is, for people to read: the host, or the scheme where there is no host; nothing where it is ours.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_destination_says_whose_it_is() {
        for (location, expected) in [
            ("/oauth/authorize?client_id=1&scope=openid", None),
            ("/share", None),
            ("/share/account", None),
            ("https://shop.example/callback?a=b&code=c", Some("shop.example")),
            ("https://shop.example:8443/it's", Some("shop.example")),
            ("http://127.0.0.1:5000/cb", Some("127.0.0.1")),
            ("http://[::1]:5000/cb", Some("[::1]")),
            ("com.example.app:/callback?code=c", Some("com.example.app")),
            ("com.example.app://callback", Some("callback")),
        ] {
            let found = Destination::of(location).expect(location);
            assert_eq!((found.address(), found.host()), (location, expected));
        }
    }

    #[test]
    fn what_is_no_place_or_would_write_headers_is_refused() {
        for location in [
            "",
            "/docs",
            "//evil.example/oauth/",
            "//share",
            "/shares",
            "/\\evil.example",
            "shop.example",
            "https://",
            "https://a b/",
            "https://a.example/\r\nSet-Cookie: a=b",
            "https://a.example/\"><script>",
            "https://a.example/\u{e9}",
            "/oauth/authorize?a b",
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "blob:https://a.example/x",
            "file:///etc/passwd",
            "about:blank",
            "view-source:https://a.example",
        ] {
            assert!(Destination::of(location).is_none(), "{location}");
        }
    }

    proptest! {
        #[test]
        fn every_destination_is_a_header(
            scheme in "(https?|[a-z][a-z0-9+.-]{0,9}|\\PC{0,3})", rest in "(//)?\\PC{0,20}", any in "(?s).*",
        ) {
            for location in [format!("{scheme}:{rest}"), format!("https://{any}"), format!("/oauth/{any}"), any] {
                if let Some(found) = Destination::of(&location) {
                    prop_assert!(found.address().bytes().all(|byte| byte.is_ascii_graphic()), "{}", location);
                }
            }
        }
    }
}
