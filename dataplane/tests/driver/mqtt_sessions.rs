//! Sessions of MQTT clients: who is let in, what is resumed, what ends, and what is published then.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mq_amqp::LinkKey;
use mq_model::admin::ClientSession;
use mq_model::config::DaemonConfig;
use mq_model::manifest::AddressType;
use mq_mqtt::packet::SubscriptionOptions;
use mq_mqtt::property::PropertyView;
use mq_mqtt::{Config, Limits, Qos, ReasonCode, Version};
use mq_store::testing::{FaultyDisk, Operation};
use mqd::hub::{SessionQuery, SessionView, Speaks};

use crate::client::Client;
use crate::mqtt_client::{Mqtt, Options};
use crate::node::{DEADLINE, Node, Place};

const SHARDS: u16 = 2;

/// The shard where a client's session is.
fn home(client_id: &str) -> usize {
    usize::from(mq_core::home(client_id, SHARDS).shard())
}

/// A client identifier that has its home on this shard.
fn named(prefix: &str, shard: usize) -> String {
    (0..).map(|number| format!("{prefix}{number}")).find(|id| home(id) == shard).unwrap()
}

/// Every session of the node.
fn sessions(node: &Node) -> Vec<ClientSession> {
    let query = SessionQuery { limit: 1_000, ..SessionQuery::default() };
    let (views, _) = node.wait_for(node.hub().client_sessions(query));
    views.into_iter().map(|view| with_held(node, view)).collect()
}

/// A session with what waits for it in topics.
fn with_held(node: &Node, mut view: SessionView) -> ClientSession {
    let asked = view.topics.iter().map(|topic| (topic.clone(), view.subscription.clone())).collect();
    for held in node.wait_for(node.hub().held(asked)) {
        view.add(&held);
    }
    view.session
}

fn session(node: &Node, client_id: &str) -> Option<ClientSession> {
    let view = node.wait_for(node.hub().client_session(&Arc::from(client_id)))?;
    Some(with_held(node, view))
}

/// Waits until what is known of the client's session is so.
#[track_caller]
fn until_session(node: &Node, client_id: &str, what: &str, is_so: impl Fn(Option<&ClientSession>) -> bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let session = session(node, client_id);
        if is_so(session.as_ref()) {
            return;
        }
        assert!(Instant::now() < end, "waited too long for {what}: {session:?}");
        std::thread::yield_now();
    }
}

/// Who gets what is published to the queue `q`.
struct Witness {
    client: Client,
    seen: usize,
}

impl Witness {
    fn of(node: &Node) -> Self {
        let mut client = Client::connect(node, 0);
        let _: LinkKey = client.consumer("q", 100);
        Self { client, seen: 0 }
    }

    /// What comes next.
    #[track_caller]
    fn next(&mut self) -> String {
        self.seen += 1;
        let received = self.client.receive(self.seen);
        self.client.accept(&received);
        received.text()
    }
}

/// Publishes to the queue `q`, so that whatever was to come before has come.
#[track_caller]
fn mark(node: &Node, text: &str) {
    let mut client = Client::connect(node, 1);
    let out = client.producer("q");
    let sent = client.send_text(out, text);
    client.outcome(sent);
}

