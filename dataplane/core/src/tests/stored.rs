//! Queues: what their producers and consumers see, on the home's shard and on others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::bed::{Bed, C, P, name, rejected};
use crate::*;

/// A queue of that name, which the store knows by this number.
pub(crate) fn queue(id: u64) -> AddressSettings {
    AddressSettings {
        kind: AddressKind::Queue,
        link_credit: 10,
        id: Some(QueueId(id)),
        ..AddressSettings::default()
    }
}

pub(crate) fn with(id: u64, settings: QueueSettings) -> AddressSettings {
    AddressSettings { queue: Some(Arc::new(settings)), ..queue(id) }
}

/// Notes what it was asked to do in the body, as text.
#[derive(Debug)]
pub(crate) struct TextFormat;

impl Format for TextFormat {
    /// `id=...`, `group=...` and `last=...` in the body, divided by spaces.
    fn keys(&self, _format: u32, message: &[u8]) -> MessageKeys {
        let text = String::from_utf8_lossy(message);
        let find = |key: &str| {
            let value = text.split(' ').find_map(|word| word.strip_prefix(key))?;
            Some(Bytes::copy_from_slice(value.as_bytes()))
        };
        MessageKeys { message_id: find("id="), group: find("group="), last_value: find("last=") }
    }

    fn annotate(&self, _format: u32, message: &Bytes, notes: &Notes) -> Bytes {
        let mut text = String::from_utf8_lossy(message).into_owned();
        if let Some(merge) = &notes.merge {
            text += &format!(" +{}", String::from_utf8_lossy(merge));
        }
        if let Some(dead) = &notes.dead_letter {
            text += &format!(" !{} {} {}", dead.reason.as_str(), dead.from, dead.delivery_count);
            if let Some(error) = &dead.error {
                text += &format!(" {}", error.condition);
            }
        }
        text.into()
    }

    fn named(&self, _format: u32, message: &Bytes, name: &str) -> Option<Bytes> {
        Some([message.as_ref(), b" @", name.as_bytes()].concat().into())
    }

    fn merge(&self, earlier: &Bytes, later: &Bytes) -> Bytes {
        [earlier.as_ref(), b",", later.as_ref()].concat().into()
    }

    fn restore(&self, definition: &[u8]) -> RestoredFilter {
        let filter: Option<Arc<dyn Filter>> =
            (!definition.is_empty()).then(|| Arc::new(Contains(definition.to_vec())) as Arc<dyn Filter>);
        RestoredFilter { filter, ..RestoredFilter::default() }
    }
}

/// Matches messages that contain these bytes.
#[derive(Debug)]
pub(crate) struct Contains(pub(crate) Vec<u8>);

impl Filter for Contains {
    fn matches(&self, _format: u32, message: &[u8]) -> bool {
        message.windows(self.0.len()).any(|part| part == self.0)
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.0).expect("tests look for text")
    }
}

/// The shards on which tests have their links: with the home, and without it.
const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

pub(crate) fn bed(shards: u16) -> Bed {
    bed_with(shards, CoreLimits { link_credit: 10, ..CoreLimits::default() })
}

pub(crate) fn bed_with(shards: u16, limits: CoreLimits) -> Bed {
    fleet_with(&[shards], &limits)
}

pub(crate) fn fleet_with(nodes: &[u16], limits: &CoreLimits) -> Bed {
    let mut bed = Bed::fleet(nodes, limits);
    for core in &mut bed.cores {
        core.set_format(Arc::new(TextFormat));
        core.set_clock(bed.now, UnixMillis(1_000_000_000_000));
    }
    bed
}

/// A bed with a queue `q`, a producer and a consumer on these shards of two.
fn pair((from, to): (usize, usize), settings: AddressSettings, credit: u32) -> (Bed, P, C) {
    let mut bed = bed(2);
    bed.set("q", settings);
    let producer = bed.producer(from, "q");
    let consumer = bed.consumer(to, "q", credit);
    (bed, producer, consumer)
}

