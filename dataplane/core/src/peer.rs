//! Addresses across shards: what the cores of a node tell each other.
//!
//! Messages between two shards arrive in order and without loss. For an address, each shard tells
//! every other one how many consumers it has; those that have something to send say so, and are told
//! how many deliveries it will take. Deliveries then go from the shard of the producer to that of the
//! consumer, never further.
//!
//! | message | from, to | says |
//! |---|---|---|
//! | `Presence` | consumers' shard, all others | consumers, producers, and how many deliveries anybody may send before it is told more |
//! | `Want` | producers' shard, consumers' | it has producers, and so many messages wait because the limit is used up; or it sends nothing any more |
//! | `Limit` | back | deliveries that will have been taken from that shard in all |
//! | `Deliver`, `Append`, `Abort` | producers' shard, consumers' | a message and its chunks |
//! | `Consumed` | back | the next chunk has been handed over |
//! | `Settle` | back | the outcome; settled, it ends the token |
//! | `SettleAll` | back | the outcome of several, which ends their tokens |
//! | `Return` | back | nobody is left to take it; ends the token |
//! | `Update` | producers' shard, consumers' | the producer's state of the delivery |
//!
//! So an address costs every shard of the fleet a few words for each shard with consumers, and a
//! message to each when the first of them comes or the last leaves. What is said more often concerns
//! those alone that send.
//!
//! A *token* is the sender's leg. A delivery has one unless it is settled, whole and small: then the
//! sender forgets it at once. Every token ends exactly once: with a settled `Settle` or `SettleAll`, with
//! `Return`, or, by the sender, with `Abort`. A message about a token that has ended is ignored.
//!
//! An *epoch* of an address at a shard lasts while it has consumers. A *round* begins when another shard
//! says within an epoch that it sends, and ends with the epoch or when that shard says that it does not.
//! `sent` and `limit` count from the start of a round; a `Limit` names its round, and what belongs to
//! an earlier one is ignored.
//!
//! The limit follows the credit of the consumers (anycast), or is a window (temporary and multicast
//! addresses), the start of which is given to all with the presence. It is raised at once when it was
//! used up and otherwise when it has fallen to half of what it could be. It is taken back when there is
//! no credit left, because messages should wait where they can still go elsewhere; what was sent before
//! that waits in order with what waits already. A shard whose own producers use all the credit lets the
//! others have a share: it raises the limit of those that want by what those have handed over since. What the
//! others use up among themselves needs none: each is given all of the credit, and who comes first gets it.
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
use crate::settings::{AddressKind, Distribution, ShardId};

/// A whole message of at most so many bytes counts as consumed when it is sent to another shard:
/// the number of such messages is bounded by the limit that the other shard has given.
pub const PEER_FREE_BYTES: usize = 2048;

/// Rounds with other shards that go on although nothing is sent.
const MAX_LINGERING: usize = 4_096;

/// Deliveries that one message settles.
pub(crate) const MAX_SETTLED: usize = 1_024;

