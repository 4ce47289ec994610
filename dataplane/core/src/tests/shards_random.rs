//! Random operations on a queue with several shards, compared with a set of messages: nothing is lost, nothing
//! that was settled comes again, each group is in order, nobody gets more than his credit (the bed looks after
//! that), and once all is quiet no message waits while anybody has credit for it. Shards are taken away and given
//! back meanwhile, but where the order is looked at. Then the same with shards that move and nodes that lose each
//! other: what was accepted is never lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::bed::{Bed, C, P, Path};
use super::seeds::for_each_seed;
use super::shards::set_shards;
use super::stored::{fleet_with, queue};
use crate::*;

const SHARDS: u16 = 3;

struct Run {
    bed: Bed,
    random: fastrand::Rng,
    count: u32,
    producers: Vec<P>,
    consumers: Vec<C>,
    lanes: Vec<(usize, LaneKey)>,
    /// Each message by its number, and the delivery that it came with.
    sent: BTreeMap<u32, (P, u64)>,
    accepted: BTreeSet<u32>,
    /// Accepted by a consumer.
    done: BTreeSet<u32>,
    /// Has been delivered.
    seen: BTreeSet<u32>,
    /// The last message of each group that was delivered for the first time, and what was looked at.
    last: BTreeMap<String, u32>,
    looked_at: BTreeMap<C, usize>,
    /// Shards move and nodes lose each other: what was settled at a home that did not hear of it comes again.
    is_torn: bool,
    /// There is one consumer at a time.
    is_alone: bool,
    /// Shards that the queue has now.
    shards: u16,
    /// Where each shard is, where it moves from, and where it has been.
    homes: Vec<(usize, Option<usize>, Vec<usize>)>,
}

fn number_of(body: &str) -> u32 {
    body.split(' ').next().and_then(|number| number.parse().ok()).expect("a message of the test")
}

impl Run {
    fn new(seed: u64, nodes: &[u16], is_torn: bool) -> Self {
        let limits = CoreLimits { link_credit: 10, ..CoreLimits::default() };
        let mut bed = fleet_with(nodes, &limits);
        set_shards(&mut bed, "q", &queue(1), SHARDS);
        let homes = (0..SHARDS).map(|number| bed.home_node(&shard_name("q", number)));
        let homes = homes.map(|home| (home, None, vec![home])).collect();
        Self {
            bed,
            random: fastrand::Rng::with_seed(seed),
            count: 0,
            producers: Vec::new(),
            consumers: Vec::new(),
            lanes: Vec::new(),
            sent: BTreeMap::new(),
            accepted: BTreeSet::new(),
            done: BTreeSet::new(),
            seen: BTreeSet::new(),
            last: BTreeMap::new(),
            looked_at: BTreeMap::new(),
            is_torn,
            is_alone: !is_torn && seed.is_multiple_of(3),
            shards: SHARDS,
            homes,
        }
    }

    fn step(&mut self) {
        match self.random.u32(0..100) {
            0..5 => self.add_producer(),
            5..11 => self.add_consumer(),
            11..13 => self.remove_producer(),
            13..16 => self.remove_consumer(),
            16..45 => self.send(),
            45..60 => self.give_credit(),
            60..78 => self.settle(),
            78..83 => self.change_budget(),
            83..86 => {
                let time = Duration::from_millis(self.random.u64(1..400));
                self.bed.advance(time);
            }
            86..88 => self.bed.store.held = self.random.bool(),
            88..92 => {
                self.bed.deliver_mail = self.random.bool();
                self.bed.run();
            }
            92..96 => self.post_some(),
            96..98 if self.is_torn => self.change_paths(),
            98 if self.is_torn => self.change_homes(),
            99 if !self.is_alone => self.resize(),
            _ => self.answer_stops(),
        }
        self.look();
    }

    fn add_producer(&mut self) {
        let shard = self.random.usize(..self.bed.cores.len());
        let target = ProducerTarget::Address("q");
        if let Ok(producer) = self.bed.try_producer(shard, target, ProducerOptions::default()) {
            self.producers.push(producer);
        }
    }

