//! Who may do what. Every operation of the document is asked by every kind of caller, and every page by every kind of
//! browser; what is expected stands here once more, so that a route that is not in these tables fails, and so does a
//! document that states something else than is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use referral::features::accounts::actions::administration;
use referral::kernel::scope::{Scope, Scopes};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::oauth::{CALLBACK, Registered, bearer, register, text};
use crate::on_every_setup;
use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::operations::{Operation, operations};
use crate::support::visit::{Page, Visit};

// ------------------------------------------------------------------------------------------------- operations

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// Nothing: it is meant to be public.
    Nothing,
    /// Any good token.
    Token,
    /// A person's token with this scope.
    Person(&'static str),
    /// A person's token with this scope, or a machine's.
    Reader(&'static str),
    /// A manager's token with the scope admin.
    Manager,
    /// A client: by its secret, or by its name if it is public.
    Client,
    /// A client, by its secret.
    Secret,
}

/// Each operation with what it asks, and what it answers to those who may: with the bodies of these tests, which are
/// refused for what they say wherever more could come of it.
const OPERATIONS: &[(&str, Asks, u16, &str)] = &[
    ("get_jwks", Asks::Nothing, 200, ""),
    ("get_oauth_metadata", Asks::Nothing, 200, ""),
    ("get_openid_configuration", Asks::Nothing, 200, ""),
    ("check_liveness", Asks::Nothing, 200, ""),
    ("check_readiness", Asks::Nothing, 200, ""),
    ("register_account", Asks::Nothing, 404, "code_not_usable"),
    ("register_account_with_code", Asks::Nothing, 404, "code_not_usable"),
    ("log_in", Asks::Nothing, 401, "bad_credentials"),
    ("validate_code", Asks::Nothing, 200, ""),
    ("request_tokens", Asks::Client, 400, "invalid_grant"),
    ("revoke_token", Asks::Client, 200, ""),
    ("introspect_token", Asks::Secret, 200, ""),
    ("log_out", Asks::Token, 204, ""),
    ("get_user_info", Asks::Person("openid"), 200, ""),
    ("get_user_info_by_post", Asks::Person("openid"), 200, ""),
    ("get_profile", Asks::Person("profile"), 200, ""),
    ("update_profile", Asks::Person("account"), 200, ""),
    ("change_password", Asks::Person("account"), 403, "wrong_password"),
    ("erase_account", Asks::Person("account"), 403, "wrong_password"),
    ("list_consents", Asks::Person("account"), 200, ""),
    ("withdraw_consent", Asks::Person("account"), 404, "consent_not_found"),
    ("list_codes", Asks::Person("codes:read"), 200, ""),
    ("create_code", Asks::Person("codes:write"), 400, "expires_in_past"),
    ("revoke_code", Asks::Person("codes:write"), 404, "code_not_found"),
    ("find_code", Asks::Reader("codes:read"), 200, ""),
    ("look_up_code", Asks::Reader("codes:read"), 404, "no_active_code"),
    ("list_referees", Asks::Reader("referrals:read"), 200, ""),
    ("list_referrals", Asks::Reader("referrals:read"), 200, ""),
    ("list_clients", Asks::Manager, 200, ""),
    ("register_client", Asks::Manager, 422, "invalid"),
    ("get_client", Asks::Manager, 404, "client_not_found"),
    ("change_client", Asks::Manager, 422, "invalid"),
    ("remove_client", Asks::Manager, 404, "client_not_found"),
    ("replace_client_secret", Asks::Manager, 404, "client_not_found"),
];

impl Asks {
    /// What the document states.
    fn stated(operation: &str, security: &Value) -> Self {
        let mut ways: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for way in security.as_array().unwrap_or_else(|| panic!("{operation} has no security statement of its own")) {
            let way = way.as_object().expect("a way");
            assert!(way.len() <= 1, "{operation}: two things at once are asked for");
            let (name, scopes) = way.iter().next().map_or((String::new(), Vec::new()), |(name, scopes)| {
                let scopes = scopes.as_array().expect("scopes").iter();
                (name.clone(), scopes.map(|scope| scope.as_str().expect("a word")).collect())
            });
            assert!(ways.insert(name, scopes).is_none(), "{operation}: a way is stated twice");
        }
        let names: Vec<&str> = ways.keys().map(String::as_str).collect();
        let scope = ways.get("oauth").and_then(|scopes| scopes.first());
        let scope = scope.map(|word| Scope::parse(word).expect("a scope").word());
        assert!(ways.get("oauth").is_none_or(|scopes| scopes.len() <= 1), "{operation}: one scope is asked for");
        // By password one gets what is in that set, and managers the rest of what they need.
        let by_password = scope.is_none_or(|word| first_party(word) || word == "admin");
        assert_eq!(names.contains(&"password"), names.contains(&"bearer") && by_password, "{operation}: password");
        let machine = names.contains(&"machine");
        match (names.as_slice(), scope) {
            ([""], None) => Asks::Nothing,
            (["", "client"], None) => Asks::Client,
            (["client"], None) => Asks::Secret,
            (["bearer", "machine", "oauth", "password"], None) if ways["machine"].is_empty() => Asks::Token,
            (["bearer", "machine", "oauth", "password"], Some(scope)) if ways["machine"] == ["program:read"] => {
                Asks::Reader(scope)
            }
            (["bearer", "oauth", "password"], Some("admin")) => Asks::Manager,
            (["bearer", "oauth", ..], Some(scope)) if !machine => Asks::Person(scope),
            _ => panic!("{operation} states {ways:?}, which nobody asks"),
        }
    }

    fn scope(self) -> Option<&'static str> {
        match self {
            Asks::Person(scope) | Asks::Reader(scope) => Some(scope),
            Asks::Manager => Some("admin"),
            _ => None,
        }
    }
}

