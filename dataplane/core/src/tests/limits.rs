//! Every limit, crossed.

use super::bed::*;
use crate::*;

fn refusal<T>(result: Result<T, Refused>) -> String {
    result.err().map(|refused| refused.to_string()).unwrap_or_default()
}

#[test]
fn an_address_takes_no_more_links_than_its_limits_say() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { max_producers: 2, max_consumers: 1, ..anycast() });
    let target = ProducerTarget::Address("a");
    let first = bed.producer(0, "a");
    bed.producer(0, "a");
    assert_eq!(
        refusal(bed.try_producer(0, target, ProducerOptions::default())),
        "address a is at its limit for producers, which is 2; close one or raise the limit"
    );
    bed.remove_producer(first);
    bed.producer(0, "a");
    bed.consumer(0, "a", 1);
    let lane = bed.lane(0, 1);
    assert_eq!(
        refusal(bed.consumer_in(0, lane, "a", ConsumerOptions::default(), 1)),
        "address a is at its limit for consumers, which is 1; close one or raise the limit"
    );
    bed.clear();
}

#[test]
fn the_limits_of_an_address_count_links_of_every_shard() {
    let mut bed = Bed::with_addresses(2);
    bed.set("a", AddressSettings { max_producers: 1, max_consumers: 1, ..anycast() });
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 1);
    let target = ProducerTarget::Address("a");
    assert!(bed.try_producer(1, target, ProducerOptions::default()).is_err());
    let lane = bed.lane(1, 1);
    assert!(bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 1).is_err());
    bed.remove_producer(producer);
    bed.remove_consumer(consumer);
    bed.producer(1, "a");
    bed.consumer(1, "a", 1);
    bed.clear();
}

#[test]
fn a_shard_takes_no_more_links_than_its_limits_say() {
    let limits =
        CoreLimits { max_producers: 1, max_consumers: 2, max_temporaries: 1, ..CoreLimits::default() };
    let mut bed = Bed::with_limits(1, limits);
    bed.set("a", anycast());
    bed.anonymous(0);
    assert!(bed.try_producer(0, ProducerTarget::AnyAddress, ProducerOptions::default()).is_err());
    let temporary = bed.temporary(0, "t1", 1).expect("let in");
    assert_eq!(
        refusal(bed.temporary(0, "t2", 1)),
        "the shard is at its limit for temporary addresses, which is 1; close one or raise the limit"
    );
    bed.consumer(0, "a", 1);
    let lane = bed.lane(0, 1);
    assert!(bed.consumer_in(0, lane, "a", ConsumerOptions::default(), 1).is_err());
    bed.remove_consumer(temporary);
    bed.temporary(0, "t2", 1).expect("let in");
    bed.clear();
}

#[test]
fn a_message_that_is_too_large_is_rejected() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { max_message_bytes: 10, ..anycast() });
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 5));
    let is_too_large = |outcome: Option<Outcome>| match outcome {
        Some(Outcome::Rejected(Some(info))) => info.condition == condition::MESSAGE_SIZE_EXCEEDED,
        _ => false,
    };
    let fits = bed.send(producer, "0123456789");
    assert_eq!(bed.outcome(producer, fits), None);
    let handle = bed.send(producer, "0123456789a");
    assert!(is_too_large(bed.outcome(producer, handle)));
    let incoming = bed.incoming("01234", false, true);
    let (handle, delivery) = bed.begin(producer, incoming);
    let delivery = delivery.expect("unfinished");
    assert!(bed.append(producer, delivery, "56789", true));
    assert!(bed.append(producer, delivery, "a", true));
    assert!(bed.consumers[&consumer].received[1].aborted);
    assert!(bed.append(producer, delivery, "b", false));
    assert!(is_too_large(bed.outcome(producer, handle)));
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 1);
    bed.clear();
}

