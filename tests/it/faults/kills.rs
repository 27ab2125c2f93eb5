//! The service is killed at any step of a write.

use reqwest::Method;
use serde_json::json;

use super::owners::{Owner, owner, registration};
use crate::support::app::Setup;
use crate::support::client::Client;
use crate::support::history::{Call, Caller, History, Outcome, Write};
use crate::support::host::host_of;
use crate::support::keyed::{FAR, REPLACE, is_replayed, replace, request};
use crate::support::process::{Operator, Serving};
use crate::support::witness;

/// The service as a process that ends itself at a step of a write.
struct Mortal {
    operator: Operator,
    url: String,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Registration,
    /// Where mails are sent.
    MailedRegistration,
    Replacement,
    Revocation,
    Refresh,
    Hiding,
    Participant,
    Renewal,
}

impl Kind {
    /// The statements that a write of this kind may begin with, one of them.
    fn first(self, setup: Setup, by_steps: bool) -> &'static str {
        match self {
            Self::Registration if setup == Setup::Postgres && !by_steps => "REGISTER",
            Self::MailedRegistration if setup == Setup::Postgres && !by_steps => "REGISTER_AND_TELL",
            Self::Registration | Self::MailedRegistration => "INSERT_USER",
            Self::Replacement => "LOCK_SLOT",
            Self::Revocation => "FIND_STRING",
            Self::Refresh => "FAMILY_BY_HANDLE",
            Self::Hiding => "SET_DISCOVERABLE",
            Self::Participant if setup == Setup::Postgres && !by_steps => "ADMIT",
            Self::Participant | Self::Renewal => "INSERT_PARTICIPANT",
        }
    }

    /// A write that was not made before, with whoever makes it.
    async fn prepare(self, client: &Client, url: &str, turn: usize) -> (Caller, Write) {
        let name = format!("{}{turn}x", format!("{self:?}").to_lowercase());
        match self {
            Self::Registration | Self::MailedRegistration => {
                let owner = Owner {
                    name: "owner".into(),
                    code: "OWNER2030ABC".into(),
                    caller: Caller::new(&client.base, None),
                };
                let mut write = registration(&owner, &name);
                if let Write::Registration { mailed, .. } = &mut write {
                    *mailed = matches!(self, Self::MailedRegistration);
                }
                (owner.caller, write)
            }
            Self::Replacement | Self::Revocation => {
                let Owner { name, code, caller } = owner(client, &name).await;
                let write = match self {
                    Self::Revocation => Write::Revocation { owner: name, code },
                    _ => Write::Code { owner: name, code: format!("NEXT{turn}A2030BCDE"), former: Some(code) },
                };
                (caller, write)
            }
            Self::Participant => {
                let code = ("owner".to_owned(), "OWNER2030ABC".to_owned());
                let host = host(client, url).await;
                (Caller::new(&client.base, host.token.as_deref()), Write::Participant { external: name, code })
            }
            Self::Renewal => {
                let (host, referrer) = (host(client, url).await, format!("referrer{turn}"));
                let told = host.tell(&referrer, json!({})).await.expect(201).json();
                let handle = told["handle"].as_str().expect("a handle").to_owned();
                // As the sweep has left it while the managers wanted no renewal: now it leaves it alone.
                let swept = format!(
                    "update code_slots set code_id = null, code = null, expires_at = null \
                     where owner_id = (select id from users where external_id = '{referrer}')"
                );
                witness::query(url, &swept).await;
                let caller = Caller::new(&client.base, host.token.as_deref());
                (caller, Write::Renewal { external: name, referrer, handle })
            }
            Self::Refresh => {
                let user = client.signed_up(&name).await;
                let token = user.refresh_token.expect("a token");
                (Caller::new(&client.base, None), Write::Refresh { user: name, token })
            }
            Self::Hiding => {
                let user = client.signed_up(&name).await;
                (Caller::new(&client.base, user.token.as_deref()), Write::Hiding { user: name })
            }
        }
    }
}

