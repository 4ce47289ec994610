//! One node after the other: start, restart, empty and remove, and look whether the fleet is well before the
//! next one is touched.
//!
//! A step that fails stops the roll. What has been done stays done, and the next deployment finds what is
//! left: nothing here remembers anything but what the nodes and their directories say.

use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};

use mq_model::{
    admin::{DrainState, NodeDrain, Runtime},
    config::DaemonConfig,
};

use super::{
    Backend, Order, Stopped,
    gate::{Expected, Report, is_linked},
    plan::{self, Action, Desired, Leaving, NodeState, Observed, ObservedNode, Plan, Step},
};
use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    output::Output,
    shape,
};

/// How long a node may take to say how it is before it is asked again: a question can be lost with the connection
/// to another node that it was passed on to.
const ANSWER: Duration = Duration::from_secs(3);

/// How often a node may fail to answer while it is being emptied before that counts.
const PATIENCE: u32 = 5;

/// How patient a roll is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a node may take to become ready, to pass its gate, and to stop.
    pub wait: Duration,
    /// How long a node that is being emptied may make no progress.
    pub drain: Duration,
    /// How long everything has to hold, and a node has to be empty, before that is believed.
    pub soak: Duration,
    /// How often a condition is looked at.
    pub poll: Duration,
}

/// Who is told how far a roll is.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// A node has become ready, and listens there now.
    pub on_ready: &'a (dyn Fn(&Runtime) + Sync),
    /// A step begins.
    pub on_step: &'a (dyn Fn(&Step) + Sync),
    /// Whether something else is wanted by now: then no further step begins.
    pub is_superseded: &'a (dyn Fn() -> bool + Sync),
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// A roll through the nodes of a fleet.
pub struct Roll<'a, B> {
    backend: &'a B,
    desired: &'a Desired,
    observed: &'a Observed,
    options: Options,
    output: &'a Output,
    watch: Watch<'a>,
    /// What each running node runs with, as far as it is known.
    running: BTreeMap<String, DaemonConfig>,
    runtimes: BTreeMap<String, Runtime>,
}

impl<B> std::fmt::Debug for Roll<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roll").field("running", &self.running.keys()).finish_non_exhaustive()
    }
}

impl<'a, B: Backend> Roll<'a, B> {
    pub fn new(
        backend: &'a B,
        (desired, observed): (&'a Desired, &'a Observed),
        options: Options,
        output: &'a Output,
        watch: Watch<'a>,
    ) -> Self {
        let mut roll = Self {
            backend,
            desired,
            observed,
            options,
            output,
            watch,
            running: BTreeMap::new(),
            runtimes: BTreeMap::new(),
        };
        for node in &observed.nodes {
            let NodeState::Running { runtime, .. } = &node.state else { continue };
            roll.runtimes.insert(node.name.clone(), runtime.clone());
            // A file that the node was not started with says nothing about its links.
            if let Some(config) = node.config.as_ref().filter(|file| file.hash() == runtime.config_hash) {
                roll.running.insert(node.name.clone(), config.clone());
            }
        }
        roll
    }

    /// Does the steps of the plan that are about nodes, and returns the nodes that are wanted, by number.
    ///
    /// # Errors
    ///
    /// The first step that failed, with the end of what its node said.
    pub async fn run(&mut self, plan: &Plan) -> Outcome<Vec<Runtime>> {
        let steps: Vec<&Step> = plan.nodes().filter(|step| step.action.is_change()).collect();
        self.cordon(&steps).await?;
        for (index, step) in steps.iter().enumerate() {
            let place = match steps.len() {
                1 => String::new(),
                count => format!(" ({} of {count})", index + 1),
            };
            if (self.watch.is_superseded)() {
                return Err(Failure::new(Exit::Interrupted, "something else is wanted of the fleet by now"));
            }
            (self.watch.on_step)(step);
            if let Err(failure) = self.step(step, &place).await {
                let rest = steps.get(index + 1..).unwrap_or_default();
                return Err(self.stopped(step, failure, rest).await);
            }
        }
        if !steps.is_empty() {
            self.whole().await?;
        }
        let found = self.desired.nodes.iter().filter_map(|node| self.runtimes.get(&node.node).cloned());
        Ok(found.collect())
    }

