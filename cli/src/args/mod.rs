//! The command line, a file per noun. The doc comments are the help, the man pages and the
//! reference: they are written for users.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::env;

pub mod address;
pub mod bench;
pub mod bench_verdict;
pub mod connection;
pub mod connector;
pub mod context;
pub mod deploy;
pub mod fleet;
pub mod login;
pub mod message;
pub mod meta;
pub mod node;
pub mod operator;
pub mod plane;
pub mod pod;
pub mod render;
pub mod session;
pub mod space;
pub mod subscription;
pub mod user;

/// Messaging as a service, from the command line.
///
/// `mq` deploys a fleet of mqd daemons from one YAML file and talks AMQP 1.0 and MQTT 5.0 to it: it
/// sends, receives, requests and replies.
///
/// Start here: `mq deploy`, then `mq check`, then `mq address create telemetry --type anycast`,
/// `mq recv telemetry` and, in another terminal, `mq send telemetry hello`.
#[derive(Debug, Parser)]
#[command(name = "mq", version, disable_help_subcommand = true, subcommand_required = true)]
#[command(arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Topics: mq help exit-codes | environment | addresses | output | templates | records | bench-metrics"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command accepts.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The context to use, in place of the current one.
    #[arg(long, global = true, value_name = "NAME", env = env::CONTEXT, hide_env_values = true)]
    pub context: Option<String>,
    /// The AMQP URL to connect to, in place of the context's: amqp://[user[:password]@]host[:port].
    #[arg(long, global = true, value_name = "URL", env = env::URL, hide_env_values = true)]
    pub url: Option<String>,
    /// The URL of the admin API, in place of the context's: http://host:port.
    #[arg(long, global = true, value_name = "URL", env = env::ADMIN, hide_env_values = true)]
    pub admin: Option<String>,
    /// The user that a command is in messaging and in the admin API, `name@space` where he is of another address
    /// space than `default`; without one it is anonymous.
    #[arg(long, global = true, value_name = "NAME", env = env::USER, hide_env_values = true)]
    pub user: Option<String>,
    /// The address space that a command is about, in place of the user's own or `default`.
    ///
    /// In messaging a user without `@space` is one of it, and an anonymous client of AMQP asks for it.
    #[arg(long, global = true, value_name = "NAME", env = env::SPACE, hide_env_values = true)]
    pub space: Option<String>,
    /// A file whose first line is the password; `-` is stdin.
    ///
    /// The environment variable MQ_PASSWORD and --password-stdin are the alternatives. There is no flag for the password
    /// itself: every user of the machine could read it in the list of processes.
    #[arg(long, global = true, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Read the password from the first line of stdin.
    ///
    /// In `mq user create` and `mq user passwd` that is the password which the user gets.
    #[arg(long, global = true, conflicts_with = "password_file")]
    pub password_stdin: bool,
    /// TLS: certificates to trust besides those of this system, as PEM.
    ///
    /// Those of a fleet that `mq deploy` runs on this machine are known without it.
    #[arg(long, global = true, value_name = "FILE", env = env::CA, hide_env_values = true)]
    pub ca: Option<PathBuf>,
    /// TLS: the certificate to show, as PEM.
    #[arg(long, global = true, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,
    /// TLS: the private key of --cert, as PEM.
    #[arg(long, global = true, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
    /// TLS: believe whoever answers, whatever certificate is shown. Passwords may go to anybody.
    #[arg(long, global = true)]
    pub insecure: bool,
    /// When to use colour.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say nothing on stderr but errors.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// How lists and objects are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people.
    #[default]
    Table,
    /// A table with every column.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// YAML.
    Yaml,
    /// Names only, one per line.
    Name,
}

impl Format {
    /// Whether a program reads the output.
    pub fn is_structured(self) -> bool {
        matches!(self, Self::Json | Self::Jsonl | Self::Yaml)
    }
}

/// `-o`, for commands that print lists or objects.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct View {
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Leave out the line of column titles.
    #[arg(long)]
    pub no_headers: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    Deploy(Box<deploy::Deploy>),
    Scale(Box<deploy::Scale>),
    Restart(Box<deploy::Restart>),
    Upgrade(Box<deploy::Upgrade>),
    Undeploy(deploy::Undeploy),
    Status(node::Status),
    Login(login::Login),
    Logout(login::Logout),
    Check(message::Check),
    Send(message::Send),
    Recv(message::Recv),
    Browse(message::Browse),
    Request(message::Request),
    Reply(message::Reply),
    Bench(Box<bench::Bench>),
    #[command(subcommand)]
    Address(address::AddressCommand),
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    #[command(subcommand)]
    Session(session::SessionCommand),
    #[command(subcommand)]
    Retained(session::RetainedCommand),
    Apply(address::Apply),
    #[command(subcommand)]
    Fleet(fleet::FleetCommand),
    #[command(subcommand)]
    Node(node::NodeCommand),
    #[command(subcommand)]
    Space(space::SpaceCommand),
    #[command(subcommand)]
    Profile(space::ProfileCommand),
    #[command(subcommand)]
    User(user::UserCommand),
    #[command(subcommand)]
    Role(user::RoleCommand),
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    #[command(subcommand)]
    Connection(connection::ConnectionCommand),
    #[command(subcommand)]
    Link(connection::LinkCommand),
    Logs(node::Logs),
    #[command(subcommand)]
    Render(render::RenderCommand),
    Operator(operator::Operator),
    #[command(subcommand)]
    Context(context::ContextCommand),
    Explain(meta::Explain),
    Completions(meta::Completions),
    #[command(hide = true)]
    Generate(meta::Generate),
    #[command(hide = true)]
    Agent(render::Agent),
    #[command(hide = true, subcommand)]
    Plane(plane::PlaneCommand),
    #[command(hide = true, subcommand)]
    Pod(pod::PodCommand),
    Version(meta::Version),
    Help(meta::Help),
}
