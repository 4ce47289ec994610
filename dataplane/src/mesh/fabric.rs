//! What all threads of the node know of the fleet: names, slots, paths, and each other's mailboxes.
//!
//! The control thread alone changes it: it makes a new [`View`] and posts it to every shard. A shard goes by
//! the view that it has; where that is older than what has happened, segments are lost, which channels can
//! bear.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mq_core::{ShardId, ShardNames, home};
use mq_mesh::frame::{Hello, Segment};
use mq_mesh::{ConnectionKey, Endpoint, Incarnation, Node, NodeId, Routes};
use mq_model::config::{DaemonConfig, Mesh};
use tokio::sync::{mpsc, oneshot};

use super::directory::Event;
use super::handshake::Greeted;
use super::info::Info;
use super::service::Tag;
use super::sessions::Sessions;
use crate::mailbox::Mailbox;

/// Nodes that may get a slot while the process runs. Names that were once known keep theirs.
const MAX_SLOTS: usize = 100_000;

/// Bytes of segments that may wait for the control thread; what comes beyond is dropped and comes again.
const MAX_WAITING: usize = 16 << 20;

/// How often a process has to be turned away before it counts as one that goes on trying.
const NAMESAKE_INSISTS: u32 = 3;

/// How long after its last try it does: many times the longest pause between two tries.
const NAMESAKE_FORGOTTEN: Duration = Duration::from_secs(60);

/// What shards tell the control thread, and what it tells itself.
pub(crate) enum ControlMail {
    /// The peer of a connection is known. `ended` is dropped when the connection is.
    Greeted { greeted: Box<Greeted>, ended: Option<oneshot::Sender<()>> },
    /// A connection is gone.
    Lost { connection: ConnectionKey, reason: String },
    /// A neighbour has sent link state.
    LinkState { connection: ConnectionKey, from: NodeId, message: Bytes },
    /// A segment for the control thread.
    Segment(Segment),
    /// A service of this node says something to the same one of another.
    Say { tag: Tag, to: NodeId, message: Bytes },
    /// What the node tells of itself changes.
    SetInfo { change: Box<dyn FnOnce(&mut Info) + Send> },
    /// A queue that leaves this node has nothing left here.
    Emptied { address: Arc<str> },
    /// There is more to send.
    Continue,
}

impl std::fmt::Debug for ControlMail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Greeted { .. } => "Greeted",
            Self::Lost { .. } => "Lost",
            Self::LinkState { .. } => "LinkState",
            Self::Segment(_) => "Segment",
            Self::Say { .. } => "Say",
            Self::SetInfo { .. } => "SetInfo",
            Self::Emptied { .. } => "Emptied",
            Self::Continue => "Continue",
        })
    }
}

/// What the control thread and other shards hand to a shard.
#[derive(Debug)]
pub(crate) enum MeshMail {
    /// Serve this connection.
    Join(Box<Joined>),
    /// This is how things are now.
    View(Arc<View>),
    /// A segment for a channel of the shard, which came in elsewhere.
    Segment(Segment),
    /// A segment that leaves over a connection of the shard.
    Forward { connection: ConnectionKey, segment: Segment },
    /// Link state that leaves over a connection of the shard.
    LinkState { connection: ConnectionKey, message: Bytes },
    /// End this connection.
    Close { connection: ConnectionKey },
    /// End every connection: the node leaves.
    Leave,
    /// What the directory of sessions wants.
    Session(Event),
    /// Every node in reach has told its sessions.
    SessionsKnown,
    /// A session has left this node, or stays after all.
    SessionSettled,
}

/// A connection for a shard.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) key: ConnectionKey,
    pub(crate) greeted: Greeted,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) ended: Option<oneshot::Sender<()>>,
}

/// What went to a neighbour and came from it, over all connections.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) frames_in: AtomicU64,
    pub(crate) frames_out: AtomicU64,
    /// Segments of others that there was no room for.
    pub(crate) dropped: AtomicU64,
    /// Segments for the node that were sent again.
    pub(crate) retransmitted: AtomicU64,
    /// The last round trip, in microseconds; 0: none yet.
    pub(crate) round_trip_micros: AtomicU64,
    /// Connections that came about, and that were lost.
    pub(crate) ups: AtomicU64,
    pub(crate) downs: AtomicU64,
}

/// One connection to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) connection: ConnectionKey,
    /// The shard of this node that owns it.
    pub(crate) here: u16,
    /// The shard of the neighbour that does.
    pub(crate) there: u16,
}

/// How things are: which nodes can be reached, and over what.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) routes: Arc<Routes>,
    /// Nodes that are up, by id, this one not among them.
    pub(crate) nodes: BTreeMap<NodeId, Arc<Node>>,
    /// Connections to each neighbour, in the order of their keys.
    pub(crate) links: BTreeMap<NodeId, Vec<Place>>,
}

