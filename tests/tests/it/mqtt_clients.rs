//! More clients of others, each with what it does in its own words: the programs of mosquitto, aiomqtt,
//! rumqttc; and the other ways to the daemon: WebSocket, and a proxy.

use std::process::Command;
use std::time::{Duration, Instant};

use mq_model::config::Where;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference, lasting, mosquitto_client};
use mq_tests::raw_mqtt::{RawMqtt, connect_5};
use mq_tests::{Daemon, Running, eventually};
use serde_json::json;

/// A program of mosquitto's, on its way to the broker.
fn program(name: &str, broker: &Broker, arguments: &[&str]) -> Option<Command> {
    let mut command = mosquitto_client(name)?;
    let server = broker.server();
    command.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string()]).args(arguments);
    Some(command)
}

/// Waits until the daemon knows a client.
fn is_connected(broker: &Broker, client: &str) {
    if !is_reference() {
        broker.daemon().admin().connection_of(client);
    }
}

#[test]
fn mosquitto_pub_and_sub_exchange_messages_of_every_qos_in_both_versions() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for version in ["5", "311"] {
        for qos in ["0", "1", "2"] {
            // A session of its own, in which messages wait: so it does not matter who is first.
            let session = ["-V", version, "-q", qos, "-t", "sensors/#", "-i", "subscriber", "-c"];
            let lasting: &[&str] = if version == "5" { &["-x", "100"] } else { &[] };
            let Some(mut first) = program("mosquitto_sub", &broker, &[&session[..], lasting].concat()) else {
                return;
            };
            first.arg("-E");
            Running::start(first, "").finish().succeeds();
            let count = ["-C", "3", "-v"];
            let subscriber = (qos == "0").then(|| {
                let mut command =
                    program("mosquitto_sub", &broker, &[&session[..], lasting, &count].concat())
                        .expect("there");
                command.env("LANG", "C");
                let running = Running::start(command, "");
                is_connected(&broker, "subscriber");
                // Its subscription is there already.
                running
            });
            let publish = ["-V", version, "-q", qos, "-t", "sensors/kitchen", "-l"];
            let command = program("mosquitto_pub", &broker, &publish).expect("there");
            Running::start(command, "one\ntwo\nthree\n").finish().succeeds();
            let subscriber = subscriber.unwrap_or_else(|| {
                let arguments = [&session[..], lasting, &count].concat();
                Running::start(program("mosquitto_sub", &broker, &arguments).expect("there"), "")
            });
            let finished = subscriber.finish().succeeds();
            let expected = ["sensors/kitchen one", "sensors/kitchen two", "sensors/kitchen three"];
            assert_eq!(finished.lines(), expected, "version {version}, QoS {qos}");
        }
    }
}

#[test]
fn mosquitto_rr_asks_and_a_service_answers() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut service = Client::connect(Dialect::PAHO_5, &broker, "service");
    service.subscribe("time", 1);
    let arguments = ["-V", "5", "-q", "1", "-t", "time", "-e", "answers/rr", "-m", "now?"];
    let Some(command) = program("mosquitto_rr", &broker, &arguments) else { return };
    let asking = Running::start(command, "");
    let request = service.message();
    assert_eq!(request.text(), "now?");
    let to = request.properties["response_topic"].as_str().expect("a topic").to_owned();
    assert_eq!(to, "answers/rr");
    let properties = match request.properties.get("correlation_data") {
        Some(data) => json!({ "correlation_data": data }),
        None => json!({}),
    };
    service.publish_with(&to, "soon", json!({ "qos": 1, "properties": properties }));
    assert_eq!(asking.finish().succeeds().lines(), ["soon"]);
}

#[test]
fn mosquitto_sub_sees_retained_messages_and_their_properties() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let publish = [
        "-V",
        "5",
        "-q",
        "1",
        "-r",
        "-t",
        "kept",
        "-m",
        "text",
        "-D",
        "publish",
        "content-type",
        "text/plain",
        "-D",
        "publish",
        "user-property",
        "b",
        "2",
        "-D",
        "publish",
        "user-property",
        "a",
        "1",
    ];
    let Some(command) = program("mosquitto_pub", &broker, &publish) else { return };
    Running::start(command, "").finish().succeeds();
    let subscribe = ["-V", "5", "-q", "1", "-t", "kept", "-C", "1", "-F", "%t %p %q %r %C %P"];
    let command = program("mosquitto_sub", &broker, &subscribe).expect("there");
    let finished = Running::start(command, "").finish().succeeds();
    assert_eq!(finished.lines(), ["kept text 1 1 text/plain b:2 a:1"]);
}

#[test]
fn aiomqtt_exchanges_messages_of_every_qos_in_both_versions() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut command = Library::Paho.program("exchange.py");
    let server = broker.server();
    command.args([server.ip().to_string(), server.port().to_string()]);
    let finished = Running::start(command, "").finish().succeeds();
    let lines = finished.lines();
    assert_eq!(lines.len(), 6, "{finished:?}");
    assert!(lines.iter().all(|line| line.ends_with(": 0 1 2")), "{finished:?}");
}

#[test]
fn rumqttc_exchanges_messages_of_every_qos_in_version_3() {
    use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

    let broker = Broker::start();
    let server = broker.server();
    let mut options = MqttOptions::new("rumqttc", server.ip().to_string(), server.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 100);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.subscribe("rust/#", qos).expect("the queue has room");
        for number in 0..10 {
            client.publish(format!("rust/{number}"), qos, false, vec![number]).expect("the queue has room");
        }
        let mut expected = 0;
        let deadline = Instant::now() + mq_tests::PATIENCE;
        while expected < 10 {
            let event = connection.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let event = event.expect("it comes in time").expect("the connection works");
            if let Event::Incoming(Packet::Publish(publish)) = event {
                assert_eq!((publish.qos, publish.payload[..].to_vec()), (qos, vec![expected]));
                expected += 1;
            }
        }
    }
}

