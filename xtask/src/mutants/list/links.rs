//! Links: handles, where they lead, what counts as a click.

use super::super::{Alone, Both, Code, Mutant, Sql, Unit};

const KERNEL: &str = "src/kernel/handle.rs";
const HANDLES: &str = "src/features/accounts/actions/handles.rs";
const PAGES: &str = "src/features/links/pages.rs";
const STORE: &str = "src/features/links/store.rs";
const CLICKS: &str = "src/clicks.rs";
const COUNTING: &str = "src/features/links/actions/clicks.rs";
const CRAWLERS: &str = "src/features/links/model/crawlers.rs";
const DESTINATION: &str = "src/features/links/model/destination.rs";
const ACTIONS: &str = "src/features/links/actions/mod.rs";
const CODES: &str = "src/features/codes/actions.rs";
const CODES_STORE: &str = "src/features/codes/store.rs";
const ISSUED: &str = "src/features/codes/actions/issued.rs";
const SHARE: &str = "src/features/links/model/share.rs";
const SIGNIN: &str = "src/features/signin/pages.rs";

const PATH: &[&str] = &["features::links::model::destination::tests::what_could_be_read_as_another_host_is_no_path"];
const BOUNDS: &[&str] = &["clicks::tests::memory_is_bounded_and_what_is_lost_is_counted"];

const RENEWAL: &str = "links::renewal::of_many_who_come_by_a_handle_at_once_one_renews_and_all_are_brought";
const LEADS: &str = "links::renewal::a_link_leads_to_a_registration_that_renews_and_then_to_the_new_code";
const NO_RENEWAL: &str = "links::renewal::nothing_renews_what_was_ended_or_made_by_a_person_or_is_kept_out";

pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a-handle-renews-nothing",
        file: CODES,
        swap: Code("renewal.filter(|_| owner.is_due)", "renewal.filter(|_| false)"),
        tests: Both(&[RENEWAL]),
        why: "between the end of a code and the sweep a link brings nobody",
    },
    Mutant {
        name: "each-renews",
        file: ISSUED,
        swap: Code("return Ok(Some(HeldCode { owner, ordinal: slot.issued, now: slot.now }));", ""),
        tests: Alone(&["links::renewal::who_waited_for_a_renewal_is_brought_by_it"]),
        why: "of many at once only one is let in, and the others are told that the code is no good",
    },
    Mutant {
        name: "what-was-due-before-the-lock-renews",
        file: ISSUED,
        swap: Code("!is_due", "false"),
        tests: Alone(&["links::renewal::what_ends_a_code_while_a_registration_waits_renews_nothing"]),
        why: "a code that is revoked while a registration waits for it is followed by another",
    },
    Mutant {
        name: "handles-renew-against-the-managers",
        file: ISSUED,
        swap: Code("!program.auto_renew", "false"),
        tests: Both(&[NO_RENEWAL]),
        why: "codes renew where managers want none to",
    },
    Mutant {
        name: "what-was-revoked-is-due",
        file: CODES_STORE,
        swap: Sql("c.revoked_at is null and u.", "c.ordinal > 0 and u."),
        tests: Both(&[NO_RENEWAL]),
        why: "a code that has leaked and was revoked is followed by another",
    },
    Mutant {
        name: "what-a-person-made-is-due",
        file: CODES_STORE,
        swap: Sql("coalesce(c.by_service and", "coalesce(c.ordinal > 0 and"),
        tests: Both(&[NO_RENEWAL]),
        why: "a code that a person made comes back under another name",
    },
    Mutant {
        name: "who-is-kept-out-is-due",
        file: CODES_STORE,
        swap: Sql(
            "disabled_at is null\n                                   and u.erased_at is null and (s",
            "erased_at is null and (s",
        ),
        tests: Both(&[NO_RENEWAL]),
        why: "who is kept out goes on bringing people",
    },
    Mutant {
        name: "what-was-swept-is-not-due",
        file: CODES_STORE,
        swap: Sql(".code_id is null or s.expires_at <= referral_now()", ".expires_at <= referral_now()"),
        tests: Both(&[NO_RENEWAL]),
        why: "whose code was swept while the managers wanted no renewal brings nobody ever again",
    },
    Mutant {
        name: "links-that-never-renew",
        file: STORE,
        swap: Sql("coalesce(c.by_service and c", "coalesce(not c.by_service and c"),
        tests: Both(&[LEADS]),
        why: "a friend is told that the invitation has ended, and it has not",
    },
    Mutant {
        name: "links-of-revoked-codes-lead-on",
        file: STORE,
        swap: Sql(".revoked_at is null, false)", ".ordinal > 0, false)"),
        tests: Both(&[NO_RENEWAL]),
        why: "a friend fills in a form that brings nobody",
    },
    Mutant {
        name: "links-lead-to-renewals-against-the-managers",
        file: PAGES,
        swap: Code("program.auto_renew", "true"),
        tests: Both(&[NO_RENEWAL]),
        why: "the same, where managers want no renewal",
    },
    Mutant {
        name: "a-handle-that-renews-is-no-good",
        file: CODES,
        swap: Code("renews.then_some(ValidCode { owner_name: owner.name, expires_at: None })", "None"),
        tests: Both(&[LEADS]),
        why: "a page that asks first turns friends away who would be brought",
    },
    Mutant {
        name: "a-text-that-lacks-a-name",
        file: SHARE,
        swap: Code("!name.is_empty() || !template.contains(\"{name}\")", "!name.is_empty() || template.contains('{')"),
        tests: Unit(&["features::links::model::share::tests::each_channel_opens_with_the_text"]),
        why: "people share a text that begins with nothing where their name should be",
    },
    Mutant {
        name: "nobody-invites",
        file: ACTIONS,
        swap: Code("name.is_empty()", "false"),
        tests: Both(&["links::pages::friends_of_a_participant_see_the_name_that_the_host_tells"]),
        why: "a page says that nobody invites, with a blank for a name",
    },
    Mutant {
        name: "any-handle-is-good",
        file: CODES,
        swap: Code(
            "store::find_handle(&app.db, key).await?.filter(|owner| owner.is_due)",
            "store::find_handle(&app.db, key).await?",
        ),
        tests: Both(&[NO_RENEWAL]),
        why: "a page that asks first shows an inviter who brings nobody",
    },
    Mutant {
        name: "handles-in-any-words",
        file: KERNEL,
        swap: Code("is_unfit(&handle.0)", "false"),
        tests: Both(&["links::handles::what_breaks_the_rule_for_handles_is_refused"]),
        why: "links are called by the service's own names, or rudely",
    },
    Mutant {
        name: "a-handle-for-each-who-draws",
        file: HANDLES,
        swap: Code("return Ok(handle);", ""),
        tests: Both(&["links::handles::a_handle_is_drawn_when_it_is_first_needed_and_stays"]),
        why: "of two who need a handle at once one is told a handle that is replaced",
    },
    Mutant {
        name: "a-handle-chosen-twice",
        file: HANDLES,
        swap: Code("return Err(Refusal::HandleChosen.into());", ""),
        tests: Both(&["links::handles::a_handle_is_chosen_once_and_what_was_drawn_leads_on"]),
        why: "a person takes one handle after the other",
    },
    Mutant {
        name: "a-handle-of-ones-own-is-taken",
        file: HANDLES,
        swap: Code("had.key() == handle.key()", "false"),
        tests: Both(&["links::handles::a_handle_is_chosen_once_and_what_was_drawn_leads_on"]),
        why: "whoever says again what they have is told that it is taken",
    },
    Mutant {
        name: "somebody-elses-handle",
        file: HANDLES,
        swap: Code("!codes::actions::claim_handle(tx, handle.key(), user).await?", "false"),
        tests: Both(&["links::handles::of_many_who_choose_one_handle_one_gets_it"]),
        why: "two people have one handle",
    },
    Mutant {
        name: "links-of-who-is-kept-out",
        file: STORE,
        swap: Code("row.get(5)?", "false"),
        tests: Both(&["links::opening::a_person_without_a_code_or_kept_out_invites_nobody"]),
        why: "the link and the picture of somebody erased go on",
    },
    Mutant {
        name: "any-code-leads-to-the-active-one",
        file: STORE,
        swap: Sql(
            "coalesce(s.code_id = c.id and s.expires_at > referral_now(), false)",
            "coalesce(s.expires_at > referral_now(), false)",
        ),
        tests: Both(&["links::opening::a_link_leads_to_the_active_code_or_says_that_the_invitation_has_ended"]),
        why: "a code that was revoked leads on as another",
    },
    Mutant {
        name: "a-target-for-ever",
        file: STORE,
        swap: Code(
            "ends.filter(|_| matches!(leads, Leads::Code(_))).unwrap_or(i64::MAX)",
            "ends.map_or(i64::MAX, |_| i64::MAX)",
        ),
        tests: Both(&["links::opening::a_link_leads_to_the_active_code_or_says_that_the_invitation_has_ended"]),
        why: "a node leads to a code that has expired",
    },
    Mutant {
        name: "to-with-two-slashes",
        file: DESTINATION,
        swap: Code("!path.contains(\"//\")", "true"),
        tests: Unit(PATH),
        why: "the landing page's router is led to another host",
    },
    Mutant {
        name: "to-with-odd-characters",
        file: DESTINATION,
        swap: Code("!path.contains(odd)", "true"),
        tests: Unit(PATH),
        why: "a backslash is a slash for browsers",
    },
    Mutant {
        name: "to-with-hidden-slashes",
        file: DESTINATION,
        swap: Code("!hidden", "true"),
        tests: Unit(PATH),
        why: "what is decoded later is another path",
    },
    Mutant {
        name: "to-that-climbs",
        file: DESTINATION,
        swap: Code("!climbs", "true"),
        tests: Unit(PATH),
        why: "dots lead out of the path",
    },
    Mutant {
        name: "to-as-an-address",
        file: DESTINATION,
        swap: Code("path.starts_with('/')", "true"),
        tests: Unit(&["features::links::model::destination::tests::a_path_leads_to_another_page_of_the_same_origin"]),
        why: "what is no path is taken for one",
    },
    Mutant {
        name: "a-head-counts",
        file: PAGES,
        swap: Code("method == Method::GET && opening.is_by_a_person()", "opening.is_by_a_person()"),
        tests: Both(&["links::counting::what_no_person_has_opened_does_not_count"]),
        why: "previews that ask for the head count",
    },
    Mutant {
        name: "crawlers-count",
        file: COUNTING,
        swap: Code("!is_crawler(self.agent)", "true"),
        tests: Both(&["links::counting::no_crawler_counts_and_every_browser_counts_one"]),
        why: "crawlers count as people",
    },
    Mutant {
        name: "agents-without-a-name-count",
        file: CRAWLERS,
        swap: Code("agent.trim().is_empty()", "false"),
        tests: Unit(&["features::links::model::crawlers::tests::previews_of_messengers_and_tools_are_no_people"]),
        why: "whoever says nothing counts",
    },
    Mutant {
        name: "prefetches-count",
        file: COUNTING,
        swap: Code("self.purposes.iter().any(|purpose| is_prefetch(purpose))", "false"),
        tests: Both(&["links::counting::what_no_person_has_opened_does_not_count"]),
        why: "a page that a browser fetches by itself counts",
    },
    Mutant {
        name: "every-click-counts",
        file: CLICKS,
        swap: Code("now.since(*last) < AGAIN", "false"),
        tests: Both(&["links::counting::a_browser_counts_once_an_hour_on_each_node"]),
        why: "who opens a link over and over counts each time",
    },
    Mutant {
        name: "clicks-without-bounds",
        file: CLICKS,
        swap: Code("!first || state.browsers.len() < self.most.browsers", "true"),
        tests: Unit(BOUNDS),
        why: "many browsers fill the memory",
    },
    Mutant {
        name: "unwritten-clicks-are-lost",
        file: COUNTING,
        swap: Code("app.clicks.put_back(kept);", "drop(kept);"),
        tests: Both(&["links::counting::what_cannot_be_written_is_written_later"]),
        why: "a database that fails for a moment loses clicks",
    },
    Mutant {
        name: "a-picture-of-who-is-gone",
        file: ACTIONS,
        swap: Code("target.is_none_or(|target| target.leads == Leads::Gone)", "target.is_none()"),
        tests: Both(&["links::handles::an_erased_persons_handle_is_gone_and_is_nobody_elses"]),
        why: "the picture of an erased person's link is made for ever",
    },
    Mutant {
        name: "codes-tried-on-the-page",
        file: SIGNIN,
        swap: Code("app.limits.validate_from(browser.address).await.is_err()", "false"),
        tests: Both(&["links::pages::whoever_tries_codes_on_the_page_learns_nothing_beyond_the_limit"]),
        why: "codes are tried without a limit",
    },
    Mutant {
        name: "the-cookie-of-the-first-is-replaced",
        file: PAGES,
        swap: Code("(settings.keeps_first() && has_kept(app, headers).await?)", "false"),
        tests: Both(&["links::opening::the_cookie_is_the_operators_choice_and_keeps_the_last_code_or_the_first"]),
        why: "the last link takes what the first has earned",
    },
    Mutant {
        name: "a-cookie-that-has-ended-stays",
        file: PAGES,
        swap: Code("Ok(invitation(&target.leads, renews, &name).is_some())", "Ok(true)"),
        tests: Both(&["links::opening::the_cookie_is_the_operators_choice_and_keeps_the_last_code_or_the_first"]),
        why: "a dead code keeps out everybody who invites later",
    },
    Mutant {
        name: "a-prefetch-gets-the-cookie",
        file: PAGES,
        swap: Code("invitation.filter(|_| is_opened)", "invitation"),
        tests: Both(&["links::opening::the_cookie_is_the_operators_choice_and_keeps_the_last_code_or_the_first"]),
        why: "what a browser fetches by itself takes what the opened link has earned",
    },
];
