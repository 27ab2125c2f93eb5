//! Who looks at a page, and where they go on to: what handlers of pages and their answers need.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::client_address::ClientAddress;
use super::pages::{self, HOME, request_on, safe_next};
use super::problem::Problem;
use super::views::words::Words;
use super::views::{Message, NextStep, View};
use super::visitor::Visitor;
use crate::app::App;
use crate::kernel::actor::Actor;
use crate::kernel::error::Result;

/// A browser that has asked for a page, or sent a form.
pub struct Browser {
    pub app: Arc<App>,
    pub visitor: Visitor,
    /// Where the request comes from.
    pub address: IpAddr,
    /// In the language of the browser, or in the one that a client's request asks for.
    pub words: &'static Words,
    /// Where the person goes on to: a path of ours.
    pub next: String,
}

impl FromRequestParts<Arc<App>> for Browser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let ClientAddress(address) = ClientAddress::from_request_parts(parts, app).await?;
        let visitor = Visitor::from_request_parts(parts, app).await?;
        let words = visitor.words(None);
        Ok(Self { app: app.clone(), visitor, address, words, next: HOME.to_owned() })
    }
}

impl Browser {
    /// Notes where the person goes on to, if that is a path of ours, and speaks as the request there asks to.
    pub fn goes_on_to(&mut self, next: Option<&str>) {
        safe_next(next).clone_into(&mut self.next);
        self.speaks(request_on(&self.next).first("ui_locales"));
    }

    /// Speaks as a client's request asks to.
    pub fn speaks(&mut self, ui_locales: Option<&str>) {
        self.words = self.visitor.words(ui_locales);
    }

    /// Who sends this, as far as it is known without a log-in.
    pub fn actor(&self) -> Actor {
        self.visitor.actor
    }

    /// A page, with the cookie if the browser has none.
    pub fn page(&self, status: StatusCode, view: &impl View) -> Result<Response> {
        pages::page(&self.app, &self.visitor, status, view)
    }

    /// A page that says one thing.
    pub fn say(&self, status: StatusCode, message: Message<'_>, next_step: NextStep<'_>) -> Result<Response> {
        pages::say(&self.app, &self.visitor, self.words, status, message, next_step)
    }

    /// Sends the browser on with a GET, whatever brought it here (BCP 9700, 4.12).
    pub fn see_other(&self, location: &str) -> Result<Response> {
        pages::see_other(&self.app, &self.visitor, location)
    }

    /// The answer to a form, which must not be a redirect to others, see [`pages::leave`].
    pub fn leave(&self, answer: Response) -> Result<Response> {
        pages::leave(&self.app, self.words, answer)
    }

    /// The answer, or a page that says what went wrong.
    pub fn or_say(&self, answer: Result<Response>) -> Response {
        pages::or_say(&self.app, &self.visitor, self.words, answer)
    }
}
