//! Keep alive and deadlines (3.1.2.10).

use std::time::Duration;

use bytes::Bytes;

use super::pair::{Pair, Peer, VERSIONS, connect, drain, message};
use crate::packet::Connect;
use crate::{Accept, Config, Limits, PeerError, Qos, SessionState, Version};

const SECOND: Duration = Duration::from_secs(1);

fn open(version: Version, keep_alive: u16) -> Pair {
    let connect = Connect { keep_alive, ..connect(version) };
    Pair::open_with(&connect, Config::default(), Config::default())
}

#[test]
fn a_silent_client_is_given_up_after_one_and_a_half_times_the_keep_alive() {
    for (version, said) in [(Version::V5_0, &[0xe0, 1, 0x8d][..]), (Version::V3_1_1, &[])] {
        let mut pair = open(version, 10);
        let server = &mut pair.server.engine;
        assert_eq!(server.poll_timeout(), Some(pair.now + 15 * SECOND));
        server.handle_timeout(pair.now + 14 * SECOND).expect("not yet");
        assert_eq!(server.handle_timeout(pair.now + 15 * SECOND), Err(PeerError::KeepAlive(15_000)));
        assert!(server.is_done() && server.poll_timeout().is_none());
        assert_eq!(drain(server, pair.now), said);
    }
}

#[test]
fn any_packet_received_keeps_a_client_alive_and_none_sent_does() {
    let mut pair = open(Version::V5_0, 10);
    let body = Bytes::new();
    let message = message("t", &body, Qos::AtMostOnce);
    pair.pass(9 * SECOND);
    pair.server.engine.publish(&message).expect("open");
    pair.run();
    assert_eq!(pair.server.engine.poll_timeout(), Some(pair.now + 6 * SECOND));
    pair.client.engine.publish(&message).expect("open");
    pair.run();
    assert_eq!(pair.server.engine.poll_timeout(), Some(pair.now + 15 * SECOND));
}

#[test]
fn a_client_pings_when_it_has_nothing_to_say_and_gives_a_dead_server_up() {
    for version in VERSIONS {
        let mut pair = open(version, 10);
        for _ in 0..5 {
            assert_eq!(pair.client.engine.poll_timeout(), Some(pair.now + 10 * SECOND));
            pair.pass(10 * SECOND);
            pair.client.engine.handle_timeout(pair.now).expect("a ping");
            pair.run();
            pair.server.engine.handle_timeout(pair.now).expect("alive");
        }
        pair.pass(10 * SECOND);
        pair.client.engine.handle_timeout(pair.now).expect("a ping");
        assert_eq!(drain(&mut pair.client.engine, pair.now), [0xc0, 0]);
        let patience = Limits::default().ping_timeout;
        assert_eq!(pair.client.engine.poll_timeout(), Some(pair.now + patience));
        let said = pair.client.engine.handle_timeout(pair.now + patience);
        assert_eq!(said, Err(PeerError::Ping(patience.as_millis())));
    }
}

#[test]
fn without_a_keep_alive_nothing_is_due() {
    let mut pair = open(Version::V5_0, 0);
    for engine in [&mut pair.client.engine, &mut pair.server.engine] {
        assert_eq!(engine.poll_timeout(), None);
        engine.handle_timeout(pair.now + 100_000 * SECOND).expect("nothing is due");
    }
}

#[test]
fn the_servers_keep_alive_replaces_the_clients() {
    let connect = Connect { keep_alive: 100, ..connect(Version::V5_0) };
    let config = Config::default;
    let mut pair = Pair::new(&connect, config(), config(), SessionState::default());
    pair.let_in(Accept { keep_alive: Some(4), ..Accept::default() });
    assert_eq!(pair.client.engine.poll_timeout(), Some(pair.now + 4 * SECOND));
    assert_eq!(pair.server.engine.poll_timeout(), Some(pair.now + 6 * SECOND));
}

#[test]
fn a_handshake_has_an_end_but_not_while_the_caller_thinks() {
    let patience = Limits::default().handshake_timeout;
    let mut peer = Peer::server(Config::default());
    assert_eq!(peer.end.engine.poll_timeout(), Some(peer.now + patience));
    let said = peer.end.engine.handle_timeout(peer.now + patience);
    assert_eq!(said, Err(PeerError::Handshake(patience.as_millis())));
    assert!(peer.said().is_empty());

    let mut client = Peer::client(&connect(Version::V5_0), Config::default());
    assert!(client.end.engine.handle_timeout(client.now + patience).is_err());

    let mut pair =
        Pair::new(&connect(Version::V5_0), Config::default(), Config::default(), SessionState::default());
    pair.run();
    pair.pass(10 * patience);
    assert_eq!(pair.server.engine.poll_timeout(), None);
    pair.server.engine.handle_timeout(pair.now).expect("the caller's turn");
    pair.server.engine.accept(pair.now, Accept::default()).expect("a client waits");
    pair.run();
    assert!(pair.client.engine.is_open());
}

#[test]
fn a_client_that_we_do_not_read_is_not_given_up() {
    let connect = Connect { keep_alive: 10, ..connect(Version::V3_1_1) };
    let server = super::pair::limits(|limits| limits.receive_maximum = 1);
    let mut pair = Pair::open_with(&connect, Config::default(), server);
    let body = Bytes::new();
    let sent = pair.client.engine.publish(&message("t", &body, Qos::AtLeastOnce)).expect("open");
    pair.run();
    pair.pass(100 * SECOND);
    pair.server.engine.handle_timeout(pair.now).expect("its PINGREQ may wait in the socket");
    assert_eq!(pair.server.engine.poll_timeout(), Some(pair.now + 15 * SECOND));
    let id = sent.expect("QoS 1");
    let none = crate::property::PropertyView::default();
    pair.server.engine.acknowledge(id, crate::ReasonCode::Success, none).expect("it waits");
    pair.pass(100 * SECOND);
    // The caller may have its own reasons not to read.
    pair.server.engine.excuse_silence(pair.now);
    pair.server.engine.handle_timeout(pair.now).expect("excused");
    pair.pass(15 * SECOND);
    assert!(pair.server.engine.handle_timeout(pair.now).is_err());
}