    fn add_consumer(&mut self) {
        if self.is_alone && !self.consumers.is_empty() {
            return;
        }
        let shard = self.random.usize(..self.bed.cores.len());
        let lane = self.bed.lane(shard, usize::MAX);
        let options = ConsumerOptions::default();
        if let Ok(consumer) = self.bed.consumer_in(shard, lane, "q", options, 0) {
            self.lanes.push((shard, lane));
            self.consumers.push(consumer);
        }
    }

    fn remove_producer(&mut self) {
        if self.producers.is_empty() {
            return;
        }
        let producer = self.producers.swap_remove(self.random.usize(..self.producers.len()));
        // What becomes of its messages nobody will hear.
        self.look();
        self.sent.retain(|_, (of, _)| *of != producer);
        self.bed.remove_producer(producer);
    }

    fn remove_consumer(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let consumer = self.consumers.swap_remove(self.random.usize(..self.consumers.len()));
        self.look_at(consumer);
        self.bed.remove_consumer(consumer);
        self.looked_at.remove(&consumer);
    }

    fn send(&mut self) {
        if self.producers.is_empty() {
            return;
        }
        let index = self.random.usize(..self.producers.len());
        let producer = self.producers[index];
        let state = &self.bed.producers[&producer];
        if state.credit == 0 || state.stopped || state.closed.is_some() {
            return;
        }
        self.count += 1;
        let number = self.count;
        let body = match self.random.u8(..2) {
            0 => format!("{number} x"),
            // A group has one producer.
            _ => format!("{number} group={producer:?}{}", self.random.u8(..2)).replace(", ", ","),
        };
        let handle = self.bed.send_durable(producer, &body);
        self.sent.insert(number, (producer, handle));
    }

    fn give_credit(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let consumer = self.consumers[self.random.usize(..self.consumers.len())];
        if self.bed.consumers[&consumer].admitted && self.bed.consumers[&consumer].closed.is_none() {
            let credit = if self.random.bool() { self.random.u32(..3) } else { self.random.u32(..12) };
            let drain = self.random.u8(..5) == 0;
            self.bed.credit(consumer, credit, drain);
        }
    }

    fn settle(&mut self) {
        if self.consumers.is_empty() {
            return;
        }
        let consumer = self.consumers[self.random.usize(..self.consumers.len())];
        self.look_at(consumer);
        let received = &self.bed.consumers[&consumer].received;
        let open: Vec<usize> = (0..received.len()).filter(|index| !received[*index].taken).collect();
        if open.is_empty() {
            return;
        }
        let index = open[self.random.usize(..open.len())];
        let state = self.bed.consumers.get_mut(&consumer).expect("known");
        state.received[index].taken = true;
        let number = number_of(&String::from_utf8_lossy(&state.received[index].body));
        let outcome = match self.random.u8(..4) {
            0 => Outcome::Released,
            1 => Outcome::FAILED,
            _ => {
                self.done.insert(number);
                Outcome::Accepted
            }
        };
        self.bed.settle(consumer, index, Some(outcome), true);
    }

    fn change_budget(&mut self) {
        if !self.lanes.is_empty() {
            let (shard, lane) = self.lanes[self.random.usize(..self.lanes.len())];
            let bytes = if self.random.bool() { usize::MAX } else { self.random.usize(..300) };
            self.bed.budget(shard, lane, bytes);
        }
    }

