//! What every client library has to be able to do, whichever it is.

use mq_model::manifest::AddressType;
use mq_tests::foreign::{Library, Peer, text};
use mq_tests::{Daemon, eventually};
use serde_json::{Value, json};

/// The scenarios as tests of one library.
macro_rules! with {
    ($library:expr) => {
        crate::scenarios::with!($library =>
            ten_messages_arrive_in_order_and_are_accepted,
            a_sender_has_no_credit_until_there_is_a_receiver,
            rejected_released_and_modified_reach_the_sender_with_their_fields,
            a_multicast_message_reaches_three_receivers_and_is_settled_once,
            a_request_is_answered_over_a_dynamic_address,
            an_anonymous_sender_reaches_the_address_that_each_message_names,
            a_drained_receiver_gets_what_is_there_and_nothing_more,
            presettled_messages_arrive_settled,
            a_message_of_ten_mebibytes_arrives_whole,
            an_unknown_address_is_refused_with_a_sentence,
            anonymous_and_no_authentication_are_let_in,
            a_name_that_nobody_has_is_not_let_in,
            heartbeats_keep_a_quiet_connection,
            the_admin_api_closes_a_connection_with_its_reason,
            what_a_leaving_receiver_held_comes_back_as_failed,
            an_expired_message_is_not_delivered,
            a_deleted_address_takes_its_links_with_it,
            the_node_introduces_itself,
        );
    };
    ($library:expr => $($name:ident,)*) => {
        $(#[test]
        fn $name() {
            if !mq_tests::foreign::is_skipped() {
                crate::scenarios::$name($library);
            }
        })*
    };
}
pub(crate) use with;

/// Bytes of an empty frame (AMQP 2.4.5).
const HEARTBEAT: u64 = 8;

pub(crate) fn daemon_with(address: &str, kind: AddressType) -> Daemon {
    created(Daemon::start(), address, kind)
}

/// A daemon that serves what was created and nothing else.
fn strict_daemon_with(address: &str, kind: AddressType) -> Daemon {
    let daemon = Daemon::builder().with(|config| config.mqtt.catch_all = false).start();
    created(daemon, address, kind)
}

fn created(daemon: Daemon, address: &str, kind: AddressType) -> Daemon {
    daemon.admin().create(address, kind);
    daemon
}

pub(crate) fn ten_messages_arrive_in_order_and_are_accepted(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 10 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "count": 10, "body": "message {}" }));
    for number in 1..=10 {
        assert_eq!(receiver.body("r"), format!("message {number}"));
        assert_eq!(sender.settled("s")["state"], "accepted");
    }
    eventually("the counters of ten messages", || {
        let statistics = daemon.admin().statistics();
        ((statistics.deliveries_in, statistics.outcomes.accepted) == (10, 10)).then_some(())
    });
}

pub(crate) fn a_sender_has_no_credit_until_there_is_a_receiver(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "count": 10, "body": "{}" }));
    assert_eq!(daemon.admin().link_of("telemetry").credit, 0);
    let mut receiver = Peer::connect(library, &daemon);
    assert!(sender.unexpected("sent").is_empty(), "sent although nobody can take it");
    receiver.receiver("r", "telemetry", json!({ "credit": 10 }));
    for number in 1..=10 {
        assert_eq!(receiver.body("r"), number.to_string());
        assert_eq!(sender.settled("s")["state"], "accepted");
    }
}

pub(crate) fn rejected_released_and_modified_reach_the_sender_with_their_fields(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 10, "outcome": "none" }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    let mut settle = |outcome: Value| -> Value {
        sender.send("s", "judge me");
        let number = receiver.expect("message", "r")["number"].clone();
        let mut order = json!({ "do": "settle", "link": "r", "number": number });
        let fields = outcome.as_object().cloned().unwrap_or_default();
        order.as_object_mut().expect("an object").extend(fields);
        receiver.order(order);
        sender.settled("s")
    };

    let rejected = settle(
        json!({ "outcome": "rejected", "condition": "com.example:no", "description": "not this one" }),
    );
    assert_eq!(rejected["state"], "rejected");
    assert_eq!(
        (text(&rejected, "condition"), text(&rejected, "description")),
        ("com.example:no", "not this one")
    );

    assert_eq!(settle(json!({ "outcome": "released" }))["state"], "released");

    let modified = settle(json!({
        "outcome": "modified", "failed": true, "undeliverable": true, "annotations": { "x-opt-why": "tired" },
    }));
    assert_eq!(modified["state"], "modified");
    assert_eq!((&modified["failed"], &modified["undeliverable"]), (&json!(true), &json!(true)));
    assert_eq!(modified["annotations"], json!({ "x-opt-why": "tired" }));
}

