//! Anycast: one consumer gets a message, the one with the fewest outstanding deliveries.
//!
//! Messages wait at the address, not at a consumer, in ten levels of priority and in order within
//! each. They wait only while nobody can take them. Those that another shard sent here wait in a row
//! of their own, because only consumers of this shard may take them; where either could go, the
//! order between the two is that of arrival.

use std::time::Instant;

use crate::core::Core;
use crate::delivery::{Arrival, ByAddress, Chunk, Delivery, Leg, Origin, Stage, To, is_free, ttl_left};
use crate::effect::Effect;
use crate::key::{AddressKey, Arena, ConsumerKey, DeliveryKey, LegKey};
use crate::list::List;
use crate::outcome::Outcome;
use crate::peer::PeerMessage;
use crate::settings::{Distribution, ShardId};
use crate::settle::First;

const LEVELS: usize = 10;

/// The waiting messages of an address.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Those of this shard's producers.
    pub(crate) own: Levels,
    /// Those that other shards sent.
    pub(crate) foreign: Levels,
}

/// Waiting messages by priority; the rows appear with the first message.
#[derive(Debug, Default)]
pub(crate) struct Levels {
    rows: Vec<List<DeliveryKey, ByAddress>>,
    occupied: u16,
    len: u32,
}

impl Queue {
    pub(crate) fn len(&self) -> u32 {
        self.own.len + self.foreign.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn row(&mut self, foreign: bool) -> &mut Levels {
        if foreign { &mut self.foreign } else { &mut self.own }
    }

    /// The next message for a consumer of this shard.
    fn first(&self, deliveries: &Arena<DeliveryKey, Delivery>) -> Option<DeliveryKey> {
        let (own, foreign) = (self.own.first(), self.foreign.first());
        let (Some(own_key), Some(foreign_key)) = (own, foreign) else { return own.or(foreign) };
        let place =
            |key| deliveries.get(key).map(|delivery| (std::cmp::Reverse(delivery.level), delivery.sequence));
        if place(foreign_key) < place(own_key) { foreign } else { own }
    }
}

impl Levels {
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn first(&self) -> Option<DeliveryKey> {
        let level = self.occupied.checked_ilog2()?;
        self.rows.get(level as usize)?.first()
    }

    /// The last message of the lowest level.
    pub(crate) fn last(&self) -> Option<DeliveryKey> {
        if self.occupied == 0 {
            return None;
        }
        self.rows.get(self.occupied.trailing_zeros() as usize)?.last()
    }

    /// Adds a message where its sequence belongs, looking from the end it should be near.
    fn insert(&mut self, deliveries: &mut Arena<DeliveryKey, Delivery>, key: DeliveryKey) {
        let Some(delivery) = deliveries.get(key) else { return };
        let (level, sequence) = (usize::from(delivery.level).min(LEVELS - 1), delivery.sequence);
        if self.rows.is_empty() {
            self.rows.resize_with(LEVELS, List::default);
        }
        let Some(row) = self.rows.get_mut(level) else { return };
        let is_newest =
            row.last().and_then(|key| deliveries.get(key)).is_none_or(|last| last.sequence < sequence);
        let mut next = if is_newest { None } else { row.first() };
        while let Some(key) = next
            && deliveries.get(key).is_some_and(|delivery| delivery.sequence < sequence)
        {
            next = List::<DeliveryKey, ByAddress>::after(deliveries, key);
        }
        row.insert_before(deliveries, key, next);
        self.occupied |= 1 << level;
        self.len += 1;
    }

