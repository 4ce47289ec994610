//! Durable subscriptions as sessions use them: many filters, claims, settings of their own.

use std::sync::Arc;

use super::bed::{Bed, C, P, name};
use super::stored::{bed, bed_with, queue};
use crate::*;

pub(crate) fn topic() -> AddressSettings {
    AddressSettings { kind: AddressKind::Topic, id: None, max_undelivered: 5, ..queue(0) }
}

pub(crate) fn filters(all: &[&str]) -> Arc<[Arc<str>]> {
    all.iter().map(|filter| name(filter)).collect()
}

/// A durable subscription with these filters.
pub(crate) fn session(text: &str, all: &[&str]) -> SubscriptionOptions {
    SubscriptionOptions {
        name: name(text),
        durable: true,
        filters: Some(filters(all)),
        ..SubscriptionOptions::default()
    }
}

/// A shared one.
pub(crate) fn share(text: &str, claim: Option<&str>) -> SubscriptionOptions {
    let filter = text.splitn(3, '/').nth(2).expect("$share/group/filter");
    SubscriptionOptions {
        shared: true,
        claim: claim.map(name),
        ends_unused: true,
        ..session(text, &[filter])
    }
}

pub(crate) fn with(subscription: SubscriptionOptions) -> ConsumerOptions {
    ConsumerOptions { subscription: Some(Box::new(subscription)), ..ConsumerOptions::default() }
}

const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

fn with_topic() -> Bed {
    let mut bed = bed(2);
    bed.set("t", topic());
    bed
}

impl Bed {
    pub(crate) fn join(&mut self, shard: usize, subscription: SubscriptionOptions, credit: u32) -> C {
        self.consumer_with(shard, "t", with(subscription), credit).expect("let in")
    }

    fn set_filters(&mut self, consumer: C, all: &[&str]) {
        self.cores[consumer.0].set_filters(self.now, consumer.1, filters(all)).expect("they are filters");
    }

    pub(crate) fn send_durable_to(&mut self, producer: P, to: &str, body: &str) -> u64 {
        let incoming = Incoming { to: Some(to), durable: true, ..self.incoming(body, false, false) };
        self.begin(producer, incoming).0
    }

    fn end(&mut self, shard: usize, subscription: &str, claim: Option<&str>) {
        self.cores[shard].end_durable(self.now, "t", subscription, claim);
        self.run();
    }

    pub(crate) fn session_named(&self, text: &str) -> Option<SubscriptionStatistics> {
        self.cores[self.home_of("t")].subscription("t", text)
    }
}

#[test]
fn a_message_comes_once_however_many_filters_match() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/#", "t/+", "t/a", "t/a"]), 10);
        let producer = bed.anonymous(shards.1);
        bed.send_durable_to(producer, "t/a", "1");
        bed.send_durable_to(producer, "t/a/b", "2");
        bed.send_durable_to(producer, "t", "3");
        assert_eq!(bed.bodies(consumer), ["1", "2", "3"]);
        bed.clear();
    }
}

#[test]
fn other_filters_keep_what_is_there_and_miss_nothing_that_both_match() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/a", "t/b"]), 0);
        let producer = bed.anonymous(shards.1);
        for to in ["t/a", "t/b", "t/c"] {
            bed.send_durable_to(producer, to, to);
        }
        bed.set_filters(consumer, &["t/c", "t/b"]);
        bed.run();
        assert_eq!(bed.consumers[&consumer].refiltered, 1);
        for to in ["t/a", "t/b", "t/c"] {
            bed.send_durable_to(producer, to, &format!("{to} later"));
        }
        bed.credit(consumer, 10, false);
        assert_eq!(bed.bodies(consumer), ["t/a", "t/b", "t/b later", "t/c later"]);
        bed.set_filters(consumer, &[]);
        bed.run();
        bed.send_durable_to(producer, "t/b", "too late");
        assert_eq!(bed.bodies(consumer).len(), 4);
        bed.clear();
    }
}

