//! `mq bench`.

use std::time::Duration;

use clap::{Subcommand, ValueEnum, builder::PossibleValue};

use super::bench_verdict::{Compare, RunFile};
use crate::{
    bench::{
        assertion::Assertion,
        payload,
        result::{MqttVersion, SizeDescription, Step},
    },
    shape,
};

/// Measure rate, latency, losses and cost of an address.
///
/// Without a shape: senders and receivers of one address (`pipe`). With --rate the load keeps a schedule that
/// does not wait for the target, and latency counts from the intended time of each message; without it the
/// load is as fast as credit allows, and latencies are service times. A result whose generator could not
/// keep up is marked as invalid: exit code 4. Anything that speaks AMQP 1.0, MQTT 5.0 or MQTT 3.1.1 can be the
/// target, by URL.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(arg_required_else_help = true)]
#[command(after_help = "Examples:
  mq bench telemetry --senders 4 --receivers 4 --size 100 --duration 10s
  mq bench telemetry --rate 50k --duration 30s --warmup 5s
  mq bench amqp://192.0.2.7/telemetry --rate 10k --size 100..4096 -o json > result.json
  mq bench mqtt://192.0.2.7/sensors/kitchen --qos 1 --rate 10k
  mq bench mqtt://192.0.2.7/bench/{n} -x 4 -y 4    # {n}: four topics, a sender and a receiver each
  mq bench request time --rate 2k
  mq bench connect --connections 20k
  mq bench fanout events --receivers 50 --rate 1k
  mq bench sweep telemetry --rate 1k,5k,20k
  mq bench max telemetry --slo 'e2e.p99<10ms'
  mq bench run ci.yaml --assert 'lost==0' --baseline main.json --report html=report.html
  mq bench compare main.json change.json

An address that has the name of a shape is written `mq bench pipe send`.")]
pub struct Bench {
    #[command(subcommand)]
    pub shape: Option<BenchCommand>,
    #[command(flatten)]
    pub pipe: Pipe,
}

/// What the load looks like.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    Pipe(Pipe),
    Send(SendLoad),
    Recv(RecvLoad),
    Request(RequestLoad),
    Connect(ConnectLoad),
    Fanout(Fanout),
    Fanin(Fanin),
    Sweep(Sweep),
    Max(Max),
    Run(RunFile),
    Compare(Compare),
}

/// Send to an address and receive from it.
#[derive(Clone, Debug, clap::Args)]
pub struct Pipe {
    /// The address, or SCHEME://[user[:password]@]host[:port]/address with amqp, amqps, mqtt or mqtts.
    // Required, and absent all the same where another shape is named.
    #[arg(required = true)]
    pub address: Option<String>,
    #[command(flatten)]
    pub senders: Senders,
    #[command(flatten)]
    pub receivers: Receivers,
    #[command(flatten)]
    pub sending: Sending,
}

/// Send to an address; somebody else receives.
#[derive(Clone, Debug, clap::Args)]
pub struct SendLoad {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub senders: Senders,
    #[command(flatten)]
    pub sending: Sending,
}

