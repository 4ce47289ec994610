//! The checks of a fleet of several nodes: each node by itself, and messages from one to another.
//!
//! A node that does not pass takes no part in the rest, so that each problem is said once, with the node that
//! has it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use mq_model::{
    admin::{DrainState, Mesh, MeshNodeState, MoveHome, Node, NodeState, Protocol},
    manifest::{Address, AddressSpec, AddressType},
};

use super::{Checked, Fleet, Kind, Path, SIZES};
use crate::{
    client::admin::Admin,
    command::{
        fleet::{deployed, without_strangers},
        node::{trouble, word_of_silent},
    },
    exit::Exit,
    failure::{Failure, Outcome},
    settings::{Endpoint, Settings, listener_like},
    shape,
};

/// With more nodes than this, each sends to the one before it and the one behind it, and not to all others: the
/// time that the checks take grows with the nodes, not with their square.
const EACH_TO_EACH: usize = 6;
/// How far the clock of a node may be off. Changes that two nodes make at once count by the clock.
const MAX_SKEW: SignedDuration = SignedDuration::from_secs(2);
/// How often a queue that moves is asked whether it has.
const POLL: Duration = Duration::from_millis(20);

/// A node that is well.
pub(super) struct Member {
    name: String,
    node: Node,
    /// How far its clock is ahead of this machine's, give or take the second.
    clock: Option<(SignedDuration, SignedDuration)>,
    amqp: Option<Endpoint>,
    mqtt: Option<Endpoint>,
    takes_homes: bool,
}

/// What the nodes of a fleet have to agree on.
struct Common<'a> {
    /// As the node that is asked sees the fleet.
    mesh: &'a Mesh,
    /// The nodes that have answered: what is not there is said in the line of that node alone.
    there: &'a [&'a str],
    /// The first that has; others are compared with it.
    first: Option<&'a Member>,
}

/// What came of a look at one node.
struct Look {
    name: String,
    took: Duration,
    answer: Outcome<(Member, Mesh)>,
}

