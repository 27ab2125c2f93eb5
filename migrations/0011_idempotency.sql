-- The answers to writes that came with a client's key, for as long as they may be asked for again. Everything is hashed or
-- sealed under what is made of that key, which is not here, and of a secret of the installation.
create table idempotency (
    -- caller and operation
    scope_hash bytea not null constraint idempotency_pk primary key,
    -- what the request said
    fingerprint bytea not null,
    -- null within the transaction that makes it
    sealed_answer bytea,
    expires_at bigint not null
);
create index idempotency_by_end on idempotency (expires_at);
