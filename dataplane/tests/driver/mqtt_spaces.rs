//! Address spaces over MQTT: whatever a client of one does, another one neither hears nor sees it.

use std::sync::{Arc, LazyLock};

use mq_amqp::message::Message;
use mq_amqp::value::Value;
use mq_auth::{Salts, Secret, Verifiers};
use mq_model::admin::{ClientSession, Retained};
use mq_model::config::DaemonConfig;
use mq_model::manifest::AddressType;
use mq_model::space::{DEFAULT_SPACE, qualified};
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Qos, ReasonCode};
use mq_store::testing::FaultyDisk;
use mqd::hub::{RetainedRequest, SessionQuery, Speaks};
use mqd::spaces::Space;
use mqd::users::{User, UserTable};

use crate::client::{Client, Login};
use crate::mqtt_client::{Got, Mqtt, Options};
use crate::node::{Node, Place};

/// Everybody's: what is derived from a password takes its time.
const PASSWORD: &str = "pencil";

/// The spaces of these tests, all with addresses, users and clients of the same names.
const SPACES: [&str; 3] = [DEFAULT_SPACE, "acme", "other"];

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// What somebody might write who wants what is not his.
const FILTERS: [&str; 26] = [
    "#",
    "+",
    "+/#",
    "+/+",
    "+/+/#",
    "+/+/+/+",
    "+/acme/#",
    "t",
    "t/#",
    "t/+",
    "/#",
    "$s",
    "$s/#",
    "$s/+/#",
    "$s/+/t/a",
    "$s/acme/#",
    "$s/acme/t/a",
    "$s/acme/+/a",
    "$s/default/t/a",
    "$s//#",
    "$s//t/#",
    "$s//$s/acme/t/a",
    "$s/acme/$s/acme/t/a",
    "$SYS/#",
    "../acme/t/a",
    "t/../$s/acme/#",
];

static VERIFIERS: LazyLock<Arc<Verifiers>> = LazyLock::new(|| {
    let salts = Salts { password: [1; 16], scram_sha256: [2; 16], scram_sha512: [3; 16] };
    Arc::new(Verifiers::derive(&Secret::new(PASSWORD), &salts).unwrap())
});

fn user(name: &str, grants: &[&str]) -> User {
    let grants = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    User::new(name, true, grants, Some(VERIFIERS.clone()))
}

/// Somebody called ann in each space, who may do everything there.
fn table() -> UserTable {
    let ann = || user("ann", &["send:#", "recv:#"]);
    let few = user("few", &["send:t/own/#", "recv:t/own/#"]);
    UserTable::of([ann()])
        .with_space(Space::new("acme"), [ann(), few])
        .with_space(Space::new("other"), [ann()])
}

/// In each space a topic, a queue, an anycast address, and the topic for what nothing else serves.
fn place_on(disk: &FaultyDisk) -> Place {
    let mut place = Place::on(disk);
    for space in SPACES {
        let mut add = |name: &str, kind| place.add(&qualified(space, name), kind, |_| {});
        add("#", AddressType::Topic);
        if space != DEFAULT_SPACE {
            add("t", AddressType::Topic);
            add("q", AddressType::Queue);
            add("a", AddressType::Anycast);
        }
    }
    place
}

/// A node with a listener for each space.
fn node_with(disk: &FaultyDisk, change: impl FnOnce(&mut DaemonConfig)) -> Node {
    let node = Node::at(&place_on(disk), |config| {
        config.listeners.mqtt.space = Some("acme".into());
        config.listeners.amqp.space = Some("other".into());
        change(config);
    });
    node.set_table(table());
    node
}

fn node_on(disk: &FaultyDisk) -> Node {
    node_with(disk, |_| {})
}

fn node() -> Node {
    node_on(&FaultyDisk::new(0))
}

fn name_in(space: &str) -> &'static str {
    match space {
        "acme" => "ann@acme",
        "other" => "ann@other",
        _ => "ann",
    }
}

/// As somebody of a space.
fn of(space: &str, options: Options) -> Options {
    options.user(name_in(space), PASSWORD)
}

#[track_caller]
fn client(node: &Node, space: &str, id: &str) -> Mqtt {
    Mqtt::connect(node, 0, of(space, Options::new(id)))
}

#[track_caller]
fn lasting(node: &Node, space: &str, id: &str) -> Mqtt {
    Mqtt::connect(node, 0, of(space, Options::lasting(id, 600)))
}

