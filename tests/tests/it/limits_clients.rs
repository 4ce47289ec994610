//! How much a tenant may take, with clients that are not ours: at a limit all is well, and beyond it each is told
//! which limit it is, in the words of its protocol, and counted.

use mq_model::space::{AddressSpace, SpaceUsage};
use mq_model::user::User;
use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::mqtt::{Broker, Client, Dialect, is_reference, lasting};
use mq_tests::{Daemon, eventually};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse";

/// The clients of AMQP.
const LIBRARIES: [Library; 2] = [Library::Proton, Library::Rhea];

/// What AMQP calls it when there is no more (2.8.15).
const EXCEEDED: &str = "amqp:resource-limit-exceeded";

/// What MQTT 5 calls it: quota exceeded.
const QUOTA: u64 = 0x97;

/// A space with limits, in which there are a queue, a topic and the users ann and bob.
struct Tenant<'d> {
    daemon: &'d Daemon,
    space: String,
}

impl<'d> Tenant<'d> {
    #[track_caller]
    fn new(daemon: &'d Daemon, space: &str, spec: &Value) -> Self {
        let post = |path: &str, body: &Value| {
            let answer = daemon.admin().request("POST", path, Some(body));
            assert_eq!(answer.status, 201, "POST {path}: {}", answer.body);
        };
        post("/api/v1/spaces", &document("AddressSpace", space, spec));
        for (name, kind) in [("q", "queue"), ("t", "topic"), ("a", "anycast")] {
            let address = document("Address", name, &json!({ "type": kind }));
            post(&format!("/api/v1/spaces/{space}/addresses"), &address);
        }
        for name in ["ann", "bob"] {
            let user = document("User", name, &json!({ "grants": ["send:#", "recv:#"] }));
            let body = json!({ "user": user, "password": { "password": PASSWORD } });
            post(&format!("/api/v1/spaces/{space}/users"), &body);
        }
        Self { daemon, space: space.to_owned() }
    }

    fn login(&self, user: &str) -> Value {
        json!({ "mechanism": "PLAIN", "user": format!("{user}@{}", self.space), "password": PASSWORD })
    }

    fn amqp(&self, library: Library, user: &str) -> Peer {
        Peer::connect_with(library, self.daemon, self.login(user))
    }

    /// What the options of a client of MQTT are completed with.
    fn of_mqtt(&self, mut options: Value) -> Value {
        options["user"] = json!(format!("ann@{}", self.space));
        options["password"] = json!(PASSWORD);
        options
    }

    fn state(&self) -> AddressSpace {
        self.daemon.admin().request("GET", &format!("/api/v1/spaces/{}", self.space), None).json()
    }

    /// How often a limit has refused something, as the admin API and the metrics say with one voice.
    #[track_caller]
    fn refused(&self, limit: &str) -> u64 {
        let usage = self.state().status.expect("a node knows how a space does").usage;
        let count = usage.refused.get(limit).copied().unwrap_or(0);
        let metrics = self.daemon.admin().request("GET", "/metrics", None).body;
        let labels = [format!("space=\"{}\"", self.space), format!("limit=\"{limit}\"")];
        let is_it = |line: &&str| {
            line.starts_with("mq_space_refused_total")
                && labels.iter().all(|label| line.contains(label.as_str()))
        };
        let counter = metrics.lines().find(is_it).and_then(|line| line.rsplit(' ').next()?.parse().ok());
        assert_eq!(counter.unwrap_or(0), count, "the metrics of {limit}");
        count
    }
}

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "mq.dev/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}

/// Checks that an event says which limit is reached, in the standard's condition.
#[track_caller]
fn names(event: &Value, limit: &str, value: u64) {
    assert_eq!(text(event, "condition"), EXCEEDED, "{event}");
    let words = text(event, "description");
    assert!(
        words.contains(limit) && words.contains(&value.to_string()),
        "{event} is not about {limit}: {value}"
    );
}

