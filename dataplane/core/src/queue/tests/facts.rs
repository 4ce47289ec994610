//! What becomes of messages.

use std::time::Duration;

use bytes::Bytes;

use super::support::*;
use crate::format::DeadLetterReason;
use crate::queue::*;
use crate::settings::{Deduplicate, OnFull, QueueSettings};
use crate::store::{Reference, UnixMillis};

fn left(entry: EntryKey, reason: DeadLetterReason) -> Action {
    Action::Leave { entry, reason }
}

fn dropped(actions: &[Action]) -> Vec<EntryKey> {
    let removed = |action: &Action| match action {
        Action::Dropped(removed) => Some(removed.entry),
        _ => None,
    };
    actions.iter().filter_map(removed).collect()
}

#[test]
fn an_idle_queue_takes_less_than_300_bytes() {
    assert!(size_of::<Queue>() < 300, "{}", size_of::<Queue>());
}

#[test]
fn messages_come_in_the_order_in_which_they_went_in() {
    let mut bed = Bed::new();
    for body in ["a", "b", "c"] {
        bed.send(body);
    }
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["a", "b", "c"]);
}

#[test]
fn higher_priorities_come_first_and_in_order() {
    let mut bed = Bed::new();
    for (body, priority) in [("a", 4), ("b", 9), ("c", 0), ("d", 9), ("e", 200)] {
        bed.take(Arrival { priority, ..arrival(body) });
    }
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["b", "d", "e", "a", "c"]);
}

#[test]
fn nothing_goes_past_a_message_that_is_being_stored() {
    let mut bed = Bed::new();
    let consumer = bed.consumer(10);
    let first = bed.take(Arrival { storing: true, ..arrival("a") });
    let second = bed.take(Arrival { storing: true, ..arrival("b") });
    bed.send("c");
    bed.take(Arrival { priority: 9, ..arrival("high") });
    assert_eq!(bed.bodies(), ["high"], "other priorities do not wait");
    assert!(bed.queue.stored(bed.now, second, Reference(2)));
    assert_eq!(bed.bodies(), Vec::<String>::new());
    assert!(bed.queue.stored(bed.now, first, Reference(1)));
    assert_eq!(bed.bodies(), ["a", "b", "c"]);
    assert_eq!(bed.queue.outstanding(consumer), 4);
}

#[test]
fn a_message_that_cannot_be_stored_is_gone_and_blocks_nobody() {
    let settings = Deduplicate { window: Duration::from_secs(60), max_ids: 10 };
    let mut bed = Bed::with(QueueSettings { deduplicate: Some(settings), ..QueueSettings::default() });
    bed.consumer(10);
    let message = || Arrival { storing: true, message_id: Some(Bytes::from_static(b"1")), ..arrival("a") };
    let first = bed.take(message());
    bed.send("b");
    assert!(bed.queue.store_failed(first));
    assert!(!bed.queue.store_failed(first));
    assert_eq!(bed.bodies(), ["b"]);
    assert!(bed.queue.enqueue(bed.now, message()).is_ok(), "its id is not remembered");
    assert_eq!(bed.queue.enqueue(bed.now, message()), Err(NotTaken::Duplicate));
}

#[test]
fn a_released_message_is_back_in_its_place_as_if_it_had_never_gone() {
    let mut bed = Bed::new();
    for body in ["a", "b", "c"] {
        bed.send(body);
    }
    let consumer = bed.consumer(2);
    let (first, second) = (bed.next(), bed.next());
    bed.settle(consumer, second, Settlement::Released);
    assert_eq!(bed.settle(consumer, first, Settlement::Released), Settled::Returned { changed: false });
    assert_eq!(bed.queue.entry(first).map(Entry::delivery_count), Some(0));
    assert!(bed.queue.entry(first).is_some_and(Entry::was_acquired));
    bed.queue.set_credit(consumer, 10, false);
    assert_eq!(bed.bodies(), ["a", "b", "c"]);
    assert_eq!(bed.queue.statistics().redelivered, 2);
}

