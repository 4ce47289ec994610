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
    Add(ContextAdd),
    Set(ContextSet),
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

/// Add a context for a fleet that something else deployed, or for any other broker, or change one.
///
/// `--user`, `--password-file`, `--space`, `--ca`, `--cert` and `--key` say who the commands of the context are and
/// whom they trust. The context holds no secret: a password on stdin goes into the keyring, as with `mq login`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq context add prod --amqp amqps://broker.example.org --http https://broker.example.org:8443
  mq context add other --url amqps://broker.example.org --user ann --password-command 'pass show broker/ann'
  mq context add lab --url mqtts://mosquitto.example.org --ca ca.pem --cert me.pem --key me.key")]
pub struct ContextAdd {
    /// The context's name.
    pub name: String,
    /// Where AMQP is served: amqp://host[:port]. It must not hold a password. Repeat it for each node of a
    /// fleet of several: commands then use one that answers.
    #[arg(long, value_name = "URL")]
    pub amqp: Vec<String>,
    /// Where MQTT is served: mqtt://host:port; of each node, in the same order.
    #[arg(long, value_name = "URL")]
    pub mqtt: Vec<String>,
    /// Where the admin API is served: http://host:port; of each node, in the same order.
    #[arg(long = "http", value_name = "URL")]
    pub http: Vec<String>,
    #[command(flatten)]
    pub source: PasswordFrom,
}

/// Change who the commands of a context are, and whom they trust: what `--user`, `--password-file`, `--ca`, `--cert`
/// and `--key` say from now on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq context set prod --user ann --password-file ~/.mq/ann
  mq context set prod --unset user")]
pub struct ContextSet {
    /// The context's name.
    pub name: String,
    #[command(flatten)]
    pub source: PasswordFrom,
    /// Take back what the context says; repeatable.
    #[arg(long, value_name = "FIELD")]
    pub unset: Vec<AccessField>,
}

/// Where the password of a context is found, beside --password-file.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PasswordFrom {
    /// An environment variable that holds the password.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["password_command", "password_file", "password_stdin"])]
    pub password_env: Option<String>,
    /// A command whose first line of output is the password; `sh` runs it each time.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["password_file", "password_stdin"])]
    pub password_command: Option<String>,
}

/// What a context says of who commands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AccessField {
    /// The user, and where his password is.
    User,
    /// The address space.
    Space,
    /// The identity provider.
    Oidc,
    /// Whom to trust.
    Ca,
    /// The certificate to show, and its key.
    Cert,
}
