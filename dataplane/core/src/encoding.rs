//! How records and messages are put into bytes: numbers in LEB128, bytes behind their length.

use bytes::BufMut;

/// Bytes that a number takes at most.
pub const LONGEST_NUMBER: usize = 10;

/// Writes a number: seven bits to a byte, the lowest first.
#[inline]
pub fn put_number(out: &mut impl BufMut, mut number: u64) {
    while number >= 0x80 {
        out.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    out.put_u8(number as u8);
}

/// Writes bytes behind their length.
#[inline]
pub fn put_bytes(out: &mut impl BufMut, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.put_slice(bytes);
}

/// Takes apart what was put together: every method is `None` where the bytes end early, or are not what
/// is asked for. Nothing is taken of them then.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Takes all that has not been read yet.
    #[inline]
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    #[inline]
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// So many bytes as they are.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number of at most 64 bits.
    #[inline]
    pub fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first()?;
        if *first < 0x80 {
            self.0 = rest;
            return Some(u64::from(*first));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (index, byte) in self.0.iter().enumerate().take(LONGEST_NUMBER) {
            let bits = u64::from(byte & 0x7f);
            let shift = 7 * index as u32;
            if bits.leading_zeros() < shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                self.0 = self.0.get(index + 1..)?;
                return Some(number);
            }
        }
        None
    }

    /// A number of at most 32 bits.
    #[inline]
    pub fn small_number(&mut self) -> Option<u32> {
        let mut ahead = *self;
        let number = u32::try_from(ahead.number()?).ok()?;
        *self = ahead;
        Some(number)
    }

    /// Bytes behind their length.
    #[inline]
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let len = usize::try_from(ahead.number()?).ok()?;
        let (bytes, rest) = ahead.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Text behind its length.
    #[inline]
    pub fn text(&mut self) -> Option<&'a str> {
        let mut ahead = *self;
        let text = std::str::from_utf8(ahead.bytes()?).ok()?;
        *self = ahead;
        Some(text)
    }

    /// `None` when there is more.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in (0..64).flat_map(|bits| [1_u64 << bits, (1 << bits) - 1]).chain([u64::MAX]) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert!(out.len() <= LONGEST_NUMBER);
            for len in 0..out.len() {
                assert_eq!(Reader::new(&out[..len]).number(), None, "{number} in {len} bytes");
            }
            let mut input = Reader::new(&out);
            assert_eq!((input.number(), input.end()), (Some(number), Some(())));
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_none() {
        let mut bytes = [0xff; LONGEST_NUMBER];
        bytes[9] = 1;
        assert_eq!(Reader::new(&bytes).number(), Some(u64::MAX));
        bytes[9] = 2;
        assert_eq!(Reader::new(&bytes).number(), None);
        bytes[9] = 0xff;
        assert_eq!(Reader::new(&bytes).number(), None);
    }

    #[test]
    fn nothing_is_taken_of_what_is_not_there() {
        let mut input = Reader::new(&[3, b'a', b'b']);
        assert_eq!((input.bytes(), input.text()), (None, None));
        assert_eq!(input.byte(), Some(3));
        let mut input = Reader::new(&[1, 0xff]);
        assert_eq!(input.text(), None);
        assert_eq!(input.bytes(), Some(&[0xff][..]));
        let mut input = Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x10]);
        assert_eq!(input.small_number(), None);
        assert_eq!(input.number(), Some(1 << 32));
    }
}
