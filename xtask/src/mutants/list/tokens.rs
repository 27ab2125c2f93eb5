//! Sessions, refresh tokens and access tokens.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Sqlite};

const ACTIONS: &str = "src/features/tokens/actions/mod.rs";
const STORE: &str = "src/features/tokens/store.rs";
const KEYRING: &str = "src/crypto/keyring.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "refreshed-by-another-client",
        file: ACTIONS,
        swap: Code("family.client != input.client", "false"),
        tests: Both(&["oauth::tokens::a_refresh_token_is_its_clients_alone_and_may_be_asked_for_less"]),
        why: "one program uses the session of another",
    },
    Mutant {
        name: "refreshed-after-idle-days",
        file: ACTIONS,
        swap: Code("input.now.since(family.used_at) > input.idle", "false"),
        tests: Both(&["tokens::refresh::a_log_in_ends_after_fourteen_idle_days"]),
        why: "a forgotten device stays logged in",
    },
    Mutant {
        name: "refreshed-for-ever",
        file: ACTIONS,
        swap: Code("family.expires_at <= input.now", "false"),
        tests: Both(&["tokens::refresh::a_log_in_ends_after_thirty_days_however_busy"]),
        why: "a session has no end",
    },
    Mutant {
        name: "refreshed-though-ended",
        file: STORE,
        swap: Sql(
            "f.rotated_at, f.salt, f.ended_at is not null",
            "f.rotated_at, f.salt, f.ended_at is not null and 1 = 0",
        ),
        tests: Both(&["stale::an_ended_session_gives_its_last_answer_to_nobody"]),
        why: "an ended session gives tokens to who repeats its last refresh",
    },
    Mutant {
        name: "refreshed-for-more",
        file: ACTIONS,
        swap: Code("!asked.within(family.allows())", "false"),
        tests: Both(&["oauth::tokens::a_refresh_token_is_its_clients_alone_and_may_be_asked_for_less"]),
        why: "a program gets what nobody allowed it",
    },
    Mutant {
        name: "refreshed-for-what-the-client-has-lost",
        file: ACTIONS,
        swap: Code(
            "narrowed.unwrap_or(granted.scopes).and(within)",
            "{ let _ = within; narrowed.unwrap_or(granted.scopes) }",
        ),
        tests: Both(&["stale::a_refresh_gives_no_scope_that_the_client_has_lost"]),
        why: "a scope that managers took from a program lives on in its sessions",
    },
    Mutant {
        name: "the-successor-given-for-ever",
        file: ACTIONS,
        swap: Code("now.is_soon_after(at, GRACE)", "{ let _ = (at, now); true }"),
        tests: Both(&["tokens::refresh::ten_seconds_after_it_was_replaced_a_token_ends_the_family"]),
        why: "a stolen token that was replaced gives its successor for ever",
    },
    Mutant {
        name: "an-invented-token-ends-a-session",
        file: ACTIONS,
        swap: Code(
            "!known && family.is_sealed() && !input.token.is_sealed_by(&input.keys)",
            "{ let _ = known; false }",
        ),
        tests: Both(&["tokens::invented::who_invents_a_refresh_token_ends_nothing"]),
        why: "who has seen one half of a token logs its owner out",
    },
    Mutant {
        name: "theft-ends-nothing",
        file: ACTIONS,
        swap: Code("end(tx, family.id, input.now).await?;", ""),
        tests: Both(&["tokens::refresh::once_its_successor_is_used_a_replaced_token_ends_the_family"]),
        why: "the thief of a refresh token keeps the session",
    },
    Mutant {
        name: "an-access-token-lives-on-where-it-was-seen",
        file: "src/kernel/caller.rs",
        swap: Code("self.expires_at > now", "true"),
        tests: Both(&["stale::an_access_token_ends_where_it_was_believed_before"]),
        why: "a token is believed for as long as a node remembers it",
    },
    Mutant {
        name: "an-access-token-of-the-future-where-it-was-seen",
        file: "src/kernel/caller.rs",
        swap: Code("self.issued_at <= now.plus(SKEW)", "true"),
        tests: Both(&["nodes::clocks::a_token_from_the_future_is_refused_also_where_it_was_believed_before"]),
        why: "a token outlives the memory of its session's end",
    },
    Mutant {
        name: "an-expired-access-token",
        file: KEYRING,
        swap: Code("claims.exp > now.seconds()", "true"),
        tests: Both(&["tokens::access::an_access_token_lives_ten_minutes"]),
        why: "tokens have no end",
    },
    Mutant {
        name: "an-access-token-of-the-future",
        file: KEYRING,
        swap: Code("claims.iat <= now.seconds() + LEEWAY", "true"),
        tests: Both(&["nodes::clocks::a_token_from_the_future_is_refused_also_where_it_was_believed_before"]),
        why: "a token outlives the memory of its session's end",
    },
    Mutant {
        name: "an-id-token-as-an-access-token",
        file: KEYRING,
        swap: Code("!header.typ.eq_ignore_ascii_case(TYPE)", "false"),
        tests: Both(&["tokens::access::no_forged_token_is_believed"]),
        why: "what tells a program who somebody is lets it act for them",
    },
    Mutant {
        name: "an-access-token-for-another-audience",
        file: KEYRING,
        swap: Code("validation.set_audience(&[issuer]);", "validation.validate_aud = false;"),
        tests: Both(&["tokens::access::no_forged_token_is_believed"]),
        why: "a token for another service is believed here",
    },
    Mutant {
        name: "two-refreshes-of-one-token",
        file: STORE,
        swap: Sql(
            "where id = $1 and counter = $2 and current_hash = $3 and",
            "where id = $1 and (counter >= $2 or current_hash = $3) and",
        ),
        tests: Postgres(&["tokens::refresh::fifty_refreshes_at_once_with_one_token_make_one_lineage"]),
        why: "one token becomes two lines of tokens, and theft is not seen",
    },
    Mutant {
        name: "a-session-for-a-password-of-yesterday-sqlite",
        file: STORE,
        swap: Sql(
            "u.password_hash = $10\n            returning scope",
            "u.password_hash <> '' and $10 <> ''\n            returning scope",
        ),
        tests: Sqlite(&["stale::a_session_begins_only_with_the_password_of_today"]),
        why: "a log-in that was under way outlives a change of the password",
    },
    Mutant {
        name: "a-session-for-a-password-of-yesterday-postgres",
        file: STORE,
        swap: Sql(
            "u.password_hash = $10\n            for share of u",
            "u.password_hash <> '' and $10 <> ''\n            for share of u",
        ),
        tests: Postgres(&["stale::a_session_begins_only_with_the_password_of_today"]),
        why: "a log-in that was under way outlives a change of the password",
    },
    Mutant {
        name: "a-session-of-an-ended-browser-sqlite",
        file: STORE,
        swap: Sql(
            "where b.id = $10 and u.id = $3 and b.ended_at is null and u.disabled_at is null and u.erased_at is null\",\n        postgres",
            "where b.id = $10 and u.id = $3 and u.disabled_at is null and u.erased_at is null\",\n        postgres",
        ),
        tests: Sqlite(&["stale::a_code_of_an_ended_browser_session_gives_nothing"]),
        why: "a program gets a session of somebody who has logged out",
    },
    Mutant {
        name: "a-session-of-an-ended-browser-postgres",
        file: STORE,
        swap: Sql(
            "where b.id = $10 and u.id = $3 and b.ended_at is null and u.disabled_at is null and u.erased_at is null\n",
            "where b.id = $10 and u.id = $3 and u.disabled_at is null and u.erased_at is null\n",
        ),
        tests: Postgres(&["stale::a_code_of_an_ended_browser_session_gives_nothing"]),
        why: "a program gets a session of somebody who has logged out",
    },
    Mutant {
        name: "all-sessions-but-none",
        file: STORE,
        swap: Sql(
            "set ended_at = $2 where user_id = $1 and ended_at is null returning id",
            "set ended_at = $2 where user_id = $1 and ended_at is not null returning id",
        ),
        tests: Both(&["accounts::passwords::a_password_is_changed_with_the_old_one_and_ends_every_session"]),
        why: "a thief stays logged in when the password is changed",
    },
    Mutant {
        name: "browsers-stay-logged-in",
        file: STORE,
        swap: Sql(
            "update browser_sessions set ended_at = $2 where user_id = $1 and ended_at is null",
            "update browser_sessions set ended_at = $2 where user_id = $1 and ended_at is not null",
        ),
        tests: Both(&["oauth::authorization::whoever_loses_access_loses_the_browser_session_too"]),
        why: "a thief stays logged in at the pages when the password is changed",
    },
    Mutant {
        name: "an-ended-browser-session",
        file: STORE,
        swap: Sql("where b.secret_hash = $1 and b.ended_at is null and", "where b.secret_hash = $1 and"),
        tests: Both(&["oauth::authorization::whoever_loses_access_loses_the_browser_session_too"]),
        why: "who has logged out is logged in",
    },
    Mutant {
        name: "a-session-that-the-database-has-ended",
        file: STORE,
        swap: Sql(
            "select 1 from token_families where id = $1 and ended_at is null",
            "select 1 from token_families where id = $1",
        ),
        tests: Alone(&["stale::a_node_without_news_asks_whether_a_session_has_ended"]),
        why: "a node that hears nothing of the others believes in ended sessions",
    },
    Mutant {
        name: "the-newest-sessions-go-sqlite",
        file: STORE,
        swap: Sql("order by used_at desc limit -1 offset $4", "order by used_at limit -1 offset $4"),
        tests: Sqlite(&["limits::amounts::so_many_log_ins_of_a_user_are_kept"]),
        why: "who logs in too often is logged out where they are",
    },
    Mutant {
        name: "the-newest-sessions-go-postgres",
        file: STORE,
        swap: Sql("order by used_at desc offset $4", "order by used_at offset $4"),
        tests: Postgres(&["limits::amounts::so_many_log_ins_of_a_user_are_kept"]),
        why: "who logs in too often is logged out where they are",
    },
    Mutant {
        name: "an-identity-that-was-taken-away",
        file: STORE,
        swap: Sql(
            "u.erased_at is null and i.issuer = $6 and i.subject = $7",
            "u.erased_at is null and i.issuer = $6 and $7 <> ''",
        ),
        tests: Both(&["stale::a_browser_session_begins_only_with_the_identity_of_today"]),
        why: "who was unlinked while they came gets in",
    },
    Mutant {
        name: "a-session-of-a-removed-program-sqlite",
        file: STORE,
        swap: Sql(
            "from clients c where c.id = $3 and c.deleted_at is null\",",
            "from clients c where c.id = $3 and c.created_at is not null\",",
        ),
        tests: Sqlite(&["stale::a_program_that_was_removed_begins_nothing"]),
        why: "a program that was put out acts on by a request that was under way",
    },
    Mutant {
        name: "the-newest-browsers-go-sqlite",
        file: STORE,
        swap: Sql("order by b.used_at desc limit -1 offset $3", "order by b.used_at limit -1 offset $3"),
        tests: Sqlite(&["limits::amounts::so_many_browsers_of_a_user_are_kept"]),
        why: "who logs in too often is logged out where they are",
    },
    Mutant {
        name: "a-session-of-a-removed-program-postgres",
        file: STORE,
        swap: Sql(
            "from clients c where c.id = $3 and c.deleted_at is null\n            for share of c",
            "from clients c where c.id = $3 and c.created_at is not null\n            for share of c",
        ),
        tests: Postgres(&["stale::a_program_that_was_removed_begins_nothing"]),
        why: "a program that was put out acts on by a request that was under way",
    },
    Mutant {
        name: "the-newest-browsers-go-postgres",
        file: STORE,
        swap: Sql("order by b.used_at desc offset $3", "order by b.used_at offset $3"),
        tests: Postgres(&["limits::amounts::so_many_browsers_of_a_user_are_kept"]),
        why: "who logs in too often is logged out where they are",
    },
];