impl View {
    /// The connection over which segments go from a shard of this node (`None`: from the control thread) to
    /// an endpoint of another one. The same connection as long as nothing changes, so that they keep their
    /// order: where there is a choice, one of the shard's own, then one to the very shard that is meant.
    pub(crate) fn path(&self, from: Option<u16>, to: Endpoint) -> Option<Place> {
        let flow = u64::from(from.unwrap_or(u16::MAX)) + (u64::from(to.shard) << 16);
        let hop = self.routes.next_hop(to.node, flow)?;
        let places = self.links.get(&hop)?;
        let rank = |place: &Place| {
            let is_own = from == Some(place.here);
            let is_direct = hop == to.node && place.there == to.shard;
            u8::from(is_own) * 2 + u8::from(is_direct)
        };
        let best = places.iter().map(rank).max()?;
        let among = places.iter().filter(|place| rank(place) == best).count();
        let chosen = usize::try_from(flow).unwrap_or(0).checked_rem(among)?;
        places.iter().filter(|place| rank(place) == best).nth(chosen).copied()
    }

    /// What the path to a node costs.
    pub(crate) fn cost(&self, node: NodeId) -> Option<u32> {
        self.routes.get(node).map(|route| route.cost)
    }
}

/// The slots of the other nodes.
#[derive(Debug, Default)]
struct Slots {
    by_node: BTreeMap<NodeId, u32>,
    /// The node in slot `index + 1`.
    nodes: Vec<NodeId>,
}

/// What the node's threads share about the fleet.
#[derive(Debug)]
pub(crate) struct Fabric {
    id: NodeId,
    fleet: String,
    node: String,
    incarnation: Incarnation,
    shards: u16,
    pub(crate) heartbeat: Duration,
    pub(crate) timeout: Duration,
    mailboxes: Arc<[Mailbox]>,
    slots: RwLock<Slots>,
    view: RwLock<Arc<View>>,
    /// Every node that was ever heard of, this one included.
    nodes: RwLock<Vec<Arc<Node>>>,
    traffic: RwLock<BTreeMap<NodeId, Arc<Traffic>>>,
    control: mpsc::UnboundedSender<ControlMail>,
    mail: Mutex<Option<mpsc::UnboundedReceiver<ControlMail>>>,
    /// Sessions of clients, on whichever node.
    pub(super) sessions: Sessions,
    /// The node gives away what it has.
    is_emptying: AtomicBool,
    /// Names under which more than one process tries to take part.
    namesakes: Mutex<BTreeMap<String, Namesake>>,
    /// Bytes of segments that wait for the control thread.
    waiting: AtomicUsize,
    started: Instant,
}

/// What is known of a process that has the name of another.
#[derive(Clone, Copy, Debug)]
struct Namesake {
    /// How often it was turned away.
    times: u32,
    last: Instant,
}

