//! What one core promises to its producers and consumers.

use std::time::Duration;

use super::bed::*;
use crate::*;

#[test]
fn an_outcome_reaches_the_producer_unchanged() {
    let info = Box::new(ErrorInfo {
        condition: "app:bad".into(),
        description: Some("no".into()),
        info: Some(bytes::Bytes::from_static(b"\xc1\x01\x00")),
    });
    let modified = Outcome::Modified {
        delivery_failed: false,
        undeliverable_here: true,
        annotations: Some(bytes::Bytes::from_static(b"\xc1\x01\x00")),
    };
    let outcomes = [
        Outcome::Accepted,
        Outcome::Released,
        Outcome::Rejected(None),
        Outcome::Rejected(Some(info)),
        modified,
        Outcome::Other(bytes::Bytes::from_static(b"\x00\x53\x34\x45")),
    ];
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 100);
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let handle = bed.send(producer, "x");
        assert_eq!(bed.outcome(producer, handle), None);
        bed.settle(consumer, index, Some(outcome.clone()), true);
        assert_eq!(bed.updates(producer, handle), [(Some(outcome), true)]);
    }
    bed.clear();
}

#[test]
fn progress_passes_through_and_does_not_settle() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 1));
    let handle = bed.send(producer, "x");
    let progress = Outcome::Received { section_number: 3, section_offset: 77 };
    bed.settle(consumer, 0, Some(progress.clone()), false);
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.updates(producer, handle), [(Some(progress), false), (Some(Outcome::Accepted), true)]);
}

#[test]
fn a_producer_has_no_credit_without_a_consumer_and_all_of_it_with_one() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    assert_eq!(bed.credit_of(producer), 0);
    let consumer = bed.consumer(0, "a", 0);
    assert_eq!(bed.credit_of(producer), 10);
    let late = bed.producer(0, "a");
    assert_eq!(bed.credit_of(late), 10);
    bed.remove_consumer(consumer);
    assert!(bed.producers[&producer].stopped && bed.producers[&late].stopped);
    bed.clear();
}

#[test]
fn a_stopped_producer_gets_no_credit_until_it_has_given_its_back() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 0);
    bed.remove_consumer(consumer);
    bed.consumer(0, "a", 0);
    assert_eq!(bed.producers[&producer].grants, [10]);
    let now = bed.now;
    bed.cores[0].producer_stopped(now, producer.1);
    bed.producers.get_mut(&producer).expect("known").stopped = false;
    bed.run();
    assert_eq!(bed.producers[&producer].grants, [10, 10]);
}

#[test]
fn credit_is_granted_in_halves_when_messages_are_settled_as_they_come() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { link_credit: 250, ..anycast() });
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 1_000);
    for index in 0..1_000 {
        assert!(bed.credit_of(producer) > 0, "the producer starves");
        bed.send(producer, "x");
        bed.settle(consumer, index, Some(Outcome::Accepted), true);
    }
    let grants = &bed.producers[&producer].grants;
    assert!(grants.len() <= 1 + 2 * 1_000 / 248, "{grants:?}");
}

#[test]
fn unsettled_deliveries_hold_the_credit_they_used() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 100);
    for _ in 0..10 {
        bed.send(producer, "x");
    }
    assert_eq!(bed.credit_of(producer), 0);
    for index in 0..3 {
        bed.settle(consumer, index, Some(Outcome::Accepted), true);
    }
    assert_eq!(bed.credit_of(producer), 3);
}

#[test]
fn pre_settled_messages_give_their_credit_back_when_handed_on_not_when_received() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 0);
    for _ in 0..10 {
        bed.send_settled(producer, "x");
    }
    assert_eq!(bed.credit_of(producer), 0);
    bed.credit(consumer, 4, false);
    assert_eq!(bed.credit_of(producer), 4);
    assert_eq!(bed.bodies(consumer).len(), 4);
}

