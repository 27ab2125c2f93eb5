//! Writes that come again.

use super::super::{Alone, Both, Code, Mutant, Sql, Unit};

const IDEMPOTENCY: &str = "src/idempotency.rs";
const KEYED: &str = "src/web/idempotency.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-key-is-everybodys",
        file: IDEMPOTENCY,
        swap: Code("&[caller.as_bytes(), operation.as_bytes()]", "{ let _ = &caller; &[operation.as_bytes()] }"),
        tests: Both(&["idempotency::keys::two_callers_with_one_key_have_an_effect_each"]),
        why: "who guesses a key is given somebody else's answer",
    },
    Mutant {
        name: "a-key-is-of-all-operations",
        file: IDEMPOTENCY,
        swap: Code("&[caller.as_bytes(), operation.as_bytes()]", "{ let _ = operation; &[caller.as_bytes()] }"),
        tests: Unit(&["idempotency::tests::another_secret_key_caller_or_operation_is_another_scope"]),
        why: "a key that was used for one operation is refused for another",
    },
    Mutant {
        name: "any-request-is-the-one-before",
        file: IDEMPOTENCY,
        swap: Code("!bool::from(fingerprint.ct_eq(&self.fingerprint))", "{ let _ = &fingerprint; false }"),
        tests: Both(&["idempotency::keys::a_key_that_comes_with_another_request_is_refused_and_nothing_is_done"]),
        why: "another request is told that it was done",
    },
    Mutant {
        name: "the-body-is-not-compared",
        file: KEYED,
        swap: Code("self.body.get().map_or(&[][..], |hash| hash)", "&[][..]"),
        tests: Both(&["idempotency::keys::a_key_that_comes_with_another_request_is_refused_and_nothing_is_done"]),
        why: "another request is told that it was done",
    },
    Mutant {
        name: "path-and-query-are-not-compared",
        file: KEYED,
        swap: Code(
            "[write.scopes.as_bytes(), write.target.as_bytes(), body]",
            "[write.scopes.as_bytes(), b\"\", body]",
        ),
        tests: Both(&["idempotency::keys::a_key_that_comes_with_another_request_is_refused_and_nothing_is_done"]),
        why: "another request is told that it was done",
    },
    Mutant {
        name: "an-answer-is-kept-for-ever",
        file: IDEMPOTENCY,
        swap: Sql("where idempotency.expires_at <= $4", "where idempotency.expires_at <= $4 - 1000000000000"),
        tests: Both(&["idempotency::keys::an_answer_is_kept_for_a_day"]),
        why: "a key that is taken again after a day is answered with what was long ago",
    },
    Mutant {
        name: "answers-are-not-forgotten",
        file: IDEMPOTENCY,
        swap: Sql(
            "delete from idempotency where expires_at <= $1",
            "delete from idempotency where expires_at < 0 * $1",
        ),
        tests: Both(&["idempotency::keys::an_answer_is_kept_for_a_day"]),
        why: "answers stay for ever",
    },
    Mutant {
        name: "a-key-in-flight-is-an-overload",
        file: IDEMPOTENCY,
        swap: Code("Refusal::IdempotencyInFlight.into()", "Error::Busy(LIFE)"),
        tests: Alone(&["idempotency::keys::a_key_that_another_node_has_is_in_flight_until_it_is_done"]),
        why: "who asks while the first is under way is not told so",
    },
    Mutant {
        name: "a-refusal-may-be-because-it-was-done",
        file: KEYED,
        swap: Code("idempotency::find(&app.db, &record).await", "{ let _ = record; Ok(None) }"),
        tests: Both(&[
            "idempotency::document::every_write_that_is_sent_eight_times_at_once_with_one_key_has_one_effect_and_one_answer",
        ]),
        why: "who has changed their password is told that the old one is wrong",
    },
    Mutant {
        name: "a-key-in-quotes-is-another",
        file: KEYED,
        swap: Code("text.strip_prefix('\"')", "text.strip_prefix('\\0')"),
        tests: Both(&["idempotency::keys::a_retried_replacement_makes_one_code"]),
        why: "a client that begins to quote its keys does its writes twice",
    },
];
