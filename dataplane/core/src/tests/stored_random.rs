//! Random operations on queues and topics of several shards, and of several nodes that lose each other and
//! meet again, with a store that is slow or fails and mail that takes its time. Whatever happens: what was accepted is delivered until it is settled, what was
//! settled is not delivered again, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, C, P, Path, name, rejected};
use super::seeds::for_each_seed;
use super::stored::{Contains, fleet_with, queue, with};
use crate::*;

/// Where producers send, what keeps it in the end, and the addresses themselves.
const TARGETS: [&str; 5] = ["q", "r", "s", "t/a", "t/b"];
const SOURCES: [&str; 8] = ["q", "r", "s", "t::all", "dead", "t/#", "t/+", "a"];
/// What messages come to rest in.
const KEEPERS: [&str; 5] = ["q", "r", "s", "t::all", "dead"];

fn addresses() -> Vec<(&'static str, AddressSettings)> {
    let dead_letter = Some(name("dead"));
    let all = SubscriptionSettings { topic: name("t"), levels: None, filter: None };
    vec![
        ("dead", queue(1)),
        (
            "q",
            with(
                2,
                QueueSettings {
                    dead_letter: dead_letter.clone(),
                    max_deliveries: 3,
                    ..QueueSettings::default()
                },
            ),
        ),
        ("r", with(3, QueueSettings { max_messages: 8, on_full: OnFull::Block, ..QueueSettings::default() })),
        (
            "s",
            with(
                4,
                QueueSettings {
                    dead_letter,
                    max_messages: 20,
                    redelivery_delay: Duration::from_secs(2),
                    ..QueueSettings::default()
                },
            ),
        ),
        (
            "t",
            AddressSettings {
                kind: AddressKind::Topic,
                id: None,
                overload: Overload::Drop,
                max_undelivered: 10,
                ..queue(0)
            },
        ),
        ("t::all", AddressSettings { subscription: Some(Arc::new(all)), ..queue(5) }),
        ("a", AddressSettings::default()),
    ]
}

/// A message, as the test remembers it.
#[derive(Debug)]
struct Sent {
    producer: usize,
    durable: bool,
    handle: Option<(P, u64)>,
}

struct Run {
    bed: Bed,
    random: fastrand::Rng,
    /// Accepted by a consumer; whether a home on another node has heard of it is open.
    unheard: BTreeSet<String>,
    /// Nodes have lost each other: what was leaving a queue may be in two.
    torn: bool,
    producers: Vec<(P, usize)>,
    consumers: Vec<(C, &'static str)>,
    lanes: Vec<(usize, LaneKey)>,
    sent: BTreeMap<String, Sent>,
    accepted: BTreeSet<String>,
    /// Accepted by a consumer.
    done: BTreeSet<String>,
    /// Given to a consumer for good, or dropped by a decision that the test made.
    excused: BTreeSet<String>,
    names: usize,
    restarted: bool,
    /// Transactions that are not over: what they post and retire, and whether they were to be rolled back.
    open: BTreeMap<TransactionId, (Vec<String>, Vec<String>, bool)>,
    /// Posted and rolled back.
    undone: BTreeSet<String>,
}

impl Run {
    fn new(seed: u64, nodes: &[u16]) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let memory = if random.bool() { 40 } else { 1 << 20 };
        let limits = CoreLimits { link_credit: 10, stored_memory_bytes: memory, ..CoreLimits::default() };
        let mut bed = fleet_with(nodes, &limits);
        for (address, settings) in addresses() {
            bed.set(address, settings);
        }
        Self {
            bed,
            random,
            unheard: BTreeSet::new(),
            torn: false,
            producers: Vec::new(),
            consumers: Vec::new(),
            lanes: Vec::new(),
            sent: BTreeMap::new(),
            accepted: BTreeSet::new(),
            done: BTreeSet::new(),
            excused: BTreeSet::new(),
            names: 0,
            restarted: false,
            open: BTreeMap::new(),
            undone: BTreeSet::new(),
        }
    }

