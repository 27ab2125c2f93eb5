//! Signing in with identity providers.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Sqlite};

const ACTIONS: &str = "src/features/signin/actions.rs";
const STORE: &str = "src/features/identities/store.rs";
const ID_TOKEN: &str = "src/outbound/identity_provider/id_token.rs";
const ACCOUNTS: &str = "src/features/accounts/store.rs";

const NOT_FOR_US: super::super::Tests =
    Alone(&["providers::lies::an_id_token_that_is_not_for_this_sign_in_lets_nobody_in"]);
const LAY_IN_WAIT: super::super::Tests =
    Both(&["signin::addresses::whoever_took_an_address_loses_all_access_when_its_owner_signs_in"]);

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-token-of-another-issuer",
        file: ID_TOKEN,
        swap: Code("claims.iss.as_deref() != Some(expected.issuer)", "false"),
        tests: NOT_FOR_US,
        why: "another provider says who somebody is here",
    },
    Mutant {
        name: "a-token-for-another-audience",
        file: ID_TOKEN,
        swap: Code("!is_for(&claims, expected.client_id)", "false"),
        tests: NOT_FOR_US,
        why: "a token that another program was given lets its people in here",
    },
    Mutant {
        name: "a-token-given-to-another-party",
        file: ID_TOKEN,
        swap: Code("!ours", "{ let _ = ours; false }"),
        tests: NOT_FOR_US,
        why: "a token that another program was given lets its people in here",
    },
    Mutant {
        name: "an-expired-id-token",
        file: ID_TOKEN,
        swap: Code("claims.exp.is_none_or(|end| end <= now.seconds())", "false"),
        tests: NOT_FOR_US,
        why: "an old token lets somebody in",
    },
    Mutant {
        name: "a-token-of-another-sign-in",
        file: ID_TOKEN,
        swap: Code("claims.nonce.as_deref() != Some(expected.nonce)", "false"),
        tests: NOT_FOR_US,
        why: "a token that was seen elsewhere is put into another browser's sign-in",
    },
    Mutant {
        name: "a-token-that-nobody-has-signed",
        file: ID_TOKEN,
        swap: Code("possible.any(by)", "{ let _ = possible.any(by); true }"),
        tests: Alone(&["providers::lies::an_id_token_that_the_provider_has_not_signed_lets_nobody_in"]),
        why: "anybody is anybody",
    },
    Mutant {
        name: "come-back-in-another-browser",
        file: STORE,
        swap: Sql(
            "where ticket_hash = $1 and visitor_hash = $2 and expires_at > $3 and subject is null",
            "where ticket_hash = $1 and (visitor_hash = $2 or visitor_hash <> $2) and expires_at > $3 and subject is null",
        ),
        tests: Both(&["providers::store::who_left_comes_back_once_in_the_same_browser_and_in_time"]),
        why: "a person is led into the sign-in of somebody else",
    },
    Mutant {
        name: "a-ticket-out-of-time",
        file: STORE,
        swap: Sql(
            "expires_at > $3 and subject is not null\n                    returning",
            "(expires_at > $3 or subject is not null)\n                    returning",
        ),
        tests: Both(&["providers::store::who_arrived_is_kept_under_a_new_ticket_until_it_is_used"]),
        why: "a form that lay open makes an account",
    },
    Mutant {
        name: "come-back-from-another-provider",
        file: ACTIONS,
        swap: Code("departure.provider == provider", "true"),
        tests: Both(&["stale::who_left_for_one_provider_does_not_come_back_from_another"]),
        why: "one provider answers for another",
    },
    Mutant {
        name: "any-providers-word-on-addresses",
        file: ACTIONS,
        swap: Code("trusted && identity.email_verified", "{ let _ = trusted; identity.email_verified }"),
        tests: Both(&["signin::addresses::a_person_is_issuer_and_subject_and_never_an_address"]),
        why: "a provider that checks nothing opens anybody's account",
    },
    Mutant {
        name: "an-address-that-had-to-be-changed",
        file: ACTIONS,
        swap: Code("email.is_written(text)", "{ let _ = text; true }"),
        tests: Both(&["signin::addresses::a_domain_that_only_becomes_the_same_is_another_ones"]),
        why: "a provider's word about one mailbox opens another's account",
    },
    Mutant {
        name: "identities-outlive-a-take-over",
        file: ACTIONS,
        swap: Code(
            "forget(tx, *user).await?;\n        clients::actions::consents::forget_user(tx, *user).await?;",
            "clients::actions::consents::forget_user(tx, *user).await?;",
        ),
        tests: LAY_IN_WAIT,
        why: "whoever took an address before its owner came can still log in",
    },
    Mutant {
        name: "sessions-outlive-a-take-over",
        file: ACTIONS,
        swap: Code("tokens::actions::end_all(tx, *user, *now).await.map(Some)", "Ok(Some(Vec::new()))"),
        tests: LAY_IN_WAIT,
        why: "whoever took an address before its owner came stays logged in",
    },
    Mutant {
        name: "the-password-outlives-a-take-over",
        file: ACCOUNTS,
        swap: Sql("case when email_proven_at is null then null else password_hash end", "password_hash"),
        tests: LAY_IN_WAIT,
        why: "whoever took an address before its owner came logs in by password",
    },
    Mutant {
        name: "linked-to-the-erased-sqlite",
        file: STORE,
        swap: Sql("where u.id = $3 and u.erased_at is null\n", "where u.id = $3\n"),
        tests: Sqlite(&["providers::store::an_erased_user_has_no_identities_and_gets_none"]),
        why: "something personal is written behind an erasure",
    },
    Mutant {
        name: "linked-to-the-erased-postgres",
        file: STORE,
        swap: Sql("where u.id = $3 and u.erased_at is null for share of u", "where u.id = $3 for share of u"),
        tests: Postgres(&["providers::store::an_erased_user_has_no_identities_and_gets_none"]),
        why: "something personal is written behind an erasure",
    },
    Mutant {
        name: "linked-by-a-password-of-yesterday-sqlite",
        file: ACCOUNTS,
        swap: Sql(
            "where id = $1 and password_hash = $2 and disabled_at is null and erased_at is null\",",
            "where id = $1 and password_hash <> '' and $2 <> '' and erased_at is null\",",
        ),
        tests: Sqlite(&["stale::an_account_is_joined_only_with_the_password_of_today"]),
        why: "who knew the former password of an account gets a lasting way in",
    },
    Mutant {
        name: "linked-by-a-password-of-yesterday-postgres",
        file: ACCOUNTS,
        swap: Sql(
            "where id = $1 and password_hash = $2 and disabled_at is null and erased_at is null for share",
            "where id = $1 and password_hash <> '' and $2 <> '' and erased_at is null for share",
        ),
        tests: Postgres(&["stale::an_account_is_joined_only_with_the_password_of_today"]),
        why: "who knew the former password of an account gets a lasting way in",
    },
    Mutant {
        name: "those-under-way-are-forgotten",
        file: STORE,
        swap: Sql(
            "delete from sign_ins where expires_at <= $1 or expires_at > $2",
            "delete from sign_ins where expires_at <= $2 or expires_at > $1",
        ),
        tests: Both(&["providers::store::housekeeping_removes_those_who_did_not_come_back"]),
        why: "nobody comes back from a provider",
    },
];
