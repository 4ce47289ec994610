//! Messages on their way through the core: how they come in, chunk by chunk, and how they end.
//!
//! A delivery is, in this order:
//!
//! ```text
//!            begin                hand over                all legs ended
//! (new) ──┬────────▶ Queued ─────────────────▶ Going ───────────┬──────────────▶ concluded, gone
//!         │            ▲                         │              │ not whole yet
//!         │            └── given back by a shard ┘              ▼
//!         └───────────────── nobody to hand it to ─────────▶ Sunk ── last chunk ─▶ concluded, gone
//! ```
//!
//! `Queued`: an anycast message in its address's queue. `Going`: it has legs, each to a consumer or
//! to another shard. `Sunk`: its fate is sealed, but the producer still sends; the rest is swallowed.
//! A producer learns the fate of its delivery when that is whole, never before.
//!
//! Invariant: a chunk is kept while a leg (or the queue) has not taken it, and no longer;
//! `takers` counts those.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::condition;
use crate::core::Core;
use crate::effect::Effect;
use crate::key::{AddressKey, ConsumerKey, DeliveryKey, ForwardKey, InboundKey, LegKey, ProducerKey};
use crate::list::{Linked, Links, List};
use crate::outcome::Outcome;
use crate::peer::{PEER_FREE_BYTES, PeerMessage};
use crate::producer::Target;
use crate::settings::{AddressKind, ShardId};
use crate::stock::Owner;
use crate::store::{TransactionId, UnixMillis};

/// The start of a delivery from a producer.
#[derive(Clone, Debug, Default)]
pub struct Incoming<'a> {
    /// The address that the message names; only read for anonymous producers.
    pub to: Option<&'a str>,
    /// The caller's id of the delivery, which comes back in `UpdateProducer`.
    pub handle: u64,
    /// Whether the producer sent it settled: it wants no outcome.
    pub settled: bool,
    /// 0 to 9, where 9 goes first. Above 9 counts as 9. AMQP's default is 4.
    pub priority: u8,
    /// How long the message may wait for a consumer.
    pub ttl: Option<Duration>,
    /// Passed on as it is.
    pub message_format: u32,
    /// The first bytes of the message.
    pub chunk: Bytes,
    /// Whether `append` or `abort` follows.
    pub more: bool,
    /// Whether it has to survive a restart of the node; an address that keeps messages then accepts it
    /// when it is on disk.
    pub durable: bool,
    /// Not to be delivered before; only addresses that keep messages can wait.
    pub not_before: Option<UnixMillis>,
    /// The transaction that it belongs to.
    pub transaction: Option<TransactionId>,
    /// The caller has handed it to live subscribers itself, and has told
    /// [`publish_live`](Core::publish_live) so: it goes where it is kept and nowhere else.
    pub routed: bool,
    /// What a topic does with it for subscribers that come later.
    pub retain: Retain,
    /// Whoever published it, in place of its producer's [`origin`](crate::ProducerOptions::origin): when
    /// one producer publishes for many.
    pub origin: Option<u64>,
    /// For whom it counts where it is stored, in place of its producer's [`owner`](crate::ProducerOptions::owner).
    pub owner: Option<Owner>,
}

/// What a topic does with a message for subscribers that come later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain {
    #[default]
    No,
    /// It is kept as the last one of its name, in place of the one before.
    Keep,
    /// The one that is kept for its name is kept no more, nor is this one.
    Clear,
}

/// What became of the start of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The key for `append`, `abort` and `settle_by_producer`. `None` when none of them can follow:
    /// the delivery is whole, and settled or about to be.
    pub delivery: Option<DeliveryKey>,
    /// Whether the chunk has left the core. If not, `Consumed` reports its bytes later.
    pub consumed: bool,
}

/// A chunk of at most so many bytes is copied when it has to wait: it is a slice of a read buffer,
/// and a hundred bytes would keep all of that buffer alive.
pub const COPY_UP_TO: usize = 4096;