    fn shard(&mut self) -> usize {
        self.random.usize(..self.bed.cores.len())
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..6 => self.add_producer(),
            6..12 => self.add_consumer(),
            12..14 => self.remove_producer(),
            14..18 => self.remove_consumer(),
            18..45 => self.send(),
            45..58 => self.give_credit(),
            58..75 => self.settle(),
            75..80 => self.change_budget(),
            80..84 => {
                let time = Duration::from_millis(self.random.u64(1..1_500));
                self.bed.advance(time);
            }
            84..86 => self.bed.store.held = self.random.bool(),
            86..87 => self.bed.store.fails = self.random.u8(0..3) == 0,
            87..88 => self.bed.store.cannot_load = self.random.u8(0..3) == 0,
            88..92 => {
                self.bed.deliver_mail = self.random.bool();
                self.bed.run();
            }
            92..96 => self.post_some(),
            99 if self.bed.nodes.len() > 1 => self.remove_closed(),
            98 => self.move_some(),
            96..98 if self.bed.nodes.len() > 1 => self.change_paths(),
            96..98 => self.transact(),
            _ => self.answer_stop(),
        }
        self.look();
    }

    /// Two nodes lose each other, hear of it, or meet again.
    fn change_paths(&mut self) {
        let nodes = self.bed.nodes.len();
        let one = self.random.usize(..nodes);
        let other = (one + self.random.usize(1..nodes)) % nodes;
        match self.random.u8(..4) {
            0 => {
                self.look();
                self.torn = true;
                for body in std::mem::take(&mut self.unheard) {
                    self.done.remove(&body);
                    self.excused.insert(body);
                }
                self.bed.disconnect(one, other);
            }
            1 => self.bed.notice(one, other),
            _ => self.bed.connect(one, other),
        }
    }

    /// Producers of homes that were lost have heard of each message, and attach again.
    fn remove_closed(&mut self) {
        self.look();
        for (producer, number) in std::mem::take(&mut self.producers) {
            if self.bed.producers[&producer].closed.is_none() {
                self.producers.push((producer, number));
                continue;
            }
            let is_answered = |(_, handle): (P, u64)| self.bed.outcome(producer, handle).is_some();
            let handles = self.sent.values().filter_map(|sent| sent.handle);
            assert!(handles.filter(|(of, _)| *of == producer).all(is_answered), "no outcome before the end");
            self.bed.remove_producer(producer);
        }
        for (consumer, source) in std::mem::take(&mut self.consumers) {
            if self.bed.consumers[&consumer].closed.is_none() {
                self.consumers.push((consumer, source));
                continue;
            }
            let state = self.bed.remove_consumer(consumer);
            self.excuse(&state);
        }
    }

    fn add_producer(&mut self) {
        let shard = self.shard();
        let target = TARGETS[self.random.usize(0..TARGETS.len())];
        let options = ProducerOptions::default();
        if let Ok(producer) = self.bed.try_producer(shard, ProducerTarget::Address(target), options) {
            self.names += 1;
            self.producers.push((producer, self.names * 10 + index_of(target)));
        }
    }

    fn add_consumer(&mut self) {
        let shard = self.shard();
        let source = SOURCES[self.random.usize(0..SOURCES.len())];
        let lane = if self.random.bool() || self.lanes.is_empty() {
            let budget = if self.random.bool() { usize::MAX } else { self.random.usize(0..300) };
            let lane = self.bed.lane(shard, budget);
            self.lanes.push((shard, lane));
            lane
        } else {
            let (_, lane) = self.lanes[self.random.usize(0..self.lanes.len())];
            lane
        };
        let mut options = ConsumerOptions {
            settled: self.random.u8(0..8) == 0,
            browse: self.random.u8(0..10) == 0,
            ..ConsumerOptions::default()
        };
        if self.random.u8(0..6) == 0 {
            let digit = self.random.u8(b'0'..=b'9');
            options.filter = Some(Arc::new(Contains(vec![digit])));
        }
        // A lane of another shard is refused.
        if let Ok(consumer) = self.bed.consumer_in(shard, lane, source, options, 0) {
            self.consumers.push((consumer, source));
        }
    }

    fn remove_producer(&mut self) {
        if !self.producers.is_empty() {
            let (producer, _) = self.producers.swap_remove(self.random.usize(0..self.producers.len()));
            self.look();
            for sent in self.sent.values_mut() {
                sent.handle.take_if(|(key, _)| *key == producer);
            }
            self.bed.remove_producer(producer);
        }
    }

    fn remove_consumer(&mut self) {
        if !self.consumers.is_empty() {
            let (consumer, _) = self.consumers.swap_remove(self.random.usize(0..self.consumers.len()));
            self.look();
            let state = self.bed.remove_consumer(consumer);
            self.excuse(&state);
        }
    }

    /// What was sent settled to a consumer, it has for good.
    fn excuse(&mut self, state: &super::bed::ConsumerState) {
        for one in state.received.iter().filter(|one| one.settled && !one.taken) {
            self.excused.insert(own(&String::from_utf8_lossy(&one.body)));
        }
    }

    fn send(&mut self) {
        if self.producers.is_empty() {
            return;
        }
        let (producer, number) = self.producers[self.random.usize(0..self.producers.len())];
        let state = &self.bed.producers[&producer];
        if state.closed.is_some() || state.credit == 0 {
            return;
        }
        let body = format!("{number}.{:06}", self.sent.len());
        let durable = self.random.u8(0..4) != 0;
        let more = self.random.u8(0..8) == 0;
        let first = if more { &body[..3] } else { &body };
        let incoming = Incoming { durable, ..self.bed.incoming(first, false, more) };
        let sent = Sent { producer: number, durable, handle: None };
        self.sent.insert(body.clone(), sent);
        let (handle, delivery) = self.bed.begin(producer, incoming);
        if more {
            let Some(delivery) = delivery else { panic!("it goes on") };
            if self.random.u8(0..4) == 0 {
                self.bed.abort(producer, delivery);
                self.sent.remove(&body);
                // The number of a body is not given twice.
                let gone = Sent { producer: number, durable, handle: None };
                self.sent.insert(format!("{body} aborted"), gone);
                return;
            }
            self.bed.append(producer, delivery, &body[3..], false);
        }
        if let Some(sent) = self.sent.get_mut(&body) {
            sent.handle = Some((producer, handle));
        }
    }

    fn give_credit(&mut self) {
        if !self.consumers.is_empty() {
            let (consumer, _) = self.consumers[self.random.usize(0..self.consumers.len())];
            if self.bed.consumers[&consumer].closed.is_none() {
                let (credit, drain) = (self.random.u32(0..12), self.random.u8(0..4) == 0);
                self.bed.credit(consumer, credit, drain);
            }
        }
    }

    fn settle(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let (consumer, source) = self.consumers[self.random.usize(0..self.consumers.len())];
        let state = &self.bed.consumers[&consumer];
        let open: Vec<usize> = (0..state.received.len())
            .filter(|index| {
                let one = &state.received[*index];
                !one.settled && one.updates.is_empty()
            })
            .collect();
        if open.is_empty() || state.closed.is_some() {
            return;
        }
        let index = open[self.random.usize(0..open.len())];
        let body = String::from_utf8_lossy(&state.received[index].body).into_owned();
        let outcome = match self.random.u8(0..10) {
            0 => Outcome::Released,
            1 => Outcome::FAILED,
            2 => rejected(),
            3 => Outcome::Modified { delivery_failed: false, undeliverable_here: true, annotations: None },
            _ => Outcome::Accepted,
        };
        let is_accepted = outcome == Outcome::Accepted;
        if matches!(outcome, Outcome::Rejected(_)) && source != "q" && source != "s" {
            // Without an address for dead letters it is dropped.
            self.excused.insert(own(&body));
        }
        // A subscription without a name has a copy of its own.
        if is_accepted && KEEPERS.contains(&source) {
            let is_first = self.done.insert(own(&body));
            // A copy of what has left its queue twice is another message.
            assert!(is_first || (self.torn && body.contains('!')), "{body} was accepted twice");
            let (here, home) = (self.bed.node_of(consumer.0), self.bed.home_node(source));
            if self.bed.path(here, home) != Path::Open {
                self.done.remove(&own(&body));
                self.excused.insert(own(&body));
            } else if here != home {
                self.unheard.insert(own(&body));
            }
        }
        let received = &mut self.bed.consumers.get_mut(&consumer).expect("there").received[index];
        (received.settled, received.taken) = (true, true);
        self.bed.settle(consumer, index, Some(outcome), true);
    }

    fn change_budget(&mut self) {
        if !self.lanes.is_empty() {
            let (shard, lane) = self.lanes[self.random.usize(0..self.lanes.len())];
            let bytes = if self.random.bool() { usize::MAX } else { self.random.usize(0..500) };
            self.bed.budget(shard, lane, bytes);
        }
    }

    fn post_some(&mut self) {
        for _ in 0..self.random.u8(1..6) {
            let pairs: Vec<(usize, usize)> =
                self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair).collect();
            if pairs.is_empty() {
                self.bed.store_answers();
                return;
            }
            let pair = pairs[self.random.usize(0..pairs.len())];
            self.bed.post_mail(pair);
        }
    }

    fn move_some(&mut self) {
        let home = self.bed.home_of("dead");
        let limit = self.random.u64(0..5);
        if self.bed.nodes.len() > 1 {
            // What a move has sent twice does not say so.
            return;
        }
        self.bed.cores[home].move_messages(self.bed.now, "dead", "q", limit).expect("both are there");
        self.bed.run();
    }

    /// A whole transaction of some links of one shard.
    fn transact(&mut self) {
        let shard = self.shard();
        let id = self.bed.cores[shard].declare(self.bed.now).expect("there is room");
        let (mut posted, mut retired) = (Vec::new(), Vec::new());
        for index in 0..self.producers.len().min(3) {
            let (producer, number) = self.producers[index];
            let state = &self.bed.producers[&producer];
            if producer.0 != shard || state.closed.is_some() || state.credit == 0 {
                continue;
            }
            let body = format!("{number}.{:06}", self.sent.len());
            let durable = self.random.u8(0..4) != 0;
            let incoming =
                Incoming { durable, transaction: Some(id), ..self.bed.incoming(&body, false, false) };
            self.sent.insert(body.clone(), Sent { producer: number, durable, handle: None });
            self.bed.begin(producer, incoming);
            posted.push(body);
        }
        for index in 0..self.consumers.len() {
            let (consumer, source) = self.consumers[index];
            let state = self.bed.consumers.get_mut(&consumer).expect("there");
            if consumer.0 != shard || !KEEPERS.contains(&source) || state.closed.is_some() {
                continue;
            }
            let Some(one) = state.received.iter_mut().find(|one| !one.settled) else { continue };
            one.settled = true;
            one.taken = true;
            let (body, leg) = (String::from_utf8_lossy(&one.body).into_owned(), one.leg.expect("unsettled"));
            let core = &mut self.bed.cores[shard];
            core.settle_in_transaction(self.bed.now, leg, Some(Outcome::Accepted), id).expect("it is open");
            retired.push(own(&body));
        }
        let fail = self.random.u8(0..3) == 0;
        self.open.insert(id, (posted, retired, fail));
        self.bed.cores[shard].discharge(self.bed.now, id, fail).expect("it is open");
        self.bed.run();
    }

    fn look_at_transactions(&mut self) {
        let over: Vec<TransactionId> =
            self.open.keys().filter(|id| self.bed.discharged.contains_key(id)).copied().collect();
        for id in over {
            let (posted, retired, fail) = self.open.remove(&id).expect("it was open");
            if self.bed.discharged[&id].is_ok() && !fail {
                self.accepted.extend(posted);
                for body in retired {
                    assert!(self.done.insert(body.clone()), "{body} was accepted twice");
                }
            } else {
                self.undone.extend(posted);
            }
        }
    }

    /// Does what a client does whose credit is taken back.
    fn answer_stop(&mut self) {
        for (producer, _) in &self.producers {
            let state = self.bed.producers.get_mut(producer).expect("there");
            if state.stopped {
                state.stopped = false;
                state.credit = 0;
                self.bed.cores[producer.0].producer_stopped(self.bed.now, producer.1);
            }
        }
        self.bed.run();
    }

    /// Takes note of what producers have been told.
    fn look(&mut self) {
        self.look_at_transactions();
        if self.bed.mail.values().all(std::collections::VecDeque::is_empty) {
            self.unheard.clear();
        }
        for (body, sent) in &mut self.sent {
            let Some((producer, handle)) = sent.handle else { continue };
            if let Some(outcome) = self.bed.outcome(producer, handle) {
                sent.handle = None;
                if outcome == Outcome::Accepted {
                    self.accepted.insert(body.clone());
                } else {
                    self.excused.insert(body.clone());
                }
            }
        }
    }

    /// Lets everything come to rest.
    fn rest(&mut self) {
        for (one, other) in self.bed.paths.keys().copied().collect::<Vec<_>>() {
            self.bed.connect(one, other);
        }
        self.bed.deliver_mail = true;
        self.bed.store.held = false;
        self.bed.store.fails = false;
        self.bed.store.cannot_load = false;
        self.bed.run();
        for _ in 0..4 {
            self.bed.advance(Duration::from_secs(64));
        }
        self.look();
    }

    fn crash(mut self) -> Self {
        self.rest_partly();
        for (consumer, _) in std::mem::take(&mut self.consumers) {
            let state = self.bed.consumers.remove(&consumer).expect("there");
            self.excuse(&state);
            for one in &state.received {
                // Whether the home heard of it before the crash is open.
                if one.settled {
                    self.excused.insert(own(&String::from_utf8_lossy(&one.body)));
                }
            }
        }
        for (body, sent) in &mut self.sent {
            sent.handle = None;
            if !sent.durable {
                self.excused.insert(body.clone());
            }
        }
        self.producers.clear();
        self.lanes.clear();
        for (_, (posted, retired, _)) in std::mem::take(&mut self.open) {
            // Whether they were committed is open; that it is all or nothing has a test of its own.
            self.excused.extend(posted);
            self.excused.extend(retired);
        }
        // Whether the store had heard of it is open.
        self.excused.append(&mut self.done);
        self.restarted = true;
        self.bed = self.bed.restart(&addresses());
        self
    }

    fn rest_partly(&mut self) {
        if self.random.bool() {
            self.bed.deliver_mail = true;
            self.bed.run();
        }
        self.look();
        for state in self.bed.consumers.values() {
            for one in &state.received {
                if one.settled {
                    self.excused.insert(own(&String::from_utf8_lossy(&one.body)));
                }
            }
        }
    }

    /// Takes everything out and counts.
    fn finish(mut self, seed: u64) {
        self.rest();
        if self.bed.nodes.len() > 1 {
            self.remove_closed();
            self.bed.check_peers();
        }
        for (consumer, _) in std::mem::take(&mut self.consumers) {
            let state = self.bed.remove_consumer(consumer);
            self.excuse(&state);
        }
        for (producer, number) in std::mem::take(&mut self.producers) {
            let statistics = self.bed.cores[producer.0].producer(producer.1).expect("there");
            assert_eq!(statistics.unsettled, 0, "producer {number}");
            self.bed.remove_producer(producer);
        }
        self.rest();
        let mut found: BTreeMap<String, u32> = BTreeMap::new();
        let mut strayed: BTreeSet<String> = BTreeSet::new();
        for address in KEEPERS {
            let bodies = self.bed.drain_bodies(0, address);
            let mut last: BTreeMap<usize, String> = BTreeMap::new();
            for body in bodies {
                let number = own(&body);
                if address != "dead" && !body.contains('!') && !self.restarted {
                    // What never left its queue is in the order in which it was sent.
                    let producer = self.sent[&number].producer;
                    if let Some(before) = last.insert(producer, number.clone()) {
                        assert!(before < number, "seed {seed}: {before} came before {number} in {address}");
                    }
                }
                if self.torn && body.contains('!') {
                    strayed.insert(number.clone());
                }
                *found.entry(number).or_default() += 1;
            }
        }
        for (body, count) in &found {
            assert!(*count == 1 || strayed.contains(body), "seed {seed}: {body} is there {count} times");
            let is_again = self.done.contains(body) && !strayed.contains(body);
            assert!(!is_again, "seed {seed}: {body} was settled and is there again");
            assert!(!self.undone.contains(body), "seed {seed}: {body} was rolled back and is there");
        }
        for body in &self.accepted {
            let is_there =
                found.contains_key(body) || self.done.contains(body) || self.excused.contains(body);
            assert!(is_there, "seed {seed}: {body} was accepted and is lost ({:?})", self.sent[body]);
        }
        assert!(self.bed.store.messages.is_empty(), "seed {seed}: {:?}", self.bed.store.messages);
        for store in &self.bed.stores {
            assert!(store.messages.is_empty(), "seed {seed}: {:?}", store.messages);
        }
        for core in &self.bed.cores {
            core.check_stored_idle();
            assert_eq!(core.stored_memory(), 0, "seed {seed}");
        }
        self.bed.clear();
    }
}

