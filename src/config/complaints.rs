//! What is found wrong with settings, and the rules that several of them share.

use std::net::SocketAddr;

use url::Url;

use super::{Fault, password};

/// What was found wrong so far.
pub(super) struct Complaints(pub Vec<Fault>);

impl Complaints {
    pub fn add(&mut self, setting: &str, text: impl Into<String>) {
        self.0.push(Fault::of(setting, text.into()));
    }

    pub fn range(&mut self, setting: &str, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.add(setting, format!("is {value}: set it to {low}..{high}"));
        }
    }

    /// A host and a port; the host may be a name.
    pub fn address(&mut self, setting: &str, text: &str) {
        let good = text.parse::<SocketAddr>().is_ok()
            || text
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && !host.contains(':') && port.parse::<u16>().is_ok());
        if !good {
            self.add(setting, format!("is \"{text}\": write host:port, for example 127.0.0.1:8000"));
        }
    }

    /// Scheme, host and port, exactly as programs write them: callers compare it with what they have.
    pub fn web(&mut self, setting: &str, text: &str) {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(url) = url.filter(|_| !text.contains('@')) else {
            // Not the value: it may have a password in it.
            let shown = if text.contains('@') { "has a user in it".to_owned() } else { format!("is \"{text}\"") };
            return self.add(setting, format!("{shown}: {WEB}"));
        };
        let origin = url.origin().ascii_serialization();
        if origin == text {
            return;
        }
        let bare = url.path() == "/" && !text.ends_with('/') && url.query().is_none() && url.fragment().is_none();
        let remedy = if bare { format!("write {origin}, which is the same for browsers") } else { WEB.to_owned() };
        self.add(setting, format!("is \"{text}\": {remedy}"));
    }

    /// An origin is compared as text with what browsers send, so it has to be written as they do.
    pub fn origin(&mut self, setting: &str, text: &str) {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && !text.contains('*'));
        let url = url.filter(|_| !(text.contains('@') && password::is_ambiguous(text)));
        // Not what may hold a password.
        let shown = if text.contains('@') { "an address with a user in it".to_owned() } else { format!("\"{text}\"") };
        match url.map(|url| url.origin().ascii_serialization()) {
            Some(origin) if origin == text => {}
            Some(origin) => {
                let text = format!("holds {shown}, which no browser calls an origin: did you mean {origin}?");
                self.add(setting, text);
            }
            None => {
                let text = format!(
                    "holds {shown}: write each origin in full, with http or https, host and port only, for example \
                     https://app.example.com; nothing stands for several"
                );
                self.add(setting, text);
            }
        }
    }
}

const WEB: &str = "write scheme, host and port only, the port to 65535, without a path or a slash at the end, for example \
                   https://referral.example.com";

#[cfg(test)]
mod tests {
    use super::Complaints;
    use crate::config::load::{load, with};

    #[test]
    fn addresses_of_the_web_are_written_as_programs_write_them() {
        let told = |text: &str| {
            let mut wrong = Complaints(Vec::new());
            wrong.web("http.public_url", text);
            wrong.0.pop().map(|fault| fault.text)
        };
        for good in ["https://example.com", "http://127.0.0.1:8000", "http://[::1]:8000", "https://a_b.example:8443"] {
            assert_eq!(told(good), None);
        }
        for (bad, part) in [
            ("https://example.com:99999", "the port to 65535"),
            ("https://пример.example", "write https://xn--e1afmkfd.example"),
            ("https://Example.com", "write https://example.com"),
            ("https://example.com:443", "write https://example.com"),
            ("https://exa mple.com", "scheme, host"),
            ("https://", "scheme, host"),
            ("https://example.com/", "without a path"),
            ("https://example.com/a", "without a path"),
            ("https://example.com?a", "without a path"),
            ("ftp://example.com", "https://"),
            ("https://u:s3cr3t@example.com", "has a user in it"),
            ("https://u:s3c/r3t@example.com", "has a user in it"),
        ] {
            let told = told(bad).expect(bad);
            assert!(told.contains(part) && !told.contains("r3t"), "{bad}: {told}");
        }
        assert!(load(None, &vec![("HUNTER_URL".into(), "http://[::1".into())]).is_err());
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let name = "REFERRAL_HTTP_CORS_ORIGINS";
        assert_eq!(with(&[]).unwrap().http.cors_origins, [""; 0]);
        let two = with(&[(name, "https://app.example.com, http://127.0.0.1:5173")]).unwrap();
        assert_eq!(two.http.cors_origins, ["https://app.example.com", "http://127.0.0.1:5173"]);
        for good in ["http://localhost", "https://[::1]:8443", "https://xn--bcher-kva.example"] {
            assert!(with(&[(name, good)]).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("*", "nothing stands for several"),
            ("null", "nothing stands for several"),
            ("https://*.example.com", "nothing stands for several"),
            ("app.example.com", "http or https"),
            ("ftp://app.example.com", "http or https"),
            ("https://", "http or https"),
            ("https://app.example.com/", "did you mean https://app.example.com?"),
            ("https://app.example.com/login?a#b", "did you mean https://app.example.com?"),
            ("https://App.Example.com", "did you mean https://app.example.com?"),
            ("https://app.example.com:443", "did you mean https://app.example.com?"),
            ("http://user@app.example.com:81", "did you mean http://app.example.com:81?"),
            ("https://bücher.example", "did you mean https://xn--bcher-kva.example?"),
        ] {
            let error = with(&[(name, &format!("http://localhost,{bad}"))]).unwrap_err();
            assert!(error.starts_with("http.cors_origins (REFERRAL_HTTP_CORS_ORIGINS"), "{error}");
            assert!(error.contains(part), "{bad}: {error}");
        }
    }
}
