//! Fleets on other machines: real ones, with systemd and an SSH server in each.

use std::fs;
use std::path::{Path, PathBuf};

use mq_tests::hosts::{Hosts, LOGIN, ROLL};
use mq_tests::{Finished, Mq, eventually, mqd_path};

/// A fleet on these machines, one node on each, with a queue. All listen on the loopback of their machine: what these
/// tests say to them goes through `ssh`.
fn manifest(hosts: &Hosts, count: usize, user: &str, folder: &Path) -> PathBuf {
    let machines: Vec<String> =
        (1..=count).map(|number| format!("{{ address: {}, user: {user} }}", hosts.address(number))).collect();
    let text = format!(
        "apiVersion: mq.dev/v1
kind: Fleet
metadata: {{ name: far }}
spec:
  target: {{ ssh: {{ hosts: [{}] }} }}
  workers: 1
  drainSeconds: 1
---
apiVersion: mq.dev/v1
kind: Address
metadata: {{ name: orders }}
spec: {{ type: queue }}
",
        machines.join(", ")
    );
    let path = folder.join("fleet.yaml");
    fs::write(&path, text).expect("the manifest can be written");
    path
}

/// `mq deploy` of a manifest.
#[track_caller]
fn deploy(hosts: &Hosts, mq: &Mq, manifest: &Path, more: &[&str]) -> Finished {
    let manifest = manifest.display().to_string();
    let mqd = mqd_path().display().to_string();
    hosts.run(mq, &[&["deploy", "-f", &manifest, "--mqd", &mqd], more].concat())
}