#[test]
fn a_failed_delivery_counts_and_waits_longer_each_time() {
    let mut bed = Bed::with(QueueSettings {
        max_deliveries: 5,
        redelivery_delay: Duration::from_secs(1),
        redelivery_multiplier_percent: 200,
        redelivery_delay_max: Duration::from_secs(3),
        ..QueueSettings::default()
    });
    let key = bed.send("a");
    let consumer = bed.consumer(100);
    for (count, delay) in [(1, 1_000), (2, 2_000), (3, 3_000), (4, 3_000)] {
        assert_eq!(bed.next(), key);
        assert_eq!(bed.settle(consumer, key, FAILED), Settled::Returned { changed: true });
        assert_eq!(bed.queue.entry(key).map(Entry::delivery_count), Some(count));
        assert_eq!(bed.queue.statistics().delayed, 1);
        assert_eq!(bed.queue.poll_timeout(), Some(UnixMillis(bed.now.0 + delay)));
        bed.pass(delay - 1);
        assert_eq!(bed.queue.next(bed.now), Next::Idle);
        bed.pass(1);
    }
    assert_eq!(bed.next(), key);
    assert_eq!(bed.settle(consumer, key, FAILED), Settled::Leaving(DeadLetterReason::MaxDeliveries));
    assert_eq!(bed.queue.next(bed.now), Next::Idle);
    assert!(bed.queue.remove(key).is_some());
    assert_eq!(bed.queue.statistics().dead_lettered, 1);
    assert_eq!(bed.queue.messages(), 0);
}

#[test]
fn a_message_that_is_delayed_lets_others_pass() {
    let delay = Duration::from_secs(1);
    let mut bed = Bed::with(QueueSettings { redelivery_delay: delay, ..QueueSettings::default() });
    bed.send("a");
    bed.send("b");
    let consumer = bed.consumer(10);
    let first = bed.next();
    bed.settle(consumer, first, FAILED);
    assert_eq!(bed.bodies(), ["b"]);
    bed.send("c");
    bed.pass(1_000);
    assert_eq!(bed.bodies(), ["a", "c"]);
}

#[test]
fn a_rejected_message_leaves_and_stays_until_it_has_arrived_elsewhere() {
    let mut bed = Bed::new();
    let key = bed.send("a");
    let consumer = bed.consumer(10);
    assert_eq!(bed.next(), key);
    assert_eq!(bed.settle(consumer, key, Settlement::Rejected), Settled::Leaving(DeadLetterReason::Rejected));
    assert_eq!(bed.queue.next(bed.now), Next::Idle);
    assert_eq!(bed.body(key), "a");
    assert!(bed.queue.put_back(bed.now, key));
    assert_eq!(bed.bodies(), ["a"]);
    assert!(bed.queue.remove(key).is_none(), "a consumer has it");
}

#[test]
fn annotations_are_kept_with_the_message() {
    let mut bed = Bed::new();
    let key = bed.send("a");
    let consumer = bed.consumer(10);
    assert_eq!(bed.next(), key);
    let notes = Bytes::from_static(b"notes");
    let modified =
        Settlement::Modified { failed: false, undeliverable_here: false, annotations: Some(notes.clone()) };
    assert_eq!(bed.settle(consumer, key, modified), Settled::Returned { changed: true });
    assert_eq!(bed.queue.entry(key).and_then(Entry::annotations), Some(&notes));
    assert_eq!(bed.queue.entry(key).map(Entry::delivery_count), Some(0));
}

#[test]
fn settling_what_one_does_not_have_does_nothing() {
    let mut bed = Bed::new();
    let key = bed.send("a");
    let (one, other) = (bed.consumer(1), bed.consumer(0));
    assert_eq!(bed.settle(one, key, Settlement::Accepted), Settled::Unknown);
    assert_eq!(bed.next(), key);
    assert_eq!(bed.settle(other, key, Settlement::Accepted), Settled::Unknown);
    bed.accept(one, key);
    assert_eq!(bed.settle(one, key, Settlement::Accepted), Settled::Unknown);
}

