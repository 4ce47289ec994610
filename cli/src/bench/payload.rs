//! The body of each message: who sent it, which one it is, when it was meant to leave, and a check.
//!
//! ```text
//! 0      4       8     12     16       20         28         36
//! | crc  | magic | run | host | stream | sequence | intended | filler ...
//! ```
//! All numbers are big-endian. `crc` is the CRC-32 of everything behind it. `intended` is nanoseconds of
//! this machine's monotonic clock, which other processes of the same boot share: `host` tells them apart from
//! those of other machines.

use bytes::{BufMut, BytesMut};

use super::result::SizeDescription;

/// The smallest body: what every message carries.
pub const MIN_SIZE: usize = 36;
/// The largest body: 64 MiB.
pub const MAX_SIZE: usize = 64 << 20;
/// How many sizes may be listed.
const MAX_SIZES: usize = 64;
const MAGIC: [u8; 4] = *b"mqb1";

/// What a message says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The run that it belongs to.
    pub run: u32,
    /// The machine whose clock `intended` is of.
    pub host: u32,
    /// The sender.
    pub stream: u32,
    /// Counts from 0 for each sender.
    pub sequence: u64,
    /// Nanoseconds of the monotonic clock.
    pub intended: u64,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    Stamp(Stamp),
    /// A message of ours that is not as it was sent.
    Corrupted,
    /// Not a message of a bench.
    Foreign,
}

/// Writes `size` bytes of body.
pub fn write(out: &mut BytesMut, stamp: &Stamp, size: usize, filler: &[u8]) {
    let start = out.len();
    out.put_u32(0);
    out.put_slice(&MAGIC);
    out.put_u32(stamp.run);
    out.put_u32(stamp.host);
    out.put_u32(stamp.stream);
    out.put_u64(stamp.sequence);
    out.put_u64(stamp.intended);
    let rest = size.saturating_sub(MIN_SIZE).min(filler.len());
    out.put_slice(filler.get(..rest).unwrap_or_default());
    if let Some((check, checked)) = out.get_mut(start..).and_then(|body| body.split_first_chunk_mut::<4>()) {
        *check = crc32fast::hash(checked).to_be_bytes();
    }
}

/// Reads a body.
pub fn read(body: &[u8]) -> Reading {
    let Some((check, checked)) = body.split_first_chunk::<4>() else {
        return Reading::Foreign;
    };
    let whole = crc32fast::hash(checked) == u32::from_be_bytes(*check);
    match (stamp(checked), whole) {
        (Some(stamp), true) => Reading::Stamp(stamp),
        (Some(_), false) => Reading::Corrupted,
        (None, _) => Reading::Foreign,
    }
}

/// The stamp behind the check.
fn stamp(checked: &[u8]) -> Option<Stamp> {
    let rest = checked.strip_prefix(&MAGIC)?;
    let (run, rest) = rest.split_first_chunk()?;
    let (host, rest) = rest.split_first_chunk()?;
    let (stream, rest) = rest.split_first_chunk()?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (intended, _) = rest.split_first_chunk()?;
    Some(Stamp {
        run: u32::from_be_bytes(*run),
        host: u32::from_be_bytes(*host),
        stream: u32::from_be_bytes(*stream),
        sequence: u64::from_be_bytes(*sequence),
        intended: u64::from_be_bytes(*intended),
    })
}

/// Random bytes that fill bodies up, the same for the same seed.
pub fn filler(sizes: &SizeDescription, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; largest(sizes).saturating_sub(MIN_SIZE)];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// The largest body that `sizes` has, in bytes.
pub fn largest(sizes: &SizeDescription) -> usize {
    let largest = match sizes {
        SizeDescription::Fixed(size) => *size,
        SizeDescription::Range(_, most) => *most,
        SizeDescription::OneOf(sizes) => sizes.iter().copied().max().unwrap_or_default(),
    };
    usize::try_from(largest).unwrap_or(MAX_SIZE).clamp(MIN_SIZE, MAX_SIZE)
}

/// The sizes of one sender's messages, in turn: the same for the same seed.
#[derive(Clone, Debug)]
pub struct Sizes {
    description: SizeDescription,
    random: fastrand::Rng,
}

