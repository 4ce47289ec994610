//! Values: the figures of the specification, every constructor, the limits, and `serde_amqp` as a second
//! opinion.

use bytes::Bytes;
use mq_amqp::{
    codec::{DEPTH_MAX, DecodeError, VALUES_MAX, ZERO_WIDTH_ELEMENTS_MAX, decode_value, encode_value},
    value::{Array, Kind, Symbol, Value},
};
use proptest::prelude::*;
use serde_amqp::{
    described::Described, descriptor::Descriptor, primitives::OrderedMap, value::Value as Theirs,
};

use crate::{hex, strategies, written};

fn decode(bytes: &Bytes) -> Result<Value, DecodeError> {
    let mut rest = bytes.clone();
    let value = decode_value(&mut rest)?;
    assert!(rest.is_empty(), "{} bytes left over", rest.len());
    Ok(value)
}

fn encode(value: &Value) -> Bytes {
    written(|out| encode_value(out, value))
}

fn strings(elements: &[&str]) -> Vec<Value> {
    elements.iter().map(|&element| Value::from(element)).collect()
}

/// The figures of AMQP 1.2 to 1.4, in the encoding the specification shows and this crate writes.
#[test]
fn the_figures_of_part_one_decode_and_encode_as_printed() {
    let book = Value::described(
        Value::Symbol("example:book:list".into()),
        Value::List(vec![
            "AMQP for & by Dummies".into(),
            Value::Array(
                Array::new(Kind::String, strings(&["Rob J. Godfrey", "Rafael H. Schloming"])).unwrap(),
            ),
            Value::Null,
        ]),
    );
    let url = Value::described("URL".into(), "http://example.org/hello-world".into());
    for (figure, value) in [
        ("a1 1e 'Hello Glorious Messaging World'", "Hello Glorious Messaging World".into()),
        ("00 a1 03 'URL' a1 1e 'http://example.org/hello-world'", url),
        (
            "00 a3 11 'example:book:list' c0 40 03 a1 15 'AMQP for & by Dummies' \
             e0 25 02 a1 0e 'Rob J. Godfrey' 13 'Rafael H. Schloming' 40",
            book,
        ),
    ] {
        assert_eq!(decode(&hex(figure)), Ok(value.clone()), "{figure}");
        assert_eq!(encode(&value), hex(figure), "{figure}");
    }
}

