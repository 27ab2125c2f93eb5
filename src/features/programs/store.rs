//! Where programs are kept.

use std::collections::BTreeMap;

use crate::db::{Db, Row, Tx};
use crate::kernel::error::{Error, Result};
use crate::kernel::program::{DEFAULT, LandingUrl, Program, ProgramState, ShareText, ShareTexts};
use crate::{params, sql};

sql! {
    PROGRAM = "select slug, name, state, landing_url, code_days, auto_renew, share_texts, hold_days,
                      event_types, sign_up_rules, budgets from programs where slug = $1";
    PROGRAMS = "select slug, name, state, landing_url, code_days, auto_renew, share_texts, hold_days,
                      event_types, sign_up_rules, budgets from programs
                order by created_at, slug";
    LOCK = {
        sqlite: "select slug, name, state, landing_url, code_days, auto_renew, share_texts, hold_days, event_types,
                     sign_up_rules, budgets
                 from programs where slug = $1",
        postgres: "select slug, name, state, landing_url, code_days, auto_renew, share_texts, hold_days, event_types,
                       sign_up_rules, budgets
                   from programs where slug = $1 for update",
    };
    UPDATE = "update programs set name = $2, landing_url = $3, code_days = $4, auto_renew = $5, share_texts = $6,
                  hold_days = $7, event_types = $8, budgets = $9
              where slug = $1";
    SET_SIGN_UP_RULES = "update programs set sign_up_rules = $2 where slug = $1";
    /// Of a unit whose budget is $4: nothing is changed where that would be more.
    SPEND = "insert into budgets (program_id, unit, spent)
             select p.id, $2, $3 from programs p where p.slug = $1 and cast($3 as bigint) <= cast($4 as bigint)
             on conflict (program_id, unit) do update set spent = budgets.spent + excluded.spent
                 where budgets.spent + excluded.spent <= cast($4 as bigint)";
    GIVE_BACK = "update budgets set spent = spent - $3
                 where program_id = (select id from programs where slug = $1) and unit = $2";
    SET_STATE = "update programs set state = $2 where slug = $1";
}

pub async fn program(db: &Db) -> Result<Program> {
    present(db.row(&PROGRAM, params![DEFAULT]).await?)
}

/// As [`program`], in a unit of work.
pub async fn program_within(tx: &mut Tx<'_>) -> Result<Program> {
    present(tx.row(&PROGRAM, &params![DEFAULT]).await?)
}

/// All of them, oldest first.
pub async fn programs(db: &Db) -> Result<Vec<Program>> {
    db.rows(&PROGRAMS, params![]).await?.iter().map(read).collect()
}

/// The program, locked against others who would change it.
pub async fn lock(tx: &mut Tx<'_>) -> Result<Program> {
    present(tx.row(&LOCK, &params![DEFAULT]).await?)
}

pub async fn update(tx: &mut Tx<'_>, program: &Program) -> Result<()> {
    let values = params![
        &program.slug,
        &program.name,
        program.landing_url.as_ref().map(LandingUrl::as_str),
        program.code_days,
        program.auto_renew,
        written(&program.share_texts),
        program.hold_days,
        serde_json::json!(program.event_types).to_string(),
        serde_json::json!(program.budgets).to_string(),
    ];
    tx.run(&UPDATE, &values).await.map(drop)
}

pub async fn set_sign_up_rules(tx: &mut Tx<'_>, are_there: bool) -> Result<()> {
    tx.run(&SET_SIGN_UP_RULES, &params![DEFAULT, are_there]).await.map(drop)
}

/// Takes so much of a budget, if there is so much left of it.
pub async fn spend(tx: &mut Tx<'_>, unit: &str, amount: i64, budget: i64) -> Result<bool> {
    Ok(tx.run(&SPEND, &params![DEFAULT, unit, amount, budget]).await? == 1)
}

/// Gives back to a budget.
pub async fn give_back(tx: &mut Tx<'_>, unit: &str, amount: i64) -> Result<()> {
    tx.run(&GIVE_BACK, &params![DEFAULT, unit, amount]).await.map(drop)
}

pub async fn set_state(tx: &mut Tx<'_>, state: ProgramState) -> Result<()> {
    tx.run(&SET_STATE, &params![DEFAULT, state.word()]).await.map(drop)
}

fn present(row: Option<Row>) -> Result<Program> {
    read(&row.ok_or_else(|| Error::inconsistent("programs", "slug", DEFAULT))?)
}

fn read(row: &Row) -> Result<Program> {
    let slug: String = row.get(0)?;
    let word: String = row.get(2)?;
    Ok(Program {
        name: row.get(1)?,
        state: ProgramState::parse(&word).ok_or_else(|| Error::inconsistent("programs", "state", &slug))?,
        landing_url: row.get::<Option<String>>(3)?.map(LandingUrl::stored),
        code_days: row.get(4)?,
        auto_renew: row.get(5)?,
        share_texts: texts(row.get(6)?).ok_or_else(|| Error::inconsistent("programs", "share_texts", &slug))?,
        hold_days: row.get(7)?,
        event_types: serde_json::from_str(&row.get::<String>(8)?)
            .map_err(|_| Error::inconsistent("programs", "event_types", &slug))?,
        sign_up_rules: row.get(9)?,
        budgets: serde_json::from_str(&row.get::<String>(10)?)
            .map_err(|_| Error::inconsistent("programs", "budgets", &slug))?,
        slug,
    })
}

/// Languages that a later release may have added are passed over.
fn texts(stored: Option<String>) -> Option<ShareTexts> {
    let Some(json) = stored else { return Some(ShareTexts::default()) };
    let mut texts: BTreeMap<String, String> = serde_json::from_str(&json).ok()?;
    let mut take = |language: &str| texts.remove(language).map(ShareText::stored);
    Some(ShareTexts { en: take("en"), ru: take("ru") })
}

fn written(texts: &ShareTexts) -> Option<String> {
    let both = [("en", &texts.en), ("ru", &texts.ru)];
    let told = both.into_iter().filter_map(|(language, text)| Some((language, text.as_ref()?.as_str())));
    let told: BTreeMap<&str, &str> = told.collect();
    (!told.is_empty()).then(|| serde_json::json!(told).to_string())
}