/// The body as it was sent, without notes.
fn own(body: &str) -> String {
    body.split(' ').next().unwrap_or_default().to_owned()
}

fn index_of(target: &str) -> usize {
    TARGETS.iter().position(|other| *other == target).expect("one of them")
}

fn rounds(shards: u16, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut run = Run::new(seed, &[shards]);
        for _ in 0..300 {
            run.step();
        }
        if seed % 3 == 0 {
            run = run.crash();
            for _ in 0..100 {
                run.step();
            }
        }
        run.finish(seed);
    }
}

#[test]
fn on_one_shard_nothing_is_lost_or_left() {
    rounds(1, 0..200);
}

#[test]
fn on_two_shards_nothing_is_lost_or_left() {
    rounds(2, 1_000..1_300);
}

#[test]
fn on_three_shards_nothing_is_lost_or_left() {
    rounds(3, 2_000..2_200);
}

#[test]
fn in_a_fleet_that_falls_apart_and_meets_again_nothing_accepted_is_lost() {
    for_each_seed(3_000..3_300, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes: Vec<u16> = (0..random.usize(2..5)).map(|_| random.u16(1..=3)).collect();
        let mut run = Run::new(seed, &nodes);
        for _ in 0..400 {
            run.step();
        }
        run.finish(seed);
    });
}
