//! The core itself: what it holds, and how effects leave it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::address::Address;
use crate::broker::Broker;
use crate::by_shard::ByShard;
use crate::consumer::Consumer;
use crate::delivery::{Chunk, Delivery, Leg};
use crate::effect::Effect;
use crate::fleet::{Introductions, NodeShards, Peer, siblings};
use crate::key::{AddressKey, Arena, ConsumerKey, DeliveryKey, LaneKey, LegKey, ProducerKey};
use crate::lane::Lane;
use crate::live::Live;
use crate::peer::Settled;
use crate::producer::Producer;
use crate::settings::{CoreLimits, ShardId};
use crate::statistics::Statistics;
use crate::tokens::Tokens;
use crate::wire::Runs;

/// The routing core of one shard; see the [crate's documentation](crate) for how to drive it.
#[derive(Debug)]
pub struct Core {
    pub(crate) shard: ShardId,
    /// Of this node.
    pub(crate) shards: u16,
    /// The other shards that there is a channel to.
    pub(crate) peers: ByShard<Peer>,
    /// The other nodes, by slot.
    pub(crate) nodes: BTreeMap<u32, NodeShards>,
    /// That of this node's name; 0: it does not know it.
    pub(crate) name_hash: u64,
    pub(crate) limits: CoreLimits,
    /// The node is stopping: nothing new is let in.
    pub(crate) stopping: bool,
    pub(crate) addresses: Arena<AddressKey, Address>,
    /// Ordered, so that names that a client chooses cannot make it slow.
    pub(crate) names: BTreeMap<Arc<str>, AddressKey>,
    pub(crate) temporaries: u32,
    pub(crate) producers: Arena<ProducerKey, Producer>,
    pub(crate) consumers: Arena<ConsumerKey, Consumer>,
    pub(crate) lanes: Arena<LaneKey, Lane>,
    pub(crate) deliveries: Arena<DeliveryKey, Delivery>,
    pub(crate) legs: Arena<LegKey, Leg>,
    /// Deliveries of other shards, by what those call them.
    pub(crate) tokens: Tokens,
    /// Waiting deliveries with a deadline.
    pub(crate) timers: BTreeSet<(Instant, DeliveryKey)>,
    /// Producers to grant credit to.
    pub(crate) due: Vec<ProducerKey>,
    /// Addresses whose peers may have to be told something.
    pub(crate) dirty: Vec<AddressKey>,
    /// The number of the last round with another shard; see [`crate::peer`].
    pub(crate) rounds: u32,
    /// What shards that have come are being told.
    pub(crate) introductions: Introductions,
    /// Rounds in which nothing is sent.
    pub(crate) lingering: VecDeque<(AddressKey, ShardId)>,
    pub(crate) effects: VecDeque<Effect>,
    /// Deliveries to shards of other nodes that leave together.
    pub(crate) runs: Runs,
    /// Bytes of producers that have left, to be told behind the effects: once for many messages.
    pub(crate) consumed: Vec<(ProducerKey, usize)>,
    /// Settlements that other shards are to hear of.
    pub(crate) settled: Vec<Settled>,
    /// What chunks of anonymous producers that have left cost.
    pub(crate) orphaned: u64,
    /// Rows for chunks, empty, of deliveries that are gone: so that keeping a chunk allocates nothing.
    pub(crate) spare_rows: Vec<VecDeque<Chunk>>,
    pub(crate) counters: Statistics,
    pub(crate) broker: Broker,
    pub(crate) live: Live,
}

impl Core {
    /// The core of one of the `shards` shards of this node. They are its peers from the start; those of
    /// other nodes come with [`add_peer`](Self::add_peer).
    pub fn new(shard: ShardId, shards: u16, limits: CoreLimits) -> Self {
        Self {
            shard,
            shards: shards.max(1),
            peers: siblings(shard, shards.clamp(1, ShardId::MAX_SHARDS)),
            nodes: BTreeMap::new(),
            name_hash: 0,
            limits,
            stopping: false,
            addresses: Arena::new(),
            names: BTreeMap::new(),
            temporaries: 0,
            producers: Arena::new(),
            consumers: Arena::new(),
            lanes: Arena::new(),
            deliveries: Arena::new(),
            legs: Arena::new(),
            tokens: Tokens::default(),
            timers: BTreeSet::new(),
            due: Vec::new(),
            dirty: Vec::new(),
            rounds: 0,
            introductions: Introductions::default(),
            lingering: VecDeque::new(),
            effects: VecDeque::new(),
            runs: Runs::default(),
            consumed: Vec::new(),
            settled: Vec::new(),
            orphaned: 0,
            spare_rows: Vec::new(),
            counters: Statistics::default(),
            broker: Broker::new(),
            live: Live::new(),
        }
    }

    /// The next effect to carry out. Take all of them before waiting for anything; taking them after
    /// several calls instead of after each one makes for fewer and larger grants of credit.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.poll_prompt_effect() {
                return Some(effect);
            }
            if let Some(run) = self.take_any_run() {
                return Some(run);
            }
            if !self.settled.is_empty() {
                self.tell_settled();
            } else if !self.due.is_empty() {
                self.grant_due();
            } else if !self.dirty.is_empty() {
                self.tell_peers();
            } else {
                return None;
            }
        }
    }

    /// The next effect that should not wait for the end of a turn of several calls: all but grants of
    /// credit, what shards tell each other of limits and settlements, of which one at the end says as much as one
    /// after each call, and deliveries to other nodes, which leave together. The turn ends with [`poll_effect`](Self::poll_effect).
    pub fn poll_prompt_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(run) = self.run_before_effect() {
                return Some(run);
            }
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            if let Some((producer, bytes)) = self.consumed.pop() {
                return Some(Effect::Consumed { producer, bytes });
            }
            if self.broker.due.is_empty() {
                return None;
            }
            self.run_homes();
        }
    }

    /// The node is stopping: unused credit of every producer is taken back, that of those on other nodes that
    /// send to homes here among them; none is given any more, homes hand nothing out, and no link is let in.
    /// Messages that still come are kept and answered, or delivered where they are not kept.
    pub fn drain(&mut self, _now: Instant) {
        self.stopping = true;
        let producers: Vec<ProducerKey> = self.producers.iter().map(|(key, _)| key).collect();
        for producer in producers {
            self.stop(producer);
        }
        self.stop_homes();
    }
}
