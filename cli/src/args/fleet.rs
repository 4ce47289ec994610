//! `mq fleet`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::args::Format;

/// Look at the fleet as a whole.
#[derive(Clone, Debug, Subcommand)]
pub enum FleetCommand {
    Graph(Graph),
    Drift(Drift),
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
