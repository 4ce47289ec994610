//! The constructors (AMQP 1.2, 1.6) and descriptors (AMQP 2.7 to 5.3) as they stand on the wire.

use crate::value::Kind;

pub(crate) const DESCRIBED: u8 = 0x00;
pub(crate) const NULL: u8 = 0x40;
pub(crate) const TRUE: u8 = 0x41;
pub(crate) const FALSE: u8 = 0x42;
pub(crate) const UINT_0: u8 = 0x43;
pub(crate) const ULONG_0: u8 = 0x44;
pub(crate) const LIST_0: u8 = 0x45;
pub(crate) const UBYTE: u8 = 0x50;
pub(crate) const BYTE: u8 = 0x51;
pub(crate) const SMALL_UINT: u8 = 0x52;
pub(crate) const SMALL_ULONG: u8 = 0x53;
pub(crate) const SMALL_INT: u8 = 0x54;
pub(crate) const SMALL_LONG: u8 = 0x55;
pub(crate) const BOOLEAN: u8 = 0x56;
pub(crate) const USHORT: u8 = 0x60;
pub(crate) const SHORT: u8 = 0x61;
pub(crate) const UINT: u8 = 0x70;
pub(crate) const INT: u8 = 0x71;
pub(crate) const FLOAT: u8 = 0x72;
pub(crate) const CHAR: u8 = 0x73;
pub(crate) const DECIMAL_32: u8 = 0x74;
pub(crate) const ULONG: u8 = 0x80;
pub(crate) const LONG: u8 = 0x81;
pub(crate) const DOUBLE: u8 = 0x82;
pub(crate) const TIMESTAMP: u8 = 0x83;
pub(crate) const DECIMAL_64: u8 = 0x84;
pub(crate) const DECIMAL_128: u8 = 0x94;
pub(crate) const UUID: u8 = 0x98;
pub(crate) const BINARY_8: u8 = 0xa0;
pub(crate) const STRING_8: u8 = 0xa1;
pub(crate) const SYMBOL_8: u8 = 0xa3;
pub(crate) const BINARY_32: u8 = 0xb0;
pub(crate) const STRING_32: u8 = 0xb1;
pub(crate) const SYMBOL_32: u8 = 0xb3;
pub(crate) const LIST_8: u8 = 0xc0;
pub(crate) const MAP_8: u8 = 0xc1;
pub(crate) const LIST_32: u8 = 0xd0;
pub(crate) const MAP_32: u8 = 0xd1;
pub(crate) const ARRAY_8: u8 = 0xe0;
pub(crate) const ARRAY_32: u8 = 0xf0;

/// What separates a constructor with sizes of 8 bits from its twin with 32 (AMQP 1.2: categories a and b,
/// c and d, e and f).
pub(crate) const WIDE: u8 = 0x10;

/// The type a constructor stands for; `None` when AMQP 1.0 defines no such constructor.
pub(crate) fn kind(code: u8) -> Option<Kind> {
    Some(match code {
        NULL => Kind::Null,
        TRUE | FALSE | BOOLEAN => Kind::Boolean,
        UBYTE => Kind::UByte,
        USHORT => Kind::UShort,
        UINT_0 | SMALL_UINT | UINT => Kind::UInt,
        ULONG_0 | SMALL_ULONG | ULONG => Kind::ULong,
        BYTE => Kind::Byte,
        SHORT => Kind::Short,
        SMALL_INT | INT => Kind::Int,
        SMALL_LONG | LONG => Kind::Long,
        FLOAT => Kind::Float,
        DOUBLE => Kind::Double,
        DECIMAL_32 => Kind::Decimal32,
        DECIMAL_64 => Kind::Decimal64,
        DECIMAL_128 => Kind::Decimal128,
        CHAR => Kind::Char,
        TIMESTAMP => Kind::Timestamp,
        UUID => Kind::Uuid,
        BINARY_8 | BINARY_32 => Kind::Binary,
        STRING_8 | STRING_32 => Kind::String,
        SYMBOL_8 | SYMBOL_32 => Kind::Symbol,
        LIST_0 | LIST_8 | LIST_32 => Kind::List,
        MAP_8 | MAP_32 => Kind::Map,
        ARRAY_8 | ARRAY_32 => Kind::Array,
        _ => return None,
    })
}

/// Whether values behind this constructor take no bytes at all.
pub(crate) fn is_zero_width(code: u8) -> bool {
    matches!(code, NULL | TRUE | FALSE | UINT_0 | ULONG_0 | LIST_0)
}

