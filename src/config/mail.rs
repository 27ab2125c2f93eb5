//! How mails are sent, if they are.

use std::net::IpAddr;
use std::time::Duration;

use lettre::message::Mailbox;
use serde::Deserialize;
use url::Url;

use super::{Complaints, password};

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    pub smtp_url: String,
    /// `Name <address>`, or the address alone.
    pub from: String,
    pub reply_to: String,
    confirm_minutes: u64,
    reset_minutes: u64,
}

impl Mail {
    /// Whether mails are sent at all.
    pub fn is_on(&self) -> bool {
        !self.smtp_url.is_empty()
    }

    /// How long a link is good that confirms an address.
    pub fn confirm(&self) -> Duration {
        Duration::from_secs(self.confirm_minutes * 60)
    }

    /// How long a link is good that a new password is chosen with.
    pub fn reset(&self) -> Duration {
        Duration::from_secs(self.reset_minutes * 60)
    }

    /// Whether mails, and the password of the mail server, leave this machine for everybody to read.
    pub fn is_open(&self) -> bool {
        let url = Url::parse(&self.smtp_url).ok();
        let plain = |url: &Url| url.scheme() == "smtp" && !url.query_pairs().any(|(name, _)| name == "tls");
        // Of this scheme the library reads no addresses, only names.
        let own = |host: &str| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        };
        url.is_some_and(|url| plain(&url) && !url.host_str().is_some_and(own))
    }

    pub(super) fn check(&self, wrong: &mut Complaints) {
        wrong.range("mail.confirm_minutes", self.confirm_minutes, 10, 60);
        wrong.range("mail.reset_minutes", self.reset_minutes, 1, 10);
        if !self.reply_to.is_empty() && self.reply_to.parse::<Mailbox>().is_err() {
            wrong.add("mail.reply_to", "is no address: write name@example.com or \"Name <name@example.com>\"");
        }
        if !self.from.is_empty() && self.from.parse::<Mailbox>().is_err() {
            wrong.add("mail.from", "is no address: write name@example.com or \"Name <name@example.com>\"");
        }
        if !self.is_on() {
            return;
        }
        if self.from.is_empty() {
            wrong.add("mail.from", "is empty: write the address that mails come from, for mail.smtp_url is set");
        }
        // Never the value: it may have a password in it.
        if password::is_ambiguous(&self.smtp_url) {
            return wrong.add("mail.smtp_url", password::RESERVED);
        }
        let url = Url::parse(&self.smtp_url).ok();
        let Some(url) = url.filter(|url| matches!(url.scheme(), "smtp" | "smtps") && url.has_host()) else {
            let text = "is no mail server: write smtp://HOST:PORT, with ?tls=required behind it where the server takes \
                        STARTTLS, or smtps://HOST:PORT; leave it empty to send no mail";
            return wrong.add("mail.smtp_url", text);
        };
        let known = |(name, value): (_, std::borrow::Cow<'_, str>)| {
            name == "tls" && matches!(&*value, "required" | "opportunistic") && url.scheme() == "smtp"
        };
        if !url.query_pairs().all(known) {
            let text = "has a parameter that is none: write ?tls=required or ?tls=opportunistic, with smtp:// only";
            wrong.add("mail.smtp_url", text);
        }
        if url.username().is_empty() != url.password().is_none() {
            wrong.add(
                "mail.smtp_url",
                "has a user or a password without the other: write smtp://USER:PASSWORD@HOST:PORT",
            );
        }
    }
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Environment, load};

    fn told(settings: &[(&str, &str)]) -> Option<String> {
        let settings: Environment = settings.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        load(None, &settings).err()
    }

    const FROM: (&str, &str) = ("REFERRAL_MAIL_FROM", "Referral <no-reply@example.com>");

    #[test]
    fn a_mail_server_is_told_by_its_address() {
        assert_eq!(told(&[]), None);
        for url in [
            "smtp://127.0.0.1:25",
            "smtp://mail.example.com:587?tls=required",
            "smtp://mail.example.com?tls=opportunistic",
            "smtps://user%40example.com:s3cr3t@mail.example.com",
        ] {
            assert_eq!(told(&[FROM, ("SMTP_URL", url)]), None, "{url}");
        }
        for (url, part) in [
            ("mail.example.com:25", "smtp://HOST:PORT"),
            ("http://mail.example.com", "smtp://HOST:PORT"),
            ("smtp://", "smtp://HOST:PORT"),
            ("smtp://mail.example.com?tls=perhaps", "?tls=required"),
            ("smtp://mail.example.com?verify=no", "?tls=required"),
            ("smtps://mail.example.com?tls=required", "?tls=required"),
            ("smtp://s3cr3t@mail.example.com", "without the other"),
            ("smtp://u:s3c/r3t@mail.example.com", "SMTP_URL"),
        ] {
            let told = told(&[FROM, ("SMTP_URL", url)]).expect(url);
            assert!(told.contains(part) && !told.contains("s3c"), "{url}: {told}");
        }
    }

    #[test]
    fn whoever_sends_has_an_address() {
        let server = ("SMTP_URL", "smtp://127.0.0.1:25");
        let empty = told(&[server]).unwrap();
        assert!(empty.contains("mail.from") || empty.contains("REFERRAL_MAIL_FROM"), "{empty}");
        for settings in [&[server, ("REFERRAL_MAIL_FROM", "nobody")][..], &[("REFERRAL_MAIL_REPLY_TO", "a@b@c")]] {
            assert!(told(settings).unwrap().contains("Name <name@example.com>"));
        }
    }

    #[test]
    fn mails_in_clear_are_noticed_where_they_leave_the_machine() {
        let is_open = |url: &str| {
            let settings: Environment = [FROM, ("SMTP_URL", url)].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            load(None, &settings).unwrap().mail.is_open()
        };
        assert!(is_open("smtp://mail.example.com"));
        for url in ["smtp://127.0.0.1", "smtp://[::1]:25", "smtp://localhost:25", "smtps://mail.example.com"] {
            assert!(!is_open(url), "{url}");
        }
        assert!(!is_open("smtp://mail.example.com?tls=required"));
    }
}
