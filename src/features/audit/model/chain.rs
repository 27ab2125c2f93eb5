//! Rows in their places, and what is wrong with them.

use aws_lc_rs::hmac;

use super::Record;
use crate::words;

/// A row in its place.
#[derive(Clone, Debug)]
pub struct Chained {
    pub record: Record,
    /// Nothing until the job has come by.
    pub seq: Option<i64>,
    pub hash: Option<Vec<u8>>,
}

/// The last place of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: [u8; 32],
}

impl Head {
    /// Where a chain begins.
    pub const NONE: Self = Self { seq: 0, hash: [0; 32] };

    /// In hexadecimal.
    pub fn hash_text(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A hash as it is written by [`hash_text`](Self::hash_text).
    pub fn read_hash(text: &str) -> Option<[u8; 32]> {
        let text = text.as_bytes();
        let digit =
            |place: usize| char::from(*text.get(place)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut hash = [0; 32];
        for (place, byte) in hash.iter_mut().enumerate() {
            *byte = digit(2 * place)? << 4 | digit(2 * place + 1)?;
        }
        (text.len() == 64).then_some(hash)
    }
}

words! {
    /// What is wrong with a row of the audit: its content is another than was noted (`changed`), it stands where
    /// another did (`swapped`), it is not there (`removed`), or the service has not written it (`added`).
    pub enum FaultKind as "AuditFaultKind" {
        Changed = "changed",
        Swapped = "swapped",
        Removed = "removed",
        Added = "added",
    }
}

/// The first row that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub seq: i64,
    pub kind: FaultKind,
}

/// Walks along a chain.
pub struct Verifier {
    keys: Vec<hmac::Key>,
    /// Whether there are keys that cannot be opened: their rows cannot be told from others.
    blind: bool,
    /// The last place that was found good.
    pub place: Head,
    /// Rows that only their place speaks for, as the key of their MAC cannot be opened.
    pub unproven: i64,
}

impl Verifier {
    /// Behind a place that is believed.
    pub fn new(keys: Vec<hmac::Key>, blind: bool, place: Head) -> Self {
        Self { keys, blind, place, unproven: 0 }
    }

    /// The next row there is.
    pub fn take(&mut self, row: &Chained) -> Result<(), Fault> {
        let (seq, next) = (row.seq.unwrap_or_default(), self.place.seq.saturating_add(1));
        let fault = |seq, kind| Err(Fault { seq, kind });
        if seq < next {
            return fault(seq, FaultKind::Added);
        }
        if seq > next {
            return fault(next, FaultKind::Removed);
        }
        let hash = row.record.hash_behind(&self.place);
        let is_linked = row.hash.as_deref() == Some(&hash[..]);
        let is_signed = row.record.is_signed_by(&self.keys);
        match (is_signed, is_linked) {
            (true, true) => {}
            (false, true) if self.blind => self.unproven += 1,
            (true, false) => return fault(seq, FaultKind::Swapped),
            (false, true) => return fault(seq, FaultKind::Added),
            (false, false) => return fault(seq, FaultKind::Changed),
        }
        self.place = Head { seq, hash };
        Ok(())
    }

    /// All rows up to the head were taken.
    pub fn ends_at(&self, head: &Head) -> Result<(), Fault> {
        if self.place.seq < head.seq {
            return Err(Fault { seq: self.place.seq + 1, kind: FaultKind::Removed });
        }
        if self.place == *head { Ok(()) } else { Err(Fault { seq: head.seq, kind: FaultKind::Changed }) }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::kernel::time::Time;

    const KEY: [u8; 32] = [7; 32];

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &KEY)
    }

    /// Of fixed values.
    fn record(number: u8) -> Record {
        let mut record = Record {
            id: Uuid::from_bytes([number; 16]),
            at: Time(1_764_500_000_123_456),
            actor_kind: "manager".into(),
            actor_id: Some(Uuid::from_bytes([0xaa; 16])),
            action: "user_disabled".into(),
            subject_kind: "user".into(),
            subject_id: Some("0198aaaa-0000-7000-8000-000000000000".into()),
            detail: "{\"reason\":\"fraud\"}".into(),
            request_id: None,
            mac: Vec::new(),
        };
        record.mac = hmac::sign(&key(), &record.signed()).as_ref().to_vec();
        record
    }

    fn chain(records: impl IntoIterator<Item = Record>) -> Vec<Chained> {
        let mut head = Head::NONE;
        let place = |record: Record| {
            head = Head { hash: record.hash_behind(&head), seq: head.seq + 1 };
            Chained { record, seq: Some(head.seq), hash: Some(head.hash.to_vec()) }
        };
        records.into_iter().map(place).collect()
    }

