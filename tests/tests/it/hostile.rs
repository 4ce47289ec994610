//! Clients that do not keep to the rules: each ends in a clean close or in nothing worse, while
//! another client's messages go on, and the daemon's memory stays what it was.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use mq_amqp::codec::encode_value;
use mq_amqp::performative::{DeliveryState, Disposition, Flow, Open, Performative, Role, Transfer};
use mq_amqp::value::{Symbol, Value};
use mq_model::admin::LinkDirection;
use mq_model::config::DaemonConfig;
use mq_model::manifest::AddressType;
use mq_tests::raw::{
    HEADER, Raw, SASL_HEADER, Witness, accepted, begin, frame, frame_of, grant, message, receiver, sender,
    transfer,
};
use mq_tests::{Daemon, PATIENCE, eventually};

/// Bytes by which the daemon may grow while someone misbehaves.
const MEMORY: u64 = 48 << 20;

/// A daemon under attack: what has to hold is checked when the scene ends.
struct Scene {
    witness: Witness,
    daemon: Daemon,
    resident: u64,
}

impl Scene {
    fn start() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut DaemonConfig)) -> Self {
        let daemon = Daemon::builder().with(change).start();
        daemon.admin().create("witness", AddressType::Anycast);
        daemon.admin().create("stage", AddressType::Anycast);
        let witness = Witness::start(daemon.amqp(), "witness");
        witness.is_undisturbed();
        let resident = daemon.resident_bytes();
        Self { witness, daemon, resident }
    }

    fn server(&self) -> SocketAddr {
        self.daemon.amqp()
    }

    /// A client with an open connection.
    #[track_caller]
    fn client(&self) -> Raw {
        Raw::open(self.server(), "hostile")
    }

    /// The witness exchanges messages, and memory has stayed within bounds.
    #[track_caller]
    fn is_calm(&self) {
        self.witness.is_undisturbed();
        let grown = self.daemon.resident_bytes().saturating_sub(self.resident);
        assert!(grown < MEMORY, "the daemon has grown by {grown} bytes");
    }

    /// Waits until everyone but the witness is gone.
    #[track_caller]
    fn is_left_alone(&self) {
        eventually("the end of every hostile connection", || {
            (self.daemon.admin().statistics().connections == 1).then_some(())
        });
        self.is_calm();
    }
}

/// Numbers that look random and are the same for the same seed.
struct Noise(u64);

