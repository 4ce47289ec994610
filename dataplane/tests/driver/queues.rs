//! Queues: what is sent waits, survives, comes again and goes where it should.

use mq_amqp::Terms;
use mq_amqp::message::{Header, Message, Properties};
use mq_amqp::performative::{DeliveryState, Error, NodeTarget, Role, Source, Target};
use mq_amqp::value::{Symbol, Value};
use mq_model::manifest::AddressType;

use crate::client::{Client, Received, from, message, text, to};
use crate::node::{Node, Place};

/// The shards of producer and consumer; the home of the queue is one of the two.
const SHARDS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

fn durable(body: &str) -> Vec<u8> {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(body.as_bytes().to_vec()) }.to_bytes().to_vec()
}

fn decoded(received: &Received) -> Message {
    Message::decode(&received.bytes.clone().into()).unwrap()
}

fn annotation<'a>(message: &'a Message, name: &str) -> Option<&'a Value> {
    let mut found = message.message_annotations.iter().filter(|(key, _)| key.as_str() == Some(name));
    found.next().map(|(_, value)| value)
}

fn failed() -> DeliveryState {
    DeliveryState::Modified { delivery_failed: Some(true), undeliverable_here: None, annotations: None }
}

/// Terms of a consumer with a filter under a key of its own.
fn filtered(address: &str, descriptor: Value, content: Value) -> Terms {
    let filter = vec![(Symbol::from("f"), Value::described(descriptor, content))];
    let source = Source { address: text(address), filter, ..Source::default() };
    Terms { source: Some(Box::new(source)), ..from(address) }
}

fn browsing(address: &str) -> Terms {
    let mode = Some(Symbol::from("copy"));
    let source = Source { address: text(address), distribution_mode: mode, ..Source::default() };
    Terms { source: Some(Box::new(source)), ..from(address) }
}

fn texts(client: &Client) -> Vec<String> {
    client.received.iter().map(Received::text).collect()
}

#[test]
fn what_is_sent_to_a_queue_waits_for_a_consumer_and_comes_in_order() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let mut producer = Client::connect(&node, there);
        let out = producer.producer("q");
        let bodies: Vec<String> = (0..300).map(|number| format!("message {number}")).collect();
        let numbers: Vec<u64> = bodies
            .iter()
            .enumerate()
            .map(|(number, body)| match number % 2 {
                0 => producer.send(out, durable(body), false),
                _ => producer.send_text(out, body),
            })
            .collect();
        for number in numbers {
            assert_eq!(
                producer.outcome(number),
                DeliveryState::Accepted,
                "nobody listens, and it is accepted"
            );
        }
        let mut consumer = Client::connect(&node, here);
        consumer.consumer("q", 1_000);
        consumer.receive(bodies.len());
        assert_eq!(texts(&consumer), bodies);
        for received in consumer.received.clone() {
            consumer.accept(&received);
        }
        consumer.sync();
        drop((producer, consumer));
        node.until_empty();
    }
}

#[test]
fn durable_messages_are_there_after_a_restart_and_others_are_not() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let mut producer = Client::connect(&node, 0);
    let out = producer.producer("q");
    for number in 0..20 {
        let kept = producer.send(out, durable(&format!("kept {number}")), false);
        let lost = producer.send_text(out, "lost");
        assert_eq!(producer.outcome(kept), DeliveryState::Accepted);
        assert_eq!(producer.outcome(lost), DeliveryState::Accepted);
    }
    let mut consumer = Client::connect(&node, 1);
    consumer.consumer("q", 5);
    for number in 0..5 {
        let received = consumer.receive(number + 1);
        // The first two, kept and lost alike, are settled; the third is given back.
        match number {
            0..=3 => consumer.accept(&received),
            _ => consumer.settle(&received, DeliveryState::Released, true),
        }
    }
    consumer.sync();
    drop((producer, consumer));
    drop(node);

    let node = Node::at(&place, |_| {});
    let mut consumer = Client::connect(&node, 1);
    consumer.consumer("q", 100);
    consumer.receive(18);
    let expected: Vec<String> = (2..20).map(|number| format!("kept {number}")).collect();
    assert_eq!(texts(&consumer), expected);
}

