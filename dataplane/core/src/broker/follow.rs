//! Links that stay when their address changes its home.
//!
//! A consumer takes its place at the new home at once. What the old one had handed out and the link has not
//! got goes back there; what the link has got is settled where it came from, for as long as the link lives:
//! its place there is *parked*, without credit, until nothing of it is unsettled.
//!
//! A producer's link is known to the new home from the moment that it is to send there. What it and all others
//! of its shard send waits behind a *gate* until the old home has passed on everything that they sent before,
//! so that no message overtakes another one. The wait is that of what is under way, and it costs the producer
//! the credit of what waits; nothing is asked of its client.
//!
//! A queue that comes back to a home finds its consumers' places there. A topic that comes back is a copy, and
//! what had left is not part of it: its consumers get new places beside those that they have parked.
//!
//! A home that has not heard yet that it is one is asked again for a while.
//!
//! Invariants:
//! - Of a consumer's places at one home the last one alone may still be handed something, or get it back; what
//!   it says of its credit has higher numbers than what those before it have said.
//! - `held` of a parked place is the number of the consumer's grips that came by way of it.
//! - `gated` of the broker is the sum of the bytes behind gates.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::protocol::{DELIVERY_COST, Handout, Publication, ReceiverOptions, Wire};
use super::stub::{Grip, Remote};
use crate::address::Address;
use crate::consumer::Consumer;
use crate::core::Core;
use crate::delivery::{ByAddress, ByLink};
use crate::effect::{CloseReason, Effect};
use crate::key::{AddressKey, ConsumerKey, GripKey, ProducerKey, ReceiverKey, SenderKey};
use crate::list::List;
use crate::outcome::Outcome;
use crate::producer::Target;
use crate::settings::ShardId;
use crate::store::TransactionId;

/// How long a link asks a home again that does not let it in for a reason that may pass: it has not heard of
/// its part yet, or those whose places are taken over have not left.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long it waits in between.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long publications wait for those before them. An old home that cannot pass on what it has, because it
/// does not reach the new one, would otherwise stop those that do.
const GATE_PATIENCE: Duration = Duration::from_secs(5);

/// What a consumer has at homes other than the one where it takes its messages from.
#[derive(Debug, Default)]
pub(crate) struct Following {
    parked: Vec<Seat>,
    /// Homes that were asked to let it in and had not answered when the address left them.
    unanswered: Vec<ShardId>,
    asking: Asking,
}

/// A consumer's place at a home of before.
#[derive(Debug)]
struct Seat {
    home: ShardId,
    receiver: ReceiverKey,
    /// When that home is another shard.
    remote: Option<Box<Remote>>,
    /// Deliveries from there that are not settled.
    held: u32,
    /// Nothing is on its way from there.
    is_quiet: bool,
}

/// How a link asks a home to let it in that did not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking {
    until: Option<Instant>,
    /// When it asks again.
    next: Option<Instant>,
}

/// What waits for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    Consumer(ConsumerKey),
    Producer(ProducerKey),
    Gate(AddressKey),
}

/// Holds back what is sent to an address until homes of before have passed on what they had got.
#[derive(Debug)]
pub(crate) struct Gate {
    number: u64,
    /// Those homes; the first one has been asked.
    through: VecDeque<ShardId>,
    held: VecDeque<(Option<ProducerKey>, Publication)>,
    pub(crate) bytes: u64,
    /// Transactions that are to be committed and have something for the address.
    commits: Vec<TransactionId>,
    until: Instant,
}

impl Following {
    fn is_over(&self) -> bool {
        self.parked.is_empty() && self.unanswered.is_empty() && self.asking.until.is_none()
    }

    /// The last place that was taken at a home.
    fn seat_at(&mut self, home: ShardId) -> Option<&mut Seat> {
        self.parked.iter_mut().rfind(|seat| seat.home == home)
    }

    /// What this shard has of a home there.
    #[cfg(test)]
    pub(crate) fn knows(&self, home: ShardId) -> bool {
        self.unanswered.contains(&home) || self.parked.iter().any(|seat| seat.home == home)
    }
}

