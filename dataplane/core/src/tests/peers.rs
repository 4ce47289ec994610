//! Cores of several shards, joined in memory.

use std::time::Duration;

use bytes::Bytes;

use super::bed::*;
use crate::*;

#[test]
fn a_message_reaches_a_consumer_on_another_shard_and_its_outcome_comes_back() {
    let mut bed = Bed::with_addresses(3);
    for address in ["a", "m"] {
        let producer = bed.producer(0, address);
        assert_eq!(bed.credit_of(producer), 0);
        let consumer = bed.consumer(2, address, 5);
        assert_eq!(bed.credit_of(producer), 10);
        let handle = bed.send(producer, "x");
        assert_eq!(bed.bodies(consumer), ["x"]);
        bed.settle(consumer, 0, Some(rejected()), true);
        assert_eq!(bed.updates(producer, handle), [(Some(rejected()), true)]);
        bed.send_settled(producer, "y");
        assert_eq!(bed.bodies(consumer), ["x", "y"]);
        bed.remove_consumer(consumer);
        assert!(bed.producers[&producer].stopped);
    }
    bed.clear();
}

#[test]
fn what_a_consumer_settles_in_one_turn_travels_as_one_message_for_each_outcome() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(1, "a", 10);
    let handles: Vec<u64> = ["1", "2", "3", "4"].iter().map(|body| bed.send(producer, body)).collect();
    (bed.deliver_mail, bed.is_mid_turn) = (false, true);
    for index in [0, 1, 3] {
        bed.settle(consumer, index, Some(Outcome::Accepted), true);
    }
    bed.settle(consumer, 2, Some(rejected()), true);
    assert!(bed.mail.values().all(|mail| mail.is_empty()), "the turn goes on");
    bed.is_mid_turn = false;
    bed.run();
    assert_eq!(bed.mail[&(1, 0)].len(), 2);
    bed.deliver_mail = true;
    bed.run();
    let updates = handles.iter().map(|handle| bed.updates(producer, *handle).to_vec());
    let told = [Outcome::Accepted, Outcome::Accepted, rejected(), Outcome::Accepted];
    assert_eq!(updates.collect::<Vec<_>>(), told.map(|outcome| vec![(Some(outcome), true)]));
    bed.clear();
}

#[test]
fn a_message_waits_where_it_is_until_a_consumer_anywhere_gives_credit() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let (far, near) = (bed.consumer(1, "a", 0), bed.consumer(0, "a", 0));
    for body in ["1", "2", "3"] {
        bed.send(producer, body);
    }
    assert_eq!(bed.cores[0].statistics().undelivered, 3);
    bed.credit(far, 1, false);
    bed.credit(near, 1, false);
    bed.credit(far, 1, false);
    assert_eq!((bed.bodies(far).len(), bed.bodies(near).len()), (2, 1));
    assert_eq!(bed.bodies(far), ["1", "3"]);
    bed.clear();
}

#[test]
fn shards_share_by_what_is_outstanding_at_each_consumer() {
    let mut bed = Bed::with_addresses(2);
    bed.set("a", AddressSettings { link_credit: 1_000, ..anycast() });
    let producer = bed.producer(0, "a");
    let near = bed.consumer(0, "a", 1_000);
    let far = [bed.consumer(1, "a", 1_000), bed.consumer(1, "a", 1_000)];
    for _ in 0..90 {
        bed.send(producer, "x");
    }
    let got = [near, far[0], far[1]].map(|consumer| bed.bodies(consumer).len());
    assert!(got.iter().all(|count| (29..=31).contains(count)), "{got:?}");
    bed.clear();
}

