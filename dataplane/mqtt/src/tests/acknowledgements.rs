//! QoS 1 and 2 in both directions (4.3), and the order of acknowledgements (4.6).

use bytes::Bytes;

use super::pair::{NONE, Pair, Peer, VERSIONS, connect, message, properties};
use crate::property::PropertyIn;
use crate::{Blocked, Config, Event, Misuse, PacketId, PeerError, Qos, ReasonCode, Version};

static BODY: Bytes = Bytes::from_static(b"x");

fn id(number: u16) -> PacketId {
    PacketId::new(number).expect("not 0")
}

#[test]
fn a_publication_arrives_as_it_was_sent_in_both_directions() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let said = properties(PropertyIn::Publish, |writer| {
                writer.user_property("a", "1").expect("allowed");
                writer.user_property("a", "2").expect("allowed");
                writer.content_type("").expect("allowed");
            });
            let message =
                crate::Outgoing { retain: true, properties: said.view(), ..message("t/1", &BODY, qos) };
            let sent = pair.client.engine.publish(&message).expect("open");
            assert_eq!(sent.is_some(), qos > Qos::AtMostOnce);
            pair.server.engine.publish(&message).expect("open");
            pair.run();
            for end in [&mut pair.client, &mut pair.server] {
                let publish = end.publish_event();
                assert_eq!((publish.topic(), publish.payload()), ("t/1", &b"x"[..]));
                assert_eq!((publish.qos, publish.retain, publish.duplicate), (qos, true, false));
                let names: Vec<_> = publish.properties().user_properties().collect();
                if version == Version::V5_0 {
                    assert_eq!(names, [("a", "1"), ("a", "2")]);
                    assert_eq!(publish.properties().content_type(), Some(""));
                } else {
                    assert!(publish.properties().is_empty());
                }
            }
        }
    }
}

#[test]
fn qos_1_ends_with_a_puback_that_carries_the_reason() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let message = crate::Outgoing { token: 77, ..message("t", &BODY, Qos::AtLeastOnce) };
        let sent = pair.client.engine.publish(&message).expect("open").expect("QoS 1");
        pair.run();
        let publish = pair.server.publish_event();
        assert_eq!(publish.packet_id, Some(sent));
        let reason = ReasonCode::NoMatchingSubscribers;
        pair.server.engine.acknowledge(sent, reason, NONE()).expect("it waits");
        let again = pair.server.engine.acknowledge(sent, reason, NONE());
        assert_eq!(again, Err(Misuse::UnknownPacketId(sent.to_number())));
        pair.run();
        let Event::Acknowledged { packet_id, token, reason, .. } = pair.client.event() else { panic!() };
        assert_eq!((packet_id, token), (sent, 77));
        let expected = match version {
            Version::V5_0 => ReasonCode::NoMatchingSubscribers,
            Version::V3_1_1 => ReasonCode::Success,
        };
        assert_eq!(reason, expected);
    }
}

#[test]
fn qos_2_takes_four_packets_and_tells_each_end_twice() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let sent = pair.client.engine.publish(&message("t", &BODY, Qos::ExactlyOnce));
        let sent = sent.expect("open").expect("QoS 2");
        pair.run();
        pair.server.publish_event();
        pair.server.engine.acknowledge(sent, ReasonCode::Success, NONE()).expect("it waits");
        pair.run();
        assert!(matches!(pair.server.event(), Event::Released { packet_id } if packet_id == sent));
        assert!(matches!(pair.client.event(), Event::Received { packet_id, .. } if packet_id == sent));
        assert!(matches!(pair.client.event(), Event::Completed { packet_id, .. } if packet_id == sent));
        assert!(pair.client.engine.session_state().is_empty());
        assert!(pair.server.engine.session_state().is_empty());
    }
}

#[test]
fn a_refused_qos_2_publication_has_ended_and_frees_its_identifier() {
    let mut pair = Pair::open(Version::V5_0);
    let before = pair.client.engine.window();
    let sent = pair.client.engine.publish(&message("t", &BODY, Qos::ExactlyOnce));
    let sent = sent.expect("open").expect("QoS 2");
    assert_eq!(pair.client.engine.window(), before - 1);
    pair.run();
    pair.server.publish_event();
    let words = properties(PropertyIn::Ack, |writer| {
        writer.reason_string("full").expect("allowed");
    });
    pair.server.engine.acknowledge(sent, ReasonCode::QuotaExceeded, words.view()).expect("it waits");
    pair.run();
    let Event::Acknowledged { reason, properties, .. } = pair.client.event() else { panic!("its end") };
    assert_eq!(reason, ReasonCode::QuotaExceeded);
    assert_eq!(properties.view().reason_string(), Some("full"));
    assert_eq!(pair.client.engine.window(), before);
    assert!(pair.server.engine.session_state().is_empty());
}

