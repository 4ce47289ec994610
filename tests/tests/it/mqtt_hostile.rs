//! MQTT clients that do not keep to the rules: each ends with the reason of the standard and in an orderly
//! close, while another client's messages go on.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mq_model::config::DaemonConfig;
use mq_tests::mqtt::{Broker, is_reference};
use mq_tests::raw_mqtt::{
    MqttWitness, RawMqtt, connect_3, connect_5, hex, packet, publish_5, string, subscribe_5, written,
};
use mq_tests::{Daemon, eventually};

/// Bytes by which the daemon may grow while someone misbehaves.
const MEMORY: u64 = 48 << 20;

const MALFORMED: u8 = 0x81;
const PROTOCOL: u8 = 0x82;
const NO_TOPIC: u8 = 0x90;
const NO_FILTER: u8 = 0x8f;

/// A daemon under attack: what has to hold is checked when the scene ends.
struct Scene {
    witness: MqttWitness,
    broker: Broker,
    resident: u64,
}

impl Scene {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DaemonConfig)) -> Self {
        let broker = Broker::start_with(Daemon::builder().with(change));
        let witness = MqttWitness::start(broker.server());
        witness.is_undisturbed();
        let resident = if is_reference() { 0 } else { broker.daemon().resident_bytes() };
        Self { witness, broker, resident }
    }

    fn server(&self) -> SocketAddr {
        self.broker.server()
    }

    /// The witness exchanges messages, and memory has stayed within bounds.
    #[track_caller]
    fn is_calm(&self) {
        self.witness.is_undisturbed();
        if !is_reference() {
            let grown = self.broker.daemon().resident_bytes().saturating_sub(self.resident);
            assert!(grown < MEMORY, "the daemon has grown by {grown} bytes");
        }
    }

    /// Waits until everyone but the witness is gone.
    #[track_caller]
    fn is_left_alone(&self) {
        if !is_reference() {
            eventually("the end of every hostile connection", || {
                (self.broker.daemon().admin().statistics().connections == 1).then_some(())
            });
        }
        self.is_calm();
    }
}

/// What follows a packet that ends the connection, so that it is closed with bytes unread.
fn more() -> Vec<u8> {
    [0xc0, 0].repeat(8_000)
}

