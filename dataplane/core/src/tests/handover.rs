//! Messages that homes on two nodes pass to each other, over crashes and lost paths at every step.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, C, P, Path};
use super::seeds::for_each_seed;
use super::stored::{fleet_with, queue, with};
use crate::*;

const COUNT: usize = 6;

fn limits() -> CoreLimits {
    CoreLimits { link_credit: 1_000, ..CoreLimits::default() }
}

/// What goes from the first node to the second one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Passage {
    Home,
    DeadLetters,
    Expiry,
    Operator,
}

/// What happens in the middle of it.
#[derive(Clone, Copy, Debug)]
enum Accident {
    Crash(usize),
    /// Of both, the old home first.
    Crashes,
    Loss,
}

const ACCIDENTS: [Accident; 4] = [Accident::Crash(0), Accident::Crash(1), Accident::Crashes, Accident::Loss];

impl Bed {
    fn meet_with_an_accident(&mut self, accident: Accident) {
        match accident {
            Accident::Crash(node) => self.crash(node),
            Accident::Crashes => {
                self.crash(0);
                self.crash(1);
            }
            Accident::Loss => {
                self.disconnect(0, 1);
                self.notice(0, 1);
            }
        }
    }

    fn handovers(&self) -> usize {
        let objects = std::iter::once(&self.store).chain(&self.stores).flat_map(|store| store.objects.keys());
        objects.filter(|key| key.first() == Some(&b'h')).count()
    }

    /// Lets everything come to rest with all nodes there.
    fn rest(&mut self) {
        for (one, other) in self.paths.keys().copied().collect::<Vec<_>>() {
            self.connect(one, other);
        }
        self.deliver_mail = true;
        self.run();
        for _ in 0..4 {
            self.advance(Duration::from_secs(64));
        }
    }
}

fn settings(passage: Passage) -> AddressSettings {
    let to: Arc<str> = "d".into();
    let settings = match passage {
        Passage::DeadLetters => QueueSettings { dead_letter: Some(to), ..QueueSettings::default() },
        Passage::Expiry => QueueSettings { expiry: Some(to), ..QueueSettings::default() },
        Passage::Home | Passage::Operator => QueueSettings::default(),
    };
    AddressSettings { link_credit: 1_000, ..with(1, settings) }
}

/// Two nodes, the first with a full queue `q`, the second with a queue `d`.
fn prepare(passage: Passage) -> Bed {
    let mut bed = fleet_with(&[1, 1], &limits());
    bed.set_moving("q", &settings(passage), None, 0, &[0]);
    bed.set_at_home("d", AddressSettings { link_credit: 1_000, ..queue(2) }, 1);
    let producer = bed.producer(0, "q");
    let ttl = (passage == Passage::Expiry).then(|| Duration::from_secs(1));
    for number in 0..COUNT {
        let incoming = Incoming { ttl, durable: true, ..bed.incoming(&number.to_string(), false, false) };
        bed.begin(producer, incoming);
    }
    bed.remove_producer(producer);
    bed
}

/// Begins what makes the messages go, and does nothing of it yet.
fn begin(bed: &mut Bed, passage: Passage) {
    match passage {
        Passage::Home => {
            bed.deliver_mail = false;
            bed.set_moving("q", &settings(passage), Some(0), 1, &[0, 1]);
        }
        Passage::DeadLetters => {
            let consumer = bed.consumer(0, "q", COUNT as u32);
            bed.deliver_mail = false;
            for index in 0..COUNT {
                bed.settle(consumer, index, Some(Outcome::Rejected(None)), true);
            }
        }
        Passage::Expiry => {
            bed.deliver_mail = false;
            bed.advance(Duration::from_secs(2));
        }
        Passage::Operator => {
            bed.deliver_mail = false;
            bed.cores[0].move_messages(bed.now, "q", "d", 0).expect("both are there");
            bed.run();
        }
    }
}

/// Ends the move of `q`; gives the core where it is now.
fn end(bed: &mut Bed) -> usize {
    assert!(bed.cores.iter().all(|core| core.left_behind().count() == 0), "it has moved as a whole");
    bed.set_moving("q", &settings(Passage::Home), None, 1, &[0, 1]);
    bed.rest();
    1
}

