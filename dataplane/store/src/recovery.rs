//! Reads a log from its first record to its last, once.
//!
//! Whether a message is alive is known only at the end of the log. So the first pass keeps what the
//! visitor is to be given of a message, without its body, for each file; the second pass hands it out and
//! lets go of it file by file, while the visitor's own memory grows. What is beyond
//! [`Options::recovery_bytes`] is read again instead.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::files;
use crate::format::{FILE_HEADER, FORMAT, FileHeader, FileHeaderError, Message, Reader, Record, put_number};
use crate::index::Index;
use crate::scan::{Scanner, Step};
use crate::segment::{Entry, Place, Segment};
use crate::types::{Options, QueueId, RecoveredMessage, Recovery, Reference, Visitor};

/// What the files of a log hold.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) index: Index,
    pub(crate) recovery: Recovery,
    /// The index of the next message in the last file.
    pub(crate) next_index: u32,
    /// The next number of a transaction: above all that are in the log.
    pub(crate) next_number: u64,
    /// Bytes of the last file with records that were durable when its last record was written.
    pub(crate) synced: u64,
    /// Files that were never part of the log, or hold nothing of it yet.
    pub(crate) leftovers: Vec<String>,
    disk: Arc<dyn Disk>,
    recovery_bytes: u64,
    /// What visitors are told of the durable messages of a file, in their order: length of the body,
    /// length of the meta, meta. Files without are read again.
    heads: HashMap<u32, Vec<u8>>,
    heads_bytes: u64,
    states: HashMap<(Reference, QueueId), Box<[u8]>>,
    objects: BTreeMap<Box<[u8]>, Box<[u8]>>,
    transactions: HashMap<u64, Pending>,
    /// The file whose records end without a seal: no file behind it may have any.
    open_end: Option<OpenEnd>,
    targets: Vec<QueueId>,
}

#[derive(Debug)]
struct OpenEnd {
    path: PathBuf,
    offset: u64,
    problem: &'static str,
}

/// A transaction whose commit was not found yet.
#[derive(Debug, Default)]
struct Pending {
    messages: Vec<Reference>,
    settlements: Vec<(QueueId, Reference)>,
    objects: Vec<ObjectChange>,
    segments: Vec<u32>,
}

#[derive(Debug)]
struct ObjectChange {
    key: Box<[u8]>,
    /// `None`: the object is gone.
    value: Option<Box<[u8]>>,
    place: Place,
}

impl Pending {
    fn changes(&self) -> u64 {
        (self.messages.len() + self.settlements.len() + self.objects.len()) as u64
    }
}

/// Reads all files of a log. It changes none.
pub(crate) fn scan(disk: &Arc<dyn Disk>, options: Options) -> Result<Scan, StoreError> {
    let names =
        disk.list().map_err(|source| StoreError::Io { action: "list", path: disk.path(""), source })?;
    let mut ids: Vec<u32> = names.iter().filter_map(|name| files::segment(name)).collect();
    ids.sort_unstable();
    let mut scan = Scan {
        index: Index::default(),
        recovery: Recovery::default(),
        next_index: 0,
        next_number: 0,
        synced: FILE_HEADER,
        leftovers: names.into_iter().filter(|name| files::is_unfinished(name)).collect(),
        disk: Arc::clone(disk),
        recovery_bytes: options.recovery_bytes,
        heads: HashMap::new(),
        heads_bytes: 0,
        states: HashMap::new(),
        objects: BTreeMap::new(),
        transactions: HashMap::new(),
        open_end: None,
        targets: Vec::new(),
    };
    for id in ids {
        scan.read_file(id)?;
    }
    scan.drop_uncommitted();
    Ok(scan)
}

