//! The log: one owner, one writer.
//!
//! Records gather in memory and are written at once. Room is set aside before a record is taken, with a
//! reserve behind it for what frees room later: settlements are taken when messages no longer are. A
//! full file is sealed and synced before the next one gets its first record, so only the last file can
//! end in the middle of a record.

mod rewrite;

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use self::rewrite::Rewrite;
use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::files;
use crate::format::{
    self, FILE_HEADER, FORMAT, FileHeader, HEADER, Header, MAX_RECORD, MAX_VARINT, Record, SMALL_RECORD,
    kind, put_number,
};
use crate::index::Index;
use crate::location::Location;
use crate::recovery;
use crate::segment::{Place, Segment};
use crate::types::{
    Compaction, NewMessage, Options, QueueId, RecoveredMessage, Recovery, Reference, State, Status,
    TransactionId, Visitor,
};

/// A log that is open.
///
/// Records are in memory until [`flush`](Self::flush), and durable when a flush with `sync` returned:
/// answer nobody before. After a failed write or sync every call that would write is refused with the
/// reason, and what was written before stays readable, until the log is opened again.
#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    options: Options,
    /// Holds the directory.
    _lock: Box<dyn Any + Send + Sync>,
    pub(crate) index: Index,
    writer: Writer,
    /// The file after this one, made when this one has no room for the reserve.
    next: Option<Segment>,
    transactions: HashMap<TransactionId, Open>,
    /// The numbers of the transactions that are open and have records.
    open_numbers: HashSet<u64>,
    next_number: u64,
    rewrite: Option<Rewrite>,
    failure: Option<Arc<str>>,
    /// Why the last message was refused.
    full: Option<Arc<str>>,
    /// The targets of a message, ascending; kept for its room.
    targets: Vec<QueueId>,
}

/// Knows every queue, and wants nothing of it.
struct Everything;

impl Visitor for Everything {
    fn object(&mut self, _: &[u8], _: &[u8]) {}

    fn knows(&mut self, _: QueueId) -> bool {
        true
    }

    fn message(&mut self, _: RecoveredMessage<'_>) {}
}

/// Where the log ends.
#[derive(Debug)]
struct Writer {
    /// Bytes of the file at which the next one follows.
    limit: u64,
    /// Bytes written to the file.
    written: u64,
    /// Bytes of the file that are durable.
    synced: u64,
    /// Bytes of the file that were written before, if only with zeros.
    zeroed: u64,
    /// Records that are not written yet.
    buffer: Vec<u8>,
    next_index: u32,
    /// The next record is preceded by one that says that this much was synced.
    mark: Option<u64>,
    /// Something that recovery would miss is not durable.
    owes_sync: bool,
}

/// A transaction that is neither committed nor rolled back.
#[derive(Debug, Default)]
struct Open {
    /// Its name in the log, never given twice; without one, it has no records.
    number: Option<u64>,
    messages: Vec<Reference>,
    settlements: Vec<Settlement>,
    /// What becomes of objects: `None`, it is gone.
    objects: BTreeMap<Box<[u8]>, Option<Box<[u8]>>>,
    /// Bytes that their records have at most.
    object_bytes: u64,
    /// The files with records of it.
    segments: Vec<u32>,
}

/// A settlement that waits for a commit.
#[derive(Clone, Copy, Debug)]
struct Settlement {
    queue: QueueId,
    reference: Reference,
    /// Its record: none when the message is not durable.
    place: Option<Place>,
}

/// Zeros written ahead of small flushes: where a file was written before, a sync of its content needs no
/// metadata, which takes half of the time.
const ZEROS_AHEAD: u64 = 256 << 10;
/// The largest flush that is worth zeros ahead of the next one.
const SMALL_FLUSH: u64 = 64 << 10;
/// Bytes written over themselves at once when a log is opened.
const AGAIN_BYTES: usize = 1 << 20;
/// Room of the buffer that is kept from one flush to the next.
const KEPT_BUFFER: usize = 4 << 20;

impl Log {
    /// Opens the log of a directory, or begins one where there is none, and gives what it holds to
    /// `visitor`.
    ///
    /// # Errors
    ///
    /// Every [`StoreError`] but `Failed`. The directory is then as it was, but for files that were never
    /// complete.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        visitor: &mut dyn Visitor,
    ) -> Result<(Self, Recovery), StoreError> {
        options.check()?;
        let lock = lock(&*disk)?;
        let mut scan = recovery::scan(&disk, options)?;
        let writer = open_writer(&disk, options, &mut scan)?;
        let recovery = scan.visit(visitor)?;
        let mut log = Self {
            disk,
            options,
            _lock: lock,
            index: scan.index,
            writer,
            next: None,
            transactions: HashMap::new(),
            open_numbers: HashSet::new(),
            next_number: scan.next_number,
            rewrite: None,
            failure: None,
            full: None,
            targets: Vec::new(),
        };
        for segment in &mut log.index.segments {
            trim(segment);
        }
        Ok((log, recovery))
    }

