//! What a replica knows of one peer: what it still has to get, and what is on its way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Instant;

use super::digest::{Leaf, LeafSet};
use super::message::{ENTRY_OVERHEAD, KEY_OVERHEAD, Listing, Message, MessageError, RECORD_OVERHEAD};
use super::{Entry, Key, Limits, Record, Slot, Version};

/// A message that the peer has not acknowledged.
#[derive(Debug)]
struct InFlight {
    sequence: u64,
    bytes: usize,
    /// The versions in it that somebody waits for.
    awaited: Vec<(Key, Version)>,
}

/// Where the walk through a set of leaves stands.
#[derive(Debug)]
struct Walk {
    leaves: LeafSet,
    /// The leaf under way, and the last key of it that was passed.
    current: Option<(Leaf, Option<Key>)>,
}

impl Walk {
    const fn new() -> Self {
        Self { leaves: LeafSet::new(), current: None }
    }

    fn is_done(&self) -> bool {
        self.current.is_none() && self.leaves.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    /// An answer to its summary, or the next step of a comparison. A later one replaces it.
    pub(super) answer: Option<Message>,
    /// Objects that have changed since it was there.
    pub(super) urgent: BTreeSet<Key>,
    /// Objects that it was found to lack.
    pub(super) behind: BTreeSet<Key>,
    /// Leaves that it has nothing of.
    whole: Walk,
    /// Leaves in which it differs.
    listed: Walk,
    /// It has to be told when everything is listed.
    says_listed: bool,
    /// Objects to ask for.
    pub(super) wants: BTreeSet<Key>,
    /// Objects that it was asked for.
    pub(super) expected: BTreeSet<Key>,
    sent: u64,
    in_flight: VecDeque<InFlight>,
    bytes_in_flight: usize,
    received: u64,
    /// Messages to be acknowledged, each with the batch that has to be served before.
    acks: VecDeque<(u64, u64)>,
    /// When to ask whether it has the same; `None`: it asks.
    pub(super) compare_at: Option<Instant>,
    /// It was asked and has not answered.
    pub(super) is_asked: bool,
    /// Comparisons in a row that found a difference.
    pub(super) rounds: u32,
    /// Times in a row that it was busy comparing with somebody else.
    pub(super) declined: u32,
    pub(super) is_synchronised: bool,
    pub(super) was_ahead: bool,
    pub(super) was_full: bool,
}

impl Peer {
    pub(super) fn new(compare_at: Option<Instant>) -> Self {
        Self {
            answer: None,
            urgent: BTreeSet::new(),
            behind: BTreeSet::new(),
            whole: Walk::new(),
            listed: Walk::new(),
            says_listed: false,
            wants: BTreeSet::new(),
            expected: BTreeSet::new(),
            sent: 0,
            in_flight: VecDeque::new(),
            bytes_in_flight: 0,
            received: 0,
            acks: VecDeque::new(),
            compare_at,
            is_asked: false,
            rounds: 0,
            declined: 0,
            is_synchronised: false,
            was_ahead: false,
            was_full: false,
        }
    }

    /// Whether nothing is owed to it or by it, but for acknowledgements: what it has is then what its digests
    /// say.
    pub(super) fn is_quiet(&self) -> bool {
        self.urgent.is_empty()
            && self.behind.is_empty()
            && self.whole.is_done()
            && self.listed.is_done()
            && !self.says_listed
            && self.wants.is_empty()
            && self.expected.is_empty()
            && self.in_flight.is_empty()
    }

    /// The peer has nothing of the leaf.
    pub(super) fn give_leaf(&mut self, leaf: Leaf) {
        self.whole.leaves.insert(leaf);
    }

    /// The peer has something else in the leaf.
    pub(super) fn list_leaf(&mut self, leaf: Leaf) {
        self.listed.leaves.insert(leaf);
    }

    /// Says so when every leaf is listed.
    pub(super) fn say_listed(&mut self) {
        self.says_listed = true;
    }

    /// Notes a message that has come, to be acknowledged when the batch is served.
    pub(super) fn receive(&mut self, sequence: u64, batch: u64) -> Result<(), MessageError> {
        if sequence != self.received.wrapping_add(1) {
            return Err(MessageError::Sequence { received: sequence, last: self.received });
        }
        self.received = sequence;
        self.acks.push_back((sequence, batch));
        Ok(())
    }

    /// Takes an acknowledgement; gives the versions that somebody waits for.
    pub(super) fn acknowledge(&mut self, sequence: u64) -> Result<Vec<(Key, Version)>, MessageError> {
        if sequence > self.sent {
            return Err(MessageError::Acknowledgement(sequence));
        }
        let mut served = Vec::new();
        while self.in_flight.front().is_some_and(|message| message.sequence <= sequence)
            && let Some(message) = self.in_flight.pop_front()
        {
            self.bytes_in_flight = self.bytes_in_flight.saturating_sub(message.bytes);
            served.extend(message.awaited);
        }
        Ok(served)
    }

