//! A log with a model beside it: what each operation means, in the simplest words.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::testing::FaultyDisk;
use crate::{
    Compaction, Log, NewMessage, Options, QueueId, RecoveredMessage, Recovery, Reference, StoreError,
    TransactionId, Visitor,
};

/// A message as one queue holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) meta: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) state: Option<Vec<u8>>,
    pub(super) durable: bool,
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) messages: BTreeMap<(Reference, QueueId), Held>,
    pub(super) objects: BTreeMap<Vec<u8>, Vec<u8>>,
    open: BTreeMap<TransactionId, Pending>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pending {
    messages: BTreeMap<(Reference, QueueId), Held>,
    settled: Vec<(Reference, QueueId)>,
    objects: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

/// What was asked of a log that did it.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Append {
        reference: Reference,
        targets: Vec<QueueId>,
        held: Held,
        transaction: Option<TransactionId>,
    },
    Settle {
        queue: QueueId,
        reference: Reference,
        transaction: Option<TransactionId>,
    },
    Update {
        queue: QueueId,
        reference: Reference,
        state: Vec<u8>,
    },
    Forget {
        queue: QueueId,
    },
    /// Without a value it is gone.
    Object {
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        transaction: Option<TransactionId>,
    },
    Commit {
        transaction: TransactionId,
    },
    Rollback {
        transaction: TransactionId,
    },
}

impl Model {
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Append { reference, targets, held, transaction } => {
                let messages = match transaction {
                    Some(id) => &mut self.open.entry(*id).or_default().messages,
                    None => &mut self.messages,
                };
                messages.extend(targets.iter().map(|queue| ((*reference, *queue), held.clone())));
            }
            Change::Settle { queue, reference, transaction: Some(id) } => {
                self.open.entry(*id).or_default().settled.push((*reference, *queue));
            }
            Change::Settle { queue, reference, transaction: None } => {
                self.messages.remove(&(*reference, *queue));
            }
            Change::Update { queue, reference, state } => {
                if let Some(held) = self.messages.get_mut(&(*reference, *queue)) {
                    held.state = Some(state.clone());
                }
            }
            Change::Forget { queue } => {
                self.messages.retain(|(_, of), _| of != queue);
                for pending in self.open.values_mut() {
                    pending.messages.retain(|(_, of), _| of != queue);
                }
            }
            Change::Object { key, value, transaction: Some(id) } => {
                self.open.entry(*id).or_default().objects.insert(key.clone(), value.clone());
            }
            Change::Object { key, value, transaction: None } => self.set_object(key, value.as_deref()),
            Change::Commit { transaction } => {
                let pending = self.open.remove(transaction).unwrap_or_default();
                self.messages.extend(pending.messages);
                for settled in pending.settled {
                    self.messages.remove(&settled);
                }
                for (key, value) in pending.objects {
                    self.set_object(&key, value.as_deref());
                }
            }
            Change::Rollback { transaction } => {
                self.open.remove(transaction);
            }
        }
    }

    fn set_object(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.objects.insert(key.to_vec(), value.to_vec()),
            None => self.objects.remove(key),
        };
    }

    /// What is left of it after a restart.
    pub(super) fn restarted(&self) -> Self {
        let durable = self.messages.iter().filter(|(_, held)| held.durable);
        Self {
            messages: durable.map(|(name, held)| (*name, held.clone())).collect(),
            objects: self.objects.clone(),
            open: BTreeMap::new(),
        }
    }

    /// Every message that can be read, those of open transactions too.
    pub(super) fn readable(&self) -> BTreeMap<Reference, Vec<u8>> {
        let pending = self.open.values().flat_map(|pending| &pending.messages);
        let all = self.messages.iter().chain(pending);
        all.map(|((reference, _), held)| (*reference, held.body.clone())).collect()
    }
}

/// Name, queue, meta, state and length of the body.
pub(super) type VisitedMessage = (Reference, QueueId, Vec<u8>, Option<Vec<u8>>, u32);

/// What a visitor was given.
#[derive(Debug, Default)]
pub(super) struct Visited {
    pub(super) messages: Vec<VisitedMessage>,
    pub(super) objects: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) unknown: Vec<QueueId>,
}

impl Visitor for Visited {
    fn object(&mut self, key: &[u8], value: &[u8]) {
        assert!(self.messages.is_empty(), "objects come first");
        assert!(self.objects.insert(key.to_vec(), value.to_vec()).is_none(), "an object comes once");
    }

    fn knows(&mut self, queue: QueueId) -> bool {
        !self.unknown.contains(&queue)
    }

