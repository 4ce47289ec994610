//! How much a tenant may take: at a limit all is well, one more is refused by name, and what has ended counts no
//! more, whichever way it ended.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use mq_amqp::message::{Header, Message};
use mq_amqp::performative::{DeliveryState, Role};
use mq_auth::{Salts, Secret, Verifiers};
use mq_model::manifest::AddressType;
use mq_model::space::{AddressSpaceSpec, DEFAULT_SPACE, SpaceLimits, SpaceUsage};
use mq_mqtt::packet::SubscriptionOptions;
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Qos, ReasonCode};
use mq_store::testing::FaultyDisk;
use mqd::spaces::Space;
use mqd::users::{User, UserTable};

use crate::client::{Client, Login, from, message, to};
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

const LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";

fn limit(node: &Node, change: impl FnOnce(&mut SpaceLimits)) {
    let mut limits = SpaceLimits::default();
    change(&mut limits);
    let spec = AddressSpaceSpec { limits, ..AddressSpaceSpec::default() };
    let table = UserTable::default().with_space(Space::of(DEFAULT_SPACE, &spec, None), []);
    node.wait_for(node.hub().set_users(&Arc::new(table)));
}

fn limited(change: impl FnOnce(&mut SpaceLimits)) -> Node {
    let node = Node::start();
    limit(&node, change);
    node
}

fn usage(node: &Node) -> SpaceUsage {
    node.hub().usage_of(DEFAULT_SPACE)
}

#[track_caller]
fn until(node: &Node, what: &str, is_so: impl Fn(&SpaceUsage) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !is_so(&usage(node)) {
        assert!(Instant::now() < end, "waited too long for {what}: {:?}", usage(node));
        std::thread::yield_now();
    }
}

/// What is held, without what was refused.
fn held(node: &Node) -> SpaceUsage {
    SpaceUsage { refused: Default::default(), delayed: 0, ..usage(node) }
}

#[track_caller]
fn until_nothing_is_held(node: &Node) {
    until(node, "everything to be given back", |_| held(node) == SpaceUsage::default());
}

fn refused(node: &Node, limit: &str) -> u64 {
    usage(node).refused.get(limit).copied().unwrap_or(0)
}

fn amqp(node: &Node) -> Client {
    Client::connect(node, 0)
}

#[track_caller]
fn refused_amqp(node: &Node) -> String {
    let mut client = Client::hopeful(node.connect(1));
    let error = client.ended().expect("an error");
    assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
    error.description.expect("words").to_string()
}

#[test]
fn one_connection_too_many_is_refused_whichever_protocol_it_speaks() {
    let node = limited(|limits| limits.max_connections = Some(2));
    let (_first, second) = (amqp(&node), Mqtt::connect(&node, 0, Options::new("m")));
    let words = refused_amqp(&node);
    assert!(words.contains("maxConnections: 2"), "{words}");
    let refused_mqtt = Mqtt::try_connect(&node, 0, Options::new("n"));
    assert_eq!(refused_mqtt.connack().reason, ReasonCode::QuotaExceeded);
    assert_eq!(refused(&node, "maxConnections"), 2);
    assert_eq!(usage(&node).connections, 2);
    second.disconnect();
    until(&node, "one to leave", |usage| usage.connections == 1);
    drop(amqp(&node));
    until(&node, "a socket that breaks", |usage| usage.connections == 1);
    let vanished = Mqtt::connect(&node, 1, Options::new("m"));
    vanished.vanish();
    until(&node, "a socket that breaks", |usage| usage.connections == 1);
}

#[test]
fn who_takes_over_from_himself_needs_no_room() {
    let node = limited(|limits| limits.max_connections = Some(1));
    let mut old = Mqtt::connect(&node, 0, Options::new("m"));
    let new = Mqtt::connect(&node, 0, Options::new("m"));
    assert_eq!(old.sent_away(), ReasonCode::SessionTakenOver);
    assert_eq!((usage(&node).connections, refused(&node, "maxConnections")), (1, 0));
    new.disconnect();
    drop(old);
    until_nothing_is_held(&node);
}

