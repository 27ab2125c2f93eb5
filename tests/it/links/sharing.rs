//! What people share: the link, its QR code, texts.

use std::process::Command;

use serde_json::{Value, json};

use super::helpers::handle_of;
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::browser::{Browser, Screen};

on_every_setup!(what_to_share_is_told_in_the_readers_language_and_in_the_programs_words);
async fn what_to_share_is_told_in_the_readers_language_and_in_the_programs_words(setup: Setup) {
    let test = setup.start().await;
    let owner = test.user("olga").await;
    let share = async |language: &str| {
        let request = owner.request(reqwest::Method::GET, "/api/v1/me/share").header("accept-language", language);
        owner.send(request).await.expect(200).json()
    };
    let told = share("en").await;
    let handle = told["handle"].as_str().expect("a handle");
    let link = format!("http://referral.test/r/{handle}");
    assert_eq!((&told["link"], &told["qr"]), (&json!(link), &json!(format!("{link}/qr.svg"))));
    let texts = told["texts"].as_array().expect("texts");
    let channels: Vec<&Value> = texts.iter().map(|text| &text["channel"]).collect();
    assert_eq!(channels, ["whatsapp", "telegram", "x", "sms", "email"]);
    assert_eq!(texts[0]["text"], format!("Join me here: {link}"));
    let encoded = format!("http%3A%2F%2Freferral.test%2Fr%2F{handle}");
    assert_eq!(texts[0]["url"], format!("https://wa.me/?text=Join%20me%20here%3A%20{encoded}"));
    assert_eq!(texts[1]["url"], format!("https://t.me/share/url?url={encoded}&text=Join%20me%20here"));
    assert_eq!(texts[3]["url"], format!("sms:?&body=Join%20me%20here%3A%20{encoded}"));
    assert!(
        share("ru, en;q=0.5").await["texts"][0]["text"]
            .as_str()
            .is_some_and(|text| text.starts_with("Присоединяйтесь"))
    );

    let manager = test.manager("manager").await;
    let words = json!({"share_texts": {"ru": "{name} зовёт & ждёт{reward}: {link}"}});
    manager.patch("/api/v1/programs/default", &words).await.expect(200);
    assert_eq!(share("ru").await["texts"][2]["text"], format!("olga зовёт & ждёт: {link}"));
    assert_eq!(share("en").await, told);
}

on_every_setup!(a_qr_code_is_an_image_that_may_be_kept_for_a_minute);
async fn a_qr_code_is_an_image_that_may_be_kept_for_a_minute(setup: Setup) {
    let test = setup.start().await;
    let handle = handle_of(&test.user("olga").await).await;
    let client = test.client();
    let mut images = Vec::new();
    for query in ["?ecc=L", "", "?ecc=M", "?ecc=Q", "?ecc=H"] {
        let image = client.get(&format!("/r/{handle}/qr.svg{query}")).await.expect(200);
        assert_eq!(image.header("content-type"), "image/svg+xml");
        assert_eq!(image.header("cache-control"), "public, max-age=60");
        assert_eq!(image.header("set-cookie"), "");
        assert_eq!(image.text.matches("<path").count(), 1);
        images.push(image.text);
    }
    // Modules on a side: how long the path is depends on the handle.
    let side = |image: &String| -> u32 {
        let (_, side) = image.split_once("viewBox=\"0 0 ").expect("a size");
        side.split(' ').next().and_then(|side| side.parse().ok()).expect("a number")
    };
    let sides: Vec<u32> = images.iter().map(side).collect();
    assert!(sides.is_sorted() && sides[0] < sides[4], "{sides:?}");
    assert_eq!(images[1], images[2]);
    images.dedup();
    assert_eq!(images.len(), 4);
    client.get(&format!("/r/{handle}/qr.svg?ecc=X")).await.expect_problem(422, "invalid");
    for unknown in ["unknown1", "SPRING2030AB", "abc"] {
        client.get(&format!("/r/{unknown}/qr.svg")).await.expect_problem(404, "link_not_found");
    }
}

#[tokio::test]
async fn a_qr_code_is_read_at_five_sizes() {
    let test = Setup::Sqlite.start().await;
    let handle = handle_of(&test.user("olga").await).await;
    let folder = tempfile::tempdir().expect("a folder");
    let browser = Browser::open(&test.nodes[0].url, Screen::Desk).await;
    for (size, ecc) in [(96, "L"), (160, "M"), (256, "Q"), (512, "H"), (1024, "M")] {
        // A page of its own: those of the service show no pictures, and the browser lets no page without an origin
        // read from this machine's servers.
        let image = test.client().get(&format!("/r/{handle}/qr.svg?ecc={ecc}")).await.expect(200).text;
        let page = folder.path().join("page.html");
        let text = format!("<body style=\"margin:0\"><img src=\"code.svg\" width={size} height={size}>");
        std::fs::write(folder.path().join("code.svg"), image).expect("an image");
        std::fs::write(&page, text).expect("a page");
        browser.client.goto(&format!("file://{}", page.display())).await.expect("the picture loads");
        let picture = browser.client.screenshot().await.expect("a picture");
        let file = folder.path().join(format!("{size}.png"));
        std::fs::write(&file, picture).expect("a picture");
        let read = Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&file).output();
        let read = read.expect("`zbarimg` runs (package zbar-tools)");
        let expected = format!("http://referral.test/r/{handle}");
        assert_eq!(String::from_utf8_lossy(&read.stdout).trim(), expected, "{size}: {read:?}");
    }
    browser.close().await;
}