    fn message(&mut self, message: RecoveredMessage<'_>) {
        let RecoveredMessage { queue, reference, meta, state, body_length } = message;
        let last = self.messages.last().map(|(reference, queue, ..)| (*reference, *queue));
        assert!(last < Some((reference, queue)), "messages come in log order, each once");
        self.messages.push((reference, queue, meta.to_vec(), state.map(<[u8]>::to_vec), body_length));
    }
}

impl Visited {
    /// In what it differs from the model: how much, and what is lost, has returned, has changed.
    fn difference(&self, model: &Model) -> (usize, [Vec<(Reference, QueueId)>; 3], bool) {
        let found: BTreeMap<_, _> =
            self.messages.iter().map(|message| ((message.0, message.1), (&message.2, &message.3))).collect();
        let lost: Vec<_> = model.messages.keys().filter(|name| !found.contains_key(name)).copied().collect();
        let returned: Vec<_> =
            found.keys().filter(|name| !model.messages.contains_key(name)).copied().collect();
        let is_other = |(name, held): (&_, &Held)| {
            let (meta, state) = found.get(name)?;
            (**meta != held.meta || **state != held.state).then_some(*name)
        };
        let changed: Vec<_> = model.messages.iter().filter_map(is_other).collect();
        let objects = self.objects != model.objects;
        let total = lost.len() + returned.len() + changed.len() + usize::from(objects);
        (total, [lost, returned, changed], objects)
    }

    /// Whether this is what the model holds.
    pub(super) fn is(&self, model: &Model) -> bool {
        self.objects == model.objects
            && self.messages.len() == model.messages.len()
            && self.messages.iter().zip(&model.messages).all(|(visited, (name, held))| {
                let (reference, queue, meta, state, body_length) = visited;
                (*reference, *queue) == *name
                    && *meta == held.meta
                    && *state == held.state
                    && *body_length as usize == held.body.len()
            })
    }
}

/// A log, and what it should hold.
#[derive(Debug)]
pub(super) struct Bed {
    pub(super) disk: FaultyDisk,
    pub(super) options: Options,
    pub(super) log: Log,
    pub(super) model: Model,
    /// The model when everything was last durable.
    durable: Model,
    /// What was done since.
    changes: Vec<Change>,
    /// The largest record so far, about.
    pub(super) largest: u64,
}

pub(super) const SEGMENT: u64 = 16 << 10;

impl Bed {
    pub(super) fn new() -> Self {
        Self::with(1, Options { segment_bytes: SEGMENT, ..Options::default() })
    }

    pub(super) fn with(seed: u64, options: Options) -> Self {
        let disk = FaultyDisk::new(seed);
        let (log, _, _) = open(&disk, options).expect("an empty directory is a log");
        let model = Model::default();
        Self { disk, options, log, model: model.clone(), durable: model, changes: Vec::new(), largest: 0 }
    }

    fn change(&mut self, change: Change) {
        self.model.apply(&change);
        self.changes.push(change);
    }

    pub(super) fn append(
        &mut self,
        queues: &[u64],
        durable: bool,
        transaction: Option<u64>,
        body: &[u8],
    ) -> Result<Reference, StoreError> {
        let transaction = transaction.map(TransactionId);
        let targets: Vec<QueueId> = queues.iter().copied().map(QueueId).collect();
        let meta = format!("meta {}", body.len()).into_bytes();
        let message = NewMessage { targets: &targets, durable, transaction, meta: &meta, body };
        // One that is refused may have got room before.
        self.largest = self.largest.max(body.len() as u64 + 11 * targets.len() as u64 + 200);
        let reference = self.log.append(&message)?;
        let held = Held { meta, body: body.to_vec(), state: None, durable };
        self.change(Change::Append { reference, targets, held, transaction });
        Ok(reference)
    }

    /// A durable message of one queue, outside of a transaction, that is taken.
    pub(super) fn send(&mut self, queue: u64, body: &[u8]) -> Reference {
        self.append(&[queue], true, None, body).expect("there is room")
    }

    pub(super) fn settle(
        &mut self,
        queue: u64,
        reference: Reference,
        transaction: Option<u64>,
    ) -> Result<(), StoreError> {
        let (queue, transaction) = (QueueId(queue), transaction.map(TransactionId));
        self.log.settle(queue, reference, transaction)?;
        self.change(Change::Settle { queue, reference, transaction });
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        queue: u64,
        reference: Reference,
        state: &[u8],
    ) -> Result<(), StoreError> {
        self.log.update(QueueId(queue), reference, state)?;
        self.change(Change::Update { queue: QueueId(queue), reference, state: state.to_vec() });
        Ok(())
    }

    pub(super) fn forget(&mut self, queue: u64) -> Result<(), StoreError> {
        self.log.forget(QueueId(queue))?;
        self.change(Change::Forget { queue: QueueId(queue) });
        Ok(())
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.put_in(key, value, None)
    }

