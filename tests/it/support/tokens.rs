//! What is in a token, and rounds that have to be over in time.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// For which the token replaced last gets its successor once more.
pub const GRACE: Duration = Duration::from_secs(10);

/// Header and claims of a token, unverified.
pub fn opened(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let mut next = || serde_json::from_slice(&parts.next().expect("a part")).expect("JSON");
    (next(), next())
}

/// Bytes that a query has given as hexadecimal digits.
pub fn bytes(column: &Option<String>) -> Vec<u8> {
    let text = column.as_deref().unwrap_or_default();
    let digits: Vec<u8> = text
        .trim_start_matches("\\x")
        .chars()
        .map_while(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// What came of a round that took less than the grace. It is time on a clock that nobody can stop: a round that a busy
/// machine drew out longer proves nothing, and is played again.
pub async fn in_time<T>(round: impl AsyncFn() -> T) -> T {
    loop {
        let began = Instant::now();
        let outcome = round().await;
        if began.elapsed() < GRACE {
            return outcome;
        }
    }
}