    async fn step(&mut self, step: &Step, place: &str) -> Outcome {
        match step.action {
            Action::Remove => self.remove(step, place).await,
            Action::Update => self.rejoin(&step.name).await,
            _ => self.bring_up(step, place).await,
        }
    }

    async fn bring_up(&mut self, step: &Step, place: &str) -> Outcome {
        let name = &step.name;
        let Some(wanted) = self.desired.nodes.iter().find(|node| node.node == *name) else {
            return Err(Failure::failed(format!("the plan names an unknown node `{name}`")));
        };
        let begin = Instant::now();
        let mut stored = 0;
        let mut is_disturbed = step.action == Action::Restart;
        let runtime = match step.action {
            Action::Await => {
                let runtime = self.backend.wait_ready(name, self.options.wait, self.output).await?;
                if runtime.config_hash == wanted.hash() {
                    runtime
                } else {
                    is_disturbed = true;
                    stored = self.stop(name).await?;
                    self.backend.start(wanted, self.options.wait, self.output).await?
                }
            }
            Action::Restart => {
                stored = self.stop(name).await?;
                self.backend.start(wanted, self.options.wait, self.output).await?
            }
            _ => self.backend.start(wanted, self.options.wait, self.output).await?,
        };
        self.running.insert(name.clone(), wanted.clone());
        self.runtimes.insert(name.clone(), runtime.clone());
        (self.watch.on_ready)(&runtime);
        let expected = self.expected(wanted, stored);
        let soak = if is_disturbed { self.options.soak } else { Duration::ZERO };
        let report = self.pass(name, &expected, soak, stored > 0).await?;
        if self.found(name).is_some_and(|found| found.leaving.is_some()) {
            self.rejoin(name).await?;
        }
        let took = shape::elapsed(begin.elapsed());
        let places = plan::serves(&runtime);
        let facts = facts(&report, stored);
        self.output.talk(&format!("{name}{place} is ready after {took}: {places}{facts}"));
        Ok(())
    }

    /// What the node should say, given the nodes that run now.
    fn expected(&self, wanted: &DaemonConfig, stored: u64) -> Expected {
        let others = self.running.iter().filter(|(name, _)| **name != wanted.node);
        let neighbours =
            others.filter(|(_, config)| is_linked(wanted, config, |node| self.backend.mesh_address(node)));
        Expected {
            version: self.desired.version.clone(),
            config_hash: wanted.hash(),
            neighbours: neighbours.map(|(name, _)| name.clone()).collect(),
            reachable: Vec::new(),
            stored,
        }
    }

    /// Waits until the node is as expected, and stays so for a while.
    async fn pass(&self, name: &str, expected: &Expected, soak: Duration, depth: bool) -> Outcome<Report> {
        let end = Instant::now() + self.options.wait;
        let mut since = None;
        loop {
            let report = tokio::time::timeout(ANSWER, self.backend.report(name, depth)).await;
            let missing = match report.unwrap_or_else(|_| Err(Failure::failed("it takes too long"))) {
                Ok(report) => {
                    let missing = expected.missing(&report);
                    if missing.is_empty() {
                        let since: &mut Instant = since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= soak {
                            return Ok(report);
                        }
                    }
                    missing
                }
                Err(failure) => vec![format!("it does not answer ({})", failure.message)],
            };
            if !missing.is_empty() {
                since = None;
                if Instant::now() >= end {
                    let wait = shape::elapsed(self.options.wait);
                    let mut missing = missing;
                    missing.extend(self.silent(&expected.neighbours).await);
                    let message = format!(
                        "the node `{name}` is not as it should be after {wait}: {}",
                        missing.join("; ")
                    );
                    return Err(Failure::new(Exit::TimedOut, message));
                }
            }
            tokio::time::sleep(self.options.poll).await;
        }
    }

    /// Which of these nodes do not answer, and why: a link has two ends.
    async fn silent(&self, nodes: &[String]) -> Vec<String> {
        let mut silent = Vec::new();
        for node in nodes {
            let report = tokio::time::timeout(ANSWER, self.backend.report(node, false)).await;
            match report.unwrap_or_else(|_| Err(Failure::failed("it takes too long"))) {
                Ok(_) => {}
                Err(failure) => silent.push(format!("{node} does not answer ({})", failure.message)),
            }
        }
        silent
    }

