//! Topics that change their home.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, C, P, name};
use super::seeds::for_each_seed;
use super::sessions::{session, share, topic, with};
use super::store::FakeStore;
use super::stored::{TextFormat, fleet_with, queue};
use crate::*;

const ADMINISTERED: &str = "t::a";

/// The address of an administered subscription of `t`.
fn administered() -> AddressSettings {
    let subscription = SubscriptionSettings { topic: name("t"), levels: None, filter: None };
    AddressSettings { subscription: Some(Arc::new(subscription)), ..queue(9) }
}

fn limits() -> CoreLimits {
    CoreLimits { link_credit: 1_000, ..CoreLimits::default() }
}

/// Three nodes with a topic `t` and its subscription `t::a`, whose home is the first one.
fn fleet() -> Bed {
    let mut bed = fleet_with(&[2, 1, 2], &limits());
    set(&mut bed, None, 0);
    bed
}

fn settings_at(
    bed: &Bed,
    core: usize,
    from: Option<usize>,
    to: usize,
) -> [(&'static str, AddressSettings); 2] {
    let names = bed.names_of(core);
    let (home, moving_from) = (names.slot(to), from.map(|from| names.slot(from)));
    [("t", topic()), (ADMINISTERED, administered())]
        .map(|(address, settings)| (address, AddressSettings { home, moving_from, ..settings }))
}

fn set_at(bed: &mut Bed, core: usize, from: Option<usize>, to: usize) {
    for (address, settings) in settings_at(bed, core, from, to) {
        bed.cores[core].set_address(bed.now, &name(address), settings);
    }
}

/// Has every node know where the topic is.
fn set(bed: &mut Bed, from: Option<usize>, to: usize) {
    for core in 0..bed.cores.len() {
        set_at(bed, core, from, to);
    }
    bed.run();
}

/// Moves the topic as nodes do.
fn move_to(bed: &mut Bed, from: usize, to: usize) {
    move_before(bed, from, to, 0);
}

/// The same; this shard hears of the end first.
fn move_before(bed: &mut Bed, from: usize, to: usize, first: usize) {
    set(bed, Some(from), to);
    for _ in 0..10 {
        bed.advance(Duration::from_millis(300));
        if !std::mem::take(&mut bed.emptied).is_empty() {
            set_at(bed, first, None, to);
            bed.run();
            return set(bed, None, to);
        }
    }
    panic!("the topic does not move");
}

/// The node restarts: what was not on its disk is lost, and so is what was on its way.
fn restart(bed: &mut Bed, node: usize, from: Option<usize>, to: usize) {
    let others: Vec<usize> = (0..bed.nodes.len()).filter(|other| *other != node).collect();
    for other in &others {
        bed.disconnect(*other, node);
        bed.notice(*other, node);
    }
    let shards = bed.nodes[node];
    let mut store = take_store(bed, node);
    let first = bed.core_of(node, 0);
    let cores = first..first + usize::from(shards);
    bed.producers.retain(|(core, _), _| !cores.contains(core));
    bed.consumers.retain(|(core, _), _| !cores.contains(core));
    bed.emptied.retain(|(core, _)| !cores.contains(core));
    // It takes some time, in which others count on.
    bed.now += Duration::from_millis(1);
    let unix = bed.cores[0].unix(bed.now);
    for core in cores.clone() {
        let shard = ShardId::new(0, (core - first) as u16);
        let mut new = Core::new(shard, shards, limits());
        new.set_format(Arc::new(TextFormat));
        new.set_clock(bed.now, unix);
        bed.cores[core] = new;
        set_at(bed, core, from, to);
    }
    let at = |shard: ShardId| first + usize::from(shard.shard());
    let mut homes = BTreeMap::from([(QueueId(9), at(home("t", shards)))]);
    for (key, value) in &store.objects {
        let (shard, queue) = Core::stored_object(key, value, shards).expect("an object of the core");
        bed.cores[at(shard)].recover_object(bed.now, key, value);
        homes.extend(queue.map(|queue| (queue, at(shard))));
    }
    // What is for queues that are no more is forgotten, as the daemon does.
    for kept in store.messages.values_mut() {
        kept.targets.retain(|queue| homes.contains_key(queue));
    }
    store.messages.retain(|_, kept| !kept.targets.is_empty());
    for (reference, kept) in &store.messages {
        for queue in &kept.targets {
            let Some(core) = homes.get(queue) else { continue };
            let message = RecoveredMessage {
                queue: *queue,
                reference: *reference,
                meta: &kept.meta,
                state: kept.states.get(queue).map(|state| &state[..]),
                body_len: kept.body.len() as u32,
            };
            bed.cores[*core].recover(bed.now, message);
        }
    }
    *store_of(bed, node) = store;
    for core in cores {
        bed.cores[core].recovered(bed.now);
        bed.take_effects(core);
    }
    for other in others {
        bed.connect(other, node);
    }
    bed.run();
}

fn store_of(bed: &mut Bed, node: usize) -> &mut FakeStore {
    match node {
        0 => &mut bed.store,
        node => &mut bed.stores[node - 1],
    }
}

fn take_store(bed: &mut Bed, node: usize) -> FakeStore {
    let mut store = std::mem::take(store_of(bed, node));
    store.crash();
    store
}

fn take_all(bed: &mut Bed, consumer: C) -> Vec<String> {
    let bodies = bed.bodies(consumer);
    for index in 0..bodies.len() {
        if !bed.consumers[&consumer].received[index].taken {
            bed.settle(consumer, index, Some(Outcome::Accepted), true);
            bed.consumers.get_mut(&consumer).expect("known").received[index].taken = true;
        }
    }
    bed.run();
    bodies
}

fn send(bed: &mut Bed, producer: P, bodies: std::ops::Range<u32>) {
    for body in bodies {
        bed.send_durable_to(producer, "t/x", &body.to_string());
    }
}

fn numbers(bodies: std::ops::Range<u32>) -> Vec<String> {
    bodies.map(|body| body.to_string()).collect()
}

fn holds_nothing(store: &FakeStore) -> bool {
    store.messages.is_empty() && store.objects.is_empty()
}

#[test]
fn a_topic_moves_with_its_subscriptions_their_claims_and_what_it_retains() {
    let mut bed = fleet();
    let producer = bed.anonymous(4);
    let shared = "$share/g/t/+";
    for (subscription, core) in
        [(session("s", &["t/x", "t/y"]), 0), (share(shared, Some("c1")), 1), (share(shared, Some("c2")), 4)]
    {
        let consumer = bed.join(core, subscription, 0);
        bed.remove_consumer(consumer);
    }
    send(&mut bed, producer, 0..700);
    bed.retain(producer, "t/r", "kept");
    bed.retain(producer, "t/gone", "kept");
    bed.unretain(producer, "t/gone");
    move_to(&mut bed, 0, 1);
    assert!(holds_nothing(&bed.store), "{:?}", bed.store.objects);
    send(&mut bed, producer, 700..710);
    let consumer = bed.join(3, session("s", &["t/x", "t/y"]), 2_000);
    let bodies = take_all(&mut bed, consumer);
    let bodies: Vec<&str> = bodies.iter().map(|body| body.trim_end_matches(" @t/x")).collect();
    assert_eq!(bodies, numbers(0..710));
    let lane = bed.lane(0, usize::MAX);
    let at_address = bed.consumer_in(0, lane, ADMINISTERED, ConsumerOptions::default(), 2_000).unwrap();
    assert_eq!(take_all(&mut bed, at_address).len(), 713, "what was retained came, too");
    let retained = bed.retained(0, "t/#");
    assert!(matches!(retained.as_slice(), [(name, body)] if name == "t/r" && body.starts_with("kept")));
    let home = bed.core_of(1, 0);
    assert_eq!(bed.cores[home].subscription("t", shared).unwrap().claims, 2);
    let homes = bed.cores.iter().filter(|core| core.queue("t").is_some());
    assert_eq!(homes.count(), 1);
    bed.clear();
}

#[test]
fn a_topic_moves_there_and_back_and_on() {
    let mut bed = fleet();
    let producer = bed.anonymous(2);
    let consumer = bed.join(0, session("s", &["t/#"]), 0);
    bed.remove_consumer(consumer);
    let mut last = 0;
    for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1)] {
        send(&mut bed, producer, last..last + 10);
        bed.retain(producer, "t/r", "kept");
        move_to(&mut bed, from, to);
        last += 10;
        assert_eq!(bed.retained(0, "t/r").len(), 1);
    }
    let consumer = bed.join(4, session("s", &["t/#"]), 2_000);
    let bodies = take_all(&mut bed, consumer).into_iter().filter(|body| body != "kept");
    assert_eq!(bodies.collect::<Vec<_>>(), numbers(0..50));
    for node in [0, 2] {
        assert!(holds_nothing(store_of(&mut bed, node)), "node {node}");
    }
    bed.clear();
}

