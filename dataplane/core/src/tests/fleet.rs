//! Nodes that know each other, lose each other and meet again.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::bed::*;
use super::stored::{fleet_with, queue};
use crate::wire::messages_of;
use crate::*;

fn limits() -> CoreLimits {
    CoreLimits { link_credit: 10, ..CoreLimits::default() }
}

fn fleet(nodes: &[u16]) -> Bed {
    fleet_with(nodes, &limits())
}

/// Two nodes of one shard that do not know each other yet.
fn strangers() -> Bed {
    let mut bed = fleet(&[1, 1]);
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    bed
}

/// Two nodes of one shard without all that a bed checks after each step, for many addresses.
struct Two {
    cores: [Core; 2],
    now: Instant,
    /// What each calls the other.
    there: ShardId,
}

impl Two {
    fn new() -> Self {
        let core = || Core::new(ShardId(0), 1, limits());
        Self { cores: [core(), core()], now: Instant::now(), there: ShardId::new(1, 0) }
    }

    fn set(&mut self, text: &str, settings: &AddressSettings) {
        for core in &mut self.cores {
            core.set_address(self.now, &name(text), settings.clone());
        }
    }

    /// A consumer with some credit.
    fn consumer(&mut self, core: usize, address: &str) -> ConsumerKey {
        let core = &mut self.cores[core];
        let lane = core.add_lane();
        core.set_lane_budget(self.now, lane, usize::MAX);
        let consumer = core.add_consumer(self.now, lane, address, ConsumerOptions::default());
        let consumer = consumer.expect("let in");
        core.set_credit(self.now, consumer, 1, false);
        consumer
    }

    fn meet(&mut self) {
        for core in &mut self.cores {
            while core.poll_effect().is_some() {}
            core.add_peer(self.now, self.there, PeerOptions { cost: 1 });
        }
    }

    /// What the cores have to say to each other, with the one that is to hear it.
    fn take(&mut self) -> Vec<(usize, PeerMessage)> {
        let mut mail = Vec::new();
        for index in 0..2 {
            while let Some(effect) = self.cores[index].poll_effect() {
                let messages = match effect {
                    Effect::Peer { message, .. } => vec![message],
                    Effect::Run { run, .. } => messages_of(run, &self.cores[1 - index], self.now, self.there),
                    _ => Vec::new(),
                };
                mail.extend(messages.into_iter().map(|message| (1 - index, message)));
            }
        }
        mail
    }

    fn post(&mut self, mail: Vec<(usize, PeerMessage)>) {
        for (to, message) in mail {
            self.cores[to].handle_peer(self.now, self.there, message);
        }
    }

    fn run(&mut self) {
        loop {
            for core in &mut self.cores {
                core.handle_timeout(self.now);
            }
            let mail = self.take();
            if mail.is_empty() {
                return;
            }
            self.post(mail);
        }
    }
}

fn subscriber() -> Subscriber {
    Subscriber { token: 1, index: 0 }
}

#[test]
fn a_shard_has_the_number_of_its_node_and_its_own() {
    let shard = ShardId::new(3, 7);
    assert_eq!((shard.slot(), shard.shard(), shard.is_here()), (3, 7, false));
    assert_eq!(ShardId::new(0, 255), ShardId(255));
    assert!(ShardId(255).is_here() && !ShardId(256).is_here());
    assert_eq!(ShardId::new(UNKNOWN_SLOT, 255), ShardId(u32::MAX));
}

#[test]
fn a_node_that_comes_knows_all_that_was_there() {
    let mut bed = strangers();
    bed.set("a", anycast());
    bed.set_at_home("t", AddressSettings { kind: AddressKind::Topic, id: None, ..queue(0) }, 0);
    let producer = bed.producer(1, "a");
    let consumer = bed.consumer(0, "a", 5);
    let everything = bed.consumer(0, "t", 5);
    for filter in ["x/y", "x/+", "#"] {
        assert_eq!(bed.cores[0].add_live(filter, subscriber()), Ok(true));
    }
    bed.run();
    assert_eq!(bed.credit_of(producer), 0);
    bed.connect(0, 1);
    bed.check_peers();
    assert_eq!(bed.credit_of(producer), 10);
    bed.send(producer, "x");
    assert_eq!(bed.bodies(consumer), ["x"]);
    let route = bed.cores[1].route("t");
    assert_eq!((&*route.shards, route.is_stored), (&[bed.id_of(1, 0)][..], true));
    assert!(bed.consumers[&everything].received.is_empty());
}

