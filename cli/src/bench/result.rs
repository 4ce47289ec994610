//! What a run measured, as one JSON document: what reports, comparisons and verdicts work on.
//!
//! Fields are added under one [`API_VERSION`], never changed or removed, and a reader ignores those that it
//! does not know. Times of day are RFC 3339; durations say their unit in the name. Everything counts the
//! measured part of a run only, unless its doc says otherwise: what was sent during the warm-up is left
//! out of every rate and every latency, and is part of the integrity figures.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::settings::Scheme;

/// The version of the documents that `mq bench` writes.
pub const API_VERSION: &str = "mq.bench/v1";
/// The `kind` of a [`BenchResult`].
pub const KIND_RESULT: &str = "BenchResult";
/// The `kind` of a [`BenchSeries`].
pub const KIND_SERIES: &str = "BenchSeries";

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchResult {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND_RESULT`].
    pub kind: String,
    pub context: RunContext,
    pub load: Load,
    pub rates: Rates,
    pub latency: Latencies,
    /// One entry per second of the measured part, in order, without holes; the last one may be shorter.
    pub intervals: Vec<Interval>,
    pub integrity: Integrity,
    /// What the run cost the target; absent when nobody could say.
    pub cost: Option<Cost>,
    /// Only of the shape `connect`.
    pub storm: Option<Storm>,
    pub validity: Validity,
}

/// Several runs of one command: `sweep`, `max`, or a run that was repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchSeries {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND_SERIES`].
    pub kind: String,
    pub purpose: Purpose,
    /// In the order in which they ran.
    pub runs: Vec<BenchResult>,
    /// Only of `max`: the highest rate, in messages per second, that kept every objective.
    pub sustained: Option<u64>,
    /// Only of `max`: the objectives as they were written.
    pub objectives: Vec<String>,
}

/// Why a series has several runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The same load again, to know the noise.
    Repeat,
    /// One run per rate.
    Sweep,
    /// A search for the highest rate that keeps the objectives.
    Max,
}

/// Where and how the run took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunContext {
    /// The name of the run in a scenario file, or of its shape.
    pub name: String,
    /// The arguments of `mq`, passwords left out.
    pub command_line: Vec<String>,
    /// When the measured part began.
    pub started_at: Timestamp,
    /// The version of `mq`.
    pub mq_version: String,
    /// The library that spoke to the target, such as `mq-amqp 0.1.0`.
    pub client: String,
    /// The target's URL without user and password, and without the address.
    pub target: String,
    /// The target's product as it says itself (AMQP open properties), such as `mqd 0.1.0`.
    pub target_product: Option<String>,
    pub host: Host,
}

/// The machine that made the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Such as `linux`.
    pub system: String,
    /// Such as `x86_64`.
    pub architecture: String,
    /// The kernel's release.
    pub kernel: Option<String>,
    pub cpu_model: Option<String>,
    /// Processors that this process may use.
    pub cores: u32,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Senders and receivers of one address.
    Pipe,
    /// Senders only.
    Send,
    /// Receivers only.
    Recv,
    /// Requests and replies.
    Request,
    /// Connections, without messages.
    Connect,
    /// One sender, many receivers, each of which gets everything.
    Fanout,
    /// Many senders, one receiver.
    Fanin,
}

/// A protocol that the load speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    Amqp,
    Mqtt,
}

impl Scheme {
    /// The protocol that URLs of the scheme are for.
    pub fn wire(self) -> Wire {
        match self {
            Self::Amqp | Self::Amqps => Wire::Amqp,
            Self::Mqtt | Self::Mqtts => Wire::Mqtt,
        }
    }
}

/// The load that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    pub shape: Shape,
    pub protocol: Wire,
    /// The address or topic.
    pub address: String,
    pub senders: u32,
    pub receivers: u32,
    /// Connections of senders and receivers together.
    pub connections: u32,
    /// Links of one connection, at most.
    #[serde(default = "one")]
    pub links: u32,
    /// Messages per second of all senders together, at the end of the ramp when there is one; absent in a
    /// closed loop, whose latencies are service times.
    pub rate: Option<u64>,
    /// The ramp, one entry per step.
    pub ramp: Vec<Step>,
    /// Sizes of the body in bytes: one, several (each as likely), or the two ends of a range.
    pub size: SizeDescription,
    /// The messages were sent settled.
    pub settled: bool,
    pub durable: bool,
    /// Messages that a receiver takes in advance.
    pub credit: u32,
    /// Messages of one sender that may wait for their outcome.
    pub in_flight: u32,
    /// Only MQTT: the quality of service at which messages are sent, and asked for.
    pub qos: Option<u8>,
    /// Only MQTT.
    #[serde(default)]
    pub mqtt_version: Option<MqttVersion>,
    /// Whether TLS lies between.
    #[serde(default)]
    pub tls: bool,
    pub warmup_seconds: f64,
    /// The measured part as it was asked for; absent when a count was asked for.
    pub duration_seconds: Option<f64>,
    /// Messages as they were asked for, all senders together.
    pub count: Option<u64>,
    /// The seed of sizes and bodies.
    pub seed: u64,
}