pub(crate) fn a_multicast_message_reaches_three_receivers_and_is_settled_once(library: Library) {
    let daemon = daemon_with("news", AddressType::Multicast);
    let mut receivers: Vec<Peer> = (0..3).map(|_| Peer::connect(library, &daemon)).collect();
    for receiver in &mut receivers {
        receiver.receiver("r", "news", json!({ "credit": 10, "outcome": "none" }));
    }
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "news");
    eventually("three consumers", || (daemon.admin().statistics().consumers == 3).then_some(()));
    sender.send("s", "extra");
    for (index, receiver) in receivers.iter_mut().enumerate() {
        assert_eq!(receiver.body("r"), "extra");
        if index < 2 {
            receiver.order(json!({ "do": "settle", "link": "r", "number": 1, "outcome": "accepted" }));
        }
    }
    let settled_by_two = || (daemon.admin().statistics().unsettled == 1).then_some(());
    eventually("two of three settlements", settled_by_two);
    assert!(sender.unexpected("outcome").iter().all(|outcome| outcome["settled"] == false), "one is missing");
    // The worst outcome of all is what the sender learns.
    receivers[2].order(json!({ "do": "settle", "link": "r", "number": 1, "outcome": "rejected" }));
    assert_eq!(sender.settled("s")["state"], "rejected");
}

pub(crate) fn a_request_is_answered_over_a_dynamic_address(library: Library) {
    let daemon = daemon_with("time", AddressType::Anycast);
    let mut service = Peer::connect(library, &daemon);
    service.receiver("requests", "time", json!({ "credit": 10 }));
    service.sender_with("answers", json!({}));
    let mut client = Peer::connect(library, &daemon);
    let own = client.dynamic_receiver("answers", 10);
    client.sender("requests", "time");
    for number in 1..=3 {
        let id = format!("question {number}");
        client.send_with("requests", json!({ "body": "now?", "reply_to": own, "correlation_id": id }));
        let request = service.expect("message", "requests");
        assert_eq!(text(&request, "reply_to"), own);
        service.send_with(
            "answers",
            json!({ "body": "soon", "to": text(&request, "reply_to"), "correlation_id": request["correlation_id"] }),
        );
        let answer = client.expect("message", "answers");
        assert_eq!((text(&answer, "correlation_id"), text(&answer, "body")), (id.as_str(), "soon"));
        assert_eq!(service.settled("answers")["state"], "accepted");
    }
    // The address goes with its receiver.
    drop(client);
    eventually("the end of the client", || (daemon.admin().statistics().connections == 1).then_some(()));
    service.send_with("answers", json!({ "body": "too late", "to": own }));
    let late = service.settled("answers");
    assert!(late["state"] == "rejected" || late["state"] == "released", "{late}");
}