impl Asking {
    /// When to ask again a home that gave this reason; `None`: not any more.
    fn after(&mut self, now: Instant, reason: CloseReason) -> Option<Instant> {
        let may_pass = match reason {
            CloseReason::HomeGone | CloseReason::NotFound => true,
            CloseReason::Exclusive | CloseReason::LimitExceeded => self.until.is_some(),
            _ => false,
        };
        let until = *self.until.get_or_insert_with(|| now + PATIENCE);
        let next = (now + ASK_AGAIN).min(until);
        self.next = (may_pass && now < until).then_some(next);
        self.next
    }
}

impl Address {
    /// Whether its links stay when its home changes.
    fn keeps_links(&self) -> bool {
        self.settings.kind.is_stored()
    }
}

impl Core {
    /// Whether the links of an address stay when its home changes.
    pub(crate) fn keeps_links(&self, key: AddressKey) -> bool {
        self.addresses.get(key).is_some_and(Address::keeps_links)
    }

    // ---- consumers --------------------------------------------------------------------------------

    /// The consumers of an address go where its home is now. Browsers do not: nobody could say what they have
    /// seen.
    pub(crate) fn consumers_follow(&mut self, now: Instant, key: AddressKey) {
        let Some(address) = self.addresses.get(key) else { return };
        let to = self.reachable_home(address);
        let is_copied = address.settings.is_copied();
        for consumer in address.members.clone() {
            let value = self.consumers.get(consumer);
            if value.is_some_and(|consumer| consumer.role.is_leaving()) {
                continue;
            }
            let is_browser = value.is_none_or(|consumer| consumer.options.browse);
            match to.filter(|_| !is_browser) {
                Some(to) => self.consumer_follows(now, consumer, to, is_copied),
                None => self.close_consumer(now, consumer, CloseReason::HomeGone),
            }
        }
    }

    fn consumer_follows(&mut self, now: Instant, key: ConsumerKey, to: ShardId, is_copied: bool) {
        if self.home_of_consumer(key) == Some(to) {
            return;
        }
        self.park(now, key);
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if let Some(filters) = consumer.stored.unanswered_filters.take() {
            // The home of before may have gone before it went by them.
            self.broker.refiltering.entry(key).or_default().push(filters);
        }
        let following = consumer.stored.following.get_or_insert_default();
        following.asking = Asking { until: Some(now + PATIENCE), next: None };
        let parked = following.parked.iter().position(|seat| seat.home == to);
        match parked.filter(|_| !is_copied) {
            Some(index) => {
                let seat = following.parked.remove(index);
                following.asking = Asking::default();
                self.sit_down(now, key, seat);
            }
            None => self.ask_in(now, key, to),
        }
        self.vacate(now, key);
    }

    /// The shard from which a consumer takes its messages.
    fn home_of_consumer(&self, key: ConsumerKey) -> Option<ShardId> {
        let consumer = self.consumers.get(key)?;
        Some(consumer.stored.remote.as_ref().map_or(self.shard, |remote| remote.home))
    }

    /// Takes nothing more from any home; it has no place left when nothing is unsettled.
    pub(crate) fn park_for_good(&mut self, now: Instant, key: ConsumerKey) {
        self.park(now, key);
        if let Some(following) = self.following_mut(key) {
            following.asking = Asking::default();
        }
        self.vacate(now, key);
    }

