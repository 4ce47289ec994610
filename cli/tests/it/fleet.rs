//! Fleets of several nodes, with real daemons on loopback: deployed, scaled, restarted, looked at.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sandbox::Sandbox;

const FREE: &str = "--amqp-port 0 --mqtt-port 0 --http-port 0 --mesh-port 0";

/// A sandbox with the default fleet of so many nodes.
pub(crate) fn fleet(nodes: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&format!("deploy --nodes {nodes} {FREE}"));
    sandbox
}

pub(crate) fn json(sandbox: &Sandbox, arguments: &str) -> Value {
    serde_json::from_str(&sandbox.ok(&format!("{arguments} -o json"))).unwrap()
}

pub(crate) fn pids(sandbox: &Sandbox) -> Vec<Value> {
    let nodes = json(sandbox, "node list");
    nodes["items"].as_array().unwrap().iter().map(|node| node["pid"].clone()).collect()
}

pub(crate) fn pid(sandbox: &Sandbox, node: &str) -> Pid {
    let text = std::fs::read_to_string(sandbox.fleet("default").join(node).join("state/mqd.lock")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

pub(crate) fn kill(sandbox: &Sandbox, node: &str) {
    kill_process(pid(sandbox, node), Signal::KILL).unwrap();
    let lock = sandbox.fleet("default").join(node).join("state/mqd.lock");
    // The kernel lets go of the lock when the process is gone.
    std::fs::File::open(lock).unwrap().lock().unwrap();
}

#[test]
fn three_nodes_are_one_system() {
    let sandbox = fleet(3);
    assert_eq!(sandbox.ok("node list -o name"), "node-1\nnode-2\nnode-3\n");
    let graph = json(&sandbox, "fleet graph");
    assert_eq!(graph["links"].as_array().unwrap().len(), 3, "{graph}");
    assert_eq!((&graph["apiVersion"], &graph["kind"]), (&"mq.cli/v1".into(), &"Mesh".into()));
    let shown = json(&sandbox, "node show node-2");
    assert_eq!((&shown["apiVersion"], &shown["kind"]), (&"mq.cli/v1".into(), &"Node".into()));
    assert!(graph["nodes"].as_array().unwrap().iter().all(|node| node["state"] == "up"), "{graph}");
    let dot = sandbox.ok("fleet graph -o dot");
    assert!(dot.contains(r#""node-1" -- "node-2" [label="1"];"#), "{dot}");
    // The commands below speak with whichever node they find.
    sandbox.ok("address create jobs --type queue");
    sandbox.ok("send jobs -n 20 -m x --durable");
    assert_eq!(sandbox.ok("recv jobs -n 20").lines().count(), 20);
    assert_eq!(sandbox.ok("node show node-2 -o name"), "node-2\n");
    assert_eq!(sandbox.run("node show node-7").code, 7);
    let again = sandbox.ok("deploy");
    assert!(again.ends_with("\nunchanged\n"), "{again}");
}

#[test]
fn what_a_node_proves_itself_with_is_the_users_alone() {
    let sandbox = fleet(2);
    let fleet = sandbox.fleet("default");
    for file in ["ca/ca.key", "node-1/state/tls/node.key", "node-2/state/tls/node.pem"] {
        let mode = std::fs::metadata(fleet.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn growing_restarts_nobody() {
    let sandbox = fleet(2);
    let before = pids(&sandbox);
    let said = sandbox.ok("scale 4");
    assert!(said.ends_with("changed; undo: mq scale 2\n"), "{said}");
    assert_eq!(pids(&sandbox)[..2], before);
    assert_eq!(json(&sandbox, "fleet graph")["links"].as_array().unwrap().len(), 6);
}

#[test]
fn a_dead_node_is_passed_over_shown_and_started_first() {
    let sandbox = fleet(2);
    kill(&sandbox, "node-1");
    for _ in 0..4 {
        sandbox.ok("address list");
    }
    let status = sandbox.run("status");
    assert_eq!(status.code, 3, "{status:?}");
    assert!(status.stdout.lines().any(|line| line.starts_with("node-1  dead")), "{status:?}");
    let said = sandbox.ok("deploy --restart");
    let lines: Vec<&str> = said.lines().map(str::trim_start).collect();
    assert!(lines[1].starts_with("+ node node-1"), "{said}");
    assert!(lines[2].starts_with("~ node node-2"), "{said}");
    assert_eq!(sandbox.run("status").code, 0);
}

#[test]
fn a_rolling_restart_loses_nothing_and_says_so() {
    let sandbox = fleet(3);
    let before = pids(&sandbox);
    let ended = sandbox.run("restart --rolling --verify --soak 200ms");
    assert_eq!(ended.code, 0, "{ended:?}");
    for lane in ["probe queue:", "probe anycast:"] {
        let line = ended.stderr.lines().find(|line| line.starts_with(lane));
        assert!(line.is_some_and(|line| line.contains(" 0 lost")), "{ended:?}");
    }
    let after = pids(&sandbox);
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
    assert!(!sandbox.ok("address list -o name").contains("mq-verify"), "the probe has cleaned up");
}

#[test]
fn chosen_nodes_are_restarted_and_others_are_not() {
    let sandbox = fleet(2);
    let before = pids(&sandbox);
    sandbox.ok("restart node-2 --soak 0");
    let after = pids(&sandbox);
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1], after[1]);
    assert_eq!(sandbox.run("restart node-3").code, 7);
    assert_eq!(sandbox.run("restart").code, 2);
}

#[test]
fn shrinking_moves_what_is_stored_and_loses_nothing() {
    let sandbox = fleet(3);
    for name in ["a", "b", "c"] {
        sandbox.ok(&format!("address create {name} --type queue"));
        sandbox.ok(&format!("send {name} -n 50 -m x --durable"));
    }
    let ended = sandbox.run("scale 1 --verify --soak 200ms");
    assert_eq!(ended.code, 0, "{ended:?}");
    let removed: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("  - node")).collect();
    assert!(
        removed[0].starts_with("  - node node-3") && removed[1].starts_with("  - node node-2"),
        "{ended:?}"
    );
    assert_eq!(sandbox.ok("node list -o name"), "node-1\n");
    let graph = sandbox.ok("fleet graph --no-headers");
    assert_eq!(graph.lines().count(), 1, "what was removed is no part of it: {graph}");
    for name in ["a", "b", "c"] {
        assert_eq!(sandbox.ok(&format!("recv {name} --until-empty")).lines().count(), 50, "{name}");
    }
    // It is as ready for others as before: growing again restarts nobody.
    let before = pids(&sandbox);
    sandbox.ok("scale 2");
    assert_eq!(pids(&sandbox)[0], before[0]);
}

#[test]
fn a_node_is_drained_and_takes_part_again() {
    let sandbox = fleet(2);
    for name in ["a", "b", "c"] {
        sandbox.ok(&format!("address create {name} --type queue"));
        sandbox.ok(&format!("send {name} -n 5 -m x --durable"));
    }
    let said = sandbox.ok("node drain node-2");
    assert!(said.starts_with("changed: node-2 is empty after"), "{said}");
    let homes = json(&sandbox, "address list");
    let homes =
        homes["items"].as_array().unwrap().iter().filter_map(|address| address["status"]["home"].as_str());
    assert!(
        homes.clone().count() >= 3 && homes.clone().all(|home| home == "node-1"),
        "{:?}",
        homes.collect::<Vec<_>>()
    );
    let said = sandbox.ok("node undrain node-2");
    assert!(said.starts_with("changed: node-2 is active"), "{said}");
    let said = sandbox.ok("address move-home b --to node-2");
    assert!(said.starts_with("changed: node-2 is the home of b"), "{said}");
    assert!(sandbox.ok("address move-home b --to node-2").starts_with("unchanged"));
    assert_eq!(sandbox.ok("recv b --until-empty").lines().count(), 5);
    assert_eq!(sandbox.run("address move-home b --to node-9").code, 2);
}

#[test]
fn an_order_is_seen_at_once_and_outlives_the_process() {
    let sandbox = fleet(2);
    let state = || json(&sandbox, "fleet graph")["nodes"][1]["cordoned"].clone();
    for (order, word) in [("cordon", "cordoned"), ("uncordon", "running"), ("cordon", "cordoned")] {
        sandbox.ok(&format!("node {order} node-2"));
        let list = sandbox.ok("node list --no-headers");
        let line = list.lines().nth(1).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(word), "{list}");
        assert_eq!(state(), (word == "cordoned"));
    }
    sandbox.ok("restart node-2 --soak 0");
    assert!(sandbox.ok("node list --no-headers").lines().nth(1).unwrap().contains(" cordoned "));
    sandbox.ok("address create later --type queue");
    assert_eq!(json(&sandbox, "address show later")["status"]["home"], "node-1");
}

#[test]
fn what_is_on_a_node_that_is_away_is_not_deleted_unseen() {
    let sandbox = fleet(2);
    for name in ["q", "given-up"] {
        sandbox.ok(&format!("address create {name} --type queue"));
        sandbox.ok(&format!("address move-home {name} --to node-2"));
        sandbox.ok(&format!("send {name} -n 5 -m x --durable"));
    }
    kill(&sandbox, "node-2");
    let unknown = "node-2, which holds `q`, cannot be reached";
    let refused = sandbox.run("address delete q");
    assert_eq!(refused.code, 10, "{refused:?}");
    assert!(refused.stderr.contains(&format!("{unknown}: what it holds is not known")), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{refused:?}");
    let document = "apiVersion: mq/v1\nkind: Address\nmetadata: {name: q}\nspec: {type: anycast}\n";
    let refused = sandbox.feed("apply -f - --yes", document.as_bytes());
    assert!(refused.code == 10 && refused.stderr.contains(unknown), "{refused:?}");
    for command in ["address purge q", "address move q given-up", "address move-home q --to node-1"] {
        let refused = sandbox.run(command);
        assert!(refused.code != 0 && refused.stderr.contains(unknown), "{command}: {refused:?}");
    }
    let list = sandbox.run("address list");
    let line = list.stdout.lines().find(|line| line.starts_with("q ")).unwrap().to_owned();
    assert!(line.contains(" no ") && line.contains(" ? "), "neither ready nor empty: {list:?}");
    assert!(list.stderr.contains("node-2 cannot be reached"), "{list:?}");
    assert!(sandbox.ok("address show q").contains("what is on node-2 is not known"));
    let said = sandbox.ok("address delete given-up --force");
    assert!(said.starts_with("changed: deleted address given-up and dropped what node-2 holds"), "{said}");
    sandbox.ok("deploy");
    assert_eq!(sandbox.ok("recv q --until-empty").lines().count(), 5, "nothing was dropped");
    assert_eq!(sandbox.run("address show given-up").code, 7);
}

#[test]
fn a_check_looks_at_every_node_and_sends_from_each_to_each() {
    let sandbox = fleet(3);
    let before = sandbox.ok("address list -o name");
    let result = |line: &Value| (line["check"].as_str().unwrap().to_owned(), line["result"] == "ok");
    let checks = json(&sandbox, "check -n 4");
    let checks: Vec<(String, bool)> = checks["items"].as_array().unwrap().iter().map(result).collect();
    assert!(checks.iter().all(|(_, ok)| *ok), "{checks:?}");
    let nodes = ["node-1", "node-2", "node-3"];
    for check in nodes.iter().flat_map(|node| [format!("node {node}"), format!("queue from {node}")]) {
        assert!(checks.iter().any(|(name, _)| *name == check), "{check} in {checks:?}");
    }
    for check in ["anycast over nodes", "request/reply over nodes", "qos 1 over nodes"] {
        assert!(checks.iter().any(|(name, _)| name == check), "{check} in {checks:?}");
    }
    assert_eq!(sandbox.ok("address list -o name"), before, "it has cleaned up");
    assert_eq!(sandbox.ok("session list -o name"), "");

    kill(&sandbox, "node-2");
    let failed = sandbox.run("check -n 4 --no-headers");
    assert_eq!(failed.code, 1, "{failed:?}");
    let bad: Vec<&str> = failed.stdout.lines().filter(|line| line.contains(" failed ")).collect();
    assert!(bad.len() == 1 && bad[0].starts_with("node node-2 "), "{failed:?}");
    assert!(bad[0].contains("its process has died"), "{failed:?}");
    assert!(bad[0].contains("`mq deploy`"), "{failed:?}");
}

#[test]
fn a_node_that_does_not_answer_is_not_removed() {
    let sandbox = fleet(2);
    kill(&sandbox, "node-2");
    let refused = sandbox.run("scale 1");
    assert_eq!(refused.code, 10, "{refused:?}");
    assert!(refused.stderr.contains("nobody can know what node-2 holds: it has died"), "{refused:?}");
    assert!(refused.stderr.contains("--abandon node-2"), "{refused:?}");
    assert!(sandbox.fleet("default").join("node-2").exists());
    let said = sandbox.run("scale 1 --abandon node-2 --retain 1h");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!sandbox.fleet("default").join("node-2").exists());
    let kept = std::fs::read_dir(sandbox.fleet("default").join("removed")).unwrap().count();
    assert_eq!(kept, 1, "its data is kept");
}

#[test]
fn a_roll_that_fails_stops_with_the_reason_and_goes_on_later() {
    let sandbox = fleet(2);
    let before = pids(&sandbox);
    let broken =
        sandbox.write("mqd", "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho out of luck >&2\nexit 7\n");
    std::fs::set_permissions(&broken, std::fs::Permissions::from_mode(0o700)).unwrap();
    let ended = sandbox.run(&format!("restart --rolling --mqd {}", broken.display()));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("  | out of luck\n"), "{ended:?}");
    assert!(ended.stderr.contains("node-2 was not touched; `mq deploy` goes on from here"), "{ended:?}");
    let history = json(&sandbox, "deploy history");
    assert_eq!(history["items"][1]["result"], "failed", "{history}");
    let said = sandbox.ok("deploy");
    assert!(said.contains("+ node node-1  start"), "{said}");
    assert_eq!(pids(&sandbox)[1], before[1], "it ran all the while");
}

#[test]
fn a_rollback_brings_the_manifest_of_before_back() {
    let sandbox = Sandbox::new();
    let file = |drain: u32| {
        format!(
            "apiVersion: mq/v1\nkind: Fleet\nmetadata: {{name: default}}\nspec: {{nodes: 2, drainSeconds: {drain}}}\n"
        )
    };
    sandbox.write("one.yaml", &file(3));
    sandbox.write("two.yaml", &file(4));
    sandbox.ok(&format!("deploy -f one.yaml {FREE}"));
    let said = sandbox.ok(&format!("deploy -f two.yaml {FREE} --soak 0"));
    assert!(said.contains("drain-seconds: 3 -> 4"), "{said}");
    assert!(said.ends_with("changed; undo: mq deploy rollback 1\n"), "{said}");
    let said = sandbox.ok("deploy rollback --soak 0");
    assert!(said.contains("drain-seconds: 4 -> 3"), "{said}");
    assert!(said.ends_with("changed; undo: mq deploy rollback 2\n"), "{said}");
    assert!(sandbox.ok("deploy history 1").contains("drainSeconds: 3"));
    let history = json(&sandbox, "deploy history");
    let commands: Vec<&str> =
        history["items"].as_array().unwrap().iter().filter_map(|item| item["command"].as_str()).collect();
    assert_eq!(commands, ["mq deploy -f one.yaml", "mq deploy -f two.yaml", "mq deploy rollback 1"]);
}

#[test]
fn connections_of_every_node_are_listed_and_can_be_closed() {
    let sandbox = fleet(2);
    sandbox.ok("address create a --type anycast");
    let mut clients = [sandbox.start("recv a"), sandbox.start("recv a"), sandbox.start("recv a")];
    sandbox.wait_for_consumers("a", 3);
    let ids = sandbox.ok("connection list -o name");
    assert_eq!(ids.lines().count(), 3, "{ids}");
    for id in ids.lines() {
        assert!(id.starts_with("node-1/") || id.starts_with("node-2/"), "{id}");
        assert!(sandbox.ok(&format!("link list --connection {id}")).contains(id));
        sandbox.ok(&format!("connection close {id}"));
    }
    for client in &mut clients {
        assert_ne!(client.wait().unwrap().code(), Some(0), "it is told");
    }
}

#[test]
fn stopping_a_fleet_keeps_everything_and_starts_again() {
    let sandbox = fleet(2);
    sandbox.ok("address create kept --type queue");
    sandbox.ok("send kept -m still-there --durable");
    assert!(sandbox.ok("undeploy").contains("undo: mq deploy"));
    let said = sandbox.ok("deploy");
    assert!(said.contains("+ node node-2  start"), "{said}");
    assert_eq!(sandbox.ok("recv kept -n 1"), "still-there\n");
}
