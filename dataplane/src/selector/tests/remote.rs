//! A consumer's selector at the home of its queue, when that is elsewhere.

use std::time::Instant;

use bytes::BytesMut;
use mq_core::{
    AddressKind, AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, FilterCodec, Incoming,
    PeerMessage, ProducerOptions, ProducerTarget, ShardId, ShardNames, home,
};

use super::super::Selectors;
use super::*;

/// No message of this test speaks of a third shard.
struct Two;

impl ShardNames for Two {
    fn name(&self, _shard: ShardId) -> (u64, u16) {
        unreachable!("both ends have names of their own")
    }

    fn shard(&self, _node: u64, _shard: u16) -> Option<ShardId> {
        None
    }
}

/// Carries messages between the cores, as bytes, until there are none; gives what consumers get.
fn run(cores: &mut [Core; 2], now: Instant) -> Vec<Bytes> {
    let mut delivered = Vec::new();
    while let Some((from, effect)) = (0..2).find_map(|shard| Some((shard, cores[shard].poll_effect()?))) {
        match effect {
            Effect::Peer { to, message } => {
                let (here, there) = (ShardId::new(0, from as u16), usize::from(to.shard()));
                let mut bytes = BytesMut::new();
                let tail = message.encode(&cores[from].wire_context(now, to, &Two), &mut bytes).unwrap();
                bytes.extend_from_slice(&tail);
                let context = cores[there].wire_context(now, here, &Two);
                let message = PeerMessage::decode(&bytes.freeze(), &context, &Selectors).unwrap();
                cores[there].handle_peer(now, here, message);
            }
            Effect::Deliver { chunk, .. } => delivered.push(chunk),
            Effect::CloseConsumer { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
    delivered
}

#[test]
fn a_selector_works_at_a_home_elsewhere() {
    let now = Instant::now();
    let mut cores = [0, 1].map(|shard| Core::new(ShardId::new(0, shard), 2, CoreLimits::default()));
    let name = (0..).map(|number| format!("queue-{number}")).find(|name| home(name, 2).shard() == 1).unwrap();
    for core in &mut cores {
        let settings = AddressSettings { kind: AddressKind::Queue, ..AddressSettings::default() };
        core.set_address(now, &name.as_str().into(), settings);
    }
    let lane = cores[0].add_lane();
    cores[0].set_lane_budget(now, lane, 1 << 20);
    let filter = Some(std::sync::Arc::new(selector("colour = 'red' AND size > 2")) as _);
    let options = ConsumerOptions { filter, ..ConsumerOptions::default() };
    let consumer = cores[0].add_consumer(now, lane, &name, options).unwrap();
    cores[0].set_credit(now, consumer, 10, false);
    let producer =
        cores[1].add_producer(now, ProducerTarget::Address(&name), ProducerOptions::default()).unwrap();
    assert!(run(&mut cores, now).is_empty());
    let sent = [("red", 3), ("blue", 3), ("red", 2), ("red", 4)]
        .map(|(colour, size)| message(&[("colour", text(colour)), ("size", Value::Int(size))]));
    for (handle, chunk) in (0..).zip(sent.clone()) {
        cores[1].begin(now, producer, Incoming { handle, chunk, ..Incoming::default() });
    }
    assert_eq!(run(&mut cores, now), [sent[0].clone(), sent[3].clone()]);
}

#[test]
fn a_text_that_is_no_selector_is_said_to_be_wrong() {
    let error = Selectors.filter("colour = ").unwrap_err();
    assert_eq!(*error, *super::super::Selector::parse("colour = ").unwrap_err().to_string());
    let filter = Selectors.filter("colour = 'red'").unwrap();
    assert_eq!(filter.text(), "colour = 'red'");
}
