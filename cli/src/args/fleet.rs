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
    Export(Export),
    Import(Import),
    HandOver(HandOver),
}

/// Write a fleet into a folder, for another machine to change it from or another place to run in.
///
/// What was deployed and the fleet's authority are on the machine that it was deployed from. Another one that imports
/// the folder can change the fleet as well; it has to be done again after a deployment or `mq fleet rotate-ca`
/// elsewhere.
///
/// With --data the folder also has what the nodes keep: addresses, address spaces, users with their passwords, stored
/// and retained messages, sessions. The fleet has to be stopped for it (`mq undeploy` keeps everything).
///
/// The key of the authority is in the folder: keep it as you keep passwords.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq fleet export prod/
  mq undeploy && mq fleet export prod/ --data")]
pub struct Export {
    /// The folder, which must not be there yet.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// Write what the nodes keep as well.
    #[arg(long)]
    pub data: bool,
}

/// Take over a fleet that `mq fleet export` has written.
///
/// Without data in the folder this machine learns what was deployed and gets the fleet's authority: from then on it can
/// change the fleet. With data the nodes get theirs where the files say that they run, which may be another place than
/// before; then `mq deploy` starts them. Names of fleet and nodes stay, and there are at least as many nodes.
///
/// Each node's data is compared with its checksum where it arrives, and is in its place when all have arrived; the same
/// command goes on where it was interrupted. What this machine knows of the place before is set aside for --retain.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq fleet import prod/                      # then change the fleet from here
  mq fleet import prod/ -f elsewhere.yaml    # the same document with another `target`
  mq deploy")]
pub struct Import {
    /// The folder.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// A YAML or JSON file with the Fleet as it is to be from now on; repeatable; `-` is stdin. Default: as it was.
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The mqd binary, as of `mq deploy`.
    #[arg(long, value_name = "FILE")]
    pub mqd: Vec<PathBuf>,
    /// How long what the nodes had in the place before is kept there.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = shape::duration)]
    pub retain: Duration,
}

/// Give a fleet in a cluster to the operator of fleets there, and print the `Fleet` object that describes it.
///
/// What this machine knows of the fleet, its authority with the key above all, goes into the Secret `<fleet>-fleet` of the
/// fleet's namespace. An operator takes the fleet over when the object is applied, and no node is restarted for it; from
/// then on the object says what the fleet is. Until then `mq deploy` takes the fleet back.
///
/// The other way round: an object that has the annotation `mq.messaging/release: "true"` leaves its fleet as it is when
/// it is deleted, and `mq deploy`, on any machine, goes on with that.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq fleet hand-over > fleet.yaml
  mq fleet hand-over --name prod | kubectl apply -f -")]
pub struct HandOver {
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
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
    /// How long a node may take to take its new files; in a cluster, which brings them in its own time, at least 5 minutes.
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