impl Bed {
    pub(crate) fn send_durable(&mut self, producer: P, body: &str) -> u64 {
        let incoming = Incoming { durable: true, ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    pub(crate) fn holds(&self, address: &str) -> QueueStatistics {
        self.cores[self.home_of(address)].queue(address).expect("an address that keeps messages")
    }

    pub(crate) fn accept(&mut self, consumer: C, index: usize) {
        self.settle(consumer, index, Some(Outcome::Accepted), true);
    }

    /// A consumer that is not there yet, with options.
    pub(crate) fn consumer_with(
        &mut self,
        shard: usize,
        address: &str,
        options: ConsumerOptions,
        credit: u32,
    ) -> Result<C, Refused> {
        let lane = self.lane(shard, usize::MAX);
        self.consumer_in(shard, lane, address, options, credit)
    }

    /// What comes out of an address for a consumer that takes everything and accepts it.
    pub(crate) fn drain_bodies(&mut self, shard: usize, address: &str) -> Vec<String> {
        let consumer = self.consumer(shard, address, 0);
        self.credit(consumer, 10_000, true);
        let bodies = self.bodies(consumer);
        for index in 0..bodies.len() {
            self.accept(consumer, index);
        }
        assert_eq!(self.consumers[&consumer].drained, 1);
        self.remove_consumer(consumer);
        bodies
    }

    /// A new node that has nothing but the store of this one.
    pub(crate) fn restart(mut self, addresses: &[(&str, AddressSettings)]) -> Self {
        let mut new = bed_with(self.cores.len() as u16, self.cores[0].limits.clone());
        (new.now, new.started) = (self.now, self.started);
        for (address, settings) in addresses {
            new.set(address, settings.clone());
        }
        new.store = std::mem::take(&mut self.store);
        new.crash(0);
        new
    }
}

#[test]
fn a_producer_has_credit_without_a_consumer_and_messages_wait_in_order() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        assert_eq!(bed.credit_of(producer), 10);
        for body in ["a", "b", "c"] {
            let handle = bed.send(producer, body);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        }
        let consumer = bed.consumer(shards.1, "q", 2);
        assert_eq!(bed.bodies(consumer), ["a", "b"]);
        bed.credit(consumer, 10, false);
        assert_eq!(bed.bodies(consumer), ["a", "b", "c"]);
        for index in 0..3 {
            bed.accept(consumer, index);
        }
        assert_eq!(bed.holds("q").messages, 0);
        assert_eq!(bed.holds("q").acknowledged, 3);
        bed.clear();
    }
}

#[test]
fn a_durable_message_is_accepted_and_delivered_when_the_store_has_it() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 10);
        bed.store.held = true;
        let first = bed.send_durable(producer, "first");
        let second = bed.send(producer, "second");
        assert_eq!(bed.outcome(producer, first), None);
        assert_eq!(bed.outcome(producer, second), Some(Outcome::Accepted));
        assert!(bed.bodies(consumer).is_empty(), "nothing passes what is being stored");
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.outcome(producer, first), Some(Outcome::Accepted));
        assert_eq!(bed.bodies(consumer), ["first", "second"]);
        assert_eq!(bed.store.messages.len(), 1);
        bed.accept(consumer, 0);
        assert!(bed.store.messages.is_empty(), "what is settled is settled in the store");
        bed.clear();
    }
}

#[test]
fn a_store_that_fails_rejects_with_its_reason_and_keeps_nothing() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 10);
        bed.store.fails = true;
        let handle = bed.send_durable(producer, "lost");
        let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, handle) else { panic!() };
        assert_eq!(error.condition, "test:full");
        assert_eq!(error.description.as_deref(), Some("the disk is full"));
        bed.send(producer, "kept");
        assert_eq!(bed.bodies(consumer), ["kept"]);
        assert_eq!(bed.credit_of(producer), 10 - 2);
        bed.clear();
    }
}

#[test]
fn outcomes_do_what_amqp_says() {
    for shards in SHARDS {
        let settings = QueueSettings { dead_letter: Some(name("dlq")), ..QueueSettings::default() };
        let (mut bed, producer, consumer) = pair(shards, with(1, settings), 1);
        bed.set("dlq", queue(2));
        bed.send_durable(producer, "one");
        bed.settle(consumer, 0, Some(Outcome::Released), true);
        bed.credit(consumer, 1, false);
        assert_eq!(bed.consumers[&consumer].received[1].redelivery, Redelivery::default());
        bed.settle(consumer, 1, Some(Outcome::FAILED), true);
        bed.credit(consumer, 1, false);
        assert_eq!(bed.consumers[&consumer].received[2].redelivery.delivery_count, 1);
        let note = Outcome::Modified {
            delivery_failed: false,
            undeliverable_here: false,
            annotations: Some("x".into()),
        };
        bed.settle(consumer, 2, Some(note.clone()), true);
        bed.credit(consumer, 1, false);
        bed.settle(consumer, 3, Some(note), true);
        bed.credit(consumer, 1, false);
        let received = &bed.consumers[&consumer].received[4].redelivery;
        assert_eq!(received.annotations.as_deref(), Some(&b"x,x"[..]));
        assert_eq!(received.delivery_count, 1);
        bed.settle(consumer, 4, Some(rejected()), true);
        assert_eq!(bed.holds("q").messages, 0);
        assert_eq!(bed.store.messages.len(), 1, "the dead letter alone");
        assert_eq!(bed.drain_bodies(0, "dlq"), ["one +x,x !rejected q 1 app:bad"]);
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn a_consumer_that_settles_second_is_answered() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 1);
        bed.send(producer, "one");
        bed.settle(consumer, 0, Some(Outcome::Accepted), false);
        let received = &bed.consumers[&consumer].received[0];
        assert_eq!(received.updates, [(Some(Outcome::Accepted), true)]);
        assert_eq!(bed.holds("q").messages, 0);
        bed.clear();
    }
}