#[test]
fn a_message_that_failed_comes_again_and_says_how_often() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("q");
        producer.send(out, durable("again"), false);
        consumer.consumer("q", 10);
        let first = consumer.receive(1);
        assert_eq!(decoded(&first).header.unwrap().delivery_count, 0);
        consumer.settle(&first, DeliveryState::Released, true);
        let second = consumer.receive(2);
        assert_eq!(decoded(&second).header.unwrap().delivery_count, 0, "released is as if never sent");
        consumer.settle(&second, failed(), true);
        let third = consumer.receive(3);
        let header = decoded(&third).header.unwrap();
        assert_eq!((header.delivery_count, header.durable), (1, true));
        assert_eq!(third.text(), "again");
        consumer.accept(&third);
        consumer.sync();
        assert_eq!(consumer.received.len(), 3);
    }
}

#[test]
fn annotations_of_a_modified_message_are_merged_into_it() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    client.send_text(out, "once more");
    client.consumer("q", 10);
    let first = client.receive(1);
    // {:"x-opt-tried": 7}
    let map = b"\xc1\x10\x02\xa3\x0bx-opt-tried\x52\x07";
    let state = DeliveryState::Modified {
        delivery_failed: Some(true),
        undeliverable_here: None,
        annotations: Some(map.as_slice().into()),
    };
    client.settle(&first, state, true);
    let second = client.receive(2);
    let message = decoded(&second);
    assert_eq!(annotation(&message, "x-opt-tried"), Some(&Value::UInt(7)));
    assert_eq!(message.header.unwrap().delivery_count, 1);
    assert_eq!(second.text(), "once more");
}

#[test]
fn a_rejected_message_goes_to_the_dead_letter_address_and_says_why() {
    for (there, here) in SHARDS {
        let mut place = Place::new();
        place.add("dead", AddressType::Queue, |_| {});
        place.add("orders", AddressType::Queue, |spec| spec.dead_letter = Some("dead".into()));
        let node = Node::at(&place, |_| {});
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("orders");
        producer.send(out, durable("bad"), false);
        consumer.consumer("orders", 10);
        let received = consumer.receive(1);
        let error =
            Error { condition: "shop:unknown".into(), description: text("no such thing"), info: None };
        consumer.settle(&received, DeliveryState::Rejected(Some(Box::new(error))), true);
        let mut undertaker = Client::connect(&node, here);
        undertaker.consumer("dead", 10);
        let dead = undertaker.receive(1);
        assert_eq!(dead.text(), "bad");
        let message = decoded(&dead);
        for (name, value) in [
            ("x-opt-dead-letter-reason", Value::from("rejected")),
            ("x-opt-dead-letter-source", Value::from("orders")),
            ("x-opt-dead-letter-condition", Value::Symbol("shop:unknown".into())),
            ("x-opt-dead-letter-description", Value::from("no such thing")),
        ] {
            assert_eq!(annotation(&message, name), Some(&value), "{name}");
        }
    }
}

#[test]
fn a_message_that_failed_too_often_goes_to_the_dead_letter_address() {
    let mut place = Place::new();
    place.add("dead", AddressType::Queue, |_| {});
    place.add("orders", AddressType::Queue, |spec| {
        spec.dead_letter = Some("dead".into());
        spec.max_deliveries = Some(3);
    });
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("orders");
    client.send_text(out, "stubborn");
    client.consumer("orders", 100);
    for attempt in 1..=3 {
        let received = client.receive(attempt);
        client.settle(&received, failed(), true);
    }
    let dead = client.consumer("dead", 10);
    let received = client.receive(4);
    assert_eq!(received.link, dead);
    let message = decoded(&received);
    assert_eq!(annotation(&message, "x-opt-dead-letter-reason"), Some(&Value::from("max-deliveries")));
    assert_eq!(annotation(&message, "x-opt-dead-letter-delivery-count"), Some(&Value::UInt(3)));
}

#[test]
fn an_expired_message_goes_to_the_expiry_address_without_its_time_to_live() {
    let mut place = Place::new();
    place.add("late", AddressType::Queue, |_| {});
    place.add("orders", AddressType::Queue, |spec| spec.expiry_address = Some("late".into()));
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("orders");
    let header = Header { ttl: Some(1), ..Header::default() };
    client.send(out, Message { header: Some(header), ..Message::data("too late") }.to_bytes(), false);
    client.consumer("late", 10);
    let received = client.receive(1);
    let message = decoded(&received);
    assert_eq!(annotation(&message, "x-opt-dead-letter-reason"), Some(&Value::from("expired")));
    assert_eq!(message.header.unwrap_or_default().ttl, None);
}

