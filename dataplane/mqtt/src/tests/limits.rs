//! Every bound of `Limits`, crossed.

use bytes::Bytes;

use super::pair::{NONE, Pair, Peer, VERSIONS, connect, limits, message};
use crate::{Blocked, Config, Event, Misuse, PacketId, PeerError, Qos, ReasonCode, Version};

static BODY: Bytes = Bytes::from_static(b"x");

fn reason(peer: &Peer) -> Option<ReasonCode> {
    peer.end.error.as_ref().map(PeerError::reason)
}

#[test]
fn a_packet_above_the_maximum_is_refused_before_it_is_whole() {
    let config = || limits(|limits| limits.max_packet_size = 100);
    let mut peer = Peer::open_server(Version::V5_0, config());
    peer.send(&[0x30, 98, 0, 1, b't', 0]);
    assert_eq!(reason(&peer), None, "100 bytes");
    let mut peer = Peer::open_server(Version::V5_0, config());
    peer.send(&[0x30, 99]);
    assert_eq!(reason(&peer), Some(ReasonCode::PacketTooLarge));
    assert_eq!(peer.said(), [0xe0, 1, 0x95]);
}

#[test]
fn a_stranger_may_send_less_than_a_client() {
    let mut peer = Peer::server(limits(|limits| limits.max_handshake_packet_size = 50));
    peer.send(&[0x10, 49]);
    assert_eq!(reason(&peer), Some(ReasonCode::PacketTooLarge));
    assert!(peer.said().is_empty());
}

#[test]
fn more_publications_than_the_receive_maximum_end_a_5_0_connection() {
    for qos in [0x32, 0x34] {
        let mut peer = Peer::open_server(Version::V5_0, limits(|limits| limits.receive_maximum = 2));
        for number in 1..=2 {
            peer.send(&[qos, 6, 0, 1, b't', 0, number, 0]);
        }
        // QoS 0 does not count, nor a second copy.
        peer.send(b"\x30\x04\0\x01t\0");
        peer.send(&[qos | 8, 6, 0, 1, b't', 0, 1, 0]);
        assert_eq!(reason(&peer), None);
        peer.send(&[qos, 6, 0, 1, b't', 0, 3, 0]);
        assert_eq!(peer.said(), [0xe0, 1, 0x93]);
    }
}

#[test]
fn the_receive_maximum_is_freed_by_puback_pubcomp_and_a_refusal_but_not_by_pubrec() {
    let mut peer = Peer::open_server(Version::V5_0, limits(|limits| limits.receive_maximum = 1));
    let id = PacketId::FIRST;
    peer.send(b"\x32\x06\0\x01t\0\x01\0");
    peer.end.engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
    peer.send(b"\x34\x06\0\x01t\0\x01\0");
    peer.end.engine.acknowledge(id, ReasonCode::QuotaExceeded, NONE()).expect("it waits");
    peer.send(b"\x34\x06\0\x01t\0\x01\0");
    peer.end.engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
    peer.send(b"\x62\x02\0\x01\x34\x06\0\x01t\0\x01\0");
    assert_eq!(reason(&peer), None);
    peer.end.engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
    peer.send(b"\x34\x06\0\x01t\0\x02\0");
    assert_eq!(reason(&peer), Some(ReasonCode::ReceiveMaximumExceeded));
}

#[test]
fn a_3_1_1_client_is_not_read_on_until_something_is_acknowledged() {
    let mut peer = Peer::open_server(Version::V3_1_1, limits(|limits| limits.receive_maximum = 2));
    for number in 1..=4 {
        peer.send(&[0x32, 5, 0, 1, b't', 0, number]);
    }
    assert_eq!((peer.end.events.len(), peer.end.input.len()), (2, 14));
    for number in 1..=4 {
        let id = PacketId::new(number).expect("not 0");
        peer.end.engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
        peer.send(&[]);
    }
    assert_eq!((peer.end.events.len(), peer.end.input.len()), (4, 0));
}

