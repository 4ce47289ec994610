//! Sessions of MQTT clients that connect wherever they like.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Bytes, BytesMut};
use mq_model::manifest::AddressType;
use mq_mqtt::codec::encode;
use mq_mqtt::packet::{Connect, Packet, Text};
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Outgoing, PacketId, Qos, ReasonCode, SessionState, Version};
use serde_json::json;

use crate::fleet::Fleet;
use crate::mqtt_client::{Mqtt, Options};
use crate::node::Node;
use crate::support::{DEADLINE, get, send_json, wait_for};

/// A fleet with the topic `t`.
fn fleet(count: usize) -> Fleet {
    let fleet = Fleet::of(count);
    fleet.create("t", AddressType::Topic);
    fleet
}

fn lasting() -> Options {
    Options::lasting("c", 3_600)
}

/// A client of a node.
#[track_caller]
fn connect(node: Node, options: Options) -> Mqtt {
    Mqtt::connect(&node, 0, options)
}

#[track_caller]
fn publish(node: Node, topic: &str, payload: &str) {
    let mut publisher = connect(node, Options::new("publisher"));
    // That nobody is there to get it is no error.
    assert!(!publisher.publish(topic, payload, Qos::AtLeastOnce).is_error());
    publisher.disconnect();
}

/// The node on which the session of a client is, as a node says.
fn home(node: Node, client_id: &str) -> String {
    let session = get(node.http, &format!("/api/v1/sessions/{client_id}")).json();
    session["node"].as_str().unwrap_or_default().to_owned()
}

