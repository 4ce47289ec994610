//! Deploying: observe, plan, apply, observe again.
//!
//! [`plan`] decides; a [`Backend`] knows how to look at and change one kind of place; [`roll`] walks through
//! the nodes, one after the other, and goes on only while [`gate`] lets it. The backends differ in nothing
//! else.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use mq_model::{
    admin::{NodeDrain, Runtime},
    config::DaemonConfig,
};

use serde::{Deserialize, Serialize};

use self::{archive::Places, lock::Lock};
use crate::{
    client::admin::Admin,
    context::Context,
    failure::{Failure, Outcome},
    output::Output,
};

pub mod agent;
pub mod archive;
pub mod authority;
#[cfg(test)]
mod cases;
pub mod entry;
pub mod export;
pub mod gate;
pub mod history;
pub mod keeper;
pub mod kubernetes;
pub mod local;
pub mod lock;
pub mod plan;
pub mod plane;
pub mod probe;
pub mod render;
pub mod roll;
pub mod service;
pub mod ssh;
pub mod tail;

/// A place that nodes run in.
///
/// `observe` and `report` change nothing. The changing methods may be called again after a failure: each
/// starts from what is there.
pub trait Backend: Sync {
    /// The directory of this machine with what is known of the fleet: what was deployed, and its authority.
    fn directory(&self) -> &Path;

    /// Where the nodes are, for people: `on this machine`.
    fn place(&self) -> String;

    /// Keeps other commands from changing the fleet until the lock is dropped. `command` is what they are
    /// told about this one.
    fn lock(&self, command: &str) -> impl Future<Output = Outcome<Lock>>;

    /// The configurations that the nodes were given last, by name.
    fn kept(&self) -> impl Future<Output = Outcome<BTreeMap<String, DaemonConfig>>>;

    /// The names of the nodes that are there, by number.
    fn nodes(&self) -> impl Future<Output = Outcome<Vec<String>>>;

    /// What the nodes have said of themselves when they started.
    fn runtimes(&self) -> impl Future<Output = Outcome<Vec<Runtime>>>;

    /// Where the node called `node` keeps its state, where it runs.
    fn state(&self, node: &str) -> PathBuf;

    /// A port for other nodes that is free and none of those in `taken`.
    fn free_port(&self, host: &str, taken: &BTreeSet<u16>) -> Outcome<u16>;

    /// The address at which other nodes reach the node, where that is not the one that it listens on.
    fn mesh_address(&self, node: &str) -> Option<String>;

    /// The node with listeners that this machine can connect to.
    fn reached(&self, runtime: &Runtime) -> Runtime;

    /// With what the owner of the node gets into it, as it was when the node was seen last.
    fn entry(&self, node: &str) -> entry::Entry;

    /// What the user's other commands have to know to find the fleet, given where it was observed.
    fn context(&self, runtimes: &[Runtime]) -> Option<Context>;

    /// Renews what nodes show to clients and to each other, where that is due, and tells them whom to believe: those
    /// that run take it without a restart. Returns the names of those that got something.
    fn renew(&self, nodes: &[DaemonConfig]) -> impl Future<Output = Outcome<Vec<String>>>;

    /// The certificates that lie at a node, as PEM, for other nodes and for clients, as far as the fleet's authority
    /// makes them.
    fn certificates(&self, node: &DaemonConfig) -> impl Future<Output = Outcome<Vec<String>>>;

    /// How long a node may take to take new files, where the user gives it so long: they may be on their way for a while.
    fn patience(&self, wait: Duration) -> Duration {
        wait
    }

    /// Those that are none of [`nodes`](Self::nodes), since they come and go by themselves, and believe the same authority:
    /// each with its configuration and the way to its admin API.
    fn others(&self) -> impl Future<Output = Outcome<Vec<(DaemonConfig, Admin)>>> {
        std::future::ready(Ok(Vec::new()))
    }

    /// Deletes what nobody needs any more: the data of removed nodes whose time is over.
    fn sweep(&self, now: Timestamp) -> impl Future<Output = Outcome>;

    /// What the fleet needs there beside its nodes, compared with what there is.
    fn surroundings(&self) -> impl Future<Output = Outcome<Vec<plan::Surrounding>>> {
        async { Ok(Vec::new()) }
    }

    /// Makes what the fleet needs beside its nodes what the plan says.
    fn surround(&self, _plan: &plan::Plan) -> impl Future<Output = Outcome> {
        async { Ok(()) }
    }

    /// Waits for what came with the surroundings and is no node of the plan.
    fn settled(&self, _deadline: Duration, _output: &Output) -> impl Future<Output = Outcome> {
        async { Ok(()) }
    }

