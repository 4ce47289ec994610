//! Messages that homes on two nodes pass to each other: each is stored at the new home once, whatever is lost.
//!
//! A message that leaves for a home on another node stays at its old home until the new one has it. When the
//! answer is lost on its way, or the old home crashes before its disk knows that the message has left, it is
//! passed on again. So it goes by what its old home calls it: node, queue and [`Label`]. The new home keeps
//! that beside the message, as an object of the same transaction of its store, and accepts what comes again
//! without storing it.
//!
//! ```text
//! old home                                   new home
//!   Publish, with a handover ──────────────▶ Append, Put (tagged), Commit
//!   Settle, and when that is on disk ◀─────── accepted
//!   Left ──────────────────────────────────▶ Delete
//!
//! they meet again
//!   ◀───────────────────────────────── AskLeft: what has no Left
//!   what still waits leaves, without being passed on again; then, when that is on disk
//!   Left ──────────────────────────────────▶ Delete
//! ```
//!
//! Messages that are in memory only end with their node, and need nothing of this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Pending;
use super::forward::Forward;
use super::home::NO_OBJECT;
use super::protocol::{Handover, Label, Publication, Source, Wire};
use super::record::HandoverRecord;
use crate::core::Core;
use crate::key::HomeKey;
use crate::outcome::Outcome;
use crate::queue::{Entry, EntryKey};
use crate::settings::{ShardId, home};
use crate::store::{QueueId, Reference, StoreRequest, Ticket, TransactionId, UnixMillis};

/// Messages that a shard remembers to have taken over, at most: with more the old homes wait. A pipe has some
/// hundreds of them under way.
pub(crate) const MAX_HANDOVERS: usize = 16_384;

/// Labels in one message between nodes.
pub(crate) const MAX_LABELS: usize = 1_024;

/// Messages that homes on other nodes have passed to homes here and may pass on again.
#[derive(Debug, Default)]
pub(crate) struct Handovers {
    taken: BTreeMap<HandoverKey, Taken>,
}

/// What the old home calls a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HandoverKey {
    pub(crate) node: Arc<str>,
    pub(crate) queue: QueueId,
    pub(crate) label: Label,
}

#[derive(Debug)]
struct Taken {
    record: HandoverRecord,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// The store is about to have message and object.
    Storing(TransactionId),
    Stored,
}

impl Core {
    /// Takes a message that a home on another node has passed on, unless it is here already.
    pub(crate) fn take_passed_on(
        &mut self,
        now: Instant,
        from: ShardId,
        address: &Arc<str>,
        handover: Handover,
        publication: Publication,
    ) {
        let source = publication.source;
        let Some(node) = self.name_of_node(from) else { return self.answer(source, Outcome::Released) };
        let Handover { address: old, queue, label } = handover;
        let key = HandoverKey { node, queue, label };
        match self.broker.handovers.taken.get(&key) {
            Some(Taken { stage: Stage::Stored, .. }) => return self.answer(source, Outcome::Accepted),
            Some(Taken { stage: Stage::Storing(id), .. }) => return self.answer_instead(*id, source),
            None if self.broker.handovers.taken.len() >= MAX_HANDOVERS => {
                return self.answer(source, Outcome::Released);
            }
            None => {}
        }
        let record = HandoverRecord { address: address.clone(), old };
        let object = (key.encode(), record.value());
        let id = self.store_with(now, key.clone(), source, (address.clone(), publication), object);
        self.broker.handovers.taken.insert(key, Taken { record, stage: Stage::Storing(id) });
    }

    /// Whether a home takes a message over. One that is on its way itself does not say so: it refuses.
    pub(crate) fn takes_over(&self, home: HomeKey, publication: &Publication) -> bool {
        let home = self.broker.homes.get(home);
        let is_pipe = home.and_then(|home| home.queue()).is_some_and(|queue| queue.pipe.is_some());
        publication.handover.is_some() && !(is_pipe && publication.moved.is_some())
    }

    /// The store has a message that was passed on, or does not take it.
    pub(crate) fn taken_over(&mut self, key: HandoverKey, source: Source, outcome: Outcome) {
        if outcome != Outcome::Accepted {
            self.broker.handovers.taken.remove(&key);
        } else if let Some(taken) = self.broker.handovers.taken.get_mut(&key) {
            taken.stage = Stage::Stored;
            if matches!(source, Source::Nobody) {
                self.ask_left_alone(&key);
            }
        }
        self.answer(source, outcome);
    }

    /// Asks for a message whose old home was lost while it was stored here, and may be back.
    fn ask_left_alone(&mut self, key: &HandoverKey) {
        let Some(taken) = self.broker.handovers.taken.get(key) else { return };
        let slot = self.nodes.iter().find(|(_, node)| node.name == key.node).map(|(slot, _)| *slot);
        let Some((slot, shards)) = slot.and_then(|slot| Some((slot, self.shards_of(slot)?))) else { return };
        let peer = ShardId::new(slot, home(&taken.record.old, shards).shard());
        if self.peers.contains(peer) {
            self.send_wire(peer, Wire::AskLeft { queue: key.queue, labels: vec![key.label] });
        }
    }

    /// Makes known again what was taken over before a restart.
    pub(crate) fn recover_handover(&mut self, key: HandoverKey, record: HandoverRecord) -> bool {
        self.broker.handovers.taken.insert(key, Taken { record, stage: Stage::Stored });
        true
    }

