//! Frames as bytes: what is written is read, and what is broken is an error.

use bytes::{BufMut, Bytes, BytesMut};
use mq_mesh::frame::{
    Frame, FrameReader, Heartbeat, Hello, MAX_FRAME, MAX_NAME, MAX_PAYLOAD, SEGMENT_HEADER, SegmentFlags,
    WireError, encode_link_state,
};
use mq_mesh::{Endpoint, Epoch, FrameError, Incarnation, NodeId, Segment};
use proptest::prelude::*;

fn encoded(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    match frame {
        Frame::Hello(hello) => hello.encode(&mut out).expect("within its bounds"),
        Frame::Heartbeat(heartbeat) => heartbeat.encode(&mut out),
        Frame::LinkState(message) => encode_link_state(message, &mut out),
        Frame::Segment(segment) => segment.encode(&mut out),
    }
    out
}

fn hello() -> Hello {
    Hello { fleet: "fleet".into(), node: "node-1".into(), shards: 2, ..Hello::default() }
}

/// A reader that is past the hello.
fn reader() -> FrameReader {
    let mut reader = FrameReader::new();
    let mut bytes = encoded(&Frame::Hello(Box::new(hello())));
    assert!(matches!(reader.read(&mut bytes), Ok(Some(Frame::Hello(_)))));
    reader
}

prop_compose! {
    fn hellos()(
        fleet in "[a-zé]{0,20}", node in "[a-z0-9-]{0,20}", product in ".{0,20}",
        numbers in any::<(u64, u64, u32)>(), shards in any::<(u16, u16)>(), count in 0..=1024u16,
    ) -> Frame {
        Frame::Hello(Box::new(Hello {
            fleet, node, product,
            incarnation: Incarnation(numbers.0),
            capabilities: numbers.1,
            cost: numbers.2,
            shards: count,
            shard: shards.0,
            peer_shard: shards.1,
        }))
    }
}