/// Receive what other benches send to an address.
///
/// The load begins with the first message. Latency is known for senders on this machine only: two machines
/// have no common clock.
#[derive(Clone, Debug, clap::Args)]
pub struct RecvLoad {
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub receivers: Receivers,
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Send requests, answer them, and measure round trips.
///
/// Needs a target that makes up reply addresses and has an anonymous relay, as mqd has, or MQTT 5.0.
#[derive(Clone, Debug, clap::Args)]
pub struct RequestLoad {
    #[command(flatten)]
    pub place: Place,
    /// Connections that ask, 1 to 10,000.
    #[arg(short = 'x', long = "requesters", alias = "senders", value_name = "COUNT", default_value = "1")]
    #[arg(value_parser = links())]
    pub requesters: u32,
    /// Connections that answer with the request's body; 0 when a service answers already.
    #[arg(short = 'y', long = "responders", alias = "receivers", value_name = "COUNT", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub responders: u32,
    #[command(flatten)]
    pub sending: Sending,
}

/// Open many connections and keep them idle.
#[derive(Clone, Debug, clap::Args)]
pub struct ConnectLoad {
    /// The address of a link that each connection attaches, or a URL; without an address, connections only.
    pub address: Option<String>,
    /// How many connections.
    #[arg(short = 'c', long, value_name = "COUNT", default_value = "1k", value_parser = connections)]
    pub connections: u64,
    /// Connections to begin per second; without it as many as 64 are under way at one time.
    #[arg(short, long, value_name = "RATE", value_parser = shape::rate)]
    pub rate: Option<u64>,
    /// How long the connections are kept before their memory is looked at.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = shape::duration)]
    pub idle: Duration,
    /// How long one connection may take to open.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = shape::duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub wire: WireArgs,
    #[command(flatten)]
    pub view: BenchView,
}

/// Send from one link to many receivers, each of which gets every message.
///
/// On mqd the address has to be of type multicast.
#[derive(Clone, Debug, clap::Args)]
pub struct Fanout {
    #[command(flatten)]
    pub place: Place,
    /// Links that receive, 1 to 10,000.
    #[arg(short = 'y', long, value_name = "COUNT", default_value = "10", value_parser = links())]
    pub receivers: u32,
    #[command(flatten)]
    pub sending: Sending,
}

/// Send from many links to one receiver.
#[derive(Clone, Debug, clap::Args)]
pub struct Fanin {
    #[command(flatten)]
    pub place: Place,
    /// Links that send, 1 to 10,000.
    #[arg(short = 'x', long, value_name = "COUNT", default_value = "10", value_parser = links())]
    pub senders: u32,
    #[command(flatten)]
    pub sending: Sending,
}

/// Run the same load at several rates, one after the other.
#[derive(Clone, Debug, clap::Args)]
pub struct Sweep {
    #[command(flatten)]
    pub place: Place,
    /// The rates, in messages per second.
    #[arg(short, long, value_name = "RATE,RATE...", required = true, value_delimiter = ',')]
    #[arg(value_parser = shape::rate, num_args = 1..=100)]
    pub rate: Vec<u64>,
    #[command(flatten)]
    pub repeated: Repeated,
}

/// Find the highest rate that keeps the objectives.
#[derive(Clone, Debug, clap::Args)]
pub struct Max {
    #[command(flatten)]
    pub place: Place,
    /// What has to hold, such as e2e.p99<10ms; repeatable. Nothing may be lost in any case.
    #[arg(long, value_name = "OBJECTIVE", required = true, value_parser = Assertion::parse)]
    pub slo: Vec<Assertion>,
    /// The rate to begin with.
    #[arg(long, value_name = "RATE", default_value = "1k", value_parser = shape::rate)]
    pub from: u64,
    /// The highest rate to try.
    #[arg(long, value_name = "RATE", default_value = "10M", value_parser = shape::rate)]
    pub to: u64,
    /// Stop when the answer is as exact as this, in percent of the rate, 1 to 50.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = clap::value_parser!(u8).range(1..=50))]
    pub precision: u8,
    #[command(flatten)]
    pub repeated: Repeated,
}

/// Where.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// The address, or SCHEME://[user[:password]@]host[:port]/address with amqp, amqps, mqtt or mqtts.
    pub address: String,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Senders {
    /// Links that send, 1 to 10,000.
    #[arg(short = 'x', long, value_name = "COUNT", default_value = "1", value_parser = links())]
    pub senders: u32,
}

#[derive(Clone, Debug, clap::Args)]
pub struct Receivers {
    /// Links that receive, 1 to 10,000.
    #[arg(short = 'y', long, value_name = "COUNT", default_value = "1", value_parser = links())]
    pub receivers: u32,
}

/// Everything of a load that sends, but for who and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Sending {
    #[command(flatten)]
    pub pace: PaceArgs,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// A load whose rate is given from run to run.
#[derive(Clone, Debug, clap::Args)]
pub struct Repeated {
    #[command(flatten)]
    pub senders: Senders,
    #[command(flatten)]
    pub receivers: Receivers,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub messages: MessageArgs,
}

/// How fast.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PaceArgs {
    /// Messages per second of all senders together; without it as fast as credit allows.
    #[arg(short, long, value_name = "RATE", value_parser = shape::rate)]
    pub rate: Option<u64>,
    /// Rates to go through first, such as 1k:10s,10k:10s; then --rate, or the last of them.
    #[arg(long, value_name = "RATE:TIME,...", value_delimiter = ',', value_parser = step, num_args = 1..=100)]
    pub ramp: Vec<Step>,
}

