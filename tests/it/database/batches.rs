//! Many items of one call, in few units of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use referral::db::batch::{self, Together};
use referral::db::{Tx, Work};
use referral::kernel::actor::Actor;
use referral::kernel::error::{Error, Refusal, Result};
use referral::params;

use crate::on_both_engines;
use crate::support::app::Setup;

referral::sql! {
    ADD_JOB = "insert into jobs (kind, subject, created_at, run_at, attempts) values ($1, $2, 0, 0, 0)";
}

#[derive(Clone)]
struct Item {
    number: usize,
    is_bad: bool,
    units: Arc<AtomicUsize>,
}

async fn write_all(tx: &mut Tx<'_>, unit: &Together<Item>) -> Result<Vec<usize>> {
    let mut written = Vec::new();
    unit.items()[0].units.fetch_add(1, Ordering::Relaxed);
    for item in unit.each() {
        written.push(add(tx, item).await?);
    }
    Ok(written)
}

async fn write_one(tx: &mut Tx<'_>, item: &Item) -> Result<usize> {
    item.units.fetch_add(1, Ordering::Relaxed);
    add(tx, item).await
}

async fn add(tx: &mut Tx<'_>, item: &Item) -> Result<usize> {
    tx.run(&ADD_JOB, &params!["mail", format!("item {}", item.number)]).await?;
    if item.is_bad { Err(Refusal::CodeTaken.into()) } else { Ok(item.number) }
}

on_both_engines!(what_one_item_is_refused_for_leaves_the_others_together);
async fn what_one_item_is_refused_for_leaves_the_others_together(setup: Setup) {
    // The bad ones of 32, with the units that they may cost.
    let cases: [(&[usize], usize); 6] =
        [(&[], 1), (&[0], 3), (&[31], 3), (&[16], 4), (&[5, 6, 20], 9), (&[1, 3, 5, 7, 9, 11, 13, 15], 25)];
    for (bad, most) in cases {
        let test = setup.start().await;
        let units = Arc::new(AtomicUsize::new(0));
        let items: Vec<Item> =
            (0..32).map(|number| Item { number, is_bad: bad.contains(&number), units: units.clone() }).collect();
        let db = &test.app().db;
        let together: Work<Together<Item>, Vec<usize>> = |tx, unit| Box::pin(write_all(tx, unit));
        let alone = |item: Item| db.write(Actor::SERVICE, item, |tx, item| Box::pin(write_one(tx, item)));
        let outcomes = batch::write(db, Actor::SERVICE, &items, together, alone).await.expect("an outcome for each");
        for (number, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(written) => assert!(written == number && !bad.contains(&number), "{number}"),
                Err(Error::Refused(Refusal::CodeTaken)) => assert!(bad.contains(&number), "{number}"),
                Err(other) => panic!("{number}: {other:?}"),
            }
        }
        let units = units.load(Ordering::Relaxed);
        assert!(units <= most, "{bad:?}: {units} units");
        let there = test.query("select subject from jobs where kind = 'mail' order by subject").await;
        let mut good: Vec<String> =
            (0..32).filter(|number| !bad.contains(number)).map(|number| format!("item {number}")).collect();
        good.sort();
        assert_eq!(there.into_iter().map(|row| row[0].clone().expect("a subject")).collect::<Vec<_>>(), good);
    }
}