#[test]
fn what_waits_on_the_shard_of_a_consumer_that_left_comes_back_in_order() {
    let mut bed = Bed::with_addresses(2);
    let lane = bed.lane(1, 0);
    let producer = bed.producer(0, "a");
    // Credit without budget: the messages are sent to the other shard and wait there.
    let far = bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 5).expect("let in");
    let large = "5".repeat(PEER_FREE_BYTES + 1);
    for body in ["1", "2", "3", "4", &large, "6", "7"] {
        bed.send(producer, body);
    }
    assert_eq!(bed.cores[1].statistics().undelivered, 5);
    assert_eq!(bed.cores[0].statistics().undelivered, 2);
    let near = bed.consumer(0, "a", 0);
    bed.remove_consumer(far);
    assert_eq!(bed.cores[0].statistics().undelivered, 7);
    bed.credit(near, 10, false);
    assert_eq!(bed.bodies(near), ["1", "2", "3", "4", &large, "6", "7"]);
    assert_eq!(bed.producers[&producer].unconsumed, 0);
    bed.clear();
}

#[test]
fn what_comes_back_is_released_when_nobody_is_left() {
    let mut bed = Bed::with_addresses(2);
    let lane = bed.lane(1, 0);
    let producer = bed.producer(0, "a");
    let far = bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 5).expect("let in");
    let handle = bed.send(producer, "x");
    bed.send_settled(producer, "y");
    bed.remove_consumer(far);
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
    assert_eq!(bed.cores[0].statistics().dropped + bed.cores[1].statistics().dropped, 1);
    bed.clear();
}

#[test]
fn a_pre_settled_message_whose_consumer_left_goes_to_one_on_a_third_shard() {
    let mut bed = Bed::with_addresses(3);
    let lane = bed.lane(1, 0);
    let producer = bed.producer(0, "a");
    let far = bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 5).expect("let in");
    bed.send_settled(producer, "x");
    let third = bed.consumer(2, "a", 5);
    bed.remove_consumer(far);
    assert_eq!(bed.bodies(third), ["x"]);
    bed.clear();
}

#[test]
fn a_message_on_its_way_to_a_consumer_that_left_is_not_lost() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let far = bed.consumer(1, "a", 5);
    let near = bed.consumer(0, "a", 0);
    bed.deliver_mail = false;
    let first = bed.send(producer, "x");
    bed.remove_consumer(far);
    bed.deliver_mail = true;
    bed.run();
    bed.credit(near, 5, false);
    assert_eq!(bed.bodies(near), ["x"]);
    bed.settle(near, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.outcome(producer, first), Some(Outcome::Accepted));
    bed.clear();
}

#[test]
fn a_large_message_streams_between_shards_and_holds_its_bytes_until_handed_over() {
    for address in ["a", "m"] {
        let mut bed = Bed::with_addresses(2);
        let producer = bed.producer(0, address);
        let lane = bed.lane(1, 1);
        let consumer = bed.consumer_in(1, lane, address, ConsumerOptions::default(), 5).expect("let in");
        let incoming = bed.incoming("11", false, true);
        let (handle, delivery) = bed.begin(producer, incoming);
        let delivery = delivery.expect("unfinished");
        assert_eq!(bed.bodies(consumer), ["11"]);
        assert_eq!(bed.producers[&producer].unconsumed, 0);
        assert!(!bed.append(producer, delivery, "22", true));
        assert!(!bed.append(producer, delivery, "33", false));
        assert_eq!(bed.producers[&producer].unconsumed, 4);
        bed.budget(1, lane, 1_000);
        assert_eq!(bed.bodies(consumer), ["112233"]);
        assert_eq!(bed.producers[&producer].unconsumed, 0);
        bed.settle(consumer, 0, Some(Outcome::Accepted), true);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        bed.clear();
    }
}

#[test]
fn an_abort_reaches_a_consumer_on_another_shard() {
    for address in ["a", "m"] {
        let mut bed = Bed::with_addresses(2);
        let (producer, consumer) = (bed.producer(0, address), bed.consumer(1, address, 5));
        let incoming = bed.incoming("half", false, true);
        let (_, delivery) = bed.begin(producer, incoming);
        bed.abort(producer, delivery.expect("unfinished"));
        assert!(bed.consumers[&consumer].received[0].aborted);
        bed.send(producer, "next");
        assert_eq!(bed.bodies(consumer), ["half", "next"]);
        bed.clear();
    }
}

