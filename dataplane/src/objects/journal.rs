//! The journal of configuration objects: what makes a created address survive a crash.
//!
//! Changes are appended and flushed in batches; the cost of a change does not depend on how many
//! objects there are. When most of the file is history, it is rewritten beside itself and renamed
//! into place. After a failed write or flush the state of the file is unknown: the next change
//! rewrites it first, so nothing is ever appended behind a doubtful record.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mq_mesh::NodeId;
use mq_mesh::replica::{Key, Record};

use super::StoreError;
use super::record::{Base, Change, Corruption, MAGIC, Reader};

/// Longest journal that is read, in bytes.
const MAX_JOURNAL: u64 = 4 << 30;

/// A journal shorter than this is not worth a compaction, in bytes.
const COMPACTION_FLOOR: u64 = 256 << 10;

/// A journal is rewritten when it is this many times longer than what it holds.
const COMPACTION_FACTOR: u64 = 4;

/// Where a journal is kept: one file, whole or torn, never half replaced.
pub(crate) trait Medium: Send + 'static {
    /// What errors call it.
    fn path(&self) -> &Path;
    /// The content; `None` when there is no journal yet.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>>;
    /// Appends; durable when it returns.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the content off; durable when it returns.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Puts new content in place of the old, atomically; durable when it returns.
    fn replace(&mut self, content: &[u8]) -> io::Result<()>;
}

/// A journal in a file of its own directory.
#[derive(Debug)]
pub(crate) struct JournalFile {
    path: PathBuf,
    file: Option<File>,
}

impl JournalFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    fn open(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Medium for JournalFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut file = match OpenOptions::new().read(true).append(true).open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length > MAX_JOURNAL {
            let reason = format!("the file has {length} bytes, more than {MAX_JOURNAL}");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        self.file = Some(file);
        Ok(Some(content))
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.open()?;
        file.write_all(bytes)?;
        file.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let file = self.open()?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn replace(&mut self, content: &[u8]) -> io::Result<()> {
        let file = write_atomically(&self.path, content)?;
        self.file = Some(file);
        Ok(())
    }
}

/// Writes a file so that after a crash either the old content is there or the new one, both whole.
/// Readable by its owner alone. Returns the file, open for appending.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> io::Result<File> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // What a crash has left behind is in the way of nobody but us.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path))
        // The rename is durable when the directory is.
        .and_then(|()| File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    Ok(file)
}

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    /// Names an address in the store of this node; of no meaning when it was deleted.
    pub(crate) id: u64,
    /// Bytes in the file.
    bytes: u64,
}

/// The objects and the journal that they are read back from.
pub(crate) struct Journal {
    medium: Box<dyn Medium>,
    /// Deleted ones, too.
    objects: BTreeMap<Key, Kept>,
    base: Base,
    /// Bytes of the medium that hold whole records.
    length: u64,
    /// Bytes of the records that a compaction would keep.
    live: u64,
    /// Length at which the next compaction is tried.
    compact_at: u64,
    /// A write has failed: the medium may hold anything behind `length`.
    is_doubtful: bool,
}

impl Journal {
    /// Reads the journal of the node `local`, or begins one where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] with the offset of the damaged record, and [`StoreError::Io`].
    pub(crate) fn open(mut medium: Box<dyn Medium>, local: NodeId) -> Result<Self, StoreError> {
        let content = medium.read().map_err(|source| StoreError::io("read", medium.path(), source))?;
        let mut journal = Self {
            medium,
            objects: BTreeMap::new(),
            base: Base::default(),
            length: 0,
            live: 0,
            compact_at: COMPACTION_FLOOR,
            is_doubtful: false,
        };
        match content {
            Some(content) => journal.recover(&content, local)?,
            None => journal.rewrite()?,
        }
        Ok(journal)
    }

    /// What is known besides the objects.
    pub(crate) fn base(&self) -> Base {
        self.base
    }

    pub(crate) fn kept(&self, key: &Key) -> Option<&Kept> {
        self.objects.get(key)
    }

