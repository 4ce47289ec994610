//! Local transactions: all or nothing, on one shard or over several, and over restarts.

use super::bed::{Bed, C, P};
use super::stored::{bed, bed_with, queue, with};
use crate::*;

const QUEUES: [&str; 3] = ["q", "far away", "x"];

/// Three queues whose homes are not all the same, with a topic that has a durable subscription.
fn everything() -> Vec<(&'static str, AddressSettings)> {
    let subscription = SubscriptionSettings { topic: "t".into(), levels: None, filter: None };
    vec![
        ("q", queue(1)),
        ("far away", queue(2)),
        ("x", queue(3)),
        ("t", AddressSettings { kind: AddressKind::Topic, id: None, ..queue(0) }),
        ("t::s", AddressSettings { subscription: Some(std::sync::Arc::new(subscription)), ..queue(4) }),
    ]
}

fn filled() -> Bed {
    let mut bed = bed(2);
    for (address, settings) in everything() {
        bed.set(address, settings);
    }
    let homes: std::collections::BTreeSet<usize> = QUEUES.map(|queue| bed.home_of(queue)).into();
    assert_eq!(homes.len(), 2, "the test needs both shards");
    bed
}

impl Bed {
    fn declare(&mut self, shard: usize) -> TransactionId {
        let id = self.cores[shard].declare(self.now).expect("there is room");
        self.run();
        id
    }

