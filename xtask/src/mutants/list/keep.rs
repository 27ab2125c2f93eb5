//! Backups, restores, copies, imports.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Unit};

const LAWS: &str = "src/keep/laws.rs";
const JUDGE: &str = "src/keep/import/judge.rs";
const FOUND: &[&str] = &["keep::laws::every_breach_of_a_law_is_found"];
const REFUSED: &[&str] = &["keep::read_only::a_node_that_takes_no_changes_is_ready_and_refuses_each_way_of_writing"];

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "slots-are-not-counted",
        file: LAWS,
        swap: Sql(
            "where s.issued <> (select count(*) from codes o where o.owner_id = s.owner_id)",
            "where s.issued < 0",
        ),
        tests: Both(FOUND),
        why: "a list of codes with a gap passes for whole",
    },
    Mutant {
        name: "an-active-code-may-be-out-of-its-slot",
        file: LAWS,
        swap: Sql("or s.code_id is null and c.revoked_at is null", "or s.code_id < 0 and c.revoked_at is null"),
        tests: Both(FOUND),
        why: "a code that was lost from its slot passes for ended",
    },
    Mutant {
        name: "lives-may-overlap",
        file: LAWS,
        swap: Sql("where created_at < ended", "where created_at < ended - created_at"),
        tests: Both(FOUND),
        why: "two codes that were active at once are not told",
    },
    Mutant {
        name: "referrals-may-be-before-their-code",
        file: LAWS,
        swap: Sql("r.joined_at < c.created_at or", "r.joined_at > c.expires_at or"),
        tests: Both(FOUND),
        why: "a referral outside of its code's life is not told",
    },
    Mutant {
        name: "referrals-may-be-of-no-code",
        file: LAWS,
        swap: Sql("and (c.id is null or r.joined_at", "and (r.joined_at"),
        tests: Both(FOUND),
        why: "a referral by a code that never was is not told",
    },
    Mutant {
        name: "strings-are-not-hashed",
        file: LAWS,
        swap: Code("code.is_empty() || CodeKey", "!code.is_empty() || CodeKey"),
        tests: Both(FOUND),
        why: "a code with another string than was issued is not told",
    },
    Mutant {
        name: "marks-may-be-anywhere",
        file: LAWS,
        swap: Sql("where r.place is null or r.place <> m.ordinal", "where r.place is null"),
        tests: Both(FOUND),
        why: "pages of a list begin at the wrong place, unseen",
    },
    Mutant {
        name: "names-may-lead-elsewhere",
        file: LAWS,
        swap: Sql("l.login_key <> u.name_key and l.login_key <> u.email_key", "l.login_key = ''"),
        tests: Both(FOUND),
        why: "a name that leads to somebody else's account is not told",
    },
    Mutant {
        name: "the-ledger-is-not-looked-at",
        file: LAWS,
        swap: Code("found.faults.first()", "found.faults.get(usize::MAX)"),
        tests: Both(FOUND),
        why: "a backup of a ledger that does not add up passes for whole",
    },
    Mutant {
        name: "steps-take-their-time",
        file: "src/db/migrate.rs",
        swap: Code("transaction.batch_execute(GIVING_WAY)", "transaction.batch_execute(\"\")"),
        tests: Alone(&["database::migrations::a_step_has_a_time_for_locks_and_one_for_statements"]),
        why: "whoever uses a table keeps all others from it while a step waits",
    },
    Mutant {
        name: "steps-take-tables-as-they-come",
        file: "src/db/migrate.rs",
        swap: Code("transaction.batch_execute(&locks(version))", "transaction.batch_execute(\"\")"),
        tests: Alone(&["database::migrations::a_step_takes_tables_in_the_order_in_which_they_are_written"]),
        why: "a step and registrations wait for each other until the step gives way, again and again",
    },
    Mutant {
        name: "indexes-that-were-left-half-stay",
        file: "src/db/migrate/indexes.rs",
        swap: Code("there.get(&name) != Some(&true)", "!there.contains_key(&name)"),
        tests: Alone(&["database::migrations::an_index_keeps_no_writer_out_and_one_that_was_left_half_is_made_again"]),
        why: "a node serves with an index that no query uses",
    },
    Mutant {
        name: "any-pg-dump-will-do",
        file: "src/db/dump.rs",
        swap: Code("program.version >= server", "program.version > 0"),
        tests: Unit(&["db::dump::tests::a_pg_dump_is_not_older_than_its_server"]),
        why: "an old pg_dump is begun, which the server turns away",
    },
    Mutant {
        name: "writes-go-on-where-none-are-taken",
        file: "src/db/mod.rs",
        swap: Code(
            "if self.is_read_only() {\n            return Err(Refusal::ReadOnly.into());\n        }",
            "let _ = self.is_read_only();",
        ),
        tests: Both(REFUSED),
        why: "what is written while the database is copied is lost",
    },
    Mutant {
        name: "statements-go-on-where-no-writes-are-taken",
        file: "src/db/mod.rs",
        swap: Code(
            "_ if self.is_read_only() => Err(Refusal::ReadOnly.into())",
            "_ if self.is_read_only() && false => Err(Refusal::ReadOnly.into())",
        ),
        tests: Postgres(REFUSED),
        why: "a registration that is one statement is lost with the move",
    },
    Mutant {
        name: "readiness-writes-where-no-writes-are-taken",
        file: "src/readiness.rs",
        swap: Code("if self.db.is_read_only() {", "if self.db.is_read_only() && false {"),
        tests: Both(REFUSED),
        why: "a load balancer takes away the node that answers reads, or a copy misses a row",
    },
    Mutant {
        name: "who-is-here-is-brought-again",
        file: JUDGE,
        swap: Code("taken.keys.contains(&name_key)", "taken.keys.contains(\"\")"),
        tests: Unit(&[
            "keep::import::judge::tests::the_first_of_those_who_are_one_comes_and_nobody_who_is_here_is_touched",
        ]),
        why: "the dry run promises what the import cannot do",
    },
    Mutant {
        name: "look-alikes-are-two",
        file: JUDGE,
        swap: Code("known.get(&name_key)", "known.get(\"\")"),
        tests: Unit(&[
            "keep::import::judge::tests::the_first_of_those_who_are_one_comes_and_nobody_who_is_here_is_touched",
        ]),
        why: "the dry run promises what the import cannot do",
    },
    Mutant {
        name: "what-ends-now-is-good",
        file: JUDGE,
        swap: Code("Some(at) if at > now.0 =>", "Some(at) if at >= now.0 =>"),
        tests: Unit(&[
            "keep::import::judge::tests::of_several_good_codes_the_last_to_end_stays_and_lives_follow_each_other",
        ]),
        why: "a code whose time is over is active again",
    },
    Mutant {
        name: "circles-come",
        file: JUDGE,
        swap: Code("first_of(&mut nearer, referrer) == referee", "first_of(&mut HashMap::new(), referrer) == referee"),
        tests: Unit(&["keep::import::judge::tests::nobody_has_two_referrers_or_is_in_a_circle"]),
        why: "two people have brought each other",
    },
];
