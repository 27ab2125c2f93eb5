//! Merging the sources of settings: the commented defaults, a file, `./.env`, the environment. All that is wrong is
//! told at once, each with its place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::names::{self, OF_PROVIDER, PROVIDERS, is_provider};
use super::sources::{Environment, Origin, Sources, Variable};
use super::{Config, Fault};

pub const DEFAULTS: &str = include_str!("../../referral.default.toml");

/// What was read, right or wrong.
pub struct Reading {
    /// Where a setting is wrong this may have its default: see `faults` before using it. Nothing where the faults leave
    /// no sense in the rest.
    pub config: Option<Config>,
    pub faults: Vec<Fault>,
    pub settings: Table,
    /// Where the values that are no defaults came from, by setting.
    pub origins: BTreeMap<String, Origin>,
}

impl Reading {
    /// Where the value of a setting came from.
    pub fn origin(&self, setting: &str) -> &Origin {
        self.origins.get(setting).unwrap_or(&Origin::Default)
    }

    /// Whether nothing wrong was found with a setting.
    pub fn is_good(&self, setting: &str) -> bool {
        self.faults.iter().all(|fault| fault.setting != setting)
    }

    /// The settings, or everything that is wrong with them, a sentence a line.
    pub fn valid(self) -> Result<Config, String> {
        match self.config {
            Some(config) if self.faults.is_empty() => Ok(config),
            _ => Err(self.faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("\n")),
        }
    }
}

/// The settings of a file and an environment alone.
pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, String> {
    read(&Sources::of(file, environment)).valid()
}

/// Merges all sources.
pub fn read(sources: &Sources) -> Reading {
    let defaults: Table = match DEFAULTS.parse() {
        Ok(defaults) => defaults,
        Err(error) => {
            let faults = vec![Fault::of("", format!("the built-in defaults are broken: {error}"))];
            return Reading { config: None, faults, settings: Table::new(), origins: BTreeMap::new() };
        }
    };
    let faults = sources.faults.iter().map(|text| Fault::of("", text.clone())).collect();
    let mut merge = Merge { settings: defaults.clone(), origins: BTreeMap::new(), faults, unread: false };
    if let Some(path) = &sources.file {
        merge.file(path);
    }
    for variable in &sources.variables {
        merge.variable(variable, sources);
    }
    merge.finish(&defaults)
}

/// What was merged so far.
pub(super) struct Merge {
    pub settings: Table,
    pub origins: BTreeMap<String, Origin>,
    pub faults: Vec<Fault>,
    /// What a file says that cannot be read is not known, so nothing is said of what is missing.
    pub unread: bool,
}

impl Merge {
    pub fn wrong(&mut self, setting: &str, text: String) {
        self.faults.push(Fault::of(setting, text));
    }

