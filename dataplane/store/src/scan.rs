//! Reads the records of one file one after the other, in large pieces.

use std::io;
use std::sync::Arc;

use crate::disk::DiskFile;
use crate::format::{FILE_HEADER, HEADER, Header, Record};

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Reads one file from its first record on. What it says of a file is where the records end, and why;
/// whether they may end there is for the caller to judge.
#[derive(Debug)]
pub(crate) struct Scanner {
    file: Arc<dyn DiskFile>,
    segment: u32,
    /// Bytes of the file when the scan began.
    length: u64,
    /// Where the next record begins.
    offset: u64,
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    buffer_at: u64,
}

/// What is at a place of the file.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Record {
        offset: u32,
        header: Header,
        payload: &'a [u8],
        record: Record<'a>,
    },
    /// No record: zeros, or the end of the file.
    End,
    /// Neither zeros nor a record.
    Bad(&'static str),
}

impl Scanner {
    pub(crate) fn new(file: Arc<dyn DiskFile>, segment: u32) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self { file, segment, length, offset: FILE_HEADER, buffer: Vec::new(), buffer_at: FILE_HEADER })
    }

    /// Where the next record begins.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The record at the next place. After anything but a record it stays there.
    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        self.load(HEADER as u64)?;
        let Some(front) = self.at_hand().get(..HEADER) else {
            let is_zero = self.at_hand().iter().all(|byte| *byte == 0);
            return Ok(if is_zero {
                Step::End
            } else {
                Step::Bad("the file ends inside the header of a record")
            });
        };
        let Some((offset, header)) = u32::try_from(self.offset)
            .ok()
            .and_then(|offset| Some((offset, Header::decode(front, self.segment, offset)?)))
        else {
            let is_zero = front.iter().all(|byte| *byte == 0);
            return Ok(if is_zero {
                Step::End
            } else {
                Step::Bad("the checksum of a record header does not match")
            });
        };
        let length = header.record_length();
        if length > self.length.saturating_sub(self.offset) {
            return Ok(Step::Bad("the file ends inside a record"));
        }
        self.load(length)?;
        let begin = self.begin();
        let payload = self.buffer.get(begin + HEADER..begin + length as usize);
        let Some(payload) = payload.filter(|payload| header.matches(payload)) else {
            return Ok(Step::Bad("the checksum of a record does not match"));
        };
        let Some(record) = Record::decode(header, payload) else {
            return Ok(Step::Bad("a record does not say what its kind should"));
        };
        self.offset += length;
        Ok(Step::Record { offset, header, payload, record })
    }

    /// Where the next place is in the buffer.
    fn begin(&self) -> usize {
        (self.offset - self.buffer_at) as usize
    }

    fn at_hand(&self) -> &[u8] {
        self.buffer.get(self.begin()..).unwrap_or_default()
    }

    /// Has `needed` bytes from the next place on in the buffer, or what is left of the file.
    fn load(&mut self, needed: u64) -> io::Result<()> {
        let left = self.length.saturating_sub(self.offset);
        let needed = needed.min(left) as usize;
        if self.at_hand().len() >= needed {
            return Ok(());
        }
        let begin = self.begin();
        self.buffer.drain(..begin);
        self.buffer_at = self.offset;
        let mut filled = self.buffer.len();
        let wanted = needed.max(PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
        self.buffer.resize(wanted, 0);
        while filled < wanted {
            let rest = self.buffer.get_mut(filled..).unwrap_or_default();
            let read = self.file.read_at(rest, self.buffer_at + filled as u64)?;
            if read == 0 {
                // The file became shorter: there is no more than this.
                self.length = self.buffer_at + filled as u64;
                break;
            }
            filled += read;
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    /// What is behind the last record: bytes up to the last that is not zero, and whether they prove
    /// that the file had been synced past this place, so that something is missing here.
    pub(crate) fn tail(&mut self) -> io::Result<Tail> {
        let mut tail = Tail { torn_bytes: 0, was_synced: false };
        let begin = self.offset;
        let mut at = begin;
        while at < self.length {
            self.offset = at;
            self.load(PIECE as u64)?;
            let piece = self.at_hand();
            // A mark is looked for wherever a whole one can begin, so pieces overlap by one.
            let is_last = at + piece.len() as u64 >= self.length;
            let used = if is_last { piece.len() } else { piece.len().saturating_sub(MARK_BYTES).max(1) };
            if let Some(last) = piece.iter().take(used).rposition(|byte| *byte != 0) {
                tail.torn_bytes = at + last as u64 + 1 - begin;
                tail.was_synced |= (0..=last).any(|place| {
                    piece.get(place..).is_some_and(|bytes| self.mark(bytes, at + place as u64) > begin)
                });
            }
            at += used.max(1) as u64;
        }
        self.offset = begin;
        self.buffer_at = begin;
        self.buffer.clear();
        Ok(tail)
    }

    /// Up to where the file was synced, as a mark at this place says.
    fn mark(&self, bytes: &[u8], offset: u64) -> u64 {
        if bytes.get(4) != Some(&crate::format::kind::MARK) {
            return 0;
        }
        let header =
            u32::try_from(offset).ok().and_then(|offset| Header::decode(bytes, self.segment, offset));
        let Some(header) = header else { return 0 };
        let payload = bytes.get(HEADER..).and_then(|rest| rest.get(..header.length as usize));
        match payload
            .filter(|payload| header.matches(payload))
            .and_then(|payload| Record::decode(header, payload))
        {
            Some(Record::Mark { synced }) => synced,
            _ => 0,
        }
    }
}

/// What is behind the last record of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// 0 when there are only zeros.
    pub(crate) torn_bytes: u64,
    pub(crate) was_synced: bool,
}

/// The most bytes of a mark.
const MARK_BYTES: usize = HEADER + crate::format::MAX_VARINT;
