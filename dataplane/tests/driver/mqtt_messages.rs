//! Messages of MQTT clients: who gets what, with which QoS, how often, and what publishers hear.

use std::time::Duration;

use mq_model::config::SessionFull;
use mq_model::manifest::AddressType;
use mq_mqtt::packet::{RetainHandling, SubscriptionOptions};
use mq_mqtt::property::{PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{Qos, ReasonCode, SessionState};

use crate::client::Client;
use crate::mqtt_client::{Got, Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

const SHARDS: u16 = 2;

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// A client identifier that has its home on this shard.
fn named(prefix: &str, shard: usize) -> String {
    let home = |id: &String| usize::from(mq_core::home(id, SHARDS).shard());
    (0..).map(|number| format!("{prefix}{number}")).find(|id| home(id) == shard).unwrap()
}

/// A client of a shard.
fn client(node: &Node, prefix: &str, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::new(&named(prefix, shard)))
}

/// What the next messages say.
fn texts(client: &mut Mqtt, count: usize) -> Vec<String> {
    (0..count).map(|_| client.receive().text().to_owned()).collect()
}

/// Asserts that nothing has come that was not taken.
#[track_caller]
fn assert_nothing(client: &mut Mqtt) {
    client.sync();
    assert_eq!(client.received, [], "nothing was to come");
}

fn options(qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions::new(qos)
}

fn none() -> PropertyView<'static> {
    PropertyView::default()
}

/// What a publisher hears at the end when nobody wants its message: of QoS 2 the last word is the PUBCOMP.
fn nobody(qos: Qos) -> ReasonCode {
    if qos == Qos::ExactlyOnce { ReasonCode::Success } else { ReasonCode::NoMatchingSubscribers }
}

// ---- routes ---------------------------------------------------------------------------------------

#[test]
fn a_message_reaches_a_subscriber_of_every_shard_with_the_lower_qos_of_the_two() {
    let node = Node::start();
    for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let mut publisher = client(&node, "p", from);
        for granted in QOS {
            let mut subscriber = client(&node, "s", to);
            assert_eq!(subscriber.subscribe("t/#", granted).to_byte(), granted.to_byte());
            for published in QOS {
                let text = format!("{published:?}");
                publisher.publish("t/a", &text, published);
                let got = subscriber.receive();
                assert_eq!((got.topic.as_str(), got.text()), ("t/a", &*text));
                assert_eq!((got.qos, got.duplicate, got.retain), (published.min(granted), false, false));
            }
            assert_nothing(&mut subscriber);
            subscriber.disconnect();
        }
    }
}

#[test]
fn the_versions_understand_each_other_and_properties_stay_with_the_newer() {
    let node = Node::start();
    let mut properties = PropertyWriter::new(PropertyIn::Publish);
    properties.content_type("text/plain").unwrap().user_property("a", "1").unwrap();
    properties.user_property("a", "2").unwrap().correlation_data(&[0, 255]).unwrap();
    let properties = properties.finish();
    let mut new = client(&node, "new", 0);
    let mut old = Mqtt::connect(&node, 1, Options::v3(&named("old", 1), true));
    for qos in QOS {
        new.subscribe("t/#", qos);
        old.subscribe("t/#", qos);
        new.publish_with("t/a", "x", qos, false, properties.view());
        let got = new.receive();
        assert_eq!(got.properties.view().as_bytes(), properties.view().as_bytes());
        assert_eq!(old.receive().properties.view().as_bytes(), b"");
        old.publish("t/a", "y", qos);
        assert_eq!((new.receive().text(), old.receive().text()), ("y", "y"));
    }
}

#[test]
fn large_and_empty_payloads_arrive_as_they_were() {
    let node = Node::start();
    for (from, to) in [(0, 0), (0, 1)] {
        let mut publisher = client(&node, "p", from);
        let mut subscribers: Vec<Mqtt> = ["s", "z"].map(|prefix| client(&node, prefix, to)).into();
        for qos in QOS {
            for subscriber in &mut subscribers {
                subscriber.subscribe("t/+", qos);
            }
            for size in [0, 1, 4_095, 4_096, 300_000] {
                let text = "x".repeat(size);
                publisher.publish("t/a", &text, qos);
                for subscriber in &mut subscribers {
                    assert!(subscriber.receive().text() == text, "{size} bytes");
                }
            }
        }
    }
}

#[test]
fn messages_of_one_topic_and_qos_keep_their_order() {
    let node = Node::start();
    for (from, to) in [(0, 0), (0, 1)] {
        let mut publisher = client(&node, "p", from);
        let mut subscriber = client(&node, "s", to);
        for qos in QOS {
            subscriber.subscribe("t/a", qos);
            for number in 0..300 {
                publisher.start("t/a", &number.to_string(), qos, false, none());
            }
            publisher.sync();
            let expected: Vec<String> = (0..300).map(|number| number.to_string()).collect();
            assert_eq!(texts(&mut subscriber, 300), expected);
        }
    }
}

#[test]
fn wildcards_reach_topics_alone_and_not_those_of_the_server() {
    let mut place = Place::new();
    place.add("#", AddressType::Topic, |_| {});
    let node = Node::at(&place, |_| {});
    let mut publisher = client(&node, "p", 0);
    let mut subscriber = client(&node, "s", 1);
    for filter in ["#", "+", "+/x", "$SYS/#"] {
        assert_eq!(subscriber.subscribe(filter, Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    }
    assert_eq!(publisher.publish("$SYS/x", "no", Qos::AtLeastOnce), ReasonCode::TopicNameInvalid);
    assert_eq!(publisher.publish("$SYS", "no", Qos::ExactlyOnce), ReasonCode::TopicNameInvalid);
    // A queue is nobody's topic.
    assert_eq!(publisher.publish("q", "no", Qos::AtLeastOnce), ReasonCode::Success);
    publisher.publish("any/thing", "1", Qos::AtLeastOnce);
    publisher.publish("x", "2", Qos::AtMostOnce);
    publisher.publish("/x", "3", Qos::AtLeastOnce);
    assert_eq!(texts(&mut subscriber, 3), ["1", "2", "3"]);
    assert_nothing(&mut subscriber);
}

#[test]
fn an_unsubscribed_filter_gets_nothing_more() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    for (shard, expiry) in [(0, 0), (1, 0), (0, 600), (1, 600)] {
        let mut subscriber =
            Mqtt::connect(&node, shard, Options::lasting(&named("s", shard), expiry).clean());
        subscriber.subscribe("t/a", Qos::AtLeastOnce);
        subscriber.subscribe("t/b", Qos::AtLeastOnce);
        publisher.publish("t/a", "1", Qos::AtLeastOnce);
        assert_eq!(subscriber.receive().text(), "1");
        assert_eq!(subscriber.unsubscribe("t/a"), [ReasonCode::Success]);
        assert_eq!(subscriber.unsubscribe("t/a"), [ReasonCode::NoSubscriptionExisted]);
        publisher.publish("t/a", "2", Qos::AtLeastOnce);
        publisher.publish("t/b", "3", Qos::AtLeastOnce);
        assert_eq!(subscriber.receive().text(), "3");
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
    }
}

// ---- what publishers hear ---------------------------------------------------------------------------

#[test]
fn a_publisher_hears_whether_anybody_wants_its_message() {
    let node = Node::start();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut publisher = client(&node, "p", 0);
        assert_eq!(publisher.publish("t/a", "x", qos), nobody(qos));
        assert_eq!(publisher.publish("nowhere", "x", qos), ReasonCode::TopicNameInvalid);
        for shard in [0, 1] {
            let mut subscriber = client(&node, "s", shard);
            subscriber.subscribe("t/+", Qos::AtMostOnce);
            assert_eq!(publisher.publish("t/a", "x", qos), ReasonCode::Success);
            subscriber.disconnect();
        }
    }
}

