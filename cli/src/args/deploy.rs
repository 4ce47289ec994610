//! `mq deploy` and `mq undeploy`.

use std::{path::PathBuf, time::Duration};

use crate::{args::Format, shape};

/// Deploy a fleet, or bring a deployed one up to date.
///
/// Compares what the files want with what runs, prints the plan with its consequences, and does what is
/// missing: run it as often as you like. Without a file it deploys the default fleet: one mqd on
/// this machine, on loopback, AMQP on port 5672, MQTT on port 1883 and the admin API on port 8080. The
/// daemon keeps running when the command has ended; `mq undeploy` stops it.
///
/// Addresses that are not in the files are left alone, unless --prune says otherwise.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq deploy
  mq deploy -f fleet.yaml --dry-run
  mq deploy --name test --amqp-port 0 --mqtt-port 0 --http-port 0")]
pub struct Deploy {
    /// A YAML or JSON file with a Fleet and its Address documents; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The fleet's name, in place of the file's. Default: `default`.
    #[arg(long, value_name = "FLEET")]
    pub name: Option<String>,
    /// The port for AMQP, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub amqp_port: Option<u16>,
    /// The port for MQTT, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub mqtt_port: Option<u16>,
    /// The port of the admin API, in place of the file's; 0 picks a free one.
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<u16>,
    /// Print the plan and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask: restart nodes that have connections, delete what --prune finds.
    #[arg(short, long)]
    pub yes: bool,
    /// Delete the addresses that are not in the files.
    #[arg(long)]
    pub prune: bool,
    /// Restart the nodes even when nothing has changed.
    #[arg(long)]
    pub restart: bool,
    /// How long each node may take to become ready, and to stop.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = shape::duration)]
    pub wait: Duration,
    /// The mqd binary. Default: MQ_MQD, then beside `mq`, then in PATH.
    #[arg(long, value_name = "FILE")]
    pub mqd: Option<PathBuf>,
    /// How to print the plan.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
}

/// Stop a fleet of this machine.
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
