//! Connectors from the command line, between fleets that know nothing of each other, and to RabbitMQ.

use std::fs;

use mq_tests::{Mq, eventually, eventually_within};
use serde_json::Value;

use crate::{rabbitmq, secure};

/// A fleet whose clients speak TLS.
const PLANT: &str = "apiVersion: mq/v1
kind: Fleet
metadata: {name: default}
spec:
  listeners: {amqp: {port: 0}, mqtt: {port: 0}, http: {port: 0}, amqps: {port: 0}}
";

/// Where a listener of a user's only node listens.
fn port(mq: &Mq, listener: &str) -> u64 {
    let node = mq.run("node show -o json").succeeds().json();
    let listeners = node["listeners"].as_array().unwrap_or_else(|| panic!("{node:#}"));
    let found = listeners.iter().find(|found| found["name"] == listener);
    found.and_then(|found| found["port"].as_u64()).unwrap_or_else(|| panic!("{listener} in {node:#}"))
}

fn wait_until(mq: &Mq, connector: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let shown = mq.run_with(&["connector", "show", connector, "-o", "json"]).succeeds().json();
        is_so(&shown["status"]).then_some(shown)
    })
}

fn is_attached(status: &Value) -> bool {
    let routes = status["routes"].as_array().cloned().unwrap_or_default();
    status["state"] == "connected"
        && !routes.is_empty()
        && routes.iter().all(|route| route["attached"] == true)
}

#[test]
fn a_connector_carries_messages_to_a_fleet_with_tls_and_back_once_it_has_the_password() {
    let (office, plant) = (Mq::new(), Mq::new());
    office.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    fs::write(plant.home().join("fleet.yaml"), PLANT).expect("a home that can be written");
    plant.run("deploy -f fleet.yaml").succeeds();
    for (mq, queues) in [(&office, ["readings", "orders"]), (&plant, ["telemetry", "commands"])] {
        for queue in queues {
            mq.run_with(&["address", "create", queue, "--type", "queue"]).succeeds();
        }
    }
    let create = "user create office --password-stdin --grant recv:telemetry --grant send:commands";
    plant.run_reading(create, "correct horse\n").succeeds();
    let server = format!("amqps://localhost:{}", port(&plant, "amqps"));
    let ca = secure::find(plant.home(), "ca.pem").expect("the authority of the fleet");
    let ca = ca.to_str().expect("a path of text");
    let create = ["connector", "create", "plant", &server, "--login", "office", "--server-ca", ca];
    let routes = ["--receive", "telemetry=readings", "--send", "orders=commands"];

    // Whose password it is has to be said, before anything is asked for.
    let unnamed = ["connector", "create", "plant", &server, "--password-stdin", "--send", "orders"];
    office.start_with(&unnamed, "x\n").finish().exits_with(2).says("--login");
    office.run_with(&["connector", "create", "plant", "http://localhost"]).exits_with(2).says("amqps://HOST");
    office.run_with(&[&create[..], &routes].concat()).succeeds().prints("undo: mq connector delete plant");
    office.run_with(&[&create[..], &routes].concat()).exits_with(8);
    let refused =
        wait_until(&office, "plant", "a try without a password", |status| status["error"].is_string());
    assert_eq!(refused["status"]["hasPassword"], false, "{refused:#}");
    office.run("connector show plant").succeeds().prints("password      not set");

    office.run_reading("connector credentials plant --password-stdin", "correct horse\n").succeeds();
    let shown = wait_until(&office, "plant", "a connection with both routes", is_attached);
    office.run("send orders go").succeeds();
    assert_eq!(plant.run("recv commands -n 1").succeeds().lines(), ["go"]);
    plant.run("send telemetry 21.5").succeeds();
    assert_eq!(office.run("recv readings -n 1").succeeds().lines(), ["21.5"]);
    let list = office.run("connector list").succeeds();
    assert!(list.stdout.contains("connected") && list.stdout.contains("2/2"), "{list:#?}");
    let logs = office.run("logs").succeeds();
    for text in [shown.to_string(), list.stdout, logs.stdout, logs.stderr] {
        assert!(!text.contains("correct horse"), "{text}");
    }

    // Without a connection messages wait where they are.
    office.run("connector pause plant").succeeds().prints("undo: mq connector resume plant");
    office.run("connector pause plant").succeeds().prints("unchanged");
    wait_until(&office, "plant", "the end of the connection", |status| status["state"] == "paused");
    office.run("send orders later").succeeds();
    office.run("connector resume plant").succeeds();
    assert_eq!(plant.run("recv commands -n 1 --timeout 30s").succeeds().lines(), ["later"]);
    office.run("connector delete plant --yes").succeeds();
    office.run("connector delete plant --yes").exits_with(7);
    office.run("connector show plant").exits_with(7);
    for mq in [&office, &plant] {
        mq.run("undeploy --yes --purge").succeeds();
    }
}

