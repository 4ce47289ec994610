//! `mq context`.

use clap::Subcommand;

use crate::args::View;

/// Choose which fleet the other commands talk to.
///
/// A context is a name for where a fleet is reached. `mq deploy` writes one for every fleet and makes
/// it the current one.
#[derive(Clone, Debug, Subcommand)]
pub enum ContextCommand {
    /// List the contexts; the current one is marked.
    #[command(alias = "ls")]
    List(ContextList),
    /// Make a context the current one.
    Use(ContextName),
    /// Show a context.
    Show(ContextShow),
    /// Add a context for a fleet that something else deployed, or change one.
    Add(ContextAdd),
    /// Delete a context. The fleet itself is not touched.
    #[command(alias = "rm")]
    Delete(ContextName),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ContextList {
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ContextName {
    /// The context's name.
    pub name: String,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ContextShow {
    /// The context's name. Default: the one in use.
    pub name: Option<String>,
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ContextAdd {
    /// The context's name.
    pub name: String,
    /// Where AMQP is served: amqp://host[:port]. It must not hold a password. Repeat it for each node of a
    /// fleet of several: commands then use one that answers.
    #[arg(long, value_name = "URL", required = true)]
    pub amqp: Vec<String>,
    /// Where MQTT is served: mqtt://host:port; of each node, in the same order.
    #[arg(long, value_name = "URL")]
    pub mqtt: Vec<String>,
    /// Where the admin API is served: http://host:port; of each node, in the same order.
    #[arg(long = "http", value_name = "URL")]
    pub http: Vec<String>,
}