    /// Waits until every node reaches every other.
    async fn whole(&self) -> Outcome {
        let meshed: Vec<&DaemonConfig> =
            self.desired.nodes.iter().filter(|node| node.mesh.is_some()).collect();
        let names: Vec<String> = meshed.iter().map(|node| node.node.clone()).collect();
        for node in meshed.into_iter().filter(|_| names.len() > 1) {
            let mut expected = self.expected(node, 0);
            expected.reachable.clone_from(&names);
            // Its version was looked at when it was its turn, if it was.
            expected.version = None;
            self.pass(&node.node, &expected, Duration::ZERO, false).await?;
        }
        Ok(())
    }

    /// Stops a node, and returns how many stored messages it must come back with.
    async fn stop(&mut self, name: &str) -> Outcome<u64> {
        if self.found(name).is_some_and(|found| found.state == NodeState::Silent) {
            // Whoever does not answer is not asked.
            let stopped = self.backend.stop(name, self.options.wait, self.output).await?;
            self.gone(name, stopped);
            return Ok(0);
        }
        let mut stored = self.backend.report(name, false).await.map_or(0, |report| report.certain());
        let stopped = {
            let mut stop = pin!(self.backend.stop(name, self.options.wait, self.output));
            loop {
                // What it holds goes on changing until it has really stopped.
                let next = async {
                    let report = self.backend.report(name, false).await;
                    tokio::time::sleep(self.options.poll).await;
                    report
                };
                tokio::select! {
                    stopped = &mut stop => break stopped?,
                    report = next => {
                        if let Ok(report) = report {
                            stored = report.certain();
                        }
                    }
                }
            }
        };
        self.gone(name, stopped);
        Ok(stored)
    }

    fn gone(&mut self, name: &str, stopped: Stopped) {
        self.running.remove(name);
        self.runtimes.remove(name);
        say_stopped(name, stopped, self.options.wait, self.output);
    }

    /// Nodes that go get no new homes from now on, those of each other included.
    async fn cordon(&self, steps: &[&Step]) -> Outcome {
        for step in steps.iter().filter(|step| step.action == Action::Remove && self.is_running(&step.name)) {
            self.backend.note_leaving(&step.name, Some(Leaving::Draining)).await?;
            let told = self.backend.order(&step.name, Order::Cordon).await;
            told.map_err(|failure| unknown(&step.name, &failure))?;
        }
        Ok(())
    }

    async fn remove(&mut self, step: &Step, place: &str) -> Outcome {
        let name = &step.name;
        let begin = Instant::now();
        if self.is_running(name) {
            let before = self.empty(name, place).await?;
            self.backend.note_leaving(name, Some(Leaving::Empty)).await?;
            self.output.talk(&format!("{name}{place} is empty: {} moved", moved(&before)));
        }
        let stopped = self.backend.stop(name, self.options.wait, self.output).await?;
        if stopped != Stopped::Already {
            self.gone(name, stopped);
        }
        let kept = self.backend.retire(name, self.desired.retain).await?;
        let took = shape::elapsed(begin.elapsed());
        self.output.talk(&format!("{name}{place} is removed after {took}; its data is in {kept}"));
        Ok(())
    }

    /// Has a node move away what it holds, and returns what that was.
    ///
    /// # Errors
    ///
    /// The node stops answering, so that nobody can know what it holds, or it does not get on.
    async fn empty(&self, name: &str, place: &str) -> Outcome<NodeDrain> {
        let before =
            self.backend.order(name, Order::Drain).await.map_err(|failure| unknown(name, &failure))?;
        let mut last = before.clone();
        let mut progress = Instant::now();
        let (mut silences, mut empty_since) = (0, None);
        loop {
            match self.backend.holds(name).await {
                Ok(now) => {
                    silences = 0;
                    if is_empty(&now) {
                        // Once could be between two messages.
                        let since: &mut Instant = empty_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= self.options.soak {
                            return Ok(before);
                        }
                    } else {
                        empty_since = None;
                    }
                    if held(&now) != held(&last) {
                        progress = Instant::now();
                        if !is_empty(&now) {
                            self.output.talk(&format!("{name}{place} is draining: {} left", left(&now)));
                        }
                    }
                    last = now;
                }
                Err(failure) => {
                    (silences, empty_since) = (silences + 1, None);
                    if silences >= PATIENCE {
                        return Err(unknown(name, &failure));
                    }
                }
            }
            if progress.elapsed() >= self.options.drain {
                return Err(stuck(name, &last, self.options.drain));
            }
            tokio::time::sleep(self.options.poll).await;
        }
    }

