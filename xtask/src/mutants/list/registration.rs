//! Who becomes a user, and by whose code.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Unit};

const ACTIONS: &str = "src/features/accounts/actions/registration.rs";
const MODEL: &str = "src/features/accounts/model/mod.rs";
const STATEMENT: &str = "src/features/accounts/store/registration.rs";
const PASSWORD: &str = "src/features/accounts/model/password.rs";
const REFERRALS: &str = "src/features/referrals/store.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "registered-with-any-code-of-its-owner",
        file: STATEMENT,
        swap: Sql("on s.owner_id = c.owner_id and s.code_id = c.id", "on s.owner_id = c.owner_id"),
        tests: Postgres(&["replaced::a_code_that_was_replaced_refers_nobody"]),
        why: "a code that was replaced goes on referring people, in the statement that PostgreSQL registers by",
    },
    Mutant {
        name: "registered-with-an-expired-code",
        file: STATEMENT,
        swap: Sql("from judged where expires_at > now", "from judged where expires_at is not null"),
        tests: Postgres(&["laws::codes::an_expired_code_makes_room_and_refers_nobody"]),
        why: "an expired code refers people, in the statement that PostgreSQL registers by",
    },
    Mutant {
        name: "registered-without-holding-the-slot",
        file: STATEMENT,
        swap: Sql("where c.code_hash = $10 for share of s", "where c.code_hash = $10"),
        tests: Alone(&["accounts::statement::one_statement_that_waited_for_a_change_of_the_slot_judges_by_the_change"]),
        why: "a registration goes by a code that ends before its commit",
    },
    Mutant {
        name: "registered-by-the-clock-alone",
        file: STATEMENT,
        swap: Sql("greatest(referral_now(), recorded_at) as now", "referral_now() as now"),
        tests: Postgres(&["laws::codes::times_in_a_slot_never_go_backwards"]),
        why: "a referral is on record before its code",
    },
    Mutant {
        name: "registered-without-the-referral",
        file: STATEMENT,
        swap: Sql(
            "entrance.now, $11::text\n                from entrance, person where entrance.owner_id is not null",
            "entrance.now, $11::text\n                from entrance, person where 1 = 0",
        ),
        tests: Alone(&["accounts::statement::one_statement_writes_what_the_steps_write"]),
        why: "a code is accepted and nobody is credited",
    },
    Mutant {
        name: "registered-without-the-mail",
        file: STATEMENT,
        swap: Sql("$17::bigint, 0 from person", "$17::bigint, 0 from person where 1 = 0"),
        tests: Alone(&["accounts::statement::one_statement_writes_what_the_steps_write"]),
        why: "the link that was sent does nothing",
    },
    Mutant {
        name: "registered-without-the-job-of-the-mail",
        file: STATEMENT,
        swap: Sql("$16::bigint, $16::bigint, 0 from person", "$16::bigint, $16::bigint, 0 from person where 1 = 0"),
        tests: Alone(&["accounts::statement::one_statement_writes_what_the_steps_write"]),
        why: "the mail is never sent",
    },
    Mutant {
        name: "a-taken-name",
        file: ACTIONS,
        swap: Code(
            "!store::insert_login(tx, &user.name_key, user.id).await?",
            "{ store::insert_login(tx, &user.name_key, user.id).await?; false }",
        ),
        tests: Both(&["accounts::registration::of_twenty_who_want_one_name_or_address_at_once_one_gets_it"]),
        why: "two people have one name",
    },
    Mutant {
        name: "a-taken-address",
        file: ACTIONS,
        swap: Code(
            "store::insert_login(tx, &user.email_key, user.id).await?",
            "{ store::insert_login(tx, &user.email_key, user.id).await?; true }",
        ),
        tests: Both(&["accounts::registration::of_twenty_who_want_one_name_or_address_at_once_one_gets_it"]),
        why: "two people have one address",
    },
    Mutant {
        name: "another-ones-address-as-a-name",
        file: MODEL,
        swap: Code("anothers(username.key())", "false"),
        tests: Unit(&["features::accounts::model::tests::a_name_that_is_an_address_must_be_ones_own"]),
        why: "a name is read as somebody else's address at log-in",
    },
    Mutant {
        name: "a-disposable-address-under-block",
        file: ACTIONS,
        swap: Code("disposable && settings.check == Policy::Block", "false"),
        tests: Both(&["verifier::policies::under_block_a_disposable_domain_is_refused_at_registration"]),
        why: "the operator's policy is not kept",
    },
    Mutant {
        name: "the-referral-does-not-wait-for-the-verdict",
        file: MODEL,
        swap: Code("(verdict == Verdict::Pending || verdict.is_bad())", "verdict.is_bad()"),
        tests: Both(&["verifier::policies::under_block_log_in_and_the_referral_wait_for_the_verdict"]),
        why: "referrals of addresses that nobody has count",
    },
    Mutant {
        name: "confirmed-though-another-ones",
        file: REFERRALS,
        swap: Sql(
            "where referee_id = $1 and status = 'pending'",
            "where (referee_id = $1 or referee_id <> $1) and status = 'pending'",
        ),
        tests: Both(&["replaced::a_verdict_confirms_its_own_referral_alone"]),
        why: "one good address confirms everybody's referrals",
    },
    Mutant {
        name: "a-password-that-is-too-short",
        file: PASSWORD,
        swap: Code("length < least", "false"),
        tests: Unit(&[
            "features::accounts::model::password::tests::what_is_short_long_common_or_about_oneself_is_refused_with_its_reason",
        ]),
        why: "short passwords are taken",
    },
    Mutant {
        name: "a-common-password",
        file: PASSWORD,
        swap: Code("COMMON.contains(plain.as_str())", "false"),
        tests: Unit(&[
            "features::accounts::model::password::tests::what_is_short_long_common_or_about_oneself_is_refused_with_its_reason",
        ]),
        why: "passwords are taken that are tried first",
    },
];
