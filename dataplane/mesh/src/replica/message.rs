//! What replicas say to each other, in bytes.
//!
//! ```text
//! message = type (u8) fields; integers are little endian
//! key     = kind (u8) length (u16) name (UTF-8)
//! version = clock (u64) origin (u64)
//! ```
//!
//! Nothing that is read is trusted: a length is checked before it is used, and a list is as long as what
//! follows can be.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::digest::{GROUPS, LEAVES, Leaf};
use super::{Key, Kind, Limits, Record, Version};
use crate::NodeId;

/// Why a message of a peer cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    #[error("the message ends in the middle of its {0}")]
    Short(&'static str),
    #[error("{0} bytes follow the end of the message")]
    Long(usize),
    #[error("there is no message of type {0}; the peer is of another version")]
    Type(u8),
    #[error("the {what} is {value}, and may be at most {max}")]
    Bound { what: &'static str, value: u64, max: u64 },
    #[error("a name is not UTF-8")]
    Name,
    #[error("a listing ends before it begins")]
    Order,
    #[error("message {received} follows message {last}")]
    Sequence { received: u64, last: u64 },
    #[error("message {0} was acknowledged, and has not been sent")]
    Acknowledgement(u64),
}

/// A part of a leaf: what stands behind `after`, up to and with `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) leaf: Leaf,
    pub(super) after: Option<Key>,
    /// `None`: up to the end of the leaf.
    pub(super) until: Option<Key>,
    pub(super) entries: Vec<(Key, Version)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The digest of all that the sender has.
    Summary {
        total: u64,
    },
    /// The answer when the receiver has the same.
    Same,
    /// The answer when the receiver is busy comparing with somebody else: ask again.
    Later,
    /// The answer when it has not: its groups.
    Groups {
        groups: Vec<u64>,
    },
    /// The leaves of the groups that differ.
    Leaves {
        groups: Vec<(u8, Vec<u64>)>,
    },
    /// What stands in leaves that differ.
    Items {
        sequence: u64,
        listings: Vec<Listing>,
    },
    /// Everything that differs has been listed or sent.
    Listed,
    /// Objects that the sender lacks, or has older.
    Want {
        keys: Vec<Key>,
    },
    Changes {
        sequence: u64,
        records: Vec<Record>,
    },
    /// Up to this one every `Items` has been looked at, and every change is on disk and served.
    Ack {
        sequence: u64,
    },
}

const SUMMARY: u8 = 1;
const SAME: u8 = 2;
const GROUP_DIGESTS: u8 = 3;
const LEAF_DIGESTS: u8 = 4;
const ITEMS: u8 = 5;
const WANT: u8 = 6;
const CHANGES: u8 = 7;
const ACK: u8 = 8;
const LATER: u8 = 9;
const LISTED: u8 = 10;

/// No key: a listing begins or ends with its leaf.
const NO_KEY: u8 = 0;
const A_KEY: u8 = 1;

/// A record with this in place of the length of its value is a tombstone.
const TOMBSTONE: u32 = u32::MAX;

/// Bytes of a key besides its name.
pub(super) const KEY_OVERHEAD: usize = 3;

/// Bytes of a version.
const VERSION: usize = 16;

/// Bytes of a record besides name and value.
pub(super) const RECORD_OVERHEAD: usize = KEY_OVERHEAD + VERSION + 4;

/// Bytes of a listing's entry besides its name.
pub(super) const ENTRY_OVERHEAD: usize = KEY_OVERHEAD + VERSION;

