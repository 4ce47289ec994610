//! The bodies of the fuzz targets on random bytes and on damaged performatives and messages.

use bytes::BytesMut;
use mq_amqp::{
    codec::{encode_performative, encode_sasl, encode_value},
    frame::{FrameKind, begin_frame, finish_frame},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{messages::any_message, strategies, written};

#[path = "../../../fuzz/src/codec.rs"]
#[expect(unreachable_pub, reason = "public in the crate of the fuzz targets, which this file belongs to")]
mod fuzz;

/// Changes to bytes: where, and to what.
fn damage() -> impl Strategy<Value = Vec<(Index, u8)>> {
    let constructors =
        proptest::sample::select(&[0x00, 0x40, 0x45, 0x53, 0x70, 0xa0, 0xb0, 0xc0, 0xd0, 0xf0][..]);
    vec((any::<Index>(), prop_oneof![any::<u8>(), constructors, 0..8_u8]), 0..4)
}

fn damaged(bytes: &[u8], damage: &[(Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (position, byte) in damage {
        if !bytes.is_empty() {
            let position = position.index(bytes.len());
            bytes[position] = *byte;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        fuzz::performative(&bytes);
        fuzz::frames(&bytes);
        fuzz::message_index(&bytes);
    }

    #[test]
    fn random_content_behind_a_descriptor_never_panics(
        descriptor in prop_oneof![0x10..0x19_u8, 0x40..0x45_u8, 0x70..0x79_u8], bytes in vec(any::<u8>(), 0..100),
    ) {
        let body = [&[0x00, 0x53, descriptor][..], &bytes].concat();
        fuzz::performative(&body);
        fuzz::message_index(&body);
        let list = [&[0x00, 0x53, descriptor, 0xd0, 0, 0, 0, bytes.len() as u8 + 4, 0, 0, 0, 3][..], &bytes];
        fuzz::performative(&list.concat());
    }

    #[test]
    fn damaged_performatives_never_panic(
        performative in strategies::performative(), sasl in strategies::sasl(), value in strategies::value(),
        damage in damage(),
    ) {
        fuzz::performative(&damaged(&written(|out| encode_performative(out, &performative)), &damage));
        fuzz::performative(&damaged(&written(|out| encode_sasl(out, &sasl)), &damage));
        fuzz::performative(&damaged(&written(|out| encode_value(out, &value)), &damage));
    }

    #[test]
    fn damaged_messages_never_panic(message in any_message(), damage in damage()) {
        fuzz::message_index(&damaged(&message.to_bytes(), &damage));
    }

    #[test]
    fn frames_do_not_depend_on_how_they_arrive(
        bodies in vec((any::<u16>(), vec(any::<u8>(), 0..40)), 0..6), damage in damage(),
    ) {
        let mut stream = BytesMut::new();
        for (channel, body) in &bodies {
            let start = begin_frame(&mut stream, FrameKind::Amqp, *channel);
            stream.extend_from_slice(body);
            finish_frame(&mut stream, start);
        }
        fuzz::frames(&stream);
        fuzz::frames(&damaged(&stream, &damage));
    }
}
