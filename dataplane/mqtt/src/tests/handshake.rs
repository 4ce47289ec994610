//! CONNECT, CONNACK, AUTH (3.1, 3.2, 4.12).

use super::pair::{NONE, Pair, Peer, VERSIONS, connect, limits, properties, text};
use crate::packet::{Connect, Will};
use crate::property::{Properties, PropertyIn};
use crate::{Accept, Config, Event, Misuse, PeerError, Qos, ReasonCode, SessionState, Version};

#[test]
fn both_sides_are_open_after_the_handshake() {
    for version in VERSIONS {
        let pair = Pair::open(version);
        assert!(pair.client.engine.is_open() && pair.server.engine.is_open());
        assert_eq!(pair.server.engine.version(), version);
    }
}

#[test]
fn the_connack_says_what_the_server_takes_and_does_not_offer() {
    let config = Config {
        maximum_qos: Qos::AtLeastOnce,
        retain_available: false,
        wildcard_subscription_available: false,
        subscription_identifier_available: false,
        shared_subscription_available: false,
        ..limits(|limits| {
            limits.receive_maximum = 7;
            limits.max_packet_size = 5_000;
            limits.topic_alias_maximum = 3;
        })
    };
    let mut pair = Pair::new(&connect(Version::V5_0), Config::default(), config, SessionState::default());
    pair.run();
    pair.server.event();
    let accept = Accept {
        keep_alive: Some(9),
        session_expiry_interval: Some(60),
        assigned_client_id: Some("chosen"),
        ..Accept::default()
    };
    pair.server.engine.accept(pair.now, accept).expect("a client waits");
    pair.run();
    let Event::Connected(packet) = pair.client.event() else { panic!("let in") };
    let said = packet.properties.view();
    assert!(!packet.session_present);
    assert_eq!(said.receive_maximum(), Some(7));
    assert_eq!(said.maximum_packet_size(), Some(5_000));
    assert_eq!(said.topic_alias_maximum(), Some(3));
    assert_eq!(said.server_keep_alive(), Some(9));
    assert_eq!(said.session_expiry_interval(), Some(60));
    assert_eq!(said.assigned_client_identifier(), Some("chosen"));
    assert_eq!(said.maximum_qos(), Some(Qos::AtLeastOnce));
    assert_eq!(said.retain_available(), Some(false));
    assert_eq!(said.wildcard_subscription_available(), Some(false));
    assert_eq!(said.subscription_identifier_available(), Some(false));
    assert_eq!(said.shared_subscription_available(), Some(false));
    assert_eq!(pair.client.engine.keep_alive(), 9);
    assert_eq!(pair.server.engine.keep_alive(), 9);
    assert_eq!(pair.client.engine.window(), 7);
}

#[test]
fn a_server_that_offers_everything_says_nothing_of_it() {
    let pair = {
        let mut pair = Pair::new(
            &connect(Version::V5_0),
            Config::default(),
            limits(|limits| {
                limits.receive_maximum = u16::MAX;
                limits.max_packet_size = u32::MAX;
                limits.topic_alias_maximum = 0;
            }),
            SessionState::default(),
        );
        pair.run();
        pair.server.event();
        pair.server.engine.accept(pair.now, Accept::default()).expect("a client waits");
        pair.run();
        pair
    };
    let mut pair = pair;
    let Event::Connected(packet) = pair.client.event() else { panic!("let in") };
    assert!(packet.properties.is_empty(), "{:?}", packet.properties);
}

#[test]
fn what_is_no_connect_ends_the_connection_without_a_word() {
    for first in [0x20, 0x30, 0x40, 0x62, 0x82, 0xc0, 0xe0, 0xf0, 0x00] {
        let mut peer = Peer::server(Config::default());
        // Its length is not waited for.
        peer.send(&[first]);
        assert!(peer.end.error.is_some(), "{first:#04x}");
        assert!(peer.said().is_empty());
        assert!(peer.end.engine.is_done());
    }
}