#[test]
fn a_refusal_says_why_in_words_to_clients_that_want_them() {
    let node = Node::start();
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut client = client(&node, "p", 0);
        client.publish("nowhere", "x", qos);
        assert!(client.words.take().is_some_and(|words| words.contains("no address serves this name")));
        client.subscribe("nowhere", qos);
        assert!(client.words.take().is_some_and(|words| words.contains("no address serves a name")));
        client.publish("t/a", "x", qos);
        client.subscribe("t/a", qos);
        assert_eq!(client.words, None, "nothing was refused");
    }
    let quiet = Options::new(&named("q", 0)).with(|writer| {
        writer.request_problem_information(false).unwrap();
    });
    let mut client = Mqtt::connect(&node, 0, quiet);
    client.publish("nowhere", "x", Qos::AtLeastOnce);
    client.subscribe("nowhere", Qos::AtLeastOnce);
    assert_eq!(client.words, None);
}

#[test]
fn an_old_client_that_publishes_to_what_is_not_there_is_closed() {
    let node = Node::start();
    for qos in QOS {
        let mut publisher = Mqtt::connect(&node, 0, Options::v3(&named("p", 0), true));
        publisher.start("nowhere", "x", qos, false, none());
        publisher.until_ended();
        assert!(publisher.disconnected.is_none(), "3.1.1 has no DISCONNECT of a server");
    }
}

#[test]
fn acknowledgements_come_in_the_order_of_the_publications() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    // The queue has to be on disk first, the topic has nobody to wait for.
    let mut expected = Vec::new();
    for number in 0..40 {
        let (topic, qos) =
            [("q", Qos::AtLeastOnce), ("t/a", Qos::AtLeastOnce), ("q", Qos::ExactlyOnce)][number % 3];
        expected.push(publisher.start(topic, "x", qos, false, none()));
    }
    publisher.write();
    // The client's engine takes acknowledgements in any order: their order is that of the identifiers.
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        publisher.turn();
        let mut new: Vec<u64> =
            publisher.outcomes.keys().copied().filter(|token| !seen.contains(token)).collect();
        new.sort_unstable();
        seen.extend(new);
    }
    let by_qos = |tokens: &[u64], rest: u64| -> Vec<u64> {
        tokens.iter().copied().filter(|token| (token - 1) % 3 == rest).collect()
    };
    for rest in 0..3 {
        assert_eq!(by_qos(&seen, rest), by_qos(&expected, rest));
    }
}

