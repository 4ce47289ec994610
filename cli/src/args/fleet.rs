//! `mq fleet`.

use std::{path::PathBuf, time::Duration};

use clap::{Subcommand, ValueEnum};

use crate::{args::Format, shape};

/// Look at the fleet as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetCommand {
    Graph(Graph),
    Drift(Drift),
    RotateCa(RotateCa),
}

/// Compare the fleet with what was deployed last; exit 1 when something is different.
///
/// Prints the steps of `mq deploy` that would repair it, and does none of them.
#[derive(Clone, Debug, clap::Args)]
pub struct Drift {
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// The mqd binary, as of `mq deploy`.
    #[arg(long, value_name = "FILE")]
    pub mqd: Vec<PathBuf>,
    /// How to print what is different.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Put another certificate authority in the place of the fleet's own.
///
/// First every node trusts both, then every node gets certificates of the new one, then the new one alone is
/// trusted. Nodes take their files while they run: nothing is restarted, no link is cut, and a node that does not
/// follow stops the rotation before anybody refuses it. The same command goes on where it was interrupted.
///
/// Clients that trust the fleet's authority (`ca/ca.pem` below the fleet's directory) need that file again: --hold
/// stops when it has both, so that they can be given it in time. Certificates that you have brought yourself stay.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq fleet rotate-ca --dry-run
  mq fleet rotate-ca --hold     # then give clients ca.pem
  mq fleet rotate-ca")]
pub struct RotateCa {
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// Print what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Stop when every node trusts both authorities.
    #[arg(long)]
    pub hold: bool,
    /// How long a node may take to take its new files.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub wait: Duration,
}

/// Show which nodes are neighbours, what their links cost, and which way leads to each.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq fleet graph
  mq fleet graph --from node-3
  mq fleet graph -o dot | dot -Tsvg > fleet.svg")]
pub struct Graph {
    /// The node whose view it is. Default: one that answers.
    #[arg(long, value_name = "NODE")]
    pub from: Option<String>,
    /// How to print it.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: GraphFormat,
    /// Leave out the lines of column titles.
    #[arg(long)]
    pub no_headers: bool,
}

/// How a graph is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A table of the nodes and a table of the links.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// YAML.
    Yaml,
    /// A graph for Graphviz.
    Dot,
}
