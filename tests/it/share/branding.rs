//! The operator's name, picture and colour on the pages.

use super::helpers::logged_in;
use crate::support::app::Setup;
use crate::support::browser::{Browser, Screen};
use crate::support::visit::Visit;

const LOGO: &str =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 90 30\"><rect width=\"90\" height=\"30\"/></svg>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_carry_the_operators_name_picture_and_colour() {
    let folder = tempfile::tempdir().expect("a folder");
    let logo = folder.path().join("logo.svg");
    std::fs::write(&logo, LOGO).expect("a file");
    let settings = [
        ("REFERRAL_BRANDING_NAME", "Books & <Co>"),
        ("REFERRAL_BRANDING_LOGO", logo.to_str().expect("a path")),
        ("REFERRAL_BRANDING_COLOR", "#ffd400"),
    ];
    let test = Setup::Sqlite.start_with(&settings).await;
    test.user("olga").await;
    let (_, page) = logged_in(&test, "olga").await;
    for part in ["– Books &#38; &#60;Co&#62;</title>", "<span>Books &#38; &#60;Co&#62;</span>", "src=\"/brand/logo\""]
    {
        assert!(page.text.contains(part), "{part} in {page:?}");
    }
    let mut visit = Visit::new(&test.nodes[0].url);
    let logo = visit.get("/brand/logo").await.expect(200);
    assert_eq!((logo.text.as_str(), logo.header("content-type")), (LOGO, "image/svg+xml"));
    assert!(logo.header("content-security-policy").ends_with("; sandbox"), "{logo:?}");
    // A refusal, too, and in a browser the colour is there: darker than it was set, for nobody could read it.
    let browser = Browser::open(&test.nodes[0].url, Screen::Phone).await;
    browser.goto("/no/such/page").await;
    let fill = "getComputedStyle(document.documentElement).getPropertyValue('--fill')";
    browser.prefer("prefers-color-scheme", "light").await;
    let day = browser.ask(fill).await;
    browser.prefer("prefers-color-scheme", "dark").await;
    assert_eq!(browser.ask(fill).await, "#ffd400");
    assert_ne!(day, "#ffd400");
    assert_eq!(browser.ask("document.querySelector('header img').complete").await, true);
    browser.screenshot("branding").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_settings_the_pages_are_ours() {
    let test = Setup::Sqlite.start().await;
    let mut visit = Visit::new(&test.nodes[0].url);
    let page = visit.get("/share").await.expect(200);
    assert!(page.text.contains("– Referral</title>") && !page.text.contains("/brand/"), "{page:?}");
    for path in ["/brand/logo", "/brand/colors.css"] {
        visit.get(path).await.expect(404);
    }
}
