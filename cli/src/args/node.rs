//! `mq status`, `mq node`, `mq logs`.

use std::time::Duration;

use clap::Subcommand;

use crate::{args::View, shape};

/// Show the fleet: its nodes, what they listen on and how much they do.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    pub view: View,
}

/// Look at the nodes of the fleet.
#[derive(Clone, Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes.
    #[command(alias = "ls")]
    List(Status),
    /// Show one node with its counters.
    Show(NodeShow),
    /// Keep new homes of queues and topics away from a node; what it has, it serves.
    Cordon(NodeOrder),
    /// Let a node have new homes again.
    Uncordon(NodeOrder),
    Drain(NodeDrain),
    /// Stop emptying a node, and let it take part again. What has moved stays where it is.
    Undrain(NodeOrder),
}

#[derive(Clone, Debug, clap::Args)]
pub struct NodeOrder {
    /// The node's name.
    pub name: String,
}

/// Empty a node: what it stores moves to the others, and its clients are led there.
///
/// Waits until the node says that it holds nothing; then it can be stopped without loss. Ctrl-C ends the
/// waiting and not the draining; `mq node undrain` ends that.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeDrain {
    /// The node's name.
    pub name: String,
    /// Return at once, and leave the node to it.
    #[arg(long)]
    pub no_wait: bool,
    /// How long it may make no progress.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = shape::duration)]
    pub timeout: Duration,
}

#[derive(Clone, Debug, clap::Args)]
pub struct NodeShow {
    /// The node's name. Default: one that answers.
    pub name: Option<String>,
    #[command(flatten)]
    pub view: View,
}

/// Print what the nodes of a fleet have said, wherever they run.
#[derive(Clone, Debug, clap::Args)]
pub struct Logs {
    /// Go on printing what is written from now on.
    #[arg(short, long)]
    pub follow: bool,
    /// How many lines from the end to print first.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "100")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub lines: u32,
    /// The node. Default: every node of the fleet.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
}
