//! Queues, topics and subscriptions, seen from the command line: against a queue and an admin API that do
//! exactly as they are told.

use mq_amqp::{
    performative::{Source, TerminusDurability, TerminusExpiryPolicy},
    value::Value as Amqp,
};
use serde_json::{Value, json};

use crate::{
    peer::{AdminApi, Behaviour, Queue},
    sandbox::{Ended, Sandbox},
};

fn bodies(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

/// `mq VERB amqp://QUEUE/orders ARGUMENTS`.
fn at(queue: &Queue, verb: &str, arguments: &[&str]) -> Ended {
    let url = format!("amqp://{}/orders", queue.address);
    let arguments = [&[verb, &url, "--timeout", "20s"], arguments].concat();
    Sandbox::new().client(&arguments).output().unwrap().into()
}

fn source(queue: &Queue) -> Source {
    *queue.seen().attach.unwrap().source.unwrap()
}

#[test]
fn until_empty_takes_everything_and_ends_when_the_peer_says_so() {
    let queue = Queue::start(Behaviour { bodies: bodies(0..250), ..Behaviour::default() });
    let ended = at(&queue, "recv", &["--until-empty", "--credit", "20"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, lines(0..250).as_str()), "{ended:?}");
    assert!(ended.stderr.contains("received 250 messages"), "{ended:?}");
    let seen = queue.seen();
    assert_eq!((seen.sent, seen.accepted, seen.closed), (250, 250, Some(true)));
    assert!(seen.drains >= 1);
}

#[test]
fn an_empty_queue_is_a_success_without_output() {
    let queue = Queue::start(Behaviour::default());
    let ended = at(&queue, "recv", &["--until-empty"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert_eq!(queue.seen().drains, 1);
}

#[test]
fn messages_that_come_while_the_queue_is_asked_are_not_left_behind() {
    // The first answer uses the credit up exactly, the second leaves some of it, which is the end.
    let behaviour =
        Behaviour { bodies: bodies(0..3), late: vec![bodies(3..12), bodies(12..13)], ..Behaviour::default() };
    let queue = Queue::start(behaviour);
    let ended = at(&queue, "recv", &["--until-empty", "--credit", "9"]);
    let seen = queue.seen();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!((ended.stdout.as_str(), seen.accepted), (lines(0..13).as_str(), 13), "{seen:?}");
    assert_eq!(seen.drains, 2);
}

#[test]
fn the_count_ends_a_drain_too() {
    let queue = Queue::start(Behaviour { bodies: bodies(0..9), ..Behaviour::default() });
    let ended = at(&queue, "recv", &["--until-empty", "-n", "4"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, lines(0..4).as_str()), "{ended:?}");
    assert_eq!(queue.seen().sent, 4, "no more than was asked for");
}

#[test]
fn messages_cannot_be_given_back_until_there_is_none() {
    let queue = Queue::start(Behaviour::default());
    for ack in ["release", "modify"] {
        let ended = at(&queue, "recv", &["--until-empty", "--ack", ack]);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("mq browse"), "{ended:?}");
    }
}

#[test]
fn browsing_copies_and_ends_at_the_end_of_the_queue() {
    let queue = Queue::start(Behaviour { bodies: bodies(0..250), ..Behaviour::default() });
    let ended = at(&queue, "browse", &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, lines(0..250).as_str()), "{ended:?}");
    let seen = queue.seen();
    assert_eq!((seen.accepted, seen.released), (0, 250));
    assert_eq!(source(&queue).distribution_mode.unwrap().as_str(), "copy");
}

#[test]
fn browsing_stops_at_the_count() {
    let queue = Queue::start(Behaviour { bodies: bodies(0..9), ..Behaviour::default() });
    let ended = at(&queue, "browse", &["-n", "5", "-o", "json"]);
    let records: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values: Vec<_> = records.iter().map(|record| record["body"]["value"].as_str().unwrap()).collect();
    assert_eq!(values, ["0", "1", "2", "3", "4"]);
    assert_eq!(queue.seen().sent, 5, "no more than was asked for");
}

#[test]
fn a_peer_that_would_give_the_messages_away_is_not_browsed() {
    let behaviour = Behaviour { bodies: bodies(0..9), is_deaf: true, ..Behaviour::default() };
    let queue = Queue::start(behaviour);
    let ended = at(&queue, "browse", &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("does not let a client browse `orders`"), "{ended:?}");
    assert_eq!(queue.seen().sent, 0);
}

#[test]
fn a_selector_is_a_filter_of_the_source() {
    let queue = Queue::start(Behaviour::default());
    let ended = at(&queue, "recv", &["--until-empty", "--selector", "region = 'eu'"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let filter = source(&queue).filter;
    assert_eq!(filter.len(), 1);
    assert_eq!(filter[0].0.as_str(), "apache.org:selector-filter:string");
    let Amqp::Described(described) = &filter[0].1 else { panic!("{filter:?}") };
    assert_eq!(**described, (Amqp::ULong(0x0000_468c_0000_0004), Amqp::String("region = 'eu'".into())));
}

#[test]
fn a_selector_that_the_peer_does_not_apply_is_an_error_before_a_message_is_taken() {
    let behaviour = Behaviour { bodies: bodies(0..9), is_deaf: true, ..Behaviour::default() };
    let queue = Queue::start(behaviour);
    let ended = at(&queue, "recv", &["--selector", "a = 1"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("does not apply a selector to `orders`"), "{ended:?}");
    assert_eq!(queue.seen().sent, 0);
}

#[test]
fn a_durable_subscription_belongs_to_its_client_and_is_left_not_closed() {
    let queue = Queue::start(Behaviour::default());
    let ended = at(&queue, "recv", &["--until-empty", "--durable-subscription", "audit"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let seen = queue.seen();
    assert_eq!((seen.container.as_str(), seen.closed), ("mq", Some(false)));
    assert_eq!(seen.attach.as_ref().unwrap().name.as_str(), "audit");
    let source = source(&queue);
    assert_eq!(source.durable, TerminusDurability::UnsettledState);
    assert_eq!(source.expiry_policy, TerminusExpiryPolicy::Never);
    let ended = at(&queue, "recv", &["--until-empty", "--durable-subscription", "a", "--client-id", "shop"]);
    assert_eq!((ended.code, queue.seen().container.as_str()), (0, "shop"), "{ended:?}");
}

#[test]
fn a_shared_subscription_is_everybodys() {
    let queue = Queue::start(Behaviour::default());
    let capabilities = || {
        let source = source(&queue);
        source.capabilities.iter().map(|symbol| symbol.as_str().to_owned()).collect::<Vec<_>>()
    };
    for (flag, link, durable) in [
        ("--durable-subscription", "b|global", TerminusDurability::UnsettledState),
        ("--subscription", "b|global-volatile1", TerminusDurability::None),
    ] {
        let ended = at(&queue, "recv", &["--until-empty", "--shared", flag, "b"]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let seen = queue.seen();
        assert_eq!(seen.attach.unwrap().name.as_str(), link);
        assert_ne!(seen.container, "mq", "two clients of one name could disturb each other");
        assert_eq!(capabilities(), ["topic", "shared", "global"]);
        assert_eq!(source(&queue).durable, durable);
    }
}

#[test]
fn a_shared_subscription_needs_a_name() {
    let queue = Queue::start(Behaviour::default());
    let ended = at(&queue, "recv", &["--shared"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert_eq!(at(&queue, "recv", &["--subscription", "b"]).code, 2);
    assert_eq!(at(&queue, "recv", &["--durable-subscription", "a|b"]).code, 2);
}

/// `mq` with the admin API given.
fn with(api: &AdminApi, arguments: &[&str]) -> Ended {
    let arguments = [arguments, &["--admin", &api.url]].concat();
    Sandbox::new().client(&arguments).output().unwrap().into()
}

fn address(name: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": "mq.dev/v1", "kind": "Address", "metadata": {"name": name}, "spec": spec, "status": status})
}

fn status(queue: Value) -> Value {
    json!({
        "ready": true, "producers": 1, "consumers": 2, "deliveriesIn": 10, "deliveriesOut": 7,
        "undelivered": 0, "unsettled": 1, "dropped": 0, "expired": 0, "queue": queue,
    })
}

#[test]
fn every_flag_of_create_is_a_field_of_the_document() {
    let api = AdminApi::start(&[(
        "POST /api/v1/addresses",
        201,
        address("x", json!({"type": "queue"}), Value::Null),
    )]);
    let ended = with(
        &api,
        &[
            "address",
            "create",
            "orders",
            "--type",
            "queue",
            "--max-deliveries",
            "5",
            "--dead-letter",
            "orders.dlq",
            "--expiry-address",
            "orders.old",
            "--ttl-max",
            "1h",
            "--max-bytes",
            "2GiB",
            "--max-messages",
            "1M",
            "--on-full",
            "reject",
            "--redelivery-delay",
            "1s",
            "--redelivery-multiplier",
            "1.5",
            "--redelivery-max-delay",
            "1m",
            "--exclusive",
            "--message-groups",
            "--last-value",
            "--deduplicate",
            "10m",
            "--deduplicate-ids",
            "1k",
        ],
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    let expected = json!({
        "type": "queue",
        "limits": {"maxMessages": 1_000_000, "maxBytes": 2_147_483_648_u64},
        "onFull": "reject",
        "ttl": {"maxMs": 3_600_000},
        "maxDeliveries": 5,
        "redelivery": {"delayMs": 1_000, "multiplier": 1.5, "maxDelayMs": 60_000},
        "deadLetter": "orders.dlq",
        "expiryAddress": "orders.old",
        "exclusive": true,
        "messageGroups": true,
        "lastValue": true,
        "deduplication": {"windowMs": 600_000, "maxIds": 1_000},
    });
    assert_eq!(api.requests()[0].body["spec"], expected);
}

#[test]
fn a_subscription_is_created_by_its_name() {
    let api = AdminApi::start(&[(
        "POST /api/v1/addresses",
        201,
        address("x", json!({"type": "queue"}), Value::Null),
    )]);
    let arguments = [
        "address",
        "create",
        "events::billing",
        "--type",
        "subscription",
        "--filter",
        "events/+/paid",
        "--selector",
        "a > 1",
    ];
    let ended = with(&api, &arguments);
    assert_eq!(ended.code, 0, "{ended:?}");
    let request = &api.requests()[0].body;
    assert_eq!(request["metadata"]["name"], "events::billing");
    assert_eq!(request["spec"]["subscription"], json!({"filter": "events/+/paid", "selector": "a > 1"}));
}

#[test]
fn what_does_not_fit_together_is_refused_before_the_node_is_asked() {
    let api = AdminApi::start(&[]);
    for (arguments, why) in [
        (&["orders", "--type", "anycast", "--max-deliveries", "5"][..], "has no `maxDeliveries`"),
        (&["orders", "--type", "queue", "--on-full", "reject"], "limits.maxBytes"),
        (&["orders", "--type", "queue", "--dead-letter", "orders"], "is the address itself"),
        (&["billing", "--type", "subscription"], "does not name its topic"),
        (&["events::billing", "--type", "queue"], "is that of a subscription"),
        (&["t::s", "--type", "subscription", "--filter", "x/#"], "names nothing of the topic"),
        (
            &["orders", "--type", "queue", "--redelivery-delay", "1s", "--redelivery-multiplier", "0.5"],
            "use 1 to 100",
        ),
        (&["orders", "--type", "queue", "--max-deliveries", "0"], "1 to 1M"),
        (&["orders", "--type", "queue", "--deduplicate-ids", "5"], "--deduplicate"),
    ] {
        let ended = with(&api, &[&["address", "create"], arguments].concat());
        assert_eq!(ended.code, 2, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(why), "{arguments:?}: {ended:?}");
    }
    assert_eq!(api.requests(), []);
}

#[test]
fn a_purge_says_how_much_it_dropped_and_does_not_ask_a_program() {
    let api = AdminApi::start(&[("POST /api/v1/addresses/a%2Fb/purge", 200, json!({"messages": 12_000}))]);
    let ended = with(&api, &["address", "purge", "a/b"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "changed: dropped 12,000 messages of a/b\n"),
        "{ended:?}"
    );
    let ended = with(&api, &["address", "purge", "c"]);
    assert_eq!(ended.code, 7, "{ended:?}");
}

#[test]
fn a_move_names_its_undo() {
    let api = AdminApi::start(&[("POST /api/v1/addresses/a.dlq/move", 200, json!({"messages": 3}))]);
    let ended = with(&api, &["address", "move", "a.dlq", "a", "-n", "5"]);
    let expected = "changed: moved 3 messages from a.dlq to a; undo: mq address move a a.dlq -n 3\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected), "{ended:?}");
    assert_eq!(api.requests()[0].body, json!({"to": "a", "limit": 5}));
    assert_eq!(with(&api, &["address", "move", "a", "a"]).code, 2);
}

#[test]
fn a_queue_in_a_list_has_depth_bytes_and_age_and_a_direct_address_has_none() {
    let queue = status(json!({"messages": 1_500, "bytes": 3_145_728, "oldest": "2020-01-01T00:00:00Z"}));
    let items = json!({"items": [
        address("orders", json!({"type": "queue"}), queue),
        address("direct", json!({"type": "anycast"}), status(Value::Null)),
    ]});
    let api = AdminApi::start(&[("GET /api/v1/addresses", 200, items)]);
    let ended = with(&api, &["address", "list"]);
    let rows: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        rows[0],
        ["NAME", "TYPE", "READY", "HOME", "PRODUCERS", "CONSUMERS", "IN", "OUT", "DEPTH", "BYTES", "OLDEST"]
    );
    assert_eq!(rows[1], ["direct", "anycast", "yes", "-", "1", "2", "10", "7", "-", "-", "-"]);
    assert_eq!(rows[2][..11], ["orders", "queue", "yes", "-", "1", "2", "10", "7", "1,500", "3.0", "MiB"]);
    assert!(rows[2][11].contains('d'), "{rows:?}");
}

#[test]
fn show_says_what_a_queue_holds_and_what_is_wanted_of_it() {
    let queue =
        status(json!({"messages": 5, "bytes": 500, "available": 3, "acquired": 2, "deadLettered": 4}));
    let document = address("orders", json!({"type": "queue", "maxDeliveries": 5}), queue);
    let api = AdminApi::start(&[("GET /api/v1/addresses/orders", 200, document)]);
    let ended = with(&api, &["address", "show", "orders"]);
    for fact in
        ["holds         5 messages (500 B)", "3 available, 2 acquired", "4 dead-lettered", "maxDeliveries: 5"]
    {
        assert!(ended.stdout.contains(fact), "{fact}: {ended:?}");
    }
}

#[test]
fn a_watched_address_is_a_line_each_time_until_ctrl_c() {
    use std::io::{BufRead, BufReader};

    use rustix::process::{Pid, Signal, kill_process};

    let queue = status(json!({"messages": 5, "bytes": 500, "available": 5}));
    let document = address("orders", json!({"type": "queue"}), queue);
    let api = AdminApi::start(&[("GET /api/v1/addresses/orders", 200, document)]);
    let sandbox = Sandbox::new();
    let arguments =
        ["address", "show", "orders", "--watch", "--interval", "100ms", "-o", "json", "--admin", &api.url];
    let mut child = sandbox.client(&arguments).spawn().unwrap();
    let mut samples = BufReader::new(child.stdout.take().unwrap()).lines();
    let samples: Vec<Value> =
        samples.by_ref().take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(
        samples.iter().all(|sample| sample["address"]["status"]["queue"]["messages"] == 5),
        "{samples:?}"
    );
    assert_eq!((&samples[0]["rateIn"], &samples[1]["rateIn"]), (&Value::Null, &json!(0.0)));
}

#[test]
fn subscriptions_are_listed_and_ended() {
    let subscription = json!({
        "name": "audit", "topic": "events", "administered": false, "durable": true, "shared": true,
        "filter": "events/#", "consumers": 1, "queue": {"messages": 4, "bytes": 40},
    });
    let api = AdminApi::start(&[
        ("GET /api/v1/subscriptions?topic=events", 200, json!({"items": [subscription]})),
        ("DELETE /api/v1/addresses/events/subscriptions/audit", 204, Value::Null),
    ]);
    let ended = with(&api, &["subscription", "list", "events"]);
    let row: Vec<&str> = ended.stdout.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["events", "audit", "durable", "shared", "1", "4", "40", "B", "-", "events/#"]);
    assert_eq!(with(&api, &["subscription", "list", "events", "-o", "name"]).stdout, "events::audit\n");
    let ended = with(&api, &["subscription", "delete", "events", "audit"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "changed: ended the subscription audit of events\n"));
    assert_eq!(with(&api, &["subscription", "delete", "events", "other"]).code, 7);
    assert_eq!(with(&api, &["subscription", "delete", "events", "other", "--ignore-not-found"]).code, 0);
}

#[test]
fn deleting_a_queue_says_what_went_with_it() {
    let document = address("orders", json!({"type": "queue"}), status(json!({"messages": 5})));
    let api = AdminApi::start(&[
        ("GET /api/v1/addresses/orders", 200, document),
        ("DELETE /api/v1/addresses/orders", 204, Value::Null),
    ]);
    let ended = with(&api, &["address", "delete", "orders"]);
    let expected = "changed: deleted address orders and dropped 5 messages; undo: mq address create orders --type queue\n";
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected), "{ended:?}");
}

#[test]
fn another_type_is_not_applied_while_messages_would_be_lost() {
    let items =
        json!({"items": [address("orders", json!({"type": "queue"}), status(json!({"messages": 5})))]});
    let api = AdminApi::start(&[
        ("GET /api/v1/addresses", 200, items),
        ("PUT /api/v1/addresses/orders", 200, address("orders", json!({"type": "anycast"}), Value::Null)),
    ]);
    let sandbox = Sandbox::new();
    let file = sandbox.write(
        "orders.yaml",
        "apiVersion: mq/v1\nkind: Address\nmetadata: { name: orders }\nspec: { type: anycast }\n",
    );
    let apply = |flags: &[&str]| -> Ended {
        let arguments = [&["apply", "-f", file.to_str().unwrap(), "--admin", &api.url][..], flags].concat();
        sandbox.client(&arguments).output().unwrap().into()
    };
    let refused = apply(&[]);
    assert_eq!(refused.code, 10, "{refused:?}");
    assert!(refused.stderr.contains("would drop 5 messages of `orders`"), "{refused:?}");
    assert_eq!(api.requests().len(), 1, "nothing but a look");
    assert_eq!(apply(&["--dry-run"]).code, 0);
    let applied = apply(&["--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    assert!(applied.stdout.contains("updated: address orders"), "{applied:?}");
}

#[test]
fn a_subscription_without_its_topic_is_told_what_to_create_first() {
    let problem = json!({"type": "conflict", "status": 409, "detail": "no topic `events` has been created"});
    let api = AdminApi::start(&[("POST /api/v1/addresses", 409, problem)]);
    let ended = with(&api, &["address", "create", "events::billing", "--type", "subscription"]);
    assert_eq!(ended.code, 7, "{ended:?}");
    assert!(ended.stderr.contains("there is no topic `events` to subscribe to"), "{ended:?}");
    assert!(ended.stderr.contains("mq address create events --type topic"), "{ended:?}");
}

#[test]
fn a_status_names_a_store_in_trouble() {
    let node = json!({
        "name": "node-1", "fleet": "f", "version": "1", "pid": 1, "state": "running",
        "startedAt": "2030-01-31T12:00:00Z", "uptimeSeconds": 1, "workers": 1, "listeners": [],
        "configHash": "", "residentBytes": 0, "cpuSeconds": 0.0,
        "store": {"state": "failed", "reason": "no space left on device", "directory": "/s",
            "durability": "fsync", "liveBytes": 0, "diskBytes": 0, "segments": 1, "messages": 0},
    });
    let statistics = serde_json::to_value(mq_model::admin::Statistics::default()).unwrap();
    let api =
        AdminApi::start(&[("GET /api/v1/node", 200, node), ("GET /api/v1/statistics", 200, statistics)]);
    let ended = with(&api, &["status"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("the store of node-1 is failed (no space left on device)"), "{ended:?}");
    assert!(with(&api, &["node", "show"]).stdout.contains("store         failed"), "{ended:?}");
}