#[test]
fn a_producer_that_settles_second_is_told_first() {
    for from in [0, 1] {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let options = ProducerOptions { settles_second: true, ..ProducerOptions::default() };
        let producer = bed.try_producer(from, ProducerTarget::Address("q"), options).expect("let in");
        let incoming = Incoming { durable: true, ..bed.incoming("one", false, false) };
        let (handle, delivery) = bed.begin(producer, incoming);
        assert_eq!(bed.updates(producer, handle), [(Some(Outcome::Accepted), false)]);
        let delivery = delivery.expect("to be settled");
        bed.cores[from].settle_by_producer(bed.now, delivery, Some(Outcome::Accepted), true);
        bed.run();
        assert_eq!(bed.cores[from].producer(producer.1).expect("there").unsettled, 0);
        let (_, waiting) = bed.begin(producer, bed.incoming("two", false, false));
        assert!(waiting.is_some());
        bed.remove(&name("q"));
        bed.clear();
    }
}

#[test]
fn a_consumer_that_leaves_gives_back_what_it_had() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 2);
        for body in ["a", "b", "c"] {
            bed.send(producer, body);
        }
        assert_eq!(bed.bodies(consumer), ["a", "b"]);
        bed.remove_consumer(consumer);
        let next = bed.consumer(shards.0, "q", 10);
        assert_eq!(bed.bodies(next), ["a", "b", "c"]);
        let counts = bed.consumers[&next].received.iter().map(|one| one.redelivery.delivery_count);
        assert_eq!(counts.collect::<Vec<_>>(), [1, 1, 0]);
        bed.clear();
    }
}

#[test]
fn what_waits_for_a_lane_goes_to_others_uncounted() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        let lane = bed.lane(shards.1, 0);
        let slow = bed.consumer_in(shards.1, lane, "q", ConsumerOptions::default(), 10).expect("let in");
        for body in ["a", "b", "c"] {
            bed.send(producer, body);
        }
        assert!(bed.bodies(slow).is_empty());
        bed.remove_consumer(slow);
        let next = bed.consumer(shards.0, "q", 10);
        assert_eq!(bed.bodies(next), ["a", "b", "c"]);
        assert!(bed.consumers[&next].received.iter().all(|one| one.redelivery.delivery_count == 0));
        bed.clear();
    }
}

#[test]
fn a_lane_that_gets_budget_again_lets_its_consumers_go_on() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        let lane = bed.lane(shards.1, 1);
        let consumer = bed.consumer_in(shards.1, lane, "q", ConsumerOptions::default(), 10).expect("let in");
        for body in ["a", "b", "c"] {
            bed.send(producer, body);
        }
        assert_eq!(bed.bodies(consumer), ["a"]);
        bed.credit(consumer, 9, true);
        assert_eq!(bed.consumers[&consumer].drained, 0, "more is to come");
        bed.budget(shards.1, lane, 1);
        assert_eq!(bed.bodies(consumer), ["a", "b"]);
        bed.budget(shards.1, lane, 1_000);
        assert_eq!(bed.bodies(consumer), ["a", "b", "c"]);
        assert_eq!(bed.consumers[&consumer].drained, 1);
        bed.clear();
    }
}

#[test]
fn a_lane_without_budget_costs_its_consumers_no_credit() {
    for shards in SHARDS {
        let mut bed = bed(2);
        for address in ["q", "r"] {
            bed.set(address, queue(u64::from(address == "r") + 1));
        }
        let lane = bed.lane(shards.1, 1);
        let options = ConsumerOptions::default;
        let first = bed.consumer_in(shards.1, lane, "q", options(), 1).expect("let in");
        let second = bed.consumer_in(shards.1, lane, "r", options(), 1).expect("let in");
        for address in ["q", "r"] {
            let producer = bed.producer(shards.0, address);
            bed.send(producer, "one");
        }
        assert_eq!((bed.bodies(first).len(), bed.bodies(second).len()), (1, 0), "the first used the budget");
        bed.budget(shards.1, lane, 1_000);
        assert_eq!(bed.bodies(second), ["one"]);
        assert_eq!(bed.holds("r").redelivered, 0, "it has been handed out once");
        bed.clear();
    }
}

#[test]
fn a_slow_reader_elsewhere_has_one_window_and_no_more() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    let home = bed.home_of("q");
    let producer = bed.producer(home, "q");
    let lane = bed.lane(1 - home, 0);
    let consumer = bed.consumer_in(1 - home, lane, "q", ConsumerOptions::default(), 1_000).expect("let in");
    let body = "x".repeat(64 << 10);
    for _ in 0..10 {
        bed.send(producer, &body);
    }
    assert_eq!(bed.holds("q").acquired, 4, "256 KiB");
    bed.budget(1 - home, lane, usize::MAX);
    assert_eq!(bed.consumers[&consumer].received.len(), 10);
    bed.clear();
}

#[test]
fn lowering_the_credit_gives_back_what_has_not_gone_out() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    let home = bed.home_of("q");
    let producer = bed.producer(home, "q");
    let lane = bed.lane(1 - home, 0);
    let slow = bed.consumer_in(1 - home, lane, "q", ConsumerOptions::default(), 5).expect("let in");
    for body in ["a", "b", "c"] {
        bed.send(producer, body);
    }
    assert_eq!(bed.holds("q").acquired, 3);
    bed.credit(slow, 1, false);
    assert_eq!(bed.holds("q").acquired, 1);
    let other = bed.consumer(home, "q", 10);
    assert_eq!(bed.bodies(other), ["b", "c"]);
    bed.budget(1 - home, lane, 1_000);
    assert_eq!(bed.bodies(slow), ["a"]);
    bed.clear();
}

