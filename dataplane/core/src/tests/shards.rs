//! Queues with several shards: what their links see.

use std::collections::BTreeSet;
use std::time::Duration;

use super::bed::{Bed, C, P, rejected};
use super::seeds::for_each_seed;
use super::stored::{Contains, fleet_with, queue, with};
use crate::*;

/// A queue with so many shards, each with its own home.
pub(crate) fn set_shards(bed: &mut Bed, name: &str, settings: &AddressSettings, shards: u16) {
    resize(bed, name, settings, shards, shards);
}

/// A queue with so many shards that had, at most, so many before.
fn resize(bed: &mut Bed, name: &str, settings: &AddressSettings, shards: u16, most: u16) {
    for number in (0..most.max(shards)).rev() {
        let id = settings.id.map(|id| QueueId(id.0 + u64::from(number) * 1_000));
        bed.set(&shard_name(name, number), AddressSettings { shards, id, ..settings.clone() });
    }
}

fn limits() -> CoreLimits {
    CoreLimits { link_credit: 10, ..CoreLimits::default() }
}

/// A queue `q` with three shards on one node of three threads, on three nodes, and on two nodes of two.
fn beds(settings: &AddressSettings) -> Vec<Bed> {
    let bed = |nodes: &&[u16]| {
        let mut bed = fleet_with(nodes, &limits());
        set_shards(&mut bed, "q", settings, 3);
        bed
    };
    [&[1][..], &[3], &[1, 1, 1], &[2, 2]].iter().map(bed).collect()
}

fn send_all(bed: &mut Bed, producer: P, bodies: impl IntoIterator<Item = String>) {
    for body in bodies {
        let handle = bed.send_durable(producer, &body);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted), "{body}");
    }
}

fn numbers(bodies: std::ops::Range<u32>) -> Vec<String> {
    bodies.map(|body| format!("{body:04}")).collect()
}

/// Accepts what a consumer has not settled; gives the bodies of all that it has got.
fn accept_all(bed: &mut Bed, consumer: C) -> Vec<String> {
    for index in 0..bed.consumers[&consumer].received.len() {
        if !std::mem::replace(&mut bed.consumers.get_mut(&consumer).unwrap().received[index].taken, true) {
            bed.accept(consumer, index);
        }
    }
    bed.bodies(consumer)
}

fn depths(bed: &Bed) -> Vec<u64> {
    (0..3).map(|number| bed.holds(&shard_name("q", number)).messages).collect()
}

#[test]
fn messages_go_to_the_shards_in_turn_and_come_back_to_one_consumer() {
    for mut bed in beds(&queue(1)) {
        let last = bed.cores.len() - 1;
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..30));
        assert_eq!(depths(&bed), [10; 3]);
        let consumer = bed.consumer(last, "q", 100);
        let bodies: BTreeSet<String> = accept_all(&mut bed, consumer).into_iter().collect();
        assert_eq!(bodies, numbers(0..30).into_iter().collect());
        assert_eq!(depths(&bed), [0; 3]);
        assert_eq!(bed.cores[last].consumer(consumer.1).unwrap().unsettled, 0);
        assert_eq!(bed.cores[last].statistics().consumers, 1, "nobody counts its parts");
        bed.clear();
    }
}

#[test]
fn one_credit_finds_the_message_wherever_it_is() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 1);
        for (index, body) in numbers(0..20).into_iter().enumerate() {
            send_all(&mut bed, producer, [body.clone()]);
            assert_eq!(bed.bodies(consumer).last(), Some(&body));
            bed.accept(consumer, index);
            bed.credit(consumer, 1, false);
        }
        bed.clear();
    }
}

#[test]
fn no_shard_starves_while_another_always_has_something() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..60));
        let consumer = bed.consumer(0, "q", 0);
        let mut seen = Vec::new();
        for index in 0..30 {
            bed.credit(consumer, 1, false);
            bed.accept(consumer, index);
            seen = depths(&bed);
        }
        assert!(seen.iter().all(|depth| (9..=11).contains(depth)), "{seen:?}");
        bed.clear();
    }
}