#[test]
fn the_consumer_with_the_fewest_outstanding_is_next_and_equals_take_turns() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { link_credit: 1_000, ..anycast() });
    let producer = bed.producer(0, "a");
    let consumers: Vec<C> = (0..3).map(|_| bed.consumer(0, "a", 100)).collect();
    for _ in 0..30 {
        bed.send(producer, "x");
    }
    assert!(consumers.iter().all(|consumer| bed.consumers[consumer].received.len() == 10));
    for index in 0..10 {
        bed.settle(consumers[1], index, Some(Outcome::Accepted), true);
    }
    for _ in 0..9 {
        bed.send(producer, "y");
    }
    assert_eq!(bed.consumers[&consumers[1]].received.len(), 19);
    for _ in 0..30 {
        bed.send_settled(producer, "z");
    }
    // The idle one alone is below the others by one; pre-settled messages do not change that.
    assert_eq!(bed.consumers[&consumers[1]].received.len(), 49);
    bed.clear();
}

#[test]
fn pre_settled_messages_go_round_equal_consumers() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumers: Vec<C> = (0..3).map(|_| bed.consumer(0, "a", 100)).collect();
    for _ in 0..9 {
        bed.send_settled(producer, "x");
    }
    assert!(consumers.iter().all(|consumer| bed.consumers[consumer].received.len() == 3));
}

#[test]
fn a_consumer_that_joins_a_busy_one_is_next() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let busy = bed.consumer(0, "a", 100);
    for _ in 0..4 {
        bed.send(producer, "x");
    }
    let idle = bed.consumer(0, "a", 100);
    for _ in 0..4 {
        bed.send(producer, "x");
    }
    assert_eq!((bed.bodies(busy).len(), bed.bodies(idle).len()), (4, 4));
    bed.clear();
}

#[test]
fn a_consumer_without_credit_is_passed_over() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let (none, some) = (bed.consumer(0, "a", 0), bed.consumer(0, "a", 5));
    for _ in 0..8 {
        bed.send(producer, "x");
    }
    assert_eq!(bed.bodies(none).len(), 0);
    assert_eq!(bed.bodies(some).len(), 5);
    assert_eq!(bed.cores[0].statistics().undelivered, 3);
    bed.credit(none, 2, false);
    assert_eq!(bed.bodies(none).len(), 2);
}

#[test]
fn higher_priorities_go_first_and_equal_ones_in_order() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 0);
    for (body, priority) in [("4a", 4), ("9", 200), ("4b", 4), ("0", 0), ("5", 5)] {
        let incoming = Incoming { priority, ..bed.incoming(body, false, false) };
        bed.begin(producer, incoming);
    }
    bed.credit(consumer, 10, false);
    assert_eq!(bed.bodies(consumer), ["9", "5", "4a", "4b", "0"]);
}

#[test]
fn the_priority_of_an_address_replaces_that_of_the_message() {
    let mut bed = Bed::single();
    bed.set("a", AddressSettings { priority: Some(4), ..anycast() });
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 0);
    for (body, priority) in [("first", 0), ("second", 9)] {
        let incoming = Incoming { priority, ..bed.incoming(body, false, false) };
        bed.begin(producer, incoming);
    }
    bed.credit(consumer, 10, false);
    assert_eq!(bed.bodies(consumer), ["first", "second"]);
}

#[test]
fn a_consumer_that_leaves_fails_what_it_had_and_releases_what_nobody_gets() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 6);
    let handles: Vec<u64> = (0..10).map(|_| bed.send(producer, "x")).collect();
    bed.remove_consumer(consumer);
    let outcomes: Vec<_> = handles.iter().filter_map(|handle| bed.outcome(producer, *handle)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::FAILED).count(), 6);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Released).count(), 4);
    bed.clear();
}

#[test]
fn what_waits_goes_to_another_consumer_when_one_leaves() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let (first, second) = (bed.consumer(0, "a", 1), bed.consumer(0, "a", 0));
    bed.send(producer, "x");
    bed.send(producer, "y");
    bed.remove_consumer(first);
    bed.credit(second, 5, false);
    assert_eq!(bed.bodies(second), ["y"]);
}

