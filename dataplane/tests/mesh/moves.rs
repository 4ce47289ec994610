//! Sessions of MQTT clients that go to other nodes while theirs is emptied.

use mq_model::manifest::AddressType;
use mq_mqtt::packet::SubscriptionOptions;
use mq_mqtt::{Qos, ReasonCode};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::mqtt_client::{Mqtt, Options};
use crate::support::{get, request, send_json, wait_for};

/// A fleet of three with the topic `t`, whose home is the third.
fn fleet() -> Fleet {
    let fleet = Fleet::of(3);
    fleet.create("t", AddressType::Topic);
    if fleet.home(0, "t") != "node-3" {
        let to = json!({ "to": "node-3" });
        let moved = send_json(fleet.node(0).http, "POST", "/api/v1/addresses/t/move-home", &to);
        assert_eq!(moved.status, 200, "{}", moved.text());
    }
    for node in 0..3 {
        wait_for("the topic to be where it is wanted", || {
            let status = get(fleet.node(node).http, "/api/v1/addresses/t").json()["status"].clone();
            (status["home"] == "node-3" && status["movingFrom"].is_null()).then_some(())
        });
    }
    fleet
}

fn lasting(client_id: &str) -> Options {
    Options::lasting(client_id, 3_600)
}

#[track_caller]
fn connect(fleet: &Fleet, node: usize, options: Options) -> Mqtt {
    Mqtt::connect(&fleet.node(node), 0, options)
}

#[track_caller]
fn publish(fleet: &Fleet, node: usize, topic: &str, payload: &str, qos: Qos) {
    let mut publisher = connect(fleet, node, Options::new("publisher"));
    assert!(!publisher.publish(topic, payload, qos).is_error());
    publisher.disconnect();
}