/// Sends bytes as the first thing; gives all that the node answers until it closes.
fn answer_to(node: &Node, bytes: &[u8]) -> Vec<u8> {
    let mut stream = node.connect_as(0, Speaks::Mqtt, false, bytes);
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

// ---- CONNECT and CONNACK --------------------------------------------------------------------------

#[test]
fn a_client_is_told_what_the_node_takes() {
    let node = Node::with(|config| {
        config.mqtt.receive_maximum = 7;
        config.mqtt.max_packet_size = 4_096;
        config.mqtt.topic_alias_maximum = 3;
        config.mqtt.max_qos = 1;
    });
    let client = Mqtt::connect(&node, 0, Options::new("a"));
    let told = client.connack().properties.view();
    assert_eq!(told.receive_maximum(), Some(7));
    assert_eq!(told.maximum_packet_size(), Some(4_096));
    assert_eq!(told.topic_alias_maximum(), Some(3));
    assert_eq!(told.maximum_qos(), Some(Qos::AtLeastOnce));
    assert_eq!((told.session_expiry_interval(), told.server_keep_alive()), (None, None));
    assert_eq!((told.assigned_client_identifier(), told.response_information()), (None, None));
}

#[test]
fn a_client_without_an_identifier_gets_one_that_nobody_has_and_that_finds_its_session_again() {
    let node = Node::start();
    let mut ids = Vec::new();
    for number in 0..20 {
        let options = if number % 2 == 0 { Options::new("") } else { Options::lasting("", 60) };
        let client = Mqtt::connect(&node, number % 2, options);
        let id = client.connack().properties.view().assigned_client_identifier().unwrap().to_owned();
        assert!(!client.session_present() && !ids.contains(&id));
        client.disconnect();
        ids.push(id);
    }
    let again = Mqtt::connect(&node, 0, Options::lasting(&ids[1], 60));
    assert!(again.session_present());
    assert_eq!(again.connack().properties.view().assigned_client_identifier(), None);
    drop(node);
    let node = Node::start();
    let later = Mqtt::connect(&node, 0, Options::new(""));
    let id = later.connack().properties.view().assigned_client_identifier().unwrap().to_owned();
    assert!(!ids.contains(&id), "not after a restart either");
}

#[test]
fn a_client_identifier_that_is_too_long_is_refused() {
    let node = Node::start();
    let refused = Mqtt::try_connect(&node, 0, Options::new(&"x".repeat(1_025)));
    assert_eq!(refused.connack().reason, ReasonCode::ClientIdentifierNotValid);
    assert!(!refused.session_present());
    Mqtt::connect(&node, 0, Options::new(&"x".repeat(1_024)));
}

#[test]
fn a_client_of_3_1_1_that_wants_a_session_without_an_identifier_is_refused_in_its_own_form() {
    let node = Node::start();
    // Clean session 0, no keep alive, an empty identifier.
    let connect = b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00";
    assert_eq!(answer_to(&node, connect), b"\x20\x02\x00\x02");
}

#[test]
fn a_keep_alive_longer_than_the_longest_is_replaced_and_told() {
    let node = Node::with(|config| config.mqtt.keep_alive_max = 60);
    for (wanted, told) in [(0, Some(60)), (61, Some(60)), (60, None), (10, None)] {
        let mut options = Options::new("a");
        options.connect.keep_alive = wanted;
        let client = Mqtt::connect(&node, 0, options);
        assert_eq!(client.connack().properties.view().server_keep_alive(), told, "{wanted}");
    }
}

#[test]
fn a_session_expiry_longer_than_the_longest_is_replaced_and_told() {
    let node = Node::with(|config| config.mqtt.session_expiry_max = 60);
    for (wanted, told) in [(u32::MAX, Some(60)), (61, Some(60)), (60, None), (0, None)] {
        let client = Mqtt::connect(&node, 0, Options::lasting("a", wanted));
        assert_eq!(client.connack().properties.view().session_expiry_interval(), told, "{wanted}");
        assert_eq!(session(&node, "a").unwrap().expiry_seconds, wanted.min(60));
    }
    let _client = Mqtt::connect(&node, 0, Options::v3("b", false));
    assert_eq!(session(&node, "b").unwrap().expiry_seconds, 60, "3.1.1 gets what is allowed");
}

#[test]
fn response_information_is_for_who_asks() {
    let node = Node::start();
    let ask = |id: &str| {
        Options::new(id).with(|properties| {
            properties.request_response_information(true).unwrap();
        })
    };
    let client = Mqtt::connect(&node, 0, ask("kitchen"));
    assert_eq!(client.connack().properties.view().response_information(), Some("reply/kitchen"));
    let client = Mqtt::connect(&node, 0, ask("a/#"));
    let told = client.connack().properties.view().response_information().unwrap().to_owned();
    assert!(told.starts_with("reply/") && !told.contains('#'), "{told}");
}

#[test]
fn an_authentication_method_that_there_is_not_is_refused() {
    let node = Node::start();
    let options = Options::new("a").with(|properties| {
        properties.authentication_method("GS2-KRB5").unwrap();
    });
    let refused = Mqtt::try_connect(&node, 0, options);
    assert_eq!(refused.connack().reason, ReasonCode::BadAuthenticationMethod);
    node.until_empty();
    assert!(sessions(&node).is_empty());
}

#[test]
fn a_client_that_takes_too_small_packets_for_its_connack_is_not_let_in() {
    let node = Node::with(|config| config.mqtt.keep_alive_max = 60);
    let options = Options::new("").with(|properties| {
        properties.maximum_packet_size(20).unwrap();
    });
    let mut config = Config::default();
    config.limits = Limits { max_packet_size: 20, ..config.limits };
    let refused = Mqtt::try_connect(&node, 0, Options { config, ..options });
    assert_eq!(refused.connack().reason, ReasonCode::PacketTooLarge);
    node.until_empty();
    assert!(sessions(&node).is_empty(), "nothing of it is left");
}

#[test]
fn a_will_to_a_reserved_name_that_no_address_serves_is_refused() {
    let node = Node::start();
    let refused = Mqtt::try_connect(&node, 0, Options::new("a").will("$SYS/x", "gone", 0));
    assert_eq!(refused.connack().reason, ReasonCode::TopicNameInvalid);
}

#[test]
fn what_a_client_sends_before_its_connack_is_served_after_it() {
    let node = Node::start();
    for (clean_session, id) in [(0_u8, b'a'), (2, b'b')] {
        let mut bytes = b"\x10\x0d\x00\x04MQTT\x04".to_vec();
        bytes.extend([clean_session, 0, 0, 0, 1, id]);
        // SUBSCRIBE to t/x with QoS 1, and PINGREQ.
        bytes.extend(b"\x82\x08\x00\x01\x00\x03t/x\x01\xc0\x00");
        let mut stream = node.connect_as(0, Speaks::Mqtt, false, &bytes);
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).unwrap();
        assert_eq!(connack, *b"\x20\x02\x00\x00");
        // The answers to the two come in any order.
        let mut answers = [0; 7];
        stream.read_exact(&mut answers).unwrap();
        let (suback, pong) = (b"\x90\x03\x00\x01\x01", b"\xd0\x00");
        let has = |answer: &[u8]| answers.windows(answer.len()).any(|window| window == answer);
        assert!(has(suback) && has(pong), "{answers:x?}");
    }
}

// ---- sessions -------------------------------------------------------------------------------------

#[test]
fn session_present_is_true_to_the_facts() {
    let node = Node::start();
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present(), "there was none");
    assert!(Mqtt::connect(&node, 1, Options::lasting("a", 60)).session_present(), "it was kept");
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 60).clean()).session_present(), "a clean start");
    assert!(Mqtt::connect(&node, 0, Options::lasting("a", 0)).session_present(), "kept until then");
    until_session(&node, "a", "its end", |session| session.is_none());
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present(), "it was to end");
}