#[test]
fn waiting_pre_settled_messages_are_dropped_and_counted_when_the_last_consumer_leaves() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 0);
    bed.send_settled(producer, "x");
    bed.send_settled(producer, "y");
    bed.remove_consumer(consumer);
    assert_eq!(bed.cores[0].statistics().dropped, 2);
    assert_eq!(bed.cores[0].address("a").expect("there").dropped, 2);
    assert_eq!(bed.producers[&producer].unconsumed, 0);
    bed.clear();
}

#[test]
fn messages_go_on_when_their_producer_leaves() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 1);
    bed.send(producer, "x");
    bed.send(producer, "y");
    bed.remove_producer(producer);
    bed.credit(consumer, 1, false);
    assert_eq!(bed.bodies(consumer), ["x", "y"]);
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    bed.settle(consumer, 1, Some(Outcome::Accepted), true);
    bed.clear();
}

#[test]
fn a_terminal_state_of_a_consumer_that_settles_second_settles_both_ends() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 5));
    let handle = bed.send(producer, "x");
    bed.settle(consumer, 0, Some(Outcome::Accepted), false);
    assert_eq!(bed.updates(producer, handle), [(Some(Outcome::Accepted), true)]);
    assert_eq!(bed.consumers[&consumer].received[0].updates, [(Some(Outcome::Accepted), true)]);
    assert_eq!(bed.cores[0].statistics().unsettled, 0);
}

#[test]
fn with_both_ends_settling_second_the_producer_settles_and_the_consumer_hears_of_it() {
    let mut bed = Bed::single();
    let options = ProducerOptions { settles_second: true, ..ProducerOptions::default() };
    let producer = bed.try_producer(0, ProducerTarget::Address("a"), options).expect("let in");
    let consumer = bed.consumer(0, "a", 5);
    let incoming = bed.incoming("x", false, false);
    let (handle, delivery) = bed.begin(producer, incoming);
    bed.settle(consumer, 0, Some(Outcome::Accepted), false);
    assert_eq!(bed.updates(producer, handle), [(Some(Outcome::Accepted), false)]);
    assert!(bed.consumers[&consumer].received[0].updates.is_empty());
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 1);
    let (now, delivery) = (bed.now, delivery.expect("unsettled"));
    bed.cores[0].settle_by_producer(now, delivery, Some(Outcome::Accepted), true);
    bed.run();
    assert_eq!(bed.consumers[&consumer].received[0].updates, [(Some(Outcome::Accepted), true)]);
    assert_eq!(bed.updates(producer, handle).len(), 1, "a producer that settled is told no more");
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 0);
    bed.clear();
}

#[test]
fn a_producer_that_settles_early_is_passed_on() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 1));
    let now = bed.now;
    let incoming = bed.incoming("x", false, false);
    let (handle, going) = bed.begin(producer, incoming);
    let incoming = bed.incoming("y", false, false);
    let (_, waiting) = bed.begin(producer, incoming);
    for delivery in [going, waiting] {
        bed.cores[0].settle_by_producer(now, delivery.expect("unsettled"), None, true);
    }
    bed.run();
    assert_eq!(bed.consumers[&consumer].received[0].updates, [(None, true)]);
    bed.credit(consumer, 1, false);
    assert!(bed.consumers[&consumer].received[1].settled);
    assert!(bed.updates(producer, handle).is_empty());
    assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 0);
    bed.clear();
}

#[test]
fn settling_twice_or_with_a_key_that_is_gone_does_nothing() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 5));
    let handle = bed.send(producer, "x");
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    bed.settle(consumer, 0, Some(Outcome::Released), true);
    bed.send(producer, "y");
    bed.settle(consumer, 0, None, true);
    assert_eq!(bed.updates(producer, handle).len(), 1);
    assert_eq!(bed.cores[0].statistics().unsettled, 1);
}

#[test]
fn settling_without_an_outcome_means_the_default_outcome_of_the_consumer() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let lane = bed.lane(0, usize::MAX);
    let options = ConsumerOptions { default_outcome: Some(Outcome::FAILED), ..ConsumerOptions::default() };
    let consumer = bed.consumer_in(0, lane, "a", options, 1).expect("let in");
    let handle = bed.send(producer, "x");
    bed.settle(consumer, 0, None, true);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::FAILED));
    bed.remove_consumer(consumer);
    let plain = bed.consumer(0, "a", 1);
    let handle = bed.send(producer, "y");
    bed.settle(plain, 0, None, true);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
}

