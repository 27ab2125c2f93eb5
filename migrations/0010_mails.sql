-- Mails that are to be sent, or were. The token of the link in one is made of its id and of the mail key: no table has
-- it.
create table mails (
    id uuid not null constraint mails_pk primary key,
    user_id uuid not null references users (id),
    -- confirm, reset, password_changed, address_changed, already_registered
    kind text not null,
    -- en, ru
    language text not null,
    -- to whom, in the form in which addresses are compared; the link is good while the address is the account's
    address_key text not null,
    created_at bigint not null,
    -- from then on the link does nothing, and a mail that was not sent is not sent any more
    expires_at bigint not null,
    used_at bigint,
    sent_at bigint,
    attempts bigint not null,
    -- sent, again, refused, expired; null before the first attempt
    outcome text
);
create index mails_by_user on mails (user_id);
create index mails_by_expiry on mails (expires_at);

-- What links are made with, and what the queue of mails is sealed with; itself sealed under the master key, as signing
-- keys are.
create table mail_key (
    -- there is one row
    one bigint not null constraint mail_key_pk primary key constraint mail_key_one check (one = 1),
    kid text not null,
    secret bytea not null,
    sealed boolean not null,
    created_at bigint not null
);
