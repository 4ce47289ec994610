//! Clients of MQTT and of AMQP with each other: every field that has a place on both sides, requests and
//! replies, retained messages, what is kept for later.

use bytes::Bytes;
use mq_amqp::message::{Header, Message, MessageId, Properties};
use mq_amqp::performative::{DeliveryState, Role, Source, Tag};
use mq_amqp::value::{Symbol, Value};
use mq_amqp::{LinkKey, Outgoing, Terms};
use mq_model::manifest::AddressType;
use mq_mqtt::property::{self, PropertyIn, PropertyView, PropertyWriter};
use mq_mqtt::{Qos, ReasonCode};

use crate::client::{Client, anywhere, from, message, text};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{Node, Place};

/// Shards of the one who sends and of the one who receives.
const SHARDS: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// A client identifier that has its home on this shard.
fn named(prefix: &str, shard: usize) -> String {
    let home = |id: &String| usize::from(mq_core::home(id, 2).shard());
    (0..).map(|number| format!("{prefix}{number}")).find(|id| home(id) == shard).unwrap()
}

fn client(node: &Node, prefix: &str, shard: usize) -> Mqtt {
    Mqtt::connect(node, shard, Options::new(&named(prefix, shard)))
}

fn list(write: impl FnOnce(&mut PropertyWriter)) -> property::Properties {
    let mut writer = PropertyWriter::new(PropertyIn::Publish);
    write(&mut writer);
    writer.finish()
}

/// The next message, which is accepted.
#[track_caller]
fn receive(client: &mut Client, count: usize) -> Message {
    let received = client.receive(count);
    if !received.settled {
        client.accept(&received);
    }
    Message::decode(&Bytes::from(received.bytes)).unwrap()
}

fn annotation<'a>(message: &'a Message, name: &str) -> Option<&'a Value> {
    let found = message.message_annotations.iter().find(|(key, _)| *key == Value::Symbol(Symbol::from(name)));
    found.map(|(_, value)| value)
}

fn annotated(name: &str, value: impl Into<Value>, message: Message) -> Message {
    Message { message_annotations: vec![(Value::Symbol(Symbol::from(name)), value.into())], ..message }
}

fn durable(message: Message) -> Message {
    Message { header: Some(Header { durable: true, ..Header::default() }), ..message }
}

/// Terms of a consumer's link that begins with what its topic retains.
fn with_retained(address: &str) -> Terms {
    let source =
        Source { address: text(address), capabilities: vec![Symbol::from("retained")], ..Source::default() };
    Terms { source: Some(Box::new(source)), ..from(address) }
}

/// A consumer's link at an address that lives as long as it.
fn temporary(client: &mut Client) -> (LinkKey, String) {
    let source = Source { dynamic: true, ..Source::default() };
    let terms = Terms { source: Some(Box::new(source)), ..from("") };
    let link = client.try_attach("answers", Role::Receiver, terms).unwrap();
    client.grant(link, 10);
    let attach = client.links[&link].attach.as_ref().unwrap();
    let address = attach.source.as_ref().and_then(|source| source.address.clone()).unwrap();
    (link, address.as_str().to_owned())
}

fn accepted(client: &mut Client, number: u64) {
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
}

