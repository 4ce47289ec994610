//! Who gets which message.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::support::*;
use crate::format::Filter;
use crate::queue::*;
use crate::settings::QueueSettings;
use crate::store::Reference;

/// Matches nothing, and counts how often it is asked.
#[derive(Debug, Default)]
struct Nothing(AtomicU32);

impl Filter for Nothing {
    fn matches(&self, _message_format: u32, _message: &[u8]) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn text(&self) -> &str {
        "nothing"
    }
}

fn grouped() -> Bed {
    Bed::with(QueueSettings { groups: true, ..QueueSettings::default() })
}

fn of_group(body: &'static str, group: &'static str) -> Arrival {
    Arrival { group: Some(Bytes::from_static(group.as_bytes())), ..arrival(body) }
}

#[test]
fn consumers_take_turns_and_none_gets_more_than_its_credit() {
    let mut bed = Bed::new();
    let (one, two) = (bed.consumer(2), bed.consumer(10));
    for _ in 0..5 {
        bed.send("a");
    }
    let turns: Vec<MemberKey> = bed.deliveries().into_iter().map(|(consumer, _)| consumer).collect();
    assert_eq!(turns, [one, two, one, two, two]);
    assert_eq!((bed.queue.credit(one), bed.queue.credit(two)), (0, 7));
}

#[test]
fn the_least_busy_of_ten_thousand_is_next() {
    let mut bed = Bed::new();
    let consumers: Vec<MemberKey> = (0..10_000).map(|_| bed.consumer(10)).collect();
    for _ in 0..10_000 {
        bed.send("a");
    }
    let mut taken = Vec::new();
    while let Next::Deliver(delivery) = bed.queue.next(bed.now) {
        taken.push(delivery);
    }
    assert!(taken.iter().map(|delivery| delivery.consumer).eq(consumers.iter().copied()));
    bed.queue.settle(bed.now, consumers[7_777], taken[7_777].entry, Settlement::Accepted);
    bed.send("a");
    let Next::Deliver(delivery) = bed.queue.next(bed.now) else { panic!("somebody is free") };
    assert_eq!(delivery.consumer, consumers[7_777]);
}

#[test]
fn a_consumer_that_is_held_gets_nothing_until_it_is_let_go() {
    let mut bed = Bed::new();
    let consumer = bed.consumer(10);
    bed.queue.set_held(consumer, true);
    bed.send("a");
    assert_eq!(bed.queue.next(bed.now), Next::Idle);
    bed.queue.set_held(consumer, false);
    assert_eq!(bed.bodies(), ["a"]);
}

#[test]
fn a_delivery_that_is_undone_was_never_made() {
    let mut bed = Bed::new();
    bed.send("a");
    bed.send("b");
    let consumer = bed.consumer(1);
    let Next::Deliver(delivery) = bed.queue.next(bed.now) else { panic!("there is one") };
    assert!(delivery.first);
    bed.queue.undo(bed.now, delivery);
    bed.queue.check();
    assert_eq!((bed.queue.credit(consumer), bed.queue.outstanding(consumer)), (1, 0));
    assert!(!bed.queue.entry(delivery.entry).is_some_and(Entry::was_acquired));
    assert_eq!(bed.queue.next(bed.now), Next::Deliver(delivery));
    assert_eq!(bed.queue.statistics().redelivered, 0);
}

#[test]
fn what_a_consumer_leaves_behind_counts_as_failed_and_keeps_its_order() {
    let mut bed = Bed::new();
    for body in ["a", "b", "c"] {
        bed.take(Arrival { durable: true, ..arrival(body) });
    }
    let gone = bed.consumer(2);
    let (first, second) = (bed.next(), bed.next());
    bed.queue.remove_consumer(bed.now, gone);
    assert_eq!(bed.actions(), [Action::Changed { entry: first }, Action::Changed { entry: second }]);
    assert_eq!(bed.queue.entry(first).map(Entry::delivery_count), Some(1));
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["a", "b", "c"]);
    assert_eq!(bed.settle(gone, first, Settlement::Accepted), Settled::Unknown);
}

#[test]
fn what_a_consumer_leaves_behind_too_often_goes_to_the_dead_letter_address() {
    let mut bed = Bed::with(QueueSettings { max_deliveries: 1, ..QueueSettings::default() });
    let key = bed.send("a");
    let gone = bed.consumer(1);
    assert_eq!(bed.next(), key);
    bed.queue.remove_consumer(bed.now, gone);
    let reason = DeadLetterReason::MaxDeliveries;
    assert_eq!(bed.actions(), [Action::Leave { entry: key, reason }]);
}

#[test]
fn a_filter_lets_through_what_matches_and_leaves_the_rest_to_others() {
    let mut bed = Bed::new();
    for body in ["x1", "y1", "x2", "y2"] {
        bed.send(body);
    }
    bed.filtered(b'y', 10);
    assert_eq!(bed.bodies(), ["y1", "y2"]);
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["x1", "x2"]);
}

