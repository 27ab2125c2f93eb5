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

/// The section that has a table for each identity provider, as many as the operator names.
const PROVIDERS: &str = "providers";

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
        if find(&mut settings, name).is_some() && environment.iter().any(|(other, _)| *other == file) {
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
        if section == PROVIDERS {
            merge_providers(settings, content, file)?;
            continue;
        }
        let (Some(Value::Table(known)), Value::Table(content)) = (settings.get_mut(&section), content) else {
            return Err(format!("{file} has the unknown section [{section}]: `referral config` prints all there are"));
        };
        merge_section(known, content, &section, file)?;
    }
    Ok(())
}

fn merge_section(known: &mut Table, given: Table, section: &str, file: &str) -> Result<(), String> {
    for (key, value) in given {
        if !known.contains_key(&key) {
            return Err(format!(
                "{file} has the unknown setting {section}.{key}: `referral config` prints all there are"
            ));
        }
        known.insert(key, value);
    }
    Ok(())
}

fn merge_providers(settings: &mut Table, given: Value, file: &str) -> Result<(), String> {
    let shape = || {
        format!(
            "{file} has a [{PROVIDERS}] that is not a table for each provider: write [{PROVIDERS}.NAME], NAME of \
             lower-case letters and digits"
        )
    };
    let Value::Table(given) = given else { return Err(shape()) };
    for (name, content) in given {
        let (Some(known), Value::Table(content)) = (provider(settings, &name), content) else { return Err(shape()) };
        merge_section(known, content, &format!("{PROVIDERS}.{name}"), file)?;
    }
    Ok(())
}

/// The settings of a provider, made with their defaults when it is named for the first time; nothing for a name that
/// cannot be part of a variable's name and of a path. What has no default is empty, and found missing by the check.
fn provider<'a>(settings: &'a mut Table, name: &str) -> Option<&'a mut Table> {
    let named = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !named {
        return None;
    }
    let all = settings.entry(PROVIDERS).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    let fresh = || {
        let text = |value: &str| Value::String(value.to_owned());
        Value::Table(Table::from_iter([
            ("label".to_owned(), text(name)),
            ("issuer".to_owned(), text("")),
            ("client_id".to_owned(), text("")),
            ("client_secret".to_owned(), text("")),
            ("scopes".to_owned(), text("openid email profile")),
            ("trust_email".to_owned(), Value::Boolean(false)),
        ]))
    };
    all.entry(name).or_insert_with(fresh).as_table_mut()
}

/// Applies one variable of the environment, if it is one of ours.
fn set_from(settings: &mut Table, name: &str, value: &str) -> Result<(), String> {
    let (plain, file) = match name.strip_suffix("_FILE") {
        Some(plain) => (plain, true),
        None => (name, false),
    };
    let Some(slot) = find(settings, plain) else {
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

/// The place of the setting that a variable of the environment names. A provider comes into being by being named.
fn find<'a>(settings: &'a mut Table, variable: &str) -> Option<&'a mut Value> {
    if let Some((_, section, key)) = SHORT.iter().find(|(name, ..)| *name == variable) {
        return settings.get_mut(*section)?.get_mut(*key);
    }
    let rest = variable.strip_prefix("REFERRAL_")?.to_ascii_lowercase();
    if let Some(rest) = rest.strip_prefix(PROVIDERS) {
        // Names have no underscore, so the first one ends the name.
        let (name, key) = rest.strip_prefix('_')?.split_once('_')?;
        return provider(settings, name)?.get_mut(key);
    }
    settings.iter_mut().find_map(|(section, content)| {
        let key = rest.strip_prefix(section.as_str())?.strip_prefix('_')?;
        content.get_mut(key)
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
            ("REFERRAL_HTTP_REQUEST_SECONDS", "0", "1..300"),
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

    const MINIMAL: [(&str, &str); 2] = [
        ("REFERRAL_PROVIDERS_CORP_ISSUER", "https://id.example.com"),
        ("REFERRAL_PROVIDERS_CORP_CLIENT_ID", "referral"),
    ];

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
            ("[providers.Corp]\nissuer = \"https://a\"\n", "lower-case"),
            ("[providers.my-corp]\nissuer = \"https://a\"\n", "lower-case"),
            ("[providers]\ncorp = 5\n", "[providers.NAME]"),
            ("providers = 5\n", "[providers.NAME]"),
            ("[providers.corp]\nclient_id = 5\n", "invalid type"),
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
            ("REFERRAL_PROVIDERS_CORP_LABEL", "", "providers.corp.label"),
            ("REFERRAL_PROVIDERS_CORP_SCOPES", "email profile", "openid"),
            ("REFERRAL_PROVIDERS_CORP_TRUST_EMAIL", "perhaps", "on nor off"),
            ("REFERRAL_PROVIDERS_CORP_CLIENTID", "x", "no setting"),
            ("REFERRAL_PROVIDERS_CORP", "x", "no setting"),
            ("REFERRAL_PROVIDERS_MY-CORP_ISSUER", "x", "no setting"),
            ("REFERRAL_PROVIDERS_OTHER_CLIENT_ID", "x", "providers.other.issuer"),
            ("REFERRAL_PROVIDERS_CORP_CLIENT_SECRET_FILE", "/nowhere/at/all", "/nowhere/at/all"),
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
        let secret = "REFERRAL_PROVIDERS_CORP_CLIENT_SECRET";
        let error = with(&[(secret, "a"), (&format!("{secret}_FILE"), "/a")]).unwrap_err();
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
