//! The store behind the shards: what it promises, and what it does when its disk fails.

use std::time::Instant;

use mq_amqp::LinkKey;
use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{DeliveryState, Role};
use mq_model::admin::StoreState;
use mq_model::config::Durability;
use mq_model::manifest::AddressType;
use mq_store::testing::{FaultyDisk, Operation};
use mqd::store::Phase;

use crate::client::{Client, Received, from};
use crate::node::{DEADLINE, Node, Place};

fn durable(body: &str) -> Vec<u8> {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(body.as_bytes().to_vec()) }.to_bytes().to_vec()
}

fn send_durable(client: &mut Client, link: LinkKey, body: &str) -> DeliveryState {
    let number = client.send(link, durable(body), false);
    client.outcome(number)
}

/// The condition with which a message was rejected.
#[track_caller]
fn condition(state: &DeliveryState) -> String {
    match state {
        DeliveryState::Rejected(Some(error)) => error.condition.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Waits until the store is in this state.
#[track_caller]
fn until_state(node: &Node, state: StoreState) -> Option<String> {
    let end = Instant::now() + DEADLINE;
    loop {
        let status = node.hub().store().unwrap().status();
        if status.state == state {
            return status.reason;
        }
        assert!(Instant::now() < end, "{status:?}");
        std::thread::yield_now();
    }
}

#[test]
fn accepted_means_on_disk_and_one_sync_serves_many() {
    let disk = FaultyDisk::new(1);
    let node = Node::at(&Place::on(&disk), |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    assert_eq!(send_durable(&mut client, out, "first"), DeliveryState::Accepted);
    let before = disk.syncs();
    assert_eq!(send_durable(&mut client, out, "second"), DeliveryState::Accepted);
    assert_eq!(disk.syncs() - before, 1);

    let before = disk.syncs();
    client.until("credit", |client| client.credit(out) > 100);
    let numbers: Vec<u64> =
        (0..100).map(|number| client.start(out, durable(&number.to_string()).into(), false, false)).collect();
    client.write();
    for number in numbers {
        assert_eq!(client.outcome(number), DeliveryState::Accepted);
    }
    assert!(disk.syncs() - before < 20, "{} syncs for 100 messages", disk.syncs() - before);

    let before = disk.syncs();
    let number = client.send_text(out, "in memory");
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
    client.sync();
    assert_eq!(disk.syncs(), before, "nothing durable, no sync");
}

#[test]
fn what_was_accepted_survives_the_loss_of_power() {
    let disk = FaultyDisk::new(2);
    let node = Node::at(&Place::on(&disk), |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    for number in 0..50 {
        assert_eq!(send_durable(&mut client, out, &number.to_string()), DeliveryState::Accepted);
    }
    let left = disk.crash();
    drop(client);
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    let mut client = Client::connect(&node, 1);
    client.consumer("q", 100);
    client.receive(50);
    let expected: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(client.received.iter().map(Received::text).collect::<Vec<_>>(), expected);
}

#[test]
fn relaxed_durability_answers_first_and_syncs_within_the_interval() {
    let disk = FaultyDisk::new(3);
    let node = Node::at(&Place::on(&disk), |config| {
        config.store.durability = Durability::Relaxed;
        config.store.sync_interval_ms = 300;
    });
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    assert_eq!(send_durable(&mut client, out, "first"), DeliveryState::Accepted);
    let (before, begun) = (disk.syncs(), Instant::now());
    assert_eq!(send_durable(&mut client, out, "second"), DeliveryState::Accepted);
    // The first one's sync may fall in between, the second one's must not come at once.
    assert!(disk.syncs() - before <= 1);
    while disk.syncs() == before {
        assert!(begun.elapsed() < DEADLINE, "it is never synced");
        std::thread::yield_now();
    }
}

#[test]
fn when_a_sync_fails_durable_messages_are_refused_and_the_rest_of_the_node_lives_on() {
    let disk = FaultyDisk::new(4);
    let node = Node::at(&Place::on(&disk), |config| config.store.memory = 1 << 20);
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    assert_eq!(send_durable(&mut client, out, "kept"), DeliveryState::Accepted);
    disk.fail(Operation::Sync, 0, std::io::ErrorKind::Other);
    assert_eq!(condition(&send_durable(&mut client, out, "refused")), "amqp:internal-error");
    assert_eq!(condition(&send_durable(&mut client, out, "refused too")), "amqp:internal-error");
    let reason = until_state(&node, StoreState::Failed).expect("a reason");
    assert!(!reason.is_empty());

    // In memory a queue goes on, and so do direct addresses; what was accepted can be read.
    let number = client.send_text(out, "in memory");
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
    client.consumer("q", 10);
    client.receive(2);
    assert_eq!(client.received.iter().map(Received::text).collect::<Vec<_>>(), ["kept", "in memory"]);
    let direct = client.producer("a");
    client.consumer("a", 10);
    client.send_text(direct, "direct");
    assert_eq!(client.receive(3).text(), "direct");
}

#[test]
fn a_full_disk_refuses_messages_until_there_is_room() {
    let disk = FaultyDisk::new(5);
    let node = Node::at(&Place::on(&disk), |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    assert_eq!(send_durable(&mut client, out, "first"), DeliveryState::Accepted);
    disk.set_capacity(Some(disk.used()));
    let large = "x".repeat(100_000);
    let refused = (0..40).map(|_| send_durable(&mut client, out, &large));
    let refused =
        refused.into_iter().find(|state| *state != DeliveryState::Accepted).expect("the disk is full");
    assert_eq!(condition(&refused), "amqp:resource-limit-exceeded");
    until_state(&node, StoreState::Full);
    disk.set_capacity(None);
    assert_eq!(send_durable(&mut client, out, &large), DeliveryState::Accepted);
    until_state(&node, StoreState::Ready);
}

#[test]
fn a_log_that_cannot_be_read_is_not_served() {
    let disk = FaultyDisk::new(6);
    let place = Place::on(&disk);
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    for number in 0..10 {
        send_durable(&mut client, out, &number.to_string());
    }
    drop(client);
    drop(node);
    let segment =
        disk.names().into_iter().find(|name| disk.read(name).is_some_and(|bytes| bytes.len() > 4_096));
    let segment = segment.expect("a file with messages");
    let mut bytes = disk.read(&segment).unwrap();
    // In the middle of a record that others follow.
    let place_of_five = bytes.windows(4).position(|window| window == b"\x53\x75\xa0\x01").expect("a message");
    bytes[place_of_five + 4] ^= 1;
    disk.put(&segment, &bytes);
    let node = Node::begin(&place, |_| {});
    let store = node.hub().store().unwrap().clone();
    let error = node.wait_for(store.recovered()).unwrap_err();
    assert!(error.contains(&segment) && error.contains("offset"), "{error}");
    assert!(matches!(store.phase(), Phase::Unreadable(_)));
}

#[test]
fn many_messages_come_back_to_their_queues_after_a_restart() {
    let disk = FaultyDisk::new(7);
    let mut place = Place::on(&disk);
    for number in 0..20 {
        place.add(&format!("queue-{number}"), AddressType::Queue, |_| {});
    }
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    for queue in 0..20 {
        let out = client.producer(&format!("queue-{queue}"));
        let mut last = 0;
        for number in 0..200 {
            last = client.send(out, durable(&format!("{queue} {number}")), false);
        }
        client.outcome(last);
    }
    drop(client);
    drop(node);
    let node = Node::at(&place, |_| {});
    assert_eq!(node.hub().store().unwrap().messages_read(), 4_000);
    let mut client = Client::connect(&node, 1);
    for queue in 0..20 {
        let address = format!("queue-{queue}");
        let statistics = node.wait_for(node.hub().addresses(Some(&address.as_str().into())));
        let messages: u64 =
            statistics.iter().filter_map(|shard| shard.queue).map(|queue| queue.messages).sum();
        assert_eq!(messages, 200, "{address}");
        client.consumer(&address, 200);
        client.receive(200 * (queue + 1));
        for number in 0..200 {
            assert_eq!(client.received[200 * queue + number].text(), format!("{queue} {number}"));
        }
    }
}

#[test]
fn a_node_that_stops_hands_nothing_more_out_and_keeps_it_for_the_next_run() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    let out = client.producer("q");
    for number in 0..100 {
        let number = client.send(out, durable(&number.to_string()), false);
        client.outcome(number);
    }
    let link = client.consumer("q", 10);
    client.receive(10);
    let hub = node.hub().clone();
    let draining = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(hub.drain(Instant::now() + DEADLINE, "it is late"))
    });
    node.until("the node to stop", |_| {
        client.turn();
        let late = client.try_attach("late", Role::Receiver, from("q"));
        late.is_err_and(|error| error.condition.as_str() == "amqp:link:detach-forced")
    });
    client.grant(link, 1_000);
    for received in client.received.clone() {
        client.accept(&received);
    }
    client.ended();
    assert_eq!(client.received.len(), 10);
    assert_eq!(draining.join().unwrap(), 0, "everything was settled in time");
    drop(node);

    let node = Node::at(&place, |_| {});
    let mut client = Client::connect(&node, 0);
    client.consumer("q", 100);
    client.receive(90);
    assert_eq!(client.received[0].text(), "10");
}
