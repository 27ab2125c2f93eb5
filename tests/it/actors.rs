//! Who makes a change: what each kind of caller is to the units of work that they begin.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use referral::app::App;
use referral::db::Work;
use referral::features::tokens::caller::{Manager, Person, need};
use referral::kernel::actor::{Actor, Who};
use referral::kernel::caller::{Caller, Subject};
use referral::kernel::ids::{ClientId, RequestId, UserId};
use referral::site::cors::Cors;
use referral::site::guard::{Guard, guard};
use serde_json::json;
use tower::ServiceExt;
use uuid::Uuid;

use crate::on_every_setup;
use crate::support::app::Setup;
use crate::support::client::Client;
use crate::support::oauth::register;

/// A request with the token of a caller, as the guard hands it on.
fn request_of(token: Option<&str>, id: RequestId) -> Parts {
    let mut request = Request::new(());
    request.extensions_mut().insert(id);
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, format!("Bearer {token}").parse().expect("a header"));
    }
    request.into_parts().0
}

/// Whose unit of work it is, as the unit itself sees it.
async fn seen(app: &App, actor: Actor) -> Actor {
    let look: Work<(), Actor> = |tx, ()| Box::pin(std::future::ready(Ok(tx.actor())));
    app.db.write(actor, (), look).await.expect("no fault")
}

fn user(client: &Client) -> UserId {
    UserId::parse(&client.id).expect("an id")
}

on_every_setup!(a_unit_of_work_sees_which_kind_of_caller_begins_it_and_by_which_request);
async fn a_unit_of_work_sees_which_kind_of_caller_begins_it_and_by_which_request(setup: Setup) {
    let test = setup.start().await;
    let app: &Arc<App> = test.app();
    let id = RequestId::new();
    let (olga, boss) = (test.user("olga").await, test.manager("boss").await);

    let mut parts = request_of(None, id);
    let Ok(anonymous) = Actor::from_request_parts(&mut parts, app).await;
    assert_eq!(seen(app, anonymous).await, Actor { who: Who::Anonymous, request: Some(id) });

    let mut parts = request_of(olga.token.as_deref(), id);
    let Ok(person) = Person::<need::Account>::from_request_parts(&mut parts, app).await else { panic!("no person") };
    assert_eq!(seen(app, person.actor).await, Actor { who: Who::Person(user(&olga)), request: Some(id) });

    // A manager who does what everybody may is a person.
    let mut parts = request_of(boss.token.as_deref(), id);
    let Ok(person) = Person::<need::Account>::from_request_parts(&mut parts, app).await else { panic!("no person") };
    assert_eq!(seen(app, person.actor).await, Actor { who: Who::Person(user(&boss)), request: Some(id) });
    let Ok(manager) = Manager::from_request_parts(&mut parts, app).await else { panic!("no manager") };
    assert_eq!(seen(app, manager.actor).await, Actor { who: Who::Manager(user(&boss)), request: Some(id) });

    let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let machine = register(&boss, alone).await;
    let given = machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
    let mut parts = request_of(given["access_token"].as_str(), id);
    let Ok(caller) = Caller::from_request_parts(&mut parts, app).await else { panic!("no caller") };
    assert!(matches!(caller.subject, Subject::Program(_)));
    let program = ClientId(Uuid::parse_str(&machine.id).expect("an id"));
    assert_eq!(
        seen(app, caller.subject.acts(anonymous)).await,
        Actor { who: Who::Program(program), request: Some(id) }
    );

    for (actor, who) in [(Actor::OPERATOR, Who::Operator), (Actor::SERVICE, Who::Service)] {
        assert_eq!(seen(app, actor).await, Actor { who, request: None });
    }
    // What a manager has made names them.
    let by = test.query("select count(*) from clients join users on users.id = clients.created_by").await;
    assert_eq!(by[0][0].as_deref(), Some("1"));
}

on_every_setup!(the_request_that_an_actor_names_is_the_one_that_the_answer_names);
async fn the_request_that_an_actor_names_is_the_one_that_the_answer_names(setup: Setup) {
    let test = setup.start().await;
    let app = test.app().clone();
    let state = Arc::new(Guard { cors: Cors::new(&app.config.http), described: None, app: app.clone() });
    let name = |actor: Actor| async move { actor.request.expect("a request").to_string() };
    let router: Router = Router::new().route("/", get(name)).layer(from_fn_with_state(state, guard));
    let request = Request::get("/").header("host", "referral.test").body(Body::empty()).expect("a request");
    let answer = router.oneshot(request).await.expect("an answer");
    let id = answer.headers()["x-request-id"].to_str().expect("a name").to_owned();
    let body = axum::body::to_bytes(answer.into_body(), 100).await.expect("a body");
    assert_eq!(String::from_utf8_lossy(&body), id);
}
