//! The bytes of a log file.
//!
//! A file is a header and records, each a 16-byte header and a payload:
//!
//! ```text
//! file    magic (8) · format version (4) · segment (4) · generation (4) · zero (8) · crc32 (4)
//! record  payload length (4) · kind (1) · flags (1) · zero (2) · crc32 of payload (4) · crc32 of header (4)
//! ```
//!
//! Numbers of fixed size are little-endian, those in payloads LEB128. The header's checksum covers the
//! segment and the offset too: a record is valid at its own place only, so neither a misdirected write
//! nor a message that carries a piece of a log is taken for one. Behind the last record are zeros.

use crate::types::{QueueId, Reference};

/// The format that this version writes, and the latest that it reads.
///
/// 1. The first.
/// 2. Objects may belong to a transaction.
pub(crate) const FORMAT: u32 = 2;
/// Bytes of the header of a file.
pub(crate) const FILE_HEADER: u64 = 32;
/// Bytes of the header of a record.
pub(crate) const HEADER: usize = 16;
/// The largest record with its header.
pub(crate) const MAX_RECORD: u64 = 1 << 30;
/// The longest number in a payload.
pub(crate) const MAX_VARINT: usize = 10;
/// The largest records that carry nothing of the caller's: a mark, a seal, a settlement.
pub(crate) const SMALL_RECORD: u64 = (HEADER + 4 * MAX_VARINT) as u64;

const MAGIC: [u8; 8] = *b"MQLOG\r\n\0";

/// What a record says.
pub(crate) mod kind {
    pub(crate) const MESSAGE: u8 = 1;
    pub(crate) const SETTLE: u8 = 2;
    pub(crate) const UPDATE: u8 = 3;
    pub(crate) const FORGET: u8 = 4;
    pub(crate) const PUT: u8 = 5;
    pub(crate) const DELETE: u8 = 6;
    pub(crate) const COMMIT: u8 = 7;
    /// Up to where this file had been synced before the record was written.
    pub(crate) const MARK: u8 = 8;
    /// The last record of a file that will not grow any more.
    pub(crate) const SEAL: u8 = 9;
}

/// The message survives a restart.
const DURABLE: u8 = 1;
/// The payload names a transaction.
const TRANSACTION: u8 = 2;

/// Why a file header cannot be used.
pub(crate) enum FileHeaderError {
    Newer(u32),
    Damaged(&'static str),
}

/// The header of the file of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) segment: u32,
    pub(crate) generation: u32,
    /// Records of a later format are not to be in the file.
    pub(crate) format: u32,
}

impl FileHeader {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FILE_HEADER as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The version is judged before the checksum: a later format may have a longer header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FileHeaderError> {
        let mut reader = Reader(bytes);
        if reader.take(8) != Some(&MAGIC[..]) {
            return Err(FileHeaderError::Damaged("it does not begin as a message log does"));
        }
        let short = FileHeaderError::Damaged("the file ends inside its header");
        let Some(version) = reader.fixed() else { return Err(short) };
        if version > FORMAT {
            return Err(FileHeaderError::Newer(version));
        }
        let (Some(segment), Some(generation), Some(_), Some(checksum)) =
            (reader.fixed(), reader.fixed(), reader.take(8), reader.fixed())
        else {
            return Err(short);
        };
        let covered = bytes.get(..FILE_HEADER as usize - 4).unwrap_or_default();
        if version == 0 || crc32fast::hash(covered) != checksum {
            return Err(FileHeaderError::Damaged("the checksum of the file header does not match"));
        }
        Ok(Self { segment, generation, format: version })
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the payload.
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload_checksum: u32,
}

impl Header {
    /// Bytes of the record with its header.
    pub(crate) fn record_length(self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    fn encode(self, segment: u32, offset: u32) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let checksum = self.checksum(segment, offset);
        let length = self.length.to_le_bytes();
        let payload = self.payload_checksum.to_le_bytes();
        let kind = [self.kind, self.flags, 0, 0];
        let fields = [length, kind, payload, checksum.to_le_bytes()];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field);
        }
        bytes
    }

    fn checksum(self, segment: u32, offset: u32) -> u32 {
        let mut bytes = [0; 20];
        let fields = [
            self.length.to_le_bytes(),
            [self.kind, self.flags, 0, 0],
            self.payload_checksum.to_le_bytes(),
            segment.to_le_bytes(),
            offset.to_le_bytes(),
        ];
        for (place, field) in bytes.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field);
        }
        crc32fast::hash(&bytes)
    }

    /// The header in front of `bytes`, when it is one that was written at this place.
    pub(crate) fn decode(bytes: &[u8], segment: u32, offset: u32) -> Option<Self> {
        let mut reader = Reader(bytes);
        let length = reader.fixed()?;
        let [kind, flags, 0, 0] = *reader.take(4)? else { return None };
        let header = Self { length, kind, flags, payload_checksum: reader.fixed()? };
        (reader.fixed()? == header.checksum(segment, offset) && header.record_length() <= MAX_RECORD)
            .then_some(header)
    }

    pub(crate) fn matches(self, payload: &[u8]) -> bool {
        crc32fast::hash(payload) == self.payload_checksum
    }
}

