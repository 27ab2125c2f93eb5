-- Which kinds of password hashes there are, by their parameters: every log-in does the work of each of them.
--[postgres
create index users_by_hash_kind
    on users ((substr(password_hash, 1, greatest(7, strpos(password_hash, ',p='))) collate "C"))
    where password_hash is not null;
--]
--[sqlite
create index users_by_hash_kind
    on users (substr(password_hash, 1, max(7, instr(password_hash, ',p='))))
    where password_hash is not null;
--]

-- Refresh tokens carry their number and a MAC. Of a family's tokens so many do; nodes that give others do not count here.
alter table token_families add column sealed_tokens bigint not null default 0;

-- What the MAC is made with; sealed under the master key, as signing keys are.
create table refresh_keys (
    generation bigint not null constraint refresh_keys_pk primary key,
    kid text not null,
    secret bytea not null,
    sealed boolean not null,
    created_at bigint not null
);
