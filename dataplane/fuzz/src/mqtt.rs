//! Bytes from an MQTT peer: whatever they are, codec and engine answer without a panic and agree with
//! themselves.

use std::{sync::Arc, time::Instant};

use bytes::BytesMut;
use mq_mqtt::{
    Accept, Config, Connection, Event, Limits, ReasonCode, SessionState, Version,
    codec::{decode, encode, next_packet},
    packet::{Connect, Packet, Text},
    property::PropertyView,
};

/// A packet size small enough that random bytes reach it from both sides.
const MAX_PACKET_SIZE: u32 = 512;

/// The first byte picks the version and what the rest meets; the rest is a stream.
pub fn packets(input: &[u8]) {
    let Some((&choice, stream)) = input.split_first() else { return };
    let version = if choice & 1 == 0 { Version::V5_0 } else { Version::V3_1_1 };
    round_trips(stream, version);
    let at_once = conversation(stream, version, choice & 2 != 0, stream.len());
    let in_parts = conversation(stream, version, choice & 2 != 0, 1 + usize::from(choice >> 2));
    assert_eq!(at_once, in_parts, "it depends on how the stream was cut into reads");
}

/// What decodes encodes to bytes that decode to the same.
fn round_trips(stream: &[u8], version: Version) {
    let limits = Limits::default();
    let mut input = BytesMut::from(stream);
    while let Ok(Some(raw)) = next_packet(&mut input, MAX_PACKET_SIZE) {
        let Ok(packet) = decode(raw, version, &limits) else { continue };
        let version = match &packet {
            Packet::Connect(connect) => connect.version,
            _ => version,
        };
        let mut out = BytesMut::new();
        encode(&mut out, &packet, version);
        let again = next_packet(&mut out, u32::MAX).expect("a length").expect("whole");
        assert!(out.is_empty());
        let again = decode(again, version, &limits).expect("what we wrote");
        assert!(is_same(&packet, &again), "{packet:?} became {again:?}");
    }
}

/// Publications are compared by what they say: an own encoding may be shorter than the peer's.
fn is_same(one: &Packet, other: &Packet) -> bool {
    let (Packet::Publish(one), Packet::Publish(other)) = (one, other) else { return one == other };
    one.topic() == other.topic()
        && one.payload() == other.payload()
        && one.properties() == other.properties()
        && (one.qos, one.retain, one.duplicate) == (other.qos, other.retain, other.duplicate)
        && one.packet_id == other.packet_id
}

/// What an engine says to a stream that arrives in parts of so many bytes, and what it ends with.
fn conversation(stream: &[u8], version: Version, is_client: bool, part: usize) -> (Vec<u8>, String) {
    let now = Instant::now();
    let mut config = Config::default();
    config.limits.max_packet_size = MAX_PACKET_SIZE;
    config.limits.receive_maximum = 3;
    let config = Arc::new(config);
    let mut engine = if is_client {
        let connect = Connect { version, clean_start: true, ..Connect::default() };
        Connection::client(config, &connect, SessionState::default(), now).expect("a legal CONNECT")
    } else {
        open_server(config, version, now)
    };
    let mut input = BytesMut::new();
    let mut ended = String::new();
    for part in stream.chunks(part.max(1)) {
        input.extend_from_slice(part);
        loop {
            match engine.handle_input(now, &mut input) {
                Ok(Some(event)) => serve(&mut engine, event, now),
                Ok(None) => break,
                Err(error) => {
                    ended = error.to_string();
                    break;
                }
            }
        }
    }
    let _ = engine.session_state();
    (said(&mut engine, now), ended)
}

fn open_server(config: Arc<Config>, version: Version, now: Instant) -> Connection {
    let mut engine = Connection::server(config, now);
    let client_id = Text::new("c").expect("a string");
    let connect = Connect { version, clean_start: true, client_id, ..Connect::default() };
    let mut input = BytesMut::new();
    encode(&mut input, &Packet::Connect(Box::new(connect)), version);
    let event = engine.handle_input(now, &mut input).expect("a legal CONNECT").expect("an event");
    serve(&mut engine, event, now);
    engine
}

/// Answers most things, as a caller would.
fn serve(engine: &mut Connection, event: Event, now: Instant) {
    let none = PropertyView::default();
    // Whether an answer is due is the engine's to know: its word on it is not looked at.
    let _ = match event {
        Event::Connect(_) => engine.accept(now, Accept::default()),
        Event::Publish(publish) => match publish.packet_id {
            Some(id) if publish.payload().len() % 4 != 3 => engine.acknowledge(id, ReasonCode::Success, none),
            _ => Ok(()),
        },
        Event::Subscribe(packet) => {
            engine.suback(packet.packet_id, &vec![ReasonCode::Success; packet.subscriptions.len()], none)
        }
        Event::Unsubscribe(packet) => {
            engine.unsuback(packet.packet_id, &vec![ReasonCode::Success; packet.filters.len()], none)
        }
        Event::Auth(_) => engine.auth(ReasonCode::ContinueAuthentication, none),
        _ => Ok(()),
    };
}

fn said(engine: &mut Connection, now: Instant) -> Vec<u8> {
    let mut all = Vec::new();
    while engine.buffered() > 0 {
        let mut slices = [std::io::IoSlice::new(&[]); 4];
        let used = engine.slices(&mut slices);
        let count = slices[..used].iter().map(|slice| slice.len()).sum();
        slices[..used].iter().for_each(|slice| all.extend_from_slice(slice));
        engine.written(now, count);
    }
    all
}
