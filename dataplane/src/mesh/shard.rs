//! What a shard does for the mesh: its connections to neighbours, its channels to the shards of other nodes,
//! and the segments that it passes on.
//!
//! To the core a shard of another node is one more peer. What the core has to say to it is encoded into the
//! channel at once; the channel's segments leave where mail leaves for the shards of this node: before any
//! client's socket is written. What comes from other nodes is mail, too: it is taken when the socket of the
//! connection is looked at, and the mailbox before it.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes};
use mq_core::{Core, NodeShards, OF_CORE, PeerMessage, PeerOptions, Run, ShardId};
use mq_mesh::frame::{Frame, Segment};
use mq_mesh::{
    CONTROL_SHARD, Channel, ChannelEvent, ChannelOptions, ConnectionKey, Endpoint, Epoch, Incarnation,
    Messages, Node, NodeId,
};
use tokio::io::AsyncReadExt;
use tracing::{debug, info, warn};

use super::fabric::{ControlMail, Fabric, Joined, MeshMail, Place, View};
use super::link::Link;
use crate::driver::{READ_SIZE, READS_PER_TURN, Shard};
use crate::selector::Selectors;
use crate::shard::Handle;

/// How often, in a heartbeat's time, connections are looked at.
const LOOKS: u32 = 4;

/// Rounds of filling and writing connections in one turn before the others get theirs.
const ROUNDS_PER_TURN: usize = 8;

/// The first byte of a message between the ends of tunnels; of one between cores it is [`OF_CORE`].
const OF_TUNNELS: u8 = 2;

/// A channel to a shard of another node.
#[derive(Debug)]
struct Line {
    channel: Channel,
    /// Over which connection its segments leave; `None`: there is none, and nothing leaves.
    path: Option<Place>,
    /// The node is up: its time counts.
    is_up: bool,
    is_dirty: bool,
    /// Segments that were sent again, as far as that has been counted.
    retransmitted: u64,
}

/// What a shard of a node that belongs to a fleet has.
#[derive(Debug)]
pub(crate) struct ShardMesh {
    /// Which of the node's shards this is.
    here: u16,
    fabric: Arc<Fabric>,
    view: Arc<View>,
    links: BTreeMap<ConnectionKey, Link>,
    lines: BTreeMap<ShardId, Line>,
    /// The lines by the endpoint of the other node.
    by_endpoint: BTreeMap<Endpoint, ShardId>,
    /// Lines that may have segments to send, and connections that may have bytes to write.
    dirty_lines: Vec<ShardId>,
    dirty_links: Vec<ConnectionKey>,
    /// Connections that nobody reads yet.
    unserved: Vec<ConnectionKey>,
    /// Lines that had more to send than their connections took.
    held_up: Vec<ShardId>,
    /// Lines whose channels have ended while something was said.
    ended: Vec<ShardId>,
    /// What tunnels say; it follows what the core says in the same turn.
    tunnelled: Vec<(ShardId, Bytes)>,
    /// Not later than the first timer of any line.
    deadline: Option<Instant>,
    next_look: Instant,
}

impl ShardMesh {
    pub(crate) fn new(here: u16, fabric: Arc<Fabric>, now: Instant) -> Self {
        Self {
            here,
            fabric,
            view: Arc::default(),
            links: BTreeMap::new(),
            lines: BTreeMap::new(),
            by_endpoint: BTreeMap::new(),
            dirty_lines: Vec::new(),
            dirty_links: Vec::new(),
            unserved: Vec::new(),
            held_up: Vec::new(),
            ended: Vec::new(),
            tunnelled: Vec::new(),
            deadline: None,
            next_look: now,
        }
    }

