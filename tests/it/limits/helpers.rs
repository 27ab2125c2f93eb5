//! A request from an address, and dates far away.

use reqwest::Method;

use crate::support::app::TestApp;
use crate::support::client::Answer;

pub const FAR: &str = "2099-01-01";

pub async fn validate(test: &TestApp, forwarded_for: &[&str]) -> Answer {
    let client = test.client();
    let mut request = client.request(Method::POST, "/api/v1/codes/validate").body(r#"{"code": "AMSEL2030XYZ"}"#);
    for line in forwarded_for {
        request = request.header("x-forwarded-for", *line);
    }
    client.send(request).await
}

/// A header that is a list of items with parameters (RFC 9651), as far as limits are told in it.
pub fn items(answer: &Answer, header: &str) -> Vec<(String, Vec<(String, u64)>)> {
    let item = |text: &str| {
        let mut parts = text.trim().split(';');
        let name = parts.next().and_then(|name| name.strip_prefix('"')?.strip_suffix('"')).expect("a string");
        let parameters = parts.map(|part| {
            let (key, value) = part.split_once('=').expect("a parameter");
            (key.to_owned(), value.parse().expect("a whole number"))
        });
        (name.to_owned(), parameters.collect())
    };
    answer.header(header).split(',').filter(|text| !text.is_empty()).map(item).collect()
}

/// The parameter of a policy in such a header.
pub fn parameter(answer: &Answer, header: &str, policy: &str, key: &str) -> u64 {
    let items = items(answer, header);
    let (_, parameters) = items.iter().find(|(name, _)| name == policy).expect("the policy");
    parameters.iter().find(|(name, _)| name == key).expect("the parameter").1
}