#[test]
fn a_delivery_refused_by_the_caller_ends_with_its_outcome_and_gives_its_credit_back() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 5));
    let refuse = |bed: &mut Bed, handle: u64, settled: bool, more: bool| {
        let state = bed.producers.get_mut(&producer).expect("known");
        state.credit -= 1;
        state.updates.insert(handle, Vec::new());
        let incoming = Incoming { handle, ..bed.incoming("", settled, more) };
        let begun = bed.cores[0].begin_refused(bed.now, producer.1, incoming, rejected());
        bed.run();
        begun.delivery
    };
    let delivery = refuse(&mut bed, 1_000, false, true).expect("it goes on");
    assert!(bed.updates(producer, 1_000).is_empty(), "it is not whole yet");
    assert!(bed.append(producer, delivery, "the rest", false));
    assert_eq!(bed.outcome(producer, 1_000), Some(rejected()));
    assert_eq!(refuse(&mut bed, 1_001, false, false), None);
    assert_eq!(bed.outcome(producer, 1_001), Some(rejected()));
    refuse(&mut bed, 1_002, true, false);
    assert!(bed.updates(producer, 1_002).is_empty());
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 0);
    assert_eq!(bed.cores[0].statistics().dropped, 1);
    assert!(bed.consumers[&consumer].received.is_empty());
    bed.clear();
}

#[test]
fn a_producer_knows_how_large_a_message_its_address_takes() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { max_message_bytes: 10, ..anycast() });
    let (producer, anonymous) = (bed.producer(0, "a"), bed.anonymous(0));
    assert_eq!(bed.cores[0].max_message_bytes(producer.1), 10);
    assert_eq!(bed.cores[0].max_message_bytes(anonymous.1), 0);
    bed.set("a", anycast());
    assert_eq!(bed.cores[0].max_message_bytes(producer.1), 0);
    bed.clear();
}

#[test]
fn with_block_a_full_backlog_withholds_credit_until_it_is_below_the_limit() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    let (slow, _fast) = (bed.consumer(0, "m", 0), bed.consumer(0, "m", 1_000));
    // Five may wait; the producer's credit is ten, and half of it has to be gone for a grant.
    for _ in 0..4 {
        bed.send_settled(producer, "x");
    }
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 0);
    let mut sent = 4;
    while bed.credit_of(producer) > 0 {
        bed.send_settled(producer, "x");
        sent += 1;
    }
    assert_eq!(sent, 4 + 10, "the fifth one fills the backlog; the credit of ten can still be used");
    assert_eq!(bed.cores[0].statistics().undelivered, 14);
    bed.credit(slow, 9, false);
    assert_eq!(bed.credit_of(producer), 0, "five are waiting still");
    bed.credit(slow, 1, false);
    assert_eq!(bed.credit_of(producer), 10);
    assert_eq!(bed.cores[0].statistics().dropped, 0);
    bed.clear();
}

#[test]
fn a_change_of_policy_gives_withheld_credit_back() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    bed.consumer(0, "m", 0);
    while bed.credit_of(producer) > 0 {
        bed.send_settled(producer, "x");
    }
    bed.set("m", AddressSettings { overload: Overload::Drop, ..multicast() });
    assert_eq!(bed.credit_of(producer), 10);
    bed.clear();
}

#[test]
fn with_drop_the_oldest_beyond_the_limit_are_dropped_for_the_slow_consumer_alone() {
    let mut bed = Bed::single();
    bed.set("m", AddressSettings { overload: Overload::Drop, ..multicast() });
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 0), bed.consumer(0, "m", 1_000));
    for body in 0..20 {
        assert!(bed.credit_of(producer) > 0, "the producer is held up");
        bed.send_settled(producer, &body.to_string());
    }
    assert_eq!(bed.cores[0].statistics().dropped, 15);
    bed.credit(slow, 100, false);
    assert_eq!(bed.bodies(slow), ["15", "16", "17", "18", "19"]);
    assert_eq!(bed.bodies(fast).len(), 20);
    bed.clear();
}

#[test]
fn with_drop_an_unsettled_message_is_never_dropped() {
    let mut bed = Bed::single();
    bed.set("m", AddressSettings { overload: Overload::Drop, max_undelivered: 2, ..multicast() });
    let producer = bed.producer(0, "m");
    let slow = bed.consumer(0, "m", 0);
    bed.send(producer, "unsettled");
    for body in 0..5 {
        bed.send_settled(producer, &body.to_string());
    }
    bed.credit(slow, 100, false);
    assert_eq!(bed.bodies(slow), ["unsettled", "4"]);
    bed.clear();
}

