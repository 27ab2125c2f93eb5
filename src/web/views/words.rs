//! Every text of the pages, in every language: one struct, so that no language can leave one out.

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time as CivilTime};

use super::{Message, Way};
use crate::kernel::scope::Scope;
use crate::kernel::time::Time;

/// The signs of user names; no line ends between them.
const SIGNS: &str = ".\u{a0}@\u{a0}+\u{a0}-\u{a0}_";

/// What stands before and after a name.
type Around = (&'static str, &'static str);

/// The texts of one language.
pub struct Words {
    /// As HTML calls the language.
    pub lang: &'static str,

    // On several pages.
    /// Before the title of a page that shows an error.
    pub error: &'static str,
    pub or: &'static str,
    pub optional: &'static str,
    pub username: &'static str,
    pub username_hint: &'static str,
    pub username_or_email: &'static str,
    pub email: &'static str,
    pub password: &'static str,
    /// The hint on how long a password is, from the least number of characters.
    pub password_hint: fn(usize) -> String,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub log_in: &'static str,
    pub log_out: &'static str,
    pub create_account: &'static str,
    /// Around the name of a client.
    pub continue_to: Around,
    /// Around the name of a provider.
    pub continue_with: Around,
    pub logged_in_as: &'static str,
    pub not_you: &'static str,

    // Logging in.
    pub login_title: &'static str,
    pub new_here: &'static str,

    // Registering.
    pub register_title: &'static str,
    pub have_account: &'static str,

    // Allowing a client something.
    pub consent_title: &'static str,
    /// Around the name of the client.
    pub consent_asks: Around,
    pub consent_list: &'static str,
    /// Beside what can do harm.
    pub careful: &'static str,
    /// Around the host.
    pub sent_back: Around,
    pub can_withdraw: &'static str,
    pub allow: &'static str,
    pub deny: &'static str,
    pub scope: fn(Scope) -> &'static str,

    // The first visit with a provider.
    pub finish_title: &'static str,
    /// Around the provider's name.
    pub first_visit: Around,
    pub new_or_link: &'static str,
    pub finish_new: &'static str,
    pub finish_link: &'static str,
    /// Around the provider's name.
    pub link_hint: Around,
    pub link: &'static str,
    /// Around the provider's name.
    pub email_verified: Around,

    // The clients allowed.
    pub apps_title: &'static str,
    pub apps_intro: &'static str,
    pub apps_none: &'static str,
    pub apps_none_hint: &'static str,
    /// Around the day.
    pub since: Around,
    pub date: fn(Time) -> String,
    pub withdraw: &'static str,
    /// Around the client's name, behind `withdraw`, for those who hear the page.
    pub withdraw_from: Around,
    /// Around the client's name.
    pub withdrawn: Around,

    // Errors of a form.
    pub check_fields: &'static str,
    pub wrong_credentials: &'static str,
    pub too_many_tries: fn(u64) -> String,
    pub email_check_pending: &'static str,
    pub email_refused: &'static str,
    pub overloaded: &'static str,
    pub form_expired: &'static str,
    pub unavailable: &'static str,
    /// What a rule, which speaks English, says; nothing for one that is not known.
    pub rule: fn(&str) -> Option<Cow<'_, str>>,
    pub some_rule: &'static str,

    // Pages with a message.
    /// Title and sentence.
    pub message: fn(Message<'_>) -> (&'static str, Cow<'static, str>),
    pub again: &'static str,
    pub to_apps: &'static str,
}

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
    new_here: "New here?",

    register_title: "Create an account",
    have_account: "Already have an account?",

