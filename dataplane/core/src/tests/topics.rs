//! Topics and their subscriptions.

use std::sync::Arc;
use std::time::Duration;

use super::bed::{Bed, C, name};
use super::stored::{Contains, bed, queue, with};
use crate::*;

fn topic() -> AddressSettings {
    AddressSettings { kind: AddressKind::Topic, id: None, max_undelivered: 5, ..queue(0) }
}

fn subscription(id: u64, topic: &str) -> AddressSettings {
    let subscription = SubscriptionSettings { topic: name(topic), levels: None, filter: None };
    AddressSettings { subscription: Some(Arc::new(subscription)), ..queue(id) }
}

fn named(text: &str, durable: bool, shared: bool) -> ConsumerOptions {
    ConsumerOptions {
        subscription: Some(Box::new(SubscriptionOptions {
            name: name(text),
            durable,
            shared,
            max_consumers: 0,
            definition: bytes::Bytes::new(),
            ..SubscriptionOptions::default()
        })),
        ..ConsumerOptions::default()
    }
}

const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

fn with_topic() -> Bed {
    let mut bed = bed(2);
    bed.set("t", topic());
    bed
}

fn is_open(bed: &Bed, result: &Result<C, Refused>) -> bool {
    result.as_ref().is_ok_and(|consumer| bed.consumers[consumer].closed.is_none())
}

#[test]
fn every_subscription_gets_what_its_filter_names() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let exact = bed.consumer(shards.0, "t", 10);
        let all = bed.consumer(shards.1, "t/#", 10);
        let one = bed.consumer(shards.0, "t/+/x", 10);
        for (address, body) in [("t", "1"), ("t/a", "2"), ("t/a/x", "3")] {
            let producer = bed.producer(shards.1, address);
            assert_eq!(bed.credit_of(producer), 10);
            let handle = bed.send(producer, body);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        }
        assert_eq!(bed.bodies(exact), ["1"]);
        assert_eq!(bed.bodies(all), ["1", "2", "3"]);
        assert_eq!(bed.bodies(one), ["3"]);
        bed.clear();
    }
}

#[test]
fn a_subscriber_that_is_let_in_gets_what_is_published_next() {
    let mut bed = with_topic();
    let home = bed.home_of("t");
    let producer = bed.producer(home, "t");
    bed.deliver_mail = false;
    let here = bed.consumer(home, "t", 10);
    assert!(bed.consumers[&here].admitted, "its home is its shard");
    let there = bed.consumer(1 - home, "t", 10);
    bed.send(producer, "early");
    while bed.mail.get(&(1 - home, home)).is_some_and(|mail| !mail.is_empty()) {
        assert!(!bed.consumers[&there].admitted);
        bed.post_mail((1 - home, home));
    }
    // It is let in; its shard has not heard of it, and what it said of credit has not come.
    bed.send(producer, "next");
    bed.deliver_mail = true;
    bed.run();
    assert!(bed.consumers[&there].admitted);
    assert_eq!(bed.bodies(here), ["early", "next"]);
    assert_eq!(bed.bodies(there), ["next"]);
    bed.clear();
}

#[test]
fn names_that_nothing_else_serves_belong_to_the_topic_of_all() {
    let mut bed = with_topic();
    assert!(bed.try_producer(0, ProducerTarget::Address("u/v"), ProducerOptions::default()).is_err());
    bed.set("#", topic());
    let rest = bed.consumer(0, "#", 10);
    let some = bed.consumer(1, "u/+", 10);
    let producer = bed.producer(1, "u/v");
    bed.send(producer, "1");
    let producer = bed.producer(1, "t/v");
    bed.send(producer, "2");
    let producer = bed.anonymous(0);
    bed.begin(producer, Incoming { to: Some("u/w"), ..bed.incoming("3", false, false) });
    assert_eq!(bed.bodies(rest), ["1", "3"]);
    assert_eq!(bed.bodies(some), ["1", "3"]);
    let (gone, _) = bed.begin(producer, Incoming { to: Some("$temp.1"), ..bed.incoming("4", false, false) });
    assert!(
        matches!(bed.outcome(producer, gone), Some(Outcome::Rejected(_))),
        "what begins with `$` is not among them"
    );
    bed.clear();
}

