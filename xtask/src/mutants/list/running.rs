//! Limits, the cache, and the queue.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Sqlite, Unit};

const LIMITS: &str = "src/limits.rs";
const DEBTS: &str = "src/limits/debts.rs";
const TOLD: &str = "src/limits/told.rs";
const GUARD: &str = "src/site/guard.rs";
const CACHE: &str = "src/cache/mod.rs";
const CHANGES: &str = "src/cache/changes.rs";
const JOBS: &str = "src/jobs.rs";
const ACCOUNTS: &str = "src/features/accounts/store.rs";
const TIME: &str = "src/kernel/time.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "each-address-of-a-network-for-itself",
        file: LIMITS,
        swap: Code("u128::from(address) >> 64 << 64", "u128::from(address)"),
        tests: Alone(&["stale::a_network_of_ipv6_is_one_client"]),
        why: "who has one IPv6 network escapes every limit by address",
    },
    Mutant {
        name: "a-log-in-counts-for-everybody",
        file: LIMITS,
        swap: Code("format!(\"{client} {account}\")", "account.to_owned()"),
        tests: Both(&["limits::log_in::a_budget_of_log_ins_is_spent_for_one_client_alone"]),
        why: "anybody locks anybody out",
    },
    Mutant {
        name: "callers-are-remembered-for-ever",
        file: DEBTS,
        swap: Code("self.asked >= FORGET_EVERY", "false"),
        tests: Unit(&["limits::tests::callers_who_come_once_do_not_fill_the_memory"]),
        why: "many addresses fill the memory",
    },
    Mutant {
        name: "what-one-quota-refuses-costs-the-others",
        file: DEBTS,
        swap: Code("*debt + terms(*rate).0 <= terms(*rate).1", "{ let _ = (rate, debt); true }"),
        tests: Unit(&["limits::debts::tests::a_node_without_the_others_lets_half_through_and_is_never_shut"]),
        why: "nobody is refused by a node that counts alone",
    },
    Mutant {
        name: "without-redis-the-whole-rate",
        file: DEBTS,
        swap: Code("(self.cost * 2, self.most().max(self.cost * 2))", "self.alone()"),
        tests: Alone(&["limits::shared::without_redis_each_node_lets_half_through_until_it_is_back"]),
        why: "without Redis a caller gets the limit of each node",
    },
    Mutant {
        name: "half-of-one-is-none",
        file: DEBTS,
        swap: Code("self.most().max(self.cost * 2)", "self.most()"),
        tests: Alone(&["limits::shared::without_redis_each_node_lets_half_through_until_it_is_back"]),
        why: "a quota of one call is shut while Redis is away",
    },
    Mutant {
        name: "what-all-let-through-is-not-kept",
        file: DEBTS,
        swap: Code("owed.free_at.get(key).copied().unwrap_or_default().max(now + after)", "{ let _ = after; now }"),
        tests: Alone(&[
            "limits::shared::a_thousand_wrong_passwords_meet_the_limit_while_redis_is_killed",
            "limits::shared::an_empty_redis_learns_what_the_nodes_know",
        ]),
        why: "whoever kills Redis begins anew at each node",
    },
    Mutant {
        name: "redis-is-not-told-what-the-node-knows",
        file: LIMITS,
        swap: Code("self.debts.of(key)", "{ let _ = key; Duration::ZERO }"),
        tests: Alone(&["limits::shared::an_empty_redis_learns_what_the_nodes_know"]),
        why: "after each restart of Redis everybody begins anew",
    },
    Mutant {
        name: "callers-are-hashed-by-each-node-for-itself",
        file: LIMITS,
        swap: Code("current.0 != secret", "{ let _ = (&current.0, secret); false }"),
        tests: Alone(&["limits::shared::two_nodes_with_a_redis_have_one_budget"]),
        why: "nodes do not count together",
    },
    Mutant {
        name: "a-limit-that-refused-nothing-is-told-with-one-that-did",
        file: GUARD,
        swap: Code("one.refused || !refused", "{ let _ = (one, refused); true }"),
        tests: Both(&["limits::quotas::who_is_refused_hears_by_which_policy_and_waits_long_enough"]),
        why: "what is told may end later than Retry-After",
    },
    Mutant {
        name: "pages-tell-of-limits",
        file: GUARD,
        swap: Code("described == Some(true) {", "{ let _ = described; true } {"),
        tests: Both(&["limits::quotas::answers_of_limited_operations_tell_what_is_left_and_no_others_do"]),
        why: "pages tell of limits",
    },
    Mutant {
        name: "a-limit-is-told-twice",
        file: TOLD,
        swap: Code("before.quota != one.quota", "{ let _ = before; true }"),
        tests: Unit(&["limits::told::tests::each_request_hears_of_its_own_limits_and_of_each_once"]),
        why: "a list of policies has one twice",
    },
    Mutant {
        name: "an-old-version-is-believed",
        file: CACHE,
        swap: Code("self.changes.code_version(fact.owner()) <= fact.version()", "true"),
        tests: Alone(&["nodes::changes::a_slow_fill_never_hides_a_newer_fact"]),
        why: "a revoked code is found for a minute",
    },
    Mutant {
        name: "an-expired-fact-is-believed",
        file: CACHE,
        swap: Code("fact.expires_at() > now", "{ let _ = now; true }"),
        tests: Both(&["laws::codes::an_expired_code_makes_room_and_refers_nobody"]),
        why: "an expired code is found for a minute",
    },
    Mutant {
        name: "what-only-some-may-see-is-kept",
        file: CACHE,
        swap: Code("found.shareable()", "true"),
        tests: Both(&["stale::what_only_some_may_see_is_read_each_time"]),
        why: "what only some may see lies in Redis",
    },
    Mutant {
        name: "news-of-long-ago-is-believed",
        file: CHANGES,
        swap: Code("look.began.elapsed() < BELIEF", "true"),
        tests: Alone(&["nodes::postgres::a_killed_postgresql_is_waited_for_and_no_acknowledged_write_is_lost"]),
        why: "a node that hears nothing of the others believes what it knows",
    },
    Mutant {
        name: "an-older-version-is-remembered",
        file: CHANGES,
        swap: Code("entry.0.max(version)", "version"),
        tests: Alone(&["stale::an_older_version_does_not_hide_a_newer_one"]),
        why: "word that comes late makes an old code be believed",
    },
    Mutant {
        name: "a-leased-job-is-taken-sqlite",
        file: JOBS,
        swap: Sql(
            "and (lease_until is null or lease_until <= $1)\n                     order by run_at limit $3)\n                 returning id, subject, payload, attempts\",\n        postgres",
            "\n                     order by run_at limit $3)\n                 returning id, subject, payload, attempts\",\n        postgres",
        ),
        tests: Sqlite(&["database::locks::claiming_takes_what_is_due_and_not_leased_with_the_same_effect"]),
        why: "two nodes do one job",
    },
    Mutant {
        name: "a-leased-job-is-taken-postgres",
        file: JOBS,
        swap: Sql(
            "and (lease_until is null or lease_until <= $1)\n                     order by run_at limit $3 for",
            "\n                     order by run_at limit $3 for",
        ),
        tests: Postgres(&["database::locks::claiming_takes_what_is_due_and_not_leased_with_the_same_effect"]),
        why: "two nodes do one job",
    },
    Mutant {
        name: "finished-by-whose-lease-has-run-out",
        file: JOBS,
        swap: Sql(
            "set done_at = $2, lease_until = null, outcome = $3, payload = null\n              where id = $1 and done_at is null and attempts = $4",
            "set done_at = $2, lease_until = null, outcome = $3, payload = null\n              where id = $1 and done_at is null and attempts >= $4",
        ),
        tests: Both(&["verifier::queue::whose_lease_has_run_out_has_no_say_in_what_another_is_at"]),
        why: "a job is done with while another is at it",
    },
    Mutant {
        name: "open-jobs-are-forgotten",
        file: JOBS,
        swap: Sql(
            "select id from jobs where done_at is not null and done_at < $1",
            "select id from jobs where done_at is null or done_at < $1",
        ),
        tests: Both(&["verifier::queue::finished_jobs_are_kept_for_their_time_and_open_ones_for_ever"]),
        why: "addresses are never checked",
    },
    Mutant {
        name: "soon-after-what-is-yet-to-come",
        file: TIME,
        swap: Code("earlier.since(self) <= SKEW", "{ let _ = earlier; true }"),
        tests: Both(&["oauth::attacks::a_clock_that_steps_back_prolongs_neither_codes_nor_proofs"]),
        why: "a clock that steps back prolongs what was good for a moment",
    },
    Mutant {
        name: "no-word-of-ended-sessions-sqlite",
        file: CHANGES,
        swap: Sql("unhex(value), 0 from json_each($2)", "unhex(value), 0 from json_each($2) where 1 = 0"),
        tests: Sqlite(&["stale::the_end_of_each_session_is_announced"]),
        why: "a thief stays logged in at the other nodes when the password is changed",
    },
    Mutant {
        name: "no-word-of-ended-sessions-postgres",
        file: CHANGES,
        swap: Sql(
            "value::uuid, 0 from json_array_elements_text($2::text::json)",
            "value::uuid, 0 from json_array_elements_text($2::text::json) where 1 = 0",
        ),
        tests: Postgres(&["stale::the_end_of_each_session_is_announced"]),
        why: "a thief stays logged in at the other nodes when the password is changed",
    },
    Mutant {
        name: "a-kind-of-hash-is-missed-sqlite",
        file: ACCOUNTS,
        swap: Sql(
            "max(7, instr(password_hash, ',p='))) limit 1)\n                union all",
            "max(7, instr(password_hash, ',p='))) desc limit 1)\n                union all",
        ),
        tests: Sqlite(&["accounts::log_in::a_log_in_is_the_same_work_for_everybody_whatever_is_stored"]),
        why: "the time of a log-in tells who has an old hash",
    },
    Mutant {
        name: "a-kind-of-hash-is-missed-postgres",
        file: ACCOUNTS,
        swap: Sql(
            "greatest(7, strpos(password_hash, ',p='))) collate \\\"C\\\"\n                        limit 1)\n                union all",
            "greatest(7, strpos(password_hash, ',p='))) collate \\\"C\\\" desc\n                        limit 1)\n                union all",
        ),
        tests: Postgres(&["accounts::log_in::a_log_in_is_the_same_work_for_everybody_whatever_is_stored"]),
        why: "the time of a log-in tells who has an old hash",
    },
];