/// The names of the nodes that `mq status` shows as up.
#[track_caller]
fn running(hosts: &Hosts, mq: &Mq) -> Vec<String> {
    let status = hosts.run(mq, &["status", "-o", "json"]).json();
    let nodes = status["items"].as_array().cloned().unwrap_or_default();
    nodes
        .iter()
        .filter(|node| node["state"] == "running")
        .filter_map(|node| node["name"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_fleet_of_system_units_is_deployed_changed_and_leaves_nothing() {
    let Some(hosts) = Hosts::new_or_say_why(3) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 3, "root", mq.home());
    let mqd = mqd_path().display().to_string();

    deploy(&hosts, &mq, &manifest, &["--dry-run"])
        .succeeds()
        .prints("4 to create")
        .prints("on 3 hosts over SSH");
    assert_eq!(hosts.on(1, "ls /var/lib/mq/far").stdout, "releases\n", "what looks, and nothing else");
    deploy(&hosts, &mq, &manifest, &[]).succeeds().prints("changed");
    deploy(&hosts, &mq, &manifest, &[]).succeeds().prints("unchanged");
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2", "node-3"]);
    let unit = hosts.on(2, "systemctl show -p User,Type,NRestarts,ActiveState mq-far-node-2").succeeds();
    for property in ["User=mq", "Type=notify", "NRestarts=0", "ActiveState=active"] {
        assert!(unit.stdout.contains(property), "{property}: {unit:#?}");
    }
    let modes = hosts.on(2, "cd /var/lib/mq/far/node-2/state/tls && stat -c '%a %U' *").succeeds();
    assert!(modes.stdout.lines().all(|mode| mode == "600 mq"), "{modes:#?}");

    hosts.run(&mq, &["send", "orders", "--durable", "--count", "50", "hello"]).succeeds();
    hosts.run(&mq, &["logs", "--node", "node-3", "-n", "500"]).succeeds().prints("serving");

    // One after the other, and nothing that was accepted is lost.
    let rolled = hosts.run(&mq, &["restart", "--rolling", "--verify", "--mqd", &mqd]).succeeds();
    assert!(rolled.stderr.contains("0 lost"), "{rolled:#?}");

    // A node goes; what it stores moves first.
    hosts.run(&mq, &["scale", "2", "--mqd", &mqd, "--yes"]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    hosts.on(3, "systemctl cat mq-far-node-3").exits_with(1);

    // Somebody stops a node by hand.
    hosts.on(2, "systemctl stop mq-far-node-2").succeeds();
    hosts.run(&mq, &["fleet", "drift", "--mqd", &mqd]).exits_with(1).prints("node-2");
    hosts.run(&mq, &["deploy", "--name", "far", "--mqd", &mqd]).succeeds();
    hosts.run(&mq, &["fleet", "drift", "--mqd", &mqd]).succeeds().prints("no drift");

    hosts.run(&mq, &["deploy", "rollback", "--mqd", &mqd, "--yes"]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2", "node-3"]);
    let stored = hosts.run(&mq, &["recv", "orders", "--until-empty", "-o", "json"]).succeeds();
    assert_eq!(stored.lines().len(), 50, "{stored:#?}");

    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    for number in 1..=3 {
        hosts.on(number, "ls /var/lib/mq").exits_with(2);
        assert_eq!(hosts.on(number, "ls /etc/systemd/system | grep -c ^mq-").stdout, "0\n");
        hosts.on(number, "pgrep mqd || id mq").exits_with(1);
    }
}

#[test]
fn a_user_without_rights_gets_units_that_outlive_the_login_and_a_reboot() {
    let Some(mut hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, LOGIN, mq.home());
    // Nobody there may turn lingering on without root: it is said, with the command, and nothing is changed.
    let refused = deploy(&hosts, &mq, &manifest, &[]).exits_with(1);
    for text in ["2 problems", "loginctl enable-linger deploy"] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    for number in 1..=2 {
        hosts.on(number, "loginctl enable-linger deploy").succeeds();
    }
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    assert_eq!(hosts.on_as(LOGIN, 1, "pgrep -u deploy -x mqd | wc -l").stdout, "1\n");
    hosts.run(&mq, &["send", "orders", "--durable", "--count", "10", "hello"]).succeeds();
    hosts.cut_power(1);
    hosts.boot(1);
    hosts.wait_for(1);
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    let stored = hosts.run(&mq, &["recv", "orders", "--until-empty", "-o", "json"]).succeeds();
    assert_eq!(stored.lines().len(), 10, "{stored:#?}");
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    hosts.on(1, "ls /home/deploy/.local/state/mq/far").exits_with(2);
}

#[test]
fn a_machine_that_dies_stops_the_roll_by_name_and_the_next_deploy_goes_on() {
    let Some(mut hosts) = Hosts::new_or_say_why(3) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 3, "root", mq.home());
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    let mqd = mqd_path().display().to_string();
    let process = |hosts: &Hosts| hosts.on(1, "systemctl show -p MainPID mq-far-node-1").stdout;
    let before = process(&hosts);
    let roll = hosts.start(&mq, &["restart", "--rolling", "--soak", "20s", "--wait", "10s", "--mqd", &mqd]);
    // The first one has been restarted and is looked at for a while; the second one dies meanwhile.
    eventually("a new process of node-1", || {
        let now = process(&hosts);
        (now != before && now != "MainPID=0\n").then_some(())
    });
    hosts.cut_power(2);
    let stopped = roll.finish_within(ROLL);
    assert_ne!(stopped.code, Some(0), "{stopped:#?}");
    assert!(stopped.stderr.contains(&hosts.address(2)), "{stopped:#?}");
    let unreachable = deploy(&hosts, &mq, &manifest, &[]).exits_with(5);
    assert!(unreachable.stderr.contains(&hosts.address(2)), "{unreachable:#?}");
    hosts.boot(2);
    hosts.wait_for(2);
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2", "node-3"]);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
}

#[test]
fn a_machine_that_does_not_come_back_is_left_behind_only_on_purpose() {
    let Some(mut hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    let mqd = mqd_path().display().to_string();
    hosts.cut_power(2);
    let scale = ["scale", "1", "--yes", "--mqd", &mqd];
    let refused = hosts.run(&mq, &scale).exits_with(5);
    assert!(refused.stderr.contains(&hosts.address(2)), "{refused:#?}");
    let scaled = hosts.run(&mq, &[&scale[..], &["--abandon", "node-2"]].concat()).succeeds();
    assert!(scaled.stderr.contains("node-2 given up as asked for"), "{scaled:#?}");
    assert_eq!(running(&hosts, &mq), ["node-1"]);
}

#[test]
fn another_machine_without_the_authority_of_the_fleet_changes_nothing() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let path = manifest(&hosts, 2, "root", mq.home());
    deploy(&hosts, &mq, &path, &[]).succeeds();
    let stranger = Mq::new();
    let refused = deploy(&hosts, &stranger, &path, &["--restart", "--yes"]).exits_with(1);
    assert!(refused.stderr.contains("an authority that is not in"), "{refused:#?}");
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
}

#[test]
fn a_host_key_that_nobody_knows_stops_with_its_fingerprint() {
    let Some(hosts) = Hosts::new_or_say_why(1) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 1, "root", mq.home());
    let known = fs::read(hosts.known_hosts()).expect("the known hosts");
    fs::write(hosts.known_hosts(), "").expect("a file");
    let refused = deploy(&hosts, &mq, &manifest, &[]).exits_with(6);
    for text in ["its host key is not known: SHA256:", "(ED25519)", "ssh root@"] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    assert!(fs::read(hosts.known_hosts()).expect("the known hosts").is_empty(), "nobody has accepted it");
    fs::write(hosts.known_hosts(), known).expect("a file");
    deploy(&hosts, &mq, &manifest, &["--dry-run"]).succeeds();
}

#[test]
fn every_problem_of_every_host_is_said_at_once() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    // Somebody else has a port on the first, and there is no way from the second to the first.
    hosts.on(1, "systemd-run --unit=other --socket-property=ListenStream=0.0.0.0:5672 sleep 600").succeeds();
    hosts.network().part(1, 2);
    let refused = deploy(&hosts, &mq, &manifest, &["--dry-run"]).exits_with(1);
    let unreached = format!("it does not reach {}:7672", hosts.address(1));
    for text in ["2 problems", "another program has this port", &unreached] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    hosts.network().join(1, 2);
    hosts.on(1, "systemctl stop other.socket").succeeds();
    deploy(&hosts, &mq, &manifest, &["--dry-run"]).succeeds();
}
