//! Commands about `mq` itself.

use std::path::PathBuf;

use clap::ValueEnum;
use clap_complete::Shell;

/// Explain a field of the YAML documents, or the code of an error.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq explain Address.spec
  mq explain Fleet.spec.listeners
  mq explain MQ0107")]
pub struct Explain {
    /// A path such as `Address.spec.slowConsumer`, or a code such as `MQ0107`.
    pub path: String,
    /// How to print the explanation.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: ExplainFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    Text,
    Json,
}

/// Print the completion script of a shell.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq completions bash > ~/.local/share/bash-completion/completions/mq
  mq completions zsh > \"${fpath[1]}/_mq\"
  mq completions fish > ~/.config/fish/completions/mq.fish")]
pub struct Completions {
    /// The shell.
    #[arg(value_parser = clap::value_parser!(Shell))]
    pub shell: Shell,
}

/// Write the files that are generated from the command line and the data model.
#[derive(Clone, Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("mode").required(true).args(["write", "check"]))]
pub struct Generate {
    /// Write the files.
    #[arg(long)]
    pub write: bool,
    /// Compare the files with what would be written; exit 1 when one is stale.
    #[arg(long)]
    pub check: bool,
    /// The root of the source tree.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
}

/// Print the version of `mq` and of the fleet's nodes.
#[derive(Clone, Debug, clap::Args)]
pub struct Version {
    /// Print the version of `mq` only.
    #[arg(long)]
    pub client: bool,
}

/// Print the help of a command, or a topic.
///
/// Topics: exit-codes, environment, addresses, output, templates, records.
#[derive(Clone, Debug, clap::Args)]
pub struct Help {
    /// A command, such as `address create`, or a topic.
    #[arg(value_name = "TOPIC")]
    pub words: Vec<String>,
}
