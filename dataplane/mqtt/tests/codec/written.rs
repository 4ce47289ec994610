//! Packets as the specification draws them, read and written.

use bytes::BytesMut;
use mq_mqtt::codec::encode;
use mq_mqtt::packet::Packet;
use mq_mqtt::property::PropertyIn;
use mq_mqtt::reason::ReasonIn;
use mq_mqtt::{PacketId, Qos, ReasonCode, Version};

use crate::{framed, hex, read};

/// Reads a packet that is written as it was.
#[track_caller]
fn packet(first: u8, body: &str, version: Version) -> Packet {
    let bytes = framed(first, &hex(body));
    let packet = read(&bytes, version).expect("well-formed");
    let mut out = BytesMut::new();
    encode(&mut out, &packet, version);
    assert_eq!(out, bytes);
    packet
}

#[test]
fn a_connect_of_5_0() {
    let body = "00 04 'MQTT' 05 ce 00 0a 05 11 00 00 00 0a 00 03 'dev' \
                05 18 00 00 00 05 00 04 'will' 00 03 'bye' 00 04 'user' 00 02 00 ff";
    let Packet::Connect(connect) = packet(0x10, body, Version::V5_0) else { panic!("a CONNECT") };
    assert_eq!(connect.version, Version::V5_0);
    assert!(connect.clean_start);
    assert_eq!(connect.keep_alive, 10);
    assert_eq!(connect.client_id, "dev");
    assert_eq!(connect.properties.view().session_expiry_interval(), Some(10));
    assert_eq!(connect.user_name.as_ref().map(|name| name.as_str()), Some("user"));
    assert_eq!(connect.password.as_deref(), Some(&[0, 255][..]));
    let will = connect.will.expect("a will");
    assert_eq!((will.topic.as_str(), &will.payload[..]), ("will", &b"bye"[..]));
    assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, false));
    assert_eq!(will.properties.view().will_delay_interval(), Some(5));
}

#[test]
fn a_connect_of_3_1_1() {
    let body = "00 04 'MQTT' 04 f4 00 00 00 00 00 01 'w' 00 00 00 01 'u' 00 00";
    let Packet::Connect(connect) = packet(0x10, body, Version::V3_1_1) else { panic!("a CONNECT") };
    assert_eq!(connect.version, Version::V3_1_1);
    assert!(!connect.clean_start && connect.client_id.is_empty());
    let will = connect.will.expect("a will");
    assert_eq!((will.qos, will.retain), (Qos::ExactlyOnce, true));
    assert_eq!(connect.password.as_deref(), Some(&[][..]));
}

#[test]
fn a_publish_keeps_its_properties_and_their_order() {
    let body = "00 03 'a/b' 00 0a 18 01 01 26 00 01 'k' 00 01 '2' 26 00 01 'k' 00 01 '1' 02 00 00 00 3c 0b 80 01 'hi'";
    let Packet::Publish(publish) = packet(0x3b, body, Version::V5_0) else { panic!("a PUBLISH") };
    assert_eq!((publish.topic(), publish.payload()), ("a/b", &b"hi"[..]));
    assert!(publish.duplicate && publish.retain);
    assert_eq!((publish.qos, publish.packet_id), (Qos::AtLeastOnce, PacketId::new(10)));
    let properties = publish.properties();
    assert_eq!(properties.payload_format_indicator(), Some(true));
    assert_eq!(properties.message_expiry_interval(), Some(60));
    assert_eq!(properties.user_properties().collect::<Vec<_>>(), [("k", "2"), ("k", "1")]);
    assert_eq!(properties.subscription_identifiers().collect::<Vec<_>>(), [128]);
    assert_eq!(publish.properties_owned().view(), properties);
    assert_eq!(publish.payload_bytes(), publish.clone().into_payload());
}

#[test]
fn the_example_of_a_3_1_1_publish() {
    // 3.1.1, 3.3.2, figure 3.11.
    let Packet::Publish(publish) = packet(0x32, "00 03 'a/b' 00 0a", Version::V3_1_1) else {
        panic!("a PUBLISH")
    };
    assert_eq!((publish.topic(), publish.payload()), ("a/b", &b""[..]));
    assert_eq!(publish.packet_id, PacketId::new(10));
    assert!(publish.properties().is_empty());
}