#[test]
fn with_disconnect_a_consumer_beyond_the_limit_is_closed() {
    let mut bed = Bed::single();
    bed.set("m", AddressSettings { overload: Overload::Disconnect, ..multicast() });
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 0), bed.consumer(0, "m", 1_000));
    let handles: Vec<u64> = (0..5).map(|_| bed.send(producer, "x")).collect();
    assert_eq!(bed.consumers[&slow].closed, None);
    bed.send(producer, "x");
    assert_eq!(bed.consumers[&slow].closed, Some(CloseReason::SlowConsumer));
    assert_eq!(bed.consumers[&fast].closed, None);
    assert_eq!(bed.cores[0].statistics().undelivered, 0);
    for index in 0..6 {
        bed.settle(fast, index, Some(Outcome::Accepted), true);
    }
    assert_eq!(bed.outcome(producer, handles[0]), Some(Outcome::Released));
    bed.clear();
}

#[test]
fn the_messages_of_producers_that_left_are_bounded() {
    let limits = CoreLimits { max_orphaned_bytes: 1_000, ..CoreLimits::default() };
    let mut bed = Bed::with_limits(1, limits);
    bed.set("a", anycast());
    let consumer = bed.consumer(0, "a", 0);
    for _ in 0..4 {
        let producer = bed.producer(0, "a");
        bed.send(producer, "0123456789");
        bed.remove_producer(producer);
    }
    let target = ProducerTarget::Address("a");
    let refused = bed.try_producer(0, target, ProducerOptions::default());
    assert_eq!(refused, Err(Refused::Full("address a".into())));
    bed.credit(consumer, 4, false);
    assert_eq!(bed.bodies(consumer).len(), 4);
    bed.producer(0, "a");
    bed.clear();
}

#[test]
fn the_messages_of_anonymous_producers_that_left_are_bounded() {
    let limits = CoreLimits { max_orphaned_bytes: 1_000, ..CoreLimits::default() };
    let mut bed = Bed::with_limits(1, limits);
    bed.set("a", anycast());
    let consumer = bed.consumer(0, "a", 0);
    for _ in 0..4 {
        let producer = bed.anonymous(0);
        let incoming = Incoming { to: Some("a"), ..bed.incoming("0123456789", false, false) };
        bed.begin(producer, incoming);
        bed.remove_producer(producer);
    }
    assert!(bed.try_producer(0, ProducerTarget::AnyAddress, ProducerOptions::default()).is_err());
    bed.credit(consumer, 4, false);
    bed.anonymous(0);
    bed.clear();
}

#[test]
fn a_temporary_address_lives_as_long_as_its_consumer_and_has_no_other() {
    let mut bed = Bed::single();
    let consumer = bed.temporary(0, "t", 1).expect("let in");
    assert_eq!(bed.temporary(0, "t", 1), Err(Refused::Exists("t".into())));
    let lane = bed.lane(0, 1);
    let second = bed.consumer_in(0, lane, "t", ConsumerOptions::default(), 1);
    assert_eq!(second, Err(Refused::NotAllowed("t".into())));
    let producer = bed.producer(0, "t");
    let (had, waits) = (bed.send(producer, "x"), bed.send(producer, "y"));
    bed.remove_consumer(consumer);
    assert_eq!(bed.outcome(producer, had), Some(Outcome::FAILED));
    assert_eq!(bed.outcome(producer, waits), Some(Outcome::Released));
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
    assert_eq!(bed.cores[0].address("t"), None);
    bed.clear();
}

#[test]
fn ten_thousand_consumers_take_turns() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { link_credit: 100_000, ..anycast() });
    let lane = bed.lane(0, usize::MAX);
    let options = ConsumerOptions::default();
    let now = bed.now;
    let consumers: Vec<ConsumerKey> = (0..10_000)
        .map(|_| {
            let consumer = bed.cores[0].add_consumer(now, lane, "a", options.clone()).expect("let in");
            bed.cores[0].set_credit(now, consumer, 100, false);
            consumer
        })
        .collect();
    let target = ProducerTarget::Address("a");
    let producer = bed.cores[0].add_producer(now, target, ProducerOptions::default()).expect("let in");
    for _ in 0..20_000 {
        let incoming = bed.incoming("x", false, false);
        bed.cores[0].begin(now, producer, incoming);
        while bed.cores[0].poll_effect().is_some() {}
    }
    let core = &bed.cores[0];
    assert!(consumers.iter().all(|key| core.consumer(*key).is_some_and(|consumer| consumer.deliveries == 2)));
    for consumer in consumers {
        bed.cores[0].remove_consumer(now, consumer);
    }
    bed.cores[0].remove_producer(now, producer);
    bed.clear();
}