    /// Takes no more from the home of before.
    fn park(&mut self, now: Instant, key: ConsumerKey) {
        let here = self.shard;
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let stored = &mut consumer.stored;
        let (receiver, remote) = (stored.receiver.take(), stored.remote.take());
        let home = remote.as_ref().map_or(here, |remote| remote.home);
        let following = stored.following.get_or_insert_default();
        let Some(receiver) = receiver else {
            if remote.is_some() && following.asking.next.is_none() {
                following.unanswered.push(home);
            }
            return;
        };
        let mut held = 0;
        let mut next = stored.grips.first();
        while let Some(grip) = next {
            next = List::<GripKey, ByLink>::after(&self.broker.grips, grip);
            let is_of_it = |grip: &Grip| grip.home == Some(home) && grip.receiver == receiver;
            held += u32::from(self.broker.grips.get(grip).is_some_and(is_of_it));
        }
        let mut seat = Seat { home, receiver, remote, held, is_quiet: false };
        match &mut seat.remote {
            None => {
                seat.is_quiet = true;
                self.set_receiver_credit(now, receiver, 0, false);
            }
            Some(remote) => {
                let (number, got) = remote.next_credit(0);
                let backlog = std::mem::take(&mut remote.backlog);
                self.send_wire(home, Wire::Park { receiver, got, number });
                // From the end, so that each finds its place before those that follow it.
                for handout in backlog.into_iter().rev() {
                    self.give_back(home, receiver, &handout);
                }
            }
        }
        if let Some(following) = self.following_mut(key) {
            following.parked.push(seat);
        }
    }

    fn following_mut(&mut self, key: ConsumerKey) -> Option<&mut Following> {
        self.consumers.get_mut(key)?.stored.following.as_deref_mut()
    }

    /// A home has back what it had handed out and the link has not got.
    pub(crate) fn give_back(&mut self, home: ShardId, receiver: ReceiverKey, handout: &Handout) {
        let bytes = u32::try_from(handout.body.len() + DELIVERY_COST).unwrap_or(u32::MAX);
        self.send_wire(home, Wire::Return { receiver, entry: handout.entry, bytes });
    }

    /// Asks a home to let a consumer in.
    pub(crate) fn ask_in(&mut self, now: Instant, key: ConsumerKey, to: ShardId) {
        if to == self.shard {
            if let Some(consumer) = self.consumers.get_mut(key) {
                consumer.stored.remote = None;
            }
            if let Err(reason) = self.add_receiver_here(now, key) {
                self.receiver_closed(now, to, key, reason);
            }
            return;
        }
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(address) = self.addresses.get(consumer.address) else { return };
        let (address, options) = (address.name.clone(), Box::new(receiver_options(consumer)));
        let following = consumer.stored.following.as_deref_mut();
        let before = following.and_then(|following| following.seat_at(to)?.remote.as_deref());
        consumer.stored.remote = Some(Box::new(Remote::new(to, before)));
        self.send_wire(to, Wire::AddReceiver { consumer: key, address, options });
    }

    /// Lets a consumer in whose home is this shard.
    pub(crate) fn add_receiver_here(&mut self, now: Instant, key: ConsumerKey) -> Result<(), CloseReason> {
        let Some(consumer) = self.consumers.get(key) else { return Ok(()) };
        let home = self.addresses.get(consumer.address).and_then(|address| address.home);
        let (settled, options) = (consumer.options.settled, receiver_options(consumer));
        let home = home.ok_or(CloseReason::NotFound)?;
        let receiver = self.add_receiver(now, home, self.shard, key, settled, options)?;
        self.seated(now, key, receiver);
        Ok(())
    }

    /// A home has let a consumer in: what it may take, it gets from there.
    fn seated(&mut self, now: Instant, key: ConsumerKey, receiver: ReceiverKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.stored.receiver = Some(receiver);
        if let Some(following) = &mut consumer.stored.following {
            following.asking = Asking::default();
        }
        let is_new = !std::mem::replace(&mut consumer.stored.is_admitted, true);
        match consumer.role.front() {
            Some(_) => self.part_seated(now, key),
            None if is_new => self.effects.push_back(Effect::Admitted { consumer: key }),
            None => {}
        }
        self.renew_credit(now, key);
        self.tidy_following(key);
        for filters in self.broker.refiltering.remove(&key).unwrap_or_default() {
            self.refilter_at_home(key, filters);
        }
    }

    /// A consumer takes a place again that it has parked.
    fn sit_down(&mut self, now: Instant, key: ConsumerKey, seat: Seat) {
        let is_here = seat.remote.is_none();
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        consumer.stored.receiver = Some(seat.receiver);
        consumer.stored.remote = seat.remote;
        if is_here {
            self.set_receiver_held(now, seat.receiver, false);
        }
        self.renew_credit(now, key);
    }

