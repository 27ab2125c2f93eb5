//! What is expected of each page, for a browser without a session, with one, and with one that is not fresh.

use std::collections::BTreeSet;
use std::path::Path;

use Seen::{File, Form, Leads, Leaves, Public, Says};
use referral::features::accounts::actions::administration;
use reqwest::Method;
use serde_json::json;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::PASSWORD;
use crate::support::oauth::{CALLBACK, Registered, register};
use crate::support::visit::{Page, Visit};

/// What a browser gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A page of this status with a form that leads there.
    Form(u16, &'static str),
    /// A page of this status that only says something.
    Says(u16),
    /// A page that goes on by itself to an address that begins so.
    Leaves(&'static str),
    /// A redirect to this address.
    Leads(&'static str),
    /// A file of this kind to keep.
    File(&'static str),
    /// Something public, no page of a person's: its status.
    Public(u16),
}

/// Each route that the document does not describe, with what it answers to a browser that nobody is logged in with, to
/// one that somebody is, and to a form that was made for another browser.
const PAGES: &[(&str, &str, [Seen; 3])] = &[
    ("GET", "/", [Public(307), Public(307), Public(307)]),
    ("GET", "/brand/colors.css", [Public(404), Public(404), Public(404)]),
    ("GET", "/brand/logo", [Public(404), Public(404), Public(404)]),
    ("GET", "/docs", [Public(200), Public(200), Public(200)]),
    ("GET", "/docs/assets/{name}", [Public(404), Public(404), Public(404)]),
    ("GET", "/openapi.json", [Public(200), Public(200), Public(200)]),
    ("GET", "/problems", [Public(200), Public(200), Public(200)]),
    ("GET", "/problems/{word}", [Public(404), Public(404), Public(404)]),
    ("GET", "/redoc", [Public(200), Public(200), Public(200)]),
    ("GET", "/oauth/authorize", [Form(200, "/oauth/login"), Form(200, "/oauth/consent"), Form(200, "/oauth/consent")]),
    ("POST", "/oauth/authorize", [Leaves("/oauth/authorize?client_id="); 3]),
    ("POST", "/oauth/login", [Form(422, "/oauth/login"), Form(422, "/oauth/login"), Form(403, "/oauth/login")]),
    (
        "GET",
        "/oauth/register",
        [Form(200, "/oauth/register"), Form(200, "/oauth/register"), Form(200, "/oauth/register")],
    ),
    (
        "POST",
        "/oauth/register",
        [Form(422, "/oauth/register"), Form(422, "/oauth/register"), Form(403, "/oauth/register")],
    ),
    ("POST", "/oauth/consent", [Leaves("/oauth/authorize?client_id="), Leaves(CALLBACK), Says(403)]),
    ("GET", "/oauth/apps", [Form(200, "/oauth/login"), Form(200, "/oauth/logout"), Form(200, "/oauth/logout")]),
    ("POST", "/oauth/apps", [Form(200, "/oauth/login"), Form(200, "/oauth/logout"), Says(403)]),
    ("GET", "/oauth/login/{provider}", [Says(404), Says(404), Says(404)]),
    ("POST", "/oauth/login/{provider}", [Says(404), Says(404), Form(403, "/oauth/register")]),
    // No mail is sent here; what they do where one is, their own tests tell.
    ("GET", "/oauth/reset", [Says(404), Says(404), Says(404)]),
    ("POST", "/oauth/reset", [Says(404), Says(404), Says(404)]),
    ("GET", "/mail/{token}", [Says(410), Says(410), Says(410)]),
    ("POST", "/mail/{token}", [Says(410), Says(410), Says(410)]),
    ("GET", "/oauth/callback/{provider}", [Says(404), Says(404), Says(404)]),
    ("POST", "/oauth/finish", [Says(403), Says(403), Says(403)]),
    ("GET", "/r/{name}", [Public(404), Public(404), Public(404)]),
    ("GET", "/r/{name}/qr.svg", [Public(404), Public(404), Public(404)]),
    ("GET", "/share", [Form(200, "/oauth/login"), Form(200, "/share/code"), Form(200, "/share/code")]),
    ("POST", "/share/code", [Form(200, "/oauth/login"), Leads("/share?done=made"), Says(403)]),
    (
        "GET",
        "/share/account",
        [Form(200, "/oauth/login"), Form(200, "/share/account/handle"), Form(200, "/share/account/handle")],
    ),
    ("POST", "/share/account/name", [Form(200, "/oauth/login"), Leads("/share/account?done=name"), Says(403)]),
    ("POST", "/share/account/handle", [Form(200, "/oauth/login"), Leads("/share/account?done=handle"), Says(403)]),
    (
        "POST",
        "/share/account/discoverable",
        [Form(200, "/oauth/login"), Leads("/share/account?done=discoverable"), Says(403)],
    ),
    // No mail is sent here.
    ("POST", "/share/account/email", [Form(200, "/oauth/login"), Says(404), Says(403)]),
    ("POST", "/share/account/password", [Form(200, "/oauth/login"), Form(422, "/share/account/password"), Says(403)]),
    ("POST", "/share/account/sign-ins", [Form(200, "/oauth/login"), Leads("/share/account?done=unlinked"), Says(403)]),
    ("POST", "/share/account/sessions", [Form(200, "/oauth/login"), Leads("/share/account?done=ended"), Says(403)]),
    ("POST", "/share/account/export", [Form(200, "/oauth/login"), File("application/json"), Says(403)]),
    (
        "GET",
        "/share/account/erase",
        [Form(200, "/oauth/login"), Form(200, "/share/account/erase"), Form(200, "/share/account/erase")],
    ),
    ("POST", "/share/account/erase", [Form(200, "/oauth/login"), Form(403, "/share/account/erase"), Says(403)]),
    // The last: it takes the browser's log-in away.
    ("POST", "/oauth/logout", [Says(200), Says(200), Says(403)]),
];

/// The routes that the sources name, as (method, path), without what is documented.
fn routes() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Figures are asked for at an address of their own, see its tests.
            if path.extension().is_none_or(|end| end != "rs") || path.ends_with("site/server.rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a text");
            for part in source.split(".route(").skip(1) {
                let (_, part) = part.split_once('"').expect("a path");
                let (path, handlers) = part.split_once('"').expect("a path that ends");
                let handlers = handlers.split(".route(").next().expect("handlers").lines().next().expect("a line");
                let methods: Vec<&str> = ["get(", "post(", "put(", "patch(", "delete(", "any("]
                    .into_iter()
                    .filter(|m| handlers.contains(m))
                    .collect();
                assert!(!methods.is_empty(), "{path}: no method is found in {handlers}");
                for method in methods {
                    found.insert((method.trim_end_matches('(').to_uppercase(), path.to_owned()));
                }
            }
        }
    }
    found
}

