//! The journal of configuration objects: what makes a created address survive a crash.
//!
//! Changes are appended and flushed in batches; the cost of a change does not depend on how many
//! objects there are. When most of the file is history, it is rewritten beside itself and renamed
//! into place. After a failed write or flush the state of the file is unknown: the next change
//! rewrites it first, so nothing is ever appended behind a doubtful record.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{Change, MAGIC, Reader};
use super::{Object, StoreError};

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

/// The objects and the journal that they are read back from.
pub(crate) struct Journal {
    medium: Box<dyn Medium>,
    objects: BTreeMap<Arc<str>, Entry>,
    /// Number of the last change.
    revision: u64,
    /// Bytes of the medium that hold whole records.
    length: u64,
    /// Bytes of the records that a compaction would keep.
    live: u64,
    /// Length at which the next compaction is tried.
    compact_at: u64,
    /// A write has failed: the medium may hold anything behind `length`.
    is_doubtful: bool,
}

struct Entry {
    object: Arc<Object>,
    /// Bytes of its record.
    bytes: u64,
}

impl Journal {
    /// Reads the journal, or begins one where there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] with the offset of the damaged record, and [`StoreError::Io`].
    pub(crate) fn open(mut medium: Box<dyn Medium>) -> Result<Self, StoreError> {
        let content = medium.read().map_err(|source| StoreError::io("read", medium.path(), source))?;
        let mut journal = Self {
            medium,
            objects: BTreeMap::new(),
            revision: 0,
            length: 0,
            live: 0,
            compact_at: COMPACTION_FLOOR,
            is_doubtful: false,
        };
        match content {
            Some(content) => journal.recover(&content)?,
            None => journal.rewrite()?,
        }
        Ok(journal)
    }

    /// Number of the last change; the next one takes the number after it.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(name).map(|entry| &entry.object)
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The objects in the order of their names.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<Object>)> {
        self.objects.iter().map(|(name, entry)| (name, &entry.object))
    }

    /// The names from this one on, in their order.
    pub(crate) fn names_from(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        let from = (Bound::Included(name), Bound::Unbounded);
        self.objects.range::<str, _>(from).map(|(name, _)| name)
    }

    /// Makes the changes durable, then applies them.
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
            sizes.push(encoded.map_err(|reason| {
                StoreError::io(
                    "write",
                    self.medium.path(),
                    io::Error::new(io::ErrorKind::InvalidData, reason),
                )
            })?);
        }
        if let Err(source) = self.medium.append(&bytes) {
            self.is_doubtful = true;
            // Best effort: what was refused should not come back at the next start.
            let _ = self.medium.truncate(self.length);
            return Err(StoreError::io("write", self.medium.path(), source));
        }
        self.length += bytes.len() as u64;
        for (change, size) in changes.iter().zip(sizes) {
            self.apply(change, size);
        }
        self.compact();
        Ok(())
    }

    fn recover(&mut self, content: &[u8]) -> Result<(), StoreError> {
        let corrupt = |path: &Path, corruption: super::record::Corruption| StoreError::Corrupt {
            path: path.to_owned(),
            offset: corruption.offset,
            reason: corruption.reason,
        };
        let mut reader = Reader::new(content).map_err(|error| corrupt(self.medium.path(), error))?;
        while let Some((change, size)) = reader.next().map_err(|error| corrupt(self.medium.path(), error))? {
            self.apply(&change, size);
        }
        self.length = reader.offset();
        if self.length < MAGIC.len() as u64 {
            return self.rewrite();
        }
        let torn = content.len() as u64 - self.length;
        if torn > 0 {
            tracing::warn!(
                path = %self.medium.path().display(),
                offset = self.length,
                bytes = torn,
                "cut off a change that a crash had interrupted"
            );
            let cut = self.medium.truncate(self.length);
            cut.map_err(|source| StoreError::io("repair", self.medium.path(), source))?;
        }
        self.compact_at = self.compaction_point();
        Ok(())
    }

    fn apply(&mut self, change: &Change, size: usize) {
        self.revision = self.revision.max(change.revision());
        let bytes = size as u64;
        let replaced = match change {
            Change::Base { .. } => None,
            Change::PutAddress { revision, name, id, labels, spec } => {
                // A revision is used once, so it will do for an address that was not given an id.
                let id = id.unwrap_or(*revision);
                let object = Object {
                    is_built_in: false,
                    version: *revision,
                    id,
                    labels: labels.clone(),
                    spec: (**spec).clone(),
                };
                self.live += bytes;
                self.objects.insert(name.clone(), Entry { object: Arc::new(object), bytes })
            }
            Change::RemoveAddress { name, .. } => self.objects.remove(name),
        };
        self.live -= replaced.map_or(0, |entry| entry.bytes);
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

    fn compaction_point(&self) -> u64 {
        COMPACTION_FLOOR.max(self.live * COMPACTION_FACTOR)
    }

    /// Puts a journal in place that holds the objects and nothing else.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let mut content = MAGIC.to_vec();
        let failed = |path: &Path, reason| {
            StoreError::io("write", path, io::Error::new(io::ErrorKind::InvalidData, reason))
        };
        let base = Change::Base { revision: self.revision };
        base.encode(&mut content).map_err(|reason| failed(self.medium.path(), reason))?;
        for (name, Entry { object, .. }) in &self.objects {
            let change = Change::PutAddress {
                revision: object.version,
                name: name.clone(),
                id: Some(object.id),
                labels: object.labels.clone(),
                spec: Box::new(object.spec.clone()),
            };
            change.encode(&mut content).map_err(|reason| failed(self.medium.path(), reason))?;
        }
        // Until it has succeeded, nobody knows which of the two files the name stands for.
        self.is_doubtful = true;
        let replaced = self.medium.replace(&content);
        replaced.map_err(|source| StoreError::io("write", self.medium.path(), source))?;
        self.length = content.len() as u64;
        self.is_doubtful = false;
        Ok(())
    }
}
