//! Random operations on nodes of one, two and three cores, alone and in fleets in which nodes lose each
//! other and meet again, with what must hold after every step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::bed::*;
use super::seeds::for_each_seed;
use crate::*;

/// What was sent, by handle of its producer's shard-wide unique number.
#[derive(Debug)]
struct Sent {
    producer: P,
    body: String,
    settled: bool,
    whole: bool,
    aborted: bool,
    multicast: bool,
}

struct Play {
    random: fastrand::Rng,
    bed: Bed,
    lanes: Vec<(usize, LaneKey)>,
    sent: BTreeMap<u64, Sent>,
    unfinished: BTreeMap<P, (u64, DeliveryKey)>,
    /// What consumers that have left had got.
    gone: Vec<(C, Vec<Received>)>,
    link_credit: BTreeMap<P, u32>,
    next_body: u64,
}

const ADDRESSES: [&str; 4] = ["a", "m", "d", "x"];

impl Play {
    fn new(seed: u64, nodes: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let shards: Vec<u16> = (0..nodes).map(|_| random.u16(1..=3)).collect();
        let limits = CoreLimits { link_credit: 10, peer_window: random.u32(1..20), ..CoreLimits::default() };
        let mut bed = Bed::fleet(&shards, &limits);
        let cores = bed.cores.len();
        let distribution = random.choice([Distribution::Balanced, Distribution::Closest]).expect("two");
        bed.set("a", AddressSettings { distribution, max_producers: 100, ..anycast() });
        bed.set("m", AddressSettings { max_undelivered: random.u32(1..6), ..multicast() });
        bed.set("d", AddressSettings { overload: Overload::Drop, max_undelivered: 3, ..multicast() });
        bed.set("x", AddressSettings { overload: Overload::Disconnect, max_undelivered: 30, ..multicast() });
        let lanes = (0..cores * 2)
            .map(|index| {
                let shard = index % cores;
                (shard, bed.lane(shard, 1_000))
            })
            .collect();
        // Mail goes one message at a time, in an order of its own.
        bed.deliver_mail = false;
        Self {
            random,
            bed,
            lanes,
            sent: BTreeMap::new(),
            unfinished: BTreeMap::new(),
            gone: Vec::new(),
            link_credit: BTreeMap::new(),
            next_body: 0,
        }
    }

    fn some_producer(&mut self) -> Option<P> {
        let keys: Vec<P> = self.bed.producers.keys().copied().collect();
        self.random.choice(keys)
    }

    fn some_consumer(&mut self) -> Option<C> {
        let keys: Vec<C> = self.bed.consumers.keys().copied().collect();
        self.random.choice(keys)
    }

    fn step(&mut self) {
        // A turn may have several calls.
        self.bed.is_mid_turn = self.random.u8(0..3) > 0;
        match self.random.u32(0..100) {
            0..3 => self.add_producer(),
            3..6 => self.add_consumer(),
            6..7 => self.remove_producer(),
            7..9 => self.remove_consumer(),
            9..35 => self.begin(),
            35..50 => self.append(),
            50..60 => self.give_credit(),
            60..75 => self.settle(),
            75..85 => self.set_budget(),
            85..87 => {
                let time = Duration::from_millis(self.random.u64(0..30));
                self.bed.advance(time);
            }
            87..89 => self.stop(),
            89..91 if self.bed.nodes.len() > 1 => self.change_paths(),
            _ => self.post(),
        }
        self.check();
    }

    fn add_producer(&mut self) {
        if self.bed.producers.len() >= 6 {
            return;
        }
        let shard = self.random.usize(0..self.bed.cores.len());
        let options = ProducerOptions { settles_second: self.random.bool(), ..ProducerOptions::default() };
        let address = ADDRESSES[self.random.usize(0..ADDRESSES.len())];
        let target = if self.random.u8(0..4) == 0 {
            ProducerTarget::AnyAddress
        } else {
            ProducerTarget::Address(address)
        };
        let producer = self.bed.try_producer(shard, target, options).expect("below every limit");
        self.link_credit.insert(producer, 10);
    }

    fn add_consumer(&mut self) {
        if self.bed.consumers.len() >= 8 {
            return;
        }
        let (shard, lane) = self.lanes[self.random.usize(0..self.lanes.len())];
        let options = ConsumerOptions { settled: self.random.u8(0..4) == 0, ..ConsumerOptions::default() };
        let address = ADDRESSES[self.random.usize(0..ADDRESSES.len())];
        self.bed.consumer_in(shard, lane, address, options, 0).expect("below every limit");
    }

    fn remove_producer(&mut self) {
        if let Some(producer) = self.some_producer() {
            self.unfinished.remove(&producer);
            self.sent.retain(|_, sent| sent.producer != producer || sent.whole);
            self.bed.remove_producer(producer);
        }
    }

    fn remove_consumer(&mut self) {
        if let Some(consumer) = self.some_consumer() {
            let state = self.bed.remove_consumer(consumer);
            self.gone.push((consumer, state.received));
        }
    }