#[test]
fn a_session_that_is_resumed_to_end_with_the_connection_still_gets_what_was_kept_for_it() {
    for restarts in [false, true] {
        let place = Place::new();
        let mut node = Node::at(&place, |_| {});
        let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 600));
        client.subscribe("t/x", Qos::AtLeastOnce);
        client.subscribe("$share/g/t/y", Qos::AtLeastOnce);
        client.vanish();
        let mut publisher = Mqtt::connect(&node, 1, Options::new("p"));
        for number in 0..5 {
            publisher.publish("t/x", &number.to_string(), Qos::AtLeastOnce);
        }
        publisher.publish("t/y", "5", Qos::AtLeastOnce);
        drop(publisher);
        if restarts {
            drop(node);
            node = Node::at(&place, |_| {});
        }
        let mut last = Mqtt::connect(&node, 0, Options::lasting("a", 0));
        assert!(last.session_present());
        let mut got: Vec<String> = (0..6).map(|_| last.receive().text().to_owned()).collect();
        got.sort();
        assert_eq!(got, ["0", "1", "2", "3", "4", "5"], "restarts: {restarts}");
        last.disconnect();
        until_nothing_is_held(&node);
        assert!(sessions(&node).is_empty());
        let mut again = Mqtt::connect(&node, 0, Options::lasting("a", 600));
        assert!(!again.session_present());
        again.sync();
        assert!(again.received.is_empty());
    }
}

#[test]
fn very_many_sessions_end_whose_time_is_over_at_once() {
    let node = Node::start();
    for number in 0..300 {
        Mqtt::connect(&node, 0, Options::lasting(&format!("client {number}"), 1)).disconnect();
    }
    let end = Instant::now() + DEADLINE;
    while !sessions(&node).is_empty() {
        assert!(Instant::now() < end, "{} are left", sessions(&node).len());
        std::thread::yield_now();
    }
}

#[test]
fn a_session_of_3_1_1_is_kept_unless_it_is_clean() {
    let node = Node::start();
    Mqtt::connect(&node, 0, Options::v3("a", false)).disconnect();
    assert!(Mqtt::connect(&node, 0, Options::v3("a", false)).session_present());
    Mqtt::connect(&node, 0, Options::v3("a", true)).disconnect();
    assert!(!Mqtt::connect(&node, 0, Options::v3("a", false)).session_present());
}

#[test]
fn a_session_goes_on_in_the_other_version() {
    let node = Node::start();
    Mqtt::connect(&node, 0, Options::v3("a", false)).disconnect();
    let client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    assert!(client.session_present());
    assert_eq!(client.engine.version(), Version::V5_0);
}

#[test]
fn a_session_ends_by_itself_when_its_time_is_over() {
    let node = Node::start();
    Mqtt::connect(&node, 0, Options::lasting("a", 1)).disconnect();
    let away = session(&node, "a").expect("it is kept");
    assert!(away.connection.is_none() && away.expires_at.is_some());
    until_session(&node, "a", "its end", |session| session.is_none());
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 1)).session_present());
}

#[test]
fn a_disconnect_changes_how_long_the_session_is_kept() {
    let node = Node::start();
    let client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    client.disconnect_with(ReasonCode::Success, Some(0));
    until_session(&node, "a", "its end", |session| session.is_none());
    let client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    client.disconnect_with(ReasonCode::Success, Some(7_200));
    assert_eq!(session(&node, "a").unwrap().expiry_seconds, 7_200);
}

#[test]
fn another_connection_of_the_client_takes_the_session_over() {
    let node = Node::start();
    let mut first = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    let mut second = Mqtt::connect(&node, 1, Options::lasting("a", 60));
    assert!(second.session_present());
    assert_eq!(first.sent_away(), ReasonCode::SessionTakenOver);
    drop(first);
    second.sync();
    let found = session(&node, "a").unwrap();
    assert!(found.connection.is_some(), "the end of the first leaves the second alone");
    // A client that comes back in the same moment, again and again.
    let mut last = second;
    for _ in 0..20 {
        let next = Mqtt::connect(&node, 0, Options::lasting("a", 60));
        assert!(next.session_present());
        last = next;
    }
    last.sync();
    assert_eq!(sessions(&node).len(), 1);
}

#[test]
fn a_connection_of_3_1_1_is_closed_without_a_word_when_it_is_taken_over() {
    let node = Node::start();
    let mut first = Mqtt::connect(&node, 0, Options::v3("a", true));
    let mut second = Mqtt::connect(&node, 0, Options::v3("a", true));
    first.until_ended();
    assert!(first.disconnected.is_none() && !second.session_present());
    second.sync();
}