/// Whether a log-in by name and password gives the scope.
fn first_party(word: &str) -> bool {
    Scope::parse(word).is_some_and(|scope| Scopes::FIRST_PARTY.has(scope))
}

/// The kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// No token, or not where tokens belong.
    Nobody,
    /// A token that is not good, or not any more.
    Out,
    /// By name and password.
    LoggedIn { manager: bool },
    /// A client of somebody's, with the one scope that the operation asks for.
    Exactly { manager: bool },
    /// A client of somebody's, with every scope but that one.
    AllBut { manager: bool },
    /// A program with the scope for programs.
    Machine,
    /// A confidential client with its secret.
    Secret,
    /// A confidential client with another secret.
    WrongSecret,
    /// A public client, named in the form.
    Public,
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Whatever the operation has to say.
    In,
    /// This status with this word, and this scope in the challenge.
    Refused(u16, &'static str, Option<&'static str>),
}

fn expected(asks: Asks, who: Who) -> Expected {
    use Expected::{In, Refused};
    let lacks = |scope| Refused(403, "insufficient_scope", Some(scope));
    match (asks, who) {
        (Asks::Nothing, _) | (Asks::Client | Asks::Secret, Who::Secret) | (Asks::Client, Who::Public) => In,
        (Asks::Client | Asks::Secret, _) => Refused(401, "invalid_client", None),
        (_, Who::Nobody | Who::Secret | Who::WrongSecret | Who::Public) => Refused(401, "not_authenticated", None),
        (_, Who::Out) => Refused(401, "invalid_token", None),
        (Asks::Token, _) | (Asks::Reader(_), Who::Machine) => In,
        (Asks::Person(_) | Asks::Manager, Who::Machine) => Refused(403, "person_required", None),
        (Asks::Person(scope) | Asks::Reader(scope), Who::LoggedIn { .. }) if !first_party(scope) => lacks(scope),
        (Asks::Person(scope) | Asks::Reader(scope), Who::AllBut { .. }) => lacks(scope),
        (Asks::Person(_) | Asks::Reader(_), _) => In,
        // Who is no manager learns that, whatever the token says.
        (Asks::Manager, Who::LoggedIn { manager } | Who::Exactly { manager } | Who::AllBut { manager }) if !manager => {
            Refused(403, "managers_only", None)
        }
        (Asks::Manager, Who::AllBut { .. }) => lacks("admin"),
        (Asks::Manager, _) => In,
    }
}

/// What a caller shows.
#[derive(Clone, Debug)]
enum Shown {
    Nothing,
    Bearer(String),
    /// An Authorization header as it is.
    Header(String),
    /// A token where none belongs (RFC 6750 knows these places, we do not).
    InQuery(String),
    InForm(String),
    /// A client's name in the form.
    Named(String),
    /// By scope: the operation's own counts.
    ByScope(BTreeMap<&'static str, String>),
}

struct Caller {
    name: &'static str,
    who: Who,
    shown: Shown,
}

impl Caller {
    fn new(name: &'static str, who: Who, shown: Shown) -> Self {
        Self { name, who, shown }
    }

