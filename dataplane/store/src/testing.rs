//! A disk in memory that loses, tears and refuses what a real one may, from a seed.
//!
//! What is written is seen at once by whoever reads, and survives [`FaultyDisk::crash`] for certain only
//! when it was synced. The rest survives in part, sector by sector and in any order.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile};
use crate::{files, format};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The file of a segment with these records, each a kind, flags and a payload that need not make sense:
/// the checksums are right, so that recovery looks at what the records say.
pub fn file(segment: u32, records: &[(u8, u8, Vec<u8>)]) -> (String, Vec<u8>) {
    let mut bytes = format::FileHeader { segment, generation: 0, format: format::FORMAT }.encode();
    for (kind, flags, payload) in records {
        let start = format::begin(&mut bytes);
        bytes.extend_from_slice(payload);
        let offset = u32::try_from(start).unwrap_or(u32::MAX);
        format::finish(&mut bytes, start, *kind, *flags, segment, offset);
    }
    (files::name(segment), bytes)
}

/// What can be told to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Reading a file.
    Read,
    /// Writing a file; a part of it is written.
    Write,
    /// Syncing a file; some of what was not synced is lost, and no later sync brings it back.
    Sync,
    /// Setting room aside.
    Allocate,
    /// Creating, renaming or removing a file.
    Change,
    /// Syncing the directory.
    SyncDirectory,
}

/// A disk in memory. A clone is the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    state: Arc<Mutex<Content>>,
}

#[derive(Debug)]
struct Content {
    random: fastrand::Rng,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What happened to names since the directory was synced.
    changes: Vec<Change>,
    files: Vec<File>,
    capacity: Option<u64>,
    is_locked: bool,
    /// Operations that change something, so far.
    operations: u64,
    power_until: Option<u64>,
    is_off: bool,
    failing: BTreeMap<Operation, (u64, io::ErrorKind)>,
    syncs: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Name(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Debug, Default)]
struct File {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl FaultyDisk {
    /// An empty disk without faults; what a crash leaves follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with(Content::new(fastrand::Rng::with_seed(seed)))
    }

    fn with(content: Content) -> Self {
        Self { state: Arc::new(Mutex::new(content)) }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power: what is left is on the disk that is returned. This one answers nothing any more.
    pub fn crash(&self) -> Self {
        Self::with(self.content().crash(true))
    }

    /// Ends the process without a power cut: everything written is on the disk that is returned.
    pub fn kill(&self) -> Self {
        Self::with(self.content().crash(false))
    }

    /// Cuts the power in the middle of the operation that is so many changing ones away (0: the next).
    pub fn cut_power_after(&self, operations: u64) {
        let mut content = self.content();
        content.power_until = Some(content.operations.saturating_add(operations));
    }

    /// Whether the power was cut.
    pub fn is_off(&self) -> bool {
        self.content().is_off
    }

    /// Changing operations so far.
    pub fn operations(&self) -> u64 {
        self.content().operations
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.content().syncs
    }

    /// Has an operation fail once, after `successes` more that succeed.
    pub fn fail(&self, operation: Operation, successes: u64, error: io::ErrorKind) {
        self.content().failing.insert(operation, (successes, error));
    }

    /// Limits the bytes of all files, or no longer.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.content().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.content().used()
    }

    /// The names of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.content().names.keys().cloned().collect()
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let content = self.content();
        content.files.get(*content.names.get(name)?).map(|file| file.now.clone())
    }

    /// Inverts one byte of a file, for who has it open too.
    pub fn damage(&self, name: &str, offset: usize) {
        let mut content = self.content();
        let Some(number) = content.names.get(name).copied() else { return };
        let Some(file) = content.files.get_mut(number) else { return };
        for bytes in [&mut file.now, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte = !*byte;
            }
        }
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut content = self.content();
        let number = content.files.len();
        content.files.push(File { now: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() });
        content.names.insert(name.to_owned(), number);
        content.durable_names.insert(name.to_owned(), number);
    }
}