impl Mortal {
    async fn new(setup: Setup, by_steps: bool) -> Self {
        let mut operator = Operator::on_a_free_port();
        let url = match setup {
            Setup::Sqlite => format!("sqlite:{}", operator.path("referral.db").display()),
            _ => Setup::Postgres.prepare(&[]).await.database_url,
        };
        operator.set("DATABASE_URL", &url);
        operator.set("REFERRAL_PUBLIC_URL", "http://referral.test");
        if by_steps {
            operator.set("REFERRAL_DATABASE_PREPARED_STATEMENTS", "false");
        }
        operator.set("FAULT_CRASH_FILE", operator.path("crash"));
        Self { operator, url }
    }

    /// Makes the service end itself at a step, counted from a statement on.
    fn arm(&self, first: &str, step: usize) {
        self.operator.write("crash.new", format!("{first} {step}"));
        std::fs::rename(self.operator.path("crash.new"), self.operator.path("crash")).expect("it is armed");
    }

    /// At which step it has ended itself, if it has.
    fn ended_at(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.operator.path("crash")).expect("it was armed");
        (text.starts_with("before") || text.starts_with("after")).then_some(text)
    }
}

/// Kills the service at each step of a write of this kind, and reads what is there then; says which steps these were.
async fn killed_at_every_step(setup: Setup, kind: Kind, by_steps: bool) -> Vec<String> {
    let mut mortal = Mortal::new(setup, by_steps).await;
    if matches!(kind, Kind::MailedRegistration) {
        // Nobody listens there: the mails wait.
        mortal.operator.set("SMTP_URL", "smtp://127.0.0.1:9");
        mortal.operator.set("REFERRAL_MAIL_FROM", "referral@example.com");
    }
    let mut serving: Serving = mortal.operator.serve();
    owner(&serving.client(), "owner").await;
    let mut steps = Vec::new();
    let mut history = History::default();
    let mut number = 1;
    for turn in 1..80 {
        let (caller, write) = kind.prepare(&serving.client(), &mortal.url, turn).await;
        mortal.arm(kind.first(setup, by_steps), number);
        let call = caller.make(write).await;
        let ended_at = mortal.ended_at();
        let told = call.outcome;
        history.0.push(call);
        let Some(step) = ended_at else {
            // So many steps it has not: it went through.
            assert_eq!(told, Outcome::Ok, "{kind:?} {turn}");
            assert_eq!(history.contradictions(&mortal.url).await, Vec::<String>::new(), "{kind:?}");
            return steps;
        };
        assert_eq!(told, Outcome::Unknown, "{step}");
        assert_eq!(serving.wait().code, None, "it was ended by a signal");
        let there = history.contradictions(&mortal.url).await;
        assert_eq!(there, Vec::<String>::new(), "{step}");
        // Once somebody could know of it, it is there.
        if step.starts_with("after the commit") {
            let known = History(vec![Call { outcome: Outcome::Ok, ..history.0[turn - 1].clone() }]);
            assert_eq!(known.contradictions(&mortal.url).await, Vec::<String>::new(), "{step}");
        } else if !["before REGISTER", "before ADMIT"].iter().any(|one| step.starts_with(one)) || turn == 1 {
            let nothing = History(vec![Call { outcome: Outcome::Failed, ..history.0[turn - 1].clone() }]);
            assert_eq!(nothing.contradictions(&mortal.url).await, Vec::<String>::new(), "{step}");
        }
        // By chance one in 64 asks for work on the list as well: the next that does not has another step there. A mail
        // always asks for work.
        number += usize::from(matches!(kind, Kind::MailedRegistration) || !step.contains("ENQUEUE"));
        steps.push(step);
        std::fs::remove_file(mortal.operator.path("crash")).expect("it was armed");
        serving = mortal.operator.serve();
    }
    panic!("{kind:?} never went through: {steps:?}");
}

/// The steps of a registration: all of them, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let steps = killed_at_every_step(Setup::Sqlite, Kind::Registration, false).await;
    let expected = [
        "before INSERT_USER",
        "before INSERT_LOGIN",
        "before INSERT_LOGIN",
        "before FIND_STRING",
        "before LOCK_SLOT_SHARED",
        "before INSERT",
        "before the commit behind PROGRAM",
        "after the commit behind PROGRAM",
    ];
    // By chance one in 64 asks for work on the list as well.
    let steps: Vec<&str> = steps.iter().map(String::as_str).filter(|step| !step.contains("ENQUEUE")).collect();
    assert!(expected.iter().all(|step| steps.contains(step)), "{steps:?}");

    let steps = killed_at_every_step(Setup::Postgres, Kind::Registration, false).await;
    assert!(steps.contains(&"before REGISTER".to_owned()), "{steps:?}");
    assert!(steps.contains(&"after the commit behind REGISTER".to_owned()), "{steps:?}");
}