#[test]
fn credit_that_was_given_once_reaches_what_comes_to_one_shard_alone() {
    for mut bed in beds(&with(1, QueueSettings { groups: true, ..QueueSettings::default() })) {
        let producer = bed.producer(0, "q");
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 12);
        send_all(&mut bed, producer, (0..20).map(|number| format!("group=a {number}")));
        assert_eq!(bed.bodies(consumer).len(), 12, "all of the credit was used");
        assert_eq!(bed.consumers[&consumer].credit, 0);
        bed.clear();
    }
}

#[test]
fn a_group_stays_on_one_shard_and_in_order() {
    for mut bed in beds(&with(1, QueueSettings { groups: true, ..QueueSettings::default() })) {
        let producers: Vec<P> = (0..2).map(|_| bed.producer(0, "q")).collect();
        let anonymous = bed.anonymous(0);
        let consumers: Vec<C> = (0..2).map(|shard| bed.consumer(shard % bed.cores.len(), "q", 200)).collect();
        for number in 0..60_u32 {
            let body = format!("{number:04} group={}", number % 5);
            if number % 3 == 2 {
                let incoming = Incoming { to: Some("q"), ..bed.incoming(&body, false, false) };
                bed.begin(anonymous, incoming);
            } else {
                send_all(&mut bed, producers[number as usize % 2], [body]);
            }
        }
        let got: Vec<Vec<String>> = consumers.iter().map(|consumer| bed.bodies(*consumer)).collect();
        for group in 0..5 {
            let of_group = |bodies: &Vec<String>| -> Vec<String> {
                bodies.iter().filter(|body| body.ends_with(&format!("group={group}"))).cloned().collect()
            };
            let rows: Vec<Vec<String>> = got.iter().map(of_group).filter(|row| !row.is_empty()).collect();
            assert_eq!(rows.len(), 1, "one consumer has the group");
            assert!(rows[0].is_sorted() && rows[0].len() == 12, "{rows:?}");
        }
        bed.clear();
    }
}

#[test]
fn duplicates_and_last_values_meet_on_their_shard() {
    let deduplicate = Some(Deduplicate { window: Duration::from_secs(60), max_ids: 100 });
    for mut bed in beds(&with(1, QueueSettings { deduplicate, ..QueueSettings::default() })) {
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, (0..40).map(|number| format!("{number} id={}", number % 10)));
        assert_eq!(depths(&bed).iter().sum::<u64>(), 10);
        bed.clear();
    }
    for mut bed in beds(&with(1, QueueSettings { last_value: true, ..QueueSettings::default() })) {
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, (0..40).map(|number| format!("{number} last={}", number % 10)));
        let consumer = bed.consumer(0, "q", 100);
        let mut bodies = bed.bodies(consumer);
        bodies.sort();
        assert_eq!(
            bodies,
            (30..40).map(|number| format!("{number} last={}", number % 10)).collect::<Vec<_>>()
        );
        bed.clear();
    }
}

#[test]
fn a_drain_is_answered_once_when_every_shard_has_nothing_more() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 0);
        bed.credit(consumer, 5, true);
        assert_eq!((bed.consumers[&consumer].drained, bed.bodies(consumer).len()), (1, 0));
        send_all(&mut bed, producer, numbers(0..7));
        bed.credit(consumer, 5, true);
        assert_eq!((bed.consumers[&consumer].drained, bed.bodies(consumer).len()), (2, 5));
        bed.credit(consumer, 1, true);
        assert_eq!((bed.consumers[&consumer].drained, bed.bodies(consumer).len()), (3, 6));
        bed.credit(consumer, 100, true);
        assert_eq!((bed.consumers[&consumer].drained, bed.bodies(consumer).len()), (4, 7));
        bed.clear();
    }
}

