//! Objects that every node of a fleet holds: versioned, persisted, and the same everywhere in the end.
//!
//! An object is a key with a value that the engine does not look into. Each change has a [`Version`]; of
//! two the higher one counts, whoever made them and in whatever order they arrive. A deletion is a change
//! like any other and is remembered as a tombstone for [`Limits::tombstones_kept`], so that a node that was
//! away hears of it; one that was away for longer brings back what was deleted meanwhile.
//!
//! Changes go to every peer at once. What two peers have missed of each other is found by comparing digests
//! when they meet, and once in a while: a total, then 64 groups, then the leaves of those that differ, then
//! what stands in the leaves that differ. So what travels is proportional to the difference. See
//! [`Replica`] for how to drive it.

mod compare;
mod digest;
mod message;
mod peer;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::NodeId;
use compare::{EXCHANGE_PATIENCE, Exchange};
use digest::{Digests, Leaf};
use message::Message;
use peer::Peer;

pub use message::MessageError;

/// Milliseconds since 1970, as the node's clock has it.
pub type UnixMillis = u64;

/// What an object is, to those who put it there. The engine spreads kinds that its node does not know, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u8);

/// What an object is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub kind: Kind,
    pub name: Arc<str>,
}

impl Key {
    pub fn new(kind: Kind, name: impl Into<Arc<str>>) -> Self {
        Self { kind, name: name.into() }
    }
}

/// When an object was changed, and by whom. Of two versions of an object the higher one counts.
///
/// The clock is a hybrid one: the milliseconds of the time of day, then 16 bits that count. It is higher
/// than that of every change that its node had heard of, so a change made by somebody who has seen another
/// one overrides it even when the times of day of their nodes disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    pub clock: u64,
    pub origin: NodeId,
}

impl Version {
    /// Bits of the clock below the milliseconds.
    pub const COUNTER_BITS: u32 = 16;

    /// Clocks from here on are nobody's: it is some two thousand years until then, and room is left to count.
    pub const END_OF_CLOCK: u64 = 1 << 62;

    /// The time of day of the change, as its node had it.
    pub fn unix_millis(self) -> UnixMillis {
        self.clock >> Self::COUNTER_BITS
    }
}

/// One state of an object: what is persisted, and what travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    pub version: Version,
    /// `None`: it was deleted.
    pub value: Option<Bytes>,
}

/// An object as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub version: Version,
    /// `None`: it was deleted.
    pub value: Option<Bytes>,
}

/// What a replica may hold and send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Objects, tombstones not counted. Those beyond are neither made nor taken from others.
    pub max_objects: usize,
    /// Tombstones; beyond it the oldest are forgotten before their time.
    pub max_tombstones: usize,
    /// Bytes of a name.
    pub max_name: usize,
    /// Bytes of a value.
    pub max_value: usize,
    /// How long a deletion is remembered.
    pub tombstones_kept: Duration,
    /// Bytes of a message after which no further record is put into it.
    pub piece: usize,
    /// Bytes of records and listings on their way to one peer that it has not acknowledged.
    pub window: usize,
    /// How often peers compare what they have when nothing suggests a difference.
    pub compare_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_objects: 4_000_000,
            max_tombstones: 1_000_000,
            max_name: 1_024,
            max_value: 2 << 20,
            tombstones_kept: Duration::from_secs(30 * 24 * 3_600),
            piece: 64 << 10,
            window: 1 << 20,
            compare_every: Duration::from_secs(60),
        }
    }
}

/// Why a change was not begun.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("the name has {0} bytes, which is not between 1 and {1}")]
    Name(usize, usize),
    #[error("the object has {0} bytes; use at most {1}")]
    Value(usize, usize),
    #[error("the fleet holds {0} objects, which is the most; remove some first")]
    Full(usize),
}

/// What the owner of a replica should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Every peer that is there serves this version of the object, or a later one.
    Spread { key: Key, version: Version },
    /// A tombstone has had its time: it need not be persisted any longer.
    Forgotten { key: Key, version: Version },
    /// The peer and this node hold the same.
    Synchronised { peer: NodeId },
    /// A change bears a time of day that is ahead of this node's: one of the two clocks is wrong. Said once
    /// for as long as the peer is there.
    ClockAhead { peer: NodeId, by: Duration },
    /// The replica is full: an object of the peer's was not taken. Said once for as long as the peer is there.
    Full { peer: NodeId },
}

