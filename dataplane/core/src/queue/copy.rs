//! What the owner of a queue needs to have a copy of it elsewhere.

use super::Queue;
use super::entry::{EntryKey, ROWS, Removed, State};
use crate::store::UnixMillis;

/// How far a queue has been copied. Its entries are copied in the order in which they came, each priority by
/// itself: one that comes later may be delivered earlier.
#[derive(Clone, Debug, Default)]
pub struct Places([u64; ROWS]);

impl Queue {
    /// The next entry that has not been copied and that is not being stored, whoever has it. Within a
    /// priority, one that is being stored holds up those behind it.
    pub fn next_to_copy(&self, places: &mut Places) -> Option<EntryKey> {
        let rows = self.rows.iter().zip(&mut places.0).enumerate();
        for (index, (row, place)) in rows {
            let Some(row) = row else { continue };
            let Some(sequence) = row.next_present(*place) else { continue };
            if row.get(sequence).is_some_and(|entry| !entry.is_storing()) {
                *place = sequence + 1;
                return Some(EntryKey::new(index, sequence));
            }
        }
        None
    }

    /// The time that an entry waits for.
    pub fn waits_until(&self, key: EntryKey) -> Option<UnixMillis> {
        match self.entry(key)?.state {
            State::Delayed { until } => Some(until),
            _ => None,
        }
    }

    /// Whether somebody has the entry: a consumer, or the owner of the queue.
    pub fn is_held(&self, key: EntryKey) -> bool {
        self.entry(key).is_some_and(|entry| matches!(entry.state, State::Acquired { .. } | State::Leaving))
    }

    /// Puts an entry that waits out of reach: it is leaving from now on. False when it does not wait.
    pub fn withhold(&mut self, key: EntryKey) -> bool {
        let is_waiting = self
            .entry(key)
            .is_some_and(|entry| matches!(entry.state, State::Available | State::Delayed { .. }));
        if is_waiting {
            self.set_state(key, State::Leaving);
        }
        is_waiting
    }

    /// Takes an entry out that no consumer has.
    pub fn discard(&mut self, key: EntryKey) -> Option<Removed> {
        self.entry(key).filter(|entry| !matches!(entry.state, State::Acquired { .. }))?;
        self.erase(key)
    }
}