/// Runs a test with each library of AMQP, in a space of its own with these limits.
fn with_each(daemon: &Daemon, limits: &Value, test: impl Fn(Library, &Tenant<'_>)) {
    let limit = limits.as_object().and_then(|all| all.keys().next()).expect("one limit").to_lowercase();
    for library in LIBRARIES {
        let space = format!("{limit}-{library:?}").to_lowercase();
        test(library, &Tenant::new(daemon, &space, &json!({ "limits": limits })));
    }
}

#[test]
fn proton_and_rhea_are_told_which_limit_of_connections_sessions_links_and_subscriptions_is_reached() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    with_each(&daemon, &json!({ "maxConnections": 1 }), |library, tenant| {
        let first = tenant.amqp(library, "ann");
        let mut second = Peer::new(library);
        second.start_connecting(&daemon, tenant.login("bob"));
        names(&second.expect("closed", ""), "maxConnections", 1);
        assert_eq!(tenant.refused("maxConnections"), 1);
        drop((first, second));
        eventually("room for another one", || {
            let usage = tenant.state().status.expect("a state").usage;
            (usage.connections == 0).then_some(())
        });
        tenant.amqp(library, "bob");
    });
    with_each(&daemon, &json!({ "maxSessions": 1 }), |library, tenant| {
        // Each link of these clients has a session of its own.
        let mut peer = tenant.amqp(library, "ann");
        peer.receiver("first", "q", json!({}));
        peer.order(json!({ "do": "receiver", "link": "second", "address": "q" }));
        names(&peer.expect("ended", ""), "maxSessions", 1);
        assert_eq!(tenant.refused("maxSessions"), 1);
    });
    with_each(&daemon, &json!({ "maxLinks": 1 }), |library, tenant| {
        let mut peer = tenant.amqp(library, "ann");
        peer.receiver("first", "q", json!({}));
        peer.order(json!({ "do": "sender", "link": "second", "address": "q" }));
        names(&peer.expect("detached", "second"), "maxLinks", 1);
        assert_eq!(tenant.refused("maxLinks"), 1);
        peer.order(json!({ "do": "detach", "link": "first" }));
        peer.expect("detached", "first");
        peer.sender("third", "q");
    });
    with_each(&daemon, &json!({ "maxSubscriptions": 1 }), |library, tenant| {
        let mut peer = tenant.amqp(library, "ann");
        peer.receiver("first", "t", json!({}));
        peer.order(json!({ "do": "receiver", "link": "second", "address": "t" }));
        names(&peer.expect("detached", "second"), "maxSubscriptions", 1);
        peer.receiver("of a queue", "q", json!({}));
        assert_eq!(tenant.refused("maxSubscriptions"), 1);
    });
}

#[test]
fn proton_and_rhea_are_told_which_limit_of_messages_is_reached() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    with_each(&daemon, &json!({ "maxMessageSize": 1_000 }), |library, tenant| {
        let mut peer = tenant.amqp(library, "ann");
        peer.sender("s", "q");
        peer.send_with("s", json!({ "size": 900 }));
        assert_eq!(peer.settled("s")["state"], "accepted");
        peer.send_with("s", json!({ "size": 1_000 }));
        let refused = peer.expect("detached", "s");
        // AMQP 2.7.3: the link's limit has a condition of its own.
        assert_eq!(text(&refused, "condition"), "amqp:link:message-size-exceeded");
        assert!(text(&refused, "description").contains("max-message-size: 1000"), "{refused}");
        assert_eq!(tenant.refused("maxMessageSize"), 1, "{library:?}");
    });
    for (limit, most, count) in [("maxStoredMessages", 2, 2), ("maxStoredBytes", 1_500, 1)] {
        with_each(&daemon, &json!({ limit: most }), |library, tenant| {
            let mut peer = tenant.amqp(library, "ann");
            peer.sender("s", "q");
            for _ in 0..count {
                peer.send_with("s", json!({ "size": 1_000 }));
                assert_eq!(peer.settled("s")["state"], "accepted", "{library:?} {limit}");
            }
            peer.send_with("s", json!({ "size": 1_000 }));
            let refused = peer.settled("s");
            assert_eq!(refused["state"], "rejected", "{library:?} {limit}");
            names(&refused, limit, most);
            assert_eq!(tenant.refused(limit), 1);
            peer.receiver("r", "q", json!({ "credit": 1 }));
            peer.expect("message", "r");
            eventually("room for another one", || {
                let usage = tenant.state().status.expect("a state").usage;
                (usage.stored_messages < count).then_some(())
            });
            peer.send_with("s", json!({ "size": 1_000 }));
            assert_eq!(peer.settled("s")["state"], "accepted", "{library:?} {limit}");
        });
    }
    with_each(&daemon, &json!({ "maxMessagesPerSecond": 100 }), |library, tenant| {
        let mut peer = tenant.amqp(library, "ann");
        peer.receiver("r", "a", json!({ "credit": 100 }));
        peer.sender("s", "a");
        peer.send_with("s", json!({ "count": 50, "body": "{}" }));
        for number in 1..=50 {
            assert_eq!(peer.body("r"), number.to_string(), "{library:?}");
        }
        let usage = tenant.state().status.expect("a state").usage;
        assert!(
            usage.delayed > 0 && usage.refused.is_empty(),
            "{library:?}: slowed down and nothing lost: {usage:?}"
        );
    });
}

