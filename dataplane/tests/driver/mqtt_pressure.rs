//! Nobody waits for ever: clients that take little, that publish what they consume, and disks that fail.

use std::time::Instant;

use mq_amqp::message::{Header, Message};
use mq_amqp::performative::DeliveryState;
use mq_model::manifest::{AddressType, SlowConsumer};
use mq_mqtt::packet::SubscriptionOptions;
use mq_mqtt::property::PropertyView;
use mq_mqtt::{OutgoingState, Qos, ReasonCode, SessionState};
use mq_store::testing::{FaultyDisk, Operation};

use crate::client::Client;
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

const SHARDS: u16 = 2;

/// A client identifier that has its home on this shard.
fn named(prefix: &str, shard: usize) -> String {
    let home = |id: &String| usize::from(mq_core::home(id, SHARDS).shard());
    (0..).map(|number| format!("{prefix}{number}")).find(|id| home(id) == shard).unwrap()
}

/// A client of a shard.
fn client(node: &Node, prefix: &str, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::new(&named(prefix, shard)))
}

fn none() -> PropertyView<'static> {
    PropertyView::default()
}

// ---- feeds ------------------------------------------------------------------------------------------

#[test]
fn messages_that_are_dropped_hold_up_none_that_follow() {
    let node = Node::start();
    for (shard, topic) in [(0, "t/a"), (1, "t/a"), (0, "q"), (1, "q")] {
        let mut publisher = client(&node, "p", 0);
        let options = Options::lasting(&named("s", shard), 600).clean();
        let mut options = options.with(|properties| {
            properties.receive_maximum(1).unwrap().maximum_packet_size(200).unwrap();
        });
        options.config.limits.receive_maximum = 1;
        options.config.limits.max_packet_size = 200;
        let mut subscriber = Mqtt::connect(&node, shard, options);
        subscriber.subscribe(topic, Qos::AtLeastOnce);
        let large = "x".repeat(300);
        for text in [&*large, &*large, "small"] {
            assert_eq!(publisher.publish(topic, text, Qos::AtLeastOnce), ReasonCode::Success);
        }
        // The client does not say a word meanwhile.
        assert_eq!(subscriber.receive().text(), "small");
        subscriber.disconnect();
    }
}

// ---- loops ------------------------------------------------------------------------------------------

/// Publishes so many messages to what the client itself consumes, in one go.
fn start_burst(client: &mut Mqtt, count: u64, size: usize) {
    let text = "x".repeat(size);
    for _ in 0..count {
        client.start("a", &text, Qos::AtLeastOnce, false, none());
    }
    client.write();
}

#[test]
fn clients_that_publish_to_what_they_consume_are_not_caught_by_their_own_messages() {
    let node = Node::start();
    // More messages than the core gives credit for, and more bytes than it holds of one connection.
    for (count, size) in [(800, 10), (30, 60_000)] {
        for shards in [&[0][..], &[1], &[0, 1]] {
            let mut clients: Vec<Mqtt> = shards.iter().map(|shard| client(&node, "c", *shard)).collect();
            for client in &mut clients {
                client.subscribe("a", Qos::AtLeastOnce);
            }
            for client in &mut clients {
                start_burst(client, count, size);
            }
            let all = count as usize * clients.len();
            let has_all = |clients: &[Mqtt]| {
                clients.iter().all(|client| client.outcomes.len() as u64 == count)
                    && clients.iter().map(|client| client.received.len()).sum::<usize>() == all
            };
            let end = Instant::now() + DEADLINE;
            while !has_all(&clients) {
                assert!(Instant::now() < end, "{count} of {size} bytes on {shards:?} wait for each other");
                clients.iter_mut().for_each(Mqtt::turn);
            }
            for client in clients {
                assert!(client.outcomes.values().all(|reason| *reason == ReasonCode::Success));
                client.disconnect();
            }
        }
    }
}