#[test]
fn a_clean_start_ends_the_session_before_with_its_subscriptions() {
    let node = Node::start();
    let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    assert_eq!(client.subscribe("t/+", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    client.disconnect();
    assert_eq!(session(&node, "a").unwrap().subscriptions, 1);
    let client = Mqtt::connect(&node, 0, Options::lasting("a", 60).clean());
    assert!(!client.session_present());
    assert_eq!(session(&node, "a").unwrap().subscriptions, 0);
}

/// The durable subscriptions of the topic `t`.
fn held(node: &Node) -> Vec<String> {
    let subscriptions = node.wait_for(node.hub().subscriptions(&Arc::from("t")));
    subscriptions.iter().map(|subscription| subscription.statistics.name.to_string()).collect()
}

/// Waits until the topic `t` keeps nothing for anybody.
#[track_caller]
fn until_nothing_is_held(node: &Node) {
    let end = Instant::now() + DEADLINE;
    while !held(node).is_empty() {
        assert!(Instant::now() < end, "still there: {:?}", held(node));
        std::thread::yield_now();
    }
}

#[test]
fn with_a_session_ends_what_is_kept_for_it_whatever_ends_it() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let connect = |node: &Node, expiry| {
        let mut client = Mqtt::connect(node, 0, Options::lasting("a", expiry));
        assert_eq!(client.subscribe("t/x", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
        assert_eq!(client.subscribe("$share/g/t/y", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
        assert_eq!(held(node).len(), 2);
        client
    };
    // Its time.
    connect(&node, 1).disconnect();
    until_nothing_is_held(&node);
    // Its client.
    connect(&node, 60).disconnect_with(ReasonCode::Success, Some(0));
    until_nothing_is_held(&node);
    connect(&node, 60).disconnect();
    Mqtt::connect(&node, 0, Options::new("a")).sync();
    until_nothing_is_held(&node);
    // An administrator.
    let _client = connect(&node, 60);
    assert_eq!(node.wait_for(node.hub().end_client_session(&Arc::from("a"))), Some(true));
    until_nothing_is_held(&node);
    // The end of its time while the node is down.
    connect(&node, 1).disconnect();
    drop(node);
    let went = Instant::now();
    while went.elapsed() < Duration::from_millis(1_100) {
        std::thread::yield_now();
    }
    let node = Node::at(&place, |_| {});
    until_nothing_is_held(&node);
}

#[test]
fn a_silent_client_is_sent_away_after_one_and_a_half_times_its_keep_alive() {
    let node = Node::start();
    let mut options = Options::new("a");
    options.connect.keep_alive = 1;
    let began = Instant::now();
    let mut client = Mqtt::connect(&node, 0, options);
    // Reads and answers nothing: a client's engine would ping.
    let mut bytes = Vec::new();
    client.stream.set_read_timeout(Some(DEADLINE)).unwrap();
    client.stream.read_to_end(&mut bytes).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1_500), "{:?}", began.elapsed());
    assert_eq!(bytes, [0xe0, 0x01, 0x8d], "a DISCONNECT with keep alive timeout");
}

#[test]
fn an_administrator_ends_a_session_with_its_connection() {
    let node = Node::start();
    let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    let end = |id: &str| node.wait_for(node.hub().end_client_session(&Arc::from(id)));
    assert_eq!(end("a"), Some(true));
    assert_eq!(client.sent_away(), ReasonCode::AdministrativeAction);
    assert_eq!((end("a"), session(&node, "a")), (Some(false), None));
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present());
}

#[test]
fn nothing_is_left_of_a_client_whose_session_ends_with_its_connection() {
    let node = Node::start();
    for number in 0..10 {
        let client = Mqtt::connect(&node, number % 2, Options::new(&format!("client {number}")));
        if number % 3 == 0 { drop(client.vanish()) } else { client.disconnect() }
    }
    node.until_empty();
    assert!(sessions(&node).is_empty());
}

// ---- restarts -------------------------------------------------------------------------------------

#[test]
fn a_session_survives_a_restart_and_the_loss_of_power() {
    let disk = FaultyDisk::new(1);
    let node = Node::at(&Place::on(&disk), |_| {});
    let _connected = Mqtt::connect(&node, 0, Options::lasting("here", 60));
    Mqtt::connect(&node, 0, Options::lasting("away", 60)).disconnect();
    let _fleeting = Mqtt::connect(&node, 0, Options::new("fleeting"));
    let left = disk.crash();
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    assert!(Mqtt::connect(&node, 0, Options::lasting("here", 60)).session_present());
    assert!(Mqtt::connect(&node, 1, Options::lasting("away", 60)).session_present());
    assert!(!Mqtt::connect(&node, 0, Options::lasting("fleeting", 60)).session_present());
}

#[test]
fn a_session_that_a_clean_start_has_ended_does_not_come_back_with_a_restart() {
    let disk = FaultyDisk::new(11);
    let node = Node::at(&Place::on(&disk), |_| {});
    Mqtt::connect(&node, 0, Options::lasting("a", 60)).disconnect();
    let _clean = Mqtt::connect(&node, 0, Options::new("a"));
    let left = disk.crash();
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    assert!(!Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present());
}

#[test]
fn subscriptions_survive_a_restart_with_their_options() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    let options = SubscriptionOptions {
        no_local: true,
        retain_as_published: true,
        ..SubscriptionOptions::new(Qos::ExactlyOnce)
    };
    assert_eq!(client.subscribe_all(&[("t/+", options)], Some(9)), [ReasonCode::GrantedQos2]);
    client.subscribe("t/b", Qos::AtMostOnce);
    client.subscribe("t/c", Qos::AtMostOnce);
    assert_eq!(client.unsubscribe("t/c"), [ReasonCode::Success]);
    drop(client);
    drop(node);
    let node = Node::at(&place, |_| {});
    let filters = session(&node, "a").unwrap().filters.unwrap();
    let seen: Vec<_> = filters.iter().map(|one| (&*one.filter, one.qos, one.identifier)).collect();
    assert_eq!(seen, [("t/+", 2, Some(9)), ("t/b", 0, None)]);
    assert!(filters[0].no_local && filters[0].retain_as_published && !filters[1].no_local);
}

#[test]
fn a_session_expires_by_the_time_of_day_also_while_the_node_is_down() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    Mqtt::connect(&node, 0, Options::lasting("short", 1)).disconnect();
    Mqtt::connect(&node, 0, Options::lasting("long", 3_600)).disconnect();
    drop(node);
    let went = Instant::now();
    while went.elapsed() < Duration::from_millis(1_100) {
        std::thread::yield_now();
    }
    let node = Node::at(&place, |_| {});
    assert!(!Mqtt::connect(&node, 0, Options::lasting("short", 1)).session_present());
    assert!(Mqtt::connect(&node, 0, Options::lasting("long", 3_600)).session_present());
    drop(node);
    let node = Node::at(&place, |_| {});
    assert!(session(&node, "short").is_some(), "the new one is kept");
}

