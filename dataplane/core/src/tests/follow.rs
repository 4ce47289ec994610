//! Links that stay while their queue changes its home, also when nodes hear of it at different times and mail
//! takes its time: each message is answered once and taken once, and producers' messages stay in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::bed::{Bed, C, P, name};
use super::seeds::for_each_seed;
use super::stored::queue;
use crate::*;

fn settings() -> AddressSettings {
    AddressSettings { link_credit: 20, ..queue(1) }
}

/// Three nodes with a queue `q` on the first one.
fn fleet() -> Bed {
    let mut bed = Bed::fleet(&[2, 1, 2], &CoreLimits { link_credit: 20, ..CoreLimits::default() });
    bed.set_moving("q", &settings(), None, 0, &[0, 1, 2]);
    bed
}

fn at(bed: &Bed, node: usize) -> usize {
    bed.core_of(node, 0)
}

#[test]
fn what_a_consumer_has_of_the_old_home_is_settled_there() {
    let mut bed = fleet();
    let producer = bed.producer(0, "q");
    let place = at(&bed, 2);
    let consumer = bed.consumer(place, "q", 3);
    for body in ["1", "2", "3", "4"] {
        bed.send_durable(producer, body);
    }
    assert_eq!(bed.bodies(consumer), ["1", "2", "3"]);
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    assert_eq!(std::mem::take(&mut bed.emptied).len(), 1, "what a consumer has keeps no producer waiting");
    bed.set_moving("q", &settings(), None, 1, &[0, 1]);
    bed.accept(consumer, 0);
    bed.settle(consumer, 1, Some(Outcome::Released), true);
    bed.credit(consumer, 5, false);
    assert_eq!(bed.bodies(consumer), ["1", "2", "3", "4", "2"]);
    let left: u64 = bed.cores.iter().flat_map(Core::left_behind).map(|(_, messages, _)| messages).sum();
    assert_eq!(left, 1, "it is at the old home until it is settled");
    for index in [2, 3, 4] {
        bed.accept(consumer, index);
    }
    assert_eq!(bed.cores.iter().flat_map(Core::left_behind).count(), 0);
    assert!(bed.store.messages.is_empty() && bed.stores.iter().all(|store| store.messages.is_empty()));
    bed.clear();
}

#[test]
fn what_a_link_has_of_the_old_home_comes_again_when_the_link_ends() {
    let mut bed = fleet();
    let producer = bed.producer(0, "q");
    let place = at(&bed, 2);
    let consumer = bed.consumer(place, "q", 1);
    bed.send_durable(producer, "1");
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.remove_consumer(consumer);
    let place = at(&bed, 1);
    let other = bed.consumer(place, "q", 5);
    assert_eq!(bed.bodies(other), ["1"]);
    assert_eq!(bed.consumers[&other].received[0].redelivery.delivery_count, 1);
    bed.accept(other, 0);
    bed.clear();
}

#[test]
fn what_had_not_reached_a_link_goes_back_first_and_counts_as_never_delivered() {
    let mut bed = fleet();
    let producer = bed.producer(0, "q");
    let place = at(&bed, 2);
    let lane = bed.lane(place, 0);
    let consumer = bed.consumer_in(place, lane, "q", ConsumerOptions::default(), 2).expect("let in");
    for body in ["1", "2", "3", "4"] {
        bed.send_durable(producer, body);
    }
    // The old home hears of it first, and what it has handed out is neither with the client nor with it.
    for index in [0, 1] {
        let home = bed.names_of(index).slot(1);
        let settings = AddressSettings { home, moving_from: Some(0), ..settings() };
        bed.cores[index].set_address(bed.now, &name("q"), settings);
    }
    bed.run();
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.budget(place, lane, usize::MAX);
    bed.credit(consumer, 4, false);
    assert_eq!(bed.bodies(consumer), ["1", "2", "3", "4"]);
    for index in 0..4 {
        assert_eq!(bed.consumers[&consumer].received[index].redelivery, Redelivery::default());
        bed.accept(consumer, index);
    }
    bed.clear();
}

