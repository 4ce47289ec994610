//! Addresses across shards: what the cores of a node tell each other.
//!
//! Messages between two shards arrive in order and without loss. For an address, each shard tells
//! every other one how many consumers it has and how many deliveries it will take; deliveries then
//! go from the shard of the producer to that of the consumer, never further.
//!
//! | message | from, to | says |
//! |---|---|---|
//! | `Presence` | consumers' shard, all others | consumers, producers, and the `limit`: deliveries it will have taken from that shard in all |
//! | `Want` | producers' shard, consumers' | so many messages wait here, and the limit is used up |
//! | `Deliver`, `Append`, `Abort` | producers' shard, consumers' | a message and its chunks |
//! | `Consumed` | back | the next chunk has been handed over |
//! | `Settle` | back | the outcome; settled, it ends the token |
//! | `Return` | back | nobody is left to take it; ends the token |
//! | `Update` | producers' shard, consumers' | the producer's state of the delivery |
//!
//! A *token* is the sender's leg. A delivery has one unless it is settled, whole and small: then the
//! sender forgets it at once. Every token ends exactly once: with a settled `Settle`, with `Return`,
//! or, by the sender, with `Abort`. A message about a token that has ended is ignored.
//!
//! An *epoch* of an address at a shard lasts while it has consumers. `sent` and `limit` count from
//! the start of an epoch; a `Deliver` names the epoch it counts in.
//!
//! The limit follows the credit of the consumers (anycast), or is a window (temporary and multicast
//! addresses). It is raised at once when it was used up and otherwise when it has fallen to half of
//! what it could be. It is taken back when there is no credit left, because messages should wait
//! where they can still go elsewhere; what was sent before that waits in order with what waits
//! already. A shard whose own producers use all the credit lets the others have a share: it raises
//! the limit of those that want by what it has handed over itself since.
//!
//! Memory is bounded: small whole messages by the limit times [`PEER_FREE_BYTES`]; all others count
//! against the session of their producer until `Consumed` comes back.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::address::Standing;
use crate::broker::Wire;
use crate::core::Core;
use crate::delivery::{Arrival, ByLink, Origin, Stage, To, is_free};
use crate::effect::Effect;
use crate::key::{AddressKey, DeliveryKey, LegKey};
use crate::list::List;
use crate::live::LiveWire;
use crate::outcome::Outcome;
use crate::settings::{AddressKind, ShardId};

/// A whole message of at most so many bytes counts as consumed when it is sent to another shard:
/// the number of such messages is bounded by the limit that the other shard has given.
pub const PEER_FREE_BYTES: usize = 2048;

/// The most that a shard without credit to spare lets another one have at once.
const SHARE: u32 = 16;

/// A message between the cores of two shards; opaque to everyone else.
#[derive(Debug)]
pub struct PeerMessage(pub(crate) Message);

#[derive(Debug)]
pub(crate) enum Message {
    Presence {
        name: Arc<str>,
        /// The address at the sender, to be named in `Want` and `Deliver`.
        address: AddressKey,
        epoch: u32,
        kind: AddressKind,
        temporary: bool,
        consumers: u32,
        producers: u32,
        limit: u64,
    },
    Want {
        address: AddressKey,
        waiting: u32,
    },
    Deliver {
        address: AddressKey,
        epoch: u32,
        token: Option<LegKey>,
        arrival: Arrival,
    },
    Append {
        token: LegKey,
        chunk: Bytes,
        more: bool,
    },
    Abort {
        token: LegKey,
    },
    Update {
        token: LegKey,
        outcome: Option<Outcome>,
        settled: bool,
    },
    Settle {
        token: LegKey,
        outcome: Option<Outcome>,
        settled: bool,
    },
    /// With the chunk when the sender has not kept it.
    Return {
        token: LegKey,
        chunk: Option<Bytes>,
    },
    Consumed {
        token: LegKey,
    },
    /// About an address that keeps messages.
    Stored(Wire),
    /// About live subscribers.
    Live(LiveWire),
}

