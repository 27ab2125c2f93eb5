//! What the tests of a person's own pages share.

use crate::support::app::TestApp;
use crate::support::client::PASSWORD;
use crate::support::visit::{Page, Visit};

/// A browser in which somebody is logged in, at the page that a log-in leads to.
pub async fn logged_in(test: &TestApp, name: &str) -> (Visit, Page) {
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get("/share").await.expect(200);
    let page = visit.log_in(&page, name, PASSWORD).await.expect(303);
    assert_eq!(page.location(), Some("/share"));
    let page = visit.follow(page).await.expect(200);
    (visit, page)
}

/// Sends a form of a page with these fields, and says where that leads.
pub async fn send(visit: &mut Visit, page: &Page, path: &str, typed: &[(&str, &str)]) -> String {
    let answer = visit.submit(&page.form(path), typed).await.expect(303);
    answer.location().expect("a place").to_owned()
}
