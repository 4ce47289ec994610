//! `mq pod`, which is for the pods of a cluster.

use std::path::PathBuf;

use clap::Subcommand;

/// What the pods of a cluster run beside the daemon.
#[derive(Clone, Debug, Subcommand)]
pub enum PodCommand {
    Leave(Leave),
}

/// Before the pod is stopped: give away what the node holds, if it does not come back.
///
/// The cluster is asked whether the pod's StatefulSet is to have it. A node that comes back finds its volume, and is not
/// emptied.
#[derive(Clone, Debug, clap::Args)]
pub struct Leave {
    /// How long the node has to become empty, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    pub seconds: u32,
    /// The folder of the node's state.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
}