#[test]
fn settling_second_works_across_shards() {
    for address in ["a", "m"] {
        let mut bed = Bed::with_addresses(2);
        let options = ProducerOptions { settles_second: true, ..ProducerOptions::default() };
        let producer = bed.try_producer(0, ProducerTarget::Address(address), options).expect("let in");
        let consumer = bed.consumer(1, address, 5);
        let incoming = bed.incoming("x", false, false);
        let (handle, delivery) = bed.begin(producer, incoming);
        bed.settle(consumer, 0, Some(Outcome::Accepted), false);
        assert_eq!(bed.updates(producer, handle), [(Some(Outcome::Accepted), false)]);
        let now = bed.now;
        bed.cores[0].settle_by_producer(now, delivery.expect("unsettled"), None, true);
        bed.run();
        assert_eq!(bed.consumers[&consumer].received[0].updates, [(None, true)]);
        assert_eq!(bed.cores[0].producer(producer.1).expect("there").unsettled, 0);
        bed.clear();
    }
}

#[test]
fn multicast_takes_the_worst_outcome_of_every_shard() {
    let mut bed = Bed::with_addresses(3);
    let producer = bed.producer(0, "m");
    let consumers = [bed.consumer(0, "m", 5), bed.consumer(1, "m", 5), bed.consumer(1, "m", 5)];
    let last = bed.consumer(2, "m", 5);
    let handle = bed.send(producer, "x");
    for consumer in consumers {
        assert_eq!(bed.bodies(consumer), ["x"]);
        bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    }
    assert!(bed.updates(producer, handle).is_empty());
    bed.settle(last, 0, Some(rejected()), true);
    assert_eq!(bed.updates(producer, handle), [(Some(rejected()), true)]);
    bed.clear();
}

#[test]
fn a_blocked_multicast_shard_withholds_the_credit_of_producers_elsewhere() {
    let limits = CoreLimits { link_credit: 10, peer_window: 5, ..CoreLimits::default() };
    let mut bed = Bed::with_limits(2, limits);
    bed.set("m", multicast());
    let producer = bed.producer(0, "m");
    let slow = bed.consumer(1, "m", 0);
    let mut sent = 0;
    while bed.credit_of(producer) > 0 && sent < 1_000 {
        bed.send_settled(producer, "x");
        sent += 1;
    }
    assert!(sent < 40, "{sent} were sent to a consumer that takes none");
    bed.credit(slow, 1_000, false);
    assert_eq!(bed.bodies(slow).len(), sent);
    assert_eq!(bed.credit_of(producer), 10);
    bed.clear();
}

#[test]
fn a_temporary_address_takes_replies_from_every_shard() {
    let mut bed = Bed::with_addresses(3);
    let consumer = bed.temporary(0, "t", 1).expect("let in");
    let service = bed.anonymous(2);
    let reply = |bed: &mut Bed, body: &str| {
        let incoming = Incoming { to: Some("t"), ..bed.incoming(body, false, false) };
        bed.begin(service, incoming).0
    };
    let (first, second) = (reply(&mut bed, "1"), reply(&mut bed, "2"));
    assert_eq!(bed.bodies(consumer), ["1"]);
    bed.credit(consumer, 1, false);
    assert_eq!(bed.bodies(consumer), ["1", "2"]);
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    assert_eq!(bed.outcome(service, first), Some(Outcome::Accepted));
    bed.remove_consumer(consumer);
    assert_eq!(bed.outcome(service, second), Some(Outcome::FAILED));
    let late = reply(&mut bed, "3");
    assert!(matches!(bed.outcome(service, late), Some(Outcome::Rejected(_))));
    assert!(bed.cores.iter().all(|core| core.address("t").is_none()));
    bed.clear();
}