impl Noise {
    /// splitmix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[test]
fn noise_at_any_point_ends_in_a_closed_connection() {
    let scene = Scene::start();
    let seed = std::env::var("MQ_TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_240_229);
    println!("MQ_TESTS_SEED={seed}");
    let mut noise = Noise(seed);
    let open = frame(0, &Performative::Open(Box::default()), &[]);
    for round in 0..120 {
        let mut client = Raw::connect(scene.server());
        let length = usize::try_from(noise.next() % 2_000).expect("small");
        let bytes = noise.bytes(length);
        let prefix: Vec<u8> = match round % 4 {
            0 => Vec::new(),
            1 => HEADER.to_vec(),
            2 => SASL_HEADER.to_vec(),
            _ => [&HEADER[..], &open[..]].concat(),
        };
        // A frame that is one by its header, with noise inside, gets past the framing.
        let body = if round % 8 < 4 { bytes } else { frame_of(0, &bytes).to_vec() };
        // The daemon may close before it has read everything.
        let _ = client.try_send_bytes(&prefix);
        let _ = client.try_send_bytes(&body);
        client.shut();
        client.expect_end();
    }
    scene.is_left_alone();
}

#[test]
fn another_protocol_is_answered_with_our_header() {
    let scene = Scene::start();
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x10\x20\x00\x04MQTT\x05",
        b"AMQP\x00\x00\x09\x01",
    ] {
        let mut client = Raw::connect(scene.server());
        client.send_bytes(hello);
        let answer = client.protocol_header();
        assert!([*HEADER, *SASL_HEADER].contains(&answer), "{}", answer.escape_ascii());
        client.expect_end();
    }
    scene.is_left_alone();
}

#[test]
fn a_handshake_that_takes_too_long_is_ended() {
    let scene = Scene::with(|config| config.limits.handshake_timeout_ms = 300);
    let open = frame(0, &Performative::Open(Box::default()), &[]);
    let starts: [&[u8]; 6] = [
        b"",
        b"AM",
        HEADER,
        SASL_HEADER,
        &[&HEADER[..], &open[..open.len() / 2]].concat(),
        &[&HEADER[..], &[0, 0, 0, 200, 2, 0, 0, 0]].concat(),
    ];
    let mut clients: Vec<Raw> = starts
        .iter()
        .map(|start| {
            let mut client = Raw::connect(scene.server());
            client.send_bytes(start);
            client
        })
        .collect();
    for client in &mut clients {
        client.expect_end();
    }
    scene.is_left_alone();
}

#[test]
fn a_handshake_byte_by_byte_gains_no_time() {
    let scene = Scene::with(|config| config.limits.handshake_timeout_ms = 300);
    let mut client = Raw::connect(scene.server());
    let hostname = "x".repeat(4_000);
    let open = Open { hostname: Some(hostname.as_str().into()), ..Open::default() };
    let bytes = [&HEADER[..], &frame(0, &Performative::Open(Box::new(open)), &[])].concat();
    let begun = Instant::now();
    let mut rest = bytes.iter();
    // At this pace the open would take longer than anyone waits.
    eventually("the end of the handshake", || {
        let byte = rest.next().expect("the daemon ends the handshake before it is over");
        client.try_send_bytes(&[*byte]).is_err().then_some(())
    });
    assert!(begun.elapsed() >= Duration::from_millis(300), "ended after {:?}", begun.elapsed());
    scene.is_left_alone();
}

#[test]
fn a_consumer_that_never_reads_stops_its_producer_and_nobody_else() {
    for is_settled in [true, false] {
        let scene = Scene::start();
        let mut idler = scene.client();
        idler.begin(0);
        idler.attach_receiver(0, 0, "stage", u32::MAX);
        let mut producer = scene.client();
        producer.begin(0);
        let mut credit = producer.attach_sender(0, 0, "stage");
        let payload = message(&[7; 8_000]);
        producer.set_patience(Duration::from_millis(500));
        let mut sent: u32 = 0;
        // Far more than everything that lies between the two may hold.
        while sent < 50_000 {
            if credit > 0 {
                let next = frame(0, &Performative::Transfer(transfer(0, sent, is_settled)), &payload);
                if producer.try_send_bytes(&next).is_err() {
                    break;
                }
                sent += 1;
                credit -= 1;
                continue;
            }
            match producer.try_read() {
                Ok(Some((_, Performative::Flow(flow), _))) => credit = available(&flow, sent),
                Ok(Some(_)) => {}
                Ok(None) => panic!("the producer is cut off"),
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
                    break;
                }
            }
        }
        assert!(sent < 50_000, "a producer could send without an end");
        scene.is_calm();
        // When the idler goes, its messages go back or are lost, and the next consumer is served.
        drop(idler);
        let mut consumer = scene.client();
        consumer.begin(0);
        consumer.attach_receiver(0, 0, "stage", 10);
        producer.set_patience(PATIENCE);
        while credit == 0 {
            credit = producer.expect("credit", |_, performative| match performative {
                Performative::Flow(flow) => Some(available(flow, sent)),
                _ => None,
            });
        }
        producer.send_bytes(&frame(0, &Performative::Transfer(transfer(0, sent, true)), &message(b"after")));
        // What waited with the idler may come first.
        let mut received = 0;
        while consumer.message().1 != message(b"after") {
            received += 1;
            consumer.send(0, &grant(0, received, 10));
        }
        scene.is_calm();
    }
}

/// What a sender may still send after a flow (AMQP 2.6.7).
fn available(flow: &Flow, sent: u32) -> u32 {
    let limit = flow.delivery_count.unwrap_or(0).wrapping_add(flow.link_credit.unwrap_or(0));
    limit.wrapping_sub(sent)
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_read_either() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    client.set_patience(Duration::from_millis(500));
    let echo = Performative::Flow(Flow { incoming_window: 1, echo: true, ..Flow::default() });
    let questions = frame(0, &echo, &[]).repeat(1_000);
    let is_stopped = (0..5_000).any(|_| client.try_send_bytes(&questions).is_err());
    assert!(is_stopped, "five million answers are kept for one who does not read them");
    scene.is_calm();
    drop(client);
    scene.is_left_alone();
}

#[test]
fn no_session_gets_65535_handles() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    client.set_patience(Duration::from_secs(5));
    let all: Vec<u8> = (0..65_535).flat_map(|handle| frame(0, &receiver(handle, "stage"), &[])).collect();
    // The daemon closes in the middle.
    let _ = client.try_send_bytes(&all);
    client.set_patience(PATIENCE);
    let error = closed_or_reset(&mut client);
    assert!(error.is_none_or(|condition| condition == "amqp:connection:framing-error"));
    scene.is_left_alone();
}

