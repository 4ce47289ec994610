//! MQTT as every client library speaks it: publishing and subscribing in both versions.
//!
//! Each test names what it needs of a broker, so that it can meet another one: see `mq_tests::mqtt`.

use std::time::{Duration, Instant};

use mq_tests::eventually;
use mq_tests::foreign::is_skipped;
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference};
use serde_json::json;

/// What a client is refused with for a name that nobody may use.
const REFUSALS: [u64; 4] = [0x80, 0x87, 0x8f, 0x90];

#[test]
fn messages_of_every_qos_arrive_in_order_in_both_versions() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for (subscribing, publishing) in [
        (Dialect::PAHO_5, Dialect::MQTT_JS_3),
        (Dialect::PAHO_3, Dialect::MQTT_JS_5),
        (Dialect::MQTT_JS_5, Dialect::PAHO_3),
        (Dialect::MQTT_JS_3, Dialect::PAHO_5),
    ] {
        let mut subscriber = Client::connect(subscribing, &broker, "subscriber");
        let mut publisher = Client::connect(publishing, &broker, "publisher");
        for qos in 0..=2 {
            subscriber.subscribe("sensors/+/temperature", qos);
            publisher.start_publishing("sensors/kitchen/temperature", "", json!({ "qos": qos, "count": 50 }));
            for number in 1..=50 {
                assert_eq!(publisher.published(), 0, "{publishing:?}");
                let message = subscriber.message();
                assert_eq!(message.text(), number.to_string());
                assert_eq!(
                    (message.topic.as_str(), message.qos, message.retain, message.dup),
                    ("sensors/kitchen/temperature", u64::from(qos), false, false)
                );
            }
        }
        subscriber.has_nothing();
    }
}

#[test]
fn the_qos_of_a_message_is_the_lower_one_of_publication_and_subscription() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_3] {
        let mut client = Client::connect(dialect, &broker, "both");
        for granted in 0..=2 {
            client.subscribe("levels", granted);
            for published in 0..=2 {
                client.publish("levels", "", published);
                assert_eq!(client.message().qos, u64::from(granted.min(published)), "{granted} {published}");
            }
        }
    }
}

#[test]
fn a_payload_is_passed_on_byte_for_byte_however_large() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in Dialect::ALL {
        let mut client = Client::connect(dialect, &broker, "both");
        client.subscribe("bytes", 1);
        for payload in ["", "00", "ff00fe", &"0123456789abcdef".repeat(50_000)] {
            client.start_publishing("bytes", "", json!({ "payload": payload, "qos": 1 }));
            assert_eq!(client.published(), 0);
            assert!(
                client.message().payload == mq_tests::mqtt::bytes(payload),
                "{} bytes",
                payload.len() / 2
            );
        }
    }
}

#[test]
fn filters_match_as_the_standard_says() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    // MQTT 4.7.1 to 4.7.3.
    for (filter, matching, others) in [
        ("a/#", &["a", "a/b", "a/b/c", "a/"][..], &["b", "A/b", "aa"][..]),
        ("a/+", &["a/b", "a/"], &["a", "a/b/c", "/a"]),
        ("+/+", &["/x", "a/b"], &["x", "a/b/c"]),
        ("/+", &["/x", "/"], &["x", "/x/y"]),
        ("+", &["x", " "], &["/x", "x/"]),
        ("a/+/c/#", &["a/b/c", "a//c/d"], &["a/b", "a/b/d"]),
        ("gr\u{fc}\u{df}e/\u{1f600}", &["gr\u{fc}\u{df}e/\u{1f600}"], &["gr\u{fc}\u{df}e"]),
    ] {
        client.subscribe(filter, 1);
        for topic in matching {
            assert_eq!(client.publish(topic, "", 1), 0, "{topic}");
            assert_eq!(client.message().topic, *topic, "{filter}");
        }
        for topic in others {
            client.publish(topic, "", 1);
        }
        client.has_nothing();
        assert_eq!(client.unsubscribe(&[filter]), [0]);
    }
}

