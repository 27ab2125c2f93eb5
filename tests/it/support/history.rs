//! What callers were told of each write, and whether the database says the same.

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::client::PASSWORD;
use super::witness;

/// What a caller knows of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// It was refused, or nothing was done.
    Failed,
    /// It may have been done.
    Unknown,
}

/// A write whose traces can be looked for.
#[derive(Clone, Debug)]
pub enum Write {
    /// Of this name, with this code of this user's, if any; where mails are sent, with one.
    Registration {
        name: String,
        code: Option<(String, String)>,
        mailed: bool,
    },
    /// A code of this user's, in the place of a former one, if any.
    Code {
        owner: String,
        code: String,
        former: Option<String>,
    },
    Revocation {
        owner: String,
        code: String,
    },
    /// The first one in the only session of a user.
    Refresh {
        user: String,
        token: String,
    },
    /// A user, who has never had a code, wants to be found by nobody.
    Hiding {
        user: String,
    },
    /// By a host's back end: under this external id, with this code of this user's.
    Participant {
        external: String,
        code: (String, String),
    },
    /// By a host's back end: under this external id, with the handle of another of its people, whose first code is
    /// over.
    Renewal {
        external: String,
        referrer: String,
        handle: String,
    },
}

#[derive(Clone, Debug)]
pub struct Call {
    pub write: Write,
    pub outcome: Outcome,
}

/// The calls in the order of their answers.
#[derive(Default)]
pub struct History(pub Vec<Call>);

/// A caller who sees connections break.
pub struct Caller {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Caller {
    pub fn new(base: &str, token: Option<&str>) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        Self { http, base: base.to_owned(), token: token.map(str::to_owned) }
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What the caller of a request knows after it, and the answer's body.
    pub async fn send(&self, method: Method, path: &str, body: &Value) -> (Outcome, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        // No answer, or half of one.
        let Ok(answer) = request.send().await else { return (Outcome::Unknown, Value::Null) };
        let status = answer.status().as_u16();
        let Ok(text) = answer.text().await else { return (Outcome::Unknown, Value::Null) };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let outcome = match status {
            200..300 => Outcome::Ok,
            400..500 => Outcome::Failed,
            // Said only where nothing was done.
            503 if body["code"] == "overloaded" => Outcome::Failed,
            503 => Outcome::Unknown,
            _ => panic!("{status} {text}"),
        };
        (outcome, body)
    }

