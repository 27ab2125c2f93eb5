use std::borrow::Cow;

use super::share::{ShareWords, reward_state};
use super::{Words, civil, month, russian_mails, span};
use crate::kernel::scope::Scope;
use crate::web::views::Message;
use crate::web::views::share::Done;

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
    forgot_password: "Забыли пароль?",
    new_here: "Впервые здесь?",

    reset_title: "Забыли пароль?",
    reset_hint: "Введите адрес почты вашего аккаунта. Мы пришлём ссылку, по которой можно выбрать новый пароль.",
    send_link: "Прислать ссылку",
    new_password_title: "Новый пароль",
    new_password_for: ("для аккаунта ", ""),
    new_password: "Новый пароль",
    new_password_hint: "Затем войдите с ним: во всех остальных местах вы выйдете из аккаунта.",
    set_password: "Сохранить пароль",

    confirm_title: "Подтвердите адрес почты",
    confirm_ask: ("Это ваш адрес: ", "?"),
    confirm: "Да, мой",

    mail: russian_mails::mail,
    mail_until: |minutes| format!("Ссылка действует {}, и только один раз.", in_words(minutes * 60)),
    mail_or_copy: "Или скопируйте этот адрес в браузер:",
    mail_footer: ("Это письмо отправил сервис ", ", потому что там указан этот адрес."),

    invited_by: ("Вас приглашает ", "."),
    invited: "Вас пригласили.",
    invitation_ended: "Это приглашение больше не действует. Аккаунт можно создать и без него.",
    register_title: "Новый аккаунт",
    have_account: "Уже есть аккаунт?",

    consent_title: "Доступ к\u{a0}вашему аккаунту",
    consent_asks: ("«", "» просит доступ к\u{a0}вашему аккаунту"),
    consent_list: "Если вы разрешите, приложение сможет:",
    careful: "Осторожно:",
    sent_back: ("В любом случае вы вернётесь на ", "."),
    can_withdraw: "Отозвать доступ можно в любой момент в вашем аккаунте, в разделе «Приложения с доступом».",
    allow: "Разрешить",
    deny: "Отказать",
    scope: |scope| match scope {
        Scope::Openid => "Узнавать вас при входе",
        Scope::Email => "Видеть адрес вашей почты",
        Scope::Profile => "Видеть ваш профиль: имя, почту, кто вас пригласил и сколько человек пригласили вы",
        Scope::Account => "Менять ваш аккаунт: видимость, пароль, доступ других приложений\u{a0}— и удалить аккаунт",
        Scope::CodesRead => "Видеть ваши реферальные коды и находить коды других людей по адресу почты",
        Scope::CodesWrite => "Создавать и отзывать ваши реферальные коды",
        Scope::ReferralsRead => "Видеть список тех, кого вы пригласили",
        Scope::Admin => "Управлять реферальной программой от вашего имени, если вы её менеджер",
        Scope::ProgramRead => "Читать данные всей реферальной программы",
        Scope::ProgramWrite => "Добавлять, менять и удалять участников реферальной программы",
    },

    finish_title: "Остался один шаг",
    first_visit: ("Вы впервые входите через ", "."),
    new_or_link: "Создайте новый аккаунт или привяжите тот, что у вас уже есть.",
    finish_new: "Я здесь впервые",
    finish_link: "У меня уже есть аккаунт",
    link_hint: ("Войдите в него один раз — дальше будет достаточно ", "."),
    link: "Привязать аккаунт",
    other_way: "Войти другим способом",
    email_verified: ("Адрес подтверждён: ", ""),

    share: SHARE,
    account_title: "Ваш аккаунт",
    apps_title: "Приложения с доступом",
    apps_intro: "Вы разрешили этим приложениям пользоваться вашим аккаунтом. Отзовите доступ у тех, что больше не нужны.",
    apps_none: "Ни у одного приложения нет доступа к вашему аккаунту.",
    apps_none_hint: "Когда вы дадите доступ, приложение появится здесь.",
    since: ("Доступ с ", ""),
    date: |time| match civil(time) {
        Some(date) => format!("{} {} {} г.", date.day(), month(&MONTHS, date), date.year()),
        None => String::new(),
    },
    withdraw: "Отозвать доступ",
    withdraw_from: (" у «", "»"),
    withdrawn: ("У «", "» больше нет доступа к вашему аккаунту."),

    leaving_title: "Перенаправляем вас",
    leaving_to: ("на ", ""),
    leaving_stuck: "Если ничего не происходит, нажмите кнопку.",
    leaving_on: "Продолжить",

    check_fields: "Проверьте, пожалуйста, эти поля",
    wrong_credentials: "Неверное имя пользователя или пароль. Попробуйте ещё раз.",
    too_many_tries: |seconds| format!("Слишком много попыток. Попробуйте снова через {}.", in_words(seconds)),
    email_check_pending: "Мы ещё проверяем адрес вашей почты. Попробуйте, пожалуйста, немного позже.",
    email_refused: "На адрес вашей почты не доходят письма, поэтому пользоваться этим аккаунтом нельзя.",
    confirm_first: "Сначала подтвердите адрес почты: мы отправили вам письмо со ссылкой.",
    overloaded: "Сейчас у нас очень много посетителей. Попробуйте, пожалуйста, чуть позже.",
    form_expired: "Форма устарела, поэтому мы ничего не сделали. Заполните её, пожалуйста, ещё раз.",
    unavailable: "Сейчас это не получается. Попробуйте, пожалуйста, чуть позже.",
    rule,
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
        Message::ProviderUnavailable(provider) => (
            "Сейчас не получится",
            format!("Вход через {provider} сейчас недоступен. Попробуйте чуть позже или войдите другим способом.").into(),
        ),
        Message::ProviderSetup(provider) => (
            "Этот способ входа не работает",
            format!(
                "Вход через {provider} настроен неверно, и повторная попытка не поможет. Сообщите, пожалуйста, тем, кто \
                 поддерживает этот сервис, или войдите другим способом."
            )
            .into(),
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
        Message::ConfirmFirst => ("Загляните в почту", RUSSIAN.confirm_first.into()),
        Message::EmailConfirmed => ("Адрес подтверждён", "Теперь войдите.".into()),
        Message::LinkExpired => (
            "Ссылка больше не действует",
            "Её уже использовали, или прошло слишком много времени. Запросите, пожалуйста, новую.".into(),
        ),
        Message::LinkSent => (
            "Загляните в почту",
            "Если с этим адресом есть аккаунт, мы отправили туда письмо со ссылкой. Она действует несколько минут; \
             проверьте и папку «Спам»."
                .into(),
        ),
        Message::PasswordSet => ("Пароль сохранён", "Теперь войдите с ним.".into()),
        Message::Erased => (
            "Аккаунт удалён",
            "Ваше имя, адрес и коды удалены. У тех, кого вы пригласили, аккаунты остались.".into(),
        ),
        Message::LoggedOut => ("Вы вышли", "До встречи!".into()),
        Message::AccessDenied => ("Доступ закрыт", "У вас нет права это делать.".into()),
        Message::EmailCheckPending => ("Почти готово", RUSSIAN.email_check_pending.into()),
        Message::EmailRefused => ("Адрес почты не работает", RUSSIAN.email_refused.into()),
        Message::TooManyTries(seconds) => ("Слишком много попыток", (RUSSIAN.too_many_tries)(seconds).into()),
        Message::Overloaded => ("Одну минуту", RUSSIAN.overloaded.into()),
        Message::Unavailable => ("Сейчас не получается", "Попробуйте, пожалуйста, чуть позже.".into()),
        Message::NotFound => ("Здесь ничего нет", "Проверьте, пожалуйста, адрес.".into()),
        Message::UnknownLink => (
            "Такого приглашения нет",
            "Проверьте, пожалуйста, ссылку или попросите прислать её ещё раз.".into(),
        ),
        Message::WrongMethod => (
            "Так это не открыть",
            "По этому адресу что-то есть, но открывать его в браузере таким способом нельзя.".into(),
        ),
        Message::TooLarge => ("Слишком много данных", "Столько мы не принимаем. Мы ничего не сделали.".into()),
        Message::AddressTooLong => (
            "Слишком длинный адрес",
            "Проверьте, пожалуйста, адрес или начните сначала.".into(),
        ),
        Message::Unreadable => (
            "Мы не смогли это прочитать",
            "По этому адресу мы ждём другого, или данные дошли не полностью. Вернитесь, пожалуйста, назад и попробуйте \
             ещё раз."
                .into(),
        ),
        Message::Internal => (
            "Что-то пошло не так",
            "Ошибка на нашей стороне, и мы её уже записали. Попробуйте, пожалуйста, немного позже.".into(),
        ),
    }
    },
    again: "Попробовать ещё раз",
    to_home: "На мою страницу",
    for_developers: "Для разработчиков:",
    to_docs: "страница API",
    request: "Запрос",
};

