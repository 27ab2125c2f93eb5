//! Disposable addresses: domains that hand out a mailbox to anybody for ten minutes.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::password::lines;
use crate::kernel::email::Email;

static DISPOSABLE: LazyLock<HashSet<Box<str>>> =
    LazyLock::new(|| lines(include_bytes!("lists/disposable-domains.txt.gz")));

/// Whether the domain is on the list. Domains below a listed one are not meant: some hand out sub-domains to people.
pub fn is_disposable(email: &Email) -> bool {
    DISPOSABLE.contains(email.domain())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disposable_domains_are_known_and_common_providers_are_not_on_the_list() {
        let on_list = |text| is_disposable(&Email::parse(text).unwrap());
        assert!(on_list("a@mailinator.com"));
        assert!(on_list("a@Mailinator.COM"));
        for fine in
            ["a@gmail.com", "a@mail.ru", "a@yandex.ru", "a@outlook.com", "a@proton.me", "a@test.ru", "a@example.com"]
        {
            assert!(!on_list(fine), "{fine}");
        }
    }
}