fn first_word(text: String) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// Lets it happen after `steps` steps; says whether there were as many.
fn each_is_there_once(passage: Passage, accident: Accident, steps: usize) -> bool {
    let what = format!("{passage:?} and {accident:?} after {steps} steps");
    let mut bed = prepare(passage);
    begin(&mut bed, passage);
    let is_long_enough = (0..steps).all(|_| bed.step());
    bed.meet_with_an_accident(accident);
    for consumer in bed.consumers.keys().copied().collect::<Vec<_>>() {
        bed.remove_consumer(consumer);
    }
    bed.rest();
    let at = if passage == Passage::Home { end(&mut bed) } else { 0 };
    let mut bodies = bed.drain_bodies(at, "q");
    let elsewhere = bed.drain_bodies(1, "d");
    if passage == Passage::Home {
        assert!(bodies.is_sorted(), "{what}: {bodies:?} are in order");
    } else if passage == Passage::Expiry {
        assert!(bodies.is_empty(), "{what}: {bodies:?} have expired");
    }
    bodies.extend(elsewhere.into_iter().map(first_word));
    bodies.sort();
    let all: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    assert_eq!(bodies, all, "{what}");
    assert_eq!(bed.handovers(), 0, "{what}: what has left is remembered nowhere");
    assert!(bed.store.messages.is_empty() && bed.stores[0].messages.is_empty(), "{what}");
    for core in &bed.cores {
        core.check_stored_idle();
    }
    bed.clear();
    is_long_enough
}

fn at_every_step(passage: Passage) {
    for accident in ACCIDENTS {
        let count = (0..).take_while(|steps| each_is_there_once(passage, accident, *steps)).count();
        assert!(count > 4 * COUNT, "{passage:?} takes more than {count} steps");
    }
}

#[test]
fn a_queue_that_moves_has_each_message_once_whatever_breaks_and_when() {
    at_every_step(Passage::Home);
}

#[test]
fn dead_letters_for_another_node_are_there_once_whatever_breaks_and_when() {
    at_every_step(Passage::DeadLetters);
}

#[test]
fn expired_messages_for_another_node_are_there_once_whatever_breaks_and_when() {
    at_every_step(Passage::Expiry);
}

#[test]
fn messages_that_the_operator_moves_to_another_node_are_there_once_whatever_breaks_and_when() {
    at_every_step(Passage::Operator);
}

#[test]
fn a_log_that_begins_anew_may_give_the_names_of_before() {
    let mut bed = prepare(Passage::Home);
    begin(&mut bed, Passage::Home);
    while bed.stores[0].messages.is_empty() {
        assert!(bed.step());
    }
    // Its disk is replaced before it has said what has left.
    bed.store = super::store::FakeStore::default();
    bed.crash(0);
    bed.advance(Duration::from_secs(1));
    bed.set_moving("q", &settings(Passage::Home), None, 0, &[0, 1]);
    let producer = bed.producer(0, "q");
    bed.send_durable(producer, "new");
    bed.remove_producer(producer);
    bed.deliver_mail = true;
    bed.run();
    let there = bed.stores[0].messages.len();
    assert!(there > 0);
    bed.set_moving("q", &settings(Passage::Home), Some(0), 1, &[0, 1]);
    bed.rest();
    let at = end(&mut bed);
    let bodies = bed.drain_bodies(at, "q");
    assert_eq!(bodies.len(), there + 1, "{bodies:?}");
    assert!(bodies.contains(&"new".to_owned()), "{bodies:?}");
}

/// A queue that moves from node to node while nodes crash and lose each other.
struct Run {
    bed: Bed,
    random: fastrand::Rng,
    seed: u64,
    home: usize,
    moving_from: Option<usize>,
    producers: Vec<P>,
    consumer: Option<C>,
    /// The home that it came to.
    consumes_from: usize,
    sent: Vec<(String, P, u64)>,
    accepted: BTreeSet<String>,
    /// Settled, and everybody knows.
    done: BTreeSet<String>,
    /// Settled, and perhaps not everybody knows.
    unheard: BTreeSet<String>,
    /// Given to a consumer before something broke: what counts of it is open.
    open: BTreeSet<String>,
    number: u64,
}

