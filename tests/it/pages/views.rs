//! The pages of log-in and consent in a real browser: every state of each, in both languages, on screens of three
//! sizes, by day and by night.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use referral::features::links::model::qr::{self, Correction};
use referral::web::views::language::Language::{English, Russian};
use serde_json::json;

use crate::support::app::eventually;
use crate::support::browser::{Browser, Screen};
use crate::support::gallery::{HOSTILE, pages};
use crate::support::router::serve;

fn asset(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, kind)], text) })
}

/// Every page at `/NAME.LANGUAGE`, with the files they ask for.
fn gallery() -> Router {
    let mut router = Router::new()
        .route("/docs/assets/auth.css", asset("text/css", include_str!("../../../src/site/assets/auth.css")))
        .route("/docs/assets/favicon.svg", asset("image/svg+xml", include_str!("../../../src/site/assets/favicon.svg")))
        .route("/r/{name}/qr.svg", get(|| async { ([(CONTENT_TYPE, "image/svg+xml")], qr_code()) }));
    for page in pages() {
        let path = format!("/{}.{}", page.name, page.language.words().lang);
        router = router.route(&path, get(move || async move { (page.headers, page.html) }));
    }
    router
}

fn qr_code() -> String {
    qr::svg("https://referral.example/r/k3j9x2mq", Correction::Medium).expect("an image")
}

/// What is wrong with the page for somebody who does not see it, or does not use a mouse: a list of sentences.
const FAULTS: &str = r#"(() => {
    const all = css => [...document.querySelectorAll(css)];
    const faults = [];
    const expect = (holds, what) => holds || faults.push(what);
    for (const closed of all("details")) closed.open = true;
    for (const one of ["h1", "main", "body > header", "title"]) expect(all(one).length === 1, `one ${one}`);
    expect(/^(en|ru)$/.test(document.documentElement.lang), "a language");
    const ids = all("[id]").map(element => element.id);
    expect(new Set(ids).size === ids.length, `ids are unique: ${ids}`);
    const levels = all("h1, h2, h3").map(heading => Number(heading.tagName[1]));
    expect(levels.every((level, at) => level <= (levels[at - 1] ?? 0) + 1), `headings go by steps: ${levels}`);
    for (const input of all("input:not([type=hidden])")) {
        expect(input.labels.length === 1 && input.labels[0].innerText.trim(), `${input.id} has a label`);
        expect(input.autocomplete, `${input.id} tells what fills it in`);
        const described = (input.getAttribute("aria-describedby") ?? "").split(" ").filter(id => id);
        expect(described.every(id => document.getElementById(id)?.innerText), `${input.id} is described: ${described}`);
        const wrong = input.getAttribute("aria-invalid") === "true";
        expect(wrong === described.includes(`${input.id}-wrong`), `${input.id} says what is wrong with it`);
    }
    for (const button of all("button, .button, input:not([type=hidden])")) {
        const box = button.getBoundingClientRect();
        const least = button.classList.contains("link") ? 24 : 44;
        expect(box.height >= least, `${button.outerHTML}: ${box.height} pixels to hit`);
        expect(parseFloat(getComputedStyle(button).fontSize) >= 14, `${button.outerHTML} is readable`);
    }
    for (const input of all("input:not([type=hidden])")) {
        expect(parseFloat(getComputedStyle(input).fontSize) >= 16, `${input.id}: phones zoom in on smaller text`);
    }
    for (const link of all(".alert a")) {
        const target = document.querySelector(link.getAttribute("href"));
        expect(target?.matches("input[aria-invalid]"), `${link} leads to its field`);
        const label = target?.labels[0]?.firstChild.textContent.trim();
        expect(link.innerText.startsWith(`${label}: `), `${link.innerText} begins with the label ${label}`);
    }
    for (const form of all("form")) {
        expect(form.method === "post" && form.elements.csrf?.value, `${form.action} is posted, with its token`);
    }
    expect(all("main a[href], main button").length, "a way on");
    expect(all("script, style, [style], [onclick], iframe").length === 0, "no script, no style");
    return faults;
})()"#;

/// The negative control: what the next test looks for is seen when it is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_page_are_seen() {
    let origin = serve(gallery()).await;
    let browser = Browser::open(&origin, Screen::Desk).await;
    for spoil in [
        "document.querySelector('h1').remove()",
        "document.querySelector('label').remove()",
        "document.querySelector('#email-wrong').remove()",
        "document.querySelector('[name=csrf]').remove()",
        "document.querySelector('#email').removeAttribute('aria-invalid')",
        "document.querySelector('.alert a').firstChild.data = 'Field required'",
        "document.querySelectorAll('main a, main button').forEach(way => way.remove())",
        "document.querySelector('button').classList.add('link') || document.querySelector('link[rel=stylesheet]').remove()",
    ] {
        browser.goto("/register-wrong.en").await;
        assert_eq!(browser.ask(FAULTS).await, json!([]));
        browser.ask(spoil).await;
        assert_ne!(browser.ask(FAULTS).await, json!([]), "{spoil}");
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_reads_well_in_every_state_on_every_screen() {
    let origin = serve(gallery()).await;
    for (screen, scheme) in [(Screen::Desk, "light"), (Screen::Phone, "dark"), (Screen::Narrow, "light")] {
        let browser = Browser::open(&origin, screen).await;
        browser.prefer("prefers-color-scheme", scheme).await;
        for page in pages() {
            let words = page.language.words();
            let name = format!("{}.{}", page.name, words.lang);
            let shown = format!("{name}.{screen:?}").to_lowercase();
            browser.goto(&format!("/{name}")).await;
            assert_eq!(browser.ask(FAULTS).await, json!([]), "{shown}");
            browser.fits(&shown).await;
            browser.keeps_words_whole(&shown).await;
            let title = browser.client.title().await.expect("a title");
            assert_eq!(title.starts_with(&format!("{}: ", words.error)), page.failed, "{shown}: {title}");
            // Whoever hears the page hears what is wrong first.
            let alerts = "[document.querySelectorAll('[role=alert]').length, document.activeElement.className]";
            let expected = if page.failed { json!([1, "alert"]) } else { json!([0, ""]) };
            // The browser hands out the focus when it draws the page, after it has loaded it.
            eventually(&format!("{shown} has its focus"), || async { browser.ask(alerts).await == expected }).await;
            // Each page once: a picture takes longer than all of the above.
            let pictured = matches!((screen, page.language), (Screen::Desk, Russian) | (Screen::Phone, English));
            if pictured {
                browser.screenshot(&format!("views/{shown}")).await;
            }
        }
        browser.is_clean().await;
        browser.close().await;
    }
}

/// What a name brings along is neither run nor seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_name_is_shown_as_a_name() {
    let origin = serve(gallery()).await;
    let browser = Browser::open(&origin, Screen::Desk).await;
    browser.goto("/consent-hostile.en").await;
    let heading = browser.find("h1").await.text().await.expect("a text");
    assert_eq!(heading, "\"><script>alert('&')</script>Shop asks for access to your account");
    assert!(HOSTILE.contains('\u{202e}'), "it brought something along");
    browser.is_clean().await;
    browser.close().await;
}