#[test]
fn filters_that_come_before_the_home_has_answered_are_gone_by_one_after_the_other() {
    for shard in [0, 1] {
        let mut bed = with_topic();
        bed.deliver_mail = false;
        let consumer = bed.join(shard, session("s", &["t/a"]), 10);
        bed.set_filters(consumer, &["t/b"]);
        bed.set_filters(consumer, &["t/c"]);
        bed.deliver_mail = true;
        bed.run();
        assert_eq!(bed.consumers[&consumer].refiltered, 2);
        let producer = bed.anonymous(shard);
        for to in ["t/a", "t/b", "t/c"] {
            bed.send_durable_to(producer, to, to);
        }
        assert_eq!(bed.bodies(consumer), ["t/c"]);
        bed.clear();
    }
}

#[test]
fn new_filters_are_in_the_store_when_anybody_hears_of_them() {
    for shard in [0, 1] {
        let mut bed = with_topic();
        let consumer = bed.join(shard, session("s", &["t/a"]), 0);
        bed.store.held = true;
        bed.set_filters(consumer, &["t/a", "t/b"]);
        bed.run();
        assert_eq!(bed.consumers[&consumer].refiltered, 1);
        let puts = bed.store.requests.iter().filter(|(_, one)| matches!(one, StoreRequest::Put { .. }));
        assert_eq!(puts.count(), 1, "asked for before it is said");
        bed.store.held = false;
        bed.run();
        bed.remove_consumer(consumer);
        let mut bed = bed.restart(&[("t", topic())]);
        let statistics = bed.session_named("s").expect("it is there");
        assert_eq!(statistics.filters, filters(&["t/a", "t/b"]));
        let producer = bed.anonymous(shard);
        bed.send_durable_to(producer, "t/b", "1");
        let consumer = bed.join(shard, session("s", &["t/a", "t/b"]), 10);
        assert_eq!(bed.bodies(consumer), ["1"]);
        bed.clear();
    }
}

#[test]
fn whoever_comes_with_filters_takes_the_subscription_over_as_it_is_wanted() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/a"]), 0);
        let producer = bed.anonymous(shards.1);
        bed.send_durable_to(producer, "t/a", "kept");
        bed.remove_consumer(consumer);
        let wanted = SubscriptionOptions { definition: "new".into(), ..session("s", &["t/b"]) };
        let consumer = bed.join(shards.1, wanted, 10);
        bed.send_durable_to(producer, "t/a", "new a");
        bed.send_durable_to(producer, "t/b", "new b");
        assert_eq!(bed.bodies(consumer), ["kept", "new b"]);
        let other = bed.consumer_with(shards.0, "t", with(session("s", &["t/b"])), 0);
        let is_open = other.is_ok_and(|other| bed.consumers[&other].closed.is_none());
        assert!(!is_open, "somebody has it");
        bed.clear();
    }
}

#[test]
fn a_subscription_has_its_number_of_filters() {
    let mut bed = bed_with(1, CoreLimits { max_filters: 2, ..CoreLimits::default() });
    bed.set("t", topic());
    let refused = bed.consumer_with(0, "t", with(session("s", &["t/1", "t/2", "t/3"])), 0);
    assert!(matches!(refused, Err(Refused::LimitExceeded { links: "filters", limit: 2, .. })));
    let consumer = bed.join(0, session("s", &["t/1", "t/2"]), 0);
    let (core, now) = (&mut bed.cores[0], bed.now);
    let refused = core.set_filters(now, consumer.1, filters(&["t/1", "t/2", "t/3"]));
    assert!(matches!(refused, Err(Refused::LimitExceeded { .. })));
    let refused = core.set_filters(now, consumer.1, filters(&["t/#/x"]));
    assert!(matches!(refused, Err(Refused::BadName { .. })));
    bed.run();
    assert_eq!(bed.consumers[&consumer].refiltered, 0);
    assert_eq!(bed.session_named("s").expect("there").filters, filters(&["t/1", "t/2"]));
    bed.clear();
}

#[test]
fn one_that_takes_durable_messages_only_gets_no_others() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let wanted = SubscriptionOptions { durable_only: true, ..session("s", &["t/#"]) };
        let consumer = bed.join(shards.0, wanted, 10);
        let producer = bed.anonymous(shards.1);
        bed.begin(producer, Incoming { to: Some("t/a"), ..bed.incoming("volatile", false, false) });
        bed.send_durable_to(producer, "t/a", "durable");
        assert_eq!(bed.bodies(consumer), ["durable"]);
        bed.clear();
    }
}

