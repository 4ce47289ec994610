//! How connections of MQTT come to the shard of their client, on bare sockets, in frames of WebSocket and
//! behind proxies, and how they end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_core::home;
use mq_model::admin;
use mq_model::manifest::AddressType;
use mq_mqtt::codec::{decode, encode, next_packet};
use mq_mqtt::packet::{Connect, Packet, Text};
use mq_mqtt::{Limits, ReasonCode, Version};
use mqd::hub::Speaks;

use crate::node::{DEADLINE, Node};

const V5: Version = Version::V5_0;

/// Shards of the node.
const SHARDS: u16 = 2;

/// `PINGREQ` and `PINGRESP`.
const PING: [u8; 2] = [0xc0, 0];
const PONG: [u8; 2] = [0xd0, 0];

fn connect(client_id: &str) -> Vec<u8> {
    let client_id = Text::new(client_id).unwrap();
    let connect = Connect { client_id, clean_start: true, ..Connect::default() };
    let mut bytes = BytesMut::new();
    encode(&mut bytes, &Packet::Connect(Box::new(connect)), V5);
    bytes.to_vec()
}

/// A client identifier whose home is this shard.
fn client_of(shard: u16) -> String {
    let mut names = (0..).map(|number| format!("client-{number}"));
    names.find(|name| home(name, SHARDS).shard() == shard).unwrap()
}

fn open(node: &Node, shard: usize, speaks: Speaks, proxy: bool, hello: &[u8]) -> TcpStream {
    let stream = node.connect_as(shard, speaks, proxy, hello);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn plain(node: &Node, shard: usize, hello: &[u8]) -> TcpStream {
    open(node, shard, Speaks::Mqtt, false, hello)
}

/// Reads the next packet.
#[track_caller]
fn packet(stream: &mut TcpStream, input: &mut BytesMut) -> Packet {
    loop {
        if let Some(raw) = next_packet(input, u32::MAX).unwrap() {
            return decode(raw, V5, &Limits::default()).unwrap();
        }
        let mut buffer = [0; 4_096];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the end where a packet was expected");
        input.extend_from_slice(&buffer[..count]);
    }
}

#[track_caller]
fn expect_connected(stream: &mut TcpStream) {
    let Packet::ConnAck(answer) = packet(stream, &mut BytesMut::new()) else { panic!("no CONNACK") };
    assert_eq!(answer.reason, ReasonCode::Success);
}

/// What comes until the node closes, without a reset.
#[track_caller]
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the end, and no reset");
    bytes
}

/// The one connection of the node.
#[track_caller]
fn connection(node: &Node) -> admin::Connection {
    let mut connections = node.wait_for(node.hub().connections());
    assert_eq!(connections.len(), 1, "{connections:?}");
    connections.remove(0)
}

#[track_caller]
fn expect_counts(node: &Node, expected: [usize; 2]) {
    node.until("the counts of connections to follow", |_| {
        let counts = node.hub().connection_counts();
        [0, 1].map(|shard: usize| counts[shard].load(Ordering::Relaxed)) == expected
    });
}

// ---- the home of a client ----------------------------------------------------------------------------

#[test]
fn a_client_is_served_by_its_home_whichever_shard_reads_its_connect() {
    for (reader, owner) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let node = Node::start();
        let client_id = client_of(owner);
        // What follows the CONNECT goes with it.
        let mut stream = plain(&node, reader, &[&connect(&client_id)[..], &PING].concat());
        let mut input = BytesMut::new();
        assert!(matches!(packet(&mut stream, &mut input), Packet::ConnAck(_)));
        assert!(matches!(packet(&mut stream, &mut input), Packet::PingResp));
        let connection = connection(&node);
        assert_eq!((connection.worker, &*connection.container), (owner.into(), &*client_id));
        assert_eq!(
            (connection.protocol, connection.version.as_deref()),
            (admin::Protocol::Mqtt, Some("5.0"))
        );
        let mut counts = [0, 0];
        counts[usize::from(owner)] = 1;
        expect_counts(&node, counts);
        drop(stream);
        expect_counts(&node, [0, 0]);
        assert_eq!(node.statistics().connections_opened, 1, "handed over, not opened again");
    }
}

#[test]
fn a_connect_that_comes_byte_by_byte_finds_its_home() {
    let node = Node::start();
    let mut stream = plain(&node, 0, &[]);
    for byte in connect(&client_of(1)) {
        stream.write_all(&[byte]).unwrap();
    }
    expect_connected(&mut stream);
    assert_eq!(connection(&node).worker, 1);
}

#[test]
fn a_client_without_an_identifier_is_served_where_it_came() {
    let node = Node::start();
    for shard in [0, 1] {
        let mut stream = plain(&node, shard, &connect(""));
        expect_connected(&mut stream);
        assert_eq!(connection(&node).worker, u32::try_from(shard).unwrap());
        drop(stream);
        expect_counts(&node, [0, 0]);
    }
}

