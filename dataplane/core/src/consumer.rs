//! Links that the core sends to.
//!
//! A consumer is in one of three places: with the ready consumers of its (anycast) address, held by
//! its lane because the lane's budget is used up, or in neither. `advance` is called whenever
//! something changed that could let it take more; it leaves the consumer in the right place.
//!
//! Invariants:
//! - `current` is the leg of the one delivery that has been started and not finished on the link.
//! - `unsettled` holds the legs that have been handed over or started and not settled, `current`
//!   among them; their number without those sent settled is `outstanding`.
//! - `backlog` holds the legs of multicast deliveries that have not been started.
//! - The sum of the credit of an address's consumers is the address's `credit`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::broker::{ConsumerRole, StoredConsumer};
use crate::core::Core;
use crate::delivery::ByLink;
use crate::effect::{CloseReason, Effect, Refused};
use crate::format::Filter;
use crate::key::{AddressKey, ConsumerKey, LaneKey, LegKey};
use crate::list::{Linked, Links, List};
use crate::outcome::Outcome;
use crate::settings::{AddressKind, QueueSettings};
use crate::statistics::ConsumerStatistics;

/// How a consumer takes deliveries.
#[derive(Clone, Debug, Default)]
pub struct ConsumerOptions {
    /// Deliveries are sent to it settled (sender-settle-mode `settled`). Producers of unsettled
    /// deliveries learn `Accepted` once all of the message has been handed over.
    pub settled: bool,
    /// The outcome of a delivery that the consumer settles without one: the default-outcome of its
    /// source (AMQP 3.5.3). `None` means `Released`: nothing says that it was processed.
    pub default_outcome: Option<Outcome>,
    /// It only looks: what it gets stays in the queue for others. Its deliveries are settled.
    pub browse: bool,
    /// Nobody else may consume from the queue meanwhile; refused when somebody does.
    pub exclusive: bool,
    /// Which messages of a queue or topic it gets.
    pub filter: Option<Arc<dyn Filter>>,
    /// How it subscribes to a topic; `None` is a volatile subscription that ends with the link.
    pub subscription: Option<Box<SubscriptionOptions>>,
    /// For a volatile subscription: it gets nothing from producers with this `origin`.
    pub not_from: Option<u64>,
    /// For a subscription that this consumer makes: before anything else it gets what the topic retains
    /// for the names that it wants; [`Redelivery::retained`](crate::Redelivery::retained) says so. It comes
    /// as there is room in the subscription, and what has not come when the node stops does not come.
    pub retained: bool,
}

/// A subscription that has a name.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionOptions {
    /// What makes it this one and no other among those of the topic.
    pub name: Arc<str>,
    /// It goes on, and keeps messages, while nobody consumes from it; until `unsubscribe`.
    pub durable: bool,
    /// Several consumers may share it, each getting some of the messages.
    pub shared: bool,
    /// Consumers at a time; 0 means no limit. One that is not shared has one.
    pub max_consumers: u32,
    /// Kept with a durable one for [`Format::restore`](crate::Format::restore). A consumer with another
    /// definition makes a new subscription of the name when nobody else uses it, as the old one would
    /// give it other messages.
    pub definition: Bytes,
    /// It gets nothing from producers with this `origin`.
    pub not_from: Option<u64>,
    /// The names that it gets, in place of the one filter that the consumer named: a message comes once,
    /// however many of them match. With it a consumer that comes to a subscription that is there changes
    /// it to what these options say, and what it holds stays.
    pub filters: Option<Arc<[Arc<str>]>>,
    /// It gets durable messages only.
    pub durable_only: bool,
    /// How it keeps messages, in place of what the topic says. Not written down: after a restart
    /// [`Format::restore`](crate::Format::restore) says it.
    pub settings: Option<Arc<QueueSettings>>,
    /// A durable one: somebody for whom it goes on while nobody consumes from it, until
    /// [`end_durable`](Core::end_durable). With claims it ends by itself, see `ends_unused`.
    pub claim: Option<Arc<str>>,
    /// A durable one ends when nobody consumes from it and nobody claims it. A `claim` implies it.
    pub ends_unused: bool,
}