/// A version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MqttVersion {
    #[serde(rename = "3.1.1")]
    V3,
    #[default]
    #[serde(rename = "5.0")]
    V5,
}

impl MqttVersion {
    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "3.1.1",
            Self::V5 => "5.0",
        }
    }
}

/// What an older document does not say.
fn one() -> u32 {
    1
}

impl Load {
    /// Parties and nothing else: neither a message nor a time.
    pub fn bare(shape: Shape, senders: u32, receivers: u32) -> Self {
        Self {
            shape,
            protocol: Wire::Amqp,
            address: String::new(),
            senders,
            receivers,
            connections: 0,
            links: 1,
            rate: None,
            ramp: Vec::new(),
            size: SizeDescription::Fixed(0),
            settled: false,
            durable: false,
            credit: 1,
            in_flight: 1,
            qos: None,
            mqtt_version: None,
            tls: false,
            warmup_seconds: 0.0,
            duration_seconds: None,
            count: None,
            seed: 0,
        }
    }

    pub fn warmup(&self) -> Duration {
        Duration::try_from_secs_f64(self.warmup_seconds).unwrap_or_default()
    }

    /// The measured part; `None` when a count was asked for.
    pub fn duration(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.duration_seconds?).ok()
    }

    /// Whether messages have an outcome of their own.
    pub fn is_settled(&self) -> bool {
        self.settled || self.qos == Some(0)
    }

    /// Whether latency counts from a schedule that does not wait for the target.
    pub fn is_open_loop(&self) -> bool {
        self.rate.is_some()
    }
}

/// A part of a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Messages per second.
    pub rate: u64,
    pub seconds: f64,
}

/// Body sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeDescription {
    Fixed(u64),
    /// Both ends belong to it.
    Range(u64, u64),
    OneOf(Vec<u64>),
}

/// Messages per second over the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// How long the measured part took.
    pub elapsed_seconds: f64,
    /// The target of an open loop, averaged over the ramp.
    pub target_per_second: Option<f64>,
    pub sent_per_second: f64,
    /// Messages whose outcome came.
    pub settled_per_second: f64,
    /// Of a fan-out: all receivers together.
    pub received_per_second: f64,
    /// Bytes of bodies.
    pub sent_bytes_per_second: f64,
    pub received_bytes_per_second: f64,
}

/// The latencies of a run; those that its shape does not have are absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latencies {
    /// From the intended time to the hand-over to the socket: what the target's back-pressure and the
    /// generator's own lateness cost. Absent in a closed loop.
    pub delay: Option<Distribution>,
    /// The generator's own share of `delay`: how long a message that could go (its time had come,
    /// there was credit) had to wait. Decides about validity. Absent in a closed loop.
    pub lag: Option<Distribution>,
    /// From the intended time to the outcome.
    pub ack: Option<Distribution>,
    /// From the intended time to the receiver.
    pub e2e: Option<Distribution>,
    /// From the intended time of a request to its reply.
    pub rtt: Option<Distribution>,
    /// From the start of a connection to its being usable: TCP, SASL, open and, where there is one, attach.
    pub connect: Option<Distribution>,
}

impl Latencies {
    /// Every latency that there is, with the name that assertions use for it.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &Distribution)> {
        [
            ("delay", &self.delay),
            ("lag", &self.lag),
            ("ack", &self.ack),
            ("e2e", &self.e2e),
            ("rtt", &self.rtt),
            ("connect", &self.connect),
        ]
        .into_iter()
        .filter_map(|(name, distribution)| Some((name, distribution.as_ref()?)))
    }
}

/// A merged histogram: its figures for people, itself for programs. Microseconds, exact to three digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub stdev_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p95_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub p99_99_us: f64,
    pub max_us: f64,
    /// Values beyond the histogram's 60 s; they count as 60 s.
    pub beyond: u64,
    /// The histogram of nanoseconds: HdrHistogram V2, deflated, base64, as `.hlog` files have it. See
    /// [`histogram::Histogram::decode`](super::histogram::Histogram::decode).
    pub histogram: String,
}