#[test]
fn an_old_client_that_cannot_be_read_up_to_its_acknowledgements_is_closed() {
    let node = Node::with(|config| config.mqtt.receive_maximum = 16);
    let mut client = Mqtt::connect(&node, 0, Options::v3(&named("c", 0), true));
    client.subscribe("a", Qos::AtLeastOnce);
    // 3.1.1 has no word for how many are taken at once: 16 times as many are, and not more.
    start_burst(&mut client, 300, 10);
    client.until_ended();
    assert!(client.outcomes.is_empty());
    node.until("the connection to be gone", |now| now.connections == 0);
}

#[test]
fn a_client_that_takes_its_time_with_acknowledgements_stays() {
    let node = Node::with(|config| config.mqtt.receive_maximum = 16);
    let mut client = Mqtt::connect(&node, 0, Options::v3(&named("c", 0), true));
    client.acknowledges = false;
    client.subscribe("a", Qos::AtLeastOnce);
    for count in [16, 100] {
        client.outcomes.clear();
        start_burst(&mut client, count, 10);
        client.until("every message", |client| client.received.len() as u64 == count);
        for _ in 0..count {
            let got = client.receive();
            client.acknowledge(&got, ReasonCode::Success);
        }
        client.until("every PUBACK", |client| client.outcomes.len() as u64 == count);
    }
}

// ---- the ends of connections ------------------------------------------------------------------------

#[test]
fn a_message_that_was_never_sent_has_not_failed_when_its_client_goes() {
    let mut place = Place::new();
    place.add("dead", AddressType::Queue, |_| {});
    let (sent, waiting) = (named("sent", 0), named("waiting", 0));
    for name in [&sent, &waiting] {
        place.add(name, AddressType::Queue, |spec| {
            spec.dead_letter = Some("dead".into());
            spec.max_deliveries = Some(3);
        });
    }
    let node = Node::at(&place, |_| {});
    let mut publisher = client(&node, "p", 0);
    for name in [&sent, &waiting] {
        publisher.publish(name, name, Qos::AtLeastOnce);
    }
    for _ in 0..3 {
        let mut options = Options::new(&named("s", 0)).with(|properties| {
            properties.receive_maximum(1).unwrap();
        });
        options.config.limits.receive_maximum = 1;
        let mut consumer = Mqtt::connect(&node, 0, options);
        consumer.acknowledges = false;
        // Both queues give one message while there is room for one.
        let once = SubscriptionOptions::new(Qos::AtLeastOnce);
        consumer.subscribe_all(&[(&sent, once), (&waiting, once)], None);
        assert_eq!(consumer.receive().topic, sent);
        consumer.vanish();
    }
    let mut consumer = client(&node, "c", 1);
    consumer.subscribe("dead", Qos::AtLeastOnce);
    assert_eq!(consumer.receive().text(), sent);
    consumer.subscribe(&waiting, Qos::AtLeastOnce);
    let got = consumer.receive();
    assert_eq!((&*got.topic, got.text()), (&*waiting, &*waiting));
}

#[test]
fn a_client_that_gets_nothing_more_of_what_it_has_subscribed_to_is_told() {
    let mut place = Place::new();
    place.add("fast", AddressType::Multicast, |spec| {
        spec.slow_consumer = Some(SlowConsumer::Disconnect);
        spec.limits.max_undelivered = Some(4);
    });
    let node = Node::at(&place, |_| {});
    for shard in [0, 1] {
        let mut publisher = client(&node, "p", 0);
        let mut options = Options::new(&named("s", shard)).with(|properties| {
            properties.receive_maximum(1).unwrap();
        });
        options.config.limits.receive_maximum = 1;
        let mut subscriber = Mqtt::connect(&node, shard, options);
        subscriber.acknowledges = false;
        subscriber.subscribe("fast", Qos::AtLeastOnce);
        for _ in 0..100 {
            publisher.start("fast", "x", Qos::AtMostOnce, false, none());
        }
        publisher.write();
        assert_eq!(subscriber.sent_away(), ReasonCode::QuotaExceeded);
    }
}

#[test]
fn a_client_whose_address_is_deleted_stays() {
    let mut place = Place::new();
    place.add("gone", AddressType::Queue, |_| {});
    let node = Node::at(&place, |_| {});
    let mut subscriber = client(&node, "s", 0);
    subscriber.subscribe("gone", Qos::AtLeastOnce);
    node.remove("gone");
    subscriber.sync();
}

