//! What programs get, by whose word.

use super::super::{Alone, Both, Code, Mutant, Sql, Unit};

const ACTIONS: &str = "src/features/oauth/actions.rs";
const MODEL: &str = "src/features/oauth/model.rs";
const REQUEST: &str = "src/features/oauth/model/request.rs";
const CLIENTS: &str = "src/features/clients/model.rs";
const CLIENT_STORE: &str = "src/features/clients/store/mod.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-code-of-another-client",
        file: ACTIONS,
        swap: Code("code.client == input.client", "true"),
        tests: Both(&["oauth::tokens::a_code_is_good_once_for_its_client_address_and_verifier"]),
        why: "a program uses the code of another",
    },
    Mutant {
        name: "a-code-for-another-address",
        file: ACTIONS,
        swap: Code("code.redirect_uri == input.redirect_uri", "true"),
        tests: Both(&["oauth::tokens::a_code_is_good_once_for_its_client_address_and_verifier"]),
        why: "a code that was led elsewhere is good",
    },
    Mutant {
        name: "a-code-without-its-verifier",
        file: ACTIONS,
        swap: Code("!matches(input.verifier.as_deref(), &code.challenge)", "false"),
        tests: Both(&["oauth::tokens::a_code_is_good_once_for_its_client_address_and_verifier"]),
        why: "who sees a code uses it",
    },
    Mutant {
        name: "a-code-without-any-verifier",
        file: MODEL,
        swap: Code("challenge.is_empty()", "true"),
        tests: Alone(&["stale::a_verifier_has_its_length_and_its_letters"]),
        why: "who sees a code uses it",
    },
    Mutant {
        name: "a-code-of-the-future",
        file: ACTIONS,
        swap: Code("!now.is_soon_after(code.expires_at.minus(CODE_LIFE), CODE_LIFE)", "false"),
        tests: Both(&["oauth::attacks::a_clock_that_steps_back_prolongs_neither_codes_nor_proofs"]),
        why: "a clock that steps back prolongs codes",
    },
    Mutant {
        name: "a-code-for-what-was-taken-back",
        file: ACTIONS,
        swap: Code("code.scopes.and(given).and(input.scopes)", "{ let _ = given; code.scopes.and(input.scopes) }"),
        tests: Both(&["stale::a_code_gives_nothing_that_was_taken_back"]),
        why: "who takes a consent back is not heard",
    },
    Mutant {
        name: "a-second-use-ends-nothing",
        file: ACTIONS,
        swap: Code("tokens::actions::end(tx, family, now).await?;", ""),
        tests: Both(&["oauth::tokens::a_code_is_good_once_for_its_client_address_and_verifier"]),
        why: "the thief of a code keeps what it gave",
    },
    Mutant {
        name: "consent-is-never-asked-again",
        file: ACTIONS,
        swap: Code("request.wishes.prompt.consent", "false"),
        tests: Both(&["stale::consent_is_asked_for_when_the_client_wants_it_or_wants_more"]),
        why: "a program that wants the person to be asked is not heard",
    },
    Mutant {
        name: "consent-for-more",
        file: ACTIONS,
        swap: Code("request.wishes.scopes.within(given)", "{ let _ = given; true }"),
        tests: Both(&["stale::consent_is_asked_for_when_the_client_wants_it_or_wants_more"]),
        why: "who has allowed a little has allowed everything",
    },
    Mutant {
        name: "consent-for-whatever-listens",
        file: ACTIONS,
        swap: Code("!request.redirect_uri.proves_client()", "false"),
        tests: Both(&["stale::consent_is_asked_for_when_the_client_wants_it_or_wants_more"]),
        why: "any program on the person's machine takes the place of one that was allowed",
    },
    Mutant {
        name: "pkce-is-left-out",
        file: REQUEST,
        swap: Code("!client.require_pkce", "true"),
        tests: Both(&["oauth::authorization::a_client_without_pkce_is_let_in_one_by_one_and_needs_a_nonce"]),
        why: "who sees a code uses it",
    },
    Mutant {
        name: "asked-for-more-than-the-client-may",
        file: REQUEST,
        swap: Code("asked.within(people)", "true"),
        tests: Both(&["oauth::authorization::what_is_wrong_with_a_request_is_told_to_the_client"]),
        why: "people are asked for what managers did not let the program have",
    },
    Mutant {
        name: "without-pkce-and-nonce",
        file: REQUEST,
        swap: Code("nonce.is_none_or(str::is_empty) || !scopes.has(Scope::Openid)", "false"),
        tests: Both(&["oauth::authorization::a_client_without_pkce_is_let_in_one_by_one_and_needs_a_nonce"]),
        why: "nothing binds a code to who asked for it",
    },
    Mutant {
        name: "a-verifier-of-any-length",
        file: MODEL,
        swap: Code("(43..=128).contains(&verifier.len())", "true"),
        tests: Alone(&["stale::a_verifier_has_its_length_and_its_letters"]),
        why: "a verifier that can be guessed is taken",
    },
    Mutant {
        name: "a-program-alone-with-a-persons-scopes",
        file: ACTIONS,
        swap: Code("asked.within(machine)", "true"),
        tests: Both(&["oauth::tokens::a_program_acts_alone_with_scopes_for_programs_and_is_no_person"]),
        why: "a program acts alone with more than programs may",
    },
    Mutant {
        name: "a-program-alone-without-leave",
        file: ACTIONS,
        swap: Code("client.may(GrantType::ClientCredentials)", "true"),
        tests: Both(&["oauth::tokens::a_program_acts_alone_with_scopes_for_programs_and_is_no_person"]),
        why: "a program acts alone that managers did not let",
    },
    Mutant {
        name: "anothers-tokens-are-told",
        file: ACTIONS,
        swap: Code(
            "app.db.write(actor, token, find).await?.filter(|family| family.client == client.id)",
            "app.db.write(actor, token, find).await?",
        ),
        tests: Both(&["oauth::tokens::introspection_and_revocation_tell_a_client_about_its_own_tokens_only"]),
        why: "a program learns about the sessions of others",
    },
    Mutant {
        name: "anothers-tokens-are-ended",
        file: ACTIONS,
        swap: Code("family.filter(|family| family.client == input.client)", "family"),
        tests: Both(&["oauth::tokens::introspection_and_revocation_tell_a_client_about_its_own_tokens_only"]),
        why: "a program ends the sessions of others",
    },
    Mutant {
        name: "any-secret-will-do",
        file: CLIENTS,
        swap: Code("self.secret_hash == Some(hash_secret(secret))", "{ let _ = secret; self.secret_hash.is_some() }"),
        tests: Both(&["oauth::tokens::a_client_is_believed_by_its_secret_only"]),
        why: "anybody is any program",
    },
    Mutant {
        name: "any-port-of-the-documentation",
        file: CLIENTS,
        swap: Code("self.uuid.and_then(|_| without_loopback_port(text))", "without_loopback_port(text)"),
        tests: Unit(&["features::clients::model::tests::no_other_port_of_the_machine_is_the_documentation_page"]),
        why: "whatever listens on the machine takes the place of the documentation page",
    },
    Mutant {
        name: "a-removed-client",
        file: CLIENT_STORE,
        swap: Sql("from clients where id = $1 and deleted_at is null", "from clients where id = $1"),
        tests: Both(&["oauth::clients::clients_are_the_managers_business"]),
        why: "a program that was put out is let in",
    },
    Mutant {
        name: "a-consent-to-everybody",
        file: "src/features/clients/store/consents.rs",
        swap: Sql(
            "CONSENT = \"select scope from consents where user_id = $1 and client_id = $2\"",
            "CONSENT = \"select scope from consents where user_id = $1 and client_id <> $2\"",
        ),
        tests: Both(&["stale::consent_is_asked_for_when_the_client_wants_it_or_wants_more"]),
        why: "who has allowed one program has allowed another",
    },
    Mutant {
        name: "taken-back-from-everybody",
        file: "src/features/clients/store/consents.rs",
        swap: Sql(
            "delete from consents where user_id = $1 and client_id = $2",
            "delete from consents where (user_id = $1 or user_id <> $1) and client_id = $2",
        ),
        tests: Both(&["stale::a_code_gives_nothing_that_was_taken_back"]),
        why: "who takes a consent back takes those of others back",
    },
];