/// Descriptors by their numeric code in the domain of AMQP itself (0x00000000).
pub(crate) mod descriptor {
    /// Stands for every descriptor not in this list; code 0 is assigned to nothing.
    pub(crate) const UNKNOWN: u64 = 0;
    pub(crate) const OPEN: u64 = 0x10;
    pub(crate) const BEGIN: u64 = 0x11;
    pub(crate) const ATTACH: u64 = 0x12;
    pub(crate) const FLOW: u64 = 0x13;
    pub(crate) const TRANSFER: u64 = 0x14;
    pub(crate) const DISPOSITION: u64 = 0x15;
    pub(crate) const DETACH: u64 = 0x16;
    pub(crate) const END: u64 = 0x17;
    pub(crate) const CLOSE: u64 = 0x18;
    pub(crate) const ERROR: u64 = 0x1d;
    pub(crate) const RECEIVED: u64 = 0x23;
    pub(crate) const ACCEPTED: u64 = 0x24;
    pub(crate) const REJECTED: u64 = 0x25;
    pub(crate) const RELEASED: u64 = 0x26;
    pub(crate) const MODIFIED: u64 = 0x27;
    pub(crate) const SOURCE: u64 = 0x28;
    pub(crate) const TARGET: u64 = 0x29;
    pub(crate) const COORDINATOR: u64 = 0x30;
    pub(crate) const DECLARE: u64 = 0x31;
    pub(crate) const DISCHARGE: u64 = 0x32;
    pub(crate) const DECLARED: u64 = 0x33;
    pub(crate) const TRANSACTIONAL_STATE: u64 = 0x34;
    pub(crate) const SASL_MECHANISMS: u64 = 0x40;
    pub(crate) const SASL_INIT: u64 = 0x41;
    pub(crate) const SASL_CHALLENGE: u64 = 0x42;
    pub(crate) const SASL_RESPONSE: u64 = 0x43;
    pub(crate) const SASL_OUTCOME: u64 = 0x44;
    pub(crate) const HEADER: u64 = 0x70;
    pub(crate) const DELIVERY_ANNOTATIONS: u64 = 0x71;
    pub(crate) const MESSAGE_ANNOTATIONS: u64 = 0x72;
    pub(crate) const PROPERTIES: u64 = 0x73;
    pub(crate) const APPLICATION_PROPERTIES: u64 = 0x74;
    pub(crate) const DATA: u64 = 0x75;
    pub(crate) const SEQUENCE: u64 = 0x76;
    pub(crate) const VALUE: u64 = 0x77;
    pub(crate) const FOOTER: u64 = 0x78;

    /// Every symbolic descriptor that has a numeric twin above.
    const NAMES: [(&str, u64); 36] = [
        ("amqp:open:list", OPEN),
        ("amqp:begin:list", BEGIN),
        ("amqp:attach:list", ATTACH),
        ("amqp:flow:list", FLOW),
        ("amqp:transfer:list", TRANSFER),
        ("amqp:disposition:list", DISPOSITION),
        ("amqp:detach:list", DETACH),
        ("amqp:end:list", END),
        ("amqp:close:list", CLOSE),
        ("amqp:error:list", ERROR),
        ("amqp:received:list", RECEIVED),
        ("amqp:accepted:list", ACCEPTED),
        ("amqp:rejected:list", REJECTED),
        ("amqp:released:list", RELEASED),
        ("amqp:modified:list", MODIFIED),
        ("amqp:source:list", SOURCE),
        ("amqp:target:list", TARGET),
        ("amqp:coordinator:list", COORDINATOR),
        ("amqp:declare:list", DECLARE),
        ("amqp:discharge:list", DISCHARGE),
        ("amqp:declared:list", DECLARED),
        ("amqp:transactional-state:list", TRANSACTIONAL_STATE),
        ("amqp:sasl-mechanisms:list", SASL_MECHANISMS),
        ("amqp:sasl-init:list", SASL_INIT),
        ("amqp:sasl-challenge:list", SASL_CHALLENGE),
        ("amqp:sasl-response:list", SASL_RESPONSE),
        ("amqp:sasl-outcome:list", SASL_OUTCOME),
        ("amqp:header:list", HEADER),
        ("amqp:delivery-annotations:map", DELIVERY_ANNOTATIONS),
        ("amqp:message-annotations:map", MESSAGE_ANNOTATIONS),
        ("amqp:properties:list", PROPERTIES),
        ("amqp:application-properties:map", APPLICATION_PROPERTIES),
        ("amqp:data:binary", DATA),
        ("amqp:amqp-sequence:list", SEQUENCE),
        ("amqp:amqp-value:*", VALUE),
        ("amqp:footer:map", FOOTER),
    ];

    /// The numeric twin of a symbolic descriptor, or [`UNKNOWN`].
    pub(crate) fn by_name(name: &[u8]) -> u64 {
        NAMES.iter().find(|(known, _)| known.as_bytes() == name).map_or(UNKNOWN, |&(_, code)| code)
    }

    /// The static copy of a name that peers send often (as an outcome), so that keeping it takes no memory.
    pub(crate) fn known_name(name: &str) -> Option<&'static str> {
        NAMES.iter().map(|&(known, _)| known).find(|known| *known == name)
    }
}
