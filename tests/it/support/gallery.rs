//! Every page of log-in and consent in every state, as somebody would see it.

use axum::http::HeaderMap;
use referral::brand::Brand;
use referral::kernel::error::{Error, FieldError, Refusal};
use referral::kernel::scope::Scopes;
use referral::kernel::time::Time;
use referral::web::views::destination::Destination;
use referral::web::views::language::Language;
use referral::web::views::notes::{Alert, Notes};
use referral::web::views::share::{
    AccountPage, BalanceView, CodeView, DayView, Done, ErasePage, RefereeView, RewardView, SessionView, ShareLink,
    SharePage, SignInView,
};
use referral::web::views::words::Words;
use referral::web::views::{
    AllowedApp, Apps, AskForReset, ConfirmEmail, Consent, Finish, Invited, Leaving, Login, Message, MessagePage,
    NewPassword, NextStep, ProviderButton, RefusalPage, Register, View, render,
};

pub struct Shown {
    pub name: String,
    pub language: Language,
    /// Whether it shows an error.
    pub failed: bool,
    pub headers: HeaderMap,
    pub html: String,
}

const LONG_NAME: &str = "averyveryverylongusernameofthefiftycharactersallow";
const NEXT: &str = "/oauth/authorize?client_id=1&redirect_uri=https%3A%2F%2Fshop.example%2Fcb&scope=email+profile";
const PROVIDERS: &[ProviderButton<'_>] =
    &[ProviderButton { name: "google", label: "Google" }, ProviderButton { name: "work", label: "Keycloak" }];
/// Nobody's name, but somebody may try.
pub const HOSTILE: &str = "\u{202e}\"><script>alert('&')</script>\u{2066}\u{0}Shop";

/// Every state of every page, in one language, as (name, whether it shows an error, page).
fn states(words: &'static Words, mut show: impl FnMut(&str, bool, &dyn Fn() -> (HeaderMap, String))) {
    macro_rules! show {
        ($name:expr, $failed:expr, $page:expr) => {
            show($name, $failed, &|| rendered(&$page))
        };
    }
    let login = Login {
        words,
        csrf: "csrf",
        next: NEXT,
        client: None,
        username: "",
        code: None,
        providers: &[],
        mails: true,
        alert: None,
    };
    show!("login", false, Login { ..login });
    let asked = Login { client: Some("Bookshop"), providers: PROVIDERS, code: Some("SPRING2030AB"), ..login };
    show!("login-for-client", false, Login { ..asked });
    show!("login-hinted", false, Login { username: "olga@example.com", ..asked });
    for (name, alert) in ALERTS {
        show!(&format!("login-{name}"), true, Login { username: "olga", alert: Some(*alert), ..asked });
    }

    let none = Notes::none();
    let confirm = ConfirmEmail { words, csrf: "csrf", token: "TOKEN", email: "olga@example.com", alert: None };
    show!("confirm", false, ConfirmEmail { ..confirm });
    show!("confirm-expired", true, ConfirmEmail { alert: Some(Alert::Expired), ..confirm });
    show!("confirm-hostile", false, ConfirmEmail { email: HOSTILE, ..confirm });
    let reset = AskForReset { words, csrf: "csrf", email: "", alert: None, notes: &none };
    show!("reset", false, AskForReset { ..reset });
    let no_address = Notes::of(&Error::field("email", "value_error", "An e-mail address must have an @-sign"));
    show!("reset-wrong", true, AskForReset { email: "olga", notes: &no_address, ..reset });
    show!("reset-expired", true, AskForReset { email: "olga@example.com", alert: Some(Alert::Expired), ..reset });
    let token = "AZsoJx3jd0S3rrkB1qvA5b2sT2m0p9kQvJ4w1nZ7h3cLr8xYtUe6GdFo5iSaPqWz";
    let password = NewPassword { words, csrf: "csrf", token, user: "olga", least: 12, alert: None, notes: &none };
    show!("new-password", false, NewPassword { ..password });
    let short = Notes::of(&Error::field("password", "password", "A password has at least 12 characters"));
    show!("new-password-wrong", true, NewPassword { notes: &short, ..password });
    show!("new-password-hostile", false, NewPassword { user: HOSTILE, ..password });
    let (wrong, without) = (wrong(true), wrong(false));
    let register = Register {
        words,
        csrf: "csrf",
        next: NEXT,
        client: None,
        username: "",
        email: "",
        code: "",
        invitation: Invited::Not,
        least: 12,
        providers: &[],
        alert: None,
        notes: &none,
    };
    show!("register", false, Register { ..register });
    let asked = Register { client: Some("Bookshop"), code: "SPRING2030AB", providers: PROVIDERS, ..register };
    show!("register-for-client", false, Register { ..asked });
    let typed = Register { username: "olga ivanova", email: "olga.example.com", ..asked };
    show!("register-invited", false, Register { invitation: Invited::By("olga"), code: "SPRING2030AB", ..register });
    show!("register-invited-long", false, Register { invitation: Invited::By(LONG_NAME), ..asked });
    show!("register-hostile", false, Register { invitation: Invited::By(HOSTILE), ..asked });
    show!("register-invited-by-somebody", false, Register { invitation: Invited::BySomebody, ..register });
    show!("register-ended", false, Register { invitation: Invited::Ended, ..register });
    show!("register-wrong", true, Register { notes: &wrong, ..typed });
    show!("register-overloaded", true, Register { alert: Some(Alert::Overloaded), ..typed });

    let scopes = |text| Scopes::parse(text).expect("scopes");
    let consent = Consent {
        words,
        csrf: "csrf",
        next: NEXT,
        client: "Bookshop",
        host: "shop.example",
        user: "olga",
        scopes: scopes("openid email profile"),
    };
    show!("consent", false, Consent { ..consent });
    show!("consent-all", false, Consent { scopes: Scopes::PERSON, ..consent });
    show!("consent-none", false, Consent { scopes: Scopes::NONE, ..consent });
    let long = "The Society for the Promotion of Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamten";
    let host = "a-very-long-name-of-a-host.with.many.parts.below.a-registered-domain.example.com";
    show!("consent-long", false, Consent { client: long, host, user: LONG_NAME, ..consent });
    show!("consent-hostile", false, Consent { client: HOSTILE, host: HOSTILE, user: HOSTILE, ..consent });

    let finish = Finish {
        words,
        csrf: "csrf",
        ticket: "ticket",
        provider: "Google",
        username: "olga",
        email: "olga@example.com",
        email_verified: true,
        code: "SPRING2030AB",
        next: NEXT,
        login: "",
        alert: None,
        notes: &none,
    };
    show!("finish", false, Finish { ..finish });
    show!("finish-unverified", false, Finish { email_verified: false, code: "", ..finish });
    show!("finish-wrong", true, Finish { email_verified: false, notes: &without, ..finish });
    show!("finish-wrong-password", true, Finish { login: "olga", alert: Some(Alert::WrongCredentials), ..finish });

    let app = AllowedApp {
        client_id: "0198",
        name: "Bookshop",
        scopes: scopes("openid email"),
        since: Time::parse("2026-07-14T09:30:00Z").expect("a time"),
    };
    let second = AllowedApp { name: long, scopes: Scopes::PERSON, ..app };
    let apps = Apps { words, csrf: "csrf", user: "olga", apps: &[app, second], withdrawn: None };
    show!("apps", false, Apps { ..apps });
    show!("apps-withdrawn", false, Apps { withdrawn: Some("Coffee Club"), ..apps });
    show!("apps-none", false, Apps { apps: &[], ..apps });
    own_pages(words, &mut show);

    for (name, to) in [
        ("client", "https://shop.example/cb?code=ac_1&iss=https%3A%2F%2Freferral.example"),
        ("app", "com.example.app:/callback?code=ac_1"),
        ("on", NEXT),
    ] {
        let to = Destination::of(to).expect("a place to go");
        show!(&format!("leaving-{name}"), false, Leaving { words, to: &to });
    }

    for (name, message, next_step) in MESSAGES {
        show!(&format!("message-{name}"), false, MessagePage { words, message: *message, next_step: *next_step });
    }
    for (name, status, message) in REFUSALS {
        let request = "01980f0c-7c1e-7d3a-9a55-0f8d6f2b6d11";
        show!(
            &format!("refusal-{name}"),
            false,
            RefusalPage { words, message: *message, status: *status, code: name, request }
        );
    }
}

/// A name in letters that are written from right to left.
const ARABIC: &str = "\u{641}\u{627}\u{637}\u{645}\u{629}.\u{639}\u{644}\u{64a}";

/// The pages of somebody who is logged in.
fn own_pages(words: &'static Words, show: &mut impl FnMut(&str, bool, &dyn Fn() -> (HeaderMap, String))) {
    macro_rules! show {
        ($name:expr, $failed:expr, $page:expr) => {
            show($name, $failed, &|| rendered(&$page))
        };
    }
    let at = |text: &str| Time::parse(text).expect("a time");
    let day = |number: i64, clicks: i64, registrations: i64| DayView {
        day: (words.date)(at(&format!("2030-06-{number:02}T00:00:00Z"))),
        clicks,
        visitors: clicks / 2,
        registrations,
    };
    let quiet: Vec<DayView> = (1..=30).map(|number| day(number, 0, 0)).collect();
    let busy: Vec<DayView> = (1..=30).map(|number| day(number, number * number % 41 * 25, number % 7)).collect();
    let links: Vec<ShareLink> = ["whatsapp", "telegram", "x", "sms", "email"]
        .map(|channel| ShareLink { channel, url: "https://wa.me/?text=Join".into() })
        .into();
    let (joined_at, expires_at) = (at("2030-06-14T09:30:00Z"), at("2030-07-14T09:30:00Z"));
    let code = CodeView { code: "SPRING2030AB", expires_at, ordinal: 3, is_active: true, is_revoked: false };
    let referee = |name, counts| RefereeView { name, joined_at, counts };
    let few = [referee("ivan", true), referee(LONG_NAME, false), referee(ARABIC, true), referee(HOSTILE, true)];
    let share = SharePage {
        words,
        csrf: "csrf",
        user: "olga",
        done: None,
        inviter: None,
        alert: None,
        link: "https://referral.example/r/k3j9x2mq",
        handle: "k3j9x2mq",
        links: &links,
        code: None,
        days: &quiet,
        referees: &[],
        total: 0,
        older: None,
        is_first: true,
        balances: &[],
        rewards: &[],
    };
    show!("share-new", false, SharePage { done: Some(Done::Registered), ..share });
    show!("share-invited", false, SharePage { inviter: Some(HOSTILE), ..share });
    let full = SharePage { code: Some(code), days: &busy, referees: &few, total: 4, ..share };
    show!("share", false, SharePage { ..full });
    let balance = |unit: &str, available: &str| BalanceView {
        unit: unit.to_owned(),
        pending: "12.34".to_owned(),
        available: available.to_owned(),
        paid: "1000.00".to_owned(),
    };
    let balances = [balance("EUR", "-4.01"), balance("A_LONG_NAME_OF_P", "10000000000000.00")];
    let rewards = ["pending", "available", "paid", "denied"].map(|state| RewardView {
        amount: "12.34 EUR".to_owned(),
        state,
        granted_at: joined_at,
    });
    show!("share-rewards", false, SharePage { balances: &balances, rewards: &rewards, ..full });
    let many = vec![referee("ivan", true); 20];
    let older = SharePage { referees: &many, total: 10_000, older: Some("AAAAAAAAADI"), is_first: false, ..full };
    show!("share-many", false, SharePage { ..older });
    let long = "https://a-very-long-name-of-a-host.with.many.parts.example.com/referrals/r/abcdefghijk";
    show!("share-long", false, SharePage { user: LONG_NAME, link: long, handle: "abcdefghijk", ..full });
    show!("share-hostile", false, SharePage { user: HOSTILE, link: HOSTILE, handle: "abcd", ..full });
    show!("share-arabic", false, SharePage { user: ARABIC, ..full });
    let ended = |is_revoked| Some(CodeView { is_active: false, is_revoked, ..code });
    show!("share-expired", false, SharePage { code: ended(false), done: Some(Done::Stale), ..full });
    show!("share-revoked", false, SharePage { code: ended(true), done: Some(Done::Revoked), ..full });
    show!("share-too-many", true, SharePage { alert: Some(Alert::TooManyTries(42)), ..full });

    let none = Notes::none();
    let sign_in = |provider: &str| SignInView { id: "1".into(), provider: provider.into(), since: joined_at };
    let sign_ins = [sign_in("Google"), sign_in("https://accounts.a-very-long-name-of-a-host.example.com")];
    let session = |app: Option<&str>, is_this| SessionView {
        id: "1".into(),
        app: app.map(str::to_owned),
        used_at: joined_at,
        is_this,
    };
    let sessions = [session(None, true), session(None, false), session(Some("Bookshop"), false)];
    let account = AccountPage {
        words,
        csrf: "csrf",
        user: "olga",
        email: "olga@example.com",
        new_email: Some(""),
        since: joined_at,
        name: "Olga Őry",
        handle: "k3j9x2mq",
        handle_chosen: false,
        link: "https://referral.example/r/k3j9x2mq",
        discoverable: true,
        has_password: true,
        least: 12,
        sign_ins: &sign_ins,
        sessions: &sessions,
        done: None,
        alert: None,
        notes: &none,
    };
    show!("account", false, AccountPage { ..account });
    let done = AccountPage { done: Some(Done::Handle), handle_chosen: true, discoverable: false, ..account };
    show!("account-done", false, AccountPage { ..done });
    let bare =
        AccountPage { user: LONG_NAME, email: "", new_email: None, has_password: false, sign_ins: &[], ..account };
    show!("account-bare", true, AccountPage { alert: Some(Alert::LogInAgain), ..bare });
    let notes = Notes::of(&Refusal::HandleTaken.into())
        .with("email", "An e-mail address must have an @-sign")
        .with("current_password", Refusal::WrongPassword.sentence())
        .with("new_password", "A password has at least 12 characters");
    show!("account-wrong", true, AccountPage { notes: &notes, ..account });
    show!("account-hostile", false, AccountPage { user: HOSTILE, email: HOSTILE, link: HOSTILE, ..account });

    let erase = ErasePage { words, csrf: "csrf", user: "olga", has_password: true, alert: None, notes: &none };
    show!("erase", false, ErasePage { ..erase });
    let wrong = Notes::none().with("password", Refusal::WrongPassword.sentence());
    show!("erase-wrong", true, ErasePage { notes: &wrong, ..erase });
    show!("erase-again", true, ErasePage { has_password: false, alert: Some(Alert::LogInAgain), ..erase });
}

const ALERTS: &[(&str, Alert)] = &[
    ("wrong", Alert::WrongCredentials),
    ("again", Alert::LogInAgain),
    ("last", Alert::LastWayIn),
    ("manager", Alert::LastManager),
    ("too-many", Alert::TooManyTries(42)),
    ("pending", Alert::EmailCheckPending),
    ("refused", Alert::EmailRefused),
    ("unconfirmed", Alert::ConfirmFirst),
    ("overloaded", Alert::Overloaded),
    ("expired", Alert::Expired),
    ("unavailable", Alert::Unavailable),
];

const MESSAGES: &[(&str, Message<'_>, NextStep<'_>)] = &[
    ("unknown-client", Message::UnknownClient, NextStep::Home),
    ("bad-redirect", Message::BadRedirect, NextStep::Home),
    ("bad-request", Message::BadRequest, NextStep::Home),
    ("unknown-provider", Message::UnknownProvider, NextStep::LogIn(NEXT)),
    ("provider-unavailable", Message::ProviderUnavailable("Google"), NextStep::Again(NEXT)),
    ("provider-setup", Message::ProviderSetup("Google"), NextStep::LogIn(NEXT)),
    ("provider-answer", Message::ProviderAnswer("Google"), NextStep::Again(NEXT)),
    ("provider-denied", Message::ProviderDenied("Google"), NextStep::LogIn(NEXT)),
    ("expired", Message::Expired, NextStep::LogIn(NEXT)),
    ("confirm-first", Message::ConfirmFirst, NextStep::LogIn("/oauth/apps")),
    ("email-confirmed", Message::EmailConfirmed, NextStep::LogIn("/oauth/apps")),
    ("link-expired", Message::LinkExpired, NextStep::Reset),
    ("link-sent", Message::LinkSent, NextStep::LogIn("/share")),
    ("password-set", Message::PasswordSet, NextStep::LogIn("/share")),
    ("erased", Message::Erased, NextStep::Home),
    ("logged-out", Message::LoggedOut, NextStep::LogIn("/share")),
    ("access-denied", Message::AccessDenied, NextStep::Home),
    ("pending", Message::EmailCheckPending, NextStep::LogIn(NEXT)),
    ("refused", Message::EmailRefused, NextStep::Home),
    ("too-many", Message::TooManyTries(840), NextStep::Home),
    ("overloaded", Message::Overloaded, NextStep::Again(NEXT)),
    ("unavailable", Message::Unavailable, NextStep::Again(NEXT)),
    ("not-found", Message::NotFound, NextStep::Home),
    ("internal", Message::Internal, NextStep::Home),
];

const REFUSALS: &[(&str, u16, Message<'_>)] = &[
    ("not_found", 404, Message::NotFound),
    ("link_not_found", 404, Message::UnknownLink),
    ("method_not_allowed", 405, Message::WrongMethod),
    ("too_large", 413, Message::TooLarge),
    ("uri_too_long", 414, Message::AddressTooLong),
    ("unsupported_media_type", 415, Message::Unreadable),
    ("rate_limited", 429, Message::TooManyTries(42)),
    ("unavailable", 503, Message::Unavailable),
];

/// What the service answers to a form with nothing right in it.
fn wrong(password: bool) -> Notes {
    let field = |name, msg| FieldError::new("body", name, "value_error", msg);
    let mut errors = vec![
        field("username", "A user name holds only letters, digits and . @ + - _"),
        field("email", "An e-mail address must have an @-sign"),
    ];
    if password {
        errors.push(field("password", "A password has at least 12 characters"));
    }
    Notes::of(&Error::Invalid(errors)).with("code", Refusal::CodeNotUsable.sentence())
}

fn rendered(page: &impl View) -> (HeaderMap, String) {
    render(page, &Brand::default()).expect("a page")
}

pub fn pages() -> Vec<Shown> {
    let mut pages = Vec::new();
    for language in Language::ALL {
        states(language.words(), |name, failed, page| {
            let (headers, html) = page();
            pages.push(Shown { name: name.to_owned(), language, failed, headers, html });
        });
    }
    pages
}