#[test]
fn a_3_1_1_server_takes_a_qos_2_publication_whatever_its_reason() {
    let mut pair = Pair::open(Version::V3_1_1);
    let sent = pair.client.engine.publish(&message("t", &BODY, Qos::ExactlyOnce));
    let sent = sent.expect("open").expect("QoS 2");
    pair.run();
    pair.server.publish_event();
    pair.server.engine.acknowledge(sent, ReasonCode::QuotaExceeded, NONE()).expect("it waits");
    pair.run();
    assert!(matches!(pair.server.event(), Event::Released { .. }));
}

#[test]
fn acknowledgements_leave_in_the_order_of_the_callers_words() {
    let mut peer = Peer::open_server(Version::V5_0, Config::default());
    peer.send(b"\x32\x06\0\x01t\0\x01\0\x34\x06\0\x01t\0\x02\0\x32\x06\0\x01t\0\x03\0");
    for number in [3, 1, 2] {
        peer.end.engine.acknowledge(id(number), ReasonCode::Success, NONE()).expect("it waits");
    }
    assert_eq!(peer.said(), [0x40, 2, 0, 3, 0x40, 2, 0, 1, 0x50, 2, 0, 2]);
}

#[test]
fn an_acknowledgement_has_a_reason_of_its_packet() {
    let mut peer = Peer::open_server(Version::V5_0, Config::default());
    peer.send(b"\x32\x06\0\x01t\0\x01\0");
    let wrong = ReasonCode::ServerMoved;
    let said = peer.end.engine.acknowledge(id(1), wrong, NONE());
    assert_eq!(said, Err(Misuse::Reason(wrong)));
    assert_eq!(peer.end.engine.pending_acknowledgements(), 1);
}

#[test]
fn words_in_acknowledgements_are_left_out_for_who_wants_none() {
    let properties_of_connect = properties(PropertyIn::Connect, |writer| {
        writer.request_problem_information(false).expect("allowed");
    });
    let connect = crate::packet::Connect { properties: properties_of_connect, ..connect(Version::V5_0) };
    let mut pair = Pair::open_with(&connect, Config::default(), Config::default());
    let sent = pair.client.engine.publish(&message("t", &BODY, Qos::AtLeastOnce));
    let sent = sent.expect("open").expect("QoS 1");
    pair.run();
    pair.server.publish_event();
    let words = properties(PropertyIn::Ack, |writer| {
        writer.reason_string("because").expect("allowed");
    });
    pair.server.engine.acknowledge(sent, ReasonCode::NotAuthorized, words.view()).expect("it waits");
    pair.run();
    let Event::Acknowledged { properties, .. } = pair.client.event() else { panic!("its end") };
    assert!(properties.is_empty());
}

#[test]
fn a_qos_2_publication_sent_twice_is_told_once_and_answered_twice() {
    for (version, publish, again) in [
        (Version::V5_0, &b"\x34\x06\0\x01t\0\x05\0"[..], &b"\x3c\x06\0\x01t\0\x05\0"[..]),
        (Version::V3_1_1, b"\x34\x05\0\x01t\0\x05", b"\x3c\x05\0\x01t\0\x05"),
    ] {
        let mut peer = Peer::open_server(version, Config::default());
        peer.send(publish);
        // Not yet acknowledged: the answer to come serves both.
        peer.send(again);
        assert!(peer.said().is_empty());
        peer.end.engine.acknowledge(id(5), ReasonCode::Success, NONE()).expect("it waits");
        peer.send(again);
        assert_eq!(peer.said(), [0x50, 2, 0, 5, 0x50, 2, 0, 5]);
        assert_eq!(peer.end.events.len(), 1);
        peer.send(&[0x62, 2, 0, 5]);
        assert_eq!(peer.said(), [0x70, 2, 0, 5]);
        // The identifier is free: this one is another message.
        peer.send(publish);
        assert_eq!(peer.end.events.len(), 3, "two publications and a release");
    }
}

#[test]
fn unknown_acknowledgements_are_answered_and_end_nothing() {
    for (version, rel, comp) in [
        (Version::V5_0, &[0x62, 3, 0, 9, 0x92][..], &[0x70, 3, 0, 9, 0x92][..]),
        (Version::V3_1_1, &[0x62, 2, 0, 9], &[0x70, 2, 0, 9]),
    ] {
        let mut peer = Peer::open_server(version, Config::default());
        peer.send(&[0x40, 2, 0, 9]);
        peer.send(&[0x70, 2, 0, 9]);
        assert!(peer.said().is_empty());
        peer.send(&[0x50, 2, 0, 9]);
        assert_eq!(peer.said(), rel);
        peer.send(&[0x62, 2, 0, 9]);
        assert_eq!(peer.said(), comp);
        assert!(peer.end.events.is_empty() && peer.end.error.is_none());
    }
}