    /// One variable of the environment or of `.env`, if it is one of ours.
    fn variable(&mut self, variable: &Variable, all: &Sources) {
        let name = variable.name.as_str();
        let (plain, from_file) = match name.strip_suffix("_FILE") {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let Some((section, key)) = names::setting(&self.settings, plain) else {
            return self.unknown(variable, all);
        };
        // Compose and others pass what nobody has set as an empty text.
        if variable.value.trim().is_empty() {
            return;
        }
        let setting = format!("{section}.{key}");
        let mut origin = Origin::Variable { name: name.to_owned(), line: variable.line, file: None };
        if let Some(other @ Origin::Variable { .. }) = self.origins.get(&setting) {
            let text = format!("{setting} is given twice, by {other} and by {origin}: keep one of them");
            return self.wrong(&setting, text);
        }
        let text = if from_file {
            origin =
                Origin::Variable { name: name.to_owned(), line: variable.line, file: Some(shown(&variable.value)) };
            match content(Path::new(&variable.value)) {
                Ok(content) => content,
                Err(why) => {
                    let text = format!("{setting} ({origin}): {why}, or leave the variable out to do without");
                    self.wrong(&setting, text);
                    self.origins.insert(setting, origin);
                    return;
                }
            }
        } else {
            variable.value.clone()
        };
        let slot = table(&mut self.settings, &section).and_then(|content| content.get_mut(&key));
        let Some(slot) = slot else { return };
        let read = match slot {
            Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| "is not a whole number"),
            Value::Boolean(_) => match text.as_str() {
                "true" | "on" | "1" => Ok(Value::Boolean(true)),
                "false" | "off" | "0" => Ok(Value::Boolean(false)),
                _ => Err("is neither on nor off: write one of the two"),
            },
            Value::Array(_) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Ok(Value::Array(parts.map(|part| Value::String(part.to_owned())).collect()))
            }
            _ => Ok(Value::String(text)),
        };
        match read {
            Ok(value) => *slot = value,
            Err(why) => self.wrong(&setting, format!("{setting} ({origin}) {why}")),
        }
        self.origins.insert(setting, origin);
    }

    /// Compose and systemd pass much that is not ours; what has our own prefix, or nearly so, is checked for slips.
    fn unknown(&mut self, variable: &Variable, all: &Sources) {
        let Variable { name, value, line } = variable;
        let origin = Origin::Variable { name: name.clone(), line: *line, file: None };
        let meant = if name.starts_with("REFERRAL_") {
            if names::is_link(name, value, |name| all.value(name)) {
                return;
            }
            names::variable_meant(&self.settings, name)
        } else {
            match names::prefix_meant(&self.settings, name) {
                None => return,
                meant => meant,
            }
        };
        let meant = meant.map_or_else(all_there_are, |meant| format!("did you mean {meant}?"));
        self.wrong("", format!("the environment has {origin}, which is no setting: {meant}"));
    }

    fn finish(mut self, defaults: &Table) -> Reading {
        // Words and numbers that no setting can be: each is tried alone on the defaults.
        for (setting, origin) in &self.origins {
            let Some((section, key)) = setting.split_once('.').filter(|(section, _)| *section != PROVIDERS) else {
                continue;
            };
            let mut alone = defaults.clone();
            let given = self.settings.get_mut(section).and_then(|content| content.get_mut(key));
            let slot = alone.get_mut(section).and_then(|content| content.get_mut(key));
            let (Some(given), Some(slot)) = (given, slot) else { continue };
            let default = std::mem::replace(slot, given.clone());
            if let Err(error) = Config::deserialize(alone) {
                self.faults.push(Fault::of(setting, format!("{setting} ({origin}) {}", unfit(given, error.message()))));
                *given = default;
            }
        }
        let Self { settings, origins, mut faults, unread } = self;
        let config = match Config::deserialize(settings.clone()) {
            Ok(mut config) => {
                config.database.origin = origins.get("database.url").unwrap_or(&Origin::Default).to_string();
                Some(config)
            }
            Err(error) => {
                let text = format!("a setting is not valid: {}; see `referral config`", error.message());
                faults.push(Fault::of("", text));
                None
            }
        };
        for fault in config.iter().filter(|_| !unread).flat_map(Config::check) {
            if faults.iter().any(|known| known.setting == fault.setting) {
                continue;
            }
            let origin = origins.get(&fault.setting).unwrap_or(&Origin::Default);
            faults.push(Fault { text: format!("{} ({origin}) {}", fault.setting, fault.text), ..fault });
        }
        Reading { config, faults, settings, origins }
    }
}

/// What a file holds whose name a variable has, without a mark at its beginning and the blanks around it; or why not,
/// and what to do.
fn content(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // Devices may have no end.
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err(match error.kind() {
            ErrorKind::NotFound => "there is no such file: make it".to_owned(),
            ErrorKind::IsADirectory => "that is a folder: name a file".to_owned(),
            _ => format!("cannot read that file: {error}: let the service's user read it"),
        });
    }
    let text = String::from_utf8(bytes).map_err(|_| "that file is not text: write it in UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim();
    if text.is_empty() { Err("that file is empty: write the value into it".to_owned()) } else { Ok(text.to_owned()) }
}

/// More than any setting has.
const MOST: u64 = 64 * 1024;

/// The name of a file, if it is surely one, for it or its folder is there: somebody may have written the secret itself,
/// which may begin with a slash.
fn shown(name: &str) -> String {
    let path = Path::new(name);
    let folder = path.parent().filter(|folder| !["", "/"].map(Path::new).contains(folder));
    let is_name = path.exists() || folder.is_some_and(Path::exists);
    if is_name { name.to_owned() } else { "a file that is not there".to_owned() }
}

/// The settings of a section. A provider comes into being by being named; what has no default is empty, and found
/// missing by the check.
pub(super) fn table<'a>(settings: &'a mut Table, section: &str) -> Option<&'a mut Table> {
    let Some(name) = section.strip_prefix(PROVIDERS).and_then(|rest| rest.strip_prefix('.')) else {
        return settings.get_mut(section)?.as_table_mut();
    };
    if !is_provider(name) {
        return None;
    }
    let all = settings.entry(PROVIDERS).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
    let fresh = || {
        let default = |key| match key {
            "label" => Value::String(name.to_owned()),
            "scopes" => Value::String("openid email profile".to_owned()),
            "trust_email" => Value::Boolean(false),
            _ => Value::String(String::new()),
        };
        Value::Table(OF_PROVIDER.iter().map(|key| ((*key).to_owned(), default(key))).collect())
    };
    all.entry(name).or_insert_with(fresh).as_table_mut()
}