#[test]
fn a_user_is_told_of_his_own_limit_and_others_of_his_space_are_not_in_his_way() {
    if is_skipped() {
        return;
    }
    let daemon = Daemon::start();
    for library in LIBRARIES {
        let space = format!("users-{library:?}").to_lowercase();
        let tenant = Tenant::new(&daemon, &space, &json!({ "userLimits": { "maxLinks": 1 } }));
        let (mut ann, mut bob) = (tenant.amqp(library, "ann"), tenant.amqp(library, "bob"));
        ann.sender("first", "q");
        ann.order(json!({ "do": "sender", "link": "second", "address": "q" }));
        let refused = ann.expect("detached", "second");
        names(&refused, "maxLinks", 1);
        assert!(text(&refused, "description").contains("user ann"), "{refused}");
        bob.sender("first", "q");
        assert_eq!(tenant.refused("maxLinks"), 1, "it counts for the space");
    }
}

/// Whether a message of a client of AMQP is refused because of a limit.
#[track_caller]
fn is_stored(peer: &mut Peer, limit: &str, value: u64) -> bool {
    peer.send_with("s", json!({ "size": 1_000, "durable": true }));
    let settled = peer.settled("s");
    match settled["state"].as_str() {
        Some("accepted") => true,
        Some("rejected") => {
            names(&settled, limit, value);
            assert!(text(&settled, "description").contains("the user may"), "{settled}");
            false
        }
        _ => panic!("{settled}"),
    }
}

#[test]
fn what_a_user_has_stored_is_bounded_for_amqp_and_mqtt_together_also_after_kill_9() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    let limits = json!({ "maxStoredMessages": 3, "maxRetainedMessages": 1 });
    let of_user = |broker: &Broker, user: &str| -> SpaceUsage {
        let path = format!("/api/v1/spaces/users-store/users/{user}");
        let user: User = broker.daemon().admin().request("GET", &path, None).json();
        user.status.expect("a node knows how a user does").usage
    };
    {
        let tenant = Tenant::new(broker.daemon(), "users-store", &json!({ "userLimits": limits }));
        let (mut ann, mut bob) = (tenant.amqp(Library::Proton, "ann"), tenant.amqp(Library::Rhea, "bob"));
        ann.sender("s", "q");
        bob.sender("s", "q");
        assert!(is_stored(&mut ann, "maxStoredMessages", 3) && is_stored(&mut ann, "maxStoredMessages", 3));
        let options = tenant.of_mqtt(json!({ "client_id": "ann" }));
        let mut mqtt = Client::connect_with(Dialect::PAHO_5, &broker, options);
        assert_eq!(mqtt.publish("q", "third", 1), 0);
        assert_eq!(mqtt.publish_with("q", "fourth", json!({ "qos": 1 })), QUOTA);
        assert!(!is_stored(&mut ann, "maxStoredMessages", 3));
        assert!(is_stored(&mut bob, "maxStoredMessages", 3), "bob has room of his own");
        let retain = json!({ "qos": 1, "retain": true });
        assert_eq!(mqtt.publish_with("t/a", "x", retain.clone()), 0);
        assert_eq!(mqtt.publish_with("t/b", "x", retain), QUOTA);
        assert_eq!(tenant.refused("maxStoredMessages"), 2, "it counts for the space");
        assert_eq!(tenant.refused("maxRetainedMessages"), 1);
        let usage = of_user(&broker, "ann");
        assert_eq!((usage.stored_messages, usage.retained_messages), (3, 1));
        assert_eq!(usage.refused["maxStoredMessages"], 2);
    }
    let broker = broker.crash_and_restart();
    let usage = of_user(&broker, "ann");
    assert_eq!(
        (usage.stored_messages, usage.retained_messages),
        (3, 1),
        "as before, though she is not there"
    );
    assert_eq!(of_user(&broker, "bob").stored_messages, 1);
    let tenant = Tenant { daemon: broker.daemon(), space: "users-store".to_owned() };
    let mut ann = tenant.amqp(Library::Proton, "ann");
    ann.sender("s", "q");
    assert!(!is_stored(&mut ann, "maxStoredMessages", 3));
    assert_eq!(tenant.refused("maxStoredMessages"), 1);
    let mut bob = tenant.amqp(Library::Rhea, "bob");
    bob.receiver("r", "q", json!({ "credit": 1 }));
    bob.expect("message", "r");
    eventually("room for another one", || (of_user(&broker, "ann").stored_messages < 3).then_some(()));
    assert!(is_stored(&mut ann, "maxStoredMessages", 3));
    assert!(!is_stored(&mut ann, "maxStoredMessages", 3));
}

