//! Participants of a host's app, and the codes that the service issues to them.

use super::super::{Both, Code, Mutant, Sql, Unit};

const PEOPLE: &str = "src/features/accounts/actions/participants.rs";
const HANDLES_RS: &str = "src/features/accounts/actions/handles.rs";
const REGISTRATION: &str = "src/features/accounts/actions/registration.rs";
const API: &str = "src/features/participants/api/mod.rs";
const STORE: &str = "src/features/participants/store.rs";
const ISSUED: &str = "src/features/codes/actions/issued.rs";
const CALLER: &str = "src/features/tokens/caller.rs";
const TURNS: &str = "src/limits/turns.rs";
const PROGRAM: &str = "src/kernel/program.rs";
const GROUP: &str = "src/db/sqlite/group.rs";
const CLIENTS: &str = "src/features/clients/model.rs";

const EXPIRY: &str = "participants::codes::an_issued_code_that_expires_is_followed_by_the_next";
const HANDLES: &str = "participants::handles::a_handle_brings_people_whatever_becomes_of_issued_codes";
const SETTLED: &str = "participants::upsert::how_somebody_came_is_settled_when_they_are_made";
const GROUPS: &str =
    "db::sqlite::group::tests::a_group_that_has_worked_for_long_is_committed_and_the_rest_waits_for_the_next";