#[test]
fn settings_of_its_own_bound_a_subscription_and_stay_when_the_topic_changes() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let settings =
            QueueSettings { max_messages: 2, on_full: OnFull::DropOldest, ..QueueSettings::default() };
        let wanted = SubscriptionOptions { settings: Some(Arc::new(settings)), ..session("s", &["t/#"]) };
        let consumer = bed.join(shards.0, wanted, 0);
        bed.set("t", AddressSettings { link_credit: 9, ..topic() });
        let producer = bed.anonymous(shards.1);
        for body in ["1", "2", "3"] {
            bed.send_durable_to(producer, "t/a", body);
        }
        let statistics = bed.session_named("s").expect("there");
        assert_eq!((statistics.queue.messages, statistics.queue.bytes), (2, 2 * "1 @t/a".len() as u64));
        bed.credit(consumer, 10, false);
        assert_eq!(bed.bodies(consumer), ["2 @t/a", "3 @t/a"]);
        bed.clear();
    }
}

#[test]
fn a_shared_one_ends_when_nobody_consumes_and_nobody_claims() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let own = "$share/g/t/#";
        let lasting = bed.join(shards.0, share(own, Some("one")), 0);
        let passing = bed.join(shards.1, share(own, None), 0);
        assert_eq!(bed.session_named(own).expect("there").claims, 1);
        bed.remove_consumer(lasting);
        bed.remove_consumer(passing);
        assert!(bed.session_named(own).is_some(), "it is claimed");
        let passing = bed.join(shards.1, share(own, None), 0);
        bed.end(shards.1, own, Some("one"));
        assert!(bed.session_named(own).is_some(), "somebody consumes");
        bed.end(shards.0, own, Some("nobody"));
        bed.remove_consumer(passing);
        assert!(bed.session_named(own).is_none());
        assert!(bed.store.objects.is_empty(), "{:?}", bed.store.objects);
        bed.clear();
    }
}

#[test]
fn claims_survive_a_restart_and_what_nobody_claims_does_not() {
    for shard in [0, 1] {
        let mut bed = with_topic();
        let claimed = bed.join(shard, share("$share/g/t/a", Some("one")), 0);
        bed.join(shard, share("$share/g/t/b", None), 0);
        bed.join(shard, session("plain", &["t/c"]), 0);
        let producer = bed.anonymous(shard);
        for to in ["t/a", "t/b", "t/c"] {
            bed.send_durable_to(producer, to, to);
        }
        bed.remove_consumer(claimed);
        let mut bed = bed.restart(&[("t", topic())]);
        let found = bed.cores[bed.home_of("t")].durable_subscriptions();
        let found: Vec<_> = found.iter().map(|one| (&*one.name, one.claims.clone())).collect();
        assert_eq!(found, [("$share/g/t/a", vec![name("one")]), ("plain", Vec::new())]);
        assert_eq!(bed.store.messages.len(), 2);
        bed.end(1 - shard, "$share/g/t/a", Some("one"));
        bed.end(1 - shard, "plain", None);
        assert!(bed.store.objects.is_empty() && bed.store.messages.is_empty());
        bed.clear();
    }
}

#[test]
fn an_end_reaches_a_subscription_from_any_shard_whoever_consumes_from_it() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/#"]), 0);
        bed.end(shards.1, "s", None);
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::Unsubscribed));
        assert!(bed.session_named("s").is_none() && bed.store.objects.is_empty());
        bed.end(shards.1, "s", None);
        bed.cores[shards.0].end_durable(bed.now, "nowhere", "s", None);
        bed.run();
        bed.clear();
    }
}