/// What every chunk in the core costs beyond its bytes, where bytes are limited.
pub(crate) const CHUNK_OVERHEAD: u64 = 256;

/// Marks the list of an address's producers, and that of its waiting deliveries.
#[derive(Debug)]
pub(crate) struct ByAddress;
/// Marks the list of a delivery's legs.
#[derive(Debug)]
pub(crate) struct ByDelivery;
/// Marks the lists of a consumer's or a peer's legs.
#[derive(Debug)]
pub(crate) struct ByLink;

/// Where a delivery comes from, and where its settlement goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    Producer {
        key: ProducerKey,
        handle: u64,
        anonymous: bool,
    },
    /// Another shard. Without a token that shard wants to hear no more of it.
    Peer {
        shard: ShardId,
        token: Option<LegKey>,
    },
    /// A queue that it is leaving.
    Forward(ForwardKey),
    /// Nowhere any more: settled, and the producer's shard has forgotten it.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Queued,
    Going,
    Sunk,
}

#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// Who has not taken it yet.
    pub(crate) takers: u32,
    /// Whether its origin was told that it is not consumed, and has to hear when it is.
    pub(crate) charged: bool,
}

#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) origin: Origin,
    pub(crate) address: Option<AddressKey>,
    pub(crate) stage: Stage,
    /// The producer wants no outcome (any more).
    pub(crate) settled: bool,
    /// The producer settles second.
    pub(crate) second: bool,
    /// The producer was told the outcome and has not settled yet.
    pub(crate) told: bool,
    /// The credit it used has been given back, or will be when the address is not blocked.
    pub(crate) replenished: bool,
    /// All chunks have come in.
    pub(crate) whole: bool,
    pub(crate) level: u8,
    pub(crate) message_format: u32,
    /// Its place in its address's order, if it is or may come to be in the queue.
    pub(crate) sequence: u64,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) bytes: u64,
    /// The chunks that are kept; the first has the number `first_chunk`.
    pub(crate) chunks: VecDeque<Chunk>,
    pub(crate) first_chunk: u64,
    /// The worst outcome of the legs that have ended.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) legs: List<LegKey, ByDelivery>,
    in_queue: Links<DeliveryKey>,
}

/// One way of a delivery.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) delivery: DeliveryKey,
    pub(crate) to: To,
    /// Whether it has been started; if not, it stands in the consumer's backlog.
    pub(crate) started: bool,
    /// Sent settled, or settled by the producer since.
    pub(crate) settled: bool,
    /// The number of the next chunk to hand over (to a peer: that the peer has not consumed).
    pub(crate) next_chunk: u64,
    /// The caller's id of the outgoing delivery.
    pub(crate) handle: u64,
    /// The terminal outcome that the consumer has reported without settling.
    pub(crate) outcome: Option<Outcome>,
    pub(crate) in_link: Links<LegKey>,
    pub(crate) in_delivery: Links<LegKey>,
}

/// The far end of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Consumer(ConsumerKey),
    Peer(ShardId),
}

/// A delivery that has just come in, from a producer or from another shard.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) origin: Origin,
    pub(crate) settled: bool,
    pub(crate) second: bool,
    pub(crate) level: u8,
    pub(crate) message_format: u32,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Option<Instant>,
    pub(crate) chunk: Bytes,
    pub(crate) more: bool,
}

impl Linked<DeliveryKey, ByAddress> for Delivery {
    fn links(&self) -> &Links<DeliveryKey> {
        &self.in_queue
    }

    fn links_mut(&mut self) -> &mut Links<DeliveryKey> {
        &mut self.in_queue
    }
}

impl Linked<LegKey, ByLink> for Leg {
    fn links(&self) -> &Links<LegKey> {
        &self.in_link
    }

    fn links_mut(&mut self) -> &mut Links<LegKey> {
        &mut self.in_link
    }
}

impl Linked<LegKey, ByDelivery> for Leg {
    fn links(&self) -> &Links<LegKey> {
        &self.in_delivery
    }

