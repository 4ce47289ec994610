//! Two ends, a network that breaks, and callers that answer when they like: seeded random runs.
//!
//! Whatever the order, nobody breaks a rule, windows hold, every QoS 1 publication is acknowledged
//! once per attempt and arrives at least once, and every QoS 2 publication arrives exactly once, over
//! any number of connections. A failure names its seed; `MQ_SEED=<seed>` runs that one alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, Bytes, BytesMut};

use super::pair::{NONE, Pair, connect, drain, limits};
use crate::packet::Connect;
use crate::{
    Accept, Blocked, Config, Event, Outgoing, OutgoingState, PacketId, Qos, ReasonCode, SessionState, Version,
};

/// Runs of one test.
const SEEDS: u64 = 300;

/// Operations of one run.
const OPERATIONS: usize = 600;

/// SplitMix64: a few lines of randomness that every platform repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// What the caller of one end knows.
#[derive(Default)]
struct Caller {
    /// Messages that have not ended, by number.
    unended: BTreeMap<u64, Qos>,
    /// Numbers of ended messages.
    ended: BTreeSet<u64>,
    /// Messages of the peer that wait for our word.
    waiting: VecDeque<PacketId>,
    /// Publications to be released, or completed.
    to_release: VecDeque<PacketId>,
    to_complete: VecDeque<PacketId>,
    /// How often each message of the peer was told, by number.
    arrived: BTreeMap<u64, u32>,
    /// What the last connection left.
    session: SessionState,
    /// The number of each publication of the peer that has not been acknowledged.
    numbers: BTreeMap<PacketId, u64>,
}

struct Run {
    random: Random,
    version: Version,
    pair: Pair,
    configs: [Config; 2],
    callers: [Caller; 2],
    wires: [BytesMut; 2],
    next: u64,
}

fn topic(number: u64) -> String {
    format!("some/topic/{}", number % 9)
}