#[test]
fn a_message_expires_within_a_second_of_its_time_in_the_middle_of_a_long_queue() {
    let mut bed = Bed::new();
    let mut middle = None;
    for number in 0..10_000 {
        let expires = (number == 5_000).then_some(UnixMillis(bed.now.0 + 12_345));
        let key = bed.take(Arrival { expires, ..arrival("a") });
        if expires.is_some() {
            middle = Some(key);
        }
    }
    let middle = middle.expect("there is one");
    bed.pass(12_344);
    assert_eq!(bed.actions(), []);
    bed.pass(1_000);
    assert_eq!(bed.actions(), [left(middle, DeadLetterReason::Expired)]);
    assert!(bed.queue.entry(middle).is_some_and(Entry::is_leaving));
    assert!(!bed.queue.put_back(bed.now, middle), "its time is over");
    assert_eq!(bed.queue.remove(middle).map(|removed| removed.entry), Some(middle));
    assert_eq!(bed.queue.statistics().expired, 1);
    assert!(bed.queue.rows.iter().flatten().all(|row| row.first_timer().is_none()));
}

#[test]
fn an_expired_message_is_not_delivered_even_before_the_timer_has_fired() {
    let mut bed = Bed::new();
    let key = bed.take(Arrival { expires: Some(UnixMillis(bed.now.0 + 10)), ..arrival("a") });
    bed.send("b");
    bed.consumer(10);
    bed.now.0 += 10;
    assert_eq!(bed.bodies(), ["b"]);
    assert_eq!(bed.actions(), [left(key, DeadLetterReason::Expired)]);
}

#[test]
fn a_message_does_not_expire_while_a_consumer_has_it() {
    let mut bed = Bed::new();
    let key = bed.take(Arrival { expires: Some(UnixMillis(bed.now.0 + 10)), ..arrival("a") });
    let consumer = bed.consumer(10);
    assert_eq!(bed.next(), key);
    bed.pass(10_000);
    assert_eq!(bed.actions(), []);
    assert_eq!(bed.settle(consumer, key, Settlement::Released), Settled::Leaving(DeadLetterReason::Expired));
}

#[test]
fn many_messages_expire_a_few_at_a_time() {
    let mut bed = Bed::new();
    for _ in 0..1_000 {
        bed.take(Arrival { expires: Some(UnixMillis(bed.now.0 + 10)), ..arrival("a") });
    }
    bed.now.0 += 1_000;
    bed.queue.handle_timeout(bed.now, 100);
    let first = bed.actions().len();
    assert!((100..150).contains(&first), "{first}");
    assert!(bed.queue.poll_timeout().is_some_and(|at| at <= bed.now));
    bed.pass(0);
    assert_eq!(first + bed.actions().len(), 1_000);
}

#[test]
fn a_scheduled_message_waits_for_its_time_and_then_takes_its_place() {
    let mut bed = Bed::new();
    let not_before = Some(UnixMillis(bed.now.0 + 5_000));
    bed.take(Arrival { not_before, ..arrival("later") });
    let stored = bed.take(Arrival { not_before, storing: true, ..arrival("stored") });
    bed.queue.stored(bed.now, stored, Reference(1));
    bed.send("now");
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["now"]);
    assert_eq!(bed.queue.statistics().delayed, 2);
    bed.pass(4_999);
    assert_eq!(bed.bodies(), Vec::<String>::new());
    bed.send("last");
    assert_eq!(bed.bodies(), ["last"]);
    bed.pass(1);
    assert_eq!(bed.bodies(), ["later", "stored"], "the last one has gone before");
}

