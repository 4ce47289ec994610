//! What users have stored: it counts for who has sent it, wherever it is and whatever happens to it, until it is gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::bed::{Bed, C, P, name};
use super::sessions::{session, topic};
use super::stored::{bed, queue, with};
use crate::stock::Holding;
use crate::*;

/// What a space and its users have on a node.
#[derive(Debug)]
pub(crate) struct TestStocks {
    shards: u16,
    space: Arc<Stock>,
    owners: Mutex<BTreeMap<Owner, Arc<Stock>>>,
    limits: Mutex<BTreeMap<Owner, Vec<(StockItem, u64)>>>,
}

impl TestStocks {
    pub(crate) fn new(shards: u16) -> Self {
        let space = Arc::new(Stock::new(Whose::Space, shards));
        Self { shards, space, owners: Mutex::default(), limits: Mutex::default() }
    }

    /// Those of the next run of the node, with the same limits.
    pub(crate) fn begun_anew(&self) -> Self {
        let limits = Mutex::new(self.limits.lock().unwrap().clone());
        Self { limits, ..Self::new(self.shards) }
    }

    fn of(&self, owner: Owner) -> Arc<Stock> {
        let mut owners = self.owners.lock().unwrap();
        let stock = owners.entry(owner).or_insert_with(|| Arc::new(Stock::new(Whose::User, self.shards)));
        for (what, limit) in self.limits.lock().unwrap().get(&owner).into_iter().flatten() {
            stock.set_limit(*what, Some(*limit));
        }
        stock.clone()
    }

    fn limit(&self, owner: Owner, what: StockItem, limit: u64) {
        self.limits.lock().unwrap().entry(owner).or_default().push((what, limit));
        self.of(owner);
    }
}

impl Stocks for TestStocks {
    fn stock_of(&self, _name: &str) -> Arc<Stock> {
        self.space.clone()
    }

    fn stock_of_owner(&self, _name: &str, owner: Owner) -> Arc<Stock> {
        self.of(owner)
    }
}

fn user(number: u64) -> Owner {
    Owner::from_bits(1_000 + number).expect("not nobody")
}

/// The shards on which tests have their links.
const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

impl Bed {
    fn user_producer(&mut self, shard: usize, address: &str, owner: Owner) -> P {
        let options = ProducerOptions { owner: Some(owner), ..ProducerOptions::default() };
        self.try_producer(shard, ProducerTarget::Address(address), options)
            .expect("the address takes producers")
    }

