//! `mq deploy`, `mq scale`, `mq restart` and `mq undeploy`.

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;

use crate::{
    args::{Format, View},
    shape,
};

/// Deploy a fleet, or bring a deployed one up to date.
///
/// Compares what the files want with what runs, prints the plan with its consequences, and does what is
/// missing, one node after the other: the next one is touched when the last one is ready, runs with the
/// right configuration, has its links and has recovered what it stored. A step that fails stops there, with
/// the reason and the node's last words; the same command goes on from there. Run it as often as you like.
///
/// Without a file it deploys what was deployed last, or else the default fleet: one mqd on this machine, on
/// loopback, AMQP on port 5672, MQTT on port 1883 and the admin API on port 8080. The daemons keep running
/// when the command has ended; `mq undeploy` stops them.
///
/// With `target: {ssh: {hosts: [...]}}` the nodes run on other machines, which are reached with your `ssh`:
/// mq and mqd are sent there once, checked there, and kept beside the last ones. All problems of all hosts
/// are said before anything is changed, in a dry run as well. What was deployed and the authority of the fleet
/// stay on this machine.
///
/// A node that is not wanted any more is emptied first: what it stores moves to the others. Addresses that
/// are not in the files are left alone, unless --prune says otherwise.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  mq deploy
  mq deploy -f fleet.yaml --dry-run
  mq deploy -f manifests/examples/three-nodes.yaml --verify
  mq deploy --name test --amqp-port 0 --mqtt-port 0 --http-port 0
  mq deploy history
  mq deploy rollback")]
pub struct Deploy {
    #[command(subcommand)]
    pub command: Option<DeployCommand>,
    /// A YAML or JSON file with a Fleet and its Address documents; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The fleet's name, in place of the file's. Default: `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// How many nodes, in place of the file's number.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub nodes: Option<u32>,
    /// The port for AMQP, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub amqp_port: Option<u16>,
    /// The port for MQTT, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub mqtt_port: Option<u16>,
    /// The port of the admin API, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// The port for other nodes, in place of the file's; 0 picks free ones and keeps them.
    #[arg(long, value_name = "PORT")]
    pub mesh_port: Option<u16>,
    /// Delete the addresses that are not in the files.
    #[arg(long)]
    pub prune: bool,
    /// Restart the nodes even when nothing has changed.
    #[arg(long)]
    pub restart: bool,
    #[command(flatten)]
    pub roll: RollOptions,
}

/// How the nodes are walked through.
#[derive(Clone, Debug, clap::Args)]
pub struct RollOptions {
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask: close connections whose clients have nowhere else to go, delete what --prune finds.
    #[arg(short, long)]
    pub yes: bool,
    /// How long each node may take to become ready and find its neighbours, and to stop.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub wait: Duration,
    /// How long a node that is being emptied may make no progress.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = shape::duration)]
    pub drain_timeout: Duration,
    /// How long a restarted node has to be well, and an emptied one empty, before the roll goes on.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = shape::duration)]
    pub soak: Duration,
    /// How long the data of a removed node is kept.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = shape::duration)]
    pub retain: Duration,
    /// A node that cannot say what it holds, and whose messages are given up; repeatable. It may be removed (its
    /// data is kept), and so may the addresses that it is home of.
    #[arg(long, value_name = "NODE")]
    pub abandon: Vec<String>,
    /// Send and receive numbered messages all the while, and say what became of them; exit 1 when one is lost.
    #[arg(long)]
    pub verify: bool,
    /// The mqd binary; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it.
    /// Default: MQ_MQD, then beside `mq`, then in PATH.
    #[arg(long, value_name = "FILE")]
    pub mqd: Vec<PathBuf>,
    /// In a cluster, take the fields that somebody else has changed from them, in place of refusing.
    #[arg(long)]
    pub force_conflicts: bool,
    /// How to print the plan.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Look at what was deployed, and go back to it.
#[derive(Clone, Debug, Subcommand)]
pub enum DeployCommand {
    History(History),
    Rollback(Rollback),
}

/// List the last 20 deployments, or print the manifest of one.
#[derive(Clone, Debug, clap::Args)]
pub struct History {
    /// The number of the deployment whose manifest to print.
    pub revision: Option<u64>,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    #[command(flatten)]
    pub view: View,
}

/// Deploy the manifest of an earlier deployment.
///
/// Addresses that came later are left alone, unless --prune says otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct Rollback {
    /// The number of the deployment, from `mq deploy history`. Default: the last one that was applied and
    /// wanted something else.
    pub revision: Option<u64>,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// Delete the addresses that are not in that manifest.
    #[arg(long)]
    pub prune: bool,
    #[command(flatten)]
    pub roll: RollOptions,
}

/// Change the number of nodes of a fleet.
///
/// Nodes that are added serve everything at once; nobody is restarted for them. The nodes with the highest
/// numbers go first: each is asked what it holds, moves it to the others, says that it is empty, and only
/// then is stopped. A node that does not answer is not empty: the command stops there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq scale 5
  mq scale 2 --dry-run
  mq scale 2 --verify")]
pub struct Scale {
    /// How many nodes the fleet is to have.
    #[arg(value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub nodes: u32,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    #[command(flatten)]
    pub roll: RollOptions,
}

/// Restart nodes of a fleet, one after the other.
///
/// The next one is restarted when the last one is ready, has its links and has recovered what it stored, so
/// that clients always find a node.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq restart --rolling
  mq restart --rolling --verify
  mq restart node-2")]
pub struct Restart {
    /// The nodes to restart.
    #[arg(value_name = "NODE", required_unless_present = "rolling", conflicts_with = "rolling")]
    pub nodes: Vec<String>,
    /// Restart every node.
    #[arg(long)]
    pub rolling: bool,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    #[command(flatten)]
    pub roll: RollOptions,
}

/// Have the nodes of a fleet run from other programs, one after the other.
///
/// The same as `mq deploy --mqd` without a file: each node is restarted from the new programs, and the next one when
/// it is well. Over SSH the ones before stay on the hosts, so that the way back is short.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq upgrade --binary ./mqd-new
  mq upgrade --binary dist/x86_64/mqd --binary dist/aarch64/mqd --verify
  mq upgrade --image registry.example/mq:1.2.0")]
pub struct Upgrade {
    /// The new mqd; over SSH repeatable, one for each architecture, with the `mq` of the same build beside it.
    #[arg(long, value_name = "FILE", required_unless_present = "image", conflicts_with = "image")]
    pub binary: Vec<PathBuf>,
    /// The new image, of a fleet in a Kubernetes cluster.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    #[command(flatten)]
    pub roll: RollOptions,
}

/// Stop a fleet.
///
/// Each node lets unsettled deliveries settle, closes its connections and ends. Its addresses are
/// kept, and are there again after the next `mq deploy`, unless --purge says otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct Undeploy {
    /// The fleet's name. Default: that of the context in use, then `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Delete the fleet's state as well: addresses, configuration and logs.
    #[arg(long)]
    pub purge: bool,
    /// How long a node may take to stop before it is killed.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub wait: Duration,
}