/// Why a value of the right type does not fit.
fn unfit(value: &Value, why: &str) -> String {
    match value {
        Value::Integer(number @ ..0) => format!("is {number}: it cannot be negative"),
        Value::Integer(number) => format!("is {number}: that is too large"),
        // A word of several; settings that may be secret take any word.
        Value::String(word) => match why.rsplit_once("expected ") {
            Some((_, words)) => format!("is \"{word}\": write {}", words.replace("one of ", "").replace('`', "")),
            None => format!("is \"{word}\": {why}"),
        },
        _ => format!("is not valid: {why}"),
    }
}

/// What to say where nothing is near.
pub(super) fn all_there_are() -> String {
    "`referral config` prints all there are".to_owned()
}

/// The least that defines a provider.
#[cfg(test)]
pub(super) const MINIMAL: [(&str, &str); 2] =
    [("REFERRAL_PROVIDERS_CORP_ISSUER", "https://id.example.com"), ("REFERRAL_PROVIDERS_CORP_CLIENT_ID", "referral")];

/// The settings of an environment alone.
#[cfg(test)]
pub(super) fn with(pairs: &[(&str, &str)]) -> Result<Config, String> {
    load(None, &pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("DATABASE_URL_FILE", "/nowhere/at/all", "a file that is not there): there is no such file: make it"),
            ("DATABASE_URL_FILE", "./nowhere", "./nowhere): there is no such file: make it"),
            ("DATABASE_URL_FILE", "/", "that is a folder"),
        ] {
            let error = with(&[(name, value)]).unwrap_err();
            assert!(error.contains(part), "{name}={value}: {error}");
        }
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let defaults: Table = DEFAULTS.parse().unwrap();
        let mut names: Vec<String> = names::SHORT.iter().map(|(name, ..)| (*name).to_owned()).collect();
        for (section, content) in &defaults {
            let keys = content.as_table().unwrap().keys();
            names.extend(keys.map(|key| format!("REFERRAL_{section}_{key}").to_uppercase()));
        }
        names.extend(OF_PROVIDER.map(|key| format!("REFERRAL_PROVIDERS_CORP_{key}").to_uppercase()));
        for name in names {
            for name in [name.clone(), name + "_FILE"] {
                for value in ["", " "] {
                    let reading = read(&Sources::of(None, &vec![(name.clone(), value.to_owned())]));
                    assert!(reading.faults.is_empty(), "{name}: {:?}", reading.faults);
                    assert_eq!(reading.settings, defaults, "{name}");
                    assert!(reading.origins.is_empty(), "{name}: {:?}", reading.origins);
                }
            }
        }
        // What is given beside it counts, and an unknown one is unknown.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "redis://h").unwrap();
        let both = with(&[("REDIS_URL", ""), ("REDIS_URL_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(both.redis.url, "redis://h");
        assert!(with(&[("REFERRAL_LISTN", "")]).is_err());
    }

    #[test]
    fn a_file_that_holds_nothing_is_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let secrets = [
            "REFERRAL_MASTER_KEY",
            "HUNTER_API_KEY",
            "REDIS_URL",
            "DATABASE_URL",
            "REFERRAL_PROVIDERS_CORP_CLIENT_SECRET",
        ];
        for name in secrets {
            let name = format!("{name}_FILE");
            for content in ["", "\n", "\u{feff}", " \r\n\t"] {
                std::fs::write(&path, content).unwrap();
                let error = with(&[&MINIMAL[..], &[(&name, path.to_str().unwrap())]].concat()).unwrap_err();
                assert!(error.contains("that file is empty") && error.contains("leave the variable out"), "{error}");
            }
            assert!(
                with(&[&MINIMAL[..], &[(&name, "/dev/null")]].concat()).unwrap_err().contains("is empty"),
                "{name}"
            );
        }
        std::fs::write(&path, "\u{feff}q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s= \r\n").unwrap();
        let config = with(&[("REFERRAL_MASTER_KEY_FILE", path.to_str().unwrap())]).unwrap();
        assert_eq!(config.tokens.master_key(), Some([0xab; 32]));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(with(&[("REDIS_URL_FILE", path.to_str().unwrap())]).unwrap_err().contains("UTF-8"));
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
            ("[accounts]\nmin_password_length = \"long\"\n", "without quotation marks"),
            ("nonsense", "referral.toml"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = load(Some(&path), &vec![]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
