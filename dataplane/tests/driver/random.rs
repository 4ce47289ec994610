//! Clients that do anything at any time: whatever they did, nothing of them is left when they have
//! gone, and nobody who stays is harmed.

use std::time::Instant;

use bytes::Bytes;
use mq_amqp::LinkKey;
use mq_amqp::Terms;
use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{DeliveryState, ReceiverSettleMode, Role, SenderSettleMode, Source};

use crate::client::{Client, addressed, anywhere, from, message, to};
use crate::node::Node;

/// Operations of one run.
const STEPS: usize = 5_000;

/// A client and what it may use.
struct Actor {
    client: Client,
    producers: Vec<LinkKey>,
    consumers: Vec<LinkKey>,
    relays: Vec<LinkKey>,
    /// Producers with an unfinished message.
    open: Vec<LinkKey>,
    unsettled: Vec<usize>,
    seen: usize,
    names: usize,
}

impl Actor {
    fn new(node: &Node, shard: usize) -> Self {
        let mut client = Client::connect(node, shard);
        client.is_lenient = true;
        client.stream.set_nonblocking(true).unwrap();
        Self {
            client,
            producers: Vec::new(),
            consumers: Vec::new(),
            relays: Vec::new(),
            open: Vec::new(),
            unsettled: Vec::new(),
            seen: 0,
            names: 0,
        }
    }

    /// Forgets links that the node has closed, and remembers new deliveries.
    fn look(&mut self) {
        let links = &self.client.links;
        let engine = &self.client.engine;
        let is_there = |link: &LinkKey| links[link].detached.is_none() && engine.credit(*link).is_ok();
        for list in [&mut self.producers, &mut self.consumers, &mut self.relays, &mut self.open] {
            list.retain(is_there);
        }
        self.unsettled.extend(self.seen..self.client.received.len());
        self.seen = self.client.received.len();
    }

    fn attach(&mut self, random: &mut fastrand::Rng) {
        let address = *random.choice(&["a", "b", "m", "changing", "nowhere"]).unwrap();
        let rcv = if random.bool() { ReceiverSettleMode::First } else { ReceiverSettleMode::Second };
        let name = if random.u8(..) < 40 { "stolen".to_owned() } else { self.names.to_string() };
        self.names += 1;
        let (role, terms) = match random.u8(..4) {
            0 => (Role::Sender, Terms { rcv_settle_mode: rcv, ..to(address) }),
            1 => (Role::Sender, anywhere()),
            2 => {
                let source = Source { dynamic: true, ..Source::default() };
                (Role::Receiver, Terms { source: Some(Box::new(source)), ..from("") })
            }
            _ => {
                let snd = if random.bool() { SenderSettleMode::Settled } else { SenderSettleMode::Mixed };
                (Role::Receiver, Terms { rcv_settle_mode: rcv, snd_settle_mode: snd, ..from(address) })
            }
        };
        let is_relay = role == Role::Sender && terms.target == anywhere().target;
        if let Ok(link) = self.client.try_attach(&name, role, terms) {
            match role {
                Role::Receiver => self.consumers.push(link),
                Role::Sender if is_relay => self.relays.push(link),
                Role::Sender => self.producers.push(link),
            }
        }
    }

    fn send(&mut self, random: &mut fastrand::Rng) {
        let is_relay = random.bool();
        let Some(link) = random.choice(if is_relay { &self.relays } else { &self.producers }).copied() else {
            return;
        };
        if let Some(index) = self.open.iter().position(|open| *open == link) {
            let done = if random.u8(..) < 60 {
                self.client.engine.abort(link).is_ok()
            } else {
                let more = random.bool();
                let piece = Bytes::from(vec![b'y'; random.usize(..30_000)]);
                let sent = self.client.engine.send_more(link, piece, more);
                sent.is_err() || !more
            };
            if done {
                self.open.swap_remove(index);
            }
            return;
        }
        if self.client.credit(link) == 0 {
            return;
        }
        let bytes = match random.u8(..8) {
            0 => Bytes::from_static(&[0xff; 20]),
            1 => message(&"z".repeat(random.usize(..50_000))),
            2 => {
                let header = Some(Header { ttl: Some(random.u32(..20)), ..Header::default() });
                Message { header, ..Message::data("brief") }.to_bytes()
            }
            3 => addressed("nowhere", "lost"),
            4 => addressed("m", "to all"),
            _ => addressed("a", "to one"),
        };
        let more = random.u8(..) < 40;
        let settled = random.bool();
        if more {
            // Some end in the middle of what the node has to read.
            let cut = random.usize(1..=bytes.len());
            self.client.start(link, bytes.slice(..cut), settled, true);
            self.open.push(link);
        } else {
            self.client.start(link, bytes, settled, false);
        }
    }