    fn send_as(&mut self, producer: P, durable: bool, body: &str) -> u64 {
        let incoming = Incoming { durable, owner: None, ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    fn retain_as(&mut self, producer: P, owner: Option<Owner>, to: &str, body: &str) -> u64 {
        let retain = if body.is_empty() { Retain::Clear } else { Retain::Keep };
        let incoming = Incoming { to: Some(to), retain, owner, ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    /// Messages, bytes and retained names of a user on a node.
    fn stock(&self, node: usize, owner: Owner) -> [u64; 3] {
        let stock = self.stocks[node].of(owner);
        StockItem::ALL.map(|what| stock.held(what))
    }

    #[track_caller]
    fn assert_refused(&self, producer: P, handle: u64, words: &str) {
        let Some(Outcome::Rejected(Some(error))) = self.outcome(producer, handle) else {
            panic!("{:?}", self.updates(producer, handle));
        };
        assert_eq!(&*error.condition, "amqp:resource-limit-exceeded");
        assert!(error.description.as_ref().is_some_and(|text| text.contains(words)), "{error:?}");
    }

    fn accept_all(&mut self, consumer: C) {
        for index in 0..self.consumers[&consumer].received.len() {
            self.accept(consumer, index);
        }
    }
}

#[test]
fn a_message_counts_for_who_has_sent_it_from_when_it_is_let_in_until_it_is_gone() {
    for (from, to) in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.user_producer(from, "q", user(1));
        let other = bed.user_producer(from, "q", user(2));
        bed.store.held = true;
        bed.send_as(producer, true, "12345");
        assert_eq!(bed.stock(0, user(1)), [1, 5, 0], "it is on its way to the disk");
        bed.store.held = false;
        bed.run();
        bed.send_as(producer, false, "123");
        bed.send_as(other, true, "1");
        assert_eq!((bed.stock(0, user(1)), bed.stock(0, user(2))), ([2, 8, 0], [1, 1, 0]));
        let consumer = bed.consumer(to, "q", 1);
        assert_eq!(bed.stock(0, user(1)), [2, 8, 0], "a consumer has it");
        bed.settle(consumer, 0, Some(Outcome::Released), true);
        assert_eq!(bed.stock(0, user(1)), [2, 8, 0], "it waits again");
        bed.credit(consumer, 10, false);
        let last = bed.bodies(consumer).len();
        for index in last - 3..last {
            bed.accept(consumer, index);
        }
        assert_eq!((bed.stock(0, user(1)), bed.stock(0, user(2))), ([0; 3], [0; 3]));
        bed.clear();
    }
}

#[test]
fn a_user_at_his_limit_is_refused_by_name_and_value_and_nobody_else_is() {
    for (from, to) in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        bed.stocks[0].limit(user(1), StockItem::Messages, 2);
        bed.stocks[0].limit(user(2), StockItem::Bytes, 10);
        let (ann, bob) = (bed.user_producer(from, "q", user(1)), bed.user_producer(from, "q", user(2)));
        for durable in [true, false] {
            let handle = bed.send_as(ann, durable, "1");
            assert_eq!(bed.outcome(ann, handle), Some(Outcome::Accepted));
        }
        let handle = bed.send_as(ann, true, "2");
        bed.assert_refused(ann, handle, "the user may hold 2 messages (maxStoredMessages)");
        let handle = bed.send_as(bob, true, "0123456789");
        assert_eq!(bed.outcome(bob, handle), Some(Outcome::Accepted));
        let handle = bed.send_as(bob, true, "1");
        bed.assert_refused(bob, handle, "the user may hold 10 bytes of messages (maxStoredBytes)");
        for stock in [bed.stocks[0].of(user(1)), bed.stocks[0].space.clone()] {
            assert_eq!(stock.refused(StockItem::Messages), 1, "of the user and of his space");
        }
        let consumer = bed.consumer(to, "q", 1);
        bed.accept(consumer, 0);
        let handle = bed.send_as(ann, true, "3");
        assert_eq!(bed.outcome(ann, handle), Some(Outcome::Accepted), "there is room again");
        bed.clear();
    }
}

#[test]
fn what_users_have_stored_counts_for_them_after_a_crash() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    bed.set("t", topic());
    bed.stocks[0].limit(user(1), StockItem::Messages, 4);
    bed.stocks[0].limit(user(1), StockItem::Retained, 1);
    let session = bed.join(0, session("s", &["t/#"]), 0);
    bed.remove_consumer(session);
    let producer = bed.user_producer(1, "q", user(1));
    bed.send_as(producer, true, "12345");
    bed.send_as(producer, false, "gone with the crash");
    let relay = bed.anonymous(0);
    bed.retain_as(relay, Some(user(1)), "t/a", "retained");
    let incoming = Incoming {
        to: Some("t/b"),
        durable: true,
        owner: Some(user(1)),
        ..bed.incoming("123", false, false)
    };
    bed.begin(relay, incoming);
    // The session has what is retained, too.
    assert_eq!(bed.stock(0, user(1)), [4, 5 + 19 + 8 + 3, 1]);
    bed.crash(0);
    assert_eq!(bed.stock(0, user(1)), [2, 5 + 3, 1]);
    let producer = bed.user_producer(0, "q", user(1));
    for expected in [true, true, false] {
        let handle = bed.send_as(producer, true, "more");
        assert_eq!(bed.outcome(producer, handle) == Some(Outcome::Accepted), expected);
    }
    let relay = bed.anonymous(1);
    let handle = bed.retain_as(relay, Some(user(1)), "t/other", "x");
    bed.assert_refused(relay, handle, "the user may retain 1 messages (maxRetainedMessages)");
    bed.crash(0);
    let consumer = bed.consumer(1, "q", 10);
    bed.accept_all(consumer);
    assert_eq!(bed.stock(0, user(1)), [1, 3, 1], "what is left is in the subscription");
    bed.clear();
}

#[test]
fn a_message_of_a_user_at_his_limit_is_expired_dead_lettered_and_moved_all_the_same() {
    for shards in SHARDS {
        let settings = QueueSettings {
            dead_letter: Some(name("dlq")),
            expiry: Some(name("dlq")),
            ..QueueSettings::default()
        };
        let mut bed = bed(2);
        bed.set("dlq", queue(2));
        bed.set("q", with(1, settings));
        bed.stocks[0].limit(user(1), StockItem::Messages, 3);
        let producer = bed.user_producer(shards.0, "q", user(1));
        bed.send_as(producer, true, "a");
        let consumer = bed.consumer(shards.1, "q", 1);
        let expiring = Incoming {
            ttl: Some(Duration::from_secs(1)),
            durable: true,
            owner: None,
            ..bed.incoming("b", false, false)
        };
        bed.begin(producer, expiring);
        bed.send_as(producer, true, "c");
        bed.settle(consumer, 0, Some(Outcome::Rejected(None)), true);
        bed.advance(Duration::from_secs(2));
        assert_eq!(bed.holds("dlq").messages, 2);
        let home = bed.home_of("q");
        assert_eq!(bed.cores[home].move_messages(bed.now, "q", "dlq", 0), Ok(1));
        bed.run();
        let bytes = bed.holds("dlq").bytes;
        assert_eq!(bed.stock(0, user(1)), [3, bytes, 0], "it is still who has sent it");
        assert_eq!(bed.holds("q").messages, 0);
        bed.clear();
    }
}

#[test]
fn what_runs_out_or_goes_with_its_queue_counts_for_nobody() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    bed.set("r", queue(2));
    let producer = bed.user_producer(0, "q", user(1));
    let expiring =
        Incoming { ttl: Some(Duration::from_secs(1)), owner: None, ..bed.incoming("1", false, false) };
    bed.begin(producer, expiring);
    assert_eq!(bed.stock(0, user(1)), [1, 1, 0]);
    bed.advance(Duration::from_secs(2));
    assert_eq!(bed.stock(0, user(1)), [0; 3]);
    let other = bed.user_producer(1, "r", user(1));
    bed.send_as(other, true, "1");
    bed.send_as(other, false, "2");
    bed.send_as(producer, true, "3");
    bed.remove("r");
    assert_eq!(bed.stock(0, user(1)), [1, 1, 0]);
    let home = bed.home_of("q");
    assert_eq!(bed.cores[home].purge(bed.now, "q"), Ok(1));
    bed.run();
    assert_eq!(bed.stock(0, user(1)), [0; 3]);
    bed.clear();
}