/// The same with the mail that tells of it, and the mail's job.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_with_a_mail_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let steps = killed_at_every_step(Setup::Sqlite, Kind::MailedRegistration, false).await;
    let mail = steps.windows(2).filter(|pair| *pair == ["before INSERT", "before ENQUEUE"]).count();
    assert!(mail >= 1, "{steps:?}");
    let steps = killed_at_every_step(Setup::Postgres, Kind::MailedRegistration, false).await;
    assert!(steps.contains(&"before REGISTER_AND_TELL".to_owned()), "{steps:?}");
    assert!(steps.contains(&"after the commit behind REGISTER_AND_TELL".to_owned()), "{steps:?}");
}

/// A participant with their names, their code and their referral: the steps on both engines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let expected = [
        "before INSERT_PARTICIPANT",
        "before INSERT_LOGIN",
        "before CLAIM_HANDLE",
        "before OPEN_SLOT",
        "before CLAIM_STRING",
        "before INSERT_CODE",
        "before FILL_SLOT",
        "before LOCK_SLOT_SHARED",
        "before INSERT",
        "before the commit behind PROGRAM",
        "after the commit behind PROGRAM",
    ];
    for (setup, by_steps) in [(Setup::Sqlite, false), (Setup::Postgres, true)] {
        let steps = killed_at_every_step(setup, Kind::Participant, by_steps).await;
        let steps: Vec<&str> = steps.iter().map(String::as_str).filter(|step| !step.contains("ENQUEUE")).collect();
        assert!(expected.iter().all(|step| steps.contains(step)), "{setup:?}: {steps:?}");
    }
    let steps = killed_at_every_step(Setup::Postgres, Kind::Participant, false).await;
    for step in ["before ADMIT", "after the commit behind ADMIT"] {
        assert!(steps.iter().any(|one| one == step), "{step}: {steps:?}");
    }
}

/// The code behind a handle that has expired, with whom it brings: the steps on both engines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_is_there_with_whom_it_brings_or_not_at_all_wherever_the_service_is_killed() {
    let expected = [
        "before FIND_HANDLE",
        "before LOCK_SLOT",
        "before PROGRAM",
        "before CLAIM_STRING",
        "before INSERT_CODE",
        "before FILL_SLOT",
        "before RECORD",
        "before INSERT",
        "before the commit behind PROGRAM",
        "after the commit behind PROGRAM",
    ];
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let steps = killed_at_every_step(setup, Kind::Renewal, false).await;
        let steps: Vec<&str> = steps.iter().map(String::as_str).filter(|step| !step.contains("ENQUEUE")).collect();
        assert!(expected.iter().all(|step| steps.contains(step)), "{setup:?}: {steps:?}");
    }
}

/// What is planted is found: half of a write, as a service would leave it that writes in two transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_a_write_that_a_killed_service_has_left_is_found() {
    let mortal = Mortal::new(Setup::Sqlite, false).await;
    let serving = mortal.operator.serve();
    owner(&serving.client(), "owner").await;
    let (caller, write) = Kind::Registration.prepare(&serving.client(), &mortal.url, 1).await;
    mortal.arm("INSERT_USER", 5);
    let call = caller.make(write).await;
    serving.wait();
    let mut history = History(vec![call]);
    assert_eq!(history.contradictions(&mortal.url).await, Vec::<String>::new());
    let half = "insert into users (id, username, email, name_key, email_key, created_at, is_manager, discoverable, \
                email_verdict) values (x'00000000000000000000000000000001', 'half', 'half', 'registration1x', \
                'registration1x@example.com', 1, false, true, 'unchecked')";
    witness::query(&mortal.url, half).await;
    assert_eq!(history.contradictions(&mortal.url).await.len(), 1);
    history.0[0].outcome = Outcome::Ok;
    assert_eq!(history.contradictions(&mortal.url).await.len(), 1);
}

