//! What it costs that people get something for what happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use uuid::Uuid;

use crate::load::{Expected, Source, Span};
use crate::measure::{Bound, Goal, Row, Spread};
use crate::people::{BIG, owner};
use crate::pgbench::{self, Script};
use crate::report::{Fact, Report};
use crate::rows::mails::execute;
use crate::rows::program::{client, token};
use crate::rows::reads::write;
use crate::rows::registrations::{copied, register};
use crate::run::{Bench, Place};
use crate::service::{Options, Service};
use crate::{http, sources};

const EVENTS: &str = "/api/v1/events";
/// Events in one call.
const BATCH: u64 = 500;
/// Programs that tell: each has one batch under way at a time.
const SENDERS: usize = 4;
/// Holders who are paid in turn.
const HOLDERS: usize = 64;
/// Events that are told of again and again.
const KNOWN: u64 = 256;
/// Movements behind a holder's last mark.
const BEHIND: u64 = 64;
/// Longer than a node believes what a program is like.
const HEARD: Duration = Duration::from_millis(1200);
/// Longer than any job takes.
const PATIENCE: Duration = Duration::from_secs(120);

const BOTH_SIDES: &str = r#"[{"key":"share","on":"purchase","to":"referrer","percent_bp":1000,"event_unit":"EUR",
    "times":"every"}, {"key":"every","on":"purchase","to":"referee","fixed":500,"unit":"POINTS","times":"every"}]"#;
const SIGN_UPS: &str = r#"[{"key":"hello","on":"signup","to":"referrer","fixed":50,"unit":"POINTS","times":"first"}]"#;

/// A service with programs that may tell, and who buys.
struct Shop<'a> {
    bench: &'a Bench,
    place: Place,
    service: Service,
    tokens: Vec<String>,
    numbers: Arc<AtomicU64>,
}

impl<'a> Shop<'a> {
    fn open(bench: &'a Bench, place: Place) -> Result<Self, String> {
        make_rules(bench, &place, BOTH_SIDES)?;
        let senders = (0..SENDERS).map(|_| client(bench, &place)).collect::<Result<Vec<_>, _>>()?;
        let options = Options { without_hashing: true, unlimited: true, ..place.options.clone() };
        let service = Service::start(&bench.programs, &options)?;
        let tokens = senders.iter().map(|sender| token(&service, sender)).collect::<Result<Vec<_>, _>>()?;
        let numbers = Arc::new(AtomicU64::new(bench.newcomers.fetch_add(1 << 32, Ordering::Relaxed)));
        Ok(Self { bench, place, service, tokens, numbers })
    }

    /// New events of these people in turn.
    fn tell(&self, buyers: &[Uuid]) -> Result<Span, String> {
        self.bench.load(&self.place, &self.service, sources::each(|at| self.purchases(buyers, at)))
    }

    fn purchases(&self, buyers: &[Uuid], client: usize) -> Source {
        let (token, buyers, numbers) = (self.tokens[client % SENDERS].clone(), buyers.to_vec(), self.numbers.clone());
        let mut turn = client;
        Box::new(move |question| {
            turn += 1;
            let body = purchase(numbers.fetch_add(1, Ordering::Relaxed), buyers[turn % buyers.len()]);
            question.extend_from_slice(&http::request("POST", EVENTS, Some(&token), Some(&body)));
            Expected::Status(201)
        })
    }

