//! Numbers and texts as bytes, each length checked before it is used.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("{what}: {missing} bytes are missing")]
    Short { what: &'static str, missing: usize },
    #[error("{what}: {actual} is more than the {limit} allowed")]
    TooMuch { what: &'static str, actual: u64, limit: u64 },
    #[error("{what}: {value} is not allowed")]
    Invalid { what: &'static str, value: u64 },
    #[error("{what}: not UTF-8")]
    NotText { what: &'static str },
    #[error("{what}: {count} bytes too many")]
    Rest { what: &'static str, count: usize },
}

/// Reads what has arrived, front to back.
pub(crate) struct Input<'a>(pub(crate) &'a mut Bytes);

impl Input<'_> {
    fn need(&self, what: &'static str, count: usize) -> Result<(), WireError> {
        match count.checked_sub(self.0.len()) {
            Some(missing) if missing > 0 => Err(WireError::Short { what, missing }),
            _ => Ok(()),
        }
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.need(what, 1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.need(what, 2)?;
        Ok(self.0.get_u16())
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.need(what, 4)?;
        Ok(self.0.get_u32())
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.need(what, 8)?;
        Ok(self.0.get_u64())
    }

    /// A text behind its length (16 bits), of at most `limit` bytes.
    pub(crate) fn text(&mut self, what: &'static str, limit: usize) -> Result<String, WireError> {
        let bytes = self.bytes(what, limit)?;
        String::from_utf8(bytes.into()).map_err(|_| WireError::NotText { what })
    }

    /// Bytes behind their length (16 bits), at most `limit`: a slice of the input.
    pub(crate) fn bytes(&mut self, what: &'static str, limit: usize) -> Result<Bytes, WireError> {
        let length = usize::from(self.u16(what)?);
        at_most(what, length, limit)?;
        self.need(what, length)?;
        Ok(self.0.split_to(length))
    }

    /// Says that nothing may be left.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), WireError> {
        match self.0.len() {
            0 => Ok(()),
            count => Err(WireError::Rest { what, count }),
        }
    }
}

pub(crate) fn at_most(what: &'static str, actual: usize, limit: usize) -> Result<(), WireError> {
    if actual > limit {
        return Err(WireError::TooMuch { what, actual: actual as u64, limit: limit as u64 });
    }
    Ok(())
}

/// Writes bytes behind their length, cut at what the length can say; callers have checked it.
pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
}
