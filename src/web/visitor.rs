//! Who looks at our own pages: a browser with a cookie. And the forms it sends back.

use std::sync::Arc;

use aws_lc_rs::hmac;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{ACCEPT_LANGUAGE, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::actor::anonymous;
use super::extract::Form;
use super::problem::Problem;
use super::views::language::Language;
use super::views::words::Words;
use crate::app::App;
use crate::kernel::actor::Actor;
use crate::kernel::digest::VisitorHash;
use crate::kernel::error::Result;
use crate::kernel::parameters::Parameters;

/// Browsers take a cookie of this name only from this host, for all of it, over TLS.
const SECURE_NAME: &str = "__Host-referral";
/// Without TLS, as on the own machine, there is no such protection to be had.
const PLAIN_NAME: &str = "referral";

/// A browser, told from others by its cookie, logged in or not.
pub struct Visitor {
    /// Who sends this, as far as it is known without a log-in.
    pub actor: Actor,
    secret: [u8; 32],
    /// Whether the browser has sent no cookie of ours.
    new: bool,
    /// Whether it may have one all the same: with forms of other sites browsers send none.
    withheld: bool,
    accept_language: Option<String>,
}

impl FromRequestParts<Arc<App>> for Visitor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let known = cookie(&parts.headers, name(app));
        let new = known.is_none();
        let secret = match known {
            Some(secret) => secret,
            None => app.random()?,
        };
        let withheld = parts.method == Method::POST
            && parts.headers.get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site");
        let language = parts.headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        let language = language.map(str::to_owned);
        Ok(Self { actor: anonymous(parts), secret, new, withheld, accept_language: language })
    }
}

fn name(app: &App) -> &'static str {
    if app.is_behind_tls() { SECURE_NAME } else { PLAIN_NAME }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<[u8; 32]> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(known, _)| *known == name)?;
    URL_SAFE_NO_PAD.decode(value).ok()?.try_into().ok()
}

impl Visitor {
    /// Whether the browser has sent no cookie of ours, so that nobody can be logged in.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// By which the database knows the browser.
    pub fn hash(&self) -> VisitorHash {
        VisitorHash::of(self.secret)
    }

    /// What our forms carry to show that they are ours and were made for this browser.
    pub fn csrf(&self) -> String {
        URL_SAFE_NO_PAD.encode(mac(&self.secret))
    }

    /// Whether a form was made for this browser.
    fn has_sent(&self, csrf: &str) -> bool {
        let sent = URL_SAFE_NO_PAD.decode(csrf).unwrap_or_default();
        !self.new && mac(&self.secret).ct_eq(&sent).into()
    }

    /// The browser under another cookie, for who has just logged in or out: what was known before is worth nothing.
    pub fn renewed(&self, app: &App) -> Result<Self> {
        let accept_language = self.accept_language.clone();
        Ok(Self { actor: self.actor, secret: app.random()?, new: true, withheld: false, accept_language })
    }

    pub fn words(&self, ui_locales: Option<&str>) -> &'static Words {
        Language::of(self.accept_language.as_deref(), ui_locales).words()
    }

    /// The language to write to somebody in.
    pub fn language(&self) -> Language {
        Language::of(self.accept_language.as_deref(), None)
    }

    /// Gives the browser its cookie, if it has none.
    pub fn remember(&self, app: &App, headers: &mut HeaderMap) {
        if !self.new || self.withheld {
            return;
        }
        let secure = if app.is_behind_tls() { "; Secure" } else { "" };
        let value = URL_SAFE_NO_PAD.encode(self.secret);
        let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}", name(app));
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            headers.insert(SET_COOKIE, cookie);
        }
    }
}

/// A form of our pages. Any site can have a browser send one: what it says counts once it is known to be made for this
/// browser.
pub struct ProtectedForm(Parameters);

impl FromRequest<Arc<App>> for ProtectedForm {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        Form::from_request(request, app).await.map(|Form(fields)| Self(fields))
    }
}

impl ProtectedForm {
    /// The fields, if the form was made for this browser.
    pub fn verified(&self, visitor: &Visitor) -> Option<&Parameters> {
        visitor.has_sent(self.0.first("csrf").unwrap_or_default()).then_some(&self.0)
    }

    /// The fields, whoever has sent them: good for showing them again, and for nothing else.
    pub fn unverified(&self) -> &Parameters {
        &self.0
    }
}

fn mac(secret: &[u8; 32]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    hmac::sign(&key, b"referral form").as_ref().to_vec()
}
