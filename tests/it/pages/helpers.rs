//! A browser at a node.

use crate::support::app::TestApp;
use crate::support::browser::{Browser, Screen};

pub async fn open(test: &TestApp, screen: Screen) -> Browser {
    Browser::open(&test.nodes[0].url, screen).await
}