    fn links_mut(&mut self) -> &mut Links<LegKey> {
        &mut self.in_delivery
    }
}

impl Leg {
    pub(crate) fn new(delivery: DeliveryKey, to: To, settled: bool) -> Self {
        Self {
            delivery,
            to,
            started: false,
            settled,
            next_chunk: 0,
            handle: 0,
            outcome: None,
            in_link: Links::default(),
            in_delivery: Links::default(),
        }
    }
}

impl Delivery {
    /// The number of the chunk that comes next from the origin.
    pub(crate) fn end(&self) -> u64 {
        self.first_chunk + self.chunks.len() as u64
    }

    /// The chunk with this number, while it is kept.
    pub(crate) fn chunk(&self, number: u64) -> Option<&Chunk> {
        self.chunks.get(usize::try_from(number.checked_sub(self.first_chunk)?).ok()?)
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.origin, Origin::Peer { .. })
    }

    /// What is left of its time to live, when it has one and has waited for a millisecond.
    pub(crate) fn ttl_left(&self, now: Instant) -> Option<Duration> {
        ttl_left(now, self.arrived, self.deadline)
    }

    /// Whether its time has run out.
    pub(crate) fn is_expired(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

impl Arrival {
    /// Whether its origin has to hear when a kept chunk of it is consumed. A shard that sent a small
    /// whole message counted it as consumed already.
    pub(crate) fn is_charged(&self, first_chunk: usize) -> bool {
        match self.origin {
            Origin::Producer { .. } => true,
            Origin::Peer { token, .. } => token.is_some() && !is_free(first_chunk, self.more),
            Origin::Forward(_) | Origin::Nobody => false,
        }
    }

    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self.origin, Origin::Peer { .. })
    }

    /// The first chunk, as it is kept.
    pub(crate) fn take_to_keep(&mut self) -> Bytes {
        to_keep(std::mem::take(&mut self.chunk))
    }
}

/// A chunk that has to wait, in memory of its own if it is small.
pub(crate) fn to_keep(chunk: Bytes) -> Bytes {
    if chunk.len() <= COPY_UP_TO { Bytes::copy_from_slice(&chunk) } else { chunk }
}

/// What is left of a time to live, when there is one and the message has waited for a millisecond.
pub(crate) fn ttl_left(now: Instant, arrived: Instant, deadline: Option<Instant>) -> Option<Duration> {
    let deadline = deadline?;
    let waited = now.saturating_duration_since(arrived) >= Duration::from_millis(1);
    waited.then(|| deadline.saturating_duration_since(now))
}

/// Whether the first chunk of a message counts as consumed when it goes to another shard.
pub(crate) fn is_free(len: usize, more: bool) -> bool {
    !more && len <= PEER_FREE_BYTES
}

impl Core {
    /// Takes the start of a delivery from a producer, and with `more` unset all of it. It uses one
    /// of the producer's credits; keeping to the credit is the caller's to enforce.
    ///
    /// A delivery that cannot go anywhere is settled: rejected without an address to go to or when
    /// it is too large, released without a consumer.
    pub fn begin(&mut self, now: Instant, producer: ProducerKey, mut incoming: Incoming<'_>) -> Begun {
        let Some((mut arrival, target)) = self.arrive(now, producer, &mut incoming) else {
            return Begun { delivery: None, consumed: true };
        };
        let anonymous = matches!(arrival.origin, Origin::Producer { anonymous: true, .. });
        let (delivery, consumed) = match target {
            Some(address) => self.send_to_address(now, address, &mut arrival, &incoming),
            None if !anonymous => self.refuse(&arrival, None, Outcome::Released),
            None => match self.resolve(producer, incoming.to) {
                Ok(address) => self.send_to_address(now, address, &mut arrival, &incoming),
                Err(outcome) => self.refuse(&arrival, None, outcome),
            },
        };
        self.note_begun(producer, &incoming, delivery, consumed)
    }