/// AMQP 1.6, each constructor with what it stands for; those marked are what this crate writes.
#[test]
fn every_constructor_decodes_and_the_smallest_is_written() {
    let uints = |elements: &[u32]| {
        Value::Array(Array::new(Kind::UInt, elements.iter().map(|&e| e.into()).collect()).unwrap())
    };
    let written = true;
    let read = false;
    for (figure, value, direction) in [
        ("40", Value::Null, written),
        ("41", Value::Boolean(true), written),
        ("42", Value::Boolean(false), written),
        ("56 01", Value::Boolean(true), read),
        ("56 00", Value::Boolean(false), read),
        ("50 ff", Value::UByte(255), written),
        ("60 01 02", Value::UShort(258), written),
        ("43", Value::UInt(0), written),
        ("52 00", Value::UInt(0), read),
        ("52 ff", Value::UInt(255), written),
        ("70 00 00 00 ff", Value::UInt(255), read),
        ("70 00 00 01 00", Value::UInt(256), written),
        ("44", Value::ULong(0), written),
        ("53 ff", Value::ULong(255), written),
        ("80 00 00 00 00 00 00 00 01", Value::ULong(1), read),
        ("80 00 00 00 00 00 00 01 00", Value::ULong(256), written),
        ("51 80", Value::Byte(-128), written),
        ("61 ff fe", Value::Short(-2), written),
        ("54 80", Value::Int(-128), written),
        ("71 ff ff ff 7f", Value::Int(-129), written),
        ("71 00 00 00 01", Value::Int(1), read),
        ("55 7f", Value::Long(127), written),
        ("81 00 00 00 00 00 00 00 80", Value::Long(128), written),
        ("72 3f 80 00 00", Value::Float(1.0), written),
        ("82 c0 00 00 00 00 00 00 00", Value::Double(-2.0), written),
        ("74 22 50 00 01", Value::Decimal32([0x22, 0x50, 0, 1]), written),
        ("84 01 02 03 04 05 06 07 08", Value::Decimal64([1, 2, 3, 4, 5, 6, 7, 8]), written),
        (
            "94 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 09",
            Value::Decimal128({
                let mut b = [0; 16];
                b[15] = 9;
                b
            }),
            written,
        ),
        ("73 00 01 f6 00", Value::Char('\u{1f600}'), written),
        ("83 ff ff ff ff ff ff ff ff", Value::Timestamp(-1), written),
        (
            "98 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f",
            Value::Uuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
            written,
        ),
        ("a0 02 00 ff", Value::Binary(Bytes::from_static(&[0, 255])), written),
        ("b0 00 00 00 02 00 ff", Value::Binary(Bytes::from_static(&[0, 255])), read),
        ("a1 02 c3 a9", "é".into(), written),
        ("b1 00 00 00 02 c3 a9", "é".into(), read),
        ("a3 01 'a'", Value::Symbol(Symbol::from_static("a")), written),
        ("b3 00 00 00 01 'a'", Value::Symbol(Symbol::from_static("a")), read),
        ("45", Value::List(vec![]), written),
        ("c0 01 00", Value::List(vec![]), read),
        ("d0 00 00 00 04 00 00 00 00", Value::List(vec![]), read),
        ("c0 03 02 41 40", Value::List(vec![true.into(), Value::Null]), written),
        ("d0 00 00 00 06 00 00 00 02 41 40", Value::List(vec![true.into(), Value::Null]), read),
        ("c1 01 00", Value::Map(vec![]), written),
        ("c1 05 02 a3 01 'a' 43", Value::Map(vec![(Symbol::from_static("a").into(), 0_u32.into())]), written),
        ("d1 00 00 00 06 00 00 00 02 41 40", Value::Map(vec![(true.into(), Value::Null)]), read),
        ("e0 0a 02 70 00 00 00 01 00 00 00 02", uints(&[1, 2]), written),
        ("e0 04 02 52 01 02", uints(&[1, 2]), read),
        ("f0 00 00 00 07 00 00 00 02 52 01 02", uints(&[1, 2]), read),
        ("e0 02 03 43", uints(&[0, 0, 0]), read),
        ("e0 02 00 70", uints(&[]), written),
        (
            "e0 02 02 41",
            Value::Array(Array::new(Kind::Boolean, vec![true.into(), true.into()]).unwrap()),
            read,
        ),
        (
            "e0 04 02 56 01 00",
            Value::Array(Array::new(Kind::Boolean, vec![true.into(), false.into()]).unwrap()),
            written,
        ),
        ("e0 02 02 45", Value::Array(Array::new(Kind::List, vec![Value::List(vec![]); 2]).unwrap()), read),
        (
            "e0 06 02 c0 01 00 01 00",
            Value::Array(Array::new(Kind::List, vec![Value::List(vec![]); 2]).unwrap()),
            read,
        ),
        (
            "e0 05 01 00 53 09 40",
            Value::Array(Array::new(Kind::Null, vec![Value::Null]).unwrap().described(9_u64.into())),
            written,
        ),
        (
            "00 53 09 00 44 40",
            Value::described(9_u64.into(), Value::described(0_u64.into(), Value::Null)),
            written,
        ),
    ] {
        assert_eq!(decode(&hex(figure)), Ok(value.clone()), "{figure}");
        if direction == written {
            assert_eq!(encode(&value), hex(figure), "{figure}");
        }
    }
}

