//! How PostgreSQL runs every statement on the large data, compared with what the repository says.

use std::collections::BTreeMap;
use std::fmt::Write;

use referral::db::Sql;
use referral::features::{
    accounts, audit, clients, codes, identities, links, mails, managers, oauth, participants, programs, referrals,
    tokens,
};
use referral::{cache, idempotency, jobs};

use crate::measure::{Goal, Spread};
use crate::people::{BIG, owner};
use crate::report::{Fact, Report, Section};
use crate::run::{Bench, Place};

const STORES: &[(&str, &[&Sql])] = &[
    ("accounts", accounts::store::STATEMENTS),
    ("admission", accounts::store::admission::STATEMENTS),
    ("audit", audit::store::STATEMENTS),
    ("changes", cache::changes::STATEMENTS),
    ("clients", clients::store::STATEMENTS),
    ("codes", codes::store::STATEMENTS),
    ("consents", clients::store::consents::STATEMENTS),
    ("idempotency", idempotency::STATEMENTS),
    ("identities", identities::store::STATEMENTS),
    ("jobs", jobs::STATEMENTS),
    ("links", links::store::STATEMENTS),
    ("mails", mails::store::STATEMENTS),
    ("managers", managers::store::STATEMENTS),
    ("oauth", oauth::store::STATEMENTS),
    ("participants", participants::store::STATEMENTS),
    ("programs", programs::store::STATEMENTS),
    ("referrals", referrals::store::STATEMENTS),
    ("registration", accounts::store::registration::STATEMENTS),
    ("sessions", tokens::store::sessions::STATEMENTS),
    ("tokens", tokens::store::STATEMENTS),
    ("upserts", accounts::store::participants::STATEMENTS),
];

/// Run for every request of some kind, so that reading a whole table or sorting a long list is a fault.
const HOT: &[&str] = &[
    "accounts.CREDENTIALS",
    "accounts.CREDENTIALS_BY_ID",
    "accounts.USER",
    "accounts.INSERT_USER",
    "accounts.INSERT_LOGIN",
    "admission.ADMIT",
    "audit.INSERT_AUDIT",
    "audit.STANDING",
    "changes.RECORD",
    "changes.SINCE",
    "codes.LOCK_SLOT",
    "codes.LOCK_SLOT_SHARED",
    "codes.FILL_SLOT",
    "codes.EMPTY_SLOT",
    "codes.CLAIM_STRING",
    "codes.FIND_STRING",
    "codes.INSERT_CODE",
    "codes.REVOKE",
    "codes.LIST",
    "codes.FIND_BY_EMAIL",
    "codes.FIND_BY_OWNER",
    "codes.FIND_BY_HASH",
    "codes.HAS_EXPIRED",
    "idempotency.CLAIM_KEY",
    "jobs.CLAIM",
    "jobs.ENQUEUE",
    "links.CLICKS",
    "links.FIND_BY_CODE",
    "links.FIND_BY_HANDLE",
    "mails.INSERT",
    "mails.MAIL",
    "managers.BY_PREFIX",
    "managers.MANAGERS_BY_PREFIX",
    "managers.EVERYBODY",
    "participants.PARTICIPANT",
    "participants.PARTICIPANTS",
    "referrals.INSERT",
    "referrals.REFERRER_OF",
    "referrals.COUNT",
    "referrals.PAGE",
    "referrals.AFTER",
    "registration.REGISTER",
    "registration.REGISTER_AND_TELL",
    "sessions.SESSIONS_OF",
    "tokens.FAMILY_BY_HANDLE",
    "tokens.ROTATE",
    "tokens.END_FAMILY",
    "tokens.IS_LIVE",
    "upserts.LOCK_PARTICIPANT",
];

/// Tables that hold a handful of rows or none at this moment: PostgreSQL reads them whole, and rightly.
const SMALL: [&str; 3] = ["changes", "jobs", "signing_keys"];
/// Rows that may be sorted: a page and the one that tells of the next.
const PAGE: i64 = 101;
/// Rows that a page may read: itself and what lies between it and the marks, its people and the codes they came with.
const READ: i64 = 1000;

pub fn compare(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    let name = main.name.as_deref().ok_or("not on PostgreSQL")?;
    let folder = bench.settings.root.join("benches/plans");
    let mut faults = Vec::new();
    let mut known = Vec::new();
    // Plans are chosen by the amount of data: only those of the full size are kept.
    let comparable = !bench.settings.quick && bench.settings.scale == 1_000_000;
    let version = bench.postgres.version();
    let version = version.split('.').next().unwrap_or_default();
    for (store, statements) in STORES {
        let mut text = format!("Plans of the statements of `{store}` with a million referees, {version}\n");
        // To lock a table there is one way.
        for sql in statements.iter().filter(|sql| !sql.postgres.starts_with("lock table")) {
            let full = format!("{store}.{}", sql.name);
            known.push(full.clone());
            let plan = plan(bench, name, sql)?;
            let _ = write!(text, "\n{}\n\n{plan}\n", sql.name);
            if HOT.contains(&full.as_str()) {
                faults.extend(whole_tables(&plan).into_iter().map(|table| format!("{full} reads all of {table}")));
            }
        }
        let path = folder.join(format!("{store}.txt"));
        if comparable && bench.settings.bless {
            std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::write(&path, &text))
                .map_err(|error| error.to_string())?;
            continue;
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        // Another version of PostgreSQL plans in other ways, and says it in other words.
        let same_version = kept.lines().next().is_none_or(|line| line.ends_with(version));
        if comparable && same_version && kept != text {
            let beside = bench.settings.root.join("target/bench");
            let other = beside.join(format!("plans-{store}.txt"));
            std::fs::create_dir_all(beside)
                .and_then(|()| std::fs::write(&other, &text))
                .map_err(|error| error.to_string())?;
            faults.push(format!("{} is not what PostgreSQL does: see {}", path.display(), other.display()));
        }
    }
    faults
        .extend(HOT.iter().filter(|hot| !known.iter().any(|one| one == *hot)).map(|hot| format!("there is no {hot}")));
    faults.extend(executions(bench, main, name)?);
    report.fact(Fact {
        work: "query plans that are not as they should be".to_owned(),
        goal: Goal::AtMost(0.0),
        value: Spread::of([faults.len() as f64]),
        unit: "",
        remark: format!(
            "of {} statements{}; {} hot ones are looked at for sequential scans.",
            known.len(),
            if comparable { ", compared with `benches/plans`" } else { " (not compared: that is for the full size)" },
            HOT.len(),
        ),
    });
    report.sections.push(Section {
        title: "Query plans".to_owned(),
        text: "Every statement's generic plan, the one that holds for any parameters, on the large data. A hot one must \
               not read a whole table. Statements that list are executed as well, with a generic plan and with one made \
               for their parameters, for pages at both ends and in the middle of the longest list: they may sort a page \
               at most and read a thousand rows."
            .to_owned(),
        head: vec!["what is wrong".to_owned()],
        lines: match faults.is_empty() {
            true => vec![vec!["nothing".to_owned()]],
            false => faults.into_iter().map(|one| vec![one]).collect(),
        },
    });
    Ok(())
}

