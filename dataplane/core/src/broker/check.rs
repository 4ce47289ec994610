//! What must hold for stored addresses between any two calls.

use std::collections::BTreeMap;

use crate::broker::home::What;
use crate::core::Core;
use crate::settings::ShardId;
use crate::stock::Owner;

/// With more messages than this it is not looked whose each of them is, or tests with many take too long.
const FEW_MESSAGES: u64 = 2_000;

impl Core {
    /// Users that are remembered.
    pub(crate) fn owners_known(&self) -> usize {
        self.broker.owners.known()
    }

    /// Checks that each user has what is here of what he has sent.
    fn check_owners(&self) {
        let mut found: BTreeMap<Owner, [u64; 3]> = BTreeMap::new();
        let queues = || self.broker.homes.iter().filter_map(|(_, home)| home.queue());
        if self.broker.stocks.is_none()
            || queues().map(|home| home.queue.messages()).sum::<u64>() > FEW_MESSAGES
        {
            return;
        }
        for (_, entry) in queues().flat_map(|home| home.queue.entries(None)) {
            if let Some(owner) = entry.owner() {
                let [messages, bytes, _] = found.entry(owner).or_default();
                *messages += 1;
                *bytes += u64::from(entry.size());
            }
        }
        for (key, _) in self.broker.homes.iter() {
            let slots = self.retained(key).into_iter().flat_map(|retained| retained.names.values());
            for owner in slots.filter_map(|slot| slot.owner()) {
                found.entry(owner).or_default()[2] += 1;
            }
        }
        self.broker.owners.check(self.shard.shard(), &found);
    }

    pub(crate) fn check_stored(&self) {
        self.check_owners();
        let broker = &self.broker;
        let (mut memory, mut retained_memory, mut retained_names) = (0, 0, 0);
        for (key, home) in broker.homes.iter() {
            for sender in &home.senders {
                assert!(broker.senders.get(*sender).is_some_and(|sender| sender.home == key));
            }
            match &home.what {
                What::Queue(queue) => {
                    memory += queue.memory;
                    assert_eq!(queue.memory, queue.queue.bytes_in_memory(), "memory of {}", home.name);
                    for receiver in &queue.receivers {
                        assert!(broker.receivers.get(*receiver).is_some_and(|receiver| receiver.home == key));
                    }
                    let is_armed = queue.armed.is_none_or(|at| broker.timers.contains(&(at, key)));
                    assert!(is_armed, "the timer of {}", home.name);
                }
                What::Topic(topic) => {
                    for one in &topic.subscriptions {
                        let queue = broker.homes.get(*one).and_then(|home| home.queue());
                        let topic = queue.and_then(|queue| queue.subscription.as_ref()).map(|one| one.topic);
                        assert_eq!(topic, Some(key));
                    }
                    if let Some(retained) = &topic.retained {
                        memory += retained.memory;
                        retained_memory += retained.memory;
                        retained_names += retained.names.len();
                        retained.check();
                        let is_armed = retained.armed.is_none_or(|at| broker.timers.contains(&(at, key)));
                        assert!(is_armed, "the timer of {}", home.name);
                    }
                    let blocked = topic.subscriptions.iter().filter_map(|one| broker.homes.get(*one));
                    assert_eq!(blocked.filter(|home| home.blocked).count(), topic.blocked as usize);
                }
            }
        }
        assert_eq!(memory, broker.memory);
        assert_eq!(retained_memory, broker.retained_memory);
        assert_eq!(retained_names, broker.retained_names as usize);
        let assembling: u64 = broker.inbound.iter().map(|(_, inbound)| inbound.assembling()).sum();
        assert_eq!(assembling + broker.transactions.posted(), broker.assembling);
        let gates = self.addresses.iter().filter_map(|(_, address)| address.gate.as_ref());
        assert_eq!(gates.map(|gate| gate.bytes).sum::<u64>(), broker.gated);
        let gates = self.addresses.iter().filter(|(_, address)| address.gate.is_some());
        assert_eq!(gates.count(), broker.gates.len());
    }

    /// Whether something waits for what was sent before it to a home of before.
    pub(crate) fn has_gates(&self) -> bool {
        !self.broker.gates.is_empty()
    }

    pub(crate) fn check_stored_empty(&self) {
        let broker = &self.broker;
        assert_eq!(broker.senders.len(), 0, "{:?}", broker.senders);
        assert_eq!(broker.receivers.len(), 0, "{:?}", broker.receivers);
        assert_eq!(broker.grips.len(), 0);
        assert_eq!(broker.inbound.len(), 0, "{:?}", broker.inbound);
        assert_eq!(broker.sent.len(), 0, "{:?}", broker.sent);
        assert!(broker.unsubscribing.is_empty() && broker.refiltering.is_empty());
        assert!(broker.gates.is_empty(), "{:?}", broker.gates);
    }

    /// Checks that nothing is left of a shard that is gone.
    pub(crate) fn check_stored_forgotten(&self, gone: ShardId) {
        let broker = &self.broker;
        assert!(broker.senders.iter().all(|(_, sender)| sender.shard != gone));
        assert!(broker.receivers.iter().all(|(_, receiver)| receiver.shard != gone));
        assert!(broker.sent.iter().all(|(_, sent)| sent.home != gone));
        for (_, producer) in self.producers.iter() {
            assert!(producer.stored.as_ref().is_none_or(|stored| stored.home != gone));
        }
        for (_, consumer) in self.consumers.iter() {
            assert!(consumer.stored.remote.as_ref().is_none_or(|remote| remote.home != gone));
            assert!(!consumer.stored.following.as_ref().is_some_and(|following| following.knows(gone)));
        }
        broker.retrieval.check_forgotten(gone);
        self.check_no_transactions_with(gone);
    }

    /// Checks that no request is unanswered and no message on its way.
    pub(crate) fn check_stored_idle(&self) {
        assert_eq!(self.broker.pending.len(), 0, "{:?}", self.broker.pending);
        self.check_no_transactions();
        self.broker.retrieval.check_idle();
        assert_eq!(self.broker.forwards.len(), 0, "{:?}", self.broker.forwards);
    }
}