    fn post_some(&mut self) {
        for _ in 0..self.random.u8(1..6) {
            let waiting = self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty());
            let pairs: Vec<_> = waiting.map(|(pair, _)| *pair).collect();
            if !pairs.is_empty() {
                self.bed.post_mail(pairs[self.random.usize(..pairs.len())]);
            }
        }
    }

    fn answer_stops(&mut self) {
        for producer in &self.producers {
            let state = self.bed.producers.get_mut(producer).expect("there");
            if state.stopped {
                (state.stopped, state.credit) = (false, 0);
                self.bed.cores[producer.0].producer_stopped(self.bed.now, producer.1);
            }
        }
        self.bed.run();
    }

    fn change_paths(&mut self) {
        let nodes = self.bed.nodes.len();
        let one = self.random.usize(..nodes);
        let other = (one + self.random.usize(1..nodes)) % nodes;
        match self.random.u8(..4) {
            0 => self.bed.disconnect(one, other),
            1 => self.bed.notice(one, other),
            _ => self.bed.connect(one, other),
        }
    }

    /// One shard begins to move, or has moved.
    fn change_homes(&mut self) {
        let number = self.random.usize(..usize::from(SHARDS));
        let name = shard_name("q", number as u16);
        let emptied = self.bed.emptied.iter().any(|(_, emptied)| *emptied == name);
        let (home, from, were) = &mut self.homes[number];
        match from {
            None => {
                *from = Some(*home);
                *home = (*home + 1) % self.bed.nodes.len();
                were.push(*home);
                self.bed.emptied.retain(|(_, emptied)| *emptied != name);
            }
            Some(_) if emptied => *from = None,
            Some(_) => return,
        }
        self.set_home(number);
    }

    /// The queue has a shard less, or one more again.
    fn resize(&mut self) {
        self.shards = if self.shards == SHARDS { SHARDS - 1 } else { SHARDS };
        (0..usize::from(SHARDS)).for_each(|number| self.set_home(number));
    }

    fn set_home(&mut self, number: usize) {
        let name = shard_name("q", number as u16);
        let (home, from, were) = &self.homes[number];
        let id = Some(QueueId(1 + number as u64 * 1_000));
        let settings = AddressSettings { shards: self.shards, id, ..queue(1) };
        self.bed.set_moving(&name, &settings, *from, *home, were);
    }

    fn look(&mut self) {
        let outcome = |(producer, handle): &(P, u64)| {
            self.bed.producers.contains_key(producer).then(|| self.bed.outcome(*producer, *handle))
        };
        for (number, sent) in &self.sent {
            match outcome(sent).flatten() {
                Some(Outcome::Accepted) => {
                    self.accepted.insert(*number);
                }
                Some(other) => assert!(self.is_torn, "message {number} was not taken: {other:?}"),
                None => {}
            }
        }
        for consumer in self.consumers.clone() {
            self.look_at(consumer);
        }
        self.forget_closed();
    }

    fn look_at(&mut self, consumer: C) {
        let received = &self.bed.consumers[&consumer].received;
        let first = self.looked_at.insert(consumer, received.len()).unwrap_or(0);
        for received in &received[first..] {
            let body = String::from_utf8_lossy(&received.body).into_owned();
            let number = number_of(&body);
            assert!(self.is_torn || !self.done.contains(&number), "{number} comes again, and was settled");
            // Of several consumers one may hear sooner of what was handed out later.
            if self.seen.insert(number)
                && self.is_alone
                && let Some((_, group)) = body.split_once("group=")
            {
                let last = self.last.insert(group.into(), number);
                assert!(
                    last.is_none_or(|last| last < number),
                    "{number} of group {group} comes after {last:?}"
                );
            }
        }
    }

    fn forget_closed(&mut self) {
        let is_closed = |consumer: &C| self.bed.consumers[consumer].closed.is_some();
        let (closed, open) =
            std::mem::take(&mut self.consumers).into_iter().partition::<Vec<C>, _>(is_closed);
        self.consumers = open;
        for consumer in closed {
            assert!(self.is_torn, "a link is closed");
            self.bed.remove_consumer(consumer);
        }
        let is_closed = |producer: &P| self.bed.producers[producer].closed.is_some();
        let (closed, open) =
            std::mem::take(&mut self.producers).into_iter().partition::<Vec<P>, _>(is_closed);
        self.producers = open;
        for producer in closed {
            assert!(self.is_torn, "a link is closed");
            self.sent.retain(|_, (of, _)| *of != producer);
            self.bed.remove_producer(producer);
        }
    }

    /// Lets everything happen that can.
    fn calm(&mut self) {
        (self.bed.store.held, self.bed.deliver_mail) = (false, true);
        for (shard, lane) in self.lanes.clone() {
            self.bed.budget(shard, lane, usize::MAX);
        }
        let nodes = self.bed.nodes.len();
        for (one, other) in (0..nodes).flat_map(|one| (0..one).map(move |other| (other, one))) {
            while self.bed.path(one, other) != Path::Open {
                self.bed.connect(one, other);
            }
        }
        for _ in 0..20 {
            self.answer_stops();
            self.bed.advance(Duration::from_millis(300));
            for number in 0..usize::from(SHARDS) {
                let name = shard_name("q", number as u16);
                if self.homes[number].1.is_some()
                    && self.bed.emptied.iter().any(|(_, emptied)| *emptied == name)
                {
                    self.homes[number].1 = None;
                    self.set_home(number);
                }
            }
            self.look();
        }
    }

    fn available(&self) -> u64 {
        let shards = (0..SHARDS).map(|number| shard_name("q", number));
        let queues = shards.flat_map(|name| self.bed.cores.iter().filter_map(move |core| core.queue(&name)));
        queues.map(|queue| queue.available).sum()
    }

    fn finish(mut self) {
        self.calm();
        for (number, (producer, handle)) in &self.sent {
            assert!(self.bed.outcome(*producer, *handle).is_some(), "nobody answers for {number}");
        }
        let has_credit = |consumer: &C| self.bed.consumers[consumer].credit > 0;
        if let Some(consumer) = self.consumers.iter().find(|consumer| has_credit(consumer)) {
            let words = self.bed.cores[consumer.0].describe_front(consumer.1);
            let homes = (&self.homes, &self.bed.emptied);
            assert_eq!(self.available(), 0, "messages wait although somebody has credit: {words} {homes:?}");
        }
        for producer in &self.producers {
            let credit = self.bed.credit_of(*producer);
            assert!(credit > 5, "a producer has {credit}, and all shards have room");
        }
        for consumer in std::mem::take(&mut self.consumers) {
            self.bed.remove_consumer(consumer);
        }
        let consumer = self.bed.consumer(0, "q", 10_000);
        self.bed.advance(Duration::from_secs(1));
        let bodies = self.bed.bodies(consumer);
        let left: BTreeSet<u32> = bodies.iter().map(|body| number_of(body)).collect();
        // What was on its way between two homes when the path broke may be in both.
        assert!(self.is_torn || left.len() == bodies.len(), "something is there twice: {bodies:?}");
        let missing: Vec<_> = self.accepted.iter().filter(|number| !self.done.contains(number)).collect();
        let missing: Vec<_> = missing.into_iter().filter(|number| !left.contains(number)).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        assert!(self.is_torn || left.is_disjoint(&self.done), "what was settled is still there");
        for index in 0..bodies.len() {
            self.bed.accept(consumer, index);
        }
        assert_eq!(self.available(), 0);
        self.bed.clear();
    }
}

fn rounds(nodes: &[&[u16]], is_torn: bool, seeds: std::ops::Range<u64>) {
    for_each_seed(seeds, |seed| {
        let nodes = nodes[(seed % nodes.len() as u64) as usize];
        let mut run = Run::new(seed, nodes, is_torn);
        for _ in 0..400 {
            run.step();
        }
        run.finish();
    });
}

#[test]
fn on_any_threads_and_nodes_a_queue_of_several_shards_is_one() {
    rounds(&[&[1], &[3], &[1, 1], &[2, 1, 2]], false, 0..400);
}

#[test]
fn shards_that_move_and_nodes_that_part_lose_nothing_that_was_accepted() {
    rounds(&[&[1, 1], &[1, 1, 1], &[2, 1, 2]], true, 5_000..5_300);
}