#[test]
fn an_acknowledgement_of_another_qos_is_a_protocol_error() {
    for (qos, packet) in [
        (Qos::AtLeastOnce, [0x50, 2, 0, 1]),
        (Qos::AtLeastOnce, [0x70, 2, 0, 1]),
        (Qos::ExactlyOnce, [0x40, 2, 0, 1]),
        (Qos::ExactlyOnce, [0x70, 2, 0, 1]),
    ] {
        let mut peer = Peer::open_server(Version::V5_0, Config::default());
        peer.end.engine.publish(&message("t", &BODY, qos)).expect("open");
        peer.said();
        peer.send(&packet);
        assert_eq!(peer.said(), [0xe0, 1, 0x82], "{qos:?} {packet:02x?}");
    }
}

#[test]
fn a_release_before_its_pubrec_is_a_protocol_error() {
    for publish in [b"\x34\x06\0\x01t\0\x01\0", b"\x32\x06\0\x01t\0\x01\0"] {
        let mut peer = Peer::open_server(Version::V5_0, Config::default());
        peer.send(publish);
        peer.send(&[0x62, 2, 0, 1]);
        assert_eq!(peer.end.error.as_ref().map(PeerError::reason), Some(ReasonCode::ProtocolError));
    }
}

#[test]
fn an_identifier_in_use_is_not_taken_for_another_publication() {
    // Without the duplicate flag; with another QoS.
    for second in [b"\x32\x06\0\x01t\0\x01\0", b"\x3c\x06\0\x01t\0\x01\0"] {
        let mut peer = Peer::open_server(Version::V5_0, Config::default());
        peer.send(b"\x32\x06\0\x01t\0\x01\0");
        peer.send(second);
        assert_eq!(peer.said(), [0xe0, 1, 0x82]);
    }
}

#[test]
fn release_and_completion_wait_for_the_caller_where_it_wants_so() {
    let config = || Config { automatic_release: false, ..Config::default() };
    let mut pair = Pair::open_with(&connect(Version::V5_0), config(), config());
    let sent = pair.client.engine.publish(&message("t", &BODY, Qos::ExactlyOnce));
    let sent = sent.expect("open").expect("QoS 2");
    assert!(pair.client.engine.release(sent).is_err(), "no PUBREC has come");
    pair.run();
    pair.server.publish_event();
    pair.server.engine.acknowledge(sent, ReasonCode::Success, NONE()).expect("it waits");
    assert!(pair.server.engine.complete(sent).is_err(), "no PUBREL has come");
    pair.run();
    assert!(matches!(pair.client.event(), Event::Received { .. }));
    assert!(pair.server.events.is_empty());
    pair.client.engine.release(sent).expect("received");
    pair.run();
    assert!(matches!(pair.server.event(), Event::Released { .. }));
    assert!(pair.client.events.is_empty());
    assert_eq!(pair.server.engine.session_state().incoming, [sent]);
    pair.server.engine.complete(sent).expect("released");
    pair.run();
    assert!(matches!(pair.client.event(), Event::Completed { .. }));
    assert!(pair.server.engine.session_state().is_empty());
}

#[test]
fn nothing_is_published_before_and_after_an_open_connection() {
    let mut peer = Peer::client(&connect(Version::V5_0), Config::default());
    let message = message("t", &BODY, Qos::AtMostOnce);
    assert_eq!(peer.end.engine.publish(&message), Err(Blocked::NotOpen));
    peer.send(&[0x20, 3, 0, 0, 0]);
    peer.end.engine.publish(&message).expect("open");
    peer.end.engine.disconnect(ReasonCode::Success, NONE()).expect("open");
    assert_eq!(peer.end.engine.publish(&message), Err(Blocked::NotOpen));
    assert!(peer.said().ends_with(&[0xe0, 0]));
}

#[test]
fn a_wrong_topic_is_not_published() {
    let mut pair = Pair::open(Version::V5_0);
    for topic in ["", "a/+", "#", "a\0b"] {
        for qos in [Qos::AtMostOnce, Qos::ExactlyOnce] {
            let said = pair.client.engine.publish(&message(topic, &BODY, qos));
            assert!(matches!(said, Err(Blocked::Topic(_))), "{topic:?}: {said:?}");
        }
    }
    assert_eq!(pair.client.engine.buffered(), 0);
    assert!(pair.client.engine.session_state().is_empty());
}

#[test]
fn a_large_payload_is_neither_copied_in_nor_out() {
    let mut pair = Pair::open(Version::V5_0);
    let body = Bytes::from(vec![7; 100_000]);
    pair.client.engine.publish(&message("t", &body, Qos::AtMostOnce)).expect("open");
    let mut slices = [std::io::IoSlice::new(&[]); 3];
    let used = pair.client.engine.slices(&mut slices);
    assert_eq!(used, 2);
    assert_eq!(slices[1].as_ptr(), body.as_ptr());
    let all = super::pair::drain(&mut pair.client.engine, pair.now);
    pair.server.input.extend_from_slice(&all);
    let range = pair.server.input.as_ptr_range();
    pair.server.take_in(pair.now);
    let payload = pair.server.publish_event().into_payload();
    assert_eq!(payload, body);
    assert!(range.contains(&payload.as_ptr()));
}