    /// Takes the start of a delivery that the caller cannot let in, such as one that it cannot read:
    /// like [`begin`](Self::begin), but the delivery goes nowhere and ends with this outcome.
    pub fn begin_refused(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        mut incoming: Incoming<'_>,
        outcome: Outcome,
    ) -> Begun {
        let Some((arrival, target)) = self.arrive(now, producer, &mut incoming) else {
            return Begun { delivery: None, consumed: true };
        };
        let (delivery, consumed) = self.refuse(&arrival, target, outcome);
        self.note_begun(producer, &incoming, delivery, consumed)
    }

    /// Counts a delivery of a producer, and ends the one before if it is unfinished. The second half
    /// of the answer is the address of all of the producer's messages.
    #[inline]
    fn arrive(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        incoming: &mut Incoming<'_>,
    ) -> Option<(Arrival, Option<AddressKey>)> {
        let value = self.producers.get_mut(producer)?;
        value.credit = value.credit.saturating_sub(1);
        value.in_flight = value.in_flight.saturating_add(1);
        value.deliveries += 1;
        let second = value.options.settles_second;
        let target = match value.target {
            Target::Address(key) if !value.closed => Some(key),
            _ => None,
        };
        let anonymous = matches!(value.target, Target::Any { .. });
        if let Some(unfinished) = value.current.take() {
            // AMQP 2.6.14: deliveries of one link do not interleave.
            self.abort(now, unfinished);
        }
        // A routed one was counted when it was published to live subscribers.
        self.counters.deliveries_in += u64::from(!incoming.routed);
        self.counters.bytes_in += incoming.chunk.len() as u64;
        let arrival = Arrival {
            origin: Origin::Producer { key: producer, handle: incoming.handle, anonymous },
            settled: incoming.settled,
            second,
            level: incoming.priority,
            message_format: incoming.message_format,
            arrived: now,
            deadline: None,
            chunk: std::mem::take(&mut incoming.chunk),
            more: incoming.more,
        };
        Some((arrival, target))
    }

    #[inline]
    fn note_begun(
        &mut self,
        producer: ProducerKey,
        incoming: &Incoming<'_>,
        delivery: Option<DeliveryKey>,
        consumed: bool,
    ) -> Begun {
        if incoming.more
            && let Some(value) = self.producers.get_mut(producer)
        {
            value.current = delivery;
        }
        self.note_due(producer);
        let delivery = if incoming.more || !incoming.settled { delivery } else { None };
        Begun { delivery, consumed }
    }

    /// Sends a message of this shard's producer to its address.
    fn send_to_address(
        &mut self,
        now: Instant,
        key: AddressKey,
        arrival: &mut Arrival,
        incoming: &Incoming<'_>,
    ) -> (Option<DeliveryKey>, bool) {
        let Some(address) = self.addresses.get_mut(key) else {
            return self.refuse(arrival, None, Outcome::Released);
        };
        address.counters.deliveries_in += u64::from(!incoming.routed);
        let settings = &address.settings;
        let limit = settings.message_limit(&self.limits).unwrap_or(u64::MAX);
        if arrival.chunk.len() as u64 > limit {
            return self.refuse(arrival, Some(key), too_large(limit));
        }
        if incoming.transaction.is_some() && !settings.kind.is_stored() {
            let sentence = "the address keeps no messages; send to it outside of transactions";
            return self.refuse(arrival, Some(key), Outcome::rejected(condition::NOT_IMPLEMENTED, sentence));
        }
        arrival.level = settings.level(arrival.level);
        // A time to live beyond what a clock can count is none.
        arrival.deadline = settings.time_to_live(incoming.ttl).and_then(|ttl| now.checked_add(ttl));
        match settings.kind {
            AddressKind::Anycast => self.arrive_anycast(now, key, arrival),
            AddressKind::Multicast => self.arrive_multicast(now, key, arrival),
            AddressKind::Queue | AddressKind::Topic => self.arrive_stored(now, key, arrival, incoming),
        }
    }

