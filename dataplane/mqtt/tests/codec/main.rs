//! The codec against hand-written bytes, against itself, and against noise.

mod malformed;
mod noise;
mod round_trips;
mod strategies;
mod written;

use bytes::{Bytes, BytesMut};
use mq_mqtt::codec::{DecodeError, decode, next_packet};
use mq_mqtt::packet::Packet;
use mq_mqtt::{Limits, Version};

/// A packet with its fixed header.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    while length >= 0x80 {
        packet.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    packet.push(length as u8);
    packet.extend_from_slice(body);
    packet
}

/// The packet at the start of the bytes, which has to be whole.
fn read(bytes: &[u8], version: Version) -> Result<Packet, DecodeError> {
    let raw = next_packet(&mut BytesMut::from(bytes), u32::MAX)?;
    decode(raw.expect("a whole packet"), version, &Limits::default())
}

/// Bytes from hexadecimal digits and quoted text, as the figures of the specification are written:
/// `"00 04 'MQTT' 05"`.
fn hex(figure: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    for (position, part) in figure.split('\'').enumerate() {
        if position % 2 == 1 {
            bytes.extend_from_slice(part.as_bytes());
            continue;
        }
        for digits in part.split_whitespace() {
            bytes.extend_from_slice(&[u8::from_str_radix(digits, 16).expect("two hexadecimal digits")]);
        }
    }
    bytes.freeze()
}