/// Shards and outcomes for which settlements are gathered before they are told.
const MAX_OUTCOMES: usize = 16;

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
        /// Deliveries that may be sent in a round before its first `Limit`.
        initial: u32,
    },
    Want {
        address: AddressKey,
        epoch: u32,
        /// The address at the sender, to be named in `Limit`; `None` ends the round.
        sender: Option<AddressKey>,
        round: u32,
        waiting: u32,
    },
    Limit {
        address: AddressKey,
        round: u32,
        limit: u64,
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
    SettleAll {
        tokens: Vec<LegKey>,
        outcome: Option<Outcome>,
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

/// Deliveries of another shard that have ended with the same outcome, of which it has not been told yet.
#[derive(Debug)]
pub(crate) struct Settled {
    to: ShardId,
    tokens: Vec<LegKey>,
    outcome: Option<Outcome>,
}

/// What another shard has said of its links of an address.
#[derive(Debug)]
pub(crate) struct Remote {
    /// The address there.
    address: AddressKey,
    epoch: u32,
    pub(crate) consumers: u32,
    pub(crate) producers: u32,
    /// Deliveries that it takes in a round before it has said how many.
    initial: u32,
}

impl Remote {
    /// What may still be sent there.
    #[inline]
    fn remaining(&self, traffic: Option<&Traffic>) -> u64 {
        match traffic {
            Some(traffic) if traffic.round.is_some() => traffic.limit.saturating_sub(traffic.sent),
            _ => u64::from(self.initial),
        }
    }
}

/// What goes between this shard and another one, for one address. There is a row while one of the two
/// sends to the other, and a while longer.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// The round of what is sent there; `None` while it has not been told that anything is.
    round: Option<u32>,
    /// Deliveries that may be sent there in this round, in all.
    limit: u64,
    /// Deliveries sent there in this round.
    sent: u64,
    /// Unsettled deliveries there.
    pub(crate) outstanding: u32,
    /// The legs of the deliveries there.
    legs: List<LegKey, ByLink>,
    /// What the last `Want` to it said.
    told_waiting: u32,
    /// It has spoken since the last `Want`.
    want_due: bool,
    /// Stands among the rounds that may end because nothing is sent any more.
    lingering: bool,

    /// The address there, and the round, while it sends.
    sender: Option<(AddressKey, u32)>,
    /// What the last `Limit` to it said, or what it has been given with the presence.
    told_limit: u64,
    /// Deliveries received from it in this round.
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
    pub(crate) cost: u32,
}

impl PeerLoad {
    /// Whether less is outstanding there for each consumer, the cost of the path among it.
    fn is_less_than(&self, other: &Self) -> bool {
        self.load() * u128::from(other.consumers) < other.load() * u128::from(self.consumers)
    }

    /// Outstanding deliveries, and the cost for each consumer. Wide enough for whatever the other shard and
    /// the path say of themselves.
    fn load(&self) -> u128 {
        u128::from(self.outstanding) + u128::from(self.cost) * u128::from(self.consumers)
    }

    /// Whether it is nearer, or as near and earlier in turn after the shard that had the last one.
    fn is_next_before(&self, other: &Self, last: ShardId) -> bool {
        let turn = |shard: ShardId| (shard <= last, shard);
        (self.cost, turn(self.shard)) < (other.cost, turn(other.shard))
    }

    /// Whether a consumer of this shard with so many outstanding deliveries is to get the message rather.
    /// A draw stays here, where it is cheaper.
    pub(crate) fn is_worse_than_here(&self, outstanding: u32) -> bool {
        u128::from(outstanding) * u128::from(self.consumers) <= self.load()
    }
}

impl Traffic {
    /// What it may still send, as far as it was told.
    fn told_remaining(&self) -> u64 {
        self.told_limit.saturating_sub(self.received)
    }

    /// Nothing sent there counts any more: its epoch has ended.
    fn stop_sending(&mut self) {
        self.round = None;
        (self.limit, self.sent, self.told_waiting) = (0, 0, 0);
    }

    /// Nothing received from there counts any more.
    fn stop_receiving(&mut self) {
        self.sender = None;
        (self.told_limit, self.received, self.wanting, self.answered) = (0, 0, 0, false);
    }

    fn is_idle(&self) -> bool {
        self.round.is_none() && self.legs.is_empty() && self.sender.is_none()
    }
}

impl crate::address::Address {
    pub(crate) fn peers_with_consumers(&self) -> usize {
        self.remotes.values().filter(|remote| remote.consumers > 0).count()
    }

    pub(crate) fn peer_has_consumers(&self, shard: ShardId) -> bool {
        self.remotes.get(shard).is_some_and(|remote| remote.consumers > 0)
    }

    /// Whether another shard has messages for consumers here and no limit left.
    pub(crate) fn is_wanted_by_peer(&self) -> bool {
        self.traffic.values().any(|traffic| traffic.wanting > 0)
    }

    /// What may still be sent to another shard.
    fn remaining(&self, shard: ShardId, remote: &Remote) -> u64 {
        remote.remaining(self.traffic.get(shard))
    }

    /// Whether some other shard has consumers and may be sent nothing more.
    pub(crate) fn has_full_peer(&self) -> bool {
        self.remotes.iter().any(|(shard, remote)| remote.consumers > 0 && self.remaining(shard, remote) == 0)
    }

    /// Whether this shard has anything to send to others.
    fn sends(&self) -> bool {
        !self.producers.is_empty() || self.queue.own.len() > 0
    }

    /// Whether the limit is a window, whatever the credit of the consumers.
    fn is_windowed(&self) -> bool {
        self.standing == Standing::Temporary || self.settings.kind == AddressKind::Multicast
    }

    /// Deliveries that any other shard may send before it is told more.
    fn initial(&self, window: u32) -> u32 {
        if self.is_windowed() && !self.members.is_empty() { window } else { 0 }
    }

    /// The limit that a shard should have now, if it should have another one than it was told.
    fn new_limit(&self, traffic: &Traffic, window: u32) -> Option<u64> {
        if self.members.is_empty() {
            return None;
        }
        let remaining = traffic.told_remaining();
        let waiting = u64::from(self.queue.len());
        let windowed = self.is_windowed();
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
        // At half, and not only below it: clients give new credit when they have used half of theirs, and
        // the next word would be a batch of messages later.
        if available > 0 && remaining <= available / 2 {
            return Some(traffic.received + available);
        }
        if available > 0 || windowed {
            return None;
        }
        let share = traffic.wanting.min(SHARE).min(self.own_handed_over);
        if share > 0 && !traffic.answered && remaining == 0 {
            return Some(traffic.received + u64::from(share));
        }
        // What a share has allowed is not taken back.
        (remaining > 0 && !traffic.answered).then_some(traffic.received)
    }
}

impl Core {
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
            self.tell_presence(key, false);
            self.tell_limits(key);
            self.tell_wants(key);
            if let Some(address) = self.addresses.get_mut(key) {
                address.own_handed_over = 0;
            }
        }
    }

    /// Tells every other shard at once that there are consumers now, or none any more.
    pub(crate) fn announce(&mut self, key: AddressKey) {
        self.tell_presence(key, true);
    }

    /// Tells every other shard how many links there are, if that is news enough.
    fn tell_presence(&mut self, key: AddressKey, always: bool) {
        let Some(address) = self.addresses.get_mut(key) else { return };
        let consumers = address.members.len() as u32;
        let producers = if address.settings.max_producers > 0 { address.producers.len() } else { 0 };
        let (told_consumers, told_producers) = address.told;
        let is_news = producers != told_producers
            || (consumers == 0) != (told_consumers == 0)
            || u64::from(consumers.abs_diff(told_consumers)) * 8 > u64::from(told_consumers);
        if !is_news && !always {
            return;
        }
        address.told = (consumers, producers);
        for to in self.peers.shards() {
            if let Some(message) = self.presence(key) {
                self.effects.push_back(Effect::Peer { to, message });
            }
        }
    }

    /// Tells a shard that has come what the others know of an address.
    pub(crate) fn introduce(&mut self, key: AddressKey, to: ShardId) {
        if self.addresses.get(key).is_none_or(|address| address.settings.kind.is_stored()) {
            return;
        }
        // While there is nobody to tell, nothing is noted as told.
        self.tell_presence(key, false);
        if self.addresses.get(key).is_some_and(|address| address.told != (0, 0))
            && let Some(message) = self.presence(key)
        {
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    fn presence(&self, key: AddressKey) -> Option<PeerMessage> {
        let address = self.addresses.get(key)?;
        let (consumers, producers) = address.told;
        Some(PeerMessage(Message::Presence {
            name: address.name.clone(),
            address: key,
            epoch: address.epoch,
            kind: address.settings.kind,
            temporary: address.standing == Standing::Temporary,
            consumers,
            producers,
            initial: address.initial(self.limits.peer_window.max(1)),
        }))
    }

    /// Tells the shards that send how much more they may.
    fn tell_limits(&mut self, key: AddressKey) {
        let window = self.limits.peer_window.max(1);
        let mut place = 0;
        while let Some(address) = self.addresses.get(key)
            && let Some(to) = address.traffic.shard_at(place)
        {
            place += 1;
            let Some(traffic) = address.traffic.get(to) else { continue };
            let Some((sender, round)) = traffic.sender else { continue };
            let Some(limit) = address.new_limit(traffic, window) else { continue };
            if let Some(traffic) = self.traffic_of(key, to) {
                traffic.answered = traffic.wanting > 0 && limit > traffic.told_limit;
                traffic.told_limit = limit;
            }
            let message = PeerMessage(Message::Limit { address: sender, round, limit });
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    fn traffic_of(&mut self, key: AddressKey, shard: ShardId) -> Option<&mut Traffic> {
        self.addresses.get_mut(key)?.traffic.get_mut(shard)
    }

    /// Tells the shards with consumers what waits for them.
    fn tell_wants(&mut self, key: AddressKey) {
        let mut place = 0;
        while let Some(address) = self.addresses.get(key)
            && let Some(to) = address.remotes.shard_at(place)
        {
            place += 1;
            let Some(remote) = address.remotes.get(to).filter(|remote| remote.consumers > 0) else {
                continue;
            };
            let is_full = address.remaining(to, remote) == 0;
            let waiting = if is_full { address.queue.own.len() } else { 0 };
            let sends = address.sends();
            let is_in_round = address.traffic.get(to).is_some_and(|traffic| traffic.round.is_some());
            if !is_in_round {
                if sends {
                    self.begin_round(key, to, waiting);
                }
                continue;
            }
            let Some(traffic) = self.traffic_of(key, to) else { continue };
            let is_news =
                (waiting > 0) != (traffic.told_waiting > 0) || (traffic.want_due && traffic.told_waiting > 0);
            traffic.want_due = false;
            if is_news {
                traffic.told_waiting = waiting;
                self.send_want(key, to);
            }
            if !sends {
                self.linger(key, to);
            }
        }
    }

    /// Tells another shard that it will be sent messages.
    fn begin_round(&mut self, key: AddressKey, to: ShardId, waiting: u32) {
        self.rounds = self.rounds.wrapping_add(1);
        let round = self.rounds;
        let Some(address) = self.addresses.get_mut(key) else { return };
        let Some(initial) = address.remotes.get(to).map(|remote| remote.initial) else { return };
        let traffic = address.traffic.row(to);
        traffic.round = Some(round);
        (traffic.limit, traffic.sent, traffic.told_waiting) = (initial.into(), 0, waiting);
        self.send_want(key, to);
    }

    fn send_want(&mut self, key: AddressKey, to: ShardId) {
        let Some(address) = self.addresses.get(key) else { return };
        let (Some(remote), Some(traffic)) = (address.remotes.get(to), address.traffic.get(to)) else {
            return;
        };
        let message = PeerMessage(Message::Want {
            address: remote.address,
            epoch: remote.epoch,
            sender: traffic.round.map(|_| key),
            round: traffic.round.unwrap_or_default(),
            waiting: traffic.told_waiting,
        });
        self.effects.push_back(Effect::Peer { to, message });
    }

    /// Nothing is sent to another shard now. Only when this is so for many is it told, as producers come
    /// again, and anonymous ones begin a round with each message otherwise.
    fn linger(&mut self, key: AddressKey, to: ShardId) {
        let Some(traffic) = self.traffic_of(key, to) else { return };
        if std::mem::replace(&mut traffic.lingering, true) {
            return;
        }
        self.lingering.push_back((key, to));
        if self.lingering.len() <= MAX_LINGERING {
            return;
        }
        let Some((key, to)) = self.lingering.pop_front() else { return };
        let Some(address) = self.addresses.get_mut(key) else { return };
        let sends = address.sends();
        let Some(traffic) = address.traffic.get_mut(to) else { return };
        traffic.lingering = false;
        if sends || traffic.round.is_none() {
            return;
        }
        if !traffic.legs.is_empty() {
            traffic.lingering = true;
            return self.lingering.push_back((key, to));
        }
        traffic.stop_sending();
        self.send_want(key, to);
        self.forget_traffic(key, to);
    }

    /// Forgets what went between this shard and another one, if nothing is left of it.
    fn forget_traffic(&mut self, key: AddressKey, shard: ShardId) {
        if let Some(address) = self.addresses.get_mut(key)
            && address.traffic.get(shard).is_some_and(Traffic::is_idle)
        {
            address.traffic.remove(shard);
        }
    }

    /// The last consumer has left: what other shards sent and nobody got goes back, and counting
    /// starts anew.
    pub(crate) fn end_epoch(&mut self, now: Instant, key: AddressKey) {
        self.return_foreign(now, key);
        let Some(address) = self.addresses.get_mut(key) else { return };
        address.epoch = address.epoch.wrapping_add(1);
        address.traffic.retain(|_, traffic| {
            traffic.stop_receiving();
            !traffic.is_idle()
        });
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
            self.tokens.remove(shard, token);
            self.discard_delivery(last);
            let message = PeerMessage(Message::Return { token, chunk });
            self.effects.push_back(Effect::Peer { to: shard, message });
        }
        self.dispatch(now, key);
    }

    /// The shard that is to get the next message, of those within their limit: that with the fewest
    /// outstanding deliveries for each consumer, its cost among them, or the nearest one.
    pub(crate) fn best_peer(&self, key: AddressKey) -> Option<PeerLoad> {
        let address = self.addresses.get(key)?;
        let mut best: Option<PeerLoad> = None;
        for (shard, remote) in address.remotes.iter().filter(|(_, remote)| remote.consumers > 0) {
            let traffic = address.traffic.get(shard);
            if remote.remaining(traffic) == 0 {
                continue;
            }
            let load = PeerLoad {
                shard,
                consumers: remote.consumers,
                outstanding: traffic.map_or(0, |traffic| traffic.outstanding),
                cost: self.peers.get(shard).map_or(0, |peer| peer.cost),
            };
            let is_better = best.as_ref().is_none_or(|best| match address.settings.distribution {
                Distribution::Balanced => load.is_less_than(best),
                Distribution::Closest => load.is_next_before(best, address.turn),
            });
            if is_better {
                best = Some(load);
            }
        }
        best
    }

    /// Counts a delivery to another shard and sends it; false when that shard has no address to send to. Its
    /// chunk is taken, unless it was put into bytes at once.
    pub(crate) fn peer_deliver(
        &mut self,
        key: AddressKey,
        to: ShardId,
        arrival: &mut Arrival,
        token: Option<LegKey>,
    ) -> bool {
        let Some(address) = self.addresses.get_mut(key) else { return false };
        let Some(remote) = address.remotes.get(to) else { return false };
        let (name, epoch) = (remote.address, remote.epoch);
        address.turn = to;
        let is_in_round = |traffic: &&mut Traffic| traffic.round.is_some();
        let traffic = match address.traffic.get_mut(to).filter(is_in_round) {
            Some(traffic) => traffic,
            None => {
                self.begin_round(key, to, 0);
                let address = self.addresses.get_mut(key);
                let Some(traffic) = address.and_then(|address| address.traffic.get_mut(to)) else {
                    return false;
                };
                traffic
            }
        };
        traffic.sent += 1;
        if let Some(token) = token {
            traffic.legs.push_back(&mut self.legs, token);
            if !arrival.settled {
                traffic.outstanding += 1;
            }
        }
        if !self.join_run(to, (name, epoch), arrival, token) {
            // The receiving shard puts itself between.
            let chunk = std::mem::take(&mut arrival.chunk);
            let arrival = Arrival { origin: Origin::Nobody, chunk, ..*arrival };
            let message = PeerMessage(Message::Deliver { address: name, epoch, token, arrival });
            self.effects.push_back(Effect::Peer { to, message });
        }
        true
    }

    /// Takes a leg out of its shard's list.
    pub(crate) fn leave_peer(&mut self, peer: ShardId, leg: LegKey) {
        let Some(value) = self.legs.get(leg) else { return };
        let settled = value.settled;
        let Some(key) = self.deliveries.get(value.delivery).and_then(|delivery| delivery.address) else {
            return;
        };
        let Some(address) = self.addresses.get_mut(key) else { return };
        let Some(traffic) = address.traffic.get_mut(peer) else { return };
        traffic.legs.remove(&mut self.legs, leg);
        if !settled {
            traffic.outstanding = traffic.outstanding.saturating_sub(1);
        }
        if traffic.is_idle() {
            self.forget_traffic(key, peer);
        }
    }

    /// The producer has settled a delivery that another shard has.
    pub(crate) fn peer_settled(&mut self, peer: ShardId, leg: LegKey) {
        let Some(delivery) = self.legs.get(leg).map(|leg| leg.delivery) else { return };
        let Some(key) = self.deliveries.get(delivery).and_then(|delivery| delivery.address) else { return };
        if let Some(traffic) = self.traffic_of(key, peer) {
            traffic.outstanding = traffic.outstanding.saturating_sub(1);
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
            Message::Want { address, epoch, sender, round, waiting } => {
                self.handle_want(from, address, epoch, sender.map(|sender| (sender, round)), waiting);
            }
            Message::Limit { address, round, limit } => self.handle_limit(now, from, address, round, limit),
            Message::Deliver { address, epoch, token, mut arrival } => {
                arrival.origin = Origin::Peer { shard: from, token };
                self.handle_deliver(now, from, address, epoch, &mut arrival);
            }
            Message::Append { token, chunk, more } => {
                if let Some(key) = self.tokens.get(from, token)
                    && self.continue_delivery(now, key, chunk, more)
                {
                    let message = PeerMessage::consumed(token);
                    self.effects.push_back(Effect::Peer { to: from, message });
                }
            }
            Message::Abort { token } => {
                if let Some(key) = self.tokens.get(from, token) {
                    self.abort(now, key);
                }
            }
            Message::Update { token, outcome, settled } => {
                if let Some(key) = self.tokens.get(from, token) {
                    self.settle_by_producer(now, key, outcome, settled);
                }
            }
            Message::Settle { token, outcome, settled } => {
                if self.is_leg_to(token, from) {
                    self.settle_leg(token, outcome, settled);
                }
            }
            Message::SettleAll { tokens, outcome } => {
                for token in tokens {
                    if self.is_leg_to(token, from) {
                        self.settle_leg(token, outcome.clone(), true);
                    }
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

    /// Tells the shard that a delivery came from how it ended, at the end of the turn: with one message for
    /// all that ended in the same way, as most of what a consumer settles at once does.
    pub(crate) fn settle_at_peer(&mut self, to: ShardId, token: LegKey, outcome: Option<Outcome>) {
        self.tokens.remove(to, token);
        let is_same = |settled: &&mut Settled| {
            settled.to == to && settled.outcome == outcome && settled.tokens.len() < MAX_SETTLED
        };
        match self.settled.iter_mut().find(is_same) {
            Some(settled) => settled.tokens.push(token),
            None => {
                if self.settled.len() == MAX_OUTCOMES {
                    self.tell_settled();
                }
                self.settled.push(Settled { to, tokens: vec![token], outcome });
            }
        }
    }

    /// Tells other shards of the deliveries that have ended.
    pub(crate) fn tell_settled(&mut self) {
        for Settled { to, tokens, outcome } in self.settled.drain(..) {
            let message = PeerMessage(match tokens.as_slice() {
                [token] => Message::Settle { token: *token, outcome, settled: true },
                _ => Message::SettleAll { tokens, outcome },
            });
            self.effects.push_back(Effect::Peer { to, message });
        }
    }

    fn is_leg_to(&self, token: LegKey, shard: ShardId) -> bool {
        self.legs.get(token).is_some_and(|leg| leg.to == To::Peer(shard))
    }

    fn handle_presence(&mut self, now: Instant, from: ShardId, message: Message) {
        let Message::Presence { name, address: there, epoch, kind, temporary, consumers, producers, initial } =
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
        let Some(address) = self.addresses.get_mut(key) else { return };
        let before = address.remotes.get(from).map(|remote| (remote.address, remote.epoch));
        // About an address that has been replaced there since; its successor has spoken already.
        if is_gone && before.is_none_or(|(address, _)| address != there) {
            return;
        }
        if before != Some((there, epoch))
            && let Some(traffic) = address.traffic.get_mut(from)
        {
            traffic.stop_sending();
        }
        if is_gone {
            address.remotes.remove(from);
            if let Some(traffic) = address.traffic.get_mut(from) {
                traffic.stop_sending();
            }
            self.forget_traffic(key, from);
        } else {
            address.remotes.insert(from, Remote { address: there, epoch, consumers, producers, initial });
        }
        self.reachability_changed(key);
        let visiting = self.addresses.get(key).is_some_and(|address| address.standing == Standing::Visiting);
        if visiting && consumers == 0 {
            return self.remove_address(now, &name);
        }
        self.peer_has_room(now, key);
        self.forget_if_unused(key);
    }

    /// Another shard has come that takes messages, or takes more.
    fn peer_has_room(&mut self, now: Instant, key: AddressKey) {
        if self.is_anycast(key) {
            self.dispatch(now, key);
        }
        self.unblock(key);
        self.mark_dirty(key);
    }

    fn handle_limit(&mut self, now: Instant, from: ShardId, key: AddressKey, round: u32, limit: u64) {
        let Some(traffic) = self.traffic_of(key, from) else { return };
        if traffic.round != Some(round) {
            return;
        }
        traffic.limit = limit;
        traffic.want_due = true;
        self.peer_has_room(now, key);
    }

    fn handle_want(
        &mut self,
        from: ShardId,
        key: AddressKey,
        epoch: u32,
        sender: Option<(AddressKey, u32)>,
        waiting: u32,
    ) {
        let initial = self.limits.peer_window.max(1);
        let Some(address) = self.addresses.get_mut(key) else { return };
        if address.epoch != epoch || address.members.is_empty() {
            return;
        }
        let initial = address.initial(initial);
        if sender.is_none() {
            if let Some(traffic) = address.traffic.get_mut(from) {
                traffic.stop_receiving();
            }
            self.forget_traffic(key, from);
            return self.finish_drains(key);
        }
        let traffic = address.traffic.row(from);
        if traffic.sender != sender {
            traffic.stop_receiving();
            traffic.sender = sender;
            traffic.told_limit = initial.into();
        }
        traffic.wanting = waiting;
        traffic.answered = false;
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

    pub(crate) fn handle_deliver(
        &mut self,
        now: Instant,
        from: ShardId,
        key: AddressKey,
        epoch: u32,
        arrival: &mut Arrival,
    ) {
        let Origin::Peer { token, .. } = arrival.origin else { return };
        let Some(address) = self.addresses.get_mut(key).filter(|address| !address.members.is_empty()) else {
            return self.refuse_from_peer(now, from, key, arrival);
        };
        if address.epoch == epoch
            && let Some(traffic) = address.traffic.get_mut(from)
        {
            traffic.received += 1;
        }
        let is_anycast = address.settings.kind == AddressKind::Anycast;
        self.mark_dirty(key);
        let charged = token.is_some() && !is_free(arrival.chunk.len(), arrival.more);
        let (_, consumed) = if is_anycast {
            self.arrive_anycast(now, key, arrival)
        } else {
            self.arrive_multicast(now, key, arrival)
        };
        if let Some(token) = token.filter(|_| charged && consumed) {
            // It may have been settled already; then the sender ignores this.
            let message = PeerMessage::consumed(token);
            self.effects.push_back(Effect::Peer { to: from, message });
        }
    }

    /// Nobody is here to take what another shard sent.
    fn refuse_from_peer(&mut self, now: Instant, to: ShardId, key: AddressKey, arrival: &mut Arrival) {
        let Origin::Peer { token, .. } = arrival.origin else { return };
        let known = self.addresses.contains(key);
        let Some(token) = token else {
            // The other shard has forgotten it. It may still go to a third one.
            arrival.origin = Origin::Nobody;
            if known && self.is_anycast(key) {
                self.arrive_anycast(now, key, arrival);
            } else {
                self.count_dropped(known.then_some(key), 1);
            }
            return;
        };
        let message = if known && !self.is_anycast(key) {
            if arrival.more {
                // It takes the rest and ends then, like a delivery whose consumers have left.
                self.refuse(arrival, Some(key), Outcome::Released);
                PeerMessage::consumed(token)
            } else {
                PeerMessage::settle(token, Some(Outcome::Released), true)
            }
        } else {
            let free = is_free(arrival.chunk.len(), arrival.more);
            PeerMessage(Message::Return { token, chunk: free.then(|| std::mem::take(&mut arrival.chunk)) })
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
        self.forget_peer(peer);
        let lost: Vec<LegKey> =
            self.legs.iter().filter(|(_, leg)| leg.to == To::Peer(peer)).map(|(key, _)| key).collect();
        for leg in lost {
            self.end_leg(leg, Outcome::FAILED);
        }
        for key in self.tokens.take_all(peer) {
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
            let was_there = address.remotes.remove(peer).is_some();
            if !was_there & address.traffic.remove(peer).is_none() {
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
        // What it was to be told must not reach it when it comes back.
        self.settled.retain(|settled| settled.to != peer);
        self.effects.retain(
            |effect| !matches!(effect, Effect::Peer { to, .. } | Effect::Run { to, .. } if *to == peer),
        );
        self.take_run(peer);
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

#[cfg(test)]
impl crate::address::Address {
    /// Unsettled deliveries at another shard.
    pub(crate) fn outstanding_at(&self, shard: ShardId) -> u32 {
        self.traffic.get(shard).map_or(0, |traffic| traffic.outstanding)
    }

    /// Checks what this address knows of its namesake on another shard, between which no message is on its
    /// way, against what that is.
    pub(crate) fn check_knowledge(&self, shard: ShardId, other: Option<&Self>, here: ShardId) {
        let remote = self.remotes.get(shard);
        let counts = remote.map_or((0, 0), |remote| (remote.consumers, remote.producers));
        let Some(other) = other else { return assert_eq!(counts, (0, 0), "the links of {}", self.name) };
        assert_eq!(counts, other.told, "the links of {}", self.name);
        let Some(remote) = remote else { return };
        let round = self.traffic.get(shard).and_then(|traffic| traffic.round);
        let told = other.traffic.get(here).filter(|traffic| traffic.sender.is_some());
        if remote.consumers == 0 {
            return assert!(round.is_none() && told.is_none());
        }
        assert_eq!(remote.epoch, other.epoch);
        assert_eq!(
            round,
            told.and_then(|told| told.sender).map(|(_, round)| round),
            "the round of {}",
            self.name
        );
        if let Some(told) = told {
            assert_eq!(self.remaining(shard, remote), told.told_remaining(), "the limit of {}", self.name);
        }
        assert!(round.is_some() || !self.sends(), "{} sends to no one that knows", self.name);
    }
}

#[cfg(test)]
impl Core {
    /// Rows of what goes between this shard and others.
    pub(crate) fn traffic_rows(&self) -> usize {
        self.addresses.iter().map(|(_, address)| address.traffic.iter().count()).sum()
    }
}
