//! The other shards: those of this node, which are there from the start, and those of other nodes, which
//! come and go.

use std::sync::Arc;
use std::time::Instant;

use crate::by_shard::ByShard;
use crate::core::Core;
use crate::settings::ShardId;

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
    /// How many shards it has.
    pub shards: u16,
    pub name: Arc<str>,
}

/// A shard that there is a channel to.
#[derive(Debug)]
pub(crate) struct Peer {
    /// 0 for a shard of this node.
    pub(crate) cost: u32,
}

/// The other shards of a node of so many.
pub(crate) fn siblings(shard: ShardId, shards: u16) -> ByShard<Peer> {
    let mut peers = ByShard::default();
    for sibling in (0..shards).map(|index| ShardId::new(0, index)).filter(|sibling| *sibling != shard) {
        peers.insert(sibling, Peer { cost: 0 });
    }
    peers
}

impl Core {
    /// A channel to a shard of another node has opened. Both sides tell each other what the other has to
    /// know, some of it in each round of [`poll_effect`](Self::poll_effect), so that traffic goes on
    /// meanwhile. A channel that was open already counts as ended first.
    pub fn add_peer(&mut self, now: Instant, peer: ShardId, options: PeerOptions) {
        if peer.is_here() {
            return;
        }
        if self.peers.contains(peer) {
            self.handle_peer_gone(now, peer);
        }
        self.peers.insert(peer, Peer { cost: options.cost.max(1) });
    }

    /// The path to a shard of another node costs something else now.
    pub fn set_peer_cost(&mut self, _now: Instant, peer: ShardId, cost: u32) {
        if let Some(peer) = self.peers.get_mut(peer).filter(|_| !peer.is_here()) {
            peer.cost = cost.max(1);
        }
    }

    /// How many shards the node in a slot has, by which the homes of its addresses are found. `None`: not
    /// known (any more). What is said of slot 0, this node, counts for nothing.
    pub fn set_node(&mut self, _now: Instant, slot: u32, node: Option<NodeShards>) {
        if slot == 0 {
            return;
        }
        match node {
            Some(node) => self.nodes.insert(slot, node),
            None => self.nodes.remove(&slot),
        };
    }
}