#[test]
fn an_address_that_comes_later_finds_the_consumers_that_came_before() {
    let mut bed = Bed::new(2);
    let now = bed.now;
    bed.cores[1].set_address(now, &name("a"), anycast());
    let consumer = bed.consumer(1, "a", 5);
    assert!(bed.try_producer(0, ProducerTarget::Address("a"), ProducerOptions::default()).is_err());
    bed.cores[0].set_address(now, &name("a"), anycast());
    let producer = bed.producer(0, "a");
    assert_eq!(bed.credit_of(producer), 10);
    bed.send(producer, "x");
    assert_eq!(bed.bodies(consumer), ["x"]);
    bed.remove("a");
    assert!(bed.cores.iter().all(|core| core.address("a").is_none()));
    bed.set("a", anycast());
    let (producer, consumer) = (bed.producer(0, "a"), bed.consumer(1, "a", 5));
    bed.send(producer, "y");
    assert_eq!(bed.bodies(consumer), ["y"]);
    bed.clear();
}

#[test]
fn a_shard_whose_own_producers_use_all_credit_lets_others_have_a_share() {
    let mut bed = Bed::with_addresses(2);
    let (far, near) = (bed.producer(0, "a"), bed.producer(1, "a"));
    let consumer = bed.consumer(1, "a", 0);
    for _ in 0..10 {
        bed.send_settled(near, "near");
        bed.send_settled(far, "far");
    }
    let mut far_ones = 0;
    for _ in 0..60 {
        bed.credit(consumer, 1, false);
        far_ones = bed.bodies(consumer).iter().filter(|body| *body == "far").count();
        while bed.credit_of(near) > 0 {
            bed.send_settled(near, "near");
        }
        while bed.credit_of(far) > 0 {
            bed.send_settled(far, "far");
        }
    }
    assert!((15..=45).contains(&far_ones), "{far_ones} of 60 came from the other shard");
    bed.clear();
}

#[test]
fn a_limit_is_taken_back_when_the_credit_behind_it_is_used_up() {
    let mut bed = Bed::with_addresses(2);
    let (here, there) = (bed.producer(0, "a"), bed.producer(1, "a"));
    let far = bed.consumer(1, "a", 2);
    bed.send(there, "x");
    bed.send(there, "y");
    // Sent to the other shard, this would wait for a consumer without credit.
    bed.send(here, "z");
    let near = bed.consumer(0, "a", 1);
    assert_eq!((bed.bodies(far).len(), bed.bodies(near).len()), (2, 1));
    bed.clear();
}

#[test]
fn a_consumer_that_renews_its_credit_at_half_lets_other_shards_go_on_at_once() {
    let mut bed = Bed::with_addresses(2);
    bed.set("a", AddressSettings { link_credit: 100, ..anycast() });
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(1, "a", 10);
    for _ in 0..5 {
        bed.send_settled(producer, "x");
    }
    bed.credit(consumer, 10, false);
    bed.deliver_mail = false;
    for _ in 0..10 {
        bed.send_settled(producer, "x");
    }
    assert_eq!(bed.cores[0].statistics().undelivered, 0, "all of the credit is known there");
    bed.deliver_mail = true;
    bed.run();
    assert_eq!(bed.bodies(consumer).len(), 15);
    bed.clear();
}

#[test]
fn what_the_credit_does_not_reach_for_waits_at_the_shard_of_its_producer() {
    let mut bed = Bed::with_addresses(3);
    bed.set("a", AddressSettings { link_credit: 100, ..anycast() });
    let consumer = bed.consumer(1, "a", 10);
    let producers = [bed.producer(0, "a"), bed.producer(2, "a")];
    for _ in 0..50 {
        for producer in producers {
            bed.send_settled(producer, "x");
        }
    }
    let waiting = |bed: &Bed, shard: usize| bed.cores[shard].statistics().undelivered;
    assert_eq!(waiting(&bed, 1), 0, "nobody there can take more");
    for round in 1..5 {
        bed.credit(consumer, 10, false);
        // Each of the others was told of all of the credit, and has sent as much at most.
        assert!(waiting(&bed, 1) <= 10, "{} wait in round {round}", waiting(&bed, 1));
    }
    let got = bed.bodies(consumer).len() as u64;
    assert_eq!(got, 50);
    assert_eq!(waiting(&bed, 0) + waiting(&bed, 1) + waiting(&bed, 2), 100 - got);
    bed.clear();
}

