//! Lists over HTTP: `page` and `size` as the reference service has them, `cursor` beside them.

use axum::extract::FromRequestParts;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::Ref;
use utoipa::openapi::schema::{Array, ArrayBuilder};
use utoipa::{IntoParams, ToSchema};

use super::extract::Query;
use super::problem::Problem;
use crate::kernel::error::{Error, FieldError};
use crate::kernel::page::{Cursor, Page, PageRequest, Start};

/// The part of a list that is asked for, with the address it was asked at.
pub struct PageQuery {
    pub request: PageRequest,
    path: String,
}

/// How a list is asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what PageQuery reads")]
pub struct PageParams {
    /// The page, from 1. One beyond the end is empty.
    #[param(minimum = 1, default = 1, example = 1, required = false)]
    page: i64,
    /// Items on a page, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 50, example = 50, required = false)]
    size: i64,
    /// Where to go on, from `next_cursor`; instead of `page`. Opaque, and good for as long as the list exists.
    #[param(required = false, example = "AAAAAAAAADI")]
    cursor: Option<String>,
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
pub struct Listing<T: ToSchema> {
    #[schema(schema_with = items::<T>)]
    pub items: Vec<T>,
    /// Items in the whole list, exactly.
    #[schema(minimum = 0, example = 1)]
    pub total: i64,
    /// This page's number; null when a cursor was given.
    #[schema(required, minimum = 1, example = 1)]
    pub page: Option<i64>,
    /// Items asked for.
    #[schema(minimum = 1, maximum = 100, example = 50)]
    pub size: i64,
    /// Pages in the whole list.
    #[schema(minimum = 0, example = 1)]
    pub pages: i64,
    /// For the next part; null at the end.
    #[schema(required, example = json!(null))]
    pub next_cursor: Option<String>,
}

/// By reference: of a generic type the item's schema would be repeated in each list.
fn items<T: ToSchema>() -> Array {
    ArrayBuilder::new().items(Ref::from_schema_name(T::name())).description(Some("Oldest first.")).build()
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await?;
        let mut errors = Vec::new();
        let mut or_told = |number: Result<i64, FieldError>| number.map_err(|error| errors.push(error)).unwrap_or(1);
        let size = or_told(size(&query));
        let page = or_told(number(&query, "page", 1, i64::MAX));
        let start = match query.get("cursor") {
            None => Start::Page(page),
            Some(text) => match Cursor::parse(text) {
                Some(cursor) if query.get("page").is_none() => Start::After(cursor),
                Some(_) => {
                    let msg = "Give either a page or a cursor";
                    errors.push(FieldError::new("query", "cursor", "cursor_and_page", msg));
                    Start::Page(1)
                }
                None => {
                    errors.push(wrong_cursor());
                    Start::Page(1)
                }
            },
        };
        if errors.is_empty() {
            Ok(Self { request: PageRequest { start, size }, path: original_path(parts) })
        } else {
            Err(Error::Invalid(errors).into())
        }
    }
}

/// How many items are wanted.
pub fn size(query: &Query) -> Result<i64, FieldError> {
    number(query, "size", PageRequest::DEFAULT_SIZE, PageRequest::MAX_SIZE)
}

/// What to say of a cursor that cannot be read.
pub fn wrong_cursor() -> FieldError {
    FieldError::new("query", "cursor", "cursor_invalid", "This is no cursor of ours: take it from next_cursor")
}

fn number(query: &Query, name: &str, default: i64, most: i64) -> Result<i64, FieldError> {
    let Some(text) = query.get(name) else { return Ok(default) };
    let wrong = |kind, msg: &str| Err(FieldError::new("query", name, kind, msg));
    match text.parse::<i64>() {
        Ok(value) if (1..=most).contains(&value) => Ok(value),
        Ok(value) if value < 1 => wrong("greater_than_equal", "Input should be greater than or equal to 1"),
        Ok(_) => wrong("less_than_equal", &format!("Input should be less than or equal to {most}")),
        Err(_) => wrong("int_parsing", "Input should be a valid integer"),
    }
}

/// The path as it was asked for, prefix included.
fn original_path(parts: &Parts) -> String {
    parts.extensions.get::<axum::extract::OriginalUri>().map_or(&parts.uri, |original| &original.0).path().to_owned()
}

impl PageQuery {
    /// The answer, with the way to the next part in `Link` (RFC 8288) as well.
    pub fn answer<T, U: Serialize + ToSchema>(&self, page: Page<T>, map: impl FnMut(T) -> U) -> Response {
        let page = page.map(map);
        let link = page.next.and_then(|next| self.link(next));
        let listing = Listing {
            total: page.total,
            page: match page.request.start {
                Start::Page(number) => Some(number),
                Start::After(_) => None,
            },
            size: page.request.size,
            pages: page.pages(),
            next_cursor: page.next.map(|next| next.to_string()),
            items: page.items,
        };
        let mut response = axum::Json(listing).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(LINK, link);
        }
        response
    }

    fn link(&self, next: Cursor) -> Option<HeaderValue> {
        let uri: Uri = format!("{}?cursor={next}&size={}", self.path, self.request.size).parse().ok()?;
        HeaderValue::from_str(&format!("<{uri}>; rel=\"next\"")).ok()
    }
}