#[test]
fn wrong_names_and_filters_are_refused() {
    let mut bed = with_topic();
    let wrong = bed.try_producer(0, ProducerTarget::Address("t/+"), ProducerOptions::default());
    assert!(matches!(wrong, Err(Refused::BadName { .. })));
    assert!(bed.consumer_with(0, "t/#/x", ConsumerOptions::default(), 0).is_err());
    let producer = bed.anonymous(0);
    let (handle, _) = bed.begin(producer, Incoming { to: Some("t/#"), ..bed.incoming("3", false, false) });
    assert!(matches!(bed.outcome(producer, handle), Some(Outcome::Rejected(_))));
    bed.clear();
}

#[test]
fn a_message_that_nobody_wants_is_accepted_and_counted() {
    let mut bed = with_topic();
    let producer = bed.producer(0, "t");
    let handle = bed.send_durable(producer, "a");
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
    assert_eq!((bed.holds("t").dropped, bed.holds("t").enqueued), (1, 1));
    assert!(bed.store.messages.is_empty());
    bed.clear();
}

#[test]
fn one_stored_message_serves_many_durable_subscriptions() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let subscribers: Vec<C> = (0..20)
            .map(|number| {
                let options = named(&format!("s{number}"), true, false);
                bed.consumer_with(shards.1, "t/#", options, 10).expect("let in")
            })
            .collect();
        let producer = bed.producer(shards.0, "t/a");
        bed.store.held = true;
        let handle = bed.send_durable(producer, "x");
        assert_eq!(bed.outcome(producer, handle), None);
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        assert_eq!((bed.store.messages.len(), bed.store.appends), (1, 1));
        for subscriber in subscribers {
            assert_eq!(bed.bodies(subscriber), ["x"]);
            assert_eq!(bed.store.messages.len(), 1);
            bed.accept(subscriber, 0);
        }
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn a_durable_subscription_outlives_its_link_and_the_node() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.consumer_with(shards.0, "t/#", named("s", true, false), 10).expect("let in");
        bed.remove_consumer(consumer);
        let producer = bed.producer(shards.1, "t/a");
        bed.send_durable(producer, "while away");
        let consumer = bed.consumer_with(shards.1, "t/#", named("s", true, false), 1).expect("let in");
        assert_eq!(bed.bodies(consumer), ["while away"]);
        bed.remove_consumer(consumer);
        let mut bed = bed.restart(&[("t", topic())]);
        let subscriptions = bed.cores[bed.home_of("t")].subscriptions("t");
        assert_eq!(subscriptions.len(), 1);
        assert_eq!((&*subscriptions[0].name, subscriptions[0].durable), ("s", true));
        let producer = bed.producer(shards.1, "t/b");
        bed.send_durable(producer, "after");
        let consumer = bed.consumer_with(shards.0, "t/#", named("s", true, false), 10).expect("let in");
        assert_eq!(bed.bodies(consumer), ["while away", "after"]);
        assert_eq!(bed.consumers[&consumer].received[0].redelivery.delivery_count, 1);
        bed.clear();
    }
}

#[test]
fn unsubscribing_ends_a_durable_subscription_in_the_store_too() {
    for shards in SHARDS {
        for at_once in [false, true] {
            let mut bed = with_topic();
            bed.deliver_mail = !at_once;
            let consumer = bed.consumer_with(shards.0, "t", named("s", true, false), 0).expect("let in");
            if !at_once {
                let producer = bed.producer(shards.1, "t");
                bed.send_durable(producer, "x");
                assert_eq!((bed.store.objects.len(), bed.store.messages.len()), (1, 1));
            }
            bed.cores[consumer.0].unsubscribe(bed.now, consumer.1);
            bed.remove_consumer(consumer);
            bed.deliver_mail = true;
            bed.run();
            assert_eq!((bed.store.objects.len(), bed.store.messages.len()), (0, 0));
            assert_eq!(bed.holds("t").subscriptions, 0);
            bed.clear();
        }
    }
}

