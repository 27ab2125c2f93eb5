//! Owners of codes.

use crate::support::client::Client;
use crate::support::history::{Caller, Write};

/// How many people there are in the tests of amounts: `FAULTS_MANY`, or as many as there is time for.
pub fn many() -> usize {
    match told() {
        Some(text) => text.parse().expect("FAULTS_MANY is a number"),
        None if crate::support::thorough() => 20_000,
        None => 2_000,
    }
}

/// Whether somebody has said how many: then figures are compared with what they should be.
pub fn is_told() -> bool {
    told().is_some()
}

fn told() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of the service")]
    std::env::var("FAULTS_MANY").ok()
}

/// A user with a code of their own.
pub struct Owner {
    pub name: String,
    pub code: String,
    pub caller: Caller,
}

pub async fn owner(client: &Client, name: &str) -> Owner {
    let code = format!("{}2030ABC", name.to_uppercase());
    let user = client.signed_up(name).await;
    user.create_code(&code).await.expect(201);
    Owner { name: name.to_owned(), code, caller: Caller::new(&client.base, user.token.as_deref()) }
}

pub fn registration(owner: &Owner, name: &str) -> Write {
    let code = Some((owner.name.clone(), owner.code.clone()));
    Write::Registration { name: name.to_owned(), code, mailed: false }
}