#[test]
fn one_address_more_than_a_space_may_have_is_refused_by_name() {
    let daemon = Daemon::start();
    let tenant = Tenant::new(&daemon, "addresses", &json!({ "limits": { "maxAddresses": 4 } }));
    let create = |name: &str| {
        let address = document("Address", name, &json!({ "type": "queue" }));
        daemon.admin().request("POST", &format!("/api/v1/spaces/{}/addresses", tenant.space), Some(&address))
    };
    assert_eq!(create("fourth").status, 201);
    let refused = create("fifth");
    assert!((400..500).contains(&refused.status), "{refused:?}");
    assert!(refused.body.contains("maxAddresses") && refused.body.contains('4'), "{refused:?}");
    assert_eq!(tenant.refused("maxAddresses"), 1);
}

#[test]
fn clients_of_mqtt_are_refused_at_each_limit_and_it_is_counted() {
    if is_skipped() || is_reference() {
        return;
    }
    let broker = Broker::start();
    for (number, dialect) in Dialect::ALL.into_iter().enumerate() {
        let is_v5 = dialect.is_v5;
        let tenant = |limit: &str, most: u64| {
            let space = format!("{limit}-{number}").to_lowercase();
            Tenant::new(broker.daemon(), &space, &json!({ "limits": { limit: most } }))
        };
        let connect = |tenant: &Tenant<'_>, id: &str| {
            Client::connect_with(dialect, &broker, tenant.of_mqtt(json!({ "client_id": id })))
        };
        for limit in ["maxConnections", "maxMqttSessions"] {
            let tenant = tenant(limit, 1);
            let first = connect(&tenant, "first");
            let mut second = Client::new(dialect);
            let answer = second.try_connect(&broker, tenant.of_mqtt(json!({ "client_id": "second" })));
            let reason = answer["reason"].as_u64().expect("a number");
            assert!(if is_v5 { reason == QUOTA } else { reason != 0 }, "{dialect:?} {limit}: {answer}");
            assert_eq!(tenant.refused(limit), 1, "{dialect:?}");
            drop(first);
        }
        let tenant_of_subscriptions = tenant("maxSubscriptions", 1);
        let mut client = connect(&tenant_of_subscriptions, "c");
        client.subscribe("t/a", 1);
        let reasons = client.subscribe_with(json!([["t/b", { "qos": 1 }]]), None);
        assert_eq!(reasons, [if is_v5 { QUOTA } else { 0x80 }], "{dialect:?}");
        assert_eq!(tenant_of_subscriptions.refused("maxSubscriptions"), 1, "{dialect:?}");

        let is_refused = |client: &mut Client, topic: &str, payload: &str, retain: bool| {
            let options = json!({ "qos": 1, "retain": retain });
            if is_v5 {
                assert_eq!(client.publish_with(topic, payload, options), QUOTA, "{dialect:?} {topic}");
            } else {
                // MQTT 3.1.1, 3.3.5: it has no words for that; the connection is closed.
                client.start_publishing(topic, payload, options);
                client.disconnected();
            }
        };
        let tenant_of_retained = tenant("maxRetainedMessages", 1);
        let mut client = connect(&tenant_of_retained, "c");
        let retain = json!({ "qos": 1, "retain": true });
        assert_eq!(client.publish_with("t/a", "x", retain), 0, "{dialect:?}");
        is_refused(&mut client, "t/b", "x", true);
        assert_eq!(tenant_of_retained.refused("maxRetainedMessages"), 1, "{dialect:?}");

        let tenant_of_sizes = tenant("maxMessageSize", 100);
        let mut client = connect(&tenant_of_sizes, "c");
        assert_eq!(client.publish("t/a", &"x".repeat(100), 1), 0, "{dialect:?}");
        is_refused(&mut client, "t/a", &"x".repeat(101), false);
        assert_eq!(tenant_of_sizes.refused("maxMessageSize"), 1, "{dialect:?}");

        let tenant_of_stored = tenant("maxStoredMessages", 1);
        let mut away = Client::new(dialect);
        let answer = away.try_connect(&broker, tenant_of_stored.of_mqtt(lasting(dialect, "away")));
        assert_eq!(answer["reason"], 0, "{dialect:?}");
        away.subscribe("t/a", 1);
        away.cut();
        let mut client = connect(&tenant_of_stored, "c");
        assert_eq!(client.publish("t/a", "1", 1), 0, "{dialect:?}");
        eventually("the message to wait", || {
            let usage = tenant_of_stored.state().status.expect("a state").usage;
            (usage.stored_messages == 1).then_some(())
        });
        is_refused(&mut client, "t/a", "2", false);
        assert_eq!(tenant_of_stored.refused("maxStoredMessages"), 1, "{dialect:?}");
    }
}