#[test]
fn a_session_that_ended_is_not_there_after_a_restart() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    client.disconnect_with(ReasonCode::Success, Some(0));
    Mqtt::connect(&node, 0, Options::lasting("b", 60)).disconnect();
    // The session goes on, and is to end with this connection: the node's end is its end, too.
    let _last = Mqtt::connect(&node, 0, Options::lasting("b", 0));
    drop(node);
    let node = Node::at(&place, |_| {});
    until_session(&node, "b", "its end", |session| session.is_none());
    assert!(sessions(&node).is_empty());
}

#[test]
fn a_session_that_cannot_be_kept_is_refused() {
    let disk = FaultyDisk::new(4);
    let node = Node::at(&Place::on(&disk), |_| {});
    disk.fail(Operation::Sync, 0, std::io::ErrorKind::Other);
    let refused = Mqtt::try_connect(&node, 0, Options::lasting("a", 60));
    assert_eq!(refused.connack().reason, ReasonCode::ServerUnavailable);
    // Who wants nothing kept needs no disk.
    Mqtt::connect(&node, 0, Options::new("b")).sync();
}

#[test]
fn a_client_is_let_in_when_its_session_is_on_disk() {
    let disk = FaultyDisk::new(5);
    let node = Node::at(&Place::on(&disk), |_| {});
    let before = disk.syncs();
    let _client = Mqtt::connect(&node, 0, Options::new("a"));
    assert_eq!(disk.syncs(), before, "nothing to keep, nothing to wait for");
    let _client = Mqtt::connect(&node, 0, Options::lasting("b", 60).will("q", "gone", 0));
    assert!(disk.syncs() > before);
}

#[test]
fn a_subscription_that_changes_nothing_is_not_written_again() {
    let disk = FaultyDisk::new(6);
    let node = Node::at(&Place::on(&disk), |_| {});
    let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    client.subscribe("t/x", Qos::AtMostOnce);
    let before = disk.syncs();
    client.subscribe("t/x", Qos::AtMostOnce);
    assert_eq!(disk.syncs(), before);
    assert_eq!(client.unsubscribe("t/y"), [ReasonCode::NoSubscriptionExisted]);
    assert_eq!(disk.syncs(), before);
    client.subscribe("t/y", Qos::AtMostOnce);
    assert!(disk.syncs() > before);
}

#[test]
fn a_node_that_stops_tells_its_clients_and_keeps_their_sessions() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
    let mut old = Mqtt::connect(&node, 1, Options::v3("b", false));
    let hub = node.hub().clone();
    let drained = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(hub.drain(Instant::now(), "the node is stopping"))
    });
    assert_eq!(client.sent_away(), ReasonCode::ServerShuttingDown);
    old.until_ended();
    assert!(old.disconnected.is_none());
    drained.join().unwrap();
    let late = Mqtt::try_connect(&node, 0, Options::new("c"));
    assert_eq!(late.connack().reason, ReasonCode::ServerUnavailable);
    drop(node);
    let node = Node::at(&place, |_| {});
    assert!(Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present());
    assert!(Mqtt::connect(&node, 0, Options::v3("b", false)).session_present());
}

// ---- wills ----------------------------------------------------------------------------------------

#[test]
fn the_will_is_published_on_every_end_but_a_normal_one() {
    let node = Node::start();
    let mut witness = Witness::of(&node);
    for shard in 0..2 {
        let with = |text: &str| Options::new(&named("client", shard)).will("q", text, 0);
        Mqtt::connect(&node, 0, with("normal")).disconnect();
        Mqtt::connect(&node, 0, with("vanished")).vanish();
        assert_eq!(witness.next(), "vanished");
        Mqtt::connect(&node, 0, with("asked for")).disconnect_with(ReasonCode::DisconnectWithWill, None);
        assert_eq!(witness.next(), "asked for");
        Mqtt::connect(&node, 0, with("own reason")).disconnect_with(ReasonCode::QuotaExceeded, None);
        assert_eq!(witness.next(), "own reason");

        let mut broken = Mqtt::connect(&node, 0, with("broken"));
        broken.stream.write_all(b"\xc1\x00").unwrap();
        assert_eq!(witness.next(), "broken");
        assert_eq!(broken.sent_away(), ReasonCode::MalformedPacket);

        let mut silent = with("silent");
        silent.connect.keep_alive = 1;
        let _silent = Mqtt::connect(&node, 0, silent);
        assert_eq!(witness.next(), "silent");

        let mut ended = Mqtt::connect(&node, 0, with("ended"));
        let id = named("client", shard);
        assert_eq!(node.wait_for(node.hub().end_client_session(&Arc::from(&*id))), Some(true));
        assert_eq!(witness.next(), "ended");
        ended.until_ended();
    }
    mark(&node, "the last");
    assert_eq!(witness.next(), "the last");
}

