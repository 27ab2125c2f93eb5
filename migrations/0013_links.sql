-- The name of a person's link, as they chose it or as it was drawn when it was first needed; null until then.
alter table users add column handle text;
-- When they chose it; null for one that was drawn.
alter table users add column handle_chosen_at bigint;

-- Every handle ever issued, by the hash of its normal form, with whose it is. Rows are never removed: a handle is used
-- once, and one that was drawn goes on leading to its owner when they have chosen another.
create table handle_strings (
    handle_hash bytea not null constraint handle_strings_pk primary key,
    owner_id uuid not null references users (id)
);

-- What was counted on people's links, by day (since 1970, in UTC). Each node adds what it has counted, once a second.
create table clicks_daily (
    owner_id uuid not null references users (id),
    day bigint not null,
    clicks bigint not null,
    visitors bigint not null,
    constraint clicks_daily_pk primary key (owner_id, day)
);
