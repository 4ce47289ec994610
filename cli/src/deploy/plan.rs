//! What has to happen so that a fleet is as it should be: a pure function from desired and observed
//! state to steps, each with its consequences in words.
//!
//! Nothing here reads a file, a clock or a socket: every decision can be tested with two values.

use std::time::Duration;

use mq_model::{
    admin::{NodeDrain, Runtime},
    config::DaemonConfig,
    manifest::{Address, AddressSpec, AddressType},
    mesh::node_number,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{output::value, shape};

/// What the user wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub fleet: String,
    /// Where its nodes are, for people: `on this machine`.
    pub place: String,
    pub nodes: Vec<DaemonConfig>,
    pub addresses: Vec<Address>,
    /// Delete the addresses that are not wanted.
    pub prune: bool,
    /// Which nodes are restarted although they need no restart.
    pub restart: Restart,
    /// The version of the daemon that would be started.
    pub version: Option<String>,
    /// Nodes that go although nobody can say what they hold.
    pub abandon: Vec<String>,
    /// How long the data of a node that goes is kept.
    pub retain: Duration,
}

/// Which nodes are restarted although they need no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    #[default]
    Nobody,
    Everybody,
    Only(Vec<String>),
}

impl Restart {
    fn names(&self, node: &str) -> bool {
        matches!(self, Self::Only(names) if names.iter().any(|name| name == node))
    }

    fn includes(&self, node: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Everybody => true,
            Self::Only(_) => self.names(node),
        }
    }
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub nodes: Vec<ObservedNode>,
    /// The addresses of the fleet; `None` while no node can say.
    pub addresses: Option<Vec<Address>>,
    /// What the fleet needs where it is, beside its nodes.
    pub surroundings: Vec<Surrounding>,
}

/// Something that a fleet needs where it is, beside its nodes, compared with what there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Surrounding {
    /// `Service/prod`.
    pub name: String,
    pub action: Action,
    /// What changes.
    pub detail: String,
    /// Who else has a say in it.
    pub blocked: Option<Blocked>,
}

impl Surrounding {
    pub fn new(name: String, action: Action) -> Self {
        Self { name, action, detail: String::new(), blocked: None }
    }
}

/// One node as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObservedNode {
    pub name: String,
    pub state: NodeState,
    /// The configuration file that lies in the node's directory, when it can be read.
    pub config: Option<DaemonConfig>,
    /// What the node itself says that it holds; `None`: it cannot say.
    pub holds: Option<NodeDrain>,
    /// It was on its way out of the fleet.
    pub leaving: Option<Leaving>,
    /// It was started from other files than the ones that it would be started from now.
    pub is_binary_old: bool,
    /// Why it has to start anew whatever its configuration.
    #[serde(default)]
    pub stale: Option<String>,
}

/// How far a node got on its way out of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaving {
    /// It was told to move away what it holds.
    Draining,
    /// It has said that it holds nothing.
    Empty,
}

impl ObservedNode {
    /// A node of which nothing but its state is known.
    pub fn new(name: impl Into<String>, state: NodeState) -> Self {
        let name = name.into();
        Self { name, state, config: None, holds: None, leaving: None, is_binary_old: false, stale: None }
    }
}

/// Whether a node lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// There is no trace of it.
    Absent,
    /// It has a directory, and no process uses it. `is_clean`: it was stopped, it did not die.
    Stopped { is_clean: bool },
    /// A process holds its lock and does not answer.
    Silent,
    /// It serves.
    Running { runtime: Runtime, connections: u64 },
}

/// A plan: steps in the order they are done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    pub fleet: String,
    #[serde(skip)]
    pub place: String,
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub action: Action,
    pub object: Object,
    pub name: String,
    /// Why, and with what consequence.
    pub detail: String,
    /// Client connections that the step closes.
    pub connections: u64,
    /// Whether those clients find another node of the fleet meanwhile.
    pub elsewhere: bool,
    /// Stored messages that the step drops, as far as they can be counted.
    pub messages: u64,
    /// The node that holds more of what the step drops and cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncounted: Option<String>,
    /// Stored messages that the step moves to other nodes.
    pub moved: u64,
    /// Why the step is not done unless somebody insists, and how to insist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
    /// What changes, field by field.
    pub changes: Vec<Change>,
}

