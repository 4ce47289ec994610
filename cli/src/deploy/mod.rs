//! Deploying: observe, plan, apply, observe again.
//!
//! [`plan`] decides; a [`Backend`] knows how to look at and change one kind of place. The backends
//! differ in nothing else.

use std::time::Duration;

use mq_model::{admin::Runtime, config::DaemonConfig};

use crate::{failure::Outcome, output::Output};

pub mod local;
pub mod plan;

/// A place that nodes run in.
///
/// `observe` changes nothing. The changing methods may be called again after a failure: each starts
/// from what is there.
pub trait Backend {
    /// Looks at the nodes that are wanted.
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
