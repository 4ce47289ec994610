//! What outlasts a connection: sessions, what waits for their clients, and wills.

use std::time::{Duration, Instant};

use mq_tests::eventually;
use mq_tests::foreign::is_skipped;
use mq_tests::mqtt::{Broker, Client, Dialect, Message, hexadecimal, is_reference, lasting};
use mq_tests::raw_mqtt::{RawMqtt, hex, packet, string};
use serde_json::{Value, json};

#[test]
fn a_session_is_present_exactly_when_it_is() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in Dialect::ALL {
        let mut client = Client::persistent(dialect, &broker, "s");
        assert!(!client.session_present(), "{dialect:?}: a new one");
        client.cut();
        client.connect_again(&broker, lasting(dialect, "s"));
        assert!(client.session_present(), "{dialect:?}: after a cut");
        client.disconnect();
        client.connect_again(&broker, lasting(dialect, "s"));
        assert!(client.session_present(), "{dialect:?}: after a disconnect");
        client.disconnect();
        // A clean start ends it, and begins one that ends with its connection.
        client.connect_again(&broker, json!({ "client_id": "s", "clean": true }));
        assert!(!client.session_present(), "{dialect:?}: a clean start");
        client.cut();
        client.connect_again(&broker, lasting(dialect, "s"));
        assert!(!client.session_present(), "{dialect:?}: after a clean one");
        client.disconnect();
        let mut last = Client::connect_with(dialect, &broker, json!({ "client_id": "s", "clean": true }));
        last.disconnect();
    }
}

/// Takes messages with the numbers from 0 on, by turns of QoS 1 and 2, and returns them. Clients pass one of
/// QoS 2 on when its handshake is over, so the order that they see is that of each QoS.
fn in_order(client: &mut Client, count: u64) -> Vec<Message> {
    let messages: Vec<Message> = (0..count).map(|_| client.message()).collect();
    for qos in [1, 2] {
        let numbers: Vec<String> =
            messages.iter().filter(|message| message.qos == qos).map(Message::text).collect();
        let expected: Vec<String> =
            (0..count).filter(|number| 1 + number % 2 == qos).map(|number| number.to_string()).collect();
        assert_eq!(numbers, expected, "QoS {qos}");
    }
    messages
}

#[test]
fn subscriptions_and_messages_wait_for_their_client() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in Dialect::ALL {
        let mut client = Client::persistent(dialect, &broker, "sleeper");
        client.subscribe("offline/#", 2);
        client.subscribe("lossy/#", 0);
        client.cut();
        let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
        for number in 0..100_u8 {
            publisher.publish("offline/a", &number.to_string(), 1 + number % 2);
        }
        client.connect_again(&broker, lasting(dialect, "sleeper"));
        assert!(client.session_present());
        for message in in_order(&mut client, 100) {
            assert!(!message.dup, "it was never sent before");
        }
        publisher.publish("offline/live", "live", 1);
        publisher.publish("lossy/live", "live", 1);
        let mut topics = [client.message().topic, client.message().topic];
        topics.sort();
        assert_eq!(topics, ["lossy/live", "offline/live"]);
        client.disconnect();
        Client::connect(dialect, &broker, "sleeper").disconnect();
    }
}

#[test]
fn a_session_ends_when_its_time_is_over() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let connect = |seconds: u32| {
        let properties = json!({ "session_expiry": seconds });
        let options = json!({ "client_id": "brief", "clean": false, "properties": properties });
        Client::connect_with(Dialect::PAHO_5, &broker, options)
    };
    let mut client = connect(1);
    client.subscribe("a", 1);
    client.cut();
    let begun = Instant::now();
    eventually("the end of the session", || {
        // Whoever connects keeps it alive: only look when it may be over.
        (begun.elapsed() > Duration::from_millis(2_500)).then_some(())
    });
    let mut client = connect(1_000);
    assert!(!client.session_present());
    // A DISCONNECT may change it (MQTT 3.14.2.2.2).
    client.disconnect_with(json!({ "properties": { "session_expiry": 0 } }));
    let mut client = connect(1_000);
    assert!(!client.session_present());
    // The connect that resumes it says how long it lasts from then on.
    client.cut();
    let mut client = connect(0);
    assert!(client.session_present());
    client.cut();
    assert!(!connect(0).session_present());
}

