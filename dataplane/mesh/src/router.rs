//! Which nodes there are, and which way leads to each.
//!
//! # The protocol
//!
//! Each node tells all others, by way of its neighbours, who it is and who its neighbours are: its *record*.
//! A record replaces those of a smaller version (incarnation, then a count). It is passed on when it is new,
//! and not to those who have it already: the node that it came from, the one it is about, and, in a dense
//! fleet, most of the latter's own neighbours, who hear it first-hand; about [`HELPERS`] of the others tell
//! them all the same, for the case that the direct way is stuck.
//!
//! Neighbours that meet send each other a *digest* of the versions they have, and so does, and asks for one
//! in return, a node that has lost one of several connections to a neighbour; each then sends what the other
//! lacks. So two halves that had parted become one.
//! Every half minute neighbours compare a hash, so that no mistake stays. There are no periodic floods but
//! each node's own every half hour, by which the others know that what it said still holds; what nobody
//! says any more is forgotten after two hours.
//!
//! A link counts when both its ends name it. Changes that come together are told, passed on and computed
//! together: the first at once, those after it within a tenth of a second.

mod paths;
mod record;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::paths::shortest_paths;
use self::record::{Message, Record, RecordsWriter, Summary, Version, encode_digest, mix};
use crate::frame::{Hello, WireError};
use crate::identity::{ConnectionKey, Incarnation, NodeId};

/// Bytes of what a node tells of itself for its users ([`Node::info`]), at most.
pub const MAX_INFO: usize = 4096;

/// Neighbours of a node, at most.
pub const MAX_LINKS: usize = 4096;

/// Nodes that a router remembers, at most; further ones do not exist for it.
pub const MAX_NODES: usize = 4096;

/// What a link costs, at most: the sum over the longest path fits into 32 bits. More counts as this.
pub const MAX_COST: u32 = 1_000_000;

/// Neighbours among which the segments for one node are spread, at most.
pub const MAX_NEXT_HOPS: usize = 16;

/// How many tell a node what it should hear first-hand, on average.
const HELPERS: u64 = 3;

/// The shortest time between two records of this node.
const ORIGINATE_INTERVAL: Duration = Duration::from_millis(100);

/// The shortest time between two computations of the routes.
const ROUTES_INTERVAL: Duration = Duration::from_millis(50);

/// The shortest time between two messages to a neighbour: while much happens they are fewer and say more.
const TRANSMIT_INTERVAL: Duration = Duration::from_millis(20);

/// How often neighbours compare what they know.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);

/// How often a node says that its record holds.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// How long a record holds.
const MAX_AGE: Duration = Duration::from_secs(2 * 60 * 60);

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
    #[error("node {node:?} would be one neighbour more than the {MAX_LINKS} that a node may have")]
    TooManyLinks { node: String },
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

/// What a router has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouterStatistics {
    /// Records of this node: one for each time that its neighbours or its info have changed.
    pub records_originated: u64,
    /// Records that were new.
    pub records_accepted: u64,
    /// Records that were known.
    pub records_known: u64,
    pub records_sent: u64,
    pub digests_sent: u64,
    pub routes_computed: u64,
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

/// A neighbour: a node with at least one connection.
#[derive(Debug)]
struct Neighbour {
    name: String,
    incarnation: Incarnation,
    /// What each connection costs.
    connections: BTreeMap<ConnectionKey, u32>,
    /// Nodes whose records it is to get.
    pending: BTreeSet<NodeId>,
    digest: Option<DigestDue>,
    is_summary_due: bool,
    /// When it may be sent something.
    ready_at: Instant,
    /// It stands among those that wait for something.
    is_waiting: bool,
}

/// A digest to be sent, from a node on.
#[derive(Clone, Copy, Debug)]
struct DigestDue {
    from: NodeId,
    is_answer_wanted: bool,
}

impl Neighbour {
    fn cost(&self) -> u32 {
        self.connections.values().copied().min().unwrap_or(MAX_COST)
    }

    fn has_something(&self) -> bool {
        !self.pending.is_empty() || self.digest.is_some() || self.is_summary_due
    }

    /// Enters it among those for which there is something to send.
    fn wait(&mut self, id: NodeId, waiting: &mut BTreeSet<(Instant, NodeId)>) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            waiting.insert((self.ready_at, id));
        }
    }

    fn want_digest(&mut self, is_answer_wanted: bool) {
        let is_answer_wanted = is_answer_wanted || self.digest.is_some_and(|due| due.is_answer_wanted);
        self.digest = Some(DigestDue { from: NodeId(0), is_answer_wanted });
    }
}