#[test]
fn draining_hands_out_what_is_there_and_says_so() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 0);
        bed.send(producer, "a");
        bed.credit(consumer, 5, true);
        assert_eq!(bed.bodies(consumer), ["a"]);
        assert_eq!(bed.consumers[&consumer].drained, 1);
        bed.send(producer, "b");
        assert_eq!(bed.bodies(consumer), ["a"], "its credit is used up");
        bed.credit(consumer, 1, false);
        assert_eq!(bed.bodies(consumer), ["a", "b"]);
        bed.clear();
    }
}

#[test]
fn a_presettled_consumer_takes_messages_for_good() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        let options = ConsumerOptions { settled: true, ..ConsumerOptions::default() };
        let consumer = bed.consumer_with(shards.1, "q", options, 10).expect("let in");
        bed.send_durable(producer, "a");
        assert_eq!(bed.bodies(consumer), ["a"]);
        assert!(bed.store.messages.is_empty());
        assert_eq!(bed.holds("q").messages, 0);
        bed.clear();
    }
}

#[test]
fn a_browser_sees_each_message_once_and_takes_none() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        for body in ["a", "b"] {
            bed.send(producer, body);
        }
        let options = ConsumerOptions { browse: true, ..ConsumerOptions::default() };
        let browser = bed.consumer_with(shards.1, "q", options, 0).expect("let in");
        bed.credit(browser, 10, true);
        assert_eq!(bed.bodies(browser), ["a", "b"]);
        assert_eq!(bed.consumers[&browser].drained, 1);
        assert_eq!(bed.drain_bodies(0, "q"), ["a", "b"]);
        bed.clear();
    }
}

#[test]
fn an_exclusive_consumer_is_alone() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let options = ConsumerOptions { exclusive: true, ..ConsumerOptions::default() };
        let first = bed.consumer_with(shards.0, "q", options, 1).expect("let in");
        match bed.consumer_with(shards.1, "q", ConsumerOptions::default(), 1) {
            Ok(second) => {
                assert_eq!(bed.consumers[&second].closed, Some(CloseReason::Exclusive));
                assert!(!bed.consumers[&second].admitted, "refused, and not let in and closed");
            }
            Err(refused) => assert_eq!(refused, Refused::Home(CloseReason::Exclusive)),
        }
        bed.remove_consumer(first);
        let last = bed.consumer(shards.1, "q", 1);
        assert_eq!(bed.consumers[&last].closed, None);
        bed.clear();
    }
}

#[test]
fn filters_choose_and_leave_the_rest() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        let filter: Arc<dyn Filter> = Arc::new(Contains(b"red".to_vec()));
        let options = ConsumerOptions { filter: Some(filter), ..ConsumerOptions::default() };
        let red = bed.consumer_with(shards.1, "q", options, 10).expect("let in");
        for body in ["red 1", "blue 1", "red 2"] {
            bed.send(producer, body);
        }
        assert_eq!(bed.bodies(red), ["red 1", "red 2"]);
        let other = bed.consumer(shards.0, "q", 10);
        assert_eq!(bed.bodies(other), ["blue 1"]);
        bed.clear();
    }
}

#[test]
fn limits_on_links_hold_for_all_shards_together() {
    let mut bed = bed(3);
    bed.set("q", AddressSettings { max_consumers: 2, max_producers: 1, ..queue(1) });
    let mut consumers = Vec::new();
    for shard in 0..3 {
        if let Ok(consumer) = bed.consumer_with(shard, "q", ConsumerOptions::default(), 1) {
            consumers.push(consumer);
        }
    }
    let open = consumers.iter().filter(|consumer| bed.consumers[*consumer].closed.is_none());
    assert_eq!(open.count(), 2);
    let mut open = 0;
    for shard in 0..3 {
        let target = ProducerTarget::Address("q");
        if let Ok(producer) = bed.try_producer(shard, target, ProducerOptions::default()) {
            open += u32::from(bed.producers[&producer].closed.is_none());
        }
    }
    assert_eq!(open, 1);
    bed.clear();
}

#[test]
fn a_full_queue_rejects_and_says_why() {
    for shards in SHARDS {
        let settings = QueueSettings { max_messages: 2, ..QueueSettings::default() };
        let mut bed = bed(2);
        bed.set("q", with(1, settings));
        let producer = bed.producer(shards.0, "q");
        bed.send(producer, "a");
        bed.send(producer, "b");
        let third = bed.send(producer, "c");
        let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, third) else { panic!() };
        assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
        bed.send_settled(producer, "d");
        assert_eq!(bed.cores[bed.home_of("q")].statistics().dropped, 1);
        assert_eq!(bed.drain_bodies(shards.1, "q"), ["a", "b"]);
        bed.clear();
    }
}