#[test]
fn whoever_connects_with_the_same_name_takes_the_session_over() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for (first, second) in [(Dialect::PAHO_5, Dialect::MQTT_JS_5), (Dialect::MQTT_JS_5, Dialect::PAHO_3)] {
        let mut old = Client::persistent(first, &broker, "taken");
        old.subscribe("a", 1);
        let mut new = Client::persistent(second, &broker, "taken");
        assert!(new.session_present());
        let end = old.disconnected();
        // MQTT 3.1.4: 0x8E, session taken over.
        assert_eq!((&end["by_server"], &end["reason"]), (&json!(true), &json!(0x8e)), "{end}");
        new.publish("a", "to the new one", 1);
        assert_eq!(new.text(), "to the new one");
        // The late end of the old connection changes nothing.
        old.kill();
        new.publish("a", "still there", 1);
        assert_eq!(new.text(), "still there");
        new.disconnect();
        Client::connect(second, &broker, "taken").disconnect();
    }
}

#[test]
fn sessions_and_what_waits_survive_a_crash() {
    if is_skipped() {
        return;
    }
    let mut broker = Broker::start();
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_3] {
        let mut client = Client::persistent(dialect, &broker, "sleeper");
        if dialect.is_v5 {
            client.subscribe_with(json!([["offline/#", { "qos": 2, "retain_as_published": true }]]), Some(7));
        } else {
            client.subscribe("offline/#", 2);
        }
        client.subscribe("gone", 1);
        client.unsubscribe(&["gone"]);
        client.cut();
        let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
        for number in 0..20_u8 {
            assert_eq!(publisher.publish("offline/a", &number.to_string(), 1 + number % 2), 0);
        }
        publisher.publish("gone", "not for anybody", 1);
        drop(publisher);
        broker = broker.crash_and_restart();
        client.connect_again(&broker, lasting(dialect, "sleeper"));
        assert!(client.session_present(), "{dialect:?}");
        for message in in_order(&mut client, 20) {
            if dialect.is_v5 {
                assert_eq!(message.properties["subscription_identifier"], json!([7]));
            }
        }
        // Of QoS 2: that it was taken is on disk when the client hears so. All before it is then, too.
        client.publish("offline/live", "live", 2);
        assert_eq!(client.text(), "live");
        // What was acknowledged does not come again.
        client.disconnect();
        broker = broker.crash_and_restart();
        client.connect_again(&broker, lasting(dialect, "sleeper"));
        assert!(client.session_present());
        client.has_nothing();
        client.disconnect();
        Client::connect(dialect, &broker, "sleeper").disconnect();
    }
}

#[test]
fn the_time_of_a_session_goes_on_while_the_broker_is_down() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    let connect = |broker: &Broker, name: &str, seconds: u32| {
        let properties = json!({ "session_expiry": seconds });
        let options = json!({ "client_id": name, "clean": false, "properties": properties });
        Client::connect_with(Dialect::PAHO_5, broker, options)
    };
    connect(&broker, "brief", 1).cut();
    connect(&broker, "long", 1_000).cut();
    // Connected when the broker ends: its time begins then.
    let _connected = connect(&broker, "connected", 1_000);
    let begun = Instant::now();
    let broker = broker.crash_and_restart();
    eventually("a second and more", || (begun.elapsed() > Duration::from_millis(2_500)).then_some(()));
    assert!(!connect(&broker, "brief", 1).session_present());
    assert!(connect(&broker, "long", 1).session_present());
    assert!(connect(&broker, "connected", 1).session_present());
}

