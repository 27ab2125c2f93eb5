//! What of the reference service's rows can come, and what becomes of the others: decided before anything is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use uuid::Uuid;

use crate::crypto::hashing::Kind;
use crate::db::reference::{Code, Tables, User};
use crate::features::accounts::actions::moving::{MovedUser, keys};
use crate::features::accounts::model::check_name_against;
use crate::features::codes::actions::moving::MovedCode;
use crate::kernel::code::CodeKey;
use crate::kernel::email::Email;
use crate::kernel::ids::UserId;
use crate::kernel::name::Username;
use crate::kernel::time::{LAST, Time};

/// What is there already.
#[derive(Default)]
pub struct Taken {
    pub ids: HashSet<Uuid>,
    pub keys: HashSet<String>,
    pub codes: HashSet<[u8; 32]>,
}

/// A row there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    User(Uuid),
    Code(i64),
    /// Who invited, and who was invited.
    Referral(Uuid, Uuid),
}

/// Why a row does not come, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    NameBreaksRule(&'static str),
    AddressBreaksRule(&'static str),
    IdTaken,
    NameTaken,
    AddressTaken,
    /// The name, or the address, is one with that of somebody else who comes.
    NameIsOneWith(Uuid),
    AddressIsOneWith(Uuid),
    HashUnreadable,
    OwnerLeftOut,
    StringUnfit,
    StringTaken,
    /// With that of another code which comes.
    StringIsOneWith(i64),
    Endless,
    AnotherActive(i64),
    PersonLeftOut,
    BroughtThemselves,
    AnotherReferrer(Uuid),
    Circle,
}

/// A row that does not come, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub place: Place,
    pub why: Why,
}

/// Somebody with all that is theirs.
#[derive(Clone, Debug)]
pub struct Person {
    pub user: MovedUser,
    /// In the order of their lives.
    pub codes: Vec<MovedCode>,
}

/// All that comes, and what is to be said of the rest, by its place.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub people: Vec<Person>,
    pub referrals: Vec<(UserId, UserId)>,
    pub notes: Vec<Note>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user {id}"),
            Self::Code(id) => write!(f, "code {id}"),
            Self::Referral(referrer, referee) => write!(f, "referral {referrer} -> {referee}"),
        }
    }
}

impl Why {
    /// For programs and for counting.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NameBreaksRule(_) => "name_breaks_rule",
            Self::AddressBreaksRule(_) => "address_breaks_rule",
            Self::IdTaken => "id_taken",
            Self::NameTaken => "name_taken",
            Self::AddressTaken => "address_taken",
            Self::NameIsOneWith(_) => "name_is_one",
            Self::AddressIsOneWith(_) => "address_is_one",
            Self::HashUnreadable => "hash_unreadable",
            Self::OwnerLeftOut => "owner_left_out",
            Self::StringUnfit => "string_unfit",
            Self::StringTaken => "string_taken",
            Self::StringIsOneWith(_) => "string_is_one",
            Self::Endless => "endless",
            Self::AnotherActive(_) => "another_active",
            Self::PersonLeftOut => "person_left_out",
            Self::BroughtThemselves => "brought_themselves",
            Self::AnotherReferrer(_) => "another_referrer",
            Self::Circle => "circle",
        }
    }

    /// The reason, and what is done.
    pub fn sentence(&self) -> String {
        match self {
            Self::NameBreaksRule(rule) => format!("left out: {rule}"),
            Self::AddressBreaksRule(rule) => format!("left out: {rule}"),
            Self::IdTaken => "left out: somebody here has this id".into(),
            Self::NameTaken => "left out: somebody here has this name".into(),
            Self::AddressTaken => "left out: somebody here has this address".into(),
            Self::NameIsOneWith(other) => format!("left out: the name is one with that of user {other}, who comes"),
            Self::AddressIsOneWith(other) => {
                format!("left out: the address is one with that of user {other}, who comes")
            }
            Self::HashUnreadable => "comes without a password, for its hash is of no kind that can be checked: they \
                                     log in by a link to set one, or by `referral admin reset-password`"
                .into(),
            Self::OwnerLeftOut => "left out with its owner".into(),
            Self::StringUnfit => "left out: the string is none that anybody could use here".into(),
            Self::StringTaken => "left out: the string was issued here before".into(),
            Self::StringIsOneWith(other) => {
                format!("left out: the string is one with that of code {other}, which comes")
            }
            Self::Endless => "left out: it has no end".into(),
            Self::AnotherActive(other) => format!("comes revoked: code {other} of the same owner stays active"),
            Self::PersonLeftOut => "left out with one of the two".into(),
            Self::BroughtThemselves => "left out: nobody brings themselves".into(),
            Self::AnotherReferrer(other) => format!("left out: user {other} is the referrer that stays"),
            Self::Circle => "left out: the referee has brought the referrer, or one of theirs has".into(),
        }
    }
}