#[test]
fn a_client_that_is_taken_over_has_its_will_published_unless_it_was_to_wait() {
    let node = Node::start();
    let mut witness = Witness::of(&node);
    let lasting = || Options::lasting("a", 60);
    let _first = Mqtt::connect(&node, 0, lasting().will("q", "at once", 0));
    let _second = Mqtt::connect(&node, 0, lasting().will("q", "later", 30));
    assert_eq!(witness.next(), "at once");
    let _third = Mqtt::connect(&node, 0, lasting().will("q", "after all", 30));
    let _fourth = Mqtt::connect(&node, 0, lasting().clean());
    assert_eq!(witness.next(), "after all", "the session has ended, and with it the time to wait");
    mark(&node, "the last");
    assert_eq!(witness.next(), "the last");
}

#[test]
fn a_will_waits_for_its_delay_and_the_client_that_comes_back_cancels_it() {
    let node = Node::start();
    let mut witness = Witness::of(&node);
    Mqtt::connect(&node, 0, Options::lasting("a", 60).will("q", "cancelled", 1)).vanish();
    assert!(Mqtt::connect(&node, 0, Options::lasting("a", 60)).session_present());
    let went = Instant::now();
    Mqtt::connect(&node, 0, Options::lasting("b", 60).will("q", "late", 1)).vanish();
    assert_eq!(witness.next(), "late");
    assert!(went.elapsed() >= Duration::from_millis(900), "{:?}", went.elapsed());
    mark(&node, "the last");
    assert_eq!(witness.next(), "the last");
}

#[test]
fn a_will_does_not_wait_longer_than_its_session() {
    let node = Node::start();
    let mut witness = Witness::of(&node);
    Mqtt::connect(&node, 0, Options::new("a").will("q", "no session", 3_600)).vanish();
    assert_eq!(witness.next(), "no session");
    Mqtt::connect(&node, 0, Options::lasting("b", 1).will("q", "expired", 3_600)).vanish();
    assert_eq!(witness.next(), "expired");
    let client = Mqtt::connect(&node, 0, Options::lasting("c", 60).will("q", "shortened", 3_600));
    client.disconnect_with(ReasonCode::DisconnectWithWill, Some(0));
    assert_eq!(witness.next(), "shortened");
    Mqtt::connect(&node, 0, Options::lasting("d", 60).will("q", "a clean start", 3_600)).vanish();
    let _clean = Mqtt::connect(&node, 0, Options::new("d"));
    assert_eq!(witness.next(), "a clean start");
}

#[test]
fn wills_are_published_by_the_next_run_of_a_node_that_has_lost_its_power() {
    let disk = FaultyDisk::new(9);
    let place = Place::on(&disk);
    let node = Node::at(&place, |_| {});
    let ids: Vec<String> = (0..2).map(|shard| named("here", shard)).collect();
    Mqtt::connect(&node, 0, Options::new("normal").will("q", "never", 0)).disconnect();
    // What is asked for later is on disk later: what follows is waited for.
    let clients = [
        Mqtt::connect(&node, 0, Options::new(&ids[0]).will("q", "fleeting", 0)),
        Mqtt::connect(&node, 0, Options::lasting(&ids[1], 60).will("q", "lasting", 0)),
        Mqtt::connect(&node, 0, Options::lasting("later", 60).will("q", "a moment later", 1)),
    ];
    Mqtt::connect(&node, 0, Options::lasting("away", 60).will("q", "has waited", 1)).vanish();
    let left = disk.crash();
    drop(clients);
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    let mut witness = Witness::of(&node);
    let mut seen: Vec<String> = (0..4).map(|_| witness.next()).collect();
    seen.sort();
    assert_eq!(seen, ["a moment later", "fleeting", "has waited", "lasting"]);
    until_session(&node, &ids[0], "the end of what was to end", |session| session.is_none());
    // Once and for all.
    drop(witness);
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    mark(&node, "the last");
    assert_eq!(Witness::of(&node).next(), "the last");
}

#[test]
fn wills_of_a_node_that_stops_are_published_by_its_next_run() {
    let place = Place::new();
    let node = Node::at(&place, |_| {});
    let _fleeting = Mqtt::connect(&node, 0, Options::new("a").will("q", "fleeting", 0));
    let _lasting = Mqtt::connect(&node, 0, Options::lasting("b", 60).will("q", "lasting", 0));
    let _back = Mqtt::connect(&node, 0, Options::lasting("c", 60).will("q", "cancelled", 3_600));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(node.hub().drain(Instant::now(), "the node is stopping"));
    drop(node);
    let node = Node::at(&place, |_| {});
    assert!(Mqtt::connect(&node, 0, Options::lasting("c", 60)).session_present());
    let mut witness = Witness::of(&node);
    let mut seen = [witness.next(), witness.next()];
    seen.sort();
    assert_eq!(seen, ["fleeting", "lasting"]);
    mark(&node, "the last");
    assert_eq!(witness.next(), "the last");
}

#[test]
fn a_will_that_nobody_takes_is_given_up() {
    let place = Place::new();
    let node = Node::at(&place, |config| config.mqtt.catch_all = false);
    let mut witness = Witness::of(&node);
    Mqtt::connect(&node, 0, Options::new("a").will("nowhere", "lost", 0)).vanish();
    Mqtt::connect(&node, 0, Options::new("b").will("q", "found", 0)).vanish();
    assert_eq!(witness.next(), "found");
    node.until("the producers of wills to go", |now| now.producers == 0);
}

