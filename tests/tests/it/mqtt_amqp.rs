//! MQTT and AMQP on the same addresses, with clients of others on both sides.

use mq_model::manifest::{Address, AddressSpec, AddressType};
use mq_tests::eventually;
use mq_tests::foreign::{Library, Peer, is_skipped};
use mq_tests::mqtt::{Broker, Client, Dialect, bytes, lasting};
use serde_json::{Value, json};

fn node() -> Broker {
    Broker::Mqd(Box::new(mq_tests::Daemon::start()))
}

fn proton(broker: &Broker) -> Peer {
    Peer::connect(Library::Proton, broker.daemon())
}

/// Sends a message and expects it accepted.
#[track_caller]
fn send(peer: &mut Peer, link: &str, options: Value) {
    peer.send_with(link, options);
    let settled = peer.settled(link);
    assert_eq!(settled["state"], "accepted", "{settled}");
}

#[test]
fn every_field_of_a_publication_has_its_place_in_amqp() {
    if is_skipped() {
        return;
    }
    let broker = node();
    let mut receiver = proton(&broker);
    receiver.receiver("r", "cross/#", json!({ "credit": 10 }));
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    let properties = json!({
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers/of/publisher",
        "correlation_data": "00ff10",
        "message_expiry": 100,
        "user_properties": [["b", "2"], ["a", "1"], ["b", "3"], ["gr\u{fc}\u{df}e", "\u{1f600}"]],
    });
    for qos in 0..=2 {
        let options = json!({ "qos": qos, "retain": qos == 1, "properties": properties });
        assert_eq!(client.publish_with("cross/a/b", "gr\u{fc}\u{df}e", options), 0);
        let message = receiver.expect("message", "r");
        assert_eq!(message["to"], "cross/a/b", "{message}");
        assert_eq!(bytes(message["data"].as_str().expect("a data section")), "gr\u{fc}\u{df}e".as_bytes());
        assert_eq!(message["durable"], qos > 0);
        assert_eq!(message["content_type"], "text/plain");
        assert_eq!(message["reply_to"], "answers/of/publisher");
        assert_eq!(message["correlation_id"], json!({ "binary": "00ff10" }));
        let ttl = message["ttl_ms"].as_u64().expect("a number");
        assert!((99_000..=100_000).contains(&ttl), "{ttl}");
        assert!(message["expiry_time"].as_f64().is_some_and(|time| time > 1.7e9), "{message}");
        assert_eq!(message["application"], json!({ "b": "2", "a": "1", "gr\u{fc}\u{df}e": "\u{1f600}" }));
        let annotations = &message["annotations"];
        assert_eq!(annotations["x-opt-mqtt-qos"], json!(qos));
        assert_eq!(annotations["x-opt-mqtt-payload-format"], json!(1));
        let pairs = json!(["b", "2", "a", "1", "b", "3", "gr\u{fc}\u{df}e", "\u{1f600}"]);
        assert_eq!(annotations["x-opt-mqtt-user-properties"], pairs, "{annotations}");
    }
    // What is not said is not there.
    client.publish("cross/plain", "", 0);
    let message = receiver.expect("message", "r");
    for field in ["content_type", "reply_to", "correlation_id"] {
        assert_eq!(message[field], Value::Null, "{field}: {message}");
    }
    assert_eq!((&message["ttl_ms"], &message["data"]), (&json!(0), &json!("")));
    let annotations = &message["annotations"];
    for name in ["x-opt-mqtt-payload-format", "x-opt-mqtt-user-properties"] {
        assert!(annotations.get(name).is_none(), "{annotations}");
    }
    // Neither is anything of a client of version 3.1.1.
    let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    three.publish("cross/three", "x", 1);
    let message = receiver.expect("message", "r");
    assert_eq!((&message["to"], &message["durable"]), (&json!("cross/three"), &json!(true)));
}

