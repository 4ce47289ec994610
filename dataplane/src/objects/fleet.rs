//! What ties the objects of this node to those of others.

use std::sync::Arc;

use bytes::Bytes;
use mq_mesh::NodeId;
use mq_model::config::DaemonConfig;
use tokio::sync::mpsc;

use crate::mesh::{ControlMail, Fabric, NodeEvent, Service, Tag};

/// Where a node stands in its fleet.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The node's name.
    pub node: Arc<str>,
    /// It connects to nobody: others connect to it, so it is there before them.
    pub is_founder: bool,
}

impl Membership {
    /// The membership of a node; `None` for one that is alone.
    pub fn of(config: &DaemonConfig) -> Option<Self> {
        let mesh = config.mesh.as_ref()?;
        Some(Self { node: config.node.as_str().into(), is_founder: mesh.connect.is_empty() })
    }
}

/// How the objects of this node and those of others speak.
pub(crate) struct Exchange {
    /// Says something to another node. How much can be under way is bounded by the replica's window.
    pub(crate) say: Box<dyn Fn(NodeId, Bytes) + Send>,
    /// What is said to this node, and who comes and goes.
    pub(crate) events: mpsc::UnboundedReceiver<NodeEvent>,
}

impl Exchange {
    /// An exchange over the channels between control threads, and where it hears what others say.
    pub(super) fn over(fabric: Arc<Fabric>) -> (Self, mpsc::UnboundedSender<NodeEvent>) {
        let (heard, events) = mpsc::unbounded_channel();
        let say = move |to, message| fabric.tell(ControlMail::Say { tag: Tag::Objects, to, message });
        (Self { say: Box::new(say), events }, heard)
    }
}

/// What the mesh has to be given, so that the other end of an exchange hears what others say.
pub(super) fn service(heard: mpsc::UnboundedSender<NodeEvent>) -> Service {
    let deliver = move |event| {
        // The catalogue ends with the node, and then nobody minds.
        let _ = heard.send(event);
    };
    Service { tag: Tag::Objects, deliver: Box::new(deliver) }
}