    fn post(&mut self, producer: P, body: &str, id: TransactionId) -> u64 {
        let incoming = Incoming { durable: true, transaction: Some(id), ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    fn retire(&mut self, consumer: C, index: usize, outcome: Outcome, id: TransactionId) {
        let leg = self.consumers[&consumer].received[index].leg.expect("unsettled");
        let core = &mut self.cores[consumer.0];
        core.settle_in_transaction(self.now, leg, Some(outcome), id).expect("it is open");
        self.run();
    }

    fn discharge(&mut self, shard: usize, id: TransactionId, fail: bool) {
        self.cores[shard].discharge(self.now, id, fail).expect("it is open");
        self.run();
    }

    fn finish(self) {
        for core in &self.cores {
            core.check_stored_idle();
        }
        self.clear();
    }
}

#[test]
fn what_is_posted_is_there_when_it_is_committed_and_not_before() {
    for shard in [0, 1] {
        let mut bed = filled();
        let id = bed.declare(shard);
        for address in ["q", "far away", "t"] {
            let producer = bed.producer(shard, address);
            let handle = bed.post(producer, "posted", id);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
            let producer = bed.producer(shard, address);
            bed.send_durable(producer, "outside");
        }
        assert_eq!(bed.holds("q").messages, 1);
        bed.discharge(shard, id, false);
        assert_eq!(bed.discharged[&id], Ok(()));
        for address in ["q", "far away", "t::s"] {
            assert_eq!(bed.drain_bodies(0, address), ["outside", "posted"], "{address}");
        }
        assert!(bed.store.messages.is_empty());
        bed.finish();
    }
}

#[test]
fn who_hears_of_the_end_finds_every_home_changed() {
    for shard in [0, 1] {
        let mut bed = filled();
        let id = bed.declare(shard);
        for address in QUEUES {
            let producer = bed.producer(shard, address);
            bed.post(producer, "posted", id);
        }
        bed.deliver_mail = false;
        bed.discharge(shard, id, false);
        while !bed.discharged.contains_key(&id) {
            let pair = bed.mail.iter().find(|(_, mail)| !mail.is_empty()).map(|(pair, _)| *pair);
            match pair {
                Some(pair) => bed.post_mail(pair),
                None => assert!(bed.store_answers(), "nothing is left to do"),
            }
        }
        for address in QUEUES {
            assert_eq!(bed.holds(address).available, 1, "{address}");
        }
        bed.deliver_mail = true;
        bed.run();
        for address in QUEUES {
            assert_eq!(bed.drain_bodies(0, address), ["posted"], "{address}");
        }
        bed.finish();
    }
}

#[test]
fn what_is_posted_is_gone_when_it_is_rolled_back() {
    for shard in [0, 1] {
        let mut bed = filled();
        let id = bed.declare(shard);
        for address in QUEUES {
            let producer = bed.producer(shard, address);
            bed.post(producer, "posted", id);
        }
        bed.discharge(shard, id, true);
        assert_eq!(bed.discharged[&id], Ok(()));
        for address in QUEUES {
            assert_eq!(bed.holds(address).messages, 0);
        }
        assert!(bed.store.messages.is_empty());
        bed.finish();
    }
}

#[test]
fn a_retired_delivery_is_nobodys_until_the_end() {
    for shard in [0, 1] {
        for commit in [true, false] {
            let mut bed = filled();
            let consumers = QUEUES.map(|address| {
                let producer = bed.producer(shard, address);
                bed.send_durable(producer, "one");
                bed.consumer(shard, address, 1)
            });
            let id = bed.declare(shard);
            for consumer in consumers {
                bed.retire(consumer, 0, Outcome::Accepted, id);
                // It is the transaction's, whatever becomes of the link.
                bed.remove_consumer(consumer);
            }
            assert_eq!(bed.store.messages.len(), 3);
            for address in QUEUES {
                assert_eq!(bed.drain_bodies(shard, address), Vec::<String>::new());
            }
            bed.discharge(shard, id, !commit);
            assert_eq!(bed.discharged[&id], Ok(()));
            for address in QUEUES {
                let consumer = bed.consumer(shard, address, 1);
                let received = &bed.consumers[&consumer].received;
                assert_eq!(received.len(), usize::from(!commit));
                if !commit {
                    assert_eq!(received[0].redelivery.delivery_count, 1);
                    bed.accept(consumer, 0);
                }
            }
            assert!(bed.store.messages.is_empty());
            bed.finish();
        }
    }
}

#[test]
fn other_outcomes_count_at_the_commit_too() {
    let mut bed = bed(2);
    let settings = QueueSettings { dead_letter: Some("dead".into()), ..QueueSettings::default() };
    bed.set("q", with(1, settings));
    bed.set("dead", queue(2));
    let producer = bed.producer(0, "q");
    for body in ["released", "failed", "rejected"] {
        bed.send_durable(producer, body);
    }
    let consumer = bed.consumer(1, "q", 3);
    let id = bed.declare(1);
    bed.retire(consumer, 0, Outcome::Released, id);
    bed.retire(consumer, 1, Outcome::FAILED, id);
    bed.retire(consumer, 2, super::bed::rejected(), id);
    assert_eq!(bed.holds("dead").messages, 0);
    bed.discharge(1, id, false);
    assert_eq!(bed.drain_bodies(0, "dead"), ["rejected !rejected q 0 app:bad"]);
    bed.credit(consumer, 10, false);
    let counts: Vec<u32> =
        bed.consumers[&consumer].received.iter().map(|one| one.redelivery.delivery_count).collect();
    assert_eq!(counts[3..], [0, 1]);
    for index in [3, 4] {
        bed.accept(consumer, index);
    }
    assert!(bed.store.messages.is_empty());
    bed.finish();
}

#[test]
fn a_transaction_that_cannot_be_kept_is_rolled_back_everywhere() {
    for fault in ["store", "full", "deleted", "work"] {
        for shard in [0, 1] {
            let mut bed = filled();
            let producer = bed.producer(shard, "x");
            bed.send_durable(producer, "one");
            let consumer = bed.consumer(shard, "x", 1);
            let id = bed.declare(shard);
            bed.retire(consumer, 0, Outcome::Accepted, id);
            for address in QUEUES {
                let producer = bed.producer(shard, address);
                bed.post(producer, "posted", id);
            }
            match fault {
                "store" => bed.store.fails = true,
                "full" => {
                    let settings = QueueSettings { max_bytes: 1, ..QueueSettings::default() };
                    bed.set("far away", with(2, settings));
                }
                "deleted" => bed.remove("far away"),
                _ => {
                    for core in &mut bed.cores {
                        core.limits.max_transaction_work = 3;
                    }
                    let producer = bed.producer(shard, "q");
                    let handle = bed.post(producer, "too much", id);
                    assert!(matches!(bed.outcome(producer, handle), Some(Outcome::Rejected(_))));
                }
            }
            bed.discharge(shard, id, false);
            assert!(bed.discharged[&id].is_err(), "{fault}");
            bed.store.fails = false;
            assert_eq!(bed.holds("q").messages, 0, "{fault}");
            bed.credit(consumer, 1, false);
            assert_eq!(bed.bodies(consumer), ["one", "one"], "{fault}");
            assert_eq!(bed.store.messages.len(), 1, "{fault}");
            bed.finish();
        }
    }
}

#[test]
fn a_crash_before_the_commit_leaves_everything_and_one_after_it_nothing() {
    for shard in [0, 1] {
        for requests in 0.. {
            let mut bed = filled();
            let producer = bed.producer(shard, "x");
            bed.send_durable(producer, "old");
            let consumer = bed.consumer(shard, "x", 1);
            let id = bed.declare(shard);
            bed.retire(consumer, 0, Outcome::Accepted, id);
            for address in ["q", "far away", "t"] {
                let producer = bed.producer(shard, address);
                bed.post(producer, "new", id);
            }
            bed.store.held = true;
            bed.discharge(shard, id, false);
            bed.store.held = false;
            for _ in 0..requests {
                bed.store_answers();
                bed.store.held = true;
                bed.run();
                bed.store.held = false;
            }
            let is_over = bed.discharged.contains_key(&id);
            bed.store.held = false;
            let mut bed = bed.restart(&everything());
            let new = ["q", "far away", "t::s"].map(|address| bed.drain_bodies(0, address).len());
            let old = bed.drain_bodies(0, "x").len();
            assert!(new == [0; 3] && old == 1 || new == [1; 3] && old == 0, "{requests}: {new:?} {old}");
            assert!(!is_over || old == 0, "what was said to be committed is");
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn unknown_transactions_are_refused() {
    let mut bed = filled();
    let id = bed.declare(0);
    bed.discharge(0, id, false);
    assert_eq!(bed.discharged[&id], Ok(()), "an empty one");
    assert_eq!(bed.cores[0].discharge(bed.now, id, false), Err(Refused::NoTransaction(id.0)));
    let producer = bed.producer(0, "q");
    let handle = bed.post(producer, "late", id);
    let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, handle) else { panic!() };
    assert_eq!(error.condition, condition::UNKNOWN_TRANSACTION);
    bed.set("a", AddressSettings::default());
    let id = bed.declare(0);
    bed.consumer(0, "a", 1);
    let producer = bed.producer(0, "a");
    let handle = bed.post(producer, "not kept", id);
    let Some(Outcome::Rejected(Some(error))) = bed.outcome(producer, handle) else { panic!() };
    assert_eq!(error.condition, condition::NOT_IMPLEMENTED);
    bed.discharge(0, id, true);
    bed.finish();
}

#[test]
fn a_shard_has_its_number_of_transactions() {
    let limits = CoreLimits { max_transactions: 1, ..CoreLimits::default() };
    let mut bed = bed_with(1, limits);
    let first = bed.declare(0);
    assert!(matches!(bed.cores[0].declare(bed.now), Err(Refused::LimitExceeded { limit: 1, .. })));
    bed.discharge(0, first, true);
    let second = bed.declare(0);
    assert_ne!(first, second);
    bed.discharge(0, second, true);
    bed.finish();
}

fn object(bed: &Bed, key: &str) -> Option<String> {
    let value = bed.store.objects.get(key.as_bytes())?;
    Some(String::from_utf8(value.to_vec()).expect("a text"))
}

impl Bed {
    fn put(&mut self, shard: usize, key: &'static str, value: Option<&'static str>, id: TransactionId) {
        let (key, value) = (key.as_bytes().into(), value.map(|value| value.as_bytes().into()));
        self.cores[shard].put_in_transaction(self.now, id, key, value).expect("it is open");
        self.run();
    }
}

#[test]
fn objects_count_with_the_messages_of_their_transaction() {
    for shard in [0, 1] {
        for addresses in [&["far away", "q"][..], &["q"], &["far away"], &[]] {
            let mut bed = filled();
            for (fail, value) in [(true, None), (false, Some("taken"))] {
                let id = bed.declare(shard);
                bed.put(shard, "m gone", Some("before"), id);
                bed.discharge(shard, id, false);
                let id = bed.declare(shard);
                for address in addresses {
                    let producer = bed.producer(shard, address);
                    bed.post(producer, "posted", id);
                }
                bed.put(shard, "m number", Some("a number"), id);
                bed.put(shard, "m number", Some("taken"), id);
                bed.put(shard, "m gone", None, id);
                assert_eq!(object(&bed, "m number"), None, "not before the commit");
                bed.discharge(shard, id, fail);
                assert_eq!(bed.discharged[&id], Ok(()));
                assert_eq!(object(&bed, "m number").as_deref(), value);
                assert_eq!(object(&bed, "m gone").is_some(), fail);
            }
            for address in addresses {
                assert_eq!(bed.drain_bodies(0, address), ["posted"]);
            }
            bed.finish();
        }
    }
}

#[test]
fn objects_that_cannot_be_kept_roll_their_transaction_back() {
    for fault in ["store", "deleted", "work", "memory"] {
        for shard in [0, 1] {
            let mut bed = filled();
            let id = bed.declare(shard);
            let producer = bed.producer(shard, "far away");
            bed.post(producer, "posted", id);
            match fault {
                "store" => bed.store.fails = true,
                "deleted" => bed.remove("far away"),
                "work" => bed.cores[shard].limits.max_transaction_work = 1,
                _ => bed.cores[shard].limits.stored_memory_bytes = 10,
            }
            bed.put(shard, "m number", Some("a value"), id);
            bed.discharge(shard, id, false);
            assert!(bed.discharged[&id].is_err(), "{fault}");
            bed.store.fails = false;
            assert_eq!(object(&bed, "m number"), None, "{fault}");
            assert!(bed.store.messages.is_empty(), "{fault}");
            let late = bed.cores[shard].put_in_transaction(bed.now, id, "m".into(), None);
            assert_eq!(late, Err(Refused::NoTransaction(id.0)));
            bed.finish();
        }
    }
}

#[test]
fn after_a_crash_there_are_message_and_object_or_neither() {
    for shard in [0, 1] {
        for requests in 0.. {
            let mut bed = filled();
            let id = bed.declare(shard);
            for address in ["q", "far away", "t"] {
                let producer = bed.producer(shard, address);
                bed.post(producer, "new", id);
            }
            bed.put(shard, "m number", Some("taken"), id);
            bed.store.held = true;
            bed.discharge(shard, id, false);
            for _ in 0..requests {
                bed.store.held = false;
                bed.store_answers();
                bed.store.held = true;
                bed.run();
            }
            bed.store.held = false;
            let is_over = bed.discharged.contains_key(&id);
            let mut bed = bed.restart(&everything());
            let new = ["q", "far away", "t::s"].map(|address| bed.drain_bodies(0, address).len());
            let is_taken = object(&bed, "m number").is_some();
            assert!(new == [usize::from(is_taken); 3], "{requests}: {new:?} {is_taken}");
            assert!(!is_over || is_taken, "what was said to be committed is");
            if is_over {
                assert!(requests > 3, "the test covers what it is for");
                break;
            }
        }
    }
}