#[test]
fn every_page_is_in_the_table() {
    let known: BTreeSet<(String, String)> =
        PAGES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(routes(), known, "each route that is not documented is in the table, and no other");
}

fn seen(page: &Page, expected: Seen) -> Result<(), String> {
    let fine = match expected {
        Form(status, action) => page.status == status && page.forms().iter().any(|form| form.action == action),
        // A page that says something leads on by a link at most.
        Says(status) => page.status == status && page.forms().is_empty() && page.location().is_none(),
        File(kind) => {
            page.status == 200
                && page.header("content-type") == kind
                && page.header("content-disposition").starts_with("attachment;")
        }
        Leads(to) => page.status == 303 && page.location() == Some(to),
        Leaves(to) => page.clone().leaves().location().is_some_and(|location| location.starts_with(to)),
        Public(status) => page.status == status && page.headers.get("set-cookie").is_none(),
    };
    let policy = page.header("content-security-policy");
    let kind = page.header("content-type");
    let safe = policy.contains("default-src 'none'")
        && policy.contains("frame-ancestors 'none'")
        && page.header("x-content-type-options") == "nosniff"
        && page.header("referrer-policy") == "no-referrer";
    let private = match expected {
        Public(_) => true,
        File(_) | Leads(_) => page.header("cache-control") == "no-store",
        Form(..) | Says(_) | Leaves(_) => {
            page.header("cache-control") == "no-store" && kind == "text/html; charset=utf-8"
        }
    };
    if fine && safe && private { Ok(()) } else { Err(format!("{expected:?}, but {page:?}")) }
}

/// The token that a browser's own forms carry.
async fn csrf(visit: &mut Visit) -> String {
    let page = visit.get("/oauth/apps").await.expect(200);
    let form = page.forms().into_iter().next().expect("a form");
    form.fields.into_iter().find(|(name, _)| name == "csrf").expect("its token").1
}

async fn logged_in(base: &str, name: &str) -> Visit {
    let mut visit = Visit::new(base);
    let page = visit.get("/oauth/apps").await.expect(200);
    visit.log_in(&page, name, PASSWORD).await.expect(303);
    visit
}

