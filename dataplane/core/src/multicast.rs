//! Multicast: every consumer that is there when a message arrives gets it.
//!
//! A delivery has one leg for each consumer here and one for each other shard with consumers; all
//! share its chunks. A consumer that cannot take a message now has it in its backlog. What happens
//! when the backlog reaches the address's limit is the address's overload policy.
//!
//! The producer of a pre-settled message gets its credit back when the message has come in, unless
//! the address is blocked: by a consumer at its limit (with `Block`), or by a shard that has not
//! taken what it was sent (with every policy). Then the credit is withheld until the address is not
//! blocked any more. The producer of an unsettled message gets it back with the settlement.

use std::time::Instant;

use crate::core::Core;
use crate::delivery::{Arrival, Chunk, Leg, Origin, Stage, To, to_keep, ttl_left};
use crate::effect::CloseReason;
use crate::key::{AddressKey, ConsumerKey, DeliveryKey, LegKey};
use crate::outcome::Outcome;
use crate::settings::{AddressKind, Overload};
use crate::settle::First;

impl Core {
    /// Takes a new message of a multicast address.
    pub(crate) fn arrive_multicast(
        &mut self,
        now: Instant,
        key: AddressKey,
        arrival: &mut Arrival,
    ) -> (Option<DeliveryKey>, bool) {
        let Some(address) = self.addresses.get(key) else {
            return self.refuse(arrival, None, Outcome::Released);
        };
        let members = address.members.len();
        let peers = if arrival.is_foreign() { 0 } else { address.peers_with_consumers() };
        if members + peers == 0 {
            return self.refuse(arrival, Some(key), Outcome::Released);
        }
        if arrival.settled && !arrival.more && peers == 0 {
            return self.fan_out_settled(now, key, arrival);
        }
        let delivery = self.insert_delivery(arrival, Some(key), Stage::Going);
        let takers = (members + peers) as u32;
        let chunk = std::mem::take(&mut arrival.chunk);
        self.keep_chunk(delivery, Chunk { bytes: chunk, takers, charged: false });
        for index in 0..members {
            if let Some(member) = self.addresses.get(key).and_then(|address| address.members.get(index)) {
                self.offer(now, *member, delivery);
            }
        }
        if peers > 0 {
            self.send_to_peers(key, delivery);
        }
        let consumed = self.keep_first_chunk(delivery, arrival);
        self.overload(now, key);
        self.delivery_is_whole(delivery);
        self.conclude_if_done(delivery);
        (self.deliveries.contains(delivery).then_some(delivery), consumed)
    }

    /// Hands a whole pre-settled message to every consumer here; a delivery exists only if somebody
    /// cannot take it now.
    fn fan_out_settled(
        &mut self,
        now: Instant,
        key: AddressKey,
        arrival: &Arrival,
    ) -> (Option<DeliveryKey>, bool) {
        let mut kept = None;
        let mut takers = 0;
        let mut index = 0;
        while let Some(member) =
            self.addresses.get(key).and_then(|address| address.members.get(index)).copied()
        {
            index += 1;
            if self.can_take(member) {
                let first = First {
                    chunk: arrival.chunk.clone(),
                    more: false,
                    settled: true,
                    message_format: arrival.message_format,
                    ttl_left: ttl_left(now, arrival.arrived, arrival.deadline),
                    foreign: arrival.is_foreign(),
                };
                self.emit_first(member, None, first);
            } else {
                let delivery =
                    *kept.get_or_insert_with(|| self.insert_delivery(arrival, Some(key), Stage::Going));
                self.add_to_backlog(member, delivery);
                takers += 1;
            }
        }
        let Some(delivery) = kept else {
            if let Origin::Producer { key: producer, .. } = arrival.origin {
                self.give_credit_back(key, producer);
            }
            self.conclude(arrival.origin, true, None, true);
            return (None, true);
        };
        let chunk = arrival.chunk.clone();
        self.keep_chunk(delivery, Chunk { bytes: chunk, takers, charged: false });
        let consumed = self.keep_first_chunk(delivery, arrival);
        self.overload(now, key);
        self.delivery_is_whole(delivery);
        self.conclude_if_done(delivery);
        (None, consumed)
    }

