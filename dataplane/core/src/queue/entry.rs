//! What a queue knows of one message.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::member::MemberKey;
use crate::stock::{Owned, Owner};
use crate::store::{Reference, UnixMillis};

/// Rows of a queue: one for each priority.
pub(super) const ROWS: usize = 10;

/// Later than any time.
pub(super) const NEVER: UnixMillis = UnixMillis(u64::MAX);

/// Names an entry of one queue for ever: a later entry never has the same key. Keys compare in the order
/// of delivery: by priority, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(u64);

/// The row stands above the sequence, of which 2^60 last for ever.
const ROW_SHIFT: u32 = 60;

impl EntryKey {
    /// Rows count from the highest priority, so that numbers compare as keys do.
    pub(super) fn new(row: usize, sequence: u64) -> Self {
        Self((row as u64) << ROW_SHIFT | sequence)
    }

    pub(super) fn row(self) -> usize {
        (self.0 >> ROW_SHIFT) as usize
    }

    pub(super) fn sequence(self) -> u64 {
        self.0 & ((1 << ROW_SHIFT) - 1)
    }

    /// The key as a number.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The key that `to_bits` made into this number.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// A message that comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    pub message_format: u32,
    pub body: Bytes,
    /// 0 to 9; above 9 counts as 9.
    pub priority: u8,
    pub durable: bool,
    /// Its topic retained it when the subscription was made.
    pub retained: bool,
    /// The message is being stored: the entry waits for `stored` or `store_failed`.
    pub storing: bool,
    pub arrived: UnixMillis,
    /// It is not to be delivered from then on.
    pub expires: Option<UnixMillis>,
    /// It is not to be delivered before.
    pub not_before: Option<UnixMillis>,
    /// Only looked at when the queue has groups. Groups whose first 1,024 bytes are the same are one.
    pub group: Option<Bytes>,
    /// Only looked at when the queue keeps last values.
    pub last_value: Option<Bytes>,
    /// Only looked at when the queue finds duplicates; one of more than 1,024 bytes is not.
    pub message_id: Option<Bytes>,
    /// The queue has taken it before, elsewhere: it is taken whatever the limits, and is no duplicate.
    pub moved: bool,
    /// Another queue has let it in before, and has it still, or its topic has: it is taken whatever its tenant and its
    /// owner hold.
    pub let_in: bool,
    /// What every node calls it, when that is not by where the store has it.
    pub identity: Option<Reference>,
    /// For whom it counts while it is here, beside its queue's tenant.
    pub owner: Option<Rc<Owned>>,
}

/// Where an entry stands.
///
/// ```text
/// Storing ──► Available ◄──► Acquired ──► (gone)
///    │         ▲  │   ▲          │
///    ▼         │  │   └─ Delayed ◄┤
///  (gone)      │  ▼               │
///            Leaving ◄────────────┘ ──► (gone)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for the store; then, if that is later, for `until`.
    Storing { until: UnixMillis },
    /// Waits for a consumer.
    Available,
    /// Waits for its time.
    Delayed { until: UnixMillis },
    /// A consumer has it.
    Acquired { consumer: MemberKey },
    /// The owner of the queue has it, to take it elsewhere.
    Leaving,
}

/// The states without what they carry, to count entries by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Storing,
    Available,
    Delayed,
    Acquired,
    Leaving,
}

impl State {
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Storing { .. } => Stage::Storing,
            Self::Available => Stage::Available,
            Self::Delayed { .. } => Stage::Delayed,
            Self::Acquired { .. } => Stage::Acquired,
            Self::Leaving => Stage::Leaving,
        }
    }
}

/// What a queue knows of one message.
#[derive(Debug)]
pub struct Entry {
    pub(super) body: Option<Bytes>,
    pub(super) state: State,
    /// `NO_REFERENCE` while the store does not have it: an `Option` would take 8 bytes more.
    reference: u64,
    pub(super) arrived: UnixMillis,
    /// `NEVER` without one.
    pub(super) expires: UnixMillis,
    pub(super) rare: Option<Box<Rare>>,
    /// For whom it counts.
    owner: Option<Rc<Owned>>,
    pub(super) size: u32,
    /// 0 without one.
    pub(super) group: u32,
    pub(super) delivery_count: u32,
    pub(super) priority: u8,
    flags: u8,
}

const NO_REFERENCE: u64 = u64::MAX;

/// What few entries have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) message_format: u32,
    pub(super) annotations: Option<Bytes>,
    pub(super) last_value: Option<Bytes>,
    /// While it is being stored: to be forgotten when that fails.
    pub(super) message_id: Option<Arc<[u8]>>,
    /// Consumers that said that it cannot be delivered to them.
    pub(super) refused: Vec<MemberKey>,
    pub(super) identity: Option<Reference>,
}

