//! Whole fleets in virtual time: routers, channels between nodes that are not neighbours, and everything
//! that happens to connections and processes.
//!
//! `MESH_SEED=7 cargo test -p mq-mesh --test fleet` runs one seed, `MESH_SEEDS=100000` more of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::env;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fastrand::Rng;
use mq_mesh::frame::Hello;
use mq_mesh::{
    Channel, ChannelEvent, ChannelOptions, ConnectionKey, Endpoint, Epoch, Incarnation, NodeId, Router,
    RouterEvent, RouterOptions, Segment,
};

const FLEET: &str = "fleet";

/// How long a connection is silent before an end takes it for dead.
const SILENCE: Duration = Duration::from_secs(2);

/// What a connection's buffer takes of segments; what is more is dropped.
const BUFFER: usize = 300_000;

const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[derive(Clone)]
enum Frame {
    Hello(Box<Hello>),
    LinkState(Bytes),
    Segment(Segment),
}

/// One connection. Sides are 0 (who connects) and 1.
struct Connection {
    nodes: [usize; 2],
    costs: [u32; 2],
    delay: u64,
    /// Frames to each side, with their arrival.
    queues: [VecDeque<(Instant, Frame)>; 2],
    queued: [usize; 2],
    /// Nothing arrives at this side now.
    is_hung: [bool; 2],
    /// The router of this side knows it.
    is_up: [bool; 2],
    /// This side has closed it, or its process is no more.
    is_closed: [bool; 2],
    last_arrival: [Instant; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival { connection: usize, side: usize },
    Closed { connection: usize, side: usize },
    Silence { connection: usize, side: usize, since: Instant },
    Resume { connection: usize, side: usize },
    Connect { link: usize },
    Start { node: usize },
    Thaw { node: usize },
}

/// A wire between two nodes: with it up there is a connection, sooner or later.
struct Link {
    nodes: [usize; 2],
    costs: [u32; 2],
    delay: u64,
    is_wanted: bool,
    connection: Option<usize>,
}

/// One end of a channel, and what its owner remembers of it.
#[derive(Default)]
struct End {
    channel: Option<Channel>,
    /// The session, the messages sent in it, and the life of the other node that they are for.
    sending: Option<(u64, u64, Incarnation)>,
    receiving: Option<(u64, u64)>,
}

struct Process {
    router: Router,
    incarnation: u64,
    generation: u32,
    up: BTreeMap<NodeId, Incarnation>,
    /// By the node at the other end.
    ends: BTreeMap<usize, End>,
}

struct World {
    rng: Rng,
    start: Instant,
    now: Instant,
    nodes: Vec<Option<Process>>,
    is_frozen: Vec<bool>,
    links: Vec<Link>,
    connections: Vec<Connection>,
    channels: BTreeSet<(usize, usize)>,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    count: u64,
    sessions: u64,
    ended: BTreeSet<u64>,
    delivered: u64,
    link_states: u64,
    segments: u64,
}

fn id(node: usize) -> NodeId {
    NodeId::new(FLEET, &name(node))
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

fn index(count: usize, id: NodeId) -> usize {
    (0..count).find(|node| self::id(*node) == id).expect("a node of the fleet")
}

impl World {
    fn new(seed: u64, count: usize, links: Vec<(usize, usize)>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let start = Instant::now();
        let slow = rng.f64() < 0.3;
        let links = links.into_iter().map(|(one, other)| Link {
            nodes: [one, other],
            costs: [rng.u32(1..4), rng.u32(1..4)],
            delay: if slow { rng.u64(1..80_000) } else { rng.u64(20..2_000) },
            is_wanted: true,
            connection: None,
        });
        let links: Vec<Link> = links.collect();
        let mut world = Self {
            rng,
            start,
            now: start,
            nodes: (0..count).map(|_| None).collect(),
            is_frozen: vec![false; count],
            links,
            connections: Vec::new(),
            channels: BTreeSet::new(),
            events: BinaryHeap::new(),
            count: 0,
            sessions: 0,
            ended: BTreeSet::new(),
            delivered: 0,
            link_states: 0,
            segments: 0,
        };
        (0..count).for_each(|node| world.start_process(node));
        (0..world.links.len()).for_each(|link| world.connect_soon(link));
        world
    }

    fn at(&mut self, time: Instant, event: Event) {
        self.count += 1;
        self.events.push(Reverse((time, self.count, event)));
    }

    fn start_process(&mut self, node: usize) {
        let elapsed = self.now.duration_since(self.start).as_millis() as u64;
        let incarnation = 1_000 + elapsed;
        let mut options = RouterOptions::new(FLEET, &name(node), Incarnation(incarnation), 1);
        options.seed = self.rng.u64(..);
        let router = Router::new(self.now, options);
        let (up, ends) = (BTreeMap::new(), BTreeMap::new());
        self.nodes[node] = Some(Process { router, incarnation, generation: 0, up, ends });
        for link in 0..self.links.len() {
            if self.links[link].nodes.contains(&node) {
                self.connect_soon(link);
            }
        }
    }

    fn stop_process(&mut self, node: usize) {
        let Some(process) = self.nodes[node].take() else { return };
        for (_, end) in process.ends {
            self.ended.extend(end.receiving.map(|(session, _)| session));
        }
        for connection in 0..self.connections.len() {
            for side in 0..2 {
                if self.connections[connection].nodes[side] == node {
                    self.connections[connection].is_up[side] = false;
                    self.close(connection, side);
                }
            }
        }
    }

    fn connect_soon(&mut self, link: usize) {
        let time = self.now + ms(self.rng.u64(1..300));
        self.at(time, Event::Connect { link });
    }

    fn connect(&mut self, link: usize) {
        let Link { nodes, costs, delay, is_wanted, connection } = self.links[link];
        let is_live = connection.is_some_and(|index| {
            let connection = &self.connections[index];
            connection.is_closed != [true; 2]
        });
        let can = nodes.iter().all(|node| self.nodes[*node].is_some() && !self.is_frozen[*node]);
        if !is_wanted || is_live || !can {
            return;
        }
        self.links[link].connection = Some(self.connections.len());
        self.connections.push(Connection {
            nodes,
            costs,
            delay,
            queues: Default::default(),
            queued: [0; 2],
            is_hung: [false; 2],
            is_up: [false; 2],
            is_closed: [false; 2],
            last_arrival: [self.now; 2],
        });
        self.say_hello(self.connections.len() - 1, 0);
    }

    fn say_hello(&mut self, connection: usize, side: usize) {
        let node = self.connections[connection].nodes[side];
        let incarnation = self.nodes[node].as_ref().expect("a process that connects").incarnation;
        let hello = Hello {
            fleet: FLEET.into(),
            node: name(node),
            incarnation: Incarnation(incarnation),
            shards: 1,
            cost: self.connections[connection].costs[side],
            ..Hello::default()
        };
        self.put(connection, side, Frame::Hello(Box::new(hello)));
    }

    /// Sends a frame from a side.
    fn put(&mut self, index: usize, side: usize, frame: Frame) {
        let connection = &mut self.connections[index];
        let to = 1 - side;
        if connection.is_closed[side] {
            return;
        }
        if let Frame::Segment(segment) = &frame {
            if connection.queued[to] > BUFFER {
                return;
            }
            self.segments += 1;
            connection.queued[to] += segment.payload.len();
        }
        if let Frame::LinkState(_) = &frame {
            self.link_states += 1;
        }
        let wanted = self.now + Duration::from_micros(connection.delay);
        let arrival = wanted.max(connection.last_arrival[to]);
        connection.last_arrival[to] = arrival;
        connection.queues[to].push_back((arrival, frame));
        if connection.queues[to].len() == 1 {
            self.at(arrival, Event::Arrival { connection: index, side: to });
        }
    }

    fn arrive(&mut self, index: usize, side: usize) {
        loop {
            let connection = &mut self.connections[index];
            if connection.is_hung[side] {
                return;
            }
            let Some((arrival, _)) = connection.queues[side].front() else { return };
            if *arrival > self.now {
                let arrival = *arrival;
                self.at(arrival, Event::Arrival { connection: index, side });
                return;
            }
            let Some((_, frame)) = connection.queues[side].pop_front() else { return };
            if let Frame::Segment(segment) = &frame {
                connection.queued[side] -= segment.payload.len();
            }
            if !connection.is_closed[side] {
                self.handle(index, side, frame);
            }
        }
    }

    fn handle(&mut self, index: usize, side: usize, frame: Frame) {
        let (node, from) = (self.connections[index].nodes[side], self.connections[index].nodes[1 - side]);
        let Some(process) = &mut self.nodes[node] else { return };
        match frame {
            Frame::Hello(hello) => {
                let cost = self.connections[index].costs[side];
                let key = ConnectionKey(index as u64);
                if process.router.neighbour_up(self.now, key, cost, &hello).is_err() {
                    self.close(index, side);
                    return;
                }
                self.connections[index].is_up[side] = true;
                if side == 1 {
                    self.say_hello(index, side);
                }
            }
            Frame::LinkState(message) => {
                process.router.handle_link_state(self.now, id(from), message).expect("well-formed");
            }
            Frame::Segment(segment) => self.route(node, segment),
        }
        self.settle(node);
    }

    /// A segment that has come to a node, or begins there.
    fn route(&mut self, node: usize, mut segment: Segment) {
        let count = self.nodes.len();
        let Some(process) = &mut self.nodes[node] else { return };
        if segment.destination.node == id(node) {
            let other = index(count, segment.source.node);
            let end = process.ends.get_mut(&other).and_then(|end| end.channel.as_mut());
            if let Some(channel) = end {
                channel.handle_segment(self.now, segment);
                self.drain(node, other);
            }
            return;
        }
        let flow = segment.source.node.0 ^ segment.destination.node.0;
        let Some(next) = process.router.routes().next_hop(segment.destination.node, flow) else { return };
        let next = index(count, next);
        let used = |connection: &Connection| {
            (0..2).find(|side| {
                connection.nodes[*side] == node
                    && connection.nodes[1 - side] == next
                    && connection.is_up[*side]
            })
        };
        let found = self.links.iter().filter_map(|link| link.connection);
        let found = found.filter_map(|index| Some((index, used(&self.connections[index])?))).next();
        if let Some((connection, side)) = found.filter(|_| segment.take_hop()) {
            self.put(connection, side, Frame::Segment(segment));
        }
    }

    /// Everything that a node does after something has happened to it.
    fn settle(&mut self, node: usize) {
        while let Some(event) = self.nodes[node].as_mut().and_then(|process| process.router.poll_event()) {
            self.heard(node, event);
        }
        while let Some((to, message)) =
            self.nodes[node].as_mut().and_then(|process| process.router.poll_transmit(self.now))
        {
            let to = index(self.nodes.len(), to);
            let found = self.connections.iter().enumerate().rev().find_map(|(index, connection)| {
                let mut sides = (0..2).filter(|side| connection.is_up[*side]);
                let side = sides.find(|side| connection.nodes[*side] == node);
                side.filter(|side| connection.nodes[1 - side] == to).map(|side| (index, side))
            });
            let (connection, side) = found.expect("a neighbour has a connection");
            self.put(connection, side, Frame::LinkState(message));
        }
        let ends = self.nodes[node].as_ref().map(|process| process.ends.keys().copied().collect::<Vec<_>>());
        for other in ends.into_iter().flatten() {
            self.transmit(node, other);
        }
    }

    fn heard(&mut self, node: usize, event: RouterEvent) {
        let (now, count) = (self.now, self.nodes.len());
        let Some(process) = &mut self.nodes[node] else { return };
        match event {
            RouterEvent::NodeUp(other) => {
                assert_eq!(process.up.insert(other.id, other.incarnation), None, "up twice");
                let other = index(count, other.id);
                let is_wanted = self.channels.contains(&(node.min(other), node.max(other)));
                if is_wanted {
                    let epoch = Epoch {
                        incarnation: Incarnation(process.incarnation),
                        generation: process.generation,
                    };
                    process.generation += 1_000;
                    let here = Endpoint { node: id(node), shard: 0 };
                    let there = Endpoint { node: id(other), shard: 0 };
                    let options = ChannelOptions { window: 200_000, ..ChannelOptions::default() };
                    let end = process.ends.entry(other).or_default();
                    end.channel = Some(Channel::new(now, here, there, epoch, options));
                }
            }
            RouterEvent::NodeDown { node: other, incarnation } => {
                assert_eq!(process.up.remove(&other), Some(incarnation), "down without up");
                if let Some(end) = process.ends.remove(&index(count, other)) {
                    self.ended.extend(end.receiving.map(|(session, _)| session));
                }
            }
            RouterEvent::RoutesChanged => {
                let channels = process.ends.values_mut().filter_map(|end| end.channel.as_mut());
                channels.for_each(|channel| channel.handle_path_changed(now));
            }
            RouterEvent::NodeChanged(_) => {}
            RouterEvent::Superseded { .. } => panic!("no two processes have one name"),
        }
    }

    fn transmit(&mut self, node: usize, other: usize) {
        loop {
            let now = self.now;
            let Some(process) = &mut self.nodes[node] else { return };
            let end = process.ends.get_mut(&other).and_then(|end| end.channel.as_mut());
            let Some(segment) = end.and_then(|channel| channel.poll_transmit(now)) else { return };
            self.route(node, segment);
        }
    }

    fn drain(&mut self, node: usize, other: usize) {
        let Some(process) = &mut self.nodes[node] else { return };
        let Some(end) = process.ends.get_mut(&other) else { return };
        while let Some(event) = end.channel.as_mut().and_then(Channel::poll_event) {
            match event {
                ChannelEvent::Opened { remote_incarnation } => {
                    self.sessions += 1;
                    end.sending = Some((self.sessions, 0, remote_incarnation));
                }
                ChannelEvent::Reset(_) => {
                    end.sending = None;
                    self.ended.extend(end.receiving.take().map(|(session, _)| session));
                }
                ChannelEvent::Message(mut message) => {
                    assert!(end.sending.is_some(), "a message outside of a session");
                    let (to, incarnation) = (message.get_u64(), message.get_u64());
                    assert_eq!((to, incarnation), (id(node).0, process.incarnation), "of a former life");
                    let (session, number) = (message.get_u64(), message.get_u64());
                    assert!(!self.ended.contains(&session), "a session that has ended comes again");
                    let (current, count) = end.receiving.get_or_insert((session, 0));
                    assert_eq!((session, number), (*current, *count), "lost, repeated or out of order");
                    *count += 1;
                    self.delivered += 1;
                }
            }
        }
    }

    fn send(&mut self, node: usize, other: usize) {
        let length = if self.rng.f64() < 0.05 { self.rng.usize(..100_000) } else { self.rng.usize(..300) };
        let Some(process) = &mut self.nodes[node] else { return };
        let Some(end) = process.ends.get_mut(&other) else { return };
        let (Some(channel), Some((session, number, life))) = (&mut end.channel, &mut end.sending) else {
            return;
        };
        let mut message = BytesMut::new();
        message.put_u64(id(other).0);
        message.put_u64(life.0);
        message.put_u64(*session);
        message.put_u64(*number);
        message.put_bytes(7, length);
        if channel.send(message.freeze()).is_ok() {
            *number += 1;
        }
    }

    /// A side ends a connection; the other one hears of it unless nothing comes through.
    fn close(&mut self, index: usize, side: usize) {
        let connection = &mut self.connections[index];
        if std::mem::replace(&mut connection.is_closed[side], true) {
            return;
        }
        connection.queues[side].clear();
        connection.queued[side] = 0;
        let (node, was_up) = (connection.nodes[side], std::mem::take(&mut connection.is_up[side]));
        if was_up && let Some(process) = &mut self.nodes[node] {
            process.router.neighbour_down(self.now, ConnectionKey(index as u64));
        }
        if self.connections[index].is_closed[1 - side] {
            let link = self.links.iter().position(|link| link.connection == Some(index));
            link.into_iter().for_each(|link| self.connect_soon(link));
        } else {
            let time = self.now + Duration::from_micros(self.rng.u64(10..30_000));
            self.at(time, Event::Closed { connection: index, side: 1 - side });
        }
        self.settle(node);
    }

    /// The connection breaks: what is on it is lost.
    fn break_link(&mut self, link: usize) {
        let Some(index) = self.links[link].connection else { return };
        for side in 0..2 {
            self.connections[index].queues[side].clear();
            self.connections[index].queued[side] = 0;
            let time = self.now + Duration::from_micros(self.rng.u64(10..30_000));
            self.at(time, Event::Closed { connection: index, side });
        }
    }

    /// Nothing comes through to a side for a while.
    fn hang(&mut self, index: usize, side: usize, time: Duration) {
        if !std::mem::replace(&mut self.connections[index].is_hung[side], true) {
            let since = self.now;
            self.at(since + SILENCE, Event::Silence { connection: index, side, since });
            self.at(since + time, Event::Resume { connection: index, side });
        }
    }

    fn freeze(&mut self, node: usize, time: Duration) {
        if !std::mem::replace(&mut self.is_frozen[node], true) {
            for connection in 0..self.connections.len() {
                for side in 0..2 {
                    let Connection { nodes, is_closed, .. } = &self.connections[connection];
                    if nodes.contains(&node) && *is_closed != [true; 2] {
                        self.hang(connection, side, time);
                    }
                }
            }
            self.at(self.now + time, Event::Thaw { node });
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival { connection, side } => self.arrive(connection, side),
            Event::Closed { connection, side } if self.connections[connection].is_hung[side] => {
                // It hears of nothing; silence or the end of it will tell.
                let time = self.now + ms(50);
                self.at(time, Event::Closed { connection, side });
            }
            Event::Closed { connection, side } => self.close(connection, side),
            Event::Silence { connection, side, since } => {
                let node = self.connections[connection].nodes[side];
                if self.is_frozen[node] {
                    self.at(self.now + ms(20), Event::Silence { connection, side, since });
                } else if self.connections[connection].is_hung[side] {
                    self.close(connection, side);
                }
            }
            Event::Resume { connection, side } => {
                self.connections[connection].is_hung[side] = false;
                self.arrive(connection, side);
            }
            Event::Connect { link } => self.connect(link),
            Event::Start { node } => {
                if self.nodes[node].is_none() {
                    self.start_process(node);
                }
            }
            Event::Thaw { node } => {
                self.is_frozen[node] = false;
                (0..self.links.len()).for_each(|link| self.connect_soon(link));
            }
        }
    }

    fn deadline(&self, node: usize) -> Option<Instant> {
        let process = self.nodes[node].as_ref().filter(|_| !self.is_frozen[node])?;
        let channels = process.ends.values().filter_map(|end| end.channel.as_ref()?.poll_timeout());
        channels.chain(process.router.poll_timeout()).min()
    }

    fn run(&mut self, until: Instant) {
        loop {
            let timer = (0..self.nodes.len()).filter_map(|node| Some((self.deadline(node)?, node))).min();
            let event = self.events.peek().map(|Reverse((time, ..))| *time);
            let next = timer.map(|(time, _)| time).into_iter().chain(event).min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if event == Some(next) {
                let Some(Reverse((_, _, event))) = self.events.pop() else { break };
                self.happen(event);
            } else if let Some((_, node)) = timer {
                let (now, process) = (self.now, self.nodes[node].as_mut().expect("it has a deadline"));
                process.router.handle_timeout(now);
                let channels = process.ends.values_mut().filter_map(|end| end.channel.as_mut());
                channels.for_each(|channel| channel.handle_timeout(now));
                self.settle(node);
                assert!(self.deadline(node).is_none_or(|at| at > now), "node {node} spins");
            }
        }
        self.now = until;
    }

    /// Something bad.
    fn fault(&mut self) {
        let link = self.rng.usize(..self.links.len());
        let node = self.rng.usize(..self.nodes.len());
        let time = ms(self.rng.u64(10..6_000));
        match self.rng.u32(..6) {
            0 => self.break_link(link),
            1 => {
                self.links[link].is_wanted = false;
                self.break_link(link);
            }
            2 => {
                self.links[link].is_wanted = true;
                self.connect_soon(link);
            }
            3 => {
                let sides = [vec![0], vec![1], vec![0, 1]][self.rng.usize(..3)].clone();
                if let Some(connection) = self.links[link].connection {
                    sides.into_iter().for_each(|side| self.hang(connection, side, time));
                }
            }
            4 if !self.is_frozen[node] => {
                self.stop_process(node);
                self.at(self.now + time, Event::Start { node });
            }
            4 => {}
            _ => self.freeze(node, time),
        }
    }

    /// What the links that are up cost, both ways the same.
    fn costs(&self) -> BTreeMap<(usize, usize), u32> {
        let mut costs = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.is_wanted) {
            let cost = link.costs[0].max(link.costs[1]);
            let [one, other] = link.nodes;
            for key in [(one, other), (other, one)] {
                let known = costs.entry(key).or_insert(cost);
                *known = cost.min(*known);
            }
        }
        costs
    }

    /// Every node knows the cheapest way to every node that there is a way to, and following it leads there.
    fn check_routes(&self) {
        let count = self.nodes.len();
        let links = self.costs();
        let mut costs = links.clone();
        for middle in 0..count {
            for one in 0..count {
                for other in 0..count {
                    let way = costs.get(&(one, middle)).zip(costs.get(&(middle, other)));
                    if let Some(cost) = way.map(|(one, other)| one + other).filter(|_| one != other) {
                        let known = costs.entry((one, other)).or_insert(cost);
                        *known = cost.min(*known);
                    }
                }
            }
        }
        for one in 0..count {
            let process = self.nodes[one].as_ref().expect("every node runs");
            let routes = process.router.routes();
            for other in (0..count).filter(|other| *other != one) {
                let route = routes.get(id(other));
                let expected = costs.get(&(one, other)).copied();
                assert_eq!(route.map(|route| route.cost), expected, "from {one} to {other}");
                assert_eq!(process.up.contains_key(&id(other)), expected.is_some());
                let Some(route) = route else { continue };
                let mut best = (0..count).filter(|next| {
                    let rest = if *next == other { Some(&0) } else { costs.get(&(*next, other)) };
                    let way = links.get(&(one, *next)).zip(rest);
                    way.is_some_and(|(first, rest)| first + rest == route.cost)
                });
                let mut best: Vec<NodeId> = best.by_ref().map(id).collect();
                best.sort_unstable();
                assert_eq!(route.next_hops.to_vec(), best, "from {one} to {other}");
                let life = self.nodes[other].as_ref().expect("every node runs").incarnation;
                assert_eq!(process.up[&id(other)], Incarnation(life));
            }
        }
    }

    fn check_channels(&self) {
        for &(one, other) in &self.channels {
            let end = |node: usize, other: usize| {
                let process = self.nodes[node].as_ref().expect("every node runs");
                process.ends.get(&other).filter(|end| end.channel.is_some())
            };
            for (here, there) in [(one, other), (other, one)] {
                let is_reachable =
                    self.nodes[here].as_ref().is_some_and(|process| process.up.contains_key(&id(there)));
                assert_eq!(end(here, there).is_some(), is_reachable);
                let (Some(end), Some(peer)) = (end(here, there), end(there, here)) else { continue };
                let channel = end.channel.as_ref().expect("filtered");
                assert!(channel.is_open(), "{here} to {there}: {channel:?}");
                assert_eq!(channel.backlog(), 0, "{here} to {there}: {channel:?}");
                let sent = end.sending.expect("open").1;
                assert_eq!(peer.receiving.map_or(0, |(_, count)| count), sent, "{here} to {there}");
            }
        }
    }
}

/// A connected graph with some links more than it needs.
fn topology(rng: &mut Rng) -> (usize, Vec<(usize, usize)>) {
    let count = rng.usize(2..=12);
    let mut links: BTreeSet<(usize, usize)> = (1..count).map(|node| (rng.usize(..node), node)).collect();
    for _ in 0..rng.usize(..=2 * count) {
        let (one, other) = (rng.usize(..count), rng.usize(..count));
        if one != other {
            links.insert((one.min(other), one.max(other)));
        }
    }
    if rng.f64() < 0.2 {
        links = (0..count).flat_map(|other| (0..other).map(move |one| (one, other))).collect();
    }
    let mut links: Vec<(usize, usize)> = links.into_iter().collect();
    // Some neighbours have several connections.
    links.extend((0..rng.usize(..4)).map(|_| links[rng.usize(..links.len())]).collect::<Vec<_>>());
    (count, links)
}

fn run(seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed ^ 0x5eed);
    let (count, links) = topology(&mut rng);
    let mut world = World::new(seed, count, links);
    for _ in 0..rng.usize(1..6) {
        let (one, other) = (rng.usize(..count), rng.usize(..count));
        if one != other {
            world.channels.insert((one.min(other), one.max(other)));
        }
    }
    world.run(world.now + ms(rng.u64(1..2_000)));
    let channels: Vec<_> = world.channels.iter().copied().collect();
    let faults = rng.f64() * 0.5;
    for _ in 0..60 {
        for (one, other) in &channels {
            for _ in 0..world.rng.usize(..6) {
                world.send(*one, *other);
                world.send(*other, *one);
            }
            world.settle(*one);
            world.settle(*other);
        }
        if rng.f64() < faults {
            world.fault();
        }
        let until = world.now + ms(rng.u64(1..300));
        world.run(until);
    }
    // Everything bad ends on its own within six seconds; then the fleet is one within a bounded time.
    world.run(world.now + Duration::from_secs(6));
    for link in 0..world.links.len() {
        world.connect_soon(link);
    }
    world.run(world.now + Duration::from_secs(6));
    world.check_routes();
    world.run(world.now + Duration::from_secs(8));
    world.check_channels();
    let (link_states, segments) = (world.link_states, world.segments);
    world.run(world.now + Duration::from_secs(60));
    assert_eq!(world.segments, segments, "idle channels are silent");
    let quiet = (world.link_states - link_states) as usize;
    // A comparison in either direction of each link every half minute, and no reason for more.
    assert!(quiet <= 2 * 3 * world.links.len(), "{quiet} messages in a minute");
    world.delivered
}