#[test]
fn what_a_consumer_settles_while_its_topic_stops_does_not_come_again() {
    let mut bed = fleet();
    let producer = bed.anonymous(2);
    let consumer = bed.join(3, session("s", &["t/#"]), 10);
    send(&mut bed, producer, 0..20);
    set(&mut bed, Some(0), 1);
    assert!(bed.emptied.is_empty(), "it waits for what the consumer has");
    send(&mut bed, producer, 20..25);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..10));
    bed.credit(consumer, 1, false);
    assert_eq!(bed.bodies(consumer).len(), 10, "it hands out nothing");
    assert_eq!(std::mem::take(&mut bed.emptied).len(), 1);
    set(&mut bed, None, 1);
    bed.remove_consumer(consumer);
    let consumer = bed.join(3, session("s", &["t/#"]), 100);
    assert_eq!(take_all(&mut bed, consumer), numbers(10..25));
    bed.clear();
}

#[test]
fn what_a_consumer_gives_back_after_the_move_comes_in_its_place() {
    let mut bed = fleet();
    let producer = bed.anonymous(2);
    let consumer = bed.join(0, session("s", &["t/#"]), 2);
    send(&mut bed, producer, 0..5);
    set(&mut bed, Some(0), 1);
    bed.advance(Duration::from_secs(1));
    assert_eq!(std::mem::take(&mut bed.emptied).len(), 1, "it does not wait for ever");
    // Only the new home has heard of it.
    let home = bed.core_of(1, 0);
    set_at(&mut bed, home, None, 1);
    bed.run();
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    set(&mut bed, None, 1);
    bed.remove_consumer(consumer);
    let consumer = bed.join(4, session("s", &["t/#"]), 100);
    assert_eq!(take_all(&mut bed, consumer), numbers(1..5));
    assert_eq!(bed.consumers[&consumer].received[0].redelivery.delivery_count, 1);
    assert!(holds_nothing(&bed.store));
    bed.clear();
}

