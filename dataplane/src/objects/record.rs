//! The records of the object journal: one change each, in bytes.
//!
//! ```text
//! file   = magic (8 bytes) record*
//! record = length (u32 LE) checksum of the body (u32 LE) checksum of the two (u32 LE) body
//! body   = one change as JSON, without a line break; for a value that was put, a line break and the value
//! ```
//!
//! The header has a checksum of its own, so that a damaged length is told apart from a record that
//! was cut short: only the latter is what a crash leaves behind.
//!
//! Files of format 1 are from before nodes told each other of their objects: the body is one change of an
//! address, numbered by the node, which is why all that they hold belongs to the node that reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use mq_mesh::NodeId;
use mq_mesh::replica::{Key, Kind, Record, Version};
use mq_model::manifest::AddressSpec;
use serde::{Deserialize, Serialize};

use super::value::{ADDRESS, Value};

/// First bytes of a journal; the digit is the version of the format.
pub(crate) const MAGIC: &[u8; 8] = b"mqobjs2\n";

/// Those of a journal of the format before.
pub(crate) const MAGIC_1: &[u8; 8] = b"mqobjs1\n";

/// Bytes of a record before its body.
const HEADER: usize = 12;

/// Longest body. An address document is smaller than the admin API's request limit of 1 MiB.
const MAX_BODY: usize = (2 << 20) + 4_096;

/// A change of what the node keeps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    /// Where counting goes on after a compaction, which forgets removals.
    Base(Base),
    /// An object is, from now on, what the record says. `id` names an address in the store of this node.
    Set { record: Record, id: u64 },
    /// A deletion need not be remembered any longer.
    Forget { key: Key, version: Version },
}

/// What a journal knows besides the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Base {
    /// The highest clock of a version.
    #[serde(default)]
    pub(crate) clock: u64,
    /// The last id that was given to an address.
    #[serde(default)]
    pub(crate) id: u64,
    /// The node has been one of a fleet: others may not have heard of what was removed here.
    #[serde(default)]
    pub(crate) is_member: bool,
}

/// The JSON of a change.
#[derive(Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
enum Line {
    Base(Base),
    /// The value follows.
    Put(Head),
    Delete(Head),
    Forget(Head),
}

#[derive(Serialize, Deserialize)]
struct Head {
    kind: u8,
    name: Arc<str>,
    clock: u64,
    /// The node that made the change.
    origin: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    id: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Head {
    fn of(key: &Key, version: Version, id: u64) -> Self {
        let (clock, origin) = (version.clock, version.origin.0);
        Self { kind: key.kind.0, name: key.name.clone(), clock, origin, id }
    }

    fn key(&self) -> Key {
        Key::new(Kind(self.kind), self.name.clone())
    }

    fn version(&self) -> Version {
        Version { clock: self.clock, origin: NodeId(self.origin) }
    }
}

/// The JSON of a change in format 1.
///
/// `revision` counts the changes of the node; the revision that last touched an object is the
/// object's version.
#[derive(Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
enum Line1 {
    Base {
        revision: u64,
    },
    PutAddress {
        revision: u64,
        name: Arc<str>,
        /// The address's name in the store; records from before addresses had one leave it out.
        #[serde(default)]
        id: Option<u64>,
        #[serde(default)]
        labels: BTreeMap<String, String>,
        spec: Box<AddressSpec>,
    },
    RemoveAddress {
        revision: u64,
        name: Arc<str>,
    },
}

impl Line1 {
    fn upgrade(self, local: NodeId) -> Result<Change, String> {
        let version = |clock| Version { clock, origin: local };
        Ok(match self {
            Self::Base { revision } => Change::Base(Base { clock: revision, id: revision, is_member: false }),
            Self::PutAddress { revision, name, id, labels, spec } => {
                // A revision is used once, so it will do for an address that was not given an id.
                let id = id.unwrap_or(revision);
                let (home, moving_from) = (None, None);
                let (birth, created_by) = (version(id), None);
                let value = Value { spec: *spec, labels, home, moving_from, birth, ends: 0, created_by };
                let key = Key::new(ADDRESS, name);
                let record = Record { key, version: version(revision), value: Some(value.encode()?) };
                Change::Set { record, id }
            }
            Self::RemoveAddress { revision, name } => {
                let key = Key::new(ADDRESS, name);
                Change::Set { record: Record { key, version: version(revision), value: None }, id: 0 }
            }
        })
    }
}

impl Change {
    /// Appends the change as a record; returns the record's length.
    ///
    /// # Errors
    ///
    /// When the body is longer than a record may be.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<usize, String> {
        let (line, value) = match self {
            Self::Base(base) => (Line::Base(*base), None),
            Self::Set { record, id } => {
                let head = Head::of(&record.key, record.version, *id);
                match &record.value {
                    Some(value) => (Line::Put(head), Some(value)),
                    None => (Line::Delete(head), None),
                }
            }
            Self::Forget { key, version } => (Line::Forget(Head::of(key, *version, 0)), None),
        };
        let mut body = serde_json::to_vec(&line).map_err(|error| error.to_string())?;
        if let Some(value) = value {
            body.push(b'\n');
            body.extend_from_slice(value);
        }
        frame(&body, out)
    }

