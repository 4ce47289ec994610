//! Packets and their bytes: framing, a strict decoder, an encoder.

mod decode;
mod encode;
mod error;
mod reader;

pub(crate) use decode::decode_publish;
pub use decode::{RawPacket, decode, next_packet, packet_size};
pub use encode::encode;
pub(crate) use encode::*;
pub use error::DecodeError;
pub(crate) use reader::Reader;

use bytes::{BufMut, BytesMut};

/// The largest variable byte integer (1.5.5).
pub const MAX_VARIABLE: u32 = 268_435_455;

/// Writes a variable byte integer of at most [`MAX_VARIABLE`] (1.5.5).
pub(crate) fn write_variable(out: &mut BytesMut, mut value: u32) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

/// Bytes that a variable byte integer takes.
pub(crate) fn variable_size(value: u32) -> usize {
    match value {
        0..=0x7f => 1,
        0x80..=0x3fff => 2,
        0x4000..=0x1f_ffff => 3,
        _ => 4,
    }
}