#[test]
fn every_field_of_an_amqp_message_has_its_place_in_a_publication() {
    if is_skipped() {
        return;
    }
    let broker = node();
    let mut five = Client::connect(Dialect::PAHO_5, &broker, "five");
    five.subscribe("cross/#", 2);
    let mut three = Client::connect(Dialect::MQTT_JS_3, &broker, "three");
    three.subscribe("cross/#", 2);
    let mut sender = proton(&broker);
    sender.sender("s", "cross/a");
    send(
        &mut sender,
        "s",
        json!({
            "data": "00ff10", "durable": true, "content_type": "application/x", "reply_to": "answers/here",
            "correlation_id": { "binary": "0102" }, "ttl_ms": 90_500,
            "properties": { "text": "t", "yes": true, "number": -7, "id": { "uuid": "12345678-9abc-def0-1234-56789abcdef0" } },
        }),
    );
    let message = five.message();
    assert_eq!(
        (message.topic.as_str(), message.payload.as_slice(), message.qos),
        ("cross/a", &[0, 0xff, 0x10][..], 1)
    );
    let properties = &message.properties;
    assert_eq!(properties["content_type"], "application/x");
    assert_eq!(properties["response_topic"], "answers/here");
    assert_eq!(properties["correlation_data"], "0102");
    let expiry = properties["message_expiry"].as_u64().expect("a number");
    assert!((90..=91).contains(&expiry), "{expiry}");
    let mut pairs: Vec<(String, String)> =
        serde_json::from_value(properties["user_properties"].clone()).expect("pairs");
    pairs.sort();
    let pairs: Vec<(&str, &str)> =
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(pairs[1..], [("number", "-7"), ("text", "t"), ("yes", "true")]);
    assert!(
        pairs[0].0 == "id" && pairs[0].1.replace('-', "") == "123456789abcdef0123456789abcdef0",
        "{pairs:?}"
    );
    assert_eq!(three.message().payload, [0, 0xff, 0x10]);

    for (correlation, expected) in [
        (json!("text"), "text".to_owned()),
        (json!({ "ulong": 77 }), "77".to_owned()),
        (
            json!({ "uuid": "12345678-9abc-def0-1234-56789abcdef0" }),
            "urn:uuid:12345678-9abc-def0-1234-56789abcdef0".to_owned(),
        ),
    ] {
        send(&mut sender, "s", json!({ "body": "b", "correlation_id": correlation }));
        let data = five.message().properties["correlation_data"].clone();
        assert_eq!(String::from_utf8(bytes(data.as_str().expect("digits"))).expect("a text"), expected);
        three.message();
    }

    // Bodies: a text says that it is one; what has no bytes of its own keeps its encoding.
    send(&mut sender, "s", json!({ "body": "gr\u{fc}\u{df}e" }));
    let message = five.message();
    assert_eq!((message.text().as_str(), message.qos), ("gr\u{fc}\u{df}e", 0));
    assert_eq!(message.properties["payload_format"], 1);
    assert_eq!(three.text(), "gr\u{fc}\u{df}e");
    send(&mut sender, "s", json!({ "value": { "binary": "00ff" } }));
    let message = five.message();
    assert_eq!(
        (message.payload.as_slice(), message.properties.get("payload_format")),
        (&[0, 0xff][..], None)
    );
    three.message();
    send(&mut sender, "s", json!({ "value": { "map": { "a": 1 } } }));
    let message = five.message();
    assert_eq!(message.properties["content_type"], "application/vnd.amqp");
    // A section of AMQP: a value, descriptor 0x77 (AMQP 3.2.8).
    assert_eq!(message.payload[..3], [0x00, 0x53, 0x77]);
    three.message();

    // The annotations say what MQTT alone has.
    for qos in 0..=2 {
        let annotations = json!({ "x-opt-mqtt-qos": { "ubyte": qos } });
        send(&mut sender, "s", json!({ "body": "b", "durable": qos > 0, "annotations": annotations }));
        assert_eq!((five.message().qos, three.message().qos), (qos, qos));
    }
}

