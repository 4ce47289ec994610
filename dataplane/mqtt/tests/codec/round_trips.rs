//! What is written is read as what it was.

use bytes::BytesMut;
use mq_mqtt::Version;
use mq_mqtt::codec::{DecodeError, encode, next_packet};
use mq_mqtt::property::{Properties, PropertyIn, PropertyWriter};
use proptest::prelude::*;

use crate::{read, strategies};

proptest! {
    #[test]
    fn a_packet_of_5_0_is_read_as_it_was_written(packet in strategies::packet()) {
        let mut out = BytesMut::from(&b"kept"[..]);
        encode(&mut out, &packet, Version::V5_0);
        prop_assert!(out.starts_with(b"kept"), "encoding appends");
        prop_assert_eq!(read(&out[4..], Version::V5_0), Ok(packet));
    }

    #[test]
    fn a_packet_of_3_1_1_is_read_without_what_it_does_not_have(packet in strategies::packet()) {
        let Some(packet) = strategies::without_5_0(packet) else { return Ok(()) };
        let mut out = BytesMut::new();
        encode(&mut out, &packet, Version::V3_1_1);
        prop_assert_eq!(read(&out, Version::V3_1_1), Ok(packet));
    }

    #[test]
    fn no_part_of_a_packet_is_taken_for_the_whole(packet in strategies::packet()) {
        let mut out = BytesMut::new();
        encode(&mut out, &packet, Version::V5_0);
        for end in 0..out.len() {
            let mut part = BytesMut::from(&out[..end]);
            prop_assert_eq!(next_packet(&mut part, u32::MAX), Ok(None));
            prop_assert_eq!(part.len(), end, "nothing is consumed");
        }
    }

    #[test]
    fn kept_properties_are_read_again(
        properties in strategies::properties(PropertyIn::Will),
    ) {
        let again = Properties::decode(properties.as_bytes().clone(), PropertyIn::Will, 100);
        prop_assert_eq!(again.as_ref(), Ok(&properties));
        let mut writer = PropertyWriter::new(PropertyIn::Will);
        writer.extend(properties.view()).expect("the same place");
        prop_assert_eq!(writer.finish(), properties);
    }
}

#[test]
fn a_remaining_length_has_up_to_four_bytes() {
    for (size, bytes) in [(127, 1), (128, 2), (16_383, 2), (16_384, 3), (2_097_151, 3), (2_097_152, 4)] {
        let mut body = vec![0, 1, b't', 0];
        body.resize(size, 7);
        let packet = crate::framed(0x30, &body);
        assert_eq!(packet.len(), 1 + bytes + size);
        let read = read(&packet, Version::V5_0).expect("a publication");
        let mut out = BytesMut::new();
        encode(&mut out, &read, Version::V5_0);
        assert_eq!(out, packet);
    }
}

#[test]
fn a_length_is_judged_before_the_rest_has_come() {
    let limit = |bytes: &[u8], limit| next_packet(&mut BytesMut::from(bytes), limit);
    assert_eq!(limit(&[0x30, 0x62], 100), Ok(None));
    assert_eq!(limit(&[0x30, 0x63], 100), Err(DecodeError::TooLarge { size: 101, limit: 100 }));
    assert_eq!(limit(&[0x30, 0xff, 0xff, 0xff], 100), Ok(None));
    assert!(limit(&[0x30, 0xff, 0xff, 0xff, 0x7f], 100).is_err());
    assert!(limit(&[0x30, 0xff, 0xff, 0xff, 0xff], u32::MAX).is_err());
    // Longer than it needs.
    assert!(limit(&[0x30, 0x80, 0x00], u32::MAX).is_err());
}
