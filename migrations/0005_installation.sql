-- By this table our own database is known, and by its id an installation where it meets others: in a Redis that several
-- share. The step draws the id.
create table installation (
    -- there is one row
    one bigint not null constraint installation_pk primary key constraint installation_one check (one = 1),
    id uuid not null,
    made_at bigint not null
);
insert into installation (one, id, made_at) values (1, {drawn_id}, referral_now());
