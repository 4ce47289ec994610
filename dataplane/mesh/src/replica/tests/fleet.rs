//! A fleet in virtual time: nodes with disks, channels with delays, partitions, crashes.
//!
//! After each step: what a node holds never goes back, nothing is sent that its sender's disk does not
//! have, and what a node says to be spread is in force at its peers. In the end everybody holds the same:
//! of every object the highest version that any disk has taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::super::message::Message;
use super::{Event, Highest, Key, Limits, NodeId, Record, Replica, UnixMillis, key};

#[derive(Debug)]
enum Happening {
    /// An end of a channel hears that it is open.
    Opened {
        at: usize,
        to: usize,
        epoch: u64,
    },
    Closed {
        at: usize,
        to: usize,
    },
    Message {
        at: usize,
        from: usize,
        epoch: u64,
        message: Bytes,
    },
    Persisted {
        at: usize,
        life: u64,
        fails: bool,
    },
    Served {
        at: usize,
        life: u64,
    },
    Timeout {
        at: usize,
        life: u64,
    },
    Started {
        at: usize,
    },
}

struct Node {
    replica: Replica,
    /// Counts the starts; what was begun in an earlier life does not end in this one.
    life: u64,
    is_running: bool,
    disk: BTreeMap<Key, Record>,
    writing: Vec<Record>,
    skew: i64,
    timeout: Option<u64>,
    /// Peers whose channel is open at this end, and the epoch.
    peers: BTreeMap<usize, (u64, u64)>,
    /// When each change of this node was persisted.
    changed: BTreeMap<Key, u64>,
}

pub(super) struct Fleet {
    seed: u64,
    rng: Rng,
    start: Instant,
    /// Milliseconds since the start.
    time: u64,
    happenings: BTreeMap<(u64, u64), Happening>,
    counter: u64,
    nodes: Vec<Node>,
    /// The channel between two nodes, the lower first: its epoch.
    channels: BTreeMap<(usize, usize), u64>,
    /// When the last message on a channel's way arrives.
    arrivals: BTreeMap<(usize, usize), u64>,
    /// Of every object the highest version that any disk has taken.
    highest: Highest,
    is_calm: bool,
    pub(super) bytes: usize,
}

const UNIX: u64 = 1_800_000_000_000;