#[test]
fn a_browser_sees_everything_and_takes_nothing() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut browser) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("q");
        for body in ["one", "two", "three"] {
            let number = producer.send_text(out, body);
            producer.outcome(number);
        }
        let link = browser.try_attach("browser", Role::Receiver, browsing("q")).unwrap();
        let source = browser.links[&link].attach.clone().unwrap().source.unwrap();
        assert_eq!(source.distribution_mode, Some("copy".into()));
        browser.engine.grant(link, 10).unwrap();
        browser.engine.drain(link).unwrap();
        browser.write();
        browser.until("the end of the queue", |client| client.links[&link].is_drained);
        assert_eq!(texts(&browser), ["one", "two", "three"]);
        let mut consumer = Client::connect(&node, here);
        consumer.consumer("q", 10);
        consumer.receive(3);
        assert_eq!(texts(&consumer), ["one", "two", "three"]);
    }
}

#[test]
fn a_drained_consumer_has_all_that_was_there() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("q");
        for number in 0..50 {
            let number = producer.send(out, durable(&number.to_string()), false);
            producer.outcome(number);
        }
        let link = consumer.consumer("q", 0);
        consumer.engine.grant(link, 1_000).unwrap();
        consumer.engine.drain(link).unwrap();
        consumer.write();
        consumer.until("the end of the queue", |client| client.links[&link].is_drained);
        assert_eq!(consumer.received.len(), 50);
    }
}

#[test]
fn a_consumer_with_a_selector_gets_what_it_selects_and_leaves_the_rest() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("q");
        for number in 0..10_u32 {
            let colour = if number % 3 == 0 { "red" } else { "blue" };
            let coloured = Message {
                application_properties: vec![(Value::from("colour"), Value::from(colour))],
                ..Message::data(number.to_string())
            };
            producer.send(out, coloured.to_bytes(), false);
        }
        let terms = filtered("q", Value::ULong(0x0000_468C_0000_0004), Value::from("colour = 'red'"));
        let link = consumer.try_attach("red", Role::Receiver, terms.clone()).unwrap();
        let source = consumer.links[&link].attach.clone().unwrap().source.unwrap();
        assert_eq!(source.filter, terms.source.unwrap().filter, "the filter in place is echoed");
        consumer.grant(link, 100);
        consumer.receive(4);
        assert_eq!(texts(&consumer), ["0", "3", "6", "9"]);
        let mut rest = Client::connect(&node, there);
        rest.consumer("q", 100);
        rest.receive(6);
        assert_eq!(texts(&rest), ["1", "2", "4", "5", "7", "8"]);
    }
}

#[test]
fn a_selector_that_cannot_be_understood_is_refused_and_one_on_a_direct_address_is_not_granted() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let selector = |text: &str| (Value::ULong(0x0000_468C_0000_0004), Value::from(text));
    let (descriptor, content) = selector("colour =");
    let error = client.try_attach("wrong", Role::Receiver, filtered("q", descriptor, content)).unwrap_err();
    assert_eq!(error.condition.as_str(), "amqp:invalid-field");
    let (descriptor, content) = selector("colour = 'red'");
    let link = client.try_attach("direct", Role::Receiver, filtered("a", descriptor, content)).unwrap();
    let source = client.links[&link].attach.clone().unwrap().source.unwrap();
    assert!(source.filter.is_empty());
}

#[test]
fn a_scheduled_message_is_delivered_when_it_is_due() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    let offered = client.links[&out].attach.clone().unwrap().offered_capabilities;
    assert!(offered.contains(&Symbol::from("DELAYED_DELIVERY")));
    let delayed = Message {
        message_annotations: vec![(Value::Symbol("x-opt-delivery-delay".into()), Value::UInt(300))],
        ..Message::data("later")
    };
    let begun = std::time::Instant::now();
    let number = client.send(out, delayed.to_bytes(), false);
    assert_eq!(client.outcome(number), DeliveryState::Accepted, "it is kept at once");
    client.send_text(out, "now");
    client.consumer("q", 10);
    client.receive(2);
    assert_eq!(texts(&client), ["now", "later"]);
    assert!(begun.elapsed().as_millis() >= 290, "{:?}", begun.elapsed());
}

