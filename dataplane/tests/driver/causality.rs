//! What a client was told on one shard holds on every other one, whatever it does there next, or another
//! client that it has told.

use mq_amqp::Terms;
use mq_amqp::performative::{DeliveryState, Role, SenderSettleMode};

use crate::client::{Client, addressed, anywhere, from};
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
