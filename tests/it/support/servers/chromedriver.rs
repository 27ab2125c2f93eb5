//! ChromeDriver.

use std::fs;

use testkit::Kept;

use super::{ask, comes_up, give_up, program};

pub struct ChromeDriver {
    port: u16,
    /// Held for its end: it takes the browsers along, which ChromeDriver itself would leave running.
    _kept: Kept,
}

impl ChromeDriver {
    pub async fn start() -> ChromeDriver {
        program(&["chromium", "chromium-browser", "google-chrome"], "Chrom");
        let program = program(&["chromedriver"], "ChromeDriver");
        let mut kept = Kept::new(None, "KILL", "").expect("a folder");
        kept.start(&format!("exec '{}' --port=0", program.display())).expect("the keeper answers");
        // It finds a free port by itself, and tells.
        let log = kept.folder.join("log");
        let port = || {
            let log = fs::read_to_string(&log).ok()?;
            let (_, rest) = log.split_once("started successfully on port ")?;
            rest.split_once('.')?.0.parse().ok()
        };
        let request = "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        if !comes_up(&kept, async || port().is_some_and(|port| ask(port, request, "\"ready\":true"))).await {
            give_up(&kept)
        }
        ChromeDriver { port: port().expect("it has answered there"), _kept: kept }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