impl Sizes {
    pub fn new(description: SizeDescription, seed: u64, stream: u32) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ u64::from(stream).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { description, random }
    }

    /// The size of the next body, in bytes.
    pub fn draw(&mut self) -> usize {
        let size = match &self.description {
            SizeDescription::Fixed(size) => *size,
            SizeDescription::Range(least, most) => self.random.u64(*least.min(most)..=*most),
            SizeDescription::OneOf(sizes) => self.random.choice(sizes).copied().unwrap_or_default(),
        };
        usize::try_from(size).unwrap_or(MAX_SIZE).clamp(MIN_SIZE, MAX_SIZE)
    }
}

/// `100`, `1KiB`, `100..4096` or `100,1000`.
///
/// # Errors
/// When a size is none, is too small to carry the stamp, or is too large.
pub fn sizes(text: &str) -> Result<SizeDescription, String> {
    if let Some((least, most)) = text.split_once("..") {
        let (least, most) = (size(least)?, size(most.trim_start_matches('='))?);
        if least > most {
            return Err(format!("the range begins with {least} and ends with {most}"));
        }
        return Ok(SizeDescription::Range(least, most));
    }
    let sizes = text.split(',').map(size).collect::<Result<Vec<_>, _>>()?;
    match sizes.as_slice() {
        [size] => Ok(SizeDescription::Fixed(*size)),
        sizes if sizes.len() > MAX_SIZES => Err(format!("{} sizes; at most {MAX_SIZES}", sizes.len())),
        _ => Ok(SizeDescription::OneOf(sizes)),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let size = crate::shape::size(text.trim())?;
    if size < MIN_SIZE as u64 {
        return Err(format!("at least {MIN_SIZE} bytes: every message carries a sequence and a check"));
    }
    if size > MAX_SIZE as u64 {
        return Err(format!("at most {} bytes", crate::shape::number(MAX_SIZE as u64)));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { run: 7, host: 8, stream: 9, sequence: 10, intended: 11 };

    fn body(size: usize) -> BytesMut {
        let mut out = BytesMut::new();
        write(&mut out, &STAMP, size, &filler(&SizeDescription::Fixed(size as u64), 1));
        out
    }

    #[test]
    fn what_is_written_is_read_again_in_every_size() {
        for size in [MIN_SIZE, MIN_SIZE + 1, 100, 70_000] {
            let body = body(size);
            assert_eq!((body.len(), read(&body)), (size, Reading::Stamp(STAMP)));
        }
    }

    #[test]
    fn a_changed_byte_anywhere_is_found() {
        let body = body(60);
        for place in 0..body.len() {
            let mut changed = body.clone();
            changed[place] ^= 1;
            let expected = if (4..8).contains(&place) { Reading::Foreign } else { Reading::Corrupted };
            assert_eq!(read(&changed), expected, "byte {place}");
        }
    }

    #[test]
    fn other_messages_are_foreign_and_cut_ones_are_not_ours() {
        for other in [&b""[..], b"abc", b"hello, this is a message of somebody else, and a long one"] {
            assert_eq!(read(other), Reading::Foreign);
        }
        assert_eq!(read(&body(60)[..50]), Reading::Corrupted);
    }

    #[test]
    fn sizes_are_fixed_ranges_or_lists() {
        assert_eq!(sizes("1KiB"), Ok(SizeDescription::Fixed(1_024)));
        assert_eq!(sizes("100..4096"), Ok(SizeDescription::Range(100, 4_096)));
        assert_eq!(sizes("100,1k"), Ok(SizeDescription::OneOf(vec![100, 1_000])));
        assert!(sizes("10").unwrap_err().contains("at least 36 bytes"));
        assert!(sizes("200..100").unwrap_err().contains("begins with"));
        assert!(sizes("1Gi").unwrap_err().contains("at most"));
        assert!(sizes(&["100"; 65].join(",")).unwrap_err().contains("at most 64"));
    }

    #[test]
    fn the_same_seed_gives_the_same_sizes_and_senders_differ() {
        let take = |seed, stream| {
            let mut sizes = Sizes::new(SizeDescription::Range(100, 4_096), seed, stream);
            (0..50).map(|_| sizes.draw()).collect::<Vec<_>>()
        };
        assert_eq!(take(1, 0), take(1, 0));
        assert_ne!(take(1, 0), take(2, 0));
        assert_ne!(take(1, 0), take(1, 1));
        assert!(take(1, 0).iter().all(|size| (100..=4_096).contains(size)));
    }
}