/// Of those that are one, the first in the order of ids comes.
pub fn judge(tables: &Tables, taken: &Taken, now: Time) -> Plan {
    let mut plan = Plan::default();
    let mut people: BTreeMap<Uuid, Person> = BTreeMap::new();
    let mut known: HashMap<String, Uuid> = HashMap::new();
    let mut users: Vec<&User> = tables.users.iter().collect();
    users.sort_by_key(|user| user.id);
    for user in users {
        match person(user, taken, &known) {
            Ok(moved) => {
                if moved.password_hash.is_none() {
                    plan.note(Place::User(user.id), Why::HashUnreadable);
                }
                known.extend(keys(&moved.username, &moved.email).map(|key| (key, user.id)));
                people.insert(user.id, Person { user: moved, codes: Vec::new() });
            }
            Err(why) => plan.note(Place::User(user.id), why),
        }
    }
    codes(&mut plan, tables, taken, now, &mut people);
    referrals(&mut plan, tables, &people);
    plan.people = people.into_values().collect();
    plan.notes.sort_by_key(|note| note.place);
    plan
}

impl Plan {
    fn note(&mut self, place: Place, why: Why) {
        self.notes.push(Note { place, why });
    }
}

fn person(user: &User, taken: &Taken, known: &HashMap<String, Uuid>) -> Result<MovedUser, Why> {
    let username = Username::parse(&user.username).map_err(Why::NameBreaksRule)?;
    let email = Email::parse(&user.email).map_err(Why::AddressBreaksRule)?;
    check_name_against(&username, &email).map_err(Why::NameBreaksRule)?;
    let [name_key, email_key] = keys(&username, &email);
    if taken.ids.contains(&user.id) {
        return Err(Why::IdTaken);
    }
    if taken.keys.contains(&name_key) {
        return Err(Why::NameTaken);
    }
    if taken.keys.contains(&email_key) {
        return Err(Why::AddressTaken);
    }
    if let Some(other) = known.get(&name_key) {
        return Err(Why::NameIsOneWith(*other));
    }
    if let Some(other) = known.get(&email_key) {
        return Err(Why::AddressIsOneWith(*other));
    }
    let password_hash = Kind::of(&user.password).map(|_| user.password.clone());
    Ok(MovedUser { id: UserId(user.id), username, email, password_hash })
}

fn codes(plan: &mut Plan, tables: &Tables, taken: &Taken, now: Time, people: &mut BTreeMap<Uuid, Person>) {
    let mut claimed: HashMap<[u8; 32], i64> = HashMap::new();
    let mut live: BTreeMap<Uuid, Vec<(&Code, Time)>> = BTreeMap::new();
    let mut dead: Vec<(&Code, Time)> = Vec::new();
    for code in &tables.codes {
        match code.expires_at.filter(|at| *at <= LAST) {
            _ if !people.contains_key(&code.owner) => plan.note(Place::Code(code.id), Why::OwnerLeftOut),
            None => plan.note(Place::Code(code.id), Why::Endless),
            Some(at) if at > now.0 => live.entry(code.owner).or_default().push((code, Time(at))),
            Some(at) => dead.push((code, Time(at))),
        }
    }
    // Whoever shares a string that is good gets it before those whose time is over.
    let mut ended: BTreeMap<Uuid, Vec<MovedCode>> = BTreeMap::new();
    let mut active: BTreeMap<Uuid, MovedCode> = BTreeMap::new();
    for (owner, mut codes) in live {
        codes.sort_by_key(|(code, at)| std::cmp::Reverse((*at, code.id)));
        let mut stays = None;
        for (code, expires_at) in codes {
            if let Err(why) = claim(code, taken, &mut claimed) {
                plan.note(Place::Code(code.id), why);
                continue;
            }
            let moved = MovedCode { code: code.code.clone(), created_at: now, expires_at, revoked_at: None };
            match stays {
                None => {
                    stays = Some(code.id);
                    active.insert(owner, moved);
                }
                Some(other) => {
                    plan.note(Place::Code(code.id), Why::AnotherActive(other));
                    ended.entry(owner).or_default().push(MovedCode { revoked_at: Some(now), ..moved });
                }
            }
        }
    }
    let mut past: BTreeMap<Uuid, Vec<(Time, i64, String)>> = BTreeMap::new();
    for (code, at) in dead {
        match claim(code, taken, &mut claimed) {
            Ok(()) => past.entry(code.owner).or_default().push((at, code.id, code.code.clone())),
            Err(why) => plan.note(Place::Code(code.id), why),
        }
    }
    for (owner, person) in people {
        person.codes = lives(past.remove(owner).unwrap_or_default());
        person.codes.extend(ended.remove(owner).unwrap_or_default());
        person.codes.extend(active.remove(owner));
    }
}

