//! The directory that a log lives in, as far as the log needs one.

use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

mod real;

pub use real::RealDisk;

/// One directory of files. Names have no separators.
///
/// Nothing is durable before it was synced: the content of a file by [`DiskFile::sync_data`] or
/// [`DiskFile::sync_all`], its name by [`Disk::sync_directory`].
pub trait Disk: Send + Sync + Debug {
    /// Takes the directory for this process until what is returned is dropped.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] while another process has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;

    /// The names of all files.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn list(&self) -> io::Result<Vec<String>>;

    /// An empty file of that name; one that was there is emptied.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// A file that is there.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of a file that has it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; it can be read on by who has it open.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn sync_directory(&self) -> io::Result<()>;

    /// Where a file is, for messages to people.
    fn path(&self, name: &str) -> PathBuf;
}

/// One open file: positional reads and writes, so that a reader needs no lock.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads into `buffer` and says how much; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// Those of the file system; some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Sets room aside from `offset` on, `length` bytes that read as zeros where the file was shorter.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::QuotaExceeded`] when there is none; others of
    /// the file system.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Cuts the file to `length` bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn length(&self) -> io::Result<u64>;

    /// Makes the content durable, and of the metadata only what is needed to read it.
    ///
    /// # Errors
    ///
    /// Those of the file system. What was written since the last sync may be lost from then on, whatever
    /// a later sync returns.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the content and all metadata durable.
    ///
    /// # Errors
    ///
    /// As [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;
}
