use std::borrow::Cow;

use super::share::{ShareWords, reward_state};
use super::{Words, civil, month, span};
use crate::kernel::mail::MailKind;
use crate::kernel::scope::Scope;
use crate::web::views::Message;
use crate::web::views::mails::MailWords;
use crate::web::views::share::Done;

pub static ENGLISH: Words = Words {
    lang: "en",

    error: "Error",
    or: "or",
    optional: "(optional)",
    username: "User name",
    username_hint: "Up to 50 letters, digits and .\u{a0}@\u{a0}+\u{a0}-\u{a0}_",
    username_or_email: "User name or e-mail",
    email: "E-mail",
    password: "Password",
    password_hint: |least| {
        let characters = if least == 1 { "character" } else { "characters" };
        format!("At least {least} {characters}. Several words in a row are easy to remember and hard to guess.")
    },
    code: "Referral code",
    code_hint: "If somebody invited you, enter the code you got from them.",
    log_in: "Log in",
    log_out: "Log out",
    create_account: "Create account",
    continue_to: ("to continue to ", ""),
    continue_with: ("Continue with ", ""),
    logged_in_as: "Logged in as",
    not_you: "Not you?",

    login_title: "Log in",
    forgot_password: "Forgot your password?",
    new_here: "New here?",

    reset_title: "Forgot your password?",
    reset_hint: "Enter the e-mail address of your account. We will send you a link to choose a new password with.",
    send_link: "Send the link",
    new_password_title: "Choose a new password",
    new_password_for: ("for the account of ", ""),
    new_password: "New password",
    new_password_hint: "Then log in with it; you are logged out everywhere else.",
    set_password: "Set the password",

    confirm_title: "Confirm your e-mail address",
    confirm_ask: ("Is ", " your address?"),
    confirm: "Yes, it is mine",

    mail: |kind| match kind {
        MailKind::Confirm => MailWords {
            subject: "Confirm your e-mail address",
            what: ("Somebody, probably you, has given this address at ", ". Is it yours?"),
            action: "Confirm the address",
            doubt: "If it was not you, there is nothing to do: without a confirmation the address counts as nobody's.",
        },
        MailKind::Reset => MailWords {
            subject: "Choose a new password",
            what: ("Somebody, probably you, wants to choose a new password at ", " for the account with this address."),
            action: "Choose a new password",
            doubt: "If it was not you, there is nothing to do: the password stays as it is.",
        },
        MailKind::PasswordChanged => MailWords {
            subject: "Your password was changed",
            what: ("The password of your account at ", " was changed, and you are logged out everywhere."),
            action: "If it was not you, choose another",
            doubt: "If it was you, there is nothing to do.",
        },
        MailKind::AddressChanged => MailWords {
            subject: "Your e-mail address was changed",
            what: (
                "The e-mail address of your account at ",
                " was changed. This mail goes to the address before and to the new one.",
            ),
            action: "Log in",
            doubt: "If it was not you, write to the people who run the service, from the address before.",
        },
        MailKind::AlreadyRegistered => MailWords {
            subject: "You have an account already",
            what: (
                "Somebody, probably you, wanted to register at ",
                " with this address. It has an account already: log in with it.",
            ),
            action: "If you do not know the password, choose another",
            doubt: "If it was not you, there is nothing to do.",
        },
        MailKind::EndpointFailing => MailWords {
            subject: "A webhook endpoint has not been reached for a day",
            what: ("For a day no message from ", " has got through to one of its webhook endpoints."),
            action: "",
            doubt: "Ask for the list of endpoints, or run `referral admin webhook list`, to see which one and why. It is \
                    tried again and, after some days without success, disabled.",
        },
        MailKind::EndpointDisabled => MailWords {
            subject: "A webhook endpoint is disabled",
            what: ("One of the webhook endpoints of ", " is told nothing any more: it failed for days, or it is gone."),
            action: "",
            doubt: "Ask for the list of endpoints, or run `referral admin webhook list`, to see which one and why. When \
                    it works again, enable it and recover what it has missed.",
        },
    },
    mail_until: |minutes| format!("The link is good for {minutes} minutes, and once."),
    mail_or_copy: "Or copy this address into your browser:",
    mail_footer: ("This mail was sent by ", " because this address was given there."),

    invited_by: ("", " invites you."),
    invited: "You have been invited.",
    invitation_ended: "This invitation has ended. You can create an account without it.",
    register_title: "Create an account",
    have_account: "Already have an account?",

    consent_title: "Access to your account",
    consent_asks: ("", " asks for access to your account"),
    consent_list: "If you allow it, the app will be able to:",
    careful: "Careful:",
    sent_back: ("Either way you will be sent back to ", "."),
    can_withdraw: "You can withdraw access at any time in your account, under “Apps with access”.",
    allow: "Allow",
    deny: "Deny",
    scope: |scope| match scope {
        Scope::Openid => "Recognise you when you log in",
        Scope::Email => "See your e-mail address",
        Scope::Profile => "See your profile: name, e-mail, who invited you and how many people you invited",
        Scope::Account => {
            "Change your account: its visibility, its password and the access of other apps; and delete the account"
        }
        Scope::CodesRead => "See your referral codes, and find other people’s codes by e-mail",
        Scope::CodesWrite => "Create and revoke your referral codes",
        Scope::ReferralsRead => "See the list of people you invited",
        Scope::Admin => "Run the referral program for you, if you are one of its managers",
        Scope::ProgramRead => "Read the data of the whole referral program",
        Scope::ProgramWrite => "Add, change and remove participants of the referral program",
    },

    finish_title: "One more step",
    first_visit: ("This is your first visit with ", "."),
    new_or_link: "Create a new account, or link the one you already have.",
    finish_new: "I am new here",
    finish_link: "I already have an account",
    link_hint: ("Log in to it once. From then on, ", " is enough."),
    link: "Link account",
    other_way: "Log in in another way",
    email_verified: ("Confirmed by ", ""),

    share: SHARE,
    account_title: "Your account",
    apps_title: "Apps with access",
    apps_intro: "You have allowed these apps to use your account. Withdraw access from those you no longer need.",
    apps_none: "No app has access to your account.",
    apps_none_hint: "Once you allow one, you will find it here.",
    since: ("Access since ", ""),
    date: |time| match civil(time) {
        Some(date) => format!("{} {} {}", date.day(), month(&MONTHS, date), date.year()),
        None => String::new(),
    },
    withdraw: "Withdraw access",
    withdraw_from: (" from ", ""),
    withdrawn: ("", " no longer has access to your account."),

    leaving_title: "Redirecting you",
    leaving_to: ("to ", ""),
    leaving_stuck: "If nothing happens, press the button.",
    leaving_on: "Continue",

    check_fields: "Please check these fields",
    wrong_credentials: "The user name or the password is not right. Please try again.",
    too_many_tries: |seconds| format!("Too many attempts. Please try again in {}.", in_words(seconds)),
    email_check_pending: "Your e-mail address is still being checked. Please try again a little later.",
    email_refused: "No mail can be delivered to your e-mail address, so this account cannot be used.",
    confirm_first: "Confirm your e-mail address first: we have sent you a mail with a link.",
    overloaded: "A lot of people are here right now. Please try again in a moment.",
    form_expired: "This form had expired, so nothing was done. Please fill it in again.",
    unavailable: "This does not work just now. Please try again shortly.",
    rule: |rule| Some(Cow::Borrowed(rule)),
    some_rule: "This value is not accepted",

    message: |message| {
        match message {
        Message::UnknownClient => (
            "This app is not known here",
            "The app that sent you is not registered with us. If you were about to log in to it, tell its makers."
                .into(),
        ),
        Message::BadRedirect => (
            "We cannot send you back",
            "The app that sent you gave an address to return to that it has not registered. For your safety we stop \
             here. Please tell the makers of the app."
                .into(),
        ),
        Message::BadRequest => (
            "We do not understand this request",
            "The app that sent you asked in a way that we cannot answer. Please tell its makers.".into(),
        ),
        Message::UnknownProvider => {
            ("There is no such way to log in", "Please go back and choose one of those on the page.".into())
        }
        Message::ProviderUnavailable(provider) => (
            "Not available",
            format!("{provider} is not available at the moment. Please try again shortly, or log in in another way.")
                .into(),
        ),
        Message::ProviderSetup(provider) => (
            "This way to log in does not work",
            format!(
                "Logging in with {provider} is not set up correctly, and trying again does not help. Please tell \
                 whoever runs this service, or log in in another way."
            )
            .into(),
        ),
        Message::ProviderAnswer(provider) => (
            "That did not work",
            format!(
                "The answer from {provider} was not what we expected, so we have not logged you in. Please try again."
            )
            .into(),
        ),
        Message::ProviderDenied(provider) => (
            "Not logged in",
            format!("{provider} has not let us know who you are: the log-in there was cancelled or refused.").into(),
        ),
        Message::Expired => (
            "This page has expired",
            "It was open for too long, or was opened in another browser. Nothing was done; please start again.".into(),
        ),
        Message::ConfirmFirst => ("Look into your mailbox", ENGLISH.confirm_first.into()),
        Message::EmailConfirmed => ("Your address is confirmed", "Now log in.".into()),
        Message::LinkExpired => (
            "This link is not good any more",
            "It was used, or it is too old. Ask for a new one, please.".into(),
        ),
        Message::LinkSent => (
            "Look into your mailbox",
            "If there is an account with this address, a mail with a link is on its way to it. The link is good for a few \
             minutes; look among the unwanted mails, too."
                .into(),
        ),
        Message::PasswordSet => ("Your password is set", "Now log in with it.".into()),
        Message::Erased => (
            "Your account is erased",
            "Your name, your address and your codes are gone. Those whom you invited keep their accounts.".into(),
        ),
        Message::LoggedOut => ("You are logged out", "See you soon!".into()),
        Message::AccessDenied => ("Access denied", "You are not allowed to do this.".into()),
        Message::EmailCheckPending => ("Almost there", ENGLISH.email_check_pending.into()),
        Message::EmailRefused => ("Your e-mail address does not work", ENGLISH.email_refused.into()),
        Message::TooManyTries(seconds) => ("Too many attempts", (ENGLISH.too_many_tries)(seconds).into()),
        Message::Overloaded => ("Just a moment", ENGLISH.overloaded.into()),
        Message::Unavailable => ("This does not work just now", "Please try again shortly.".into()),
        Message::NotFound => ("There is nothing here", "Please check the address.".into()),
        Message::UnknownLink => (
            "There is no such invitation",
            "Please check the link, or ask whoever sent it to you for it once more.".into(),
        ),
        Message::WrongMethod => (
            "This cannot be opened like that",
            "There is something at this address, but it is not made to be opened in a browser in this way.".into(),
        ),
        Message::TooLarge => ("That is too much", "What was sent is larger than we accept. Nothing was done.".into()),
        Message::AddressTooLong => ("The address is too long", "Please check the address, or start again.".into()),
        Message::Unreadable => (
            "We could not read this",
            "What was sent is not what we expect at this address, or did not arrive whole. Please go back and try again."
                .into(),
        ),
        Message::Internal => (
            "Something went wrong",
            "The fault is ours, and has been noted down. Please try again a little later.".into(),
        ),
    }
    },
    again: "Try again",
    to_home: "To my page",
    for_developers: "For developers:",
    to_docs: "API page",
    request: "Request",
};