fn order(fleet: &Fleet, node: usize, order: &str) {
    let answer = request(fleet.node(node).http, "POST", &format!("/api/v1/node/{order}"), &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Drains a node until it has no session.
#[track_caller]
fn drain(fleet: &Fleet, node: usize) {
    order(fleet, node, "drain");
    wait_for("the sessions to be gone", || {
        let status = get(fleet.node(node).http, "/api/v1/node/drain").json();
        (status["sessions"] == 0).then_some(())
    });
}

/// The node where the session of a client is, as a node says.
fn home(fleet: &Fleet, node: usize, client_id: &str) -> String {
    let session = get(fleet.node(node).http, &format!("/api/v1/sessions/{client_id}")).json();
    session["node"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_session_leaves_a_node_that_is_drained_and_its_client_finds_it_anywhere() {
    let fleet = fleet();
    let mut away = connect(&fleet, 0, lasting("away"));
    assert_eq!(away.subscribe("t/#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    away.disconnect();
    let mut there = connect(&fleet, 0, lasting("there"));
    let options = SubscriptionOptions::new(Qos::ExactlyOnce);
    assert_eq!(there.subscribe_all(&[("t/+", options)], Some(7)), [ReasonCode::GrantedQos2]);
    for text in ["one", "two", "three"] {
        publish(&fleet, 1, "t/x", text, Qos::ExactlyOnce);
    }
    for text in ["one", "two", "three"] {
        assert_eq!(there.receive().text(), text);
    }
    drain(&fleet, 0);
    assert_eq!(there.sent_away(), ReasonCode::UseAnotherServer);
    publish(&fleet, 2, "t/x", "four", Qos::ExactlyOnce);
    for client in ["away", "there"] {
        for node in 0..3 {
            assert_ne!(home(&fleet, node, client), "node-1", "{client} in the eyes of {node}");
        }
    }
    // Also where it was: there is a way from there.
    let mut away = connect(&fleet, 0, lasting("away"));
    assert!(away.session_present());
    for text in ["one", "two", "three", "four"] {
        assert_eq!(away.receive().text(), text);
    }
    let mut there = connect(&fleet, 1, lasting("there"));
    assert!(there.session_present());
    let got = there.receive();
    assert_eq!((got.text(), got.identifiers()), ("four", vec![7]));
    assert_eq!(there.publish("t/y", "five", Qos::ExactlyOnce), ReasonCode::Success);
    assert_eq!((there.receive().text(), away.receive().text()), ("five", "five"));
}

#[test]
fn what_was_under_way_goes_on_where_the_session_has_moved() {
    let fleet = fleet();
    let mut client = connect(&fleet, 0, lasting("c"));
    client.subscribe("t/#", Qos::ExactlyOnce);
    client.acknowledges = false;
    publish(&fleet, 1, "t/x", "had", Qos::ExactlyOnce);
    let had = client.receive();
    client.acknowledge(&had, ReasonCode::Success);
    wait_for("the topic to know that the client has it", || {
        client.turn();
        let topic = get(fleet.node(0).http, "/api/v1/addresses/t").json();
        (topic["status"]["queue"]["messages"] == 0).then_some(())
    });
    for (text, qos) in [("0", Qos::AtLeastOnce), ("1", Qos::ExactlyOnce)] {
        publish(&fleet, 1, "t/x", text, qos);
    }
    let got = [client.receive(), client.receive()];
    let state = client.vanish();
    drain(&fleet, 0);

    let mut client = Mqtt::begin(fleet.node(1).mqtt_stream(), lasting("c").resuming(state));
    for before in &got {
        let again = client.receive();
        assert_eq!((again.text(), again.duplicate), (before.text(), true));
        assert_eq!(again.packet_id, before.packet_id);
    }
    assert!(client.session_present());
    publish(&fleet, 1, "t/x", "next", Qos::ExactlyOnce);
    assert_eq!(client.receive().text(), "next");
    wait_for("nothing to be left", || {
        client.turn();
        let session = get(fleet.node(2).http, "/api/v1/sessions/c").json();
        (session["inFlight"] == 0 && session["messages"] == 0).then_some(())
    });
}

#[test]
fn a_publication_of_qos_2_that_is_sent_again_after_the_move_arrives_once() {
    let fleet = fleet();
    let mut subscriber = connect(&fleet, 1, Options::new("subscriber"));
    subscriber.subscribe("t/#", Qos::ExactlyOnce);
    let client = connect(&fleet, 0, lasting("c"));
    let state = client.engine.session_state();
    drop(client.vanish());
    let mut client = Mqtt::begin(fleet.node(0).mqtt_stream(), lasting("c").resuming(state));
    client.until("its CONNACK", |client| client.connack.is_some());
    let payload = bytes::Bytes::from_static(b"once");
    let once = mq_mqtt::Outgoing { qos: Qos::ExactlyOnce, ..mq_mqtt::Outgoing::new("t/x", &payload) };
    let id = client.engine.publish(&once).unwrap().expect("it has an identifier");
    client.write();
    assert_eq!(subscriber.receive().text(), "once");
    wait_for("the node to have it", || {
        let session = get(fleet.node(0).http, "/api/v1/sessions/c").json();
        (session["unreleased"] == 1).then_some(())
    });
    // It has read nothing of that.
    let state = client.engine.session_state();
    drop(client);
    drain(&fleet, 0);

    let mut client = Mqtt::begin(fleet.node(2).mqtt_stream(), lasting("c").resuming(state));
    client.until("its CONNACK", |client| client.connack.is_some());
    assert!(client.session_present());
    client.engine.resend(id, &once).unwrap();
    client.write();
    client.until("the end of it", |client| client.engine.session_state().outgoing.is_empty());
    assert_eq!(client.publish("t/x", "next", Qos::ExactlyOnce), ReasonCode::Success);
    assert_eq!(subscriber.receive().text(), "next");
}

#[test]
fn a_will_that_waits_and_a_share_go_along_with_the_session() {
    let fleet = fleet();
    let mut watcher = connect(&fleet, 1, Options::new("watcher"));
    watcher.subscribe("t/will", Qos::AtLeastOnce);
    let mut member = connect(&fleet, 0, lasting("member").will("t/will", "gone", 2));
    assert_eq!(member.subscribe("$share/g/t/work", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    member.vanish();
    drain(&fleet, 0);
    publish(&fleet, 1, "t/work", "kept for the share", Qos::AtLeastOnce);
    assert_eq!(watcher.receive().text(), "gone");
    let mut member = connect(&fleet, 1, lasting("member"));
    assert!(member.session_present());
    assert_eq!(member.receive().text(), "kept for the share");
    member.disconnect();
    // Its claim ends with it, under the name that it was made by.
    connect(&fleet, 2, Options::new("member")).disconnect();
    wait_for("the share to end", || {
        let subscriptions = get(fleet.node(2).http, "/api/v1/subscriptions?topic=t").json();
        subscriptions["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn what_waits_for_a_session_in_a_topic_of_another_node_is_counted() {
    let fleet = fleet();
    let mut client = connect(&fleet, 0, lasting("c"));
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    for text in ["one", "two"] {
        publish(&fleet, 1, "t/x", text, Qos::AtLeastOnce);
    }
    for node in 0..3 {
        let session = get(fleet.node(node).http, "/api/v1/sessions/c").json();
        assert_eq!((&session["messages"], &session["node"]), (&json!(2), &json!("node-1")), "{session}");
    }
}

#[test]
fn a_will_whose_topic_is_out_of_reach_is_published_when_that_is_back() {
    let mut fleet = fleet();
    let mut watcher = connect(&fleet, 1, lasting("watcher"));
    watcher.subscribe("t/will", Qos::AtLeastOnce);
    watcher.disconnect();
    let client = connect(&fleet, 0, Options::new("c").will("t/will", "gone", 0));
    fleet.halt(2);
    wait_for("the home to be away", || (fleet.up(fleet.node(0)) == 2).then_some(()));
    client.vanish();
    fleet.resume(2);
    fleet.wait_until_whole();
    wait_for("the watcher to get the will", || {
        let mut watcher = connect(&fleet, 1, lasting("watcher"));
        assert!(watcher.session_present());
        watcher.sync();
        let session = get(fleet.node(1).http, "/api/v1/sessions/watcher").json();
        let is_there = session["messages"] == 1 || !watcher.received.is_empty();
        let got = is_there.then(|| watcher.receive().text().to_owned());
        watcher.disconnect();
        got.map(|text| assert_eq!(text, "gone"))
    });
}

#[test]
fn a_session_begins_elsewhere_while_the_node_is_drained() {
    let fleet = fleet();
    order(&fleet, 0, "drain");
    for (client_id, options) in
        [("a", lasting("a")), ("b", lasting("b").clean()), ("c", Options::v3("c", false))]
    {
        let client = connect(&fleet, 0, options);
        assert!(!client.session_present());
        let home = wait_for("the session to be known", || {
            Some(home(&fleet, 0, client_id)).filter(|home| !home.is_empty())
        });
        assert_ne!(home, "node-1", "{client_id}");
    }
}

#[test]
fn the_end_of_a_session_that_has_moved_does_not_reach_the_clients_next_one_where_it_began() {
    let fleet = fleet();
    let mut client = connect(&fleet, 0, lasting("c"));
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    drain(&fleet, 0);
    order(&fleet, 0, "undrain");
    order(&fleet, 0, "uncordon");
    publish(&fleet, 1, "t/x", "for the old one", Qos::AtLeastOnce);
    let mut client = connect(&fleet, 0, lasting("c").clean());
    assert!(!client.session_present());
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    assert_eq!(home(&fleet, 2, "c"), "node-1");
    publish(&fleet, 1, "t/x", "for the new one", Qos::AtLeastOnce);
    let mut client = connect(&fleet, 2, lasting("c"));
    assert!(client.session_present());
    assert_eq!(client.receive().text(), "for the new one");
}

#[test]
fn a_session_keeps_its_messages_when_its_first_node_is_gone_and_the_home_of_the_topic_restarts() {
    let mut fleet = fleet();
    let mut client = connect(&fleet, 0, lasting("c"));
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    drain(&fleet, 0);
    publish(&fleet, 1, "t/x", "kept", Qos::AtLeastOnce);
    fleet.halt(0);
    fleet.halt(2);
    fleet.resume(2);
    wait_for("the home to be back", || (fleet.up(fleet.node(1)) == 2).then_some(()));
    wait_for("the client to get what was kept", || {
        let client = Mqtt::try_connect(&fleet.node(2), 0, lasting("c"));
        let mut client = (client.connack().reason == ReasonCode::Success).then_some(client)?;
        assert!(client.session_present());
        assert_eq!(client.receive().text(), "kept");
        Some(())
    });
}

#[test]
fn sessions_that_move_are_on_one_node_each_whatever_restarts_meanwhile() {
    const CLIENTS: usize = 60;
    let mut fleet = fleet();
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("client-{number:02}")).collect();
    for name in &names {
        let mut client = connect(&fleet, 0, lasting(name));
        client.subscribe("t/#", Qos::ExactlyOnce);
        client.disconnect();
    }
    publish(&fleet, 2, "t/x", "first", Qos::ExactlyOnce);
    for round in 0..4 {
        let node = round % 2;
        order(&fleet, node, "drain");
        let halted = [1, 0, 0, 1][round];
        fleet.halt(halted);
        publish(&fleet, 2, "t/x", &format!("round {round}"), Qos::ExactlyOnce);
        fleet.resume(halted);
        if halted == 0 {
            // The other knows where the first one listened before.
            fleet.halt(1);
            fleet.resume(1);
            fleet.halt(2);
            fleet.resume(2);
        }
        fleet.wait_until_whole();
        drain(&fleet, node);
        order(&fleet, node, "undrain");
        order(&fleet, node, "uncordon");
        for other in (0..2).filter(|other| *other != node) {
            order(&fleet, other, "undrain");
            order(&fleet, other, "uncordon");
        }
    }
    let listed: Value = get(fleet.node(0).http, "/api/v1/sessions?limit=1000&prefix=client-").json();
    let mut listed: Vec<&str> =
        listed["items"].as_array().unwrap().iter().filter_map(|item| item["client"].as_str()).collect();
    listed.sort_unstable();
    assert_eq!(listed, names, "each once");
    for (number, name) in names.iter().enumerate() {
        let mut client = connect(&fleet, number % 3, lasting(name));
        assert!(client.session_present(), "{name}");
        assert_eq!(client.receive().text(), "first");
        for round in 0..4 {
            assert_eq!(client.receive().text(), format!("round {round}"), "{name}");
        }
        client.sync();
        assert!(client.received.is_empty(), "{name}");
    }
}
