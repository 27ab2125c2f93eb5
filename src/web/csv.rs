//! Lists as files (RFC 4180), which spreadsheets open: read and sent part by part, however long they are.

use std::io;

use axum::body::Body;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use utoipa::IntoParams;

use crate::kernel::error::{Error, Result};

/// How a file is to be.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what the handlers read")]
pub struct FileQuery {
    /// Begin with a byte order mark, by which Excel knows UTF-8.
    #[param(default = false, example = false, required = false)]
    excel: bool,
}

/// A text as a spreadsheet may show it: one that would be taken for a formula gets an apostrophe before it. Blanks at
/// its beginning hide nothing. In many languages a spreadsheet divides lines at semicolons, and then our quotes hide no
/// end of a cell: so what follows something that may be one is looked at likewise. For texts only: a number keeps its
/// sign.
pub fn safe_cell(text: &str) -> String {
    let formula = |c: char| matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r');
    let is_one = |text: &str| {
        let first = text.chars().find(|c| formula(*c) || !(c.is_whitespace() || c.is_control()));
        first.is_some_and(formula)
    };
    let mut safe = String::from(if is_one(text) { "'" } else { "" });
    for (at, part) in text.split_inclusive([';', '\t', '\r', '\n']).enumerate() {
        // Of doubled quotes a spreadsheet takes some away.
        let seen = part.trim_start_matches(|c: char| c == '"' || c.is_whitespace());
        if at > 0 && is_one(seen) {
            safe.push('\'');
        }
        safe.push_str(part);
    }
    safe
}

/// Lines as RFC 4180 has them.
pub fn written(lines: impl Iterator<Item = Vec<String>>) -> Result<Bytes> {
    let broken = |error: &dyn std::fmt::Display| Error::Internal(format!("cannot write a line: {error}"));
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for line in lines {
        writer.write_record(&line).map_err(|error| broken(&error))?;
    }
    writer.into_inner().map(Bytes::from).map_err(|error| broken(&error))
}

/// A file that is read part by part, as its receiver takes it: the next part is read when the one before is sent.
pub fn file<K, F>(
    name: &'static str,
    excel: bool,
    heading: &[&str],
    first: K,
    part: impl Fn(K) -> F + Clone + Send + 'static,
) -> Result<Response>
where
    K: Send + 'static,
    F: Future<Output = Result<(Bytes, Option<K>)>> + Send,
{
    let mut begin = if excel { b"\xEF\xBB\xBF".to_vec() } else { Vec::new() };
    begin.extend(written(std::iter::once(heading.iter().map(|cell| (*cell).to_owned()).collect()))?);
    let parts = stream::unfold((Some(Bytes::from(begin)), Some(first)), move |(begin, behind)| {
        let part = part.clone();
        async move {
            if let Some(begin) = begin {
                return Some((Ok(begin), (None, behind)));
            }
            match part(behind?).await {
                Ok((_, None)) => None,
                Ok((lines, next)) => Some((Ok(lines), (None, next))),
                Err(error) => {
                    // What was sent cannot be taken back: the receiver sees that the end is missing.
                    tracing::warn!(%error, file = name, "a list could not be read to its end");
                    Some((Err(io::Error::other("the list could not be read to its end")), (None, None)))
                }
            }
        }
    });
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present".to_owned()),
        (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(parts)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_take_for_a_formula_is_a_text() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\u{a0}\u{3000}=1", "\t", "  \rx", "\0=1"] {
            assert_eq!(safe_cell(formula), format!("'{formula}"));
        }
        // Where lines are divided at semicolons, each part may be a cell.
        for (text, safe) in [
            ("\n-2+3", "'\n'-2+3"),
            ("\t=1", "'\t'=1"),
            ("\r=1", "'\r'=1"),
            ("olga;=1+1", "olga;'=1+1"),
            ("olga; \"=1\";@x", "olga;' \"=1\";'@x"),
            ("olga\n+1;2", "olga\n'+1;2"),
            ("=1;-2", "'=1;'-2"),
        ] {
            assert_eq!(safe_cell(text), safe);
        }
        for text in
            ["", " ", "olga", "a=1", "olga@example.com", "'=1", "1-2", " a\t", "a;b;", "a\n b", "ольга", "\u{ff1d}1"]
        {
            assert_eq!(safe_cell(text), text);
        }
    }
}