/// What is known of a node, and until when.
#[derive(Debug)]
struct Entry {
    record: Record,
    expires_at: Instant,
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
    sequence: u64,
    is_leaving: bool,
    /// Everybody, this node included.
    entries: BTreeMap<NodeId, Entry>,
    neighbours: BTreeMap<NodeId, Neighbour>,
    /// Whose neighbour a connection is.
    connections: BTreeMap<ConnectionKey, NodeId>,
    /// Neighbours for which there is something to send, by the time at which they may be.
    waiting: BTreeSet<(Instant, NodeId)>,
    routes: Arc<Routes>,
    /// Nodes of which the owner has heard that they are up.
    up: BTreeMap<NodeId, Arc<Node>>,
    /// Those among them that cannot be reached, and since when.
    lost: BTreeMap<NodeId, Instant>,
    events: VecDeque<RouterEvent>,
    superseded_by: Option<Incarnation>,
    originate_at: Option<Instant>,
    originated_at: Option<Instant>,
    refresh_at: Instant,
    compute_at: Option<Instant>,
    computed_at: Option<Instant>,
    tick_at: Instant,
    statistics: RouterStatistics,
}

impl Router {
    /// A router that knows its own node only.
    pub fn new(now: Instant, mut options: RouterOptions) -> Self {
        let id = NodeId::new(&options.fleet, &options.node);
        options.info.truncate(MAX_INFO);
        options.seed = mix(options.seed ^ id.0);
        let mut router = Self {
            options,
            id,
            sequence: 0,
            is_leaving: false,
            entries: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            connections: BTreeMap::new(),
            waiting: BTreeSet::new(),
            routes: Arc::default(),
            up: BTreeMap::new(),
            lost: BTreeMap::new(),
            events: VecDeque::new(),
            superseded_by: None,
            originate_at: None,
            originated_at: None,
            refresh_at: now,
            compute_at: None,
            computed_at: None,
            tick_at: now,
            statistics: RouterStatistics::default(),
        };
        router.tick_at = now + router.about(SUMMARY_INTERVAL);
        router.originate(now);
        router.originated_at = None;
        router
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
        self.check_hello(hello)?;
        let id = hello.id();
        if self.neighbours.get(&id).is_some_and(|neighbour| neighbour.incarnation < hello.incarnation) {
            // What connections there are lead to a process that is no more.
            self.forget_neighbour(id);
        }
        let neighbour = self.neighbours.entry(id).or_insert_with(|| Neighbour {
            name: hello.node.clone(),
            incarnation: hello.incarnation,
            connections: BTreeMap::new(),
            pending: BTreeSet::new(),
            digest: None,
            is_summary_due: false,
            ready_at: now,
            is_waiting: false,
        });
        let (is_new, before) = (neighbour.connections.is_empty(), neighbour.cost());
        neighbour.connections.insert(connection, cost.max(hello.cost).clamp(1, MAX_COST));
        self.connections.insert(connection, id);
        if is_new {
            neighbour.want_digest(false);
            neighbour.wait(id, &mut self.waiting);
        }
        if is_new || neighbour.cost() != before {
            if self.is_reborn(id) {
                // Told when it has said itself that it lives anew.
                self.compute_soon(now);
            } else {
                self.links_changed(now);
            }
        }
        self.advance(now);
        Ok(())
    }

    /// Whether a neighbour is in a new life of which nothing but its hello is known: what its record says is of
    /// the life before. A link to it, told now, would bring that one back for everyone who hears of it first.
    fn is_reborn(&self, id: NodeId) -> bool {
        let known = self.entries.get(&id).map(|entry| entry.record.node.incarnation);
        known.zip(self.neighbours.get(&id)).is_some_and(|(known, neighbour)| known < neighbour.incarnation)
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), Refused> {
        let (id, node) = (hello.id(), || hello.node.clone());
        if hello.fleet != self.options.fleet {
            let (theirs, ours) = (hello.fleet.clone(), self.options.fleet.clone());
            return Err(Refused::OtherFleet { node: node(), theirs, ours });
        }
        if hello.node == self.options.node {
            return Err(Refused::OwnName { node: node() });
        }
        let known = self.neighbours.get(&id);
        let name = match (known, self.entries.get(&id)) {
            (Some(neighbour), _) => Some(neighbour.name.as_str()),
            (None, entry) => entry.map(|entry| &*entry.record.node.name),
        };
        if let Some(name) = name.filter(|name| *name != hello.node) {
            return Err(Refused::SameNumber { first: name.to_owned(), second: node() });
        }
        match known {
            Some(neighbour) if neighbour.incarnation > hello.incarnation => {
                let (theirs, known) = (hello.incarnation, neighbour.incarnation);
                Err(Refused::Superseded { node: node(), theirs, known })
            }
            None if self.neighbours.len() >= MAX_LINKS => Err(Refused::TooManyLinks { node: node() }),
            _ => Ok(()),
        }
    }

