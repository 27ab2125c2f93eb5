-- No time that is recorded in a slot is before one that was recorded there earlier, whatever the clock does.

-- The latest time recorded: of a code made or ended, and of referrals up to the last mark.
alter table code_slots add column recorded_at bigint not null default 0;