/// Nothing tells when they were made. Each has lived for its last moment alone, one after the other; of those with one
/// end the last has.
fn lives(mut past: Vec<(Time, i64, String)>) -> Vec<MovedCode> {
    past.sort();
    let ends: Vec<Time> = past.iter().skip(1).map(|(at, ..)| *at).collect();
    let lives = past.into_iter().enumerate().map(|(place, (expires_at, _, code))| {
        let created_at = Time(expires_at.0.saturating_sub(1));
        let revoked_at = (ends.get(place) == Some(&expires_at)).then_some(created_at);
        MovedCode { code, created_at, expires_at, revoked_at }
    });
    lives.collect()
}

fn claim(code: &Code, taken: &Taken, claimed: &mut HashMap<[u8; 32], i64>) -> Result<(), Why> {
    let key = CodeKey::of(&code.code).ok_or(Why::StringUnfit)?;
    if taken.codes.contains(&key.0) {
        return Err(Why::StringTaken);
    }
    match claimed.get(&key.0) {
        Some(other) => Err(Why::StringIsOneWith(*other)),
        None => {
            claimed.insert(key.0, code.id);
            Ok(())
        }
    }
}

fn referrals(plan: &mut Plan, tables: &Tables, people: &BTreeMap<Uuid, Person>) {
    let mut rows = tables.referrals.clone();
    rows.sort_by_key(|(referrer, referee)| (*referee, *referrer));
    let (mut referrer_of, mut nearer) = (HashMap::new(), HashMap::new());
    for (referrer, referee) in rows {
        let place = Place::Referral(referrer, referee);
        if referrer == referee {
            plan.note(place, Why::BroughtThemselves);
        } else if !people.contains_key(&referrer) || !people.contains_key(&referee) {
            plan.note(place, Why::PersonLeftOut);
        } else if let Some(other) = referrer_of.get(&referee) {
            plan.note(place, Why::AnotherReferrer(*other));
        } else if first_of(&mut nearer, referrer) == referee {
            plan.note(place, Why::Circle);
        } else {
            referrer_of.insert(referee, referrer);
            nearer.insert(referee, referrer);
            plan.referrals.push((UserId(referrer), UserId(referee)));
        }
    }
}