prop_compose! {
    fn segments()(
        flags in 0..5usize, hops_left in any::<u8>(), nodes in any::<(u64, u64)>(), shards in any::<(u16, u16)>(),
        epochs in any::<(u64, u32)>(), other in proptest::option::of((1..u64::MAX, any::<u32>())),
        numbers in any::<(u64, u64, u32)>(), payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> Frame {
        let flags = [
            SegmentFlags::MESSAGES, SegmentFlags::PIECE, SegmentFlags::MISSING, SegmentFlags::PROBE,
            SegmentFlags::OPEN.with(SegmentFlags::PROBE),
        ][flags];
        let epoch = |(incarnation, generation)| Epoch { incarnation: Incarnation(incarnation), generation };
        Frame::Segment(Segment {
            flags, hops_left,
            source: Endpoint { node: NodeId(nodes.0), shard: shards.0 },
            destination: Endpoint { node: NodeId(nodes.1), shard: shards.1 },
            source_epoch: epoch(epochs),
            destination_epoch: other.map(epoch),
            sequence: numbers.0,
            acknowledged: numbers.1,
            message_length: numbers.2,
            payload: payload.into(),
        })
    }
}

fn frames() -> impl Strategy<Value = Frame> {
    let heartbeats = any::<(u64, u64, u32)>()
        .prop_map(|(sent, echo, held)| Frame::Heartbeat(Heartbeat { sent, echo, held }));
    let link_states = proptest::collection::vec(any::<u8>(), 0..300)
        .prop_map(|message| Frame::LinkState(Bytes::from(message)));
    prop_oneof![heartbeats, link_states, segments()]
}

proptest! {
    #[test]
    fn what_is_written_is_read_however_it_arrives(
        first in hellos(), frames in proptest::collection::vec(frames(), 0..10), cut in 1..50usize,
    ) {
        let mut written: Vec<u8> = encoded(&first).to_vec();
        frames.iter().for_each(|frame| written.extend_from_slice(&encoded(frame)));
        let (mut reader, mut input, mut read) = (FrameReader::new(), BytesMut::new(), Vec::new());
        for piece in written.chunks(cut) {
            input.extend_from_slice(piece);
            while let Some(frame) = reader.read(&mut input).expect("frames") {
                read.push(frame);
            }
            prop_assert!(reader.missing(&input) > 0);
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(&read[0], &first);
        prop_assert_eq!(&read[1..], &frames[..]);
    }

    #[test]
    fn a_body_that_is_cut_short_is_an_error(frame in frames(), first in hellos(), cut in 1..80usize) {
        for (frame, mut reader) in [(frame, reader()), (first, FrameReader::new())] {
            let mut bytes = encoded(&frame);
            let fixed = match frame {
                Frame::Segment(_) => SEGMENT_HEADER,
                Frame::LinkState(_) => 5,
                _ => bytes.len(),
            };
            let length = fixed.saturating_sub(cut);
            if length < 5 {
                continue;
            }
            bytes.truncate(length);
            bytes[..4].copy_from_slice(&u32::try_from(length - 4).expect("short").to_be_bytes());
            prop_assert!(reader.read(&mut bytes).is_err());
        }
    }

    #[test]
    fn flipped_bits_are_an_error_or_another_frame_and_never_a_panic(
        frame in prop_oneof![frames(), hellos()], flips in proptest::collection::vec(any::<(usize, u8)>(), 1..6),
    ) {
        let mut bytes = encoded(&frame);
        for (place, mask) in flips {
            let place = place % bytes.len();
            bytes[place] ^= mask;
        }
        let mut reader = if matches!(frame, Frame::Hello(_)) { FrameReader::new() } else { reader() };
        let _ = reader.read(&mut bytes);
    }
}

#[test]
fn a_frame_longer_than_any_may_be_is_refused_before_it_has_arrived() {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(MAX_FRAME - 4 + 1).expect("32 bits"));
    assert_eq!(reader().read(&mut bytes), Err(FrameError::Length { length: MAX_FRAME - 4 + 1 }));
    let mut empty = BytesMut::from(&[0, 0, 0, 0][..]);
    assert_eq!(reader().read(&mut empty), Err(FrameError::Length { length: 0 }));
}

#[test]
fn a_link_state_message_longer_than_its_bound_is_refused() {
    let mut bytes = BytesMut::new();
    encode_link_state(&vec![0; MAX_PAYLOAD + 1], &mut bytes);
    let (actual, limit) = (MAX_PAYLOAD as u64 + 1, MAX_PAYLOAD as u64);
    let expected = FrameError::Body(WireError::TooMuch { what: "link state", actual, limit });
    assert_eq!(reader().read(&mut bytes), Err(expected));
}

#[test]
fn a_name_longer_than_its_bound_is_refused_on_both_sides() {
    let hello = Hello { node: "n".repeat(MAX_NAME + 1), ..hello() };
    assert!(hello.encode(&mut BytesMut::new()).is_err());
    // The same bytes from somebody who does not check.
    let mut bytes = BytesMut::new();
    Hello { node: "n".repeat(MAX_NAME), ..hello }.encode(&mut bytes).expect("at the bound");
    let place = 4 + 1 + 8 + 2 + 2 + "fleet".len();
    bytes[place..place + 2].copy_from_slice(&129u16.to_be_bytes());
    let read = FrameReader::new().read(&mut bytes).expect_err("too long").to_string();
    assert_eq!(read, "hello: node: 129 is more than the 128 allowed");
}

#[test]
fn a_connection_begins_with_one_hello() {
    let mut heartbeat = encoded(&Frame::Heartbeat(Heartbeat::default()));
    assert_eq!(FrameReader::new().read(&mut heartbeat), Err(FrameError::NotHello { kind: 2 }));
    let mut again = encoded(&Frame::Hello(Box::new(hello())));
    assert_eq!(reader().read(&mut again), Err(FrameError::SecondHello));
}

#[test]
fn whoever_speaks_something_else_is_told_so() {
    let read = |bytes: &[u8]| FrameReader::new().read(&mut BytesMut::from(bytes));
    assert!(matches!(read(b"GET / HTTP/1.1\r\n"), Err(FrameError::Length { .. })));
    assert!(matches!(read(b"AMQP\0\x01\0\0"), Err(FrameError::Length { .. })));
    let mut other = encoded(&Frame::Hello(Box::new(hello())));
    other[5..13].copy_from_slice(b"somebody");
    assert_eq!(read(&other), Err(FrameError::Magic));
    let mut newer = encoded(&Frame::Hello(Box::new(hello())));
    newer[13..15].copy_from_slice(&9u16.to_be_bytes());
    assert_eq!(read(&newer), Err(FrameError::Version { theirs: 9 }));
}

#[test]
fn what_a_later_version_adds_to_a_hello_is_left_unread() {
    let mut bytes = encoded(&Frame::Hello(Box::new(hello())));
    bytes.extend_from_slice(b"something new");
    let length = u32::try_from(bytes.len() - 4).expect("32 bits");
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(FrameReader::new().read(&mut bytes), Ok(Some(Frame::Hello(Box::new(hello())))));
}

#[test]
fn a_payload_is_the_slice_in_which_it_was_read() {
    let segment = Segment {
        flags: SegmentFlags::MESSAGES,
        hops_left: 1,
        source: Endpoint { node: NodeId(1), shard: 0 },
        destination: Endpoint { node: NodeId(2), shard: 0 },
        source_epoch: Epoch { incarnation: Incarnation(1), generation: 0 },
        destination_epoch: None,
        sequence: 0,
        acknowledged: 0,
        message_length: 0,
        payload: Bytes::from(vec![1; 1_000]),
    };
    let mut bytes = encoded(&Frame::Segment(segment.clone()));
    let place = bytes[SEGMENT_HEADER..].as_ptr();
    let Ok(Some(Frame::Segment(read))) = reader().read(&mut bytes) else { panic!("a segment") };
    assert_eq!(read.payload.as_ptr(), place);
    let (mut once, mut never) = (segment.clone(), Segment { hops_left: 0, ..segment });
    assert!(once.take_hop() && !once.take_hop() && !never.take_hop());
}

#[test]
fn a_round_trip_leaves_out_what_the_other_side_held() {
    let answer = Heartbeat { sent: 1, echo: 5_000, held: 300 };
    assert_eq!(answer.round_trip(5_800), Some(500));
    assert_eq!(Heartbeat { echo: 0, ..answer }.round_trip(5_800), None);
}

#[test]
fn a_node_is_a_hash_of_both_names() {
    // FNV-1a of the slash alone, computed elsewhere.
    assert_eq!(NodeId::new("", ""), NodeId(0xaf63_a24c_8601_89fe));
    assert_ne!(NodeId::new("a", "b"), NodeId::new("ab", ""));
}