#[test]
fn what_must_stay_on_a_shard_does_not_hold_up_what_may_leave_it() {
    let mut bed = Bed::with_addresses(2);
    let lane = bed.lane(1, 0);
    let stuck = bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 5).expect("let in");
    let (here, there) = (bed.producer(0, "a"), bed.producer(1, "a"));
    bed.send(here, "stays");
    assert_eq!(bed.cores[1].statistics().undelivered, 1);
    let free = bed.consumer(0, "a", 5);
    bed.send(there, "leaves");
    assert_eq!(bed.bodies(free), ["leaves"]);
    bed.budget(1, lane, 1);
    assert_eq!(bed.bodies(stuck), ["stays"]);
    bed.clear();
}

#[test]
fn a_delivery_of_an_epoch_that_is_over_does_not_count_in_the_next() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let first = bed.consumer(1, "a", 5);
    bed.deliver_mail = false;
    bed.send(producer, "x");
    bed.remove_consumer(first);
    let second = bed.consumer(1, "a", 5);
    bed.deliver_mail = true;
    bed.run();
    assert_eq!(bed.bodies(second), ["x"]);
    bed.check_peers();
    bed.clear();
}

#[test]
fn a_drain_waits_for_messages_of_other_shards() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let consumer = bed.consumer(1, "a", 0);
    bed.send(producer, "1");
    bed.send(producer, "2");
    bed.credit(consumer, 1, true);
    assert_eq!(bed.bodies(consumer), ["1"]);
    bed.credit(consumer, 5, true);
    assert_eq!(bed.bodies(consumer), ["1", "2"]);
    assert_eq!(bed.consumers[&consumer].drained, 2);
    bed.credit(consumer, 5, true);
    assert_eq!(bed.consumers[&consumer].drained, 3);
    bed.clear();
}

#[test]
fn the_time_a_message_waits_counts_on_every_shard() {
    let mut bed = Bed::with_addresses(2);
    let producer = bed.producer(0, "a");
    let lane = bed.lane(1, 0);
    let consumer = bed.consumer_in(1, lane, "a", ConsumerOptions::default(), 5).expect("let in");
    let ttl = Some(Duration::from_millis(100));
    let incoming = Incoming { ttl, ..bed.incoming("x", false, false) };
    let (handle, _) = bed.begin(producer, incoming);
    assert_eq!(bed.cores[1].statistics().undelivered, 1);
    bed.advance(Duration::from_millis(100));
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Released));
    assert_eq!(bed.cores[1].statistics().expired, 1);
    bed.budget(1, lane, 1_000);
    assert!(bed.bodies(consumer).is_empty());
    bed.clear();
}

#[test]
fn everything_in_flight_at_a_shard_that_is_gone_is_settled_at_once() {
    let mut bed = Bed::with_addresses(3);
    let producer = bed.producer(0, "a");
    let gone = bed.consumer(1, "a", 5);
    let handle = bed.send(producer, "x");
    let incoming =
        Incoming { chunk: Bytes::from(vec![1; PEER_FREE_BYTES + 1]), ..bed.incoming("", false, true) };
    let (streaming, delivery) = bed.begin(producer, incoming);
    let from_gone = bed.producer(1, "m");
    let survivor = bed.consumer(0, "m", 5);
    let incoming = bed.incoming("half", false, true);
    bed.begin(from_gone, incoming);
    bed.deliver_mail = false;
    let now = bed.now;
    for shard in [0, 2] {
        bed.cores[shard].handle_peer_gone(now, ShardId(1));
    }
    bed.run();
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::FAILED));
    assert!(bed.append(producer, delivery.expect("unfinished"), "end", false));
    assert_eq!(bed.outcome(producer, streaming), Some(Outcome::FAILED));
    assert!(bed.producers[&producer].stopped);
    assert!(bed.consumers[&survivor].received[0].aborted);
    assert!(bed.consumers.contains_key(&gone));
}
