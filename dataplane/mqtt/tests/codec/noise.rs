//! The body of the fuzz target on random bytes and on damaged packets.

use bytes::BytesMut;
use mq_mqtt::Version;
use mq_mqtt::codec::encode;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::strategies;

#[path = "../../../fuzz/src/mqtt.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod fuzz;

/// Changes to bytes: where, and to what.
fn damage() -> impl Strategy<Value = Vec<(Index, u8)>> {
    let telling = proptest::sample::select(&[0x00, 0x01, 0x0b, 0x23, 0x26, 0x7f, 0x80, 0xff][..]);
    vec((any::<Index>(), prop_oneof![any::<u8>(), telling]), 0..4)
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        fuzz::packets(&bytes);
    }

    #[test]
    fn random_bodies_never_panic(
        choice in any::<u8>(), bodies in vec((any::<u8>(), vec(any::<u8>(), 0..40)), 0..6),
    ) {
        let mut stream = vec![choice];
        for (first, body) in bodies {
            stream.extend(crate::framed(first, &body));
        }
        fuzz::packets(&stream);
    }

    #[test]
    fn damaged_packets_never_panic(
        choice in any::<u8>(), packets in vec(strategies::packet(), 0..5), damage in damage(),
    ) {
        let mut stream = BytesMut::from(&[choice][..]);
        let version = if choice & 1 == 0 { Version::V5_0 } else { Version::V3_1_1 };
        for packet in &packets {
            encode(&mut stream, packet, version);
        }
        for (position, byte) in damage {
            let position = position.index(stream.len());
            stream[position] = byte;
        }
        fuzz::packets(&stream);
    }
}
