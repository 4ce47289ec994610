//! Messages that come in pieces, and the bytes they hold.

use bytes::Bytes;

use super::bed::*;
use crate::*;

#[test]
fn a_chunk_is_forwarded_before_the_last_has_come_in() {
    for address in ["a", "m"] {
        let mut bed = Bed::single();
        let (producer, consumer) = (bed.producer(0, address), bed.consumer(0, address, 5));
        let incoming = bed.incoming("one,", false, true);
        let (handle, delivery) = bed.begin(producer, incoming);
        let delivery = delivery.expect("unfinished");
        assert_eq!(bed.bodies(consumer), ["one,"]);
        assert!(bed.append(producer, delivery, "two,", true));
        assert_eq!(bed.bodies(consumer), ["one,two,"]);
        assert!(bed.append(producer, delivery, "three", false));
        assert_eq!(bed.bodies(consumer), ["one,two,three"]);
        let received = &bed.consumers[&consumer].received[0];
        assert!(received.whole && received.chunks == 3);
        bed.settle(consumer, 0, Some(Outcome::Accepted), true);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        bed.clear();
    }
}

#[test]
fn nothing_else_goes_to_a_consumer_until_its_delivery_is_finished() {
    for address in ["a", "m"] {
        let mut bed = Bed::single();
        let (slow, fast) = (bed.producer(0, address), bed.producer(0, address));
        let consumer = bed.consumer(0, address, 5);
        let incoming = bed.incoming("long,", false, true);
        let (_, delivery) = bed.begin(slow, incoming);
        bed.send(fast, "short");
        assert_eq!(bed.bodies(consumer), ["long,"]);
        bed.append(slow, delivery.expect("unfinished"), "end", false);
        assert_eq!(bed.bodies(consumer), ["long,end", "short"]);
        bed.clear();
    }
}

#[test]
fn chunks_wait_while_the_lane_has_no_budget() {
    for address in ["a", "m"] {
        let mut bed = Bed::single();
        let producer = bed.producer(0, address);
        let lane = bed.lane(0, 1);
        let consumer = bed.consumer_in(0, lane, address, ConsumerOptions::default(), 5).expect("let in");
        let incoming = bed.incoming("11", false, true);
        let (_, delivery) = bed.begin(producer, incoming);
        let delivery = delivery.expect("unfinished");
        assert_eq!(bed.bodies(consumer), ["11"], "the last chunk may exceed the budget");
        assert!(!bed.append(producer, delivery, "22", true));
        assert!(!bed.append(producer, delivery, "33", true));
        assert!(!bed.append(producer, delivery, "44", false));
        assert_eq!(bed.producers[&producer].unconsumed, 6);
        bed.budget(0, lane, 1);
        assert_eq!(bed.bodies(consumer), ["1122"]);
        assert_eq!(bed.producers[&producer].unconsumed, 4);
        bed.budget(0, lane, 67);
        assert_eq!(bed.bodies(consumer), ["11223344"]);
        assert_eq!(bed.producers[&producer].unconsumed, 0);
        bed.clear();
    }
}

#[test]
fn the_consumers_of_a_lane_share_its_budget_in_turns() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let lane = bed.lane(0, 0);
    let options = ConsumerOptions::default();
    let consumers: Vec<C> =
        (0..3).map(|_| bed.consumer_in(0, lane, "a", options.clone(), 5).expect("let in")).collect();
    for _ in 0..6 {
        bed.send(producer, "x");
    }
    assert_eq!(bed.cores[0].statistics().undelivered, 6);
    for _ in 0..6 {
        bed.budget(0, lane, 1);
    }
    assert!(consumers.iter().all(|consumer| bed.bodies(*consumer).len() == 2));
    bed.clear();
}

#[test]
fn a_chunk_is_consumed_when_the_slowest_multicast_consumer_has_taken_it() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 0), bed.consumer(0, "m", 5));
    let incoming = bed.incoming("11", true, true);
    let (_, delivery) = bed.begin(producer, incoming);
    let delivery = delivery.expect("unfinished");
    assert!(!bed.append(producer, delivery, "22", false));
    assert_eq!(bed.bodies(fast), ["1122"]);
    assert_eq!(bed.producers[&producer].unconsumed, 4);
    bed.credit(slow, 1, false);
    assert_eq!(bed.bodies(slow), ["1122"]);
    assert_eq!(bed.producers[&producer].unconsumed, 0);
    bed.clear();
}

#[test]
fn a_slow_multicast_consumer_that_leaves_frees_the_chunks() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 0), bed.consumer(0, "m", 5));
    let incoming = bed.incoming("11", false, true);
    let (handle, delivery) = bed.begin(producer, incoming);
    let delivery = delivery.expect("unfinished");
    bed.remove_consumer(slow);
    assert_eq!(bed.producers[&producer].unconsumed, 0);
    assert!(bed.append(producer, delivery, "22", false));
    bed.settle(fast, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
    bed.clear();
}