/// What stands against a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Blocked {
    pub reason: String,
    pub help: String,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// A node that never was, or an address.
    Create,
    /// A node that was there before.
    Start,
    Restart,
    /// Waits for a node that has a process and does not answer yet.
    Await,
    Update,
    /// Creates or updates, whichever turns out to be needed once a node can say what is there.
    Ensure,
    Delete,
    /// Empties a node, stops it and sets its data aside.
    Remove,
    Unchanged,
    /// Is there, is not wanted, and is left alone.
    Keep,
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Object {
    Node,
    Address,
    /// What a cluster is given, called by its kind and its name.
    Resource,
}

/// One field that changes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The path of the field, such as `listeners.amqp.port`.
    pub field: String,
    pub from: Value,
    pub to: Value,
}

impl Plan {
    /// Compares what is wanted with what is there.
    pub fn new(desired: &Desired, observed: &Observed) -> Self {
        let mut nodes: Vec<Step> =
            desired.nodes.iter().map(|node| node_step(desired, node, observed)).collect();
        nodes.extend(removals(desired, observed));
        nodes.sort_by_key(order);
        let mut steps: Vec<Step> = observed.surroundings.iter().filter_map(surrounding_step).collect();
        steps.append(&mut nodes);
        let is_new = observed.nodes.iter().all(|node| node.state == NodeState::Absent);
        match &observed.addresses {
            Some(there) => {
                // A node that is brought back first says then what it holds.
                let returns =
                    |name: &str| steps.iter().any(|step| step.name == name && step.action.brings_back());
                let of_addresses = address_steps(desired, there, returns);
                steps.extend(of_addresses);
            }
            None if is_new => steps.extend(address_steps(desired, &[], |_| false)),
            None => steps.extend(desired.addresses.iter().map(unknown_address_step)),
        }
        Self { fleet: desired.fleet.clone(), place: desired.place.clone(), steps }
    }

    /// Whether the plan changes anything.
    pub fn is_change(&self) -> bool {
        self.steps.iter().any(|step| step.action.is_change())
    }

    /// Client connections that the plan closes, and whose clients find no other node meanwhile.
    pub fn connections(&self) -> u64 {
        self.steps.iter().filter(|step| !step.elsewhere).map(|step| step.connections).sum()
    }

    /// The first step that is not done unless somebody insists.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.steps.iter().find_map(|step| step.blocked.as_ref())
    }

    /// The steps about nodes, in the order in which they are done.
    pub fn nodes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.object == Object::Node)
    }

    /// The steps about what is beside the nodes.
    pub fn surroundings(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.object == Object::Resource)
    }

    /// The plan in lines, for people.
    pub fn lines(&self) -> Vec<String> {
        let subject = |step: &Step| format!("{} {}", step.object.word(), step.name);
        let width = self.steps.iter().map(|step| subject(step).len()).max().unwrap_or(0).min(48);
        let mut lines = vec![format!("fleet {} {}: {}", self.fleet, self.place, self.summary())];
        for step in &self.steps {
            let (sign, word, detail) = (step.action.sign(), step.action.word(), &step.detail);
            let line = format!("  {sign} {:<width$}  {word:<9}  {detail}", subject(step));
            lines.push(line.trim_end().to_owned());
            let changes = step.changes.iter();
            lines.extend(
                changes.map(|change| format!("      {}: {} -> {}", change.field, change.from, change.to)),
            );
            let blocked = step.blocked.iter();
            lines.extend(
                blocked.map(|blocked| format!("      refused: {}; {}", blocked.reason, blocked.help)),
            );
        }
        lines
    }

    /// Stored messages that the plan drops.
    pub fn messages(&self) -> u64 {
        self.steps.iter().map(|step| step.messages).sum()
    }

    /// The names of the addresses that the plan deletes.
    pub fn deleted(&self) -> Vec<&str> {
        let of_addresses = self.steps.iter().filter(|step| step.object == Object::Address);
        let deleted = of_addresses.filter(|step| step.action == Action::Delete);
        deleted.map(|step| step.name.as_str()).collect()
    }

    /// `1 to start, 2 unchanged`.
    pub fn summary(&self) -> String {
        let order = [
            (Action::Create, "to create"),
            (Action::Start, "to start"),
            (Action::Restart, "to restart"),
            (Action::Await, "to wait for"),
            (Action::Update, "to update"),
            (Action::Ensure, "to create or update"),
            (Action::Delete, "to delete"),
            (Action::Remove, "to remove"),
            (Action::Unchanged, "unchanged"),
            (Action::Keep, "left alone"),
        ];
        let parts: Vec<String> = order
            .iter()
            .filter_map(|(action, words)| {
                let count = self.steps.iter().filter(|step| step.action == *action).count();
                (count > 0).then(|| format!("{} {words}", shape::number(count as u64)))
            })
            .collect();
        parts.join(", ")
    }
}

