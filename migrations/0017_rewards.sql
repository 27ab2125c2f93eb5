-- Days that rewards wait until they are available, where their rule does not say it.
alter table programs add column hold_days bigint not null default 30;
-- What hosts may tell of beside purchases: words, as a list in JSON.
alter table programs add column event_types text not null default '[]';

-- What managers have set that people get for what happens. A version is never changed; the last one is in force.
create table program_rules (
    program_id uuid not null references programs (id),
    version bigint not null,
    -- a list of rules, as JSON
    rules text not null,
    created_at bigint not null,
    created_by uuid not null references users (id),
    constraint program_rules_pk primary key (program_id, version)
);

-- What happened at a host's, each once for ever. Rows are never removed.
create table events (
    id uuid not null constraint events_pk primary key,
    program_id uuid not null references programs (id),
    -- purchase, or a word of the program's own
    type text not null,
    -- as the host calls it
    external_id text not null,
    referee_id uuid not null references users (id),
    -- in the smallest part of the unit; null where it is about no amount
    amount bigint constraint events_amount check (amount >= 0),
    unit text,
    occurred_at bigint not null,
    received_at bigint not null,
    -- JSON, as they were sent; null once the referee is erased
    properties text,
    -- which rules judged it; 0 where there were none
    rules_version bigint not null,
    -- the rules about such events that gave nothing, with the reason of each, as JSON
    skipped text not null,
    -- a MAC of the fields as they were sent, which erasure keeps
    said bytea not null,
    constraint events_amount_and_unit check ((amount is null) = (unit is null)),
    constraint events_once unique (program_id, type, external_id)
);
create index events_by_referee on events (referee_id, id);
create index events_by_type on events (type, id);

-- What was taken back of events, in parts or whole.
create table refunds (
    id uuid not null constraint refunds_pk primary key,
    event_id uuid not null references events (id),
    -- as the host calls it
    external_id text not null,
    -- 0 where the event is about no amount
    amount bigint not null constraint refunds_amount check (amount >= 0),
    -- of the event, with this one
    refunded_total bigint not null,
    -- refund, chargeback, mistake
    reason text not null,
    said bytea not null,
    created_at bigint not null,
    constraint refunds_once unique (event_id, external_id)
);

-- What one person gets for one event by one rule.
create table rewards (
    id uuid not null constraint rewards_pk primary key,
    event_id uuid not null references events (id),
    referee_id uuid not null references users (id),
    holder_id uuid not null references users (id),
    -- referrer, referee
    side text not null,
    rule_key text not null,
    rule_version bigint not null,
    unit text not null,
    amount bigint not null constraint rewards_amount check (amount > 0),
    -- how much of it was taken back
    reversed bigint not null,
    paid_amount bigint not null,
    -- pending, available, paid, denied, reversed
    state text not null,
    granted_at bigint not null,
    -- not before
    available_at bigint not null,
    -- whether it waits until the referral is confirmed, too
    waits boolean not null,
    -- of a rule that pays once for a referee: their id, the rule and the side. Of any number of events one takes it
    once_key text constraint rewards_once unique,
    constraint rewards_reversed check (reversed between 0 and amount),
    constraint rewards_one unique (event_id, side, rule_key)
);
create index rewards_by_holder on rewards (holder_id, id);
create index rewards_by_rule on rewards (holder_id, rule_key, granted_at);
create index rewards_by_referee on rewards (referee_id, id);
create index rewards_by_state on rewards (state, id);
create index rewards_due on rewards (available_at, id) where state = 'pending' and not waits;

-- Every movement. The kind tells the account that it comes from and the one that it goes to, so that one row is both
-- sides. Rows are neither changed nor removed.
create table ledger (
    id {identity},
    holder_id uuid not null references users (id),
    program_id uuid not null references programs (id),
    unit text not null,
    -- grant, release, deny, pay, return, reverse, credit, debit
    kind text not null,
    amount bigint not null constraint ledger_amount check (amount > 0),
    -- null for what is about no single reward
    reward_id uuid references rewards (id),
    -- what it comes of: an event, a refund, a decision
    cause_id uuid not null,
    at bigint not null,
    constraint ledger_once unique (reward_id, kind, cause_id)
);
create unique index ledger_once_without_reward on ledger (kind, cause_id) where reward_id is null;
create index ledger_by_holder on ledger (holder_id, id);

-- The row that whoever moves something of a holder's locks first.
create table accounts (
    holder_id uuid not null constraint accounts_pk primary key references users (id)
);