impl Content {
    fn new(random: fastrand::Rng) -> Self {
        Self {
            random,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            files: Vec::new(),
            capacity: None,
            is_locked: false,
            operations: 0,
            power_until: None,
            is_off: false,
            failing: BTreeMap::new(),
            syncs: 0,
        }
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|number| self.files.get(*number))
            .map(|file| file.now.len() as u64)
            .sum()
    }

    fn crash(&mut self, is_power_cut: bool) -> Self {
        self.is_off = true;
        let mut random = self.random.fork();
        let mut names = self.durable_names.clone();
        // A file system journals names: what happened to them is lost from the end.
        let kept = if is_power_cut { random.usize(0..=self.changes.len()) } else { self.changes.len() };
        for change in self.changes.iter().take(kept) {
            apply_change(&mut names, change);
        }
        let mut left = Self::new(random);
        left.capacity = self.capacity;
        for (name, number) in names {
            let Some(mut file) = self.files.get(number).cloned() else { continue };
            if is_power_cut {
                file.crash(&mut left.random);
                file.now.clone_from(&file.durable);
            }
            left.names.insert(name.clone(), left.files.len());
            left.durable_names.insert(name, left.files.len());
            left.files.push(file);
        }
        left
    }

    /// What every operation goes through first. The error is that of a disk that was told to fail.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        if self.is_off {
            return Err(io::Error::other("the power is off"));
        }
        if operation != Operation::Read {
            self.operations += 1;
            if self.power_until.is_some_and(|until| self.operations > until) {
                self.is_off = true;
            }
        }
        if let Some((successes, error)) = self.failing.get_mut(&operation) {
            let error = *error;
            match successes.checked_sub(1) {
                Some(left) => *successes = left,
                None => {
                    self.failing.remove(&operation);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, change: Change) -> io::Result<()> {
        apply_change(&mut self.names, &change);
        self.changes.push(change);
        self.still_on()
    }

    /// The operation in which the power is cut happens, perhaps, and returns nothing.
    fn still_on(&self) -> io::Result<()> {
        if self.is_off { Err(io::Error::other("the power was cut")) } else { Ok(()) }
    }

    fn number(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&mut self, number: usize) -> io::Result<&mut File> {
        self.files.get_mut(number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Bytes by which files may grow.
    fn room(&self) -> u64 {
        self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }
}

fn apply_change(names: &mut BTreeMap<String, usize>, change: &Change) {
    match change {
        Change::Name(name, number) => {
            names.insert(name.clone(), *number);
        }
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
        Change::Remove(name) => {
            names.remove(name);
        }
    }
}

impl File {
    fn change(&mut self, pending: Pending) {
        pending.apply(&mut self.now);
        self.pending.push(pending);
    }

    fn sync(&mut self) {
        for pending in self.pending.drain(..) {
            pending.apply(&mut self.durable);
        }
    }

    /// Some of what was not synced reaches the disk.
    fn crash(&mut self, random: &mut fastrand::Rng) {
        let pending = std::mem::take(&mut self.pending);
        let mode = random.u8(0..4);
        let kept = random.usize(0..=pending.len());
        for (number, pending) in pending.into_iter().enumerate() {
            match (mode, pending) {
                (0, _) => {}
                (1, pending) => pending.apply(&mut self.durable),
                (2, pending) if number < kept => pending.apply(&mut self.durable),
                (2, Pending::Write(offset, bytes)) if number == kept => {
                    let part = random.usize(0..=bytes.len());
                    Pending::Write(offset, bytes.into_iter().take(part).collect()).apply(&mut self.durable);
                }
                (2, _) => {}
                (_, Pending::Length(length)) => {
                    if random.bool() {
                        Pending::Length(length).apply(&mut self.durable);
                    }
                }
                (_, Pending::Write(offset, bytes)) => {
                    let mut at = offset;
                    let end = offset + bytes.len();
                    while at < end {
                        let next = (at / SECTOR + 1) * SECTOR;
                        let sector = at - offset..next.min(end) - offset;
                        if random.bool() {
                            let bytes = bytes.get(sector).unwrap_or_default().to_vec();
                            Pending::Write(at, bytes).apply(&mut self.durable);
                        }
                        at = next;
                    }
                }
            }
        }
    }
}

impl Pending {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write(offset, bytes) => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                if let Some(place) = content.get_mut(*offset..end) {
                    place.copy_from_slice(bytes);
                }
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut content = self.content();
        if std::mem::replace(&mut content.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock(self.clone())))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.content().begin(Operation::Read)?;
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.content();
        content.begin(Operation::Change)?;
        let number = content.files.len();
        content.files.push(File::default());
        content.change(Change::Name(name.to_owned(), number))?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), number }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut content = self.content();
        content.begin(Operation::Read)?;
        let number = content.number(name)?;
        Ok(Arc::new(FaultyFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut content = self.content();
        content.begin(Operation::Change)?;
        content.number(from)?;
        content.change(Change::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut content = self.content();
        content.begin(Operation::Change)?;
        content.number(name)?;
        content.change(Change::Remove(name.to_owned()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut content = self.content();
        content.begin(Operation::SyncDirectory)?;
        content.still_on()?;
        content.durable_names = content.names.clone();
        content.changes.clear();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/memory").join(name)
    }
}

#[derive(Debug)]
struct Lock(FaultyDisk);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.content().is_locked = false;
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    number: usize,
}

impl FaultyFile {
    fn sync(&self) -> io::Result<()> {
        let mut content = self.disk.content();
        let begun = content.begin(Operation::Sync);
        content.still_on()?;
        content.syncs += 1;
        let mut random = content.random.fork();
        let file = content.file(self.number)?;
        match &begun {
            Ok(()) => file.sync(),
            // What the disk did not take is forgotten, and what is read does not show it.
            Err(_) => file.crash(&mut random),
        }
        begun
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut content = self.disk.content();
        content.begin(Operation::Read)?;
        let file = content.file(self.number)?;
        let rest = file.now.get(offset as usize..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        let begun = content.begin(Operation::Write);
        let room = content.room();
        let is_torn = begun.is_err() || content.is_off;
        let part = if is_torn { content.random.usize(0..=bytes.len()) } else { bytes.len() };
        let file = content.file(self.number)?;
        let (offset, length) = (offset as usize, file.now.len());
        let fits = (length as u64).saturating_add(room).saturating_sub(offset as u64);
        let taken = part.min(usize::try_from(fits).unwrap_or(usize::MAX));
        if taken > 0 {
            file.change(Pending::Write(offset, bytes[..taken].to_vec()));
        }
        begun?;
        content.still_on()?;
        if taken < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        content.begin(Operation::Allocate)?;
        let room = content.room();
        let file = content.file(self.number)?;
        let end = (offset + length) as usize;
        if end > file.now.len() {
            if (end - file.now.len()) as u64 > room {
                return Err(io::ErrorKind::StorageFull.into());
            }
            file.change(Pending::Length(end));
        }
        content.still_on()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut content = self.disk.content();
        content.begin(Operation::Write)?;
        content.file(self.number)?.change(Pending::Length(length as usize));
        content.still_on()
    }

    fn length(&self) -> io::Result<u64> {
        let mut content = self.disk.content();
        content.begin(Operation::Read)?;
        Ok(content.file(self.number)?.now.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}