/// A second of the measured part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// Since the beginning of the measured part.
    pub start_seconds: f64,
    pub seconds: f64,
    pub sent: u64,
    pub settled: u64,
    pub received: u64,
    /// Of what was recorded in this second.
    pub delay: Option<Quantiles>,
    pub ack: Option<Quantiles>,
    pub e2e: Option<Quantiles>,
    pub rtt: Option<Quantiles>,
    pub connect: Option<Quantiles>,
}

/// The figures of one second, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quantiles {
    pub count: u64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub max_us: f64,
}

/// What became of the messages of the whole run, the warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Integrity {
    /// Handed to the socket.
    pub sent: u64,
    pub accepted: u64,
    pub released: u64,
    pub rejected: u64,
    pub modified: u64,
    /// Sent, and the connection was gone before the outcome came, or none came in time: they count neither
    /// as lost nor as delivered.
    pub in_doubt: u64,
    /// Messages of this run that arrived, duplicates included.
    pub received: u64,
    /// Accepted (or sent settled) and never received. Only of runs that have senders and receivers. In a
    /// fan-out: once per receiver that did not get it.
    pub lost: u64,
    /// Arrived once more than expected.
    pub duplicated: u64,
    /// Arrived behind a later message of the same sender, on the same receiver.
    pub reordered: u64,
    /// Runs of consecutive lost messages of one sender: 5 lost at one time are one gap.
    pub gaps: u64,
    /// Arrived with a check that does not fit.
    pub corrupted: u64,
    /// Arrived, and are not of this run.
    pub foreign: u64,
    /// Replies that did not come in time.
    pub timed_out: u64,
    /// Connections that were made again after they broke.
    pub reconnects: u64,
    /// The longest time that a connection was away, in seconds.
    pub longest_outage_seconds: f64,
    /// The longest time between two arrivals of the measured part, at whatever receiver, in seconds. At a low
    /// rate that is the schedule itself. Absent without receivers.
    pub longest_silence_seconds: Option<f64>,
    /// So many messages came that not all could be remembered: `lost`, `duplicated` and `gaps` are lower
    /// bounds.
    pub incomplete: bool,
}

/// What the run cost the target, over the measured part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    pub source: CostSource,
    /// CPU seconds, user and system, of the target's process.
    pub cpu_seconds: f64,
    /// Cores in use on average.
    pub cores: f64,
    /// CPU microseconds for each message: delivered ones where there are receivers, settled or sent ones
    /// otherwise. Absent when there was none.
    pub cpu_us_per_message: Option<f64>,
    /// Resident memory in bytes before the load, at its most, and at the end of the measured part.
    pub resident_before: u64,
    pub resident_peak: u64,
    pub resident_after: u64,
}

/// Who says what the run cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CostSource {
    /// The admin API at this URL.
    Admin(String),
    /// The process table of this machine: the process that listens on the target's port.
    Process {
        pid: u32,
        /// The name of its program.
        name: String,
    },
}

/// A storm of connections.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storm {
    pub wanted: u64,
    pub opened: u64,
    /// Refused, reset, or not open in time.
    pub failed: u64,
    /// Open at the end of the idle time.
    pub alive: u64,
    pub opened_per_second: f64,
    /// Resident memory of the target for each idle connection, in bytes.
    pub bytes_per_connection: Option<f64>,
    /// The first reason for a failure.
    pub first_error: Option<String>,
}

/// Whether the figures say something about the target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validity {
    /// False: the generator was the limit, and the figures are its own.
    pub valid: bool,
    /// Why not; one lower-case sentence each.
    pub reasons: Vec<String>,
    /// What a reader should know and what does not make the run invalid.
    pub notes: Vec<String>,
    /// The part of a core that the busiest thread of the generator used, 0 to 1.
    pub generator_cpu: f64,
    /// The part of the measured time in which the busiest thread of the generator had something to do, 0 to 1.
    /// It is more than its CPU time where it had to wait for a processor. At 1 the generator was the limit.
    #[serde(default)]
    pub generator_busy: f64,
    /// Processors that neither the generator nor the target used and that were busy all the same, on average:
    /// other programs, and on a virtual machine what its host took. Absent when nobody could say.
    #[serde(default)]
    pub elsewhere_cores: Option<f64>,
}