#[test]
fn who_speaks_something_else_is_closed() {
    let node = Node::start();
    for hello in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"AMQP\0\x01\0\0", b"\x10\xff\xff\xff\xff", b"\xc0\0"] {
        let mut stream = plain(&node, 0, hello);
        rest(&mut stream);
    }
    expect_counts(&node, [0, 0]);
}

#[test]
fn a_client_that_says_nothing_is_closed_when_its_time_is_over() {
    let node = Node::with(|config| config.limits.handshake_timeout_ms = 100);
    for speaks in [Speaks::Mqtt, Speaks::MqttInFrames { read: Bytes::new() }] {
        for hello in [&b""[..], &connect("slow")[..5]] {
            let hello = if speaks == Speaks::Mqtt { hello.to_vec() } else { frame(0x82, hello) };
            let mut stream = open(&node, 0, speaks.clone(), false, &hello);
            let said = rest(&mut stream);
            assert!(said.is_empty() || said == close_frame(1000), "{said:?}");
        }
    }
    let mut behind_a_proxy = open(&node, 0, Speaks::Amqp, true, b"PROXY TCP4 1.2.3.4 ");
    assert!(rest(&mut behind_a_proxy).is_empty());
}

// ---- ends ----------------------------------------------------------------------------------------------

#[test]
fn a_client_reads_why_the_node_closes() {
    let node = Node::start();
    let mut stream = plain(&node, 0, &connect(&client_of(1)));
    expect_connected(&mut stream);
    assert!(node.wait_for(node.hub().close(&connection(&node).id, "maintenance")));
    let Packet::Disconnect(packet) = packet(&mut stream, &mut BytesMut::new()) else {
        panic!("no DISCONNECT")
    };
    assert_eq!(packet.reason, ReasonCode::AdministrativeAction);
    assert!(rest(&mut stream).is_empty());
    expect_counts(&node, [0, 0]);

    let mut stream = plain(&node, 0, &connect(&client_of(1)));
    expect_connected(&mut stream);
    // Nobody has said a word yet: there is nothing to tell it.
    let mut silent = plain(&node, 0, &[]);
    node.wait_for(node.hub().drain(Instant::now(), "the node is stopping"));
    let said = rest(&mut stream);
    assert_eq!(said.first_chunk(), Some(&[0xe0, said[1], 0x8b]), "DISCONNECT with 0x8b");
    assert!(rest(&mut silent).is_empty());
}

#[test]
fn what_a_client_sends_after_its_mistake_does_not_destroy_the_answer() {
    let node = Node::start();
    let mut stream = plain(&node, 0, &connect(&client_of(1)));
    expect_connected(&mut stream);
    // A second CONNECT is a protocol error (3.1.0-2). The rest is more than any buffer takes.
    stream.write_all(&connect("again")).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    for _ in 0..200 {
        match stream.write_all(&[0xc0; 4_096]) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => break,
            Err(error) => panic!("{error}"),
        }
    }
    let mut input = BytesMut::new();
    let Packet::Disconnect(packet) = packet(&mut stream, &mut input) else { panic!("no DISCONNECT") };
    assert_eq!(packet.reason, ReasonCode::ProtocolError);
}

// ---- WebSocket -----------------------------------------------------------------------------------------

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0xa5, 0x5a, 0x0f, 0xf0];
    let mut bytes = vec![first];
    match payload.len() {
        short @ ..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn close_frame(status: u16) -> Vec<u8> {
    [&[0x88, 2], &status.to_be_bytes()[..]].concat()
}

/// Reads a frame of the node: its opcode and its payload.
#[track_caller]
fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let size = match header[1] {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).unwrap();
            usize::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut longest = [0; 8];
            stream.read_exact(&mut longest).unwrap();
            usize::try_from(u64::from_be_bytes(longest)).unwrap()
        }
        short => usize::from(short),
    };
    let mut payload = vec![0; size];
    stream.read_exact(&mut payload).unwrap();
    (header[0], payload)
}

/// A client in frames that has been let in, whose first bytes came with the upgrade.
fn framed(node: &Node, shard: usize, client_id: &str) -> TcpStream {
    let hello = frame(0x82, &connect(client_id));
    let (read, later) = hello.split_at(7);
    let speaks = Speaks::MqttInFrames { read: Bytes::copy_from_slice(read) };
    let mut stream = open(node, shard, speaks, false, later);
    let (first, payload) = read_frame(&mut stream);
    assert_eq!((first, payload[0] >> 4), (0x82, 2), "a CONNACK in a binary frame");
    stream
}

