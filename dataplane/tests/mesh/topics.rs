//! Topics that change their home while clients use them.

use mq_amqp::performative::DeliveryState;
use mq_model::manifest::AddressType;
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Qos, ReasonCode};
use serde_json::{Value, json};

use crate::client::Received;
use crate::fleet::Fleet;
use crate::messages::settle_all;
use crate::mqtt_client::{Mqtt, Options};
use crate::support::{get, send_json, wait_for};

/// A fleet with the topic `t`.
fn fleet(count: usize) -> Fleet {
    let fleet = Fleet::of(count);
    fleet.create("t", AddressType::Topic);
    fleet
}

#[track_caller]
fn connect(fleet: &Fleet, index: usize, options: Options) -> Mqtt {
    Mqtt::connect(&fleet.node(index), 0, options)
}

/// Has the topic go to another node; false when it is there already.
fn send_away(fleet: &Fleet, to: usize) -> bool {
    let to = fleet.name(to);
    if fleet.home(0, "t") == to {
        return false;
    }
    let path = "/api/v1/addresses/t/move-home";
    let answer = send_json(fleet.node(0).http, "POST", path, &json!({ "to": to }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    true
}

/// Waits until the topic is where it was sent, as every node says.
fn arrives(fleet: &Fleet, count: usize) {
    for index in 0..count {
        wait_for("the topic to have moved", || {
            let status: Value = get(fleet.node(index).http, "/api/v1/addresses/t").json()["status"].clone();
            status["movingFrom"].is_null().then_some(())
        });
    }
}

fn next_home(fleet: &Fleet, count: usize) -> usize {
    let home = fleet.home(0, "t");
    let at = (0..count).find(|index| *fleet.name(*index) == home).expect("a node of the fleet");
    (at + 1) % count
}

#[test]
fn a_session_finds_what_waited_for_it_and_what_is_retained_when_its_topic_has_moved() {
    let fleet = fleet(3);
    let mut client = connect(&fleet, 1, Options::lasting("c", 3_600));
    assert_eq!(client.subscribe("t/#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    client.disconnect();
    let mut publisher = connect(&fleet, 2, Options::new("publisher"));
    for round in 0..4 {
        for number in 0..10 {
            let text = format!("{round}-{number}");
            assert!(!publisher.publish("t/x", &text, Qos::AtLeastOnce).is_error());
        }
        let (qos, none) = (Qos::AtLeastOnce, PropertyView::default());
        let retained = publisher.publish_with("t/r", &round.to_string(), qos, true, none);
        assert!(!retained.is_error());
        assert!(send_away(&fleet, next_home(&fleet, 3)));
        arrives(&fleet, 3);
    }
    let mut client = connect(&fleet, 0, Options::lasting("c", 3_600));
    assert!(client.session_present());
    client.until("everything has come", |client| client.received.len() == 44);
    let texts: Vec<&str> = client.received.iter().map(|got| got.text()).collect();
    let expected: Vec<String> = (0..4)
        .flat_map(|round| (0..10).map(move |number| format!("{round}-{number}")).chain([round.to_string()]))
        .collect();
    assert_eq!(texts, expected);
    let mut late = connect(&fleet, 2, Options::new("late"));
    late.subscribe("t/r", Qos::AtLeastOnce);
    assert_eq!(late.receive().text(), "3");
    late.sync();
    assert!(late.received.is_empty());
}

#[test]
fn a_message_of_qos_2_that_is_under_way_comes_once_when_its_topic_moves() {
    let fleet = fleet(2);
    let mut client = connect(&fleet, 0, Options::lasting("c", 3_600));
    client.subscribe("t/#", Qos::ExactlyOnce);
    client.acknowledges = false;
    let mut publisher = connect(&fleet, 1, Options::new("publisher"));
    assert_eq!(publisher.publish("t/x", "once", Qos::ExactlyOnce), ReasonCode::Success);
    let first = client.receive();
    let state = client.vanish();
    assert!(send_away(&fleet, next_home(&fleet, 2)));
    arrives(&fleet, 2);

    let mut client = connect(&fleet, 1, Options::lasting("c", 3_600).resuming(state));
    let again = client.receive();
    assert_eq!((again.text(), again.packet_id, again.duplicate), ("once", first.packet_id, true));
    wait_for("the topic to know", || {
        client.turn();
        let topic = get(fleet.node(0).http, "/api/v1/addresses/t").json();
        (topic["status"]["queue"]["messages"] == 0).then_some(())
    });
    assert!(client.received.is_empty(), "{:?}", client.received);
}

#[test]
fn publishers_and_subscribers_go_on_while_their_topic_moves() {
    let fleet = fleet(3);
    let mut lasting = connect(&fleet, 0, Options::lasting("lasting", 3_600));
    lasting.subscribe("t/#", Qos::AtLeastOnce);
    let mut passing = connect(&fleet, 1, Options::new("passing"));
    passing.subscribe("t/#", Qos::AtLeastOnce);
    let mut publishers: Vec<Mqtt> =
        (0..3).map(|index| connect(&fleet, index, Options::new(&format!("p{index}")))).collect();
    let mut sent = Vec::new();
    for number in 0..600 {
        if number % 50 == 25
            && get(fleet.node(0).http, "/api/v1/addresses/t").json()["status"]["movingFrom"].is_null()
        {
            send_away(&fleet, next_home(&fleet, 3));
        }
        let text = number.to_string();
        let publisher = &mut publishers[number % 3];
        assert!(!publisher.publish("t/x", &text, Qos::AtLeastOnce).is_error(), "{text}");
        sent.push(text);
    }
    for client in [&mut lasting, &mut passing] {
        client.until("everything has come", |client| client.received.len() >= 600);
        let texts: Vec<&str> = client.received.iter().map(|got| got.text()).collect();
        assert_eq!(texts, sent, "in order, and once each");
    }
}

#[test]
fn a_consumer_of_amqp_without_a_durable_subscription_loses_nothing_while_its_topic_moves() {
    let fleet = fleet(3);
    let mut consumer = fleet.client(1);
    consumer.consumer("t/#", 1_000);
    let mut producer = fleet.client(2);
    let link = producer.producer("t/x");
    for number in 0..300 {
        if number % 50 == 25
            && get(fleet.node(0).http, "/api/v1/addresses/t").json()["status"]["movingFrom"].is_null()
        {
            send_away(&fleet, next_home(&fleet, 3));
        }
        let sent = producer.send_text(link, &number.to_string());
        assert_eq!(producer.outcome(sent), DeliveryState::Accepted, "{number}");
        consumer.turn();
        if number % 2 == 0 {
            settle_all(&mut consumer);
        }
    }
    consumer.receive(300);
    let texts: Vec<String> = consumer.received.iter().map(Received::text).collect();
    assert_eq!(texts, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
}