#[test]
fn what_was_under_way_goes_on_though_more_urgent_messages_have_come_before_it() {
    let node = Node::start();
    for shard in [0, 1] {
        let lasting = |state: SessionState| {
            let mut options = Options::lasting(&named("s", shard), 600).resuming(state);
            options = options.with(|properties| {
                properties.receive_maximum(1).unwrap();
            });
            options.config.limits.receive_maximum = 1;
            let mut client = Mqtt::connect(&node, shard, options);
            client.acknowledges = false;
            client
        };
        let mut subscriber = lasting(SessionState::default());
        subscriber.subscribe("t/#", Qos::ExactlyOnce);
        client(&node, "p", 0).publish("t/a", "under way", Qos::ExactlyOnce);
        let before = subscriber.receive();
        let state = subscriber.vanish();
        let mut producer = Client::connect(&node, 0);
        let out = producer.producer("t");
        for number in 0..5 {
            let header = Some(Header { durable: true, priority: 9, ..Header::default() });
            let message = Message { header, ..Message::data(number.to_string().into_bytes()) };
            let number = producer.send(out, message.to_bytes().to_vec(), false);
            assert_eq!(producer.outcome(number), DeliveryState::Accepted);
        }
        let mut subscriber = lasting(state);
        subscriber.acknowledges = true;
        let again = subscriber.receive();
        assert_eq!((again.text(), again.packet_id, again.duplicate), ("under way", before.packet_id, true));
        let urgent: Vec<String> = (0..5).map(|_| subscriber.receive().text().to_owned()).collect();
        assert_eq!(urgent, ["0", "1", "2", "3", "4"]);
        subscriber.sync();
        assert_eq!(subscriber.received, [], "it has come once");
        subscriber.disconnect_with(ReasonCode::Success, Some(0));
    }
}

// ---- disks that fail --------------------------------------------------------------------------------

#[test]
fn a_client_is_closed_when_the_disk_takes_no_step_of_qos_2() {
    for shard in [0, 1] {
        let disk = FaultyDisk::new(7);
        let node = Node::at(&Place::on(&disk), |_| {});
        let mut publisher = Mqtt::connect(&node, shard, Options::lasting(&named("p", shard), 600));
        let mut options = Options::lasting(&named("s", shard), 600).with(|properties| {
            properties.receive_maximum(1).unwrap();
        });
        options.config.limits.receive_maximum = 1;
        let mut subscriber = Mqtt::connect(&node, shard, options);
        subscriber.acknowledges = false;
        subscriber.subscribe("t/a", Qos::ExactlyOnce);
        publisher.publish("t/a", "first", Qos::AtLeastOnce);
        publisher.publish("t/a", "second", Qos::ExactlyOnce);
        let first = subscriber.receive();
        disk.fail(Operation::Sync, 0, std::io::ErrorKind::Other);
        // The identifier of the second cannot be remembered.
        subscriber.acknowledge(&first, ReasonCode::Success);
        assert_eq!(subscriber.sent_away(), ReasonCode::ImplementationSpecificError);
        assert_eq!(subscriber.received, []);
    }
}

#[test]
fn a_client_is_closed_when_the_disk_does_not_forget_its_publication_of_qos_2() {
    for shard in [0, 1] {
        let disk = FaultyDisk::new(8);
        let node = Node::at(&Place::on(&disk), |_| {});
        let mut options = Options::lasting(&named("p", shard), 600);
        options.config.automatic_release = false;
        let mut publisher = Mqtt::connect(&node, shard, options);
        publisher.start("t/a", "x", Qos::ExactlyOnce, false, none());
        let received = |client: &Mqtt| {
            let state = client.engine.session_state();
            state.outgoing.first().copied().filter(|first| first.state == OutgoingState::Received)
        };
        publisher.until("a PUBREC", |client| received(client).is_some());
        let packet_id = received(&publisher).unwrap().packet_id;
        disk.fail(Operation::Sync, 0, std::io::ErrorKind::Other);
        publisher.engine.release(packet_id).unwrap();
        assert_eq!(publisher.sent_away(), ReasonCode::ImplementationSpecificError);
    }
}
