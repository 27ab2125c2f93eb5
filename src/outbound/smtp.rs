//! The server that takes our mails (RFC 5321).

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::config::Mail;
use crate::kernel::time::Time;

/// For each answer of the server's. It may look at a mail for a while before it takes it.
const PATIENCE: Duration = Duration::from_secs(30);
/// Connections at once, as many as there are mails under way.
const CONNECTIONS: u32 = 10;
/// Before the server closes one by itself, and the next mail finds it closed.
const IDLE: Duration = Duration::from_secs(20);

pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    reply_to: Option<Mailbox>,
}

/// A mail, whole. Made of the same parts it is the same to the byte: whoever gets it twice has one.
pub struct Letter {
    /// What the mail is called in our database and, with the host behind it, everywhere.
    pub id: String,
    pub host: String,
    pub to: String,
    pub date: Time,
    /// As HTML calls it.
    pub language: &'static str,
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Sent,
    /// It may go another time.
    Again(&'static str),
    /// It will never go.
    Refused(&'static str),
}

impl Mailer {
    /// Nothing when no mail is to be sent. The error is a sentence with a remedy.
    pub fn open(settings: &Mail) -> Result<Option<Self>, String> {
        if !settings.is_on() {
            return Ok(None);
        }
        // What its error quotes may be the password.
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&settings.smtp_url)
            .map_err(|_| "mail.smtp_url (SMTP_URL) cannot be used: write smtp://HOST:PORT".to_owned())?;
        let pool = PoolConfig::new().max_size(CONNECTIONS).idle_timeout(IDLE);
        let address = |text: &str| text.parse::<Mailbox>().map_err(|_| "mail.from is no address".to_owned());
        Ok(Some(Self {
            transport: builder.timeout(Some(PATIENCE)).pool_config(pool).build(),
            from: address(&settings.from)?,
            reply_to: (!settings.reply_to.is_empty()).then(|| address(&settings.reply_to)).transpose()?,
        }))
    }

    /// Hands a mail to the server.
    pub async fn send(&self, letter: &Letter) -> Delivery {
        let Some(message) = self.message(letter) else { return Delivery::Refused("the mail cannot be written") };
        match self.transport.send(message).await {
            Ok(_) => Delivery::Sent,
            Err(error) => delivery(&error),
        }
    }

    /// Whether the server is there and lets us in. The error is what it said, or what went wrong on the way.
    pub async fn reach(&self) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err("it closes the connection".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer in time".to_owned()),
        }
    }

    /// As [`send`](Self::send), for a person who looks: the error is what the server said.
    pub async fn try_to_send(&self, letter: &Letter) -> Result<(), String> {
        let message = self.message(letter).ok_or("the mail cannot be written: is the address right?")?;
        self.transport.send(message).await.map(drop).map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        })
    }

    /// The mail as it is sent; nothing when it has an address that is none.
    pub fn message(&self, letter: &Letter) -> Option<Message> {
        let to: Address = letter.to.parse().ok()?;
        let date = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(letter.date.0).ok()?);
        let header =
            |name: &'static str, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject.as_str())
            .date(date)
            .message_id(Some(format!("<{}@{}>", letter.id, letter.host)))
            // RFC 3834: whoever is away does not answer it.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("Content-Language", letter.language));
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(reply_to.clone());
        }
        let part = |kind, body: &str| SinglePart::builder().header(kind).body(body.to_owned());
        // A boundary drawn at random would make another mail of it at each attempt.
        let parts = MultiPart::alternative()
            .boundary(format!("part-of-{}", letter.id))
            .singlepart(part(ContentType::TEXT_PLAIN, &letter.text))
            .singlepart(part(ContentType::TEXT_HTML, &letter.html));
        message.multipart(parts).ok()
    }
}

/// What an error means for the mail. Its text is not logged: servers quote the address in it.
fn delivery(error: &Error) -> Delivery {
    if error.is_permanent() {
        Delivery::Refused("the mail server refuses it")
    } else if error.is_client() {
        Delivery::Refused("the mail server cannot be told this mail")
    } else if error.is_transient() {
        Delivery::Again("the mail server does not take it now")
    } else if error.is_timeout() {
        Delivery::Again("the mail server did not answer in time")
    } else if error.is_tls() {
        Delivery::Again("there is no TLS with the mail server")
    } else {
        Delivery::Again("the mail server cannot be reached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[tokio::test]
    async fn a_mail_is_the_same_each_time_it_is_written() {
        let settings = [
            ("SMTP_URL", "smtp://127.0.0.1:1"),
            ("REFERRAL_MAIL_FROM", "Книги <no-reply@example.com>"),
            ("REFERRAL_MAIL_REPLY_TO", "help@example.com"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mailer = Mailer::open(&load(None, &settings).unwrap().mail).unwrap().unwrap();
        let letter = Letter {
            id: "0198".to_owned(),
            host: "referral.example".to_owned(),
            to: "olga@example.com".to_owned(),
            date: Time::parse("2026-11-30T12:00:00Z").unwrap(),
            language: "ru",
            subject: "Новый пароль".to_owned(),
            text: "Откройте ссылку".to_owned(),
            html: "<p>Откройте ссылку</p>".to_owned(),
        };
        let written = mailer.message(&letter).unwrap().formatted();
        assert_eq!(written, mailer.message(&letter).unwrap().formatted());
        let text = String::from_utf8(written).unwrap();
        for part in [
            "Message-ID: <0198@referral.example>\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Language: ru\r\n",
            "Date: Mon, 30 Nov 2026 12:00:00 +0000\r\n",
            "To: olga@example.com\r\n",
            "Reply-To: help@example.com\r\n",
            "<no-reply@example.com>\r\n",
            "multipart/alternative",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for to in ["", "olga", "olga@example.com\r\nBcc: all@example.com", "Olga <olga@example.com>"] {
            assert!(
                mailer
                    .message(&Letter {
                        to: to.to_owned(),
                        id: "1".into(),
                        host: "h".into(),
                        date: Time(0),
                        language: "en",
                        subject: "s".into(),
                        text: "t".into(),
                        html: "h".into()
                    })
                    .is_none(),
                "{to}"
            );
        }
        assert!(matches!(mailer.send(&letter).await, Delivery::Again(_)), "nobody listens there");
    }
}
