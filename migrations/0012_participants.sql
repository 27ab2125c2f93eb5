-- People whom a host's app has among its own accounts. They have no password here, and perhaps no address: then email and
-- email_key are '', and logins has a row for their name alone.

-- as the host's app calls them; null once they are erased
alter table users add column external_id text;
-- SHA-256 of it: it stays when they are erased, so that nobody takes their place
alter table users add column external_hash bytea;
-- what those see whom they invite
alter table users add column display_name text;
-- a language tag (BCP 47)
alter table users add column language text;
create unique index users_external_unique on users (external_hash) where external_hash is not null;
create index users_participants on users (id) where external_id is not null;

-- Whether the service made the code, for a participant: such a code is followed by the next when it expires. The default
-- is for nodes that do not know the column yet, which make none.
alter table codes add column by_service boolean not null default false;

-- Whether what a client says of an address being proven is taken.
alter table clients add column trusts_addresses boolean not null default false;