    /// The next message, if something is to be said and there is room on the way.
    pub(super) fn next_message(
        &mut self,
        objects: &BTreeMap<Slot, Entry>,
        is_awaited: impl Fn(&Key) -> bool,
        served: u64,
        limits: &Limits,
    ) -> Option<Message> {
        if let Some(sequence) = self.due_ack(served) {
            return Some(Message::Ack { sequence });
        }
        if let Some(answer) = self.answer.take() {
            return Some(answer);
        }
        if !self.wants.is_empty() {
            return Some(self.ask(limits));
        }
        if self.bytes_in_flight >= limits.window {
            return None;
        }
        let message = self.changes(objects, is_awaited, limits).or_else(|| self.listings(objects, limits));
        if message.is_none() && self.says_listed {
            self.says_listed = false;
            return Some(Message::Listed);
        }
        message
    }

    fn due_ack(&mut self, served: u64) -> Option<u64> {
        let mut due = None;
        while let Some((sequence, _)) = self.acks.front().copied().filter(|(_, batch)| *batch <= served) {
            self.acks.pop_front();
            due = Some(sequence);
        }
        due
    }

    fn ask(&mut self, limits: &Limits) -> Message {
        let (mut keys, mut size) = (Vec::new(), 0);
        while size < limits.piece
            && let Some(key) = self.wants.pop_first()
        {
            size += KEY_OVERHEAD + key.name.len();
            self.expected.insert(key.clone());
            keys.push(key);
        }
        Message::Want { keys }
    }

    fn changes(
        &mut self,
        objects: &BTreeMap<Slot, Entry>,
        is_awaited: impl Fn(&Key) -> bool,
        limits: &Limits,
    ) -> Option<Message> {
        let (mut records, mut awaited, mut size) = (Vec::new(), Vec::new(), 0);
        while size < limits.piece
            && let Some((key, entry)) = self.next_change(objects)
        {
            size += RECORD_OVERHEAD + key.name.len() + entry.value.as_ref().map_or(0, |value| value.len());
            if is_awaited(&key) {
                awaited.push((key.clone(), entry.version));
            }
            records.push(Record { key, version: entry.version, value: entry.value.clone() });
        }
        if records.is_empty() {
            return None;
        }
        let sequence = self.send(size, awaited);
        Some(Message::Changes { sequence, records })
    }

    /// The next object that the peer should get. What has just changed goes first.
    fn next_change<'a>(&mut self, objects: &'a BTreeMap<Slot, Entry>) -> Option<(Key, &'a Entry)> {
        while let Some(key) = self.urgent.pop_first().or_else(|| self.behind.pop_first()) {
            // One that was forgotten meanwhile is not missed.
            let slot = Slot::of(key);
            if let Some(entry) = objects.get(&slot) {
                return Some((slot.1, entry));
            }
        }
        let walk = &mut self.whole;
        while let Some((leaf, after)) = walk.current.take().or_else(|| Some((walk.leaves.take()?, None))) {
            if let Some((slot, entry)) = objects.range(Slot::behind(leaf, after.as_ref())).next()
                && slot.0 == leaf
            {
                walk.current = Some((leaf, Some(slot.1.clone())));
                return Some((slot.1.clone(), entry));
            }
        }
        None
    }

    fn listings(&mut self, objects: &BTreeMap<Slot, Entry>, limits: &Limits) -> Option<Message> {
        let (mut listings, mut size) = (Vec::new(), 0);
        let walk = &mut self.listed;
        while size < limits.piece
            && let Some((leaf, after)) = walk.current.take().or_else(|| Some((walk.leaves.take()?, None)))
        {
            let mut listing = Listing { leaf, after: after.clone(), until: None, entries: Vec::new() };
            size += 8;
            for (slot, entry) in objects.range(Slot::behind(leaf, after.as_ref())) {
                if slot.0 != leaf {
                    break;
                }
                if size >= limits.piece {
                    // The rest follows in the next message.
                    listing.until = listing.entries.last().map(|(key, _): &(Key, _)| key.clone()).or(after);
                    walk.current = Some((leaf, listing.until.clone()));
                    break;
                }
                size += ENTRY_OVERHEAD + slot.1.name.len();
                listing.entries.push((slot.1.clone(), entry.version));
            }
            // A part of a leaf in which nothing stands says nothing.
            if walk.current.is_none() || !listing.entries.is_empty() {
                listings.push(listing);
            }
        }
        if listings.is_empty() {
            return None;
        }
        let sequence = self.send(size, Vec::new());
        Some(Message::Items { sequence, listings })
    }

    fn send(&mut self, bytes: usize, awaited: Vec<(Key, Version)>) -> u64 {
        self.sent += 1;
        self.in_flight.push_back(InFlight { sequence: self.sent, bytes, awaited });
        self.bytes_in_flight += bytes;
        self.sent
    }
}

impl Slot {
    pub(super) fn of(key: Key) -> Self {
        Self(Leaf::of(&key), key)
    }

    /// Where the objects of a leaf are that stand behind a key.
    pub(super) fn behind(leaf: Leaf, after: Option<&Key>) -> (Bound<Self>, Bound<Self>) {
        let from = match after {
            Some(key) => Bound::Excluded(Self(leaf, key.clone())),
            None => Bound::Included(Self(leaf, Key::new(super::Kind(0), ""))),
        };
        (from, Bound::Unbounded)
    }
}
