//! What settings are called in the environment, what only looks so, and what was meant.

use std::net::IpAddr;

use toml::{Table, Value};

/// Names that settings go by beside REFERRAL_<SECTION>_<KEY>.
pub const SHORT: &[(&str, &str, &str)] = &[
    ("DATABASE_URL", "database", "url"),
    ("REDIS_URL", "redis", "url"),
    ("REFERRAL_LISTEN", "http", "listen"),
    ("REFERRAL_PUBLIC_URL", "http", "public_url"),
    ("REFERRAL_METRICS_LISTEN", "http", "metrics_listen"),
    ("REFERRAL_MASTER_KEY", "tokens", "master_key"),
    ("REFERRAL_FORMER_MASTER_KEY", "tokens", "former_master_key"),
    ("HUNTER_API_KEY", "email", "hunter_api_key"),
    ("HUNTER_URL", "email", "hunter_url"),
    ("SMTP_URL", "mail", "smtp_url"),
    ("REFERRAL_LIMITS", "limits", "enabled"),
    ("REFERRAL_LOG", "log", "level"),
];

/// The section that has a table for each identity provider, as many as the operator names.
pub const PROVIDERS: &str = "providers";
const OURS: &str = "REFERRAL";
/// What a provider can be given.
pub const OF_PROVIDER: [&str; 6] = ["label", "issuer", "client_id", "client_secret", "scopes", "trust_email"];

/// Whether a variable of the environment is, or by its name should be, one of ours.
pub fn is_setting(variable: &str) -> bool {
    let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
    plain.starts_with("REFERRAL_") || SHORT.iter().any(|(name, ..)| *name == plain)
}

/// The setting that a variable of the environment names, without `_FILE`: its section (for a provider with its name)
/// and its key.
pub fn setting(settings: &Table, variable: &str) -> Option<(String, String)> {
    if let Some((_, section, key)) = SHORT.iter().find(|(name, ..)| *name == variable) {
        return Some(((*section).to_owned(), (*key).to_owned()));
    }
    let rest = variable.strip_prefix("REFERRAL_")?;
    if rest.contains(|letter: char| letter.is_ascii_lowercase()) {
        return None;
    }
    let rest = rest.to_ascii_lowercase();
    if let Some(rest) = rest.strip_prefix(PROVIDERS) {
        // Names have no underscore, so the first one ends the name.
        let (name, key) = rest.strip_prefix('_')?.split_once('_')?;
        let known = is_provider(name) && OF_PROVIDER.contains(&key);
        return known.then(|| (format!("{PROVIDERS}.{name}"), key.to_owned()));
    }
    settings.iter().find_map(|(section, content)| {
        let key = rest.strip_prefix(section.as_str())?.strip_prefix('_')?;
        content.get(key)?;
        Some((section.clone(), key.to_owned()))
    })
}