#[test]
fn a_record_that_cannot_be_written_anew_closes_the_consumer_and_loses_nothing() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/a"]), 0);
        let producer = bed.anonymous(shards.1);
        bed.send_durable_to(producer, "t/a", "kept");
        bed.store.fails = true;
        bed.set_filters(consumer, &["t/a", "t/b"]);
        bed.run();
        assert_eq!(bed.consumers[&consumer].closed, Some(CloseReason::StoreFailed));
        bed.remove_consumer(consumer);
        bed.store.fails = false;
        let consumer = bed.join(shards.1, session("s", &["t/a", "t/b"]), 10);
        assert_eq!(bed.bodies(consumer), ["kept"]);
        let bed = bed.restart(&[("t", topic())]);
        assert_eq!(bed.session_named("s").expect("there").filters, filters(&["t/a", "t/b"]));
    }
}

#[test]
fn what_the_store_calls_a_message_is_known_where_its_consumer_is() {
    for shards in SHARDS {
        let mut bed = with_topic();
        let consumer = bed.join(shards.0, session("s", &["t/#"]), 10);
        let producer = bed.anonymous(shards.1);
        bed.send_durable_to(producer, "t/a", "durable");
        bed.begin(producer, Incoming { to: Some("t/a"), ..bed.incoming("volatile", false, false) });
        let legs: Vec<LegKey> =
            bed.consumers[&consumer].received.iter().filter_map(|received| received.leg).collect();
        let reference = *bed.store.messages.keys().next().expect("one");
        assert_eq!(bed.cores[consumer.0].reference_of(legs[0]), Some(reference));
        assert_eq!(bed.cores[consumer.0].reference_of(legs[1]), None);
        bed.accept(consumer, 0);
        assert_eq!(bed.cores[consumer.0].reference_of(legs[0]), None);
        bed.clear();
    }
}

