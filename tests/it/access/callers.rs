//! Everybody who may ask: without a token, with one of each kind, as a client, as a manager.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use referral::features::accounts::actions::administration;
use referral::kernel::scope::{Scope, Scopes};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::client::{Answer, Client, PASSWORD};
use crate::support::oauth::{Registered, register, text};
use crate::support::operations::Operation;
use crate::support::visit::Visit;

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
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
    /// A manager's token with the scope admin, or that of a program that may read or write.
    ProgramReader,
    /// A program's token with the scope to write.
    ProgramWriter,
    /// A manager's token with the scope admin, or that of a program that may write.
    Payer,
    /// A client: by its secret, or by its name if it is public.
    Client,
    /// A client, by its secret.
    Secret,
}

impl Asks {
    /// What the document states.
    pub fn stated(operation: &str, security: &Value) -> Self {
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
        let people = names.contains(&"oauth");
        let by_password = people && scope.is_none_or(|word| first_party(word) || word == "admin");
        assert_eq!(names.contains(&"password"), names.contains(&"bearer") && by_password, "{operation}: password");
        let machine = names.contains(&"machine");
        match (names.as_slice(), scope) {
            ([""], None) => Asks::Nothing,
            (["", "client"], None) => Asks::Client,
            (["client"], None) => Asks::Secret,
            (["bearer", "machine", "oauth", "password"], None) if ways["machine"].is_empty() => Asks::Token,
            (["bearer", "machine", "oauth", "password"], Some("admin")) if ways["machine"] == ["program:read"] => {
                Asks::ProgramReader
            }
            (["bearer", "machine", "oauth", "password"], Some("admin")) if ways["machine"] == ["program:write"] => {
                Asks::Payer
            }
            (["bearer", "machine"], None) if ways["machine"] == ["program:write"] => Asks::ProgramWriter,
            (["bearer", "machine", "oauth", "password"], Some(scope)) if ways["machine"] == ["program:read"] => {
                Asks::Reader(scope)
            }
            (["bearer", "oauth", "password"], Some("admin")) => Asks::Manager,
            (["bearer", "oauth", ..], Some(scope)) if !machine => Asks::Person(scope),
            _ => panic!("{operation} states {ways:?}, which nobody asks"),
        }
    }

    pub fn scope(self) -> Option<&'static str> {
        match self {
            Asks::Person(scope) | Asks::Reader(scope) => Some(scope),
            Asks::Manager | Asks::ProgramReader | Asks::Payer => Some("admin"),
            Asks::ProgramWriter => Some("program:write"),
            _ => None,
        }
    }
}

/// Whether a log-in by name and password gives the scope.
pub fn first_party(word: &str) -> bool {
    Scope::parse(word).is_some_and(|scope| Scopes::FIRST_PARTY.has(scope))
}

/// The kinds of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
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
    /// A program with the scope to read.
    Machine,
    /// A program with the scope to write.
    WritingMachine,
    /// A confidential client with its secret.
    Secret,
    /// A confidential client with another secret.
    WrongSecret,
    /// A public client, named in the form.
    Public,
}

/// What a caller shows.
#[derive(Clone, Debug)]
pub enum Shown {
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

pub struct Caller {
    pub name: &'static str,
    pub who: Who,
    pub shown: Shown,
}

impl Caller {
    pub fn new(name: &'static str, who: Who, shown: Shown) -> Self {
        Self { name, who, shown }
    }

    pub fn bearer(name: &'static str, who: Who, token: &str) -> Self {
        Self::new(name, who, Shown::Bearer(token.to_owned()))
    }

    pub async fn ask(&self, base: &str, operation: &Operation, asks: Asks) -> Answer {
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
                // Nobody asks for the address alone, so its token is as good as any where no scope is asked for, or one
                // that no person can give.
                let token = asks.scope().and_then(|scope| tokens.get(scope)).unwrap_or(&tokens["email"]);
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

pub async fn machine_token(machine: &Registered) -> String {
    let given = machine.call("/oauth/token", &[("grant_type", "client_credentials")]).await.expect(200).json();
    text(&given, "access_token").to_owned()
}

/// Every kind of caller, and the person whose things they ask for.
pub async fn everybody(test: &TestApp) -> (Vec<Caller>, Client) {
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
    let writing = json!({"grants": ["client_credentials"], "scope": "program:write", "redirect_uris": []});
    let writing = register(&manager, writing).await;

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
        Caller::bearer("a writing machine", Who::WritingMachine, &machine_token(&writing).await),
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
