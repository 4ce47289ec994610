//! A bounded reader over encoded bytes: every length is checked before anything is read, and a length
//! prefix gives a reader that cannot leave it.
//!
//! The small steps are always inlined: the state of a reader then lives in registers for as long as a
//! performative is read, which makes decoding a transfer several times faster.

use bytes::Bytes;

use super::{
    DecodeError, Fault,
    constructor::{self, descriptor},
    fault,
};
use crate::value::{Symbol, Text};

/// Levels of described values, lists, maps and arrays inside one another.
pub const DEPTH_MAX: u32 = 32;

/// Elements of an array whose constructor takes no bytes per element (null, true, false, uint0, ulong0,
/// list0), so that its count is not bounded by the bytes present.
pub const ZERO_WIDTH_ELEMENTS_MAX: u32 = 1024;

/// Reads values off the front of a byte slice.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The offset of the end of `rest` from where decoding began; the same in every sub-reader.
    end: usize,
    /// The allocation `rest` lies in, to slice raw bytes from; without it they are copied.
    source: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    /// A reader whose raw parts are slices of `source`.
    #[inline(always)]
    pub(crate) fn new(source: &'a Bytes) -> Self {
        Self { rest: source, end: source.len(), source: Some(source) }
    }

    /// A reader whose raw parts are copies.
    #[inline(always)]
    pub(crate) fn from_slice(rest: &'a [u8]) -> Self {
        Self { rest, end: rest.len(), source: None }
    }

    /// The same reader, except that its raw parts are copies.
    pub(crate) fn copying(self) -> Self {
        Self { source: None, ..self }
    }

    /// How many bytes have been read since decoding began.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline(always)]
    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(length, what));
        };
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, Fault> {
        let Some((&byte, rest)) = self.rest.split_first() else { return Err(self.truncated(1, what)) };
        self.rest = rest;
        Ok(byte)
    }

    #[inline(always)]
    pub(crate) fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N, what));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    /// A reader of the next `length` bytes and of nothing behind them.
    #[inline(always)]
    pub(crate) fn sub(&mut self, length: usize, what: &'static str) -> Result<Self, Fault> {
        let rest = self.take(length, what)?;
        Ok(Self { rest, end: self.offset(), source: self.source })
    }

    /// What was read since `start`, an earlier copy of this reader, as raw bytes.
    pub(crate) fn since(&self, start: &Self) -> Bytes {
        let length = start.rest.len().saturating_sub(self.rest.len());
        start.raw(start.rest.get(..length).unwrap_or_default())
    }

    /// `part` of what this reader reads, without a copy where there is an allocation to share.
    pub(crate) fn raw(&self, part: &[u8]) -> Bytes {
        match self.source {
            Some(source) => source.slice_ref(part),
            None => Bytes::copy_from_slice(part),
        }
    }

    /// Reads with a function that is not inlined, on a copy: a reader whose address is never taken can stay in
    /// registers.
    #[inline(always)]
    pub(crate) fn apart<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        let mut copy = *self;
        let value = read(&mut copy)?;
        *self = copy;
        Ok(value)
    }

    /// Fails unless everything was read.
    #[inline(always)]
    pub(crate) fn finish(&self, what: &'static str) -> Result<(), Fault> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(fault(DecodeError::LeftOver { what, count: self.rest.len(), offset: self.offset() }))
    }

    #[cold]
    fn truncated(self, length: usize, what: &'static str) -> Fault {
        let missing = length.saturating_sub(self.rest.len());
        fault(DecodeError::Truncated { what, missing, offset: self.end })
    }

    /// The error for a constructor that was just read and does not fit.
    #[cold]
    pub(crate) fn unexpected(self, code: u8, what: &'static str) -> Fault {
        let offset = self.offset().saturating_sub(1);
        if code == constructor::DESCRIBED || constructor::kind(code).is_some() {
            fault(DecodeError::WrongType { what, code, offset })
        } else {
            fault(DecodeError::UnknownConstructor { what, code, offset })
        }
    }

    #[cold]
    pub(crate) fn out_of_range(self, what: &'static str) -> Fault {
        fault(DecodeError::OutOfRange { what, offset: self.offset() })
    }

    /// Reads the descriptor behind a described value's first byte, as its numeric code in AMQP's own domain.
    #[inline(always)]
    pub(crate) fn descriptor(&mut self, what: &'static str) -> Result<u64, Fault> {
        match self.byte(what)? {
            constructor::SMALL_ULONG => Ok(self.byte(what)?.into()),
            code => self.apart(|reader| reader.long_descriptor(code, what)),
        }
    }

    #[cold]
    fn long_descriptor(&mut self, code: u8, what: &'static str) -> Result<u64, Fault> {
        match code {
            constructor::ULONG_0 | constructor::ULONG => self.ulong(code, what),
            constructor::SYMBOL_8 | constructor::SYMBOL_32 => {
                Ok(descriptor::by_name(self.variable(code, what)?))
            }
            // AMQP 1.2 reserves descriptors of other types: they describe nothing we know.
            constructor::DESCRIBED => {
                self.check_value(DEPTH_MAX, what)?;
                self.check_value(DEPTH_MAX, what)?;
                Ok(descriptor::UNKNOWN)
            }
            code => {
                self.check_content(code, DEPTH_MAX, what)?;
                Ok(descriptor::UNKNOWN)
            }
        }
    }

    #[inline(always)]
    pub(crate) fn boolean(&mut self, code: u8, what: &'static str) -> Result<bool, Fault> {
        match code {
            constructor::TRUE => Ok(true),
            constructor::FALSE => Ok(false),
            constructor::BOOLEAN => match self.byte(what)? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(self.out_of_range(what)),
            },
            code => Err(self.unexpected(code, what)),
        }
    }

    #[inline(always)]
    pub(crate) fn ubyte(&mut self, code: u8, what: &'static str) -> Result<u8, Fault> {
        match code {
            constructor::UBYTE => self.byte(what),
            code => Err(self.unexpected(code, what)),
        }
    }

    #[inline(always)]
    pub(crate) fn ushort(&mut self, code: u8, what: &'static str) -> Result<u16, Fault> {
        match code {
            constructor::USHORT => self.bytes(what).map(u16::from_be_bytes),
            code => Err(self.unexpected(code, what)),
        }
    }

    #[inline(always)]
    pub(crate) fn uint(&mut self, code: u8, what: &'static str) -> Result<u32, Fault> {
        match code {
            constructor::SMALL_UINT => self.byte(what).map(u32::from),
            constructor::UINT_0 => Ok(0),
            constructor::UINT => self.bytes(what).map(u32::from_be_bytes),
            code => Err(self.unexpected(code, what)),
        }
    }

    #[inline(always)]
    pub(crate) fn ulong(&mut self, code: u8, what: &'static str) -> Result<u64, Fault> {
        match code {
            constructor::SMALL_ULONG => self.byte(what).map(u64::from),
            constructor::ULONG_0 => Ok(0),
            constructor::ULONG => self.bytes(what).map(u64::from_be_bytes),
            code => Err(self.unexpected(code, what)),
        }
    }

    pub(crate) fn timestamp(&mut self, code: u8, what: &'static str) -> Result<i64, Fault> {
        match code {
            constructor::TIMESTAMP => self.bytes(what).map(i64::from_be_bytes),
            code => Err(self.unexpected(code, what)),
        }
    }

    pub(crate) fn character(&mut self, what: &'static str) -> Result<char, Fault> {
        let scalar = self.bytes(what).map(u32::from_be_bytes)?;
        char::from_u32(scalar).ok_or_else(|| self.out_of_range(what))
    }

    #[inline(always)]
    pub(crate) fn binary(&mut self, code: u8, what: &'static str) -> Result<&'a [u8], Fault> {
        match code {
            constructor::BINARY_8 | constructor::BINARY_32 => self.variable(code, what),
            code => Err(self.unexpected(code, what)),
        }
    }

    pub(crate) fn string(&mut self, code: u8, what: &'static str) -> Result<&'a str, Fault> {
        if !matches!(code, constructor::STRING_8 | constructor::STRING_32) {
            return Err(self.unexpected(code, what));
        }
        let start = self.offset();
        std::str::from_utf8(self.variable(code, what)?)
            .map_err(|_| fault(DecodeError::NotText { what, offset: start }))
    }

    pub(crate) fn symbol_name(&mut self, code: u8, what: &'static str) -> Result<&'a str, Fault> {
        if !matches!(code, constructor::SYMBOL_8 | constructor::SYMBOL_32) {
            return Err(self.unexpected(code, what));
        }
        let start = self.offset();
        let name = self.variable(code, what)?;
        std::str::from_utf8(name)
            .ok()
            .filter(|name| name.is_ascii())
            .ok_or_else(|| fault(DecodeError::NotText { what, offset: start }))
    }

    pub(crate) fn text(&mut self, code: u8, what: &'static str) -> Result<Text, Fault> {
        self.string(code, what).map(Text::from)
    }

    pub(crate) fn symbol(&mut self, code: u8, what: &'static str) -> Result<Symbol, Fault> {
        let name = self.symbol_name(code, what)?;
        Ok(descriptor::known_name(name).map_or_else(|| Symbol::from(name), Symbol::from_static))
    }

    /// The content behind a constructor of variable width (AMQP 1.2, categories a and b).
    #[inline(always)]
    pub(crate) fn variable(&mut self, code: u8, what: &'static str) -> Result<&'a [u8], Fault> {
        let length = self.size(code, what)?;
        self.take(length, what)
    }

    /// A size of 8 bits, or of 32 behind a wide constructor.
    #[inline(always)]
    fn size(&mut self, code: u8, what: &'static str) -> Result<usize, Fault> {
        if code & constructor::WIDE == 0 {
            self.byte(what).map(usize::from)
        } else {
            self.bytes(what).map(|size| u32::from_be_bytes(size) as usize)
        }
    }

    /// The content of a list, map or array and the count of its elements.
    #[inline(always)]
    fn compound(&mut self, code: u8, what: &'static str) -> Result<(Self, u32), Fault> {
        let size = self.size(code, what)?;
        let mut content = self.sub(size, what)?;
        // The count is part of the size: a size too small for it ends the sub-reader, it never wraps.
        let count = if code & constructor::WIDE == 0 {
            content.byte(what)?.into()
        } else {
            u32::from_be_bytes(content.bytes(what)?)
        };
        Ok((content, count))
    }

    /// The content of a list and the count of its elements, which is at most the bytes of the content.
    #[inline(always)]
    pub(crate) fn list(&mut self, code: u8, what: &'static str) -> Result<(Self, u32), Fault> {
        let (content, count) = match code {
            constructor::LIST_8 | constructor::LIST_32 => self.compound(code, what)?,
            constructor::LIST_0 => (Self { rest: &[], end: self.offset(), source: self.source }, 0),
            code => return Err(self.unexpected(code, what)),
        };
        content.check_count(count, what)?;
        Ok((content, count))
    }

    /// The content of a map and the count of its pairs, which is at most half the bytes of the content.
    pub(crate) fn map(&mut self, code: u8, what: &'static str) -> Result<(Self, u32), Fault> {
        let (content, count) = match code {
            constructor::MAP_8 | constructor::MAP_32 => self.compound(code, what)?,
            code => return Err(self.unexpected(code, what)),
        };
        if count % 2 != 0 {
            return Err(fault(DecodeError::OddMap { what, count, offset: content.offset() }));
        }
        content.check_count(count, what)?;
        Ok((content, count / 2))
    }

    /// The content of an array behind the count and before the constructor of the elements.
    pub(crate) fn array(&mut self, code: u8, what: &'static str) -> Result<(Self, u32), Fault> {
        match code {
            constructor::ARRAY_8 | constructor::ARRAY_32 => self.compound(code, what),
            code => Err(self.unexpected(code, what)),
        }
    }

    /// Checks the count of an array whose elements have constructor `code` and fill the rest.
    pub(crate) fn check_elements(&self, code: u8, count: u32, what: &'static str) -> Result<(), Fault> {
        if constructor::kind(code).is_none() {
            return Err(self.unexpected(code, what));
        }
        if !constructor::is_zero_width(code) {
            return self.check_count(count, what);
        }
        let limit = ZERO_WIDTH_ELEMENTS_MAX;
        if count > limit {
            return Err(fault(DecodeError::TooMany { what, count, limit, offset: self.offset() }));
        }
        Ok(())
    }

    /// Every element counted takes at least one byte.
    #[inline(always)]
    fn check_count(&self, count: u32, what: &'static str) -> Result<(), Fault> {
        if count as usize > self.rest.len() {
            return Err(self.truncated(count as usize, what));
        }
        Ok(())
    }

    /// Reads a value of any type and builds nothing, checking all that decoding would check.
    pub(crate) fn check_value(&mut self, depth: u32, what: &'static str) -> Result<(), Fault> {
        let code = self.byte(what)?;
        if code != constructor::DESCRIBED {
            return self.check_content(code, depth, what);
        }
        let depth = self.descend(depth, what)?;
        self.check_value(depth, what)?;
        self.check_value(depth, what)
    }

    /// Reads the content behind constructor `code`, like [`Self::check_value`].
    pub(crate) fn check_content(&mut self, code: u8, depth: u32, what: &'static str) -> Result<(), Fault> {
        match code {
            constructor::BOOLEAN => self.boolean(code, what).map(drop),
            constructor::CHAR => self.character(what).map(drop),
            constructor::STRING_8 | constructor::STRING_32 => self.string(code, what).map(drop),
            constructor::SYMBOL_8 | constructor::SYMBOL_32 => self.symbol_name(code, what).map(drop),
            constructor::BINARY_8 | constructor::BINARY_32 => self.binary(code, what).map(drop),
            constructor::LIST_0 | constructor::LIST_8 | constructor::LIST_32 => {
                let depth = self.descend(depth, what)?;
                let (content, count) = self.list(code, what)?;
                content.check_values(count, depth, what)
            }
            constructor::MAP_8 | constructor::MAP_32 => {
                let depth = self.descend(depth, what)?;
                let (content, pairs) = self.map(code, what)?;
                // Half of a count, so that twice of it fits.
                content.check_values(pairs * 2, depth, what)
            }
            constructor::ARRAY_8 | constructor::ARRAY_32 => {
                let depth = self.descend(depth, what)?;
                let (content, count) = self.array(code, what)?;
                content.check_array(count, depth, what)
            }
            code if constructor::kind(code).is_some() => self.take(fixed_width(code), what).map(drop),
            code => Err(self.unexpected(code, what)),
        }
    }

    fn check_values(mut self, count: u32, depth: u32, what: &'static str) -> Result<(), Fault> {
        for _ in 0..count {
            self.check_value(depth, what)?;
        }
        self.finish(what)
    }

    fn check_array(mut self, count: u32, mut depth: u32, what: &'static str) -> Result<(), Fault> {
        let mut code = self.byte(what)?;
        while code == constructor::DESCRIBED {
            depth = self.descend(depth, what)?;
            self.check_value(depth, what)?;
            code = self.byte(what)?;
        }
        self.check_elements(code, count, what)?;
        for _ in 0..count {
            self.check_content(code, depth, what)?;
        }
        self.finish(what)
    }

    /// One level less to go.
    pub(crate) fn descend(&self, depth: u32, what: &'static str) -> Result<u32, Fault> {
        depth
            .checked_sub(1)
            .ok_or_else(|| fault(DecodeError::TooDeep { what, limit: DEPTH_MAX, offset: self.offset() }))
    }

    /// Skips a value by the width its constructor states, looking no further in; for data that is forwarded
    /// as it is and whose inside is none of our business. Iterative, so that no depth needs a limit.
    pub(crate) fn skip_value(&mut self, what: &'static str) -> Result<(), Fault> {
        let mut pending = 1_usize;
        while pending > 0 {
            let code = self.byte(what)?;
            if code == constructor::DESCRIBED {
                // A descriptor and a value in place of one. It took a byte, so that `pending` stays below
                // the count of the bytes.
                pending += 1;
                continue;
            }
            self.skip_content(code, what)?;
            pending -= 1;
        }
        Ok(())
    }

    /// Skips the content behind constructor `code`, like [`Self::skip_value`].
    pub(crate) fn skip_content(&mut self, code: u8, what: &'static str) -> Result<(), Fault> {
        if constructor::kind(code).is_none() {
            return Err(self.unexpected(code, what));
        }
        let width = if code < constructor::BINARY_8 { fixed_width(code) } else { self.size(code, what)? };
        self.take(width, what).map(drop)
    }
}

/// The bytes of content behind a constructor of fixed width (AMQP 1.2: the upper half of the code).
fn fixed_width(code: u8) -> usize {
    match code >> 4 {
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        _ => 0,
    }
}

/// The fields of a composite (AMQP 1.4), in order. A field that is null or left off at the end is `None`.
pub(crate) struct Fields<'a> {
    pub(crate) reader: Reader<'a>,
    left: u32,
}

impl<'a> Fields<'a> {
    /// Opens the list that is next in `reader` and has at most `limit` fields.
    #[inline(always)]
    pub(crate) fn open(reader: &mut Reader<'a>, limit: u32, what: &'static str) -> Result<Self, Fault> {
        let code = reader.byte(what)?;
        let (content, count) = reader.list(code, what)?;
        if count > limit {
            return Err(fault(DecodeError::TooManyFields { what, count, limit, offset: content.offset() }));
        }
        Ok(Self { reader: content, left: count })
    }

    /// The constructor of the next field.
    #[inline(always)]
    pub(crate) fn next(&mut self, what: &'static str) -> Result<Option<u8>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let code = self.reader.byte(what)?;
        Ok((code != constructor::NULL).then_some(code))
    }

    /// The next field as `read` reads it from its constructor on.
    #[inline(always)]
    pub(crate) fn optional<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>, u8, &'static str) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        match self.next(what)? {
            Some(code) => read(&mut self.reader, code, what).map(Some),
            None => Ok(None),
        }
    }

    /// The next field as `read` reads it, constructor, null and all.
    #[inline(always)]
    pub(crate) fn whole<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>, &'static str) -> Result<Option<T>, Fault>,
    ) -> Result<Option<T>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        read(&mut self.reader, what)
    }

    /// Whether there is a next field, null or not.
    #[inline(always)]
    pub(crate) fn is_present(&self) -> bool {
        self.left > 0
    }

    /// Reads the next field if it is an accepted state in the encoding that nearly every peer uses.
    #[inline(always)]
    pub(crate) fn take_accepted(&mut self) -> bool {
        #[allow(clippy::cast_possible_truncation, reason = "the descriptor is 0x24")]
        const ACCEPTED: [u8; 4] = [
            constructor::DESCRIBED,
            constructor::SMALL_ULONG,
            descriptor::ACCEPTED as u8,
            constructor::LIST_0,
        ];
        match self.reader.rest.split_first_chunk() {
            Some((&ACCEPTED, rest)) if self.left > 0 => {
                self.left -= 1;
                self.reader.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// The next field, which must be there.
    #[inline(always)]
    pub(crate) fn mandatory<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'a>, u8, &'static str) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.optional(what, read)? {
            Some(value) => Ok(value),
            None => Err(fault(DecodeError::Missing { what, offset: self.reader.offset() })),
        }
    }

    /// The next field, a boolean that is false when absent.
    #[inline(always)]
    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool, Fault> {
        Ok(self.optional(what, Reader::boolean)?.unwrap_or(false))
    }

    /// Fails when bytes follow the last field.
    #[inline(always)]
    pub(crate) fn finish(&self, what: &'static str) -> Result<(), Fault> {
        self.reader.finish(what)
    }
}
