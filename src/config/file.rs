//! The file of settings, with the line of each.

use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::load::{Merge, all_there_are, table};
use super::names::{self, PROVIDERS};
use super::sources::Origin;

impl Merge {
    /// Takes the settings of a file, and notes the line of each.
    pub fn file(&mut self, path: &Path) {
        let name = path.display();
        self.unread = true;
        let text = match std::fs::read(path) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => {
                    let line = line_of(error.as_bytes(), error.utf8_error().valid_up_to());
                    return self.wrong("", format!("{name}:{line} is not text: write it in UTF-8"));
                }
            },
            Err(error) => return self.wrong("", cannot_read(path, &error)),
        };
        let (places, slips) = DeTable::parse_recoverable(&text);
        let line = |at: usize| line_of(text.as_bytes(), at);
        for slip in &slips {
            // Its message alone: the whole error quotes the line, which may hold a secret.
            let line = line(slip.span().map_or(0, |span| span.start));
            self.wrong("", format!("{name}:{line} is no TOML: {}", slip.message()));
        }
        let values: Table = match text.parse() {
            Ok(values) if slips.is_empty() => values,
            Err(error) if slips.is_empty() => return self.wrong("", format!("{name} is no TOML: {}", error.message())),
            _ => return,
        };
        self.unread = false;
        for (section, content) in places.get_ref() {
            let at = format!("{name}:{}", line(section.span().start));
            let section = section.get_ref().as_ref();
            let value = values.get(section);
            if section == PROVIDERS {
                self.providers(path, &at, content.get_ref(), value, &line);
            } else if let (DeValue::Table(keys), Some(Value::Table(given))) = (content.get_ref(), value) {
                if !self.settings.contains_key(section) {
                    let meant = names::section_meant(&self.settings, section);
                    let meant = meant.map_or_else(all_there_are, |meant| format!("did you mean [{meant}]?"));
                    self.wrong("", format!("{at} has the unknown section [{section}]: {meant}"));
                    continue;
                }
                for (key, _) in keys {
                    let origin = Origin::File { path: path.to_owned(), line: line(key.span().start) };
                    let key = key.get_ref().as_ref();
                    self.of_file(section, key, given.get(key), origin);
                }
            } else if self.settings.contains_key(section) {
                self.wrong("", format!("{at} has {section} as a setting: it is a section, write [{section}]"));
            } else {
                let meant = names::setting_meant(&self.settings, "", section);
                let meant = meant.map_or_else(all_there_are, |meant| format!("did you mean {meant}?"));
                self.wrong("", format!("{at} has the unknown setting {section} outside of any section: {meant}"));
            }
        }
    }

    fn providers(
        &mut self,
        path: &Path,
        at: &str,
        places: &DeValue<'_>,
        given: Option<&Value>,
        line: &impl Fn(usize) -> usize,
    ) {
        let shape = format!(
            "has a [{PROVIDERS}] that is not a table for each provider: write [{PROVIDERS}.NAME], NAME of lower-case \
             letters and digits"
        );
        let (DeValue::Table(places), Some(Value::Table(given))) = (places, given) else {
            return self.wrong("", format!("{at} {shape}"));
        };
        for (name, content) in places {
            let at = format!("{}:{}", path.display(), line(name.span().start));
            let name = name.get_ref().as_ref();
            let (DeValue::Table(keys), Some(Value::Table(given))) = (content.get_ref(), given.get(name)) else {
                self.wrong("", format!("{at} {shape}"));
                continue;
            };
            let lower = name.to_ascii_lowercase();
            if lower != name && names::is_provider(&lower) {
                self.wrong("", format!("{at} has the provider {name}: write [{PROVIDERS}.{lower}], in lower case"));
                continue;
            }
            let section = format!("{PROVIDERS}.{name}");
            if table(&mut self.settings, &section).is_none() {
                self.wrong("", format!("{at} {shape}"));
                continue;
            }
            for (key, _) in keys {
                let origin = Origin::File { path: path.to_owned(), line: line(key.span().start) };
                let key = key.get_ref().as_ref();
                self.of_file(&section, key, given.get(key), origin);
            }
        }
    }

    /// One setting of the file.
    fn of_file(&mut self, section: &str, key: &str, value: Option<&Value>, origin: Origin) {
        let setting = format!("{section}.{key}");
        let known = table(&mut self.settings, section).and_then(|content| content.get_mut(key));
        let (Some(known), Some(value)) = (known, value) else {
            let meant = names::setting_meant(&self.settings, section, key);
            let meant = meant.map_or_else(all_there_are, |meant| format!("did you mean {meant}?"));
            return self.wrong("", format!("{origin} has the unknown setting {setting}: {meant}"));
        };
        match wanted(known, value) {
            Some(wanted) => {
                let text = format!("{setting} ({origin}) is {}: write {wanted}", kind(value));
                self.wrong(&setting, text);
            }
            None => *known = value.clone(),
        }
        self.origins.insert(setting, origin);
    }
}