    /// When the mesh has to be looked at.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let look = (!self.links.is_empty()).then_some(self.next_look);
        look.into_iter().chain(self.deadline).min()
    }

    /// The connections that nobody reads yet.
    pub(crate) fn take_unserved(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.unserved)
    }

    fn mark_line(&mut self, peer: ShardId) {
        if let Some(line) = self.lines.get_mut(&peer)
            && !line.is_dirty
        {
            line.is_dirty = true;
            self.dirty_lines.push(peer);
        }
    }

    fn mark_link(&mut self, key: ConnectionKey) {
        if let Some(link) = self.links.get_mut(&key)
            && !link.is_dirty
        {
            link.is_dirty = true;
            self.dirty_links.push(key);
        }
    }

    /// Encodes what the core says to a shard of another node.
    fn say(&mut self, now: Instant, core: &Core, peer: ShardId, message: &PeerMessage) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        if !line.channel.is_open() {
            // The core is about to hear that the channel has ended.
            return;
        }
        let context = core.wire_context(now, peer, &*self.fabric);
        let sent = line.channel.send_with(|out| -> Result<Bytes, Box<dyn Error>> {
            out.put_u8(OF_CORE);
            Ok(message.encode(&context, out)?)
        });
        if let Err(error) = sent {
            // What is left out would be missed: both ends begin anew.
            warn!(node = %line.channel.remote(), %error, "cannot send to a shard of another node");
            line.channel.reset(now);
        }
        self.note_said(peer);
    }

    /// Sends what the core has encoded for a shard of another node.
    fn say_run(&mut self, now: Instant, peer: ShardId, run: Run) {
        let Some(line) = self.lines.get_mut(&peer).filter(|line| line.channel.is_open()) else { return };
        let count = run.messages();
        if let Err(error) = line.channel.send_run(run.into_bytes(), count) {
            warn!(node = %line.channel.remote(), %error, "cannot send to a shard of another node");
            line.channel.reset(now);
        }
        self.note_said(peer);
    }

    /// Something was said to a shard of another node: it is to be sent, or has ended its channel.
    fn note_said(&mut self, peer: ShardId) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        if !line.channel.is_open() {
            self.ended.push(peer);
        }
        if !line.is_dirty {
            line.is_dirty = true;
            self.dirty_lines.push(peer);
        }
    }

    /// Hands what tunnels say to their channels. Where one has ended, so have its tunnels.
    fn say_tunnelled(&mut self, now: Instant) {
        for (peer, message) in self.tunnelled.drain(..) {
            let Some(line) = self.lines.get_mut(&peer).filter(|line| line.channel.is_open()) else {
                continue;
            };
            if let Err(error) = line.channel.send(Buf::chain(&[OF_TUNNELS][..], message)) {
                warn!(node = %line.channel.remote(), %error, "cannot send to a shard of another node");
                line.channel.reset(now);
            }
            if !line.channel.is_open() {
                self.ended.push(peer);
            }
            if !line.is_dirty {
                line.is_dirty = true;
                self.dirty_lines.push(peer);
            }
        }
    }

    /// Queues the segments of lines that have some, as long as their connections take them.
    fn transmit_lines(&mut self, now: Instant) {
        let mut dirty = std::mem::take(&mut self.dirty_lines);
        for peer in dirty.drain(..) {
            self.transmit_line(now, peer);
        }
        dirty.append(&mut self.dirty_lines);
        self.dirty_lines = dirty;
    }

    fn transmit_line(&mut self, now: Instant, peer: ShardId) {
        let Some(line) = self.lines.get_mut(&peer) else { return };
        line.is_dirty = false;
        let Some(place) = line.path.filter(|_| line.is_up) else { return };
        let is_own = place.here == self.here;
        if is_own && !self.links.contains_key(&place.connection) {
            // It has just been lost: there will be another path, or none.
            return;
        }
        // What may be under way bounds how many there are.
        loop {
            if let Some(link) = self.links.get(&place.connection)
                && !link.has_room()
            {
                if !self.held_up.contains(&peer) {
                    self.held_up.push(peer);
                }
                break;
            }
            let Some(segment) = line.channel.poll_transmit(now) else { break };
            if is_own {
                if let Some(link) = self.links.get_mut(&place.connection) {
                    link.push_segment(&segment);
                    if !link.is_dirty {
                        link.is_dirty = true;
                        self.dirty_links.push(place.connection);
                    }
                }
            } else {
                let mail = MeshMail::Forward { connection: place.connection, segment };
                self.fabric.post(place.here, mail);
            }
        }
        if let Some(timeout) = line.channel.poll_timeout() {
            self.deadline = Some(self.deadline.map_or(timeout, |deadline| deadline.min(timeout)));
        }
    }

    /// Writes the connections that have something to write.
    fn flush_links(&mut self, now: Instant) {
        while let Some(key) = self.dirty_links.pop() {
            if let Some(link) = self.links.get_mut(&key) {
                link.flush(now);
            }
        }
    }

    /// Lets lines go on that waited for room on their connections, where there is some now.
    fn resume_lines(&mut self) {
        let mut waiting = std::mem::take(&mut self.held_up);
        waiting.retain(|peer| {
            let path = self.lines.get(peer).and_then(|line| line.path);
            let link = path.and_then(|path| self.links.get(&path.connection));
            let is_waiting = link.is_some_and(|link| !link.has_room());
            if !is_waiting {
                self.mark_line(*peer);
            }
            is_waiting
        });
        waiting.append(&mut self.held_up);
        self.held_up = waiting;
    }

    /// Sends what there is to send. What is more than a turn may send goes on in one of its own.
    fn send_all(&mut self, now: Instant) {
        for _ in 0..ROUNDS_PER_TURN {
            if self.dirty_lines.is_empty() && self.dirty_links.is_empty() {
                break;
            }
            self.transmit_lines(now);
            self.flush_links(now);
            if !self.held_up.is_empty() {
                self.resume_lines();
            }
        }
        let left = self.dirty_lines.first().and_then(|peer| self.lines.get(peer)?.path);
        if let Some(link) = left.and_then(|path| self.links.get(&path.connection)) {
            link.waker.wake_by_ref();
        }
    }

    /// Passes a segment on, or drops it: its channel notices.
    fn forward(&mut self, key: ConnectionKey, segment: &Segment) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !link.has_room() {
            link.traffic.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        link.push_segment(segment);
        self.mark_link(key);
    }

    /// Sends a segment of another node's channel on its way.
    fn route(&mut self, here: u16, mut segment: Segment) {
        if !segment.take_hop() {
            return;
        }
        let Some(place) = self.view.path(Some(here), segment.destination) else { return };
        if place.here == here {
            self.forward(place.connection, &segment);
        } else {
            self.fabric.post(place.here, MeshMail::Forward { connection: place.connection, segment });
        }
    }

    /// Looks at the connections: says that we live, and notices who does not.
    fn look_at_links(&mut self, now: Instant) {
        let micros = self.fabric.micros(now);
        let mut spoke = Vec::new();
        for (key, link) in &mut self.links {
            if now.saturating_duration_since(link.said_at()) >= self.fabric.heartbeat
                && !link.wants_write
                && !link.is_leaving
            {
                link.push_heartbeat(now, micros);
                spoke.push(*key);
            }
            if now.saturating_duration_since(link.heard_at) >= self.fabric.timeout {
                // It may be this thread that has slept: what waits in the socket counts as heard.
                link.is_suspect = true;
                link.waker.wake_by_ref();
            }
        }
        for key in spoke {
            self.mark_link(key);
        }
        for line in self.lines.values_mut() {
            let retransmitted = line.channel.statistics().segments_retransmitted;
            let more = retransmitted - std::mem::replace(&mut line.retransmitted, retransmitted);
            if more > 0 {
                let traffic = self.fabric.traffic(line.channel.remote().node);
                traffic.retransmitted.fetch_add(more, Ordering::Relaxed);
            }
        }
        self.next_look = now + self.fabric.heartbeat / LOOKS;
    }

    /// Fires the timers of the lines.
    fn handle_line_timeouts(&mut self, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let due = |line: &Line| line.is_up && line.channel.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<ShardId> =
            self.lines.iter().filter(|(_, line)| due(line)).map(|(peer, _)| *peer).collect();
        for peer in due {
            if let Some(line) = self.lines.get_mut(&peer) {
                line.channel.handle_timeout(now);
            }
            self.mark_line(peer);
        }
        let timeouts = self.lines.values().filter(|line| line.is_up);
        self.deadline = timeouts.filter_map(|line| line.channel.poll_timeout()).min();
    }

    /// The line to a shard of a node, which is made when there is none.
    fn line(&mut self, now: Instant, here: u16, peer: ShardId, remote: Endpoint) -> &mut Line {
        self.by_endpoint.insert(remote, peer);
        self.lines.entry(peer).or_insert_with(|| {
            let local = Endpoint { node: self.fabric.id(), shard: here };
            // Lines are never forgotten, so each has its first generation once.
            let epoch = Epoch { incarnation: self.fabric.incarnation(), generation: 1 };
            let channel = Channel::new(now, local, remote, epoch, ChannelOptions::default());
            Line { channel, path: None, is_up: false, is_dirty: false, retransmitted: 0 }
        })
    }
}