fn body(number: u64) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(8 + (number % 7) as usize * 1_000, 0);
    bytes.into()
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let version = if random.one_in(3) { Version::V3_1_1 } else { Version::V5_0 };
        let mut config = || {
            let mut config = limits(|limits| {
                limits.receive_maximum = 1 + random.below(6) as u16;
                limits.max_in_flight = 1 + random.below(9) as u16;
                limits.topic_alias_maximum = random.below(5) as u16;
            });
            config.automatic_release = random.one_in(2);
            config
        };
        let configs = [config(), config()];
        let mut run = Self {
            random,
            version,
            pair: Pair::open(version),
            configs,
            callers: Default::default(),
            wires: Default::default(),
            next: 1,
        };
        run.connect();
        run
    }

    /// A new connection that resumes what both ends kept.
    fn connect(&mut self) {
        let [of_client, of_server] = self.callers.each_ref().map(|caller| caller.session.clone());
        let connect = Connect { clean_start: false, ..connect(self.version) };
        let [client, server] = self.configs.clone();
        let mut pair = Pair::new(&connect, client, server, of_client);
        let accept = Accept { session: Some(of_server), ..Accept::default() };
        pair.let_in(accept);
        self.pair = pair;
        self.wires = Default::default();
        for caller in &mut self.callers {
            caller.waiting.clear();
            caller.to_complete.clear();
            caller.numbers.clear();
        }
        // What the resumed ends said at once has been carried by the handshake.
        for side in 0..2 {
            self.serve(side);
        }
    }

    fn engine(&mut self, side: usize) -> &mut super::pair::End {
        if side == 0 { &mut self.pair.client } else { &mut self.pair.server }
    }

    /// The network breaks, with whatever is on its way.
    fn break_off(&mut self) {
        for side in 0..2 {
            let session = self.engine(side).engine.session_state();
            self.callers[side].session = session;
        }
        self.connect();
    }

    fn publish(&mut self, side: usize) {
        let qos = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce][self.random.below(3)];
        let number = self.next;
        let (topic, body) = (topic(number), body(number));
        let message = Outgoing { qos, token: number, ..Outgoing::new(&topic, &body) };
        let engine = &mut self.engine(side).engine;
        let window = engine.window();
        match engine.publish(&message) {
            Ok(None) => {}
            Ok(Some(_)) => {
                assert_eq!(engine.window(), window - 1);
                self.callers[side].unended.insert(number, qos);
            }
            Err(Blocked::Window) => assert_eq!(window, 0),
            Err(Blocked::Resend) => assert!(engine.next_unsent().is_some()),
            Err(other) => panic!("{other}"),
        }
        self.next += 1;
    }

    fn resend(&mut self, side: usize) {
        let Some(due) = self.engine(side).engine.next_unsent() else { return };
        let number = due.token;
        let OutgoingState::Published(qos) = due.state else { panic!("{due:?}") };
        assert_eq!(self.callers[side].unended.get(&number), Some(&qos));
        let (topic, body) = (topic(number), body(number));
        let message = Outgoing { qos, token: number, ..Outgoing::new(&topic, &body) };
        match self.engine(side).engine.resend(due.packet_id, &message) {
            Ok(()) => {}
            Err(error) => assert_eq!(error, Blocked::Window),
        }
    }

    /// Carries some of the bytes that an end has said.
    fn carry(&mut self, side: usize, most: usize) {
        let now = self.pair.now;
        let said = drain(&mut self.engine(side).engine, now);
        self.wires[side].extend_from_slice(&said);
        let count = self.wires[side].len().min(most);
        let bytes = self.wires[side].copy_to_bytes(count);
        let other = self.engine(1 - side);
        other.input.extend_from_slice(&bytes);
        other.take_in(now);
        assert_eq!(other.error, None);
        self.serve(1 - side);
    }

    /// Notes what an end was told.
    fn serve(&mut self, side: usize) {
        let events = std::mem::take(&mut self.engine(side).events);
        let caller = &mut self.callers[side];
        for event in events {
            match event {
                Event::Publish(publish) => {
                    let number = publish.payload().get_u64();
                    assert_eq!(publish.topic(), topic(number));
                    assert_eq!(publish.payload(), body(number));
                    let Some(id) = publish.packet_id else { continue };
                    caller.waiting.push_back(id);
                    caller.numbers.insert(id, number);
                }
                Event::Released { packet_id } => caller.to_complete.push_back(packet_id),
                Event::Received { packet_id, token, .. } => {
                    assert_eq!(caller.unended.get(&token), Some(&Qos::ExactlyOnce));
                    caller.to_release.push_back(packet_id);
                }
                Event::Acknowledged { token, reason, .. } => {
                    assert_eq!(reason, ReasonCode::Success);
                    assert_eq!(caller.unended.remove(&token), Some(Qos::AtLeastOnce));
                    assert!(caller.ended.insert(token));
                }
                Event::Completed { token, .. } => {
                    assert_eq!(caller.unended.remove(&token), Some(Qos::ExactlyOnce));
                    assert!(caller.ended.insert(token));
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
    }

    /// The caller takes a message: only then has it arrived.
    fn acknowledge(&mut self, side: usize) {
        let count = self.callers[side].waiting.len();
        if count == 0 {
            return;
        }
        let index = self.random.below(count);
        let caller = &mut self.callers[side];
        let Some(id) = caller.waiting.remove(index) else { return };
        let number = caller.numbers.remove(&id).expect("it was told");
        *caller.arrived.entry(number).or_default() += 1;
        self.engine(side).engine.acknowledge(id, ReasonCode::Success, NONE()).expect("it waits");
    }

    fn follow_up(&mut self, side: usize) {
        let is_automatic = self.configs[side].automatic_release;
        if let Some(id) = self.callers[side].to_release.pop_front() {
            assert_eq!(self.engine(side).engine.release(id).is_ok(), !is_automatic);
        }
        if let Some(id) = self.callers[side].to_complete.pop_front() {
            assert_eq!(self.engine(side).engine.complete(id).is_ok(), !is_automatic);
        }
    }

    fn step(&mut self) {
        let side = self.random.below(2);
        match self.random.below(20) {
            0..=4 => self.publish(side),
            5..=6 => self.resend(side),
            7..=11 => {
                let most = self.random.below(3_000);
                self.carry(side, most);
            }
            12..=15 => self.acknowledge(side),
            16..=18 => self.follow_up(side),
            _ if self.random.one_in(4) => self.break_off(),
            _ if self.random.one_in(4) => self.engine(side).engine.shrink(),
            _ => {}
        }
    }

    fn come_to_rest(&mut self) {
        for _ in 0..10_000 {
            for side in 0..2 {
                self.resend(side);
                self.carry(side, usize::MAX);
                self.acknowledge(side);
                self.follow_up(side);
            }
            let is_quiet = self.callers.iter().all(|caller| {
                caller.unended.is_empty() && caller.waiting.is_empty() && caller.to_complete.is_empty()
            });
            if is_quiet && (0..2).all(|side| self.engine(side).engine.buffered() == 0) {
                return;
            }
        }
        panic!("it never came to rest: {:?}", self.callers.each_ref().map(|caller| &caller.unended));
    }

    fn check(&mut self) {
        for side in 0..2 {
            let engine = &self.engine(side).engine;
            assert!(engine.session_state().is_empty());
            assert_eq!(engine.pending_acknowledgements(), 0);
            let ended = &self.callers[side].ended;
            let arrived = &self.callers[1 - side].arrived;
            for number in ended {
                assert!(arrived.contains_key(number), "{number} ended and did not arrive");
            }
        }
    }
}

fn run(seed: u64) {
    let mut run = Run::new(seed);
    let mut exactly_once = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..OPERATIONS {
        run.step();
        for (side, caller) in run.callers.iter().enumerate() {
            let numbers = caller.unended.iter().filter(|(_, qos)| **qos == Qos::ExactlyOnce);
            exactly_once[side].extend(numbers.map(|(number, _)| *number));
        }
    }
    run.come_to_rest();
    run.check();
    for (side, numbers) in exactly_once.iter().enumerate() {
        for number in numbers {
            let times = run.callers[1 - side].arrived.get(number);
            assert_eq!(times, Some(&1), "QoS 2 message {number}");
        }
    }
    assert!(run.callers.iter().any(|caller| !caller.ended.is_empty()), "nothing happened");
}

#[test]
fn two_ends_agree_over_any_number_of_connections() {
    if let Ok(seed) = std::env::var("MQ_SEED") {
        run(seed.parse().expect("MQ_SEED is a number"));
        return;
    }
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}; MQ_SEED={seed} runs it alone");
    }
}
