//! A person's link, their code, what happened on the link, and who came by it.

use std::time::Duration;

use axum::extract::RawQuery;
use axum::http::StatusCode;
use axum::response::Response;
use uuid::Uuid;

use super::{Halted, answer, logged_in, sent};
use crate::features::codes::actions::Wanted;
use crate::features::codes::model::{OwnedCode, State};
use crate::features::links::actions::clicks;
use crate::features::links::model::Days;
use crate::features::rewards::model::event::WantedRewards;
use crate::features::tokens::model::BrowserSession;
use crate::features::{codes, links, referrals, rewards};
use crate::kernel::email::mask;
use crate::kernel::error::{Error, Refusal, Result};
use crate::kernel::page::Cursor;
use crate::kernel::parameters::Parameters;
use crate::web::browser::Browser;
use crate::web::pages::retry;
use crate::web::problem::{Problem, status};
use crate::web::views::notes::Alert;
use crate::web::views::share::{
    BalanceView, CodeView, DayView, Done, Life, RefereeView, RewardView, ShareLink, SharePage,
};
use crate::web::visitor::ProtectedForm;

/// Referees on a page.
const SIZE: i64 = 20;
const DAY: Duration = Duration::from_secs(24 * 3600);

pub async fn overview(browser: Browser, RawQuery(query): RawQuery) -> Response {
    let query = Parameters::parse(query.unwrap_or_default().as_bytes());
    answer(&browser, show(&browser, &query)).await
}

async fn show(browser: &Browser, query: &Parameters) -> Result<Response, Halted> {
    let person = logged_in(browser).await?;
    let seen = Seen {
        done: query.first("done").and_then(Done::parse),
        before: query.first("cursor").and_then(Cursor::parse),
        alert: None,
    };
    Ok(page(browser, &person, StatusCode::OK, &seen).await?)
}

/// What is seen beside what there always is.
#[derive(Default)]
struct Seen {
    /// What has just been done.
    done: Option<Done>,
    /// Referees that came before this one; the latest of all otherwise.
    before: Option<Cursor>,
    alert: Option<Alert>,
}

async fn page(browser: &Browser, person: &BrowserSession, status: StatusCode, seen: &Seen) -> Result<Response> {
    let (app, user, words) = (&*browser.app, person.user, browser.words);
    let actor = browser.actor().person(user);
    let share = links::actions::share(app, actor, user, browser.visitor.language()).await?;
    let code = codes::actions::latest_of(app, user).await?;
    let to = clicks::today(app);
    let figures = clicks::figures(app, user, Days { from: to.plus(1 - Days::USUAL), to }).await?;
    let people = referrals::actions::latest(app, user, seen.before, SIZE).await?;
    let days = figures.iter().map(|day| DayView {
        day: (words.date)(day.day.begin()),
        clicks: day.clicks,
        visitors: day.visitors,
        registrations: day.registrations,
    });
    let links = share.texts.into_iter().map(|text| ShareLink { channel: text.channel.word(), url: text.url });
    let referees = people.items.iter().map(|referee| RefereeView {
        name: &referee.username,
        joined_at: referee.joined_at,
        counts: referee.status == referrals::model::Status::Confirmed,
    });
    let older = people.older.map(|cursor| cursor.to_string());
    let decimal = words.share.decimal;
    let balances = rewards::actions::lists::balances(app, user).await?;
    let balances = balances.into_iter().map(|balance| {
        let [pending, available, paid] =
            [balance.pending, balance.available, balance.paid].map(|amount| balance.unit.written(amount, decimal));
        BalanceView { unit: balance.unit.as_str().to_owned(), pending, available, paid }
    });
    let wanted = WantedRewards { holder: Some(user), state: None };
    let latest = rewards::actions::lists::rewards(app, wanted, Uuid::max(), SIZE).await?.0;
    let got = latest.into_iter().map(|reward| RewardView {
        amount: format!("{} {}", reward.unit.written(reward.standing.amount.into(), decimal), reward.unit.as_str()),
        state: reward.standing.state.word(),
        granted_at: reward.granted_at,
    });
    let inviter = match seen.done {
        Some(Done::Registered) => referrals::actions::referrer_of(app, user).await?,
        _ => None,
    };
    // A name that is an address is shown like one.
    let inviter = inviter.map(|inviter| mask(&inviter.username));
    let view = SharePage {
        words,
        csrf: &browser.visitor.csrf(),
        user: &person.username,
        done: seen.done,
        inviter: inviter.as_deref(),
        alert: seen.alert,
        link: &share.link,
        handle: share.handle.as_str(),
        links: &links.collect::<Vec<_>>(),
        code: code.as_ref().map(code_view),
        days: &days.collect::<Vec<_>>(),
        referees: &referees.collect::<Vec<_>>(),
        total: people.total,
        older: older.as_deref(),
        is_first: seen.before.is_none(),
        balances: &balances.collect::<Vec<_>>(),
        rewards: &got.collect::<Vec<_>>(),
    };
    browser.page(status, &view)
}

fn code_view(code: &OwnedCode) -> CodeView<'_> {
    let (code_text, expires_at, ordinal) = (code.code.as_str(), code.expires_at, code.ordinal);
    let (is_active, is_revoked) = (code.state == State::Active, code.state == State::Revoked);
    CodeView { code: code_text, expires_at, ordinal, is_active, is_revoked }
}

pub async fn change_code(browser: Browser, form: ProtectedForm) -> Response {
    answer(&browser, change(&browser, &form)).await
}

async fn change(browser: &Browser, form: &ProtectedForm) -> Result<Response, Halted> {
    let (fields, person) = sent(browser, form).await?;
    let done = match apply(browser, fields, &person).await {
        Ok(done) => done,
        // The form was sent twice, or from a page of before.
        Err(Error::Refused(Refusal::ActiveCodeExists | Refusal::CodeNotFound)) => Done::Stale,
        Err(error) => return Ok(tell(browser, &person, error).await?),
    };
    Ok(browser.see_other(&format!("/share?done={}", done.word()))?)
}

/// Shows the page again, with what went wrong.
async fn tell(browser: &Browser, person: &BrowserSession, error: Error) -> Result<Response> {
    let Some(alert) = Alert::of(&error) else { return Err(error) };
    let problem = Problem::from(error);
    let seen = Seen { alert: Some(alert), ..Seen::default() };
    let mut response = page(browser, person, status(problem.refusal), &seen).await?;
    retry(&mut response, problem.retry_after);
    Ok(response)
}

/// Does what the form asks for, if the code is still the one that its page has shown.
async fn apply(browser: &Browser, fields: &Parameters, person: &BrowserSession) -> Result<Done> {
    let (app, user) = (&*browser.app, person.user);
    let actor = browser.actor().person(user);
    let shown = fields.first("shown").and_then(|text| text.parse().ok()).unwrap_or(0);
    if fields.first("action") == Some("revoke") {
        let code = codes::actions::latest_of(app, user).await?.filter(|code| code.ordinal == shown);
        let code = code.ok_or(Refusal::CodeNotFound)?;
        codes::actions::revoke(app, actor.into(), user, &code.code).await?;
        return Ok(Done::Revoked);
    }
    let life = fields.first("days").and_then(Life::parse).unwrap_or(Life::OFFERED);
    let expires_at = app.clock.now().plus(DAY.saturating_mul(life.days()));
    let wanted = Wanted { code: None, expires_at, replace: true, behind: Some(shown) };
    codes::actions::create(app, actor, user, wanted).await?;
    Ok(Done::Made)
}
