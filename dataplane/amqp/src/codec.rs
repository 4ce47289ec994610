//! Performatives, SASL frames and values as bytes (AMQP part 1), and back.
//!
//! Decoding trusts nothing: every length is checked before it is used, every count against the bytes that
//! are there, and nesting has a limit. What it accepts it accepts in every encoding that AMQP 1.0 defines.
//! Encoding writes the smallest of them.

pub(crate) mod constructor;
mod decode;
pub(crate) mod encode;
mod error;
pub(crate) mod reader;
pub(crate) mod values;

pub(crate) use self::error::{Fault, fault};
pub use self::{
    decode::{SYMBOLS_MAX, UNSETTLED_MAX, decode_performative, decode_sasl, decode_value},
    encode::{
        encode_attach, encode_begin, encode_close, encode_detach, encode_disposition, encode_end,
        encode_flow, encode_open, encode_performative, encode_sasl, encode_state, encode_transfer,
        encode_value,
    },
    error::DecodeError,
    reader::{DEPTH_MAX, ZERO_WIDTH_ELEMENTS_MAX},
    values::VALUES_MAX,
};
