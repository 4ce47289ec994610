//! `mq bench run` and `mq bench compare`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::{
    args::bench::BenchView,
    bench::{
        assertion::{Allowance, Assertion},
        report::Target,
    },
};

/// Run the load tests of a file and judge them.
///
/// The file holds `kind: Bench` documents: stages with a load and what is demanded of it. Every stage is
/// run as often as the file or --runs says. Of what is counted, such as `lost`, every run has to
/// keep a threshold; of everything else, the median of the runs.
///
/// Exit codes: 0 pass, 99 a threshold was missed, 98 worse than the baseline, 4 inconclusive or invalid
/// (the machine is too noisy or the generator was the limit), 1 a run could not be done.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq bench run ci.yaml --report json=main.json
  mq bench run ci.yaml --assert 'e2e.p99<5ms' --assert 'lost==0'
  mq bench run ci.yaml --baseline main.json --max-regress 'e2e.p99=10%' --runs 5
  mq bench run ci.yaml --report junit=out.xml --report md=summary.md --report html=report.html

What can be demanded: mq help bench-metrics")]
pub struct RunFile {
    /// A YAML or JSON file with Bench documents; `-` is stdin.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to send, in place of the file's target: SCHEME://[user[:password]@]host[:port] with amqp,
    /// amqps, mqtt or mqtts.
    #[arg(long, value_name = "URL")]
    pub target: Option<String>,
    /// A threshold that every stage has to keep, such as e2e.p99<5ms; repeatable.
    #[arg(long = "assert", value_name = "ASSERTION", value_parser = Assertion::parse)]
    pub assertions: Vec<Assertion>,
    /// A JSON report or result of an earlier run to compare with.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// How much worse than the baseline a figure may be, such as e2e.p99=10%; repeatable.
    #[arg(long, value_name = "METRIC=PERCENT", value_delimiter = ',', value_parser = Allowance::parse)]
    #[arg(requires = "baseline")]
    pub max_regress: Vec<Allowance>,
    /// How often to run each stage, in place of the file's number, 1 to 50; 5 tell a change from noise.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=50))]
    pub runs: Option<u32>,
    /// A report to write: json=FILE, junit=FILE, md=FILE, html=FILE or text=FILE; repeatable. Markdown is
    /// added to a file that exists.
    #[arg(long, value_name = "FORMAT=FILE", value_delimiter = ',', value_parser = Target::parse)]
    pub report: Vec<Target>,
    #[command(flatten)]
    pub view: BenchView,
}

/// Compare two results.
///
/// Reads what `--report json=FILE` and `-o json` write. A difference counts when it is more than chance
/// and more than is allowed; five runs on each side tell most from noise.
///
/// Exit codes: 0 the same or better, 98 worse, 4 inconclusive.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  mq bench compare main.json change.json
  mq bench compare main.json change.json --max-regress 'e2e.p99=5%' -o md")]
pub struct Compare {
    /// The result before.
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The result after.
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// What to compare, and how much worse it may be, such as e2e.p99=10%; repeatable. Default: rate,
    /// latencies and CPU time per message.
    #[arg(long, value_name = "METRIC=PERCENT", value_delimiter = ',', value_parser = Allowance::parse)]
    pub max_regress: Vec<Allowance>,
    /// How to print the comparison.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: CompareFormat,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// For people.
    #[default]
    Text,
    /// Markdown, for a comment.
    Md,
    /// One JSON document.
    Json,
}