    /// Reads every record of a log that nobody has open, and changes nothing. What it returns is what
    /// opening the log for a visitor that knows every queue would.
    ///
    /// # Errors
    ///
    /// `InUse`, `NewerFormat`, `Corrupt`, `Io`: the first that it meets.
    pub fn check(disk: Arc<dyn Disk>) -> Result<Recovery, StoreError> {
        let _lock = lock(&*disk)?;
        let mut scan = recovery::scan(&disk, Options::default())?;
        scan.visit(&mut Everything)
    }

    /// Appends a message. It is in memory until [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`, `NoTarget`, `Io`; nothing was appended then.
    pub fn append(&mut self, message: &NewMessage<'_>) -> Result<Reference, StoreError> {
        self.refuse_if_failed()?;
        let mut targets = std::mem::take(&mut self.targets);
        targets.clear();
        targets.extend_from_slice(message.targets);
        targets.sort_unstable();
        targets.dedup();
        let appended = self.append_to(message, &mut targets);
        self.targets = targets;
        appended
    }

    fn append_to(
        &mut self,
        message: &NewMessage<'_>,
        targets: &mut Vec<QueueId>,
    ) -> Result<Reference, StoreError> {
        if targets.is_empty() {
            return Err(StoreError::NoTarget);
        }
        let numbers = MAX_VARINT * (targets.len() + 4);
        let length = bounded(&[HEADER, numbers, message.meta.len(), message.body.len()])?;
        self.make_room(length, self.reserve())?;

        // What is not durable is nothing to recovery, and so neither is its transaction.
        let number = message.transaction.filter(|_| message.durable).map(|id| self.number(id));
        let index = self.writer.next_index;
        let start = self.begin();
        let buffer = &mut self.writer.buffer;
        let flags = format::put_message(buffer, index, message.durable, number, targets, message.meta);
        buffer.extend_from_slice(message.body);
        let place = self.finish(start, kind::MESSAGE, flags);
        self.writer.next_index = index.saturating_add(1);
        self.writer.owes_sync |= message.durable;

        if !self.index.forgotten.is_empty() {
            targets.retain(|queue| !self.index.forgotten.contains_key(queue));
        }
        if let Some(segment) = self.index.segments.last_mut() {
            segment.add(index, place.offset, place.length, targets, message.durable);
        }
        let reference = Reference::new(place.segment, index);
        if let Some(id) = message.transaction {
            let open = self.transactions.entry(id).or_default();
            open.messages.push(reference);
            if number.is_some() {
                open.wrote(place.segment);
            }
        }
        Ok(reference)
    }

