//! Counters.

use std::sync::Arc;

use crate::core::Core;
use crate::key::AddressKey;
use crate::outcome::Outcome;
use crate::store::UnixMillis;

/// Deliveries by the outcome that consumers gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    /// Unknown outcomes among them.
    pub accepted: u64,
    pub rejected: u64,
    pub released: u64,
    pub modified: u64,
    /// Sent settled, or settled by the producer first: the outcome is not known.
    pub presettled: u64,
}

/// Counters of one core since its start, and gauges of what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Addresses that links can use, temporary ones of other shards among them.
    pub addresses: u64,
    pub producers: u64,
    pub consumers: u64,
    /// Deliveries begun by producers of this shard.
    pub deliveries_in: u64,
    /// Deliveries started to consumers of this shard.
    pub deliveries_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub outcomes: OutcomeCounts,
    /// Pre-settled deliveries that found no consumer or were dropped by an overload policy.
    pub dropped: u64,
    /// Deliveries whose time to live ran out before a consumer took them.
    pub expired: u64,
    /// Deliveries received and not yet handed to a consumer; one per consumer for multicast.
    pub undelivered: u64,
    /// Deliveries handed to a consumer of this shard and not yet settled.
    pub unsettled: u64,
}

/// Counters of one address on this shard since it was created, and gauges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressStatistics {
    pub name: Arc<str>,
    pub producers: u64,
    pub consumers: u64,
    pub deliveries_in: u64,
    pub deliveries_out: u64,
    pub dropped: u64,
    pub expired: u64,
    pub undelivered: u64,
    pub unsettled: u64,
}

/// What a queue holds, and what it counted since the node was started. The same for all subscriptions
/// of a topic together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStatistics {
    /// Messages that it holds, whatever their state.
    pub messages: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// Messages that wait for a consumer.
    pub available: u64,
    /// Messages that a consumer has and has not settled.
    pub acquired: u64,
    /// Messages that wait for their time: scheduled, or after a failed delivery.
    pub delayed: u64,
    /// Messages that are not on disk yet.
    pub storing: u64,
    /// Bytes of its messages that are in memory.
    pub bytes_in_memory: u64,
    /// When the oldest message came.
    pub oldest: Option<UnixMillis>,
    pub enqueued: u64,
    /// Messages that a consumer accepted or that were sent settled.
    pub acknowledged: u64,
    /// Deliveries of messages that had been delivered before.
    pub redelivered: u64,
    pub dead_lettered: u64,
    pub expired: u64,
    /// Messages that made room for others, were duplicates, or found no room and were sent settled.
    pub dropped: u64,
    /// Messages that were not taken.
    pub rejected: u64,
    pub producers: u64,
    pub consumers: u64,
    /// Subscriptions of a topic.
    pub subscriptions: u64,
    /// Messages that a topic retains, and their bytes.
    pub retained: u64,
    pub retained_bytes: u64,
}

/// One subscription of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionStatistics {
    /// Empty for one without a name.
    pub name: Arc<str>,
    pub durable: bool,
    pub shared: bool,
    /// The names that it gets.
    pub filters: Arc<[Arc<str>]>,
    /// Those for whom it goes on while nobody consumes from it.
    pub claims: u64,
    pub queue: QueueStatistics,
}

/// What one producer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerStatistics {
    /// Deliveries that it may still send.
    pub credit: u32,
    /// Deliveries begun whose credit has not come back: not settled, or pre-settled and waiting.
    pub unsettled: u64,
    pub deliveries: u64,
}

/// What one consumer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerStatistics {
    /// Deliveries that it will still take.
    pub credit: u32,
    pub unsettled: u64,
    pub deliveries: u64,
}

/// What an address counts itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddressCounters {
    pub(crate) deliveries_in: u64,
    pub(crate) deliveries_out: u64,
    pub(crate) dropped: u64,
    pub(crate) expired: u64,
    pub(crate) undelivered: u64,
    pub(crate) unsettled: u64,
}

impl OutcomeCounts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Released => self.released += 1,
            Outcome::Modified { .. } => self.modified += 1,
            Outcome::Accepted | Outcome::Received { .. } | Outcome::Other(_) => self.accepted += 1,
        }
    }
}

impl Core {
    /// Counters of the whole core.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            addresses: self.addresses.iter().filter(|(_, address)| address.is_known()).count() as u64,
            producers: self.producer_links(),
            consumers: self.consumer_links(),
            ..self.counters
        }
    }

    /// Counters of one address; `None` when there is none of that name.
    pub fn address(&self, name: &str) -> Option<AddressStatistics> {
        let address = self.addresses.get(*self.names.get(name)?)?;
        address.is_known().then(|| address.statistics())
    }

    /// Counters of every address, by name.
    pub fn addresses(&self) -> impl Iterator<Item = AddressStatistics> {
        self.names
            .values()
            .filter_map(|key| self.addresses.get(*key))
            .filter(|address| address.is_known())
            .map(|address| address.statistics())
    }

    pub(crate) fn count_dropped(&mut self, address: Option<AddressKey>, count: u64) {
        self.counters.dropped += count;
        if let Some(address) = address.and_then(|key| self.addresses.get_mut(key)) {
            address.counters.dropped += count;
        }
    }
}