const SHARE: ShareWords = ShareWords {
    pages: "Your pages",
    to_share: "Share",
    to_account: "Account",
    to_apps: "Apps",
    done: |done| match done {
        Done::Registered => {
            "Your account is ready, and you are logged in. If an app or a site sent you here, go back to it and log in \
             there with this account."
        }
        Done::Made => "Your new code is active.",
        Done::Revoked => "The code is revoked. Nobody can register with it any more.",
        Done::Stale => "Nothing was done: your code had changed since the page was opened. This is how it is now.",
        Done::Handle => "Your link has its new name. What it was called before leads on as well.",
        Done::Name => "Your name is saved.",
        Done::Discoverable => "Your choice is noted.",
        Done::Email => {
            "Look into the mailbox of the new address: once you open the link there, it is your address here."
        }
        Done::Unlinked => "You cannot sign in with that account any more.",
        Done::Ended => "The session has ended.",
    },
    welcome: ("Your account is ready, and you are logged in. ", " invited you."),

    title: "Invite your friends",
    link: "Your link",
    link_hint: "Send it to your friends. Whoever registers by it is counted as invited by you. It stays the same when \
                your code changes.",
    copy_hint: "Press the link to select all of it, then copy it.",
    link_idle: "Your link is ready. Switch it on: how long shall it work?",
    channels: "Share the link by",
    channel: |word| match word {
        "whatsapp" => "WhatsApp",
        "telegram" => "Telegram",
        "x" => "X",
        "sms" => "SMS",
        _ => "E-mail",
    },
    qr: "QR code of your link",
    qr_hint: "Show it to somebody beside you, or open it to print it.",

    code: "Your code",
    code_until: ("It can be used until ", ". Friends can also type it when they register."),
    code_expired: ("It ended on ", "."),
    code_revoked: "It was revoked.",
    life: "How long the code is good for",
    days: |days| match days {
        365 => "1 year".to_owned(),
        days => format!("{days} days"),
    },
    make: "Make a code",
    renew: "Replace the code",
    renew_hint: "You get a new code, and the one you have ends at once. Your link stays the same.",
    renew_now: "Replace it now",
    revoke: "Revoke the code",
    revoke_hint: "Nobody can register with it or by your link any more, until you make a new one. It cannot be taken \
                  back.",
    revoke_now: "Revoke it now",

    figures: "The last 30 days",
    figures_told: |clicks, visitors, registrations| {
        let several = |count: i64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        format!(
            "{} by {}, and {}.",
            several(clicks, "click", "clicks"),
            several(visitors, "visitor", "visitors"),
            several(registrations, "registration", "registrations")
        )
    },
    picture: "Clicks and registrations of each day",
    by_day: "Day by day",
    day: "Day",
    clicks: "Clicks",
    visitors: "Visitors",
    registrations: "Registrations",

    people: "Who came",
    people_none: "Nobody has registered by your link yet.",
    people_total: |total| match total {
        1 => "1 person has registered with your codes.".to_owned(),
        total => format!("{total} people have registered with your codes."),
    },
    counts: "Registered",
    waits: "In progress",
    latest: "The latest",
    older: "Older",

    rewards: "What it brought",
    balance: "Balance",
    rewards_hint: "What is pending becomes available after a while, unless a purchase is given back.",
    unit: "Unit",
    reward_state: |state| reward_state(state, ["Pending", "Available", "Paid", "Taken back"]),
    decimal: '.',

    who: "Who you are here",
    no_email: "none",
    since: "Registered",
    email_title: "Your e-mail address",
    email_change: "Change the address",
    email_new: "New e-mail address",
    email_hint: "We send a link to it. It is yours here once you have opened the link.",
    handle_title: "The name of your link",
    handle_now: ("Your link: ", ""),
    handle_choose: "Choose another name",
    handle: "Name of your link",
    handle_hint: "4 to 11 of the letters a to z and digits. You can choose it once; the link you have now goes on.",
    handle_set: "Take this name",
    handle_chosen: "You have chosen this name. It is chosen once, so that links you have sent go on leading to you.",
    name_title: "The name that you show",
    name: "Name",
    name_hint: "Whoever opens your link sees it. Empty: your user name.",
    name_set: "Save the name",
    found_title: "Being found by your address",
    found_yes: "Whoever knows your e-mail address can ask for your code with it.",
    found_no: "Nobody can ask for your code with your e-mail address.",
    found_set_yes: "Let others find my code",
    found_set_no: "Do not let others find my code",
    password_hint: "When you change it, you are logged out everywhere, here as well.",
    password_change: "Change the password",
    password_first: "Set a password",
    password_now: "Your present password",
    fresh_hint: "Your account has no password. If you logged in more than five minutes ago, log out and in again first.",

    sign_ins: "Sign-ins with other accounts",
    sign_ins_none: "You sign in with no account of another service.",
    sign_ins_hint: "You can log in here with these accounts of other services.",
    linked: ("since ", ""),
    unlink: "Remove",
    unlink_from: (" ", ""),
    last_manager: "Nobody else can run this program. Make somebody else a manager first.",
    last_way_in: "Without it you could not log in any more. Set a password first.",
    sessions: "Where you are logged in",
    sessions_hint: "End what you do not know, and change your password then.",
    browser: "A browser",
    own_program: "A program, with your password",
    this_browser: "This browser",
    used: ("last used on ", ""),
    end_session: "Log out",
    end_session_of: (": ", ""),
    export: "Your data",
    export_hint: "A file with all that is kept of you here: once an hour.",
    export_now: "Download the file",

    erase_title: "Erase the account",
    erase_short: "Your name, your address, your password and your codes are removed for good.",
    erase_go: "Erase the account …",
    erase_long: "Your name, your address, your password and your codes are removed for good, and your link leads nowhere. \
                 Those whom you invited keep their accounts. Nobody can undo this.",
    erase_now: "Erase my account for good",
    keep: "Keep the account",
};

fn in_words(seconds: u64) -> String {
    let (number, minutes) = span(seconds);
    let unit = if minutes { "minute" } else { "second" };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