#[test]
fn a_message_counts_once_for_each_subscription_and_is_refused_when_not_all_that_want_it_have_room() {
    for (from, at) in SHARDS {
        let mut bed = bed(2);
        bed.set("t", topic());
        bed.stocks[0].limit(user(1), StockItem::Messages, 5);
        for one in ["s1", "s2", "s3"] {
            let filter = if one == "s3" { "t/a" } else { "t/#" };
            let consumer = bed.join(at, session(one, &[filter]), 0);
            bed.remove_consumer(consumer);
        }
        let relay = bed.anonymous(from);
        let send = |bed: &mut Bed, to: &str, owner: Owner| {
            let incoming = Incoming {
                to: Some(to),
                durable: true,
                owner: Some(owner),
                ..bed.incoming("12", false, false)
            };
            let handle = bed.begin(relay, incoming).0;
            (handle, bed.outcome(relay, handle))
        };
        assert_eq!(send(&mut bed, "t/a", user(1)).1, Some(Outcome::Accepted));
        assert_eq!(bed.stock(0, user(1)), [3, 6, 0]);
        let (handle, _) = send(&mut bed, "t/a", user(1));
        bed.assert_refused(relay, handle, "the user may hold 5 messages (maxStoredMessages)");
        assert_eq!(bed.stock(0, user(1)), [3, 6, 0], "no part of it was kept");
        assert_eq!(send(&mut bed, "t/b", user(1)).1, Some(Outcome::Accepted), "two want this one");
        assert_eq!(send(&mut bed, "t/a", user(2)).1, Some(Outcome::Accepted));
        let back = bed.join(at, session("s1", &["t/#"]), 10);
        bed.accept_all(back);
        assert_eq!(bed.stock(0, user(1)), [3, 6, 0]);
        bed.clear();
    }
}