#[test]
fn wildcards_at_the_beginning_do_not_match_topics_of_the_broker() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    let reasons = client.subscribe_with(json!([["#", {}], ["+/anything", {}]]), None);
    assert_eq!(reasons, [0, 0]);
    // Whether it is refused or kept to itself: it reaches nobody's wildcard.
    client.publish("$own/anything", "", 1);
    client.publish("plain/anything", "", 1);
    assert_eq!(client.message().topic, "plain/anything");
}

#[test]
fn what_is_unsubscribed_comes_no_more_and_the_answer_says_what_was_there() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "five");
    client.subscribe("a", 1);
    client.subscribe("b", 1);
    // MQTT 3.11.3: 0x11 is "no subscription existed".
    assert_eq!(client.unsubscribe(&["a", "c", "b"]), [0, 0x11, 0]);
    client.publish("a", "", 1);
    client.publish("b", "", 1);
    client.has_nothing();
    let mut client = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    client.subscribe("a", 1);
    client.unsubscribe(&["a", "c"]);
    client.publish("a", "", 1);
    client.has_nothing();
}

#[test]
fn overlapping_subscriptions_give_one_copy_with_the_highest_qos_and_every_identifier() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_5] {
        let mut client = Client::connect(dialect, &broker, "both");
        client.subscribe_with(json!([["over/#", { "qos": 0 }]]), Some(3));
        client
            .subscribe_with(json!([["over/+", { "qos": 2 }], ["over/lap", { "qos": 1 }]]), Some(268_435_455));
        client.subscribe_with(json!([["over/lap/#", { "qos": 1 }]]), None);
        for (published, expected) in [(2, 2), (1, 1), (0, 0)] {
            client.publish("over/lap", "once", published);
            let message = client.message();
            assert_eq!(message.qos, expected);
            let mut identifiers: Vec<u64> = message.properties["subscription_identifier"]
                .as_array()
                .map(|all| all.iter().filter_map(serde_json::Value::as_u64).collect())
                .unwrap_or_default();
            identifiers.sort_unstable();
            identifiers.dedup();
            assert_eq!(identifiers, [3, 268_435_455]);
        }
        client.has_nothing();
    }
    let mut client = Client::connect(Dialect::PAHO_3, &broker, "three");
    client.subscribe("over/#", 0);
    client.subscribe("over/+", 2);
    client.publish("over/lap", "once", 2);
    assert_eq!(client.message().qos, 2);
    client.has_nothing();
}

#[test]
fn subscribing_again_replaces_options_and_identifier() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
    client.subscribe_with(json!([["again", { "qos": 0 }]]), Some(1));
    client.subscribe_with(json!([["again", { "qos": 2 }]]), Some(2));
    client.publish("again", "", 2);
    let message = client.message();
    assert_eq!((message.qos, &message.properties["subscription_identifier"]), (2, &json!([2])));
    client.subscribe_with(json!([["again", { "qos": 1 }]]), None);
    client.publish("again", "", 2);
    let message = client.message();
    assert_eq!((message.qos, message.properties.get("subscription_identifier")), (1, None));
    client.has_nothing();
}

#[test]
fn no_local_keeps_a_clients_own_messages_from_it_and_nobody_elses() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "own");
    let mut other = Client::connect(Dialect::MQTT_JS_3, &broker, "other");
    for qos in 0..=2 {
        client.subscribe_with(json!([["room", { "qos": qos, "no_local": true }]]), None);
        assert_eq!(client.publish("room", "own", qos), 0);
        other.publish("room", "other", qos);
        assert_eq!(client.text(), "other");
    }
    // A subscription without it delivers.
    client.subscribe("#", 0);
    client.publish("room", "own", 0);
    assert_eq!(client.text(), "own");
}

