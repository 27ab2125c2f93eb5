//! A set-up whose mails are read.

use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::client::{Answer, Client};
use crate::support::mailbox::Mail;
use crate::support::servers::Smtp;

pub const RESET: &str = "/api/v1/auth/reset";
pub const COMPLETE: &str = "/api/v1/auth/reset/complete";
pub const CONFIRM: &str = "/api/v1/auth/confirm";
pub const RESEND: &str = "/api/v1/auth/confirm/resend";
pub const NEW: &str = "Zaunkoenig-und-Amsel-7";

/// A node that sends mails, and where they arrive.
pub async fn start(setup: Setup) -> (TestApp, Smtp) {
    start_with(setup, &[]).await
}

pub async fn start_with(setup: Setup, more: &[(&str, &str)]) -> (TestApp, Smtp) {
    let smtp = Smtp::start().await;
    let test = start_by(setup, smtp.port, more).await;
    (test, smtp)
}

/// A node that sends its mails by this port.
pub async fn start_by(setup: Setup, port: u16, more: &[(&str, &str)]) -> TestApp {
    let settings = Smtp::settings(port);
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    setup.start_with(&[&settings[..], more].concat()).await
}

/// Registers NAME, whose mail to confirm the address is never sent.
pub async fn register(test: &TestApp, name: &str) {
    test.client().register(name, None).await.expect(201);
    for unsent in ["delete from jobs where kind = 'send_mail' and done_at is null", "delete from mails"] {
        test.sql(unsent).await;
    }
}

pub async fn ask(client: &Client, address: &str) -> Answer {
    client.anonymous().post(RESET, &json!({"email": address})).await
}

pub async fn complete(client: &Client, token: &str, password: &str) -> Answer {
    client.anonymous().post(COMPLETE, &json!({"token": token, "password": password})).await
}

pub async fn confirm(client: &Client, token: &str) -> Answer {
    client.anonymous().post(CONFIRM, &json!({"token": token})).await
}

/// Asks for a link for an address, and reads the mail with it: the newest there is.
pub async fn reset_mail(test: &TestApp, smtp: &Smtp, address: &str) -> Mail {
    ask(&test.client(), address).await.expect(202);
    test.drain().await;
    let newest = smtp.mails_to(address).into_iter().rfind(|mail| mail.subject == "Choose a new password");
    newest.unwrap_or_else(|| panic!("no mail to {address}: {:?}", smtp.taken()))
}
