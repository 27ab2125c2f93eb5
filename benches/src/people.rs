//! Who is in the database: people with names and addresses as people have them, all of it a function of a number and
//! the seed, so that the load can ask for anybody without keeping a list, and a yardstick in SQL can do so as well.
//!
//! Person 0 has brought as many as the scale says, person 1 a hundredth of that, and of the others every fourth has had
//! a code; a tenth of the scale was brought by those, five each. One person in fifty has been erased. Of a hundred and
//! eleven people in a row a hundred came with person 0's code, one with person 1's and ten with the others', so the
//! lists lie among each other in the tables as they would have grown. Those who joined last came with the others' codes
//! only: a list whose end lies far from the end of its table is where a bad plan shows.

use referral::kernel::code::{Code, CodeKey};
use uuid::Uuid;

pub const BIG: u64 = 0;
pub const MIDDLE: u64 = 1;
/// The same for everybody: what a load needs of passwords is one that is right.
pub const PASSWORD: &str = "Tr1cky-Phrase-2031";

/// 2023-01-01, in milliseconds since 1970; people joined from then on, for two years.
const BEGAN: u64 = 1_672_531_200_000;
const SPAN: u64 = 730 * 24 * 60 * 60 * 1000;
/// 2099-01-01T00:00:00Z in microseconds since 1970.
pub const CODES_END: i64 = 4_070_908_800_000_000;

/// With the Cyrillic spelling. Prime numbers of each, so that every combination comes up.
pub const FIRST: [(&str, &str); 31] = [
    ("olga", "Ольга"),
    ("ivan", "Иван"),
    ("maria", "Мария"),
    ("sergey", "Сергей"),
    ("anna", "Анна"),
    ("dmitry", "Дмитрий"),
    ("elena", "Елена"),
    ("pavel", "Павел"),
    ("irina", "Ирина"),
    ("nikita", "Никита"),
    ("daria", "Дарья"),
    ("maxim", "Максим"),
    ("vera", "Вера"),
    ("oleg", "Олег"),
    ("polina", "Полина"),
    ("john", "Джон"),
    ("emily", "Эмили"),
    ("lucas", "Лукас"),
    ("sofia", "София"),
    ("mateo", "Матео"),
    ("chloe", "Хлоя"),
    ("noah", "Ной"),
    ("amelia", "Амелия"),
    ("henrik", "Хенрик"),
    ("ingrid", "Ингрид"),
    ("jonas", "Йонас"),
    ("yusuf", "Юсуф"),
    ("leila", "Лейла"),
    ("kenji", "Кэндзи"),
    ("priya", "Прия"),
    ("tomasz", "Томаш"),
];
pub const LAST: [(&str, &str); 37] = [
    ("petrova", "Петрова"),
    ("smirnov", "Смирнов"),
    ("kuznetsova", "Кузнецова"),
    ("popov", "Попов"),
    ("sokolova", "Соколова"),
    ("lebedev", "Лебедев"),
    ("kozlova", "Козлова"),
    ("novikov", "Новиков"),
    ("morozova", "Морозова"),
    ("volkov", "Волков"),
    ("zaitseva", "Зайцева"),
    ("pavlov", "Павлов"),
    ("semenova", "Семёнова"),
    ("golubev", "Голубев"),
    ("vinogradova", "Виноградова"),
    ("bogdanov", "Богданов"),
    ("fedorova", "Фёдорова"),
    ("mikhailov", "Михайлов"),
    ("belova", "Белова"),
    ("tarasov", "Тарасов"),
    ("smith", "Смит"),
    ("johnson", "Джонсон"),
    ("garcia", "Гарсия"),
    ("mueller", "Мюллер"),
    ("rossi", "Росси"),
    ("dubois", "Дюбуа"),
    ("novak", "Новак"),
    ("hansen", "Хансен"),
    ("silva", "Силва"),
    ("yilmaz", "Йылмаз"),
    ("tanaka", "Танака"),
    ("sharma", "Шарма"),
    ("nguyen", "Нгуен"),
    ("kowalska", "Ковальская"),
    ("andersson", "Андерссон"),
    ("murphy", "Мёрфи"),
    ("haddad", "Хаддад"),
];
pub const DOMAINS: [&str; 11] = [
    "mail.example",
    "post.example",
    "inbox.example.com",
    "letters.example.org",
    "correo.example.net",
    "pochta.example",
    "office.example.com",
    "uni.example.edu",
    "studio.example.org",
    "home.example.net",
    "works.example",
];

#[derive(Clone, Copy, Debug)]
pub struct People {
    /// How many person 0 has brought.
    pub scale: u64,
    pub seed: u64,
}

pub struct Person {
    pub id: Uuid,
    pub username: String,
    pub email: String,
    pub created_at: i64,
}

/// An owner's codes: how many were made, and whether the last of them is in the slot.
pub struct Codes {
    pub issued: i64,
    pub live: bool,
}

