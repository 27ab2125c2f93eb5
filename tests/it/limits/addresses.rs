//! Which address a request is counted for.

use reqwest::Method;

use super::helpers::validate;
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::spending::spend;

on_every_setup!(a_client_is_who_the_connection_comes_from_unless_a_trusted_proxy_says_otherwise);
async fn a_client_is_who_the_connection_comes_from_unless_a_trusted_proxy_says_otherwise(setup: Setup) {
    let limits = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2")];
    let test = setup.start_with(&limits).await;
    // Nobody is trusted: whatever they claim, all come from here.
    spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}")]).await).await;

    let proxied = [&limits[..], &[("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1")]].concat();
    let test = setup.start_with(&proxied).await;
    for client in 0..5 {
        validate(&test, &[&format!("198.51.100.{client}")]).await.expect(200);
    }
    // What stands left of the address that the proxy has added is the client's own invention.
    let forged = |turn: usize| match turn % 4 {
        0 => "203.0.113.1".to_owned(),
        1 => format!("198.51.100.{turn}, 203.0.113.1"),
        2 => format!("127.0.0.1, 10.0.0.{turn}, 203.0.113.1"),
        _ => format!("198.51.100.{turn}, 203.0.113.1, 127.0.0.1"),
    };
    spend(2, async |turn| validate(&test, &[&forged(turn)]).await).await;
    // Also when the proxy adds a line of its own.
    spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}"), "203.0.113.2"]).await).await;
    // Who has one IPv6 address has its network of 64 bits.
    spend(2, async |turn| validate(&test, &[&format!("2001:db8::{turn}")]).await).await;
    validate(&test, &["2001:db8:0:1::1"]).await.expect(200);
    validate(&test, &[]).await.expect(200);
}

on_every_setup!(an_address_left_of_an_unreadable_one_is_not_believed);
/// A proxy may add what is no address (`unknown`, one with a port): then what the client wrote before it is not
/// believed in its stead.
async fn an_address_left_of_an_unreadable_one_is_not_believed(setup: Setup) {
    let settings = [
        ("REFERRAL_LIMITS", "on"),
        ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2"),
        ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let test = setup.start_with(&settings).await;
    spend(2, async |turn| validate(&test, &[&format!("198.51.100.{turn}, unknown")]).await).await;
}

on_every_setup!(bytes_that_are_no_text_take_nothing_from_what_the_proxy_says);
/// What is on the right of it was written by the proxy, and counts.
async fn bytes_that_are_no_text_take_nothing_from_what_the_proxy_says(setup: Setup) {
    let settings = [
        ("REFERRAL_LIMITS", "on"),
        ("REFERRAL_LIMITS_VALIDATIONS_PER_ADDRESS", "2"),
        ("REFERRAL_LIMITS_TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let test = setup.start_with(&settings).await;
    let ask = async |before: &str, client: &str| {
        let said = [before.as_bytes(), b"\xff\xfe, ", client.as_bytes()].concat();
        let said = reqwest::header::HeaderValue::from_bytes(&said).expect("a value that may be sent");
        let asker = test.client();
        let request = asker.request(Method::POST, "/api/v1/codes/validate").header("x-forwarded-for", said);
        asker.send(request.body(r#"{"code": "AMSEL2030XYZ"}"#)).await
    };
    spend(2, async |turn| ask(&format!("198.51.100.{turn}, "), "203.0.113.1").await).await;
    // Others have not paid for it, the proxy itself neither.
    ask("", "203.0.113.2").await.expect(200);
    validate(&test, &[]).await.expect(200);
}
