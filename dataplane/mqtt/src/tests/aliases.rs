//! Topic aliases in both directions (3.3.2.3.4).

use bytes::Bytes;

use super::pair::{Pair, Peer, connect, limits, message, properties};
use crate::property::PropertyIn;
use crate::{Config, Outgoing, PeerError, Qos, ReasonCode, Version};

static BODY: Bytes = Bytes::from_static(b"x");

#[test]
fn a_topic_travels_once_and_arrives_every_time() {
    let mut pair = Pair::open(Version::V5_0);
    let topic = "a/rather/long/topic/name";
    let mut sizes = Vec::new();
    for _ in 0..3 {
        pair.client.engine.publish(&message(topic, &BODY, Qos::AtMostOnce)).expect("open");
        sizes.push(pair.client.engine.buffered());
        pair.run();
        assert_eq!(pair.server.publish_event().topic(), topic);
    }
    assert_eq!(sizes[1], sizes[0] - topic.len());
    assert_eq!(sizes[2], sizes[1]);
}

#[test]
fn more_topics_than_aliases_arrive_as_they_were_sent() {
    let few = || limits(|limits| limits.topic_alias_maximum = 2);
    let mut pair = Pair::open_with(&connect(Version::V5_0), few(), few());
    for round in 0..50 {
        for number in 0..7 {
            let topic = format!("topic/number/{}", number * round % 5);
            let message = message(&topic, &BODY, Qos::AtMostOnce);
            pair.client.engine.publish(&message).expect("open");
            pair.server.engine.publish(&message).expect("open");
            pair.run();
            assert_eq!(pair.server.publish_event().topic(), topic);
            assert_eq!(pair.client.publish_event().topic_text(), topic.as_str());
        }
    }
}

#[test]
fn no_alias_is_set_up_where_the_peer_takes_none() {
    let none = limits(|limits| limits.topic_alias_maximum = 0);
    let mut pair = Pair::open_with(&connect(Version::V5_0), Config::default(), none);
    for _ in 0..2 {
        pair.client.engine.publish(&message("long/enough", &BODY, Qos::AtMostOnce)).expect("open");
        pair.run();
        let publish = pair.server.publish_event();
        assert_eq!((publish.topic(), publish.properties().topic_alias()), ("long/enough", None));
    }
}

#[test]
fn an_alias_of_another_connection_is_not_passed_on() {
    let said = properties(PropertyIn::Publish, |writer| {
        let id = crate::property::PropertyId::TopicAlias;
        let value = crate::property::Value::Short(9);
        writer.push(crate::property::Property { id, value }).expect("allowed");
        writer.content_type("text/plain").expect("allowed");
    });
    let mut pair = Pair::open(Version::V5_0);
    let outgoing = Outgoing { properties: said.view(), ..Outgoing::new("t", &BODY) };
    pair.server.engine.publish(&outgoing).expect("open");
    pair.run();
    let publish = pair.client.publish_event();
    assert_eq!(publish.properties().topic_alias(), None);
    assert_eq!(publish.properties().content_type(), Some("text/plain"));
}

#[test]
fn aliases_that_break_the_rules_end_the_connection() {
    for (packet, reason) in [
        // 0; above the maximum; unknown; neither topic nor alias.
        (&b"\x30\x08\0\x01t\x03\x23\0\0x"[..], ReasonCode::TopicAliasInvalid),
        (b"\x30\x08\0\x01t\x03\x23\0\x05x", ReasonCode::TopicAliasInvalid),
        (b"\x30\x07\0\0\x03\x23\0\x02x", ReasonCode::ProtocolError),
        (b"\x30\x07\0\0\x03\x23\0\x01x", ReasonCode::ProtocolError),
        (b"\x30\x04\0\0\0x", ReasonCode::ProtocolError),
    ] {
        let mut peer = Peer::open_server(Version::V5_0, limits(|limits| limits.topic_alias_maximum = 4));
        peer.send(b"\x30\x08\0\x01t\x03\x23\0\x04x");
        peer.send(packet);
        assert_eq!(peer.end.error.as_ref().map(PeerError::reason), Some(reason), "{packet:02x?}");
        assert_eq!(peer.said(), [0xe0, 1, reason.to_byte()]);
    }
}

#[test]
fn an_alias_can_be_given_to_another_topic() {
    let mut peer = Peer::open_server(Version::V5_0, Config::default());
    peer.send(b"\x30\x08\0\x01a\x03\x23\0\x01x\x30\x08\0\x01b\x03\x23\0\x01x\x30\x07\0\0\x03\x23\0\x01x");
    let topics: Vec<String> = (0..3).map(|_| peer.end.publish_event().topic().to_owned()).collect();
    assert_eq!(topics, ["a", "b", "b"]);
}

#[test]
fn a_packet_that_only_its_alias_makes_too_large_goes_without_one() {
    let topic = "0123456789";
    // Header 2, topic 12, property length 1, payload 1.
    let small = limits(|limits| limits.max_packet_size = 16);
    let mut pair =
        Pair::new(&connect(Version::V5_0), small, Config::default(), crate::SessionState::default());
    // The CONNACK does not fit its own words into 16 bytes: say nothing in it.
    pair.server.engine = crate::Connection::server(
        std::sync::Arc::new(limits(|limits| {
            limits.receive_maximum = u16::MAX;
            limits.max_packet_size = u32::MAX;
            limits.topic_alias_maximum = 0;
        })),
        pair.now,
    );
    pair.let_in(crate::Accept::default());
    for _ in 0..2 {
        pair.server.engine.publish(&message(topic, &BODY, Qos::AtMostOnce)).expect("it fits");
        pair.run();
        assert_eq!(pair.client.publish_event().properties().topic_alias(), None);
    }
    let longer = Bytes::from_static(b"xy");
    let said = pair.server.engine.publish(&message(topic, &longer, Qos::AtMostOnce));
    assert_eq!(said, Err(crate::Blocked::TooLarge { size: 17, limit: 16 }));
}