#[test]
fn every_property_of_a_message_arrives_as_it_was_sent() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let properties = json!({
        "payload_format": 1,
        "content_type": "text/plain; charset=utf-8",
        "response_topic": "answers/\u{1f600}",
        "correlation_data": "00ff10",
        "user_properties": [["b", "2"], ["a", "1"], ["b", "1"], ["b", "2"], ["", ""], ["a", ""]],
    });
    for qos in 0..=2 {
        let mut client = Client::connect(Dialect::PAHO_5, &broker, "both");
        client.subscribe("full", qos);
        client.publish_with("full", "text", json!({ "qos": qos, "properties": properties }));
        assert_eq!(client.message().properties, properties);
        // Without any there are none.
        client.publish_with("full", "text", json!({ "qos": qos }));
        assert_eq!(client.message().properties, json!({}));
    }
    // The names in an order that MQTT.js can say.
    let mut client = Client::connect(Dialect::MQTT_JS_5, &broker, "js");
    let mut paho = Client::connect(Dialect::PAHO_5, &broker, "paho");
    paho.subscribe("full", 1);
    client.subscribe("full", 1);
    let pairs = json!([["b", "2"], ["b", "1"], ["a", "1"]]);
    client.publish_with("full", "text", json!({ "qos": 1, "properties": { "user_properties": pairs } }));
    assert_eq!(paho.message().properties["user_properties"], pairs);
    assert_eq!(client.message().properties["user_properties"], pairs);
}

#[test]
fn between_the_versions_a_message_keeps_what_both_can_say() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut five = Client::connect(Dialect::PAHO_5, &broker, "five");
    let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    five.subscribe("cross", 2);
    three.subscribe("cross", 2);
    let properties = json!({ "content_type": "text/plain", "user_properties": [["a", "1"]] });
    five.publish_with("cross", "from five", json!({ "qos": 2, "properties": properties }));
    assert_eq!(three.text(), "from five");
    assert_eq!(five.message().properties, properties);
    three.publish("cross", "from three", 2);
    assert_eq!(three.text(), "from three");
    assert_eq!((five.message().properties, 2), (json!({}), 2));
}

#[test]
fn a_request_is_answered_over_its_response_topic() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for (asks, answers) in [(Dialect::PAHO_5, Dialect::MQTT_JS_5), (Dialect::MQTT_JS_5, Dialect::PAHO_5)] {
        let mut service = Client::connect(answers, &broker, "service");
        service.subscribe("time", 1);
        let mut client = Client::connect(asks, &broker, "client");
        client.subscribe("answers/client", 1);
        let request = json!({ "response_topic": "answers/client", "correlation_data": "0007" });
        client.publish_with("time", "now?", json!({ "qos": 1, "properties": request }));
        let request = service.message();
        let to = request.properties["response_topic"].as_str().expect("a topic");
        let correlation = json!({ "correlation_data": request.properties["correlation_data"] });
        service.publish_with(to, "soon", json!({ "qos": 1, "properties": correlation }));
        let answer = client.message();
        assert_eq!((answer.text().as_str(), &answer.properties), ("soon", &correlation));
    }
}

#[test]
fn each_message_goes_to_one_member_of_a_group_and_to_everybody_else() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut members = [Dialect::PAHO_5, Dialect::MQTT_JS_5, Dialect::PAHO_5].map(|dialect| {
        let mut member = Client::connect(dialect, &broker, "");
        member.subscribe("$share/workers/jobs/#", 1);
        member
    });
    let mut other_group = Client::connect(Dialect::PAHO_5, &broker, "other group");
    other_group.subscribe("$share/others/jobs/#", 1);
    let mut alone = Client::connect(Dialect::MQTT_JS_3, &broker, "alone");
    alone.subscribe("jobs/#", 1);
    let mut publisher = Client::connect(Dialect::PAHO_3, &broker, "publisher");
    for number in 0..30 {
        assert_eq!(publisher.publish("jobs/a", &number.to_string(), 1), 0);
    }
    for number in 0..30 {
        assert_eq!(alone.text(), number.to_string());
        assert_eq!(other_group.text(), number.to_string());
    }
    // Every member is told to stop, by a message of its own.
    let mut numbers = Vec::new();
    for member in &mut members {
        member.subscribe("stop", 1);
        publisher.publish("stop", "", 1);
        let mut count = 0;
        loop {
            let message = member.message();
            if message.topic == "stop" {
                break;
            }
            numbers.push(message.text().parse::<u32>().expect("a number"));
            count += 1;
        }
        assert!(count > 0, "a member had no work");
        member.unsubscribe(&["stop"]);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..30).collect::<Vec<_>>());
    // The full string names it.
    assert_eq!(members[0].unsubscribe(&["$share/workers/jobs/#"]), [0]);
}