#[test]
fn a_full_shard_is_passed_over_and_one_that_a_group_needs_is_waited_for() {
    let settings = QueueSettings { max_messages: 4, on_full: OnFull::Block, ..QueueSettings::default() };
    for mut bed in beds(&with(1, settings)) {
        let producer = bed.producer(0, "q");
        let mut others = 0;
        // Until the shard of the group is full.
        for number in 0..5 {
            assert!(bed.credit_of(producer) > 0, "the other shards have room");
            send_all(&mut bed, producer, [format!("{number} group=a")]);
        }
        assert!(bed.producers[&producer].stopped, "what belongs to a full shard is not sent elsewhere");
        let full = depths(&bed).iter().position(|depth| *depth == 5).expect("a shard with the group");
        let other = bed.producer(0, "q");
        while bed.credit_of(other) > 0 && !bed.producers[&other].stopped {
            send_all(&mut bed, other, [format!("other {others}")]);
            others += 1;
        }
        assert_eq!(others, 8, "two shards had room for four each");
        assert_eq!(depths(&bed)[full], 5);
        bed.clear();
    }
}

#[test]
fn what_a_consumer_does_with_a_message_happens_at_its_shard() {
    let settings =
        QueueSettings { max_deliveries: 2, dead_letter: Some("dead".into()), ..QueueSettings::default() };
    for mut bed in beds(&with(1, settings)) {
        bed.set("dead", queue(7));
        let producer = bed.producer(0, "q");
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 4);
        send_all(&mut bed, producer, numbers(0..4));
        bed.settle(consumer, 0, Some(Outcome::Accepted), false);
        let updates = &bed.consumers[&consumer].received[0].updates;
        assert_eq!(updates, &[(Some(Outcome::Accepted), true)]);
        bed.settle(consumer, 1, Some(rejected()), true);
        assert_eq!(bed.holds("dead").messages, 1);
        bed.settle(consumer, 2, Some(Outcome::Released), true);
        bed.settle(consumer, 3, Some(Outcome::FAILED), true);
        assert_eq!(depths(&bed).iter().sum::<u64>(), 2);
        bed.credit(consumer, 2, false);
        assert_eq!(bed.bodies(consumer).len(), 6, "what went back comes again");
        let dead = bed.consumer(0, "dead", 1);
        assert!(bed.bodies(dead)[0].contains("!rejected q 0"), "{:?}", bed.bodies(dead));
        bed.clear();
    }
}

#[test]
fn a_transaction_posts_and_retires_on_several_shards_of_a_node() {
    let mut bed = fleet_with(&[3], &limits());
    set_shards(&mut bed, "q", &queue(1), 3);
    let producer = bed.producer(0, "q");
    for commit in [false, true] {
        let transaction = bed.cores[0].declare(bed.now).expect("a transaction");
        for body in numbers(0..6) {
            let incoming = Incoming {
                durable: true,
                transaction: Some(transaction),
                ..bed.incoming(&body, false, false)
            };
            bed.begin(producer, incoming);
        }
        assert_eq!(depths(&bed), [0; 3]);
        bed.cores[0].discharge(bed.now, transaction, !commit).expect("declared");
        bed.run();
        assert_eq!(bed.discharged[&transaction], Ok(()));
    }
    assert_eq!(depths(&bed), [2; 3]);
    bed.clear();
}

#[test]
fn a_selective_consumer_gets_all_of_its_own_with_one_credit_and_no_storm() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        send_all(
            &mut bed,
            producer,
            (0..30).map(|number| format!("{number:02} {}", ["no", "yes"][number / 3 % 2])),
        );
        let filter = Some(std::sync::Arc::new(Contains(b"yes".to_vec())) as std::sync::Arc<dyn Filter>);
        let options = ConsumerOptions { filter, ..ConsumerOptions::default() };
        let consumer = bed.consumer_with(bed.cores.len() - 1, "q", options, 0).expect("let in");
        for index in 0..15 {
            bed.credit(consumer, 1, false);
            bed.accept(consumer, index);
        }
        bed.credit(consumer, 1, false);
        assert_eq!(bed.bodies(consumer).len(), 15);
        send_all(&mut bed, producer, ["late yes".to_owned()]);
        assert_eq!(bed.bodies(consumer).len(), 16);
        let browse = ConsumerOptions { browse: true, ..ConsumerOptions::default() };
        let browser = bed.consumer_with(0, "q", browse, 100).expect("let in");
        bed.credit(browser, 100, true);
        assert_eq!((bed.bodies(browser).len(), bed.consumers[&browser].drained), (15, 1));
        bed.clear();
    }
}

