//! Fleets on other machines: real ones, with systemd and an SSH server in each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use mq_tests::hosts::{Hosts, LOGIN, ROLL};
use mq_tests::{Finished, Mq, eventually, eventually_within, mqd_path};
use rustix::process::Signal;

/// A fleet on these machines, one node on each, with a queue. All listen on the loopback of their machine: what these
/// tests say to them goes through `ssh`.
fn manifest(hosts: &Hosts, count: usize, user: &str, folder: &Path) -> PathBuf {
    manifest_of(hosts, count, &format!("user: {user}"), folder)
}

/// The same with more to say of each machine.
fn manifest_of(hosts: &Hosts, count: usize, more: &str, folder: &Path) -> PathBuf {
    let machines: Vec<String> =
        (1..=count).map(|number| format!("{{ address: {}, {more} }}", hosts.address(number))).collect();
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
fn another_machine_changes_a_fleet_once_it_has_been_given_its_authority_and_not_before() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let path = manifest(&hosts, 2, "root", mq.home());
    deploy(&hosts, &mq, &path, &[]).succeeds();
    let stranger = Mq::new();
    let refused = deploy(&hosts, &stranger, &path, &["--restart", "--yes"]).exits_with(1);
    assert!(refused.stderr.contains("an authority that is not in"), "{refused:#?}");
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);

    let folder = mq.home().join("far").display().to_string();
    hosts.run(&mq, &["fleet", "export", &folder]).succeeds().prints("without the data of its nodes");
    hosts.run(&mq, &["fleet", "export", &folder]).exits_with(8);
    let mode = fs::metadata(&folder).expect("a folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else looks into it");
    hosts.run(&stranger, &["fleet", "import", &folder]).succeeds();
    deploy(&hosts, &stranger, &path, &[]).succeeds();
    let mqd = mqd_path().display().to_string();
    hosts.run(&stranger, &["scale", "1", "--yes", "--mqd", &mqd]).succeeds();
    assert_eq!(running(&hosts, &stranger), ["node-1"]);
    // The first machine goes on once it knows of it.
    let back = stranger.home().join("far").display().to_string();
    hosts.run(&stranger, &["fleet", "export", &back]).succeeds();
    hosts.run(&mq, &["fleet", "import", &back]).succeeds();
    hosts.run(&mq, &["deploy", "history"]).succeeds().prints("mq scale 1");
    hosts.run(&mq, &["scale", "2", "--mqd", &mqd]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    let behind = hosts.run(&mq, &["fleet", "import", &folder]).exits_with(8);
    assert!(behind.stderr.contains("mq scale 2"), "{behind:#?}");
}

#[test]
fn a_fleet_moves_from_this_machine_to_others_and_back_by_its_target_alone() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let far = manifest(&hosts, 2, "root", mq.home());
    let text = fs::read_to_string(&far).expect("the manifest");
    let target = text.lines().find(|line| line.contains("target:")).expect("a target");
    let near = mq.home().join("near.yaml");
    fs::write(&near, text.replace(target, "  target: local\n  nodes: 2")).expect("a file");
    let (near_text, far_text) = (near.display().to_string(), far.display().to_string());
    let mqd = mqd_path().display().to_string();
    let folder = |name: &str| mq.home().join(name).display().to_string();
    let take = |count: &str| hosts.run(&mq, &["recv", "orders", "--count", count, "-o", "json"]).succeeds();

    deploy(&hosts, &mq, &near, &[]).succeeds();
    hosts.run(&mq, &["send", "orders", "--durable", "--count", "30", "hello"]).succeeds();
    let password = folder("ann.pw");
    fs::write(&password, "correct horse\n").expect("a file");
    let create = ["user", "create", "ann", "--role", "viewer", "--password-stdin"];
    hosts.run_reading(&mq, &create, "correct horse\n").succeeds();
    let running_still = hosts.run(&mq, &["fleet", "export", &folder("early"), "--data"]).exits_with(10);
    assert!(running_still.stderr.contains("node-1, node-2 still run"), "{running_still:#?}");
    hosts.run(&mq, &["undeploy", "--yes"]).succeeds();
    hosts.run(&mq, &["fleet", "export", &folder("there"), "--data", "--name", "far"]).succeeds();
    hosts.run(&mq, &["fleet", "import", &folder("there"), "-f", &far_text, "--mqd", &mqd]).succeeds();
    // Whoever was interrupted in it does it again.
    hosts.run(&mq, &["fleet", "import", &folder("there"), "-f", &far_text, "--mqd", &mqd]).succeeds();
    deploy(&hosts, &mq, &far, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    hosts.on(2, "systemctl is-active mq-far-node-2").succeeds();
    assert_eq!(take("10").lines().len(), 10);
    let by_her = ["--user", "ann", "--password-file", &password, "address", "show", "orders"];
    hosts.run(&mq, &by_her).succeeds();
    // The same data is not put under a node that has gone on since.
    hosts.run(&mq, &["fleet", "import", &folder("there"), "-f", &far_text, "--mqd", &mqd]).exits_with(8);

    hosts.run(&mq, &["undeploy", "--yes"]).succeeds();
    hosts.run(&mq, &["fleet", "export", &folder("back"), "--data", "--name", "far"]).succeeds();
    hosts.run(&mq, &["fleet", "import", &folder("back"), "-f", &near_text, "--mqd", &mqd]).succeeds();
    deploy(&hosts, &mq, &near, &[]).succeeds();
    let rest = hosts.run(&mq, &["recv", "orders", "--until-empty", "-o", "json"]).succeeds();
    assert_eq!(rest.lines().len(), 20, "{rest:#?}");
    hosts.on(1, "pgrep mqd").exits_with(1);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
}