#[test]
fn introductions_take_some_steps_at_a_time_and_miss_no_change() {
    let mut two = Two::new();
    let text = |index: usize| format!("a/{index:05}");
    let mut consumers = Vec::new();
    for index in 0..1_500 {
        two.set(&text(index), &anycast());
        consumers.push(two.consumer(0, &text(index)));
    }
    two.meet();
    assert!(two.take().is_empty(), "nothing is told before a timeout");
    let mut turns = 0;
    while two.cores[0].poll_timeout() == Some(two.now) {
        two.cores[0].handle_timeout(two.now);
        let mut mail = two.take();
        assert!(mail.len() <= 513, "a turn told {}", mail.len());
        turns += 1;
        if turns == 2 {
            // One where the walk was, and one where it comes.
            for index in [3, 1_400] {
                two.cores[0].remove_consumer(two.now, consumers[index]);
            }
            mail.extend(two.take());
        }
        two.post(mail);
    }
    assert!(turns >= 3, "{turns}");
    two.run();
    two.cores[1].check_peer(two.there, &two.cores[0], two.there);
    for index in 0..1_500 {
        let text = text(index);
        let target = ProducerTarget::Address(&text);
        two.cores[1].add_producer(two.now, target, ProducerOptions::default()).expect("let in");
    }
    let mut grants = 0;
    while let Some(effect) = two.cores[1].poll_effect() {
        grants += usize::from(matches!(effect, Effect::Grant { .. }));
    }
    assert_eq!(grants, 1_498);
}

#[test]
fn what_is_in_flight_to_a_node_that_is_gone_ends_at_once() {
    let mut bed = fleet(&[1, 1, 1]);
    bed.set("a", anycast());
    bed.set("m", multicast());
    let producer = bed.producer(0, "a");
    let all = bed.producer(0, "m");
    let gone = bed.consumer(1, "a", 5);
    let (here, there) = (bed.consumer(0, "m", 5), bed.consumer(1, "m", 5));
    let (one, two) = (bed.send(producer, "x"), bed.send(all, "y"));
    bed.accept(here, 0);
    bed.disconnect(0, 1);
    assert_eq!(bed.outcome(producer, one), Some(Outcome::FAILED));
    assert_eq!(bed.outcome(all, two), Some(Outcome::FAILED));
    assert!(bed.producers[&producer].stopped, "nobody can be reached");
    // What the other side says now is about nothing.
    bed.notice(0, 1);
    bed.accept(gone, 0);
    bed.accept(there, 0);
    bed.connect(0, 1);
    bed.check_peers();
    assert_eq!(bed.updates(producer, one).len(), 1);
    bed.clear();
}

#[test]
fn a_home_that_cannot_be_reached_refuses_links_by_name_and_serves_them_when_it_is_back() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let kept = bed.producer(1, "q");
    let handle = bed.send_durable(kept, "kept");
    assert_eq!(bed.outcome(kept, handle), Some(Outcome::Accepted));
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    let refused = bed.try_producer(0, ProducerTarget::Address("q"), ProducerOptions::default());
    let sentence = refused.expect_err("the home is away").to_string();
    assert_eq!(sentence, "the home of address q, node node-1, cannot be reached now; try again later");
    let refused = bed.consumer_with(0, "q", ConsumerOptions::default(), 1).expect_err("likewise");
    assert!(matches!(refused, Refused::HomeUnavailable { .. }));
    let anonymous = bed.anonymous(0);
    let incoming = Incoming { to: Some("q"), durable: true, ..bed.incoming("x", false, false) };
    let (handle, _) = bed.begin(anonymous, incoming);
    assert_eq!(bed.outcome(anonymous, handle), Some(Outcome::Released));
    assert!(bed.cores[0].queue("q").is_none(), "nothing is made elsewhere");
    let (slot, now) = (bed.id_of(0, 1).slot(), bed.now);
    bed.cores[0].set_node(now, slot, None);
    let refused = bed.try_producer(0, ProducerTarget::Address("q"), ProducerOptions::default());
    assert_eq!(refused.expect_err("still away").to_string(), sentence, "its name is known");
    bed.connect(0, 1);
    assert_eq!(bed.drain_bodies(0, "q"), ["kept"]);
    bed.clear();
}

