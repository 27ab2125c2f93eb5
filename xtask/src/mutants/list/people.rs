//! Who may see and do what.

use super::super::{Both, Code, Mutant, Postgres, Sql, Sqlite, Unit};

const REFERRALS: &str = "src/features/referrals/model.rs";
const LISTS: &str = "src/features/referrals/actions.rs";
const CALLER: &str = "src/features/tokens/caller.rs";
const VISITOR: &str = "src/web/visitor.rs";
const STORE: &str = "src/features/accounts/store.rs";
const ME: &str = "src/features/accounts/actions/profile.rs";
const MODEL: &str = "src/features/accounts/model/mod.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "everybody-is-an-insider",
        file: REFERRALS,
        swap: Code("user == referrer", "true"),
        tests: Both(&["laws::privacy::nobody_else_sees_an_address"]),
        why: "anybody reads the addresses of anybody's referees",
    },
    Mutant {
        name: "a-scope-makes-a-manager",
        file: REFERRALS,
        swap: Code("is_manager && may_manage", "may_manage"),
        tests: Unit(&[
            "features::referrals::model::tests::only_the_referrer_and_managers_see_addresses_unless_the_operator_says_otherwise",
        ]),
        why: "who has ceased to be a manager reads on",
    },
    Mutant {
        name: "nothing-is-masked",
        file: REFERRALS,
        swap: Code("view != View::Full", "false"),
        tests: Both(&["laws::privacy::the_operator_decides_who_sees_the_list_of_referees"]),
        why: "strangers read addresses",
    },
    Mutant {
        name: "codes-are-shown-to-all",
        file: REFERRALS,
        swap: Code("!shows_codes", "false"),
        tests: Both(&["accounts::profile::strangers_see_no_code_of_who_does_not_want_to_be_found"]),
        why: "the list leads to who does not want to be found",
    },
    Mutant {
        name: "codes-of-the-hidden-are-shown",
        file: LISTS,
        swap: Code("seen.discoverable", "true"),
        tests: Both(&["accounts::profile::strangers_see_no_code_of_who_does_not_want_to_be_found"]),
        why: "the same, where it is decided",
    },
    Mutant {
        name: "codes-are-shown-without-the-scope",
        file: LISTS,
        swap: Code("viewer.may_read_codes()", "true"),
        tests: Both(&["access::operations::a_token_shows_no_more_than_its_scopes_say"]),
        why: "a token shows more than its scopes say",
    },
    Mutant {
        name: "any-scope-will-do",
        file: CALLER,
        swap: Code("Err(Problem { scope: Some(scope), ..Refusal::InsufficientScope.into() })", "Ok(())"),
        tests: Both(&["access::operations::every_operation_lets_in_whom_it_should_and_nobody_else"]),
        why: "a token does what nobody allowed it",
    },
    Mutant {
        name: "anybody-manages",
        file: CALLER,
        swap: Code("!store::is_manager(&app.db, user).await?", "false"),
        tests: Both(&["stale::who_has_ceased_to_be_a_manager_manages_nothing"]),
        why: "who has ceased to be a manager goes on as one until the token ends",
    },
    Mutant {
        name: "a-token-in-any-header",
        file: CALLER,
        swap: Code("scheme.eq_ignore_ascii_case(\"bearer\")", "true"),
        tests: Both(&["tokens::access::a_token_is_taken_from_one_bearer_header_and_from_nowhere_else"]),
        why: "tokens are taken from where they do not belong",
    },
    Mutant {
        name: "whatever-any-client-says-of-its-address",
        file: "src/web/client_address.rs",
        swap: Code("!peer.trusted", "false"),
        tests: Both(&[
            "limits::addresses::a_client_is_who_the_connection_comes_from_unless_a_trusted_proxy_says_otherwise",
        ]),
        why: "limits by address are escaped by a header",
    },
    Mutant {
        name: "whatever-the-first-proxy-was-told",
        file: "src/web/client_address.rs",
        swap: Code("!limits.trusts(client)", "false"),
        tests: Both(&[
            "limits::addresses::a_client_is_who_the_connection_comes_from_unless_a_trusted_proxy_says_otherwise",
        ]),
        why: "limits by address are escaped by a header that a proxy hands on",
    },
    Mutant {
        name: "forms-of-other-browsers",
        file: VISITOR,
        swap: Code("mac(&self.secret).ct_eq(&sent).into()", "{ let _ = &sent; true }"),
        tests: Both(&["oauth::pages::forms_of_others_do_nothing"]),
        why: "another site allows a program in a person's name",
    },
    Mutant {
        name: "a-password-that-was-changed-meanwhile",
        file: STORE,
        swap: Sql(
            "where id = $1 and password_hash is not distinct from $2\n                        and erased_at",
            "where id = $1 and (password_hash is not distinct from $2 or password_hash is distinct from $2)\n                        and erased_at",
        ),
        tests: Both(&["stale::a_password_is_changed_only_from_the_one_that_was_checked"]),
        why: "who was put out by a change of the password changes it once more",
    },
    Mutant {
        name: "an-erased-person-keeps-the-password",
        file: STORE,
        swap: Sql("password_hash = null, handle = null", "handle = null"),
        tests: Both(&["stale::nothing_is_left_that_could_let_an_erased_person_in"]),
        why: "something of an erased person is kept",
    },
    Mutant {
        name: "an-erased-person-keeps-the-names",
        file: STORE,
        swap: Sql(
            "delete from logins where user_id = $1\n                     and login_key in (",
            "delete from logins where user_id = $1 and 1 = 0\n                     and login_key in (",
        ),
        tests: Both(&["accounts::erasure::of_the_erased_no_trace_is_left"]),
        why: "nobody can have the name of an erased person, who is remembered by it",
    },
    Mutant {
        name: "a-change-that-was-not-made",
        file: ME,
        swap: Code(
            "!store::set_password(tx, input.user, input.stored.as_deref(), &input.hash).await?",
            "{ store::set_password(tx, input.user, input.stored.as_deref(), &input.hash).await?; false }",
        ),
        tests: Both(&["stale::a_password_is_changed_only_from_the_one_that_was_checked"]),
        why: "a change that was not made is acknowledged",
    },
    Mutant {
        name: "a-bad-verdict-bars-nobody",
        file: MODEL,
        swap: Code("policy != Policy::Block", "true"),
        tests: Unit(&[
            "features::accounts::model::tests::under_block_a_missing_verdict_bars_for_its_time_and_a_bad_one_for_good",
        ]),
        why: "the operator's policy is not kept",
    },
    Mutant {
        name: "erased-by-a-password-of-yesterday-sqlite",
        file: STORE,
        swap: Sql(
            "where id = $1 and (password_hash is not distinct from $2 or $3) and erased_at is null\",",
            "where id = $1 and (password_hash is not distinct from $2 or $3 or true) and erased_at is null\",",
        ),
        tests: Sqlite(&["stale::an_account_is_erased_only_with_the_password_of_today"]),
        why: "who knew the former password of an account erases it",
    },
    Mutant {
        name: "erased-by-a-password-of-yesterday-postgres",
        file: STORE,
        swap: Sql(
            "where id = $1 and (password_hash is not distinct from $2 or $3) and erased_at is null for update",
            "where id = $1 and (password_hash is not distinct from $2 or $3 or true) and erased_at is null for update",
        ),
        tests: Postgres(&["stale::an_account_is_erased_only_with_the_password_of_today"]),
        why: "who knew the former password of an account erases it",
    },
];