#[test]
fn a_full_queue_rejects_by_number_and_by_bytes() {
    let limits = QueueSettings { max_messages: 2, max_bytes: 10, ..QueueSettings::default() };
    let mut bed = Bed::with(limits);
    bed.send("12345");
    assert!(!bed.queue.is_full());
    assert_eq!(bed.queue.enqueue(bed.now, arrival("123456")), Err(NotTaken::TooManyBytes { limit: 10 }));
    bed.send("12345");
    assert!(bed.queue.is_full());
    let refused = bed.queue.enqueue(bed.now, arrival(""));
    assert_eq!(refused, Err(NotTaken::TooManyMessages { limit: 2 }));
    assert_eq!(bed.queue.statistics().rejected, 2);
    let consumer = bed.consumer(1);
    let key = bed.next();
    assert!(bed.queue.enqueue(bed.now, arrival("")).is_err(), "what a consumer has counts");
    bed.accept(consumer, key);
    assert!(bed.queue.enqueue(bed.now, arrival("")).is_ok());
}

#[test]
fn a_full_queue_that_blocks_still_takes_what_comes() {
    let settings = QueueSettings { max_messages: 1, on_full: OnFull::Block, ..QueueSettings::default() };
    let mut bed = Bed::with(settings);
    bed.send("a");
    assert!(bed.queue.is_full());
    bed.send("b");
    assert_eq!(bed.queue.messages(), 2);
}

#[test]
fn the_oldest_that_nobody_has_makes_room() {
    let settings = QueueSettings { max_messages: 3, on_full: OnFull::DropOldest, ..QueueSettings::default() };
    let mut bed = Bed::with(settings);
    let first = bed.send("a");
    bed.consumer(1);
    assert_eq!(bed.next(), first);
    bed.now.0 += 1;
    let low = bed.take(Arrival { priority: 1, ..arrival("low") });
    let high = bed.take(Arrival { priority: 9, ..arrival("high") });
    bed.now.0 += 1;
    bed.send("b");
    assert_eq!(dropped(&bed.actions()), [low], "of equals, the one with the lower priority");
    bed.send("c");
    assert_eq!(dropped(&bed.actions()), [high]);
    bed.send("d");
    bed.send("e");
    assert_eq!(bed.queue.messages(), 3);
    assert_eq!(bed.queue.statistics().dropped, 4);
}

#[test]
fn a_message_larger_than_the_queue_drops_nothing() {
    let settings = QueueSettings { max_bytes: 3, on_full: OnFull::DropOldest, ..QueueSettings::default() };
    let mut bed = Bed::with(settings);
    bed.send("abc");
    assert!(bed.queue.enqueue(bed.now, arrival("abcd")).is_err());
    assert_eq!(bed.queue.messages(), 1);
}

#[test]
fn a_duplicate_is_found_within_the_window() {
    let settings = Deduplicate { window: Duration::from_secs(1), max_ids: 100 };
    let mut bed = Bed::with(QueueSettings { deduplicate: Some(settings), ..QueueSettings::default() });
    let message = |now: UnixMillis| Arrival {
        message_id: Some(Bytes::from_static(b"1")),
        arrived: now,
        ..arrival("a")
    };
    let key = bed.take(message(bed.now));
    let consumer = bed.consumer(1);
    assert_eq!(bed.next(), key);
    bed.accept(consumer, key);
    bed.now.0 += 999;
    assert_eq!(bed.queue.enqueue(bed.now, message(bed.now)), Err(NotTaken::Duplicate), "though it is gone");
    bed.now.0 += 1;
    assert!(bed.queue.enqueue(bed.now, message(bed.now)).is_ok());
}

