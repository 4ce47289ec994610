//! The names of nodes, their lives and their shards.

use std::fmt;

/// The number that stands for a node's control thread where a shard's would.
pub const CONTROL_SHARD: u16 = u16::MAX;

/// A node of a fleet: a hash of both names, so that every node computes the same without asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl NodeId {
    /// FNV-1a, 64 bits, of the fleet's name, a slash, and the node's name.
    pub fn new(fleet: &str, node: &str) -> Self {
        let bytes = fleet.bytes().chain([b'/']).chain(node.bytes());
        Self(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// One life of a node: the time of its start in Unix milliseconds, larger after each restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A shard of a node, or its control thread ([`CONTROL_SHARD`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub node: NodeId,
    pub shard: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            CONTROL_SHARD => write!(formatter, "{}/control", self.node),
            shard => write!(formatter, "{}/{shard}", self.node),
        }
    }
}

/// One beginning of one end of a channel. Of two epochs of an end the larger is the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch {
    pub incarnation: Incarnation,
    /// Counts the beginnings within one life of the node.
    pub generation: u32,
}

impl Epoch {
    /// The smallest that is larger.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.generation.checked_add(1) {
            Some(generation) => Self { generation, ..self },
            None => Self { incarnation: Incarnation(self.incarnation.0.saturating_add(1)), generation: 0 },
        }
    }
}

/// The caller's name for one connection to a neighbour, never used again while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionKey(pub u64);
