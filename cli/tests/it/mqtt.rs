//! MQTT through a real daemon: `mq` as its client, and what the fleet says of sessions and retained messages.

use serde_json::{Value, json};

use crate::sandbox::{Ended, Sandbox};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Waits until a client has this many subscriptions.
fn wait_for_subscriptions(sandbox: &Sandbox, client: &str, count: u64) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let shown = sandbox.run(&format!("session show {client} -o json"));
        if shown.code == 0 && json(&shown.stdout)["subscriptions"] == count {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{shown:?}");
        std::thread::yield_now();
    }
}

#[test]
fn amqp_and_mqtt_meet_on_a_topic_that_nobody_has_created() {
    let sandbox = Sandbox::deployed();
    let subscriber = sandbox.start("recv mqtt:///sensors/# -n 1 --client-id meter --timeout 20s -o json");
    wait_for_subscriptions(&sandbox, "meter", 1);
    sandbox.ok("send sensors/kitchen 21.5 -H site=north");
    let received: Ended = subscriber.wait_with_output().unwrap().into();
    assert_eq!(received.code, 0, "{received:?}");
    let record = json(&received.stdout);
    assert_eq!((&record["proto"], &record["address"]), (&json!("mqtt"), &json!("sensors/kitchen")));
    assert_eq!(record["body"]["value"], "21.5");
    assert_eq!(record["mqtt"]["user_properties"], json!([["site", "north"]]));

    let receiver = sandbox.start("recv sensors/# -n 1 --timeout 20s -o json");
    sandbox.wait_for_consumers("#", 1);
    sandbox.ok("send mqtt:///sensors/kitchen 22.0 --qos 1 -H site=south --content-type text/plain");
    let received: Ended = receiver.wait_with_output().unwrap().into();
    assert_eq!(received.code, 0, "{received:?}");
    let record = json(&received.stdout);
    assert_eq!((&record["proto"], &record["body"]["value"]), (&json!("amqp"), &json!("22.0")));
    assert_eq!(record["properties"]["to"], "sensors/kitchen");
    assert_eq!(record["properties"]["content_type"], "text/plain");
    assert_eq!(record["application_properties"], json!({ "site": "south" }));
    assert_eq!(record["header"]["durable"], true);
}

#[test]
fn a_session_keeps_what_is_sent_while_its_client_is_away_until_it_is_deleted() {
    let sandbox = Sandbox::deployed();
    let recv = "recv mqtt:///jobs/# --client-id worker --session-expiry 1h";
    sandbox.ok(&format!("{recv} --until-idle 50ms"));
    for topic in ["mqtt:///jobs/1", "mqtt:///jobs/2"] {
        sandbox.ok(&format!("send {topic} {topic} --qos 2"));
    }
    sandbox.ok("send jobs/3 amqp --durable");
    let session = json(&sandbox.ok("session show worker -o json"));
    assert_eq!((&session["messages"], &session["expirySeconds"]), (&json!(3), &json!(3_600)), "{session}");
    assert_eq!(session["filters"][0]["filter"], "jobs/#");
    assert!(session["disconnectedAt"].is_string() && session["expiresAt"].is_string(), "{session}");
    assert!(sandbox.ok("session list wor").contains("worker  node-1  away for"));
    assert_eq!(sandbox.ok("session list x -o name"), "");
    assert_eq!(sandbox.ok("session list --connected -o name"), "");
    assert_eq!(sandbox.ok("session list --away -o name"), "worker\n");

    let received = sandbox.ok(&format!("{recv} -n 2 --timeout 20s"));
    assert_eq!(received, "mqtt:///jobs/1\nmqtt:///jobs/2\n");
    assert_eq!(json(&sandbox.ok("session show worker -o json"))["messages"], 1);
    sandbox.ok("session delete worker");
    assert_eq!(sandbox.run("session delete worker").code, 7);
    assert!(sandbox.ok("session delete worker --ignore-not-found").starts_with("unchanged"));
    assert_eq!(sandbox.run("session show worker").code, 7);
    let after = sandbox.run(&format!("{recv} --wait 100ms"));
    assert_eq!((after.code, after.stdout.as_str()), (4, ""), "{after:?}");
}