#[test]
fn a_filter_sees_each_message_once() {
    let mut bed = Bed::new();
    let filter = Arc::new(Nothing::default());
    let options = MemberOptions { filter: Some(filter.clone()), ..MemberOptions::default() };
    bed.consumer_with(options, 10);
    for sent in 1..=5_000 {
        bed.send("a");
        if sent % 100 == 0 {
            assert_eq!(bed.bodies(), Vec::<String>::new());
        }
    }
    assert_eq!(filter.0.load(Ordering::Relaxed), 5_000);
}

#[test]
fn a_message_that_comes_back_is_looked_at_again_by_those_that_had_passed_it() {
    let mut bed = Bed::new();
    let all = bed.consumer(1);
    let filtered = bed.filtered(b'y', 10);
    bed.send("y1");
    let Next::Deliver(first) = bed.queue.next(bed.now) else { panic!("somebody takes it") };
    bed.send("y2");
    bed.send("y3");
    bed.deliveries();
    let other = if first.consumer == all { filtered } else { all };
    bed.queue.set_credit(other, 10, false);
    bed.settle(first.consumer, first.entry, NOT_HERE);
    assert_eq!(bed.deliveries(), [(other, "y1".into())]);
}

#[test]
fn a_long_search_is_cut_short_and_lets_others_go_on() {
    let mut bed = Bed::new();
    for _ in 0..5_000 {
        bed.send("a");
    }
    bed.send("z");
    let searching = bed.filtered(b'z', 1);
    assert_eq!(bed.queue.next(bed.now), Next::More);
    let plain = bed.consumer(1);
    let deliveries = bed.deliveries();
    assert_eq!(deliveries, [(plain, "a".into()), (searching, "z".into())]);
}

#[test]
fn a_message_refused_by_one_consumer_goes_to_another() {
    let mut bed = Bed::new();
    let refusing = bed.consumer(10);
    let key = bed.send("a");
    bed.send("b");
    assert_eq!(bed.next(), key);
    assert_eq!(bed.settle(refusing, key, NOT_HERE), Settled::Returned { changed: false });
    assert_eq!(bed.deliveries(), [(refusing, "b".into())]);
    let other = bed.consumer(10);
    assert_eq!(bed.deliveries(), [(other, "a".into())]);
}

#[test]
fn a_group_stays_with_its_consumer() {
    let mut bed = grouped();
    let (one, two) = (bed.consumer(1), bed.consumer(10));
    for (body, group) in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a")] {
        bed.take(of_group(body, group));
    }
    let text = |consumer, body: &str| (consumer, body.to_owned());
    assert_eq!(bed.deliveries(), [text(one, "a1"), text(two, "b1"), text(two, "b2")]);
    bed.queue.set_credit(one, 1, false);
    assert_eq!(bed.deliveries(), [text(one, "a2")]);
    bed.queue.remove_consumer(bed.now, one);
    assert_eq!(bed.deliveries(), [text(two, "a1"), text(two, "a2"), text(two, "a3")]);
}

#[test]
fn a_group_stays_with_its_consumer_while_it_has_no_messages() {
    let mut bed = grouped();
    let (one, two) = (bed.consumer(10), bed.consumer(10));
    let key = bed.take(of_group("a1", "a"));
    assert_eq!(bed.next(), key);
    bed.accept(one, key);
    bed.take(of_group("b1", "b"));
    assert_eq!(bed.deliveries(), [(two, "b1".into())], "its turn");
    bed.take(of_group("a2", "a"));
    bed.take(of_group("a3", "a"));
    assert_eq!(bed.deliveries(), [(one, "a2".into()), (one, "a3".into())]);
}

#[test]
fn a_group_whose_message_is_refused_goes_to_another_consumer() {
    let mut bed = grouped();
    let (one, two) = (bed.consumer(1), bed.consumer(0));
    let key = bed.take(of_group("a1", "a"));
    assert_eq!(bed.next(), key);
    bed.settle(one, key, NOT_HERE);
    bed.queue.set_credit(two, 10, false);
    assert_eq!(bed.deliveries(), [(two, "a1".into())]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let mut bed = Bed::new();
    let exclusive = || MemberOptions { exclusive: true, ..MemberOptions::default() };
    let first = bed.consumer_with(exclusive(), 10);
    assert_eq!(bed.queue.add_consumer(MemberOptions::default()), Err(NotAlone));
    let browser = MemberOptions { browse: true, ..MemberOptions::default() };
    assert!(bed.queue.add_consumer(browser).is_ok());
    bed.queue.remove_consumer(bed.now, first);
    bed.consumer(10);
    assert_eq!(bed.queue.add_consumer(exclusive()), Err(NotAlone));
}

#[test]
fn on_an_exclusive_queue_the_others_wait_for_the_first_to_leave() {
    let mut bed = Bed::with(QueueSettings { exclusive: true, ..QueueSettings::default() });
    let (first, second, third) = (bed.consumer(1), bed.consumer(10), bed.consumer(10));
    bed.send("a");
    bed.send("b");
    assert_eq!(bed.deliveries(), [(first, "a".into())]);
    bed.queue.remove_consumer(bed.now, first);
    assert_eq!(bed.deliveries(), [(second, "a".into()), (second, "b".into())]);
    bed.queue.set_settings(Arc::new(QueueSettings::default()));
    bed.send("c");
    assert_eq!(bed.deliveries(), [(third, "c".into())], "nobody has it for himself any more");
}

#[test]
fn a_browser_sees_each_message_once_and_takes_none() {
    let mut bed = Bed::new();
    bed.send("a");
    bed.send("b");
    let browser = bed.consumer_with(MemberOptions { browse: true, ..MemberOptions::default() }, 10);
    assert_eq!(bed.bodies(), ["a", "b"]);
    bed.take(Arrival { priority: 9, ..arrival("high") });
    assert_eq!(bed.bodies(), ["high"]);
    assert_eq!(bed.queue.credit(browser), 7);
    assert_eq!(bed.queue.outstanding(browser), 0);
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["high", "a", "b"]);
}