/// Somebody of a space whom nobody knows, and who may therefore do everything that his space allows.
#[track_caller]
fn stranger(node: &Node, space: &str, options: Options) -> Mqtt {
    let listener = match space {
        "acme" => "mqtt",
        "other" => "amqp",
        _ => "test",
    };
    let mut client = Mqtt::begin(node.connect_at(listener, true, Speaks::Mqtt), options);
    client.until("the answer to a CONNECT", |client| client.has_connack());
    client
}

/// One of a space on each shard, whom no right stands in the way of.
fn on_each_shard(node: &Node, space: &str, prefix: &str) -> [Mqtt; 2] {
    [0, 1].map(|shard| {
        let is_there = |id: &String| usize::from(mq_core::home(&qualified(space, id), 2).shard()) == shard;
        let id = (0..).map(|number| format!("{prefix}{number}")).find(is_there).unwrap();
        let client = stranger(node, space, Options::new(&id));
        assert_eq!(client.connack().reason, ReasonCode::Success);
        client
    })
}

/// What has come before these ends, which are published in the space from each shard.
#[track_caller]
fn all_before_the_end(spies: &mut [Mqtt], publishers: &mut [Mqtt; 2]) -> Vec<Vec<Got>> {
    for (number, publisher) in publishers.iter_mut().enumerate() {
        publisher.publish("t/end", &number.to_string(), Qos::AtLeastOnce);
    }
    let all = spies.iter_mut().map(|spy| {
        let mut got = Vec::new();
        let mut ends = 0;
        while ends < 2 {
            let one = spy.receive();
            if one.topic == "t/end" { ends += 1 } else { got.push(one) }
        }
        got
    });
    all.collect()
}

