//! Deadlines with a virtual clock (AMQP 2.4.5).

use std::time::Duration;

use super::pair::{Pair, config};
use super::peer::*;
use crate::frame::{HEARTBEAT, ProtocolHeader};
use crate::performative::{Open, Performative};
use crate::{Config, Event, Limits, PeerError, Side, condition};

fn patient(millis: u64) -> Config {
    Config { idle_timeout: Some(Duration::from_millis(millis)), ..config("server", Limits::default()) }
}

#[test]
fn half_of_the_idle_timeout_is_told_to_the_peer() {
    let mut peer = Peer::new(patient(10_000), Side::Server);
    peer.feed(&ProtocolHeader::Amqp.encode());
    peer.says(0, Performative::Open(Box::default()));
    peer.end.engine.open().expect("asked for");
    let said = peer.performatives();
    assert!(matches!(&said[..], [Performative::Open(open)] if open.idle_time_out == Some(5_000)), "{said:?}");
}

#[test]
fn heartbeats_leave_at_half_the_peers_timeout_and_only_when_nothing_else_did() {
    let open = Open { idle_time_out: Some(1_000), ..Open::default() };
    let mut peer = Peer::server_for(config("server", Limits::default()), open);
    let start = peer.now;
    assert_eq!(peer.end.engine.poll_timeout(), Some(start + Duration::from_millis(500)));
    peer.advance(499).expect("nothing is due");
    assert!(peer.said().is_empty());
    peer.advance(1).expect("only a heartbeat is due");
    assert_eq!(peer.said(), [Said::Heartbeat]);
    assert_eq!(peer.end.engine.poll_timeout(), Some(start + Duration::from_millis(1_000)));
    peer.advance(300).expect("nothing is due");
    peer.says(0, Performative::Begin(Box::new(begin())));
    assert_eq!(peer.said().len(), 1, "the begin is answered");
    peer.advance(400).expect("nothing is due");
    assert!(peer.said().is_empty(), "the begin was a sign of life");
}

#[test]
fn heartbeats_do_not_pile_up_behind_a_peer_that_does_not_read() {
    let open = Open { idle_time_out: Some(1_000), ..Open::default() };
    let mut peer = Peer::server_for(config("server", Limits::default()), open);
    for _ in 0..100 {
        peer.advance(500).expect("only heartbeats are due");
    }
    assert_eq!(peer.said(), [Said::Heartbeat]);
}

#[test]
fn silence_closes_the_connection() {
    let mut peer = Peer::server_for(patient(1_000), Open::default());
    peer.advance(900).expect("not yet");
    peer.feed(&HEARTBEAT);
    peer.advance(999).expect("a heartbeat came");
    assert_eq!(peer.advance(1), Err(PeerError::Idle(1_000)));
    assert_eq!(peer.refusal(), ("close", condition::RESOURCE_LIMIT_EXCEEDED.into()));
    assert!(peer.end.engine.is_done() && peer.end.engine.poll_timeout().is_none());
}

#[test]
fn a_frame_that_trickles_in_is_no_sign_of_life() {
    let mut peer = Peer::server_for(patient(1_000), Open::default());
    let bytes = frame(0, &Performative::Begin(Box::new(begin())), b"");
    for byte in &bytes[..bytes.len() - 1] {
        peer.feed(&[*byte]);
        if peer.advance(100).is_err() {
            break;
        }
    }
    assert!(peer.end.engine.is_done());
    assert_eq!(peer.refusal(), ("close", condition::RESOURCE_LIMIT_EXCEEDED.into()));
}

#[test]
fn two_idle_ends_keep_each_other_alive() {
    let mut pair = Pair::new(patient(1_000), patient(3_000));
    pair.client.engine.open().expect("a client may open at once");
    pair.run();
    for _ in 0..2_000 {
        pair.advance(Duration::from_millis(10));
        for end in [&mut pair.client, &mut pair.server] {
            end.engine.handle_timeout(pair.now).expect("the other end lives");
        }
        pair.run();
    }
    assert!(pair.client.engine.is_open() && pair.server.engine.is_open());
}

#[test]
fn a_handshake_that_does_not_end_is_given_up_at_every_step() {
    let limits = Limits { handshake_timeout: Duration::from_secs(3), ..Limits::default() };
    let header = ProtocolHeader::Amqp.encode();
    let open = frame(0, &Performative::Open(Box::default()), b"");
    let all = [&header[..], &open].concat();
    for length in 0..=all.len() {
        let mut peer = Peer::new(config("server", limits.clone()), Side::Server);
        peer.feed(&all[..length]);
        peer.advance(2_999).expect("not yet");
        peer.feed(b"");
        assert_eq!(peer.advance(1), Err(PeerError::Handshake(3_000)), "after {length} bytes");
        let closes = peer.performatives().iter().any(|said| matches!(said, Performative::Close(_)));
        assert_eq!(closes, length >= header.len(), "a close needs the header exchange; after {length} bytes");
        assert!(peer.end.engine.is_done());
    }
}

#[test]
fn a_close_that_is_not_answered_is_given_up() {
    let mut peer = Peer::server(Limits { close_timeout: Duration::from_secs(2), ..Limits::default() });
    peer.end.engine.close(peer.now, None);
    assert_eq!(peer.end.engine.poll_timeout(), Some(peer.now + Duration::from_secs(2)));
    peer.advance(1_999).expect("not yet");
    peer.feed(&HEARTBEAT);
    assert_eq!(peer.advance(1), Err(PeerError::CloseTimeout(2_000)));
    assert!(peer.end.engine.is_done());
    assert_eq!(peer.performatives().len(), 1, "one close");
    assert!(!peer.events().iter().any(|event| matches!(event, Event::Closed { .. })));
}