#[test]
fn what_is_on_its_way_to_a_consumer_that_drains_goes_before_what_is_behind_it() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let consumer = bed.consumer(place, "q", 2);
    let (old, new) = (bed.core_of(0, home("q", 2).shard()), at(&bed, 1));
    let producer = bed.producer(old, "q");
    bed.deliver_mail = false;
    for body in ["1", "2", "3"] {
        bed.send(producer, body);
    }
    bed.credit(consumer, 2, true);
    bed.post_mail((place, old));
    for index in [0, 1, new] {
        let names = bed.names_of(index);
        let settings =
            AddressSettings { home: names.slot(1), moving_from: Some(names.slot(0)), ..settings() };
        bed.cores[index].set_address(bed.now, &name("q"), settings);
        bed.take_effects(index);
    }
    for pair in [(old, new), (new, old)].repeat(3) {
        while bed.mail.get(&pair).is_some_and(|mail| !mail.is_empty()) {
            bed.post_mail(pair);
        }
    }
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.deliver_mail = true;
    bed.run();
    bed.credit(consumer, 5, false);
    assert_eq!(bed.bodies(consumer), ["1", "2", "3"]);
    for index in 0..3 {
        bed.accept(consumer, index);
    }
    bed.clear();
}

#[test]
fn an_attach_that_is_not_answered_is_answered_by_the_new_home() {
    for to in [1, 2] {
        let mut bed = fleet();
        let producer = bed.producer(0, "q");
        bed.send_durable(producer, "1");
        bed.deliver_mail = false;
        let place = at(&bed, 1);
        let consumer = bed.consumer(place, "q", 5);
        bed.set_moving("q", &settings(), Some(0), to, &[0, to]);
        bed.deliver_mail = true;
        bed.run();
        assert!(bed.consumers[&consumer].admitted);
        assert_eq!(bed.bodies(consumer), ["1"]);
        bed.accept(consumer, 0);
        bed.clear();
    }
}

#[test]
fn a_browser_is_told_that_its_queue_has_moved() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let options = ConsumerOptions { browse: true, ..ConsumerOptions::default() };
    let browser = bed.consumer_with(place, "q", options, 5).expect("let in");
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    assert_eq!(bed.consumers[&browser].closed, Some(CloseReason::HomeGone));
    bed.clear();
}

#[test]
fn links_end_when_their_new_home_cannot_be_reached() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let (producer, consumer) = (bed.producer(place, "q"), bed.consumer(place, "q", 5));
    bed.disconnect(1, 2);
    bed.notice(1, 2);
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::HomeGone));
    assert_eq!(bed.producers[&producer].closed, None, "the old home still takes what it sends");
    bed.set_moving("q", &settings(), None, 1, &[0, 1]);
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone));
    bed.clear();
}

#[test]
fn an_old_home_that_is_lost_takes_no_link_with_it_that_has_gone_on() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let (producer, consumer) = (bed.producer(place, "q"), bed.consumer(place, "q", 5));
    bed.send_durable(producer, "1");
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.set_moving("q", &settings(), None, 1, &[0, 1]);
    bed.disconnect(2, 0);
    bed.send_durable(producer, "2");
    assert_eq!(bed.bodies(consumer), ["1", "2"]);
    bed.settle(consumer, 0, Some(Outcome::Accepted), false);
    let updates = &bed.consumers[&consumer].received[0].updates;
    assert_eq!(updates.as_slice(), [(Some(Outcome::Accepted), true)], "the client is answered");
    bed.accept(consumer, 1);
    bed.notice(2, 0);
    bed.run();
    // Nobody could say so to the old home: it has it back, and passes it on.
    assert_eq!(bed.bodies(consumer), ["1", "2", "1"]);
    bed.accept(consumer, 2);
    bed.clear();
}

#[test]
fn a_home_that_has_not_heard_of_it_yet_is_asked_again_and_given_up_in_the_end() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let consumer = bed.consumer(place, "q", 5);
    let home = bed.names_of(place).slot(1);
    let moved = AddressSettings { home, moving_from: None, id: None, ..settings() };
    bed.cores[place].set_address(bed.now, &name("q"), moved);
    bed.run();
    bed.advance(Duration::from_millis(500));
    assert_eq!(bed.consumers[&consumer].closed, None);
    bed.advance(Duration::from_millis(1_500));
    bed.advance(Duration::from_millis(100));
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::HomeGone));
    bed.clear();
}

#[test]
fn a_gate_opens_when_the_old_home_cannot_say_that_it_has_passed_on_everything() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let producer = bed.producer(place, "q");
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    bed.send_durable(producer, "1");
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.set_moving("q", &settings(), None, 1, &[0, 1]);
    let handle = bed.send_durable(producer, "2");
    assert_eq!(bed.outcome(producer, handle), None, "it waits for the one before it");
    bed.advance(Duration::from_secs(6));
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
    bed.connect(0, 1);
    bed.advance(Duration::from_secs(1));
    assert_eq!(bed.drain_bodies(place, "q"), ["2", "1"]);
    bed.clear();
}