    /// The address that a message of an anonymous producer names.
    fn resolve(&mut self, producer: ProducerKey, to: Option<&str>) -> Result<AddressKey, Outcome> {
        let Some(name) = to else {
            let sentence = "the message names no address; set the property to";
            return Err(Outcome::rejected(condition::PRECONDITION_FAILED, sentence));
        };
        let Some(value) = self.producers.get(producer) else { return Err(Outcome::Released) };
        if let Target::Any { last: Some((last, key)) } = &value.target
            && **last == *name
            && self.addresses.get(*key).is_some_and(|address| address.is_known())
        {
            return Ok(*key);
        }
        let Ok(key) = self.resolve_name(name) else {
            let sentence = format!("no address {}; create it first", shorten(name));
            return Err(Outcome::rejected(condition::NOT_FOUND, sentence));
        };
        let name = match self.addresses.get(key) {
            Some(address) if *address.name == *name => address.name.clone(),
            _ => name.into(),
        };
        if let Some(producer) = self.producers.get_mut(producer) {
            producer.target = Target::Any { last: Some((name, key)) };
        }
        Ok(key)
    }

    /// Ends a delivery that goes nowhere; if it is not whole yet, the rest is swallowed first.
    pub(crate) fn refuse(
        &mut self,
        arrival: &Arrival,
        address: Option<AddressKey>,
        outcome: Outcome,
    ) -> (Option<DeliveryKey>, bool) {
        if arrival.settled {
            self.count_dropped(address, 1);
        }
        if !arrival.more {
            self.conclude(arrival.origin, arrival.settled, Some(outcome), false);
            return (None, true);
        }
        let key = self.insert_delivery(arrival, address, Stage::Sunk);
        if let Some(delivery) = self.deliveries.get_mut(key) {
            delivery.outcome = Some(outcome);
        }
        (Some(key), true)
    }

    pub(crate) fn insert_delivery(
        &mut self,
        arrival: &Arrival,
        address: Option<AddressKey>,
        stage: Stage,
    ) -> DeliveryKey {
        let key = self.deliveries.insert(Delivery {
            origin: arrival.origin,
            address,
            stage,
            settled: arrival.settled,
            second: arrival.second,
            told: false,
            replenished: false,
            whole: !arrival.more,
            level: arrival.level,
            message_format: arrival.message_format,
            sequence: 0,
            arrived: arrival.arrived,
            deadline: arrival.deadline,
            bytes: arrival.chunk.len() as u64,
            chunks: VecDeque::new(),
            first_chunk: 0,
            outcome: None,
            legs: List::default(),
            in_queue: Links::default(),
        });
        if let Origin::Peer { shard, token: Some(token) } = arrival.origin {
            self.tokens.insert(shard, token, key);
        }
        key
    }

    /// Takes more of a delivery that was begun with `more`. Says whether the chunk has left the
    /// core; if not, `Consumed` reports its bytes later.
    pub fn append(&mut self, now: Instant, delivery: DeliveryKey, chunk: Bytes, more: bool) -> bool {
        self.counters.bytes_in += chunk.len() as u64;
        if let Some(inbound) = InboundKey::from_delivery(delivery) {
            return self.append_stored(now, inbound, &chunk, more);
        }
        let origin = self.deliveries.get(delivery).map(|delivery| delivery.origin);
        let consumed = self.continue_delivery(now, delivery, chunk, more);
        if let Some(Origin::Producer { key, .. }) = origin
            && let Some(producer) = self.producers.get_mut(key)
            && !more
            && producer.current == Some(delivery)
        {
            producer.current = None;
        }
        consumed
    }

