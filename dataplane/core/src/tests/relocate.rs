//! Queues that change their home.

use std::time::Duration;

use super::bed::{Bed, C, P};
use super::stored::{queue, with};
use crate::*;

/// Three nodes with a queue `q` on the first one.
fn fleet(settings: &AddressSettings) -> Bed {
    let mut bed = Bed::fleet(&[2, 1, 2], &CoreLimits { link_credit: 1_000, ..CoreLimits::default() });
    bed.set_moving("q", settings, None, 0, &[0]);
    bed
}

/// The queue is on its way from the first node to the second one.
fn begin(bed: &mut Bed, settings: &AddressSettings) {
    bed.set_moving("q", settings, Some(0), 1, &[0, 1]);
}

/// The node of the old home has seen that nothing is left there.
fn end(bed: &mut Bed, settings: &AddressSettings) {
    assert!(!std::mem::take(&mut bed.emptied).is_empty(), "nothing is left at the old home");
    bed.set_moving("q", settings, None, 1, &[0, 1]);
}

fn shard_of(bed: &Bed, node: usize) -> usize {
    bed.core_of(node, 0)
}

fn send(bed: &mut Bed, producer: P, bodies: std::ops::Range<u32>) {
    for body in bodies {
        let durable = body % 3 > 0;
        let body = format!("{body:04}");
        let incoming = Incoming { durable, ..bed.incoming(&body, false, false) };
        bed.begin(producer, incoming);
        bed.run();
    }
}

fn take_all(bed: &mut Bed, consumer: C) -> Vec<String> {
    let bodies = bed.bodies(consumer);
    for index in 0..bodies.len() {
        if !bed.consumers[&consumer].received[index].taken {
            bed.settle(consumer, index, Some(Outcome::Accepted), true);
        }
    }
    bed.run();
    bodies
}

fn numbers(bodies: std::ops::Range<u32>) -> Vec<String> {
    bodies.map(|body| format!("{body:04}")).collect()
}

#[test]
fn a_queue_moves_with_what_it_holds_and_what_comes_meanwhile_in_order() {
    for (producers, consumers) in [(0, 0), (1, 1), (2, 2), (0, 2), (2, 1)] {
        let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
        let mut bed = fleet(&settings);
        let at = shard_of(&bed, producers);
        let producer = bed.producer(at, "q");
        send(&mut bed, producer, 0..600);
        let at = shard_of(&bed, consumers);
        let consumer = bed.consumer(at, "q", 10);
        assert_eq!(take_all(&mut bed, consumer), numbers(0..10));

        begin(&mut bed, &settings);
        bed.credit(consumer, 1_000, false);
        send(&mut bed, producer, 600..700);
        assert_eq!(take_all(&mut bed, consumer), numbers(0..700));

        end(&mut bed, &settings);
        send(&mut bed, producer, 700..710);
        assert_eq!(take_all(&mut bed, consumer), numbers(0..710));
        let closed = (bed.producers[&producer].closed, bed.consumers[&consumer].closed);
        assert_eq!(closed, (None, None), "links stay");
        assert!(!bed.producers[&producer].stopped, "nothing is asked of the producer's client");
        assert!(bed.store.messages.is_empty(), "the old home has nothing of it in its store");
        for core in &bed.cores {
            assert_eq!(core.left_behind().count(), 0);
        }
        let homes = bed.cores.iter().filter(|core| core.queue("q").is_some());
        assert_eq!(homes.count(), 1, "what has been its home says nothing of the queue");
        bed.clear();
    }
}

#[test]
fn an_empty_queue_has_moved_at_once() {
    let settings = queue(1);
    let mut bed = fleet(&settings);
    begin(&mut bed, &settings);
    assert_eq!(bed.emptied.len(), 1);
    end(&mut bed, &settings);
    assert!(bed.emptied.is_empty());
    bed.clear();
}

#[test]
fn a_message_keeps_its_past_and_its_time_when_its_queue_moves() {
    let settings = queue(1);
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    let not_before = Some(UnixMillis(bed.cores[0].unix(bed.now).0 + 60_000));
    let later = Incoming { not_before, durable: true, ..bed.incoming("later", false, false) };
    bed.begin(producer, later);
    let tried = Incoming { durable: true, ..bed.incoming("tried", false, false) };
    bed.begin(producer, tried);
    let ttl = Some(Duration::from_secs(30));
    let short = Incoming { ttl, durable: true, ..bed.incoming("short", false, false) };
    bed.begin(producer, short);
    bed.run();
    let consumer = bed.consumer(0, "q", 1);
    let modified =
        Outcome::Modified { delivery_failed: true, undeliverable_here: false, annotations: Some("x".into()) };
    bed.settle(consumer, 0, Some(modified), true);
    bed.remove_consumer(consumer);
    bed.run();

    begin(&mut bed, &settings);
    end(&mut bed, &settings);
    let at = shard_of(&bed, 1);
    let consumer = bed.consumer(at, "q", 10);
    assert_eq!(bed.bodies(consumer), ["tried", "short"]);
    let redelivery = bed.consumers[&consumer].received[0].redelivery.clone();
    assert_eq!(redelivery.delivery_count, 1);
    assert_eq!(redelivery.annotations.as_deref(), Some(&b"x"[..]));
    bed.settle(consumer, 1, Some(Outcome::Released), true);
    bed.advance(Duration::from_secs(31));
    bed.advance(Duration::from_secs(30));
    let bodies = bed.bodies(consumer);
    assert_eq!(bodies.last().map(String::as_str), Some("later"));
    take_all(&mut bed, consumer);
    bed.clear();
}