/// What a replica holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    pub objects: usize,
    pub tombstones: usize,
    pub peers: usize,
    /// Peers that are known to hold the same, but for what is on its way.
    pub synchronised: usize,
}

/// The objects of a fleet, as one node holds them.
///
/// Give it what was persisted with [`recover`](Self::recover). From then on, whenever something was put,
/// deleted, received, or has become due:
///
/// 1. [`poll_persist`](Self::poll_persist) gives a batch of records. Write it, then call
///    [`handle_persisted`](Self::handle_persisted), which says what has changed; nothing of the batch is
///    visible or sent before that. After a failure call [`handle_not_persisted`](Self::handle_not_persisted):
///    changes of this node are forgotten, those of others are tried again.
/// 2. Put what has changed in force, then call [`handle_served`](Self::handle_served): only then are the
///    peers told that this node serves it. No further batch comes before that.
/// 3. Drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event), and arm a timer for
///    [`poll_timeout`](Self::poll_timeout).
///
/// [`peer_up`](Self::peer_up) is for when a channel to the control thread of another node has opened,
/// [`peer_down`](Self::peer_down) for when it has ended; in between it delivers messages in order and loses
/// none. What waits for a peer is bounded: [`Limits::window`] of messages, and a key for each object that has
/// changed. `now` never goes back; the time of day may.
#[derive(Debug)]
pub struct Replica {
    local: NodeId,
    limits: Limits,
    /// The highest clock that was seen or given.
    clock: u64,
    objects: BTreeMap<Slot, Entry>,
    digests: Digests,
    /// Deletions by their clock.
    tombstones: BTreeSet<(u64, Key)>,
    stage: Stage,
    peers: BTreeMap<NodeId, Peer>,
    /// Peers to whom something may have to be said.
    ready: BTreeSet<NodeId>,
    /// Changes of this node that not every peer has confirmed.
    waits: BTreeMap<Key, Wait>,
    exchange: Option<Exchange>,
    events: VecDeque<Event>,
    sweep_at: Option<Instant>,
}

/// Where an object stands: by leaf, so that a leaf is a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(Leaf, Key);

/// What is on its way to the disk and into force.
#[derive(Debug, Default)]
struct Stage {
    own: Vec<Record>,
    foreign: Vec<Record>,
    /// The highest version of each object that others have sent. One of this node's own does not make up for
    /// an older one of another node, since it is forgotten when the disk refuses it.
    versions: BTreeMap<Key, Version>,
    progress: Progress,
    /// The batch that is being gathered; batches begin at 1.
    gathering: u64,
    /// Batches up to this one are in force.
    served: u64,
    /// The last batch could not be persisted: when to try again with what came from others.
    retry_at: Option<Instant>,
}

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Idle,
    /// The owner writes: how many of the records are this node's own, and all of them.
    Writing { own: usize, records: Vec<Record> },
    /// The owner puts in force what was written.
    Serving,
}

#[derive(Debug)]
struct Wait {
    version: Version,
    peers: BTreeSet<NodeId>,
}

/// How long changes of others wait after a disk has refused them.
const PERSIST_PAUSE: Duration = Duration::from_secs(5);

/// How often tombstones are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);

/// When one peer is gone, the others compare this much later, spread over as much again: it may have told
/// some of them what it has not told others.
const LOSS_PAUSE: Duration = Duration::from_secs(1);

/// A clock of a peer that is ahead by more than this is reported, in milliseconds.
const TOLERATED_SKEW: u64 = 60_000;

/// A clock of a peer that is ahead by more than a thousand years, in milliseconds, is none. Changes of this
/// node have to be later than all that it has heard of: one that comes close to the end of the clock, and is
/// believed, would leave nobody a later one.
const BELIEVED_AHEAD: u64 = 1_000 * 365 * 24 * 3_600_000;

