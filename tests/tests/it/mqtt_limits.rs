//! What an operator allows, and what a session may hold.

use mq_model::config::DaemonConfig;
use mq_tests::Daemon;
use mq_tests::foreign::is_skipped;
use mq_tests::mqtt::{Broker, Client, Dialect, lasting};
use mq_tests::raw_mqtt::{RawMqtt, connect_5, hex, packet, publish_5, string, subscribe_5};
use serde_json::json;

fn node(change: impl FnOnce(&mut DaemonConfig)) -> Broker {
    Broker::Mqd(Box::new(Daemon::builder().with(change).start()))
}

#[test]
fn a_full_session_drops_the_oldest_or_the_newest_as_it_is_told() {
    use mq_model::config::SessionFull;
    if is_skipped() {
        return;
    }
    for (on_full, expected) in [(SessionFull::DropOldest, 15..20), (SessionFull::DropNewest, 0..5)] {
        let broker = node(|config| {
            config.mqtt.session.max_messages = 5;
            config.mqtt.session.on_full = on_full;
        });
        let mut client = Client::persistent(Dialect::PAHO_5, &broker, "sleeper");
        client.subscribe("full", 1);
        client.cut();
        let mut publisher = Client::connect(Dialect::MQTT_JS_5, &broker, "publisher");
        for number in 0..20 {
            assert_eq!(publisher.publish("full", &number.to_string(), 1), 0, "a publisher is not to blame");
        }
        client.connect_again(&broker, lasting(Dialect::PAHO_5, "sleeper"));
        for number in expected {
            assert_eq!(client.text(), number.to_string(), "{on_full:?}");
        }
        client.has_nothing();
    }
}

#[test]
fn more_subscriptions_than_allowed_are_refused_and_the_others_stay() {
    if is_skipped() {
        return;
    }
    let broker = node(|config| config.mqtt.max_subscriptions = 3);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "greedy");
    let filters = json!([["a", { "qos": 1 }], ["b", { "qos": 1 }], ["c", { "qos": 1 }], ["d", { "qos": 1 }]]);
    // MQTT 3.9.3: 0x97, quota exceeded.
    assert_eq!(client.subscribe_with(filters, None), [1, 1, 1, 0x97]);
    // One that is there already is none more.
    client.subscribe("a", 1);
    client.publish("a", "x", 1);
    assert_eq!(client.text(), "x");
    client.unsubscribe(&["b"]);
    client.subscribe("d", 1);
    let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    let filters = json!([["a", {}], ["b", {}], ["c", {}], ["d", {}]]);
    assert_eq!(three.subscribe_with(filters, None), [0, 0, 0, 0x80]);
}

#[test]
fn a_maximum_qos_is_announced_and_kept_to() {
    if is_skipped() {
        return;
    }
    let broker = node(|config| config.mqtt.max_qos = 1);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    assert_eq!(client.granted("maximum_qos"), 1);
    // MQTT 3.8.4: granted is what is possible.
    assert_eq!(client.subscribe_with(json!([["a", { "qos": 2 }]]), None), [1]);
    client.publish("a", "x", 1);
    assert_eq!(client.message().qos, 1);
    // Whoever publishes with more, or wants a will with more, did not listen (0x9B).
    let mut raw = RawMqtt::connect_5(broker.server(), "raw", "");
    raw.send(&publish_5("a", 2, 1, b""));
    raw.expect_disconnect(0x9b);
    let mut raw = RawMqtt::open(broker.server());
    let will =
        [&hex("00 04 'MQTT' 05 16 00 00 00")[..], &string("w"), &[0], &string("a"), &string("")].concat();
    raw.send(&packet(0x10, &will));
    assert_eq!(raw.expect(0x20).body[..2], [0, 0x9b]);
    raw.expect_end();
}

#[test]
fn where_nothing_is_retained_that_is_announced_and_kept_to() {
    let broker = node(|config| config.mqtt.max_retained = 0);
    let mut raw = RawMqtt::open(broker.server());
    raw.send(&connect_5("raw", ""));
    let answer = raw.expect(0x20);
    assert!(answer.body.windows(2).any(|part| part == [0x25, 0]), "{answer:02x?}");
    raw.send(&packet(0x31, &hex("00 01 't' 00 'x'")));
    raw.expect_disconnect(0x9a);
    let mut raw = RawMqtt::open(broker.server());
    let will =
        [&hex("00 04 'MQTT' 05 26 00 00 00")[..], &string("w"), &[0], &string("a"), &string("x")].concat();
    raw.send(&packet(0x10, &will));
    assert_eq!(raw.expect(0x20).body[..2], [0, 0x9a]);
    raw.expect_end();
}