#[test]
fn a_consumer_that_takes_settled_deliveries_accepts_for_the_producer() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let lane = bed.lane(0, usize::MAX);
    let options = ConsumerOptions { settled: true, ..ConsumerOptions::default() };
    let consumer = bed.consumer_in(0, lane, "a", options, 5).expect("let in");
    let handle = bed.send(producer, "x");
    assert!(bed.consumers[&consumer].received[0].settled);
    assert_eq!(bed.updates(producer, handle), [(Some(Outcome::Accepted), true)]);
    bed.clear();
}

#[test]
fn an_anonymous_producer_has_credit_at_once_and_learns_where_nothing_is() {
    let mut bed = Bed::single();
    let producer = bed.anonymous(0);
    assert_eq!(bed.credit_of(producer), 10);
    let consumer = bed.consumer(0, "m", 5);
    let condition = |outcome: Option<Outcome>| match outcome {
        Some(Outcome::Rejected(Some(info))) => info.condition.into_owned(),
        other => format!("{other:?}"),
    };
    let to = |bed: &mut Bed, to: Option<&str>| {
        let incoming = Incoming { to, ..bed.incoming("x", false, false) };
        let (handle, _) = bed.begin(producer, incoming);
        bed.outcome(producer, handle)
    };
    assert_eq!(condition(to(&mut bed, Some("nowhere"))), condition::NOT_FOUND);
    assert_eq!(condition(to(&mut bed, None)), condition::PRECONDITION_FAILED);
    assert_eq!(to(&mut bed, Some("a")), Some(Outcome::Released));
    assert_eq!(to(&mut bed, Some("m")), None);
    assert_eq!(to(&mut bed, Some("m")), None);
    assert_eq!(bed.bodies(consumer).len(), 2);
    let incoming = Incoming { to: Some("nowhere"), ..bed.incoming("x", true, false) };
    bed.begin(producer, incoming);
    assert_eq!(bed.cores[0].statistics().dropped, 1);
    bed.remove("m");
    assert_eq!(condition(to(&mut bed, Some("m"))), condition::NOT_FOUND);
    bed.clear();
}

#[test]
fn every_multicast_consumer_gets_a_message_and_the_worst_outcome_wins() {
    let cases = [
        ([Outcome::Accepted, Outcome::Accepted, Outcome::Accepted], Outcome::Accepted),
        ([Outcome::Accepted, Outcome::Released, Outcome::Accepted], Outcome::Released),
        ([Outcome::Released, Outcome::FAILED, Outcome::Accepted], Outcome::FAILED),
        ([Outcome::FAILED, rejected(), Outcome::Rejected(None)], rejected()),
    ];
    for (outcomes, worst) in cases {
        let mut bed = Bed::single();
        let producer = bed.producer(0, "m");
        let consumers: Vec<C> = (0..3).map(|_| bed.consumer(0, "m", 1)).collect();
        let handle = bed.send(producer, "x");
        for (consumer, outcome) in consumers.iter().zip(outcomes) {
            assert!(bed.updates(producer, handle).is_empty(), "told before all have settled");
            bed.settle(*consumer, 0, Some(outcome), true);
        }
        assert_eq!(bed.updates(producer, handle), [(Some(worst), true)]);
        bed.clear();
    }
}

#[test]
fn a_multicast_consumer_that_leaves_counts_as_modified_or_released() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 1), bed.consumer(0, "m", 5));
    let (first, second) = (bed.send(producer, "x"), bed.send(producer, "y"));
    bed.settle(fast, 0, Some(Outcome::Accepted), true);
    bed.settle(fast, 1, Some(Outcome::Accepted), true);
    bed.remove_consumer(slow);
    assert_eq!(bed.outcome(producer, first), Some(Outcome::FAILED));
    assert_eq!(bed.outcome(producer, second), Some(Outcome::Released));
    bed.clear();
}