pub(crate) fn an_anonymous_sender_reaches_the_address_that_each_message_names(library: Library) {
    let daemon = strict_daemon_with("first", AddressType::Anycast);
    daemon.admin().create("second", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("one", "first", json!({ "credit": 10 }));
    receiver.receiver("two", "second", json!({ "credit": 10 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender_with("s", json!({}));
    sender.send_with("s", json!({ "body": "to the second", "to": "second" }));
    assert_eq!(sender.settled("s")["state"], "accepted");
    sender.send_with("s", json!({ "body": "to the first", "to": "first" }));
    assert_eq!(sender.settled("s")["state"], "accepted");
    assert_eq!(receiver.body("one"), "to the first");
    assert_eq!(receiver.body("two"), "to the second");

    sender.send_with("s", json!({ "body": "to nowhere", "to": "nowhere" }));
    let nowhere = sender.settled("s");
    assert_eq!((text(&nowhere, "state"), text(&nowhere, "condition")), ("rejected", "amqp:not-found"));
    assert!(text(&nowhere, "description").contains("nowhere"), "{nowhere}");
    sender.send_with("s", json!({ "body": "without a word" }));
    let silent = sender.settled("s");
    assert_eq!(
        (text(&silent, "state"), text(&silent, "condition")),
        ("rejected", "amqp:precondition-failed")
    );
}

pub(crate) fn a_drained_receiver_gets_what_is_there_and_nothing_more(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 0 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "count": 3, "body": "{}" }));
    eventually("three messages that wait", || (daemon.admin().statistics().undelivered == 3).then_some(()));
    receiver.order(json!({ "do": "drain", "link": "r", "credit": 10 }));
    receiver.expect("drained", "r");
    for number in 1..=3 {
        assert_eq!(receiver.body("r"), number.to_string());
    }
    sender.send("s", "later");
    eventually("a message that waits", || (daemon.admin().statistics().undelivered == 1).then_some(()));
    assert!(receiver.unexpected("message").is_empty(), "delivered without credit");
    receiver.order(json!({ "do": "credit", "link": "r", "credit": 1 }));
    assert_eq!(receiver.body("r"), "later");
}

pub(crate) fn presettled_messages_arrive_settled(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 1000 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender_with("s", json!({ "address": "telemetry", "settled": true }));
    // More than one turn of credit: it comes back without settlements.
    sender.send_with("s", json!({ "count": 600, "body": "{}" }));
    for number in 1..=600 {
        let message = receiver.expect("message", "r");
        assert_eq!(
            (&message["settled"], text(&message, "body")),
            (&json!(true), number.to_string().as_str())
        );
    }
    // A receiver that wants everything settled gets it so.
    let mut second = Peer::connect(library, &daemon);
    receiver.order(json!({ "do": "detach", "link": "r" }));
    receiver.expect("detached", "r");
    second.receiver("r", "telemetry", json!({ "credit": 10, "settled": true }));
    sender.sender("unsettled", "telemetry");
    sender.send("unsettled", "sure?");
    assert_eq!(second.expect("message", "r")["settled"], true);
    assert_eq!(sender.settled("unsettled")["state"], "accepted");
}

pub(crate) fn a_message_of_ten_mebibytes_arrives_whole(library: Library) {
    let daemon = daemon_with("files", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "files", json!({ "credit": 3 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "files");
    for _ in 0..3 {
        sender.send_with("s", json!({ "size": 10 << 20 }));
        let sent = sender.expect("sent", "s");
        let received = receiver.expect("message", "r");
        assert!(sent["length"].as_u64() > Some(10 << 20));
        assert_eq!((&received["length"], &received["digest"]), (&sent["length"], &sent["digest"]));
        assert_eq!(sender.settled("s")["state"], "accepted");
    }
}

pub(crate) fn an_unknown_address_is_refused_with_a_sentence(library: Library) {
    let daemon = strict_daemon_with("telemetry", AddressType::Anycast);
    let mut peer = Peer::connect(library, &daemon);
    for role in ["sender", "receiver"] {
        peer.order(json!({ "do": role, "link": role, "address": "telemetri" }));
        let detached = peer.expect("detached", role);
        assert_eq!(text(&detached, "condition"), "amqp:not-found");
        assert_eq!(text(&detached, "description"), "no address telemetri; create it first");
    }
    // The connection goes on.
    peer.sender("s", "telemetry");
}

pub(crate) fn anonymous_and_no_authentication_are_let_in(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    for options in [json!({ "mechanism": "ANONYMOUS" }), json!({ "sasl": false })] {
        let mut peer = Peer::new(library);
        peer.start_connecting(&daemon, options.clone());
        let opened = peer.expect("opened", "");
        // rhea does not tell which mechanism it took.
        if library == Library::Proton {
            assert_eq!(opened["mechanism"], options["mechanism"]);
        }
        peer.receiver("r", "telemetry", json!({ "credit": 1 }));
        peer.sender("s", "telemetry");
        peer.send("s", "let in");
        assert_eq!(peer.body("r"), "let in");
    }
}

pub(crate) fn a_name_that_nobody_has_is_not_let_in(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut peer = Peer::new(library);
    peer.start_connecting(&daemon, json!({ "mechanism": "PLAIN", "user": "guest", "password": "secret" }));
    // rhea says no more than that.
    let told = if library == Library::Proton { "unauthenticated" } else { "disconnected" };
    peer.expect(told, "");
    assert!(peer.unexpected("opened").is_empty());
}

pub(crate) fn heartbeats_keep_a_quiet_connection(library: Library) {
    let daemon = Daemon::builder().with(|config| config.limits.idle_timeout_ms = 1_000).start();
    daemon.admin().create("telemetry", AddressType::Anycast);
    let mut peer =
        Peer::connect_with(library, &daemon, json!({ "container": "quiet", "heartbeat_ms": 1_000 }));
    peer.receiver("r", "telemetry", json!({ "credit": 1 }));
    let before = daemon.admin().connection_of("quiet");
    // Each side sends one in half of the other's timeout: six take longer than a timeout.
    eventually("six heartbeats each way", || {
        let now = daemon.admin().connection_of("quiet");
        let beats = (now.bytes_in - before.bytes_in).min(now.bytes_out - before.bytes_out) / HEARTBEAT;
        (beats >= 6).then_some(())
    });
    peer.sender("s", "telemetry");
    peer.send("s", "still here");
    assert_eq!(peer.body("r"), "still here");
    assert!(peer.unexpected("disconnected").is_empty());
}

pub(crate) fn the_admin_api_closes_a_connection_with_its_reason(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut peer = Peer::connect_with(library, &daemon, json!({ "container": "unwanted" }));
    let mut other = Peer::connect_with(library, &daemon, json!({ "container": "welcome" }));
    let id = daemon.admin().connection_of("unwanted").id;
    let answer =
        daemon.admin().request("DELETE", &format!("/api/v1/connections/{id}?reason=out%20of%20favour"), None);
    assert_eq!(answer.status, 204, "{answer:?}");
    let closed = peer.expect("closed", "");
    assert_eq!(text(&closed, "condition"), "amqp:connection:forced");
    assert!(text(&closed, "description").contains("out of favour"), "{closed}");
    peer.expect("disconnected", "");
    other.receiver("r", "telemetry", json!({}));
    let again = daemon.admin().request("DELETE", &format!("/api/v1/connections/{id}"), None);
    assert_eq!(again.status, 404, "{again:?}");
}

pub(crate) fn what_a_leaving_receiver_held_comes_back_as_failed(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 6, "outcome": "none" }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "count": 10, "body": "{}" }));
    for _ in 0..6 {
        receiver.expect("message", "r");
    }
    eventually("four messages that wait", || (daemon.admin().statistics().undelivered == 4).then_some(()));
    // It dies: no detach, no close.
    drop(receiver);
    let outcomes: Vec<Value> = (0..10).map(|_| sender.settled("s")).collect();
    let failed =
        outcomes.iter().filter(|outcome| outcome["state"] == "modified" && outcome["failed"] == true);
    let released = outcomes.iter().filter(|outcome| outcome["state"] == "released");
    assert_eq!((failed.count(), released.count()), (6, 4), "{outcomes:#?}");
}

