//! The address that a link leads to on the host's landing page.

use url::Url;

use crate::kernel::parameters::Parameters;

/// Of what comes with a link, so much is passed on.
const MOST_PATH: usize = 1000;
const MOST_PASSED: usize = 10;
const MOST_NAME: usize = 32;
const MOST_VALUE: usize = 200;

/// The landing page, with the code or handle under the name that the operator chose, and what the link was opened with:
/// `utm_…`, and another path of the same origin as `to`. Nothing when the landing page is no address.
pub fn destination(landing: &str, invitation: Option<(&str, &str)>, opened: &Parameters) -> Option<String> {
    let mut url = Url::parse(landing).ok()?;
    let origin = url.origin();
    if let Some(path) = opened.first("to").and_then(path) {
        // Sets the path alone, whatever is in it.
        url.set_path(path);
    }
    let passed = opened.iter().filter(|(name, value)| is_passed_on(name, value)).take(MOST_PASSED);
    let added: Vec<(&str, &str)> = invitation.into_iter().chain(passed).collect();
    let clashes = |name: &str| added.iter().any(|(known, _)| *known == name);
    if url.query_pairs().any(|(name, _)| clashes(&name)) {
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(name, _)| !clashes(name))
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    if !added.is_empty() {
        url.query_pairs_mut().extend_pairs(added);
    }
    if url.query() == Some("") {
        url.set_query(None);
    }
    (url.origin() == origin).then(|| url.into())
}

/// A path to open on the landing page's origin. What could be read as another host, by a browser or by the host's own
/// router, is none.
fn path(to: &str) -> Option<&str> {
    let path = to.split(['?', '#']).next()?;
    let odd = |c: char| c == '\\' || c.is_control() || c.is_whitespace();
    let lower = path.to_ascii_lowercase();
    let hidden = ["%2f", "%5c", "%2e", "%0", "%1", "%7f"].iter().any(|escape| lower.contains(escape));
    // Some routers take what follows a semicolon for parameters of the part before it.
    let climbs = path.split('/').any(|part| matches!(part.split(';').next(), Some("." | "..")));
    let fits = path.starts_with('/')
        && path.len() <= MOST_PATH
        && !path.contains("//")
        && !path.contains(odd)
        && !hidden
        && !climbs;
    fits.then_some(path)
}

fn is_passed_on(name: &str, value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.starts_with("utm_")
        && name.len() <= MOST_NAME
        && name.bytes().all(plain)
        && value.len() <= MOST_VALUE
        && !value.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LANDING: &str = "https://shop.example:8443/join?from=friends";

    fn to(query: &str, invitation: Option<(&str, &str)>) -> String {
        destination(LANDING, invitation, &Parameters::parse(query.as_bytes())).unwrap()
    }

    #[test]
    fn the_code_goes_along_and_so_does_what_campaigns_are_known_by() {
        let code = Some(("ref", "SPRING2030AB"));
        assert_eq!(to("", code), format!("{LANDING}&ref=SPRING2030AB"));
        assert_eq!(to("", None), LANDING);
        let opened = "utm_source=mail&utm_medium=a%20b%26c&other=1&ref=EVIL&UTM_X=1&utm_source=second";
        let expected = "&ref=SPRING2030AB&utm_source=mail&utm_medium=a+b%26c&utm_source=second";
        assert_eq!(to(opened, code), format!("{LANDING}{expected}"));
        // What the landing page has of the same names gives way.
        let landing = "https://shop.example/?ref=old&a&utm_source=own&b=%2B";
        let opened = Parameters::parse(b"utm_source=mail");
        let expected = "https://shop.example/?a=&b=%2B&ref=NEW&utm_source=mail";
        assert_eq!(destination(landing, Some(("ref", "NEW")), &opened).unwrap(), expected);
        let long = format!("utm_a={}&utm_{}=1&utm_b=%0d%0aSet-Cookie:x", "x".repeat(201), "y".repeat(40));
        assert_eq!(to(&long, None), LANDING);
        let many = (0..20).map(|n| format!("utm_{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(to(&many, None).matches("utm_").count(), MOST_PASSED);
    }

    #[test]
    fn a_path_leads_to_another_page_of_the_same_origin() {
        let at = |path: &str| format!("https://shop.example:8443{path}?from=friends");
        for (query, path) in [
            ("to=/", "/"),
            ("to=/pricing", "/pricing"),
            ("to=/pricing/", "/pricing/"),
            ("to=/a%20b", "/join"),
            ("to=/%D0%BC%D0%B8%D1%80", "/%D0%BC%D0%B8%D1%80"),
            ("to=/a%2520b", "/a%20b"),
            ("to=/pricing?plan=1%23top", "/pricing"),
            ("to=/@evil.example", "/@evil.example"),
            ("to=/a:b;c", "/a:b;c"),
            ("to=pricing", "/join"),
            ("to=", "/join"),
        ] {
            assert_eq!(to(query, None), at(path), "{query}");
        }
        let long = format!("to=/{}", "a".repeat(1000));
        assert_eq!(to(&long, None), at("/join"));
    }

    #[test]
    fn what_could_be_read_as_another_host_is_no_path() {
        for hostile in [
            "//evil.example",
            "/a//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/..//evil.example",
            "/a/../b",
            "/a/..;/b",
            "/a/.;x=1/b",
            "/./a",
            "/%2fevil.example",
            "/%5Cevil.example",
            "/%2e%2e/a",
            "/\tevil",
            "/\u{a0}evil",
            "/a\r\nSet-Cookie: a=b",
            "/%0d%0aSet-Cookie:a=b",
            "https://evil.example",
            "javascript:alert(1)",
            "",
        ] {
            assert_eq!(path(hostile), None, "{hostile:?}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_the_landing_pages_origin(value in "[/\\\\.:@?#%a-z0-9 \\PC]{0,30}", utm in "\\PC{0,30}") {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("to", &value).append_pair("utm_source", &utm);
            let led = to(&query.finish(), Some(("ref", "SPRING2030AB")));
            prop_assert!(led.starts_with("https://shop.example:8443/"), "{}", led);
            prop_assert!(!led.starts_with("https://shop.example:8443//"), "{}", led);
            prop_assert!(led.bytes().all(|byte| byte.is_ascii_graphic()), "{}", led);
        }
    }
}
