//! Time to live: a message that waits beyond its deadline is not delivered.
//!
//! Deadlines are looked at when a message is about to be handed over, and by a timer while it
//! waits. A message that has been started to a consumer has been delivered as far as its time to
//! live goes.

use std::time::Instant;

use crate::core::Core;
use crate::delivery::{ByDelivery, Stage};
use crate::key::{DeliveryKey, LegKey};
use crate::list::List;
use crate::outcome::Outcome;

impl Core {
    /// When `handle_timeout` is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.timers.first().map(|(deadline, _)| *deadline);
        let introductions = self.introductions.poll_timeout();
        [waiting, self.poll_stored_timeout(), introductions].into_iter().flatten().min()
    }

    /// Ends the messages whose time has run out.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(first) = self.timers.first().copied()
            && first.0 <= now
        {
            self.timers.remove(&first);
            self.expire(first.1);
        }
        self.handle_stored_timeout(now);
        self.introduce_some(now);
    }

    /// Ends a message where it waits; unsettled, it is released. Whoever has been started with it
    /// keeps it.
    pub(crate) fn expire(&mut self, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        let address = delivery.address;
        let mut waited = delivery.stage == Stage::Queued;
        if waited {
            self.dequeue(key);
            if let Some(delivery) = self.deliveries.get_mut(key) {
                delivery.outcome = Some(Outcome::Released);
            }
            self.conclude_if_done(key);
        } else {
            let mut next = delivery.legs.first();
            while let Some(leg_key) = next {
                next = List::<LegKey, ByDelivery>::after(&self.legs, leg_key);
                if self.legs.get(leg_key).is_some_and(|leg| !leg.started) {
                    waited = true;
                    self.end_leg(leg_key, Outcome::Released);
                }
            }
        }
        if waited {
            self.counters.expired += 1;
            if let Some(address) = address.and_then(|key| self.addresses.get_mut(key)) {
                address.counters.expired += 1;
            }
        }
    }

    /// A message waits no more.
    pub(crate) fn cancel_timer(&mut self, key: DeliveryKey) {
        if let Some(deadline) = self.deliveries.get(key).and_then(|delivery| delivery.deadline) {
            self.timers.remove(&(deadline, key));
        }
    }
}
