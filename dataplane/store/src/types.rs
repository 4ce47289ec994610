//! Names and plain data that cross the crate's border.

/// Names a queue for ever; an id is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// Names a message in the log for ever: compaction moves the message and keeps the name.
///
/// References of one log are in the order in which messages were appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub u64);

impl Reference {
    pub(crate) fn new(segment: u32, index: u32) -> Self {
        Self(u64::from(segment) << 32 | u64::from(index))
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }
}

/// The caller's name for a transaction. It may be used again after commit, rollback or a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u64);

/// A message to append.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The queues that hold it: at least one; an id that is named twice counts once.
    pub targets: &'a [QueueId],
    /// Whether it is to survive a restart. One that is not can be read until it is settled.
    pub durable: bool,
    /// The transaction whose commit makes it count.
    pub transaction: Option<TransactionId>,
    /// What recovery gives back without the body.
    pub meta: &'a [u8],
    /// What [`Location::read`](crate::Location::read) gives back.
    pub body: &'a [u8],
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of a file of the log, 64 MiB by default, between [`Options::MIN_SEGMENT_BYTES`] and
    /// [`Options::MAX_SEGMENT_BYTES`]. A larger message gets a file of its own.
    pub segment_bytes: u64,
    /// Bytes that recovery may hold so as not to read anything twice, 256 MiB by default.
    pub recovery_bytes: u64,
}

impl Options {
    /// The smallest `segment_bytes`: 1 MiB.
    pub const MIN_SEGMENT_BYTES: u64 = 1 << 20;
    /// The largest `segment_bytes`: 1 GiB.
    pub const MAX_SEGMENT_BYTES: u64 = 1 << 30;
}

impl Default for Options {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, recovery_bytes: 256 << 20 }
    }
}

/// Who is given what a log holds while it is opened: first every object, then every live message of
/// the queues that it knows, in log order.
pub trait Visitor {
    /// An object: the value that was put last, in the order of the keys.
    fn object(&mut self, key: &[u8], value: &[u8]);

    /// Whether a queue still exists. What the log holds for others is dropped and counted.
    fn knows(&mut self, queue: QueueId) -> bool;

    /// A message that `queue` holds. One that several queues hold comes once for each.
    fn message(&mut self, message: RecoveredMessage<'_>);
}

/// A message that was found in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredMessage<'a> {
    pub queue: QueueId,
    pub reference: Reference,
    pub meta: &'a [u8],
    /// The last [`Log::update`](crate::Log::update) for this queue.
    pub state: Option<&'a [u8]>,
    /// Bytes of the body.
    pub body_length: u32,
}

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Messages given to the visitor, one for each queue that holds it.
    pub messages: u64,
    /// Objects given to the visitor.
    pub objects: u64,
    /// Messages of queues that the visitor does not know, one for each queue.
    pub unknown: u64,
    /// Messages that were not durable.
    pub volatile: u64,
    /// Messages, settlements and changes of objects of transactions that were not committed.
    pub uncommitted: u64,
    /// Bytes cut off behind the last whole record, if they were not all zero: writes that had not
    /// been synced when the node went down.
    pub torn_bytes: u64,
    /// Files read.
    pub segments: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// What a call of [`Log::compact_step`](crate::Log::compact_step) left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compaction {
    /// Nothing is worth rewriting now.
    Idle,
    /// There is more to do: call again.
    More,
    /// There would be more to do, but the disk has no room for it now. Call again later.
    Blocked,
}

/// Whether the log takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Ready,
    /// The disk had no room for the last message. Settlements are taken while the reserve lasts.
    Full,
    /// A write or sync failed: none until it is opened again. Reads go on.
    Failed,
}

/// A log in figures.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether it takes records.
    pub state: State,
    /// Why it does not.
    pub reason: Option<std::sync::Arc<str>>,
    /// Bytes of the records of live messages and objects.
    pub live_bytes: u64,
    /// Bytes of all files, with the room set aside.
    pub disk_bytes: u64,
    /// Files.
    pub segments: u64,
    /// Messages that at least one queue holds.
    pub messages: u64,
    /// Files that compaction leaves alone since they could not be read.
    pub damaged: u64,
}
