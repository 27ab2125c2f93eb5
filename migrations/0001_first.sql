-- One text for both engines. Times are microseconds since 1970 in UTC, identifiers of people and sessions are made by
-- the service, and every constraint that the service answers for has a name.
-- Lines between "--[ENGINE" and "--]" are for that engine only; {identity} is its automatic integer key.

--[postgres
-- The clock that judges the life of codes. SQLite's twin is registered by the service on each connection.
create function referral_now() returns bigint language sql volatile
    as 'select (extract(epoch from clock_timestamp()) * 1000000)::bigint';
--]

create table users (
    id uuid not null constraint users_pk primary key,
    username text not null,
    email text not null,
    -- the forms in which they are compared, and the keys in logins
    name_key text not null,
    email_key text not null,
    password_hash text,
    created_at bigint not null,
    is_manager boolean not null,
    -- whether the active code may be looked up by e-mail
    discoverable boolean not null,
    disabled_at bigint,
    erased_at bigint,
    -- unchecked, pending, valid, accept_all, webmail, unknown, invalid, disposable
    email_verdict text not null,
    email_checked_at bigint
);

-- What a person may log in with, names and addresses alike, each in the form it is compared by: one name space, so that
-- nobody's name is another's address.
create table logins (
    login_key text not null constraint logins_pk primary key,
    user_id uuid not null references users (id)
);

-- Every code string ever issued, by the hash of its normal form. Rows are never removed: a string is used once.
create table code_strings (
    id {identity},
    code_hash bytea not null constraint code_strings_hash_unique unique,
    owner_id uuid not null references users (id),
    ordinal bigint not null
);

-- The one slot in which an owner's active code sits. Two active codes have no place to be. The row is the lock as well:
-- shared by registrations with the code, exclusive for whoever changes it.
create table code_slots (
    owner_id uuid not null constraint code_slots_pk primary key references users (id),
    -- codes made so far; the slot's code has this number
    issued bigint not null,
    -- grows with every change that a cached answer must not survive
    version bigint not null,
    code_id bigint,
    code text,
    expires_at bigint,
    constraint code_slots_whole check ((code_id is null) = (code is null) and (code_id is null) = (expires_at is null))
);

create index code_slots_by_expiry on code_slots (expires_at) where expires_at is not null;

create table codes (
    owner_id uuid not null references users (id),
    -- 1, 2, 3, … for each owner, without gaps: any page of the list is a range of it
    ordinal bigint not null,
    id bigint not null references code_strings (id),
    code text not null,
    created_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    constraint codes_pk primary key (owner_id, ordinal),
    constraint codes_life check (expires_at > created_at and (revoked_at is null or revoked_at >= created_at))
);

create table referrals (
    id {identity},
    referrer_id uuid not null references code_slots (owner_id),
    referee_id uuid not null constraint referrals_referee_unique unique references users (id),
    -- which of the referrer's codes
    code_ordinal bigint not null,
    joined_at bigint not null,
    -- pending, confirmed
    status text not null,
    constraint referrals_not_self check (referrer_id <> referee_id)
);
create index referrals_by_referrer on referrals (referrer_id, id);

-- Milestones in a referrer's list: the referral with this ordinal has this id. They make any page cost what the first
-- costs and the total a look-up plus the count of what came after the last milestone.
create table referral_marks (
    referrer_id uuid not null references code_slots (owner_id),
    ordinal bigint not null,
    referral_id bigint not null,
    constraint referral_marks_pk primary key (referrer_id, ordinal)
);

-- A log-in and all tokens that come from it.
create table token_families (
    id uuid not null constraint token_families_pk primary key,
    -- names the family in refresh tokens; unlike the id it is told to nobody but their bearer
    handle bytea not null constraint token_families_handle_unique unique,
    user_id uuid not null references users (id),
    client_id text not null,
    scope text not null,
    created_at bigint not null,
    used_at bigint not null,
    expires_at bigint not null,
    -- refreshes so far: each is one conditional step of it
    counter bigint not null,
    current_hash bytea not null,
    previous_hash bytea,
    rotated_at bigint,
    -- with the previous token, and only with it, makes the current one again
    salt bytea not null,
    ended_at bigint
);
create index token_families_by_user on token_families (user_id);
create index token_families_by_expiry on token_families (expires_at);
create index token_families_by_end on token_families (ended_at) where ended_at is not null;

create table signing_keys (
    generation bigint not null constraint signing_keys_pk primary key,
    kid text not null,
    algorithm text not null,
    private_key bytea not null,
    public_key bytea not null,
    created_at bigint not null
);

-- What every node must forget: revoked codes, ended sessions. Written in the transaction that causes it, read by every
-- node twice a second, removed when no cache and no token can be older.
create table changes (
    id {identity},
    at bigint not null,
    topic text not null,
    subject uuid not null,
    version bigint not null
);
create index changes_by_time on changes (at);

create table jobs (
    id {identity},
    kind text not null,
    subject text not null,
    created_at bigint not null,
    run_at bigint not null,
    attempts bigint not null,
    lease_until bigint,
    done_at bigint,
    outcome text
);
-- One open job of a kind for a subject: asking twice is asking once.
create unique index jobs_open on jobs (kind, subject) where done_at is null;
create index jobs_due on jobs (kind, run_at) where done_at is null;
create index jobs_done on jobs (done_at) where done_at is not null;

--[postgres
-- Wakes the nodes that listen, so that they need not wait for their next look.
create function referral_changed() returns trigger language plpgsql
    as 'begin perform pg_notify(''referral_changes'', ''''); return null; end';
create trigger changes_notify after insert on changes for each statement execute function referral_changed();
--]