#[test]
fn a_queue_goes_on_moving_when_its_new_home_comes_back() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..300);
    bed.disconnect(0, 1);
    begin(&mut bed, &settings);
    send(&mut bed, producer, 300..310);
    let held: u64 =
        bed.cores.iter().flat_map(|core| core.left_behind().map(|(_, messages, _)| messages)).sum();
    assert_eq!(held, 310);
    assert!(bed.emptied.is_empty());
    bed.connect(0, 1);
    bed.run();
    bed.advance(Duration::from_secs(1));
    let at = shard_of(&bed, 1);
    let consumer = bed.consumer(at, "q", 1_000);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..310));
    end(&mut bed, &settings);
    bed.clear();
}

#[test]
fn a_new_home_that_does_not_know_it_yet_gets_the_first_message_first() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..900);
    // The old home hears of it first.
    for index in [0, 1] {
        let home = bed.names_of(index).slot(1);
        let settings = AddressSettings { home, moving_from: Some(0), ..settings.clone() };
        bed.cores[index].set_address(bed.now, &"q".into(), settings);
    }
    bed.run();
    assert_eq!(bed.cores.iter().flat_map(|core| core.left_behind()).count(), 1);
    begin(&mut bed, &settings);
    bed.advance(Duration::from_secs(1));
    let at = shard_of(&bed, 1);
    let consumer = bed.consumer(at, "q", 1_000);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..900));
    bed.clear();
}

#[test]
fn a_queue_that_moves_back_stays_in_order_when_its_first_home_hears_of_it_late() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = fleet(&settings);
    begin(&mut bed, &settings);
    end(&mut bed, &settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..900);
    let at = shard_of(&bed, 1);
    let home = bed.names_of(at).slot(0);
    let late = AddressSettings { home, moving_from: Some(0), ..settings.clone() };
    bed.cores[at].set_address(bed.now, &"q".into(), late);
    bed.run();
    bed.set_moving("q", &settings, Some(1), 0, &[0, 1]);
    bed.advance(Duration::from_secs(1));
    let consumer = bed.consumer(0, "q", 1_000);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..900));
    bed.clear();
}

#[test]
fn a_queue_that_turns_around_leaves_nothing_behind_whose_body_was_not_in_memory() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let limits = CoreLimits { link_credit: 1_000, stored_memory_bytes: 40, ..CoreLimits::default() };
    let mut bed = Bed::fleet(&[1, 1], &limits);
    bed.set_moving("q", &settings, None, 0, &[0]);
    let producer = bed.producer(0, "q");
    let bodies: Vec<String> = (0..30).map(|number| format!("{number:04}")).collect();
    for body in &bodies {
        let incoming = Incoming { durable: true, ..bed.incoming(body, false, false) };
        bed.begin(producer, incoming);
        bed.run();
    }
    bed.store.held = true;
    begin(&mut bed, &settings);
    bed.set_moving("q", &settings, Some(1), 0, &[0, 1]);
    bed.store.held = false;
    bed.run();
    bed.advance(Duration::from_secs(1));
    let consumer = bed.consumer(0, "q", 100);
    let mut there = take_all(&mut bed, consumer);
    there.sort();
    assert_eq!(there, bodies);
    bed.clear();
}

#[test]
fn what_is_loaded_when_the_new_home_is_gone_waits_until_it_is_back() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let limits = CoreLimits { link_credit: 1_000, stored_memory_bytes: 40, ..CoreLimits::default() };
    let mut bed = Bed::fleet(&[1, 1], &limits);
    bed.set_moving("q", &settings, None, 0, &[0]);
    let producer = bed.producer(0, "q");
    let bodies: Vec<String> = (0..30).map(|number| format!("{number:04}")).collect();
    for body in &bodies {
        bed.send_durable(producer, body);
    }
    bed.store.held = true;
    begin(&mut bed, &settings);
    bed.disconnect(0, 1);
    bed.store.held = false;
    bed.run();
    bed.connect(0, 1);
    bed.advance(Duration::from_secs(1));
    let consumer = bed.consumer(1, "q", 100);
    assert_eq!(take_all(&mut bed, consumer), bodies);
    bed.clear();
}

#[test]
fn a_queue_whose_limit_is_reached_moves_all_the_same() {
    let limits = QueueSettings { max_messages: 5, on_full: OnFull::Reject, ..QueueSettings::default() };
    let settings = AddressSettings { link_credit: 1_000, ..with(1, limits) };
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..5);
    // Its new home has messages already: producers there did not know better.
    begin(&mut bed, &settings);
    send(&mut bed, producer, 5..9);
    let at = shard_of(&bed, 1);
    let consumer = bed.consumer(at, "q", 100);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..9));
    bed.clear();
}

#[test]
fn a_queue_that_lost_its_home_to_another_node_sends_what_it_holds_there() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..20);
    bed.set_moving("q", &settings, None, 2, &[0, 2]);
    send(&mut bed, producer, 20..30);
    assert_eq!(bed.producers[&producer].closed, None);
    let at = shard_of(&bed, 1);
    let consumer = bed.consumer(at, "q", 100);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..30));
    bed.clear();
}

#[test]
fn a_queue_may_turn_around_while_it_moves() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = fleet(&settings);
    let producer = bed.producer(0, "q");
    send(&mut bed, producer, 0..700);
    bed.deliver_mail = false;
    begin(&mut bed, &settings);
    bed.set_moving("q", &settings, Some(1), 0, &[0, 1]);
    bed.deliver_mail = true;
    bed.run();
    bed.advance(Duration::from_secs(1));
    let consumer = bed.consumer(0, "q", 1_000);
    let mut bodies = take_all(&mut bed, consumer);
    bodies.sort();
    assert_eq!(bodies, numbers(0..700));
    bed.set_moving("q", &settings, None, 0, &[0, 1]);
    for core in &bed.cores {
        assert_eq!(core.left_behind().count(), 0);
    }
    bed.clear();
}
