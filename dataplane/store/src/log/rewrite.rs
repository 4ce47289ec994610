//! Gives back the room of dead records: removes files without a live one, and rewrites sparse files with
//! what is alive in them.
//!
//! A file is copied record by record, at whatever pace the caller likes, into a new one that takes its
//! name at the end. Messages keep their names. Before the new file counts, everything that made a record
//! dead is made durable: a settlement that was taken for granted here must not be lost in a crash.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::{Log, SetAside, name};
use crate::disk::DiskFile;
use crate::error::StoreError;
use crate::files;
use crate::format::{self, FORMAT, FileHeader, Header, Message, Record, kind};
use crate::scan::{Scanner, Step};
use crate::segment::{Place, Segment};
use crate::types::{Compaction, QueueId, Reference};

/// Bytes that are gathered for one write of the copy.
const PIECE: usize = 256 << 10;
/// Bytes of the copy after which it is synced, so that the last sync is not a long one.
const SYNC_EVERY: u64 = 4 << 20;
/// The part of a file that is worth rewriting it.
const WORTH: u64 = 16;

/// A file that is being copied.
#[derive(Debug)]
pub(super) struct Rewrite {
    id: u32,
    generation: u32,
    scanner: Scanner,
    file: Arc<dyn DiskFile>,
    copied: Copied,
    synced: u64,
    /// Bytes set aside for the copy.
    allocated: u64,
    /// Settlements in other segments that say nothing about the copy.
    retired: Vec<(u32, u64)>,
    /// Settlements of messages of this segment since the copy was begun: the copy may name the queue.
    settled: BTreeSet<(u32, QueueId)>,
    forgotten: Vec<QueueId>,
}

/// What is copied, and where it was before.
#[derive(Debug, Default)]
struct Copied {
    id: u32,
    out: Vec<u8>,
    /// Bytes of the copy that are written.
    written: u64,
    messages: Vec<Moved>,
    updates: Vec<(Reference, QueueId, Place, Place)>,
    puts: Vec<(Box<[u8]>, Place, Place)>,
    deletions: Vec<(Box<[u8]>, Place, Place)>,
    forgets: Vec<(QueueId, Place, Place)>,
    commits: Vec<(u64, Place, Place)>,
    /// The settlements in the copy, by the segment of their messages.
    shadows: BTreeMap<u32, u64>,
    /// The transactions that were open when a record of theirs was copied.
    open: HashSet<u64>,
    queues: Vec<QueueId>,
    names: Vec<QueueId>,
}

/// A message in the copy.
#[derive(Clone, Copy, Debug)]
struct Moved {
    index: u32,
    offset: u32,
    length: u32,
    is_durable: bool,
}

/// Why a copy was given up.
enum GivenUp {
    /// Nothing changed, and there is no room for it now.
    NoRoom,
    /// The file cannot be read.
    Damaged(StoreError),
    /// The disk failed.
    Failed(StoreError),
}

/// One step of compaction.
pub(super) fn step(log: &mut Log, budget: u64) -> Result<Compaction, StoreError> {
    let Some(mut rewrite) = log.rewrite.take() else { return begin(log) };
    let worked = rewrite.copy(log, budget).and_then(|is_copied| match is_copied {
        true => rewrite.seal(log).map(|()| true),
        false => Ok(false),
    });
    match worked {
        Ok(true) => install(log, rewrite)?,
        Ok(false) => log.rewrite = Some(rewrite),
        Err(given_up) => return give_up(log, &rewrite, given_up),
    }
    Ok(Compaction::More)
}

fn give_up(log: &mut Log, rewrite: &Rewrite, given_up: GivenUp) -> Result<Compaction, StoreError> {
    let _ = log.disk.remove(&files::unfinished(rewrite.id));
    match given_up {
        GivenUp::NoRoom => Ok(Compaction::Blocked),
        GivenUp::Failed(error) => Err(error),
        GivenUp::Damaged(error) => {
            if let Some(segment) = log.index.segment_mut(rewrite.id) {
                segment.is_damaged = true;
            }
            Err(error)
        }
    }
}

fn begin(log: &mut Log) -> Result<Compaction, StoreError> {
    if remove_dead(log)? {
        return Ok(Compaction::More);
    }
    let Some(id) = choose(log) else { return Ok(Compaction::Idle) };
    match Rewrite::new(log, id) {
        Ok(rewrite) => {
            log.rewrite = rewrite;
            Ok(Compaction::More)
        }
        Err(GivenUp::NoRoom) => Ok(Compaction::Blocked),
        Err(GivenUp::Damaged(error) | GivenUp::Failed(error)) => Err(error),
    }
}

