//! A PUBLISH encoded once, and identifiers reserved before the PUBLISH leaves.

use bytes::Bytes;

use super::pair::{NONE, Pair, VERSIONS, connect, drain, limits, message, properties};
use crate::property::PropertyIn;
use crate::{Blocked, Config, EncodedPublish, Event, Outgoing, Qos, ReasonCode, SEGMENT_THRESHOLD, Version};

#[test]
fn an_encoded_publication_is_the_same_bytes_as_one_of_its_own() {
    let given = properties(PropertyIn::Publish, |writer| {
        writer.content_type("text/plain").and_then(|writer| writer.user_property("a", "1")).expect("legal");
    });
    for version in VERSIONS {
        for size in [0, 100, SEGMENT_THRESHOLD, 3 * SEGMENT_THRESHOLD] {
            let without_aliases = limits(|limits| limits.topic_alias_maximum = 0);
            let mut pair = Pair::open_with(&connect(version), without_aliases, Config::default());
            assert!(!pair.server.engine.has_outgoing_aliases());
            let payload = Bytes::from(vec![b'x'; size]);
            let publish = Outgoing {
                retain: true,
                properties: given.view(),
                message_expiry: Some(7),
                subscription_identifiers: &[1, 300],
                ..Outgoing::new("sensors/kitchen", &payload)
            };
            let engine = &mut pair.server.engine;
            engine.publish(&publish).expect("open");
            let expected = drain(engine, pair.now);
            let mut encoded = EncodedPublish::default();
            // What was there before leaves nothing.
            encoded.encode(version, &message("other", &payload, Qos::AtMostOnce)).expect("legal");
            encoded.encode(version, &publish).expect("legal");
            engine.publish_encoded(&encoded).expect("open");
            engine.publish_encoded(&encoded).expect("open");
            assert_eq!(encoded.size(), expected.len());
            assert_eq!(drain(engine, pair.now), [&expected[..], &expected[..]].concat());
        }
    }
}

#[test]
fn an_encoded_publication_of_another_version_is_refused() {
    let mut pair = Pair::open(Version::V3_1_1);
    let payload = Bytes::new();
    let mut encoded = EncodedPublish::default();
    assert_eq!(pair.server.engine.publish_encoded(&encoded), Err(Blocked::Version));
    encoded.encode(Version::V5_0, &Outgoing::new("a", &payload)).expect("legal");
    assert_eq!(pair.server.engine.publish_encoded(&encoded), Err(Blocked::Version));
    encoded.encode(Version::V3_1_1, &Outgoing::new("a", &payload)).expect("legal");
    encoded.clear();
    assert_eq!(pair.server.engine.publish_encoded(&encoded), Err(Blocked::Version));
    assert_eq!(pair.server.engine.buffered(), 0);
}

#[test]
fn an_encoded_publication_that_the_peer_does_not_take_is_refused() {
    let mut pair = Pair::open_with(
        &connect(Version::V5_0),
        limits(|limits| limits.max_packet_size = 20),
        Config::default(),
    );
    let mut encoded = EncodedPublish::default();
    let payload = Bytes::from_static(b"0123456789abcde");
    encoded.encode(Version::V5_0, &Outgoing::new("a", &payload)).expect("legal");
    let blocked = Blocked::TooLarge { size: 21, limit: 20 };
    assert_eq!(pair.server.engine.publish_encoded(&encoded), Err(blocked));
    encoded.encode(Version::V5_0, &Outgoing::new("a", &payload.slice(1..))).expect("legal");
    assert_eq!(pair.server.engine.publish_encoded(&encoded), Ok(()));
}

#[test]
fn what_is_no_topic_name_is_not_encoded() {
    let mut encoded = EncodedPublish::default();
    for topic in ["", "a/+", "a\0"] {
        let result = encoded.encode(Version::V5_0, &Outgoing::new(topic, &Bytes::new()));
        assert!(matches!(result, Err(Blocked::Topic(_))), "{topic:?}");
        assert_eq!(encoded.size(), 0);
    }
}

#[test]
fn a_reserved_identifier_takes_its_place_before_the_message_leaves() {
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let body = Bytes::from_static(b"x");
        let window = pair.server.engine.window();
        let first = pair.server.engine.reserve(Qos::ExactlyOnce, 7).expect("a window");
        assert_eq!((pair.server.engine.window(), pair.server.engine.buffered()), (window - 1, 0));
        assert_eq!(pair.server.engine.session_state().outgoing.len(), 1, "it would be resumed");
        let second = pair.server.engine.publish(&message("a", &body, Qos::AtLeastOnce)).expect("a window");
        assert_eq!(second, Some(first.next()));
        pair.server.engine.publish_reserved(first, &message("a", &body, Qos::AtMostOnce)).expect("reserved");
        let again = pair.server.engine.publish_reserved(first, &message("a", &body, Qos::ExactlyOnce));
        assert_eq!(again, Err(Blocked::NoPacketId));
        pair.run();
        assert_eq!(pair.client.publish_event().packet_id, second);
        let publish = pair.client.publish_event();
        assert_eq!(
            (publish.packet_id, publish.qos, publish.duplicate),
            (Some(first), Qos::ExactlyOnce, false)
        );
        pair.client.engine.acknowledge(first, ReasonCode::Success, NONE()).expect("it waits");
        pair.run();
        assert!(matches!(pair.server.event(), Event::Received { token: 7, .. }));
    }
}

#[test]
fn a_reserved_identifier_that_is_forgotten_is_free_again() {
    let mut pair = Pair::open(Version::V5_0);
    let window = pair.server.engine.window();
    let packet_id = pair.server.engine.reserve(Qos::ExactlyOnce, 7).expect("a window");
    assert!(pair.server.engine.forget(packet_id));
    assert!(!pair.server.engine.forget(packet_id));
    assert_eq!(pair.server.engine.window(), window);
    assert!(pair.server.engine.session_state().is_empty());
    assert_eq!(pair.server.engine.reserve(Qos::AtMostOnce, 7), Err(Blocked::NotOpen));
}
