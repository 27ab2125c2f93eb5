//! The parameters of `DATABASE_URL`: each that is not understood is named, with what to write instead.

use std::str::FromStr;

use tokio_postgres::Config;

/// What our TLS and the driver understand.
const KNOWN: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// The names that other programs have for what is done here in another way.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["pgbouncer"], "leave it out, a pooler is noticed by itself"),
    (
        &["schema", "search_path", "searchpath", "currentschema"],
        "write options=-c%20search_path%3DNAME, or give the role a search_path of its own",
    ),
    (&["sslcert", "sslkey", "sslpassword"], "client certificates are not supported, use a password"),
    (&["ssl", "tls", "sslaccept"], "write sslmode=require or sslmode=verify-full"),
    (
        &["connection_limit", "pool_size", "max_pool_size", "pool_max_conns", "pool"],
        "leave it out and set database.connections",
    ),
    (
        &["statement_cache_size", "statement_cache_capacity", "prepared_statements", "preparethreshold"],
        "leave it out and set database.prepared_statements",
    ),
    (&["pool_timeout", "socket_timeout", "statement_timeout"], "leave it out, each has its limit here"),
];

/// The error is a sentence with a remedy; it names parameters and quotes no values.
pub fn check(url: &str) -> Result<(), String> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let mut wrong = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        if !KNOWN.contains(&name) {
            let lower = name.to_ascii_lowercase();
            let remedy = ELSEWHERE.iter().find(|(names, _)| names.contains(&lower.as_str()));
            let near = || KNOWN.iter().find(|known| strsim::osa_distance(known, &lower) <= 2);
            wrong.push(match remedy {
                Some((_, remedy)) => format!("{name}: {remedy}"),
                None => match near() {
                    Some(near) => format!("{name}: did you mean {near}?"),
                    None => format!("{name}: leave it out"),
                },
            });
        } else if !name.starts_with("ssl") && Config::from_str(&format!("postgres://h/n?{pair}")).is_err() {
            wrong.push(format!("{name}: its value is not understood"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let count = if wrong.len() == 1 { "a parameter" } else { "parameters" };
    Err(format!("DATABASE_URL has {count} that Referral does not take: {}", wrong.join("; ")))
}

/// An address without its password, and the password: for programs whose arguments everybody can see.
pub(in crate::db) fn without_password(url: &str) -> (String, Option<Vec<u8>>) {
    let password = Config::from_str(url).ok().and_then(|config| config.get_password().map(<[u8]>::to_vec));
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").unwrap_or(("postgres", base));
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("password=")).collect();
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    (format!("{scheme}://{rest}{query}"), password)
}

#[cfg(test)]
mod tests {
    use super::{check, without_password};

    #[test]
    fn no_program_is_told_a_password_where_others_see_it() {
        for (url, told, password) in [
            ("postgres://u:s%40x@h1:1,h2/n?sslmode=require", "postgres://u@h1:1,h2/n?sslmode=require", Some("s@x")),
            ("postgres://h/n?user=u&password=s3cr3t", "postgres://h/n?user=u", Some("s3cr3t")),
            ("postgres://u@h/n", "postgres://u@h/n", None),
        ] {
            let password = password.map(|text| text.as_bytes().to_vec());
            assert_eq!(without_password(url), (told.to_owned(), password), "{url}");
        }
    }

    #[test]
    fn parameters_of_other_programs_are_named_with_a_remedy() {
        for (query, parts) in [
            ("pgbouncer=true", &["pgbouncer", "pooler"][..]),
            ("sslmode=require&schema=app", &["schema", "options=-c%20search_path"]),
            ("sslcert=a.pem&sslkey=s3cr3t", &["sslcert", "sslkey", "client certificates"]),
            ("connection_limit=5", &["connection_limit", "database.connections"]),
            ("sslmod=require", &["did you mean sslmode?"]),
            ("connect_timeout=s3cr3t", &["connect_timeout", "not understood"]),
            ("target_session_attrs=s3cr3t", &["target_session_attrs"]),
            ("nonsense", &["nonsense"]),
        ] {
            let told = check(&format!("postgres://u:s3cr3t@h/n?{query}")).expect_err(query);
            for part in parts {
                assert!(told.contains(part), "{query}: {told}");
            }
            assert!(!told.contains("s3cr3t"), "{told}");
        }
        for query in ["", "?", "?sslmode=verify-full&sslrootcert=/ca.pem", "?options=-c%20search_path%3Dapp&port=5433"]
        {
            assert_eq!(check(&format!("postgres://u:p@h/n{query}")), Ok(()), "{query}");
        }
    }
}