#[test]
fn a_node_that_nobody_has_heard_of_is_no_home() {
    let mut bed = fleet(&[1]);
    let settings = AddressSettings { home: UNKNOWN_SLOT, ..queue(1) };
    bed.cores[0].set_address(bed.now, &name("q"), settings);
    let refused = bed.try_producer(0, ProducerTarget::Address("q"), ProducerOptions::default());
    let sentence = refused.expect_err("no home").to_string();
    assert!(sentence.contains("a node that is not known here"), "{sentence}");
}

#[test]
fn what_a_home_has_not_answered_is_answered_before_its_links_are_closed() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    let anonymous = bed.anonymous(0);
    bed.store.held = true;
    let large = "x".repeat(PEER_FREE_BYTES + 1);
    let first = bed.send_durable(producer, &large);
    assert!(bed.producers[&producer].unconsumed > 0, "it holds its session");
    let incoming = Incoming { to: Some("q"), durable: true, ..bed.incoming("y", false, false) };
    let (second, _) = bed.begin(anonymous, incoming);
    let options = ProducerOptions { settles_second: true, ..ProducerOptions::default() };
    let last = bed.try_producer(0, ProducerTarget::Address("q"), options).expect("let in");
    let third = bed.send_durable(last, "z");
    bed.disconnect(0, 1);
    assert_eq!(bed.outcome(producer, first), Some(Outcome::FAILED));
    assert_eq!(bed.outcome(anonymous, second), Some(Outcome::FAILED));
    assert_eq!(bed.updates(last, third), [(Some(Outcome::FAILED), false)]);
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone));
    assert_eq!((bed.producers[&producer].unconsumed, bed.producers[&anonymous].closed), (0, None));
    bed.store.held = false;
    bed.run();
    bed.connect(0, 1);
    assert_eq!(bed.updates(producer, first).len(), 1, "a later answer is not heard");
    assert_eq!(bed.drain_bodies(1, "q").len(), 3);
}

#[test]
fn an_answer_to_the_former_life_of_a_node_is_not_taken_for_one_to_its_next() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    bed.deliver_mail = false;
    bed.send_durable(producer, "1");
    bed.post_mail((0, 1));
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    // The node is another process now, whose names for things begin anew.
    bed.producers.clear();
    bed.cores[0] = Core::new(ShardId(0), 1, limits());
    bed.cores[0].set_clock(bed.now, UnixMillis(1_000_000_000_000));
    bed.store.held = true;
    bed.deliver_mail = true;
    bed.connect(0, 1);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    let handle = bed.send_durable(producer, "2");
    bed.store.held = false;
    assert!(bed.store_answers(), "of the first message");
    bed.store.held = true;
    bed.run();
    assert!(bed.updates(producer, handle).is_empty(), "the second one is not on disk");
    bed.store.held = false;
    bed.run();
    assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
}

#[test]
fn what_a_consumer_had_of_a_home_that_is_gone_comes_again_as_failed() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(1, "q");
    let consumer = bed.consumer(0, "q", 10);
    bed.send_durable(producer, "1");
    bed.send_durable(producer, "2");
    bed.accept(consumer, 0);
    bed.disconnect(0, 1);
    assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::HomeGone));
    bed.accept(consumer, 1);
    bed.connect(0, 1);
    let again = bed.consumer(0, "q", 10);
    assert_eq!(bed.bodies(again), ["2"]);
    assert_eq!(bed.consumers[&again].received[0].redelivery.delivery_count, 1);
    bed.accept(again, 0);
    bed.clear();
}

#[test]
fn a_dead_letter_waits_until_its_home_is_back() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("dead", queue(2), 1);
    let settings = QueueSettings { dead_letter: Some(name("dead")), ..QueueSettings::default() };
    bed.set_at_home("q", super::stored::with(1, settings), 0);
    let producer = bed.producer(0, "q");
    let consumer = bed.consumer(0, "q", 10);
    bed.send_durable(producer, "x");
    bed.disconnect(0, 1);
    bed.settle(consumer, 0, Some(rejected()), true);
    bed.advance(Duration::from_secs(5));
    bed.connect(0, 1);
    assert!(bed.drain_bodies(1, "dead").is_empty());
    bed.advance(Duration::from_secs(64));
    assert_eq!(bed.drain_bodies(1, "dead").len(), 1);
    bed.clear();
}

