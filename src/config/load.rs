//! Reading and merging the sources of settings.

use std::path::Path;

use toml::{Table, Value};

use super::Config;

pub const DEFAULTS: &str = include_str!("../../referral.default.toml");

/// Names that settings go by beside REFERRAL_<SECTION>_<KEY>.
const SHORT: &[(&str, &str, &str)] = &[
    ("DATABASE_URL", "database", "url"),
    ("REDIS_URL", "redis", "url"),
    ("REFERRAL_LISTEN", "http", "listen"),
    ("REFERRAL_PUBLIC_URL", "http", "public_url"),
    ("REFERRAL_METRICS_LISTEN", "http", "metrics_listen"),
    ("REFERRAL_MASTER_KEY", "tokens", "master_key"),
    ("HUNTER_API_KEY", "email", "hunter_api_key"),
    ("HUNTER_URL", "email", "hunter_url"),
    ("REFERRAL_LIMITS", "limits", "enabled"),
    ("REFERRAL_LOG", "log", "level"),
];

/// The environment, as a list, so that tests need not touch the process's own.
pub type Environment = Vec<(String, String)>;

/// Merges the defaults, the file and the environment.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, String> {
    let mut settings: Table = DEFAULTS.parse().map_err(|error| format!("the built-in defaults are broken: {error}"))?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the settings in {}: {error}", path.display()))?;
        let given: Table =
            text.parse().map_err(|error: toml::de::Error| format!("{}: {}", path.display(), error.message()))?;
        merge(&mut settings, given, &path.display().to_string())?;
    }
    for (name, value) in environment {
        let file = format!("{name}_FILE");
        if find(&settings, name).is_some() && environment.iter().any(|(other, _)| *other == file) {
            return Err(format!("the environment has both {name} and {file}: keep one of them"));
        }
        set_from(&mut settings, name, value)?;
    }
    let config: Config = settings.try_into().map_err(|error: toml::de::Error| {
        format!("a setting is not valid: {}; see `referral config` for what each may be", error.message())
    })?;
    config.check()?;
    Ok(config)
}

fn merge(settings: &mut Table, given: Table, file: &str) -> Result<(), String> {
    for (section, content) in given {
        let (Some(Value::Table(known)), Value::Table(content)) = (settings.get_mut(&section), content) else {
            return Err(format!("{file} has the unknown section [{section}]: `referral config` prints all there are"));
        };
        for (key, value) in content {
            if !known.contains_key(&key) {
                return Err(format!(
                    "{file} has the unknown setting {section}.{key}: `referral config` prints all there are"
                ));
            }
            known.insert(key, value);
        }
    }
    Ok(())
}

/// Applies one variable of the environment, if it is one of ours.
fn set_from(settings: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let (plain, file) = match name.strip_suffix("_FILE") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let Some((section, key)) = find(settings, plain) else {
        // Compose and systemd pass much that is not ours; only our own prefix is checked for slips.
        return if plain.starts_with("REFERRAL_") {
            Err(format!("the environment has {name}, which is no setting: `referral config` prints all there are"))
        } else {
            Ok(())
        };
    };
    let text = if file {
        let content = std::fs::read_to_string(value).map_err(|error| format!("{name} names {value}: {error}"))?;
        content.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        value.to_owned()
    };
    let Some(slot) = settings.get_mut(&section).and_then(|table| table.get_mut(&key)) else { return Ok(()) };
    *slot = match slot {
        Value::Integer(_) => Value::Integer(text.parse().map_err(|_| format!("{name} is not a whole number"))?),
        Value::Boolean(_) => Value::Boolean(match text.as_str() {
            "true" | "on" | "1" => true,
            "false" | "off" | "0" => false,
            _ => return Err(format!("{name} is neither on nor off")),
        }),
        Value::Array(_) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
        }
        _ => Value::String(text),
    };
    Ok(())
}

/// Whether a variable of the environment is, or by its name should be, one of ours.
pub fn is_setting(variable: &str) -> bool {
    let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
    plain.starts_with("REFERRAL_") || SHORT.iter().any(|(name, ..)| *name == plain)
}

