//! Messages between shards about stored addresses: to whom each goes.

use std::sync::Arc;
use std::time::Instant;

use super::protocol::{Destination, Publication, ReceiverOptions, Wire};
use super::transaction::PartKey;
use crate::core::Core;
use crate::effect::{CloseReason, Effect};
use crate::key::{ConsumerKey, HomeKey, ProducerKey, ReceiverKey, SenderKey};
use crate::outcome::Outcome;
use crate::peer::PeerMessage;
use crate::settings::ShardId;

impl Core {
    pub(crate) fn send_wire(&mut self, to: ShardId, wire: Wire) {
        self.effects.push_back(Effect::Peer { to, message: PeerMessage::stored(wire) });
    }

    /// Takes what another shard says about stored addresses.
    pub(crate) fn handle_wire(&mut self, now: Instant, from: ShardId, wire: Wire) {
        self.broker.now = Some(now);
        if let Some(topic) = self.arriving_for(&wire) {
            return self.keep_for_arriving(topic, from, wire);
        }
        match wire {
            Wire::AddSender { producer, address } => self.handle_add_sender(from, producer, &address),
            Wire::RemoveSender { sender } => {
                if self.is_sender_of(sender, from) {
                    self.remove_sender(sender);
                }
            }
            Wire::Publish { to, publication } => self.handle_publish(now, from, to, *publication),
            Wire::AddReceiver { consumer, address, options } => {
                self.handle_add_receiver(now, from, consumer, &address, *options);
            }
            Wire::RemoveReceiver { receiver } if self.is_receiver_of(receiver, from) => {
                self.remove_receiver(now, receiver);
            }
            Wire::Unsubscribe { receiver } if self.is_receiver_of(receiver, from) => {
                self.unsubscribe_receiver(now, receiver);
            }
            Wire::SetFilters { receiver, filters } if self.is_receiver_of(receiver, from) => {
                self.refilter_soon(receiver, filters);
            }
            Wire::EndDurable { topic, name, claim, number } => {
                self.end_durable_soon(now, &topic, name, claim);
                if number > 0 {
                    self.send_wire(from, Wire::Ended { number });
                }
            }
            Wire::Ended { number } => self.durable_ended(from, number),
            Wire::FencesLost { home } => self.handle_fences_lost(now, home),
            Wire::Unask { number } => self.handle_unask(from, number),
            Wire::Credit { receiver, limit, drain, number } if self.is_receiver_of(receiver, from) => {
                self.set_receiver_limit(now, receiver, limit, drain, number);
            }
            Wire::Park { receiver, got, number } if self.is_receiver_of(receiver, from) => {
                self.park_receiver(now, receiver, got, number);
            }
            Wire::Window { receiver, bytes } if self.is_receiver_of(receiver, from) => {
                self.widen_window(now, receiver, bytes);
            }
            Wire::Settle { receiver, entry, outcome } if self.is_receiver_of(receiver, from) => {
                self.settle_at_home(now, receiver, entry, outcome);
            }
            Wire::Return { receiver, entry, bytes } if self.is_receiver_of(receiver, from) => {
                self.take_back(now, receiver, entry, bytes);
            }
            // The receiver has been removed here already.
            Wire::RemoveReceiver { .. }
            | Wire::Unsubscribe { .. }
            | Wire::SetFilters { .. }
            | Wire::Credit { .. }
            | Wire::Park { .. }
            | Wire::Window { .. }
            | Wire::Settle { .. }
            | Wire::Return { .. } => {}
            Wire::ForwardAnswer { forward, outcome } => self.forward_answered(forward, outcome),
            // The store tells parts apart by the name that the declarer's node gave: only those of one node.
            Wire::Prepare { .. } if !from.is_here() => {}
            Wire::Retire { transaction, receiver, entry, outcome } => {
                self.retire(now, from, transaction, receiver, entry, outcome);
            }
            Wire::Prepare { transaction, across, posts } => {
                self.prepare(now, PartKey { declarer: from, id: transaction }, across, posts);
            }
            Wire::Conclude { transaction, commit } => {
                self.conclude_part(now, from, transaction, commit);
                self.send_wire(from, Wire::Concluded { transaction });
            }
            Wire::Left { queue, labels } => self.handle_left(from, queue, labels),
            Wire::AskLeft { queue, labels } => self.handle_ask_left(now, from, queue, labels),
            Wire::Concluded { transaction } => self.handle_concluded(from, transaction),
            Wire::Prepared { transaction, failed, logged } => {
                self.handle_prepared(now, from, transaction, failed, logged);
            }
            Wire::Opened { producer, sender, active } => self.handle_opened(from, producer, sender, active),
            Wire::Flow { producer, active } => self.handle_flow(from, producer, active),
            Wire::Attached { consumer, receiver } => self.receiver_attached(now, from, consumer, receiver),
            Wire::AskPassed { address, number } => self.handle_ask_passed(now, from, &address, number),
            Wire::Passed { number } => self.handle_passed(now, from, number),
            Wire::AskRetained { number, topic, question, fences } => {
                self.handle_ask_retained(now, from, number, topic, *question, fences);
            }
            Wire::Fence { home, number } => self.handle_fence(from, home, number),
            Wire::Fenced { asker, number } => self.handle_fenced(now, asker, number),
            Wire::RetainedPage { number, page } => self.handle_page(number, page),
            Wire::CopyBegin { topic, round } => self.begin_arrival(now, from, topic, round),
            Wire::CopySubscription { topic, subscription } => {
                self.subscription_arrives(now, from, &topic, *subscription);
            }
            Wire::CopyVolatile { topic, subscription } => {
                self.volatile_arrives(now, from, &topic, *subscription);
            }
            Wire::CopyEnd { topic, part } => self.arrived_ends(now, from, &topic, &part),
            Wire::CopyGone { topic, numbers } => self.arrived_gone(now, from, &topic, &numbers),
            Wire::CopyHeld { topic, numbers } => self.arrived_held(from, &topic, &numbers),
            Wire::CopyBack { topic, entries } => self.arrived_back(now, from, &topic, entries),
            Wire::CopyComplete { topic, round } => self.complete_arrival(now, from, &topic, round),
            Wire::CopyReady { topic, round, is_ready } => self.copy_may_begin(now, &topic, round, is_ready),
            Wire::CopyCompleted { topic, round, is_complete } => {
                self.copy_completed(now, &topic, round, is_complete);
            }
            Wire::AskHeard { number } => self.send_wire(from, Wire::Heard { number }),
            Wire::Heard { number } => self.heard(now, from, number),
            Wire::Refiltered { consumer } => self.refiltered(consumer),
            Wire::Deliver { consumer, handout } => self.take_handout(now, from, consumer, handout),
            Wire::Drained { consumer, number } => self.receiver_drained(now, from, consumer, number),
            Wire::Waiting { consumer, number } => self.receiver_waiting(now, consumer, Some(number)),
            Wire::Answer { source, outcome } => self.answer(source, outcome),
            Wire::CloseProducer { producer, reason } => self.sender_closed(now, from, producer, reason),
            Wire::CloseConsumer { consumer, reason } => self.receiver_closed(now, from, consumer, reason),
        }
    }

