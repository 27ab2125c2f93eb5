-- What was last decided of a referral: approve, deny or hold. Null is as approved.
alter table referrals add column decision text;
-- Which decision that was.
alter table referrals add column decision_id uuid;

-- What was decided by hand: of referrals, of rewards, of balances. Rows are never removed.
create table decisions (
    id uuid not null constraint decisions_pk primary key,
    -- referral, reward, balance
    about text not null,
    -- the referee, the reward, the holder
    about_id uuid not null,
    -- the referee or the holder
    person_id uuid not null references users (id),
    -- approve, deny, hold, pay, return, credit, debit
    decision text not null,
    -- of a balance
    unit text,
    amount bigint,
    -- why, or what it is called elsewhere; null once the person is erased
    note text,
    by_kind text not null,
    by_id uuid,
    at bigint not null
);
create index decisions_by_subject on decisions (about_id, id);
create index decisions_by_person on decisions (person_id);

-- What a holder had with a row of the ledger, in each unit: balances begin at the last. A job adds them, while nobody
-- else moves anything of the holder's.
create table ledger_marks (
    holder_id uuid not null references users (id),
    -- the last row of the ledger that is in it
    upto bigint not null,
    unit text not null,
    -- numbers as texts: they may go beyond what an engine counts to
    pending text not null,
    available text not null,
    paid text not null,
    constraint ledger_marks_pk primary key (holder_id, upto, unit)
);

-- Looks at whether everything adds up.
create table ledger_checks (
    id uuid not null constraint ledger_checks_pk primary key,
    asked_at bigint not null,
    -- null until it is over
    finished_at bigint,
    rewards bigint,
    movements bigint,
    -- what was found, as JSON
    faults text
);
create index ledger_checks_by_time on ledger_checks (asked_at);