pub(crate) fn an_expired_message_is_not_delivered(library: Library) {
    let daemon = daemon_with("telemetry", AddressType::Anycast);
    let mut receiver = Peer::connect(library, &daemon);
    receiver.receiver("r", "telemetry", json!({ "credit": 0 }));
    let mut sender = Peer::connect(library, &daemon);
    sender.sender("s", "telemetry");
    sender.send_with("s", json!({ "body": "short-lived", "ttl_ms": 20 }));
    assert_eq!(sender.settled("s")["state"], "released");
    sender.send_with("s", json!({ "body": "long-lived", "ttl_ms": 600_000 }));
    receiver.order(json!({ "do": "credit", "link": "r", "credit": 10 }));
    let message = receiver.expect("message", "r");
    assert_eq!(text(&message, "body"), "long-lived");
    let left = message["ttl_ms"].as_u64().expect("a time to live");
    assert!((1..=600_000).contains(&left), "{message}");
    assert_eq!(daemon.admin().statistics().expired, 1);
}

pub(crate) fn a_deleted_address_takes_its_links_with_it(library: Library) {
    let daemon = strict_daemon_with("telemetry", AddressType::Anycast);
    let mut peer = Peer::connect(library, &daemon);
    peer.receiver("r", "telemetry", json!({ "credit": 1 }));
    peer.sender("s", "telemetry");
    let answer = daemon.admin().request("DELETE", "/api/v1/addresses/telemetry", None);
    assert_eq!(answer.status, 204, "{answer:?}");
    for link in ["r", "s"] {
        assert_eq!(text(&peer.expect("detached", link), "condition"), "amqp:resource-deleted");
    }
    peer.order(json!({ "do": "sender", "link": "again", "address": "telemetry" }));
    assert_eq!(text(&peer.expect("detached", "again"), "condition"), "amqp:not-found");
}

pub(crate) fn the_node_introduces_itself(library: Library) {
    let daemon = Daemon::start();
    let mut peer = Peer::new(library);
    peer.start_connecting(&daemon, json!({ "container": "guest" }));
    let opened = peer.expect("opened", "");
    assert_eq!(text(&opened, "container"), "node-1");
    assert_eq!(opened["offered"], json!(["ANONYMOUS-RELAY", "DELAYED_DELIVERY", "SHARED-SUBS"]));
    assert_eq!(opened["properties"], json!({ "product": "mq", "version": daemon.runtime().version }));
    let seen = daemon.admin().connection_of("guest");
    assert_eq!((seen.user.as_str(), seen.listener.as_str()), ("anonymous", "amqp"));
}