#[test]
fn without_systemd_a_node_that_crashes_is_back_and_one_that_is_stopped_is_not() {
    let Some(hosts) = Hosts::new_or_say_why(1) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 1, "root", mq.home());
    // What tells programs that systemd runs the machine is not there, and a cron that only remembers.
    let cron = "#!/bin/sh\nif [ \"$1\" = -l ]; then cat /root/cron; else cat > /root/cron; fi\n";
    let script = format!(
        "mv /run/systemd/system /run/systemd/away && printf '{}' > /usr/local/bin/crontab && chmod 755 \
         /usr/local/bin/crontab",
        cron.replace('\n', "\\n")
    );
    hosts.on(1, &script).succeeds();
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    hosts.run(&mq, &["send", "orders", "--durable", "--count", "5", "hello"]).succeeds();
    let process = |hosts: &Hosts| hosts.on(1, "pgrep -x mqd").stdout;
    let is_serving = |hosts: &Hosts| hosts.run(&mq, &["status"]).code == Some(0);
    for _ in 0..2 {
        let before = process(&hosts);
        hosts.on(1, "pkill -KILL -x mqd").succeeds();
        eventually("the node again", || {
            let now = process(&hosts);
            (!now.is_empty() && now != before).then_some(())
        });
        eventually("the node serves", || is_serving(&hosts).then_some(()));
    }
    let stored = hosts.run(&mq, &["recv", "orders", "--until-empty", "-o", "json"]).succeeds();
    assert_eq!(stored.lines().len(), 5, "{stored:#?}");
    // It is stopped, and nobody starts it; another deployment does.
    hosts.run(&mq, &["undeploy", "--yes"]).succeeds();
    eventually("the end of the keeper", || (hosts.on(1, "pgrep -x mq").code == Some(1)).then_some(()));
    assert_eq!(process(&hosts), "");
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    // As after a loss of power: everything is gone, and cron does what it remembers.
    hosts.on(1, "pkill -KILL -x 'mq|mqd'").succeeds();
    hosts.on(1, "grep -q '^@reboot' /root/cron").succeeds();
    let boot = r#"setsid sh -c "$(sed 's/^@reboot //' /root/cron)" > /dev/null 2>&1 < /dev/null &"#;
    hosts.on(1, boot).succeeds();
    eventually("the node after the boot", || is_serving(&hosts).then_some(()));
    assert_eq!(running(&hosts, &mq), ["node-1"]);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    assert_eq!(hosts.on(1, "cat /root/cron").stdout, "");
    hosts.on(1, "ls /var/lib/mq").exits_with(2);
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

/// The processes of `ssh` that one of these commands has started for itself.
fn connections(mq: &Mq) -> Vec<String> {
    let sockets = mq.home().join("run").display().to_string();
    let processes = fs::read_dir("/proc").expect("the processes").flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with("ssh\0") && line.contains(&sockets)).collect()
}

#[test]
fn what_a_user_forwards_is_in_no_ones_way_and_a_command_that_is_killed_leaves_no_connection() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    // Whoever logs in there would have this port, and only one can.
    hosts.configure("LocalForward 127.0.0.1:17077 127.0.0.1:22");
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    hosts.run(&mq, &["send", "orders", "--durable", "hello"]).succeeds();
    assert_eq!(connections(&mq), [""; 0]);

    let receiver = hosts.start(&mq, &["recv", "orders", "--count", "2"]);
    eventually("the one message is taken", || {
        let taken = hosts.run(&mq, &["address", "show", "orders", "-o", "json"]).json();
        (taken["status"]["queue"]["messages"] == 0).then_some(())
    });
    assert!(!connections(&mq).is_empty());
    receiver.signal(Signal::KILL);
    eventually("the connections are closed", || connections(&mq).is_empty().then_some(()));
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
}