impl People {
    pub fn count(&self) -> u64 {
        2 + self.mixed() + self.scale / 20
    }

    /// People among whom the long lists grow.
    fn mixed(&self) -> u64 {
        self.scale / 100 * 111
    }

    pub fn is_erased(&self, number: u64) -> bool {
        number >= 2 && (number - 2) % 50 == 49
    }

    /// As somebody registered, erased since or not. Numbers from `count` on are those who have yet to come.
    pub fn person(&self, number: u64) -> Person {
        let first = FIRST[((number + self.seed) % FIRST.len() as u64) as usize];
        let last = LAST[((number + self.seed) % LAST.len() as u64) as usize];
        let username = match number % 5 {
            0 => format!("{}.{}{number}", first.0, last.0),
            1 => format!("{}_{number}", first.0),
            2 => format!("{}-{}{number}", last.0, &first.0[..1]),
            3 => format!("{}.{}{number}", first.1, last.1),
            _ => format!("{}{number}", last.0),
        };
        Person {
            id: self.id(number),
            username,
            email: self.email(number),
            created_at: self.joined(number) as i64 * 1000,
        }
    }

    pub fn email(&self, number: u64) -> String {
        let word = |words: &[(&'static str, &str)]| words[((number + self.seed) % words.len() as u64) as usize].0;
        let domain = DOMAINS[((number + self.seed) % DOMAINS.len() as u64) as usize];
        format!("{}.{}{number}@{domain}", word(&FIRST), word(&LAST))
    }

    /// [`email`](Self::email) in SQL, of the number that an expression gives.
    pub fn email_in_sql(&self, number: &str) -> String {
        let pick = |words: &[&str]| {
            let list: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            format!("(array[{}])[({number} + {}) % {} + 1]", list.join(","), self.seed, words.len())
        };
        let latin = |words: &[(&'static str, &str)]| pick(&words.iter().map(|word| word.0).collect::<Vec<_>>());
        format!("({} || '.' || {} || {number} || '@' || {})", latin(&FIRST), latin(&LAST), pick(&DOMAINS))
    }

    fn joined(&self, number: u64) -> u64 {
        BEGAN + (u128::from(number) * u128::from(SPAN) / u128::from(self.count())) as u64
    }

    /// A UUIDv7 of the time when somebody joined.
    pub fn id(&self, number: u64) -> Uuid {
        let (high, low) = (mix(self.seed ^ number), mix(self.seed ^ number ^ 0x5bd1_e995));
        let top = (self.joined(number) << 16) | 0x7000 | (high & 0x0fff);
        Uuid::from_u64_pair(top, (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000)
    }

    /// Who brought somebody.
    pub fn referrer(&self, number: u64) -> Option<u64> {
        let place = number.checked_sub(2)?;
        if let Some(late) = place.checked_sub(self.mixed()) {
            return Some(owner((self.scale / 10 + late) / 5 + 2));
        }
        Some(match place % 111 {
            0..100 => BIG,
            100 => MIDDLE,
            turn => owner((place / 111 * 10 + turn - 101) / 5 + 2),
        })
    }

    pub fn owners(&self) -> u64 {
        2 + (self.count() - 2).div_ceil(4)
    }

    pub fn codes(&self, owner: u64) -> Codes {
        Codes { issued: if owner % 8 == 5 { 2 } else { 1 }, live: owner % 16 != 15 }
    }

    /// The id of a code string: they were issued owner by owner.
    pub fn code_id(&self, owner: u64, ordinal: i64) -> i64 {
        (owner + (owner + 2) / 8) as i64 + ordinal
    }

    pub fn code(&self, owner: u64, ordinal: i64) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let digits = |mut number: u64, count: usize| {
            let mut text = vec![0; count];
            for place in text.iter_mut().rev() {
                *place = ALPHABET[(number % 32) as usize];
                number /= 32;
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let number = owner * 2 + ordinal.unsigned_abs() - 1;
        // The number makes it unique, the digit and the letter make it a code.
        format!("7K{}{}", digits(mix(self.seed ^ number), 5), digits(number, 5))
    }

    pub fn code_key(&self, owner: u64, ordinal: i64) -> Result<CodeKey, String> {
        Code::parse(&self.code(owner, ordinal)).map(|code| code.key()).map_err(str::to_owned)
    }

    /// A person who has an active code, of as many as [`findable`](Self::findable) says.
    pub fn findable_owner(&self, turn: u64) -> u64 {
        16 + turn / 15 * 16 + turn % 15
    }

    pub fn findable(&self) -> u64 {
        (self.owners() / 16 - 1) * 15
    }
}

/// The number of the person who is the owner with this number.
pub fn owner(owner: u64) -> u64 {
    if owner < 2 { owner } else { 2 + (owner - 2) * 4 }
}

/// SplitMix64: well-spread bits of a number.
pub fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