/// The condition of the close; `None` when unread bytes of ours have reset the connection.
fn closed_or_reset(client: &mut Raw) -> Option<String> {
    loop {
        match client.try_read() {
            Ok(Some((_, Performative::Close(close), _))) => {
                return close.error.map(|error| error.condition.as_str().to_owned());
            }
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ends without a close"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return None;
            }
        }
    }
}

#[test]
fn a_handle_above_the_limit_is_named_in_the_close() {
    let scene = Scene::with(|config| config.limits.max_links = 10);
    let mut client = scene.client();
    client.begin(0);
    for handle in 0..10 {
        client.send(0, &receiver(handle, "stage"));
    }
    eventually("ten links", || {
        let links = scene.daemon.admin().links();
        let here = links.iter().filter(|link| link.address.as_deref() == Some("stage"));
        (here.filter(|link| link.direction == LinkDirection::Consumer).count() == 10).then_some(())
    });
    client.send(0, &receiver(10, "stage"));
    let error = client.expect_close().expect("a reason");
    // AMQP 2.7.2: a handle outside the range closes the connection with a framing error.
    assert_eq!(error.condition.as_str(), "amqp:connection:framing-error");
    assert!(error.description.is_some_and(|text| text.as_str().contains("10")));
    scene.is_left_alone();
}

#[test]
fn no_connection_gets_65536_sessions() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.set_patience(Duration::from_secs(5));
    let all: Vec<u8> = (0..=u16::MAX).flat_map(|channel| frame(channel, &begin(), &[])).collect();
    // The daemon closes in the middle.
    let _ = client.try_send_bytes(&all);
    client.set_patience(PATIENCE);
    let error = closed_or_reset(&mut client);
    assert!(error.is_none_or(|condition| condition == "amqp:connection:framing-error"));
    scene.is_left_alone();
}

#[test]
fn four_billion_credit_is_credit_and_nothing_else() {
    let scene = Scene::start();
    let mut consumer = scene.client();
    consumer.begin(0);
    consumer.attach_receiver(0, 0, "stage", u32::MAX);
    // Counting on from here wraps around.
    consumer.send(0, &grant(0, u32::MAX, u32::MAX));
    consumer.send(0, &grant(0, 0, u32::MAX));
    let mut producer = scene.client();
    producer.begin(0);
    assert!(producer.attach_sender(0, 0, "stage") <= 10_000, "credit is not passed through");
    for delivery in 0..100 {
        let next = Performative::Transfer(transfer(0, delivery, false));
        producer.send_bytes(&frame(0, &next, &message(b"counted")));
        let (id, _) = consumer.message();
        consumer.send(0, &accepted(id));
        assert_eq!(producer.settlement(), DeliveryState::Accepted);
    }
    scene.is_calm();
}

#[test]
fn settling_what_was_never_sent_changes_nothing_and_costs_nothing() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    client.attach_receiver(0, 0, "stage", 10);
    client.attach_sender(0, 1, "stage");
    let half = i32::MAX.unsigned_abs();
    for (first, last) in [(0, half), (u32::MAX, 0), (7, 7 + half), (1 << 31, u32::MAX), (u32::MAX, half - 1)]
    {
        for role in [Role::Sender, Role::Receiver] {
            client.send_bytes(&frame(0, &settlement(role, first, last), &[]).repeat(200));
        }
    }
    // The client is none the worse for it, and what it sends now is not settled by what it said.
    let next = Performative::Transfer(transfer(1, 0, false));
    client.send_bytes(&frame(0, &next, &message(b"real")));
    let (id, content) = client.message();
    assert_eq!(content, message(b"real"));
    client.send(0, &accepted(id));
    assert_eq!(client.settlement(), DeliveryState::Accepted);
    scene.is_calm();
}

#[test]
fn a_settlement_that_ends_before_it_begins_ends_the_session() {
    let scene = Scene::start();
    for (first, last) in [(0, u32::MAX), (7, 3), (u32::MAX, u32::MAX - 1)] {
        let mut client = scene.client();
        client.begin(0);
        client.send(0, &settlement(Role::Receiver, first, last));
        assert_eq!(end_of_session(&mut client), "amqp:invalid-field", "{first} to {last}");
    }
    scene.is_left_alone();
}

