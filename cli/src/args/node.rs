//! `mq status`, `mq node`, `mq logs`.

use clap::Subcommand;

use crate::args::View;

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
}

#[derive(Clone, Debug, clap::Args)]
pub struct NodeShow {
    /// The node's name. Default: the only node.
    pub name: Option<String>,
    #[command(flatten)]
    pub view: View,
}

/// Print the log of a node of this machine.
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