const NODES: usize = 3;

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let nodes: Vec<u16> = (0..NODES).map(|_| random.u16(1..=2)).collect();
        let memory = if random.bool() { 40 } else { 1 << 20 };
        let limits = CoreLimits { stored_memory_bytes: memory, ..limits() };
        let mut run = Self {
            bed: fleet_with(&nodes, &limits),
            random,
            seed,
            home: 0,
            moving_from: None,
            producers: Vec::new(),
            consumer: None,
            consumes_from: 0,
            sent: Vec::new(),
            accepted: BTreeSet::new(),
            done: BTreeSet::new(),
            unheard: BTreeSet::new(),
            open: BTreeSet::new(),
            number: 0,
        };
        run.set();
        run
    }

    fn set(&mut self) {
        let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
        self.bed.set_moving("q", &settings, self.moving_from, self.home, &[0, 1, 2]);
        self.bed.emptied.clear();
    }

    fn act(&mut self) {
        match self.random.u32(..100) {
            ..25 => self.publish(),
            25..30 => self.change_home(),
            30..34 => self.break_something(),
            34..40 => {
                let (one, other) = (self.random.usize(..NODES), self.random.usize(..NODES));
                if one != other {
                    self.bed.connect(one, other);
                }
            }
            40..45 => self.come_or_go(),
            45..60 => self.settle(),
            60..63 => self.bed.advance(Duration::from_millis(self.random.u64(1..600))),
            63..66 => {
                self.bed.deliver_mail = self.random.bool();
                self.bed.run();
                if self.bed.deliver_mail {
                    self.done.append(&mut self.unheard);
                }
            }
            _ => {
                for _ in 0..self.random.u8(..8) {
                    self.some_step();
                }
            }
        }
        self.look();
    }

    /// Of all that is to be done anything.
    fn some_step(&mut self) {
        let pairs: Vec<(usize, usize)> =
            self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair).collect();
        match self.random.usize(..pairs.len() + NODES) {
            index if index < pairs.len() => self.bed.post_mail(pairs[index]),
            index => {
                let answered = self.bed.store_of(index - pairs.len()).carry_out();
                if let Some((core, Some(answer))) = answered {
                    self.bed.cores[core].handle_store(self.bed.now, answer);
                    self.bed.take_effects(core);
                }
            }
        }
    }

    fn publish(&mut self) {
        self.producers
            .retain(|producer| self.bed.producers.get(producer).is_some_and(|one| one.closed.is_none()));
        if self.producers.is_empty() || self.random.u8(..4) == 0 {
            let core = self.random.usize(..self.bed.cores.len());
            let target = ProducerTarget::Address("q");
            self.producers.extend(self.bed.try_producer(core, target, ProducerOptions::default()));
        }
        if self.producers.is_empty() {
            return;
        }
        let producer = self.producers[self.random.usize(..self.producers.len())];
        if self.bed.producers[&producer].credit == 0 {
            return;
        }
        self.number += 1;
        let body = format!("{:05}", self.number);
        let handle = self.bed.send_durable(producer, &body);
        self.sent.push((body, producer, handle));
    }

    /// Begins a move, or ends it when nothing is left at the old home.
    fn change_home(&mut self) {
        match self.moving_from {
            Some(from) => {
                let is_empty = self.bed.emptied.iter().any(|(core, _)| self.bed.node_of(*core) == from);
                if is_empty {
                    self.moving_from = None;
                    self.set();
                }
            }
            None if self.is_settled() => {
                // What consumers say to the old home from now on may come too late.
                self.open.append(&mut self.unheard);
                self.moving_from = Some(self.home);
                self.home = (self.home + self.random.usize(1..NODES)) % NODES;
                self.set();
            }
            None => {}
        }
    }

    /// Whether every disk knows of the last move: until then its old home may pass on to the home that the
    /// queue has by then.
    fn is_settled(&self) -> bool {
        let is_empty = self.bed.cores.iter().all(|core| core.left_behind().count() == 0);
        is_empty && self.bed.handovers() == 0
    }

    fn break_something(&mut self) {
        self.look();
        self.open.append(&mut self.unheard);
        let node = self.random.usize(..NODES);
        let other = (node + self.random.usize(1..NODES)) % NODES;
        match self.random.u8(..3) {
            0 => {
                self.forget_links(node);
                let places: Vec<usize> =
                    (0..self.bed.cores.len()).map(|core| self.bed.node_of(core)).collect();
                self.bed.emptied.retain(|(core, _)| places[*core] != node);
                self.bed.crash(node);
            }
            1 => self.bed.disconnect(node, other),
            _ if matches!(self.bed.path(node, other), Path::Lost { .. }) => self.bed.notice(node, other),
            _ => {}
        }
    }

    /// What links on a node know is lost with it.
    fn forget_links(&mut self, node: usize) {
        let bed = &self.bed;
        self.producers.retain(|producer| bed.node_of(producer.0) != node);
        self.sent.retain(|(_, producer, _)| bed.node_of(producer.0) != node);
        self.consumer = self.consumer.filter(|consumer| bed.node_of(consumer.0) != node);
    }

    fn come_or_go(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            self.bed.remove_consumer(consumer);
            return;
        }
        let core = self.random.usize(..self.bed.cores.len());
        self.consumer = self.bed.consumer_with(core, "q", ConsumerOptions::default(), 20).ok();
        self.consumes_from = self.home;
    }

    fn settle(&mut self) {
        let Some(consumer) = self.consumer else { return };
        let state = &self.bed.consumers[&consumer];
        let Some(index) = state.received.iter().position(|one| !one.taken) else { return };
        if state.closed.is_some() {
            return;
        }
        let body = String::from_utf8_lossy(&state.received[index].body).into_owned();
        assert!(!self.done.contains(&body), "seed {}: {body} comes again", self.seed);
        let path = self.bed.path(self.bed.node_of(consumer.0), self.consumes_from);
        let is_heard = path == Path::Open && self.consumes_from == self.home;
        let settled = if is_heard { &mut self.unheard } else { &mut self.open };
        assert!(settled.insert(body) || !is_heard, "seed {}: a message came twice", self.seed);
        self.bed.consumers.get_mut(&consumer).expect("there").received[index].taken = true;
        self.bed.settle(consumer, index, Some(Outcome::Accepted), true);
    }

    /// Takes note of what the nodes have said.
    fn look(&mut self) {
        let bed = &self.bed;
        let accepted = &mut self.accepted;
        self.sent.retain(|(body, producer, handle)| {
            let Some(state) = bed.producers.get(producer) else { return false };
            let outcome = state.updates[handle].iter().find(|(_, settled)| *settled);
            if let Some((Some(Outcome::Accepted), _)) = outcome {
                accepted.insert(body.clone());
            }
            outcome.is_none()
        });
        if let Some(consumer) = self.consumer.filter(|one| self.bed.consumers[one].closed.is_some()) {
            self.bed.remove_consumer(consumer);
            self.consumer = None;
            // Its settlements may have come too late.
            self.open.append(&mut self.unheard);
        }
    }

    fn finish(mut self) {
        let seed = self.seed;
        self.bed.rest();
        self.look();
        if self.moving_from.take().is_some() {
            self.set();
            self.bed.rest();
        }
        self.look();
        if let Some(consumer) = self.consumer.take() {
            self.bed.remove_consumer(consumer);
            self.bed.rest();
        }
        let core = self.bed.core_of(self.home, 0);
        let found = self.bed.drain_bodies(core, "q");
        let mut all = BTreeSet::new();
        for body in &found {
            assert!(all.insert(body.clone()), "seed {seed}: {body} is there twice");
            let is_settled = self.unheard.contains(body) || self.done.contains(body);
            assert!(!is_settled, "seed {seed}: {body} was settled");
        }
        for body in &self.accepted {
            let is_settled = [&self.unheard, &self.done, &self.open].iter().any(|set| set.contains(body));
            let is_there = all.contains(body) || is_settled;
            let left: Vec<_> = self.bed.cores.iter().map(|core| core.left_behind().count()).collect();
            assert!(is_there, "seed {seed}: {body} is lost, or stuck: {left:?}");
        }
        assert_eq!(self.bed.handovers(), 0, "seed {seed}");
        for store in std::iter::once(&self.bed.store).chain(&self.bed.stores) {
            assert!(store.messages.is_empty(), "seed {seed}: {:?}", store.messages);
        }
        for core in &self.bed.cores {
            core.check_stored_idle();
        }
        self.bed.clear();
    }
}

#[test]
fn a_queue_that_wanders_over_crashes_and_lost_paths_loses_nothing_and_doubles_nothing() {
    for_each_seed(0..300, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..300 {
            run.act();
        }
        run.finish();
    });
}
