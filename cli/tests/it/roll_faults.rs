//! What goes wrong in the middle of a deployment, with real daemons: each time the roll stops with the reason,
//! and the same command, or `mq deploy`, goes on from there.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    fleet::{fleet, json, kill, pid, pids},
    sandbox::{Ended, Sandbox},
};

/// A daemon that never becomes ready, and writes its process id into its directory.
const SLEEPER: &str = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho $$ > sleeper\nexec sleep 30\n";

fn daemon(sandbox: &Sandbox, script: &str) -> PathBuf {
    let path = sandbox.write("mqd", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

/// The port of a node's listener.
fn port(sandbox: &Sandbox, node: usize, listener: &str) -> u16 {
    let nodes = json(sandbox, "node list");
    let listeners = nodes["items"][node - 1]["listeners"].as_array().unwrap().clone();
    let found = listeners.iter().find(|found| found["name"] == listener).unwrap();
    found["port"].as_u64().unwrap().try_into().unwrap()
}

/// Reads what a command says until a line holds `word`, and returns all of it.
fn until(stderr: &mut impl BufRead, word: &str) -> String {
    let mut said = String::new();
    while !said.lines().last().is_some_and(|line| line.contains(word)) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended without `{word}`:\n{said}");
    }
    said
}

fn ended(mut command: Child, mut said: String, mut stderr: impl BufRead) -> Ended {
    stderr.read_to_string(&mut said).unwrap();
    let mut stdout = String::new();
    std::io::Read::read_to_string(&mut command.stdout.take().unwrap(), &mut stdout).unwrap();
    Ended { code: command.wait().unwrap().code().unwrap_or(-1), stdout, stderr: said }
}

#[test]
fn ctrl_c_in_a_roll_says_which_node_is_on_its_way_and_that_the_same_command_goes_on() {
    let sandbox = fleet(2);
    let before = pids(&sandbox);
    let broken = daemon(&sandbox, SLEEPER);
    let mut command =
        sandbox.command(&format!("restart --rolling --wait 60s --mqd {}", broken.display())).spawn().unwrap();
    let mut stderr = BufReader::new(command.stderr.take().unwrap());
    let said = until(&mut stderr, "node-1 has stopped");
    kill_process(Pid::from_child(&command), Signal::INT).unwrap();
    let ended = ended(command, said, stderr);
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(ended.stderr.contains("error: interrupted: node-1 is on its way\n"), "{ended:?}");
    assert!(ended.stderr.contains("help: the same command goes on"), "{ended:?}");
    let history = json(&sandbox, "deploy history");
    assert_eq!(history["items"][1]["result"], "failed", "{history}");
    if let Ok(sleeper) = fs::read_to_string(sandbox.fleet("default").join("node-1/sleeper")) {
        kill_process(Pid::from_raw(sleeper.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    sandbox.ok("restart --rolling --soak 0");
    let after = pids(&sandbox);
    assert!(before.iter().all(|pid| !after.contains(pid)), "{before:?} {after:?}");
}

#[test]
fn a_port_that_somebody_else_took_stops_the_roll_before_a_node_is_touched() {
    let sandbox = fleet(2);
    let port = port(&sandbox, 2, "mesh");
    kill(&sandbox, "node-2");
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let before = pid(&sandbox, "node-1");
    let refused = sandbox.run("deploy --restart --soak 0");
    assert_eq!(refused.code, 1, "{refused:?}");
    let expected = format!("cannot listen on 127.0.0.1:{port}: another program has this port");
    assert!(refused.stderr.contains(&expected), "{refused:?}");
    assert!(refused.stderr.contains("--mesh-port"), "{refused:?}");
    assert_eq!(pid(&sandbox, "node-1"), before, "it was not touched");
    drop(taken);
    sandbox.ok("deploy --restart --soak 0");
    assert_eq!(sandbox.run("status").code, 0);
}

#[test]
fn a_node_that_hangs_is_stopped_and_started_when_it_is_named() {
    let sandbox = fleet(2);
    let before = pids(&sandbox);
    kill_process(pid(&sandbox, "node-2"), Signal::STOP).unwrap();
    let ended = sandbox.run("restart node-2 --wait 2s");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("it has a process and does not answer: it is stopped"), "{ended:?}");
    assert!(ended.stderr.contains("node-2 did not stop within 2s and was killed"), "{ended:?}");
    let after = pids(&sandbox);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
}

#[test]
fn a_node_that_hangs_stops_the_roll_and_is_waited_for_when_it_goes_on() {
    let sandbox = fleet(3);
    let before = pids(&sandbox);
    let hung = pid(&sandbox, "node-2");
    kill_process(hung, Signal::STOP).unwrap();
    let late = sandbox.run("deploy --restart --wait 2s");
    assert_eq!(late.code, 4, "{late:?}");
    assert!(late.stderr.contains("the node `node-2` was not ready within 2s"), "{late:?}");
    assert!(
        late.stderr.contains("node-1, node-3 were not touched; `mq deploy` goes on from here"),
        "{late:?}"
    );
    let status = sandbox.run("status");
    assert!(status.stdout.lines().any(|line| line.starts_with("node-2  silent")), "{status:?}");
    kill_process(hung, Signal::CONT).unwrap();
    let said = sandbox.ok("deploy");
    assert!(said.contains("3 unchanged") || said.contains("node-2  wait for"), "{said}");
    assert_eq!(pids(&sandbox), before, "nobody was restarted");
}

#[test]
fn a_node_that_dies_in_the_middle_of_a_roll_stops_it_and_the_next_deployment_brings_it_back() {
    let sandbox = fleet(3);
    sandbox.ok("address create kept --type queue");
    sandbox.ok("send kept -n 10 -m x --durable");
    let mut command = sandbox.command("restart --rolling --soak 500ms --wait 4s").spawn().unwrap();
    let mut stderr = BufReader::new(command.stderr.take().unwrap());
    let said = until(&mut stderr, "node-1 (1 of 3) is ready");
    kill(&sandbox, "node-3");
    let ended = ended(command, said, stderr);
    assert_ne!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("node-3"), "{ended:?}");
    assert!(ended.stderr.contains("`mq deploy` goes on from here"), "{ended:?}");
    sandbox.ok("deploy");
    assert_eq!(sandbox.run("status").code, 0);
    assert_eq!(sandbox.ok("recv kept --until-empty").lines().count(), 10);
}

#[test]
fn a_place_that_cannot_be_written_to_stops_the_roll_with_the_words_of_the_node() {
    let sandbox = fleet(2);
    let state = sandbox.fleet("default").join("node-3/state");
    fs::create_dir_all(&state).unwrap();
    // No folder can be made below a file, whoever one is.
    fs::write(state.join("store"), "").unwrap();
    let refused = sandbox.run("scale 4");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("the node `node-3` ended while it was starting"), "{refused:?}");
    let words: Vec<&str> = refused.stderr.lines().filter(|line| line.starts_with("  | ")).collect();
    assert!(words.iter().any(|line| line.contains("store")), "{refused:?}");
    assert!(refused.stderr.contains("node-4 was not touched"), "{refused:?}");
    fs::remove_file(state.join("store")).unwrap();
    let said = sandbox.ok("scale 4");
    assert!(said.ends_with("changed; undo: mq scale 2\n"), "{said}");
    assert_eq!(sandbox.ok("node list -o name").lines().count(), 4);
}

#[test]
fn a_second_deployer_is_told_who_is_at_work() {
    let sandbox = fleet(2);
    let broken = daemon(&sandbox, SLEEPER);
    let mut first = sandbox
        .command(&format!("restart node-2 --wait 60s --mqd {}", broken.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(first.stderr.take().unwrap());
    until(&mut stderr, "node-2 has stopped");
    for command in ["deploy", "scale 3", "restart --rolling", "deploy rollback 1", "undeploy"] {
        let refused = sandbox.run(command);
        assert_eq!(refused.code, 8, "{command}: {refused:?}");
        assert!(refused.stderr.contains("`mq restart node-2`"), "{command}: {refused:?}");
    }
    kill_process(Pid::from_child(&first), Signal::KILL).unwrap();
    first.wait().unwrap();
    if let Ok(sleeper) = fs::read_to_string(sandbox.fleet("default").join("node-2/sleeper")) {
        kill_process(Pid::from_raw(sleeper.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    // The lock went with its holder.
    let said = sandbox.ok("deploy");
    assert!(said.contains("+ node node-2  start"), "{said}");
}

#[test]
fn the_undo_of_a_scale_names_what_was_applied_last_and_not_what_only_began() {
    let sandbox = fleet(2);
    kill(&sandbox, "node-2");
    assert_eq!(sandbox.run("scale 1").code, 10, "nobody knows what node-2 holds");
    let said = sandbox.ok("scale 3");
    assert!(said.ends_with("changed; undo: mq scale 2\n"), "{said}");
}
