//! A fleet whose data plane is RabbitMQ, with the server as Debian has it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mq_tests::{Mq, eventually, eventually_within, report};
use serde_json::Value;

/// How long the broker may take to start, or to end, on a busy machine.
pub(crate) const SLOW: Duration = Duration::from_secs(240);

const FLEET: &str = "
apiVersion: mq.dev/v1
kind: Fleet
metadata: { name: rabbit }
spec:
  dataplane: rabbitmq
  listeners: { amqp: { port: 0 }, mqtt: { port: 0 }, http: { port: 0 } }
---
apiVersion: mq.dev/v1
kind: Address
metadata: { name: orders }
spec: { type: queue }
---
apiVersion: mq.dev/v1
kind: Address
metadata: { name: events }
spec: { type: topic }
---
apiVersion: mq.dev/v1
kind: Address
metadata: { name: 'events::audit' }
spec: { type: subscription, subscription: { filter: events/+/paid } }
";

/// Whether the tests with RabbitMQ are to be left out; says so.
pub(crate) fn is_missing() -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_there = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").is_file()
        || std::env::split_paths(&folders).any(|folder| folder.join("rabbitmq-server").is_file());
    if !is_there {
        report("left out: rabbitmq-server is not installed");
    }
    !is_there
}

/// A user with the fleet, and its file.
pub(crate) fn deployed() -> Mq {
    let mq = Mq::new();
    fs::write(mq.home().join("fleet.yaml"), FLEET).expect("a home that can be written");
    deploy(&mq).prints("4 to create").prints("undo: mq undeploy --name rabbit");
    mq
}

#[track_caller]
fn deploy(mq: &Mq) -> mq_tests::Finished {
    mq.start("deploy -f fleet.yaml --wait 4m").finish_within(SLOW).succeeds()
}

/// The processes that have the user's home in what they were started with: the broker and all that belongs to it.
fn processes(mq: &Mq) -> Vec<u32> {
    let home = mq.home().display().to_string();
    let entries = fs::read_dir("/proc").expect("a list of processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: &u32| {
        let of = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        [of("environ"), of("cmdline")].iter().any(|bytes| String::from_utf8_lossy(bytes).contains(&home))
    };
    pids.filter(|pid| *pid != std::process::id()).filter(names).collect()
}

/// Waits until an address holds so many messages: the broker looks every five seconds.
fn wait_for_messages(mq: &Mq, address: &str, count: u64) {
    eventually("the messages of an address", || {
        let shown = mq.run_with(&["address", "show", address, "-o", "json"]).succeeds().json();
        (shown.pointer("/status/queue/messages").and_then(Value::as_u64) == Some(count)).then_some(())
    });
}

#[test]
fn a_fleet_of_rabbitmq_is_deployed_used_checked_and_undeployed() {
    if is_missing() {
        return;
    }
    let mq = deployed();
    deploy(&mq).prints("unchanged");
    let node = mq.run("status -o json").succeeds().json()["items"][0].clone();
    assert_eq!(node["state"], "running", "{node:#}");

    // A queue keeps what was sent to it, and gives it once.
    mq.run_with(&["send", "orders", "--durable", "-n", "3", "-m", "hello"]).succeeds();
    wait_for_messages(&mq, "orders", 3);
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), ["hello"; 3]);

    // A subscription gets what its filter names.
    mq.run_with(&["send", "events/eu/paid", "-m", "yes"]).succeeds();
    mq.run_with(&["send", "events/eu/sent", "-m", "no"]).succeeds();
    assert_eq!(mq.run("recv events::audit --until-empty").succeeds().lines(), ["yes"]);

    let refused = mq.run("address create direct --type anycast");
    assert!(refused.code != Some(0) && refused.stderr.contains("stores every message"), "{refused:?}");
    mq.run("send nowhere hello").exits_with(7);

    mq.run("address create upper --type queue").succeeds();
    let service = mq.start_with(&["reply", "upper", "-n", "1", "--exec", "tr a-z A-Z"], "");
    assert_eq!(mq.run("request upper quiet").succeeds().stdout.trim_end(), "QUIET");
    service.finish().succeeds();

    let check = mq.start("check -o json --timeout 1m").finish_within(SLOW).succeeds().json();
    let checks = check["items"].as_array().expect("a list of checks");
    assert!(checks.len() >= 4 && checks.iter().all(|check| check["result"] == "ok"), "{check:#}");
    let bench = mq.start("bench orders -n 200 --warmup 0s -o json").finish_within(SLOW).succeeds().json();
    assert!(bench.to_string().contains("\"received\":200"), "{bench:#}");

    // What is stored, and who serves it, is there again after a restart.
    mq.run_with(&["send", "orders", "--durable", "-m", "kept"]).succeeds();
    mq.start("restart node-1 --wait 4m --yes").finish_within(SLOW).succeeds();
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), ["kept"]);

    mq.start("undeploy --yes --purge").finish_within(SLOW).succeeds();
    eventually_within(SLOW, "the end of all that belongs to the broker", || {
        processes(&mq).is_empty().then_some(())
    });
    mq.run("status").exits_with(7);
}

#[test]
fn a_node_that_is_killed_takes_its_broker_along_and_starts_again() {
    if is_missing() {
        return;
    }
    let mq = deployed();
    mq.run_with(&["send", "orders", "--durable", "-m", "kept"]).succeeds();
    let node = mq.run("status -o json").succeeds().json()["items"][0].clone();
    let pid = node["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("the node is alive");
    eventually_within(SLOW, "the end of the broker", || processes(&mq).is_empty().then_some(()));
    deploy(&mq);
    assert_eq!(mq.run("recv orders --until-empty").succeeds().lines(), ["kept"]);
    mq.start("undeploy --yes --purge").finish_within(SLOW).succeeds();
}

#[test]
fn what_rabbitmq_cannot_do_is_refused_with_its_line_and_nothing_is_changed() {
    let mq = Mq::new();
    let text = FLEET.replace("{ type: queue }", "{ type: anycast }");
    fs::write(mq.home().join("fleet.yaml"), text).expect("a home that can be written");
    let refused = mq.run("deploy -f fleet.yaml").exits_with(2);
    assert!(refused.stderr.contains("fleet.yaml:12:15"), "{refused:?}");
    assert!(refused.stderr.contains("make it a `queue`"), "{refused:?}");
    mq.run("status").exits_with(7);
}