const SHARE: ShareWords = ShareWords {
    pages: "Ваши страницы",
    to_share: "Пригласить",
    to_account: "Аккаунт",
    to_apps: "Приложения",
    done: |done| match done {
        Done::Registered => {
            "Аккаунт создан, и вы уже вошли. Если вы пришли из приложения или с сайта, вернитесь туда и войдите с этим \
             аккаунтом."
        }
        Done::Made => "Новый код действует.",
        Done::Revoked => "Код отозван. Зарегистрироваться с ним больше нельзя.",
        Done::Stale => "Ничего не изменено: код стал другим, пока страница была открыта. Вот что есть сейчас.",
        Done::Handle => "У вашей ссылки новое имя. Прежняя ссылка тоже работает.",
        Done::Name => "Ваше имя сохранено.",
        Done::Discoverable => "Ваш выбор сохранён.",
        Done::Email => "Загляните в почту нового адреса: когда откроете ссылку из письма, он станет вашим и здесь.",
        Done::Unlinked => "С тем аккаунтом больше нельзя войти сюда.",
        Done::Ended => "Сеанс завершён.",
    },
    welcome: ("Аккаунт создан, и вы уже вошли. Кто вас пригласил: ", "."),

    title: "Пригласите друзей",
    link: "Ваша ссылка",
    link_hint: "Отправьте её друзьям. Кто зарегистрируется по ней, будет считаться приглашённым вами. Ссылка остаётся \
                прежней, даже когда код меняется.",
    copy_hint: "Нажмите на ссылку, чтобы выделить её целиком, и скопируйте.",
    link_idle: "Ваша ссылка готова. Включите её: сколько ей действовать?",
    channels: "Отправить ссылку",
    channel: |word| match word {
        "whatsapp" => "WhatsApp",
        "telegram" => "Telegram",
        "x" => "X",
        "sms" => "SMS",
        _ => "Почта",
    },
    qr: "QR-код вашей ссылки",
    qr_hint: "Покажите его тому, кто рядом, или откройте, чтобы напечатать.",

    code: "Ваш код",
    code_until: ("Он действует до ", " Друзья могут и ввести его при регистрации."),
    code_expired: ("Он закончился ", ""),
    code_revoked: "Он отозван.",
    life: "Сколько действует код",
    days: |days| match days {
        365 => "1 год".to_owned(),
        days => format!("{days} дней"),
    },
    make: "Создать код",
    renew: "Заменить код",
    renew_hint: "Вы получите новый код, а прежний сразу перестанет действовать. Ссылка останется прежней.",
    renew_now: "Заменить сейчас",
    revoke: "Отозвать код",
    revoke_hint: "Ни с ним, ни по вашей ссылке нельзя будет зарегистрироваться, пока вы не создадите новый. Вернуть код \
                  нельзя.",
    revoke_now: "Отозвать сейчас",

    figures: "За последние 30 дней",
    figures_told: |clicks, visitors, registrations| {
        format!("Переходов: {clicks}. Посетителей: {visitors}. Регистраций: {registrations}.")
    },
    picture: "Переходы и регистрации по дням",
    by_day: "По дням",
    day: "День",
    clicks: "Переходы",
    visitors: "Посетители",
    registrations: "Регистрации",

    people: "Кто пришёл",
    people_none: "По вашей ссылке ещё никто не зарегистрировался.",
    people_total: |total| format!("Зарегистрировались с вашими кодами: {total}."),
    counts: "Зарегистрирован",
    waits: "В процессе",
    latest: "Последние",
    older: "Раньше",
    rewards: "Что это принесло",
    balance: "Баланс",
    rewards_hint: "То, что ожидает, становится доступным позже, если покупку не вернут.",
    unit: "Единица",
    reward_state: |state| reward_state(state, ["Ожидает", "Доступно", "Выплачено", "Отменено"]),
    decimal: ',',

    who: "Кто вы здесь",
    no_email: "нет",
    since: "Регистрация",
    email_title: "Ваш адрес почты",
    email_change: "Сменить адрес",
    email_new: "Новый адрес почты",
    email_hint: "Мы отправим туда ссылку. Когда вы её откроете, адрес станет вашим и здесь.",
    handle_title: "Имя вашей ссылки",
    handle_now: ("Ваша ссылка: ", ""),
    handle_choose: "Выбрать другое имя",
    handle: "Имя ссылки",
    handle_hint: "От 4 до 11 латинских букв a–z и цифр. Выбрать его можно один раз; прежняя ссылка будет работать.",
    handle_set: "Взять это имя",
    handle_chosen: "Вы выбрали это имя сами. Его выбирают один раз, чтобы отправленные ссылки вели к вам.",
    name_title: "Имя, которое видят другие",
    name: "Имя",
    name_hint: "Его видит тот, кто открывает вашу ссылку. Если поле пустое — ваше имя пользователя.",
    name_set: "Сохранить имя",
    found_title: "Кто найдёт вас по адресу",
    found_yes: "Кто знает ваш адрес почты, может узнать по нему ваш код.",
    found_no: "По вашему адресу почты никто не узнает ваш код.",
    found_set_yes: "Разрешить находить мой код",
    found_set_no: "Запретить находить мой код",
    password_hint: "Когда вы его меняете, вы выходите из аккаунта везде, и здесь тоже.",
    password_change: "Сменить пароль",
    password_first: "Задать пароль",
    password_now: "Нынешний пароль",
    fresh_hint: "У вашего аккаунта нет пароля. Если вы вошли больше пяти минут назад, сначала выйдите и войдите снова.",

    sign_ins: "Вход через другие сервисы",
    sign_ins_none: "Вы не входите через другие сервисы.",
    sign_ins_hint: "С этими аккаунтами других сервисов можно войти сюда.",
    linked: ("с ", ""),
    unlink: "Убрать",
    unlink_from: (" ", ""),
    last_manager: "Кроме вас, программой управлять некому. Сначала сделайте менеджером кого-нибудь ещё.",
    last_way_in: "Без этого вы не сможете войти. Сначала задайте пароль.",
    sessions: "Где вы вошли",
    sessions_hint: "Завершите то, чего не узнаёте, и смените после этого пароль.",
    browser: "Браузер",
    own_program: "Программа, с вашим паролем",
    this_browser: "Этот браузер",
    used: ("последний раз ", ""),
    end_session: "Выйти",
    end_session_of: (": ", ""),
    export: "Ваши данные",
    export_hint: "Файл со всем, что о вас здесь хранится, — раз в час.",
    export_now: "Скачать файл",

    erase_title: "Удалить аккаунт",
    erase_short: "Ваше имя, адрес, пароль и коды удаляются навсегда.",
    erase_go: "Удалить аккаунт …",
    erase_long: "Ваше имя, адрес, пароль и коды удаляются навсегда, а ссылка больше никуда не ведёт. У тех, кого вы \
                 пригласили, аккаунты остаются. Отменить это никто не сможет.",
    erase_now: "Удалить мой аккаунт навсегда",
    keep: "Оставить аккаунт",
};

