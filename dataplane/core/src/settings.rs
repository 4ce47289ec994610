//! What addresses and the core as a whole may do: every bound has its name here.

use std::sync::Arc;
use std::time::Duration;

use crate::format::Filter;
use crate::store::QueueId;

/// A shard of the fleet, as this node numbers them: one thread with its connections and its core.
///
/// The low eight bits are the shard within its node; the rest is the *slot* of the node. Slot 0 is this
/// node; the others get 1, 2, ... in the order in which this node first hears of them, and keep them as
/// long as it runs. So a shard of this node has its own number as its id, and two nodes number the same
/// shard differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl ShardId {
    /// Bits of the shard within its node.
    const SHARD_BITS: u32 = 8;
    /// Shards that a node can have.
    pub const MAX_SHARDS: u16 = 1 << Self::SHARD_BITS;
    /// The largest slot.
    pub const MAX_SLOT: u32 = u32::MAX >> Self::SHARD_BITS;

    /// A shard of the node in a slot. Of either number only as many bits count as it may have.
    pub const fn new(slot: u32, shard: u16) -> Self {
        Self((slot << Self::SHARD_BITS) | (shard % Self::MAX_SHARDS) as u32)
    }

    /// The slot of its node; 0: this node.
    pub const fn slot(self) -> u32 {
        self.0 >> Self::SHARD_BITS
    }

    /// Which of the shards of its node it is.
    pub const fn shard(self) -> u16 {
        (self.0 % Self::MAX_SHARDS as u32) as u16
    }

    /// Whether it is a shard of this node.
    pub const fn is_here(self) -> bool {
        self.slot() == 0
    }
}

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressKind {
    /// One consumer, the least busy.
    Anycast,
    /// Every consumer that is there when the message arrives.
    Multicast,
    /// One consumer, now or later: the address keeps messages until they are settled.
    Queue,
    /// Every subscription that is there when the message arrives; each keeps its messages until they
    /// are settled.
    Topic,
}

impl AddressKind {
    /// Whether the address keeps messages, at its home shard.
    pub fn is_stored(self) -> bool {
        matches!(self, Self::Queue | Self::Topic)
    }
}

/// What happens to a message for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It is rejected, or dropped and counted when it was sent settled.
    #[default]
    Reject,
    /// Producers get no further credit until there is room again. What they send with the credit they
    /// have is still taken, beyond the limit.
    Block,
    /// The oldest messages that no consumer has make room for it.
    DropOldest,
}

/// How duplicates are found by message id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deduplicate {
    /// How long an id is remembered.
    pub window: Duration,
    /// How many ids are remembered at most.
    pub max_ids: u32,
}

/// How a queue, or each subscription of a topic, keeps messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// Messages that it holds at most; 0 means no limit.
    pub max_messages: u64,
    /// Bytes of the messages that it holds at most; 0 means no limit.
    pub max_bytes: u64,
    pub on_full: OnFull,
    /// Deliveries that may fail before a message goes to the dead letter address; 0 means no limit.
    pub max_deliveries: u32,
    /// How long a message waits after its first failed delivery.
    pub redelivery_delay: Duration,
    /// By how much each further delay is longer than the one before; 100 keeps it. Below 100 counts
    /// as 100.
    pub redelivery_multiplier_percent: u32,
    /// The longest delay.
    pub redelivery_delay_max: Duration,
    /// Where messages go that consumers reject or fail to process too often, on this node; without
    /// one they are dropped and counted.
    pub dead_letter: Option<Arc<str>>,
    /// Where messages go whose time to live runs out, on this node; without one they are dropped and
    /// counted.
    pub expiry: Option<Arc<str>>,
    /// The first consumer gets everything; the others get something when it has left.
    pub exclusive: bool,
    /// Messages of one group go to one consumer, in order.
    pub groups: bool,
    /// A message takes the place of the one before with the same key.
    pub last_value: bool,
    pub deduplicate: Option<Deduplicate>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            max_messages: 0,
            max_bytes: 0,
            on_full: OnFull::Reject,
            max_deliveries: 0,
            redelivery_delay: Duration::ZERO,
            redelivery_multiplier_percent: 100,
            redelivery_delay_max: Duration::from_secs(3_600),
            dead_letter: None,
            expiry: None,
            exclusive: false,
            groups: false,
            last_value: false,
            deduplicate: None,
        }
    }
}