fn alone() -> ConsumerOptions {
    ConsumerOptions { exclusive: true, ..ConsumerOptions::default() }
}

/// Lets a consumer try; gives it when it is let in.
fn let_in(bed: &mut Bed, core: usize, options: ConsumerOptions) -> Option<C> {
    let consumer = bed.consumer_with(core, "q", options, 100).ok()?;
    match bed.consumers[&consumer].closed {
        None => Some(consumer),
        Some(reason) => {
            assert_eq!(reason, CloseReason::Exclusive);
            bed.remove_consumer(consumer);
            None
        }
    }
}

#[test]
fn a_consumer_has_all_shards_for_itself_until_it_leaves() {
    for mut bed in beds(&queue(1)) {
        let last = bed.cores.len() - 1;
        let first = let_in(&mut bed, 0, ConsumerOptions::default()).expect("nobody else is there");
        assert_eq!(let_in(&mut bed, last, alone()), None, "it would not be alone");
        bed.remove_consumer(first);
        let owner = let_in(&mut bed, last, alone()).expect("nobody else is there");
        assert!(bed.consumers[&owner].admitted);
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..9));
        assert_eq!(bed.bodies(owner).len(), 9);
        for options in [alone(), ConsumerOptions::default()] {
            assert_eq!(let_in(&mut bed, 0, options), None);
        }
        let browse = ConsumerOptions { browse: true, ..alone() };
        let browser = let_in(&mut bed, 0, browse).expect("who looks is in nobody's way");
        assert!(bed.consumers[&browser].admitted);
        bed.remove_consumer(owner);
        let next = let_in(&mut bed, 0, ConsumerOptions::default()).expect("the owner has left");
        assert_eq!(bed.bodies(next).len(), 9, "what it had not settled is there again");
        bed.clear();
    }
}

#[test]
fn a_consumer_that_has_all_shards_for_itself_ends_with_the_first_and_does_without_others() {
    let mut bed = fleet_with(&[1, 1, 1], &limits());
    set_shards(&mut bed, "q", &queue(1), 3);
    let homes: Vec<usize> = (0..3).map(|number| bed.home_node(&shard_name("q", number))).collect();
    let owner = let_in(&mut bed, homes[1], alone()).expect("nobody else is there");
    bed.disconnect(homes[1], homes[2]);
    bed.notice(homes[1], homes[2]);
    assert_eq!(bed.consumers[&owner].closed, None);
    bed.connect(homes[1], homes[2]);
    bed.advance(Duration::from_secs(1));
    let producer = bed.producer(homes[2], "q");
    send_all(&mut bed, producer, numbers(0..9));
    assert_eq!(bed.bodies(owner).len(), 9, "it is at all shards again");
    bed.disconnect(homes[1], homes[0]);
    bed.notice(homes[1], homes[0]);
    assert_eq!(bed.consumers[&owner].closed, Some(CloseReason::HomeGone));
    bed.remove_consumer(owner);
    let refused = bed.consumer_with(homes[1], "q", alone(), 1).unwrap_err();
    assert!(matches!(refused, Refused::HomeUnavailable { .. }), "{refused}");
    bed.connect(homes[1], homes[0]);
    bed.clear();
}

