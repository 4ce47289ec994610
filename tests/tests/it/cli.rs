//! A user's first day: the command line alone, from an empty home to an empty home.

use std::net::SocketAddr;

use mq_tests::foreign::{Library, Peer, is_skipped, text};
use mq_tests::{Mq, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const DEPLOY: &str = "deploy --amqp-port 0 --mqtt-port 0 --http-port 0";

fn deployed() -> Mq {
    let mq = Mq::new();
    mq.run(DEPLOY).succeeds().prints("1 to create").prints("undo: mq undeploy");
    mq
}

/// The only node of the fleet, as `mq status` shows it.
fn node(mq: &Mq) -> Value {
    mq.run("status -o json").succeeds().json()["items"][0].clone()
}

/// Where the fleet's AMQP listener is.
fn amqp(mq: &Mq) -> SocketAddr {
    let node = node(mq);
    let listeners = node["listeners"].as_array().expect("listeners");
    let listener = listeners.iter().find(|listener| listener["name"] == "amqp").expect("an AMQP listener");
    format!("{}:{}", text(listener, "host"), listener["port"]).parse().expect("an address")
}

/// Waits until an address has so many consumers.
fn wait_for_consumers(mq: &Mq, address: &str, count: u64) {
    eventually("the consumers of an address", || {
        let shown = mq.run_with(&["address", "show", address, "-o", "json"]).succeeds().json();
        let status = shown.get("status").or_else(|| shown.pointer("/items/0/status"))?;
        (status["consumers"] == count).then_some(())
    });
}

#[test]
fn a_fleet_is_deployed_used_checked_and_undeployed() {
    let mq = deployed();
    mq.run(DEPLOY).succeeds().prints("1 unchanged");
    assert_eq!(node(&mq)["state"], "running");

    mq.run("address create telemetry --type anycast").succeeds();
    mq.run("address create news --type multicast").succeeds();
    let again = mq.run("address create telemetry --type anycast").exits_with(8);
    assert!(again.stderr.contains("telemetry"), "{again:?}");
    let names = mq.run("address list -o name").succeeds();
    assert_eq!(names.lines(), ["news", "telemetry"]);

    let receiver = mq.start("recv telemetry -n 3");
    mq.run_with(&["send", "telemetry", "-n", "3", "-m", "hello"]).succeeds();
    assert_eq!(receiver.finish().succeeds().lines(), ["hello"; 3]);

    let check = mq.run("check -o json").succeeds().json();
    let checks = check["items"].as_array().expect("a list of checks");
    assert!(checks.len() >= 3 && checks.iter().all(|check| check["result"] == "ok"), "{check:#}");
    let names = mq.run("address list -o name").succeeds();
    assert_eq!(names.lines(), ["news", "telemetry"], "a check leaves nothing behind");

    mq.run("address delete news").succeeds();
    mq.run("undeploy --yes").succeeds();
    mq.run("status").exits_with(7).says("mq deploy");

    // What was created is there again after the next deploy.
    mq.run(DEPLOY).succeeds();
    assert_eq!(mq.run("address list -o name").succeeds().lines(), ["telemetry"]);
    mq.run("undeploy --yes --purge").succeeds();
}

#[test]
fn the_sender_may_come_first() {
    let mq = deployed();
    mq.run("address create telemetry --type anycast").succeeds();
    let sender = mq.start_with(&["send", "telemetry", "--lines", "-f", "-"], "one\ntwo\nthree\n");
    let received = mq.run("recv telemetry -n 3").succeeds();
    assert_eq!(received.lines(), ["one", "two", "three"]);
    sender.finish().succeeds();
}

#[test]
fn a_request_is_answered_by_a_command() {
    let mq = deployed();
    mq.run("address create upper --type anycast").succeeds();
    let service = mq.start_with(&["reply", "upper", "-n", "2", "--exec", "tr a-z A-Z"], "");
    for word in ["quiet", "loud"] {
        let answer = mq.run_with(&["request", "upper", word]).succeeds();
        assert_eq!(answer.stdout.trim_end(), word.to_uppercase());
    }
    service.finish().succeeds();
}

#[test]
fn a_dead_daemon_is_noticed_and_replaced() {
    let mq = deployed();
    mq.run("address create telemetry --type anycast").succeeds();
    let pid =
        node(&mq)["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).expect("a pid");
    kill_process(pid, Signal::KILL).expect("the daemon is alive");
    let status = mq.run("status");
    assert_ne!(status.code, Some(0), "{status:?}");
    mq.run(DEPLOY).succeeds();
    assert_eq!(node(&mq)["state"], "running");
    assert_eq!(mq.run("address list -o name").succeeds().lines(), ["telemetry"]);
}

#[test]
fn a_port_in_use_is_named() {
    let first = deployed();
    let port = amqp(&first).port();
    let second = Mq::new();
    let refused = second.run(&format!("deploy --amqp-port {port} --mqtt-port 0 --http-port 0"));
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains(&port.to_string()), "{refused:?}");
    // The first fleet is none the worse for it.
    first.run("check").succeeds();
}

#[test]
fn two_fleets_live_side_by_side() {
    let (left, right) = (deployed(), deployed());
    left.run("address create left --type anycast").succeeds();
    right.run("address create right --type anycast").succeeds();
    assert_eq!(left.run("address list -o name").succeeds().lines(), ["left"]);
    assert_eq!(right.run("address list -o name").succeeds().lines(), ["right"]);
    assert_ne!(amqp(&left), amqp(&right));
}

#[test]
fn mq_and_foreign_clients_read_each_other() {
    if is_skipped() {
        return;
    }
    let mq = deployed();
    mq.run("address create telemetry --type anycast").succeeds();
    for library in [Library::Proton, Library::Rhea] {
        let mut peer = Peer::new(library);
        peer.start_connecting_to(amqp(&mq), json!({}));
        peer.expect("opened", "");
        peer.receiver("r", "telemetry", json!({ "credit": 1 }));
        wait_for_consumers(&mq, "telemetry", 1);
        let lines = "{\"v\":1,\"body\":{\"kind\":\"value\",\"enc\":\"json\",\"value\":\"from mq\"}}\n";
        mq.run_reading("send telemetry --json-lines", lines).succeeds();
        assert_eq!(peer.body("r"), "from mq");
        peer.order(json!({ "do": "detach", "link": "r" }));
        peer.expect("detached", "r");

        peer.sender("s", "telemetry");
        peer.send("s", "to mq");
        let record = mq.run("recv telemetry -n 1 -o json").succeeds().json();
        assert_eq!(record["body"]["value"], "to mq");
        assert_eq!(peer.settled("s")["state"], "accepted");
    }
}
