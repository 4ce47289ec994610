//! The control thread's part of the mesh: link state, the channels between control threads, and what the
//! shards are told of it all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use mq_core::ShardId;
use mq_mesh::frame::Segment;
use mq_mesh::{
    CONTROL_SHARD, Channel, ChannelEvent, ChannelOptions, ConnectionKey, Endpoint, Epoch, Incarnation, Node,
    NodeId, Refused, Router, RouterEvent, RouterOptions,
};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::fabric::{ControlMail, Fabric, Joined, MeshMail, Place, View};
use super::handshake::Greeted;
use super::info::Info;
use super::service::{NodeEvent, Service, Tag};

/// Mail that is taken before what came of it leaves.
const BATCH: usize = 256;

/// Segments of one channel that leave before the mail is looked at again.
const SEGMENTS: usize = 64;

/// A channel to the control thread of another node.
#[derive(Debug)]
struct Line {
    channel: Channel,
    path: Option<Place>,
    is_up: bool,
}

/// A connection, and what is known of it here.
#[derive(Clone, Copy, Debug)]
struct Connection {
    neighbour: NodeId,
    incarnation: Incarnation,
    place: Place,
}

/// Everything that the control thread keeps of the mesh.
pub(crate) struct Control {
    fabric: Arc<Fabric>,
    router: Router,
    connections: BTreeMap<ConnectionKey, Connection>,
    next_key: u64,
    lines: BTreeMap<NodeId, Line>,
    services: Vec<Service>,
    view: Arc<View>,
    /// The shards have not been told yet.
    is_stale: bool,
    /// Something may be known of nodes that was not known before.
    has_news: bool,
    info: Info,
    mail: mpsc::UnboundedReceiver<ControlMail>,
}

impl Control {
    /// A node that has no neighbours yet. `None` when there is one already.
    pub(crate) fn new(fabric: Arc<Fabric>, services: Vec<Service>, info: Info) -> Option<Self> {
        let mail = fabric.take_mail()?;
        let options = RouterOptions {
            info: info.encode(),
            seed: fastrand::u64(..),
            ..RouterOptions::new(fabric.fleet(), fabric.node(), fabric.incarnation(), fabric.shards())
        };
        let router = Router::new(Instant::now(), options);
        Some(Self {
            fabric,
            router,
            connections: BTreeMap::new(),
            next_key: 0,
            lines: BTreeMap::new(),
            services,
            view: Arc::default(),
            is_stale: false,
            has_news: true,
            info,
            mail,
        })
    }