    /// Whether a multicast consumer can take a message now. Its lane remembers it if only the budget
    /// is missing.
    fn can_take(&mut self, key: ConsumerKey) -> bool {
        let Some(consumer) = self.consumers.get(key) else { return false };
        if !consumer.is_free() || !consumer.backlog.is_empty() {
            return false;
        }
        if self.has_budget(consumer.lane) {
            return true;
        }
        self.hold(key);
        false
    }

    /// Starts a delivery to a consumer, or puts it into its backlog.
    fn offer(&mut self, now: Instant, to: ConsumerKey, delivery: DeliveryKey) {
        if self.can_take(to) {
            self.start(now, delivery, to, None, None);
        } else {
            self.add_to_backlog(to, delivery);
        }
    }

    fn add_to_backlog(&mut self, to: ConsumerKey, delivery: DeliveryKey) {
        let settled = self.deliveries.get(delivery).is_some_and(|delivery| delivery.settled);
        let leg = self.insert_leg(Leg::new(delivery, To::Consumer(to), settled));
        let Some(consumer) = self.consumers.get_mut(to) else { return };
        consumer.backlog.push_back(&mut self.legs, leg);
        self.counters.undelivered += 1;
        if let Some(address) = self.addresses.get_mut(consumer.address) {
            address.counters.undelivered += 1;
        }
        self.note_backlog(to);
    }

    /// Takes a leg out of its consumer's backlog.
    pub(crate) fn leave_backlog(&mut self, key: ConsumerKey, leg: LegKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.backlog.remove(&mut self.legs, leg);
        self.counters.undelivered = self.counters.undelivered.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(consumer.address) {
            address.counters.undelivered = address.counters.undelivered.saturating_sub(1);
        }
        self.note_backlog(key);
    }

    /// Counts the consumers at their limit.
    pub(crate) fn note_backlog(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let address_key = consumer.address;
        let Some(address) = self.addresses.get_mut(address_key) else { return };
        let overloaded = consumer.backlog.len() >= address.settings.max_undelivered.max(1);
        if overloaded == consumer.overloaded {
            return;
        }
        consumer.overloaded = overloaded;
        if overloaded {
            address.overloaded += 1;
        } else {
            address.overloaded = address.overloaded.saturating_sub(1);
            self.mark_dirty(address_key);
            self.unblock(address_key);
        }
    }

    /// Keeps the first chunk for those that could not take it, if there are any. Says whether it has
    /// left the core.
    fn keep_first_chunk(&mut self, key: DeliveryKey, arrival: &Arrival) -> bool {
        let charged = arrival.is_charged(self.first_chunk_len(key));
        let Some(delivery) = self.deliveries.get_mut(key) else { return true };
        let Some(chunk) = delivery.chunks.front_mut() else { return true };
        chunk.bytes = to_keep(std::mem::take(&mut chunk.bytes));
        chunk.charged = charged;
        let (origin, len, deadline) = (delivery.origin, chunk.bytes.len(), delivery.deadline);
        if let Some(deadline) = deadline {
            self.timers.insert((deadline, key));
        }
        if charged {
            self.charge(origin, len);
        }
        !charged
    }

    fn first_chunk_len(&self, key: DeliveryKey) -> usize {
        self.deliveries
            .get(key)
            .and_then(|delivery| delivery.chunks.front())
            .map_or(0, |chunk| chunk.bytes.len())
    }

    fn send_to_peers(&mut self, key: AddressKey, delivery: DeliveryKey) {
        let mut place = 0;
        while let Some(shard) = self.addresses.get(key).and_then(|address| address.remotes.shard_at(place)) {
            place += 1;
            if self.addresses.get(key).is_some_and(|address| address.peer_has_consumers(shard)) {
                self.send(delivery, shard);
            }
        }
    }

