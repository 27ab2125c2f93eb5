-- A confidential client that knows no PKCE can be let in, one by one. The default is for nodes that do not know the column
-- yet: they go on requiring PKCE of everybody.
alter table clients add column require_pkce boolean not null default true;
