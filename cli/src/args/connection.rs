//! `mq connection` and `mq link`.

use clap::Subcommand;

use crate::args::View;

/// Look at and close client connections.
#[derive(Clone, Debug, Subcommand)]
pub enum ConnectionCommand {
    /// List the connections.
    #[command(alias = "ls")]
    List(ConnectionList),
    /// Show one connection with its sessions.
    Show(ConnectionShow),
    /// Close a connection; the client is told why.
    Close(ConnectionClose),
}

#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionList {
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionShow {
    /// The connection's id, as `mq connection list` prints it.
    pub id: String,
    #[command(flatten)]
    pub view: View,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ConnectionClose {
    /// The connection's id, as `mq connection list` prints it.
    pub id: String,
    /// What the client is told.
    #[arg(long, value_name = "TEXT", default_value = "closed by an operator")]
    pub reason: String,
}

/// Look at links: who sends to and receives from what.
#[derive(Clone, Debug, Subcommand)]
pub enum LinkCommand {
    /// List the links.
    #[command(alias = "ls")]
    List(LinkList),
}

#[derive(Clone, Debug, clap::Args)]
pub struct LinkList {
    /// Only links of this address.
    #[arg(long, value_name = "NAME")]
    pub address: Option<String>,
    /// Only links of this connection.
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    #[command(flatten)]
    pub view: View,
}