#[test]
fn one_session_of_amqp_too_many_is_ended() {
    let node = limited(|limits| limits.max_sessions = Some(1));
    let first = amqp(&node);
    let mut second = Client::hopeful(node.connect(0));
    second.until("the end of a session", |client| client.session_error.is_some());
    let error = second.session_error.clone().expect("an error");
    assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
    assert!(error.description.expect("words").as_str().contains("maxSessions: 1"));
    assert_eq!((usage(&node).sessions, refused(&node, "maxSessions")), (1, 1));
    drop((first, second));
    until_nothing_is_held(&node);
    amqp(&node);
}

#[test]
fn one_link_too_many_is_refused_and_those_that_detach_make_room() {
    let node = limited(|limits| limits.max_links = Some(2));
    let mut client = amqp(&node);
    let producer = client.producer("q");
    client.consumer("q", 0);
    let error = client.try_attach("third", Role::Receiver, from("q")).unwrap_err();
    assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
    let words = error.description.expect("words").to_string();
    assert!(words.contains("maxLinks: 2"), "{words}");
    assert_eq!((usage(&node).links, refused(&node, "maxLinks")), (2, 1));
    client.detach(producer);
    until(&node, "a link to go", |usage| usage.links == 1);
    client.try_attach("fourth", Role::Sender, to("nothing")).unwrap_err();
    assert_eq!(usage(&node).links, 1, "a link that is refused for another reason counts for nothing");
    client.try_attach("fifth", Role::Sender, to("q")).unwrap();
    drop(client);
    until_nothing_is_held(&node);
}

#[test]
fn a_limit_that_is_lowered_refuses_what_is_new_and_ends_nothing() {
    let node = limited(|limits| limits.max_links = Some(3));
    let mut client = amqp(&node);
    let links = [client.producer("q"), client.consumer("q", 10)];
    limit(&node, |limits| limits.max_links = Some(1));
    client.try_attach("more", Role::Sender, to("q")).unwrap_err();
    client.send_text(links[0], "still");
    assert_eq!(client.receive(1).text(), "still");
    limit(&node, |_| {});
    client.try_attach("again", Role::Sender, to("q")).unwrap();
}

