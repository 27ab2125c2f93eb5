-- What a job is told beside its subject, as JSON. Null where it is told nothing, and in rows of nodes that do not know the
-- column yet.
alter table jobs add column payload text;
-- When it was given up. Then done_at is set as well: nodes that do not know the column see a job that is done, leave it
-- alone, and remove it in its time.
alter table jobs add column given_up_at bigint;
create index jobs_given_up on jobs (given_up_at) where given_up_at is not null;