#[test]
fn codes_that_amqp_does_not_define_are_refused() {
    let defined = [
        0x00, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x60, 0x61, 0x70,
        0x71, 0x72, 0x73, 0x74, 0x80, 0x81, 0x82, 0x83, 0x84, 0x94, 0x98, 0xa0, 0xa1, 0xa3, 0xb0, 0xb1, 0xb3,
        0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0,
    ];
    for code in 0..=255_u8 {
        let mut bytes = vec![0; 40];
        bytes[0] = code;
        let refused =
            matches!(decode_value(&mut bytes.into()), Err(DecodeError::UnknownConstructor { offset: 0, .. }));
        assert_eq!(refused, !defined.contains(&code), "{code:#04x}");
    }
}

#[test]
fn a_compound_whose_size_cannot_hold_its_count_is_refused() {
    for figure in ["c0 00", "c1 00", "e0 00", "c0 00 00", "d0 00 00 00 03 00 00 00 00", "f0 00 00 00 00"] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::Truncated { .. })), "{figure}");
    }
    // An array that ends before the constructor of its elements.
    assert!(matches!(decode(&hex("e0 01 00 40")), Err(DecodeError::Truncated { .. })));
}

#[test]
fn a_value_must_not_leave_the_compound_it_is_in() {
    // The string says five bytes, the list holds two of them.
    assert!(matches!(decode(&hex("c0 05 01 a1 05 'ab' 'cde'")), Err(DecodeError::Truncated { .. })));
}

#[test]
fn a_compound_with_bytes_behind_its_last_element_is_refused() {
    for figure in ["c0 03 01 40 40", "c1 04 02 40 40 40", "e0 04 01 50 01 02"] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::LeftOver { count: 1, .. })), "{figure}");
    }
}

#[test]
fn a_count_larger_than_the_bytes_is_refused_before_anything_is_allocated() {
    for figure in [
        "d0 00 00 00 05 ff ff ff ff 40",
        "d1 00 00 00 05 ff ff ff fe 40",
        "f0 00 00 00 06 ff ff ff ff 50 01",
        "b0 ff ff ff ff 00",
    ] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::Truncated { .. })), "{figure}");
    }
}

#[test]
fn four_billion_elements_of_no_bytes_are_refused() {
    for code in ["40", "41", "42", "43", "44", "45"] {
        let figure = format!("f0 00 00 00 05 ff ff ff ff {code}");
        assert!(
            matches!(decode(&hex(&figure)), Err(DecodeError::TooMany { count: u32::MAX, .. })),
            "{figure}"
        );
    }
}

#[test]
fn elements_of_no_bytes_are_allowed_up_to_the_limit() {
    let array = |count: u32| {
        let mut bytes = vec![0xf0, 0, 0, 0, 5];
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.push(0x43);
        decode(&bytes.into())
    };
    assert!(array(ZERO_WIDTH_ELEMENTS_MAX).is_ok());
    assert!(matches!(array(ZERO_WIDTH_ELEMENTS_MAX + 1), Err(DecodeError::TooMany { .. })));
}

#[test]
fn an_odd_map_is_refused() {
    assert!(matches!(decode(&hex("c1 04 03 40 40 40")), Err(DecodeError::OddMap { count: 3, .. })));
}

#[test]
fn scalars_outside_their_range_are_refused() {
    // Neither 0 nor 1; a surrogate; beyond the last scalar.
    for figure in ["56 02", "73 00 00 d8 00", "73 00 11 00 00"] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::OutOfRange { .. })), "{figure}");
    }
    for figure in ["a1 01 ff", "a3 02 c3 a9"] {
        assert!(matches!(decode(&hex(figure)), Err(DecodeError::NotText { offset: 1, .. })), "{figure}");
    }
}

/// `levels` constructors of 5 bytes, one inside the other, around a null.
fn nested(levels: u32, wrap: impl Fn(Vec<u8>) -> Vec<u8>) -> Bytes {
    (0..levels).fold(vec![0x40], |inner, _| wrap(inner)).into()
}

fn in_list(inner: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(inner.len() + 4).unwrap();
    [&[0xd0][..], &size.to_be_bytes(), &[0, 0, 0, 1], &inner].concat()
}

