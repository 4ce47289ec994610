//! MQTT over WebSocket from its first request on, at a whole node.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use mq_mqtt::Version;
use mq_mqtt::codec::encode;
use mq_mqtt::packet::{Connect, Packet, Text};
use support::{DEADLINE, Node, config, get, parse, request};

const HANDSHAKE: [(&str, &str); 5] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "mqtt"),
];

fn start() -> (tempfile::TempDir, Node) {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::start(config(directory.path()));
    (directory, node)
}

/// The request that opens a WebSocket.
fn opening(node: &Node) -> String {
    let mut text = format!("GET /mqtt HTTP/1.1\r\nHost: {}\r\n", node.http);
    for (name, value) in HANDSHAKE {
        text += &format!("{name}: {value}\r\n");
    }
    text + "\r\n"
}

/// A CONNECT in one frame, masked with zeros.
fn connect(client_id: &str) -> Vec<u8> {
    let connect =
        Connect { client_id: Text::new(client_id).unwrap(), clean_start: true, ..Connect::default() };
    let mut packet = BytesMut::new();
    encode(&mut packet, &Packet::Connect(Box::new(connect)), Version::V5_0);
    let size = 0x80 | u8::try_from(packet.len()).unwrap();
    [&[0x82, size, 0, 0, 0, 0], &packet[..]].concat()
}

fn read_until(stream: &mut TcpStream, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !is_enough(&bytes) {
        let mut buffer = [0; 1_024];
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the end after {}", bytes.escape_ascii());
        bytes.extend_from_slice(&buffer[..count]);
    }
    bytes
}

#[test]
fn a_client_may_send_its_connect_in_one_breath_with_the_request() {
    let (_directory, node) = start();
    for client_id in ["a", "b", "c", "d"] {
        let mut stream = TcpStream::connect(node.http).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&[opening(&node).as_bytes(), &connect(client_id)].concat()).unwrap();
        let end = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|end| end + 4);
        let answer = read_until(&mut stream, |bytes| end(bytes).is_some_and(|end| bytes.len() >= end + 4));
        let (head, frames) = answer.split_at(end(&answer).unwrap());
        let head = parse(head);
        assert_eq!(head.status, 101);
        assert_eq!(head.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(head.header("Sec-WebSocket-Protocol"), Some("mqtt"));
        // A CONNACK in a binary frame: accepted.
        assert_eq!((frames[0], frames[2]), (0x82, 0x20));
        let connections = get(node.http, "/api/v1/connections").json();
        assert_eq!(connections["items"][0]["protocol"], "mqtt-ws");
        assert_eq!(connections["items"][0]["listener"], "http");
        assert_eq!(connections["items"][0]["container"], client_id);
        // The rest is for the client's close, which the node answers.
        stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
        let mut last = Vec::new();
        stream.read_to_end(&mut last).unwrap();
        assert!(last.ends_with(b"\x88\x02\x03\xe8"), "{}", last.escape_ascii());
        drop(stream);
        support::wait_for("the connection to go", || {
            get(node.http, "/api/v1/connections").json()["items"].as_array().unwrap().is_empty().then_some(())
        });
    }
}

#[test]
fn a_request_that_opens_nothing_is_told_why() {
    let (_directory, node) = start();
    let with = |name: &str, value: Option<&'static str>| {
        let headers = HANDSHAKE.into_iter().filter(|(header, _)| *header != name && *header != "Connection");
        let mut headers: Vec<_> = headers.collect();
        headers.extend(
            value.map(|value| (if name == "Origin" { "Origin" } else { "Sec-WebSocket-Version" }, value)),
        );
        // `request` closes the connection after one answer, which forbids no upgrade.
        headers.push(("Connection", "Upgrade"));
        request(node.http, "GET", "/mqtt", &headers, &[])
    };
    assert_eq!(get(node.http, "/mqtt").status, 400, "a plain request");
    assert_eq!(with("Sec-WebSocket-Protocol", None).status, 400, "without the subprotocol");
    let other = with("Sec-WebSocket-Version", Some("8"));
    assert_eq!((other.status, other.header("Sec-WebSocket-Version")), (426, Some("13")));
    assert_eq!(with("Origin", Some("http://attacker.example")).status, 403, "a page of another origin");
}

#[test]
fn beyond_the_limit_of_connections_a_websocket_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.limits.max_connections = 1;
    let node = Node::start(config);
    let _first = support::silent_client(node.amqp);
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(opening(&node).as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = parse(&answer);
    assert_eq!((answer.status, answer.body.len()), (101, 0));
    let metrics = get(node.http, "/metrics");
    assert!(
        metrics.text().contains("mq_connections_refused_total{reason=\"limit\"} 1"),
        "{}",
        metrics.text()
    );
}