#[test]
fn a_publication_is_an_amqp_message_at_every_kind_of_address() {
    let properties = list(|writer| {
        writer.payload_format_indicator(true).unwrap();
        writer.message_expiry_interval(600).unwrap();
        writer.content_type("text/plain").unwrap();
        writer.response_topic("t/answers").unwrap();
        writer.correlation_data(b"\x00\xff").unwrap();
        for (name, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            writer.user_property(name, value).unwrap();
        }
    });
    for (publishes, consumes) in SHARDS {
        let node = Node::start();
        let mut publisher = client(&node, "p", publishes);
        for address in ["t/x", "q", "a", "m"] {
            let mut consumer = Client::connect(&node, consumes);
            consumer.consumer(address, 10);
            for (count, qos) in QOS.into_iter().enumerate() {
                let token = publisher.start(address, "21.5", qos, false, properties.view());
                publisher.write();
                let got = receive(&mut consumer, count + 1);
                publisher.until("an end", |client| {
                    qos == Qos::AtMostOnce || client.outcomes.get(&token) == Some(&ReasonCode::Success)
                });
                let header = got.header.clone().unwrap_or_default();
                assert_eq!(header.durable, qos != Qos::AtMostOnce);
                assert!(header.ttl.is_some_and(|ttl| (500_000..=600_000).contains(&ttl)), "{header:?}");
                assert_eq!(annotation(&got, "x-opt-mqtt-qos"), Some(&Value::UByte(qos.to_byte())));
                assert_eq!(annotation(&got, "x-opt-mqtt-payload-format"), Some(&Value::UByte(1)));
                assert!(annotation(&got, "x-opt-mqtt-user-properties").is_some());
                let fields = got.properties.clone().unwrap();
                assert_eq!(fields.to, text(address));
                assert_eq!(fields.reply_to, text("t/answers"));
                assert_eq!(fields.content_type, Some("text/plain".into()));
                assert_eq!(fields.correlation_id, Some(MessageId::Binary(b"\x00\xff"[..].into())));
                assert_eq!(got.application_properties, [("a".into(), "1".into()), ("b".into(), "2".into())]);
                assert_eq!(got.body, Message::data("21.5").body);
            }
            drop(consumer);
        }
    }
}

#[test]
fn an_amqp_message_is_a_publication_at_every_kind_of_address() {
    for (sends, subscribes) in SHARDS {
        let node = Node::start();
        let mut sender = Client::connect(&node, sends);
        for address in ["t/x", "q", "a", "m"] {
            let mut subscriber = client(&node, "s", subscribes);
            let filter = if address == "t/x" { "t/+" } else { address };
            assert_eq!(subscriber.subscribe(filter, Qos::ExactlyOnce), ReasonCode::GrantedQos2);
            let out = sender.producer(address);
            for (qos, is_durable) in [(Qos::AtMostOnce, false), (Qos::AtLeastOnce, true)] {
                let fields = Properties {
                    reply_to: text("t/answers"),
                    correlation_id: Some(MessageId::ULong(7)),
                    content_type: Some("text/plain".into()),
                    ..Properties::default()
                };
                let header = Header { durable: is_durable, ttl: Some(600_000), ..Header::default() };
                let sent = Message {
                    header: Some(header),
                    properties: Some(fields),
                    application_properties: vec![("n".into(), Value::Int(-1)), ("s".into(), "x".into())],
                    ..Message::value("grüße")
                };
                let number = sender.send(out, sent.to_bytes(), false);
                let got = subscriber.receive();
                accepted(&mut sender, number);
                assert_eq!((got.topic.as_str(), got.text(), got.qos), (address, "grüße", qos));
                let properties = got.properties.view();
                assert_eq!(properties.payload_format_indicator(), Some(true));
                assert!(properties.message_expiry_interval().is_some_and(|left| (500..=600).contains(&left)));
                assert_eq!(properties.content_type(), Some("text/plain"));
                assert_eq!(properties.response_topic(), Some("t/answers"));
                assert_eq!(properties.correlation_data(), Some(b"7".as_slice()));
                assert!(properties.user_properties().eq([("n", "-1"), ("s", "x")]));
            }
            let asked = annotated("x-opt-mqtt-qos", Value::UByte(2), durable(Message::data("twice no")));
            let number = sender.send(out, asked.to_bytes(), false);
            assert_eq!(subscriber.receive().qos, Qos::ExactlyOnce);
            accepted(&mut sender, number);
            subscriber.disconnect();
        }
    }
}