/// Whether this can be a provider's name: part of a variable's name and of a path.
pub fn is_provider(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Whether a variable is what Kubernetes puts into a pod for a Service whose name begins with ours, or Docker for a
/// linked container: by the shape of its name and of its value.
pub fn is_link<'a>(name: &str, value: &str, of: impl Fn(&str) -> Option<&'a str>) -> bool {
    let Some(rest) = name.strip_prefix(OURS) else { return false };
    let address = || value.parse::<IpAddr>().is_ok();
    let port = || value.parse::<u16>().is_ok();
    // Docker: REFERRAL_NAME=/web/referral, and what the other container has in its environment beside it.
    let linked = |value: &str| value.starts_with('/') && value.matches('/').count() > 1;
    if rest.ends_with("_SERVICE_HOST") {
        return address();
    }
    if rest.ends_with("_SERVICE_PORT") || rest.contains("_SERVICE_PORT_") {
        return port();
    }
    for (at, mark) in rest.match_indices("_PORT_") {
        let mut parts = rest.get(at + mark.len()..).unwrap_or_default().splitn(3, '_');
        let (number, protocol, part) = (parts.next(), parts.next(), parts.next());
        let number = number.is_some_and(|number| number.parse::<u16>().is_ok());
        if number && protocol.is_some_and(|protocol| PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str())) {
            return match part {
                None | Some("START" | "END") => is_endpoint(value),
                Some("PROTO") => PROTOCOLS.contains(&value),
                Some("PORT" | "PORT_START" | "PORT_END") => port(),
                Some("ADDR") => address(),
                Some(_) => false,
            };
        }
    }
    if rest.ends_with("_PORT") {
        return is_endpoint(value);
    }
    if rest.ends_with("_NAME") && linked(value) {
        return true;
    }
    let alias = rest.split_once("_ENV_").map(|(alias, _)| format!("{OURS}{alias}_NAME"));
    alias.is_some_and(|alias| of(&alias).is_some_and(linked))
}

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// `tcp://10.0.0.7:8000`
fn is_endpoint(value: &str) -> bool {
    let Some((protocol, rest)) = value.split_once("://") else { return false };
    let Some((host, port)) = rest.rsplit_once(':') else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    PROTOCOLS.contains(&protocol) && host.parse::<IpAddr>().is_ok() && port.parse::<u16>().is_ok()
}

/// The variable that was meant by one that names no setting.
pub fn variable_meant(settings: &Table, variable: &str) -> Option<String> {
    let (plain, file) = match variable.strip_suffix("_FILE") {
        Some(plain) => (plain, "_FILE"),
        None => (variable, ""),
    };
    let rest = plain.strip_prefix("REFERRAL_")?.to_ascii_uppercase();
    let long = all(settings).into_iter().map(|(section, key)| {
        let long = format!("{section}_{key}").replace('.', "_").to_ascii_uppercase();
        (format!("REFERRAL_{long}"), vec![key.to_ascii_uppercase(), long])
    });
    let short = SHORT.iter().map(|(name, ..)| {
        let rest = name.strip_prefix("REFERRAL_").unwrap_or(name);
        ((*name).to_owned(), vec![rest.to_owned()])
    });
    // Of a provider, which may be named nowhere else.
    let of_provider = || {
        let (name, _) = rest.strip_prefix("PROVIDERS_")?.split_once('_')?;
        let keys = is_provider(&name.to_ascii_lowercase()).then_some(OF_PROVIDER)?;
        let names = keys.into_iter().map(|key| format!("PROVIDERS_{name}_{}", key.to_ascii_uppercase()));
        nearest(&rest, names.map(|form| (format!("REFERRAL_{form}"), vec![form])))
    };
    // Short names first: they are the ones that people know.
    of_provider().or_else(|| nearest(&rest, short.chain(long))).map(|name| name + file)
}

/// The variable that was meant by one whose first word is nearly ours, or in another case: nobody else has a name that
/// is a setting's but for that.
pub fn prefix_meant(settings: &Table, variable: &str) -> Option<String> {
    let upper = variable.to_ascii_uppercase();
    let (first, rest) = upper.split_once('_')?;
    let meant = format!("{OURS}_{rest}");
    let near = meant != variable && strsim::osa_distance(first, OURS) <= 2;
    let plain = meant.strip_suffix("_FILE").unwrap_or(&meant);
    (near && setting(settings, plain).is_some()).then_some(meant)
}

/// The setting of the file that was meant by a section and a key that are none.
pub fn setting_meant(settings: &Table, section: &str, key: &str) -> Option<String> {
    let names = all(settings).into_iter().map(|(known, name)| {
        let forms = if known == section { vec![name.clone()] } else { Vec::new() };
        let full = format!("{known}.{name}");
        (full.clone(), [forms, vec![full]].concat())
    });
    let same_key = || {
        let mut same = all(settings).into_iter().filter(|(_, name)| name == key);
        same.next().filter(|_| same.next().is_none()).map(|(section, key)| format!("{section}.{key}"))
    };
    let within = settings.get(section).is_some().then(|| nearest(key, names.clone())).flatten();
    within.or_else(same_key).or_else(|| nearest(&format!("{section}.{key}"), names))
}