    consent_title: "Access to your account",
    consent_asks: ("", " asks for access to your account"),
    consent_list: "If you allow it, the app will be able to:",
    careful: "Careful:",
    sent_back: ("Either way you will be sent back to ", "."),
    can_withdraw: "You can withdraw access at any time, on the page “Apps with access”.",
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
    },

    finish_title: "One more step",
    first_visit: ("This is your first visit with ", "."),
    new_or_link: "Create a new account, or link the one you already have.",
    finish_new: "I am new here",
    finish_link: "I already have an account",
    link_hint: ("Log in to it once. From then on, ", " is enough."),
    link: "Link account",
    email_verified: ("Confirmed by ", ""),

    apps_title: "Apps with access",
    apps_intro: "You have allowed these apps to use your account. Withdraw access from those you no longer need.",
    apps_none: "No app has access to your account",
    apps_none_hint: "Once you allow one, you will find it here.",
    since: ("Access since ", ""),
    date: |time| match civil(time) {
        Some(date) => format!("{} {} {}", date.day(), month(&ENGLISH_MONTHS, date), date.year()),
        None => String::new(),
    },
    withdraw: "Withdraw access",
    withdraw_from: (" from ", ""),
    withdrawn: ("", " no longer has access to your account."),

    check_fields: "Please check these fields",
    wrong_credentials: "The user name or the password is not right. Please try again.",
    too_many_tries: |seconds| format!("Too many attempts. Please try again in {}.", english_span(seconds)),
    email_check_pending: "Your e-mail address is still being checked. Please try again a little later.",
    email_refused: "No mail can be delivered to your e-mail address, so this account cannot be used.",
    overloaded: "A lot of people are here right now. Please try again in a moment.",
    form_expired: "This form had expired, so nothing was done. Please fill it in again.",
    unavailable: "This does not work just now. Please try again shortly.",
    rule: |rule| Some(Cow::Borrowed(rule)),
    some_rule: "This value is not accepted",

    message: |message| match message {
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
        Message::ProviderUnreachable(provider) => (
            "No answer",
            format!("{provider} does not answer at the moment. Please try again shortly, or log in in another way.")
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
        Message::LoggedOut => ("You are logged out", "See you soon!".into()),
        Message::AccessDenied => ("Access denied", "You are not allowed to do this.".into()),
        Message::EmailCheckPending => ("Almost there", ENGLISH.email_check_pending.into()),
        Message::EmailRefused => ("Your e-mail address does not work", ENGLISH.email_refused.into()),
        Message::TooManyTries(seconds) => ("Too many attempts", (ENGLISH.too_many_tries)(seconds).into()),
        Message::Overloaded => ("Just a moment", ENGLISH.overloaded.into()),
        Message::Unavailable => ("This does not work just now", "Please try again shortly.".into()),
        Message::NotFound => ("There is nothing here", "Please check the address.".into()),
        Message::Internal => (
            "Something went wrong",
            "The fault is ours, and has been noted down. Please try again a little later.".into(),
        ),
    },
    again: "Try again",
    to_apps: "To my apps",
};