    /// As [`tell`](Self::tell), many in one call. The rate is of events.
    fn tell_many(&self, buyers: &[Uuid]) -> Result<Span, String> {
        let batches = |sender: usize| -> Source {
            let (token, buyers, numbers) = (self.tokens[sender].clone(), buyers.to_vec(), self.numbers.clone());
            Box::new(move |question| {
                let first = numbers.fetch_add(BATCH, Ordering::Relaxed);
                let items: Vec<String> = (first..first + BATCH)
                    .map(|number| purchase(number, buyers[number as usize % buyers.len()]))
                    .collect();
                let body = format!(r#"{{"events":[{}]}}"#, items.join(","));
                let path = format!("{EVENTS}/batch");
                question.extend_from_slice(&http::request("POST", &path, Some(&token), Some(&body)));
                Expected::Status(200)
            })
        };
        let mut span = self.bench.load(&self.place, &self.service, (0..SENDERS).map(batches).collect())?;
        span.requests *= BATCH as f64;
        Ok(span)
    }

    /// Events that are known, again.
    fn tell_again(&self, known: &[String]) -> Result<Span, String> {
        let again = |client: usize| -> Source {
            let (token, known) = (self.tokens[client % SENDERS].clone(), known.to_vec());
            let mut turn = client;
            Box::new(move |question| {
                turn += 1;
                let body = &known[turn % known.len()];
                question.extend_from_slice(&http::request("POST", EVENTS, Some(&token), Some(body)));
                Expected::Status(200)
            })
        };
        self.bench.load(&self.place, &self.service, sources::each(again))
    }

    fn known(&self, buyers: &[Uuid]) -> Result<Vec<String>, String> {
        (0..KNOWN)
            .map(|turn| {
                let number = self.numbers.fetch_add(1, Ordering::Relaxed);
                let body = purchase(number, buyers[turn as usize % buyers.len()]);
                http::ask(self.service.address, "POST", EVENTS, Some(&self.tokens[0]), Some(&body))?.expect(201)?;
                Ok(body)
            })
            .collect()
    }
}

fn purchase(number: u64, buyer: Uuid) -> String {
    format!(
        r#"{{"type":"purchase","external_id":"{number}","participant":{{"id":"{buyer}"}},"amount":1000,"unit":"EUR"}}"#
    )
}

/// So many people whose referrers are all others.
fn buyers(place: &Place) -> Vec<Uuid> {
    let people = place.people;
    // Of a hundred and eleven in a row those with others' codes, of whom five have one.
    let numbers = (0..).map(|turn| 2 + turn * 111 + 101);
    let is_there = |number: &u64| {
        let referrer = people.referrer(*number).unwrap_or(*number);
        !people.is_erased(*number) && !people.is_erased(referrer)
    };
    numbers.filter(is_there).take(HOLDERS).map(|number| people.id(number)).collect()
}

/// As many whom one has brought.
fn buyers_of_one(place: &Place) -> Vec<Uuid> {
    let people = place.people;
    let theirs = |number: &u64| people.referrer(*number) == Some(BIG) && !people.is_erased(*number);
    (2..).filter(theirs).take(HOLDERS).map(|number| people.id(number)).collect()
}

/// Makes a version of rules that is in force from then on.
fn make_rules(bench: &Bench, place: &Place, rules: &str) -> Result<(), String> {
    let made = format!(
        "insert into program_rules (program_id, version, rules, created_at, created_by) \
         select id, 1 + (select count(*) from program_rules), '{rules}', 1, (select id from users limit 1) \
         from programs where slug = 'default'"
    );
    execute(bench, place, &made)
}

/// Events with two rewards: alone, at once, for one holder, in batches, and again.
pub fn events(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    let rounds = bench.settings.rounds;
    let mut row =
        |work: String, yardstick: &str, goal: f64, bound: Bound, sides: (Vec<Span>, Vec<Span>), remark: &str| {
            let (ours, theirs) = sides;
            let (yardstick, remark) = (yardstick.to_owned(), remark.to_owned());
            report.row(Row { work, yardstick, goal: Goal::AtLeast(goal), bound, ours, theirs, remark });
        };
    for (place, engine, faster) in [(main.clone(), "PostgreSQL", 2.0), (copied(bench, file, "rewards")?, "SQLite", 1.2)]
    {
        let shop = Shop::open(bench, place)?;
        let (buyers, of_one) = (buyers(&shop.place), buyers_of_one(&shop.place));
        let alone = || shop.tell(&buyers);
        let work = format!("event with two rewards, {engine}");
        let each = "of 64 people in turn, whom 64 others have brought; each answer is durable.";
        match shop.place.name.as_deref() {
            Some(name) => {
                let script = Script::new(VARIABLES, &one_statement(&buyers), &[]);
                let script = write(bench, "event", &script)?;
                let count = || bench.postgres.query(name, "select count(*) from ledger");
                let before = count()?;
                let times = bench.settings.times;
                let best = pgbench::best_clients(&bench.postgres, name, &script, times)?;
                if count()? == before {
                    return Err("the yardstick grants nothing".to_owned());
                }
                let theirs = || pgbench::run(&bench.postgres, name, &script, best, times);
                let sides = Row::alternate(rounds, alone, theirs)?;
                row(work, &format!("pgbench, one statement, {best} clients"), 0.75, Bound::Processor, sides, each);
            }
            None => {
                let codes = bench.codes(&shop.place);
                let theirs = || register(bench, &shop.place, &shop.service, &codes);
                let sides = Row::alternate(rounds, alone, theirs)?;
                row(work, "registration with a code, hashing aside", 0.4, Bound::Other, sides, each);
            }
        }
        let sides = Row::alternate(rounds, || shop.tell(&of_one), alone)?;
        let work = format!("events for one holder, {engine}");
        row(work, "the same for 64", 0.5, Bound::Other, sides, "what referees get is theirs on both sides.");
        let sides = Row::alternate(rounds, || shop.tell_many(&buyers), alone)?;
        let work = format!("events with two rewards, {BATCH} at once, {engine}");
        let remark = format!("{SENDERS} programs, each with one batch under way; the rate is of events.");
        row(work, "the same one by one", faster, Bound::Other, sides, &remark);
        let known = shop.known(&buyers)?;
        let sides = Row::alternate(rounds, || shop.tell_again(&known), alone)?;
        let work = format!("event that is known, {engine}");
        row(work, "a new one with two rewards", 2.0, Bound::Other, sides, "it is answered as it was at first.");
    }
    Ok(())
}

const VARIABLES: &str =
    "\\set n random(1, 1000000000000000)\n\\set m random(1, 1000000000000000)\n\\set k random(1, 64)";

/// All rows of an event with two rewards in one statement: pgbench's form of it, which judges by no rules.
fn one_statement(buyers: &[Uuid]) -> String {
    let list = buyers.iter().map(|buyer| format!("'{buyer}'")).collect::<Vec<_>>().join(",");
    let id = "(lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
               substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid";
    format!(
        "with told as (
            insert into events (id, program_id, type, external_id, referee_id, amount, unit, occurred_at, received_at,
                                rules_version, skipped, said)
            select {id}, p.id, 'purchase', 'y' || :n || '-' || :m, r.referee_id, 1000, 'EUR', referral_now(),
                   referral_now(), 1, '[]', '\\x{said}'::bytea
            from programs p, referrals r
            where p.slug = 'default' and r.referee_id = ((array[{list}])[:k])::uuid
            on conflict do nothing
            returning id, program_id, referee_id
        ), held as materialized (
            select a.holder_id from told t join referrals r on r.referee_id = t.referee_id
            join accounts a on a.holder_id in (r.referrer_id, r.referee_id) for share of a
        ), granted as (
            insert into rewards (id, event_id, referee_id, holder_id, side, rule_key, rule_version, unit, amount,
                                 reversed, paid_amount, state, granted_at, available_at, waits)
            select {id}, t.id, t.referee_id, g.holder, g.side, g.key, 1, g.unit, g.amount, 0, 0, 'pending',
                   referral_now(), referral_now() + 2592000000000, false
            from told t join referrals r on r.referee_id = t.referee_id,
                 lateral (values (r.referrer_id, 'referrer', 'share', 'EUR', 100),
                                 (r.referee_id, 'referee', 'every', 'POINTS', 500))
                     as g (holder, side, key, unit, amount)
            where (select count(*) from held) >= 0
            returning id, event_id, holder_id, unit, amount
        )
        insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at)
        select g.holder_id, t.program_id, g.unit, 'grant', g.amount, g.id, g.event_id, referral_now()
        from granted g, told t",
        said = "00".repeat(32),
    )
}