    fn body(&mut self) -> String {
        self.next_body += 1;
        let filler = if self.random.u8(0..10) == 0 { 3_000 } else { self.random.usize(0..20) };
        format!("{}:{};", self.next_body, "x".repeat(filler))
    }

    fn begin(&mut self) {
        let Some(producer) = self.some_producer() else { return };
        let state = &self.bed.producers[&producer];
        if state.credit == 0 || state.closed.is_some() || self.unfinished.contains_key(&producer) {
            return;
        }
        let body = self.body();
        let (settled, more) = (self.random.bool(), self.random.u8(0..4) == 0);
        let address = ADDRESSES[self.random.usize(0..ADDRESSES.len())];
        let incoming = Incoming {
            to: (self.random.u8(0..20) > 0).then_some(address),
            ttl: (self.random.u8(0..5) == 0).then(|| Duration::from_millis(self.random.u64(0..50))),
            priority: self.random.u8(..),
            ..self.bed.incoming(&body, settled, more)
        };
        let (handle, delivery) = self.bed.begin(producer, incoming);
        let multicast = false;
        let sent = Sent { producer, body, settled, whole: !more, aborted: false, multicast };
        self.sent.insert(handle, sent);
        if more {
            self.unfinished.insert(producer, (handle, delivery.expect("unfinished")));
        } else if let Some(delivery) = delivery
            && self.random.u8(0..10) == 0
        {
            let now = self.bed.now;
            self.bed.cores[producer.0].settle_by_producer(now, delivery, None, true);
            self.sent.get_mut(&handle).expect("known").settled = true;
            self.bed.run();
        }
    }

    fn append(&mut self) {
        let keys: Vec<P> = self.unfinished.keys().copied().collect();
        let Some(producer) = self.random.choice(keys) else { return };
        let (handle, delivery) = self.unfinished[&producer];
        if self.random.u8(0..8) == 0 {
            self.bed.abort(producer, delivery);
            self.unfinished.remove(&producer);
            self.sent.get_mut(&handle).expect("known").aborted = true;
            return;
        }
        let more = self.random.bool();
        let chunk = self.body();
        self.bed.append(producer, delivery, &chunk, more);
        let sent = self.sent.get_mut(&handle).expect("known");
        sent.body.push_str(&chunk);
        sent.whole = !more;
        if !more {
            self.unfinished.remove(&producer);
        }
    }

    fn give_credit(&mut self) {
        let Some(consumer) = self.some_consumer() else { return };
        let (credit, drain) = (self.random.u32(0..8), self.random.u8(0..5) == 0);
        if self.bed.consumers[&consumer].closed.is_none() {
            self.bed.credit(consumer, credit, drain);
        }
    }

    fn settle(&mut self) {
        let Some(consumer) = self.some_consumer() else { return };
        let received = &self.bed.consumers[&consumer].received;
        let open: Vec<usize> = received
            .iter()
            .enumerate()
            .filter(|(_, received)| !received.settled && !received.aborted && received.updates.is_empty())
            .map(|(index, _)| index)
            .collect();
        let Some(index) = self.random.choice(open) else { return };
        let received = received.clone();
        let outcome = match self.random.u8(0..6) {
            0 => Some(rejected()),
            1 => Some(Outcome::Released),
            2 => None,
            3 => Some(Outcome::Received { section_number: 0, section_offset: 0 }),
            _ => Some(Outcome::Accepted),
        };
        // Half a message is not accepted.
        let outcome =
            if received[index].whole || outcome.is_none() { outcome } else { Some(Outcome::Released) };
        let settled = self.random.bool();
        self.bed.settle(consumer, index, outcome, settled);
    }

    fn set_budget(&mut self) {
        let (shard, lane) = self.lanes[self.random.usize(0..self.lanes.len())];
        let bytes = self.random.usize(0..2_000);
        self.bed.budget(shard, lane, bytes);
    }

    /// Producers that were stopped give their credit back.
    fn stop(&mut self) {
        let stopped: Vec<P> =
            self.bed.producers.iter().filter(|(_, state)| state.stopped).map(|(key, _)| *key).collect();
        for producer in stopped {
            let state = self.bed.producers.get_mut(&producer).expect("known");
            (state.credit, state.stopped) = (0, false);
            let now = self.bed.now;
            self.bed.cores[producer.0].producer_stopped(now, producer.1);
            self.bed.run();
        }
    }

    /// Two nodes lose each other, hear of it, or meet again.
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

    /// All nodes are there again.
    fn meet(&mut self) {
        for (one, other) in self.bed.paths.keys().copied().collect::<Vec<_>>() {
            self.bed.connect(one, other);
        }
    }

    fn post(&mut self) {
        let full: Vec<(usize, usize)> =
            self.bed.mail.iter().filter(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair).collect();
        if let Some(pair) = self.random.choice(full) {
            for _ in 0..self.random.u8(1..6) {
                self.bed.post_mail(pair);
            }
        }
    }