    pub(crate) fn continue_delivery(
        &mut self,
        now: Instant,
        key: DeliveryKey,
        chunk: Bytes,
        more: bool,
    ) -> bool {
        let Some(delivery) = self.deliveries.get_mut(key) else { return true };
        if delivery.whole {
            return true;
        }
        delivery.whole = !more;
        delivery.bytes = delivery.bytes.saturating_add(chunk.len() as u64);
        self.check_size(now, key);
        let Some(delivery) = self.deliveries.get_mut(key) else { return true };
        match delivery.stage {
            Stage::Sunk => {
                self.conclude_if_done(key);
                true
            }
            Stage::Queued => {
                let (origin, len) = (delivery.origin, chunk.len());
                self.keep_chunk(key, Chunk { bytes: to_keep(chunk), takers: 1, charged: true });
                self.charge(origin, len);
                false
            }
            Stage::Going => self.fan_out_chunk(now, key, chunk, more),
        }
    }

    /// Gives a chunk to every leg of a delivery, or keeps it for those that cannot take it now.
    fn fan_out_chunk(&mut self, now: Instant, key: DeliveryKey, chunk: Bytes, more: bool) -> bool {
        let Some(delivery) = self.deliveries.get_mut(key) else { return true };
        let number = delivery.end();
        let takers = delivery.legs.len();
        let (origin, len, mut next) = (delivery.origin, chunk.len(), delivery.legs.first());
        // Not charged until it is known that somebody leaves it here.
        self.keep_chunk(key, Chunk { bytes: chunk.clone(), takers, charged: false });
        while let Some(leg_key) = next {
            next = List::<LegKey, ByDelivery>::after(&self.legs, leg_key);
            let Some(leg) = self.legs.get(leg_key) else { break };
            match leg.to {
                To::Consumer(consumer) => {
                    let is_current = self
                        .consumers
                        .get(consumer)
                        .is_some_and(|consumer| consumer.current == Some(leg_key));
                    if is_current {
                        self.advance(now, consumer);
                    }
                }
                To::Peer(to) => {
                    let message = PeerMessage::append(leg_key, chunk.clone(), more);
                    self.effects.push_back(Effect::Peer { to, message });
                }
            }
            // Handing over the last chunk may have ended that leg, never another one.
        }
        if !more {
            self.delivery_is_whole(key);
        }
        let Some(delivery) = self.deliveries.get_mut(key) else { return true };
        let Some(index) = number.checked_sub(delivery.first_chunk) else { return true };
        let Some(kept) = delivery.chunks.get_mut(index as usize) else { return true };
        kept.charged = true;
        kept.bytes = to_keep(std::mem::take(&mut kept.bytes));
        self.charge(origin, len);
        false
    }

    /// Rejects a delivery that has become larger than its address allows.
    fn check_size(&mut self, now: Instant, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        if delivery.is_foreign() || delivery.stage == Stage::Sunk {
            return;
        }
        let Some(address) = delivery.address.and_then(|key| self.addresses.get(key)) else { return };
        let limit = address.settings.message_limit(&self.limits);
        if let Some(limit) = limit.filter(|limit| delivery.bytes > *limit) {
            if delivery.settled {
                self.count_dropped(delivery.address, 1);
            }
            self.sink(now, key, too_large(limit));
        }
    }

    /// Ends every way of an unfinished delivery; what still comes of it is swallowed.
    fn sink(&mut self, now: Instant, key: DeliveryKey, outcome: Outcome) {
        self.dequeue(key);
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.outcome = Some(outcome);
        delivery.stage = Stage::Sunk;
        self.abort_legs(now, key);
        self.release_all_chunks(key);
    }