#[test]
fn what_went_through_amqp_is_for_mqtt_what_it_was() {
    if is_skipped() {
        return;
    }
    let broker = node();
    let mut subscriber = Client::connect(Dialect::PAHO_5, &broker, "subscriber");
    subscriber.subscribe("back", 2);
    let mut peer = proton(&broker);
    peer.receiver("r", "there", json!({ "credit": 10 }));
    peer.sender("s", "back");
    let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    let properties = json!({
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": "00ff",
        "user_properties": [["b", "2"], ["a", "1"], ["b", "2"], ["b", "1"], ["", ""]],
    });
    for qos in 0..=2 {
        publisher.publish_with("there", "text", json!({ "qos": qos, "properties": properties }));
        let message = peer.expect("message", "r");
        // An application that forwards what it gets, byte for byte.
        send(&mut peer, "s", json!({ "encoded": message["encoded"] }));
        let message = subscriber.message();
        assert_eq!((message.text().as_str(), message.qos), ("text", qos));
        assert_eq!(message.properties, properties);
    }
}

#[test]
fn a_publication_to_a_queue_is_kept_before_it_is_acknowledged() {
    if is_skipped() {
        return;
    }
    let mut broker = node();
    broker.daemon().admin().create("jobs", AddressType::Queue);
    for (dialect, qos) in [(Dialect::PAHO_5, 1), (Dialect::MQTT_JS_3, 2)] {
        let mut client = Client::connect(dialect, &broker, "publisher");
        for number in 0..10 {
            assert_eq!(client.publish("jobs", &number.to_string(), qos), 0);
        }
        drop(client);
        broker = broker.crash_and_restart();
        let mut receiver = proton(&broker);
        receiver.receiver("r", "jobs", json!({ "credit": 20 }));
        for number in 0..10 {
            let message = receiver.expect("message", "r");
            assert_eq!(bytes(message["data"].as_str().expect("data")), number.to_string().as_bytes());
        }
        is_empty(&broker, "jobs");
    }
}

/// Waits until a queue holds nothing.
#[track_caller]
fn is_empty(broker: &Broker, queue: &str) {
    eventually("an empty queue", || {
        let address: Address = broker.daemon().admin().get(&format!("/addresses/{queue}"));
        let queue = address.status.and_then(|status| status.queue)?;
        (queue.messages == 0).then_some(())
    });
}

#[test]
fn subscribers_of_a_queue_compete_with_amqp_receivers_and_with_each_other() {
    if is_skipped() {
        return;
    }
    let broker = node();
    broker.daemon().admin().create("jobs", AddressType::Queue);
    let mut clients =
        [Dialect::PAHO_5, Dialect::MQTT_JS_3].map(|dialect| Client::connect(dialect, &broker, ""));
    for client in &mut clients {
        client.subscribe("jobs", 1);
    }
    let mut peer = proton(&broker);
    peer.receiver("r", "jobs", json!({ "credit": 100 }));
    peer.sender("s", "jobs");
    peer.send_with("s", json!({ "count": 30, "body": "{}", "durable": true }));
    for _ in 0..30 {
        assert_eq!(peer.settled("s")["state"], "accepted");
    }
    let mut numbers: Vec<u32> = Vec::new();
    is_empty(&broker, "jobs");
    for client in &mut clients {
        client.subscribe("end", 1);
        client.publish("end", "", 1);
        let before = numbers.len();
        loop {
            let message = client.message();
            if message.topic == "end" {
                break;
            }
            numbers.push(message.text().parse().expect("a number"));
        }
        assert!(numbers.len() > before, "a client got nothing");
        client.unsubscribe(&["end"]);
    }
    let by_amqp = peer.unexpected("message");
    assert!(!by_amqp.is_empty(), "the receiver got nothing");
    numbers.extend(
        by_amqp
            .iter()
            .map(|message| message["body"].as_str().expect("a text").parse::<u32>().expect("a number")),
    );
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=30).collect::<Vec<_>>());
}