#[test]
fn a_message_larger_than_its_address_allows_is_refused() {
    let mut place = Place::new();
    place.add("small", AddressType::Topic, |spec| spec.limits.max_message_size = Some(1_000));
    let node = Node::at(&place, |_| {});
    let mut publisher = client(&node, "p", 0);
    let text = "x".repeat(2_000);
    assert_eq!(publisher.publish("small/a", &text, Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(publisher.publish("small/a", "x", Qos::AtLeastOnce), ReasonCode::NoMatchingSubscribers);
}

// ---- subscriptions ----------------------------------------------------------------------------------

#[test]
fn a_client_gets_one_copy_for_all_of_its_subscriptions() {
    let node = Node::start();
    for shard in [0, 1] {
        for expiry in [0, 600] {
            let mut publisher = client(&node, "p", 0);
            let mut subscriber =
                Mqtt::connect(&node, shard, Options::lasting(&named("s", shard), expiry).clean());
            subscriber.subscribe_all(&[("t/#", options(Qos::AtMostOnce))], Some(7));
            subscriber.subscribe_all(
                &[("t/a", options(Qos::ExactlyOnce)), ("t/b", options(Qos::AtMostOnce))],
                Some(9),
            );
            subscriber.subscribe_all(&[("t/+", options(Qos::AtLeastOnce))], None);
            let mut identifiers = |topic: &str, published: Qos, expected: Qos| {
                publisher.publish(topic, "x", published);
                let got = subscriber.receive();
                assert_eq!((got.qos, &*got.topic), (expected, topic), "expiry {expiry}");
                let mut identifiers = got.identifiers();
                identifiers.sort_unstable();
                identifiers
            };
            assert_eq!(identifiers("t/a", Qos::ExactlyOnce, Qos::ExactlyOnce), [7, 9]);
            assert_eq!(identifiers("t/a", Qos::AtMostOnce, Qos::AtMostOnce), [7, 9]);
            assert_eq!(identifiers("t/b", Qos::ExactlyOnce, Qos::AtLeastOnce), [7, 9]);
            assert_eq!(identifiers("t/c", Qos::AtLeastOnce, Qos::AtLeastOnce), [7]);
            assert_eq!(identifiers("t/c/d", Qos::AtLeastOnce, Qos::AtMostOnce), [7]);
            assert_nothing(&mut subscriber);
            subscriber.disconnect();
        }
    }
}

#[test]
fn subscribing_again_replaces_the_options() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    for expiry in [0, 600] {
        let mut subscriber = Mqtt::connect(&node, 1, Options::lasting(&named("s", 1), expiry).clean());
        subscriber.subscribe_all(&[("t/a", options(Qos::ExactlyOnce))], Some(7));
        for (qos, identifier) in
            [(Qos::AtMostOnce, Some(8)), (Qos::AtLeastOnce, None), (Qos::ExactlyOnce, Some(1))]
        {
            subscriber.subscribe_all(&[("t/a", options(qos))], identifier);
            publisher.publish("t/a", "x", Qos::ExactlyOnce);
            let got = subscriber.receive();
            assert_eq!((got.qos, got.identifiers()), (qos, identifier.into_iter().collect()));
        }
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
    }
}

#[test]
fn no_local_keeps_a_client_from_its_own_messages() {
    let node = Node::start();
    for shard in [0, 1] {
        for expiry in [0, 600] {
            let mut itself =
                Mqtt::connect(&node, shard, Options::lasting(&named("s", shard), expiry).clean());
            let mut other = client(&node, "o", 0);
            let no_local = SubscriptionOptions { no_local: true, ..options(Qos::ExactlyOnce) };
            itself.subscribe_all(&[("t/#", no_local)], None);
            for qos in QOS {
                itself.publish("t/a", "own", qos);
                other.publish("t/a", "other", qos);
                assert_eq!(itself.receive().text(), "other");
            }
            // One that wants them beside one that does not.
            itself.subscribe_all(&[("t/a", options(Qos::AtMostOnce))], Some(3));
            itself.publish("t/a", "own", Qos::AtLeastOnce);
            let got = itself.receive();
            assert_eq!((got.text(), got.qos, got.identifiers()), ("own", Qos::AtMostOnce, vec![3]));
            assert_nothing(&mut itself);
            itself.disconnect();
        }
    }
}

#[test]
fn the_retain_flag_of_a_live_message_is_cleared_unless_the_subscription_wants_it() {
    let node = Node::start();
    for expiry in [0, 600] {
        let mut publisher = client(&node, "p", 0);
        let mut subscriber = Mqtt::connect(&node, 1, Options::lasting(&named("s", 1), expiry).clean());
        let as_published = SubscriptionOptions { retain_as_published: true, ..options(Qos::ExactlyOnce) };
        subscriber.subscribe_all(&[("t/a", options(Qos::ExactlyOnce)), ("t/b", as_published)], None);
        for qos in QOS {
            for retain in [true, false] {
                publisher.publish_with("t/a", "x", qos, retain, none());
                assert!(!subscriber.receive().retain);
                publisher.publish_with("t/b", "x", qos, retain, none());
                assert_eq!(subscriber.receive().retain, retain);
            }
        }
        subscriber.disconnect();
        for topic in ["t/a", "t/b"] {
            publisher.publish_with(topic, "", Qos::AtLeastOnce, true, none());
        }
    }
}

#[test]
fn a_suback_says_for_each_filter_what_came_of_it() {
    let node = Node::with(|config| {
        config.mqtt.max_subscriptions = 4;
        config.mqtt.max_qos = 1;
    });
    let mut subscriber = client(&node, "s", 0);
    let filters = [
        ("t/a", options(Qos::ExactlyOnce)),
        ("nowhere/#", options(Qos::AtLeastOnce)),
        ("q", options(Qos::AtLeastOnce)),
        ("$share/g/m", options(Qos::AtMostOnce)),
        ("$share/g/t/+", options(Qos::AtMostOnce)),
        ("t/b", options(Qos::AtMostOnce)),
        ("t/c", options(Qos::AtMostOnce)),
        ("t/a", options(Qos::AtMostOnce)),
    ];
    let expected = [
        ReasonCode::GrantedQos1,
        ReasonCode::TopicFilterInvalid,
        ReasonCode::GrantedQos1,
        ReasonCode::SharedSubscriptionsNotSupported,
        ReasonCode::Success,
        ReasonCode::Success,
        ReasonCode::QuotaExceeded,
        ReasonCode::Success,
    ];
    assert_eq!(subscriber.subscribe_all(&filters, None), expected);
    let mut old = Mqtt::connect(&node, 1, Options::v3(&named("old", 1), true));
    assert_eq!(old.subscribe("nowhere/#", Qos::AtLeastOnce), ReasonCode::UnspecifiedError);
}

// ---- flow -----------------------------------------------------------------------------------------

/// A client that takes so many at once and acknowledges nothing by itself.
fn narrow(node: &Node, shard: usize, expiry: u32, window: u16) -> Mqtt {
    let options = Options::lasting(&named("s", shard), expiry).clean();
    let mut options = options.with(|properties| {
        properties.receive_maximum(window).unwrap();
    });
    options.config.limits.receive_maximum = window;
    let mut client = Mqtt::connect(node, shard, options);
    client.acknowledges = false;
    client
}

#[test]
fn a_client_never_has_more_unacknowledged_messages_than_it_takes() {
    let node = Node::start();
    for (shard, expiry) in [(0, 0), (1, 0), (0, 600), (1, 600)] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut publisher = client(&node, "p", 0);
            let mut subscriber = narrow(&node, shard, expiry, 2);
            subscriber.subscribe("t/a", qos);
            for number in 0..20 {
                publisher.publish("t/a", &number.to_string(), qos);
            }
            // The engine of the client would end the connection at the third.
            for number in 0..20 {
                let got = subscriber.receive();
                assert_eq!(got.text(), number.to_string());
                subscriber.sync();
                assert!(subscriber.received.len() <= 1);
                // Messages of QoS 0 are not held back by it.
                publisher.publish("t/a", "quick", Qos::AtMostOnce);
                subscriber
                    .until("a quick one", |client| client.received.iter().any(|got| got.text() == "quick"));
                subscriber.received.retain(|got| got.text() != "quick");
                subscriber.acknowledge(&got, ReasonCode::Success);
            }
            subscriber.disconnect();
        }
    }
}

#[test]
fn what_waits_for_a_client_is_bounded_by_the_policy() {
    for (on_full, expected) in [
        (SessionFull::DropOldest, Some(vec!["0", "7", "8", "9"])),
        (SessionFull::DropNewest, Some(vec!["0", "1", "2", "3"])),
        (SessionFull::Disconnect, None),
    ] {
        let node = Node::with(|config| {
            config.mqtt.session.max_messages = 3;
            config.mqtt.session.on_full = on_full;
        });
        let mut publisher = client(&node, "p", 0);
        let mut subscriber = narrow(&node, 0, 0, 1);
        subscriber.subscribe("t/a", Qos::AtLeastOnce);
        for number in 0..10 {
            publisher.publish("t/a", &number.to_string(), Qos::AtLeastOnce);
        }
        match expected {
            None => assert_eq!(subscriber.sent_away(), ReasonCode::QuotaExceeded),
            Some(expected) => {
                let mut texts = Vec::new();
                while texts.len() < expected.len() {
                    let got = subscriber.receive();
                    texts.push(got.text().to_owned());
                    subscriber.acknowledge(&got, ReasonCode::Success);
                }
                assert_eq!(texts, expected, "{on_full:?}");
                assert_nothing(&mut subscriber);
            }
        }
    }
}