#[test]
fn retained_messages_are_listed_received_on_either_side_and_forgotten() {
    let sandbox = Sandbox::deployed();
    sandbox.ok("send mqtt:///rooms/kitchen 21.5 --retain --qos 2 --ttl 1h");
    sandbox.ok("send rooms/bath 19 --retain");
    let listed = json(&sandbox.ok("retained list rooms/# -o json"));
    let names: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    assert_eq!(names, ["rooms/bath", "rooms/kitchen"]);
    assert_eq!(listed["items"][1]["text"], "21.5");
    assert!(listed["items"][1]["expiresInMs"].as_u64().is_some_and(|left| left <= 3_600_000), "{listed}");

    for address in ["rooms/#", "mqtt:///rooms/#"] {
        assert_eq!(sandbox.ok(&format!("recv {address} --retained -n 2 --timeout 20s")), "19\n21.5\n");
        let without = sandbox.run(&format!("recv {address} --wait 100ms"));
        assert_eq!((without.code, without.stdout.as_str()), (4, ""), "{without:?}");
    }
    assert_eq!(sandbox.run("retained delete rooms/#").code, 10, "a filter wants a yes");
    assert_eq!(sandbox.ok("retained delete rooms/bath"), "changed: forgot 1 retained message\n");
    sandbox.ok("send mqtt:///rooms/kitchen --retain");
    assert_eq!(sandbox.ok("retained list -o name"), "");
    assert!(sandbox.ok("retained delete rooms/# --yes").starts_with("unchanged"));
}

#[test]
fn a_queue_takes_mqtt_and_its_consumers_compete() {
    let sandbox = Sandbox::deployed();
    sandbox.ok("address create orders --type queue");
    sandbox.ok("send mqtt:///orders stored --qos 1 -n 3");
    let queue = json(&sandbox.ok("address show orders -o json"));
    assert_eq!(queue["status"]["queue"]["messages"], 3);
    assert_eq!(sandbox.ok("recv mqtt:///orders -n 1 --timeout 20s"), "stored\n");
    assert_eq!(sandbox.ok("recv orders --until-empty"), "stored\nstored\n");
}

#[test]
fn a_request_over_mqtt_is_answered_by_a_command() {
    let sandbox = Sandbox::deployed();
    let responder = sandbox
        .command_of(&["reply", "mqtt:///services/upper", "-n", "2", "--exec", "tr a-z A-Z"])
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while sandbox.ok("session list -o name").is_empty() {
        assert!(std::time::Instant::now() < deadline);
    }
    let client = sandbox.ok("session list -o name");
    wait_for_subscriptions(&sandbox, client.trim(), 1);
    assert_eq!(sandbox.ok("request mqtt:///services/upper hello --timeout 20s"), "HELLO\n");
    let reply = json(&sandbox.ok("request services/upper again --timeout 20s -o json"));
    assert_eq!((&reply["proto"], &reply["body"]["value"]), (&json!("amqp"), &json!("AGAIN")));
    let ended: Ended = responder.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended:?}");
    let nobody = sandbox.run("request mqtt:///services/nobody hello");
    assert_eq!(nobody.code, 9, "{nobody:?}");
    assert!(nobody.stderr.contains("nobody is subscribed to `services/nobody`"), "{nobody:?}");
}

#[test]
fn what_was_received_over_mqtt_can_be_sent_again_as_it_was() {
    let sandbox = Sandbox::deployed();
    sandbox
        .ok("send mqtt:///from text --retain -H k=1 -H k=2 --ttl 1h --content-type a/b --reply-to answers \
         --correlation c7");
    let line = sandbox.ok("recv mqtt:///from --retained -n 1 --timeout 20s -o json");
    let sent = sandbox.feed("send mqtt:///to --json-lines", line.as_bytes());
    assert_eq!(sent.code, 0, "{sent:?}");
    let (first, second) =
        (json(&line), json(&sandbox.ok("recv mqtt:///to --retained -n 1 --timeout 20s -o json")));
    for part in ["body", "properties", "application_properties", "mqtt"] {
        assert_eq!(first[part], second[part], "{part}");
    }
    assert_eq!(first["mqtt"]["user_properties"], json!([["k", "1"], ["k", "2"]]));
    assert_eq!(first["properties"]["reply_to"], "answers");
}