    /// Takes back a delivery that is not whole: consumers that have a part of it see it aborted.
    pub fn abort(&mut self, now: Instant, delivery: DeliveryKey) {
        if let Some(inbound) = InboundKey::from_delivery(delivery) {
            return self.abort_stored(inbound);
        }
        let key = delivery;
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.whole {
            return;
        }
        let origin = delivery.origin;
        self.dequeue(key);
        self.abort_legs(now, key);
        self.release_all_chunks(key);
        let Some(replenished) = self.deliveries.get(key).map(|delivery| delivery.replenished) else { return };
        self.discard_delivery(key);
        match origin {
            Origin::Producer { key: producer, .. } => {
                if let Some(producer) = self.producers.get_mut(producer)
                    && producer.current == Some(key)
                {
                    producer.current = None;
                }
                if !replenished {
                    self.replenish(producer);
                }
            }
            Origin::Peer { shard, token: Some(token) } => {
                self.tokens.remove(shard, token);
            }
            Origin::Peer { token: None, .. } | Origin::Forward(_) | Origin::Nobody => {}
        }
    }

    /// Ends the legs of an unfinished delivery, with `Abort` where it has been started.
    fn abort_legs(&mut self, now: Instant, key: DeliveryKey) {
        while let Some(leg_key) = self.deliveries.get(key).and_then(|delivery| delivery.legs.first()) {
            let Some(leg) = self.legs.get(leg_key) else { break };
            let to = leg.to;
            match to {
                To::Consumer(consumer) => {
                    if self.consumers.get(consumer).is_some_and(|consumer| consumer.current == Some(leg_key))
                    {
                        self.effects.push_back(Effect::Abort { consumer });
                    }
                }
                To::Peer(to) => {
                    let message = PeerMessage::abort(leg_key);
                    self.effects.push_back(Effect::Peer { to, message });
                }
            }
            self.detach_leg(leg_key);
            if let To::Consumer(consumer) = to {
                self.advance(now, consumer);
            }
        }
    }