impl Action {
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Unchanged | Self::Keep)
    }

    /// Whether a node that did not serve does so afterwards.
    fn brings_back(self) -> bool {
        matches!(self, Self::Create | Self::Start | Self::Await)
    }

    /// The sign in front of a step: `+` is new, `~` changes, `-` goes, `=` stays.
    pub fn sign(self) -> char {
        match self {
            Self::Create | Self::Start => '+',
            Self::Restart | Self::Await | Self::Update | Self::Ensure => '~',
            Self::Delete | Self::Remove => '-',
            Self::Unchanged | Self::Keep => '=',
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Restart => "restart",
            Self::Await => "wait for",
            Self::Update => "update",
            Self::Ensure => "create or update",
            Self::Delete => "delete",
            Self::Remove => "remove",
            Self::Unchanged => "unchanged",
            Self::Keep => "left alone",
        }
    }
}

impl Object {
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Address => "address",
            Self::Resource => "object",
        }
    }
}

impl Step {
    fn new(action: Action, object: Object, name: &str, detail: impl Into<String>) -> Self {
        let (name, detail) = (name.to_owned(), detail.into());
        Self {
            action,
            object,
            name,
            detail,
            connections: 0,
            elsewhere: false,
            messages: 0,
            uncounted: None,
            moved: 0,
            blocked: None,
            changes: Vec::new(),
        }
    }
}

/// What comes first: nodes that do not serve, so that the last one that does is not taken down before them;
/// then new ones, which take over from those that go, the last one first; then restarts.
fn order(step: &Step) -> (u8, i64) {
    let number = i64::from(node_number(&step.name).unwrap_or(0));
    match step.action {
        Action::Start => (0, number),
        Action::Await => (1, number),
        Action::Create => (2, number),
        Action::Update => (3, number),
        Action::Remove => (4, -number),
        Action::Restart => (5, number),
        _ => (6, number),
    }
}

/// What is as it is wanted is many things, and is not worth a line.
fn surrounding_step(found: &Surrounding) -> Option<Step> {
    let step = Step::new(found.action, Object::Resource, &found.name, &found.detail);
    found.action.is_change().then(|| Step { blocked: found.blocked.clone(), ..step })
}

fn node_step(desired: &Desired, node: &DaemonConfig, observed: &Observed) -> Step {
    let step = |action, detail: String| Step::new(action, Object::Node, &node.node, detail);
    let Some(found) = observed.nodes.iter().find(|found| found.name == node.node) else {
        return step(Action::Create, listens(node));
    };
    match &found.state {
        NodeState::Absent => step(Action::Create, listens(node)),
        NodeState::Stopped { is_clean: true } => {
            step(Action::Start, format!("it is stopped; {}", listens(node)))
        }
        NodeState::Stopped { is_clean: false } => {
            step(Action::Start, format!("its process is gone; {}", listens(node)))
        }
        // Whoever names it has made up their mind that it hangs.
        NodeState::Silent if desired.restart.names(&node.node) => step(
            Action::Restart,
            "it has a process and does not answer: it is stopped, and killed if need be".into(),
        ),
        NodeState::Silent => step(Action::Await, "it has a process and does not answer yet".into()),
        NodeState::Running { runtime, connections } => {
            running_step(desired, node, found, runtime, *connections)
        }
    }
}

fn running_step(
    desired: &Desired,
    node: &DaemonConfig,
    found: &ObservedNode,
    runtime: &Runtime,
    connections: u64,
) -> Step {
    let new_version = desired.version.as_ref().filter(|version| **version != runtime.version);
    let why = if node.hash() != runtime.config_hash {
        "its configuration changes".to_owned()
    } else if let Some(version) = new_version {
        format!("mqd {} becomes {version}", runtime.version)
    } else if found.is_binary_old && desired.version.is_some() {
        format!("another build of mqd {}", runtime.version)
    } else if let Some(why) = &found.stale {
        why.clone()
    } else if desired.restart.includes(&node.node) {
        "as asked for".to_owned()
    } else if found.leaving.is_some() {
        let detail = "it was to be removed, and stays: it takes part again";
        return Step::new(Action::Update, Object::Node, &node.node, detail);
    } else {
        return Step::new(Action::Unchanged, Object::Node, &node.node, serves(runtime));
    };
    let elsewhere = is_another_there(desired, &node.node);
    let mut detail = format!("{why}; {}", closing(connections, elsewhere));
    if let Some(carried) = found.holds.as_ref().filter(|_| elsewhere).and_then(carried) {
        detail.push_str(&format!("; nobody serves {carried} meanwhile"));
    }
    let mut step = Step::new(Action::Restart, Object::Node, &node.node, detail);
    (step.connections, step.elsewhere) = (connections, elsewhere);
    // The file tells what the node runs with only when it is the file that the node was started with.
    let running = found.config.as_ref().filter(|file| file.hash() == runtime.config_hash);
    step.changes = running.map(|running| changes(&value(running), &value(node))).unwrap_or_default();
    step
}