    /// Tells the home what the link may take.
    fn renew_credit(&mut self, now: Instant, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get(key) else { return };
        let (credit, draining) = (consumer.credit, consumer.draining);
        // At one shard of several it is to hear of messages also without credit: the home has to know that it asks.
        let is_part = consumer.role.front().is_some();
        match (consumer.stored.receiver, &consumer.stored.remote) {
            (Some(receiver), None) => self.set_receiver_credit(now, receiver, credit, draining),
            (Some(_), Some(_)) if credit > 0 || draining || is_part => self.send_credit(key),
            _ => {}
        }
    }

    /// The home on another shard has let a consumer in, and has a name for it.
    pub(crate) fn receiver_attached(
        &mut self,
        now: Instant,
        from: ShardId,
        key: ConsumerKey,
        receiver: ReceiverKey,
    ) {
        let is_there = self.consumers.get(key).is_some_and(|consumer| !consumer.closed);
        if !is_there && self.broker.unsubscribing.remove(&key).is_some() {
            self.send_wire(from, Wire::Unsubscribe { receiver });
        }
        if !is_there || self.is_late_answer(from, key) || !self.is_answer(from, key) {
            // It has left in the meantime, or takes its messages elsewhere.
            return self.send_wire(from, Wire::RemoveReceiver { receiver });
        }
        self.seated(now, key, receiver);
    }

    /// Whether a consumer waits for the answer that a home gives.
    fn is_answer(&self, from: ShardId, key: ConsumerKey) -> bool {
        self.consumers.get(key).is_some_and(|consumer| {
            let stored = &consumer.stored;
            stored.receiver.is_none() && stored.remote.as_ref().is_some_and(|remote| remote.home == from)
        })
    }

    /// Whether a home answers that was asked when it was another one's turn already.
    fn is_late_answer(&mut self, from: ShardId, key: ConsumerKey) -> bool {
        let Some(following) = self.following_mut(key) else { return false };
        let index = following.unanswered.iter().position(|home| *home == from);
        if let Some(index) = index {
            following.unanswered.remove(index);
            self.tidy_following(key);
        }
        index.is_some()
    }

    /// A home does not let a consumer in, or no longer; it has forgotten it already.
    pub(crate) fn receiver_closed(
        &mut self,
        now: Instant,
        from: ShardId,
        key: ConsumerKey,
        reason: CloseReason,
    ) {
        if self.is_late_answer(from, key) {
            // It may have another place there, where it has something.
            return;
        }
        let is_seated = self.consumers.get(key).is_some_and(|consumer| consumer.stored.receiver.is_some());
        let is_answer = self.is_answer(from, key) || is_seated || from == self.shard;
        if !is_answer || self.home_of_consumer(key) != Some(from) {
            return self.lose_seat(from, key);
        }
        if !is_seated && self.ask_later(now, key, reason) {
            return;
        }
        self.broker.unsubscribing.remove(&key);
        self.broker.refiltering.remove(&key);
        let Some(consumer) = self.consumers.get_mut(key).filter(|consumer| !consumer.closed) else { return };
        consumer.stored.receiver = None;
        self.close_consumer(now, key, reason);
    }

    /// Lets a consumer ask the home again in a moment that has just refused it, if that may help.
    pub(super) fn ask_later(&mut self, now: Instant, key: ConsumerKey, reason: CloseReason) -> bool {
        let Some(consumer) = self.consumers.get_mut(key).filter(|consumer| !consumer.closed) else {
            return false;
        };
        let next = consumer.stored.following.get_or_insert_default().asking.after(now, reason);
        if let Some(next) = next {
            self.broker.waiters.insert((next, Waiter::Consumer(key)));
        }
        next.is_some()
    }

