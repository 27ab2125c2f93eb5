//! What a node counts.

use axum::extract::State;

use super::app::TestApp;

/// What the listener for figures answers.
pub async fn figures(test: &TestApp) -> String {
    let Ok(answer) = referral::site::health::metrics(State(test.app().clone())).await else { panic!("no figures") };
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
    String::from_utf8(bytes.to_vec()).expect("a text")
}

/// The value of a sample, by its name with its labels.
#[track_caller]
pub fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {sample} in {text}"))
}