    fn remove(&mut self, deliveries: &mut Arena<DeliveryKey, Delivery>, key: DeliveryKey) {
        let Some(delivery) = deliveries.get(key) else { return };
        let level = usize::from(delivery.level).min(LEVELS - 1);
        let Some(row) = self.rows.get_mut(level) else { return };
        row.remove(deliveries, key);
        if row.is_empty() {
            self.occupied &= !(1 << level);
        }
        self.len = self.len.saturating_sub(1);
    }
}

impl Core {
    /// Takes a new message of an anycast address: to somebody who can take it now, or to the queue.
    pub(crate) fn arrive_anycast(
        &mut self,
        now: Instant,
        key: AddressKey,
        arrival: &mut Arrival,
    ) -> (Option<DeliveryKey>, bool) {
        let Some(address) = self.addresses.get(key) else {
            return self.refuse(arrival, None, Outcome::Released);
        };
        if !address.is_reachable() {
            return self.refuse(arrival, Some(key), Outcome::Released);
        }
        let (was_empty, has_own) = (address.queue.is_empty(), address.queue.own.len() > 0);
        let chosen = if was_empty { self.choose(key, arrival.is_foreign()) } else { None };
        match chosen {
            Some(To::Consumer(consumer)) => self.hand_over_fresh(now, key, consumer, arrival),
            Some(To::Peer(peer)) if is_free(arrival.chunk.len(), arrival.more) => {
                (self.send_fresh(key, peer, arrival), true)
            }
            Some(To::Peer(peer)) => {
                let delivery = self.insert_delivery(arrival, Some(key), Stage::Going);
                let chunk = std::mem::take(&mut arrival.chunk);
                self.charge(arrival.origin, chunk.len());
                self.keep_chunk(delivery, Chunk { bytes: chunk, takers: 1, charged: true });
                self.send(delivery, peer);
                self.conclude_if_done(delivery);
                (self.deliveries.contains(delivery).then_some(delivery), false)
            }
            None => {
                let charged = arrival.is_charged(arrival.chunk.len());
                let has_more_choice = !was_empty && !has_own && !arrival.is_foreign();
                let delivery = self.wait(key, arrival);
                if has_more_choice {
                    // The others wait because nobody here can take them, and have to stay here: other
                    // shards sent them.
                    self.dispatch(now, key);
                }
                // If it has left meanwhile, `Consumed` says so.
                (self.deliveries.contains(delivery).then_some(delivery), !charged)
            }
        }
    }

    /// Puts a new message into the queue.
    fn wait(&mut self, key: AddressKey, arrival: &mut Arrival) -> DeliveryKey {
        let delivery = self.insert_delivery(arrival, Some(key), Stage::Queued);
        let charged = arrival.is_charged(arrival.chunk.len());
        let chunk = arrival.take_to_keep();
        if charged {
            self.charge(arrival.origin, chunk.len());
        }
        self.keep_chunk(delivery, Chunk { bytes: chunk, takers: 1, charged });
        self.enqueue(key, delivery);
        delivery
    }

    /// Hands a message to a consumer as it comes in, without keeping any of it.
    fn hand_over_fresh(
        &mut self,
        now: Instant,
        key: AddressKey,
        consumer: ConsumerKey,
        arrival: &mut Arrival,
    ) -> (Option<DeliveryKey>, bool) {
        if arrival.settled && !arrival.more {
            let chunk = std::mem::take(&mut arrival.chunk);
            let message_format = arrival.message_format;
            let ttl_left = ttl_left(now, arrival.arrived, arrival.deadline);
            let foreign = arrival.is_foreign();
            let first = First { chunk, more: false, settled: true, message_format, ttl_left, foreign };
            self.emit_first(consumer, None, first);
            self.finish_drain(consumer);
            self.conclude(arrival.origin, true, None, false);
            return (None, true);
        }
        let delivery = self.insert_delivery(arrival, Some(key), Stage::Going);
        let chunk = std::mem::take(&mut arrival.chunk);
        if let Some(delivery) = self.deliveries.get_mut(delivery) {
            delivery.first_chunk = 1;
        }
        self.start(now, delivery, consumer, None, Some((chunk, arrival.more)));
        self.finish_drain(consumer);
        self.conclude_if_done(delivery);
        (self.deliveries.contains(delivery).then_some(delivery), true)
    }

    /// Sends a small whole message to another shard as it comes in, without keeping any of it: settled, it
    /// is forgotten at once.
    fn send_fresh(&mut self, key: AddressKey, peer: ShardId, arrival: &mut Arrival) -> Option<DeliveryKey> {
        let delivery = (!arrival.settled).then(|| self.insert_delivery(arrival, Some(key), Stage::Going));
        let token = delivery.map(|delivery| self.insert_sent(key, peer, delivery));
        self.peer_deliver(key, peer, arrival, token);
        if delivery.is_none() {
            self.conclude(arrival.origin, true, None, false);
        }
        self.mark_dirty(key);
        delivery
    }

    /// The leg of a whole delivery whose only chunk goes to another shard.
    fn insert_sent(&mut self, address: AddressKey, peer: ShardId, key: DeliveryKey) -> LegKey {
        if let Some(delivery) = self.deliveries.get_mut(key)
            && let Some(address) = self.addresses.get_mut(address)
        {
            delivery.first_chunk = 1;
            // It may come back.
            delivery.sequence = address.next_sequence();
        }
        let mut leg = Leg::new(key, To::Peer(peer), false);
        (leg.started, leg.next_chunk) = (true, 1);
        self.insert_leg(leg)
    }

