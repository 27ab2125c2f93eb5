//! What is in force, and where it came from, as a file of settings. Secrets are hidden.

use toml::{Table, Value};

use super::load::{DEFAULTS, Reading};
use super::names::{OF_PROVIDER, PROVIDERS};
use super::password::without_password;

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
        Value::String(url) if key == "issuer" || key == "url" || key.ends_with("_url") => {
            Value::String(without_password(url))
        }
        Value::Array(parts) => Value::Array(parts.iter().map(shown_part).collect()),
        other => other.clone(),
    };
    format!("{key} = {value} # {origin}\n")
}

/// A part of a list.
fn shown_part(part: &Value) -> Value {
    let address = part.as_str().filter(|part| part.contains('@'));
    address.map_or_else(|| part.clone(), |address| Value::String(without_password(address)))
}

/// By the ends of their names, so that one that is added is hidden as well.
fn is_secret(key: &str) -> bool {
    ["_key", "_secret", "_password", "_token"].iter().any(|end| key.ends_with(end))
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
}