#[test]
fn another_protocol_level_is_refused_in_a_form_that_its_client_reads() {
    for (packet, answer) in [
        (&b"\x10\x0d\0\x04MQTT\x06\x02\0\0\0\x01c"[..], &[0x20, 3, 0, 0x84, 0][..]),
        (b"\x10\x0d\0\x04MQTT\x03\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        (b"\x10\x0f\0\x06MQIsdp\x03\x02\0\0\0\x01c", &[0x20, 2, 0, 1]),
        (b"\x10\x0d\0\x04AMQP\x05\x02\0\0\0\x01c", &[]),
    ] {
        let mut peer = Peer::server(Config::default());
        peer.send(packet);
        assert_eq!(peer.said(), answer, "{packet:?}");
        let reason = peer.end.error.as_ref().map(PeerError::reason);
        assert_eq!(reason, Some(ReasonCode::UnsupportedProtocolVersion));
    }
}

#[test]
fn a_malformed_connect_is_refused_where_its_version_has_a_word_for_it() {
    // The reserved flag.
    for (packet, answer) in [
        (&b"\x10\x0e\0\x04MQTT\x05\x03\0\0\0\0\x01c"[..], &[0x20, 3, 0, 0x81, 0][..]),
        (b"\x10\x0d\0\x04MQTT\x04\x03\0\0\0\x01c", &[]),
    ] {
        let mut peer = Peer::server(Config::default());
        peer.send(packet);
        assert_eq!(peer.said(), answer, "{packet:?}");
        assert_eq!(peer.end.error.as_ref().map(PeerError::reason), Some(ReasonCode::MalformedPacket));
    }
}

#[test]
fn a_3_1_1_client_without_an_identifier_keeps_no_session() {
    let mut peer = Peer::server(Config::default());
    peer.send(b"\x10\x0c\0\x04MQTT\x04\0\0\0\0\0");
    assert_eq!(peer.said(), [0x20, 2, 0, 2]);
    assert!(peer.end.events.is_empty());
    let mut peer = Peer::server(Config::default());
    peer.send(b"\x10\x0c\0\x04MQTT\x04\x02\0\0\0\0");
    assert!(matches!(peer.end.event(), Event::Connect(_)));
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    let mut peer = Peer::open_server(Version::V5_0, Config::default());
    peer.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c");
    assert_eq!(peer.said(), [0xe0, 1, 0x82]);
    let mut peer = Peer::open_server(Version::V3_1_1, Config::default());
    peer.send(b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c");
    assert!(peer.said().is_empty());
    assert!(peer.end.engine.is_done());
}

#[test]
fn packets_behind_a_connect_wait_for_its_answer() {
    let mut peer = Peer::server(Config::default());
    peer.send(b"\x10\x0e\0\x04MQTT\x05\x02\0\0\0\0\x01c\x30\x05\0\x01t\0x\xc0\0");
    assert!(matches!(peer.end.event(), Event::Connect(_)));
    assert!(peer.end.events.is_empty() && peer.said().is_empty());
    peer.end.engine.accept(peer.now, Accept::default()).expect("a client waits");
    peer.send(&[]);
    assert_eq!(peer.end.publish_event().payload(), b"x");
    assert!(peer.said().ends_with(&[0xd0, 0]));
}

#[test]
fn a_refusal_reaches_the_client_in_its_version() {
    for (version, expected) in
        [(Version::V5_0, ReasonCode::Banned), (Version::V3_1_1, ReasonCode::NotAuthorized)]
    {
        let config = Config::default;
        let mut pair = Pair::new(&connect(version), config(), config(), SessionState::default());
        pair.run();
        pair.server.event();
        let reason = ReasonCode::Success;
        assert_eq!(pair.server.engine.refuse(reason, NONE()), Err(Misuse::Reason(reason)));
        let said = properties(PropertyIn::ConnAck, |writer| {
            writer.reason_string("go away").expect("allowed");
        });
        pair.server.engine.refuse(ReasonCode::Banned, said.view()).expect("a client waits");
        pair.run();
        let Event::Connected(packet) = pair.client.event() else { panic!("an answer") };
        assert_eq!(packet.reason, expected);
        let words = packet.properties.view().reason_string();
        assert_eq!(words, (version == Version::V5_0).then_some("go away"));
        assert!(pair.client.engine.is_done() && pair.server.engine.is_done());
    }
}

#[test]
fn a_connack_leaves_words_out_rather_than_be_too_large_for_the_client() {
    let small = limits(|limits| limits.max_packet_size = 64);
    let asking = properties(PropertyIn::Connect, |writer| {
        writer.request_response_information(true).expect("allowed");
    });
    let connect = Connect { properties: asking, ..connect(Version::V5_0) };
    let mut pair = Pair::new(&connect, small, Config::default(), SessionState::default());
    pair.run();
    pair.server.event();
    let said = properties(PropertyIn::ConnAck, |writer| {
        writer.reason_string(&"long".repeat(20)).expect("allowed");
        writer.response_information("r/").expect("allowed");
    });
    let accept = Accept { properties: said.view(), ..Accept::default() };
    pair.server.engine.accept(pair.now, accept).expect("a client waits");
    pair.run();
    let Event::Connected(packet) = pair.client.event() else { panic!("let in") };
    assert_eq!(packet.properties.view().reason_string(), None);
    assert_eq!(packet.properties.view().response_information(), Some("r/"));
}

#[test]
fn response_information_is_for_who_asked() {
    let mut pair =
        Pair::new(&connect(Version::V5_0), Config::default(), Config::default(), SessionState::default());
    pair.run();
    pair.server.event();
    let said = properties(PropertyIn::ConnAck, |writer| {
        writer.response_information("r/").expect("allowed");
    });
    let accept = Accept { properties: said.view(), ..Accept::default() };
    pair.server.engine.accept(pair.now, accept).expect("a client waits");
    pair.run();
    let Event::Connected(packet) = pair.client.event() else { panic!("let in") };
    assert_eq!(packet.properties.view().response_information(), None);
}

#[test]
fn a_client_that_takes_no_connack_is_still_waiting() {
    // As small as a CONNACK without words.
    let tiny = limits(|limits| limits.max_packet_size = 5);
    let mut pair = Pair::new(&connect(Version::V5_0), tiny, Config::default(), SessionState::default());
    pair.run();
    pair.server.event();
    let accept = Accept { keep_alive: Some(7), ..Accept::default() };
    let said = pair.server.engine.accept(pair.now, accept);
    assert!(matches!(said, Err(Misuse::TooLarge { limit: 5, .. })), "{said:?}");
    assert_eq!(pair.server.engine.keep_alive(), 0);
    pair.server.engine.refuse(ReasonCode::PacketTooLarge, NONE()).expect("a client waits");
    pair.run();
    assert!(matches!(pair.client.event(), Event::Connected(packet) if packet.reason.is_error()));
}

#[test]
fn a_will_beyond_what_is_offered_is_refused() {
    let will = |qos, retain| {
        let payload = bytes::Bytes::from_static(b"gone");
        Some(Will { topic: text("w"), payload, qos, retain, properties: Properties::default() })
    };
    let config = || Config { maximum_qos: Qos::AtLeastOnce, retain_available: false, ..Config::default() };
    for (will, reason) in [
        (will(Qos::ExactlyOnce, false), ReasonCode::QosNotSupported),
        (will(Qos::AtLeastOnce, true), ReasonCode::RetainNotSupported),
    ] {
        let connect = Connect { will, ..connect(Version::V5_0) };
        let mut pair = Pair::new(&connect, Config::default(), config(), SessionState::default());
        pair.run();
        assert!(pair.server.events.is_empty());
        let Event::Connected(packet) = pair.client.event() else { panic!("an answer") };
        assert_eq!(packet.reason, reason);
    }
}

#[test]
fn a_client_does_not_take_a_session_that_it_wanted_forgotten() {
    let mut peer = Peer::client(&connect(Version::V5_0), Config::default());
    peer.send(&[0x20, 3, 1, 0, 0]);
    assert_eq!(peer.end.error.as_ref().map(PeerError::reason), Some(ReasonCode::ProtocolError));
}

#[test]
fn a_connect_that_breaks_a_rule_is_not_sent() {
    let password = Some(bytes::Bytes::from_static(b"p"));
    let without_name = Connect { password: password.clone(), ..connect(Version::V3_1_1) };
    let nameless = Connect { client_id: text(""), clean_start: false, ..connect(Version::V3_1_1) };
    let will = Will {
        topic: text("a/+"),
        payload: bytes::Bytes::new(),
        qos: Qos::AtMostOnce,
        retain: false,
        properties: Properties::default(),
    };
    let wild = Connect { will: Some(will), ..connect(Version::V5_0) };
    let now = std::time::Instant::now();
    for wrong in [without_name, nameless, wild] {
        let config = std::sync::Arc::new(Config::default());
        let made = crate::Connection::client(config, &wrong, SessionState::default(), now);
        assert!(matches!(made, Err(Misuse::Value(_))), "{wrong:?}");
    }
    // 5.0 allows a password without a user name.
    let pair = Pair::open_with(
        &Connect { password, ..connect(Version::V5_0) },
        Config::default(),
        Config::default(),
    );
    assert!(pair.client.engine.is_open());
}

fn with_method() -> Connect {
    let properties = properties(PropertyIn::Connect, |writer| {
        writer.authentication_method("SCRAM").expect("allowed");
        writer.authentication_data(b"first").expect("allowed");
    });
    Connect { properties, ..connect(Version::V5_0) }
}

fn data(data: &[u8]) -> Properties {
    properties(PropertyIn::Auth, |writer| {
        writer.authentication_method("SCRAM").expect("allowed");
        writer.authentication_data(data).expect("allowed");
    })
}

#[test]
fn an_authentication_goes_back_and_forth_before_the_connack() {
    let mut pair = Pair::new(&with_method(), Config::default(), Config::default(), SessionState::default());
    pair.run();
    let Event::Connect(connect) = pair.server.event() else { panic!("a CONNECT") };
    assert_eq!(connect.properties.view().authentication_data(), Some(&b"first"[..]));
    pair.server.engine.auth(ReasonCode::ContinueAuthentication, data(b"challenge").view()).expect("its turn");
    pair.run();
    let Event::Auth(auth) = pair.client.event() else { panic!("a challenge") };
    assert_eq!(auth.properties.view().authentication_data(), Some(&b"challenge"[..]));
    pair.client.engine.auth(ReasonCode::ContinueAuthentication, data(b"proof").view()).expect("its turn");
    pair.run();
    assert!(matches!(pair.server.event(), Event::Auth(_)));
    pair.server.engine.accept(pair.now, Accept::default()).expect("a client waits");
    pair.run();
    let Event::Connected(packet) = pair.client.event() else { panic!("let in") };
    assert_eq!(packet.properties.view().authentication_method(), Some("SCRAM"));

    // And again on the open connection.
    assert_eq!(pair.server.engine.auth(ReasonCode::Success, NONE()), Err(Misuse::State), "nothing was begun");
    pair.client.engine.auth(ReasonCode::ReAuthenticate, data(b"again").view()).expect("open");
    pair.run();
    assert!(matches!(pair.server.event(), Event::Auth(auth) if auth.reason == ReasonCode::ReAuthenticate));
    pair.server.engine.auth(ReasonCode::Success, NONE()).expect("begun");
    pair.run();
    assert!(matches!(pair.client.event(), Event::Auth(auth) if auth.reason == ReasonCode::Success));
    assert!(pair.client.error.is_none() && pair.server.error.is_none());
}

#[test]
fn a_refused_authentication_ends_with_its_reason() {
    let mut pair = Pair::new(&with_method(), Config::default(), Config::default(), SessionState::default());
    pair.run();
    pair.server.event();
    pair.server.engine.refuse(ReasonCode::BadAuthenticationMethod, NONE()).expect("a client waits");
    pair.run();
    let Event::Connected(packet) = pair.client.event() else { panic!("an answer") };
    assert_eq!(packet.reason, ReasonCode::BadAuthenticationMethod);
}

#[test]
fn an_auth_out_of_order_is_a_protocol_error() {
    let auth = |reason: u8, method: &[u8]| {
        let length = method.len() as u8;
        [&[0xf0, length + 5, reason, length + 3, 0x15, 0, length][..], method].concat()
    };
    // No method in the CONNECT.
    let mut peer = Peer::open_server(Version::V5_0, Config::default());
    peer.send(&auth(0x19, b"SCRAM"));
    assert_eq!(peer.said(), [0xe0, 1, 0x82]);

    for (packet, is_fine) in [
        (auth(0x19, b"SCRAM"), true),
        (auth(0x18, b"SCRAM"), false),
        (auth(0x19, b"OTHER"), false),
        (auth(0x00, b"SCRAM"), false),
        (vec![0xf0, 2, 0x19, 0], false),
        (vec![0xf0, 0], false),
    ] {
        let mut pair =
            Pair::new(&with_method(), Config::default(), Config::default(), SessionState::default());
        pair.let_in(Accept::default());
        pair.server.input.extend_from_slice(&packet);
        pair.server.take_in(pair.now);
        assert_eq!(pair.server.error.is_none(), is_fine, "{packet:02x?}");
    }
}

#[test]
fn a_packet_between_the_steps_of_an_authentication_is_refused() {
    let mut pair = Pair::new(&with_method(), Config::default(), Config::default(), SessionState::default());
    pair.run();
    pair.server.event();
    pair.server.engine.auth(ReasonCode::ContinueAuthentication, data(b"x").view()).expect("its turn");
    pair.run();
    pair.server.input.extend_from_slice(b"\x30\x04\0\x01t\0");
    pair.server.take_in(pair.now);
    assert_eq!(pair.server.error.as_ref().map(PeerError::reason), Some(ReasonCode::ProtocolError));
    pair.run();
    pair.client.engine.auth(ReasonCode::ContinueAuthentication, data(b"y").view()).expect("its turn");
    pair.run();
    pair.client.event();
    assert!(
        matches!(pair.client.event(), Event::Connected(packet) if packet.reason == ReasonCode::ProtocolError)
    );
}
