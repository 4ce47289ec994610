//! What addresses and the core as a whole may do: every bound has its name here.

use std::time::Duration;

/// A shard of the node: one thread with its connections and its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// One consumer, the least busy.
    Anycast,
    /// Every consumer that is there when the message arrives.
    Multicast,
}

/// What happens when a multicast consumer has [`AddressSettings::max_undelivered`] messages waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// Producers get no further credit until the slowest consumer is below the limit. What they may
    /// still send with the credit they have waits beyond it.
    Block,
    /// The consumer's oldest pre-settled messages beyond the limit are dropped and counted.
    /// Unsettled messages are bounded by the credit of their producers and are never dropped.
    Drop,
    /// The consumer is closed when it goes beyond the limit.
    Disconnect,
}

/// How an address treats its messages and links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressSettings {
    pub kind: AddressKind,
    /// Producer links on the whole node; 0 means no limit. Shards learn of each other's links a
    /// moment later, so links that come at once on several shards may exceed it by their number.
    pub max_producers: u32,
    /// Consumer links on the whole node; 0 means no limit. The same holds as for `max_producers`.
    pub max_consumers: u32,
    /// Bytes of a message; 0 means no limit. A larger one is rejected.
    pub max_message_bytes: u64,
    /// Deliveries that a producer may have in flight. 0 counts as 1.
    pub link_credit: u32,
    /// Messages that may wait for one multicast consumer before `overload` applies. 0 counts as 1.
    pub max_undelivered: u32,
    pub overload: Overload,
    /// Replaces the priority of every message. Above 9 counts as 9.
    pub priority: Option<u8>,
    /// Time to live of messages that say none.
    pub ttl_default: Option<Duration>,
    /// A message may not say less.
    pub ttl_min: Option<Duration>,
    /// A message may not say more. A message without any time to live is not bounded by it.
    pub ttl_max: Option<Duration>,
}

/// Bounds of one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreLimits {
    /// Producer links of the shard.
    pub max_producers: u32,
    /// Consumer links of the shard.
    pub max_consumers: u32,
    /// Temporary addresses of the shard.
    pub max_temporaries: u32,
    /// Credit of an anonymous producer, and of producers on temporary addresses. 0 counts as 1.
    pub link_credit: u32,
    /// Messages that another shard may have waiting here for one address beyond the credit of the
    /// consumers: all it may send to a temporary address, and the least that a multicast address
    /// lets it send. 0 counts as 1.
    pub peer_window: u32,
    /// Bytes (each chunk counts 256 more) that may wait at one address for consumers although their
    /// producers have left; beyond it, the address lets no new producer in. What anonymous producers
    /// left counts by itself, for all addresses together, and keeps new anonymous ones out.
    pub max_orphaned_bytes: u64,
}

impl Default for AddressSettings {
    fn default() -> Self {
        Self {
            kind: AddressKind::Anycast,
            max_producers: 0,
            max_consumers: 0,
            max_message_bytes: 0,
            link_credit: 250,
            max_undelivered: 1_000,
            overload: Overload::Block,
            priority: None,
            ttl_default: None,
            ttl_min: None,
            ttl_max: None,
        }
    }
}

impl Default for CoreLimits {
    fn default() -> Self {
        Self {
            max_producers: 1_000_000,
            max_consumers: 1_000_000,
            max_temporaries: 100_000,
            link_credit: 250,
            peer_window: 64,
            max_orphaned_bytes: 64 << 20,
        }
    }
}

impl AddressSettings {
    /// How long a message may wait: its own time to live or the default, within the bounds.
    pub(crate) fn time_to_live(&self, own: Option<Duration>) -> Option<Duration> {
        let mut ttl = own.or(self.ttl_default)?;
        if let Some(min) = self.ttl_min {
            ttl = ttl.max(min);
        }
        if let Some(max) = self.ttl_max {
            ttl = ttl.min(max);
        }
        Some(ttl)
    }

    /// The level at which a message waits, 0 to 9.
    pub(crate) fn level(&self, own: u8) -> u8 {
        self.priority.unwrap_or(own).min(9)
    }
}