    /// A place at a home of before is gone: what the consumer has from there nobody waits for any more.
    fn lose_seat(&mut self, home: ShardId, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let Some(following) = &mut consumer.stored.following else { return };
        let places = following.parked.len();
        following.parked.retain(|seat| seat.home != home);
        if following.parked.len() == places {
            return;
        }
        let mut next = consumer.stored.grips.first();
        while let Some(grip) = next {
            next = List::<GripKey, ByLink>::after(&self.broker.grips, grip);
            if let Some(grip) = self.broker.grips.get_mut(grip) {
                grip.home = grip.home.filter(|of| *of != home);
            }
        }
        self.tidy_following(key);
    }

    /// A delivery of a home that is not (any more) where the consumer takes its messages from.
    pub(crate) fn turn_back(&mut self, from: ShardId, key: ConsumerKey, handout: &Handout) {
        let seat = self.following_mut(key).and_then(|following| following.seat_at(from));
        if let Some(receiver) = seat.map(|seat| seat.receiver) {
            self.give_back(from, receiver, handout);
        }
    }

    /// A parked place has given back all that was on its way to it.
    pub(crate) fn seat_drained(&mut self, now: Instant, from: ShardId, key: ConsumerKey, number: u32) {
        let Some(following) = self.following_mut(key) else { return };
        for seat in following.parked.iter_mut().filter(|seat| seat.home == from) {
            seat.is_quiet |= seat.remote.as_ref().is_some_and(|remote| remote.is_current(number));
        }
        self.vacate(now, key);
    }

    /// One delivery less of a home, by way of this place there, is unsettled at a consumer.
    pub(crate) fn note_settled(&mut self, key: ConsumerKey, home: Option<ShardId>, receiver: ReceiverKey) {
        let Some(following) = self.following_mut(key) else { return };
        let mut seats = following.parked.iter_mut();
        if let Some(seat) = seats.find(|seat| Some(seat.home) == home && seat.receiver == receiver) {
            seat.held = seat.held.saturating_sub(1);
        }
    }

    /// Leaves the homes of before that a consumer has nothing of any more.
    pub(crate) fn vacate(&mut self, now: Instant, key: ConsumerKey) {
        while let Some(following) = self.following_mut(key)
            && let Some(index) = following.parked.iter().position(|seat| seat.is_quiet && seat.held == 0)
        {
            let seat = following.parked.remove(index);
            self.leave_seat(now, &seat);
        }
        self.tidy_following(key);
    }

    fn leave_seat(&mut self, now: Instant, seat: &Seat) {
        let receiver = seat.receiver;
        if seat.home == self.shard {
            self.remove_receiver(now, receiver);
        } else {
            self.send_wire(seat.home, Wire::RemoveReceiver { receiver });
        }
    }

    /// A consumer has gone: so do its parked places, with what it had not settled there.
    pub(crate) fn leave_seats(&mut self, now: Instant, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        // Who has not answered hears of it when it does.
        for seat in consumer.stored.following.take().map(|following| following.parked).unwrap_or_default() {
            self.leave_seat(now, &seat);
        }
    }

    fn tidy_following(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if consumer.stored.following.take_if(|following| following.is_over()).is_some() {
            self.finish_leaving_part(key);
        }
    }

    // ---- producers --------------------------------------------------------------------------------

    /// The producers of an address send to where it takes messages now, behind what was sent to `before`.
    pub(crate) fn producers_follow(&mut self, now: Instant, key: AddressKey, before: Option<ShardId>) {
        let Some(address) = self.addresses.get(key) else { return };
        let Some(to) = self.reachable_entrance(address) else {
            return self.close_producers(key, CloseReason::HomeGone);
        };
        let mut next = address.producers.first();
        while let Some(producer) = next {
            next = List::<ProducerKey, ByAddress>::after(&self.producers, producer);
            self.producer_follows(now, producer, to);
        }
        if let Some(before) = before.filter(|before| *before != to) {
            self.shut_gate(now, key, before);
        }
    }