/// Removes the files that nothing needs. Whether there were any.
fn remove_dead(log: &mut Log) -> Result<bool, StoreError> {
    let Some((_, sealed)) = log.index.segments.split_last() else { return Ok(false) };
    let is_dead = |segment: &&Segment| segment.live == 0 && segment.extra == 0 && !segment.is_damaged;
    let dead: Vec<u32> = sealed.iter().filter(is_dead).map(|segment| segment.id).collect();
    if dead.is_empty() {
        return Ok(false);
    }
    make_durable(log)?;
    for id in &dead {
        if let Err(source) = log.disk.remove(&files::name(*id)) {
            if let Some(segment) = log.index.segment_mut(*id) {
                segment.is_damaged = true;
            }
            let path = log.disk.path(&files::name(*id));
            return Err(StoreError::Io { action: "remove", path, source });
        }
    }
    sync_directory(log)?;
    for id in dead {
        let shadows = shadows_of(log, id);
        log.index.retire_settlements(id, &shadows);
        if let Some(segment) = log.index.replace(id, None) {
            log.index.drop_shadows(&segment.shadows);
        }
        log.index.release_anchors(id, &HashSet::new(), &HashSet::new(), &[]);
    }
    Ok(true)
}

/// Everything that made a record dead is on disk.
fn make_durable(log: &mut Log) -> Result<(), StoreError> {
    if log.writer.owes_sync { log.flush(true) } else { Ok(()) }
}

fn sync_directory(log: &mut Log) -> Result<(), StoreError> {
    let id = log.index.segments.last().map_or(0, |segment| segment.id);
    let synced = log.disk.sync_directory();
    synced.map_err(|source| log.fail("sync the directory of", id, &source))
}

/// The settlements of messages in `of`, by the segment that they are in.
fn shadows_of(log: &Log, of: u32) -> Vec<(u32, u64)> {
    let segments = log.index.segments.iter();
    segments.filter_map(|segment| Some((segment.id, *segment.shadows.get(&of)?))).collect()
}

/// The file that gives back most for what has to be copied, when the log takes more room than it may.
fn choose(log: &Log) -> Option<u32> {
    let (_, sealed) = log.index.segments.split_last()?;
    let disk: u64 = sealed.iter().map(|segment| segment.disk).sum();
    // Half of the dead room that is allowed: the copy needs room too.
    if disk <= log.index.live() / 2 * 3 + log.options.chunk() {
        return None;
    }
    let gain = |segment: &Segment| segment.reclaimable().saturating_sub(segment.unreclaimed);
    let is_worth_it = |segment: &&Segment| !segment.is_damaged && gain(segment) > segment.disk / WORTH;
    let best = sealed.iter().filter(is_worth_it).max_by(|one, other| {
        // The fraction gain / needed, without division.
        let left = u128::from(gain(one)) * u128::from(other.needed());
        left.cmp(&(u128::from(gain(other)) * u128::from(one.needed())))
    });
    best.map(|segment| segment.id)
}

impl Rewrite {
    /// Begins the copy of a segment: `None` when it is not there.
    fn new(log: &mut Log, id: u32) -> Result<Option<Self>, GivenUp> {
        let Some(segment) = log.index.segment(id) else { return Ok(None) };
        let (generation, allocated) = (segment.generation.saturating_add(1), segment.needed());
        let path = log.disk.path(&files::name(id));
        let scanner = Scanner::new(Arc::clone(&segment.file), id)
            .map_err(|source| GivenUp::Damaged(StoreError::Io { action: "read", path, source }))?;
        let unfinished = files::unfinished(id);
        // No file can be opened now: later there may be one.
        let file = log.disk.create(&unfinished).map_err(|_| GivenUp::NoRoom)?;
        if let Err(source) = file.allocate(0, allocated) {
            let _ = log.disk.remove(&unfinished);
            return Err(cannot_write(log, id, "set room aside in", source));
        }
        Ok(Some(Self {
            id,
            generation,
            scanner,
            file,
            copied: Copied {
                id,
                out: FileHeader { segment: id, generation, format: FORMAT }.encode(),
                ..Copied::default()
            },
            synced: 0,
            allocated,
            retired: settlements_to_retire(log, id),
            settled: BTreeSet::new(),
            forgotten: Vec::new(),
        }))
    }

    pub(super) fn disk_bytes(&self) -> u64 {
        self.allocated.max(self.copied.written)
    }

    pub(super) fn note_settlement(&mut self, queue: QueueId, reference: Reference) {
        if reference.segment() == self.id {
            self.settled.insert((reference.index(), queue));
        }
    }

