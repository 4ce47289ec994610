//! `mq connector`.

use std::path::PathBuf;

use clap::Subcommand;
use mq_model::connector::{ConnectorRoute, ConnectorUrl};

use super::{
    View,
    user::{PrincipalDelete, PrincipalList, PrincipalShow},
};

/// Connect the fleet to other brokers, and carry messages to and fro.
///
/// A connector is a connection that the fleet opens by AMQP 1.0, to another fleet, RabbitMQ, or whatever else
/// speaks it. Its routes take messages from an address of one side to one of the other; each is settled where it
/// came from with what became of it where it went, so nothing is lost when either side ends. One node at a time has
/// the connection; when that goes, another one takes over.
#[derive(Clone, Debug, Subcommand)]
pub enum ConnectorCommand {
    Create(Box<ConnectorCreate>),
    /// List the connectors: where they stand, and how much they have carried.
    #[command(alias = "ls")]
    List(PrincipalList),
    Show(ConnectorShow),
    /// Close the connection of a connector, until `mq connector resume`.
    Pause(ConnectorName),
    /// Let a connector have its connection again.
    Resume(ConnectorName),
    Credentials(ConnectorLogin),
    /// Remove a connector; messages stay where they are.
    #[command(alias = "rm")]
    Delete(PrincipalDelete),
}

/// Create a connector.
///
/// The flags are what most need; a file for `mq apply -f` says more, see `mq explain Connector`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq connector create plant amqps://plant.example --send telemetry --receive commands
  pass show hq | mq connector create hq amqps://broker.example:5671 --login mq --password-stdin \\
    --server-ca ca.pem --send 'readings::archive=/queues/readings'")]
pub struct ConnectorCreate {
    /// The name: lower case letters, digits and `-`, at most 63.
    pub name: String,
    /// A server, amqps://HOST[:PORT] or amqp://HOST[:PORT]; several are tried one after the other.
    #[arg(value_name = "URL", required = true, value_parser = server)]
    pub urls: Vec<String>,
    /// Take messages from FROM, an address of the server, to TO, one of the fleet; both are called alike without `=`.
    /// Repeatable.
    #[arg(long, value_name = "FROM[=TO]", value_parser = route)]
    pub receive: Vec<ConnectorRoute>,
    /// Take messages from FROM, an address of the fleet or `TOPIC::SUBSCRIPTION`, to TO, one of the server. Repeatable.
    #[arg(long, value_name = "FROM[=TO]", value_parser = route)]
    pub send: Vec<ConnectorRoute>,
    /// The name to log in to the server with; --password-stdin gives its password.
    #[arg(long, value_name = "NAME")]
    pub login: Option<String>,
    /// The host to ask the server for, such as `vhost:NAME` of RabbitMQ, in place of that in the URL.
    #[arg(long, value_name = "NAME")]
    pub virtual_host: Option<String>,
    /// TLS: the authorities of the server's certificate as PEM, in place of those that each node's system trusts.
    #[arg(long, value_name = "FILE")]
    pub server_ca: Option<PathBuf>,
    /// TLS: the name in the server's certificate, in place of the host in the URL.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// TLS: the certificate that is shown to the server, as PEM.
    #[arg(long, value_name = "FILE", requires = "login_key")]
    pub login_cert: Option<PathBuf>,
    /// TLS: the private key of --login-cert, as PEM. The fleet keeps it.
    #[arg(long, value_name = "FILE", requires = "login_cert")]
    pub login_key: Option<PathBuf>,
    /// Create it without a connection; `mq connector resume` gives it one.
    #[arg(long)]
    pub paused: bool,
}

/// Show one connector and its routes. What it logs in with is not to be had.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectorShow {
    #[command(flatten)]
    pub which: PrincipalShow,
}

#[derive(Clone, Debug, clap::Args)]
pub struct ConnectorName {
    /// The connector, `SPACE/NAME` in a space other than `default`.
    pub name: String,
}

/// Set what a connector logs in with: a password with --password-stdin, a private key with --login-key.
///
/// What is not named stays. The connection is made anew with it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  pass show hq | mq connector credentials hq --password-stdin
  mq connector credentials hq --no-password --login-key hq.key")]
pub struct ConnectorLogin {
    /// The connector, `SPACE/NAME` in a space other than `default`.
    pub name: String,
    /// Forget the password.
    #[arg(long, conflicts_with = "password_stdin")]
    pub no_password: bool,
    /// The private key of the certificate that it shows, as PEM.
    #[arg(long, value_name = "FILE", conflicts_with = "no_key")]
    pub login_key: Option<PathBuf>,
    /// Forget the private key.
    #[arg(long)]
    pub no_key: bool,
}

impl ConnectorShow {
    /// How to print it.
    pub fn view(&self) -> View {
        self.which.view
    }
}

fn server(text: &str) -> Result<String, String> {
    text.parse::<ConnectorUrl>().map(|_| text.to_owned())
}

fn route(text: &str) -> Result<ConnectorRoute, String> {
    let (from, to) = text.split_once('=').unwrap_or((text, text));
    if from.is_empty() || to.is_empty() {
        return Err("write `FROM=TO`, or one name for both".to_owned());
    }
    Ok(ConnectorRoute { from: from.to_owned(), to: to.to_owned(), selector: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_has_one_name_or_two() {
        let ends = |text| route(text).map(|route| (route.from, route.to));
        assert_eq!(ends("a"), Ok(("a".into(), "a".into())));
        assert_eq!(ends("t::sub=/queues/a=b"), Ok(("t::sub".into(), "/queues/a=b".into())));
        for text in ["", "=", "a=", "=b"] {
            assert!(ends(text).is_err(), "{text}");
        }
    }
}