    /// A connection has ended, or is silent and to be closed. One that is not known is left alone.
    pub fn neighbour_down(&mut self, now: Instant, connection: ConnectionKey) {
        let Some(id) = self.connections.remove(&connection) else { return };
        let Some(neighbour) = self.neighbours.get_mut(&id) else { return };
        let before = neighbour.cost();
        neighbour.connections.remove(&connection);
        if neighbour.connections.is_empty() {
            self.forget_neighbour(id);
            self.links_changed(now);
        } else {
            // What was on its way over that connection may be lost, and the other end need not have known
            // when it sent its own digest.
            let after = neighbour.cost();
            neighbour.want_digest(true);
            neighbour.wait(id, &mut self.waiting);
            if after != before {
                self.links_changed(now);
            }
        }
        self.advance(now);
    }

    fn forget_neighbour(&mut self, id: NodeId) {
        let Some(neighbour) = self.neighbours.remove(&id) else { return };
        for connection in neighbour.connections.keys() {
            self.connections.remove(connection);
        }
        self.waiting.remove(&(neighbour.ready_at, id));
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
        if !self.neighbours.contains_key(&from) {
            return Ok(());
        }
        let malformed = |error| RouterError::Malformed { from, error };
        match Message::decode(message).map_err(malformed)? {
            Message::Records(records) => {
                for (age, raw) in records {
                    self.handle_record(now, from, age, &raw).map_err(malformed)?;
                }
            }
            Message::Digest { is_answer_wanted, first, last, versions } => {
                self.handle_digest(from, is_answer_wanted, first, last, &versions);
            }
            Message::Summary(theirs) => {
                if theirs != self.summary() {
                    self.tell(from, |neighbour| neighbour.want_digest(true));
                }
            }
        }
        self.advance(now);
        Ok(())
    }

    fn handle_record(&mut self, now: Instant, from: NodeId, age: u32, raw: &Bytes) -> Result<(), WireError> {
        let (id, version) = Record::peek(&self.options.fleet, raw)?;
        if id == self.id {
            self.handle_own_record(now, version);
            return Ok(());
        }
        let known = self.entries.get(&id);
        let age = Duration::from_secs(u64::from(age));
        let has_room = known.is_some() || self.entries.len() < MAX_NODES;
        if known.is_some_and(|entry| entry.record.version() >= version) || !has_room || age >= MAX_AGE {
            self.statistics.records_known += 1;
            if known.is_some_and(|entry| entry.record.version() == version) {
                // It crossed ours on the way.
                self.neighbours.entry(from).and_modify(|neighbour| {
                    neighbour.pending.remove(&id);
                });
            }
            return Ok(());
        }
        let record = Record::decode(&self.options.fleet, raw)?;
        // Of two names with one number the first that was heard of stays.
        if known.is_none_or(|entry| entry.record.node.name == record.node.name) {
            self.statistics.records_accepted += 1;
            self.accept(now, Some(from), Entry { record, expires_at: now + (MAX_AGE - age) });
        }
        Ok(())
    }

    /// Somebody remembers more of this node than it does itself.
    fn handle_own_record(&mut self, now: Instant, version: Version) {
        let incarnation = version.incarnation;
        if incarnation > self.options.incarnation {
            if self.superseded_by < Some(incarnation) {
                self.superseded_by = Some(incarnation);
                self.events.push_back(RouterEvent::Superseded { incarnation });
            }
        } else if incarnation == self.options.incarnation && version.sequence > self.sequence {
            self.sequence = version.sequence;
            self.originate_soon(now);
        }
    }