#[test]
fn acknowledgements_take_their_shortest_form() {
    for (first, kind) in [(0x40, ReasonIn::PubAck), (0x50, ReasonIn::PubRec), (0x62, ReasonIn::PubRel)] {
        assert!(ReasonCode::Success.is_allowed_in(kind));
        packet(first, "00 07", Version::V5_0);
        packet(first, "00 07", Version::V3_1_1);
        // Longer forms that say the same are read, and written short.
        for longer in ["00 07 00", "00 07 00 00"] {
            let ack = read(&framed(first, &hex(longer)), Version::V5_0).expect("well-formed");
            let mut out = BytesMut::new();
            encode(&mut out, &ack, Version::V5_0);
            assert_eq!(out, framed(first, &hex("00 07")));
        }
    }
    packet(0x40, "00 07 10", Version::V5_0);
    packet(0x70, "00 07 92", Version::V5_0);
    packet(0x40, "00 07 87 04 1f 00 01 'r'", Version::V5_0);
}

#[test]
fn the_other_packets() {
    for (first, body, version) in [
        (0x20, "01 00", Version::V3_1_1),
        (0x20, "00 04", Version::V3_1_1),
        (0x20, "00 00 06 21 00 0a 22 00 05", Version::V5_0),
        (0x82, "00 0a 00 03 'a/b' 01 00 03 'c/d' 02", Version::V3_1_1),
        (0x82, "00 0a 02 0b 05 00 03 'a/b' 2d", Version::V5_0),
        (0x90, "00 0a 00 02 80", Version::V3_1_1),
        (0x90, "00 0a 00 01 02 8f", Version::V5_0),
        (0xa2, "00 0a 00 03 'a/b'", Version::V3_1_1),
        (0xa2, "00 0a 00 00 03 'a/b'", Version::V5_0),
        (0xb0, "00 0a", Version::V3_1_1),
        (0xb0, "00 0a 00 00 11", Version::V5_0),
        (0xc0, "", Version::V5_0),
        (0xd0, "", Version::V3_1_1),
        (0xe0, "", Version::V3_1_1),
        (0xe0, "", Version::V5_0),
        (0xe0, "04", Version::V5_0),
        (0xe0, "00 05 11 00 00 00 05", Version::V5_0),
        (0xf0, "", Version::V5_0),
        (0xf0, "19 04 15 00 01 'm'", Version::V5_0),
    ] {
        packet(first, body, version);
    }
}

#[test]
fn every_reason_code_has_a_name_a_byte_and_a_packet() {
    let packets = [
        ReasonIn::ConnAck,
        ReasonIn::PubAck,
        ReasonIn::PubRec,
        ReasonIn::PubRel,
        ReasonIn::PubComp,
        ReasonIn::SubAck,
        ReasonIn::UnsubAck,
        ReasonIn::Disconnect,
        ReasonIn::Auth,
    ];
    for reason in ReasonCode::ALL {
        assert_eq!(ReasonCode::from_byte(reason.to_byte()), Some(*reason));
        assert!(!reason.name().is_empty());
        assert!(packets.iter().any(|packet| reason.is_allowed_in(*packet)), "{reason}");
        assert_eq!(reason.is_error(), reason.to_byte() >= 0x80);
    }
    // 2.4 and the tables of each packet.
    for (packet, codes) in [
        (ReasonIn::ConnAck, "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"),
        (ReasonIn::PubAck, "00 10 80 83 87 90 91 97 99"),
        (ReasonIn::PubRec, "00 10 80 83 87 90 91 97 99"),
        (ReasonIn::PubRel, "00 92"),
        (ReasonIn::PubComp, "00 92"),
        (ReasonIn::SubAck, "00 01 02 80 83 87 8f 91 97 9e a1 a2"),
        (ReasonIn::UnsubAck, "00 11 80 83 87 8f 91"),
        (
            ReasonIn::Disconnect,
            "00 04 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
        ),
        (ReasonIn::Auth, "00 18 19"),
    ] {
        let listed = hex(codes);
        for byte in 0..=255 {
            let is_allowed = ReasonCode::from_byte(byte).is_some_and(|reason| reason.is_allowed_in(packet));
            assert_eq!(is_allowed, listed.contains(&byte), "{byte:#04x} in {}", packet.section());
        }
    }
}

#[test]
fn names_are_those_of_the_specification() {
    assert_eq!(PropertyIn::Ack.name(), "an acknowledgement");
    assert_eq!(ReasonCode::QuotaExceeded.to_string(), "quota exceeded (0x97)");
}