#[test]
fn a_subscription_has_one_consumer_unless_it_is_shared() {
    for shards in SHARDS {
        for durable in [false, true] {
            let mut bed = with_topic();
            let first = bed.consumer_with(shards.0, "t", named("s", durable, false), 10).expect("let in");
            let second = bed.consumer_with(shards.1, "t", named("s", durable, false), 10);
            assert!(!is_open(&bed, &second));
            bed.remove_consumer(first);
            let second = bed.consumer_with(shards.1, "t", named("s", durable, false), 10);
            assert!(is_open(&bed, &second));
            bed.clear();
        }
    }
}

#[test]
fn shared_subscriptions_divide_the_messages() {
    for shards in SHARDS {
        for durable in [false, true] {
            let mut bed = with_topic();
            let one = bed.consumer_with(shards.0, "t", named("s", durable, true), 10).expect("let in");
            let other = bed.consumer_with(shards.1, "t", named("s", durable, true), 10).expect("let in");
            let alone = bed.consumer_with(shards.1, "t", named("alone", durable, true), 10).expect("let in");
            let producer = bed.producer(shards.0, "t");
            for _ in 0..10 {
                bed.send(producer, "x");
                if !durable && bed.bodies(alone).len() > 4 {
                    let index = bed.bodies(alone).len() - 1;
                    bed.accept(alone, index);
                }
            }
            assert_eq!((bed.bodies(one).len(), bed.bodies(other).len()), (5, 5));
            assert_eq!(bed.bodies(alone).len(), 10);
            bed.remove_consumer(one);
            bed.remove_consumer(other);
            let left = bed.cores[bed.home_of("t")].subscriptions("t");
            assert_eq!(left.len(), if durable { 2 } else { 1 }, "a volatile one ends with its last link");
            bed.clear();
        }
    }
}

#[test]
fn shared_subscriptions_have_their_number_of_consumers() {
    let mut bed = with_topic();
    let mut options = named("s", true, true);
    options.subscription.as_mut().expect("named").max_consumers = 1;
    let first = bed.consumer_with(0, "t", options.clone(), 10);
    let second = bed.consumer_with(1, "t", options, 10);
    assert!(is_open(&bed, &first) && !is_open(&bed, &second));
    bed.clear();
}

#[test]
fn another_definition_makes_another_subscription_when_nobody_uses_the_old_one() {
    let mut bed = with_topic();
    let home = bed.home_of("t");
    let first = bed.consumer_with(home, "t", named("s", true, false), 0).expect("let in");
    let producer = bed.producer(0, "t");
    bed.send_durable(producer, "old");
    let mut options = named("s", true, false);
    options.subscription.as_mut().expect("named").definition = "new".into();
    let refused = bed.consumer_with(home, "t", options.clone(), 10);
    assert_eq!(refused.err(), Some(Refused::Home(CloseReason::SubscriptionInUse)));
    bed.remove_consumer(first);
    let second = bed.consumer_with(0, "t", options, 10).expect("let in");
    assert!(bed.bodies(second).is_empty());
    assert_eq!(bed.store.objects.len(), 1);
    assert!(bed.store.messages.is_empty());
    bed.clear();
}