/// Begins a record at the end of `buffer`; the payload is to follow, and then [`finish`].
pub(crate) fn begin(buffer: &mut Vec<u8>) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    start
}

/// Completes the record that began at `start` and says how many bytes it has. `offset` is its place in
/// the file. The caller has bounded the record by [`MAX_RECORD`].
pub(crate) fn finish(buffer: &mut [u8], start: usize, kind: u8, flags: u8, segment: u32, offset: u32) -> u32 {
    let record = buffer.get_mut(start..).unwrap_or_default();
    let Some((place, payload)) = record.split_at_mut_checked(HEADER) else { return 0 };
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let header = Header { length, kind, flags, payload_checksum: crc32fast::hash(payload) };
    place.copy_from_slice(&header.encode(segment, offset));
    length.saturating_add(HEADER as u32)
}

/// Copies a record to another place, where its header has another checksum.
pub(crate) fn copy(buffer: &mut Vec<u8>, header: Header, payload: &[u8], segment: u32, offset: u32) {
    buffer.extend_from_slice(&header.encode(segment, offset));
    buffer.extend_from_slice(payload);
}

pub(crate) fn put_number(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

pub(crate) fn put_reference(buffer: &mut Vec<u8>, reference: Reference) {
    put_number(buffer, u64::from(reference.segment()));
    put_number(buffer, u64::from(reference.index()));
}

/// The targets of a message, ascending: each as the distance from the one before.
fn put_targets(buffer: &mut Vec<u8>, targets: &[QueueId]) {
    put_number(buffer, targets.len() as u64);
    let mut last = 0;
    for target in targets {
        put_number(buffer, target.0.wrapping_sub(last));
        last = target.0;
    }
}

/// A message but for its body, which is to follow. The flags of its record.
pub(crate) fn put_message(
    buffer: &mut Vec<u8>,
    index: u32,
    durable: bool,
    transaction: Option<u64>,
    targets: &[QueueId],
    meta: &[u8],
) -> u8 {
    put_number(buffer, u64::from(index));
    let in_transaction = put_transaction(buffer, transaction);
    put_targets(buffer, targets);
    put_number(buffer, meta.len() as u64);
    buffer.extend_from_slice(meta);
    in_transaction | if durable { DURABLE } else { 0 }
}

/// A settlement. The flags of its record.
pub(crate) fn put_settlement(
    buffer: &mut Vec<u8>,
    transaction: Option<u64>,
    queue: QueueId,
    reference: Reference,
) -> u8 {
    let flags = put_transaction(buffer, transaction);
    put_number(buffer, queue.0);
    put_reference(buffer, reference);
    flags
}

/// A value of an object. The flags of its record.
pub(crate) fn put_object(buffer: &mut Vec<u8>, transaction: Option<u64>, key: &[u8], value: &[u8]) -> u8 {
    let flags = put_transaction(buffer, transaction);
    put_number(buffer, key.len() as u64);
    buffer.extend_from_slice(key);
    buffer.extend_from_slice(value);
    flags
}

/// The end of an object. The flags of its record.
pub(crate) fn put_deletion(buffer: &mut Vec<u8>, transaction: Option<u64>, key: &[u8]) -> u8 {
    let flags = put_transaction(buffer, transaction);
    buffer.extend_from_slice(key);
    flags
}

fn put_transaction(buffer: &mut Vec<u8>, transaction: Option<u64>) -> u8 {
    let Some(number) = transaction else { return 0 };
    put_number(buffer, number);
    TRANSACTION
}

/// What a record says, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    Message(Message<'a>),
    Settle { transaction: Option<u64>, queue: QueueId, reference: Reference },
    Update { queue: QueueId, reference: Reference, state: &'a [u8] },
    Forget { queue: QueueId },
    Put { transaction: Option<u64>, key: &'a [u8], value: &'a [u8] },
    Delete { transaction: Option<u64>, key: &'a [u8] },
    Commit { transaction: u64 },
    Mark { synced: u64 },
    Seal,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) index: u32,
    pub(crate) durable: bool,
    pub(crate) transaction: Option<u64>,
    pub(crate) targets: Targets<'a>,
    pub(crate) meta: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads a payload whose checksum was found right.
    pub(crate) fn decode(header: Header, payload: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let record = match header.kind {
            kind::MESSAGE => Self::Message(Message {
                index: reader.small()?,
                durable: header.flags & DURABLE != 0,
                transaction: reader.transaction(header)?,
                targets: reader.targets()?,
                meta: reader.slice()?,
                body: reader.rest(),
            }),
            kind::SETTLE => Self::Settle {
                transaction: reader.transaction(header)?,
                queue: QueueId(reader.number()?),
                reference: reader.reference()?,
            },
            kind::UPDATE => Self::Update {
                queue: QueueId(reader.number()?),
                reference: reader.reference()?,
                state: reader.rest(),
            },
            kind::FORGET => Self::Forget { queue: QueueId(reader.number()?) },
            kind::PUT => Self::Put {
                transaction: reader.transaction(header)?,
                key: reader.slice()?,
                value: reader.rest(),
            },
            kind::DELETE => Self::Delete { transaction: reader.transaction(header)?, key: reader.rest() },
            kind::COMMIT => Self::Commit { transaction: reader.number()? },
            kind::MARK => Self::Mark { synced: reader.number()? },
            kind::SEAL => Self::Seal,
            _ => return None,
        };
        reader.0.is_empty().then_some(record)
    }
}

/// The queues of a message, ascending; there is at least one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets<'a> {
    count: usize,
    bytes: Reader<'a>,
}