/// Marks the list that a consumer stands in because of its [`Place`].
#[derive(Debug)]
pub(crate) struct ByPlace;

/// Where a consumer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere: it cannot take a delivery now.
    Aside,
    /// Among the ready consumers of its address, in this bucket.
    Ready(u16),
    /// Among those that wait for their lane's budget.
    Held,
}

#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) address: AddressKey,
    pub(crate) kind: AddressKind,
    pub(crate) lane: LaneKey,
    pub(crate) options: ConsumerOptions,
    pub(crate) credit: u32,
    pub(crate) draining: bool,
    pub(crate) outstanding: u32,
    pub(crate) current: Option<LegKey>,
    pub(crate) unsettled: List<LegKey, ByLink>,
    pub(crate) backlog: List<LegKey, ByLink>,
    /// Whether the backlog is at the address's limit; counted in the address's `overloaded`.
    pub(crate) overloaded: bool,
    /// Closed by the core; it stays until the caller removes it, and gets nothing.
    pub(crate) closed: bool,
    /// Its index among the members of its address.
    pub(crate) member: u32,
    pub(crate) place: Place,
    in_place: Links<ConsumerKey>,
    pub(crate) deliveries: u64,
    /// When its address keeps messages.
    pub(crate) stored: StoredConsumer,
    /// When its address is a queue with several shards, or one of those.
    pub(crate) role: ConsumerRole,
}

impl Linked<ConsumerKey, ByPlace> for Consumer {
    fn links(&self) -> &Links<ConsumerKey> {
        &self.in_place
    }

    fn links_mut(&mut self) -> &mut Links<ConsumerKey> {
        &mut self.in_place
    }
}

impl Consumer {
    fn new(address: AddressKey, kind: AddressKind, lane: LaneKey, options: ConsumerOptions) -> Self {
        Self {
            address,
            kind,
            lane,
            options,
            credit: 0,
            draining: false,
            outstanding: 0,
            current: None,
            unsettled: List::default(),
            backlog: List::default(),
            overloaded: false,
            closed: false,
            member: 0,
            place: Place::Aside,
            in_place: Links::default(),
            deliveries: 0,
            stored: StoredConsumer::default(),
            role: ConsumerRole::Plain,
        }
    }

    /// Whether it could start a delivery, if its lane lets it.
    pub(crate) fn is_free(&self) -> bool {
        self.credit > 0 && self.current.is_none() && !self.closed
    }

    /// The outcome of a delivery that it settles without one.
    pub(crate) fn default_outcome(&self) -> Outcome {
        self.options.default_outcome.clone().unwrap_or(Outcome::Released)
    }
}

impl Core {
    /// Lets a consumer in. It gets nothing until it has given credit with `set_credit`.
    ///
    /// # Errors
    /// `NotFound` without such an address, `NotAllowed` for a temporary address, `LimitExceeded`
    /// when the address or the shard has its number of consumers, `NoLane` without that lane, and
    /// `Stopping`.
    pub fn add_consumer(
        &mut self,
        now: Instant,
        lane: LaneKey,
        source: &str,
        options: ConsumerOptions,
    ) -> Result<ConsumerKey, Refused> {
        self.check_consumer(lane)?;
        let key = self.resolve_name(source)?;
        let Some(address) = self.addresses.get(key) else { return Err(Refused::NotFound(source.into())) };
        if address.settings.kind.is_stored() {
            return self.add_stored_consumer(now, key, lane, source, options);
        }
        if address.is_temporary() {
            return Err(Refused::NotAllowed(source.into()));
        }
        let limit = u64::from(address.settings.max_consumers);
        if limit > 0 && address.all_consumers() >= limit {
            return Err(Refused::LimitExceeded { what: address.label(), links: "consumers", limit });
        }
        Ok(self.insert_consumer(now, key, lane, options))
    }