/// Whether clients of this node find another one: nodes that do not serve are brought up first, and when that
/// fails nothing else is touched.
fn is_another_there(desired: &Desired, node: &str) -> bool {
    desired.nodes.iter().any(|other| other.node != node)
}

fn closing(connections: u64, elsewhere: bool) -> String {
    match (connections, elsewhere) {
        (0, _) => "nobody is connected".to_owned(),
        (count, false) => format!("closes {}", shape::plural(count, "connection")),
        (1, true) => "1 connection moves to another node".to_owned(),
        (count, true) => format!("{} move to other nodes", shape::plural(count, "connection")),
    }
}

/// `2 stored addresses with 12 messages (3.0 KiB) and 1 MQTT session`; `None`: nothing.
fn carried(holds: &NodeDrain) -> Option<String> {
    let addresses = (holds.queues > 0 || holds.messages > 0).then(|| {
        let addresses = shape::plural(holds.queues, "stored address");
        match holds.messages {
            0 => format!("{addresses} without messages"),
            count => {
                format!(
                    "{addresses} with {} ({})",
                    shape::plural(count, "message"),
                    shape::bytes(holds.bytes)
                )
            }
        }
    });
    let sessions = (holds.sessions > 0).then(|| shape::plural(holds.sessions, "MQTT session"));
    let parts: Vec<String> = addresses.into_iter().chain(sessions).collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// What becomes of the nodes that are there and not wanted.
fn removals(desired: &Desired, observed: &Observed) -> Vec<Step> {
    let is_wanted = |name: &str| desired.nodes.iter().any(|wanted| wanted.node == name);
    let unwanted = observed.nodes.iter().filter(|found| !is_wanted(&found.name));
    unwanted.filter(|found| found.state != NodeState::Absent).map(|found| removal(desired, found)).collect()
}

/// Unreachable is not empty: only the node itself can say that it holds nothing.
fn removal(desired: &Desired, found: &ObservedNode) -> Step {
    let kept = format!("its data is kept for {}", shape::uptime(desired.retain.as_secs()));
    let mut step = Step::new(Action::Remove, Object::Node, &found.name, "");
    let is_abandoned = desired.abandon.contains(&found.name);
    match (&found.state, &found.holds, found.leaving) {
        (NodeState::Running { connections, .. }, Some(holds), _) => {
            step.elsewhere = is_another_there(desired, &found.name);
            step.connections = *connections;
            let held = match carried(holds) {
                None => "it holds nothing".to_owned(),
                Some(carried) => format!("{carried} move to other nodes first"),
            };
            step.moved = holds.messages;
            let closing = closing(*connections, step.elsewhere);
            step.detail = format!("{held}; {closing}; {kept}");
        }
        (NodeState::Stopped { .. }, _, Some(Leaving::Empty)) => {
            step.detail = format!("it said that it holds nothing and was stopped; {kept}");
        }
        (state, _, _) if is_abandoned => {
            step.detail = format!("it {}; given up as asked for; {kept}", condition(state));
        }
        (state, _, _) => {
            let condition = condition(state);
            step.detail = format!("it {condition}");
            let name = &found.name;
            step.blocked = Some(Blocked {
                reason: format!("nobody can know what {name} holds: it {condition}"),
                help: format!(
                    "bring it back first (`mq deploy` with as many nodes as before), or give up what it holds with --abandon {name}"
                ),
            });
        }
    }
    step
}

fn condition(state: &NodeState) -> &'static str {
    match state {
        NodeState::Absent => "is not there",
        NodeState::Stopped { is_clean: true } => "is stopped",
        NodeState::Stopped { is_clean: false } => "has died",
        NodeState::Silent => "does not answer",
        NodeState::Running { .. } => "runs and does not say",
    }
}

