//! Live subscribers, on one shard and over several.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::bed::{Bed, P, name};
use super::stored::{bed, queue};
use crate::core::Core;
use crate::*;

/// A live message as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) body: String,
    /// Which of its subscriptions matched.
    pub(crate) indexes: Vec<u32>,
}

/// What clients with live subscriptions have got, by shard and token.
#[derive(Debug, Default)]
pub(crate) struct LiveBed {
    pub(crate) heard: BTreeMap<(usize, u64), Vec<Heard>>,
    /// What came from other shards and from homes.
    pub(crate) messages: Vec<LiveMessage>,
    /// How often the cores have said that there is room again.
    pub(crate) rooms: u32,
}

impl LiveBed {
    /// Gives a message to the subscribers that its route names; says to how many.
    fn hand_out(&mut self, shard: usize, route: &Route, body: &[u8]) -> u32 {
        let mut copies = 0;
        for of_token in route.local.chunk_by(|one, other| one.token == other.token) {
            copies += 1;
            let body = String::from_utf8_lossy(body).into_owned();
            let indexes = of_token.iter().map(|subscriber| subscriber.index).collect();
            self.heard.entry((shard, of_token[0].token)).or_default().push(Heard { body, indexes });
        }
        copies
    }

    /// Takes a message that the core of a shard has for its live subscribers.
    pub(crate) fn receive(&mut self, shard: usize, core: &mut Core, message: LiveMessage) {
        let name = message.name.clone().expect("its name is not in an envelope here");
        let route = core.route(&name);
        let copies = self.hand_out(shard, &route, &message.body);
        core.count_live(&route, copies);
        self.messages.push(message);
    }
}

fn subscriber(token: u64, index: u32) -> Subscriber {
    Subscriber { token, index }
}

fn live_message(text: &str, body: &str) -> LiveMessage {
    LiveMessage {
        name: Some(name(text)),
        message_format: 7,
        body: Bytes::copy_from_slice(body.as_bytes()),
        durable: false,
        kept: false,
        retain: false,
        ttl: None,
        origin: 0,
    }
}

impl Bed {
    fn add_live(&mut self, shard: usize, filter: &str, token: u64, index: u32) -> bool {
        let is_new = self.cores[shard].add_live(filter, subscriber(token, index)).expect("a filter");
        self.run();
        is_new
    }

    fn remove_live(&mut self, shard: usize, filter: &str, token: u64, index: u32) -> bool {
        let was_there = self.cores[shard].remove_live(filter, subscriber(token, index));
        self.run();
        was_there
    }

    /// Publishes as a driver does whose clients are live subscribers themselves.
    fn publish(&mut self, shard: usize, text: &str, body: &str) {
        let message = live_message(text, body);
        let core = &mut self.cores[shard];
        let route = core.route(text);
        let copies = self.live.hand_out(shard, &route, &message.body);
        core.publish_live(&route, copies, Some(&message));
        self.run();
    }

    fn heard(&self, shard: usize, token: u64) -> Vec<&str> {
        let heard = self.live.heard.get(&(shard, token)).map(Vec::as_slice).unwrap_or_default();
        heard.iter().map(|heard| heard.body.as_str()).collect()
    }

    /// Publishes as a producer that knows nothing of live subscribers.
    fn send_to(&mut self, producer: P, to: &str, body: &str, durable: bool) -> Option<Outcome> {
        let (handle, _) = self.send_with(producer, to, body, |incoming| incoming.durable = durable);
        self.outcome(producer, handle)
    }