fn rule(rule: &str) -> Option<Cow<'_, str>> {
    let sentence = match rule {
        "Field required" => "Заполните это поле",
        "A user name cannot be empty" => "Введите имя пользователя",
        "A user name has at most 50 characters" => "Имя пользователя — не длиннее 50 символов",
        "A user name holds only letters, digits and . @ + - _" => {
            "В имени пользователя бывают только буквы, цифры и знаки . @ + - _"
        }
        "A user name has no invisible characters" => "В имени пользователя есть невидимые символы",
        "A user name does not begin with a combining mark" => {
            "Имя пользователя не может начинаться со знака, который ставят над буквой или под ней"
        }
        "A user name has each combining mark on a letter of its script" => {
            "В имени пользователя есть знак, который стоит не при своей букве"
        }
        "A user name does not mix letters of both directions" => {
            "Нельзя смешивать в имени буквы, которые пишут слева направо и справа налево"
        }
        "A user name that is an e-mail address must be your own address" => {
            "Если имя пользователя — адрес почты, это должен быть ваш адрес"
        }
        "Username already taken" => "Это имя уже занято",
        "An e-mail address must have an @-sign" => "В адресе почты должен быть знак @",
        "An e-mail address has at most 150 characters" => "Адрес почты — не длиннее 150 символов",
        "An e-mail address has no invisible characters" => "В адресе почты есть невидимые символы",
        "The domain of the e-mail address is not valid" => "Проверьте часть адреса после знака @",
        "The value is not a valid e-mail address" => "Это не похоже на адрес почты",
        "Disposable e-mail addresses are not accepted" => "Одноразовые адреса почты не подходят",
        "Email already registered" => "С этим адресом уже есть аккаунт",
        "This password is too common" => "Этот пароль слишком распространён",
        "A password must not hold your user name" => "В пароле не должно быть имени пользователя",
        "A password must not hold your e-mail address" => "В пароле не должно быть адреса почты",
        "A password must not hold the name of this service" => "В пароле не должно быть названия этого сервиса",
        "A name has 1 to 100 characters" => "Имя — от 1 до 100 символов",
        "A name has no control or invisible characters" => "В имени есть невидимые символы",
        "A handle is 4 to 11 of the letters a-z and digits 0-9" => "Имя ссылки — от 4 до 11 латинских букв a–z и цифр",
        "This handle is not available; please choose another" => "Это имя не подходит, выберите другое",
        "This handle is taken" => "Это имя уже занято",
        "You have chosen your handle before; a handle is chosen once" => {
            "Вы уже выбирали имя ссылки, а выбрать его можно один раз"
        }
        "The password is not right" => "Пароль неверен",
        "Your account has no password; log in again and repeat this within five minutes" => {
            "У вашего аккаунта нет пароля. Выйдите, войдите снова и повторите это в течение пяти минут"
        }
        "Referral code not found or expired" => "Такого кода нет, или он уже не действует",
        _ => return rule_with_numbers(rule).map(Cow::Owned),
    };
    Some(Cow::Borrowed(sentence))
}

fn rule_with_numbers(rule: &str) -> Option<String> {
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

fn in_words(seconds: u64) -> String {
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

const MONTHS: [&str; 12] = [
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