#[test]
fn a_multicast_message_without_a_consumer_is_released() {
    let mut bed = Bed::single();
    let producer = bed.anonymous(0);
    let incoming = Incoming { to: Some("m"), ..bed.incoming("x", false, false) };
    let (handle, _) = bed.begin(producer, incoming);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
}

#[test]
fn each_multicast_consumer_has_its_own_backlog_in_order() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "m");
    let (slow, fast) = (bed.consumer(0, "m", 1), bed.consumer(0, "m", 100));
    for body in ["1", "2", "3", "4"] {
        bed.send_settled(producer, body);
    }
    assert_eq!(bed.bodies(fast), ["1", "2", "3", "4"]);
    assert_eq!(bed.bodies(slow), ["1"]);
    assert_eq!(bed.cores[0].statistics().undelivered, 3);
    bed.credit(slow, 100, false);
    assert_eq!(bed.bodies(slow), ["1", "2", "3", "4"]);
    assert_eq!(bed.producers[&producer].unconsumed, 0);
    bed.clear();
}

#[test]
fn an_expired_message_is_not_delivered() {
    for by_timer in [false, true] {
        for address in ["a", "m"] {
            let mut bed = Bed::single();
            let producer = bed.producer(0, address);
            let consumer = bed.consumer(0, address, 0);
            let ttl = Some(Duration::from_millis(100));
            let incoming = Incoming { ttl, ..bed.incoming("x", false, false) };
            let (handle, _) = bed.begin(producer, incoming);
            let incoming = Incoming { ttl, ..bed.incoming("x", true, false) };
            bed.begin(producer, incoming);
            let kept = bed.send(producer, "stays");
            assert_eq!(bed.cores[0].poll_timeout(), Some(bed.now + Duration::from_millis(100)));
            if by_timer {
                bed.advance(Duration::from_millis(100));
            } else {
                bed.now += Duration::from_millis(100);
            }
            bed.credit(consumer, 5, false);
            assert_eq!(bed.bodies(consumer), ["stays"]);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
            assert_eq!(bed.outcome(producer, kept), None);
            assert_eq!(bed.cores[0].statistics().expired, 2);
            assert_eq!(bed.cores[0].poll_timeout(), None);
            bed.clear();
        }
    }
}

#[test]
fn the_time_to_live_stays_within_the_bounds_of_the_address() {
    let ms = Duration::from_millis;
    let settings = AddressSettings {
        ttl_default: Some(ms(500)),
        ttl_min: Some(ms(100)),
        ttl_max: Some(ms(1_000)),
        ..anycast()
    };
    for (own, expected) in [(None, 500), (Some(1), 100), (Some(300), 300), (Some(9_999), 1_000)] {
        let mut bed = Bed::single();
        bed.set("a", settings.clone());
        let producer = bed.producer(0, "a");
        bed.consumer(0, "a", 0);
        let incoming = Incoming { ttl: own.map(ms), ..bed.incoming("x", false, false) };
        bed.begin(producer, incoming);
        assert_eq!(bed.cores[0].poll_timeout(), Some(bed.now + ms(expected)));
        bed.clear();
    }
}

#[test]
fn a_message_that_has_waited_says_what_is_left_of_its_time_to_live() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 1));
    let ttl = Some(Duration::from_millis(100));
    for _ in 0..2 {
        let incoming = Incoming { ttl, message_format: 7, ..bed.incoming("x", false, false) };
        bed.begin(producer, incoming);
    }
    bed.now += Duration::from_millis(30);
    bed.credit(consumer, 1, false);
    let received = &bed.consumers[&consumer].received;
    assert_eq!(received[0].ttl_left, None);
    assert_eq!(received[1].ttl_left, Some(Duration::from_millis(70)));
    assert_eq!(received[1].message_format, 7);
}