#[test]
fn no_more_is_sent_than_the_peer_takes_and_we_allow() {
    for (theirs, ours, expected) in [(3, 10, 3), (10, 4, 4), (u16::MAX, 5, 5)] {
        let client = limits(|limits| limits.max_in_flight = ours);
        let server = limits(|limits| limits.receive_maximum = theirs);
        let mut pair = Pair::open_with(&connect(Version::V5_0), client, server);
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce].into_iter().cycle().take(expected) {
            pair.client.engine.publish(&message("t", &BODY, qos)).expect("within the window");
        }
        assert_eq!(pair.client.engine.window(), 0);
        let one_more = pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce));
        assert_eq!(one_more, Err(Blocked::Window));
        // QoS 0 has no window.
        pair.client.engine.publish(&message("t", &BODY, Qos::AtMostOnce)).expect("open");
        pair.run();
        assert_eq!(pair.server.error, None);
        assert_eq!(pair.server.events.len(), expected + 1);
    }
}

#[test]
fn a_publication_larger_than_the_peer_takes_is_not_sent_and_changes_nothing() {
    for (body, fits) in [(100 - 6, true), (100 - 5, false)] {
        let server = limits(|limits| {
            limits.max_packet_size = 100;
            limits.topic_alias_maximum = 0;
        });
        let mut pair = Pair::open_with(&connect(Version::V5_0), Config::default(), server);
        assert_eq!(pair.client.engine.peer_max_packet_size(), 100);
        let body = Bytes::from(vec![0; body]);
        let said = pair.client.engine.publish(&message("t", &body, Qos::AtMostOnce));
        if fits {
            assert_eq!(said, Ok(None));
        } else {
            assert_eq!(said, Err(Blocked::TooLarge { size: 101, limit: 100 }));
            assert_eq!(pair.client.engine.buffered(), 0);
        }
        let before = pair.client.engine.window();
        let said = pair.client.engine.publish(&message("t", &body, Qos::ExactlyOnce));
        assert!(said.is_err());
        assert_eq!(pair.client.engine.window(), before);
        pair.run();
        assert_eq!(pair.server.error, None);
    }
}

#[test]
fn answers_larger_than_the_client_takes_go_without_words_or_not_at_all() {
    let small = limits(|limits| limits.max_packet_size = 40);
    let mut pair = Pair::open_with(&connect(Version::V5_0), small, Config::default());
    let words = super::pair::properties(crate::property::PropertyIn::SubAck, |writer| {
        writer.reason_string("so many words that they do not fit").expect("allowed");
    });
    let options = crate::packet::SubscriptionOptions::default();
    pair.client.engine.subscribe(&[("a", options)], NONE()).expect("open");
    pair.run();
    let Event::Subscribe(packet) = pair.server.event() else { panic!("a SUBSCRIBE") };
    let engine = &mut pair.server.engine;
    let many = [ReasonCode::Success; 40];
    assert!(matches!(engine.suback(packet.packet_id, &many, NONE()), Err(Misuse::TooLarge { .. })));
    engine.suback(packet.packet_id, &[ReasonCode::Success], words.view()).expect("it fits without");
    pair.run();
    assert!(matches!(pair.client.event(), Event::SubAck(packet) if packet.properties.is_empty()));
}

#[test]
fn a_request_larger_than_the_server_takes_is_not_sent() {
    let server = limits(|limits| limits.max_packet_size = 40);
    let mut pair = Pair::open_with(&connect(Version::V5_0), Config::default(), server);
    let long = "x".repeat(40);
    let options = crate::packet::SubscriptionOptions::default();
    let said = pair.client.engine.subscribe(&[(&long, options)], NONE());
    assert!(matches!(said, Err(Blocked::TooLarge { limit: 40, .. })), "{said:?}");
    let said = pair.client.engine.unsubscribe(&[&long], NONE());
    assert!(matches!(said, Err(Blocked::TooLarge { limit: 40, .. })), "{said:?}");
    assert_eq!(pair.client.engine.buffered(), 0);
}

