//! `mq render`, and `mq agent`, which is for `mq` itself.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use mq_model::manifest::Supervision;

/// Print what a deployment would write, without a machine to write it on.
#[derive(Clone, Debug, Subcommand)]
pub enum RenderCommand {
    Kubernetes(RenderKubernetes),
    Secrets(RenderSecrets),
    /// Print the definitions of the objects that the operator looks after.
    ///
    /// They are there once for a whole cluster. Where the Fleet says `operator: true` they are among its objects.
    #[command(after_help = "Example:\n  mq render crds | kubectl apply --server-side -f -")]
    Crds,
    Operator(RenderOperator),
    Helm(RenderHelm),
    Systemd(RenderSystemd),
}

/// Print the objects that make a fleet in a Kubernetes cluster.
///
/// All of them but the Secrets, as one stream of YAML in an order in which it can be applied. No cluster is asked, and
/// the same Fleet gives the same text: it can be kept in a repository. The addresses in the files are not among them:
/// `mq apply` makes those, once the fleet runs.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq render secrets -f fleet.yaml | kubectl apply --server-side -f -
  mq render kubernetes -f fleet.yaml | kubectl apply --server-side -f -
  mq render kubernetes -f fleet.yaml --out deploy/")]
pub struct RenderKubernetes {
    /// A YAML or JSON file with a Fleet; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Write a file for each object below this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Print the Secrets with the certificates of a fleet in a Kubernetes cluster.
///
/// The fleet's own authority signs them. It lies where `mq` runs, in the folder of the fleet, beside what it has signed;
/// what is missing there, or expires before long, is made. The private keys are in what is printed.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq render secrets -f fleet.yaml | kubectl apply --server-side -f -")]
pub struct RenderSecrets {
    /// A YAML or JSON file with a Fleet; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Print what makes the fleets of `Fleet` objects in a namespace.
///
/// The definitions of the kinds, which are the cluster's, and a Deployment of `mq operator --fleets` with an account that
/// may do in its namespace what `mq deploy` does, and nothing elsewhere. One for each namespace with fleets.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq render operator --namespace messaging --image registry.example/mq:1.2.0 | kubectl apply --server-side -f -
  kubectl apply -f fleet.yaml")]
pub struct RenderOperator {
    /// The namespace of the Fleets.
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = namespace)]
    pub namespace: String,
    /// The image with `mqd` and `mq`. Default: `localhost/mq` with the version of this `mq`.
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
}

/// The name of a namespace (RFC 1123 label): 1 to 63 of `a` to `z`, `0` to `9` and `-`.
fn namespace(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().last()];
    let is_name = (1..=63).contains(&text.len())
        && ends.into_iter().flatten().all(is_plain)
        && text.bytes().all(|byte| is_plain(byte) || byte == b'-');
    if is_name { Ok(text.to_owned()) } else { Err("use 1 to 63 of `a` to `z`, `0` to `9` and `-`".into()) }
}

/// Write a Helm chart of the objects that make a fleet in a Kubernetes cluster.
///
/// Its values are the image, the size of the volumes, what pods are given and where they run. The rest is in the
/// templates as the Fleet has it: change that, and write the chart again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:
  mq render helm -f fleet.yaml --directory chart/ && helm install prod chart/")]
pub struct RenderHelm {
    /// A YAML or JSON file with a Fleet; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Write the chart into this folder.
    #[arg(short, long, value_name = "DIR")]
    pub directory: PathBuf,
}

/// Print the units of a fleet's nodes, and their configurations.
///
/// For those who put files into place with another tool. Each file has its path in front of it, unless --out
/// says where to write all of them. The certificates of the nodes are not among them: `mq deploy` makes those.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq render systemd -f fleet.yaml
  mq render systemd -f fleet.yaml --binary /opt/mq/mqd --out rendered/")]
pub struct RenderSystemd {
    /// A YAML or JSON file with a Fleet; repeatable; `-` is stdin.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The node. Default: every node of the fleet.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Units for the systemd of a user, not for that of the system.
    #[arg(long)]
    pub user: bool,
    /// The daemon on the machines.
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/mqd")]
    pub binary: PathBuf,
    /// The folder of the fleet on the machines. Default: /var/lib/mq/ and the fleet's name.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Write the files below this folder.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Do on this machine what the `mq` of another one asks over the standard streams.
#[derive(Clone, Debug, clap::Args)]
pub struct Agent {
    /// The fleet's name.
    #[arg(long)]
    pub fleet: String,
    /// The fleet's folder.
    #[arg(long)]
    pub directory: PathBuf,
    /// The folder with the programs to start nodes from.
    #[arg(long)]
    pub release: PathBuf,
    /// Who keeps the nodes running.
    #[arg(long)]
    pub supervision: Supervisor,
    #[command(subcommand)]
    pub task: Option<AgentTask>,
}

/// What an agent does in place of answering.
#[derive(Clone, Debug, Subcommand)]
pub enum AgentTask {
    /// Write what a stopped node keeps to standard output.
    Pack(NodePlaces),
    /// Read it from standard input.
    Unpack(NodePlaces),
    /// Start a node again whenever it ends unexpectedly.
    Keep {
        /// The node.
        #[arg(long)]
        node: String,
        /// Start it first: the machine has booted.
        #[arg(long)]
        boots: bool,
    },
}

/// Where a node keeps what it keeps.
#[derive(Clone, Debug, clap::Args)]
pub struct NodePlaces {
    /// The state directory.
    #[arg(long)]
    pub state: PathBuf,
    /// The folder of the log.
    #[arg(long)]
    pub store: PathBuf,
    /// What is read has to have this checksum.
    #[arg(long, default_value = "")]
    pub checksum: String,
}

/// Who keeps nodes running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Supervisor {
    Auto,
    System,
    User,
    None,
}

impl From<Supervisor> for Supervision {
    fn from(supervisor: Supervisor) -> Self {
        match supervisor {
            Supervisor::Auto => Self::Auto,
            Supervisor::System => Self::System,
            Supervisor::User => Self::User,
            Supervisor::None => Self::None,
        }
    }
}