#[test]
fn the_topics_of_a_filter_are_those_that_may_serve_what_it_matches() {
    let mut bed = bed(2);
    let addresses = ["#", "a", "a/b", "a/b/c", "b/c", "$t", "q"];
    for address in addresses {
        bed.set(address, topic());
    }
    bed.set("a/queue", queue(1));
    let topics = |filter: &str| {
        let of: Vec<Vec<Arc<str>>> = bed.cores.iter().map(|core| core.topics_of(filter)).collect();
        assert_eq!(of[0], of[1]);
        of[0].iter().map(|topic| topic.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (filter, expected) in [
        ("#", "# a a/b a/b/c b/c q"),
        ("+", "# a q"),
        ("+/+", "# a a/b b/c q"),
        ("a", "a"),
        ("a/x", "a"),
        ("a/b/c/d", "a/b/c"),
        ("a/#", "a a/b a/b/c"),
        ("a/b/#", "a/b a/b/c"),
        ("a/b/+", "a/b a/b/c"),
        ("a/+/d", "a a/b"),
        ("a/+/c/#", "a a/b a/b/c"),
        ("b/#", "# b/c"),
        ("/+", "#"),
        ("$t/#", "$t"),
        ("$x/#", "#"),
        ("a/queue", ""),
        ("q/+", "q"),
        ("a/#/x", ""),
    ] {
        assert_eq!(topics(filter), expected, "{filter}");
    }
    bed.remove("a");
    assert_eq!(bed.cores[0].topics_of("a/+").iter().map(|topic| &**topic).collect::<Vec<_>>(), ["#", "a/b"]);
}

#[test]
fn what_serves_a_name_and_what_a_filter_reaches_stays_in_its_space() {
    let mut bed = bed(2);
    for address in ["#", "a", "b/c", "$s/acme/#", "$s/acme/a/b", "$s/acme/$x", "$s/dry/a", "$s/dry/a/b"] {
        bed.set(address, topic());
    }
    let core = &bed.cores[0];
    let serves = |name: &str| {
        let key = core.resolve_name(name).ok()?;
        core.addresses.get(key).map(|address| address.name.to_string())
    };
    for (name, expected) in [
        ("a/b", Some("a")),
        ("x", Some("#")),
        ("$s", None),
        ("$s/acme", None),
        ("$s/other/a", None),
        ("$s//$s/acme/a", None),
        ("$s/acme/a", Some("$s/acme/#")),
        ("$s/acme/a/b/c", Some("$s/acme/a/b")),
        ("$s/acme/b/c", Some("$s/acme/#")),
        ("$s/acme/$x/y", Some("$s/acme/$x")),
        ("$s/acme/$temp.n", None),
        ("$s/dry/a/x", Some("$s/dry/a")),
        ("$s/dry/x", None),
        ("$s/dry/b/c", None),
    ] {
        assert_eq!(serves(name).as_deref(), expected, "{name}");
    }
    let topics = |filter: &str| {
        core.topics_of(filter).iter().map(|topic| topic.to_string()).collect::<Vec<_>>().join(" ")
    };
    for (filter, expected) in [
        ("#", "# a b/c"),
        ("+", "# a"),
        ("+/acme/#", "# a"),
        ("$s/#", ""),
        ("$s/+/a", ""),
        ("$s/acme/#", "$s/acme/# $s/acme/a/b"),
        ("$s/acme/+/b", "$s/acme/# $s/acme/a/b"),
        ("$s/acme/a/b/+", "$s/acme/a/b"),
        ("$s/acme/$x/#", "$s/acme/$x"),
        ("$s/dry/#", "$s/dry/a $s/dry/a/b"),
        ("$s/dry/x/+", ""),
        ("$s/acm/#", ""),
    ] {
        assert_eq!(topics(filter), expected, "{filter}");
    }
}

/// What `topics_of` says, checked with every name of a small world.
#[test]
fn no_topic_that_serves_a_name_is_missing_for_a_filter_that_matches_it() {
    let mut random = fastrand::Rng::with_seed(3);
    let levels = ["a", "b", "$a"];
    let names: Vec<String> = (1..4_u32)
        .flat_map(|depth| (0..3_usize.pow(depth)).map(move |number| (depth, number)))
        .map(|(depth, number)| {
            let level = |at| levels[number / 3_usize.pow(at) % 3];
            (0..depth).map(level).collect::<Vec<_>>().join("/")
        })
        .collect();
    for _ in 0..100 {
        let mut bed = bed(1);
        for name in &names {
            if random.u8(..8) == 0 {
                bed.set(name, if random.bool() { topic() } else { queue(random.u64(1..1 << 40)) });
            }
        }
        if random.bool() {
            bed.set("#", topic());
        }
        for _ in 0..40 {
            let wild = |random: &mut fastrand::Rng| ["a", "b", "$a", "+", "+"][random.usize(..5)];
            let mut filter: Vec<&str> = (0..random.usize(1..4)).map(|_| wild(&mut random)).collect();
            if random.bool() {
                filter.push("#");
            }
            let filter = filter.join("/");
            let found = bed.cores[0].topics_of(&filter);
            for name in names.iter().filter(|name| topic::matches(&filter, name)) {
                if bed.cores[0].kind(name) == Some(AddressKind::Topic) {
                    let key = bed.cores[0].resolve_name(name).expect("it has a kind");
                    let serves = bed.cores[0].addresses.get(key).expect("resolved").name.clone();
                    assert!(found.contains(&serves), "{name} of {filter}: {found:?}");
                }
            }
        }
    }
}

#[test]
fn annotations_of_modified_outcomes_survive_a_restart() {
    for shards in SHARDS {
        let mut bed = bed(2);
        bed.set("q", queue(1));
        let producer = bed.producer(shards.0, "q");
        let consumer = bed.consumer(shards.1, "q", 2);
        bed.send_durable(producer, "few");
        bed.send_durable(producer, "many");
        for (index, annotations) in ["x".to_owned(), "y".repeat(5_000)].into_iter().enumerate() {
            let note = Outcome::Modified {
                delivery_failed: true,
                undeliverable_here: false,
                annotations: Some(annotations.into()),
            };
            bed.settle(consumer, index, Some(note), true);
        }
        let mut bed = bed.restart(&[("q", queue(1))]);
        let consumer = bed.consumer(shards.1, "q", 2);
        let received = &bed.consumers[&consumer].received;
        assert_eq!(received[0].redelivery.annotations.as_deref(), Some(&b"x"[..]));
        assert_eq!(received[1].redelivery.annotations, None, "they are bounded");
        assert!(received.iter().all(|received| received.redelivery.delivery_count == 1));
        bed.clear();
    }
}