/// The generic plan, which does not depend on parameters; so they can all be null.
fn plan(bench: &Bench, database: &str, sql: &Sql) -> Result<String, String> {
    let count = (1..=20).rev().find(|number| sql.postgres.contains(&format!("${number}"))).unwrap_or(0);
    let nulls = match count {
        0 => String::new(),
        _ => format!("({})", vec!["null"; count].join(", ")),
    };
    let question = format!(
        "set plan_cache_mode = force_generic_plan; set max_parallel_workers_per_gather = 0; \
         prepare one as {}; explain (costs off) execute one{nulls}",
        sql.postgres
    );
    Ok(bench.postgres.query(database, &question).map_err(|error| format!("{}: {error}", sql.name))?.join("\n"))
}

fn whole_tables(plan: &str) -> Vec<String> {
    let scans = plan.lines().filter_map(|line| line.split_once("Seq Scan on "));
    let tables = scans.filter_map(|(_, rest)| rest.split_whitespace().next());
    tables.filter(|table| !SMALL.contains(table)).map(str::to_owned).collect()
}

/// Sorts of more than a page, and rows read beyond need, in the execution of statements that list.
fn executions(bench: &Bench, main: &Place, database: &str) -> Result<Vec<String>, String> {
    let people = &main.people;
    let (big, some) = (people.id(BIG), people.id(owner(people.findable_owner(0))));
    let page = |skip: u64| vec![format!("'{big}'"), skip.to_string(), "51".to_owned(), format!("'{big}'")];
    let questions: BTreeMap<&str, (&[&Sql], &str, Vec<String>)> = BTreeMap::from([
        ("first page", (referrals::store::STATEMENTS, "PAGE", page(0))),
        ("middle page", (referrals::store::STATEMENTS, "PAGE", page(people.scale / 2))),
        ("last page", (referrals::store::STATEMENTS, "PAGE", page(people.scale - 50))),
        ("page behind a cursor", (referrals::store::STATEMENTS, "AFTER", page(people.scale / 2))),
        ("total", (referrals::store::STATEMENTS, "COUNT", vec![format!("'{big}'")])),
        ("own codes", (codes::store::STATEMENTS, "LIST", vec![format!("'{some}'"), "0".to_owned(), "50".to_owned()])),
    ]);
    let mut faults = Vec::new();
    for (what, (statements, name, parameters)) in questions {
        let sql = crate::programs::bare_sqlite::statement(statements, name)?;
        // PostgreSQL weighs one against the other by itself, so both have to be good.
        for mode in ["force_generic_plan", "force_custom_plan"] {
            let question = format!(
                "set plan_cache_mode = {mode}; prepare one as {}; \
                 explain (analyze, timing off, costs off, summary off, format json) execute one({})",
                sql.postgres,
                parameters.join(", ")
            );
            let text = bench.postgres.query(database, &question)?.join("\n");
            let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| format!("explain: {error}"))?;
            let mut found = Found::default();
            found.look(&json[0]["Plan"]);
            let plan = mode.replace("force_", "").replace('_', " ");
            if found.sorted > PAGE {
                faults.push(format!("{what}: {name} sorts {} rows ({plan})", found.sorted));
            }
            if found.read > READ {
                faults.push(format!("{what}: {name} reads {} rows ({plan})", found.read));
            }
        }
    }
    Ok(faults)
}

/// What the execution of a statement took.
#[derive(Default)]
struct Found {
    /// Rows of the longest sort.
    sorted: i64,
    /// Rows read from tables and indexes, those that a filter threw away included.
    read: i64,
}

impl Found {
    fn look(&mut self, node: &serde_json::Value) {
        let kind = node["Node Type"].as_str().unwrap_or_default();
        if kind.contains("Sort") {
            self.sorted = self.sorted.max(node["Plans"][0]["Actual Rows"].as_i64().unwrap_or(0));
        }
        if kind.contains("Scan") && (kind.contains("Index") || kind.contains("Seq")) {
            let figure = |name: &str| node[name].as_i64().unwrap_or(0);
            self.read += (figure("Actual Rows") + figure("Rows Removed by Filter")) * figure("Actual Loops");
        }
        if let Some(nodes) = node["Plans"].as_array() {
            nodes.iter().for_each(|node| self.look(node));
        }
    }
}
