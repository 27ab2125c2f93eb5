-- What managers set of a referral program. There is one, `default`.
create table programs (
    id uuid not null constraint programs_pk primary key,
    -- as paths name it
    slug text not null constraint programs_slug_unique unique,
    name text not null,
    -- active, paused, ended
    state text not null,
    -- the page of the host that links lead to; null for our own registration page
    landing_url text,
    -- days that codes live which the service issues
    code_days bigint not null constraint programs_code_days check (code_days > 0),
    -- whether an issued code that has expired is followed by the next
    auto_renew boolean not null,
    -- by language, as JSON; null for our own words
    share_texts text,
    created_at bigint not null
);
insert into programs (id, slug, name, state, code_days, auto_renew, created_at)
    values ({drawn_id}, 'default', 'Referral program', 'active', 365, true, referral_now());