#[test]
fn a_drain_hands_out_what_waits_and_then_uses_up_the_credit() {
    for address in ["a", "m"] {
        let mut bed = Bed::single();
        let producer = bed.producer(0, address);
        let consumer = bed.consumer(0, address, 0);
        for body in ["1", "2", "3"] {
            bed.send(producer, body);
        }
        bed.credit(consumer, 2, true);
        assert_eq!((bed.bodies(consumer).len(), bed.consumers[&consumer].drained), (2, 1));
        bed.credit(consumer, 5, true);
        assert_eq!((bed.bodies(consumer).len(), bed.consumers[&consumer].drained), (3, 2));
        bed.send(producer, "4");
        assert_eq!(bed.bodies(consumer).len(), 3, "credit that was drained is gone");
        bed.credit(consumer, 5, false);
        assert_eq!(bed.bodies(consumer).len(), 4);
        bed.clear();
    }
}

#[test]
fn removing_an_address_closes_its_links_and_releases_what_waits() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(0, "a", 1);
    let (had, waits) = (bed.send(producer, "x"), bed.send(producer, "y"));
    bed.remove("a");
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
    assert_eq!(bed.outcome(producer, waits), Some(Outcome::Released));
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.outcome(producer, had), Some(Outcome::Accepted));
    let late = bed.send(producer, "z");
    assert_eq!(bed.outcome(producer, late), Some(Outcome::Released));
    assert_eq!(
        bed.try_producer(0, ProducerTarget::Address("a"), ProducerOptions::default()),
        Err(Refused::NotFound("a".into()))
    );
    bed.clear();
}

#[test]
fn a_change_of_kind_closes_the_links_and_other_changes_keep_them() {
    let mut bed = Bed::single();
    let consumer = bed.consumer(0, "a", 1);
    bed.set("a", AddressSettings { link_credit: 20, ..anycast() });
    assert_eq!(bed.consumers[&consumer].closed, None);
    let producer = bed.producer(0, "a");
    assert_eq!(bed.credit_of(producer), 20);
    bed.set("a", multicast());
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
    bed.clear();
}

#[test]
fn a_stopping_node_takes_credit_back_and_lets_nobody_in() {
    let mut bed = Bed::single();
    let producer = bed.producer(0, "a");
    let anonymous = bed.anonymous(0);
    let consumer = bed.consumer(0, "a", 5);
    let handle = bed.send(producer, "x");
    let now = bed.now;
    bed.cores[0].drain(now);
    bed.run();
    assert!(bed.producers[&producer].stopped && bed.producers[&anonymous].stopped);
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
    bed.cores[0].producer_stopped(now, producer.1);
    bed.run();
    assert_eq!(bed.producers[&producer].grants.len(), 1);
    assert_eq!(
        bed.try_producer(0, ProducerTarget::AnyAddress, ProducerOptions::default()),
        Err(Refused::Stopping)
    );
    let lane = bed.lane(0, 1);
    assert_eq!(bed.consumer_in(0, lane, "a", ConsumerOptions::default(), 0), Err(Refused::Stopping));
    assert_eq!(bed.temporary(0, "t", 1), Err(Refused::Stopping));
}

#[test]
fn the_counters_add_up() {
    let mut bed = Bed::single();
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(0, "a", 4));
    for _ in 0..5 {
        bed.send(producer, "12345");
    }
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    bed.settle(consumer, 1, Some(rejected()), true);
    bed.settle(consumer, 2, Some(Outcome::Released), true);
    let statistics = bed.cores[0].statistics();
    assert_eq!((statistics.addresses, statistics.producers, statistics.consumers), (2, 1, 1));
    assert_eq!((statistics.deliveries_in, statistics.deliveries_out), (5, 4));
    assert_eq!((statistics.bytes_in, statistics.bytes_out), (25, 20));
    assert_eq!((statistics.undelivered, statistics.unsettled), (1, 1));
    let outcomes = OutcomeCounts { accepted: 1, rejected: 1, released: 1, ..OutcomeCounts::default() };
    assert_eq!(statistics.outcomes, outcomes);
    let address = bed.cores[0].address("a").expect("there");
    assert_eq!((address.deliveries_in, address.deliveries_out, address.undelivered), (5, 4, 1));
    assert_eq!(bed.cores[0].addresses().count(), 2);
    let consumer = bed.cores[0].consumer(consumer.1).expect("there");
    assert_eq!(consumer, ConsumerStatistics { credit: 0, unsettled: 1, deliveries: 4 });
}
