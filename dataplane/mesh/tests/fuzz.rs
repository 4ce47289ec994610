//! The body of the fuzz target on random input: `cargo test` runs what `cargo fuzz run mesh` does.

#[path = "../../fuzz/src/mesh.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod mesh;

use bytes::{BufMut, BytesMut};
use fastrand::Rng;
use mq_mesh::frame::{Frame, FrameReader, Heartbeat, Hello, SegmentFlags, encode_link_state};
use mq_mesh::{
    ConnectionKey, Endpoint, Epoch, Incarnation, NodeId, Router, RouterEvent, RouterOptions, Segment,
};

/// A connection as a neighbour might really use it.
fn connection(rng: &mut Rng) -> BytesMut {
    let mut out = BytesMut::new();
    let hello = Hello {
        fleet: "f".into(),
        node: "b".into(),
        incarnation: Incarnation(1),
        shards: 1,
        cost: 1,
        ..Hello::default()
    };
    hello.encode(&mut out).expect("within its bounds");
    Heartbeat { sent: 1, echo: 2, held: 3 }.encode(&mut out);
    link_state(&mut out);
    for sequence in 0..rng.u64(..8) {
        segment(rng, sequence).encode(&mut out);
    }
    out
}

fn link_state(out: &mut BytesMut) {
    let now = std::time::Instant::now();
    let mut router = Router::new(now, RouterOptions::new("f", "b", Incarnation(1), 1));
    let hello =
        Hello { fleet: "f".into(), node: "a".into(), incarnation: Incarnation(1), ..Hello::default() };
    router.neighbour_up(now, ConnectionKey(1), 1, &hello).expect("a neighbour");
    for moment in 0..3 {
        let later = now + std::time::Duration::from_secs(moment * 31);
        router.handle_timeout(later);
        while let Some((_, message)) = router.poll_transmit(later) {
            encode_link_state(&message, out);
        }
    }
    while !matches!(router.poll_event(), None | Some(RouterEvent::Superseded { .. })) {}
}

fn segment(rng: &mut Rng, sequence: u64) -> Segment {
    let flags = [SegmentFlags::MESSAGES, SegmentFlags::PIECE, SegmentFlags::MISSING, SegmentFlags::PROBE];
    let flags = flags[rng.usize(..4)];
    let mut payload = BytesMut::new();
    match flags {
        SegmentFlags::MESSAGES => {
            payload.put_u16(4);
            payload.put_u32(7);
        }
        SegmentFlags::PIECE => payload.put_bytes(1, rng.usize(..40)),
        SegmentFlags::MISSING => payload.put_u64(rng.u64(..1 << 34)),
        _ => {}
    }
    Segment {
        flags,
        hops_left: 9,
        source: Endpoint { node: NodeId::new("f", "b"), shard: 0 },
        destination: Endpoint { node: NodeId::new("f", "a"), shard: 0 },
        source_epoch: Epoch { incarnation: Incarnation(1), generation: 0 },
        destination_epoch: Some(Epoch { incarnation: Incarnation(1), generation: 0 }),
        sequence,
        acknowledged: rng.u64(..3),
        message_length: if flags == SegmentFlags::PIECE { rng.u32(..80) } else { 0 },
        payload: payload.freeze(),
    }
}

#[test]
fn a_connection_with_some_bytes_changed_is_an_error_or_frames_and_never_a_panic() {
    let mut taken = 0;
    for seed in 0..10_000 {
        let mut rng = Rng::with_seed(seed);
        let mut bytes = connection(&mut rng);
        for _ in 0..rng.usize(..4) {
            let place = rng.usize(..bytes.len());
            bytes[place] = [0, 1, 0x7f, 0xff, rng.u8(..)][rng.usize(..5)];
        }
        taken += mesh::connection(&bytes);
    }
    assert!(taken > 30_000, "{taken} frames: most changes must leave something to read");
}

#[test]
fn the_connection_that_is_changed_is_a_good_one() {
    let mut bytes = connection(&mut Rng::with_seed(5));
    let mut reader = FrameReader::new();
    let mut link_states = 0;
    while let Some(frame) = reader.read(&mut bytes).expect("frames") {
        link_states += usize::from(matches!(frame, Frame::LinkState(_)));
    }
    assert!(link_states >= 3, "records, a digest and a summary");
}