    fn producer_follows(&mut self, now: Instant, key: ProducerKey, to: ShardId) {
        let here = self.shard;
        let stored = self.producers.get_mut(key).and_then(|producer| producer.stored.as_mut());
        let Some(stored) = stored.filter(|stored| stored.home != to) else { return };
        let (before, sender) = (std::mem::replace(&mut stored.home, to), stored.sender.take());
        let was_asked = stored.asking.next.is_none();
        stored.asking = Asking { until: Some(now + PATIENCE), next: None };
        match sender {
            Some(sender) if before == here => self.remove_sender(sender),
            Some(sender) => self.send_wire(before, Wire::RemoveSender { sender }),
            None if before != here && was_asked => stored.unanswered.push(before),
            None => {}
        }
        self.ask_producer_in(now, key);
    }

    /// Asks the home where a producer is to send to let it in.
    fn ask_producer_in(&mut self, now: Instant, key: ProducerKey) {
        let Some(producer) = self.producers.get(key) else { return };
        let (Target::Address(address), Some(stored)) = (&producer.target, &producer.stored) else { return };
        let (home, to) = (stored.home, *address);
        let Some(address) = self.addresses.get(to) else { return };
        let (home_key, address) = (address.home, address.name.clone());
        if home != self.shard {
            return self.send_wire(home, Wire::AddSender { producer: key, address });
        }
        let added = home_key.ok_or(CloseReason::NotFound);
        match added.and_then(|home_key| self.add_sender(home_key, home, key)) {
            Ok((sender, active)) => self.sender_opened(key, sender, active),
            Err(reason) => self.sender_closed(now, home, key, reason),
        }
    }

    /// Whether a producer waits for the answer that a home gives, and not for that of another one.
    fn is_answer_to_producer(&mut self, from: ShardId, key: ProducerKey) -> bool {
        let stored = self.producers.get_mut(key).filter(|producer| !producer.closed);
        let Some(stored) = stored.and_then(|producer| producer.stored.as_mut()) else { return false };
        if let Some(index) = stored.unanswered.iter().position(|home| *home == from) {
            stored.unanswered.remove(index);
            return false;
        }
        stored.home == from && stored.sender.is_none()
    }

    /// The home on another shard has let a producer in.
    pub(crate) fn handle_opened(
        &mut self,
        from: ShardId,
        producer: ProducerKey,
        sender: SenderKey,
        active: bool,
    ) {
        if self.is_answer_to_producer(from, producer) {
            self.sender_opened(producer, sender, active);
        } else {
            // It has left in the meantime, or sends elsewhere.
            self.send_wire(from, Wire::RemoveSender { sender });
        }
    }

    /// The home says whether a producer is to have credit.
    pub(crate) fn handle_flow(&mut self, from: ShardId, key: ProducerKey, active: bool) {
        let stored = self.producers.get(key).and_then(|producer| producer.stored.as_ref());
        if stored.is_some_and(|stored| stored.home == from) {
            self.sender_flow(key, active);
        }
    }

    /// A home does not let a producer in, or no longer; it has forgotten it already.
    pub(crate) fn sender_closed(
        &mut self,
        now: Instant,
        from: ShardId,
        key: ProducerKey,
        reason: CloseReason,
    ) {
        let stored = self.producers.get(key).and_then(|producer| producer.stored.as_ref());
        let Some(stored) = stored else { return };
        let (is_current, is_open) = (stored.home == from, stored.sender.is_some());
        let is_answer = self.is_answer_to_producer(from, key) || is_open || from == self.shard;
        if !is_answer || !is_current {
            return;
        }
        let stored = self.producers.get_mut(key).and_then(|producer| producer.stored.as_mut());
        match stored.filter(|_| !is_open).and_then(|stored| stored.asking.after(now, reason)) {
            Some(next) => {
                self.broker.waiters.insert((next, Waiter::Producer(key)));
            }
            None => self.close_stored_producer(key, reason),
        }
    }

    // ---- gates ------------------------------------------------------------------------------------

    /// What is sent from now on waits until the old home has passed on what was sent to it.
    fn shut_gate(&mut self, now: Instant, key: AddressKey, before: ShardId) {
        let Some(address) = self.addresses.get_mut(key) else { return };
        if let Some(gate) = &mut address.gate {
            if gate.through.back() != Some(&before) {
                gate.through.push_back(before);
            }
            return;
        }
        self.broker.last_gate += 1;
        let (number, until) = (self.broker.last_gate, now + GATE_PATIENCE);
        let through = VecDeque::from([before]);
        address.gate = Some(Box::new(Gate {
            number,
            through,
            held: VecDeque::new(),
            bytes: 0,
            commits: Vec::new(),
            until,
        }));
        self.broker.gates.insert(number, key);
        self.broker.waiters.insert((until, Waiter::Gate(key)));
        self.ask_passed(now, key);
    }