    pub(super) fn put_in(
        &mut self,
        key: &[u8],
        value: &[u8],
        transaction: Option<u64>,
    ) -> Result<(), StoreError> {
        let transaction = transaction.map(TransactionId);
        self.log.put(key, value, transaction)?;
        self.change(Change::Object { key: key.to_vec(), value: Some(value.to_vec()), transaction });
        Ok(())
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.delete_in(key, None)
    }

    pub(super) fn delete_in(&mut self, key: &[u8], transaction: Option<u64>) -> Result<(), StoreError> {
        let transaction = transaction.map(TransactionId);
        self.log.delete(key, transaction)?;
        self.change(Change::Object { key: key.to_vec(), value: None, transaction });
        Ok(())
    }

    pub(super) fn commit(&mut self, transaction: u64) -> Result<(), StoreError> {
        self.log.commit(TransactionId(transaction))?;
        self.change(Change::Commit { transaction: TransactionId(transaction) });
        Ok(())
    }

    pub(super) fn rollback(&mut self, transaction: u64) {
        self.log.rollback(TransactionId(transaction));
        self.change(Change::Rollback { transaction: TransactionId(transaction) });
    }

    pub(super) fn flush(&mut self, sync: bool) -> Result<(), StoreError> {
        self.log.flush(sync)?;
        if sync {
            self.durable = self.model.clone();
            self.changes.clear();
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.flush(true).expect("the disk works");
    }

    /// Compacts until there is nothing to do, and holds the log to its bound on the disk.
    pub(super) fn compact(&mut self) {
        for _ in 0..100_000 {
            if self.log.compact_step(1000).expect("the disk works") == Compaction::Idle {
                self.check_disk_bound();
                return;
            }
        }
        panic!("compaction does not come to an end: {:?}", self.log.status());
    }

    pub(super) fn check_disk_bound(&self) {
        if self.disk.is_off() {
            return;
        }
        let status = self.log.status();
        let segment = self.options.segment_bytes.max(self.largest + 500);
        let bound = 2 * status.live_bytes + 2 * segment;
        let used = self.disk.used();
        assert!(status.disk_bytes <= bound && used <= bound, "{used} bytes are above {bound}: {status:?}");
        assert_eq!(used, status.disk_bytes, "{status:?}");
    }

    /// Whatever can be read is what was written.
    pub(super) fn check_bodies(&self) {
        if self.disk.is_off() {
            return;
        }
        let readable = self.model.readable();
        for (reference, body) in &readable {
            let location = self.log.locate(*reference).unwrap_or_else(|| panic!("{reference:?} is lost"));
            assert_eq!(location.read().expect("it can be read"), body, "{reference:?}");
        }
        assert_eq!(self.log.status().messages, readable.len() as u64);
    }

    /// Goes on with what a crash left: nothing durable is missing, nothing is there that was gone, and
    /// what is there is what there was at some moment.
    pub(super) fn reopen(self, left: FaultyDisk) -> Self {
        let Self { options, durable, changes, largest, log, .. } = self;
        drop(log);
        let (log, _, visited) = open(&left, options).expect("a crash leaves a log that opens");
        let mut model = durable;
        let mut changes = changes.iter();
        let mut nearest = visited.difference(&model.restarted());
        while !visited.is(&model.restarted()) {
            let Some(change) = changes.next() else {
                panic!("what was found was there at no moment; the nearest is {nearest:?}");
            };
            model.apply(change);
            nearest = nearest.min(visited.difference(&model.restarted()));
        }
        let model = model.restarted();
        let bed =
            Self { disk: left, options, log, durable: model.clone(), model, changes: Vec::new(), largest };
        bed.check_bodies();
        bed
    }

    pub(super) fn crash(self) -> Self {
        let left = self.disk.crash();
        self.reopen(left)
    }

    pub(super) fn kill(self) -> Self {
        let left = self.disk.kill();
        self.reopen(left)
    }
}

pub(super) fn open(disk: &FaultyDisk, options: Options) -> Result<(Log, Recovery, Visited), StoreError> {
    open_knowing(disk, options, &[])
}

pub(super) fn open_knowing(
    disk: &FaultyDisk,
    options: Options,
    unknown: &[u64],
) -> Result<(Log, Recovery, Visited), StoreError> {
    let unknown = unknown.iter().copied().map(QueueId).collect();
    let mut visited = Visited { unknown, ..Visited::default() };
    let (log, recovery) = Log::open(Arc::new(disk.clone()), options, &mut visited)?;
    assert_eq!(recovery.messages, visited.messages.len() as u64);
    assert_eq!(recovery.objects, visited.objects.len() as u64);
    Ok((log, recovery, visited))
}