/// Something that is so or not so for an entry.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    Durable = 1,
    /// A consumer had it.
    Acquired = 2,
    /// Its body was, or is being, loaded for a consumer that has not got it yet.
    Ahead = 4,
    /// Its body is being loaded.
    Loading = 8,
    /// Its topic retained it when the subscription was made.
    Retained = 16,
}

impl Entry {
    pub(super) fn new(arrival: &Arrival, state: State) -> Self {
        let mut entry = Self {
            body: None,
            state,
            reference: NO_REFERENCE,
            arrived: arrival.arrived,
            expires: arrival.expires.unwrap_or(NEVER),
            rare: None,
            owner: None,
            size: 0,
            group: 0,
            delivery_count: 0,
            priority: arrival.priority.min(9),
            flags: 0,
        };
        entry.set(Flag::Durable, arrival.durable);
        entry.set(Flag::Retained, arrival.retained);
        if arrival.message_format != 0 {
            entry.rare_mut().message_format = arrival.message_format;
        }
        if arrival.identity.is_some() {
            entry.rare_mut().identity = arrival.identity;
        }
        entry
    }

    pub(super) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    pub(super) fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.flags |= flag as u8;
        } else {
            self.flags &= !(flag as u8);
        }
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn set_reference(&mut self, reference: Reference) {
        self.reference = reference.0;
    }

    pub(super) fn bytes_in_memory(&self) -> u64 {
        self.body.as_ref().map_or(0, |body| body.len() as u64)
    }

    /// The message, when it is in memory.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// It counts for this user from now on, until it is dropped. To be called once, when its size is known.
    #[inline]
    pub(super) fn own(&mut self, owner: Option<Rc<Owned>>) {
        if let Some(owner) = &owner {
            owner.add_message(u64::from(self.size));
        }
        self.owner = owner;
    }

    /// For whom it counts.
    pub fn owner(&self) -> Option<Owner> {
        self.owner.as_ref().map(|owner| owner.owner())
    }

    /// Bytes of the message.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What the bytes of the message mean (AMQP 2.8.11).
    pub fn message_format(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.message_format)
    }

    /// Where the store has it.
    pub fn reference(&self) -> Option<Reference> {
        (self.reference != NO_REFERENCE).then_some(Reference(self.reference))
    }

    /// What every node calls it, when that is not by where the store has it.
    pub fn identity(&self) -> Option<Reference> {
        self.rare.as_ref()?.identity
    }

    /// When it came.
    pub fn arrived(&self) -> UnixMillis {
        self.arrived
    }

    /// From when on it is not to be delivered.
    pub fn expires(&self) -> Option<UnixMillis> {
        (self.expires != NEVER).then_some(self.expires)
    }

    /// Whether it has to survive a restart.
    pub fn is_durable(&self) -> bool {
        self.is(Flag::Durable)
    }

    /// Whether it is what the topic retained when the subscription was made.
    pub fn is_retained(&self) -> bool {
        self.is(Flag::Retained)
    }

    /// 0 to 9.
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// How often it was delivered and not processed (AMQP 3.2.1).
    pub fn delivery_count(&self) -> u32 {
        self.delivery_count
    }

    /// Whether a consumer has or had it (AMQP 3.2.1, first-acquirer).
    pub fn was_acquired(&self) -> bool {
        self.is(Flag::Acquired)
    }

    /// What consumers wanted to be added to its annotations.
    pub fn annotations(&self) -> Option<&Bytes> {
        self.rare.as_ref()?.annotations.as_ref()
    }

    /// The consumer that has it.
    pub fn consumer(&self) -> Option<MemberKey> {
        match self.state {
            State::Acquired { consumer } => Some(consumer),
            _ => None,
        }
    }

    /// Whether it waits for the store.
    pub fn is_storing(&self) -> bool {
        matches!(self.state, State::Storing { .. })
    }

    /// Whether it is leaving.
    pub fn is_leaving(&self) -> bool {
        matches!(self.state, State::Leaving)
    }
}

/// However it goes, with its queue too, it counts for nobody any more.
impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            owner.subtract_message(u64::from(self.size));
        }
    }
}

/// What an entry was that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub entry: EntryKey,
    /// Where the store has it; `None` also while it is being stored without being durable: then `stored`
    /// will say that it is not needed.
    pub reference: Option<Reference>,
    /// Bytes of its body.
    pub size: u32,
    /// Bytes of its body that were in memory.
    pub freed: u32,
    pub durable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_104_bytes() {
        assert!(size_of::<Option<Entry>>() <= 104, "{}", size_of::<Option<Entry>>());
    }

    #[test]
    fn keys_compare_by_priority_and_then_by_arrival() {
        let high = EntryKey::new(0, 7);
        let low = EntryKey::new(9, 3);
        assert!(high < low);
        assert!(low < EntryKey::new(9, 4));
        assert_eq!((low.row(), low.sequence()), (9, 3));
    }
}
