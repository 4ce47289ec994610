//! Frames (AMQP 2.3) and protocol headers (AMQP 2.2) in a byte stream.
//!
//! Nothing here looks into a frame's body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The bytes of a frame header without its extension (AMQP 2.3.1).
pub const FRAME_HEADER_SIZE: usize = 8;

/// No peer may announce or be held to less (AMQP 2.7.1, MIN-MAX-FRAME-SIZE).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// What a frame carries (AMQP 2.3.1, the TYPE byte).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    Amqp = 0,
    Sasl = 1,
}

/// A whole frame. An empty body is a heartbeat (AMQP 2.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameKind,
    /// Meaningless in a SASL frame (AMQP 5.3.1).
    pub channel: u16,
    /// The performative and what follows it, as the slice it arrived in.
    pub body: Bytes,
}

/// Why a byte stream is not a sequence of frames. The connection cannot go on: where the next frame
/// starts is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("frame of {size} bytes is smaller than its own header of 8; the peer does not speak AMQP 1.0")]
    TooSmall { size: u32 },
    #[error("frame of {size} bytes exceeds the limit of {limit}; the peer must honour max-frame-size")]
    TooLarge { size: u32, limit: u32 },
    #[error("frame data offset {words} (in words of 4 bytes) lies outside 2 to a frame of {size} bytes")]
    DataOffset { words: u8, size: u32 },
    #[error("frame type {kind} is neither 0 (AMQP) nor 1 (SASL)")]
    UnknownKind { kind: u8 },
}

/// Takes the next whole frame off the front of `input`; `None` when more bytes are needed.
///
/// `max_frame_size` counts the whole frame, its header included (AMQP 2.7.1). A header that cannot
/// belong to an acceptable frame is refused from its first telling byte on, before any of the body is
/// there. An extended header is skipped (AMQP 2.3.1).
pub fn next_frame(input: &mut BytesMut, max_frame_size: u32) -> Result<Option<Frame>, FrameError> {
    let Some(size) = input.first_chunk::<4>().copied().map(u32::from_be_bytes) else { return Ok(None) };
    if (size as usize) < FRAME_HEADER_SIZE {
        return Err(FrameError::TooSmall { size });
    }
    if size > max_frame_size {
        return Err(FrameError::TooLarge { size, limit: max_frame_size });
    }
    let Some(&words) = input.get(4) else { return Ok(None) };
    let data_offset = u32::from(words) * 4;
    if (data_offset as usize) < FRAME_HEADER_SIZE || data_offset > size {
        return Err(FrameError::DataOffset { words, size });
    }
    let kind = match input.get(5) {
        None => return Ok(None),
        Some(0) => FrameKind::Amqp,
        Some(1) => FrameKind::Sasl,
        Some(&kind) => return Err(FrameError::UnknownKind { kind }),
    };
    if input.len() < size as usize {
        return Ok(None);
    }
    let mut body = input.split_to(size as usize).freeze();
    body.advance(6);
    let channel = body.get_u16();
    body.advance(data_offset as usize - FRAME_HEADER_SIZE);
    Ok(Some(Frame { kind, channel, body }))
}

/// Where a frame begins in an output buffer; [`finish_frame`] ends it.
#[derive(Debug)]
#[must_use = "a frame without its size is not a frame"]
pub struct FrameStart {
    offset: usize,
}

/// Writes the header of a frame whose body the caller appends to `out` before [`finish_frame`].
pub fn begin_frame(out: &mut BytesMut, kind: FrameKind, channel: u16) -> FrameStart {
    let start = FrameStart { offset: out.len() };
    let channel = channel.to_be_bytes();
    out.put_slice(&[0, 0, 0, 0, 2, kind as u8, channel[0], channel[1]]);
    start
}

/// Writes the size of the frame begun at `start`, which ends where `out` ends, and returns it in bytes.
///
/// `out` must be the buffer the frame was begun in, with nothing taken from its front since.
pub fn finish_frame(out: &mut BytesMut, start: FrameStart) -> u32 {
    finish_frame_with(out, start, 0)
}

/// Like [`finish_frame`] for a frame of which `extra` more bytes follow in a segment of their own.
///
/// A frame of 4 GiB or more cannot be expressed; no max-frame-size allows one, so the caller has split
/// the payload long before.
pub fn finish_frame_with(out: &mut BytesMut, start: FrameStart, extra: usize) -> u32 {
    let size = (out.len() - start.offset).saturating_add(extra);
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start.offset..).and_then(|frame| frame.first_chunk_mut::<4>()) {
        *field = size.to_be_bytes();
    }
    size
}

/// A frame without a body: a heartbeat (AMQP 2.4.5).
pub const HEARTBEAT: [u8; FRAME_HEADER_SIZE] = [0, 0, 0, 8, 2, 0, 0, 0];

/// What a peer asks for with its first eight bytes (AMQP 2.2, 5.2.1, 5.3.2), version 1.0.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolHeader {
    Amqp,
    /// TLS negotiated inside the connection (AMQP 5.2.1).
    Tls,
    Sasl,
}

/// The peer speaks something else. The answer is our own header, then the end of the connection
/// (AMQP 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the protocol header is {found:#04x}; the peer does not speak AMQP 1.0.0")]
pub struct HeaderMismatch {
    /// The first byte that differs from every header we know.
    pub offset: u8,
    pub found: u8,
}

impl ProtocolHeader {
    /// The bytes of a header.
    pub const SIZE: usize = 8;