#[test]
fn a_message_takes_the_place_of_the_one_with_its_key() {
    let mut bed = Bed::with(QueueSettings { last_value: true, ..QueueSettings::default() });
    let keyed = |body, key: &'static str| Arrival { last_value: Some(key.into()), ..arrival(body) };
    let first = bed.take(keyed("a1", "a"));
    bed.take(keyed("b1", "b"));
    bed.take(keyed("a2", "a"));
    assert_eq!(dropped(&bed.actions()), [first]);
    let consumer = bed.consumer(1);
    let taken = bed.next();
    assert_eq!(bed.body(taken), "b1");
    bed.take(keyed("b2", "b"));
    assert_eq!(bed.actions(), [], "a consumer has the one before");
    let settled = bed.settle(consumer, taken, Settlement::Released);
    assert!(matches!(settled, Settled::Removed(_)), "there is a newer one");
    bed.queue.set_credit(consumer, 10, false);
    assert_eq!(bed.bodies(), ["a2", "b2"]);
}

#[test]
fn a_last_value_gives_way_only_to_one_that_was_stored() {
    let mut bed = Bed::with(QueueSettings { last_value: true, ..QueueSettings::default() });
    let keyed = |body| Arrival { last_value: Some("a".into()), storing: true, ..arrival(body) };
    let first = bed.take(keyed("1"));
    bed.queue.stored(bed.now, first, Reference(1));
    let second = bed.take(keyed("2"));
    assert_eq!(bed.queue.messages(), 2);
    bed.queue.store_failed(second);
    let third = bed.take(keyed("3"));
    bed.queue.stored(bed.now, third, Reference(3));
    assert_eq!(dropped(&bed.actions()), [first]);
    bed.consumer(10);
    assert_eq!(bed.bodies(), ["3"]);
}

#[test]
fn purging_takes_what_nobody_has() {
    let mut bed = Bed::new();
    bed.send("a");
    bed.send("b");
    bed.take(Arrival { not_before: Some(UnixMillis(bed.now.0 + 10)), ..arrival("later") });
    bed.take(Arrival { storing: true, ..arrival("storing") });
    let consumer = bed.consumer(1);
    let first = bed.next();
    let mut last = None;
    let mut purged = 0;
    while let Some(key) = bed.queue.take(last) {
        last = Some(key);
        assert!(bed.queue.remove(key).is_some());
        purged += 1;
    }
    assert_eq!((purged, bed.queue.messages()), (2, 2));
    bed.accept(consumer, first);
}

#[test]
fn what_is_taken_to_be_moved_is_in_the_order_of_delivery_and_can_be_put_back() {
    let mut bed = Bed::new();
    let (one, two) = (bed.send("a"), bed.send("b"));
    assert_eq!(bed.queue.take(None), Some(one));
    assert_eq!(bed.queue.take(Some(one)), Some(two));
    assert_eq!(bed.queue.take(Some(two)), None);
    bed.consumer(10);
    assert_eq!(bed.bodies(), Vec::<String>::new());
    assert!(bed.queue.put_back(bed.now, two) && bed.queue.put_back(bed.now, one));
    assert_eq!(bed.bodies(), ["a", "b"]);
}

#[test]
fn what_is_passed_on_does_not_overtake_what_is_being_stored() {
    let mut bed = Bed::new();
    let first = bed.take(arrival("a"));
    let storing = bed.take(Arrival { storing: true, ..arrival("b") });
    let last = bed.take(arrival("c"));
    assert_eq!(bed.queue.take_first(), Some((first, None)));
    assert_eq!(bed.queue.take_first(), None);
    bed.queue.stored(bed.now, storing, Reference(1));
    assert_eq!(bed.queue.take_first(), Some((storing, None)));
    assert_eq!(bed.queue.take_first(), Some((last, None)));
}