fn listens(node: &DaemonConfig) -> String {
    let place = |listener: &mq_model::config::ListenerConfig| match listener.port {
        0 => format!("a free port of {}", listener.host),
        port => format!("{}:{port}", listener.host),
    };
    let mut places: Vec<String> = node
        .listeners
        .named()
        .into_iter()
        .map(|(name, listener)| format!("{name} on {}", place(listener)))
        .collect();
    let mesh = node.mesh.iter();
    places.extend(mesh.map(|mesh| format!("mesh on {}:{}", mesh.listen.host, mesh.listen.port)));
    places.join(", ")
}

/// Where a running node listens.
pub fn serves(runtime: &Runtime) -> String {
    let places: Vec<String> = runtime
        .listeners
        .iter()
        .map(|listener| format!("{} on {}:{}", listener.name, listener.host, listener.port))
        .collect();
    places.join(", ")
}

/// What the addresses need, given the ones that are there, and the nodes that do not serve now and will before
/// it is done.
pub fn address_steps(desired: &Desired, there: &[Address], returns: impl Fn(&str) -> bool) -> Vec<Step> {
    let mut steps = steps_of_addresses(desired, there);
    for step in &mut steps {
        let Some(node) = step.uncounted.as_deref() else { continue };
        if returns(node) {
            step.detail.push_str(&format!("; what {node} holds of it is known once that is back"));
        } else if desired.abandon.iter().any(|abandoned| abandoned == node) {
            step.detail.push_str(&format!("; drops what {node} holds, given up as asked for"));
        } else {
            step.blocked = Some(Blocked {
                reason: not_known(&step.name, node),
                help: format!("bring {node} back first, or give up what it holds with --abandon {node}"),
            });
        }
    }
    steps
}

/// Unreachable is not empty.
pub fn not_known(address: &str, node: &str) -> String {
    format!("{node}, which holds `{address}`, cannot be reached: what it holds is not known")
}

fn steps_of_addresses(desired: &Desired, there: &[Address]) -> Vec<Step> {
    let wanted = in_order(&desired.addresses);
    let mut steps: Vec<Step> = wanted.into_iter().map(|wanted| address_step(wanted, there)).collect();
    // What refers to another goes before it.
    for address in in_order(there).into_iter().rev().filter(|address| !is_given(desired, address)) {
        let name = &address.metadata.name;
        if desired.addresses.iter().any(|wanted| wanted.metadata.name == *name) {
            continue;
        }
        steps.push(if desired.prune {
            let detail = format!("it is not in the files{}", consequences(address));
            let mut step = Step::new(Action::Delete, Object::Address, name, detail);
            step.messages = stored(address);
            step.uncounted = uncounted(address);
            step
        } else {
            Step::new(Action::Keep, Object::Address, name, "it is not in the files")
        });
    }
    steps
}

/// The addresses in an order in which they can be created: a subscription comes behind its topic, and what
/// names a dead letter or expiry address behind what names none.
pub fn in_order(addresses: &[Address]) -> Vec<&Address> {
    let mut ordered: Vec<&Address> = addresses.iter().collect();
    ordered.sort_by_key(|address| {
        let spec = &address.spec;
        let refers = spec.dead_letter.is_some() || spec.expiry_address.is_some();
        (spec.kind == AddressType::Subscription, refers)
    });
    ordered
}

/// Whether the node serves the address by itself: it is neither there to be kept nor to be deleted, and who
/// wants one of its name creates it.
pub fn is_built_in(address: &Address) -> bool {
    address.status.as_ref().is_some_and(|status| status.built_in)
}

/// Whether the address is there without anybody having asked for it by name: it is built in, or it is the topic
/// that the founder of a fleet makes for every name that nothing else serves.
fn is_given(desired: &Desired, address: &Address) -> bool {
    let is_catch_all = address.metadata.name == mq_model::CATCH_ALL_TOPIC;
    is_built_in(address) || (is_catch_all && desired.nodes.iter().any(|node| node.mqtt.catch_all))
}

/// The node that holds something of what an address stores, and cannot say what; `None`: all is counted.
pub fn uncounted(address: &Address) -> Option<String> {
    address.status.as_ref()?.unreachable.first().cloned()
}

