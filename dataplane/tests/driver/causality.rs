//! What a client was told on one shard holds on every other one, whatever it does there next, or another
//! client that it has told.

use mq_amqp::Terms;
use mq_amqp::performative::{DeliveryState, Role, SenderSettleMode};

use mq_mqtt::{Qos, ReasonCode};

use crate::client::{Client, addressed, anywhere, from};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::Node;

/// What could be missed is missed now and then.
const ROUNDS: usize = 3_000;

#[test]
fn a_message_finds_the_consumer_whose_attach_another_shard_has_answered() {
    let node = Node::start();
    for (one, other) in [(0, 1), (1, 0)] {
        let (mut reader, mut sender) = (Client::connect(&node, one), Client::connect(&node, other));
        let out = sender.try_attach("out", Role::Sender, anywhere()).unwrap();
        sender.until("credit", |client| client.credit(out) > 0);
        let mut outcomes = Vec::new();
        for round in 0..ROUNDS {
            let terms = Terms { snd_settle_mode: SenderSettleMode::Settled, ..from("a") };
            let link = reader.try_attach(&round.to_string(), Role::Receiver, terms).unwrap();
            let number = sender.send(out, addressed("a", &round.to_string()), false);
            reader.grant(link, 1);
            outcomes.push(sender.outcome(number));
            reader.detach(link);
            reader.sync();
        }
        let lost = outcomes.iter().filter(|outcome| **outcome != DeliveryState::Accepted).count();
        assert_eq!(lost, 0, "messages found no consumer");
    }
}

/// An MQTT client identifier whose session has its home on this shard.
fn named(shard: usize, shards: u16) -> String {
    let home = |id: &String| usize::from(mq_core::home(id, shards).shard());
    (0..).map(|number| format!("client-{number}")).find(|id| home(id) == shard).unwrap()
}

#[test]
fn a_message_finds_the_subscriber_whose_suback_another_shard_has_sent_and_none_after_the_unsuback() {
    let node = Node::start();
    for (one, other) in [(0, 1), (1, 0)] {
        let mut reader = Mqtt::connect(&node, one, Options::new(&named(one, 2)));
        let mut sender = Mqtt::connect(&node, other, Options::new(&named(other, 2)));
        for round in 0..ROUNDS / 4 {
            let filter = if round % 2 == 0 { format!("t/{round}") } else { format!("t/{round}/+/#") };
            let name = filter.replace("+/#", "a");
            reader.subscribe(&filter, Qos::AtMostOnce);
            assert_eq!(sender.publish(&name, "one", Qos::AtLeastOnce), ReasonCode::Success);
            reader.unsubscribe(&filter);
            let unheard = sender.publish(&name, "two", Qos::AtLeastOnce);
            assert_eq!(unheard, ReasonCode::NoMatchingSubscribers);
        }
        reader.sync();
        assert_eq!(reader.received.len(), ROUNDS / 4);
        assert!(reader.received.iter().all(|got| got.text() == "one"));
        reader.disconnect();
        sender.disconnect();
    }
}

#[test]
fn a_message_finds_what_a_third_shard_keeps_for_a_subscriber() {
    let shards = 3;
    let node = Node::with(|config| config.workers = shards);
    let home = usize::from(mq_core::home("t", shards).shard());
    let others: Vec<usize> = (0..usize::from(shards)).filter(|shard| *shard != home).collect();
    for (one, other) in [(others[0], others[1]), (others[1], others[0])] {
        let mut reader = Mqtt::connect(&node, one, Options::lasting(&named(one, shards), 600));
        let mut sender = Mqtt::connect(&node, other, Options::new(&named(other, shards)));
        for round in 0..ROUNDS / 8 {
            let name = format!("t/{round}");
            assert_eq!(reader.subscribe(&name, Qos::AtLeastOnce), ReasonCode::GrantedQos1);
            // A lasting session gets it from the topic's home and in no other way.
            assert_eq!(sender.publish(&name, &name, Qos::AtLeastOnce), ReasonCode::Success);
            assert_eq!(reader.receive().text(), name);
            reader.unsubscribe(&name);
        }
        reader.disconnect_with(ReasonCode::Success, Some(0));
        sender.disconnect();
    }
}