/// What a setting wants instead of a value of another type; nothing where the type is right.
fn wanted(default: &Value, given: &Value) -> Option<&'static str> {
    match (default, given) {
        (Value::String(_), Value::String(_))
        | (Value::Integer(_), Value::Integer(_))
        | (Value::Boolean(_), Value::Boolean(_)) => None,
        (Value::Array(_), Value::Array(parts)) if parts.iter().all(Value::is_str) => None,
        (Value::String(_), _) => Some("a string, in quotation marks"),
        (Value::Integer(_), _) => Some("a whole number, without quotation marks"),
        (Value::Boolean(_), _) => Some("true or false, without quotation marks"),
        _ => Some("a list of strings, such as [\"10.0.0.0/8\"]"),
    }
}

/// Why a file of settings is not read, and what to do.
pub fn cannot_read(path: &Path, error: &std::io::Error) -> String {
    let remedy = if error.kind() == std::io::ErrorKind::NotFound {
        "name another with --config, leave it out, or make one with `referral config > FILE`"
    } else {
        "name a file that the service's user may read, or leave --config out"
    };
    format!("cannot read the settings in {}: {error}: {remedy}", path.display())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn line_of(text: &[u8], at: usize) -> usize {
    1 + text.iter().take(at).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Origin, Reading, Sources, read};

    fn reading(text: &str, environment: &[(&str, &str)]) -> Reading {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("referral.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        read(&Sources::of(Some(&path), &environment))
    }

    #[test]
    fn every_complaint_has_its_setting_its_file_and_its_line_and_all_come_at_once() {
        let reading = reading(
            "[http]\nlisten = 8000\n\n[accounts]\nmin_lenght = 15\nmin_password_length = 4\n[acounts]\n\
             [email]\ncheck = \"maybe\"\nchecks_per_second = -1\n[log]\nlevel = \"referral=loud\"\n\
             [providers.corp]\nissuer = \"ftp://h\"\nisuer = \"x\"\n",
            &[("REFERRAL_HASHING_PASSES", "many"), ("REFERRAL_TOKENS_ACCESS_MINUTES", "60"), ("REFERRAL_LISTN", "x")],
        );
        let told: Vec<&str> = reading.faults.iter().map(|fault| fault.text.as_str()).collect();
        for (place, part) in [
            ("http.listen (", "referral.toml:2) is a whole number: write a string, in quotation marks"),
            ("", "referral.toml:5 has the unknown setting accounts.min_lenght"),
            ("accounts.min_password_length (", "referral.toml:6) is 4: set it to 8..128"),
            ("", "referral.toml:7 has the unknown section [acounts]: did you mean [accounts]?"),
            ("email.check (", "referral.toml:9) is \"maybe\": write off, flag, block"),
            ("email.checks_per_second (", "referral.toml:10) is -1: it cannot be negative"),
            ("log.level (", "referral.toml:12) is not a filter"),
            ("providers.corp.issuer (", "referral.toml:14) is no issuer"),
            ("", "referral.toml:15 has the unknown setting providers.corp.isuer: did you mean providers.corp.issuer?"),
            ("providers.corp.client_id (default) is empty", ""),
            ("hashing.passes (REFERRAL_HASHING_PASSES) is not a whole number", ""),
            ("tokens.access_minutes (REFERRAL_TOKENS_ACCESS_MINUTES) is 60: set it to 1..10", ""),
            ("the environment has REFERRAL_LISTN, which is no setting: did you mean REFERRAL_LISTEN?", ""),
        ] {
            assert!(
                told.iter().any(|text| text.starts_with(place) && text.contains(part)),
                "{place} {part}: {told:#?}"
            );
        }
        assert_eq!(told.len(), 13, "{told:#?}");
        assert_eq!(reading.valid().unwrap_err().lines().count(), 13);
    }

    #[test]
    fn every_fault_of_the_syntax_is_told_with_its_line() {
        let reading = reading("[http]\nlisten = \n[log]\nlevel = \"info\nformat = text\n", &[]);
        let told: Vec<&str> = reading.faults.iter().map(|fault| fault.text.as_str()).collect();
        assert!(told.iter().any(|text| text.contains("referral.toml:2 is no TOML")), "{told:#?}");
        assert!(told.iter().any(|text| text.contains("referral.toml:4 is no TOML")), "{told:#?}");
    }

    #[test]
    fn the_line_of_a_value_is_known() {
        let reading = reading("# a comment\n[http]\nshutdown_seconds = 20\ndrain_seconds = 0x05\n", &[]);
        assert!(reading.faults.is_empty(), "{:?}", reading.faults);
        let Some(Origin::File { path, line }) = reading.origins.get("http.drain_seconds") else { panic!("no origin") };
        assert!(path.ends_with(Path::new("referral.toml")));
        assert_eq!(*line, 4);
        assert_eq!(reading.settings["http"]["drain_seconds"].as_integer(), Some(5));
    }
}
