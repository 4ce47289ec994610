//! What can go wrong, and who is to do something about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the log cannot be opened, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the log open.
    #[error("the message log {} is in use by another process; stop it, or set another directory", path.display())]
    InUse { path: PathBuf },
    /// The log was written by a later version of this program.
    #[error(
        "{} has log format {found}, this version reads up to {supported}; start the version that wrote it",
        path.display()
    )]
    NewerFormat { path: PathBuf, found: u32, supported: u32 },
    /// Bytes that were on disk are not what was written.
    #[error("{} is damaged at offset {offset}: {problem}; restore the file from a copy", path.display())]
    Corrupt { path: PathBuf, offset: u64, problem: &'static str },
    /// The file system failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// There is no room for a record. Nothing was written, and the log takes records again as soon
    /// as there is room.
    #[error("no room for {needed} bytes in {}: {source}; free space or settle messages", path.display())]
    Full { needed: u64, path: PathBuf, source: io::Error },
    /// An earlier write or sync failed: the log refuses writes until it is opened again.
    #[error("the message log refuses writes until the node is restarted: {reason}")]
    Failed { reason: Arc<str> },
    /// A record larger than the format can hold.
    #[error("a record of {length} bytes is larger than the log takes ({limit} bytes)")]
    TooLarge { length: u64, limit: u64 },
    /// A message without a queue to hold it.
    #[error("a message for no queue cannot be stored")]
    NoTarget,
    /// Settings outside of their bounds.
    #[error("segment-bytes is {found}; it must be between {lowest} and {highest}")]
    SegmentBytes { found: u64, lowest: u64, highest: u64 },
}
