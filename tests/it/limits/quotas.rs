//! What answers tell of limits (draft-ietf-httpapi-ratelimit-headers-11).

use reqwest::Method;
use serde_json::json;

use super::helpers::{items, parameter};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Answer, PASSWORD};
use crate::support::paths::{CODES, ME};
use crate::support::spending::spend_from;

const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit";

fn names(answer: &Answer, header: &str) -> Vec<String> {
    items(answer, header).into_iter().map(|(name, _)| name).collect()
}

on_every_setup!(answers_of_limited_operations_tell_what_is_left_and_no_others_do);
async fn answers_of_limited_operations_tell_what_is_left_and_no_others_do(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_WRITES_PER_USER", "4")];
    let test = setup.start_with(&settings).await;
    let user = test.user("user").await;
    let answer = user.log_in("user", PASSWORD).await.expect(200);
    assert_eq!(answer.header(POLICY), "\"login-address\";q=30;w=60, \"login\";q=5;w=60");
    assert_eq!(names(&answer, LIMIT), ["login-address", "login"]);
    // Two of five are used, or as good as none when the machine is slow.
    assert!((3..5).contains(&parameter(&answer, LIMIT, "login", "r")), "{answer:?}");
    assert!((1..=12).contains(&parameter(&answer, LIMIT, "login", "t")), "{answer:?}");
    // Refused for another reason, it was counted all the same.
    let refused = user.log_in("nobody", PASSWORD).await.expect(401);
    assert_eq!(parameter(&refused, LIMIT, "login", "r"), 4);
    let written = user.patch(ME, &json!({"discoverable": false})).await.expect(200);
    assert_eq!(written.header(POLICY), "\"write\";q=4;w=60");
    assert_eq!((parameter(&written, LIMIT, "write", "r"), written.headers.contains_key("retry-after")), (3, false));
    let read = user.get(ME).await.expect(200);
    assert!(!read.headers.contains_key(POLICY) && !read.headers.contains_key(LIMIT), "{read:?}");
    // A page is no operation.
    let page = test.client().request(Method::GET, "/oauth/authorize").send().await.expect("a page");
    assert!(!page.headers().contains_key(LIMIT), "{page:?}");

    let unlimited = setup.start().await;
    let answer = unlimited.client().log_in("nobody", PASSWORD).await.expect(401);
    assert!(!answer.headers.contains_key(POLICY) && !answer.headers.contains_key(LIMIT), "{answer:?}");
}

on_every_setup!(who_is_refused_hears_by_which_policy_and_waits_long_enough);
async fn who_is_refused_hears_by_which_policy_and_waits_long_enough(setup: Setup) {
    let test = setup.start_with(&[("REFERRAL_LIMITS", "on")]).await;
    let user = test.user("user").await;
    let refused = spend_from(1, 5, async |_| user.log_in("user", "not the password").await).await;
    assert_eq!(refused.json()["violated-policies"], json!(["login"]));
    assert_eq!(names(&refused, POLICY), ["login-address", "login"]);
    assert_eq!(names(&refused, LIMIT), ["login"]);
    assert_eq!(parameter(&refused, LIMIT, "login", "r"), 0);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!(wait >= parameter(&refused, LIMIT, "login", "t"), "{refused:?}");
    // What is refused for another reason violates none.
    let other = user.log_in("nobody", PASSWORD).await.expect_problem(401, "bad_credentials");
    assert!(other.json().get("violated-policies").is_none(), "{other:?}");
}

on_every_setup!(who_has_made_the_codes_of_a_day_hears_by_which_policy_too);
async fn who_has_made_the_codes_of_a_day_hears_by_which_policy_too(setup: Setup) {
    let settings = [("REFERRAL_LIMITS", "on"), ("REFERRAL_LIMITS_CODES_PER_USER_AND_DAY", "2")];
    let test = setup.start_with(&settings).await;
    let user = test.user("user").await;
    let make = async || user.post(&format!("{CODES}?replace=true"), &json!({"expires_at": "2099-01-01"})).await;
    for _ in 0..2 {
        let made = make().await.expect(201);
        assert_eq!(names(&made, POLICY), ["write"]);
    }
    let refused = make().await.expect_problem(429, "rate_limited");
    assert_eq!(refused.json()["violated-policies"], json!(["code"]));
    assert!(refused.header(POLICY).ends_with("\"code\";q=2;w=86400"), "{refused:?}");
    assert_eq!(names(&refused, LIMIT), ["code"]);
    assert_eq!(parameter(&refused, LIMIT, "code", "r"), 0);
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    let told = parameter(&refused, LIMIT, "code", "t");
    assert!(wait >= told && (86_000..=86_400).contains(&told), "{refused:?}");
}
