//! Queues, topics and subscriptions with clients of others: Qpid Proton and rhea say in their own words what
//! they want, and get it.

use mq_model::manifest::{AddressSpec, AddressType};
use mq_tests::foreign::{Library, Peer};
use mq_tests::{Daemon, Running};
use serde_json::{Value, json};

/// The scenarios as tests of each library.
macro_rules! with_each_library {
    ($($name:ident,)*) => {
        mod proton { $(#[test] fn $name() { super::run(super::Library::Proton, super::$name); })* }
        mod rhea { $(#[test] fn $name() { super::run(super::Library::Rhea, super::$name); })* }
    };
}

with_each_library!(
    a_queue_keeps_durable_messages_through_a_crash,
    a_queue_that_nobody_reads_gives_credit_and_accepts,
    browsing_leaves_everything_where_it_is,
    a_selector_lets_the_rest_wait,
    what_a_receiver_gives_back_counts_its_deliveries,
    a_topic_is_received_with_wildcards,
    a_durable_subscription_fills_while_its_client_is_away_and_ends_when_it_is_closed,
    a_shared_subscription_divides_and_others_get_everything,
    a_client_that_wants_nothing_of_its_own_gets_none_of_it,
    message_groups_stay_together,
    a_drain_of_a_queue_ends_at_its_end,
);

fn run(library: Library, scenario: fn(Library)) {
    if !mq_tests::foreign::is_skipped() {
        scenario(library);
    }
}

fn daemon_with(address: &str, kind: AddressType) -> Daemon {
    let daemon = Daemon::start();
    daemon.admin().create(address, kind);
    daemon
}

/// Sends texts as durable messages and waits until each is accepted.
fn send_all(daemon: &Daemon, library: Library, address: &str, texts: &[&str]) {
    let messages: Vec<Value> = texts.iter().map(|text| json!({ "body": text })).collect();
    send_each(daemon, library, address, &messages);
}

fn send_each(daemon: &Daemon, library: Library, address: &str, messages: &[Value]) {
    let mut peer = Peer::connect(library, daemon);
    peer.sender("s", address);
    for message in messages {
        let mut message = message.clone();
        message["durable"] = true.into();
        peer.send_with("s", message);
        assert_eq!(peer.settled("s")["state"], "accepted");
    }
}

/// Receives whatever there is, in order, until the link is drained.
fn receive_all(daemon: &Daemon, library: Library, address: &str) -> Vec<String> {
    let mut peer = Peer::connect(library, daemon);
    let bodies = drained(&mut peer, "r", address, json!({}));
    // A client that is killed may take its last outcomes with it.
    peer.order(json!({ "do": "close" }));
    peer.expect("closed", "");
    bodies
}

fn drained(peer: &mut Peer, link: &str, address: &str, options: Value) -> Vec<String> {
    peer.receiver(link, address, options);
    peer.order(json!({ "do": "drain", "link": link, "credit": 100 }));
    peer.expect("drained", link);
    let messages = peer.unexpected("message").into_iter().filter(|message| message["link"] == link);
    messages.map(|message| message["body"].as_str().expect("a text").to_owned()).collect()
}

fn a_queue_keeps_durable_messages_through_a_crash(library: Library) {
    let daemon = daemon_with("orders", AddressType::Queue);
    send_all(&daemon, library, "orders", &["1", "2", "3"]);
    let daemon = daemon.crash_and_restart();
    let mut peer = Peer::connect(library, &daemon);
    peer.receiver("r", "orders", json!({ "credit": 3 }));
    for number in ["1", "2", "3"] {
        let message = peer.expect("message", "r");
        assert_eq!((&message["body"], &message["durable"]), (&number.into(), &true.into()));
    }
}

fn a_queue_that_nobody_reads_gives_credit_and_accepts(library: Library) {
    let daemon = daemon_with("orders", AddressType::Queue);
    let mut peer = Peer::connect(library, &daemon);
    peer.sender("s", "orders");
    assert!(peer.expect_credit("s") > 0);
    peer.send_with("s", json!({ "count": 1000, "body": "{}" }));
    for _ in 0..1000 {
        assert_eq!(peer.settled("s")["state"], "accepted");
    }
}

fn browsing_leaves_everything_where_it_is(library: Library) {
    let daemon = daemon_with("orders", AddressType::Queue);
    send_all(&daemon, library, "orders", &["1", "2", "3"]);
    let mut peer = Peer::connect(library, &daemon);
    for link in ["first", "second"] {
        assert_eq!(drained(&mut peer, link, "orders", json!({ "browse": true })), ["1", "2", "3"]);
    }
    assert_eq!(receive_all(&daemon, library, "orders"), ["1", "2", "3"]);
}

fn a_selector_lets_the_rest_wait(library: Library) {
    let daemon = daemon_with("orders", AddressType::Queue);
    let order = |body: &str, region: &str, amount: u32| json!({ "body": body, "properties": { "region": region, "amount": amount } });
    let messages = [order("1", "eu", 5), order("2", "us", 50), order("3", "eu", 500)];
    send_each(&daemon, library, "orders", &messages);
    let mut peer = Peer::connect(library, &daemon);
    let selector = json!({ "selector": "region = 'eu' AND amount > 10" });
    assert_eq!(drained(&mut peer, "r", "orders", selector), ["3"]);
    assert_eq!(receive_all(&daemon, library, "orders"), ["1", "2"]);
}

fn what_a_receiver_gives_back_counts_its_deliveries(library: Library) {
    let daemon = Daemon::start();
    daemon.admin().create("orders.dlq", AddressType::Queue);
    let mut spec = AddressSpec::new(AddressType::Queue);
    spec.max_deliveries = Some(2);
    spec.dead_letter = Some("orders.dlq".into());
    daemon.admin().create_with("orders", spec);
    send_all(&daemon, library, "orders", &["poison"]);
    let mut peer = Peer::connect(library, &daemon);
    peer.receiver("r", "orders", json!({ "credit": 2, "outcome": "none" }));
    for count in [0, 1] {
        let message = peer.expect("message", "r");
        assert_eq!(message["delivery_count"], count, "{message}");
        peer.order(json!({ "do": "settle", "link": "r", "number": message["number"], "outcome": "modified",
            "failed": true }));
    }
    peer.receiver("dead", "orders.dlq", json!({ "credit": 1 }));
    let message = peer.expect("message", "dead");
    assert_eq!(message["body"], "poison");
    assert_eq!(message["annotations"]["x-opt-dead-letter-reason"], "max-deliveries", "{message}");
}

fn a_topic_is_received_with_wildcards(library: Library) {
    let daemon = daemon_with("events", AddressType::Topic);
    let mut peer = Peer::connect(library, &daemon);
    for address in ["events", "events/+/paid", "events/#"] {
        peer.receiver(address, address, json!({ "credit": 10, "capabilities": ["topic"] }));
    }
    for address in ["events", "events/eu/paid", "events/eu/sent"] {
        send_all(&daemon, library, address, &[address]);
    }
    assert_eq!(peer.body("events"), "events");
    assert_eq!(peer.body("events/+/paid"), "events/eu/paid");
    for expected in ["events", "events/eu/paid", "events/eu/sent"] {
        assert_eq!(peer.body("events/#"), expected);
    }
    assert_eq!(peer.unexpected("message"), Vec::<Value>::new());
}

fn a_durable_subscription_fills_while_its_client_is_away_and_ends_when_it_is_closed(library: Library) {
    let daemon = daemon_with("events", AddressType::Topic);
    let connected = |daemon: &Daemon| Peer::connect_with(library, daemon, json!({ "container": "shop" }));
    let durable = json!({ "durable": true });
    let mut peer = connected(&daemon);
    peer.receiver("audit", "events", durable.clone());
    peer.order(json!({ "do": "detach", "link": "audit", "closed": false }));
    peer.expect("detached", "audit");
    drop(peer);
    send_all(&daemon, library, "events", &["1", "2"]);
    let daemon = daemon.crash_and_restart();
    let mut peer = connected(&daemon);
    assert_eq!(drained(&mut peer, "audit", "events", durable.clone()), ["1", "2"]);
    peer.order(json!({ "do": "detach", "link": "audit", "closed": true }));
    peer.expect("detached", "audit");
    send_all(&daemon, library, "events", &["nobody wants this"]);
    let mut peer = connected(&daemon);
    assert_eq!(drained(&mut peer, "audit", "events", durable), [""; 0]);
}

fn a_shared_subscription_divides_and_others_get_everything(library: Library) {
    let daemon = daemon_with("events", AddressType::Topic);
    // They hold what they get: each message goes to the one that holds fewer, however fast they are.
    let capabilities = ["topic", "shared", "global"];
    let shared = json!({ "credit": 100, "outcome": "none", "capabilities": capabilities });
    let mut members = [0, 1].map(|_| {
        let mut peer = Peer::connect(library, &daemon);
        peer.receiver("work|global-volatile1", "events", shared.clone());
        peer
    });
    let mut other = Peer::connect(library, &daemon);
    other.receiver("r", "events", json!({ "credit": 100 }));
    let texts: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    send_all(&daemon, library, "events", &texts);
    for text in &texts {
        assert_eq!(other.body("r"), *text);
    }
    let mut divided = Vec::new();
    mq_tests::eventually("every message at one of the two", || {
        divided = members.iter_mut().map(|peer| peer.unexpected("message")).collect();
        (divided.iter().map(Vec::len).sum::<usize>() >= texts.len()).then_some(())
    });
    let mut bodies: Vec<&str> =
        divided.iter().flatten().map(|message| message["body"].as_str().expect("a text")).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, texts);
    assert!(divided.iter().all(|messages| messages.len() >= 5), "nearly half each: {divided:?}");
}

fn a_client_that_wants_nothing_of_its_own_gets_none_of_it(library: Library) {
    let daemon = daemon_with("events", AddressType::Topic);
    let mut peer = Peer::connect_with(library, &daemon, json!({ "container": "me" }));
    peer.receiver("r", "events", json!({ "credit": 10, "no_local": true }));
    peer.sender("s", "events");
    peer.send("s", "mine");
    assert_eq!(peer.settled("s")["state"], "accepted");
    send_all(&daemon, library, "events", &["another's"]);
    assert_eq!(peer.body("r"), "another's");
}

fn message_groups_stay_together(library: Library) {
    let daemon = Daemon::start();
    let mut spec = AddressSpec::new(AddressType::Queue);
    spec.message_groups = true;
    daemon.admin().create_with("invoices", spec);
    let mut receivers = [0, 1].map(|_| {
        let mut peer = Peer::connect(library, &daemon);
        peer.receiver("r", "invoices", json!({ "credit": 100 }));
        peer
    });
    let messages: Vec<Value> = (0..20)
        .map(|number| {
            let group = format!("customer {}", number % 4);
            json!({ "body": format!("{group}: {number:02}"), "group": group })
        })
        .collect();
    send_each(&daemon, library, "invoices", &messages);
    let mut received = Vec::new();
    mq_tests::eventually("every message", || {
        received = receivers.iter_mut().map(|peer| peer.unexpected("message")).collect();
        (received.iter().map(Vec::len).sum::<usize>() >= messages.len()).then_some(())
    });
    for group in 0..4 {
        let prefix = format!("customer {group}:");
        let of_group = |messages: &Vec<Value>| {
            let bodies = messages.iter().filter_map(|message| message["body"].as_str());
            bodies.filter(|body| body.starts_with(&prefix)).map(str::to_owned).collect::<Vec<_>>()
        };
        let mut parts: Vec<Vec<String>> =
            received.iter().map(of_group).filter(|part| !part.is_empty()).collect();
        assert_eq!(parts.len(), 1, "one group, one consumer: {received:?}");
        let part = parts.remove(0);
        assert!(part.is_sorted() && part.len() == 5, "{part:?}");
    }
}

#[test]
fn transactions_of_qpid_proton_happen_as_a_whole_or_not_at_all() {
    if mq_tests::foreign::is_skipped() {
        return;
    }
    let daemon = daemon_with("in", AddressType::Queue);
    daemon.admin().create("out", AddressType::Queue);
    send_all(&daemon, Library::Proton, "in", &["1", "2"]);
    let mut command = Library::Proton.program("transactions.py");
    command.args([&daemon.amqp().to_string(), "in", "out"]);
    let ended = Running::start(command, "").finish().succeeds();
    assert_eq!(ended.lines(), ["aborted", "committed", "committed", "aborted"], "{ended:?}");
    let daemon = daemon.crash_and_restart();
    assert_eq!(receive_all(&daemon, Library::Proton, "out"), ["c", "d", "1"]);
    assert_eq!(receive_all(&daemon, Library::Proton, "in"), ["2"]);
}

fn a_drain_of_a_queue_ends_at_its_end(library: Library) {
    let daemon = daemon_with("orders", AddressType::Queue);
    assert_eq!(receive_all(&daemon, library, "orders"), [""; 0]);
    send_all(&daemon, library, "orders", &["1", "2"]);
    assert_eq!(receive_all(&daemon, library, "orders"), ["1", "2"]);
    assert_eq!(receive_all(&daemon, library, "orders"), [""; 0]);
}
