//! How two replicas find out where they differ: one asks, the other says that it has the same, or both go
//! down from groups to leaves to what stands in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::digest::{GROUPS, Leaf};
use super::message::{Listing, Message};
use super::peer::Peer;
use super::{Event, Key, Progress, Replica, Slot, Version};
use crate::NodeId;

/// The one peer with which this node finds out where they differ: two at a time would give it the same twice.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) peer: NodeId,
    /// Everything that differs is listed: it ends when nothing is under way.
    pub(super) is_listed: bool,
    /// Something has come of it that this node did not have, and others may not have.
    pub(super) has_news: bool,
    /// It is given up when nothing has come by then.
    pub(super) until: Instant,
}

/// How long a comparison waits for a sign of the peer.
pub(super) const EXCHANGE_PATIENCE: Duration = Duration::from_secs(2);

/// How long a peer that is busy comparing is left in peace; a bit longer with each answer of that kind.
const LATER_PAUSE: Duration = Duration::from_millis(50);

/// Comparisons or refusals in a row after which pauses grow no further.
const MAX_ROUNDS: u32 = 16;

impl Replica {
    /// Whether this node may compare with the peer now; if so it does with nobody else meanwhile.
    pub(super) fn engage(&mut self, now: Instant, peer: NodeId) -> bool {
        if self.exchange.as_ref().is_some_and(|exchange| exchange.peer != peer) {
            return false;
        }
        let has_news = self.exchange.as_ref().is_some_and(|exchange| exchange.has_news);
        self.exchange = Some(Exchange { peer, is_listed: false, has_news, until: now + EXCHANGE_PATIENCE });
        true
    }

    pub(super) fn disengage(&mut self, now: Instant, peer: NodeId) {
        let ended = self.exchange.take_if(|exchange| exchange.peer == peer);
        if ended.is_some_and(|exchange| exchange.has_news) {
            // So that what many lack does not have to come from one node.
            let others = self.peers.iter_mut().filter(|(node, _)| **node != peer);
            others.for_each(|(_, peer)| peer.compare_at = Some(now));
        }
    }

    pub(super) fn handle_summary(&mut self, now: Instant, from: NodeId, total: u64) {
        if total == self.digests.total() {
            self.synchronised(from);
            self.disengage(now, from);
            return self.answer(from, Message::Same);
        }
        // Of two that ask each other at a time, one answers.
        let is_asked = self.peers.get(&from).is_some_and(|peer| peer.is_asked) && self.asks(from);
        if !is_asked && self.is_quiet(from) && self.engage(now, from) {
            let groups = self.digests.groups();
            self.answer(from, Message::Groups { groups });
        } else {
            self.answer(from, Message::Later);
        }
    }

    pub(super) fn handle_same(&mut self, now: Instant, from: NodeId) {
        self.disengage(now, from);
        self.synchronised(from);
        let compare_at = self.asks(from).then(|| now + self.limits.compare_every);
        if let Some(peer) = self.peers.get_mut(&from) {
            (peer.rounds, peer.declined, peer.is_asked) = (0, 0, false);
            peer.compare_at = compare_at;
        }
    }

    pub(super) fn handle_later(&mut self, now: Instant, from: NodeId) {
        let asks = self.asks(from);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let was_asked = std::mem::take(&mut peer.is_asked);
        if was_asked || asks {
            peer.declined = (peer.declined + 1).min(MAX_ROUNDS);
            peer.compare_at = Some(now + LATER_PAUSE * peer.declined);
        }
        if !was_asked {
            self.disengage(now, from);
        }
    }

