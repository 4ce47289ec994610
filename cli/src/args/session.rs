//! `mq session` and `mq retained`.

use clap::Subcommand;

use crate::{args::View, shape};

/// Look at and end the sessions of MQTT clients.
///
/// A session is what the fleet keeps of a client under its client identifier: subscriptions, messages that
/// wait, what is under way. One with an expiry outlives its connection.
#[derive(Clone, Debug, Subcommand)]
pub enum SessionCommand {
    /// List the sessions.
    #[command(alias = "ls")]
    List(SessionList),
    /// Show one session, with its subscriptions.
    #[command(alias = "get")]
    Show(SessionShow),
    Delete(SessionDelete),
}

#[derive(Clone, Debug, clap::Args)]
pub struct SessionList {
    /// Only clients whose identifier begins with this.
    pub prefix: Option<String>,
    /// Only clients that are connected.
    #[arg(long, conflicts_with = "away")]
    pub connected: bool,
    /// Only clients that are away.
    #[arg(long)]
    pub away: bool,
    /// At most this many.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = shape::count)]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct SessionShow {
    /// The client identifier.
    pub client: String,
    #[command(flatten)]
    pub view: View,
}

/// End a session.
///
/// Its client is disconnected, its subscriptions end, and what waits for it is dropped. A client that connects
/// again begins a new one.
#[derive(Clone, Debug, clap::Args)]
pub struct SessionDelete {
    /// The client identifier.
    pub client: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Succeed when the client has no session.
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// Look at and forget the messages that topics retain.
///
/// A topic retains the last message that was sent to a name with the wish to be retained, and gives it to
/// whoever subscribes: `mq send sensors/kitchen -m 21.5 --retain`, `mq recv 'sensors/#' --retained`.
#[derive(Clone, Debug, Subcommand)]
pub enum RetainedCommand {
    /// List retained messages.
    #[command(alias = "ls")]
    List(RetainedList),
    Delete(RetainedDelete),
}

#[derive(Clone, Debug, clap::Args)]
pub struct RetainedList {
    /// The names whose messages are listed, such as `sensors/#`.
    #[arg(default_value = "#")]
    pub filter: String,
    /// At most this many.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = shape::count)]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub view: View,
}

/// Forget retained messages.
///
/// Whoever subscribes from now on does not get them; who has them keeps them.
#[derive(Clone, Debug, clap::Args)]
pub struct RetainedDelete {
    /// The name whose message is forgotten, or a filter such as `sensors/#`.
    pub filter: String,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}