/// The task of a connection to a neighbour: each poll is a turn.
struct ServeLink {
    handle: Handle,
    key: ConnectionKey,
}

impl Future for ServeLink {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.handle.shard.borrow_mut().poll_link(self.key, context)
    }
}

/// Begins to serve the connections that have come with the mail.
pub(crate) fn serve_links(handle: &Handle) {
    let unserved = handle.shard.borrow_mut().mesh.as_mut().map(|mesh| mesh.take_unserved());
    for key in unserved.into_iter().flatten() {
        tokio::task::spawn_local(ServeLink { handle: handle.clone(), key });
    }
}

impl Shard {
    // ---- mail -------------------------------------------------------------------------------------

    /// Mail of the control thread, and of shards that a segment came to which is not theirs.
    pub(crate) fn take_mesh_mail(&mut self, now: Instant, mail: MeshMail) {
        let here = self.id.shard();
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        match mail {
            MeshMail::Join(joined) => self.join(now, *joined),
            MeshMail::View(view) => self.take_view(now, view),
            MeshMail::Segment(segment) => self.take_segment(now, segment),
            MeshMail::Forward { connection, segment } => mesh.forward(connection, &segment),
            MeshMail::LinkState { connection, message } => {
                if let Some(link) = mesh.links.get_mut(&connection) {
                    link.push_link_state(&message);
                    mesh.mark_link(connection);
                }
            }
            MeshMail::Close { connection } => {
                if let Some(link) = mesh.links.get_mut(&connection) {
                    link.say_goodbye(now);
                }
            }
            MeshMail::Leave => {
                debug!(shard = here, "leaving the mesh");
                mesh.transmit_lines(now);
                for link in mesh.links.values_mut() {
                    link.say_goodbye(now);
                }
            }
            MeshMail::Session(event) => self.handle_session_event(now, event),
            MeshMail::SessionsKnown => self.handle_sessions_known(now),
            MeshMail::SessionSettled => self.let_held_go_on(),
        }
    }

