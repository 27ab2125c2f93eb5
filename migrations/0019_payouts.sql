-- Who is paid together, in one unit.
create table payouts (
    id uuid not null constraint payouts_pk primary key,
    program_id uuid not null references programs (id),
    unit text not null,
    -- nobody is in it with less
    min_amount bigint not null,
    -- those it is for, as a list in JSON; null for everybody
    holders text,
    -- preparing, open, paid, cancelled
    state text not null,
    -- the last holder that was looked at
    prepared_to uuid,
    created_by uuid not null references users (id),
    created_at bigint not null,
    settled_at bigint
);

-- What one holder is paid: what they had available, whatever it came of.
create table payout_lines (
    id uuid not null constraint payout_lines_pk primary key,
    payout_id uuid not null references payouts (id),
    holder_id uuid not null references users (id),
    unit text not null,
    amount bigint not null constraint payout_lines_amount check (amount > 0),
    -- open, paid, cancelled, returned
    state text not null,
    constraint payout_lines_one unique (payout_id, holder_id)
);
create index payout_lines_open on payout_lines (holder_id, unit) where state = 'open';

-- Which line of a payout has a reward, and with how much.
alter table rewards add column line_id uuid references payout_lines (id);
alter table rewards add column line_amount bigint;
create index rewards_by_line on rewards (line_id) where line_id is not null;
create index rewards_free on rewards (holder_id, unit) where state = 'available' and line_id is null;