impl PeerMessage {
    pub(crate) fn stored(wire: Wire) -> Self {
        Self(Message::Stored(wire))
    }

    pub(crate) fn live(wire: LiveWire) -> Self {
        Self(Message::Live(wire))
    }

    /// Whether every shard should have it before any client can learn of it: what a home says to all may
    /// come to a client's shard, and from there to the client, together with the answer to that shard.
    pub fn is_for_all(&self) -> bool {
        matches!(&self.0, Message::Live(LiveWire::Stored { .. } | LiveWire::StoredEnd { .. }))
    }

    pub(crate) fn append(token: LegKey, chunk: Bytes, more: bool) -> Self {
        Self(Message::Append { token, chunk, more })
    }

    pub(crate) fn abort(token: LegKey) -> Self {
        Self(Message::Abort { token })
    }

    pub(crate) fn update(token: LegKey, outcome: Option<Outcome>, settled: bool) -> Self {
        Self(Message::Update { token, outcome, settled })
    }

    pub(crate) fn settle(token: LegKey, outcome: Option<Outcome>, settled: bool) -> Self {
        Self(Message::Settle { token, outcome, settled })
    }

    pub(crate) fn consumed(token: LegKey) -> Self {
        Self(Message::Consumed { token })
    }
}

/// What this shard and another one know of each other, for one address.
#[derive(Debug, Default)]
pub(crate) struct Peering {
    /// The address there; `None` while it has not spoken, or has no link left.
    remote: Option<AddressKey>,
    remote_epoch: u32,
    pub(crate) consumers: u32,
    pub(crate) producers: u32,
    /// Deliveries that may be sent there in this epoch, in all.
    limit: u64,
    /// Deliveries sent there in this epoch.
    sent: u64,
    /// Unsettled deliveries there.
    pub(crate) outstanding: u32,
    /// The legs of the deliveries there.
    legs: List<LegKey, ByLink>,
    /// What the last `Want` to it said.
    told_want: u32,
    /// It has spoken since the last `Want`.
    want_due: bool,

    /// What the last `Presence` to it said.
    told_consumers: u32,
    told_producers: u32,
    told_limit: u64,
    /// Deliveries received from it in this epoch of ours.
    received: u64,
    /// What its last `Want` said.
    wanting: u32,
    /// It was given a share since its last `Want`.
    answered: bool,
}

/// A shard that could take the next anycast message.
pub(crate) struct PeerLoad {
    pub(crate) shard: ShardId,
    pub(crate) consumers: u32,
    pub(crate) outstanding: u32,
}

impl Peering {
    /// Whether the other shard has links or consumers of the address.
    pub(crate) fn is_known(&self) -> bool {
        self.remote.is_some()
    }

    /// What may still be sent there.
    pub(crate) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.sent)
    }

    /// Whether it has consumers and may be sent nothing more.
    pub(crate) fn is_full(&self) -> bool {
        self.consumers > 0 && self.remaining() == 0
    }

    /// What it may still send, as far as it was told.
    pub(crate) fn told_remaining(&self) -> u64 {
        self.told_limit.saturating_sub(self.received)
    }
}

impl crate::address::Address {
    pub(crate) fn peers_with_consumers(&self) -> usize {
        self.peers.values().filter(|peer| peer.consumers > 0).count()
    }

    pub(crate) fn peer_has_consumers(&self, shard: ShardId) -> bool {
        self.peers.get(shard).is_some_and(|peer| peer.consumers > 0)
    }

    /// Whether another shard has messages for consumers here and no limit left.
    pub(crate) fn is_wanted_by_peer(&self) -> bool {
        self.peers.values().any(|peer| peer.wanting > 0)
    }