/// A consumer of a subscription that goes wherever its topic goes, on each shard, by its name or as an address.
fn consumers_that_follow(case: impl Fn(&mut Bed, C, &dyn Fn(&mut Bed) -> C)) {
    for core in 0..5 {
        for is_address in [false, true] {
            let mut bed = fleet();
            let join = |bed: &mut Bed, credit: u32| match is_address {
                true => bed.consumer(core, ADMINISTERED, credit),
                false => bed.join(core, session("s", &["t/#"]), credit),
            };
            let consumer = join(&mut bed, 1);
            let producer = bed.anonymous(2);
            send(&mut bed, producer, 0..5);
            case(&mut bed, consumer, &|bed| join(bed, 100));
            if !is_address {
                let consumer = bed.consumer(core, ADMINISTERED, 100);
                bed.advance(Duration::from_secs(1));
                take_all(&mut bed, consumer);
                bed.remove_consumer(consumer);
            }
            for node in [0, 2] {
                assert!(holds_nothing(store_of(&mut bed, node)), "node {node}, core {core}");
            }
            bed.clear();
        }
    }
}

#[test]
fn a_consumer_goes_on_with_a_topic_that_comes_back_to_where_it_still_has_something() {
    consumers_that_follow(|bed, consumer, _| {
        for (from, to) in [(0, 1), (1, 0), (0, 1), (1, 2), (2, 0), (0, 1)] {
            move_to(bed, from, to);
            assert_eq!(bed.consumers[&consumer].closed, None);
        }
        assert_eq!(bed.bodies(consumer), numbers(0..1));
        bed.settle(consumer, 0, Some(Outcome::Accepted), true);
        bed.credit(consumer, 100, false);
        bed.advance(Duration::from_secs(1));
        assert_eq!(bed.bodies(consumer), numbers(0..5));
        take_all_but(bed, consumer, 1);
        bed.remove_consumer(consumer);
    });
}

#[test]
fn what_a_consumer_has_got_at_each_home_it_settles_wherever_the_topic_is() {
    consumers_that_follow(|bed, consumer, _| {
        for (index, (from, to)) in [(0, 1), (1, 0), (0, 1)].into_iter().enumerate() {
            move_to(bed, from, to);
            bed.advance(Duration::from_secs(1));
            bed.credit(consumer, 1, false);
            assert_eq!(bed.bodies(consumer), numbers(0..index as u32 + 2), "one more from there");
        }
        take_all_but(bed, consumer, 0);
        bed.credit(consumer, 100, false);
        assert_eq!(bed.bodies(consumer), numbers(0..5));
        take_all_but(bed, consumer, 4);
        bed.remove_consumer(consumer);
    });
}

#[test]
fn what_a_consumer_gives_back_comes_again_wherever_the_topic_has_been_meanwhile() {
    consumers_that_follow(|bed, consumer, join| {
        for (from, to) in [(0, 1), (1, 0), (0, 1)] {
            move_to(bed, from, to);
        }
        bed.advance(Duration::from_secs(1));
        bed.credit(consumer, 2, false);
        assert_eq!(bed.bodies(consumer), numbers(0..3));
        bed.remove_consumer(consumer);
        let consumer = join(bed);
        bed.advance(Duration::from_secs(1));
        assert_eq!(take_all(bed, consumer), numbers(0..5));
        bed.remove_consumer(consumer);
    });
}

/// A transaction with one message for the topic, which is committed as soon as may be.
fn commit_one(bed: &mut Bed, producer: P, across: bool, body: &str) -> TransactionId {
    let core = &mut bed.cores[producer.0];
    let id = if across { core.declare_across(bed.now) } else { core.declare(bed.now) }.expect("room");
    let incoming = bed.incoming(body, false, false);
    bed.begin(producer, Incoming { to: Some("t/x"), durable: true, transaction: Some(id), ..incoming });
    bed.cores[producer.0].discharge(bed.now, id, false).expect("open");
    bed.run();
    id
}

/// The topic stands still on its way from the first node to the second one, since this consumer has something.
fn stop_topic(bed: &mut Bed) -> C {
    let producer = bed.anonymous(2);
    let consumer = bed.join(3, session("s", &["t/#"]), 1);
    bed.send_durable_to(producer, "t/x", "held");
    set(bed, Some(0), 1);
    consumer
}

#[test]
fn a_transaction_waits_while_its_topic_stands_still_and_posts_to_where_it_is_then() {
    for (core, across) in [(0, true), (1, true), (2, true), (3, true), (0, false), (1, false)] {
        let mut bed = fleet();
        let consumer = stop_topic(&mut bed);
        let producer = bed.anonymous(core);
        let id = commit_one(&mut bed, producer, across, "posted");
        assert!(!bed.discharged.contains_key(&id), "it waits");
        take_all(&mut bed, consumer);
        assert_eq!(std::mem::take(&mut bed.emptied).len(), 1);
        set(&mut bed, None, 1);
        bed.credit(consumer, 10, false);
        let bodies = bed.bodies(consumer);
        match &bed.discharged[&id] {
            Ok(()) => assert_eq!((across, &*bodies), (true, &["held".to_owned(), "posted".into()][..])),
            Err(error) => {
                assert_eq!((across, &*error.condition), (false, condition::NOT_IMPLEMENTED));
                assert_eq!(bodies, ["held"]);
            }
        }
        take_all(&mut bed, consumer);
        bed.clear();
    }
}

