//! Settlement from end to end.

use bytes::Bytes;
use mq_amqp::Terms;
use mq_amqp::performative::{DeliveryState, Error, ReceiverSettleMode, Role, SenderSettleMode};

use crate::client::{Client, from, message, text, to};
use crate::links::SHARDS;
use crate::node::Node;

const FAILED: DeliveryState = DeliveryState::Modified {
    delivery_failed: Some(true),
    undeliverable_here: Some(false),
    annotations: None,
};

/// `{1: 2}` as a map.
const MAP: Bytes = Bytes::from_static(&[0xc1, 0x05, 0x02, 0x54, 0x01, 0x54, 0x02]);

fn states() -> Vec<DeliveryState> {
    let error = Error { condition: "shop:sold-out".into(), description: text("no more"), info: Some(MAP) };
    vec![
        DeliveryState::Accepted,
        DeliveryState::Released,
        DeliveryState::Rejected(None),
        DeliveryState::Rejected(Some(Box::new(error))),
        DeliveryState::Modified {
            delivery_failed: Some(true),
            undeliverable_here: Some(true),
            annotations: Some(MAP),
        },
        FAILED,
        // A described value that only the two ends know.
        DeliveryState::Other(Bytes::from_static(b"\x00\xa3\x08x:mydone\xc0\x03\x01\x54\x07")),
    ]
}

#[test]
fn every_outcome_reaches_the_producer_with_all_its_fields() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        consumer.consumer("a", 100);
        let out = producer.producer("a");
        for (count, state) in states().into_iter().enumerate() {
            let number = producer.send_text(out, "a message");
            let received = consumer.receive(count + 1);
            consumer.settle(&received, state.clone(), true);
            assert_eq!(producer.outcome(number), state);
        }
    }
}

#[test]
fn progress_reaches_the_producer_and_settles_nothing() {
    let node = Node::start();
    let mut client = Client::connect(&node, 0);
    client.consumer("a", 1);
    let out = client.producer("a");
    let number = client.send_text(out, "a message");
    let received = client.receive(1);
    let progress = DeliveryState::Received { section_number: 3, section_offset: 70_000 };
    client.settle(&received, progress.clone(), false);
    client.until("the progress", |client| client.states.contains_key(&number));
    assert_eq!(client.states[&number], (Some(progress), false));
    client.accept(&received);
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
}

#[test]
fn with_receiver_settle_mode_second_the_producer_settles_before_the_consumer() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let second = |terms| Terms { rcv_settle_mode: ReceiverSettleMode::Second, ..terms };
        let into = consumer.try_attach("in", Role::Receiver, second(from("a"))).unwrap();
        consumer.grant(into, 10);
        let out = producer.try_attach("out", Role::Sender, second(to("a"))).unwrap();
        for client in [(&producer, out), (&consumer, into)] {
            let answer = client.0.links[&client.1].attach.clone().unwrap();
            assert_eq!(answer.rcv_settle_mode, ReceiverSettleMode::Second);
        }
        let number = producer.send_text(out, "a message");
        let received = consumer.receive(1);
        consumer.settle(&received, DeliveryState::Accepted, false);
        producer.until("the outcome", |client| client.states.contains_key(&number));
        assert_eq!(producer.states[&number], (Some(DeliveryState::Accepted), false));
        assert!(!consumer.answers.contains_key(&received.delivery), "nothing is settled yet");
        let key = producer.keys[&number];
        producer.engine.settle(Role::Sender, key, Some(DeliveryState::Accepted), true).unwrap();
        producer.write();
        consumer.until("the settlement", |client| client.answers.contains_key(&received.delivery));
        assert!(consumer.answers[&received.delivery].1);
        node.until("the end of it", |now| now.unsettled == 0);
    }
}

#[test]
fn a_producer_may_settle_first() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let into = consumer.consumer("a", 1);
        let out = producer.producer("a");
        let numbers = ["taken", "waiting"].map(|body| producer.send_text(out, body));
        let received = consumer.receive(1);
        node.until("one to wait", |now| now.undelivered == 1);
        for number in numbers {
            let key = producer.keys[&number];
            producer.engine.settle(Role::Sender, key, None, true).unwrap();
        }
        producer.write();
        consumer.until("the settlement", |client| client.answers.contains_key(&received.delivery));
        node.until("one to be settled", |now| now.unsettled == 0);
        consumer.grant(into, 1);
        let waiting = consumer.receive(2);
        assert_eq!(waiting.text(), "waiting");
        assert!(waiting.settled, "it is settled when it comes");
        producer.until("all credit", |client| client.credit(out) >= 125);
        node.until("nothing to be left", |now| (now.unsettled, now.undelivered) == (0, 0));
    }
}