const ACCESS: &str = "access::operations::every_operation_lets_in_whom_it_should_and_nobody_else";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "the-erased-come-back",
        file: PEOPLE,
        swap: Code("held.erased", "false"),
        tests: Both(&["participants::people::an_erased_participant_leaves_numbers_and_no_trace"]),
        why: "somebody else is told of as the one who was erased",
    },
    Mutant {
        name: "another-code-is-passed-over",
        file: PEOPLE,
        swap: Code("!has_come_so(tx, held.id, told.brought).await?", "false"),
        tests: Both(&[SETTLED]),
        why: "a host believes that a referral was made that was not",
    },
    Mutant {
        name: "any-code-is-the-one-they-came-with",
        file: PEOPLE,
        swap: Code("ordinal.is_none_or(|ordinal| ordinal == came.1)", "true"),
        tests: Both(&[HANDLES]),
        why: "the same, for those who came with a code",
    },
    Mutant {
        name: "any-handle-is-the-one-they-came-by",
        file: PEOPLE,
        swap: Code("referrer == came.0", "true"),
        tests: Both(&[HANDLES]),
        why: "the same, for those who came by a handle",
    },
    Mutant {
        name: "a-code-and-a-handle",
        file: API,
        swap: Code("code.is_some() && handle.is_some()", "false"),
        tests: Both(&[HANDLES]),
        why: "a host that says two things is believed one of them",
    },
    Mutant {
        name: "participants-of-before-stay-without-a-link",
        file: PEOPLE,
        swap: Code("!held.has_handle && !held.disabled", "false"),
        tests: Both(&["participants::handles::who_was_made_without_a_link_gets_one"]),
        why: "whom a node of the release before has made never has a link",
    },
    Mutant {
        name: "a-handle-that-is-somebody-elses",
        file: HANDLES_RS,
        swap: Code("candidates.first() != Some(claimed)", "false"),
        tests: Both(&["participants::handles::a_drawn_handle_that_is_taken_is_followed_by_another"]),
        why: "two participants have one handle",
    },
    Mutant {
        name: "nonsense-is-no-code",
        file: PEOPLE,
        swap: Code("return Err(Refusal::CodeNotUsable.into())", "None"),
        tests: Both(&[SETTLED]),
        why: "a mistyped code makes somebody whom nobody brought",
    },
    Mutant {
        name: "a-host-changes-the-address-of-an-account",
        file: PEOPLE,
        swap: Code("!held.is_own_account", "true"),
        tests: Both(&["participants::people::a_participant_who_was_made_an_account_logs_in_and_keeps_their_address"]),
        why: "a host takes over an account by a reset link",
    },
    Mutant {
        name: "a-taken-address-is-shared",
        file: PEOPLE,
        swap: Code("!key.is_empty() && !insert_login(tx, key, held.id).await?", "false"),
        tests: Both(&["participants::upsert::what_is_left_out_stays_and_what_is_empty_goes"]),
        why: "two people have one address",
    },
    Mutant {
        name: "a-former-address-stays-taken",
        file: PEOPLE,
        swap: Code("!held.email_key.is_empty()", "false"),
        tests: Both(&["participants::upsert::what_is_left_out_stays_and_what_is_empty_goes"]),
        why: "an address that somebody has given up is nobody's again",
    },
    Mutant {
        name: "nobody-hears-of-a-changed-address",
        file: PEOPLE,
        swap: Code("codes::actions::refresh(tx, held.id).await.map(Some)", "Ok(None)"),
        tests: Both(&["participants::people::who_has_no_address_is_shown_without_one_wherever_addresses_are"]),
        why: "look-ups by the former address go on being answered from memory",
    },
    Mutant {
        name: "an-absent-address-is-a-login",
        file: REGISTRATION,
        swap: Code("!user.email_key.is_empty()", "true"),
        tests: Both(&["participants::upsert::a_participant_is_made_with_a_code_and_a_referral_that_counts_at_once"]),
        why: "the second participant without an address is refused",
    },
    Mutant {
        name: "proof-without-an-address",
        file: PEOPLE,
        swap: Code("(verified && !text.is_empty())", "(verified)"),
        tests: Both(&["participants::upsert::an_address_is_dated_as_proven_by_clients_whose_word_is_taken"]),
        why: "an address that is not there is proven, and so is the next",
    },
    Mutant {
        name: "any-clients-word-is-taken",
        file: API,
        swap: Code("asked.details.verified && !trusted", "false"),
        tests: Both(&["participants::upsert::an_address_is_dated_as_proven_by_clients_whose_word_is_taken"]),
        why: "any client dates proofs",
    },
    Mutant {
        name: "any-client-may-be-trusted-with-addresses",
        file: CLIENTS,
        swap: Code("self.trusts_addresses && !self.scopes.has(Scope::ProgramWrite)", "false"),
        tests: Both(&["participants::upsert::an_address_is_dated_as_proven_by_clients_whose_word_is_taken"]),
        why: "a flag is set that says nothing",
    },
    Mutant {
        name: "the-erased-are-listed",
        file: STORE,
        swap: Sql("where external_id is not null and id > $1", "where external_hash is not null and id > $1"),
        tests: Both(&["participants::upsert::participants_are_listed_in_parts_oldest_first"]),
        why: "a list ends at who was erased",
    },
    Mutant {
        name: "codes-are-told-after-their-time",
        file: STORE,
        swap: Sql(
            "case when s.expires_at > referral_now() then s.code end, r.referrer_id, r.status, u.handle
                   from users u",
            "case when s.expires_at > 0 then s.code end, r.referrer_id, r.status, u.handle
                   from users u",
        ),
        tests: Both(&[EXPIRY]),
        why: "a host shows a code that refers nobody",
    },
    Mutant {
        name: "codes-of-people-renew",
        file: ISSUED,
        swap: Code("one.by_service", "true"),
        tests: Both(&[EXPIRY]),
        why: "a code that a person made comes back under another name",
    },
    Mutant {
        name: "codes-of-the-disabled-renew",
        file: ISSUED,
        swap: Code("one.is_live", "true"),
        tests: Both(&[EXPIRY]),
        why: "who is kept out goes on bringing people",
    },
    Mutant {
        name: "codes-renew-whatever-managers-say",
        file: ISSUED,
        swap: Code("renews.filter(|_| may_renew(one))", "program.as_ref().filter(|_| may_renew(one))"),
        tests: Both(&[EXPIRY]),
        why: "managers cannot let codes end",
    },
    Mutant {
        name: "a-leaked-code-stays",
        file: ISSUED,
        swap: Code("store::revoke(tx, owner, slot.issued, slot.now).await?;", "let _ = &slot.now;"),
        tests: Both(&["participants::codes::a_code_that_has_leaked_is_replaced_at_once"]),
        why: "what was replaced was never ended",
    },
    Mutant {
        name: "new-codes-without-end",
        file: ISSUED,
        swap: Code("within_a_day(tx, &slot, most).await?;", "let _ = most;"),
        tests: Both(&["participants::codes::a_code_that_has_leaked_is_replaced_at_once"]),
        why: "a host fills the table of strings",
    },
    Mutant {
        name: "the-disabled-get-codes",
        file: ISSUED,
        swap: Code("!store::owner_is_live(tx, owner).await?", "false"),
        tests: Both(&["participants::codes::a_code_that_has_leaked_is_replaced_at_once"]),
        why: "who is kept out is given a code",
    },
    Mutant {
        name: "whoever-may-read-writes",
        file: CALLER,
        swap: Code("require(&caller, Scope::ProgramWrite)?;", "require(&caller, Scope::ProgramRead)?;"),
        tests: Both(&[ACCESS]),
        why: "a report's client erases people",
    },
    Mutant {
        name: "two-batches-at-once",
        file: TURNS,
        swap: Code("Room { at_once: 1, waiting: 0 }", "self.rooms.client"),
        tests: Both(&["participants::batch::a_batch_has_its_limits_and_a_client_one_at_a_time"]),
        why: "one client takes the place of all others",
    },
    Mutant {
        name: "calls-without-end",
        file: API,
        swap: Code("app.limits.call(caller.client).await?;", "let _ = app;"),
        tests: Both(&["participants::upsert::calls_are_counted_by_client_and_not_by_address"]),
        why: "one client takes all there is",
    },
    Mutant {
        name: "a-group-works-for-ever",
        file: GROUP,
        swap: Code("began.elapsed() >= work", "false"),
        tests: Unit(&[GROUPS]),
        why: "a registration waits behind 256 batches",
    },
    Mutant {
        name: "a-group-never-begins",
        file: GROUP,
        swap: Code("ran > 0", "true"),
        tests: Unit(&[GROUPS]),
        why: "on a slow machine nothing is ever written",
    },
    Mutant {
        name: "a-landing-page-with-a-user-name",
        file: PROGRAM,
        swap: Code("authority.contains('@')", "false"),
        tests: Unit(&["kernel::program::tests::a_landing_page_is_https_or_on_this_machine"]),
        why: "https://bank.example@evil.example reads like another page",
    },
    Mutant {
        name: "a-landing-page-without-tls",
        file: PROGRAM,
        swap: Code("is_loopback(&url)", "true"),
        tests: Unit(&["kernel::program::tests::a_landing_page_is_https_or_on_this_machine"]),
        why: "whoever is on the way reads and changes whose code it is",
    },
];