/// How long, and with how much in flight.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// How long to measure.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = shape::duration)]
    pub duration: Duration,
    /// Measure so many messages, in place of a time.
    #[arg(short = 'n', long, value_name = "COUNT", alias = "messages", conflicts_with = "duration")]
    #[arg(value_parser = shape::count)]
    pub count: Option<u64>,
    /// Load before anything is measured.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = shape::duration)]
    pub warmup: Duration,
    /// Messages that a receiver takes in advance, 1 to 100,000.
    #[arg(long, value_name = "COUNT", default_value = "500")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub credit: u32,
    /// Links of one connection, 1 to 250.
    #[arg(long, value_name = "COUNT", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=250))]
    pub links: u32,
    /// How long to wait in the end for what is under way.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = shape::duration)]
    pub drain: Duration,
    /// MQTT only: the quality of service at which messages are sent and asked for, 0 to 2 [default: 1].
    #[arg(short, long, value_name = "QOS", value_parser = clap::value_parser!(u8).range(0..=2))]
    pub qos: Option<u8>,
    #[command(flatten)]
    pub wire: WireArgs,
    #[command(flatten)]
    pub view: BenchView,
}

/// How the target is spoken to.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WireArgs {
    /// MQTT only: the version [default: 5.0].
    #[arg(long, value_name = "VERSION")]
    pub mqtt_version: Option<MqttVersion>,
}

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct MessageArgs {
    /// Bytes of each body: 100, 1KiB, a range such as 100..4096, or sizes to choose from such as 100,1k.
    #[arg(short, long, value_name = "SIZE", default_value = "100", value_parser = payload::sizes)]
    pub size: SizeDescription,
    /// Send pre-settled: no outcome is asked for.
    #[arg(long)]
    pub settled: bool,
    /// Mark the messages as durable.
    #[arg(long)]
    pub durable: bool,
    /// Messages of one sender that may wait for their outcome, 1 to 1,000,000
    /// [default: 1,000; requests without a rate: 1].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub in_flight: Option<u32>,
    /// The seed of sizes and bodies: the same seed gives the same messages.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub seed: u64,
    /// The generator's own lateness (p99) above which the result is invalid.
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = shape::duration)]
    pub max_lag: Duration,
}

impl ValueEnum for MqttVersion {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::V5, Self::V3]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.name());
        Some(match self {
            Self::V3 => value.aliases(["3", "3.1", "v3.1.1"]),
            Self::V5 => value.aliases(["5", "v5.0"]),
        })
    }
}

/// `-o`, for benches.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct BenchView {
    /// How to print the result.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub output: BenchFormat,
}

/// How a bench is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BenchFormat {
    /// Figures for people.
    #[default]
    Text,
    /// One JSON document, for `mq bench compare` and other programs.
    Json,
}

fn links() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=10_000)
}

/// At most a million connections: more than the ports of a machine have room for.
fn connections(text: &str) -> Result<u64, String> {
    match shape::count(text)? {
        0 => Err("at least 1".into()),
        1..=1_000_000 => shape::count(text),
        _ => Err("at most 1M".into()),
    }
}

/// `10k:30s`.
fn step(text: &str) -> Result<Step, String> {
    let (rate, time) = text.split_once(':').ok_or("write a rate and a time, such as 10k:30s")?;
    Ok(Step { rate: shape::rate(rate)?, seconds: shape::duration(time)?.as_secs_f64() })
}
