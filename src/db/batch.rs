//! Many items of one call, each made or refused by itself, written in few units of work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Db, Work};
use crate::kernel::actor::Actor;
use crate::kernel::error::{Error, Result};

/// Items that one unit of work writes: so few that it holds nobody up for long, and enough to share its commit.
pub const UNIT: usize = 32;

/// No item was begun.
const NONE: usize = usize::MAX;

/// Items that are written together, and which of them was begun last.
pub struct Together<T> {
    items: Vec<T>,
    begun: Arc<AtomicUsize>,
}

impl<T> Together<T> {
    pub fn items(&self) -> &[T] {
        &self.items
    }

    /// Each of them, which is begun as it is given.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        self.items.iter().enumerate().map(|(place, item)| {
            self.begun.store(place, Ordering::Relaxed);
            item
        })
    }
}

/// What became of each item, in their order. One that is refused stops none of the others, which stay together: those
/// before it are written, it is written `alone` for its own outcome, and those behind it go on. An error is of the
/// whole: some of the items may be written.
pub async fn write<T, W, F>(
    db: &Db,
    actor: Actor,
    items: &[T],
    together: Work<Together<T>, Vec<W>>,
    alone: impl Fn(T) -> F,
) -> Result<Vec<Result<W>>>
where
    T: Clone + Send + Sync + 'static,
    W: Send + 'static,
    F: Future<Output = Result<W>>,
{
    let mut outcomes = Vec::with_capacity(items.len());
    // The next ones to write stand last.
    let mut open = vec![items];
    while let Some(next) = open.pop() {
        if let [item] = next {
            match alone(item.clone()).await {
                // Where the database does not answer, the rest would only wait for it.
                Err(error @ (Error::Storage(_) | Error::Busy(_))) => return Err(error),
                outcome => outcomes.push(outcome),
            }
            continue;
        }
        if next.is_empty() {
            continue;
        }
        let begun = Arc::new(AtomicUsize::new(NONE));
        let unit = Together { items: next.to_vec(), begun: begun.clone() };
        match db.write(actor, unit, together).await {
            Ok(written) => outcomes.extend(written.into_iter().map(Ok)),
            Err(error @ (Error::Busy(_) | Error::Internal(_))) => return Err(error),
            Err(error) => match begun.load(Ordering::Relaxed) {
                refused if refused < next.len() && !matches!(error, Error::Storage(_)) => {
                    let (good, rest) = next.split_at(refused);
                    let (refused, rest) = rest.split_at(1);
                    open.extend([rest, refused, good]);
                }
                // They met others in the database. Nothing is done yet, or all is: then each is found.
                _ => open.extend(next.chunks(1).rev()),
            },
        }
    }
    Ok(outcomes)
}