#[test]
fn no_filter_finds_what_another_space_publishes() {
    let node = node();
    let mut publishers = SPACES.map(|space| on_each_shard(&node, space, "publisher"));
    let mut spies = SPACES.map(|space| on_each_shard(&node, space, "spy"));
    for spy in spies.iter_mut().flatten() {
        for filter in FILTERS {
            // Some are refused, whatever there is elsewhere.
            spy.subscribe(filter, Qos::ExactlyOnce);
        }
        assert_eq!(spy.subscribe("t/end", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    }
    for (space, publishers) in SPACES.iter().zip(&mut publishers) {
        for publisher in publishers {
            for (topic, retain) in [("t/a", false), ("t/kept", true), ("x", false), ("b/c/d/e", true)] {
                for qos in QOS {
                    publisher.publish_with(topic, space, qos, retain, PropertyView::default());
                }
            }
        }
    }
    for ((space, publishers), spies) in SPACES.iter().zip(&mut publishers).zip(&mut spies) {
        for got in all_before_the_end(spies, publishers) {
            assert!(got.iter().all(|one| one.text() == *space), "{space}: {got:?}");
            // One copy of each, from each shard.
            for topic in ["t/a", "t/kept", "x", "b/c/d/e"] {
                let own = got.iter().filter(|one| one.topic == topic).count();
                assert_eq!(own, 2 * QOS.len(), "{space}: {topic}");
            }
        }
    }
}

#[test]
fn no_filter_finds_what_another_space_retains() {
    let node = node();
    for space in SPACES {
        for publisher in &mut on_each_shard(&node, space, "publisher") {
            for topic in ["t/a", "x/y", "$s", "z"] {
                publisher.publish_with(topic, space, Qos::AtLeastOnce, true, PropertyView::default());
            }
        }
    }
    for space in SPACES {
        let mut publishers = on_each_shard(&node, space, "publisher");
        for spy in on_each_shard(&node, space, "spy") {
            let mut spy = [spy];
            for filter in FILTERS {
                spy[0].subscribe(filter, Qos::AtLeastOnce);
                spy[0].unsubscribe(filter);
            }
            spy[0].subscribe("#", Qos::AtLeastOnce);
            spy[0].until("what is retained", |spy| spy.received.iter().filter(|one| one.retain).count() >= 3);
            for got in all_before_the_end(&mut spy, &mut publishers) {
                assert!(got.iter().all(|one| one.text() == space && one.retain), "{space}: {got:?}");
            }
        }
    }
}

#[test]
fn no_name_reaches_the_subscribers_of_another_space() {
    let node = node();
    let mut spies = SPACES.map(|space| on_each_shard(&node, space, "spy"));
    let mut publishers = SPACES.map(|space| on_each_shard(&node, space, "publisher"));
    for spy in spies.iter_mut().flatten() {
        for filter in ["#", "t/#", "$share/g/t/#", "q", "a"] {
            spy.subscribe(filter, Qos::ExactlyOnce);
        }
    }
    for (space, publishers) in SPACES.iter().zip(&mut publishers) {
        for publisher in publishers {
            for of in SPACES {
                for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
                    for name in ["t/a", "x", "q", "a"] {
                        for topic in [format!("$s/{of}/{name}"), format!("$s//$s/{of}/{name}")] {
                            let reason = publisher.publish(&topic, space, qos);
                            assert_eq!(reason, ReasonCode::TopicNameInvalid, "{space}: {topic}");
                        }
                        // A name as any other, for what nothing else serves.
                        publisher.publish(&format!("/$s/{of}/{name}"), space, qos);
                    }
                }
            }
        }
    }
    for ((space, publishers), spies) in SPACES.iter().zip(&mut publishers).zip(&mut spies) {
        // Of the two that share, one has it twice and the other once at least.
        for spy in spies.iter_mut() {
            spy.unsubscribe("$share/g/t/#");
        }
        for got in all_before_the_end(spies, publishers) {
            assert!(got.iter().all(|one| one.text() == *space), "{space}: {got:?}");
        }
    }
}

#[test]
fn a_client_identifier_is_one_client_in_each_space() {
    let node = node();
    let mut clients = SPACES.map(|space| lasting(&node, space, "kitchen"));
    for client in &mut clients {
        assert!(!client.session_present());
        client.subscribe("t/#", Qos::AtLeastOnce);
        client.sync();
    }
    // Another one of acme's takes over acme's, and nobody else's.
    let mut again = lasting(&node, "acme", "kitchen");
    assert!(again.session_present());
    assert_eq!(clients[1].sent_away(), ReasonCode::SessionTakenOver);
    clients[0].sync();
    clients[2].sync();
    again.sync();
    // While all are away each session keeps what is its own.
    again.disconnect();
    let [default, _, other] = clients;
    default.disconnect();
    other.disconnect();
    for space in SPACES {
        client(&node, space, "publisher").publish("t/a", space, Qos::AtLeastOnce);
    }
    for space in SPACES {
        let mut back = lasting(&node, space, "kitchen");
        assert!(back.session_present());
        let got = back.receive();
        assert_eq!((got.topic.as_str(), got.text()), ("t/a", space));
        back.sync();
        assert_eq!(back.received, []);
    }
}

#[test]
fn a_client_that_has_no_identifier_gets_one_that_says_nothing_of_its_space() {
    let node = node();
    for space in SPACES {
        let client = client(&node, space, "");
        let assigned = client.connack().properties.view().assigned_client_identifier().unwrap();
        assert!(assigned.starts_with("auto-"), "{assigned}");
        let information = of(space, Options::new("kitchen"))
            .with(|properties| drop(properties.request_response_information(true)));
        let asks = Mqtt::connect(&node, 0, information);
        assert_eq!(asks.connack().properties.view().response_information(), Some("reply/kitchen"));
    }
}

#[test]
fn a_client_identifier_has_room_beside_the_name_of_its_space() {
    let node = node();
    let longest = |space: &str| 1_024 - qualified(space, "").len();
    for space in SPACES {
        client(&node, space, &"x".repeat(longest(space)));
        let id = "x".repeat(longest(space) + 1);
        let refused = Mqtt::try_connect(&node, 0, of(space, Options::new(&id)));
        assert_eq!(refused.connack().reason, ReasonCode::ClientIdentifierNotValid, "{space}");
    }
}

#[test]
fn a_client_that_calls_itself_like_another_space_s_is_its_own() {
    let node = node();
    let mut kitchen = client(&node, "acme", "kitchen");
    kitchen.subscribe("t/a", Qos::AtLeastOnce);
    for space in SPACES {
        for id in ["$s/acme/kitchen", "$s//$s/acme/kitchen", "acme/kitchen"] {
            let mut other = lasting(&node, space, id);
            assert!(!other.session_present(), "{space}: {id}");
            other.sync();
            other.disconnect();
        }
    }
    kitchen.sync();
    assert!(kitchen.disconnected.is_none());
}

#[test]
fn a_share_is_divided_among_clients_of_its_space() {
    let node = node();
    const COUNT: usize = 20;
    let mut members = SPACES.map(|space| on_each_shard(&node, space, "member"));
    for member in members.iter_mut().flatten() {
        assert!(!member.subscribe("$share/g/t/#", Qos::AtLeastOnce).is_error());
    }
    for space in SPACES {
        let mut publisher = client(&node, space, "publisher");
        for number in 0..COUNT {
            publisher.publish("t/a", &format!("{space} {number}"), Qos::AtLeastOnce);
        }
    }
    for (space, members) in SPACES.iter().zip(&mut members) {
        let mut got = Vec::new();
        while got.len() < COUNT {
            for member in members.iter_mut() {
                member.sync();
                got.extend(member.received.drain(..).map(|one| one.text().to_owned()));
            }
        }
        got.sort_unstable();
        let mut expected: Vec<String> = (0..COUNT).map(|number| format!("{space} {number}")).collect();
        expected.sort_unstable();
        assert_eq!(got, expected);
    }
}

#[test]
fn a_will_is_published_in_the_space_of_its_client() {
    let node = node();
    let mut witnesses = SPACES.map(|space| client(&node, space, "witness"));
    for witness in &mut witnesses {
        witness.subscribe("#", Qos::AtLeastOnce);
    }
    for space in SPACES {
        Mqtt::connect(&node, 0, of(space, Options::new("gone").will("t/gone", space, 0))).vanish();
        Mqtt::connect(&node, 0, of(space, Options::new("lost").will("lost", space, 0))).vanish();
    }
    for (space, witness) in SPACES.iter().zip(&mut witnesses) {
        let mut got: Vec<(String, String)> =
            (0..2).map(|_| witness.receive()).map(|one| (one.text().to_owned(), one.topic)).collect();
        got.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        let expected = ["lost", "t/gone"].map(|topic| ((*space).to_owned(), topic.to_owned()));
        assert_eq!(got, expected);
        witness.sync();
        assert_eq!(witness.received, []);
    }
    // A name that nothing serves, whatever another space calls so.
    for space in SPACES {
        let sly = || Options::new("sly").will("$s/acme/t/gone", "x", 0);
        assert_eq!(stranger(&node, space, sly()).connack().reason, ReasonCode::TopicNameInvalid);
        let refused = Mqtt::try_connect(&node, 0, of(space, sly()));
        assert_eq!(refused.connack().reason, ReasonCode::NotAuthorized);
    }
}

#[test]
fn sessions_wills_and_exchanges_are_back_after_a_restart_in_their_spaces() {
    let disk = FaultyDisk::new(3);
    let node = node_on(&disk);
    let mut states = Vec::new();
    for space in SPACES {
        let mut held = lasting(&node, space, "kitchen");
        held.acknowledges = false;
        held.subscribe("t/#", Qos::ExactlyOnce);
        held.subscribe("$share/g/u/#", Qos::AtLeastOnce);
        let mut publisher = client(&node, space, "publisher");
        publisher.publish("t/held", space, Qos::ExactlyOnce);
        assert_eq!(held.receive().text(), space);
        states.push(held.vanish());
        publisher.publish("t/later", space, Qos::ExactlyOnce);
        publisher.publish("u/later", space, Qos::AtLeastOnce);
        publisher.publish_with("t/kept", space, Qos::AtLeastOnce, true, PropertyView::default());
        Mqtt::connect(&node, 0, of(space, Options::lasting("ill", 600).will("t/will", space, 3_600)))
            .vanish();
    }
    drop(node);
    let node = node_on(&disk);
    for (space, state) in SPACES.iter().zip(states) {
        // A session that ends takes its will along.
        let ill = Arc::from(&*qualified(space, "ill"));
        assert_eq!(node.wait_for(node.hub().end_client_session(&ill)), Some(true));
        let mut back = Mqtt::connect(&node, 0, of(space, Options::lasting("kitchen", 600)).resuming(state));
        assert!(back.session_present());
        let mut got: Vec<(String, String)> =
            (0..5).map(|_| back.receive()).map(|one| (one.text().to_owned(), one.topic)).collect();
        got.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        let topics = ["t/held", "t/kept", "t/later", "t/will", "u/later"];
        assert_eq!(got, topics.map(|topic| ((*space).to_owned(), topic.to_owned())));
        back.sync();
        assert_eq!(back.received, []);
        let mut late = client(&node, space, "late");
        late.subscribe("t/+", Qos::AtLeastOnce);
        let got = late.receive();
        assert_eq!((got.topic.as_str(), got.text(), got.retain), ("t/kept", *space, true));
    }
}

#[test]
fn what_is_retained_is_replaced_listed_and_forgotten_in_its_space_alone() {
    let node = node();
    for space in SPACES {
        let mut publisher = client(&node, space, "publisher");
        for topic in ["t/a", "t/b", "x"] {
            publisher.publish_with(topic, space, Qos::AtLeastOnce, true, PropertyView::default());
        }
    }
    let mut acme = client(&node, "acme", "publisher");
    acme.publish_with("t/a", "newer", Qos::AtLeastOnce, true, PropertyView::default());
    acme.publish_with("t/b", "", Qos::AtLeastOnce, true, PropertyView::default());
    let list = |space: &str, topic: &str| -> Vec<Retained> {
        let inside = |name: &str| Arc::from(&*qualified(space, name));
        let request = RetainedRequest { topic: inside(topic), filter: inside("#"), after: None, limit: 10 };
        node.wait_for(node.hub().retained(request)).unwrap().items
    };
    let shown = |space: &str, topic: &str| -> Vec<(String, String, String)> {
        let items = list(space, topic).into_iter();
        items.map(|one| (one.name, one.topic, one.text.unwrap_or_default())).collect()
    };
    let entry = |name: &str, topic: &str, text: &str| (name.to_owned(), topic.to_owned(), text.to_owned());
    assert_eq!(shown("acme", "t"), [entry("t/a", "t", "newer")]);
    assert_eq!(shown("other", "t"), [entry("t/a", "t", "other"), entry("t/b", "t", "other")]);
    assert_eq!(shown("default", "t"), [entry("t/a", "t", "default"), entry("t/b", "t", "default")]);
    assert_eq!(shown("acme", "#"), [entry("x", "#", "acme")]);
    let (topic, filter) = ("$s/other/t".into(), "$s/other/#".into());
    let cleared = node.hub().clear_retained(&topic, &filter);
    assert_eq!(node.wait_for(cleared).map(Result::ok), Some(Some(2)));
    assert_eq!(shown("other", "t"), []);
    assert_eq!(shown("default", "t").len(), 2);
    assert_eq!(shown("other", "#"), [entry("x", "#", "other")]);
}

#[test]
fn what_clients_have_left_in_a_space_that_is_gone_is_not_there_in_the_next_one_of_its_name() {
    let node = node();
    for space in SPACES {
        let mut client = lasting(&node, space, "kitchen");
        client.subscribe("t/#", Qos::AtLeastOnce);
        client.sync();
        client.disconnect();
    }
    let mut there = lasting(&node, "acme", "hall");
    let ann = || user("ann", &["send:#", "recv:#"]);
    node.set_table(UserTable::of([ann()]).with_space(Space::new("other"), [ann()]));
    assert_eq!(there.sent_away(), ReasonCode::NotAuthorized);
    node.set_table(table());
    for space in SPACES {
        let back = lasting(&node, space, "kitchen");
        assert_eq!(back.session_present(), space != "acme", "{space}");
    }
}

#[test]
fn sessions_are_listed_by_space_in_the_words_of_their_clients() {
    let node = node();
    let mut clients = Vec::new();
    for space in SPACES {
        for id in ["kitchen", "hall"] {
            let mut client = lasting(&node, space, id);
            client.subscribe("t/+", Qos::AtLeastOnce);
            client.subscribe("$share/g/t/+", Qos::AtLeastOnce);
            clients.push(client);
        }
    }
    let list = |space: &str, prefix: &str| -> Vec<ClientSession> {
        let prefix = qualified(space, prefix).into_owned();
        let query = SessionQuery { prefix, limit: 100, ..SessionQuery::default() };
        let (views, _) = node.wait_for(node.hub().client_sessions(query));
        views.into_iter().map(|view| view.session).collect()
    };
    for space in SPACES {
        let ids = |prefix: &str| list(space, prefix).into_iter().map(|one| one.client).collect::<Vec<_>>();
        assert_eq!(ids(""), ["hall", "kitchen"]);
        assert_eq!(ids("k"), ["kitchen"]);
        let inside = Arc::from(&*qualified(space, "hall"));
        let view = node.wait_for(node.hub().client_session(&inside)).unwrap().session;
        let filters: Vec<String> = view.filters.unwrap().into_iter().map(|one| one.filter).collect();
        assert_eq!((view.client.as_str(), filters), ("hall", vec!["t/+".into(), "$share/g/t/+".into()]));
    }
    assert_eq!(list("nowhere", "").len(), 0);
}

#[test]
fn rights_speak_of_names_in_the_space() {
    let node = node();
    let few = Options::new("few").user("few@acme", PASSWORD);
    let mut few = Mqtt::connect(&node, 0, few);
    assert_eq!(few.subscribe("t/own/#", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    for filter in ["t/#", "#", "$s/acme/t/own/#", "$share/g/t/#"] {
        assert_eq!(few.subscribe(filter, Qos::AtLeastOnce), ReasonCode::NotAuthorized, "{filter}");
    }
    for name in ["t/a", "$s/acme/t/own/a"] {
        assert_eq!(few.publish(name, "x", Qos::AtLeastOnce), ReasonCode::NotAuthorized, "{name}");
    }
    few.publish("t/own/a", "mine", Qos::AtLeastOnce);
    assert_eq!(few.receive().text(), "mine");
}

#[test]
fn a_topic_alias_stands_for_a_name_of_the_space() {
    let node = node_with(&FaultyDisk::new(0), |config| config.mqtt.topic_alias_maximum = 10);
    let mut witnesses = SPACES.map(|space| client(&node, space, "witness"));
    let mut publishers = SPACES.map(|space| {
        let mut options = of(space, Options::new("publisher"));
        options.config.limits.max_outgoing_aliases = 10;
        Mqtt::connect(&node, 0, options)
    });
    for witness in &mut witnesses {
        witness.subscribe("t/#", Qos::AtLeastOnce);
    }
    for round in 0..5 {
        for (space, publisher) in SPACES.iter().zip(&mut publishers) {
            publisher.publish("t/with/a/long/name", &format!("{space} {round}"), Qos::AtLeastOnce);
        }
    }
    assert!(publishers.iter().all(|publisher| publisher.engine.has_outgoing_aliases()));
    for (space, witness) in SPACES.iter().zip(&mut witnesses) {
        for round in 0..5 {
            let got = witness.receive();
            assert_eq!(
                (got.topic.as_str(), got.text()),
                ("t/with/a/long/name", &*format!("{space} {round}"))
            );
        }
        witness.sync();
        assert_eq!(witness.received, []);
    }
}

#[test]
fn clients_of_amqp_and_mqtt_meet_in_their_space() {
    let node = node();
    let login = |space: &str| Login::Plain { user: name_in(space), password: PASSWORD };
    let mut consumers = SPACES.map(|space| Client::logged_in(node.connect(1), login(space), "container"));
    let mut subscribers = SPACES.map(|space| client(&node, space, "subscriber"));
    for (consumer, subscriber) in consumers.iter_mut().zip(&mut subscribers) {
        consumer.consumer("t/a", 10);
        consumer.consumer("q", 10);
        subscriber.subscribe("t/#", Qos::AtLeastOnce);
        subscriber.subscribe("x/#", Qos::AtLeastOnce);
    }
    for space in SPACES {
        let mut publisher = client(&node, space, "publisher");
        publisher.publish("t/a", space, Qos::AtLeastOnce);
        publisher.publish("q", space, Qos::AtLeastOnce);
    }
    for (space, consumer) in SPACES.iter().zip(&mut consumers) {
        for count in 1..=2 {
            let received = consumer.receive(count);
            let message = Message::decode(&received.bytes.clone().into()).unwrap();
            assert_eq!(message.body, Message::data(*space).body);
            let annotated = |text: &Value| text.as_str().is_some_and(|text| text.contains("$s"));
            assert!(!message.message_annotations.iter().any(|(_, value)| annotated(value)), "{message:?}");
            consumer.accept(&received);
        }
    }
    for space in SPACES {
        let mut sender = Client::logged_in(node.connect(0), login(space), "container");
        for address in ["t/b", "x/y"] {
            let out = sender.producer(address);
            let number = sender.send_text(out, space);
            sender.outcome(number);
        }
    }
    for (space, subscriber) in SPACES.iter().zip(&mut subscribers) {
        let mut got: Vec<(String, String)> =
            (0..3).map(|_| subscriber.receive()).map(|one| (one.text().to_owned(), one.topic)).collect();
        got.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        assert_eq!(got, ["t/a", "t/b", "x/y"].map(|topic| ((*space).to_owned(), topic.to_owned())));
        subscriber.sync();
        assert_eq!(subscriber.received, []);
    }
    // Nothing else has come to the consumers: this is the next.
    for (space, consumer) in SPACES.iter().zip(&mut consumers) {
        client(&node, space, "publisher").publish("t/a", "the end", Qos::AtLeastOnce);
        let message = Message::decode(&consumer.receive(3).bytes.into()).unwrap();
        assert_eq!((message.body, consumer.received.len()), (Message::data("the end").body, 3));
    }
}
