//! `mq deploy` and what keeps a fleet going, with real daemons on loopback.

use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::Sandbox;

const FREE: &str = "--amqp-port 0 --mqtt-port 0 --http-port 0";

fn kill(sandbox: &Sandbox) {
    let pid = sandbox.node("/pid").as_i64().unwrap();
    let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    let lock = std::fs::File::open(sandbox.fleet("default").join("node-1/state/mqd.lock")).unwrap();
    // The kernel lets go of the lock when the process is gone.
    lock.lock().unwrap();
}

#[test]
fn deploying_again_changes_nothing_and_says_so() {
    let sandbox = Sandbox::new();
    let first = sandbox.ok(&format!("deploy {FREE}"));
    assert!(first.contains("+ node node-1  create"), "{first}");
    assert!(first.ends_with("changed; undo: mq undeploy --purge\n"), "{first}");
    let pid = sandbox.node("/pid");
    let second = sandbox.ok(&format!("deploy {FREE}"));
    assert!(second.ends_with("\nunchanged\n"), "{second}");
    assert_eq!(sandbox.node("/pid"), pid);
}

#[test]
fn a_dry_run_changes_nothing() {
    let sandbox = Sandbox::new();
    let plan = sandbox.ok(&format!("deploy {FREE} --dry-run"));
    assert!(plan.ends_with("dry run: nothing was changed\n"), "{plan}");
    assert!(!sandbox.fleet("default").exists());
    assert_eq!(sandbox.run("status").code, 7);
}

#[test]
fn a_dead_daemon_is_started_again_with_its_addresses() {
    let sandbox = Sandbox::deployed();
    sandbox.ok("address create kept --type multicast");
    kill(&sandbox);
    let status = sandbox.run("status");
    assert_eq!(status.code, 5);
    assert!(status.stdout.contains("dead"), "{status:?}");
    let again = sandbox.ok(&format!("deploy {FREE}"));
    assert!(again.contains("its process is gone"), "{again}");
    assert_eq!(sandbox.ok("address list -o name"), "kept\n");
}

#[test]
fn a_changed_configuration_restarts_the_node_and_says_what_changes() {
    let sandbox = Sandbox::deployed();
    let fleet = "apiVersion: mq/v1\nkind: Fleet\nmetadata: {name: default}\nspec: {workers: 1}\n";
    sandbox.write("fleet.yaml", fleet);
    let pid = sandbox.node("/pid");
    let said = sandbox.ok(&format!("deploy -f fleet.yaml {FREE}"));
    assert!(said.contains("workers: 0 -> 1"), "{said}");
    assert_ne!(sandbox.node("/pid"), pid);
    assert_eq!(sandbox.node("/workers"), 1);
}

#[test]
fn addresses_of_a_file_are_created_and_others_left_alone_unless_pruned() {
    let sandbox = Sandbox::new();
    let file = "apiVersion: mq/v1\nkind: Fleet\nmetadata: {name: default}\n---\n\
                apiVersion: mq/v1\nkind: Address\nmetadata: {name: a/b}\nspec: {type: anycast}\n";
    sandbox.write("fleet.yaml", file);
    let deploy = format!("deploy -f fleet.yaml {FREE}");
    sandbox.ok(&deploy);
    assert_eq!(sandbox.ok("address list -o name"), "a/b\n");
    sandbox.ok("address create mine --type anycast");
    let said = sandbox.ok(&deploy);
    assert!(said.contains("= address mine  left alone"), "{said}");
    let refused = sandbox.run(&format!("{deploy} --prune"));
    assert_eq!(refused.code, 10, "{refused:?}");
    sandbox.ok(&format!("{deploy} --prune --yes"));
    assert_eq!(sandbox.ok("address list -o name"), "a/b\n");
}

#[test]
fn a_port_in_use_is_an_error_that_names_the_port_and_the_flag() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let ended = sandbox.run(&format!("deploy --amqp-port {port} --mqtt-port 0 --http-port 0"));
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains(&format!("127.0.0.1:{port}")), "{ended:?}");
    assert!(ended.stderr.contains("--amqp-port"), "{ended:?}");
    assert_eq!(sandbox.run("status").code, 7, "nothing was started");
}

