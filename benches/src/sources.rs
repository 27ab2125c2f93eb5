//! What the clients ask, and how long each answer is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http;
use crate::load::{Expected, Source};
use crate::people::{PASSWORD, People, mix, owner};

/// Clients of every row.
pub const CLIENTS: usize = 64;

/// One for each client.
pub fn each(make: impl Fn(usize) -> Source) -> Vec<Source> {
    (0..CLIENTS).map(make).collect()
}

/// The same requests again and again, each client beginning at another.
pub fn repeat(requests: Vec<(Vec<u8>, usize)>, client: usize) -> Source {
    let mut turn = client;
    Box::new(move |question| {
        turn = (turn + 1) % requests.len();
        let (bytes, length) = &requests[turn];
        question.extend_from_slice(bytes);
        Expected::Exactly(200, *length)
    })
}

/// A look-up of an owner's code, and the length of its answer.
pub fn look_up(people: &People, number: u64, token: &str) -> (Vec<u8>, usize) {
    let person = people.person(owner(number));
    let request = http::request("GET", &format!("/api/v1/codes/{}", person.email), Some(token), None);
    let ordinal = people.codes(number).issued;
    let answer = format!(
        r#"{{"id":{},"user_id":"{}","code":"{}","expires_at":"2099-01-01T00:00:00Z","is_active":true,"user":{{"id":"{}","email":"{}","username":"{}"}}}}"#,
        people.code_id(number, ordinal),
        person.id,
        people.code(number, ordinal),
        person.id,
        person.email,
        person.username,
    );
    (request, answer.len())
}

/// Look-ups of a few codes that everybody asks for.
pub fn hot_look_ups(people: People, token: &str, client: usize) -> Source {
    repeat((0..16).map(|turn| look_up(&people, people.findable_owner(turn), token)).collect(), client)
}

/// Look-ups of all codes there are, one after the other in a scattered order that all clients share: by the time a code
/// comes round again nobody remembers it.
pub fn cold_look_ups(people: People, token: &str, turns: &Arc<AtomicU64>) -> Source {
    let (token, turns) = (token.to_owned(), turns.clone());
    Box::new(move |question| {
        let turn = turns.fetch_add(1, Ordering::Relaxed).wrapping_mul(1_000_003) % people.findable();
        let (bytes, length) = look_up(&people, people.findable_owner(turn), &token);
        question.extend_from_slice(&bytes);
        Expected::Exactly(200, length)
    })
}

/// A page of a referrer's list as they see it themselves, and the length of its answer, asked for once: its total and
/// its number of items are checked here.
pub fn page(
    address: SocketAddr,
    people: &People,
    referrer: u64,
    page: u64,
    token: &str,
    total: i64,
) -> Result<(Vec<u8>, usize), String> {
    let path = format!("/api/v1/users/{}?page={page}&size=50", people.id(owner(referrer)));
    let answer = http::ask(address, "GET", &path, Some(token), None)?.expect(200)?;
    let length = answer.body.len();
    let json = answer.json(200)?;
    let items = json["items"].as_array().map_or(0, Vec::len) as i64;
    let wanted = (total - (page as i64 - 1) * 50).min(50);
    if json["total"].as_i64() != Some(total) || items != wanted {
        return Err(format!("page {page} has {items} items of {}, not {wanted} of {total}", json["total"]));
    }
    Ok((http::request("GET", &path, Some(token), None), length))
}

/// New people, each with one of these codes in turn. The counter goes on from row to row, so that nobody registers
/// twice.
pub fn registrations(people: People, codes: Vec<String>, client: usize, newcomers: &Arc<AtomicU64>) -> Source {
    let newcomers = newcomers.clone();
    let mut turn = client;
    Box::new(move |question| {
        let person = people.person(people.count() + newcomers.fetch_add(1, Ordering::Relaxed));
        turn += 1;
        let body = format!(
            r#"{{"username":"{}","email":"{}","password":"{PASSWORD}","code":"{}"}}"#,
            person.username,
            person.email,
            codes[turn % codes.len()]
        );
        question.extend_from_slice(&http::request("POST", "/api/v1/auth/user", None, Some(&body)));
        let answer = format!(r#"{{"id":"{}","email":"{}","username":"{}"}}"#, person.id, person.email, person.username);
        Expected::Exactly(201, answer.len())
    })
}

/// Questions about all the codes there are, in a scattered order, answered from the database each time.
pub fn validations(people: People, turns: &Arc<AtomicU64>) -> Source {
    let turns = turns.clone();
    Box::new(move |question| {
        let turn = turns.fetch_add(1, Ordering::Relaxed).wrapping_mul(1_000_003) % people.findable();
        let number = people.findable_owner(turn);
        let body = format!(r#"{{"code":"{}"}}"#, people.code(number, people.codes(number).issued));
        question.extend_from_slice(&http::request("POST", "/api/v1/codes/validate", None, Some(&body)));
        let name = people.person(owner(number)).username;
        let answer = format!(r#"{{"valid":true,"username":"{name}","expires_at":"2099-01-01T00:00:00Z"}}"#);
        Expected::Exactly(200, answer.len())
    })
}

/// One request that changes nothing, asked for once to learn its answer's length.
pub fn learned(address: SocketAddr, path: &str, token: &str) -> Result<(Vec<u8>, usize), String> {
    let length = http::ask(address, "GET", path, Some(token), None)?.expect(200)?.body.len();
    Ok((http::request("GET", path, Some(token), None), length))
}

/// The codes of the first so many owners who have one.
pub fn codes(people: &People, count: u64) -> Vec<String> {
    (0..count)
        .map(|turn| {
            let owner = people.findable_owner(turn);
            people.code(owner, people.codes(owner).issued)
        })
        .collect()
}

/// Log-ins of these people, each client with others first.
pub fn log_ins_of(names: &[String], client: usize) -> Source {
    let requests = names.iter().map(|name| {
        let body = format!(r#"{{"username":"{name}","password":"{PASSWORD}"}}"#);
        http::request("POST", "/api/v1/auth/token", None, Some(&body))
    });
    statuses(requests.collect(), client, 200)
}

/// One person's new codes, each in the place of the one before.
pub fn new_codes(token: &str) -> Source {
    let body = r#"{"expires_at":"2099-01-01T00:00:00Z"}"#;
    statuses(vec![http::request("POST", "/api/v1/codes?replace=true", Some(token), Some(body))], 0, 201)
}

/// The same requests again and again, whose answers are of any length.
fn statuses(requests: Vec<Vec<u8>>, client: usize, status: u16) -> Source {
    let mut turn = client;
    Box::new(move |question| {
        turn = (turn + 1) % requests.len();
        question.extend_from_slice(&requests[turn]);
        Expected::Status(status)
    })
}

/// Log-ins of the owners with the right password; beyond the queue they are refused.
pub fn log_ins(people: People, client: usize) -> Source {
    let mut turn = client as u64;
    Box::new(move |question| {
        turn = mix(turn);
        let person = people.person(owner(people.findable_owner(turn % people.findable())));
        let body = format!(r#"{{"username":"{}","password":"{PASSWORD}"}}"#, person.username);
        question.extend_from_slice(&http::request("POST", "/api/v1/auth/token", None, Some(&body)));
        Expected::OrBusy(200)
    })
}
