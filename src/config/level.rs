//! What `log.level` may be. The filter that it becomes takes any unknown word for the name of a part of the program, and
//! then says nothing of all others.

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What others call a level.
const ELSEWHERE: &[(&str, &str)] = &[
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("information", "info"),
    ("notice", "info"),
    ("normal", "info"),
    ("verbose", "debug"),
    ("all", "trace"),
    ("none", "off"),
    ("silent", "off"),
    ("quiet", "off"),
];

/// What writes to the log: Referral, and the libraries that it is made of.
const TARGETS: [&str; 14] = [
    "referral",
    "axum",
    "deadpool",
    "hyper",
    "hyper_util",
    "mio",
    "moka",
    "redis",
    "reqwest",
    "rustls",
    "tokio",
    "tokio_postgres",
    "tower",
    "tracing",
];

const FORM: &str = "write info or referral=debug,warn";

/// Whether each part is a level or `TARGET=LEVEL`; the error goes on behind "is not a filter: ".
pub fn check(filter: &str) -> Result<(), String> {
    if filter.trim().is_empty() {
        return Err(format!("it is empty; {FORM}, or leave the setting out"));
    }
    for part in filter.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => level(part)?,
            Some((target, word)) => {
                known(target)?;
                level(word)?;
            }
        }
    }
    Ok(())
}

fn level(word: &str) -> Result<(), String> {
    let lower = word.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(());
    }
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == lower).map(|(_, level)| *level);
    let near = || LEVELS.into_iter().min_by_key(|level| strsim::osa_distance(level, &lower));
    let near = near().filter(|level| strsim::osa_distance(level, &lower) <= 2 && level.len() > 2 && lower.len() > 2);
    let named = TARGETS.contains(&lower.as_str());
    Err(match elsewhere.or(near) {
        _ if named => format!("{word} has no level: write {word}=debug"),
        Some(level) => format!("there is no level \"{word}\": did you mean {level}?"),
        None => format!("there is no level \"{word}\": {}, or {FORM}", LEVELS.join(", ")),
    })
}

fn known(target: &str) -> Result<(), String> {
    let name = target.split("::").next().unwrap_or_default();
    if TARGETS.contains(&name) {
        return Ok(());
    }
    let near = TARGETS.into_iter().find(|known| strsim::osa_distance(known, name) <= 2 && name.len() > 2);
    Err(match near {
        Some(near) => format!("nothing called \"{name}\" writes to the log: did you mean {near}?"),
        None => format!("nothing called \"{name}\" writes to the log: {} do; {FORM}", TARGETS.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_of_the_program_are_taken() {
        for filter in [
            "info",
            "WARN",
            "off",
            "referral=debug,warn",
            " debug , hyper=info,",
            "referral::site::guard=trace,info",
            "tokio_postgres=debug",
        ] {
            assert_eq!(check(filter), Ok(()), "{filter}");
            assert!(tracing_subscriber::EnvFilter::try_new(filter.replace(' ', "")).is_ok(), "{filter}");
        }
    }

    #[test]
    fn a_word_that_would_silence_the_log_is_refused_with_what_was_meant() {
        for (filter, part) in [
            ("inof", "did you mean info?"),
            ("warning", "did you mean warn?"),
            ("verbose", "did you mean debug?"),
            ("INFORMATION", "did you mean info?"),
            ("", "it is empty"),
            (" ", "it is empty"),
            ("referal=debug", "did you mean referral?"),
            ("referral=loud", "there is no level \"loud\""),
            ("referral=", "there is no level \"\""),
            ("=debug", "nothing called \"\""),
            ("referral", "write referral=debug"),
            ("info,payments=debug", "nothing called \"payments\""),
            ("[span]=debug", "nothing called"),
            ("3", "there is no level \"3\""),
        ] {
            let told = check(filter).expect_err(filter);
            assert!(told.contains(part), "{filter}: {told}");
        }
    }

    #[test]
    fn what_may_be_named_is_part_of_the_program() {
        let locked = include_str!("../../Cargo.lock");
        for target in TARGETS {
            let names = [target.to_owned(), target.replace('_', "-")];
            assert!(names.iter().any(|name| locked.contains(&format!("name = \"{name}\"\n"))), "{target}");
        }
    }
}