#[test]
fn a_session_that_was_away_hears_which_topic_an_amqp_message_went_to() {
    for (sends, subscribes) in SHARDS {
        let node = Node::start();
        let id = named("s", subscribes);
        let mut subscriber = Mqtt::connect(&node, subscribes, Options::lasting(&id, 600));
        subscriber.subscribe("t/#", Qos::AtLeastOnce);
        subscriber.disconnect();
        let mut sender = Client::connect(&node, sends);
        let plain = sender.producer("t/a");
        let number = sender.send(plain, durable(Message::data("1")).to_bytes(), false);
        accepted(&mut sender, number);
        let lie = Properties { to: text("t/b"), ..Properties::default() };
        let forged = annotated("x-opt-mqtt-topic", "t/c", durable(Message::data("2")));
        let forged = Message { properties: Some(lie), ..forged };
        let number = sender.send(plain, forged.to_bytes(), false);
        accepted(&mut sender, number);
        let relay = sender.try_attach("relay", Role::Sender, anywhere()).unwrap();
        let said = Properties { to: text("t/d/e"), ..Properties::default() };
        let said = Message { properties: Some(said), ..durable(Message::data("3")) };
        let number = sender.send(relay, said.to_bytes(), false);
        accepted(&mut sender, number);
        let number = sender.send(plain, Message::data("not kept").to_bytes(), false);
        accepted(&mut sender, number);
        let mut subscriber = Mqtt::connect(&node, subscribes, Options::lasting(&id, 600));
        assert!(subscriber.session_present());
        for (topic, body) in [("t/a", "1"), ("t/a", "2"), ("t/d/e", "3")] {
            let got = subscriber.receive();
            assert_eq!((got.topic.as_str(), got.text(), got.qos), (topic, body, Qos::AtLeastOnce));
        }
        subscriber.sync();
        assert_eq!(subscriber.received, []);
    }
}

#[test]
fn an_mqtt_request_is_answered_over_amqp() {
    for (requests, answers) in SHARDS {
        let node = Node::start();
        let mut responder = Client::connect(&node, answers);
        responder.consumer("a", 10);
        let relay = responder.try_attach("relay", Role::Sender, anywhere()).unwrap();
        let mut requester = client(&node, "r", requests);
        requester.subscribe("t/answers/7", Qos::AtLeastOnce);
        let properties = list(|writer| {
            writer.response_topic("t/answers/7").unwrap();
            writer.correlation_data(b"\xfe\x01").unwrap();
        });
        requester.start("a", "what?", Qos::AtLeastOnce, false, properties.view());
        requester.write();
        let request = receive(&mut responder, 1);
        let fields = request.properties.unwrap();
        // As a client of AMQP answers: to the address, with the id, and nothing known of MQTT.
        let answer = Message {
            properties: Some(Properties {
                to: fields.reply_to,
                correlation_id: fields.correlation_id,
                ..Properties::default()
            }),
            ..durable(Message::data("that"))
        };
        let number = responder.send(relay, answer.to_bytes(), false);
        accepted(&mut responder, number);
        let got = requester.receive();
        assert_eq!((got.topic.as_str(), got.text()), ("t/answers/7", "that"));
        assert_eq!(got.properties.view().correlation_data(), Some(b"\xfe\x01".as_slice()));
    }
}

#[test]
fn an_amqp_request_is_answered_over_mqtt_at_its_temporary_address() {
    for (requests, answers) in SHARDS {
        let node = Node::start();
        let mut responder = client(&node, "r", answers);
        responder.subscribe("t/requests", Qos::AtLeastOnce);
        let mut requester = Client::connect(&node, requests);
        let (_, address) = temporary(&mut requester);
        let out = requester.producer("t/requests");
        let uuid = [0x5a; 16];
        for (count, qos) in QOS.into_iter().enumerate() {
            for (half, id) in
                [MessageId::String("request 1".into()), MessageId::Uuid(uuid)].into_iter().enumerate()
            {
                let fields = Properties {
                    message_id: Some(id.clone()),
                    reply_to: text(&address),
                    ..Properties::default()
                };
                let request = Message { properties: Some(fields), ..Message::data("what?") };
                requester.send(out, request.to_bytes(), true);
                let got = responder.receive();
                // As a client of MQTT answers: to the response topic, with the correlation data.
                let topic = got.properties.view().response_topic().unwrap().to_owned();
                let data = got.properties.view().correlation_data().unwrap().to_vec();
                let answer = list(|writer| drop(writer.correlation_data(&data)));
                let token = responder.start(&topic, "that", qos, false, answer.view());
                responder.write();
                let answer = receive(&mut requester, 2 * count + half + 1);
                assert_eq!(answer.body, Message::data("that").body);
                assert_eq!(answer.properties.unwrap().correlation_id, Some(id));
                responder.until("an end", |client| {
                    qos == Qos::AtMostOnce || client.outcomes.get(&token) == Some(&ReasonCode::Success)
                });
            }
        }
    }
}

