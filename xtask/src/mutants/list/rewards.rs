//! Rewards: what rules give, what refunds take back, once each.

use super::super::{Both, Code, Mutant, Postgres, Sql, Unit};

const RULES: &str = "src/features/rewards/model/rules.rs";
const REWARD: &str = "src/features/rewards/model/reward.rs";
const EVENTS: &str = "src/features/rewards/actions/events.rs";
const REFUNDS: &str = "src/features/rewards/actions/refunds.rs";
const DECISIONS: &str = "src/features/rewards/actions/decisions.rs";
const PAYOUTS: &str = "src/features/rewards/actions/payouts.rs";
const RELEASE: &str = "src/features/rewards/actions/release.rs";

const EARNED: &[&str] = &["features::rewards::model::rules::tests::what_a_rule_earns_on_an_amount"];
const TABLE: &[&str] = &["features::rewards::model::reward::tests::each_state_takes_each_action_as_the_table_has_it"];

const ONCE: &str = "rewards::events::an_event_counts_once_and_the_same_words_get_the_same_answer";
const REASONS: &str = "rewards::events::each_rule_that_gives_nothing_says_why";
const LIMITS: &str = "rewards::races::of_many_purchases_at_once_one_is_the_first_and_no_limit_is_passed";
const PAUSED: &str = "rewards::rules::a_program_that_is_paused_or_over_takes_no_new_events";
const TAKEN: &str = "rewards::refunds::a_refund_takes_back_what_the_rules_would_not_have_given_for_the_rest";
const WHOLE: &str = "rewards::refunds::an_event_about_no_amount_is_taken_back_as_a_whole_once";
const WAITS: &str = "rewards::ledger::what_is_granted_for_a_pending_referral_waits_until_it_is_confirmed";
const TABLE_BY_HAND: &str = "rewards::decisions::each_state_takes_each_act_as_the_table_has_it";
const SHORT: &str = "rewards::decisions::nobody_is_paid_more_than_they_have";
const DENIED: &str = "rewards::decisions::a_denied_referral_has_nothing_that_is_paid";
const HELD: &str = "rewards::decisions::what_is_held_stays_pending_until_another_decision";
const OWN: &str = "rewards::decisions::nobody_decides_about_what_they_are_part_of";
const DUE: &str = "rewards::ledger::a_reward_is_released_when_its_hold_is_over_and_never_before";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nothing-left-earns",
        file: RULES,
        swap: Code("if left >= least.max(1) =>", "if left >= least =>"),
        tests: Unit(EARNED),
        why: "a purchase that was refunded whole keeps its reward",
    },
    Mutant {
        name: "shares-know-no-most",
        file: RULES,
        swap: Code(".min(max.unwrap_or(MOST_AMOUNT))", ""),
        tests: Unit(EARNED),
        why: "a rule gives more than it says",
    },
    Mutant {
        name: "what-is-reserved-is-paid",
        file: REWARD,
        swap: Code("(Act::Pay, S::Available, false)", "(Act::Pay, S::Available, _)"),
        tests: Unit(TABLE),
        why: "a reward is paid beside the payout that has it",
    },
    Mutant {
        name: "other-words-are-the-same",
        file: EVENTS,
        swap: Code("stored.said == said", "true"),
        tests: Both(&[ONCE]),
        why: "another event under a known id is lost without a word",
    },
    Mutant {
        name: "a-paused-program-takes-events",
        file: EVENTS,
        swap: Code("program.state != ProgramState::Active", "program.state == ProgramState::Ended"),
        tests: Both(&[PAUSED]),
        why: "a pause changes nothing",
    },
    Mutant {
        name: "whoever-counts-is-not-alone",
        file: EVENTS,
        swap: Code("{ Hold::Alone }", "{ Hold::Shared }"),
        tests: Postgres(&[LIMITS]),
        why: "of many at once more than the limit get something",
    },
    Mutant {
        name: "limits-are-one-more",
        file: EVENTS,
        swap: Code(">= limit.count {", "> limit.count {"),
        tests: Both(&[REASONS]),
        why: "a rule gives something once more than it says",
    },
    Mutant {
        name: "every-time-is-the-first",
        file: EVENTS,
        swap: Code("once: rule.times == Times::First,", "once: false,"),
        tests: Both(&[REASONS]),
        why: "a welcome is given for every purchase",
    },
    Mutant {
        name: "nothing-waits-for-a-confirmation",
        file: EVENTS,
        swap: Code("waits: grants.referee.waits(),", "waits: false,"),
        tests: Both(&[WAITS]),
        why: "who has not proven their address brings somebody money",
    },
    Mutant {
        name: "refunds-know-no-end",
        file: REFUNDS,
        swap: Code("if nothing_left || amount > rest {", "if nothing_left {"),
        tests: Both(&[TAKEN]),
        why: "more is refunded than was bought",
    },
    Mutant {
        name: "what-has-no-amount-is-taken-back-again",
        file: REFUNDS,
        swap: Code("None => store::events::is_refunded(tx, event).await?,", "None => false,"),
        tests: Both(&[WHOLE]),
        why: "one event has two whole refunds",
    },
    Mutant {
        name: "one-unit-is-all",
        file: RELEASE,
        swap: Code("while store::rewards", "if store::rewards"),
        tests: Both(&[DUE]),
        why: "more than one unit of what is due waits for the next time",
    },
    Mutant {
        name: "one-pays-beside-another",
        file: DECISIONS,
        swap: Code("let hold = if new.act.is_payment() { Hold::Alone }", "let hold = if false { Hold::Alone }"),
        tests: Postgres(&["rewards::races::two_nodes_that_pay_one_holder_pay_no_more_than_there_is"]),
        why: "of many payments at once more is paid than there is",
    },
    Mutant {
        name: "whoever-has-too-little-is-paid",
        file: DECISIONS,
        swap: Code("if new.act == RewardAct::Pay {", "if false {"),
        tests: Both(&[SHORT]),
        why: "a shortfall is never made up for",
    },
    Mutant {
        name: "approval-waives-everything",
        file: DECISIONS,
        swap: Code("RewardAct::Approve => referral.waits(),", "RewardAct::Approve => false,"),
        tests: Both(&[HELD]),
        why: "a reward of a referral that is held is released by hand",
    },
    Mutant {
        name: "denied-referrals-are-paid",
        file: DECISIONS,
        swap: Code("RewardAct::Pay => referral.is_denied(),", "RewardAct::Pay => false,"),
        tests: Both(&[DENIED]),
        why: "whoever was found out is paid in the moment before it is taken back",
    },
    Mutant {
        name: "managers-decide-about-themselves",
        file: DECISIONS,
        swap: Code("if people.contains(&manager) =>", "if people.is_empty() =>"),
        tests: Both(&[OWN]),
        why: "a manager approves the rewards that they get",
    },
    Mutant {
        name: "an-older-decision-goes-on",
        file: DECISIONS,
        swap: Code("referral.is_none_or(|referral| referral.decision_id != Some(id))", "false"),
        tests: Both(&[DENIED]),
        why: "what was approved since is taken back by the job of a denial",
    },
    Mutant {
        name: "what-is-refused-is-done",
        file: DECISIONS,
        swap: Code("RewardAct::Deny | RewardAct::Return => false,", "RewardAct::Deny | RewardAct::Return => true,"),
        tests: Both(&[TABLE_BY_HAND]),
        why: "nothing can be denied",
    },
    Mutant {
        name: "a-payout-is-paid-again",
        file: PAYOUTS,
        swap: Code("payout.state != PayoutState::Open &&", "payout.state == PayoutState::Cancelled &&"),
        tests: Both(&["rewards::payouts::what_was_settled_is_settled"]),
        why: "what was paid is cancelled, and paid in the next payout once more",
    },
    Mutant {
        name: "whoever-is-erased-is-paid",
        file: PAYOUTS,
        swap: Code("|(holder, erased)| !erased && *holder", "|(holder, _)| *holder"),
        tests: Both(&["rewards::payouts::a_payout_pays_what_each_has_and_leaves_out_whom_it_must"]),
        why: "money goes to somebody of whom nothing is known",
    },
    Mutant {
        name: "managers-pay-themselves",
        file: PAYOUTS,
        swap: Code("if !cancelled {", "if false {"),
        tests: Both(&["rewards::payouts::a_payout_pays_what_each_has_and_leaves_out_whom_it_must"]),
        why: "a manager says that they were paid",
    },
    Mutant {
        name: "payouts-take-what-is-denied",
        file: PAYOUTS,
        swap: Code("let due = free - store", "let due = free + 0 * store"),
        tests: Both(&["rewards::payouts::what_is_denied_is_in_no_payout"]),
        why: "a denied referral is paid in the moment before it is taken back",
    },
    Mutant {
        name: "a-paid-payout-is-not-told",
        file: PAYOUTS,
        swap: Code("let told = rewards.iter().map(|reward| {", "let told = rewards.iter().take(0).map(|reward| {"),
        tests: Both(&["rewards::told::whatever_becomes_of_a_reward_is_told_with_its_cause"]),
        why: "a host never hears that somebody was paid",
    },
    Mutant {
        name: "an-event-is-not-told",
        file: EVENTS,
        swap: Code("if new.tells {", "if false {"),
        tests: Both(&["rewards::told::whatever_becomes_of_a_reward_is_told_with_its_cause"]),
        why: "a host never hears that somebody earned something",
    },
    Mutant {
        name: "a-later-decision-has-an-earlier-version",
        file: "src/features/outbox/model.rs",
        swap: Code("let version = 1 + 2 * decisions;", "let version = 3;"),
        tests: Both(&["rewards::told::of_two_messages_about_a_referral_the_later_has_the_greater_version"]),
        why: "a host keeps what is out of date",
    },
    Mutant {
        name: "budgets-have-no-end",
        file: "src/features/programs/store.rs",
        swap: Sql("where budgets.spent + excluded.spent <= cast($4 as bigint)", "where cast($4 as bigint) >= 0"),
        tests: Both(&["rewards::budgets::of_many_at_once_no_budget_gives_more_than_it_has"]),
        why: "more is given than a manager has allowed",
    },
];