#[test]
fn what_was_not_acknowledged_comes_again_marked_and_in_order() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for qos in [1, 2] {
        let mut options = lasting(Dialect::PAHO_5, "forgetful");
        options["hold"] = json!(true);
        let mut client = Client::connect_with(Dialect::PAHO_5, &broker, options.clone());
        client.subscribe("again", qos);
        let mut publisher = Client::connect(Dialect::PAHO_5, &broker, "publisher");
        for number in 0..5 {
            publisher.publish("again", &number.to_string(), qos);
        }
        let held: Vec<_> = (0..5).map(|_| client.message()).collect();
        client.acknowledge(&held[0]);
        // The client's own message comes behind the acknowledgement.
        client.publish("elsewhere", "", 1);
        client.cut();
        // Another process: it has forgotten everything.
        let mut client = Client::connect_with(Dialect::PAHO_5, &broker, options.clone());
        assert!(client.session_present());
        if qos == 1 {
            for old in &held[1..] {
                let message = client.message();
                assert_eq!((message.text(), message.id, message.dup), (old.text(), old.id, true));
                client.acknowledge(&message);
            }
        }
        publisher.publish("again", "next", qos);
        let mut message = client.message();
        // Of QoS 2, Paho has passed on what was received; it acknowledges with PUBREC when it comes.
        while qos == 2 && message.text() != "next" {
            assert!(message.dup, "{message:?}");
            client.acknowledge(&message);
            message = client.message();
        }
        assert_eq!((message.text().as_str(), message.dup), ("next", false));
        client.acknowledge(&message);
        client.publish("elsewhere", "", 1);
        client.disconnect_with(json!({ "properties": { "session_expiry": 0 } }));
    }
}

#[test]
fn a_publication_that_is_resumed_counts_once() {
    if is_skipped() {
        return;
    }
    let mut broker = Broker::start();
    let mut subscriber = Client::persistent(Dialect::MQTT_JS_5, &broker, "subscriber");
    subscriber.subscribe("once", 2);
    let mut publisher = Client::persistent(Dialect::PAHO_5, &broker, "publisher");
    let resumed = |dialect, name| {
        let mut options = lasting(dialect, name);
        options["resume"] = json!(true);
        options
    };
    for is_crash in [false, true, false] {
        publisher.start_publishing("once", "", json!({ "qos": 2, "count": 200 }));
        // In the middle of it.
        publisher.published();
        if is_crash {
            broker = broker.crash_and_restart();
            publisher.disconnected();
            subscriber.disconnected();
            subscriber.connect_again(&broker, resumed(Dialect::MQTT_JS_5, "subscriber"));
        } else {
            publisher.cut();
        }
        publisher.connect_again(&broker, resumed(Dialect::PAHO_5, "publisher"));
        assert!(publisher.session_present());
        for _ in 1..200 {
            // A PUBREL that comes again may be of one that is over (MQTT 3.7.2.1).
            assert!([0, 0x92].contains(&publisher.published()));
        }
        for number in 1..=200 {
            assert_eq!(subscriber.text(), number.to_string(), "crash: {is_crash}");
        }
    }
    subscriber.has_nothing();
}

// ---- wills ---------------------------------------------------------------------------------------

fn will(topic: &str, payload: &str, qos: u8, properties: Value) -> Value {
    json!({ "topic": topic, "payload": hexadecimal(payload.as_bytes()), "qos": qos, "properties": properties })
}

fn with_will(dialect: Dialect, broker: &Broker, name: &str, will: Value) -> Client {
    Client::connect_with(dialect, broker, json!({ "client_id": name, "keep_alive": 1, "will": will }))
}