#[test]
fn a_transaction_that_has_waited_is_committed_where_its_topic_stays() {
    for (core, across) in [(0, true), (1, true), (0, false), (1, false)] {
        let mut bed = fleet();
        let consumer = stop_topic(&mut bed);
        let producer = bed.anonymous(core);
        let id = commit_one(&mut bed, producer, across, "posted");
        assert!(!bed.discharged.contains_key(&id), "it waits");
        set(&mut bed, None, 0);
        assert_eq!(bed.discharged[&id], Ok(()));
        bed.credit(consumer, 10, false);
        assert_eq!(take_all(&mut bed, consumer), ["held", "posted"]);
        bed.clear();
    }
}

#[test]
fn a_transaction_fails_when_the_topic_that_it_waits_for_is_removed() {
    for core in [0, 1] {
        let mut bed = fleet();
        let consumer = stop_topic(&mut bed);
        let producer = bed.anonymous(core);
        let id = commit_one(&mut bed, producer, true, "posted");
        bed.remove("t");
        let failed = bed.discharged[&id].clone().expect_err("there is nothing to post to");
        assert_eq!(&*failed.condition, condition::ROLLED_BACK);
        bed.remove_consumer(consumer);
        bed.clear();
    }
}

#[test]
fn transactions_of_a_shard_stay_behind_what_it_has_sent_to_the_home_of_before() {
    let mut bed = fleet();
    let consumer = stop_topic(&mut bed);
    let producer = bed.anonymous(4);
    let first = commit_one(&mut bed, producer, true, "1");
    take_all(&mut bed, consumer);
    assert_eq!(std::mem::take(&mut bed.emptied).len(), 1);
    bed.deliver_mail = false;
    set_at(&mut bed, 4, None, 1);
    let second = commit_one(&mut bed, producer, true, "2");
    bed.deliver_mail = true;
    bed.run();
    assert!(!bed.discharged.contains_key(&second), "the first one is still under way");
    set(&mut bed, None, 1);
    assert_eq!((&bed.discharged[&first], &bed.discharged[&second]), (&Ok(()), &Ok(())));
    bed.credit(consumer, 10, false);
    assert_eq!(take_all(&mut bed, consumer), ["held", "1", "2"]);
    bed.clear();
}

#[test]
fn what_comes_while_a_subscription_waits_for_what_is_given_back_goes_on_with_its_topic() {
    let mut bed = fleet();
    let producer = bed.anonymous(2);
    let consumer = bed.join(3, session("s", &["t/#"]), 1);
    send(&mut bed, producer, 0..5);
    move_to(&mut bed, 0, 1);
    // At once, before what the consumer has counts as not given back.
    set(&mut bed, Some(1), 2);
    send(&mut bed, producer, 5..8);
    bed.advance(Duration::from_millis(50));
    send(&mut bed, producer, 8..10);
    bed.advance(Duration::from_secs(1));
    assert!(!std::mem::take(&mut bed.emptied).is_empty());
    set(&mut bed, None, 2);
    bed.settle(consumer, 0, Some(Outcome::Accepted), true);
    bed.advance(Duration::from_secs(1));
    bed.credit(consumer, 100, false);
    assert_eq!(bed.bodies(consumer), numbers(0..10));
    take_all_but(&mut bed, consumer, 1);
    for node in [0, 1] {
        assert!(holds_nothing(store_of(&mut bed, node)), "node {node}");
    }
    bed.clear();
}

/// Settles what a consumer has got behind the first ones.
fn take_all_but(bed: &mut Bed, consumer: C, first: usize) {
    for index in first..bed.consumers[&consumer].received.len() {
        bed.settle(consumer, index, Some(Outcome::Accepted), true);
    }
}

#[test]
fn a_message_keeps_its_name_when_its_topic_moves() {
    let mut bed = fleet();
    for core in 0..bed.cores.len() {
        let node = bed.node_of(core);
        bed.cores[core].set_name(&format!("node-{node}"));
    }
    let producer = bed.anonymous(2);
    let mut names = BTreeSet::new();
    let mut consumer = bed.join(0, session("s", &["t/#"]), 1);
    send(&mut bed, producer, 0..1);
    for (from, to, at) in [(0, 1, 2), (1, 2, 0), (2, 0, 4), (0, 1, 1)] {
        let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
        names.insert(bed.cores[consumer.0].reference_of(leg).expect("it is stored"));
        bed.remove_consumer(consumer);
        move_to(&mut bed, from, to);
        let first = bed.core_of(to, 0);
        restart(&mut bed, to, None, to);
        let _ = first;
        for core in 0..bed.cores.len() {
            let node = bed.node_of(core);
            bed.cores[core].set_name(&format!("node-{node}"));
        }
        consumer = bed.join(at, session("s", &["t/#"]), 1);
    }
    assert_eq!(names.len(), 1, "every node calls it the same, wherever the topic is: {names:?}");
    bed.clear();
}

#[test]
fn a_topic_that_turns_back_stays_as_it_is() {
    let mut bed = fleet();
    let producer = bed.anonymous(3);
    let consumer = bed.join(3, session("s", &["t/#"]), 0);
    send(&mut bed, producer, 0..700);
    bed.deliver_mail = false;
    set(&mut bed, Some(0), 1);
    bed.deliver_mail = true;
    bed.run();
    set(&mut bed, None, 0);
    bed.credit(consumer, 2_000, false);
    assert_eq!(take_all(&mut bed, consumer), numbers(0..700));
    assert!(holds_nothing(&bed.stores[0]), "the other node has nothing of it");
    bed.clear();
}