impl Fabric {
    /// What a node has that belongs to a fleet.
    pub(crate) fn new(
        config: &DaemonConfig,
        mesh: &Mesh,
        incarnation: u64,
        mailboxes: Arc<[Mailbox]>,
    ) -> Self {
        let (control, mail) = mpsc::unbounded_channel();
        let shards = u16::try_from(mailboxes.len()).unwrap_or(u16::MAX);
        Self {
            id: NodeId::new(&config.fleet, &config.node),
            fleet: config.fleet.clone(),
            node: config.node.clone(),
            incarnation: Incarnation(incarnation),
            shards,
            heartbeat: Duration::from_millis(mesh.heartbeat_ms.into()),
            timeout: Duration::from_millis(mesh.timeout_ms.into()),
            mailboxes,
            slots: RwLock::default(),
            view: RwLock::default(),
            nodes: RwLock::default(),
            traffic: RwLock::default(),
            control,
            mail: Mutex::new(Some(mail)),
            sessions: Sessions::new(NodeId::new(&config.fleet, &config.node), shards),
            is_emptying: AtomicBool::new(false),
            namesakes: Mutex::default(),
            waiting: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    /// Whether the node gives away what it has, from now on.
    pub(crate) fn set_emptying(&self, is_emptying: bool) {
        self.is_emptying.store(is_emptying, Ordering::Relaxed);
    }

    /// The node that gets a session of this client in place of this one, while this one gives away what it has:
    /// one in reach that is not cordoned, a different one for different clients. `None`: it stays here.
    pub(crate) fn refuge(&self, client_id: &str) -> Option<NodeId> {
        if !self.is_emptying.load(Ordering::Relaxed) {
            return None;
        }
        let view = self.view();
        let takers: Vec<NodeId> = view
            .nodes
            .iter()
            .filter(|(_, node)| !Info::decode(&node.info).is_cordoned())
            .map(|(id, _)| *id)
            .collect();
        let count = u16::try_from(takers.len()).unwrap_or(u16::MAX);
        takers.get(usize::from(home(client_id, count).shard())).copied()
    }

    /// Whether other nodes can be reached: a client that leaves this one has somewhere to go.
    pub(crate) fn has_others(&self) -> bool {
        !self.view().nodes.is_empty()
    }

    pub(crate) fn fleet(&self) -> &str {
        &self.fleet
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Shards of this node.
    pub(crate) fn shards(&self) -> u16 {
        self.shards
    }

    /// What this node says of itself on a connection between these shards.
    pub(crate) fn hello(&self, cost: u32, shard: u16, peer_shard: u16) -> Hello {
        Hello {
            fleet: self.fleet.clone(),
            node: self.node.clone(),
            incarnation: self.incarnation,
            shards: self.shards,
            shard,
            peer_shard,
            cost,
            product: format!("mqd {}", env!("CARGO_PKG_VERSION")),
            capabilities: 0,
        }
    }

    /// Microseconds of a clock that only this node reads.
    pub(crate) fn micros(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.started).as_micros();
        // 0 stands for no time at all.
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }

    // ---- slots ----------------------------------------------------------------------------------

    /// The slot of a node, which gets one when it has none; `None` when there is no room for another.
    pub(crate) fn slot(&self, node: NodeId) -> Option<u32> {
        if node == self.id {
            return Some(0);
        }
        if let Some(slot) = self.slots.read().unwrap_or_else(PoisonError::into_inner).by_node.get(&node) {
            return Some(*slot);
        }
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.by_node.get(&node) {
            return Some(*slot);
        }
        if slots.nodes.len() >= MAX_SLOTS {
            return None;
        }
        slots.nodes.push(node);
        let slot = u32::try_from(slots.nodes.len()).ok()?;
        slots.by_node.insert(node, slot);
        Some(slot)
    }

    /// The node in a slot.
    pub(crate) fn node_in(&self, slot: u32) -> Option<NodeId> {
        let Some(index) = slot.checked_sub(1) else { return Some(self.id) };
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.nodes.get(usize::try_from(index).ok()?).copied()
    }

    // ---- namesakes ------------------------------------------------------------------------------

    /// A process was turned away because it has the name of another.
    pub(crate) fn note_namesake(&self, name: &str, now: Instant) {
        let mut namesakes = self.namesakes.lock().unwrap_or_else(PoisonError::into_inner);
        namesakes.retain(|_, namesake| now.saturating_duration_since(namesake.last) < NAMESAKE_FORGOTTEN);
        let times = namesakes.get(name).map_or(0, |namesake| namesake.times).saturating_add(1);
        namesakes.insert(name.to_owned(), Namesake { times, last: now });
    }

    /// Whether two processes want to be the node of this name. One that was turned away once may be a connection
    /// of a former life that came late.
    pub(crate) fn has_namesake(&self, name: &str, now: Instant) -> bool {
        let namesakes = self.namesakes.lock().unwrap_or_else(PoisonError::into_inner);
        namesakes.get(name).is_some_and(|namesake| {
            let is_recent = now.saturating_duration_since(namesake.last) < NAMESAKE_FORGOTTEN;
            is_recent && namesake.times >= NAMESAKE_INSISTS
        })
    }

    // ---- views ----------------------------------------------------------------------------------

    /// How things are, for whoever is no shard.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells everyone how things are.
    pub(crate) fn publish(&self, view: &Arc<View>) {
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view.clone();
        for mailbox in self.mailboxes.iter() {
            mailbox.post_mesh(MeshMail::View(view.clone()));
        }
    }

    /// Remembers every node that was ever heard of.
    pub(crate) fn note_nodes(&self, nodes: impl Iterator<Item = Arc<Node>>) {
        let mut known = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        known.clear();
        known.extend(nodes);
    }

    /// Every node that was ever heard of, this one included.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The counters of a neighbour.
    pub(crate) fn traffic(&self, node: NodeId) -> Arc<Traffic> {
        if let Some(traffic) = self.traffic.read().unwrap_or_else(PoisonError::into_inner).get(&node) {
            return traffic.clone();
        }
        self.traffic.write().unwrap_or_else(PoisonError::into_inner).entry(node).or_default().clone()
    }

    /// Every neighbour that there ever was, with its counters.
    pub(crate) fn all_traffic(&self) -> Vec<(NodeId, Arc<Traffic>)> {
        let traffic = self.traffic.read().unwrap_or_else(PoisonError::into_inner);
        traffic.iter().map(|(node, traffic)| (*node, traffic.clone())).collect()
    }

    // ---- mail -----------------------------------------------------------------------------------

    /// Hands something to a shard of this node.
    pub(crate) fn post(&self, shard: u16, mail: MeshMail) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(shard)) {
            mailbox.post_mesh(mail);
        }
    }