fn settlement(role: Role, first: u32, last: u32) -> Performative {
    let range = Disposition { role, first, last: Some(last), settled: true, state: None, batchable: false };
    Performative::Disposition(range)
}

/// Waits for the end of the session and returns its condition.
#[track_caller]
fn end_of_session(client: &mut Raw) -> String {
    client.expect("the end of the session", |_, performative| match performative {
        Performative::End(end) => Some(end.error.as_ref()?.condition.as_str().to_owned()),
        _ => None,
    })
}

#[test]
fn a_frame_smaller_than_its_header_or_larger_than_allowed_is_a_framing_error() {
    let scene = Scene::start();
    let sizes = (0..8_u32).chain([16_385, 1 << 20, u32::MAX]);
    for size in sizes {
        let mut client = scene.client();
        client.send_bytes(&size.to_be_bytes());
        client.send_bytes(&[2, 0, 0, 0]);
        let error = client.expect_close().expect("a reason");
        assert_eq!(error.condition.as_str(), "amqp:connection:framing-error", "size {size}");
        let text = error.description.expect("a sentence");
        assert!(text.as_str().contains(&size.to_string()), "{}", text.as_str());
    }
    for head in [[0, 0, 0, 8, 1, 0, 0, 0], [0, 0, 0, 8, 3, 0, 0, 0], [0, 0, 0, 8, 2, 7, 0, 0]] {
        let mut client = scene.client();
        client.send_bytes(&head);
        let error = client.expect_close().expect("a reason");
        assert_eq!(error.condition.as_str(), "amqp:connection:framing-error", "{head:?}");
    }
    scene.is_left_alone();
}

/// Bodies of frames whose values nest as deep as a frame allows, or claim more than is there.
fn monsters() -> Vec<(&'static str, Vec<u8>)> {
    let open = [0x00, 0x53, 0x10];
    let described = vec![0x00; 16_000];
    let mut lists = Vec::new();
    for depth in (1..=1_700_u32).rev() {
        lists.extend([0xd0]);
        lists.extend((depth * 9).to_be_bytes());
        lists.extend(1_u32.to_be_bytes());
    }
    lists.push(0x40);
    vec![
        ("descriptors of descriptors", described.clone()),
        ("a field of descriptors", [&open[..], &[0xd0, 0, 0, 0x3e, 0x84, 0, 0, 0, 1], &described].concat()),
        ("lists of lists", [&open[..], &lists].concat()),
        (
            "a list of four billion",
            [&open[..], &[0xd0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat(),
        ),
        (
            "a list of four billion nothings",
            [&open[..], &[0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]].concat(),
        ),
        (
            "an array of four billion truths",
            [&open[..], &[0xd0, 0, 0, 0, 14, 0, 0, 0, 1, 0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x41]]
                .concat(),
        ),
        (
            "a text of four gigabytes",
            [&open[..], &[0xd0, 0, 0, 0, 9, 0, 0, 0, 1, 0xb1, 0xff, 0xff, 0xff, 0xff]].concat(),
        ),
        ("an unknown performative", vec![0x00, 0x53, 0x7f, 0x45]),
        ("a constructor that does not exist", vec![0x00, 0x53, 0x10, 0x3f]),
    ]
}

#[test]
fn values_that_nest_without_end_or_claim_what_is_not_there_close_the_connection() {
    let scene = Scene::start();
    for (name, body) in monsters() {
        let mut fresh = Raw::connect(scene.server());
        fresh.send_bytes(HEADER);
        fresh.send_bytes(&frame_of(0, &body));
        fresh.expect_end();

        let mut opened = scene.client();
        opened.send_bytes(&frame_of(0, &body));
        let error = opened.expect_close().unwrap_or_else(|| panic!("{name}: a close without a reason"));
        let condition = error.condition.as_str();
        // Nesting is a limit of ours; everything else breaks the encoding itself.
        let expected = ["amqp:decode-error", "amqp:resource-limit-exceeded"];
        assert!(expected.contains(&condition), "{name}: {error:?}");
    }
    scene.is_left_alone();
}

#[test]
fn what_nests_in_a_body_is_the_consumers_business() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    client.attach_receiver(0, 0, "stage", 10);
    client.attach_sender(0, 1, "stage");
    let mut value = Value::Null;
    for _ in 0..20 {
        value = Value::List(vec![value]);
    }
    let mut content = BytesMut::new();
    content.put_slice(&[0x00, 0x53, 0x77]);
    encode_value(&mut content, &value);
    let next = Performative::Transfer(transfer(1, 0, true));
    client.send_bytes(&frame(0, &next, &content));
    assert_eq!(client.message().1, content);
    scene.is_calm();
}

#[test]
fn a_message_whose_header_is_malformed_is_rejected_or_ends_its_link() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    client.attach_receiver(0, 0, "stage", 10);
    client.attach_sender(0, 1, "stage");
    // A header section that is a list of four billion fields.
    let content = [0x00, 0x53, 0x70, 0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff];
    client.send_bytes(&frame(0, &Performative::Transfer(transfer(1, 0, false)), &content));
    let condition = client.expect("a refusal", |_, performative| match performative {
        Performative::Disposition(disposition) if disposition.settled => {
            Some(format!("{:?}", disposition.state))
        }
        Performative::Detach(detach) if detach.handle == 1 => Some(format!("{:?}", detach.error)),
        _ => None,
    });
    assert!(condition.contains("amqp:decode-error"), "{condition}");
    scene.is_calm();
}