#[test]
fn of_consumers_that_come_at_once_one_alone_has_the_queue_or_none_of_those_who_want_that() {
    for_each_seed(0..200, |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bed = fleet_with(&[1, 2, 1], &limits());
        set_shards(&mut bed, "q", &queue(1), 3);
        bed.deliver_mail = false;
        let mut consumers = Vec::new();
        for _ in 0..4 {
            let is_alone = random.bool();
            let options = ConsumerOptions { exclusive: is_alone, ..ConsumerOptions::default() };
            let core = random.usize(..bed.cores.len());
            consumers.extend(bed.consumer_with(core, "q", options, 0).map(|consumer| (consumer, is_alone)));
            for _ in 0..random.u8(..8) {
                let waiting = bed.mail.iter().filter(|(_, mail)| !mail.is_empty());
                let pairs: Vec<_> = waiting.map(|(pair, _)| *pair).collect();
                if !pairs.is_empty() {
                    bed.post_mail(pairs[random.usize(..pairs.len())]);
                }
            }
        }
        bed.deliver_mail = true;
        bed.advance(Duration::from_millis(300));
        bed.advance(Duration::from_millis(300));
        let (open, closed): (Vec<_>, Vec<_>) =
            consumers.into_iter().partition(|(consumer, _)| bed.consumers[consumer].closed.is_none());
        assert!(!open.is_empty(), "the first shard has let somebody in");
        assert!(open.len() == 1 || open.iter().all(|(_, is_alone)| !is_alone), "{open:?}");
        for (consumer, _) in closed {
            assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::Exclusive));
            bed.remove_consumer(consumer);
        }
        for (consumer, _) in &open {
            bed.credit(*consumer, 9, false);
        }
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..9));
        assert_eq!(open.iter().map(|(consumer, _)| bed.bodies(*consumer).len()).sum::<usize>(), 9);
        bed.clear();
    });
}

#[test]
fn a_shard_out_of_reach_takes_nothing_and_the_others_go_on_until_it_is_back() {
    let mut bed = fleet_with(&[1, 1, 1], &limits());
    set_shards(&mut bed, "q", &queue(1), 3);
    let away = (bed.home_node("q") + 1) % 3;
    let here = (0..3).find(|node| *node != away).unwrap();
    let producer = bed.producer(here, "q");
    let consumer = bed.consumer(here, "q", 1);
    bed.disconnect(here, away);
    bed.notice(here, away);
    assert_eq!((bed.consumers[&consumer].closed, bed.producers[&producer].closed), (None, None));
    for index in 0..9 {
        send_all(&mut bed, producer, [format!("{index}")]);
        assert_eq!(bed.bodies(consumer).len(), index + 1);
        bed.accept(consumer, index);
        bed.credit(consumer, 1, false);
    }
    let outcomes: Vec<_> = (0..20)
        .map(|group| {
            let handle = bed.send_durable(producer, &format!("group={group}"));
            bed.credit(consumer, 1, false);
            bed.outcome(producer, handle).expect("an outcome")
        })
        .collect();
    assert!(outcomes.contains(&Outcome::Accepted) && outcomes.contains(&Outcome::Released), "{outcomes:?}");
    bed.connect(here, away);
    bed.advance(Duration::from_millis(300));
    bed.credit(consumer, 100, false);
    let before = bed.bodies(consumer).len();
    send_all(&mut bed, producer, numbers(0..9));
    assert_eq!(bed.bodies(consumer).len(), before + 9);
    let enqueued = bed.holds(&shard_name("q", 1)).enqueued;
    assert!(enqueued >= 3, "the shard that is back takes its share: {enqueued}");
    bed.clear();
}

#[test]
fn links_are_refused_only_when_no_shard_can_be_reached() {
    let mut bed = fleet_with(&[1, 1], &limits());
    for number in 0..2 {
        bed.set_at_home(
            &shard_name("q", number),
            AddressSettings { shards: 2, ..queue(u64::from(number) + 1) },
            1,
        );
    }
    bed.disconnect(0, 1);
    bed.notice(0, 1);
    let options = ConsumerOptions::default();
    let refused = bed.consumer_with(0, "q", options, 1).unwrap_err();
    assert!(matches!(refused, Refused::HomeUnavailable { .. }), "{refused}");
    let target = ProducerTarget::Address("q");
    let refused = bed.try_producer(0, target, ProducerOptions::default()).unwrap_err();
    assert!(matches!(refused, Refused::HomeUnavailable { .. }), "{refused}");
    bed.connect(0, 1);
    bed.clear();
}