impl Message {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Summary { total } => {
                out.put_u8(SUMMARY);
                out.put_u64_le(*total);
            }
            Self::Same => out.put_u8(SAME),
            Self::Later => out.put_u8(LATER),
            Self::Listed => out.put_u8(LISTED),
            Self::Groups { groups } => {
                out.put_u8(GROUP_DIGESTS);
                groups.iter().for_each(|digest| out.put_u64_le(*digest));
            }
            Self::Leaves { groups } => {
                out.put_u8(LEAF_DIGESTS);
                for (group, leaves) in groups {
                    out.put_u8(*group);
                    leaves.iter().for_each(|digest| out.put_u64_le(*digest));
                }
            }
            Self::Items { sequence, listings } => {
                out.put_u8(ITEMS);
                out.put_u64_le(*sequence);
                listings.iter().for_each(|listing| put_listing(&mut out, listing));
            }
            Self::Want { keys } => {
                out.put_u8(WANT);
                keys.iter().for_each(|key| put_key(&mut out, key));
            }
            Self::Changes { sequence, records } => {
                out.put_u8(CHANGES);
                out.put_u64_le(*sequence);
                records.iter().for_each(|record| put_record(&mut out, record));
            }
            Self::Ack { sequence } => {
                out.put_u8(ACK);
                out.put_u64_le(*sequence);
            }
        }
        out.freeze()
    }

    /// Reads a message. Values are slices of the input when they are large, copies when they are small.
    pub(super) fn decode(input: Bytes, limits: &Limits) -> Result<Self, MessageError> {
        let mut reader = Reader { input, limits };
        let message = match reader.byte("type")? {
            SUMMARY => Self::Summary { total: reader.long("digest")? },
            SAME => Self::Same,
            LATER => Self::Later,
            LISTED => Self::Listed,
            GROUP_DIGESTS => Self::Groups { groups: reader.digests()? },
            LEAF_DIGESTS => Self::Leaves { groups: reader.list(Reader::group)? },
            ITEMS => {
                Self::Items { sequence: reader.long("sequence")?, listings: reader.list(Reader::listing)? }
            }
            WANT => Self::Want { keys: reader.list(Reader::key)? },
            CHANGES => {
                Self::Changes { sequence: reader.long("sequence")?, records: reader.list(Reader::record)? }
            }
            ACK => Self::Ack { sequence: reader.long("sequence")? },
            other => return Err(MessageError::Type(other)),
        };
        if reader.input.has_remaining() {
            return Err(MessageError::Long(reader.input.remaining()));
        }
        Ok(message)
    }
}

fn put_key(out: &mut BytesMut, key: &Key) {
    out.put_u8(key.kind.0);
    // Names are checked against `Limits::max_name` before they get here, and that is below 64 Ki.
    out.put_u16_le(u16::try_from(key.name.len()).unwrap_or(u16::MAX));
    out.put_slice(key.name.as_bytes().get(..usize::from(u16::MAX)).unwrap_or(key.name.as_bytes()));
}

fn put_version(out: &mut BytesMut, version: Version) {
    out.put_u64_le(version.clock);
    out.put_u64_le(version.origin.0);
}

fn put_record(out: &mut BytesMut, record: &Record) {
    put_key(out, &record.key);
    put_version(out, record.version);
    match &record.value {
        Some(value) => {
            out.put_u32_le(u32::try_from(value.len()).unwrap_or(TOMBSTONE));
            out.put_slice(value);
        }
        None => out.put_u32_le(TOMBSTONE),
    }
}

fn put_listing(out: &mut BytesMut, listing: &Listing) {
    out.put_u16_le(listing.leaf.0);
    for bound in [&listing.after, &listing.until] {
        match bound {
            None => out.put_u8(NO_KEY),
            Some(key) => {
                out.put_u8(A_KEY);
                put_key(out, key);
            }
        }
    }
    out.put_u32_le(u32::try_from(listing.entries.len()).unwrap_or(u32::MAX));
    for (key, version) in &listing.entries {
        put_key(out, key);
        put_version(out, *version);
    }
}

struct Reader<'a> {
    input: Bytes,
    limits: &'a Limits,
}

/// Values up to this size are copied, so that they do not pin what they came in.
const COPIED: usize = 4 << 10;

