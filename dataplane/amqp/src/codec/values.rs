//! Values of any type from bytes.

use super::{
    DecodeError, Fault, constructor, fault,
    reader::{DEPTH_MAX, Reader},
};
use crate::value::{Array, Value};

/// Values in one property map, filter or decoded value, those inside others included. A value in memory is
/// forty times as large as the smallest one on the wire.
pub const VALUES_MAX: u32 = 65_536;

/// Capacity taken on trust before the first element is there.
const TRUSTED_CAPACITY: u32 = 16;

/// Builds values and counts them.
pub(crate) struct Values {
    left: u32,
}

impl Values {
    pub(crate) fn new() -> Self {
        Self { left: VALUES_MAX }
    }

    /// The next value, at most `depth` levels deep.
    pub(crate) fn value(
        &mut self,
        reader: &mut Reader<'_>,
        depth: u32,
        what: &'static str,
    ) -> Result<Value, Fault> {
        let code = reader.byte(what)?;
        if code != constructor::DESCRIBED {
            return self.content(reader, code, depth, what);
        }
        let depth = reader.descend(depth, what)?;
        let descriptor = self.value(reader, depth, what)?;
        let value = self.value(reader, depth, what)?;
        Ok(Value::described(descriptor, value))
    }

    /// The value behind constructor `code`.
    fn content(
        &mut self,
        reader: &mut Reader<'_>,
        code: u8,
        depth: u32,
        what: &'static str,
    ) -> Result<Value, Fault> {
        self.count(reader, what)?;
        Ok(match code {
            constructor::NULL => Value::Null,
            constructor::TRUE | constructor::FALSE | constructor::BOOLEAN => {
                Value::Boolean(reader.boolean(code, what)?)
            }
            constructor::UBYTE => Value::UByte(reader.byte(what)?),
            constructor::BYTE => Value::Byte(i8::from_be_bytes(reader.bytes(what)?)),
            constructor::USHORT => Value::UShort(reader.ushort(code, what)?),
            constructor::SHORT => Value::Short(i16::from_be_bytes(reader.bytes(what)?)),
            constructor::UINT_0 | constructor::SMALL_UINT | constructor::UINT => {
                Value::UInt(reader.uint(code, what)?)
            }
            constructor::SMALL_INT => Value::Int(i8::from_be_bytes(reader.bytes(what)?).into()),
            constructor::INT => Value::Int(i32::from_be_bytes(reader.bytes(what)?)),
            constructor::ULONG_0 | constructor::SMALL_ULONG | constructor::ULONG => {
                Value::ULong(reader.ulong(code, what)?)
            }
            constructor::SMALL_LONG => Value::Long(i8::from_be_bytes(reader.bytes(what)?).into()),
            constructor::LONG => Value::Long(i64::from_be_bytes(reader.bytes(what)?)),
            constructor::FLOAT => Value::Float(f32::from_be_bytes(reader.bytes(what)?)),
            constructor::DOUBLE => Value::Double(f64::from_be_bytes(reader.bytes(what)?)),
            constructor::DECIMAL_32 => Value::Decimal32(reader.bytes(what)?),
            constructor::DECIMAL_64 => Value::Decimal64(reader.bytes(what)?),
            constructor::DECIMAL_128 => Value::Decimal128(reader.bytes(what)?),
            constructor::CHAR => Value::Char(reader.character(what)?),
            constructor::TIMESTAMP => Value::Timestamp(reader.timestamp(code, what)?),
            constructor::UUID => Value::Uuid(reader.bytes(what)?),
            constructor::BINARY_8 | constructor::BINARY_32 => {
                let content = reader.binary(code, what)?;
                Value::Binary(reader.raw(content))
            }
            constructor::STRING_8 | constructor::STRING_32 => Value::String(reader.text(code, what)?),
            constructor::SYMBOL_8 | constructor::SYMBOL_32 => Value::Symbol(reader.symbol(code, what)?),
            // An empty list is a level in each of its encodings: what decodes must decode again.
            constructor::LIST_0 | constructor::LIST_8 | constructor::LIST_32 => {
                Value::List(self.list(reader, code, depth, what)?)
            }
            constructor::MAP_8 | constructor::MAP_32 => Value::Map(self.map(reader, code, depth, what)?),
            constructor::ARRAY_8 | constructor::ARRAY_32 => {
                Value::Array(self.array(reader, code, depth, what)?)
            }
            code => return Err(reader.unexpected(code, what)),
        })
    }

    fn list(
        &mut self,
        reader: &mut Reader<'_>,
        code: u8,
        depth: u32,
        what: &'static str,
    ) -> Result<Vec<Value>, Fault> {
        let depth = reader.descend(depth, what)?;
        let (mut content, count) = reader.list(code, what)?;
        let mut elements = Vec::with_capacity(count.min(TRUSTED_CAPACITY) as usize);
        for _ in 0..count {
            elements.push(self.value(&mut content, depth, what)?);
        }
        content.finish(what)?;
        Ok(elements)
    }

    fn map(
        &mut self,
        reader: &mut Reader<'_>,
        code: u8,
        depth: u32,
        what: &'static str,
    ) -> Result<Vec<(Value, Value)>, Fault> {
        let depth = reader.descend(depth, what)?;
        let (mut content, count) = reader.map(code, what)?;
        let mut pairs = Vec::with_capacity(count.min(TRUSTED_CAPACITY) as usize);
        for _ in 0..count {
            let key = self.value(&mut content, depth, what)?;
            pairs.push((key, self.value(&mut content, depth, what)?));
        }
        content.finish(what)?;
        Ok(pairs)
    }

    fn array(
        &mut self,
        reader: &mut Reader<'_>,
        code: u8,
        depth: u32,
        what: &'static str,
    ) -> Result<Array, Fault> {
        let mut depth = reader.descend(depth, what)?;
        let (mut content, count) = reader.array(code, what)?;
        let mut descriptors = Vec::new();
        let mut code = content.byte(what)?;
        while code == constructor::DESCRIBED {
            depth = content.descend(depth, what)?;
            descriptors.push(self.value(&mut content, depth, what)?);
            code = content.byte(what)?;
        }
        content.check_elements(code, count, what)?;
        let mut elements = Vec::with_capacity(count.min(TRUSTED_CAPACITY) as usize);
        for _ in 0..count {
            elements.push(self.content(&mut content, code, depth, what)?);
        }
        content.finish(what)?;
        let kind = constructor::kind(code).ok_or_else(|| content.unexpected(code, what))?;
        Ok(Array::from_parts(descriptors, kind, elements))
    }

    fn count(&mut self, reader: &Reader<'_>, what: &'static str) -> Result<(), Fault> {
        let Some(left) = self.left.checked_sub(1) else {
            let limit = VALUES_MAX;
            return Err(fault(DecodeError::TooMany {
                what,
                count: limit + 1,
                limit,
                offset: reader.offset(),
            }));
        };
        self.left = left;
        Ok(())
    }
}

/// Reads a map of any keys and values from its constructor on.
pub(crate) fn map(
    reader: &mut Reader<'_>,
    code: u8,
    what: &'static str,
) -> Result<Vec<(Value, Value)>, Fault> {
    Values::new().map(reader, code, DEPTH_MAX, what)
}

/// Reads a list of any values from its constructor on.
pub(crate) fn list(reader: &mut Reader<'_>, code: u8, what: &'static str) -> Result<Vec<Value>, Fault> {
    Values::new().list(reader, code, DEPTH_MAX, what)
}
