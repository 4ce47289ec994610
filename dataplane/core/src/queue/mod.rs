//! One queue: what it holds, who consumes from it, and what becomes of each message.
//!
//! The queue knows entries, consumers and time. It knows no link, no store and nothing of a message but
//! its size and, while it is in memory, its bytes, which it hands to filters unread. Whoever owns it
//! keeps the messages in a store, carries deliveries to links, and tells it what came back.
//!
//! Drive it like this:
//!
//! - [`enqueue`](Queue::enqueue) what producers send. An entry that is being stored is handed to nobody,
//!   and nothing of its priority that came after it either, until [`stored`](Queue::stored) or
//!   [`store_failed`](Queue::store_failed).
//! - After every change call [`next`](Queue::next) until it has nothing more, then
//!   [`poll_drained`](Queue::poll_drained), [`poll_load`](Queue::poll_load) and
//!   [`poll_action`](Queue::poll_action) until they say `None`.
//! - [`settle`](Queue::settle) what consumers are done with.
//! - Arm a timer from [`poll_timeout`](Queue::poll_timeout) and call
//!   [`handle_timeout`](Queue::handle_timeout) when it fires.
//!
//! An entry that is to go elsewhere (to a dead letter or expiry address, or moved) is *leaving*: it is
//! handed to nobody, and stays until its owner calls [`remove`](Queue::remove), when it has arrived there,
//! or [`put_back`](Queue::put_back). So nothing is lost in between.

mod admit;
mod copy;
mod dispatch;
mod entry;
mod keys;
mod load;
mod member;
mod row;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

pub use self::copy::Places;
pub use self::entry::{Arrival, Entry, EntryKey, Removed};
use self::entry::{Flag, NEVER, ROWS, Stage, State};
use self::keys::Keys;
use self::member::Members;
pub use self::member::{MemberKey, MemberOptions};
use self::row::Row;
use crate::format::DeadLetterReason;
use crate::settings::QueueSettings;
use crate::statistics::QueueStatistics;
use crate::stock::{Holding, StockFull, StockItem};
use crate::store::{Reference, UnixMillis};

/// One queue. The module says how to drive it.
///
/// An idle queue is small: what it needs for entries and consumers comes with the first and goes with the
/// last of them.
#[derive(Debug)]
pub struct Queue {
    settings: Arc<QueueSettings>,
    /// By priority, the highest first; each comes with its first entry.
    rows: [Option<Box<Row>>; ROWS],
    /// Where the sequences of a new row begin: beyond those of rows that went.
    floor: u64,
    members: Option<Box<Members>>,
    keys: Option<Box<Keys>>,
    actions: VecDeque<Action>,
    counts: Counts,
    /// What it holds of its tenant's stock, where that is counted.
    holding: Option<Box<Holding>>,
    counters: Counters,
    /// When to look whether it has had nothing to do; `NEVER` when it keeps no memory for later.
    idle: UnixMillis,
    /// Messages that had come when `idle` was set.
    enqueued_before: u64,
}

/// A queue without new messages for so long gives back memory.
const IDLE_MILLIS: u64 = 10_000;

/// What the queue holds.
#[derive(Debug, Default)]
struct Counts {
    bytes: u64,
    bytes_in_memory: u64,
    /// Entries by stage.
    stages: [u64; 5],
    /// Entries whose bodies are being, or were, loaded for consumers that have not got them yet.
    ahead: u32,
    /// Consumers let in so far; here, where there is room.
    generation: u32,
    ahead_bytes: u64,
}

impl Counts {
    fn messages(&self) -> u64 {
        self.stages.iter().sum()
    }

    fn of(&self, stage: Stage) -> u64 {
        self.stages.get(stage as usize).copied().unwrap_or(0)
    }

    #[inline]
    fn add(&mut self, stage: Stage) {
        if let Some(count) = self.stages.get_mut(stage as usize) {
            *count += 1;
        }
    }

    #[inline]
    fn subtract(&mut self, stage: Stage) {
        if let Some(count) = self.stages.get_mut(stage as usize) {
            *count -= 1;
        }
    }