    /// A queue no longer holds a message. Of one that it does not hold, nothing happens.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `Io`.
    pub fn settle(
        &mut self,
        queue: QueueId,
        reference: Reference,
        transaction: Option<TransactionId>,
    ) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        if !self.index.holds(queue, reference) {
            return Ok(());
        }
        let place = match self.index.is_present(reference) {
            true => Some(self.write_settlement(queue, reference, transaction)?),
            false => None,
        };
        match transaction {
            Some(id) => {
                let open = self.transactions.entry(id).or_default();
                open.settlements.push(Settlement { queue, reference, place });
                if let Some(place) = place {
                    open.wrote(place.segment);
                }
            }
            None => self.settle_now(queue, reference),
        }
        Ok(())
    }

    fn write_settlement(
        &mut self,
        queue: QueueId,
        reference: Reference,
        transaction: Option<TransactionId>,
    ) -> Result<Place, StoreError> {
        self.make_room(SMALL_RECORD, 0)?;
        let number = transaction.map(|id| self.number(id));
        let start = self.begin();
        let flags = format::put_settlement(&mut self.writer.buffer, number, queue, reference);
        let place = self.finish(start, kind::SETTLE, flags);
        self.writer.owes_sync = true;
        self.index.count_settlement(place.segment, place.length, reference);
        Ok(place)
    }

    fn settle_now(&mut self, queue: QueueId, reference: Reference) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.note_settlement(queue, reference);
        }
        self.index.settle(queue, reference);
    }

    /// Keeps a few bytes with a message of a queue, in place of those before.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`, `Io`.
    pub fn update(&mut self, queue: QueueId, reference: Reference, state: &[u8]) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        // What does not survive a restart needs no state after it.
        if !self.index.holds(queue, reference) || !self.index.is_present(reference) {
            return Ok(());
        }
        let length = bounded(&[HEADER, 3 * MAX_VARINT, state.len()])?;
        self.make_room(length, 0)?;
        let start = self.begin();
        let buffer = &mut self.writer.buffer;
        put_number(buffer, queue.0);
        format::put_reference(buffer, reference);
        buffer.extend_from_slice(state);
        let place = self.finish(start, kind::UPDATE, 0);
        self.writer.owes_sync = true;
        self.index.update(queue, reference, place);
        Ok(())
    }

    /// A queue holds nothing any more, and never will again.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `Io`.
    pub fn forget(&mut self, queue: QueueId) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        if self.index.mentions(queue).is_empty() {
            return Ok(());
        }
        self.make_room(SMALL_RECORD, 0)?;
        let start = self.begin();
        put_number(&mut self.writer.buffer, queue.0);
        let place = self.finish(start, kind::FORGET, 0);
        self.writer.owes_sync = true;
        self.index.forget(queue, place);
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.note_forgotten(queue);
        }
        Ok(())
    }

    /// Keeps a small object, in place of one with the same key. In a transaction it is in memory until the
    /// commit, and takes the place of what has the key then.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`, `Io`.
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        transaction: Option<TransactionId>,
    ) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        if let Some(id) = transaction {
            return self.change_at_commit(id, key, Some(value));
        }
        let length = object_length(key, value)?;
        self.make_room(length, self.reserve())?;
        self.write_put(None, key, value);
        Ok(())
    }

    /// Removes an object. In a transaction it is there until the commit.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `Io`; in a transaction `TooLarge`.
    pub fn delete(&mut self, key: &[u8], transaction: Option<TransactionId>) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        if let Some(id) = transaction {
            return self.change_at_commit(id, key, None);
        }
        if !self.index.has_object(key) {
            return Ok(());
        }
        let length = object_length(key, &[])?;
        self.make_room(length, 0)?;
        self.write_delete(None, key);
        Ok(())
    }

    /// Keeps what is to become of an object until its transaction is committed: an object has no history,
    /// so the changes of a transaction are written next to its commit, behind all that they replace.
    fn change_at_commit(
        &mut self,
        id: TransactionId,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let length = object_length(key, value.unwrap_or_default())?;
        let open = self.transactions.entry(id).or_default();
        // What a later change of the same key replaces stays counted.
        let total = open.object_bytes.saturating_add(length);
        if total > MAX_RECORD {
            return Err(StoreError::TooLarge { length: total, limit: MAX_RECORD });
        }
        open.object_bytes = total;
        open.objects.insert(key.into(), value.map(Into::into));
        Ok(())
    }

    fn write_put(&mut self, number: Option<u64>, key: &[u8], value: &[u8]) {
        let start = self.begin();
        let flags = format::put_object(&mut self.writer.buffer, number, key, value);
        let place = self.finish(start, kind::PUT, flags);
        self.writer.owes_sync = true;
        self.index.put(key, place);
    }

    fn write_delete(&mut self, number: Option<u64>, key: &[u8]) {
        let start = self.begin();
        let flags = format::put_deletion(&mut self.writer.buffer, number, key);
        let place = self.finish(start, kind::DELETE, flags);
        self.writer.owes_sync = true;
        self.index.delete(key, place);
    }

    /// Makes the messages, settlements and changes of objects of a transaction count: all of them or, after
    /// a crash before the next synced flush, perhaps none. One without any is none to commit.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `Io`; the transaction is open then.
    pub fn commit(&mut self, transaction: TransactionId) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        let Some(open) = self.transactions.get(&transaction) else { return Ok(()) };
        let is_logged = open.number.is_some() || !open.objects.is_empty();
        let has_values = open.objects.values().any(Option::is_some);
        let length = open.object_bytes + SMALL_RECORD;
        if is_logged {
            // At once for every record, so that none is refused when others are written.
            self.make_room(length, if has_values { self.reserve() } else { 0 })?;
        }
        let number = is_logged.then(|| self.number(transaction));
        let Some(open) = self.transactions.remove(&transaction) else { return Ok(()) };
        for (key, value) in &open.objects {
            match value {
                Some(value) => self.write_put(number, key, value),
                None if self.index.has_object(key) => self.write_delete(number, key),
                None => {}
            }
        }
        if let Some(number) = number {
            let start = self.begin();
            put_number(&mut self.writer.buffer, number);
            let place = self.finish(start, kind::COMMIT, 0);
            self.writer.owes_sync = true;
            self.open_numbers.remove(&number);
            self.index.commit(number, place, &open.segments);
        }
        for settlement in open.settlements {
            self.settle_now(settlement.queue, settlement.reference);
        }
        Ok(())
    }

    /// Drops what belongs to a transaction. It writes nothing and cannot fail.
    pub fn rollback(&mut self, transaction: TransactionId) {
        let Some(open) = self.transactions.remove(&transaction) else { return };
        if let Some(number) = open.number {
            self.open_numbers.remove(&number);
        }
        for reference in open.messages {
            self.index.drop_message(reference);
        }
    }

    /// Writes what is in memory, at once; with `sync`, it returns when everything before is durable.
    /// What is durable already is not synced again.
    ///
    /// # Errors
    ///
    /// `Failed`: nothing since the last synced flush is certain to be on disk, and nothing more is taken.
    pub fn flush(&mut self, sync: bool) -> Result<(), StoreError> {
        self.refuse_if_failed()?;
        if self.write(sync).is_err() || (sync && self.sync().is_err()) {
            return self.refuse_if_failed();
        }
        Ok(())
    }

    fn write(&mut self, is_synced: bool) -> Result<(), StoreError> {
        let writer = &mut self.writer;
        if writer.buffer.is_empty() {
            return Ok(());
        }
        let Some(segment) = self.index.segments.last() else { return Ok(()) };
        let length = writer.buffer.len() as u64;
        let end = writer.written + length;
        let mut written = Ok(());
        if is_synced && length <= SMALL_FLUSH && end > writer.zeroed {
            let zeros = ZEROS_AHEAD.min(segment.disk.saturating_sub(end));
            written = segment.file.write_at(&vec![0; zeros as usize], end);
            writer.zeroed = end + zeros;
        }
        if let Err(source) = written.and_then(|()| segment.file.write_at(&writer.buffer, writer.written)) {
            let id = segment.id;
            return Err(self.fail("write", id, &source));
        }
        writer.written = end;
        writer.buffer.clear();
        writer.buffer.shrink_to(KEPT_BUFFER);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        if self.writer.synced == self.writer.written {
            return Ok(());
        }
        let Some(segment) = self.index.segments.last() else { return Ok(()) };
        if let Err(source) = segment.file.sync_data() {
            let id = segment.id;
            return Err(self.fail("sync", id, &source));
        }
        self.writer.synced = self.writer.written;
        self.writer.mark = Some(self.writer.synced);
        self.writer.owes_sync = false;
        Ok(())
    }

    /// Bytes that the next flush will write.
    pub fn buffered_bytes(&self) -> usize {
        self.writer.buffer.len()
    }

    /// Where a message is, while a queue holds it.
    pub fn locate(&self, reference: Reference) -> Option<Location> {
        let segment = self.index.segment(reference.segment())?;
        let entry = segment.entry(reference.index()).filter(|entry| segment.is_live(entry))?;
        let is_last = self.index.segments.last().is_some_and(|last| last.id == segment.id);
        if is_last && u64::from(entry.offset) >= self.writer.written {
            return Some(Location::in_memory(reference, self.buffered(entry.offset, entry.length)?));
        }
        let (disk, file) = (Arc::clone(&self.disk), Arc::clone(&segment.file));
        Some(Location::in_file(disk, file, reference, entry.offset, entry.length))
    }

    /// The body of a message that was not written yet.
    fn buffered(&self, offset: u32, length: u32) -> Option<Bytes> {
        let begin = usize::try_from(u64::from(offset) - self.writer.written).ok()?;
        let record = self.writer.buffer.get(begin..)?.get(..length as usize)?;
        let header = Header::decode(record, self.index.segments.last()?.id, offset)?;
        match Record::decode(header, record.get(HEADER..)?)? {
            Record::Message(message) => Some(Bytes::copy_from_slice(message.body)),
            _ => None,
        }
    }

    /// Gives back room that dead records take, about `budget` bytes of reading and writing at a time.
    ///
    /// When it answers [`Compaction::Idle`], the log takes at most twice [`Status::live_bytes`] and two
    /// segments. While a file is rewritten, its copy comes on top: at most what is alive in the file.
    ///
    /// # Errors
    ///
    /// `Failed`; `Corrupt` and `Io` of a file that cannot be read or removed, which is left alone from
    /// then on.
    pub fn compact_step(&mut self, budget: u64) -> Result<Compaction, StoreError> {
        self.refuse_if_failed()?;
        rewrite::step(self, budget)
    }

    /// The log in figures.
    pub fn status(&self) -> Status {
        let segments = &self.index.segments;
        let (state, reason) = match (&self.failure, &self.full) {
            (Some(reason), _) => (State::Failed, Some(Arc::clone(reason))),
            (None, Some(reason)) => (State::Full, Some(Arc::clone(reason))),
            (None, None) => (State::Ready, None),
        };
        let rewritten = self.rewrite.as_ref().map_or(0, Rewrite::disk_bytes);
        Status {
            state,
            reason,
            live_bytes: self.index.live(),
            disk_bytes: segments.iter().chain(&self.next).map(|segment| segment.disk).sum::<u64>()
                + rewritten,
            segments: (segments.len() + usize::from(self.next.is_some())) as u64,
            messages: segments.iter().map(|segment| segment.messages).sum(),
            damaged: segments.iter().filter(|segment| segment.is_damaged).count() as u64,
        }
    }

    /// Flushes, syncs and notes that the log ends here: damage to any of it is then found when it is
    /// opened again.
    ///
    /// # Errors
    ///
    /// `Failed`, `Full`, `Io`; what a synced flush returned for is durable all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.flush(true)?;
        if self.writer.mark.is_some() {
            self.make_room(SMALL_RECORD, 0)?;
            self.push_mark();
            self.flush(true)?;
        }
        Ok(())
    }

    /// An error when writes are refused.
    fn refuse_if_failed(&self) -> Result<(), StoreError> {
        match &self.failure {
            Some(reason) => Err(StoreError::Failed { reason: Arc::clone(reason) }),
            None => Ok(()),
        }
    }

    /// Refuses writes from now on.
    fn fail(&mut self, action: &'static str, segment: u32, source: &io::Error) -> StoreError {
        let path = self.disk.path(&files::name(segment));
        let reason: Arc<str> = format!("cannot {action} {}: {source}", path.display()).into();
        self.failure = Some(Arc::clone(&reason));
        StoreError::Failed { reason }
    }

    /// Room behind a message that only what frees room may take.
    fn reserve(&self) -> u64 {
        self.options.segment_bytes / 16
    }

    /// Where the next record goes in the file.
    fn tail(&self) -> u64 {
        self.writer.written + self.writer.buffer.len() as u64
    }

    /// Has room for a record of at most `length` bytes, and `reserve` more behind it.
    fn make_room(&mut self, length: u64, reserve: u64) -> Result<(), StoreError> {
        // A mark may come before it, and a seal behind it.
        let length = length + 2 * SMALL_RECORD;
        let tail = self.tail();
        let disk = self.index.segments.last().map_or(0, |segment| segment.disk);
        let made = match tail + length + reserve <= disk && tail + length <= self.writer.limit {
            true => Ok(()),
            false => self.make_more_room(tail, length, reserve),
        };
        match &made {
            // What needs no reserve says nothing about room for messages.
            Ok(()) if reserve > 0 => self.full = None,
            Err(error @ StoreError::Full { .. }) => self.full = Some(error.to_string().into()),
            _ => {}
        }
        made
    }

    fn make_more_room(&mut self, tail: u64, length: u64, reserve: u64) -> Result<(), StoreError> {
        if tail == FILE_HEADER && self.index.segments.last().is_some_and(|last| last.format == FORMAT) {
            self.writer.limit = self.writer.limit.max(tail + length);
        }
        let limit = self.writer.limit;
        if tail + length > limit {
            self.prepare_next(FILE_HEADER + length + reserve)?;
            // A file that recovery found full, or on a full disk, has no room for its seal yet.
            self.grow_last(tail + 2 * SMALL_RECORD)?;
            return self.rotate(length);
        }
        let wanted = tail + length + reserve;
        let goal = wanted.min(limit);
        self.grow_last(goal.next_multiple_of(self.options.chunk()).min(limit).max(goal))?;
        // The last bytes of the file may be reserve if there is as much in the next.
        match wanted > limit {
            true => self.prepare_next(FILE_HEADER + wanted - limit),
            false => Ok(()),
        }
    }

    /// Has so many bytes in the file that is written to.
    fn grow_last(&mut self, bytes: u64) -> Result<(), StoreError> {
        let Some(segment) = self.index.segments.last_mut() else { return Ok(()) };
        grow(&*self.disk, segment, bytes).map_err(|error| self.refuse(error))
    }

    /// Has a next file with so many bytes.
    fn prepare_next(&mut self, bytes: u64) -> Result<(), StoreError> {
        let bytes = bytes.next_multiple_of(self.options.chunk());
        let prepared = match &mut self.next {
            Some(next) => grow(&*self.disk, next, bytes),
            None => {
                let id = self.index.segments.last().map_or(1, |segment| segment.id.saturating_add(1));
                create(&*self.disk, id, bytes).map(|segment| self.next = Some(segment))
            }
        };
        prepared.map_err(|error| self.refuse(error))
    }

    /// What a failure to set room aside means: no room, no file, or a disk that failed.
    fn refuse(&mut self, failed: SetAside) -> StoreError {
        match failed {
            SetAside::Refused(error) => error,
            SetAside::Broken { action, segment, source } => self.fail(action, segment, &source),
        }
    }

    /// Seals the file and goes on in the next one, for a record of `length` bytes.
    fn rotate(&mut self, length: u64) -> Result<(), StoreError> {
        let start = self.begin();
        self.finish(start, kind::SEAL, 0);
        self.flush(true)?;
        let Some(next) = self.next.take() else { return Ok(()) };
        if let Some(segment) = self.index.segments.last_mut() {
            segment.is_sealed = true;
            trim(segment);
            segment.shrink();
        }
        let limit = self.options.segment_bytes.max(FILE_HEADER + length);
        let buffer = std::mem::take(&mut self.writer.buffer);
        self.writer = Writer { buffer, ..Writer::at(FILE_HEADER, limit, 0) };
        self.index.segments.push(next);
        Ok(())
    }

    /// Begins a record, behind one that says what was synced when that is news.
    fn begin(&mut self) -> usize {
        self.push_mark();
        format::begin(&mut self.writer.buffer)
    }

    fn push_mark(&mut self) {
        if let Some(synced) = self.writer.mark.take() {
            let start = format::begin(&mut self.writer.buffer);
            put_number(&mut self.writer.buffer, synced);
            self.finish(start, kind::MARK, 0);
        }
    }

    fn finish(&mut self, start: usize, kind: u8, flags: u8) -> Place {
        // A file is at most `MAX_RECORD` and a few bytes long, so an offset fits.
        let offset = (self.writer.written + start as u64) as u32;
        let Some(segment) = self.index.segments.last_mut() else {
            return Place { segment: 0, offset, length: 0 };
        };
        let length = format::finish(&mut self.writer.buffer, start, kind, flags, segment.id, offset);
        segment.length = u64::from(offset) + u64::from(length);
        Place { segment: segment.id, offset, length }
    }

    /// The number of a transaction that is to have a record.
    fn number(&mut self, transaction: TransactionId) -> u64 {
        let open = self.transactions.entry(transaction).or_default();
        let next = &mut self.next_number;
        let number = *open.number.get_or_insert_with(|| {
            *next += 1;
            *next - 1
        });
        self.open_numbers.insert(number);
        number
    }
}

