//! The core itself: what its caller may ask of it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::consumer::ConsumerOptions;
use crate::delivery::{Begun, Incoming};
use crate::effect::{Effect, Refused};
use crate::key::{ConsumerKey, DeliveryKey, LaneKey, LegKey, ProducerKey};
use crate::outcome::Outcome;
use crate::peer::PeerMessage;
use crate::producer::{ProducerOptions, ProducerTarget};
use crate::settings::{AddressSettings, CoreLimits, ShardId};
use crate::statistics::*;

#[derive(Debug)]
pub struct Core {}

#[allow(unused_variables, clippy::needless_pass_by_ref_mut)]
impl Core {
    pub fn new(shard: ShardId, shards: u16, limits: CoreLimits) -> Self { Self {} }
    pub fn set_address(&mut self, now: Instant, name: &Arc<str>, settings: AddressSettings) {}
    pub fn remove_address(&mut self, now: Instant, name: &str) {}
    pub fn add_lane(&mut self) -> LaneKey { loop {} }
    pub fn remove_lane(&mut self, now: Instant, lane: LaneKey) {}
    pub fn set_lane_budget(&mut self, now: Instant, lane: LaneKey, bytes: usize) {}
    pub fn add_producer(&mut self, now: Instant, target: ProducerTarget<'_>, options: ProducerOptions) -> Result<ProducerKey, Refused> { Err(Refused::Stopping) }
    pub fn add_consumer(&mut self, now: Instant, lane: LaneKey, source: &str, options: ConsumerOptions) -> Result<ConsumerKey, Refused> { Err(Refused::Stopping) }
    pub fn add_temporary(&mut self, now: Instant, lane: LaneKey, name: Arc<str>, options: ConsumerOptions) -> Result<ConsumerKey, Refused> { Err(Refused::Stopping) }
    pub fn remove_producer(&mut self, now: Instant, producer: ProducerKey) {}
    pub fn remove_consumer(&mut self, now: Instant, consumer: ConsumerKey) {}
    pub fn begin(&mut self, now: Instant, producer: ProducerKey, incoming: Incoming<'_>) -> Begun { Begun { delivery: None, consumed: true } }
    pub fn append(&mut self, now: Instant, delivery: DeliveryKey, chunk: Bytes, more: bool) -> bool { true }
    pub fn abort(&mut self, now: Instant, delivery: DeliveryKey) {}
    pub fn settle_by_producer(&mut self, now: Instant, delivery: DeliveryKey, outcome: Option<Outcome>, settled: bool) {}
    /// After `StopProducer`: the producer has no credit left (drained, or all of it used).
    pub fn producer_stopped(&mut self, now: Instant, producer: ProducerKey) {}
    pub fn set_credit(&mut self, now: Instant, consumer: ConsumerKey, credit: u32, drain: bool) {}
    pub fn set_leg_handle(&mut self, leg: LegKey, handle: u64) {}
    pub fn settle_by_consumer(&mut self, now: Instant, leg: LegKey, outcome: Option<Outcome>, settled: bool) {}
    pub fn poll_effect(&mut self) -> Option<Effect> { None }
    pub fn poll_timeout(&self) -> Option<Instant> { None }
    pub fn handle_timeout(&mut self, now: Instant) {}
    pub fn handle_peer(&mut self, now: Instant, from: ShardId, message: PeerMessage) {}
    /// Another shard (later: node) is gone: everything in flight there is settled now.
    pub fn handle_peer_gone(&mut self, now: Instant, peer: ShardId) {}
    pub fn drain(&mut self, now: Instant) {}
    pub fn statistics(&self) -> Statistics { Statistics::default() }
    pub fn address(&self, name: &str) -> Option<AddressStatistics> { None }
    pub fn addresses(&self) -> impl Iterator<Item = AddressStatistics> { std::iter::empty() }
    pub fn producer(&self, producer: ProducerKey) -> Option<ProducerStatistics> { None }
    pub fn consumer(&self, consumer: ConsumerKey) -> Option<ConsumerStatistics> { None }
}