#[test]
fn a_queue_larger_than_memory_drains_completely_and_in_order() {
    for (there, here) in [(0, 0), (0, 1)] {
        let place = Place::new();
        let node = Node::at(&place, |config| config.store.memory = 1 << 20);
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let out = producer.producer("q");
        let count = 1_000;
        let body = |number: usize| format!("{number:05}{}", "x".repeat(10_000));
        let mut last = 0;
        for number in 0..count {
            last = producer.send(out, durable(&body(number)), false);
        }
        producer.outcome(last);
        consumer.consumer("q", 2_000);
        consumer.receive(count);
        for (number, received) in consumer.received.iter().enumerate() {
            assert_eq!(received.text()[..5], format!("{number:05}"));
            assert_eq!(received.bytes.len(), durable(&body(number)).len());
        }
    }
}

#[test]
fn a_message_larger_than_the_store_takes_is_refused_and_the_limit_is_told() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    let limit = client.links[&out].attach.clone().unwrap().max_message_size;
    assert_eq!(limit, Some(512 << 10));
    client.start(out, vec![0; 600 << 10].into(), false, false);
    client.write();
    assert_eq!(client.detached(out).condition.as_str(), "amqp:link:message-size-exceeded");
}

#[test]
fn a_queue_that_is_full_rejects_with_the_limit_as_the_reason() {
    let mut place = Place::new();
    place.add("small", AddressType::Queue, |spec| {
        spec.limits.max_messages = Some(2);
        spec.on_full = Some(mq_model::manifest::OnFull::Reject);
    });
    for shard in [0, 1] {
        let node = Node::at(&place, |_| {});
        let mut client = Client::connect(&node, shard);
        let out = client.producer("small");
        let outcomes: Vec<DeliveryState> = (0..3)
            .map(|_| {
                let number = client.send_text(out, "a message");
                client.outcome(number)
            })
            .collect();
        assert_eq!(outcomes[..2], [DeliveryState::Accepted, DeliveryState::Accepted]);
        let DeliveryState::Rejected(Some(error)) = &outcomes[2] else { panic!("{outcomes:?}") };
        assert_eq!(error.condition.as_str(), "amqp:resource-limit-exceeded");
    }
}

#[test]
fn a_purge_removes_what_no_consumer_has_and_a_move_takes_the_oldest() {
    let mut place = Place::new();
    place.add("other", AddressType::Queue, |_| {});
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    for number in 0..10 {
        let number = client.send(out, durable(&number.to_string()), false);
        client.outcome(number);
    }
    let held = client.consumer("q", 1);
    client.receive(1);
    let moved = node.wait_for(node.hub().move_messages(&"q".into(), &"other".into(), 4)).unwrap();
    assert_eq!(moved, Ok(4));
    let other = client.consumer("other", 100);
    client.receive(5);
    let there: Vec<String> =
        client.received.iter().filter(|received| received.link == other).map(Received::text).collect();
    assert_eq!(there, ["1", "2", "3", "4"]);
    let purged = node.wait_for(node.hub().purge(&"q".into())).unwrap();
    assert_eq!(purged, Ok(5));
    let first = client.received[0].clone();
    client.settle(&first, DeliveryState::Released, true);
    client.grant(held, 10);
    let again = client.receive(6);
    assert_eq!((again.link, again.text().as_str()), (held, "0"), "what a consumer had stays");
    assert!(node.wait_for(node.hub().purge(&"a".into())).unwrap().is_err(), "a direct address keeps nothing");
}

#[test]
fn a_client_that_takes_a_queue_for_a_topic_is_told() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    let with = |address: &str, capability: &str| {
        let capabilities = vec![Symbol::from(capability)];
        let source = Source { address: text(address), capabilities, ..Source::default() };
        Terms { source: Some(Box::new(source)), ..from(address) }
    };
    for (address, capability, is_fine) in [
        ("q", "queue", true),
        ("q", "topic", false),
        ("t", "topic", true),
        ("t", "queue", false),
        ("a", "queue", true),
    ] {
        let attached =
            client.try_attach(&format!("{address} {capability}"), Role::Receiver, with(address, capability));
        match attached {
            Ok(link) => {
                assert!(is_fine, "{address} as a {capability}");
                let source = client.links[&link].attach.clone().unwrap().source.unwrap();
                assert_eq!(source.capabilities, [Symbol::from(capability)]);
            }
            Err(error) => {
                assert!(!is_fine, "{address} as a {capability}: {error:?}");
                assert_eq!(error.condition.as_str(), "amqp:precondition-failed");
            }
        }
    }
}