impl Open {
    fn wrote(&mut self, segment: u32) {
        if self.segments.last() != Some(&segment) {
            self.segments.push(segment);
        }
    }
}

impl Writer {
    /// A writer whose next record goes to `offset`.
    fn at(offset: u64, limit: u64, next_index: u32) -> Self {
        Self {
            limit: limit.max(offset),
            written: offset,
            synced: offset,
            zeroed: offset,
            buffer: Vec::new(),
            next_index,
            mark: None,
            owes_sync: false,
        }
    }
}

/// Why room could not be set aside.
enum SetAside {
    /// There is none, or no file can be opened: later there may be.
    Refused(StoreError),
    /// The disk failed: what is on it is not certain any more.
    Broken { action: &'static str, segment: u32, source: io::Error },
}

impl SetAside {
    fn new(disk: &dyn Disk, action: &'static str, segment: u32, needed: u64, source: io::Error) -> Self {
        if is_full(&source) {
            let path = disk.path(&files::name(segment));
            return Self::Refused(StoreError::Full { needed, path, source });
        }
        Self::Broken { action, segment, source }
    }

    fn into_error(self, disk: &dyn Disk) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Broken { action, segment, source } => {
                StoreError::Io { action, path: disk.path(&files::name(segment)), source }
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Sets room aside up to `bytes` of the file.
fn grow(disk: &dyn Disk, segment: &mut Segment, bytes: u64) -> Result<(), SetAside> {
    let missing = bytes.saturating_sub(segment.disk);
    if missing == 0 {
        return Ok(());
    }
    if let Err(source) = segment.file.allocate(segment.disk, missing) {
        // A file system may have set a part of it aside.
        let _ = segment.file.truncate(segment.disk);
        return Err(SetAside::new(disk, "set room aside in", segment.id, missing, source));
    }
    segment.disk = bytes;
    Ok(())
}

/// A new file with room for `bytes`, durable before it has its name.
fn create(disk: &dyn Disk, id: u32, bytes: u64) -> Result<Segment, SetAside> {
    let unfinished = files::unfinished(id);
    let file = disk.create(&unfinished).map_err(|source| {
        let path = disk.path(&unfinished);
        match is_full(&source) {
            true => SetAside::Refused(StoreError::Full { needed: bytes, path, source }),
            false => SetAside::Refused(StoreError::Io { action: "create", path, source }),
        }
    })?;
    let header = FileHeader { segment: id, generation: 0, format: FORMAT };
    let filled = fill(&*file, header, bytes).map_err(|source| ("write", source));
    let named = filled.and_then(|()| name(disk, id).map_err(|source| ("name", source)));
    if let Err((action, source)) = named {
        let _ = disk.remove(&unfinished);
        return Err(SetAside::new(disk, action, id, bytes, source));
    }
    Ok(Segment::new(id, 0, file, bytes))
}

fn fill(file: &dyn DiskFile, header: FileHeader, bytes: u64) -> io::Result<()> {
    file.allocate(0, bytes)?;
    file.write_at(&header.encode(), 0)?;
    file.sync_all()
}

/// Gives a complete file its name, in place of the one that has it.
fn name(disk: &dyn Disk, id: u32) -> io::Result<()> {
    disk.rename(&files::unfinished(id), &files::name(id))?;
    disk.sync_directory()
}

/// Gives back the room behind the last record of a file that does not grow any more. What cannot be given
/// back is still counted.
fn trim(segment: &mut Segment) {
    if segment.is_sealed && segment.disk > segment.length && segment.file.truncate(segment.length).is_ok() {
        segment.disk = segment.length;
    }
}

/// The sum of some lengths, when a record can have it.
fn bounded(lengths: &[usize]) -> Result<u64, StoreError> {
    let length = lengths.iter().fold(0_u64, |sum, length| sum.saturating_add(*length as u64));
    if length > MAX_RECORD {
        return Err(StoreError::TooLarge { length, limit: MAX_RECORD });
    }
    Ok(length)
}

/// The most bytes that a record about an object has.
fn object_length(key: &[u8], value: &[u8]) -> Result<u64, StoreError> {
    bounded(&[HEADER, 2 * MAX_VARINT, key.len(), value.len()])
}

pub(crate) fn lock(disk: &dyn Disk) -> Result<Box<dyn Any + Send + Sync>, StoreError> {
    disk.lock().map_err(|source| {
        let path = disk.path("");
        match source.kind() {
            io::ErrorKind::WouldBlock => StoreError::InUse { path },
            _ => StoreError::Io { action: "lock", path, source },
        }
    })
}

/// Makes the files ready to be written to: what was never complete or is torn is removed.
fn open_writer(
    disk: &Arc<dyn Disk>,
    options: Options,
    scan: &mut recovery::Scan,
) -> Result<Writer, StoreError> {
    let failed = |action, path: PathBuf| move |source| StoreError::Io { action, path, source };
    for name in &scan.leftovers {
        disk.remove(name).map_err(failed("remove", disk.path(name)))?;
    }
    if !scan.leftovers.is_empty() {
        disk.sync_directory().map_err(failed("sync", disk.path("")))?;
    }
    write_again(&**disk, scan)?;
    let id = scan.index.segments.last().map_or(0, |segment| segment.id);
    let Some(segment) = scan.index.segments.last_mut().filter(|segment| !segment.is_sealed) else {
        let created = create(&**disk, id.saturating_add(1), options.chunk());
        scan.index.segments.push(created.map_err(|failed| failed.into_error(&**disk))?);
        return Ok(Writer::at(FILE_HEADER, options.segment_bytes, 0));
    };
    let path = disk.path(&files::name(segment.id));
    if scan.recovery.torn_bytes > 0 {
        // What is torn must not be found behind records that are yet to come.
        segment.file.truncate(segment.length).map_err(failed("cut", path.clone()))?;
        segment.disk = segment.length;
    }
    let bytes = segment.length.next_multiple_of(options.chunk());
    // On a full disk the log opens all the same: what it holds can be read, and settled when there is room.
    match grow(&**disk, segment, bytes) {
        Ok(()) | Err(SetAside::Refused(StoreError::Full { .. })) => {}
        Err(failed) => return Err(failed.into_error(&**disk)),
    }
    segment.file.sync_all().map_err(failed("sync", path))?;
    // A file of an earlier format takes nothing more: its readers would not know what it says.
    let limit = if segment.format == FORMAT { options.segment_bytes } else { 0 };
    let mut writer = Writer::at(segment.length, limit, scan.next_index);
    writer.mark = (segment.length > FILE_HEADER).then_some(segment.length);
    Ok(writer)
}

/// Writes the end of the log over itself and syncs it. What is read there may be what a sync failed for:
/// a kernel can hold such bytes for written, and a sync alone would do nothing for them.
fn write_again(disk: &dyn Disk, scan: &recovery::Scan) -> Result<(), StoreError> {
    let Some(segment) = scan.index.segments.iter().rfind(|segment| segment.length > FILE_HEADER) else {
        return Ok(());
    };
    let written = copy_over_itself(segment, scan.synced.clamp(FILE_HEADER, segment.length));
    written.map_err(|source| {
        let path = disk.path(&files::name(segment.id));
        StoreError::Io { action: "write", path, source }
    })
}

fn copy_over_itself(segment: &Segment, mut at: u64) -> io::Result<()> {
    let mut buffer = vec![0; AGAIN_BYTES];
    while at < segment.length {
        let wanted = usize::try_from(segment.length - at).map_or(AGAIN_BYTES, |rest| rest.min(AGAIN_BYTES));
        let read = segment.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        segment.file.write_at(buffer.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    segment.file.sync_all()
}

impl Options {
    fn check(self) -> Result<(), StoreError> {
        let (lowest, highest) = (Self::LOWEST, Self::MAX_SEGMENT_BYTES);
        if (lowest..=highest).contains(&self.segment_bytes) {
            return Ok(());
        }
        Err(StoreError::SegmentBytes { found: self.segment_bytes, lowest, highest })
    }

    /// Bytes that are set aside at once.
    fn chunk(self) -> u64 {
        self.segment_bytes / 8
    }

    /// Tests of this package use small segments.
    const LOWEST: u64 = if cfg!(test) { 4096 } else { Self::MIN_SEGMENT_BYTES };
}