    /// Nothing is left here of a queue whose home is on another node from now on.
    pub(crate) fn tell_emptied(&self, address: Arc<str>) {
        if let Some(mesh) = &self.mesh {
            mesh.fabric.tell(ControlMail::Emptied { address });
        }
    }

    fn join(&mut self, now: Instant, joined: Joined) {
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let key = joined.key;
        match Link::new(now, joined) {
            Ok(link) => {
                info!(node = %link.name, connection = key.0, shard = self.id.shard(), "connected to a node");
                mesh.links.insert(key, link);
                mesh.unserved.push(key);
                mesh.next_look = mesh.next_look.min(now);
            }
            Err(error) => {
                let reason = format!("cannot serve the connection: {error}");
                mesh.fabric.tell(ControlMail::Lost { connection: key, reason });
            }
        }
    }

    // ---- nodes that come and go -------------------------------------------------------------------

    fn take_view(&mut self, now: Instant, view: Arc<View>) {
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let old = std::mem::replace(&mut mesh.view, view.clone());
        let later = |id: &NodeId| view.nodes.get(id).map(|node| node.incarnation);
        for (id, node) in &old.nodes {
            let later = later(id);
            if later != Some(node.incarnation) {
                self.node_down(now, *id, later);
            }
        }
        for (id, node) in &view.nodes {
            if old.nodes.get(id).is_none_or(|old| old.incarnation != node.incarnation) {
                self.node_up(now, node);
            }
        }
        let have_routes_changed = !Arc::ptr_eq(&old.routes, &view.routes);
        self.choose_paths(now, &view, have_routes_changed);
    }

    fn node_up(&mut self, now: Instant, node: &Arc<Node>) {
        let here = self.id.shard();
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let Some(slot) = mesh.fabric.slot(node.id) else {
            return warn!(node = %node.name, "there is no room for another node");
        };
        let shards = node.shards.min(ShardId::MAX_SHARDS);
        for shard in 0..shards {
            let remote = Endpoint { node: node.id, shard };
            mesh.line(now, here, ShardId::new(slot, shard), remote).is_up = true;
        }
        self.core.set_node(now, slot, Some(NodeShards { shards, name: node.name.clone() }));
    }