#[test]
fn fleets_converge_and_their_channels_lose_nothing() {
    if let Some(seed) = env::var("MESH_SEED").ok().and_then(|seed| seed.parse().ok()) {
        run(seed);
        return;
    }
    let seeds = env::var("MESH_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    let mut delivered = 0;
    for seed in 0..seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        delivered += result.unwrap_or_else(|_| panic!("failed with MESH_SEED={seed}"));
    }
    assert!(delivered > seeds * 50, "{delivered} messages: the simulation is idle");
}

/// Three nodes, each connected with each, and a channel between the first two, which has carried something.
fn triangle() -> World {
    let mut world = World::new(3, 3, vec![(0, 1), (1, 2), (0, 2)]);
    world.links.iter_mut().for_each(|link| (link.costs, link.delay) = ([1, 1], 200));
    world.channels.insert((0, 1));
    world.run(world.now + Duration::from_secs(2));
    world.send(0, 1);
    world.settle(0);
    world.run(world.now + ms(100));
    assert_eq!(world.delivered, 1);
    world
}

/// How long a message from the first to the second node takes that is sent every ten milliseconds.
fn gap(world: &mut World) -> Duration {
    let start = world.now;
    let delivered = world.delivered;
    while world.delivered == delivered {
        world.send(0, 1);
        world.settle(0);
        world.run(world.now + ms(10));
        assert!(world.now - start < Duration::from_secs(10), "nothing arrives any more");
    }
    world.now - start
}