/// What somebody with very many movements has, beside somebody with few; and events as they become many.
pub fn growth(bench: &Bench, main: &Place, file: &Place, report: &mut Report) -> Result<(), String> {
    for (place, engine) in [(main.clone(), "PostgreSQL"), (copied(bench, file, "movements")?, "SQLite")] {
        let service = Service::start(&bench.programs, &Options { unlimited: true, ..place.options.clone() })?;
        let few = owner(place.people.findable_owner(0));
        for (holder, movements) in [(BIG, bench.settings.scale), (few, 100)] {
            credit(bench, &place, holder, movements - BEHIND)?;
            fold(bench, &place, holder)?;
            credit(bench, &place, holder, BEHIND)?;
        }
        let balance = |holder: u64| -> Result<Vec<Source>, String> {
            let token = bench.token(&place, &service, holder)?;
            let asked = sources::learned(service.address, "/api/v1/me/balance", &token)?;
            Ok(sources::each(|client| sources::repeat(vec![asked.clone()], client)))
        };
        let (ours, theirs) = Row::alternate(
            bench.settings.rounds,
            || bench.load(&place, &service, balance(BIG)?),
            || bench.load(&place, &service, balance(few)?),
        )?;
        report.row(Row {
            work: format!("balance of a holder with {} movements, {engine}", bench.settings.scale),
            yardstick: "the same with a hundred".to_owned(),
            // At most one and a half times as dear.
            goal: Goal::AtLeast(0.67),
            bound: Bound::Processor,
            ours,
            theirs,
            remark: format!("the last mark, and {BEHIND} movements behind it on both sides."),
        });
        drop(service);
        let shop = Shop::open(bench, place)?;
        let buyers = buyers(&shop.place);
        let cost = |events: u64| -> Result<f64, String> {
            add_events(bench, &shop.place, events)?;
            let spans = (0..bench.settings.rounds).map(|_| shop.tell(&buyers)).collect::<Result<Vec<_>, _>>()?;
            Ok(Spread::of(spans.iter().map(Span::cost)).median)
        };
        let (few, many) = (10_000, bench.settings.scale);
        let (small, large) = (cost(few)?, cost(many - few)?);
        report.fact(Fact {
            work: format!("an event's cost with {many} events there by that with {few}, {engine}"),
            goal: Goal::AtMost(1.5),
            value: Spread::of([large / small]),
            unit: "",
            remark: format!("{:.0} and {:.0} us of service and database, with two rewards.", large * 1e6, small * 1e6),
        });
    }
    Ok(())
}