#[test]
fn a_full_queue_that_blocks_takes_credit_back_and_gives_it_again() {
    for shards in SHARDS {
        let settings = QueueSettings { max_messages: 8, on_full: OnFull::Block, ..QueueSettings::default() };
        let (mut bed, producer, consumer) = pair(shards, with(1, settings), 0);
        for _ in 0..7 {
            bed.send(producer, "x");
        }
        assert!(!bed.producers[&producer].stopped);
        let handle = bed.send(producer, "x");
        assert!(bed.producers[&producer].stopped, "the queue is full");
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        let beyond = bed.send(producer, "beyond");
        assert_eq!(bed.outcome(producer, beyond), Some(Outcome::Accepted), "it had the credit");
        bed.producers.get_mut(&producer).expect("there").credit = 0;
        bed.producers.get_mut(&producer).expect("there").stopped = false;
        bed.cores[producer.0].producer_stopped(bed.now, producer.1);
        bed.run();
        assert_eq!(bed.credit_of(producer), 0);
        bed.credit(consumer, 2, false);
        bed.accept(consumer, 0);
        assert_eq!(bed.credit_of(producer), 0, "not for each message");
        bed.accept(consumer, 1);
        assert_eq!(bed.credit_of(producer), 10);
        bed.clear();
    }
}

#[test]
fn dropping_the_oldest_makes_room_in_the_store_too() {
    let settings = QueueSettings { max_messages: 2, on_full: OnFull::DropOldest, ..QueueSettings::default() };
    let mut bed = bed(1);
    bed.set("q", with(1, settings));
    let producer = bed.producer(0, "q");
    for body in ["a", "b", "c"] {
        bed.send_durable(producer, body);
    }
    assert_eq!(bed.store.messages.len(), 2);
    assert_eq!(bed.drain_bodies(0, "q"), ["b", "c"]);
    bed.clear();
}

#[test]
fn too_many_deliveries_make_a_dead_letter_of_any_kind_anywhere() {
    for (dead_letter, kind) in
        [("a", AddressKind::Anycast), ("x", AddressKind::Queue), ("y", AddressKind::Topic)]
    {
        for shards in SHARDS {
            let settings = QueueSettings {
                max_deliveries: 2,
                dead_letter: Some(name(dead_letter)),
                ..QueueSettings::default()
            };
            let (mut bed, producer, consumer) = pair(shards, with(1, settings), 2);
            bed.set(dead_letter, AddressSettings { kind, id: None, ..queue(0) });
            let sink = bed.consumer(shards.0, dead_letter, 10);
            bed.send_durable(producer, "bad");
            bed.settle(consumer, 0, Some(Outcome::FAILED), true);
            bed.settle(consumer, 1, Some(Outcome::FAILED), true);
            assert_eq!(bed.bodies(sink), ["bad !max-deliveries q 2"], "{kind:?}");
            bed.accept(sink, 0);
            assert_eq!(bed.holds("q").messages, 0);
            assert_eq!(bed.holds("q").dead_lettered, 1);
            assert!(bed.store.messages.is_empty());
            bed.clear();
        }
    }
}

#[test]
fn a_dead_letter_that_finds_no_room_stays_and_tries_again() {
    let settings = QueueSettings { dead_letter: Some(name("dlq")), ..QueueSettings::default() };
    let (mut bed, producer, consumer) = pair((0, 0), with(1, settings), 10);
    bed.send_durable(producer, "bad");
    bed.settle(consumer, 0, Some(rejected()), true);
    assert_eq!(bed.holds("q").messages, 1, "there is no such address");
    bed.set("dlq", queue(2));
    bed.advance(Duration::from_millis(999));
    assert_eq!(bed.holds("dlq").messages, 0);
    bed.advance(Duration::from_millis(1));
    assert_eq!(bed.holds("dlq").messages, 1);
    assert_eq!(bed.holds("q").messages, 0);
    assert_eq!(bed.store.messages.len(), 1);
    bed.clear();
}

#[test]
fn expired_messages_leave_on_time() {
    for shards in SHARDS {
        let settings = QueueSettings { expiry: Some(name("late")), ..QueueSettings::default() };
        let mut bed = bed(2);
        bed.set("q", with(1, settings));
        bed.set("late", queue(2));
        let producer = bed.producer(shards.0, "q");
        for (body, ttl) in [("a", None), ("b", Some(5)), ("c", None)] {
            let ttl = ttl.map(Duration::from_secs);
            let incoming = Incoming { ttl, durable: true, ..bed.incoming(body, false, false) };
            bed.begin(producer, incoming);
        }
        bed.advance(Duration::from_millis(3_900));
        assert_eq!(bed.holds("q").messages, 3);
        bed.advance(Duration::from_millis(2_000));
        assert_eq!(bed.holds("q").messages, 2);
        assert_eq!(bed.holds("q").expired, 1);
        assert_eq!(bed.drain_bodies(0, "late"), ["b !expired q 0"]);
        assert_eq!(bed.drain_bodies(shards.1, "q"), ["a", "c"]);
        bed.clear();
    }
}