#[test]
fn a_message_larger_than_the_client_takes_is_dropped_and_the_next_one_comes() {
    let node = Node::start();
    for expiry in [0, 600] {
        for shard in [0, 1] {
            let options = Options::lasting(&named("s", shard), expiry).clean();
            let mut options = options.with(|properties| {
                properties.maximum_packet_size(200).unwrap();
            });
            options.config.limits.max_packet_size = 200;
            let mut subscriber = Mqtt::connect(&node, shard, options);
            let mut publisher = client(&node, "p", 0);
            for qos in QOS {
                subscriber.subscribe("t/a", qos);
                subscriber.subscribe("q", qos);
                publisher.publish("t/a", &"x".repeat(500), qos);
                publisher.publish("t/a", "small", qos);
                assert_eq!(subscriber.receive().text(), "small");
                publisher.publish("q", &"x".repeat(500), qos);
                publisher.publish("q", "small", qos);
                assert_eq!(subscriber.receive().text(), "small");
            }
            assert_nothing(&mut subscriber);
            subscriber.disconnect();
        }
    }
}

#[test]
fn a_client_that_does_not_read_loses_messages_of_qos_0_and_nothing_else() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut subscriber = client(&node, "s", 1);
    subscriber.subscribe("t/#", Qos::AtLeastOnce);
    let big = "x".repeat(100_000);
    publisher.publish("t/a", "first", Qos::AtLeastOnce);
    for _ in 0..300 {
        publisher.publish("t/b", &big, Qos::AtMostOnce);
        publisher.sync();
    }
    publisher.publish("t/a", "last", Qos::AtLeastOnce);
    assert_eq!(subscriber.receive().text(), "first");
    let mut bulk = 0;
    loop {
        let got = subscriber.receive();
        if got.text() == "last" {
            break;
        }
        bulk += 1;
    }
    // What sockets and outbox hold is a few megabytes.
    assert!((10..300).contains(&bulk), "{bulk} messages");
}

#[test]
fn a_message_says_what_is_left_of_its_life_and_goes_when_that_is_over() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut expiry = |seconds: u32, qos: Qos, text: &str| {
        let mut properties = PropertyWriter::new(PropertyIn::Publish);
        properties.message_expiry_interval(seconds).unwrap();
        publisher.publish_with("t/a", text, qos, false, properties.finish().view());
    };
    let left = |got: &Got| got.properties.view().message_expiry_interval();
    for lasting in [0, 600] {
        let mut subscriber = narrow(&node, 0, lasting, 1);
        subscriber.subscribe("t/a", Qos::AtLeastOnce);
        expiry(60, Qos::AtLeastOnce, "at once");
        expiry(1, Qos::AtLeastOnce, "too late");
        expiry(60, Qos::AtLeastOnce, "in time");
        let got = subscriber.receive();
        assert_eq!((got.text(), left(&got)), ("at once", Some(60)));
        let start = std::time::Instant::now();
        subscriber.until("a second has passed", |_| start.elapsed() > Duration::from_millis(1_100));
        subscriber.acknowledge(&got, ReasonCode::Success);
        let got = subscriber.receive();
        assert_eq!(got.text(), "in time");
        assert!(left(&got).is_some_and(|left| (50..60).contains(&left)), "{:?}", left(&got));
        subscriber.disconnect();
    }
}

#[test]
fn a_publisher_that_is_ahead_of_the_disk_is_read_on_when_that_has_caught_up() {
    let node = Node::start();
    for (from, to) in [(0, 0), (0, 1)] {
        let mut publisher = client(&node, "p", from);
        let text = "x".repeat(10_000);
        // More than the core gives credit for, and more bytes than it holds of one connection.
        let tokens: Vec<u64> =
            (0..800).map(|_| publisher.start("q", &text, Qos::AtLeastOnce, false, none())).collect();
        publisher.write();
        for token in tokens {
            publisher.until("a PUBACK", |client| client.outcomes.contains_key(&token));
            assert_eq!(publisher.outcomes[&token], ReasonCode::Success);
        }
        // And more than a feed has credit for at once.
        let mut consumer = client(&node, "c", to);
        consumer.subscribe("q", Qos::AtLeastOnce);
        for _ in 0..800 {
            assert_eq!(consumer.receive().payload.len(), 10_000);
        }
        assert_nothing(&mut consumer);
    }
}

#[test]
fn a_publisher_does_not_run_ahead_of_another_shard() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut subscriber = client(&node, "s", 1);
    subscriber.subscribe("t/a", Qos::AtLeastOnce);
    let text = "x".repeat(300_000);
    for _ in 0..50 {
        publisher.start("t/a", &text, Qos::AtLeastOnce, false, none());
    }
    publisher.write();
    for _ in 0..50 {
        assert_eq!(subscriber.receive().payload.len(), 300_000);
    }
    publisher.until("every PUBACK", |client| client.outcomes.len() == 50);
}

#[test]
fn publications_of_qos_2_keep_their_order_whether_they_are_kept_or_not() {
    let node = Node::start();
    let mut publisher = Mqtt::connect(&node, 0, Options::lasting(&named("p", 0), 600));
    let mut subscriber = client(&node, "s", 1);
    subscriber.subscribe("t/a", Qos::ExactlyOnce);
    for number in 0..60 {
        // Every third is retained, and so goes through the disk before anybody gets it.
        publisher.start("t/a", &number.to_string(), Qos::ExactlyOnce, number % 3 == 0, none());
    }
    publisher.write();
    let expected: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    assert_eq!(texts(&mut subscriber, 60), expected);
    publisher.until("every PUBCOMP", |client| client.outcomes.len() == 60);
}

#[test]
fn a_message_that_the_client_refuses_is_not_offered_again() {
    let node = Node::start();
    for (expiry, filter) in [(0, "t/a"), (600, "t/a"), (0, "$share/g/t/a"), (600, "$share/g/t/a"), (0, "q")] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut publisher = client(&node, "p", 1);
            let mut subscriber = Mqtt::connect(&node, 0, Options::lasting(&named("s", 0), expiry).clean());
            subscriber.subscribe(filter, qos);
            subscriber.acknowledges = false;
            let topic = if filter == "q" { "q" } else { "t/a" };
            publisher.publish(topic, "refused", qos);
            publisher.publish(topic, "taken", qos);
            let refused = subscriber.receive();
            subscriber.acknowledge(&refused, ReasonCode::QuotaExceeded);
            let taken = subscriber.receive();
            assert_eq!((refused.text(), taken.text()), ("refused", "taken"));
            subscriber.acknowledge(&taken, ReasonCode::Success);
            subscriber.sync();
            let state = subscriber.vanish();
            let state = if expiry > 0 { state } else { SessionState::default() };
            let options = Options::lasting(&named("s", 0), expiry).resuming(state);
            let mut subscriber = Mqtt::connect(&node, 0, options);
            assert_eq!(subscriber.session_present(), expiry > 0);
            if filter == "q" {
                subscriber.subscribe("q", qos);
            }
            assert_nothing(&mut subscriber);
            subscriber.disconnect();
            Mqtt::connect(&node, 0, Options::new(&named("s", 0))).disconnect();
        }
    }
}

