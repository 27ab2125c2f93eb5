//! What the tables say about codes and referrals, and every breach of the laws in it.

use std::collections::HashMap;

use super::app::{TestApp, eventually};

/// What the tables say about codes and referrals.
pub struct Record {
    pub lives: Vec<Life>,
    pub joins: Vec<Join>,
    pub slots: Vec<Slot>,
    /// By the database's clock.
    pub now: i64,
}

pub struct Life {
    pub owner: String,
    pub ordinal: i64,
    pub id: i64,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
}

pub struct Join {
    pub referrer: String,
    pub ordinal: i64,
    pub at: i64,
}

pub struct Slot {
    pub owner: String,
    pub issued: i64,
    pub code_id: Option<i64>,
}

impl Life {
    /// Until then, exclusively, the code referred people.
    pub fn end(&self) -> i64 {
        self.expires_at.min(self.revoked_at.unwrap_or(self.expires_at))
    }
}

impl Record {
    pub async fn read(test: &TestApp) -> Self {
        let text = |cell: &Option<String>| cell.clone().expect("a value");
        let maybe = |cell: &Option<String>| cell.as_ref().map(|text| text.parse::<i64>().expect("a number"));
        let number = |cell: &Option<String>| maybe(cell).expect("a value");
        let lives = "select owner_id, ordinal, id, created_at, expires_at, revoked_at from codes";
        let lives = test.query(lives).await.into_iter().map(|row| Life {
            owner: text(&row[0]),
            ordinal: number(&row[1]),
            id: number(&row[2]),
            created_at: number(&row[3]),
            expires_at: number(&row[4]),
            revoked_at: maybe(&row[5]),
        });
        let joins = test.query("select referrer_id, code_ordinal, joined_at from referrals").await;
        let joins =
            joins.iter().map(|row| Join { referrer: text(&row[0]), ordinal: number(&row[1]), at: number(&row[2]) });
        let slots = test.query("select owner_id, issued, code_id from code_slots").await;
        let slots =
            slots.iter().map(|row| Slot { owner: text(&row[0]), issued: number(&row[1]), code_id: maybe(&row[2]) });
        let changes = &test.app().changes;
        eventually("the node knows the database's clock", || async { changes.now().is_some() }).await;
        let now = changes.now().map_or(0, |now| now.0);
        Self { lives: lives.collect(), joins: joins.collect(), slots: slots.collect(), now }
    }

    /// Every breach of laws 1 and 2, as a sentence.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut codes: HashMap<&str, Vec<&Life>> = HashMap::new();
        for life in &self.lives {
            codes.entry(&life.owner).or_default().push(life);
        }
        for (owner, lives) in &mut codes {
            lives.sort_by_key(|life| life.ordinal);
            for (place, life) in lives.iter().enumerate() {
                for other in &lives[place + 1..] {
                    if life.created_at < other.end() && other.created_at < life.end() {
                        faults.push(format!("the lives {} and {} of {owner} overlap", life.ordinal, other.ordinal));
                    } else if other.created_at < life.end() {
                        faults.push(format!("life {} of {owner} is before {}", other.ordinal, life.ordinal));
                    }
                }
            }
        }
        for join in &self.joins {
            let mut lives = codes.get(join.referrer.as_str()).into_iter().flatten();
            let life = lives.find(|life| life.ordinal == join.ordinal);
            if !life.is_some_and(|life| life.created_at <= join.at && join.at < life.end()) {
                faults.push(format!(
                    "a referral at {} is outside of life {} of {}",
                    join.at, join.ordinal, join.referrer
                ));
            }
        }
        for slot in &self.slots {
            let lives = codes.get(slot.owner.as_str()).map_or(&[][..], Vec::as_slice);
            let last = lives.last().filter(|life| life.revoked_at.is_none());
            let holds_it = match slot.code_id {
                Some(id) => last.is_some_and(|life| life.id == id),
                // What has expired may be taken out.
                None => last.is_none_or(|life| life.expires_at <= self.now),
            };
            if !holds_it || usize::try_from(slot.issued) != Ok(lives.len()) {
                faults.push(format!("the slot of {} does not hold the last of {} codes", slot.owner, slot.issued));
            }
        }
        faults
    }
}