#[test]
fn topics_and_filters_keep_to_the_limits() {
    let config = || {
        limits(|limits| {
            limits.max_topic_length = 5;
            limits.max_topic_levels = 2;
            limits.max_filters = 2;
        })
    };
    for version in VERSIONS {
        let none: &[u8] = if version == Version::V5_0 { &[0] } else { &[] };
        let publish = |topic: &[u8]| {
            let length = (topic.len() + 2 + none.len()) as u8;
            [&[0x30, length, 0, topic.len() as u8][..], topic, none].concat()
        };
        let subscribe = |filters: &[&[u8]]| {
            let mut body = [&[0, 1][..], none].concat();
            for filter in filters {
                body.extend_from_slice(&[0, filter.len() as u8]);
                body.extend_from_slice(filter);
                body.push(0);
            }
            [&[0x82, body.len() as u8][..], &body].concat()
        };
        for (packet, expected) in [
            (publish(b"a/345"), None),
            (publish(b"a/3456"), Some(ReasonCode::TopicNameInvalid)),
            (publish(b"a/b/c"), Some(ReasonCode::TopicNameInvalid)),
            (subscribe(&[b"a/345", b"#"]), None),
            (subscribe(&[b"a/3456"]), Some(ReasonCode::TopicFilterInvalid)),
            (subscribe(&[b"a/+/c"]), Some(ReasonCode::TopicFilterInvalid)),
            (subscribe(&[b"a", b"b", b"c"]), Some(ReasonCode::QuotaExceeded)),
        ] {
            let mut peer = Peer::open_server(version, config());
            peer.send(&packet);
            assert_eq!(reason(&peer), expected, "{version} {packet:02x?}");
        }
    }
}

#[test]
fn a_list_of_properties_has_an_end() {
    let packet = |count: u8| {
        let pair = [0x26, 0, 1, b'a', 0, 1, b'b'];
        let properties = pair.repeat(count.into());
        let length = properties.len() as u8;
        [&[0x30, length + 4, 0, 1, b't', length][..], &properties].concat()
    };
    for (count, expected) in [(3, None), (4, Some(ReasonCode::QuotaExceeded))] {
        let mut peer = Peer::open_server(Version::V5_0, limits(|limits| limits.max_properties = 3));
        peer.send(&packet(count));
        assert_eq!(reason(&peer), expected);
    }
}

#[test]
fn no_more_aliases_are_set_up_than_we_allow() {
    let client = limits(|limits| limits.max_outgoing_aliases = 1);
    let mut pair = Pair::open_with(&connect(Version::V5_0), client, Config::default());
    for number in 0..100 {
        let topic = format!("topic/{}", number % 10);
        pair.client.engine.publish(&message(&topic, &BODY, Qos::AtMostOnce)).expect("open");
        pair.run();
        let publish = pair.server.publish_event();
        assert_eq!(publish.topic(), topic);
        assert!(publish.properties().topic_alias().is_none_or(|alias| alias == 1));
    }
}

#[test]
fn every_identifier_can_be_in_use_and_none_twice() {
    let most = || {
        limits(|limits| {
            limits.receive_maximum = u16::MAX;
            limits.max_in_flight = u16::MAX;
        })
    };
    let mut pair = Pair::open_with(&connect(Version::V5_0), most(), most());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..u16::MAX {
        let sent = pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce)).expect("a window");
        assert!(seen.insert(sent.expect("QoS 1")));
    }
    let one_more = pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce));
    assert_eq!(one_more, Err(Blocked::Window));
    let options = crate::packet::SubscriptionOptions::default();
    let request = pair.client.engine.subscribe(&[("t", options)], NONE());
    assert_eq!(request, Err(Blocked::NoPacketId));
    pair.run();
    assert_eq!(pair.server.events.len(), usize::from(u16::MAX));
    pair.server
        .engine
        .acknowledge(PacketId::new(7).expect("not 0"), ReasonCode::Success, NONE())
        .expect("it waits");
    pair.run();
    let sent = pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce)).expect("a window");
    assert_eq!(sent, PacketId::new(7));
}