#[test]
fn what_is_retained_over_amqp_is_retained_for_mqtt_and_an_empty_message_ends_it() {
    for name in ["x-opt-mqtt-retain", "x-opt-retain-message"] {
        for (sends, subscribes) in SHARDS {
            let node = Node::start();
            let mut sender = Client::connect(&node, sends);
            let out = sender.producer("t/a");
            let number = sender.send(out, annotated(name, true, Message::data("21")).to_bytes(), false);
            accepted(&mut sender, number);
            let mut first = client(&node, "first", subscribes);
            first.subscribe("t/+", Qos::AtLeastOnce);
            let got = first.receive();
            assert_eq!((got.topic.as_str(), got.text(), got.retain), ("t/a", "21", true));
            let number = sender.send(out, annotated(name, true, Message::data("")).to_bytes(), false);
            accepted(&mut sender, number);
            let got = first.receive();
            assert_eq!((got.text(), got.retain), ("", false));
            let mut second = client(&node, "second", subscribes);
            second.subscribe("t/+", Qos::AtLeastOnce);
            second.sync();
            assert_eq!(second.received, []);
        }
    }
}

#[test]
fn what_is_retained_over_mqtt_is_there_for_amqp_consumers_that_ask() {
    for (publishes, consumes) in SHARDS {
        let node = Node::start();
        let mut publisher = client(&node, "p", publishes);
        let none = PropertyView::default();
        publisher.publish_with("t/a", "21", Qos::AtLeastOnce, true, none);
        let mut consumer = Client::connect(&node, consumes);
        let plain = consumer.consumer("t/a", 10);
        let link = consumer.try_attach("asks", Role::Receiver, with_retained("t/#")).unwrap();
        consumer.grant(link, 10);
        let got = receive(&mut consumer, 1);
        assert_eq!((consumer.received[0].link, got.body.clone()), (link, Message::data("21").body));
        assert_eq!(annotation(&got, "x-opt-mqtt-retain"), Some(&Value::Boolean(true)));
        publisher.publish("t/a", "22", Qos::AtLeastOnce);
        for count in [2, 3] {
            let got = receive(&mut consumer, count);
            assert_eq!(got.body, Message::data("22").body);
            assert_eq!(annotation(&got, "x-opt-mqtt-retain"), Some(&Value::Boolean(false)));
        }
        assert!(consumer.received[1..].iter().any(|received| received.link == plain));
    }
}

#[test]
fn a_publication_that_fails_too_often_is_dead_and_says_why_to_both() {
    for (publishes, consumes) in SHARDS {
        let mut place = Place::new();
        place.add("dead", AddressType::Queue, |_| {});
        place.add("work", AddressType::Queue, |spec| {
            spec.dead_letter = Some("dead".to_owned());
            spec.max_deliveries = Some(2);
        });
        let node = Node::at(&place, |_| {});
        let mut publisher = client(&node, "p", publishes);
        let properties = list(|writer| drop(writer.user_property("a", "1")));
        for body in ["one", "two"] {
            publisher.publish_with("work", body, Qos::AtLeastOnce, false, properties.view());
        }
        let mut consumer = Client::connect(&node, consumes);
        let link = consumer.consumer("work", 1);
        let failed = DeliveryState::Modified {
            delivery_failed: Some(true),
            undeliverable_here: None,
            annotations: Some(Bytes::from_static(b"\xc1\x0f\x02\xa3\x0bx-opt-tried\x43")),
        };
        for count in 1..=4 {
            let received = consumer.receive(count);
            let message = Message::decode(&Bytes::from(received.bytes.clone())).unwrap();
            let tried = u32::try_from((count - 1) % 2).unwrap();
            assert_eq!(message.header.unwrap().delivery_count, tried);
            consumer.settle(&received, failed.clone(), true);
            consumer.grant(link, 1);
        }
        let mut reader = Client::connect(&node, consumes);
        let dead = reader.consumer("dead", 1);
        let got = receive(&mut reader, 1);
        assert_eq!(got.body, Message::data("one").body);
        let reason = |name: &str| annotation(&got, &format!("x-opt-dead-letter-{name}"));
        assert_eq!(reason("reason"), Some(&"max-deliveries".into()));
        assert_eq!(reason("source"), Some(&"work".into()));
        assert_eq!(reason("delivery-count"), Some(&Value::UInt(2)));
        assert_eq!(got.application_properties, [("a".into(), "1".into())]);
        reader.detach(dead);
        let mut subscriber = client(&node, "s", consumes);
        subscriber.subscribe("dead", Qos::AtLeastOnce);
        let got = subscriber.receive();
        assert_eq!((got.topic.as_str(), got.text()), ("dead", "two"));
        let users: Vec<_> = got.properties.view().user_properties().collect();
        let expected = [
            ("a", "1"),
            ("x-opt-dead-letter-reason", "max-deliveries"),
            ("x-opt-dead-letter-source", "work"),
            ("x-opt-dead-letter-delivery-count", "2"),
        ];
        assert_eq!(users, expected);
    }
}