    /// Notes that somebody took chunks from `from` up to `to` (not included).
    pub(crate) fn take_chunks(&mut self, key: DeliveryKey, from: u64, to: u64) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.chunks.is_empty() {
            return;
        }
        let first = delivery.first_chunk;
        for number in from.max(first)..to.min(delivery.end()) {
            if let Some(chunk) = delivery.chunks.get_mut((number - first) as usize) {
                chunk.takers = chunk.takers.saturating_sub(1);
            }
        }
        self.release_chunks(key);
    }

    /// Lets go of the chunks at the front that everybody has taken.
    fn release_chunks(&mut self, key: DeliveryKey) {
        while let Some(delivery) = self.deliveries.get(key)
            && delivery.chunks.front().is_some_and(|chunk| chunk.takers == 0)
        {
            self.take_first_chunk(key);
        }
    }

    /// Takes the first chunk out, and tells its origin where that waits for it.
    pub(crate) fn take_first_chunk(&mut self, key: DeliveryKey) -> Bytes {
        let Some(delivery) = self.deliveries.get_mut(key) else { return Bytes::new() };
        let Some(chunk) = delivery.chunks.pop_front() else { return Bytes::new() };
        delivery.first_chunk += 1;
        let (origin, address) = (delivery.origin, delivery.address);
        if chunk.charged {
            self.report_consumed(origin, address, chunk.bytes.len());
        }
        chunk.bytes
    }

    fn release_all_chunks(&mut self, key: DeliveryKey) {
        if let Some(delivery) = self.deliveries.get_mut(key) {
            for chunk in &mut delivery.chunks {
                chunk.takers = 0;
            }
            self.release_chunks(key);
        }
    }

    /// Tells the origin of a chunk that it has left the core.
    pub(crate) fn report_consumed(&mut self, origin: Origin, address: Option<AddressKey>, bytes: usize) {
        match origin {
            Origin::Producer { key, anonymous, .. } => {
                let cost = CHUNK_OVERHEAD + bytes as u64;
                if let Some(producer) = self.producers.get_mut(key) {
                    producer.held = producer.held.saturating_sub(cost);
                    match self.consumed.last_mut() {
                        Some((producer, sum)) if *producer == key => *sum += bytes,
                        _ => self.consumed.push((key, bytes)),
                    }
                } else if anonymous {
                    self.orphaned = self.orphaned.saturating_sub(cost);
                } else if let Some(address) = address.and_then(|key| self.addresses.get_mut(key)) {
                    address.orphaned = address.orphaned.saturating_sub(cost);
                }
            }
            Origin::Peer { shard, token: Some(token) } => {
                let message = PeerMessage::consumed(token);
                self.effects.push_back(Effect::Peer { to: shard, message });
            }
            Origin::Peer { token: None, .. } | Origin::Forward(_) | Origin::Nobody => {}
        }
    }

    /// Concludes a delivery whose legs have all ended, if it is whole; otherwise lets the rest sink.
    pub(crate) fn conclude_if_done(&mut self, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.stage == Stage::Queued || !delivery.legs.is_empty() {
            return;
        }
        if !delivery.chunks.is_empty() {
            self.release_all_chunks(key);
        }
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if !delivery.whole {
            delivery.stage = Stage::Sunk;
            return;
        }
        let (origin, settled, replenished) = (delivery.origin, delivery.settled, delivery.replenished);
        let outcome = delivery.outcome.take();
        if delivery.deadline.is_none() && delivery.chunks.capacity() == 0 {
            self.deliveries.discard(key);
        } else {
            self.discard_delivery(key);
        }
        self.conclude(origin, settled, outcome, replenished);
    }

    /// Removes a delivery that has no legs and does not wait.
    pub(crate) fn discard_delivery(&mut self, key: DeliveryKey) {
        const SPARE_ROWS: usize = 256;
        const SPARE_CHUNKS: usize = 16;
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if let Some(deadline) = delivery.deadline {
            self.timers.remove(&(deadline, key));
        }
        let capacity = delivery.chunks.capacity();
        if capacity > 0 && capacity <= SPARE_CHUNKS && self.spare_rows.len() < SPARE_ROWS {
            let mut row = std::mem::take(&mut delivery.chunks);
            row.clear();
            self.spare_rows.push(row);
        }
        self.deliveries.discard(key);
    }

    /// Keeps a chunk at the end of a delivery.
    pub(crate) fn keep_chunk(&mut self, key: DeliveryKey, chunk: Chunk) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.chunks.capacity() == 0
            && let Some(row) = self.spare_rows.pop()
        {
            delivery.chunks = row;
        }
        delivery.chunks.push_back(chunk);
    }

    /// Counts a chunk that is kept for its producer's account.
    pub(crate) fn charge(&mut self, origin: Origin, len: usize) {
        if let Origin::Producer { key, .. } = origin
            && let Some(producer) = self.producers.get_mut(key)
        {
            producer.held += CHUNK_OVERHEAD + len as u64;
        }
    }

    /// Tells the origin how its delivery ended.
    pub(crate) fn conclude(
        &mut self,
        origin: Origin,
        settled: bool,
        outcome: Option<Outcome>,
        replenished: bool,
    ) {
        match origin {
            Origin::Producer { key, handle, .. } => {
                let Some(producer) = self.producers.get_mut(key) else { return };
                if !replenished {
                    producer.in_flight = producer.in_flight.saturating_sub(1);
                }
                if !settled {
                    let update = Effect::UpdateProducer { producer: key, handle, outcome, settled: true };
                    self.effects.push_back(update);
                }
                self.note_due(key);
            }
            Origin::Peer { shard, token: Some(token) } => self.settle_at_peer(shard, token, outcome),
            Origin::Forward(key) => self.forward_answered(key, outcome.unwrap_or(Outcome::Released)),
            Origin::Peer { token: None, .. } | Origin::Nobody => {}
        }
    }
}

pub(crate) fn too_large(limit: u64) -> Outcome {
    let sentence =
        format!("the message is larger than {limit} bytes; send less, or raise the address's limit");
    Outcome::rejected(condition::MESSAGE_SIZE_EXCEEDED, sentence)
}

/// A name as it can stand in a sentence, whatever its length.
fn shorten(name: &str) -> String {
    const LONGEST: usize = 128;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    let mut short: String = name.chars().take(LONGEST).collect();
    short.push('…');
    short
}