/// A consumer of a subscription that ends with it.
fn volatile(bed: &mut Bed, core: usize, credit: u32) -> C {
    bed.consumer(core, "t/#", credit)
}

#[test]
fn a_subscription_that_ends_with_its_link_loses_nothing_when_its_topic_moves() {
    for (core, is_shared) in (0..5).flat_map(|core| [(core, false), (core, true)]) {
        let mut bed = fleet();
        let producer = bed.anonymous(3);
        let consumer = match is_shared {
            true => bed.join(core, share("$share/g/t/#", None), 3),
            false => volatile(&mut bed, core, 3),
        };
        let mut last = 0;
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
            send(&mut bed, producer, last..last + 5);
            let incoming = bed.incoming(&(last + 5).to_string(), false, false);
            bed.begin(producer, Incoming { to: Some("t/x"), durable: is_shared, ..incoming });
            move_before(&mut bed, from, to, core);
            last += 6;
        }
        send(&mut bed, producer, last..last + 5);
        assert_eq!(bed.bodies(consumer).len(), 3, "it has no more credit");
        bed.credit(consumer, 100, false);
        bed.advance(Duration::from_secs(1));
        let bodies = take_all(&mut bed, consumer);
        let bodies: Vec<&str> = bodies.iter().map(|body| body.trim_end_matches(" @t/x")).collect();
        assert_eq!(bodies, numbers(0..last + 5), "core {core}");
        assert_eq!(bed.consumers[&consumer].closed, None);
        bed.remove_consumer(consumer);
        bed.advance(Duration::from_secs(10));
        let subscriptions =
            bed.cores.iter().filter_map(|core| core.queue("t")).map(|topic| topic.subscriptions);
        assert_eq!(subscriptions.collect::<Vec<_>>(), [1], "the one that is an address is left");
        bed.clear();
    }
}

#[test]
fn consumers_that_share_a_volatile_subscription_share_it_where_the_topic_goes() {
    let mut bed = fleet();
    let producer = bed.anonymous(3);
    let shared = || SubscriptionOptions { durable: false, shared: true, ..session("s", &["t/#"]) };
    let first = bed.join(0, shared(), 0);
    send(&mut bed, producer, 0..10);
    bed.deliver_mail = false;
    set(&mut bed, Some(0), 1);
    walk(&mut bed, 8);
    let second = bed.join(4, shared(), 0);
    bed.deliver_mail = true;
    bed.run();
    bed.advance(Duration::from_secs(1));
    assert!(!std::mem::take(&mut bed.emptied).is_empty());
    set(&mut bed, None, 1);
    bed.credit(first, 5, false);
    bed.credit(second, 5, false);
    let mut bodies = take_all(&mut bed, first);
    bodies.extend(take_all(&mut bed, second));
    assert_eq!(bodies, numbers(0..10));
    bed.clear();
}

#[test]
fn a_volatile_subscription_whose_link_does_not_come_along_ends() {
    for breaks in [false, true] {
        let mut bed = fleet();
        let producer = bed.anonymous(3);
        let consumer = volatile(&mut bed, 4, 0);
        send(&mut bed, producer, 0..10);
        set(&mut bed, Some(0), 1);
        bed.advance(Duration::from_secs(1));
        assert!(!std::mem::take(&mut bed.emptied).is_empty());
        for core in 0..3 {
            set_at(&mut bed, core, None, 1);
        }
        bed.run();
        match breaks {
            true => bed.disconnect(1, 2),
            false => drop(bed.remove_consumer(consumer)),
        }
        let next = bed.core_of(1, 0);
        let count = |bed: &Bed| bed.cores[next].queue("t").expect("it is here").subscriptions;
        bed.notice(1, 2);
        assert_eq!(count(&bed), if breaks { 1 } else { 2 });
        bed.advance(Duration::from_secs(5));
        assert_eq!(count(&bed), 1);
    }
}

#[test]
fn a_topic_that_stands_still_for_too_long_goes_on_where_it_is() {
    let mut bed = fleet();
    let producer = bed.anonymous(0);
    let consumer = bed.join(0, session("s", &["t/#"]), 10);
    bed.deliver_mail = false;
    set(&mut bed, Some(0), 1);
    // Everything but what the next home says of the end.
    for _ in 0..60 {
        walk(&mut bed, 1);
        let next = bed.core_of(1, 0);
        for mail in bed.mail.iter_mut().filter(|((from, _), _)| *from == next).map(|(_, mail)| mail) {
            mail.retain(|message| !format!("{message:?}").contains("CopyCompleted"));
        }
    }
    bed.send_durable_to(producer, "t/x", "late");
    assert_eq!(bed.bodies(consumer), Vec::<String>::new(), "it stands still");
    bed.deliver_mail = true;
    bed.advance(Duration::from_secs(5));
    assert_eq!(bed.bodies(consumer), ["late"]);
    assert!(bed.emptied.is_empty());
    take_all(&mut bed, consumer);
    bed.advance(Duration::from_secs(6));
    assert!(!bed.emptied.is_empty(), "it has tried again");
    set(&mut bed, None, 1);
    bed.clear();
}