impl Reader<'_> {
    fn byte(&mut self, what: &'static str) -> Result<u8, MessageError> {
        self.input.try_get_u8().map_err(|_| MessageError::Short(what))
    }

    fn long(&mut self, what: &'static str) -> Result<u64, MessageError> {
        self.input.try_get_u64_le().map_err(|_| MessageError::Short(what))
    }

    fn bytes(&mut self, length: usize, what: &'static str) -> Result<Bytes, MessageError> {
        if self.input.remaining() < length {
            return Err(MessageError::Short(what));
        }
        Ok(self.input.split_to(length))
    }

    /// Elements up to the end of the message.
    fn list<T>(&mut self, one: fn(&mut Self) -> Result<T, MessageError>) -> Result<Vec<T>, MessageError> {
        let mut list = Vec::new();
        while self.input.has_remaining() {
            list.push(one(self)?);
        }
        Ok(list)
    }

    fn digests(&mut self) -> Result<Vec<u64>, MessageError> {
        (0..GROUPS).map(|_| self.long("digests")).collect()
    }

    fn group(&mut self) -> Result<(u8, Vec<u64>), MessageError> {
        let group = self.byte("group")?;
        bounded("group", usize::from(group), GROUPS - 1)?;
        Ok((group, self.digests()?))
    }

    fn key(&mut self) -> Result<Key, MessageError> {
        let kind = Kind(self.byte("kind")?);
        let length = self.input.try_get_u16_le().map_err(|_| MessageError::Short("name"))?;
        let length = bounded("length of a name", usize::from(length), self.limits.max_name)?;
        let name = self.bytes(length, "name")?;
        let name = std::str::from_utf8(&name).map_err(|_| MessageError::Name)?;
        Ok(Key { kind, name: Arc::from(name) })
    }

    fn version(&mut self) -> Result<Version, MessageError> {
        let clock = self.long("version")?;
        if clock >= Version::END_OF_CLOCK {
            let max = Version::END_OF_CLOCK - 1;
            return Err(MessageError::Bound { what: "clock of a version", value: clock, max });
        }
        Ok(Version { clock, origin: NodeId(self.long("version")?) })
    }

    fn record(&mut self) -> Result<Record, MessageError> {
        let (key, version) = (self.key()?, self.version()?);
        let length = self.input.try_get_u32_le().map_err(|_| MessageError::Short("value"))?;
        if length == TOMBSTONE {
            return Ok(Record { key, version, value: None });
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let length = bounded("length of a value", length, self.limits.max_value)?;
        let value = self.bytes(length, "value")?;
        let value = if length <= COPIED { Bytes::copy_from_slice(&value) } else { value };
        Ok(Record { key, version, value: Some(value) })
    }

    fn bound(&mut self) -> Result<Option<Key>, MessageError> {
        match self.byte("listing")? {
            NO_KEY => Ok(None),
            A_KEY => self.key().map(Some),
            other => {
                Err(MessageError::Bound { what: "mark of a listing", value: other.into(), max: A_KEY.into() })
            }
        }
    }

    fn listing(&mut self) -> Result<Listing, MessageError> {
        let leaf = self.input.try_get_u16_le().map_err(|_| MessageError::Short("listing"))?;
        bounded("leaf", leaf.into(), usize::from(LEAVES) - 1)?;
        let (after, until) = (self.bound()?, self.bound()?);
        if let (Some(after), Some(until)) = (&after, &until)
            && after >= until
        {
            return Err(MessageError::Order);
        }
        let count = self.input.try_get_u32_le().map_err(|_| MessageError::Short("listing"))?;
        let most = self.input.remaining() / ENTRY_OVERHEAD;
        let count = bounded("length of a listing", usize::try_from(count).unwrap_or(usize::MAX), most)?;
        let entries = (0..count).map(|_| Ok((self.key()?, self.version()?))).collect::<Result<_, _>>()?;
        Ok(Listing { leaf: Leaf(leaf), after, until, entries })
    }
}

fn bounded(what: &'static str, value: usize, max: usize) -> Result<usize, MessageError> {
    if value <= max {
        return Ok(value);
    }
    let wide = |number| u64::try_from(number).unwrap_or(u64::MAX);
    Err(MessageError::Bound { what, value: wide(value), max: wide(max) })
}
