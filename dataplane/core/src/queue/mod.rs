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

mod entry;
mod member;

use std::sync::Arc;

use bytes::Bytes;

pub use self::entry::{Arrival, Entry, EntryKey, Removed};
pub use self::member::{MemberKey, MemberOptions};
use crate::format::DeadLetterReason;
use crate::settings::QueueSettings;
use crate::statistics::QueueStatistics;
use crate::store::{Reference, UnixMillis};

/// One queue. The module says how to drive it.
#[derive(Debug)]
pub struct Queue {
    settings: Arc<QueueSettings>,
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// A message with the same id was taken a short time ago: its producer may be told that this one was
    /// accepted.
    #[error("a message with the same message-id was taken before")]
    Duplicate,
    /// See [`QueueSettings::max_messages`].
    #[error("the queue holds {limit} messages, its limit; consume some or raise the limit")]
    TooManyMessages { limit: u64 },
    /// See [`QueueSettings::max_bytes`].
    #[error(
        "the queue has no room for the message within its limit of {limit} bytes; consume some or raise the limit"
    )]
    TooManyBytes { limit: u64 },
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
        Self { settings }
    }

    /// How it treats messages.
    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    /// Changes how it treats messages; those that it holds stay, even beyond lower limits.
    pub fn set_settings(&mut self, settings: Arc<QueueSettings>) {
        self.settings = settings;
    }

    /// Whether it is at one of its limits: with [`OnFull::Block`](crate::OnFull::Block), producers are to
    /// get no further credit.
    pub fn is_full(&self) -> bool {
        todo!()
    }

    /// Whether it holds no entry and has no consumer.
    pub fn is_unused(&self) -> bool {
        todo!()
    }

    /// Takes a message. With [`OnFull::DropOldest`](crate::OnFull::DropOldest) others may have to go:
    /// see `poll_action`.
    ///
    /// # Errors
    /// When it is a duplicate, or finds no room.
    pub fn enqueue(&mut self, now: UnixMillis, arrival: Arrival) -> Result<EntryKey, NotTaken> {
        let _ = (now, arrival);
        todo!()
    }

    /// Takes a message that the store has kept over a restart, whatever the limits. Its body is not in
    /// memory; `size` is that of the body. To be called in the order of the store.
    pub fn restore(
        &mut self,
        now: UnixMillis,
        arrival: Arrival,
        size: u32,
        reference: Reference,
        delivery_count: u32,
    ) -> EntryKey {
        let _ = (now, arrival, size, reference, delivery_count);
        todo!()
    }

    /// The store has the message: it may be delivered if it was waiting for that, and its body may be
    /// dropped. False when the entry is gone: then the store needs the message no more.
    pub fn stored(&mut self, now: UnixMillis, key: EntryKey, reference: Reference) -> bool {
        let _ = (now, key, reference);
        todo!()
    }

    /// The store does not take the message: an entry that was waiting for it is gone, one that was not
    /// stays in memory. False when nothing is gone.
    pub fn store_failed(&mut self, key: EntryKey) -> bool {
        let _ = key;
        todo!()
    }

    /// An entry; `None` when it is gone.
    pub fn entry(&self, key: EntryKey) -> Option<&Entry> {
        let _ = key;
        todo!()
    }

    /// Lets a consumer in. It gets nothing before it has credit.
    ///
    /// # Errors
    /// When it or another one wants to be alone. Browsers do not count.
    pub fn add_consumer(&mut self, options: MemberOptions) -> Result<MemberKey, NotAlone> {
        let _ = options;
        todo!()
    }

    /// A consumer is gone: what it had and did not settle counts as a failed delivery and waits again,
    /// or leaves. What never reached it should be settled as `Released` before.
    pub fn remove_consumer(&mut self, now: UnixMillis, consumer: MemberKey) {
        let _ = (now, consumer);
        todo!()
    }

    /// How many deliveries the consumer will take from now on. With `drain`, what cannot be used now is
    /// taken back: see `poll_drained`.
    pub fn set_credit(&mut self, consumer: MemberKey, credit: u32, drain: bool) {
        let _ = (consumer, credit, drain);
        todo!()
    }

    /// A consumer that is held gets nothing, whatever its credit: its connection is slow.
    pub fn set_held(&mut self, consumer: MemberKey, held: bool) {
        let _ = (consumer, held);
        todo!()
    }

    /// What the consumer may still be handed.
    pub fn credit(&self, consumer: MemberKey) -> u32 {
        let _ = consumer;
        todo!()
    }

    /// Hands out the next message: to the consumer with the fewest that it has not settled, and among
    /// equals to the one that has waited longest, the first message that it may have.
    pub fn next(&mut self, now: UnixMillis) -> Next {
        let _ = now;
        todo!()
    }

    /// A consumer whose credit was to be drained and for which there is nothing more: its credit is 0
    /// now. To be asked after `next` was `Idle`. Also gives the consumer's `owner`.
    pub fn poll_drained(&mut self) -> Option<(MemberKey, u64)> {
        todo!()
    }

    /// A consumer is done with an entry that it was handed.
    pub fn settle(
        &mut self,
        now: UnixMillis,
        consumer: MemberKey,
        key: EntryKey,
        settlement: Settlement,
    ) -> Settled {
        let _ = (now, consumer, key, settlement);
        todo!()
    }

    /// The first entry behind `after` that no consumer has and that is not being stored, in the order of
    /// delivery: it is leaving from now on. To purge, `remove` it; to move it, `remove` it when it has
    /// arrived elsewhere.
    pub fn take(&mut self, after: Option<EntryKey>) -> Option<EntryKey> {
        let _ = after;
        todo!()
    }

    /// A leaving entry is gone: the store needs it no more.
    pub fn remove(&mut self, key: EntryKey) -> Option<Removed> {
        let _ = key;
        todo!()
    }

    /// A leaving entry found no place elsewhere and waits again.
    pub fn put_back(&mut self, now: UnixMillis, key: EntryKey) {
        let _ = (now, key);
        todo!()
    }

    /// What is to be done because of what happened.
    pub fn poll_action(&mut self) -> Option<Action> {
        todo!()
    }

    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<UnixMillis> {
        todo!()
    }

    /// Ends messages whose time has run out and frees those whose time has come, about `limit` of them at
    /// most; `poll_timeout` then says at once again.
    pub fn handle_timeout(&mut self, now: UnixMillis, limit: usize) {
        let _ = (now, limit);
        todo!()
    }

    /// A body that is to be loaded, because consumers will soon need it. What has been loaded ahead and
    /// not been handed out stays within `max_ahead` bytes, or one message. Each is answered with `loaded`
    /// or `load_failed`.
    pub fn poll_load(&mut self, max_ahead: u64) -> Option<Load> {
        let _ = max_ahead;
        todo!()
    }

    /// The body of an entry is here. False when nobody needs it any more.
    pub fn loaded(&mut self, key: EntryKey, body: Bytes) -> bool {
        let _ = (key, body);
        todo!()
    }

    /// The body of an entry cannot be read: the entry is leaving from now on. False when it was gone or
    /// somebody has it.
    pub fn load_failed(&mut self, key: EntryKey) -> bool {
        let _ = key;
        todo!()
    }

    /// Drops the body of an entry that the store has; says how many bytes that frees.
    pub fn drop_body(&mut self, key: EntryKey) -> usize {
        let _ = key;
        todo!()
    }

    /// Bytes of its messages that are in memory.
    pub fn bytes_in_memory(&self) -> u64 {
        todo!()
    }

    /// What it holds and has counted; links and subscriptions are not its own to count.
    pub fn statistics(&self) -> QueueStatistics {
        todo!()
    }

    /// Gives back memory that it keeps for later. To be called when it has had nothing to do for a while.
    pub fn trim(&mut self) {}
}
