//! What a queue knows of one message.

use bytes::Bytes;

use crate::store::{Reference, UnixMillis};

/// Names an entry of one queue for ever: a later entry never has the same key. Keys compare in the order
/// of delivery: by priority, then by arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryKey(u64);

/// A message that comes in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    pub message_format: u32,
    pub body: Bytes,
    /// 0 to 9; above 9 counts as 9.
    pub priority: u8,
    pub durable: bool,
    /// The message is being stored: the entry waits for `stored` or `store_failed`.
    pub storing: bool,
    pub arrived: UnixMillis,
    /// It is not to be delivered from then on.
    pub expires: Option<UnixMillis>,
    /// It is not to be delivered before.
    pub not_before: Option<UnixMillis>,
    /// Only looked at when the queue has groups.
    pub group: Option<Bytes>,
    /// Only looked at when the queue keeps last values.
    pub last_value: Option<Bytes>,
    /// Only looked at when the queue finds duplicates.
    pub message_id: Option<Bytes>,
}

/// What a queue knows of one message.
#[derive(Debug)]
pub struct Entry {
    body: Option<Bytes>,
}

/// What an entry was that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    pub entry: EntryKey,
    /// Where the store has it.
    pub reference: Option<Reference>,
    /// Bytes of its body.
    pub size: u32,
    /// Whether the body was in memory.
    pub was_in_memory: bool,
    pub durable: bool,
}

impl Entry {
    /// The message, when it is in memory.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Bytes of the message.
    pub fn size(&self) -> u32 {
        todo!()
    }

    pub fn message_format(&self) -> u32 {
        todo!()
    }

    /// Where the store has it.
    pub fn reference(&self) -> Option<Reference> {
        todo!()
    }

    pub fn arrived(&self) -> UnixMillis {
        todo!()
    }

    pub fn expires(&self) -> Option<UnixMillis> {
        todo!()
    }

    pub fn is_durable(&self) -> bool {
        todo!()
    }

    /// 0 to 9.
    pub fn priority(&self) -> u8 {
        todo!()
    }

    /// How often it was delivered and not processed (AMQP 3.2.1).
    pub fn delivery_count(&self) -> u32 {
        todo!()
    }

    /// Whether a consumer had it before (AMQP 3.2.1, first-acquirer).
    pub fn was_acquired(&self) -> bool {
        todo!()
    }

    /// What consumers wanted to be added to its annotations.
    pub fn annotations(&self) -> Option<&Bytes> {
        todo!()
    }

    /// Whether it is leaving.
    pub fn is_leaving(&self) -> bool {
        todo!()
    }
}