    fn check(&self) {
        for (producer, state) in &self.bed.producers {
            let credit = self.bed.cores[producer.0].producer(producer.1).expect("there");
            assert!(state.credit <= self.link_credit[producer], "credit beyond the link's");
            if !state.stopped {
                assert_eq!(credit.credit, state.credit, "the core and the driver disagree");
            }
            assert!(u64::from(state.credit) + credit.unsettled <= 10 || state.stopped);
        }
        for (consumer, state) in &self.bed.consumers {
            if state.closed.is_none() {
                let known = self.bed.cores[consumer.0].consumer(consumer.1).expect("there");
                assert_eq!(known.credit, state.credit);
            }
        }
    }

    /// Lets everything come to rest with willing consumers, and checks what became of each message.
    fn finish(mut self) {
        self.bed.is_mid_turn = false;
        self.bed.deliver_mail = true;
        self.meet();
        self.bed.run();
        self.bed.check_peers();
        for (producer, (handle, delivery)) in std::mem::take(&mut self.unfinished) {
            self.bed.append(producer, delivery, "end", false);
            let sent = self.sent.get_mut(&handle).expect("known");
            sent.body.push_str("end");
            sent.whole = true;
        }
        for _ in 0..200 {
            self.stop();
            for (shard, lane) in self.lanes.clone() {
                self.bed.budget(shard, lane, 1 << 30);
            }
            for consumer in self.bed.consumers.keys().copied().collect::<Vec<_>>() {
                if self.bed.consumers[&consumer].closed.is_some() {
                    let state = self.bed.remove_consumer(consumer);
                    self.gone.push((consumer, state.received));
                } else {
                    self.bed.credit(consumer, 1_000, false);
                    self.settle_all(consumer);
                }
            }
        }
        self.check();
        self.bed.check_peers();
        self.check_messages();
        let statistics: Vec<Statistics> = self.bed.cores.iter().map(Core::statistics).collect();
        for statistics in &statistics {
            assert_eq!((statistics.undelivered, statistics.unsettled), (0, 0), "{statistics:?}");
            let outcomes = statistics.outcomes;
            let ended = outcomes.accepted + outcomes.rejected + outcomes.released + outcomes.modified;
            assert!(ended + outcomes.presettled <= statistics.deliveries_out);
        }
        let sent: u64 = statistics.iter().map(|statistics| statistics.deliveries_in).sum();
        assert_eq!(sent, self.bed_deliveries());
        let bed = std::mem::replace(&mut self.bed, Bed::new(1));
        bed.clear();
    }

    fn bed_deliveries(&self) -> u64 {
        self.bed.cores.iter().map(|core| core.counters.deliveries_in).sum()
    }

    fn settle_all(&mut self, consumer: C) {
        for index in 0..self.bed.consumers[&consumer].received.len() {
            let received = &self.bed.consumers[&consumer].received[index];
            let is_open = !received.settled && !received.aborted && received.whole;
            if is_open && !received.updates.iter().any(|(_, settled)| *settled) {
                self.bed.settle(consumer, index, Some(Outcome::Accepted), true);
            }
        }
    }

    fn check_messages(&self) {
        let mut seen: BTreeMap<&str, Vec<C>> = BTreeMap::new();
        let here = self.bed.consumers.iter().map(|(key, state)| (key, &state.received));
        let gone = self.gone.iter().map(|(key, received)| (key, received));
        for (consumer, received) in here.chain(gone) {
            for received in received.iter().filter(|received| received.whole && !received.aborted) {
                let body = std::str::from_utf8(&received.body).expect("text");
                let seen = seen.entry(body).or_default();
                assert!(!seen.contains(consumer), "{body} was delivered twice to one consumer");
                seen.push(*consumer);
            }
        }
        for body in seen.keys() {
            let is_known = body.contains(':');
            assert!(is_known, "{body} was never sent");
        }
        for (handle, sent) in &self.sent {
            assert!(!sent.multicast);
            let Some(producer) = self.bed.producers.get(&sent.producer) else { continue };
            let settlements = producer.updates[handle].iter().filter(|(_, settled)| *settled).count();
            if sent.settled || sent.aborted {
                assert_eq!(settlements, 0, "{sent:?} needs no settlement");
            } else {
                assert!(sent.whole);
                assert_eq!(settlements, 1, "{sent:?} was settled {settlements} times");
            }
            let accepted = producer.updates[handle].contains(&(Some(Outcome::Accepted), true));
            assert!(!accepted || seen.contains_key(&*sent.body), "{sent:?} was accepted by nobody");
        }
        for (key, producer) in &self.bed.producers {
            assert_eq!(producer.unconsumed, 0, "bytes of a producer are still held");
            let known = self.bed.cores[key.0].producer(key.1).expect("there");
            assert_eq!(known.unsettled, 0, "credit has leaked");
        }
    }
}

#[test]
fn random_operations_lose_nothing_and_settle_nothing_twice() {
    for_each_seed(0..300, |seed| {
        let mut play = Play::new(seed, 1);
        for _ in 0..800 {
            play.step();
        }
        play.finish();
    });
}

#[test]
fn in_a_fleet_that_falls_apart_and_meets_again_nothing_is_settled_twice_and_nothing_left() {
    for_each_seed(0..300, |seed| {
        let mut play = Play::new(seed, 2 + (seed % 3) as usize);
        for _ in 0..800 {
            play.step();
        }
        play.finish();
    });
}