    fn send_with(
        &mut self,
        producer: P,
        to: &str,
        body: &str,
        change: impl FnOnce(&mut Incoming<'_>),
    ) -> (u64, Option<DeliveryKey>) {
        let mut incoming = Incoming { to: Some(to), ..self.incoming(body, false, false) };
        change(&mut incoming);
        self.begin(producer, incoming)
    }
}

fn topic() -> AddressSettings {
    AddressSettings { kind: AddressKind::Topic, id: None, ..queue(0) }
}

fn with_topic(shards: u16) -> Bed {
    let mut bed = bed(shards);
    bed.set("t", topic());
    bed
}

const SHARDS: [(usize, usize); 4] = [(0, 0), (1, 1), (0, 1), (1, 0)];

#[test]
fn a_live_subscriber_gets_each_message_once_with_all_its_subscriptions_that_match() {
    for (publisher, reader) in SHARDS {
        let mut bed = with_topic(2);
        for (index, filter) in ["t/+", "t/a", "t/#", "t/b", "+/a"].into_iter().enumerate() {
            assert!(bed.add_live(reader, filter, 7, index as u32));
            assert!(!bed.add_live(reader, filter, 7, index as u32), "it has it already");
        }
        assert!(bed.add_live(reader, "t/a", 8, 0));
        bed.publish(publisher, "t/a", "one");
        let heard = Heard { body: "one".into(), indexes: vec![0, 1, 2, 4] };
        assert_eq!(bed.live.heard[&(reader, 7)], [heard]);
        assert_eq!(bed.heard(reader, 8), ["one"]);
        assert_eq!(bed.live.messages.len(), usize::from(publisher != reader));
        assert!(bed.remove_live(reader, "t/a", 8, 0) && !bed.remove_live(reader, "t/a", 8, 0));
        bed.publish(publisher, "t/a", "two");
        assert_eq!(bed.heard(reader, 8), ["one"]);
        assert_eq!(bed.heard(reader, 7), ["one", "two"]);
        bed.clear();
    }
}

#[test]
fn a_message_goes_once_to_each_other_shard_that_has_subscribers_and_to_no_other() {
    let mut bed = with_topic(4);
    for (shard, filter) in [(1, "t/a"), (1, "t/#"), (2, "t/b"), (3, "+/a")] {
        for token in 0..10 {
            bed.add_live(shard, filter, token, 0);
        }
    }
    let route = bed.cores[0].route("t/a");
    assert_eq!((&*route.local, &*route.shards), (&[][..], &[ShardId(1), ShardId(3)][..]));
    bed.publish(0, "t/a", "one");
    assert_eq!(bed.live.messages.len(), 2);
    for token in 0..10 {
        bed.remove_live(1, "t/a", token, 0);
        bed.remove_live(3, "+/a", token, 0);
        let shards = &*bed.cores[0].route("t/a").shards.to_vec();
        let expected: &[_] = if token < 9 { &[ShardId(1), ShardId(3)] } else { &[ShardId(1)] };
        assert_eq!(shards, expected, "the last one counts");
    }
    bed.clear();
}

#[test]
fn only_topics_have_live_subscribers() {
    let mut bed = with_topic(2);
    bed.set("t/q", queue(9));
    bed.set("t/a", AddressSettings::default());
    for filter in ["t/q", "t/#", "#", "t/a", "u"] {
        bed.add_live(1, filter, 7, 0);
    }
    for (text, kind, shards) in [
        ("t/q", Some(AddressKind::Queue), 0),
        ("t/a", Some(AddressKind::Anycast), 0),
        ("t/b", Some(AddressKind::Topic), 1),
        ("u", None, 0),
    ] {
        let route = bed.cores[0].route(text);
        assert_eq!((route.kind, route.shards.len()), (kind, shards), "{text}");
    }
    bed.set("#", topic());
    assert_eq!(bed.cores[0].route("u").shards.len(), 1);
    bed.remove("t/q");
    assert_eq!(bed.cores[0].route("t/q").kind, Some(AddressKind::Topic));
    bed.clear();
}

#[test]
fn what_producers_send_to_a_topic_reaches_live_subscribers_on_every_shard_once() {
    for home in [0, 1] {
        let mut bed = bed(2);
        let text = ["t", "u", "v", "w"].into_iter().find(|text| bed.home_of(text) == home).expect("one");
        bed.set(text, topic());
        let stored = bed.consumer(0, &format!("{text}/#"), 10);
        for shard in [0, 1] {
            bed.add_live(shard, &format!("{text}/+"), 7, 0);
            bed.add_live(shard, &format!("{text}/x"), 7, 1);
        }
        let to = format!("{text}/x");
        let mut expected = Vec::new();
        for shard in [0, 1] {
            let producer = bed.producer(shard, &to);
            for durable in [false, true] {
                let body = format!("{shard} {durable}");
                let incoming = Incoming { durable, ..bed.incoming(&body, false, false) };
                let (handle, _) = bed.begin(producer, incoming);
                assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
                expected.push(body);
            }
            // In chunks: whole when it is there.
            let (handle, delivery) = bed.begin(producer, bed.incoming("a", false, true));
            bed.append(producer, delivery.expect("it goes on"), "b", false);
            assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
            expected.push("ab".into());
        }
        for shard in [0, 1] {
            assert_eq!(bed.heard(shard, 7), expected);
            let all = &bed.live.heard[&(shard, 7)];
            assert!(all.iter().all(|heard| heard.indexes == [0, 1]));
        }
        assert!(bed.live.messages.iter().all(|message| message.name.as_deref() == Some(&to)));
        assert_eq!(bed.bodies(stored), expected, "and it is stored");
        let message = bed.live.messages.iter().find(|message| message.durable).expect("a durable one");
        assert_eq!((message.message_format, message.retain, message.ttl), (0, false, None));
        bed.clear();
    }
}

#[test]
fn a_routed_message_goes_where_it_is_kept_and_nowhere_else_and_is_counted_once() {
    for shard in [0, 1] {
        let mut bed = with_topic(2);
        let stored = bed.consumer(0, "t/#", 10);
        bed.add_live(0, "t/#", 7, 0);
        bed.add_live(1, "t/#", 7, 0);
        let producer = bed.anonymous(shard);
        bed.publish(shard, "t/a", "one");
        let (handle, _) = bed.send_with(producer, "t/a", "one", |incoming| incoming.routed = true);
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        for shard in [0, 1] {
            assert_eq!(bed.heard(shard, 7), ["one"]);
        }
        assert_eq!(bed.bodies(stored), ["one"]);
        let statistics: Vec<Statistics> = bed.cores.iter().map(Core::statistics).collect();
        assert_eq!(statistics.iter().map(|one| one.deliveries_in).sum::<u64>(), 1);
        assert_eq!(statistics.iter().map(|one| one.deliveries_out).sum::<u64>(), 3);
        bed.clear();
    }
}

#[test]
fn a_message_names_who_published_it_and_says_whether_it_is_retained() {
    let mut bed = with_topic(2);
    bed.add_live(1, "t", 7, 0);
    let producer = bed.anonymous(0);
    for (retain, origin) in [(Retain::No, None), (Retain::Keep, Some(5)), (Retain::Clear, Some(6))] {
        bed.send_with(producer, "t", "x", |incoming| {
            incoming.retain = retain;
            incoming.origin = origin;
        });
    }
    let seen: Vec<_> = bed.live.messages.iter().map(|message| (message.retain, message.origin)).collect();
    assert_eq!(seen, [(false, 0), (true, 5), (true, 6)]);
    bed.clear();
}

#[test]
fn dead_letters_and_moved_messages_reach_live_subscribers_by_the_name_they_go_to() {
    for shard in [0, 1] {
        let mut bed = with_topic(2);
        let mut settings = queue(9);
        let policy = QueueSettings { dead_letter: Some(name("t/dead")), ..QueueSettings::default() };
        settings.queue = Some(policy.into());
        bed.set("q", settings);
        bed.add_live(shard, "t/#", 7, 0);
        let producer = bed.producer(0, "q");
        bed.send(producer, "dead");
        let consumer = bed.consumer(0, "q", 1);
        bed.settle(consumer, 0, Some(super::bed::rejected()), true);
        assert!(bed.heard(shard, 7)[0].starts_with("dead !rejected q"), "as its reader gets it");
        bed.send(producer, "moved");
        let home = bed.home_of("q");
        assert_eq!(bed.cores[home].move_messages(bed.now, "q", "t/moved", 0), Ok(1));
        bed.run();
        assert_eq!(bed.heard(shard, 7)[1..], ["moved"]);
        let names = bed.live.messages.iter().map(|message| message.name.clone().expect("a name"));
        assert_eq!(names.collect::<Vec<_>>(), [name("t/dead"), name("t/moved")]);
        bed.clear();
    }
}

#[test]
fn what_is_published_in_a_transaction_reaches_live_subscribers_when_it_is_committed() {
    for (declarer, reader) in SHARDS {
        let mut bed = with_topic(2);
        bed.set("u", topic());
        bed.add_live(reader, "#", 7, 0);
        let stored = bed.consumer(0, "t", 10);
        let producer = bed.anonymous(declarer);
        for (fail, bodies) in [(true, vec![]), (false, vec!["1", "2"])] {
            let id = bed.cores[declarer].declare(bed.now).expect("room for it");
            for (to, body, routed) in [("t", "1", false), ("u", "2", false), ("t", "3", true)] {
                bed.send_with(producer, to, body, |incoming| {
                    incoming.transaction = Some(id);
                    incoming.routed = routed;
                    incoming.durable = true;
                });
            }
            assert_eq!(bed.heard(reader, 7), Vec::<&str>::new(), "not before the end");
            bed.cores[declarer].discharge(bed.now, id, fail).expect("open");
            bed.run();
            assert_eq!(bed.discharged[&id], Ok(()));
            let mut heard = bed.heard(reader, 7);
            heard.sort_unstable();
            assert_eq!(heard, bodies, "of two homes in any order");
        }
        assert_eq!(bed.bodies(stored), ["1", "3"]);
        bed.clear();
    }
}

#[test]
fn live_subscribers_get_what_is_left_of_the_time_to_live_and_nothing_before_its_time() {
    let mut bed = with_topic(2);
    let minute = Duration::from_secs(60);
    bed.set("t", AddressSettings { ttl_max: Some(minute), ..topic() });
    bed.add_live(1, "t", 7, 0);
    bed.add_live(0, "t", 7, 0);
    let producer = bed.anonymous(0);
    let day = Duration::from_secs(86_400);
    bed.send_with(producer, "t", "x", |incoming| incoming.ttl = Some(day));
    bed.send_with(producer, "t", "late", |incoming| incoming.ttl = Some(Duration::ZERO));
    bed.send_with(producer, "t", "early", |incoming| incoming.not_before = Some(UnixMillis(u64::MAX)));
    assert_eq!((bed.heard(0, 7), bed.heard(1, 7)), (vec!["x"], vec!["x"]));
    assert!(bed.live.messages.iter().all(|message| message.ttl == Some(minute)));
    let route = bed.cores[0].route("t");
    assert_eq!((route.time_to_live(Some(day)), route.time_to_live(None)), (Some(minute), None));
    bed.clear();
}

#[test]
fn a_route_says_what_stored_subscriptions_want() {
    for shard in [0, 1] {
        let mut bed = with_topic(3);
        let said = |bed: &mut Bed, text: &str| {
            let routes = bed.cores.iter_mut().map(|core| {
                let route = core.route(text);
                (route.is_stored, route.is_stored_volatile)
            });
            let said: BTreeSet<_> = routes.collect();
            assert_eq!(said.len(), 1, "every shard says the same of {text}");
            said.first().copied().expect("one")
        };
        assert_eq!(said(&mut bed, "t/a"), (false, false));
        let volatile = bed.consumer(shard, "t/a", 1);
        let lane = bed.lane(shard, usize::MAX);
        let subscription = SubscriptionOptions {
            name: name("lasting"),
            durable: true,
            durable_only: true,
            filters: Some([name("t/+"), name("t/b/#")].into()),
            ..SubscriptionOptions::default()
        };
        let options =
            ConsumerOptions { subscription: Some(Box::new(subscription)), ..ConsumerOptions::default() };
        let durable = bed.consumer_in(shard, lane, "t", options.clone(), 1).expect("let in");
        for (text, expected) in [
            ("t/a", (true, true)),
            ("t/c", (true, false)),
            ("t/b/c", (true, false)),
            ("t", (false, false)),
            ("u", (false, false)),
        ] {
            assert_eq!(said(&mut bed, text), expected, "{text}");
        }
        bed.remove_consumer(volatile);
        assert_eq!(said(&mut bed, "t/a"), (true, false));
        bed.remove_consumer(durable);
        assert_eq!(said(&mut bed, "t/a"), (true, false), "it goes on without a consumer");
        let mut everything = options;
        everything.subscription.as_mut().expect("one").durable_only = false;
        let durable = bed.consumer_in(shard, lane, "t", everything, 1).expect("let in");
        assert_eq!(said(&mut bed, "t/a"), (true, true), "it wants more now");
        bed.remove("t");
        assert_eq!(said(&mut bed, "t/a"), (false, false));
        bed.set("t", topic());
        assert_eq!(said(&mut bed, "t/a"), (false, false));
        bed.consumers.remove(&durable);
    }
}

#[test]
fn a_shard_that_does_not_take_its_messages_stops_publishers_until_it_does() {
    let mut bed = with_topic(3);
    bed.add_live(1, "t/#", 7, 0);
    bed.add_live(2, "t/#", 7, 0);
    let home = bed.home_of("t");
    let producer = bed.producer(home, "t");
    bed.deliver_mail = false;
    let body = "x".repeat(64 << 10);
    let mut sent = 0;
    while bed.cores[home].has_live_room() {
        bed.publish(home, "t/a", &body);
        sent += 1;
        assert!(sent < 100, "there is an end");
    }
    assert!(sent * (body.len() + 256) >= LIVE_WINDOW as usize);
    assert!(bed.producers[&producer].stopped, "a topic stops its producers, too");
    // What is published nevertheless is kept up to a limit, and then dropped and counted.
    for _ in 0..20 * sent {
        bed.publish(home, "t/a", &body);
    }
    let queued: usize = bed.mail.values().map(|mail| mail.len()).sum();
    assert!(queued < 2 * 17 * sent, "{queued}");
    assert!(bed.cores[home].statistics().dropped > 0);
    assert_eq!(bed.live.rooms, 0);
    bed.deliver_mail = true;
    bed.run();
    assert_eq!(bed.live.rooms, 1);
    let elsewhere: Vec<usize> = [1, 2].into_iter().filter(|shard| *shard != home).collect();
    for shard in elsewhere {
        assert!(bed.heard(shard, 7).len() >= 15 * sent);
    }
    assert!(bed.cores[home].has_live_room());
    bed.cores[home].producer_stopped(bed.now, producer.1);
    bed.producers.get_mut(&producer).expect("known").stopped = false;
    bed.run();
    assert!(bed.credit_of(producer) > 0);
    bed.clear();
}

#[test]
fn a_producer_that_no_topic_can_stop_hears_of_its_messages_when_live_subscribers_have_room() {
    for shard in [0, 1] {
        let mut bed = with_topic(2);
        let home = bed.home_of("t");
        bed.add_live(1 - home, "t", 7, 0);
        let producer = bed.anonymous(shard);
        bed.publish(home, "t", "first");
        bed.deliver_mail = false;
        bed.publish(home, "t", &"x".repeat(LIVE_WINDOW as usize));
        let (handle, _) = bed.send_with(producer, "t", "last", |_| {});
        if shard != home {
            bed.post_mail((shard, home));
            // The messages, and no answer.
            while bed.mail.get(&(home, shard)).is_some_and(|mail| !mail.is_empty()) {
                bed.post_mail((home, shard));
            }
        }
        assert_eq!(bed.outcome(producer, handle), None, "nothing stands between it and the other shard");
        bed.deliver_mail = true;
        bed.run();
        assert_eq!(bed.outcome(producer, handle), Some(Outcome::Accepted));
        assert_eq!(bed.heard(1 - home, 7).last(), Some(&"last"));
        bed.clear();
    }
}

#[test]
fn a_live_subscription_beyond_the_limit_and_a_wrong_filter_are_refused() {
    let limits = CoreLimits { max_live_subscriptions: 2, ..CoreLimits::default() };
    let mut core = Core::new(ShardId(0), 1, limits);
    for filter in ["", "a/#/b", "a+", "a\0"] {
        assert!(matches!(core.add_live(filter, subscriber(1, 0)), Err(Refused::BadName { .. })), "{filter}");
    }
    assert_eq!(core.add_live("a", subscriber(1, 0)), Ok(true));
    assert_eq!(core.add_live("b", subscriber(1, 1)), Ok(true));
    let refused = core.add_live("c", subscriber(1, 2));
    assert!(matches!(refused, Err(Refused::LimitExceeded { limit: 2, .. })));
    assert!(core.remove_live("a", subscriber(1, 0)));
    assert_eq!(core.live_subscriptions(), 1);
    assert_eq!(core.add_live("c", subscriber(1, 2)), Ok(true));
    assert!(core.poll_effect().is_none(), "one shard has nobody to tell");
}

#[test]
fn a_route_that_still_holds_is_not_made_again() {
    let mut bed = with_topic(2);
    bed.add_live(0, "t/a/#", 7, 0);
    let is_kept = |bed: &mut Bed, text: &str, change: &mut dyn FnMut(&mut Bed)| {
        let before = bed.cores[0].route(text);
        change(bed);
        std::sync::Arc::ptr_eq(&before, &bed.cores[0].route(text))
    };
    assert!(is_kept(&mut bed, "t/a/b", &mut |_| {}));
    // A thousand clients connect, each with filters of its own.
    for client in 0..1_000 {
        let kept = is_kept(&mut bed, "t/a/b", &mut |bed| {
            bed.add_live(client % 2, &format!("t/clients/{client}/#"), client as u64, 0);
            bed.add_live(client % 2, &format!("t/{client}"), client as u64, 1);
        });
        assert!(kept, "{client}");
    }
    assert!(is_kept(&mut bed, "t/a/b", &mut |bed| bed.set("t/x", AddressSettings::default())));
    assert!(!is_kept(&mut bed, "t/a/b", &mut |bed| assert!(bed.add_live(1, "+/a/b", 8, 0))));
    assert!(!is_kept(&mut bed, "t/a/b", &mut |bed| assert!(bed.add_live(1, "t/a/b", 8, 0))));
    assert!(!is_kept(&mut bed, "t/a/b", &mut |bed| assert!(bed.remove_live(1, "t/a/b", 8, 0))));
    assert!(!is_kept(&mut bed, "t/a/b", &mut |bed| bed.set("t/a", topic())));
    assert!(!is_kept(&mut bed, "t/a/b", &mut |bed| bed.remove("t/a")));
    bed.clear();
}

#[test]
fn a_shard_that_is_gone_wants_nothing_any_more() {
    let mut bed = with_topic(3);
    bed.set("u", topic());
    bed.set("v", topic());
    let gone = bed.home_of("t");
    bed.add_live(gone, "#", 7, 0);
    bed.add_live(gone, "t/a", 7, 1);
    let reader = (gone + 1) % 3;
    bed.consumer(reader, "t/#", 1);
    bed.add_live(reader, "t/a", 8, 0);
    let (now, core) = (bed.now, (gone + 2) % 3);
    assert_eq!(bed.cores[core].route("t/a").shards.len(), 2);
    bed.deliver_mail = false;
    let body = "x".repeat(LIVE_WINDOW as usize);
    bed.publish(core, "u", &body);
    assert!(!bed.cores[core].has_live_room());
    bed.cores[core].handle_peer_gone(now, ShardId(gone as u32));
    bed.take_effects(core);
    let route = bed.cores[core].route("t/a");
    assert_eq!((&*route.shards, route.is_stored), (&[ShardId(reader as u32)][..], false));
    assert!(bed.cores[core].has_live_room());
    assert_eq!(bed.live.rooms, 1);
}

/// What there should be, by looking at everything each time.
#[derive(Default)]
struct Model {
    addresses: BTreeMap<String, AddressKind>,
    live: BTreeSet<(usize, u64, u32, String)>,
    /// Consumers of topics, each with the address that took it and its filter.
    stored: Vec<(String, String)>,
    heard: BTreeMap<(usize, u64), Vec<Heard>>,
}

impl Model {
    fn resolve(&self, text: &str) -> Option<(&String, AddressKind)> {
        let topics = self.addresses.iter().filter(|(address, kind)| {
            **kind == AddressKind::Topic
                && (text.starts_with(&format!("{address}/"))
                    || (address.as_str() == "#" && !text.starts_with('$')))
        });
        let exact = self.addresses.get_key_value(text);
        let longest =
            topics.max_by_key(|(address, _)| if address.as_str() == "#" { 0 } else { address.len() });
        exact.or(longest).map(|(address, kind)| (address, *kind))
    }