/// The first of those who brought a person, and brought them, and so on, whom nobody has brought. `nearer` has somebody
/// of them for each person; the way becomes shorter each time that it is gone, however long a line of people is.
fn first_of(nearer: &mut HashMap<Uuid, Uuid>, person: Uuid) -> Uuid {
    let mut at = person;
    while let Some(next) = nearer.get(&at).copied() {
        if let Some(further) = nearer.get(&next).copied() {
            nearer.insert(at, further);
        }
        at = next;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_000_000_000);

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn user(number: u128, username: &str) -> User {
        let email = format!("{}@example.com", username.replace(' ', "").to_lowercase());
        User { id: id(number), username: username.to_owned(), email, password: "$2b$12$x".to_owned() }
    }

    fn code(number: i64, owner: u128, code: &str, expires_at: i64) -> Code {
        Code { id: number, owner: id(owner), code: code.to_owned(), expires_at: Some(expires_at) }
    }

    fn words(plan: &Plan) -> Vec<(Place, &'static str)> {
        plan.notes.iter().map(|note| (note.place, note.why.word())).collect()
    }

    #[test]
    fn the_first_of_those_who_are_one_comes_and_nobody_who_is_here_is_touched() {
        let mut users = vec![user(3, "OLGA"), user(1, "Olga"), user(2, "Nina"), user(4, "boss"), user(5, "Ivan")];
        users[0].email = "other@example.com".to_owned();
        users[2].email = "OLGA@example.com".to_owned();
        users[4].password = "plain".to_owned();
        let mut taken = Taken::default();
        taken.keys.insert("boss".to_owned());
        let tables = Tables { users, ..Tables::default() };
        let plan = judge(&tables, &taken, NOW);
        let said = [(2, "address_is_one"), (3, "name_is_one"), (4, "name_taken"), (5, "hash_unreadable")];
        assert_eq!(words(&plan), said.map(|(number, word)| (Place::User(id(number)), word)));
        let came: Vec<(Uuid, bool)> =
            plan.people.iter().map(|person| (person.user.id.0, person.user.password_hash.is_some())).collect();
        assert_eq!(came, [(id(1), true), (id(5), false)]);
        taken.keys = HashSet::from(["ivan@example.com".to_owned()]);
        taken.ids.insert(id(1));
        let plan = judge(&tables, &taken, NOW);
        assert!(words(&plan).contains(&(Place::User(id(1)), "id_taken")));
        assert!(words(&plan).contains(&(Place::User(id(5)), "address_taken")));
    }

    #[test]
    fn of_several_good_codes_the_last_to_end_stays_and_lives_follow_each_other() {
        let now = NOW.0;
        let codes = vec![
            code(1, 1, "GOODCODE0001", now + 10),
            code(2, 1, "GOODCODE0002", now + 30),
            code(3, 1, "GOODCODE0003", now + 20),
            code(4, 1, "PASTCODE0001", now - 5),
            code(5, 1, "PASTCODE0002", now - 5),
            code(6, 1, "PASTCODE0003", now),
            code(7, 1, "goodcode0002", now - 9),
            code(8, 2, "NOBODYSC0DE1", now + 1),
            code(9, 1, "SHORT1", now + 1),
            Code { expires_at: None, ..code(10, 1, "ENDLESSC0DE1", 0) },
            code(11, 1, "FARC0DE00001", LAST + 1),
            code(12, 1, "TAKENC0DE001", now + 99),
        ];
        let tables = Tables { users: vec![user(1, "Olga")], codes, ..Tables::default() };
        let mut taken = Taken::default();
        taken.codes.insert(CodeKey::of("TAKENC0DE001").unwrap().0);
        let plan = judge(&tables, &taken, NOW);
        let said = [
            (1, "another_active"),
            (3, "another_active"),
            (7, "string_is_one"),
            (8, "owner_left_out"),
            (9, "string_unfit"),
            (10, "endless"),
            (11, "endless"),
            (12, "string_taken"),
        ];
        assert_eq!(words(&plan), said.map(|(number, word)| (Place::Code(number), word)));
        let lives = &plan.people[0].codes;
        assert_eq!(lives.len(), 6);
        let end = |code: &MovedCode| code.revoked_at.map_or(code.expires_at, |at| at.min(code.expires_at));
        for pair in lives.windows(2) {
            assert!(end(&pair[0]) <= pair[1].created_at, "{lives:?}");
        }
        assert!(lives.iter().all(|code| code.created_at < code.expires_at));
        assert_eq!((lives[5].code.as_str(), lives[5].revoked_at), ("GOODCODE0002", None));
        assert_eq!(lives[2].expires_at, NOW, "what ends now is over");
        assert!(lives[3..5].iter().all(|code| code.revoked_at == Some(NOW)));
    }

    #[test]
    fn a_line_of_very_many_people_is_judged_at_once() {
        const MANY: u128 = 100_000;
        let users = (1..=MANY).map(|number| user(number, &format!("p{number}"))).collect();
        let mut referrals: Vec<_> = (1..MANY).map(|number| (id(number), id(number + 1))).collect();
        referrals.push((id(MANY), id(1)));
        let plan = judge(&Tables { users, referrals, ..Tables::default() }, &Taken::default(), NOW);
        assert_eq!(words(&plan), [(Place::Referral(id(MANY - 1), id(MANY)), "circle")]);
        assert_eq!(plan.referrals.len() as u128, MANY - 1);
    }

    #[test]
    fn nobody_has_two_referrers_or_is_in_a_circle() {
        let users = vec![user(1, "Olga"), user(2, "Nina"), user(3, "Ivan")];
        let pairs = [(1, 2), (3, 2), (2, 3), (3, 1), (1, 1), (1, 9), (9, 1)];
        let referrals = pairs.map(|(referrer, referee)| (id(referrer), id(referee))).to_vec();
        let plan = judge(&Tables { users, referrals, ..Tables::default() }, &Taken::default(), NOW);
        let came: Vec<(Uuid, Uuid)> =
            plan.referrals.iter().map(|(referrer, referee)| (referrer.0, referee.0)).collect();
        assert_eq!(came, [(id(3), id(1)), (id(1), id(2))]);
        let said = [
            ((1, 1), "brought_themselves"),
            ((1, 9), "person_left_out"),
            ((2, 3), "circle"),
            ((3, 2), "another_referrer"),
            ((9, 1), "person_left_out"),
        ];
        let place = |(referrer, referee)| Place::Referral(id(referrer), id(referee));
        assert_eq!(words(&plan), said.map(|(pair, word)| (place(pair), word)));
    }
}
