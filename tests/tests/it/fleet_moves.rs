//! A node is emptied and removed while clients of MQTT go on whose sessions it has.

use std::net::SocketAddr;
use std::time::Duration;

use mq_model::admin::{ClientSession, DrainState, NodeDrain, Page};
use mq_model::manifest::AddressType;
use mq_tests::admin::Admin;
use mq_tests::foreign::{Library, is_skipped};
use mq_tests::raw_mqtt::{Packet, RawMqtt, packet, string};
use mq_tests::remember::{Load, Plan, Table};
use mq_tests::{Daemon, Fleet, eventually};

/// Messages that go through at each sender before the node is emptied, and after it is gone.
const ENOUGH: usize = 300;

/// The node that goes.
const LEAVER: usize = 3;

#[test]
fn sessions_leave_a_node_that_is_emptied_and_nothing_is_lost_or_comes_twice() {
    if is_skipped() {
        return;
    }
    let mut fleet = Fleet::of(3).start();
    fleet.create(1, "sensors", AddressType::Topic);
    fleet.move_home("sensors", 1);
    let mut loads = [1, 2].map(|qos| (format!("MQTT with QoS {qos}"), load(&fleet, qos)));
    for (_, load) in &mut loads {
        load.expect_more(ENOUGH);
        load.breaks();
    }
    let admin = Admin::new(fleet.node(LEAVER).http());
    let drain = admin.request("POST", "/api/v1/node/drain", None);
    assert_eq!(drain.status, 200);
    eventually("the node to be empty", || {
        let drain: NodeDrain = admin.get("/node/drain");
        (drain.state == DrainState::Drained).then_some(())
    });
    fleet.terminate(LEAVER);
    for (_, load) in &loads {
        load.expect_more(ENOUGH);
    }
    let mut table = Table::of_faults("A node with MQTT sessions is emptied and removed");
    let mut all = Vec::new();
    for (words, load) in loads {
        let findings = load.end().settle();
        table.add(&words, Some(Duration::from_secs(1)), &findings);
        all.push((words, findings));
    }
    table.print();
    for (words, findings) in &all {
        assert!(findings.lost.is_empty(), "accepted and lost: {findings:#?}");
        if words.ends_with('2') {
            findings.are_good();
            assert_eq!(findings.repeated, 0, "{findings:#?}");
        }
    }
}

/// A publisher that is left alone, and subscribers of the node that goes.
fn load(fleet: &Fleet, qos: u8) -> Load {
    let all: Vec<SocketAddr> = fleet.nodes().map(|(_, node)| Daemon::mqtt(node)).collect();
    let topic = format!("sensors/{qos}");
    let from_leaver: Vec<SocketAddr> = all.iter().rev().copied().collect();
    let publisher = Plan::sender(Library::Paho, &format!("publisher-{qos}"), &all, &topic);
    let subscriber = |number: usize| {
        let name = format!("subscriber-{qos}-{number}");
        Plan::receiver(Library::Paho, &name, &from_leaver, &topic).qos(qos).start()
    };
    let subscribers = (0..3).map(subscriber).collect();
    Load::copied(vec![publisher.qos(qos).rate(100).start()], subscribers)
}

#[test]
fn a_session_that_has_moved_gets_its_messages_also_where_nobody_has_heard_yet_that_it_has_left() {
    let fleet = Fleet::of(3).with_proxies().start();
    fleet.create(1, "sensors", AddressType::Topic);
    fleet.move_home("sensors", 1);
    let (mut client, _) = connect(fleet.node(LEAVER).mqtt(), "client");
    client.send(&packet(0x82, &[&[0, 1][..], &string("sensors/#"), &[1]].concat()));
    assert_eq!(client.expect(0x90).body, [0, 1, 1]);
    // There is one node to go to, which the home hears of sooner than of the one that is left.
    order(&fleet, 1, "cordon");
    fleet.link(1, LEAVER).delay(Duration::from_secs(1));
    order(&fleet, LEAVER, "drain");
    eventually("the session to be gone", || (holds(&fleet, LEAVER).sessions == 0).then_some(()));
    let (mut client, is_present) = connect(fleet.node(2).mqtt(), "client");
    assert!(is_present);
    publish(&fleet, 2, "news");
    assert!(client.expect(0x32).body.ends_with(b"news"));
}

