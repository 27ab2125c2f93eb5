//! Settings of links.

use serde::Deserialize;
use url::Host;

use super::Complaints;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Links {
    /// By which the landing page is told the code.
    pub parameter: String,
    /// 0: no cookie is set.
    pub cookie_days: u32,
    /// Empty: our own host.
    pub cookie_domain: String,
    pub credit: Credit,
}

/// Which of several links that somebody opened counts, as far as a cookie tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credit {
    Last,
    First,
}

impl Links {
    pub fn keeps_first(&self) -> bool {
        self.credit == Credit::First
    }

    pub(super) fn check(&self, public_url: &str, wrong: &mut Complaints) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if !(1..=32).contains(&self.parameter.len()) || !self.parameter.bytes().all(plain) {
            wrong.add("links.parameter", "is no name of a parameter: write 1 to 32 of the letters, digits, _ and -");
        } else if self.parameter == "to" || self.parameter.starts_with("utm_") {
            wrong.add("links.parameter", "means something else in links: choose another than to and utm_…");
        }
        wrong.range("links.cookie_days", self.cookie_days.into(), 0, 400);
        if self.cookie_days > 0 && public_url.starts_with("http://") {
            let text = "needs https, for browsers take the cookie over TLS only: set http.public_url to an address that \
                        begins with https://, or this to 0";
            wrong.add("links.cookie_days", text);
        }
        if self.cookie_domain.is_empty() {
            return;
        }
        let is_name = !self.cookie_domain.starts_with('.')
            && matches!(Host::parse(&self.cookie_domain), Ok(Host::Domain(name)) if name == self.cookie_domain);
        let host = public_url.split("://").nth(1).and_then(|rest| rest.split(':').next()).unwrap_or_default();
        let above = host.strip_suffix(self.cookie_domain.as_str());
        if !is_name || !self.cookie_domain.contains('.') {
            wrong.add(
                "links.cookie_domain",
                "is no domain: write one such as example.com, without a full stop before it",
            );
        } else if !above.is_some_and(|above| above.is_empty() || above.ends_with('.')) {
            let text = "is not the domain of http.public_url or one above it, and browsers take no other";
            wrong.add("links.cookie_domain", text);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load;

    #[test]
    fn what_no_browser_or_link_would_take_is_told() {
        let told = |settings: &[(&str, &str)]| {
            let settings: Vec<_> =
                settings.iter().map(|(name, value)| (format!("REFERRAL_{name}"), (*value).to_owned())).collect();
            load(None, &settings).err().map(|faults| format!("{faults:?}"))
        };
        let days = ("LINKS_COOKIE_DAYS", "30");
        let host = ("PUBLIC_URL", "https://go.shop.example");
        for good in [
            vec![("LINKS_PARAMETER", "invite_code-2")],
            vec![days, host],
            vec![days, host, ("LINKS_COOKIE_DOMAIN", "shop.example")],
            vec![days, host, ("LINKS_COOKIE_DOMAIN", "go.shop.example"), ("LINKS_CREDIT", "first")],
        ] {
            assert_eq!(told(&good), None, "{good:?}");
        }
        for (bad, part) in [
            (vec![("LINKS_PARAMETER", "a b")], "no name of a parameter"),
            (vec![("LINKS_PARAMETER", "to")], "means something else"),
            (vec![("LINKS_PARAMETER", "utm_source")], "means something else"),
            (vec![days, ("PUBLIC_URL", "http://go.shop.example")], "needs https"),
            (vec![host, ("LINKS_COOKIE_DOMAIN", "other.example")], "browsers take no other"),
            (vec![host, ("LINKS_COOKIE_DOMAIN", "op.example")], "browsers take no other"),
            (vec![host, ("LINKS_COOKIE_DOMAIN", ".shop.example")], "is no domain"),
            (vec![host, ("LINKS_COOKIE_DOMAIN", "example")], "is no domain"),
            (vec![host, ("LINKS_COOKIE_DOMAIN", "Shop.Example")], "is no domain"),
        ] {
            let told = told(&bad).unwrap_or_default();
            assert!(told.contains(part), "{bad:?}: {told}");
        }
    }
}
