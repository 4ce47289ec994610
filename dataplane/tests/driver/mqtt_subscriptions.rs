//! Subscriptions of MQTT clients whose addresses come and go, that are replaced, or whose clients are away.

use std::time::Instant;

use mq_model::config::SessionFull;
use mq_model::manifest::{AddressType, OnFull};
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Qos, ReasonCode};

use crate::mqtt_client::{Got, Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

const SHARDS: u16 = 2;

/// A client identifier that has its home on this shard.
fn named(prefix: &str, shard: usize) -> String {
    let home = |id: &String| usize::from(mq_core::home(id, SHARDS).shard());
    (0..).map(|number| format!("{prefix}{number}")).find(|id| home(id) == shard).unwrap()
}

/// A client of a shard whose session ends with its connection.
fn client(node: &Node, prefix: &str, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::new(&named(prefix, shard)))
}

/// A client of a shard whose session does not.
fn lasting(node: &Node, prefix: &str, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::lasting(&named(prefix, shard), 600))
}

/// Asserts that nothing has come that was not taken.
#[track_caller]
fn assert_nothing(client: &mut Mqtt) {
    client.sync();
    assert_eq!(client.received, [], "nothing was to come");
}

/// Waits until so many subscriptions keep messages of a topic.
#[track_caller]
fn until_kept(node: &Node, topic: &str, count: usize) {
    let end = Instant::now() + DEADLINE;
    while node.wait_for(node.hub().subscriptions(&topic.into())).len() != count {
        assert!(Instant::now() < end, "waited too long for {count} subscriptions of {topic}");
        std::thread::yield_now();
    }
}

// ---- addresses that come and go ---------------------------------------------------------------------