#[test]
fn memory_shrinks_again_when_a_few_messages_of_many_are_left() {
    let mut bed = Bed::new();
    let consumer = bed.consumer(0);
    let keys: Vec<EntryKey> = (0..32_000).map(|_| bed.send("a")).collect();
    bed.queue.set_credit(consumer, 32_000, false);
    while let Next::Deliver(_) = bed.queue.next(bed.now) {}
    for (number, key) in keys.iter().enumerate() {
        if number % 64 != 5 {
            bed.queue.settle(bed.now, consumer, *key, Settlement::Accepted);
        }
    }
    bed.queue.check();
    let places: usize = bed.queue.rows.iter().flatten().map(|row| row.capacity()).sum();
    assert!(places < 3 * 500 + 64, "{places} places for 500 messages");
    for key in keys.iter().skip(5).step_by(64) {
        bed.queue.settle(bed.now, consumer, *key, Settlement::Accepted);
    }
    bed.queue.trim();
    assert!(bed.queue.rows.iter().all(Option::is_none));
    assert!(bed.send("a") > keys[31_999], "keys are not used again");
}

#[test]
fn a_message_that_nobody_takes_costs_nothing_for_those_that_go_past_it() {
    let mut bed = Bed::new();
    bed.send("stays");
    let consumer = bed.filtered(b'x', 1);
    for _ in 0..20_000 {
        bed.send("x");
        let key = bed.next();
        bed.queue.settle(bed.now, consumer, key, Settlement::Accepted);
        bed.queue.set_credit(consumer, 1, false);
    }
    bed.queue.check();
    let slots: usize = bed.queue.rows.iter().flatten().map(|row| row.slots()).sum();
    assert!(slots < 40, "{slots}");
    assert_eq!(bed.queue.messages(), 1);
}

#[test]
fn an_empty_queue_without_consumers_keeps_no_memory() {
    let mut bed = Bed::new();
    let consumer = bed.consumer(10);
    bed.send("a");
    let key = bed.next();
    bed.accept(consumer, key);
    bed.queue.remove_consumer(bed.now, consumer);
    assert!(bed.queue.is_unused());
    assert!(bed.queue.rows.iter().all(Option::is_none) && bed.queue.members.is_none());
    assert_eq!(bed.queue.settle(bed.now, consumer, key, Settlement::Accepted), Settled::Unknown);
    let other = bed.consumer(10);
    assert_ne!(other, consumer, "keys are not used again");
}

#[test]
fn a_queue_that_has_nothing_to_do_keeps_no_memory_for_later() {
    let mut bed = Bed::new();
    let consumer = bed.consumer(1_000);
    for _ in 0..200 {
        bed.send("a");
    }
    while let Next::Deliver(delivery) = bed.queue.next(bed.now) {
        bed.queue.settle(bed.now, consumer, delivery.entry, Settlement::Accepted);
    }
    assert!(bed.queue.rows.iter().any(Option::is_some));
    bed.pass(5_000);
    bed.send("a");
    let key = bed.next();
    bed.pass(5_000);
    bed.accept(consumer, key);
    assert!(bed.queue.rows.iter().any(Option::is_some), "a message came within ten seconds");
    bed.pass(20_000);
    assert!(bed.queue.rows.iter().all(Option::is_none));
    assert_eq!(bed.queue.poll_timeout(), None, "an idle queue needs no timer");
}

#[test]
fn statistics_say_where_messages_are() {
    let mut bed = Bed::new();
    bed.send("a");
    bed.now.0 += 1_000;
    bed.send("bb");
    bed.send("c");
    bed.take(Arrival { storing: true, ..arrival("d") });
    bed.take(Arrival { not_before: Some(UnixMillis(bed.now.0 + 9)), ..arrival("e") });
    bed.consumer(1);
    bed.next();
    let statistics = bed.queue.statistics();
    assert_eq!(statistics.oldest, Some(UnixMillis(1_000_000)));
    assert_eq!((statistics.messages, statistics.bytes, statistics.bytes_in_memory), (5, 6, 6));
    let states = (statistics.available, statistics.acquired, statistics.storing, statistics.delayed);
    assert_eq!(states, (2, 1, 1, 1));
    assert_eq!((statistics.enqueued, statistics.consumers), (5, 1));
}