#[test]
fn what_a_client_of_a_queue_did_not_acknowledge_goes_to_another() {
    if is_skipped() {
        return;
    }
    let broker = node();
    broker.daemon().admin().create("jobs", AddressType::Queue);
    let mut holder =
        Client::connect_with(Dialect::PAHO_5, &broker, json!({ "client_id": "holder", "hold": true }));
    holder.subscribe("jobs", 1);
    holder.publish("jobs", "work", 1);
    assert_eq!(holder.text(), "work");
    holder.cut();
    let mut other = Client::connect(Dialect::MQTT_JS_5, &broker, "other");
    other.subscribe("jobs", 1);
    assert_eq!(other.text(), "work");
    other.has_nothing();
}

#[test]
fn an_anycast_address_answers_with_what_the_consumer_says() {
    if is_skipped() {
        return;
    }
    let broker = node();
    broker.daemon().admin().create("direct", AddressType::Anycast);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    let publish = |client: &mut Client| {
        client.start_publishing("direct", "x", json!({ "qos": 1 }));
        client.acknowledged()
    };
    assert_eq!(publish(&mut client), 0x10, "nobody consumes");
    let mut receiver = proton(&broker);
    receiver.receiver("r", "direct", json!({ "credit": 10, "outcome": "none" }));
    for (outcome, is_refused) in [("accepted", false), ("rejected", true)] {
        client.start_publishing("direct", "x", json!({ "qos": 1 }));
        let message = receiver.expect("message", "r");
        let number = message["number"].clone();
        receiver.order(json!({ "do": "settle", "link": "r", "number": number, "outcome": outcome }));
        assert_eq!(client.acknowledged() >= 0x80, is_refused, "{outcome}");
    }
    drop(receiver);
    let mut subscriber = Client::connect(Dialect::MQTT_JS_3, &broker, "subscriber");
    subscriber.subscribe("direct", 1);
    assert_eq!(publish(&mut client), 0);
    assert_eq!(subscriber.text(), "x");
}

#[test]
fn a_multicast_address_reaches_everybody_of_both_protocols() {
    if is_skipped() {
        return;
    }
    let broker = node();
    broker.daemon().admin().create("news", AddressType::Multicast);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "client");
    client.subscribe("news", 1);
    let mut peer = proton(&broker);
    peer.receiver("r", "news", json!({ "credit": 10 }));
    peer.sender("s", "news");
    let mut other = Client::connect(Dialect::MQTT_JS_3, &broker, "other");
    other.subscribe("news", 0);
    other.publish("news", "of MQTT", 1);
    assert_eq!((client.text(), other.text()), ("of MQTT".to_owned(), "of MQTT".to_owned()));
    assert_eq!(peer.expect("message", "r")["data"], json!(mq_tests::mqtt::hexadecimal(b"of MQTT")));
    send(&mut peer, "s", json!({ "body": "of AMQP" }));
    assert_eq!((client.text(), other.text()), ("of AMQP".to_owned(), "of AMQP".to_owned()));
    assert_eq!(peer.body("r"), "of AMQP");
}

#[test]
fn an_amqp_client_retains_and_meets_what_is_retained() {
    if is_skipped() {
        return;
    }
    let broker = node();
    let mut peer = proton(&broker);
    peer.sender("s", "status/a");
    let annotations = json!({ "x-opt-mqtt-retain": true });
    send(&mut peer, "s", json!({ "data": "6f6e", "durable": true, "annotations": annotations }));
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "client");
    client.subscribe("status/#", 1);
    let message = client.message();
    assert_eq!((message.topic.as_str(), message.text().as_str(), message.retain), ("status/a", "on", true));
    // Whoever asks for it in AMQP gets it as well, and whoever does not, not.
    peer.receiver("plain", "status/#", json!({ "credit": 10 }));
    peer.receiver("asks", "status/#", json!({ "credit": 10, "capabilities": ["retained"] }));
    let message = peer.expect("message", "asks");
    assert_eq!(
        (&message["data"], &message["annotations"]["x-opt-mqtt-retain"]),
        (&json!("6f6e"), &json!(true))
    );
    client.publish("status/a", "live", 1);
    assert_eq!(bytes(peer.expect("message", "plain")["data"].as_str().expect("data")), b"live");
    assert_eq!(client.text(), "live");
    // An empty one ends it.
    send(&mut peer, "s", json!({ "data": "", "durable": true, "annotations": annotations }));
    assert_eq!(client.text(), "");
    client.subscribe("status/#", 1);
    client.has_nothing();
}