    /// An entry is not among those that were loaded ahead any more.
    #[inline]
    fn end_ahead(&mut self, entry: &mut Entry) {
        if entry.is(Flag::Ahead) {
            entry.set(Flag::Ahead, false);
            self.ahead -= 1;
            self.ahead_bytes -= u64::from(entry.size);
        }
    }
}

/// What the queue has counted since it was made.
#[derive(Debug, Default)]
struct Counters {
    enqueued: u64,
    acknowledged: u64,
    redelivered: u64,
    dead_lettered: u64,
    expired: u64,
    dropped: u64,
    rejected: u64,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A message with the same id was taken a short time ago: its producer may be told that this one was
    /// accepted.
    #[error("a message with the same message-id was taken before")]
    Duplicate,
    /// Said by owners of queues alone.
    #[error("the queue is no more")]
    Gone,
    /// See [`QueueSettings::max_messages`].
    #[error("the queue holds {limit} messages, its limit; consume some or raise the limit")]
    TooManyMessages { limit: u64 },
    /// See [`QueueSettings::max_bytes`].
    #[error(
        "the queue has no room for the message within its limit of {limit} bytes; consume some or raise the limit"
    )]
    TooManyBytes { limit: u64 },
    /// Its tenant holds as much as he may.
    #[error(transparent)]
    Stock(#[from] StockFull),
}

/// Why a consumer is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another consumer has the queue for itself, or this one wants it so and is not the only one")]
pub struct NotAlone;

/// What [`Queue::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Hand the entry to the consumer. Its body is in memory.
    Deliver(Delivery),
    /// The search for messages that match a filter was cut short: ask again, soon but not at once.
    More,
    /// Nothing can be handed out until something changes.
    Idle,
}

/// An entry on its way to a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub consumer: MemberKey,
    /// What the consumer was added with.
    pub owner: u64,
    pub entry: EntryKey,
    /// The consumer only looks: nothing comes back for this delivery, and the entry is not its own.
    pub browse: bool,
    /// No consumer had the entry before.
    pub first: bool,
}

/// What a consumer says of an entry that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is done with.
    Accepted,
    /// It goes back to its place as if it had never been handed out.
    Released,
    /// It goes to the dead letter address.
    Rejected,
    /// `failed`: the attempt counts. `undeliverable_here`: not to this consumer again. `annotations`:
    /// kept with the entry in place of those it has.
    Modified { failed: bool, undeliverable_here: bool, annotations: Option<Bytes> },
}

/// What [`Queue::settle`] made of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is gone.
    Removed(Removed),
    /// It is leaving: see the module.
    Leaving(DeadLetterReason),
    /// It waits again.
    Returned {
        /// Its delivery count or its annotations changed: what the store knows of it is old.
        changed: bool,
    },
    /// The consumer does not have it.
    Unknown,
}

/// Something that follows from what happened and that the owner of the queue is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The entry is leaving for this reason: take it elsewhere, then `remove` it.
    Leave { entry: EntryKey, reason: DeadLetterReason },
    /// The entry is gone, to make room or because one with the same last-value key took its place: the
    /// store needs it no more.
    Dropped(Removed),
    /// The delivery count of the entry changed: what the store knows of it is old.
    Changed { entry: EntryKey },
}

/// The body of an entry that is to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    pub entry: EntryKey,
    pub reference: Reference,
    pub size: u32,
}

impl Queue {
    /// An empty queue.
    pub fn new(settings: Arc<QueueSettings>) -> Self {
        Self {
            settings,
            rows: Default::default(),
            floor: 0,
            members: None,
            keys: None,
            actions: VecDeque::new(),
            counts: Counts::default(),
            holding: None,
            counters: Counters::default(),
            idle: NEVER,
            enqueued_before: 0,
        }
    }

    /// Counts what it holds towards a tenant's stock. To be called while it holds nothing.
    pub(crate) fn set_holding(&mut self, holding: Holding) {
        self.holding = Some(Box::new(holding));
    }

    /// Whether its tenant may store a message of so many bytes more.
    ///
    /// # Errors
    /// The limit that this would break.
    pub(crate) fn check_stock(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.holding.as_ref().map_or(Ok(()), |holding| holding.check(messages, bytes))
    }

    /// The same, without counting it as refused.
    pub(crate) fn has_stock(&self, messages: u64, bytes: u64) -> Result<(), StockFull> {
        self.holding.as_ref().map_or(Ok(()), |holding| holding.has_room(messages, bytes))
    }

