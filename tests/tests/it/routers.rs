//! A node that only passes on: whatever its clients keep is on other nodes.

use std::net::SocketAddr;

use mq_model::admin::{DrainState, NodeDrain};
use mq_model::manifest::AddressType;
use mq_tests::admin::Admin;
use mq_tests::raw_mqtt::{RawMqtt, packet, string};
use mq_tests::{Fleet, eventually};

/// The node that stores nothing.
const ROUTER: usize = 3;

fn fleet() -> Fleet {
    Fleet::of(3).with(|number, config| config.router = number == ROUTER).start()
}

fn holds(fleet: &Fleet, number: usize) -> NodeDrain {
    Admin::new(fleet.node(number).http()).get("/node/drain")
}

#[test]
fn a_router_is_the_home_of_nothing_that_is_made_through_it() {
    let fleet = fleet();
    for number in 0..6 {
        let address = format!("queue-{number}");
        fleet.create(ROUTER, &address, AddressType::Queue);
        assert_ne!(fleet.home_number(ROUTER, &address), ROUTER, "{address}");
    }
    assert_eq!(holds(&fleet, ROUTER).queues, 0);
}

#[test]
fn a_session_that_begins_at_a_router_is_kept_elsewhere_and_outlives_it() {
    let mut fleet = fleet();
    fleet.create(1, "sensors", AddressType::Topic);
    let (mut client, _) = connect(fleet.node(ROUTER).mqtt());
    client.send(&packet(0x82, &[&[0, 1][..], &string("sensors/#"), &[1]].concat()));
    assert_eq!(client.expect(0x90).body, [0, 1, 1]);
    eventually("the session to be on another node", || {
        (holds(&fleet, 1).sessions + holds(&fleet, 2).sessions == 1).then_some(())
    });
    assert_eq!(holds(&fleet, ROUTER).sessions, 0);
    fleet.kill(ROUTER);
    let (_, is_present) = connect(fleet.node(1).mqtt());
    assert!(is_present, "the session outlives the router");
}

/// A client that keeps its session, and whether it was there.
fn connect(server: SocketAddr) -> (RawMqtt, bool) {
    let mut client = RawMqtt::open(server);
    client.send(&packet(0x10, &[&b"\0\x04MQTT\x04\0\0\0"[..], &string("meter")].concat()));
    let answer = client.expect(0x20).body;
    assert_eq!(answer[1], 0, "the client is refused");
    (client, answer[0] == 1)
}

#[test]
fn a_router_takes_no_order_to_serve() {
    let fleet = fleet();
    let admin = Admin::new(fleet.node(ROUTER).http());
    for order in ["undrain", "uncordon"] {
        let answer = admin.request("POST", &format!("/api/v1/node/{order}"), None);
        assert_eq!(answer.status, 409, "{order}");
    }
    eventually("the router to say that it is empty", || {
        (holds(&fleet, ROUTER).state == DrainState::Drained).then_some(())
    });
}