    fn decode(body: &[u8]) -> Result<Self, String> {
        let end = body.iter().position(|byte| *byte == b'\n');
        let (line, value) = match end {
            Some(end) => (body.get(..end).unwrap_or_default(), body.get(end + 1..)),
            None => (body, None),
        };
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let value = value.map(Bytes::copy_from_slice);
        match (line, value) {
            (Line::Base(base), None) => Ok(Self::Base(base)),
            (Line::Put(head), Some(value)) => {
                let record = Record { key: head.key(), version: head.version(), value: Some(value) };
                Ok(Self::Set { record, id: head.id })
            }
            (Line::Delete(head), None) => {
                let record = Record { key: head.key(), version: head.version(), value: None };
                Ok(Self::Set { record, id: head.id })
            }
            (Line::Forget(head), None) => Ok(Self::Forget { key: head.key(), version: head.version() }),
            _ => Err("a value is where there should be none, or the other way round".to_owned()),
        }
    }
}

fn frame(body: &[u8], out: &mut Vec<u8>) -> Result<usize, String> {
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY);
    let Some(length) = length else {
        return Err(format!("the object has {} bytes; use at most {MAX_BODY}", body.len()));
    };
    let mut prefix = [0; 8];
    prefix[..4].copy_from_slice(&length.to_le_bytes());
    prefix[4..].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(&prefix);
    out.extend_from_slice(&crc32fast::hash(&prefix).to_le_bytes());
    out.extend_from_slice(body);
    Ok(HEADER + body.len())
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
    /// The node that a file of format 1 belongs to.
    local: NodeId,
    is_format_1: bool,
}

impl<'a> Reader<'a> {
    /// A reader of a journal's content, which is that of the node `local` where it does not say whose it is.
    ///
    /// # Errors
    ///
    /// When the content is not that of a journal, or of one that a newer version has written.
    pub(crate) fn new(content: &'a [u8], local: NodeId) -> Result<Self, Corruption> {
        let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let data = content.get(..end).unwrap_or_default();
        for (magic, is_format_1) in [(MAGIC, false), (MAGIC_1, true)] {
            if data.starts_with(magic) {
                return Ok(Self { data, offset: magic.len(), local, is_format_1 });
            }
            if magic.starts_with(data) {
                return Ok(Self { data, offset: data.len(), local, is_format_1 });
            }
        }
        let reason = if data.starts_with(b"mqobjs") {
            "it was written by a version of mqd that this one does not understand"
        } else {
            "it does not begin like a journal of mqd"
        };
        Err(Corruption { offset: 0, reason: reason.into() })
    }

    /// Whether the file is of the format before, and is to be written anew.
    pub(crate) fn is_format_1(&self) -> bool {
        self.is_format_1
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
        let change = if self.is_format_1 {
            let line: Result<Line1, _> = serde_json::from_slice(body);
            line.map_err(|error| error.to_string()).and_then(|line| line.upgrade(self.local))
        } else {
            Change::decode(body)
        };
        let change = change.map_err(|error| {
            self.corruption(&format!("the record holds something that this version does not know: {error}"))
        })?;
        self.offset += HEADER + length;
        Ok(Some((change, HEADER + length)))
    }

    fn corruption(&self, reason: &str) -> Corruption {
        Corruption { offset: self.offset(), reason: reason.into() }
    }
}