#[test]
fn a_shared_subscription_without_a_name_or_with_no_local_is_an_error() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    // MQTT 4.8.2, 3.8.3.1: no local on a shared subscription is a protocol error.
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "five");
    let reasons = client.subscribe_with(json!([["$share/a/b", { "qos": 1 }]]), None);
    assert_eq!(reasons, [1]);
    let mut other = Client::connect(Dialect::PAHO_5, &broker, "six");
    other.subscribe("witness", 0);
    other.start_publishing("witness", "", json!({}));
    other.message();
}

#[test]
fn an_expired_message_is_not_delivered_and_another_says_what_is_left() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut sleeper = Client::persistent(Dialect::PAHO_5, &broker, "sleeper");
    sleeper.subscribe("expiring", 1);
    sleeper.cut();
    let mut publisher = Client::connect(Dialect::MQTT_JS_5, &broker, "publisher");
    for (text, seconds) in [("long", 100), ("short", 1)] {
        let properties = json!({ "message_expiry": seconds });
        publisher.publish_with("expiring", text, json!({ "qos": 1, "properties": properties }));
    }
    let published = Instant::now();
    eventually("the end of a second", || (published.elapsed() > Duration::from_millis(1_200)).then_some(()));
    sleeper.connect_again(&broker, mq_tests::mqtt::lasting(Dialect::PAHO_5, "sleeper"));
    let message = sleeper.message();
    assert_eq!(message.text(), "long");
    let left = message.properties["message_expiry"].as_u64().expect("a number");
    assert!((60..100).contains(&left), "{left} seconds are left");
    sleeper.has_nothing();
    // Live, it is the whole time.
    sleeper.subscribe("live", 0);
    publisher.publish_with("live", "", json!({ "properties": { "message_expiry": 100 } }));
    let left = sleeper.message().properties["message_expiry"].as_u64().expect("a number");
    assert!((99..=100).contains(&left), "{left}");
}

#[test]
fn a_name_that_nobody_may_use_is_refused_and_the_connection_stays() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start_with(mq_tests::Daemon::builder().with(|config| config.mqtt.catch_all = false));
    broker.daemon().admin().create("known", mq_model::manifest::AddressType::Topic);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "five");
    let reasons = client.subscribe_with(json!([["unknown", { "qos": 1 }], ["known/#", { "qos": 1 }]]), None);
    assert!(REFUSALS.contains(&reasons[0]) && reasons[1] == 1, "{reasons:?}");
    assert_eq!(client.publish("unknown", "", 1), 0x90, "topic name invalid");
    client.publish("unknown", "", 0);
    // Paho goes on with a PUBREL when a PUBREC refuses.
    let mut other = Client::connect(Dialect::MQTT_JS_5, &broker, "js");
    assert_eq!(other.publish("unknown", "", 2), 0x90);
    assert_eq!(client.publish("known/a", "", 1), 0);
    assert_eq!(client.message().topic, "known/a");
    let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    let reasons = three.subscribe_with(json!([["unknown", {}]]), None);
    assert_eq!(reasons, [0x80]);
    three.subscribe("known/#", 1);
    // MQTT 3.1.1 has no way to refuse a publication but to close.
    three.start_publishing("unknown", "", json!({ "qos": 1 }));
    three.disconnected();
}

#[test]
fn a_client_without_a_name_is_given_one() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut names = std::collections::BTreeSet::new();
    for clean in [true, false, true] {
        let client = Client::connect_with(Dialect::PAHO_5, &broker, json!({ "clean": clean }));
        let name = client.granted("assigned_client_id").as_str().expect("a name").to_owned();
        assert!(!name.is_empty() && names.insert(name));
    }
    // MQTT 3.1.1: given one silently.
    let mut client = Client::connect_with(Dialect::PAHO_3, &broker, json!({}));
    client.has_nothing();
}