#[test]
fn a_message_larger_than_its_space_allows_is_refused() {
    let node = limited(|limits| limits.max_message_size = Some(1_000));
    let mut client = amqp(&node);
    let producer = client.producer("q");
    assert_eq!(client.links[&producer].attach.as_ref().unwrap().max_message_size, Some(1_000));
    client.until("credit", |client| client.credit(producer) > 0);
    client.send(producer, message(&"x".repeat(1_001)), true);
    let error = client.detached(producer);
    assert_eq!(error.condition.as_str(), "amqp:link:message-size-exceeded");
    assert!(error.description.expect("words").as_str().contains("max-message-size: 1000"));
    assert_eq!(refused(&node, "maxMessageSize"), 1);
    let mut publisher = Mqtt::connect(&node, 0, Options::new("m"));
    publisher.subscribe("t/#", Qos::AtMostOnce);
    let (fit, large) = ("x".repeat(1_000), "x".repeat(1_001));
    assert_eq!(publisher.publish("t/a", &fit, Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(publisher.publish("t/a", &large, Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(refused(&node, "maxMessageSize"), 2);
    assert_eq!(publisher.receive().text(), fit);
}

#[test]
fn one_session_of_mqtt_too_many_is_refused_also_while_the_others_are_away() {
    let node = limited(|limits| limits.max_mqtt_sessions = Some(2));
    Mqtt::connect(&node, 0, Options::lasting("stays", 3_600)).disconnect();
    let passing = Mqtt::connect(&node, 0, Options::new("goes"));
    let refused_client = Mqtt::try_connect(&node, 0, Options::new("third"));
    assert_eq!(refused_client.connack().reason, ReasonCode::QuotaExceeded);
    assert_eq!((usage(&node).mqtt_sessions, refused(&node, "maxMqttSessions")), (2, 1));
    // A session that is there goes on.
    let back = Mqtt::connect(&node, 0, Options::lasting("stays", 0));
    assert!(back.session_present());
    passing.disconnect();
    until(&node, "a session to end with its connection", |usage| usage.mqtt_sessions == 1);
    back.disconnect();
    until_nothing_is_held(&node);
}

#[test]
fn subscriptions_of_both_protocols_count_together() {
    let node = limited(|limits| limits.max_subscriptions = Some(2));
    let mut mqtt = Mqtt::connect(&node, 0, Options::new("m"));
    assert_eq!(mqtt.subscribe("t/a", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    let mut client = amqp(&node);
    let link = client.consumer("t", 1);
    client.consumer("q", 1);
    assert_eq!(mqtt.subscribe("t/b", Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(mqtt.subscribe("t/a", Qos::AtMostOnce), ReasonCode::Success, "it has that one");
    let error = client.try_attach("more", Role::Receiver, from("t/x")).unwrap_err();
    assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
    assert!(error.description.expect("words").as_str().contains("maxSubscriptions: 2"));
    assert_eq!((usage(&node).subscriptions, refused(&node, "maxSubscriptions")), (2, 2));
    client.detach(link);
    until(&node, "a link to go", |usage| usage.subscriptions == 1);
    mqtt.unsubscribe("t/a");
    assert_eq!(usage(&node).subscriptions, 0);
    let options = SubscriptionOptions::new(Qos::AtMostOnce);
    let reasons = mqtt.subscribe_all(&[("t/a", options), ("t/b", options)], None);
    assert_eq!(reasons, [ReasonCode::Success, ReasonCode::Success]);
    mqtt.disconnect();
    drop(client);
    until_nothing_is_held(&node);
}

#[test]
fn messages_and_bytes_that_wait_are_bounded_for_all_queues_of_a_space() {
    let node = limited(|limits| limits.max_stored_messages = Some(2));
    node.set("r", AddressType::Queue, |_| {});
    let mut client = amqp(&node);
    let (q, r) = (client.producer("q"), client.producer("r"));
    for producer in [q, r] {
        let number = client.send_text(producer, "kept");
        assert_eq!(client.outcome(number), DeliveryState::Accepted);
    }
    let number = client.send_text(q, "more");
    let DeliveryState::Rejected(Some(error)) = client.outcome(number) else { panic!("not refused") };
    assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
    assert!(error.description.expect("words").as_str().contains("maxStoredMessages"));
    assert_eq!((usage(&node).stored_messages, refused(&node, "maxStoredMessages")), (2, 1));
    client.consumer("r", 1);
    let received = client.receive(1);
    client.accept(&received);
    until(&node, "a message to go", |usage| usage.stored_messages == 1);
    let number = client.send_text(q, "again");
    assert_eq!(client.outcome(number), DeliveryState::Accepted);
    assert_eq!(node.wait_for(node.hub().purge(&"q".into())), Some(Ok(2)));
    assert_eq!((usage(&node).stored_messages, usage(&node).stored_bytes), (0, 0));

    limit(&node, |limits| limits.max_stored_bytes = Some(100));
    let mut mqtt = Mqtt::connect(&node, 0, Options::new("m"));
    assert_eq!(mqtt.publish("q", &"x".repeat(50), Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(mqtt.publish("q", &"x".repeat(90), Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(refused(&node, "maxStoredBytes"), 1);
    node.remove("q");
    until(&node, "a queue to go with what it holds", |usage| usage.stored_bytes == 0);
}

#[test]
fn a_full_space_refuses_what_a_durable_subscription_would_keep_and_nothing_else() {
    let node = limited(|limits| limits.max_stored_messages = Some(1));
    let mut away = Mqtt::connect(&node, 0, Options::lasting("away", 3_600));
    away.subscribe("t/a", Qos::AtLeastOnce);
    away.disconnect();
    let mut publisher = Mqtt::connect(&node, 0, Options::new("m"));
    publisher.subscribe("t/b", Qos::AtMostOnce);
    assert_eq!(publisher.publish("t/a", "1", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(publisher.publish("t/a", "2", Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(publisher.publish("t/b", "3", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(publisher.receive().text(), "3");
    // It comes back, and there is room again.
    let mut back = Mqtt::connect(&node, 0, Options::lasting("away", 0));
    assert_eq!(back.receive().text(), "1");
    until(&node, "the message to go", |usage| usage.stored_messages == 0);
    assert_eq!(publisher.publish("t/a", "4", Qos::AtLeastOnce), ReasonCode::Success);
}

#[test]
fn one_retained_message_too_many_is_refused_and_another_for_the_same_name_is_not() {
    let node = limited(|limits| limits.max_retained_messages = Some(1));
    let mut client = Mqtt::connect(&node, 0, Options::new("m"));
    let mut retain = |topic: &str, payload: &str| {
        client.publish_with(topic, payload, Qos::AtLeastOnce, true, PropertyView::default())
    };
    assert_eq!(retain("t/a", "1"), ReasonCode::Success);
    assert_eq!(retain("t/a", "2"), ReasonCode::Success);
    assert_eq!(retain("t/b", "1"), ReasonCode::QuotaExceeded);
    assert_eq!((usage(&node).retained_messages, refused(&node, "maxRetainedMessages")), (1, 1));
    retain("t/a", "");
    until(&node, "nothing to be retained", |usage| usage.retained_messages == 0);
    assert_eq!(retain("t/b", "1"), ReasonCode::Success);
}

/// That the pauses are as long as the rate asks for is a fact of the rate, which is tested with a clock of its own.
#[test]
fn who_sends_faster_than_his_space_may_is_slowed_down_and_loses_nothing() {
    let node = limited(|limits| limits.max_messages_per_second = Some(10));
    let mut consumer = Client::connect(&node, 1);
    consumer.consumer("a", 1_000);
    let mut client = amqp(&node);
    let producer = client.producer("a");
    client.until("credit", |client| client.credit(producer) > 0);
    assert!(client.credit(producer) <= 1, "what may be sent in a tenth of a second");
    for number in 0..8 {
        client.send_text(producer, &number.to_string());
    }
    for number in 0..8 {
        assert_eq!(consumer.receive(number + 1).text(), number.to_string());
    }
    let SpaceUsage { refused, delayed, .. } = usage(&node);
    assert!(refused.is_empty() && delayed > 0, "{refused:?} {delayed}");
    // Whoever is not held up any more has all the credit there is.
    limit(&node, |_| {});
    client.until("all the credit", |client| client.credit(producer) > 50);
}

#[test]
fn a_publisher_of_mqtt_is_slowed_down_by_messages_and_by_bytes() {
    let node = limited(|limits| limits.max_messages_per_second = Some(100));
    let mut client = Mqtt::connect(&node, 0, Options::new("m"));
    client.subscribe("t/#", Qos::AtMostOnce);
    for _ in 0..30 {
        client.start("t/a", "x", Qos::AtMostOnce, false, PropertyView::default());
    }
    for _ in 0..30 {
        client.receive();
    }
    let by_messages = usage(&node).delayed;
    assert!(by_messages > 0);
    limit(&node, |limits| limits.max_bytes_per_second = Some(10_000));
    let text = "x".repeat(2_000);
    for _ in 0..3 {
        assert_eq!(client.publish("t/a", &text, Qos::AtLeastOnce), ReasonCode::Success);
        client.receive();
    }
    // Each is worth more than what may come at once.
    assert!(usage(&node).delayed >= by_messages + 3);
    assert!(usage(&node).refused.is_empty());
}

#[test]
fn clients_so_many_that_waiting_does_not_help_are_refused_by_name() {
    let node = limited(|limits| limits.max_messages_per_second = Some(1));
    let mut clients: Vec<Mqtt> =
        (0..40).map(|number| Mqtt::connect(&node, 0, Options::new(&format!("c{number}")))).collect();
    let publish =
        |client: &mut Mqtt| client.publish("t/a", "x", Qos::AtLeastOnce) == ReasonCode::QuotaExceeded;
    let refusals = clients.iter_mut().map(publish).filter(|is_refused| *is_refused).count();
    let taken = clients.len() - refusals;
    assert!(taken >= 6, "five seconds ahead: {taken} of {}", clients.len());
    assert!(refusals > 0, "however slow the machine");
    assert_eq!(refused(&node, "maxMessagesPerSecond"), refusals as u64);
    let words = clients.iter().find_map(|client| client.words.as_deref()).expect("words");
    assert!(words.contains("maxMessagesPerSecond: 1"), "{words}");
}

/// Clients that do anything and go in any way leave nothing behind.
#[test]
fn nothing_is_left_of_clients_that_have_done_anything() {
    let node = limited(|limits| {
        limits.max_links = Some(9);
        limits.max_subscriptions = Some(5);
        limits.max_mqtt_sessions = Some(4);
    });
    let mut random = fastrand::Rng::with_seed(7);
    let (mut amqp_clients, mut mqtt_clients): (Vec<Client>, Vec<Mqtt>) = (Vec::new(), Vec::new());
    for round in 0..150 {
        match random.u32(..8) {
            0 if amqp_clients.len() < 3 => amqp_clients.push(Client::connect(&node, random.usize(..2))),
            1 if mqtt_clients.len() < 3 => {
                let client = Mqtt::try_connect(&node, 0, Options::new(&format!("c{round}")));
                if client.connack().reason == ReasonCode::Success {
                    mqtt_clients.push(client);
                }
            }
            2 | 3 => {
                if let Some(client) = amqp_clients.last_mut() {
                    let address = ["q", "t", "a"][random.usize(..3)];
                    let (role, terms) = if random.bool() {
                        (Role::Sender, to(address))
                    } else {
                        (Role::Receiver, from(address))
                    };
                    let _ = client.try_attach(&format!("l{round}"), role, terms);
                }
            }
            4 | 5 => {
                if let Some(client) = mqtt_clients.last_mut() {
                    client.subscribe(&format!("t/{}", random.u32(..4)), Qos::AtLeastOnce);
                }
            }
            6 if !amqp_clients.is_empty() => {
                drop(amqp_clients.swap_remove(random.usize(..amqp_clients.len())))
            }
            7 if !mqtt_clients.is_empty() => {
                drop(mqtt_clients.swap_remove(random.usize(..mqtt_clients.len())))
            }
            _ => {}
        }
    }
    drop((amqp_clients, mqtt_clients));
    until_nothing_is_held(&node);
    node.until_empty();
}

// ---- what users have stored ----------------------------------------------------------------------------

/// Everybody's: what is derived from a password takes its time.
const PASSWORD: &str = "pencil";

static VERIFIERS: LazyLock<Arc<Verifiers>> = LazyLock::new(|| {
    let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
    Arc::new(Verifiers::derive(&Secret::new(PASSWORD), &salts).unwrap())
});

/// The users ann and bob, each of whom may take so much.
fn limit_users(node: &Node, change: impl FnOnce(&mut SpaceLimits)) {
    let mut user_limits = SpaceLimits::default();
    change(&mut user_limits);
    let spec = AddressSpaceSpec { user_limits, ..AddressSpaceSpec::default() };
    let users = ["ann", "bob"].map(|name| {
        let grants = ["send:#", "recv:#"].map(|grant| grant.parse().unwrap());
        User::new(name, true, grants.into(), Some(VERIFIERS.clone()))
    });
    node.set_table(UserTable::default().with_space(Space::of(DEFAULT_SPACE, &spec, None), users));
}

fn amqp_as(node: &Node, shard: usize, user: &'static str) -> Client {
    Client::logged_in(node.connect(shard), Login::Plain { user, password: PASSWORD }, user)
}

fn mqtt_as(node: &Node, user: &str) -> Mqtt {
    Mqtt::connect(node, 0, Options::new(user).user(user, PASSWORD))
}

fn usage_of(node: &Node, user: &str) -> SpaceUsage {
    node.hub().usage_of_user(DEFAULT_SPACE, user)
}

fn durable(body: &str) -> Vec<u8> {
    let header = Header { durable: true, ..Header::default() };
    Message { header: Some(header), ..Message::data(body.as_bytes().to_vec()) }.to_bytes().to_vec()
}

/// The words with which a message is refused; `None`: it is taken.
#[track_caller]
fn refusal(client: &mut Client, number: u64) -> Option<String> {
    match client.outcome(number) {
        DeliveryState::Accepted => None,
        DeliveryState::Rejected(Some(error)) => {
            assert_eq!(error.condition.as_str(), LIMIT_EXCEEDED);
            Some(error.description.expect("words").to_string())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_user_has_stored_is_bounded_over_queues_shards_and_protocols() {
    let node = Node::start();
    node.set("r", AddressType::Queue, |_| {});
    limit_users(&node, |limits| limits.max_stored_messages = Some(3));
    let (mut ann, mut bob) = (amqp_as(&node, 0, "ann"), amqp_as(&node, 1, "bob"));
    let (q, r, of_bob) = (ann.producer("q"), ann.producer("r"), bob.producer("q"));
    for producer in [q, r] {
        let number = ann.send(producer, durable("kept"), false);
        assert_eq!(refusal(&mut ann, number), None);
    }
    let mut mqtt = mqtt_as(&node, "ann");
    assert_eq!(mqtt.publish("r", "kept", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(mqtt.publish("q", "more", Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    let number = ann.send(q, durable("more"), false);
    let words = refusal(&mut ann, number).expect("refused");
    assert!(words.contains("the user may hold 3 messages (maxStoredMessages)"), "{words}");
    let number = bob.send(of_bob, durable("his own"), false);
    assert_eq!(refusal(&mut bob, number), None, "nobody else is in his way");
    let (of_ann, of_bob) = (usage_of(&node, "ann"), usage_of(&node, "bob"));
    assert_eq!((of_ann.stored_messages, of_bob.stored_messages), (3, 1));
    assert_eq!((of_ann.refused["maxStoredMessages"], refused(&node, "maxStoredMessages")), (2, 2));
    assert_eq!(usage(&node).stored_messages, 4);

    // Whoever takes it, there is room again.
    bob.consumer("r", 1);
    let received = bob.receive(1);
    bob.accept(&received);
    until(&node, "a message to go", |usage| usage.stored_messages == 3);
    let number = ann.send(q, durable("again"), false);
    assert_eq!(refusal(&mut ann, number), None);

    // A limit that is raised, and one that is lowered below what is there.
    limit_users(&node, |limits| limits.max_stored_messages = Some(4));
    let number = ann.send(q, durable("one more"), false);
    assert_eq!(refusal(&mut ann, number), None);
    limit_users(&node, |limits| limits.max_stored_bytes = Some(1));
    let number = ann.send(q, durable("too long"), false);
    assert!(refusal(&mut ann, number).expect("refused").contains("maxStoredBytes"));
    assert_eq!(usage_of(&node, "ann").stored_messages, 4, "what is there stays");
    limit_users(&node, |_| {});
    let number = ann.send(q, durable("as much as there is room for"), false);
    assert_eq!(refusal(&mut ann, number), None);
}

#[test]
fn what_a_user_has_stored_counts_for_him_after_a_loss_of_power_before_he_is_there() {
    let disk = FaultyDisk::new(7);
    let node = Node::at(&Place::on(&disk), |_| {});
    limit_users(&node, |_| {});
    let mut ann = amqp_as(&node, 0, "ann");
    let q = ann.producer("q");
    for _ in 0..3 {
        let number = ann.send(q, durable("12345"), false);
        assert_eq!(refusal(&mut ann, number), None);
    }
    let mut mqtt = mqtt_as(&node, "ann");
    let retained = mqtt.publish_with("t/a", "1", Qos::AtLeastOnce, true, PropertyView::default());
    assert_eq!(retained, ReasonCode::Success);
    let bytes = usage_of(&node, "ann").stored_bytes;
    let left = disk.crash();
    drop((ann, mqtt, node));

    let node = Node::at(&Place::on(&left), |_| {});
    let found = usage_of(&node, "ann");
    assert_eq!((found.stored_messages, found.stored_bytes, found.retained_messages), (3, bytes, 1));
    limit_users(&node, |limits| {
        (limits.max_stored_messages, limits.max_retained_messages) = (Some(3), Some(1));
    });
    let (mut ann, mut bob) = (amqp_as(&node, 1, "ann"), amqp_as(&node, 0, "bob"));
    let (q, of_bob) = (ann.producer("q"), bob.producer("q"));
    let number = ann.send(q, durable("more"), false);
    assert!(refusal(&mut ann, number).expect("refused").contains("maxStoredMessages"));
    let number = bob.send(of_bob, durable("his own"), false);
    assert_eq!(refusal(&mut bob, number), None);
    let mut mqtt = mqtt_as(&node, "ann");
    let mut retain =
        |topic: &str| mqtt.publish_with(topic, "2", Qos::AtLeastOnce, true, PropertyView::default());
    assert_eq!(retain("t/b"), ReasonCode::QuotaExceeded);
    assert_eq!(retain("t/a"), ReasonCode::Success, "in the place of her own");
    bob.consumer("q", 1);
    let received = bob.receive(1);
    bob.accept(&received);
    until(&node, "a message to go", |usage| usage.stored_messages == 3);
    let number = ann.send(q, durable("again"), false);
    assert_eq!(refusal(&mut ann, number), None);
}

#[test]
fn what_others_send_and_what_nobody_keeps_is_not_in_the_way_of_a_user_at_his_limit() {
    let node = Node::start();
    limit_users(&node, |limits| {
        (limits.max_stored_messages, limits.max_retained_messages) = (Some(1), Some(1));
    });
    let mut away = Mqtt::connect(&node, 0, Options::lasting("away", 3_600).user("bob", PASSWORD));
    away.subscribe("t/a", Qos::AtLeastOnce);
    away.disconnect();
    let (mut ann, mut bob) = (mqtt_as(&node, "ann"), mqtt_as(&node, "bob"));
    ann.subscribe("t/b", Qos::AtMostOnce);
    assert_eq!(ann.publish("t/a", "1", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(ann.publish("t/a", "2", Qos::AtLeastOnce), ReasonCode::QuotaExceeded);
    assert_eq!(ann.publish("t/b", "3", Qos::AtLeastOnce), ReasonCode::Success);
    assert_eq!(ann.receive().text(), "3");
    assert_eq!(bob.publish("t/a", "4", Qos::AtLeastOnce), ReasonCode::Success, "it is hers who has sent it");
    let keep = |client: &mut Mqtt, topic: &str| {
        client.publish_with(topic, "x", Qos::AtLeastOnce, true, PropertyView::default())
    };
    assert_eq!(keep(&mut ann, "t/c"), ReasonCode::Success);
    assert_eq!(keep(&mut ann, "t/d"), ReasonCode::QuotaExceeded);
    assert_eq!(keep(&mut bob, "t/c"), ReasonCode::Success, "it is his from now on");
    assert_eq!(keep(&mut ann, "t/d"), ReasonCode::Success);
    let counts = (usage_of(&node, "ann").retained_messages, usage_of(&node, "bob").retained_messages);
    assert_eq!(counts, (1, 1));
}
