//! Handing deliveries over and settling them, whatever the kind of address.
//!
//! Settlement follows AMQP 2.6.12. A consumer that settles decides at once. One that reports a
//! terminal outcome without settling (receiver-settle-mode `second`) decides too, unless the
//! producer settles second as well: then the outcome is passed on, and the producer's settlement
//! comes back. Keys that are not known (any more) are ignored, so that settling twice is harmless.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::consumer::Place;
use crate::core::Core;
use crate::delivery::{ByDelivery, Leg, Origin, To};
use crate::effect::Effect;
use crate::key::{ConsumerKey, DeliveryKey, GripKey, InboundKey, LegKey};
use crate::list::List;
use crate::outcome::Outcome;
use crate::peer::PeerMessage;
use crate::settings::AddressKind;

/// The first chunk of a message, on its way to a consumer.
pub(crate) struct First {
    pub(crate) chunk: Bytes,
    pub(crate) more: bool,
    pub(crate) settled: bool,
    pub(crate) message_format: u32,
    pub(crate) ttl_left: Option<Duration>,
    /// Another shard sent it.
    pub(crate) foreign: bool,
}

impl Core {
    /// Tells the core the caller's id of the delivery that `Deliver` started with this leg. It comes
    /// back in `UpdateConsumer`.
    pub fn set_leg_handle(&mut self, leg: LegKey, handle: u64) {
        if let Some(grip) = GripKey::from_leg(leg) {
            return self.set_grip_handle(grip, handle);
        }
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.handle = handle;
        }
    }

    /// Starts a delivery to a consumer that is free and whose lane has budget. `leg` is its leg when
    /// it waited in the consumer's backlog; `fresh` is its first chunk when that is not kept.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        key: DeliveryKey,
        to: ConsumerKey,
        leg: Option<LegKey>,
        fresh: Option<(Bytes, bool)>,
    ) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        let Some(consumer) = self.consumers.get(to) else { return };
        let settled = delivery.settled || consumer.options.settled;
        let is_fresh = fresh.is_some();
        let number = leg
            .and_then(|leg| self.legs.get(leg))
            .map_or(if is_fresh { 0 } else { delivery.first_chunk }, |leg| leg.next_chunk);
        let (chunk, more) = match fresh {
            Some(fresh) => fresh,
            None => match delivery.chunk(number) {
                Some(chunk) => {
                    let more = !delivery.whole || delivery.end() > number + 1;
                    let is_last_use = chunk.takers == 1 && number == delivery.first_chunk && !more;
                    // Nobody else looks at it any more: one reference less to count.
                    (if is_last_use { self.take_first_chunk(key) } else { chunk.bytes.clone() }, more)
                }
                None => return,
            },
        };
        let Some(delivery) = self.deliveries.get(key) else { return };
        let first = First {
            chunk,
            more,
            settled,
            message_format: delivery.message_format,
            ttl_left: delivery.ttl_left(now),
            foreign: delivery.is_foreign(),
        };
        if let Some(leg) = leg {
            self.leave_backlog(to, leg);
        }
        if settled && !more {
            self.emit_first(to, None, first);
            if let Some(leg) = leg {
                self.drop_leg(leg);
            }
            if let Some(delivery) = self.deliveries.get_mut(key) {
                let worst = Outcome::worst(delivery.outcome.take(), Outcome::Accepted);
                delivery.outcome = Some(worst);
            }
        } else {
            let leg = match leg {
                Some(leg) => leg,
                None => self.insert_leg(Leg::new(key, To::Consumer(to), settled)),
            };
            if let Some(consumer) = self.consumers.get_mut(to)
                && let Some(value) = self.legs.get_mut(leg)
            {
                value.started = true;
                value.settled = settled;
                value.next_chunk = number + 1;
                value.in_link = consumer.unsettled.place_at_end();
                consumer.unsettled.attach(&mut self.legs, leg);
            }
            self.emit_first(to, Some(leg), first);
        }
        if !is_fresh {
            self.take_chunks(key, number, number + 1);
        }
        if more {
            self.pump(to);
        }
    }

    /// Puts a leg into the arena and among its delivery's legs.
    pub(crate) fn insert_leg(&mut self, mut leg: Leg) -> LegKey {
        let Some(delivery) = self.deliveries.get_mut(leg.delivery) else { return self.legs.insert(leg) };
        leg.in_delivery = delivery.legs.place_at_end();
        let key = self.legs.insert(leg);
        delivery.legs.attach(&mut self.legs, key);
        key
    }

    /// Hands the first chunk of a message to a consumer, with all that this costs.
    pub(crate) fn emit_first(&mut self, key: ConsumerKey, leg: Option<LegKey>, first: First) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let bytes = first.chunk.len();
        consumer.credit = consumer.credit.saturating_sub(1);
        consumer.deliveries += 1;
        if first.more {
            consumer.current = leg;
        }
        if !first.settled {
            consumer.outstanding += 1;
        }
        let lane = consumer.lane;
        let mut moves = consumer.kind == AddressKind::Anycast;
        if let Some(address) = self.addresses.get_mut(consumer.address) {
            address.credit = address.credit.saturating_sub(1);
            address.own_handed_over = address.own_handed_over.saturating_add(u32::from(!first.foreign));
            address.counters.deliveries_out += 1;
            address.counters.unsettled += u64::from(!first.settled);
            // A lone consumer that can take more is next again.
            moves &= address.members.len() != 1 || !consumer.is_free();
            if address.credit == 0 && !self.peers.is_empty() && !address.dirty {
                // Other shards should know that there is none left.
                address.dirty = true;
                self.dirty.push(consumer.address);
            }
        }
        self.counters.deliveries_out += 1;
        self.counters.bytes_out += bytes as u64;
        self.counters.unsettled += u64::from(!first.settled);
        self.counters.outcomes.presettled += u64::from(first.settled);
        self.spend(lane, bytes);
        self.effects.push_back(Effect::Deliver {
            consumer: key,
            leg: if first.settled { None } else { leg },
            chunk: first.chunk,
            more: first.more,
            settled: first.settled,
            message_format: first.message_format,
            ttl_left: first.ttl_left,
            redelivery: None,
        });
        if moves {
            self.set_aside(key);
            self.put_in_place(key);
        }
    }

    /// Hands over what has come in of the consumer's unfinished delivery.
    pub(crate) fn pump(&mut self, key: ConsumerKey) {
        loop {
            let Some(consumer) = self.consumers.get(key) else { return };
            let Some(leg_key) = consumer.current else { return };
            let lane = consumer.lane;
            let Some(leg) = self.legs.get(leg_key) else { return };
            let (delivery_key, number) = (leg.delivery, leg.next_chunk);
            let Some(delivery) = self.deliveries.get(delivery_key) else { return };
            let Some(chunk) = delivery.chunk(number) else { return };
            let more = !delivery.whole || delivery.end() > number + 1;
            let chunk = chunk.bytes.clone();
            if !self.has_budget(lane) {
                self.hold(key);
                return;
            }
            if let Some(leg) = self.legs.get_mut(leg_key) {
                leg.next_chunk = number + 1;
            }
            self.counters.bytes_out += chunk.len() as u64;
            self.spend(lane, chunk.len());
            self.effects.push_back(Effect::Continue { consumer: key, chunk, more });
            self.take_chunks(delivery_key, number, number + 1);
            if !more {
                self.finish_current(key, leg_key);
            }
        }
    }

    /// The consumer has all of its delivery; it can start another one.
    fn finish_current(&mut self, key: ConsumerKey, leg_key: LegKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.current = None;
        if self.legs.get(leg_key).is_some_and(|leg| leg.settled) {
            self.end_leg(leg_key, Outcome::Accepted);
        }
        self.reposition(key);
    }

    /// Ends a leg with what became of it, and its delivery when it was the last.
    pub(crate) fn end_leg(&mut self, key: LegKey, outcome: Outcome) {
        let Some(leg) = self.legs.get(key) else { return };
        let delivery_key = leg.delivery;
        if leg.started && !leg.settled && matches!(leg.to, To::Consumer(_)) {
            self.counters.outcomes.count(&outcome);
        }
        self.detach_leg(key);
        let Some(delivery) = self.deliveries.get_mut(delivery_key) else { return };
        delivery.outcome = Some(match delivery.outcome.take() {
            None => outcome,
            first => Outcome::worst(first, outcome),
        });
        if delivery.legs.is_empty() {
            self.conclude_if_done(delivery_key);
        } else if delivery.second {
            self.tell_if_decided(delivery_key);
        }
    }

    /// Takes a leg out of everything it stands in. What it has not taken of its delivery, it never
    /// will.
    pub(crate) fn detach_leg(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get(key) else { return };
        let (to, started, settled, next_chunk) = (leg.to, leg.started, leg.settled, leg.next_chunk);
        let delivery = leg.delivery;
        match to {
            To::Consumer(consumer) if !started => self.leave_backlog(consumer, key),
            To::Consumer(consumer) => self.leave_unsettled(consumer, key, settled),
            To::Peer(peer) => self.leave_peer(peer, key),
        }
        self.drop_leg(key);
        self.take_chunks(delivery, next_chunk, u64::MAX);
    }

    /// Removes a leg that stands in no link's list any more.
    pub(crate) fn drop_leg(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get(key) else { return };
        if let Some(delivery) = self.deliveries.get_mut(leg.delivery) {
            delivery.legs.remove(&mut self.legs, key);
        }
        self.legs.discard(key);
    }

    fn leave_unsettled(&mut self, key: ConsumerKey, leg: LegKey, settled: bool) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.unsettled.remove(&mut self.legs, leg);
        if consumer.current == Some(leg) {
            consumer.current = None;
        }
        let Some(address) = self.addresses.get_mut(consumer.address) else {
            if !settled {
                self.count_settled(key);
            }
            return;
        };
        if !settled {
            consumer.outstanding = consumer.outstanding.saturating_sub(1);
            address.counters.unsettled = address.counters.unsettled.saturating_sub(1);
            self.counters.unsettled = self.counters.unsettled.saturating_sub(1);
        }
        let is_in_place = consumer.place == Place::Ready(address.bucket(consumer.outstanding));
        if !is_in_place && consumer.kind == AddressKind::Anycast {
            self.put_in_place(key);
        }
    }

    /// One delivery less is outstanding at the consumer.
    fn count_settled(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.outstanding = consumer.outstanding.saturating_sub(1);
        self.counters.unsettled = self.counters.unsettled.saturating_sub(1);
        if let Some(address) = self.addresses.get_mut(consumer.address) {
            address.counters.unsettled = address.counters.unsettled.saturating_sub(1);
        }
    }

    /// Puts an anycast consumer where it belongs now.
    fn reposition(&mut self, key: ConsumerKey) {
        if self.consumers.get(key).is_some_and(|consumer| consumer.kind == AddressKind::Anycast) {
            self.put_in_place(key);
        }
    }

    /// Takes over the state that a consumer reports for a delivery.
    ///
    /// Settled without a terminal outcome, the delivery gets the one reported before, or the
    /// consumer's default outcome. Settling a delivery that is not whole yet ends it with `Abort`.
    pub fn settle_by_consumer(&mut self, now: Instant, leg: LegKey, outcome: Option<Outcome>, settled: bool) {
        if let Some(grip) = GripKey::from_leg(leg) {
            return self.settle_grip(now, grip, outcome, settled);
        }
        if let Some(value) = self.legs.get(leg)
            && let To::Consumer(consumer) = value.to
            && value.started
            && !value.settled
        {
            let was_current = self.consumers.get(consumer).is_some_and(|value| value.current == Some(leg));
            self.settle_leg(leg, outcome, settled);
            if was_current && !self.legs.contains(leg) {
                self.effects.push_back(Effect::Abort { consumer });
                self.advance(now, consumer);
            }
        }
    }

    /// Takes over the state that the far end of a leg reports.
    pub(crate) fn settle_leg(&mut self, key: LegKey, outcome: Option<Outcome>, settled: bool) {
        if settled {
            let outcome = self.final_outcome(key, outcome);
            return self.end_leg(key, outcome);
        }
        let Some(outcome) = outcome else { return };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let delivery_key = leg.delivery;
        let Some(delivery) = self.deliveries.get(delivery_key) else { return };
        if !outcome.is_terminal() {
            // The progress of one of several consumers means nothing to the producer.
            if delivery.legs.len() == 1 && !delivery.settled {
                self.tell_origin(delivery_key, outcome, false);
            }
        } else if delivery.second && !delivery.settled {
            leg.outcome.get_or_insert(outcome);
            self.tell_if_decided(delivery_key);
        } else {
            let to = leg.to;
            let is_unfinished = matches!(to, To::Consumer(consumer)
                if self.consumers.get(consumer).is_some_and(|consumer| consumer.current == Some(key)));
            // An unfinished one is aborted, which settles it.
            if !is_unfinished {
                self.forward(key, Some(outcome.clone()), true);
            }
            self.end_leg(key, outcome);
        }
    }

    fn final_outcome(&mut self, key: LegKey, outcome: Option<Outcome>) -> Outcome {
        let Some(leg) = self.legs.get_mut(key) else { return Outcome::Released };
        match outcome {
            None | Some(Outcome::Received { .. }) => {}
            Some(outcome) => return outcome,
        }
        let reported = leg.outcome.take();
        let to = leg.to;
        reported.unwrap_or_else(|| match to {
            To::Consumer(consumer) => {
                self.consumers.get(consumer).map_or(Outcome::Released, |consumer| consumer.default_outcome())
            }
            To::Peer(_) => Outcome::Released,
        })
    }

    /// Tells the producer the outcome before it settles, once every leg has one.
    pub(crate) fn tell_if_decided(&mut self, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        if !delivery.second || !delivery.whole || delivery.told || delivery.settled {
            return;
        }
        let mut worst = delivery.outcome.clone();
        let mut next = delivery.legs.first();
        while let Some(leg_key) = next {
            let Some(leg) = self.legs.get(leg_key) else { return };
            let Some(outcome) = &leg.outcome else { return };
            worst = Some(Outcome::worst(worst, outcome.clone()));
            next = List::<LegKey, ByDelivery>::after(&self.legs, leg_key);
        }
        if let Some(worst) = worst {
            if let Some(delivery) = self.deliveries.get_mut(key) {
                delivery.told = true;
            }
            self.tell_origin(key, worst, false);
        }
    }

    fn tell_origin(&mut self, key: DeliveryKey, outcome: Outcome, settled: bool) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        match delivery.origin {
            Origin::Producer { key: producer, handle, .. } => {
                if self.producers.contains(producer) {
                    let outcome = Some(outcome);
                    self.effects.push_back(Effect::UpdateProducer { producer, handle, outcome, settled });
                }
            }
            Origin::Peer { shard, token: Some(token) } => {
                let message = PeerMessage::settle(token, Some(outcome), settled);
                self.effects.push_back(Effect::Peer { to: shard, message });
            }
            Origin::Peer { token: None, .. } | Origin::Forward(_) | Origin::Nobody => {}
        }
    }

    /// Tells the far end of a leg what its producer says.
    fn forward(&mut self, key: LegKey, outcome: Option<Outcome>, settled: bool) {
        let Some(leg) = self.legs.get(key) else { return };
        let effect = match leg.to {
            To::Consumer(consumer) => {
                Effect::UpdateConsumer { consumer, handle: leg.handle, outcome, settled }
            }
            To::Peer(to) => Effect::Peer { to, message: PeerMessage::update(key, outcome, settled) },
        };
        self.effects.push_back(effect);
    }

    /// Takes over the state that a producer reports for its delivery. When it settles, whoever has
    /// the delivery is told, and whoever gets it later gets it settled; the producer hears no more
    /// of it. The credit comes back when the message has been handed over.
    pub fn settle_by_producer(
        &mut self,
        _now: Instant,
        delivery: DeliveryKey,
        outcome: Option<Outcome>,
        settled: bool,
    ) {
        let key = delivery;
        if let Some(inbound) = InboundKey::from_delivery(key) {
            return self.settle_inbound(inbound, settled);
        }
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if delivery.settled {
            return;
        }
        delivery.settled = settled;
        let mut next = delivery.legs.first();
        while let Some(leg_key) = next {
            next = List::<LegKey, ByDelivery>::after(&self.legs, leg_key);
            let Some(leg) = self.legs.get(leg_key) else { break };
            if leg.started && !leg.settled {
                self.forward(leg_key, outcome.clone(), settled);
            }
            if settled {
                self.leg_settled_by_producer(leg_key);
            }
        }
        if settled {
            self.conclude_if_done(key);
        }
    }

    /// A leg whose producer has settled needs no settlement any more; it ends once all is handed over.
    fn leg_settled_by_producer(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if std::mem::replace(&mut leg.settled, true) || !leg.started {
            return;
        }
        let reported = leg.outcome.take();
        match leg.to {
            To::Consumer(consumer) => {
                self.count_settled(consumer);
                match &reported {
                    Some(outcome) => self.counters.outcomes.count(outcome),
                    None => self.counters.outcomes.presettled += 1,
                }
                if self.consumers.get(consumer).is_some_and(|consumer| consumer.current != Some(key)) {
                    self.end_leg(key, reported.unwrap_or(Outcome::Accepted));
                }
                self.reposition(consumer);
            }
            // The shard answers when it is done.
            To::Peer(peer) => self.peer_settled(peer, key),
        }
    }
}