/// The section that was meant by one that there is not.
pub fn section_meant(settings: &Table, section: &str) -> Option<String> {
    let names = settings.keys().cloned().chain([PROVIDERS.to_owned()]);
    nearest(section, names.map(|name| (name.clone(), vec![name])))
}

/// All settings there are, by section and key.
fn all(settings: &Table) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (section, content) in settings {
        for (key, value) in content.as_table().into_iter().flatten() {
            match value {
                Value::Table(_) => all.extend(OF_PROVIDER.map(|of| (format!("{section}.{key}"), of.to_owned()))),
                _ => all.push((section.clone(), key.clone())),
            }
        }
    }
    all
}

/// The first of the nearest, if it is near: each candidate is a name and the forms in which it may have been meant.
fn nearest(given: &str, candidates: impl Iterator<Item = (String, Vec<String>)>) -> Option<String> {
    let most = (given.len() / 4).max(2);
    let near = candidates.filter_map(|(name, forms)| {
        let distance = forms.iter().map(|form| strsim::osa_distance(given, form)).min()?;
        (distance <= most && distance < given.len()).then_some((distance, name))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DEFAULTS, load};

    fn complaint(pairs: &[(&str, &str)]) -> Option<String> {
        load(None, &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).err()
    }

    /// What Kubernetes gives a pod beside Services, and Docker a linked container.
    #[test]
    fn links_are_passed_over() {
        let kubernetes = [
            ("REFERRAL_SERVICE_HOST", "10.96.14.2"),
            ("REFERRAL_SERVICE_PORT", "8000"),
            ("REFERRAL_SERVICE_PORT_HTTP", "8000"),
            ("REFERRAL_SERVICE_PORT_HTTP_METRICS", "9000"),
            ("REFERRAL_PORT", "tcp://10.96.14.2:8000"),
            ("REFERRAL_PORT_8000_TCP", "tcp://10.96.14.2:8000"),
            ("REFERRAL_PORT_8000_TCP_PROTO", "tcp"),
            ("REFERRAL_PORT_8000_TCP_PORT", "8000"),
            ("REFERRAL_PORT_8000_TCP_ADDR", "10.96.14.2"),
            ("REFERRAL_PORT_53_UDP", "udp://[fd00::7]:53"),
            ("REFERRAL_PORT_53_UDP_ADDR", "fd00::7"),
            // Services called referral-postgres and referral-log.
            ("REFERRAL_POSTGRES_SERVICE_HOST", "10.96.14.3"),
            ("REFERRAL_POSTGRES_PORT_5432_TCP_ADDR", "10.96.14.3"),
            ("REFERRAL_LOG_PORT", "tcp://10.96.14.4:24224"),
        ];
        let docker = [
            ("REFERRAL_NAME", "/web/referral"),
            ("REFERRAL_PORT", "tcp://172.17.0.3:8000"),
            ("REFERRAL_PORT_8000_TCP_START", "tcp://172.17.0.3:8000"),
            ("REFERRAL_PORT_8000_TCP_PORT_END", "8010"),
            ("REFERRAL_ENV_REFERRAL_LISTEN", "0.0.0.0:8000"),
            ("REFERRAL_ENV_GREETING", "anything at all"),
        ];
        assert_eq!(complaint(&kubernetes), None);
        assert_eq!(complaint(&docker), None);
    }

    /// The shape of the value counts as well as that of the name.
    #[test]
    fn what_only_resembles_a_link_is_refused() {
        for (name, value) in [
            ("REFERRAL_PORT", "8000"),
            ("REFERRAL_PORT", "http://10.96.14.2:8000"),
            ("REFERRAL_SERVICE_HOST", "referral"),
            ("REFERRAL_SERVICE_PORT", "http"),
            ("REFERRAL_PORT_8000_TCP_PROTO", "8000"),
            ("REFERRAL_PORT_8000_SSH", "tcp://10.96.14.2:8000"),
            ("REFERRAL_PORT_8000_TCP_SPEED", "8000"),
            ("REFERRAL_NAME", "referral"),
            ("REFERRAL_ENV_LISTEN", "0.0.0.0:8000"),
            ("REFERRAL_HTTP_PORT", "8000"),
        ] {
            let told = complaint(&[(name, value)]).unwrap_or_default();
            assert!(told.contains(name) && told.contains("no setting"), "{name}={value}: {told}");
        }
    }

    #[test]
    fn what_was_meant_is_told() {
        for (name, meant) in [
            ("REFERRAL_LISTN", "REFERRAL_LISTEN"),
            ("REFERRAL_PUBLICURL", "REFERRAL_PUBLIC_URL"),
            ("REFERRAL_HTTP_LISTNE", "REFERRAL_HTTP_LISTEN"),
            ("REFERRAL_MASTERKEY_FILE", "REFERRAL_MASTER_KEY_FILE"),
            ("REFERRAL_ACCESS_MINUTES", "REFERRAL_TOKENS_ACCESS_MINUTES"),
            ("REFERRAL_HUNTER_API_KEY", "HUNTER_API_KEY"),
            ("REFERRAL_DATABASE_URI", "DATABASE_URL"),
            ("REFERRAL_LIMIT", "REFERRAL_LIMITS"),
            ("REFERRAL_PROVIDERS_CORP_CLIENTID", "REFERRAL_PROVIDERS_CORP_CLIENT_ID"),
            ("REFERRAL_PROVIDERS_ACME_ISUER", "REFERRAL_PROVIDERS_ACME_ISSUER"),
            ("REFERRAL_PROVIDERS_ACME_CLIENTSECRET_FILE", "REFERRAL_PROVIDERS_ACME_CLIENT_SECRET_FILE"),
            ("REFERRAL_LISTEn", "REFERRAL_LISTEN"),
            // Nearly our own prefix, and the rest is a setting's.
            ("REFERAL_LISTEN", "REFERRAL_LISTEN"),
            ("REFFERAL_HTTP_LISTEN", "REFERRAL_HTTP_LISTEN"),
            ("referral_listen", "REFERRAL_LISTEN"),
            ("REFERRALS_MASTER_KEY_FILE", "REFERRAL_MASTER_KEY_FILE"),
        ] {
            let corp = [
                ("REFERRAL_PROVIDERS_CORP_ISSUER", "https://id.example.com"),
                ("REFERRAL_PROVIDERS_CORP_CLIENT_ID", "referral"),
                ("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET", ""),
            ];
            let told = complaint(&[&corp[..], &[(name, "x")]].concat()).unwrap_or_default();
            assert!(told.ends_with(&format!("did you mean {meant}?")), "{name}: {told}");
        }
        for name in ["REFERRAL_QUITE_ELSE", "REFERRAL_X"] {
            let told = complaint(&[(name, "x")]).unwrap_or_default();
            assert!(told.contains("`referral config`"), "{name}: {told}");
        }
        // Nobody's of ours.
        for name in ["REFERER", "REFERER_POLICY", "DATABASE_URI", "LISTEN", "TRANSFERRAL_LISTEN"] {
            assert_eq!(complaint(&[(name, "x")]), None, "{name}");
        }
    }

    #[test]
    fn settings_of_the_file_that_were_meant_are_told() {
        let settings: Table = DEFAULTS.parse().unwrap();
        let meant = |section, key| setting_meant(&settings, section, key);
        assert_eq!(meant("http", "lisen").as_deref(), Some("http.listen"));
        assert_eq!(meant("database", "master_key").as_deref(), Some("tokens.master_key"));
        assert_eq!(meant("", "listen").as_deref(), Some("http.listen"));
        assert_eq!(meant("log", "colour"), None);
        assert_eq!(section_meant(&settings, "provider").as_deref(), Some("providers"));
    }
}