    /// Asks the first old home that can be reached; without one the gate opens.
    fn ask_passed(&mut self, now: Instant, key: AddressKey) {
        loop {
            let Some(address) = self.addresses.get_mut(key) else { return };
            let (home, name) = (address.home, address.name.clone());
            let Some(gate) = &mut address.gate else { return };
            let number = gate.number;
            let Some(first) = gate.through.front().copied() else { return self.open_gate(now, key) };
            if first == self.shard {
                if home.is_some_and(|home| self.wait_until_passed(now, home, first, number))
                    || self.wait_until_sent_on(now, key, first, number)
                {
                    return;
                }
            } else if self.peers.contains(first) {
                return self.send_wire(first, Wire::AskPassed { address: name, number });
            }
            self.forget_first(key);
        }
    }

    fn forget_first(&mut self, key: AddressKey) {
        if let Some(gate) = self.addresses.get_mut(key).and_then(|address| address.gate.as_mut()) {
            gate.through.pop_front();
        }
    }

    /// Holds a publication back behind the gate of its address. It is kept whole, and bounded by the credit of
    /// its producer and by what the shard may have in memory for stored messages.
    pub(crate) fn hold_back(
        &mut self,
        key: AddressKey,
        producer: Option<ProducerKey>,
        mut publication: Publication,
    ) {
        publication.keep();
        let bytes = publication.body.len() as u64;
        if self.broker.gated + bytes > self.limits.stored_memory_bytes.max(bytes) {
            self.count_dropped(Some(key), u64::from(publication.source.is_settled()));
            return self.answer(publication.source, Outcome::Released);
        }
        if let Some(gate) = self.addresses.get_mut(key).and_then(|address| address.gate.as_mut()) {
            self.broker.gated += bytes;
            gate.bytes += bytes;
            gate.held.push_back((producer, publication));
        }
    }

    /// Holds the commit of a transaction back behind the gate of an address that it posts to, if there is one.
    pub(crate) fn hold_commit_back(&mut self, key: AddressKey, transaction: TransactionId) -> bool {
        let gate = self.addresses.get_mut(key).and_then(|address| address.gate.as_mut());
        let is_shut = gate.is_some();
        if let Some(gate) = gate {
            gate.commits.push(transaction);
        }
        is_shut
    }

    fn take_gate(&mut self, key: AddressKey) -> Option<Gate> {
        let gate = self.addresses.get_mut(key)?.gate.take()?;
        self.broker.gates.remove(&gate.number);
        self.broker.waiters.remove(&(gate.until, Waiter::Gate(key)));
        self.broker.gated = self.broker.gated.saturating_sub(gate.bytes);
        Some(*gate)
    }

    fn open_gate(&mut self, now: Instant, key: AddressKey) {
        let Some(gate) = self.take_gate(key) else { return };
        for (producer, publication) in gate.held {
            self.publish(now, key, producer, publication);
        }
        for transaction in gate.commits {
            self.commit(now, transaction);
        }
    }

    /// An address is removed: what waits for it is released.
    pub(crate) fn remove_gate(&mut self, now: Instant, key: AddressKey) {
        let Some(gate) = self.take_gate(key) else { return };
        for (_, publication) in gate.held {
            self.answer(publication.source, Outcome::Released);
        }
        for transaction in gate.commits {
            self.commit(now, transaction);
        }
    }

    /// Another shard wants to know when all that it has sent is passed on.
    pub(crate) fn handle_ask_passed(&mut self, now: Instant, from: ShardId, address: &Arc<str>, number: u64) {
        let key = self.names.get(address).copied();
        let home = key.and_then(|key| self.addresses.get(key)?.home);
        if !home.is_some_and(|home| self.wait_until_passed(now, home, from, number))
            && !key.is_some_and(|key| self.wait_until_sent_on(now, key, from, number))
        {
            self.say_passed(now, from, number);
        }
    }

