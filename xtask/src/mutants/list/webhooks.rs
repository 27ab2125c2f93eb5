//! What others are told, and how it reaches them.

use super::super::{Both, Code, Mutant, Sql, Unit};

const ADDRESSES: &str = "src/outbound/addresses.rs";
const RECEIVERS: &str = "src/outbound/receivers.rs";
const HEALTH: &str = "src/features/webhooks/model/health.rs";
const SCHEDULE: &str = "src/features/webhooks/model/schedule.rs";
const LANES: &str = "src/features/webhooks/actions/lanes.rs";
const SENDING: &str = "src/features/webhooks/actions/sending.rs";
const SECRETS: &str = "src/features/webhooks/actions/secrets.rs";
const FEED: &str = "src/features/webhooks/actions/feed.rs";
const ENDPOINTS: &str = "src/features/webhooks/store/mod.rs";
const DELIVERIES: &str = "src/features/webhooks/store/deliveries.rs";
const OUTBOX: &str = "src/features/outbox/store.rs";
const REFERRALS: &str = "src/features/referrals/actions.rs";

const REBINDING: &str =
    "outbound::receivers::tests::a_name_is_judged_again_at_each_connection_by_all_that_it_stands_for";
const LITERALS: &str = "outbound::receivers::tests::an_address_in_any_notation_is_judged_by_what_it_is";
const ALLOWED: &str = "outbound::receivers::tests::what_a_network_is_allowed_for_is_let_pass_but_for_our_own_listeners";
const FAILING: &str = "features::webhooks::model::health::tests::\
    an_endpoint_is_warned_of_after_a_day_and_disabled_after_five_without_success";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nat64-is-public",
        file: ADDRESSES,
        swap: Code("[a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0]", "false"),
        tests: Unit(&["outbound::addresses::tests::what_is_private_reserved_or_stands_for_such_is_not_public"]),
        why: "where there is no IPv4, nothing is reached",
    },
    Mutant {
        name: "all-of-ipv6-is-public",
        file: ADDRESSES,
        swap: Code("a & 0xe000 == 0x2000", "true"),
        tests: Unit(&["outbound::addresses::tests::what_is_private_reserved_or_stands_for_such_is_not_public"]),
        why: "private addresses of IPv6 are connected to",
    },
    Mutant {
        name: "a-name-is-judged-by-one-of-its-addresses",
        file: RECEIVERS,
        swap: Code("!found.iter().all(|address| rules.let_pass(*address, way))", "false"),
        tests: Unit(&[REBINDING]),
        why: "a name that changes its mind leads to private addresses",
    },
    Mutant {
        name: "a-literal-is-not-judged-at-sending",
        file: RECEIVERS,
        swap: Code("literal.is_some_and(|address| !self.rules.let_pass(address, way))", "false"),
        tests: Unit(&[LITERALS]),
        why: "what is no name is never looked at when it is connected to",
    },
    Mutant {
        name: "any-port-is-listed",
        file: RECEIVERS,
        swap: Code("self.settings.lists(port)", "true"),
        tests: Unit(&[LITERALS]),
        why: "others' ports are knocked at",
    },
    Mutant {
        name: "our-own-listeners-are-others",
        file: RECEIVERS,
        swap: Code("!self.are_ours(address, port)", "true"),
        tests: Unit(&[ALLOWED]),
        why: "the service sends to itself",
    },
    Mutant {
        name: "without-tls-anywhere",
        file: RECEIVERS,
        swap: Code("(tls || is_allowed && address.is_loopback())", "true"),
        tests: Unit(&[ALLOWED]),
        why: "messages go over the network in clear",
    },
    Mutant {
        name: "a-warning-a-day-is-one-an-attempt",
        file: HEALTH,
        swap: Code("!standing.warned", "true"),
        tests: Unit(&[FAILING]),
        why: "managers get a mail for each attempt",
    },
    Mutant {
        name: "an-endpoint-fails-for-ever",
        file: HEALTH,
        swap: Code("now.since(since) >= disable_after", "false"),
        tests: Unit(&[FAILING]),
        why: "what is gone is tried for ever",
    },
    Mutant {
        name: "who-asks-for-time-gets-none",
        file: SCHEDULE,
        swap: Code("pause.max(asked.min(LONGEST))", "pause.max(asked.min(pause))"),
        tests: Unit(&["features::webhooks::model::schedule::tests::\
             who_asks_for_more_time_gets_it_within_a_day_and_who_asks_for_less_does_not"]),
        why: "Retry-After is not heeded",
    },
    Mutant {
        name: "410-is-a-failure-like-others",
        file: SENDING,
        swap: Code("status == Some(410)", "false"),
        tests: Both(&["webhooks::delivery::an_endpoint_that_is_gone_is_disabled_at_once"]),
        why: "who is gone is sent to for days",
    },
    Mutant {
        name: "the-former-secret-ends-at-once",
        file: SECRETS,
        swap: Code("now.plus(BOTH_FOR)", "now"),
        tests: Both(&["webhooks::endpoints::a_replaced_secret_signs_beside_the_new_one_for_a_day"]),
        why: "a receiver that has not heard yet refuses all",
    },
    Mutant {
        name: "the-former-secret-never-ends",
        file: ENDPOINTS,
        swap: Sql("(expires_at is null or expires_at > $2)", "(expires_at is null or expires_at > 0 or $2 < 0)"),
        tests: Both(&["webhooks::endpoints::a_replaced_secret_signs_beside_the_new_one_for_a_day"]),
        why: "a secret that was replaced because it leaked goes on signing",
    },
    Mutant {
        name: "a-disabled-endpoint-is-sent-to",
        file: LANES,
        swap: Code("endpoint.state == EndpointState::Disabled", "false"),
        tests: Both(&["webhooks::delivery::what_is_due_for_a_disabled_endpoint_waits"]),
        why: "an endpoint is disabled in name only",
    },
    Mutant {
        name: "more-are-under-way-than-may-be",
        file: LANES,
        swap: Code("most(standing) as i64 - under_way", "most(standing) as i64"),
        tests: Both(&["webhooks::delivery::no_more_are_under_way_for_an_endpoint_than_may_be_on_all_nodes"]),
        why: "each node has eight under way for a receiver that asked for none",
    },
    Mutant {
        name: "what-got-through-is-recovered",
        file: DELIVERIES,
        swap: Sql("where deliveries.state <> 'delivered'", "where true"),
        tests: Both(&["webhooks::delivery::an_endpoint_that_fails_for_five_days_is_disabled_and_recovered_in_full"]),
        why: "all of thirty days is sent again",
    },
    Mutant {
        name: "messages-without-anybody-to-hear",
        file: OUTBOX,
        swap: Sql(
            "select $1, $2, $3, $4, $5\n            where (select feed from outbox_head where one = 1)",
            "select $1, $2, $3, $4, $5\n            where true",
        ),
        tests: Both(&["webhooks::told::nothing_is_written_where_nobody_is_told"]),
        why: "effects pay for messages that nobody gets",
    },
    Mutant {
        name: "a-referral-that-counts-is-not-told",
        file: REFERRALS,
        swap: Code("store::confirm(tx, referee).await?", "store::confirm(tx, referee).await?.filter(|_| false)"),
        tests: Both(&["webhooks::told::a_referral_that_waits_is_told_when_it_counts"]),
        why: "hosts never hear that a referral counts",
    },
    Mutant {
        name: "a-place-that-was-forgotten-is-read-from",
        file: FEED,
        swap: Code("after < forgotten || after > last", "false"),
        tests: Both(&["webhooks::feed::a_feed_that_is_off_or_of_too_long_ago_says_so"]),
        why: "a reader misses messages and is not told",
    },
];
