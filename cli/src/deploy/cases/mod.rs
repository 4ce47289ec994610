//! Reads the cases of `cases/*.txt` and compares the plans.
//!
//! A case is a fenced block `yaml NAME` with the manifest that is wanted, one `found` with what is there
//! (see [`Found`]), and one `text` with the plan as it is printed. Everything between is prose. With
//! `MQ_WRITE_PLANS` set the plans are written in place of being compared: read the difference before you
//! commit it.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use mq_model::{
    Documents,
    admin::{Listener, NodeDrain, Protocol, Runtime},
    config::DaemonConfig,
    manifest::{Address, AddressSpec, AddressStatus, Fleet, QueueStatus},
};
use serde::Deserialize;

use super::plan::{
    Action, Blocked, Desired, Leaving, NodeState, Observed, ObservedNode, Plan, Restart, Surrounding,
};

/// What is there, as a case says it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Found {
    nodes: BTreeMap<String, FoundNode>,
    /// Addresses with what they store; absent: nobody can say.
    addresses: Option<BTreeMap<String, FoundAddress>>,
    /// Nodes to restart: `all`, or their names.
    restart: Vec<String>,
    abandon: Vec<String>,
    prune: bool,
    /// The version of the daemon that would be started.
    daemon: Option<String>,
    /// Where the nodes are, for people. Default: `on this machine`.
    place: Option<String>,
    /// What the fleet needs beside its nodes, in this order.
    objects: Vec<FoundObject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FoundObject {
    name: String,
    /// `absent`, `same`, `other` or `left-over`.
    state: String,
    /// The fields that differ.
    #[serde(default)]
    fields: String,
    /// What the cluster says to a change of it.
    refused: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct FoundNode {
    /// `running`, `silent`, `stopped` or `died`.
    state: String,
    connections: u64,
    /// Fields of the fleet's specification that it was started with, where they are not the wanted ones.
    started_with: Option<serde_json::Value>,
    version: Option<String>,
    holds: Option<NodeHolds>,
    /// `draining` or `empty`.
    leaving: Option<String>,
    old_binary: bool,
    stale: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct NodeHolds {
    queues: u64,
    messages: u64,
    bytes: u64,
    sessions: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FoundAddress {
    r#type: serde_json::Value,
    #[serde(default)]
    messages: u64,
    #[serde(default)]
    unreachable: Vec<String>,
}

#[test]
fn plans_are_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deploy/cases");
    let is_writing = std::env::var_os("MQ_WRITE_PLANS").is_some();
    let mut cases = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (rewritten, count) = rewrite(&text);
        cases += count;
        if is_writing {
            fs::write(&path, &rewritten).unwrap();
        } else {
            let place = text.lines().zip(rewritten.lines()).position(|(old, new)| old != new).unwrap_or(0);
            assert!(text == rewritten, "{}, line {}; the plans:\n{rewritten}", path.display(), place + 1);
        }
    }
    assert!(cases > 10, "only {cases} cases were found");
}

/// The text with today's plans, and the number of cases.
fn rewrite(text: &str) -> (String, usize) {
    let mut rewritten = String::new();
    let mut lines = text.lines();
    let (mut wanted, mut found, mut cases) = (String::new(), String::new(), 0);
    while let Some(line) = lines.next() {
        rewritten.push_str(line);
        rewritten.push('\n');
        let Some(info) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        let block: String = block.iter().flat_map(|line| [*line, "\n"]).collect();
        match info {
            "found" => found.clone_from(&block),
            "text" => {
                cases += 1;
                rewritten.push_str(&plan(&wanted, &found));
            }
            _ => wanted.clone_from(&block),
        }
        if info != "text" {
            rewritten.push_str(&block);
        }
        rewritten.push_str("```\n");
    }
    (rewritten, cases)
}

fn plan(wanted: &str, found: &str) -> String {
    let documents = Documents::parse("wanted", wanted).unwrap_or_else(|problems| panic!("{problems}"));
    let fleet = documents.fleet.expect("a case wants a fleet");
    let found: Found = if found.trim().is_empty() {
        Found::default()
    } else {
        serde_saphyr::from_str(found).unwrap_or_else(|error| panic!("{error}\n{found}"))
    };
    let restart = match found.restart.as_slice() {
        [] => Restart::Nobody,
        [all] if all == "all" => Restart::Everybody,
        names => Restart::Only(names.to_vec()),
    };
    let desired = Desired {
        place: found.place.clone().unwrap_or_else(|| "on this machine".into()),
        fleet: fleet.metadata.name.clone(),
        nodes: fleet.spec.node_names().map(|name| DaemonConfig::from_fleet(&fleet, &name, &name)).collect(),
        addresses: documents.addresses,
        prune: found.prune,
        restart,
        version: found.daemon.clone(),
        abandon: found.abandon.clone(),
        retain: Duration::from_secs(7 * 86_400),
    };
    let addresses = found.addresses.map(|addresses| addresses.into_iter().map(address).collect());
    let nodes = found.nodes.into_iter().map(|(name, found)| observed(&fleet, &name, found)).collect();
    let surroundings = found.objects.into_iter().map(surrounding).collect();
    Plan::new(&desired, &Observed { nodes, addresses, surroundings }).lines().join("\n") + "\n"
}

fn surrounding(found: FoundObject) -> Surrounding {
    let action = match found.state.as_str() {
        "absent" => Action::Create,
        "same" => Action::Unchanged,
        "other" => Action::Update,
        "left-over" => Action::Delete,
        other => panic!("no such state: {other}"),
    };
    let blocked = found.refused.map(|reason| Blocked { reason, help: "use --force-conflicts".into() });
    Surrounding { detail: found.fields, blocked, ..Surrounding::new(found.name, action) }
}

fn address((name, found): (String, FoundAddress)) -> Address {
    let spec: AddressSpec = serde_json::from_value(serde_json::json!({ "type": found.r#type })).unwrap();
    let mut address = Address::new(name, spec);
    let queue = QueueStatus { messages: found.messages, ..QueueStatus::default() };
    let (ready, unreachable) = (found.unreachable.is_empty(), found.unreachable);
    let queue = ready.then_some(queue);
    address.status = Some(AddressStatus { ready, queue, unreachable, ..AddressStatus::default() });
    address
}

fn observed(fleet: &Fleet, name: &str, found: FoundNode) -> ObservedNode {
    let mut started = fleet.clone();
    if let Some(fields) = found.started_with {
        let mut spec = serde_json::to_value(&started.spec).unwrap();
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        started.spec = serde_json::from_value(spec).unwrap();
    }
    let config = DaemonConfig::from_fleet(&started, name, name);
    let listener = |name: &str, port| Listener {
        name: name.into(),
        protocol: Protocol::Amqp,
        host: "127.0.0.1".into(),
        port,
        tls: Default::default(),
    };
    let runtime = Runtime {
        node: name.to_owned(),
        fleet: fleet.metadata.name.clone(),
        pid: 1,
        version: found.version.unwrap_or_else(|| "1.0.0".into()),
        config_hash: config.hash(),
        listeners: vec![listener("amqp", config.listeners.amqp.port)],
    };
    let state = match found.state.as_str() {
        "running" => NodeState::Running { runtime, connections: found.connections },
        "silent" => NodeState::Silent,
        "stopped" => NodeState::Stopped { is_clean: true },
        "died" => NodeState::Stopped { is_clean: false },
        other => panic!("no such state: {other}"),
    };
    let holds = found.holds.map(|holds| NodeDrain {
        node: name.to_owned(),
        queues: holds.queues,
        messages: holds.messages,
        bytes: holds.bytes,
        sessions: holds.sessions,
        ..NodeDrain::default()
    });
    let leaving = found.leaving.map(|leaving| match leaving.as_str() {
        "empty" => Leaving::Empty,
        _ => Leaving::Draining,
    });
    ObservedNode {
        config: Some(config),
        holds,
        leaving,
        is_binary_old: found.old_binary,
        stale: found.stale,
        ..ObservedNode::new(name, state)
    }
}