#[test]
fn a_queue_gets_more_shards_while_its_links_stay() {
    let mut bed = fleet_with(&[2, 2], &limits());
    set_shards(&mut bed, "q", &queue(1), 2);
    let producer = bed.producer(0, "q");
    let consumer = bed.consumer(3, "q", 100);
    set_shards(&mut bed, "q", &queue(1), 3);
    assert_eq!((bed.consumers[&consumer].closed, bed.producers[&producer].closed), (None, None));
    send_all(&mut bed, producer, numbers(0..9));
    assert_eq!(bed.bodies(consumer).len(), 9);
    assert_eq!(depths(&bed), [3; 3]);
    bed.clear();
}

#[test]
fn a_shard_too_many_is_emptied_into_the_others_while_the_links_stay() {
    for mut bed in beds(&queue(1)) {
        let last = bed.cores.len() - 1;
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..30));
        let consumer = bed.consumer(last, "q", 9);
        let held = bed.bodies(consumer).len();
        resize(&mut bed, "q", &queue(1), 2, 3);
        bed.advance(Duration::from_secs(2));
        assert_eq!((bed.consumers[&consumer].closed, bed.producers[&producer].closed), (None, None));
        assert_eq!(bed.bodies(consumer).len(), held);
        let [first, second, surplus] = depths(&bed)[..] else { unreachable!("three shards") };
        assert_eq!(
            (first + second + surplus, surplus),
            (30, 3),
            "what a consumer has stays until it is settled"
        );
        let statistics = bed.cores[last].consumer(consumer.1).unwrap();
        assert_eq!((statistics.unsettled, bed.cores[last].statistics().consumers), (9, 1));
        accept_all(&mut bed, consumer);
        assert_eq!(depths(&bed)[2], 0);
        bed.credit(consumer, 100, false);
        let bodies = accept_all(&mut bed, consumer);
        assert_eq!(bodies.len(), 30, "nothing comes twice");
        assert_eq!(bodies.into_iter().collect::<BTreeSet<_>>(), numbers(0..30).into_iter().collect());
        send_all(&mut bed, producer, numbers(30..40));
        assert_eq!(bed.bodies(consumer).len(), 40);
        assert_eq!(bed.holds(&shard_name("q", 2)).enqueued, 10, "it gets nothing more");
        resize(&mut bed, "q", &queue(1), 3, 3);
        send_all(&mut bed, producer, numbers(40..70));
        assert!(bed.holds(&shard_name("q", 2)).enqueued >= 20, "it is one of the shards again");
        accept_all(&mut bed, consumer);
        assert_eq!(bed.cores[last].consumer(consumer.1).unwrap().unsettled, 0);
        bed.clear();
    }
}

#[test]
fn what_a_shard_too_many_gives_away_keeps_its_order_by_group_and_its_past() {
    for mut bed in beds(&with(1, QueueSettings { groups: true, ..QueueSettings::default() })) {
        let settings = with(1, QueueSettings { groups: true, ..QueueSettings::default() });
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, (0..60).map(|number| format!("{number:04} group={}", number % 7)));
        assert!(depths(&bed).iter().all(|depth| *depth > 0), "{:?}", depths(&bed));
        let consumer = bed.consumer(0, "q", 60);
        for index in 0..60 {
            bed.settle(consumer, index, Some(Outcome::FAILED), true);
        }
        bed.remove_consumer(consumer);
        resize(&mut bed, "q", &settings, 2, 3);
        bed.advance(Duration::from_secs(2));
        assert_eq!(depths(&bed)[2], 0);
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 100);
        let received = &bed.consumers[&consumer].received;
        assert!(
            received.iter().all(|received| received.redelivery.delivery_count > 0),
            "they have been here"
        );
        let bodies = bed.bodies(consumer);
        assert_eq!(bodies.len(), 60);
        for group in 0..7 {
            let of_group = bodies.iter().filter(|body| body.ends_with(&format!("group={group}")));
            assert!(of_group.is_sorted(), "{bodies:?}");
        }
        bed.clear();
    }
}