    fn verified(rows: &[Chained], head: &Head) -> Result<(), Fault> {
        let mut verifier = Verifier::new(vec![key()], false, Head::NONE);
        rows.iter().try_for_each(|row| verifier.take(row))?;
        verifier.ends_at(head)
    }

    fn head(rows: &[Chained]) -> Head {
        let last = rows.last().unwrap();
        Head { seq: last.seq.unwrap(), hash: last.hash.clone().unwrap().try_into().unwrap() }
    }

    /// Computed once by another program: what is pinned elsewhere must be found again by later versions.
    #[test]
    fn the_mac_and_the_hash_of_a_known_row_are_these() {
        let rows = chain([record(1), record(2)]);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&rows[0].record.mac), "8a0a273123b7c5f94a74edaa66c0dcff87ac25aee900e0e37a36b7d58f458927");
        assert_eq!(
            hex(rows[0].hash.as_ref().unwrap()),
            "9eebf63a43e5fafd53ca6a9060ef951d2cb1744daea88a7312288c47eff81fd9"
        );
        assert_eq!(
            hex(rows[1].hash.as_ref().unwrap()),
            "c28a72bf791c845dd60f41ea71b8b2fe0f68349ebf89c513fc4325279e11909e"
        );
    }

    #[test]
    fn no_field_runs_into_the_next() {
        let (mut one, mut other) = (record(1), record(1));
        (one.action, one.subject_kind) = ("ab".into(), "c".into());
        (other.action, other.subject_kind) = ("a".into(), "bc".into());
        assert_ne!(one.signed(), other.signed());
        (one.subject_id, other.subject_id) = (None, Some(String::new()));
        (one.action, one.subject_kind) = ("a".into(), "bc".into());
        assert_ne!(one.signed(), other.signed());
        assert_ne!(one.hash_behind(&Head::NONE), other.hash_behind(&Head::NONE));
    }

    #[test]
    fn the_first_row_that_is_not_as_it_was_is_found_with_what_became_of_it() {
        let good = chain((1..=5).map(record));
        let end = head(&good);
        let fault = |seq, kind| Err(Fault { seq, kind });
        assert_eq!(verified(&good, &end), Ok(()));

        let mut rows = good.clone();
        rows[2].record.action = "user_enabled".into();
        assert_eq!(verified(&rows, &end), fault(3, FaultKind::Changed));
        // With a hash that fits: the MAC does not.
        rows[2].hash = Some(rows[2].record.hash_behind(&head(&good[..2])).to_vec());
        assert_eq!(verified(&rows, &end), fault(3, FaultKind::Added));

        let mut rows = good.clone();
        let (second, fourth) = (rows[1].record.clone(), rows[3].record.clone());
        (rows[1].record, rows[3].record) = (fourth, second);
        assert_eq!(verified(&rows, &end), fault(2, FaultKind::Swapped));

        let mut rows = good.clone();
        rows.remove(3);
        assert_eq!(verified(&rows, &end), fault(4, FaultKind::Removed));
        let rows = &good[..4];
        assert_eq!(verified(rows, &end), fault(5, FaultKind::Removed));
        assert_eq!(verified(&[], &end), fault(1, FaultKind::Removed));

        let mut rows = good.clone();
        rows.insert(0, Chained { seq: Some(0), ..rows[4].clone() });
        assert_eq!(verified(&rows, &end), fault(0, FaultKind::Added));

        // A chain that was made anew to its end is whole; only a head that was pinned elsewhere tells.
        let anew = chain([record(1), record(2), record(4), record(5), record(6)]);
        assert_eq!(verified(&anew, &end), fault(5, FaultKind::Changed));
    }

    #[test]
    fn rows_whose_key_is_lost_are_counted_and_nothing_else_is_let_pass() {
        let rows = chain((1..=3).map(record));
        let mut verifier = Verifier::new(Vec::new(), true, Head::NONE);
        rows.iter().try_for_each(|row| verifier.take(row)).unwrap();
        assert_eq!((verifier.unproven, verifier.place), (3, head(&rows)));
        let mut changed = rows[1].clone();
        changed.record.detail = "{}".into();
        let mut verifier = Verifier::new(Vec::new(), true, Head::NONE);
        verifier.take(&rows[0]).unwrap();
        assert_eq!(verifier.take(&changed), Err(Fault { seq: 2, kind: FaultKind::Changed }));
    }
}
