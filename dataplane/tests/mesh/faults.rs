//! What befalls paths and nodes.

use std::time::{Duration, Instant};

use mq_amqp::performative::DeliveryState;
use mq_model::manifest::AddressType;

use crate::client::Client;
use crate::fleet::Fleet;
use crate::proxy::Proxy;
use crate::support::{get, wait_for};

/// Two nodes whose link is in our hand.
fn linked() -> (Fleet, Proxy) {
    let mut fleet = Fleet::new();
    let first = fleet.add(&[], |_| {});
    let proxy = Proxy::new(first.mesh);
    fleet.add(&[proxy.server()], |_| {});
    fleet.wait_until_whole();
    (fleet, proxy)
}

/// A consumer at the second node with a message in its hand, and its producer at the first.
fn in_flight(fleet: &Fleet) -> (Client, u64, Client) {
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(1);
    consumer.consumer("a", 10);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    let sent = producer.send_text(link, "on its way");
    consumer.receive(1);
    (producer, sent, consumer)
}

#[test]
fn what_is_in_flight_to_a_node_that_is_cut_off_is_settled_within_a_second() {
    let (fleet, proxy) = linked();
    let (mut producer, sent, _consumer) = in_flight(&fleet);
    let cut = Instant::now();
    proxy.close();
    let outcome = producer.outcome(sent);
    let took = cut.elapsed();
    assert!(matches!(outcome, DeliveryState::Modified { .. }), "{outcome:?}");
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

#[test]
fn what_is_in_flight_over_a_silent_path_is_settled_within_three_seconds() {
    let (fleet, proxy) = linked();
    let (mut producer, sent, _consumer) = in_flight(&fleet);
    let cut = Instant::now();
    proxy.silence();
    let outcome = producer.outcome(sent);
    let took = cut.elapsed();
    assert!(matches!(outcome, DeliveryState::Modified { .. }), "{outcome:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn connections_that_are_lost_and_come_back_lose_no_message() {
    let (fleet, proxy) = linked();
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(1);
    consumer.consumer("a", 1_000);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    let mut sent = Vec::new();
    for number in 0..300 {
        if number % 100 == 50 {
            proxy.reset();
        }
        sent.push(producer.send_text(link, &number.to_string()));
        consumer.turn();
        crate::messages::settle_all(&mut consumer);
    }
    wait_for("every outcome", || {
        consumer.turn();
        crate::messages::settle_all(&mut consumer);
        producer.turn();
        sent.iter().all(|number| producer.states.get(number).is_some_and(|state| state.1)).then_some(())
    });
    let accepted: Vec<usize> =
        (0..300).filter(|index| producer.states[&sent[*index]].0 == Some(DeliveryState::Accepted)).collect();
    let texts: Vec<String> = consumer.received.iter().map(crate::client::Received::text).collect();
    for number in &accepted {
        let count = texts.iter().filter(|text| **text == number.to_string()).count();
        assert_eq!(count, 1, "{number} was accepted");
    }
    assert!(accepted.len() >= 290, "{} of 300 accepted", accepted.len());
}

#[test]
fn a_node_that_stops_says_so_and_is_known_to_have_left() {
    let mut fleet = Fleet::of(3);
    let name = fleet.name(2).to_owned();
    fleet.stop(2);
    let first = fleet.node(0);
    wait_for("the node to be known as gone", || {
        let mesh = get(first.http, "/api/v1/mesh").json();
        let nodes = mesh["nodes"].as_array().unwrap().clone();
        let left = nodes.iter().find(|node| node["name"] == name.as_str())?;
        (left["state"] == "left").then_some(())
    });
}

#[test]
fn a_node_that_another_authority_has_signed_for_is_turned_away() {
    let mut fleet = Fleet::new();
    let first = fleet.add(&[], |_| {});
    fleet.add_stranger(&[first.mesh]);
    // It tries again and again: it has had its chance when a third node has come in meanwhile.
    fleet.add(&[first.mesh], |_| {});
    wait_for("an honest node to come in", || (fleet.up(first) == 2).then_some(()));
    let mesh = get(first.http, "/api/v1/mesh").json();
    let names: Vec<_> = mesh["nodes"].as_array().unwrap().iter().map(|node| node["name"].clone()).collect();
    assert_eq!(names, ["node-1", "node-3"]);
}