    fn settle(&mut self, random: &mut fastrand::Rng) {
        if self.unsettled.is_empty() {
            return;
        }
        let index = self.unsettled.swap_remove(random.usize(..self.unsettled.len()));
        let delivery = self.client.received[index].delivery;
        let failed = DeliveryState::Modified {
            delivery_failed: Some(true),
            undeliverable_here: None,
            annotations: None,
        };
        let progress = DeliveryState::Received { section_number: 0, section_offset: 1 };
        let state = match random.u8(..6) {
            0 => Some(DeliveryState::Released),
            1 => Some(DeliveryState::Rejected(None)),
            2 => Some(failed),
            3 => Some(progress),
            4 => None,
            _ => Some(DeliveryState::Accepted),
        };
        let settled = random.u8(..) < 200;
        let _ = self.client.engine.settle(Role::Receiver, delivery, state, settled);
    }

    fn settle_first(&mut self, random: &mut fastrand::Rng) {
        let numbers: Vec<u64> = self.client.keys.keys().copied().collect();
        if let Some(number) = random.choice(&numbers) {
            let key = self.client.keys[number];
            let _ = self.client.engine.settle(Role::Sender, key, None, true);
        }
    }

    fn change_credit(&mut self, random: &mut fastrand::Rng) {
        let Some(link) = random.choice(&self.consumers).copied() else { return };
        let _ = match random.u8(..6) {
            0 => self.client.engine.drain(link),
            1 => self.client.engine.grant(link, u32::MAX),
            _ => self.client.engine.grant(link, random.u32(1..20)),
        };
    }

    fn detach(&mut self, random: &mut fastrand::Rng) {
        let lists = [&self.producers, &self.consumers, &self.relays];
        let list = lists[random.usize(..3)];
        if let Some(link) = random.choice(list).copied() {
            let _ = self.client.engine.detach(link, random.bool(), None);
            for list in [&mut self.producers, &mut self.consumers, &mut self.relays, &mut self.open] {
                list.retain(|other| *other != link);
            }
        }
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        self.look();
        match random.u8(..32) {
            0..4 => self.attach(random),
            4..14 => self.send(random),
            14..20 => self.settle(random),
            20..24 => self.change_credit(random),
            24 => self.settle_first(random),
            25 => self.detach(random),
            _ => self.client.turn(),
        }
    }

    /// Goes, in one way or another.
    fn leave(mut self, random: &mut fastrand::Rng) {
        match random.u8(..4) {
            0 => self.client.engine.close(Instant::now(), None),
            1 => drop(self.client.engine.end(self.client.session, None)),
            2 => drop(std::io::Write::write_all(&mut self.client.stream, &[0xff; 100])),
            _ => return,
        }
        self.client.write();
    }
}

#[allow(clippy::print_stdout, reason = "a failure is repeated with its seed")]
fn run(seed: u64) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let window = 64 << random.u32(10..15);
    let node = Node::with(|config| {
        config.limits.session_window = window;
        config.limits.link_credit = random.u32(1..40);
    });
    let kinds = [mq_model::manifest::AddressType::Anycast, mq_model::manifest::AddressType::Multicast];
    node.set("changing", kinds[0], |_| {});
    let mut actors: Vec<Actor> = (0..6).map(|number| Actor::new(&node, number % 2)).collect();
    for _ in 0..STEPS {
        let index = random.usize(..actors.len());
        match random.u16(..1_000) {
            0..5 => {
                let shard = random.usize(..2);
                std::mem::replace(&mut actors[index], Actor::new(&node, shard)).leave(&mut random);
            }
            5..8 => node.remove("changing"),
            8..11 => node.set("changing", kinds[random.usize(..2)], |spec| {
                spec.limits.max_undelivered = Some(3);
                spec.slow_consumer = Some(*random.choice(&SLOW).unwrap());
                spec.limits.max_message_size = random.bool().then_some(10_000);
            }),
            11..13 => {
                let connections = node.wait_for(node.hub().connections());
                let connection = random.choice(&connections).unwrap();
                node.wait_for(node.hub().close(&connection.id, "at random"));
            }
            _ => actors[index].step(&mut random),
        }
        if actors[index].client.has_ended || actors[index].client.closed.is_some() {
            let shard = random.usize(..2);
            actors[index] = Actor::new(&node, shard);
        }
    }
    for actor in actors {
        actor.leave(&mut random);
    }
    node.until_empty();
    // That an address was temporary and has gone is news between shards, which may be on its way.
    node.until("every temporary address to go", |_| {
        let counts = node.wait_for(node.hub().addresses(None));
        !counts.iter().any(|address| address.name.starts_with("$temp."))
    });
    for address in &node.wait_for(node.hub().addresses(None)) {
        let left = [address.producers, address.consumers, address.undelivered, address.unsettled];
        assert_eq!(left, [0; 4], "{}", address.name);
    }
}

const SLOW: [mq_model::manifest::SlowConsumer; 3] = [
    mq_model::manifest::SlowConsumer::Block,
    mq_model::manifest::SlowConsumer::Drop,
    mq_model::manifest::SlowConsumer::Disconnect,
];

/// Runs seeds from `MQ_SEED` on, `MQ_SEEDS` of them.
#[test]
fn clients_that_do_anything_leave_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("MQ_SEED").unwrap_or(1);
    for seed in first..first + number("MQ_SEEDS").unwrap_or(8) {
        run(seed);
    }
}