#[test]
fn machines_behind_a_jump_host_are_reached_by_way_of_it() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    let (gate, inner) = (hosts.address(1), hosts.address(2));
    // From where the commands run there is no way back.
    let clients = hosts.network().address_of_clients().to_string();
    let forbidden =
        hosts.network().at(2, || Command::new("ip").args(["route", "add", "prohibit", &clients]).status());
    assert!(forbidden.is_ok_and(|status| status.success()));
    let unreachable = deploy(&hosts, &mq, &manifest, &["--dry-run"]).exits_with(5);
    assert!(unreachable.stderr.contains(&inner), "{unreachable:#?}");
    hosts.configure(&format!("Host {inner}\n  ProxyJump root@{gate}"));
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    hosts.run(&mq, &["send", "orders", "--durable", "--count", "5", "hello"]).succeeds();
    hosts.run(&mq, &["logs", "--node", "node-2", "-n", "500"]).succeeds().prints("serving");
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    hosts.on(2, "ls /var/lib/mq").exits_with(2);
}

#[test]
fn root_by_way_of_sudo_is_as_good_as_root_and_a_broken_sudo_stops_by_name() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest_of(&hosts, 2, &format!("user: {LOGIN}, sudo: true"), mq.home());
    let allow = format!("echo '{LOGIN} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/mq");
    let refused = deploy(&hosts, &mq, &manifest, &[]).exits_with(6);
    for text in [&hosts.address(1), "a password is required", "sudo -n true", "NOPASSWD"] {
        assert!(refused.stderr.contains(text), "{text}: {refused:#?}");
    }
    hosts.on(1, &allow).succeeds();
    hosts.on(2, &allow).succeeds();
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    let unit = hosts.on(1, "systemctl show -p User,ActiveState mq-far-node-1").succeeds();
    assert!(unit.stdout.contains("User=mq") && unit.stdout.contains("ActiveState=active"), "{unit:#?}");
    hosts.run(&mq, &["send", "orders", "--durable", "--count", "10", "hello"]).succeeds();
    // Somebody takes the right away: nothing is touched, and the next one goes on once it is back.
    hosts.on(2, "rm /etc/sudoers.d/mq").succeeds();
    let stopped = deploy(&hosts, &mq, &manifest, &["--restart", "--yes"]).exits_with(6);
    assert!(stopped.stderr.contains(&hosts.address(2)), "{stopped:#?}");
    assert!(!stopped.stderr.contains(&hosts.address(1)), "{stopped:#?}");
    hosts.on(2, "systemctl is-active mq-far-node-2").succeeds();
    hosts.on(2, &allow).succeeds();
    deploy(&hosts, &mq, &manifest, &["--restart", "--yes"]).succeeds();
    let stored = hosts.run(&mq, &["recv", "orders", "--until-empty", "-o", "json"]).succeeds();
    assert_eq!(stored.lines().len(), 10, "{stored:#?}");
    // A certificate is taken with a word to the unit, too.
    let process = hosts.on(2, "systemctl show -p MainPID mq-far-node-2").stdout;
    hosts.on(2, "systemctl reload mq-far-node-2").succeeds();
    assert_eq!(hosts.on(2, "systemctl show -p MainPID mq-far-node-2").stdout, process);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    hosts.on(1, "ls /var/lib/mq").exits_with(2);
}

#[test]
fn a_full_disk_is_said_with_its_machine_and_its_room_and_the_next_deploy_goes_on() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    hosts.on(2, "mkdir -p /var/lib/mq && mount -t tmpfs -o size=4m tmpfs /var/lib/mq").succeeds();
    let full = deploy(&hosts, &mq, &manifest, &[]).exits_with(1);
    for text in [&hosts.address(2), "there is no room for mq", "/var/lib/mq/far/releases", "KiB free"] {
        assert!(full.stderr.contains(text), "{text}: {full:#?}");
    }
    hosts.on(2, "find /var/lib/mq/far -type f | wc -l | grep -qx 0").succeeds();
    hosts.on(1, "pgrep mqd").exits_with(1);
    // Now for the programs, but not for messages.
    let programs: u64 = ["mq", "mqd"]
        .map(|name| fs::metadata(mqd_path().with_file_name(name)).expect("a program").len() >> 20)
        .iter()
        .sum();
    hosts.on(2, &format!("mount -o remount,size={}m /var/lib/mq", programs + 64)).succeeds();
    let narrow = deploy(&hosts, &mq, &manifest, &[]).exits_with(1);
    for text in [&hosts.address(2), "a node takes at least 256"] {
        assert!(narrow.stderr.contains(text), "{text}: {narrow:#?}");
    }
    hosts.on(1, "pgrep mqd").exits_with(1);
    hosts.on(2, &format!("mount -o remount,size={}m /var/lib/mq", programs + 512)).succeeds();
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
}