#[test]
fn what_waits_behind_a_gate_is_bounded_and_released_with_its_address() {
    let limits = CoreLimits { link_credit: 20, stored_memory_bytes: 10, ..CoreLimits::default() };
    let mut bed = Bed::fleet(&[1, 1, 1], &limits);
    bed.set_moving("q", &settings(), None, 0, &[0, 1]);
    let producer = bed.producer(2, "q");
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    bed.send_durable(producer, "1");
    bed.set_moving("q", &settings(), Some(0), 1, &[0, 1]);
    bed.set_moving("q", &settings(), None, 1, &[0, 1]);
    let fits = bed.send_durable(producer, "12345678");
    let does_not = bed.send_durable(producer, "123");
    assert_eq!(bed.outcome(producer, fits), None);
    assert_eq!(bed.outcome(producer, does_not), Some(Outcome::Released));
    bed.remove("q");
    assert_eq!(bed.outcome(producer, fits), Some(Outcome::Released));
    bed.clear();
}

#[test]
fn a_home_that_stops_hands_nothing_out_and_says_what_others_still_wait_for() {
    let mut bed = fleet();
    let place = at(&bed, 2);
    let (producer, consumer) = (bed.producer(place, "q"), bed.consumer(place, "q", 2));
    for body in ["1", "2", "3"] {
        bed.send_durable(producer, body);
    }
    let home = home("q", 2).shard();
    let stops = bed.core_of(0, home);
    assert_eq!(bed.cores[stops].owed_to_other_nodes(), (2, 0));
    bed.store.held = true;
    let late = bed.send_durable(producer, "4");
    bed.cores[stops].drain(bed.now);
    bed.run();
    assert!(bed.producers[&producer].stopped, "producers on other nodes wait, too");
    assert_eq!(bed.cores[stops].owed_to_other_nodes(), (2, 1));
    bed.store.held = false;
    bed.credit(consumer, 10, false);
    assert_eq!(bed.outcome(producer, late), Some(Outcome::Accepted));
    bed.accept(consumer, 0);
    bed.settle(consumer, 1, Some(Outcome::Released), true);
    assert_eq!(bed.bodies(consumer), ["1", "2"], "what is left is for the next run");
    assert_eq!(bed.cores[stops].owed_to_other_nodes(), (0, 0));
    bed.clear();
}