    pub(super) fn note_forgotten(&mut self, queue: QueueId) {
        self.forgotten.push(queue);
    }

    /// Copies records until `budget` is used up. Whether all are copied.
    fn copy(&mut self, log: &mut Log, budget: u64) -> Result<bool, GivenUp> {
        let Some(length) = log.index.segment(self.id).map(|segment| segment.length) else { return Ok(true) };
        let mut used = 0;
        while used < budget.max(1) {
            if self.scanner.offset() >= length {
                return Ok(true);
            }
            let before = self.scanner.offset();
            let path = || log.disk.path(&files::name(self.id));
            let damaged =
                |problem| GivenUp::Damaged(StoreError::Corrupt { path: path(), offset: before, problem });
            match self.scanner.step() {
                Ok(Step::Record { offset, header, payload, record }) => {
                    let place = Place { segment: self.id, offset, length: header.record_length() as u32 };
                    self.copied.take(log, &self.settled, place, header, payload, &record);
                }
                Ok(Step::End) => return Err(damaged("records are missing")),
                Ok(Step::Bad(problem)) => return Err(damaged(problem)),
                Err(source) => {
                    return Err(GivenUp::Damaged(StoreError::Io { action: "read", path: path(), source }));
                }
            }
            used += self.scanner.offset() - before;
            if self.copied.out.len() >= PIECE {
                self.write(log)?;
            }
        }
        Ok(false)
    }

    fn write(&mut self, log: &mut Log) -> Result<(), GivenUp> {
        let copied = &mut self.copied;
        let written = self.file.write_at(&copied.out, copied.written);
        written.map_err(|source| cannot_write(log, self.id, "write a copy of", source))?;
        copied.written += copied.out.len() as u64;
        copied.out.clear();
        if copied.written - self.synced >= SYNC_EVERY {
            let synced = self.file.sync_data();
            synced.map_err(|source| cannot_write(log, self.id, "sync a copy of", source))?;
            self.synced = copied.written;
        }
        Ok(())
    }

    /// Completes the copy and gives it the name of the file.
    fn seal(&mut self, log: &mut Log) -> Result<(), GivenUp> {
        self.copied.seal();
        self.write(log)?;
        let completed = self.file.truncate(self.copied.written).and_then(|()| self.file.sync_all());
        completed.map_err(|source| cannot_write(log, self.id, "sync a copy of", source))?;
        make_durable(log).map_err(GivenUp::Failed)?;
        let named = name(&*log.disk, self.id);
        named.map_err(|source| GivenUp::Failed(log.fail("rename a copy of", self.id, &source)))
    }
}

impl Copied {
    /// Copies a record that is needed. `settled` are the messages that were settled since the copy was
    /// begun: they may be copied as they were before.
    fn take(
        &mut self,
        log: &Log,
        settled: &BTreeSet<(u32, QueueId)>,
        place: Place,
        header: Header,
        payload: &[u8],
        record: &Record<'_>,
    ) {
        let index = &log.index;
        match *record {
            Record::Message(message) => self.take_message(log, header, payload, message),
            Record::Settle { transaction, queue, reference } => {
                let is_open = self.is_open(log, transaction);
                let is_elsewhere = reference.segment() != self.id;
                let is_needed = match is_elsewhere {
                    true => index.needs_settlement(queue, reference),
                    // By a commit: any other settlement of the time is in another file.
                    false => settled.contains(&(reference.index(), queue)),
                };
                if is_open || is_needed {
                    let moved = match transaction {
                        Some(_) if !is_open => self.settlement(queue, reference),
                        _ => self.raw(header, payload),
                    };
                    if is_elsewhere {
                        *self.shadows.entry(reference.segment()).or_default() += u64::from(moved.length);
                    }
                }
            }
            Record::Update { queue, reference, .. } => {
                let segment = index.segment(reference.segment());
                let last = segment.and_then(|segment| segment.updates.get(&(reference.index(), queue)));
                if last == Some(&place) {
                    let moved = self.raw(header, payload);
                    self.updates.push((reference, queue, place, moved));
                }
            }
            Record::Forget { queue } => {
                if index.forgotten.get(&queue).is_some_and(|anchor| anchor.place == place) {
                    let moved = self.raw(header, payload);
                    self.forgets.push((queue, place, moved));
                }
            }
            Record::Put { key, .. } | Record::Delete { key, .. } => {
                let is_last =
                    index.objects.get(key).filter(|object| object.place == place && object.is_needed());
                if let Some(object) = is_last {
                    let moved = self.object(header, payload, record);
                    let moves = if object.is_deleted { &mut self.deletions } else { &mut self.puts };
                    moves.push((key.into(), place, moved));
                }
            }
            Record::Commit { transaction } => {
                if index.commits.get(&transaction).is_some_and(|anchor| anchor.place == place) {
                    let moved = self.raw(header, payload);
                    self.commits.push((transaction, place, moved));
                }
            }
            Record::Mark { .. } | Record::Seal => {}
        }
    }