#[test]
fn a_home_that_comes_back_with_more_shards_is_found_again() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    let (slot, now) = (bed.id_of(0, 1).slot(), bed.now);
    let node = NodeShards { shards: 200, name: "node-1".into() };
    bed.cores[0].set_node(now, slot, Some(node));
    bed.run();
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone));
    let place = home("q", 200).shard();
    assert_ne!(place, 0, "the name is one that moves");
    assert!(bed.try_producer(0, ProducerTarget::Address("q"), ProducerOptions::default()).is_err());
    bed.cores[0].add_peer(now, ShardId::new(slot, place), PeerOptions { cost: 1 });
    bed.cores[0]
        .add_producer(now, ProducerTarget::Address("q"), ProducerOptions::default())
        .expect("its home can be reached");
}

#[test]
fn an_old_home_keeps_what_it_holds_while_the_new_one_is_away() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 0);
    let producer = bed.producer(0, "q");
    bed.send_durable(producer, "old");
    bed.disconnect(0, 1);
    bed.set_at_home("q", queue(1), 1);
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone));
    bed.advance(Duration::from_secs(5));
    assert_eq!(bed.cores[0].left_behind().map(|(_, messages, _)| messages).sum::<u64>(), 1);
    bed.set_at_home("q", queue(1), 0);
    assert_eq!(bed.drain_bodies(0, "q"), ["old"]);
}

#[test]
fn a_subscription_ends_when_its_home_is_back() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("t", AddressSettings { kind: AddressKind::Topic, id: None, ..queue(0) }, 1);
    let subscription =
        SubscriptionOptions { name: name("s"), durable: true, ..SubscriptionOptions::default() };
    let options =
        ConsumerOptions { subscription: Some(Box::new(subscription)), ..ConsumerOptions::default() };
    let consumer = bed.consumer_with(0, "t/#", options, 0).expect("let in");
    assert_eq!(bed.cores[1].subscriptions("t").len(), 1);
    bed.disconnect(0, 1);
    bed.remove_consumer(consumer);
    bed.cores[0].end_durable(bed.now, "t", "s", None);
    bed.connect(0, 1);
    assert_eq!(bed.cores[1].subscriptions("t").len(), 0);
}

#[test]
fn a_name_of_a_topic_out_of_reach_may_be_wanted_by_anybody() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("t", AddressSettings { kind: AddressKind::Topic, id: None, ..queue(0) }, 1);
    assert!(!bed.cores[0].route("t/a").is_stored);
    bed.disconnect(0, 1);
    let route = bed.cores[0].route("t/a");
    assert!(route.is_stored && route.is_stored_volatile);
    bed.deliver_mail = false;
    bed.connect(0, 1);
    assert!(bed.cores[0].route("t/a").is_stored, "the home has not said yet what it wants");
    bed.deliver_mail = true;
    bed.run();
    assert!(!bed.cores[0].route("t/a").is_stored);
}

#[test]
fn a_balanced_address_counts_the_cost_of_the_path() {
    let mut bed = fleet(&[1, 1]);
    bed.set("a", anycast());
    let there = bed.id_of(0, 1);
    bed.cores[0].set_peer_cost(bed.now, there, 3);
    let producer = bed.producer(0, "a");
    let (near, far) = (bed.consumer(0, "a", 10), bed.consumer(1, "a", 10));
    for index in 0..8 {
        bed.send(producer, &index.to_string());
    }
    // Near up to three more than far: a draw stays.
    assert_eq!((bed.bodies(near).len(), bed.bodies(far).len()), (6, 2));
    bed.clear();
}

