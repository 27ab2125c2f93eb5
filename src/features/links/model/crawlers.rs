//! Who opens a link and is no person: programs that look at it for people, and those that gather pages.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, Anchored, Input, StartKind};

/// One text a line, see `lists/README.md`.
const LIST: &str = include_str!("lists/crawlers.txt");

static ANYWHERE: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let texts = LIST.lines().filter(|line| !line.starts_with('^'));
    AhoCorasick::builder().ascii_case_insensitive(true).build(texts).ok()
});

static AT_THE_BEGINNING: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let texts = LIST.lines().filter_map(|line| line.strip_prefix('^'));
    AhoCorasick::builder().ascii_case_insensitive(true).start_kind(StartKind::Anchored).build(texts).ok()
});

/// Whether an agent calls itself one of those programs. Whoever does not say what they are is taken for one.
pub fn is_crawler(agent: &str) -> bool {
    let has = |texts: &Option<AhoCorasick>, anchored| {
        let find = |texts: &AhoCorasick| texts.try_find(Input::new(agent).anchored(anchored)).ok();
        texts.as_ref().and_then(find).is_none_or(|found| found.is_some())
    };
    agent.trim().is_empty() || has(&ANYWHERE, Anchored::No) || has(&AT_THE_BEGINNING, Anchored::Yes)
}

/// Whether a browser fetches a page that nobody has opened yet, as `Sec-Purpose`, `Purpose`, `X-Purpose` or `X-Moz`
/// says.
pub fn is_prefetch(purpose: &str) -> bool {
    let mut words = purpose.split([';', ',']).map(str::trim);
    words.any(|word| word.eq_ignore_ascii_case("prefetch") || word.eq_ignore_ascii_case("preview"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_lower_case_ascii_and_makes_a_searcher() {
        let lines: Vec<&str> = LIST.lines().collect();
        let (anywhere, at_the_beginning): (Vec<&str>, Vec<&str>) =
            lines.iter().partition(|line| !line.starts_with('^'));
        assert!(anywhere.is_sorted() && at_the_beginning.is_sorted() && lines.len() > 1000);
        let plain = |line: &&str| line.is_ascii() && line.len() > 2 && **line == line.to_ascii_lowercase();
        assert!(lines.iter().all(plain));
        assert!(ANYWHERE.is_some() && AT_THE_BEGINNING.is_some());
    }

    #[test]
    fn previews_of_messengers_and_tools_are_no_people() {
        for agent in [
            "",
            "  ",
            "curl/8.14.1",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "TelegramBot (like TwitterBot)",
            "WhatsApp/2.23.20.0",
            "Mozilla/5.0 (compatible; GOOGLEBOT/2.1; +http://www.google.com/bot.html)",
        ] {
            assert!(is_crawler(agent), "{agent}");
        }
        // What such a name begins with is a browser's somewhere else.
        let silk = "Mozilla/5.0 (Linux; Android 9; KFMAWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/120.4.1 like \
                    Chrome/120.0.6099.230 Safari/537.36";
        assert!(!is_crawler(silk));
        assert!(is_crawler("SILK/1.0"));
    }

    #[test]
    fn a_page_fetched_before_it_is_opened_is_no_click() {
        for purpose in ["prefetch", "Prefetch;prerender", "prefetch; anonymous-client-ip", "preview"] {
            assert!(is_prefetch(purpose), "{purpose}");
        }
        for purpose in ["", "navigate", "prefetching"] {
            assert!(!is_prefetch(purpose), "{purpose}");
        }
    }
}