    /// A node is gone, or lives anew: then channels that speak with its new life go on.
    fn node_down(&mut self, now: Instant, node: NodeId, later: Option<Incarnation>) {
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let Some(slot) = mesh.fabric.slot(node) else { return };
        let peers = ShardId::new(slot, 0)..=ShardId::new(slot, ShardId::MAX_SHARDS - 1);
        let mut ended = Vec::new();
        for (peer, line) in mesh.lines.range_mut(peers).filter(|(_, line)| line.is_up) {
            if later.is_some() && line.channel.remote_incarnation() == later {
                continue;
            }
            line.is_up = false;
            line.path = None;
            line.channel.reset(now);
            ended.push(*peer);
        }
        for peer in ended {
            self.take_events(now, peer);
        }
        self.core.set_node(now, slot, None);
        self.run_effects(now);
    }

    fn choose_paths(&mut self, now: Instant, view: &View, have_routes_changed: bool) {
        let here = self.id.shard();
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let mut costs = Vec::new();
        let mut moved = Vec::new();
        for (peer, line) in mesh.lines.iter_mut().filter(|(_, line)| line.is_up) {
            let remote = line.channel.remote();
            let path = view.path(Some(here), remote);
            // A path may also be another one behind its first connection.
            if path != line.path || have_routes_changed {
                line.path = path;
                line.channel.handle_path_changed(now);
                moved.push(*peer);
            }
            if line.channel.is_open()
                && let Some(cost) = view.cost(remote.node)
            {
                costs.push((*peer, cost));
            }
        }
        for peer in moved {
            mesh.mark_line(peer);
        }
        for (peer, cost) in costs {
            self.core.set_peer_cost(now, peer, cost);
        }
    }

    // ---- what comes in --------------------------------------------------------------------------

    fn poll_link(&mut self, key: ConnectionKey, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let Some(mesh) = self.mesh.as_deref_mut() else { return Poll::Ready(()) };
        let Some(link) = mesh.links.get_mut(&key) else { return Poll::Ready(()) };
        link.waker.clone_from(context.waker());
        if link.wants_write && link.stream.poll_write_ready(context).is_ready() {
            link.wants_write = false;
            link.flush(now);
            mesh.resume_lines();
        }
        self.read_link(now, key, context);
        self.finish_turn(now);
        let Some(mesh) = self.mesh.as_deref_mut() else { return Poll::Ready(()) };
        if mesh.links.get(&key).is_none_or(|link| link.end.is_none()) {
            return Poll::Pending;
        }
        if let Some(link) = mesh.links.remove(&key) {
            let reason = link.end.unwrap_or_default();
            info!(node = %link.name, connection = key.0, reason, "lost a connection to a node");
            mesh.fabric.tell(ControlMail::Lost { connection: key, reason });
        }
        Poll::Ready(())
    }

    /// Reads until the socket is dry or the turn is over.
    fn read_link(&mut self, now: Instant, key: ConnectionKey, context: &mut Context<'_>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        // What came behind the greeting.
        self.take_frames(now, key);
        for reads in 0.. {
            let Some(link) = self.mesh.as_deref_mut().and_then(|mesh| mesh.links.get_mut(&key)) else {
                break;
            };
            if link.end.is_some() {
                break;
            }
            if reads == READS_PER_TURN {
                link.waker.wake_by_ref();
                break;
            }
            buffer.clear();
            buffer.reserve(READ_SIZE);
            match pin!(link.stream.read_buf(&mut buffer)).poll(context) {
                Poll::Pending => {
                    if link.is_suspect {
                        let silent = now.saturating_duration_since(link.heard_at).as_millis();
                        link.finish(format!("nothing has come for {silent} ms"));
                    }
                    break;
                }
                Poll::Ready(Ok(0)) => link.finish("the other node closed it".to_owned()),
                Poll::Ready(Ok(count)) => {
                    link.heard_at = now;
                    link.is_suspect = false;
                    link.traffic.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
                    match link.secured.receive(&buffer, &mut link.input) {
                        Ok(false) => {}
                        Ok(true) => link.finish("the other node closed it".to_owned()),
                        Err(error) => link.finish(format!("TLS failed: {error}")),
                    }
                    // Between reading and serving: who sent this may have heard of what waits.
                    self.take_waiting_mail(now);
                    self.take_frames(now, key);
                }
                Poll::Ready(Err(error)) => link.finish(format!("reading failed: {error}")),
            }
        }
        buffer.clear();
        self.buffer = buffer;
    }

