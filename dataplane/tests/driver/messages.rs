//! What happens to a message on its way, and what does not.

use bytes::Bytes;
use mq_amqp::message::{Header, Message, Properties};
use mq_amqp::performative::{DeliveryState, Role};
use mq_amqp::value::Value;
use mq_amqp::{Limits, LinkKey};
use mq_model::manifest::AddressType;

use crate::client::{Client, addressed, anywhere, message, text};
use crate::links::SHARDS;
use crate::node::Node;

fn condition(state: &DeliveryState) -> (&str, &str) {
    match state {
        DeliveryState::Rejected(Some(error)) => {
            (error.condition.as_str(), error.description.as_ref().unwrap().as_str())
        }
        state => panic!("{state:?}"),
    }
}

fn full_message(ttl: Option<u32>) -> Message {
    Message {
        header: Some(Header { durable: true, priority: 7, ttl, ..Header::default() }),
        delivery_annotations: vec![(Value::from("x-hop"), Value::from(1_u32))],
        message_annotations: vec![(Value::from("x-kept"), Value::from("as it is"))],
        properties: Some(Properties { to: text("a"), subject: text("s"), ..Properties::default() }),
        application_properties: vec![(Value::from("n"), Value::from(5_u32))],
        footer: vec![(Value::from("x-sum"), Value::from(9_u32))],
        ..Message::data("body")
    }
}

#[test]
fn delivery_annotations_are_cut_and_all_the_rest_stays_byte_for_byte() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 0);
        let out = producer.producer("a");
        // Once handed over at once, once after waiting.
        for count in 1..=2 {
            producer.send(out, full_message(None).to_bytes(), false);
            if count == 1 {
                node.until("the message to wait", |now| now.undelivered == 1);
            }
            consumer.grant(into, 1);
            let expected = Message { delivery_annotations: Vec::new(), ..full_message(None) };
            assert_eq!(consumer.receive(count).bytes, expected.to_bytes());
        }
    }
}

#[test]
fn a_message_that_has_waited_says_what_is_left_of_its_time() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 0);
        let out = producer.producer("a");
        let began = std::time::Instant::now();
        producer.send(out, full_message(Some(600_000)).to_bytes(), false);
        node.until("the message to wait", |now| now.undelivered == 1);
        node.until("a few milliseconds to pass", |_| began.elapsed().as_millis() > 5);
        consumer.grant(into, 1);
        let bytes = Bytes::from(consumer.receive(1).bytes);
        let received = Message::decode(&bytes).unwrap();
        let left = received.header.clone().unwrap().ttl.unwrap();
        assert!((500_000..600_000).contains(&left), "{left}");
        let header = Some(Header { ttl: Some(left), ..full_message(None).header.unwrap() });
        let expected = Message { header, delivery_annotations: Vec::new(), ..full_message(None) };
        assert_eq!(bytes, expected.to_bytes());
    }
}

#[test]
fn an_expired_message_is_released_and_never_delivered() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 0);
        let out = producer.producer("a");
        let header = Some(Header { ttl: Some(20), ..Header::default() });
        let number = producer.send(out, Message { header, ..Message::data("old") }.to_bytes(), false);
        assert_eq!(producer.outcome(number), DeliveryState::Released);
        assert_eq!(node.statistics().expired, 1);
        producer.send_text(out, "new");
        consumer.grant(into, 10);
        assert_eq!(consumer.receive(1).text(), "new");
    }
}

#[test]
fn an_address_gives_messages_a_time_to_live() {
    let node = Node::start();
    node.set("brief", AddressType::Anycast, |spec| spec.ttl.default_ms = Some(20));
    let mut client = Client::connect(&node, 0);
    client.consumer("brief", 0);
    let out = client.producer("brief");
    let number = client.send_text(out, "old");
    assert_eq!(client.outcome(number), DeliveryState::Released);
}

