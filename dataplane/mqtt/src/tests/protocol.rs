//! What an open connection does not take (3, 4.13).

use super::pair::{NONE, Pair, Peer, connect, limits, properties};
use crate::property::PropertyIn;
use crate::{Config, Event, Misuse, PeerError, Qos, ReasonCode, Version};

/// Sends a packet to an open end, and gives the reason it ends with and what it says.
fn reaction(mut peer: Peer, packet: &[u8]) -> (Option<ReasonCode>, Vec<u8>) {
    peer.send(packet);
    // Nothing behind an error is processed.
    peer.send(&[0xc0, 0]);
    let reason = peer.end.error.as_ref().map(PeerError::reason);
    if reason.is_some() {
        assert!(peer.end.engine.is_done() && peer.end.input.is_empty());
    }
    (reason, peer.said())
}

#[test]
fn a_server_says_why_it_ends_a_5_0_connection_and_just_ends_a_3_1_1_connection() {
    for (packet, reason) in [
        // Not for a server: CONNACK, SUBACK, UNSUBACK, PINGRESP. Not defined: 0.
        (&b"\x20\x03\0\0\0"[..], ReasonCode::ProtocolError),
        (b"\x90\x04\0\x01\0\0", ReasonCode::ProtocolError),
        (b"\xb0\x04\0\x01\0\0", ReasonCode::ProtocolError),
        (b"\xd0\0", ReasonCode::ProtocolError),
        (b"\0\0", ReasonCode::MalformedPacket),
        // Reserved flags, bodies where there are none.
        (b"\xc1\0", ReasonCode::MalformedPacket),
        (b"\xc0\x01x", ReasonCode::MalformedPacket),
        (b"\x41\x02\0\x01", ReasonCode::MalformedPacket),
        (b"\x60\x02\0\x01", ReasonCode::MalformedPacket),
        // A remaining length of five bytes.
        (b"\xc0\x80\x80\x80\x80\x00", ReasonCode::MalformedPacket),
        // QoS 3; DUP with QoS 0; packet identifier 0.
        (b"\x36\x06\0\x01t\0\x01\0", ReasonCode::MalformedPacket),
        (b"\x38\x04\0\x01t\0", ReasonCode::MalformedPacket),
        (b"\x32\x06\0\x01t\0\0\0", ReasonCode::ProtocolError),
        // A wildcard in a topic name.
        (b"\x30\x04\0\x01#\0", ReasonCode::TopicNameInvalid),
    ] {
        let server = |version| Peer::open_server(version, Config::default());
        let (said, bytes) = reaction(server(Version::V5_0), packet);
        assert_eq!(said, Some(reason), "{packet:02x?}");
        assert_eq!(bytes, [0xe0, 1, reason.to_byte()], "{packet:02x?}");
        let (said, bytes) = reaction(server(Version::V3_1_1), packet);
        assert!(said.is_some(), "{packet:02x?}");
        assert!(bytes.is_empty(), "{packet:02x?}: {bytes:02x?}");
    }
}

#[test]
fn a_client_ends_a_connection_whose_server_breaks_the_rules() {
    for packet in [
        &b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c"[..],
        b"\x82\x07\0\x01\0\0\x01t\0",
        b"\xa2\x06\0\x01\0\0\x01t",
        b"\xc0\0",
        b"\x20\x03\0\0\0",
        // Answers to nothing.
        b"\x90\x04\0\x01\0\0",
        b"\xb0\x04\0\x01\0\0",
    ] {
        let (said, bytes) = reaction(Peer::open_client(Version::V5_0, Config::default()), packet);
        assert_eq!(said, Some(ReasonCode::ProtocolError), "{packet:02x?}");
        assert_eq!(bytes, [0xe0, 1, 0x82], "{packet:02x?}");
    }
    // 3.1.1 has neither DISCONNECT of a server nor AUTH.
    for packet in [&b"\xe0\0"[..], b"\xf0\0"] {
        let (said, bytes) = reaction(Peer::open_client(Version::V3_1_1, Config::default()), packet);
        assert!(said.is_some());
        assert!(bytes.is_empty());
    }
}

#[test]
fn what_is_not_offered_is_refused() {
    let config = || Config {
        maximum_qos: Qos::AtLeastOnce,
        retain_available: false,
        wildcard_subscription_available: false,
        subscription_identifier_available: false,
        shared_subscription_available: false,
        ..Config::default()
    };
    for (packet, reason) in [
        (&b"\x34\x06\0\x01t\0\x01\0"[..], ReasonCode::QosNotSupported),
        (b"\x31\x04\0\x01t\0", ReasonCode::RetainNotSupported),
        (b"\x82\x07\0\x01\0\0\x01+\0", ReasonCode::WildcardSubscriptionsNotSupported),
        (b"\x82\x09\0\x01\x02\x0b\x01\0\x01t\0", ReasonCode::SubscriptionIdentifiersNotSupported),
        (b"\x82\x10\0\x01\0\0\x0a$share/g/t\0", ReasonCode::SharedSubscriptionsNotSupported),
    ] {
        let (said, bytes) = reaction(Peer::open_server(Version::V5_0, config()), packet);
        assert_eq!(said, Some(reason), "{packet:02x?}");
        assert_eq!(bytes, [0xe0, 1, reason.to_byte()]);
        let (said, _) = reaction(Peer::open_server(Version::V5_0, Config::default()), packet);
        assert_eq!(said, None, "{packet:02x?}");
    }
}