#[test]
fn a_queue_with_one_shard_left_has_all_that_the_others_held() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        send_all(&mut bed, producer, numbers(0..30));
        resize(&mut bed, "q", &queue(1), 1, 3);
        assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone), "its links attach anew");
        bed.remove_producer(producer);
        bed.advance(Duration::from_secs(2));
        assert_eq!(depths(&bed), [30, 0, 0]);
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 100);
        assert_eq!(
            bed.bodies(consumer).into_iter().collect::<BTreeSet<_>>(),
            numbers(0..30).into_iter().collect()
        );
        bed.clear();
    }
}

#[test]
fn a_shard_too_many_waits_for_the_homes_of_the_others_and_outlives_a_crash_of_its_own() {
    let mut bed = fleet_with(&[1, 1, 1], &limits());
    set_shards(&mut bed, "q", &queue(1), 3);
    let homes: Vec<usize> = (0..3).map(|number| bed.home_node(&shard_name("q", number))).collect();
    let producer = bed.producer(homes[0], "q");
    send_all(&mut bed, producer, numbers(0..30));
    // Without a key they all go to one and the same.
    bed.disconnect(homes[2], homes[0]);
    bed.notice(homes[2], homes[0]);
    resize(&mut bed, "q", &queue(1), 2, 3);
    bed.advance(Duration::from_secs(5));
    assert_eq!(depths(&bed), [10; 3]);
    bed.deliver_mail = false;
    bed.connect(homes[2], homes[0]);
    bed.advance(Duration::from_secs(1));
    bed.crash(homes[2]);
    bed.deliver_mail = true;
    bed.connect(homes[2], homes[0]);
    bed.connect(homes[2], homes[1]);
    for _ in 0..10 {
        bed.advance(Duration::from_millis(500));
    }
    assert_eq!(depths(&bed), [20, 10, 0]);
    bed.clear();
}

#[test]
fn a_queue_becomes_one_of_several_shards_with_all_that_it_holds() {
    let mut bed = fleet_with(&[2, 2], &limits());
    bed.set("q", queue(1));
    let producer = bed.producer(0, "q");
    send_all(&mut bed, producer, numbers(0..5));
    let before = bed.consumer(1, "q", 0);
    set_shards(&mut bed, "q", &queue(1), 3);
    assert_eq!(bed.producers[&producer].closed, Some(CloseReason::HomeGone), "its links attach anew");
    assert_eq!(bed.consumers[&before].closed, Some(CloseReason::HomeGone));
    bed.remove_producer(producer);
    bed.remove_consumer(before);
    let producer = bed.producer(0, "q");
    send_all(&mut bed, producer, numbers(5..11));
    let consumer = bed.consumer(2, "q", 100);
    let bodies: BTreeSet<String> = accept_all(&mut bed, consumer).into_iter().collect();
    assert_eq!(bodies, numbers(0..11).into_iter().collect());
    bed.clear();
}

#[test]
fn a_removed_queue_closes_its_links_once() {
    for mut bed in beds(&queue(1)) {
        let producer = bed.producer(0, "q");
        let consumer = bed.consumer(bed.cores.len() - 1, "q", 3);
        for number in (0..3).rev() {
            bed.remove(&shard_name("q", number));
        }
        assert_eq!(bed.producers[&producer].closed, Some(CloseReason::AddressDeleted));
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::AddressDeleted));
        bed.clear();
    }
}

#[test]
fn limits_on_links_count_links_and_not_their_parts() {
    let settings = AddressSettings { max_consumers: 1, max_producers: 1, ..queue(1) };
    let mut bed = fleet_with(&[3], &CoreLimits { max_consumers: 1, max_producers: 1, ..limits() });
    set_shards(&mut bed, "q", &settings, 3);
    let producer = bed.producer(0, "q");
    let consumer = bed.consumer(1, "q", 3);
    let other = bed.consumer_with(2, "q", ConsumerOptions::default(), 1);
    let is_refused = match other {
        Ok(other) => bed.consumers[&other].closed == Some(CloseReason::LimitExceeded),
        Err(refused) => refused == Refused::Home(CloseReason::LimitExceeded),
    };
    assert!(is_refused, "a second consumer is one too many");
    send_all(&mut bed, producer, numbers(0..3));
    assert_eq!(bed.bodies(consumer).len(), 3);
    bed.clear();
}