/// Takes everything, and meanwhile another shard of the node takes one message of the same space.
#[derive(Debug)]
struct Meanwhile(Mutex<Holding>);

impl Filter for Meanwhile {
    fn matches(&self, _: u32, _: &[u8]) -> bool {
        self.0.lock().unwrap().add(StockItem::Messages, 1);
        true
    }

    fn text(&self) -> &str {
        "meanwhile"
    }
}

#[test]
fn no_durable_subscription_loses_what_its_topic_has_found_room_for_to_what_another_shard_takes_meanwhile() {
    let mut bed = bed(2);
    bed.set("t", topic());
    bed.stocks[0].space.set_limit(StockItem::Messages, Some(3));
    let home = bed.home_of("t");
    let other = u16::from(home == 0);
    for one in ["s1", "s2"] {
        let holding = Holding::new(bed.stocks[0].space.clone(), other);
        let options = ConsumerOptions {
            filter: Some(Arc::new(Meanwhile(Mutex::new(holding)))),
            subscription: Some(Box::new(session(one, &["t/#"]))),
            ..ConsumerOptions::default()
        };
        let consumer = bed.consumer_with(home, "t", options, 0).expect("let in");
        bed.remove_consumer(consumer);
    }
    let relay = bed.anonymous(home);
    let handle = bed.send_durable_to(relay, "t/a", "12");
    assert_eq!(bed.outcome(relay, handle), Some(Outcome::Accepted));
    let held = |one: &str| bed.session_named(one).map(|statistics| statistics.queue.messages);
    assert_eq!((held("s1"), held("s2")), (Some(1), Some(1)), "both have what was accepted");
    assert_eq!(bed.stocks[0].space.held(StockItem::Messages), 4, "two of them, and two of the other shard");
    let handle = bed.send_durable_to(relay, "t/a", "34");
    bed.assert_refused(relay, handle, "the address space may hold 3 messages (maxStoredMessages)");
}

#[test]
fn what_is_retained_counts_for_the_last_who_has_retained_it() {
    for (from, _) in SHARDS {
        let mut bed = bed(2);
        bed.set("t", topic());
        bed.stocks[0].limit(user(1), StockItem::Retained, 1);
        let relay = bed.anonymous(from);
        bed.store.held = true;
        let first = bed.retain_as(relay, Some(user(1)), "t/a", "1");
        assert_eq!(bed.stock(0, user(1))[2], 1, "from when it is let in");
        let second = bed.retain_as(relay, Some(user(1)), "t/a", "2");
        let refused = bed.retain_as(relay, Some(user(1)), "t/b", "1");
        bed.store.held = false;
        bed.run();
        for handle in [first, second] {
            assert_eq!(bed.outcome(relay, handle), Some(Outcome::Accepted));
        }
        bed.assert_refused(relay, refused, "the user may retain 1 messages (maxRetainedMessages)");
        bed.retain_as(relay, Some(user(2)), "t/a", "3");
        assert_eq!((bed.stock(0, user(1))[2], bed.stock(0, user(2))[2]), (0, 1));
        // One that the disk does not take leaves it with who had it.
        bed.store.fails = true;
        let failed = bed.retain_as(relay, Some(user(1)), "t/a", "4");
        bed.store.fails = false;
        assert_ne!(bed.outcome(relay, failed), Some(Outcome::Accepted));
        assert_eq!((bed.stock(0, user(1))[2], bed.stock(0, user(2))[2]), (0, 1));
        bed.retain_as(relay, None, "t/a", "5");
        assert_eq!(bed.stock(0, user(2))[2], 0, "nobody's");
        bed.retain_as(relay, Some(user(1)), "t/b", "6");
        bed.retain_as(relay, Some(user(2)), "t/b", "");
        assert_eq!((bed.stock(0, user(1)), bed.stock(0, user(2))), ([0; 3], [0; 3]));
        bed.clear();
    }
}