    /// Runs until the node leaves: says so to everyone, closes every connection, and answers.
    pub(crate) async fn run(mut self, mut leave: oneshot::Receiver<oneshot::Sender<()>>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.poll_timeout();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            // Every branch can be cancelled without a loss.
            tokio::select! {
                _ = self.mail.recv_many(&mut batch, BATCH) => {}
                () = sleep => self.handle_timeouts(Instant::now()),
                left = &mut leave => {
                    self.leave(Instant::now());
                    self.closed().await;
                    if let Ok(reply) = left {
                        let _ = reply.send(());
                    }
                    return;
                }
            }
            let now = Instant::now();
            for mail in batch.drain(..) {
                self.take(now, mail);
            }
            self.finish(now);
        }
    }

    fn take(&mut self, now: Instant, mail: ControlMail) {
        self.has_news |= !matches!(mail, ControlMail::Segment(_) | ControlMail::Say { .. });
        match mail {
            ControlMail::Greeted { greeted, ended } => self.greet(now, *greeted, ended),
            ControlMail::Lost { connection, reason } => self.lose(now, connection, &reason),
            ControlMail::LinkState { connection, from, message } => {
                if let Err(error) = self.router.handle_link_state(now, from, message) {
                    warn!(%error, "closing a connection to a node that cannot be understood");
                    self.close(connection);
                }
            }
            ControlMail::Segment(segment) => self.take_segment(now, segment),
            ControlMail::Say { tag, to, message } => self.say(now, tag, to, &message),
            // What is left to send leaves at the end of the turn.
            ControlMail::Continue => {}
            ControlMail::Emptied { address } => self.tell_services(now, &NodeEvent::Emptied { address }),
            ControlMail::SetInfo { change } => {
                change(&mut self.info);
                self.router.set_info(now, self.info.encode());
                let (name, is_cordoned) = (self.fabric.node().into(), self.info.is_cordoned());
                self.tell_services(now, &NodeEvent::Cordoned { name, is_cordoned });
            }
        }
    }

    /// Carries out what has come of it all.
    fn finish(&mut self, now: Instant) {
        while let Some(event) = self.router.poll_event() {
            self.take_event(now, event);
        }
        if std::mem::take(&mut self.is_stale) {
            self.publish(now);
        }
        while let Some((neighbour, message)) = self.router.poll_transmit(now) {
            self.send_link_state(neighbour, message);
        }
        while let Some((to, message)) = self.fabric.poll_session_message() {
            self.say(now, Tag::Sessions, to, &message);
        }
        let lines: Vec<NodeId> = self.lines.keys().copied().collect();
        for node in lines {
            self.transmit(now, node);
        }
        if std::mem::take(&mut self.has_news) {
            self.fabric.note_nodes(self.router.nodes().cloned());
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let lines = self.lines.values().filter(|line| line.is_up);
        let sessions = self.fabric.session_timeout(Instant::now());
        let others = self.router.poll_timeout().into_iter().chain(sessions);
        lines.filter_map(|line| line.channel.poll_timeout()).chain(others).min()
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self.router.poll_timeout().is_some_and(|at| at <= now) {
            self.router.handle_timeout(now);
            self.has_news = true;
        }
        self.fabric.handle_session_timeout(now);
        let is_due = |line: &Line| line.is_up && line.channel.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<NodeId> =
            self.lines.iter().filter(|(_, line)| is_due(line)).map(|(node, _)| *node).collect();
        for node in due {
            if let Some(line) = self.lines.get_mut(&node) {
                line.channel.handle_timeout(now);
            }
            self.take_channel_events(now, node);
        }
    }

    // ---- connections ----------------------------------------------------------------------------

    fn greet(&mut self, now: Instant, greeted: Greeted, ended: Option<oneshot::Sender<()>>) {
        let Greeted { hello, own, peer, .. } = &greeted;
        if hello.shards == 0 || hello.shards > ShardId::MAX_SHARDS {
            return warn!(
                node = hello.node,
                shards = hello.shards,
                most = ShardId::MAX_SHARDS,
                "turned a node away: it has no shards, or too many; run it with fewer workers"
            );
        }
        self.next_key += 1;
        let key = ConnectionKey(self.next_key);
        if let Err(error) = self.router.neighbour_up(now, key, own.cost, hello) {
            // One with the name of this node has been turned away before.
            if matches!(error, Refused::Superseded { .. }) {
                self.fabric.note_namesake(&hello.node, now);
            }
            return warn!(%peer, %error, "turned a node away");
        }
        let (neighbour, incarnation) = (hello.id(), hello.incarnation);
        self.end_former_life(neighbour, incarnation);
        let place = Place { connection: key, here: own.shard, there: hello.shard };
        let traffic = self.fabric.traffic(neighbour);
        traffic.ups.fetch_add(1, Ordering::Relaxed);
        self.connections.insert(key, Connection { neighbour, incarnation, place });
        self.is_stale = true;
        self.fabric.post(place.here, MeshMail::Join(Box::new(Joined { key, greeted, traffic, ended })));
    }

    /// Connections to a former life of a neighbour lead nowhere, and nothing may be sent over them any more. Where
    /// that one still lives, it finds out that it has a namesake.
    fn end_former_life(&mut self, neighbour: NodeId, incarnation: Incarnation) {
        let is_former = |old: &Connection| old.neighbour == neighbour && old.incarnation < incarnation;
        let former = self.connections.iter().filter(|(_, old)| is_former(old)).map(|(key, _)| *key);
        for key in former.collect::<Vec<_>>() {
            self.close(key);
            self.connections.remove(&key);
            self.fabric.traffic(neighbour).downs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lose(&mut self, now: Instant, key: ConnectionKey, reason: &str) {
        let Some(connection) = self.connections.remove(&key) else { return };
        tracing::debug!(node = %connection.neighbour, connection = key.0, reason, "lost a connection");
        self.fabric.traffic(connection.neighbour).downs.fetch_add(1, Ordering::Relaxed);
        self.router.neighbour_down(now, key);
        self.is_stale = true;
    }

    fn close(&self, key: ConnectionKey) {
        if let Some(connection) = self.connections.get(&key) {
            self.fabric.post(connection.place.here, MeshMail::Close { connection: key });
        }
    }

    fn send_link_state(&self, neighbour: NodeId, message: Bytes) {
        // Always the first of them, so that what is newer never comes before what is older.
        let place = self.view.links.get(&neighbour).and_then(|places| places.first());
        if let Some(Place { connection, here, .. }) = place.copied() {
            self.fabric.post(here, MeshMail::LinkState { connection, message });
        }
    }

    // ---- nodes ------------------------------------------------------------------------------------

    fn take_event(&mut self, now: Instant, event: RouterEvent) {
        match event {
            RouterEvent::NodeUp(node) => {
                info!(node = %node.name, incarnation = node.incarnation.0, "a node can be reached");
                self.node_up(now, &node);
            }
            RouterEvent::NodeDown { node, incarnation } => {
                let known = self.router.node(node);
                let name = known.map_or_else(|| node.to_string().into(), |known| known.name.clone());
                info!(node = %name, "a node cannot be reached any more");
                self.node_down(now, node, incarnation);
            }
            RouterEvent::NodeChanged(node) => {
                self.tell_cordoned(now, &node);
                self.change_view(|view| {
                    // One that this node cannot speak with is not in it.
                    view.nodes.entry(node.id).and_modify(|known| *known = node);
                });
            }
            RouterEvent::RoutesChanged => self.is_stale = true,
            RouterEvent::Superseded { incarnation } => {
                self.fabric.note_namesake(self.fabric.node(), now);
                error!(
                    %incarnation,
                    "another node of this name has joined the fleet; stop one of them, or give it a name of its own"
                );
            }
        }
    }

    fn node_up(&mut self, now: Instant, node: &Arc<Node>) {
        if let Err(error) = Info::decode(&node.info).check_version() {
            return error!(node = %node.name, %error, "cannot speak with a node of the fleet");
        }
        let (id, fabric) = (node.id, &self.fabric);
        let line = self.lines.entry(id).or_insert_with(|| {
            let local = Endpoint { node: fabric.id(), shard: CONTROL_SHARD };
            let remote = Endpoint { node: id, shard: CONTROL_SHARD };
            // Lines are never forgotten, so each has its first generation once.
            let epoch = Epoch { incarnation: fabric.incarnation(), generation: 1 };
            let channel = Channel::new(now, local, remote, epoch, ChannelOptions::default());
            Line { channel, path: None, is_up: false }
        });
        line.is_up = true;
        self.tell_cordoned(now, node);
        self.change_view(|view| {
            view.nodes.insert(id, node.clone());
        });
    }

    fn node_down(&mut self, now: Instant, node: NodeId, incarnation: Incarnation) {
        if let Some(line) = self.lines.get_mut(&node) {
            line.is_up = false;
            line.path = None;
            // A channel that speaks with a later life of the node already goes on.
            if line.channel.remote_incarnation().is_none_or(|remote| remote <= incarnation) {
                line.channel.reset(now);
            }
        }
        self.take_channel_events(now, node);
        self.change_view(|view| {
            view.nodes.remove(&node);
        });
    }

    fn change_view(&mut self, change: impl FnOnce(&mut View)) {
        change(Arc::make_mut(&mut self.view));
        self.is_stale = true;
    }

    /// Tells the shards how things are, and chooses paths anew.
    fn publish(&mut self, now: Instant) {
        let mut links: BTreeMap<NodeId, Vec<Place>> = BTreeMap::new();
        for connection in self.connections.values() {
            links.entry(connection.neighbour).or_default().push(connection.place);
        }
        let routes = self.router.routes().clone();
        let have_routes_changed = !Arc::ptr_eq(&self.view.routes, &routes);
        self.view = Arc::new(View { routes, links, nodes: self.view.nodes.clone() });
        self.fabric.publish(&self.view);
        for line in self.lines.values_mut().filter(|line| line.is_up) {
            let path = self.view.path(None, line.channel.remote());
            // A path may also be another one behind its first connection.
            if path != line.path || have_routes_changed {
                line.path = path;
                line.channel.handle_path_changed(now);
            }
        }
    }

    // ---- channels -------------------------------------------------------------------------------

    fn take_segment(&mut self, now: Instant, segment: Segment) {
        self.fabric.segment_taken(segment.payload.len());
        let node = segment.source.node;
        if segment.source.shard != CONTROL_SHARD {
            return;
        }
        if let Some(line) = self.lines.get_mut(&node).filter(|line| line.is_up) {
            line.channel.handle_segment(now, segment);
            self.take_channel_events(now, node);
        }
    }

    fn take_channel_events(&mut self, now: Instant, node: NodeId) {
        let next = |control: &mut Self| control.lines.get_mut(&node)?.channel.poll_event();
        while let Some(event) = next(self) {
            match event {
                ChannelEvent::Opened { .. } => {
                    let name = self.router.node(node).map(|node| node.name.clone());
                    self.tell_services(now, &NodeEvent::Opened { node, name: name.unwrap_or_default() });
                }
                ChannelEvent::Reset(reason) => {
                    tracing::debug!(%node, %reason, "a channel between control threads has ended");
                    self.tell_services(now, &NodeEvent::Lost { node });
                }
                ChannelEvent::Message(message) => self.take_message(now, node, message),
            }
        }
    }

    fn take_message(&mut self, now: Instant, node: NodeId, mut message: Bytes) {
        let tag = if message.is_empty() { None } else { Tag::from_byte(message.get_u8()) };
        if tag == Some(Tag::Sessions) {
            return self.fabric.take_session_message(now, node, message);
        }
        let service = self.services.iter_mut().find(|service| Some(service.tag) == tag);
        match service {
            // A copy where it is small: it would keep what was read for as long as it lives.
            Some(service) => (service.deliver)(NodeEvent::Message { node, message }),
            None => {
                warn!(%node, "a node says what this one does not understand; run versions that are neighbours");
                if let Some(line) = self.lines.get_mut(&node) {
                    line.channel.refuse(now, "something that this node does not understand");
                }
            }
        }
    }

    fn say(&mut self, now: Instant, tag: Tag, to: NodeId, message: &Bytes) {
        let Some(line) = self.lines.get_mut(&to).filter(|line| line.channel.is_open()) else {
            return self.leave_unsaid(tag, to);
        };
        let head = BytesMut::from(&[tag.to_byte()][..]).freeze();
        if let Err(error) = line.channel.send(head.chain(message.clone())) {
            warn!(node = %to, %error, "cannot send to a node");
            line.channel.reset(now);
        }
        self.take_channel_events(now, to);
    }

    /// To a channel that is not open nothing is said. A service has heard of its end, but for one that asks
    /// before it has ever heard of it: nobody should wait for an answer that cannot come.
    fn leave_unsaid(&mut self, tag: Tag, to: NodeId) {
        for service in self.services.iter_mut().filter(|service| tag == Tag::Requests && service.tag == tag) {
            (service.deliver)(NodeEvent::Lost { node: to });
        }
    }

    fn transmit(&mut self, now: Instant, node: NodeId) {
        let Some(line) = self.lines.get_mut(&node).filter(|line| line.is_up) else { return };
        let Some(place) = line.path else { return };
        for _ in 0..SEGMENTS {
            let Some(segment) = line.channel.poll_transmit(now) else { return };
            let mail = MeshMail::Forward { connection: place.connection, segment };
            self.fabric.post(place.here, mail);
        }
        // The rest goes when the mail that is there has been taken.
        self.fabric.tell(ControlMail::Continue);
    }

    fn tell_services(&mut self, now: Instant, event: &NodeEvent) {
        self.fabric.note_session_event(now, event);
        for service in &mut self.services {
            (service.deliver)(event.clone());
        }
    }

    fn tell_cordoned(&mut self, now: Instant, node: &Node) {
        let is_cordoned = Info::decode(&node.info).is_cordoned();
        self.tell_services(now, &NodeEvent::Cordoned { name: node.name.clone(), is_cordoned });
    }

    // ---- the end ----------------------------------------------------------------------------------

    /// Waits until every connection is closed. Cancel safe.
    async fn closed(&mut self) {
        while !self.connections.is_empty() {
            match self.mail.recv().await {
                Some(ControlMail::Lost { connection, .. }) => drop(self.connections.remove(&connection)),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn leave(&mut self, now: Instant) {
        self.router.leave(now);
        while let Some((neighbour, message)) = self.router.poll_transmit(now) {
            self.send_link_state(neighbour, message);
        }
        self.fabric.post_to_all(|| MeshMail::Leave);
    }
}