    /// What every new consumer has to pass.
    pub(crate) fn check_consumer(&self, lane: LaneKey) -> Result<(), Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if !self.lanes.contains(lane) {
            return Err(Refused::NoLane);
        }
        let limit = u64::from(self.limits.max_consumers);
        if self.consumer_links() >= limit {
            return Err(Refused::LimitExceeded { what: "the shard".into(), links: "consumers", limit });
        }
        Ok(())
    }

    pub(crate) fn insert_consumer(
        &mut self,
        now: Instant,
        address_key: AddressKey,
        lane: LaneKey,
        options: ConsumerOptions,
    ) -> ConsumerKey {
        let (kind, member) = match self.addresses.get(address_key) {
            Some(address) => (address.settings.kind, address.members.len() as u32),
            None => (AddressKind::Anycast, 0),
        };
        let key =
            self.consumers.insert(Consumer { member, ..Consumer::new(address_key, kind, lane, options) });
        let mut first = None;
        if let Some(address) = self.addresses.get_mut(address_key) {
            first = address.members.first().copied();
            address.members.push(key);
        }
        if let Some(first) = first.filter(|_| kind == AddressKind::Anycast) {
            // If it was alone, it stood in the first bucket whatever it had outstanding.
            self.put_in_place(first);
        }
        self.members_changed(now, address_key);
        key
    }

    /// Makes a consumer that is no member of its address: it has parts that are members elsewhere.
    pub(crate) fn insert_front(
        &mut self,
        address: AddressKey,
        lane: LaneKey,
        options: ConsumerOptions,
        role: ConsumerRole,
    ) -> ConsumerKey {
        self.consumers.insert(Consumer { role, ..Consumer::new(address, AddressKind::Queue, lane, options) })
    }

    /// Takes a consumer away: its link is gone. What it had and did not settle is settled as
    /// modified with `delivery_failed`; what it never got goes elsewhere, or is released when there
    /// is nobody else. No effect names it from here on, except those already queued.
    pub fn remove_consumer(&mut self, now: Instant, consumer: ConsumerKey) {
        self.leave_address(now, consumer);
        while let Some(leg) = self.consumers.get(consumer).and_then(|consumer| consumer.unsettled.first()) {
            let reported = self.legs.get_mut(leg).and_then(|leg| leg.outcome.take());
            self.end_leg(leg, reported.unwrap_or(Outcome::FAILED));
        }
        if let Some(removed) = self.consumers.remove(consumer) {
            self.broker.parts.consumers -= u64::from(removed.role.front().is_some());
        }
    }

    /// Ends a consumer's part in its address: it is no member any more, gets nothing, and what
    /// waited for it does not wait for it any more. Its unsettled deliveries stay.
    pub(crate) fn leave_address(&mut self, now: Instant, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if consumer.closed {
            return;
        }
        consumer.closed = true;
        if consumer.role.is_front() {
            return self.detach_front_consumer(now, key);
        }
        let address_key = consumer.address;
        if consumer.kind.is_stored() {
            self.detach_consumer(now, key);
        }
        self.set_aside(key);
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (credit, member) = (std::mem::take(&mut consumer.credit), consumer.member);
        if let Some(address) = self.addresses.get_mut(address_key) {
            address.credit = address.credit.saturating_sub(u64::from(credit));
            if (member as usize) < address.members.len() {
                address.members.swap_remove(member as usize);
            }
            if let Some(moved) = address.members.get(member as usize)
                && let Some(moved) = self.consumers.get_mut(*moved)
            {
                moved.member = member;
            }
        }
        while let Some(leg) = self.consumers.get(key).and_then(|consumer| consumer.backlog.first()) {
            self.end_leg(leg, Outcome::Released);
        }
        self.members_changed(now, address_key);
    }

    /// Closes a consumer of the core's own accord.
    pub(crate) fn close_consumer(&mut self, now: Instant, consumer: ConsumerKey, reason: CloseReason) {
        if self.consumers.get(consumer).is_some_and(|consumer| consumer.role.front().is_some()) {
            return self.consumer_part_closed(now, consumer, reason);
        }
        self.effects.push_back(Effect::CloseConsumer { consumer, reason });
        self.leave_address(now, consumer);
    }

    /// Takes over the consumer's credit: how many deliveries it will still take, from now on. With
    /// `drain` it is handed what waits for it, and then `Drained` says that the rest is used up.
    pub fn set_credit(&mut self, now: Instant, consumer: ConsumerKey, credit: u32, drain: bool) {
        let key = consumer;
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        if consumer.closed {
            return;
        }
        if consumer.kind.is_stored() {
            return self.set_stored_credit(now, key, credit, drain);
        }
        let before = std::mem::replace(&mut consumer.credit, credit);
        consumer.draining = drain;
        let address = consumer.address;
        if let Some(address) = self.addresses.get_mut(address) {
            address.credit = address.credit.saturating_sub(u64::from(before)) + u64::from(credit);
        }
        self.advance(now, key);
        self.mark_dirty(address);
    }

    /// Gives the consumer what it can take now, and puts it where it belongs.
    pub(crate) fn advance(&mut self, now: Instant, key: ConsumerKey) {
        if self.consumers.get(key).is_some_and(|consumer| consumer.kind.is_stored()) {
            return self.advance_stored(now, key);
        }
        self.pump(key);
        let Some(consumer) = self.consumers.get(key) else { return };
        let (kind, address) = (consumer.kind, consumer.address);
        match kind {
            AddressKind::Anycast => {
                let was_free = self.put_in_place(key);
                if was_free {
                    self.dispatch(now, address);
                }
            }
            AddressKind::Multicast => self.work_off_backlog(now, key),
            AddressKind::Queue | AddressKind::Topic => {}
        }
        self.finish_drain(key);
    }

    /// Puts an anycast consumer where its state says, at the end. Says whether it is ready.
    pub(crate) fn put_in_place(&mut self, key: ConsumerKey) -> bool {
        let Some(consumer) = self.consumers.get_mut(key) else { return false };
        let free = consumer.is_free();
        let Some(address) = self.addresses.get_mut(consumer.address) else { return false };
        let bucket = address.bucket(consumer.outstanding);
        match consumer.place {
            // The lane decides when it comes back.
            Place::Held => return false,
            // Being next among equals is not lost by giving more credit.
            Place::Ready(current) if free && current == bucket => return true,
            Place::Ready(current) => {
                consumer.place = Place::Aside;
                address.ready.remove(&mut self.consumers, current, key);
            }
            Place::Aside => {}
        }
        if !free {
            return false;
        }
        address.ready.push(&mut self.consumers, bucket, key);
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.place = Place::Ready(bucket);
        }
        true
    }

    /// Takes a consumer out of the place where it stands.
    pub(crate) fn set_aside(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let (place, address, lane) = (consumer.place, consumer.address, consumer.lane);
        consumer.place = Place::Aside;
        match place {
            Place::Aside => {}
            Place::Ready(bucket) => {
                if let Some(address) = self.addresses.get_mut(address) {
                    address.ready.remove(&mut self.consumers, bucket, key);
                }
            }
            Place::Held => {
                if let Some(lane) = self.lanes.get_mut(lane) {
                    lane.held.remove(&mut self.consumers, key);
                }
            }
        }
    }

    /// Says `Drained` when the consumer asked for it and nothing more can come.
    pub(crate) fn finish_drain(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.consumers.get(key) else { return };
        if !consumer.draining || consumer.current.is_some() || consumer.place == Place::Held {
            return;
        }
        let Some(address) = self.addresses.get_mut(consumer.address) else { return };
        // What waits here is on its way to it, or it would be aside or held; what waits on other
        // shards has been called for.
        if consumer.credit > 0 && (!address.queue.is_empty() || address.is_wanted_by_peer()) {
            return;
        }
        let address_key = consumer.address;
        address.credit = address.credit.saturating_sub(u64::from(consumer.credit));
        if let Some(consumer) = self.consumers.get_mut(key) {
            consumer.credit = 0;
            consumer.draining = false;
        }
        self.set_aside(key);
        self.mark_dirty(address_key);
        self.effects.push_back(Effect::Drained { consumer: key });
    }

    /// What a consumer is doing.
    pub fn consumer(&self, consumer: ConsumerKey) -> Option<ConsumerStatistics> {
        let unsettled = self.outstanding(consumer);
        let consumer = self.consumers.get(consumer)?;
        Some(ConsumerStatistics { credit: consumer.credit, unsettled, deliveries: consumer.deliveries })
    }
}