#[test]
fn a_cable_that_is_pulled_stops_the_roll_and_the_lock_that_it_leaves_behind_expires() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    let mqd = mqd_path().display().to_string();
    let process = |hosts: &Hosts| hosts.on(1, "systemctl show -p MainPID mq-far-node-1").stdout;
    let before = process(&hosts);
    let roll = hosts.start(&mq, &["restart", "--rolling", "--soak", "60s", "--mqd", &mqd]);
    eventually("a new process of node-1", || {
        let now = process(&hosts);
        (now != before && now != "MainPID=0\n").then_some(())
    });
    hosts.network().unplug(2);
    let stopped = roll.finish_within(ROLL);
    assert_ne!(stopped.code, Some(0), "{stopped:#?}");
    assert!(stopped.stderr.contains(&hosts.address(2)), "{stopped:#?}");
    hosts.network().plug(2);
    // Nobody has told the machine that the roll is over. What it holds for it ends by itself.
    let again = eventually_within(ROLL, "a deployment that goes on", || {
        let again = deploy(&hosts, &mq, &manifest, &["--yes"]);
        let is_held = again.stderr.contains("another command is changing the fleet");
        assert!(is_held || again.code == Some(0), "{again:#?}");
        (!is_held).then_some(again)
    });
    again.succeeds();
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
}

#[test]
fn the_authority_of_a_fleet_far_away_is_changed_without_a_restart() {
    let Some(hosts) = Hosts::new_or_say_why(2) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 2, "root", mq.home());
    deploy(&hosts, &mq, &manifest, &[]).succeeds();
    let state = |hosts: &Hosts, number: usize| {
        let process = format!("systemctl show -p MainPID mq-far-node-{number}");
        let certificate = format!("sha256sum < /var/lib/mq/far/node-{number}/state/tls/node.pem");
        [hosts.on(number, &process).succeeds().stdout, hosts.on(number, &certificate).succeeds().stdout]
    };
    let before = [1, 2].map(|number| state(&hosts, number));
    hosts.run(&mq, &["fleet", "rotate-ca"]).succeeds().prints("the new authority alone is trusted");
    for (number, before) in (1..).zip(before) {
        let [process, certificate] = state(&hosts, number);
        assert_eq!(process, before[0], "node-{number} was restarted");
        assert_ne!(certificate, before[1], "node-{number} has its old certificate");
    }
    deploy(&hosts, &mq, &manifest, &[]).succeeds().prints("unchanged");
    assert_eq!(running(&hosts, &mq), ["node-1", "node-2"]);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
}

#[test]
fn rabbitmq_on_another_machine_is_deployed_used_and_undeployed() {
    let Some(hosts) = Hosts::with_or_say_why(1, Some("rabbitmq-server")) else { return };
    let mq = Mq::new();
    let manifest = manifest(&hosts, 1, "root", mq.home());
    let text = fs::read_to_string(&manifest).expect("the manifest");
    let text = text.replace("  workers: 1\n  drainSeconds: 1\n", "  dataplane: rabbitmq\n");
    fs::write(&manifest, text).expect("the manifest can be written");

    deploy(&hosts, &mq, &manifest, &["--wait", "2m"]).succeeds().prints("changed");
    deploy(&hosts, &mq, &manifest, &[]).succeeds().prints("unchanged");
    assert_eq!(running(&hosts, &mq), ["node-1"]);
    hosts.run(&mq, &["address", "create", "jobs", "--type", "queue"]).succeeds();
    for address in ["orders", "jobs"] {
        hosts.run(&mq, &["send", address, "--durable", "--count", "3", "kept"]).succeeds();
    }
    hosts.on(1, "pkill -KILL -x mq").succeeds();
    eventually_within(ROLL, "the node is back", || {
        let received = hosts.run(&mq, &["recv", "orders", "-n", "1"]);
        (received.code == Some(0)).then_some(())
    });
    assert_eq!(hosts.run(&mq, &["recv", "jobs", "--until-empty"]).succeeds().lines(), ["kept"; 3]);
    hosts.run(&mq, &["undeploy", "--purge", "--yes"]).succeeds();
    hosts.on(1, "ls /var/lib/mq").exits_with(2);
    hosts.on(1, "pgrep beam").exits_with(1);
}