/// The messages that an address stores, as far as they can be counted; see [`uncounted`].
pub fn stored(address: &Address) -> u64 {
    address.status.as_ref().and_then(|status| status.queue.as_ref()).map_or(0, |queue| queue.messages)
}

/// What else happens when an address is deleted.
fn consequences(address: &Address) -> String {
    let Some(status) = &address.status else { return String::new() };
    let links = status.producers + status.consumers;
    let messages = stored(address);
    let part = |count: u64, verb: &str, noun: &str| match count {
        0 => String::new(),
        count => format!("; {verb} {}", shape::plural(count, noun)),
    };
    part(links, "closes", "link") + &part(messages, "drops", "message")
}

fn unknown_address_step(address: &Address) -> Step {
    let detail = format!("{}, once a node can say what is there", kind(&address.spec));
    Step::new(Action::Ensure, Object::Address, &address.metadata.name, detail)
}

/// What one address needs, given the addresses that are there.
pub fn address_step(wanted: &Address, there: &[Address]) -> Step {
    let name = &wanted.metadata.name;
    let found = there.iter().find(|found| found.metadata.name == *name && !is_built_in(found));
    let Some(found) = found else {
        return Step::new(Action::Create, Object::Address, name, kind(&wanted.spec));
    };
    let changes = changes(&comparable(found), &comparable(wanted));
    if changes.is_empty() {
        return Step::new(Action::Unchanged, Object::Address, name, kind(&wanted.spec));
    }
    let mut step = Step::new(Action::Update, Object::Address, name, kind(&wanted.spec));
    // An address of another type is another address: it does not have the messages of this one.
    if found.spec.kind != wanted.spec.kind {
        step.messages = stored(found);
        step.uncounted = uncounted(found);
    }
    if step.messages > 0 {
        step.detail.push_str(&format!("; drops {}", shape::plural(step.messages, "message")));
    }
    step.changes = changes;
    step
}

/// What two addresses are compared by: not the status, not the spelling of the API version.
fn comparable(address: &Address) -> Value {
    serde_json::json!({ "labels": value(&address.metadata.labels), "spec": value(&address.spec) })
}

fn kind(spec: &AddressSpec) -> String {
    value(&spec.kind).as_str().unwrap_or_default().to_owned()
}

/// The leaves in which two values differ; a field that is absent counts as null.
pub fn changes(from: &Value, to: &Value) -> Vec<Change> {
    let mut changes = Vec::new();
    collect_changes("", from, to, &mut changes);
    changes
}

fn collect_changes(path: &str, from: &Value, to: &Value, changes: &mut Vec<Change>) {
    let empty = serde_json::Map::new();
    let (left, right) = match (from, to) {
        (Value::Object(left), Value::Object(right)) => (left, right),
        (Value::Null, Value::Object(right)) => (&empty, right),
        (Value::Object(left), Value::Null) => (left, &empty),
        _ if from == to => return,
        _ => {
            changes.push(Change { field: path.to_owned(), from: from.clone(), to: to.clone() });
            return;
        }
    };
    let added = right.keys().filter(|key| !left.contains_key(*key));
    for key in left.keys().chain(added) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let value_of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
        collect_changes(&path, &value_of(left), &value_of(right), changes);
    }
}

#[cfg(test)]
mod tests {
    use mq_model::{
        admin::{Listener, Protocol},
        manifest::AddressType,
    };

    use super::*;

    fn node() -> DaemonConfig {
        DaemonConfig::embedded("/state")
    }

    fn desired() -> Desired {
        Desired {
            place: "on this machine".into(),
            fleet: "default".into(),
            nodes: vec![node()],
            addresses: Vec::new(),
            prune: false,
            restart: Restart::Nobody,
            version: Some("1.0.0".into()),
            abandon: Vec::new(),
            retain: Duration::from_secs(7 * 86_400),
        }
    }

    fn running(config: &DaemonConfig, connections: u64) -> Observed {
        let listener = Listener {
            name: "amqp".into(),
            protocol: Protocol::Amqp,
            host: "127.0.0.1".into(),
            port: 5672,
            tls: Default::default(),
        };
        let runtime = Runtime {
            node: config.node.clone(),
            fleet: config.fleet.clone(),
            pid: 1,
            version: "1.0.0".into(),
            config_hash: config.hash(),
            listeners: vec![listener],
        };
        let state = NodeState::Running { runtime, connections };
        let node = ObservedNode { config: Some(config.clone()), ..ObservedNode::new(&config.node, state) };
        Observed { nodes: vec![node], addresses: Some(Vec::new()), ..Observed::default() }
    }