/// What makes a queue an administratively created subscription of a topic.
#[derive(Clone, Debug)]
pub struct SubscriptionSettings {
    /// The topic's address. The subscription's own name is that and `::` and a name, so that both
    /// have the same home.
    pub topic: Arc<str>,
    /// The names that it gets, with `+` and `#`; `None`: all of the topic.
    pub levels: Option<Arc<str>>,
    pub filter: Option<Arc<dyn Filter>>,
}

impl PartialEq for SubscriptionSettings {
    fn eq(&self, other: &Self) -> bool {
        let same_filter = match (&self.filter, &other.filter) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_filter && self.topic == other.topic && self.levels == other.levels
    }
}

impl Eq for SubscriptionSettings {}

/// The shard that is the home of a stored address on its node, which has so many of them: it alone holds
/// its messages. A subscription (`topic::name`) has its topic's home. The shards of one queue that a node
/// has are on different ones, as far as those go, when their numbers follow each other.
pub fn home(name: &str, shards: u16) -> ShardId {
    let (name, number) = match split_shard(name) {
        Some((queue, number)) => (queue, number),
        None => (name.split_once("::").map_or(name, |(topic, _)| topic), 0),
    };
    let hash = hash_of_name(name).wrapping_add(u64::from(number));
    ShardId::new(0, (hash % u64::from(shards.max(1))) as u16)
}

/// Shards that a queue may have.
pub const MAX_QUEUE_SHARDS: u16 = 64;

/// What stands between the name of a queue and the number of one of its shards.
const SHARD_SEPARATOR: &str = "::#";

/// The name of a shard of a queue: that of the queue for the first one, which is 0. No address that a user may
/// declare is called like the others.
pub fn shard_name(queue: &str, number: u16) -> Arc<str> {
    match number {
        0 => queue.into(),
        number => format!("{queue}{SHARD_SEPARATOR}{number}").into(),
    }
}

/// The queue that an address is a further shard of, and which; `None` for all other names.
pub fn split_shard(name: &str) -> Option<(&str, u16)> {
    let (queue, number) = name.rsplit_once(SHARD_SEPARATOR)?;
    let number = number.parse().ok().filter(|number| (1..MAX_QUEUE_SHARDS).contains(number))?;
    Some((queue, number))
}

/// FNV-1a: the same in every run, in every version and on every node.
pub(crate) fn hash_of_name(name: &str) -> u64 {
    hash_of_bytes(name.as_bytes())
}

/// The same of any bytes.
pub(crate) fn hash_of_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
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

/// Which of the consumers that could take an anycast message gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distribution {
    /// The one with the fewest deliveries outstanding. A shard with consumers counts with the deliveries
    /// that it has outstanding for each of them, and with the cost of the path to it; a draw stays on the
    /// shard of the producer.
    #[default]
    Balanced,
    /// One on the nearest node that has any: this one, else that with the cheapest path. In turn, where
    /// several shards are as near.
    Closest,
}

/// Bytes of a message for an address whose home is on another node, at most.
const MAX_SENT_BYTES: u64 = (crate::MAX_WIRE_BYTES - crate::MAX_WIRE_HEAD) as u64;

