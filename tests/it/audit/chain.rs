//! The chain, and what it shows.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use referral::features::audit::actions::verify::{self, Asked};
use referral::features::audit::model::chain::{FaultKind, Head};
use referral::kernel::ids::UserId;

use super::helpers::{chained, fault, note, verified};
use crate::on_every_setup;
use crate::support::app::{Setup, TestApp};
use crate::support::thorough;

/// With so many rows in their places.
async fn with_rows(setup: Setup, rows: usize) -> TestApp {
    let test = setup.start().await;
    for _ in 0..rows {
        note(test.app(), UserId::new()).await;
    }
    assert_eq!(chained(test.app()).await, rows as i64);
    assert_eq!(fault(test.app()).await, None);
    test
}

on_every_setup!(law_15_what_was_noted_is_not_changed_unseen);
/// By SQL, which has neither the key of the MAC nor the head.
async fn law_15_what_was_noted_is_not_changed_unseen(setup: Setup) {
    let test = with_rows(setup, 6).await;
    let app = test.app();
    let change = async |sql: &str, expected: Option<(i64, FaultKind)>| {
        for statement in sql.split(';') {
            test.sql(statement).await;
        }
        assert_eq!(fault(app).await, expected, "{sql}");
    };
    for (changed, was) in [
        ("action = 'user_enabled'", "action = 'user_disabled'"),
        ("at = at + 1", "at = at - 1"),
        ("actor_kind = 'service'", "actor_kind = 'operator'"),
        ("detail = '{ }'", "detail = '{}'"),
        ("subject_kind = 'client'", "subject_kind = 'user'"),
    ] {
        change(&format!("update audit set {changed} where seq = 3"), Some((3, FaultKind::Changed))).await;
        change(&format!("update audit set {was} where seq = 3"), None).await;
    }
    // Two change places, with the hashes of these places, and back.
    let swap = "create table places as select seq, hash from audit where seq in (2, 4);
                update audit set seq = -seq where seq in (2, 4);
                update audit set seq = 6 + seq where seq in (-2, -4);
                update audit set hash = (select hash from places where places.seq = audit.seq) where seq in (2, 4);
                drop table places";
    change(swap, Some((2, FaultKind::Swapped))).await;
    change(swap, None).await;
    // One is added: where the job has been, behind it, below all, and where the job comes by.
    let bytes = |hex: &str| match setup {
        Setup::Sqlite => format!("x'{hex}'"),
        _ => format!("decode('{hex}', 'hex')"),
    };
    let id = match setup {
        Setup::Sqlite => "x'ffffffffffffffffffffffffffffffff'",
        _ => "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    };
    let add = |seq: &str| {
        format!(
            "insert into audit (id, at, actor_kind, action, subject_kind, detail, mac, seq, hash) \
             values ({id}, 1, 'operator', 'keys_resealed', 'key', '{{}}', {mac}, {seq}, {mac})",
            mac = bytes(&"00".repeat(32)),
        )
    };
    let remove = format!("delete from audit where id = {id}");
    for (place, found) in [("9", 9), ("0", 0), ("-3", -3)] {
        change(&add(place), Some((found, FaultKind::Added))).await;
        change(&remove, None).await;
    }
    test.sql(&add("null")).await;
    let alien = || async { app.metrics.text(&[]).expect("figures").contains("referral_audit_alien_rows_total 1") };
    assert!(!alien().await);
    assert_eq!(chained(app).await, 7);
    assert!(alien().await, "the job tells of it");
    assert_eq!(fault(app).await, Some((7, FaultKind::Added)));
    // What comes behind it is chained all the same.
    note(app, UserId::new()).await;
    assert_eq!(chained(app).await, 8);
    // The first that is missing comes before it.
    change("delete from audit where seq = 5", Some((5, FaultKind::Removed))).await;
    change("delete from audit where seq = 1", Some((1, FaultKind::Removed))).await;
}

on_every_setup!(an_end_that_was_cut_off_is_seen_by_the_head_and_by_one_that_was_pinned_elsewhere);
async fn an_end_that_was_cut_off_is_seen_by_the_head_and_by_one_that_was_pinned_elsewhere(setup: Setup) {
    let test = with_rows(setup, 5).await;
    let app = test.app();
    let pinned = verified(app).await.head;
    test.sql("delete from audit where seq = 5").await;
    assert_eq!(fault(app).await, Some((5, FaultKind::Removed)));
    // The head is moved as well: only who has kept it sees that.
    test.sql("update audit_head set seq = 4, hash = (select hash from audit where seq = 4)").await;
    let asked = |pinned| Asked { pinned: Some(pinned), ..Asked::default() };
    let found = verify::run(app, asked(pinned.hash)).await.expect("a look");
    assert_eq!((found.rows, found.fault, found.pinned), (4, None, Some(false)));
    for seq in 0..=4 {
        let kept = match seq {
            0 => Head::NONE,
            _ => {
                let asked = Asked { most: Some(seq), ..Asked::default() };
                verify::run(app, asked).await.expect("a look").place
            }
        };
        assert_eq!(kept.seq, seq);
        assert_eq!(verify::run(app, asked(kept.hash)).await.expect("a look").pinned, Some(true), "{seq}");
    }
    assert_eq!(Head::read_hash(&pinned.hash_text()), Some(pinned.hash));
    for nonsense in ["", "zz", &"0".repeat(63), &format!("{}0", pinned.hash_text())] {
        assert_eq!(Head::read_hash(nonsense), None);
    }
}

on_every_setup!(a_part_is_looked_at_from_a_number_on);
async fn a_part_is_looked_at_from_a_number_on(setup: Setup) {
    let test = with_rows(setup, 5).await;
    let app = test.app();
    let part = async |from: i64, most: i64| {
        let asked = Asked { from: Some(from), most: Some(most), ..Asked::default() };
        let found = verify::run(app, asked).await.expect("a look");
        (found.rows, found.place.seq, found.more, found.fault.map(|fault| (fault.seq, fault.kind)))
    };
    assert_eq!(part(1, 2).await, (2, 2, true, None));
    assert_eq!(part(3, 2).await, (2, 4, true, None));
    assert_eq!(part(5, 2).await, (1, 5, false, None));
    for beyond in [6, 7, i64::MAX] {
        assert_eq!(part(beyond, 2).await, (0, 5, false, None));
    }
    for below in [0, -1, i64::MIN] {
        assert_eq!(part(below, 9).await, (5, 5, false, None));
    }
    test.sql("update audit set detail = '{ }' where seq = 2").await;
    assert_eq!(part(3, 9).await, (3, 5, false, None), "what lies before is believed");
    assert_eq!(part(1, 9).await, (1, 1, false, Some((2, FaultKind::Changed))));
    test.sql("delete from audit where seq = 2").await;
    assert_eq!(part(3, 9).await, (0, 0, false, Some((2, FaultKind::Removed))));
}

on_every_setup!(of_many_who_write_at_once_while_nodes_chain_each_has_one_place);
/// For a minute in `cargo xtask faults`.
async fn of_many_who_write_at_once_while_nodes_chain_each_has_one_place(setup: Setup) {
    const WRITERS: usize = 64;
    let least = if thorough() { Duration::from_secs(60) } else { Duration::ZERO };
    let mut test = setup.start_two().await;
    if setup != Setup::Sqlite {
        test.add_node().await;
    }
    let apps: Vec<_> = test.nodes.iter().map(|node| node.app.clone()).collect();
    let began = Instant::now();
    let writers = (0..WRITERS).map(|number| {
        let app = apps[number % apps.len()].clone();
        tokio::spawn(async move {
            let mut rows = 0_i64;
            while rows < 6 || began.elapsed() < least {
                note(&app, UserId::new()).await;
                rows += 1;
            }
            rows
        })
    });
    let writers: Vec<_> = writers.collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        join_all(apps.iter().map(chained)).await;
    }
    let mut all = 0;
    for writer in writers {
        all += writer.await.expect("all is written");
    }
    assert_eq!(chained(test.app()).await, all);
    let found = verified(&apps[1]).await;
    assert_eq!((found.rows, found.fault, found.unproven), (all, None, 0));
}