    /// Makes a write and notes what came of it.
    pub async fn make(&self, write: Write) -> Call {
        let (outcome, _) = match &write {
            Write::Registration { name, code, .. } => {
                let mut body = json!({"username": name, "email": format!("{name}@example.com"), "password": PASSWORD});
                if let Some((_, code)) = code {
                    body["code"] = json!(code);
                }
                self.send(Method::POST, "/api/v1/auth/user", &body).await
            }
            Write::Code { code, .. } => {
                let body = json!({"code": code, "expires_at": "2099-01-01"});
                self.send(Method::POST, "/api/v1/codes?replace=true", &body).await
            }
            Write::Revocation { code, .. } => {
                self.send(Method::DELETE, &format!("/api/v1/codes/{code}"), &json!({})).await
            }
            Write::Refresh { token, .. } => {
                let body = json!({"grant_type": "refresh_token", "refresh_token": token});
                self.send(Method::POST, "/api/v1/auth/token", &body).await
            }
            Write::Participant { external, code: (_, code) } => {
                let body = json!({"email": format!("{external}@example.com"), "name": "Olga", "code": code});
                self.send(Method::PUT, &format!("/api/v1/participants/{external}"), &body).await
            }
            Write::Renewal { external, handle, .. } => {
                let body = json!({"handle": handle});
                self.send(Method::PUT, &format!("/api/v1/participants/{external}"), &body).await
            }
            Write::Hiding { .. } => self.send(Method::PATCH, "/api/v1/me", &json!({"discoverable": false})).await,
        };
        Call { write, outcome }
    }
}

/// A code that the service has issued to somebody, as it is when it is active.
fn issued(owner: &str, ordinal: i64) -> String {
    format!(
        "codes c join code_slots s on s.owner_id = c.owner_id and s.code_id = c.id \
         join code_strings t on t.id = c.id and t.owner_id = c.owner_id and t.ordinal = c.ordinal \
         where c.owner_id = {owner} and c.ordinal = {ordinal} and c.by_service"
    )
}

/// How much of a write is there.
#[derive(Debug, PartialEq, Eq)]
enum Traces {
    None,
    Whole,
    /// Neither, or more than once: what there is of each part.
    Odd(Vec<i64>),
}

impl Traces {
    /// Of parts, each with how many there are and how many there would be.
    fn of(parts: &[(i64, i64)]) -> Self {
        if parts.iter().all(|(there, _)| *there == 0) {
            return Self::None;
        }
        if parts.iter().all(|(there, whole)| there == whole) {
            return Self::Whole;
        }
        Self::Odd(parts.iter().map(|(there, _)| *there).collect())
    }
}

impl Write {
    /// What the tables have of it.
    async fn traces(&self, url: &str) -> Traces {
        let number = async |sql: String| witness::number(url, &sql).await;
        let user = |name: &str| format!("(select id from users where email_key = '{name}@example.com')");
        match self {
            Self::Registration { name, code, mailed } => {
                let users = number(format!("select count(*) from users where email_key = '{name}@example.com'")).await;
                let logins =
                    number(format!("select count(*) from logins where login_key in ('{name}', '{name}@example.com')"));
                let mut parts = vec![(users, 1), (logins.await, 2)];
                if users <= 1 {
                    let me = user(name);
                    let any = number(format!("select count(*) from referrals where referee_id = {me}")).await;
                    parts.push((any, i64::from(code.is_some())));
                    if *mailed {
                        let mails = number(format!("select count(*) from mails where user_id = {me}")).await;
                        let sent = "mails m join jobs j on j.kind = 'send_mail' and j.created_at = m.created_at";
                        let jobs = number(format!("select count(*) from {sent} where m.user_id = {me}")).await;
                        parts.extend([(mails, 1), (jobs, 1)]);
                    }
                    if let Some((owner, code)) = code {
                        let right = format!(
                            "select count(*) from referrals r join codes c on c.owner_id = r.referrer_id \
                             and c.ordinal = r.code_ordinal where r.referee_id = {me} and c.code = '{code}' \
                             and r.referrer_id = {}",
                            user(owner)
                        );
                        parts.push((number(right).await, 1));
                    }
                }
                Traces::of(&parts)
            }
            Self::Code { owner, code, former } => {
                let owner = user(owner);
                let made = format!("select count(*) from codes where owner_id = {owner} and code = '{code}'");
                // For ever taken, under its hash: by the owner, for this place in the owner's list.
                let taken = format!(
                    "select count(*) from code_strings s join codes c on c.id = s.id and c.owner_id = s.owner_id \
                     and c.ordinal = s.ordinal where c.owner_id = {owner} and c.code = '{code}'"
                );
                let told = format!(
                    "select count(*) from codes c where c.owner_id = {owner} and c.code = '{code}' \
                     and (select count(*) from changes h where h.subject = c.owner_id) >= c.ordinal"
                );
                let mut parts = vec![(number(made).await, 1), (number(taken).await, 1), (number(told).await, 1)];
                if let Some(former) = former {
                    let ended = format!(
                        "select count(*) from codes where owner_id = {owner} and code = '{former}' \
                         and revoked_at is not null"
                    );
                    parts.push((number(ended).await, 1));
                }
                Traces::of(&parts)
            }
            Self::Revocation { owner, code } => {
                let owner = user(owner);
                let ended = format!(
                    "select count(*) from codes where owner_id = {owner} and code = '{code}' and revoked_at is not null"
                );
                let out = format!(
                    "select count(*) from codes c where c.owner_id = {owner} and c.code = '{code}' and not exists \
                     (select 1 from code_slots s where s.owner_id = c.owner_id and s.code_id = c.id)"
                );
                Traces::of(&[(number(ended).await, 1), (number(out).await, 1)])
            }
            Self::Refresh { user: name, .. } => {
                let one = async |what: &str| {
                    number(format!("select sum({what}) from token_families where user_id = {}", user(name))).await
                };
                let former = "case when previous_hash is null then 0 else 1 end";
                let times = "case when rotated_at = used_at then 1 else 0 end";
                let parts = [one("counter").await, one("sealed_tokens - 1").await, one(former).await, one(times).await];
                Traces::of(&parts.map(|part| (part, 1)))
            }
            Self::Participant { external, code: (owner, code) } => {
                let me = format!("(select id from users where external_id = '{external}')");
                let count = |what: String| format!("select count(*) from {what}");
                let brought = format!(
                    "referrals r join codes c on c.owner_id = r.referrer_id and c.ordinal = r.code_ordinal \
                     where r.referee_id = {me} and c.code = '{code}' and r.referrer_id = {} and r.status = 'confirmed'",
                    user(owner)
                );
                let own = issued(&me, 1);
                let linked = format!("users where external_id = '{external}' and handle is not null");
                let by_name = "from users u join logins l on l.user_id = u.id and l.login_key = u.name_key";
                let parts = [
                    (number(count(format!("users where external_id = '{external}'"))).await, 1),
                    (number(format!("select count(*) {by_name} where u.external_id = '{external}'")).await, 1),
                    (number(count(format!("logins where login_key = '{external}@example.com'"))).await, 1),
                    (number(count(own)).await, 1),
                    (number(count(linked)).await, 1),
                    (number(count(format!("handle_strings where owner_id = {me}"))).await, 1),
                    (number(count(brought)).await, 1),
                ];
                Traces::of(&parts)
            }
            Self::Renewal { external, referrer, .. } => {
                let count = |what: String| format!("select count(*) from {what}");
                let id = |external: &str| format!("(select id from users where external_id = '{external}')");
                let (me, they) = (id(external), id(referrer));
                let brought =
                    format!("referrals where referee_id = {me} and referrer_id = {they} and code_ordinal = 2");
                let parts = [
                    (number(count(format!("users where external_id = '{external}'"))).await, 1),
                    (number(count(issued(&me, 1))).await, 1),
                    (number(count(issued(&they, 2))).await, 1),
                    (number(count(format!("code_strings where owner_id = {they} and ordinal = 2"))).await, 1),
                    (number(count(brought)).await, 1),
                ];
                Traces::of(&parts)
            }
            Self::Hiding { user: name } => {
                let hidden = format!("select count(*) from users where id = {} and discoverable = false", user(name));
                let told = format!("select count(*) from changes where subject = {}", user(name));
                let slot = format!("select coalesce(max(version), 0) from code_slots where owner_id = {}", user(name));
                Traces::of(&[(number(hidden).await, 1), (number(told).await, 1), (number(slot).await, 1)])
            }
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration { name, .. } => write!(f, "the registration of {name}"),
            Self::Code { code, .. } => write!(f, "the code {code}"),
            Self::Revocation { code, .. } => write!(f, "the revocation of {code}"),
            Self::Refresh { user, .. } => write!(f, "the refresh of {user}"),
            Self::Participant { external, .. } => write!(f, "the participant {external}"),
            Self::Renewal { external, .. } => write!(f, "the participant {external} and the renewal"),
            Self::Hiding { user } => write!(f, "the hiding of {user}"),
        }
    }
}

impl History {
    /// Every contradiction between what callers were told and what the tables say, as a sentence. Nothing may be under
    /// way.
    pub async fn contradictions(&self, url: &str) -> Vec<String> {
        let mut found = Vec::new();
        for Call { write, outcome } in &self.0 {
            match (outcome, write.traces(url).await) {
                (Outcome::Ok, Traces::Whole) | (Outcome::Failed, Traces::None) => {}
                (Outcome::Unknown, Traces::Whole | Traces::None) => {}
                (outcome, traces) => found.push(format!("{write} was told as {outcome:?}, and there is {traces:?}")),
            }
        }
        found
    }

    /// How many calls had this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.0.iter().filter(|call| call.outcome == outcome).count()
    }
}