#[test]
fn a_close_address_goes_to_the_nearest_node_that_can_take_it_and_round_among_equals() {
    let mut bed = fleet(&[1, 1, 1, 1]);
    bed.set("a", AddressSettings { distribution: Distribution::Closest, link_credit: 100, ..anycast() });
    for (node, cost) in [(1, 2), (2, 2), (3, 1)] {
        let id = bed.id_of(0, node);
        bed.cores[0].set_peer_cost(bed.now, id, cost);
    }
    let producer = bed.producer(0, "a");
    let one = bed.consumer(1, "a", 3);
    let two = bed.consumer(2, "a", 10);
    let send = |bed: &mut Bed, count: u32| {
        for index in 0..count {
            bed.send(producer, &index.to_string());
        }
    };
    send(&mut bed, 4);
    assert_eq!((bed.bodies(one).len(), bed.bodies(two).len()), (2, 2));
    let nearer = bed.consumer(3, "a", 2);
    send(&mut bed, 3);
    assert_eq!(bed.bodies(nearer).len(), 2);
    let here = bed.consumer(0, "a", 5);
    send(&mut bed, 5);
    assert_eq!((bed.bodies(here).len(), bed.bodies(one).len() + bed.bodies(two).len()), (5, 5));
    bed.clear();
}

#[test]
fn a_close_address_takes_turns_between_the_shards_of_the_node() {
    let mut bed = fleet(&[3, 1]);
    bed.set("a", AddressSettings { distribution: Distribution::Closest, ..anycast() });
    let producer = bed.producer(0, "a");
    let consumers: Vec<C> = (0..4).map(|shard| bed.consumer(shard, "a", 10)).collect();
    for index in 0..9 {
        bed.send(producer, &index.to_string());
    }
    let got: Vec<usize> = consumers.iter().map(|consumer| bed.bodies(*consumer).len()).collect();
    assert_eq!(got, [3, 3, 3, 0]);
    bed.clear();
}

#[test]
fn a_transaction_does_not_reach_over_nodes() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("here", queue(1), 0);
    bed.set_at_home("there", queue(2), 1);
    let sender = bed.producer(0, "here");
    let far = bed.producer(0, "there");
    let id = bed.cores[0].declare(bed.now).expect("room");
    let incoming = Incoming { durable: true, transaction: Some(id), ..bed.incoming("1", false, false) };
    bed.begin(sender, incoming);
    let incoming = Incoming { durable: true, transaction: Some(id), ..bed.incoming("2", false, false) };
    let (handle, _) = bed.begin(far, incoming);
    let Some(Outcome::Rejected(Some(reason))) = bed.outcome(far, handle) else { panic!("it is refused") };
    assert_eq!(&*reason.condition, condition::NOT_IMPLEMENTED);
    bed.cores[0].discharge(bed.now, id, false).expect("open");
    bed.run();
    let failed = bed.discharged[&id].clone().expect_err("not all of it was taken");
    assert_eq!(&*failed.condition, condition::NOT_IMPLEMENTED);
    assert!(bed.drain_bodies(0, "here").is_empty() && bed.drain_bodies(0, "there").is_empty());

    bed.send_durable(far, "3");
    let consumer = bed.consumer(0, "there", 1);
    let id = bed.cores[0].declare(bed.now).expect("room");
    let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
    bed.cores[0].settle_in_transaction(bed.now, leg, Some(Outcome::Accepted), id).expect("open");
    bed.cores[0].discharge(bed.now, id, false).expect("open");
    bed.run();
    assert_eq!(&*bed.discharged[&id].clone().expect_err("likewise").condition, condition::NOT_IMPLEMENTED);
    bed.remove_consumer(consumer);
    assert_eq!(bed.drain_bodies(0, "there"), ["3"]);
    bed.clear();
}

#[test]
fn a_step_of_qos_2_over_nodes_counts_once_on_both() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    let key = Bytes::from_static(b"m1");
    let id = bed.cores[0].declare_across(bed.now).expect("room");
    let incoming = Incoming { durable: true, transaction: Some(id), ..bed.incoming("x", false, false) };
    bed.begin(producer, incoming);
    bed.cores[0].put_in_transaction(bed.now, id, key.clone(), Some(Bytes::from_static(b"1"))).expect("open");
    bed.deliver_mail = false;
    bed.cores[0].discharge(bed.now, id, false).expect("open");
    bed.run();
    assert!(bed.store.requests.is_empty(), "the object comes after the message");
    bed.deliver_mail = true;
    bed.run();
    assert_eq!(bed.discharged[&id], Ok(()));
    assert!(bed.store.objects.contains_key(&key));

    let consumer = bed.consumer(0, "q", 1);
    let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
    let id = bed.cores[0].declare_across(bed.now).expect("room");
    bed.cores[0].put_in_transaction(bed.now, id, key, None).expect("open");
    bed.cores[0].settle_in_transaction(bed.now, leg, Some(Outcome::Accepted), id).expect("open");
    bed.cores[0].discharge(bed.now, id, false).expect("open");
    bed.run();
    assert_eq!(bed.discharged[&id], Ok(()));
    assert!(bed.store.objects.is_empty() && bed.stores[0].messages.is_empty());
    bed.clear();
}