#[test]
fn a_fleet_that_serves_only_what_was_created_says_how_to_create_it() {
    let sandbox = Sandbox::strict();
    assert_eq!(sandbox.ok("address list"), "", "nothing is built in");
    let refused = sandbox.run("recv mqtt:///rooms/# --wait 1s");
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("mq address create rooms --type topic"), "{refused:?}");
    let refused = sandbox.run("send mqtt:///rooms/kitchen x");
    assert_eq!(refused.code, 9, "{refused:?}");
    assert!(refused.stderr.contains("topic name invalid"), "{refused:?}");
    sandbox.ok("address create rooms --type topic");
    sandbox.ok("send mqtt:///rooms/kitchen x");
    sandbox.ok("check");
}

#[test]
fn a_fleet_bounds_what_it_keeps_for_clients() {
    let sandbox = Sandbox::with_mqtt("maxRetained: 1, maxQos: 1, session: {maxMessages: 2}");
    let recv = "recv mqtt:///jobs/# --client-id worker --session-expiry 1h";
    let granted = sandbox.run(&format!("{recv} --qos 2 --until-idle 50ms"));
    assert!(granted.stderr.contains("grants QoS 1"), "{granted:?}");
    let beyond = sandbox.run("send mqtt:///jobs/1 x --qos 2");
    assert_eq!(beyond.code, 1, "{beyond:?}");
    assert!(beyond.stderr.contains("takes messages up to QoS 1"), "{beyond:?}");
    for number in 1..=3 {
        sandbox.ok(&format!("send mqtt:///jobs/1 {number}"));
    }
    let session = json(&sandbox.ok("session show worker -o json"));
    assert_eq!((&session["messages"], &session["dropped"]), (&json!(2), &json!(1)), "{session}");
    assert_eq!(sandbox.ok(&format!("{recv} -n 2 --timeout 20s")), "2\n3\n", "the oldest made room");

    sandbox.ok("send mqtt:///rooms/kitchen 21.5 --retain");
    sandbox.ok("send mqtt:///rooms/kitchen 22.0 --retain");
    let refused = sandbox.run("send mqtt:///rooms/bath 19 --retain");
    assert_eq!(refused.code, 9, "{refused:?}");
    assert_eq!(sandbox.ok("retained list -o name"), "rooms/kitchen\n");
}

#[test]
fn the_built_in_topic_is_shown_and_cannot_be_deleted() {
    let sandbox = Sandbox::deployed();
    assert!(sandbox.ok("address list").contains("#     topic (built in)"));
    let refused = sandbox.run("address delete #");
    assert_eq!(refused.code, 8, "{refused:?}");
    assert!(refused.stderr.contains("mqtt.catch-all"), "{refused:?}");
    let created = sandbox.ok("address create # --type topic --max-messages 10");
    assert_eq!(created, "changed: created address #; undo: mq address delete '#'\n");
    assert!(sandbox.ok("address show #").contains("type          topic\n"));
    sandbox.ok("address delete #");
    assert!(sandbox.ok("address show #").contains("type          topic (built in)"));
}

#[test]
fn flags_of_the_other_protocol_are_refused() {
    let sandbox = Sandbox::new();
    for (arguments, why) in [
        ("send mqtt://h/a x --priority 3", "MQTT has nothing for --priority"),
        ("send mqtt://h/a x --settled --qos 1", "--settled asks for no outcome"),
        ("send mqtt://h/a x --durable --qos 0", "not durable"),
        ("send mqtt://h/a/# x", "a wildcard is for receiving"),
        ("send amqp://h/a x --qos 1", "--qos is for MQTT"),
        ("recv mqtt://h/a --selector x=1", "MQTT has nothing for --selector"),
        ("recv mqtt://h/a --ack release", "MQTT knows acknowledged messages"),
        ("recv mqtt://h/a --durable-subscription s", "--session-expiry"),
        ("recv amqp://h/a --client-id c --session-expiry 1h", "--session-expiry is for MQTT"),
        ("request amqp://h/a x --reply-to b", "--reply-to of a request is for MQTT"),
        ("browse mqtt://h/a", "the scheme is `mqtt`"),
        ("send mqtts://h/a x --priority 3", "MQTT has nothing for --priority"),
        ("send amqps://h/a x --qos 1", "--qos is for MQTT"),
    ] {
        let ended = sandbox.run(arguments);
        assert_eq!(ended.code, 2, "{arguments}: {ended:?}");
        assert!(ended.stderr.contains(why), "{arguments}: {ended:?}");
    }
}
