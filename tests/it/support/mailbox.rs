//! What people find in their mailboxes.

use super::servers::Smtp;

/// A mail as its reader has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    pub to: String,
    /// All of it, as it came.
    pub raw: String,
    pub subject: String,
    pub text: String,
    pub html: String,
}

impl Smtp {
    /// Mails to an address, the first first.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        let all = self.taken().into_iter().map(|mail| Mail::read(&mail));
        all.filter(|mail| mail.to == address).collect()
    }

    /// The only mail to an address.
    #[track_caller]
    pub fn mail_to(&self, address: &str) -> Mail {
        let mut mails = self.mails_to(address);
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails.remove(0)
    }

    /// The settings of a node that sends by it, or by a way to it.
    pub fn settings(port: u16) -> [(&'static str, String); 2] {
        let url = format!("smtp://127.0.0.1:{port}");
        [("SMTP_URL", url), ("REFERRAL_MAIL_FROM", "Referral <no-reply@referral.test>".to_owned())]
    }
}

impl Mail {
    fn read(mail: &serde_json::Value) -> Self {
        let raw = mail["text"].as_str().expect("a text").replace("\r\n", "\n");
        let (head, rest) = raw.split_once("\n\n").expect("a body");
        // A header that is long goes on in the next line, behind a blank.
        let raw = format!("{}\n\n{rest}", head.replace("\n ", " "));
        let to = mail["to"][0].as_str().expect("an address").to_owned();
        let subject = decoded_words(header(&raw, "Subject"));
        let boundary = raw.split_once("boundary=\"").expect("parts").1.split('"').next().expect("an end").to_owned();
        let parts: Vec<String> = raw.split(&format!("--{boundary}")).skip(1).take(2).map(body).collect();
        Self { to, subject, text: parts[0].clone(), html: parts[1].clone(), raw }
    }

    /// What stands behind `/mail/` in its link.
    pub fn token(&self) -> String {
        let (_, rest) = self.text.split_once("/mail/").unwrap_or_else(|| panic!("it has no link: {self:?}"));
        rest.split_whitespace().next().expect("a token").to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        header(&self.raw, name)
    }
}

fn header<'a>(raw: &'a str, name: &str) -> &'a str {
    let head = raw.split_once("\n\n").expect("a body").0;
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

/// The body of a part.
fn body(part: &str) -> String {
    let (head, body) = part.split_once("\n\n").expect("a part");
    let encoding = head.lines().find_map(|line| line.strip_prefix("Content-Transfer-Encoding: ")).expect("an encoding");
    match encoding {
        "quoted-printable" => quoted_printable(body),
        "base64" => base64_text(&body.replace('\n', "")),
        _ => body.to_owned(),
    }
}

fn quoted_printable(text: &str) -> String {
    let text = text.replace("=\n", "");
    let mut parts = text.split('=');
    let mut bytes = parts.next().expect("a beginning").as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two digits"));
        bytes.extend(rest.bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn base64_text(text: &str) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).expect("base64");
    String::from_utf8(bytes).expect("UTF-8")
}

/// RFC 2047, as far as our subjects need it.
fn decoded_words(text: &str) -> String {
    text.split("=?utf-8?b?")
        .map(|word| {
            word.split_once("?=")
                .map_or(word.to_owned(), |(code, rest)| format!("{}{}", base64_text(code), rest.trim()))
        })
        .collect()
}
