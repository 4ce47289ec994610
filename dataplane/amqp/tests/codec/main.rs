//! The codec against hand-written bytes, against an independent implementation, and against noise.

mod messages;
mod noise;
mod performatives;
mod strategies;
mod transactions;
mod values;

use bytes::{Bytes, BytesMut};

/// Bytes from hexadecimal digits and quoted text, as the figures of the specification are written:
/// `"a1 03 'URL'"`.
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

/// What `encode` appends, as bytes of its own.
fn written(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::from(&b"kept"[..]);
    encode(&mut out);
    assert!(out.starts_with(b"kept"), "encoding appends");
    out.freeze().slice(4..)
}