#[test]
fn a_client_in_frames_is_served_by_its_home_too() {
    for (reader, owner) in [(0, 0), (1, 0), (0, 1)] {
        let node = Node::start();
        let mut stream = framed(&node, reader, &client_of(owner));
        let connection = connection(&node);
        assert_eq!((connection.worker, connection.protocol), (owner.into(), admin::Protocol::MqttWs));
        // Packets in fragments, cut anywhere, with a ping of WebSocket between them.
        let pings = [frame(0x02, &[0xc0]), frame(0x89, b"hi"), frame(0x00, &[0, 0xc0]), frame(0x80, &[0])];
        for byte in pings.concat() {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(read_frame(&mut stream), (0x8a, b"hi".to_vec()));
        let mut pongs = Vec::new();
        while pongs.len() < 4 {
            let (first, payload) = read_frame(&mut stream);
            assert_eq!(first, 0x82);
            pongs.extend(payload);
        }
        assert_eq!(pongs, [PONG, PONG].concat());
    }
}

#[test]
fn a_large_message_passes_through_frames_both_ways() {
    let node = Node::start();
    node.set("large", AddressType::Topic, |_| {});
    let (mut from, mut to) = (framed(&node, 0, &client_of(0)), framed(&node, 0, &client_of(1)));
    // SUBSCRIBE 1 to `large`, and its SUBACK.
    to.write_all(&frame(0x82, b"\x82\x0b\0\x01\0\0\x05large\0")).unwrap();
    assert_eq!(read_frame(&mut to), (0x82, b"\x90\x04\0\x01\0\0".to_vec()));
    // PUBLISH of 300,000 bytes in fragments that end anywhere.
    let payload: Vec<u8> =
        (0..300_000_u32).map(|number| number.to_le_bytes()[usize::from(number % 3 == 0)]).collect();
    let mut packet = vec![0x30];
    packet.extend_from_slice(&[0xe8, 0xa7, 0x12]);
    packet.extend_from_slice(b"\0\x05large\0");
    packet.extend_from_slice(&payload);
    let pieces = packet.chunks(40_001).count();
    for (index, piece) in packet.chunks(40_001).enumerate() {
        let opcode = if index == 0 { 0x02 } else { 0x00 };
        let last = if index + 1 == pieces { 0x80 } else { 0x00 };
        from.write_all(&frame(opcode | last, piece)).unwrap();
    }
    let mut got = Vec::new();
    while got.len() < packet.len() {
        let (first, piece) = read_frame(&mut to);
        assert_eq!(first, 0x82);
        got.extend(piece);
    }
    assert!(got == packet, "the packet has changed on its way");
}

#[test]
fn frames_end_with_a_close_from_either_side() {
    let node = Node::start();
    let client_id = client_of(1);
    // The client's DISCONNECT, the client's close, and a mistake.
    for (last, status) in [
        (frame(0x82, &[0xe0, 0]), 1000),
        (frame(0x88, &3_000_u16.to_be_bytes()), 3_000),
        (frame(0x81, b"text"), 1003),
        (b"\x82\x02\xc0\0".to_vec(), 1002),
    ] {
        let mut stream = framed(&node, 0, &client_id);
        stream.write_all(&last).unwrap();
        assert_eq!(rest(&mut stream), close_frame(status));
    }
    expect_counts(&node, [0, 0]);
    let mut stream = framed(&node, 0, &client_id);
    node.wait_for(node.hub().drain(Instant::now(), "the node is stopping"));
    let (first, payload) = read_frame(&mut stream);
    assert_eq!((first, payload[0], payload[2]), (0x82, 0xe0, 0x8b), "DISCONNECT with 0x8b");
    assert_eq!(rest(&mut stream), close_frame(1001));
}

#[test]
fn a_close_before_the_connect_is_whole_is_answered() {
    let node = Node::start();
    let hello = [frame(0x02, &connect("half")[..6]), frame(0x88, &1_001_u16.to_be_bytes())].concat();
    let mut stream = open(&node, 0, Speaks::MqttInFrames { read: Bytes::new() }, false, &hello);
    assert_eq!(rest(&mut stream), close_frame(1001));
}

// ---- proxies -------------------------------------------------------------------------------------------

#[test]
fn a_proxy_says_who_the_client_is() {
    let four = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 1883\r\n";
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let six = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21"[..],
        &40_u16.to_be_bytes(),
        &[0x20; 32],
        &7_u16.to_be_bytes(),
        &[0; 2],
        // A TLV.
        &[4, 0, 1, 0],
    ]
    .concat();
    for (header, expected) in [
        (&four[..], Some("192.0.2.1:56324")),
        (&six, Some("[2020:2020:2020:2020:2020:2020:2020:2020]:7")),
        (local, None),
    ] {
        for owner in [0, 1] {
            let node = Node::start();
            let mut stream =
                open(&node, 0, Speaks::Mqtt, true, &[header, &connect(&client_of(owner))].concat());
            expect_connected(&mut stream);
            let own = stream.local_addr().unwrap().to_string();
            assert_eq!(connection(&node).peer, expected.unwrap_or(&own));
        }
        let node = Node::start();
        let mut stream = open(&node, 1, Speaks::Amqp, true, &[header, b"AMQP\0\x01\0\0"].concat());
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"AMQP\0\x01\0\0");
        assert_eq!(connection(&node).protocol, admin::Protocol::Amqp);
    }
}

#[test]
fn without_its_header_a_connection_is_closed() {
    let node = Node::start();
    for (speaks, hello) in [(Speaks::Mqtt, connect("a")), (Speaks::Amqp, b"AMQP\0\x01\0\0".to_vec())] {
        let mut stream = open(&node, 0, speaks, true, &hello);
        assert!(rest(&mut stream).is_empty());
    }
    expect_counts(&node, [0, 0]);
}