impl Fleet<'_> {
    /// Looks at every node that there should be: a line for each, and those that are well. Nothing when the node
    /// that is asked is in no mesh.
    pub(super) async fn nodes(&self, settings: &Settings) -> Outcome<(Vec<Checked>, Vec<Member>)> {
        let mesh = match self.admin.mesh().await {
            Ok(mesh) => mesh,
            Err(failure) if failure.exit == Exit::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(failure) => return Err(failure),
        };
        let deployed = deployed(settings)?;
        let mesh = without_strangers(mesh, deployed.as_deref());
        let known = mesh.nodes.iter().map(|node| node.name.clone());
        let mut expected: Vec<String> = known.chain(deployed.unwrap_or_default()).collect();
        expected.sort_by_key(|name| (mq_model::mesh::node_number(name), name.clone()));
        expected.dedup();
        if expected.len() < 2 {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut looks = Vec::with_capacity(expected.len());
        for name in expected {
            looks.push(self.look_at(name, &mesh.node).await);
        }
        let there: Vec<&str> =
            looks.iter().filter(|look| look.answer.is_ok()).map(|look| look.name.as_str()).collect();
        let first = looks.iter().find_map(|look| Some(&look.answer.as_ref().ok()?.0));
        let common = Common { mesh: &mesh, there: &there, first };
        let lines: Vec<Checked> = looks.iter().map(|look| line(look, &common, settings)).collect();
        let well = looks.into_iter().zip(&lines).filter(|(_, line)| line.problem.is_none());
        let members = well.filter_map(|(look, _)| Some(look.answer.ok()?.0)).collect();
        Ok((lines, members))
    }

    async fn look_at(&self, name: String, asked: &str) -> Look {
        let admin = if name == asked { self.admin.clone() } else { self.admin.of_node(&name) };
        let begin = Instant::now();
        let answer = tokio::time::timeout(self.args.timeout, self.look(&name, &admin)).await;
        let answer = answer.unwrap_or_else(|_| {
            let message = format!("no answer within {}", shape::elapsed(self.args.timeout));
            Err(Failure::new(Exit::TimedOut, message))
        });
        Look { name, took: begin.elapsed(), answer }
    }

    /// What a node says of itself, and of the others.
    async fn look(&self, name: &str, admin: &Admin) -> Outcome<(Member, Mesh)> {
        let before = Timestamp::now();
        let node = admin.node().await?;
        let after = Timestamp::now();
        let half = after.duration_since(before) / 2;
        let clock = node.at.map(|at| (at.duration_since(before) - half, half));
        let view = admin.mesh().await?;
        let holds = admin.holds().await?;
        let endpoint = |protocol| {
            let (listener, scheme) = listener_like(&node.listeners, protocol, self.endpoint.scheme)?;
            // One that listens everywhere does not say where it is reached.
            let is_anywhere = matches!(listener.host.as_str(), "0.0.0.0" | "::");
            let host = if is_anywhere { self.endpoint.host.clone() } else { listener.host.clone() };
            let credentials = self.settings.credentials_at(name, &self.endpoint.credentials);
            Some(Endpoint { scheme, host, port: listener.port, credentials, ..self.endpoint.clone() })
        };
        let (amqp, mqtt) = (endpoint(Protocol::Amqp), endpoint(Protocol::Mqtt));
        let takes_homes = holds.state == DrainState::Active && node.store.is_some();
        Ok((Member { name: name.to_owned(), node, clock, amqp, mqtt, takes_homes }, view))
    }

    /// Messages from node to node. The addresses are removed with all others.
    pub(super) async fn over_nodes(&self, members: &[Member]) -> Vec<Checked> {
        let mut checks = Vec::new();
        let homes: Vec<&Member> = members.iter().filter(|member| member.takes_homes).collect();
        let (mut queues, mut problem) = (Vec::new(), None);
        for home in &homes {
            match tokio::time::timeout(self.args.timeout, self.queue_at(&home.name)).await {
                Ok(Ok(queue)) => queues.push((home.name.as_str(), queue)),
                Ok(Err(failure)) => problem = Some(failure.message),
                Err(_) => problem = Some(format!("no queue could be made at home on {}", home.name)),
            }
        }
        for sender in members {
            let mut checked = self.queue_from(sender, members, &queues).await;
            if queues.is_empty() && checked.problem.is_none() {
                let why = problem.clone();
                checked.problem = Some(why.unwrap_or_else(|| "no node takes homes: uncordon one".into()));
            }
            checks.push(checked);
        }
        for kind in [Kind::AnycastOver, Kind::RequestOver, Kind::MqttOver] {
            checks.extend(self.around(kind, members).await);
        }
        checks
    }

    /// A queue whose home is the node.
    async fn queue_at(&self, home: &str) -> Outcome<String> {
        let name = format!("{}-{home}", self.name(Kind::Queue));
        self.make(&name, AddressType::Queue).await?;
        let mut address = self.admin.address(&name).await?;
        let is_there = |address: &Address| {
            let status = address.status.as_ref();
            status.is_some_and(|status| status.moving_from.is_none() && status.home.as_deref() == Some(home))
        };
        if !is_there(&address) {
            address = self.admin.move_home(&name, &MoveHome { to: home.to_owned() }).await?;
        }
        while !is_there(&address) {
            tokio::time::sleep(POLL).await;
            address = self.admin.address(&name).await?;
        }
        Ok(name)
    }

    /// One node sends to others, each time by way of a queue that is at home on neither of the two, if there is
    /// such a node.
    async fn queue_from(&self, sender: &Member, all: &[Member], queues: &[(&str, String)]) -> Checked {
        let mut checked = Checked::new(format!("queue from {}", sender.name), "amqp");
        let (mut reached, mut problems) = (Vec::new(), Vec::new());
        for receiver in targets(&sender.name, all) {
            let (Some(from), Some(to)) = (&sender.amqp, &receiver.amqp) else { continue };
            let Some((home, queue)) = home_between(&sender.name, &receiver.name, queues) else { continue };
            let count = self.args.count.min(SIZES.len() as u32);
            let sent = self.flow(queue, Kind::Queue, Path { from, to }, count);
            match tokio::time::timeout(self.args.timeout, Box::pin(sent)).await {
                Ok(Ok(latencies)) => {
                    checked.latencies.extend(latencies);
                    reached.push(receiver.name.as_str());
                }
                Ok(Err(failure)) => {
                    problems.push(format!("to {} over its home {home}: {}", receiver.name, failure.message));
                }
                Err(_) => problems.push(format!("to {} over its home {home}: nothing came", receiver.name)),
            }
        }
        checked.latencies.sort_unstable();
        checked.note = (!reached.is_empty()).then(|| format!("to {}", reached.join(", ")));
        checked.problem = (!problems.is_empty()).then(|| problems.join("; "));
        checked
    }

    /// Each node sends to the next one, and the last one to the first.
    async fn around(&self, kind: Kind, members: &[Member]) -> Option<Checked> {
        let (protocol, name) = match kind {
            Kind::AnycastOver => ("amqp", "anycast over nodes"),
            Kind::RequestOver => ("amqp", "request/reply over nodes"),
            _ => ("mqtt", "qos 1 over nodes"),
        };
        let mut checked = Checked::new(name.to_owned(), protocol);
        let (mut problems, mut visited) = (Vec::new(), 0_u64);
        for (index, sender) in members.iter().enumerate() {
            let receiver = &members[(index + 1) % members.len()];
            let ends = |of: fn(&Member) -> Option<&Endpoint>| of(sender).zip(of(receiver));
            let ends = match protocol {
                "mqtt" => ends(|member| member.mqtt.as_ref().filter(|_| member.node.store.is_some())),
                _ => ends(|member| member.amqp.as_ref()),
            };
            let Some((from, to)) = ends else { continue };
            visited += 1;
            let sent = self.step(kind, Path { from, to });
            let problem = match tokio::time::timeout(self.args.timeout, Box::pin(sent)).await {
                Ok(Ok(latencies)) => {
                    checked.latencies.extend(latencies);
                    continue;
                }
                Ok(Err(failure)) => failure.message,
                Err(_) => "nothing came".to_owned(),
            };
            problems.push(format!("{} to {}: {problem}", sender.name, receiver.name));
        }
        checked.latencies.sort_unstable();
        checked.note = Some("each node to the next one".to_owned());
        checked.problem = (!problems.is_empty()).then(|| problems.join("; "));
        (visited > 0).then_some(checked)
    }

    async fn step(&self, kind: Kind, path: Path<'_>) -> Outcome<Vec<Duration>> {
        let address = self.name(kind);
        let count = self.args.count.min(SIZES.len() as u32);
        self.make(&address, kind.address_type()).await?;
        match kind {
            Kind::RequestOver => self.request_reply(&address, path, count).await,
            Kind::MqttOver => self.mqtt(&address, path, 1, count).await,
            _ => self.flow(&address, kind, path, count).await,
        }
    }

    /// Creates an address of the check, or finds it.
    pub(super) async fn make(&self, name: &str, kind: AddressType) -> Outcome {
        self.note(name);
        self.admin.put_address(&Address::new(name, AddressSpec::new(kind)), false).await.map(drop)
    }
}

