//! Which nodes there are, and which way leads to each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::frame::{Hello, WireError};
use crate::identity::{ConnectionKey, Incarnation, NodeId};

/// Bytes of what a node tells of itself for its users ([`Node::info`]), at most.
pub const MAX_INFO: usize = 4096;

/// Neighbours of a node, at most.
pub const MAX_LINKS: usize = 4096;

/// Who the router's own node is, and its times.
#[derive(Clone, Debug)]
pub struct RouterOptions {
    pub fleet: String,
    pub node: String,
    pub incarnation: Incarnation,
    pub shards: u16,
    /// At most [`MAX_INFO`] bytes.
    pub info: Bytes,
    /// How long a node may be out of reach before [`RouterEvent::NodeDown`]. Default: 500 ms.
    pub unreachable_after: Duration,
    /// Chooses moments, so that nodes do not act in step.
    pub seed: u64,
}

impl RouterOptions {
    /// The defaults for a node.
    pub fn new(fleet: &str, node: &str, incarnation: Incarnation, shards: u16) -> Self {
        Self {
            fleet: fleet.to_owned(),
            node: node.to_owned(),
            incarnation,
            shards,
            info: Bytes::new(),
            unreachable_after: Duration::from_millis(500),
            seed: 0,
        }
    }
}

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub name: Arc<str>,
    pub incarnation: Incarnation,
    pub shards: u16,
    /// What the node tells of itself, at most [`MAX_INFO`] bytes; the router does not look into it.
    pub info: Bytes,
    /// Its neighbours with what the link costs in the view of this node, by id.
    pub links: Arc<[(NodeId, u32)]>,
    /// It has said that it leaves.
    pub is_leaving: bool,
}

/// What a router tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouterEvent {
    /// A node can be reached that could not be, or one in a new life: after `NodeDown` of the old one.
    NodeUp(Arc<Node>),
    /// A node has been out of reach for [`RouterOptions::unreachable_after`], has left, or lives anew.
    NodeDown { node: NodeId, incarnation: Incarnation },
    /// Something that a reachable node says of itself is different: info or shards.
    NodeChanged(Arc<Node>),
    /// [`Router::routes`] differs.
    RoutesChanged,
    /// Somebody has this node's name and started later (or this node's clock went back since it last ran):
    /// the mesh listens to the other. Stop, or start with an incarnation larger than this one.
    Superseded { incarnation: Incarnation },
}

/// Why a connection cannot be one of the mesh. Nothing has changed; close it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("node {node:?} is of fleet {theirs:?} and this one of {ours:?}: connect nodes of one fleet")]
    OtherFleet { node: String, theirs: String, ours: String },
    #[error("node {node:?} has this node's own name: give each node a name of its own")]
    OwnName { node: String },
    #[error(
        "node {node:?} says it started at {theirs}, and a later start at {known} is known: check its clock, or for a second process of that name"
    )]
    Superseded { node: String, theirs: Incarnation, known: Incarnation },
    #[error("more than {MAX_LINKS} neighbours")]
    TooManyLinks,
    #[error("names {first:?} and {second:?} have the same number: rename one of the nodes")]
    SameNumber { first: String, second: String },
}

/// Why a link state message cannot be used: close the connection it came from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouterError {
    #[error("link state from node {from}: {error}")]
    Malformed { from: NodeId, error: WireError },
}

/// The ways from one node to all that it can reach; never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
}

/// The way to one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub node: NodeId,
    /// The sum of the costs of the links.
    pub cost: u32,
    /// Links on the longest of the shortest paths.
    pub hops: u32,
    /// The neighbours that begin a shortest path, by id; at least one.
    pub next_hops: Box<[NodeId]>,
}

impl Routes {
    /// The way to a node, if there is one; none leads to the node itself.
    pub fn get(&self, node: NodeId) -> Option<&Route> {
        let index = self.routes.binary_search_by_key(&node, |route| route.node).ok()?;
        self.routes.get(index)
    }

    /// The neighbour to which a segment for a node goes. Of several that are as good `flow` chooses: the
    /// same for the same number, so that segments of one channel keep their order.
    pub fn next_hop(&self, node: NodeId, flow: u64) -> Option<NodeId> {
        let hops = &self.get(node)?.next_hops;
        let index = flow.checked_rem(hops.len() as u64)?;
        hops.get(usize::try_from(index).ok()?).copied()
    }

    /// All ways, by node.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Route> {
        self.routes.iter()
    }
}

/// The link state of a fleet in the view of one of its nodes.
///
/// Tell it of connections ([`neighbour_up`](Self::neighbour_up) once both hellos have been read,
/// [`neighbour_down`](Self::neighbour_down)) and of what came on them; after each call drain
/// [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit), and arm a timer from
/// [`poll_timeout`](Self::poll_timeout). Messages to a neighbour go over any one of its connections, in
/// order; when a connection ends, what was on it may be lost: the router asks again by itself.
#[derive(Debug)]
pub struct Router {
    options: RouterOptions,
    id: NodeId,
    routes: Arc<Routes>,
}

impl Router {
    /// A router that knows its own node only.
    pub fn new(now: Instant, options: RouterOptions) -> Self {
        let _ = now;
        let id = NodeId::new(&options.fleet, &options.node);
        Self { options, id, routes: Arc::default() }
    }

    /// This node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// A connection to a neighbour is there, and both ends have read the other's hello. `cost` is what
    /// this end wants the link to cost; the larger of both counts, and of several connections the lowest.
    ///
    /// # Errors
    /// The connection must be closed; the error says why.
    pub fn neighbour_up(
        &mut self,
        now: Instant,
        connection: ConnectionKey,
        cost: u32,
        hello: &Hello,
    ) -> Result<(), Refused> {
        let _ = (now, connection, cost, hello, &self.options);
        Ok(())
    }

    /// A connection has ended, or is silent and to be closed. One that is not known is left alone.
    pub fn neighbour_down(&mut self, now: Instant, connection: ConnectionKey) {
        let _ = (now, connection);
    }

    /// What a neighbour sent in a link state frame.
    ///
    /// # Errors
    /// The message is malformed: close the connection.
    pub fn handle_link_state(
        &mut self,
        now: Instant,
        from: NodeId,
        message: Bytes,
    ) -> Result<(), RouterError> {
        let _ = (now, from, message);
        Ok(())
    }

    /// To be called at [`poll_timeout`](Self::poll_timeout) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// When time alone makes the router do something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The next link state message, and the neighbour for whom it is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(NodeId, Bytes)> {
        let _ = now;
        None
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        None
    }

    /// Changes what this node tells of itself; at most [`MAX_INFO`] bytes, of which the caller takes care.
    pub fn set_info(&mut self, now: Instant, info: Bytes) {
        let _ = (now, info);
    }

    /// Tells the mesh that this node goes: it is out of reach for everyone as soon as they hear. Drain
    /// [`poll_transmit`](Self::poll_transmit) once more, then close the connections.
    pub fn leave(&mut self, now: Instant) {
        let _ = now;
    }

    /// The ways to all nodes that can be reached.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Everything known of a node, reachable or not.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        let _ = id;
        None
    }

    /// All nodes known, this one included, reachable or not.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        std::iter::empty()
    }
}