/// Clients that are away, whose sessions move.
const CLIENTS: usize = 100;

#[test]
fn every_session_is_on_one_node_whoever_is_killed_while_they_move() {
    let mut fleet = Fleet::of(3).start();
    fleet.create(1, "sensors", AddressType::Topic);
    fleet.move_home("sensors", 3);
    let names: Vec<String> = (0..CLIENTS).map(|number| format!("client-{number:03}")).collect();
    for name in &names {
        let (mut client, is_present) = connect(fleet.node(1).mqtt(), name);
        assert!(!is_present);
        client.send(&packet(0x82, &[&[0, 1][..], &string("sensors/#"), &[1]].concat()));
        assert_eq!(client.expect(0x90).body, [0, 1, 1]);
    }
    // They go to and fro between the two others.
    order(&fleet, 3, "cordon");
    let mut published = Vec::new();
    // The giver, and who is killed while it gives.
    for (round, (giver, killed)) in [(1, 2), (2, 1), (1, 1), (2, 2)].into_iter().enumerate() {
        let sessions = holds(&fleet, giver).sessions;
        assert_eq!(sessions, CLIENTS as u64);
        order(&fleet, giver, "drain");
        eventually("some sessions to have left", || (holds(&fleet, giver).sessions < sessions).then_some(()));
        fleet.kill(killed);
        let text = format!("round {round}");
        publish(&fleet, 3, &text);
        published.push(text);
        fleet.start_again(killed);
        fleet.wait_until_whole();
        order(&fleet, giver, "drain");
        eventually("the sessions to be gone", || (holds(&fleet, giver).sessions == 0).then_some(()));
        for number in [1, 2] {
            order(&fleet, number, "undrain");
            order(&fleet, number, "uncordon");
        }
    }
    let sessions: Page<ClientSession> =
        Admin::new(fleet.node(3).http()).get("/sessions?limit=1000&prefix=client-");
    let listed: Vec<&str> = sessions.items.iter().map(|session| &*session.client).collect();
    assert_eq!(listed, names, "each once");
    for (number, name) in names.iter().enumerate() {
        let (mut client, is_present) = connect(fleet.node(number % 3 + 1).mqtt(), name);
        assert!(is_present, "{name}");
        for text in &published {
            let Packet { body, .. } = client.expect(0x32);
            assert!(body.ends_with(text.as_bytes()), "{name} gets {}", body.escape_ascii());
        }
        client.ping();
    }
}

fn order(fleet: &Fleet, number: usize, order: &str) {
    let path = format!("/api/v1/node/{order}");
    assert_eq!(Admin::new(fleet.node(number).http()).request("POST", &path, None).status, 200);
}

fn holds(fleet: &Fleet, number: usize) -> NodeDrain {
    Admin::new(fleet.node(number).http()).get("/node/drain")
}

/// A client of version 3.1.1 whose session lasts, and whether there was one.
fn connect(server: SocketAddr, name: &str) -> (RawMqtt, bool) {
    let mut client = RawMqtt::open(server);
    client.send(&packet(0x10, &[&b"\0\x04MQTT\x04\0\0\0"[..], &string(name)].concat()));
    let answer = client.expect(0x20).body;
    assert_eq!(answer[1], 0, "{name} is refused");
    (client, answer[0] == 1)
}

fn publish(fleet: &Fleet, at: usize, text: &str) {
    let mut publisher = RawMqtt::connect_3(fleet.node(at).mqtt(), "publisher");
    publisher.send(&packet(0x32, &[&string("sensors/x")[..], &[0, 7], text.as_bytes()].concat()));
    assert_eq!(publisher.expect(0x40).body, [0, 7]);
}
