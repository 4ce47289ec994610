//! AMQP values as JSON that keeps their types, and back.
//!
//! Strings, booleans and null are themselves; everything else is an object whose one key names the type.

use base64::{Engine, prelude::BASE64_STANDARD};
use fe2o3_amqp::types::primitives::{Binary, OrderedMap, SimpleValue, Symbol, Timestamp, Value as Amqp};
use serde_amqp::{described::Described, descriptor::Descriptor};
use serde_json::{Value, json};

/// An application property: any value but a list, a map or an array (AMQP 3.2.5).
pub fn simple(value: Amqp) -> Result<SimpleValue, String> {
    SimpleValue::try_from(value).map_err(|_| "lists, maps and arrays are not allowed here".into())
}

/// A value with its type (`mq help records`).
pub fn value_to_json(value: &Amqp) -> Value {
    match value {
        Amqp::Null => Value::Null,
        Amqp::Bool(value) => (*value).into(),
        Amqp::String(value) => value.clone().into(),
        Amqp::Ubyte(value) => json!({ "u8": value }),
        Amqp::Ushort(value) => json!({ "u16": value }),
        Amqp::Uint(value) => json!({ "u32": value }),
        Amqp::Ulong(value) => json!({ "u64": value }),
        Amqp::Byte(value) => json!({ "i8": value }),
        Amqp::Short(value) => json!({ "i16": value }),
        Amqp::Int(value) => json!({ "i32": value }),
        Amqp::Long(value) => json!({ "i64": value }),
        Amqp::Float(value) => json!({ "f32": float_to_json(f64::from(value.0)) }),
        Amqp::Double(value) => json!({ "f64": float_to_json(value.0) }),
        Amqp::Decimal32(value) => json!({ "decimal32": BASE64_STANDARD.encode(value.clone().into_inner()) }),
        Amqp::Decimal64(value) => json!({ "decimal64": BASE64_STANDARD.encode(value.clone().into_inner()) }),
        Amqp::Decimal128(value) => {
            json!({ "decimal128": BASE64_STANDARD.encode(value.clone().into_inner()) })
        }
        Amqp::Char(value) => json!({ "char": value.to_string() }),
        Amqp::Timestamp(value) => json!({ "timestamp": value.clone().into_inner() }),
        Amqp::Uuid(value) => {
            json!({ "uuid": uuid::Uuid::from_bytes(value.clone().into_inner()).to_string() })
        }
        Amqp::Binary(value) => json!({ "binary": BASE64_STANDARD.encode(value) }),
        Amqp::Symbol(value) => json!({ "symbol": value.0 }),
        Amqp::List(items) => json!({ "list": items.iter().map(value_to_json).collect::<Vec<_>>() }),
        Amqp::Array(items) => json!({ "array": items.0.iter().map(value_to_json).collect::<Vec<_>>() }),
        Amqp::Map(map) => {
            let pair = |(key, value): (&Amqp, &Amqp)| json!([value_to_json(key), value_to_json(value)]);
            json!({ "map": map.iter().map(pair).collect::<Vec<_>>() })
        }
        Amqp::Described(described) => {
            let descriptor = match &described.descriptor {
                Descriptor::Name(name) => json!({ "symbol": name.0 }),
                Descriptor::Code(code) => json!({ "u64": code }),
            };
            json!({ "described": [descriptor, value_to_json(&described.value)] })
        }
    }
}

