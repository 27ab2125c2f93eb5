//! Swagger UI, ReDoc, the document itself and a page for each kind of problem: all from the binary.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY,
};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::read::GzDecoder;
use utoipa::openapi::OpenApi;

use crate::app::App;
use crate::kernel::error::Refusal;
use crate::web::extract::PathText;
use crate::web::problem::{self, Problem};

const SWAGGER_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
/// The hashes are explained in `assets/README.md`.
const REDOC_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
     'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; \
     img-src 'self' data:; connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
const ASSET_POLICY: &str =
    "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// A file of the documentation pages.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    gzipped: bool,
    /// Unpacked by the first who takes no gzip.
    plain: OnceLock<Bytes>,
}

impl Asset {
    fn plain(&self) -> Bytes {
        let unpack = || {
            let mut plain = Vec::new();
            // What is compiled in is whole.
            let _ = GzDecoder::new(self.bytes).read_to_end(&mut plain);
            Bytes::from(plain)
        };
        self.plain.get_or_init(unpack).clone()
    }
}

macro_rules! assets {
    ($($name:literal $kind:ident $file:literal;)*) => {
        [$(Asset {
            name: $name,
            kind: $kind,
            bytes: include_bytes!(concat!("assets/", $file)),
            gzipped: $file.len() != $name.len(),
            plain: OnceLock::new(),
        }),*]
    };
}

const SVG: &str = "image/svg+xml";

/// Those that are large are kept compressed: their file has a longer name.
static ASSETS: [Asset; 11] = assets! {
    "swagger-ui.css" STYLE "swagger-ui.css.gz";
    "swagger-ui-bundle.js" SCRIPT "swagger-ui-bundle.js.gz";
    "redoc.standalone.js" SCRIPT "redoc.standalone.js.gz";
    "oauth2-redirect.js" SCRIPT "oauth2-redirect.js.gz";
    "oauth2-redirect.html" HTML "oauth2-redirect.html";
    "docs.css" STYLE "docs.css";
    "docs.js" SCRIPT "docs.js";
    "redoc-init.js" SCRIPT "redoc-init.js";
    "page.css" STYLE "page.css";
    "auth.css" STYLE "auth.css";
    "favicon.svg" SVG "favicon.svg";
};

pub fn router(document: OpenApi) -> Router<Arc<App>> {
    let json = Bytes::from(document.to_json().unwrap_or_default());
    Router::new()
        .route("/docs", get(|| async { page(include_str!("assets/docs.html"), SWAGGER_POLICY) }))
        .route("/redoc", get(|| async { page(include_str!("assets/redoc.html"), REDOC_POLICY) }))
        .route("/openapi.json", get(move || async move { ([(CONTENT_TYPE, "application/json")], json) }))
        .route("/docs/assets/{name}", get(asset))
        .route("/problems", get(problems))
        .route("/problems/{word}", get(problem))
}

fn page(html: impl IntoResponse, policy: &'static str) -> Response {
    let headers = [(CONTENT_TYPE, HTML), (CONTENT_SECURITY_POLICY, policy), (CACHE_CONTROL, "no-cache")];
    (headers, html).into_response()
}

async fn asset(PathText(name): PathText, request: HeaderMap) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(Refusal::NotFound)?;
    let gzip =
        request.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains("gzip"));
    let mut response = if asset.gzipped && !gzip { asset.plain().into_response() } else { asset.bytes.into_response() };
    let headers = response.headers_mut();
    if asset.gzipped {
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(ASSET_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Ok(response)
}

async fn problems() -> Response {
    let rows: String = Refusal::ALL
        .iter()
        .map(|refusal| {
            let (word, status) = (refusal.word(), problem::status(*refusal).as_u16());
            let sentence = escape(refusal.sentence());
            format!(
                "<li><span>{status}</span> <a href=\"/problems/{word}\">{word}</a> <span class=\"dim\">{sentence}</span></li>"
            )
        })
        .collect();
    let body = format!(
        "<h1>Problems</h1><p>What this service answers when it refuses a request, by the <code>code</code> of the \
         answer.</p><ul class=\"problems\">{rows}</ul><footer><a href=\"/docs\">The API</a></footer>"
    );
    page(html("Problems", &body), PAGE_POLICY)
}

async fn problem(PathText(word): PathText) -> Result<Response, Problem> {
    let refusal = Refusal::ALL.iter().find(|refusal| refusal.word() == word).ok_or(Refusal::NotFound)?;
    let status = problem::status(*refusal);
    let body = format!(
        "<h1>{}</h1><p class=\"dim\">Status {status}, code <code>{word}</code></p><p>{}</p>\
         <footer><a href=\"/problems\">All problems</a> · <a href=\"/docs\">The API</a></footer>",
        escape(refusal.sentence()),
        explained(problem::explanation(*refusal)),
    );
    Ok(page(html(refusal.sentence(), &body), PAGE_POLICY))
}

fn html(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{}</title><link rel=\"icon\" type=\"image/svg+xml\" \
         href=\"/docs/assets/favicon.svg\"><link rel=\"stylesheet\" href=\"/docs/assets/page.css\"></head>\
         <body><main>{body}</main></body></html>",
        escape(title)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escaped, with what stands between back ticks as code.
fn explained(text: &str) -> String {
    let parts = escape(text);
    let mut pieces = parts.split('`');
    let mut out = pieces.next().unwrap_or_default().to_owned();
    while let (Some(code), rest) = (pieces.next(), pieces.next()) {
        out.push_str(&format!("<code>{code}</code>{}", rest.unwrap_or_default()));
    }
    out
}
