//! Addresses that keep messages: queues, and topics with their subscriptions.

use std::sync::Arc;
use std::time::Instant;

use crate::core::Core;
use crate::effect::Refused;
use crate::format::Format;
use crate::key::{ConsumerKey, LegKey};
use crate::outcome::Outcome;
use crate::statistics::{QueueStatistics, SubscriptionStatistics};
use crate::store::{QueueId, RecoveredMessage, StoreAnswer, TransactionId, UnixMillis};

impl Core {
    /// How messages are read and changed. Set it before anything else.
    pub fn set_format(&mut self, _format: Arc<dyn Format>) {}

    /// How the wall clock and `Instant` relate. To be called at the start, and when the wall clock was
    /// set.
    pub fn set_clock(&mut self, _now: Instant, _unix: UnixMillis) {}

    /// Takes the store's answer to a request.
    pub fn handle_store(&mut self, _now: Instant, _answer: StoreAnswer) {}

    /// The home of an object that the store has kept, and the queue that belongs to it; `None` when it
    /// is not one of the core's.
    pub fn stored_object(_key: &[u8], _value: &[u8], _shards: u16) -> Option<(crate::ShardId, QueueId)> {
        None
    }

    /// Takes an object that the store has kept over a restart, at its home. All addresses have been
    /// set before; messages follow.
    pub fn recover_object(&mut self, _now: Instant, _key: &[u8], _value: &[u8]) {}

    /// Takes a message that the store has kept over a restart, at the home of its queue, in the order
    /// of the store. False when no such queue is here.
    pub fn recover(&mut self, _now: Instant, _message: RecoveredMessage<'_>) -> bool {
        false
    }

    /// Nothing more is recovered: what waits is delivered from now on.
    pub fn recovered(&mut self, _now: Instant) {}

    /// Ends the subscription that a consumer has, with all it holds, when the consumer is the last one
    /// that uses it. The consumer's link is to be removed as usual afterwards.
    pub fn unsubscribe(&mut self, _now: Instant, _consumer: ConsumerKey) {}

    /// Removes every message of a queue, or of every subscription of a topic, that no consumer has.
    /// To be called at the home shard.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of such an address.
    pub fn purge(&mut self, _now: Instant, name: &str) -> Result<u64, Refused> {
        Err(Refused::NotFound(name.into()))
    }

    /// Moves up to `limit` messages (0: all that there are now) of a queue that no consumer has to
    /// another address, the oldest first. Says how many were set in motion; one that the other
    /// address does not take stays. To be called at the home shard of `from`.
    ///
    /// # Errors
    /// `NotFound` when this shard is not the home of `from`, or without an address `to`.
    pub fn move_messages(
        &mut self,
        _now: Instant,
        from: &str,
        _to: &str,
        _limit: u64,
    ) -> Result<u64, Refused> {
        Err(Refused::NotFound(from.into()))
    }

    /// What a queue or a topic holds; `None` when this shard is not its home.
    pub fn queue(&self, _name: &str) -> Option<QueueStatistics> {
        None
    }

    /// The subscriptions of a topic; empty when this shard is not its home.
    pub fn subscriptions(&self, _topic: &str) -> Vec<SubscriptionStatistics> {
        Vec::new()
    }

    /// Starts a transaction.
    ///
    /// # Errors
    /// `LimitExceeded` when the shard has its number of transactions.
    pub fn declare(&mut self, _now: Instant) -> Result<TransactionId, Refused> {
        Err(Refused::LimitExceeded { what: "the shard".into(), links: "transactions", limit: 0 })
    }

    /// Ends a transaction: commits it, or with `fail` rolls it back. `Discharged` says what became of
    /// it.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name.
    pub fn discharge(
        &mut self,
        _now: Instant,
        transaction: TransactionId,
        _fail: bool,
    ) -> Result<(), Refused> {
        Err(Refused::NoTransaction(transaction.0))
    }

    /// Takes over the outcome that a consumer gives to a delivery in a transaction: it counts once
    /// that is committed.
    ///
    /// # Errors
    /// `NoTransaction` when there is none of that name.
    pub fn settle_in_transaction(
        &mut self,
        _now: Instant,
        _leg: LegKey,
        _outcome: Option<Outcome>,
        transaction: TransactionId,
    ) -> Result<(), Refused> {
        Err(Refused::NoTransaction(transaction.0))
    }
}