#[test]
fn what_a_transaction_posts_counts_when_it_is_discharged_and_not_when_it_is_rolled_back() {
    let mut bed = bed(2);
    bed.set("q", queue(1));
    bed.stocks[0].limit(user(1), StockItem::Messages, 1);
    let producer = bed.user_producer(0, "q", user(1));
    for (posts, fail, kept) in [(1, true, 0), (2, false, 0), (1, false, 1)] {
        let id = bed.cores[0].declare(bed.now).expect("there is room");
        for _ in 0..posts {
            let post = Incoming {
                durable: true,
                transaction: Some(id),
                owner: None,
                ..bed.incoming("1", false, false)
            };
            bed.begin(producer, post);
        }
        bed.cores[0].discharge(bed.now, id, fail).expect("it is open");
        bed.run();
        assert_eq!(bed.stock(0, user(1)), [kept, kept, 0], "{posts} posts");
    }
    bed.clear();
}

#[test]
fn a_queue_takes_what_users_have_in_it_along_to_another_node() {
    let settings = AddressSettings { link_credit: 1_000, ..queue(1) };
    let mut bed = Bed::fleet(&[2, 1], &CoreLimits { link_credit: 1_000, ..CoreLimits::default() });
    bed.set_moving("q", &settings, None, 0, &[0]);
    for node in [0, 1] {
        bed.stocks[node].limit(user(1), StockItem::Messages, 20);
    }
    let producer = bed.user_producer(0, "q", user(1));
    for number in 0..20 {
        bed.send_as(producer, number % 2 > 0, "12");
    }
    let handle = bed.send_as(producer, true, "12");
    bed.assert_refused(producer, handle, "maxStoredMessages");
    assert_eq!((bed.stock(0, user(1)), bed.stock(1, user(1))), ([20, 40, 0], [0; 3]));
    bed.set_moving("q", &settings, Some(0), 1, &[0, 1]);
    assert!(!std::mem::take(&mut bed.emptied).is_empty(), "nothing is left at the old home");
    bed.set_moving("q", &settings, None, 1, &[0, 1]);
    assert_eq!((bed.stock(0, user(1)), bed.stock(1, user(1))), ([0; 3], [20, 40, 0]));
    let handle = bed.send_as(producer, true, "12");
    bed.assert_refused(producer, handle, "maxStoredMessages");
    bed.crash(1);
    bed.connect(0, 1);
    assert_eq!(bed.stock(1, user(1)), [10, 20, 0], "those that are durable");
    bed.clear();
}

#[test]
fn the_message_with_the_same_key_gives_its_place_to_one_of_the_same_user_alone() {
    let mut bed = bed(1);
    bed.set("q", with(1, QueueSettings { last_value: true, ..QueueSettings::default() }));
    bed.stocks[0].limit(user(1), StockItem::Messages, 1);
    bed.stocks[0].limit(user(2), StockItem::Messages, 1);
    let (ann, bob) = (bed.user_producer(0, "q", user(1)), bed.user_producer(0, "q", user(2)));
    for _ in 0..2 {
        let handle = bed.send_as(ann, false, "last=a");
        assert_eq!(bed.outcome(ann, handle), Some(Outcome::Accepted));
    }
    bed.send_as(bob, false, "last=b");
    let handle = bed.send_as(bob, false, "last=a");
    bed.assert_refused(bob, handle, "maxStoredMessages");
    assert_eq!((bed.stock(0, user(1))[0], bed.stock(0, user(2))[0]), (1, 1));
    bed.clear();
}

#[test]
fn users_who_have_nothing_any_more_are_forgotten() {
    let mut bed = bed(1);
    bed.set("q", queue(1));
    for number in 0..1_000 {
        let producer = bed.user_producer(0, "q", user(number));
        bed.send_as(producer, false, "1");
        bed.remove_producer(producer);
        let consumer = bed.consumer(0, "q", 1);
        bed.accept(consumer, 0);
        bed.remove_consumer(consumer);
    }
    assert!(bed.cores[0].owners_known() < 200, "{}", bed.cores[0].owners_known());
    bed.clear();
}
