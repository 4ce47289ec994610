//! Where a message is, for a reader on another thread.

use bytes::Bytes;

use crate::error::StoreError;

/// Where the body of a message is. It can be read on any thread, and after the log has moved or removed
/// the message: it holds the file.
#[derive(Debug)]
pub struct Location {}

impl Location {
    /// The body.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when it is not what was written, [`StoreError::Io`] when it cannot be read.
    pub fn read(&self) -> Result<Bytes, StoreError> {
        todo!()
    }
}
