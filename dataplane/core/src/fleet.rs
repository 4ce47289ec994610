//! The other shards: those of this node, which are there from the start, and those of other nodes, which
//! come and go.
//!
//! A shard that has come is told what the others know: of links to addresses, of live subscriptions, and of
//! subscriptions that keep messages. That is a walk, some steps of it with each
//! [`handle_timeout`](Core::handle_timeout), for which [`poll_timeout`](Core::poll_timeout) asks at once.
//! Changes meanwhile are told to everybody when they happen, whether the walk has been there or not: all
//! that is said is how something is, and not how it differs from what was said before.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::by_shard::ByShard;
use crate::core::Core;
use crate::settings::{ShardId, hash_of_name};

/// Steps of introductions with each call of `handle_timeout`.
const STEPS: usize = 512;

/// What there is to know of a channel to a shard of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerOptions {
    /// What the path to it costs, at least 1: a message goes there when everybody nearer has so many more
    /// of them outstanding.
    pub cost: u32,
}

/// A node that this one knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShards {
    /// How many shards it has; 0: not known.
    pub shards: u16,
    pub name: Arc<str>,
}

/// A shard that there is a channel to.
#[derive(Debug)]
pub(crate) struct Peer {
    /// 0 for a shard of this node.
    pub(crate) cost: u32,
    /// It has said everything that there was when it was added.
    is_known: bool,
}

/// How far the introduction to a shard that has come is.
#[derive(Debug)]
struct Introduction {
    to: ShardId,
    stage: Stage,
}

/// What comes next, behind what stands there.
#[derive(Debug)]
enum Stage {
    Addresses(Option<Arc<str>>),
    Filters(Option<Box<str>>),
    Stored(Option<(Arc<str>, Box<str>)>),
}

/// The introductions that are under way.
#[derive(Debug, Default)]
pub(crate) struct Introductions {
    /// Each takes its turn.
    rows: VecDeque<Introduction>,
    /// When they could go on.
    since: Option<Instant>,
}

impl Introductions {
    /// When there is something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.since.filter(|_| !self.rows.is_empty())
    }
}

/// The other shards of a node of so many.
pub(crate) fn siblings(shard: ShardId, shards: u16) -> ByShard<Peer> {
    let mut peers = ByShard::default();
    for sibling in (0..shards).map(|index| ShardId::new(0, index)).filter(|sibling| *sibling != shard) {
        // They begin together, so there is nothing to be told.
        peers.insert(sibling, Peer { cost: 0, is_known: true });
    }
    peers
}

impl Core {
    /// A channel to a shard of another node has opened. Each side tells the other what it has to know, some
    /// of it with each [`handle_timeout`](Self::handle_timeout), so that traffic goes on meanwhile. A
    /// channel that was open already counts as ended first. Shards of this node are peers from the start;
    /// to add one, or this shard itself, does nothing.
    pub fn add_peer(&mut self, now: Instant, peer: ShardId, options: PeerOptions) {
        if peer.is_here() {
            return;
        }
        if self.peers.contains(peer) {
            self.handle_peer_gone(now, peer);
        }
        self.peers.insert(peer, Peer { cost: options.cost.max(1), is_known: false });
        self.introductions.rows.push_back(Introduction { to: peer, stage: Stage::Addresses(None) });
        self.introductions.since = Some(now);
        self.all_routes_changed();
        self.end_owed(now);
        self.ask_left(peer);
    }

    /// The path to a shard of another node costs something else now.
    pub fn set_peer_cost(&mut self, _now: Instant, peer: ShardId, cost: u32) {
        if let Some(peer) = self.peers.get_mut(peer).filter(|_| !peer.is_here()) {
            peer.cost = cost.max(1);
        }
    }

    /// How other nodes call this one. To be said before anything else, and never again.
    pub fn set_name(&mut self, name: &str) {
        self.name_hash = hash_of_name(name);
    }

    /// How many shards the node in a slot has, by which the homes of its addresses are found. `None`: not
    /// known (any more). What is said of slot 0, this node, counts for nothing. Say so before
    /// [`add_peer`](Self::add_peer) of its shards.
    pub fn set_node(&mut self, now: Instant, slot: u32, node: Option<NodeShards>) {
        if slot == 0 {
            return;
        }
        let before = self.shards_of(slot);
        match node {
            Some(node) => {
                self.nodes.insert(slot, node);
            }
            // Its name stays, for whoever asks why its addresses cannot be reached.
            None => {
                if let Some(node) = self.nodes.get_mut(&slot) {
                    node.shards = 0;
                }
            }
        }
        if self.shards_of(slot) != before {
            self.resettle(now, slot);
            self.all_routes_changed();
            self.end_owed(now);
        }
    }

    /// How many shards the node in a slot has, if that is known now.
    pub(crate) fn shards_of(&self, slot: u32) -> Option<u16> {
        match slot {
            0 => Some(self.shards),
            slot => self.nodes.get(&slot).map(|node| node.shards).filter(|shards| *shards > 0),
        }
    }

    /// Forgets a shard of another node.
    pub(crate) fn forget_peer(&mut self, peer: ShardId) {
        if !peer.is_here() {
            self.peers.remove(peer);
            self.introductions.rows.retain(|introduction| introduction.to != peer);
        }
    }

    /// Whether a shard has said everything that there was when it was added.
    pub(crate) fn knows_all_of(&self, shard: ShardId) -> bool {
        shard == self.shard || self.peers.get(shard).is_some_and(|peer| peer.is_known)
    }

    /// A shard has said everything that there was when it was added.
    pub(crate) fn peer_is_known(&mut self, shard: ShardId) {
        if let Some(peer) = self.peers.get_mut(shard) {
            peer.is_known = true;
            self.all_routes_changed();
        }
    }

    /// Whether some shard is still being told of what there is.
    #[cfg(test)]
    pub(crate) fn is_introducing(&self) -> bool {
        self.introductions.poll_timeout().is_some()
    }

    /// Goes on with introductions, for a bounded number of steps.
    pub(crate) fn introduce_some(&mut self, now: Instant) {
        if self.introductions.poll_timeout().is_none_or(|since| since > now) {
            return;
        }
        let Some(Introduction { to, mut stage }) = self.introductions.rows.pop_front() else { return };
        for _ in 0..STEPS {
            match self.introduce_next(to, stage) {
                Some(next) => stage = next,
                None => return self.tell_known(to),
            }
        }
        self.introductions.rows.push_back(Introduction { to, stage });
    }

    /// Takes one step; gives the place behind it, or `None` at the end.
    fn introduce_next(&mut self, to: ShardId, stage: Stage) -> Option<Stage> {
        Some(match stage {
            Stage::Addresses(after) => {
                let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let next = self.names.range::<str, _>((start, Bound::Unbounded)).next();
                match next.map(|(name, key)| (name.clone(), *key)) {
                    Some((name, key)) => {
                        self.introduce(key, to);
                        Stage::Addresses(Some(name))
                    }
                    None => Stage::Filters(None),
                }
            }
            Stage::Filters(after) => match self.introduce_filter(to, after.as_deref()) {
                Some(filter) => Stage::Filters(Some(filter)),
                None => Stage::Stored(None),
            },
            Stage::Stored(after) => Stage::Stored(Some(self.introduce_stored(to, after.as_ref())?)),
        })
    }
}