#[test]
fn an_aborted_message_is_aborted_where_it_has_been_started_and_forgotten_where_not() {
    for address in ["a", "m"] {
        let mut bed = Bed::single();
        let producer = bed.producer(0, address);
        let consumer = bed.consumer(0, address, 1);
        let incoming = bed.incoming("started", false, true);
        let (handle, delivery) = bed.begin(producer, incoming);
        bed.abort(producer, delivery.expect("unfinished"));
        assert!(bed.consumers[&consumer].received[0].aborted);
        let incoming = bed.incoming("waiting", false, true);
        let (_, delivery) = bed.begin(producer, incoming);
        bed.abort(producer, delivery.expect("unfinished"));
        assert!(bed.updates(producer, handle).is_empty());
        bed.credit(consumer, 5, false);
        bed.send(producer, "next");
        assert_eq!(bed.bodies(consumer), ["started", "next"]);
        assert_eq!(bed.producers[&producer].unconsumed, 0);
        assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 1);
        bed.clear();
    }
}

#[test]
fn a_producer_that_leaves_in_the_middle_of_a_message_aborts_it() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 2);
    let incoming = bed.incoming("half", false, true);
    bed.begin(producer, incoming);
    bed.remove_producer(producer);
    assert!(bed.consumers[&consumer].received[0].aborted);
    let other = bed.producer(0, "a");
    bed.send(other, "next");
    assert_eq!(bed.bodies(consumer), ["half", "next"]);
    bed.clear();
}

#[test]
fn the_rest_of_a_message_whose_consumer_left_is_swallowed_and_it_fails_at_the_end() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let (first, second) = (bed.consumer(0, "a", 1), bed.consumer(0, "a", 0));
    let incoming = bed.incoming("half", false, true);
    let (handle, delivery) = bed.begin(producer, incoming);
    let delivery = delivery.expect("unfinished");
    bed.remove_consumer(first);
    assert!(bed.append(producer, delivery, "more", true));
    assert!(bed.updates(producer, handle).is_empty(), "told before it is whole");
    assert!(bed.append(producer, delivery, "end", false));
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::FAILED));
    assert!(bed.bodies(second).is_empty());
    bed.clear();
}

#[test]
fn a_consumer_that_decides_in_the_middle_gets_no_more_of_it_and_is_free() {
    for settled in [false, true] {
        let mut bed = Bed::single();
        let (producer, other) = (bed.producer(0, "a"), bed.producer(0, "a"));
        let consumer = bed.consumer(0, "a", 2);
        let incoming = bed.incoming("half", false, true);
        let (handle, delivery) = bed.begin(producer, incoming);
        bed.send(other, "next");
        bed.settle(consumer, 0, Some(rejected()), settled);
        let received = &bed.consumers[&consumer].received[0];
        assert!(received.aborted && received.updates.is_empty());
        assert_eq!(bed.bodies(consumer), ["half", "next"]);
        bed.append(producer, delivery.expect("unfinished"), "end", false);
        assert_eq!(bed.updates(producer, handle), [(Some(rejected()), true)]);
        bed.clear();
    }
}

#[test]
fn a_message_that_starts_while_another_is_unfinished_aborts_that_one() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 5));
    let incoming = bed.incoming("half", false, true);
    bed.begin(producer, incoming);
    bed.send(producer, "next");
    assert!(bed.consumers[&consumer].received[0].aborted);
    assert_eq!(bed.bodies(consumer), ["half", "next"]);
    bed.clear();
}

#[test]
fn a_small_chunk_that_waits_does_not_keep_the_buffer_it_came_in() {
    for (address, size, copied) in
        [("a", COPY_UP_TO, true), ("a", COPY_UP_TO + 1, false), ("m", COPY_UP_TO, true)]
    {
        let mut bed = Bed::single();
        let producer = bed.producer(0, address);
        bed.consumer(0, address, 0);
        let buffer = Bytes::from(vec![7; 64 << 10]);
        let incoming = Incoming { chunk: buffer.slice(..size), ..bed.incoming("", true, false) };
        bed.begin(producer, incoming);
        assert_eq!(buffer.is_unique(), copied, "{address} {size}");
        let incoming = bed.incoming("start", true, true);
        let (_, delivery) = bed.begin(producer, incoming);
        let (now, chunk) = (bed.now, buffer.slice(..COPY_UP_TO));
        assert!(!bed.cores[0].append(now, delivery.expect("unfinished"), chunk, true));
        bed.producers.get_mut(&producer).expect("known").unconsumed += COPY_UP_TO;
        assert_eq!(buffer.is_unique(), copied, "{address} {size}");
        bed.clear();
    }
}

#[test]
fn a_message_whose_producer_settles_while_it_streams_is_finished_settled() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 1));
    let incoming = bed.incoming("half,", false, true);
    let (handle, delivery) = bed.begin(producer, incoming);
    let delivery = delivery.expect("unfinished");
    let now = bed.now;
    bed.cores[0].settle_by_producer(now, delivery, None, true);
    bed.run();
    assert_eq!(bed.consumers[&consumer].received[0].updates, [(None, true)]);
    bed.append(producer, delivery, "end", false);
    assert_eq!(bed.bodies(consumer), ["half,end"]);
    assert!(bed.updates(producer, handle).is_empty());
    assert_eq!(bed.cores[0].statistics().unsettled, 0);
    bed.clear();
}
