//! What parts of the node say to the same parts of other nodes, over the channels between control threads.

use std::sync::Arc;

use bytes::Bytes;
use mq_mesh::NodeId;

/// Which part of the node a message is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The objects that every node has.
    Objects,
    /// Where the sessions of clients are.
    Sessions,
    /// Requests of the admin API, and their answers.
    Requests,
    /// What tenants take.
    Usage,
}

impl Tag {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Objects => 1,
            Self::Sessions => 2,
            Self::Requests => 3,
            Self::Usage => 4,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Objects, Self::Sessions, Self::Requests, Self::Usage];
        all.into_iter().find(|tag| tag.to_byte() == byte)
    }
}

/// What a service hears, in order.
#[derive(Clone, Debug)]
pub(crate) enum NodeEvent {
    /// Messages may be sent to the node, and come from it.
    Opened { node: NodeId, name: Arc<str> },
    /// What the same service of that node has said.
    Message { node: NodeId, message: Bytes },
    /// The channel has ended, and with it all that was under way either way.
    Lost { node: NodeId },
    /// Whether a node takes new homes; of this node, too.
    Cordoned { name: Arc<str>, is_cordoned: bool },
    /// A queue that leaves this node has nothing left here.
    Emptied { address: Arc<str> },
}

/// A part of the node that speaks with the same part of other nodes.
pub(crate) struct Service {
    pub(crate) tag: Tag,
    /// Called on the control thread, where it must not wait.
    pub(crate) deliver: Box<dyn FnMut(NodeEvent) + Send>,
}
