-- The address that a person wants instead of theirs, until it is confirmed by the link in a mail to it: as it is written,
-- and in the form in which addresses are compared.
alter table users add column new_email text;
alter table users add column new_email_key text;

-- Until when a name is held for somebody who has yet to confirm their address, where a registration tells nothing of the
-- address. Then the account is erased. Without a time it is not.
alter table users add column held_until bigint;
create index users_held on users (held_until) where held_until is not null;
