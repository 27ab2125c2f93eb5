//! Connections that are lost, and prepared statements.

use std::sync::Arc;

use futures_util::future::join_all;
use referral::features::{accounts, referrals};
use referral::jobs;
use referral::jobs::Kind;
use referral::kernel::time::Time;
use serde_json::json;

use crate::support::app::{Setup, eventually};
use crate::support::client::PASSWORD;
use crate::support::operator::{operator, sql};
use crate::support::spy::Spy;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_healed_without_a_restart_and_without_a_500() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid()";
    for round in 0..20 {
        assert!(!test.query(cut).await.is_empty(), "there were connections to cut");
        // The client itself fails on anything of 5xx but 503.
        let me = owner.get("/api/v1/me").await;
        assert!(matches!(me.status, 200 | 503), "{me:?}");
        let list = owner.get("/api/v1/codes").await;
        assert!(matches!(list.status, 200 | 503), "{list:?}");
        let write = owner.patch("/api/v1/me", &json!({"discoverable": round % 2 == 0})).await;
        assert!(matches!(write.status, 200 | 503), "{write:?}");
        eventually("reads work again", || async { owner.get("/api/v1/me").await.status == 200 }).await;
        eventually("long reads work again", || async { owner.get("/api/v1/codes").await.status == 200 }).await;
        eventually("writes work again", || async {
            let path = format!("/api/v1/codes?replace=true&round={round}");
            owner.post(&path, &json!({"expires_at": "2099-01-01"})).await.status == 201
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_under_load_bring_no_500_and_lose_nothing_acknowledged() {
    let test = Setup::Postgres.start().await;
    let owner = test.user("owner").await;
    let stop = Arc::new(tokio::sync::watch::Sender::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (client, stop) = (owner.clone(), stop.subscribe());
            tokio::spawn(async move {
                let mut made = Vec::new();
                while !*stop.borrow() {
                    let code = format!("W{writer}R{:08}ABCD", made.len());
                    let body = json!({"code": code, "expires_at": "2099-01-01"});
                    let answer = client.post("/api/v1/codes?replace=true", &body).await;
                    // 409: the one whose outcome nobody knew had happened.
                    assert!(matches!(answer.status, 201 | 409 | 503), "{answer:?}");
                    if answer.status != 503 {
                        made.push(code);
                    }
                }
                made
            })
        })
        .collect();
    for _ in 0..20 {
        test.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
        let before = test.number("select count(*) from codes").await;
        eventually("writes go on", || async { test.number("select count(*) from codes").await > before }).await;
    }
    stop.send_replace(true);
    let made: Vec<String> = join_all(writers).await.into_iter().flat_map(|made| made.expect("no 500")).collect();
    let stored = test.query("select code from codes").await;
    for code in made {
        assert!(stored.iter().any(|row| row[0].as_deref() == Some(&code)), "{code} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_prepared_statements_everything_works_and_none_is_prepared() {
    let spy = Spy::before(&Setup::Postgres.prepare(&[]).await.database_url).await;
    let test = Setup::Postgres
        .start_with(&[("DATABASE_URL", &spy.url), ("REFERRAL_DATABASE_PREPARED_STATEMENTS", "false")])
        .await;
    // The whole life of an account, so that every kind of parameter is sent.
    let owner = test.user("owner").await;
    owner.create_code("SPRING2030AB").await.expect(201);
    test.client().register("friend", Some("SPRING2030AB")).await.expect(201);
    let friend = test.client().logged_in("friend").await;
    friend.create_code("FRIEND2030AB").await.expect(201);
    let path = format!("/api/v1/users/{}", owner.id);
    assert_eq!(owner.get(&path).await.expect(200).json()["items"][0]["email"], "friend@example.com");
    assert_eq!(friend.get(&format!("{path}?cursor=AAAAAAAAAAA")).await.expect(200).json()["total"], 1);
    referrals::actions::fold(test.app(), &owner.id).await.expect("the list is folded");
    owner.get("/api/v1/codes/friend@example.com").await.expect(200);
    test.client().post("/api/v1/codes/validate", &json!({"code": "SPRING2030AB"})).await.expect(200);
    assert_eq!(owner.get("/api/v1/codes").await.expect(200).json()["total"], 1);
    assert_eq!(friend.get("/api/v1/me").await.expect(200).json()["referred_by"]["username"], "owner");
    friend.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
    owner.revoke_code("SPRING2030AB").await.expect(204);
    friend.refresh(friend.refresh_token.as_deref().expect("a token")).await.expect(200);
    let change = json!({"current_password": PASSWORD, "new_password": "another, longer one"});
    owner.post("/api/v1/me/password", &change).await.expect(204);
    let found =
        accounts::actions::administration::find(test.app(), "owner").await.expect("no fault").expect("the owner");
    accounts::actions::administration::set_manager(test.app(), found.id, true).await.expect("a manager");
    accounts::actions::administration::disable(test.app(), found.id).await.expect("disabled");
    accounts::actions::administration::enable(test.app(), found.id).await.expect("enabled");
    owner.log_in("owner", "another, longer one").await.expect(200);
    friend.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    jobs::claim(&test.app().db, Kind::CheckEmail, 16, Time(0)).await.expect("no job is due");
    referral::worker::clean(test.app()).await.expect("housekeeping");
    let prepared = spy.prepared();
    assert!(prepared.iter().all(String::is_empty), "named statements: {prepared:?}");
    assert!(prepared.len() > 50, "the spy has seen the statements: {}", prepared.len());
}

/// The negative control: the spy sees named statements where there are any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_prepared_statements_they_have_names() {
    let spy = Spy::before(&Setup::Postgres.prepare(&[]).await.database_url).await;
    let test = Setup::Postgres.start_with(&[("DATABASE_URL", &spy.url)]).await;
    test.user("owner").await;
    assert!(spy.prepared().iter().any(|name| !name.is_empty()));
}

/// PostgreSQL's words for the same: a page that cannot be read, or is not what was written.
#[tokio::test]
async fn what_postgresql_cannot_read_is_503() {
    let operator = operator(Setup::Postgres).await;
    let serving = operator.serve();
    let client = serving.client().signed_up("olga").await;
    client.create_code("SPRING2030AB").await.expect(201);
    for state in ["58030", "XX001", "XX002", "53100"] {
        let broken = format!(
            "create or replace function referral_now() returns bigint language plpgsql volatile \
             as 'begin raise sqlstate ''{state}''; end'"
        );
        sql(&operator, &broken).await;
        let validated = client.post("/api/v1/codes/validate", &json!({"code": "SPRING2030AB"})).await;
        validated.expect_problem(503, "unavailable");
        if state.starts_with("XX") {
            let told = async || client.get("/readyz?reads").await.json()["reason"] == "malformed";
            eventually("readiness tells", told).await;
        }
    }
}