#[test]
fn a_subscription_that_had_no_address_when_its_client_came_back_begins_with_the_address() {
    let node = Node::start();
    node.set("u", AddressType::Topic, |_| {});
    let mut publisher = client(&node, "p", 1);
    let mut subscriber = lasting(&node, "s", 0);
    assert_eq!(subscriber.subscribe("u/#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    assert_eq!(subscriber.subscribe("$share/g/u/+", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    subscriber.disconnect();
    node.remove("u");
    let mut subscriber = lasting(&node, "s", 0);
    node.set("u", AddressType::Topic, |_| {});
    until_kept(&node, "u", 2);
    for (text, qos, copies) in [("1", Qos::AtLeastOnce, 2), ("2", Qos::AtMostOnce, 2)] {
        publisher.publish("u/x", text, qos);
        for _ in 0..copies {
            assert_eq!(subscriber.receive().text(), text);
        }
    }
    assert_nothing(&mut subscriber);
}

#[test]
fn a_client_follows_a_queue_that_is_made_anew_and_a_topic_that_becomes_a_queue_and_the_other_way_round() {
    let mut place = Place::new();
    place.add("#", AddressType::Topic, |_| {});
    for expiry in [0, 600] {
        let node = Node::at(&place, |_| {});
        node.set("w", AddressType::Queue, |_| {});
        let mut publisher = client(&node, "p", 1);
        let mut subscriber = Mqtt::connect(&node, 0, Options::lasting(&named("s", 0), expiry));
        for filter in ["w", "jobs"] {
            assert_eq!(subscriber.subscribe(filter, Qos::AtLeastOnce), ReasonCode::GrantedQos1);
        }
        let mut round = |subscriber: &mut Mqtt, text: &str| {
            for name in ["w", "jobs"] {
                // A topic may not have heard yet that somebody is there again.
                let mut publish = || publisher.publish(name, text, Qos::AtLeastOnce);
                while publish() == ReasonCode::NoMatchingSubscribers {}
                let got = subscriber.receive();
                assert_eq!((&*got.topic, got.text()), (name, text));
            }
        };
        round(&mut subscriber, "as it was");
        node.remove("w");
        node.set("w", AddressType::Queue, |_| {});
        node.set("jobs", AddressType::Queue, |_| {});
        round(&mut subscriber, "made anew");
        node.remove("jobs");
        node.remove("w");
        round(&mut subscriber, "a topic again");
        assert_nothing(&mut subscriber);
    }
}

// ---- shares whose members are away ------------------------------------------------------------------

#[test]
fn a_share_whose_members_are_away_keeps_as_much_as_a_session_and_holds_nobody_up() {
    let mut place = Place::new();
    place.add("k", AddressType::Topic, |spec| {
        spec.limits.max_messages = Some(2);
        spec.on_full = Some(OnFull::Block);
    });
    let start = || {
        Node::at(&place, |config| {
            config.mqtt.session.max_messages = 5;
            config.mqtt.session.on_full = SessionFull::DropOldest;
        })
    };
    let node = start();
    let mut member = lasting(&node, "m", 0);
    member.subscribe("$share/g/k/+", Qos::AtLeastOnce);
    member.disconnect();
    let publish = |node: &Node, numbers: std::ops::Range<u32>| {
        let mut publisher = client(node, "p", 1);
        for number in numbers {
            assert_eq!(publisher.publish("k/x", &number.to_string(), Qos::AtLeastOnce), ReasonCode::Success);
        }
    };
    publish(&node, 0..10);
    drop(node);
    // A restored share is bounded as well.
    let node = start();
    publish(&node, 10..20);
    let mut member = lasting(&node, "m", 0);
    for number in 15..20 {
        assert_eq!(member.receive().text(), number.to_string());
    }
    assert_nothing(&mut member);
}

// ---- subscriptions that are replaced ----------------------------------------------------------------

#[test]
fn nothing_is_missed_while_a_subscription_gets_a_higher_qos() {
    let node = Node::start();
    for (round, replacement) in (0..40).flat_map(|round| [(round, "t/+"), (round, "t/x")]) {
        for (from, to) in [(0, 1), (1, 0)] {
            let mut publisher = client(&node, "p", from);
            let id = named(&format!("s{round}-"), to);
            let mut subscriber = Mqtt::connect(&node, to, Options::lasting(&id, 600).clean());
            subscriber.subscribe("t/+", Qos::AtMostOnce);
            // Somebody is there before the first message, also for who publishes.
            while publisher.publish("t/y", "y", Qos::AtLeastOnce) == ReasonCode::NoMatchingSubscribers {}
            subscriber.received.clear();
            for number in 0..100 {
                publisher.start("t/x", &number.to_string(), Qos::AtLeastOnce, false, PropertyView::default());
            }
            publisher.write();
            assert_eq!(subscriber.subscribe(replacement, Qos::AtLeastOnce), ReasonCode::GrantedQos1);
            let is_here = |got: &Got, number: u32| got.text() == number.to_string();
            subscriber.until(
                &format!("all of round {round}, {replacement} from {from} to {to}"),
                |subscriber| {
                    (0..100).all(|number| subscriber.received.iter().any(|got| is_here(got, number)))
                },
            );
            subscriber.disconnect_with(ReasonCode::Success, Some(0));
        }
    }
}

// ---- messages of QoS 2 that others may have as well -------------------------------------------------

/// A lasting client that has a message of QoS 2 of this filter, and has not acknowledged it.
fn holder(node: &Node, filter: &str, topic: &str) -> Mqtt {
    let mut holder = lasting(node, "h", 0);
    holder.acknowledges = false;
    assert_eq!(holder.subscribe(filter, Qos::ExactlyOnce), ReasonCode::GrantedQos2);
    assert_eq!(client(node, "p", 1).publish(topic, "x", Qos::ExactlyOnce), ReasonCode::Success);
    assert_eq!((holder.receive().text(), holder.received.len()), ("x", 0));
    holder
}

#[test]
fn a_message_of_qos_2_of_a_queue_goes_to_another_when_its_client_leaves() {
    let node = Node::start();
    holder(&node, "q", "q").vanish();
    let mut other = client(&node, "o", 1);
    other.subscribe("q", Qos::ExactlyOnce);
    assert_eq!(other.receive().text(), "x");
    assert_nothing(&mut other);
}

#[test]
fn a_message_of_qos_2_that_a_client_has_not_acknowledged_outlives_a_node_that_stops() {
    for (filter, topic) in [("q", "q"), ("$share/g/t/+", "t/x"), ("t/+", "t/x")] {
        let place = Place::new();
        let node = Node::at(&place, |_| {});
        let mut holder = holder(&node, filter, topic);
        let hub = node.hub().clone();
        let drained = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(hub.drain(Instant::now(), "the node is stopping"))
        });
        assert_eq!(holder.sent_away(), ReasonCode::ServerShuttingDown);
        drained.join().unwrap();
        drop(node);
        let node = Node::at(&place, |_| {});
        let mut holder = lasting(&node, "h", 0);
        // A queue does not know whose it was.
        holder.subscribe(filter, Qos::ExactlyOnce);
        assert_eq!(holder.receive().text(), "x", "{filter}");
        assert_nothing(&mut holder);
    }
}