#[test]
fn a_client_does_not_ask_for_what_is_not_offered() {
    let server = Config { maximum_qos: Qos::AtMostOnce, retain_available: false, ..Config::default() };
    let mut pair = Pair::open_with(&connect(Version::V5_0), Config::default(), server);
    let body = bytes::Bytes::new();
    let mut message = super::pair::message("t", &body, Qos::AtLeastOnce);
    let refused = |reason| Err(crate::Blocked::NotOffered(reason));
    assert_eq!(pair.client.engine.publish(&message), refused(ReasonCode::QosNotSupported));
    message.qos = Qos::AtMostOnce;
    message.retain = true;
    assert_eq!(pair.client.engine.publish(&message), refused(ReasonCode::RetainNotSupported));
}

#[test]
fn a_subscription_identifier_in_a_clients_publication_is_a_protocol_error() {
    let packet = b"\x30\x06\0\x01t\x02\x0b\x01";
    let (said, _) = reaction(Peer::open_server(Version::V5_0, Config::default()), packet);
    assert_eq!(said, Some(ReasonCode::ProtocolError));
    let (said, _) = reaction(Peer::open_client(Version::V5_0, limits(|_| ())), packet);
    // The PINGREQ behind it is what a client does not take.
    assert_eq!(said, Some(ReasonCode::ProtocolError));
    let mut peer = Peer::open_client(Version::V5_0, Config::default());
    peer.send(packet);
    let ids: Vec<u32> = peer.end.publish_event().properties().subscription_identifiers().collect();
    assert_eq!(ids, [1]);
}

#[test]
fn a_disconnect_is_told_with_its_reason_and_not_answered() {
    for (packet, reason) in [
        (&b"\xe0\0"[..], ReasonCode::Success),
        (b"\xe0\x01\x04", ReasonCode::DisconnectWithWill),
        (b"\xe0\x02\x00\x00", ReasonCode::Success),
    ] {
        let mut peer = Peer::open_server(Version::V5_0, Config::default());
        peer.send(packet);
        peer.send(b"\x30\x04\0\x01t\0");
        let Event::Disconnected(packet) = peer.end.event() else { panic!("a DISCONNECT") };
        assert_eq!(packet.reason, reason);
        assert!(peer.said().is_empty() && peer.end.events.is_empty());
        assert!(peer.end.engine.is_done());
    }
}

#[test]
fn a_disconnect_has_a_reason_of_its_sender() {
    // 0x8b is for servers, 0x04 for clients.
    let (said, _) = reaction(Peer::open_server(Version::V5_0, Config::default()), b"\xe0\x01\x8b");
    assert_eq!(said, Some(ReasonCode::ProtocolError));
    let (said, _) = reaction(Peer::open_client(Version::V5_0, Config::default()), b"\xe0\x01\x04");
    assert_eq!(said, Some(ReasonCode::ProtocolError));
    let mut pair = Pair::open(Version::V5_0);
    let wrong = ReasonCode::ServerShuttingDown;
    assert_eq!(pair.client.engine.disconnect(wrong, NONE()), Err(Misuse::Reason(wrong)));
    pair.server.engine.disconnect(wrong, NONE()).expect("open");
    pair.run();
    assert!(matches!(pair.client.event(), Event::Disconnected(packet) if packet.reason == wrong));
}

#[test]
fn a_disconnect_must_not_give_a_life_to_a_session_that_has_none() {
    let packet = b"\xe0\x07\0\x05\x11\0\0\0\x01";
    let (said, _) = reaction(Peer::open_server(Version::V5_0, Config::default()), packet);
    assert_eq!(said, Some(ReasonCode::ProtocolError));
    // 0 stays 0.
    let packet = b"\xe0\x07\0\x05\x11\0\0\0\0";
    let (said, _) = reaction(Peer::open_server(Version::V5_0, Config::default()), packet);
    assert_eq!(said, None);
    // A server must not say one at all.
    let (said, _) = reaction(Peer::open_client(Version::V5_0, Config::default()), packet);
    assert_eq!(said, Some(ReasonCode::ProtocolError));

    let lasting = properties(PropertyIn::Connect, |writer| {
        writer.session_expiry_interval(10).expect("allowed");
    });
    let connect = crate::packet::Connect { properties: lasting, ..connect(Version::V5_0) };
    let mut pair = Pair::open_with(&connect, Config::default(), Config::default());
    assert_eq!(pair.server.engine.session_expiry_interval(), 10);
    let longer = properties(PropertyIn::Disconnect, |writer| {
        writer.session_expiry_interval(20).expect("allowed");
    });
    pair.client.engine.disconnect(ReasonCode::Success, longer.view()).expect("open");
    pair.run();
    let Event::Disconnected(packet) = pair.server.event() else { panic!("a DISCONNECT") };
    assert_eq!(packet.properties.view().session_expiry_interval(), Some(20));
}

#[test]
fn a_packet_does_not_depend_on_how_it_was_cut_into_reads() {
    let stream = b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c\x32\x07\0\x01t\0\x01\0x\xc0\0\xe0\0";
    for size in 1..stream.len() {
        let mut peer = Peer::server(Config::default());
        for part in stream.chunks(size) {
            peer.send(part);
            if matches!(peer.end.events.back(), Some(Event::Connect(_))) {
                let _ = peer.end.engine.accept(peer.now, crate::Accept::default());
            }
        }
        peer.send(&[]);
        assert_eq!(peer.end.events.len(), 3, "{size}: {:?}", peer.end.error);
        assert!(peer.said().ends_with(&[0xd0, 0]));
    }
}