    /// Keeps a record and passes it on.
    fn accept(&mut self, now: Instant, from: Option<NodeId>, entry: Entry) {
        let node = entry.record.node.clone();
        let id = node.id;
        if self.is_reborn(id) && self.neighbours.get(&id).is_some_and(|it| it.incarnation <= node.incarnation)
        {
            self.originate_soon(now);
        }
        let before = self.entries.insert(id, entry);
        self.pass_on(from, id);
        let is_same = before.is_some_and(|before| {
            let before = before.record.node;
            before.incarnation == node.incarnation && before.links == node.links
        });
        if is_same {
            self.note_changes(&node);
        } else {
            self.compute_soon(now);
        }
    }

    fn pass_on(&mut self, from: Option<NodeId>, id: NodeId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let others = self.neighbours.iter_mut().filter(|(other, _)| **other != id && Some(**other) != from);
        for (other, neighbour) in others {
            let links_back = || self.entries.get(other).is_some_and(|entry| names(&entry.record.node, id));
            let is_told_first_hand = id != self.id && names(&entry.record.node, *other) && links_back();
            let count = entry.record.node.links.len() as u64;
            let choice = mix(self.id.0 ^ mix(other.0) ^ mix(id.0.wrapping_add(entry.record.sequence)));
            if !is_told_first_hand || choice.checked_rem(count).is_none_or(|choice| choice < HELPERS) {
                neighbour.pending.insert(id);
                neighbour.wait(*other, &mut self.waiting);
            }
        }
        if let Some(neighbour) = from.and_then(|from| self.neighbours.get_mut(&from)) {
            neighbour.pending.remove(&id);
        }
    }

    fn handle_digest(
        &mut self,
        from: NodeId,
        is_answer_wanted: bool,
        first: NodeId,
        last: NodeId,
        versions: &[(NodeId, Version)],
    ) {
        if first > last {
            return;
        }
        let entries = self.entries.range(first..=last);
        let newer = entries.filter(|(id, entry)| {
            let index = versions.binary_search_by_key(*id, |(id, _)| *id);
            let theirs = index.ok().and_then(|index| versions.get(index)).map(|(_, version)| *version);
            theirs < Some(entry.record.version())
        });
        let newer: Vec<NodeId> = newer.map(|(id, _)| *id).collect();
        self.tell(from, |neighbour| {
            neighbour.pending.extend(newer);
            if is_answer_wanted {
                neighbour.want_digest(false);
            }
        });
    }

    fn tell(&mut self, id: NodeId, change: impl FnOnce(&mut Neighbour)) {
        if let Some(neighbour) = self.neighbours.get_mut(&id) {
            change(neighbour);
            neighbour.wait(id, &mut self.waiting);
        }
    }