#[test]
fn a_link_that_attaches_while_its_topic_stands_still_waits_for_the_next_home() {
    for core in 0..5 {
        let mut bed = fleet();
        let keeper = stop_topic(&mut bed);
        let consumer = bed.join(core, session("late", &["t/#"]), 10);
        assert_eq!(bed.consumers[&consumer].closed, None, "{core}: it waits");
        take_all(&mut bed, keeper);
        assert_eq!(std::mem::take(&mut bed.emptied).len(), 1);
        set(&mut bed, None, 1);
        bed.advance(Duration::from_secs(1));
        let producer = bed.anonymous(0);
        bed.send_durable_to(producer, "t/x", "after");
        assert_eq!(take_all(&mut bed, consumer), ["after"], "{core}");
        take_all(&mut bed, keeper);
        bed.clear();
    }
}

/// At each step of a move one of the two nodes restarts.
#[test]
fn a_crash_at_any_step_of_a_move_loses_nothing_and_repeats_nothing() {
    for node in [0, 1] {
        for steps in 0.. {
            let mut bed = fleet();
            let producer = bed.anonymous(3);
            let consumer = bed.join(3, session("s", &["t/#"]), 3);
            send(&mut bed, producer, 0..8);
            bed.retain(producer, "t/r", "kept");
            assert_eq!(take_all(&mut bed, consumer), numbers(0..3));
            bed.remove_consumer(consumer);
            bed.deliver_mail = false;
            set(&mut bed, Some(0), 1);
            let is_over = walk(&mut bed, steps);
            let is_final = !bed.emptied.is_empty();
            bed.deliver_mail = true;
            let from = if is_final { None } else { Some(0) };
            if is_final {
                // Its node has written it down.
                restart(&mut bed, node, None, 1);
                set(&mut bed, None, 1);
            } else {
                restart(&mut bed, node, from, 1);
                bed.emptied.clear();
                set(&mut bed, Some(0), 1);
                for _ in 0..8 {
                    bed.advance(Duration::from_millis(300));
                }
                let _ = std::mem::take(&mut bed.emptied);
                set(&mut bed, None, 1);
            }
            bed.advance(Duration::from_secs(1));
            let consumer = bed.join(4, session("s", &["t/#"]), 100);
            let bodies: Vec<String> =
                take_all(&mut bed, consumer).into_iter().filter(|body| !body.contains("kept")).collect();
            assert_eq!(bodies, numbers(3..8), "node {node} restarts after {steps} steps");
            assert_eq!(bed.retained(3, "t/#").len(), 1, "node {node} restarts after {steps} steps");
            assert!(holds_nothing(&bed.store), "{node} {steps}: {:?}", bed.store.objects);
            bed.clear();
            if is_over {
                assert!(steps > 15, "{steps} steps are few");
                break;
            }
        }
    }
}

/// Carries out so many steps of what is on its way; true when there is nothing more.
fn walk(bed: &mut Bed, steps: usize) -> bool {
    for _ in 0..steps {
        let pair = bed.mail.iter().find(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair);
        match pair {
            Some(pair) => bed.post_mail(pair),
            None if bed.store_answers() => {}
            None => return true,
        }
    }
    false
}

// ---- at random ------------------------------------------------------------------------------------------

const IN_ORDER: bool = true;

/// What a consumer's subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Named,
    Address,
    /// It ends with its consumer, which stays.
    Volatile,
}

#[derive(Debug)]
struct Session {
    name: String,
    consumer: Option<C>,
    /// Of each producer, the first message that it has to get.
    since: Vec<u32>,
    kind: Kind,
    got: BTreeMap<String, u32>,
    settled: BTreeSet<String>,
    /// The last message of each producer that came for the first time, of those in transactions and of others.
    last: Vec<[Option<u32>; 2]>,
}

/// By what one knows whether a message was accepted.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Alone(u64),
    InTransaction(TransactionId),
}

impl Session {
    fn new(name: &str, kind: Kind, producers: &[P]) -> Self {
        Self {
            name: name.to_owned(),
            consumer: None,
            since: if kind == Kind::Named { Vec::new() } else { vec![0; producers.len()] },
            kind,
            got: BTreeMap::new(),
            settled: BTreeSet::new(),
            last: vec![[None; 2]; producers.len()],
        }
    }

    /// What its consumers name.
    fn place(&self) -> (&'static str, ConsumerOptions) {
        match self.kind {
            Kind::Named => ("t", with(session(&self.name, &["t/x"]))),
            Kind::Address => (ADMINISTERED, ConsumerOptions::default()),
            Kind::Volatile => ("t/#", ConsumerOptions::default()),
        }
    }
}

