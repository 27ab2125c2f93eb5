//! What is in force, and where it came from, as a file of settings. Secrets are hidden.

use toml::{Table, Value};

use super::load::{DEFAULTS, Reading};
use super::names::{OF_PROVIDER, PROVIDERS};

/// All settings in the order of the defaults, the origin of each behind it.
pub fn effective(reading: &Reading) -> String {
    let mut text = String::new();
    let mut section = "";
    for line in DEFAULTS.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
            text += &format!("{}[{section}]\n", if text.is_empty() { "" } else { "\n" });
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            text += &shown(reading, section, key, reading.settings.get(section).and_then(Value::as_table));
        }
    }
    let providers = reading.settings.get(PROVIDERS).and_then(Value::as_table);
    for (name, provider) in providers.into_iter().flatten() {
        text += &format!("\n[{PROVIDERS}.{name}]\n");
        for key in OF_PROVIDER {
            text += &shown(reading, &format!("{PROVIDERS}.{name}"), key, provider.as_table());
        }
    }
    text
}

fn shown(reading: &Reading, section: &str, key: &str, content: Option<&Table>) -> String {
    let Some(value) = content.and_then(|content| content.get(key)) else { return String::new() };
    let origin = reading.origin(&format!("{section}.{key}"));
    let value = match value {
        Value::String(secret) if is_secret(key) && !secret.is_empty() => Value::String("(hidden)".to_owned()),
        Value::String(url) if matches!(section, "database" | "redis") && key == "url" => {
            Value::String(without_password(url))
        }
        other => other.clone(),
    };
    format!("{key} = {value} # {origin}\n")
}

/// By the ends of their names, so that one that is added is hidden as well.
fn is_secret(key: &str) -> bool {
    ["_key", "_secret", "_password", "_token"].iter().any(|end| key.ends_with(end))
}

/// The address of a server without the password that it may hold: rather too little is shown than too much.
pub fn without_password(url: &str) -> String {
    const HIDDEN: &str = "***";
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://") else { return "(hidden)".to_owned() };
    // The last one: a password may have one that should have been percent-encoded.
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => rest.to_owned(),
    };
    let Some((base, query)) = shown.split_once('?') else { return format!("{scheme}://{shown}") };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    });
    format!("{scheme}://{base}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, Sources, read};

    fn printed(pairs: &[(&str, &str)]) -> String {
        let environment: Environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let reading = read(&Sources::of(None, &environment));
        assert!(reading.faults.is_empty(), "{:?}", reading.faults);
        effective(&reading)
    }

    #[test]
    fn it_has_every_setting_with_its_origin_and_loads_again() {
        let text =
            printed(&[("REFERRAL_LISTEN", "127.0.0.1:0"), ("REFERRAL_LIMITS_TRUSTED_PROXIES", "10.0.0.0/8, ::1")]);
        let again: Table = text.parse().unwrap();
        let defaults: Table = DEFAULTS.parse().unwrap();
        for (section, content) in &defaults {
            for key in content.as_table().unwrap().keys() {
                assert!(again[section].get(key).is_some(), "{section}.{key}: {text}");
            }
        }
        assert!(text.contains("listen = \"127.0.0.1:0\" # REFERRAL_LISTEN\n"), "{text}");
        assert!(
            text.contains("trusted_proxies = [\"10.0.0.0/8\", \"::1\"] # REFERRAL_LIMITS_TRUSTED_PROXIES\n"),
            "{text}"
        );
        assert!(text.contains("\npasses = 2 # default\n"), "{text}");
    }

    #[test]
    fn secrets_are_hidden() {
        let text = printed(&[
            ("DATABASE_URL", "postgres://referral:s3cr3t@h:5432/n?sslmode=require"),
            ("REDIS_URL", "rediss://:s3cr3t@h/1"),
            ("REFERRAL_MASTER_KEY", "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="),
            ("HUNTER_API_KEY", "s3cr3t"),
            ("REFERRAL_PROVIDERS_CORP_ISSUER", "https://id.example.com"),
            ("REFERRAL_PROVIDERS_CORP_CLIENT_ID", "referral"),
            ("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET", "s3cr3t"),
        ]);
        assert!(!text.contains("s3cr3t") && !text.contains("q6ur"), "{text}");
        assert!(text.contains("url = \"postgres://referral:***@h:5432/n?sslmode=require\" # DATABASE_URL\n"), "{text}");
        assert!(text.contains("client_secret = \"(hidden)\" # REFERRAL_PROVIDERS_CORP_CLIENT_SECRET\n"), "{text}");
    }

    #[test]
    fn no_password_is_shown_however_it_is_written() {
        for (url, expected) in [
            ("sqlite:referral.db", "sqlite:referral.db"),
            ("postgres://u@h/n", "postgres://u@h/n"),
            ("postgres://u:s3cr3t@h1:1,h2:2/n", "postgres://u:***@h1:1,h2:2/n"),
            ("postgres://u:s3cr3t/with@all?of@h/n", "postgres://u:***@h/n"),
            ("postgres://h/n?user=u&password=s3cr3t", "postgres://h/n?user=u&password=***"),
            ("host=h password=s3cr3t", "(hidden)"),
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }
}
