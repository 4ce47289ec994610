//! Retained messages.

use mq_tests::eventually;
use mq_tests::foreign::is_skipped;
use mq_tests::mqtt::{Broker, Client, Dialect, lasting};
use serde_json::json;

fn retain(client: &mut Client, topic: &str, payload: &str, qos: u8) {
    assert_eq!(client.publish_with(topic, payload, json!({ "qos": qos, "retain": true })), 0);
}

/// What is retained and asked for behind all else: when it comes, so has the rest.
const LAST: &str = "last/of/all";

/// What a new client gets that subscribes to a filter: topics and payloads, in order of the topics.
fn retained(dialect: Dialect, broker: &Broker, filter: &str) -> Vec<(String, String)> {
    let mut client = Client::connect(dialect, broker, "");
    retain(&mut client, LAST, "last", 1);
    client.subscribe(filter, 1);
    client.subscribe(LAST, 1);
    let mut missing = if filter == "#" { 2 } else { 1 };
    let mut messages = Vec::new();
    while missing > 0 {
        let message = client.message();
        assert!(message.retain, "{message:?}");
        if message.topic == LAST {
            missing -= 1;
        } else {
            messages.push((message.topic.clone(), message.text()));
        }
    }
    messages.sort();
    messages
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(topic, text)| ((*topic).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn the_last_retained_message_of_each_topic_meets_who_subscribes_later() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in Dialect::ALL {
        let mut publisher = Client::connect(dialect, &broker, "publisher");
        retain(&mut publisher, "r/a", "old", 1);
        retain(&mut publisher, "r/a", "new", 0);
        retain(&mut publisher, "r/b", "b", 2);
        retain(&mut publisher, "r", "parent", 1);
        publisher.publish("r/a", "not retained", 1);
        publisher.publish("r/c", "not retained", 1);
        let all = [("r", "parent"), ("r/a", "new"), ("r/b", "b")];
        for (filter, expected) in [
            ("r/#", &all[..]),
            ("#", &all),
            ("r/+", &all[1..]),
            ("r/a", &all[1..2]),
            ("r/c", &[]),
            ("$share/group/r/#", &[]),
        ] {
            assert_eq!(retained(dialect, &broker, filter), pairs(expected), "{dialect:?} {filter}");
        }
        for topic in ["r", "r/a", "r/b"] {
            retain(&mut publisher, topic, "", 1);
        }
        assert_eq!(retained(dialect, &broker, "r/#"), []);
    }
}

#[test]
fn an_empty_retained_message_is_delivered_and_leaves_nothing() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    client.subscribe_with(json!([["cleared", { "qos": 1, "retain_as_published": true }]]), None);
    retain(&mut client, "cleared", "something", 1);
    assert_eq!(client.text(), "something");
    for qos in 0..=2 {
        retain(&mut client, "cleared", "", qos);
        let message = client.message();
        assert_eq!((message.text().as_str(), message.retain), ("", true));
        assert_eq!(retained(Dialect::PAHO_3, &broker, "cleared"), []);
    }
}

#[test]
fn retain_handling_says_when_retained_messages_come() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    retain(&mut publisher, "handled", "kept", 1);
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_5] {
        let mut client = Client::persistent(dialect, &broker, "subscriber");
        let subscribe = |client: &mut Client, handling: u8| {
            client.subscribe_with(json!([["handled", { "qos": 1, "retain_handling": handling }]]), None)
        };
        // MQTT 3.3.1.3: 2 never, 1 for a new subscription, 0 always.
        assert_eq!(subscribe(&mut client, 2), [1]);
        client.has_nothing();
        assert_eq!(subscribe(&mut client, 1), [1]);
        client.has_nothing();
        assert_eq!(subscribe(&mut client, 0), [1]);
        assert_eq!(client.text(), "kept");
        assert_eq!(subscribe(&mut client, 0), [1]);
        assert_eq!(client.text(), "kept");
        client.unsubscribe(&["handled"]);
        assert_eq!(subscribe(&mut client, 1), [1]);
        assert_eq!(client.text(), "kept");
        // It is in the session: not new when that is resumed. What was acknowledged so far is, for certain.
        client.publish("elsewhere", "", 1);
        client.cut();
        client.connect_again(&broker, lasting(dialect, "subscriber"));
        assert!(client.session_present());
        assert_eq!(subscribe(&mut client, 1), [1]);
        client.has_nothing();
        client.disconnect_with(json!({ "properties": { "session_expiry": 0 } }));
    }
}