struct Run {
    bed: Bed,
    random: fastrand::Rng,
    producers: Vec<P>,
    sent: Vec<Vec<Sent>>,
    sessions: Vec<Session>,
    retained: BTreeMap<String, Option<String>>,
    place: (Option<usize>, usize),
    moves: u32,
    /// A node has restarted: what its consumers had settled may come again.
    has_crashed: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut bed = fleet();
        let producers: Vec<P> = (0..bed.cores.len()).map(|core| bed.anonymous(core)).collect();
        let sent = producers.iter().map(|_| Vec::new()).collect();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut passing = Session::new("without a name", Kind::Volatile, &producers);
        passing.consumer = Some(volatile(&mut bed, random.usize(..5), 3));
        let sessions = vec![Session::new("an address", Kind::Address, &producers), passing];
        let retained = BTreeMap::new();
        Self {
            bed,
            random,
            producers,
            sent,
            sessions,
            retained,
            place: (None, 0),
            moves: 0,
            has_crashed: false,
        }
    }

    fn step(&mut self) {
        match self.random.u8(..20) {
            0..5 => self.publish(),
            5 => self.retain(),
            6 => self.begin_session(),
            7..9 => self.join(),
            9..14 => self.take(),
            14 => self.leave(),
            15 => {
                let millis = self.random.u64(..400);
                self.bed.advance(Duration::from_millis(millis));
            }
            16 => self.begin_move(),
            _ => {}
        }
        self.finish_move();
        self.leave_closed();
    }

    fn publish(&mut self) {
        let index = self.random.usize(..self.producers.len());
        let body = format!("{index}-{}", self.sent[index].len());
        let producer = self.producers[index];
        // Shards of different nodes may give the same name to their transactions, but for these.
        let sent = match [1, 2].contains(&producer.0) && self.random.bool() {
            true => Sent::InTransaction(commit_one(&mut self.bed, producer, true, &body)),
            false => Sent::Alone(self.bed.send_durable_to(producer, "t/x", &body)),
        };
        self.sent[index].push(sent);
    }

    /// Whether the message of that number was accepted.
    fn is_accepted(&self, producer: usize, number: u32) -> bool {
        let key = self.producers[producer];
        match self.sent[producer][number as usize] {
            Sent::InTransaction(id) => self.bed.discharged.get(&id) == Some(&Ok(())),
            Sent::Alone(handle) => {
                let updates = self.bed.producers.get(&key).and_then(|state| state.updates.get(&handle));
                let first = updates.and_then(|updates| updates.first());
                first.is_some_and(|(outcome, _)| *outcome == Some(Outcome::Accepted))
            }
        }
    }

    fn retain(&mut self) {
        let index = self.random.usize(..3);
        let to = format!("t/r{index}");
        let value = (self.random.u8(..3) > 0).then(|| format!("kept {}", self.random.u32(..)));
        match &value {
            Some(value) => self.bed.retain(self.producers[index], &to, value),
            None => self.bed.unretain(self.producers[index], &to),
        };
        self.retained.insert(to, value);
    }

    fn begin_session(&mut self) {
        if self.sessions.len() >= 6 {
            return;
        }
        let name = format!("s{}", self.sessions.len());
        self.sessions.push(Session::new(&name, Kind::Named, &self.producers));
        self.join_as(self.sessions.len() - 1);
    }

    fn join(&mut self) {
        if !self.sessions.is_empty() {
            let index = self.random.usize(..self.sessions.len());
            self.join_as(index);
        }
    }

    fn join_as(&mut self, index: usize) {
        if self.sessions[index].consumer.is_some() || self.sessions[index].kind == Kind::Volatile {
            return;
        }
        let core = self.random.usize(..self.bed.cores.len());
        let lane = self.bed.lane(core, usize::MAX);
        let (address, options) = self.sessions[index].place();
        let credit = self.random.u32(1..6);
        let Ok(consumer) = self.bed.consumer_in(core, lane, address, options, credit) else { return };
        self.sessions[index].consumer = Some(consumer);
        if self.bed.consumers[&consumer].admitted && self.sessions[index].since.is_empty() {
            self.sessions[index].since = self.sent.iter().map(|sent| sent.len() as u32).collect();
        }
    }

    fn take(&mut self) {
        let Some(index) = self.some_session() else { return };
        let Some(consumer) = self.sessions[index].consumer else { return };
        self.note(index);
        let received = &self.bed.consumers[&consumer].received;
        let untaken: Vec<usize> =
            (0..received.len()).filter(|one| !received[*one].taken && received[*one].leg.is_some()).collect();
        for one in untaken {
            let body =
                String::from_utf8_lossy(&self.bed.consumers[&consumer].received[one].body).into_owned();
            let outcome = match self.random.u8(..5) {
                0 => Outcome::Released,
                _ => Outcome::Accepted,
            };
            if outcome == Outcome::Accepted {
                self.sessions[index].settled.insert(body);
            }
            self.bed.consumers.get_mut(&consumer).expect("known").received[one].taken = true;
            self.bed.settle(consumer, one, Some(outcome), true);
        }
        let credit = self.random.u32(..6);
        self.bed.credit(consumer, credit, false);
        self.note(index);
    }

    fn some_session(&mut self) -> Option<usize> {
        (!self.sessions.is_empty()).then(|| self.random.usize(..self.sessions.len()))
    }

    /// Checks what a consumer has got.
    fn note(&mut self, index: usize) {
        let Some(consumer) = self.sessions[index].consumer else { return };
        let Some(state) = self.bed.consumers.get_mut(&consumer) else { return };
        let session = &mut self.sessions[index];
        for received in &mut state.received {
            if received.updates.is_empty() && received.chunks == 1 {
                // Seen.
                received.chunks = 2;
                let body = String::from_utf8_lossy(&received.body).into_owned();
                // What is retained comes, too.
                let Some((producer, number)) = body.split_once('-') else { continue };
                let (producer, number): (usize, u32) =
                    (producer.parse().expect("a producer"), number.parse().expect("a number"));
                assert!(
                    self.has_crashed || !session.settled.contains(&body),
                    "{} gets {body} again, which it has settled",
                    session.name
                );
                let count = session.got.entry(body).or_insert(0);
                *count += 1;
                if *count == 1 {
                    let kind = matches!(self.sent[producer][number as usize], Sent::Alone(_));
                    let last = session.last[producer][usize::from(kind)].replace(number);
                    let is_in_order = last.is_none_or(|last| last < number);
                    assert!(!IN_ORDER || is_in_order, "{} gets {number} after {last:?}", session.name);
                }
            }
        }
    }

    fn leave(&mut self) {
        let Some(index) = self.some_session() else { return };
        self.note(index);
        let may_leave = self.sessions[index].kind != Kind::Volatile;
        if let Some(consumer) = self.sessions[index].consumer.take_if(|_| may_leave) {
            self.bed.remove_consumer(consumer);
        }
    }

    fn leave_closed(&mut self) {
        for index in 0..self.sessions.len() {
            self.note(index);
            let Some(consumer) = self.sessions[index].consumer else { continue };
            if self.bed.consumers[&consumer].closed.is_some() {
                assert!(self.has_crashed || self.sessions[index].kind != Kind::Volatile);
                self.sessions[index].consumer = None;
                self.bed.remove_consumer(consumer);
            }
        }
    }

    fn begin_move(&mut self) {
        if let (None, at) = self.place {
            let to = (at + self.random.usize(1..3)) % 3;
            self.place = (Some(at), to);
            self.set_everywhere();
        }
    }

    /// The cores hear of it one after the other, while traffic goes on.
    fn set_everywhere(&mut self) {
        let mut cores: Vec<usize> = (0..self.bed.cores.len()).collect();
        self.random.shuffle(&mut cores);
        for core in cores {
            set_at(&mut self.bed, core, self.place.0, self.place.1);
            self.bed.run();
            if self.random.bool() {
                self.publish();
            }
        }
    }

    fn finish_move(&mut self) {
        if !std::mem::take(&mut self.bed.emptied).is_empty() {
            self.place.0 = None;
            self.moves += 1;
            self.set_everywhere();
        }
    }

    /// A node restarts, while it may be moving the topic.
    fn crash(&mut self) {
        for index in 0..self.sessions.len() {
            self.note(index);
        }
        self.has_crashed = true;
        let node = self.random.usize(..3);
        let (from, to) = self.place;
        restart(&mut self.bed, node, from, to);
        for index in 0..self.sessions.len() {
            let consumer = self.sessions[index].consumer;
            self.sessions[index].consumer = consumer.filter(|key| self.bed.consumers.contains_key(key));
        }
        for index in 0..self.producers.len() {
            if !self.bed.producers.contains_key(&self.producers[index]) {
                self.producers[index] = self.bed.anonymous(index);
            }
        }
        self.leave_closed();
    }

    fn finish(mut self) {
        while self.place.0.is_some() {
            self.bed.advance(Duration::from_millis(300));
            self.leave_closed();
            self.finish_move();
        }
        self.leave_closed();
        for index in 0..self.sessions.len() {
            self.note(index);
            let is_volatile = self.sessions[index].kind == Kind::Volatile;
            if is_volatile && self.has_crashed {
                // What a crash takes of it is not kept anywhere.
                if let Some(consumer) = self.sessions[index].consumer.take() {
                    self.bed.remove_consumer(consumer);
                }
                continue;
            }
            if let Some(consumer) = self.sessions[index].consumer.take_if(|_| !is_volatile) {
                self.bed.remove_consumer(consumer);
            }
            let consumer = match self.sessions[index].consumer {
                Some(consumer) => consumer,
                None => {
                    let (address, options) = self.sessions[index].place();
                    self.bed.consumer_with(0, address, options, 0).expect("let in")
                }
            };
            self.bed.credit(consumer, 10_000, false);
            self.sessions[index].consumer = Some(consumer);
            // What others had at the home of before is waited for.
            self.bed.advance(Duration::from_millis(300));
            self.note(index);
            take_all(&mut self.bed, consumer);
            let session = &self.sessions[index];
            for (producer, since) in session.since.iter().enumerate() {
                for number in *since..self.sent[producer].len() as u32 {
                    let body = format!("{producer}-{number}");
                    if !self.is_accepted(producer, number) {
                        assert!(self.has_crashed, "{body} was not accepted");
                        continue;
                    }
                    assert!(session.got.contains_key(&body), "{} has not got {body}", session.name);
                }
            }
        }
        let kept: Vec<(String, String)> =
            self.retained.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        assert_eq!(self.bed.retained(3, "t/#"), kept);
        let at = self.place.1;
        for node in (0..3).filter(|node| *node != at) {
            let store = store_of(&mut self.bed, node);
            assert!(holds_nothing(store), "node {node} holds {:?} {:?}", store.objects, store.messages);
        }
        self.bed.clear();
    }
}

fn rounds(seeds: std::ops::Range<u64>, crashes: bool) {
    let mut moves = 0;
    for_each_seed(seeds, |seed| {
        let mut run = Run::new(seed);
        for step in 0..400 {
            run.step();
            if crashes && step % 130 == 129 {
                run.crash();
            }
        }
        moves += run.moves;
        run.finish();
    });
    assert!(moves > 0);
}

#[test]
fn topics_that_move_at_random_lose_nothing_and_repeat_nothing() {
    rounds(0..60, false);
}

#[test]
fn topics_that_move_at_random_lose_nothing_when_nodes_restart() {
    rounds(100..140, true);
}