pub static RUSSIAN: Words = Words {
    lang: "ru",

    error: "Ошибка",
    or: "или",
    optional: "(необязательно)",
    username: "Имя пользователя",
    username_hint: "До 50 букв, цифр и знаков .\u{a0}@\u{a0}+\u{a0}-\u{a0}_",
    username_or_email: "Имя пользователя или почта",
    email: "Электронная почта",
    password: "Пароль",
    password_hint: |least| {
        let characters = if least % 10 == 1 && least % 100 != 11 { "символа" } else { "символов" };
        format!("Не меньше {least} {characters}. Несколько слов подряд легко запомнить и трудно подобрать.")
    },
    code: "Реферальный код",
    code_hint: "Если вас пригласили, введите код, который вам дали.",
    log_in: "Войти",
    log_out: "Выйти",
    create_account: "Создать аккаунт",
    continue_to: ("чтобы продолжить в «", "»"),
    continue_with: ("Войти через ", ""),
    logged_in_as: "Вы вошли как",
    not_you: "Это не вы?",

    login_title: "Вход",
    new_here: "Впервые здесь?",

    register_title: "Новый аккаунт",
    have_account: "Уже есть аккаунт?",

    consent_title: "Доступ к вашему аккаунту",
    consent_asks: ("«", "» просит доступ к вашему аккаунту"),
    consent_list: "Если вы разрешите, приложение сможет:",
    careful: "Осторожно:",
    sent_back: ("В любом случае вы вернётесь на ", "."),
    can_withdraw: "Отозвать доступ можно в любой момент на странице «Приложения с доступом».",
    allow: "Разрешить",
    deny: "Отказать",
    scope: |scope| match scope {
        Scope::Openid => "Узнавать вас при входе",
        Scope::Email => "Видеть адрес вашей почты",
        Scope::Profile => "Видеть ваш профиль: имя, почту, кто вас пригласил и сколько человек пригласили вы",
        Scope::Account => "Менять ваш аккаунт: видимость, пароль, доступ других приложений — и удалить аккаунт",
        Scope::CodesRead => "Видеть ваши реферальные коды и находить коды других людей по адресу почты",
        Scope::CodesWrite => "Создавать и отзывать ваши реферальные коды",
        Scope::ReferralsRead => "Видеть список тех, кого вы пригласили",
        Scope::Admin => "Управлять реферальной программой от вашего имени, если вы её менеджер",
        Scope::ProgramRead => "Читать данные всей реферальной программы",
    },

    finish_title: "Остался один шаг",
    first_visit: ("Вы впервые входите через ", "."),
    new_or_link: "Создайте новый аккаунт или привяжите тот, что у вас уже есть.",
    finish_new: "Я здесь впервые",
    finish_link: "У меня уже есть аккаунт",
    link_hint: ("Войдите в него один раз — дальше будет достаточно ", "."),
    link: "Привязать аккаунт",
    email_verified: ("Адрес подтверждён: ", ""),

    apps_title: "Приложения с доступом",
    apps_intro: "Вы разрешили этим приложениям пользоваться вашим аккаунтом. Отзовите доступ у тех, что больше не нужны.",
    apps_none: "Ни у одного приложения нет доступа к вашему аккаунту",
    apps_none_hint: "Когда вы дадите доступ, приложение появится здесь.",
    since: ("Доступ с ", ""),
    date: |time| match civil(time) {
        Some(date) => format!("{} {} {} г.", date.day(), month(&RUSSIAN_MONTHS, date), date.year()),
        None => String::new(),
    },
    withdraw: "Отозвать доступ",
    withdraw_from: (" у «", "»"),
    withdrawn: ("У «", "» больше нет доступа к вашему аккаунту."),

    check_fields: "Проверьте, пожалуйста, эти поля",
    wrong_credentials: "Неверное имя пользователя или пароль. Попробуйте ещё раз.",
    too_many_tries: |seconds| format!("Слишком много попыток. Попробуйте снова через {}.", russian_span(seconds)),
    email_check_pending: "Мы ещё проверяем адрес вашей почты. Попробуйте, пожалуйста, немного позже.",
    email_refused: "На адрес вашей почты не доходят письма, поэтому пользоваться этим аккаунтом нельзя.",
    overloaded: "Сейчас у нас очень много посетителей. Попробуйте, пожалуйста, чуть позже.",
    form_expired: "Форма устарела, поэтому мы ничего не сделали. Заполните её, пожалуйста, ещё раз.",
    unavailable: "Сейчас это не получается. Попробуйте, пожалуйста, чуть позже.",
    rule: russian_rule,
    some_rule: "Такое значение не подходит",

    message: |message| {
        match message {
        Message::UnknownClient => (
            "Мы не знаем этого приложения",
            "Приложение, из которого вы пришли, у нас не зарегистрировано. Если вы хотели в него войти, сообщите об этом \
             его разработчикам."
                .into(),
        ),
        Message::BadRedirect => (
            "Мы не можем вернуть вас обратно",
            "Приложение, из которого вы пришли, указало адрес возврата, которого нет в его регистрации. Ради вашей \
             безопасности мы остановились здесь. Сообщите, пожалуйста, разработчикам приложения."
                .into(),
        ),
        Message::BadRequest => (
            "Мы не понимаем этот запрос",
            "Приложение, из которого вы пришли, прислало запрос, на который мы не можем ответить. Сообщите, пожалуйста, \
             его разработчикам."
                .into(),
        ),
        Message::UnknownProvider => (
            "Такого способа входа нет",
            "Вернитесь, пожалуйста, назад и выберите один из тех, что есть на странице.".into(),
        ),
        Message::ProviderUnreachable(provider) => (
            "Нет ответа",
            format!("{provider} сейчас не отвечает. Попробуйте чуть позже или войдите другим способом.").into(),
        ),
        Message::ProviderAnswer(provider) => (
            "Не получилось",
            format!("{provider} отвечает не так, как мы ожидали, поэтому мы вас не впустили. Попробуйте, пожалуйста, ещё раз.")
                .into(),
        ),
        Message::ProviderDenied(provider) => (
            "Вход не выполнен",
            format!("{provider} не сообщает нам, кто вы: вход там отменён или отклонён.").into(),
        ),
        Message::Expired => (
            "Страница устарела",
            "Она была открыта слишком долго или открыта в другом браузере. Мы ничего не сделали; начните, пожалуйста, \
             сначала."
                .into(),
        ),
        Message::LoggedOut => ("Вы вышли", "До встречи!".into()),
        Message::AccessDenied => ("Доступ закрыт", "У вас нет права это делать.".into()),
        Message::EmailCheckPending => ("Почти готово", RUSSIAN.email_check_pending.into()),
        Message::EmailRefused => ("Адрес почты не работает", RUSSIAN.email_refused.into()),
        Message::TooManyTries(seconds) => ("Слишком много попыток", (RUSSIAN.too_many_tries)(seconds).into()),
        Message::Overloaded => ("Одну минуту", RUSSIAN.overloaded.into()),
        Message::Unavailable => ("Сейчас не получается", "Попробуйте, пожалуйста, чуть позже.".into()),
        Message::NotFound => ("Здесь ничего нет", "Проверьте, пожалуйста, адрес.".into()),
        Message::Internal => (
            "Что-то пошло не так",
            "Ошибка на нашей стороне, и мы её уже записали. Попробуйте, пожалуйста, немного позже.".into(),
        ),
    }
    },
    again: "Попробовать ещё раз",
    to_apps: "К моим приложениям",
};