#[test]
fn what_a_step_of_qos_2_retires_on_another_node_is_nobodys_when_its_consumer_goes_before_the_end() {
    for fail in [false, true] {
        let mut bed = fleet(&[1, 1]);
        bed.set_at_home("q", queue(1), 1);
        let producer = bed.producer(1, "q");
        bed.send_durable(producer, "x");
        let consumer = bed.consumer(0, "q", 1);
        let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
        let id = bed.cores[0].declare_across(bed.now).expect("room");
        let (key, value) = (Bytes::from_static(b"m1"), Bytes::from_static(b"1"));
        bed.cores[0].put_in_transaction(bed.now, id, key, Some(value)).expect("open");
        bed.cores[0].settle_in_transaction(bed.now, leg, Some(Outcome::Accepted), id).expect("open");
        bed.store.held = true;
        bed.cores[0].discharge(bed.now, id, fail).expect("open");
        bed.remove_consumer(consumer);
        let other = bed.consumer(0, "q", 1);
        assert_eq!(bed.bodies(other).len(), usize::from(fail), "it is open as long as the store is silent");
        bed.store.held = false;
        bed.run();
        assert_eq!(bed.discharged[&id], Ok(()));
        assert_eq!(bed.bodies(other).len(), usize::from(fail));
        assert_eq!(
            bed.stores[0].messages.len(),
            usize::from(fail),
            "the end counts there before it does here"
        );
        bed.clear();
    }
}

#[test]
fn what_two_nodes_retire_under_the_same_name_ends_as_each_of_them_says() {
    let mut bed = fleet(&[1, 1, 1]);
    bed.set_at_home("q", queue(1), 2);
    let producer = bed.producer(2, "q");
    let mut ids = Vec::new();
    for node in [0, 1] {
        bed.send_durable(producer, &node.to_string());
        let consumer = bed.consumer(node, "q", 1);
        let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
        let id = bed.cores[node].declare_across(bed.now).expect("room");
        bed.cores[node].settle_in_transaction(bed.now, leg, Some(Outcome::Accepted), id).expect("open");
        bed.run();
        ids.push(id);
        bed.remove_consumer(consumer);
    }
    assert_eq!(ids[0], ids[1], "the test needs the same name");
    bed.cores[0].discharge(bed.now, ids[0], false).expect("open");
    bed.run();
    assert_eq!(bed.discharged.remove(&ids[0]), Some(Ok(())));
    bed.disconnect(1, 2);
    bed.notice(1, 2);
    bed.cores[1].discharge(bed.now, ids[1], false).expect("open");
    bed.run();
    assert_eq!(bed.drain_bodies(2, "q"), ["1"]);
}

#[test]
fn a_step_of_qos_2_whose_home_is_lost_fails_and_leaves_no_mark() {
    let mut bed = fleet(&[1, 1]);
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    let id = bed.cores[0].declare_across(bed.now).expect("room");
    let incoming = Incoming { durable: true, transaction: Some(id), ..bed.incoming("x", false, false) };
    bed.begin(producer, incoming);
    let key = Bytes::from_static(b"m1");
    bed.cores[0].put_in_transaction(bed.now, id, key, Some(Bytes::from_static(b"1"))).expect("open");
    bed.store.held = true;
    bed.cores[0].discharge(bed.now, id, false).expect("open");
    bed.run();
    bed.disconnect(0, 1);
    bed.store.held = false;
    bed.run();
    assert!(bed.discharged[&id].is_err());
    assert!(bed.store.objects.is_empty());
}