fn find(settings: &Table, variable: &str) -> Option<(String, String)> {
    if let Some((_, section, key)) = SHORT.iter().find(|(name, ..)| *name == variable) {
        return Some(((*section).to_owned(), (*key).to_owned()));
    }
    let rest = variable.strip_prefix("REFERRAL_")?.to_ascii_lowercase();
    settings.iter().find_map(|(section, content)| {
        let key = rest.strip_prefix(section.as_str())?.strip_prefix('_')?;
        content.as_table()?.contains_key(key).then(|| (section.clone(), key.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, String> {
        load(None, &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn the_defaults_are_complete_and_valid() {
        let config = with(&[]).unwrap();
        assert_eq!(config.http.listen, "127.0.0.1:8000");
        assert_eq!(config.database.url, "sqlite:referral.db");
    }

    #[test]
    fn every_setting_can_be_given_in_the_environment() {
        let defaults: Table = DEFAULTS.parse().unwrap();
        for (section, content) in &defaults {
            for (key, value) in content.as_table().unwrap() {
                let name = format!("REFERRAL_{}_{}", section.to_uppercase(), key.to_uppercase());
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::Array(_) => String::new(),
                    other => other.to_string(),
                };
                assert!(with(&[(&name, &text)]).is_ok(), "{name}={text}");
            }
        }
    }

    #[test]
    fn short_names_and_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("url");
        std::fs::write(&secret, "postgres://u:p@h/n\n").unwrap();
        let config = with(&[
            ("DATABASE_URL_FILE", secret.to_str().unwrap()),
            ("REFERRAL_LIMITS", "off"),
            ("REFERRAL_LIMITS_TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(config.database.url, "postgres://u:p@h/n");
        assert!(!config.limits.enabled);
        assert!(config.limits.trusts("10.1.2.3".parse().unwrap()));
        assert!(config.limits.trusts("::ffff:10.1.2.3".parse().unwrap()));
        assert!(config.limits.trusts("::1".parse().unwrap()));
        assert!(!config.limits.trusts("11.1.2.3".parse().unwrap()));
    }

    #[test]
    fn bad_settings_are_a_sentence_with_a_remedy() {
        for (name, value, part) in [
            ("REFERRAL_LISTEN", "8000", "host:port"),
            ("REFERRAL_PUBLIC_URL", "referral.example.com", "https://"),
            ("REFERRAL_PUBLIC_URL", "https://referral.example.com/", "without a path"),
            ("REDIS_URL", "localhost:6379", "redis://"),
            ("REFERRAL_TOKENS_ACCESS_MINUTES", "60", "1..10"),
            ("REFERRAL_MASTER_KEY", "c2hvcnQ=", "openssl rand -base64 32"),
            ("REFERRAL_MASTER_KEY", "no base64 at all, but long enough to be some", "openssl rand -base64 32"),
            ("REFERRAL_HASHING_MEMORY_KIB", "1024", "19456"),
            ("REFERRAL_HASHING_MEMORY_KIB", "lots", "whole number"),
            ("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", "nobody", "owner"),
            ("REFERRAL_LIMITS", "maybe", "on nor off"),
            ("REFERRAL_LIMITS_TRUSTED_PROXIES", "proxy", "10.0.0.0/8"),
            ("REFERRAL_LISTN", "x", "no setting"),
            ("DATABASE_URL_FILE", "/nowhere/at/all", "/nowhere/at/all"),
        ] {
            let error = with(&[(name, value)]).unwrap_err();
            assert!(error.contains(part), "{name}={value}: {error}");
        }
    }

    #[test]
    fn the_master_key_is_read_and_never_shown() {
        let text = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=";
        let config = with(&[("REFERRAL_MASTER_KEY", text)]).unwrap();
        assert_eq!(config.tokens.master_key(), Some([0xab; 32]));
        let shown = format!("{config:?}");
        assert!(!shown.contains(text) && !shown.contains("171"), "{shown}");
        let short = text.trim_start_matches('q');
        let error = with(&[("REFERRAL_MASTER_KEY", short)]).unwrap_err();
        assert!(!error.contains(short), "{error}");
        assert_eq!(with(&[]).unwrap().tokens.master_key(), None);
    }

    #[test]
    fn a_secret_given_twice_is_refused() {
        let error = with(&[("REDIS_URL", "redis://a"), ("REDIS_URL_FILE", "/a")]).unwrap_err();
        assert!(error.contains("keep one"), "{error}");
    }

    #[test]
    fn a_file_is_merged_and_its_slips_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("referral.toml");
        std::fs::write(&path, "[accounts]\nmin_password_length = 15\n").unwrap();
        assert_eq!(load(Some(&path), &vec![]).unwrap().accounts.min_password_length, 15);
        for (text, part) in [
            ("[accounts]\nmin_length = 15\n", "accounts.min_length"),
            ("[acounts]\n", "[acounts]"),
            ("[accounts]\nmin_password_length = \"long\"\n", "invalid type"),
            ("nonsense", "referral.toml"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = load(Some(&path), &vec![]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
