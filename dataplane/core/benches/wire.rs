//! What it costs to send the messages of a core to another node: `cargo bench -p mq-core --bench wire`.
//!
//! Two cores exchange messages of 100 bytes in every way there is; the last message of each kind is then
//! encoded and decoded again and again. Behind `--`, a number is how often, and text picks the messages whose
//! names contain it: what `valgrind --tool=callgrind` counts for twice as often, less what it counts for that,
//! are the instructions.

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use mq_core::{
    AddressKind, AddressSettings, ConsumerOptions, Core, CoreLimits, Effect, Filter, FilterCodec, Incoming,
    LiveMessage, Outcome, PeerMessage, ProducerOptions, ProducerTarget, ShardId, ShardNames, Subscriber,
    WireContext, home,
};

const TIMES: u32 = 5_000_000;

/// Messages that are encoded into one buffer.
const BATCH: u32 = 100;

const BODY: usize = 100;

/// No message here speaks of a third shard, nor has a filter.
struct Nothing;

impl ShardNames for Nothing {
    fn name(&self, _shard: ShardId) -> (u64, u16) {
        (0, 0)
    }

    fn shard(&self, _node: u64, _shard: u16) -> Option<ShardId> {
        None
    }
}

impl FilterCodec for Nothing {
    fn filter(&self, _text: &str) -> Result<Arc<dyn Filter>, Box<str>> {
        Err("no filters".into())
    }
}

/// Two cores, and the last message of each kind that one had for the other, by its first byte.
struct Bench {
    cores: [Core; 2],
    now: Instant,
    samples: BTreeMap<u8, (usize, PeerMessage)>,
}

impl Bench {
    fn new() -> Self {
        let cores = [0, 1].map(|shard| Core::new(ShardId::new(0, shard), 2, CoreLimits::default()));
        Self { cores, now: Instant::now(), samples: BTreeMap::new() }
    }

    fn context(&self, here: usize) -> WireContext<'static> {
        let there = ShardId::new(0, 1 - here as u16);
        self.cores[here].wire_context(self.now, there, &Nothing)
    }

    /// Sends what there is to send, with every outcome at once.
    fn run(&mut self) {
        loop {
            let effect = (0..2).find_map(|shard| Some((shard, self.cores[shard].poll_effect()?)));
            let Some((shard, effect)) = effect else { return };
            match effect {
                Effect::Peer { message, .. } => {
                    let bytes = encode(&message, &self.context(shard));
                    let code = bytes[0];
                    let decode = || PeerMessage::decode(&bytes, &self.context(1 - shard), &Nothing);
                    let (copy, message) = (decode(), decode());
                    self.samples.insert(code, (shard, copy.expect("what we wrote")));
                    let from = ShardId::new(0, shard as u16);
                    self.cores[1 - shard].handle_peer(self.now, from, message.expect("what we wrote"));
                }
                Effect::Deliver { leg: Some(leg), .. } => {
                    let core = &mut self.cores[shard];
                    core.set_leg_handle(leg, 1);
                    core.settle_by_consumer(self.now, leg, Some(Outcome::Accepted), true);
                }
                _ => {}
            }
        }
    }

    /// Messages from shard 0 to a consumer there or elsewhere, over an address of this kind.
    fn links(&mut self, kind: AddressKind, consumer: usize) {
        let name = format!("{kind:?}");
        let name = (0..).map(|number| format!("{name}-{number}")).find(|name| home(name, 2).shard() == 1);
        let name = name.expect("every other name");
        for core in &mut self.cores {
            core.set_address(
                self.now,
                &name.as_str().into(),
                AddressSettings { kind, ..AddressSettings::default() },
            );
        }
        let core = &mut self.cores[consumer];
        let lane = core.add_lane();
        core.set_lane_budget(self.now, lane, usize::MAX);
        let key =
            core.add_consumer(self.now, lane, &name, ConsumerOptions::default()).expect("no limit is near");
        self.run();
        self.cores[consumer].set_credit(self.now, key, 1_000_000, false);
        self.run();
        let target = ProducerTarget::Address(&name);
        let options = ProducerOptions::default();
        let producer = self.cores[0].add_producer(self.now, target, options).expect("no limit is near");
        self.run();
        for handle in 0..10_000 {
            let chunk = Bytes::from(vec![7; BODY]);
            let incoming = Incoming { handle, chunk, ..Incoming::default() };
            self.cores[0].begin(self.now, producer, incoming);
            self.run();
        }
    }

    /// MQTT: a live subscriber on shard 1.
    fn live(&mut self) {
        let settings = AddressSettings { kind: AddressKind::Topic, ..AddressSettings::default() };
        for core in &mut self.cores {
            core.set_address(self.now, &"#".into(), settings.clone());
        }
        let subscriber = Subscriber { token: 1, index: 0 };
        self.cores[1].add_live("devices/7/state", subscriber).expect("a filter");
        self.run();
        let route = self.cores[0].route("devices/7/state");
        for _ in 0..10_000 {
            let message = LiveMessage {
                name: None,
                message_format: 1 << 8,
                body: vec![7; BODY].into(),
                durable: false,
                kept: false,
                retain: false,
                ttl: None,
                origin: 0x1234_5678_9abc_def0,
            };
            self.cores[0].publish_live(&route, 0, Some(&message));
            self.run();
        }
    }
}