#[test]
fn an_anonymous_relay_reaches_queues() {
    for shard in [0, 1] {
        let node = Node::start();
        let mut client = Client::connect(&node, shard);
        let relay = client.try_attach("relay", Role::Sender, crate::client::anywhere()).unwrap();
        let number = client.send(relay, crate::client::addressed("q", "hello"), false);
        assert_eq!(client.outcome(number), DeliveryState::Accepted);
        client.consumer("q", 1);
        assert_eq!(client.receive(1).text(), "hello");
    }
}

#[test]
fn a_consumer_that_its_queue_does_not_take_is_refused_whatever_its_shard() {
    let mut place = Place::new();
    place.add("few", AddressType::Queue, |spec| spec.limits.max_consumers = Some(1));
    for (first, second) in SHARDS {
        let node = Node::at(&place, |_| {});
        let (mut holder, mut other) = (Client::connect(&node, first), Client::connect(&node, second));
        holder.consumer("few", 1);
        let error = other.try_attach("late", Role::Receiver, from("few")).unwrap_err();
        assert_eq!(error.condition.as_str(), "amqp:resource-limit-exceeded");
        assert!(other.was_never_let_in());
        // The connection and its session go on.
        let out = other.producer("q");
        other.consumer("q", 1);
        other.send_text(out, "served");
        assert_eq!(other.receive(1).text(), "served");
    }
}

#[test]
fn a_queue_that_is_deleted_forgets_what_it_held() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    let number = client.send(out, durable("gone"), false);
    client.outcome(number);
    node.remove("q");
    assert_eq!(client.detached(out).condition.as_str(), "amqp:resource-deleted");
    node.set("q", AddressType::Queue, |_| {});
    let again = client.try_attach("again", Role::Sender, to("q")).unwrap();
    client.send(again, message("new"), false);
    client.consumer("q", 10);
    assert_eq!(client.receive(1).text(), "new");
    let properties = Properties::default();
    assert_eq!(decoded(&client.received[0]).properties.unwrap_or_default(), properties);
}

#[test]
fn a_temporary_queue_or_topic_is_there_for_everybody_and_goes_with_its_link() {
    for (capability, is_topic) in [("temporary-queue", false), ("temporary-topic", true)] {
        let node = Node::start();
        let mut maker = Client::connect(&node, 0);
        let target = NodeTarget {
            dynamic: true,
            capabilities: vec![Symbol::from(capability)],
            ..NodeTarget::default()
        };
        let terms = Terms { target: Some(Box::new(Target::Node(target))), ..to("") };
        let link = maker.try_attach("temporary", Role::Sender, terms).unwrap();
        let granted = maker.links[&link].attach.clone().unwrap().target.unwrap();
        let Target::Node(granted) = *granted else { panic!("{granted:?}") };
        assert!(granted.dynamic);
        assert_eq!(granted.capabilities, [Symbol::from(capability)]);
        let address = granted.address.unwrap().as_str().to_owned();
        maker.consumer(&address, 10);
        let mut other = Client::connect(&node, 1);
        let out = other.producer(&address);
        let number = other.send_text(out, "hello");
        assert_eq!(other.outcome(number), DeliveryState::Accepted);
        assert_eq!(maker.receive(1).text(), "hello");
        let reader = other.consumer(&address, 10);
        let number = other.send_text(out, "again");
        other.outcome(number);
        if is_topic {
            maker.receive(2);
            assert_eq!(other.receive(1).text(), "again", "a topic has a copy for each");
        }
        maker.detach(link);
        assert_eq!(other.detached(reader).condition.as_str(), "amqp:resource-deleted");
        assert_eq!(other.detached(out).condition.as_str(), "amqp:resource-deleted");
        let gone = maker.try_attach("late", Role::Sender, to(&address)).unwrap_err();
        assert_eq!(gone.condition.as_str(), "amqp:not-found");
        drop((maker, other));
        node.until_empty();
    }
}
