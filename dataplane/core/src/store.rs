//! What the core asks of the store that keeps its messages, and what the store answers.
//!
//! The core writes nothing itself. [`Effect::Store`](crate::Effect::Store) carries a request out;
//! [`Core::handle_store`](crate::Core::handle_store) takes the answer. The requests of one core are to
//! be carried out in the order in which they came. A request with a [`Ticket`] is answered exactly
//! once; one without is not answered.

use std::sync::Arc;

use bytes::Bytes;

/// Names a queue in the store for ever: given when the address or the durable subscription is created,
/// and not used again when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// Names a message in the store for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub u64);

/// The core's name for a request that it waits for. It is below [`Ticket::FOREIGN`]: numbers from there on
/// are for requests that the caller makes of the same store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

impl Ticket {
    /// The lowest number that no ticket of the core has.
    pub const FOREIGN: u64 = 1 << 63;

    /// Whether the request is the caller's own, and its answer nothing to the core.
    pub fn is_foreign(self) -> bool {
        self.0 >= Self::FOREIGN
    }
}

/// Names a transaction on the whole node. A later run of the node does not use it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// Milliseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// The queues that a message is kept for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    One(QueueId),
    /// One copy for all of them. Never empty, and no queue stands in it twice.
    Many(Arc<[QueueId]>),
}

impl Targets {
    /// The queues.
    pub fn as_slice(&self) -> &[QueueId] {
        match self {
            Self::One(queue) => std::slice::from_ref(queue),
            Self::Many(queues) => queues,
        }
    }
}

/// Something that the store is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreRequest {
    /// Keep a message. `durable`: answer when it is on disk; otherwise when it can be loaded, and it
    /// need not survive a restart. In a transaction it counts once that is committed; the answer says
    /// that it is written.
    Append {
        ticket: Ticket,
        targets: Targets,
        durable: bool,
        meta: Bytes,
        body: Bytes,
        transaction: Option<TransactionId>,
    },
    /// A queue needs a message no more. With a ticket: answer when that is on disk.
    Settle {
        queue: QueueId,
        reference: Reference,
        ticket: Option<Ticket>,
        transaction: Option<TransactionId>,
    },
    /// Keep a few bytes beside a message of a queue; the last ones count. No answer.
    Update { queue: QueueId, reference: Reference, state: Bytes },
    /// Give the body of a message.
    Load { ticket: Ticket, reference: Reference },
    /// A queue is no more: it needs none of its messages. No answer.
    Forget { queue: QueueId },
    /// Keep an object: answer when it is on disk. The last value of a key counts. In a transaction it
    /// counts, and is the last value, once that is committed; the answer says that it can be.
    Put { ticket: Ticket, key: Bytes, value: Bytes, transaction: Option<TransactionId> },
    /// Keep an object no more: answer when that is on disk. In a transaction likewise.
    Delete { ticket: Ticket, key: Bytes, transaction: Option<TransactionId> },
    /// Make everything that was asked for in a transaction, by whichever core, count from now on, all
    /// at once: answer when that is on disk.
    Commit { ticket: Ticket, transaction: TransactionId },
    /// What was asked for in a transaction does not count. No answer.
    Rollback { transaction: TransactionId },
}

/// What became of a request with a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// `Append` is done.
    Appended { ticket: Ticket, reference: Reference },
    /// `Settle` is done.
    Settled { ticket: Ticket },
    /// `Load` is done. The bytes are best not part of a much larger buffer: they may be kept long.
    Loaded { ticket: Ticket, body: Bytes },
    /// `Put`, `Delete` or `Commit` is done.
    Done { ticket: Ticket },
    /// The request cannot be carried out, and had no effect.
    Failed { ticket: Ticket, error: StoreError },
}

impl StoreAnswer {
    /// The request that is answered.
    pub fn ticket(&self) -> Ticket {
        match self {
            Self::Appended { ticket, .. }
            | Self::Settled { ticket }
            | Self::Loaded { ticket, .. }
            | Self::Done { ticket }
            | Self::Failed { ticket, .. } => *ticket,
        }
    }
}

/// Why the store did not carry a request out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct StoreError {
    /// What a producer is told, such as `amqp:resource-limit-exceeded` for a full disk.
    pub condition: &'static str,
    /// A sentence for a person.
    pub description: Arc<str>,
}

/// A message that the store has kept over a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredMessage<'a> {
    pub queue: QueueId,
    pub reference: Reference,
    /// As it was given to `Append`.
    pub meta: &'a [u8],
    /// As it was last given to `Update`.
    pub state: Option<&'a [u8]>,
    pub body_len: u32,
}
