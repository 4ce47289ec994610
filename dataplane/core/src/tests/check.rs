//! What must hold inside a core between any two calls.

use std::collections::BTreeMap;

use crate::consumer::Place;
use crate::core::Core;
use crate::delivery::{Delivery, Stage, To};
use crate::settings::ShardId;

impl Core {
    /// Checks the invariants that the modules state.
    pub(crate) fn check(&self) {
        assert!(self.effects.is_empty());
        self.check_consumers();
        self.check_addresses();
        self.check_stored();
        for (_, delivery) in self.deliveries.iter() {
            let is_live = !delivery.legs.is_empty() || delivery.stage != Stage::Going;
            assert!(is_live, "a delivery that goes nowhere: {delivery:?}");
            assert!(delivery.stage != Stage::Sunk || delivery.chunks.is_empty());
            assert!(delivery.chunks.front().is_none_or(|chunk| chunk.takers > 0));
        }
        let undelivered: u64 = self.addresses.iter().map(|(_, address)| address.counters.undelivered).sum();
        assert_eq!(undelivered, self.counters.undelivered);
    }

    fn check_consumers(&self) {
        let mut credit = BTreeMap::new();
        for (key, consumer) in self.consumers.iter() {
            if consumer.kind.is_stored() {
                assert_eq!(consumer.outstanding, consumer.stored.grips.len());
                continue;
            }
            *credit.entry(consumer.address).or_insert(0) += u64::from(consumer.credit);
            match consumer.place {
                Place::Ready(_) => assert!(consumer.is_free(), "a ready consumer that is not free"),
                Place::Held => assert!(self.lanes.contains(consumer.lane)),
                Place::Aside => {}
            }
            let legs = self.legs.iter().filter(|(_, leg)| leg.to == To::Consumer(key));
            let (started, waiting): (Vec<_>, Vec<_>) = legs.partition(|(_, leg)| leg.started);
            assert_eq!(started.len(), consumer.unsettled.len() as usize);
            assert_eq!(waiting.len(), consumer.backlog.len() as usize);
            let outstanding = started.iter().filter(|(_, leg)| !leg.settled).count();
            assert_eq!(outstanding, consumer.outstanding as usize);
        }
        for (key, address) in self.addresses.iter() {
            assert_eq!(address.credit, credit.get(&key).copied().unwrap_or(0));
        }
    }

    fn check_addresses(&self) {
        for (key, address) in self.addresses.iter() {
            let waiting = self
                .deliveries
                .iter()
                .filter(|(_, delivery)| delivery.address == Some(key) && delivery.stage == Stage::Queued);
            assert_eq!(waiting.count(), address.queue.len() as usize);
            let overloaded = address.members.iter().filter_map(|member| self.consumers.get(*member));
            let overloaded = overloaded.filter(|consumer| consumer.overloaded).count();
            assert_eq!(overloaded, address.overloaded as usize);
            assert!(address.withheld.is_empty() || address.is_blocked());
            assert!(address.queue.is_empty() || address.is_reachable());
        }
    }

    /// Checks that nothing is left of links that are all gone.
    pub(crate) fn check_empty(&self) {
        assert_eq!(self.producers.len(), 0);
        assert_eq!(self.consumers.len(), 0);
        assert_eq!(self.deliveries.len(), 0, "{:?}", self.deliveries);
        assert_eq!(self.legs.len(), 0);
        self.check_stored_empty();
        assert!(self.tokens.is_empty() && self.timers.is_empty());
        assert_eq!((self.counters.undelivered, self.counters.unsettled, self.orphaned), (0, 0, 0));
        for (_, address) in self.addresses.iter() {
            assert!(address.is_known(), "{} is not forgotten", address.name);
            assert!(address.members.is_empty() && address.withheld.is_empty());
            assert_eq!((address.orphaned, address.credit), (0, 0));
        }
    }

    /// Checks what this core and another one, between which no message is on its way, think of each
    /// other.
    pub(crate) fn check_peer(&self, there: ShardId, other: &Self, here: ShardId) {
        assert!(self.knows_all_of(there), "it was not told everything");
        for (key, address) in self.addresses.iter() {
            let legs = self.legs.iter().filter(|(_, leg)| {
                let of_address = |delivery: &Delivery| delivery.address == Some(key);
                leg.to == To::Peer(there)
                    && !leg.settled
                    && self.deliveries.get(leg.delivery).is_some_and(of_address)
            });
            let outstanding = address.outstanding_at(there);
            assert_eq!(legs.count(), outstanding as usize, "outstanding at a peer");
            let known = other.names.get(&address.name).and_then(|key| other.addresses.get(*key));
            address.check_knowledge(there, known, here);
        }
        for (_, address) in other.addresses.iter().filter(|(_, address)| address.told != (0, 0)) {
            assert!(self.names.contains_key(&address.name), "{} is not known", address.name);
        }
        self.check_live_knowledge(there, other);
    }

    /// Checks that nothing is left of a shard that is gone.
    pub(crate) fn check_forgotten(&self, gone: ShardId) {
        assert!(self.legs.iter().all(|(_, leg)| leg.to != To::Peer(gone)));
        assert!(!self.tokens.has_any_of(gone));
        for (_, address) in self.addresses.iter() {
            assert!(address.remotes.get(gone).is_none() && address.traffic.get(gone).is_none());
        }
        self.check_stored_forgotten(gone);
        self.check_live_forgotten(gone);
    }
}