    /// The old home does not have these any more, and its disk knows.
    pub(crate) fn handle_left(&mut self, from: ShardId, queue: QueueId, labels: Vec<Label>) {
        let Some(node) = self.name_of_node(from) else { return };
        for label in labels {
            let key = HandoverKey { node: node.clone(), queue, label };
            let is_stored = |taken: &Taken| taken.stage == Stage::Stored;
            if self.broker.handovers.taken.get(&key).is_some_and(is_stored) {
                self.broker.handovers.taken.remove(&key);
                let ticket = Ticket(self.broker.pending.insert(Pending::Delete).to_bits());
                self.ask_store(StoreRequest::Delete { ticket, key: key.encode(), transaction: None });
            }
        }
    }

    /// Asks a shard that has come what of that which it passed on has left it: it may have been said to
    /// nobody.
    pub(crate) fn ask_left(&mut self, peer: ShardId) {
        let Some((node, shards)) = self.name_of_node(peer).zip(self.shards_of(peer.slot())) else { return };
        let mut by_queue: BTreeMap<QueueId, Vec<Label>> = BTreeMap::new();
        let label = Label { reference: Reference(0), arrived: UnixMillis(0) };
        let first = HandoverKey { node: node.clone(), queue: QueueId(0), label };
        for (key, taken) in self.broker.handovers.taken.range(first..) {
            if key.node != node {
                break;
            }
            // What is being stored may yet fail: the old home has to keep it.
            let is_its = home(&taken.record.old, shards).shard() == peer.shard();
            if is_its && taken.stage == Stage::Stored {
                by_queue.entry(key.queue).or_default().push(key.label);
            }
        }
        for (queue, labels) in by_queue {
            for labels in labels.chunks(MAX_LABELS) {
                self.send_wire(peer, Wire::AskLeft { queue, labels: labels.to_vec() });
            }
        }
    }

    fn name_of_node(&self, shard: ShardId) -> Option<Arc<str>> {
        self.nodes.get(&shard.slot()).map(|node| node.name.clone())
    }

    // ---- at the old home ---------------------------------------------------------------------------------

    /// What an entry is called for a home on another node, when it has to be stored there once.
    pub(crate) fn handover_of(&self, home: HomeKey, entry: EntryKey, to: ShardId) -> Option<Box<Handover>> {
        let home = self.broker.homes.get(home).filter(|_| !to.is_here())?;
        let queue = home.queue()?;
        let entry = queue.queue.entry(entry).filter(|entry| entry.is_durable())?;
        let (queue, label) = (queue.id?, label_of(entry)?);
        Some(Box::new(Handover { address: home.name.clone(), queue, label }))
    }

    /// The other address has a message: it has left its queue, and a home on another node hears of that when
    /// the disk knows.
    pub(crate) fn finish_forward(&mut self, forward: &Forward) {
        let (home, entry) = (forward.home, forward.entry);
        let told = forward.there.and_then(|to| Some((to, self.handover_of(home, entry, to)?)));
        let Some((to, Handover { queue, label, .. })) = told.map(|(to, what)| (to, *what)) else {
            return self.finish_leaving(home, entry);
        };
        if let Some(home) = self.queue_home(home) {
            home.queue.remove(entry);
        }
        let pending = self.broker.pending.insert(Pending::Left { to, queue, labels: vec![label] });
        let (ticket, reference) = (Some(Ticket(pending.to_bits())), label.reference);
        self.ask_store(StoreRequest::Settle { queue, reference, ticket, transaction: None });
    }

    /// A new home has these. What waits here all the same leaves: it was passed on, and nobody took note.
    pub(crate) fn handle_ask_left(
        &mut self,
        now: Instant,
        from: ShardId,
        queue: QueueId,
        labels: Vec<Label>,
    ) {
        let mut gone: BTreeSet<Label> = labels.into_iter().collect();
        if let Some(key) = self.broker.by_id.get(&queue).copied() {
            for (entry, label) in self.entries_labelled(key, &gone) {
                let removed = self.queue_home(key).and_then(|home| {
                    home.queue.take_waiting(entry).then(|| home.queue.remove(entry)).flatten()
                });
                match removed {
                    Some(removed) => self.settle_in_store(key, removed),
                    // Somebody has it. It is asked for again when the nodes meet the next time.
                    None => {
                        gone.remove(&label);
                    }
                }
            }
            self.mark_home(now, key);
        }
        if gone.is_empty() {
            return;
        }
        // Behind every settlement that may still be on its way to the disk: the store answers in order.
        let labels = gone.into_iter().collect();
        let pending = self.broker.pending.insert(Pending::Left { to: from, queue, labels });
        let (ticket, key) = (Ticket(pending.to_bits()), Bytes::from_static(NO_OBJECT));
        self.ask_store(StoreRequest::Delete { ticket, key, transaction: None });
    }

    fn entries_labelled(&self, key: HomeKey, labels: &BTreeSet<Label>) -> Vec<(EntryKey, Label)> {
        let Some(home) = self.broker.homes.get(key).and_then(|home| home.queue()) else { return Vec::new() };
        let entries = home.queue.entries(None);
        let labelled = entries.filter_map(|(key, entry)| Some((key, label_of(entry)?)));
        labelled.filter(|(_, label)| labels.contains(label)).collect()
    }

    /// The disk knows that these have left.
    pub(crate) fn have_left(&mut self, to: ShardId, queue: QueueId, labels: Vec<Label>) {
        // One that is gone asks when it is back.
        if self.peers.contains(to) {
            self.send_wire(to, Wire::Left { queue, labels });
        }
    }
}

fn label_of(entry: &Entry) -> Option<Label> {
    Some(Label { reference: entry.reference()?, arrived: entry.arrived() })
}