/// Packets that no client of version 5.0 may send, and the reason with which it is disconnected.
fn refused_5() -> Vec<(&'static str, Vec<u8>, u8)> {
    let case = |name, first, body: &str, reason| (name, written(first, body), reason);
    vec![
        case("type 0", 0x00, "", MALFORMED),
        ("a second CONNECT", connect_5("again", ""), PROTOCOL),
        case("a CONNACK", 0x20, "00 00 00", PROTOCOL),
        case("QoS 3", 0x36, "00 01 't' 00 01 00", MALFORMED),
        case("DUP with QoS 0", 0x38, "00 01 't' 00", MALFORMED),
        case("a PUBLISH without an identifier", 0x34, "00 01 't'", MALFORMED),
        case("identifier 0", 0x32, "00 01 't' 00 00 00", PROTOCOL),
        case("a topic longer than its packet", 0x30, "00 05 't' 00", MALFORMED),
        case("a topic with a wildcard", 0x30, "00 03 'a/+' 00", NO_TOPIC),
        case("a topic with null", 0x30, "00 03 'a' 00 'b' 00", MALFORMED),
        case("a topic with a surrogate", 0x30, "00 03 ed a0 80 00", MALFORMED),
        case("a topic in an overlong form", 0x30, "00 02 c0 80 00", MALFORMED),
        case("no topic and no alias", 0x30, "00 00 00", PROTOCOL),
        case("an alias that was never set", 0x30, "00 00 03 23 00 01", PROTOCOL),
        case("alias 0", 0x30, "00 01 't' 03 23 00 00", 0x94),
        case("an alias beyond the maximum", 0x30, "00 01 't' 03 23 ff ff", 0x94),
        case("an alias twice", 0x30, "00 01 't' 06 23 00 01 23 00 01", PROTOCOL),
        case("a property of no packet", 0x30, "00 01 't' 02 7f 00", MALFORMED),
        case("a property of another packet", 0x30, "00 01 't' 03 21 00 01", MALFORMED),
        case("a subscription identifier of a client", 0x30, "00 01 't' 02 0b 01", PROTOCOL),
        case("a payload format 2", 0x30, "00 01 't' 02 01 02", PROTOCOL),
        case("a response topic with a wildcard", 0x30, "00 01 't' 04 08 00 01 '#'", PROTOCOL),
        case("a property length beyond the packet", 0x30, "00 01 't' 09 01", MALFORMED),
        case("a property length that is not minimal", 0x30, "00 01 't' 80 00", MALFORMED),
        case(
            "a user property with null in its value",
            0x30,
            "00 01 't' 08 26 00 01 'n' 00 02 00 00",
            MALFORMED,
        ),
        ("a remaining length of five bytes", hex("30 80 80 80 80 01"), MALFORMED),
        ("a remaining length that is not minimal", hex("c0 80 00"), MALFORMED),
        case("flags of a PUBACK", 0x41, "00 01", MALFORMED),
        case("a PUBACK with identifier 0", 0x40, "00 00", PROTOCOL),
        case("a PUBACK with a reason of no PUBACK", 0x40, "00 01 8e", MALFORMED),
        case("a PUBREL without its flags", 0x60, "00 01", MALFORMED),
        case("a SUBSCRIBE without its flags", 0x80, "00 01 00 00 01 't' 00", MALFORMED),
        case("a SUBSCRIBE to nothing", 0x82, "00 01 00", PROTOCOL),
        case("a SUBSCRIBE with identifier 0", 0x82, "00 00 00 00 01 't' 00", PROTOCOL),
        case("a granted QoS 3", 0x82, "00 01 00 00 01 't' 03", PROTOCOL),
        case("retain handling 3", 0x82, "00 01 00 00 01 't' 30", PROTOCOL),
        case("reserved bits of the options", 0x82, "00 01 00 00 01 't' 40", MALFORMED),
        case("no local on a shared subscription", 0x82, "00 01 00 00 0a '$share/g/t' 04", PROTOCOL),
        case("subscription identifier 0", 0x82, "00 01 02 0b 00 00 01 't' 00", PROTOCOL),
        case("two subscription identifiers", 0x82, "00 01 04 0b 01 0b 02 00 01 't' 00", PROTOCOL),
        case("an UNSUBSCRIBE from nothing", 0xa2, "00 01 00", PROTOCOL),
        case("a SUBACK", 0x90, "00 01 00 00", PROTOCOL),
        case("a PINGREQ with a body", 0xc0, "00", MALFORMED),
        case("a PINGRESP", 0xd0, "", PROTOCOL),
        case("a DISCONNECT with a reason of a server", 0xe0, "8e", PROTOCOL),
        case("a DISCONNECT with an unknown reason", 0xe0, "01", MALFORMED),
        case("a session expiry after none", 0xe0, "00 05 11 00 00 00 01", PROTOCOL),
        case("an AUTH without a method", 0xf0, "18 00", PROTOCOL),
    ]
}

