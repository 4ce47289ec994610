//! A cursor over the bytes of a packet: checks a length, then reads.

use super::DecodeError;
use crate::packet::check_text;

/// What is left of a packet's body, and how far we are.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader whose first byte is byte `offset` of the packet.
    pub(crate) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let missing = count - self.rest.len();
            return Err(DecodeError::Truncated { what, missing, offset: self.offset });
        };
        self.rest = rest;
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((taken, rest)) = self.rest.split_first_chunk() else {
            let missing = N - self.rest.len();
            return Err(DecodeError::Truncated { what, missing, offset: self.offset });
        };
        self.rest = rest;
        self.offset += N;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array(what).map(|[byte]| byte)
    }

    pub(crate) fn short(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    pub(crate) fn long(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// 1.5.5: "The encoded value MUST use the minimum number of bytes necessary".
    pub(crate) fn variable(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let offset = self.offset;
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.byte(what)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(DecodeError::Variable { what, offset })
    }

    /// 1.5.6.
    pub(crate) fn binary(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.short(what)?;
        self.take(length.into(), what)
    }

    /// 1.5.4.
    pub(crate) fn text(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let offset = self.offset;
        let bytes = self.binary(what)?;
        check_text(bytes).map_err(|source| DecodeError::Text { what, source, offset })
    }

    pub(crate) fn finish(self, what: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::LeftOver { what, count: self.rest.len(), offset: self.offset })
    }
}
