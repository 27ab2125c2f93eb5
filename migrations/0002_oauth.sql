-- OAuth 2.0 for other programs, log-in at our own pages, and log-in by other identity providers.

-- A family may belong to a program alone, and knows when its person last proved who they are.
--[postgres
alter table token_families alter column user_id drop not null;
-- the default is for nodes that do not know the column yet
alter table token_families add column authenticated_at bigint not null default 0;
update token_families set authenticated_at = created_at;
--]
--[sqlite
create table token_families_2 (
    id uuid not null constraint token_families_pk primary key,
    handle bytea not null constraint token_families_handle_unique unique,
    user_id uuid references users (id),
    client_id text not null,
    scope text not null,
    created_at bigint not null,
    used_at bigint not null,
    expires_at bigint not null,
    counter bigint not null,
    current_hash bytea not null,
    previous_hash bytea,
    rotated_at bigint,
    salt bytea not null,
    ended_at bigint,
    authenticated_at bigint not null default 0
);
insert into token_families_2
    select id, handle, user_id, client_id, scope, created_at, used_at, expires_at, counter, current_hash, previous_hash,
           rotated_at, salt, ended_at, created_at
    from token_families;
drop table token_families;
alter table token_families_2 rename to token_families;
create index token_families_by_user on token_families (user_id);
create index token_families_by_expiry on token_families (expires_at);
create index token_families_by_end on token_families (ended_at) where ended_at is not null;
--]
create index token_families_by_client on token_families (client_id);

-- Programs that managers have let in.
create table clients (
    id uuid not null constraint clients_pk primary key,
    name text not null,
    -- of 256 random bits; public clients have none
    secret_hash bytea,
    -- redirect URIs, grants and scopes are lists with a space between
    redirect_uris text not null,
    grants text not null,
    scope text not null,
    -- EdDSA or RS256
    id_token_algorithm text not null,
    created_by uuid references users (id),
    created_at bigint not null,
    deleted_at bigint
);

-- Somebody logged in at our own pages. The cookie has 256 random bits, this table their hash.
create table browser_sessions (
    id uuid not null constraint browser_sessions_pk primary key,
    secret_hash bytea not null constraint browser_sessions_secret_unique unique,
    user_id uuid not null references users (id),
    authenticated_at bigint not null,
    used_at bigint not null,
    expires_at bigint not null,
    ended_at bigint
);
create index browser_sessions_by_user on browser_sessions (user_id);
create index browser_sessions_by_expiry on browser_sessions (expires_at);

-- What a person has allowed a program.
create table consents (
    user_id uuid not null references users (id),
    client_id text not null,
    scope text not null,
    granted_at bigint not null,
    constraint consents_pk primary key (user_id, client_id)
);
create index consents_by_client on consents (client_id);

create table authorization_codes (
    code_hash bytea not null constraint authorization_codes_pk primary key,
    client_id text not null,
    user_id uuid not null references users (id),
    -- the code is no good once this log-in has ended
    browser_session_id uuid not null references browser_sessions (id),
    redirect_uri text not null,
    scope text not null,
    -- SHA-256 of the verifier (RFC 7636)
    challenge bytea not null,
    nonce text,
    authenticated_at bigint not null,
    expires_at bigint not null,
    -- what the first use gave, to be ended by a second
    family_id uuid
);
create index authorization_codes_by_expiry on authorization_codes (expires_at);
create index authorization_codes_by_session on authorization_codes (browser_session_id);

-- Whom other identity providers call by which subject.
create table identities (
    issuer text not null,
    subject text not null,
    user_id uuid not null references users (id),
    linked_at bigint not null,
    constraint identities_pk primary key (issuer, subject)
);
create index identities_by_user on identities (user_id);

-- People on their way to another identity provider and back. A row lives ten minutes and is used once a step.
create table sign_ins (
    -- SHA-256 of the state sent to the provider, then of the ticket in our form
    ticket_hash bytea not null constraint sign_ins_pk primary key,
    provider text not null,
    -- SHA-256 of the visitor's cookie
    visitor_hash bytea not null,
    -- where to go on afterwards
    next text not null,
    -- the referral code brought along
    code text,
    -- what the provider's answer must match; null once it has
    nonce text,
    verifier text,
    -- what the provider said; null while the person is there
    issuer text,
    subject text,
    email text,
    email_verified boolean not null,
    name text,
    expires_at bigint not null
);
create index sign_ins_by_expiry on sign_ins (expires_at);

-- When the person has shown that the address is theirs.
alter table users add column email_proven_at bigint;

-- Under another name, for nodes of the older version read all keys every ten minutes and would sign with the newest,
-- whatever it is. Now they fail to, and keep the key that they have.
alter table signing_keys rename column private_key to private_half;
-- A key is published before it signs, and believed until it is retired.
alter table signing_keys add column active_from bigint not null default 0;
alter table signing_keys add column retired_at bigint;
-- the private key is encrypted under the master key
alter table signing_keys add column sealed boolean not null default false;