#[test]
fn a_scheduled_message_comes_when_it_is_due() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 10);
        let not_before = Some(UnixMillis(1_000_000_000_000 + 60_000));
        let incoming = Incoming { not_before, durable: true, ..bed.incoming("later", false, false) };
        let (handle, _) = bed.begin(producer, incoming);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        bed.send(producer, "now");
        assert_eq!(bed.bodies(consumer), ["now"]);
        bed.advance(Duration::from_secs(59));
        assert_eq!(bed.bodies(consumer), ["now"]);
        bed.advance(Duration::from_secs(2));
        assert_eq!(bed.bodies(consumer), ["now", "later"]);
        bed.clear();
    }
}

#[test]
fn a_message_in_pieces_is_put_together_and_one_that_is_too_large_refused() {
    for shards in SHARDS {
        let settings = AddressSettings { max_message_bytes: 6, ..queue(1) };
        let (mut bed, producer, consumer) = pair(shards, settings, 10);
        assert_eq!(bed.cores[producer.0].max_message_bytes(producer.1), 6);
        let (handle, delivery) = bed.begin(producer, bed.incoming("ab", false, true));
        let delivery = delivery.expect("it goes on");
        assert!(bed.append(producer, delivery, "cd", true));
        assert!(bed.bodies(consumer).is_empty());
        bed.append(producer, delivery, "ef", false);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        assert_eq!(bed.bodies(consumer), ["abcdef"]);
        let (handle, delivery) = bed.begin(producer, bed.incoming("abcd", false, true));
        let delivery = delivery.expect("it goes on");
        bed.append(producer, delivery, "efg", true);
        assert_eq!(bed.outcome(producer, handle), None, "when it is whole");
        bed.append(producer, delivery, "h", false);
        let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, handle) else { panic!() };
        assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
        let (_, delivery) = bed.begin(producer, bed.incoming("ab", false, true));
        bed.abort(producer, delivery.expect("it goes on"));
        let (_, delivery) = bed.begin(producer, bed.incoming("unfinished", false, true));
        assert!(delivery.is_some());
        bed.clear();
    }
}

#[test]
fn messages_that_are_coming_in_are_bounded_together() {
    let limits = CoreLimits { stored_memory_bytes: 10, ..CoreLimits::default() };
    let mut bed = bed_with(1, limits);
    bed.set("q", queue(1));
    let (one, other) = (bed.producer(0, "q"), bed.producer(0, "q"));
    let (_, first) = bed.begin(one, bed.incoming("123456", false, true));
    let (handle, second) = bed.begin(other, bed.incoming("123456", false, true));
    bed.append(other, second.expect("it goes on"), "7", false);
    let Some(Outcome::Rejected(Some(error))) = bed.outcome(other, handle) else { panic!() };
    assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    bed.append(one, first.expect("it goes on"), "7", false);
    assert_eq!(bed.drain_bodies(0, "q"), ["1234567"]);
    bed.clear();
}

#[test]
fn large_durable_messages_hold_their_session_until_they_are_stored() {
    for from in [0, 1] {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(from, "q");
        bed.store.held = true;
        let body = "x".repeat(PEER_FREE_BYTES + 1);
        bed.send_durable(producer, &body);
        assert_eq!(bed.producers[&producer].unconsumed, body.len());
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.producers[&producer].unconsumed, 0);
        bed.clear();
    }
}

#[test]
fn beyond_the_memory_bodies_are_in_the_store_and_come_back_in_order() {
    for durable in [true, false] {
        let limits = CoreLimits { stored_memory_bytes: 1_000, ..CoreLimits::default() };
        let mut bed = bed_with(1, limits);
        bed.set("q", queue(1));
        let producer = bed.producer(0, "q");
        let bodies: Vec<String> = (0..50).map(|number| format!("{number:0100}")).collect();
        for body in &bodies {
            let incoming = Incoming { durable, ..bed.incoming(body, false, false) };
            bed.begin(producer, incoming);
        }
        let statistics = bed.holds("q");
        assert_eq!(statistics.messages, 50);
        assert!(statistics.bytes_in_memory <= 1_100, "{}", statistics.bytes_in_memory);
        assert_eq!(bed.drain_bodies(0, "q"), bodies);
        assert!(bed.store.loads > 30);
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn a_body_that_cannot_be_read_is_tried_again() {
    let limits = CoreLimits { stored_memory_bytes: 10, ..CoreLimits::default() };
    let mut bed = bed_with(1, limits);
    bed.set("q", queue(1));
    let producer = bed.producer(0, "q");
    bed.send_durable(producer, "more than ten bytes");
    bed.send_durable(producer, "more than ten bytes too");
    bed.store.cannot_load = true;
    let consumer = bed.consumer(0, "q", 10);
    assert!(bed.bodies(consumer).is_empty());
    bed.store.cannot_load = false;
    bed.advance(Duration::from_secs(1));
    assert_eq!(bed.bodies(consumer).len(), 2);
    bed.clear();
}

#[test]
fn a_removed_queue_closes_its_links_and_is_forgotten_in_the_store() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 1);
        bed.send_durable(producer, "a");
        bed.send_durable(producer, "b");
        bed.store.held = true;
        let last = bed.send_durable(producer, "c");
        bed.remove("q");
        assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.outcome(producer, last), Some(Outcome::Released));
        assert!(bed.store.messages.is_empty());
        bed.set("q", queue(2));
        assert_eq!(bed.holds("q").messages, 0);
        bed.clear();
    }
}