    /// A node that was to go stays.
    async fn rejoin(&self, name: &str) -> Outcome {
        self.backend.order(name, Order::Undrain).await?;
        self.backend.order(name, Order::Uncordon).await?;
        self.backend.note_leaving(name, None).await?;
        self.output.talk(&format!("{name} takes part again"));
        Ok(())
    }

    fn found(&self, name: &str) -> Option<&ObservedNode> {
        self.observed.nodes.iter().find(|found| found.name == name)
    }

    fn is_running(&self, name: &str) -> bool {
        self.runtimes.contains_key(name)
    }

    /// The failure of a step, with what its node said last and what was not done.
    async fn stopped(&self, step: &Step, mut failure: Failure, rest: &[&Step]) -> Failure {
        let is_quoted = failure.message.contains(QUOTE);
        let is_last_words_wanted = step.action != Action::Remove || failure.exit == Exit::Failed;
        if !is_quoted && is_last_words_wanted {
            for line in self.backend.last_words(&step.name).await {
                failure.message.push_str(QUOTE);
                failure.message.push_str(&line);
            }
        }
        let untouched: Vec<&str> = rest.iter().map(|step| step.name.as_str()).collect();
        let mut help = failure.help.take().map_or_else(String::new, |help| help + "; ");
        if untouched.is_empty() {
            help.push_str("`mq deploy` goes on from here");
        } else {
            help.push_str(&format!("{} not touched; `mq deploy` goes on from here", listed(&untouched)));
        }
        failure.help(help)
    }
}

/// What begins a line that a node has said.
pub const QUOTE: &str = "\n  | ";

fn listed(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} was"),
        many => format!("{} were", many.join(", ")),
    }
}

/// Whether a node that drains keeps nothing any more, by its own word. What is under way between it and its
/// clients is settled, or given back to them, when it stops.
pub fn is_empty(drain: &NodeDrain) -> bool {
    let is_told = matches!(drain.state, DrainState::Draining | DrainState::Drained);
    is_told && drain.queues == 0 && drain.messages == 0 && drain.sessions == 0
}

/// What counts as progress.
fn held(drain: &NodeDrain) -> (u64, u64, u64) {
    (drain.queues, drain.messages, drain.sessions)
}