#[test]
fn retain_as_published_keeps_the_flag_of_live_messages() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for qos in 0..=2 {
        let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
        for (keeps, retains, expected) in
            [(false, true, false), (true, true, true), (true, false, false), (false, false, false)]
        {
            let options =
                json!([["flag", { "qos": qos, "retain_as_published": keeps, "retain_handling": 2 }]]);
            client.subscribe_with(options, None);
            client.publish_with("flag", "live", json!({ "qos": qos, "retain": retains }));
            assert_eq!(client.message().retain, expected, "keeps {keeps} retains {retains}");
        }
        // At subscribe it is always set (MQTT 3.3.1-8).
        client.subscribe("flag", qos);
        assert!(client.message().retain);
        let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
        three.subscribe("flag", qos);
        assert!(three.message().retain);
        client.publish_with("flag", "live", json!({ "qos": qos, "retain": true }));
        assert!(!three.message().retain);
    }
}

#[test]
fn a_retained_message_keeps_its_properties_and_only_the_identifier_of_its_subscription() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut properties = json!({
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": "00ff",
        "user_properties": [["b", "2"], ["a", "1"], ["b", "2"]],
    });
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    let options = json!({ "qos": 2, "retain": true, "properties": properties });
    client.publish_with("kept/properties", "text", options);
    client.subscribe_with(json!([["other/#", {}]]), Some(4));
    client.subscribe_with(json!([["kept/#", { "qos": 2 }]]), Some(5));
    properties["subscription_identifier"] = json!([5]);
    let message = client.message();
    assert_eq!((message.qos, message.properties), (2, properties));
}

#[test]
fn a_retained_message_expires() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    for (topic, seconds) in [("expires/soon", 1), ("expires/late", 100)] {
        let properties = json!({ "message_expiry": seconds });
        client.publish_with(topic, "text", json!({ "qos": 1, "retain": true, "properties": properties }));
    }
    eventually("the end of a second", || {
        let left = retained(Dialect::PAHO_5, &broker, "expires/#");
        (left == pairs(&[("expires/late", "text")])).then_some(())
    });
    client.subscribe("expires/#", 1);
    let left = client.message().properties["message_expiry"].as_u64().expect("a number");
    assert!((60..=100).contains(&left), "{left} seconds are left");
}

#[test]
fn retained_messages_survive_a_crash_and_cleared_ones_do_not_come_back() {
    if is_skipped() {
        return;
    }
    let mut broker = Broker::start();
    let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    let properties = json!({ "user_properties": [["a", "1"], ["a", "2"]], "message_expiry": 1000 });
    publisher.publish_with("r/a", "a", json!({ "qos": 1, "retain": true, "properties": properties }));
    retain(&mut publisher, "r/b", "before", 2);
    retain(&mut publisher, "r/c", "c", 1);
    retain(&mut publisher, "r/c", "", 1);
    for round in 0..2 {
        broker = broker.crash_and_restart();
        let expected = [("r/a", "a"), ("r/b", if round == 0 { "before" } else { "after" })];
        assert_eq!(retained(Dialect::MQTT_JS_3, &broker, "r/#"), pairs(&expected));
        let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
        client.subscribe("r/a", 1);
        let message = client.message();
        assert_eq!(message.properties["user_properties"], json!([["a", "1"], ["a", "2"]]));
        let left = message.properties["message_expiry"].as_u64().expect("a number");
        assert!((900..=1000).contains(&left), "{left}");
        retain(&mut client, "r/b", "after", 1);
    }
}

#[test]
fn a_thousand_retained_messages_all_come_each_once() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut publisher = Client::connect(Dialect::MQTT_JS_5, &broker, "publisher");
    for number in 0..1_000 {
        let options = json!({ "qos": 1, "retain": true });
        publisher.start_publishing(&format!("many/{number}"), &number.to_string(), options);
    }
    for _ in 0..1_000 {
        assert_eq!(publisher.published(), 0);
    }
    for dialect in [Dialect::PAHO_5, Dialect::PAHO_3] {
        let mut client = Client::connect(dialect, &broker, "");
        client.subscribe("many/+", 1);
        let mut numbers: Vec<u32> = (0..1_000)
            .map(|_| {
                let message = client.message();
                assert!(message.retain);
                message.text().parse().expect("a number")
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
        client.has_nothing();
    }
}

#[test]
fn a_will_can_be_retained() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let will = json!({ "topic": "status/device", "payload": "6f6666", "qos": 1, "retain": true });
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_3] {
        let mut device =
            Client::connect_with(dialect, &broker, json!({ "client_id": "device", "will": will }));
        retain(&mut device, "status/device", "on", 1);
        assert_eq!(retained(Dialect::PAHO_3, &broker, "status/#"), pairs(&[("status/device", "on")]));
        device.cut();
        eventually("the will", || {
            let now = retained(Dialect::PAHO_3, &broker, "status/#");
            (now == pairs(&[("status/device", "off")])).then_some(())
        });
    }
}
