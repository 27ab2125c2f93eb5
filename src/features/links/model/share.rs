//! What people are offered to say when they share their link.

use crate::words;

words! {
    /// Where somebody shares a link.
    pub enum Channel as "ShareChannel" {
        Whatsapp = "whatsapp",
        Telegram = "telegram",
        X = "x",
        Sms = "sms",
        Email = "email",
    }
}

/// A text to share, and the address that opens the channel's own window with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub channel: Channel,
    pub text: String,
    pub url: String,
}

/// What we say ourselves, in one language.
pub struct Phrases {
    /// Where the program has no text of its own.
    pub text: &'static str,
    /// Of a mail.
    pub subject: &'static str,
}

pub static ENGLISH: Phrases = Phrases { text: "Join me here: {link}", subject: "An invitation for you" };
pub static RUSSIAN: Phrases = Phrases {
    text: "Присоединяйтесь по моей ссылке: {link}",
    subject: "Приглашение для вас",
};

/// A text for each channel. One of the program's that needs a name is left to those who have one.
pub fn texts(template: Option<&str>, name: &str, link: &str, phrases: &Phrases) -> Vec<Text> {
    let fits = |template: &&str| !name.is_empty() || !template.contains("{name}");
    let template = template.filter(fits).unwrap_or(phrases.text);
    let whole = filled(template, name, link);
    let alone = filled(template, name, "");
    let alone = alone.trim().trim_end_matches([':', '-', '–', '—']).trim_end();
    let of = |channel: &Channel| {
        let url = match channel {
            Channel::Whatsapp => format!("https://wa.me/?text={}", encoded(&whole)),
            // It shows the link by itself.
            Channel::Telegram => format!("https://t.me/share/url?url={}&text={}", encoded(link), encoded(alone)),
            Channel::X => format!("https://x.com/intent/post?text={}", encoded(&whole)),
            // Both systems of phones read it like this.
            Channel::Sms => format!("sms:?&body={}", encoded(&whole)),
            Channel::Email => format!("mailto:?subject={}&body={}", encoded(phrases.subject), encoded(&whole)),
        };
        let text = if *channel == Channel::Telegram { alone.to_owned() } else { whole.clone() };
        Text { channel: *channel, text, url }
    };
    Channel::ALL.iter().map(of).collect()
}

/// In one pass: a name that looks like one of ours is a name. There are no rewards yet, so nothing stands for one.
fn filled(template: &str, name: &str, link: &str) -> String {
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, behind)) = rest.split_once('{') {
        text.push_str(before);
        let value = [("name}", name), ("link}", link), ("reward}", "")];
        match value.iter().find_map(|(word, value)| Some((value, behind.strip_prefix(word)?))) {
            Some((value, behind)) => {
                text.push_str(value);
                rest = behind;
            }
            None => {
                text.push('{');
                rest = behind;
            }
        }
    }
    text.push_str(rest);
    text
}

/// Percent-encoded (RFC 3986), blanks as well: not every program reads a plus sign as one.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    const LINK: &str = "https://referral.example/r/olga7";

    #[test]
    fn each_channel_opens_with_the_text() {
        for (phrases, template) in
            [(&ENGLISH, None), (&RUSSIAN, None), (&ENGLISH, Some("{name} & co. give 100% + more:\n{link} #now"))]
        {
            let texts = texts(template, "Olga {link} O'Neill", LINK, phrases);
            assert_eq!(texts.iter().map(|text| text.channel).collect::<Vec<_>>(), Channel::ALL);
            for Text { channel, text, url } in texts {
                let read = Url::parse(&url).unwrap();
                let said =
                    |name| read.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned());
                match channel {
                    Channel::Whatsapp | Channel::X => assert_eq!(said("text").unwrap(), text),
                    Channel::Telegram => {
                        assert_eq!((said("url").unwrap(), said("text").unwrap()), (LINK.to_owned(), text.clone()));
                        assert!(!text.contains(LINK) && !text.ends_with(':'), "{text}");
                    }
                    Channel::Sms | Channel::Email => assert_eq!(said("body").unwrap(), text),
                }
                assert!(channel == Channel::Telegram || text.matches(LINK).count() == 1, "{text}");
                assert!(!url.contains('+') && url.is_ascii(), "{url}");
            }
        }
        let nameless = &texts(Some("{name} invites: {link}"), "", LINK, &ENGLISH)[0].text;
        assert_eq!(*nameless, format!("Join me here: {LINK}"));
        assert_eq!(filled("{name}{reward}|{other}{", "{link}", LINK), "{link}|{other}{");
    }

    proptest! {
        #[test]
        fn no_name_changes_where_a_channel_leads(name in "\\PC{0,30}") {
            for Text { channel, url, .. } in texts(Some("{name}: {link}"), &name, LINK, &ENGLISH) {
                let begin = match channel {
                    Channel::Whatsapp => "https://wa.me/?text=",
                    Channel::Telegram => "https://t.me/share/url?url=",
                    Channel::X => "https://x.com/intent/post?text=",
                    Channel::Sms => "sms:?&body=",
                    Channel::Email => "mailto:?subject=",
                };
                prop_assert!(url.starts_with(begin) && url.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(!url.contains(['#', '"', '<', '>']));
            }
        }
    }
}
