//! The log: one owner, one writer.

use std::sync::Arc;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::location::Location;
use crate::types::{
    Compaction, NewMessage, Options, QueueId, Recovery, Reference, Status, TransactionId, Visitor,
};

/// A log that is open.
#[derive(Debug)]
pub struct Log {}

impl Log {
    /// Opens the log of a directory, or begins one where there is none, and gives what it holds to `visitor`.
    ///
    /// # Errors
    ///
    /// Every [`StoreError`] but `Failed`.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        visitor: &mut dyn Visitor,
    ) -> Result<(Self, Recovery), StoreError> {
        todo!()
    }

    /// Appends a message. It is in memory until [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`, `NoTarget`; nothing was appended then.
    pub fn append(&mut self, message: &NewMessage<'_>) -> Result<Reference, StoreError> {
        todo!()
    }

    /// A queue no longer holds a message. Of one that it does not hold, nothing happens.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`.
    pub fn settle(
        &mut self,
        queue: QueueId,
        reference: Reference,
        transaction: Option<TransactionId>,
    ) -> Result<(), StoreError> {
        todo!()
    }

    /// Keeps a few bytes with a message of a queue, in place of those before.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`.
    pub fn update(&mut self, queue: QueueId, reference: Reference, state: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// A queue holds nothing any more, and never will again.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`.
    pub fn forget(&mut self, queue: QueueId) -> Result<(), StoreError> {
        todo!()
    }

    /// Keeps a small object, in place of one with the same key.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`, `TooLarge`.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Removes an object.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    /// Makes the messages and settlements of a transaction count, all of them or, after a crash before
    /// the next synced flush, none.
    ///
    /// # Errors
    ///
    /// `Full`, `Failed`.
    pub fn commit(&mut self, transaction: TransactionId) -> Result<(), StoreError> {
        todo!()
    }

    /// Drops the messages and settlements of a transaction. Needs no room and cannot fail.
    pub fn rollback(&mut self, transaction: TransactionId) {
        todo!()
    }

    /// Writes what is in memory, at once; with `sync`, it returns when everything before is durable.
    ///
    /// # Errors
    ///
    /// `Failed`: nothing since the last synced flush is certain to be on disk, and nothing more is taken.
    pub fn flush(&mut self, sync: bool) -> Result<(), StoreError> {
        todo!()
    }

    /// Bytes that the next flush will write.
    pub fn buffered_bytes(&self) -> usize {
        todo!()
    }

    /// Where a message is, while a queue holds it.
    pub fn locate(&self, reference: Reference) -> Option<Location> {
        todo!()
    }

    /// Gives back room that dead records take, about `budget` bytes of reading and writing at a time.
    ///
    /// # Errors
    ///
    /// `Failed`; `Corrupt` and `Io` of a file that cannot be read, which is left alone from then on.
    pub fn compact_step(&mut self, budget: u64) -> Result<Compaction, StoreError> {
        todo!()
    }

    /// The log in figures.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Flushes, syncs and notes that the log ends here.
    ///
    /// # Errors
    ///
    /// `Failed`.
    pub fn close(self) -> Result<(), StoreError> {
        todo!()
    }
}