#[test]
fn rumqttc_exchanges_messages_of_every_qos_in_version_5() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PublishProperties};
    use rumqttc::v5::{Client, Event, MqttOptions};

    let broker = Broker::start();
    let server = broker.server();
    let mut options = MqttOptions::new("rumqttc", server.ip().to_string(), server.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 100);
    let pairs = vec![("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())];
    let properties = PublishProperties { user_properties: pairs.clone(), ..PublishProperties::default() };
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.subscribe("rust/#", qos).expect("the queue has room");
        for number in 0..10 {
            let topic = format!("rust/{number}");
            let sent = client.publish_with_properties(topic, qos, false, vec![number], properties.clone());
            sent.expect("the queue has room");
        }
        let mut expected = 0;
        let deadline = Instant::now() + mq_tests::PATIENCE;
        while expected < 10 {
            let event = connection.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let event = event.expect("it comes in time").expect("the connection works");
            if let Event::Incoming(Packet::Publish(publish)) = event {
                assert_eq!((publish.qos, publish.payload[..].to_vec()), (qos, vec![expected]));
                assert_eq!(publish.properties.expect("it has some").user_properties, pairs);
                expected += 1;
            }
        }
    }
}

#[test]
fn over_websocket_everything_is_as_over_tcp() {
    if is_skipped() {
        return;
    }
    let mut broker = Broker::start();
    for dialect in Dialect::ALL {
        let websocket = |mut options: serde_json::Value| {
            options["websocket"] = json!(true);
            options
        };
        let mut client = Client::connect_with(dialect, &broker, websocket(lasting(dialect, "web")));
        let mut other = Client::connect(Dialect::PAHO_5, &broker, "tcp");
        for qos in 0..=2 {
            client.subscribe("web/#", qos);
            other.publish("web/in", "over TCP", qos);
            assert_eq!(client.text(), "over TCP");
            client.publish("web/out", "over WebSocket", qos);
            let message = client.message();
            assert_eq!((message.text().as_str(), message.qos), ("over WebSocket", u64::from(qos)));
        }
        // More than one frame of either side.
        let large = "0123456789abcdef".repeat(20_000);
        client.start_publishing("web/large", "", json!({ "payload": large, "qos": 1 }));
        assert_eq!(client.published(), 0);
        assert!(client.message().payload == mq_tests::mqtt::bytes(&large));
        // The session does not care which way its client comes.
        client.cut();
        other.publish("web/later", "waited", 1);
        if dialect == Dialect::PAHO_5 {
            broker = broker.crash_and_restart();
        }
        client.connect_again(&broker, lasting(dialect, "web"));
        assert!(client.session_present());
        assert_eq!(client.text(), "waited");
        client.disconnect();
        Client::connect(dialect, &broker, "web").disconnect();
    }
}

#[test]
fn behind_a_proxy_the_address_is_that_of_the_client() {
    let daemon = Daemon::builder()
        .with(|config| {
            config.listeners.mqtt.proxy_protocol = true;
            // Behind a proxy nobody is on this machine.
            config.authentication.anonymous = Where::Everywhere;
        })
        .start();
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v2 = |command: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&signature[..], &[0x20 | command, 0x11], &length, body].concat()
    };
    let v4 = [192, 0, 2, 8, 127, 0, 0, 1, 0x04, 0xd2, 0x07, 0x5b];
    for (name, header, expected) in [
        ("one", b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 1883\r\n".to_vec(), Some("192.0.2.7:1234")),
        ("six", b"PROXY TCP6 2001:db8::7 ::1 1234 1883\r\n".to_vec(), Some("[2001:db8::7]:1234")),
        ("two", v2(1, &v4), Some("192.0.2.8:1234")),
        // With a TLV behind the addresses, which is passed over.
        ("tlv", v2(1, &[&v4[..], &[4, 0, 2, 9, 9]].concat()), Some("192.0.2.8:1234")),
        // The proxy itself, to see whether anybody is there: as if there were no header.
        ("local", [&signature[..], &[0x20, 0, 0, 0]].concat(), None),
        ("unknown", b"PROXY UNKNOWN\r\n".to_vec(), None),
    ] {
        for at_once in [true, false] {
            let mut client = RawMqtt::open(daemon.mqtt());
            let bytes = [&header[..], &connect_5(name, "")].concat();
            if at_once {
                client.send(&bytes);
            } else {
                for byte in &bytes {
                    client.send(&[*byte]);
                }
            }
            client.expect(0x20);
            let connection = daemon.admin().connection_of(name);
            match expected {
                Some(expected) => assert_eq!(connection.peer.to_string(), expected, "{name}"),
                None => assert!(connection.peer.to_string().starts_with("127.0.0.1:"), "{connection:?}"),
            }
            client.ping();
            drop(client);
            eventually("its end", || daemon.admin().connections().is_empty().then_some(()));
        }
    }
    // Without one, or with one that is none, nobody is let in.
    for header in
        [&b""[..], b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 300.0.2.7 127.0.0.1 1 2\r\n", &[b'P'; 200]]
    {
        let mut client = RawMqtt::open(daemon.mqtt());
        client.send(&[header, &connect_5("no", "")].concat());
        client.expect_end();
    }
}