#[test]
fn after_the_loss_of_a_link_messages_take_the_other_way_at_once() {
    let mut world = triangle();
    world.links[0].is_wanted = false;
    world.break_link(0);
    let gap = gap(&mut world);
    // Both ends hear of it within 30 ms.
    assert!(gap <= ms(60), "{gap:?}");
    world.run(world.now + Duration::from_secs(1));
    world.check_channels();
}

#[test]
fn after_silence_on_a_link_messages_take_the_other_way_as_soon_as_it_is_noticed() {
    let mut world = triangle();
    let connection = world.links[0].connection.expect("it is up");
    (0..2).for_each(|side| world.hang(connection, side, Duration::from_secs(60)));
    let gap = gap(&mut world);
    assert!(gap >= ms(1_500) && gap <= SILENCE + ms(60), "{gap:?}");
    world.run(world.now + Duration::from_secs(1));
    world.check_channels();
}

/// Sixty nodes, each connected with each.
fn sixty() -> World {
    let links = (0..60).flat_map(|other| (0..other).map(move |one| (one, other)));
    let mut world = World::new(1, 60, links.collect());
    world.links.iter_mut().for_each(|link| (link.costs, link.delay) = ([1, 1], 200));
    world
}

#[test]
fn sixty_nodes_converge_in_seconds_and_a_change_costs_little() {
    let mut world = sixty();
    world.run(world.now + Duration::from_secs(2));
    world.check_routes();
    let (before, start) = (world.link_states, world.now);
    world.stop_process(7);
    let elsewhere = |world: &World| {
        (0..60).filter(|node| *node != 7).all(|node| {
            world.nodes[node].as_ref().is_some_and(|process| process.router.routes().get(id(7)).is_none())
        })
    };
    while !elsewhere(&world) {
        world.run(world.now + ms(1));
    }
    assert!(world.now - start < ms(200), "{:?} until nobody sends there", world.now - start);
    world.run(start + Duration::from_secs(5));
    // Each of 59 nodes tells each other that one link is gone, once, with a few helpers.
    let messages = world.link_states - before;
    assert!(messages < 59 * 59 * 5, "{messages}");
    let before = world.link_states;
    world.run(world.now + Duration::from_secs(60));
    let quiet = world.link_states - before;
    assert!(quiet <= 3 * 59 * 58, "{quiet} messages in a quiet minute");
}
