-- What is told to others. A row is written in the transaction of its effect, while there is an endpoint or somebody reads
-- the feed; a job gives each committed row its number and makes the deliveries of it.
create table outbox (
    id uuid not null constraint outbox_pk primary key,
    type text not null,
    -- what it tells of: a referee for a referral, a user, a reward, an endpoint
    subject_id uuid not null,
    -- JSON of our ids, amounts and words: how a host calls people is looked up when it is sent
    data text not null,
    at bigint not null,
    -- null until the job has come by
    seq bigint,
    fanned_out_at bigint
);
create index outbox_unnumbered on outbox (id) where seq is null;
create unique index outbox_by_seq on outbox (seq) where seq is not null;
create index outbox_by_time on outbox (at) where seq is not null;

-- The last number. Only the jobs lock it; who writes to outbox never does.
create table outbox_head (
    one bigint not null constraint outbox_head_pk primary key constraint outbox_head_one check (one = 1),
    seq bigint not null,
    -- the last number of those that were removed for their age
    forgotten bigint not null,
    -- whether rows are written for the feed, too
    feed boolean not null
);
insert into outbox_head (one, seq, forgotten, feed) values (1, 0, 0, false);

create table webhook_endpoints (
    id uuid not null constraint webhook_endpoints_pk primary key,
    url text not null,
    -- words with a space between, or *
    types text not null,
    description text not null,
    -- enabled, disabled, removed
    state text not null,
    -- why it is disabled: failing, gone
    reason text,
    created_at bigint not null,
    disabled_at bigint,
    -- since when no delivery has gone through; null after one that has
    failing_since bigint,
    -- when managers were told of it
    warned_at bigint
);

-- What deliveries are signed with; sealed under the master key, as signing keys are. The former one of an endpoint is
-- good beside the new one until it expires.
create table webhook_secrets (
    kid text not null constraint webhook_secrets_pk primary key,
    endpoint_id uuid not null references webhook_endpoints (id),
    secret bytea not null,
    sealed boolean not null,
    created_at bigint not null,
    expires_at bigint
);
create index webhook_secrets_by_endpoint on webhook_secrets (endpoint_id);

-- A message to an endpoint. No foreign keys: a thousand a second would look up the same endpoint.
create table deliveries (
    message_id uuid not null,
    endpoint_id uuid not null,
    -- pending, delivered, failed
    state text not null,
    -- when the next attempt is due
    next_at bigint not null,
    -- while a node is at it
    lease_until bigint,
    -- in the schedule as it was begun last
    attempts bigint not null,
    -- of the last attempt: the status of the answer, or a word for why there was none
    last_status bigint,
    last_error text,
    constraint deliveries_pk primary key (message_id, endpoint_id)
);
create index deliveries_due on deliveries (endpoint_id, next_at) where state = 'pending';
create index deliveries_under_way on deliveries (endpoint_id, lease_until) where lease_until is not null;
create index deliveries_by_endpoint on deliveries (endpoint_id, message_id);

-- Each attempt, without what was answered but its status.
create table attempts (
    message_id uuid not null,
    endpoint_id uuid not null,
    at bigint not null,
    millis bigint not null,
    status bigint,
    error text,
    constraint attempts_pk primary key (message_id, endpoint_id, at)
);
create index attempts_by_time on attempts (at);
