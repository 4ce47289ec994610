//! The routing core of mq, without IO: addresses, producers, consumers, deliveries, credit and
//! settlement.
//!
//! Every thread of a node that owns connections (a *shard*) owns one [`Core`]. The core sees
//! messages as opaque bytes: never a frame, a socket, a task, a clock, a random source or the name
//! of a protocol. Time comes in as `now`, which never goes back.
//!
//! Drive it like this: translate what a connection did into one call ([`Core::begin`],
//! [`Core::settle_by_consumer`], ...), then take every [`Effect`] out with [`Core::poll_effect`] and
//! carry it out; arm a timer from [`Core::poll_timeout`] and call [`Core::handle_timeout`] when it
//! fires. Effects for other shards ([`Effect::Peer`]) are handed to [`Core::handle_peer`] of that
//! shard's core, in order and without loss; those of other nodes are peers from [`Core::add_peer`] to
//! [`Core::handle_peer_gone`], and what is for them leaves as bytes, some of it put together already
//! ([`Effect::Run`]), for [`Core::handle_encoded`].
//!
//! Effects name links by key. A key that the caller has removed can still stand in an effect that
//! was queued before; ignore such an effect. Calls with a key that no longer exists do nothing.
//!
//! ```
//! use std::time::Instant;
//! use mq_core::*;
//!
//! let now = Instant::now();
//! let mut core = Core::new(ShardId(0), 1, CoreLimits::default());
//! core.set_address(now, &"telemetry".into(), AddressSettings::default());
//! let producer =
//!     core.add_producer(now, ProducerTarget::Address("telemetry"), ProducerOptions::default())?;
//! assert!(core.poll_effect().is_none(), "no consumer, no credit");
//!
//! let lane = core.add_lane();
//! core.set_lane_budget(now, lane, 1 << 20);
//! let consumer = core.add_consumer(now, lane, "telemetry", ConsumerOptions::default())?;
//! core.set_credit(now, consumer, 10, false);
//! assert!(matches!(core.poll_effect(), Some(Effect::Grant { credit: 250, .. })));
//!
//! let message = Incoming {
//!     to: None,
//!     handle: 7,
//!     settled: false,
//!     priority: 4,
//!     chunk: "hello".into(),
//!     ..Incoming::default()
//! };
//! core.begin(now, producer, message);
//! let Some(Effect::Deliver { leg: Some(leg), .. }) = core.poll_effect() else { unreachable!() };
//! core.settle_by_consumer(now, leg, Some(Outcome::Accepted), true);
//! assert!(matches!(core.poll_effect(), Some(Effect::UpdateProducer { handle: 7, settled: true, .. })));
//! # Ok::<(), Refused>(())
//! ```
//!
//! What holds at every moment, and is tested with random operations:
//!
//! - A delivery is handed to one consumer (anycast) or to each consumer that was there when it
//!   arrived (multicast), at most once each, and its producer learns exactly one settlement.
//! - A consumer never gets more deliveries than the credit it has given.
//! - `credit + owed + in flight` of a producer is its `link_credit`: nothing it may send is
//!   unbounded, and none of it leaks.
//! - When every link has left, no delivery, leg, link or unnamed address remains.
//!
//! Queues and topics keep messages. Each has one home among the shards ([`home`]); what has to survive a
//! restart goes out as [`Effect::Store`] and comes back as [`Core::handle_store`], and after a restart with
//! [`Core::recover`]. Besides the above it holds that:
//!
//! - What was accepted is delivered until a consumer settles it for good, it expires, or the settings of
//!   its queue say otherwise; durable messages also over restarts.
//! - Of one producer and one priority, what is delivered for the first time is in the order in which it
//!   was sent.
//! - A transaction counts in all of its queues or in none, also after a crash.
//!
//! A home may be on another node. What it has not answered when it is out of reach is answered as failed, at
//! once; links to it are refused until it is back ([`Refused::HomeUnavailable`]), and nothing is made up
//! elsewhere in the meantime: out of reach is not empty.
//!
//! A topic also has live subscribers, who are no consumers: [`Core::add_live`], [`Core::route`],
//! [`Core::publish_live`]. A caller whose clients both publish and subscribe so hands their messages on
//! itself, and the core need not see them; what other producers send comes as [`Effect::Live`]. Each live
//! subscriber gets a message at most once, and those of one publisher in order.

// What this package may not touch stands in its clippy.toml; tests may.
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod address;
mod anycast;
mod broker;
mod by_shard;
pub mod condition;
mod consumer;
mod core;
mod delivery;
mod effect;
pub mod encoding;
mod expiry;
mod fleet;
mod format;
mod key;
mod lane;
mod list;
mod live;
mod multicast;
mod outcome;
mod peer;
mod producer;
pub mod queue;
mod ready;
mod settings;
mod settle;
mod space;
mod statistics;
mod stock;
mod store;
mod tokens;
pub mod topic;
mod wire;

pub use self::broker::{DurableSubscription, RetainedMessage, RetainedPage, RetainedQuery};
pub use self::consumer::{ConsumerOptions, SubscriptionOptions};
pub use self::core::Core;
pub use self::delivery::{Begun, COPY_UP_TO, Incoming, Retain};
pub use self::effect::{CloseReason, Effect, Refused};
pub use self::fleet::{NodeShards, PeerOptions};
pub use self::format::{
    DeadLetter, DeadLetterReason, Filter, Format, MessageKeys, Notes, Redelivery, RestoredFilter,
};
pub use self::key::{AddressKey, ConsumerKey, DeliveryKey, LaneKey, LegKey, ProducerKey};
pub use self::live::{LIVE_WINDOW, LiveMessage, Route, Subscriber};
pub use self::outcome::{ErrorInfo, Outcome};
pub use self::peer::{PEER_FREE_BYTES, PeerMessage};
pub use self::producer::{ProducerOptions, ProducerTarget};
pub use self::settings::{
    AddressKind, AddressSettings, CoreLimits, Deduplicate, Distribution, MAX_QUEUE_SHARDS, OnFull, Overload,
    QueueSettings, ShardId, SubscriptionSettings, UNKNOWN_SLOT, home, shard_name, split_shard,
};
pub use self::space::SPACE_PREFIX;
pub use self::statistics::{
    AddressStatistics, ConsumerStatistics, OutcomeCounts, ProducerStatistics, QueueStatistics, Statistics,
    SubscriptionStatistics,
};
pub use self::stock::{Owned, Owner, Stock, StockFull, StockItem, Stocks, Whose};
pub use self::store::{
    QueueId, RecoveredMessage, Reference, StoreAnswer, StoreError, StoreRequest, Targets, Ticket,
    TransactionId, UnixMillis,
};
pub use self::wire::{
    FilterCodec, MAX_WIRE_BYTES, MAX_WIRE_HEAD, OF_CORE, OLDEST_WIRE_VERSION, Run, ShardNames, WIRE_VERSION,
    WireContext, WireError, common_version,
};

#[cfg(test)]
mod tests;