#[test]
fn a_will_is_sent_on_every_end_but_a_clean_one() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    for dialect in [Dialect::PAHO_5, Dialect::PAHO_3, Dialect::MQTT_JS_5, Dialect::MQTT_JS_3] {
        let mut witness = Client::connect(Dialect::PAHO_5, &broker, "witness");
        witness.subscribe("will/#", 2);
        let connect =
            |qos| with_will(dialect, &broker, "mortal", will("will/mortal", "gone", qos, json!({})));
        for qos in 0..=2 {
            connect(qos).cut();
            let message = witness.message();
            assert_eq!((message.text().as_str(), message.qos), ("gone", u64::from(qos)), "a cut");
        }
        connect(1).kill();
        assert_eq!(witness.text(), "gone", "the end of the process");
        // MQTT 3.1.4: another one of the same name takes over.
        let old = connect(1);
        let mut new = connect(1);
        assert_eq!(witness.text(), "gone", "a takeover");
        drop(old);
        if dialect.is_v5 {
            // MQTT 3.14.2.1: 0x04, disconnect with will.
            new.disconnect_with(json!({ "reason": 4 }));
            assert_eq!(witness.text(), "gone", "0x04");
        } else {
            new.cut();
            assert_eq!(witness.text(), "gone");
        }
        connect(1).disconnect();
        witness.has_nothing();
    }
}

#[test]
fn a_will_keeps_its_properties() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut witness = Client::connect(Dialect::PAHO_5, &broker, "witness");
    witness.subscribe("will/#", 2);
    let properties = json!({
        "payload_format": 1,
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": "00ff",
        "user_properties": [["b", "2"], ["a", "1"], ["b", "2"]],
    });
    with_will(Dialect::PAHO_5, &broker, "mortal", will("will/full", "text", 2, properties.clone())).cut();
    assert_eq!(witness.message().properties, properties);
    let expiring = json!({ "message_expiry": 100 });
    with_will(Dialect::PAHO_5, &broker, "mortal", will("will/full", "text", 1, expiring)).cut();
    let left = witness.message().properties["message_expiry"].as_u64().expect("a number");
    assert!((99..=100).contains(&left), "the time begins when it is published: {left}");
}

#[test]
fn a_will_waits_for_its_delay_or_the_end_of_the_session() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut witness = Client::connect(Dialect::PAHO_5, &broker, "witness");
    witness.subscribe("will/#", 1);
    let connect = |delay: u32, expiry: u32, clean: bool| {
        let will = will("will/late", "gone", 1, json!({ "will_delay": delay }));
        let properties = json!({ "session_expiry": expiry });
        let options =
            json!({ "client_id": "mortal", "clean": clean, "will": will, "properties": properties });
        Client::connect_with(Dialect::PAHO_5, &broker, options)
    };
    // It was back in time.
    let mut client = connect(1_000, 2_000, false);
    client.cut();
    let client = connect(1_000, 2_000, false);
    assert!(client.session_present());
    witness.has_nothing();
    // The session of before ended: so its will is sent at once (MQTT 3.1.3.2.2).
    let mut old = client;
    old.cut();
    let mut client = connect(1, 2_000, true);
    assert_eq!(witness.text(), "gone");
    for (delay, expiry) in [(1, 2_000), (1_000, 1)] {
        client.cut();
        let begun = Instant::now();
        assert_eq!(witness.text(), "gone");
        assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());
        client = connect(1_000, 1, false);
        if delay == 1_000 {
            assert_eq!((client.session_present(), expiry), (false, 1));
        }
    }
}

#[test]
fn a_will_is_sent_when_the_broker_that_had_it_was_killed() {
    if is_skipped() || is_reference() {
        return;
    }
    for dialect in [Dialect::PAHO_5, Dialect::MQTT_JS_3] {
        let mut broker = Broker::start();
        let mut witness = Client::persistent(Dialect::PAHO_5, &broker, "witness");
        // Of QoS 2: what it has got does not come again, whenever the broker is killed.
        witness.subscribe("will/#", 2);
        let mortal = with_will(dialect, &broker, "mortal", will("will/mortal", "gone", 2, json!({})));
        let mut clean = with_will(dialect, &broker, "clean", will("will/clean", "gone", 2, json!({})));
        clean.disconnect();
        // DISCONNECT has no answer. What is acknowledged after the end of its connection is on disk behind it.
        eventually("the end of a client", || {
            (broker.daemon().admin().connections().len() == 2).then_some(())
        });
        Client::persistent(Dialect::PAHO_5, &broker, "later").subscribe("later", 1);
        broker = broker.crash_and_restart();
        drop(mortal);
        witness.connect_again(&broker, lasting(Dialect::PAHO_5, "witness"));
        let message = witness.message();
        assert_eq!((message.topic.as_str(), message.text().as_str()), ("will/mortal", "gone"));
        // It was sent: not again.
        broker = broker.crash_and_restart();
        witness.connect_again(&broker, lasting(Dialect::PAHO_5, "witness"));
        witness.has_nothing();
    }
}