fn in_map(inner: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(inner.len() + 5).unwrap();
    [&[0xd1][..], &size.to_be_bytes(), &[0, 0, 0, 2, 0x40], &inner].concat()
}

fn in_description(inner: Vec<u8>) -> Vec<u8> {
    [&[0x00, 0x44][..], &inner].concat()
}

#[test]
fn nesting_ends_at_the_limit_and_never_in_the_stack() {
    for wrap in [in_list, in_map, in_description] {
        assert!(decode(&nested(DEPTH_MAX, wrap)).is_ok());
        let limit = DEPTH_MAX;
        let deeper = decode(&nested(limit + 1, wrap));
        assert!(matches!(deeper, Err(DecodeError::TooDeep { limit: DEPTH_MAX, .. })));
    }
    // As deep as a large frame allows, with descriptors of descriptors and arrays of described elements.
    for code in [0x00, 0xc0, 0xf0] {
        assert!(decode_value(&mut vec![code; 1 << 20].into()).is_err());
    }
    assert!(decode(&nested(10_000, in_list)).is_err());
}

#[test]
fn an_empty_list_is_a_level_in_each_of_its_encodings() {
    for empty in ["45", "c0 01 00", "d0 00 00 00 04 00 00 00 00"] {
        let nested = |levels: u32| {
            let innermost = hex(empty).to_vec();
            decode(&(0..levels).fold(innermost, |inner, _| in_description(inner)).into())
        };
        assert!(nested(DEPTH_MAX - 1).is_ok(), "{empty}");
        assert!(matches!(nested(DEPTH_MAX), Err(DecodeError::TooDeep { .. })), "{empty}");
    }
}

#[test]
fn values_are_counted_across_lists() {
    let list = |count: u32| {
        let size = (count + 4).to_be_bytes();
        decode(&[&[0xd0][..], &size, &count.to_be_bytes(), &vec![0x40; count as usize]].concat().into())
    };
    // The list itself is one of them.
    assert!(list(VALUES_MAX - 1).is_ok());
    assert!(matches!(list(VALUES_MAX), Err(DecodeError::TooMany { limit: VALUES_MAX, .. })));
}

#[test]
fn lists_and_strings_widen_at_256_bytes() {
    for length in [254, 255, 256, 257, 70_000] {
        let text = Value::from("x".repeat(length).as_str());
        assert_eq!(encode(&text)[0], if length < 256 { 0xa1 } else { 0xb1 });
        assert_eq!(decode(&encode(&text)), Ok(text));

        let list = Value::List(vec![Value::Null; length]);
        // The size counts the count.
        assert_eq!(encode(&list)[0], if length < 255 { 0xc0 } else { 0xd0 });
        if length < VALUES_MAX as usize {
            assert_eq!(decode(&encode(&list)), Ok(list));
        }
    }
}

#[test]
fn a_symbol_made_here_with_foreign_letters_still_is_a_symbol_on_the_wire() {
    let bytes = encode(&Value::Symbol("grün".into()));
    assert_eq!(decode(&bytes), Ok(Value::Symbol("gr?n".into())));
}

#[test]
fn decode_value_leaves_what_follows_and_consumes_nothing_on_error() {
    let mut bytes = hex("52 07 41");
    assert_eq!(decode_value(&mut bytes), Ok(Value::UInt(7)));
    assert_eq!(bytes, hex("41"));
    let mut bytes = hex("a1 07 'short'");
    assert!(decode_value(&mut bytes).is_err());
    assert_eq!(bytes, hex("a1 07 'short'"));
}

