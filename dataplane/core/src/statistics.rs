//! Counters.

use std::sync::Arc;

/// Deliveries by the outcome that consumers gave them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutcomeCounts {
    pub accepted: u64,
    pub rejected: u64,
    pub released: u64,
    pub modified: u64,
    /// Sent settled to the consumer: the outcome is not known.
    pub presettled: u64,
}

/// Counters of one core since its start, and gauges of what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
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

/// What one producer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerStatistics {
    /// Deliveries that it may still send.
    pub credit: u32,
    /// Deliveries begun and not yet settled (pre-settled: not yet handed on).
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
