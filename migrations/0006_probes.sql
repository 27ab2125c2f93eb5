-- Where each node tries whether writes succeed. No request reads or writes it.
create table probes (
    node uuid not null constraint probes_pk primary key,
    at bigint not null,
    -- something else each time
    padding bytea not null
);