/// The same value in the types of `serde_amqp`; `None` for what that crate cannot express.
pub(crate) fn theirs(value: &Value) -> Option<Theirs> {
    Some(match value {
        Value::Null => Theirs::Null,
        Value::Boolean(v) => Theirs::Bool(*v),
        Value::UByte(v) => Theirs::Ubyte(*v),
        Value::UShort(v) => Theirs::Ushort(*v),
        Value::UInt(v) => Theirs::Uint(*v),
        Value::ULong(v) => Theirs::Ulong(*v),
        Value::Byte(v) => Theirs::Byte(*v),
        Value::Short(v) => Theirs::Short(*v),
        Value::Int(v) => Theirs::Int(*v),
        Value::Long(v) => Theirs::Long(*v),
        Value::Float(v) => Theirs::Float((*v).into()),
        Value::Double(v) => Theirs::Double((*v).into()),
        Value::Decimal32(v) => Theirs::Decimal32((*v).into()),
        Value::Decimal64(v) => Theirs::Decimal64((*v).into()),
        Value::Decimal128(v) => Theirs::Decimal128((*v).into()),
        Value::Char(v) => Theirs::Char(*v),
        Value::Timestamp(v) => Theirs::Timestamp((*v).into()),
        Value::Uuid(v) => Theirs::Uuid((*v).into()),
        Value::Binary(v) => Theirs::Binary(v.to_vec().into()),
        Value::String(v) => Theirs::String(v.as_str().to_owned()),
        Value::Symbol(v) => Theirs::Symbol(v.as_str().into()),
        Value::List(v) => Theirs::List(v.iter().map(theirs).collect::<Option<_>>()?),
        Value::Map(v) => {
            let mut map = OrderedMap::new();
            for (key, value) in v {
                map.insert(theirs(key)?, theirs(value)?);
            }
            Theirs::Map(map)
        }
        // It knows no descriptors in arrays, miscounts nulls and compounds in them, and writes an empty one without the
        // constructor of its elements.
        Value::Array(v)
            if v.descriptors().is_empty()
                && !v.elements().is_empty()
                && !matches!(v.kind(), Kind::Null | Kind::List | Kind::Map | Kind::Array) =>
        {
            Theirs::Array(v.elements().iter().map(theirs).collect::<Option<Vec<_>>>()?.into())
        }
        Value::Array(_) => return None,
        Value::Described(v) => {
            let descriptor = match &v.0 {
                Value::ULong(code) => Descriptor::Code(*code),
                Value::Symbol(name) => Descriptor::Name(name.as_str().into()),
                _ => return None,
            };
            Theirs::Described(Box::new(Described { descriptor, value: theirs(&v.1)? }))
        }
    })
}

proptest! {
    #[test]
    fn values_round_trip(value in strategies::value()) {
        prop_assert_eq!(decode(&encode(&value)), Ok(value));
    }

    #[test]
    fn a_prefix_of_a_value_is_an_error(value in strategies::value()) {
        let bytes = encode(&value);
        for length in 0..bytes.len() {
            prop_assert!(decode_value(&mut bytes.slice(..length)).is_err(), "{} of {}", length, bytes.len());
        }
    }

    #[test]
    fn serde_amqp_reads_what_we_write(value in strategies::value()) {
        if let Some(expected) = theirs(&value) {
            let read: Theirs = serde_amqp::from_slice(&encode(&value)).expect("readable");
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn we_read_what_serde_amqp_writes(
        value in prop_oneof![5 => strategies::value(), 1 => strategies::plain_array()],
    ) {
        if let (Some(written), false) = (theirs(&value), is_miswritten(&value)) {
            let bytes = serde_amqp::to_vec(&written).expect("writable");
            let read = decode(&bytes.into());
            prop_assert_eq!(read.as_ref().ok().and_then(theirs), Some(written), "{:?}", read);
        }
    }
}

/// What `serde_amqp` does not write as AMQP wants it: it counts characters where the strings of an array
/// want bytes, and the type of a key in a map rubs off on the value.
fn is_miswritten(value: &Value) -> bool {
    match value {
        Value::Array(array) => array
            .elements()
            .iter()
            .any(|element| matches!(element, Value::String(text) if !text.as_str().is_ascii())),
        Value::List(elements) => elements.iter().any(is_miswritten),
        Value::Map(pairs) => {
            pairs.iter().any(|(key, value)| !matches!(key, Value::String(_)) || is_miswritten(value))
        }
        Value::Described(described) => is_miswritten(&described.1),
        _ => false,
    }
}