#[test]
fn a_daemon_that_dies_while_it_starts_is_shown_with_its_last_words() {
    let sandbox = Sandbox::new();
    let daemon =
        sandbox.write("mqd", "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho out of luck >&2\nexit 7\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&daemon, mode).unwrap();
    let ended = sandbox.run(&format!("deploy {FREE} --mqd {}", daemon.display()));
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("exit status: 7\n  | out of luck\n"), "{ended:?}");
}

#[test]
fn two_deployments_of_one_fleet_do_not_run_at_once() {
    let sandbox = Sandbox::deployed();
    let lock = std::fs::File::open(sandbox.fleet("default").join("deploy.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(sandbox.run(&format!("deploy {FREE}")).code, 8);
}

#[test]
fn a_restart_that_hurts_clients_wants_a_yes() {
    let sandbox = Sandbox::deployed();
    sandbox.ok("address create a --type anycast");
    let mut consumer = sandbox.start("recv a");
    sandbox.wait_for_consumers("a", 1);
    let refused = sandbox.run(&format!("deploy {FREE} --restart"));
    assert_eq!(refused.code, 10);
    assert!(refused.stderr.contains("would close 1 connection"), "{refused:?}");
    sandbox.ok(&format!("deploy {FREE} --restart --yes"));
    assert_ne!(consumer.wait().unwrap().code(), Some(0), "the consumer is told");
}

#[test]
fn undeploying_keeps_the_state_and_purging_removes_it() {
    let sandbox = Sandbox::deployed();
    sandbox.ok("address create kept --type anycast");
    assert!(sandbox.ok("undeploy").contains("undo: mq deploy"));
    assert!(sandbox.ok("undeploy --name default").starts_with("unchanged"));
    sandbox.ok(&format!("deploy {FREE}"));
    assert_eq!(sandbox.ok("address list -o name"), "kept\n");
    assert_eq!(sandbox.run("undeploy --purge").code, 10);
    sandbox.ok("undeploy --purge --yes");
    assert!(!sandbox.fleet("default").exists());
    assert_eq!(sandbox.ok("context list -o name"), "");
}

#[test]
fn several_fleets_run_side_by_side_and_a_context_tells_them_apart() {
    let sandbox = Sandbox::deployed();
    sandbox.ok(&format!("deploy {FREE} --name other"));
    assert_eq!(sandbox.node("/fleet"), "other");
    sandbox.ok("address create only-here --type anycast");
    sandbox.ok("context use default");
    assert_eq!(sandbox.ok("address list -o name"), "");
    assert_eq!(sandbox.ok("--context other address list -o name"), "only-here\n");
}

#[test]
fn a_context_of_another_fleet_is_not_overwritten() {
    let sandbox = Sandbox::new();
    sandbox.ok("context add default --amqp amqp://192.0.2.7");
    let refused = sandbox.run(&format!("deploy {FREE}"));
    assert_eq!(refused.code, 8);
    assert!(refused.stderr.contains("the context `default` points to another fleet"), "{refused:?}");
    assert_eq!(sandbox.run("undeploy").code, 7);
    assert_eq!(sandbox.ok("context list -o name"), "default\n");
}

#[test]
fn a_node_that_hangs_is_reported_and_can_still_be_stopped() {
    let sandbox = Sandbox::deployed();
    let pid = Pid::from_raw(sandbox.node("/pid").as_i64().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let late = sandbox.run(&format!("deploy {FREE} --wait 100ms"));
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.stderr.contains("mq undeploy --name default"), "{late:?}");
    let stopped = sandbox.run("undeploy --wait 100ms");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(stopped.stderr.contains("was killed"), "{stopped:?}");
    assert!(sandbox.ok(&format!("deploy {FREE}")).contains("+ node node-1  start"));
}

#[test]
fn the_log_of_a_node_is_printed() {
    let sandbox = Sandbox::deployed();
    let log = sandbox.ok("logs -n 5");
    assert!(log.contains("listening"), "{log}");
    assert_eq!(sandbox.run("logs --node nobody").code, 7);
}

#[test]
fn an_address_is_created_shown_changed_and_deleted() {
    let sandbox = Sandbox::deployed();
    let said = sandbox.ok("address create a --type anycast --ttl-max 5s --max-message-size 1MiB");
    assert_eq!(said, "changed: created address a; undo: mq address delete a\n");
    assert_eq!(sandbox.run("address create a --type anycast").code, 8);
    let same = "address create a --type anycast --ttl-max 5s --max-message-size 1MiB --if-absent";
    assert!(sandbox.ok(same).starts_with("unchanged"));
    let document = sandbox.ok("address show a -o yaml");
    assert!(document.contains("maxMs: 5000"), "{document}");
    let changed = sandbox.feed("apply -f -", document.replace("5000", "6000").as_bytes());
    assert!(changed.stdout.contains("spec.ttl.maxMs: 5000 -> 6000"), "{changed:?}");
    sandbox.ok("address delete a");
    assert_eq!(sandbox.run("address delete a").code, 7);
    assert!(sandbox.ok("address delete a --ignore-not-found").starts_with("unchanged"));
}

/// A fleet of two nodes with this section `spec`.
fn guarded(spec: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let head =
        "apiVersion: mq/v1\nkind: Fleet\nmetadata: {name: default}\nspec:\n  nodes: 2\n  drainSeconds: 1\n";
    sandbox.write("fleet.yaml", &format!("{head}{spec}"));
    sandbox.ok(&format!("deploy -f fleet.yaml {FREE} --mesh-port 0"));
    sandbox
}

/// What whoever has deployed a fleet does with it, without saying who he is.
fn is_at_home(sandbox: &Sandbox) {
    assert_eq!(sandbox.run("status").code, 0);
    sandbox.ok("address create jobs --type queue");
    sandbox.ok("send jobs -n 5 -m x --durable");
    assert_eq!(sandbox.ok("recv jobs -n 5").lines().count(), 5);
    let ended = sandbox.run("restart --rolling --verify --soak 0");
    assert_eq!(ended.code, 0, "{ended:?}");
    for lane in ["probe queue:", "probe anycast:"] {
        let line = ended.stderr.lines().find(|line| line.starts_with(lane));
        assert!(line.is_some_and(|line| line.contains(" 0 lost")), "{ended:?}");
    }
    sandbox.ok("node drain node-2");
    sandbox.ok("node undrain node-2");
    let checked = sandbox.run("check");
    assert_eq!(checked.code, 0, "{checked:?}");
    let scaled = sandbox.run("scale 1 --yes");
    assert_eq!(scaled.code, 0, "{scaled:?}");
    assert!(sandbox.ok("deploy").ends_with("\nunchanged\n"));
}

#[test]
fn a_fleet_that_lets_nobody_in_unknown_is_at_its_owners_command() {
    let sandbox = guarded(
        "  listeners: {http: {host: 0.0.0.0, port: 0}, amqp: {host: 0.0.0.0, port: 0}}\n  authentication: {anonymous: never}\n",
    );
    let file = sandbox.fleet("default").join("node-1/state/owner.token");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap();
    let status: serde_json::Value = serde_json::from_str(&sandbox.ok("status -o json")).unwrap();
    let port = status["items"][0]["listeners"].as_array().unwrap().iter();
    let port = port.clone().find(|listener| listener["protocol"] == "http").unwrap()["port"].clone();
    // Who only knows where the node is gets nothing.
    let stranger = sandbox.run(&format!("address list --admin http://127.0.0.1:{port}"));
    assert_eq!(stranger.code, 6, "{stranger:?}");
    for said in ["status -o json", "context show -o json", "deploy history 1 -o json", "deploy -o json"] {
        assert!(!sandbox.ok(said).contains(token.trim()), "{said}");
    }
    for name in ["node-1/mqd.log", "node-1/state/node.json", "node-1/mqd.yaml"] {
        let text = std::fs::read_to_string(sandbox.fleet("default").join(name)).unwrap();
        assert!(!text.contains(token.trim()), "{name}");
    }
    is_at_home(&sandbox);
    assert_ne!(std::fs::read_to_string(&file).unwrap(), token, "a restart makes another one");
}

#[test]
fn a_fleet_that_speaks_tls_alone_is_at_its_owners_command() {
    let sandbox = guarded(
        "  listeners:\n    amqp: {port: 0, enabled: false}\n    mqtt: {port: 0, enabled: false}\n    http: {port: 0, enabled: false}\n    \
         amqps: {host: 127.0.0.1, port: 0}\n    mqtts: {host: 127.0.0.1, port: 0}\n    \
         https: {host: 127.0.0.1, port: 0}\n  authentication: {anonymous: never}\n",
    );
    is_at_home(&sandbox);
}