#[test]
fn messages_of_two_homes_have_different_references() {
    let mut bed = fleet(&[1, 1, 1]);
    bed.set_at_home("q", queue(1), 1);
    bed.set_at_home("r", queue(2), 2);
    let mut references = Vec::new();
    for address in ["q", "r"] {
        let producer = bed.producer(0, address);
        bed.send_durable(producer, "x");
        let consumer = bed.consumer(0, address, 1);
        let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
        references.push(bed.cores[0].reference_of(leg).expect("it is stored"));
    }
    assert_ne!(references[0], references[1]);
}

#[test]
fn every_node_gives_a_message_the_same_reference() {
    let mut bed = fleet(&[1, 1, 1]);
    for shard in 0..3 {
        bed.cores[shard].set_name(&format!("node-{shard}"));
    }
    bed.set_at_home("q", queue(1), 1);
    let producer = bed.producer(0, "q");
    bed.send_durable(producer, "x");
    let mut references = Vec::new();
    for shard in 0..3 {
        let consumer = bed.consumer(shard, "q", 1);
        let leg = bed.consumers[&consumer].received[0].leg.expect("unsettled");
        references.push(bed.cores[shard].reference_of(leg).expect("it is stored"));
        bed.remove_consumer(consumer);
    }
    assert_eq!(references, [references[0]; 3]);
}

#[test]
fn a_change_of_limits_concerns_those_that_send_alone() {
    let mut bed = fleet(&[1; 20]);
    bed.set("a", AddressSettings { link_credit: 1_000, ..anycast() });
    let consumer = bed.consumer(0, "a", 1_000);
    let producer = bed.producer(1, "a");
    bed.deliver_mail = false;
    let mut messages = 0;
    for index in 0..100 {
        bed.send(producer, &index.to_string());
        for pair in [(1, 0), (0, 1)] {
            while bed.mail.get(&pair).is_some_and(|mail| !mail.is_empty()) {
                bed.post_mail(pair);
                messages += 1;
            }
        }
        bed.accept(consumer, index);
        bed.credit(consumer, 1_000, false);
    }
    for (pair, mail) in &bed.mail {
        assert!(mail.is_empty() || *pair == (0, 1), "{pair:?} has nothing to do with it");
    }
    assert!(messages < 250, "{messages} for 100 deliveries and their settlements");
}

#[test]
fn rounds_in_which_nothing_is_sent_end_when_there_are_many() {
    let mut two = Two::new();
    two.meet();
    two.run();
    let anonymous =
        two.cores[1].add_producer(two.now, ProducerTarget::AnyAddress, ProducerOptions::default());
    let anonymous = anonymous.expect("let in");
    for index in 0..5_000 {
        let text = format!("reply/{index}");
        two.set(&text, &anycast());
        two.consumer(0, &text);
        two.run();
        let incoming = Incoming { to: Some(&text), settled: true, chunk: "x".into(), ..Incoming::default() };
        two.cores[1].begin(two.now, anonymous, incoming);
        two.run();
    }
    let [one, other] = [0, 1].map(|index| two.cores[index].traffic_rows());
    assert!(one == other && one <= 4_097, "{one} {other}");
    two.cores[1].check_peer(two.there, &two.cores[0], two.there);
}

#[test]
fn what_was_to_be_said_to_a_shard_that_is_gone_is_not_said_when_it_is_back() {
    let mut bed = fleet(&[1, 1]);
    bed.set("a", anycast());
    let (now, there) = (bed.now, bed.id_of(0, 1));
    let lane = bed.cores[0].add_lane();
    bed.cores[0].add_consumer(now, lane, "a", ConsumerOptions::default()).expect("let in");
    bed.cores[0].handle_peer_gone(now, there);
    bed.cores[0].add_peer(now, there, PeerOptions { cost: 1 });
    while let Some(effect) = bed.cores[0].poll_effect() {
        assert!(!matches!(effect, Effect::Peer { .. }), "of before: {effect:?}");
    }
}

/// Two nodes, a producer on the first and a consumer on the second, of which the first takes no effects from
/// here on: the test does.
fn producer_here_and_consumer_there() -> (Bed, P, C) {
    let mut bed = fleet_with(&[1, 1], &CoreLimits::default());
    bed.set("a", anycast());
    let consumer = bed.consumer(1, "a", 200);
    let producer = bed.producer(0, "a");
    bed.send_settled(producer, "the first begins the round");
    assert_eq!(bed.bodies(consumer).len(), 1);
    (bed, producer, consumer)
}