    fn bearer(name: &'static str, who: Who, token: &str) -> Self {
        Self::new(name, who, Shown::Bearer(token.to_owned()))
    }

    async fn ask(&self, base: &str, operation: &Operation, asks: Asks) -> Answer {
        let (mut kind, mut body) = match (operation.name.as_str(), operation.bodies().first()) {
            ("request_tokens", _) => (FORM, "grant_type=refresh_token&refresh_token=rt_nonsense".to_owned()),
            ("revoke_token" | "introspect_token", _) => (FORM, "token=rt_nonsense".to_owned()),
            (_, Some(body)) => ("application/json", body.to_string()),
            (_, None) => (FORM, String::new()),
        };
        let mut path = operation.path.clone();
        let mut header = None;
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bearer(token) => header = Some(format!("Bearer {token}")),
            Shown::Header(value) => header = Some(value.clone()),
            Shown::InQuery(token) => path = format!("{path}?access_token={token}"),
            Shown::InForm(token) if body.is_empty() => (kind, body) = (FORM, format!("access_token={token}")),
            Shown::Named(id) if kind == FORM => body = format!("{body}&client_id={id}"),
            Shown::InForm(_) | Shown::Named(_) => {}
            Shown::ByScope(tokens) => {
                // Nobody asks for the address alone, so its token is as good as any where no scope is asked for.
                let token = &tokens[asks.scope().unwrap_or("email")];
                header = Some(format!("Bearer {token}"));
            }
        }
        let client = Client::new(base);
        let mut request = client.request(operation.method.clone(), &path).header(CONTENT_TYPE, kind).body(body);
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        client.send(request).await
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn all_but(scope: Scope) -> String {
    let words = Scopes::PERSON.iter().filter(|other| *other != scope).map(Scope::word);
    words.collect::<Vec<_>>().join(" ")
}

/// A person's tokens of a client: with each scope alone, and with all but each.
async fn tokens_by_scope(shop: &Registered, name: &str) -> (Shown, Shown) {
    let mut visit = Visit::new(&shop.base);
    // Asked for everything once, a person is not asked again.
    let everything = Scopes::PERSON.to_string();
    shop.code(&mut visit, name, &[("scope", &everything)]).await;
    let (mut exactly, mut but) = (BTreeMap::new(), BTreeMap::new());
    for scope in Scopes::PERSON.iter() {
        for (tokens, words) in [(&mut exactly, scope.word().to_owned()), (&mut but, all_but(scope))] {
            let code = shop.code(&mut visit, name, &[("scope", &words)]).await;
            let given = shop.exchange(&code).await.expect(200).json();
            assert_eq!(text(&given, "scope"), words);
            tokens.insert(scope.word(), text(&given, "access_token").to_owned());
        }
    }
    (Shown::ByScope(exactly), Shown::ByScope(but))
}

fn basic(id: &str, secret: &str) -> Shown {
    Shown::Header(format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
}

async fn machine_token(machine: &Registered) -> String {
    let given = machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
    text(&given, "access_token").to_owned()
}

/// Every kind of caller, and the person whose things they ask for.
async fn everybody(test: &TestApp) -> (Vec<Caller>, Client) {
    let late = test.user("late").await.token.expect("a token");
    test.move_clock(Duration::from_secs(11 * 60));

    let manager = test.manager("manager").await;
    let olga = test.user("olga").await;
    olga.create_code("OLGA2030CODE").await.expect(201);
    let everything = json!({"scope": Scopes::PERSON.to_string()});
    let shop = register(&manager, everything.clone()).await;
    let gone = register(&manager, everything.clone()).await;
    let public = register(&manager, json!({"confidential": false})).await;
    let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
    let (machine, gone_machine) = (register(&manager, alone.clone()).await, register(&manager, alone).await);

    let mut out = vec![("an expired token", late), ("no token at all", "nonsense".to_owned())];
    let mut client_of = async |name: &'static str, client: &Registered, person: &str| {
        let given = client.tokens(person, &[]).await;
        out.push((name, text(&given, "access_token").to_owned()));
        given
    };
    for name in ["disabled", "erased", "ended", "withdrawn"] {
        test.client().register(name, None).await.expect(201);
    }
    client_of("a client of somebody disabled", &shop, "disabled").await;
    client_of("a client of somebody erased", &shop, "erased").await;
    client_of("a client whose consent was withdrawn", &shop, "withdrawn").await;
    let given = client_of("a client that was removed", &gone, "olga").await;
    out.push(("an ID token", text(&given, "id_token").to_owned()));
    out.push(("a refresh token", text(&given, "refresh_token").to_owned()));
    out.push(("a machine that was removed", machine_token(&gone_machine).await));
    let enter = async |name: &str| test.client().logged_in(name).await;
    let (disabled, erased, ended) = (enter("disabled").await, enter("erased").await, enter("ended").await);
    for (name, client) in
        [("somebody disabled", &disabled), ("somebody erased", &erased), ("somebody logged out", &ended)]
    {
        out.push((name, client.token.clone().expect("a token")));
    }
    let found = administration::find(test.app(), "disabled").await.expect("a look").expect("an account");
    administration::disable(test.app(), found.id).await.expect("disabled");
    erased.delete_with("/api/v1/me", &json!({"password": PASSWORD})).await.expect(204);
    ended.post("/api/v1/auth/logout", &json!({})).await.expect(204);
    enter("withdrawn").await.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect(204);
    for client in [&gone, &gone_machine] {
        manager.delete(&format!("/api/v1/clients/{}", client.id)).await.expect(204);
    }

    let token = olga.token.clone().expect("a token");
    let secret = shop.secret.clone().expect("a secret");
    let mut callers = vec![
        Caller::new("nobody", Who::Nobody, Shown::Nothing),
        Caller::new("a token in the query", Who::Nobody, Shown::InQuery(token.clone())),
        Caller::new("a token in the body", Who::Nobody, Shown::InForm(token.clone())),
        Caller::new("a token under another scheme", Who::Nobody, Shown::Header(format!("DPoP {token}"))),
        Caller::new("a token as Basic", Who::Nobody, Shown::Header(format!("Basic {token}"))),
        Caller::new("a client's secret", Who::Secret, basic(&shop.id, &secret)),
        Caller::new("another client's secret", Who::WrongSecret, basic(&machine.id, &secret)),
        Caller::new(
            "a removed client's secret",
            Who::WrongSecret,
            basic(&gone.id, gone.secret.as_deref().expect("one")),
        ),
        Caller::new("a public client", Who::Public, Shown::Named(public.id.clone())),
        Caller::new("a confidential client without its secret", Who::WrongSecret, Shown::Named(shop.id.clone())),
        Caller::bearer("a machine", Who::Machine, &machine_token(&machine).await),
        Caller::bearer("a user", Who::LoggedIn { manager: false }, &token),
    ];
    let ivan = test.user("ivan").await.token.expect("a token");
    callers.push(Caller::bearer("another user", Who::LoggedIn { manager: false }, &ivan));
    callers.push(Caller::bearer(
        "a manager",
        Who::LoggedIn { manager: true },
        manager.token.as_deref().expect("a token"),
    ));
    for (manager, name) in [(false, "olga"), (true, "manager")] {
        let (exactly, but) = tokens_by_scope(&shop, name).await;
        callers.push(Caller::new("a client with the scope", Who::Exactly { manager }, exactly));
        callers.push(Caller::new("a client with every other scope", Who::AllBut { manager }, but));
    }
    callers.extend(out.into_iter().map(|(name, token)| Caller::bearer(name, Who::Out, &token)));
    (callers, olga)
}

/// What the answer says: the status, its word and the challenge that comes with it.
fn said(answer: &Answer) -> (u16, String, String) {
    let word = if answer.status >= 400 {
        let body = answer.json();
        body["code"].as_str().or(body["error"].as_str()).unwrap_or_default().to_owned()
    } else {
        String::new()
    };
    (answer.status, word, answer.header("www-authenticate").to_owned())
}

/// RFC 6750, 3.1: what a client needs to know to do better.
fn challenge(word: &str, scope: Option<&str>) -> String {
    match (word, scope) {
        ("not_authenticated" | "bad_credentials", None) => "Bearer".to_owned(),
        ("invalid_token", None) => "Bearer error=\"invalid_token\"".to_owned(),
        ("insufficient_scope", Some(scope)) => format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""),
        ("invalid_client", None) => "Basic realm=\"referral\"".to_owned(),
        _ => String::new(),
    }
}

fn row(name: &str) -> (Asks, u16, &'static str) {
    let row = OPERATIONS.iter().find(|(known, ..)| *known == name);
    let (_, asks, status, word) = row.unwrap_or_else(|| panic!("{name} is new: say here who may call it"));
    (*asks, *status, word)
}

on_every_setup! {
    async fn every_operation_lets_in_whom_it_should_and_nobody_else(setup: Setup) {
        let test = setup.start().await;
        let (callers, olga) = everybody(&test).await;
        let mut operations = operations(&olga);
        // It takes the callers' tokens away.
        operations.sort_by_key(|operation| operation.name == "log_out");
        let mut wrong = Vec::new();
        for operation in &operations {
            let (asks, status, word) = row(&operation.name);
            for caller in &callers {
                let answer = caller.ask(&olga.base, operation, asks).await;
                // Who may change the profile and not read it is not told how it is.
                let unread = operation.name == "update_profile" && caller.name == "a client with the scope";
                let status = if unread { 204 } else { status };
                let expected = match expected(asks, caller.who) {
                    Expected::In => (status, word.to_owned(), challenge(word, None)),
                    Expected::Refused(status, word, scope) => (status, word.to_owned(), challenge(word, scope)),
                };
                if said(&answer) != expected {
                    wrong.push(format!("{} by {}: {:?}, not {expected:?}", operation.name, caller.name, said(&answer)));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        // All have logged out meanwhile, and that has held.
        let profile = operations.iter().find(|operation| operation.name == "get_profile").expect("it is there");
        for caller in callers.iter().filter(|caller| matches!(caller.who, Who::LoggedIn { .. } | Who::Machine)) {
            let answer = caller.ask(&olga.base, profile, Asks::Token).await;
            answer.expect_problem(401, "invalid_token");
        }
    }

    /// Being let in is not owning: what is another's is neither seen nor changed.
    async fn what_is_anothers_stays_anothers(setup: Setup) {
        let test = setup.start().await;
        let manager = test.manager("manager").await;
        let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
        olga.create_code("OLGA2030CODE").await.expect(201);
        let shop = register(&manager, json!({"scope": Scopes::PERSON.to_string()})).await;
        let everything = [("scope", Scopes::PERSON.to_string())];
        let everything: Vec<(&str, &str)> = everything.iter().map(|(n, v)| (*n, v.as_str())).collect();
        shop.tokens("olga", &everything).await;
        let ivans = bearer(&shop.base, &shop.tokens("ivan", &everything).await);
        let managers = bearer(&shop.base, &shop.tokens("manager", &everything).await);
        // The manager runs the program, not other people's accounts.
        ivan.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect(204);
        ivan.delete(&format!("/api/v1/me/consents/{}", shop.id)).await.expect_problem(404, "consent_not_found");
        ivans.get("/api/v1/me").await.expect_problem(401, "invalid_token");
        let ivans = bearer(&shop.base, &shop.tokens("ivan", &everything).await);
        for other in [&ivan, &ivans, &manager, &managers] {
            other.revoke_code("OLGA2030CODE").await.expect_problem(403, "not_your_code");
            assert_eq!(other.get("/api/v1/codes").await.expect(200).json()["items"], json!([]));
            let me = other.get("/api/v1/me").await.expect(200).json();
            assert_ne!(me["username"], json!("olga"));
        }
        // Only ivan has withdrawn anything.
        let given = olga.get("/api/v1/me/consents").await.expect(200).json();
        assert_eq!(given["items"].as_array().map(Vec::len), Some(1));
        olga.get("/api/v1/me").await.expect(200);
        assert_eq!(olga.get("/api/v1/codes").await.expect(200).json()["items"][0]["is_active"], json!(true));

        // Who does not want to be found by address is found by nobody, managers and programs included.
        let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
        let machine = machine_token(&register(&manager, alone).await).await;
        let machine = Client::new(&shop.base).with_token(&machine);
        let others = [&ivan, &ivans, &manager, &managers, &machine];
        for other in others {
            other.get("/api/v1/codes/olga@example.com").await.expect(200);
        }
        olga.patch("/api/v1/me", &json!({"discoverable": false})).await.expect(200);
        olga.get("/api/v1/codes/olga@example.com").await.expect(200);
        for other in others {
            other.get("/api/v1/codes/olga@example.com").await.expect_problem(404, "no_active_code");
            let asked = json!({"email": "olga@example.com"});
            other.post("/api/v1/codes/lookup", &asked).await.expect_problem(404, "no_active_code");
        }
    }

    async fn a_token_shows_no_more_than_its_scopes_say(setup: Setup) {
        let test = setup.start().await;
        let manager = test.manager("manager").await;
        let (olga, _) = (test.user("olga").await, test.user("ivan").await);
        olga.create_code("OLGA2030CODE").await.expect(201);
        test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
        let shop = register(&manager, json!({"scope": Scopes::PERSON.to_string()})).await;
        let client_of = async |name: &str, scope: &str| bearer(&shop.base, &shop.tokens(name, &[("scope", scope)]).await);

        let change = json!({"discoverable": true});
        client_of("olga", "account").await.patch("/api/v1/me", &change).await.expect(204);
        let code = |answer: Answer| answer.expect(200).json()["active_code"]["code"].clone();
        for (scope, shown) in [("account profile", Value::Null), ("account profile codes:read", json!("OLGA2030CODE"))] {
            let client = client_of("olga", scope).await;
            assert_eq!(code(client.get("/api/v1/me").await), shown, "{scope}");
            assert_eq!(code(client.patch("/api/v1/me", &change).await), shown, "{scope}");
        }
        let list = format!("/api/v1/users/{}", olga.id);
        for (name, scope, shown) in [
            ("ivan", "referrals:read", Value::Null),
            ("ivan", "referrals:read codes:read", json!("OLGA2030CODE")),
            ("olga", "referrals:read", json!("OLGA2030CODE")),
        ] {
            let listed = client_of(name, scope).await.get(&list).await.expect(200).json();
            assert_eq!(listed["items"][0]["code"], shown, "{name}: {scope}");
        }
    }

    /// Law 7, for programs that act for people and for themselves.
    async fn a_list_of_referees_is_shown_as_the_operator_and_the_scopes_say(setup: Setup) {
        let mut test = setup.start().await;
        for setting in ["owner", "all"] {
            test.add_node_with(&[("REFERRAL_ACCOUNTS_REFEREES_VISIBLE_TO", setting)]).await;
        }
        let manager = test.manager("manager").await;
        let (olga, ivan) = (test.user("olga").await, test.user("ivan").await);
        olga.create_code("OLGA2030CODE").await.expect(201);
        test.client().register("friend", Some("OLGA2030CODE")).await.expect(201);
        let shop = register(&manager, json!({"scope": "referrals:read admin"})).await;
        let alone = json!({"grants": ["client_credentials"], "scope": "program:read", "redirect_uris": []});
        let machine = Client::new(&shop.base).with_token(&machine_token(&register(&manager, alone).await).await);
        let client_of = async |name: &str, scope: &str| bearer(&shop.base, &shop.tokens(name, &[("scope", scope)]).await);
        let in_full = [
            ("the owner", olga.clone()),
            ("the owner's client", client_of("olga", "referrals:read").await),
            ("a manager", manager.clone()),
            ("a manager's client as such", client_of("manager", "referrals:read admin").await),
            ("a machine", machine),
        ];
        let as_others = [
            ("another", ivan),
            ("another's client", client_of("ivan", "referrals:read").await),
            ("another's client that would manage", client_of("ivan", "referrals:read admin").await),
            ("a manager's client that may not manage", client_of("manager", "referrals:read").await),
        ];
        for (node, setting) in ["masked", "owner", "all"].into_iter().enumerate() {
            for suffix in ["", "/referrals"] {
                let path = format!("/api/v1/users/{}{suffix}", olga.id);
                let look = async |viewer: &Client| viewer.at(&test.nodes[node].url).get(&path).await;
                let shown = |answer: Answer, name: &str, expected: &str| {
                    let list = answer.expect(200).json();
                    assert_eq!(list["items"][0]["email"], json!(expected), "{setting}: {name}");
                };
                for (name, viewer) in &in_full {
                    shown(look(viewer).await, name, "friend@example.com");
                }
                for (name, viewer) in &as_others {
                    let answer = look(viewer).await;
                    match setting {
                        "owner" => drop(answer.expect_problem(403, "referees_hidden")),
                        "masked" => shown(answer, name, "f***@e***.com"),
                        _ => shown(answer, name, "friend@example.com"),
                    }
                }
            }
        }
    }
}

#[test]
fn the_document_states_for_each_operation_what_it_asks_for() {
    let document = serde_json::to_value(referral::site::router::document()).expect("JSON");
    // Nothing is asked for by default: an operation that says nothing would be taken for what it is not.
    assert_eq!(document["security"], Value::Null);
    let schemes = document["components"]["securitySchemes"].as_object().expect("schemes");
    let mut used = BTreeSet::new();
    let mut names = BTreeSet::new();
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            let name = operation["operationId"].as_str().expect("an id");
            let (asks, ..) = row(name);
            assert_eq!(Asks::stated(name, &operation["security"]), asks, "{name}");
            names.insert(name.to_owned());
            for way in operation["security"].as_array().expect("ways") {
                for (scheme, scopes) in way.as_object().expect("a way") {
                    let known = schemes.get(scheme).unwrap_or_else(|| panic!("{name}: no scheme is called {scheme}"));
                    used.insert(scheme.clone());
                    for scope in scopes.as_array().expect("scopes") {
                        let scope = scope.as_str().expect("a word");
                        assert!(Scope::parse(scope).is_some(), "{name}: no scope is called {scope}");
                        let flows = known["flows"].as_object().expect("flows");
                        assert!(
                            flows.values().all(|flow| flow["scopes"][scope].is_string()),
                            "{name}: {scheme}, {scope}"
                        );
                    }
                }
            }
            // Whatever can be refused for what a caller is, is documented.
            let responses = &operation["responses"];
            let refuses = |status: &str, word: &str| {
                let content = &responses[status]["content"]["application/problem+json"]["examples"][word];
                assert!(content.is_object(), "{name}: {status} {word} is not documented");
            };
            if matches!(asks, Asks::Token | Asks::Person(_) | Asks::Reader(_) | Asks::Manager) {
                refuses("401", "not_authenticated");
                refuses("401", "invalid_token");
            }
            if asks.scope().is_some() {
                refuses("403", "insufficient_scope");
            }
            if matches!(asks, Asks::Person(_) | Asks::Manager) {
                refuses("403", "person_required");
            }
            if asks == Asks::Manager {
                refuses("403", "managers_only");
            }
            for status in ["401", "403"] {
                let response = &responses[status];
                let challenges = status == "401" || response["content"].to_string().contains("insufficient_scope");
                if response.is_object() && challenges {
                    let header = &response["headers"]["WWW-Authenticate"];
                    assert!(header.is_object(), "{name}: {status} comes with WWW-Authenticate");
                }
            }
        }
    }
    let known: BTreeSet<String> = OPERATIONS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(names, known, "the table has each operation, and no other");
    assert_eq!(used.iter().collect::<Vec<_>>(), schemes.keys().collect::<Vec<_>>(), "each scheme is of use");
    // What the schemes offer is what there is.
    let offered = |scheme: &str, flow: &str| -> BTreeSet<String> {
        schemes[scheme]["flows"][flow]["scopes"].as_object().expect("scopes").keys().cloned().collect()
    };
    let words = |set: Scopes| -> BTreeSet<String> { set.iter().map(|scope| scope.word().to_owned()).collect() };
    assert_eq!(offered("oauth", "authorizationCode"), words(Scopes::PERSON));
    assert_eq!(offered("machine", "clientCredentials"), words(Scopes::MACHINE));
}

// ------------------------------------------------------------------------------------------------------ pages

/// What a browser gets to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A page of this status with a form that leads there.
    Form(u16, &'static str),
    /// A page of this status that only says something.
    Says(u16),
    /// A page that goes on by itself to an address that begins so.
    Leaves(&'static str),
    /// Something public, no page of a person's: its status.
    Public(u16),
}

use Seen::{Form, Leaves, Public, Says};

/// Each route that the document does not describe, with what it answers to a browser that nobody is logged in with, to
/// one that somebody is, and to a form that was made for another browser.
const PAGES: &[(&str, &str, [Seen; 3])] = &[
    ("GET", "/", [Public(307), Public(307), Public(307)]),
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
    ("GET", "/oauth/callback/{provider}", [Says(404), Says(404), Says(404)]),
    ("POST", "/oauth/finish", [Says(403), Says(403), Says(403)]),
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
            if path.extension().is_none_or(|end| end != "rs") || path.ends_with("web/server.rs") {
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
        "/oauth/logout" => vec![],
        other => panic!("{other} takes a form: say here which"),
    };
    if path != "/oauth/authorize" {
        fields.push(("csrf".into(), csrf.to_owned()));
    }
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    visit.post(&path, &fields).await
}

on_every_setup! {
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
}
