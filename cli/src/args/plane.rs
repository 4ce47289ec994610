//! `mq plane`, which is for the nodes of fleets with another data plane than `mqd`.

use std::path::PathBuf;

use clap::Subcommand;

/// What runs in the place of `mqd` on a node.
#[derive(Clone, Debug, Subcommand)]
pub enum PlaneCommand {
    Rabbitmq(Rabbitmq),
}

/// Run a node of RabbitMQ: start the server with a configuration of its own, and serve the admin API for it.
#[derive(Clone, Debug, clap::Args)]
pub struct Rabbitmq {
    /// The node's configuration, with `dataplane: rabbitmq`.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}
