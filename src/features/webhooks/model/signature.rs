//! Signatures of messages, as Standard Webhooks has them: HMAC-SHA-256 of id, time and body.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a secret begins with where it is told.
const PREFIX: &str = "whsec_";

/// A secret as it is told, once.
pub fn told(secret: &[u8]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(secret))
}

/// The header's value: a signature by each secret, with a space between.
pub fn sign(secrets: &[Vec<u8>], id: &str, seconds: i64, body: &str) -> String {
    let text = format!("{id}.{seconds}.{body}");
    let signature = |secret: &Vec<u8>| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("v1,{}", STANDARD.encode(hmac::sign(&key, text.as_bytes())))
    };
    secrets.iter().map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That of the specification's libraries.
    #[test]
    fn the_published_vector_comes_out() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(told(&secret), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed = sign(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn each_secret_has_a_signature_of_its_own() {
        let both = sign(&[vec![1; 32], vec![2; 32]], "id", 5, "{}");
        let each = [vec![1; 32], vec![2; 32]].map(|secret| sign(&[secret], "id", 5, "{}"));
        assert_eq!(both, each.join(" "));
        assert_ne!(each[0], each[1]);
        for (id, seconds, body) in [("ie", 5, "{}"), ("id", 6, "{}"), ("id", 5, "[]")] {
            assert_ne!(sign(&[vec![1; 32]], id, seconds, body), each[0]);
        }
    }
}