#[test]
fn filters_and_origins_decide_what_a_subscription_gets() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let filter: Arc<dyn Filter> = Arc::new(Contains(b"red".to_vec()));
        let mut options = named("s", true, false);
        options.filter = Some(filter);
        options.subscription.as_mut().expect("named").definition = "red".into();
        let red = bed.consumer_with(shards.0, "t", options.clone(), 10).expect("let in");
        let options_own = ConsumerOptions { not_from: Some(7), ..ConsumerOptions::default() };
        let other = bed.consumer_with(shards.1, "t", options_own, 10).expect("let in");
        let own = ProducerOptions { origin: 7, ..ProducerOptions::default() };
        let own = bed.try_producer(shards.1, ProducerTarget::Address("t"), own).expect("let in");
        let strange = bed.producer(shards.0, "t");
        bed.send_durable(own, "red own");
        bed.send_durable(strange, "blue");
        assert_eq!(bed.bodies(red), ["red own"]);
        assert_eq!(bed.bodies(other), ["blue"]);
        bed.remove_consumer(red);
        let mut bed = bed.restart(&[("t", topic())]);
        let producer = bed.producer(0, "t");
        bed.send_durable(producer, "blue");
        bed.send_durable(producer, "red");
        let red = bed.consumer_with(shards.0, "t", options, 10).expect("let in");
        assert_eq!(bed.bodies(red), ["red own", "red"]);
        bed.clear();
    }
}

