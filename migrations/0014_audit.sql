-- Who did what with other people's things. A row is written in the transaction of the effect; a job gives it its number
-- and its hash, which covers the row before it.
create table audit (
    id uuid not null constraint audit_pk primary key,
    at bigint not null,
    actor_kind text not null,
    actor_id uuid,
    action text not null,
    subject_kind text not null,
    subject_id text,
    -- JSON of ids, numbers and words: nothing that a person is known by
    detail text not null,
    request_id uuid,
    -- by a key in audit_keys: a row that SQL has written has none that fits
    mac bytea not null,
    -- null until the job has come by
    seq bigint constraint audit_seq_unique unique,
    hash bytea
);
create index audit_unchained on audit (id) where seq is null;
create index audit_by_actor on audit (actor_id, id) where actor_id is not null;
create index audit_by_subject on audit (subject_id, id) where subject_id is not null;

-- The last row of the chain. Only the job locks it; who writes to audit never reads it.
create table audit_head (
    one bigint not null constraint audit_head_pk primary key constraint audit_head_one check (one = 1),
    seq bigint not null,
    hash bytea not null
);
--[postgres
insert into audit_head (one, seq, hash) values (1, 0, decode(repeat('00', 32), 'hex'));
--]
--[sqlite
insert into audit_head (one, seq, hash) values (1, 0, zeroblob(32));
--]

-- Who was erased, and when: what a backup that is restored brings back has to be erased again.
create table erased (
    user_id uuid not null constraint erased_pk primary key references users (id),
    at bigint not null
);
insert into erased (user_id, at) select id, erased_at from users where erased_at is not null;
create index erased_by_time on erased (at, user_id);

create index users_managers on users (id) where is_manager;
create index users_disabled on users (id) where disabled_at is not null;
create index users_erased on users (id) where erased_at is not null;
--[postgres
-- What begins with some letters is found in the order of bytes, whatever the database's own is.
create index logins_by_bytes on logins (login_key collate "C");
--]

-- What the MAC is made with; sealed under the master key, as signing keys are.
create table audit_keys (
    generation bigint not null constraint audit_keys_pk primary key,
    kid text not null,
    secret bytea not null,
    sealed boolean not null,
    created_at bigint not null
);