/// The slot of a node that this one has never heard of; see [`AddressSettings::home`].
pub const UNKNOWN_SLOT: u32 = ShardId::MAX_SLOT;

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
    /// How a queue, or each subscription of a topic, keeps messages; `None` means the default.
    pub queue: Option<Arc<QueueSettings>>,
    /// The queue in the store. Without one a queue keeps all messages in memory only.
    pub id: Option<QueueId>,
    /// For a queue that is a subscription of a topic.
    pub subscription: Option<Arc<SubscriptionSettings>>,
    /// Where an address that keeps messages has its home: the slot of the node, 0 for this one. While there
    /// is no channel to its shard there ([`home`]), or with [`UNKNOWN_SLOT`], the address lets no links in
    /// and takes no messages.
    pub home: u32,
    /// Of an address that keeps messages, while it changes its home: the slot of the node that had it before.
    /// Producers still send there, and that home passes what it has on, in order, until it has nothing left:
    /// [`Effect::Emptied`](crate::Effect::Emptied). A topic stays there altogether, with its subscriptions, until
    /// `home` has a copy of it, which is said in the same way.
    pub moving_from: Option<u32>,
    /// Who gets an anycast message.
    pub distribution: Distribution,
    /// Shards of a queue, at most [`MAX_QUEUE_SHARDS`]; 0 counts as 1. With more than one, each is an address
    /// of its own ([`shard_name`]) with this number and a home of its own. What the queue may hold is for each
    /// of them.
    pub shards: u16,
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
    /// Bytes of messages of queues that the shard keeps in memory. Beyond it bodies are in the store
    /// only, as far as it has them. Messages that are coming in count too, and are rejected beyond it.
    pub stored_memory_bytes: u64,
    /// Bytes of a message for an address that keeps messages and says no limit of its own.
    pub stored_message_bytes: u64,
    /// Durable subscriptions of the shard's topics.
    pub max_subscriptions: u32,
    /// Live subscriptions of the shard's clients.
    pub max_live_subscriptions: u32,
    /// Filters of one subscription.
    pub max_filters: u32,
    /// Messages that the shard's topics retain.
    pub max_retained: u32,
    /// Transactions declared on the shard and not discharged.
    pub max_transactions: u32,
    /// Messages and outcomes in one transaction.
    pub max_transaction_work: u32,
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
            queue: None,
            id: None,
            subscription: None,
            home: 0,
            moving_from: None,
            distribution: Distribution::Balanced,
            shards: 1,
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
            stored_memory_bytes: 256 << 20,
            stored_message_bytes: 16 << 20,
            max_subscriptions: 1_000_000,
            max_live_subscriptions: 10_000_000,
            max_filters: 100_000,
            max_retained: 1_000_000,
            max_transactions: 10_000,
            max_transaction_work: 100_000,
        }
    }
}

/// The time to live of messages that say none, and its bounds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lifetime {
    default: Option<Duration>,
    min: Option<Duration>,
    max: Option<Duration>,
}

impl Lifetime {
    /// How long a message may wait that says this of its time to live.
    pub(crate) fn of(self, own: Option<Duration>) -> Option<Duration> {
        let ttl = own.or(self.default)?;
        let ttl = self.min.map_or(ttl, |min| ttl.max(min));
        Some(self.max.map_or(ttl, |max| ttl.min(max)))
    }
}

impl AddressSettings {
    /// How long a message may wait: its own time to live or the default, within the bounds.
    pub(crate) fn time_to_live(&self, own: Option<Duration>) -> Option<Duration> {
        self.lifetime().of(own)
    }

    /// Whether these are the settings of another address of the same name, which has nothing of this one.
    pub(crate) fn is_another(&self, other: &Self) -> bool {
        let are_here = self.home == 0 && other.home == 0;
        self.kind != other.kind || (are_here && self.id != other.id)
    }

    /// The slot of the node that producers of a stored address send to.
    pub(crate) fn entrance(&self) -> u32 {
        self.moving_from.unwrap_or(self.home)
    }

    /// Whether a change of home is a copy that comes to count as a whole: for topics and their subscriptions.
    /// What a queue holds is passed on instead.
    pub(crate) fn is_copied(&self) -> bool {
        self.kind == AddressKind::Topic || self.subscription.is_some()
    }

    /// The slots of the nodes that consumers attach at, and that producers send to.
    pub(crate) fn places(&self) -> (u32, u32) {
        let home = if self.is_copied() { self.entrance() } else { self.home };
        (home, self.entrance())
    }

    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime { default: self.ttl_default, min: self.ttl_min, max: self.ttl_max }
    }

    /// Bytes that a message may have; `None`: no limit.
    pub(crate) fn message_limit(&self, limits: &CoreLimits) -> Option<u64> {
        let own = match self.max_message_bytes {
            0 if self.kind.is_stored() => limits.stored_message_bytes,
            0 => return None,
            limit => limit,
        };
        // It goes to another node in one piece.
        let is_there = self.kind.is_stored() && (self.home != 0 || self.shards > 1);
        Some(if is_there { own.min(MAX_SENT_BYTES) } else { own })
    }

    /// The level at which a message waits, 0 to 9.
    pub(crate) fn level(&self, own: u8) -> u8 {
        self.priority.unwrap_or(own).min(9)
    }
}