fn check_clock(unix: UnixMillis, version: Version) -> Result<(), MessageError> {
    let latest = unix.saturating_add(BELIEVED_AHEAD);
    if version.unix_millis() <= latest {
        return Ok(());
    }
    let max = latest.saturating_mul(1 << Version::COUNTER_BITS);
    Err(MessageError::Bound { what: "clock of a version", value: version.clock, max })
}

impl Replica {
    pub fn new(local: NodeId, limits: Limits) -> Self {
        // Names have 16 bits for their length on the wire.
        let limits = Limits { max_name: limits.max_name.min(usize::from(u16::MAX)), ..limits };
        Self {
            local,
            limits,
            clock: 0,
            objects: BTreeMap::new(),
            digests: Digests::new(),
            tombstones: BTreeSet::new(),
            stage: Stage { gathering: 1, ..Stage::default() },
            peers: BTreeMap::new(),
            ready: BTreeSet::new(),
            waits: BTreeMap::new(),
            exchange: None,
            events: VecDeque::new(),
            sweep_at: None,
        }
    }

    /// Takes what was persisted, in any order, before anything else is done. False: something later of the
    /// object is there already, or the version is nobody's.
    pub fn recover(&mut self, record: Record) -> bool {
        record.version.clock < Version::END_OF_CLOCK && {
            self.clock = self.clock.max(record.version.clock);
            self.apply(record)
        }
    }

    /// Gives no version of this clock or a lower one from now on: those of forgotten deletions are not known
    /// from what is recovered.
    pub fn observe(&mut self, clock: u64) {
        self.clock = self.clock.max(clock.min(Version::END_OF_CLOCK - 1));
    }

    // ---- getters ------------------------------------------------------------------------------

    pub fn local(&self) -> NodeId {
        self.local
    }

    /// An object as it is in force, or its tombstone.
    pub fn entry(&self, key: &Key) -> Option<&Entry> {
        self.objects.get(&Slot::of(key.clone()))
    }

