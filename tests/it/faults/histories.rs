//! The checker of histories.

use std::collections::BTreeSet;

use super::owners::{owner, registration};
use crate::support::app::Setup;
use crate::support::history::{Caller, History, Outcome, Write};

/// The checker sees each kind of contradiction, and none where there is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_of_histories_sees_what_is_planted() {
    for setup in [Setup::Sqlite, Setup::Postgres] {
        let test = setup.start().await;
        let someone = Caller::new(&test.nodes[0].url, None);
        let owner = owner(&test.client(), "owner").await;
        let mut history = History::default();
        for name in ["one", "two"] {
            history.0.push(someone.make(registration(&owner, name)).await);
        }
        history.0.push(someone.make(registration(&owner, "one")).await);
        let unknown = Some((owner.name.clone(), "UNKNOWN2030A".into()));
        let wrong = Write::Registration { name: "none".into(), code: unknown, mailed: false };
        history.0.push(someone.make(wrong).await);
        let replaced =
            Write::Code { owner: owner.name.clone(), code: "SECOND2030AB".into(), former: Some(owner.code.clone()) };
        history.0.push(owner.caller.make(replaced).await);
        let revoked = Write::Revocation { owner: owner.name.clone(), code: "SECOND2030AB".into() };
        history.0.push(owner.caller.make(revoked).await);
        let outcomes: Vec<Outcome> = history.0.iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::Failed, Outcome::Failed, Outcome::Ok, Outcome::Ok]);
        // Of one name there was one registration that went through.
        history.0.remove(2);
        let url = &test.database_url;
        assert_eq!(history.contradictions(url).await, Vec::<String>::new());

        let told_as = async |history: &mut History, place: usize, outcome| {
            let before = std::mem::replace(&mut history.0[place].outcome, outcome);
            let found = history.contradictions(url).await;
            history.0[place].outcome = before;
            found
        };
        // There, though it was refused; not there, though it was acknowledged.
        assert_eq!(told_as(&mut history, 0, Outcome::Failed).await.len(), 1);
        assert_eq!(told_as(&mut history, 2, Outcome::Ok).await.len(), 1);
        assert_eq!(told_as(&mut history, 3, Outcome::Failed).await.len(), 1);
        // Whoever knows nothing is contradicted by nothing whole.
        assert_eq!(told_as(&mut history, 0, Outcome::Unknown).await, Vec::<String>::new());
        assert_eq!(told_as(&mut history, 2, Outcome::Unknown).await, Vec::<String>::new());

        for (place, plant, mend) in [
            (
                1,
                "delete from referrals where referee_id in (select id from users where email_key = 'two@example.com')",
                None,
            ),
            (0, "delete from logins where login_key = 'one'", None),
            (
                0,
                "update users set email_key = 'one@example.com' where email_key = 'two@example.com'",
                Some("update users set email_key = 'two@example.com' where name_key = 'two'"),
            ),
            (3, "update codes set revoked_at = null where ordinal = 1", None),
            (4, "update codes set revoked_at = null where ordinal = 2", None),
        ] {
            let before: BTreeSet<String> = history.contradictions(url).await.into_iter().collect();
            test.sql(plant).await;
            let after = history.contradictions(url).await;
            let name = history.0[place].write.to_string();
            assert!(after.iter().any(|told| told.starts_with(&name) && !before.contains(told)), "{plant}: {after:?}");
            // Not even who knows nothing is told of the half of it.
            assert_eq!(
                told_as(&mut history, place, Outcome::Unknown)
                    .await
                    .iter()
                    .filter(|told| told.starts_with(&name))
                    .count(),
                1,
                "{plant}"
            );
            if let Some(mend) = mend {
                test.sql(mend).await;
            }
        }
    }
}
