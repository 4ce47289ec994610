//! The message log of a node: append-only, segmented, checksummed, crash-safe.
//!
//! It knows queues as numbers and messages as bytes. It starts no thread; one owner writes, and reads
//! happen through [`Location`]s wherever the caller likes.

mod disk;
mod error;
mod files;
mod format;
mod index;
mod location;
mod log;
mod recovery;
mod scan;
mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod types;

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::StoreError;
pub use location::Location;
pub use log::Log;
pub use types::{
    Compaction, NewMessage, Options, QueueId, RecoveredMessage, Recovery, Reference, State, Status,
    TransactionId, Visitor,
};