    /// The objects in the order of their keys, deleted ones too.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Kept> {
        self.objects.values()
    }

    /// Makes the changes durable, then applies them. Of two changes of an object the one with the higher
    /// version counts, as it does when they are read back.
    ///
    /// # Errors
    ///
    /// None of the changes is applied. The journal stays usable: the next commit repairs the file
    /// before it writes, and fails the same way while the cause lasts.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.is_doubtful {
            self.rewrite()?;
        }
        let mut bytes = Vec::new();
        let mut sizes = Vec::with_capacity(changes.len());
        for change in changes {
            let encoded = change.encode(&mut bytes);
            sizes.push(encoded.map_err(|reason| self.unwritable(reason))?);
        }
        self.make_room(bytes.len() as u64)?;
        if let Err(source) = self.medium.append(&bytes) {
            self.is_doubtful = true;
            // Best effort: what was refused should not come back at the next start.
            let _ = self.medium.truncate(self.length);
            return Err(StoreError::io("write", self.medium.path(), source));
        }
        self.length += bytes.len() as u64;
        for (change, size) in changes.iter().zip(sizes) {
            self.apply(change.clone(), size);
        }
        self.compact();
        Ok(())
    }

    /// What could not be read back is not written.
    fn make_room(&mut self, more: u64) -> Result<(), StoreError> {
        if self.length.saturating_add(more) > MAX_JOURNAL {
            self.rewrite()?;
        }
        let length = self.length.saturating_add(more);
        if length > MAX_JOURNAL {
            let reason = format!("the file would have {length} bytes, more than {MAX_JOURNAL}");
            return Err(self.unwritable(reason));
        }
        Ok(())
    }

    fn unwritable(&self, reason: String) -> StoreError {
        StoreError::io("write", self.medium.path(), io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    fn recover(&mut self, content: &[u8], local: NodeId) -> Result<(), StoreError> {
        let corrupt = |path: &Path, corruption: Corruption| StoreError::Corrupt {
            path: path.to_owned(),
            offset: corruption.offset,
            reason: corruption.reason,
        };
        let mut reader = Reader::new(content, local).map_err(|error| corrupt(self.medium.path(), error))?;
        let mut is_empty = !reader.is_format_1();
        while let Some((change, size)) = reader.next().map_err(|error| corrupt(self.medium.path(), error))? {
            self.apply(change, size);
            is_empty = false;
        }
        self.length = reader.offset();
        // A journal gets its name when its first record is durable: no crash leaves less. Taken for a new
        // one, it would end every address, and with them what the store holds for them.
        if is_empty || self.length < MAGIC.len() as u64 {
            let reason = "it ends before its first record".to_owned();
            return Err(corrupt(self.medium.path(), Corruption { offset: self.length, reason }));
        }
        let torn = content.len() as u64 - self.length;
        if torn > 0 {
            tracing::warn!(
                path = %self.medium.path().display(),
                offset = self.length,
                bytes = torn,
                "cut off a change that a crash had interrupted"
            );
        }
        if reader.is_format_1() {
            // Nodes that are alone remember no deletions, and there were no others.
            self.forget_deleted();
        }
        if reader.is_format_1() {
            self.rewrite()?;
        } else if torn > 0 {
            let cut = self.medium.truncate(self.length);
            cut.map_err(|source| StoreError::io("repair", self.medium.path(), source))?;
        }
        self.compact_at = self.compaction_point();
        Ok(())
    }

    fn forget_deleted(&mut self) {
        self.objects.retain(|_, kept| kept.record.value.is_some());
        self.live = self.objects.values().map(|kept| kept.bytes).sum();
    }

    fn apply(&mut self, change: Change, size: usize) {
        let bytes = size as u64;
        let replaced = match change {
            Change::Base(base) => {
                self.base.clock = self.base.clock.max(base.clock);
                self.base.id = self.base.id.max(base.id);
                self.base.is_member |= base.is_member;
                None
            }
            Change::Set { record, id } => {
                self.base.clock = self.base.clock.max(record.version.clock);
                self.base.id = self.base.id.max(id);
                let kept = self.objects.get(&record.key);
                // One of the same version was written again by this node, which knows more about it.
                if kept.is_some_and(|kept| kept.record.version > record.version) {
                    return;
                }
                self.live += bytes;
                self.objects.insert(record.key.clone(), Kept { record, id, bytes })
            }
            Change::Forget { key, version } => {
                match self.objects.get(&key).is_some_and(|kept| kept.record.version == version) {
                    true => self.objects.remove(&key),
                    false => None,
                }
            }
        };
        self.live -= replaced.map_or(0, |kept| kept.bytes);
    }

    /// Rewrites the journal when most of it is history. A failure loses nothing: the next commit
    /// tries again before it writes.
    fn compact(&mut self) {
        if self.length < self.compact_at {
            return;
        }
        if self.length >= self.compaction_point()
            && let Err(error) = self.rewrite()
        {
            tracing::warn!(%error, "cannot compact the journal; trying again before the next change");
        }
        self.compact_at = self.compaction_point().max(self.length + self.length / 2);
    }

    /// Early enough that what is written can be read back.
    fn compaction_point(&self) -> u64 {
        self.live.saturating_mul(COMPACTION_FACTOR).clamp(COMPACTION_FLOOR, MAX_JOURNAL / 2)
    }

    /// Puts a journal in place that holds the objects and nothing else.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut content = MAGIC.to_vec();
        let base = Change::Base(self.base);
        base.encode(&mut content).map_err(|reason| self.unwritable(reason))?;
        let mut live = 0;
        for kept in self.objects.values_mut() {
            let change = Change::Set { record: kept.record.clone(), id: kept.id };
            let size = change.encode(&mut content).map_err(|reason| {
                let source = io::Error::new(io::ErrorKind::InvalidData, reason);
                StoreError::io("write", self.medium.path(), source)
            })?;
            kept.bytes = size as u64;
            live += kept.bytes;
        }
        self.live = live;
        // Until it has succeeded, nobody knows which of the two files the name stands for.
        self.is_doubtful = true;
        let replaced = self.medium.replace(&content);
        replaced.map_err(|source| StoreError::io("write", self.medium.path(), source))?;
        self.length = content.len() as u64;
        self.is_doubtful = false;
        Ok(())
    }
}