#[test]
fn a_will_reaches_who_subscribes_with_all_that_the_client_gave_it() {
    let node = Node::start();
    let mut subscriber = Mqtt::connect(&node, 0, Options::new("s"));
    subscriber.subscribe("t/#", Qos::ExactlyOnce);
    let mut options = Options::new("a").will("t/gone", "last words", 0);
    let will = options.connect.will.as_mut().unwrap();
    let mut properties = mq_mqtt::property::PropertyWriter::new(mq_mqtt::property::PropertyIn::Will);
    properties.payload_format_indicator(true).unwrap().content_type("text/plain").unwrap();
    properties.response_topic("answers").unwrap().correlation_data(b"\x00\x01").unwrap();
    properties.message_expiry_interval(3_600).unwrap();
    for (name, value) in [("b", "1"), ("a", "2"), ("b", "3")] {
        properties.user_property(name, value).unwrap();
    }
    will.properties = properties.finish();
    will.qos = Qos::ExactlyOnce;
    Mqtt::connect(&node, 1, options).vanish();
    let got = subscriber.receive();
    assert_eq!((&*got.topic, got.text(), got.qos), ("t/gone", "last words", Qos::ExactlyOnce));
    let view: PropertyView<'_> = got.properties.view();
    assert_eq!(view.payload_format_indicator(), Some(true));
    assert_eq!((view.content_type(), view.response_topic()), (Some("text/plain"), Some("answers")));
    assert_eq!(view.correlation_data(), Some(&b"\x00\x01"[..]));
    let left = view.message_expiry_interval().unwrap();
    assert!((3_500..=3_600).contains(&left), "{left}");
    let users: Vec<_> = view.user_properties().collect();
    assert_eq!(users, [("b", "1"), ("a", "2"), ("b", "3")]);
}

#[test]
fn a_will_is_retained_when_it_asks_for_it() {
    let node = Node::start();
    let mut options = Options::new("a").will("t/state", "offline", 0);
    options.connect.will.as_mut().unwrap().retain = true;
    let mut witness = Mqtt::connect(&node, 0, Options::new("w"));
    witness.subscribe("t/state", Qos::AtLeastOnce);
    Mqtt::connect(&node, 1, options).vanish();
    assert_eq!(witness.receive().text(), "offline");
    let mut late = Mqtt::connect(&node, 1, Options::new("late"));
    late.subscribe("t/state", Qos::AtLeastOnce);
    let got = late.receive();
    assert_eq!((got.text(), got.retain), ("offline", true));
}

// ---- topics that come and go ------------------------------------------------------------------------

#[test]
fn topics_that_come_and_go_serve_the_subscriptions_that_are_there() {
    let node = Node::start();
    let (lasting, topic) = (|| Options::lasting("a", 60), AddressType::Topic);
    let mut publisher = Mqtt::connect(&node, 1, Options::new("p"));
    let mut client = Mqtt::connect(&node, 0, lasting());
    assert_eq!(client.subscribe("+/k", Qos::AtLeastOnce), ReasonCode::GrantedQos1);
    assert!(publisher.publish("u/k", "too early", Qos::AtLeastOnce).is_error());
    node.set("u", topic, |_| {});
    node.set("v", topic, |_| {});
    until_held(&node, &["u", "v"], "a");
    for name in ["u/k", "t/k", "v/k"] {
        assert_eq!(publisher.publish(name, name, Qos::AtLeastOnce), ReasonCode::Success);
        assert_eq!(client.receive().text(), name);
    }
    client.disconnect();
    // Nobody is there to attach to it, and still it keeps what is published.
    node.set("w", topic, |_| {});
    node.remove("v");
    until_held(&node, &["t", "u", "w"], "a");
    for name in ["w/k", "u/k", "t/k"] {
        assert_eq!(publisher.publish(name, name, Qos::AtLeastOnce), ReasonCode::Success);
    }
    assert!(publisher.publish("v/k", "too late", Qos::AtLeastOnce).is_error());
    let mut client = Mqtt::connect(&node, 0, lasting());
    assert!(client.session_present());
    let mut got: Vec<String> = (0..3).map(|_| client.receive().text().to_owned()).collect();
    got.sort();
    assert_eq!(got, ["t/k", "u/k", "w/k"]);
}

/// Waits until the session has a durable subscription of each of these topics.
#[track_caller]
fn until_held(node: &Node, topics: &[&str], client_id: &str) {
    let name = format!("%mqtt:{}:{client_id}", DaemonConfig::embedded("unused").node);
    let end = Instant::now() + DEADLINE;
    for topic in topics {
        let topic: Arc<str> = Arc::from(*topic);
        loop {
            let subscriptions = node.wait_for(node.hub().subscriptions(&topic));
            if subscriptions.iter().any(|subscription| *subscription.statistics.name == *name) {
                break;
            }
            assert!(Instant::now() < end, "no subscription of {topic}: {subscriptions:?}");
            std::thread::yield_now();
        }
    }
}

// ---- at the same time, and at any time --------------------------------------------------------------

#[test]
fn of_many_connections_of_a_client_at_the_same_time_one_stays() {
    let node = Node::start();
    for round in 0..10 {
        let mut clients: Vec<Mqtt> = (0..6)
            .map(|number| {
                let stream = node.connect_as((round + number) % 2, Speaks::Mqtt, false, &[]);
                Mqtt::begin(stream, Options::lasting("a", 60))
            })
            .collect();
        let end = Instant::now() + DEADLINE;
        while clients.iter().filter(|client| !client.has_ended).count() > 1 {
            assert!(Instant::now() < end, "several stay");
            clients.iter_mut().for_each(Mqtt::turn);
        }
        let mut last = clients.into_iter().find(|client| !client.has_ended).expect("one stays");
        last.until("its CONNACK", |client| client.connack.is_some());
        last.sync();
        assert_eq!(sessions(&node).len(), 1);
    }
}