/// Why a node does not answer, as far as that can be known, and what to do.
fn silent(name: &str, failure: &Failure, settings: &Settings) -> String {
    let state =
        if settings.is_admin_given() { None } else { settings.context().ok().and_then(|found| found.state) };
    let word = state.and_then(|fleet| word_of_silent(&fleet.join(name)).ok());
    match word {
        Some("dead") => {
            format!("its process has died; see `mq logs --node {name}`, start it with `mq deploy`")
        }
        Some("stopped") => "it is stopped; start it with `mq deploy`".to_owned(),
        Some(_) => format!(
            "its process is there and does not answer ({}); see `mq logs --node {name}`, or restart it with \
             `mq restart {name}`",
            failure.message
        ),
        None => format!("{}; see its log", failure.message),
    }
}

fn line(look: &Look, common: &Common<'_>, settings: &Settings) -> Checked {
    let mut checked = Checked::new(format!("node {}", look.name), "http");
    match &look.answer {
        Err(failure) => checked.problem = Some(silent(&look.name, failure, settings)),
        Ok((member, view)) => {
            checked.latencies = vec![look.took];
            match problems(member, view, common) {
                problems if problems.is_empty() => checked.note = Some(facts(member, view)),
                problems => checked.problem = Some(problems.join("; ")),
            }
        }
    }
    checked
}