#[test]
fn a_will_is_sent_for_who_breaks_the_rules_falls_silent_or_is_thrown_out() {
    if is_skipped() {
        return;
    }
    let broker = Broker::start();
    let mut witness = Client::connect(Dialect::PAHO_5, &broker, "witness");
    witness.subscribe("will/#", 2);
    // A keep alive of a second, and a will of QoS 1.
    let connect = |level: u8| {
        let properties: &[u8] = if level == 5 { &[0] } else { &[] };
        let head = [&hex("00 04 'MQTT'")[..], &[level, 0x0e, 0, 1], properties].concat();
        let will = [properties, &string("will/raw"), &string("gone")].concat();
        let mut raw = RawMqtt::open(broker.server());
        raw.send(&packet(0x10, &[&head[..], &string("mortal"), &will].concat()));
        raw.expect(0x20);
        raw
    };
    for level in [5, 4] {
        let mut rude = connect(level);
        rude.send(&[0x00, 0x00]);
        assert_eq!(witness.text(), "gone", "malformed");
        let silent = connect(level);
        assert_eq!(witness.text(), "gone", "silent");
        drop(silent);
        let mut gone = connect(level);
        gone.shut();
        while let Ok(Some(_)) = gone.try_read() {}
        assert_eq!(witness.text(), "gone", "the end of its stream");
        if !is_reference() {
            let mut thrown_out = connect(level);
            let admin = broker.daemon().admin();
            let id = admin.connection_of("mortal").id;
            let answer = admin.request("DELETE", &format!("/api/v1/connections/{id}"), None);
            assert!((200..300).contains(&answer.status), "{answer:?}");
            if level == 5 {
                // MQTT 3.14.2.1: 0x98, administrative action.
                thrown_out.expect_disconnect(0x98);
            } else {
                thrown_out.expect_end();
            }
            assert_eq!(witness.text(), "gone", "thrown out");
        }
        // What a clean end takes with it.
        let mut polite = connect(level);
        polite.send(&[0xe0, 0x00]);
        polite.expect_end();
        witness.has_nothing();
    }
}

#[test]
fn a_daemon_that_is_stopped_keeps_sessions_and_sends_wills_when_it_is_back() {
    if is_skipped() || is_reference() {
        return;
    }
    let mut daemon = mq_tests::Daemon::start();
    let broker = Broker::Mqd(Box::new(daemon));
    let mut witness = Client::persistent(Dialect::PAHO_5, &broker, "witness");
    witness.subscribe("will/#", 2);
    let mut mortal =
        with_will(Dialect::MQTT_JS_5, &broker, "mortal", will("will/mortal", "gone", 2, json!({})));
    let Broker::Mqd(stopped) = broker else { panic!("it is the daemon") };
    daemon = *stopped;
    daemon.terminate();
    // MQTT 3.14.2.1: 0x8B, server shutting down.
    let end = mortal.disconnected();
    assert_eq!(end["reason"], 0x8b, "{end}");
    assert!(daemon.wait().success());
    let broker = Broker::Mqd(Box::new(daemon.start_again()));
    witness.disconnected();
    // Whether it came before the stop or after it: once.
    witness.connect_again(&broker, lasting(Dialect::PAHO_5, "witness"));
    assert!(witness.session_present());
    assert_eq!(witness.text(), "gone");
    witness.has_nothing();
}
