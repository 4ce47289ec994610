//! Where a message is, for a reader on another thread.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::files;
use crate::format::{HEADER, Header, Record};
use crate::types::Reference;

/// Where the body of a message is. It can be read on any thread, and after the log has moved or removed
/// the message: it holds the file.
#[derive(Clone, Debug)]
pub struct Location {
    reference: Reference,
    length: u32,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File {
        disk: Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        offset: u32,
    },
    /// The record was not written yet.
    Memory(Bytes),
}

impl Location {
    pub(crate) fn in_file(
        disk: Arc<dyn Disk>,
        file: Arc<dyn DiskFile>,
        reference: Reference,
        offset: u32,
        length: u32,
    ) -> Self {
        Self { reference, length, content: Content::File { disk, file, offset } }
    }

    pub(crate) fn in_memory(reference: Reference, body: Bytes) -> Self {
        Self {
            reference,
            length: u32::try_from(body.len()).unwrap_or(u32::MAX),
            content: Content::Memory(body),
        }
    }

    /// The name of the message.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Bytes that [`read`](Self::read) reads: at least those of the body.
    pub fn length(&self) -> u32 {
        self.length
    }

    /// The body.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] when it is not what was written, [`StoreError::Io`] when it cannot be read.
    pub fn read(&self) -> Result<Bytes, StoreError> {
        match &self.content {
            Content::Memory(body) => Ok(body.clone()),
            Content::File { disk, file, offset } => self.read_file(&**disk, &**file, *offset),
        }
    }

    fn read_file(&self, disk: &dyn Disk, file: &dyn DiskFile, offset: u32) -> Result<Bytes, StoreError> {
        let path = || disk.path(&files::name(self.reference.segment()));
        let mut buffer = vec![0; self.length as usize];
        read_exact(file, &mut buffer, u64::from(offset)).map_err(|source| StoreError::Io {
            action: "read",
            path: path(),
            source,
        })?;
        let buffer = Bytes::from(buffer);
        body(&buffer, self.reference, offset).ok_or_else(|| StoreError::Corrupt {
            path: path(),
            offset: u64::from(offset),
            problem: "the checksum of a message does not match",
        })
    }
}

/// The body of the message with that name, when `record` is its record.
fn body(record: &Bytes, reference: Reference, offset: u32) -> Option<Bytes> {
    let header = Header::decode(record, reference.segment(), offset)?;
    let payload = record.get(HEADER..)?;
    let is_whole = header.length as usize == payload.len() && header.matches(payload);
    match is_whole.then(|| Record::decode(header, payload))?? {
        Record::Message(message) if message.index == reference.index() => {
            Some(record.slice_ref(message.body))
        }
        _ => None,
    }
}

fn read_exact(file: &dyn DiskFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = file.read_at(buffer, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = buffer.get_mut(read..).unwrap_or_default();
        offset = offset.saturating_add(read as u64);
    }
    Ok(())
}
