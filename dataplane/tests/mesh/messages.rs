//! Messages from a client of one node to a client of another.

use mq_amqp::performative::DeliveryState;
use mq_model::manifest::AddressType;

use crate::fleet::Fleet;

#[test]
fn a_message_reaches_the_consumer_on_another_node_and_its_outcome_comes_back() {
    let fleet = Fleet::of(2);
    fleet.create("a", AddressType::Anycast);
    let mut consumer = fleet.client(1);
    consumer.consumer("a", 10);
    let mut producer = fleet.client(0);
    let link = producer.producer("a");
    let sent = producer.send_text(link, "hello");
    let received = consumer.receive(1);
    assert_eq!(received.text(), "hello");
    consumer.accept(&received);
    assert_eq!(producer.outcome(sent), DeliveryState::Accepted);
}