#[test]
fn purging_leaves_what_consumers_have() {
    let (mut bed, producer, consumer) = pair((0, 1), queue(1), 1);
    for body in ["a", "b", "c"] {
        bed.send_durable(producer, body);
    }
    let home = bed.home_of("q");
    assert_eq!(bed.cores[home].purge(bed.now, "q"), Ok(2));
    assert!(bed.cores[1 - home].purge(bed.now, "q").is_err());
    bed.run();
    assert_eq!((bed.holds("q").messages, bed.store.messages.len()), (1, 1));
    bed.accept(consumer, 0);
    bed.clear();
}

#[test]
fn messages_move_in_order_up_to_the_limit_and_stay_where_they_are_not_taken() {
    for to in ["other", "far away", "x", "y"] {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        bed.set(to, queue(2));
        let producer = bed.producer(0, "q");
        let bodies: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
        for body in &bodies {
            bed.send_durable(producer, body);
        }
        let home = bed.home_of("q");
        assert_eq!(bed.cores[home].move_messages(bed.now, "q", to, 900), Ok(900));
        bed.run();
        assert_eq!(bed.holds(to).messages, 900);
        assert_eq!(bed.drain_bodies(0, to), bodies[..900]);
        let settings = QueueSettings { max_messages: 10, ..QueueSettings::default() };
        bed.set(to, with(2, settings));
        assert_eq!(bed.cores[home].move_messages(bed.now, "q", to, 0), Ok(100));
        bed.run();
        assert_eq!((bed.holds(to).messages, bed.holds("q").messages), (10, 90));
        assert_eq!(bed.drain_bodies(0, "q"), bodies[910..]);
        assert_eq!(bed.store.messages.len(), 10);
        for core in &bed.cores {
            core.check_stored_idle();
        }
        bed.clear();
    }
}

#[test]
fn an_anonymous_producer_reaches_queues() {
    for from in [0, 1] {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.anonymous(from);
        let incoming = Incoming { to: Some("q"), durable: true, ..bed.incoming("a", false, false) };
        let (handle, _) = bed.begin(producer, incoming);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        assert_eq!(bed.drain_bodies(0, "q"), ["a"]);
        bed.clear();
    }
}

#[test]
fn duplicates_are_accepted_and_forgotten() {
    let deduplicate = Some(Deduplicate { window: Duration::from_secs(60), max_ids: 100 });
    let mut bed = bed(1);
    bed.set("q", with(1, QueueSettings { deduplicate, ..QueueSettings::default() }));
    let producer = bed.producer(0, "q");
    for body in ["id=1 a", "id=1 b", "id=2 c"] {
        let handle = bed.send_durable(producer, body);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
    }
    assert_eq!(bed.drain_bodies(0, "q"), ["id=1 a", "id=2 c"]);
    bed.clear();
}

#[test]
fn a_duplicate_is_not_accepted_before_the_first_one_is_certain() {
    let deduplicate = Some(Deduplicate { window: Duration::from_secs(60), max_ids: 100 });
    for fails in [true, false] {
        let mut bed = bed(1);
        bed.set("q", with(1, QueueSettings { deduplicate, ..QueueSettings::default() }));
        let producer = bed.producer(0, "q");
        bed.store.held = true;
        let first = bed.send_durable(producer, "id=1 a");
        let again = bed.send_durable(producer, "id=1 a");
        assert_eq!(bed.outcome(producer, again), None);
        bed.store.held = false;
        bed.store.fails = fails;
        bed.run();
        let accepted = |outcome: Option<Outcome>| outcome == Some(Outcome::Accepted);
        assert_eq!(accepted(bed.outcome(producer, first)), !fails);
        assert_eq!(accepted(bed.outcome(producer, again)), !fails);
        assert_eq!(bed.store.messages.len(), usize::from(!fails));
        bed.clear();
    }
}

#[test]
fn a_link_that_was_let_in_too_early_by_another_shard_is_closed() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    let (home, now) = (bed.home_of("q"), bed.now);
    let far = 1 - home;
    // The other shard hears first that the queue is replaced.
    bed.cores[far].remove_address(now, "q");
    bed.cores[far].set_address(now, &name("q"), queue(2));
    let producer = bed.producer(far, "q");
    let consumer = bed.consumer(far, "q", 1);
    bed.cores[home].remove_address(now, "q");
    bed.cores[home].set_address(now, &name("q"), queue(2));
    bed.run();
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
    bed.clear();
}

