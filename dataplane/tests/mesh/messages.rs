//! Messages from a client of one node to a client of another.

use mq_amqp::performative::{DeliveryState, Role};
use mq_model::manifest::AddressType;

use crate::client::{Client, from, message};
use crate::fleet::Fleet;
use crate::support::{get, wait_for};

#[test]
fn a_message_reaches_the_consumer_on_another_node_and_its_outcome_comes_back() {
    let fleet = Fleet::of(2);
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(1);
    consumer.consumer("a", 10);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    for (state, text) in [
        (DeliveryState::Accepted, "one"),
        (DeliveryState::Released, "two"),
        (DeliveryState::Rejected(None), "three"),
    ] {
        let sent = producer.send_text(link, text);
        let count = consumer.received.len() + 1;
        let received = consumer.receive(count);
        assert_eq!(received.text(), text);
        consumer.settle(&received, state.clone(), true);
        assert_eq!(producer.outcome(sent), state);
    }
}

#[test]
fn a_multicast_message_reaches_the_consumers_of_all_nodes_once() {
    let fleet = Fleet::of(3);
    fleet.create("m", AddressType::Multicast);
    let mut consumers: Vec<Client> = (0..3).map(|node| fleet.client(node)).collect();
    for consumer in &mut consumers {
        consumer.consumer("m", 100);
    }
    let mut producer = fleet.client(0);
    let link = producer.producer("m");
    // Until every node has heard of every consumer some would be left out.
    wait_for("the producer's node to know all consumers", || {
        let before: Vec<usize> = consumers.iter().map(|consumer| consumer.received.len()).collect();
        let sent = producer.send_text(link, "probe");
        for consumer in &mut consumers {
            consumer.turn();
            settle_all(consumer);
        }
        producer.outcome(sent);
        let after = consumers.iter().map(|consumer| consumer.received.len());
        before.iter().zip(after).all(|(before, after)| after > *before).then_some(())
    });
    let before: Vec<usize> = consumers.iter().map(|consumer| consumer.received.len()).collect();
    let sent: Vec<u64> = (0..20).map(|number| producer.send_text(link, &format!("{number}"))).collect();
    for (consumer, before) in consumers.iter_mut().zip(&before) {
        consumer.receive(before + 20);
        let texts: Vec<String> =
            consumer.received[*before..].iter().map(crate::client::Received::text).collect();
        assert_eq!(texts, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
        settle_all(consumer);
    }
    for number in sent {
        assert_eq!(producer.outcome(number), DeliveryState::Accepted);
    }
}

#[test]
fn a_request_finds_its_answer_back_to_a_dynamic_address_of_another_node() {
    let fleet = Fleet::of(2);
    fleet.create("requests", AddressType::Anycast);
    let mut service = fleet.client(1);
    service.consumer("requests", 10);
    let mut caller = fleet.client(0);
    let mut terms = from("");
    if let Some(source) = &mut terms.source {
        source.address = None;
        source.dynamic = true;
    }
    let answers = caller.try_attach("answers", Role::Receiver, terms).unwrap();
    caller.grant(answers, 10);
    let attach = caller.links[&answers].attach.clone().expect("an answer");
    let reply_to = attach.source.and_then(|source| source.address).expect("a name").to_string();
    let link = caller.producer("requests");
    caller.send_text(link, "what?");
    let request = service.receive(1);
    service.accept(&request);
    let answer = service.producer(&reply_to);
    let sent = service.send_text(answer, "that");
    let received = caller.receive(1);
    assert_eq!(received.text(), "that");
    caller.accept(&received);
    assert_eq!(service.outcome(sent), DeliveryState::Accepted);
}

#[test]
fn a_queue_is_used_from_any_node_whichever_is_its_home() {
    let fleet = Fleet::of(2);
    let queues: Vec<String> = (0..4).map(|number| format!("q{number}")).collect();
    for queue in &queues {
        fleet.create(queue, AddressType::Queue);
    }
    let mut homes: Vec<String> = queues.iter().map(|queue| fleet.home(0, queue)).collect();
    for (queue, home) in queues.iter().zip(&homes) {
        assert_eq!(fleet.home(1, queue), *home, "all nodes agree");
    }
    homes.sort_unstable();
    homes.dedup();
    assert_eq!(homes, ["node-1", "node-2"], "homes are spread");
    for queue in &queues {
        let mut producer = fleet.client(0);
        let link = producer.producer(queue);
        let sent: Vec<u64> = (0..10).map(|number| producer.send_text(link, &format!("{number}"))).collect();
        for number in sent {
            assert_eq!(producer.outcome(number), DeliveryState::Accepted);
        }
        for node in 0..2 {
            let address = get(fleet.node(node).http, &format!("/api/v1/addresses/{queue}")).json();
            assert_eq!(address["status"]["queue"]["messages"], 10, "seen from node {node}: {address}");
        }
        let mut consumer = fleet.client(1);
        consumer.consumer(queue, 10);
        consumer.receive(10);
        let texts: Vec<String> = consumer.received.iter().map(crate::client::Received::text).collect();
        assert_eq!(texts, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        settle_all(&mut consumer);
    }
}

#[test]
fn a_message_larger_than_any_window_streams_to_another_node() {
    const SIZE: usize = 40 << 20;
    let fleet = Fleet::of(2);
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(1);
    consumer.consumer("a", 1);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    let body: Vec<u8> = (0..SIZE).map(|index| (index % 251) as u8).collect();
    let whole = mq_amqp::message::Message::data(body).to_bytes();
    let (node, to_send) = (fleet.node(0), whole.clone());
    let sending = std::thread::spawn(move || {
        let _ = node;
        let number = producer.send(link, to_send, false);
        producer.outcome(number)
    });
    let received = consumer.receive(1);
    assert!(received.bytes == whole, "{} bytes came of {}", received.bytes.len(), whole.len());
    consumer.accept(&received);
    assert_eq!(sending.join().unwrap(), DeliveryState::Accepted);
}

#[test]
fn a_line_of_three_nodes_carries_messages_through_the_one_in_the_middle() {
    let mut fleet = Fleet::new();
    let first = fleet.add(&[], |_| {});
    let second = fleet.add(&[first.mesh], |_| {});
    fleet.add(&[second.mesh], |_| {});
    fleet.wait_until_whole();
    let mesh = get(first.http, "/api/v1/mesh").json();
    let third = mesh["nodes"].as_array().unwrap().iter().find(|node| node["name"] == "node-3").unwrap();
    assert_eq!((&third["hops"], &third["nextHops"][0]), (&2.into(), &"node-2".into()), "{mesh}");
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(2);
    consumer.consumer("a", 100);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    let sent: Vec<u64> =
        (0..100).map(|number| producer.send(link, message(&format!("{number}")), false)).collect();
    consumer.receive(100);
    let texts: Vec<String> = consumer.received.iter().map(crate::client::Received::text).collect();
    assert_eq!(texts, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    settle_all(&mut consumer);
    for number in sent {
        assert_eq!(producer.outcome(number), DeliveryState::Accepted);
    }
}

/// Accepts everything that has come whole.
pub(crate) fn settle_all(client: &mut Client) {
    let whole = client.received.iter().filter(|received| received.is_whole && !received.settled);
    for received in whole.cloned().collect::<Vec<_>>() {
        if client.answers.get(&received.delivery).is_none_or(|answer| !answer.1) {
            client.settle(&received, DeliveryState::Accepted, true);
            client.answers.insert(received.delivery, (Some(DeliveryState::Accepted), true));
        }
    }
}
