//! The yardstick for requests that need no database: plain hyper, which verifies an HS256 token and answers with
//! a constant. No routing, no headers of its own, no cache of tokens.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";
const AUDIENCE: &str = "http://referral.bench";

/// A token with the claims that the service's have.
pub fn token() -> Result<String, String> {
    let claims = serde_json::json!({
        "iss": AUDIENCE, "aud": AUDIENCE, "sub": "0198f0c7-1a2b-7c3d-8e4f-5a6b7c8d9e0f", "client_id": "referral",
        "sid": "0198f0c7-1a2b-7c3d-8e4f-5a6b7c8d9e0f", "jti": "0198f0c7-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
        "iat": 1_700_000_000, "exp": 4_000_000_000_u64, "scope": "all",
    });
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET))
        .map_err(|error| format!("cannot make a token: {error}"))
}

/// All processors, as the service has them.
pub fn runtime() -> Result<Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start a runtime: {error}"))
}

/// Serves a body of so many bytes.
pub fn run(length: usize) -> Result<(), String> {
    let fault = |error: std::io::Error| format!("cannot listen: {error}");
    runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(fault)?;
        println!("bare hyper listens on http://{}", listener.local_addr().map_err(fault)?);
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[AUDIENCE]);
        let known = Arc::new((DecodingKey::from_secret(SECRET), validation, Bytes::from(vec![b'x'; length])));
        loop {
            let (stream, _) = listener.accept().await.map_err(fault)?;
            let _ = stream.set_nodelay(true);
            let known = known.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let known = known.clone();
                    async move { Ok::<_, Infallible>(answer(&request, &known.0, &known.1, &known.2)) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

fn answer<B>(request: &Request<B>, key: &DecodingKey, validation: &Validation, body: &Bytes) -> Response<Full<Bytes>> {
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer "));
    let good = token.is_some_and(|token| decode::<serde_json::Value>(token, key, validation).is_ok());
    let mut response = Response::new(Full::new(if good { body.clone() } else { Bytes::new() }));
    if !good {
        *response.status_mut() = StatusCode::UNAUTHORIZED;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
