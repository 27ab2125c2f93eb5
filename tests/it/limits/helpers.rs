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