    /// Another shard is gone, with its links and its homes.
    pub(crate) fn stored_peer_gone(&mut self, now: Instant, peer: ShardId) {
        self.broker.now = Some(now);
        // First, so that producers hear of their messages before their links are closed.
        self.sent_lost(peer);
        self.sources_lost(peer);
        let senders = self.broker.senders.iter().filter(|(_, sender)| sender.shard == peer);
        for sender in senders.map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove_sender(sender);
        }
        let receivers = self.broker.receivers.iter().filter(|(_, receiver)| receiver.shard == peer);
        for receiver in receivers.map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove_receiver(now, receiver);
        }
        let is_there = |home: Option<ShardId>| home == Some(peer);
        let producers = self
            .producers
            .iter()
            .filter(|(_, producer)| is_there(producer.stored.as_ref().map(|stored| stored.home)));
        for producer in producers.map(|(key, _)| key).collect::<Vec<_>>() {
            self.close_stored_producer(producer, CloseReason::HomeGone);
        }
        let consumers = self
            .consumers
            .iter()
            .filter(|(_, consumer)| is_there(consumer.stored.remote.as_ref().map(|remote| remote.home)));
        for consumer in consumers.map(|(key, _)| key).collect::<Vec<_>>() {
            self.broker.refiltering.remove(&consumer);
            self.close_consumer(now, consumer, CloseReason::HomeGone);
        }
        self.copies_lost(now, peer);
        self.arrivals_lost(now, peer);
        self.followed_peer_gone(now, peer);
        self.pipes_lost(peer);
        self.forwards_lost(peer);
        self.broker.unsubscribing.retain(|_, home| *home != peer);
        self.retrieval_peer_gone(now, peer);
        self.owe_ends(peer);
        self.end_transactions_with(now, peer);
    }

    fn is_sender_of(&self, key: SenderKey, shard: ShardId) -> bool {
        self.broker.senders.get(key).is_some_and(|sender| sender.shard == shard)
    }

    fn is_receiver_of(&self, key: ReceiverKey, shard: ShardId) -> bool {
        self.broker.receivers.get(key).is_some_and(|receiver| receiver.shard == shard)
    }

    fn home_of_address(&self, address: &str) -> Result<HomeKey, CloseReason> {
        self.home_named(address).map_err(|_| match self.known_address(address) {
            // The link's shard has heard of its home earlier, or later.
            Ok(_) => CloseReason::HomeGone,
            Err(_) => CloseReason::NotFound,
        })
    }

    fn handle_add_sender(&mut self, from: ShardId, producer: ProducerKey, address: &Arc<str>) {
        let added = self.home_of_address(address).and_then(|home| self.add_sender(home, from, producer));
        let wire = match added {
            Ok((sender, active)) => Wire::Opened { producer, sender, active },
            Err(reason) => Wire::CloseProducer { producer, reason },
        };
        self.send_wire(from, wire);
    }

    fn handle_publish(&mut self, now: Instant, from: ShardId, to: Destination, mut publication: Publication) {
        let home = match &to {
            Destination::Sender(sender) => self.broker.senders.get(*sender).map(|sender| sender.home),
            Destination::Address(name) => {
                let home = self.home_named(name).ok().or_else(|| self.topic_named(name));
                if home.is_none()
                    && let Some(key) = self.names.get(name).copied()
                    && self.addresses.get(key).is_some_and(|address| address.has_left)
                {
                    return self.publish_elsewhere(now, key, publication);
                }
                home
            }
            Destination::Copy { topic, part, number } => {
                return self.take_copy(now, from, topic, part, *number, publication);
            }
        };
        if let Destination::Address(address) = &to
            && home.is_some_and(|home| self.takes_over(home, &publication))
            && let Some(handover) = publication.handover.take()
        {
            return self.take_passed_on(now, from, address, *handover, publication);
        }
        match home {
            Some(home) => self.publish_at_home(now, home, publication),
            None => self.answer(publication.source, Outcome::Released),
        }
    }

    fn handle_add_receiver(
        &mut self,
        now: Instant,
        from: ShardId,
        consumer: ConsumerKey,
        address: &Arc<str>,
        options: ReceiverOptions,
    ) {
        let readable = if options.unreadable { Err(CloseReason::UnreadableFilter) } else { Ok(()) };
        let added = readable
            .and_then(|()| self.home_of_address(address))
            // The link's shard says itself when a delivery is accepted by being handed on.
            .and_then(|home| self.add_receiver(now, home, from, consumer, false, options));
        let wire = match added {
            Ok(receiver) => Wire::Attached { consumer, receiver },
            Err(reason) => Wire::CloseConsumer { consumer, reason },
        };
        self.send_wire(from, wire);
    }
}