/// A queue that moves about while clients send to it and take from it.
struct Run {
    bed: Bed,
    random: fastrand::Rng,
    producers: Vec<P>,
    consumers: Vec<C>,
    /// What each core has not heard yet.
    news: Vec<VecDeque<AddressSettings>>,
    home: usize,
    moving_from: Option<usize>,
    sent: BTreeMap<String, (P, u64)>,
    done: BTreeSet<String>,
    /// There are several consumers, which give messages and credit back: others then get them out of order.
    gives_back: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bed = fleet();
        let cores = bed.cores.len();
        let producers: Vec<P> = (0..3).map(|_| bed.producer(random.usize(..cores), "q")).collect();
        let gives_back = random.bool();
        let consumers = if gives_back { 3 } else { 1 };
        let consumers: Vec<C> = (0..consumers).map(|_| bed.consumer(random.usize(..cores), "q", 5)).collect();
        Self {
            bed,
            producers,
            consumers,
            news: vec![VecDeque::new(); cores],
            home: 0,
            moving_from: None,
            sent: BTreeMap::new(),
            done: BTreeSet::new(),
            gives_back,
            random,
        }
    }

    /// Every core will hear where the queue is, some time.
    fn announce(&mut self) {
        for index in 0..self.bed.cores.len() {
            let names = self.bed.names_of(index);
            let moving_from = self.moving_from.map(|from| names.slot(from));
            self.news[index].push_back(AddressSettings {
                home: names.slot(self.home),
                moving_from,
                ..settings()
            });
        }
    }

    fn hear(&mut self, index: usize) {
        if let Some(settings) = self.news[index].pop_front() {
            self.bed.cores[index].set_address(self.bed.now, &name("q"), settings);
            self.bed.take_effects(index);
            self.bed.run();
        }
        self.note_emptied();
    }

    /// The old home has nothing that waits: the move has ended, and all will hear of it.
    fn note_emptied(&mut self) {
        let here = self.moving_from.filter(|_| !self.bed.emptied.is_empty());
        let emptied = std::mem::take(&mut self.bed.emptied);
        if here.is_some_and(|from| emptied.iter().any(|(core, _)| self.bed.node_of(*core) == from)) {
            self.moving_from = None;
            self.announce();
        }
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..30 => self.send(),
            30..55 => self.settle(),
            55..70 => self.post(),
            70..85 => {
                let index = self.random.usize(..self.news.len());
                self.hear(index);
            }
            85..92 => {
                let consumer = self.consumers[self.random.usize(..self.consumers.len())];
                // Who takes credit back gets out of order what was on its way, wherever the queue is.
                let least = if self.gives_back { 0 } else { self.bed.consumers[&consumer].credit };
                let credit = self.random.u32(0..8).max(least);
                self.bed.credit(consumer, credit, self.random.u8(..4) == 0);
            }
            92..96 => {
                self.bed.deliver_mail = self.random.bool();
                self.bed.run();
            }
            96..98 => self.bed.advance(Duration::from_millis(self.random.u64(..80))),
            _ => self.move_on(),
        }
    }

    /// The queue goes elsewhere, but not before all have heard where it is, and it is all there.
    fn move_on(&mut self) {
        let is_known = self.moving_from.is_none() && self.news.iter().all(VecDeque::is_empty);
        if !is_known || self.bed.cores.iter().any(Core::has_gates) {
            return;
        }
        self.moving_from = Some(self.home);
        self.home = (self.home + self.random.usize(1..3)) % 3;
        self.announce();
    }

    fn post(&mut self) {
        let waiting = self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty());
        let waiting: Vec<_> = waiting.map(|(pair, _)| *pair).collect();
        for _ in 0..self.random.usize(..10) {
            if let Some(pair) = waiting.get(self.random.usize(..waiting.len().max(1))) {
                self.bed.post_mail(*pair);
            }
        }
    }

    fn send(&mut self) {
        let index = self.random.usize(..self.producers.len());
        let producer = self.producers[index];
        if self.bed.producers[&producer].credit == 0 {
            return;
        }
        let body = format!("{index}-{:05}", self.sent.len());
        let durable = self.random.bool();
        let incoming = Incoming { durable, ..self.bed.incoming(&body, false, false) };
        let (handle, _) = self.bed.begin(producer, incoming);
        self.sent.insert(body, (producer, handle));
    }

    fn settle(&mut self) {
        let consumer = self.consumers[self.random.usize(..self.consumers.len())];
        let open = |(index, received): (usize, &super::bed::Received)| (!received.taken).then_some(index);
        let open: Vec<usize> =
            self.bed.consumers[&consumer].received.iter().enumerate().filter_map(open).collect();
        if open.is_empty() {
            return;
        }
        let index = open[self.random.usize(..open.len())];
        let received = &mut self.bed.consumers.get_mut(&consumer).expect("known").received[index];
        received.taken = true;
        let body = String::from_utf8_lossy(&received.body).into_owned();
        let outcome = if self.gives_back && self.random.u8(..4) == 0 {
            Outcome::Released
        } else {
            assert!(self.done.insert(body.clone()), "{body} comes again");
            Outcome::Accepted
        };
        self.bed.settle(consumer, index, Some(outcome), true);
    }

    /// What the only consumer has got of each producer is in order.
    fn check_order(&self) {
        for consumer in self.consumers.iter().filter(|_| !self.gives_back) {
            let mut last: BTreeMap<String, String> = BTreeMap::new();
            for body in self.bed.bodies(*consumer) {
                let (producer, number) = body.split_once('-').expect("a body of ours");
                let before = last.insert(producer.to_owned(), number.to_owned());
                assert!(before.as_deref() < Some(number), "{number} comes after {before:?}");
            }
        }
    }

    fn finish(mut self) {
        self.bed.deliver_mail = true;
        for _ in 0..60 {
            for index in 0..self.news.len() {
                while !self.news[index].is_empty() {
                    self.hear(index);
                }
            }
            self.bed.run();
            self.note_emptied();
            for consumer in self.consumers.clone() {
                self.bed.credit(consumer, 50, false);
            }
            for _ in 0..200 {
                self.settle();
            }
            self.bed.advance(Duration::from_millis(300));
        }
        self.check_order();
        assert_eq!(self.moving_from, None, "the last move has ended");
        for (body, (producer, handle)) in &self.sent {
            assert_eq!(self.bed.outcome(*producer, *handle), Some(Outcome::Accepted), "{body}");
            assert!(self.done.contains(body), "{body} never came");
        }
        for producer in &self.producers {
            assert_eq!(self.bed.producers[producer].closed, None);
            assert!(!self.bed.producers[producer].stopped);
        }
        for consumer in &self.consumers {
            assert_eq!(self.bed.consumers[consumer].closed, None);
        }
        assert_eq!(self.bed.cores.iter().flat_map(Core::left_behind).count(), 0);
        self.bed.clear();
    }
}

#[test]
fn a_queue_that_moves_about_loses_and_repeats_nothing_and_keeps_its_links() {
    for_each_seed(0..300, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..600 {
            run.step();
        }
        run.finish();
    });
}