    /// Counts that something was refused because its tenant has no room.
    pub(crate) fn count_refused(&self, full: StockFull) {
        if let Some(holding) = &self.holding {
            holding.count_refused(full);
        }
    }

    /// How it treats messages.
    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    /// Changes how it treats messages; those that it holds stay, even beyond lower limits. Only messages
    /// that come from now on have a group, a last-value key or an id.
    pub fn set_settings(&mut self, settings: Arc<QueueSettings>) {
        self.settings = settings;
        self.choose_roles();
    }

    /// Whether it holds no entry and has no consumer.
    pub fn is_unused(&self) -> bool {
        self.counts.messages() == 0 && self.members.is_none()
    }

    /// An entry; `None` when it is gone.
    #[inline]
    pub fn entry(&self, key: EntryKey) -> Option<&Entry> {
        self.row(key)?.get(key.sequence())
    }

    /// The entries that it holds, in the order of delivery, from behind `after` on.
    pub fn entries(&self, after: Option<EntryKey>) -> impl Iterator<Item = (EntryKey, &Entry)> {
        let mut last = after;
        std::iter::from_fn(move || {
            let key = self.next_present(last)?;
            last = Some(key);
            Some((key, self.entry(key)?))
        })
    }

    /// What is to be done because of what happened.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether there is an entry that no consumer has and that may be handed out.
    pub fn has_open(&mut self) -> bool {
        self.rows.iter_mut().flatten().any(|row| row.first_open().is_some())
    }

    /// Counts the times that an entry became one that consumers may look at, while there are any.
    pub fn changes(&self) -> u64 {
        self.members.as_ref().map_or(0, |members| members.changes())
    }

    /// Bytes of its messages that are in memory.
    pub fn bytes_in_memory(&self) -> u64 {
        self.counts.bytes_in_memory
    }

    /// Messages that it holds, whatever their state.
    pub fn messages(&self) -> u64 {
        self.counts.messages()
    }

    /// What it holds and has counted; links and subscriptions are not its own to count. Entries that are
    /// leaving are in no state.
    pub fn statistics(&self) -> QueueStatistics {
        let oldest = |row: &Row| Some(row.get(row.next_present(0)?)?.arrived);
        let consumers = self.members.as_ref().map_or(0, |members| u64::from(members.len()));
        QueueStatistics {
            messages: self.counts.messages(),
            bytes: self.counts.bytes,
            available: self.counts.of(Stage::Available),
            acquired: self.counts.of(Stage::Acquired),
            delayed: self.counts.of(Stage::Delayed),
            storing: self.counts.of(Stage::Storing),
            bytes_in_memory: self.counts.bytes_in_memory,
            oldest: self.rows.iter().flatten().filter_map(|row| oldest(row)).min(),
            enqueued: self.counters.enqueued,
            acknowledged: self.counters.acknowledged,
            redelivered: self.counters.redelivered,
            dead_lettered: self.counters.dead_lettered,
            expired: self.counters.expired,
            dropped: self.counters.dropped,
            rejected: self.counters.rejected,
            consumers,
            ..QueueStatistics::default()
        }
    }

    /// Gives back memory that it keeps for later. It does so by itself when no message has come for ten
    /// seconds, and when the last entry and consumer are gone.
    pub fn trim(&mut self) {
        self.idle = NEVER;
        for place in &mut self.rows {
            let Some(row) = place else { continue };
            row.trim();
            if row.is_empty() {
                self.floor = self.floor.max(row.next());
                *place = None;
            }
        }
        if self.members.as_ref().is_some_and(|members| members.len() == 0) {
            self.members = None;
        }
        if self.counts.messages() == 0 && self.keys.as_ref().is_some_and(|keys| keys.is_empty()) {
            self.keys = None;
        }
        if self.actions.is_empty() {
            self.actions = VecDeque::new();
        }
    }

    /// Has it looked at in a while whether it still needs its memory.
    #[inline]
    fn watch_idle(&mut self, now: UnixMillis) {
        if self.idle == NEVER {
            self.idle = UnixMillis(now.0.saturating_add(IDLE_MILLIS));
            self.enqueued_before = self.counters.enqueued;
        }
    }

