-- Whether a rule in force is about sign-ups: only then they are told of.
alter table programs add column sign_up_rules boolean not null default false;