// ---- retained -------------------------------------------------------------------------------------

#[test]
fn a_subscription_gets_what_is_retained() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut properties = PropertyWriter::new(PropertyIn::Publish);
    properties.content_type("x/y").unwrap().user_property("a", "1").unwrap();
    let properties = properties.finish();
    for (topic, qos) in [("t/a", Qos::AtMostOnce), ("t/b", Qos::AtLeastOnce), ("t/c/d", Qos::ExactlyOnce)] {
        publisher.publish_with(topic, "old", qos, true, none());
        publisher.publish_with(topic, topic, qos, true, properties.view());
        publisher.publish(topic, "not retained", qos);
    }
    for (shard, expiry) in [(0, 0), (1, 0), (1, 600)] {
        let mut subscriber =
            Mqtt::connect(&node, shard, Options::lasting(&named("s", shard), expiry).clean());
        subscriber.subscribe_all(&[("t/+", options(Qos::AtLeastOnce))], Some(5));
        let mut got = [subscriber.receive(), subscriber.receive()];
        got.sort_by(|one, other| one.topic.cmp(&other.topic));
        for (got, (topic, qos)) in got.iter().zip([("t/a", Qos::AtMostOnce), ("t/b", Qos::AtLeastOnce)]) {
            assert_eq!((got.text(), got.qos, got.retain), (topic, qos, true));
            assert_eq!(got.identifiers(), [5]);
            assert_eq!(got.properties.view().content_type(), Some("x/y"));
        }
        assert_eq!(subscriber.subscribe("t/c/d", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
        let got = subscriber.receive();
        assert_eq!((got.text(), got.qos, got.retain), ("t/c/d", Qos::AtLeastOnce, true));
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
    }
}

#[test]
fn an_empty_retained_message_ends_what_was_retained_and_is_delivered() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    for qos in QOS {
        let mut before = client(&node, "b", 0);
        before.subscribe("t/a", qos);
        publisher.publish_with("t/a", "x", qos, true, none());
        publisher.publish_with("t/a", "", qos, true, none());
        assert_eq!((before.receive().text(), before.receive().text()), ("x", ""));
        publisher.sync();
        let mut after = client(&node, "s", 1);
        after.subscribe("t/a", qos);
        assert_nothing(&mut after);
        after.disconnect();
        before.disconnect();
    }
}

#[test]
fn retain_handling_says_when_retained_messages_come() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    publisher.publish_with("t/a", "kept", Qos::AtLeastOnce, true, none());
    let with = |retain_handling| SubscriptionOptions { retain_handling, ..options(Qos::AtLeastOnce) };
    let mut subscriber = Mqtt::connect(&node, 1, Options::lasting(&named("s", 1), 600));
    subscriber.subscribe_all(&[("t/+", with(RetainHandling::Never))], None);
    assert_nothing(&mut subscriber);
    // The session has it, so that it is not new.
    subscriber.subscribe_all(&[("t/+", with(RetainHandling::New))], None);
    assert_nothing(&mut subscriber);
    subscriber.subscribe_all(&[("t/+", with(RetainHandling::Always))], None);
    assert_eq!(subscriber.receive().text(), "kept");
    subscriber.unsubscribe("t/+");
    subscriber.subscribe_all(&[("t/+", with(RetainHandling::New))], None);
    assert_eq!(subscriber.receive().text(), "kept");
    // Resuming is no subscribing.
    let state = subscriber.vanish();
    let mut subscriber = Mqtt::connect(&node, 1, Options::lasting(&named("s", 1), 600).resuming(state));
    assert!(subscriber.session_present());
    subscriber.subscribe_all(&[("t/+", with(RetainHandling::New))], None);
    assert_nothing(&mut subscriber);
    subscriber.subscribe("$share/g/t/a", Qos::AtLeastOnce);
    assert_nothing(&mut subscriber);
}

#[test]
fn an_old_client_gets_retained_messages_whenever_it_subscribes() {
    let node = Node::start();
    client(&node, "p", 0).publish_with("t/a", "kept", Qos::AtLeastOnce, true, none());
    let mut subscriber = Mqtt::connect(&node, 1, Options::v3(&named("s", 1), true));
    for qos in QOS {
        assert_eq!(subscriber.subscribe("t/a", qos).to_byte(), qos.to_byte());
        let got = subscriber.receive();
        assert_eq!((got.text(), got.retain, got.qos), ("kept", true, qos.min(Qos::AtLeastOnce)));
    }
    assert_nothing(&mut subscriber);
}

#[test]
fn a_retained_message_that_the_client_has_not_acknowledged_is_sent_again() {
    let node = Node::start();
    client(&node, "p", 0).publish_with("t/a", "kept", Qos::ExactlyOnce, true, none());
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut subscriber = Mqtt::connect(&node, 1, Options::lasting(&named("s", 1), 600).clean());
        subscriber.acknowledges = false;
        subscriber.subscribe("t/a", qos);
        let first = subscriber.receive();
        let state = subscriber.vanish();
        let options = Options::lasting(&named("s", 1), 600).resuming(state);
        let mut subscriber = Mqtt::connect(&node, 1, options);
        let again = subscriber.receive();
        assert_eq!((again.text(), again.retain, again.duplicate), ("kept", true, true));
        assert_eq!((again.packet_id, again.qos), (first.packet_id, qos));
        assert_nothing(&mut subscriber);
    }
}

#[test]
fn many_retained_messages_come_page_by_page_and_each_once() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    const COUNT: usize = 1_000;
    for number in 0..COUNT {
        publisher.start(&format!("t/{number:04}"), &"x".repeat(1_000), Qos::AtMostOnce, true, none());
    }
    publisher.publish_with("t/last", "x", Qos::AtLeastOnce, true, none());
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let mut subscriber = client(&node, "s", 1);
        subscriber.subscribe("t/+", qos);
        let mut topics: Vec<String> = (0..=COUNT).map(|_| subscriber.receive().topic).collect();
        topics.sort();
        topics.dedup();
        assert_eq!(topics.len(), COUNT + 1);
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
    }
}