    fn take_message(&mut self, log: &Log, header: Header, payload: &[u8], message: Message<'_>) {
        let Some(segment) = log.index.segment(self.id) else { return };
        let Some(entry) = segment.entry(message.index).filter(|entry| segment.is_live(entry)) else { return };
        let is_durable = entry.is_durable();
        let mut queues = std::mem::take(&mut self.queues);
        let mut names = std::mem::take(&mut self.names);
        segment.holders(entry, &mut queues);
        message.targets.collect_into(&mut names);
        let is_open = self.is_open(log, message.transaction);
        // A record of a transaction that is committed needs its commit no longer, and one that names
        // fewer queues not the settlements of the others.
        let moved = match (is_open || message.transaction.is_none()) && queues == names {
            true => self.raw(header, payload),
            false => {
                let transaction = message.transaction.filter(|_| is_open);
                self.message(Message { transaction, ..message }, &queues)
            }
        };
        self.queues = queues;
        self.names = names;
        let Place { offset, length, .. } = moved;
        self.messages.push(Moved { index: message.index, offset, length, is_durable });
    }

    /// Whether a record belongs to a transaction that is open; the copy needs its commit then.
    fn is_open(&mut self, log: &Log, transaction: Option<u64>) -> bool {
        let open = transaction.filter(|number| log.open_numbers.contains(number));
        self.open.extend(open);
        open.is_some()
    }

    fn raw(&mut self, header: Header, payload: &[u8]) -> Place {
        let offset = self.offset();
        format::copy(&mut self.out, header, payload, self.id, offset);
        Place { segment: self.id, offset, length: header.record_length() as u32 }
    }

    fn message(&mut self, message: Message<'_>, queues: &[QueueId]) -> Place {
        let (offset, start) = (self.offset(), format::begin(&mut self.out));
        let Message { index, durable, transaction, meta, body, .. } = message;
        let flags = format::put_message(&mut self.out, index, durable, transaction, queues, meta);
        self.out.extend_from_slice(body);
        let length = format::finish(&mut self.out, start, kind::MESSAGE, flags, self.id, offset);
        Place { segment: self.id, offset, length }
    }

    fn settlement(&mut self, queue: QueueId, reference: Reference) -> Place {
        let (offset, start) = (self.offset(), format::begin(&mut self.out));
        let flags = format::put_settlement(&mut self.out, None, queue, reference);
        let length = format::finish(&mut self.out, start, kind::SETTLE, flags, self.id, offset);
        Place { segment: self.id, offset, length }
    }

    /// The last record about an object: it counts, so its transaction was committed, and the copy needs
    /// the commit no longer.
    fn object(&mut self, header: Header, payload: &[u8], record: &Record<'_>) -> Place {
        let (offset, start) = (self.offset(), format::begin(&mut self.out));
        let flags = match *record {
            Record::Put { transaction: Some(_), key, value } => {
                format::put_object(&mut self.out, None, key, value)
            }
            Record::Delete { transaction: Some(_), key } => format::put_deletion(&mut self.out, None, key),
            _ => {
                self.out.extend_from_slice(payload);
                header.flags
            }
        };
        let length = format::finish(&mut self.out, start, header.kind, flags, self.id, offset);
        Place { segment: self.id, offset, length }
    }

    fn seal(&mut self) {
        let (offset, start) = (self.offset(), format::begin(&mut self.out));
        format::finish(&mut self.out, start, kind::SEAL, 0, self.id, offset);
    }

    /// Where the next record of the copy goes: the copy is no longer than the file, so it fits.
    fn offset(&self) -> u32 {
        (self.written + self.out.len() as u64) as u32
    }
}

/// What a failure to write a copy means: no room, or a disk that failed.
fn cannot_write(log: &mut Log, id: u32, action: &'static str, source: std::io::Error) -> GivenUp {
    match SetAside::new(&*log.disk, action, id, 0, source) {
        SetAside::Refused(_) => GivenUp::NoRoom,
        SetAside::Broken { action, segment, source } => GivenUp::Failed(log.fail(action, segment, &source)),
    }
}

