//! What mails say, and how they look: a text and an HTML part. Nothing is loaded from anywhere, and nobody is told that
//! a mail was read.

use askama::Template;

use super::language::Language;
use super::words::Words;
use crate::kernel::error::{Error, Result};
use crate::kernel::mail::MailKind;

/// What a mail is made of.
pub struct Content<'a> {
    pub kind: MailKind,
    /// The address of the service, without a slash at its end.
    pub site: &'a str,
    /// That of the link, where the mail has one.
    pub token: Option<&'a str>,
    /// For which the link is good.
    pub minutes: u64,
}

/// What a mail of a kind says in one language.
pub struct MailWords {
    pub subject: &'static str,
    /// What has happened; around the name of the service.
    pub what: (&'static str, &'static str),
    /// What the link does, in few words.
    pub action: &'static str,
    /// What to do if it was not oneself.
    pub doubt: &'static str,
}

#[derive(Template)]
#[template(path = "mails/mail.txt", escape = "none")]
struct TextPart<'a> {
    words: &'static Words,
    mail: &'a MailWords,
    name: &'a str,
    link: Option<&'a str>,
    until: &'a str,
}

#[derive(Template)]
#[template(path = "mails/mail.html")]
struct HtmlPart<'a> {
    words: &'static Words,
    mail: &'a MailWords,
    name: &'a str,
    link: Option<&'a str>,
    until: &'a str,
}

/// Subject, text and HTML of a mail.
pub fn contents(language: Language, content: &Content<'_>) -> Result<(String, String, String)> {
    let words = language.words();
    let mail = &(words.mail)(content.kind);
    let link = match (content.kind, content.token) {
        (_, Some(token)) => Some(format!("{}/mail/{token}", content.site)),
        // Whoever did not do it, or has forgotten that they have an account, needs a new password.
        (MailKind::PasswordChanged | MailKind::AlreadyRegistered, None) => {
            Some(format!("{}/oauth/reset", content.site))
        }
        (_, None) => None,
    };
    let until = if content.token.is_some() { (words.mail_until)(content.minutes) } else { String::new() };
    let name = content.site.split_once("://").map_or(content.site, |(_, name)| name);
    let (link, until) = (link.as_deref(), until.as_str());
    let broken = |error: askama::Error| Error::Internal(format!("a mail: {error}"));
    let text = TextPart { words, mail, name, link, until }.render().map_err(broken)?;
    let html = HtmlPart { words, mail, name, link, until }.render().map_err(broken)?;
    Ok((mail.subject.to_owned(), text, html))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mail_says_the_same_in_both_of_its_parts_and_loads_nothing() {
        let mut subjects = std::collections::HashSet::new();
        for language in Language::ALL {
            for kind in MailKind::ALL {
                let token = MailKind::WITH_LINK.contains(kind).then_some("TOKEN");
                let content = Content { kind: *kind, site: "https://referral.example", token, minutes: 10 };
                let (subject, text, html) = contents(language, &content).unwrap();
                assert!(subjects.insert(subject.clone()) && !subject.is_empty(), "{subject}");
                assert!(html.contains(&format!("<html lang=\"{}\">", language.words().lang)));
                for part in [&text, &html] {
                    assert!(part.contains("referral.example"), "{part}");
                    let links = part.matches("https://referral.example/mail/TOKEN").count();
                    assert_eq!(links > 0, token.is_some(), "{part}");
                    assert_eq!(part.contains("10 "), token.is_some(), "{part}");
                }
                assert!(text.matches("\n\n").count() >= 2, "paragraphs stand apart: {text}");
                assert!(!text.contains("\n\n\n") && !text.contains('<') && text.ends_with('\n'), "{text:?}");
                for loaded in ["<img", "<script", "src=", "url(", "@import", "<link"] {
                    assert!(!html.contains(loaded), "{html}");
                }
            }
        }
    }
}
