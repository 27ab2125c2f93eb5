//! What mails are sent, and what the links in them are good for.

use super::super::{Alone, Both, Code, Mutant, Postgres, Sql, Sqlite, Unit};

const STORE: &str = "src/features/mails/store.rs";
const ACTIONS: &str = "src/features/mails/actions/mod.rs";
const KEY: &str = "src/crypto/mail_key.rs";
const KEYS: &str = "src/features/mails/actions/keys.rs";
const RESET: &str = "src/features/accounts/actions/reset.rs";
const MODEL: &str = "src/features/accounts/model/mod.rs";
const ACCOUNTS: &str = "src/features/accounts/actions/mod.rs";
const CONFIRMATION: &str = "src/features/accounts/actions/confirmation.rs";
const ADDRESS: &str = "src/features/accounts/actions/address.rs";
const JOB: &str = "src/features/accounts/actions/mails.rs";
const REGISTRATION: &str = "src/features/accounts/actions/registration.rs";
const PAGES: &str = "src/features/accounts/pages.rs";
const LIMITS: &str = "src/limits.rs";
const SMTP: &str = "src/outbound/smtp.rs";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-link-acts-again",
        file: STORE,
        swap: Sql("and kind = $2 and used_at is null and expires_at > $3", "and kind = $2 and expires_at > $3"),
        tests: Both(&["mails::links::a_link_acts_once_however_many_use_it_at_once"]),
        why: "who reads a mail later takes the account",
    },
    Mutant {
        name: "a-link-is-good-for-ever",
        file: ACTIONS,
        swap: Code("mail.expires_at > app.clock.now()", "true"),
        tests: Both(&["mails::links::a_link_is_good_for_its_time_and_no_longer"]),
        why: "an old mail opens the account",
    },
    Mutant {
        name: "a-used-link-is-shown",
        file: ACTIONS,
        swap: Code("mail.kind == kind && !mail.used", "mail.kind == kind"),
        tests: Both(&["mails::reset::the_pages_lead_from_the_log_in_to_a_new_password"]),
        why: "a link that does nothing shows a form",
    },
    Mutant {
        name: "a-link-is-of-any-kind",
        file: KEY,
        swap: Code("[id.0.as_bytes(), kind.word().as_bytes()].concat()", "[id.0.as_bytes(), &b\"link\"[..]].concat()"),
        tests: Unit(&["crypto::mail_key::tests::a_token_is_of_its_mail_its_kind_and_its_key"]),
        why: "a link to confirm an address sets a password",
    },
    Mutant {
        name: "a-link-outlives-the-address",
        file: RESET,
        swap: Code("own == link.address_key", "own == link.address_key || kind == MailKind::Reset"),
        tests: Both(&["mails::links::a_link_dies_with_the_address_the_password_the_account_and_the_key"]),
        why: "who had the address before takes the account",
    },
    Mutant {
        name: "a-link-outlives-the-account",
        file: RESET,
        swap: Code("filter(|user| !user.disabled)", "filter(|_| true)"),
        tests: Both(&["mails::links::a_link_dies_with_the_address_the_password_the_account_and_the_key"]),
        why: "who was disabled sees a form",
    },
    Mutant {
        name: "former-links-go-on",
        file: RESET,
        swap: Code("mails::end_links(tx, used.user, MailKind::Reset, reset.now).await?;", "let _ = &reset.now;"),
        tests: Both(&["mails::links::a_link_dies_with_the_address_the_password_the_account_and_the_key"]),
        why: "another mail undoes the new password",
    },
    Mutant {
        name: "who-lay-in-wait-stays",
        file: RESET,
        swap: Code("identities::actions::forget(tx, used.user).await?;", "let _ = &used.user;"),
        tests: Both(&["mails::reset::who_lay_in_wait_under_an_address_is_out_when_its_owner_resets"]),
        why: "who made the account signs in by their provider",
    },
    Mutant {
        name: "consents-of-who-lay-in-wait-stay",
        file: RESET,
        swap: Code("clients::actions::consents::forget_user(tx, used.user).await?;", "let _ = &used.user;"),
        tests: Both(&["mails::reset::who_lay_in_wait_under_an_address_is_out_when_its_owner_resets"]),
        why: "a program that somebody else let in goes on",
    },
    Mutant {
        name: "the-proven-lose-their-links",
        file: RESET,
        swap: Code("if first {", "if first || used.user == reset.user {"),
        tests: Both(&["mails::reset::who_lay_in_wait_under_an_address_is_out_when_its_owner_resets"]),
        why: "a forgotten password costs every other way in",
    },
    Mutant {
        name: "nobody-is-told-of-a-new-password",
        file: RESET,
        swap: Code("mails::write(tx, news).await?;", "let _ = news;"),
        tests: Both(&["mails::reset::a_forgotten_password_is_replaced_by_a_link_and_every_session_ends"]),
        why: "who has lost the account does not hear of it",
    },
    Mutant {
        name: "any-form-uses-a-link",
        file: PAGES,
        swap: Code(
            "let Some(form) = form.verified(&browser.visitor) else {\n        let expired",
            "let Some(form) = Some(form.unverified()) else {\n        let expired",
        ),
        tests: Both(&["mails::reset::the_pages_lead_from_the_log_in_to_a_new_password"]),
        why: "a page of others' sets a password",
    },
    Mutant {
        name: "mails-without-end",
        file: LIMITS,
        swap: Code(
            "self.lets(&[(Quota::MailAddress, client.as_bytes()), (Quota::Mail, email_key.as_bytes())])",
            "self.lets(&[(Quota::MailAddress, client.as_bytes()), (Quota::Mail, format!(\"{client}{email_key}\").as_bytes())][..1])",
        ),
        tests: Both(&["mails::reset::so_many_mails_an_hour_and_more_are_promised_and_not_sent"]),
        why: "somebody's mailbox is filled by others",
    },
    Mutant {
        name: "mails-for-everybody",
        file: LIMITS,
        swap: Code(
            "let client = prefix(client).to_string();\n        self.lets(",
            "let client = email_key.to_owned();\n        self.lets(",
        ),
        tests: Both(&["mails::reset::so_many_mails_an_hour_and_more_are_promised_and_not_sent"]),
        why: "one client has mails sent to all addresses there are",
    },
    Mutant {
        name: "late-links-are-sent",
        file: ACTIONS,
        swap: Code("mail.expires_at <= app.clock.now()", "false"),
        tests: Both(&["mails::faults::a_link_that_is_good_no_more_is_not_sent"]),
        why: "people get links that do nothing",
    },
    Mutant {
        name: "what-is-refused-is-tried-again",
        file: SMTP,
        swap: Code("error.is_permanent()", "false"),
        tests: Both(&[
            "mails::faults::what_the_server_refuses_for_good_is_given_up_and_what_it_refuses_for_now_is_not",
        ]),
        why: "a server that has said no is asked for two days",
    },
    Mutant {
        name: "the-key-of-links-lies-open",
        file: KEYS,
        swap: Code("app.keyring.seals() && !stored.sealed", "false"),
        tests: Both(&["mails::links::the_key_of_links_lies_sealed_and_no_table_has_a_token"]),
        why: "a copy of the database makes links",
    },
    Mutant {
        name: "mails-are-noted-for-ever",
        file: STORE,
        swap: Sql("where expires_at < $1 order by", "where expires_at < $1 and sent_at is null order by"),
        tests: Both(&["mails::reset::what_is_noted_of_mails_goes_after_its_time"]),
        why: "who has got which mail is kept for ever",
    },
    Mutant {
        name: "a-referral-counts-unproven",
        file: MODEL,
        swap: Code("self.proof && !proven", "self.proof && !proven && false"),
        tests: Both(&["mails::confirmation::a_referral_counts_once_the_referee_has_confirmed_the_address"]),
        why: "addresses that nobody has bring rewards",
    },
    Mutant {
        name: "a-referral-counts-before-its-verdict",
        file: MODEL,
        swap: Code("!unproven && !unfit", "!unproven"),
        tests: Both(&["mails::confirmation::proof_and_verdict_are_both_waited_for_whichever_comes_first"]),
        why: "the proof makes up for a bad verdict",
    },
    Mutant {
        name: "a-proof-counts-nothing",
        file: CONFIRMATION,
        swap: Code("rules.count(proven, verdict)", "rules.count(proven, verdict) && false"),
        tests: Both(&["mails::confirmation::a_referral_counts_once_the_referee_has_confirmed_the_address"]),
        why: "referrals wait for ever",
    },
    Mutant {
        name: "the-unconfirmed-log-in",
        file: ACCOUNTS,
        swap: Code("app.config.confirms_before_log_in() && !user.email_proven", "false"),
        tests: Both(&["mails::confirmation::where_it_is_asked_for_people_log_in_once_their_address_is_confirmed"]),
        why: "whoever gives another's address gets in",
    },
    Mutant {
        name: "the-confirmed-get-further-links",
        file: JOB,
        swap: Code("request.kind == MailKind::Confirm.word() && user.email_proven", "false"),
        tests: Both(&["mails::confirmation::another_link_is_sent_to_whoever_needs_one_and_all_are_answered_alike"]),
        why: "people get mails that they do not need",
    },
    Mutant {
        name: "an-address-is-given-away",
        file: ADDRESS,
        swap: Code("store::is_login(tx, wish.email.key()).await?", "false"),
        tests: Both(&["mails::address::an_address_that_somebody_has_is_not_given_away_and_nobody_is_told"]),
        why: "strangers are asked to give their address away",
    },
    Mutant {
        name: "a-former-wish-counts",
        file: RESET,
        swap: Code("wanted.as_ref() == Some(&link.address_key)", "wanted.is_some()"),
        tests: Both(&["mails::address::an_address_that_somebody_has_is_not_given_away_and_nobody_is_told"]),
        why: "an old mail gives the account an address that nobody wants",
    },
    Mutant {
        name: "the-unconfirmed-are-told-apart",
        file: ACCOUNTS,
        swap: Code(
            "if app.config.is_quiet() { Refusal::BadCredentials } else { Refusal::EmailUnconfirmed }",
            "Refusal::EmailUnconfirmed",
        ),
        tests: Both(&["mails::quiet::whether_an_address_has_an_account_shows_nowhere_but_in_its_mailbox"]),
        why: "a log-in tells what the registration did not",
    },
    Mutant {
        name: "an-owner-is-told-without-end",
        file: REGISTRATION,
        swap: Code("app.limits.lets_mail(email.key()).await?", "app.limits.lets_mail(email.key()).await? || true"),
        tests: Both(&["mails::quiet::whoever_has_an_address_is_told_a_few_times_only"]),
        why: "a mailbox is filled by registrations",
    },
    Mutant {
        name: "who-comes-from-a-provider-is-not-told-to-confirm",
        file: ACCOUNTS,
        swap: Code("let_in(app, &user, Refusal::EmailUnconfirmed)", "let_in(app, &user, unconfirmed(app))"),
        tests: Both(&[
            "signin::first_visit::a_first_visit_where_registration_is_quiet_ends_at_the_mailbox_whosever_the_address_is",
        ]),
        why: "people who have just made an account are told that they may not come in",
    },
    Mutant {
        name: "a-quiet-registration-writes-less",
        file: REGISTRATION,
        swap: Code("mails::write(tx, mail).await?;", "if is_free { mails::write(tx, mail).await?; }"),
        tests: Alone(&[
            "mails::quiet::a_quiet_registration_asks_the_database_the_same_for_every_address_on_postgresql",
        ]),
        why: "the time of an answer tells whose address it is",
    },
    Mutant {
        name: "a-wish-outlives-a-change",
        file: "src/features/accounts/actions/profile.rs",
        swap: Code("drop_wish(tx, input.user).await?;", ""),
        tests: Both(&["mails::address::a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out"]),
        why: "who was locked out comes in again by a link of before",
    },
    Mutant {
        name: "a-wish-outlives-a-reset",
        file: RESET,
        swap: Code("drop_wish(tx, used.user).await?;", ""),
        tests: Both(&["mails::address::a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out"]),
        why: "who was locked out comes in again by a link of before",
    },
    Mutant {
        name: "a-wish-outlives-a-command",
        file: "src/features/accounts/actions/administration.rs",
        swap: Code("drop_wish(tx, new.user).await?;", ""),
        tests: Both(&["mails::address::a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out"]),
        why: "who was locked out comes in again by a link of before",
    },
    Mutant {
        name: "a-wish-outlives-a-disabling",
        file: "src/features/accounts/actions/management.rs",
        swap: Code("drop_wish(tx, act.user).await?;", ""),
        tests: Both(&["mails::address::a_wish_for_another_address_ends_when_whoever_knew_the_password_is_locked_out"]),
        why: "who was locked out comes in again by a link of before",
    },
    Mutant {
        name: "a-referral-waits-for-an-address-of-before",
        file: ADDRESS,
        swap: Code("count_referral(tx, used.user, input.rules, input.now).await?;", ""),
        tests: Both(&["mails::address::a_referral_that_waited_for_the_proof_counts_with_the_proof_of_another_address"]),
        why: "a referral never counts although the address is proven",
    },
    Mutant {
        name: "a-wish-fills-a-mailbox",
        file: ADDRESS,
        swap: Code("app.limits.lets_mail(email.key()).await?", "app.limits.lets_mail(email.key()).await? || true"),
        tests: Both(&["mails::address::a_mailbox_gets_a_few_links_only_whoever_wants_its_address"]),
        why: "strangers get mails without end",
    },
    Mutant {
        name: "a-manager-goes-with-a-name-that-was-held-sqlite",
        file: "src/features/accounts/store.rs",
        swap: Sql("and not is_manager order by held_until limit $2\",", "order by held_until limit $2\","),
        tests: Sqlite(&["mails::quiet::who_has_come_in_although_their_name_was_held_leaves_nothing_behind"]),
        why: "the operator makes a manager, who is gone an hour later",
    },
    Mutant {
        name: "a-manager-goes-with-a-name-that-was-held-postgres",
        file: "src/features/accounts/store.rs",
        swap: Sql(
            "and not is_manager order by held_until limit $2\n                   for update",
            "order by held_until limit $2\n                   for update",
        ),
        tests: Postgres(&["mails::quiet::who_has_come_in_although_their_name_was_held_leaves_nothing_behind"]),
        why: "the operator makes a manager, who is gone an hour later",
    },
    Mutant {
        name: "a-mail-to-nobody-stays-unsent",
        file: JOB,
        swap: Code("mails::pass_over(app, id).await?;", ""),
        tests: Both(&["mails::address::an_export_does_not_tell_whether_an_address_has_an_account"]),
        why: "one's own export tells whether others have an account",
    },
];