impl Fleet {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let limits = Limits {
            piece: rng.usize(64..4_096),
            window: rng.usize(256..16_384),
            compare_every: Duration::from_secs(rng.u64(5..60)),
            ..Limits::default()
        };
        let nodes = (0..nodes).map(|number| Node {
            // The order of the numbers is not that of the starts.
            replica: Replica::new(Self::id(number), limits.clone()),
            life: 0,
            is_running: true,
            disk: BTreeMap::new(),
            writing: Vec::new(),
            skew: rng.i64(-5_000..5_000),
            timeout: None,
            peers: BTreeMap::new(),
            changed: BTreeMap::new(),
        });
        let nodes = nodes.collect();
        let mut fleet = Self {
            seed,
            rng,
            start: Instant::now(),
            time: 0,
            happenings: BTreeMap::new(),
            counter: 0,
            nodes,
            channels: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            highest: BTreeMap::new(),
            is_calm: false,
            bytes: 0,
        };
        (0..fleet.nodes.len()).for_each(|at| fleet.drain(at));
        fleet
    }

    /// Disks do not fail, and pieces are as large as usual.
    pub(super) fn calm(&mut self) {
        self.is_calm = true;
        for number in 0..self.nodes.len() {
            self.nodes[number].replica = Replica::new(Self::id(number), Limits::default());
            self.drain(number);
        }
    }

    fn id(number: usize) -> NodeId {
        NodeId((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn number(&self, id: NodeId) -> usize {
        (0..self.nodes.len()).find(|number| Self::id(*number) == id).expect("a node")
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.time)
    }

    fn unix(&self, at: usize) -> UnixMillis {
        (UNIX + self.time).saturating_add_signed(self.nodes[at].skew)
    }

    fn schedule(&mut self, delay: u64, happening: Happening) {
        self.counter += 1;
        self.happenings.insert((self.time + delay, self.counter), happening);
    }

    /// Everything that can go wrong, then nothing more, and everybody agrees.
    pub(super) fn run(&mut self) {
        for _ in 0..self.rng.usize(20..200) {
            self.disturb();
            let pause = if self.rng.u8(..) < 8 { 90_000 } else { self.rng.u64(0..400) };
            self.pass(pause);
        }
        self.is_calm = true;
        let stopped: Vec<usize> = (0..self.nodes.len()).filter(|at| !self.nodes[*at].is_running).collect();
        stopped.into_iter().for_each(|at| self.restart(at));
        self.connect_all();
        // Disks that had refused are tried again after five seconds.
        self.pass(20_000);
        self.assert_converged();
    }

    fn disturb(&mut self) {
        let (one, other) = (self.rng.usize(..self.nodes.len()), self.rng.usize(..self.nodes.len()));
        match self.rng.u8(..100) {
            0..50 => {
                for _ in 0..self.rng.usize(1..20) {
                    let name = format!("object-{}", self.rng.u32(..60));
                    if self.rng.u8(..) < 80 { self.delete(one, &name) } else { self.put(one, &name) }
                }
            }
            50..70 if one != other => self.connect(one, other),
            70..82 => self.disconnect(one, other),
            82..86 => self.part_in_two(),
            86..90 => self.connect_all(),
            90..97 => self.stop(one),
            97..99 => self.nodes[one].skew = self.rng.i64(-100_000..100_000),
            _ => {
                let all: Vec<usize> = (0..self.nodes.len()).collect();
                all.into_iter().for_each(|at| self.stop(at));
            }
        }
    }

    pub(super) fn put(&mut self, at: usize, name: &str) {
        if self.nodes[at].is_running {
            let length = self.rng.usize(..200);
            let value: Vec<u8> = std::iter::repeat_with(|| self.rng.u8(..)).take(length).collect();
            let unix = self.unix(at);
            self.nodes[at].replica.put(unix, key(name), value.into()).expect("within the limits");
            self.drain(at);
        }
    }

    fn delete(&mut self, at: usize, name: &str) {
        if self.nodes[at].is_running {
            let unix = self.unix(at);
            self.nodes[at].replica.delete(unix, key(name));
            self.drain(at);
        }
    }

    // ---- channels -----------------------------------------------------------------------------

    fn connect(&mut self, one: usize, other: usize) {
        let pair = (one.min(other), one.max(other));
        let is_running = self.nodes[one].is_running && self.nodes[other].is_running;
        if !is_running || self.channels.contains_key(&pair) {
            return;
        }
        self.counter += 1;
        let epoch = self.counter;
        self.channels.insert(pair, epoch);
        for (at, to) in [(one, other), (other, one)] {
            let delay = self.rng.u64(1..20);
            self.arrivals.insert((to, at), self.time + delay);
            self.schedule(delay, Happening::Opened { at, to, epoch });
        }
    }

    pub(super) fn connect_all(&mut self) {
        for one in 0..self.nodes.len() {
            for other in 0..one {
                self.connect(one, other);
            }
        }
    }

    fn disconnect(&mut self, one: usize, other: usize) {
        if self.channels.remove(&(one.min(other), one.max(other))).is_none() {
            return;
        }
        for (at, to) in [(one, other), (other, one)] {
            let delay = self.rng.u64(0..20);
            self.schedule(delay, Happening::Closed { at, to });
        }
    }

    pub(super) fn part_in_two(&mut self) {
        let side: Vec<bool> = (0..self.nodes.len()).map(|number| number % 2 == 0).collect();
        let pairs: Vec<(usize, usize)> = self.channels.keys().copied().collect();
        for (one, other) in pairs {
            if side[one] != side[other] {
                self.disconnect(one, other);
            }
        }
    }

    // ---- life and death -----------------------------------------------------------------------

    /// A crash: what was being written is on disk up to anywhere.
    fn stop(&mut self, at: usize) {
        if !self.nodes[at].is_running {
            return;
        }
        let pairs: Vec<(usize, usize)> = self.channels.keys().copied().collect();
        for (one, other) in pairs.into_iter().filter(|(one, other)| *one == at || *other == at) {
            self.disconnect(one, other);
        }
        let written = self.rng.usize(..=self.nodes[at].writing.len());
        let writing = std::mem::take(&mut self.nodes[at].writing);
        self.write(at, writing.into_iter().take(written));
        let node = &mut self.nodes[at];
        (node.is_running, node.life) = (false, node.life + 1);
        node.peers.clear();
        let delay = self.rng.u64(1..3_000);
        self.schedule(delay, Happening::Started { at });
    }

    fn restart(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.is_running {
            return;
        }
        let mut replica = Replica::new(Self::id(at), Limits::default());
        let mut records: Vec<Record> = node.disk.values().cloned().collect();
        self.rng.shuffle(&mut records);
        for record in records {
            assert!(replica.recover(record), "seed {}: a disk holds an object once", self.seed);
        }
        node.replica = replica;
        (node.is_running, node.timeout) = (true, None);
        node.changed.clear();
        self.drain(at);
    }

    fn write(&mut self, at: usize, records: impl Iterator<Item = Record>) {
        for record in records {
            let (version, value) = (record.version, record.value.clone());
            let highest = self.highest.entry(record.key.clone()).or_default();
            if highest.0 < version {
                *highest = (version, value);
            }
            let disk = &mut self.nodes[at].disk;
            if disk.get(&record.key).is_none_or(|kept| kept.version < version) {
                disk.insert(record.key.clone(), record);
            }
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    pub(super) fn pass(&mut self, milliseconds: u64) {
        let end = self.time + milliseconds;
        while let Some(entry) = self.happenings.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((time, _), happening) = entry.remove_entry();
            self.time = time;
            self.happen(happening);
        }
        self.time = end;
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now();
        match happening {
            Happening::Started { at } => self.restart(at),
            Happening::Opened { at, to, epoch } => {
                let is_open = self.channels.get(&(at.min(to), at.max(to))) == Some(&epoch);
                if self.nodes[at].is_running && is_open {
                    self.nodes[at].peers.insert(to, (epoch, self.time));
                    self.nodes[at].replica.peer_up(now, Self::id(to));
                    self.drain(at);
                }
            }
            Happening::Closed { at, to } => {
                let is_open = self.channels.contains_key(&(at.min(to), at.max(to)));
                // A new one may have opened meanwhile, which takes the place of the old one.
                if self.nodes[at].is_running && !is_open {
                    self.nodes[at].peers.remove(&to);
                    self.nodes[at].replica.peer_down(now, Self::id(to));
                    self.drain(at);
                }
            }
            Happening::Message { at, from, epoch, message } => {
                if self.nodes[at].peers.get(&from).is_some_and(|peer| peer.0 == epoch) {
                    let unix = self.unix(at);
                    let taken = self.nodes[at].replica.handle_message(now, unix, Self::id(from), message);
                    assert_eq!(taken, Ok(()), "seed {}", self.seed);
                    self.drain(at);
                }
            }
            Happening::Persisted { at, life, fails } if self.nodes[at].life == life => {
                let records = std::mem::take(&mut self.nodes[at].writing);
                if fails {
                    self.nodes[at].replica.handle_not_persisted(now);
                } else {
                    self.persisted(at, records);
                }
                self.drain(at);
            }
            Happening::Served { at, life } if self.nodes[at].life == life => {
                self.nodes[at].replica.handle_served(now);
                self.drain(at);
            }
            Happening::Timeout { at, life } if self.nodes[at].life == life => {
                let unix = self.unix(at);
                let node = &mut self.nodes[at];
                if node.timeout.is_some_and(|timeout| timeout <= self.time) {
                    node.timeout = None;
                    node.replica.handle_timeout(now, unix);
                    self.drain(at);
                }
            }
            Happening::Persisted { .. } | Happening::Served { .. } | Happening::Timeout { .. } => {}
        }
    }

    fn persisted(&mut self, at: usize, records: Vec<Record>) {
        let before: BTreeMap<Key, _> = records
            .iter()
            .filter_map(|record| {
                Some((record.key.clone(), self.nodes[at].replica.entry(&record.key)?.version))
            })
            .collect();
        for record in records.iter().filter(|record| record.version.origin == Self::id(at)) {
            self.nodes[at].changed.insert(record.key.clone(), self.time);
        }
        self.write(at, records.into_iter());
        let now = self.now();
        let changed = self.nodes[at].replica.handle_persisted(now);
        for record in changed {
            let entry = self.nodes[at].replica.entry(&record.key).expect("it was changed");
            assert!(entry.version >= record.version, "seed {}", self.seed);
            let went_on = before.get(&record.key).is_none_or(|before| *before < record.version);
            assert!(went_on, "seed {}: an object went back", self.seed);
        }
        let (delay, life) = (self.rng.u64(0..5), self.nodes[at].life);
        self.schedule(delay, Happening::Served { at, life });
    }

    /// Takes what a replica wants to be done.
    fn drain(&mut self, at: usize) {
        let (now, life) = (self.now(), self.nodes[at].life);
        if let Some(records) = self.nodes[at].replica.poll_persist(now) {
            assert!(self.nodes[at].writing.is_empty(), "seed {}: one batch at a time", self.seed);
            self.nodes[at].writing = records;
            let fails = !self.is_calm && self.rng.u8(..) < 12;
            let delay = self.rng.u64(0..30);
            self.schedule(delay, Happening::Persisted { at, life, fails });
        }
        while let Some((to, message)) = self.nodes[at].replica.poll_transmit() {
            self.post(at, to, message);
        }
        while let Some(event) = self.nodes[at].replica.poll_event() {
            self.check_event(at, &event);
        }
        let due = match self.nodes[at].replica.poll_timeout() {
            // A millisecond late, as timers are.
            Some(due) => due.saturating_duration_since(self.start).as_millis() as u64 + 1,
            None => self.time,
        };
        if self.nodes[at].timeout.is_none_or(|timeout| due < timeout) {
            self.nodes[at].timeout = Some(due);
            self.schedule(due.saturating_sub(self.time), Happening::Timeout { at, life });
        }
    }

    fn post(&mut self, at: usize, to: NodeId, message: Bytes) {
        let to = self.number(to);
        self.bytes += message.len();
        let limits = Limits::default();
        if let Ok(Message::Changes { records, .. }) = Message::decode(message.clone(), &limits) {
            for record in records {
                assert_eq!(
                    self.nodes[at].disk.get(&record.key),
                    Some(&record),
                    "seed {}: sent before it was persisted",
                    self.seed
                );
            }
        }
        let Some((epoch, _)) = self.nodes[at].peers.get(&to).copied() else { return };
        let arrival = (self.time + self.rng.u64(0..15)).max(self.arrivals[&(at, to)]);
        self.arrivals.insert((at, to), arrival);
        let delay = arrival - self.time;
        self.schedule(delay, Happening::Message { at: to, from: at, epoch, message });
    }

    fn check_event(&self, at: usize, event: &Event) {
        let Event::Spread { key, version } = event else { return };
        let Some(changed) = self.nodes[at].changed.get(key) else { return };
        for (peer, (epoch, opened)) in &self.nodes[at].peers {
            let node = &self.nodes[*peer];
            let knows = node.peers.get(&at).is_some_and(|peer| peer.0 == *epoch);
            // Whoever came later, or is gone by now, is not waited for.
            if opened < changed && knows && node.is_running {
                let entry = node.replica.entry(key);
                assert!(
                    entry.is_some_and(|entry| entry.version >= *version),
                    "seed {}: a change is said to be spread and is not",
                    self.seed
                );
            }
        }
    }

    /// Whether everybody holds the same now.
    pub(super) fn is_same(&self) -> bool {
        self.nodes.windows(2).all(|nodes| nodes[0].replica.digest() == nodes[1].replica.digest())
    }

    pub(super) fn assert_converged(&self) {
        for (number, node) in self.nodes.iter().enumerate() {
            assert!(node.is_running, "seed {}", self.seed);
            let held: Highest = node
                .replica
                .entries()
                .map(|(key, entry)| (key.clone(), (entry.version, entry.value.clone())))
                .collect();
            let missing: BTreeSet<&Key> =
                self.highest.keys().filter(|key| !held.contains_key(*key)).collect();
            assert!(missing.is_empty(), "seed {}: node {number} lacks {missing:?}", self.seed);
            assert!(held == self.highest, "seed {}: node {number} differs", self.seed);
            assert_eq!(node.replica.digest(), self.nodes[0].replica.digest(), "seed {}", self.seed);
            let peers = self.nodes.len() - 1;
            let synchronised = node.replica.statistics().synchronised;
            assert_eq!(synchronised, peers, "seed {}: node {number} does not know that all agree", self.seed);
        }
    }
}
