//! A tour through the service by people with secrets, for those who look for them afterwards.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::process::Serving;

/// What must never be in a log: everything that the tour says of people, and what it was given.
pub struct Secrets(pub Vec<String>);

impl Secrets {
    pub fn of(&mut self, texts: &[&str]) {
        self.0.extend(texts.iter().map(|text| (*text).to_owned()));
    }

    /// As it is, in another case, or as a URL has it.
    #[track_caller]
    pub fn assert_not_in(&self, log: &str) {
        let folded = log.to_lowercase();
        for secret in &self.0 {
            let secret = secret.to_lowercase();
            let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret, encoded.to_lowercase()] {
                let lines: Vec<&str> =
                    log.lines().zip(folded.lines()).filter(|(_, l)| l.contains(&form)).map(|(l, _)| l).collect();
                assert!(lines.is_empty(), "{form} is in the log: {lines:?}");
            }
        }
    }
}

/// Everything that a person can do and do wrong, with names and words that are in no log by accident.
pub async fn tour(serving: &Serving) -> Secrets {
    let mut secrets = Secrets(Vec::new());
    let client = serving.client();
    let tokens = |answer: &Value| {
        let access = answer["access_token"].as_str().expect("a token").to_owned();
        let claims = access.split('.').nth(1).expect("claims").to_owned();
        [access, claims, answer["refresh_token"].as_str().expect("a token").to_owned()]
    };
    let person =
        |name: &str, email: &str, password: &str| json!({"username": name, "email": email, "password": password});
    secrets.of(&["zebulon", "private-domain", "xq9-unusual-pass", "fig-tree-unlikely-8"]);
    secrets.of(&["ANTELOPE2030", "BUFFALOE2030", "quokka", "wombat"]);

    let zebulon = person("Zebulon77", "Zebulon+tag@private-domain.example", "xq9-unusual-pass");
    client.post("/api/v1/auth/user", &zebulon).await.expect(201);
    client.post("/api/v1/auth/user", &zebulon).await.expect(409);
    client.post("/api/v1/auth/user", &person("quokka 1", "quokka", "wombat")).await.expect(422);
    client.post_raw("/api/v1/auth/user", "application/json", "{\"username\": \"quokka\", \"email").await.expect(422);
    client.log_in("Zebulon77", "wombat-wombat-wombat").await.expect(401);
    client.log_in("zebulon-nobody@private-domain.example", "wombat-wombat-wombat").await.expect(401);
    let mut me = client.clone();
    let answer = client.log_in("zebulon+tag@private-domain.example", "xq9-unusual-pass").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    me.take_tokens(&answer);
    me.get("/api/v1/me").await.expect(200);
    me.create_code("ANTELOPE2030").await.expect(201);
    me.create_code("ANTELOPE2030").await.expect(409);
    client.post("/api/v1/codes/validate", &json!({"code": "ANTELOPE2030"})).await.expect(200);
    let friend = person("Zebulon78", "zebulon78@private-domain.example", "xq9-unusual-pass");
    client.post("/api/v1/auth/user/antelope2030", &friend).await.expect(201);
    client
        .post(
            "/api/v1/auth/user/BUFFALOE2030",
            &person("Zebulon79", "zebulon79@private-domain.example", "xq9-unusual-pass"),
        )
        .await
        .expect(404);
    let mut other = client.clone();
    let answer = client.log_in("zebulon78", "xq9-unusual-pass").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    other.take_tokens(&answer);
    other.get("/api/v1/codes/zebulon+tag@private-domain.example").await.expect(200);
    other.get("/api/v1/codes/zebulon%2Btag%40private-domain.example").await.expect(200);
    other.get("/api/v1/codes/quokka@private-domain.example").await.expect(404);
    other.get("/api/v1/codes/quokka").await.expect(422);
    other.post("/api/v1/codes/lookup", &json!({"email": "zebulon+tag@private-domain.example"})).await.expect(200);
    let id = me.get("/api/v1/me").await.expect(200).json()["id"].as_str().expect("an id").to_owned();
    me.get(&format!("/api/v1/users/{id}?cursor=quokka")).await.expect(422);
    me.get(&format!("/api/v1/users/{id}")).await.expect(200);
    other.get(&format!("/api/v1/users/{id}/referrals")).await.expect(200);
    other.revoke_code("ANTELOPE2030").await.expect(403);
    me.revoke_code("antelope2030").await.expect(204);
    me.revoke_code("BUFFALOE2030").await.expect(404);
    me.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    client.get("/quokka/wombat?email=zebulon@private-domain.example").await.expect(404);
    client.request(Method::PUT, "/api/v1/codes/quokka").send().await.expect("an answer");
    for token in ["quokka.wombat.quokka", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJxdW9ra2EifQ."] {
        let request = client.request(Method::GET, "/api/v1/me").bearer_auth(token);
        client.send(request).await.expect(401);
        secrets.of(&[token]);
    }
    let request = client.request(Method::GET, "/api/v1/me").header("authorization", "Basic cXVva2thOndvbWJhdA==");
    client.send(request).await.expect(401);
    secrets.of(&["cXVva2thOndvbWJhdA"]);
    // Refreshed, and the old token used again when its time is over: the session is ended, and the log says so.
    let old = other.refresh_token.clone().expect("a token");
    let answer = other.refresh(&old).await.expect(200).json();
    secrets.0.extend(tokens(&answer));
    let answer = other.refresh(answer["refresh_token"].as_str().expect("a token")).await.expect(200).json();
    secrets.0.extend(tokens(&answer));
    other.refresh(&old).await.expect(401);
    other.refresh("rt_quokka").await.expect(401);
    let change = json!({"current_password": "wombat-wombat-wombat", "new_password": "fig-tree-unlikely-8"});
    me.post("/api/v1/me/password", &change).await.expect(403);
    let change = json!({"current_password": "xq9-unusual-pass", "new_password": "fig-tree-unlikely-8"});
    me.post("/api/v1/me/password", &change).await.expect(204);
    let answer = client.log_in("Zebulon77", "fig-tree-unlikely-8").await.expect(200);
    secrets.0.extend(tokens(&answer.json()));
    me.take_tokens(&answer);
    me.delete_with("/api/v1/me", &json!({"password": "fig-tree-unlikely-8"})).await.expect(204);
    secrets
}