/// The other writes, and the steps of a registration on PostgreSQL, where there is time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_whole_or_not_there_at_whichever_step_the_service_is_killed() {
    let kinds: &[Kind] = match crate::support::thorough() {
        true => &[Kind::Replacement, Kind::Revocation, Kind::Refresh, Kind::Hiding, Kind::Participant],
        false => &[Kind::Refresh],
    };
    for kind in kinds {
        let setups: &[Setup] =
            if crate::support::thorough() { &[Setup::Sqlite, Setup::Postgres] } else { &[Setup::Sqlite] };
        for setup in setups {
            let steps = killed_at_every_step(*setup, *kind, false).await;
            for place in ["before the commit", "after the commit"] {
                assert!(steps.iter().any(|step| step.starts_with(place)), "{kind:?} {setup:?}: {steps:?}");
            }
        }
    }
    if crate::support::thorough() {
        let steps = killed_at_every_step(Setup::Postgres, Kind::Registration, true).await;
        assert!(steps.iter().any(|step| step == "before LOCK_SLOT_SHARED"), "{steps:?}");
    }
}

/// With a key: who asks again gets the answer of a write that is there, and of one that is not the effect.
async fn keyed_writes_killed_at_every_step(setup: Setup) -> Vec<String> {
    const CODES: &str = "select count(*) from codes";
    let mortal = Mortal::new(setup, false).await;
    let mut serving: Serving = mortal.operator.serve();
    let user = serving.client().signed_up("user").await;
    let body = json!({"expires_at": FAR});
    let mut steps = Vec::new();
    for turn in 1..50 {
        let key = format!("key {turn}");
        mortal.arm("CLAIM_KEY", turn);
        let client = user.at(&serving.client().base);
        let sent = request(&client, &Method::POST, REPLACE, Some(&body), &key).send().await;
        let Some(step) = mortal.ended_at() else {
            assert_eq!(sent.expect("an answer").status().as_u16(), 201);
            return steps;
        };
        assert!(sent.is_err(), "{step}: {sent:?}");
        assert_eq!(serving.wait().code, None, "it was ended by a signal");
        let there = i64::from(step.starts_with("after the commit"));
        let before = i64::try_from(turn).expect("a number") - 1;
        assert_eq!(witness::number(&mortal.url, CODES).await, before + there, "{step}");
        let answered = "select count(*) from idempotency where sealed_answer is not null";
        assert_eq!(witness::number(&mortal.url, answered).await, before + there, "{step}");
        assert_eq!(witness::number(&mortal.url, "select count(*) from idempotency").await, before + there, "{step}");
        std::fs::remove_file(mortal.operator.path("crash")).expect("it was armed");
        serving = mortal.operator.serve();
        let client = user.at(&serving.client().base);
        let answer = replace(&client, &key).await.expect(201);
        assert_eq!(is_replayed(&answer), there == 1, "{step}");
        assert_eq!(replace(&client, &key).await.expect(201).text, answer.text, "{step}");
        assert_eq!(witness::number(&mortal.url, CODES).await, before + 1, "{step}");
        steps.push(step);
    }
    panic!("it never went through: {steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_with_a_key_is_there_with_its_answer_or_not_at_all_wherever_the_service_is_killed() {
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let steps = keyed_writes_killed_at_every_step(setup).await;
        for step in ["before CLAIM_KEY", "before LOCK_SLOT", "before KEEP_ANSWER"] {
            assert!(steps.iter().any(|known| known == step), "{setup:?}: {steps:?}");
        }
        for step in ["before the commit", "after the commit"] {
            assert!(steps.iter().any(|known| known.starts_with(step)), "{setup:?}: {steps:?}");
        }
        // A key costs two statements, and without one there are none of them.
        let statements = |steps: Vec<String>| -> Vec<String> {
            steps.into_iter().filter(|step| !step.contains("the commit")).collect()
        };
        let plain = statements(killed_at_every_step(setup, Kind::Replacement, false).await);
        let mut keyed = statements(steps);
        keyed.retain(|step| !["before CLAIM_KEY", "before KEEP_ANSWER"].contains(&step.as_str()));
        assert_eq!(keyed, plain, "{setup:?}");
    }
}

/// A host's back end, which the owner, as a manager, has let in.
async fn host(client: &Client, url: &str) -> Client {
    witness::query(url, "update users set is_manager = true where username = 'owner'").await;
    host_of(&client.logged_in("owner").await).await
}
