//! The key that links in mails are made with. What is sealed for the queue of mails is sealed under a key made from it.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use super::sealing::Sealer;
use crate::kernel::error::Result;
use crate::kernel::ids::MailId;
use crate::kernel::mail::MailKind;

/// The key that this node has read from the database, if it has.
#[derive(Default)]
pub struct MailKeyring(RwLock<Option<Arc<MailKey>>>);

impl MailKeyring {
    pub fn get(&self) -> Option<Arc<MailKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set(&self, key: MailKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
    }
}

pub struct MailKey {
    pub kid: String,
    mac: hmac::Key,
    sealer: Sealer,
}

/// What names a mail in its link, and proves that we made it.
#[derive(Clone, Copy)]
pub struct LinkToken {
    pub id: MailId,
    mac: [u8; 32],
}

impl MailKey {
    pub fn new(kid: String, secret: &[u8]) -> Result<Self> {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // No link is made of so few bytes, so no MAC of a link is this key.
        let mut sealing = [0; 32];
        sealing.copy_from_slice(hmac::sign(&mac, b"queue").as_ref());
        Ok(Self { kid, mac, sealer: Sealer::new(&sealing)? })
    }

    /// The token of the link in a mail: the same at each time.
    pub fn link(&self, id: MailId, kind: MailKind) -> LinkToken {
        let mut mac = [0; 32];
        mac.copy_from_slice(hmac::sign(&self.mac, &[id.0.as_bytes(), kind.word().as_bytes()].concat()).as_ref());
        LinkToken { id, mac }
    }

    /// What kind of mail a token is from; nothing when we have not made it.
    pub fn kind_of(&self, token: &LinkToken) -> Option<MailKind> {
        let made = |kind: &MailKind| self.link(token.id, *kind).mac.ct_eq(&token.mac).into();
        MailKind::WITH_LINK.into_iter().find(made)
    }

    /// A text that the queue is told about a mail, as nobody reads it in the database.
    pub fn seal(&self, id: MailId, text: &[u8]) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(self.sealer.seal(&id.to_string(), text)?))
    }

    /// Nothing when it was sealed under another key or about another mail.
    pub fn open(&self, id: MailId, sealed: &str) -> Option<Vec<u8>> {
        self.sealer.open(&id.to_string(), &URL_SAFE_NO_PAD.decode(sealed).ok()?)
    }
}

impl LinkToken {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 48] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (id, mac) = bytes.split_first_chunk::<16>()?;
        Some(Self { id: MailId(uuid::Uuid::from_bytes(*id)), mac: mac.try_into().ok()? })
    }

    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.id.0.as_bytes()[..], &self.mac].concat())
    }
}

impl std::fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(secret: &[u8]) -> MailKey {
        MailKey::new("kid".to_owned(), secret).unwrap()
    }

    #[test]
    fn a_token_is_of_its_mail_its_kind_and_its_key() {
        let (ours, theirs, id) = (key(b"ours"), key(b"theirs"), MailId::new());
        for kind in MailKind::WITH_LINK {
            let token = LinkToken::parse(&ours.link(id, kind).text()).unwrap();
            assert_eq!(token.text().len(), 64);
            assert_eq!((token.id, ours.kind_of(&token)), (id, Some(kind)));
            assert_eq!(theirs.kind_of(&token), None);
            assert_eq!(ours.kind_of(&LinkToken { id: MailId::new(), ..token }), None);
            assert_eq!(format!("{token:?}"), "LinkToken(…)");
        }
        assert_eq!(ours.kind_of(&ours.link(id, MailKind::PasswordChanged)), None);
        assert_ne!(ours.link(id, MailKind::Reset).text(), ours.link(id, MailKind::Confirm).text());
    }

    #[test]
    fn what_the_queue_is_told_opens_for_its_mail_only() {
        let (ours, id) = (key(b"ours"), MailId::new());
        let sealed = ours.seal(id, b"olga@example.com").unwrap();
        assert_eq!(ours.open(id, &sealed).as_deref(), Some(&b"olga@example.com"[..]));
        assert!(ours.open(MailId::new(), &sealed).is_none() && key(b"theirs").open(id, &sealed).is_none());
        assert!(ours.open(id, "").is_none() && ours.open(id, "nonsense").is_none());
    }

    proptest! {
        #[test]
        fn a_token_changed_anywhere_is_not_ours(at in 0_usize..48, by in 1_u8..) {
            let ours = key(b"ours");
            let token = ours.link(MailId::new(), MailKind::Reset);
            let mut bytes = URL_SAFE_NO_PAD.decode(token.text()).unwrap();
            bytes[at] ^= by;
            let changed = LinkToken::parse(&URL_SAFE_NO_PAD.encode(bytes)).unwrap();
            prop_assert_eq!(ours.kind_of(&changed), None);
        }

        #[test]
        fn garbage_is_no_token_or_one_that_is_not_ours(text in ".{0,80}") {
            prop_assert!(LinkToken::parse(&text).is_none_or(|token| key(b"ours").kind_of(&token).is_none()));
        }
    }
}
