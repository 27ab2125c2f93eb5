//! The passwords that addresses of servers hold: no message shows one, nor a piece of one.

/// What an address that cannot be read without doubt is told. Nothing of it is quoted.
pub const RESERVED: &str = "has characters in its password, user or name that mean something else in an address: write \
                            @ as %40, / as %2F, : as %3A, ? as %3F, # as %23 and % as %25";

/// The parameters that may have an @ in their values, where there is none in front of the host.
const FREE: [&str; 4] = ["user", "password", "application_name", "options"];

/// Whether the address of a server has a character in its password that should be percent-encoded, so that what is read
/// as host, name or parameter would be a piece of the password.
pub fn is_ambiguous(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return url.contains('@') };
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
    let is_free = |pair: &str| {
        let named = pair.split_once('=').is_some_and(|(name, _)| FREE.contains(&name));
        !pair.contains('@') || named && !authority.contains('@')
    };
    rest.contains('#')
        || authority.matches('@').count() > 1
        || path.contains('@')
        || !query.split('&').all(is_free)
        || has_bare_percent(rest)
}

fn has_bare_percent(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.any(|part| !part.get(..2).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

/// The address of a server without the password that it may hold: rather too little is shown than too much.
pub fn without_password(url: &str) -> String {
    const HIDDEN: &str = "***";
    if url.is_empty() || url.starts_with("sqlite:") {
        return url.to_owned();
    }
    let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return "(hidden)".to_owned();
    };
    if is_ambiguous(url) {
        return format!("{scheme}://{HIDDEN}");
    }
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    let base = match base.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            // Redis has passwords without users, and some write them as one.
            None if scheme.starts_with("redis") => format!("{HIDDEN}@{host}"),
            None => format!("{user}@{host}"),
        },
        None => base.to_owned(),
    };
    let shown = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("pass") => format!("{name}={HIDDEN}"),
        Some(_) => pair.to_owned(),
        None => HIDDEN.to_owned(),
    });
    let shown = shown.collect::<Vec<_>>().join("&");
    if shown.is_empty() { format!("{scheme}://{base}") } else { format!("{scheme}://{base}?{shown}") }
}

/// Whether this is the scheme of an address that we use: anything else may be a piece of a password.
fn is_scheme(text: &str) -> bool {
    ["postgres", "postgresql", "redis", "rediss", "http", "https"].contains(&text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::{Environment, Sources, effective, read};

    #[test]
    fn no_password_is_shown_however_it_is_written() {
        for (url, expected) in [
            ("sqlite:referral.db", "sqlite:referral.db"),
            ("postgres://u@h/n", "postgres://u@h/n"),
            ("postgres://u:s3cr3t@h1:1,h2:2/n", "postgres://u:***@h1:1,h2:2/n"),
            ("postgres://u:s3cr3t/with@all?of@h/n", "postgres://***"),
            ("postgres://h/n?user=u&password=s3cr3t", "postgres://h/n?user=u&password=***"),
            ("postgres://h/n?user=u@x&sslmode=require", "postgres://h/n?user=u@x&sslmode=require"),
            ("host=h password=s3cr3t", "(hidden)"),
            ("s3:cr@3t://h", "(hidden)"),
            ("redis://s3cr3t@h", "redis://***@h"),
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), expected);
        }
    }

    #[test]
    fn reserved_characters_of_a_password_are_to_be_encoded() {
        for password in ["a@b", "a/b", "a?b", "a#b", "a%b", "@", "/", "12/b", "a?b=c", "a@b?user=c", "%4"] {
            assert!(is_ambiguous(&format!("postgres://u:{password}@h:1/n")), "{password}");
        }
        for url in [
            "postgres://u:p@h:5432/n",
            "postgres://u:p%40%2F@h1,h2/n?sslmode=require",
            "postgres://u:a:b@h/n",
            "postgres:///n?host=/run/postgresql&user=me@there",
            "postgres://u@h/n?options=-csearch_path%3Dref,public",
            "redis://:p@h/1",
            "redis://h",
        ] {
            assert!(!is_ambiguous(url), "{url}");
        }
    }

    proptest! {
        /// Three characters in a row of a password are in no message and in nothing that is printed.
        #[test]
        fn no_piece_of_a_password_is_told(password in "[@/:?#%&=XYZ]{3,16}") {
            let whole: Vec<char> = password.chars().collect();
            let pieces: Vec<String> = whole.windows(3).map(|part| part.iter().collect()).collect();
            // A row of delimiters may stand in any address.
            let pieces = pieces.into_iter().filter(|piece: &String| piece.contains(['X', 'Y', 'Z']));
            let pieces: Vec<String> = pieces.collect();
            for (name, value) in [
                ("DATABASE_URL", format!("postgres://u:{password}@127.0.0.1:1/n")),
                ("DATABASE_URL", format!("{password}@127.0.0.1:1/n")),
                ("REDIS_URL", format!("redis://:{password}@127.0.0.1:1/0")),
                ("HUNTER_URL", format!("https://u:{password}@api.example.com")),
                ("REFERRAL_PUBLIC_URL", format!("https://u:{password}@example.com")),
                ("REFERRAL_HTTP_CORS_ORIGINS", format!("https://u:{password}@example.com")),
                ("REFERRAL_PROVIDERS_CORP_ISSUER", format!("https://u:{password}@example.com")),
                ("REFERRAL_MASTER_KEY", password.clone()),
                ("REFERRAL_MASTER_KEY_FILE", format!("k{password}")),
                ("REFERRAL_MASTER_KEY_FILE", format!("/{password}")),
                ("HUNTER_API_KEY", password.clone()),
            ] {
                let environment: Environment = vec![(name.to_owned(), value.clone())];
                let reading = read(&Sources::of(None, &environment));
                let mut told: String = reading.faults.iter().map(|fault| fault.text.clone() + "\n").collect();
                told += &effective(&reading);
                told += &without_password(&value);
                for piece in &pieces {
                    prop_assert!(!told.contains(piece.as_str()), "{name}={value}: {told}");
                }
            }
        }
    }
}