    /// Tells a shard that all it has sent is passed on.
    pub(crate) fn say_passed(&mut self, now: Instant, to: ShardId, number: u64) {
        if to == self.shard {
            self.handle_passed(now, to, number);
        } else {
            self.send_wire(to, Wire::Passed { number });
        }
    }

    /// An old home has passed on all that this shard has sent to it.
    pub(crate) fn handle_passed(&mut self, now: Instant, from: ShardId, number: u64) {
        let Some(key) = self.broker.gates.get(&number).copied() else { return };
        let gate = self.addresses.get(key).and_then(|address| address.gate.as_ref());
        if gate.is_some_and(|gate| gate.through.front() == Some(&from)) {
            self.forget_first(key);
            self.ask_passed(now, key);
        }
    }

    // ---- time, and shards that go -----------------------------------------------------------------

    /// When a link asks again, or a gate opens.
    pub(crate) fn poll_waiters(&self) -> Option<Instant> {
        self.broker.waiters.first().map(|(at, _)| *at)
    }

    /// Does what is to be done by now.
    pub(crate) fn handle_waiters(&mut self, now: Instant) {
        while let Some((at, waiter)) = self.broker.waiters.first().copied()
            && at <= now
        {
            self.broker.waiters.pop_first();
            self.broker.now = Some(now);
            match waiter {
                Waiter::Gate(key) => self.open_gate(now, key),
                Waiter::Consumer(key) => self.consumer_asks_again(now, at, key),
                Waiter::Producer(key) => self.producer_asks_again(now, at, key),
            }
        }
    }

    fn consumer_asks_again(&mut self, now: Instant, at: Instant, key: ConsumerKey) {
        let Some(home) = self.home_of_consumer(key) else { return };
        let Some(following) = self.following_mut(key) else { return };
        if following.asking.next.take_if(|next| *next == at).is_some() {
            self.ask_in(now, key, home);
        }
    }

    fn producer_asks_again(&mut self, now: Instant, at: Instant, key: ProducerKey) {
        let stored = self.producers.get_mut(key).and_then(|producer| producer.stored.as_mut());
        let Some(stored) = stored else { return };
        if stored.asking.next.take_if(|next| *next == at).is_some() {
            self.ask_producer_in(now, key);
        }
    }

    /// A shard is gone, with what links have there beside the place where they take their messages from.
    pub(crate) fn followed_peer_gone(&mut self, now: Instant, peer: ShardId) {
        for key in self.producers.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            let stored = self.producers.get_mut(key).and_then(|producer| producer.stored.as_mut());
            if let Some(stored) = stored {
                stored.unanswered.retain(|home| *home != peer);
            }
        }
        let following = self.consumers.iter().filter(|(_, consumer)| consumer.stored.following.is_some());
        for key in following.map(|(key, _)| key).collect::<Vec<_>>() {
            if let Some(following) = self.following_mut(key) {
                following.unanswered.retain(|home| *home != peer);
            }
            self.lose_seat(peer, key);
            self.tidy_following(key);
        }
        for key in self.broker.gates.values().copied().collect::<Vec<_>>() {
            let gate = self.addresses.get_mut(key).and_then(|address| address.gate.as_mut());
            let Some(gate) = gate else { continue };
            let was_asked = gate.through.front() == Some(&peer);
            gate.through.retain(|home| *home != peer);
            if was_asked {
                self.ask_passed(now, key);
            }
        }
    }
}

/// A consumer as a home has to know it.
fn receiver_options(consumer: &Consumer) -> ReceiverOptions {
    let options = &consumer.options;
    ReceiverOptions {
        browse: options.browse,
        exclusive: options.exclusive,
        filter: options.filter.clone(),
        not_from: options.not_from,
        levels: consumer.stored.source.clone(),
        subscription: options.subscription.clone(),
        retained: options.retained,
        unreadable: false,
    }
}