    /// Hands something to every shard of this node.
    pub(crate) fn post_to_all(&self, mut mail: impl FnMut() -> MeshMail) {
        for mailbox in self.mailboxes.iter() {
            mailbox.post_mesh(mail());
        }
    }

    /// Tells the control thread something. It is gone only when the node stops.
    pub(crate) fn tell(&self, mail: ControlMail) {
        let _ = self.control.send(mail);
    }

    /// Hands a segment to the control thread, or drops it: it comes again.
    pub(crate) fn tell_segment(&self, segment: Segment) {
        let size = segment.payload.len();
        if self.waiting.fetch_add(size, Ordering::Relaxed) > MAX_WAITING {
            self.waiting.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        self.tell(ControlMail::Segment(segment));
    }

    /// The control thread has taken a segment of so many bytes.
    pub(crate) fn segment_taken(&self, size: usize) {
        self.waiting.fetch_sub(size, Ordering::Relaxed);
    }

    /// How to tell the control thread something.
    pub(crate) fn control(&self) -> mpsc::UnboundedSender<ControlMail> {
        self.control.clone()
    }

    /// What the control thread is told; once.
    pub(crate) fn take_mail(&self) -> Option<mpsc::UnboundedReceiver<ControlMail>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ShardNames for Fabric {
    fn name(&self, shard: ShardId) -> (u64, u16) {
        let node = self.node_in(shard.slot()).unwrap_or_default();
        (node.0, shard.shard())
    }

    fn shard(&self, node: u64, shard: u16) -> Option<ShardId> {
        if shard >= ShardId::MAX_SHARDS {
            return None;
        }
        Some(ShardId::new(self.slot(NodeId(node))?, shard))
    }
}

#[cfg(test)]
mod tests {
    use mq_model::config::{MeshListener, MeshTls};

    use super::*;

    impl Fabric {
        /// That of a node with so many shards, which has no neighbours.
        pub(crate) fn alone(config: &DaemonConfig, incarnation: u64, shards: usize) -> Self {
            let mesh = Mesh {
                listen: MeshListener { host: "127.0.0.1".to_owned(), port: 0 },
                connect: Vec::new(),
                cost: 1,
                connections: 0,
                tls: MeshTls::default(),
                heartbeat_ms: 500,
                timeout_ms: 2_000,
            };
            let mailboxes: Vec<Mailbox> = (0..shards).map(|_| Mailbox::default()).collect();
            Self::new(config, &mesh, incarnation, mailboxes.into())
        }
    }

    fn fabric() -> Fabric {
        Fabric::alone(&DaemonConfig::embedded("unused"), 7, 2)
    }

    #[test]
    fn nodes_get_slots_in_the_order_in_which_they_are_heard_of_and_keep_them() {
        let fabric = fabric();
        let ids = ["a", "b", "c"].map(|name| NodeId::new("f", name));
        assert_eq!(ids.map(|id| fabric.slot(id)), [Some(1), Some(2), Some(3)]);
        assert_eq!([ids[2], ids[0], fabric.id()].map(|id| fabric.slot(id)), [Some(3), Some(1), Some(0)]);
        assert_eq!([0, 2, 4].map(|slot| fabric.node_in(slot)), [Some(fabric.id()), Some(ids[1]), None]);
    }

    #[test]
    fn a_shard_is_named_by_its_node_and_found_by_that_name() {
        let fabric = fabric();
        let shard = fabric.shard(99, 1).expect("room");
        assert_eq!((shard.slot(), shard.shard(), fabric.name(shard)), (1, 1, (99, 1)));
        let own = fabric.shard(fabric.id().0, 1).expect("room");
        assert!(own.is_here());
        assert_eq!(fabric.shard(99, ShardId::MAX_SHARDS), None);
    }

    #[test]
    fn segments_wait_for_the_control_thread_up_to_a_bound() {
        let fabric = fabric();
        let end = Endpoint { node: fabric.id(), shard: u16::MAX };
        let segment = Segment {
            flags: mq_mesh::frame::SegmentFlags::default(),
            hops_left: 1,
            source: end,
            destination: end,
            source_epoch: mq_mesh::Epoch { incarnation: Incarnation(1), generation: 1 },
            destination_epoch: None,
            sequence: 0,
            acknowledged: 0,
            message_length: 0,
            payload: Bytes::from(vec![0; 64 << 10]),
        };
        let mut mail = fabric.take_mail().expect("the first time");
        for _ in 0..1_000 {
            fabric.tell_segment(segment.clone());
        }
        let mut count = 0;
        while mail.try_recv().is_ok() {
            count += 1;
        }
        assert!((200..=300).contains(&count), "{count} segments of 64 KiB within {MAX_WAITING} bytes");
    }
}
