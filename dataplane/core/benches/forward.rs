//! Nanoseconds that the core itself needs for a message: `cargo bench -p mq-core --bench forward`.
//!
//! A message is begun, its effects are taken out, and, unsettled, each delivery is settled and the
//! update of the producer taken out. Nothing is encoded and nothing leaves the process. A number
//! behind `--` is that of the messages: few are enough for a count of instructions.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mq_core::{
    AddressKind, AddressSettings, ConsumerKey, ConsumerOptions, Core, CoreLimits, Effect, Incoming, LegKey,
    Outcome, PeerMessage, ProducerKey, ProducerOptions, ProducerTarget, ShardId,
};

const MESSAGES: u32 = 2_000_000;

/// One core, one address, one producer and some consumers.
struct Bench {
    core: Core,
    now: Instant,
    producer: ProducerKey,
    consumers: Vec<ConsumerKey>,
    body: Bytes,
    legs: Vec<(LegKey, u64)>,
    updates: u64,
}

impl Bench {
    fn new(kind: AddressKind, consumers: usize) -> Self {
        let now = Instant::now();
        let mut core = Core::new(ShardId(0), 1, CoreLimits::default());
        let name: Arc<str> = "bench".into();
        core.set_address(now, &name, AddressSettings { kind, ..AddressSettings::default() });
        let lane = core.add_lane();
        core.set_lane_budget(now, lane, usize::MAX);
        let target = ProducerTarget::Address("bench");
        let producer = core.add_producer(now, target, ProducerOptions::default()).expect("no limit is near");
        let consumers = (0..consumers)
            .map(|_| {
                let options = ConsumerOptions::default();
                core.add_consumer(now, lane, "bench", options).expect("no limit is near")
            })
            .collect::<Vec<_>>();
        for consumer in &consumers {
            core.set_credit(now, *consumer, 1_000_000, false);
        }
        let body = Bytes::from(vec![7; 100]);
        Self { core, now, producer, consumers, body, legs: Vec::new(), updates: 0 }
    }

    /// Nanoseconds for each of so many rounds of `batch` messages.
    fn run(&mut self, settled: bool, batch: u32) -> f64 {
        let messages =
            std::env::args().next_back().and_then(|number| number.parse().ok()).unwrap_or(MESSAGES);
        self.rounds(settled, batch, messages / 20);
        let start = Instant::now();
        self.rounds(settled, batch, messages);
        start.elapsed().as_nanos() as f64 / f64::from(messages)
    }

    fn rounds(&mut self, settled: bool, batch: u32, messages: u32) {
        for round in 0..messages / batch {
            // Credit comes in as it does from a client: in portions.
            if round % (100 / batch).max(1) == 0 {
                for consumer in self.consumers.iter().take(10) {
                    self.core.set_credit(self.now, *consumer, 1_000, false);
                }
            }
            for message in 0..batch {
                let begun = self.core.begin(
                    self.now,
                    self.producer,
                    Incoming {
                        handle: u64::from(message),
                        settled,
                        priority: 4,
                        chunk: self.body.clone(),
                        ..Incoming::default()
                    },
                );
                black_box(begun);
            }
            self.take_effects();
            let mut legs = std::mem::take(&mut self.legs);
            for (leg, handle) in legs.drain(..) {
                self.core.set_leg_handle(leg, handle);
                self.core.settle_by_consumer(self.now, leg, Some(Outcome::Accepted), true);
            }
            self.legs = legs;
            self.take_effects();
        }
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match black_box(effect) {
                Effect::Deliver { leg: Some(leg), .. } => self.legs.push((leg, 1)),
                Effect::UpdateProducer { .. } => self.updates += 1,
                _ => {}
            }
        }
    }
}

fn main() {
    println!("effect: {} bytes, peer message: {} bytes", size_of::<Effect>(), size_of::<PeerMessage>());
    let anycast = |settled, batch| Bench::new(AddressKind::Anycast, 1).run(settled, batch);
    println!("anycast 1 to 1, unsettled, one at a time:    {:6.1} ns per message", anycast(false, 1));
    println!("anycast 1 to 1, unsettled, 25 at a time:     {:6.1} ns per message", anycast(false, 25));
    println!("anycast 1 to 1, pre-settled, 25 at a time:   {:6.1} ns per message", anycast(true, 25));
    let many = Bench::new(AddressKind::Anycast, 10_000).run(false, 25);
    println!("anycast 1 to 10,000, unsettled:              {many:6.1} ns per message");
    let multicast = |settled| Bench::new(AddressKind::Multicast, 10).run(settled, 25) / 10.0;
    println!("multicast 1 to 10, pre-settled:              {:6.1} ns per delivery", multicast(true));
    let queue = |settled, batch| Bench::new(AddressKind::Queue, 1).run(settled, batch);
    println!("queue 1 to 1, unsettled, one at a time:      {:6.1} ns per message", queue(false, 1));
    println!("queue 1 to 1, unsettled, 25 at a time:       {:6.1} ns per message", queue(false, 25));
    println!("queue 1 to 1, sent settled, 25 at a time:    {:6.1} ns per message", queue(true, 25));
    println!("multicast 1 to 10, unsettled:                {:6.1} ns per delivery", multicast(false));
}
