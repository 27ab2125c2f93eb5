//! A real browser that can reach nothing but this machine, and tells what it complains about.

use std::path::Path;
use std::time::Duration;

use axum::http::Method;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Url;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::app::eventually;
use super::servers::ChromeDriver;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a page is looked at with.
#[derive(Clone, Copy, Debug)]
pub enum Screen {
    Desk,
    Phone,
    /// The narrowest that anything has to fit on: a small phone, or a desk at 400 %.
    Narrow,
}

pub struct Browser {
    pub client: fantoccini::Client,
    /// The one that everything is asked from.
    pub origin: String,
}

/// What a person has set their browser to.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    pub screen: Screen,
    /// Whether pages may run scripts.
    pub script: bool,
    pub language: &'static str,
}

impl Browser {
    pub async fn open(origin: &str, screen: Screen) -> Browser {
        Self::open_as(origin, Habits { screen, script: true, language: "en" }).await
    }

    pub async fn open_as(origin: &str, habits: Habits) -> Browser {
        let screen = habits.screen;
        static DRIVER: OnceCell<ChromeDriver> = OnceCell::const_new();
        let driver = DRIVER.get_or_init(ChromeDriver::start).await;
        let mut options = json!({"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,1400",
            // No name is found, and no other machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        ]});
        options["prefs"] = json!({"intl.accept_languages": habits.language});
        if !habits.script {
            // 2 is to block.
            options["prefs"]["profile.managed_default_content_settings.javascript"] = json!(2);
        }
        let size = match screen {
            Screen::Desk => None,
            Screen::Phone => Some((390, 844)),
            Screen::Narrow => Some((320, 640)),
        };
        if let Some((width, height)) = size {
            // Without scripts ChromeDriver waits for a tap for ever; it clicks there.
            let metrics =
                json!({"width": width, "height": height, "pixelRatio": 2, "touch": habits.script, "mobile": true});
            options["mobileEmulation"] = json!({"deviceMetrics": metrics});
        }
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().expect("an object").clone());
        let client = builder.connect(&driver.url()).await.expect("a browser");
        Browser { client, origin: origin.to_owned() }
    }

    pub async fn goto(&self, path: &str) {
        self.client.goto(&format!("{}{path}", self.origin)).await.expect("the page loads");
    }

    /// The first element of this selector, once there is one.
    pub async fn find(&self, css: &str) -> Element {
        let found = self.client.wait().at_most(PATIENCE).for_element(Locator::Css(css)).await;
        found.unwrap_or_else(|error| panic!("{css}: {error}"))
    }

    pub async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    pub async fn write(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap_or_else(|error| panic!("{css}: {error}"));
        field.send_keys(text).await.unwrap_or_else(|error| panic!("{css}: {error}"));
    }

    /// Presses a key, wherever the focus is.
    pub async fn press(&self, key: Key) {
        let keys = KeyActions::new("keyboard".to_owned());
        let keys = keys.then(KeyAction::Down { value: key.into() }).then(KeyAction::Up { value: key.into() });
        self.client.perform_actions(keys).await.expect("a key is pressed");
    }

    /// Goes from field to field with the keyboard until this one has the focus.
    pub async fn tab_to(&self, attribute: &str, value: &str) {
        for _ in 0..30 {
            self.press(Key::Tab).await;
            let element = self.client.active_element().await.expect("the focus is somewhere");
            if element.attr(attribute).await.expect("an attribute").as_deref() == Some(value) {
                return;
            }
        }
        panic!("{attribute}={value} is not reached with the keyboard");
    }

    /// Types into whatever has the focus.
    pub async fn type_in(&self, text: &str) {
        let mut keys = KeyActions::new("keyboard".to_owned());
        for letter in text.chars() {
            keys = keys.then(KeyAction::Down { value: letter }).then(KeyAction::Up { value: letter });
        }
        self.client.perform_actions(keys).await.expect("it is typed");
    }

    /// Waits until the address begins so, and tells the rest.
    pub async fn arrives_at(&self, beginning: &str) -> Url {
        let arrived = async || {
            let url = self.client.current_url().await.expect("an address");
            url.as_str().starts_with(beginning).then_some(url)
        };
        eventually(&format!("one is at {beginning}"), || async { arrived().await.is_some() }).await;
        arrived().await.expect("one has arrived")
    }

    pub async fn count(&self, css: &str) -> usize {
        self.client.find_all(Locator::Css(css)).await.expect("elements").len()
    }

    pub async fn ask(&self, script: &str) -> Value {
        self.client.execute(&format!("return {script}"), Vec::new()).await.expect("a value")
    }

    /// What the browser has logged since the last look.
    pub async fn log(&self, kind: &'static str) -> Vec<Value> {
        let log = self.client.issue_cmd(Log { kind }).await.expect("a log");
        log.as_array().expect("entries").clone()
    }

    /// Errors in the console and violations of a policy, since the last look.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let complaint = |entry: &Value| {
            let message = entry["message"].as_str().unwrap_or_default();
            entry["level"] == "SEVERE" || entry["source"] == "security" || message.contains("Content Security Policy")
        };
        entries.iter().filter(|entry| complaint(entry)).map(Value::to_string).collect()
    }

    /// The addresses that were asked for anything since the last look, but for what a page holds in itself.
    pub async fn requests(&self) -> Vec<String> {
        let mut requests = Vec::new();
        for entry in self.log("performance").await {
            let message: Value = serde_json::from_str(entry["message"].as_str().expect("a message")).expect("JSON");
            if message["message"]["method"] == "Network.requestWillBeSent" {
                let url = message["message"]["params"]["request"]["url"].as_str().expect("an address");
                if !url.starts_with("data:") {
                    requests.push(url.to_owned());
                }
            }
        }
        requests
    }

    /// Nothing was complained about, and only the service was asked.
    #[track_caller]
    pub fn assert_clean(&self, complaints: &[String], requests: &[String]) {
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(!requests.is_empty(), "the log of requests works");
        let own = format!("{}/", self.origin);
        let foreign: Vec<_> = requests.iter().filter(|url| !url.starts_with(&own)).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }

    pub async fn is_clean(&self) {
        let (complaints, requests) = (self.complaints().await, self.requests().await);
        self.assert_clean(&complaints, &requests);
    }

    /// Nothing sticks out to the side, where nobody on a phone finds it. (Not `innerWidth`: a phone's browser zooms out
    /// until the widest fits, and reports that.)
    pub async fn fits(&self, path: &str) {
        let widths = self.ask("[document.documentElement.scrollWidth, document.documentElement.clientWidth]").await;
        assert!(widths[0].as_f64() <= widths[1].as_f64(), "{path}: {widths}");
    }

    /// No line ends within a word. Names are not looked at: they may be longer than any line.
    pub async fn keeps_words_whole(&self, path: &str) {
        const BROKEN: &str = r#"(() => {
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const broken = [];
            for (let text; (text = texts.nextNode()); ) {
                if (text.parentElement.closest("bdi, .unseen")) continue;
                for (const word of text.data.matchAll(/[\p{L}\p{N}_]+/gu)) {
                    const range = document.createRange();
                    range.setStart(text, word.index);
                    range.setEnd(text, word.index + word[0].length);
                    const lines = new Set([...range.getClientRects()].map(({ top }) => Math.round(top)));
                    if (lines.size > 1) broken.push(word[0]);
                }
            }
            return broken;
        })()"#;
        assert_eq!(self.ask(BROKEN).await, json!([]), "{path}");
    }

    /// For a person to look at: `target/screenshots/NAME.png`.
    pub async fn screenshot(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/screenshots/{name}.png"));
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(file, picture).expect("a file");
    }

    /// Pages are drawn for whoever has asked their machine for this.
    pub async fn prefer(&self, feature: &str, value: &str) {
        let features = json!({"features": [{"name": feature, "value": value}]});
        let command = Cdp { command: "Emulation.setEmulatedMedia", parameters: features };
        self.client.issue_cmd(command).await.expect("it is set");
    }

    pub async fn close(self) {
        self.client.close().await.expect("the browser ends");
    }
}

/// ChromeDriver's own way to read the browser's logs.
#[derive(Debug)]
struct Log {
    kind: &'static str,
}

impl WebDriverCompatibleCommand for Log {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"type": self.kind}).to_string()))
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct Cdp {
    command: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for Cdp {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, <Url as std::str::FromStr>::Err> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({"cmd": self.command, "params": self.parameters}).to_string()))
    }
}