    /// Serves the frames that are whole.
    fn take_frames(&mut self, now: Instant, key: ConnectionKey) {
        let link = self.mesh.as_deref_mut().and_then(|mesh| mesh.links.get_mut(&key));
        let Some(link) = link.filter(|link| !link.input.is_empty()) else { return };
        let mut input = std::mem::take(&mut link.input);
        let mut reader = std::mem::take(&mut link.reader);
        let failure = loop {
            match reader.read(&mut input) {
                Ok(Some(frame)) => self.take_frame(now, key, frame),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let Some(link) = self.mesh.as_deref_mut().and_then(|mesh| mesh.links.get_mut(&key)) else { return };
        link.input = input;
        link.reader = reader;
        if let Some(error) = failure {
            link.finish(error.to_string());
        }
    }

    fn take_frame(&mut self, now: Instant, key: ConnectionKey, frame: Frame) {
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        let Some(link) = mesh.links.get_mut(&key) else { return };
        link.traffic.frames_in.fetch_add(1, Ordering::Relaxed);
        match frame {
            Frame::Segment(segment) => self.take_segment(now, segment),
            Frame::Heartbeat(heartbeat) => link.take_heartbeat(now, mesh.fabric.micros(now), &heartbeat),
            Frame::LinkState(message) => {
                // A copy: the control thread takes it when it likes, and this is a slice of what was read.
                let message = Bytes::copy_from_slice(&message);
                let from = link.neighbour;
                mesh.fabric.tell(ControlMail::LinkState { connection: key, from, message });
            }
            // The reader takes none but the first, which was taken when the connection was greeted.
            Frame::Hello(_) => {}
        }
    }

    fn take_segment(&mut self, now: Instant, segment: Segment) {
        let here = self.id.shard();
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        if segment.destination.node != mesh.fabric.id() {
            return mesh.route(here, segment);
        }
        match segment.destination.shard {
            shard if shard == here => {
                let Some(peer) = mesh.by_endpoint.get(&segment.source).copied() else { return };
                let Some(line) = mesh.lines.get_mut(&peer).filter(|line| line.is_up) else { return };
                line.channel.handle_segment(now, segment);
                mesh.mark_line(peer);
                self.take_events(now, peer);
            }
            CONTROL_SHARD => mesh.fabric.tell_segment(segment),
            shard => mesh.fabric.post(shard, MeshMail::Segment(segment)),
        }
    }

    /// Gives the core what a channel has brought.
    fn take_events(&mut self, now: Instant, peer: ShardId) {
        loop {
            let line = self.mesh.as_deref_mut().and_then(|mesh| mesh.lines.get_mut(&peer));
            let Some(channel) = line.map(|line| &mut line.channel) else { return };
            if let Some(messages) = channel.poll_run() {
                self.take_run(now, peer, messages);
                continue;
            }
            let Some(event) = channel.poll_event() else { return };
            match event {
                ChannelEvent::Message(message) => {
                    self.take_message(now, peer, message);
                }
                ChannelEvent::Opened { .. } => {
                    let cost = self
                        .mesh
                        .as_deref()
                        .and_then(|mesh| mesh.view.cost(mesh.lines.get(&peer)?.channel.remote().node));
                    debug!(peer = peer.0, "a channel has opened");
                    self.core.add_peer(now, peer, PeerOptions { cost: cost.unwrap_or(1) });
                    self.homes_are_back(now);
                    self.let_held_go_on();
                }
                ChannelEvent::Reset(reason) => {
                    debug!(peer = peer.0, %reason, "a channel has ended");
                    self.core.handle_peer_gone(now, peer);
                    self.tunnels_lost(peer);
                }
            }
            self.run_prompt_effects(now);
        }
    }

    /// Takes messages that came together, until one of them, or what follows from it, ends the channel.
    fn take_run(&mut self, now: Instant, peer: ShardId, messages: Messages) {
        for message in messages {
            let is_understood = self.take_message(now, peer, message);
            self.run_prompt_effects(now);
            if !is_understood || self.has_just_ended(peer) {
                break;
            }
        }
    }

    /// Whether the channel to a shard has ended because of what was said to it, and has not begun anew.
    fn has_just_ended(&self, peer: ShardId) -> bool {
        let Some(mesh) = self.mesh.as_deref().filter(|mesh| !mesh.ended.is_empty()) else { return false };
        mesh.lines.get(&peer).is_none_or(|line| !line.channel.is_open())
    }

    /// Takes a message; false when it cannot be understood, which ends the channel.
    fn take_message(&mut self, now: Instant, peer: ShardId, mut message: Bytes) -> bool {
        let taken = match message.try_get_u8() {
            Ok(OF_CORE) => self.take_core_message(now, peer, message),
            Ok(OF_TUNNELS) => self.handle_tunnel(now, peer, message).map_err(|error| error.to_string()),
            Ok(kind) => Err(format!("a message is of kind {kind}, which is none")),
            Err(_) => Err("a message is empty".to_owned()),
        };
        let Err(error) = taken else { return true };
        let Some(mesh) = self.mesh.as_deref_mut() else { return false };
        let Some(line) = mesh.lines.get_mut(&peer) else { return false };
        warn!(node = %line.channel.remote(), %error, "cannot understand a shard of another node");
        line.channel.refuse(now, "something that this node does not understand");
        mesh.mark_line(peer);
        false
    }

    fn take_core_message(&mut self, now: Instant, peer: ShardId, message: Bytes) -> Result<(), String> {
        let Some(mesh) = self.mesh.as_deref() else { return Ok(()) };
        let taken = self.core.handle_encoded(now, peer, message, &*mesh.fabric, &Selectors);
        taken.map_err(|error| error.to_string())
    }

    // ---- what goes out ----------------------------------------------------------------------------

    /// Bytes that a channel has not carried yet.
    pub(crate) fn backlog_to(&self, peer: ShardId) -> usize {
        let line = self.mesh.as_deref().and_then(|mesh| mesh.lines.get(&peer));
        line.map_or(0, |line| line.channel.backlog())
    }

    /// The shard of another node that is the home of a client's session there, if it can be spoken with.
    pub(crate) fn session_home(&self, node: NodeId, client: &str) -> Option<ShardId> {
        let mesh = self.mesh.as_deref()?;
        let shards = mesh.view.nodes.get(&node)?.shards;
        let peer = ShardId::new(mesh.fabric.slot(node)?, mq_core::home(client, shards).shard());
        mesh.lines.get(&peer).is_some_and(|line| line.is_up && line.channel.is_open()).then_some(peer)
    }

    /// What the core says to a shard of another node.
    pub(crate) fn say_to_node(&mut self, now: Instant, peer: ShardId, message: &PeerMessage) {
        if let Some(mesh) = self.mesh.as_deref_mut() {
            mesh.say(now, &self.core, peer, message);
        }
    }

    /// What the core has encoded for a shard of another node.
    pub(crate) fn say_run_to_node(&mut self, now: Instant, peer: ShardId, run: Run) {
        if let Some(mesh) = self.mesh.as_deref_mut() {
            mesh.say_run(now, peer, run);
        }
    }

    /// Says something of a tunnel to the shard at its other end, behind what the core says in this turn.
    pub(crate) fn send_tunnel(&mut self, to: ShardId, message: Bytes) {
        if let Some(mesh) = self.mesh.as_deref_mut() {
            mesh.tunnelled.push((to, message));
        }
    }

    /// Sends what there is for other nodes. A channel that holds too much ends here.
    pub(crate) fn tell_nodes(&mut self, now: Instant) {
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        if !mesh.tunnelled.is_empty() {
            mesh.say_tunnelled(now);
        }
        mesh.send_all(now);
        if !mesh.ended.is_empty() {
            mesh.deadline = Some(now);
        }
    }

    /// Lets the core know of channels that have ended while something was said.
    pub(crate) fn take_ended(&mut self, now: Instant) {
        let ended = self.mesh.as_deref_mut().map(|mesh| std::mem::take(&mut mesh.ended)).unwrap_or_default();
        if ended.is_empty() {
            return;
        }
        for peer in ended {
            self.take_events(now, peer);
        }
        // What waited for the end of the turn has left already.
        self.run_effects(now);
    }

    /// Serves the timers of the mesh.
    pub(crate) fn handle_mesh_timeouts(&mut self, now: Instant) {
        self.take_ended(now);
        let Some(mesh) = self.mesh.as_deref_mut() else { return };
        if mesh.next_look <= now {
            mesh.look_at_links(now);
        }
        mesh.handle_line_timeouts(now);
        let dirty = mesh.dirty_lines.clone();
        for peer in dirty {
            self.take_events(now, peer);
        }
    }
}