    /// The limit that a shard should have now, if it should have another one than it was told.
    fn new_limit(&self, peer: &Peering, window: u32) -> Option<u64> {
        if self.members.is_empty() {
            return None;
        }
        let remaining = peer.told_remaining();
        let waiting = u64::from(self.queue.len());
        let windowed = self.standing == Standing::Temporary || self.settings.kind == AddressKind::Multicast;
        let available = if windowed {
            let is_blocked = self.overloaded > 0 && self.settings.overload == crate::Overload::Block;
            let window = match self.settings.kind {
                AddressKind::Multicast => window.max(self.settings.max_undelivered),
                _ => window,
            };
            if is_blocked { 0 } else { u64::from(window).saturating_sub(waiting) }
        } else {
            self.credit.saturating_sub(waiting)
        };
        if available > 0 && (remaining == 0 || remaining < available / 2) {
            return Some(peer.received + available);
        }
        if available > 0 || windowed {
            return None;
        }
        let share = peer.wanting.min(SHARE).min(self.handed_over);
        if share > 0 && !peer.answered && remaining == 0 {
            return Some(peer.received + u64::from(share));
        }
        // What a share has allowed is not taken back.
        (remaining > 0 && !peer.answered).then_some(peer.received)
    }
}

impl Core {
    fn peering(&mut self, key: AddressKey, shard: ShardId) -> Option<&mut Peering> {
        if !self.peers.contains(shard) {
            return None;
        }
        self.addresses.get_mut(key).map(|address| address.peers.row(shard))
    }

