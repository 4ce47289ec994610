//! What parts of the node say to the same parts of other nodes, over the channels between control threads.

use std::sync::Arc;

use bytes::Bytes;
use mq_mesh::NodeId;
use tokio::sync::mpsc;

use super::fabric::{ControlMail, Fabric};

/// Which part of the node a message is for: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The objects that every node has.
    Objects,
    /// Where the sessions of clients are.
    Sessions,
    /// Requests of the admin API, and their answers.
    Requests,
}

impl Tag {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Objects => 1,
            Self::Sessions => 2,
            Self::Requests => 3,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Objects, Self::Sessions, Self::Requests].into_iter().find(|tag| tag.to_byte() == byte)
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

/// How a service with a task of its own speaks with other nodes, which are named by what [`NodeEvent`] says.
/// To a node whose channel is not open nothing is said; the service hears of the end of each.
#[derive(Debug)]
pub(crate) struct Correspondence {
    /// What a service has to say, and to whom. How much of it there is, the service bounds.
    pub(crate) outgoing: mpsc::UnboundedSender<(NodeId, Bytes)>,
    pub(crate) news: mpsc::UnboundedReceiver<NodeEvent>,
}

/// Lets a service speak with other nodes once the mesh of the node has been started with what is returned.
/// Must be called within a tokio runtime.
pub(crate) fn correspond(fabric: &Arc<Fabric>, tag: Tag) -> (Service, Correspondence) {
    let (outgoing, mut to_send) = mpsc::unbounded_channel();
    let (events, news) = mpsc::unbounded_channel();
    let fabric = fabric.clone();
    tokio::spawn(async move {
        while let Some((to, message)) = to_send.recv().await {
            fabric.tell(ControlMail::Say { tag, to, message });
        }
    });
    // A service that has ended hears nothing more.
    let deliver = Box::new(move |event| drop(events.send(event)));
    (Service { tag, deliver }, Correspondence { outgoing, news })
}