#[test]
fn a_selector_sees_user_properties() {
    let node = Node::start();
    let mut publisher = client(&node, "p", 0);
    for color in ["blue", "red"] {
        let properties = list(|writer| drop(writer.user_property("color", color)));
        publisher.publish_with("q", color, Qos::AtLeastOnce, false, properties.view());
    }
    let selector = Value::described(
        Value::Symbol(Symbol::from("apache.org:selector-filter:string")),
        "color = 'red'".into(),
    );
    let source =
        Source { address: text("q"), filter: vec![("selector".into(), selector)], ..Source::default() };
    let mut consumer = Client::connect(&node, 1);
    let terms = Terms { source: Some(Box::new(source)), ..from("q") };
    let link = consumer.try_attach("selects", Role::Receiver, terms).unwrap();
    consumer.grant(link, 10);
    assert_eq!(receive(&mut consumer, 1).body, Message::data("red").body);
    consumer.sync();
    assert_eq!(consumer.received.len(), 1);
}

#[test]
fn large_messages_stay_whole_in_both_directions() {
    for (one, other) in SHARDS {
        let node = Node::start();
        let large = "0123456789".repeat(30_000);
        let mut mqtt = client(&node, "m", one);
        let mut amqp = Client::connect(&node, other);
        for address in ["t/x", "q", "a", "m"] {
            // One credit, so that it takes one message, whenever its detach is heard of.
            let link = amqp.consumer(address, 1);
            mqtt.start(address, &large, Qos::AtLeastOnce, false, PropertyView::default());
            mqtt.write();
            let count = amqp.received.len() + 1;
            assert_eq!(receive(&mut amqp, count).body, Message::data(large.clone()).body);
            amqp.detach(link);
            mqtt.subscribe(address, Qos::AtLeastOnce);
            let out = amqp.producer(address);
            let number = amqp.send(out, durable(Message::data(large.clone())).to_bytes(), false);
            assert_eq!(mqtt.receive().text(), large);
            accepted(&mut amqp, number);
            mqtt.unsubscribe(address);
        }
    }
}

#[test]
fn a_client_of_amqp_cannot_write_the_encoding_of_the_node() {
    let node = Node::start();
    let mut sender = Client::connect(&node, 0);
    let out = sender.producer("q");
    sender.until("credit", |client| client.credit(out) > 0);
    let outgoing = Outgoing {
        tag: Tag::from(1_u64),
        token: 77,
        settled: false,
        message_format: 0x4d51_5454,
        payload: Bytes::from_static(b"\x01\x08\0\0\0\0\0\0\0\0\0\x01t\0\0\0\x01\xff"),
        more: false,
    };
    sender.engine.send(out, outgoing).unwrap();
    let DeliveryState::Rejected(Some(error)) = sender.outcome(77) else { panic!("it was taken") };
    assert_eq!(error.condition.as_str(), "amqp:not-implemented");
    let number = sender.send(out, message("mine"), false);
    accepted(&mut sender, number);
}