/// Opens the file of a segment and reads its header.
pub(crate) fn open_file(disk: &dyn Disk, id: u32) -> Result<Segment, StoreError> {
    let path = disk.path(&files::name(id));
    let failed = |source| StoreError::Io { action: "read", path: path.clone(), source };
    let file = disk.open(&files::name(id)).map_err(failed)?;
    let length = file.length().map_err(failed)?;
    let mut bytes = [0; FILE_HEADER as usize];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64).map_err(failed)? {
            0 => break,
            read => filled += read,
        }
    }
    let corrupt = |problem| StoreError::Corrupt { path: path.clone(), offset: 0, problem };
    let header = FileHeader::decode(bytes.get(..filled).unwrap_or_default());
    let header = header.map_err(|error| match error {
        FileHeaderError::Newer(found) => {
            StoreError::NewerFormat { path: path.clone(), found, supported: FORMAT }
        }
        FileHeaderError::Damaged(problem) => corrupt(problem),
    })?;
    if header.segment != id {
        return Err(corrupt("it belongs to another place of the log: it was renamed"));
    }
    let mut segment = Segment::new(id, header.generation, file, length);
    segment.format = header.format;
    Ok(segment)
}

impl Scan {
    fn read_file(&mut self, id: u32) -> Result<(), StoreError> {
        let segment = open_file(&*self.disk, id)?;
        let path = self.disk.path(&files::name(id));
        let failed = |source| StoreError::Io { action: "read", path: path.clone(), source };
        let mut scanner = Scanner::new(Arc::clone(&segment.file), id).map_err(failed)?;
        self.recovery.segments += 1;
        self.index.segments.push(segment);
        let mut heads = Vec::new();
        let mut next_index = 0;
        let mut synced = FILE_HEADER;
        let problem = loop {
            match scanner.step().map_err(failed)? {
                Step::Record { record: Record::Seal, .. } => break None,
                Step::Record { offset, header, record, .. } => {
                    self.check_open_end()?;
                    if let Record::Mark { synced: mark } = record {
                        synced = mark;
                    }
                    let place = Place { segment: id, offset, length: header.record_length() as u32 };
                    self.take(place, &record, &mut next_index, &mut heads).map_err(|problem| {
                        StoreError::Corrupt { path: path.clone(), offset: u64::from(offset), problem }
                    })?;
                }
                Step::End => break Some("the file ends before its seal"),
                Step::Bad(problem) => break Some(problem),
            }
        };
        let (end, length) = (scanner.offset(), scanner.length());
        self.recovery.bytes += length;
        self.keep_heads(id, heads);
        if let Some(segment) = self.index.segments.last_mut() {
            segment.length = end;
            segment.is_sealed = problem.is_none();
        }
        match problem {
            None => {
                self.check_open_end()?;
                if let Some(segment) = self.index.segments.last_mut() {
                    segment.shrink();
                }
            }
            Some(problem) => self.judge_end(&mut scanner, path, problem)?,
        }
        // A file that was made ahead and never written to does not count.
        if self.open_end.is_some() && self.index.segments.last().is_none_or(|segment| segment.id != id) {
            return Ok(());
        }
        self.next_index = next_index;
        if end > FILE_HEADER {
            self.synced = synced;
        }
        Ok(())
    }

    /// Records after those that ended without a seal: they did not end there.
    fn check_open_end(&self) -> Result<(), StoreError> {
        match &self.open_end {
            Some(end) => {
                Err(StoreError::Corrupt { path: end.path.clone(), offset: end.offset, problem: end.problem })
            }
            None => Ok(()),
        }
    }

    /// The last file read has no seal. It may be the last of the log, torn by a crash; or damaged; or
    /// one that was made ahead.
    fn judge_end(
        &mut self,
        scanner: &mut Scanner,
        path: PathBuf,
        problem: &'static str,
    ) -> Result<(), StoreError> {
        let offset = scanner.offset();
        let failed = |source| StoreError::Io { action: "read", path: path.clone(), source };
        let tail = scanner.tail().map_err(failed)?;
        if tail.was_synced {
            return Err(StoreError::Corrupt { path, offset, problem });
        }
        if self.open_end.is_some() {
            if offset > FILE_HEADER {
                return self.check_open_end();
            }
            let made_ahead = self.index.segments.pop();
            self.leftovers.extend(made_ahead.map(|segment| files::name(segment.id)));
            return Ok(());
        }
        self.recovery.torn_bytes = tail.torn_bytes;
        self.open_end = Some(OpenEnd { path, offset, problem });
        Ok(())
    }