#[test]
fn requests_are_answered_across_the_protocols() {
    if is_skipped() {
        return;
    }
    let broker = node();
    // A service of MQTT, and a client of AMQP that waits at an address of its own.
    let mut service = Client::connect(Dialect::PAHO_5, &broker, "service");
    service.subscribe("time", 1);
    let mut peer = proton(&broker);
    let own = peer.dynamic_receiver("answers", 10);
    peer.sender("s", "time");
    peer.send_with("s", json!({ "body": "now?", "reply_to": own, "correlation_id": "7", "durable": true }));
    let request = service.message();
    let to = request.properties["response_topic"].as_str().expect("a topic").to_owned();
    let properties = json!({ "correlation_data": request.properties["correlation_data"] });
    assert_eq!(service.publish_with(&to, "soon", json!({ "qos": 1, "properties": properties })), 0);
    let answer = peer.expect("message", "answers");
    assert_eq!(bytes(answer["data"].as_str().expect("data")), b"soon");
    assert_eq!(answer["correlation_id"], "7", "of the type that it had: {answer}");
    // A client of MQTT, and a service of AMQP that answers to wherever it is told.
    let mut client = Client::connect(Dialect::MQTT_JS_5, &broker, "client");
    client.subscribe("answers/client", 1);
    peer.receiver("requests", "date", json!({ "credit": 10 }));
    peer.sender_with("anywhere", json!({}));
    let properties = json!({ "response_topic": "answers/client", "correlation_data": "0009" });
    client.publish_with("date", "today?", json!({ "qos": 1, "properties": properties }));
    let request = peer.expect("message", "requests");
    let answer =
        json!({ "body": "monday", "to": request["reply_to"], "correlation_id": request["correlation_id"] });
    send(&mut peer, "anywhere", answer);
    let answer = client.message();
    assert_eq!((answer.text().as_str(), &answer.properties["correlation_data"]), ("monday", &json!("0009")));
}

#[test]
fn what_amqp_sends_waits_for_the_session_of_a_client_that_is_away() {
    if is_skipped() {
        return;
    }
    let mut broker = node();
    let mut client = Client::persistent(Dialect::PAHO_5, &broker, "sleeper");
    client.subscribe("events/#", 1);
    client.disconnect();
    let mut peer = proton(&broker);
    peer.sender("s", "events/a");
    for number in 0..10 {
        send(&mut peer, "s", json!({ "body": number.to_string(), "durable": true }));
    }
    drop(peer);
    broker = broker.crash_and_restart();
    client.connect_again(&broker, lasting(Dialect::PAHO_5, "sleeper"));
    for number in 0..10 {
        assert_eq!(client.text(), number.to_string());
    }
    client.has_nothing();
}

#[test]
fn a_full_queue_refuses_a_publication_with_its_reason() {
    if is_skipped() {
        return;
    }
    let broker = node();
    let spec = json!({ "type": "queue", "limits": { "maxMessages": 3 }, "onFull": "reject" });
    let spec: AddressSpec = serde_json::from_value(spec).expect("the specification of a queue");
    broker.daemon().admin().create_with("short", spec);
    let mut client = Client::connect(Dialect::PAHO_5, &broker, "publisher");
    let reasons: Vec<u64> = (0..5).map(|_| client.publish("short", "x", 1)).collect();
    assert_eq!(reasons[..3], [0; 3]);
    // MQTT 3.4.2.1: 0x97, quota exceeded.
    assert_eq!(reasons[3..], [0x97; 2]);
}