#[test]
fn a_subscription_that_no_session_knows_after_the_loss_of_power_ends() {
    for operations in 0.. {
        let disk = FaultyDisk::new(operations);
        let node = Node::at(&Place::on(&disk), |_| {});
        let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
        disk.cut_power_after(operations);
        let options = SubscriptionOptions::new(Qos::AtLeastOnce);
        let reasons = client.subscribe_all(&[("t/x", options), ("$share/g/t/y", options)], None);
        let had_power = !disk.is_off();
        assert!(!had_power || reasons == [ReasonCode::GrantedQos1; 2], "{reasons:?}");
        let left = disk.crash();
        drop(client);
        drop(node);
        let node = Node::at(&Place::on(&left), |_| {});
        if session(&node, "a").unwrap().subscriptions == 0 {
            until_nothing_is_held(&node);
        }
        if had_power {
            assert!(operations > 1, "written after {operations} operations");
            return;
        }
    }
}

#[test]
fn what_a_transaction_writes_of_a_session_that_has_ended_does_not_stay() {
    let place = Place::new();
    let mut node = Node::at(&place, |_| {});
    let mut keeper = Mqtt::connect(&node, 0, Options::lasting("keeper", 60));
    keeper.subscribe("t/x", Qos::ExactlyOnce);
    keeper.disconnect();
    for round in 0..5 {
        for _ in 0..10 {
            let mut client = Mqtt::connect(&node, 0, Options::lasting("a", 60));
            for number in 0..5 {
                client.start("t/x", &number.to_string(), Qos::ExactlyOnce, false, PropertyView::default());
            }
            client.write();
            Mqtt::connect(&node, 1, Options::lasting("a", 60).clean()).sync();
        }
        drop(node);
        node = Node::at(&place, |_| {});
        assert_eq!(session(&node, "a").unwrap().unreleased, 0, "round {round}");
    }
}

/// What has to be so after a restart; `None`: nobody was told.
#[derive(Clone, Debug, Default)]
struct Fact {
    is_there: Option<bool>,
    has_will: Option<bool>,
    filters: Option<Vec<String>>,
}

#[test]
fn what_clients_were_told_of_their_sessions_holds_after_the_loss_of_power_at_any_time() {
    let seeds = std::env::var("MQ_TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = seeds.map_or(0..24, |seed: u64| seed..seed + 1);
    for seed in seeds {
        lose_power(seed);
    }
}

#[allow(clippy::print_stdout, reason = "a failure is repeated with its seed")]
fn lose_power(seed: u64) {
    println!("MQ_TESTS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let disk = FaultyDisk::new(seed);
    let node = Node::at(&Place::on(&disk), |_| {});
    let ids = ["a", "b", "c"];
    let mut facts: [Fact; 3] = Default::default();
    let mut clients: [Option<Mqtt>; 3] = [None, None, None];
    disk.cut_power_after(random.u64(5..150));
    let mut number = 0;
    while !disk.is_off() {
        number += 1;
        let which = random.usize(0..3);
        let fact = &mut facts[which];
        match (random.u32(0..6), clients[which].take()) {
            (0..=1, Some(mut client)) => {
                let filter = format!("t/{number}");
                let mut filters = fact.filters.take().unwrap_or_default();
                if !client.subscribe(&filter, Qos::AtLeastOnce).is_error() {
                    filters.push(filter);
                    fact.filters = Some(filters);
                }
                clients[which] = Some(client);
            }
            (2, Some(mut client)) => {
                let filters = fact.filters.take().unwrap_or_default();
                if let Some((gone, rest)) = filters.split_first() {
                    if client.unsubscribe(gone) == [ReasonCode::Success] {
                        fact.filters = Some(rest.to_vec());
                    }
                } else {
                    fact.filters = Some(filters);
                }
                clients[which] = Some(client);
            }
            (3, Some(client)) => {
                client.disconnect();
                // It may be written down or not.
                fact.has_will = None;
            }
            (kind, _) => {
                let before = std::mem::take(fact);
                let (is_clean, has_will) = (kind == 4, random.bool());
                let mut options = Options::lasting(ids[which], 3_600);
                options.connect.clean_start = is_clean;
                if has_will {
                    options = options.will("q", "gone", 3_600);
                }
                let client = Mqtt::try_connect(&node, 0, options);
                if client.connack().reason.is_error() {
                    continue;
                }
                let filters = if is_clean || before.is_there != Some(true) { None } else { before.filters };
                let filters = if client.session_present() { filters } else { Some(Vec::new()) };
                *fact = Fact { is_there: Some(true), has_will: Some(has_will), filters };
                clients[which] = Some(client);
            }
        }
    }
    let left = disk.crash();
    drop(clients);
    drop(node);
    let node = Node::at(&Place::on(&left), |_| {});
    for (id, fact) in ids.iter().zip(&facts) {
        let found = session(&node, id);
        if let Some(is_there) = fact.is_there {
            assert_eq!(found.is_some(), is_there, "seed {seed}: {id} {fact:?}");
        }
        let Some(found) = found.filter(|_| fact.is_there.is_some()) else { continue };
        if let Some(has_will) = fact.has_will {
            // That of a session before, which was on its way, is on its way again.
            let what = format!("the will of {id} to be there or not, seed {seed}: {fact:?}");
            until_session(&node, id, &what, |session| session.unwrap().will.is_some() == has_will);
        }
        if let Some(filters) = &fact.filters {
            let mut kept: Vec<String> = found.filters.unwrap().into_iter().map(|one| one.filter).collect();
            kept.sort();
            let mut filters = filters.clone();
            filters.sort();
            assert_eq!(kept, filters, "seed {seed}: {id}");
        }
    }
}