impl Targets<'_> {
    pub(crate) fn collect_into(self, targets: &mut Vec<QueueId>) {
        targets.clear();
        let mut reader = self.bytes;
        let mut last: u64 = 0;
        for _ in 0..self.count {
            last = last.wrapping_add(reader.number().unwrap_or_default());
            targets.push(QueueId(last));
        }
    }
}

/// Reads numbers and slices from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn fixed(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn small(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub(crate) fn slice(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    fn reference(&mut self) -> Option<Reference> {
        Some(Reference::new(self.small()?, self.small()?))
    }

    fn transaction(&mut self, header: Header) -> Option<Option<u64>> {
        if header.flags & TRANSACTION == 0 { Some(None) } else { self.number().map(Some) }
    }

    /// Passes over the targets, and holds them to be at least one, ascending and in range.
    fn targets(&mut self) -> Option<Targets<'a>> {
        let count = usize::try_from(self.number()?).ok().filter(|count| *count > 0)?;
        let bytes = *self;
        let mut last = self.number()?;
        for _ in 1..count {
            let distance = self.number().filter(|distance| *distance > 0)?;
            last = last.checked_add(distance)?;
        }
        Some(Targets { count, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written_and_not_past_64_bits() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, value);
            let mut reader = Reader(&bytes);
            assert_eq!(reader.number(), Some(value));
            assert!(reader.0.is_empty());
        }
        assert_eq!(Reader(&[0xff; 11]).number(), None);
        assert_eq!(Reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).number(), None);
        assert_eq!(Reader(&[0x80]).number(), None);
    }

    #[test]
    fn a_record_is_valid_at_its_own_place_only() {
        let mut buffer = Vec::new();
        let start = begin(&mut buffer);
        buffer.extend_from_slice(b"key");
        assert_eq!(finish(&mut buffer, start, kind::DELETE, 0, 3, 32), 19);
        let header = Header::decode(&buffer, 3, 32).expect("it was written there");
        assert!(header.matches(b"key") && !header.matches(b"kez"));
        assert_eq!(Header::decode(&buffer, 3, 33), None);
        assert_eq!(Header::decode(&buffer, 4, 32), None);
        assert_eq!(Header::decode(&[0; HEADER], 3, 32), None);
    }

    #[test]
    fn every_flipped_bit_of_a_record_is_noticed() {
        let mut buffer = Vec::new();
        let start = begin(&mut buffer);
        buffer.extend_from_slice(b"some key");
        finish(&mut buffer, start, kind::DELETE, 0, 1, 32);
        for bit in 0..buffer.len() * 8 {
            buffer[bit / 8] ^= 1 << (bit % 8);
            let header = Header::decode(&buffer, 1, 32);
            let noticed = header.is_none_or(|header| {
                buffer.len() != HEADER + header.length as usize || !header.matches(&buffer[HEADER..])
            });
            assert!(noticed, "bit {bit}");
            buffer[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn targets_out_of_order_or_of_no_number_are_refused() {
        let targets = |bytes: &[u8]| Reader(bytes).targets().is_some();
        assert!(targets(&[2, 5, 1]));
        assert!(!targets(&[0]));
        assert!(!targets(&[2, 5, 0]));
        assert!(!targets(&[3, 5, 1]));
    }
}
