-- Of two messages about the same the later has the greater version.

-- What was done with a reward: granting it is the first.
alter table rewards add column version bigint not null default 1;

-- How often was decided about a referral.
alter table referrals add column decisions bigint not null default 0;