#[test]
fn what_no_client_of_version_5_may_send_ends_with_its_reason() {
    let scene = Scene::start();
    let mut wrong = Vec::new();
    for (name, bytes, reason) in refused_5() {
        let mut client = RawMqtt::connect_5(scene.server(), "hostile", "");
        // Whatever comes after it is read, and not answered.
        let _ = client.try_send(&[&bytes[..], &more()].concat());
        let answer = client.try_read();
        let end = client.try_read();
        let is_right = matches!(&answer, Ok(Some(packet)) if packet.first == 0xe0 && packet.body.first() == Some(&reason))
            && matches!(end, Ok(None));
        if !is_right {
            wrong.push(format!("{name}: {answer:02x?}, then {end:02x?}; not {reason:#04x}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.is_left_alone();
}

#[test]
fn what_no_client_of_version_3_may_send_ends_its_connection_without_a_word() {
    let scene = Scene::start();
    let case = |name, first, body: &str| (name, written(first, body));
    let cases = [
        case("type 0", 0x00, ""),
        case("type 15", 0xf0, ""),
        ("a second CONNECT", connect_3("again")),
        case("QoS 3", 0x36, "00 01 't' 00 01"),
        case("identifier 0", 0x32, "00 01 't' 00 00"),
        case("a topic with a wildcard", 0x30, "00 03 'a/#'"),
        case("a topic with null", 0x30, "00 03 'a' 00 'b'"),
        case("a topic that is not UTF-8", 0x30, "00 02 ff fe"),
        case("an empty topic", 0x30, "00 00"),
        case("a PUBACK that is too long", 0x40, "00 01 00"),
        case("a PUBREL without its flags", 0x60, "00 01"),
        case("a SUBSCRIBE to nothing", 0x82, "00 01"),
        case("a SUBSCRIBE with QoS 3", 0x82, "00 01 00 01 't' 03"),
        case("a SUBSCRIBE with options of version 5", 0x82, "00 01 00 01 't' 04"),
        case("a filter with a wildcard in the middle", 0x82, "00 01 00 03 '#/a' 00"),
        case("an UNSUBSCRIBE from nothing", 0xa2, "00 01"),
        case("a PINGREQ with a body", 0xc0, "00"),
        case("a DISCONNECT with a reason", 0xe0, "00"),
        ("a remaining length of five bytes", hex("30 80 80 80 80 01")),
    ];
    let mut wrong = Vec::new();
    for (name, bytes) in cases {
        let mut client = RawMqtt::connect_3(scene.server(), "hostile");
        let _ = client.try_send(&[&bytes[..], &more()].concat());
        let end = client.try_read();
        if !matches!(end, Ok(None)) {
            wrong.push(format!("{name}: {end:02x?}, not the end"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.is_left_alone();
}

#[test]
fn a_connect_that_is_wrong_is_answered_in_its_version_or_not_at_all() {
    let scene = Scene::start();
    let v5 = |flags: &str, properties: &str, rest: &str| {
        let length = hex(properties).len();
        written(0x10, &format!("00 04 'MQTT' 05 {flags} 00 00 {length:02x} {properties} 00 01 'c' {rest}"))
    };
    let v3 =
        |flags: &str, rest: &str| written(0x10, &format!("00 04 'MQTT' 04 {flags} 00 00 00 01 'c' {rest}"));
    // A reason: in a CONNACK, if there is one at all (MQTT 4.13.1). 3.1.1 has none for what is malformed.
    let cases: Vec<(&str, Vec<u8>, Option<u8>)> = vec![
        ("a reserved flag", v5("03", "", ""), Some(MALFORMED)),
        ("will QoS without a will", v5("0a", "", ""), Some(MALFORMED)),
        ("will QoS 3", v5("1e", "", "00 00 01 'w' 00 00"), Some(MALFORMED)),
        ("a will for a filter", v5("06", "", "00 00 01 '#' 00 00"), Some(NO_TOPIC)),
        ("no will although there is a flag", v5("06", "", ""), Some(MALFORMED)),
        ("a receive maximum of 0", v5("02", "21 00 00", ""), Some(PROTOCOL)),
        ("a maximum packet size of 0", v5("02", "27 00 00 00 00", ""), Some(PROTOCOL)),
        ("a session expiry twice", v5("02", "11 00 00 00 01 11 00 00 00 01", ""), Some(PROTOCOL)),
        ("a property of another packet", v5("02", "23 00 01", ""), Some(MALFORMED)),
        ("data without a method", v5("02", "16 00 01 'd'", ""), Some(PROTOCOL)),
        ("a method that nobody knows", v5("02", "15 00 04 'none'", ""), Some(0x8c)),
        ("bytes left over", v5("02", "", "00"), Some(MALFORMED)),
        ("a reserved flag of version 3", v3("03", ""), None),
        ("a password without a user", v3("42", "00 01 'p'"), None),
    ];
    let mut wrong = Vec::new();
    for (name, bytes, reason) in cases {
        let mut client = RawMqtt::open(scene.server());
        let _ = client.try_send(&[&bytes[..], &more()].concat());
        let answer = client.try_read();
        let is_right = match (&answer, reason) {
            (Ok(None), _) => true,
            (Ok(Some(packet)), Some(reason)) => {
                packet.first == 0x20
                    && packet.body.get(..2) == Some(&[0, reason])
                    && matches!(client.try_read(), Ok(None))
            }
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{name}: {answer:02x?}, not {reason:02x?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.is_left_alone();
}

#[test]
fn an_unknown_version_is_refused_in_the_words_of_the_nearest() {
    let scene = Scene::start();
    for (body, expected) in [
        // 3.1.2.2: 0x01 to those of version 3, 0x84 to those of a later one.
        ("00 04 'MQTT' 03 02 00 00 00 01 'c'", &[0, 1][..]),
        ("00 06 'MQIsdp' 03 02 00 00 00 01 'c'", &[0, 1]),
        ("00 04 'MQTT' 06 02 00 00 00 00 01 'c'", &[0, 0x84]),
    ] {
        let mut client = RawMqtt::open(scene.server());
        client.send(&written(0x10, body));
        let answer = client.expect(0x20);
        assert_eq!(&answer.body[..2], expected, "{body}");
        client.expect_end();
    }
    // 3.1.3.1 of 3.1.1: no name and no clean session.
    let mut client = RawMqtt::open(scene.server());
    client.send(&written(0x10, "00 04 'MQTT' 04 00 00 00 00 00"));
    assert_eq!(client.expect(0x20).body, [0, 2]);
    client.expect_end();
    scene.is_left_alone();
}

#[test]
fn who_does_not_begin_with_a_connect_is_closed() {
    let scene = Scene::start();
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"AMQP\x00\x01\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xc0, 0],
        &publish_5("t", 0, 0, b""),
        // Larger than any CONNECT may be, and as large as a packet can be.
        &[0x10, 0xff, 0xff, 0xff, 0x7f],
    ] {
        let mut client = RawMqtt::open(scene.server());
        client.send(bytes);
        // Whether it is told in words of MQTT or not at all.
        while let Ok(Some(_)) = client.try_read() {}
        client.expect_end();
    }
    scene.is_left_alone();
}

#[test]
fn a_client_that_says_nothing_or_half_is_closed_in_time() {
    if is_reference() {
        return;
    }
    let scene = Scene::with(|config| config.limits.handshake_timeout_ms = 300);
    let connect = connect_5("slow", "");
    let mut clients: Vec<RawMqtt> = [&[][..], &connect[..1], &connect[..connect.len() - 1]]
        .map(|start| {
            let mut client = RawMqtt::open(scene.server());
            client.send(start);
            client
        })
        .into();
    for client in &mut clients {
        while let Ok(Some(_)) = client.try_read() {}
        client.expect_end();
    }
    scene.is_left_alone();
}

#[test]
fn a_filter_that_is_none_is_refused_and_may_end_the_connection() {
    let scene = Scene::start();
    for filter in ["", "a#", "#/a", "a+/b", "$share/", "$share/g", "$share//t", "$share/+/t"] {
        let mut client = RawMqtt::connect_5(scene.server(), "hostile", "");
        client.send(&subscribe_5(1, filter, 0));
        let answer = client.read();
        match answer.first {
            0x90 => assert_eq!(answer.body.last(), Some(&NO_FILTER), "{filter}: {answer:02x?}"),
            _ => {
                assert_eq!(
                    (answer.first, answer.body.first()),
                    (0xe0, Some(&NO_FILTER)),
                    "{filter}: {answer:02x?}"
                );
                client.expect_end();
            }
        }
    }
    scene.is_left_alone();
}

#[test]
fn more_publications_under_way_than_allowed_end_the_connection() {
    if is_reference() {
        return;
    }
    let scene = Scene::with(|config| config.mqtt.receive_maximum = 3);
    let mut client = RawMqtt::open(scene.server());
    client.send(&connect_5("hostile", ""));
    let answer = client.expect(0x20);
    assert!(answer.body.windows(3).any(|part| part == [0x21, 0, 3]), "{answer:02x?}");
    // Three that stay under way, since their PUBRELs do not come.
    for id in 1..=3 {
        client.send(&publish_5("t", 2, id, b""));
        client.expect(0x50);
    }
    // Others are not counted, nor is one of the three that comes once more.
    client.send(&publish_5("t", 0, 0, b""));
    client.send(&packet(0x3c, &[&string("t")[..], &[0, 2, 0]].concat()));
    assert_eq!(client.expect(0x50).body[..2], [0, 2]);
    client.send(&publish_5("t", 2, 4, b""));
    client.expect_disconnect(0x93);
    scene.is_left_alone();
}

#[test]
fn a_packet_larger_than_allowed_ends_the_connection_before_it_is_read() {
    if is_reference() {
        return;
    }
    let scene = Scene::with(|config| config.mqtt.max_packet_size = 4_096);
    let mut client = RawMqtt::open(scene.server());
    client.send(&connect_5("hostile", ""));
    let answer = client.expect(0x20);
    assert!(answer.body.windows(5).any(|part| part == [0x27, 0, 0, 0x10, 0]), "{answer:02x?}");
    // As large as allowed, to the byte: a first byte, two of the length, and the rest.
    let fits = publish_5("t", 1, 1, &[0; 4_096 - 3 - 6]);
    assert_eq!(fits.len(), 4_096);
    client.send(&fits);
    client.expect(0x40);
    let _ = client.try_send(&publish_5("t", 1, 2, &[0; 4_096 - 3 - 5]));
    client.expect_disconnect(0x95);
    scene.is_left_alone();
}

#[test]
fn a_qos_2_publication_counts_once_however_often_it_comes() {
    let scene = Scene::start();
    let mut subscriber = RawMqtt::connect_5(scene.server(), "subscriber", "");
    subscriber.subscribe_5("twice", 0);
    let mut client = RawMqtt::connect_5(scene.server(), "publisher", "");
    let publication = |dup: u8, payload: &[u8]| {
        packet(0x34 | dup << 3, &[&string("twice")[..], &[0, 9, 0], payload].concat())
    };
    client.send(&publication(0, b"one"));
    client.expect(0x50);
    client.send(&publication(1, b"one"));
    client.expect(0x50);
    client.send(&written(0x62, "00 09"));
    client.expect(0x70);
    // Released: known no more (MQTT 3.7.2.1, 0x92), and free again.
    client.send(&written(0x62, "00 09"));
    assert_eq!(client.expect(0x70).body[..3], [0, 9, 0x92]);
    client.send(&publication(0, b"two"));
    client.expect(0x50);
    client.send(&written(0x62, "00 09"));
    client.expect(0x70);
    for payload in [&b"one"[..], b"two"] {
        assert!(subscriber.expect(0x30).body.ends_with(payload));
    }
    subscriber.ping();
    scene.is_calm();
}

#[test]
fn acknowledgements_come_in_the_order_of_the_publications() {
    let scene = Scene::start();
    let mut client = RawMqtt::connect_5(scene.server(), "publisher", "");
    let mut bytes = Vec::new();
    // To different addresses, some of which have to be stored.
    let mut sleeper = RawMqtt::open(scene.server());
    sleeper.send(&packet(0x10, &hex("00 04 'MQTT' 05 02 00 00 05 11 00 00 0e 10 00 01 's'")));
    sleeper.expect(0x20);
    sleeper.subscribe_5("stored/#", 1);
    drop(sleeper);
    for id in 1..=900_u16 {
        let topic = if id % 3 == 0 { "stored/a" } else { "live" };
        bytes.extend(publish_5(topic, 1, id, b"x"));
    }
    client.send(&bytes);
    for id in 1..=900_u16 {
        assert_eq!(client.expect(0x40).body[..2], id.to_be_bytes());
    }
    scene.is_calm();
}

#[test]
fn who_subscribes_and_never_reads_stops_nobody_and_grows_nothing() {
    let scene = Scene::start();
    let mut idler = RawMqtt::connect_5(scene.server(), "idler", "");
    idler.subscribe_5("flood", 0);
    let mut publisher = RawMqtt::connect_5(scene.server(), "publisher", "");
    let message = publish_5("flood", 0, 0, &[7; 8_000]);
    for _ in 0..40 {
        publisher.send(&message.repeat(250));
        publisher.ping();
    }
    scene.is_calm();
    drop(idler);
    drop(publisher);
    scene.is_left_alone();
}

#[test]
fn who_asks_and_never_reads_is_not_read_either() {
    let scene = Scene::start();
    let mut client = RawMqtt::connect_5(scene.server(), "asker", "");
    client.set_patience(Duration::from_millis(500));
    let questions = [0xc0, 0].repeat(10_000);
    assert!(
        client.is_stopped_by(&questions, 5_000),
        "fifty million answers are kept for one who does not read"
    );
    scene.is_calm();
    drop(client);
    scene.is_left_alone();
}

#[test]
fn a_client_that_is_silent_for_too_long_is_ended() {
    let scene = Scene::start();
    let begun = Instant::now();
    let mut client = RawMqtt::open(scene.server());
    // A keep alive of a second: the end comes after one and a half (MQTT 3.1.2.10).
    client.send(&written(0x10, "00 04 'MQTT' 05 02 00 01 00 00 01 'k'"));
    client.expect(0x20);
    client.expect_disconnect(0x8d);
    let waited = begun.elapsed();
    assert!((Duration::from_millis(1_400)..Duration::from_secs(10)).contains(&waited), "{waited:?}");
    scene.is_left_alone();
}

#[test]
fn the_keep_alive_of_the_server_counts() {
    if is_reference() {
        return;
    }
    let scene = Scene::with(|config| config.mqtt.keep_alive_max = 1);
    for keep_alive in [0, 60] {
        let mut client = RawMqtt::open(scene.server());
        client
            .send(&packet(0x10, &[&hex("00 04 'MQTT' 05 02 00")[..], &[keep_alive, 0, 0, 1, b'k']].concat()));
        let answer = client.expect(0x20);
        assert!(answer.body.windows(3).any(|part| part == [0x13, 0, 1]), "{answer:02x?}");
        client.expect_disconnect(0x8d);
    }
    // It asked for less than allowed: its own counts, and nothing is said.
    let mut client = RawMqtt::open(scene.server());
    client.send(&written(0x10, "00 04 'MQTT' 05 02 00 01 00 00 01 'k'"));
    let answer = client.expect(0x20);
    assert!(!answer.body[3..].contains(&0x13), "{answer:02x?}");
    drop(client);
    scene.is_calm();
}

#[test]
fn no_more_is_sent_than_the_client_can_take() {
    let scene = Scene::start();
    // A receive maximum of 2.
    let mut client = RawMqtt::connect_5(scene.server(), "narrow", "21 00 02");
    client.subscribe_5("window", 2);
    let mut publisher = RawMqtt::connect_5(scene.server(), "publisher", "");
    for id in 1..=6_u8 {
        let qos = 1 + id % 2;
        publisher.send(&publish_5("window", qos, id.into(), &[id]));
        if qos == 2 {
            publisher.expect(0x50);
            publisher.send(&packet(0x62, &[0, id]));
            publisher.expect(0x70);
        } else {
            publisher.expect(0x40);
        }
    }
    let id_of = |body: &[u8]| [body[8], body[9]];
    let first = client.read();
    let second = client.read();
    assert_eq!((first.body.last(), second.body.last()), (Some(&1), Some(&2)));
    client.ping();
    // MQTT 4.9: PUBREC keeps the place, PUBCOMP frees it.
    client.send(&packet(0x50, &id_of(&first.body)));
    client.expect(0x62);
    client.ping();
    client.send(&packet(0x70, &id_of(&first.body)));
    let third = client.read();
    assert_eq!((third.first & 0xf6, third.body.last()), (0x34, Some(&3)));
    // A PUBREC that refuses frees it, too.
    client.send(&packet(0x50, &[&id_of(&third.body)[..], &[0x80]].concat()));
    let fourth = client.read();
    assert_eq!(fourth.body.last(), Some(&4));
    for packet_ in [&second, &fourth] {
        client.send(&packet(0x40, &id_of(&packet_.body)));
    }
    assert_eq!((client.read().body.last(), client.read().body.last()), (Some(&5), Some(&6)));
    client.ping();
    scene.is_calm();
}

#[test]
fn what_is_larger_than_the_client_takes_is_never_sent_and_counts_as_sent() {
    let scene = Scene::start();
    // A maximum packet size of 100 bytes, and a receive maximum of 1.
    let mut client = RawMqtt::connect_5(scene.server(), "small", "27 00 00 00 64 21 00 01");
    client.subscribe_5("size", 1);
    let mut publisher = RawMqtt::connect_5(scene.server(), "publisher", "");
    for (id, length) in [(1_u16, 200), (2, 10), (3, 1_000), (4, 11)] {
        publisher.send(&publish_5("size", 1, id, &vec![1; length]));
        publisher.expect(0x40);
    }
    for length in [10, 11] {
        let message = client.read();
        // Topic, identifier, no properties.
        assert_eq!(message.body.len(), 6 + 2 + 1 + length);
        client.send(&packet(0x40, &message.body[6..8]));
    }
    client.ping();
    scene.is_calm();
}

#[test]
fn topic_aliases_work_in_both_directions_and_never_beyond_what_was_allowed() {
    let scene = Scene::start();
    let mut client = RawMqtt::connect_5(scene.server(), "aliases", "22 00 02");
    client.subscribe_5("alias/#", 0);
    let mut publisher = RawMqtt::connect_5(scene.server(), "publisher", "");
    // Set, used, set anew, used.
    for body in [
        "00 07 'alias/a' 03 23 00 01 'one'",
        "00 00 03 23 00 01 'two'",
        "00 07 'alias/b' 03 23 00 01 'three'",
        "00 00 03 23 00 01 'four'",
    ] {
        publisher.send(&written(0x30, body));
    }
    for _ in 0..20 {
        publisher.send(&publish_5("alias/c", 0, 0, b""));
        publisher.send(&publish_5("alias/d", 0, 0, b""));
        publisher.send(&publish_5("alias/e", 0, 0, b""));
    }
    let mut known: [Option<Vec<u8>>; 2] = [None, None];
    let mut topics = Vec::new();
    for _ in 0..64 {
        let body = client.expect(0x30).body;
        let length = usize::from(body[1]);
        let mut topic = body[2..2 + length].to_vec();
        let properties = &body[2 + length..];
        if properties[0] >= 3 {
            assert_eq!(properties[1], 0x23, "{body:02x?}");
            let alias = usize::from(properties[2]) << 8 | usize::from(properties[3]);
            let known = known.get_mut(alias - 1).expect("no alias beyond the maximum");
            if topic.is_empty() {
                topic = known.clone().expect("an alias that was set");
            } else {
                *known = Some(topic.clone());
            }
        }
        topics.push(String::from_utf8(topic).expect("a text"));
    }
    assert_eq!(topics[..4], ["alias/a", "alias/a", "alias/b", "alias/b"]);
    let rest: Vec<&str> = topics[4..].iter().map(String::as_str).collect();
    assert_eq!(rest, ["alias/c", "alias/d", "alias/e"].repeat(20));
    scene.is_calm();
}

#[test]
fn noise_at_any_point_ends_in_a_closed_connection() {
    let scene = Scene::start();
    let seed =
        std::env::var("MQ_TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101_u64);
    println!("MQ_TESTS_SEED={seed}");
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for round in 0..200 {
        let mut client = RawMqtt::open(scene.server());
        let start = match round % 3 {
            0 => Vec::new(),
            1 => connect_5("noise", ""),
            _ => connect_3("noise"),
        };
        let _ = client.try_send(&start);
        let length = usize::from(next()) * 8;
        let noise: Vec<u8> = (0..length).map(|_| next()).collect();
        // A packet by its header, with noise inside, gets past the framing.
        let noise = if round % 2 == 0 { noise } else { packet(next() | 0x10, &noise) };
        let _ = client.try_send(&noise);
        client.shut();
        while let Ok(Some(_)) = client.try_read() {}
    }
    scene.is_left_alone();
}