fn encode(message: &PeerMessage, context: &WireContext<'_>) -> Bytes {
    let mut out = BytesMut::new();
    let tail = message.encode(context, &mut out).expect("it is small");
    out.extend_from_slice(&tail);
    out.freeze()
}

fn main() {
    let mut bench = Bench::new();
    bench.links(AddressKind::Anycast, 1);
    bench.links(AddressKind::Queue, 0);
    bench.live();
    let (mut times, mut wanted) = (TIMES, String::new());
    for argument in std::env::args().skip(1).filter(|argument| !argument.starts_with('-')) {
        match argument.parse() {
            Ok(number) => times = number,
            Err(_) => wanted = argument,
        }
    }
    println!("{:44} {:>6} {:>10} {:>10}", "message", "bytes", "encode ns", "decode ns");
    for (code, name) in [
        (0x01, "Presence"),
        (0x03, "Deliver, 100 bytes"),
        (0x07, "Settle"),
        (0x22, "Publish to a queue, 100 bytes"),
        (0x48, "Answer"),
        (0x46, "Deliver from a queue, 100 bytes"),
        (0x2e, "Settle at a queue"),
        (0x2c, "Credit"),
        (0x2d, "Window"),
        (0x63, "Publish to live subscribers, 100 bytes"),
        (0x64, "Taken"),
    ] {
        if !name.contains(&wanted) {
            continue;
        }
        let Some((from, message)) = bench.samples.get(&code) else {
            println!("{name:44} none was sent");
            continue;
        };
        let (sender, receiver) = (bench.context(*from), bench.context(1 - from));
        let bytes = encode(message, &sender);
        let start = Instant::now();
        let mut out = BytesMut::with_capacity(64 << 10);
        for _ in 0..times / BATCH {
            for _ in 0..BATCH {
                black_box(black_box(message).encode(&sender, &mut out).expect("it is small"));
            }
            black_box(&out);
            out.clear();
        }
        let encoding = start.elapsed().as_nanos() as f64 / f64::from(times);
        let start = Instant::now();
        for _ in 0..times {
            let message = PeerMessage::decode(black_box(&bytes), &receiver, &Nothing);
            black_box(message.expect("what we wrote"));
        }
        let decoding = start.elapsed().as_nanos() as f64 / f64::from(times);
        println!("{name:44} {:6} {encoding:10.1} {decoding:10.1}", bytes.len());
    }
}
