//! Random operations on a queue and on its model, compared after every step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::model::*;
use super::support::FirstByte;
use crate::format::{DeadLetterReason, Filter};
use crate::queue::entry::State;
use crate::queue::*;
use crate::settings::{Deduplicate, OnFull, QueueSettings};
use crate::store::{Reference, UnixMillis};
use crate::tests::seeds::for_each_seed;

struct Play {
    random: fastrand::Rng,
    queue: Queue,
    model: Model,
    /// Messages that are being stored, and bodies that are being loaded.
    storing: Vec<EntryKey>,
    loading: Vec<EntryKey>,
    next_reference: u64,
    next_body: u32,
    max_ahead: u64,
    settled: u64,
}

fn settings(random: &mut fastrand::Rng) -> QueueSettings {
    let one_in = |random: &mut fastrand::Rng, n: u32| random.u32(..n) == 0;
    let on_full = [OnFull::Reject, OnFull::Block, OnFull::DropOldest];
    let window = Duration::from_millis(random.u64(1..3_000));
    QueueSettings {
        max_messages: if one_in(random, 3) { random.u64(1..40) } else { 0 },
        max_bytes: if one_in(random, 4) { random.u64(1..400) } else { 0 },
        on_full: on_full[random.usize(..3)],
        max_deliveries: if random.bool() { random.u32(1..5) } else { 0 },
        redelivery_delay: Duration::from_millis(if random.bool() { random.u64(..900) } else { 0 }),
        redelivery_multiplier_percent: random.u32(100..300),
        redelivery_delay_max: Duration::from_millis(2_000),
        exclusive: one_in(random, 8),
        groups: one_in(random, 4),
        last_value: one_in(random, 5),
        deduplicate: one_in(random, 4).then(|| Deduplicate { window, max_ids: random.u32(1..20) }),
        ..QueueSettings::default()
    }
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let settings = settings(&mut random);
        let now = UnixMillis(1_700_000_000_000);
        Self {
            queue: Queue::new(Arc::new(settings.clone())),
            model: Model::new(settings, now),
            storing: Vec::new(),
            loading: Vec::new(),
            next_reference: 0,
            next_body: 0,
            max_ahead: random.u64(0..200),
            settled: 0,
            random,
        }
    }

    fn now(&self) -> UnixMillis {
        self.model.now
    }

    fn sometimes<T>(&mut self, one_in: u32, value: impl FnOnce(&mut fastrand::Rng) -> T) -> Option<T> {
        (self.random.u32(..one_in) == 0).then(|| value(&mut self.random))
    }

    fn step(&mut self) {
        match self.random.u32(..100) {
            0..25 => self.enqueue(),
            25..27 => (0..self.random.u32(20..150)).for_each(|_| self.enqueue()),
            27..30 => self.restore(),
            30..38 => self.answer_store(),
            38..42 => self.add_consumer(),
            42..44 => self.remove_consumer(),
            44..54 => self.change_consumer(),
            54..72 => self.run(),
            72..82 => self.settle_some(),
            82..86 => self.pass_time(),
            86..92 => self.answer_loads(),
            92..94 => self.take_some(),
            94..97 => self.end_leaving(),
            97..99 => self.drop_bodies(),
            _ => self.queue.trim(),
        }
        self.compare();
    }

    fn arrival(&mut self) -> Arrival {
        let now = self.now();
        let first = self.random.choice(*b"xyz").expect("there are some");
        self.next_body += 1;
        let mut body = vec![first];
        body.extend(self.next_body.to_be_bytes());
        body.resize(5 + self.random.usize(..20), 0);
        let name = |random: &mut fastrand::Rng| Bytes::from(vec![random.u8(..6)]);
        Arrival {
            message_format: self.random.u32(..2),
            body: body.into(),
            priority: if self.random.bool() { 4 } else { self.random.u8(..12) },
            durable: self.random.bool(),
            retained: false,
            storing: self.random.u32(..4) == 0,
            arrived: now,
            expires: self.sometimes(4, |random| UnixMillis(now.0 + random.u64(1..4_000))),
            not_before: self.sometimes(8, |random| UnixMillis(now.0 + random.u64(..3_000))),
            group: self.sometimes(2, name),
            last_value: self.sometimes(2, name),
            message_id: self.sometimes(2, |random| Bytes::from(vec![random.u8(..40)])),
            moved: false,
            let_in: false,
            identity: None,
            owner: None,
        }
    }

    fn enqueue(&mut self) {
        let arrival = self.arrival();
        let expected = self.model.admit(&arrival);
        let taken = self.queue.enqueue(self.now(), arrival.clone());
        assert_eq!(taken.map(|_| ()), expected);
        if let Ok(key) = taken {
            self.model.add(key, &arrival, arrival.body.clone());
            if arrival.storing {
                self.storing.push(key);
            }
        }
        self.compare_actions();
    }

    fn restore(&mut self) {
        let mut arrival = self.arrival();
        arrival.storing = false;
        let body = std::mem::take(&mut arrival.body);
        self.next_reference += 1;
        let (reference, count) = (self.next_reference, self.random.u32(..3));
        let size = body.len() as u32;
        let key = self.queue.restore(self.now(), &arrival, size, Reference(reference), count);
        self.model.add(key, &arrival, body);
        let item = self.model.item_mut(key);
        item.reference = Some(reference);
        item.count = count;
        item.was_acquired = count > 0;
        self.compare_actions();
    }

    /// Mostly in order, as a store does; sometimes not.
    fn answer_store(&mut self) {
        for _ in 0..self.random.usize(1..6) {
            if self.storing.is_empty() {
                return;
            }
            let index = if self.random.u32(..4) == 0 { self.random.usize(..self.storing.len()) } else { 0 };
            let key = self.storing.remove(index);
            if self.random.u32(..6) == 0 {
                assert!(self.queue.store_failed(key));
                if let Some(id) = self.model.erase(key).message_id {
                    let ids = self.model.ids.iter_mut().filter(|(_, other)| other.as_ref() == Some(&id));
                    ids.for_each(|(_, other)| *other = None);
                }
                assert!(!self.queue.store_failed(key));
            } else {
                self.next_reference += 1;
                assert!(self.queue.stored(self.now(), key, Reference(self.next_reference)));
                let (now, reference) = (self.now(), self.next_reference);
                let item = self.model.item_mut(key);
                item.reference = Some(reference);
                let State::Storing { until } = item.state else { panic!("it was being stored") };
                item.state = if until > now { State::Delayed { until } } else { State::Available };
                self.model.arrive(key);
            }
            self.compare_actions();
        }
    }

    fn add_consumer(&mut self) {
        if self.model.consumers.len() > 6 {
            return;
        }
        let filter = self.sometimes(3, |random| random.choice(*b"xyz").expect("there are some"));
        let browse = self.random.u32(..6) == 0;
        let exclusive = self.random.u32(..12) == 0;
        let options = MemberOptions {
            owner: self.random.u64(..),
            browse,
            exclusive,
            filter: filter.map(|first| Arc::new(FirstByte(first)) as Arc<dyn Filter>),
        };
        let mut others = self.model.consumers.iter().filter(|other| !other.browse);
        let is_refused = !browse && others.any(|other| exclusive || other.exclusive);
        let added = self.queue.add_consumer(options);
        assert_eq!(added.is_err(), is_refused);
        let Ok(key) = added else { return };
        self.model.consumers.push(Consumer {
            key,
            filter,
            browse,
            exclusive: exclusive && !browse,
            credit: 0,
            held: false,
            draining: false,
            has_refused: false,
            shown: Default::default(),
        });
        let credit = self.random.u32(..10);
        self.queue.set_credit(key, credit, false);
        self.model.consumer_mut(key).credit = credit;
    }

    fn some_consumer(&mut self) -> Option<MemberKey> {
        let keys: Vec<MemberKey> = self.model.consumers.iter().map(|consumer| consumer.key).collect();
        self.random.choice(keys)
    }

    fn remove_consumer(&mut self) {
        let Some(key) = self.some_consumer() else { return };
        self.queue.remove_consumer(self.now(), key);
        self.model.remove_consumer(key);
        self.compare_actions();
    }

    fn change_consumer(&mut self) {
        let Some(key) = self.some_consumer() else { return };
        if self.random.u32(..4) == 0 {
            let held = self.random.bool();
            self.queue.set_held(key, held);
            self.model.consumer_mut(key).held = held;
            return;
        }
        let credit = if self.random.bool() { self.random.u32(..12) } else { self.random.u32(..100) };
        let draining = self.random.u32(..5) == 0;
        self.queue.set_credit(key, credit, draining);
        let consumer = self.model.consumer_mut(key);
        consumer.credit = credit;
        consumer.draining = draining;
    }

    /// Hands out what there is, or some of it.
    fn run(&mut self) {
        let mut left = if self.random.bool() { 100_000 } else { self.random.u32(1..10) };
        while left > 0 {
            left -= 1;
            let next = self.queue.next(self.now());
            self.take_actions();
            match next {
                Next::Deliver(delivery) => self.check_delivery(delivery),
                Next::More => {}
                Next::Idle => {
                    self.poll_loads();
                    self.check_idle();
                    self.poll_drained();
                    return;
                }
            }
        }
    }

    fn check_delivery(&mut self, delivery: Delivery) {
        let (key, model) = (delivery.entry, &self.model);
        let consumer = model.consumers.iter().find(|consumer| consumer.key == delivery.consumer);
        let consumer = consumer.expect("it is there");
        assert!(model.is_ready(consumer), "it can take nothing");
        assert_eq!(delivery.browse, consumer.browse);
        let entry = self.queue.entry(key).expect("it is there");
        let item = model.item(key).expect("the model has it");
        assert_eq!(entry.body(), Some(&item.body));
        if consumer.browse {
            assert!(model.eligible(consumer).any(|item| item.key == key));
            let mut earlier = model.eligible(consumer).take_while(|item| item.key < key);
            assert!(earlier.all(|item| item.came_back || item.key.row() != key.row()));
        } else {
            assert_eq!(model.eligible(consumer).next().map(|item| item.key), Some(key), "the first");
        }
        let others = || model.consumers.iter().filter(|other| model.is_ready(other));
        if others().all(|other| model.is_plain(other)) {
            let busy = |key| member::bucket(model.outstanding(key) as u32);
            let least = others().map(|other| busy(other.key)).min();
            assert_eq!(Some(busy(consumer.key)), least, "not the least busy");
        }
        assert_eq!(delivery.first, !consumer.browse && !item.was_acquired);
        if !delivery.browse && self.random.u32(..20) == 0 {
            // It is as if nothing had happened, but for browsers that had passed it and for its group.
            self.queue.undo(self.now(), delivery);
            let item = self.model.item_mut(key);
            item.came_back = true;
            if let Some(group) = item.group.clone() {
                self.model.groups.insert(group, delivery.consumer);
            }
            return self.take_actions();
        }
        let consumer = self.model.consumer_mut(delivery.consumer);
        consumer.credit -= 1;
        if delivery.browse {
            consumer.shown.insert(key);
        } else {
            self.model.acquire(delivery.consumer, key);
        }
    }

    fn poll_loads(&mut self) {
        while let Some(load) = self.queue.poll_load(self.max_ahead) {
            let item = self.model.item_mut(load.entry);
            assert!(item.state == State::Available && !item.is_loading, "nobody needs it");
            assert_eq!((Some(load.reference.0), load.size), (item.reference, item.body.len() as u32));
            item.is_loading = true;
            self.loading.push(load.entry);
        }
        self.compare();
    }

    /// Whoever gets nothing must not have anything to get, or wait for a body.
    fn check_idle(&self) {
        for consumer in self.model.consumers.iter().filter(|consumer| self.model.is_ready(consumer)) {
            // A browser does not look back.
            let mut eligible =
                self.model.eligible(consumer).filter(|item| !consumer.browse || !item.came_back);
            let Some(first) = eligible.next() else { continue };
            // It may wait for one that is gone meanwhile. A browser looks at all rows before it gives up.
            let mut awaited = self.loading.iter().filter(|key| consumer.browse || **key <= first.key);
            assert!(awaited.next().is_some(), "{consumer:?} gets nothing, not even {first:?}");
        }
    }

    fn poll_drained(&mut self) {
        while let Some((key, _)) = self.queue.poll_drained() {
            let model = &self.model;
            let consumer = model.consumers.iter().find(|consumer| consumer.key == key).expect("it is there");
            assert!(consumer.draining, "nobody asked");
            let is_for_it = |item: &&Item| !consumer.browse || !item.came_back;
            let has_more = model.eligible(consumer).any(|item| is_for_it(&item));
            assert!(consumer.credit == 0 || model.is_standby(consumer) || !has_more);
            let consumer = self.model.consumer_mut(key);
            consumer.credit = 0;
            consumer.draining = false;
        }
        let is_empty = self.model.items.iter().all(|item| item.state != State::Available);
        assert!(!is_empty || self.model.consumers.iter().all(|consumer| !consumer.draining));
    }

    fn settle_some(&mut self) {
        for _ in 0..self.random.u32(1..30) {
            let acquired = |item: &Item| match item.state {
                State::Acquired { consumer } => Some((item.key, consumer)),
                _ => None,
            };
            let all: Vec<(EntryKey, MemberKey)> = self.model.items.iter().filter_map(acquired).collect();
            let Some((key, mut consumer)) = self.random.choice(all) else { return };
            if self.random.u32(..30) == 0
                && let Some(other) = self.some_consumer()
            {
                consumer = other;
            }
            let annotations = self.sometimes(4, |_| Bytes::from_static(b"notes"));
            let settlement = match self.random.u32(..10) {
                0..6 => Settlement::Accepted,
                6 => Settlement::Released,
                7 => Settlement::Rejected,
                _ => Settlement::Modified {
                    failed: self.random.bool(),
                    undeliverable_here: self.random.u32(..4) == 0,
                    annotations,
                },
            };
            self.settle(consumer, key, settlement);
        }
    }

    fn settle(&mut self, consumer: MemberKey, key: EntryKey, settlement: Settlement) {
        if self.random.u32(..8) == 0 {
            return self.retire(consumer, key, settlement);
        }
        let expected = self.model.settle(consumer, key, &settlement);
        let settled = self.queue.settle(self.now(), consumer, key, settlement);
        assert_eq!(Expectation::from(settled), expected);
        self.settled += u64::from(expected == Expectation::Removed);
        self.compare_actions();
    }

    /// Settles in two steps, as transactions do.
    fn retire(&mut self, consumer: MemberKey, key: EntryKey, mut settlement: Settlement) {
        let has_it = self.model.item(key).is_some_and(|item| item.state == State::Acquired { consumer });
        assert_eq!(self.queue.retire(consumer, key), has_it);
        if !has_it {
            return;
        }
        if let Settlement::Modified { undeliverable_here, .. } = &mut settlement {
            // Nobody has it any more.
            *undeliverable_here = false;
        }
        let expected = self.model.settle(consumer, key, &settlement);
        let settled = self.queue.settle_retired(self.now(), key, settlement);
        assert_eq!(Expectation::from(settled), expected);
        self.settled += u64::from(expected == Expectation::Removed);
        self.compare_actions();
    }

    fn pass_time(&mut self) {
        self.model.now.0 += self.random.u64(..1_500);
        if self.random.u32(..3) > 0 {
            self.handle_timeouts();
        }
    }

    fn handle_timeouts(&mut self) {
        let now = self.now();
        while self.queue.poll_timeout().is_some_and(|at| at <= now) {
            self.queue.handle_timeout(now, self.random.usize(1..100));
            self.take_actions();
        }
        for item in &mut self.model.items {
            if matches!(item.state, State::Delayed { until } if until <= now) {
                item.state = State::Available;
            }
            let is_long_over = item.expires.is_some_and(|expires| expires.0 + 1_000 <= now.0);
            assert!(!item.is_waiting() || !is_long_over, "its time was over long ago");
        }
        self.compare();
    }

    fn answer_loads(&mut self) {
        for _ in 0..self.random.usize(1..40) {
            if self.loading.is_empty() {
                return;
            }
            let index = if self.random.u32(..4) == 0 { self.random.usize(..self.loading.len()) } else { 0 };
            let key = self.loading.remove(index);
            let item = self.model.item(key).cloned();
            if self.random.u32(..20) == 0 {
                let leaves = item.is_some_and(|item| item.is_loading && item.is_waiting());
                assert_eq!(self.queue.load_failed(key), leaves);
                if leaves {
                    self.model.item_mut(key).state = State::Leaving;
                }
            } else {
                let body = item.as_ref().map_or_else(Bytes::new, |item| item.body.clone());
                let is_needed = item.is_some() && !self.is_warm(key);
                assert_eq!(self.queue.loaded(key, body), is_needed);
            }
            if self.model.item(key).is_some() {
                self.model.item_mut(key).is_loading = false;
            }
            self.compare();
        }
    }

    fn some_item(&mut self, condition: impl Fn(&Item) -> bool) -> Option<EntryKey> {
        let keys: Vec<EntryKey> =
            self.model.items.iter().filter(|item| condition(item)).map(|item| item.key).collect();
        self.random.choice(keys)
    }

    /// The queue may drop bodies that the store has by itself, so this is asked of it.
    fn is_warm(&self, key: EntryKey) -> bool {
        self.queue.entry(key).is_some_and(|entry| entry.body().is_some())
    }

    fn take_some(&mut self) {
        let mut after = if self.random.bool() { self.some_item(|_| true) } else { None };
        for _ in 0..self.random.u32(1..5) {
            let mut waiting = self.model.items.iter().filter(|item| item.is_waiting());
            let expected = waiting.find(|item| after.is_none_or(|after| item.key > after));
            let expected = expected.map(|item| item.key);
            assert_eq!(self.queue.take(after), expected);
            let Some(key) = expected else { return };
            self.model.item_mut(key).state = State::Leaving;
            after = Some(key);
        }
    }

    fn end_leaving(&mut self) {
        for _ in 0..self.random.u32(1..10) {
            let Some(key) = self.some_item(|item| item.state == State::Leaving) else { return };
            if self.random.u32(..3) > 0 {
                self.remove(key);
                continue;
            }
            let is_over = self.model.item(key).is_some_and(|item| item.is_over(self.model.now));
            assert_eq!(self.queue.put_back(self.now(), key), !is_over);
            if !is_over {
                let expectation = self.model.come_back(key, None, false);
                self.model.note(key, expectation);
            }
            self.compare_actions();
        }
    }

    fn remove(&mut self, key: EntryKey) {
        let item = self.model.erase(key);
        let removed = self.queue.remove(key).expect("it was leaving");
        assert_eq!(removed.reference.map(|reference| reference.0), item.reference);
        assert_eq!(removed.size as usize, item.body.len());
    }

    fn drop_bodies(&mut self) {
        for _ in 0..self.random.u32(1..20) {
            let Some(key) = self.some_item(|_| true) else { return };
            let item = self.model.item(key).expect("the model has it");
            let freed = if item.reference.is_some() && self.is_warm(key) { item.body.len() } else { 0 };
            assert_eq!(self.queue.drop_body(key), freed);
            self.compare();
        }
    }

    fn compare_actions(&mut self) {
        self.take_actions();
        self.compare();
    }

    /// The queue asks for what the model expects, in that order, and for what has expired.
    fn take_actions(&mut self) {
        let mut expected = std::mem::take(&mut self.model.expected).into_iter();
        while let Some(action) = self.queue.poll_action() {
            let action = match action {
                Action::Leave { entry, reason: DeadLetterReason::Expired } => {
                    let now = self.now();
                    let item = self.model.item_mut(entry);
                    assert!(item.is_over(now), "it has not expired");
                    assert!(item.is_waiting() || item.state == State::Leaving);
                    item.state = State::Leaving;
                    continue;
                }
                Action::Leave { entry, reason } => Expected::Leave(entry, reason),
                Action::Dropped(removed) => Expected::Dropped(removed.entry),
                Action::Changed { entry } => Expected::Changed(entry),
            };
            assert_eq!(Some(action), expected.next());
        }
        assert_eq!(expected.next(), None);
    }

    /// The queue holds what the model holds.
    fn compare(&mut self) {
        // All of it takes long when there are many.
        if self.model.items.len() < 30 || self.random.u32(..20) == 0 {
            self.queue.check();
        } else if self.random.u32(..4) > 0 {
            return;
        }
        assert_eq!(self.queue.messages() as usize, self.model.items.len());
        for (item, (key, entry)) in self.model.items.iter().zip(self.queue.entries(None)) {
            assert_eq!((key, entry.state), (item.key, item.state));
            assert_eq!((entry.delivery_count(), entry.was_acquired()), (item.count, item.was_acquired));
            assert_eq!(entry.reference().map(|reference| reference.0), item.reference);
            assert!(entry.body().is_none_or(|body| *body == item.body));
            assert!(entry.body().is_some() || item.reference.is_some(), "its body is nowhere");
        }
    }

    /// Everything is handed out and accepted in the end.
    fn finish(&mut self) {
        while !self.storing.is_empty() {
            self.answer_store();
        }
        self.model.now.0 += 10_000;
        self.handle_timeouts();
        for key in self.model.consumers.iter().map(|consumer| consumer.key).collect::<Vec<_>>() {
            self.queue.remove_consumer(self.now(), key);
            self.model.remove_consumer(key);
            self.compare_actions();
        }
        self.model.now.0 += 10_000;
        self.handle_timeouts();
        let last = self.queue.add_consumer(MemberOptions::default()).expect("it is alone");
        self.model.consumers.push(Consumer {
            key: last,
            filter: None,
            browse: false,
            exclusive: false,
            credit: u32::MAX,
            held: false,
            draining: false,
            has_refused: false,
            shown: Default::default(),
        });
        self.queue.set_credit(last, u32::MAX, false);
        let mut rounds = 0;
        loop {
            while let Some(key) = self.some_item(|item| item.state == State::Leaving) {
                self.remove(key);
            }
            while let Some(key) = self.some_item(|item| matches!(item.state, State::Acquired { .. })) {
                self.settle(last, key, Settlement::Accepted);
            }
            if self.model.items.is_empty() {
                break;
            }
            self.run();
            self.answer_loads();
            rounds += 1;
            assert!(rounds < 10_000, "{} messages are stuck", self.model.items.len());
        }
        self.queue.check();
        self.queue.remove_consumer(self.now(), last);
        assert!(self.queue.is_unused());
        let statistics = self.queue.statistics();
        assert_eq!((statistics.bytes, statistics.bytes_in_memory, statistics.oldest), (0, 0, None));
    }
}

#[test]
fn random_operations_do_what_the_model_does() {
    for_each_seed(0..500, |seed| {
        let mut play = Play::new(seed);
        for _ in 0..300 {
            play.step();
        }
        play.finish();
    });
}