    fn found(state: NodeState) -> Observed {
        Observed { nodes: vec![ObservedNode::new("node-1", state)], ..Observed::default() }
    }

    fn address(name: &str, kind: AddressType) -> Address {
        let spec = serde_json::json!({ "type": kind });
        Address::new(name, serde_json::from_value(spec).unwrap())
    }

    fn only_step(plan: &Plan) -> &Step {
        assert_eq!(plan.steps.len(), 1, "{plan:?}");
        &plan.steps[0]
    }

    #[test]
    fn a_fleet_that_runs_as_wanted_needs_nothing() {
        let plan = Plan::new(&desired(), &running(&node(), 7));
        assert_eq!(only_step(&plan).action, Action::Unchanged);
        assert!(!plan.is_change());
        assert_eq!(plan.summary(), "1 unchanged");
    }

    #[test]
    fn a_node_that_never_was_is_created() {
        let plan = Plan::new(&desired(), &Observed::default());
        assert_eq!(only_step(&plan).action, Action::Create);
        assert_eq!(
            only_step(&plan).detail,
            "amqp on 127.0.0.1:5672, mqtt on 127.0.0.1:1883, http on 127.0.0.1:8080"
        );
    }

    #[test]
    fn a_dead_node_is_started_and_the_plan_says_that_it_died() {
        let plan = Plan::new(&desired(), &found(NodeState::Stopped { is_clean: false }));
        assert_eq!(only_step(&plan).action, Action::Start);
        assert!(only_step(&plan).detail.starts_with("its process is gone"), "{plan:?}");
    }

    #[test]
    fn a_node_that_does_not_answer_is_waited_for_and_not_doubled() {
        let plan = Plan::new(&desired(), &found(NodeState::Silent));
        assert_eq!(only_step(&plan).action, Action::Await);
    }

    #[test]
    fn a_changed_configuration_restarts_and_says_what_and_whom_it_hurts() {
        let mut old = node();
        old.listeners.amqp.port = 5673;
        let plan = Plan::new(&desired(), &running(&old, 2));
        let step = only_step(&plan);
        assert_eq!(step.action, Action::Restart);
        assert_eq!(step.detail, "its configuration changes; closes 2 connections");
        let change = Change { field: "listeners.amqp.port".into(), from: 5673.into(), to: 5672.into() };
        assert_eq!(step.changes, [change]);
        assert_eq!(plan.connections(), 2);
    }

    #[test]
    fn a_file_that_the_node_was_not_started_with_is_not_compared() {
        let mut old = node();
        old.workers = 3;
        let mut observed = running(&old, 0);
        observed.nodes[0].config = Some(node());
        let plan = Plan::new(&desired(), &observed);
        assert_eq!(only_step(&plan).action, Action::Restart);
        assert!(only_step(&plan).changes.is_empty());
    }

    #[test]
    fn another_version_of_the_daemon_restarts_the_node() {
        let newer = Desired { version: Some("1.1.0".into()), ..desired() };
        let plan = Plan::new(&newer, &running(&node(), 0));
        assert_eq!(only_step(&plan).detail, "mqd 1.0.0 becomes 1.1.0; nobody is connected");
        let unknown = Desired { version: None, ..desired() };
        assert!(!Plan::new(&unknown, &running(&node(), 0)).is_change());
    }

    #[test]
    fn addresses_are_created_updated_and_left_alone() {
        let mut wanted = desired();
        wanted.addresses = vec![address("new", AddressType::Anycast), address("same", AddressType::Anycast)];
        wanted.addresses.push(address("other", AddressType::Multicast));
        let mut observed = running(&node(), 0);
        observed.addresses = Some(vec![
            address("same", AddressType::Anycast),
            address("other", AddressType::Anycast),
            address("mine", AddressType::Anycast),
        ]);
        let plan = Plan::new(&wanted, &observed);
        let actions: Vec<(&str, Action)> =
            plan.steps.iter().skip(1).map(|step| (step.name.as_str(), step.action)).collect();
        let expected = [
            ("new", Action::Create),
            ("same", Action::Unchanged),
            ("other", Action::Update),
            ("mine", Action::Keep),
        ];
        assert_eq!(actions, expected);
        let change = &plan.steps[3].changes[0];
        assert_eq!((change.field.as_str(), &change.to), ("spec.type", &Value::from("multicast")));
    }

