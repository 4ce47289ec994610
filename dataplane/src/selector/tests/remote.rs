//! A consumer's selector at the home of its queue, when that is elsewhere.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use mq_core::{
    AddressKind, AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, Filter, FilterCodec, Incoming,
    NodeShards, PeerMessage, PeerOptions, ProducerOptions, ProducerTarget, ShardId, ShardNames,
};

use super::super::Selectors;
use super::*;

const HERE: ShardId = ShardId::new(0, 0);
/// The other node, as either sees it.
const THERE: ShardId = ShardId::new(1, 0);

/// No message of this test speaks of a third node.
struct Two;

impl ShardNames for Two {
    fn name(&self, _shard: ShardId) -> (u64, u16) {
        unreachable!("both ends have names of their own")
    }

    fn shard(&self, _node: u64, _shard: u16) -> Option<ShardId> {
        None
    }
}

/// Two nodes of a shard each, with a channel between them.
struct Fleet {
    cores: [Core; 2],
    now: Instant,
}

impl Fleet {
    fn new() -> Self {
        let now = Instant::now();
        let mut cores = [(); 2].map(|()| Core::new(HERE, 1, CoreLimits::default()));
        for core in &mut cores {
            core.set_node(now, 1, Some(NodeShards { shards: 1, name: "other".into() }));
            core.add_peer(now, THERE, PeerOptions { cost: 1 });
        }
        Self { cores, now }
    }

    /// Carries messages between the cores, as bytes, until there are none; gives what consumers get.
    fn run(&mut self) -> Vec<Bytes> {
        let mut delivered = Vec::new();
        loop {
            for core in &mut self.cores {
                core.handle_timeout(self.now);
            }
            let Some((from, effect)) = (0..2).find_map(|node| Some((node, self.cores[node].poll_effect()?)))
            else {
                return delivered;
            };
            match effect {
                Effect::Peer { message, .. } => self.carry(from, &message),
                Effect::Deliver { chunk, .. } => delivered.push(chunk),
                Effect::CloseConsumer { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    fn carry(&mut self, from: usize, message: &PeerMessage) {
        let (sender, receiver) = (&self.cores[from], &self.cores[1 - from]);
        let mut bytes = BytesMut::new();
        let tail = message.encode(&sender.wire_context(self.now, THERE, &Two), &mut bytes).unwrap();
        bytes.extend_from_slice(&tail);
        let context = receiver.wire_context(self.now, THERE, &Two);
        let message = PeerMessage::decode(&bytes.freeze(), &context, &Selectors).unwrap();
        self.cores[1 - from].handle_peer(self.now, THERE, message);
    }
}

#[test]
fn a_selector_works_at_a_home_on_another_node() {
    let mut fleet = Fleet::new();
    let now = fleet.now;
    for (core, home) in fleet.cores.iter_mut().zip([1, 0]) {
        let settings = AddressSettings { kind: AddressKind::Queue, home, ..AddressSettings::default() };
        core.set_address(now, &"orders".into(), settings);
    }
    assert!(fleet.run().is_empty());
    let lane = fleet.cores[0].add_lane();
    fleet.cores[0].set_lane_budget(now, lane, 1 << 20);
    let filter = Some(Arc::new(selector("colour = 'red' AND size > 2")) as Arc<dyn Filter>);
    let options = ConsumerOptions { filter, ..ConsumerOptions::default() };
    let consumer = fleet.cores[0].add_consumer(now, lane, "orders", options).unwrap();
    fleet.cores[0].set_credit(now, consumer, 10, false);
    let target = ProducerTarget::Address("orders");
    let producer = fleet.cores[1].add_producer(now, target, ProducerOptions::default()).unwrap();
    assert!(fleet.run().is_empty());
    let sent = [("red", 3), ("blue", 3), ("red", 2), ("red", 4)]
        .map(|(colour, size)| message(&[("colour", text(colour)), ("size", Value::Int(size))]));
    for (handle, chunk) in (0..).zip(sent.clone()) {
        fleet.cores[1].begin(now, producer, Incoming { handle, chunk, ..Incoming::default() });
    }
    assert_eq!(fleet.run(), [sent[0].clone(), sent[3].clone()]);
}

#[test]
fn a_text_that_is_no_selector_is_said_to_be_wrong() {
    let error = Selectors.filter("colour = ").unwrap_err();
    assert_eq!(*error, *Selector::parse("colour = ").unwrap_err().to_string());
    let filter = Selectors.filter("colour = 'red'").unwrap();
    assert_eq!(filter.text(), "colour = 'red'");
}
