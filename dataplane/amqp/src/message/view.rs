//! Single values of a message, read where they lie: nothing is built, nothing is copied, and what is not
//! asked for is stepped over.

use super::{PROPERTIES_FIELDS, Section, expect};
use crate::codec::{
    DecodeError, Fault, constructor, fault,
    reader::{Fields, Reader},
};

/// A value borrowed from the bytes of a message; what is no simple type is only told to be there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    Null,
    Boolean(bool),
    /// byte, short, int, long.
    Signed(i64),
    /// ubyte, ushort, uint, ulong.
    Unsigned(u64),
    Float(f32),
    Double(f64),
    Char(char),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    Uuid(&'a [u8; 16]),
    Binary(&'a [u8]),
    String(&'a str),
    Symbol(&'a str),
    /// A decimal, a list, a map, an array or a described value.
    Other,
}

/// A field of the properties section (AMQP 3.2.4), in the order of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PropertiesField {
    MessageId,
    UserId,
    To,
    Subject,
    ReplyTo,
    CorrelationId,
    ContentType,
    ContentEncoding,
    AbsoluteExpiryTime,
    CreationTime,
    GroupId,
    GroupSequence,
    ReplyToGroupId,
}

impl PropertiesField {
    /// Finds the field in a properties section, descriptor included. [`Scalar::Null`] when it is absent.
    /// The value may have any type: what the specification wants there is for the caller to check.
    ///
    /// # Errors
    ///
    /// When the bytes up to the end of the field are not those of a properties section.
    pub fn find(self, section: &[u8]) -> Result<Scalar<'_>, DecodeError> {
        let what = "properties";
        let mut reader = Reader::from_slice(section);
        expect(&mut reader, Section::Properties)?;
        let mut fields = Fields::open(&mut reader, PROPERTIES_FIELDS, what)?;
        for _ in 0..self as u8 {
            fields.whole(what, |reader, what| reader.skip_value(what).map(Some))?;
        }
        Ok(fields.whole(what, |reader, what| scalar(reader, what).map(Some))?.unwrap_or(Scalar::Null))
    }
}

/// The entries of a section that is a map, in the order of the wire.
///
/// Keys that are neither strings nor symbols are stepped over. Ends for good behind the first error.
#[derive(Clone)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    left: u32,
    what: &'static str,
}

impl<'a> Entries<'a> {
    /// The entries of a section of message annotations, application properties, delivery annotations or
    /// of a footer, descriptor included.
    ///
    /// # Errors
    ///
    /// When the bytes are not those of such a section.
    pub fn of(section: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::from_slice(section);
        let kind = super::section(&mut reader)?;
        let what = kind.name();
        let code = reader.byte(what)?;
        let (content, left) = reader.map(code, what)?;
        Ok(Self { reader: content, left, what })
    }

    /// How many entries are still to come.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The value of the next entry with this key, or `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the bytes up to the end of that entry are malformed.
    pub fn find(&mut self, key: &str) -> Result<Option<Scalar<'a>>, DecodeError> {
        let what = self.what;
        // A copy whose address is never taken can stay in registers.
        let mut reader = self.reader;
        // None are left behind an error.
        let mut left = std::mem::take(&mut self.left);
        let mut found = None;
        while left > 0 && found.is_none() {
            left -= 1;
            if name(&mut reader, what)? == Some(key.as_bytes()) {
                found = Some(reader.apart(|reader| scalar(reader, what))?);
            } else {
                skip(&mut reader, what)?;
            }
        }
        (self.reader, self.left) = (reader, left);
        Ok(found)
    }

    fn following(&mut self) -> Result<Option<(&'a str, Scalar<'a>)>, DecodeError> {
        while self.left > 0 {
            self.left -= 1;
            let offset = self.reader.offset();
            let found = name(&mut self.reader, self.what)?;
            let value = scalar(&mut self.reader, self.what)?;
            if let Some(found) = found {
                let key = std::str::from_utf8(found)
                    .map_err(|_| DecodeError::NotText { what: self.what, offset })?;
                return Ok(Some((key, value)));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a str, Scalar<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let following = self.following();
        if following.is_err() {
            self.left = 0;
        }
        following.transpose()
    }
}

impl std::fmt::Debug for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("what", &self.what).field("left", &self.left).finish_non_exhaustive()
    }
}