#[test]
fn a_page_does_not_bring_what_the_client_has_a_newer_message_for() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let text = "x".repeat(20_000);
    for number in 0..400 {
        publisher.start(&format!("t/{number:03}"), &text, Qos::AtMostOnce, true, none());
        publisher.write();
    }
    publisher.publish_with("t/999", "old", Qos::AtLeastOnce, true, none());
    let mut subscriber = client(&node, "s", 1);
    // It does not read on: pages wait, what is live does not.
    let filters = [("t/+", options(Qos::AtMostOnce))];
    subscriber.engine.subscribe(&filters, none()).unwrap();
    subscriber.write();
    while publisher.publish("t/none", "", Qos::AtLeastOnce) == ReasonCode::NoMatchingSubscribers {}
    publisher.publish_with("t/999", "new", Qos::AtLeastOnce, true, none());
    let mut of_last = Vec::new();
    for _ in 0..401 {
        let mut got = subscriber.receive();
        while got.topic == "t/none" {
            got = subscriber.receive();
        }
        if got.topic == "t/999" {
            of_last.push((got.text().to_owned(), got.retain));
        }
    }
    assert_eq!(of_last, [("new".to_owned(), false)]);
    assert_nothing(&mut subscriber);
}

#[test]
fn retained_messages_outlive_the_daemon() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    client(&node, "p", 0).publish_with("t/a", "kept", Qos::AtLeastOnce, true, none());
    drop(node);
    let node = Node::at(&place, |_| {});
    let mut subscriber = client(&node, "s", 1);
    subscriber.subscribe("t/#", Qos::AtLeastOnce);
    let got = subscriber.receive();
    assert_eq!((got.text(), got.retain, got.qos), ("kept", true, Qos::AtLeastOnce));
}

// ---- lasting sessions -------------------------------------------------------------------------------

/// A client whose session lasts.
fn lasting(node: &Node, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::lasting(&named("s", shard), 600))
}

#[test]
fn a_lasting_session_gets_what_came_while_its_client_was_away() {
    let node = Node::start();
    for shard in [0, 1] {
        let mut publisher = client(&node, "p", 0);
        let mut subscriber = lasting(&node, shard);
        subscriber.subscribe("t/a", Qos::ExactlyOnce);
        subscriber.subscribe("t/zero", Qos::AtMostOnce);
        subscriber.disconnect();
        for number in 0..50 {
            for qos in QOS {
                let text = format!("{number} {}", qos.to_byte());
                publisher.publish("t/a", &text, qos);
                publisher.publish("t/zero", &text, qos);
            }
        }
        let mut subscriber = lasting(&node, shard);
        assert!(subscriber.session_present());
        // Each QoS is in order for itself (4.6).
        let mut next = [0; 3];
        for _ in 0..100 {
            let got = subscriber.receive();
            let qos = got.qos.to_byte();
            let number = &mut next[usize::from(qos)];
            assert_eq!((got.text(), got.duplicate), (&*format!("{number} {qos}"), false));
            *number += 1;
        }
        assert_eq!(next, [0, 50, 50]);
        publisher.publish("t/zero", "live", Qos::ExactlyOnce);
        let got = subscriber.receive();
        assert_eq!((got.text(), got.qos), ("live", Qos::AtMostOnce));
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
        Mqtt::connect(&node, shard, Options::new(&named("s", shard))).disconnect();
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again_with_its_identifier_and_in_order() {
    let node = Node::start();
    for shard in [0, 1] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut publisher = client(&node, "p", 0);
            let mut subscriber = lasting(&node, shard);
            subscriber.acknowledges = false;
            subscriber.subscribe("t/a", qos);
            for number in 0..6 {
                publisher.publish("t/a", &number.to_string(), qos);
            }
            let first: Vec<Got> = (0..6).map(|_| subscriber.receive()).collect();
            // Two of them are done with, and not the first.
            subscriber.acknowledge(&first[1], ReasonCode::Success);
            subscriber.acknowledge(&first[4], ReasonCode::Success);
            subscriber.sync();
            let state = subscriber.vanish();
            publisher.publish("t/a", "new", qos);
            let options = Options::lasting(&named("s", shard), 600).resuming(state);
            let mut subscriber = Mqtt::connect(&node, shard, options);
            assert!(subscriber.session_present());
            for number in [0, 2, 3, 5] {
                let got = subscriber.receive();
                assert_eq!((got.text(), got.duplicate), (&*number.to_string(), true), "{qos:?}");
                assert_eq!(got.packet_id, first[number].packet_id);
            }
            let got = subscriber.receive();
            assert_eq!((got.text(), got.duplicate), ("new", false));
            assert_nothing(&mut subscriber);
            subscriber.disconnect();
            Mqtt::connect(&node, shard, Options::new(&named("s", shard))).disconnect();
        }
    }
}

#[test]
fn messages_under_way_outlive_the_daemon() {
    for shard in [0, 1] {
        let place = Place::new();
        let node = Node::at(&place, |_| {});
        let mut publisher = client(&node, "p", 0);
        let mut subscriber = lasting(&node, shard);
        subscriber.acknowledges = false;
        subscriber.subscribe("t/#", Qos::ExactlyOnce);
        for text in ["released", "received", "sent"] {
            publisher.publish("t/a", text, Qos::ExactlyOnce);
        }
        publisher.publish("t/a", "once", Qos::AtLeastOnce);
        let got: Vec<Got> = (0..4).map(|_| subscriber.receive()).collect();
        let released = got.iter().find(|got| got.text() == "released").unwrap();
        subscriber.acknowledge(released, ReasonCode::Success);
        subscriber.sync();
        let state = subscriber.vanish();
        drop(publisher);
        drop(node);
        let node = Node::at(&place, |_| {});
        let options = Options::lasting(&named("s", shard), 600).resuming(state);
        let mut subscriber = Mqtt::connect(&node, shard, options);
        assert!(subscriber.session_present());
        let mut texts = Vec::new();
        for _ in 0..3 {
            let again = subscriber.receive();
            if again.qos == Qos::ExactlyOnce {
                let before = got.iter().find(|got| got.text() == again.text()).unwrap();
                assert_eq!((again.packet_id, again.duplicate), (before.packet_id, true));
            }
            texts.push(again.text().to_owned());
        }
        texts.sort();
        assert_eq!(texts, ["once", "received", "sent"]);
        assert_nothing(&mut subscriber);
        subscriber.disconnect();
    }
}

