//! An identity provider, as the operator names it.

use serde::Deserialize;
use url::Url;

use super::complaints::Complaints;
use crate::kernel::program::is_loopback;

/// An OpenID Connect provider that people may sign in with.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    pub label: String,
    pub issuer: String,
    pub client_id: String,
    /// Empty for a public client.
    pub client_secret: String,
    /// With a space between.
    pub scopes: String,
    /// Whether an address that the issuer calls verified proves that it is the person's.
    pub trust_email: bool,
}

impl Provider {
    pub(super) fn check(&self, name: &str, wrong: &mut Complaints) {
        let setting = |key: &str| format!("providers.{name}.{key}");
        if self.issuer.is_empty() {
            let text = "is empty: write the provider's issuer, for example https://accounts.google.com";
            wrong.add(&setting("issuer"), text);
        } else if !is_issuer(&self.issuer) {
            // Not the value: it may have a password in it.
            let text = "is no issuer: write https://HOST[/PATH] without user, query or fragment, exactly as the \
                        provider's metadata has it; http:// is taken for this machine's own addresses only";
            wrong.add(&setting("issuer"), text);
        }
        if self.client_id.is_empty() {
            wrong.add(&setting("client_id"), "is empty: write what the provider calls this service");
        }
        if self.label.is_empty() {
            let text = "is empty: write what is to stand on the button, or leave the setting out";
            wrong.add(&setting("label"), text);
        }
        if !self.scopes.split(' ').any(|scope| scope == "openid") {
            let text = format!("is \"{}\": write openid and what else is wanted, with a space between", self.scopes);
            wrong.add(&setting("scopes"), text);
        }
    }
}

fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let bare = url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    bare && nobody && (url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url))
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{MINIMAL, with};
    use crate::config::{Config, load};

    #[test]
    fn there_is_no_provider_by_default() {
        assert!(with(&[]).unwrap().providers.is_empty());
    }

    #[test]
    fn the_environment_alone_can_define_providers() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "s3cr3t\n").unwrap();
        let more = [
            ("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET_FILE", secret.to_str().unwrap()),
            ("REFERRAL_PROVIDERS_GOOGLE2_ISSUER", "https://accounts.google.com"),
            ("REFERRAL_PROVIDERS_GOOGLE2_CLIENT_ID", "g"),
            ("REFERRAL_PROVIDERS_GOOGLE2_LABEL", "Google"),
            ("REFERRAL_PROVIDERS_GOOGLE2_SCOPES", "openid email"),
            ("REFERRAL_PROVIDERS_GOOGLE2_TRUST_EMAIL", "on"),
        ];
        let config = with(&[&MINIMAL[..], &more].concat()).unwrap();
        let corp = config.providers.get("corp").unwrap();
        assert_eq!((corp.label.as_str(), corp.issuer.as_str()), ("corp", "https://id.example.com"));
        assert_eq!((corp.client_id.as_str(), corp.client_secret.as_str()), ("referral", "s3cr3t"));
        assert_eq!(corp.scopes, "openid email profile");
        assert!(!corp.trust_email);
        let google = config.providers.get("google2").unwrap();
        assert_eq!((google.label.as_str(), google.client_secret.as_str()), ("Google", ""));
        assert_eq!(google.scopes, "openid email");
        assert!(google.trust_email);
        assert!(!format!("{config:?}").contains("s3cr3t"), "{config:?}");
    }

    #[test]
    fn a_provider_of_the_file_is_completed_by_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("referral.toml");
        let read = |text: &str, pairs: &[(&str, &str)]| {
            std::fs::write(&path, text).unwrap();
            load(Some(&path), &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        let text = "[providers.corp]\nlabel = \"Corp\"\nissuer = \"https://a.example.com\"\nclient_id = \"c\"\n";
        let corp = |config: Config| config.providers.get("corp").unwrap().clone();
        let plain = corp(read(text, &[]).unwrap());
        assert_eq!((plain.label.as_str(), plain.issuer.as_str()), ("Corp", "https://a.example.com"));
        let secret = [("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET", "s3cr3t"), MINIMAL[0]];
        let both = corp(read(text, &secret).unwrap());
        assert_eq!((both.label.as_str(), both.client_secret.as_str()), ("Corp", "s3cr3t"));
        assert_eq!(both.issuer, "https://id.example.com");
        for (text, part) in [
            ("[providers.corp]\nisuer = \"x\"\n", "providers.corp.isuer"),
            ("[providers.Corp]\nissuer = \"https://a\"\n", "write [providers.corp]"),
            ("[providers.my-corp]\nissuer = \"https://a\"\n", "lower-case"),
            ("[providers]\ncorp = 5\n", "[providers.NAME]"),
            ("providers = 5\n", "[providers.NAME]"),
            ("[providers.corp]\nclient_id = 5\n", "a string, in quotation marks"),
            ("[providers.corp]\n", "providers.corp.issuer"),
        ] {
            let error = read(text, &[]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn bad_providers_are_a_sentence_with_a_remedy() {
        let issuer = "REFERRAL_PROVIDERS_CORP_ISSUER";
        for (name, value, part) in [
            (issuer, "", "providers.corp.issuer"),
            (issuer, "id.example.com", "https://"),
            (issuer, "http://id.example.com", "https://"),
            (issuer, "http://127.0.0.1.example.com", "https://"),
            (issuer, "https://id.example.com?tenant=1", "https://"),
            (issuer, "https://id.example.com#a", "https://"),
            (issuer, "https://user:s3cr3t@id.example.com", "https://"),
            (issuer, "file:///etc/passwd", "https://"),
            ("REFERRAL_PROVIDERS_CORP_CLIENT_ID", "", "providers.corp.client_id"),
            ("REFERRAL_PROVIDERS_CORP_SCOPES", "email profile", "openid"),
            ("REFERRAL_PROVIDERS_CORP_TRUST_EMAIL", "perhaps", "on nor off"),
            ("REFERRAL_PROVIDERS_CORP_CLIENTID", "x", "no setting"),
            ("REFERRAL_PROVIDERS_CORP", "x", "no setting"),
            ("REFERRAL_PROVIDERS_MY-CORP_ISSUER", "x", "no setting"),
            ("REFERRAL_PROVIDERS_OTHER_CLIENT_ID", "x", "providers.other.issuer"),
            ("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET_FILE", "./nowhere", "./nowhere"),
        ] {
            let pairs: Vec<_> =
                MINIMAL.into_iter().filter(|(known, _)| *known != name).chain([(name, value)]).collect();
            let error = with(&pairs).unwrap_err();
            assert!(error.contains(part), "{name}={value}: {error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
        for good in ["http://127.0.0.1:9000", "http://[::1]:9000/realm", "http://localhost", "https://id.example.com/"]
        {
            assert!(with(&[(issuer, good), MINIMAL[1]]).is_ok(), "{good}");
        }
        let twice = [
            &MINIMAL[..],
            &[
                ("REFERRAL_PROVIDERS_OTHER_ISSUER", "https://id.example.com"),
                ("REFERRAL_PROVIDERS_OTHER_CLIENT_ID", "x"),
            ],
        ];
        let error = with(&twice.concat()).unwrap_err();
        assert!(error.contains("corp") && error.contains("other"), "{error}");
    }
}