    /// Everything that is in force, tombstones too, in no order that means anything.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.objects.iter().map(|(slot, entry)| (&slot.1, entry))
    }

    /// A digest of everything: two replicas that hold the same have the same.
    pub fn digest(&self) -> u64 {
        self.digests.total()
    }

    pub fn statistics(&self) -> Statistics {
        Statistics {
            objects: self.len(),
            tombstones: self.tombstones.len(),
            peers: self.peers.len(),
            synchronised: self.peers.values().filter(|peer| peer.is_synchronised).count(),
        }
    }

    fn len(&self) -> usize {
        self.objects.len().saturating_sub(self.tombstones.len())
    }

    /// The version that the next change of this node will have.
    pub fn next_version(&self, unix: UnixMillis) -> Version {
        let of_day = unix.saturating_mul(1 << Version::COUNTER_BITS).min(Version::END_OF_CLOCK - 1);
        Version { clock: of_day.max(self.clock.saturating_add(1)), origin: self.local }
    }

    // ---- commands -----------------------------------------------------------------------------

    /// Makes an object what is given; it counts when it is persisted.
    ///
    /// # Errors
    /// When the name, the value or the number of objects is beyond [`Limits`].
    pub fn put(&mut self, unix: UnixMillis, key: Key, value: Bytes) -> Result<Version, Refused> {
        let (name, max_name) = (key.name.len(), self.limits.max_name);
        if name == 0 || name > max_name {
            return Err(Refused::Name(name, max_name));
        }
        if value.len() > self.limits.max_value {
            return Err(Refused::Value(value.len(), self.limits.max_value));
        }
        if !self.has_room(&key) {
            return Err(Refused::Full(self.limits.max_objects));
        }
        Ok(self.stage_own(unix, key, Some(value)))
    }

    /// Deletes an object, whether or not it is there; it counts when it is persisted.
    pub fn delete(&mut self, unix: UnixMillis, key: Key) -> Version {
        self.stage_own(unix, key, None)
    }

    /// A channel to the peer has opened: what the two have missed of each other is exchanged.
    pub fn peer_up(&mut self, now: Instant, node: NodeId) {
        if node == self.local {
            return;
        }
        self.peer_down(now, node);
        let compare_at = self.asks(node).then_some(now);
        self.peers.insert(node, Peer::new(compare_at));
        self.advance(now);
    }

    /// The channel to the peer has ended.
    pub fn peer_down(&mut self, now: Instant, node: NodeId) {
        if self.peers.remove(&node).is_none() {
            return;
        }
        self.ready.remove(&node);
        if self.exchange.as_ref().is_some_and(|exchange| exchange.peer == node) {
            self.exchange = None;
        }
        for (other, peer) in &mut self.peers {
            let spread = LOSS_PAUSE / 256 * u32::try_from(other.0 % 256).unwrap_or_default();
            peer.compare_at = peer.compare_at.map(|at| at.min(now + LOSS_PAUSE + spread));
        }
        let keys: Vec<Key> = self.waits.keys().cloned().collect();
        for key in keys {
            self.confirm(node, &key, None);
        }
        self.advance(now);
    }

    // ---- what has happened --------------------------------------------------------------------

    /// Takes a message of a peer.
    ///
    /// # Errors
    /// When it is malformed. The peer counts as down then: end the channel, and call
    /// [`peer_up`](Self::peer_up) when it has opened again.
    pub fn handle_message(
        &mut self,
        now: Instant,
        unix: UnixMillis,
        from: NodeId,
        message: Bytes,
    ) -> Result<(), MessageError> {
        if !self.peers.contains_key(&from) {
            // What a channel delivers after its end concerns nobody.
            return Ok(());
        }
        let taken =
            Message::decode(message, &self.limits).and_then(|message| self.take(now, unix, from, message));
        if let Err(error) = taken {
            self.peer_down(now, from);
            return Err(error);
        }
        if let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.peer == from) {
            exchange.until = now + EXCHANGE_PATIENCE;
        }
        self.ready.insert(from);
        self.advance(now);
        Ok(())
    }

    /// The batch is on disk. Gives what it has changed, in no order that means anything; a record that
    /// something later has overtaken is left out. An object may be in it twice: the last one counts.
    pub fn handle_persisted(&mut self, now: Instant) -> Vec<Record> {
        if !matches!(self.stage.progress, Progress::Writing { .. }) {
            return Vec::new();
        }
        let written = std::mem::replace(&mut self.stage.progress, Progress::Serving);
        let Progress::Writing { own, records } = written else { return Vec::new() };
        records.iter().skip(own).for_each(|record| self.unstage(record));
        let mut changed = Vec::with_capacity(records.len());
        for (index, record) in records.into_iter().enumerate() {
            let is_own = index < own;
            if !self.apply(record.clone()) {
                if is_own {
                    // Something later has come meanwhile, and goes the way of that.
                    self.events.push_back(Event::Spread { key: record.key, version: record.version });
                }
                continue;
            }
            if is_own {
                self.spread(&record);
            }
            changed.push(record);
        }
        self.advance(now);
        changed
    }

    /// The batch could not be persisted: what this node wanted has not happened, what others have done is
    /// tried again.
    pub fn handle_not_persisted(&mut self, now: Instant) {
        if !matches!(self.stage.progress, Progress::Writing { .. }) {
            return;
        }
        let written = std::mem::take(&mut self.stage.progress);
        let Progress::Writing { own, mut records } = written else { return };
        let mut foreign = records.split_off(own);
        foreign.append(&mut self.stage.foreign);
        self.stage.foreign = foreign;
        self.stage.retry_at = Some(now + PERSIST_PAUSE);
    }

    /// What [`handle_persisted`](Self::handle_persisted) gave is in force.
    pub fn handle_served(&mut self, now: Instant) {
        if !matches!(self.stage.progress, Progress::Serving) {
            return;
        }
        self.stage.progress = Progress::Idle;
        self.stage.served = self.stage.gathering.saturating_sub(1);
        self.ready.extend(self.peers.keys().copied());
        self.advance(now);
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Instant, unix: UnixMillis) {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.sweep_at = Some(now + SWEEP_INTERVAL);
            self.sweep(unix);
        }
        self.advance(now);
    }

    // ---- what should be done ------------------------------------------------------------------

    /// A batch to be persisted, whole or not at all; `None` while there is nothing, or while the last one
    /// is not in force yet.
    pub fn poll_persist(&mut self, now: Instant) -> Option<Vec<Record>> {
        let stage = &mut self.stage;
        if !matches!(stage.progress, Progress::Idle) {
            return None;
        }
        let is_due = stage.retry_at.is_none_or(|at| at <= now);
        if stage.own.is_empty() && (stage.foreign.is_empty() || !is_due) {
            return None;
        }
        stage.retry_at = None;
        let mut records = std::mem::take(&mut stage.own);
        let own = records.len();
        records.append(&mut stage.foreign);
        stage.progress = Progress::Writing { own, records: records.clone() };
        stage.gathering += 1;
        Some(records)
    }

    /// The next message, and whom it is for.
    pub fn poll_transmit(&mut self) -> Option<(NodeId, Bytes)> {
        while let Some(node) = self.ready.first().copied() {
            let Self { peers, objects, waits, stage, limits, .. } = self;
            let is_awaited = |key: &Key| waits.contains_key(key);
            let message = peers
                .get_mut(&node)
                .and_then(|peer| peer.next_message(objects, is_awaited, stage.served, limits));
            if let Some(message) = message {
                return Some((node, message.encode()));
            }
            self.ready.remove(&node);
        }
        None
    }

    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None`: not yet known, call it now.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let sweep_at = self.sweep_at?;
        let compare_at = match &self.exchange {
            Some(exchange) => Some(exchange.until),
            None => self.next_comparison().map(|(at, _)| at),
        };
        let retry_at = self.stage.retry_at.filter(|_| !self.stage.foreign.is_empty());
        [Some(sweep_at), compare_at, retry_at].into_iter().flatten().min()
    }

    // ---- objects ------------------------------------------------------------------------------

    fn has_room(&self, key: &Key) -> bool {
        let staged = self.stage.own.len() + self.stage.foreign.len();
        self.len() + staged < self.limits.max_objects
            || self.entry(key).is_some_and(|entry| entry.value.is_some())
    }

    fn stage_own(&mut self, unix: UnixMillis, key: Key, value: Option<Bytes>) -> Version {
        let version = self.next_version(unix);
        self.clock = version.clock;
        self.stage.own.push(Record { key, version, value });
        version
    }

    /// The highest version of an object that is in force, or sent by others and on its way there.
    fn known(&self, key: &Key) -> Option<Version> {
        let staged = self.stage.versions.get(key).copied();
        staged.max(self.entry(key).map(|entry| entry.version))
    }

    /// A record has left the stage. A later one of its object is known by its own version.
    fn unstage(&mut self, record: &Record) {
        if self.stage.versions.get(&record.key) == Some(&record.version) {
            self.stage.versions.remove(&record.key);
        }
    }

    /// Puts a record in the place of what it overrides; false when it does not.
    fn apply(&mut self, record: Record) -> bool {
        let Record { key, version, value } = record;
        let slot = Slot::of(key);
        if let Some(entry) = self.objects.get(&slot) {
            if entry.version >= version {
                return false;
            }
            self.digests.remove(&slot.1, entry.version);
            if entry.value.is_none() {
                self.tombstones.remove(&(entry.version.clock, slot.1.clone()));
            }
        }
        self.digests.add(&slot.1, version);
        if value.is_none() {
            self.tombstones.insert((version.clock, slot.1.clone()));
        }
        self.objects.insert(slot, Entry { version, value });
        if self.tombstones.len() > self.limits.max_tombstones {
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.tombstones.pop_first() else { return };
        let slot = Slot::of(key);
        let Some(entry) = self.objects.remove(&slot) else { return };
        self.digests.remove(&slot.1, entry.version);
        self.events.push_back(Event::Forgotten { key: slot.1, version: entry.version });
    }

    fn sweep(&mut self, unix: UnixMillis) {
        while self.tombstones.first().is_some_and(|(clock, _)| self.is_over(*clock, unix)) {
            self.forget_oldest();
        }
    }

    /// Whether a deletion need not be remembered any longer.
    fn is_over(&self, clock: u64, unix: UnixMillis) -> bool {
        let kept = u64::try_from(self.limits.tombstones_kept.as_millis()).unwrap_or(u64::MAX);
        (clock >> Version::COUNTER_BITS).saturating_add(kept) < unix
    }

    // ---- peers --------------------------------------------------------------------------------

    /// Lets every peer have a change of this node, and waits for them.
    fn spread(&mut self, record: &Record) {
        for (node, peer) in &mut self.peers {
            peer.urgent.insert(record.key.clone());
            self.ready.insert(*node);
        }
        let peers: BTreeSet<NodeId> = self.peers.keys().copied().collect();
        if peers.is_empty() {
            self.waits.remove(&record.key);
            let (key, version) = (record.key.clone(), record.version);
            self.events.push_back(Event::Spread { key, version });
        } else {
            // Whoever waits for the one before is content with this one.
            self.waits.insert(record.key.clone(), Wait { version: record.version, peers });
        }
    }

    /// The peer serves a version of an object, or is gone.
    fn confirm(&mut self, node: NodeId, key: &Key, served: Option<Version>) {
        let Some(wait) = self.waits.get_mut(key) else { return };
        if served.is_some_and(|version| version < wait.version) {
            return;
        }
        wait.peers.remove(&node);
        if wait.peers.is_empty() {
            let version = wait.version;
            self.waits.remove(key);
            self.events.push_back(Event::Spread { key: key.clone(), version });
        }
    }

    fn take(
        &mut self,
        now: Instant,
        unix: UnixMillis,
        from: NodeId,
        message: Message,
    ) -> Result<(), MessageError> {
        match message {
            Message::Summary { total } => self.handle_summary(now, from, total),
            Message::Same => self.handle_same(now, from),
            Message::Later => self.handle_later(now, from),
            Message::Groups { groups } => self.handle_groups(now, from, &groups),
            Message::Leaves { groups } => self.handle_leaves(now, from, &groups),
            Message::Listed => {
                if let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.peer == from) {
                    exchange.is_listed = true;
                }
            }
            Message::Items { sequence, listings } => {
                // It waits for nothing: no batch has a number below 1.
                self.peer(from, |peer| peer.receive(sequence, 0))?;
                for listing in listings {
                    self.handle_listing(from, listing);
                }
            }
            Message::Want { keys } => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.behind.extend(keys);
                }
            }
            Message::Changes { sequence, records } => {
                for record in records {
                    check_clock(unix, record.version)?;
                    self.handle_record(unix, from, record);
                }
                let batch = self.batch_under_way();
                self.peer(from, |peer| peer.receive(sequence, batch))?;
            }
            Message::Ack { sequence } => {
                let served = self.peers.get_mut(&from).map(|peer| peer.acknowledge(sequence)).transpose()?;
                for (key, version) in served.unwrap_or_default() {
                    self.confirm(from, &key, Some(version));
                }
            }
        }
        Ok(())
    }

    fn peer(
        &mut self,
        node: NodeId,
        with: impl FnOnce(&mut Peer) -> Result<(), MessageError>,
    ) -> Result<(), MessageError> {
        self.peers.get_mut(&node).map_or(Ok(()), with)
    }

    /// The batch that has everything that was received so far.
    fn batch_under_way(&self) -> u64 {
        if !self.stage.foreign.is_empty() || !self.stage.own.is_empty() {
            self.stage.gathering
        } else {
            self.stage.gathering.saturating_sub(1)
        }
    }

    fn handle_record(&mut self, unix: UnixMillis, from: NodeId, record: Record) {
        let is_new = self.known(&record.key).is_none_or(|known| known < record.version);
        let has_room = record.value.is_none() || self.has_room(&record.key);
        let is_over = record.value.is_none()
            && self.is_over(record.version.clock, unix)
            && self.known(&record.key).is_none();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.expected.remove(&record.key);
        let ahead = record.version.unix_millis().saturating_sub(unix);
        if ahead > TOLERATED_SKEW && !std::mem::replace(&mut peer.was_ahead, true) {
            let by = Duration::from_millis(ahead);
            self.events.push_back(Event::ClockAhead { peer: from, by });
        }
        if !is_new || is_over {
            return;
        }
        if !has_room {
            if !std::mem::replace(&mut peer.was_full, true) {
                self.events.push_back(Event::Full { peer: from });
            }
            return;
        }
        if let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.peer == from) {
            exchange.has_news = true;
        }
        self.clock = self.clock.max(record.version.clock);
        self.stage.versions.insert(record.key.clone(), record.version);
        self.stage.foreign.push(record);
    }
}