/// The connections of a client in the fleet, as a node says.
fn connections(node: Node, client_id: &str) -> usize {
    let connections = get(node.http, "/api/v1/connections").json();
    let items = connections["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter(|connection| connection["container"] == client_id).count()
}

#[test]
fn a_client_that_connects_elsewhere_finds_its_session_with_what_waited() {
    let fleet = fleet(3);
    let mut client = connect(fleet.node(0), lasting());
    assert_eq!(client.subscribe("t/#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    client.disconnect();
    publish(fleet.node(1), "t/1", "one");
    publish(fleet.node(2), "t/2", "two");
    for (node, text) in [(1, "three"), (2, "four"), (0, "five")] {
        let mut client = connect(fleet.node(node), lasting());
        assert!(client.session_present(), "on node {node}");
        if node == 1 {
            let mut got = [client.receive().text().to_owned(), client.receive().text().to_owned()];
            got.sort();
            assert_eq!(got, ["one", "two"]);
        }
        // Both ways, to itself.
        assert_eq!(client.publish("t/3", text, Qos::ExactlyOnce), ReasonCode::Success);
        assert_eq!(client.receive().text(), text);
        client.disconnect();
    }
}

#[test]
fn a_message_of_qos_2_goes_on_elsewhere_where_it_was_and_comes_once() {
    let fleet = fleet(2);
    let mut client = connect(fleet.node(0), lasting());
    client.subscribe("t/#", Qos::ExactlyOnce);
    client.acknowledges = false;
    let mut publisher = connect(fleet.node(0), Options::new("publisher"));
    assert_eq!(publisher.publish("t/x", "once", Qos::ExactlyOnce), ReasonCode::Success);
    let first = client.receive();
    let state = client.vanish();

    // It has not been acknowledged: it comes again, as what it was.
    let mut client = Mqtt::begin(fleet.node(1).mqtt_stream(), lasting().resuming(state));
    client.acknowledges = false;
    let again = client.receive();
    assert_eq!((again.text(), again.packet_id, again.duplicate), ("once", first.packet_id, true));
    client.acknowledge(&again, ReasonCode::Success);
    client.until("the release", |client| client.engine.session_state().incoming.is_empty());
    let state = client.vanish();

    // Now it has: it does not.
    let mut client = connect(fleet.node(0), lasting().resuming(state));
    assert!(client.session_present());
    client.sync();
    assert!(client.received.is_empty(), "{:?}", client.received);
    assert_eq!(publisher.publish("t/x", "next", Qos::ExactlyOnce), ReasonCode::Success);
    assert_eq!(client.receive().text(), "next");
}

#[test]
fn a_publication_of_qos_2_that_is_sent_again_elsewhere_arrives_once() {
    let fleet = fleet(2);
    let mut subscriber = connect(fleet.node(1), Options::new("subscriber"));
    subscriber.subscribe("t/#", Qos::ExactlyOnce);
    let mut state = SessionState::default();
    for round in 0..20 {
        let mut client = connect(fleet.node(round % 2), lasting().resuming(state));
        let text = Bytes::from(round.to_string());
        let under_way: Vec<PacketId> =
            client.engine.session_state().outgoing.iter().map(|one| one.packet_id).collect();
        for packet_id in &under_way {
            // What was not known to have arrived; of what is further the engine takes care itself.
            let text = Bytes::from((round - 1).to_string());
            let again = Outgoing { qos: Qos::ExactlyOnce, ..Outgoing::new("t/x", &text) };
            let _ = client.engine.resend(*packet_id, &again);
        }
        let outgoing = Outgoing { qos: Qos::ExactlyOnce, ..Outgoing::new("t/x", &text) };
        client.write();
        client.until("the one before", |client| client.engine.session_state().outgoing.is_empty());
        client.engine.publish(&outgoing).unwrap();
        client.write();
        // Gone before its end.
        state = client.vanish();
    }
    let mut got = Vec::new();
    // The last one may have been lost on its way; nobody sends it again.
    subscriber.until("all but the last", |subscriber| subscriber.received.len() >= 19);
    got.extend(subscriber.received.drain(..).map(|got| got.text().parse::<usize>().unwrap()));
    got.truncate(19);
    assert_eq!(got, (0..19).collect::<Vec<_>>());
}

#[test]
fn a_client_that_is_connected_is_taken_over_from_another_node() {
    let fleet = fleet(2);
    let mut first = connect(fleet.node(0), lasting());
    first.subscribe("t/#", Qos::AtLeastOnce);
    for round in 0..6 {
        let mut second = connect(fleet.node((round + 1) % 2), lasting());
        assert!(second.session_present());
        assert_eq!(first.sent_away(), ReasonCode::SessionTakenOver);
        publish(fleet.node(round % 2), "t/x", "to the second");
        assert_eq!(second.receive().text(), "to the second");
        first = second;
    }
}

#[test]
fn a_session_that_ends_with_its_connection_ends_when_its_client_connects_elsewhere() {
    let fleet = fleet(2);
    let mut first = connect(fleet.node(0), Options::new("c"));
    for round in 1..6 {
        let second = connect(fleet.node(round % 2), Options::new("c"));
        assert!(!second.session_present());
        assert_eq!(first.sent_away(), ReasonCode::SessionTakenOver, "round {round}");
        first = second;
    }
}

#[test]
fn a_clean_start_elsewhere_ends_the_session_and_its_connection() {
    let fleet = fleet(2);
    let mut first = connect(fleet.node(0), lasting());
    first.subscribe("t/#", Qos::AtLeastOnce);
    let second = connect(fleet.node(1), lasting().clean());
    assert!(!second.session_present());
    assert_eq!(first.sent_away(), ReasonCode::SessionTakenOver);
    publish(fleet.node(0), "t/x", "nobody's");
    second.disconnect();
    // The new one is where it began, and has no subscription.
    let mut third = connect(fleet.node(0), lasting());
    assert!(third.session_present());
    third.sync();
    assert!(third.received.is_empty());
    assert_eq!(home(fleet.node(0), "c"), "node-2");
    assert_eq!(connections(fleet.node(0), "c"), 1, "it is served in one place");
}

#[test]
fn a_session_on_a_node_that_is_away_is_refused_and_served_again_when_it_is_back() {
    let mut fleet = fleet(2);
    let mut client = connect(fleet.node(1), lasting());
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    publish(fleet.node(0), "t/x", "kept");
    fleet.halt(1);
    wait_for("the node to be away", || (fleet.up(fleet.node(0)) == 1).then_some(()));

    let client = Mqtt::try_connect(&fleet.node(0), 0, lasting());
    assert_eq!(client.connack().reason, ReasonCode::ServerUnavailable);
    let words = client.connack().properties.view().reason_string().unwrap_or_default().to_owned();
    assert!(words.contains("node-2"), "{words}");
    let old = Mqtt::try_connect(&fleet.node(0), 0, Options::v3("c", false));
    assert_eq!(old.connack().reason, ReasonCode::ServerUnavailable, "0x03 in 3.1.1");

    fleet.resume(1);
    fleet.wait_until_whole();
    let mut client = connect(fleet.node(0), lasting());
    assert!(client.session_present());
    assert_eq!(client.receive().text(), "kept");
}

#[test]
fn a_session_that_was_begun_anew_while_its_node_was_away_ends_when_that_is_back() {
    let mut fleet = fleet(2);
    let mut client = connect(fleet.node(1), lasting());
    client.subscribe("t/#", Qos::AtLeastOnce);
    client.disconnect();
    fleet.halt(1);
    let mut client = connect(fleet.node(0), lasting().clean());
    assert!(!client.session_present());
    fleet.resume(1);
    fleet.wait_until_whole();
    // The topic may be at home on the node that was away.
    wait_for("the subscription", || (!client.subscribe("t/new", Qos::AtLeastOnce).is_error()).then_some(()));
    client.disconnect();
    publish(fleet.node(0), "t/old", "not for the new one");
    publish(fleet.node(0), "t/new", "for the new one");
    let mut client = connect(fleet.node(1), lasting());
    assert!(client.session_present());
    assert_eq!(client.receive().text(), "for the new one");
    assert_eq!(home(fleet.node(1), "c"), "node-1");
}

#[test]
fn of_many_connections_to_two_nodes_at_the_same_time_one_stays() {
    let fleet = fleet(2);
    for round in 0..10 {
        let options = || if round % 2 == 0 { lasting() } else { Options::new("c") };
        let nodes = [fleet.node(0), fleet.node(1)];
        let clients: Vec<_> = (0..6)
            .map(|index| {
                let (node, options) = (nodes[index % 2], options());
                std::thread::spawn(move || Mqtt::begin(node.mqtt_stream(), options))
            })
            .collect();
        let mut clients: Vec<Mqtt> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        wait_for("one to stay", || {
            for client in &mut clients {
                if !client.has_ended {
                    client.turn();
                }
            }
            clients.retain(|client| !client.has_ended);
            let is_in = |client: &Mqtt| {
                client.connack.as_ref().is_some_and(|connack| connack.reason == ReasonCode::Success)
            };
            (clients.len() <= 1 && clients.iter().all(is_in)).then_some(())
        });
        // None stays when each was sent away because of another; the client would connect again.
        let mut last = match clients.pop() {
            Some(client) => client,
            None => connect(nodes[round % 2], options()),
        };
        last.sync();
        last.disconnect();
        wait_for("the connections to go", || (connections(nodes[0], "c") == 0).then_some(()));
    }
}

#[test]
fn much_passes_through_a_tunnel_both_ways_and_who_does_not_read_holds_nobody_up() {
    let fleet = fleet(2);
    for name in ["c", "lazy"] {
        connect(fleet.node(0), Options::lasting(name, 3_600)).disconnect();
    }
    let mut lazy = connect(fleet.node(1), Options::lasting("lazy", 3_600));
    assert!(lazy.session_present());
    lazy.subscribe("t/#", Qos::AtMostOnce);
    let mut client = connect(fleet.node(1), lasting());
    client.subscribe("t/#", Qos::AtLeastOnce);
    let text = "0123456789abcdef".repeat(16 << 10);
    for _ in 0..40 {
        assert_eq!(client.publish("t/x", &text, Qos::AtLeastOnce), ReasonCode::Success);
        assert!(client.receive().payload == text.as_bytes());
    }
    // It has taken nothing since, and gets what there was room for.
    assert!(lazy.receive().payload == text.as_bytes());
}

#[test]
fn a_will_fires_when_the_socket_of_a_client_breaks_on_another_node() {
    let fleet = fleet(2);
    connect(fleet.node(0), lasting()).disconnect();
    let mut watcher = connect(fleet.node(0), Options::new("watcher"));
    watcher.subscribe("t/will", Qos::AtLeastOnce);
    let client = connect(fleet.node(1), lasting().will("t/will", "gone", 0));
    assert!(client.session_present());
    client.vanish();
    assert_eq!(watcher.receive().text(), "gone");
}

#[test]
fn a_client_loses_its_connection_with_the_node_of_its_session_and_not_with_a_word_too_late() {
    let mut fleet = fleet(2);
    connect(fleet.node(1), lasting()).disconnect();
    let mut client = connect(fleet.node(0), lasting());
    assert!(client.session_present());
    fleet.halt(1);
    assert_eq!(client.sent_away(), ReasonCode::ServerShuttingDown);
}

#[test]
fn a_client_of_a_node_that_stops_is_told_so_by_the_node_of_its_session() {
    let mut fleet = fleet(2);
    connect(fleet.node(0), lasting()).disconnect();
    let mut client = connect(fleet.node(1), lasting());
    assert!(client.session_present());
    fleet.halt(1);
    assert_eq!(client.sent_away(), ReasonCode::ServerShuttingDown);
    // The session goes on.
    let client = connect(fleet.node(0), lasting());
    assert!(client.session_present());
}

#[test]
fn a_websocket_passes_through_a_tunnel_frames_and_all() {
    let fleet = fleet(2);
    let mut client = connect(fleet.node(0), Options::lasting("ws", 3_600));
    client.subscribe("t/#", Qos::AtMostOnce);
    client.disconnect();
    let node = fleet.node(1);
    let mut stream = TcpStream::connect(node.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!(
        "GET /mqtt HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: mqtt\r\n\r\n",
        node.http
    );
    let connect =
        Connect { client_id: Text::new("ws").unwrap(), version: Version::V3_1_1, ..Connect::default() };
    let mut packet = BytesMut::new();
    encode(
        &mut packet,
        &Packet::Connect(Box::new(Connect { clean_start: false, ..connect })),
        Version::V3_1_1,
    );
    let size = 0x80 | u8::try_from(packet.len()).unwrap();
    let ping = b"\x89\x84\0\0\0\0ping";
    stream.write_all(&[request.as_bytes(), &[0x82, size, 0, 0, 0, 0], &packet, ping].concat()).unwrap();
    let mut bytes = Vec::new();
    let mut read_until = |stream: &mut TcpStream, end: &[u8]| {
        while !bytes.windows(end.len()).any(|window| window == end) {
            let mut buffer = [0; 1_024];
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the end after {}", bytes.escape_ascii());
            bytes.extend_from_slice(&buffer[..count]);
        }
    };
    read_until(&mut stream, b"\x82\x04\x20\x02\x01\0");
    read_until(&mut stream, b"\x8a\x04ping");
    publish(fleet.node(1), "t/x", "through");
    read_until(&mut stream, b"through");
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    read_until(&mut stream, b"\x88\x02\x03\xe8");
}

#[test]
fn what_is_retained_is_seen_from_any_node() {
    let fleet = fleet(3);
    let mut publisher = connect(fleet.node(1), Options::new("publisher"));
    let kept = publisher.publish_with("t/r", "kept", Qos::AtLeastOnce, true, PropertyView::default());
    assert_eq!(kept, ReasonCode::Success);
    for node in 0..3 {
        let mut client = connect(fleet.node(node), Options::new("reader"));
        client.subscribe("t/+", Qos::AtLeastOnce);
        let got = client.receive();
        assert_eq!((got.text(), got.retain), ("kept", true), "on node {node}");
        client.disconnect();
    }
}

#[test]
fn the_members_of_a_share_are_on_any_node_and_get_each_message_once() {
    let fleet = fleet(3);
    let mut members: Vec<Mqtt> = (0..3)
        .map(|node| {
            let mut member = connect(fleet.node(node), Options::new(&format!("member-{node}")));
            member.subscribe("$share/g/t/#", Qos::AtLeastOnce);
            member
        })
        .collect();
    let mut publisher = connect(fleet.node(0), Options::new("publisher"));
    let count = 60;
    for number in 0..count {
        assert_eq!(publisher.publish("t/x", &number.to_string(), Qos::AtLeastOnce), ReasonCode::Success);
    }
    let mut got: Vec<usize> = Vec::new();
    wait_for("every message", || {
        for member in &mut members {
            member.turn();
            got.extend(member.received.drain(..).map(|got| got.text().parse::<usize>().unwrap()));
        }
        (got.len() >= count).then_some(())
    });
    got.sort_unstable();
    assert_eq!(got, (0..count).collect::<Vec<_>>());
}

#[test]
fn every_node_lists_the_sessions_of_all_with_their_node() {
    let fleet = fleet(2);
    connect(fleet.node(0), Options::lasting("a", 60)).disconnect();
    connect(fleet.node(1), Options::lasting("b", 60)).disconnect();
    for node in 0..2 {
        let sessions = get(fleet.node(node).http, "/api/v1/sessions").json();
        let items = sessions["items"].as_array().unwrap();
        let of = |item: &serde_json::Value| (item["client"].clone(), item["node"].clone());
        let listed: Vec<_> = items.iter().map(of).collect();
        assert_eq!(listed, [("a".into(), "node-1".into()), ("b".into(), "node-2".into())], "{sessions}");
    }
}

#[test]
fn a_session_is_its_user_s_whichever_node_somebody_else_asks_for_it() {
    let fleet = fleet(2);
    for name in ["ann", "bob"] {
        let user = json!({
            "user": {
                "apiVersion": "mq.dev/v1",
                "kind": "User",
                "metadata": { "name": name },
                "spec": { "grants": ["send:#", "recv:#"] },
            },
            "password": { "password": "pencil" },
        });
        // Answered when every node in reach has it.
        let answer = send_json(fleet.node(0).http, "POST", "/api/v1/users", &user);
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    let as_user = |name: &str| lasting().user(name, "pencil");
    let mut ann = connect(fleet.node(0), as_user("ann"));
    ann.subscribe("t/#", Qos::AtLeastOnce);
    for options in [as_user("bob"), as_user("bob").clean(), lasting(), lasting().clean()] {
        let foreign = Mqtt::try_connect(&fleet.node(1), 0, options);
        assert_eq!(foreign.connack().reason, ReasonCode::ClientIdentifierNotValid);
    }
    // Nobody has taken it over.
    ann.sync();
    ann.disconnect();
    let ann = connect(fleet.node(1), as_user("ann"));
    assert!(ann.session_present());
}