fn begin(bed: &mut Bed, producer: P, chunk: impl Into<Bytes>, settled: bool) -> Begun {
    let incoming = Incoming { chunk: chunk.into(), settled, ..Incoming::default() };
    bed.cores[0].begin(bed.now, producer.1, incoming)
}

#[test]
fn small_deliveries_to_another_node_leave_together_and_before_what_is_said_to_it_later() {
    let (mut bed, producer, _) = producer_here_and_consumer_there();
    let core = |bed: &mut Bed| bed.cores[0].poll_prompt_effect();
    for text in ["1", "2", "3"] {
        assert!(begin(&mut bed, producer, text, true).consumed);
        assert!(core(&mut bed).is_none(), "they wait for each other");
    }
    // It is not kept as bytes alone: the other shard says when it has taken it.
    begin(&mut bed, producer, vec![7; PEER_FREE_BYTES + 1], true);
    let Some(Effect::Run { to, run }) = core(&mut bed) else { panic!("the three first") };
    let (there, from) = (bed.id_of(0, 1), bed.id_of(1, 0));
    assert_eq!((to, run.messages()), (there, 3));
    let messages = messages_of(run, &bed.cores[1], bed.now, from);
    assert_eq!(messages.len(), 3);
    assert!(matches!(core(&mut bed), Some(Effect::Peer { to, .. }) if to == there));
    assert!(core(&mut bed).is_none());
    // The turn ends: what is left leaves.
    begin(&mut bed, producer, "5", true);
    assert!(matches!(bed.cores[0].poll_effect(), Some(Effect::Run { run, .. }) if run.messages() == 1));
}

#[test]
fn what_leaves_together_arrives_in_order_with_what_does_not() {
    let (mut bed, producer, consumer) = producer_here_and_consumer_there();
    bed.is_mid_turn = true;
    let large = "l".repeat(PEER_FREE_BYTES + 1);
    let mut expected = vec!["the first begins the round".to_owned()];
    for number in 0..40 {
        let text = if number % 7 == 3 { format!("{number}{large}") } else { number.to_string() };
        if number % 3 == 0 {
            bed.send(producer, &text);
        } else {
            bed.send_settled(producer, &text);
        }
        expected.push(text);
    }
    bed.is_mid_turn = false;
    bed.run();
    assert_eq!(bed.bodies(consumer), expected);
    bed.clear();
}

#[test]
fn what_leaves_together_fits_into_a_segment() {
    let (mut bed, producer, consumer) = producer_here_and_consumer_there();
    bed.credit(consumer, 200, false);
    let (mut messages, mut runs) = (0, 0);
    for _ in 0..150 {
        begin(&mut bed, producer, vec![7; PEER_FREE_BYTES], true);
        while let Some(effect) = bed.cores[0].poll_prompt_effect() {
            if let Effect::Run { run, .. } = effect {
                (messages, runs) = (messages + run.messages(), runs + 1);
                assert!((60 << 10..64 << 10).contains(&run.into_bytes().len()));
            }
        }
    }
    assert_eq!(runs, 150 * PEER_FREE_BYTES / (60 << 10));
    while let Some(effect) = bed.cores[0].poll_effect() {
        if let Effect::Run { run, .. } = effect {
            messages += run.messages();
        }
    }
    assert_eq!(messages, 150);
}

#[test]
fn what_was_to_leave_together_for_a_node_that_is_gone_does_not_leave_when_it_is_back() {
    let (mut bed, producer, _) = producer_here_and_consumer_there();
    let (now, there) = (bed.now, bed.id_of(0, 1));
    begin(&mut bed, producer, "settled", true);
    begin(&mut bed, producer, "not settled", false);
    bed.cores[0].handle_peer_gone(now, there);
    bed.cores[0].add_peer(now, there, PeerOptions { cost: 1 });
    let mut released = 0;
    while let Some(effect) = bed.cores[0].poll_effect() {
        assert!(!matches!(effect, Effect::Run { .. }), "of before: {effect:?}");
        released += u32::from(matches!(effect, Effect::UpdateProducer { settled: true, .. }));
    }
    assert_eq!(released, 1);
}