#[test]
fn a_publication_of_qos_2_that_is_sent_again_is_published_once() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    for shard in [0, 1] {
        for topic in ["t/a", "q"] {
            let mut consumer = client(&node, "c", 1);
            consumer.subscribe(topic, Qos::AtLeastOnce);
            let mut publisher =
                Mqtt::connect(&node, shard, Options::lasting(&named("p", shard), 600).clean());
            publisher.start(topic, "once", Qos::ExactlyOnce, false, none());
            publisher.write();
            assert_eq!(consumer.receive().text(), "once");
            // Whether the PUBREC has come or not, the client sends it again.
            let mut state = publisher.vanish();
            for unacknowledged in &mut state.outgoing {
                unacknowledged.state = mq_mqtt::OutgoingState::Published(Qos::ExactlyOnce);
            }
            let again = state.outgoing.first().copied();
            let options = Options::lasting(&named("p", shard), 600).resuming(state);
            let mut publisher = Mqtt::connect(&node, shard, options);
            assert!(publisher.session_present());
            if let Some(again) = again {
                let payload = bytes::Bytes::from_static(b"once");
                let message = mq_mqtt::Outgoing {
                    qos: Qos::ExactlyOnce,
                    token: 77,
                    ..mq_mqtt::Outgoing::new(topic, &payload)
                };
                publisher.engine.resend(again.packet_id, &message).unwrap();
                publisher.write();
                publisher.until("the end of it", |client| client.outcomes.contains_key(&77));
            }
            publisher.publish(topic, "next", Qos::ExactlyOnce);
            assert_eq!(consumer.receive().text(), "next");
            assert_nothing(&mut consumer);
            consumer.disconnect();
            publisher.disconnect();
        }
    }
}

// ---- shared subscriptions -----------------------------------------------------------------------------

#[test]
fn each_message_goes_to_one_member_of_a_share() {
    let node = Node::start();
    for expiry in [0, 600] {
        let mut publisher = client(&node, "p", 0);
        let mut members: Vec<Mqtt> = (0..2)
            .map(|shard| Mqtt::connect(&node, shard, Options::lasting(&named("m", shard), expiry).clean()))
            .collect();
        let mut outsider = client(&node, "o", 1);
        outsider.subscribe("$share/other/t/+", Qos::AtMostOnce);
        for member in &mut members {
            assert_eq!(member.subscribe("$share/g/t/+", Qos::ExactlyOnce), ReasonCode::GrantedQos2);
        }
        for number in 0..60 {
            publisher.publish("t/a", &number.to_string(), QOS[number % 3]);
        }
        for _ in 0..60 {
            outsider.receive();
        }
        let mut texts = Vec::new();
        while texts.len() < 60 {
            for member in &mut members {
                member.turn();
                texts.extend(member.received.drain(..).map(|got| got.text().to_owned()));
            }
        }
        texts.sort_by_key(|text| text.parse::<u32>().unwrap());
        assert_eq!(texts, (0..60).map(|number| number.to_string()).collect::<Vec<_>>());
        for member in &mut members {
            assert_nothing(member);
        }
        for member in members {
            member.disconnect();
        }
    }
}

#[test]
fn what_a_member_leaves_unacknowledged_goes_to_another() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut first = client(&node, "m", 0);
    first.acknowledges = false;
    first.subscribe("$share/g/t/+", Qos::AtLeastOnce);
    publisher.publish("t/a", "x", Qos::AtLeastOnce);
    assert_eq!(first.receive().text(), "x");
    let mut second = client(&node, "m", 1);
    second.subscribe("$share/g/t/+", Qos::AtLeastOnce);
    assert_nothing(&mut second);
    first.vanish();
    assert_eq!(second.receive().text(), "x");
}

#[test]
fn a_shared_message_of_qos_2_is_completed_with_the_member_that_has_it() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut first = Mqtt::connect(&node, 0, Options::lasting(&named("m", 0), 600));
    first.acknowledges = false;
    first.subscribe("$share/g/t/+", Qos::ExactlyOnce);
    publisher.publish("t/a", "x", Qos::ExactlyOnce);
    let got = first.receive();
    let mut second = client(&node, "m", 1);
    second.subscribe("$share/g/t/+", Qos::ExactlyOnce);
    let state = first.vanish();
    assert_nothing(&mut second);
    let options = Options::lasting(&named("m", 0), 600).resuming(state);
    let mut first = Mqtt::connect(&node, 0, options);
    let again = first.receive();
    assert_eq!((again.text(), again.packet_id, again.duplicate), ("x", got.packet_id, true));
    assert_nothing(&mut first);
    assert_nothing(&mut second);
}

#[test]
fn a_share_of_lasting_sessions_keeps_messages_while_all_members_are_away() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    for shard in [0, 1] {
        let mut member = lasting(&node, shard);
        member.subscribe("$share/g/t/+", Qos::AtLeastOnce);
        member.disconnect();
    }
    publisher.publish("t/a", "x", Qos::AtLeastOnce);
    let mut member = lasting(&node, 1);
    assert_eq!(member.receive().text(), "x");
    // It ends with the last who has it.
    member.unsubscribe("$share/g/t/+");
    Mqtt::connect(&node, 0, Options::new(&named("s", 0))).disconnect();
    publisher.publish("t/a", "y", Qos::AtLeastOnce);
    member.subscribe("$share/g/t/+", Qos::AtLeastOnce);
    assert_nothing(&mut member);
}

// ---- addresses that come and go -----------------------------------------------------------------------

#[test]
fn a_session_follows_its_topics_to_a_new_address_and_loses_nothing() {
    let mut place = Place::new();
    place.add("#", AddressType::Topic, |_| {});
    for is_away in [false, true] {
        let node = Node::at(&place, |_| {});
        let mut publisher = client(&node, "p", 1);
        let mut subscriber = lasting(&node, 0);
        subscriber.acknowledges = false;
        subscriber.subscribe("new/#", Qos::AtLeastOnce);
        subscriber.subscribe("$share/g/new/+", Qos::AtLeastOnce);
        let (mut here, mut away) =
            if is_away { (None, Some(subscriber.vanish())) } else { (Some(subscriber), None) };
        publisher.publish("new/a", "before", Qos::AtLeastOnce);
        node.set("new", AddressType::Topic, |_| {});
        let end = std::time::Instant::now() + DEADLINE;
        while node.wait_for(node.hub().subscriptions(&"new".into())).len() < 2 {
            assert!(std::time::Instant::now() < end, "the new address has no subscriptions");
        }
        publisher.publish("new/a", "after", Qos::AtLeastOnce);
        let mut subscriber = here.take().unwrap_or_else(|| lasting_again(&node, &mut away));
        let mut got = Vec::new();
        for _ in 0..4 {
            let one = subscriber.receive();
            if !subscriber.acknowledges {
                subscriber.acknowledge(&one, ReasonCode::Success);
            }
            got.push(one.text().to_owned());
        }
        got.sort();
        assert_eq!(got, ["after", "after", "before", "before"], "away: {is_away}");
        assert_nothing(&mut subscriber);
    }
}