#[test]
fn a_presettled_message_arrives_settled() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        consumer.consumer("a", 10);
        let out = producer.producer("a");
        producer.send(out, message("gone"), true);
        assert!(consumer.receive(1).settled);
    }
}

#[test]
fn a_consumer_that_wants_settled_messages_accepts_them_by_taking_them() {
    for (there, here) in SHARDS {
        let node = Node::start();
        let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
        let terms = Terms { snd_settle_mode: SenderSettleMode::Settled, ..from("a") };
        let into = consumer.try_attach("in", Role::Receiver, terms).unwrap();
        consumer.grant(into, 10);
        let out = producer.producer("a");
        let number = producer.send_text(out, "a message");
        assert!(consumer.receive(1).settled);
        assert_eq!(producer.outcome(number), DeliveryState::Accepted);
    }
}

#[test]
fn what_a_leaving_consumer_had_is_modified_and_what_it_never_got_released() {
    for (there, here) in SHARDS {
        let leave: [fn(Client); 3] = [
            |mut client| {
                let links: Vec<_> = client.links.keys().copied().collect();
                links.into_iter().for_each(|link| client.detach(link));
                client.sync();
            },
            |mut client| {
                client.engine.close(std::time::Instant::now(), None);
                client.ended();
            },
            drop,
        ];
        for leave in leave {
            let node = Node::start();
            let (mut producer, mut consumer) = (Client::connect(&node, there), Client::connect(&node, here));
            consumer.consumer("a", 6);
            let out = producer.producer("a");
            let numbers: Vec<u64> =
                (0..10).map(|number| producer.send_text(out, &number.to_string())).collect();
            let first = consumer.receive(6);
            assert_eq!(first.text(), "5");
            node.until("four to wait", |now| now.undelivered == 4);
            leave(consumer);
            let outcomes: Vec<_> = numbers.into_iter().map(|number| producer.outcome(number)).collect();
            let (had, waited) = outcomes.split_at(6);
            assert!(had.iter().all(|outcome| *outcome == FAILED), "{had:?}");
            assert!(waited.iter().all(|outcome| *outcome == DeliveryState::Released), "{waited:?}");
        }
    }
}

#[test]
fn links_that_leave_together_do_not_leave_messages_to_each_other() {
    let node = Node::start();
    let (mut producer, mut consumer) = (Client::connect(&node, 0), Client::connect(&node, 0));
    let mut other = Client::connect(&node, 0);
    // The first takes a message without an end; the others could take what waits behind it.
    let out = producer.producer("a");
    let terms = |name: &str| (name.to_owned(), from("a"));
    let links: Vec<_> = ["1", "2", "3"]
        .into_iter()
        .map(|name| {
            let (name, terms) = terms(name);
            consumer.try_attach(&name, Role::Receiver, terms).unwrap()
        })
        .collect();
    for link in &links {
        consumer.grant(*link, 1);
    }
    consumer.sync();
    let numbers: Vec<u64> = (0..4).map(|number| producer.send_text(out, &number.to_string())).collect();
    consumer.receive(3);
    node.until("one to wait", |now| now.undelivered == 1);
    // Each may take one more, and goes in the same read.
    for link in &links {
        consumer.engine.grant(*link, 0).unwrap();
    }
    let keep = other.consumer("a", 0);
    consumer.engine.close(std::time::Instant::now(), None);
    consumer.ended();
    other.grant(keep, 1);
    let received = other.receive(1);
    assert_eq!(received.text(), "3");
    other.accept(&received);
    assert_eq!(producer.outcome(numbers[3]), DeliveryState::Accepted);
    for number in &numbers[..3] {
        assert_eq!(producer.outcome(*number), FAILED);
    }
}

#[test]
fn a_multicast_producer_learns_the_worst_outcome() {
    let node = Node::start();
    let mut producer = Client::connect(&node, 0);
    let mut consumers: Vec<Client> = [0, 1, 1].map(|shard| Client::connect(&node, shard)).into();
    for consumer in &mut consumers {
        consumer.consumer("m", 1);
    }
    let out = producer.producer("m");
    node.until("three consumers", |now| now.consumers == 3);
    let number = producer.send_text(out, "to all");
    let outcomes = [DeliveryState::Accepted, DeliveryState::Rejected(None), DeliveryState::Released];
    for (consumer, outcome) in consumers.iter_mut().zip(outcomes) {
        let received = consumer.receive(1);
        assert_eq!(received.text(), "to all");
        consumer.settle(&received, outcome, true);
    }
    assert_eq!(producer.outcome(number), DeliveryState::Rejected(None));
}
