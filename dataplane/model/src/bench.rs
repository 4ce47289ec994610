//! The document of a load test: `kind: Bench`, which `mq bench run` carries out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::manifest::{API_VERSION, API_VERSION_SHORT, Metadata};

/// The `kind` of a [`Bench`].
pub const BENCH_KIND: &str = "Bench";

/// Stages of one document.
pub const MAX_STAGES: usize = 100;

/// Demands of one stage.
pub const MAX_DEMANDS: usize = 100;

/// A load test: what to send, how often, and what has to come out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bench {
    /// The group and version of the document's fields.
    #[schemars(extend("enum" = [API_VERSION, API_VERSION_SHORT]))]
    pub api_version: String,
    /// Always `Bench`.
    #[schemars(extend("const" = BENCH_KIND))]
    pub kind: String,
    /// Name and labels.
    pub metadata: Metadata,
    /// What is wanted of the test.
    pub spec: BenchSpec,
}

/// What is wanted of a load test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BenchSpec {
    /// How often each stage is run; five runs tell a change from noise, one does not. 1 to 50.
    /// Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 50), extend("default" = 1))]
    pub runs: Option<u32>,
    /// Where to send, such as `amqp://127.0.0.1:5672` or `mqtt://127.0.0.1:1883`. Default: the fleet of the context in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The loads, one after the other: at least 1 and at most 100, each with a name of its own.
    #[schemars(length(min = 1, max = 100))]
    pub stages: Vec<Stage>,
}

/// One load and what is demanded of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// The name under which the stage is reported and compared with a baseline: 1 to 63 of `a` to
    /// `z`, `0` to `9` and `-`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Who talks to whom. Default: `pipe`.
    #[schemars(extend("default" = "pipe"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<StageShape>,
    /// The address; needed by every shape but `connect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Sender links. Default 1; 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub senders: Option<u32>,
    /// Receiver links. Default 1; 1 to 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub receivers: Option<u32>,
    /// Connections to open; only of the shape `connect`. Default 1; 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<u32>,
    /// Links of one connection. Default 1; 1 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub links_per_connection: Option<u32>,
    /// Messages (or connections) per second of all senders together, on a schedule that does not wait
    /// for the target. Default: none, each sender goes as fast as its credit allows. 1 to
    /// 100,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub rate: Option<u64>,
    /// Bytes of a body. Default 100; 36 (what tells messages apart) to 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 36, max = 67_108_864), extend("default" = 100))]
    pub size: Option<u64>,
    /// With it the sizes of bodies are spread evenly from `size` to this. 36 to
    /// 64 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 36, max = 67_108_864))]
    pub max_size: Option<u64>,
    /// Whether messages are sent settled: nobody says what became of them. Default `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// Whether messages are marked durable. Default `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// Messages that a receiver takes in advance. 1 to 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub credit: Option<u32>,
    /// Messages of one sender that may wait for their outcome. 1 to 100,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub in_flight: Option<u32>,
    /// Of a target that speaks MQTT: the quality of service at which messages are sent and asked for. Default
    /// 1; 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 2))]
    pub qos: Option<u8>,
    /// Of a target that speaks MQTT: the version. Default `v5.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "v5.0"))]
    pub mqtt_version: Option<StageMqttVersion>,
    /// Seconds of load before anything is measured. 0 to 3,600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3_600))]
    pub warmup_seconds: Option<u32>,
    /// Seconds that are measured. Default 10; 1 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400), extend("default" = 10))]
    pub duration_seconds: Option<u32>,
    /// Thresholds such as `e2e.p99<5ms`, `received.rate>=50k` or `lost==0`; `mq help bench-metrics` lists
    /// what they can be about. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub assert: Vec<String>,
    /// How much worse than the baseline a figure may be, such as `e2e.p99=10%`. At most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub max_regress: Vec<String>,
}

/// Who talks to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StageShape {
    /// Senders and receivers of one address.
    #[default]
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

/// A version of MQTT. With a letter in front, so that YAML does not take it for a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StageMqttVersion {
    #[serde(rename = "v3.1.1")]
    V3,
    #[default]
    #[serde(rename = "v5.0")]
    V5,
}
