//! Address spaces over MQTT, with clients that are not ours: whatever they write, none finds anything of another
//! space, on one node and in a fleet.

use mq_model::admin::{ClientSession, DrainState, NodeDrain, Page};
use mq_tests::admin::Admin;
use mq_tests::foreign::is_skipped;
use mq_tests::mqtt::{Broker, Client, Dialect, Message, is_reference, lasting, mosquitto_client};
use mq_tests::{Daemon, Fleet, Running, eventually};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

/// The spaces of these tests, all with addresses, users and clients of the same names.
const SPACES: [&str; 3] = ["default", "acme", "other"];

/// What somebody may subscribe to who wants what is not his. `SPACE` stands for the name of each space.
const FILTERS: [&str; 22] = [
    "#",
    "+/#",
    "+/+",
    "+/SPACE/#",
    "+/+/+/+",
    "t/#",
    "t/kept",
    "/#",
    "$s/#",
    "$s/+/#",
    "$s/+/t/kept",
    "$s/SPACE/#",
    "$s/SPACE/t/#",
    "$s/SPACE/t/kept",
    "$s//#",
    "$s//$s/SPACE/#",
    "$s/SPACE/$s/SPACE/#",
    "$share/g/#",
    "$share/g/t/#",
    "$share/g/$s/SPACE/t/#",
    "SPACE/t/#",
    "$SYS/#",
];

/// What the path of a space begins with.
fn path(space: &str) -> String {
    if space == "default" { "/api/v1".into() } else { format!("/api/v1/spaces/{space}") }
}

#[track_caller]
fn post(admin: Admin, path: &str, body: &Value) {
    let answer = admin.request("POST", path, Some(body));
    assert_eq!(answer.status, 201, "{path}: {}", answer.body);
}

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// Makes the spaces, and in each of them a topic `t`, the topic for what nothing else serves, and a user `ann` who
/// may do everything.
fn prepare(admin: Admin) {
    for space in SPACES {
        if space != "default" {
            post(admin, "/api/v1/spaces", &document("AddressSpace", space, &json!({})));
            // The default space has one that nobody made.
            let all = document("Address", "#", &json!({ "type": "topic" }));
            post(admin, &format!("{}/addresses", path(space)), &all);
        }
        let topic = document("Address", "t", &json!({ "type": "topic" }));
        post(admin, &format!("{}/addresses", path(space)), &topic);
        let user = json!({
            "user": document("User", "ann", &json!({ "grants": ["send:#", "recv:#"] })),
            "password": { "password": PASSWORD },
        });
        post(admin, &format!("{}/users", path(space)), &user);
    }
}

/// Two nodes, of which both know all that.
fn prepared_fleet() -> Fleet {
    let fleet = Fleet::of(2).start();
    prepare(fleet.node(1).admin());
    eventually("the other node to know the users", || {
        let answer = fleet.node(2).admin().request("GET", &format!("{}/users/ann", path("other")), None);
        (answer.status == 200).then_some(())
    });
    fleet
}

/// The options of a connection of somebody of a space.
fn of(space: &str, options: Value) -> Value {
    let user = if space == "default" { "ann".to_owned() } else { format!("ann@{space}") };
    let mut options = options;
    options["user"] = json!(user);
    options["password"] = json!(PASSWORD);
    options
}

fn client(dialect: Dialect, broker: &Broker, space: &str, id: &str) -> Client {
    Client::connect_with(dialect, broker, of(space, json!({ "client_id": id })))
}

/// Everything that has come before what the client now sends itself.
fn all_so_far(client: &mut Client) -> Vec<Message> {
    client.subscribe("end/of/it", 0);
    client.publish("end/of/it", "", 1);
    let mut got = Vec::new();
    loop {
        let message = client.message();
        if message.topic == "end/of/it" {
            client.unsubscribe(&["end/of/it"]);
            return got;
        }
        got.push(message);
    }
}

#[test]
fn no_form_of_a_filter_finds_anything_of_another_space() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    prepare(broker.daemon().admin());
    let publish = |publisher: &mut Client, space: &str| {
        for (topic, retain) in [("t/kept", true), ("t/a", false), ("x", false), ("b/kept", true)] {
            for qos in 0..=2 {
                publisher.publish_with(topic, space, json!({ "qos": qos, "retain": retain }));
            }
        }
    };
    let mut publishers =
        SPACES.map(|space| client(Dialect::PAHO_5, &broker, space, &format!("publisher of {space}")));
    for (space, publisher) in SPACES.iter().zip(&mut publishers) {
        publish(publisher, space);
    }
    for dialect in Dialect::ALL {
        for space in SPACES {
            let mut spy = client(dialect, &broker, space, "spy");
            for filter in FILTERS {
                for other in SPACES {
                    let filter = filter.replace("SPACE", other);
                    spy.subscribe_with(json!([[filter, { "qos": 1 }]]), None);
                }
            }
            for (space, publisher) in SPACES.iter().zip(&mut publishers) {
                publish(publisher, space);
            }
            let got = all_so_far(&mut spy);
            let is_own = |message: &Message| message.text() == space && !message.topic.starts_with('$');
            assert!(got.iter().all(is_own), "{dialect:?} {space}: {got:?}");
            // What is its own it has: retained and live.
            for topic in ["t/kept", "t/a", "x", "b/kept"] {
                assert!(got.iter().any(|message| message.topic == topic), "{dialect:?} {space}: {topic}");
            }
            spy.disconnect();
        }
    }
}