/// What is wrong with a node that answers.
fn problems(member: &Member, view: &Mesh, common: &Common<'_>) -> Vec<String> {
    let (name, node) = (&member.name, &member.node);
    let mut problems = Vec::new();
    if node.state != NodeState::Running {
        problems.push("it is stopping; `mq deploy` starts it again".to_owned());
    }
    if node.fleet != common.mesh.fleet {
        problems.push(format!("it belongs to the fleet `{}` and not `{}`", node.fleet, common.mesh.fleet));
    }
    let reaches =
        |other: &str| view.nodes.iter().any(|node| node.name == other && node.state == MeshNodeState::Up);
    let missing: Vec<&str> = common.there.iter().copied().filter(|other| !reaches(other)).collect();
    if !missing.is_empty() {
        problems.push(format!(
            "it has no path to {}; see `mq fleet graph --from {name}` and `mq logs --node {name}`",
            missing.join(", ")
        ));
    }
    if view.nodes.iter().chain(&common.mesh.nodes).any(|node| node.name == *name && node.has_namesake) {
        problems.push(crate::command::node::namesake(name));
    }
    problems.extend(trouble(node));
    let Some(first) = common.first else { return problems };
    if node.version != first.node.version {
        problems.push(format!(
            "it runs mqd {} and {} runs {}; `mq deploy` brings both to one version",
            node.version, first.name, first.node.version
        ));
    }
    problems.extend(skew(member, first));
    problems
}

/// How far the clocks of two nodes differ, when that is too far.
fn skew(member: &Member, first: &Member) -> Option<String> {
    let ((own, doubt), (other, other_doubt)) = (member.clock?, first.clock?);
    let skew = own - other;
    if skew.abs() <= MAX_SKEW + doubt + other_doubt {
        return None;
    }
    let way = if skew.is_negative() { "behind" } else { "ahead of" };
    Some(format!(
        "its clock is {} {way} that of {}; set both by NTP: of two changes at once the later one counts",
        shape::elapsed(skew.unsigned_abs()),
        first.name
    ))
}

/// A node that is well, in a few words.
fn facts(member: &Member, view: &Mesh) -> String {
    let is_own = |name: &str| name == member.name;
    let links = view.links.iter().filter(|link| is_own(&link.from) || is_own(&link.to)).count() as u64;
    let cordoned = if member.takes_homes { "" } else { ", takes no homes" };
    format!("mqd {}, {}{cordoned}", member.node.version, shape::plural(links, "link"))
}

/// The nodes that one sends to.
fn targets<'a>(sender: &str, all: &'a [Member]) -> Vec<&'a Member> {
    let others = |member: &&Member| member.name != sender;
    if all.len() <= EACH_TO_EACH {
        return all.iter().filter(others).collect();
    }
    let Some(own) = all.iter().position(|member| member.name == sender) else { return Vec::new() };
    let beside = [own + 1, own + all.len() - 1].map(|index| &all[index % all.len()]);
    beside.into_iter().collect()
}

/// The home to use between two nodes: a third one; else the receiver's, so that the sender's messages cross a
/// link all the same; else the sender's.
fn home_between<'a>(
    sender: &str,
    receiver: &str,
    homes: &'a [(&'a str, String)],
) -> Option<(&'a str, &'a str)> {
    let third = homes.iter().find(|(home, _)| *home != sender && *home != receiver);
    let of = |name: &str| homes.iter().find(|(home, _)| *home == name);
    let (home, queue) = third.or_else(|| of(receiver)).or_else(|| of(sender))?;
    Some((home, queue))
}