    fn keep_heads(&mut self, id: u32, mut heads: Vec<u8>) {
        if self.heads_bytes + heads.len() as u64 <= self.recovery_bytes {
            heads.shrink_to_fit();
            self.heads_bytes += heads.len() as u64;
            self.heads.insert(id, heads);
        }
    }

    /// Takes one record into account.
    fn take(
        &mut self,
        place: Place,
        record: &Record<'_>,
        next_index: &mut u32,
        heads: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        match *record {
            Record::Message(message) => self.take_message(place, message, next_index, heads)?,
            Record::Settle { transaction, queue, reference } => {
                if reference.segment() > place.segment {
                    return Err("a settlement of a message that is not there yet");
                }
                self.index.count_settlement(place.segment, place.length, reference);
                match transaction {
                    Some(number) => self.pending(number, place).settlements.push((queue, reference)),
                    None => self.settle(queue, reference),
                }
            }
            Record::Update { queue, reference, state } => {
                if self.index.holds(queue, reference) {
                    self.index.update(queue, reference, place);
                    self.states.insert((reference, queue), state.into());
                }
            }
            Record::Forget { queue } => {
                self.index.forget(queue, place);
            }
            Record::Put { transaction, key, value } => {
                let change = ObjectChange { key: key.into(), value: Some(value.into()), place };
                self.take_object(transaction, change);
            }
            Record::Delete { transaction, key } => {
                self.take_object(transaction, ObjectChange { key: key.into(), value: None, place });
            }
            Record::Commit { transaction } => {
                self.next_number = self.next_number.max(transaction.saturating_add(1));
                if let Some(pending) = self.transactions.remove(&transaction) {
                    self.index.commit(transaction, place, &pending.segments);
                    for (queue, reference) in pending.settlements {
                        self.settle(queue, reference);
                    }
                    for change in pending.objects {
                        self.change_object(change);
                    }
                }
            }
            Record::Mark { .. } | Record::Seal => {}
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        place: Place,
        message: Message<'_>,
        next_index: &mut u32,
        heads: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        if message.index < *next_index {
            return Err("a message out of order");
        }
        *next_index = message.index.saturating_add(1);
        if !message.durable {
            self.recovery.volatile += 1;
            return Ok(());
        }
        message.targets.collect_into(&mut self.targets);
        if let Some(segment) = self.index.segments.last_mut() {
            segment.add(message.index, place.offset, place.length, &self.targets, true);
        }
        put_number(heads, message.body.len() as u64);
        put_number(heads, message.meta.len() as u64);
        heads.extend_from_slice(message.meta);
        if let Some(number) = message.transaction {
            let reference = Reference::new(place.segment, message.index);
            self.pending(number, place).messages.push(reference);
        }
        Ok(())
    }

    fn take_object(&mut self, transaction: Option<u64>, change: ObjectChange) {
        match transaction {
            Some(number) => self.pending(number, change.place).objects.push(change),
            None => self.change_object(change),
        }
    }

    fn change_object(&mut self, change: ObjectChange) {
        let ObjectChange { key, value, place } = change;
        match value {
            Some(value) => {
                self.index.put(&key, place);
                self.objects.insert(key, value);
            }
            None => {
                self.index.delete(&key, place);
                self.objects.remove(&key);
            }
        }
    }

    /// The transaction that the record at `place` belongs to.
    fn pending(&mut self, number: u64, place: Place) -> &mut Pending {
        self.next_number = self.next_number.max(number.saturating_add(1));
        let pending = self.transactions.entry(number).or_default();
        if pending.segments.last() != Some(&place.segment) {
            pending.segments.push(place.segment);
        }
        pending
    }

    fn settle(&mut self, queue: QueueId, reference: Reference) {
        self.index.settle(queue, reference);
        if !self.states.is_empty() {
            self.states.remove(&(reference, queue));
        }
    }

    fn drop_uncommitted(&mut self) {
        for pending in std::mem::take(&mut self.transactions).into_values() {
            self.recovery.uncommitted += pending.changes();
            for reference in pending.messages {
                self.index.drop_message(reference);
            }
        }
    }

    /// Hands everything that is alive to the visitor: objects, then messages in log order.
    pub(crate) fn visit(&mut self, visitor: &mut dyn Visitor) -> Result<Recovery, StoreError> {
        for (key, value) in std::mem::take(&mut self.objects) {
            self.recovery.objects += 1;
            visitor.object(&key, &value);
        }
        let mut known = HashMap::new();
        self.recovery.unknown =
            self.index.drop_queues(|queue| !*known.entry(queue).or_insert_with(|| visitor.knows(queue)));
        let mut queues = Vec::new();
        for segment in self.index.segments.iter().filter(|segment| segment.messages > 0) {
            let mut visit = Visit {
                segment,
                states: &self.states,
                queues: &mut queues,
                messages: &mut self.recovery.messages,
                visitor: &mut *visitor,
            };
            match self.heads.remove(&segment.id) {
                Some(heads) => visit.heads(&heads),
                None => visit.read_again(&*self.disk)?,
            }
        }
        self.heads = HashMap::new();
        self.states = HashMap::new();
        Ok(self.recovery)
    }
}

/// Hands out the live messages of one file.
struct Visit<'a> {
    segment: &'a Segment,
    states: &'a HashMap<(Reference, QueueId), Box<[u8]>>,
    queues: &'a mut Vec<QueueId>,
    messages: &'a mut u64,
    visitor: &'a mut dyn Visitor,
}

