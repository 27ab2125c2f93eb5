//! Whether a client would rather have a page or JSON.

use axum::http::HeaderValue;

use crate::web::views::language::thousandths;

/// Entries that are looked at: no browser sends more.
const MOST_RANGES: usize = 64;

/// Whether `Accept` likes a page better than JSON (RFC 9110, 12.5.1). Who likes both alike, or says nothing, is a program.
pub fn prefers_page(accept: &[HeaderValue]) -> bool {
    let values = accept.iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(String, u16)> =
        values.flat_map(|value| value.split(',')).take(MOST_RANGES).filter_map(range).collect();
    let json = weight(&ranges, "application", "problem+json").max(weight(&ranges, "application", "json"));
    weight(&ranges, "text", "html") > json
}

/// How much a type is liked: the range that names it most exactly decides.
fn weight(ranges: &[(String, u16)], kind: &str, subtype: &str) -> u16 {
    let of = |range: &str| ranges.iter().filter(|(known, _)| known == range).map(|(_, weight)| *weight).max();
    let exact = of(&format!("{kind}/{subtype}"));
    exact.or_else(|| of(&format!("{kind}/*"))).or_else(|| of("*/*")).unwrap_or(0)
}

/// A range without its parameters, and how much it is liked, in thousandths. An entry that is none counts for nothing.
fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?.to_ascii_lowercase();
    let named =
        |(name, value): (&str, &str)| name.trim_end().eq_ignore_ascii_case("q").then(|| value.trim().to_owned());
    match parts.filter_map(|part| part.split_once('=')).find_map(named) {
        Some(value) => Some((range, thousandths(&value)?)),
        None => Some((range, 1000)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks_for_page(accept: &[&str]) -> bool {
        let values: Vec<_> = accept.iter().map(|value| HeaderValue::from_str(value).unwrap()).collect();
        prefers_page(&values)
    }

    #[test]
    fn browsers_get_pages() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8",
            "text/html, application/xhtml+xml, image/jxr, */*;q=0.7",
            "text/html",
            "TEXT/HTML",
            "text/*",
            "text/html;charset=utf-8",
            "text/html;q=0.001",
            "text/html;q=0.9, application/json;q=0.8",
            "text/html;level=1;q=0.9, application/json;q=0.8",
            "application/*;q=0.5, text/*;q=0.6",
            "*/*, application/json;q=0.5, application/problem+json;q=0.5",
        ] {
            assert!(asks_for_page(&[accept]), "{accept}");
        }
        assert!(asks_for_page(&["application/json;q=0.5", "text/html"]));
    }

    #[test]
    fn programs_get_json() {
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/problem+json",
            "application/json, text/plain, */*",
            "text/html, application/json",
            "text/html, */*",
            "text/html;q=0",
            "text/html;q=0, */*",
            "text/html;q=0.8, application/problem+json",
            "text/html;q=2",
            "text/html;q=",
            "text/*;q=0.9, application/*",
            "text/plain",
            "image/png",
            "html",
            ";,;q=1,/",
        ] {
            assert!(!asks_for_page(&[accept]), "{accept}");
        }
        assert!(!asks_for_page(&[]));
        assert!(!asks_for_page(&["text/html", "application/json"]));
    }

    proptest! {
        #[test]
        fn any_text_is_some_wish(accept in "[ -~]*") {
            asks_for_page(&[&accept]);
        }

        #[test]
        fn weights_decide(html in 0u16..=1000, json in 0u16..=1000) {
            let q = |q: u16| format!("{}.{:03}", q / 1000, q % 1000);
            let accept = format!("application/json;q={}, text/html;q={}", q(json), q(html));
            prop_assert_eq!(asks_for_page(&[&accept]), html > json, "{}", accept);
        }
    }
}