#[test]
fn what_waits_is_delivered_by_priority_then_in_order() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 0);
        let out = producer.producer("a");
        let plain = message("4a");
        producer.send(out, plain, false);
        for (priority, body) in [(0, "0"), (9, "9a"), (4, "4b"), (7, "7"), (9, "9b")] {
            let header = Some(Header { priority, ..Header::default() });
            producer.send(out, Message { header, ..Message::data(body) }.to_bytes(), false);
        }
        node.until("all to wait", |now| now.undelivered == 6);
        consumer.grant(into, 6);
        consumer.receive(6);
        let order: Vec<String> = consumer.received.iter().map(|received| received.text()).collect();
        assert_eq!(order, ["9a", "9b", "7", "4a", "4b", "0"]);
    }
}

#[test]
fn an_anonymous_relay_sends_each_message_where_it_says() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let links = ["a", "b"].map(|address| consumer.consumer(address, 10));
        node.until("the consumers", |now| now.consumers == 2);
        let relay = producer.try_attach("relay", Role::Sender, anywhere()).unwrap();
        for (count, address) in ["a", "b", "/a"].into_iter().enumerate() {
            let number = producer.send(relay, addressed(address, address), false);
            let received = consumer.receive(count + 1);
            assert_eq!((received.text().as_str(), received.link), (address, links[count % 2]));
            consumer.accept(&received);
            assert_eq!(producer.outcome(number), DeliveryState::Accepted);
        }
        let number = producer.send(relay, addressed("nowhere", "?"), false);
        let (named, sentence) = ("amqp:not-found", "no address nowhere; create it first");
        assert_eq!(condition(&producer.outcome(number)), (named, sentence));
        let number = producer.send(relay, message("?"), false);
        let sentence = "the message names no address; set the property to";
        assert_eq!(condition(&producer.outcome(number)), ("amqp:precondition-failed", sentence));
    }
}

#[test]
fn a_relay_finds_the_address_in_a_later_frame() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    client.consumer("a", 10);
    let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
    let annotated = Message {
        delivery_annotations: vec![(Value::from("x-hop"), Value::from("h".repeat(300).as_str()))],
        message_annotations: vec![(Value::from("x-kept"), Value::from("k".repeat(300).as_str()))],
        properties: Some(Properties { to: text("a"), ..Properties::default() }),
        ..Message::data("body")
    };
    let whole = annotated.to_bytes();
    let expected = Message { delivery_annotations: Vec::new(), ..annotated }.to_bytes();
    for (count, size) in [1, 7, 100, 500].into_iter().enumerate() {
        let pieces: Vec<Bytes> = whole.chunks(size).map(Bytes::copy_from_slice).collect();
        let number = send_pieces(&mut client, relay, &pieces);
        let received = client.receive(count + 1);
        assert_eq!(received.bytes, expected, "in pieces of {size} bytes");
        client.accept(&received);
        assert_eq!(client.outcome(number), DeliveryState::Accepted);
    }
}

#[test]
fn a_relay_rejects_a_message_that_hides_its_address_behind_too_much() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    client.consumer("a", 10);
    let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
    let hidden = Message {
        message_annotations: vec![(Value::from("x"), Value::from("k".repeat(100_000).as_str()))],
        properties: Some(Properties { to: text("a"), ..Properties::default() }),
        ..Message::data("body")
    };
    let number = client.send(relay, hidden.to_bytes(), false);
    assert_eq!(condition(&client.outcome(number)).0, "amqp:precondition-failed");
    let number = client.send(relay, addressed("a", "seen"), false);
    let received = client.receive(1);
    client.accept(&received);
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
}

/// Sends a message in frames of these payloads.
fn send_pieces(client: &mut Client, link: LinkKey, pieces: &[Bytes]) -> u64 {
    client.until("credit", |client| client.credit(link) > 0);
    let number = client.start(link, pieces[0].clone(), false, pieces.len() > 1);
    for (index, piece) in pieces.iter().enumerate().skip(1) {
        client.engine.send_more(link, piece.clone(), index + 1 < pieces.len()).unwrap();
    }
    client.write();
    number
}

#[test]
fn a_large_message_streams_through_byte_for_byte() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        consumer.consumer("a", 10);
        let out = producer.producer("a");
        let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number * 7 % 251) as u8).collect();
        let sent = Message { header: Some(Header::default()), ..Message::data(body) }.to_bytes();
        producer.until("credit", |client| client.credit(out) > 0);
        let number = producer.start(out, sent.clone(), false, false);
        while !consumer.received.first().is_some_and(|received| received.is_whole) {
            producer.turn();
            consumer.turn();
        }
        assert!(consumer.received[0].bytes == sent, "the bytes differ");
        let received = consumer.received[0].clone();
        consumer.accept(&received);
        assert_eq!(producer.outcome(number), DeliveryState::Accepted);
    }
}