#[test]
fn a_will_and_what_mosquitto_publishes_stay_in_their_space() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    prepare(broker.daemon().admin());
    let mut witnesses = SPACES.map(|space| {
        let mut witness = client(Dialect::MQTT_JS_5, &broker, space, "witness");
        witness.subscribe("#", 1);
        witness
    });
    for (space, dialect) in SPACES.iter().zip([Dialect::PAHO_5, Dialect::PAHO_3, Dialect::MQTT_JS_5]) {
        let will = json!({ "topic": "t/gone", "payload": "77", "qos": 1 });
        let options = of(space, json!({ "client_id": "ill", "will": will }));
        Client::connect_with(dialect, &broker, options).cut();
    }
    for witness in &mut witnesses {
        let will = witness.message();
        assert_eq!((will.topic.as_str(), will.text().as_str()), ("t/gone", "w"));
        witness.has_nothing();
    }
    let server = broker.server();
    for (space, witness) in SPACES.iter().zip(&mut witnesses) {
        let Some(mut command) = mosquitto_client("mosquitto_pub") else { return };
        let user = of(space, json!({}))["user"].as_str().unwrap_or_default().to_owned();
        command.args(["-h", &server.ip().to_string(), "-p", &server.port().to_string(), "-V", "5"]);
        command.args(["-u", &user, "-P", PASSWORD, "-q", "1", "-t", "t/a", "-m", space]);
        Running::start(command, "").finish().succeeds();
        assert_eq!(witness.text(), *space);
    }
    for witness in &mut witnesses {
        witness.has_nothing();
    }
}

fn sessions(node: &Daemon, space: &str) -> Vec<ClientSession> {
    let answer = node.admin().request("GET", &format!("{}/sessions", path(space)), None);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json::<Page<ClientSession>>().items
}

#[test]
fn a_session_is_taken_over_by_a_client_of_its_space_on_whatever_node() {
    if is_skipped() || is_reference() {
        return;
    }
    let fleet = prepared_fleet();
    // Each on a node, and then on the other one.
    for (first, second) in [(1, 2), (2, 1)] {
        let at = |dialect: Dialect, node: usize, space: &str| {
            let mut client = Client::new(dialect);
            let options = of(space, lasting(dialect, &format!("kitchen {first}")));
            let connack = client.try_connect_at(fleet.node(node).mqtt(), options);
            assert_eq!(connack["reason"], 0, "{connack}");
            client
        };
        let mut clients = SPACES.map(|space| {
            let mut client = at(Dialect::PAHO_5, first, space);
            assert!(!client.session_present(), "{space}");
            client.subscribe("t/#", 1);
            client.subscribe("$share/g/u/#", 1);
            client
        });
        // Somebody else's client of the same identifier ends nobody's connection.
        for (number, space) in SPACES.iter().enumerate() {
            let mut again = at(Dialect::MQTT_JS_5, second, space);
            assert!(again.session_present(), "{space}");
            let end = clients[number].disconnected();
            assert_eq!(end["reason"], json!(0x8e), "{space}: {end}");
            for later in &mut clients[number + 1..] {
                later.has_nothing();
            }
            again.publish("t/a", space, 1);
            assert_eq!(again.text(), *space);
            again.disconnect();
        }
        // What comes while all are away is for each its own.
        for space in SPACES {
            let mut publisher = Client::new(Dialect::PAHO_5);
            let options = of(space, json!({ "client_id": "publisher" }));
            assert_eq!(publisher.try_connect_at(fleet.node(second).mqtt(), options)["reason"], 0);
            for topic in ["t/b", "u/c"] {
                assert_eq!(publisher.publish(topic, space, 1), 0);
            }
        }
        for space in SPACES {
            let id = format!("kitchen {first}");
            for (_, node) in fleet.nodes() {
                let ids: Vec<String> = sessions(node, space).into_iter().map(|one| one.client).collect();
                assert_eq!(ids.iter().filter(|one| **one == id).count(), 1, "{space}: {ids:?}");
                assert!(ids.iter().all(|id| !id.contains("$s")), "{ids:?}");
            }
            let mut back = at(Dialect::MQTT_JS_5, second, space);
            assert!(back.session_present());
            let mut got = [back.message(), back.message()].map(|one| (one.topic.clone(), one.text()));
            got.sort();
            assert_eq!(got, ["t/b", "u/c"].map(|topic| (topic.to_owned(), space.to_owned())));
            back.has_nothing();
            back.disconnect();
        }
    }
}

#[test]
fn fleet_sessions_of_one_name_leave_a_node_that_is_emptied_each_with_what_is_of_its_space() {
    if is_skipped() || is_reference() {
        return;
    }
    let fleet = prepared_fleet();
    let at = |node: usize, space: &str, options: Value| {
        let mut client = Client::new(Dialect::PAHO_5);
        let connack = client.try_connect_at(fleet.node(node).mqtt(), of(space, options));
        assert_eq!(connack["reason"], 0, "{connack}");
        client
    };
    for space in SPACES {
        let mut client = at(2, space, lasting(Dialect::PAHO_5, "kitchen"));
        client.subscribe("t/#", 1);
        client.disconnect();
    }
    for space in SPACES {
        let mut publisher = at(1, space, json!({ "client_id": "publisher" }));
        for number in 1..=3 {
            assert_eq!(publisher.publish("t/a", &format!("{space} {number}"), 1), 0);
        }
        publisher.disconnect();
    }
    let admin = fleet.node(2).admin();
    assert_eq!(admin.request("POST", "/api/v1/node/drain", None).status, 200);
    eventually("the node to be empty", || {
        let drain: NodeDrain = admin.get("/node/drain");
        (drain.state == DrainState::Drained && drain.sessions == 0).then_some(())
    });
    for space in SPACES {
        let mut back = at(1, space, lasting(Dialect::PAHO_5, "kitchen"));
        assert!(back.session_present(), "{space}");
        for number in 1..=3 {
            assert_eq!(back.text(), format!("{space} {number}"));
        }
        back.has_nothing();
    }
}