    #[test]
    fn pruning_deletes_what_is_not_wanted_and_counts_the_links() {
        let mut observed = running(&node(), 0);
        let mut mine = address("mine", AddressType::Anycast);
        let status = serde_json::json!({
            "ready": true, "producers": 1, "consumers": 2, "deliveriesIn": 0, "deliveriesOut": 0,
            "undelivered": 0, "unsettled": 0, "dropped": 0, "expired": 0,
        });
        mine.status = Some(serde_json::from_value(status).unwrap());
        observed.addresses = Some(vec![mine]);
        let plan = Plan::new(&Desired { prune: true, ..desired() }, &observed);
        assert_eq!(plan.deleted(), ["mine"]);
        assert_eq!(plan.steps[1].detail, "it is not in the files; closes 3 links");
    }

    #[test]
    fn pruning_a_queue_says_what_is_lost() {
        let mut queue = address("mine", AddressType::Queue);
        let held = mq_model::manifest::QueueStatus { messages: 12, ..Default::default() };
        queue.status = Some(mq_model::manifest::AddressStatus { queue: Some(held), ..Default::default() });
        let mut observed = running(&node(), 0);
        observed.addresses = Some(vec![queue]);
        let plan = Plan::new(&Desired { prune: true, ..desired() }, &observed);
        assert_eq!(plan.steps[1].detail, "it is not in the files; drops 12 messages");
        assert_eq!(plan.messages(), 12);
    }

    #[test]
    fn an_address_of_another_type_has_no_messages_of_the_old_one() {
        let mut queue = address("a", AddressType::Queue);
        let held = mq_model::manifest::QueueStatus { messages: 12, ..Default::default() };
        queue.status = Some(mq_model::manifest::AddressStatus { queue: Some(held), ..Default::default() });
        let step = address_step(&address("a", AddressType::Anycast), &[queue.clone()]);
        assert_eq!((step.detail.as_str(), step.messages), ("anycast; drops 12 messages", 12));
        let mut limited = address("a", AddressType::Queue);
        limited.spec.limits.max_messages = Some(5);
        assert_eq!(address_step(&limited, &[queue]).messages, 0);
    }

    #[test]
    fn what_refers_to_an_address_is_created_behind_it_and_deleted_before_it() {
        let mut orders = address("orders", AddressType::Queue);
        orders.spec.dead_letter = Some("dlq".into());
        let addresses = [
            address("t::s", AddressType::Subscription),
            orders,
            address("t", AddressType::Topic),
            address("dlq", AddressType::Queue),
        ];
        let names = |steps: &[Step]| steps.iter().map(|step| step.name.clone()).collect::<Vec<_>>();
        let mut wanted = desired();
        wanted.addresses = addresses.to_vec();
        assert_eq!(names(&address_steps(&wanted, &[], |_| false)), ["t", "dlq", "orders", "t::s"]);
        let nothing = Desired { prune: true, ..desired() };
        assert_eq!(names(&address_steps(&nothing, &addresses, |_| false)), ["t::s", "orders", "dlq", "t"]);
    }

    #[test]
    fn what_a_node_writes_beside_the_specification_is_no_difference() {
        let mut found = address("a", AddressType::Anycast);
        found.status = Some(mq_model::manifest::AddressStatus::default());
        let mut wanted = address("a", AddressType::Anycast);
        wanted.api_version = "mq/v1".into();
        assert_eq!(address_step(&wanted, &[found]).action, Action::Unchanged);
    }

    #[test]
    fn what_is_built_in_is_neither_kept_nor_deleted_and_can_be_declared() {
        let mut built_in = address("#", AddressType::Topic);
        built_in.status = Some(mq_model::manifest::AddressStatus { built_in: true, ..Default::default() });
        let mut wanted = Desired { prune: true, ..desired() };
        assert_eq!(address_steps(&wanted, std::slice::from_ref(&built_in), |_| false), []);
        wanted.addresses = vec![address("#", AddressType::Topic)];
        let steps = address_steps(&wanted, &[built_in], |_| false);
        assert_eq!(steps.iter().map(|step| step.action).collect::<Vec<_>>(), [Action::Create]);
    }

    #[test]
    fn the_addresses_of_a_stopped_node_are_not_guessed() {
        let mut wanted = desired();
        wanted.addresses = vec![address("a", AddressType::Anycast)];
        let plan = Plan::new(&wanted, &found(NodeState::Stopped { is_clean: true }));
        assert_eq!(plan.steps[1].action, Action::Ensure);
    }
}