    /// Applies the overload policy to consumers that have more than their limit.
    fn overload(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        if address.overloaded == 0 || address.settings.overload == Overload::Block {
            return;
        }
        let (policy, limit) = (address.settings.overload, address.settings.max_undelivered.max(1));
        // From the end: closing a consumer moves the last member into its place.
        for index in (0..address.members.len()).rev() {
            let Some(member) =
                self.addresses.get(key).and_then(|address| address.members.get(index)).copied()
            else {
                continue;
            };
            if self.consumers.get(member).is_none_or(|consumer| consumer.backlog.len() <= limit) {
                continue;
            }
            if policy == Overload::Disconnect {
                self.close_consumer(now, member, CloseReason::SlowConsumer);
            } else {
                self.drop_oldest(key, member);
            }
        }
    }

    /// Drops the oldest pre-settled message of a backlog.
    fn drop_oldest(&mut self, address: AddressKey, key: ConsumerKey) {
        let mut next = self.consumers.get(key).and_then(|consumer| consumer.backlog.first());
        while let Some(leg_key) = next {
            let Some(leg) = self.legs.get(leg_key) else { return };
            if self.deliveries.get(leg.delivery).is_some_and(|delivery| delivery.settled) {
                self.count_dropped(Some(address), 1);
                return self.end_leg(leg_key, Outcome::Released);
            }
            next = crate::list::List::<LegKey, crate::delivery::ByLink>::after(&self.legs, leg_key);
        }
    }

    /// Hands over what waits for a consumer, as far as it can take it.
    pub(crate) fn work_off_backlog(&mut self, now: Instant, key: ConsumerKey) {
        loop {
            let Some(consumer) = self.consumers.get(key) else { return };
            if !consumer.is_free() {
                return;
            }
            let Some(leg_key) = consumer.backlog.first() else { return };
            let lane = consumer.lane;
            let Some(leg) = self.legs.get(leg_key) else { return };
            let delivery_key = leg.delivery;
            let Some(delivery) = self.deliveries.get(delivery_key) else { return };
            if delivery.is_expired(now) {
                self.expire(delivery_key);
                continue;
            }
            if !self.has_budget(lane) {
                return self.hold(key);
            }
            self.start(now, delivery_key, key, Some(leg_key), None);
            if self.legs.get(leg_key).is_some_and(|leg| !leg.started) {
                // Its chunk is not there: a mistake in counting takers must not stop the shard.
                self.end_leg(leg_key, Outcome::Released);
            }
            self.conclude_if_done(delivery_key);
        }
    }

    /// What follows when the last chunk has come in.
    pub(crate) fn delivery_is_whole(&mut self, key: DeliveryKey) {
        self.tell_if_decided(key);
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        let Some(address_key) = delivery.address else { return };
        let Origin::Producer { key: producer, .. } = delivery.origin else { return };
        if !delivery.whole || !delivery.settled || delivery.replenished {
            return;
        }
        if self
            .addresses
            .get(address_key)
            .is_some_and(|address| address.settings.kind == AddressKind::Multicast)
        {
            delivery.replenished = true;
            self.give_credit_back(address_key, producer);
        }
    }

    /// Gives a producer the credit of a pre-settled message back, now or when the address is not
    /// blocked any more.
    fn give_credit_back(&mut self, key: AddressKey, producer: crate::key::ProducerKey) {
        match self.addresses.get_mut(key) {
            Some(address) if address.is_blocked() => address.withheld.push_back(producer),
            _ => self.replenish(producer),
        }
    }

    /// Gives back the credit that was withheld, if the address is not blocked any more.
    pub(crate) fn unblock(&mut self, key: AddressKey) {
        loop {
            let Some(address) = self.addresses.get_mut(key) else { return };
            if address.withheld.is_empty() || address.is_blocked() {
                return;
            }
            if let Some(producer) = address.withheld.pop_front() {
                self.replenish(producer);
            }
        }
    }
}