#[test]
fn a_session_lasts_no_longer_than_allowed_and_the_client_is_told() {
    if is_skipped() {
        return;
    }
    let broker = node(|config| config.mqtt.session_expiry_max = 60);
    let mut client = Client::persistent(Dialect::PAHO_5, &broker, "long");
    assert_eq!(client.granted("session_expiry"), 60);
    client.cut();
    let properties = json!({ "session_expiry": 30 });
    let client = Client::connect_with(
        Dialect::PAHO_5,
        &broker,
        json!({ "client_id": "long", "clean": false, "properties": properties }),
    );
    assert!(client.session_present());
    assert!([&json!(30), &json!(null)].contains(&client.granted("session_expiry")), "{}", client.connack);
}

#[test]
fn topics_of_the_broker_are_not_for_clients() {
    if is_skipped() {
        return;
    }
    let broker = node(|_| {});
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "curious");
    for topic in ["$SYS/broker/version", "$own", "$share/group/topic"] {
        let reason = client.publish(topic, "x", 1);
        assert!([0x87, 0x90].contains(&reason), "{topic}: {reason:#04x}");
    }
    // The connection is none the worse for it.
    client.has_nothing();
}

#[test]
fn who_wants_no_reasons_gets_none_and_who_asks_for_information_may_get_it() {
    let broker = node(|config| config.mqtt.catch_all = false);
    // Request problem information 0: neither reason strings nor user properties in acknowledgements.
    let mut raw = RawMqtt::connect_5(broker.server(), "quiet", "17 00");
    raw.send(&publish_5("unknown", 1, 1, b""));
    let answer = raw.expect(0x40);
    assert_eq!(answer.body[..3], [0, 1, 0x90]);
    assert!(answer.body.len() == 3 || answer.body[3] == 0, "{answer:02x?}");
    raw.send(&subscribe_5(2, "unknown", 0));
    assert_eq!(raw.expect(0x90).body[2], 0, "no properties");
    // Response information is for those alone who ask (MQTT 3.2.2.3.15).
    let mut raw = RawMqtt::open(broker.server());
    raw.send(&connect_5("no", "19 00"));
    let answer = raw.expect(0x20);
    assert!(!answer.body[3..].contains(&0x1a), "{answer:02x?}");
}

#[test]
fn a_packet_to_a_client_with_room_for_little_leaves_its_sentence_out() {
    let broker = node(|config| config.mqtt.catch_all = false);
    // A maximum packet size of 20 bytes.
    let mut raw = RawMqtt::connect_5(broker.server(), "small", "27 00 00 00 14");
    raw.send(&publish_5("unknown", 1, 1, b""));
    let answer = raw.expect(0x40);
    assert!(answer.body.len() <= 18 && answer.body[..3] == [0, 1, 0x90], "{answer:02x?}");
}

#[test]
fn members_of_a_group_that_are_away_keep_its_messages_and_take_none_from_those_that_are_there() {
    if is_skipped() {
        return;
    }
    let broker = node(|_| {});
    let mut away = Client::persistent(Dialect::PAHO_5, &broker, "away");
    away.subscribe("$share/g/jobs", 1);
    let mut here = Client::persistent(Dialect::MQTT_JS_5, &broker, "here");
    here.subscribe("$share/g/jobs", 1);
    away.cut();
    let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    for number in 0..20 {
        publisher.publish("jobs", &number.to_string(), 1);
    }
    for number in 0..20 {
        assert_eq!(here.text(), number.to_string());
    }
    // With nobody there, they wait for whoever comes first.
    here.publish("elsewhere", "", 1);
    here.cut();
    for number in 20..30 {
        publisher.publish("jobs", &number.to_string(), 1);
    }
    away.connect_again(&broker, lasting(Dialect::PAHO_5, "away"));
    for number in 20..30 {
        assert_eq!(away.text(), number.to_string());
    }
    away.has_nothing();
    // Nobody claims the group any more: it ends.
    away.unsubscribe(&["$share/g/jobs"]);
    here.connect_again(&broker, lasting(Dialect::MQTT_JS_5, "here"));
    here.has_nothing();
    here.unsubscribe(&["$share/g/jobs"]);
    publisher.publish("jobs", "for nobody", 1);
    away.subscribe("$share/g/jobs", 1);
    away.has_nothing();
}