impl Visit<'_> {
    fn heads(&mut self, heads: &[u8]) {
        let mut reader = Reader(heads);
        for entry in self.segment.entries() {
            let (Some(length), Some(meta)) = (reader.number(), reader.slice()) else { return };
            self.message(entry, meta, length);
        }
    }

    fn read_again(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let segment = self.segment;
        let path = || disk.path(&files::name(segment.id));
        let failed = |source| StoreError::Io { action: "read", path: path(), source };
        let mut scanner = Scanner::new(Arc::clone(&segment.file), segment.id).map_err(failed)?;
        while scanner.offset() < segment.length {
            match scanner.step().map_err(failed)? {
                Step::Record { record: Record::Message(message), .. } => {
                    let entry = segment.entry(message.index).filter(|entry| entry.is_durable());
                    if let Some(entry) = entry {
                        self.message(entry, message.meta, message.body.len() as u64);
                    }
                }
                Step::Record { .. } => {}
                Step::End | Step::Bad(_) => {
                    let problem = "a record changed between two reads";
                    return Err(StoreError::Corrupt { path: path(), offset: scanner.offset(), problem });
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, entry: &Entry, meta: &[u8], body_length: u64) {
        if !self.segment.is_live(entry) {
            return;
        }
        self.segment.holders(entry, self.queues);
        let reference = Reference::new(self.segment.id, entry.index);
        for queue in &*self.queues {
            let state = match self.states.is_empty() {
                true => None,
                false => self.states.get(&(reference, *queue)).map(|state| &**state),
            };
            // A record is shorter than 4 GiB, and so is a body.
            let body_length = u32::try_from(body_length).unwrap_or(u32::MAX);
            *self.messages += 1;
            self.visitor.message(RecoveredMessage { queue: *queue, reference, meta, state, body_length });
        }
    }
}
