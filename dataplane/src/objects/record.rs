//! The records of the object journal: one change each, in bytes.
//!
//! ```text
//! file   = magic (8 bytes) record*
//! record = length (u32 LE) checksum of the body (u32 LE) checksum of the two (u32 LE) body
//! body   = one change as JSON
//! ```
//!
//! The header has a checksum of its own, so that a damaged length is told apart from a record that
//! was cut short: only the latter is what a crash leaves behind.

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_model::manifest::AddressSpec;
use serde::{Deserialize, Serialize};

/// First bytes of a journal; the digit is the version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"mqobjs1\n";

/// Bytes of a record before its body.
const HEADER: usize = 12;

/// Longest body. An address document is smaller than the admin API's request limit of 1 MiB.
const MAX_BODY: usize = 2 << 20;

/// A change of the configuration.
///
/// `revision` counts the changes of the node; the revision that last touched an object is the
/// object's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// Where counting goes on after a compaction, which forgets removals.
    Base {
        revision: u64,
    },
    PutAddress {
        revision: u64,
        name: Arc<str>,
        /// The address's name in the store; records from before addresses had one leave it out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        labels: BTreeMap<String, String>,
        spec: Box<AddressSpec>,
    },
    RemoveAddress {
        revision: u64,
        name: Arc<str>,
    },
}

impl Change {
    pub(crate) fn revision(&self) -> u64 {
        match self {
            Self::Base { revision }
            | Self::PutAddress { revision, .. }
            | Self::RemoveAddress { revision, .. } => *revision,
        }
    }

    /// Appends the change as a record; returns the record's length.
    ///
    /// # Errors
    ///
    /// When the body is longer than a record may be.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<usize, String> {
        let body = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY);
        let Some(length) = length else {
            return Err(format!("the object has {} bytes; use at most {MAX_BODY}", body.len()));
        };
        let mut prefix = [0; 8];
        prefix[..4].copy_from_slice(&length.to_le_bytes());
        prefix[4..].copy_from_slice(&crc32fast::hash(&body).to_le_bytes());
        out.extend_from_slice(&prefix);
        out.extend_from_slice(&crc32fast::hash(&prefix).to_le_bytes());
        out.extend_from_slice(&body);
        Ok(HEADER + body.len())
    }
}

/// Why a journal cannot be read: a byte that was once written has changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Corruption {
    /// Offset of the record in the file.
    pub(crate) offset: u64,
    pub(crate) reason: String,
}

/// Reads records one after the other.
///
/// A crash leaves a record that is cut short, or, where the file system had made room for it
/// already, one that ends in zeros; no whole record ends in a zero. Reading stops before it:
/// it was never acknowledged. Anything else that does not fit is a [`Corruption`].
pub(crate) struct Reader<'a> {
    /// The file without the zeros at its end.
    data: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a journal's content.
    ///
    /// # Errors
    ///
    /// When the content is not that of a journal, or of one that a newer version has written.
    pub(crate) fn new(content: &'a [u8]) -> Result<Self, Corruption> {
        let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let data = content.get(..end).unwrap_or_default();
        if data.starts_with(MAGIC) {
            return Ok(Self { data, offset: MAGIC.len() });
        }
        if MAGIC.starts_with(data) {
            return Ok(Self { data, offset: data.len() });
        }
        let reason = if data.starts_with(b"mqobjs") {
            "it was written by a version of mqd that this one does not understand"
        } else {
            "it does not begin like a journal of mqd"
        };
        Err(Corruption { offset: 0, reason: reason.into() })
    }

    /// Where the next record begins; after the last one, the length of the intact part.
    pub(crate) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// The next change and the bytes of its record; `None` at the end or before a torn record.
    pub(crate) fn next(&mut self) -> Result<Option<(Change, usize)>, Corruption> {
        let rest = self.data.get(self.offset..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, b0, b1, b2, b3, h0, h1, h2, h3] = *header;
        let prefix = [l0, l1, l2, l3, b0, b1, b2, b3];
        if crc32fast::hash(&prefix) != u32::from_le_bytes([h0, h1, h2, h3]) {
            return Err(self.corruption("the checksum of the record's header does not match"));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_BODY {
            return Err(self.corruption("the record is longer than a record may be"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        if crc32fast::hash(body) != u32::from_le_bytes([b0, b1, b2, b3]) {
            return Err(self.corruption("the checksum of the record does not match"));
        }
        let change = serde_json::from_slice(body).map_err(|error| {
            self.corruption(&format!("the record holds something that this version does not know: {error}"))
        })?;
        self.offset += HEADER + length;
        Ok(Some((change, HEADER + length)))
    }

    fn corruption(&self, reason: &str) -> Corruption {
        Corruption { offset: self.offset(), reason: reason.into() }
    }
}