impl Words {
    /// What a rule says, in this language.
    pub fn rule_on(&self, rule: &str) -> String {
        let sentence = (self.rule)(rule).map_or_else(|| self.some_rule.to_owned(), Cow::into_owned);
        sentence.replace(". @ + - _", SIGNS)
    }

    /// The text of a link.
    pub fn way(&self, way: Way<'_>) -> &'static str {
        match way {
            Way::Nowhere => "",
            Way::Again(_) => self.again,
            Way::LogIn(_) => self.log_in,
            Way::Apps => self.to_apps,
        }
    }
}

fn russian_rule(rule: &str) -> Option<Cow<'_, str>> {
    let sentence = match rule {
        "Field required" => "Заполните это поле",
        "A user name cannot be empty" => "Введите имя пользователя",
        "A user name has at most 50 characters" => "Имя пользователя — не длиннее 50 символов",
        "A user name holds only letters, digits and . @ + - _" => {
            "В имени пользователя бывают только буквы, цифры и знаки . @ + - _"
        }
        "A user name that is an e-mail address must be your own address" => {
            "Если имя пользователя — адрес почты, это должен быть ваш адрес"
        }
        "Username already taken" => "Это имя уже занято",
        "An e-mail address must have an @-sign" => "В адресе почты должен быть знак @",
        "An e-mail address has at most 150 characters" => "Адрес почты — не длиннее 150 символов",
        "The domain of the e-mail address is not valid" => "Проверьте часть адреса после знака @",
        "The value is not a valid e-mail address" => "Это не похоже на адрес почты",
        "Disposable e-mail addresses are not accepted" => "Одноразовые адреса почты не подходят",
        "Email already registered" => "С этим адресом уже есть аккаунт",
        "This password is too common" => "Этот пароль слишком распространён",
        "A password must not hold your user name" => "В пароле не должно быть имени пользователя",
        "A password must not hold your e-mail address" => "В пароле не должно быть адреса почты",
        "A password must not hold the name of this service" => "В пароле не должно быть названия этого сервиса",
        "Referral code not found or expired" => "Такого кода нет, или он уже не действует",
        _ => return russian_rule_with_numbers(rule).map(Cow::Owned),
    };
    Some(Cow::Borrowed(sentence))
}

fn russian_rule_with_numbers(rule: &str) -> Option<String> {
    let numbers = rule.strip_prefix("A password has at ")?;
    if let Some(least) = numbers.strip_prefix("least ") {
        let least: u64 = least.strip_suffix(" characters")?.parse().ok()?;
        let characters = if least % 10 == 1 && least % 100 != 11 { "символа" } else { "символов" };
        return Some(format!("Пароль — не короче {least} {characters}"));
    }
    let (chars, bytes) = numbers.strip_prefix("most ")?.strip_suffix(" bytes")?.split_once(" characters and ")?;
    let (chars, bytes): (u64, u64) = (chars.parse().ok()?, bytes.parse().ok()?);
    Some(format!("Пароль — не длиннее {chars} символов и {bytes} байт"))
}

/// From two minutes on in minutes, rounded up: nobody counts 840 seconds.
fn span(seconds: u64) -> (u64, bool) {
    if seconds < 120 { (seconds.max(1), false) } else { (seconds.div_ceil(60), true) }
}