#[test]
fn sending_without_credit_ends_the_link() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.begin(0);
    // Nobody receives: there is no credit.
    client.send(0, &sender(0, "stage"));
    client.send_bytes(&frame(0, &Performative::Transfer(transfer(0, 0, false)), &message(b"pushed")));
    let condition = client.expect("the end of the link", |_, performative| match performative {
        Performative::Detach(detach) => detach.error.as_ref().map(|error| error.condition.clone()),
        _ => None,
    });
    assert_eq!(condition.as_str(), "amqp:link:transfer-limit-exceeded");
    scene.is_calm();
}

#[test]
fn a_message_that_never_ends_is_aborted_when_its_sender_dies() {
    let scene = Scene::start();
    let mut consumer = scene.client();
    consumer.begin(0);
    consumer.attach_receiver(0, 0, "stage", 10);
    let mut producer = scene.client();
    producer.begin(0);
    producer.attach_sender(0, 0, "stage");
    let first = Transfer { more: true, ..transfer(0, 0, false) };
    producer.send_bytes(&frame(0, &Performative::Transfer(first), &message(b"once upon a time")));
    let part = consumer.expect("the first part", |_, performative| match performative {
        Performative::Transfer(transfer) => Some(transfer.more),
        _ => None,
    });
    assert!(part, "more is to come");
    drop(producer);
    let is_aborted = consumer.expect("the last part", |_, performative| match performative {
        Performative::Transfer(transfer) => Some(transfer.aborted),
        _ => None,
    });
    assert!(is_aborted);
    scene.is_calm();
}

#[test]
fn a_frame_on_a_channel_or_handle_that_is_not_there_closes_what_it_belongs_to() {
    let scene = Scene::start();
    let mut client = scene.client();
    client.send(9, &grant(0, 0, 1));
    assert_eq!(client.expect_close().expect("a reason").condition.as_str(), "amqp:not-allowed");

    let mut client = scene.client();
    client.begin(0);
    client.send_bytes(&frame(0, &Performative::Transfer(transfer(5, 0, false)), &message(b"lost")));
    assert_eq!(end_of_session(&mut client), "amqp:session:unattached-handle");
    drop(client);
    scene.is_left_alone();
}

#[test]
fn a_large_open_is_refused_before_anyone_has_authenticated() {
    let scene = Scene::start();
    let mut client = Raw::connect(scene.server());
    client.send_bytes(HEADER);
    let properties =
        (0..2_000_u32).map(|number| (Value::Symbol(Symbol::from("key")), Value::from(number))).collect();
    let open = Open { properties, ..Open::default() };
    // More than the handshake may hold: the daemon may close before it has read everything.
    let _ = client.try_send_bytes(&frame(0, &Performative::Open(Box::new(open)), &[]));
    client.expect_end();
    scene.is_left_alone();
}

#[test]
fn two_hundred_connections_that_die_at_once_leave_nothing() {
    let scene = Scene::start();
    for _ in 0..4 {
        let clients: Vec<Raw> = (0..50)
            .map(|_| {
                let mut client = scene.client();
                client.begin(0);
                client.attach_receiver(0, 0, "stage", 1_000);
                client
            })
            .collect();
        drop(clients);
    }
    scene.is_left_alone();
    assert_eq!(scene.daemon.admin().links().len(), 2, "the witness has two");
}