/// Reads a key: the bytes of a string or a symbol, unchecked; `None` for a key of another type.
#[inline(always)]
fn name<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Option<&'a [u8]>, Fault> {
    let start = *reader;
    match reader.byte(what)? {
        code @ (constructor::STRING_8
        | constructor::STRING_32
        | constructor::SYMBOL_8
        | constructor::SYMBOL_32) => reader.variable(code, what).map(Some),
        _ => {
            *reader = start;
            reader.apart(|reader| reader.skip_value(what))?;
            Ok(None)
        }
    }
}

/// Steps over a value.
#[inline(always)]
fn skip(reader: &mut Reader<'_>, what: &'static str) -> Result<(), Fault> {
    let start = *reader;
    match reader.byte(what)? {
        code @ (constructor::STRING_8 | constructor::SYMBOL_8 | constructor::BINARY_8) => {
            reader.variable(code, what).map(drop)
        }
        constructor::SMALL_INT | constructor::SMALL_LONG => reader.byte(what).map(drop),
        constructor::INT => reader.take(4, what).map(drop),
        constructor::LONG | constructor::DOUBLE => reader.take(8, what).map(drop),
        constructor::TRUE | constructor::FALSE => Ok(()),
        _ => {
            *reader = start;
            reader.apart(|reader| reader.skip_value(what))
        }
    }
}

/// Reads a value from its constructor on.
fn scalar<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Scalar<'a>, Fault> {
    let start = *reader;
    Ok(match reader.byte(what)? {
        constructor::NULL => Scalar::Null,
        code @ (constructor::TRUE | constructor::FALSE | constructor::BOOLEAN) => {
            Scalar::Boolean(reader.boolean(code, what)?)
        }
        code @ constructor::UBYTE => Scalar::Unsigned(reader.ubyte(code, what)?.into()),
        code @ constructor::USHORT => Scalar::Unsigned(reader.ushort(code, what)?.into()),
        code @ (constructor::UINT_0 | constructor::SMALL_UINT | constructor::UINT) => {
            Scalar::Unsigned(reader.uint(code, what)?.into())
        }
        code @ (constructor::ULONG_0 | constructor::SMALL_ULONG | constructor::ULONG) => {
            Scalar::Unsigned(reader.ulong(code, what)?)
        }
        constructor::BYTE | constructor::SMALL_INT | constructor::SMALL_LONG => {
            Scalar::Signed(i8::from_be_bytes(reader.bytes(what)?).into())
        }
        constructor::SHORT => Scalar::Signed(i16::from_be_bytes(reader.bytes(what)?).into()),
        constructor::INT => Scalar::Signed(i32::from_be_bytes(reader.bytes(what)?).into()),
        constructor::LONG => Scalar::Signed(i64::from_be_bytes(reader.bytes(what)?)),
        constructor::FLOAT => Scalar::Float(f32::from_be_bytes(reader.bytes(what)?)),
        constructor::DOUBLE => Scalar::Double(f64::from_be_bytes(reader.bytes(what)?)),
        constructor::CHAR => Scalar::Char(reader.character(what)?),
        code @ constructor::TIMESTAMP => Scalar::Timestamp(reader.timestamp(code, what)?),
        constructor::UUID => Scalar::Uuid(uuid(reader, what)?),
        code @ (constructor::BINARY_8 | constructor::BINARY_32) => Scalar::Binary(reader.binary(code, what)?),
        code @ (constructor::STRING_8 | constructor::STRING_32) => Scalar::String(reader.string(code, what)?),
        code @ (constructor::SYMBOL_8 | constructor::SYMBOL_32) => {
            Scalar::Symbol(reader.symbol_name(code, what)?)
        }
        _ => {
            *reader = start;
            reader.skip_value(what)?;
            Scalar::Other
        }
    })
}

fn uuid<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8; 16], Fault> {
    let offset = reader.offset();
    let bytes = reader.take(16, what)?;
    bytes.try_into().map_err(|_| fault(DecodeError::OutOfRange { what, offset }))
}