    /// Looks at the nodes that are wanted, and at those that are there and are not.
    fn observe(&self, nodes: &[DaemonConfig]) -> impl Future<Output = Outcome<Vec<plan::ObservedNode>>>;

    /// The version of the daemon that [`start`](Self::start) would start; `None` when it does not say.
    fn version(&self) -> impl Future<Output = Outcome<Option<String>>>;

    /// Says before anything is changed all that would make [`start`](Self::start) fail. Each node comes with
    /// what it runs as now: its own ports are free for it once it has stopped.
    fn preflight(&self, starts: &[(&DaemonConfig, Option<&Runtime>)]) -> impl Future<Output = Outcome>;

    /// Starts a node and returns when it is ready.
    fn start(
        &self,
        node: &DaemonConfig,
        deadline: Duration,
        output: &Output,
    ) -> impl Future<Output = Outcome<Runtime>>;

    /// Waits for a node whose process is there already.
    fn wait_ready(
        &self,
        node: &str,
        deadline: Duration,
        output: &Output,
    ) -> impl Future<Output = Outcome<Runtime>>;

    /// Stops a node: asks, waits, and kills it after the deadline.
    fn stop(&self, node: &str, deadline: Duration, output: &Output)
    -> impl Future<Output = Outcome<Stopped>>;

    /// Asks a node to stop for good, without waiting for it; says whether there was anybody to ask.
    fn ask_to_stop(&self, node: &str) -> impl Future<Output = Outcome<bool>>;

    /// Waits for a node that was asked to stop, and kills it after the deadline.
    fn await_stop(
        &self,
        node: &str,
        deadline: Duration,
        output: &Output,
    ) -> impl Future<Output = Outcome<Stopped>>;

    /// What a running node says of itself now; with `depth` also what has left it, which takes longer.
    fn report(&self, node: &str, depth: bool) -> impl Future<Output = Outcome<gate::Report>>;

    /// Tells a running node what is to become of it, and returns what it holds.
    fn order(&self, node: &str, order: Order) -> impl Future<Output = Outcome<NodeDrain>>;

    /// What a running node holds.
    fn holds(&self, node: &str) -> impl Future<Output = Outcome<NodeDrain>>;

    /// Writes down that a node is on its way out, or that it stays after all.
    fn note_leaving(&self, node: &str, leaving: Option<plan::Leaving>) -> impl Future<Output = Outcome>;

    /// Sets the data of a stopped node aside, for as long as it is to be kept, and returns where it is.
    fn retire(&self, node: &str, retain: Duration) -> impl Future<Output = Outcome<String>>;

    /// The end of what a node has said, for people.
    fn last_words(&self, node: &str) -> impl Future<Output = Vec<String>>;

    /// The last lines of a node's log, and from then on what is added to it: what has come since the last call,
    /// whole lines only. `lines` is given with the first call.
    fn log(&self, node: &str, lines: Option<u32>) -> impl Future<Output = Outcome<Vec<u8>>>;

    /// Writes what a stopped node keeps into a new file of this machine, and returns its checksum.
    fn pack(&self, node: &str, _: &Places, _: &Path) -> impl Future<Output = Outcome<String>> {
        std::future::ready(Err(immovable(node, &self.place())))
    }

    /// Brings what such a file holds to where the node is to run, beside its place; `checksum` is the file's.
    fn unpack(&self, node: &str, _: &Places, _: &Path, _: &str) -> impl Future<Output = Outcome> {
        std::future::ready(Err(immovable(node, &self.place())))
    }

    /// Puts into its place what [`unpack`](Self::unpack) has brought.
    fn adopt(&self, node: &str, _: &Places, _: &str) -> impl Future<Output = Outcome> {
        std::future::ready(Err(immovable(node, &self.place())))
    }

    /// Deletes everything about the fleet. The nodes must have stopped.
    fn purge(&self) -> impl Future<Output = Outcome>;
}

fn immovable(node: &str, place: &str) -> Failure {
    Failure::usage(format!("what `{node}` keeps cannot be moved from or to where it is: {place}"))
        .help("fleets move between this machine and hosts over SSH")
}

/// What a node can be told of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Take no new homes.
    Cordon,
    Uncordon,
    /// Move away what you hold.
    Drain,
    Undrain,
}

impl Order {
    /// What it is called in the admin API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cordon => "cordon",
            Self::Uncordon => "uncordon",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
        }
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stopped {
    /// It was not running.
    Already,
    /// It drained and ended by itself.
    Drained,
    /// It had to be killed.
    Killed,
}