    /// Puts a message into the queue of its address.
    pub(crate) fn enqueue(&mut self, key: AddressKey, delivery_key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get_mut(delivery_key) else { return };
        let Some(address) = self.addresses.get_mut(key) else { return };
        delivery.stage = Stage::Queued;
        if delivery.sequence == 0 {
            delivery.sequence = address.next_sequence();
        }
        let foreign = delivery.is_foreign();
        let deadline = delivery.deadline;
        address.queue.row(foreign).insert(&mut self.deliveries, delivery_key);
        address.counters.undelivered += 1;
        self.counters.undelivered += 1;
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, delivery_key));
        }
        self.mark_dirty(key);
    }

    /// Takes a message out of the queue, if it is in there.
    pub(crate) fn dequeue(&mut self, delivery_key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get_mut(delivery_key) else { return };
        if delivery.stage != Stage::Queued {
            return;
        }
        delivery.stage = Stage::Going;
        let foreign = delivery.is_foreign();
        let Some(key) = delivery.address else { return };
        self.cancel_timer(delivery_key);
        if let Some(address) = self.addresses.get_mut(key) {
            address.queue.row(foreign).remove(&mut self.deliveries, delivery_key);
            address.counters.undelivered = address.counters.undelivered.saturating_sub(1);
        }
        self.counters.undelivered = self.counters.undelivered.saturating_sub(1);
        self.mark_dirty(key);
    }

    /// Hands out what waits, as far as somebody can take it.
    pub(crate) fn dispatch(&mut self, now: Instant, key: AddressKey) {
        while let Some((delivery, to)) = self.next_pair(now, key) {
            self.dequeue(delivery);
            match to {
                To::Consumer(consumer) => {
                    self.start(now, delivery, consumer, None, None);
                    self.finish_drain(consumer);
                }
                To::Peer(peer) if self.is_forgotten_when_sent(delivery) => {
                    self.send_and_forget(delivery, peer);
                    continue;
                }
                To::Peer(peer) => self.send(delivery, peer),
            }
            self.conclude_if_done(delivery);
        }
    }

    /// The next waiting message that somebody can take now, and who.
    fn next_pair(&mut self, now: Instant, key: AddressKey) -> Option<(DeliveryKey, To)> {
        loop {
            let address = self.addresses.get(key)?;
            let first = address.queue.first(&self.deliveries)?;
            let delivery = self.deliveries.get(first)?;
            if delivery.is_expired(now) {
                self.expire(first);
                continue;
            }
            if let Some(to) = self.choose(key, delivery.is_foreign()) {
                return Some((first, to));
            }
            // Nobody here can take anything; another shard may, but only what is this shard's own.
            let own = self.addresses.get(key)?.queue.own.first()?;
            if own == first {
                return None;
            }
            if self.deliveries.get(own)?.is_expired(now) {
                self.expire(own);
                continue;
            }
            return self.choose(key, false).map(|to| (own, to));
        }
    }

    /// Who is to get the next message: the least busy of the consumers here and the shards that have
    /// some. `here` leaves the shards out.
    fn choose(&mut self, key: AddressKey, here: bool) -> Option<To> {
        let local = self.first_ready(key);
        let peer = if here || self.peers.is_empty() { None } else { self.best_peer(key) };
        match (local, peer) {
            (Some((consumer, outstanding)), Some(peer)) => {
                let stays = match self.addresses.get(key)?.settings.distribution {
                    // Their average is compared with our best.
                    Distribution::Balanced => peer.is_worse_than_here(outstanding),
                    Distribution::Closest => peer.cost > 0 || self.is_turn_of_here(key, peer.shard),
                };
                Some(if stays { To::Consumer(consumer) } else { To::Peer(peer.shard) })
            }
            (Some((consumer, _)), None) => Some(To::Consumer(consumer)),
            (None, Some(peer)) => Some(To::Peer(peer.shard)),
            (None, None) => None,
        }
    }

    /// Whether it is this shard's turn rather than that of another one of the node.
    fn is_turn_of_here(&mut self, key: AddressKey, other: ShardId) -> bool {
        let here = self.shard;
        let Some(address) = self.addresses.get_mut(key) else { return true };
        let last = address.turn;
        let is_turn = (here <= last, here) < (other <= last, other);
        if is_turn {
            address.turn = here;
        }
        is_turn
    }

    /// The first ready consumer whose lane has budget; those whose lane has none are held by it.
    fn first_ready(&mut self, key: AddressKey) -> Option<(ConsumerKey, u32)> {
        loop {
            let consumer = self.addresses.get(key)?.ready.first()?;
            let value = self.consumers.get(consumer)?;
            let (lane, outstanding) = (value.lane, value.outstanding);
            if self.has_budget(lane) {
                return Some((consumer, outstanding));
            }
            if self.lanes.contains(lane) {
                self.hold(consumer);
            } else {
                self.set_aside(consumer);
            }
        }
    }

    /// Whether a message is settled, whole and small, so that nothing of it is kept once it has been sent.
    fn is_forgotten_when_sent(&self, key: DeliveryKey) -> bool {
        self.deliveries.get(key).is_some_and(|delivery| {
            let chunk = delivery.chunks.front().filter(|chunk| chunk.takers == 1);
            delivery.settled
                && delivery.whole
                && delivery.chunks.len() == 1
                && chunk.is_some_and(|chunk| is_free(chunk.bytes.len(), false))
        })
    }

    /// Sends such a message to another shard.
    fn send_and_forget(&mut self, key: DeliveryKey, peer: ShardId) {
        let chunk = self.take_first_chunk(key);
        let Some(delivery) = self.deliveries.get(key) else { return };
        let (origin, replenished) = (delivery.origin, delivery.replenished);
        let (address, mut head) = (delivery.address, delivery_head(delivery, chunk, false));
        if let Some(address) = address {
            self.peer_deliver(address, peer, &mut head, None);
        }
        self.discard_delivery(key);
        self.conclude(origin, true, None, replenished);
    }

    /// Sends a message to another shard. Its chunks are kept here until that shard has consumed
    /// them, except the only chunk of a small message.
    pub(crate) fn send(&mut self, key: DeliveryKey, peer: ShardId) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.stage = Stage::Going;
        let Some(address_key) = delivery.address else { return };
        if delivery.sequence == 0
            && let Some(address) = self.addresses.get_mut(address_key)
        {
            // It may come back.
            delivery.sequence = address.next_sequence();
        }
        let first_chunk = delivery.first_chunk;
        let more = !delivery.whole || delivery.chunks.len() > 1;
        let Some(first) = delivery.chunks.front() else { return };
        let free = is_free(first.bytes.len(), more);
        let settled = delivery.settled;
        let chunk = if free && first.takers == 1 {
            // Nobody else looks at it any more.
            self.take_first_chunk(key)
        } else {
            first.bytes.clone()
        };
        let tracked = !settled || !free;
        let token = tracked.then(|| {
            let mut leg = Leg::new(key, To::Peer(peer), settled);
            leg.started = true;
            leg.next_chunk = first_chunk + u64::from(free);
            self.insert_leg(leg)
        });
        let Some(delivery) = self.deliveries.get(key) else { return };
        let mut head = delivery_head(delivery, chunk, more);
        if !self.peer_deliver(address_key, peer, &mut head, token) {
            return;
        }
        if let Some(token) = token {
            self.send_rest(key, peer, token);
        }
        if free {
            self.take_chunks(key, first_chunk, first_chunk + 1);
        }
        self.mark_dirty(address_key);
    }

    /// Sends the chunks after the first one.
    fn send_rest(&mut self, key: DeliveryKey, to: ShardId, token: LegKey) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        let count = delivery.chunks.len();
        for (index, chunk) in delivery.chunks.iter().enumerate().skip(1) {
            let more = !delivery.whole || index + 1 < count;
            let message = PeerMessage::append(token, chunk.bytes.clone(), more);
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    /// Gives up on what waits: nobody can be reached any more.
    pub(crate) fn release_waiting(&mut self, key: AddressKey) {
        while let Some(first) =
            self.addresses.get(key).and_then(|address| address.queue.first(&self.deliveries))
        {
            self.give_up(first, Outcome::Released);
        }
    }

    /// Ends a waiting message that nobody got.
    pub(crate) fn give_up(&mut self, key: DeliveryKey, outcome: Outcome) {
        self.dequeue(key);
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.outcome = Some(outcome);
        let (settled, address) = (delivery.settled, delivery.address);
        if settled {
            self.count_dropped(address, 1);
        }
        self.conclude_if_done(key);
    }
}

/// What another shard has to know of a delivery, with its first chunk.
pub(crate) fn delivery_head(delivery: &Delivery, chunk: bytes::Bytes, more: bool) -> Arrival {
    Arrival {
        // The receiving shard puts itself between.
        origin: Origin::Nobody,
        settled: delivery.settled,
        second: delivery.second,
        level: delivery.level,
        message_format: delivery.message_format,
        arrived: delivery.arrived,
        deadline: delivery.deadline,
        chunk,
        more,
    }
}