fn english_span(seconds: u64) -> String {
    let (number, minutes) = span(seconds);
    let unit = if minutes { "minute" } else { "second" };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

fn russian_span(seconds: u64) -> String {
    let (number, minutes) = span(seconds);
    let (one, few, many) = if minutes {
        ("минуту", "минуты", "минут")
    } else {
        ("секунду", "секунды", "секунд")
    };
    let unit = match (number % 10, number % 100) {
        (_, 11..=14) => many,
        (1, _) => one,
        (2..=4, _) => few,
        _ => many,
    };
    format!("{number} {unit}")
}

const ENGLISH_MONTHS: [&str; 12] = [
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
const RUSSIAN_MONTHS: [&str; 12] = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
];

fn month(names: &[&'static str; 12], date: Date) -> &'static str {
    let index = usize::try_from(date.month().saturating_sub(1)).unwrap_or_default();
    names.get(index).copied().unwrap_or_default()
}

/// The day in UTC.
fn civil(time: Time) -> Option<Date> {
    let epoch = DateTime::from_parts(Date::constant(1970, 1, 1), CivilTime::midnight());
    epoch.checked_add(SignedDuration::from_micros(time.0)).ok().map(DateTime::date)
}

#[cfg(test)]
mod tests {
    use super::super::language::Language;
    use super::super::notes::Notes;
    use super::*;
    use crate::kernel::email::Email;
    use crate::kernel::error::{Error, Refusal};
    use crate::kernel::name::Username;

    #[test]
    fn numbers_have_their_forms() {
        for (seconds, english, russian) in [
            (0, "1 second", "1 секунду"),
            (1, "1 second", "1 секунду"),
            (3, "3 seconds", "3 секунды"),
            (12, "12 seconds", "12 секунд"),
            (21, "21 seconds", "21 секунду"),
            (111, "111 seconds", "111 секунд"),
            (119, "119 seconds", "119 секунд"),
            (120, "2 minutes", "2 минуты"),
            (121, "3 minutes", "3 минуты"),
            (840, "14 minutes", "14 минут"),
            (1260, "21 minutes", "21 минуту"),
        ] {
            assert_eq!(english_span(seconds), english);
            assert_eq!(russian_span(seconds), russian);
        }
        for (least, expected) in [(8, "8 символов"), (12, "12 символов"), (21, "21 символа"), (111, "111 символов")]
        {
            assert!((RUSSIAN.password_hint)(least).contains(expected), "{least}");
            let rule = format!("A password has at least {least} characters");
            assert!(russian_rule(&rule).unwrap().contains(expected), "{least}");
        }
        assert!((ENGLISH.password_hint)(1).contains("1 character."));
    }

    #[test]
    fn days_are_written_out() {
        let day = |text| Time::parse(text).unwrap();
        assert_eq!((ENGLISH.date)(day("2026-01-01T00:00:00Z")), "1 January 2026");
        assert_eq!((RUSSIAN.date)(day("2026-12-31T23:59:59Z")), "31 декабря 2026 г.");
        assert_eq!((RUSSIAN.date)(Time(i64::MAX)), "");
    }

    /// Whatever a form of ours can be refused with has its Russian sentence.
    #[test]
    fn rules_speak_russian_too() {
        let long = "я".repeat(151);
        let names = ["", "a b", &long].map(|text| Username::parse(text).unwrap_err());
        let addresses = ["", "@", "a@b", "a@-.ru", "\"a\"@b.ru", "a b@c.ru", &long, &format!("{long}@b.ru")]
            .map(|text| Email::parse(text).unwrap_err());
        let refused = [Refusal::UsernameTaken, Refusal::EmailTaken, Refusal::CodeNotUsable].map(Refusal::sentence);
        let passwords = [
            "A password has at least 12 characters",
            "A password has at most 128 characters and 1024 bytes",
            "This password is too common",
            "A password must not hold your user name",
            "A password must not hold your e-mail address",
            "A password must not hold the name of this service",
        ];
        let others = [
            "Field required",
            "A user name that is an e-mail address must be your own address",
            "Disposable e-mail addresses are not accepted",
        ];
        for rule in [&names[..], &addresses, &refused, &passwords, &others].concat() {
            let said = RUSSIAN.rule_on(rule);
            assert_ne!(said, RUSSIAN.some_rule, "{rule}");
            assert!(said.chars().any(|c| ('а'..='я').contains(&c)), "{rule}: {said}");
            assert!(!ENGLISH.rule_on(rule).is_empty());
        }
        assert_eq!(RUSSIAN.rule_on("A rule that nobody has heard of"), RUSSIAN.some_rule);
        assert_eq!(RUSSIAN.rule_on("A password has at least many characters"), RUSSIAN.some_rule);
    }

    #[test]
    fn fields_that_are_refused_are_named() {
        for (refusal, field) in
            [(Refusal::UsernameTaken, "username"), (Refusal::EmailTaken, "email"), (Refusal::CodeNotUsable, "code")]
        {
            assert_eq!(Notes::of(&refusal.into()).on(field), Some(refusal.sentence()));
        }
        assert!(Notes::of(&Error::Internal(String::new())).is_empty());
        assert!(Notes::of(&Refusal::BadCredentials.into()).is_empty());
    }

    #[test]
    fn every_scope_is_told_in_every_language() {
        let mut told = std::collections::HashSet::new();
        for language in Language::ALL {
            for scope in Scope::ALL {
                assert!(told.insert((language.words().scope)(*scope).to_owned()), "{scope:?}");
            }
        }
    }
}