#[test]
fn what_was_accepted_is_there_after_a_restart_in_order_and_with_its_counts() {
    for shards in SHARDS {
        let (mut bed, producer, consumer) = pair(shards, queue(1), 2);
        for body in ["a", "b", "c", "d"] {
            bed.send_durable(producer, body);
        }
        bed.send(producer, "volatile");
        let ttl = Some(Duration::from_secs(10));
        let incoming = Incoming { ttl, durable: true, priority: 9, ..bed.incoming("short", false, false) };
        bed.begin(producer, incoming);
        let incoming = Incoming { durable: true, priority: 9, ..bed.incoming("urgent", false, false) };
        bed.begin(producer, incoming);
        bed.accept(consumer, 0);
        bed.settle(consumer, 1, Some(Outcome::FAILED), true);
        bed.store.held = true;
        bed.send_durable(producer, "not accepted");
        let mut bed = bed.restart(&[("q", queue(1))]);
        bed.store.held = false;
        bed.advance(Duration::from_secs(20));
        let consumer = bed.consumer(shards.1, "q", 10);
        assert_eq!(bed.bodies(consumer), ["urgent", "b", "c", "d"]);
        assert_eq!(bed.consumers[&consumer].received[1].redelivery.delivery_count, 1);
        for index in 0..4 {
            bed.accept(consumer, index);
        }
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn the_node_stopping_keeps_what_is_stored() {
    let (mut bed, producer, _) = pair((0, 1), queue(1), 0);
    bed.send_durable(producer, "a");
    for core in &mut bed.cores {
        core.drain(bed.now);
    }
    bed.run();
    assert!(bed.producers[&producer].stopped);
    let mut bed = bed.restart(&[("q", queue(1))]);
    assert_eq!(bed.drain_bodies(0, "q"), ["a"]);
    bed.clear();
}

#[test]
fn the_links_of_a_shard_that_is_gone_are_gone_with_it() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    let home = bed.home_of("q");
    let producer = bed.producer(1 - home, "q");
    let consumer = bed.consumer(1 - home, "q", 1);
    bed.send_durable(producer, "a");
    bed.cores[home].handle_peer_gone(bed.now, ShardId(1 - home as u32));
    bed.cores[1 - home].handle_peer_gone(bed.now, ShardId(home as u32));
    bed.run();
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone));
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::HomeGone));
    let here = bed.consumer(home, "q", 1);
    assert_eq!(bed.bodies(here), ["a"]);
    assert_eq!(bed.consumers[&here].received[0].redelivery.delivery_count, 1);
    bed.clear();
}

/// A consumer of `q` on the other shard than its home, which has not heard of it.
fn waiting(bed: &mut Bed, credit: u32) -> C {
    bed.deliver_mail = false;
    let consumer = bed.consumer(1 - bed.home_of("q"), "q", credit);
    assert!(!bed.consumers[&consumer].admitted);
    consumer
}

#[test]
fn a_consumer_that_leaves_before_its_home_has_answered_leaves_nothing_there() {
    let mut bed = bed(2);
    bed.set("q", AddressSettings { max_consumers: 1, ..queue(1) });
    let shard = 1 - bed.home_of("q");
    let early = waiting(&mut bed, 5);
    let state = bed.remove_consumer(early);
    bed.deliver_mail = true;
    bed.run();
    assert!(!state.admitted);
    let producer = bed.producer(shard, "q");
    bed.send(producer, "a");
    let next = bed.consumer(shard, "q", 5);
    assert!(bed.consumers[&next].admitted, "the place of the other one is free");
    assert_eq!(bed.bodies(next), ["a"]);
    assert_eq!(bed.consumers[&next].received[0].redelivery.delivery_count, 0);
    bed.clear();
}

#[test]
fn a_drain_asked_for_before_the_home_has_answered_ends_after_it() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    let consumer = waiting(&mut bed, 0);
    bed.credit(consumer, 5, true);
    assert_eq!(bed.consumers[&consumer].drained, 0);
    bed.deliver_mail = true;
    bed.run();
    let state = &bed.consumers[&consumer];
    assert_eq!((state.admitted, state.drained), (true, 1));
    bed.clear();
}

#[test]
fn a_consumer_is_refused_when_its_home_goes_or_its_address_before_the_answer() {
    for is_deleted in [false, true] {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let consumer = waiting(&mut bed, 5);
        let (now, home) = (bed.now, bed.home_of("q"));
        let reason = if is_deleted {
            bed.cores[consumer.0].remove_address(now, "q");
            CloseReason::AddressDeleted
        } else {
            bed.cores[consumer.0].handle_peer_gone(now, ShardId(home as u32));
            CloseReason::HomeGone
        };
        bed.run();
        let state = &bed.consumers[&consumer];
        assert_eq!((state.admitted, state.closed), (false, Some(reason)));
        bed.deliver_mail = is_deleted;
        bed.run();
        assert!(!bed.consumers[&consumer].admitted, "an answer that comes later counts no more");
    }
}

#[test]
fn an_empty_queue_costs_little() {
    use crate::broker::home_size;
    assert!(home_size() <= 640, "{}", home_size());
}

#[test]
fn effects_stay_small() {
    // Every one is written and read once per message.
    assert!(size_of::<Effect>() <= 128, "{}", size_of::<Effect>());
    assert!(size_of::<PeerMessage>() <= 120, "{}", size_of::<PeerMessage>());
}