/// The settlements in other files that a copy makes superfluous: those that have taken effect. The ones
/// of open transactions may still say something about a message that is copied.
fn settlements_to_retire(log: &Log, id: u32) -> Vec<(u32, u64)> {
    let mut retired: BTreeMap<u32, u64> = shadows_of(log, id).into_iter().collect();
    for settlement in log.transactions.values().flat_map(|open| &open.settlements) {
        if settlement.reference.segment() == id
            && let Some(place) = settlement.place
            && let Some(bytes) = retired.get_mut(&place.segment)
        {
            *bytes = bytes.saturating_sub(u64::from(place.length));
        }
    }
    retired.into_iter().collect()
}

/// The copy is the file now: the index follows.
fn install(log: &mut Log, mut rewrite: Rewrite) -> Result<(), StoreError> {
    let id = rewrite.id;
    log.index.retire_settlements(id, &rewrite.retired);
    let Some(old) = log.index.segment_mut(id) else { return Ok(()) };
    let mut new = Segment::new(id, rewrite.generation, Arc::clone(&rewrite.file), rewrite.copied.written);
    new.length = rewrite.copied.written;
    new.is_sealed = true;
    new.updates = std::mem::take(&mut old.updates);
    new.shadowed = old.shadowed;
    new.shadows = std::mem::take(&mut rewrite.copied.shadows);
    new.extra = new.shadows.values().sum();
    add_messages(old, &mut new, &rewrite);
    new.shrink();

    for (of, bytes) in new.shadows.clone() {
        if let Some(segment) = log.index.segment_mut(of) {
            segment.shadowed += bytes;
        }
    }
    if let Some(old) = log.index.replace(id, Some(new)) {
        log.index.drop_shadows(&old.shadows);
    }
    move_records(log, &rewrite);
    let puts = rewrite.copied.puts.into_iter().map(|(key, ..)| key).collect();
    log.index.release_anchors(id, &rewrite.copied.open, &puts, &rewrite.forgotten);
    if let Some(segment) = log.index.segment_mut(id) {
        segment.unreclaimed = segment.reclaimable();
    }
    Ok(())
}

/// The messages of the copy, held by who holds them now. A queue that settled while it was copied is
/// named all the same: the copy may name it, and then its settlement is needed.
fn add_messages(old: &Segment, new: &mut Segment, rewrite: &Rewrite) {
    let mut queues = Vec::new();
    for moved in &rewrite.copied.messages {
        queues.clear();
        if let Some(entry) = old.entry(moved.index) {
            old.holders(entry, &mut queues);
        }
        let settled = rewrite.settled.range((moved.index, QueueId(0))..=(moved.index, QueueId(u64::MAX)));
        queues.extend(settled.map(|(_, queue)| *queue));
        queues.sort_unstable();
        queues.dedup();
        new.add(moved.index, moved.offset, moved.length, &queues, moved.is_durable);
    }
    for (index, queue) in &rewrite.settled {
        new.settle(*queue, *index);
    }
}

/// What was the last record about something, and has not been followed by another, is it at its new place.
fn move_records(log: &mut Log, rewrite: &Rewrite) {
    let index = &mut log.index;
    for (reference, queue, from, to) in &rewrite.copied.updates {
        let segment = index.segment_mut(reference.segment());
        let last = segment.and_then(|segment| segment.updates.get_mut(&(reference.index(), *queue)));
        if let Some(last) = last.filter(|last| *last == from) {
            *last = *to;
            index.add_live(*to);
        }
    }
    for (key, from, to) in &rewrite.copied.puts {
        if let Some(object) = index.objects.get_mut(key).filter(|object| object.place == *from) {
            object.place = *to;
            index.add_live(*to);
        }
    }
    for (key, from, to) in &rewrite.copied.deletions {
        if let Some(object) = index.objects.get_mut(key).filter(|object| object.place == *from) {
            object.place = *to;
            if object.is_needed() {
                index.add_extra(*to);
            }
        }
    }
    let forgets = rewrite.copied.forgets.iter().filter_map(|(queue, from, to)| {
        let anchor = index.forgotten.get_mut(queue).filter(|anchor| anchor.place == *from)?;
        anchor.place = *to;
        Some(*to)
    });
    let commits = rewrite.copied.commits.iter().filter_map(|(number, from, to)| {
        let anchor = index.commits.get_mut(number).filter(|anchor| anchor.place == *from)?;
        anchor.place = *to;
        Some(*to)
    });
    let moved: Vec<Place> = forgets.chain(commits).collect();
    for place in moved {
        index.add_extra(place);
    }
}
