//! `referral backup`: what was acknowledged before it began is in it, whoever writes meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::helpers::{contents, differing, empty, operator, people, url};
use crate::on_both_engines;
use crate::support::app::Setup;
use crate::support::witness;

on_both_engines!(a_backup_under_load_has_what_was_acknowledged_before_it);
async fn a_backup_under_load_has_what_was_acknowledged_before_it(setup: Setup) {
    let operator = Arc::new(operator(setup).await);
    let serving = operator.serve();
    people(&serving).await;
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let (client, over) = (serving.client(), over.clone());
            tokio::spawn(async move {
                let mut made = 0;
                while !over.load(Ordering::Relaxed) {
                    // On a busy machine one may be refused: what counts is who was let in.
                    let joined = client.register(&format!("w{writer}-{made}"), Some("OLGAS2NDCODE")).await;
                    made += i64::from(joined.status == 201);
                }
                made
            })
        })
        .collect();
    let joined = "select count(*) from users where username like 'w%-%'";
    crate::support::app::eventually("some are there", || async { witness::number(&url(&operator), joined).await > 5 })
        .await;
    let before = witness::number(&url(&operator), joined).await;
    let backup = operator.clone();
    let said =
        tokio::task::spawn_blocking(move || backup.run(&["backup", "kept.backup"]).well()).await.expect("it ends");
    assert!(said.stdout.contains("whole"), "{said:?}");
    // Whoever only copies the file has not what is in the log beside it.
    if setup == Setup::Sqlite {
        std::fs::copy(operator.path("referral.db"), operator.path("copied.db")).expect("a copy");
        let copied = rusqlite::Connection::open(operator.path("copied.db")).expect("a file");
        let there: i64 = copied.query_row(joined, [], |row| row.get(0)).unwrap_or(0);
        assert!(there < before, "the control: {there} of {before} are in a plain copy");
    }
    over.store(true, Ordering::Relaxed);
    let mut made = 0;
    for writer in writers {
        made += writer.await.expect("no panic");
    }
    serving.stop().well();
    let mut operator = Arc::into_inner(operator).expect("nobody else has it");
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    operator.run(&["restore", "kept.backup"]).well();
    let there = witness::number(&target, joined).await;
    assert!((before..=made).contains(&there), "{there} of {made}, and {before} were there before");
    assert_eq!(witness::number(&target, "select count(*) from referrals").await, there + 4);
    operator.serve().client().logged_in("w0-0").await;
}

on_both_engines!(a_backup_is_all_there_is_and_leaves_files_alone);
async fn a_backup_is_all_there_is_and_leaves_files_alone(setup: Setup) {
    let mut operator = operator(setup).await;
    people(&operator.serve()).await;
    let before = contents(&url(&operator)).await;
    operator.write("mine.txt", "mine");
    operator.run(&["backup", "mine.txt"]).refused(&["mine.txt is there already"]);
    assert_eq!(std::fs::read(operator.path("mine.txt")).expect("a file"), b"mine");
    std::os::unix::fs::symlink("nowhere", operator.path("link.backup")).expect("a link");
    operator.run(&["backup", "link.backup"]).refused(&["link.backup is there already"]);
    if setup == Setup::Sqlite {
        operator.run(&["backup", "referral.db"]).refused(&["referral.db is there already"]);
        for name in ["referral.db-journal", "./referral.db.restoring"] {
            operator.run(&["backup", name]).refused(&["belongs to the database itself"]);
            assert!(!operator.path(name).exists());
        }
    }
    // SQLite takes such names for addresses where it is let.
    operator.run(&["backup", "file:odd.backup?mode=memory"]).well();
    assert!(operator.path("file:odd.backup?mode=memory").exists() && !operator.path("odd.backup").exists());
    operator.run(&["restore", "file:odd.backup?mode=memory"]).refused(&["is not empty"]);
    operator.write("new.backup.part", "");
    operator.run(&["backup", "new.backup"]).refused(&["another backup writes it, or one was killed"]);
    std::fs::remove_file(operator.path("new.backup.part")).expect("a file");
    operator.run(&["backup", "nowhere/new.backup"]).refused(&["cannot make nowhere/new.backup.part"]);
    operator.run(&["backup", "new.backup"]).well();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&operator.path("new.backup").metadata().expect("a file").permissions());
    assert_eq!(mode & 0o077, 0, "it holds keys and hashes");
    assert!(!operator.path("new.backup.part").exists());
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    operator.run(&["backup", "none.backup"]).refused(&["there is no database of Referral's"]);
    assert!(!operator.path("none.backup").exists() && !operator.path("none.backup.part").exists());
    operator.run(&["restore", "new.backup"]).well();
    assert_eq!(differing(&before, &contents(&target).await), Vec::<&str>::new());
}

on_both_engines!(a_database_that_breaks_a_law_is_backed_up_and_told);
async fn a_database_that_breaks_a_law_is_backed_up_and_told(setup: Setup) {
    let mut operator = operator(setup).await;
    people(&operator.serve()).await;
    witness::query(&url(&operator), "update ledger set amount = amount + 1").await;
    operator.run(&["backup", "ledger.backup"]).refused(&["is written and kept", "the ledger does not add up"]);
    witness::query(&url(&operator), "update ledger set amount = amount - 1").await;
    operator.run(&["backup", "well.backup"]).well();
    witness::query(&url(&operator), "update audit_head set seq = seq + 1").await;
    operator.run(&["backup", "odd.backup"]).refused(&["is written and kept", "law 15"]);
    let target = empty(&operator, setup, "restored.db").await;
    operator.set("DATABASE_URL", &target);
    operator.run(&["restore", "odd.backup"]).refused(&["law 15", "--as-it-is"]);
    if setup != Setup::Sqlite {
        operator.run(&["serve"]).refused(&["has not come to its end"]);
        operator.set("DATABASE_URL", empty(&operator, setup, "").await);
    }
    operator.run(&["restore", "odd.backup", "--as-it-is"]).well();
    operator.serve().client().logged_in("olga").await;
}