#[test]
fn a_consumer_sees_the_message_of_a_producer_that_left_in_the_middle_aborted() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        consumer.consumer("a", 10);
        let out = producer.producer("a");
        producer.until("credit", |client| client.credit(out) > 0);
        producer.start(out, message("the beginning of something"), false, true);
        producer.write();
        consumer.until("the beginning", |client| client.received.len() == 1);
        drop(producer);
        consumer.until("the abort", |client| client.received[0].is_aborted);
        node.until("nothing to be left", |now| (now.unsettled, now.undelivered) == (0, 0));
    }
}

#[test]
fn a_message_beyond_the_limit_of_its_address_is_rejected() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    client.consumer("a", 10);
    let relay = client.try_attach("relay", Role::Sender, anywhere()).unwrap();
    let out = client.producer("a");
    // A link that is there already has not heard of the limit.
    node.set("a", AddressType::Anycast, |spec| spec.limits.max_message_size = Some(100));
    for link in [relay, out] {
        let number = client.send(link, addressed("a", &"x".repeat(200)), false);
        assert_eq!(condition(&client.outcome(number)).0, "amqp:link:message-size-exceeded");
    }
}

#[test]
fn a_message_that_cannot_be_read_is_rejected_and_its_credit_comes_back() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    client.consumer("a", 100);
    let out = client.producer("a");
    for round in 0..300 {
        let number = if round % 2 == 0 {
            client.send(out, Bytes::from_static(&[0xff; 40]), false)
        } else {
            let pieces = [&[0xff; 40][..], b"more", b"end"].map(Bytes::from_static);
            send_pieces(&mut client, out, &pieces)
        };
        let state = client.outcome(number);
        assert_eq!(condition(&state).0, "amqp:decode-error");
        assert!(condition(&state).1.starts_with("the message cannot be read: "), "{state:?}");
    }
    client.send_text(out, "a good one");
    assert_eq!(client.receive(1).text(), "a good one");
    let credit = client.credit(out);
    assert!(credit > 100, "{credit}");
}

#[test]
fn an_unreadable_message_does_not_keep_a_producer_from_being_stopped() {
    let node = Node::start();
    let mut producer = Client::connect(&node, 0);
    let mut consumer = Client::connect(&node, 0);
    let into = consumer.consumer("a", 1);
    let out = producer.producer("a");
    producer.until("credit", |client| client.credit(out) == 250);
    consumer.detach(into);
    consumer.sync();
    // It has not read yet that it is to drain.
    let number = producer.start(out, Bytes::from_static(&[0xff; 40]), false, false);
    assert_eq!(condition(&producer.outcome(number)).0, "amqp:decode-error");
    producer.until("the drain", |client| client.credit(out) == 0);
    consumer.consumer("a", 1);
    producer.until("credit again", |client| client.credit(out) == 250);
}

#[test]
fn annotations_that_are_cut_do_not_use_the_session_window_up() {
    let node = Node::with(|config| config.limits.session_window = 64 << 10);
    let limits = Limits { max_unsettled: 1_000_000, ..Limits::default() };
    let (mut producer, mut consumer) = (Client::with(&node, 0, limits), Client::connect(&node, 0));
    let into = consumer.consumer("a", 0);
    let out = producer.producer("a");
    let annotated = Message {
        header: Some(Header::default()),
        delivery_annotations: vec![(Value::from("x-hop"), Value::from("h".repeat(2_000).as_str()))],
        ..Message::data("body")
    };
    let bytes = annotated.to_bytes();
    for count in 1..=200 {
        producer.send(out, bytes.clone(), false);
        producer.until("the window", |client| client.engine.pending_bytes(client.session) == 0);
        node.until("it to wait", |now| now.undelivered == 1);
        consumer.grant(into, 1);
        let received = consumer.receive(count);
        consumer.accept(&received);
        node.until("it to be settled", |now| now.unsettled == 0);
    }
}