/// `2 stored addresses, 12 messages, 3 connections`.
pub fn left(drain: &NodeDrain) -> String {
    let parts = [
        (drain.queues, "stored address"),
        (drain.messages, "message"),
        (drain.sessions, "MQTT session"),
        (drain.unsettled, "unsettled delivery"),
        (drain.connections, "connection"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| shape::plural(count, what))
        .collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
}

fn moved(before: &NodeDrain) -> String {
    left(&NodeDrain { connections: 0, unsettled: 0, ..before.clone() })
}

/// Nobody can know whether the node is empty: unreachable is not empty.
fn unknown(name: &str, failure: &Failure) -> Failure {
    let message = format!("nobody can know what the node `{name}` holds: {}", failure.message);
    Failure::new(Exit::Guarded, message).help(format!(
        "bring it back and try again, keep it (`mq node undrain {name}`), or give up what it holds with --abandon {name}"
    ))
}

/// Why a node that drains does not get on, as far as that is known, with what leads up to it.
pub fn because(drain: &NodeDrain) -> String {
    match &drain.stuck_because {
        Some(because) => format!("; {because}"),
        None => String::new(),
    }
}

fn stuck(name: &str, last: &NodeDrain, drain: Duration) -> Failure {
    let message = format!(
        "the node `{name}` has moved nothing for {}: {} left{}",
        shape::elapsed(drain),
        left(last),
        because(last)
    );
    Failure::new(Exit::TimedOut, message)
        .help(format!("it goes on draining; keep it after all with `mq node undrain {name}`"))
}

fn facts(report: &Report, stored: u64) -> String {
    let mut facts = String::new();
    if let Some(neighbours) = report.neighbours.as_ref().filter(|neighbours| !neighbours.is_empty()) {
        facts.push_str(&format!("; {}", shape::plural(neighbours.len() as u64, "link")));
    }
    if stored > 0 {
        facts.push_str(&format!("; {} recovered", shape::plural(report.stored, "message")));
    }
    facts
}

/// Says how a node ended.
pub fn say_stopped(node: &str, stopped: Stopped, deadline: Duration, output: &Output) {
    match stopped {
        Stopped::Already => output.talk(&format!("{node} was stopped already")),
        Stopped::Drained => output.talk(&format!("{node} has stopped")),
        Stopped::Killed => {
            let deadline = shape::elapsed(deadline);
            output.warn(&format!("{node} did not stop within {deadline} and was killed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        path::{Path, PathBuf},
        sync::{Mutex, MutexGuard},
    };

    use jiff::Timestamp;
    use mq_model::manifest::{Fleet, FleetSpec};

    use super::*;
    use crate::deploy::entry::Entry;
    use crate::{
        args::Global,
        context::Context,
        deploy::{lock::Lock, plan::Restart},
    };

    /// A fleet in memory: what its nodes are, and what was done to them.
    #[derive(Default)]
    struct Fake {
        nodes: Mutex<BTreeMap<String, FakeNode>>,
        done: Mutex<Vec<String>>,
    }

    #[derive(Clone, Default)]
    struct FakeNode {
        config: Option<DaemonConfig>,
        holds: NodeDrain,
        /// Messages that a drain does not get rid of.
        sticky: u64,
        fails_to_start: bool,
        loses: u64,
        /// Links that never come.
        is_cut_off: bool,
        dies_draining: bool,
        leaving: Option<Leaving>,
    }

    impl Fake {
        fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, FakeNode>> {
            self.nodes.lock().unwrap()
        }

        fn did(&self, what: String) {
            self.done.lock().unwrap().push(what);
        }

        fn done(&self) -> Vec<String> {
            self.done.lock().unwrap().clone()
        }

        fn with<T>(&self, node: &str, change: impl FnOnce(&mut FakeNode) -> T) -> T {
            change(self.nodes().entry(node.to_owned()).or_default())
        }

        fn runtime(node: &DaemonConfig) -> Runtime {
            Runtime {
                node: node.node.clone(),
                fleet: node.fleet.clone(),
                pid: 1,
                version: "1".into(),
                config_hash: node.hash(),
                listeners: Vec::new(),
            }
        }
    }

    impl Backend for Fake {
        fn directory(&self) -> &Path {
            Path::new("/fake")
        }

        fn place(&self) -> String {
            "in memory".into()
        }

        async fn lock(&self, _: &str) -> Outcome<Lock> {
            Err(Failure::failed("nothing to lock"))
        }

        async fn kept(&self) -> Outcome<BTreeMap<String, DaemonConfig>> {
            let nodes = self.nodes();
            Ok(nodes.iter().filter_map(|(name, node)| Some((name.clone(), node.config.clone()?))).collect())
        }

        async fn nodes(&self) -> Outcome<Vec<String>> {
            Ok(Self::nodes(self).keys().cloned().collect())
        }

        async fn runtimes(&self) -> Outcome<Vec<Runtime>> {
            Ok(Self::nodes(self)
                .values()
                .filter_map(|node| node.config.as_ref())
                .map(Self::runtime)
                .collect())
        }

        fn state(&self, node: &str) -> PathBuf {
            node.into()
        }

        fn free_port(&self, _: &str, _: &BTreeSet<u16>) -> Outcome<u16> {
            Ok(1)
        }

        fn mesh_address(&self, _: &str) -> Option<String> {
            None
        }

        fn reached(&self, runtime: &Runtime) -> Runtime {
            runtime.clone()
        }

        fn entry(&self, _: &str) -> Entry {
            Entry::default()
        }

        fn context(&self, _: &[Runtime]) -> Option<Context> {
            None
        }

        async fn renew(&self, _: &[DaemonConfig]) -> Outcome<Vec<String>> {
            Ok(Vec::new())
        }

        async fn certificates(&self, _: &DaemonConfig) -> Outcome<Vec<String>> {
            Ok(Vec::new())
        }

        async fn sweep(&self, _: Timestamp) -> Outcome {
            Ok(())
        }

        async fn ask_to_stop(&self, _: &str) -> Outcome<bool> {
            Ok(false)
        }

        async fn await_stop(&self, _: &str, _: Duration, _: &Output) -> Outcome<Stopped> {
            Ok(Stopped::Already)
        }

        async fn log(&self, _: &str, _: Option<u32>) -> Outcome<Vec<u8>> {
            Ok(Vec::new())
        }

        async fn purge(&self) -> Outcome {
            Ok(())
        }

        async fn observe(&self, _: &[DaemonConfig]) -> Outcome<Vec<ObservedNode>> {
            let nodes = self.nodes();
            Ok(nodes
                .iter()
                .map(|(name, node)| {
                    let state = match &node.config {
                        Some(config) => NodeState::Running { runtime: Self::runtime(config), connections: 0 },
                        None => NodeState::Stopped { is_clean: true },
                    };
                    ObservedNode {
                        config: node.config.clone(),
                        holds: node.config.as_ref().map(|_| node.holds.clone()),
                        leaving: node.leaving,
                        ..ObservedNode::new(name, state)
                    }
                })
                .collect())
        }

        async fn version(&self) -> Outcome<Option<String>> {
            Ok(Some("1".into()))
        }

        async fn preflight(&self, _: &[(&DaemonConfig, Option<&Runtime>)]) -> Outcome {
            Ok(())
        }

        async fn start(&self, node: &DaemonConfig, _: Duration, _: &Output) -> Outcome<Runtime> {
            self.did(format!("start {}", node.node));
            if self.with(&node.node, |found| found.fails_to_start) {
                return Err(Failure::failed("it does not start"));
            }
            self.with(&node.node, |found| {
                found.config = Some(node.clone());
                found.holds.messages -= found.loses;
            });
            Ok(Self::runtime(node))
        }

        async fn wait_ready(&self, node: &str, _: Duration, _: &Output) -> Outcome<Runtime> {
            Err(Failure::failed(format!("{node} hangs")))
        }

        async fn stop(&self, node: &str, _: Duration, _: &Output) -> Outcome<Stopped> {
            self.did(format!("stop {node}"));
            let was = self.with(node, |found| found.config.take());
            Ok(if was.is_some() { Stopped::Drained } else { Stopped::Already })
        }

        async fn report(&self, node: &str, _: bool) -> Outcome<Report> {
            let nodes = self.nodes();
            let found = &nodes[node];
            let Some(config) = &found.config else { return Err(Failure::failed("nobody answers")) };
            let others = nodes.iter().filter(|(name, _)| *name != node);
            let linked = others.filter(|(_, other)| {
                let is_linked = other.config.as_ref().is_some_and(|other| is_linked(config, other, |_| None));
                is_linked && !found.is_cut_off && !other.is_cut_off
            });
            let neighbours: Vec<String> = linked.map(|(name, _)| name.clone()).collect();
            let mut reachable = neighbours.clone();
            reachable.push(node.to_owned());
            Ok(Report {
                version: "1".into(),
                config_hash: config.hash(),
                is_running: true,
                neighbours: Some(neighbours),
                reachable,
                stored: found.holds.messages,
                ..Report::default()
            })
        }

        async fn order(&self, node: &str, order: Order) -> Outcome<NodeDrain> {
            self.did(format!("{} {node}", order.word()));
            self.with(node, |found| {
                found.holds.state = match order {
                    Order::Drain => DrainState::Draining,
                    Order::Cordon => DrainState::Cordoned,
                    Order::Uncordon | Order::Undrain => DrainState::Active,
                };
                Ok(found.holds.clone())
            })
        }

        async fn holds(&self, node: &str) -> Outcome<NodeDrain> {
            self.with(node, |found| {
                if found.dies_draining {
                    found.config = None;
                }
                if found.config.is_none() {
                    return Err(Failure::new(Exit::Unreachable, "cannot reach it"));
                }
                if found.holds.state == DrainState::Draining {
                    found.holds.messages = found.holds.messages.saturating_sub(5).max(found.sticky);
                    if found.holds.messages == 0 {
                        found.holds.queues = 0;
                        found.holds.state = DrainState::Drained;
                    }
                }
                Ok(found.holds.clone())
            })
        }

        async fn note_leaving(&self, node: &str, leaving: Option<Leaving>) -> Outcome {
            self.with(node, |found| found.leaving = leaving);
            Ok(())
        }

        async fn retire(&self, node: &str, _: Duration) -> Outcome<String> {
            self.did(format!("retire {node}"));
            Self::nodes(self).remove(node);
            Ok("/removed".into())
        }

        async fn last_words(&self, _: &str) -> Vec<String> {
            vec!["something is wrong".into()]
        }
    }

    fn fleet(nodes: u32) -> Fleet {
        Fleet::new("f", FleetSpec { nodes: Some(nodes), ..FleetSpec::default() })
    }

    fn desired(fleet: &Fleet) -> Desired {
        Desired {
            fleet: "f".into(),
            place: "in memory".into(),
            nodes: fleet.spec.node_names().map(|name| DaemonConfig::from_fleet(fleet, &name, "s")).collect(),
            addresses: Vec::new(),
            prune: false,
            restart: Restart::Nobody,
            version: Some("1".into()),
            abandon: Vec::new(),
            retain: Duration::ZERO,
        }
    }

    /// A fleet of `nodes` nodes that run.
    fn running(nodes: u32) -> Fake {
        let fake = Fake::default();
        for config in desired(&fleet(nodes)).nodes {
            fake.with(&config.node.clone(), |node| node.config = Some(config));
        }
        fake
    }

    fn roll(fake: &Fake, desired: &Desired) -> Outcome<Vec<String>> {
        roll_unless(fake, desired, &|| false)
    }

    fn roll_unless(
        fake: &Fake,
        desired: &Desired,
        is_superseded: &(dyn Fn() -> bool + Sync),
    ) -> Outcome<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let observed = Observed { nodes: fake.observe(&[]).await?, ..Observed::default() };
            let plan = Plan::new(desired, &observed);
            let options = Options {
                wait: Duration::from_millis(60),
                drain: Duration::from_millis(60),
                soak: Duration::from_millis(5),
                poll: Duration::from_millis(1),
            };
            let output = Output::new(&Global { quiet: true, ..Global::default() });
            let watch = Watch { on_ready: &|_| {}, on_step: &|_| {}, is_superseded };
            let mut roll = Roll::new(fake, (desired, &observed), options, &output, watch);
            let nodes = roll.run(&plan).await?;
            Ok(nodes.into_iter().map(|node| node.node).collect())
        })
    }

    #[test]
    fn nodes_are_restarted_one_after_the_other() {
        let fake = running(3);
        let desired = Desired { restart: Restart::Everybody, ..desired(&fleet(3)) };
        assert_eq!(roll(&fake, &desired).unwrap(), ["node-1", "node-2", "node-3"]);
        let done =
            ["stop node-1", "start node-1", "stop node-2", "start node-2", "stop node-3", "start node-3"];
        assert_eq!(fake.done(), done);
        assert_eq!(roll(&fake, &Desired { restart: Restart::Nobody, ..desired }).unwrap().len(), 3);
        assert_eq!(fake.done().len(), 6, "nothing is left to do");
    }

    #[test]
    fn what_is_wanted_in_the_middle_of_a_roll_counts_after_the_step_that_is_under_way() {
        let fake = running(3);
        let first = Desired { restart: Restart::Everybody, ..desired(&fleet(3)) };
        // Something else is wanted while the first node is being restarted.
        let failure = roll_unless(&fake, &first, &|| !fake.done().is_empty()).unwrap_err();
        assert_eq!(failure.exit, Exit::Interrupted);
        assert_eq!(
            fake.done(),
            ["stop node-1", "start node-1"],
            "the step is ended, and no further one begun"
        );
        // The next roll is the one to what is wanted by then: a node less, and nobody restarted.
        assert_eq!(roll(&fake, &desired(&fleet(2))).unwrap(), ["node-1", "node-2"]);
        let done = ["cordon node-3", "drain node-3", "stop node-3", "retire node-3"];
        assert_eq!(fake.done()[2..], done);
    }

    #[test]
    fn a_node_that_does_not_start_stops_the_roll_with_its_last_words() {
        let fake = running(3);
        fake.with("node-2", |node| node.fails_to_start = true);
        let desired = Desired { restart: Restart::Everybody, ..desired(&fleet(3)) };
        let failure = roll(&fake, &desired).unwrap_err();
        assert_eq!(failure.message, "it does not start\n  | something is wrong");
        assert_eq!(failure.help.as_deref(), Some("node-3 was not touched; `mq deploy` goes on from here"));
        assert_eq!(fake.done().last().unwrap(), "start node-2");
        // The reason is gone: the same command brings node 2 up first and goes on.
        fake.with("node-2", |node| node.fails_to_start = false);
        roll(&fake, &Desired { restart: Restart::Nobody, ..desired }).unwrap();
        assert_eq!(fake.done().last().unwrap(), "start node-2");
    }

    #[test]
    fn a_node_without_its_links_stops_the_roll() {
        let fake = running(3);
        fake.with("node-1", |node| node.is_cut_off = true);
        let desired = Desired { restart: Restart::Everybody, ..desired(&fleet(3)) };
        let failure = roll(&fake, &desired).unwrap_err();
        assert_eq!(failure.exit, Exit::TimedOut);
        assert!(failure.message.contains("`node-1` is not as it should be"), "{failure}");
        assert!(failure.message.contains("no link to node-2, node-3"), "{failure}");
        assert_eq!(fake.done(), ["stop node-1", "start node-1"]);
    }

    #[test]
    fn a_node_that_comes_back_with_fewer_messages_stops_the_roll() {
        let fake = running(2);
        fake.with("node-1", |node| (node.holds.messages, node.loses) = (10, 1));
        let desired = Desired { restart: Restart::Everybody, ..desired(&fleet(2)) };
        let failure = roll(&fake, &desired).unwrap_err();
        assert!(failure.message.contains("recovered 9 of 10 stored messages"), "{failure}");
    }

    #[test]
    fn a_node_is_emptied_before_it_is_removed_and_the_last_goes_first() {
        let fake = running(4);
        fake.with("node-3", |node| (node.holds.queues, node.holds.messages) = (2, 12));
        assert_eq!(roll(&fake, &desired(&fleet(2))).unwrap(), ["node-1", "node-2"]);
        let done = [
            // No home moves from one node that goes to the other.
            "cordon node-4",
            "cordon node-3",
            "drain node-4",
            "stop node-4",
            "retire node-4",
            "drain node-3",
            "stop node-3",
            "retire node-3",
        ];
        assert_eq!(fake.done(), done);
    }

    #[test]
    fn a_node_that_stops_answering_is_not_taken_for_empty() {
        let fake = running(2);
        fake.with("node-2", |node| (node.holds.messages, node.dies_draining) = (12, true));
        let failure = roll(&fake, &desired(&fleet(1))).unwrap_err();
        assert_eq!(failure.exit, Exit::Guarded);
        assert!(failure.message.starts_with("nobody can know what the node `node-2` holds"), "{failure}");
        assert!(failure.help.as_ref().unwrap().contains("--abandon node-2"), "{failure}");
        assert_eq!(fake.done(), ["cordon node-2", "drain node-2"], "it is neither stopped nor retired");
    }

    #[test]
    fn a_drain_that_does_not_get_on_says_why_and_leaves_the_node_alone() {
        let fake = running(2);
        fake.with("node-2", |node| {
            (node.holds.messages, node.holds.queues, node.sticky) = (12, 1, 3);
            node.holds.stuck_because = Some("a consumer holds 3 messages".into());
        });
        let failure = roll(&fake, &desired(&fleet(1))).unwrap_err();
        assert_eq!(failure.exit, Exit::TimedOut);
        assert!(failure.message.contains("3 messages left; a consumer holds 3 messages"), "{failure}");
        assert_eq!(fake.done(), ["cordon node-2", "drain node-2"]);
        // Wanted again, it takes part again.
        roll(&fake, &desired(&fleet(2))).unwrap();
        assert_eq!(fake.done()[2..], ["undrain node-2", "uncordon node-2"]);
        assert_eq!(fake.nodes()["node-2"].leaving, None);
    }

    #[test]
    fn new_nodes_find_the_old_ones() {
        let fake = running(1);
        // A single node that was deployed as one of several is ready for others.
        let one = DaemonConfig::from_fleet(&fleet(2), "node-1", "s");
        fake.with("node-1", |node| node.config = Some(one));
        assert_eq!(roll(&fake, &desired(&fleet(3))).unwrap().len(), 3);
        assert_eq!(fake.done(), ["start node-2", "start node-3"]);
    }
}