#[test]
fn documents_of_connectors_are_applied_and_change_nothing_the_second_time() {
    let mq = Mq::new();
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    let documents = include_str!("../../../manifests/examples/connector.yaml");
    mq.run_reading("apply -f - --dry-run", documents).succeeds().prints("created: connector hq");
    mq.run("connector show hq").exits_with(7);
    mq.run_reading("apply -f -", documents)
        .succeeds()
        .prints("created: connector hq")
        .says("mq connector credentials hq --password-stdin");
    let again = mq.run_reading("apply -f -", documents).succeeds();
    assert!(again.lines().iter().all(|line| line.starts_with("unchanged")), "{again:#?}");
    let changed = documents.replace("severity > 2", "severity > 3");
    mq.run_reading("apply -f -", &changed).succeeds().prints("updated: connector hq");
    mq.run_reading("deploy -f -", documents).exits_with(2).says("mq apply -f");
    mq.run("undeploy --yes --purge").succeeds();
}

#[test]
fn a_connector_carries_messages_to_rabbitmq_and_back() {
    if rabbitmq::is_missing() {
        return;
    }
    let (mq, rabbit) = (Mq::new(), rabbitmq::deployed());
    mq.run("deploy --amqp-port 0 --mqtt-port 0 --http-port 0").succeeds();
    for queue in ["readings", "commands"] {
        mq.run_with(&["address", "create", queue, "--type", "queue"]).succeeds();
    }
    rabbit.run("address create returns --type queue").succeeds();
    let server = format!("amqp://127.0.0.1:{}", port(&rabbit, "amqp"));
    let routes = ["--send", "readings=/amq/queue/orders", "--receive", "/amq/queue/returns=commands"];
    mq.run_with(&[&["connector", "create", "rabbit", &server][..], &routes].concat()).succeeds();
    wait_until(&mq, "rabbit", "a connection with both routes", is_attached);
    for number in 0..20 {
        mq.run_with(&["send", "readings", "--durable", "-m", &format!("reading {number}")]).succeeds();
    }
    let expected: Vec<_> = (0..20).map(|number| format!("reading {number}")).collect();
    assert_eq!(rabbit.run("recv orders -n 20").succeeds().lines(), expected);
    rabbit.run_with(&["send", "returns", "--durable", "-m", "stop"]).succeeds();
    assert_eq!(mq.run("recv commands -n 1").succeeds().lines(), ["stop"]);

    // What nobody takes over there stays here.
    rabbit.start("undeploy --yes --purge").finish_within(rabbitmq::SLOW).succeeds();
    wait_until(&mq, "rabbit", "the loss of the connection", |status| status["state"] == "connecting");
    mq.run("send readings kept").succeeds();
    assert_eq!(mq.run("recv readings --until-empty").succeeds().lines(), ["kept"]);
    eventually_within(rabbitmq::SLOW, "an error that says why", || {
        let shown = mq.run("connector list -o wide").succeeds();
        shown.stdout.contains("cannot connect: ").then_some(())
    });
    mq.run("undeploy --yes --purge").succeeds();
}