#[test]
fn drained_credit_comes_back_when_there_is_nothing_more() {
    let mut bed = Bed::new();
    let plain = bed.consumer_with(MemberOptions { owner: 7, ..MemberOptions::default() }, 0);
    bed.send("a");
    bed.queue.set_credit(plain, 5, true);
    assert_eq!(bed.queue.poll_drained(), None, "there is one more");
    assert_eq!(bed.bodies(), ["a"]);
    assert_eq!(bed.queue.poll_drained(), Some((plain, 7)));
    assert_eq!((bed.queue.poll_drained(), bed.queue.credit(plain)), (None, 0));
    bed.send("x");
    let filtered = bed.filtered(b'y', 0);
    bed.queue.set_credit(filtered, 5, true);
    assert_eq!(bed.queue.poll_drained(), None, "it has not looked yet");
    assert_eq!(bed.queue.next(bed.now), Next::Idle);
    assert_eq!(bed.queue.poll_drained().map(|(consumer, _)| consumer), Some(filtered));
}

#[test]
fn bodies_are_loaded_in_order_within_the_bytes_that_are_allowed() {
    let mut bed = Bed::new();
    let keys: Vec<EntryKey> = (0..10).map(|number| bed.restore(number, 100)).collect();
    assert_eq!(bed.loads(1_000), [], "nobody needs them");
    let consumer = bed.consumer(2);
    assert_eq!(bed.queue.next(bed.now), Next::Idle);
    let loads = bed.loads(300);
    assert_eq!(loads.iter().map(|load| load.entry).collect::<Vec<_>>(), keys[..3]);
    assert_eq!(loads[1], Load { entry: keys[1], reference: Reference(1), size: 100 });
    assert!(bed.queue.loaded(keys[1], Bytes::from(vec![b'1'; 100])));
    assert_eq!(bed.queue.next(bed.now), Next::Idle, "the first is not there");
    assert!(bed.queue.loaded(keys[0], Bytes::from(vec![b'0'; 100])));
    assert_eq!(bed.bodies().len(), 2);
    assert_eq!(bed.queue.bytes_in_memory(), 200);
    bed.queue.set_credit(consumer, 9, false);
    assert_eq!(bed.loads(300).len(), 2);
    assert_eq!(bed.queue.drop_body(keys[0]), 100);
    bed.settle(consumer, keys[0], Settlement::Released);
    assert_eq!(bed.loads(0).len(), 1, "what is first is always loaded");
}

#[test]
fn a_message_that_cannot_be_read_does_not_block_the_others() {
    let mut bed = Bed::new();
    let keys: Vec<EntryKey> = (0..2).map(|number| bed.restore(number, 3)).collect();
    bed.consumer(2);
    bed.loads(1_000);
    assert!(bed.queue.load_failed(keys[0]));
    assert!(bed.queue.entry(keys[0]).is_some_and(Entry::is_leaving));
    assert!(bed.queue.loaded(keys[1], "two".into()));
    assert_eq!(bed.bodies(), ["two"]);
}

#[test]
fn a_filter_gets_bodies_loaded_and_what_does_not_match_leaves_memory_again() {
    let mut bed = Bed::new();
    let bodies = Cell::new(0);
    for number in 0..100 {
        bed.restore(number, 1);
    }
    bed.filtered(b'9', 100);
    let mut got = Vec::new();
    loop {
        got.extend(bed.bodies());
        let loads = bed.loads(10);
        if loads.is_empty() {
            break;
        }
        for load in loads {
            let body = if load.reference.0 % 10 == 9 { "9" } else { "1" };
            bed.queue.loaded(load.entry, body.into());
            bodies.set(bodies.get() + 1);
        }
        assert!(bed.queue.bytes_in_memory() < 30);
    }
    assert_eq!((got.len(), bodies.get()), (10, 100));
    assert_eq!(bed.queue.bytes_in_memory(), 10);
}

#[test]
fn a_body_that_the_store_does_not_have_is_not_dropped() {
    let mut bed = Bed::new();
    let key = bed.send("a");
    assert_eq!(bed.queue.drop_body(key), 0);
    assert!(bed.queue.stored(bed.now, key, Reference(1)), "it was written to be dropped from memory");
    assert_eq!(bed.queue.drop_body(key), 1);
    assert_eq!(bed.queue.bytes_in_memory(), 0);
}