/// Gives somebody so much by hand, as far as balances know.
fn credit(bench: &Bench, place: &Place, holder: u64, movements: u64) -> Result<(), String> {
    let id = id_in_sql(place, place.people.id(holder));
    execute(bench, place, &format!("insert into accounts (holder_id) values ({id}) on conflict do nothing"))?;
    let (numbers, cause) = match place.name {
        Some(_) => (format!("generate_series(1, {movements}) as numbers (n)"), "gen_random_uuid()"),
        None => (numbers_in_sqlite(movements), "randomblob(16)"),
    };
    let added = format!(
        "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at) \
         select {id}, p.id, case when n % 3 = 0 then 'EUR' else 'POINTS' end, 'credit', 7, null, {cause}, 1 \
         from programs p, {numbers} where p.slug = 'default'"
    );
    execute(bench, place, &added)
}

fn numbers_in_sqlite(count: u64) -> String {
    format!(
        "(with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {count}) \
         select n from numbers)"
    )
}

fn id_in_sql(place: &Place, id: Uuid) -> String {
    match place.name {
        Some(_) => format!("'{id}'::uuid"),
        None => format!("x'{}'", id.simple()),
    }
}

/// Asks for a mark, and waits until the service has set it.
fn fold(bench: &Bench, place: &Place, holder: u64) -> Result<(), String> {
    let (id, began) = (place.people.id(holder), Instant::now());
    let asked = "insert into jobs (kind, subject, created_at, run_at, attempts) values ('fold_ledger', ";
    execute(bench, place, &format!("{asked}'{id}', 1, 1, 0)"))?;
    let marks = format!("select count(*) from ledger_marks where holder_id = {}", id_in_sql(place, id));
    while number(bench, place, &marks)? == 0 {
        if began.elapsed() > PATIENCE {
            return Err("no mark is set".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn number(bench: &Bench, place: &Place, sql: &str) -> Result<i64, String> {
    match &place.name {
        Some(name) => {
            let rows = bench.postgres.query(name, sql)?;
            rows.first().and_then(|row| row.parse().ok()).ok_or_else(|| format!("{sql}: no number"))
        }
        None => {
            let connection = Connection::open(place.path()).map_err(|error| format!("the file: {error}"))?;
            connection.query_row(sql, [], |row| row.get(0)).map_err(|error| format!("{sql}: {error}"))
        }
    }
}

/// Adds so many events with two rewards each, of ten thousand referees in turn.
fn add_events(bench: &Bench, place: &Place, count: u64) -> Result<(), String> {
    let before = number(bench, place, "select count(*) from events")?;
    // In the order of time, as ids of the service are.
    let (id, numbers, said) = match place.name {
        Some(_) => (
            "(lpad(to_hex(1700000000000 + n), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8' || \
             substr(md5(random()::text), 1, 15))::uuid",
            format!("generate_series({before} + 1, {before} + {count}) as numbers (n)"),
            format!("'\\x{}'::bytea", "00".repeat(32)),
        ),
        None => (
            "unhex(printf('%012x7%03x8%015x', 1700000000000 + n, abs(random()) % 4096, \
             abs(random()) % 1152921504606846976))",
            format!("(select n + {before} as n from {})", numbers_in_sqlite(count)),
            "zeroblob(32)".to_owned(),
        ),
    };
    let bought = "(select referee_id, row_number() over (order by referee_id) - 1 as place from
                      (select r.referee_id from referrals r order by r.referee_id limit 10000) as few) as buyers";
    execute(
        bench,
        place,
        &format!(
            "insert into events (id, program_id, type, external_id, referee_id, amount, unit, occurred_at, \
                                 received_at, \
                                 rules_version, skipped, said) \
             select {id}, p.id, 'purchase', 'filled-' || n, buyers.referee_id, 1000, 'EUR', 1700000000000000 + n, \
                    1700000000000000 + n, 1, '[]', {said} \
             from programs p, {numbers} join {bought} on buyers.place = n % 10000 where p.slug = 'default'"
        ),
    )?;
    let of_new = format!("e.external_id like 'filled-%' and e.received_at > 1700000000000000 + {before}");
    for (side, key, holder, unit, amount) in
        [("referrer", "share", "r.referrer_id", "EUR", 100), ("referee", "every", "r.referee_id", "POINTS", 500)]
    {
        // Seconds since then, of which each has one.
        let id = id.replace("+ n", "+ (e.received_at - 1700000000000000)");
        execute(
            bench,
            place,
            &format!(
                "insert into rewards (id, event_id, referee_id, holder_id, side, rule_key, rule_version, unit, amount, \
                                      reversed, paid_amount, state, granted_at, available_at, waits) \
                 select {id}, e.id, e.referee_id, {holder}, '{side}', '{key}', 1, '{unit}', {amount}, 0, 0, \
                        'available', e.received_at, e.received_at, false \
                 from events e join referrals r on r.referee_id = e.referee_id where {of_new}"
            ),
        )?;
        let open = format!(
            "insert into accounts (holder_id) select distinct {holder} from events e \
             join referrals r on r.referee_id = e.referee_id where {of_new} on conflict do nothing"
        );
        execute(bench, place, &open)?;
    }
    execute(
        bench,
        place,
        &format!(
            "insert into ledger (holder_id, program_id, unit, kind, amount, reward_id, cause_id, at) \
             select w.holder_id, e.program_id, w.unit, 'grant', w.amount, w.id, e.id, e.received_at \
             from events e join rewards w on w.event_id = e.id where {of_new}"
        ),
    )?;
    execute(bench, place, "analyze")
}

/// A registration that a rule about sign-ups hears of, beside one while there is no such rule.
pub fn sign_ups(bench: &Bench, main: &Place, _: &Place, report: &mut Report) -> Result<(), String> {
    make_rules(bench, main, SIGN_UPS)?;
    let service = bench.start_without_hashing(main)?;
    let codes = bench.codes(main);
    let turn = |heard: bool| {
        execute(bench, main, &format!("update programs set sign_up_rules = {heard}"))?;
        // What the turn before has left to do is not this one's.
        execute(bench, main, "delete from jobs where kind = 'sign_up_event'")?;
        std::thread::sleep(HEARD);
        register(bench, main, &service, &codes)
    };
    let before = number(bench, main, "select count(*) from events where type = 'signup'")?;
    let (ours, theirs) = Row::alternate(bench.settings.rounds, || turn(true), || turn(false))?;
    if number(bench, main, "select count(*) from events where type = 'signup'")? == before {
        return Err("no rule has heard of a sign-up".to_owned());
    }
    report.row(Row {
        work: "registration that a rule hears of, hashing aside, PostgreSQL".to_owned(),
        yardstick: "registration while there is no such rule".to_owned(),
        goal: Goal::AtLeast(0.8),
        bound: Bound::Other,
        ours,
        theirs,
        remark: "the jobs that take the sign-ups as events work meanwhile.".to_owned(),
    });
    execute(bench, main, "delete from jobs where kind = 'sign_up_event'")
}