#[test]
fn messages_of_qos_2_that_a_client_has_are_released_whenever_it_connects_again() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 1);
    let mut subscriber = lasting(&node, 0);
    assert_eq!(subscriber.subscribe("t/a", Qos::ExactlyOnce), ReasonCode::GrantedQos2);
    for round in 0..50 {
        subscriber.acknowledges = false;
        for number in 0..8 {
            publisher.publish("t/a", &format!("{round}: {number}"), Qos::ExactlyOnce);
        }
        let got: Vec<_> = (0..8).map(|_| subscriber.receive()).collect();
        for got in &got {
            subscriber.acknowledge(got, ReasonCode::Success);
        }
        subscriber.write();
        // It does not wait for what becomes of that.
        let mut state = Some(subscriber.engine.session_state());
        drop(subscriber);
        subscriber = lasting_again(&node, &mut state);
        subscriber.until("every message to be released", |it| it.engine.session_state().incoming.is_empty());
    }
}

/// The same client again, with what it holds.
fn lasting_again(node: &Node, state: &mut Option<SessionState>) -> Mqtt {
    let state = state.take().unwrap_or_default();
    Mqtt::connect(node, 0, Options::lasting(&named("s", 0), 600).resuming(state))
}

// ---- addresses of other types ---------------------------------------------------------------------------

#[test]
fn a_queue_gives_each_message_to_one_client_and_keeps_it_until_then() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 1);
    for number in 0..10 {
        assert_eq!(publisher.publish("q", &number.to_string(), Qos::AtLeastOnce), ReasonCode::Success);
    }
    let mut first = client(&node, "c", 0);
    assert_eq!(first.subscribe_all(&[("q", options(Qos::AtLeastOnce))], Some(4)), [ReasonCode::GrantedQos1]);
    for number in 0..10 {
        let got = first.receive();
        assert_eq!((got.text(), &*got.topic, got.identifiers()), (&*number.to_string(), "q", vec![4]));
    }
    first.unsubscribe("q");
    publisher.publish("q", "later", Qos::ExactlyOnce);
    let mut second = client(&node, "c", 1);
    second.subscribe("q", Qos::ExactlyOnce);
    assert_eq!(second.receive().text(), "later");
    assert_nothing(&mut first);
}

#[test]
fn a_publisher_to_an_anycast_address_hears_the_outcome_of_its_consumer() {
    let node = Node::start();
    for (from, to) in [(0, 0), (0, 1)] {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut publisher = client(&node, "p", from);
            assert_eq!(publisher.publish("a", "x", qos), nobody(qos));
            let mut consumer = client(&node, "c", to);
            consumer.acknowledges = false;
            consumer.subscribe("a", qos);
            for (answer, heard) in [
                (ReasonCode::Success, ReasonCode::Success),
                // The client's own words are a condition for AMQP, and come back as what that means.
                (ReasonCode::NotAuthorized, ReasonCode::ImplementationSpecificError),
            ] {
                let token = publisher.start("a", "x", qos, false, none());
                publisher.write();
                let got = consumer.receive();
                publisher.sync();
                assert!(!publisher.outcomes.contains_key(&token), "nobody has answered");
                consumer.acknowledge(&got, answer);
                publisher.until("the outcome", |client| client.outcomes.contains_key(&token));
                assert_eq!(publisher.outcomes[&token], heard);
            }
            consumer.disconnect();
        }
    }
}

#[test]
fn a_multicast_address_reaches_every_client_that_is_there() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    let mut clients: Vec<Mqtt> = (0..2).map(|shard| client(&node, "c", shard)).collect();
    for qos in QOS {
        for one in &mut clients {
            one.subscribe("m", qos);
        }
        let token = publisher.start("m", "x", qos, false, none());
        publisher.write();
        for one in &mut clients {
            let got = one.receive();
            assert_eq!((got.text(), &*got.topic, got.qos), ("x", "m", qos));
            one.sync();
        }
        if qos > Qos::AtMostOnce {
            publisher.until("the outcome", |client| client.outcomes.contains_key(&token));
            assert_eq!(publisher.outcomes[&token], ReasonCode::Success);
        }
    }
}

#[test]
fn a_large_message_of_an_amqp_client_reaches_mqtt_clients_whole_or_not_at_all() {
    let node = Node::start();
    let mut sender = Client::connect(&node, 0);
    let link = sender.producer("m");
    let mut whole = client(&node, "w", 0);
    whole.subscribe("m", Qos::AtMostOnce);
    let options = Options::new(&named("n", 1));
    let mut options = options.with(|properties| {
        properties.maximum_packet_size(10_000).unwrap();
    });
    options.config.limits.max_packet_size = 10_000;
    let mut narrow = Mqtt::connect(&node, 1, options);
    narrow.subscribe("m", Qos::AtMostOnce);
    sender.send_text(link, &"x".repeat(400_000));
    sender.send_text(link, "small");
    assert_eq!(whole.receive().payload.len(), 400_000);
    assert_eq!(whole.receive().text(), "small");
    assert_eq!(narrow.receive().text(), "small");
}

// ---- AMQP -----------------------------------------------------------------------------------------

#[test]
fn what_an_mqtt_client_publishes_an_amqp_consumer_gets_and_the_other_way_round() {
    let node = Node::start();
    for shard in [0, 1] {
        let mut amqp = Client::connect(&node, 0);
        amqp.consumer("t/#", 100);
        let link = amqp.producer("t/b");
        let mut mqtt = client(&node, "c", shard);
        mqtt.subscribe("t/b", Qos::AtLeastOnce);
        let mut seen = 0;
        for qos in QOS {
            assert_eq!(mqtt.publish("t/a", "from mqtt", qos), ReasonCode::Success);
            seen += 1;
            let received = amqp.receive(seen);
            amqp.accept(&received);
            assert_eq!(received.text(), "from mqtt");
            amqp.send_text(link, "from amqp");
            let got = mqtt.receive();
            assert_eq!((got.text(), &*got.topic), ("from amqp", "t/b"));
            seen += 1;
            let received = amqp.receive(seen);
            amqp.accept(&received);
        }
    }
}
