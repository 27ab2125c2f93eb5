//! Addresses and methods.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::helpers::{PAGES, bearer};
use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::{Client, PASSWORD};
use crate::support::operations::{each, operations};
use crate::support::paths::{CODES, ME, USER};
use crate::support::raw;

on_every_setup!(percent_encoded_garbage_in_paths_finds_nothing);
async fn percent_encoded_garbage_in_paths_finds_nothing(setup: Setup) {
    let test = setup.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    let authorization = bearer(&user);
    let body = json!({"username": "late", "email": "late@example.com", "password": PASSWORD}).to_string();
    let length = body.len().to_string();
    let garbage = each(
        "%ff|%FF%FE|%00|AMSEL2030XYZ%00|%2F|%2f%2f|..%2f..%2fetc%2fpasswd|%2e%2e|..|%5c|%|%z|%zz|%4|%C0%AF|\
         %E0%80%80|%ED%A0%80|%F4%90%80%80|%F0%9F%98%80|%E2%80%AE|%0d%0aSet-Cookie:%20a=b|%3Cscript%3E|\
         %27%20or%201=1|%25%30%30|+|a;b|~|*|%3F|%23|user%00@example.com|%40|user%40example.com%2F|AMSEL2030XYY",
    );
    let (long, encoded) = ("a".repeat(4000), "%61".repeat(2500));
    for text in garbage.chain([long.as_str(), encoded.as_str()]) {
        for (method, path) in [
            ("GET", format!("{CODES}/{text}")),
            ("DELETE", format!("{CODES}/{text}")),
            ("GET", format!("/api/v1/users/{text}")),
            ("GET", format!("/api/v1/users/{text}/referrals")),
            ("POST", format!("{USER}/{text}")),
            ("GET", format!("/problems/{text}")),
            ("GET", format!("/docs/assets/{text}")),
        ] {
            let mut headers = vec![("Authorization", authorization.as_str())];
            let mut content: &[u8] = b"";
            if method == "POST" {
                headers.push(("Content-Length", &length));
                content = body.as_bytes();
            }
            let answer = raw::ask(&user.base, method, &path, &headers, content).await;
            assert!([404, 422].contains(&answer.status), "{method} {path:.80}: {answer:?}");
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path:.80}");
        }
    }
    assert_eq!(test.number("select count(*) from users").await, 1);
    assert_eq!(user.get(ME).await.expect(200).json()["active_code"]["code"], "AMSEL2030XYZ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_route_has_is_404_in_our_own_shape() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    for path in each(
        "/api|/api/|/api/v1|/api/v1/|/api/v2/me|/API/V1/ME|/api/v1/Me|/api/v1/auth|/api/v1/auth/tokens|\
         /api/v1/auth/user/a/b|/api/v1/codes/a/b|/api/v1/users|/api/v1/users/a/b|/api/v1/users/a/referrals/b|\
         /api/v1/me/password/x|/api//v1/me|//api/v1/me|//|///|/api/v1/./me|/api/v1/../v1/me|/api/v1/%6De|/api/v1%2Fme|\
         /api/v1/me;a=b|/api/v1/me.json|/.env|/favicon.ico|/metrics|/docs/x|/docs/assets|/docs/assets/../docs.html|\
         /docs/assets/%2e%2e/docs.html|/openapi.yaml|/.well-known/nothing|/oauth|/oauth/nothing|/%00|/%ff|/%",
    ) {
        for method in ["GET", "POST", "DELETE", "BREW"] {
            let answer = raw::ask(&user.base, method, path, &[("Content-Length", "0")], b"").await;
            let code = answer.json()["code"].clone();
            assert_eq!((answer.status, &code), (404, &json!("not_found")), "{method} {path}: {answer:?}");
        }
    }
    for path in
        each("/problems/nothing|/docs/assets/nothing|/docs/assets/%2e%2e%2fdocs.html|/docs/assets/..%5cdocs.html")
    {
        raw::ask(&user.base, "GET", path, &[], b"").await.expect_problem(404, "not_found");
    }
    assert_eq!(user.get("/").await.expect(307).header("location"), "/docs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_a_path_has_not_is_405_and_told_which_it_has() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    let authorization = bearer(&user);
    let operations = operations(&user);
    let mut paths: Vec<(String, BTreeSet<String>)> = Vec::new();
    for operation in &operations {
        let methods = operations.iter().filter(|other| other.template == operation.template);
        paths.push((operation.path.clone(), methods.map(|other| other.method.to_string()).collect()));
    }
    paths.extend(each(PAGES).chain(["/"]).map(|path| (path.to_owned(), BTreeSet::from(["GET".to_owned()]))));
    let mut refused = 0;
    for (path, mut methods) in paths {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        let all = each("GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|TRACE|BREW|get|PROPFIND|M-SEARCH");
        for method in all.filter(|method| !methods.contains(*method)) {
            let headers = [("Authorization", authorization.as_str()), ("Content-Length", "0")];
            let answer = raw::ask(&user.base, method, &path, &headers, b"").await;
            assert_eq!(answer.status, 405, "{method} {path}: {answer:?}");
            let allowed = answer.header("allow").split(',').map(|word| word.trim().to_owned());
            assert_eq!(allowed.collect::<BTreeSet<String>>(), methods, "{method} {path}");
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_as_get_without_a_body() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    let authorization = bearer(&user);
    let operations = operations(&user);
    let reads = operations.iter().filter(|operation| operation.method == Method::GET);
    let others = each("/nowhere|/api/v1/codes?page=0|/api/v1/codes/nobody@example.com");
    let paths: Vec<&str> = reads.map(|operation| operation.path.as_str()).chain(each(PAGES)).chain(others).collect();
    assert!(paths.len() > 15);
    for path in paths {
        for headers in [&[("Authorization", authorization.as_str())][..], &[]] {
            let get = raw::ask(&user.base, "GET", path, headers, b"").await;
            let head = raw::ask(&user.base, "HEAD", path, headers, b"").await;
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
            // An export tells of those before it.
            let length = if path.ends_with("/export") { "" } else { "content-length" };
            for name in each("content-type|cache-control|content-security-policy|www-authenticate").chain([length]) {
                assert_eq!(head.header(name), get.header(name), "{path} {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slash_at_the_end_changes_nothing_on_any_route() {
    let test = Setup::Sqlite.start().await;
    let user = test.user("user").await;
    user.create_code("AMSEL2030XYZ").await.expect(201);
    user.register("friend", Some("AMSEL2030XYZ")).await.expect(201);
    let operations = operations(&user).into_iter().map(|operation| (operation.method, operation.path));
    let pages = each(PAGES).map(|path| (Method::GET, path.to_owned()));
    let look = async |client: &Client, method: &Method, path: &str| {
        let request = client.request(method.clone(), path);
        let answer = client.send(if *method == Method::GET { request } else { request.body("{}") }).await;
        let mut body: Value = serde_json::from_str(&answer.text).unwrap_or_else(|_| json!(answer.text));
        if let Some(problem) = body.as_object_mut() {
            problem.remove("instance");
            // An export says when it was made, and that it was.
            problem.remove("exported_at");
            problem.remove("audit");
        }
        (answer.status, body)
    };
    for (method, path) in operations.chain(pages) {
        // Without a token where it would change something: who has one would log out.
        let client = if method == Method::GET { user.clone() } else { user.anonymous() };
        let plain = look(&client, &method, &path).await;
        assert_ne!(plain.1["code"], "not_found", "{method} {path}");
        for end in each("/|//|///|/?a=/|//?a=/") {
            assert_eq!(look(&client, &method, &format!("{path}{end}")).await, plain, "{method} {path}{end}");
        }
    }
    // The query stays what it is.
    let part = user.get("/api/v1/codes//?size=1&page=2").await.expect(200).json();
    assert_eq!((&part["size"], &part["page"]), (&json!(1), &json!(2)));
    user.get("/api/v1/codes/?page=0").await.expect_problem(422, "invalid");
    user.delete("/api/v1/codes/AMSEL2030XYZ//").await.expect(204);
}

/// Callers make up methods and paths without end: what is counted must not grow with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_methods_and_paths_do_not_become_figures() {
    let test = Setup::Sqlite.start().await;
    let client = test.client();
    client.get("/livez").await.expect(200);
    for number in 0..20 {
        let method = Method::from_bytes(format!("MADEUP{number}").as_bytes()).expect("a method");
        client.send(client.request(method.clone(), "/livez")).await.expect(405);
        client.send(client.request(method, &format!("/madeup{number}"))).await.expect(404);
        client.get(&format!("/madeup{number}/livez")).await.expect(404);
        client.get(&format!("/problems/madeup{number}")).await.expect(404);
        client.get(&format!("/docs/assets/madeup{number}")).await.expect(404);
    }
    let text = test.app().metrics.text(&[]).expect("figures");
    assert!(text.contains("/livez") && text.contains("GET"), "{text}");
    assert!(!text.to_lowercase().contains("madeup"), "{text}");
}