    /// Remembers that the other shards may have to be told something about an address.
    pub(crate) fn mark_dirty(&mut self, key: AddressKey) {
        if !self.peers.is_empty()
            && let Some(address) = self.addresses.get_mut(key)
            && !address.settings.kind.is_stored()
            && !address.dirty
        {
            address.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Tells the other shards what they have to know. Called when all other effects are out, so that
    /// a turn with a thousand deliveries tells them once.
    pub(crate) fn tell_peers(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(address) = self.addresses.get_mut(key) else { continue };
            address.dirty = false;
            let mut place = 0;
            while let Some(shard) = self.peers.shard_at(place) {
                place += 1;
                self.tell_presence(key, shard, false);
                self.tell_want(key, shard);
            }
            if let Some(address) = self.addresses.get_mut(key) {
                address.handed_over = 0;
            }
        }
    }

    /// Tells every other shard at once that there are consumers now, or none any more.
    pub(crate) fn announce(&mut self, key: AddressKey) {
        let mut place = 0;
        while let Some(shard) = self.peers.shard_at(place) {
            place += 1;
            self.tell_presence(key, shard, true);
        }
    }

    fn tell_presence(&mut self, key: AddressKey, to: ShardId, always: bool) {
        let window = self.limits.peer_window.max(1);
        if self.peering(key, to).is_none() {
            return;
        }
        let Some(address) = self.addresses.get(key) else { return };
        let Some(peer) = address.peers.get(to) else { return };
        let consumers = address.members.len() as u32;
        let producers = if address.settings.max_producers > 0 { address.producers.len() } else { 0 };
        let limit = address.new_limit(peer, window);
        let is_news = limit.is_some()
            || producers != peer.told_producers
            || (consumers == 0) != (peer.told_consumers == 0)
            || u64::from(consumers.abs_diff(peer.told_consumers)) * 8 > u64::from(peer.told_consumers);
        if !is_news && !always {
            return;
        }
        let message = Message::Presence {
            name: address.name.clone(),
            address: key,
            epoch: address.epoch,
            kind: address.settings.kind,
            temporary: address.standing == Standing::Temporary,
            consumers,
            producers,
            limit: limit.unwrap_or(peer.told_limit),
        };
        if let Some(peer) = self.peering(key, to) {
            if let Some(limit) = limit {
                peer.answered = peer.wanting > 0 && limit > peer.told_limit;
                peer.told_limit = limit;
            }
            peer.told_consumers = consumers;
            peer.told_producers = producers;
        }
        self.effects.push_back(Effect::Peer { to, message: PeerMessage(message) });
    }

    fn tell_want(&mut self, key: AddressKey, to: ShardId) {
        let Some(waiting) = self.addresses.get(key).map(|address| address.queue.own.len()) else { return };
        let Some(peer) = self.peering(key, to) else { return };
        let Some(address) = peer.remote.filter(|_| peer.consumers > 0) else { return };
        let want = if peer.remaining() == 0 { waiting } else { 0 };
        let is_news = (want > 0) != (peer.told_want > 0) || (peer.want_due && peer.told_want > 0);
        peer.want_due = false;
        if is_news {
            peer.told_want = want;
            let message = PeerMessage(Message::Want { address, waiting: want });
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    /// The last consumer has left: what other shards sent and nobody got goes back, and counting
    /// starts anew.
    pub(crate) fn end_epoch(&mut self, now: Instant, key: AddressKey) {
        self.return_foreign(now, key);
        let Some(address) = self.addresses.get_mut(key) else { return };
        address.epoch = address.epoch.wrapping_add(1);
        for peer in address.peers.values_mut() {
            peer.told_limit = 0;
            peer.received = 0;
            peer.wanting = 0;
            peer.answered = false;
        }
    }

    /// Gives waiting messages back to the shards that sent them, the last first: each then finds its
    /// old place at the front of the queue there.
    fn return_foreign(&mut self, now: Instant, key: AddressKey) {
        while let Some(last) = self.addresses.get(key).and_then(|address| address.queue.foreign.last()) {
            self.dequeue(last);
            let Some(delivery) = self.deliveries.get_mut(last) else { continue };
            let Origin::Peer { shard, token } = delivery.origin else { continue };
            let Some(token) = token else {
                // The other shard has forgotten it. It is ours, and may go anywhere.
                delivery.origin = Origin::Nobody;
                self.enqueue(key, last);
                continue;
            };
            let chunk =
                delivery.chunks.front().filter(|chunk| !chunk.charged).map(|chunk| chunk.bytes.clone());
            self.tokens.remove(&(shard, token));
            self.discard_delivery(last);
            let message = PeerMessage(Message::Return { token, chunk });
            self.effects.push_back(Effect::Peer { to: shard, message });
        }
        self.dispatch(now, key);
    }

    /// The shard with the fewest outstanding deliveries for each consumer, of those within their
    /// limit.
    pub(crate) fn least_busy_peer(&self, key: AddressKey) -> Option<PeerLoad> {
        let address = self.addresses.get(key)?;
        let mut best: Option<PeerLoad> = None;
        for (shard, peer) in address.peers.iter() {
            if peer.consumers == 0 || peer.remaining() == 0 || peer.remote.is_none() {
                continue;
            }
            let load = |outstanding: u32, consumers: u32| u64::from(outstanding) * u64::from(consumers);
            let is_better = best.as_ref().is_none_or(|best| {
                load(peer.outstanding, best.consumers) < load(best.outstanding, peer.consumers)
            });
            if is_better {
                let (consumers, outstanding) = (peer.consumers, peer.outstanding);
                best = Some(PeerLoad { shard, consumers, outstanding });
            }
        }
        best
    }

    /// Counts a delivery to another shard and makes its message; `None` when that shard has no
    /// address to send to.
    pub(crate) fn peer_deliver(
        &mut self,
        key: AddressKey,
        to: ShardId,
        arrival: Arrival,
        token: Option<LegKey>,
    ) -> Option<PeerMessage> {
        let address = self.addresses.get_mut(key)?;
        let peer = address.peers.get_mut(to)?;
        let remote = peer.remote?;
        peer.sent += 1;
        if let Some(token) = token {
            peer.legs.push_back(&mut self.legs, token);
            if !arrival.settled {
                peer.outstanding += 1;
            }
        }
        Some(PeerMessage(Message::Deliver { address: remote, epoch: peer.remote_epoch, token, arrival }))
    }

    /// Takes a leg out of its shard's list.
    pub(crate) fn leave_peer(&mut self, peer: ShardId, leg: LegKey) {
        let Some(value) = self.legs.get(leg) else { return };
        let settled = value.settled;
        let Some(key) = self.deliveries.get(value.delivery).and_then(|delivery| delivery.address) else {
            return;
        };
        let Some(address) = self.addresses.get_mut(key) else { return };
        let Some(peer) = address.peers.get_mut(peer) else { return };
        peer.legs.remove(&mut self.legs, leg);
        if !settled {
            peer.outstanding = peer.outstanding.saturating_sub(1);
        }
    }

    /// The producer has settled a delivery that another shard has.
    pub(crate) fn peer_settled(&mut self, peer: ShardId, leg: LegKey) {
        let Some(delivery) = self.legs.get(leg).map(|leg| leg.delivery) else { return };
        let Some(key) = self.deliveries.get(delivery).and_then(|delivery| delivery.address) else { return };
        if let Some(peer) = self.addresses.get_mut(key).and_then(|address| address.peers.get_mut(peer)) {
            peer.outstanding = peer.outstanding.saturating_sub(1);
        }
    }

    /// Takes a message that the core of another shard had for this one.
    pub fn handle_peer(&mut self, now: Instant, from: ShardId, message: PeerMessage) {
        if !self.peers.contains(from) {
            return;
        }
        match message.0 {
            Message::Stored(wire) => self.handle_wire(now, from, wire),
            Message::Live(wire) => self.handle_live(from, wire),
            message @ Message::Presence { .. } => self.handle_presence(now, from, message),
            Message::Want { address, waiting } => self.handle_want(from, address, waiting),
            Message::Deliver { address, epoch, token, mut arrival } => {
                arrival.origin = Origin::Peer { shard: from, token };
                self.handle_deliver(now, from, address, epoch, arrival);
            }
            Message::Append { token, chunk, more } => {
                if let Some(key) = self.tokens.get(&(from, token)).copied()
                    && self.continue_delivery(now, key, chunk, more)
                {
                    let message = PeerMessage::consumed(token);
                    self.effects.push_back(Effect::Peer { to: from, message });
                }
            }
            Message::Abort { token } => {
                if let Some(key) = self.tokens.get(&(from, token)).copied() {
                    self.abort(now, key);
                }
            }
            Message::Update { token, outcome, settled } => {
                if let Some(key) = self.tokens.get(&(from, token)).copied() {
                    self.settle_by_producer(now, key, outcome, settled);
                }
            }
            Message::Settle { token, outcome, settled } => {
                if self.is_leg_to(token, from) {
                    self.settle_leg(token, outcome, settled);
                }
            }
            Message::Return { token, chunk } => {
                if self.is_leg_to(token, from) {
                    self.handle_return(now, token, chunk);
                }
            }
            Message::Consumed { token } => {
                if self.is_leg_to(token, from)
                    && let Some(leg) = self.legs.get_mut(token)
                {
                    let (delivery, number) = (leg.delivery, leg.next_chunk);
                    leg.next_chunk += 1;
                    self.take_chunks(delivery, number, number + 1);
                }
            }
        }
    }

    fn is_leg_to(&self, token: LegKey, shard: ShardId) -> bool {
        self.legs.get(token).is_some_and(|leg| leg.to == To::Peer(shard))
    }

    fn handle_presence(&mut self, now: Instant, from: ShardId, message: Message) {
        let Message::Presence { name, address: remote, epoch, kind, temporary, consumers, producers, limit } =
            message
        else {
            return;
        };
        let known = self.names.get(&name).copied();
        let is_gone = consumers == 0 && producers == 0;
        let key = match known {
            Some(key) => key,
            None if is_gone => return,
            None => {
                let mut settings = self.temporary_settings();
                settings.kind = kind;
                let standing = if temporary { Standing::Visiting } else { Standing::Rumoured };
                self.insert_address(name.clone(), settings, standing)
            }
        };
        let Some(peer) = self.peering(key, from) else { return };
        if is_gone && peer.remote != Some(remote) {
            // About an address that has been replaced there since; its successor has spoken already.
            if peer.remote.is_some() {
                return;
            }
        }
        if peer.remote != Some(remote) || peer.remote_epoch != epoch {
            peer.sent = 0;
            peer.told_want = 0;
        }
        peer.remote = (!is_gone).then_some(remote);
        peer.remote_epoch = epoch;
        peer.consumers = consumers;
        peer.producers = producers;
        peer.limit = limit;
        peer.want_due = true;
        self.reachability_changed(key);
        let visiting = self.addresses.get(key).is_some_and(|address| address.standing == Standing::Visiting);
        if visiting && consumers == 0 {
            return self.remove_address(now, &name);
        }
        if self.is_anycast(key) {
            self.dispatch(now, key);
        }
        self.unblock(key);
        self.mark_dirty(key);
        self.forget_if_unused(key);
    }

    fn handle_want(&mut self, from: ShardId, key: AddressKey, waiting: u32) {
        if !self.addresses.contains(key) {
            return;
        }
        let Some(peer) = self.peering(key, from) else { return };
        peer.wanting = waiting;
        peer.answered = false;
        self.mark_dirty(key);
        if waiting == 0 {
            self.finish_drains(key);
        }
    }

    /// Ends the drains that only waited for other shards.
    fn finish_drains(&mut self, key: AddressKey) {
        let mut index = 0;
        while let Some(member) =
            self.addresses.get(key).and_then(|address| address.members.get(index)).copied()
        {
            self.finish_drain(member);
            index += 1;
        }
    }

    fn handle_deliver(
        &mut self,
        now: Instant,
        from: ShardId,
        key: AddressKey,
        epoch: u32,
        mut arrival: Arrival,
    ) {
        let Origin::Peer { token, .. } = arrival.origin else { return };
        let has_members = self.addresses.get(key).is_some_and(|address| !address.members.is_empty());
        if !has_members {
            return self.refuse_from_peer(now, from, key, arrival);
        }
        let current = self.addresses.get(key).is_some_and(|address| address.epoch == epoch);
        if let Some(peer) = self.peering(key, from).filter(|_| current) {
            peer.received += 1;
        }
        self.mark_dirty(key);
        let charged = token.is_some() && !is_free(arrival.chunk.len(), arrival.more);
        let (_, consumed) = if self.is_anycast(key) {
            self.arrive_anycast(now, key, &mut arrival)
        } else {
            self.arrive_multicast(now, key, &mut arrival)
        };
        if let Some(token) = token.filter(|_| charged && consumed) {
            // It may have been settled already; then the sender ignores this.
            let message = PeerMessage::consumed(token);
            self.effects.push_back(Effect::Peer { to: from, message });
        }
    }

    /// Nobody is here to take what another shard sent.
    fn refuse_from_peer(&mut self, now: Instant, to: ShardId, key: AddressKey, mut arrival: Arrival) {
        let Origin::Peer { token, .. } = arrival.origin else { return };
        let known = self.addresses.contains(key);
        let Some(token) = token else {
            // The other shard has forgotten it. It may still go to a third one.
            arrival.origin = Origin::Nobody;
            if known && self.is_anycast(key) {
                self.arrive_anycast(now, key, &mut arrival);
            } else {
                self.count_dropped(known.then_some(key), 1);
            }
            return;
        };
        let message = if known && !self.is_anycast(key) {
            if arrival.more {
                // It takes the rest and ends then, like a delivery whose consumers have left.
                self.refuse(&arrival, Some(key), Outcome::Released);
                PeerMessage::consumed(token)
            } else {
                PeerMessage::settle(token, Some(Outcome::Released), true)
            }
        } else {
            let free = is_free(arrival.chunk.len(), arrival.more);
            PeerMessage(Message::Return { token, chunk: free.then_some(arrival.chunk) })
        };
        self.effects.push_back(Effect::Peer { to, message });
    }

    /// A delivery that nobody got comes back, and waits again where it did before.
    fn handle_return(&mut self, now: Instant, token: LegKey, chunk: Option<Bytes>) {
        let Some(leg) = self.legs.get(token) else { return };
        let (key, To::Peer(from)) = (leg.delivery, leg.to) else { return };
        self.leave_peer(from, token);
        self.drop_leg(token);
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        if let Some(chunk) = chunk {
            delivery.first_chunk = delivery.first_chunk.saturating_sub(1);
            delivery.chunks.push_front(crate::delivery::Chunk { bytes: chunk, takers: 1, charged: false });
        }
        if delivery.stage == Stage::Sunk || !delivery.legs.is_empty() {
            return self.conclude_if_done(key);
        }
        let address = delivery.address.filter(|key| self.addresses.contains(*key));
        let can_wait = address.is_some_and(|address| {
            self.is_anycast(address)
                && self.addresses.get(address).is_some_and(|address| address.is_reachable())
        });
        match address.filter(|_| can_wait) {
            Some(address) => {
                self.enqueue(address, key);
                self.dispatch(now, address);
            }
            None => self.release_returned(key),
        }
    }

    fn release_returned(&mut self, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.outcome = Some(Outcome::Released);
        let (settled, address) = (delivery.settled, delivery.address);
        if settled {
            self.count_dropped(address, 1);
        }
        self.conclude_if_done(key);
    }

    /// Another shard is gone, with everything it had: deliveries that were there end as modified
    /// with `delivery_failed`, those that it has not finished sending are aborted, and its consumers
    /// are no more.
    pub fn handle_peer_gone(&mut self, now: Instant, peer: ShardId) {
        if !peer.is_here() {
            self.peers.remove(peer);
        }
        let lost: Vec<LegKey> =
            self.legs.iter().filter(|(_, leg)| leg.to == To::Peer(peer)).map(|(key, _)| key).collect();
        for leg in lost {
            self.end_leg(leg, Outcome::FAILED);
        }
        let theirs: Vec<_> = self.tokens.keys().filter(|(shard, _)| *shard == peer).copied().collect();
        for token in theirs {
            let Some(key) = self.tokens.remove(&token) else { continue };
            self.abort(now, key);
            if let Some(delivery) = self.deliveries.get_mut(key) {
                // What waits still reaches its consumer; nobody hears of it.
                delivery.settled = true;
                self.disown(key);
            }
        }
        self.stored_peer_gone(now, peer);
        self.live_peer_gone(peer);
        let keys: Vec<AddressKey> = self.addresses.iter().map(|(key, _)| key).collect();
        for key in keys {
            let Some(address) = self.addresses.get_mut(key) else { continue };
            if address.peers.remove(peer).is_none() {
                continue;
            }
            let is_over = address.standing == Standing::Visiting && address.peers_with_consumers() == 0;
            let name = address.name.clone();
            self.reachability_changed(key);
            self.finish_drains(key);
            if is_over {
                self.remove_address(now, &name);
            }
            self.unblock(key);
            self.forget_if_unused(key);
        }
    }

    /// Makes a delivery of another shard this shard's own.
    fn disown(&mut self, key: DeliveryKey) {
        let Some(delivery) = self.deliveries.get(key) else { return };
        let (stage, address) = (delivery.stage, delivery.address);
        self.dequeue(key);
        if let Some(delivery) = self.deliveries.get_mut(key) {
            delivery.origin = Origin::Nobody;
        }
        if stage == Stage::Queued
            && let Some(address) = address
        {
            self.enqueue(address, key);
        }
    }
}
