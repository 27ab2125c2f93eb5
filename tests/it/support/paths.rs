//! Addresses that many tests ask.

pub const TOKEN: &str = "/api/v1/auth/token";
pub const USER: &str = "/api/v1/auth/user";
pub const ME: &str = "/api/v1/me";
pub const KEYS: &str = "/.well-known/jwks.json";
pub const CODES: &str = "/api/v1/codes";
pub const VALIDATE: &str = "/api/v1/codes/validate";
pub const LOG_OUT: &str = "/api/v1/auth/logout";