#[test]
fn an_administered_subscription_is_a_queue_of_its_topic_whichever_comes_first() {
    for topic_first in [true, false] {
        let mut bed = bed(2);
        let all = [("t", topic()), ("t::s", subscription(5, "t"))];
        let order = if topic_first { [0, 1] } else { [1, 0] };
        for index in order {
            bed.set(all[index].0, all[index].1.clone());
        }
        let producer = bed.producer(1, "t/a/b");
        bed.send_durable(producer, "a");
        assert_eq!(bed.holds("t::s").messages, 1);
        let mut bed = bed.restart(&all);
        let one = bed.consumer(0, "t::s", 10);
        assert_eq!(bed.bodies(one), ["a"]);
        bed.remove("t::s");
        assert!(bed.store.messages.is_empty());
        assert_eq!(bed.consumers[&one].closed, Some(CloseReason::AddressDeleted));
        let producer = bed.producer(1, "t");
        bed.send_durable(producer, "b");
        assert!(bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn a_slow_volatile_subscription_follows_the_policy() {
    for shards in SHARDS {
        for overload in [Overload::Block, Overload::Drop, Overload::Disconnect] {
            let mut bed = bed(2);
            bed.set("t", AddressSettings { overload, link_credit: 100, ..topic() });
            let slow = bed.consumer(shards.0, "t", 0);
            let quick = bed.consumer_with(
                shards.1,
                "t",
                ConsumerOptions { settled: true, ..ConsumerOptions::default() },
                100,
            );
            let quick = quick.expect("let in");
            let producer = bed.producer(shards.1, "t");
            for number in 0..8 {
                let handle = bed.send(producer, &number.to_string());
                assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
            }
            assert_eq!(bed.bodies(quick).len(), 8, "{overload:?}");
            assert_eq!(bed.producers[&producer].stopped, overload == Overload::Block);
            match overload {
                Overload::Block => {
                    bed.credit(slow, 10, false);
                    assert_eq!(bed.bodies(slow).len(), 8);
                }
                Overload::Drop => {
                    bed.credit(slow, 10, false);
                    assert_eq!(bed.bodies(slow), ["3", "4", "5", "6", "7"]);
                }
                Overload::Disconnect => {
                    assert_eq!(bed.consumers[&slow].closed, Some(CloseReason::SlowConsumer));
                }
            }
            bed.clear();
        }
    }
}

#[test]
fn a_blocked_topic_goes_on_when_its_slow_subscription_has_left() {
    let mut bed = bed(2);
    bed.set("t", AddressSettings { overload: Overload::Block, ..topic() });
    let slow = bed.consumer(0, "t", 0);
    let producer = bed.producer(1, "t");
    for _ in 0..6 {
        bed.send(producer, "x");
    }
    assert!(bed.producers[&producer].stopped);
    bed.producers.get_mut(&producer).expect("there").stopped = false;
    bed.producers.get_mut(&producer).expect("there").credit = 0;
    bed.cores[1].producer_stopped(bed.now, producer.1);
    bed.run();
    assert_eq!(bed.credit_of(producer), 0);
    bed.remove_consumer(slow);
    assert_eq!(bed.credit_of(producer), 10);
    bed.clear();
}

#[test]
fn a_full_durable_subscription_hurts_nobody_else() {
    let settings = QueueSettings { max_messages: 2, ..QueueSettings::default() };
    let mut bed = bed(2);
    bed.set(
        "t",
        AddressSettings { kind: AddressKind::Topic, id: None, max_undelivered: 100, ..with(0, settings) },
    );
    let away = bed.consumer_with(0, "t", named("away", true, false), 0).expect("let in");
    bed.remove_consumer(away);
    let present = bed.consumer(1, "t", 10);
    let producer = bed.producer(0, "t");
    for body in ["a", "b", "c"] {
        let handle = bed.send_durable(producer, body);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
    }
    assert_eq!(bed.bodies(present), ["a", "b", "c"]);
    let away = bed.consumer_with(0, "t", named("away", true, false), 10).expect("let in");
    assert_eq!(bed.bodies(away), ["a", "b"]);
    bed.clear();
}

#[test]
fn a_subscription_that_the_store_does_not_keep_is_closed() {
    for shards in SHARDS {
        let mut bed = with_topic();
        bed.store.fails = true;
        let consumer = bed.consumer_with(shards.0, "t", named("s", true, false), 0).expect("let in at first");
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::StoreFailed));
        assert_eq!(bed.holds("t").subscriptions, 0);
        bed.clear();
    }
}

#[test]
fn a_removed_topic_takes_its_subscriptions_along() {
    let mut bed = with_topic();
    bed.set("t::kept", subscription(9, "t"));
    let durable = bed.consumer_with(0, "t", named("s", true, false), 0).expect("let in");
    let volatile = bed.consumer(1, "t/#", 0);
    let producer = bed.producer(0, "t");
    bed.send_durable(producer, "a");
    bed.remove("t");
    for consumer in [durable, volatile] {
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
    }
    assert!(bed.store.objects.is_empty());
    assert_eq!(bed.drain_bodies(0, "t::kept"), ["a"]);
    assert!(bed.store.messages.is_empty());
    bed.clear();
}

#[test]
fn an_expired_message_of_a_subscription_is_counted() {
    let mut bed = with_topic();
    bed.set("t::s", subscription(9, "t"));
    let producer = bed.producer(0, "t");
    let ttl = Some(Duration::from_secs(1));
    let incoming = Incoming { ttl, durable: true, ..bed.incoming("a", false, false) };
    bed.begin(producer, incoming);
    bed.advance(Duration::from_secs(3));
    assert_eq!((bed.holds("t::s").expired, bed.holds("t").expired), (1, 1));
    assert!(bed.store.messages.is_empty());
    bed.clear();
}

#[test]
fn a_message_says_its_name_where_a_subscription_has_to_know() {
    let settings = Some(Arc::new(QueueSettings::default()));
    for (claim, settings) in [(None, settings), (Some(name("client")), None), (None, None)] {
        let is_named = claim.is_some() || settings.is_some();
        let options = |claim| {
            let mut options = named("s", true, true);
            if let Some(subscription) = options.subscription.as_deref_mut() {
                subscription.settings.clone_from(&settings);
                subscription.claim = claim;
            }
            options
        };
        let mut bed = with_topic();
        let consumer = bed.consumer_with(0, "t/+", options(claim), 10).expect("let in");
        let producer = bed.producer(1, "t/a");
        bed.send(producer, "1");
        assert_eq!(bed.bodies(consumer), if is_named { ["1 @t/a"] } else { ["1"] });
    }
}
