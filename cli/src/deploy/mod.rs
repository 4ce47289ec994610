//! Deploying: observe, plan, apply, observe again.
//!
//! [`plan`] decides; a [`Backend`] knows how to look at and change one kind of place; [`roll`] walks through
//! the nodes, one after the other, and goes on only while [`gate`] lets it. The backends differ in nothing
//! else.

use std::{path::PathBuf, time::Duration};

use mq_model::{
    admin::{NodeDrain, Runtime},
    config::DaemonConfig,
};

use crate::{failure::Outcome, output::Output};

pub mod authority;
#[cfg(test)]
mod cases;
pub mod gate;
pub mod history;
pub mod local;
pub mod lock;
pub mod plan;
pub mod probe;
pub mod render;
pub mod roll;

/// A place that nodes run in.
///
/// `observe` and `report` change nothing. The changing methods may be called again after a failure: each
/// starts from what is there.
pub trait Backend {
    /// Looks at the nodes that are wanted, and at those that are there and are not.
    fn observe(&self, nodes: &[DaemonConfig]) -> impl Future<Output = Outcome<Vec<plan::ObservedNode>>>;

    /// The version of the daemon that [`start`](Self::start) would start; `None` when it does not say.
    fn version(&self) -> impl Future<Output = Outcome<Option<String>>>;

    /// Says before anything is changed what would make [`start`](Self::start) fail. `held` is what the
    /// node runs as now: its own ports are free for it once it has stopped.
    fn preflight(&self, node: &DaemonConfig, held: Option<&Runtime>) -> Outcome;

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

    /// What a running node says of itself now; with `depth` also what has left it, which takes longer.
    fn report(&self, node: &str, depth: bool) -> impl Future<Output = Outcome<gate::Report>>;

    /// Tells a running node what is to become of it, and returns what it holds.
    fn order(&self, node: &str, order: Order) -> impl Future<Output = Outcome<NodeDrain>>;

    /// What a running node holds.
    fn holds(&self, node: &str) -> impl Future<Output = Outcome<NodeDrain>>;

    /// Writes down that a node is on its way out, or that it stays after all.
    fn note_leaving(&self, node: &str, leaving: Option<plan::Leaving>) -> Outcome;

    /// Sets the data of a stopped node aside, for as long as it is to be kept, and returns where it is.
    fn retire(&self, node: &str, retain: Duration) -> Outcome<PathBuf>;

    /// The end of what a node has said, for people.
    fn last_words(&self, node: &str) -> Vec<String>;
}

/// What a node can be told of its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was not running.
    Already,
    /// It drained and ended by itself.
    Drained,
    /// It had to be killed.
    Killed,
}