    /// The header as it goes over the wire.
    pub const fn encode(self) -> [u8; Self::SIZE] {
        let id = match self {
            Self::Amqp => 0,
            Self::Tls => 2,
            Self::Sasl => 3,
        };
        [b'A', b'M', b'Q', b'P', id, 1, 0, 0]
    }

    /// The header at the front of `input`; `None` while what is there may still become one.
    pub fn parse(input: &[u8]) -> Result<Option<Self>, HeaderMismatch> {
        let header = match input.get(4) {
            Some(2) => Self::Tls,
            Some(3) => Self::Sasl,
            _ => Self::Amqp,
        };
        for (offset, (&found, expected)) in (0..).zip(input.iter().zip(header.encode())) {
            if found != expected {
                return Err(HeaderMismatch { offset, found });
            }
        }
        Ok((input.len() >= Self::SIZE).then_some(header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = 512;

    fn next(bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
        next_frame(&mut BytesMut::from(bytes), MAX)
    }

    #[test]
    fn sizes_below_the_header_are_refused_from_four_bytes_on() {
        for size in 0..8u8 {
            let expected = Err(FrameError::TooSmall { size: size.into() });
            assert_eq!(next(&[0, 0, 0, size]), expected);
            assert_eq!(next(&[0, 0, 0, size, 2, 0, 0, 0]), expected);
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_its_body_arrives() {
        assert_eq!(next(&[0, 0, 2, 1]), Err(FrameError::TooLarge { size: 513, limit: 512 }));
        assert_eq!(next(&[0, 0, 2, 0]), Ok(None));
        assert_eq!(next(&[0xff; 4]), Err(FrameError::TooLarge { size: u32::MAX, limit: 512 }));
    }

    #[test]
    fn data_offset_outside_the_frame_is_refused() {
        for words in [0, 1, 3, 255] {
            assert_eq!(next(&[0, 0, 0, 8, words]), Err(FrameError::DataOffset { words, size: 8 }));
        }
    }

    #[test]
    fn an_unknown_type_is_refused() {
        assert_eq!(next(&[0, 0, 0, 8, 2, 2]), Err(FrameError::UnknownKind { kind: 2 }));
    }

    #[test]
    fn an_extended_header_is_skipped() {
        let frame = next(&[0, 0, 0, 14, 3, 0, 0, 7, 9, 9, 9, 9, 1, 2]).unwrap().unwrap();
        assert_eq!((frame.kind, frame.channel, &frame.body[..]), (FrameKind::Amqp, 7, &[1, 2][..]));
    }

    #[test]
    fn an_extended_header_may_fill_the_frame() {
        let frame = next(&[0, 0, 0, 12, 3, 1, 0, 0, 9, 9, 9, 9]).unwrap().unwrap();
        assert!(frame.body.is_empty());
    }

    #[test]
    fn frames_come_out_in_order_and_the_rest_stays() {
        let mut input = BytesMut::new();
        input.extend_from_slice(&HEARTBEAT);
        input.extend_from_slice(&[0, 0, 0, 9, 2, 1, 1, 2, 0x40, 0, 0, 0]);
        let first = next_frame(&mut input, MAX).unwrap().unwrap();
        assert_eq!(first, Frame { kind: FrameKind::Amqp, channel: 0, body: Bytes::new() });
        let second = next_frame(&mut input, MAX).unwrap().unwrap();
        assert_eq!((second.kind, second.channel, &second.body[..]), (FrameKind::Sasl, 0x102, &[0x40][..]));
        assert_eq!(next_frame(&mut input, MAX), Ok(None));
        assert_eq!(&input[..], [0, 0, 0]);
    }

    #[test]
    fn no_prefix_of_a_frame_yields_a_frame() {
        let frame = [0, 0, 0, 14, 3, 0, 0, 7, 9, 9, 9, 9, 1, 2];
        for length in 0..frame.len() {
            assert_eq!(next(&frame[..length]), Ok(None), "{length} bytes");
        }
    }

    #[test]
    fn a_frame_written_with_its_payload_apart_counts_the_payload() {
        let mut out = BytesMut::from(&b"before"[..]);
        let start = begin_frame(&mut out, FrameKind::Amqp, 3);
        out.put_slice(&[1, 2]);
        assert_eq!(finish_frame_with(&mut out, start, 5), 15);
        assert_eq!(&out[6..], [0, 0, 0, 15, 2, 0, 0, 3, 1, 2]);

        out.clear();
        let start = begin_frame(&mut out, FrameKind::Sasl, 0);
        assert_eq!(finish_frame(&mut out, start), 8);
        assert_eq!(&out[..], [0, 0, 0, 8, 2, 1, 0, 0]);
    }

    #[test]
    fn protocol_headers_round_trip_and_wait_for_all_eight_bytes() {
        for header in [ProtocolHeader::Amqp, ProtocolHeader::Tls, ProtocolHeader::Sasl] {
            let bytes = header.encode();
            assert_eq!(ProtocolHeader::parse(&bytes), Ok(Some(header)));
            for length in 0..bytes.len() {
                assert_eq!(ProtocolHeader::parse(&bytes[..length]), Ok(None));
            }
        }
    }

    #[test]
    fn a_protocol_header_fails_at_its_first_wrong_byte() {
        for (input, offset) in
            [(&b"G"[..], 0), (b"AMQP\x01", 4), (b"AMQP\x00\x00\x09\x01", 5), (b"AMQP\x03\x01\x00\x01", 7)]
        {
            let found = input[usize::from(offset)];
            assert_eq!(ProtocolHeader::parse(input), Err(HeaderMismatch { offset, found }));
        }
    }
}