async fn show(visit: &mut Visit, shop: &Registered, method: &str, path: &str, csrf: &str) -> Page {
    let request = shop.request(&[]);
    let path = path.replace("{name}", "nothing").replace("{word}", "nothing").replace("{provider}", "nobody");
    let path = path.replace("{token}", "nothing");
    if method == "GET" {
        let path = if path == "/oauth/authorize" { request } else { path };
        return visit.get(&path).await;
    }
    assert_eq!(method, Method::POST.as_str());
    let (_, query) = request.split_once('?').expect("a query");
    let mut fields: Vec<(String, String)> = match path.as_str() {
        "/oauth/authorize" => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        "/oauth/consent" => vec![("next".into(), request.clone()), ("decision".into(), "allow".into())],
        "/oauth/login" => vec![("username".into(), "olga".into()), ("password".into(), "not the password".into())],
        "/oauth/register" | "/oauth/login/nobody" => vec![("username".into(), "newcomer".into())],
        "/oauth/apps" => vec![("client_id".into(), "nobody".into())],
        "/oauth/finish" => vec![("ticket".into(), "nonsense".into()), ("login".into(), "olga".into())],
        "/share/code" => vec![("action".into(), "make".into()), ("shown".into(), "0".into())],
        "/share/account/name" => vec![("name".into(), "Olga".into())],
        "/share/account/handle" => vec![("handle".into(), "olga7".into())],
        "/share/account/discoverable" => vec![("discoverable".into(), "no".into())],
        "/share/account/email" => vec![("email".into(), "olga@example.org".into())],
        "/share/account/password" => {
            vec![("current_password".into(), PASSWORD.into()), ("new_password".into(), "a".into())]
        }
        "/share/account/sign-ins" | "/share/account/sessions" => vec![("id".into(), "nothing".into())],
        "/share/account/export" => vec![],
        "/share/account/erase" => vec![("password".into(), "not the password".into())],
        "/oauth/reset" => vec![("email".into(), "olga@example.com".into())],
        "/mail/nothing" | "/oauth/logout" => vec![],
        other => panic!("{other} takes a form: say here which"),
    };
    if path != "/oauth/authorize" {
        fields.push(("csrf".into(), csrf.to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    visit.post(&path, &fields).await
}

on_every_setup!(every_page_shows_itself_to_whom_it_should_and_takes_its_own_forms_only);
async fn every_page_shows_itself_to_whom_it_should_and_takes_its_own_forms_only(setup: Setup) {
    let test = setup.start().await;
    let shop = register(&test.manager("manager").await, json!({})).await;
    for name in ["olga", "ivan", "disabled", "erased"] {
        test.client().register(name, None).await.expect(201);
    }
    let base = &shop.base;
    let mut olgas = logged_in(base, "olga").await;
    let mut ivans = logged_in(base, "ivan").await;
    let mut nobodys = Visit::new(base);
    // Browsers that somebody was logged in with: they are like any other.
    let mut was = vec![logged_in(base, "disabled").await, logged_in(base, "erased").await];
    let found = administration::find(test.app(), "disabled").await.expect("a look").expect("an account");
    administration::disable(test.app(), found.id).await.expect("disabled");
    let erased = test.client().logged_in("erased").await;
    erased.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    let mut logged_out = logged_in(base, "ivan").await;
    let token = csrf(&mut logged_out).await;
    logged_out.clone().post("/oauth/logout", &[("csrf", &token)]).await.expect(200);
    was.push(logged_out);

    let mut wrong = Vec::new();
    let mut note = |who: &str, method: &str, path: &str, page: &Page, expected: Seen| {
        if let Err(reason) = seen(page, expected) {
            wrong.push(format!("{method} {path} by {who}: {reason}"));
        }
    };
    for (method, path, [anonymous, own, foreign]) in PAGES {
        for visit in std::iter::once(&mut nobodys).chain(&mut was) {
            let token = csrf(visit).await;
            let page = show(visit, &shop, method, path, &token).await;
            note("nobody", method, path, &page, *anonymous);
        }
        // Olga's form in ivan's browser, and in one that has never been here.
        let token = csrf(&mut olgas).await;
        let page = show(&mut ivans, &shop, method, path, &token).await;
        note("another", method, path, &page, *foreign);
        assert!(!page.text.contains("olga") || *path == "/oauth/login", "{path} tells of others: {page:?}");
        if *method == "POST" {
            let page = show(&mut Visit::new(base), &shop, method, path, &token).await;
            note("a browser without a cookie", method, path, &page, *foreign);
        }
        let page = show(&mut olgas, &shop, method, path, &token).await;
        note("olga", method, path, &page, *own);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Of all who tried, olga has let the shop in, and she has logged out.
    assert_eq!(test.number("select count(*) from consents").await, 1);
    olgas.get("/oauth/apps").await.expect(200).form("/oauth/login");
    ivans.get("/oauth/apps").await.expect(200).form("/oauth/logout");
}