#[cfg(test)]
mod tests {
    use mq_model::admin::MeshNode;
    use serde_json::json;

    use super::*;

    fn member(number: usize) -> Member {
        let node = json!({
            "name": format!("node-{number}"), "fleet": "f", "version": "1", "pid": 1, "state": "running",
            "startedAt": "2030-01-31T12:00:00Z", "uptimeSeconds": 1, "workers": 1, "listeners": [],
            "configHash": "", "residentBytes": 0, "cpuSeconds": 0.0,
        });
        Member {
            name: format!("node-{number}"),
            node: serde_json::from_value(node).unwrap(),
            clock: Some((SignedDuration::ZERO, SignedDuration::ZERO)),
            amqp: None,
            mqtt: None,
            takes_homes: true,
        }
    }

    fn mesh(up: &[usize]) -> Mesh {
        let node = |number: &usize| MeshNode {
            name: format!("node-{number}"),
            state: MeshNodeState::Up,
            ..MeshNode::default()
        };
        Mesh {
            fleet: "f".into(),
            node: "node-1".into(),
            nodes: up.iter().map(node).collect(),
            links: Vec::new(),
        }
    }

    fn found(found: &Member, view: &Mesh) -> Vec<String> {
        let (mesh, first) = (mesh(&[1, 2]), member(1));
        let there = ["node-1", "node-2"];
        problems(found, view, &Common { mesh: &mesh, there: &there, first: Some(&first) })
    }

    #[test]
    fn few_nodes_send_to_all_others_and_many_to_those_beside_them() {
        let names = |count: usize, sender: &str| -> Vec<String> {
            let all: Vec<Member> = (1..=count).map(member).collect();
            targets(sender, &all).iter().map(|member| member.name.clone()).collect()
        };
        assert_eq!(names(3, "node-2"), ["node-1", "node-3"]);
        assert_eq!(names(6, "node-1").len(), 5);
        assert_eq!(names(50, "node-1"), ["node-2", "node-50"]);
        assert_eq!(names(50, "node-50"), ["node-1", "node-49"]);
    }

    #[test]
    fn a_queue_between_two_nodes_is_at_home_on_a_third_one_if_there_is_one() {
        let homes: Vec<(&str, String)> =
            ["node-1", "node-2", "node-3"].map(|name| (name, format!("q-{name}"))).into();
        assert_eq!(home_between("node-1", "node-2", &homes), Some(("node-3", "q-node-3")));
        assert_eq!(home_between("node-1", "node-2", &homes[..2]), Some(("node-2", "q-node-2")));
        assert_eq!(home_between("node-1", "node-2", &homes[..1]), Some(("node-1", "q-node-1")));
        assert_eq!(home_between("node-1", "node-2", &[]), None);
    }

    #[test]
    fn a_node_that_is_as_the_others_has_no_problem_though_another_one_is_down() {
        assert_eq!(found(&member(2), &mesh(&[1, 2])), Vec::<String>::new());
    }

    #[test]
    fn everything_that_is_wrong_with_a_node_is_said_with_what_to_do() {
        let mut bad = member(2);
        bad.node.state = NodeState::Draining;
        bad.node.fleet = "g".into();
        bad.node.version = "2".into();
        bad.clock = Some((SignedDuration::from_millis(-5_500), SignedDuration::from_millis(1)));
        let mut view = mesh(&[2]);
        view.nodes[0].has_namesake = true;
        let expected = [
            "it is stopping; `mq deploy` starts it again",
            "it belongs to the fleet `g` and not `f`",
            "it has no path to node-1; see `mq fleet graph --from node-2` and `mq logs --node node-2`",
            "two processes want to be node-2, and the one that started last is: stop the other one, or give it a \
             name of its own",
            "it runs mqd 2 and node-1 runs 1; `mq deploy` brings both to one version",
            "its clock is 5.5s behind that of node-1; set both by NTP: of two changes at once the later one counts",
        ];
        assert_eq!(found(&bad, &view), expected);
    }
}
