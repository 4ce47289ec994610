//! Links that send to the core, and their credit.
//!
//! Invariant: a producer that keeps to its credit has `credit + in_flight <= link_credit`; the rest
//! of `link_credit` is owed to it. What is owed is granted while a consumer can be reached, once the
//! producer is down to half of its credit: two flows for a full turn of credit instead of one for
//! each message.

use std::sync::Arc;
use std::time::Instant;

use crate::broker::{ProducerRole, StoredProducer};
use crate::core::Core;
use crate::delivery::ByAddress;
use crate::effect::{CloseReason, Effect, Refused};
use crate::key::{AddressKey, DeliveryKey, ProducerKey};
use crate::list::{Linked, Links};
use crate::statistics::ProducerStatistics;
use crate::stock::Owner;

/// Where a producer's messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerTarget<'a> {
    /// All to this address.
    Address(&'a str),
    /// Each to the address that it names (an anonymous relay).
    AnyAddress,
}

/// How a producer settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerOptions {
    /// The producer's receiver-settle-mode is `second`: it is told the outcome before its delivery is
    /// settled, and settles it itself (AMQP 2.8.3).
    pub settles_second: bool,
    /// Who it belongs to, for consumers that want nothing from themselves; any number, such as a hash
    /// of the client's name.
    pub origin: u64,
    /// For whom its messages count wherever they are stored; `None`: for their tenant alone.
    pub owner: Option<Owner>,
}

/// Where a producer's messages go, as keys.
#[derive(Debug)]
pub(crate) enum Target {
    Address(AddressKey),
    /// Anywhere; the last address is kept, since most anonymous producers repeat themselves.
    Any {
        last: Option<(Arc<str>, AddressKey)>,
    },
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) target: Target,
    pub(crate) options: ProducerOptions,
    pub(crate) link_credit: u32,
    /// Deliveries that the producer may still send.
    pub(crate) credit: u32,
    /// Deliveries begun whose credit has not come back.
    pub(crate) in_flight: u32,
    /// Whether its address has a consumer.
    pub(crate) active: bool,
    /// Its credit is being taken back; nothing is granted until that is done.
    pub(crate) stopping: bool,
    /// Stands in the list of producers to grant credit to.
    due: bool,
    /// Closed by the core; it stays until the caller removes it.
    pub(crate) closed: bool,
    /// Its delivery that is not whole yet.
    pub(crate) current: Option<DeliveryKey>,
    /// What its chunks in the core cost (see `CoreLimits::max_orphaned_bytes`).
    pub(crate) held: u64,
    in_address: Links<ProducerKey>,
    pub(crate) deliveries: u64,
    /// When its address keeps messages.
    pub(crate) stored: Option<Box<StoredProducer>>,
    /// When its address is a queue with several shards, or one of those.
    pub(crate) role: ProducerRole,
}

impl Linked<ProducerKey, ByAddress> for Producer {
    fn links(&self) -> &Links<ProducerKey> {
        &self.in_address
    }

    fn links_mut(&mut self) -> &mut Links<ProducerKey> {
        &mut self.in_address
    }
}

impl Producer {
    fn owed(&self) -> u32 {
        self.link_credit.saturating_sub(self.credit).saturating_sub(self.in_flight)
    }

    fn is_due(&self) -> bool {
        self.active
            && !self.stopping
            && !self.closed
            && self.credit <= self.link_credit / 2
            && self.owed() > 0
    }
}