/// JSON has no infinity and no NaN: they are words.
fn float_to_json(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

/// The AMQP value of a JSON value: an object with one key names its type; a bare whole number is an
/// `i64`, another number an `f64`, an array a list.
pub fn value_from_json(value: &Value) -> Result<Amqp, String> {
    match value {
        Value::Null => Ok(Amqp::Null),
        Value::Bool(value) => Ok(Amqp::Bool(*value)),
        Value::String(value) => Ok(Amqp::String(value.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Ok(Amqp::Long(number)),
            (None, Some(number)) => Ok(Amqp::Ulong(number)),
            (None, None) => Ok(Amqp::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::Array(_) => Ok(Amqp::List(list_from_json(value)?)),
        Value::Object(map) => match map.iter().next() {
            Some((kind, value)) if map.len() == 1 => {
                typed(kind, value).map_err(|why| format!("{{\"{kind}\": ..}}: {why}"))
            }
            _ => Err("an object must have one key, its type; see `mq help records`".into()),
        },
    }
}

fn typed(kind: &str, value: &Value) -> Result<Amqp, String> {
    match kind {
        "u8" => Ok(Amqp::Ubyte(unsigned(value)?)),
        "u16" => Ok(Amqp::Ushort(unsigned(value)?)),
        "u32" => Ok(Amqp::Uint(unsigned(value)?)),
        "u64" => Ok(Amqp::Ulong(unsigned(value)?)),
        "i8" => Ok(Amqp::Byte(signed(value)?)),
        "i16" => Ok(Amqp::Short(signed(value)?)),
        "i32" => Ok(Amqp::Int(signed(value)?)),
        "i64" => Ok(Amqp::Long(signed(value)?)),
        // The nearest f32, as every conversion of a decimal number to one is.
        "f32" => Ok(Amqp::from(float(value)? as f32)),
        "f64" => Ok(Amqp::from(float(value)?)),
        "decimal32" => Ok(Amqp::Decimal32(fixed::<4>(value)?.into())),
        "decimal64" => Ok(Amqp::Decimal64(fixed::<8>(value)?.into())),
        "decimal128" => Ok(Amqp::Decimal128(fixed::<16>(value)?.into())),
        "char" => {
            let mut letters = text(value)?.chars();
            match (letters.next(), letters.next()) {
                (Some(letter), None) => Ok(Amqp::Char(letter)),
                _ => Err("must be one character".into()),
            }
        }
        "timestamp" => Ok(Amqp::Timestamp(Timestamp::from(signed::<i64>(value)?))),
        "uuid" => {
            let uuid: uuid::Uuid = text(value)?.parse().map_err(|_| "must be a UUID")?;
            Ok(Amqp::Uuid(uuid.into_bytes().into()))
        }
        "binary" => Ok(Amqp::Binary(Binary::from(unbase64(text(value)?)?))),
        "str" => Ok(Amqp::String(text(value)?.to_owned())),
        "symbol" => Ok(Amqp::Symbol(symbol(text(value)?)?)),
        "list" => Ok(Amqp::List(list_from_json(value)?)),
        "array" => array(list_from_json(value)?),
        "map" => map_from_json(value),
        "described" => described(value),
        _ => Err("unknown type; see `mq help records`".into()),
    }
}

pub(crate) fn list_from_json(value: &Value) -> Result<Vec<Amqp>, String> {
    value.as_array().ok_or("must be an array")?.iter().map(value_from_json).collect()
}

/// The items of an array have one type (AMQP 1.6.24).
fn array(items: Vec<Amqp>) -> Result<Amqp, String> {
    let mut types = items.iter().map(std::mem::discriminant);
    let first = types.next();
    if types.any(|kind| Some(kind) != first) {
        return Err("the items must have one type".into());
    }
    Ok(Amqp::Array(items.into()))
}

fn map_from_json(value: &Value) -> Result<Amqp, String> {
    let mut map = OrderedMap::new();
    for pair in value.as_array().ok_or("must be an array of pairs")? {
        let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
            return Err("must be an array of pairs".into());
        };
        map.insert(value_from_json(key)?, value_from_json(value)?);
    }
    Ok(Amqp::Map(map))
}

fn described(value: &Value) -> Result<Amqp, String> {
    let Some([descriptor, value]) = value.as_array().map(Vec::as_slice) else {
        return Err("must be a pair of a descriptor and a value".into());
    };
    let descriptor = match value_from_json(descriptor)? {
        Amqp::Symbol(name) => Descriptor::Name(name),
        Amqp::Ulong(code) => Descriptor::Code(code),
        _ => return Err("the descriptor must be {\"symbol\": ..} or {\"u64\": ..}".into()),
    };
    Ok(Amqp::Described(Box::new(Described { descriptor, value: value_from_json(value)? })))
}

fn unsigned<T: TryFrom<u64>>(value: &Value) -> Result<T, String> {
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{value} does not fit"))
}

fn signed<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    let number = value.as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("{value} does not fit"))
}

fn float(value: &Value) -> Result<f64, String> {
    let number = value.as_f64().or_else(|| match value.as_str()? {
        "NaN" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    });
    number.ok_or_else(|| "must be a number, \"NaN\", \"inf\" or \"-inf\"".into())
}

fn fixed<const N: usize>(value: &Value) -> Result<[u8; N], String> {
    unbase64(text(value)?)?.try_into().map_err(|_| format!("must be {N} bytes"))
}

fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| "must be a string".into())
}

/// A symbol is ASCII (AMQP 1.6.21).
pub(crate) fn symbol(text: &str) -> Result<Symbol, String> {
    if text.is_ascii() { Ok(Symbol::from(text)) } else { Err(format!("`{text}` is not ASCII")) }
}

pub(crate) fn unbase64(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text).map_err(|error| format!("not base64: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Vec<Value> {
        serde_json::from_str(
            r#"[null, true, "text", {"u8": 255}, {"u16": 65535}, {"u32": 4294967295},
            {"u64": 18446744073709551615}, {"i8": -128}, {"i16": -32768}, {"i32": -2147483648},
            {"i64": -9223372036854775808}, {"f32": 0.5}, {"f64": 0.1}, {"f64": "NaN"}, {"f64": "-inf"},
            {"decimal32": "AAAAAQ=="}, {"char": "ö"}, {"timestamp": -1},
            {"uuid": "67e55044-10b1-426f-9247-bb680e5fe0c8"}, {"binary": "AP8="}, {"symbol": "x"},
            {"list": [{"u8": 1}, "a"]}, {"array": [{"i32": 1}, {"i32": 2}]},
            {"map": [["k", {"u64": 1}], [{"i32": 2}, null]]},
            {"described": [{"symbol": "x:y"}, {"list": []}]}, {"described": [{"u64": 7}, "v"]}]"#,
        )
        .unwrap()
    }

    #[test]
    fn every_type_of_value_comes_back_as_it_was() {
        for value in values() {
            let amqp = value_from_json(&value).unwrap();
            assert_eq!(value_to_json(&amqp), value);
        }
    }
}