    /// To be called at [`poll_timeout`](Self::poll_timeout) or later.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.tick_at <= now {
            self.tick_at = now + self.about(SUMMARY_INTERVAL);
            self.forget_old(now);
            for (id, neighbour) in &mut self.neighbours {
                neighbour.is_summary_due = true;
                neighbour.wait(*id, &mut self.waiting);
            }
        }
        if self.refresh_at <= now {
            self.originate_soon(now);
        }
        self.give_up_lost(now);
        self.advance(now);
    }

    /// When time alone makes the router do something.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lost = self.lost.values().min().map(|since| *since + self.options.unreachable_after);
        let transmit = self.waiting.first().map(|(at, _)| *at);
        let always = [Some(self.tick_at), Some(self.refresh_at)];
        let times = [self.originate_at, self.compute_at, lost, transmit].into_iter().chain(always);
        times.flatten().min()
    }

    /// The next link state message, and the neighbour for whom it is.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(NodeId, Bytes)> {
        loop {
            let (at, id) = *self.waiting.first()?;
            // Who leaves has no later.
            if at > now && !self.is_leaving {
                return None;
            }
            self.waiting.pop_first();
            let message = self.transmit_to(now, id);
            let neighbour = self.neighbours.get_mut(&id)?;
            neighbour.is_waiting = false;
            if let Some(message) = message {
                neighbour.ready_at = now + TRANSMIT_INTERVAL;
                if neighbour.has_something() {
                    neighbour.wait(id, &mut self.waiting);
                }
                return Some((id, message));
            }
        }
    }

    fn transmit_to(&mut self, now: Instant, id: NodeId) -> Option<Bytes> {
        let summary = self.neighbours.get(&id)?.is_summary_due.then(|| self.summary());
        let neighbour = self.neighbours.get_mut(&id)?;
        if !neighbour.has_something() {
            return None;
        }
        if !neighbour.pending.is_empty() {
            return Some(self.records_for(now, id));
        }
        if let Some(due) = neighbour.digest.take() {
            let versions = self.entries.range(due.from..).map(|(id, entry)| (*id, entry.record.version()));
            let (message, next) = encode_digest(due.is_answer_wanted, due.from, versions);
            // One answer is enough, whatever the number of messages.
            neighbour.digest = next.map(|from| DigestDue { from, is_answer_wanted: false });
            self.statistics.digests_sent += 1;
            return Some(message);
        }
        neighbour.is_summary_due = false;
        summary.map(Summary::encode)
    }

    fn records_for(&mut self, now: Instant, id: NodeId) -> Bytes {
        let mut writer = RecordsWriter::new();
        if let Some(neighbour) = self.neighbours.get_mut(&id) {
            while let Some(node) = neighbour.pending.first().copied() {
                if let Some(entry) = self.entries.get(&node) {
                    let age = MAX_AGE.saturating_sub(entry.expires_at.saturating_duration_since(now));
                    if !writer.push(u32::try_from(age.as_secs()).unwrap_or(u32::MAX), &entry.record.raw) {
                        break;
                    }
                    self.statistics.records_sent += 1;
                }
                neighbour.pending.remove(&node);
            }
        }
        writer.finish()
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<RouterEvent> {
        self.events.pop_front()
    }

    /// Changes what this node tells of itself; what is more than [`MAX_INFO`] bytes is cut off.
    pub fn set_info(&mut self, now: Instant, mut info: Bytes) {
        info.truncate(MAX_INFO);
        if info != self.options.info {
            self.options.info = info;
            self.originate_soon(now);
            self.advance(now);
        }
    }

    /// Tells the mesh that this node goes: it is out of reach for everyone as soon as they hear. Drain
    /// [`poll_transmit`](Self::poll_transmit) once more, then close the connections.
    pub fn leave(&mut self, now: Instant) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.originate(now);
            self.compute_soon(now);
            self.advance(now);
        }
    }

    /// The ways to all nodes that can be reached.
    pub fn routes(&self) -> &Arc<Routes> {
        &self.routes
    }

    /// Everything known of a node, reachable or not.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.entries.get(&id).map(|entry| &entry.record.node)
    }

    /// All nodes known, this one included, reachable or not.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.entries.values().map(|entry| &entry.record.node)
    }

    /// Counters.
    pub fn statistics(&self) -> RouterStatistics {
        self.statistics
    }

    /// A little less than a time, by chance, so that nodes do not act in step.
    fn about(&mut self, time: Duration) -> Duration {
        self.options.seed = mix(self.options.seed);
        let eighths = u32::try_from(self.options.seed % 1024).unwrap_or_default();
        time - time / 8 * eighths / 1024
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        self.entries.iter().for_each(|(id, entry)| summary.add(*id, entry.record.version()));
        summary
    }

    fn links_changed(&mut self, now: Instant) {
        self.originate_soon(now);
        self.compute_soon(now);
    }

    fn originate_soon(&mut self, now: Instant) {
        let earliest = self.originated_at.map_or(now, |last| last + ORIGINATE_INTERVAL);
        self.originate_at.get_or_insert_with(|| earliest.max(now));
    }

    fn compute_soon(&mut self, now: Instant) {
        let earliest = self.computed_at.map_or(now, |last| last + ROUTES_INTERVAL);
        self.compute_at.get_or_insert_with(|| earliest.max(now));
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        if self.originate_at.is_some_and(|at| at <= now) {
            self.originate(now);
        }
        if self.compute_at.is_some_and(|at| at <= now) {
            self.compute(now);
        }
    }

    /// Says anew what this node is.
    fn originate(&mut self, now: Instant) {
        self.originate_at = None;
        self.originated_at = Some(now);
        self.refresh_at = now + self.about(REFRESH_INTERVAL);
        // What a broken node claims that this one has said may be the last number there is.
        self.sequence = self.sequence.saturating_add(1);
        self.statistics.records_originated += 1;
        let links = self.neighbours.iter().filter(|(id, _)| !self.is_reborn(**id));
        let links = links.map(|(id, neighbour)| (*id, neighbour.cost()));
        let node = Node {
            id: self.id,
            name: self.options.node.as_str().into(),
            incarnation: self.options.incarnation,
            shards: self.options.shards,
            info: self.options.info.clone(),
            links: if self.is_leaving { Arc::default() } else { links.collect() },
            is_leaving: self.is_leaving,
        };
        let record = Record::new(node, self.sequence);
        self.accept(now, None, Entry { record, expires_at: now + MAX_AGE });
    }

    fn forget_old(&mut self, now: Instant) {
        let (own, before) = (self.id, self.entries.len());
        self.entries.retain(|id, entry| *id == own || entry.expires_at > now);
        if self.entries.len() < before {
            self.compute_soon(now);
        }
    }

    fn compute(&mut self, now: Instant) {
        self.compute_at = None;
        self.computed_at = Some(now);
        self.statistics.routes_computed += 1;
        let own: Vec<(NodeId, u32)> = self.own_links();
        let all: Vec<_> = self.entries.iter().map(|(id, entry)| (*id, self.links_of(*id, entry))).collect();
        let nodes: Vec<_> =
            all.iter().map(|(id, links)| (*id, if *id == self.id { &own[..] } else { links })).collect();
        let routes = shortest_paths(self.id, &nodes);
        if routes != *self.routes {
            self.routes = Arc::new(routes);
            self.events.push_back(RouterEvent::RoutesChanged);
        }
        self.note_reachable(now);
    }

    /// The links that a node has told of; none of a life that is over.
    fn links_of(&self, id: NodeId, entry: &Entry) -> Arc<[(NodeId, u32)]> {
        if self.is_reborn(id) { Arc::default() } else { entry.record.node.links.clone() }
    }

    /// The links of this node as they are, not as they were last told; those to a node's former life do
    /// not count, nor any once this node goes.
    fn own_links(&self) -> Vec<(NodeId, u32)> {
        let current = self.neighbours.iter().filter(|(id, neighbour)| {
            let entry = self.entries.get(id);
            entry.is_some_and(|entry| entry.record.node.incarnation == neighbour.incarnation)
        });
        let links = current.map(|(id, neighbour)| (*id, neighbour.cost()));
        links.filter(|_| !self.is_leaving).collect()
    }

    /// Compares who can be reached with what the owner knows.
    fn note_reachable(&mut self, now: Instant) {
        for index in 0..self.routes.routes.len() {
            let id = self.routes.routes.get(index).map(|route| route.node);
            let Some(node) = id.and_then(|id| self.entries.get(&id)).map(|entry| entry.record.node.clone())
            else {
                continue;
            };
            self.lost.remove(&node.id);
            match self.up.get(&node.id) {
                Some(known) if known.incarnation == node.incarnation => self.note_changes(&node),
                known => {
                    if let Some(known) = known {
                        let (node, incarnation) = (known.id, known.incarnation);
                        self.events.push_back(RouterEvent::NodeDown { node, incarnation });
                    }
                    self.up.insert(node.id, node.clone());
                    self.events.push_back(RouterEvent::NodeUp(node));
                }
            }
        }
        let unreachable = self.up.keys().filter(|id| self.routes.get(**id).is_none());
        for id in unreachable.copied().collect::<Vec<_>>() {
            self.lost.entry(id).or_insert(now);
        }
        self.give_up_lost(now);
    }

    /// A node that is up may have something else to say of itself.
    fn note_changes(&mut self, node: &Arc<Node>) {
        let Some(known) = self.up.get_mut(&node.id) else { return };
        if known.incarnation != node.incarnation {
            return;
        }
        let is_same = known.info == node.info && known.shards == node.shards;
        *known = node.clone();
        if !is_same {
            self.events.push_back(RouterEvent::NodeChanged(node.clone()));
        }
    }

    /// Ends the wait for nodes that have been out of reach for too long, or will not come back.
    fn give_up_lost(&mut self, now: Instant) {
        let has_ended = |id: &NodeId, since: &Instant| {
            let entry = self.entries.get(id);
            let is_gone = entry.is_none_or(|entry| entry.record.node.is_leaving);
            is_gone || *since + self.options.unreachable_after <= now
        };
        let ended: Vec<NodeId> =
            self.lost.iter().filter(|(id, since)| has_ended(id, since)).map(|(id, _)| *id).collect();
        for id in ended {
            self.lost.remove(&id);
            if let Some(node) = self.up.remove(&id) {
                let incarnation = node.incarnation;
                self.events.push_back(RouterEvent::NodeDown { node: id, incarnation });
            }
        }
    }
}

/// Whether a node names a link to another.
fn names(node: &Node, other: NodeId) -> bool {
    node.links.binary_search_by_key(&other, |(id, _)| *id).is_ok()
}