impl Core {
    /// Lets a producer in. It has no credit until `Grant` gives it some: at once when its address has
    /// a consumer, or when it is anonymous.
    ///
    /// # Errors
    /// `NotFound` without such an address, `LimitExceeded` when the address or the shard has its
    /// number of producers, `Full` when too much waits that was sent by producers that have left,
    /// and `Stopping`.
    pub fn add_producer(
        &mut self,
        now: Instant,
        target: ProducerTarget<'_>,
        options: ProducerOptions,
    ) -> Result<ProducerKey, Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        let limit = u64::from(self.limits.max_producers);
        if self.producer_links() >= limit {
            return Err(Refused::LimitExceeded { what: "the shard".into(), links: "producers", limit });
        }
        match target {
            ProducerTarget::Address(name) => self.add_to_address(now, name, options),
            ProducerTarget::AnyAddress => self.add_anonymous(options),
        }
    }

    fn add_to_address(
        &mut self,
        now: Instant,
        name: &str,
        options: ProducerOptions,
    ) -> Result<ProducerKey, Refused> {
        let address_key = self.resolve_name(name)?;
        let Some(address) = self.addresses.get(address_key) else {
            return Err(Refused::NotFound(name.into()));
        };
        if self.is_spread(address_key) {
            return self.add_front_producer(now, address_key, options);
        }
        if address.settings.kind.is_stored() {
            return self.add_to_stored(address_key, name, options);
        }
        let limit = u64::from(address.settings.max_producers);
        if limit > 0 && address.all_producers() >= limit {
            return Err(Refused::LimitExceeded { what: address.label(), links: "producers", limit });
        }
        if address.orphaned > self.limits.max_orphaned_bytes {
            return Err(Refused::Full(address.label()));
        }
        let (credit, active) = (address.settings.link_credit, address.is_reachable());
        let key = self.insert_producer(Target::Address(address_key), options, credit, active);
        if let Some(address) = self.addresses.get_mut(address_key) {
            address.producers.push_back(&mut self.producers, key);
        }
        self.producers_changed(address_key);
        Ok(key)
    }

    fn add_to_stored(
        &mut self,
        address_key: AddressKey,
        name: &str,
        options: ProducerOptions,
    ) -> Result<ProducerKey, Refused> {
        let credit = self.addresses.get(address_key).map_or(1, |address| address.settings.link_credit);
        let key = self.insert_producer(Target::Address(address_key), options, credit, false);
        if let Err(refused) = self.attach_producer(key, address_key, name) {
            self.producers.remove(key);
            return Err(refused);
        }
        if let Some(address) = self.addresses.get_mut(address_key) {
            address.producers.push_back(&mut self.producers, key);
        }
        Ok(key)
    }

    fn add_anonymous(&mut self, options: ProducerOptions) -> Result<ProducerKey, Refused> {
        if self.orphaned > self.limits.max_orphaned_bytes {
            return Err(Refused::Full("the share of anonymous producers".into()));
        }
        Ok(self.insert_producer(Target::Any { last: None }, options, self.limits.link_credit, true))
    }

    pub(crate) fn insert_producer(
        &mut self,
        target: Target,
        options: ProducerOptions,
        link_credit: u32,
        active: bool,
    ) -> ProducerKey {
        let key = self.producers.insert(Producer {
            target,
            options,
            link_credit: link_credit.max(1),
            credit: 0,
            in_flight: 0,
            active,
            stopping: false,
            due: false,
            closed: false,
            current: None,
            held: 0,
            in_address: Links::default(),
            deliveries: 0,
            stored: None,
            role: ProducerRole::Plain,
        });
        self.note_due(key);
        key
    }

    /// Takes a producer away: its link is gone. A message it has not finished is aborted; whole ones
    /// go on, and what becomes of them is told to nobody.
    pub fn remove_producer(&mut self, now: Instant, producer: ProducerKey) {
        if let Some(delivery) = self.producers.get(producer).and_then(|producer| producer.current) {
            self.abort(now, delivery);
        }
        self.leave_as_producer(producer);
        if self.producers.get(producer).is_some_and(|producer| producer.options.settles_second) {
            self.forget_inbound(producer);
        }
        let Some(removed) = self.producers.remove(producer) else { return };
        self.broker.parts.producers -= u64::from(removed.role.front().is_some());
        match removed.target {
            Target::Address(key) => {
                if let Some(address) = self.addresses.get_mut(key) {
                    address.orphaned += removed.held;
                }
            }
            Target::Any { .. } => self.orphaned += removed.held,
        }
    }

    /// Ends a producer's part in its address.
    pub(crate) fn leave_as_producer(&mut self, key: ProducerKey) {
        let Some(producer) = self.producers.get_mut(key) else { return };
        if std::mem::replace(&mut producer.closed, true) {
            return;
        }
        if producer.role.is_front() {
            return self.detach_front_producer(key);
        }
        if let Target::Address(address_key) = producer.target {
            if let Some(address) = self.addresses.get_mut(address_key) {
                address.producers.remove(&mut self.producers, key);
            }
            self.producers_changed(address_key);
            self.detach_producer(key);
        }
    }

    /// Closes a producer of the core's own accord.
    pub(crate) fn close_producer(&mut self, producer: ProducerKey, reason: CloseReason) {
        if self.producers.get(producer).is_some_and(|producer| producer.role.front().is_some()) {
            return self.producer_part_closed(producer, reason);
        }
        self.effects.push_back(Effect::CloseProducer { producer, reason });
        self.leave_as_producer(producer);
    }

    /// Says that a producer which was to be stopped has no credit left: it has drained it, or has
    /// used all of it.
    pub fn producer_stopped(&mut self, _now: Instant, producer: ProducerKey) {
        if let Some(value) = self.producers.get_mut(producer) {
            value.stopping = false;
            self.note_due(producer);
        }
    }

    /// A consumer can be reached: the producer gets what is owed to it.
    pub(crate) fn resume(&mut self, key: ProducerKey) {
        if let Some(producer) = self.producers.get_mut(key) {
            producer.active = true;
            let front = producer.role.front();
            self.note_due(key);
            front.into_iter().for_each(|front| self.note_flow(front));
        }
    }

    /// No consumer can be reached: unused credit is taken back.
    pub(crate) fn stop(&mut self, key: ProducerKey) {
        let Some(producer) = self.producers.get_mut(key) else { return };
        producer.active = false;
        let front = producer.role.front();
        if std::mem::take(&mut producer.credit) > 0 {
            producer.stopping = true;
            self.effects.push_back(Effect::StopProducer { producer: key });
        }
        front.into_iter().for_each(|front| self.note_flow(front));
    }

    /// A delivery that used one credit is done with.
    pub(crate) fn replenish(&mut self, key: ProducerKey) {
        if let Some(producer) = self.producers.get_mut(key) {
            producer.in_flight = producer.in_flight.saturating_sub(1);
            self.note_due(key);
        }
    }

    /// Remembers a producer that is to be granted credit.
    pub(crate) fn note_due(&mut self, key: ProducerKey) {
        if let Some(producer) = self.producers.get_mut(key)
            && !producer.due
            && !self.stopping
            && producer.is_due()
        {
            producer.due = true;
            self.due.push(key);
        }
    }

    /// Grants credit to the producers that were due. Called when all other effects are out, so that
    /// what was settled together is granted together.
    pub(crate) fn grant_due(&mut self) {
        while let Some(key) = self.due.pop() {
            let Some(producer) = self.producers.get_mut(key) else { continue };
            producer.due = false;
            if producer.is_due() && !self.stopping {
                let credit = producer.owed();
                producer.credit += credit;
                self.effects.push_back(Effect::Grant { producer: key, credit });
            }
        }
    }

    /// Bytes of a message that the producer's address takes; 0 means no limit, as for an anonymous
    /// producer, whose messages each have an address of their own.
    pub fn max_message_bytes(&self, producer: ProducerKey) -> u64 {
        let address = match self.producers.get(producer).map(|producer| &producer.target) {
            Some(Target::Address(key)) => self.addresses.get(*key),
            _ => None,
        };
        address.and_then(|address| address.settings.message_limit(&self.limits)).unwrap_or(0)
    }

    /// What a producer is doing.
    pub fn producer(&self, producer: ProducerKey) -> Option<ProducerStatistics> {
        let producer = self.producers.get(producer)?;
        Some(ProducerStatistics {
            credit: producer.credit,
            unsettled: u64::from(producer.in_flight),
            deliveries: producer.deliveries,
        })
    }
}
