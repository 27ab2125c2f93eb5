//! Running the program: what managers may, and what is noted of it.

use super::super::{Both, Code, Mutant, Sql, Unit};

const AUDIT: &str = "src/features/audit/model/mod.rs";
const PLACES: &str = "src/features/audit/model/chain.rs";
const VERIFY: &str = "src/features/audit/actions/verify.rs";
const NOTING: &str = "src/features/audit/actions/mod.rs";
const CHAIN: &str = "src/features/audit/actions/chain.rs";
const MANAGEMENT: &str = "src/features/accounts/actions/management.rs";
const PROFILE: &str = "src/features/accounts/actions/profile.rs";
const PARTICIPANTS: &str = "src/features/accounts/actions/participants.rs";
const TOKENS: &str = "src/features/tokens/actions/mod.rs";
const BROWSERS: &str = "src/features/tokens/actions/browser_sessions.rs";
const PEOPLE: &str = "src/features/managers/actions/mod.rs";
const SEALING: &str = "src/crypto/sealing.rs";
const SESSIONS: &str = "src/features/tokens/store/sessions.rs";
const IDENTITIES: &str = "src/features/identities/actions.rs";
const CELLS: &str = "src/web/csv.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-mac-is-not-looked-at",
        file: AUDIT,
        swap: Code("hmac::verify(key, &text, &self.mac).is_ok()", "true"),
        tests: Both(&["audit::chain::law_15_what_was_noted_is_not_changed_unseen"]),
        why: "a row that SQL has added passes for one of ours",
    },
    Mutant {
        name: "a-hash-is-not-looked-at",
        file: PLACES,
        swap: Code("row.hash.as_deref() == Some(&hash[..])", "true"),
        tests: Both(&["audit::chain::law_15_what_was_noted_is_not_changed_unseen"]),
        why: "rows change places unseen",
    },
    Mutant {
        name: "a-gap-is-passed-over",
        file: PLACES,
        swap: Code("seq > next", "false"),
        tests: Unit(&[
            "features::audit::model::chain::tests::the_first_row_that_is_not_as_it_was_is_found_with_what_became_of_it",
        ]),
        why: "what was removed is called swapped",
    },
    Mutant {
        name: "an-end-that-was-cut-off-is-not-missed",
        file: PLACES,
        swap: Code("self.place.seq < head.seq", "false"),
        tests: Both(&[
            "audit::chain::an_end_that_was_cut_off_is_seen_by_the_head_and_by_one_that_was_pinned_elsewhere",
        ]),
        why: "the last row is called changed, and it is not there",
    },
    Mutant {
        name: "what-stands-behind-the-head-is-not-looked-at",
        file: VERIFY,
        swap: Code("store::behind_head(&app.db).await?", "None::<i64>"),
        tests: Both(&["audit::chain::law_15_what_was_noted_is_not_changed_unseen"]),
        why: "rows that were added behind the end are not seen",
    },
    Mutant {
        name: "any-head-was-pinned",
        file: VERIFY,
        swap: Code("asked.pinned == Some(verifier.place.hash)", "true"),
        tests: Both(&[
            "audit::chain::an_end_that_was_cut_off_is_seen_by_the_head_and_by_one_that_was_pinned_elsewhere",
        ]),
        why: "a head that was kept elsewhere proves nothing",
    },
    Mutant {
        name: "the-job-tells-of-no-stranger",
        file: CHAIN,
        swap: Code("!row.record.is_signed_by(&chaining.keys)", "false"),
        tests: Both(&["audit::chain::law_15_what_was_noted_is_not_changed_unseen"]),
        why: "nobody hears of a row that SQL has added",
    },
    Mutant {
        name: "exported-as-often-as-one-likes",
        file: NOTING,
        swap: Code("now.is_soon_after(last, EXPORT_EVERY)", "false"),
        tests: Both(&["managers::exports::one_takes_out_all_that_is_kept_of_oneself_once_an_hour"]),
        why: "whoever has a token for a moment reads all, again and again",
    },
    Mutant {
        name: "the-last-manager-goes",
        file: MANAGEMENT,
        swap: Code("managers == [user]", "false"),
        tests: Both(&["managers::roles::a_manager_gives_the_role_with_their_password_and_takes_it_and_one_stays"]),
        why: "nobody can run the program",
    },
    Mutant {
        name: "the-last-manager-erases-themselves",
        file: PROFILE,
        swap: Code("store::hold_managers(tx).await? == [user]", "false"),
        tests: Both(&["managers::roles::nobody_but_the_operator_erases_the_last_manager"]),
        why: "nobody can run the program",
    },
    Mutant {
        name: "a-host-erases-the-last-manager",
        file: PARTICIPANTS,
        swap: Code("hold_managers(tx).await? == [held.id]", "false"),
        tests: Both(&["managers::roles::nobody_but_the_operator_erases_the_last_manager"]),
        why: "a program takes away who runs the service",
    },
    Mutant {
        name: "an-erasure-by-a-host-is-not-noted",
        file: PARTICIPANTS,
        swap: Code("audit::actions::record(tx, now, Event::UserErased(held.id, None)).await?;", "();"),
        tests: Both(&["accounts::erasure::of_the_erased_no_trace_is_left"]),
        why: "nobody knows who has erased whom",
    },
    Mutant {
        name: "keys-under-the-former-master-key-pass-for-sealed",
        file: SEALING,
        swap: Code("sealed && sealer.open(kid, secret).is_some()", "sealed"),
        tests: Both(&["keys::reseal::the_master_key_changes_and_nobody_notices"]),
        why: "the former master key is taken away, and nothing opens any more",
    },
    Mutant {
        name: "the-former-master-key-opens-nothing",
        file: SEALING,
        swap: Code("[&self.today, &self.former]", "[&self.today, &None]"),
        tests: Both(&["keys::reseal::the_master_key_changes_and_nobody_notices"]),
        why: "a master key that somebody knew stays for ever",
    },
    Mutant {
        name: "a-managers-log-in-is-not-noted",
        file: TOKENS,
        swap: Code("scopes.has(Scope::Admin)", "false"),
        tests: Both(&["audit::noted::what_is_done_with_others_things_is_noted_with_who_did_it"]),
        why: "nobody sees that somebody else has a manager's password",
    },
    Mutant {
        name: "a-managers-log-in-at-our-pages-is-not-noted",
        file: BROWSERS,
        swap: Code("inserted && store::is_manager_in(tx, new.user).await?", "false"),
        tests: Both(&["audit::noted::what_is_done_with_others_things_is_noted_with_who_did_it"]),
        why: "nobody sees that somebody else has a manager's password",
    },
    Mutant {
        name: "a-role-that-was-there-is-given-again",
        file: MANAGEMENT,
        swap: Code("account.is_manager == role.on", "false"),
        tests: Both(&["audit::noted::what_is_done_with_others_things_is_noted_with_who_did_it"]),
        why: "the audit tells of what was not done",
    },
    Mutant {
        name: "the-erased-are-found-by-a-name",
        file: PEOPLE,
        swap: Code("filter.state == Some(AccountState::Erased)", "false"),
        tests: Both(&["managers::search::a_list_of_people_is_walked_through_and_filtered"]),
        why: "an erased person is looked for under a name",
    },
    Mutant {
        name: "who-was-a-manager-acts-as-one",
        file: MANAGEMENT,
        swap: Code("!managers.contains(&manager)", "false"),
        tests: Both(&["managers::roles::who_has_ceased_to_be_a_manager_while_waiting_does_nothing"]),
        why: "of two managers who take each other's role both do, and there is none",
    },
    Mutant {
        name: "anybodys-session-is-ended",
        file: SESSIONS,
        swap: Sql(
            "update token_families set ended_at = $3 where id = $1 and user_id = $2",
            "update token_families set ended_at = $3 where id = $1 and (user_id = $2 or true)",
        ),
        tests: Both(&["accounts::sessions::a_person_sees_their_sessions_and_ends_one_on_every_node"]),
        why: "who knows the id of a session ends it",
    },
    Mutant {
        name: "the-last-way-in-goes",
        file: IDENTITIES,
        swap: Code("!has_password", "false"),
        tests: Both(&["signin::identities::an_identity_is_unlinked_unless_it_is_the_last_way_in"]),
        why: "people lock themselves out",
    },
    Mutant {
        name: "an-identity-that-nobody-can-use-is-a-way-in",
        file: IDENTITIES,
        swap: Code("usable.contains(&other.issuer)", "true"),
        tests: Both(&["signin::identities::an_identity_is_unlinked_unless_it_is_the_last_way_in"]),
        why: "people lock themselves out with an identity of a provider that is gone",
    },
    Mutant {
        name: "a-formula-stays-one",
        file: CELLS,
        swap: Code("first.is_some_and(formula)", "false"),
        tests: Unit(&["web::csv::tests::what_a_spreadsheet_would_take_for_a_formula_is_a_text"]),
        why: "a name runs a program on a manager's machine",
    },
    Mutant {
        name: "cells-behind-semicolons-run",
        file: CELLS,
        swap: Code("at > 0 && is_one(seen)", "false"),
        tests: Unit(&["web::csv::tests::what_a_spreadsheet_would_take_for_a_formula_is_a_text"]),
        why: "where lines are divided at semicolons a name runs a program",
    },
];