    /// Gives back memory when no message has come for a while.
    fn handle_idle(&mut self, now: UnixMillis) {
        if self.idle > now {
            return;
        }
        self.idle = NEVER;
        if self.counters.enqueued == self.enqueued_before {
            self.trim();
        } else {
            self.watch_idle(now);
        }
    }

    #[inline]
    fn row(&self, key: EntryKey) -> Option<&Row> {
        self.rows.get(key.row())?.as_deref()
    }

    #[inline]
    fn row_mut(&mut self, key: EntryKey) -> Option<&mut Row> {
        self.rows.get_mut(key.row())?.as_deref_mut()
    }

    #[inline]
    fn entry_mut(&mut self, key: EntryKey) -> Option<&mut Entry> {
        self.row_mut(key)?.get_mut(key.sequence())
    }

    /// The entry behind `after`, whatever its state.
    fn next_present(&self, after: Option<EntryKey>) -> Option<EntryKey> {
        let first = after.map_or(0, EntryKey::row);
        (first..ROWS).find_map(|index| {
            let from = after.filter(|key| key.row() == index).map_or(0, |key| key.sequence() + 1);
            let sequence = self.rows.get(index)?.as_ref()?.next_present(from)?;
            Some(EntryKey::new(index, sequence))
        })
    }

    /// Brings an entry into another state, with everything that goes by it.
    fn set_state(&mut self, key: EntryKey, state: State) {
        let Some(row) = self.rows.get_mut(key.row()).and_then(Option::as_deref_mut) else { return };
        let Some(entry) = row.get_mut(key.sequence()) else { return };
        let before = std::mem::replace(&mut entry.state, state).stage();
        if state != State::Available {
            self.counts.end_ahead(entry);
        }
        self.counts.subtract(before);
        self.counts.add(state.stage());
        row.set_open(key.sequence(), state == State::Available);
        if before == Stage::Storing {
            row.end_storing(key.sequence());
        }
        row.arm(key.sequence());
    }

    /// Takes an entry out for good.
    #[inline]
    fn erase(&mut self, key: EntryKey) -> Option<Removed> {
        let row = self.rows.get_mut(key.row())?.as_deref_mut()?;
        let mut entry = row.remove(key.sequence())?;
        let stage = entry.state.stage();
        if stage == Stage::Storing {
            row.end_storing(key.sequence());
        }
        self.counts.end_ahead(&mut entry);
        self.counts.subtract(stage);
        self.counts.bytes -= u64::from(entry.size);
        if let Some(holding) = &mut self.holding {
            holding.subtract(StockItem::Messages, 1);
            holding.subtract(StockItem::Bytes, u64::from(entry.size));
        }
        let freed = entry.bytes_in_memory();
        self.counts.bytes_in_memory -= freed;
        if let Some(keys) = &mut self.keys {
            keys.forget_entry(key, &entry);
        }
        if self.members.is_none() && self.counts.messages() == 0 {
            self.trim();
        }
        Some(Removed {
            entry: key,
            reference: entry.reference(),
            size: entry.size,
            freed: u32::try_from(freed).unwrap_or(u32::MAX),
            durable: entry.is(Flag::Durable),
        })
    }

    /// Panics unless what is counted is there.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let mut counts = Counts { generation: self.counts.generation, ..Counts::default() };
        for row in self.rows.iter().flatten() {
            row.check();
        }
        for (_, entry) in self.entries(None) {
            counts.add(entry.state.stage());
            counts.bytes += u64::from(entry.size);
            counts.bytes_in_memory += entry.bytes_in_memory();
            if entry.is(Flag::Ahead) {
                counts.ahead += 1;
                counts.ahead_bytes += u64::from(entry.size);
                assert_eq!(entry.state, State::Available);
            }
        }
        assert_eq!(format!("{counts:?}"), format!("{:?}", self.counts));
        let Some(members) = &self.members else { return };
        members.check();
        for (index, member) in members.iter() {
            let key = members.key(index);
            let has = self.entries(None).filter(|(_, entry)| entry.consumer() == key).count();
            assert_eq!(member.outstanding as usize, has);
            assert!(member.has.len() <= 2 * has + 17);
        }
    }
}