    fn publish(&mut self, text: &str, body: &str) {
        if !matches!(self.resolve(text), Some((_, AddressKind::Topic))) {
            return;
        }
        let mut found: BTreeMap<(usize, u64), BTreeSet<u32>> = BTreeMap::new();
        for (shard, token, index, filter) in &self.live {
            if topic::matches(filter, text) {
                found.entry((*shard, *token)).or_default().insert(*index);
            }
        }
        for (client, indexes) in found {
            let indexes = indexes.into_iter().collect();
            self.heard.entry(client).or_default().push(Heard { body: body.into(), indexes });
        }
    }

    fn is_stored(&self, text: &str) -> bool {
        let Some((address, AddressKind::Topic)) = self.resolve(text) else { return false };
        self.stored.iter().any(|(of, filter)| of == address && topic::matches(filter, text))
    }
}

fn random_levels(random: &mut fastrand::Rng, levels: &[&str]) -> String {
    let count = random.usize(1..4);
    let levels: Vec<&str> = (0..count).map(|_| levels[random.usize(..levels.len())]).collect();
    levels.join("/")
}

#[test]
fn random_subscriptions_and_publications_are_routed_as_a_naive_matcher_says() {
    let rounds = std::env::var("MQ_TESTS_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    for seed in 0..rounds {
        let mut random = fastrand::Rng::with_seed(seed);
        let shards = random.u16(1..4);
        let mut bed = bed(shards);
        let mut model = Model::default();
        let producers: Vec<P> = (0..usize::from(shards)).map(|shard| bed.anonymous(shard)).collect();
        for step in 0..300 {
            let shard = random.usize(..usize::from(shards));
            let text = random_levels(&mut random, &["t", "a", "b", "", "$c"]);
            match random.u32(..14) {
                0..5 => {
                    let filter = random_levels(&mut random, &["t", "a", "b", "", "$c", "+", "+", "#"]);
                    if topic::validate_filter(&filter).is_err() {
                        continue;
                    }
                    let (token, index) = (random.u64(..3), random.u32(..4));
                    let of = (shard, token, index, filter.clone());
                    if random.bool() {
                        let is_new = model.live.insert(of);
                        assert_eq!(bed.add_live(shard, &filter, token, index), is_new, "seed {seed}");
                    } else {
                        let was_there = model.live.remove(&of);
                        assert_eq!(bed.remove_live(shard, &filter, token, index), was_there, "seed {seed}");
                    }
                }
                5..8 if !text.is_empty() => {
                    bed.publish(shard, &text, &step.to_string());
                    model.publish(&text, &step.to_string());
                }
                8..11 if !text.is_empty() => {
                    let durable = random.bool();
                    bed.send_to(producers[shard], &text, &step.to_string(), durable);
                    model.publish(&text, &step.to_string());
                }
                11 => {
                    let filter = random_levels(&mut random, &["t", "a", "+", "#"]);
                    let Some((address, AddressKind::Topic)) = model.resolve(&filter) else { continue };
                    let address = address.clone();
                    let lane = bed.lane(shard, usize::MAX);
                    if bed.consumer_in(shard, lane, &filter, ConsumerOptions::default(), 1_000).is_ok() {
                        model.stored.push((address, filter));
                    }
                }
                12 => {
                    let text = ["t", "t/a", "a", "#"][random.usize(..4)];
                    let kinds = [AddressKind::Topic, AddressKind::Topic, AddressKind::Anycast];
                    let kind = if text == "#" { AddressKind::Topic } else { kinds[random.usize(..3)] };
                    if model.addresses.insert(text.into(), kind) != Some(kind) {
                        model.stored.retain(|(of, _)| of != text);
                    }
                    bed.set(text, AddressSettings { kind, ..topic() });
                }
                13 if random.u32(..4) == 0 => {
                    let text = ["t", "t/a", "a", "#"][random.usize(..4)];
                    model.addresses.remove(text);
                    model.stored.retain(|(of, _)| of != text);
                    bed.remove(text);
                }
                _ => {}
            }
            for core in &mut bed.cores {
                let name = random_levels(&mut random, &["t", "a", "b", "", "$c"]);
                if !name.is_empty() {
                    assert_eq!(core.route(&name).is_stored, model.is_stored(&name), "seed {seed}: {name}");
                }
            }
        }
        assert_eq!(bed.live.heard.len(), model.heard.len(), "seed {seed}");
        for (client, heard) in &model.heard {
            assert_eq!(bed.live.heard[client], *heard, "seed {seed}: {client:?}");
        }
    }
}

#[test]
fn every_subscriber_hears_a_publisher_in_order_and_once_while_mail_is_late() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bed = with_topic(3);
        // These are there all the time.
        for shard in 0..3 {
            bed.add_live(shard, "t/+", 1, 0);
            bed.add_live(shard, "t/a", 1, 1);
        }
        let producers: Vec<P> = (0..3).map(|shard| bed.anonymous(shard)).collect();
        bed.deliver_mail = false;
        let mut sent = Vec::new();
        for number in 0..200 {
            let publisher = random.usize(..6);
            let (shard, body) = (publisher % 3, format!("{publisher} {number:03}"));
            match random.u32(..4) {
                0 => {
                    // These come and go.
                    let (filter, token) = (["t/#", "t/a", "#"][random.usize(..3)], random.u64(2..4));
                    if random.bool() {
                        bed.add_live(shard, filter, token, 0);
                    } else {
                        bed.remove_live(shard, filter, token, 0);
                    }
                }
                1 => {
                    let pairs: Vec<_> = bed.mail.keys().copied().collect();
                    for _ in 0..random.usize(..10) {
                        bed.post_mail(pairs[random.usize(..pairs.len())]);
                    }
                }
                _ if publisher < 3 => {
                    bed.publish(shard, "t/a", &body);
                    sent.push(body);
                }
                _ => {
                    bed.send_with(producers[shard], "t/a", &body, |_| {});
                    sent.push(body);
                }
            }
        }
        bed.deliver_mail = true;
        bed.run();
        sent.sort_unstable();
        for ((shard, token), heard) in &bed.live.heard {
            let mut by_publisher: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for Heard { body, .. } in heard {
                let (publisher, number) = body.split_once(' ').expect("a publisher");
                by_publisher.entry(publisher).or_default().push(number);
            }
            for (publisher, numbers) in by_publisher {
                assert!(
                    numbers.is_sorted_by(|one, next| one < next),
                    "seed {seed}: {publisher}: {numbers:?}"
                );
            }
            let mut bodies: Vec<String> = heard.iter().map(|heard| heard.body.clone()).collect();
            bodies.sort_unstable();
            if *token == 1 {
                assert_eq!(bodies, sent, "seed {seed}: shard {shard}");
            }
        }
    }
}
