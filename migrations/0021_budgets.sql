-- How much a program gives in each unit, as JSON. Units that are not in it have no end.
alter table programs add column budgets text not null default '{}';

-- What was given of budgets: the one row that every event changes, where there is one.
create table budgets (
    program_id uuid not null references programs (id),
    unit text not null,
    spent bigint not null,
    constraint budgets_pk primary key (program_id, unit)
);

-- Whether a budget covers it.
alter table rewards add column budgeted boolean not null default false;