    pub(super) fn handle_groups(&mut self, now: Instant, from: NodeId, groups: &[u64]) {
        if !self.engage(now, from) {
            // The peer is free for others until it is asked again.
            self.answer(from, Message::Later);
            return self.handle_later(now, from);
        }
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.is_asked = false;
        }
        let own = self.digests.groups();
        let differ = own.iter().zip(groups).enumerate().filter(|(_, (own, theirs))| own != theirs);
        let groups = differ
            .filter_map(|(group, _)| Some((u8::try_from(group).ok()?, self.digests.group(group).to_vec())));
        let groups = groups.collect();
        self.answer(from, Message::Leaves { groups });
    }

    pub(super) fn handle_leaves(&mut self, now: Instant, from: NodeId, groups: &[(u8, Vec<u64>)]) {
        if !self.engage(now, from) {
            return self.answer(from, Message::Later);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        for (group, theirs) in groups {
            let own = self.digests.group(usize::from(*group));
            for (index, (own, theirs)) in own.iter().zip(theirs).enumerate() {
                let leaf = usize::from(*group) * GROUPS + index;
                let Ok(leaf) = u16::try_from(leaf).map(Leaf) else { continue };
                match (own == theirs, *theirs) {
                    (true, _) => {}
                    (false, 0) => peer.give_leaf(leaf),
                    (false, _) => peer.list_leaf(leaf),
                }
            }
        }
        peer.say_listed();
    }

    /// Finds out who has to give what to whom, in one part of a leaf.
    pub(super) fn handle_listing(&mut self, from: NodeId, listing: Listing) {
        let Listing { leaf, after, until, entries } = listing;
        let Self { objects, peers, stage, .. } = self;
        let Some(peer) = peers.get_mut(&from) else { return };
        if entries.is_empty() && after.is_none() && until.is_none() {
            return peer.give_leaf(leaf);
        }
        let theirs: BTreeMap<&Key, Version> = entries.iter().map(|(key, version)| (key, *version)).collect();
        let own = objects
            .range(Slot::behind(leaf, after.as_ref()))
            .take_while(|(slot, _)| slot.0 == leaf && until.as_ref().is_none_or(|until| slot.1 <= *until));
        for (slot, entry) in own {
            if theirs.get(&slot.1).is_none_or(|theirs| *theirs < entry.version) {
                peer.behind.insert(slot.1.clone());
            }
        }
        for (key, version) in entries {
            let staged = stage.versions.get(&key).copied();
            let slot = Slot::of(key);
            let known = staged.max(objects.get(&slot).map(|entry| entry.version));
            if slot.0 == leaf && known.is_none_or(|known| known < version) {
                peer.wants.insert(slot.1);
            }
        }
    }

    fn answer(&mut self, node: NodeId, message: Message) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.answer = Some(message);
            self.ready.insert(node);
        }
    }

    fn synchronised(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node)
            && !std::mem::replace(&mut peer.is_synchronised, true)
        {
            self.events.push_back(Event::Synchronised { peer: node });
        }
    }

    pub(super) fn is_quiet(&self, node: NodeId) -> bool {
        let is_idle = matches!(self.stage.progress, Progress::Idle)
            && self.stage.own.is_empty()
            && self.stage.foreign.is_empty();
        is_idle && self.peers.get(&node).is_some_and(Peer::is_quiet)
    }

    /// Whether it is this node that asks when nothing has happened: the one of two with the lower number.
    pub(super) fn asks(&self, node: NodeId) -> bool {
        self.local < node
    }

    /// The question that is due first. Any number of peers may be asked at a time whether they have the same.
    pub(super) fn next_comparison(&self) -> Option<(Instant, NodeId)> {
        let asked = self.peers.iter().filter_map(|(node, peer)| Some((peer.compare_at?, *node)));
        asked.filter(|(_, node)| self.is_quiet(*node)).min()
    }

    /// Ends and begins comparisons.
    pub(super) fn advance(&mut self, now: Instant) {
        if let Some(exchange) = &self.exchange {
            let is_over = exchange.is_listed && self.is_quiet(exchange.peer);
            if !is_over && now < exchange.until {
                return;
            }
            self.end_exchange(now, !is_over);
        }
        while let Some((at, node)) = self.next_comparison()
            && at <= now
        {
            let total = self.digests.total();
            self.answer(node, Message::Summary { total });
            if let Some(peer) = self.peers.get_mut(&node) {
                peer.is_asked = true;
                peer.compare_at = Some(now + EXCHANGE_PATIENCE);
            }
        }
    }

    fn end_exchange(&mut self, now: Instant, is_given_up: bool) {
        let Some(exchange) = &self.exchange else { return };
        let node = exchange.peer;
        let asks = self.asks(node) || exchange.is_listed;
        if let Some(peer) = self.peers.get_mut(&node) {
            // The first time it is only to be sure; when the two cannot agree it is less and less often.
            let pause = LATER_PAUSE * ((1 << peer.rounds.min(MAX_ROUNDS)) - 1);
            let pause = if is_given_up { pause + LATER_PAUSE } else { pause };
            peer.rounds = (peer.rounds + 1).min(MAX_ROUNDS);
            peer.compare_at = asks.then(|| now + pause.min(self.limits.compare_every));
            if is_given_up {
                peer.expected.clear();
            }
        }
        self.disengage(now, node);
    }
}
