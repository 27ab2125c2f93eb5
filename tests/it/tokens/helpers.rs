//! Whose tokens they are, and for how long.

use std::time::Duration;

/// As `REFERRAL_PUBLIC_URL` is in the tests.
pub const ISSUER: &str = "http://referral.test";
pub const MINUTE: Duration = Duration::from_secs(60);
